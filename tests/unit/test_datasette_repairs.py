"""Repairs: what proves that an answer holds all rows, and each answer that only looks so."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from fix_scripted_source import Answer, Asked, Scripted, answer
from source_commands import door, is_sql, prune, refetch, repaired

from producer.datasette.queries import MAX_IDS_BYTES, rows_sql, split_ids
from producer.responses import RepairResponse
from runtime.errors import SourceError

Row = dict[str, Any]
Change = Callable[[Row], Row]

CONTROL = "000000000000"
IDS = tuple(f"{n:012x}" for n in range(1, 301))
FORBIDDEN = answer(status=403)


def row(page_id: str) -> Row:
    return {"id": page_id, "page": 1, "text": page_id}


def sound(asked: Asked, there: tuple[str, ...]) -> Row:
    """Return what Datasette 1.0 would answer if it held these rows."""
    wanted = set(json.loads(asked.query["ids" if is_sql(asked) else "id__in"]))
    found = [row(page_id) for page_id in there if page_id in wanted]
    if is_sql(asked):
        rows = [{**one, "rows_in_all": len(found)} for one in found]
        return {"ok": True, "rows": rows, "truncated": False}
    return {"ok": True, "rows": found, "next": None, "truncated": False, "count": len(found)}


@pytest.fixture(params=["sql", "paging"])
def takes_sql(request: pytest.FixtureRequest) -> bool:
    """Whether the site takes SQL: either way to the rows has the same traps."""
    return bool(request.param == "sql")


def front_end(takes_sql: bool, change: Change = dict) -> Callable[[Asked], Answer]:  # noqa: FBT001 - a fixture's value
    """Return a site that has the control row and all that are asked for, changed on the way."""

    def chosen(asked: Asked) -> Answer:
        if is_sql(asked) and not takes_sql:
            return FORBIDDEN
        return answer(json.dumps(change(sound(asked, (CONTROL, *IDS)))))

    return chosen


def repair(scripted: Scripted, chosen: Callable[[Asked], Answer]) -> RepairResponse:
    with door(scripted.choosing(chosen)) as source:
        return repaired(source, prune(*IDS, control_id=CONTROL))


def without_control(body: Row) -> Row:
    rows = [one for one in body["rows"] if one["id"] != CONTROL]
    return counted({**body, "rows": rows})


def counted(body: Row) -> Row:
    """Return an answer whose count fits its rows."""
    count = len(body["rows"])
    if "count" in body:
        return {**body, "count": count}
    return {**body, "rows": [{**one, "rows_in_all": count} for one in body["rows"]]}


TRAPS: dict[str, tuple[Change, str, str]] = {
    "a front end that gives a hundred rows at most": (
        lambda body: {**body, "rows": body["rows"][:100]},
        "check_count",
        "holds 100 rows, and counts 301",
    ),
    "a truncated answer": (
        lambda body: counted({**body, "rows": body["rows"][:100], "truncated": True}),
        "check_not_truncated",
        "it was truncated",
    ),
    "a row that nobody asked for": (
        lambda body: counted({**body, "rows": [*body["rows"][:50], row("0123456789ab")]}),
        "check_asked",
        "was not asked for: '0123456789ab'",
    ),
    "a table that lacks the control row": (without_control, "check_control", "is missing"),
    "a row that comes twice": (
        lambda body: {**body, "rows": [body["rows"][0], *body["rows"][:-1]]},
        "check_once",
        "comes twice",
    ),
}


def test_a_sound_answer_is_believed(scripted: Scripted, takes_sql: bool) -> None:  # noqa: FBT001 - a fixture's value
    response = repair(scripted, front_end(takes_sql))
    assert [page.id for page in response.pages] == list(IDS)
    assert (response.rejected, response.absent) == ((), ())


@pytest.mark.parametrize("trap", TRAPS)
def test_an_answer_that_may_be_short_is_broken(
    scripted: Scripted,
    takes_sql: bool,  # noqa: FBT001 - a fixture's value
    trap: str,
) -> None:
    change, _, said = TRAPS[trap]
    with pytest.raises(SourceError, match=said) as caught:
        repair(scripted, front_end(takes_sql, change))
    assert caught.value.reason == "broken_response"
    assert caught.value.received


@pytest.mark.parametrize("trap", TRAPS)
def test_without_its_check_it_would_pass_and_rows_would_be_deleted(
    scripted: Scripted,
    monkeypatch: pytest.MonkeyPatch,
    takes_sql: bool,  # noqa: FBT001 - a fixture's value
    trap: str,
) -> None:
    change, check, _ = TRAPS[trap]
    monkeypatch.setattr(f"producer.datasette.wholeness.{check}", lambda *_: None)
    if check == "check_once":  # the count notices it too: the one that was doubled hid another
        monkeypatch.setattr("producer.datasette.wholeness.check_count", lambda *_: None)
    if check == "check_control":
        gone = repair(scripted, front_end(takes_sql, lambda body: without_control(half(body))))
    else:
        gone = repair(scripted, front_end(takes_sql, change))
    assert gone.absent  # although the site has every one of them
    assert all(page_id in IDS for page_id in gone.absent)


def half(body: Row) -> Row:
    """Return an answer as a table gives it that is being filled anew."""
    return counted({**body, "rows": body["rows"][:150]})


@pytest.mark.parametrize("count", [None, 300, 302, "301", True, 10_001])
def test_only_the_exact_count_proves_anything(
    scripted: Scripted,
    takes_sql: bool,  # noqa: FBT001 - a fixture's value
    count: object,
) -> None:
    def miscounted(body: Row) -> Row:
        rows = [{**one, "rows_in_all": count} for one in body["rows"]]
        return {**body, "rows": rows, "count": count} if "count" in body else {**body, "rows": rows}

    with pytest.raises(SourceError, match="counts"):
        repair(scripted, front_end(takes_sql, miscounted))


def test_sql_that_is_cut_is_asked_for_page_by_page_instead(scripted: Scripted) -> None:
    def cut(body: Row) -> Row:
        return body if "next" in body else {**body, "rows": body["rows"][:100], "truncated": True}

    response = repair(scripted, front_end(takes_sql=True, change=cut))
    assert len(response.pages) == len(IDS)


def paged(scripted: Scripted, *tokens: str | None) -> tuple[list[Asked], Callable[[], Any]]:
    """Return what is asked of a site that gives three rows with these tokens in turn."""
    ids = (CONTROL, *IDS[:2])
    left = list(zip(ids, tokens, strict=False))

    def chosen(asked: Asked) -> Answer:
        if is_sql(asked):
            return FORBIDDEN
        page_id, token = left.pop(0)
        body = {"rows": [row(page_id)], "next": token, "truncated": False, "count": 3}
        return answer(json.dumps(body))

    source = scripted.choosing(chosen)

    def run() -> RepairResponse:
        with door(source) as datasette:
            return repaired(datasette, refetch(*IDS[:2], control_id=CONTROL))

    return source.asked, run


def test_an_answer_in_parts_is_followed_to_its_end(scripted: Scripted) -> None:
    asked, run = paged(scripted, "a,a", "b,b", None)
    assert [page.id for page in run().pages] == list(IDS[:2])
    assert [one.query.get("_next") for one in asked[2:]] == [None, "a,a", "b,b"]


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (("a,a", "a,a"), "do not come to an end"),
        (("a,a", None), "holds 2 rows, and counts 3"),
        ((None,), "holds 1 rows, and counts 3"),
    ],
)
def test_cursors_that_turn_in_circles_or_end_early_are_broken(
    scripted: Scripted, tokens: tuple[str | None, ...], said: str
) -> None:
    _, run = paged(scripted, *tokens)
    with pytest.raises(SourceError, match=said):
        run()


@pytest.mark.parametrize("status", [500, 400])
def test_a_query_that_takes_too_long_is_asked_in_halves(
    scripted: Scripted,
    takes_sql: bool,  # noqa: FBT001 - a fixture's value
    status: int,
) -> None:
    good = front_end(takes_sql)

    def slow(asked: Asked) -> Answer:
        if is_sql(asked) and not takes_sql:
            return FORBIDDEN
        many = len(json.loads(asked.query["ids" if is_sql(asked) else "id__in"])) > 80
        return answer('{"error": "interrupted"}', status=status) if many else good(asked)

    assert [page.id for page in repair(scripted, slow).pages] == list(IDS)


def test_a_response_of_which_every_row_is_refused_is_broken(
    scripted: Scripted,
    takes_sql: bool,  # noqa: FBT001 - a fixture's value
) -> None:
    def renamed(body: Row) -> Row:
        rows = [{name: one[name] for name in one if name != "page"} for one in body["rows"]]
        return {**body, "rows": rows}

    with pytest.raises(SourceError, match="every one of its 301 rows was refused"):
        repair(scripted, front_end(takes_sql, renamed))


@pytest.mark.parametrize(
    "body",
    [
        '{"rows": [{"id": null}, {"id": ""}], "next": null}',
        '{"rows": [], "next": "a,a"}',
        '{"rows": {}, "next": null}',
        '{"ok": true}',
        "<h1>Hello</h1>",
    ],
)
def test_a_table_of_which_nothing_is_known_proves_nothing(scripted: Scripted, body: str) -> None:
    source = scripted.start(answer(body))
    with door(source) as datasette, pytest.raises(SourceError) as caught:
        datasette.fetch(prune("a", control_id=None))
    assert (caught.value.reason, len(source.asked)) == ("broken_response", 1)


def test_the_first_usable_id_is_the_control(scripted: Scripted) -> None:
    def chosen(asked: Asked) -> Answer:
        if is_sql(asked) or "id__in" in asked.query:
            return answer(json.dumps(sound(asked, ("b", "c"))))
        return answer('{"rows": [{"id": null}, {"id": "b"}, {"id": "c"}], "next": "c,c"}')

    source = scripted.choosing(chosen)
    with door(source) as datasette:
        response = repaired(datasette, prune("a", "c", control_id=None))
    assert ([page.id for page in response.pages], response.absent) == (["c"], ("a",))
    assert json.loads(source.asked[1].query["ids"]) == ["b", "a", "c"]
    first = source.asked[0].query
    assert (first["_sort"], first["_col"], first.get("_next")) == ("id", "id", None)


def test_an_id_named_twice_is_one(scripted: Scripted) -> None:
    with door(scripted.choosing(front_end(takes_sql=True))) as source:
        response = repaired(source, refetch(IDS[0], IDS[0], "gone", "gone", control_id=CONTROL))
    assert [page.id for page in response.pages] == [IDS[0]]
    assert response.absent == ("gone",)


def test_sql_for_rows_is_fixed_text(scripted: Scripted) -> None:
    awkward = ("a'; drop table minutes --", "a,b", '"')
    query = rows_sql("agenda", awkward)
    assert set(query) == {"sql", "_shape", "ids"}
    assert json.loads(query["ids"]) == list(awkward)
    assert query["sql"] == rows_sql("agenda", ())["sql"]
    assert " from agendas where " in query["sql"]
    source = scripted.choosing(front_end(takes_sql=False))
    with door(source) as datasette:
        repaired(datasette, refetch(IDS[0], control_id=CONTROL))
    asked = source.asked[-1].query
    assert asked["_extra"] == "count"
    assert "_nocount" not in asked
    assert json.loads(asked["id__in"]) == [CONTROL, IDS[0]]


def test_three_hundred_usual_ids_are_one_request() -> None:
    assert list(split_ids(IDS, CONTROL)) == [(CONTROL, *IDS)]


@pytest.mark.parametrize("page_id", ["€" * 200, "😀" * 200, '"' * 200, "\\" * 200])
def test_long_ids_are_split(page_id: str) -> None:
    ids = [f"{n}{page_id}" for n in range(20)]
    parts = list(split_ids(ids, CONTROL))
    assert {part[0] for part in parts} == {CONTROL}
    assert [name for part in parts for name in part[1:]] == ids
    assert len(parts) >= 20 * len(page_id.encode()) / MAX_IDS_BYTES
    assert list(split_ids((), CONTROL)) == [(CONTROL,)]
