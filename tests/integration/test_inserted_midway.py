"""Rows that come while their table is walked: half of them land behind the cursor, and are named.

Row 33-inserted-midway. Ids are hashes, so a site that adds pages adds them everywhere; a walk that
goes by ids passes about half of them by. What the listing at its end names beyond what the walk
published is exactly what is missing, and a repair stores it.
"""

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from fault_source import meanwhile, nth
from fix_faults import FaultRig, answer_to, fault_settings
from fix_services import KafkaCorner
from fix_sink import SinkRig
from fix_source import SourceFarm, insert_rows, make_pages
from oracle import compare
from pydantic import SecretStr
from servers import Services

from schemas.commands import RefetchPages

BEFORE: Final = 2000
INSERTED: Final = 1000
ROWS: Final = 250


@pytest.fixture
def rig(services: Services, kafka: KafkaCorner, tmp_path: Path) -> Iterator[FaultRig]:
    """A walker at work on topics of this test's own: a sink is to read all that is in them."""
    rig = FaultRig(fault_settings(services, tmp_path, kafka.prefix))
    rig.run()
    yield rig
    rig.close()


def test_what_was_inserted_behind_the_cursor_is_listed_and_stored_by_a_repair(
    rig: FaultRig, source_farm: SourceFarm, migrated_database: str
) -> None:
    site = source_farm.private(version="1.0", minutes=make_pages("minutes", BEFORE))
    table, plot = rig.plot(site)
    new = make_pages("minutes", INSERTED, seed=1)

    def insert() -> None:
        with closing(sqlite3.connect(site.database)) as connection, connection:
            insert_rows(connection, "minutes", new)

    plot.trouble(nth(BEFORE // ROWS // 2 + 1), meanwhile(insert), times=1)
    settings = rig.settings.model_copy(update={"database": SecretStr(migrated_database)})
    sinks = SinkRig(settings)
    with sinks.running() as sink:
        rig.begin_walk(table, rows=ROWS)
        rig.ends(table)
        walked = rig.walked(table)
        assert len(walked.ids) == len(set(walked.ids))
        listed = [row["id"] for row in site.rows("minutes")]
        assert (len(listed), walked.listed) == (BEFORE + INSERTED, listed)
        missed = sorted(set(listed) - set(walked.ids))
        assert set(missed) < {row["id"] for row in new}
        # Half of them: ids are hashes.
        assert INSERTED * 3 // 8 < len(missed) < INSERTED * 5 // 8

        # The control arm: without the listing nobody knows of them, and they are not there.
        sinks.settle(sink)
        without = compare(site.database, migrated_database, table.site)
        assert [entry.partition("/")[2] for entry in without.missing] == missed
        assert (without.extra, without.different, without.dead_letters) == ([], [], [])

        chunks = (missed[begin : begin + 300] for begin in range(0, len(missed), 300))
        sent = [
            rig.send(
                RefetchPages, table, walk=1, round=number, ids=tuple(ids), control_id=listed[0]
            )
            for ids, number in zip(chunks, itertools.count(1), strict=False)
        ]
        answers = [answer_to(rig, table, command_id) for command_id in sent]
        assert {answer.answer for answer in answers} == {"done"}
        sinks.settle(sink)
    differences = compare(site.database, migrated_database, table.site)
    assert not differences, str(differences)
    assert [barrier.number for barrier in rig.walked(table).barriers] == [1, 2, 3][: 1 + len(sent)]
