"""One HTTP/1.1 request on one connection, observed and never repeated.

`Client.exchange` makes one attempt at one replica and reports what the operating system told about it: how far it got, how it ended,
and when each stage was reached. It decides nothing about a second attempt. A connection that was used before is looked at before a
byte leaves, so that one that the peer has closed meanwhile is told apart from one that broke under a request. To an app that speaks TLS
a connection is made when the handshake is over: who ends in the middle of it has refused, and surely executed nothing.

It runs in a greenlet and waits on the event loop's watchers directly; one wait costs less than a microsecond, which is why one process
can put enough load on a target and still write down every request. A client belongs to one greenlet and makes one attempt at a time.
"""

from __future__ import annotations

import _socket
import errno
import socket
import struct
import time
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub, getcurrent
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from harness.clock import NS_PER_S
from harness.errors import TargetError
from harness.load.table import HELD_AT_ONCE, HOLD_S
from harness.load.tls import TlsError, TlsSocket, TlsWatcher
from harness.outcome import OWN_TROUBLE, Ending, Reached

if TYPE_CHECKING:
    from collections.abc import Collection

    from harness.load.table import Route
    from harness.tls import Tls

_now_ns = time.monotonic_ns

_READ: Final = 1
_WRITE: Final = 2
_CHUNK: Final = 65536
_LOOK_S: Final = 0.05
"""How often a connection that is neither made nor refused is asked whether anybody is there."""

_RELEASE_LOOK_S: Final = 0.0005
"""How often a held request looks whether it may go on."""

_LAST_LOOKS: Final = 64  # with a chunk each: about what the kernel keeps for one connection
_HEAD_LIMIT: Final = 1 << 20
MOST_KEPT: Final = 16 << 20
"""Bytes of a body that are kept at most."""

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

_REFUSED: Final = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})
_PENDING: Final = frozenset({errno.EINPROGRESS, errno.EALREADY, errno.EINTR})


class Woken(Enum):
    """Why a waiting greenlet was switched to."""

    READY = 1
    EXPIRED = 2
    CANCELLED = 3
    VANISHED = 4


# Python 3.11 finds a member of an enumeration four times as slowly as a name, and these are asked for with each request.
_NOTHING, _CONNECTED, _SENT, _HEADERS, _BODY, _WHOLE = Reached
_ANSWERED, _LOAD_ENDED = Ending.ANSWERED, Ending.LOAD_ENDED
_READY, _EXPIRED = Woken.READY, Woken.EXPIRED


class EarlyEndError(Exception):
    """An attempt ends for a reason that is no `OSError`; ``label`` is what the ledger shows."""

    def __init__(self, ending: Ending, label: str) -> None:
        super().__init__(label)
        self.ending = ending
        self.label = label


class Expect:
    """What a good answer is like: its status (empty: 200 to 399), its body or a piece of it, and no body at all after HEAD.

    With ``keep`` the body is kept (`Exchange.body`), up to `MOST_KEPT` bytes. Of an answer whose status is in ``bare`` no body is expected.
    """

    __slots__ = ("bare", "body", "contains", "head", "keep", "statuses")

    def __init__(
        self,
        *,
        statuses: Collection[int] = (),
        contains: bytes = b"",
        body: bytes | None = None,
        head: bool = False,
        keep: bool = False,
    ) -> None:
        self.statuses = frozenset(statuses or range(200, 400))
        self.keep = keep
        self.bare: frozenset[int] = frozenset()
        self.contains = contains
        self.body = body
        self.head = head


class Exchange:
    """What is known about one attempt so far; instants are nanoseconds, 0 for never.

    Attributes:
        reached: How far it got.
        ending: How it ended.
        reused: The connection had carried a request before.
        status: The answer's status as soon as its headers are whole.
        as_expected: The answer is whole and as `Expect` says.
        connected_ns: The connection was there; for a reused one, the attempt began.
        sent_ns: The kernel had taken the first bytes of the request.
        first_ns: The first bytes of the answer came.
        done_ns: The attempt was over.
        tx: Bytes that the kernel took.
        rx: Bytes that came.
        port: The client's own port.
        eof: Nothing but the end of the connection told the end of the answer.
        body: The answer's body, where it was to be kept and was not too long.
        error: An errno name, an exception type, or a label such as ``FIN``. A good answer has one when more came than was asked for:
            ``SURPLUS``.
    """

    __slots__ = (
        "as_expected",
        "body",
        "connected_ns",
        "done_ns",
        "ending",
        "eof",
        "error",
        "first_ns",
        "port",
        "reached",
        "reused",
        "rx",
        "sent_ns",
        "status",
        "tx",
    )

    def __init__(self) -> None:
        self.reached = _NOTHING
        self.ending = _LOAD_ENDED
        self.reused = False
        self.status = 0
        self.as_expected = False
        self.connected_ns = 0
        self.sent_ns = 0
        self.first_ns = 0
        self.done_ns = 0
        self.tx = 0
        self.rx = 0
        self.port = 0
        self.eof = False
        self.body: bytes | None = None
        self.error = ""


class _Framing:
    """Finds out whether an answer's headers say where its body ends."""

    def __init__(self, head: bytes) -> None:
        self.told = False
        try:
            HttpResponseParser(self).feed_data(head)
        except HttpParserError:
            self.told = True

    def on_message_begin(self) -> None:
        """Forget the interim answer before this one."""
        self.told = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A length, or chunks."""
        name = name.lower()
        self.told |= name == b"content-length" or (name == b"transfer-encoding" and b"chunked" in value.lower())


class Connection:
    """A connected socket with its parser, which calls the ``on_…`` methods."""

    __slots__ = (
        "_body",
        "_contains",
        "_head_only",
        "_parser",
        "_same",
        "_tail",
        "found",
        "head",
        "headers_whole",
        "io",
        "keep",
        "kept",
        "port",
        "sock",
        "status",
        "surplus",
        "tls",
        "whole",
    )

    def __init__(self, sock: _socket.socket | TlsSocket, port: int) -> None:
        self.sock = sock
        self.tls = sock if isinstance(sock, TlsSocket) else None
        self.port = port
        loop = get_hub().loop
        self.io: Any = loop.io(sock.fileno(), _READ) if self.tls is None else TlsWatcher(loop, self.tls)
        self._parser: Any = None
        self.kept: bytearray | None = None
        self.surplus = False

    def begin(self, expect: Expect) -> None:
        """Get ready for the next answer."""
        if self._parser is None:
            self._parser = HttpResponseParser(self)
        self._head_only = expect.head
        self._contains = expect.contains
        self._tail = b""
        self._body = expect.body
        self.kept = bytearray() if expect.keep else None
        self._same = 0
        self.found = not expect.contains and not expect.body
        self.head = b""
        self.headers_whole = False
        self.whole = False
        self.keep = False
        self.status = 0

    def on_message_begin(self) -> None:
        """A second answer to one request makes the connection useless."""
        if self.whole:
            self._too_much()

    def on_headers_complete(self) -> None:
        """The status line and the headers are here; an interim answer (1xx) does not count."""
        parser = self._parser
        if self.whole:
            return
        self.status = status = parser.get_status_code()
        if status >= 200 or status == 101:
            self.headers_whole = True
            self.keep = parser.should_keep_alive()
            if self._head_only:
                self.whole = True

    def on_body(self, data: bytes) -> None:
        """Look for what the body must be, or contain, also where it is cut between two pieces."""
        if self.kept is not None and not self.whole:
            self.kept += data
            if len(self.kept) > MOST_KEPT:
                self.kept = None
        if self._body is not None:
            if self._same >= 0 and not self.whole:
                end = self._same + len(data)
                self._same = end if self._body[self._same : end] == data else -1
                self.found = self._same == len(self._body)
        elif not self.found and not self.whole:
            window = self._tail + data
            self.found = self._contains in window
            self._tail = window[1 - len(self._contains) :] if len(self._contains) > 1 else b""

    def on_message_complete(self) -> None:
        """The answer is whole, unless it was an interim one."""
        if self.headers_whole:
            self.whole = True

    def feed(self, data: bytes) -> None:
        """Parse what came; raises `HttpParserError` when it is not HTTP."""
        if not self.headers_whole:
            self.head += data
            if len(self.head) > _HEAD_LIMIT:
                raise HttpParserError("the headers are too long")
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.keep = False
        except HttpParserError:
            if not self.whole:
                raise
            self._too_much()
        if self._head_only:
            if self.whole and not self.head.endswith(b"\n\r\n"):
                self._too_much()
            self._parser = None  # it waits for the body that the headers announce and HEAD does not get

    def _too_much(self) -> None:
        """Bytes came after the whole answer; what they belong to can't be known, so nothing more is asked on this connection."""
        self.surplus = True
        self.keep = False

    def close(self, *, reset: bool = False) -> None:
        """Close the socket; ``reset`` tells the peer at once that nobody waits for an answer."""
        self.io.close()
        self._parser = None  # the parser holds our methods
        if reset:
            try:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            except OSError as error:
                if error.errno != errno.EINVAL:  # macOS says so about a socket that the peer has reset
                    raise
        self.sock.close()


class Security:
    """How a load's clients speak TLS; ``proven`` once a handshake was done, since until then a failure is the scenario's or the app's."""

    def __init__(self, tls: Tls) -> None:
        self.tls = tls
        self.proven = False


class Client:
    """One user's connections, of which it keeps at most one to each replica."""

    def __init__(self, *, timeout_s: float, keep_alive: bool, security: Security | None = None) -> None:
        """``security`` is shared by the clients of a load whose target speaks TLS."""
        hub = get_hub()
        self._keep_alive = keep_alive
        self._security = security
        self._connections: dict[Route, Connection] = {}
        self._hub_switch = hub.switch
        self._loop = hub.loop
        self._timer = hub.loop.timer(timeout_s, timeout_s)
        self._switch = getcurrent().switch
        self._waiting = False
        self._ended: Woken | None = None

    def exchange(self, route: Route, request: bytes, expect: Expect, seen: Exchange) -> None:
        """Send ``request`` to ``route``, on which it was reserved, and write into ``seen`` what happened.

        The reservation turns into one *in flight* when the whole request has left, and that into one *answering* when the first byte of
        the answer comes; nothing is left of them when this returns.

        Raises:
            TargetError: No handshake of this load was ever done, and this one can't be; never an `OSError`.
        """
        words, under_way = route.words, route.way
        connection: Connection | None = None
        self._ended = None
        self._timer.again(self._wake, _EXPIRED)
        try:
            holding = words[route.hold] and words[route.held] < HELD_AT_ONCE
            connection = (None if holding else self._usable(route, seen)) or self._connect(route)
            if not seen.reused:
                note_connection(connection, seen)
            if holding:
                self._hold(route, connection)
                self.drop(route)  # the new one takes the place of one that was kept
            connection.begin(expect)
            broken = self._send(connection, request, seen)
            words[route.sent] += 1  # before the next line, as the table's head says
            words[route.flight] += 1
            words[route.way] -= 1
            under_way = route.flight
            self._receive(route, connection, seen, broken)
            seen.done_ns = _now_ns()
            seen.ending = _ANSWERED
        except OSError as error:
            note_break(error, seen)
        except EarlyEndError as early:
            seen.ending = early.ending
            seen.error = early.label
        except HttpParserError as error:
            seen.ending = Ending.GARBLED
            seen.error = type(error).__name__
        finally:
            if not seen.done_ns:
                seen.done_ns = _now_ns()
            words[route.answering if seen.first_ns else under_way] -= 1
            self._timer.stop()
            if connection is not None:
                self._settle(route, connection, expect, seen)

    def cancel(self) -> None:
        """End the attempt under way, if there is one, as the end of the load; for the event loop's own greenlet or another one."""
        self._loop.run_callback(self._wake, Woken.CANCELLED)

    def drop(self, route: Route) -> None:
        """Close the connection that is kept to a replica."""
        connection = self._connections.pop(route, None)
        if connection is not None:
            connection.close()

    def part(self, route: Route) -> None:
        """Close the idle connection to a replica that gets no new requests, if its peer has ended it.

        A client that never looks at an idle connection can hold up a server that waits for its farewell, as TLS servers do (RFC 8446,
        section 6.1). Browsers and load balancers look. To a published replica the next request finds out by itself.
        """
        connection = self._connections.get(route)
        if connection is None:
            return
        try:
            connection.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            pass  # it has ended, which is all that matters
        self.drop(route)

    def close(self) -> None:
        """Close all connections and the timer."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._timer.close()

    def _usable(self, route: Route, seen: Exchange) -> Connection | None:
        """The connection that an earlier request left behind; raises when its peer has closed it meanwhile."""
        connection = self._connections.pop(route, None)
        if connection is None:
            return None
        seen.reused = True
        note_connection(connection, seen)
        try:
            found = connection.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return connection
        except OSError:
            connection.close()
            raise
        connection.close()
        # Bytes that nobody asked for are a farewell, such as 408 before the end of an idle connection.
        raise EarlyEndError(Ending.CLOSED, "FIN" if not found else "UNASKED")

    def _connect(self, route: Route) -> Connection:
        """A new connection; raises `OSError`, at once where nobody would refuse it."""
        if route.vanished:
            raise OSError(errno.EHOSTUNREACH, "connect")
        address = route.address
        sock: _socket.socket = _socket.socket(_socket.AF_INET6 if ":" in address[0] else _socket.AF_INET, _socket.SOCK_STREAM)
        try:
            sock.settimeout(0)
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            problem = sock.connect_ex(address)
            if problem in _PENDING:  # over loopback the second call finds the connection made
                problem = sock.connect_ex(address)
            if problem in _PENDING:
                self._await_connection(sock, route)
                problem = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            if problem in (0, errno.EISCONN):
                port = sock.getsockname()[1]
                if port != address[1] or sock.getsockname() != sock.getpeername():
                    return Connection(sock if self._security is None else self._secure(sock, route, self._security), port)
                # A port that nobody listens on, which the kernel chose as our own by chance: TCP has connected it to itself.
                problem = errno.ECONNREFUSED
        except BaseException:
            sock.close()
            raise
        sock.close()
        raise OSError(problem, "connect")

    def _secure(self, sock: _socket.socket, route: Route, security: Security) -> TlsSocket:
        """The connection after its handshake."""
        secure = TlsSocket(sock, security.tls, route.address[0])
        try:
            while events := secure.shake_hands():
                self._wait_once(sock, events)
        except TlsError as error:
            if error.words and not security.proven:
                raise TargetError(f"{route.name}: {error.words}") from error
            raise
        security.proven = True
        return secure

    def _hold(self, route: Route, connection: Connection) -> None:
        """Wait with the new connection until the hold is over; raises when its peer has closed it meanwhile, or the load ends.

        The attempt's time-out counts from the end of the hold, which is none of the app's doing.
        """
        words = route.words
        if words[route.held] >= HELD_AT_ONCE:  # others came while this one connected
            return
        words[route.held] += 1
        words[route.way] -= 1
        self._timer.stop()
        look = self._loop.timer(_RELEASE_LOOK_S, _RELEASE_LOOK_S)
        last_ns = _now_ns() + round(HOLD_S * NS_PER_S)
        try:
            while route.held_back and not route.vanished and not route.gone and _now_ns() < last_ns:
                self._wait(look)
        finally:
            look.close()
            words[route.way] += 1
            words[route.held] -= 1
            self._timer.again(self._wake, _EXPIRED)
        try:
            found = connection.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        if not found:
            raise EarlyEndError(Ending.CLOSED, "FIN")

    def _send(self, connection: Connection, request: bytes, seen: Exchange) -> OSError | None:
        """Hand the request to the kernel; what broke when a part of it had left, since an answer may have come before."""
        try:
            seen.tx = connection.sock.send(request)
            seen.sent_ns = _now_ns()
            seen.reached = _SENT
        except BlockingIOError:
            pass
        rest = memoryview(request)[seen.tx :] if seen.tx < len(request) else None
        while rest:
            try:
                sent = connection.sock.send(rest)
            except BlockingIOError:
                self._wait_once(connection.sock, _WRITE)
                continue
            except OSError as error:
                if not seen.tx:
                    raise
                return error
            if not seen.tx:
                seen.sent_ns = _now_ns()
                seen.reached = _SENT
            seen.tx += sent
            rest = rest[sent:]
        return None

    def _receive(self, route: Route, connection: Connection, seen: Exchange, broken: OSError | None) -> None:
        sock, io, tls = connection.sock, connection.io, connection.tls
        problem: Exception | None = broken
        looks = _LAST_LOOKS
        while not connection.whole:
            if problem is None:
                try:
                    self._wait(io)
                except EarlyEndError as early:
                    if early.ending is not Ending.TIMEOUT:
                        raise
                    problem = early  # unless the answer is there by now: this process may have stood still while it came
            try:
                data = sock.recv(_CHUNK)
            except BlockingIOError:
                if problem is not None:
                    raise problem from None
                continue
            if not data:
                self._end_of_stream(connection, broken)
                connection.keep = False
                seen.eof = tls is None or not tls.notified
                break
            if not seen.rx:
                seen.first_ns = _now_ns()
                seen.reached = _HEADERS
                route.words[route.answering] += 1  # before the next line, so that it is never in neither
                route.words[route.flight] -= 1  # what the app has begun to answer may be over by the time that anybody looks
            seen.rx += len(data)
            connection.feed(data)
            if connection.headers_whole:
                seen.reached = _BODY
                seen.status = connection.status
            if problem is not None and not connection.whole:
                looks -= 1
                if not looks:
                    raise problem
        seen.reached = _WHOLE

    def _end_of_stream(self, connection: Connection, broken: OSError | None) -> None:
        """The peer has closed; raises unless that is the end of the answer, which with TLS takes an alert (RFC 9112, section 9.8)."""
        complete = connection.tls is None or connection.tls.notified
        if connection.headers_whole and broken is None and complete and not _Framing(connection.head).told:
            return
        raise broken or EarlyEndError(Ending.CLOSED, "FIN")

    def _settle(self, route: Route, connection: Connection, expect: Expect, seen: Exchange) -> None:
        """Judge the answer, and keep or close the connection."""
        if seen.ending is not _ANSWERED:
            connection.close(reset=seen.ending is not Ending.CLOSED)
            return
        found = connection.found or seen.status in expect.bare
        seen.as_expected = seen.status in expect.statuses and found
        if seen.status in expect.statuses and not found:
            seen.error = "BODY"
        if connection.kept is not None:
            seen.body = bytes(connection.kept)
        if connection.keep and self._keep_alive and not route.gone:
            self._connections[route] = connection
        else:
            if connection.surplus and not seen.error:
                seen.error = "SURPLUS"
            connection.close()

    def _await_connection(self, sock: _socket.socket, route: Route) -> None:
        """Wait until a connection is made or refused; one to an address at which nobody is any more never would be."""
        look = self._loop.timer(_LOOK_S, _LOOK_S)
        look.start(lambda: self._wake(Woken.VANISHED) if route.vanished else None)
        try:
            self._wait_once(sock, _WRITE)
        finally:
            look.close()

    def _wait_once(self, sock: _socket.socket | TlsSocket, events: int) -> None:
        io = self._loop.io(sock.fileno(), events)
        try:
            self._wait(io)
        finally:
            io.close()

    def _wait(self, io: Any) -> None:
        """Wait for a watcher; raises when the time-out passes or the load ends first."""
        if self._ended is None:
            io.start(self._switch, _READY)
            self._waiting = True
            try:
                woken = self._hub_switch()
            finally:
                self._waiting = False
                io.stop()
            if woken is _READY:
                return
            self._ended = woken
        if self._ended is Woken.VANISHED:
            raise OSError(errno.EHOSTUNREACH, "connect")
        if self._ended is Woken.EXPIRED:
            raise EarlyEndError(Ending.TIMEOUT, "TIMEOUT")
        raise EarlyEndError(Ending.LOAD_ENDED, "LOAD_ENDED")

    def _wake(self, why: Woken) -> None:
        """Runs in the event loop: let the greenlet go on with ``why``, or find it at its next wait."""
        if self._waiting:
            self._switch(why)
        else:
            self._ended = why


def note_connection(connection: Connection, seen: Exchange) -> None:
    """Write into ``seen`` that the connection is there."""
    seen.reached = _CONNECTED
    seen.connected_ns = _now_ns()
    seen.port = connection.port


def note_break(error: OSError, seen: Exchange) -> None:
    """Write into ``seen`` that ``error`` ended the attempt."""
    seen.ending = _ending_of(error)
    seen.error = error.label if isinstance(error, TlsError) else errno.errorcode.get(error.errno or 0, type(error).__name__)


def _ending_of(error: OSError) -> Ending:
    if error.errno in _REFUSED:
        return Ending.REFUSED
    if errno.errorcode.get(error.errno or 0) in OWN_TROUBLE:
        return Ending.OWN_TROUBLE
    return Ending.TIMEOUT if error.errno == errno.ETIMEDOUT else Ending.CLOSED
