"""What the harness holds to a replica while it is stopped, against servers that do one thing each."""

from __future__ import annotations

import http.client
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from harness.clock import NS_PER_S, Dice, FakeClock, MonotonicClock
from harness.connections import PIPELINED, Answers, Holder, Holding
from harness.engines.base import EngineContext, Replica
from harness.engines.fake import FakeEngine, FakeScript
from harness.history import AnyLine, Event, Held
from harness.load.fake import FakeLoad
from harness.scenario import Scenario
from harness.stage import Inline, Stage, Threads
from tests.load import servers
from tests.load.servers import OK, Server

BOUND_S = 20.0
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"


def scenario(kinds: list[str], *requests: str, process: str = "web", tls: bool = False) -> Scenario:
    return Scenario.model_validate(
        {
            "jetable": 1,
            "name": "x",
            "target": {"web": {"command": "app", "tls": tls}, "worker": {"command": "work"}},
            "load": {"process": process, "requests": list(requests) or ["GET /items/{id}"], "connections": kinds},
            "steps": [{"steady": "1s"}],
        }
    )


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what stays open be let go of soon, and give the app all the time that it needs on a busy machine."""
    monkeypatch.setattr("harness.connections.LAST_LOOK_S", 0.02)
    monkeypatch.setattr("harness.connections.OPEN_S", BOUND_S)
    monkeypatch.setattr("harness.connections.CONNECT_S", BOUND_S)


class Play:
    """A stage on which only connections are real, and what they told the history."""

    def __init__(self, port: int, kinds: list[str], *requests: str, process: str = "web", tls: bool = False) -> None:
        self.events: list[Event] = []
        self.lines: list[AnyLine] = []
        clock = MonotonicClock()
        context = EngineContext(run_id="x", clock=FakeClock(), scratch=Path(), logs=Path(), on_exit=lambda _replica, _gone: None)
        self.stage = Stage(
            scenario=scenario(kinds, *requests, process=process, tls=tls),
            clock=clock,
            dice=Dice(1),
            engine=FakeEngine(context, FakeScript()),
            load=FakeLoad(clock=FakeClock(), append=self.lines.append, rate_per_s=1, answer_s=1, requests=1),
            record=self.events.append,
            background=Threads(),
            tell=lambda _text: None,
            note=lambda _text: None,
            inner=lambda _step, _dice: None,
        )
        self.replica = Replica(name="web.1", process="web", host="127.0.0.1", port=port, pid=1, at_ns=clock.now_ns(), running_ns=0)
        self.holder = Holder(self.stage)

    def hold(self) -> Holding:
        return self.holder.hold(self.replica, 3)

    def signal(self, holding: Holding) -> int:
        at_ns = self.stage.clock.now_ns()
        holding.signalled(at_ns)
        return at_ns

    def told(self) -> list[Held]:
        return [event for event in self.events if isinstance(event, Held)]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def keeps_open(server: Server, connection: socket.socket) -> None:
    """Answer all that is asked, and wait for the peer to close."""
    while server.read(connection):
        connection.sendall(OK)


def serving(behave: Callable[[Server, socket.socket], None], tls: ssl.SSLContext | None = None) -> Server:
    made: list[Server] = []
    server = Server(lambda connection: behave(made[0], connection), tls=tls)
    made.append(server)
    return server


def test_what_nothing_has_ended_is_told_as_open_when_it_is_let_go() -> None:
    with serving(keeps_open) as server:
        play = Play(server.port, ["idle", "silent", "half-open"])
        holding = play.hold()
        assert holding.open == 3
        assert not holding.in_flight
        at_ns = play.signal(holding)
        holding.end()
    idle, silent, half = play.told()
    assert [(each.what, each.end, each.step, each.replica) for each in (idle, silent, half)] == [
        ("idle", "open", 3, "web.1"),
        ("silent", "open", 3, "web.1"),
        ("half-open", "open", 3, "web.1"),
    ]
    assert (idle.requests, len(idle.answered_ns), silent.requests, half.requests) == (1, 1, 0, 0)
    assert idle.at_ns <= idle.connected_ns <= idle.sent_ns <= idle.answered_ns[0] < at_ns < idle.ended_ns
    assert idle.path.startswith("/items/")
    assert half.path == idle.path
    assert silent.path == ""


@pytest.mark.parametrize(("reset", "end"), [(False, "closed"), (True, "reset")])
def test_the_end_that_the_app_makes_of_an_idle_connection_is_told_with_its_instant(*, reset: bool, end: str) -> None:
    close = threading.Event()

    def behave(server: Server, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(OK)
        assert close.wait(BOUND_S)
        if reset:
            servers.reset(connection)

    with serving(behave) as server:
        play = Play(server.port, ["idle"])
        holding = play.hold()
        at_ns = play.signal(holding)
        close.set()
        until(lambda: holding.open == 0)
        holding.end()
    (idle,) = play.told()
    assert idle.end == end
    assert idle.ended_ns > at_ns


def test_one_that_the_app_closes_before_the_signal_is_made_anew() -> None:
    def behave(server: Server, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(OK)
        if server.accepted > 2:
            server.read(connection)

    with serving(behave) as server:
        play = Play(server.port, ["idle"])
        holding = play.hold()
        until(lambda: server.accepted > 2)
        until(lambda: len(server.requests) > 2)
        at_ns = play.signal(holding)
        holding.end()
    (idle,) = play.told()
    assert idle.ended_ns > at_ns


def test_a_request_of_http_1_0_that_is_answered_after_the_signal_is_done() -> None:
    go_on = threading.Event()

    def behave(server: Server, connection: socket.socket) -> None:
        request = server.read(connection)
        if b"HTTP/1.0" in request:
            assert go_on.wait(BOUND_S)
        connection.sendall(OK)

    with serving(behave) as server:
        play = Play(server.port, ["http/1.0"])
        holding = play.hold()
        assert holding.in_flight
        at_ns = play.signal(holding)
        go_on.set()
        until(lambda: not holding.in_flight)
        holding.end()
    (held,) = play.told()
    assert (held.what, held.end, held.requests, len(held.answered_ns)) == ("http/1.0", "done", 1, 1)
    assert held.sent_ns < at_ns < held.answered_ns[0]
    assert b"Connection:" not in server.requests[-1]


def held_over_a_signal(kind: str, is_it: Callable[[bytes], bool], answer: bytes) -> Held:
    """What is told of a connection of ``kind`` to an app that answers it only after the signal, with ``answer``."""
    go_on = threading.Event()

    def behave(server: Server, connection: socket.socket) -> None:
        if is_it(server.read(connection)):
            assert go_on.wait(BOUND_S)
            connection.sendall(answer)
        else:
            connection.sendall(OK)

    with serving(behave) as server:
        play = Play(server.port, [kind])
        holding = play.hold()
        play.signal(holding)
        go_on.set()
        until(lambda: holding.open == 0)
        holding.end()
    (held,) = play.told()
    return held


@pytest.mark.parametrize(
    ("answer", "end"),
    [(b"", "closed"), (OK[:-2], "cut"), (OK[:12], "cut"), (CHUNKED, "cut")],
)
def test_a_request_of_http_1_0_that_is_cut_is_no_answer(answer: bytes, end: str) -> None:
    held = held_over_a_signal("http/1.0", lambda asked: b"HTTP/1.0" in asked, answer)
    assert (held.end, held.answered_ns) == (end, ())


@pytest.mark.parametrize(
    ("answers", "told", "end"),
    [
        ([OK] * PIPELINED, False, "done"),
        ([OK], False, "closed"),
        ([OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)], True, "closed"),
        ([OK, OK[:-1]], False, "cut"),
    ],
)
def test_of_pipelined_requests_each_answer_is_counted(answers: list[bytes], told: bool, end: str) -> None:  # noqa: FBT001  a parameter
    held = held_over_a_signal("pipelined", lambda asked: asked.count(b"GET ") == PIPELINED, b"".join(answers))
    assert (held.requests, len(held.answered_ns), held.close_told, held.end) == (PIPELINED, answers.count(OK) + told, told, end)


class AppsOwnTime(MonotonicClock):
    """A clock that goes on by what the app says that it takes, whatever else the machine does, and while somebody sleeps."""

    def __init__(self) -> None:
        self.passed_ns = 0

    def now_ns(self) -> int:
        self.passed_ns += 1
        return self.passed_ns

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.passed_ns += round(seconds * NS_PER_S)


def test_what_is_under_way_is_the_get_that_takes_longest_with_its_headers_and_found_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    clock = AppsOwnTime()
    monkeypatch.setattr(sys.modules[__name__], "MonotonicClock", lambda: clock)

    def behave(server: Server, connection: socket.socket) -> None:
        path = server.read(connection).split()[1]
        asked.append(path)
        clock.passed_ns += 50_000_000 if path == b"/slow" else 0
        connection.sendall(OK)

    with serving(behave) as server:
        play = Play(server.port, ["http/1.0"], "GET /fast", "GET /slow", "POST /never")
        for _ in range(2):
            holding = play.hold()
            play.signal(holding)
            holding.end()
    assert [each.path for each in play.told()] == ["/slow", "/slow"]
    assert (asked.count(b"/fast"), b"/never" in asked) == (1, False)


def test_nobody_listens() -> None:
    play = Play(servers.closed_port(), ["idle", "http/1.0"])
    holding = play.hold()
    play.signal(holding)
    holding.end()
    assert [(each.end, each.connected_ns, each.requests) for each in play.told()] == [("refused", 0, 0)] * 2


def test_other_process_types_and_scenarios_that_ask_for_none_have_none_and_one_that_was_never_signalled_is_not_told() -> None:
    with serving(keeps_open) as server:
        assert Play(server.port, []).hold().open == 0
        assert Play(server.port, ["idle"], process="worker").hold().open == 0
        play = Play(server.port, ["idle"])
        play.hold().end()
    assert not play.told()


def test_a_connection_that_a_stop_awaits_can_be_let_go() -> None:
    seen = threading.Event()

    def behave(server: Server, connection: socket.socket) -> None:
        keeps_open(server, connection)
        seen.set()

    with serving(behave) as server:
        play = Play(server.port, ["idle"])
        holding = play.hold()
        play.signal(holding)
        holding.let_go()
        assert seen.wait(BOUND_S)
        holding.end()
    assert [each.end for each in play.told()] == ["open"]


def test_on_fakes_nothing_is_held() -> None:
    play = Play(9, ["idle"])
    play.stage = replace(play.stage, clock=FakeClock(), background=Inline())
    holding = Holder(play.stage).hold(play.replica, 1)
    holding.signalled(1)
    holding.end()
    assert not play.events


def test_an_answer_of_which_nothing_tells_the_end_ends_with_its_connection() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, closing(Answers(ours)) as answers:
        theirs.sendall(b"HTTP/1.1 200 OK\r\n\r\nsome")
        theirs.shutdown(socket.SHUT_WR)
        assert answers.read()
        with pytest.raises(http.client.RemoteDisconnected):
            answers.read()


@pytest.mark.parametrize("kind", ["idle", "half-open", "http/1.0", "silent"])
def test_where_the_app_speaks_tls_so_does_the_harness(kind: str) -> None:
    go_on = threading.Event()

    def behave(server: Server, connection: socket.socket) -> None:
        if b"HTTP/1.0" in server.read(connection):
            assert go_on.wait(BOUND_S)
        connection.sendall(OK)
        while server.read(connection):
            pass

    with serving(behave, tls=servers.server_context()) as server:
        play = Play(server.port, [kind], tls=True)
        holding = play.hold()
        play.signal(holding)
        go_on.set()
        until(lambda: not holding.in_flight)
        holding.end()
    (held,) = play.told()
    assert (held.what, held.end) == (kind, "done" if kind == "http/1.0" else "open")
    assert bool(held.answered_ns) == (kind in ("idle", "http/1.0"))
