"""The streams sample as its users meet it: a real process on loopback that is stopped while requests last."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import CloseConnection, Request, TextMessage

from sample_apps.streams.__main__ import main
from sample_apps.streams.app import FIRST_REQUEST_S
from sample_apps.streams.settings import DEFECTS, SettingsError, read_settings
from tests.services.brokers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
BOUND_S = 20.0


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "PORT must be a whole number from 1 to 65535, and it is not set."),
        ({"PORT": "no"}, "not 'no'"),
        ({"PORT": "1", "TICK_MS": "0"}, "TICK_MS must be a whole number from 1 to 60000, not '0'."),
        ({"PORT": "1", "RETRY_MS": "-1"}, "RETRY_MS"),
        ({"PORT": "1", "DEFECT": "nothing"}, "DEFECT must be one of cuts-polls, "),
    ],
)
def test_what_can_not_be_used_is_told_by_name(environment: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)):
        read_settings(environment)


def test_a_wrong_environment_ends_the_start_with_status_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PORT", "none")
    assert main() == 2
    assert capsys.readouterr().err.startswith("sample_apps.streams: PORT must be")


def test_every_defect_has_a_scenario_that_names_it() -> None:
    planted = "".join(path.read_text() for path in (ROOT / "scenarios/known-bad").glob("stream-*.yaml"))
    assert set(re.findall(r"DEFECT: ([a-z-]+)", planted)) == set(DEFECTS)


def test_its_image_is_built_like_that_of_the_web_sample() -> None:
    mine, webs = ((ROOT / "sample_apps" / name / "Dockerfile").read_text() for name in ("streams", "web"))
    pip = mine[mine.index("RUN if ls") : mine.index("RUN useradd")]
    assert pip in webs
    assert mine.count("FROM ") == 1
    assert "FROM python:3.11-slim-bookworm\n" in mine
    assert mine.endswith('EXPOSE 8000\nUSER app\nCMD ["python", "-m", "sample_apps.streams"]\n')


class App:
    """One started app."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self.connections = ExitStack()

    def connect(self) -> http.client.HTTPConnection:
        """A connection that is closed at the end of the test."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=BOUND_S)
        self.connections.callback(connection.close)
        return connection

    def ask(self, path: str, **headers: str) -> http.client.HTTPResponse:
        """The beginning of the answer to a GET."""
        connection = self.connect()
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return self.connections.enter_context(connection.getresponse())

    def stop(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def running(**environment: str) -> Iterator[App]:
    port = free_port()
    command = [sys.executable, "-m", "sample_apps.streams"]
    inherited = {name: value for name, value in os.environ.items() if name not in ("DEFECT", "HOST", "TICK_MS", "RETRY_MS")}
    with subprocess.Popen(
        command, cwd=ROOT, env={**inherited, "PORT": str(port), **environment}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("listening on ")
            app = App(process, port)
            with app.connections:
                yield app
        finally:
            process.kill()


def ids(response: http.client.HTTPResponse, least: int) -> list[int]:
    """The ids of the first events, at least so many."""
    found: list[int] = []
    while len(found) < least:
        line = response.readline()
        assert line, found
        if line.startswith(b"id: "):
            found.append(int(line[4:]))
    return found


@pytest.mark.slow
@pytest.mark.live
def test_events_are_numbered_resumed_and_ended_in_order_on_sigterm() -> None:
    with running(RETRY_MS="40") as app:
        first = app.ask("/events")
        had = ids(first, 3)
        assert had == list(range(had[0], had[0] + 3))
        again = app.ask("/events", Last_Event_ID=str(had[0]))
        assert again.readline() == b"retry: 40\n"
        assert ids(again, 2) == [had[0] + 1, had[0] + 2]
        app.stop()
        assert first.read()[-1:] == b"\n"  # http.client raises when the last chunk is missing
        again.read()
        assert app.process.wait(BOUND_S) == 0


@pytest.mark.slow
@pytest.mark.live
def test_long_polls_are_answered_at_once_and_what_has_begun_is_finished() -> None:
    with running() as app:
        chunks = app.ask("/stream?chunks=4&ms=100")
        poll, slow = app.connect(), app.connect()
        poll.request("GET", "/poll?ms=20000")
        slow.request("GET", "/slow?ms=600")
        assert ids(app.ask("/events"), 1)  # by now the others have been taken
        app.stop()
        assert poll.getresponse().status == 204
        assert slow.getresponse().read() == b"slow"
        assert chunks.read() == b"chunk 0\nchunk 1\nchunk 2\nchunk 3\nend\n"
        assert app.process.wait(BOUND_S) == 0


@pytest.mark.slow
@pytest.mark.live
def test_a_stop_answers_or_refuses_but_never_drops_what_comes_on_new_connections() -> None:
    with running() as app, ThreadPoolExecutor(8) as clients:
        asking = [clients.submit(until_refused, app) for _ in range(8)]
        app.stop()
        assert [lost for each in asking for lost in each.result()] == []
        assert app.process.wait(BOUND_S) == 0


def until_refused(app: App) -> list[str]:
    """Ask on one connection after another; what was lost, but for requests that this machine let come too late on their connection."""
    lost = []
    end_s = time.monotonic() + BOUND_S
    while time.monotonic() < end_s:
        with closing(http.client.HTTPConnection("127.0.0.1", app.port, timeout=BOUND_S)) as connection:
            sent_s = began_s = time.monotonic()
            try:
                connection.request("GET", "/healthz")
                sent_s = time.monotonic()
                assert connection.getresponse().read() == b"ok"
            except ConnectionRefusedError:
                return lost
            except (OSError, http.client.HTTPException) as error:
                if sent_s - began_s < FIRST_REQUEST_S:
                    lost.append(repr(error))
    return [*lost, "it was never refused"]


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize(("defect", "code"), [("", 1001), ("cuts-streams", None)])
def test_a_websocket_is_closed_with_going_away_unless_that_is_planted_otherwise(defect: str, code: int | None) -> None:
    with running(DEFECT=defect) as app, socket.create_connection(("127.0.0.1", app.port), BOUND_S) as connection:
        talk = WSConnection(ConnectionType.CLIENT)
        connection.sendall(talk.send(Request(host="x", target="/ws")))
        codes: list[int] = []
        messages = 0
        while True:
            try:
                data = connection.recv(65536)
            except ConnectionResetError:
                break
            if not data:
                break
            talk.receive_data(data)
            for event in talk.events():
                if isinstance(event, TextMessage):
                    messages += 1
                    if messages == 3:
                        app.stop()
                elif isinstance(event, CloseConnection):
                    codes.append(int(event.code))
                    connection.sendall(talk.send(event.response()))
        assert messages >= 3
        assert codes == ([code] if code else [])
        assert app.process.wait(BOUND_S) == 0


@pytest.mark.slow
@pytest.mark.live
def test_streams_that_are_held_keep_the_process_alive() -> None:
    with running(DEFECT="holds-streams") as app:
        stream = app.ask("/events")
        assert ids(stream, 1)
        app.stop()
        assert len(ids(stream, 40)) == 40
        assert app.process.poll() is None


@pytest.mark.slow
@pytest.mark.live
def test_resumption_can_be_planted_wrong_in_each_way() -> None:
    with running(DEFECT="repeats-events") as app:
        had = ids(app.ask("/events"), 3)
        assert ids(app.ask("/events", Last_Event_ID=str(had[2])), 1) == [had[0]]
    with running(DEFECT="ignores-last-id") as app:
        had = ids(app.ask("/events"), 5)
        assert ids(app.ask("/events", Last_Event_ID=str(had[0])), 1)[0] > had[1]
    with running(DEFECT="refuses-resumption") as app:
        assert app.ask("/events", Last_Event_ID="1").status == 500
    with running(DEFECT="no-ids") as app:
        assert app.ask("/events").readline() == b"data: tick\n"
