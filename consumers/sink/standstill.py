"""Ending the transaction of a sink that stands still, for the sink that has taken over from it.

A process that was frozen in a transaction holds the positions that its successor wants to move. The
server's own deadline ends the transaction if it is idle. In the middle of a COPY it is not, and no
deadline runs. The group has given the partitions to the successor: so it may end the transaction,
and a sink that was only slow finds its batch undone, and goes on where the positions stand.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final

import psycopg

from consumers.queries import load
from runtime.database.fates import door, is_locked_out
from runtime.errors import DatabaseUnavailable, PagestreamError
from runtime.logs import logger

_QUERIES: Final = load(__file__)
_LONG: Final = timedelta(seconds=10)


def end_standstill(error: PagestreamError, connect: Callable[[], psycopg.Connection]) -> None:
    """End what stands in the way, if `error` says that something does."""
    if not is_locked_out(error):
        return
    # When the database is away meanwhile, whoever tries again comes upon it.
    with suppress(DatabaseUnavailable), door(), connect() as connection:
        ended = connection.execute(_QUERIES["end_standstill"], {"within": _LONG}).rowcount
        if ended:
            logger("sink").warning("standstill_ended", transactions=ended)
