"""Probes: when a replica runs, listens and is healthy, and what its listener does after a signal.

Whether a port is open is seen from the kernel's socket table where the engine can (no connection, a thousand times a second); health
is asked over HTTP as a load balancer would. After a signal two watchers look on: one notes the instant at which the listener closed
and how many connections waited in its accept queue, the other one knocks on a new connection every 20 ms and notes whether it was
refused, served, rejected, reset or left hanging.

An app that speaks TLS is asked with TLS. A connection counts as made when the handshake is over, so a knock that ends before that was
refused: nothing was sent that could be lost.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from harness.clock import NS_PER_S
from harness.engines.base import Listening, Replica, TellsHealth
from harness.errors import TargetError
from harness.history import Knocked, PhaseReached
from harness.scenario import Healthcheck
from harness.sockets import listeners_of, socket_inodes
from harness.stage import Stage
from harness.tls import Tls, in_words, tls_with
from harness.units import Duration

LOOK_EVERY_S: Final = 0.001
"""How often the socket table is read; the error of *listening* and *stopped listening*."""

SHORTEST_ASK_NS: Final = 1_000_000
"""An answer is waited for at least so long, however little time is left."""

KNOCK_EVERY_S: Final = 0.02
_INWARD: Final = "it listens on its loopback address only, where nothing outside its container reaches it"

_NEVER_OPEN: Final = "its port was never open"
_OWN_CHECK: Final = "its own health check had not passed"
HUNG_AFTER_S: Final = 0.25
"""A knock that was connected and got no answer for so long hangs."""


class NotHealthyError(TargetError):
    """A replica did not become healthy; ``reason`` is a `StartFailed` reason."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The answer to a health probe: healthy, or why not."""

    healthy: bool
    why: str


def wait_healthy(stage: Stage, replica: Replica, healthcheck: Healthcheck, *, until_ns: int = 0, until_listening: bool = False) -> bool:
    """Record *listening* and *healthy* of a replica that was just started, and return when it is healthy.

    With ``until_ns`` it returns at that instant at the latest, with ``until_listening`` as soon as the port is open; with false when the
    replica is not healthy by then.

    Raises:
        NotHealthyError: It exited, somebody else holds its port, or its start period passed.
    """
    patience_s = max(healthcheck.start_period.s, replica.patience_s)
    deadline_ns = replica.began_ns + round(patience_s * NS_PER_S)
    next_ask_ns = 0
    listening = False
    may_ask = healthcheck.kind not in ("http", "tcp")
    last = _Asked(healthy=False, why=_NEVER_OPEN)
    while True:
        now_ns = stage.clock.now_ns()  # before the look, since who holds a new socket may take a while to find out
        seen = _raise_if_gone(stage, replica)
        if not listening and healthcheck.kind in ("http", "tcp", "test") and _is_open(replica, seen):
            at_ns = seen.since_ns if seen is not None and seen.since_ns else now_ns
            stage.record(PhaseReached(at_ns=at_ns, replica=replica.name, phase="listening"))
            listening = may_ask = True
            if until_listening:
                return False
        if may_ask and now_ns >= next_ask_ns:
            last = _ask(stage, replica, _hurried(healthcheck, until_ns - now_ns) if until_ns else healthcheck)
            if last.healthy:
                stage.record(PhaseReached(at_ns=stage.clock.now_ns(), replica=replica.name, phase="healthy"))
                return True
            # What an engine says of its own check it was told without being asked, so to look at that costs nothing.
            next_ask_ns = now_ns + (0 if last.why == _OWN_CHECK else healthcheck.ask_every.ns)
        if until_ns and now_ns >= until_ns:
            return False
        if now_ns >= deadline_ns:
            why = _why_not(stage, replica, healthcheck, last)
            raise NotHealthyError("never-healthy", f"{why} (waited {Duration(ns=round(patience_s * NS_PER_S))})")
        stage.clock.sleep(LOOK_EVERY_S)


def _hurried(healthcheck: Healthcheck, left_ns: int) -> Healthcheck:
    """The same check with no more patience than there is time left: an app may take a connection long before it answers."""
    left = Duration(ns=max(left_ns, SHORTEST_ASK_NS))
    return healthcheck if healthcheck.timeout.ns <= left.ns else healthcheck.model_copy(update={"timeout": left})


def _why_not(stage: Stage, replica: Replica, healthcheck: Healthcheck, last: _Asked) -> str:
    seen = stage.engine.listening(replica)
    if seen is not None and seen.inward:
        return _INWARD
    if last.why == _NEVER_OPEN and (ports := _other_ports(stage, replica)):
        return f"it listens on port {' and '.join(map(str, ports))}, not on its PORT {replica.port}"
    if healthcheck.kind == "http" and "got no answer" in last.why and stage.scenario.target[replica.process].spoken_tls is None:
        spoken = _shake_hands(replica, healthcheck, tls_with("", ""))
        return f"{last.why}; it speaks TLS: write tls: true" if spoken.healthy else last.why
    known = stage.engine.why_not_healthy(replica) if last.why == _OWN_CHECK and isinstance(stage.engine, TellsHealth) else ""
    return known or last.why


def _other_ports(stage: Stage, replica: Replica) -> list[int]:
    """The ports that the replica listens on instead of its own; none where its sockets can't be seen."""
    found = listeners_of(replica.pid) if replica.pid else None
    if not found:
        return []
    pids = [replica.pid, *(process.pid for process in stage.engine.descendants(replica))]
    held = frozenset[int]().union(*(socket_inodes(pid) or frozenset() for pid in pids))
    return sorted({listener.port for listener in found if listener.inode in held} - {replica.port})


def _raise_if_gone(stage: Stage, replica: Replica) -> Listening | None:
    """What its port looks like, if it may still become healthy."""
    gone = stage.engine.wait_exit(replica, 0)
    stage.raise_if_lost()
    seen = stage.engine.listening(replica)
    if seen is not None and seen.taken_by:
        raise NotHealthyError("port-taken", f"port {replica.port} is held by another program: {seen.taken_by}")
    if gone is not None:
        raise NotHealthyError("exited", f"it exited with status {gone.status} before it was healthy")
    return seen


def _is_open(replica: Replica, seen: Listening | None) -> bool:
    if seen is not None:
        return seen.open
    try:
        with socket.create_connection((replica.host, replica.port), timeout=HUNG_AFTER_S) as probe:
            return bool(probe.getsockname() != probe.getpeername())  # a connection to itself is no listener
    except OSError:
        return False


def _ask(stage: Stage, replica: Replica, healthcheck: Healthcheck) -> _Asked:
    told = stage.engine.healthy(replica) if isinstance(stage.engine, TellsHealth) else None
    if told is not None:
        return _Asked(healthy=told, why=_OWN_CHECK)
    tls = stage.scenario.target[replica.process].spoken_tls
    match healthcheck.kind:
        case "http":
            return _ask_http(replica, healthcheck, tls)
        case "tcp" if tls is not None:
            return _shake_hands(replica, healthcheck, tls)
        case "log":
            pattern = healthcheck.log or ""
            return _Asked(healthy=stage.engine.log_matches(replica, pattern), why=f"no line of its log matched {pattern!r}")
        case _:
            return _Asked(healthy=True, why="")


class Connection(http.client.HTTPConnection):
    """A connection straight to a replica, with TLS where it speaks that; no proxy of the environment stands between."""

    def __init__(self, replica: Replica, timeout_s: float, tls: Tls | None) -> None:
        super().__init__(replica.host, replica.port, timeout=timeout_s)
        self._tls = tls

    def connect(self) -> None:
        """Connect and shake hands."""
        super().connect()
        if self._tls is not None:
            self.sock = self._tls.context.wrap_socket(self.sock, server_hostname=self._tls.name_at(self.host))


def _ask_http(replica: Replica, healthcheck: Healthcheck, tls: Tls | None) -> _Asked:
    path = healthcheck.http or "/"
    with closing(Connection(replica, healthcheck.timeout.s, tls)) as connection:
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            with connection.getresponse() as answer:
                answer.read()
        except (OSError, http.client.HTTPException) as error:
            return _Asked(healthy=False, why=f"GET {path} got no answer: {_reason(error)}")
    return _Asked(healthy=200 <= answer.status < 400, why=f"GET {path} was answered with {answer.status}")


def _shake_hands(replica: Replica, healthcheck: Healthcheck, tls: Tls) -> _Asked:
    with closing(Connection(replica, healthcheck.timeout.s, tls)) as connection:
        try:
            connection.connect()
        except OSError as error:
            return _Asked(healthy=False, why=f"its port took a connection and no TLS handshake was done: {_reason(error)}")
    return _Asked(healthy=True, why="")


def _reason(error: OSError | http.client.HTTPException) -> str:
    """What went wrong, in words.

    Raises:
        NotHealthyError: A certificate was refused, which no patience mends.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        raise NotHealthyError("never-healthy", in_words(error))
    if isinstance(error, ssl.SSLError) and error.reason:
        return in_words(error)
    return type(error).__name__


def listener_watch(stage: Stage, replica: Replica) -> Callable[[threading.Event], None]:
    """A watcher that records *stopped-listening* once, with the accept queue as it was last seen."""

    def body(stop: threading.Event) -> None:
        backlog = 0
        ending = False
        while not ending:
            ending = stop.wait(LOOK_EVERY_S)  # one more look after the end was asked for
            now_ns = stage.clock.now_ns()
            seen = stage.engine.listening(replica)
            if seen is None:
                return
            if not seen.open:
                stage.record(PhaseReached(at_ns=now_ns, replica=replica.name, phase="stopped-listening", backlog=backlog))
                return
            backlog = seen.backlog

    return body


def knock_watch(stage: Stage, replica: Replica, path: str) -> Callable[[threading.Event], None]:
    """A watcher that knocks on a new connection until it is ended; ``path`` is what it asks for."""

    def body(stop: threading.Event) -> None:
        while not stop.is_set():
            at_ns = stage.clock.now_ns()
            result = _knock(stage, replica, path)
            done_ns = stage.clock.now_ns()
            if result:
                stage.record(Knocked(at_ns=at_ns, done_ns=done_ns, replica=replica.name, result=result))
            stop.wait(max(0.0, KNOCK_EVERY_S - (done_ns - at_ns) / NS_PER_S))

    return body


def _knock(stage: Stage, replica: Replica, path: str) -> str:
    """Knock, and call it refused where the address went with its replica: nobody was there, and nobody could say so.

    Empty when it can't be told, because something in between takes each connection and nobody sees whether the replica listens.
    """
    if replica.vanishes and stage.engine.wait_exit(replica, 0) is not None:
        return "refused"
    result = knock(replica, path, stage.scenario.target[replica.process].spoken_tls)
    if result == "reset" and not replica.refuses:
        seen = stage.engine.listening(replica)
        return "" if seen is None else result if seen.open else "refused"
    gone = stage.engine.wait_exit(replica, 0) if replica.vanishes and result == "hung" else None
    return "refused" if gone is not None else result


def knock(replica: Replica, path: str, tls: Tls | None = None) -> str:
    """Ask once on a new connection: ``refused``, ``served``, ``rejected``, ``reset`` or ``hung``."""
    connection = Connection(replica, HUNG_AFTER_S, tls)
    with closing(connection):
        try:
            connection.connect()
            own: socket.socket = connection.sock
            if own.getsockname() == own.getpeername():
                return "refused"
        except TimeoutError:
            return "hung"
        except OSError:
            return "refused"
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            return "rejected" if connection.getresponse().status >= 500 else "served"
        except TimeoutError:
            return "hung"
        except (OSError, http.client.HTTPException):
            return "reset"
