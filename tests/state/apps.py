"""Small replicas on loopback that answer as a test says, and what tests of `harness.state` share."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from harness.clock import MonotonicClock
from harness.scenario import Workload
from harness.state.asker import Asker, Place
from harness.state_history import StateLine

CLOCK = MonotonicClock()
MARK = "2fecf0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """What a replica was asked; headers by name in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """What it answers; ``cut`` ends the connection before so many bytes of the body are gone."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    cut: int | None = None


def said(value: object, status: int = 200, **headers: str) -> Says:
    """JSON."""
    given = tuple((name.replace("_", "-"), text) for name, text in headers.items())
    return Says(status=status, body=json.dumps(value).encode(), headers=(("Content-Type", "application/json"), *given))


@dataclass
class App:
    """One replica."""

    answer: Callable[[Got], Says]
    name: str = "web.1"
    asked: list[Got] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    stop: Callable[[], None] = lambda: None

    @property
    def place(self) -> Place:
        return Place(name=self.name, host="127.0.0.1", port=self.port)

    @property
    def paths(self) -> list[str]:
        return [got.path for got in self.asked]


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    app: App

    def handle_error(self, request: object, client_address: object) -> None:
        """A peer that went away is nobody's problem here."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.app.connections += 1

    def _any(self) -> None:
        app = self.server.app
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        got = Got(method=self.command, path=self.path, headers=headers, body=body)
        app.asked.append(got)
        says = app.answer(got)
        self.send_response(says.status)
        for name, value in says.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(says.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(says.body if says.cut is None else says.body[: says.cut])
        if says.cut is not None:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _any  # noqa: N815  their names there

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name there
        """Nothing is told."""


@contextmanager
def app(answer: Callable[[Got], Says], name: str = "web.1") -> Iterator[App]:
    """A replica that answers; ``stop`` ends it early."""
    server = _Server(("127.0.0.1", 0), _Handler)
    made = server.app = App(answer=answer, name=name, port=server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    over = threading.Event()

    def stop() -> None:
        if not over.is_set():
            over.set()
            server.shutdown()
            thread.join()
            server.server_close()

    made.stop = stop
    try:
        yield made
    finally:
        stop()


def workload(**keys: Any) -> Workload:
    return Workload.model_validate(keys)


def asker(timeout_s: float = 5.0) -> Asker:
    return Asker(CLOCK, timeout_s=timeout_s)


class Lines(list[StateLine]):
    """What was put on record."""

    def of(self, kind: type[Any]) -> list[Any]:
        return [line for line in self if isinstance(line, kind)]
