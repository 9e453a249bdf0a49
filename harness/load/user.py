"""What a user does: ops, one after the other, each with as many attempts as the outcome table allows, all of them on record.

The closed model has users who wait for their answer, think, and go on. The open model has arrivals at a constant distance that wait for
no answer: each is given to the user who became idle last, whose connections are the warmest, or to the first who becomes idle when none
is. An op that begins late is counted as such, and its latency is counted from the instant at which it was due.

An op goes to the replicas in turns. What surely was not executed goes to another replica, at most once to each; a connection that its
peer had closed before a byte left is replaced by a new one; everything else is sent again only when the scenario allows retries. Each
of these is an attempt of its own in the ledger. An op of a stream is a whole subscription (`harness.load.streams`).
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import gevent
from gevent import get_hub, getcurrent

from harness.clock import NS_PER_S, Dice
from harness.history import AnyLine, Close, Invoke
from harness.load import table
from harness.load.client import Client, Exchange, Expect, Security
from harness.load.sending import Sending
from harness.load.state import StateClient, Workloads
from harness.load.streams import StreamClient, Streaming, Subscription
from harness.outcome import Ending, Executed, Outcome, Reached, Row, Wire, classify, may_send_again
from harness.tls import tls_with

if TYPE_CHECKING:
    from harness.load.spec import LoadSpec, RequestSpec
    from harness.load.table import Route, Router

_now_ns = time.monotonic_ns

# As in `harness.load.client`: by a name of its own it is found sooner.
_OK: Final = Outcome.OK
_NOT: Final = Executed.NO

LATE_NS: Final = 100_000_000
"""An arrival that begins so long after it was due is late."""

NOWHERE_S: Final = 0.01
"""The pause of a user who found no replica, so that a target that is down is not asked a hundred thousand times a second."""


class Ledger(Protocol):
    """Where lines go; each is safe from SIGKILL when `append` returns."""

    def append(self, line: AnyLine) -> None:
        """Write one line."""
        ...


def _compiled(index: int, spec: RequestSpec, *, keep_alive: bool) -> Sending | Streaming:
    return Streaming(index, spec, spec.stream) if spec.stream is not None else Sending(index, spec, keep_alive=keep_alive)


class Sent(NamedTuple):
    """How a request ended: whether its last attempt was executed, whether an earlier one may have been, and who saw the last one."""

    executed: Executed
    unsure: bool
    seen: Exchange
    replica: str
    attempts: int


class Asker(Protocol):
    """Who sends requests: a number, and connections of its own."""

    number: int
    client: Client


class Crowd:
    """All users of a load: what they share, and the books of what they do.

    ``begun``, ``invoked`` and ``closed`` count ops and attempts, ``open_ops`` those under way, ``arrivals`` and ``late`` the arrivals of
    the open model, and ``crowded`` those of the late ones that would have begun in time had a user been idle.
    """

    def __init__(self, spec: LoadSpec, router: Router, ledger: Ledger, words: memoryview[int]) -> None:
        self.spec = spec
        self.clients: list[Client] = []
        self.invoked = self.closed = self.begun = self.open_ops = self.arrivals = self.late = self.crowded = 0
        self._stopping = self._cancelled = False
        self._router = router
        self.append = self._append = ledger.append
        self._words = words
        self._sendings = [_compiled(index, request, keep_alive=spec.keep_alive) for index, request in enumerate(spec.requests)]
        self._client = StreamClient if any(request.stream for request in spec.requests) else Client
        self._weights = list(accumulate(request.weight for request in spec.requests))
        self._dice = Dice(spec.seed).fork("load")
        self._security = Security(tls_with(spec.tls.ca, spec.tls.server_name)) if spec.tls is not None else None
        self.workloads = Workloads(self, spec)
        self._idle: list[User] = []
        self._overdue: deque[tuple[int, bool]] = deque()

    def new_user(self) -> User | StateClient:
        """A user, or a client of a workload, with connections of its own, for the greenlet that calls this."""
        client = self._client(timeout_s=self.spec.timeout_s, keep_alive=self.spec.keep_alive, security=self._security)
        self.clients.append(client)
        number = len(self.clients)
        dice = self._dice.fork(f"user {number}")
        if number <= self.spec.users or not self.workloads.total:
            return User(self, number, client, dice)
        return self.workloads.client(number, client, dice)

    @property
    def stopping(self) -> bool:
        """No new op begins. Once it is set, streams are complete with what they have."""
        return self._stopping

    @stopping.setter
    def stopping(self, stopping: bool) -> None:
        self._stopping = stopping
        for client in self.clients:
            if isinstance(client, StreamClient):
                client.nudge()

    def cancel(self) -> None:
        """What is still under way ends as unfinished."""
        self._cancelled = True
        self.stopping = True
        for client in self.clients:
            client.cancel()

    def arrive(self) -> None:
        """The arrivals of the open model, until the load stops; for a greenlet of its own."""
        start_ns, number = _now_ns(), 0
        while not self.stopping:
            due_ns = start_ns + round(number * NS_PER_S / self.spec.rate_per_s)
            ahead_ns = due_ns - _now_ns()
            if ahead_ns > 0:
                gevent.sleep(ahead_ns / NS_PER_S)
                continue
            number += 1
            if self._idle:
                self._idle.pop().take(due_ns)
            else:
                self._overdue.append((due_ns, -ahead_ns <= LATE_NS))

    def leave_overdue(self) -> None:
        """The load is over: arrivals for which nobody was idle in time count as late, although they never began."""
        never = sum(_now_ns() - due_ns > LATE_NS for due_ns, _ in self._overdue)
        self._overdue.clear()
        self.arrivals += never
        self.late += never
        self.crowded += never

    def wait_arrival(self, user: User) -> int:
        """The instant at which the op that ``user`` is to begin now was due."""
        if self._overdue:
            due_ns, was_in_time = self._overdue.popleft()
            self.crowded += was_in_time and _now_ns() - due_ns > LATE_NS
        else:
            self._idle.append(user)
            due_ns = get_hub().switch()
        return due_ns

    def op(self, user: User, due_ns: int = 0) -> bool:
        """One op from its first attempt to its end; false when it found no replica to go to. ``due_ns`` belongs to an arrival."""
        return self.book(lambda number: self._attempts(user, number, due_ns), due_ns)

    def book(self, act: Callable[[int], bool], due_ns: int = 0) -> bool:
        """Do ``act`` as an op of its own, whose number it gets."""
        if due_ns:
            self.arrivals += 1
            self.late += _now_ns() - due_ns > LATE_NS
        self.begun += 1
        number = self.begun
        self._words[table.BEGUN] = number
        self.open_ops += 1
        try:
            return act(number)
        finally:
            self.open_ops -= 1

    def _attempts(self, user: User, number: int, due_ns: int) -> bool:
        sending = self._choose(user.dice)
        if isinstance(sending, Streaming):
            return Subscription(self, user, sending, number).run(due_ns)
        rendered = sending.render(user.dice, user=user.number, seq=number)
        return self.send(user, number, sending, rendered, due_ns).executed is not _NOT

    def send(self, user: Asker, number: int, sending: Sending, rendered: tuple[bytes, bytes, Expect], due_ns: int = 0) -> Sent:
        """Send one request of op ``number`` until the outcome table says that it is over."""
        start, rest, expect = rendered
        step = self._words[table.STEP]
        way = _Way(self, sending.repeatable)
        unsure = False
        route = way.first()
        n = 0
        while True:
            at_ns = _now_ns()
            due_ns = due_ns or at_ns
            name = route.name if route is not None else ""
            self.invoked += 1
            self._append(
                Invoke(op=number, n=n, user=user.number, request=sending.index, replica=name, step=step, at_ns=at_ns, due_ns=due_ns)
            )
            if route is None:
                self.close(number, n, _NO_REPLICA, Outcome.REFUSED, last=True)
                return Sent(Executed.NO, unsure, _NO_REPLICA, "", n + 1)
            request = sending.whole(start, rest, route.authority, (number, n))
            seen = Exchange()
            try:
                user.client.exchange(route, request, expect, seen)
            except BaseException:
                self.close(number, n, seen, Outcome.UNFINISHED, last=True)
                raise
            row = _row(seen.reached, seen.ending, seen.reused, seen.status, seen.as_expected)
            route = None if row.outcome is _OK else way.after(route, row)
            self.close(number, n, seen, row.outcome, last=route is None)
            if route is None:
                return Sent(row.executed, unsure, seen, name, n + 1)
            unsure |= row.executed is not _NOT
            n += 1

    def _choose(self, dice: Dice) -> Sending | Streaming:
        weights = self._weights
        if len(weights) == 1:
            return self._sendings[0]
        return self._sendings[bisect_right(weights, dice.uniform() * weights[-1])]

    def close(self, op: int, n: int, seen: Exchange, outcome: Outcome, *, last: bool) -> None:
        """Put the end of an attempt on record."""
        self.closed += 1
        self._append(
            Close(
                op=op,
                n=n,
                outcome=outcome,
                reached=seen.reached,
                last=last,
                done_ns=seen.done_ns or _now_ns(),
                connected_ns=seen.connected_ns,
                sent_ns=seen.sent_ns,
                first_ns=seen.first_ns,
                reused=seen.reused,
                status=seen.status,
                tx=seen.tx,
                rx=seen.rx,
                port=seen.port,
                eof=seen.eof,
                error=seen.error,
            )
        )

    def route(self, tried: set[Route] | None = None) -> Route | None:
        """The next replica's turn, with a request reserved on it."""
        route = self._router.pick(tried or ())
        while self._router.gone:
            gone = self._router.gone.pop()
            for client in self.clients:
                client.drop(gone)
        return route

    @property
    def step(self) -> int:
        """The step in progress."""
        return self._words[table.STEP]

    @property
    def cancelled(self) -> bool:
        """Nothing may be sent again."""
        return self._cancelled


class _Way:
    """The way of one op from replica to replica."""

    __slots__ = ("_crowd", "_repeatable", "_retries_left", "_tried")

    def __init__(self, crowd: Crowd, repeatable: str) -> None:
        self._crowd = crowd
        self._repeatable = repeatable
        self._retries_left = crowd.spec.retries
        self._tried: set[Route] = set()

    def first(self) -> Route | None:
        """The replica whose turn it is; None when none is published."""
        return self._crowd.route()

    def after(self, route: Route, row: Row) -> Route | None:
        """Where the op goes after its attempt at ``route`` ended as ``row``; None when it is over."""
        if self._crowd.cancelled or not may_send_again(row, method=self._repeatable, retries_left=self._retries_left):
            return None
        if row.outcome is Outcome.STALE:
            return route if route.reserve() else self._crowd.route(self._tried)
        if row.executed is Executed.NO:
            self._tried.add(route)
            return self._crowd.route(self._tried)
        self._retries_left -= 1
        self._tried = set()
        return self._crowd.route({route}) or (route if route.reserve() else None)


class User:
    """One user: a number, connections of its own, and its share of the run's dice."""

    def __init__(self, crowd: Crowd, number: int, client: Client, dice: Dice) -> None:
        self.number = number
        self.client = client
        self.dice = dice
        self._crowd = crowd
        self._switch = getcurrent().switch

    def live(self) -> None:
        """Do ops until the load stops."""
        if self._crowd.spec.rate_per_s:
            self._serve_arrivals()
        else:
            self._ask_and_think()

    def take(self, due_ns: int) -> None:
        """Wake this idle user for an op that was due at ``due_ns``."""
        get_hub().loop.run_callback(self._switch, due_ns)

    def _ask_and_think(self) -> None:
        crowd, think_s = self._crowd, self._crowd.spec.think_s
        gevent.sleep(think_s * self.dice.uniform())  # users do not come in step
        while not crowd.stopping:
            pause_s = think_s if crowd.op(self) else max(think_s, NOWHERE_S)
            if pause_s:
                gevent.sleep(pause_s)

    def _serve_arrivals(self) -> None:
        crowd = self._crowd
        while not crowd.stopping:
            due_ns = crowd.wait_arrival(self)
            if not crowd.stopping and not crowd.op(self, due_ns):
                gevent.sleep(0)  # an op without a replica never waited, and the others want their turn


@cache
def _row(reached: Reached, ending: Ending, reused: bool, status: int, as_expected: bool) -> Row:  # noqa: FBT001  a key of a cache
    """The row of the outcome table; remembered, because nearly all attempts end alike."""
    return classify(Wire(reached=reached, ending=ending, reused=reused, status=status, as_expected=as_expected))


def _no_replica() -> Exchange:
    seen = Exchange()
    seen.ending = Ending.REFUSED
    seen.error = "NO_REPLICA"
    return seen


_NO_REPLICA: Final = _no_replica()
