"""The demo's source: the city under its own name, and no other city's under any."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from pydantic import SecretStr

from pagestream.demo import city
from pagestream.embedded.datasette import EmbeddedDatasette
from runtime.http import HttpClient
from runtime.settings import Settings


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("city")
    city.unpack(folder / "meetings.db")
    server = EmbeddedDatasette(
        folder / "datasette",
        [folder / "meetings.db"],
        metadata=city.metadata(),
        plugins=city.PLUGINS,
    )
    yield server.start()
    server.kill()


def status(address: str, site: str, base: str = "localhost") -> int:
    place = address.removeprefix("http://")
    port = place.rpartition(":")[2]
    settings = Settings(
        _env_file=None,
        source_url=f"http://{{subdomain}}.{base}:{port}",
        source_connect=place,
        source_secret=SecretStr(""),
    )
    with closing(HttpClient(settings)) as client:
        return client.get(site, "/meetings/minutes.json", {"_size": "1"}).status


def test_the_city_is_served_under_its_own_name(address: str) -> None:
    assert status(address, city.CITY.site) == 200


@pytest.mark.parametrize("site", ["oakland.ca", "alameda.ny", "x.alameda.ca", "ca", "alameda"])
def test_under_another_name_there_is_no_such_site(address: str, site: str) -> None:
    assert status(address, site) == 302


def test_a_person_may_look_at_it_by_its_address(address: str) -> None:
    assert status(address, "127", base="0.0.1") == 200
