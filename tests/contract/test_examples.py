"""Golden examples: every message type has some, and each says what the code says."""

import hashlib
import json
import struct
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest

import schemas
from schemas.codec import MESSAGE_TYPES, decode, encode, type_header
from schemas.message import Message

ROOT: Final = Path(schemas.__file__).parent
VECTORS: Final = {"partitions.json", "row_hashes.json"}
FILES: Final = sorted(p for p in (ROOT / "examples").iterdir() if p.name not in VECTORS)
TYPES: Final = {message.__name__: message for message in MESSAGE_TYPES}

by_name = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def type_of(path: Path) -> type[Message]:
    return TYPES[path.name.split(".")[0]]


def of_type(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Parametrise a test with the content of every example of one type."""
    paths = [path for path in FILES if path.name.startswith(f"{name}.")]
    contents = [json.loads(path.read_text()) for path in paths]
    mark: Callable[[Callable[..., None]], Callable[..., None]] = pytest.mark.parametrize(
        "example", contents, ids=[path.stem for path in paths]
    )
    return mark


def schema_of(message: type[Message]) -> dict[str, Any]:
    path = ROOT / "json" / f"{message.__name__}.v{message.version}.json"
    schema: dict[str, Any] = json.loads(path.read_text())
    return schema


def without_an_example(names: set[str]) -> set[str]:
    return set(TYPES) - {name.split(".")[0] for name in names}


def without_a_type(names: set[str]) -> set[str]:
    return {name for name in names if not _is_an_example(name)}


def _is_an_example(name: str) -> bool:
    kind, *case, suffix = name.split(".")
    return kind in TYPES and suffix == "json" and len(case) == 1 and bool(case[0])


@by_name
def test_decodes_to_its_type_and_encodes_to_itself(path: Path) -> None:
    message = decode(type_header(type_of(path)), path.read_bytes())

    assert type(message) is type_of(path)
    assert json.loads(encode(message)) == json.loads(path.read_bytes())


@by_name
def test_fits_its_json_schema(path: Path) -> None:
    schema = schema_of(type_of(path))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(path.read_text()), schema)


def test_a_json_schema_refuses_what_the_codec_refuses() -> None:
    page = json.loads((ROOT / "examples" / "Page.full.json").read_text())
    for wrong in ({"kind": "votes"}, {"page": "3"}, {"row_hash": None}, {"text": 7}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(page | wrong, schema_of(TYPES["Page"]))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({key: page[key] for key in page if key != "id"}, schema_of(type_page()))


def type_page() -> type[Message]:
    return TYPES["Page"]


def test_every_type_has_an_example_and_every_example_a_type() -> None:
    names = {path.name for path in FILES}

    assert without_an_example(names) == set()
    assert without_a_type(names) == set()


def test_a_missing_and_a_stray_example_are_found() -> None:
    names = {path.name for path in FILES}

    no_barriers = {name for name in names if not name.startswith("WalkBarrier.")}
    assert without_an_example(no_barriers) == {"WalkBarrier"}
    strays = {"Pages.full.json", "Page.json", "Page..json", "Page.full.yaml", "README.md"}
    assert without_a_type(names | strays) == strays


@of_type("Page")
def test_a_pages_hash_is_that_of_its_fields(example: dict[str, Any]) -> None:
    fields = [example["id"], example.get("meeting"), example.get("date"), str(example["page"])]
    fields += [example.get(name) for name in ("text", "page_image", "entities", "votes")]
    content = "\x1f".join("\x1e" if field is None else field for field in fields)

    (expected,) = struct.unpack(">q", hashlib.sha256(content.encode()).digest()[:8])
    assert example["row_hash"] == expected
    assert set(example.get("sanitised", ())) <= {name for name in example if name != "id"}


@of_type("StepWalked")
def test_a_steps_sums_are_those_of_its_hashes(example: dict[str, Any]) -> None:
    packed = b64decode(example["hashes"], validate=True)
    hashes = struct.unpack(f">{len(packed) // 8}q", packed)

    assert example["count"] == len(hashes) == len(example["ids"])
    assert example["hash_sum"] == sum(hashes)
    assert example["ids"] == sorted(set(example["ids"]))
    assert set(example.get("sanitised", ())) <= set(example["ids"])


@of_type("DeadLetter")
def test_a_dead_letter_holds_what_its_digest_says(example: dict[str, Any]) -> None:
    original = b64decode(example["original"], validate=True)

    assert example["original_length"] == len(original)
    assert example["original_digest"] == hashlib.sha256(original).hexdigest()
    assert example["identity"] == example.get("page_id", example["original_digest"])
