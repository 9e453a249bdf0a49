"""What one replica, or the store, says of one key."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.clock import Dice, FakeClock
from harness.services.base import Client, Held, ServiceError
from harness.services.sqlite import SQLITE
from harness.state import reader as module
from harness.state.asker import Asked, Asker, Place, Ready
from harness.state.reader import KeyReader, StoreReader, Told
from tests.state.apps import CLOCK, MARK, Got, Says, app, asker, said, workload

REGISTER: dict[str, object] = {
    "model": "register",
    "write": {"PUT /items/{key}": {"name": "{value}"}},
    "read": {"request": "GET /items/{key}", "answer": "$.name", "nothing": 404},
}
SET: dict[str, object] = {
    "model": "set",
    "add": "POST /set/{key}/{value}",
    "read": {"request": "GET /set/{key}", "answer": "$.items[*]", "nothing": 404},
}
LOG: dict[str, object] = {
    "model": "log",
    "append": "POST /log/{key}/{value}",
    "read": {"request": "GET /log/{key}?from={page}", "answer": "$.entries[*]", "next": "$.next", "nothing": 404},
}
COUNTER: dict[str, object] = {
    "model": "counter",
    "add": "POST /count/{key}",
    "read": {"request": "GET /count/{key}", "answer": "regex:count=([0-9]+)"},
}


def read_with(asks: Any, place: Place, keys: dict[str, object], key: int = 3, **more: Any) -> Told:
    reader = KeyReader("items", workload(**keys), mark=MARK, clock=more.pop("clock", CLOCK), dice=Dice(1))
    return reader.read(asks, place, key, **more)


def read(answer: Callable[[Got], Says], keys: dict[str, object], **more: Any) -> tuple[Told, list[str]]:
    with app(answer) as web, closing(asker()) as asks:
        return read_with(asks, web.place, keys, **more), web.paths


@pytest.mark.parametrize(
    ("keys", "answer", "told"),
    [
        (REGISTER, said({"name": "2fecf0-7"}), Told(result="2fecf0-7")),
        (REGISTER, said({"name": None}), Told()),
        (REGISTER, said({}), Told(error="$.name is not one value in the answer")),
        (REGISTER, Says(status=404), Told()),
        (REGISTER, said({"name": 7}), Told(result="7")),
        (REGISTER, Says(body=b"<html>"), Told(error="$.name is not one value in the answer")),
        (REGISTER, Says(status=500), Told(error="answered with 500")),
        (SET, said({"items": ["a", "b"]}), Told(items=("a", "b"))),
        (SET, said({"items": []}), Told(items=())),
        (SET, Says(status=404), Told(items=())),
        (SET, Says(body=b"\xff"), Told(error="$.items[*] can't be read in the answer")),
        (COUNTER, Says(body=b"count=12"), Told(result="12")),
        (COUNTER, Says(body=b"count=1 count=2"), Told(error="regex:count=([0-9]+) is not one value in the answer")),
        (COUNTER, Says(status=404), Told(error="answered with 404")),
    ],
)
def test_an_answer_tells_values_or_why_it_does_not(keys: dict[str, object], answer: Says, told: Told) -> None:
    assert read(lambda _got: answer, keys)[0] == told


def test_a_key_travels_with_the_mark_and_the_name_of_its_workload() -> None:
    assert read(lambda _got: said({"name": "x"}), REGISTER)[1] == ["/items/2fecf0-items-3"]
    assert read(lambda _got: said({"name": "x"}), REGISTER, text="own-key")[1] == ["/items/own-key"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_tells_nothing_and_leads_nowhere(status: int) -> None:
    with app(lambda _got: said({"name": "foreign"})) as foreign:
        there = (("Location", f"http://127.0.0.1:{foreign.port}/items"),)
        told, _ = read(lambda _got: Says(status=status, headers=there, body=b'{"name": "x"}'), REGISTER)
        assert not foreign.asked
    assert told == Told(error=f"answered with {status}; redirects are not followed")


def pages(*listed: list[str]) -> Callable[[Got], Says]:
    def answer(got: Got) -> Says:
        number = int(got.path.partition("from=")[2] or 0)
        after = {"next": number + 1} if number + 1 < len(listed) else {}
        return said({"entries": listed[number], **after})

    return answer


def test_all_pages_are_read_in_their_order() -> None:
    told, paths = read(pages(["a", "b"], [], ["c"]), LOG)
    assert told == Told(items=("a", "b", "c"))
    assert paths == [f"/log/2fecf0-items-3?from={page}" for page in ("", "1", "2")]


def test_a_place_of_a_page_is_written_as_a_path_asks_for() -> None:
    _, paths = read(lambda got: said({"entries": [], **({} if "%" in got.path else {"next": "a+b/c=="})}), LOG)
    assert paths[1].endswith("?from=a%2Bb%2Fc%3D%3D")


def test_an_empty_next_page_is_none() -> None:
    for none in ("", None):
        assert read(lambda _got, none=none: said({"entries": ["a"], "next": none}), LOG)[0] == Told(items=("a",))  # type: ignore[misc]  # bound at once


def test_a_page_that_can_not_be_read_spoils_the_whole_read() -> None:
    def answer(got: Got) -> Says:
        return said({"entries": ["a"], "next": 2}) if got.path.endswith("=") else Says(status=500)

    assert read(answer, LOG)[0] == Told(error="answered with 500")


def test_pages_in_a_circle_are_told() -> None:
    told, paths = read(lambda _got: said({"entries": ["a"], "next": "again"}), LOG)
    assert told == Told(error='its pages go in a circle: "again" came twice')
    assert len(paths) == 2


class Pages:
    """Pages without an end, without a network; each takes a while of a fake clock."""

    def __init__(self, clock: FakeClock, each_s: float) -> None:
        self.clock = clock
        self.each_s = each_s
        self.count = 0

    def ask(self, _place: Place, _ready: Ready) -> Asked:
        self.count += 1
        self.clock.sleep(self.each_s)
        return Asked(at_ns=1, done_ns=2, status=200, body=json.dumps({"entries": [], "next": self.count}).encode())


@pytest.mark.parametrize(
    ("each_s", "count", "error"),
    [(0.0, 20, "it has more than 20 pages"), (25.0, 3, "its pages were not over after 60 s")],
)
def test_endless_pages_end(monkeypatch: pytest.MonkeyPatch, each_s: float, count: int, error: str) -> None:
    monkeypatch.setattr(module, "MOST_PAGES", 20)
    clock = FakeClock()
    endless = Pages(clock, each_s)
    assert read_with(cast("Asker", endless), Place(name="web.1", host="h", port=1), LOG, clock=clock) == Told(error=error)
    assert endless.count == count


def test_a_replica_that_dies_between_pages_is_an_error() -> None:
    def answer(_got: Got) -> Says:
        return Says(body=b'{"entries": ["a"], "next": 1}', cut=None if len(web.asked) == 1 else 3)

    with app(answer) as web, closing(asker()) as asks:
        assert read_with(asks, web.place, LOG) == Told(error="its body was cut off")


# --- the store


@pytest.fixture
def db(tmp_path: Path) -> Any:
    with closing(SQLITE.open(SQLITE.url("", 0, tmp_path))) as client:
        yield client


def stored(client: Any, keys: dict[str, object], **store: str) -> dict[int, Told]:
    made = workload(**({"keys": 2} | keys), store=store)
    return dict(StoreReader("items", made, cast("Client", client), mark=MARK).read_all())


def test_a_query_tells_each_key_its_value(db: Any) -> None:
    db.run("CREATE TABLE items (id TEXT, name)")
    query = "SELECT id, name FROM items ORDER BY rowid"
    assert stored(db, REGISTER, query=query) == {0: Told(), 1: Told()}
    db.run("INSERT INTO items VALUES ('2fecf0-items-1', '2fecf0-7'), ('other', 'x')")
    assert stored(db, REGISTER, query=query) == {0: Told(), 1: Told(result="2fecf0-7")}
    db.run("INSERT INTO items VALUES ('2fecf0-items-0', NULL), ('2fecf0-items-1', '2fecf0-8')")
    assert stored(db, REGISTER, query=query) == {0: Told(), 1: Told(error="the query of the store tells 2 rows of one key")}
    assert stored(db, SET, query=query) == {0: Told(items=()), 1: Told(items=("2fecf0-7", "2fecf0-8"))}
    assert stored(db, LOG, query=query)[1] == Told(items=("2fecf0-7", "2fecf0-8"))


def test_a_query_of_one_key_may_tell_values_alone(db: Any) -> None:
    db.run("CREATE TABLE n (value INTEGER)")
    db.run("INSERT INTO n VALUES (5)")
    assert stored(db, COUNTER | {"keys": 1}, query="SELECT value FROM n") == {0: Told(result="5")}
    (told,) = {each.error for each in stored(db, COUNTER, query="SELECT value FROM n").values()}
    assert told == "the query of the store tells 1 columns; it must tell the key and the value"


def test_a_store_that_can_not_be_asked_tells_why_for_every_key(db: Any) -> None:
    for told in stored(db, REGISTER, query="SELECT id, name FROM nowhere").values():
        assert "no such table: nowhere" in told.error
    assert stored(db, REGISTER, key="x")[0].error == "the store is asked by a query (store: query)"
    assert stored(FakeRedis({}), REGISTER, query="x")[0].error == "the store is asked by a key (store: key)"
    assert stored(object(), REGISTER, query="x")[0].error == "this kind of service can't be asked what it holds"


class FakeRedis:
    """Keys, without a Redis."""

    def __init__(self, keys: dict[str, Held]) -> None:
        self.keys = keys

    def held(self, key: str) -> Held:
        if key == "broken":
            raise ServiceError("Redis: away")
        return self.keys.get(key, Held())


@pytest.mark.parametrize(
    ("keys", "written", "told"),
    [
        (REGISTER, "{key}", (Told(result="7"), Told())),
        (REGISTER, "all", (Told(), Told(result="8"))),
        (REGISTER, "none", (Told(), Told())),
        (REGISTER, "set", (Told(error="the key set is one for all 2 keys; write {key} into it, or use a hash"),) * 2),
        (REGISTER, "broken", (Told(error="Redis: away"),) * 2),
        (SET, "s:{key}", (Told(items=("a", "b")), Told(items=()))),
        (SET, "{key}", (Told(error="the key {key} holds no set and no list"), Told(items=()))),
        (REGISTER, "s:{key}", (Told(error="the key s:{key} holds no text"), Told())),
        (SET | {"keys": 1}, "none", (Told(items=()),)),
        (SET | {"keys": 1}, "set", (Told(items=("a", "b")),)),
    ],
)
def test_a_key_of_redis_holds_a_text_the_elements_or_all_keys(keys: dict[str, object], written: str, told: tuple[Told, ...]) -> None:
    redis = FakeRedis(
        {
            "2fecf0-items-0": Held(value="7"),
            "all": Held(fields={"2fecf0-items-1": "8", "other": "9"}),
            "set": Held(items=("a", "b")),
            "s:2fecf0-items-0": Held(items=("a", "b")),
        }
    )
    assert tuple(stored(redis, keys, key=written).values()) == told


@settings(max_examples=50)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=5), max_size=5))
def test_texts_come_back_as_they_are(texts: list[str]) -> None:
    class Once:
        def ask(self, _place: Place, _ready: Ready) -> Asked:
            return Asked(at_ns=1, done_ns=2, status=200, body=json.dumps({"items": texts}).encode())

    assert read_with(cast("Asker", Once()), Place(name="web.1", host="h", port=1), SET) == Told(items=tuple(texts))
