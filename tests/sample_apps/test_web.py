"""The web sample as its users meet it: real processes on loopback, stopped, killed and asked while they end."""

from __future__ import annotations

import atexit
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psutil
import pytest

from harness.sockets import claim_port
from sample_apps.web.__main__ import main
from sample_apps.web.defects import DEFECTS
from sample_apps.web.settings import SettingsError, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0
COMMAND = (sys.executable, "-m", "sample_apps.web")
MIB = 1 << 20
TLS = ROOT / "sample_apps" / "web" / "tls"
LINGER_S = 0.5
"""As `linger_s` of the worker: so long after SIGTERM a connection may be idle before it is closed."""


class App:
    """One started app: its master process, port and log."""

    def __init__(self, folder: Path, environment: dict[str, str], command: Sequence[str] = COMMAND, code: Path = ROOT) -> None:
        self.port = free_port()
        self.log = folder / f"{self.port}.log"
        ours = (
            "DEFECT",
            "REDIS_URL",
            "DATABASE_PATH",
            "HOST",
            "WEB_CONCURRENCY",
            "GRACEFUL_TIMEOUT",
            "GRACEFUL_SIGNAL",
            "TLS_CERT",
            "TLS_KEY",
            "GUNICORN_CMD_ARGS",
        )
        inherited = {name: value for name, value in os.environ.items() if name not in ours}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=code,
                env={**inherited, "PORT": str(self.port), "TMPDIR": str(folder), **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def text(self) -> str:
        """All that the app has logged so far."""
        return self.log.read_text()

    def workers(self) -> list[psutil.Process]:
        """The master's children."""
        return psutil.Process(self.process.pid).children()

    def terminate(self) -> None:
        """Send SIGTERM to the master, as a platform does."""
        self.process.send_signal(signal.SIGTERM)

    def exit_status(self) -> int:
        """Wait for the end of the master."""
        return self.process.wait(DEADLINE_S)

    def wait_until_healthy(self) -> App:
        """Wait for the first 200 of /healthz."""
        wait_until(lambda: self._healthy() or self._exited())
        return self

    def _exited(self) -> bool:
        assert self.process.poll() is None, self.text()
        return False

    def _healthy(self) -> bool:
        try:
            return ask(self.port, "/healthz") == (200, b"ok")
        except OSError:
            return False

    def remove(self) -> None:
        """End whatever of it is left."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(DEADLINE_S)


class Start(Protocol):
    """Starts an app with these environment variables; it is gone when the test ends."""

    def __call__(self, *, command: Sequence[str] = COMMAND, code: Path = ROOT, **environment: str) -> App:
        """The started app, not yet waited for."""
        ...


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    apps: list[App] = []

    def start_one(*, command: Sequence[str] = COMMAND, code: Path = ROOT, **environment: str) -> App:
        apps.append(App(tmp_path, environment, command, code))
        return apps[-1]

    yield start_one
    for app in apps:
        app.remove()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    started = App(tmp_path_factory.mktemp("web"), {})
    try:
        yield started.wait_until_healthy()
    finally:
        started.remove()


def free_port() -> int:
    """A port that stays ours until this process ends: one that was only looked for may be somebody else's a moment later."""
    claim = claim_port(wanted=0)
    atexit.register(claim.release)
    return claim.port


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "the condition did not come true in time"
        time.sleep(0.01)


def is_gone(process: psutil.Process) -> bool:
    """Whether it runs no more; init may take a second to bury what was orphaned."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@contextmanager
def connected(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        connection.connect()
        yield connection
    finally:
        connection.close()


def send(connection: http.client.HTTPConnection, path: str, method: str = "GET", body: object = None) -> None:
    encoded = None if body is None else json.dumps(body)
    connection.request(method, path, encoded, {"Content-Type": "application/json"})


def answer_on(connection: http.client.HTTPConnection) -> tuple[int, bytes]:
    with connection.getresponse() as response:
        return response.status, response.read()


def exchange(connection: http.client.HTTPConnection, path: str, method: str = "GET", body: object = None) -> tuple[int, bytes]:
    send(connection, path, method, body)
    return answer_on(connection)


def ask(port: int, path: str, method: str = "GET", body: object = None) -> tuple[int, bytes]:
    with connected(port) as connection:
        return exchange(connection, path, method, body)


class Stream:
    """An answer of which the first chunk has come, so that it is surely in flight."""

    def __init__(self, connection: http.client.HTTPConnection, *, chunks: int = 10) -> None:
        self.whole = b"".join(b"chunk %d\n" % number for number in range(1, chunks + 1)) + b"end\n"
        connection.request("GET", f"/stream?chunks={chunks}&ms=50")
        self.response = connection.getresponse()
        self.first = self.response.readline()

    def is_answered_whole(self) -> bool:
        """Whether the rest comes too; raises when it is cut."""
        with self.response:
            return self.first + self.response.read() == self.whole


class Client(threading.Thread):
    """Asks one request after another until ``done()`` and books each: answered whole as expected, refused, lost, or late.

    Late is one without an answer that came on a connection of which nothing had been heard for longer than an idle one is kept at a stop:
    a busy machine has held up this client.
    """

    def __init__(self, port: int, requests: list[str], done: Callable[[], bool], *, keep_alive: bool) -> None:
        super().__init__(daemon=True)
        self.port, self.requests, self.done, self.keep_alive = port, requests, done, keep_alive
        self.answered = self.refused = self.late = 0
        self.lost: list[str] = []
        self.began_s = 0.0
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)

    def run(self) -> None:
        """Ask until done."""
        for number in range(100_000):
            if self.done():
                return
            self._ask_one(self.requests[number % len(self.requests)])

    def _ask_one(self, request: str) -> None:
        method, path = request.split()
        before_s, self.began_s = self.began_s, time.monotonic()
        quiet_since_s = self.began_s if self.connection.sock is None else before_s
        sent_s: float | None = None
        try:
            send(self.connection, path, method, {"name": "any"} if method == "PUT" else None)
            sent_s = time.monotonic()
            status, _ = answer_on(self.connection)
        except ConnectionRefusedError:
            self.refused += 1
            self.connection.close()
            time.sleep(0.01)
        except (OSError, http.client.HTTPException) as error:
            if (sent_s or time.monotonic()) - quiet_since_s > LINGER_S:
                self.late += 1
            else:
                self.lost.append(f"{request}: {error!r}")
            self.connection.close()
        else:
            if status == 200:
                self.answered += 1
            else:
                self.lost.append(f"{request}: {status}")
            if not self.keep_alive:
                self.connection.close()


LOAD = ["GET /slow?ms=50", "GET /items/a", "PUT /items/b", "GET /stream?chunks=2&ms=10", "GET /echo/c"]


def let_load_run(clients: list[Client]) -> None:
    for client in clients:
        client.start()
    wait_until(lambda: all(client.answered > 5 for client in clients))


def let_load_end(clients: list[Client]) -> None:
    for client in clients:
        client.join(DEADLINE_S)
        assert not client.is_alive()


def close(clients: list[Client]) -> None:
    for client in clients:
        client.connection.close()


# --- what it asks of its environment


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "PORT must be a whole number from 1 to 65535, and it is not set"),
        ({"PORT": "http"}, "PORT must be a whole number from 1 to 65535, not 'http'"),
        ({"PORT": "65536"}, "PORT"),
        ({"PORT": "-1"}, "PORT"),
        ({"PORT": "8000", "WEB_CONCURRENCY": "0"}, "WEB_CONCURRENCY"),
        ({"PORT": "8000", "GRACEFUL_TIMEOUT": "soon"}, "GRACEFUL_TIMEOUT"),
        ({"PORT": "8000", "GRACEFUL_SIGNAL": "SIGHUP"}, "GRACEFUL_SIGNAL must be one of SIGTERM, SIGQUIT, not 'SIGHUP'"),
        ({"PORT": "8000", "TLS_CERT": str(TLS / "cert.pem")}, "only one of them is set"),
        ({"PORT": "8000", "TLS_CERT": str(TLS / "cert.pem"), "TLS_KEY": str(TLS / "README.md")}, "must be files in PEM form"),
        ({"PORT": "8000", "TLS_CERT": "/nowhere/cert.pem", "TLS_KEY": "/nowhere/key.pem"}, "not '/nowhere/cert.pem'"),
        ({"PORT": "8000", "HOST": "192.0.2.1"}, "HOST must be an address of this machine, "),
        ({"PORT": "8000", "HOST": "::nonsense"}, "HOST"),
        ({"PORT": "8000", "REDIS_URL": "localhost:6379"}, "must begin with redis://, rediss://, unix://, not be 'localhost:6379'"),
        ({"PORT": "8000", "REDIS_URL": "http://localhost"}, "REDIS_URL"),
        ({"PORT": "8000", "REDIS_URL": "redis:/localhost"}, "REDIS_URL"),
        ({"PORT": "8000", "REDIS_URL": "redis://"}, "REDIS_URL"),
        ({"PORT": "8000", "REDIS_URL": "redis://localhost:http"}, "REDIS_URL must name a port from 1 to 65535"),
        ({"PORT": "8000", "DATABASE_PATH": "/nowhere/items.db"}, "there is no folder '/nowhere'"),
        ({"PORT": "8000", "DATABASE_PATH": "/usr/bin"}, "DATABASE_PATH must be a file, and '/usr/bin' is a folder"),
        ({"PORT": "8000", "DEFECT": "nonsense"}, "DEFECT must be one of accepts-then-drops, awaits-idle, crashes, "),
    ],
)
def test_a_wrong_environment_is_told_in_one_sentence(environment: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(environment)
    assert words in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_database_that_cant_be_written_is_told_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != tmp_path)  # root may write wherever it likes
    with pytest.raises(SettingsError, match="DATABASE_PATH must be a file that can be written"):
        read_settings({"PORT": "8000", "DATABASE_PATH": str(tmp_path / "items.db")})


@pytest.mark.parametrize("url", ["redis://localhost", "rediss://user:secret@host:6380/1", "unix:///run/redis.sock?db=1"])
def test_each_kind_of_redis_url_is_taken(url: str) -> None:
    assert read_settings({"PORT": "8000", "REDIS_URL": url, "DATABASE_PATH": "/nowhere/items.db"}).redis_url == url


def test_an_empty_variable_counts_as_unset() -> None:
    settings = read_settings({"PORT": "8000", "REDIS_URL": "", "DEFECT": "", "HOST": "", "WEB_CONCURRENCY": ""})
    assert (settings.redis_url, settings.defect, settings.host, settings.workers) == (None, None, "127.0.0.1", 1)


def test_a_wrong_environment_ends_with_status_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PORT", "none")
    assert main() == 2
    assert capsys.readouterr().err == "sample_apps.web: PORT must be a whole number from 1 to 65535, not 'none'.\n"


def test_the_readme_tells_of_every_defect() -> None:
    readme = (ROOT / "sample_apps" / "README.md").read_text()
    assert [name for name in DEFECTS if f"`{name}`" not in readme] == []


# --- what it answers


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        ("GET /healthz", 200, b"ok"),
        ("GET /echo/a%20b", 200, b"a b"),
        ("GET /slow?ms=1", 200, b"slow\n"),
        ("GET /stream?chunks=2&ms=1", 200, b"chunk 1\nchunk 2\nend\n"),
        ("GET /items/never-written", 200, b'{"id":"never-written","name":null}\n'),
        ("DELETE /items/never-written", 200, b'{"id":"never-written","name":null}\n'),
        ("GET /slow?ms=soon", 400, b'{"error":"ms must be a whole number, not \'soon\'."}\n'),
    ],
)
def test_each_path_answers_as_the_readme_says(app: App, request_line: str, status: int, body: bytes) -> None:
    method, path = request_line.split()
    assert ask(app.port, path, method) == (status, body)


@pytest.mark.slow
@pytest.mark.live
def test_items_are_created_replaced_listed_and_deleted(app: App) -> None:
    status, created = ask(app.port, "/items", "POST", {"name": "one"})
    item = json.loads(created)
    assert (status, item["name"]) == (201, "one")
    path = f"/items/{item['id']}"
    for _ in range(2):
        assert ask(app.port, path, "PUT", {"name": "two"})[0] == 200
    assert json.loads(ask(app.port, path)[1]) == {"id": item["id"], "name": "two"}
    listed = json.loads(ask(app.port, "/items")[1])
    assert listed["count"] == len(listed["items"])
    assert {"id": item["id"], "name": "two"} in listed["items"]
    for _ in range(2):
        assert ask(app.port, path, "DELETE")[0] == 200
    assert json.loads(ask(app.port, path)[1])["name"] is None


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize("body", [{}, {"name": 1}, [], "name"])
def test_an_item_without_a_name_is_refused(app: App, body: object) -> None:
    assert ask(app.port, "/items/x", "PUT", body)[0] == 400
    assert ask(app.port, "/items", "POST", body)[0] == 400


@pytest.mark.slow
@pytest.mark.live
def test_a_body_without_the_content_type_of_json_is_refused(app: App) -> None:
    with connected(app.port) as connection:
        connection.request("PUT", "/items/x", '{"name": "x"}')
        with connection.getresponse() as response:
            assert response.status == 415


@pytest.mark.slow
@pytest.mark.live
def test_a_connection_is_kept_for_the_next_request(app: App) -> None:
    with connected(app.port) as connection:
        for _ in range(3):
            connection.request("GET", "/")
            with connection.getresponse() as response:
                response.read()
                assert response.getheader("Connection") == "keep-alive"


@pytest.mark.slow
@pytest.mark.live
def test_the_app_is_not_healthy_without_its_store(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    app = start(DATABASE_PATH=str(folder / "items.db"))

    def is_up() -> bool:
        try:
            return ask(app.port, "/echo/x") == (200, b"x")
        except OSError:
            return False

    wait_until(is_up)
    folder.rmdir()  # the app opens its store at the first request that needs it
    assert ask(app.port, "/healthz")[0] == 503
    assert is_up()
    folder.mkdir()
    app.wait_until_healthy()


# --- how it starts, shares its state and stops


@pytest.mark.slow
@pytest.mark.live
def test_replicas_that_start_and_write_at_once_lose_no_acknowledged_write_when_one_is_killed(start: Start) -> None:
    apps = [start(WEB_CONCURRENCY="2") for _ in range(3)]
    for app in apps:
        app.wait_until_healthy()
    victim, *others = apps
    acknowledged: list[str] = []
    refusals: list[object] = []

    def write(app: App, writer: int) -> None:
        for number in range(60):
            name = f"{app.port}-{writer}-{number}"
            try:
                answer = ask(app.port, "/items", "POST", {"name": name})
            except (OSError, http.client.HTTPException) as error:
                answer = (0, repr(error).encode())
            if answer[0] == 201:
                acknowledged.append(name)
            elif app is not victim:
                refusals.append(answer)

    writers = [threading.Thread(target=write, args=(app, writer), daemon=True) for app in apps for writer in range(3)]
    for thread in writers:
        thread.start()
    wait_until(lambda: len(acknowledged) > 100)
    os.killpg(victim.process.pid, signal.SIGKILL)
    for thread in writers:
        thread.join(DEADLINE_S)
    assert refusals == []
    for app in others:
        listed = json.loads(ask(app.port, "/items?limit=100000")[1])["items"]
        assert set(acknowledged) <= {item["name"] for item in listed}


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept connections", "new connections"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_loses_nothing_when_the_router_learns_of_it_at_the_signal(start: Start, workers: str, *, keep_alive: bool) -> None:
    app = start(WEB_CONCURRENCY=workers).wait_until_healthy()
    stopping = threading.Event()
    clients = [Client(app.port, LOAD[n % 5 :] + LOAD[: n % 5], stopping.is_set, keep_alive=keep_alive) for n in range(6)]
    let_load_run(clients)
    stopping.set()
    app.terminate()
    status = app.exit_status()  # the clients' idle connections are still open
    let_load_end(clients)
    close(clients)
    assert status == 0
    assert [client.lost for client in clients] == [[]] * len(clients)


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept connections", "new connections"])
def test_a_stop_answers_or_refuses_but_never_drops_when_requests_go_on(start: Start, *, keep_alive: bool) -> None:
    app = start().wait_until_healthy()
    clients: list[Client] = []
    clients += [Client(app.port, LOAD, lambda: all(client.refused for client in clients), keep_alive=keep_alive) for _ in range(4)]
    let_load_run(clients)
    app.terminate()
    let_load_end(clients)
    close(clients)
    assert app.exit_status() == 0
    assert [client.lost for client in clients] == [[]] * len(clients)


@pytest.mark.slow
@pytest.mark.live
def test_what_waits_in_the_backlog_and_on_idle_connections_when_the_listener_closes_is_answered(start: Start) -> None:
    answers = None
    for _ in range(5):
        answers = answers or answers_to_what_came_as_the_listener_closed(start().wait_until_healthy())
    assert answers == [b"idle", b"fresh", b"busy", b"new"]


def answers_to_what_came_as_the_listener_closed(app: App) -> list[bytes] | None:
    """Steps 2 and 3 of the worker's end, held in place by SIGSTOP; ``None`` when a stall of the machine made it miss the moment.

    1. The worker is signalled and begins to linger: it has been at it for some time when the streamed answer ends.
    2. It is suspended, and requests go out on a connection that was idle, on one that was never used, on the one that has just become
       idle and on a new one, which only the kernel accepts. One more idle connection is reset by its client.
    3. It is resumed when its time to linger is over, so the end of that time and all that came meanwhile reach it at once.
    """
    (worker,) = app.workers()
    with connected(app.port) as idle, connected(app.port) as fresh, connected(app.port) as busy, connected(app.port) as gone:
        exchange(idle, "/echo/before")
        stream = Stream(busy, chunks=4)
        app.terminate()
        assert stream.is_answered_whole()
        worker.suspend()
        try:
            with connected(app.port) as new:
                for connection, value in ((idle, "idle"), (fresh, "fresh"), (busy, "busy"), (new, "new")):
                    connection.request("GET", f"/echo/{value}")
                reset(gone)
                over_s = time.monotonic() + 0.8
                wait_until(lambda: time.monotonic() > over_s)
                worker.resume()
                answers = [body_of(connection) for connection in (idle, fresh, busy, new)]
        except (ConnectionRefusedError, TimeoutError):  # no answer at all: it was suspended between the last look and the close
            worker.resume()
            return None
    assert app.exit_status() == 0
    assert "Traceback" not in app.text()
    return answers


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="what keeps a connection from beginning is Linux's own")
def test_a_connection_that_would_begin_between_the_last_look_and_the_close_is_refused_not_reset() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CONNECTS_IN_THE_GAP], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "[b'answer', 'refused']\n"), ended.stderr


CONNECTS_IN_THE_GAP = """
import socket
import threading
import time

import gevent
from gevent.server import StreamServer

from sample_apps.web.worker import GracefulWorker

outcomes = {}
clients = []
connected = threading.Event()


def connect(number):
    with socket.socket() as client:
        client.settimeout(20)
        try:
            client.connect(("127.0.0.1", server.server_port))
            connected.set()
            outcomes[number] = client.recv(10)
        except ConnectionRefusedError:
            outcomes[number] = "refused"
        except OSError as error:
            outcomes[number] = repr(error)


def begin_to_connect():
    clients.append(threading.Thread(target=connect, args=(len(clients),)))
    clients[-1].start()


class Server(StreamServer):
    def do_read(self):
        accepted = super().do_read()
        if accepted is None:
            begin_to_connect()
            time.sleep(0.2)
        return accepted


class Worker(GracefulWorker):
    ppid = 0

    def __init__(self):
        pass


def answer(client, _address):
    client.sendall(b"answer")


server = Server(("127.0.0.1", 0), handle=answer)
server.start()
server.stop_accepting()
begin_to_connect()
connected.wait(20)
Worker()._accept_the_rest_and_close(server)
gevent.sleep(0)
for client in clients:
    client.join()
print([outcomes[number] for number in range(len(clients))])
"""


@pytest.mark.slow
@pytest.mark.live
def test_the_end_of_one_worker_leaves_the_door_open_for_the_others(start: Start) -> None:
    app = start(WEB_CONCURRENCY="2").wait_until_healthy()
    first = app.workers()[0]
    first.terminate()
    wait_until(lambda: is_gone(first))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: ask(app.port, "/echo/x"), range(40))) == [(200, b"x")] * 40


@pytest.mark.slow
@pytest.mark.parametrize("reads", range(4))
def test_a_signal_at_any_moment_of_becoming_idle_leaves_no_connection_that_nothing_ends(reads: int) -> None:
    """The signal comes after so many readings of ``alive``; then what `run` does at the end of its linger is done."""
    ended = subprocess.run(
        [sys.executable, "-c", IDLE_AT_THE_SIGNAL, str(reads)], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "ended\n"), ended.stderr


IDLE_AT_THE_SIGNAL = """
import sys
from types import SimpleNamespace

import gevent
from gevent import socket

from sample_apps.web.worker import GracefulWorker


class Signalled(GracefulWorker):
    linger_s = 0.05
    cfg = SimpleNamespace(keepalive=75)
    reads_before = int(sys.argv[1])

    @property
    def alive(self):
        self.reads_before -= 1
        return self.reads_before >= 0

    def __init__(self):
        ours, self.theirs = socket.socketpair()
        self._idle = set()
        self._handler = SimpleNamespace(client=ours)


worker = Signalled()
with gevent.Timeout(10), worker.timeout_ctx():
    for client in list(worker._idle):
        worker._stop_reading(client)
    assert worker._handler.client.recv(1) == b""
assert not worker._idle
print("ended")
"""


@pytest.mark.slow
@pytest.mark.live
def test_neither_master_nor_worker_looks_for_garbage_at_its_end(start: Start, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(GARBAGE_AT_THE_END)
    app = start(PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)])).wait_until_healthy()
    app.terminate()
    assert app.exit_status() == 0
    assert app.text().count("left with its garbage") == 2
    assert "garbage collected" not in app.text()


GARBAGE_AT_THE_END = """
import atexit, gc, os


class Garbage:
    def __del__(self, write=os.write):
        write(2, b"garbage collected\\n")


def make_garbage():
    gc.disable()
    garbage = Garbage()
    garbage.itself = garbage


def at_exit():
    if gc.get_freeze_count():
        os.write(2, b"left with its garbage\\n")


make_garbage()
atexit.register(at_exit)
"""


@pytest.mark.slow
@pytest.mark.live
def test_a_worker_that_is_signalled_while_it_boots_does_not_hold_up_the_stop(start: Start) -> None:
    app = start(WEB_CONCURRENCY="3", GRACEFUL_TIMEOUT=str(int(2 * DEADLINE_S)))
    wait_until(lambda: app._exited() or app.text().count("Booting worker") == 3)
    app.terminate()
    assert app.exit_status() == 0


@pytest.mark.slow
@pytest.mark.live
def test_a_worker_that_is_signalled_before_it_has_handlers_of_its_own_does_not_hold_up_the_stop(start: Start, tmp_path: Path) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import time\n"
        "from sample_apps.web.gunicorn_conf import *\n"
        "def post_fork(server, worker):\n"
        "    print('forked', flush=True)\n"
        "    time.sleep(0.5)\n"
    )
    app = start(command=(sys.executable, "-m", "gunicorn", "--config", str(slow)), GRACEFUL_TIMEOUT=str(int(2 * DEADLINE_S)))
    wait_until(lambda: app._exited() or "forked" in app.text())
    app.terminate()
    assert app.exit_status() == 0


def reset(connection: http.client.HTTPConnection) -> None:
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def body_of(connection: http.client.HTTPConnection) -> bytes:
    with connection.getresponse() as response:
        return response.read()


@pytest.mark.slow
@pytest.mark.live
def test_a_long_answer_outlives_the_signal_and_is_cut_only_by_the_graceful_timeout(start: Start) -> None:
    patient, hasty = start().wait_until_healthy(), start(GRACEFUL_TIMEOUT="1").wait_until_healthy()
    with connected(patient.port) as first, connected(hasty.port) as second:
        long, cut = Stream(first, chunks=30), Stream(second, chunks=100)
        patient.terminate()
        hasty.terminate()
        assert long.is_answered_whole()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            cut.is_answered_whole()
    assert (patient.exit_status(), hasty.exit_status()) == (0, 0)


@pytest.mark.slow
@pytest.mark.live
def test_sigterm_and_sigquit_change_places_when_the_environment_asks_for_it(start: Start) -> None:
    quitting, terminated = (start(GRACEFUL_SIGNAL="SIGQUIT").wait_until_healthy() for _ in range(2))
    with connected(quitting.port) as first, connected(terminated.port) as second:
        answered, cut = Stream(first), Stream(second, chunks=100)
        quitting.process.send_signal(signal.SIGQUIT)
        terminated.terminate()
        assert answered.is_answered_whole()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            cut.is_answered_whole()
    assert (quitting.exit_status(), terminated.exit_status()) == (0, 0)


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_the_items_live_in_redis_when_its_url_is_set(start: Start, tmp_path: Path) -> None:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        apps = [start(REDIS_URL=f"redis://127.0.0.1:{port}/0").wait_until_healthy() for _ in range(2)]
        assert ask(apps[0].port, "/items/b", "PUT", {"name": "B"})[0] == 200
        assert ask(apps[0].port, "/items/a", "PUT", {"name": "A"})[0] == 200
        assert json.loads(ask(apps[1].port, "/items")[1]) == {"count": 2, "items": [{"id": "a", "name": "A"}, {"id": "b", "name": "B"}]}
        assert json.loads(ask(apps[1].port, "/items?after=a")[1])["items"] == [{"id": "b", "name": "B"}]
        assert ask(apps[1].port, "/items/a", "DELETE")[0] == 200
        assert json.loads(ask(apps[0].port, "/items/a")[1])["name"] is None
        assert not list(tmp_path.glob("items.db*"))
    finally:
        redis.kill()
        redis.wait(DEADLINE_S)
    assert ask(apps[0].port, "/healthz")[0] == 503


# --- the planted defects


@pytest.mark.slow
@pytest.mark.live
def test_dies_on_sigterm_cuts_what_is_in_flight_and_leaves_no_process(start: Start) -> None:
    app = start(DEFECT="dies-on-sigterm", WEB_CONCURRENCY="2").wait_until_healthy()
    workers = app.workers()
    with connected(app.port) as connection:
        stream = Stream(connection, chunks=100)
        app.terminate()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            stream.is_answered_whole()
    assert app.exit_status() == -signal.SIGTERM
    wait_until(lambda: all(is_gone(worker) for worker in workers))


@pytest.mark.slow
@pytest.mark.live
def test_ignores_sigterm_goes_on_serving_until_sigkill(start: Start) -> None:
    app = start(DEFECT="ignores-sigterm").wait_until_healthy()
    (worker,) = app.workers()
    app.terminate()
    worker.terminate()
    for _ in range(10):
        assert ask(app.port, "/slow?ms=100")[0] == 200  # a second: a clean stop would be over
    assert app.process.poll() is None
    app.process.kill()
    assert app.exit_status() == -signal.SIGKILL
    wait_until(lambda: is_gone(worker))


@pytest.mark.slow
@pytest.mark.live
def test_accepts_then_drops_closes_new_requests_unanswered_and_ends_as_if_all_were_well(start: Start) -> None:
    app = start(DEFECT="accepts-then-drops").wait_until_healthy()
    with connected(app.port) as busy, connected(app.port) as kept:
        exchange(kept, "/echo/x")
        stream = Stream(busy)
        app.terminate()
        wait_until(lambda: is_dropped(lambda: ask(app.port, "/echo/x")))
        assert is_dropped(lambda: exchange(kept, "/echo/x"))
        assert stream.is_answered_whole()
    assert app.exit_status() == 0


def is_dropped(request: Callable[[], tuple[int, bytes]]) -> bool:
    """Whether the request was closed without an answer; being refused is another thing, and an error here."""
    try:
        return request()[0] != 200
    except ConnectionRefusedError:
        raise
    except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
        return True


@pytest.mark.slow
@pytest.mark.live
def test_errors_while_draining_answers_503_to_what_came_after_the_signal(start: Start) -> None:
    app = start(DEFECT="errors-while-draining").wait_until_healthy()
    with connected(app.port) as connection:
        stream = Stream(connection)
        app.terminate()
        wait_until(lambda: ask(app.port, "/echo/x")[0] == 503)
        assert stream.is_answered_whole()
    assert app.exit_status() == 0


@pytest.mark.slow
@pytest.mark.live
def test_cuts_bodies_cuts_every_fifth_answer_but_no_health_check(start: Start) -> None:
    app = start(DEFECT="cuts-bodies").wait_until_healthy()
    cut = []
    for number in range(1, 11):
        try:
            assert ask(app.port, "/items/x")[0] == 200
        except http.client.IncompleteRead:
            cut.append(number)
        assert ask(app.port, "/healthz") == (200, b"ok")
    assert cut == [5, 10]


@pytest.mark.slow
@pytest.mark.live
def test_wrong_answers_echoes_another_value_every_tenth_time(start: Start) -> None:
    app = start(DEFECT="wrong-answers").wait_until_healthy()
    assert [ask(app.port, "/echo/x")[1] for _ in range(20)] == 2 * ([b"x"] * 9 + [b"not x"])


@pytest.mark.slow
@pytest.mark.live
def test_slow_start_listens_only_after_its_sleep(start: Start) -> None:
    started_s = time.monotonic()
    app = start(DEFECT="slow-start", SLOW_START_S="1")
    app.wait_until_healthy()
    assert time.monotonic() - started_s >= 1


@pytest.mark.slow
@pytest.mark.live
def test_never_ready_listens_and_answers_yet_is_never_healthy(start: Start) -> None:
    app = start(DEFECT="never-ready")

    def answers() -> bool:
        try:
            return ask(app.port, "/items/x")[0] == 200
        except OSError:
            return False

    wait_until(answers)
    assert [ask(app.port, "/healthz")[0] for _ in range(5)] == [503] * 5


@pytest.mark.slow
@pytest.mark.live
def test_leaves_child_leaves_a_process_of_a_session_of_its_own(start: Start) -> None:
    app = start(DEFECT="leaves-child").wait_until_healthy()
    child = psutil.Process(int(app.text().split("left a child behind (planted): pid ")[1].split()[0]))
    try:
        app.terminate()
        assert app.exit_status() == 0
        assert child.is_running()
        assert os.getsid(child.pid) != app.process.pid
        assert child.environ()["PORT"] == str(app.port)
    finally:
        child.kill()


@pytest.mark.slow
@pytest.mark.live
def test_crashes_exits_by_itself_and_says_why_in_its_last_line(start: Start) -> None:
    app = start(DEFECT="crashes")
    assert app.exit_status() == 3
    assert "crashed (planted): exit with status 3" in app.text().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.live
def test_some_errors_answers_500_every_tenth_time_but_to_no_health_check(start: Start) -> None:
    app = start(DEFECT="some-errors").wait_until_healthy()
    told = []
    for _ in range(20):
        told.append(ask(app.port, "/items/x")[0])
        assert ask(app.port, "/healthz") == (200, b"ok")
    assert told == 2 * ([200] * 9 + [500])


@pytest.mark.slow
@pytest.mark.live
def test_drops_kept_connections_closes_them_and_serves_new_ones(start: Start) -> None:
    app = start(DEFECT="drops-kept-connections").wait_until_healthy()
    with connected(app.port) as busy, connected(app.port) as kept:
        exchange(kept, "/echo/x")
        stream = Stream(busy, chunks=5)
        app.terminate()
        assert stream.is_answered_whole()
        wait_until(lambda: serves_a_new_connection_and_closes_it(app))  # by now the worker knows of the signal
        assert is_dropped(lambda: exchange(kept, "/echo/x"))
    assert app.exit_status() == 0


def serves_a_new_connection_and_closes_it(app: App) -> bool:
    with connected(app.port) as connection:
        connection.request("GET", "/echo/x")
        with connection.getresponse() as response:
            assert (response.status, response.read()) == (200, b"x")
            return response.getheader("Connection") == "close"


@pytest.mark.slow
@pytest.mark.live
def test_awaits_idle_ends_only_when_its_clients_have_closed_their_connections(start: Start) -> None:
    app = start(DEFECT="awaits-idle").wait_until_healthy()
    with connected(app.port) as kept:
        exchange(kept, "/echo/x")
        app.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            app.process.wait(2)
    assert app.exit_status() == 0


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize(("version", "requests", "cut"), [("1.0", 1, True), ("1.1", 3, True), ("1.1", 1, False)])
def test_drops_old_clients_cuts_http_1_0_and_pipelined_requests_and_answers_others(
    start: Start, version: str, requests: int, *, cut: bool
) -> None:
    app = start(DEFECT="drops-old-clients").wait_until_healthy()
    with socket.create_connection(("127.0.0.1", app.port)) as connection, connected(app.port) as other:
        connection.sendall(f"GET /slow?ms=2000 HTTP/{version}\r\nHost: x\r\n\r\n".encode() * requests)
        stream = Stream(other, chunks=4)
        app.terminate()
        assert (connection.recv(65536) == b"") == cut
        assert stream.is_answered_whole()
    assert app.exit_status() == 0


@pytest.mark.slow
@pytest.mark.live
def test_drops_new_connections_closes_them_and_serves_those_that_are_kept(start: Start) -> None:
    app = start(DEFECT="drops-new-connections").wait_until_healthy()
    with connected(app.port) as kept:
        exchange(kept, "/echo/x")
        app.terminate()
        wait_until(lambda: is_dropped(lambda: ask(app.port, "/echo/x")))
        assert exchange(kept, "/echo/x") == (200, b"x")
        assert exchange(kept, "/echo/x") == (200, b"x")
    assert app.exit_status() == 0


@pytest.mark.slow
@pytest.mark.live
def test_crashes_while_stopping_answers_what_is_in_flight_and_ends_by_sigsegv(start: Start) -> None:
    app = start(DEFECT="crashes-while-stopping").wait_until_healthy()
    with connected(app.port) as connection:
        stream = Stream(connection, chunks=4)
        app.terminate()
        assert stream.is_answered_whole()
    assert app.exit_status() == -signal.SIGSEGV


@pytest.mark.slow
@pytest.mark.live
def test_exits_before_workers_leaves_a_worker_that_still_answers(start: Start) -> None:
    app = start(DEFECT="exits-before-workers").wait_until_healthy()
    (worker,) = app.workers()
    with connected(app.port) as connection:
        stream = Stream(connection, chunks=20)
        worker.suspend()  # so that it ends no sooner than the master, however late this test comes to see that
        app.terminate()
        assert app.exit_status() == 0
        assert not is_gone(worker)
        worker.resume()
        assert stream.is_answered_whole()
    wait_until(lambda: is_gone(worker))


@pytest.mark.parametrize(("uid", "refused"), [(0, False), (10001, True)])
def test_root_only_refuses_to_start_as_anybody_else(monkeypatch: pytest.MonkeyPatch, uid: int, *, refused: bool) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    on_starting: Any = DEFECTS["root-only"]()["on_starting"]
    if refused:
        with pytest.raises(SystemExit, match="must run as root"):
            on_starting(None)
    else:
        on_starting(None)


@pytest.mark.slow
@pytest.mark.live
def test_writes_beside_code_writes_at_its_start_and_with_each_request(start: Start, tmp_path: Path) -> None:
    code = tmp_path / "code"
    ignored = shutil.ignore_patterns("wheels", "__pycache__", "written")
    shutil.copytree(ROOT / "sample_apps", code / "sample_apps", ignore=ignored)
    app = start(DEFECT="writes-beside-code", code=code).wait_until_healthy()
    written = code / "sample_apps" / "web" / "written"
    assert (written / "started.txt").is_file()
    with connected(app.port) as connection:
        for _ in range(110):
            exchange(connection, "/echo/x")
    assert len(list(written.iterdir())) == 101


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_needs_capability_says_at_its_start_that_it_is_not_permitted(start: Start) -> None:
    without = ("setpriv", "--bounding-set=-chown", "--inh-caps=-chown") if os.geteuid() == 0 else ()
    app = start(DEFECT="needs-capability", command=(*without, *COMMAND))
    assert app.exit_status() != 0
    assert "Operation not permitted" in app.text().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has the capability")
def test_needs_capability_starts_where_it_has_it(start: Start) -> None:
    start(DEFECT="needs-capability").wait_until_healthy()


AS_PROCESS_1 = """
import ctypes, runpy
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
runpy.run_module("sample_apps.web", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.live
def test_leaves_zombies_leaves_twenty_when_orphans_come_to_it_as_to_process_1(start: Start) -> None:
    app = start(DEFECT="leaves-zombies", command=(sys.executable, "-c", AS_PROCESS_1)).wait_until_healthy()
    with connected(app.port) as connection:
        for _ in range(30):
            exchange(connection, "/echo/x")

    def zombies() -> int:
        return sum(child.status() == psutil.STATUS_ZOMBIE for child in app.workers())

    wait_until(lambda: zombies() == 20)
    app.terminate()
    assert app.exit_status() == 0


@pytest.mark.slow
@pytest.mark.live
def test_eats_memory_keeps_a_mebibyte_for_each_request_up_to_its_bound(start: Start) -> None:
    app = start(DEFECT="eats-memory").wait_until_healthy()
    (worker,) = app.workers()
    before = worker.memory_info().rss
    with connected(app.port) as connection:
        for _ in range(100):
            exchange(connection, "/echo/x")
        assert 90 * MIB < worker.memory_info().rss - before < 130 * MIB
        for _ in range(300):
            exchange(connection, "/echo/x")
    assert 290 * MIB < worker.memory_info().rss - before < 340 * MIB


@pytest.mark.slow
@pytest.mark.live
def test_the_supervisor_starts_the_app_and_forwards_no_signal(start: Start) -> None:
    app = start(command=(sys.executable, "-m", "sample_apps.web.supervisor")).wait_until_healthy()
    (master,) = app.workers()
    app.terminate()
    assert app.exit_status() == -signal.SIGTERM  # as process 1 it would not even end
    assert ask(app.port, "/slow?ms=100")[0] == 200
    master.terminate()
    wait_until(lambda: is_gone(master))


@pytest.mark.slow
@pytest.mark.live
def test_the_supervisor_takes_over_the_status_of_the_app(start: Start) -> None:
    assert start(command=(sys.executable, "-m", "sample_apps.web.supervisor"), DEFECT="crashes").exit_status() == 3


# --- those that show why


@pytest.mark.slow
@pytest.mark.live
def test_exits_zero_cuts_what_is_in_flight_and_looks_well(start: Start) -> None:
    app = start(DEFECT="exits-zero").wait_until_healthy()
    with connected(app.port) as connection:
        stream = Stream(connection, chunks=100)
        app.terminate()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            stream.is_answered_whole()
    assert app.exit_status() == 0


@pytest.mark.slow
@pytest.mark.live
def test_never_exits_refuses_connections_and_stays(start: Start) -> None:
    app = start(DEFECT="never-exits").wait_until_healthy()
    workers = app.workers()
    app.terminate()
    wait_until(lambda: all(is_gone(worker) for worker in workers))
    with pytest.raises(OSError, match="refused"):
        ask(app.port, "/healthz")
    assert app.process.poll() is None


@pytest.mark.slow
@pytest.mark.live
def test_outlives_master_serves_on_when_its_master_is_killed(start: Start) -> None:
    app = start(DEFECT="outlives-master").wait_until_healthy()
    (worker,) = app.workers()
    try:
        app.process.kill()
        app.exit_status()
        assert ask(app.port, "/slow?ms=1200")[0] == 200  # a worker that looks after its master has ended by then
    finally:
        worker.kill()


@pytest.mark.slow
@pytest.mark.live
def test_second_signal_cuts_what_the_first_one_lets_be_answered(start: Start) -> None:
    app = start(DEFECT="second-signal").wait_until_healthy()
    with connected(app.port) as connection:
        stream = Stream(connection, chunks=100)
        app.terminate()
        wait_until(lambda: "Handling signal: term" in app.text())
        app.terminate()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            stream.is_answered_whole()
    assert app.exit_status() == 128 + signal.SIGTERM


@pytest.mark.slow
@pytest.mark.live
def test_ignores_sigterm_at_start_starts_all_the_same(start: Start) -> None:
    app = start(DEFECT="ignores-sigterm-at-start")
    wait_until(lambda: has_disposition(app, "SigIgn"))
    app.terminate()
    app.wait_until_healthy()


@pytest.mark.slow
@pytest.mark.live
def test_crashes_at_start_breaks_when_it_is_stopped_while_it_starts(start: Start) -> None:
    app = start(DEFECT="crashes-at-start")
    wait_until(lambda: has_disposition(app, "SigCgt"))
    app.terminate()
    assert app.exit_status() == 1
    assert "KeyError: 'pool'" in app.text()


@pytest.mark.slow
@pytest.mark.live
def test_ends_on_sighup_ends_at_once(start: Start) -> None:
    app = start(DEFECT="ends-on-sighup").wait_until_healthy()
    app.process.send_signal(signal.SIGHUP)
    assert app.exit_status() == 128 + signal.SIGHUP


@pytest.mark.slow
@pytest.mark.live
def test_drops_on_reload_cuts_what_is_in_flight_and_serves_on(start: Start) -> None:
    app = start(DEFECT="drops-on-reload").wait_until_healthy()
    with connected(app.port) as connection:
        stream = Stream(connection, chunks=100)
        app.process.send_signal(signal.SIGHUP)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            stream.is_answered_whole()
    app.wait_until_healthy()


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize("killed", [True, False], ids=["killed", "stopped"])
def test_pid_file_lets_nothing_start_after_a_kill(start: Start, *, killed: bool) -> None:
    first = start(DEFECT="pid-file").wait_until_healthy()
    workers = first.workers()
    first.process.send_signal(signal.SIGKILL if killed else signal.SIGTERM)
    first.exit_status()
    wait_until(lambda: all(is_gone(worker) for worker in workers))
    second = start(DEFECT="pid-file", PORT=str(first.port))
    if killed:
        assert second.exit_status() == 1
        assert "already running" in second.text()
    else:
        wait_until(lambda: "Booting worker" in second.text())


@pytest.mark.slow
@pytest.mark.live
def test_ready_too_soon_is_healthy_before_it_can_answer(start: Start) -> None:
    app = start(DEFECT="ready-too-soon")
    with first_connection(app) as connection, connection.makefile("rb") as answers:
        # The first two requests, one right behind the other, so that no pause of this test comes between them.
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert re.findall(rb"HTTP/1\.1 (\d+)", answers.read()) == [b"200", b"500"]
    wait_until(lambda: ask(app.port, "/")[0] == 200)


def first_connection(app: App) -> socket.socket:
    """One to an app that is starting; nothing was asked of it before."""
    made: list[socket.socket] = []

    def connects() -> bool:
        app._exited()
        with suppress(ConnectionRefusedError):
            made.append(socket.create_connection(("127.0.0.1", app.port), DEADLINE_S))
        return bool(made)

    wait_until(connects)
    return made[0]


@pytest.mark.slow
@pytest.mark.live
def test_slow_imports_takes_its_time_for_a_module(start: Start) -> None:
    app = start(DEFECT="slow-imports", PYTHONPROFILEIMPORTTIME="1").wait_until_healthy()
    (line,) = [line for line in app.text().splitlines() if line.endswith("sample_apps.web.heavy")]
    assert int(line.split("|")[1]) >= 1_500_000


def has_disposition(app: App, field: str) -> bool:
    """Whether the master's mask ``field`` of /proc (proc_pid_status(5)) holds SIGTERM."""
    status = Path(f"/proc/{app.process.pid}/status").read_text()
    mask = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith(f"{field}:"))
    return bool(mask >> (signal.SIGTERM - 1) & 1)
