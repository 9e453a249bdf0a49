"""Connections that the harness itself holds to a replica while it is stopped, to see what the stop does to each kind.

The load's own connections are busy or about to be. A stop also meets others, and servers differ most in what they do about those:

* ``idle``: one request was answered on it, and it is kept open, as a browser or a load balancer keeps it;
* ``silent``: it was made, and nothing was sent on it;
* ``half-open``: the first lines of a request were sent, and the empty line that ends them never is;
* ``http/1.0``: a request of HTTP/1.0 is under way, which ends with its connection;
* ``pipelined``: `PIPELINED` requests were sent in one piece, and the first of them is being answered (RFC 9112, section 9.3.2).

The last two ask for the GET of the load that takes longest, as it was measured once before the first stop, and do so again and again until
the signal, so that something is under way then. What the app has closed before the signal is made anew. Each connection is watched until
its end, at most until the replica and all that it left behind is gone, and is then told to the history as `Held`.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from harness.clock import NS_PER_S, Clock, Dice
from harness.engines.base import Replica
from harness.history import Held
from harness.scenario import Request
from harness.stage import Stage, Watch
from harness.template import compile_template, draw
from harness.tls import Tls

PIPELINED: Final = 3
UNDER_WAY: Final = ("http/1.0", "pipelined")
"""Kinds of which a request is in flight at the signal."""

OPEN_S: Final = 1.0
"""How long a stop waits for its connections to be made; an app that serves one at a time may never come to them."""

READ_S: Final = 0.025
"""How long a request may take until the app has read it, which it must have done before the signal to owe an answer."""

CONNECT_S: Final = 1.0
MEASURE_S: Final = 2.0
"""How long one GET may take while the slowest is looked for, and how long a next one may begin."""

LAST_LOOK_S: Final = 0.2
"""How long the end of a connection may take to get here once the replica is gone."""

_POLL_S: Final = 0.001
_PAUSE_S: Final = 0.005
_PAUSE_IDLE_S: Final = 0.05
_ROUNDS: Final = 64
_CHUNK: Final = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ask:
    """A GET as it is sent: its path, and its headers but for the first line and Host."""

    path: str
    headers: str = ""

    def head(self, replica: Replica, version: str) -> bytes:
        """The request without the empty line that ends it."""
        return f"GET {self.path} HTTP/{version}\r\nHost: {replica.host}:{replica.port}\r\n{self.headers}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How a replica is reached; ``tls`` where it speaks that."""

    replica: Replica
    tls: Tls | None

    def connect(self, *, bare: bool = False) -> socket.socket:
        """A connection on which reads wait for ever, without TLS if ``bare``; raises `OSError`."""
        host = self.replica.host
        sock = socket.create_connection((host, self.replica.port), timeout=CONNECT_S)
        try:
            if self.tls is not None and not bare:
                sock = self.tls.context.wrap_socket(sock, server_hostname=self.tls.name_at(host))
            sock.settimeout(None)
        except OSError:
            sock.close()
            raise
        return sock


@dataclass(slots=True, kw_only=True)
class _Round:
    """What was seen of one connection so far; see `Held`."""

    at_ns: int
    connected_ns: int = 0
    sent_ns: int = 0
    requests: int = 0
    answered_ns: list[int] = field(default_factory=list)
    close_told: bool = False
    ended_ns: int = 0
    path: str = ""
    end: str = "refused"

    def told(self, step: int, replica: str, what: str) -> Held:
        """The event that tells of it."""
        return Held(
            at_ns=self.at_ns,
            connected_ns=self.connected_ns,
            ended_ns=self.ended_ns,
            step=step,
            replica=replica,
            what=what,
            path=self.path,
            sent_ns=self.sent_ns,
            requests=self.requests,
            answered_ns=tuple(self.answered_ns),
            end=self.end,
            close_told=self.close_told,
        )


class _Stream(io.BufferedReader):
    """All that comes on a connection; who has read one answer closes it, and the next one is still to come."""

    last_line = b""

    def close(self) -> None:
        """Do nothing: the connection is closed by who made it."""

    def readline(self, size: int | None = -1, /) -> bytes:
        """As always; the line is kept, as an empty one is the end of the connection and not that of the headers."""
        self.last_line = super().readline(size)
        return self.last_line


class Answers:
    """The answers to GETs that come on one connection, one after the other; nothing of their bodies is kept."""

    def __init__(self, sock: socket.socket) -> None:
        self._raw = sock.makefile("rb", buffering=0)
        self._stream = _Stream(self._raw)

    def makefile(self, _mode: str) -> _Stream:
        """What `http.client` asks a connection for."""
        return self._stream

    def read(self) -> bool:
        """Read one answer to its end; returns whether it says that the connection is closed after it.

        Raises:
            http.client.RemoteDisconnected: The connection ended before its first byte.
            http.client.HTTPException: It ended in the middle, or what came is no HTTP.
            OSError: The connection was reset.
        """
        answer = http.client.HTTPResponse(self, method="GET")  # type: ignore[arg-type]  # it asks for nothing but the file
        answer.begin()
        if not self._stream.last_line:
            raise http.client.IncompleteRead(b"")
        while answer.read(_CHUNK):
            pass
        if answer.length:
            raise http.client.IncompleteRead(b"", answer.length)
        return answer.will_close

    def close(self) -> None:
        """Give the connection back."""
        self._raw.close()


class _Line:
    """One connection of one kind, made again and again until the signal; runs on a thread of its own.

    Attributes:
        ready: It is as it should be at a signal, or can't be had.
        ended: The last one has ended.
    """

    def __init__(self, clock: Clock, way: _Way, what: str, ask: _Ask) -> None:
        self.what = what
        self.ready = threading.Event()
        self.ended = threading.Event()
        self._clock = clock
        self._way = way
        self._ask = ask
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._released = False
        self._signalled = threading.Event()
        self._rounds: deque[_Round] = deque(maxlen=_ROUNDS)

    def run(self, _stop: threading.Event) -> None:
        """Make it until `signalled`, and watch the last one until its end."""
        try:
            while not self._signalled.is_set():
                seen = _Round(at_ns=self._clock.now_ns())
                self._rounds.append(seen)
                self._make(seen)
                seen.ended_ns = self._clock.now_ns()
                self.ready.set()
                self._signalled.wait(_PAUSE_S if self.what in UNDER_WAY else _PAUSE_IDLE_S)
        finally:
            self.ready.set()
            self.ended.set()

    def signalled(self) -> None:
        """Make no other one."""
        self._signalled.set()

    def let_go(self) -> None:
        """End it from this side: whoever waits on it then reads its end."""
        self._signalled.set()
        with self._lock:
            self._released = True
            if self._sock is not None:
                _shut(self._sock)

    def at(self, at_ns: int) -> _Round | None:
        """The one that there was at ``at_ns``, or the last one before; None when none was tried."""
        rounds = list(self._rounds)
        return next((each for each in rounds if not each.ended_ns or each.ended_ns >= at_ns), rounds[-1] if rounds else None)

    def _make(self, seen: _Round) -> None:
        """One connection from its beginning to its end."""
        try:
            sock = self._way.connect(bare=self.what == "silent")
        except OSError:
            return
        try:
            with self._lock:
                self._sock = sock
                if self._released or sock.getsockname() == sock.getpeername():  # connected to itself: nobody listens
                    return
            seen.connected_ns, seen.end = self._clock.now_ns(), "open"
            end = self._use(sock, seen)
            seen.end = "open" if self._released and end != "done" else end
        finally:
            with self._lock:
                self._sock = None
            sock.close()

    def _use(self, sock: socket.socket, seen: _Round) -> str:
        """Send what its kind sends and read until its end; returns how it ended."""
        wanted = {"idle": 1, "http/1.0": 1, "pipelined": PIPELINED}.get(self.what, 0)
        head = self._ask.head(self._way.replica, "1.0" if self.what == "http/1.0" else "1.1")
        answers = Answers(sock)
        try:
            if self.what != "silent":
                sock.sendall(head if self.what == "half-open" else (head + b"\r\n") * wanted)
                seen.path = self._ask.path
            if wanted:
                seen.sent_ns, seen.requests = self._clock.now_ns(), wanted
            if self.what in UNDER_WAY:
                self.ready.set()
            self._read(answers, seen)
            if self.what in UNDER_WAY and len(seen.answered_ns) == wanted:
                return "done"
            self.ready.set()
            while sock.recv(_CHUNK):
                pass  # a farewell, such as 408
        except http.client.RemoteDisconnected:
            return "closed"
        except OSError:
            return "reset"
        except http.client.HTTPException:
            return "cut"
        finally:
            answers.close()
        return "closed"

    def _read(self, answers: Answers, seen: _Round) -> None:
        """Read what was asked for; raises when it is cut, or when the connection ends first."""
        while len(seen.answered_ns) < seen.requests and not seen.close_told:
            will_close = answers.read()
            seen.answered_ns.append(self._clock.now_ns())
            seen.close_told = will_close and self.what != "http/1.0"


@contextmanager
def _ending_after(sock: socket.socket, seconds: float) -> Iterator[None]:
    """End ``sock`` from this side when the block takes longer: a stream that sends a little now and then runs into no time-out."""
    timer = threading.Timer(seconds, _shut, [sock])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):  # its peer was faster
        sock.shutdown(socket.SHUT_RDWR)


class Holding:
    """The connections that are held to one replica over one stop."""

    def __init__(self, stage: Stage, replica: Replica, step: int, lines: list[_Line]) -> None:
        self._stage = stage
        self._replica = replica
        self._step = step
        self._lines = lines
        self._at_ns = 0
        self._watches: list[Watch] = [stage.background.watch(line.run) for line in lines]
        self._wait(lambda line: line.ready.is_set(), OPEN_S)
        if self.in_flight:
            stage.clock.sleep(READ_S)

    @property
    def open(self) -> int:
        """How many have not ended."""
        return sum(not line.ended.is_set() for line in self._lines)

    @property
    def in_flight(self) -> bool:
        """Something is being answered on one of them."""
        return any(line.what in UNDER_WAY and not line.ended.is_set() for line in self._lines)

    def signalled(self, at_ns: int) -> None:
        """The signal was sent at ``at_ns``: none is made anew, and what there was then is what will be told."""
        self._at_ns = at_ns
        for line in self._lines:
            line.signalled()

    def let_go(self) -> None:
        """Close all from this side."""
        for line in self._lines:
            line.let_go()

    def end(self) -> None:
        """The replica is gone: wait a moment for the ends that are on their way here, let go of the rest, and tell the history."""
        if self._at_ns:
            self._wait(lambda line: line.ended.is_set(), LAST_LOOK_S)
        self.let_go()
        for watch in self._watches:
            watch.end()
        self._watches = []
        for line in self._lines:
            seen = line.at(self._at_ns)
            if self._at_ns and seen is not None:
                self._stage.record(seen.told(self._step, self._replica.name, line.what))

    def _wait(self, done: Callable[[_Line], bool], seconds: float) -> None:
        clock = self._stage.clock
        deadline_ns = clock.now_ns() + round(seconds * NS_PER_S)
        while not all(map(done, self._lines)) and clock.now_ns() < deadline_ns:
            clock.sleep(_POLL_S)


class Holder:
    """Holds connections to the replicas of a run, as its scenario says, and knows which GET takes longest."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._asks: tuple[_Ask, ...] = tuple(
            _ask(request) for request in stage.scenario.load.requests if request.method == "GET" and request.stream is None
        )
        self._slowest: _Ask | None = None
        self._lock = threading.Lock()

    def hold(self, replica: Replica, step: int) -> Holding:
        """Make the scenario's connections to ``replica`` and return when they are as they should be at a signal.

        Only to the process type that takes the load; what can't be had within a second is left as it is.
        """
        scenario = self._stage.scenario
        kinds = scenario.load.connections if replica.process == scenario.load_process else ()
        plain = next(iter(self._asks), _Ask(path="/"))
        way = _Way(replica=replica, tls=scenario.target[replica.process].spoken_tls if kinds else None)
        slowest = self._find_slowest(way) if set(kinds) & set(UNDER_WAY) else plain
        lines = [_Line(self._stage.clock, way, kind, slowest if kind in UNDER_WAY else plain) for kind in kinds]
        return Holding(self._stage, replica, step, lines)

    def _find_slowest(self, way: _Way) -> _Ask:
        """The GET of the load that takes longest, but for those that take longer than `MEASURE_S` and may never end."""
        with self._lock:
            if self._slowest is None:
                took_ns = {ask: self._measure(way, ask) for ask in dict.fromkeys(self._asks)}
                self._slowest = max(took_ns, key=lambda ask: took_ns[ask], default=_Ask(path="/"))
            return self._slowest

    def _measure(self, way: _Way, ask: _Ask) -> int:
        """Nanoseconds until its answer was whole; 0 when it was not in time."""
        clock = self._stage.clock
        at_ns = clock.now_ns()
        try:
            with way.connect() as sock:
                sock.sendall(ask.head(way.replica, "1.1") + b"Connection: close\r\n\r\n")
                with _ending_after(sock, MEASURE_S), closing(Answers(sock)) as answers:
                    answers.read()
        except (OSError, http.client.HTTPException):
            return 0
        took_ns = clock.now_ns() - at_ns
        return took_ns if took_ns <= MEASURE_S * NS_PER_S else 0


def _ask(request: Request) -> _Ask:
    """``request`` with one value for each of its placeholders."""
    texts = [request.path, *request.headers.values()]
    names = [name for text in texts for name in compile_template(text).names]
    values = draw(Dice(0), names, user=0, seq=0)
    path, *rest = (compile_template(text).render(values) for text in texts)
    return _Ask(path=path, headers="".join(f"{name}: {value}\r\n" for name, value in zip(request.headers, rest, strict=True)))
