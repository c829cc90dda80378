#!/usr/bin/env python3
"""Write the reference parts of the documentation, and the JSON Schemas, from the code itself.

Run `make docs` after changing a setting, a topic, a message, a metric, a command or an exit code.
Each part stands in its page between two marks, `<!-- generated: NAME -->` and
`<!-- /generated -->`; all around them is written by hand. A test runs this and compares.
"""

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import typer

from bench.report import render
from bench.results import FILE, Results
from pagestream.cli.app import app
from runtime import errors
from runtime.durations import write_every
from runtime.metrics import METRICS
from runtime.settings import Settings
from schemas.codec import MESSAGE_TYPES
from schemas.message import Message
from schemas.tables import PARTITIONS
from schemas.topics import TOPICS, Topic

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
JSON_SCHEMAS: Final = ROOT / "schemas" / "json"
_PART: Final = re.compile(
    r"(?P<begin><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<end><!-- /generated -->)", re.DOTALL
)


def outputs() -> dict[Path, str]:
    """Return every file that holds generated text, as it should be."""
    pages = [*sorted(DOCS.glob("*.md")), ROOT / "README.md"]
    return {page: _filled(page.read_text()) for page in pages} | _json_schemas()


def _filled(page: str) -> str:
    return _PART.sub(
        lambda part: f"{part['begin']}\n{PARTS[part['name']]().strip()}\n\n{part['end']}", page
    )


def main() -> None:
    """Write the files that changed, and say which."""
    for path, text in outputs().items():
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            sys.stdout.write(f"written: {path.relative_to(ROOT)}\n")


# Tables


def _table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _code(value: object) -> str:
    return f"`{value}`"


def _docstring(thing: object) -> str:
    return inspect.cleandoc(thing.__doc__ or "")


# Settings


def settings_part() -> str:
    """Return the table of every setting."""
    properties: dict[str, dict[str, Any]] = Settings.model_json_schema()["properties"]
    rows = (
        (
            _code(f"PAGESTREAM_{name.upper()}"),
            _default(Settings.model_fields[name].default, shape),
            ", ".join(_limits(shape)),
            str(Settings.model_fields[name].description),
        )
        for name, shape in properties.items()
    )
    return _table(("setting", "default", "allowed", "meaning"), rows)


def _default(value: object, shape: dict[str, Any]) -> str:
    if shape.get("format") == "span" and (value is None or isinstance(value, float)):
        return _code(write_every(value))
    if isinstance(value, bool):
        return _code(str(value).lower())
    if isinstance(value, tuple):
        return _code(",".join(f"{one:g}" for one in value))
    if value is None:
        return "unset"
    shown = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    return _code(shown)


def _limits(shape: dict[str, Any]) -> Iterator[str]:
    for one in shape.get("anyOf", [shape]):
        if "enum" in one:
            yield " or ".join(map(_code, one["enum"]))
        elif one["type"] in ("integer", "number"):
            low = f"above {one['exclusiveMinimum']:g}" if "exclusiveMinimum" in one else None
            low = low or f"from {one['minimum']:g}"
            yield f"{one['type']}, {low} to {one['maximum']:g}"
        elif "pattern" in one:
            yield f"text like {_code(one['pattern'])}"
        elif one["type"] == "boolean":
            yield "true or false"
        elif one["type"] == "array":
            yield f"up to {one['maxItems']} numbers, comma-separated"
        elif one.get("format") == "span":
            yield "a span of time, or `never`"
        elif one["type"] != "null":
            yield "text" if one.get("format") != "path" else "path"


# Topics and messages


def topics_part() -> str:
    """Return the table of the topics, and what each is created with."""
    overview = _table(
        ("topic", "what it holds", "key", "written by", "read by"),
        (
            (
                _code(topic.full_name("pagestream")),
                topic.purpose,
                "; ".join(map(_code, topic.key.split("; "))),
                ", ".join(topic.writers),
                ", ".join(topic.readers),
            )
            for topic in TOPICS
        ),
    )
    return "\n\n".join([overview, *map(_topic, TOPICS)])


def _topic(topic: Topic) -> str:
    names = [message.__name__ for message in topic.messages]
    messages = ", ".join(f"[{name}](messages.md#{name.lower()})" for name in names)
    config = {"partitions": str(PARTITIONS)} | topic.config()
    settings = ", ".join(_code(f"{name}={value}") for name, value in config.items())
    heading = f"### {topic.full_name('pagestream')}"
    return f"{heading}\n\nMessages: {messages}.\n\nCreated with {settings}."


def messages_part() -> str:
    """Return every message type with its fields."""
    return "\n\n".join(_message(message, topic) for topic in TOPICS for message in topic.messages)


def _message(message: type[Message], topic: Topic) -> str:
    schema = _schema(message)
    shapes: dict[str, Any] = schema["$defs"]
    parts = [_fields(shapes.pop(message.__name__))]
    parts += [f"{_code(name)}: {s['description']}\n\n{_fields(s)}" for name, s in shapes.items()]
    name = f"{message.__name__}.v{message.version}.json"
    examples = sorted((ROOT / "schemas" / "examples").glob(f"{message.__name__}.*.json"))
    links = ", ".join(
        f"[{path.stem.split('.')[1]}](../schemas/examples/{path.name})" for path in examples
    )
    return "\n\n".join(
        [
            f"### {message.__name__}",
            f"On `{topic.full_name('pagestream')}`, as `{message.__name__}/{message.version}`.",
            _docstring(message),
            *parts,
            f"[JSON Schema](../schemas/json/{name}). Examples: {links}.",
        ]
    )


def _fields(shape: dict[str, Any]) -> str:
    rows = (
        (
            _code(name),
            _type(field),
            "required" if name in shape.get("required", ()) else _field_default(field),
        )
        for name, field in shape["properties"].items()
    )
    return _table(("field", "type", "default"), rows)


def _field_default(field: dict[str, Any]) -> str:
    return _code(json.dumps(field["default"])) if "default" in field else "empty"


def _type(field: dict[str, Any]) -> str:
    match field:
        case {"anyOf": list(choices)}:
            shown = " or ".join(map(_type, choices))
        case {"$ref": str(path)}:
            shown = _code(path.rpartition("/")[2])
        case {"enum": list(values)}:
            shown = " or ".join(map(_code, values))
        case {"contentEncoding": str(encoding)}:
            shown = encoding
        case {"prefixItems": list(items)}:
            shown = "array of " + ", ".join(map(_type, items))
        case {"type": "array", "items": dict(item)}:
            shown = f"array of {_type(item)}"
        case _:
            shown = str(field["type"])
    return shown


# JSON Schemas


def _json_schemas() -> dict[Path, str]:
    return {
        JSON_SCHEMAS / f"{message.__name__}.v{message.version}.json": json.dumps(
            _schema(message), indent=2, ensure_ascii=False
        )
        + "\n"
        for message in MESSAGE_TYPES
    }


def _schema(message: type[Message]) -> dict[str, Any]:
    schema = msgspec.json.schema(message)
    for shape in schema["$defs"].values():
        # Python before 3.13 keeps a docstring's indentation.
        shape["description"] = inspect.cleandoc(shape["description"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


# Metrics and exit codes


def metrics_part() -> str:
    """Return the table of every metric."""
    rows = (
        (_code(_exposed(m.name, m.kind)), m.kind, ", ".join(map(_code, m.labels)), m.meaning)
        for m in METRICS
    )
    return _table(("metric", "kind", "labels", "meaning"), rows)


def _exposed(name: str, kind: str) -> str:
    return f"{name}_total" if kind == "counter" else name


def exit_codes_part() -> str:
    """Return the table of the exit codes."""
    stops = errors.Stop.__subclasses__()
    rows = (
        (str(stop.exit_code), _code(stop.__name__), _docstring(stop).split("\n\n")[0])
        for stop in sorted(stops, key=lambda stop: stop.exit_code)
    )
    return _table(("code", "error", "meaning"), rows)


# Performance


def performance_part() -> str:
    """Return the figures of the newest benchmark run that is kept."""
    return render(msgspec.json.decode((ROOT / FILE).read_bytes(), type=Results))


# The command line


def commands_part() -> str:
    """Return every command with its arguments and options."""
    root = typer.main.get_command(app)
    return "\n\n".join(_command(root, "pagestream"))


def _command(command: Any, name: str) -> Iterator[str]:
    inner = getattr(command, "commands", {})
    if not inner or command.invoke_without_command:
        yield f"### {name}\n\n{inspect.cleandoc(command.help or '')}\n\n{_parameters(command)}"
    for each, subcommand in inner.items():
        yield from _command(subcommand, f"{name} {each}")


def _parameters(command: Any) -> str:
    rows = [
        (", ".join(map(_code, parameter.opts)), _parameter_default(parameter), parameter.help or "")
        for parameter in command.params
        if parameter.name != "help"
    ]
    return _table(("option", "default", "meaning"), iter(rows)) if rows else "No options."


def _parameter_default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    return "" if parameter.default in (None, False) else _code(parameter.default)


PARTS: Final[dict[str, Callable[[], str]]] = {
    "settings": settings_part,
    "topics": topics_part,
    "messages": messages_part,
    "metrics": metrics_part,
    "exit-codes": exit_codes_part,
    "commands": commands_part,
    "performance": performance_part,
}

if __name__ == "__main__":
    main()
