"""SQLite as a service: a table of jobs with locks, and effects as the rows of a query, each on a real file."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.job_history import DELAYED, HELD, READY, SET_ASIDE
from harness.services import KINDS
from harness.services.base import Client, DoneSpec, PutRefusedError, Queue, QueueSpec, Rows, ServiceEffects, ServiceError
from harness.services.sqlite import SQLITE

QUERY = "SELECT job FROM effects"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return SQLITE.url("127.0.0.1", 0, tmp_path)


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with closing(SQLITE.open(url)) as opened:
        yield opened


@pytest.fixture
def queue(client: Client) -> Queue:
    made = client.queue(QueueSpec(form="table", name="jobs"))
    made.declare()
    return made


@pytest.fixture
def app(tmp_path: Path, client: Client) -> Iterator[sqlite3.Connection]:
    """Another program that has the file open."""
    client.ready()
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as opened:
        yield opened


def effects_of(client: Client, query: str = QUERY) -> ServiceEffects:
    return client.effects(DoneSpec(kind="query", name=query))


def made(app: sqlite3.Connection, *jobs: str) -> None:
    app.execute("CREATE TABLE IF NOT EXISTS effects (job TEXT)")
    app.executemany("INSERT INTO effects (job) VALUES (?)", [(job,) for job in jobs])


def test_it_is_a_file_that_nobody_starts_and_that_has_no_connections(url: str, client: Client) -> None:
    assert KINDS["sqlite"] is SQLITE
    assert SQLITE.launch(durable=True) is None
    assert client.ready() == sqlite3.sqlite_version
    assert SQLITE.own(url, "2fecf0") == url
    with pytest.raises(ServiceError, match="nobody is connected"):
        client.cut_connections()


def test_a_relative_path_is_of_the_folder_in_which_jetable_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "their jobs?.db").touch()
    url = SQLITE.own("sqlite:///their%20jobs%3F.db?timeout=20", "2fecf0")
    assert url == f"sqlite:///{tmp_path}/their%20jobs%3F.db?timeout=20"
    assert SQLITE.own(url, "2fecf0") == url
    monkeypatch.chdir("/")
    with closing(SQLITE.open(url)) as client:
        assert client.ready() == sqlite3.sqlite_version
    assert (tmp_path / "their jobs?.db").stat().st_size == 0


def test_a_file_that_can_not_be_opened_is_an_error_that_names_it() -> None:
    with closing(SQLITE.open("sqlite:////no/such/folder/jobs.db")) as client, pytest.raises(ServiceError, match="/no/such/folder"):
        client.ready()


def test_a_mistyped_path_to_a_file_of_others_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"there is no file .*/jbos\.db"):
        SQLITE.own(f"sqlite:///{tmp_path}/jbos.db", "2fecf0")
    with pytest.raises(ServiceError, match="there is no file"):
        SQLITE.own(f"sqlite:///{tmp_path}", "2fecf0")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_the_journal_of_a_file_that_others_made_stays_as_it_is(tmp_path: Path, url: str, journal: str) -> None:
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as app:
        app.execute(f"PRAGMA journal_mode={journal}")
        app.execute("CREATE TABLE theirs (id INTEGER)")
    with closing(SQLITE.open(url)) as client:
        client.queue(QueueSpec(form="table", name="jobs")).declare()
    assert journal_of(tmp_path / "jobs.db") == journal


def test_a_file_that_is_made_here_is_written_ahead(tmp_path: Path, url: str) -> None:
    with closing(SQLITE.open(url)) as client, closing(SQLITE.open(url)) as second:
        client.ready()
        second.ready()
    assert journal_of(tmp_path / "jobs.db") == "wal"


def journal_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as app:
        return str(app.execute("PRAGMA journal_mode").fetchone()[0])


def test_a_path_may_hold_what_a_url_must_quote(tmp_path: Path) -> None:
    with closing(SQLITE.open(f"sqlite:///{tmp_path}/a%20b.db")) as client:
        client.ready()
    assert (tmp_path / "a b.db").exists()


@pytest.mark.parametrize(("folder", "file"), [(0o777, 0o666), (0o700, 0o600)])
def test_who_may_write_to_the_folder_may_write_to_the_file(tmp_path: Path, folder: int, file: int) -> None:
    tmp_path.chmod(folder)
    with closing(SQLITE.open(f"sqlite:///{tmp_path}/jobs.db")) as client:
        client.queue(QueueSpec(form="table", name="jobs")).declare()
        assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
            f"jobs.db{end}": file for end in ("", "-shm", "-wal")
        }


def test_jobs_are_counted_by_what_workers_may_do_with_them(queue: Queue, app: sqlite3.Connection) -> None:
    assert queue.look().empty
    for number in range(5):
        queue.put(f"m-{number}", f'{{"id": "m-{number}"}}')
    now = time.time()
    app.execute("UPDATE jobs SET locked_by = 'worker.1', locked_until = ?, attempts = 2 WHERE id = 2", (now + 60,))
    app.execute("UPDATE jobs SET locked_by = 'worker.2', locked_until = ?, attempts = 1 WHERE id = 3", (now - 60,))
    app.execute("UPDATE jobs SET run_at = ? WHERE id = 4", (now + 60,))
    app.execute("UPDATE jobs SET failed_at = ? WHERE id = 5", (now,))
    look = queue.look()
    assert (look.ready, look.held, look.delayed, look.set_aside, look.empty) == (2, 1, 1, 1, False)
    told = queue.told(10)
    assert told is not None
    assert [each.state for each in told] == [READY, HELD, READY, DELAYED, SET_ASIDE]
    assert [each.text for each in told] == [f'{{"id": "m-{number}"}}' for number in range(5)]
    assert (told[1].by, told[1].deliveries, told[1].redelivered) == ("worker.1", 2, True)
    assert told[1].until_s == pytest.approx(60, abs=30)
    assert (told[2].by, told[2].until_s, told[2].redelivered) == ("", None, False)
    assert [each.text for each in queue.take_rest(2)] == [each.text for each in told[:2]]


def test_a_put_into_a_table_that_is_gone_is_refused_and_leaves_nothing(queue: Queue) -> None:
    queue.remove()
    queue.remove()
    with pytest.raises(PutRefusedError, match="no such table: jobs"):
        queue.put("m-0", "m-0")
    queue.declare()
    queue.declare()
    assert queue.look().empty


def test_a_table_may_have_any_name(client: Client) -> None:
    queue = client.queue(QueueSpec(form="table", name='a "b"; c'))
    queue.declare()
    queue.put("m-0", "m-0")
    assert queue.look().ready == 1


def test_there_are_no_effects_before_the_app_has_made_its_table(client: Client, app: sqlite3.Connection) -> None:
    effects = effects_of(client)
    assert effects.new() == []
    made(app, "m-0")
    assert effects.new() == ["m-0"]
    assert effects.new() == []


def test_a_query_that_is_wrong_is_an_error(client: Client, app: sqlite3.Connection) -> None:
    made(app)
    with pytest.raises(ServiceError, match="no such column: jib"):
        effects_of(client, "SELECT jib FROM effects").new()
    with pytest.raises(ServiceError, match="syntax error"):
        effects_of(client, "SELECT job FRM effects").new()


def test_an_effect_that_is_there_twice_is_handed_out_twice(client: Client, app: sqlite3.Connection) -> None:
    effects = effects_of(client)
    made(app, "m-0", "m-1", "m-0")
    assert Counter(effects.new()) == {"m-0": 2, "m-1": 1}
    made(app, "m-1")
    assert effects.new() == ["m-1"]
    assert effects.counts


def test_a_query_of_any_kind_is_read_whole(client: Client, app: sqlite3.Connection) -> None:
    made(app, "m-0", "m-1")
    effects = effects_of(client, "SELECT job || '!' FROM effects WHERE job <> 'm-1' ORDER BY job")
    assert effects.new() == ["m-0!"]
    made(app, "m-2")
    assert effects.new() == ["m-2!"]


@pytest.mark.parametrize("table", ["VIEW effects AS SELECT job FROM raw", "TABLE effects (job TEXT PRIMARY KEY) WITHOUT ROWID"])
def test_what_has_no_row_ids_is_read_whole(client: Client, app: sqlite3.Connection, table: str) -> None:
    app.execute("CREATE TABLE raw (job TEXT)")
    app.execute(f"CREATE {table}")
    target = "raw" if "VIEW" in table else "effects"
    effects = effects_of(client)
    for number in range(3):
        app.execute(f"INSERT INTO {target} (job) VALUES (?)", (f"m-{number}",))  # noqa: S608  one of two names
        assert effects.new() == [f"m-{number}"]


change = st.tuples(st.sampled_from(["insert", "insert", "insert", "delete", "replace", "number", "look"]), st.integers(0, 9))


@settings(max_examples=40)
@given(changes=st.lists(change, max_size=30), quick=st.booleans())
@pytest.mark.slow
def test_reading_what_was_appended_finds_what_reading_all_finds(*, changes: list[tuple[str, int]], quick: bool) -> None:
    """In whatever way the app changes its rows: never more than all rows tell, and at the end as much."""
    with tempfile.TemporaryDirectory() as folder, closing(SQLITE.open(f"sqlite:///{folder}/jobs.db")) as client:
        client.ready()
        with closing(sqlite3.connect(f"{folder}/jobs.db", isolation_level=None)) as app:
            app.execute("CREATE TABLE effects (id INTEGER PRIMARY KEY, job TEXT)")
            effects = effects_of(client)
            whole = effects_of(client, QUERY + " WHERE 1")
            found: Counter[str] = Counter()
            expected: Counter[str] = Counter()
            for what, number in [*changes, ("look", 0)]:
                apply(app, what, number)
                effects._took_ns = 0 if quick else 10**12  # type: ignore[attr-defined]  # whether all rows are due again
                found.update(effects.new())
                expected.update(whole.new())
                assert not found - expected
            effects._took_ns = 0  # type: ignore[attr-defined]  # the same
            made(app, "end")
            found.update(effects.new())
            expected.update(whole.new())
            assert found == expected


def apply(app: sqlite3.Connection, what: str, number: int) -> None:
    if what == "insert":
        app.execute("INSERT INTO effects (job) VALUES (?)", (f"m-{number}",))
    elif what == "delete":
        app.execute("DELETE FROM effects WHERE id = ?", (number,))
    elif what == "replace":
        app.execute("INSERT OR REPLACE INTO effects (id, job) VALUES (?, (SELECT job FROM effects WHERE id = ?))", (number, number))
    elif what == "number":
        app.execute("INSERT OR IGNORE INTO effects (id, job) VALUES (?, ?)", (number * 3, f"m-{number}"))


def test_a_query_tells_all_rows_as_texts(client: Client) -> None:
    assert isinstance(client, Rows)
    assert list(client.rows("SELECT 1, NULL, 'x', 1.5, CAST('ü' AS BLOB) UNION ALL SELECT 2, 3, 4, 5, 6")) == [
        ("1", None, "x", "1.5", "ü"),
        ("2", "3", "4", "5", "6"),
    ]
    with pytest.raises(ServiceError, match="no such table: nowhere"):
        client.rows("SELECT * FROM nowhere")
