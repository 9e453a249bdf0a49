"""What a knock on a real listener tells, and when a replica counts as healthy."""

from __future__ import annotations

import dataclasses
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import probes
from harness.clock import NS_PER_S, FakeClock
from harness.engines.base import Engine, Exit, Listening, Replica
from harness.history import PhaseReached, Process
from harness.probes import LOOK_EVERY_S, NotHealthyError, knock, wait_healthy
from harness.scenario import Healthcheck, ProcessType
from harness.stage import Stage
from harness.tls import Tls, tls_with
from harness.units import Duration
from tests.load.servers import CERTIFICATE, server_context

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def replica(port: int) -> Replica:
    return Replica(name="web.1", process="web", host="127.0.0.1", port=port, pid=0, at_ns=0, running_ns=0)


def answers(answer: bytes) -> Callable[[socket.socket], None]:
    def serve(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(answer)

    return serve


def resets(peer: socket.socket) -> None:
    peer.recv(4096)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def closes(peer: socket.socket) -> None:
    peer.recv(4096)


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A listener that treats one connection as ``serve`` says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def once() -> None:
            peer, _ = listener.accept()
            with peer:
                serve(peer)

        thread = threading.Thread(target=once, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody hangs: the servers of these tests answer in the end, on however busy a machine."""
    monkeypatch.setattr(probes, "HUNG_AFTER_S", 10.0)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("serve", "told"),
    [(answers(OK), "served"), (answers(BUSY), "rejected"), (resets, "reset"), (closes, "reset"), (answers(b"HTTP/1.1 2"), "reset")],
)
def test_a_knock_tells_what_the_listener_did(serve: Callable[[socket.socket], None], told: str) -> None:
    with server(serve) as port:
        assert knock(replica(port), "/") == told


def test_a_knock_on_a_closed_port_is_refused() -> None:
    with socket.socket() as taken:  # bound, but not listening: nobody else can listen there meanwhile
        taken.bind(("127.0.0.1", 0))
        assert knock(replica(taken.getsockname()[1]), "/") == "refused"


def over_tls(serve: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """What a server does on a connection after its handshake."""

    def shake_and_serve(peer: socket.socket) -> None:
        with server_context().wrap_socket(peer, server_side=True) as secure:
            serve(secure)

    return shake_and_serve


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("serve", "told"),
    [
        (over_tls(answers(OK)), "served"),
        (over_tls(answers(BUSY)), "rejected"),
        (over_tls(resets), "reset"),
        (over_tls(closes), "reset"),
        (resets, "refused"),
        (closes, "refused"),
        (answers(OK), "refused"),
    ],
)
def test_a_knock_over_tls_is_refused_until_the_handshake_is_over(serve: Callable[[socket.socket], None], told: str) -> None:
    with server(serve) as port:
        assert knock(replica(port), "/", tls_with("", "")) == told


@pytest.mark.slow
def test_a_knock_that_nobody_answers_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepted by the kernel, never by anybody else
        assert knock(replica(listener.getsockname()[1]), "/") == "hung"


# --- waiting until a replica is healthy


class Stub:
    """An engine that sees what a script says; one reading each, the last one for ever."""

    name = "stub"

    def __init__(
        self, *, listening: list[Listening | None] | None = None, matches: list[bool] | None = None, gone: Exit | None = None
    ) -> None:
        self.seen = listening if listening is not None else [Listening(open=True)]
        self.matches = matches if matches is not None else [False]
        self.gone = gone
        self.patterns: list[str] = []

    def wait_exit(self, replica: Replica, timeout_s: float) -> Exit | None:
        return self.gone

    def listening(self, replica: Replica) -> Listening | None:
        return self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]

    def log_matches(self, replica: Replica, pattern: str) -> bool:
        self.patterns.append(pattern)
        return self.matches.pop(0) if len(self.matches) > 1 else self.matches[0]

    def descendants(self, replica: Replica) -> tuple[Process, ...]:
        return ()


class Wait:
    """One call of `wait_healthy` on a fake clock, with what it recorded and raised."""

    def __init__(self, engine: Stub, healthcheck: object, at: Replica, *, tls: object = None, until_ns: int = 0) -> None:
        self.clock = FakeClock(start_ns=at.at_ns)
        self.events: list[PhaseReached] = []
        self.error: NotHealthyError | None = None
        unused: Any = None
        scenario: Any = SimpleNamespace(target={"web": ProcessType.model_validate({"command": "a", "tls": tls})})
        stage = Stage(
            scenario=scenario,
            clock=self.clock,
            dice=unused,
            engine=cast("Engine", engine),
            load=unused,
            record=lambda event: self.events.append(cast("PhaseReached", event)),
            background=unused,
            tell=unused,
            note=unused,
            inner=unused,
        )
        try:
            wait_healthy(stage, at, Healthcheck.model_validate(healthcheck), until_ns=until_ns)
        except NotHealthyError as error:
            self.error = error

    @property
    def phases(self) -> list[str]:
        return [event.phase for event in self.events]

    @property
    def why(self) -> tuple[str, str]:
        """The reason and the detail of what was raised."""
        assert self.error is not None, self.phases
        return self.error.reason, self.error.detail


def test_a_log_that_never_matches_is_never_healthy() -> None:
    waited = Wait(Stub(matches=[False]), {"log": "ready", "start_period": "2s"}, replica(1))
    assert waited.why == ("never-healthy", "no line of its log matched 'ready' (waited 2s)")
    assert waited.phases == []


def test_a_log_that_matches_is_healthy() -> None:
    engine = Stub(matches=[False, False, True])
    waited = Wait(engine, {"log": "ready|started", "start_period": "2s"}, replica(1))
    assert waited.error is None
    assert waited.phases == ["healthy"]
    assert engine.patterns == ["ready|started"] * 3


def test_a_replica_that_listens_is_recorded_so_before_it_is_healthy() -> None:
    waited = Wait(Stub(listening=[Listening(open=False)] * 5 + [Listening(open=True)]), "tcp", replica(1))
    assert waited.error is None
    assert waited.phases == ["listening", "healthy"]
    listening, healthy = waited.events
    assert replica(1).at_ns < listening.at_ns <= healthy.at_ns


def test_what_only_has_to_run_is_healthy_at_once_and_is_not_asked_for_its_port() -> None:
    waited = Wait(Stub(listening=[Listening(open=False)]), "running", replica(1))
    assert waited.error is None
    assert waited.phases == ["healthy"]


@pytest.mark.parametrize("status", [500, 503, 404])
def test_a_health_check_that_is_answered_with_an_error_is_never_healthy_and_its_status_is_told(status: int) -> None:
    with web_server(status) as port:
        waited = Wait(Stub(), {"http": "/healthz", "start_period": "50ms"}, replica(port))
    assert waited.why == ("never-healthy", f"GET /healthz was answered with {status} (waited 50ms)")
    assert waited.phases == ["listening"]


@pytest.mark.parametrize("status", [200, 204, 302, 399])
def test_a_health_check_that_is_answered_well_is_healthy_and_redirects_are_not_followed(status: int) -> None:
    with web_server(status) as port:
        waited = Wait(Stub(), "/healthz", replica(port))
    assert waited.error is None
    assert waited.phases == ["listening", "healthy"]


def test_a_health_check_without_an_answer_is_never_healthy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        waited = Wait(Stub(), {"http": "/healthz", "start_period": "20ms"}, replica(taken.getsockname()[1]))
    reason, detail = waited.why
    assert reason == "never-healthy"
    assert detail.startswith("GET /healthz got no answer: Connect")


def test_who_must_be_back_at_an_instant_waits_for_no_answer_beyond_it(monkeypatch: pytest.MonkeyPatch) -> None:
    patience: list[float] = []
    real = probes._ask_http

    def ask(replica: Replica, healthcheck: Healthcheck, tls: Tls | None) -> object:
        patience.append(healthcheck.timeout.s)
        return real(replica, healthcheck, tls)

    monkeypatch.setattr(probes, "_ask_http", ask)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections, as a server does whose app is still being imported
        waited = Wait(
            Stub(), {"http": "/healthz", "timeout": "20s", "interval": "1ms"}, replica(silent.getsockname()[1]), until_ns=20_000_000
        )
    assert waited.error is None
    assert waited.phases == ["listening"]
    assert patience
    assert max(patience) == pytest.approx(0.02)
    assert min(patience) >= 0.001


def test_an_app_that_speaks_tls_and_is_asked_without_is_told_so() -> None:
    with web_server(200, secure=True) as port:
        waited = Wait(Stub(), {"http": "/healthz", "start_period": "1ms", "interval": "1m"}, replica(port))
    assert "it speaks TLS: write tls: true" in waited.why[1]


def test_a_replica_that_listens_on_another_port_than_its_own_is_told_which() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        at = dataclasses.replace(replica(free.getsockname()[1]), pid=os.getpid())
        closed: list[Listening | None] = [Listening(open=False)]
        waited = Wait(Stub(listening=closed), {"http": "/", "start_period": "20ms"}, at)
    assert str(port) in waited.why[1]
    assert f"not on its PORT {at.port} (waited 20ms)" in waited.why[1]


@pytest.mark.parametrize("healthcheck", ["/healthz", "tcp"])
@pytest.mark.parametrize("tls", [True, {"ca": str(CERTIFICATE)}, {"ca": str(CERTIFICATE), "server_name": "localhost"}])
def test_an_app_that_speaks_tls_is_asked_with_tls(healthcheck: str, tls: object) -> None:
    with web_server(200, secure=True) as port:
        waited = Wait(Stub(), healthcheck, replica(port), tls=tls)
    assert waited.error is None
    assert waited.phases == ["listening", "healthy"]


@pytest.mark.parametrize("healthcheck", ["/healthz", "tcp"])
def test_a_certificate_that_is_refused_is_told_at_once_and_once(healthcheck: str) -> None:
    with web_server(200, secure=True) as port:
        waited = Wait(Stub(), healthcheck, replica(port), tls={"ca": str(CERTIFICATE), "server_name": "elsewhere"})
    reason, detail = waited.why
    assert reason == "never-healthy"
    assert detail.startswith("its certificate was refused: Hostname mismatch")
    assert "server_name" in detail
    assert waited.clock.now_ns() == replica(port).at_ns


@pytest.mark.parametrize(
    ("healthcheck", "told"),
    [("/healthz", "GET /healthz got no answer: "), ("tcp", "its port took a connection and no TLS handshake was done: ")],
)
def test_an_app_without_the_tls_that_was_promised_is_told(healthcheck: str, told: str) -> None:
    check = {"http": "/healthz"} if healthcheck != "tcp" else {"tcp": True}
    with server(answers(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")) as port:
        waited = Wait(Stub(), check | {"start_period": "1ms", "interval": "1m"}, replica(port), tls=True)
    assert waited.why[1].startswith(told + "it does not speak TLS as it should (")
    assert "remove tls:" in waited.why[1]


def test_no_proxy_of_the_environment_stands_before_a_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with web_server(200) as port:
        assert Wait(Stub(), "/healthz", replica(port)).error is None


def test_a_port_that_somebody_else_holds_is_told_at_once() -> None:
    waited = Wait(Stub(listening=[Listening(open=False, taken_by="nginx (pid 12)")]), "/healthz", replica(8000))
    assert waited.why == ("port-taken", "port 8000 is held by another program: nginx (pid 12)")
    assert waited.clock.now_ns() == replica(8000).at_ns


def test_a_replica_that_ended_before_it_was_healthy_is_told_with_its_status() -> None:
    waited = Wait(Stub(gone=Exit(at_ns=1, status=3)), "/healthz", replica(1))
    assert waited.why == ("exited", "it exited with status 3 before it was healthy")


@given(st.integers(min_value=1, max_value=2_000), st.integers(min_value=0, max_value=10**12))
def test_the_wait_ends_with_the_start_period_counted_from_the_start_of_the_replica(period_ms: int, at_ns: int) -> None:
    started = Replica(name="web.1", process="web", host="127.0.0.1", port=1, pid=0, at_ns=at_ns, running_ns=at_ns)
    waited = Wait(Stub(listening=[Listening(open=False)]), {"tcp": True, "start_period": f"{period_ms}ms"}, started)
    assert waited.why == ("never-healthy", f"its port was never open (waited {Duration.parse(f'{period_ms}ms')})")
    took_ns = waited.clock.now_ns() - at_ns
    assert period_ms * 10**6 <= took_ns <= period_ms * 10**6 + round(2 * LOOK_EVERY_S * NS_PER_S)


def test_what_a_runtime_took_to_make_a_container_is_no_part_of_the_start_period() -> None:
    made = dataclasses.replace(replica(1), created_ns=5 * NS_PER_S, running_ns=7 * NS_PER_S)
    waited = Wait(Stub(listening=[Listening(open=False)]), {"tcp": True, "start_period": "1s"}, made)
    assert waited.error is not None
    assert waited.clock.now_ns() == pytest.approx(8 * NS_PER_S, abs=2 * LOOK_EVERY_S * NS_PER_S)


def test_health_is_asked_for_no_more_often_than_the_interval() -> None:
    engine = Stub(matches=[False])
    Wait(engine, {"log": "ready", "interval": "100ms", "start_period": "1s"}, replica(1))
    assert 9 <= len(engine.patterns) <= 11


def test_what_the_engine_s_own_check_says_is_seen_at_once_however_seldom_that_is_made() -> None:
    class Telling(Stub):
        def healthy(self, _replica: Replica) -> bool:
            return self.matches.pop(0)

        def why_not_healthy(self, _replica: Replica) -> str:
            return ""

    waited = Wait(Telling(matches=[False] * 9 + [True]), {"test": ["CMD", "ready"], "interval": "1m", "start_period": "5m"}, replica(1))
    assert waited.phases == ["listening", "healthy"]
    assert waited.clock.now_ns() - replica(1).at_ns < round(20 * LOOK_EVERY_S * NS_PER_S)


def test_where_the_engine_cant_see_a_port_it_is_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert Wait(Stub(listening=[None]), "tcp", replica(listener.getsockname()[1])).phases == ["listening", "healthy"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        waited = Wait(Stub(listening=[None]), {"tcp": True, "start_period": "20ms"}, replica(taken.getsockname()[1]))
    assert waited.why[0] == "never-healthy"


@contextmanager
def web_server(status: int, *, secure: bool = False) -> Iterator[int]:
    """A server that answers each request with ``status``, on a thread of its own."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of clients that refused the certificate."""

    with Quiet(("127.0.0.1", 0), Answer) as listening:
        if secure:
            listening.socket = server_context().wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield listening.server_address[1]
        listening.shutdown()
        thread.join(10)
