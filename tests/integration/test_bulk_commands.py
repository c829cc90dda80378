"""Hundreds of tables steered in one go: one batch of commands, and an answer for each."""

from collections import Counter

from fix_terminal import CommandLine

from pagestream.requests import ask, settled
from pagestream.sites import requests_to_add
from runtime.kafka.cluster import Cluster
from runtime.settings import Settings
from schemas.records import Municipality

SITES = 200


def add_sites(line: CommandLine) -> None:
    """Make the sites known, without a command line for each."""
    settings = Settings(
        kafka=line.environment["PAGESTREAM_KAFKA"],
        topic_prefix=line.environment["PAGESTREAM_TOPIC_PREFIX"],
    )
    records = [Municipality(site=f"site{number}.ca") for number in range(SITES)]
    requests = [request for record in records for request in requests_to_add(record)]
    settled(requests, ask(settings, Cluster(settings), requests, busy=lambda _: None))


def test_hundreds_of_tables_are_answered_together(prepared: CommandLine) -> None:
    prepared.start("run", "walker", log_level="error")
    add_sites(prepared)
    done = prepared.ok("walks", "schedule", "--all", "--full", "never", "--json")
    assert Counter(reply["answer"] for reply in done.json) == {"done": 2 * SITES}
    shown = prepared.ok("walks", "force-full", "--all", "--yes")
    assert len(shown.out.splitlines()) < 30
    assert f"20 of {2 * SITES} are shown: {2 * SITES} done" in shown.err
    refused = prepared.run("walks", "pause", "--status", "pending")
    assert refused.code == 1
    assert f"{2 * SITES} refused" in refused.err
    assert f"(and {2 * SITES - 1} more)" in refused.err.splitlines()[-1]
