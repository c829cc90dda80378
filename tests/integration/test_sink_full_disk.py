"""A full disk is nobody's fault: the sink waits, sets no record aside, and goes on with room."""

import random

from fix_disk import SmallDisk, database_on
from fix_services import migrate
from fix_sink import RunningSink, SinkRig, wait_until
from samples import page

from pagestream.embedded.postgres import EmbeddedPostgres

PAGES = 2000


def incompressible(number: int) -> str:
    return random.Random(number).randbytes(4000).hex()


def waits_for_room(running: RunningSink) -> bool:
    running.check()
    return any("53100" in reason for reason in running.readiness.reasons())


def tries(running: RunningSink) -> float:
    registry = running.metrics.registry
    return registry.get_sample_value("pagestream_database_retries_total") or 0


def test_the_sink_waits_for_room(
    sink_rig: SinkRig, private_postgres: EmbeddedPostgres, small_disk: SmallDisk
) -> None:
    private_postgres.start()
    database = database_on(small_disk, private_postgres)
    migrate(database)
    rig = sink_rig.on(database)
    rig.publish(page("first"))
    with rig.running() as running:
        rig.settle(running)
        small_disk.fill(leaving=1_000_000)
        rig.publish(*(page(f"{n:04}", text=incompressible(n)) for n in range(PAGES)))

        wait_until(lambda: waits_for_room(running), "the disk to be full")
        before, tried = rig.fingerprint(), tries(running)
        wait_until(lambda: waits_for_room(running) and tries(running) > tried + 2, "more tries")
        assert rig.fingerprint() == before
        assert rig.rows("SELECT FROM pagestream.dead_letter") == []

        small_disk.make_room()
        rig.settle(running)
        wait_until(lambda: not running.readiness.reasons(), "the sink to be ready again")
    assert rig.ids() == [*(f"{n:04}" for n in range(PAGES)), "first"]
    assert rig.rows("SELECT FROM pagestream.dead_letter") == []
    assert rig.figures() == {1: {"created": PAGES + 1}}
