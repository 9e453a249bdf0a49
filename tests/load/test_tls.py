"""Requests to a server that speaks TLS: each outcome as on a plain connection, and what only TLS has."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from harness.errors import TargetError
from harness.load.client import Client, Exchange, Expect, Security
from harness.load.table import Publisher, Route, Router, Table, lone_route
from harness.load.tls import TlsSocket
from harness.outcome import Ending, Executed, Outcome, Reached, Wire, classify
from harness.tls import tls_with
from tests.load import servers
from tests.load.servers import CERTIFICATE, OK, Server, answering, server_context

STRANGER = Path(__file__).with_name("stranger.pem")
"""An authority that has signed nothing."""

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def tls(request: pytest.FixtureRequest) -> ssl.SSLContext:
    """A server's side; the versions differ in who ends the handshake and in what comes after it."""
    return server_context(ssl.TLSVersion[request.param])


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client(timeout_s=5.0, keep_alive=True, security=Security(tls_with(str(CERTIFICATE), "")))
    yield made
    made.close()


def attempt(client: Client, route: Route, request: bytes = GET, expect: Expect | None = None) -> Exchange:
    """One exchange, after which nothing may be under way."""
    seen = Exchange()
    assert route.reserve()
    client.exchange(route, request, expect or Expect(), seen)
    assert [route.words[at] for at in (route.way, route.flight, route.answering, route.held)] == [0, 0, 0, 0]
    return seen


def outcome(seen: Exchange) -> tuple[Outcome, Executed]:
    row = classify(Wire(reached=seen.reached, ending=seen.ending, reused=seen.reused, status=seen.status, as_expected=seen.as_expected))
    return row.outcome, row.executed


def route_to(port: int, host: str = "127.0.0.1") -> Route:
    return lone_route("web.1", host, port)


def wait_for_news(client: Client, route: Route) -> None:
    """Wait until something has come on the kept connection, without looking at what."""
    with gevent.Timeout(5):
        client._wait(client._connections[route].io)


def until(condition: Callable[[], bool]) -> None:
    """Wait in a server's thread, at most five seconds."""
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)


# Answers.


def test_requests_are_answered_over_one_connection(client: Client, tls: ssl.SSLContext) -> None:
    with answering(OK, tls=tls) as server:
        route = route_to(server.port)
        answers = [attempt(client, route, expect=Expect(contains=b"hello")) for _ in range(5)]
    assert {outcome(seen) for seen in answers} == {(Outcome.OK, Executed.YES)}
    assert [seen.reused for seen in answers] == [False, True, True, True, True]
    assert server.accepted == 1
    first = answers[0]
    assert first.connected_ns <= first.sent_ns <= first.first_ns <= first.done_ns
    assert (first.tx, first.rx) == (len(GET), len(OK))


@pytest.mark.parametrize("size", [16384, 16385, 300_000])
def test_requests_and_answers_of_many_records_come_whole(client: Client, tls: ssl.SSLContext, size: int) -> None:
    body = b"x" * size
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (size, body)
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, body), tls=tls) as server:
        route = route_to(server.port)
        first, second = (attempt(client, route, request, Expect(body=body)) for _ in range(2))
    assert outcome(first) == outcome(second) == (Outcome.OK, Executed.YES)
    assert (first.tx, second.reused) == (len(request), True)
    assert server.requests == [request] * 2


def test_a_server_name_that_is_given_is_asked_for_and_checked(tls: ssl.SSLContext) -> None:
    asked: list[str] = []
    tls.sni_callback = lambda _sock, name, _context: asked.append(name)  # type: ignore[assignment]  # it returns None
    for name in ("localhost", ""):
        client = Client(timeout_s=5.0, keep_alive=True, security=Security(tls_with("" if not name else str(CERTIFICATE), name)))
        with answering(OK, tls=tls) as server:
            assert outcome(attempt(client, route_to(server.port)))[0] is Outcome.OK
        client.close()
    assert asked == ["localhost", None]


# The end of a connection.


@pytest.mark.parametrize("how", [servers.close, servers.close_with_alert, servers.say_the_end, servers.reset])
def test_a_kept_connection_that_was_closed_meanwhile_is_stale(client: Client, tls: ssl.SSLContext, how: servers.Behaviour) -> None:
    closed = threading.Event()

    def end(connection: socket.socket) -> None:
        until(lambda: bool(client._connections))  # RST throws away what the client has not read yet
        how(connection)
        closed.set()
        if how is servers.say_the_end:
            stay.wait(5)

    stay = threading.Event()
    with answering(OK, then=end, tls=tls) as server:
        route = route_to(server.port)
        assert outcome(attempt(client, route))[0] is Outcome.OK
        assert closed.wait(5)
        wait_for_news(client, route)
        stale = attempt(client, route)
        assert outcome(stale) == (Outcome.STALE, Executed.NO)
        assert (stale.reused, stale.tx, stale.error) == (True, 0, "ECONNRESET" if how is servers.reset else "FIN")
        again = attempt(client, route)
        assert (outcome(again)[0], again.reused) == (Outcome.OK, False)
        stay.set()
    assert len(server.requests) == 2


def test_bytes_that_nobody_asked_for_make_a_kept_connection_stale_and_session_tickets_do_not(client: Client, tls: ssl.SSLContext) -> None:
    said = threading.Event()

    def chatter(connection: socket.socket) -> None:
        until(lambda: bool(client._connections))
        connection.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        said.set()
        servers.hang(connection)

    with answering(OK, OK, then=chatter, tls=tls) as server:
        route = route_to(server.port)
        first, second = attempt(client, route), attempt(client, route)
        assert second.reused
        assert said.wait(5)
        wait_for_news(client, route)
        third = attempt(client, route)
    assert outcome(first)[0] is outcome(second)[0] is Outcome.OK
    assert (outcome(third)[0], third.error) == (Outcome.STALE, "UNASKED")


CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"


@pytest.mark.parametrize("how", [servers.close, servers.close_with_alert, servers.reset])
def test_an_answer_that_is_cut_is_truncated(client: Client, tls: ssl.SSLContext, how: servers.Behaviour) -> None:
    seen = Exchange()

    def wait_and_end(connection: socket.socket) -> None:
        until(lambda: seen.rx == len(CUT))  # RST throws away what the client has not read yet
        how(connection)

    with answering(CUT, then=wait_and_end, tls=tls) as server:
        route = route_to(server.port)
        route.reserve()
        client.exchange(route, GET, Expect(), seen)
    assert outcome(seen) == (Outcome.TRUNCATED, Executed.UNKNOWN)
    assert (seen.reached, seen.error) == (Reached.BODY, "ECONNRESET" if how is servers.reset else "FIN")


@pytest.mark.parametrize("how", [servers.close, servers.close_with_alert, servers.reset])
def test_a_connection_that_ends_before_any_byte_of_an_answer_is_closed_before_response(
    client: Client, tls: ssl.SSLContext, how: servers.Behaviour
) -> None:
    with answering(b"", then=how, tls=tls) as server:
        seen = attempt(client, route_to(server.port))
    assert outcome(seen) == (Outcome.CLOSED, Executed.UNKNOWN)
    assert seen.reached is Reached.SENT


def test_a_whole_answer_needs_no_closure_alert(client: Client, tls: ssl.SSLContext) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", then=servers.close, tls=tls) as server:
        seen = attempt(client, route_to(server.port))
    assert (outcome(seen)[0], seen.eof) == (Outcome.OK, False)


@pytest.mark.parametrize(
    ("how", "expected"),
    [(servers.close_with_alert, Outcome.OK), (servers.say_the_end, Outcome.OK), (servers.close, Outcome.TRUNCATED)],
)
def test_an_answer_without_a_length_is_whole_only_by_the_closure_alert(
    client: Client, tls: ssl.SSLContext, how: servers.Behaviour, expected: Outcome
) -> None:
    def end(connection: socket.socket) -> None:
        how(connection)
        if how is servers.say_the_end:
            until(stay.is_set)  # FIN comes long after the alert

    stay = threading.Event()
    with answering(b"HTTP/1.1 200 OK\r\n\r\nhello", then=end, tls=tls) as server:
        seen = attempt(client, route_to(server.port))
        stay.set()
    assert outcome(seen)[0] is expected
    assert not seen.eof, "the alert told the end, which a process that dies does not send"


def test_what_is_no_tls_in_the_middle_of_an_answer_truncates_it(client: Client, tls: ssl.SSLContext) -> None:
    def talk_plain(connection: socket.socket) -> None:
        socket.socket.sendall(connection, b"plain text")  # past the encryption
        servers.hang(connection)

    with answering(CUT, then=talk_plain, tls=tls) as server:
        seen = attempt(client, route_to(server.port))
    assert outcome(seen) == (Outcome.TRUNCATED, Executed.UNKNOWN)
    assert seen.error == "TLS"


# The handshake.


def handshake_ends(how: servers.Behaviour) -> Server:
    """A server that reads the client's first words and ends the connection."""

    def end(connection: socket.socket) -> None:
        connection.recv(65536)
        how(connection)

    return Server(end)


@pytest.mark.parametrize(("how", "error"), [(servers.close, "FIN"), (servers.reset, "ECONNRESET")])
def test_a_replica_that_ends_during_the_handshake_refuses(client: Client, how: servers.Behaviour, error: str) -> None:
    with handshake_ends(how) as server:
        seen = attempt(client, route_to(server.port))
    assert outcome(seen) == (Outcome.REFUSED, Executed.NO)
    assert (seen.reached, seen.error, seen.connected_ns, seen.tx) == (Reached.NOTHING, error, 0, 0)


def test_a_handshake_that_is_not_over_in_time_is_a_refusal() -> None:
    client = Client(timeout_s=0.05, keep_alive=True, security=Security(tls_with("", "")))
    with Server(servers.hang) as server:
        seen = attempt(client, route_to(server.port))
    client.close()
    assert outcome(seen) == (Outcome.REFUSED, Executed.NO)
    assert seen.ending is Ending.TIMEOUT


def test_a_load_that_ends_during_the_handshake_leaves_the_attempt_unfinished(client: Client) -> None:
    with Server(servers.hang) as server:
        gevent.spawn_later(0.01, client.cancel)
        assert outcome(attempt(client, route_to(server.port))) == (Outcome.UNFINISHED, Executed.NO)


@pytest.mark.parametrize(("ca", "name"), [(CERTIFICATE, "elsewhere"), (STRANGER, "")])
def test_a_certificate_that_is_refused_from_the_first_is_an_error_of_its_own(tls: ssl.SSLContext, ca: Path, name: str) -> None:
    client = Client(timeout_s=5.0, keep_alive=True, security=Security(tls_with(str(ca), name)))
    with answering(OK, tls=tls) as server:
        route = route_to(server.port)
        with pytest.raises(TargetError, match=r"web\.1: its certificate was refused: .*tls: true"):
            attempt(client, route)
    assert route.words[route.way] == 0
    client.close()


def test_an_app_without_tls_is_an_error_of_its_own(client: Client) -> None:
    plain = Server(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with plain as server, pytest.raises(TargetError, match="does not speak TLS"):
        attempt(client, route_to(server.port))


def test_a_certificate_that_is_refused_later_is_a_refusal_of_that_replica(client: Client, tls: ssl.SSLContext) -> None:
    with answering(OK, tls=tls) as server:
        assert outcome(attempt(client, route_to(server.port)))[0] is Outcome.OK
        client._security = late = Security(tls_with(str(STRANGER), ""))
        late.proven = True
        elsewhere = attempt(client, route_to(server.port))
    assert outcome(elsewhere) == (Outcome.REFUSED, Executed.NO)
    assert (elsewhere.reached, elsewhere.error) == (Reached.NOTHING, "CERTIFICATE")


# A hold.


def test_a_held_connection_has_shaken_hands_and_carries_no_byte_of_the_request(client: Client, tls: ssl.SSLContext) -> None:
    table = Table.create()
    publisher, router = Publisher(table), Router(table)
    released: list[tuple[int, int]] = []

    def release() -> None:
        with gevent.Timeout(5):
            while not publisher.held("web.1"):
                gevent.sleep(0.001)
        gevent.sleep(0.01)
        released.append((len(server.requests), time.monotonic_ns()))
        publisher.release("web.1")

    with answering(OK, tls=tls) as server:
        publisher.publish("web.1", "127.0.0.1", server.port)
        publisher.hold("web.1")
        route = router.pick()
        assert route is not None
        route.release()
        gevent.spawn(release)
        seen = attempt(client, route)
    assert outcome(seen)[0] is Outcome.OK
    assert released[0][0] == 0
    assert seen.connected_ns < released[0][1] < seen.sent_ns


# The socket itself.


def test_a_record_of_which_a_part_has_left_is_not_sent_until_the_rest_has() -> None:
    class Slow:
        """Takes ten bytes at a time, and every second time none."""

        def __init__(self) -> None:
            self.taken, self.turn = b"", 0

        def send(self, data: bytes) -> int:
            self.turn += 1
            if self.turn % 2:
                raise BlockingIOError
            self.taken += data[:10]
            return min(10, len(data))

    class Plain:
        """Encrypts nothing."""

        def __init__(self, outgoing: ssl.MemoryBIO) -> None:
            self.outgoing = outgoing

        def write(self, data: bytes) -> int:
            return self.outgoing.write(data)

    slow = Slow()
    sock = TlsSocket(slow, tls_with("", ""), "127.0.0.1")  # type: ignore[arg-type]  # it only sends
    sock._tls = Plain(sock._outgoing)  # type: ignore[assignment]  # as above
    data, tries, left = b"0123456789" * 5, 0, True
    while left:
        tries += 1
        try:
            assert sock.send(data) == 50
            left = False
        except BlockingIOError:
            assert len(slow.taken) < 50
    assert (slow.taken, tries) == (data, 6)
