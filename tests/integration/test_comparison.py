"""The comparison of source, topic and database, and counting, on a real topic and database."""

from contextlib import closing
from pathlib import Path

import pytest
from fix_services import KafkaCorner
from fix_source import build_database
from pydantic import SecretStr
from samples import gone, page, sent, source_row

from pagestream.comparison import Place, compare, hashes_in_source, hashes_in_topic
from pagestream.counting import Count, Stretch, records_in_each, records_in_topics
from pagestream.walks import partitions_of
from runtime.database.connections import connect
from runtime.kafka.cluster import Cluster
from runtime.kafka.publisher import Publisher
from runtime.settings import Settings
from schemas.records import WalkBarrier
from schemas.tables import Table
from schemas.topics import PAGES, TOPICS

TABLE = Table("alameda.ca", "minutes")


@pytest.fixture
def place(kafka: KafkaCorner, migrated_database: str, tmp_path: Path) -> Place:
    settings = Settings(
        kafka=kafka.bootstrap, topic_prefix=kafka.prefix, database=SecretStr(migrated_database)
    )
    cluster = Cluster(settings)
    cluster.create_topics()
    return Place(tmp_path / "meetings.db", settings, cluster)


def barrier() -> WalkBarrier:
    return WalkBarrier(
        site=TABLE.site, kind=TABLE.kind, number=1, walk=1, at="2026-01-01T00:00:00Z"
    )  # type: ignore[arg-type]  # only written


def test_the_newest_of_each_key_counts_and_deletions_do_not(place: Place) -> None:
    old, new, kept = page("a", text="before"), page("a", text="after"), page("c")
    records = [sent(old), sent(page("b")), sent(kept), sent(new), gone("b")]
    records += [sent(barrier()), sent(page("z", site="oakland.ca")), sent(page("z", kind="agenda"))]
    Publisher(place.settings).publish(records)
    found = hashes_in_topic(place.settings, place.cluster, TABLE)
    assert found == {"a": new.row_hash, "c": kept.row_hash}


def test_a_source_is_hashed_as_the_walker_does(place: Place) -> None:
    pages = [page("a"), page("b", entities=None, meeting=None), page("c", text="")]
    build_database(place.file, minutes=[source_row(one) for one in pages])
    assert hashes_in_source(place.file, "minutes") == {one.id: one.row_hash for one in pages}
    assert hashes_in_source(place.file, "agenda") == {}


def test_every_row_that_is_not_the_same_everywhere_is_named(place: Place) -> None:
    build_database(place.file, minutes=[source_row(page(i)) for i in ("a", "b")])
    Publisher(place.settings).publish([sent(page("b", text="other")), sent(page("c"))])
    found = compare(place, TABLE)
    assert not found.equal
    assert (found.source, found.topic, found.database) == (2, 2, 0)
    assert found.named() == "a, b, c"


def test_empty_tables_are_equal(place: Place) -> None:
    build_database(place.file)
    assert compare(place, TABLE).equal


def test_short_stretches_are_counted_and_long_ones_bounded(place: Place) -> None:
    Publisher(place.settings).publish([sent(page(str(i))) for i in range(5)])
    Publisher(place.settings).publish([sent(page("x", site="oakland.ca"))])
    ends = place.cluster.ends(partitions_of(PAGES))
    stretches = {partition: Stretch(0, end) for partition, end in ends.items()}
    counts = records_in_each(place.settings, stretches, limit=3)
    assert sorted(count for count in counts.values() if count.records) == [
        Count(1, exact=True),
        Count(5, exact=False),
    ]
    exact = records_in_topics(place.settings, place.cluster, TOPICS, everything=False)
    assert exact["pages"] == Count(6, exact=True)
    assert exact["ledger"] == Count(0, exact=True)


def test_a_row_that_was_changed_in_the_database_is_named(place: Place) -> None:
    with closing(connect(place.settings, "test")) as connection:
        connection.execute("""
            INSERT INTO pagestream_1.municipality (id, subdomain, placeholder)
            VALUES (1, 'alameda.ca', true)
        """)
        connection.execute("""
            INSERT INTO pagestream_1.meeting_document (id, municipality_id, kind)
            VALUES (1, 1, 'minutes')
        """)
        connection.execute("""
            INSERT INTO pagestream_1.meeting_page
                (municipality_id, document_id, kind, id, page_number, hash_version, text, row_hash)
            VALUES (1, 1, 'minutes', 'a', 1, 1, 'changed', 0)
        """)
    original = page("a", meeting=None, date=None, page_image=None, text="as it was")
    build_database(place.file, minutes=[source_row(original)])
    Publisher(place.settings).publish([sent(original)])
    assert compare(place, TABLE).differing == ("a",)
    with closing(connect(place.settings, "test")) as connection:
        connection.execute("UPDATE pagestream_1.meeting_page SET text = 'as it was'")
    assert compare(place, TABLE).equal
