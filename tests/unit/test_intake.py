"""What comes in on `commands`: read, dead-lettered with its bytes, or a reason to stop."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from producer.intake import Unreadable, read_command
from runtime.errors import ConfigurationError
from runtime.kafka.records import Record
from schemas.codec import encode, type_header
from schemas.commands import TakeStep
from schemas.message import Message
from schemas.records import Municipality
from schemas.tables import Table
from schemas.walks import Position

TABLE = Table("alameda.ca", "minutes")
STEP = TakeStep(
    site="alameda.ca", kind="minutes", walk=1, step=0, position=Position(phase="pages"), rows=10
)


def record(
    message: Message = STEP,
    *,
    key: str | None = TABLE.key,
    partition: int = TABLE.partition,
    header: bytes | None = None,
    value: bytes | None = None,
) -> Record:
    return Record(
        "commands",
        partition,
        7,
        key,
        encode(message) if value is None else value,
        {"type": type_header(type(message)) if header is None else header},
        0,
    )


def test_a_command_in_its_place_is_read() -> None:
    assert read_command(record()) == STEP


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (record(value=b'{"site": 3}'), "undecodable"),
        (record(value=b"\xff\x00garbage"), "undecodable"),
        (record(header=b"Nonsense"), "undecodable"),
        (record(Municipality(site="alameda.ca")), "undecodable"),
        (record(key="oakland.ca/minutes"), "undecodable"),
        (record(replace(STEP, site="x@evil.com")), "undecodable"),
        (record(key=None), "undecodable"),
        (record(partition=(TABLE.partition + 1) % 48), "wrong_partition"),
    ],
)
def test_what_is_no_command_of_its_partition_is_dead_lettered(given: Record, reason: str) -> None:
    read = read_command(given)
    assert isinstance(read, Unreadable)
    assert read.letter.reason == reason
    assert read.letter.original == given.value
    assert (read.letter.partition, read.letter.offset) == (given.partition, 7)
    assert read.letter.at <= datetime.now(UTC)


@pytest.mark.parametrize("header", [b"TakeStep/2", b"PostponeWalk/1"])
def test_a_command_of_a_newer_version_or_type_stops_the_walker(header: bytes) -> None:
    with pytest.raises(ConfigurationError, match="run the newer version"):
        read_command(record(header=header))
