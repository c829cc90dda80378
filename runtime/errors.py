"""The three fates of an error, decided by its type where it enters the program.

    PagestreamError
    ├── Retry                  wait and try again; nothing is wrong with the data
    │   ├── BrokerUnavailable      Kafka does not answer, or lost its leader
    │   ├── DatabaseUnavailable    PostgreSQL is away, full, locked or restarting
    │   └── SourceError            the source refused, broke off or sent what cannot be read
    ├── RecordError            this record alone is at fault: dead-letter it, with its bytes
    └── Stop                   no use in going on: one line, a remedy, an exit code
        ├── NotDone                 1  what a person asked for was refused, or failed
        ├── ConfigurationError     78  a setting, a topic, a schema is not as it must be
        ├── Unavailable            69  a server that a command needs does not answer
        ├── InternalError          70  a promise of our own was broken; restart, and report it
        ├── DataDiffers            65  a comparison found a difference
        └── OwnedElsewhere         75  another process owns this slot; try again later

The exit codes are those of BSD's sysexits.h, which service managers know. Vendor exceptions are
turned into these at the doors `runtime.kafka`, `runtime.database` and `runtime.http`.
"""

from typing import ClassVar


class PagestreamError(Exception):
    """Anything that this program raises on purpose; its text is a sentence for a person."""


class Retry(PagestreamError):  # noqa: N818 - named for its fate, which is what a handler reads
    """Nothing is wrong with the data: wait and try again."""


class BrokerUnavailable(Retry):
    """Kafka does not answer, or the transaction was ended by the broker."""


class DatabaseUnavailable(Retry):
    """PostgreSQL cannot take this now: away, full, locked, restarting, out of connections."""


class SourceError(Retry):
    """The source did not give a usable response.

    `reason` is a class to group by, `received` the first of what came back, for a person to read.
    `retry_after` says in how many seconds the source can be asked again, where that is known.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        received: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.received = received
        self.retry_after = retry_after


class RecordError(PagestreamError):
    """One record is at fault and is dead-lettered; all others go on.

    `reason` is a `schemas.records.DeadLetterReason`, `sqlstate` PostgreSQL's code where it decided.
    """

    def __init__(self, reason: str, message: str, *, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.sqlstate = sqlstate


class Stop(PagestreamError):  # noqa: N818 - named for its fate, which is what a handler reads
    """No use in going on: the process says `message` and `remedy` in one line and exits."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} — {self.remedy}" if self.remedy else message


class NotDone(Stop):
    """What a person asked for was refused, or was tried and failed."""

    exit_code = 1


class ConfigurationError(Stop):
    """A setting, a topic or a schema is not as it must be; a person has to change it."""

    exit_code = 78


class Unavailable(Stop):
    """A server that this command needs does not answer."""

    exit_code = 69


class InternalError(Stop):
    """A promise of this program was broken; a restart may mend it, and it wants a report."""

    exit_code = 70


class DataDiffers(Stop):
    """A comparison found a difference."""

    exit_code = 65


class OwnedElsewhere(Stop):
    """Another process owns what this one needs."""

    exit_code = 75
