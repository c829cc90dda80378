"""What walks came to: the summary at the end of a backfill, and what is said of it."""

from collections.abc import Sequence
from typing import Final

from pagestream.backfilling import FollowedWalk, WalkResult, result_of
from pagestream.cli.screen import duration, grid, number, results, say, status, warn
from runtime.errors import NotDone

_MOST_ROWS: Final = 20
_MOST_NAMED: Final = 10
_FIGURES: Final = ("created", "updated", "unchanged", "deleted", "errors")


def show_results(walks: Sequence[FollowedWalk]) -> None:
    """Show what each walk came to: of many, those that failed and the largest, and the sums."""
    found = [result_of(walk) for walk in walks]
    failed = {(result_of(walk).site, result_of(walk).kind) for walk in walks if walk.failed}
    numbers = (*_FIGURES, "expected", "actual", "time")
    table = grid("table", "walk", "status", *numbers, numbers=numbers)
    ordered = found
    if len(found) > _MOST_ROWS:
        ordered = sorted(found, key=lambda one: ((one.site, one.kind) not in failed, -one.pages))
    for result in ordered[:_MOST_ROWS]:
        table.add_row(*_row(result))
    if len(found) > 1:
        table.add_section()
        table.add_row(*_totals(found))
    results().print(table)
    if len(found) > _MOST_ROWS:
        say(f"[dim]{_MOST_ROWS} of {len(found):,} walks are shown; --json gives all[/]")


def _row(result: WalkResult) -> list[str]:
    return [
        f"{result.site}/{result.kind}",
        f"{result.walk} {result.mode}",
        status(result.status),
        *(number(getattr(result, figure)) for figure in _FIGURES),
        number(result.expected),
        number(result.actual),
        "" if result.seconds is None else duration(result.seconds),
    ]


def _totals(found: Sequence[WalkResult]) -> list[str]:
    sums = [sum(getattr(one, figure) for one in found) for figure in _FIGURES]
    expected = [one.expected for one in found if one.expected is not None]
    actual = [one.actual for one in found if one.actual is not None]
    return [
        f"all {len(found):,}",
        "",
        "",
        *map(number, sums),
        number(sum(expected)) if expected else "unknown",
        number(sum(actual)) if actual else "unknown",
        "",
    ]


def what_became(result: WalkResult) -> str:
    """Return, as markup, how many of a walk's pages were new, changed and so on."""
    counts = {
        "new": result.created,
        "changed": result.updated,
        "unchanged": result.unchanged,
        "deleted": result.deleted,
        "[red]rejected[/]": result.errors,
    }
    return ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)


def report_failures(walks: Sequence[FollowedWalk]) -> None:
    """Raise NotDone when a walk did not come to its end; first warn of rows that were refused."""
    _warn_of_rejected(walks)
    failed = [result_of(walk) for walk in walks if walk.failed]
    if failed:
        first = failed[0]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise NotDone(
            f"walk {first.walk} of {first.site}/{first.kind} {_became(first)}: "
            f"{first.error or 'no reason was given'}{more}",
            remedy="see `pagestream walks`; `pagestream backfill --resume` goes on where it stands",
        )


def _became(result: WalkResult) -> str:
    if result.status == "pending":
        return "did not begin"
    return "stands still" if result.status == "paused" else f"ended as {result.status}"


def _warn_of_rejected(walks: Sequence[FollowedWalk]) -> None:
    found = map(result_of, walks)
    named = [f"{one.errors:,} of {one.site}/{one.kind}" for one in found if one.errors]
    if named:
        more = f" and {len(named) - _MOST_NAMED} more tables" if len(named) > _MOST_NAMED else ""
        warn(
            f"rows were rejected: {', '.join(named[:_MOST_NAMED])}{more}; each is in "
            "pagestream.dead_letter in the database, with its reason and as it came"
        )
