"""Streams: subscriptions to server-sent events or a WebSocket that outlive the connections which they use.

One op of a stream is one subscription, from its first connection until the scenario's ``for`` is over or the load ends. When a connection
ends before that, for whatever reason, the client does as a browser's EventSource does (WHATWG HTML, 9.2): it waits for the reconnection
time, which the server may set with ``retry:``, connects again, here to the replica whose turn it is, and says with ``Last-Event-ID``
which event it had last. A WebSocket (RFC 6455) has no such header, so its client puts that id where the path says ``{last_id}``. A replica
that refuses a connection is left out until the others have been asked, without a wait, as a router would do it.

An event's id is its number: one more than that of the event before it. So the client itself can tell for each event whether one is missing
or has come twice, over all connections of a subscription. It goes on for a moment after ``for`` is over when it has connected again and no
event has come since, because only an event proves that the stream went on.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

import gevent
from httptools import HttpParserError, HttpResponseParser
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from harness.clock import NS_PER_S
from harness.history import Invoke, Streamed
from harness.load.client import Client, EarlyEndError, Exchange, Woken, note_break, note_connection
from harness.outcome import Ending, Outcome, Reached, Wire, classify
from harness.template import compile_template, draw

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.load.client import Connection
    from harness.load.spec import RequestSpec, StreamSpec
    from harness.load.table import Route
    from harness.load.user import Crowd, User

_now_ns = time.monotonic_ns

WEBSOCKET: Final = "websocket"

LAST_ID: Final = "last_id"
"""The placeholder of the id that the client had last."""

COMPLETE: Final = "complete"
ENDED: Final = "ended"
EOF: Final = "eof"
CUT: Final = "cut"
STOPPED: Final = "stopped"

_AGAIN: Final = frozenset({Outcome.ENDED, Outcome.CUT, Outcome.REFUSED})
"""Ends of an attempt after which the client connects again."""

RETRY_S: Final = 0.05
"""The reconnection time unless the server says another one. Browsers wait seconds; a test that waits for them learns nothing more."""

_RETRY_LEAST_S: Final = 0.01
_RETRY_MOST_S: Final = 60.0
_PROOF_NS: Final = 1_000_000_000
"""How long a client that connected again waits for an event when its time is over."""

_CLOSING_S: Final = 0.5
"""How long the client of a WebSocket waits for the other close frame after its own."""

_CHUNK: Final = 65536
_LONGEST_LINE: Final = 1 << 20
_MOST_GAPS: Final = 1000
_LOOK_S: Final = 0.2
"""How often a client that nothing comes to looks whether its time is over."""

_NAP_S: Final = 0.05
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_LEADING_NUMBER: Final = re.compile(r"\s*(\d{1,18})(?!\d)", re.ASCII)
_NO_CODE: Final = 1005  # RFC 6455, 7.1.5


# --- what came ----------------------------------------------------------------------------------------------------------------


class Numbers:
    """Which numbers of a stream a subscription has had. ``first`` and ``last`` are the least and the greatest of them; -1 for none."""

    def __init__(self) -> None:
        self.first = self.last = -1
        self._gaps: list[tuple[int, int]] = []

    def take(self, number: int) -> int:
        """How many numbers ``number`` leaves out; -1 when it has come before, -2 when it comes late, after a later one."""
        if self.last < 0:
            self.first = self.last = number
            return 0
        if number > self.last:
            left_out = number - self.last - 1
            if left_out and len(self._gaps) < _MOST_GAPS:
                self._gaps.append((self.last + 1, number - 1))
            self.last = number
            return left_out
        return -2 if self._fill(number) else -1

    def _fill(self, number: int) -> bool:
        for index, (low, high) in enumerate(self._gaps):
            if low <= number <= high:
                rest = [(low, number - 1), (number + 1, high)]
                self._gaps[index : index + 1] = [(begin, end) for begin, end in rest if begin <= end]
                return True
        return False


class Taken:
    """What one connection brought; the fields are those of `harness.history.Streamed`."""

    def __init__(self, *, resumed: bool) -> None:
        self.resumed = resumed
        self.opened_ns = self.first_event_ns = self.last_event_ns = 0
        self.away_ns = self.waited_ns = 0
        self.events = self.unnumbered = self.missing = self.skipped = self.holes = self.late = self.twice = 0
        self.first_id = self.last_id = -1

    def event(self, number: int | None, numbers: Numbers) -> None:
        """An event came; ``number`` is None when it carries none."""
        self.last_event_ns = _now_ns()
        self.first_event_ns = self.first_event_ns or self.last_event_ns
        self.events += 1
        if number is None:
            self.unnumbered += 1
            return
        left_out = numbers.take(number)
        if left_out == -1:
            self.twice += 1
        elif left_out == -2:
            self.late += 1
        elif self.first_id < 0:
            self.missing += left_out
        else:
            self.skipped += left_out
            self.holes += left_out > 0
        self.first_id = number if self.first_id < 0 else self.first_id
        self.last_id = number

    def line(self, op: int, n: int, end: str, code: int, at_ns: int) -> Streamed:
        """The whole as it stands in the ledger."""
        return Streamed(op=op, n=n, at_ns=at_ns, end=end, code=code, **vars(self))


def number_of(text: str) -> int | None:
    """The number in an event's id; None when it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def number_in(message: str) -> str:
    """The id in a message of a WebSocket: ``id`` of a JSON object, else the digits that it begins with; empty for none."""
    if message.lstrip()[:1] == "{":
        try:
            found = json.loads(message).get("id")
        except ValueError:
            return ""
        return str(found) if isinstance(found, int | str) and not isinstance(found, bool) else ""
    match = _LEADING_NUMBER.match(message)
    return match[1] if match else ""


class EventParser:
    """Server-sent events out of bytes (WHATWG HTML, 9.2.6). Calls ``event`` with each event's own id (None: it has none)."""

    def __init__(self, event: Callable[[str | None], None], *, last_event_id: str = "", retry_s: float = RETRY_S) -> None:
        self.last_event_id = last_event_id
        self.retry_s = retry_s
        self._event = event
        self._rest = b""
        self._after_cr = False
        self._first = True
        self._data = False
        self._id: str | None = None

    def feed(self, data: bytes) -> None:
        """Parse what came; raises `HttpParserError` for a line without end."""
        if self._after_cr and data.startswith(b"\n"):
            data, self._after_cr = data[1:], False
        if not data:
            return
        self._after_cr = data.endswith(b"\r")
        *lines, self._rest = _LINE_END.split(self._rest + data)
        if len(self._rest) > _LONGEST_LINE:
            raise HttpParserError("a line of the stream is too long")
        for line in lines:
            self._line(line.removeprefix(b"\xef\xbb\xbf") if self._first else line)
            self._first = False

    def _line(self, line: bytes) -> None:
        if not line:
            self._dispatch()
            return
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode(errors="replace")
        if name == b"data":
            self._data = True
        elif name == b"id" and "\0" not in text:
            self._id = text
        elif name == b"retry" and text.isascii() and text.isdigit():
            self.retry_s = min(_RETRY_MOST_S, max(_RETRY_LEAST_S, int(text[:9]) / 1000))

    def _dispatch(self) -> None:
        if self._id is not None:
            self.last_event_id = self._id
        if self._data:
            self._event(self._id)
        self._data, self._id = False, None


# --- on the wire --------------------------------------------------------------------------------------------------------------


class Talk(Protocol):
    """One connection's protocol.

    Attributes:
        opened: The stream is open.
        ended: The server has ended it in order, or answered without opening it.
        framed: Its end would be told by more than the end of the connection.
        status: The answer's status, as soon as its headers are whole.
    """

    opened: bool
    ended: bool
    framed: bool
    status: int

    def feed(self, data: bytes) -> bytes:
        """Parse what came; returns what must be said in return. Raises `HttpParserError` when it is not the protocol."""
        ...

    def goodbye(self) -> bytes:
        """What the client says before it leaves; empty for nothing."""
        ...


class EventTalk:
    """Server-sent events over HTTP/1.1."""

    def __init__(self, parser: EventParser, on_open: Callable[[], None]) -> None:
        self.opened = self.ended = self.framed = False
        self.status = 0
        self._events = parser
        self._on_open = on_open
        self._http: Any = HttpResponseParser(self)
        self._is_stream = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Whether it is a stream of events, and whether something tells where it ends."""
        name, value = name.lower(), value.lower()
        self._is_stream |= name == b"content-type" and value.split(b";")[0].strip() == b"text/event-stream"
        self.framed |= name == b"content-length" or (name == b"transfer-encoding" and b"chunked" in value)

    def on_headers_complete(self) -> None:
        """An answer that is no stream is over for us; an interim one (1xx) does not count."""
        status = self._http.get_status_code()
        if status < 200:
            return
        self.status = status
        self.opened = status == 200 and self._is_stream
        self.ended = not self.opened
        if self.opened:
            self._on_open()

    def on_body(self, data: bytes) -> None:
        """Events, or a part of one."""
        if self.opened:
            self._events.feed(data)

    def on_message_complete(self) -> None:
        """The last chunk, or the last byte of the announced length."""
        self.ended |= self.opened

    def feed(self, data: bytes) -> bytes:
        """As `Talk.feed`."""
        if not self.ended:
            self._http.feed_data(data)
        return b""

    def goodbye(self) -> bytes:
        """A reader of events just leaves."""
        return b""


class MessageTalk:
    """A WebSocket; ``event`` hears each message's id, empty for none. ``code`` is the server's close code."""

    def __init__(self, socket: WSConnection, on_open: Callable[[], None], event: Callable[[str], None]) -> None:
        self.opened = self.ended = False
        self.framed = True
        self.status = self.code = 0
        self._socket = socket
        self._on_open = on_open
        self._event = event
        self._text: list[str] = []

    def feed(self, data: bytes) -> bytes:
        """As `Talk.feed`."""
        if self.ended:
            return b""
        said = b""
        try:
            self._socket.receive_data(data)
            for event in self._socket.events():
                match event:
                    case AcceptConnection():
                        self.opened, self.status = True, 101
                        self._on_open()
                    case RejectConnection():
                        self.ended, self.status = True, event.status_code
                    case Ping():
                        said += self._socket.send(event.response())
                    case CloseConnection():
                        said += self._reply(event)
                    case TextMessage() | BytesMessage():
                        self._message(event)
        except ProtocolError as error:
            raise HttpParserError(str(error)) from error
        return said

    def goodbye(self) -> bytes:
        """A close frame."""
        return self._socket.send(CloseConnection(code=1000)) if not self.ended else b""

    def _reply(self, event: CloseConnection) -> bytes:
        self.ended, self.code = True, int(event.code) if event.code else _NO_CODE
        return self._socket.send(event.response()) if self._socket.state.name == "REMOTE_CLOSING" else b""

    def _message(self, event: TextMessage | BytesMessage) -> None:
        self._text.append(event.data if isinstance(event.data, str) else bytes(event.data).decode(errors="replace"))
        if event.message_finished:
            text, self._text = "".join(self._text), []
            self._event(number_in(text))


# --- the client ---------------------------------------------------------------------------------------------------------------


class StreamClient(Client):
    """A client that can also follow a stream."""

    _following = False
    _answering = 0

    def follow(self, route: Route, request: bytes, talk: Talk, left_s: Callable[[], float], seen: Exchange) -> str:
        """One connection of a stream to ``route``, on which it was reserved; returns how it ended, as `harness.history.Streamed.end`.

        ``left_s`` tells again and again for how many seconds the client wants to go on. The attempt counts as *in flight* until it is
        over, since at each instant an open stream awaits an event, and from its opening on also as *answering*. Writes into ``seen`` as
        `Client.exchange` does.

        Raises:
            TargetError: No handshake of this load was ever done, and this one can't be; never an `OSError`.
        """
        words, under_way = route.words, route.way
        connection: Connection | None = None
        end = CUT
        self._ended, self._answering = None, 0
        self._timer.again(self._wake, Woken.EXPIRED)
        try:
            connection = self._connect(route)
            note_connection(connection, seen)
            broken = self._send(connection, request, seen)
            words[route.sent] += 1
            words[route.flight] += 1
            words[route.way] -= 1
            under_way = route.flight
            if broken:
                raise broken
            end = self._listen(route, connection, talk, left_s, seen)
        except OSError as error:
            note_break(error, seen)
        except EarlyEndError as early:
            seen.ending = early.ending
            seen.error = early.label
            end = STOPPED if early.ending is Ending.LOAD_ENDED else CUT
        except HttpParserError as error:
            seen.ending = Ending.GARBLED
            seen.error = type(error.__cause__ or error).__name__
        finally:
            self._following = False
            seen.done_ns = seen.done_ns or _now_ns()
            words[route.answering] -= self._answering
            words[under_way] -= 1
            self._timer.stop()
            if connection is not None:
                connection.close(reset=seen.ending not in (Ending.ANSWERED, Ending.ENDED, Ending.CLOSED))
        return end

    def nudge(self) -> None:
        """Let `follow` ask again how long it is to go on; for the event loop's own greenlet or another one."""
        self._loop.run_callback(self._look_up)

    def _look_up(self) -> None:
        if self._following:
            self._wake(Woken.EXPIRED)

    def _listen(self, route: Route, connection: Connection, talk: Talk, left_s: Callable[[], float], seen: Exchange) -> str:
        """Read until the stream is over."""
        look: Any = None
        try:
            while not talk.ended:
                if self._following and left_s() <= 0:
                    seen.done_ns = _now_ns()
                    self._leave(connection, talk)
                    seen.ending, seen.reached, seen.as_expected = Ending.ANSWERED, Reached.ANSWERED, True
                    return COMPLETE
                data = self._piece(route, connection)
                if data is None:
                    continue
                if not data:
                    unframed = talk.opened and not talk.framed
                    if unframed and connection.tls is not None and connection.tls.notified:
                        break
                    seen.ending, seen.error, seen.eof = Ending.CLOSED, "FIN", unframed
                    return EOF if unframed else CUT
                seen.first_ns = seen.first_ns or _now_ns()
                seen.rx += len(data)
                self._say(connection, talk.feed(data))
                seen.status = talk.status
                seen.reached = Reached.BODY if talk.status else Reached.HEADERS
                if talk.opened and not self._following:
                    self._following, self._answering = True, 1
                    route.words[route.answering] += 1
                    self._timer.stop()
                    look = self._loop.timer(min(_LOOK_S, max(0.0, left_s())), _LOOK_S)
                    look.start(self._look_up)
        finally:
            if look is not None:
                look.close()
        seen.done_ns = _now_ns()
        if talk.opened:
            seen.ending = Ending.ENDED  # in the middle of the body, as far as the client is concerned: it wanted more
        else:
            seen.ending, seen.reached = Ending.ANSWERED, Reached.ANSWERED
        return ENDED

    def _piece(self, route: Route, connection: Connection) -> bytes | None:
        """What came, empty at the end of the connection; None when it is time to look around."""
        try:
            self._wait(connection.io)
        except EarlyEndError as early:
            # Before the stream is open these are the end of the attempt, afterwards `left_s` decides.
            if not self._following:
                raise
            self._ended = None
            if early.ending is Ending.TIMEOUT and route.vanished:
                raise EarlyEndError(Ending.CLOSED, "VANISHED") from None
            return None
        try:
            return connection.sock.recv(_CHUNK)
        except BlockingIOError:
            return None

    def _say(self, connection: Connection, said: bytes) -> None:
        """Send what the protocol wants said in return, such as a pong."""
        if not said:
            return
        following, self._following = self._following, False
        broken = self._send(connection, said, Exchange())
        self._following = following
        if broken:
            raise broken

    def _leave(self, connection: Connection, talk: Talk) -> None:
        """Say goodbye and wait for the answer, but not for long. The stream is complete, so what goes wrong here says nothing."""
        said = talk.goodbye()
        if not said:
            return
        self._following, self._ended = False, None
        last = self._loop.timer(_CLOSING_S)
        last.start(self._wake, Woken.EXPIRED)
        try:
            self._say(connection, said)
            while not talk.ended:
                self._wait(connection.io)
                data = connection.sock.recv(_CHUNK)
                if not data:
                    return
                talk.feed(data)
        except (OSError, EarlyEndError, HttpParserError):
            return
        finally:
            last.close()


# --- subscriptions ------------------------------------------------------------------------------------------------------------


class Streaming:
    """One kind of stream, compiled. ``index`` is its place in the scenario."""

    def __init__(self, index: int, spec: RequestSpec, stream: StreamSpec) -> None:
        self.index = index
        self.stream = stream
        self._path = compile_template(spec.path)
        given = [(name, compile_template(value)) for name, value in spec.headers]
        self._host = next((value for name, value in given if name.lower() == "host"), None)
        self._headers = [(name, value) for name, value in given if name.lower() != "host"]
        self._names = {name.lower() for name, _ in given}
        templates = [self._path, *(value for _, value in given)]
        self.names = tuple(dict.fromkeys(name for template in templates for name in template.names if name != LAST_ID))

    def target(self, values: Mapping[str, str]) -> str:
        """Path and query."""
        return self._path.render(values)

    def host(self, values: Mapping[str, str], authority: bytes) -> str:
        """What the Host header says."""
        return self._host.render(values) if self._host is not None else authority.decode()

    def headers(self, values: Mapping[str, str], own: Mapping[str, str]) -> list[tuple[str, str]]:
        """All headers but Host; those of the scenario win over ``own``."""
        mine = [(name, value) for name, value in own.items() if name.lower() not in self._names]
        return mine + [(name, value.render(values)) for name, value in self._headers]


class Subscription:
    """One op of a stream."""

    def __init__(self, crowd: Crowd, user: User, streaming: Streaming, number: int) -> None:
        self._crowd = crowd
        self._user = user
        assert isinstance(user.client, StreamClient)  # noqa: S101  a load with a stream has no other clients
        self._client = user.client
        self._streaming = streaming
        self._number = number
        self._values = draw(user.dice, streaming.names, user=user.number, seq=number)
        self._timeout_ns = round(crowd.spec.timeout_s * NS_PER_S)
        self._for_ns = round(streaming.stream.for_s * NS_PER_S)
        self._step = crowd.step
        self._parser = EventParser(self._on_event)
        self._numbers = Numbers()
        self._last_id = ""
        self._taken = Taken(resumed=False)
        self._deadline_ns = 0  # of the whole subscription, from its first open stream on
        self._away_ns = _now_ns()  # since when there is no stream
        self._waited_ns = 0
        self._hurried = False
        self._tried: set[Route] = set()

    def run(self, due_ns: int) -> bool:
        """From the first connection to the end of the last; false when no stream was ever open."""
        route = self._crowd.route()
        n = 0
        while True:
            due_ns = self._invoke(n, route, due_ns)
            if route is None:
                outcome, label = (Outcome.UNFINISHED, "LOAD_ENDED") if self._crowd.cancelled else (Outcome.REFUSED, "NO_REPLICA")
                nowhere = Exchange()
                nowhere.error = label
                self._crowd.close(self._number, n, nowhere, outcome, last=True)
                return self._was_open
            seen, outcome = self._connect(n, route)
            following = self._elsewhere(route) if outcome is Outcome.REFUSED else None
            if outcome in _AGAIN and following is None and _now_ns() > self._give_up_ns():
                # What nobody took up again is no stream that was merely cut.
                cut = Outcome.TRUNCATED if seen.reached >= Reached.BODY else Outcome.CLOSED
                outcome = outcome if outcome is Outcome.REFUSED else cut
                self._crowd.close(self._number, n, seen, outcome, last=True)
                return self._was_open
            self._crowd.close(self._number, n, seen, outcome, last=outcome not in _AGAIN)
            if outcome not in _AGAIN:
                return self._was_open
            route = following or self._wait_and_choose()
            n += 1

    @property
    def _was_open(self) -> bool:
        return self._deadline_ns > 0

    def _invoke(self, n: int, route: Route | None, due_ns: int) -> int:
        """Put attempt ``n`` on record; the instant at which the op was due."""
        at_ns = _now_ns()
        self._crowd.invoked += 1
        self._crowd.append(
            Invoke(
                op=self._number,
                n=n,
                user=self._user.number,
                request=self._streaming.index,
                replica=route.name if route is not None else "",
                step=self._step,
                at_ns=at_ns,
                due_ns=due_ns or at_ns,
            )
        )
        return due_ns or at_ns

    def _connect(self, n: int, route: Route) -> tuple[Exchange, Outcome]:
        """One connection and what it brought."""
        self._taken = taken = Taken(resumed=self._was_open)
        request, talk = self._talk(route, n)
        seen = Exchange()
        end = STOPPED
        try:
            end = self._client.follow(route, request, talk, self._left_s, seen)
        except BaseException:
            self._crowd.close(self._number, n, seen, Outcome.UNFINISHED, last=True)
            raise
        finally:
            if taken.opened_ns:
                code = talk.code if isinstance(talk, MessageTalk) else 0
                self._crowd.append(taken.line(self._number, n, end, code, seen.done_ns))
                self._away_ns, self._waited_ns, self._hurried = seen.done_ns, 0, False
        wire = Wire(reached=seen.reached, ending=seen.ending, status=seen.status, as_expected=seen.as_expected, stream=True)
        return seen, classify(wire).outcome

    def _talk(self, route: Route, n: int) -> tuple[bytes, Talk]:
        """The request for attempt ``n`` and the protocol that its answer is in."""
        streaming, last_id = self._streaming, self._last_id
        values = self._values | {LAST_ID: quote(last_id, safe="")}
        own = {"User-Agent": "jetable", "X-Request-Id": f"{self._number}-{n}"}
        host, target = streaming.host(values, route.authority), streaming.target(values)
        if streaming.stream.kind == WEBSOCKET:
            socket = WSConnection(ConnectionType.CLIENT)
            extra = [(name.encode(), value.encode()) for name, value in streaming.headers(values, own)]
            return socket.send(Request(host=host, target=target, extra_headers=extra)), MessageTalk(socket, self._on_open, self._on_message)
        own |= {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        own |= {"Last-Event-ID": last_id} if last_id else {}
        headers = "".join(f"{name}: {value}\r\n" for name, value in streaming.headers(values, own))
        # What a connection left unfinished is no event; what is to come begins anew.
        self._parser = parser = EventParser(self._on_event, last_event_id=last_id, retry_s=self._parser.retry_s)
        return f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode(), EventTalk(parser, self._on_open)

    def _on_open(self) -> None:
        now_ns = _now_ns()
        self._taken.opened_ns = now_ns
        if self._was_open and not self._hurried:
            self._taken.away_ns, self._taken.waited_ns = now_ns - self._away_ns, self._waited_ns
        self._deadline_ns = self._deadline_ns or now_ns + self._for_ns

    def _on_event(self, own_id: str | None) -> None:
        """A server-sent event; the id that the client sends back is the last one, also of an event before it."""
        self._last_id = self._parser.last_event_id
        self._taken.event(number_of(own_id) if own_id else None, self._numbers)

    def _on_message(self, own_id: str) -> None:
        self._last_id = own_id or self._last_id
        self._taken.event(number_of(own_id), self._numbers)

    def _left_s(self) -> float:
        """For how many seconds the client wants to go on with this connection."""
        if self._crowd.cancelled:
            return 0.0
        now_ns, taken = _now_ns(), self._taken
        end_ns = now_ns if self._crowd.stopping else self._deadline_ns
        if taken.resumed and not taken.events:
            end_ns = max(end_ns, taken.opened_ns + _PROOF_NS)
        return (end_ns - now_ns) / NS_PER_S

    # --- from connection to connection --------------------------------------------------------------------------------------

    def _give_up_ns(self) -> int:
        """When a client without a stream has waited for too long."""
        patient_ns = self._away_ns + round(self._parser.retry_s * NS_PER_S) + self._timeout_ns
        return min(patient_ns, self._deadline_ns + self._timeout_ns) if self._was_open else patient_ns

    def _elsewhere(self, refused: Route) -> Route | None:
        """A replica that has not refused yet."""
        self._tried.add(refused)
        return None if self._crowd.cancelled else self._crowd.route(self._tried)

    def _wait_and_choose(self) -> Route | None:
        """The replica whose turn it is after the reconnection time; None when there is none in time, or the load is over."""
        self._tried.clear()
        while True:
            self._wait(self._parser.retry_s)
            if self._crowd.cancelled:
                return None
            route = self._crowd.route()
            if route is not None or _now_ns() > self._give_up_ns():
                return route

    def _wait(self, seconds: float) -> None:
        """Sleep, but not on when the load ends: then a client that has to wait for long would prove nothing any more."""
        began_ns = _now_ns()
        end_ns = began_ns + round(seconds * NS_PER_S)
        while (left_ns := end_ns - _now_ns()) > 0:
            gevent.sleep(min(left_ns / NS_PER_S, _NAP_S))  # at least one nap, so that nobody is asked without a pause
            self._hurried = self._crowd.cancelled or (self._crowd.stopping and seconds > _NAP_S)
            if self._hurried:
                break
        self._waited_ns += _now_ns() - began_ns
