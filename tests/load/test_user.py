"""Ops: where they go, what is sent again, and that each attempt is written down and closed once."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise

import gevent
import pytest

from harness.clock import NS_PER_S
from harness.history import AnyLine, Close, Header, History, Invoke, build
from harness.load import streams as streams_module
from harness.load import table
from harness.load import user as user_module
from harness.load.spec import LoadSpec, RequestSpec
from harness.load.table import Publisher, Router, Table
from harness.load.user import Crowd, User
from harness.outcome import Outcome
from tests.load import servers
from tests.load.servers import OK, CountingServer, Server, answering

GET = RequestSpec(method="GET", path="/", idempotent=True)
POST = RequestSpec(method="POST", path="/", body="x")
HEADER = Header(format=1, run_id="r", harness="0", engine="fake", seed=1, scenario="{}", scenario_path="s", started_ns=0, wall_start="")


class Books:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.lines: list[AnyLine] = []

    def append(self, line: AnyLine) -> None:
        """Keep one line."""
        self.lines.append(line)

    def history(self) -> History:
        """What a check would read."""
        return build([HEADER, *self.lines])

    def ops(self) -> list[str]:
        """The outcome of each op."""
        return [list(Outcome)[code].value for code in self.history().ops.outcome]

    def attempts(self) -> list[tuple[str, str]]:
        """Replica and outcome of each attempt, in the order of the ledger; each is closed once before the next one leaves."""
        found = []
        for invoke, close in zip(self.lines[::2], self.lines[1::2], strict=True):
            assert isinstance(invoke, Invoke)
            assert isinstance(close, Close)
            assert (invoke.op, invoke.n) == (close.op, close.n)
            found.append((invoke.replica, close.outcome))
        return found


class World:
    """A crowd with its books and the harness's side of the routing table."""

    def __init__(self, spec: LoadSpec) -> None:
        shared = Table.create()
        shared.close()
        self.publisher = Publisher(shared)
        self.books = Books()
        self.crowd = Crowd(spec, Router(shared), self.books, shared.words)
        self.words = shared.words

    def publish(self, *ports: int) -> None:
        """``web.1`` at the first port, and so on."""
        for number, port in enumerate(ports, start=1):
            self.publisher.publish(f"web.{number}", "127.0.0.1", port)

    def nothing_under_way(self) -> bool:
        """No request is on its way or in flight."""
        return not any(self.publisher.on_the_way(f"web.{n}") or self.publisher.in_flight(f"web.{n}") for n in range(5))


@contextmanager
def world(*requests: RequestSpec, **changes: object) -> Iterator[tuple[World, User]]:
    """A world and one user of it, whose connections are closed at the end."""
    spec = LoadSpec(**{"seed": 1, "requests": requests or (GET,), "timeout_s": 2.0, **changes})  # type: ignore[arg-type]  # a test changes any of them
    made = World(spec)
    user = made.crowd.new_user()
    yield made, user
    assert made.nothing_under_way()
    for client in made.crowd.clients:
        client.close()


def test_ops_go_to_all_replicas_in_turns() -> None:
    with ExitStack() as stack, world() as (w, user):
        running = [stack.enter_context(CountingServer()) for _ in range(3)]
        w.publish(*(server.port for server in running))
        for _ in range(30):
            assert w.crowd.op(user)
        assert [server.count for server in running] == [10, 10, 10]
    assert w.books.ops() == ["ok"] * 30
    assert w.words[table.BEGUN] == 30


def test_a_refused_op_goes_to_each_other_replica_once_and_is_redirected() -> None:
    with answering(OK) as server, world() as (w, user):
        w.publish(servers.closed_port(), servers.closed_port(), server.port)
        for _ in range(6):
            assert w.crowd.op(user)
    assert Counter(w.books.ops()) == {"ok": 2, "redirected": 4}
    assert Counter(w.books.attempts())["web.3", "ok"] == 6
    assert all(attempts <= 3 for attempts in w.books.history().ops.attempts)


def test_the_share_of_a_replica_that_is_down_is_spread_over_all_others() -> None:
    with ExitStack() as stack, world() as (w, user):
        running = [stack.enter_context(CountingServer()) for _ in range(3)]
        w.publish(servers.closed_port(), *(server.port for server in running))
        for _ in range(120):
            w.crowd.op(user)
        assert [server.count for server in running] == [40, 40, 40]


def test_an_op_that_every_replica_refuses_is_unavailable_after_one_attempt_at_each() -> None:
    with world() as (w, user):
        w.publish(servers.closed_port(), servers.closed_port())
        assert not w.crowd.op(user)
    assert w.books.ops() == ["unavailable"]
    assert sorted(w.books.attempts()) == [("web.1", "refused"), ("web.2", "refused")]


def test_an_op_without_any_replica_is_unavailable_and_on_record() -> None:
    with world() as (w, user):
        assert not w.crowd.op(user)
    assert w.books.ops() == ["unavailable"]
    assert w.books.attempts() == [("", "refused")]
    assert w.books.history().attempts.errors[0] == "NO_REPLICA"


def test_a_stale_connection_is_replaced_by_a_new_one_to_the_same_replica() -> None:
    with answering(OK, then=servers.close) as server, world(POST) as (w, user):
        w.publish(server.port)
        assert w.crowd.op(user)
        with gevent.Timeout(5):
            for connection in user.client._connections.values():
                user.client._wait(connection.io)
        assert w.crowd.op(user)
    assert w.books.attempts() == [("web.1", "ok"), ("web.1", "stale-connection"), ("web.1", "ok")]
    assert w.books.ops() == ["ok", "ok"]


def test_a_stale_connection_to_a_withdrawn_replica_sends_the_op_elsewhere() -> None:
    def behave(connection: object) -> None:
        w.publisher.withdraw("web.1")

    with answering(OK, then=behave) as first, CountingServer() as second, world() as (w, user):
        w.publish(first.port)
        assert w.crowd.op(user)
        with gevent.Timeout(5):
            for connection in user.client._connections.values():
                user.client._wait(connection.io)
        w.publisher.publish("web.1", "127.0.0.1", first.port)
        w.publisher.publish("web.2", "127.0.0.1", second.port)
        route = w.crowd.route()
        assert route is not None
        route.release()
        withdraw_at_peek(w, user)
        for _ in range(2):
            w.crowd.op(user)
    assert ("web.1", "stale-connection") in w.books.attempts()
    assert [replica for replica, outcome in w.books.attempts()[1:] if outcome == "ok"] == ["web.2", "web.2"]


def withdraw_at_peek(w: World, user: User) -> None:
    """Withdraw ``web.1`` in the middle of the next look at a kept connection."""
    usable = user.client._usable

    def withdraw_first(route: object, seen: object) -> object:
        if route in user.client._connections:
            w.publisher.withdraw("web.1")
        return usable(route, seen)  # type: ignore[arg-type]  # as the original takes it

    user.client._usable = withdraw_first  # type: ignore[method-assign, assignment]  # as the original takes it


@pytest.mark.parametrize(
    ("request_", "retries", "outcome"),
    [(GET, 0, "closed-before-response"), (GET, 1, "retried"), (POST, 1, "closed-before-response")],
)
def test_what_may_have_been_executed_is_sent_again_only_as_the_scenario_allows(request_: RequestSpec, retries: int, outcome: str) -> None:
    def end(connection: object) -> None:
        """Close without an answer."""

    with Server(end) as bad, answering(OK) as good, world(request_, retries=retries) as (w, user):
        w.publish(bad.port, good.port)
        for _ in range(2):
            w.crowd.op(user)
    assert sorted(w.books.ops()) == sorted(["ok", outcome])


def test_a_retry_goes_to_the_same_replica_when_there_is_no_other_and_ends_with_the_last_allowed_one() -> None:
    with answering(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") as server, world(retries=2) as (w, user):
        w.publish(server.port)
        w.crowd.op(user)
    assert w.books.attempts() == [("web.1", "rejected")] * 3
    assert w.books.ops() == ["rejected"]


def test_a_request_carries_its_values_and_the_numbers_of_op_and_attempt() -> None:
    spec = RequestSpec(
        method="POST",
        path="/items/{id}?u={user}",
        headers=(("X-A", "{uuid}"),),
        json='{"name": "{uuid}", "n": "{id}"}',
        body_contains="{uuid}",
    )
    with Server(lambda connection: connection.sendall(echo(server.read(connection)))) as server, world(spec) as (w, user):
        w.publish(server.port)
        w.crowd.op(user)
        request = server.requests[0].decode()
    number, uuid = re.findall(r"/items/(\d+)\?u=1 ", request)[0], re.findall(r"X-A: (.*)\r\n", request)[0]
    assert request.endswith(f'\r\n\r\n{{"name":"{uuid}","n":{number}}}')
    assert "\r\nX-Request-Id: 1-0\r\n" in request
    assert f"\r\nHost: 127.0.0.1:{server.port}\r\n" in request
    assert "\r\nContent-Type: application/json\r\n" in request
    assert w.books.ops() == ["ok"]


def echo(request: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(request) + request


def test_headers_of_the_scenario_win_over_the_loads_own() -> None:
    spec = RequestSpec(
        method="GET", path="/", headers=(("host", "shop.example"), ("user-agent", "me"), ("X-Request-ID", "mine"), ("accept", "a/b"))
    )
    with answering(OK) as server, world(spec, keep_alive=False) as (w, user):
        w.publish(server.port)
        w.crowd.op(user)
        request = server.requests[0].decode()
    names = [line.partition(":")[0].lower() for line in request.split("\r\n")[1:-2]]
    assert sorted(names) == ["accept", "connection", "host", "user-agent", "x-request-id"]


def test_requests_are_chosen_by_weight_and_the_same_seed_sends_the_same() -> None:
    def sent() -> list[str]:
        specs = (RequestSpec(method="GET", path="/a/{id}", weight=3), RequestSpec(method="GET", path="/b/{id}"))
        with answering(OK) as server, world(*specs) as (w, user):
            w.publish(server.port)
            for _ in range(60):
                w.crowd.op(user)
            return [request.split(b" ")[1].decode() for request in server.requests]

    paths = sent()
    assert paths == sent()
    assert 30 <= sum(path.startswith("/a/") for path in paths) <= 57


def test_an_answer_whose_end_only_the_end_of_its_connection_told_is_on_record() -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\nhello", then=servers.close) as server, world() as (w, user):
        w.publish(server.port)
        w.crowd.op(user)
    assert [line.eof for line in w.books.lines if isinstance(line, Close)] == [True]
    assert w.books.ops() == ["ok"]


def test_the_step_of_an_op_is_the_one_in_which_it_began() -> None:
    with answering(OK) as server, world() as (w, user):
        w.publish(server.port)
        w.crowd.op(user)
        w.publisher.set_step(7)
        w.crowd.op(user)
    assert w.books.history().attempts.step.tolist() == [0, 7]


def test_a_cancelled_load_closes_what_is_under_way_as_unfinished_and_sends_nothing_again() -> None:
    def cancel() -> None:
        with gevent.Timeout(5):
            while w.publisher.in_flight("web.1") == 0:
                gevent.sleep(0.001)
        w.publisher.publish("web.2", "127.0.0.1", other.port)
        w.crowd.cancel()

    with answering(b"", then=servers.hang) as server, CountingServer() as other, world(retries=5) as (w, user):
        w.publish(server.port)
        gevent.spawn(cancel)
        w.crowd.op(user)
        assert other.count == 0
    assert w.books.attempts() == [("web.1", "unfinished")]
    assert (w.crowd.invoked, w.crowd.closed, w.crowd.open_ops) == (1, 1, 0)


def test_a_user_that_is_killed_leaves_no_attempt_open() -> None:
    with answering(b"", then=servers.hang) as server, world() as (w, _):
        w.publish(server.port)
        greenlet = gevent.spawn(lambda: w.crowd.op(w.crowd.new_user()))
        with gevent.Timeout(5):
            while w.publisher.in_flight("web.1") == 0:
                gevent.sleep(0.001)
        greenlet.kill()
    assert w.books.attempts() == [("web.1", "unfinished")]


def test_connections_to_a_replica_that_was_forgotten_are_closed() -> None:
    with CountingServer() as first, CountingServer() as second, world() as (w, user):
        w.publish(first.port, second.port)
        for _ in range(2):
            w.crowd.op(user)
        assert len(user.client._connections) == 2
        w.publisher.forget("web.1")
        w.crowd.op(user)
        assert [route.name for route in user.client._connections] == ["web.2"]


def test_arrivals_are_due_at_a_constant_distance_and_go_to_the_user_who_was_idle_last() -> None:
    with CountingServer() as server, world(rate_per_s=1000.0, users=5) as (w, _):
        w.publish(server.port)
        play(w, lambda: w.crowd.begun >= 50)
    attempts = w.books.history().attempts
    dues = sorted(attempts.due_ns.tolist())
    assert {later - sooner for sooner, later in pairwise(dues)} == {1_000_000}
    assert all(attempts.invoke_ns >= attempts.due_ns)
    assert w.crowd.arrivals == len(attempts)


class Turns:
    """The load's clock, which goes on by at most ten milliseconds in a turn of the loop: it stands still when this process does.

    Attributes:
        speed: How many times as fast as the real one it goes.
        held: Whether it stands still.
    """

    def __init__(self) -> None:
        self.now_ns = self.began_ns = time.monotonic_ns()
        self.speed = 1
        self.held: Callable[[], bool] = lambda: False
        self.greenlet = gevent.spawn(self._turn)

    @property
    def passed_s(self) -> float:
        return (self.now_ns - self.began_ns) / NS_PER_S

    def _turn(self) -> None:
        before_ns = time.monotonic_ns()
        while True:
            gevent.sleep(0.001)
            now_ns = time.monotonic_ns()
            if not self.held():
                self.now_ns += min(now_ns - before_ns, 10_000_000) * self.speed
            before_ns = now_ns


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[Turns]:
    made = Turns()
    for module in (user_module, streams_module):
        monkeypatch.setattr(module, "_now_ns", lambda: made.now_ns)
    yield made
    made.greenlet.kill()


@pytest.mark.slow
@pytest.mark.usefixtures("turns")
def test_arrivals_that_find_no_idle_user_are_late_and_never_left_out() -> None:
    def slow(connection: socket.socket) -> None:
        while server.read(connection):
            time.sleep(0.05)
            connection.sendall(OK)

    with Server(slow) as server, world(rate_per_s=500.0, users=2) as (w, _):
        w.publish(server.port)
        play(w, lambda: w.crowd.late > 2)
    assert w.crowd.crowded == w.crowd.late > 0
    dues = sorted(set(w.books.history().attempts.due_ns.tolist()))
    assert {later - sooner for sooner, later in pairwise(dues)} == {2_000_000}


@pytest.mark.slow
def test_arrivals_that_nobody_was_idle_for_until_the_end_count_as_late(turns: Turns) -> None:
    def never(connection: socket.socket) -> None:
        while server.read(connection):
            pass

    with Server(never) as server, world(rate_per_s=100.0, users=1, timeout_s=30.0) as (w, _):
        w.publish(server.port)
        play(w, lambda: turns.passed_s > 0.3)
        begun = w.crowd.arrivals
        w.crowd.leave_overdue()
    assert begun == 1
    assert w.crowd.crowded == w.crowd.late >= 10  # those of the first tenth of a second, at the least, were over a tenth late


@pytest.mark.slow
def test_arrivals_that_are_late_because_this_process_stood_still_are_not_crowded(turns: Turns) -> None:
    def stand_still() -> None:
        while w.crowd.begun < 5:
            gevent.sleep(0.001)
        turns.now_ns += 300_000_000

    with CountingServer() as server, world(rate_per_s=100.0, users=2) as (w, _):
        w.publish(server.port)
        turns.held = lambda: bool(w.crowd.open_ops or w.crowd._overdue)  # the app takes no time
        gevent.spawn(stand_still)
        play(w, lambda: w.crowd.begun >= 45)
    assert w.crowd.late >= 10
    assert w.crowd.crowded == 0


def play(w: World, over: Callable[[], bool]) -> None:
    """Let the crowd live until that."""
    users = [gevent.spawn(lambda: w.crowd.new_user().live()) for _ in range(w.crowd.spec.users)]
    arrivals = gevent.spawn(w.crowd.arrive)
    with gevent.Timeout(10):
        while not over():
            gevent.sleep(0.001)
        w.crowd.cancel()
        while w.crowd.open_ops:
            gevent.sleep(0.001)
    gevent.killall([*users, arrivals])
