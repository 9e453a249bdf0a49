"""One attempt on a real connection: each way in which it can end, and the row of the outcome table that fits."""

from __future__ import annotations

import _socket
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.load import client as client_module
from harness.load.client import Client, Exchange, Expect
from harness.load.table import Publisher, Route, Router, Table, lone_route
from harness.outcome import Ending, Executed, Outcome, Reached, Wire, classify
from tests.load import servers
from tests.load.servers import OK, Server, answering

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client(timeout_s=5.0, keep_alive=True)
    yield made
    made.close()


@pytest.fixture
def impatient() -> Iterator[Client]:
    made = Client(timeout_s=0.05, keep_alive=True)
    yield made
    made.close()


def attempt(client: Client, route: Route, request: bytes = GET, expect: Expect | None = None, seen: Exchange | None = None) -> Exchange:
    """One exchange, after which nothing may be under way."""
    seen = seen or Exchange()
    assert route.reserve()
    client.exchange(route, request, expect or Expect(), seen)
    assert (route.words[route.way], route.words[route.flight], route.words[route.answering]) == (0, 0, 0)
    return seen


def until(condition: Callable[[], bool]) -> None:
    """Wait in a server's thread, at most five seconds."""
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)


def route_to(port: int) -> Route:
    return lone_route("web.1", "127.0.0.1", port)


def outcome(seen: Exchange) -> tuple[Outcome, Executed]:
    row = classify(Wire(reached=seen.reached, ending=seen.ending, reused=seen.reused, status=seen.status, as_expected=seen.as_expected))
    return row.outcome, row.executed


def told(client: Client, answer: bytes, *, expect: Expect | None = None, then: servers.Behaviour | None = None) -> Exchange:
    """What is known about an attempt at a server that says ``answer`` and then does ``then``, or goes on."""
    with answering(answer, then=then) as server:
        return attempt(client, route_to(server.port), expect=expect)


# A whole answer.


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + OK,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
        b"HTTP/1.1 399 Odd\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_whole_answer_is_ok_and_its_connection_is_used_again(client: Client, answer: bytes) -> None:
    with answering(answer) as server:
        route = route_to(server.port)
        first, second = attempt(client, route), attempt(client, route)
    assert outcome(first) == outcome(second) == (Outcome.OK, Executed.YES)
    assert (first.reused, second.reused) == (False, True)
    assert first.port == second.port
    assert server.accepted == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        OK + b"garbage",
        OK + OK,
    ],
)
def test_a_connection_that_must_not_be_used_again_is_not(client: Client, answer: bytes) -> None:
    with answering(answer) as server:
        route = route_to(server.port)
        first, second = attempt(client, route), attempt(client, route)
    assert outcome(first) == outcome(second) == (Outcome.OK, Executed.YES)
    assert server.accepted == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
    ],
)
def test_an_answer_without_a_length_is_whole_when_the_connection_ends_which_is_on_record(client: Client, answer: bytes) -> None:
    seen = told(client, answer, then=servers.close)
    assert outcome(seen) == (Outcome.OK, Executed.YES)
    assert seen.eof


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n",
    ],
)
def test_an_answer_that_says_where_it_ends_owes_nothing_to_the_end_of_the_connection(client: Client, answer: bytes) -> None:
    assert not told(client, answer, then=servers.close).eof


@pytest.mark.parametrize("answer", [OK + b"garbage", OK + OK, b"HTTP/1.1 204 No Content\r\n\r\nhello"])
def test_bytes_after_a_whole_answer_are_on_record(client: Client, answer: bytes) -> None:
    seen = told(client, answer)
    assert outcome(seen) == (Outcome.OK, Executed.YES)
    assert seen.error == "SURPLUS"


def test_a_body_that_head_must_not_have_is_on_record_and_its_connection_is_not_used_again(client: Client) -> None:
    with answering(OK) as server:
        route = route_to(server.port)
        head = attempt(client, route, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", Expect(head=True))
        get = attempt(client, route)
    assert outcome(head) == outcome(get) == (Outcome.OK, Executed.YES)
    assert (head.error, get.error, get.reused) == ("SURPLUS", "", False)


def test_a_body_that_is_wrong_is_worse_than_what_comes_after_it(client: Client) -> None:
    assert told(client, OK + b"garbage", expect=Expect(contains=b"goodbye")).error == "BODY"


def test_an_answer_to_head_has_no_body_whatever_its_headers_say(client: Client) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", OK) as server:
        route = route_to(server.port)
        head = attempt(client, route, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", Expect(head=True))
        get = attempt(client, route)
    assert outcome(head) == outcome(get) == (Outcome.OK, Executed.YES)
    assert get.reused


def test_a_client_without_keep_alive_uses_each_connection_once() -> None:
    client = Client(timeout_s=5.0, keep_alive=False)
    with answering(OK) as server:
        route = route_to(server.port)
        assert not attempt(client, route).reused
        assert not attempt(client, route).reused
    assert server.accepted == 2
    client.close()


def test_each_request_is_counted_as_sent_before_it_is_in_flight(client: Client) -> None:
    class Watched:
        """The words of a route that remember how *sent* and *in flight* changed."""

        def __init__(self, words: memoryview[int]) -> None:
            self.words, self.story = words, list[tuple[int, int]]()

        def __getitem__(self, index: int) -> int:
            return self.words[index]

        def __setitem__(self, index: int, value: int) -> None:
            self.words[index] = value
            now = self.words[route.sent], self.words[route.flight]
            if now != (self.story or [(0, 0)])[-1]:
                self.story.append(now)

    with answering(OK) as server:
        route = route_to(server.port)
        route.words = watched = Watched(route.words)  # type: ignore[assignment]  # it looks like one
        attempt(client, route)
        attempt(client, route)
    assert watched.story == [(1, 0), (1, 1), (1, 0), (2, 0), (2, 1), (2, 0)]


def test_nothing_is_counted_as_sent_that_was_refused(client: Client) -> None:
    route = route_to(servers.closed_port())
    attempt(client, route)
    assert route.words[route.sent] == 0


def test_the_instants_come_in_their_order_and_bytes_are_counted(client: Client) -> None:
    began_ns = time.monotonic_ns()
    seen = told(client, OK)
    assert began_ns <= seen.connected_ns <= seen.sent_ns <= seen.first_ns <= seen.done_ns <= time.monotonic_ns()
    assert (seen.tx, seen.rx, seen.status, seen.error) == (len(GET), len(OK), 200, "")
    assert seen.port > 0


@settings(max_examples=30, deadline=None)
@given(
    answer=st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n4\r\nlo w\r\n4\r\norld\r\n0\r\n\r\n",
        ]
    ),
    cuts=st.lists(st.integers(1, 90), max_size=6),
    needle=st.sampled_from([b"o w", b"hello world", b"d"]),
)
def test_where_an_answer_is_cut_into_packets_changes_nothing(answer: bytes, cuts: list[int], needle: bytes) -> None:
    connection = client_module.Connection.__new__(client_module.Connection)
    connection._parser = None
    connection.begin(Expect(contains=needle))
    places = [0, *sorted({cut for cut in cuts if cut < len(answer)}), len(answer)]
    for start, end in pairwise(places):
        assert not connection.whole
        connection.feed(answer[start:end])
    assert connection.whole
    assert connection.found
    assert connection.keep


# A whole answer that is not what was expected.


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (503, (Outcome.REJECTED, Executed.UNKNOWN)),
        (429, (Outcome.REJECTED, Executed.UNKNOWN)),
        (500, (Outcome.ERROR, Executed.UNKNOWN)),
        (404, (Outcome.WRONG, Executed.YES)),
        (101, (Outcome.WRONG, Executed.YES)),
    ],
)
def test_a_status_that_was_not_expected_is_told_apart(client: Client, status: int, expected: tuple[Outcome, Executed]) -> None:
    seen = told(client, b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
    assert outcome(seen) == expected
    assert seen.status == status


def test_a_status_that_the_scenario_names_is_good_and_others_are_not(client: Client) -> None:
    assert outcome(told(client, b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", expect=Expect(statuses=(503,))))[0] is Outcome.OK
    assert outcome(told(client, OK, expect=Expect(statuses=(201,))))[0] is Outcome.WRONG


def test_a_body_without_what_it_must_contain_is_wrong(client: Client) -> None:
    assert outcome(told(client, OK, expect=Expect(contains=b"hello")))[0] is Outcome.OK
    seen = told(client, OK, expect=Expect(contains=b"goodbye"))
    assert outcome(seen) == (Outcome.WRONG, Executed.YES)
    assert seen.error == "BODY"


@pytest.mark.parametrize(
    ("body", "expected"), [(b"hello", Outcome.OK), (b"hell", Outcome.WRONG), (b"hello!", Outcome.WRONG), (b"", Outcome.WRONG)]
)
def test_a_body_that_must_be_exactly_something_is_compared_whole(client: Client, body: bytes, expected: Outcome) -> None:
    seen = told(client, OK, expect=Expect(body=body))
    assert outcome(seen)[0] is expected


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\0\0\0\0\0\0"])
def test_what_is_not_http_is_wrong(client: Client, answer: bytes) -> None:
    seen = told(client, answer)
    assert seen.ending is Ending.GARBLED
    assert outcome(seen) == (Outcome.WRONG, Executed.UNKNOWN)


# No connection.


def test_a_port_on_which_nobody_listens_refuses(client: Client) -> None:
    seen = attempt(client, route_to(servers.closed_port()))
    assert outcome(seen) == (Outcome.REFUSED, Executed.NO)
    assert (seen.reached, seen.error, seen.tx) == (Reached.NOTHING, "ECONNREFUSED", 0)


def test_a_connection_to_itself_is_a_refusal(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unlucky(_socket.socket):
        """Gets the very port that it connects to as its own."""

        def connect_ex(self, address: object) -> int:
            if self.getsockname()[1] == 0:
                self.bind(address)  # type: ignore[arg-type]  # as the original takes it
            return super().connect_ex(address)  # type: ignore[arg-type]  # as the original takes it

    monkeypatch.setattr(_socket, "socket", Unlucky)
    seen = attempt(client, route_to(servers.free_port()))
    assert outcome(seen) == (Outcome.REFUSED, Executed.NO)
    assert seen.error == "ECONNREFUSED"


def full_backlog() -> tuple[socket.socket, list[socket.socket]]:
    """A listener that takes no further connection, and what fills it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(4):
        sock = socket.socket()
        sock.settimeout(0)
        sock.connect_ex(listener.getsockname())
        waiting.append(sock)
    return listener, waiting


def test_a_connection_that_is_not_made_in_time_is_a_refusal(impatient: Client) -> None:
    listener, waiting = full_backlog()
    seen = attempt(impatient, route_to(listener.getsockname()[1]))
    assert outcome(seen) == (Outcome.REFUSED, Executed.NO)
    assert (seen.reached, seen.ending, seen.error) == (Reached.NOTHING, Ending.TIMEOUT, "TIMEOUT")
    for sock in [*waiting, listener]:
        sock.close()


def published(port: int) -> tuple[Publisher, Route]:
    """A replica at ``port`` as the harness and the load see it."""
    table = Table.create()
    publisher, router = Publisher(table), Router(table)
    publisher.publish("web.1", "127.0.0.1", port)
    route = router.pick()
    assert route is not None
    route.release()
    return publisher, route


def test_nobody_connects_to_a_replica_whose_address_went_with_it(client: Client) -> None:
    with answering(OK) as server:
        publisher, route = published(server.port)
        publisher.vanish("web.1")
        seen = attempt(client, route)
    assert (seen.error, outcome(seen)) == ("EHOSTUNREACH", (Outcome.REFUSED, Executed.NO))


def test_a_connection_under_way_to_a_replica_that_vanishes_is_a_refusal(client: Client) -> None:
    listener, waiting = full_backlog()
    try:
        publisher, route = published(listener.getsockname()[1])
        gevent.spawn_later(0.05, publisher.vanish, "web.1")
        seen = attempt(client, route)
    finally:
        for sock in (listener, *waiting):
            sock.close()
    assert (seen.error, outcome(seen)) == ("EHOSTUNREACH", (Outcome.REFUSED, Executed.NO))


def test_a_load_that_ends_while_it_connects_leaves_the_attempt_unfinished_and_surely_not_executed(client: Client) -> None:
    listener, waiting = full_backlog()
    gevent.spawn_later(0.01, client.cancel)
    assert outcome(attempt(client, route_to(listener.getsockname()[1]))) == (Outcome.UNFINISHED, Executed.NO)
    for sock in [*waiting, listener]:
        sock.close()


# A connection that ends before the first byte leaves.


@pytest.mark.parametrize("how", [servers.close, servers.reset])
def test_a_kept_connection_that_was_closed_meanwhile_is_stale_and_the_next_one_is_new(client: Client, how: servers.Behaviour) -> None:
    with answering(OK, then=how) as server:
        route = route_to(server.port)
        assert outcome(attempt(client, route))[0] is Outcome.OK
        wait_for_news(client, route)
        stale = attempt(client, route)
        assert outcome(stale) == (Outcome.STALE, Executed.NO)
        assert (stale.reused, stale.tx, stale.reached) == (True, 0, Reached.CONNECTED)
        assert 0 < stale.connected_ns <= stale.done_ns
        again = attempt(client, route)
    assert outcome(again)[0] is Outcome.OK
    assert not again.reused
    assert len(server.requests) == 2


@pytest.mark.parametrize("how", [servers.close, servers.reset])
def test_an_idle_connection_that_a_replica_ended_is_closed_when_somebody_looks(client: Client, how: servers.Behaviour) -> None:
    with answering(OK, then=how) as server:
        _, route = published(server.port)
        route.reserve()
        client.exchange(route, GET, Expect(), Exchange())
        wait_for_news(client, route)
        client.part(route)
        assert not client._connections


def test_an_idle_connection_that_is_there_stays_when_somebody_looks(client: Client) -> None:
    with answering(OK, then=servers.hang) as server:
        _, route = published(server.port)
        route.reserve()
        client.exchange(route, GET, Expect(), Exchange())
        client.part(route)
        assert client._connections


def test_a_kept_connection_with_bytes_that_nobody_asked_for_is_stale(client: Client) -> None:
    def say_farewell(connection: socket.socket) -> None:
        until(lambda: bool(client._connections))
        connection.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        servers.hang(connection)

    with answering(OK, then=say_farewell) as server:
        route = route_to(server.port)
        attempt(client, route)
        wait_for_news(client, route)
        assert outcome(attempt(client, route)) == (Outcome.STALE, Executed.NO)


def test_a_kept_connection_that_breaks_at_the_first_byte_is_stale(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(OK, then=servers.reset) as server:
        route = route_to(server.port)
        attempt(client, route)
        wait_for_news(client, route)
        monkeypatch.setattr(Client, "_usable", unlooked_at)
        seen = attempt(client, route)
    assert outcome(seen) == (Outcome.STALE, Executed.NO)
    assert seen.error == "ECONNRESET"


def unlooked_at(client: Client, route: Route, seen: Exchange) -> client_module.Connection:
    """The kept connection, as if its end had come right after the look at it."""
    connection = client._connections.pop(route)
    seen.reused = True
    client_module.note_connection(connection, seen)
    return connection


def test_a_new_connection_that_is_reset_before_the_first_byte_leaves_is_a_refusal(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = Client._connect

    def connect_and_wait(self: Client, route: Route) -> client_module.Connection:
        connection = connect(self, route)
        self._wait(connection.io)
        return connection

    monkeypatch.setattr(Client, "_connect", connect_and_wait)
    with Server(servers.reset) as server:
        seen = attempt(client, route_to(server.port))
    assert outcome(seen) == (Outcome.REFUSED, Executed.NO)
    assert seen.reached <= Reached.CONNECTED, "the reset may come before the client has looked at its new connection"
    assert seen.tx == 0


def wait_for_news(client: Client, route: Route) -> None:
    """Wait until something has happened to the kept connection, without looking at what."""
    with gevent.Timeout(5):
        client._wait(client._connections[route].io)


# A hold: a connection on which no byte has left.


def held_route(port: int) -> tuple[Publisher, Route]:
    publisher, route = published(port)
    publisher.hold("web.1")
    return publisher, route


def when(condition: Callable[[], bool], act: Callable[[], None]) -> None:
    """Do ``act`` in another greenlet as soon as ``condition`` is met."""

    def wait() -> None:
        with gevent.Timeout(5):
            while not condition():
                gevent.sleep(0.001)
        act()

    gevent.spawn(wait)


def test_a_held_request_waits_on_a_new_connection_until_it_is_released(client: Client) -> None:
    with answering(OK) as server:
        publisher, route = published(server.port)
        attempt(client, route)
        publisher.hold("web.1")
        released: list[tuple[int, int, int, int]] = []

        def release() -> None:
            publisher.withdraw("web.1")
            gevent.sleep(0.005)
            released.append((publisher.held("web.1"), publisher.on_the_way("web.1"), len(server.requests), time.monotonic_ns()))
            publisher.release("web.1")

        when(lambda: publisher.held("web.1") == 1, release)
        seen = attempt(client, route)
        publisher.publish("web.1", "127.0.0.1", server.port)
        after = attempt(client, route)
    held, on_the_way, requests, released_ns = released[0]
    assert (held, on_the_way, requests) == (1, 0, 1)
    assert (publisher.held("web.1"), publisher.answering("web.1")) == (0, 0)
    assert outcome(seen)[0] is Outcome.OK
    assert not seen.reused
    assert seen.connected_ns < released_ns < seen.sent_ns
    assert (after.reused, after.port) == (True, seen.port)
    assert server.accepted == 2


def test_a_hold_never_changes_what_is_under_way_to_nothing(client: Client) -> None:
    story: list[tuple[int, int, int, int]] = []

    class Watched:
        """The words of a route that remember every change of its counters."""

        def __init__(self, words: memoryview[int]) -> None:
            self.words = words

        def __getitem__(self, index: int) -> int:
            return self.words[index]

        def __setitem__(self, index: int, value: int) -> None:
            self.words[index] = value
            story.append(tuple(self.words[at] for at in (route.way, route.held, route.flight, route.answering)))  # type: ignore[arg-type]  # four

    with answering(OK) as server:
        publisher, route = held_route(server.port)
        route.words = Watched(route.words)  # type: ignore[assignment]  # it looks like one
        when(lambda: publisher.held("web.1") == 1, lambda: publisher.release("web.1"))
        attempt(client, route)
    changes = [now for before, now in pairwise([(0, 0, 0, 0), *story]) if now != before]
    assert changes == [
        (1, 0, 0, 0),
        (1, 1, 0, 0),
        (0, 1, 0, 0),
        (1, 1, 0, 0),
        (1, 0, 0, 0),
        (1, 0, 1, 0),
        (0, 0, 1, 0),
        (0, 0, 1, 1),
        (0, 0, 0, 1),
        (0, 0, 0, 0),
    ]


def test_nobody_is_held_for_long_and_the_time_out_does_not_count_it(impatient: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is there before the hold begins, so that the server has all the time that it needs."""
    connect = Client._connect

    def connect_and_be_answered(self: Client, route: Route) -> client_module.Connection:
        connection = connect(self, route)
        until(lambda: bool(select.select([connection.sock], [], [], 0)[0]))
        return connection

    def answer_at_once(connection: socket.socket) -> None:
        connection.sendall(OK)
        servers.hang(connection)

    monkeypatch.setattr(client_module, "HOLD_S", 0.1)
    monkeypatch.setattr(Client, "_connect", connect_and_be_answered)
    with Server(answer_at_once) as server:
        _, route = held_route(server.port)
        seen = attempt(impatient, route)
    assert outcome(seen)[0] is Outcome.OK
    assert seen.sent_ns - seen.connected_ns >= 100_000_000


def test_no_more_than_a_few_are_held_at_once(client: Client) -> None:
    with answering(OK) as server:
        _, route = held_route(server.port)
        route.words[route.held] = client_module.HELD_AT_ONCE
        assert outcome(attempt(client, route))[0] is Outcome.OK
        assert route.words[route.held] == client_module.HELD_AT_ONCE


@pytest.mark.parametrize("how", ["vanish", "forget"])
def test_a_hold_ends_with_its_replica(client: Client, how: str) -> None:
    with answering(OK) as server:
        publisher, route = held_route(server.port)
        when(lambda: route.words[route.held] == 1, lambda: getattr(publisher, how)("web.1"))
        assert outcome(attempt(client, route))[0] is Outcome.OK
    assert route.words[route.held] == 0


def test_a_load_that_ends_while_a_request_is_held_leaves_it_unfinished_and_surely_not_executed(client: Client) -> None:
    with answering(OK) as server:
        _, route = held_route(server.port)
        when(lambda: route.words[route.held] == 1, client.cancel)
        assert outcome(attempt(client, route)) == (Outcome.UNFINISHED, Executed.NO)
    assert route.words[route.held] == 0


@pytest.mark.parametrize(("how", "error"), [(servers.close, "FIN"), (servers.reset, "ECONNRESET")])
def test_a_held_connection_that_its_peer_closes_is_a_refusal(client: Client, how: servers.Behaviour, error: str) -> None:
    ended = threading.Event()

    def end(connection: socket.socket) -> None:
        until(lambda: route.words[route.held] == 1)
        how(connection)
        ended.set()

    with Server(end) as server:
        publisher, route = held_route(server.port)
        when(ended.is_set, lambda: publisher.release("web.1"))
        seen = attempt(client, route)
    assert outcome(seen) == (Outcome.REFUSED, Executed.NO)
    assert (seen.reached, seen.error, seen.sent_ns) == (Reached.CONNECTED, error, 0)


# Bytes left, and no answer came.


@pytest.mark.parametrize(("how", "error"), [(servers.close, "FIN"), (servers.reset, "ECONNRESET")])
def test_a_connection_that_ends_before_any_byte_of_an_answer_is_closed_before_response(
    client: Client, how: servers.Behaviour, error: str
) -> None:
    seen = told(client, b"", then=how)
    assert outcome(seen) == (Outcome.CLOSED, Executed.UNKNOWN)
    assert (seen.reached, seen.error, seen.reused) == (Reached.SENT, error, False)


def test_a_kept_connection_that_closes_under_a_request_is_closed_before_response_on_a_reused_one(client: Client) -> None:
    with answering(OK, b"", then=servers.close) as server:
        route = route_to(server.port)
        attempt(client, route)
        seen = attempt(client, route)
    assert outcome(seen) == (Outcome.CLOSED, Executed.UNKNOWN)
    assert seen.reused


@pytest.mark.parametrize(
    ("answer", "reached"),
    [
        (b"", Reached.SENT),
        (b"HTTP/1.1 200 OK\r\nContent-", Reached.HEADERS),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", Reached.BODY),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", Reached.BODY),
    ],
)
def test_no_whole_answer_in_time_is_a_timeout_however_far_it_got(impatient: Client, answer: bytes, reached: Reached) -> None:
    came = threading.Event()

    def say_and_hang(connection: socket.socket) -> None:
        came.set()
        servers.hang(connection)

    def stand_still() -> None:
        """Let the server say what it says before the time-out is over, however long it takes."""
        while not route.words[route.flight]:
            gevent.sleep(0)
        assert came.wait(5)

    with answering(answer, then=say_and_hang) as server:
        route = route_to(server.port)
        gevent.spawn(stand_still)
        seen = attempt(impatient, route)
    assert outcome(seen) == (Outcome.TIMEOUT, Executed.UNKNOWN)
    assert seen.reached is reached


LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000


@pytest.mark.parametrize(
    ("answer", "then", "expected"),
    [
        (OK, servers.hang, Outcome.OK),
        (LONG, servers.hang, Outcome.OK),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", servers.close, Outcome.OK),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", servers.hang, Outcome.TIMEOUT),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", servers.close, Outcome.TRUNCATED),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", servers.hang, Outcome.TIMEOUT),
        (b"", servers.hang, Outcome.TIMEOUT),
        (b"", servers.close, Outcome.CLOSED),
        (b"", servers.reset, Outcome.CLOSED),
    ],
)
def test_what_came_while_this_process_stood_still_past_the_time_out_counts(
    impatient: Client, answer: bytes, then: servers.Behaviour, expected: Outcome
) -> None:
    came = threading.Event()

    def answer_and(connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(answer)
        if then is not servers.hang:
            then(connection)
        came.set()
        if then is servers.hang:
            then(connection)

    def stand_still() -> None:
        began = time.monotonic()
        assert came.wait(5)
        until(lambda: time.monotonic() > began + 0.06)

    with Server(answer_and) as server:
        route = route_to(server.port)
        gevent.spawn(stand_still)
        seen = attempt(impatient, route)
        assert outcome(seen)[0] is expected
        assert (route in impatient._connections) == (seen.ending is Ending.ANSWERED and not seen.eof)


def test_a_stream_without_an_end_times_out_although_there_is_always_more(impatient: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = iter([b"HTTP/1.1 200 OK\r\n\r\n"] + [b"x"] * 1000)

    class Bottomless(_socket.socket):
        """Has another piece whenever somebody looks after the time-out."""

        def recv(self, size: int, flags: int = 0) -> bytes:
            return next(pieces)

    monkeypatch.setattr(_socket, "socket", Bottomless)
    with answering(b"", then=servers.hang) as server:
        seen = attempt(impatient, route_to(server.port))
    assert outcome(seen)[0] is Outcome.TIMEOUT
    assert seen.reached is Reached.BODY


def test_a_connection_that_timed_out_is_not_used_again(impatient: Client) -> None:
    with answering(b"", then=servers.hang) as server:
        route = route_to(server.port)
        attempt(impatient, route)
        assert not attempt(impatient, route).reused


def test_a_load_that_ends_leaves_the_attempt_unfinished_and_perhaps_executed(client: Client) -> None:
    with answering(b"", then=servers.hang) as server:
        route = route_to(server.port)
        when(lambda: route.words[route.flight] == 1, client.cancel)
        seen = attempt(client, route)
    assert outcome(seen) == (Outcome.UNFINISHED, Executed.UNKNOWN)


# The answer was cut.


def test_a_request_is_being_answered_from_the_first_byte_to_the_end_of_the_answer(client: Client) -> None:
    readings: list[tuple[int, int]] = []

    def answer_slowly(connection: socket.socket) -> None:
        server.read(connection)
        until(lambda: route.words[route.flight] == 1)
        for piece in (OK[:10], OK[10:-1], OK[-1:]):
            readings.append((route.words[route.flight], route.words[route.answering]))
            connection.sendall(piece)
            until(lambda: route.words[route.flight] == 0)
        servers.hang(connection)

    with Server(answer_slowly) as server:
        route = route_to(server.port)
        attempt(client, route)
    assert readings == [(1, 0), (0, 1), (0, 1)]


@pytest.mark.parametrize("how", [servers.close, servers.reset])
@pytest.mark.parametrize(
    ("answer", "reached"),
    [
        (b"H", Reached.HEADERS),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n", Reached.HEADERS),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", Reached.BODY),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", Reached.BODY),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Reached.BODY),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", Reached.BODY),
        (b"HTTP/1.1 100 Continue\r\n\r\n", Reached.HEADERS),
    ],
)
def test_an_answer_that_is_cut_is_truncated_wherever_it_is_cut(
    client: Client, answer: bytes, reached: Reached, how: servers.Behaviour
) -> None:
    seen = Exchange()

    def wait_and_end(connection: socket.socket) -> None:
        until(lambda: seen.rx == len(answer))  # RST throws away what the client has not read yet
        how(connection)

    with answering(answer, then=wait_and_end) as server:
        attempt(client, route_to(server.port), seen=seen)
    assert outcome(seen) == (Outcome.TRUNCATED, Executed.UNKNOWN)
    assert seen.reached is reached


def test_an_answer_without_a_length_that_is_reset_is_truncated(client: Client) -> None:
    seen = Exchange()

    def wait_and_reset(connection: socket.socket) -> None:
        until(lambda: seen.rx > 0)
        servers.reset(connection)

    with answering(b"HTTP/1.1 200 OK\r\n\r\nhello", then=wait_and_reset) as server:
        attempt(client, route_to(server.port), seen=seen)
    assert outcome(seen) == (Outcome.TRUNCATED, Executed.UNKNOWN)


# Large requests.

LARGE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n" + b"x" * 8_000_000


def test_a_large_request_is_on_the_way_until_its_last_byte_was_handed_over(client: Client) -> None:
    under_way: list[tuple[int, int]] = []

    def look_then_read(connection: socket.socket) -> None:
        until(lambda: bool(connection.recv(1, socket.MSG_PEEK)))
        under_way.append((route.words[route.way], route.words[route.flight]))
        server.read(connection)
        until(lambda: route.words[route.flight] > 0)  # the client's thread has its turn
        under_way.append((route.words[route.way], route.words[route.flight]))
        connection.sendall(OK)

    with Server(look_then_read) as server:
        route = route_to(server.port)
        seen = attempt(client, route, LARGE)
    assert outcome(seen) == (Outcome.OK, Executed.YES)
    assert seen.tx == len(LARGE)
    assert under_way == [(1, 0), (0, 1)]


def test_an_answer_that_comes_before_the_whole_request_has_left_counts(client: Client) -> None:
    def refuse_early(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        servers.hang(connection)

    with Server(refuse_early) as server:
        seen = attempt(client, route_to(server.port), LARGE)
    assert (seen.status, seen.ending) == (413, Ending.ANSWERED)


def test_a_request_that_nobody_reads_times_out_after_a_part_of_it_has_left(impatient: Client) -> None:
    def read_nothing(connection: socket.socket) -> None:
        until(lambda: connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0)

    with Server(read_nothing) as server:
        seen = attempt(impatient, route_to(server.port), LARGE)
    assert outcome(seen) == (Outcome.TIMEOUT, Executed.UNKNOWN)
    assert 0 < seen.tx < len(LARGE)
    assert seen.reached is Reached.SENT
