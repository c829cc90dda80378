"""The fixtures themselves, on the servers that this run chose."""

import time

import psycopg
from confluent_kafka.admin import AdminClient, NewTopic
from fix_services import KafkaCorner
from fix_source import UNTYPED, SourceFarm, SourceSite, make_page


def test_database_is_empty_and_ours(database: str) -> None:
    with psycopg.connect(database) as connection:
        tables = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchone()
        encoding = connection.execute("SHOW server_encoding").fetchone()
        collation = connection.execute("SELECT 'B' < 'a', 'é' < 'z'").fetchone()
    assert tables == (0,)
    assert encoding == ("UTF8",)
    assert collation == (True, False)


def test_a_broker_with_a_prefix_of_our_own(kafka: KafkaCorner, kafka_admin: AdminClient) -> None:
    name = f"{kafka.prefix}.pages"
    kafka_admin.create_topics([NewTopic(name, 3, 1)])[name].result(20)
    deadline = time.monotonic() + 20
    while len(kafka_admin.list_topics(name).topics[name].partitions) != 3:
        assert time.monotonic() < deadline


def test_a_site_is_served_sorted_by_date_as_real_ones_are(source_site: SourceSite) -> None:
    response = source_site.get("/meetings/minutes.json?_shape=objects&_size=1000")
    dates = [row["date"] for row in response["rows"]]
    assert len(dates) == 1000
    assert dates == sorted(dates, reverse=True)
    assert response["next"]
    assert len(source_site.rows("minutes")) == 2300


def test_the_same_content_is_served_once(source_farm: SourceFarm) -> None:
    rows = [make_page("minutes", "CityCouncil", "2024-01-02", 1, "x")]
    first = source_farm.shared(minutes=rows)
    assert source_farm.shared(minutes=rows).url == first.url
    assert source_farm.private(minutes=rows).url != first.url


def test_a_table_without_types_keeps_any_id(source_farm: SourceFarm) -> None:
    rows = [make_page("minutes", "M", "2024-01-02", 1, "x", id=bad) for bad in (None, 7, 1.5, "")]
    site = source_farm.shared(minutes=rows, columns=UNTYPED, version="1.0")
    response = site.get("/meetings/minutes.json?_shape=objects&_sort=id")
    ids = [row["id"] for row in response["rows"]]
    assert ids == [None, 1.5, 7, ""]
