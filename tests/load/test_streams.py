"""A stream outlives its connections: what its client sends, what it counts, and what it puts on record."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import gevent
import pytest
from httptools import HttpParserError
from hypothesis import example, given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request, TextMessage

from harness.history import Close, Invoke, Streamed
from harness.load.client import Exchange, Security
from harness.load.spec import RequestSpec, StreamSpec, TlsSpec
from harness.load.streams import EventParser, EventTalk, Numbers, StreamClient, Taken, number_in, number_of
from harness.load.table import lone_route
from harness.load.user import User
from harness.outcome import Reached
from harness.tls import tls_with
from tests.load import servers
from tests.load.servers import Server
from tests.load.test_user import Turns, World, turns, world

__all__ = ["turns"]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(text: str) -> bytes:
    return b"%x\r\n%b\r\n" % (len(text), text.encode())


def event(number: int) -> bytes:
    return chunk(f"id: {number}\ndata: x\n\n")


def sse(for_s: float = 0.05) -> RequestSpec:
    return RequestSpec(method="GET", path="/events", stream=StreamSpec(kind="sse", for_s=for_s), idempotent=True)


def websocket(for_s: float = 0.05) -> RequestSpec:
    return RequestSpec(method="GET", path="/ws?after={last_id}", stream=StreamSpec(kind="websocket", for_s=for_s), idempotent=True)


# --- events out of bytes --------------------------------------------------------------------------------------------------------


def parsed(*pieces: bytes) -> tuple[list[str | None], EventParser]:
    found: list[str | None] = []
    parser = EventParser(found.append)
    for piece in pieces:
        parser.feed(piece)
    return found, parser


def test_an_event_ends_with_an_empty_line_and_its_id_is_sent_back_as_it_is() -> None:
    found, parser = parsed(b"id: 7\ndata: a\n\nid:x y\ndata\n\n: a comment\n\ndata: b\n\n")
    assert found == ["7", "x y", None]
    assert parser.last_event_id == "x y"


def test_an_id_without_data_is_no_event_but_is_remembered_and_an_empty_one_forgets() -> None:
    found, parser = parsed(b"id: 7\n\n")
    assert (found, parser.last_event_id) == ([], "7")
    parser.feed(b"id\ndata:\n\n")
    assert (found, parser.last_event_id) == ([""], "")


def test_an_event_that_was_cut_did_not_happen() -> None:
    found, parser = parsed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")
    assert (found, parser.last_event_id) == (["1"], "1")


def test_the_reconnection_time_is_what_the_server_says_within_bounds() -> None:
    for said, retry_s in ((b"1500", 1.5), (b"0", 0.01), (b"99999999", 60.0), (b"soon", 0.05)):
        assert parsed(b"retry: " + said + b"\n\n")[1].retry_s == retry_s


@example(end=b"\r\n", cuts=[9, 9])
@given(end=st.sampled_from([b"\n", b"\r\n", b"\r"]), cuts=st.lists(st.integers(0, 60), max_size=6))
def test_lines_end_in_any_way_and_may_come_in_any_pieces(end: bytes, cuts: list[int]) -> None:
    whole = b"\xef\xbb\xbf" + b"id: 1\ndata: a\n\nid: 2\ndata: b\ndata: c\n\nretry: 9\n\n".replace(b"\n", end)
    places = [0, *sorted(cuts), len(whole)]
    found, parser = parsed(*(whole[begin:stop] for begin, stop in pairwise(places)))
    assert (found, parser.last_event_id) == (["1", "2"], "2")


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(HttpParserError):
        parsed(b"data: " + b"x" * (2 << 20))


def test_a_number_is_digits_alone_and_a_message_carries_it_in_front_or_as_its_id() -> None:
    assert [number_of(text) for text in ("17", "", "x", "-1", "1.5", "²", "9" * 19)] == [17, None, None, None, None, None, None]
    messages = ('{"id": 5}', '{"id": "5"}', " 5 ticks", "5", "tick 5", '{"n": 5}', '{"id": true}', "{broken", "")
    assert [number_in(text) for text in messages] == ["5", "5", "5", "5", "", "", "", "", ""]


# --- numbers --------------------------------------------------------------------------------------------------------------------


def taken(numbers: list[int | None], had: Numbers | None = None) -> Taken:
    had = had or Numbers()
    made = Taken(resumed=False)
    for number in numbers:
        made.event(number, had)
    return made


def test_what_the_first_event_of_a_connection_leaves_out_is_missing_and_later_ones_skip() -> None:
    had = Numbers()
    first = taken([5, 6, 9], had)
    assert (first.missing, first.skipped, first.holes, first.twice) == (0, 2, 1, 0)
    second = taken([12, 13], had)
    assert (second.missing, second.skipped, second.twice, second.first_id, second.last_id) == (2, 0, 0, 12, 13)


def test_what_comes_again_is_told_apart_from_what_comes_late() -> None:
    made = taken([1, 2, 5, 4, 3, 3, 5, None])
    assert (made.skipped, made.late, made.twice, made.unnumbered, made.events) == (2, 2, 2, 1, 8)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_every_number_from_the_first_on_came_or_is_counted_as_left_out(numbers: list[int]) -> None:
    made = taken(list(numbers))
    had = {number for number in numbers if number >= numbers[0]}
    assert made.missing + made.skipped - made.late == max(numbers) - numbers[0] + 1 - len(had)
    assert made.twice == len(numbers) - len(had)


# --- subscriptions --------------------------------------------------------------------------------------------------------------


@contextmanager
def following(
    *behaviours: Callable[[socket.socket, Server], None], spec: RequestSpec, timeout_s: float = 2.0, tls: bool = False
) -> Iterator[tuple[World, User]]:
    """One user and one server that does the next of ``behaviours`` on each connection, the last one again and again."""
    done = 0

    def behave(connection: socket.socket) -> None:
        nonlocal done
        number, done = done, done + 1
        behaviours[min(number, len(behaviours) - 1)](connection, server)

    spoken = TlsSpec(ca=str(servers.CERTIFICATE), server_name="localhost") if tls else None
    context = servers.server_context() if tls else None
    with Server(behave, tls=context) as server, world(spec, timeout_s=timeout_s, tls=spoken) as (w, user):
        w.publish(server.port)
        w.server = server  # type: ignore[attr-defined]  # for the tests of this file
        yield w, user
        assert w.publisher.answering("web.1") == 0


def says(*pieces: bytes, then: Callable[[socket.socket], None] = servers.hang) -> Callable[[socket.socket, Server], None]:
    def behave(connection: socket.socket, server: Server) -> None:
        server.read(connection)
        connection.sendall(b"".join(pieces))
        then(connection)

    return behave


def stop_when(w: World, condition: Callable[[], bool]) -> None:
    """Stop the load then, so that what ends before is ended by the server alone, however long that takes, and the rest is soon complete."""

    def wait() -> None:
        with gevent.Timeout(10):
            while not condition():
                gevent.sleep(0.001)
        w.crowd.stopping = True

    gevent.spawn(wait)


def lose_patience_between_requests(w: World, turns: Turns) -> None:
    """Let the time that a client waits for another stream go fast, and none pass while the server has a request."""
    turns.speed, turns.held = 20, lambda: not w.nothing_under_way()


def streamed(w: World) -> list[Streamed]:
    return [line for line in w.books.lines if isinstance(line, Streamed)]


def closes(w: World) -> list[tuple[str, bool]]:
    return [(line.outcome, line.last) for line in w.books.lines if isinstance(line, Close)]


def test_a_subscription_is_complete_when_its_time_is_over() -> None:
    with following(says(HEAD, event(1), event(2)), spec=sse()) as (w, user):
        assert w.crowd.op(user)
    assert w.books.ops() == ["ok"]
    (line,) = streamed(w)
    assert (line.end, line.events, line.first_id, line.last_id, line.resumed) == ("complete", 2, 1, 2, False)
    assert line.opened_ns <= line.first_event_ns <= line.last_event_ns <= line.at_ns


@pytest.mark.parametrize(
    ("then", "outcome", "end"),
    [(LAST_CHUNK, "stream-ended", "ended"), (b"", "stream-cut", "cut"), (b"nonsense\r\n", "wrong", "cut")],
)
def test_a_stream_that_ends_too_early_is_resumed_from_the_last_event_on_unless_it_is_garbled(then: bytes, outcome: str, end: str) -> None:
    first, second = says(HEAD, event(1), event(2), then, then=servers.close), says(HEAD, event(3))
    with following(first, second, spec=sse(30.0)) as (w, user):
        stop_when(w, lambda: len(closes(w)) == 1)
        w.crowd.op(user)
        requests = w.server.requests  # type: ignore[attr-defined]  # as above
    assert closes(w)[0] == (outcome, outcome == "wrong")
    assert streamed(w)[0].end == end
    if outcome == "wrong":
        return
    assert w.books.ops() == ["resumed"]
    assert b"Last-Event-ID" not in requests[0]
    assert b"\r\nLast-Event-ID: 2\r\n" in requests[1]
    again = streamed(w)[1]
    assert (again.resumed, again.missing, again.twice, again.first_id) == (True, 0, 0, 3)
    assert again.away_ns >= again.waited_ns >= 50_000_000


def test_a_reset_in_the_middle_is_a_cut() -> None:
    with following(says(HEAD, event(1), then=servers.reset), says(HEAD, event(2)), spec=sse(30.0)) as (w, user):
        stop_when(w, lambda: len(closes(w)) == 1)
        w.crowd.op(user)
    assert closes(w) == [("stream-cut", False), ("ok", True)]


def test_the_end_of_a_connection_that_nothing_else_could_tell_is_not_called_a_cut() -> None:
    bare = HEAD.replace(b"Transfer-Encoding: chunked\r\n", b"")
    with following(says(bare, b"id: 1\ndata: x\n\n", then=servers.close), says(HEAD, event(2)), spec=sse(30.0)) as (w, user):
        stop_when(w, lambda: len(closes(w)) == 1)
        w.crowd.op(user)
    assert streamed(w)[0].end == "eof"
    assert [line.eof for line in w.books.lines if isinstance(line, Close)] == [True, False]


@pytest.mark.slow
def test_streams_are_followed_over_tls_where_an_end_in_order_is_told_by_a_closure_alert_too() -> None:
    bare = HEAD.replace(b"Transfer-Encoding: chunked\r\n", b"")
    unframed = says(bare, b"id: 1\ndata: x\n\n", then=servers.close_with_alert)
    with following(unframed, says(HEAD, event(2), then=servers.close), says(HEAD, event(3)), spec=sse(30.0), tls=True) as (w, user):
        stop_when(w, lambda: len(closes(w)) == 2)
        w.crowd.op(user)
    assert [line.end for line in streamed(w)] == ["ended", "cut", "complete"]
    with following(sends("1", close=1012), sends("2"), spec=websocket(30.0), tls=True) as (w, user):
        stop_when(w, lambda: len(closes(w)) == 1)
        w.crowd.op(user)
    assert next((line.end, line.code) for line in streamed(w)) == ("ended", 1012)


def test_a_certificate_that_is_refused_is_told_for_a_stream_as_for_any_request() -> None:
    security = Security(tls_with(str(servers.CERTIFICATE), "elsewhere"))
    security.proven = True
    client, seen = StreamClient(timeout_s=5.0, keep_alive=True, security=security), Exchange()
    with servers.answering(servers.OK, tls=servers.server_context()) as server:
        route = lone_route("web.1", "127.0.0.1", server.port)
        assert route.reserve()
        end = client.follow(route, b"GET / HTTP/1.1\r\n\r\n", EventTalk(EventParser(print), int), lambda: 1.0, seen)
    client.close()
    assert (end, seen.reached, seen.error) == ("cut", Reached.NOTHING, "CERTIFICATE")
    assert [route.words[at] for at in (route.way, route.flight, route.answering)] == [0, 0, 0]


@pytest.mark.slow
def test_events_that_are_missing_or_come_again_are_counted_where_they_should_have_been() -> None:
    first, lossy, repeating = (
        says(HEAD, event(1), LAST_CHUNK, then=servers.close),
        says(HEAD, event(5), LAST_CHUNK, then=servers.close),
        says(HEAD, event(4), event(5), event(6)),
    )
    with following(first, lossy, repeating, spec=sse(0.3)) as (w, user):
        w.crowd.op(user)
    _, second, third = streamed(w)
    assert (second.missing, second.twice) == (3, 0)
    assert (third.late, third.twice) == (1, 1)


def test_what_is_no_stream_of_events_ends_the_subscription_as_a_browser_would_end_it() -> None:
    answers = {
        b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n": "rejected",
        b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno": "error",
        b"HTTP/1.1 204 No Content\r\n\r\n": "wrong",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi": "wrong",
    }
    for answer, outcome in answers.items():
        with following(says(answer), spec=sse()) as (w, user):
            w.crowd.op(user)
        assert w.books.ops() == [outcome]
        assert not streamed(w)


def test_a_replica_that_refuses_is_left_out_without_a_wait_and_the_subscription_is_redirected() -> None:
    with Server(lambda connection: says(HEAD, event(1))(connection, server)) as server, world(sse()) as (w, user):
        w.publish(servers.closed_port(), server.port, servers.closed_port())
        for _ in range(3):
            w.crowd.op(user)
    assert sorted(w.books.ops()) == ["ok", "redirected", "redirected"]


@pytest.mark.slow
def test_a_subscription_that_nobody_takes_up_is_unavailable_when_its_client_has_lost_patience(turns: Turns) -> None:
    def once(connection: socket.socket, server: Server) -> None:
        says(HEAD, event(1))
        w.publisher.withdraw("web.1")

    with following(once, spec=sse(5.0), timeout_s=5.0) as (w, user):
        lose_patience_between_requests(w, turns)
        w.crowd.op(user)
    assert w.books.ops() == ["unavailable"]
    assert closes(w)[-1] == ("refused", True)


@pytest.mark.slow
def test_connections_that_are_closed_before_an_answer_again_and_again_are_one_dropped_request(turns: Turns) -> None:
    def silent(connection: socket.socket, server: Server) -> None:
        server.read(connection)

    with following(silent, spec=sse(), timeout_s=5.0) as (w, user):
        lose_patience_between_requests(w, turns)
        w.crowd.op(user)
    assert w.books.ops() == ["closed-before-response"]
    assert closes(w)[0] == ("stream-cut", False)


def test_no_answer_in_time_is_a_time_out() -> None:
    with following(says(), spec=sse(), timeout_s=0.05) as (w, user):
        w.crowd.op(user)
    assert w.books.ops() == ["timeout"]


def test_an_open_stream_counts_as_in_flight_and_as_answering_until_it_ends() -> None:
    with following(says(HEAD, event(1)), spec=sse(5.0)) as (w, _):
        greenlet = gevent.spawn(lambda: w.crowd.op(w.crowd.new_user()))
        with gevent.Timeout(5):
            while not streamed_began(w):
                gevent.sleep(0.001)
            while not w.publisher.answering("web.1"):
                gevent.sleep(0.001)
        assert (w.publisher.in_flight("web.1"), w.publisher.sent("web.1"), w.publisher.answering("web.1")) == (1, 1, 1)
        w.crowd.stopping = True
        greenlet.join(5)
        assert (w.publisher.in_flight("web.1"), w.publisher.answering("web.1")) == (0, 0)


def streamed_began(w: World) -> bool:
    return w.publisher.in_flight("web.1") > 0


@pytest.mark.parametrize("how", ["stop", "cancel"])
def test_the_end_of_the_load_completes_an_open_stream_at_once(how: str) -> None:
    with following(says(HEAD, event(1)), spec=sse(60.0)) as (w, _):
        greenlet = gevent.spawn(lambda: w.crowd.op(w.crowd.new_user()))
        with gevent.Timeout(5):
            while not w.publisher.answering("web.1"):
                gevent.sleep(0.001)
            if how == "stop":
                w.crowd.stopping = True
            else:
                w.crowd.cancel()
            greenlet.join()
    assert closes(w) == [("ok", True)]
    assert streamed(w)[0].end == "complete"


def test_a_client_that_waits_to_connect_again_when_the_load_is_cut_off_leaves_an_end_on_record() -> None:
    slow = chunk("retry: 30000\n\n")
    with following(says(HEAD, slow, event(1), then=servers.close), spec=sse(60.0)) as (w, _):
        greenlet = gevent.spawn(lambda: w.crowd.op(w.crowd.new_user()))
        with gevent.Timeout(5):
            while not closes(w):
                gevent.sleep(0.001)
            w.crowd.cancel()
            greenlet.join()
    assert closes(w) == [("stream-cut", False), ("unfinished", True)]
    assert w.crowd.invoked == w.crowd.closed == 2


def test_a_wait_that_the_end_of_the_load_cut_short_is_no_measured_time() -> None:
    slow = chunk("retry: 30000\n\n")
    with following(says(HEAD, slow, event(1), then=servers.close), says(HEAD, event(2)), spec=sse(60.0)) as (w, _):
        greenlet = gevent.spawn(lambda: w.crowd.op(w.crowd.new_user()))
        with gevent.Timeout(5):
            while not closes(w):
                gevent.sleep(0.001)
            w.crowd.stopping = True
            greenlet.join()
    assert w.books.ops() == ["resumed"]
    assert (streamed(w)[1].resumed, streamed(w)[1].away_ns) == (True, 0)


def test_a_client_in_a_hurry_still_pauses_while_there_is_no_replica() -> None:
    slow = chunk("retry: 30000\n\n")
    with following(says(HEAD, slow, event(1), then=servers.close), spec=sse(60.0), timeout_s=0.1) as (w, _):
        greenlet = gevent.spawn(lambda: w.crowd.op(w.crowd.new_user()))
        with gevent.Timeout(5):
            while not closes(w):
                gevent.sleep(0.001)
            w.publisher.withdraw("web.1")
            w.crowd.stopping = True
            gevent.sleep(0.1)  # a client that asked without a pause would let nothing else run
            w.crowd.cancel()
            greenlet.join()
    assert closes(w)[-1] == ("unfinished", True)


def test_a_user_that_is_killed_leaves_no_connection_open_on_record() -> None:
    with following(says(HEAD, event(1)), spec=sse(60.0)) as (w, _):
        greenlet = gevent.spawn(lambda: w.crowd.op(w.crowd.new_user()))
        with gevent.Timeout(5):
            while not w.publisher.answering("web.1"):
                gevent.sleep(0.001)
        greenlet.kill()
    assert closes(w) == [("unfinished", True)]
    assert [line.end for line in streamed(w)] == ["stopped"]


def test_the_attempts_of_a_subscription_are_numbered_and_name_their_replicas() -> None:
    with following(says(HEAD, event(1), LAST_CHUNK, then=servers.close), says(HEAD, event(2)), spec=sse()) as (w, user):
        w.crowd.op(user)
    invokes = [line for line in w.books.lines if isinstance(line, Invoke)]
    assert [(line.op, line.n, line.replica) for line in invokes] == [(1, 0, "web.1"), (1, 1, "web.1")]
    assert [(line.op, line.n) for line in streamed(w)] == [(1, 0), (1, 1)]


# --- WebSocket --------------------------------------------------------------------------------------------------------------------


def sends(*texts: str, close: int | None = None, cut: bool = False, ping: bool = False) -> Callable[[socket.socket, Server], None]:
    """A server of one WebSocket: says ``texts``, then closes with a code, or just closes, or listens until the client leaves."""

    def behave(connection: socket.socket, server: Server) -> None:
        talk = WSConnection(ConnectionType.SERVER)
        talk.receive_data(server.read(connection))
        assert isinstance(next(talk.events()), Request)
        connection.sendall(talk.send(AcceptConnection()))
        for text in texts:
            connection.sendall(talk.send(TextMessage(data=text)))
        if ping:
            connection.sendall(talk.send(Ping(payload=b"there?")))
        if cut:
            return
        if close is not None:
            connection.sendall(talk.send(CloseConnection(code=close)))
        while data := connection.recv(65536):
            talk.receive_data(data)
            for said in talk.events():
                heard.append(type(said).__name__)
                if isinstance(said, CloseConnection):
                    if close is None:
                        connection.sendall(talk.send(said.response()))
                    return

    heard: list[str] = []
    behave.heard = heard  # type: ignore[attr-defined]  # for one test
    return behave


def test_the_close_code_of_a_websocket_is_on_record_and_its_client_comes_back_with_the_last_id() -> None:
    with following(sends('{"id": 1}', '{"id": 2}', close=1001), sends("3 more"), spec=websocket(30.0)) as (w, user):
        stop_when(w, lambda: len(closes(w)) == 1)
        w.crowd.op(user)
        requests = w.server.requests  # type: ignore[attr-defined]  # as above
    assert w.books.ops() == ["resumed"]
    first, second = streamed(w)
    assert (first.end, first.code, first.last_id) == ("ended", 1001, 2)
    assert (second.end, second.first_id, second.missing, second.resumed) == ("complete", 3, 0, True)
    assert requests[0].startswith(b"GET /ws?after= HTTP/1.1\r\n")
    assert requests[1].startswith(b"GET /ws?after=2 HTTP/1.1\r\n")
    assert b"Last-Event-ID" not in requests[1]


def test_a_websocket_that_ends_without_a_close_frame_was_cut() -> None:
    with following(sends("1", cut=True), sends("2"), spec=websocket(30.0)) as (w, user):
        stop_when(w, lambda: len(closes(w)) == 1)
        w.crowd.op(user)
    assert next((line.end, line.code) for line in streamed(w)) == ("cut", 0)
    assert closes(w)[0] == ("stream-cut", False)


def test_pings_are_answered_and_the_client_says_goodbye() -> None:
    behave = sends("1", ping=True)
    with following(behave, spec=websocket(30.0)) as (w, user):
        stop_when(w, lambda: "Pong" in behave.heard)  # type: ignore[attr-defined]  # as above
        w.crowd.op(user)
    assert behave.heard == ["Pong", "CloseConnection"]  # type: ignore[attr-defined]  # as above
    assert w.books.ops() == ["ok"]


def test_a_websocket_that_is_refused_ends_the_subscription_with_its_status() -> None:
    with following(says(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), spec=websocket()) as (w, user):
        w.crowd.op(user)
    assert w.books.ops() == ["rejected"]


def test_headers_of_the_scenario_go_to_both_kinds_of_streams() -> None:
    for spec, server in ((sse(), says(HEAD)), (websocket(), sends())):
        named = RequestSpec(method="GET", path=spec.path, headers=(("X-Last", "<{last_id}>"), ("Host", "shop.example")), stream=spec.stream)
        with following(server, spec=named) as (w, user):
            w.crowd.op(user)
            request = w.server.requests[0].decode().lower()  # type: ignore[attr-defined]  # as above
        assert "\r\nx-last: <>\r\n" in request
        assert request.count("\r\nhost: ") == 1
        assert "\r\nhost: shop.example\r\n" in request
        assert "\r\nx-request-id: 1-0\r\n" in request
