"""What the doctor says of a role when Kafka does not say whether it runs."""

from pagestream.diagnosis import running
from runtime.kafka.cluster import Cluster
from runtime.settings import Settings


def test_what_kafka_does_not_say_is_unknown_and_not_none() -> None:
    silent = Cluster(Settings(kafka="127.0.0.1:1"), seconds=0.5)
    found = running("walker", "pagestream.walkers", silent)
    assert (found.state, found.remedy) == ("warn", None)
    assert found.found.startswith("unknown: ")
    assert "does not answer" in found.found
