"""Options that several commands share, and how their values are read."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pagestream.controls import STATUSES
from pagestream.targets import Target, parse_target
from schemas.tables import KINDS, Kind, Table, is_site
from schemas.walks import RequestedMode, Status

AsJson = Annotated[
    bool, typer.Option("--json", metavar="", help="Write JSON, for scripts, to stdout.")
]
StateDirectory = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        metavar="PATH",
        help="Where `pagestream up` and `pagestream demo` keep all that they need. Default: "
        "PAGESTREAM_STATE_DIRECTORY, else .pagestream.",
        show_default=False,
    ),
]
DocumentType = Literal["agenda", "minutes", "both"]
Yes = Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Do not ask: do it.")]
Mode = Annotated[
    RequestedMode,
    typer.Option(
        metavar="MODE",
        help="`full`, `incremental` (by date, around today), `verify` (ids only), or `auto`: in "
        "full until a full walk was verified, then incrementally.",
    ),
]


def _target(text: str) -> Target:
    try:
        return parse_target(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


Targets = Annotated[
    list[Target] | None,
    typer.Argument(
        metavar="TARGET",
        parser=_target,
        help="Sites (`alameda.ca`: both its tables) or single tables (`alameda.ca/minutes`).",
        show_default=False,
    ),
]


def _checked(words: list[str] | None) -> list[str] | None:
    for word in words or ():
        if word not in STATUSES:
            raise typer.BadParameter(f"{word!r} is none of {', '.join(STATUSES)}")
    return words


Statuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        callback=_checked,
        help="Those whose walk has this status, like `failed`; may be given repeatedly.",
        show_default=False,
    ),
]
Every = Annotated[bool, typer.Option("--all", metavar="", help="Every table that this applies to.")]


def statuses_of(words: list[str] | None) -> list[Status]:
    """Return the statuses that `--status` names."""
    return [status for status in STATUSES if status in (words or ())]


def site_name(name: str) -> str:
    """Return a subdomain as given; a usage error that states the rule when it is none."""
    if not is_site(name):
        raise typer.BadParameter(
            f"{name!r} is not a subdomain: lower-case letters, digits and hyphens in parts "
            "joined by dots, like alameda.ca"
        )
    return name


def site_name_or_none(name: str | None) -> str | None:
    """Return what `site_name` does, or None where nothing was given."""
    return None if name is None else site_name(name)


def site_or_all(name: str) -> str:
    """Return a site's name, or `all`; a usage error that states the rule when it is neither."""
    return name if name == "all" else site_name(name)


def kinds_of(document_type: str) -> tuple[Kind, ...]:
    """Return the kinds that `agenda`, `minutes` or `both` stands for."""
    if document_type == "both":
        return KINDS
    return tuple(kind for kind in KINDS if kind == document_type)


def tables_of(site: str, document_type: str = "both") -> list[Table]:
    """Return the tables of a site that a document type stands for."""
    return [Table(site, kind) for kind in kinds_of(document_type)]
