"""A password that was not escaped is refused before any part of it can be said."""

from typing import Final

import pytest
from pydantic import SecretStr

from runtime.database.connections import connect
from runtime.errors import ConfigurationError, DatabaseUnavailable
from runtime.settings import Settings

UNESCAPED: Final = ["left@right", "left/right", "left@@right", "left@right:word", "1@left/right"]


def settings(url: str) -> Settings:
    return Settings(database=SecretStr(url))


@pytest.mark.parametrize("password", UNESCAPED)
def test_a_password_that_is_cut_in_two_is_refused_unsaid(password: str) -> None:
    with pytest.raises(ConfigurationError, match=r"PAGESTREAM_DATABASE.*%40") as caught:
        connect(settings(f"postgresql://ana:{password}@127.0.0.1:1/copy"), "test")
    assert "left" not in str(caught.value)
    assert "right" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ana:left%40right@127.0.0.1:1/copy",
        "postgresql://ana:left:ri?ght@127.0.0.1:1,127.0.0.1:2/copy",
        "host=@abstract port=1 dbname=copy",
        "host=127.0.0.1 port=1 password=left@right",
    ],
)
def test_every_other_address_is_tried(url: str) -> None:
    with pytest.raises(DatabaseUnavailable):
        connect(settings(url), "test")
