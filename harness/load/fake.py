"""A load that exists only on a fake clock: the whole pipeline plays in milliseconds against it, and a rehearsal needs nothing else.

Ops arrive at a constant rate, go to the published replicas in turns and take a constant time, in the last quarter of which the answer
comes. An op whose replica ends meanwhile is closed before its response or has a truncated one; one that finds its replica gone is
refused and goes to the next, and so is one whose replica ends while it is held. Nothing is written before `FakeLoad.stop`,
because an exit may be told after its instant; then the ledger is laid out as a real load would have written it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from harness.clock import NS_PER_S, Clock
from harness.history import AnyLine, Close, Control, Generator, Invoke, LoadBegan, LoadEnded
from harness.load.table import HELD_AT_ONCE, HOLD_S
from harness.load.tail import Demand
from harness.outcome import Outcome, Reached

_CONTROL_NS = 100_000_000
_SAMPLE_NS = 250_000_000
_HOLD_NS = round(HOLD_S * NS_PER_S)
_INSTANT_NS = 1_000
"""What a step of an attempt takes that takes no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival:
    """One op as it begins: ``order`` are the published replicas, the one whose turn it is first."""

    number: int
    at_ns: int
    step: int
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hold:
    """An op that waits, or waited, on its connection to ``replica`` until ``until_ns``."""

    replica: str
    until_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """Attempt ``n`` of an op, at ``replica``; empty for none."""

    arrival: _Arrival
    n: int
    replica: str
    at_ns: int


class FakeLoad:
    """A `harness.load.base.Load` in memory. Tell it of exits with `on_exit`."""

    def __init__(self, *, clock: Clock, append: Callable[[AnyLine], None], rate_per_s: float, answer_s: float, requests: int) -> None:
        """``append`` takes the ledger's lines; an op takes ``answer_s`` and is of one of ``requests`` kinds in turn."""
        self._clock = clock
        self._append = append
        self._every_ns = max(1, round(NS_PER_S / rate_per_s))
        self._answer_ns = round(answer_s * NS_PER_S)
        self._first_ns = self._answer_ns * 3 // 4
        self._requests = requests
        self._published: list[str] = []
        self._exits: dict[str, int] = {}
        self._arrivals: deque[_Arrival] = deque()
        self._sent: Counter[str] = Counter()
        self._holding: set[str] = set()
        self._holds: dict[int, _Hold] = {}
        self._step = 0
        self._began_ns = 0
        self._next_ns = 0
        self._stopped = False

    def start(self) -> None:
        """Begin; the first op arrives now."""
        self._began_ns = self._next_ns = self._clock.now_ns()

    def publish(self, replica: str, host: str, port: int) -> None:  # noqa: ARG002  nothing is sent anywhere
        """From now on ``replica`` has its turns."""
        self._advance()
        if replica not in self._published:
            self._published.append(replica)

    def withdraw(self, replica: str) -> None:
        """From now on it has none."""
        self._advance()
        if replica in self._published:
            self._published.remove(replica)

    def vanish(self, replica: str) -> None:
        """Nothing to do: `on_exit` tells the same."""

    def forget(self, replica: str) -> None:
        """As `withdraw`, and what was sent to it no longer counts."""
        self.withdraw(replica)
        self.release(replica)
        del self._sent[replica]

    def hold(self, replica: str) -> None:
        """The next ops of ``replica`` wait; see `harness.load.base.Load.hold`."""
        self._advance()
        self._holding.add(replica)

    def release(self, replica: str) -> None:
        """What waits is sent now."""
        self._advance()
        self._holding.discard(replica)
        now_ns = self._clock.now_ns()
        for number, hold in self._holds.items():
            if hold.replica == replica and hold.until_ns > now_ns:
                self._holds[number] = _Hold(replica=replica, until_ns=now_ns)

    def held(self, replica: str) -> int:
        """Ops that wait on ``replica`` now."""
        self._advance()
        return self._held(replica, self._clock.now_ns())

    def on_the_way(self, replica: str) -> int:  # noqa: ARG002  an op leaves at the instant at which it arrives, or is held
        """Always 0."""
        return 0

    def in_flight(self, replica: str) -> int:
        """Ops that ``replica`` has and has not begun to answer."""
        return self._under_way(replica, 0, self._first_ns)

    def connected(self, replica: str) -> int | None:  # noqa: ARG002  it has none, and nobody looks
        """Unknown: there are no connections."""
        return None

    def answering(self, replica: str) -> int:
        """Ops that ``replica`` has begun to answer."""
        return self._under_way(replica, self._first_ns, self._answer_ns)

    def _under_way(self, replica: str, from_ns: int, until_ns: int) -> int:
        """Ops that were sent to ``replica`` so long ago that they are in this part of their time."""
        self._advance()
        now_ns = self._clock.now_ns()
        longest_ns = until_ns + _HOLD_NS * bool(self._holds)
        count = 0
        for arrival in reversed(self._arrivals):
            if arrival.at_ns + longest_ns <= now_ns:
                break
            since_ns = now_ns - self._sent_ns(arrival, replica)
            count += from_ns <= since_ns < until_ns and self._served_by(arrival) == replica and not self._gone(replica, now_ns)
        return count

    def _held(self, replica: str, at_ns: int) -> int:
        return sum(hold.replica == replica and at_ns < hold.until_ns for hold in self._holds.values())

    def _sent_ns(self, arrival: _Arrival, replica: str) -> int:
        hold = self._holds.get(arrival.number)
        return hold.until_ns if hold is not None and hold.replica == replica else arrival.at_ns

    def met(self, demand: Demand) -> bool:  # noqa: ARG002  nothing happens between a look and a signal
        """Always true."""
        return True

    def sent(self, replica: str) -> int:
        """Ops that ``replica`` has had so far, by what was known when each arrived."""
        self._advance()
        return self._sent[replica]

    def set_step(self, step: int) -> None:
        """Ops that arrive from now on belong to ``step``."""
        self._advance()
        self._step = step

    def alive(self) -> bool:
        """Always true."""
        return True

    def last_words(self) -> str:
        """Nothing: it never ends by itself."""
        return ""

    def on_exit(self, replica: str, at_ns: int) -> None:
        """The replica's process ended at ``at_ns``, however it did."""
        self._exits[replica] = at_ns

    def stop(self, *, at_once: bool = False) -> None:
        """Write the ledger; a second call does nothing."""
        if self._stopped or not self._began_ns:
            return
        self._advance()
        for replica in tuple(self._holding):
            self.release(replica)
        self._stopped = True
        end_ns = self._clock.now_ns()
        self._append(LoadBegan(at_ns=self._began_ns, pid=0))
        attempts = sum(self._write(arrival, end_ns if at_once else None) for arrival in self._arrivals)
        for at_ns in range(self._began_ns, end_ns, _CONTROL_NS):
            self._append(Control(at_ns=at_ns, done_ns=at_ns + _INSTANT_NS, ok=True))
        for at_ns in range(self._began_ns + _SAMPLE_NS, end_ns, _SAMPLE_NS):
            self._append(Generator(at_ns=at_ns, lag_ns=_INSTANT_NS, cpu=0.01, arrivals=_SAMPLE_NS // self._every_ns))
        self._append(LoadEnded(at_ns=end_ns, invoked=attempts, closed=attempts))

    def _advance(self) -> None:
        """Let all ops arrive that were due until now."""
        if not self._began_ns or self._stopped:
            return
        now_ns = self._clock.now_ns()
        while self._next_ns <= now_ns:
            number = len(self._arrivals) + 1
            turn = number % max(1, len(self._published))
            order = (*self._published[turn:], *self._published[:turn])
            arrival = _Arrival(number=number, at_ns=self._next_ns, step=self._step, order=order)
            self._arrivals.append(arrival)
            replica = self._served_by(arrival)
            self._sent[replica] += 1
            if replica in self._holding and self._held(replica, arrival.at_ns) < HELD_AT_ONCE:
                self._holds[number] = _Hold(replica=replica, until_ns=arrival.at_ns + _HOLD_NS)
            self._next_ns += self._every_ns

    def _served_by(self, arrival: _Arrival) -> str:
        """The first replica that had not ended when the op arrived; empty when there was none."""
        return next((replica for replica in arrival.order if not self._gone(replica, arrival.at_ns)), "")

    def _gone(self, replica: str, at_ns: int) -> bool:
        return self._exits.get(replica, at_ns + 1) <= at_ns

    def _write(self, arrival: _Arrival, cut_ns: int | None) -> int:
        """The attempts of one op; returns how many there were. ``cut_ns`` is the instant at which the load was cut off, if it was."""
        at_ns, order = arrival.at_ns, arrival.order or ("",)
        for n, replica in enumerate(order):
            attempt = _Attempt(arrival=arrival, n=n, replica=replica, at_ns=at_ns)
            self._invoke(attempt)
            close = self._close_of(attempt, cut_ns)
            if close.outcome != Outcome.REFUSED or n + 1 == len(order):
                self._append(msgspec.structs.replace(close, last=True))
                return n + 1
            self._append(close)
            at_ns = close.done_ns if close.connected_ns else at_ns
        raise AssertionError("the last one returns")

    def _invoke(self, attempt: _Attempt) -> None:
        arrival = attempt.arrival
        self._append(
            Invoke(
                op=arrival.number,
                n=attempt.n,
                user=1,
                request=arrival.number % self._requests,
                replica=attempt.replica,
                step=arrival.step,
                at_ns=attempt.at_ns,
                due_ns=arrival.at_ns,
            )
        )

    def _close_of(self, attempt: _Attempt, cut_ns: int | None) -> Close:
        """How an attempt ended; that of an op that may go elsewhere is not marked as the last."""
        replica, at_ns = attempt.replica, attempt.at_ns
        close = Close(op=attempt.arrival.number, n=attempt.n, outcome=Outcome.REFUSED, reached=Reached.NOTHING, last=False, done_ns=0)
        if not replica or self._gone(replica, at_ns):
            error = "ECONNREFUSED" if replica else "NO_REPLICA"
            return msgspec.structs.replace(close, done_ns=at_ns + _INSTANT_NS, error=error)
        sent_ns = max(at_ns, self._sent_ns(attempt.arrival, replica))
        first_ns, done_ns = sent_ns + self._first_ns, sent_ns + self._answer_ns
        held = sent_ns > at_ns
        connected = msgspec.structs.replace(close, connected_ns=at_ns, reused=not held, port=1)
        exit_ns = self._exits.get(replica, done_ns)
        if held and exit_ns <= sent_ns:
            return msgspec.structs.replace(connected, reached=Reached.CONNECTED, done_ns=sent_ns, error="FIN")
        ends_ns = min(done_ns, exit_ns, done_ns if cut_ns is None else cut_ns)
        begun = msgspec.structs.replace(connected, sent_ns=sent_ns, tx=100, done_ns=ends_ns)
        whole, answering = ends_ns == done_ns, ends_ns >= first_ns
        if answering:
            begun = msgspec.structs.replace(begun, first_ns=first_ns, status=200, rx=100 if whole else 50)
        if whole:
            return msgspec.structs.replace(begun, outcome=Outcome.OK, reached=Reached.ANSWERED)
        reached = Reached.BODY if answering else Reached.SENT
        if ends_ns == cut_ns:
            return msgspec.structs.replace(begun, outcome=Outcome.UNFINISHED, reached=reached, error="LOAD_ENDED")
        return msgspec.structs.replace(begun, outcome=Outcome.TRUNCATED if answering else Outcome.CLOSED, reached=reached, error="FIN")
