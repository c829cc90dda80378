"""What a reader makes of older, newer and damaged messages."""

import json
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from schemas.codec import (
    MESSAGE_TYPES,
    TOMBSTONE,
    NewerMessageError,
    UndecodableError,
    decode,
    type_header,
)
from schemas.message import Message

EXAMPLES: Final = Path(schemas.__file__).parent / "examples"
HEADERS: Final = [type_header(message) for message in MESSAGE_TYPES]

each_type = pytest.mark.parametrize("message", MESSAGE_TYPES, ids=lambda each: each.__name__)


def an_example(message: type[Message]) -> bytes:
    return min(EXAMPLES.glob(f"{message.__name__}.*.json")).read_bytes()


@each_type
def test_a_message_without_any_optional_field_is_read(message: type[Message]) -> None:
    required = {field.encode_name for field in msgspec.structs.fields(message) if field.required}
    older = {k: v for k, v in json.loads(an_example(message)).items() if k in required}

    assert type(decode(type_header(message), json.dumps(older).encode())) is message


@each_type
def test_a_field_that_is_not_known_is_ignored(message: type[Message]) -> None:
    newer = json.loads(an_example(message)) | {"of_a_later_version": {"deep": [1, None, "é"]}}

    decoded = decode(type_header(message), json.dumps(newer).encode())
    assert decoded == decode(type_header(message), an_example(message))


@each_type
def test_every_version_up_to_the_current_one_is_read_and_no_newer_one(
    message: type[Message],
) -> None:
    for version in range(1, message.version + 1):
        decode(f"{message.__name__}/{version}".encode(), an_example(message))
    for version in (message.version + 1, 10**30):
        with pytest.raises(NewerMessageError, match=f"{message.__name__} of version {version}"):
            decode(f"{message.__name__}/{version}".encode(), an_example(message))


@each_type
def test_a_required_field_that_is_missing_is_refused(message: type[Message]) -> None:
    with pytest.raises(UndecodableError, match=f"not a {message.__name__}/1"):
        decode(type_header(message), b"{}")


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"Page",
        b"Page/",
        b"Page/0",
        b"Page/-1",
        b"Page/1.0",
        b"Page/1 ",
        b"page/1",
        b"/1",
        b"Page/\xd9\xa2",
        b"\xff\xfe",
        b"Page/1/1",
        TOMBSTONE,
        b"A" * 101 + b"/1",
        b"Page/1" + b"0" * 40,
        "Päge/1".encode(),
        b"x" * 100_000,
    ],
)
def test_a_type_that_is_none_is_undecodable(header: bytes | None) -> None:
    with pytest.raises(UndecodableError) as caught:
        decode(header, b"{}")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("header", [b"Pages/1", b"Redaction/1", b"X2/7", b"Tombstone/2"])
@pytest.mark.parametrize("value", [b"{}", b"not even JSON", None])
def test_a_type_that_only_a_later_program_knows_stops_the_reader(
    header: bytes, value: bytes | None
) -> None:
    with pytest.raises(NewerMessageError, match="does not know this type"):
        decode(header, value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"null",
        b"[]",
        b"{",
        b"not json",
        b"\xff\xfe\x00",
        b'{"site": "\xff"}',
        b'{"site": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"site": ' + b"[" * 100_000,
        b"\xef\xbb\xbf{}",
        b"NaN",
        b"1" * 10_000,
    ],
    ids=lambda value: repr(value)[:24],
)
@pytest.mark.parametrize("header", [b"Page/1", b"TakeStep/1", b"WalkState/1"])
def test_a_value_that_does_not_fit_is_undecodable(header: bytes, value: bytes | None) -> None:
    with pytest.raises(UndecodableError):
        decode(header, value)


def json_values() -> st.SearchStrategy[bytes]:
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    trees = st.recursive(
        leaves, lambda each: st.lists(each) | st.dictionaries(st.text(), each), max_leaves=8
    )
    return trees.map(lambda tree: json.dumps(tree).encode())


@given(
    header=st.one_of(st.sampled_from(HEADERS), st.binary(max_size=40)),
    value=st.one_of(st.binary(), json_values()),
)
def test_whatever_comes_it_is_a_message_or_one_of_two_errors(header: bytes, value: bytes) -> None:
    try:
        message = decode(header, value)
    except (UndecodableError, NewerMessageError):
        return
    assert isinstance(message, MESSAGE_TYPES)


@given(data=st.data())
def test_a_message_with_one_field_replaced_is_a_message_or_undecodable(data: st.DataObject) -> None:
    message = data.draw(st.sampled_from(MESSAGE_TYPES))
    fields = json.loads(an_example(message))
    name = data.draw(st.sampled_from(sorted(fields)))
    value = data.draw(json_values())
    body = json.dumps({k: v for k, v in fields.items() if k != name}).encode()
    damaged = body[:-1] + b', "' + name.encode() + b'": ' + value + b"}"
    try:
        assert type(decode(type_header(message), damaged)) is message
    except UndecodableError as error:
        assert message.__name__ in str(error)  # noqa: PT017 - both outcomes are right
