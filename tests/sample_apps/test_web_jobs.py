"""The web app that puts jobs, as its users meet it: a real process on loopback, with a file of SQLite."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.services.base import QueueSpec
from harness.services.sqlite import SQLITE
from sample_apps.workers.web_jobs import job_of
from tests.services.brokers import free_port

ROOT = Path(__file__).parents[2]
BOUND_S = 20.0


@pytest.mark.parametrize(
    "text", ["", "job", "[]", "{}", '{"id": 1, "ms": 1}', '{"id": "a"}', '{"id": "a", "ms": "1"}', '{"id": "a", "ms": true}']
)
def test_what_is_no_job_is_none(text: str) -> None:
    assert job_of(text.encode()) is None


def test_a_job_is_its_id_and_its_time() -> None:
    assert job_of(b'{"ms": 5, "id": "a", "more": 1}') == '{"id": "a", "ms": 5}'


class App:
    """The app on a port of its own, with a file that it shares with its workers."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "jobs.db"
        self.port = free_port()
        given = {"PORT": str(self.port), "DATABASE_URL": f"sqlite:///{self.file}", "QUEUE": "mail"}
        self.process = subprocess.Popen([sys.executable, "-m", "sample_apps.workers.web_jobs"], cwd=ROOT, env={**os.environ, **given})

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=BOUND_S)) as link:
            link.request(method, path, body)
            answer = link.getresponse()
            return answer.status, answer.read().decode()

    def await_up(self) -> None:
        deadline = time.monotonic() + BOUND_S
        while True:
            try:
                assert self.ask("GET", "/healthz") == (200, "ok\n")
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            else:
                return


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    made = App(tmp_path)
    try:
        made.await_up()
        yield made
    finally:
        made.process.kill()
        made.process.wait(timeout=BOUND_S)


@pytest.mark.slow
@pytest.mark.live
class TestAsAProcess:
    """With a file of SQLite."""

    def test_a_job_that_was_accepted_is_in_the_table_and_its_effect_is_told(self, app: App) -> None:
        with closing(SQLITE.open(f"sqlite:///{app.file}")) as client:
            client.queue(QueueSpec(form="table", name="mail")).declare()
            assert app.ask("POST", "/jobs", json.dumps({"id": "2fecf0-1", "ms": 5}))[0] == 202
            assert [told.text for told in client.queue(QueueSpec(form="table", name="mail")).told(10) or ()] == [
                '{"id": "2fecf0-1", "ms": 5}'
            ]
        assert app.ask("GET", "/done") == (200, "")
        with closing(sqlite3.connect(app.file)) as db, db:
            db.execute("CREATE TABLE effects (job TEXT)")
            db.executemany("INSERT INTO effects VALUES (?)", [("2fecf0-1",), ("2fecf0-0",), ("2fecf0-1",)])
        assert app.ask("GET", "/done") == (200, "2fecf0-1\n2fecf0-0\n2fecf0-1\n")

    def test_what_can_not_be_done_is_told_by_its_status(self, app: App) -> None:
        job = json.dumps({"id": "a", "ms": 1})
        assert app.ask("POST", "/jobs", job)[0] == app.ask("GET", "/done")[0] == 503
        assert not app.file.exists()
        sqlite3.connect(app.file).close()
        app.file.touch()
        assert app.ask("POST", "/jobs", job) == (503, "no such table: mail\n")
        assert (app.ask("POST", "/jobs", "{}")[0], app.ask("POST", "/job", job)[0], app.ask("GET", "/")[0]) == (400, 404, 404)

    def test_at_sigterm_it_answers_what_is_in_flight_and_exits_with_status_0(self, app: App) -> None:
        with closing(SQLITE.open(f"sqlite:///{app.file}")) as client:
            client.queue(QueueSpec(form="table", name="mail")).declare()
        body = json.dumps({"id": "a", "ms": 1}).encode()
        with socket.create_connection(("127.0.0.1", app.port), timeout=BOUND_S) as begun:
            begun.sendall(b"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
            app.ask("GET", "/healthz")  # by now that connection was taken, too
            app.process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + BOUND_S
            while takes_connections(app.port):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            begun.sendall(body)
            assert begun.recv(100).startswith(b"HTTP/1.1 202 ")
        assert app.process.wait(timeout=BOUND_S) == 0


def takes_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=BOUND_S).close()
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it came just before the listener closed, and waits there no more
        return False
    return True


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize(
    ("environment", "name"), [({"PORT": "1"}, "DATABASE_URL"), ({"DATABASE_URL": "sqlite:////a", "PORT": "no"}, "PORT")]
)
def test_a_variable_that_can_not_be_used_is_told_by_name(environment: dict[str, str], name: str) -> None:
    known = {key: value for key, value in os.environ.items() if key not in ("PORT", "DATABASE_URL", "DEFECT")}
    command = [sys.executable, "-m", "sample_apps.workers.web_jobs"]
    ended = subprocess.run(command, cwd=ROOT, env={**known, **environment}, capture_output=True, text=True, timeout=BOUND_S, check=False)
    assert (ended.returncode, name in ended.stderr) == (2, True)
