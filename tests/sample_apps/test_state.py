"""The state sample: each store as several processes use it at once, what the app answers, and what each planted defect does."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from itertools import chain
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from harness.services.memcached import MEMCACHED
from harness.services.postgres import POSTGRES
from harness.services.redis import REDIS
from sample_apps.state import defects
from sample_apps.state.__main__ import main
from sample_apps.state.app import create_app
from sample_apps.state.defects import DEFECTS, PAUSE_S, OwnCounts, WriteBehind, plant, skew_s
from sample_apps.state.memcached_sessions import MemcachedSessions
from sample_apps.state.memory_store import MemoryStore
from sample_apps.state.postgres_store import PostgresStore
from sample_apps.state.redis_store import RedisStore
from sample_apps.state.settings import Settings, SettingsError, read_settings
from sample_apps.state.sqlite_store import SqliteStore
from sample_apps.state.store import Store, StoreUnavailableError, open_store
from tests.services.brokers import Broker, free_port, serving, until

ROOT = Path(__file__).parents[2]
BOUND_S = 30.0
AT_ONCE = 4
EACH = 20

T = TypeVar("T")


class Closable(Store, Protocol):
    """A store with connections."""

    def close(self) -> None: ...


Open = Callable[[], Store]
"""Opens the same store once more, as another process does."""


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with serving(REDIS, tmp_path_factory.mktemp("redis")) as broker:
        yield broker


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with serving(POSTGRES, tmp_path_factory.mktemp("postgres")) as broker:
        yield broker
        broker.stop()  # one that is killed leaves a segment of shared memory behind


SHARED = [
    "sqlite",
    pytest.param("redis", marks=[pytest.mark.slow, pytest.mark.live]),
    pytest.param("postgres", marks=[pytest.mark.slow, pytest.mark.live]),
]
"""Stores that several processes may use at once."""


@pytest.fixture(params=["memory", *SHARED])
def another(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens a store of each kind; for dictionaries that is always the same one."""
    yield from opener(request, tmp_path)


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens a store of each kind that is a place for many."""
    yield from opener(request, tmp_path)


def opener(request: pytest.FixtureRequest, folder: Path) -> Iterator[Open]:
    kind = request.param
    memory = MemoryStore()
    opened: list[Closable] = []

    def one() -> Store:
        if kind == "memory":
            return memory
        store: Closable
        if kind == "sqlite":
            store = SqliteStore(folder / "state.db")
        elif kind == "redis":
            store = RedisStore(request.getfixturevalue("redis_server").url)
        else:
            store = PostgresStore(request.getfixturevalue("postgres").url)
        opened.append(store)
        return store

    yield one
    for store in opened:
        with suppress(sqlite3.ProgrammingError):  # SQLite's belongs to its thread, and was closed there
            store.close()


@pytest.fixture
def key() -> str:
    """A key of the test's own, as services outlive a test."""
    return uuid4().hex


def at_once(shared: Open, work: Callable[[Store, int], T]) -> list[T]:
    """What ``work`` returns, done by several threads that begin together, each with a store of its own and its number."""
    together = Barrier(AT_ONCE)

    def one(number: int) -> T:
        store = shared()
        try:
            store.ping()
            together.wait(BOUND_S)
            return work(store, number)
        finally:
            if isinstance(store, SqliteStore):
                store.close()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(one, range(AT_ONCE)))


# --- stores


def test_a_register_is_what_was_written_last(another: Open, key: str) -> None:
    store, other = another(), another()
    assert store.read(key) is None
    store.write(key, "one")
    assert other.read(key) == "one"
    other.write(key, "two")
    assert store.read(key) == "two"


def test_a_compare_and_set_changes_only_what_it_expects(another: Open, key: str) -> None:
    store, other = another(), another()
    assert not store.replace(key, "", "one")
    assert not store.replace(key, "none", "one")
    assert other.read(key) is None
    store.write(key, "one")
    assert other.replace(key, "one", "two")
    assert not store.replace(key, "one", "three")
    assert store.read(key) == "two"


def test_of_several_that_replace_one_value_one_wins(shared: Open, key: str) -> None:
    shared().write(key, "0")

    def climb(store: Store, number: int) -> int:
        won = 0
        for step in range(EACH):
            if store.replace(key, str(step), str(step + 1)):
                won += 1
            else:
                until(lambda: int(store.read(key) or 0) > step, within_s=BOUND_S)  # noqa: B023  called here and now
        return won

    # Who loses may come back to a step that others have left behind, so nobody wins one twice.
    assert sum(at_once(shared, climb)) == EACH
    assert shared().read(key) == str(EACH)


def test_a_counter_counts_each_once_and_says_so(shared: Open, key: str) -> None:
    assert shared().count(key) == 0
    told = at_once(shared, lambda store, _number: [store.add_one(key) for _ in range(EACH)])
    assert sorted(chain.from_iterable(told)) == list(range(1, AT_ONCE * EACH + 1))
    assert all(each == sorted(each) for each in told)
    assert shared().count(key) == AT_ONCE * EACH


def test_a_request_that_comes_again_counts_once_and_gets_the_first_answer(another: Open, key: str) -> None:
    store = another()
    assert [store.add_one(key, "r1"), store.add_one(key, "r2"), store.add_one(key), store.add_one(key, "r1")] == [1, 2, 3, 1]
    assert another().count(key) == 3


def test_a_request_that_comes_twice_at_once_counts_once(shared: Open, key: str) -> None:
    told = at_once(shared, lambda store, _number: [store.add_one(key, f"r{number}") for number in range(EACH)])
    assert all(each == told[0] for each in told)
    assert shared().count(key) == EACH


def test_a_counter_of_one_key_leaves_others_alone(another: Open, key: str) -> None:
    store = another()
    store.add_one(key, "r")
    store.add_one(f"{key}-2", "r")
    assert (store.count(key), store.count(f"{key}-2")) == (1, 1)


def test_a_set_has_what_was_added_and_not_removed(another: Open, key: str) -> None:
    store, other = another(), another()
    assert store.elements(key) == []
    for element in ("b", "a", "c", "a"):
        store.add(key, element)
    other.remove(key, "b")
    other.remove(key, "never there")
    assert (store.elements(key), store.has(key, "a"), store.has(key, "b")) == (["a", "c"], True, False)


def test_a_set_is_read_by_page_in_one_order(another: Open, key: str) -> None:
    store = another()
    for element in ("é", "Z", "a", "10", "9"):
        store.add(key, element)
    assert store.elements(key) == ["10", "9", "Z", "a", "é"]
    assert store.elements(key, "", 2) == ["10", "9"]
    assert store.elements(key, "9", 2) == ["Z", "a"]
    assert store.elements(key, "a", 2) == ["é"]
    assert store.elements(key, "é", 2) == []


def test_a_log_keeps_the_order_and_only_grows_at_its_end(shared: Open, key: str) -> None:
    def write_and_read(store: Store, number: int) -> list[list[str]]:
        seen = []
        for place in range(EACH):
            store.append(key, f"{number}-{place}")
            seen.append(store.entries(key))
        return seen

    reads = sorted(chain.from_iterable(at_once(shared, write_and_read)), key=len)
    whole = shared().entries(key)
    assert all(read == whole[: len(read)] for read in reads)
    assert sorted(whole) == sorted(f"{number}-{place}" for number in range(AT_ONCE) for place in range(EACH))


def test_keys_of_different_kinds_do_not_meet(another: Open, key: str) -> None:
    store = another()
    store.write(key, "1")
    store.add_one(key)
    store.add(key, "element")
    store.append(key, "entry")
    assert (store.read(key), store.count(key), store.elements(key), store.entries(key)) == ("1", 1, ["element"], ["entry"])


@pytest.mark.parametrize(
    "store",
    [
        SqliteStore(Path("/nowhere/at/all/state.db")),
        RedisStore("redis://127.0.0.1:9/0"),
        PostgresStore("postgresql://nobody@127.0.0.1:9/nothing"),
        MemcachedSessions(MemoryStore(), "memcached://127.0.0.1:9"),
    ],
    ids=["sqlite", "redis", "postgres", "memcached"],
)
def test_a_store_that_is_not_there_says_so(store: Store) -> None:
    with pytest.raises(StoreUnavailableError):
        store.ping()


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_a_store_that_closed_its_connections_is_found_again(kind: str, request: pytest.FixtureRequest, key: str) -> None:
    broker = request.getfixturevalue("redis_server" if kind == "redis" else "postgres")
    store: Closable = RedisStore(broker.url) if kind == "redis" else PostgresStore(broker.url)
    with closing(store), closing(broker.client()) as client:
        store.write(key, "kept")
        client.cut_connections()
        with suppress(StoreUnavailableError):  # the one request that finds out; it is not repeated
            store.read(key)
        assert store.read(key) == "kept"


@pytest.mark.slow
@pytest.mark.live
def test_sessions_in_memcached_are_there_for_all_until_it_ends_and_its_next_one_is_found_again(tmp_path: Path) -> None:
    rest = MemoryStore()
    with serving(MEMCACHED, tmp_path) as broker, ExitStack() as closed_later:
        one, other = (closed_later.enter_context(closing(MemcachedSessions(rest, broker.url))) for _ in range(2))
        one.ping()
        one.write("session/1", "ada")
        one.write("key", "value")
        assert (other.read("session/1"), other.read("key"), rest.read("session/1")) == ("ada", "value", None)
        broker.stop()
        with pytest.raises(StoreUnavailableError):
            other.read("session/1")
        broker.start()
        assert [each.read("session/1") for each in (one, other)] == [None, None]


# --- what the environment says


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({}, SqliteStore),
        ({"DATABASE_URL": "sqlite:////tmp/a%20b.db", "REDIS_URL": "redis://127.0.0.1"}, SqliteStore),
        ({"REDIS_URL": "redis://127.0.0.1"}, RedisStore),
        ({"DATABASE_URL": "postgresql://127.0.0.1/x", "REDIS_URL": "redis://127.0.0.1"}, PostgresStore),
        ({"DATABASE_URL": "postgres://127.0.0.1/x"}, PostgresStore),
        ({"MEMCACHED_URL": "memcached://127.0.0.1:1"}, MemcachedSessions),
    ],
)
def test_the_environment_names_the_store(environment: dict[str, str], kind: type[object]) -> None:
    settings = read_settings({"PORT": "8000", **environment})
    assert type(open_store(settings)) is kind
    assert str(settings.database_path) == ("/tmp/a b.db" if "sqlite" in str(environment) else str(settings.database_path))  # noqa: S108  a name


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "PORT must be a whole number from 1 to 65535, and it is not set."),
        ({"PORT": "1", "DEFECT": "own-goal"}, "DEFECT must be one of applies-twice, "),
        ({"PORT": "1", "DATABASE_URL": "mysql://x"}, "DATABASE_URL must begin with postgresql:// or sqlite:///, not be 'mysql://x'."),
        ({"PORT": "1", "MEMCACHED_URL": "127.0.0.1:11211"}, "MEMCACHED_URL must begin with memcached://, not be '127.0.0.1:11211'."),
        ({"PORT": "1", "DATABASE_URL": "sqlite:////nowhere/x.db"}, "DATABASE_PATH must be in a folder that exists"),
    ],
)
def test_a_wrong_variable_is_named(environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(environment)
    assert str(caught.value).startswith(said)


def test_a_wrong_environment_ends_with_status_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PORT", "none")
    assert main() == 2
    assert capsys.readouterr().err == "sample_apps.state: PORT must be a whole number from 1 to 65535, not 'none'.\n"


def test_the_readme_tells_of_every_defect_and_a_scenario_plants_it() -> None:
    readme = (ROOT / "sample_apps" / "README.md").read_text().partition("### Planted defects of state")[2]
    assert [name for name in DEFECTS if f"`{name}`" not in readme] == []
    scenarios = "".join(path.read_text() for path in (ROOT / "scenarios/known-bad").glob("state-*.yaml"))
    assert [name for name in DEFECTS if f"DEFECT: {name}}}" not in scenarios] == []


# --- what the app answers


@pytest.fixture
def client() -> FlaskClient:
    return create_app(MemoryStore()).test_client()


@pytest.mark.parametrize(
    ("asked", "status", "answer"),
    [
        (["GET /registers/k"], 404, {"error": "nobody has written it"}),
        (["PUT /registers/k v1", "GET /registers/k"], 200, {"value": "v1"}),
        (["PUT /registers/k v1", "PUT /registers/k?if=v1 v2"], 200, {"value": "v2"}),
        (["PUT /registers/k v1", "PUT /registers/k?if=v0 v2"], 409, {"error": "it has another value"}),
        (["GET /counters/k"], 200, {"count": 0}),
        (["POST /counters/k", "POST /counters/k"], 200, {"count": 2}),
        (["PUT /sets/k/a", "PUT /sets/k/b", "GET /sets/k"], 200, {"elements": ["a", "b"]}),
        (["PUT /sets/k/a", "PUT /sets/k/b", "GET /sets/k?limit=1"], 200, {"elements": ["a"], "next": "a"}),
        (["PUT /sets/k/a", "PUT /sets/k/b", "GET /sets/k?after=a&limit=2"], 200, {"elements": ["b"]}),
        (["PUT /sets/k/a", "GET /sets/k/a"], 200, {"element": "a"}),
        (["PUT /sets/k/a", "DELETE /sets/k/a", "GET /sets/k/a"], 404, {"error": "it is not in the set"}),
        (["GET /sets/k?limit=0"], 400, {"error": "limit must be a whole number from 1 on, not '0'."}),
        (["POST /logs/k one", "POST /logs/k two", "GET /logs/k"], 200, {"entries": ["one", "two"]}),
    ],
)
def test_the_app_answers_as_the_readme_says(client: FlaskClient, asked: list[str], status: int, answer: object) -> None:
    for line in asked:
        method, path, *value = line.split()
        got = client.open(path, method=method, json={"value": value[0]} if value else None)
    assert (got.status_code, got.json) == (status, answer)


def test_an_idempotency_key_counts_once(client: FlaskClient) -> None:
    answers = [client.post("/counters/k", headers={"Idempotency-Key": "r"}).json for _ in range(2)]
    assert answers == [{"count": 1}, {"count": 1}]


@pytest.mark.parametrize("path", ["PUT /registers/k", "POST /logs/k", "POST /login"])
@pytest.mark.parametrize("body", [{}, {"value": 1, "user": 1}, [], "value"])
def test_a_body_without_its_text_is_refused(client: FlaskClient, path: str, body: object) -> None:
    method, _, path = path.partition(" ")
    assert client.open(path, method=method, json=body).status_code == 400


def test_a_store_that_does_not_answer_is_503() -> None:
    client = create_app(SqliteStore(Path("/nowhere/at/all/state.db"))).test_client()
    assert [client.get(path).status_code for path in ("/healthz", "/registers/k", "/config", "/slow", "/")] == [503, 503, 200, 200, 200]


def test_a_journey_goes_through_any_number_of_replicas() -> None:
    store = MemoryStore()
    replicas = [create_app(store).test_client(use_cookies=False) for _ in range(5)]
    login = replicas[0].post("/login", json={"user": "ada"})
    cookie = {"Cookie": login.headers["Set-Cookie"].partition(";")[0]}
    assert replicas[1].get("/me", headers=cookie).json == {"user": "ada"}
    first = replicas[2].post("/form/step1", json={"name": "Ada"}, headers=cookie | {"X-CSRF-Token": login.get_json()["csrf"]})
    second = replicas[3].post("/form/step2", json={"address": "London"}, headers=cookie | {"X-CSRF-Token": first.get_json()["token"]})
    assert second.json == {"name": "Ada", "address": "London"}
    assert replicas[4].get("/me").status_code == 401


def test_a_form_needs_its_session_its_token_and_its_order(client: FlaskClient) -> None:
    assert client.post("/form/step1", json={"name": "Ada"}).status_code == 401
    csrf = client.post("/login", json={"user": "ada"}).get_json()["csrf"]
    assert client.post("/form/step2", json={"address": "London"}, headers={"X-CSRF-Token": csrf}).status_code == 409
    assert client.post("/form/step1", json={"name": "Ada"}).status_code == 403
    token = client.post("/form/step1", json={"name": "Ada"}, headers={"X-CSRF-Token": csrf}).get_json()["token"]
    assert client.post("/form/step2", json={"address": "London"}, headers={"X-CSRF-Token": csrf}).status_code == 403
    assert client.post("/form/step2", json={"address": "London"}, headers={"X-CSRF-Token": token}).status_code == 200
    client.set_cookie("session", f"{client.get_cookie('session').value}/form")  # type: ignore[union-attr]  # it was set above
    assert client.get("/me").status_code == 401


def test_an_upload_is_put_together_in_the_order_of_its_parts(client: FlaskClient) -> None:
    assert client.get("/upload/u").status_code == 404
    for part, text in ((10, "!"), (2, "world"), (1, "hello ")):
        assert client.put(f"/upload/u/{part}", data=text).json == {"upload": "u", "part": part, "length": len(text)}
    assert client.get("/upload/u").json == {"parts": [1, 2, 10], "text": "hello world!"}


# --- what is planted


@pytest.fixture
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defects, "_flushed_by", lambda _flush: None)


Replicas = Callable[[str], tuple[Any, Any, Store]]


@pytest.fixture
def replicas(tmp_path: Path, _no_threads: None) -> Replicas:
    """Two replicas with a defect, and the store behind both."""

    def two(defect: str) -> tuple[Store, Store, Store]:
        store = MemoryStore()
        settings = [settings_of(tmp_path, port, defect) for port in (8001, 8002)]
        one, other = (plant(store, each) for each in settings)
        return one, other, store

    return two


def settings_of(folder: Path, port: int, defect: str | None) -> Settings:
    return read_settings({"PORT": str(port), "DATABASE_PATH": str(folder / "state.db"), "DEFECT": defect or ""})


def test_without_a_defect_the_store_is_as_it_is(tmp_path: Path) -> None:
    store = MemoryStore()
    assert plant(store, settings_of(tmp_path, 8000, None)) is store


@pytest.mark.parametrize("defect", sorted({*DEFECTS} - {"memory"}))
def test_alone_and_left_in_peace_a_replica_with_a_defect_seems_right(replicas: Replicas, defect: str) -> None:
    store, _, _ = replicas(defect)
    store.ping()
    store.write("k", "one")
    assert store.replace("k", "one", "two")
    assert not store.replace("k", "one", "three")
    store.add("k", "a")
    store.add("k", "b")
    store.remove("k", "a")
    store.append("k", "x")
    assert [store.add_one("k"), store.add_one("k")] == [1, 2]
    assert (store.read("k"), store.count("k"), store.entries("k")) == ("two", 2, ["x"])
    assert (store.elements("k"), store.elements("k", "b", 1), store.has("k", "b"), store.has("k", "a")) == (["b"], [], True, False)


@pytest.mark.parametrize("defect", ["memory", "local-file"])
def test_each_has_a_state_of_its_own(replicas: Replicas, defect: str) -> None:
    one, other, store = replicas(defect)
    one.write("k", "v")
    one.add("k", "e")
    assert (one.read("k"), other.read("k"), store.read("k")) == ("v", None, None)
    assert (one.elements("k"), other.elements("k")) == (["e"], [])


def test_a_local_file_outlives_its_process(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 8001, "local-file")
    plant(MemoryStore(), settings).write("k", "v")
    assert plant(MemoryStore(), settings).read("k") == "v"


def test_a_cache_is_not_invalidated_by_others(replicas: Replicas) -> None:
    one, other, _ = replicas("cache")
    one.write("k", "old")
    one.add("k", "e")
    one.add_one("k")
    assert (other.read("k"), other.elements("k"), other.count("k")) == ("old", ["e"], 1)
    one.write("k", "new")
    one.add("k", "f")
    one.add_one("k")
    assert (one.read("k"), other.read("k")) == ("new", "old")
    assert (other.elements("k"), other.count("k")) == (["e"], 1)
    other.write("k", "newest")
    assert (one.read("k"), other.read("k")) == ("new", "newest")


def test_a_lagging_copy_does_not_even_see_its_own_writes_at_once(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(defects, "time", SimpleNamespace(monotonic=lambda: now[0]))
    one, _, _ = replicas("stale-replica")
    one.write("k", "old")
    assert one.read("k") == "old"
    one.write("k", "new")
    assert one.read("k") == "old"
    now[0] += defects.LAG_S
    assert one.read("k") == "new"


def test_a_session_is_known_to_one_replica_alone(replicas: Replicas) -> None:
    one, other, _ = replicas("sticky-session")
    clients = [create_app(each).test_client(use_cookies=False) for each in (one, other)]
    cookie = clients[0].post("/login", json={"user": "ada"}).headers["Set-Cookie"].partition(";")[0]
    assert [each.get("/me", headers={"Cookie": cookie}).status_code for each in clients] == [200, 401]
    one.write("k", "v")
    assert other.read("k") == "v"


@pytest.mark.parametrize("what", ["counter", "register"])
def test_what_others_write_between_look_and_change_is_lost(replicas: Replicas, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    one, other, _ = replicas("read-modify-write")
    one.write("k", "old")
    said: list[object] = []

    def others_come_in_between(pause_s: float) -> None:
        assert pause_s == PAUSE_S
        if not said:
            said.append(None)
            said.append(other.add_one("k") if what == "counter" else other.replace("k", "old", "theirs"))

    monkeypatch.setattr(defects, "time", SimpleNamespace(sleep=others_come_in_between))
    said.append(one.add_one("k") if what == "counter" else one.replace("k", "old", "ours"))
    assert said[1:] == ([1, 1] if what == "counter" else [True, True])
    assert (one.count("k") if what == "counter" else other.read("k")) == (1 if what == "counter" else "ours")


def test_what_is_written_behind_is_seen_by_others_later_and_lost_with_the_process(replicas: Replicas) -> None:
    one, other, store = replicas("write-behind")
    assert isinstance(one, WriteBehind)
    one.write("k", "v")
    one.add("k", "e")
    one.append("k", "x")
    assert one.add_one("k", "r") == 1
    assert (one.read("k"), one.elements("k"), one.entries("k"), one.count("k")) == ("v", ["e"], ["x"], 1)
    assert (other.read("k"), other.elements("k"), other.entries("k"), other.count("k")) == (None, [], [], 0)
    one.flush()
    assert (other.read("k"), other.elements("k"), other.entries("k"), other.count("k")) == ("v", ["e"], ["x"], 1)
    one.remove("k", "e")
    assert (one.has("k", "e"), store.has("k", "e")) == (False, True)


def test_a_write_with_an_older_time_is_dropped_though_it_is_acknowledged(replicas: Replicas) -> None:
    one, other, _ = replicas("wall-clock")
    ahead, behind = sorted((one, other), key=lambda replica: -replica._skew_s)
    assert ahead._skew_s - behind._skew_s > 0.1
    ahead.write("k", "ahead")
    behind.write("k", "behind")
    assert [replica.read("k") for replica in (one, other)] == ["ahead", "ahead"]
    ahead.append("k", "first")
    behind.append("k", "second")
    assert one.entries("k") == ["second", "first"]


def test_clocks_are_wrong_by_a_fixed_time_that_differs_between_replicas() -> None:
    skews = [skew_s(f"host-{port}") for port in range(8000, 8050)]
    assert skews == [skew_s(f"host-{port}") for port in range(8000, 8050)]
    assert len(set(skews)) == 50
    assert max(map(abs, skews)) <= defects.MOST_SKEW_S


def test_what_each_process_counts_is_seen_by_others_later_and_lost_with_the_process(replicas: Replicas) -> None:
    one, other, _ = replicas("counter-per-process")
    assert isinstance(one, OwnCounts)
    assert [one.add_one("k"), one.add_one("k"), other.add_one("k")] == [1, 2, 1]
    one.flush()
    assert (one.count("k"), other.count("k")) == (2, 3)
    one.add_one("k")
    other.flush()
    assert (one.count("k"), other.count("k")) == (4, 3)


def test_every_fifth_is_applied_twice(replicas: Replicas) -> None:
    one, _, store = replicas("applies-twice")
    for number in range(5):
        one.add_one("k", f"r{number}")
        one.append("k", str(number))
    assert store.count("k") + len(store.entries("k")) == 12


@pytest.mark.parametrize("defect", ["applies-twice", "ignores-idempotency-key"])
def test_an_idempotency_key_may_mean_nothing(replicas: Replicas, defect: str) -> None:
    one, other, store = replicas(defect)
    one.add_one("k", "r")
    other.add_one("k", "r")
    assert store.count("k") == 2


def test_every_fourth_compare_and_set_that_happened_is_refused(replicas: Replicas) -> None:
    one, other, _ = replicas("rejects-after-write")
    one.write("k", "0")
    assert [one.replace("k", str(step), str(step + 1)) for step in range(4)] == [True, True, True, False]
    assert other.read("k") == "4"


def test_what_one_replica_removed_is_there_at_another(replicas: Replicas) -> None:
    one, other, _ = replicas("own-removals")
    one.add("k", "e")
    one.remove("k", "e")
    assert (one.has("k", "e"), one.elements("k"), other.has("k", "e"), other.elements("k")) == (False, [], True, ["e"])
    one.add("k", "e")
    assert one.has("k", "e")


def test_each_process_may_draw_a_version_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PORT", "8000")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'state.db'}")

    def versions(defect: str) -> list[str]:
        monkeypatch.setenv("DEFECT", defect)
        return [create_app().test_client().get("/config").get_json()["version"] for _ in range(2)]

    assert len(set(versions(""))) == 1
    assert len(set(versions("own-version"))) == 2


# --- as processes


class Replica:
    """One started app."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self.log = folder / f"{self.port}.log"
        own = ("DEFECT", "REDIS_URL", "DATABASE_URL", "DATABASE_PATH", "HOST", "WEB_CONCURRENCY", "GRACEFUL_TIMEOUT", "GUNICORN_CMD_ARGS")
        inherited = {name: value for name, value in os.environ.items() if name not in own}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sample_apps.state"],
                cwd=ROOT,
                env={**inherited, "PORT": str(self.port), "TMPDIR": str(folder), **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def healthy(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask("GET", "/healthz")[0] == 200
        except OSError:
            return False

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=BOUND_S)) as connection:
            connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
            with connection.getresponse() as response:
                return response.status, response.read()

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(BOUND_S)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """Starts a replica; all are gone when the test ends."""
    with ExitStack() as started:

        def one(**environment: str) -> Replica:
            replica = started.enter_context(closing(Replica(tmp_path, environment)))
            until(replica.healthy, replica.log.read_text(), within_s=BOUND_S)
            return replica

        yield one


def where(kind: str, folder: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """The variable that names the store."""
    if kind == "sqlite":
        return {"DATABASE_URL": f"sqlite:///{folder / 'state.db'}"}
    if kind == "redis":
        return {"REDIS_URL": request.getfixturevalue("redis_server").url}
    return {"DATABASE_URL": request.getfixturevalue("postgres").url}


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize("kind", ["sqlite", "redis", "postgres"])
def test_replicas_share_their_state_and_one_that_is_killed_takes_nothing_along(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, start: Callable[..., Replica], key: str
) -> None:
    one, other = (start(**where(kind, tmp_path, request)) for _ in range(2))
    assert one.ask("PUT", f"/registers/{key}", {"value": "v"})[0] == 200
    assert one.ask("POST", f"/counters/{key}") == (200, b'{"count":1}\n')
    one.close()
    assert other.ask("GET", f"/registers/{key}") == (200, b'{"value":"v"}\n')
    assert other.ask("POST", f"/counters/{key}") == (200, b'{"count":2}\n')
    other.process.send_signal(signal.SIGTERM)
    assert other.process.wait(BOUND_S) == 0


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize("defect", ["write-behind", "counter-per-process"])
def test_what_was_not_written_is_written_at_sigterm(defect: str, start: Callable[..., Replica]) -> None:
    one = start(DEFECT=defect)
    for _ in range(3):
        one.ask("POST", "/counters/k")
    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(BOUND_S) == 0
    assert start(DEFECT=defect).ask("GET", "/counters/k") == (200, b'{"count":3}\n')
