"""What is in PostgreSQL: Alembic running plain SQL files."""

from typing import Final

REVISIONS: Final = ("0001",)
"""Every revision of the schema, oldest first; the last is the one that this program needs."""

LOG_SCHEMA: Final = "pagestream_log"
"""What is told once and outlives every generation: walks, figures, barriers, dead letters."""

VERSION_TABLE: Final = f"{LOG_SCHEMA}.schema_version"
"""Where the database keeps its revision."""

GENERATION: Final = "pagestream_1"
"""The generation of the copy that the views show, and that the sink writes."""
