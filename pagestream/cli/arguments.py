"""Options that several commands share, and how their values are read."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from schemas.tables import KINDS, Kind, Table, is_site

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


def kinds_of(document_type: str) -> tuple[Kind, ...]:
    """Return the kinds that `agenda`, `minutes` or `both` stands for."""
    if document_type == "both":
        return KINDS
    return tuple(kind for kind in KINDS if kind == document_type)


def tables_of(site: str, document_type: str = "both") -> list[Table]:
    """Return the tables of a site that a document type stands for."""
    return [Table(site, kind) for kind in kinds_of(document_type)]
