"""Reading the `.sql` files beside the projections: each query named, each described."""

import re
from pathlib import Path
from typing import Final

_HEADING: Final = re.compile(r"^-- name: (\w+)\n((?:-- .*\n)+)", re.MULTILINE)


def load(module_file: str) -> dict[str, str]:
    """Return the queries, by name, of the `.sql` file beside a module.

    Each begins with `-- name: <name>` and at least one line of comment. Raises ValueError for a
    file that holds anything else.
    """
    path = Path(module_file).with_suffix(".sql")
    before, *parts = _HEADING.split(path.read_text(encoding="utf-8"))
    if any(line and not line.startswith("--") for line in before.splitlines()):
        raise ValueError(f"{path.name} holds SQL before its first named query")
    queries = dict(zip(parts[::3], (query.strip() for query in parts[2::3]), strict=True))
    if len(queries) != len(parts) // 3 or "-- name:" in "".join(queries.values()):
        raise ValueError(f"{path.name} holds a query twice, or one without a description")
    return queries
