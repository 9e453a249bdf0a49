"""The jobs of a run from the first submission to the end of the drain, on a real SQLite with a worker of a few lines."""

from __future__ import annotations

import http.server
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from harness.clock import MonotonicClock
from harness.history import Drained, Event, QueueSeen
from harness.job_history import JobAnswered, JobDone, JobLine, JobsClosed, JobTold
from harness.jobs import course as course_module
from harness.jobs.course import JobCourse, names_of
from harness.scenario import Scenario
from harness.services.base import Look, Told
from harness.services.sqlite import SQLITE
from harness.stage import Threads

BODY = '{"id": "{job}"}'


def scenario_of(**jobs: object) -> Scenario:
    return Scenario.model_validate(
        {
            "jetable": 1,
            "name": "jobs",
            "target": {"worker": {"command": "true"}},
            "services": {"sqlite": {}},
            "jobs": {"count": 5, "body": BODY, "done": {"query": "SELECT job FROM effects"}, "drain": "5s", **jobs},
            "steps": [{"steady": "1s"}],
        }
    )


class Worker:
    """Does all jobs that ``keeps`` lets it, and says so as a replica's log would."""

    def __init__(self, path: Path, hear: Callable[[str, bytes], None], *, loses: int = -1, holds: int = -1, effects: int = 1) -> None:
        self._path, self._hear = path, hear
        self._loses, self._holds, self._effects = loses, holds, effects
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Worker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with closing(sqlite3.connect(self._path, timeout=5, isolation_level=None)) as db:
            db.execute("CREATE TABLE IF NOT EXISTS effects (job TEXT)")
            while not self._stop.wait(0.01):
                row = db.execute("SELECT id, body FROM jobs WHERE locked_by IS NULL ORDER BY id LIMIT 1").fetchone()
                if row is not None:
                    self._do(db, *row)

    def _do(self, db: sqlite3.Connection, row: int, body: str) -> None:
        number = int(body.rpartition("-")[2].rstrip('"}'))
        if number == self._holds:
            db.execute("UPDATE jobs SET locked_by = 'worker.1', locked_until = 1e12 WHERE id = ?", (row,))
            return
        self._hear("worker.1", f"job 2fecf0-{number} started\n".encode())
        for _ in range(0 if number == self._loses else self._effects):
            db.execute("INSERT INTO effects VALUES (?)", (f"2fecf0-{number}",))
        db.execute("DELETE FROM jobs WHERE id = ?", (row,))


class Play:
    """One course with what it has written."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.lines: list[JobLine] = []
        self.events: list[Event] = []
        self.deposits: list[tuple[str, Sequence[str]]] = []
        self.path = folder / "jobs.db"
        self.app: tuple[str, int] | None = None
        self.up = ["worker.1"]
        url = SQLITE.url("", 0, folder)
        self.course = JobCourse(
            scenario,
            names_of(scenario, "2fecf0", folder),
            clock=MonotonicClock(),
            record=self.events.append,
            append=self.lines.append,
            background=Threads(),
            client=lambda _name: SQLITE.open(url),
            deposit=lambda _name, what, beside: self.deposits.append((what.name, beside)),
            address=lambda _process: self.app,
            step=lambda: 1,
            up=lambda _process: self.up,
        )

    def drained(self) -> Drained:
        (event,) = [event for event in self.events if isinstance(event, Drained)]
        return event

    def of(self, kind: type[JobLine]) -> list[JobLine]:
        return [line for line in self.lines if isinstance(line, kind)]


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[..., Play]]:
    made: list[Play] = []

    def make(**jobs: object) -> Play:
        made.append(Play(scenario_of(**jobs), tmp_path))
        made[-1].course.start()
        return made[-1]

    yield make
    for each in made:
        each.course.close()


def whole(play: Play, **defect: int) -> Play:
    with Worker(play.path, play.course.hear, **defect):
        play.course.submit()
        play.course.drain()
    play.course.close()
    return play


@pytest.mark.slow
def test_all_jobs_are_done_and_each_line_is_in_the_ledger(play: Callable[..., Play]) -> None:
    it = whole(play())
    assert (it.drained().whole, it.drained().seen, it.drained().why) == (True, True, "")
    assert sorted(line.job for line in it.of(JobDone) if isinstance(line, JobDone)) == [0, 1, 2, 3, 4]
    assert [line.answer for line in it.of(JobAnswered) if isinstance(line, JobAnswered)] == ["acknowledged"] * 5
    assert it.lines[-1] == JobsClosed(at_ns=it.lines[-1].at_ns, lines=len(it.lines) - 1)
    assert it.of(JobTold) == []


@pytest.mark.slow
def test_a_job_that_is_gone_from_the_queue_ends_the_drain_all_the_same(play: Callable[..., Play]) -> None:
    it = whole(play(), loses=2)
    assert it.drained().whole
    assert sorted(line.job for line in it.of(JobDone) if isinstance(line, JobDone)) == [0, 1, 3, 4]


@pytest.mark.slow
def test_a_job_that_is_held_longer_than_the_drain_is_listed(play: Callable[..., Play]) -> None:
    it = whole(play(drain="2s"), holds=3)
    assert (it.drained().whole, it.drained().why) == (False, "1 held")
    (told,) = [line for line in it.of(JobTold) if isinstance(line, JobTold)]
    assert (told.job, told.state, told.by) == (3, "held", "worker.1")
    assert told.until_ns > it.drained().at_ns + 60 * 10**9


@pytest.mark.slow
def test_a_queue_that_nobody_works_on_is_not_drained(play: Callable[..., Play]) -> None:
    it = play(drain="200ms")
    it.course.submit()
    it.course.drain()
    it.course.close()
    assert (it.drained().whole, it.drained().why) == (False, "5 ready")
    assert {line.state for line in it.of(JobTold) if isinstance(line, JobTold)} == {"ready"}


@pytest.mark.slow
def test_effects_that_happen_twice_are_counted(play: Callable[..., Play]) -> None:
    it = whole(play(), effects=2)
    counts = {line.job: line.effects for line in it.of(JobDone) if isinstance(line, JobDone)}
    assert counts == dict.fromkeys(range(5), 2)


@pytest.mark.slow
def test_the_queue_is_looked_at_before_and_after_a_fault(play: Callable[..., Play]) -> None:
    it = play()
    it.course.submit()
    it.course.look("before", "worker.1")
    seen = [event for event in it.events if isinstance(event, QueueSeen) and event.why]
    assert [(event.why, event.replica, event.error) for event in seen] == [("before", "worker.1", "")]
    assert seen[0].ready >= 0


def test_what_is_in_hand_comes_from_the_queue_where_the_log_tells_nothing(play: Callable[..., Play]) -> None:
    it = play()
    with closing(sqlite3.connect(it.path, isolation_level=None)) as db:
        db.execute("INSERT INTO jobs (body, locked_by, locked_until) VALUES ('x', 'host/worker.1/12', 1e12)")
    assert it.course.in_hand("worker.1", "job-started") == 1
    assert it.course.in_hand("worker.11", "job-started") == 0
    assert it.course.had("worker.1", "job-started", 0), "nothing contradicts it"


def test_a_service_of_others_gets_names_with_the_run_s_mark(tmp_path: Path) -> None:
    own = names_of(scenario_of(), "2fecf0", tmp_path)
    assert (own.queue, own.done) == ("jobs", "")
    scenario = scenario_of(done={"file": "done.log"})
    foreign = scenario.model_copy(
        update={"services": {"sqlite": scenario.services["sqlite"].model_copy(update={"url": "sqlite:////tmp/x.db"})}}
    )
    names = names_of(foreign, "2fecf0", tmp_path)
    assert (names.queue, names.done) == ("jetable_2fecf0_jobs", str(tmp_path / "done.log"))
    assert scenario.jobs is not None
    assert names.environment(scenario.jobs) == {"QUEUE": "jetable_2fecf0_jobs", "DONE": str(tmp_path / "done.log")}


class Forgetful(http.server.BaseHTTPRequestHandler):
    """Tells what the table of effects holds."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Telling)
        with closing(sqlite3.connect(self.server.path, timeout=5)) as db:
            text = "\n".join(row[0] for row in db.execute("SELECT job FROM effects")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name there
        pass


class Telling(http.server.HTTPServer):
    """Has the file of the database."""

    path = Path()


@pytest.mark.slow
def test_effects_that_the_app_tells_are_known_though_it_is_gone_at_the_end(play: Callable[..., Play]) -> None:
    it = play(done={"get": "/done"})
    server = Telling(("127.0.0.1", 0), Forgetful)
    server.path = it.path
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    with Worker(it.path, it.course.hear):
        thread.start()
        it.app = ("127.0.0.1", server.server_address[1])
        it.course.submit()
        it.course.drain()
    it.app = None
    server.shutdown()
    thread.join()
    server.server_close()
    it.course.close()
    assert (it.drained().whole, it.drained().readable, it.drained().why) == (True, True, "")
    assert len(it.of(JobDone)) == 5


@pytest.mark.slow
def test_effects_of_which_nobody_has_seen_the_place_are_not_missing_but_unknown(play: Callable[..., Play]) -> None:
    it = whole(play(done={"file": "nowhere.log"}))
    assert not it.drained().readable
    assert "there is no file" in it.drained().why


class Blind:
    """A queue that is empty and does not tell what its workers hold."""

    def declare(self) -> None: ...
    def put(self, job: str, body: str) -> None: ...
    def look(self) -> Look:
        return Look(ready=0)

    def told(self, limit: int) -> None: ...
    def take_rest(self, limit: int) -> list[Told]:
        return []

    def remove(self) -> None: ...


@pytest.mark.slow
def test_a_queue_that_does_not_tell_what_is_held_is_waited_for_to_the_end(
    play: Callable[..., Play], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course_module, "BLIND_QUIET_S", 0.05)
    it = play(drain="400ms")
    monkeypatch.setattr(it.course, "_looker", Blind())
    it.course.submit()
    it.course.drain()
    it.course.close()
    assert not it.drained().whole
    assert it.drained().at_ns - it.drained().began_ns > 300_000_000


def test_who_holds_a_job_of_a_queue_that_names_nobody_is_known_only_of_a_worker_that_is_alone(play: Callable[..., Play]) -> None:
    it = play()
    with closing(sqlite3.connect(it.path, isolation_level=None)) as db:
        db.execute("INSERT INTO jobs (body, locked_by, locked_until) VALUES ('x', '', 1e12)")
    assert it.course.in_hand("worker.1", "job-started") == 1
    it.up = ["worker.1", "worker.2"]
    assert it.course.in_hand("worker.1", "job-started") == 0


def test_a_count_that_a_rate_can_not_reach_is_waited_for(play: Callable[..., Play]) -> None:
    it = whole(play(count=10, rate="50/s"))
    assert len(it.of(JobAnswered)) == 10
