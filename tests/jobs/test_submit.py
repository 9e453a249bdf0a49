"""Jobs are submitted when they are due, once each, and every answer is on record."""

from __future__ import annotations

import http.server
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from harness.clock import MonotonicClock
from harness.job_history import JobAnswered, JobLine, JobSubmitted
from harness.jobs.book import JobBook
from harness.jobs.submit import AppDoor, Submitter
from harness.scenario import Done, Jobs
from harness.services.base import PutRefusedError, ServiceError
from harness.units import Rate

DONE = Done(file="done")


class Door:
    """Takes jobs, or does what ``act`` does."""

    def __init__(self, act: Callable[[str], None] = lambda _job: None) -> None:
        self.put_: list[tuple[str, str]] = []
        self._act = act

    def put(self, job: str, body: str) -> None:
        self.put_.append((job, body))
        self._act(job)


def submitted(jobs: Jobs, door: Door | AppDoor, *, until: Callable[[list[JobLine]], bool] = lambda _lines: False) -> list[JobLine]:
    lines: list[JobLine] = []
    stop = threading.Event()

    def append(line: JobLine) -> None:
        lines.append(line)
        if until(lines):
            stop.set()

    clock = MonotonicClock()
    submitter = Submitter(jobs, "2fecf0", JobBook(append, clock, tells=frozenset()), door=door, clock=clock, step=lambda: 3)
    submitter.run(stop)
    assert submitter.over.is_set()
    return lines


def answers(lines: list[JobLine]) -> list[tuple[str, str]]:
    return [(line.answer, line.error) for line in lines if isinstance(line, JobAnswered)]


def test_so_many_jobs_are_put_as_there_are() -> None:
    door = Door()
    lines = submitted(Jobs(count=3, body='{"id": "{job}"}', done=DONE), door)
    assert door.put_ == [(f"2fecf0-{number}", f'{{"id": "2fecf0-{number}"}}') for number in range(3)]
    assert [type(line) for line in lines] == [JobSubmitted, JobAnswered] * 3
    assert answers(lines) == [("acknowledged", "")] * 3
    assert all(line.step == 3 for line in lines if isinstance(line, JobSubmitted))


def test_a_rate_says_when_each_is_due() -> None:
    lines = submitted(Jobs(rate=Rate.parse("200/s"), count=5, done=DONE), Door())
    due = [line.due_ns or line.at_ns for line in lines if isinstance(line, JobSubmitted)]
    assert [after - before for before, after in itertools.pairwise(due)] == [5_000_000] * 4
    assert all(line.at_ns >= (line.due_ns or line.at_ns) for line in lines if isinstance(line, JobSubmitted))


def test_a_rate_goes_on_until_it_is_stopped() -> None:
    lines = submitted(Jobs(rate=Rate.parse("500/s"), done=DONE), Door(), until=lambda lines: len(answers(lines)) == 7)
    assert len(answers(lines)) == 7


def test_a_refusal_and_a_doubt_are_told_apart_and_nothing_is_put_again() -> None:
    def act(job: str) -> None:
        if job.endswith("-0"):
            raise PutRefusedError("full")
        if job.endswith("-1"):
            raise ServiceError("reset")

    door = Door(act)
    assert answers(submitted(Jobs(count=3, done=DONE), door)) == [("refused", "full"), ("unknown", "reset"), ("acknowledged", "")]
    assert len(door.put_) == 3


@contextmanager
def app(status: int) -> Iterator[tuple[tuple[str, int], list[tuple[str, str, str]]]]:
    asked: list[tuple[str, str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked.append((self.path, self.headers["Content-Type"], body))
            if status == 0:
                self.connection.close()
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name there
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield ("127.0.0.1", server.server_address[1]), asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "answer"), [(202, "acknowledged"), (409, "refused"), (503, "unknown"), (302, "unknown"), (0, "unknown")]
)
def test_the_app_puts_the_job_and_its_answer_says_whether(status: int, answer: str) -> None:
    with app(status) as (address, asked):
        lines = submitted(Jobs(count=1, post="/jobs/{job}", body='{"id": "{job}"}', done=DONE), AppDoor("/jobs/{job}", lambda: address))
    assert [found for found, _ in answers(lines)] == [answer]
    assert asked == [("/jobs/2fecf0-0", "application/json", '{"id": "2fecf0-0"}')]


def test_an_app_that_is_not_there_has_surely_not_put_it() -> None:
    with app(200) as (address, _):
        pass
    assert answers(submitted(Jobs(count=1, done=DONE), AppDoor("/jobs", lambda: address)))[0][0] == "refused"
    assert answers(submitted(Jobs(count=1, done=DONE), AppDoor("/jobs", lambda: None))) == [("refused", "no replica was up to ask")]
