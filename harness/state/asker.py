"""One request to one replica, asked straight and once: no proxy, no redirect that is followed, nothing that is sent twice.

An `Asker` belongs to one thread. It keeps a connection to each replica for reads, since a hundred thousand keys would else need as many
ports; should its peer have closed one meanwhile, which only a read may find out without harm, the read goes over a new one. Everything has
an end: a whole answer that is not there within the time-out is none, however slowly its bytes drip, and a body has a greatest length.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from harness.clock import NS_PER_S, Clock, Dice
from harness.template import Template, compile_json, compile_template, draw
from harness.tls import Tls, in_words

if TYPE_CHECKING:
    from harness.scenario import Request

MOST_BYTES: Final = 16 << 20
"""No body is read further."""

_FORM: Final = "application/x-www-form-urlencoded"
_WITH_BODY: Final = ("POST", "PUT", "PATCH")
_READS: Final = ("GET", "HEAD")
_PLAIN: Final = {"User-Agent": "jetable", "Accept": "*/*"}
_JSON: Final = {"Content-Type": "application/json"}
_MOST_WORDS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a replica is asked."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A request as it leaves; ``headers`` in their order, the Host only where the scenario gives it."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came back.

    Attributes:
        at_ns: When it was about to leave.
        done_ns: When the answer was whole, or it was clear that there is none.
        status: Its status; 0 for none.
        headers: Its headers, names in small letters.
        body: Its body.
        error: Why there is no whole answer; empty when there is one.
        unsent: It surely did not reach the replica: no connection was made.
    """

    at_ns: int
    done_ns: int
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    error: str = ""
    unsent: bool = False

    def header(self, name: str) -> str:
        """The values of a header, in one line; ``name`` in small letters."""
        return ", ".join(value for given, value in self.headers if given == name)


class Form:
    """A request of a scenario, compiled: what it is with given values, and what a good answer is like."""

    def __init__(self, request: Request) -> None:
        self.request = request
        given = {name.lower() for name in request.headers}
        defaults = _PLAIN | (_JSON if request.json_body is not None else {})
        kept = {name: value for name, value in defaults.items() if name.lower() not in given}
        self._path = compile_template(request.path)
        self._headers = [(name, compile_template(value)) for name, value in (kept | request.headers).items()]
        self._json = compile_json(request.json_body) if request.json_body is not None else None
        self._body = compile_template(request.body) if request.body is not None else None
        form = any(name.lower() == "content-type" and _FORM in value for name, value in request.headers.items())
        self._in_body: Callable[[str], str] = _percent if form else str
        self._is = compile_template(request.expect.body) if request.expect.body is not None else None
        self._contains = compile_template(request.expect.body_contains or "")
        templates: list[Template | None] = [self._path, self._json, self._body, self._is, self._contains]
        templates += [value for _, value in self._headers]
        self.names = tuple(dict.fromkeys(name for template in templates if template is not None for name in template.names))

    def values(self, dice: Dice, given: Mapping[str, str], *, seq: int) -> dict[str, str]:
        """A value for each of its placeholders: those that are ``given``, and the others by the dice."""
        drawn = draw(dice, [name for name in self.names if name not in given], user=0, seq=seq)
        return drawn | {name: given[name] for name in self.names if name in given}

    def ready(self, values: Mapping[str, str]) -> Ready:
        """The request with these values, each one written as the place where it stands asks for."""
        percent = {name: _percent(value) for name, value in values.items()}
        body: bytes | None = None
        if self._json is not None:
            body = self._json.render(values).encode()
        elif self._body is not None:
            body = self._body.render({name: self._in_body(value) for name, value in values.items()}).encode()
        elif self.request.method in _WITH_BODY:
            body = b""
        return Ready(
            method=self.request.method,
            path=self._path.render(percent),
            headers=tuple((name, value.render(values)) for name, value in self._headers),
            body=body,
        )

    def problem(self, asked: Asked, values: Mapping[str, str]) -> str:
        """Why the answer is not as the scenario expects it; empty when it is."""
        if asked.error:
            return asked.error
        if not self.request.expect.accepts(asked.status):
            return f"answered with {asked.status}"
        if self._is is not None and asked.body != self._is.render(values).encode():
            return "its body is another one than expected"
        if self._contains.render(values).encode() not in asked.body:
            return "its body lacks what it must contain"
        return ""


def _percent(value: str) -> str:
    return quote(value, safe="")


class Asker:
    """Asks replicas, one at a time, for one thread."""

    def __init__(self, clock: Clock, *, timeout_s: float, tls: Tls | None = None) -> None:
        """``timeout_s``: what one request may take, from connecting to the last byte of its answer."""
        self._clock = clock
        self._timeout_s = timeout_s
        self._tls = tls
        self._kept: dict[Place, _Connection] = {}

    def ask(self, place: Place, ready: Ready) -> Asked:
        """Ask once; what goes wrong is in the answer."""
        at_ns = self._clock.now_ns()
        reads = ready.method in _READS
        kept = self._kept.pop(place, None) if reads else None
        if kept is not None:
            kept.deadline_ns = self._deadline_ns()
            asked = self._exchange(kept, place, ready, at_ns)
            if not kept.stale:
                return asked
        made = _Connection(place, self._clock, self._deadline_ns(), self._tls)
        return self._exchange(made, place, ready, at_ns)

    def close(self) -> None:
        """Close all connections."""
        for connection in self._kept.values():
            connection.close()
        self._kept.clear()

    def _deadline_ns(self) -> int:
        return self._clock.now_ns() + round(self._timeout_s * NS_PER_S)

    def _exchange(self, connection: _Connection, place: Place, ready: Ready, at_ns: int) -> Asked:
        reused, keep = connection.sock is not None, False
        connection.stale = False
        status, error, unsent = 0, "", False
        headers: tuple[tuple[str, str], ...] = ()
        body = b""
        try:
            if not reused:
                unsent = True
                connection.connect()
                unsent = False
            connection.send_whole(ready)
            with connection.getresponse() as answer:
                status, headers = answer.status, tuple((name.lower(), value) for name, value in answer.getheaders())
                body = answer.read(MOST_BYTES + 1)
                if len(body) > MOST_BYTES:
                    error = f"its body is longer than {MOST_BYTES >> 20} MiB"
                elif answer.length:
                    error = "its body was cut off"
                keep = ready.method in _READS and not answer.will_close and not error
        except TimeoutError:
            error = f"no whole answer within {self._timeout_s:g} s"
        except (OSError, http.client.HTTPException, ValueError) as raised:  # ValueError: what can't stand in a header
            connection.stale = reused and not status and isinstance(raised, ConnectionResetError | BrokenPipeError)
            error = _told(raised)
        if keep:
            self._kept[place] = connection
        else:
            connection.close()
        done_ns = self._clock.now_ns()
        if error:
            return Asked(at_ns=at_ns, done_ns=done_ns, status=status, headers=headers, error=error, unsent=unsent)
        return Asked(at_ns=at_ns, done_ns=done_ns, status=status, headers=headers, body=body)


def _told(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return in_words(error)
    if isinstance(error, http.client.IncompleteRead):
        return "its body was cut off"
    if isinstance(error, ValueError):
        return f"it can't be sent: {error}"[:_MOST_WORDS]
    return type(error).__name__


class _Connection(http.client.HTTPConnection):
    """A connection on which every wait ends at ``deadline_ns``; ``stale``: its peer had closed it before it was used again."""

    def __init__(self, place: Place, clock: Clock, deadline_ns: int, tls: Tls | None) -> None:
        super().__init__(place.host, place.port)
        self.deadline_ns = deadline_ns
        self.stale = False
        self._clock = clock
        self._tls = tls

    def left_s(self) -> float:
        """How much time is left; raises `TimeoutError` when none is."""
        left_s = (self.deadline_ns - self._clock.now_ns()) / NS_PER_S
        if left_s <= 0:
            raise TimeoutError
        return left_s

    def connect(self) -> None:
        """Connect, shake hands where TLS is spoken, and bound what comes after that."""
        self.timeout = self.left_s()
        super().connect()
        sock: socket.socket = self.sock
        if sock.getsockname() == sock.getpeername():  # nobody listens there, and TCP has connected it to itself
            raise ConnectionRefusedError
        if self._tls is not None:
            sock = self._tls.context.wrap_socket(sock, server_hostname=self._tls.name_at(self.host))
        self.sock = _Bounded(sock, self.left_s)

    def send_whole(self, ready: Ready) -> None:
        """Send the request with its headers as they are written."""
        given = {name.lower() for name, _ in ready.headers}
        self.putrequest(ready.method, ready.path, skip_host="host" in given, skip_accept_encoding=True)
        for name, value in ready.headers:
            self.putheader(name, value)
        if ready.body is not None:
            self.putheader("Content-Length", str(len(ready.body)))
        self.endheaders(ready.body or None)


class _Bounded:
    """A socket as `http.client` needs it, each of whose waits lasts no longer than what is left."""

    def __init__(self, sock: socket.socket, left_s: Callable[[], float]) -> None:
        self._sock = sock
        self._left_s = left_s

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self._sock.settimeout(self._left_s())
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002  it is only ever read from
        """What comes on it."""
        return io.BufferedReader(_Coming(self._sock, self._left_s))

    def close(self) -> None:
        """Close it; an answer that is still read keeps it open."""
        with suppress(OSError):
            self._sock.close()


class _Coming(io.RawIOBase):
    """The bytes that come on a socket."""

    def __init__(self, sock: socket.socket, left_s: Callable[[], float]) -> None:
        self._sock = sock
        self._left_s = left_s
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: object) -> int | None:
        """As much as is there."""
        self._sock.settimeout(self._left_s())
        return self._raw.readinto(buffer)  # type: ignore[arg-type]  # io's own buffer

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()
