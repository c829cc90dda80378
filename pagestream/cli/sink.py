"""The commands of the group `sink`: where it stands, how to put it back, and how over a gap."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from pagestream.access import open_cluster
from pagestream.cli.arguments import AsJson
from pagestream.cli.groups import add_group
from pagestream.cli.invocation import quiet_settings_of
from pagestream.cli.screen import grid, number, results, say, warn, write_json
from runtime.kafka.records import Partition
from schemas.tables import PARTITIONS

if TYPE_CHECKING:
    from pagestream.resetting import FindTargets, Reset
    from pagestream.sink_positions import Standing
    from pagestream.skipping import Skipped

PANEL = "Mend"

SinkTopic = Literal["pages", "walks", "municipalities", "dead-letters"]
_Topic = Annotated[SinkTopic, typer.Option("--topic", metavar="TOPIC", help="One of its topics.")]
_TIME_FORMATS = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    about = "See where the sink stands; put it back, or over a gap."
    group = add_group(app, "sink", PANEL, about)
    group.command()(describe)
    group.command()(reset)
    group.command()(skip)


def describe(
    context: typer.Context,
    *,
    topic: Annotated[
        SinkTopic | None,
        typer.Option("--topic", metavar="TOPIC", help="Only this topic.", show_default=False),
    ] = None,
    partition: Annotated[
        list[int] | None,
        typer.Option(metavar="N", min=0, max=PARTITIONS - 1, help="Only these partitions."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show where the sink stands in each partition.

    Below, the gaps: what `pagestream sink skip` has let it leave out.

    **position**: the next record to be applied. It is in PostgreSQL, with the rows, and is the
    truth. **applied to**: the highest that it ever was; after a reset, records up to there are
    applied again without changing a figure. **committed**: the offset that Kafka has for the group.
    With the sink's mark it mirrors the position. Without, an operator has set it: at its next start
    the sink goes back to it, or refuses to go forward. **behind** counts offsets, those of
    transaction markers too.

    Partitions without a record are not shown, unless they are named.

    Example: `pagestream sink describe --topic pages --partition 7`
    """
    from pagestream import sink_positions  # noqa: PLC0415 - psycopg takes long to import

    settings = quiet_settings_of(context)
    topics = sink_positions.SINK_TOPICS if topic is None else (topic,)
    numbers = range(PARTITIONS) if partition is None else sorted(set(partition))
    wanted = sink_positions.partitions_of_sink(topics, numbers)
    standings, gaps = sink_positions.describe(settings, open_cluster(settings), wanted)
    if as_json:
        write_json({"partitions": standings, "gaps": gaps})
        return
    _show([one for one in standings if partition or one.log_end or one.position])
    for gap in gaps:
        begun = "the beginning" if gap.from_offset is None else number(gap.from_offset)
        results().print(
            f"{gap.topic}/{gap.partition}: left out from {begun} to {number(gap.to_offset)} at "
            f"{gap.skipped_at:%Y-%m-%d %H:%M} by {escape(gap.skipped_by)}: {gap.reason}"
        )


def _show(standings: "list[Standing]") -> None:
    if not standings:
        say("No topic holds a record yet.")
        return
    numbers = ("position", "applied to", "committed", "log", "behind")
    table = grid("partition", *numbers, "", numbers=numbers)
    for one in standings:
        table.add_row(
            f"{one.topic}/{one.partition}",
            "none" if one.position is None else number(one.position),
            "" if one.applied_to is None else number(one.applied_to),
            _committed(one),
            f"{one.log_start:,}–{one.log_end:,}",  # noqa: RUF001 - a range
            number(one.behind),
            escape(one.note or ""),
        )
    results().print(table)


def _committed(one: "Standing") -> str:
    if one.committed is None:
        return "none"
    mark = "" if one.committed_by == "sink" else " [yellow]by an operator[/]"
    return f"{number(one.committed)}{mark}"


def reset(
    context: typer.Context,
    *,
    topic: _Topic,
    partition: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N", min=0, max=PARTITIONS - 1, help="A partition; may be given repeatedly."
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", metavar="", help="Every partition.")] = False,
    to_offset: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Back to this offset.")
    ] = None,
    to_earliest: Annotated[
        bool, typer.Option("--to-earliest", metavar="", help="Back to the oldest record.")
    ] = False,
    to_datetime: Annotated[
        datetime | None,
        typer.Option(
            metavar="TIME",
            formats=_TIME_FORMATS,
            help="Back to the first record from this time on, in UTC: 2026-01-31T18:00.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Have the sink apply records again from an earlier offset.

    Stop the sinks first: Kafka resets no group that has members. The sink goes back at its next
    start. Rows that are stored as the records have them are not written, figures are not counted
    twice, and the copy ends as it was: this mends a table that somebody has edited only where its
    `row_hash` was changed too, or the row deleted.

    Nothing is reset forward: records would be missing. For that there is `pagestream sink skip`.
    Any other Kafka tool that resets the group's offsets does the same as this command.

    Example: `pagestream sink reset --topic pages --all --to-earliest`
    """
    from pagestream import resetting  # noqa: PLC0415 - psycopg takes long to import
    from pagestream.sink_positions import partitions_of_sink  # noqa: PLC0415 - likewise

    if every == bool(partition):
        raise typer.BadParameter("give either --all or --partition")
    find = _target(to_offset, to_datetime, to_earliest=to_earliest)
    numbers = range(PARTITIONS) if every else sorted(set(partition or []))
    settings = quiet_settings_of(context)
    cluster = open_cluster(settings)
    done = resetting.reset(settings, cluster, partitions_of_sink((topic,), numbers), find)
    if as_json:
        write_json(done)
    else:
        _show_resets(done)


def _target(
    to_offset: int | None, to_datetime: datetime | None, *, to_earliest: bool
) -> "FindTargets":
    from pagestream import resetting  # noqa: PLC0415 - psycopg takes long to import

    if [to_offset is not None, to_datetime is not None, to_earliest].count(True) != 1:
        raise typer.BadParameter("give one of --to-offset, --to-earliest and --to-datetime")
    if to_offset is not None:
        return resetting.to_offset(to_offset)
    if to_datetime is not None:
        return resetting.to_time(to_datetime.replace(tzinfo=UTC))
    return resetting.to_earliest()


def _show_resets(done: "list[Reset]") -> None:
    if not done:
        say("Nothing to reset: the sink is not beyond that anywhere.")
        return
    table = grid("partition", "applied to", "back to", numbers=("applied to", "back to"))
    for one in done:
        table.add_row(f"{one.topic}/{one.partition}", number(one.position), number(one.offset))
    results().print(table)
    say("The sink goes back at its next start: pagestream run sink")


def skip(
    context: typer.Context,
    *,
    topic: _Topic,
    partition: Annotated[
        int, typer.Option(metavar="N", min=0, max=PARTITIONS - 1, help="The partition.")
    ],
    to_offset: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Leave out every record before this offset."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let the sink leave out records that are lost.

    The last resort: try to restore the topic first. Without `--to-offset` it leaves out what the
    sink stops at: a forward reset, records that Kafka has lost or deleted, deletions that are too
    old. Stop the sinks first. The gap is recorded for good, in `pagestream.sink_gap`.

    Of a gap in `pages` nobody knows which tables it held, so each table of the partition is walked
    in full: that takes requests to its site. Gaps in the other topics cost no page; the command
    says what follows.

    Example: `pagestream sink skip --topic pages --partition 7`
    """
    from pagestream import skipping  # noqa: PLC0415 - psycopg takes long to import

    settings = quiet_settings_of(context)
    cluster = open_cluster(settings)
    skipped = skipping.skip(settings, cluster, Partition(topic, partition), to_offset)
    if as_json:
        write_json(skipped)
    else:
        _show_skipped(skipped, skipping.CONSEQUENCES[topic])


def _show_skipped(skipped: "Skipped", consequence: str) -> None:
    gap = skipped.gap
    results().print(
        f"{gap.topic}/{gap.partition}: the sink goes on at {number(gap.to_offset)}; {gap.reason}."
    )
    results().print(consequence)
    if gap.walked:
        results().print(f"Full walks were asked for: {escape(', '.join(gap.walked))}")
    if skipped.unknown:
        warn(
            f"stored, but not known to the walker, so not walked: {', '.join(skipped.unknown)}: "
            "add these sites"
        )
