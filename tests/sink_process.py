"""A sink's process, for tests that kill it: `sink_process.py [GROUP [careless]]`.

Everything is read from the environment, as always. In a GROUP of its own a sink is assigned every
partition, whoever else works on it. A careless one moves positions without comparing them.
"""

import sys
from collections.abc import Mapping

import msgspec
import psycopg

from consumers.batches import Span
from consumers.registry import CONSUMERS
from consumers.sink import loop, positions
from consumers.sink.positions import Origin
from runtime.errors import Stop
from runtime.health import Readiness
from runtime.kafka.records import Partition
from runtime.lifecycle import StopSignal
from runtime.logs import configure
from runtime.metrics import Metrics
from runtime.settings import load

MOVE_BLINDLY = """
    INSERT INTO sink_position (topic, partition, next_offset, applied_to, cluster_id, topic_id)
    VALUES (%(topic)s, %(partition)s, %(end)s, %(end)s, %(cluster)s, %(id)s)
    ON CONFLICT (topic, partition) DO UPDATE
    SET next_offset = greatest(sink_position.next_offset, excluded.next_offset)
"""


def move_blindly(
    connection: psycopg.Connection, spans: Mapping[Partition, Span], origin: Origin
) -> None:
    for (topic, number), span in sorted(spans.items()):
        given = {
            "topic": topic,
            "partition": number,
            "end": span.end,
            "cluster": origin.cluster_id,
            "id": origin.topic_ids[topic],
        }
        connection.execute(MOVE_BLINDLY, given)


def main() -> int:
    settings = load()
    configure(settings)
    stop = StopSignal()
    stop.install()
    for group in sys.argv[1:2]:
        vars(loop)["CONSUMERS"] = tuple(
            msgspec.structs.replace(consumer, group=group) for consumer in CONSUMERS
        )
    if sys.argv[2:] == ["careless"]:
        vars(positions)["move"] = move_blindly
    try:
        loop.run(settings, stop, Metrics(), Readiness())
    except Stop as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
