"""The demo's city: its database, unpacked where Datasette can serve it, and what is known of it."""

import hashlib
import json
import lzma
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from schemas.records import Municipality

CITY: Final = Municipality(
    site="alameda.ca",
    name="Alameda",
    state="CA",
    country="US",
    municipality_kind="city",
    latitude=37.7652,
    longitude=-122.2416,
)
"""What is known of the city; its subdomain is the one that it has at civic.band."""

PLUGINS: Final = Path(__file__).with_name("plugins")
"""Datasette's plugins for the city: it answers under its own name alone."""


def database_file(directory: Path) -> Path:
    """Return where below `directory` the city's SQLite file belongs.

    Its folder is named by the content: a later release with other years does not find this one's.
    """
    return directory / hashlib.sha256(_packed()).hexdigest()[:12] / "meetings.db"


def unpack(database: Path) -> None:
    """Have the city's SQLite file there, whole or not at all; it is left alone if it exists."""
    if database.exists():
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    unfinished = database.with_suffix(".unfinished")
    unfinished.write_bytes(lzma.decompress(_packed()))
    unfinished.replace(database)


def _packed() -> bytes:
    return files("pagestream.demo").joinpath("meetings.db.xz").read_bytes()


def metadata() -> dict[str, Any]:
    """Return Datasette's metadata for the city, civic.band's own sort order with it.

    With it goes what the plugin below PLUGINS needs: the name under which the city is served.
    """
    text = files("pagestream.demo").joinpath("metadata.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found | {"plugins": {"one-site": {"site": CITY.site}}}
