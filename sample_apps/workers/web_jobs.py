"""``PORT=8000 DATABASE_URL=sqlite:////path/jobs.db python -m sample_apps.workers.web_jobs``: a web app that puts the jobs of others.

* ``POST /jobs`` with ``{"id": "…", "ms": 50}`` inserts a row into the table ``QUEUE``, for `sample_apps.workers.sqlite`; 202 when it is
  committed. What is no job is answered 400.
* ``GET /done`` tells the job of each effect, one a line; none while no worker has made the table.
* ``GET /healthz`` says ``ok``.

When the file, or the table of jobs, is not there or stays locked, the answer is 503. Nothing but Python is needed.

At SIGTERM it takes new connections for `LINGER_S` more, for those who do not know yet, then all that wait for it, closes its port, answers
what is in flight and exits with status 0. Each answer closes its connection, so that there are no idle ones to wait for.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import threading
import time
from contextlib import closing
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from sample_apps.closing import HANDSHAKE_S, let_no_connection_begin
from sample_apps.workers.settings import SettingsError, read_settings

LINGER_S: Final = 0.3
_BUSY_S: Final = 4.0
_POLL_S: Final = 0.05
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Store:
    """The file with the tables of jobs and of effects; each call has a connection of its own, as each comes on a thread of its own."""

    def __init__(self, url: str, queue: str) -> None:
        self._file = f"file:{quote(unquote(urlsplit(url).path)[1:])}?mode=rw"
        self._table = '"' + queue.replace('"', '""') + '"'

    def put(self, body: str) -> None:
        """Insert a job, and commit."""
        with closing(self._open()) as db, db:
            db.execute(f"INSERT INTO {self._table} (body) VALUES (?)", (body,))  # noqa: S608  quoted

    def done(self) -> list[str]:
        """The job of each effect, the oldest first."""
        with closing(self._open()) as db:
            try:
                return [str(job) for (job,) in db.execute("SELECT job FROM effects ORDER BY rowid")]
            except sqlite3.OperationalError as error:
                if "no such table" not in str(error):
                    raise
                return []

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=_BUSY_S, uri=True)


class Handler(BaseHTTPRequestHandler):
    """One connection with one request."""

    protocol_version = "HTTP/1.1"
    timeout = 5.0  # a client that says nothing keeps nobody from ending
    disable_nagle_algorithm = True

    def __init__(self, store: Store, *of_the_server: Any) -> None:
        self._store = store
        super().__init__(*of_the_server)

    def do_GET(self) -> None:
        """Effects, and health."""
        if self.path == "/healthz":
            self._answer(HTTPStatus.OK, "ok\n")
        elif self.path == "/done":
            try:
                jobs = self._store.done()
            except sqlite3.Error as error:
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n")
            else:
                self._answer(HTTPStatus.OK, "".join(f"{job}\n" for job in jobs))
        else:
            self._answer(HTTPStatus.NOT_FOUND, "there is GET /done, GET /healthz and POST /jobs\n")

    def do_POST(self) -> None:
        """A job."""
        length = self.headers.get("Content-Length", "")
        text = self.rfile.read(int(length)) if length.isdecimal() else b""
        if self.path != "/jobs":
            self._answer(HTTPStatus.NOT_FOUND, "jobs are put by POST /jobs\n")
        elif (job := job_of(text)) is None:
            self._answer(HTTPStatus.BAD_REQUEST, 'a job is {"id": "…", "ms": 50}\n')
        else:
            try:
                self._store.put(job)
            except sqlite3.Error as error:
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n")
            else:
                self._answer(HTTPStatus.ACCEPTED, "accepted\n")

    def log_message(self, format: str, *values: object) -> None:  # noqa: A002  its name in the base class
        """Requests are not logged."""

    def _answer(self, status: HTTPStatus, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """One that waits for its threads when it is closed."""

    daemon_threads = False
    request_queue_size = 128
    timeout = 0.0  # of `handle_request`, which finds nobody waiting then

    def take_the_rest(self) -> None:
        """Begin with all connections that wait to be taken; closing the port would reset them."""
        self._waiting = True
        while self._waiting:
            self.handle_request()

    def handle_timeout(self) -> None:
        """Nobody waits."""
        self._waiting = False


def job_of(text: bytes) -> str | None:
    """The row of a job, from JSON with its id and the milliseconds that its work takes; None for anything else."""
    try:
        told = json.loads(text)
    except ValueError:
        return None
    is_job = isinstance(told, dict) and isinstance(told.get("id"), str) and type(told.get("ms")) in (int, float)
    return json.dumps({"id": told["id"], "ms": told["ms"]}) if is_job else None


def main() -> int:
    """Serve until SIGTERM or SIGINT: 0 then, 2 when the environment can't be used."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # they wait for sigwait, whatever thread is running
    try:
        settings = read_settings(os.environ, "DATABASE_URL", ())
        port = int(os.environ.get("PORT", ""))
    except SettingsError as error:
        print(f"sample_apps.workers.web_jobs: {error}", file=sys.stderr)
        return 2
    except ValueError:
        print("sample_apps.workers.web_jobs: PORT must be the TCP port to listen on.", file=sys.stderr)
        return 2
    address = os.environ.get("HOST") or "127.0.0.1", port
    with Server(address, partial(Handler, Store(settings.url, settings.queue))) as server:
        serving = threading.Thread(target=server.serve_forever, args=(_POLL_S,))
        serving.start()
        print(f"listens on port {port}", flush=True)
        signal.sigwait(_SIGNALS)
        time.sleep(LINGER_S)
        server.shutdown()
        serving.join()
        let_no_connection_begin(server.socket)
        time.sleep(HANDSHAKE_S)
        server.take_the_rest()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
