"""The copy itself, what is told about it, the views on both, and a role that may read them."""

from alembic import op

from migrations.steps import read, run_in_generation, run_once

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the first generation, the log beside it, the views and the reader's role."""
    op.execute("CREATE SCHEMA IF NOT EXISTS pagestream_1")
    connection = op.get_bind()
    run_in_generation(connection, "pagestream_1", read("m0001_generation.sql"))
    run_once("m0001_log.sql")
    run_in_generation(connection, "pagestream_1", read("m0001_views.sql"))
    run_once("m0001_reader.sql")
