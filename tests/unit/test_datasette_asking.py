"""Refusals of the source, its word on when to ask again, and requests that nobody wants."""

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Final

import pytest
from fix_scripted_source import Answer, Scripted, ScriptedSource, answer, rows
from source_commands import door, prune, step

from producer.datasette.asking import Asking, Door, UnwantedError, always
from producer.pacing import HOLD_SECONDS, Limiter, StopRequestedError
from runtime.errors import SourceError
from runtime.http import HttpClient
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.commands import PrunePages, TakeStep

EXCEEDED: Final = '{"error": "rate_limit_exceeded"}'


def error_of(source: ScriptedSource, command: TakeStep | PrunePages | None = None) -> SourceError:
    with door(source) as datasette, pytest.raises(SourceError) as caught:
        datasette.fetch(command or step())
    return caught.value


@pytest.mark.parametrize("command", [step(), step("listing"), prune("a", control_id="b")])
@pytest.mark.parametrize(
    "refusal", [answer(EXCEEDED, status=402), answer(status=402), answer(status=429)]
)
def test_too_many_requests_say_when_to_ask_again(
    scripted: Scripted, command: TakeStep | PrunePages, refusal: Answer
) -> None:
    source = scripted.start(refusal)
    error = error_of(source, command)
    assert error.reason == "rate_limited"
    assert error.retry_after == pytest.approx(HOLD_SECONDS, abs=1)
    assert len(source.asked) == 1


def test_the_sources_own_word_is_heeded_in_seconds(scripted: Scripted) -> None:
    refusal = answer(status=429, headers={"Retry-After": 200})
    assert error_of(scripted.start(refusal)).retry_after == pytest.approx(200, abs=1)


def test_the_sources_own_word_is_heeded_as_a_date(scripted: Scripted) -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=300), usegmt=True)
    refusal = answer(EXCEEDED, status=402, headers={"Retry-After": then})
    assert error_of(scripted.start(refusal)).retry_after == pytest.approx(300, abs=5)


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (answer('{"error": "query_too_long"}', status=402), "refused"),
        (answer('{"error": "API key required"}', status=401), "refused"),
        (answer(status=403), "refused"),
        (answer(status=503, headers={"Retry-After": 200}), "server_error"),
    ],
)
def test_no_other_refusal_holds_anything_back(
    scripted: Scripted, refusal: Answer, reason: str
) -> None:
    source = scripted.start(refusal, rows([]))
    with door(source) as datasette:
        with pytest.raises(SourceError) as caught:
            datasette.fetch(step())
        datasette.fetch(step())
    assert (caught.value.reason, caught.value.retry_after) == (reason, None)


def test_any_other_answer_ends_a_row_of_refusals(scripted: Scripted) -> None:
    source = scripted.start(answer(EXCEEDED, status=402), answer(status=404))
    metrics, clock = Metrics(), [0.0]
    settings = Settings(_env_file=None, source_url=source.source_url)
    limiter = Limiter(None, metrics, threading.Event(), clock=lambda: clock[0])
    with closing(HttpClient(settings)) as http:
        asking = Asking(Door(http, limiter, metrics), step(), always)
        in_a_row = []
        for _ in range(2):
            with pytest.raises(SourceError):
                asking.ask("/meetings/minutes.json", {})
            clock[0] += HOLD_SECONDS + 1
            sample = metrics.registry.get_sample_value("pagestream_source_refusals_in_a_row")
            in_a_row.append(sample)
    assert in_a_row == [1, 0]


def test_what_nobody_wants_is_not_asked(scripted: Scripted) -> None:
    source = scripted.start(rows([{"id": "a", "page": 1}]))
    with door(source) as datasette:
        with pytest.raises(UnwantedError):
            datasette.download(step(), lambda: False)
        assert source.asked == []
        datasette.download(step(), always)()
    assert len(source.asked) == 1
    assert issubclass(UnwantedError, StopRequestedError)


def test_it_is_asked_before_each_request_whether_it_is_wanted(scripted: Scripted) -> None:
    source = scripted.start(answer(status=403))
    with door(source) as datasette, pytest.raises(UnwantedError):
        datasette.download(step("listing"), lambda: not source.asked)
    assert len(source.asked) == 1


def test_what_was_downloaded_is_decoded_by_whoever_calls(scripted: Scripted) -> None:
    source = scripted.start(rows([{"id": "b", "page": 1}, {"id": "a", "page": 1}]))
    with door(source) as datasette:
        decode = datasette.download(step(), always)
        raised: list[SourceError] = []

        def run() -> None:
            with pytest.raises(SourceError) as caught:
                decode()
            raised.append(caught.value)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert "do not rise" in str(raised[0])


def test_a_secret_that_nobody_has_is_said_so_and_nothing_is_asked(scripted: Scripted) -> None:
    source = scripted.start(rows([]))
    position = step().position
    command = TakeStep(
        site="alameda.ca",
        kind="minutes",
        walk=1,
        step=0,
        position=position,
        rows=10,
        secret="nobodys",  # noqa: S106 - a name
    )
    error = error_of(source, command)
    assert (error.reason, "nobodys" in str(error)) == ("refused", True)
    assert source.asked == []
