"""Ways to ask a source through the door to the web, with settings of one's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import pytest

from runtime.errors import SourceError
from runtime.http import HttpClient, Reason, Received
from runtime.settings import Settings


@contextmanager
def client(**settings: Any) -> Iterator[HttpClient]:
    """Return a client with these settings and no others."""
    http = HttpClient(Settings(_env_file=None, **settings))
    try:
        yield http
    finally:
        http.close()


def get(site: str = "alameda.ca", **settings: Any) -> Received:
    """Return what a site answers to one request of a client with these settings."""
    with client(**settings) as http:
        return http.get(site, "/meetings/minutes.json", {"_size": "10"})


def refused(site: str = "alameda.ca", **settings: Any) -> SourceError:
    """Return the error of one request, whose reason is one of the known ones."""
    with pytest.raises(SourceError) as caught:
        get(site, **settings)
    assert caught.value.reason in get_args(Reason)
    return caught.value
