"""A load that exists only on a fake clock: the whole pipeline plays in milliseconds against it, and a rehearsal needs nothing else.

Ops arrive at a constant rate, go to the published replicas in turns and take a constant time. An op whose replica ends meanwhile is
closed before its response; one that finds its replica gone is refused and goes to the next. Nothing is written before `FakeLoad.stop`,
because an exit may be told after its instant; then the ledger is laid out as a real load would have written it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from harness.clock import NS_PER_S, Clock
from harness.history import AnyLine, Close, Control, Generator, Invoke, LoadBegan, LoadEnded
from harness.outcome import Outcome, Reached

_CONTROL_NS = 100_000_000
_SAMPLE_NS = 250_000_000
_INSTANT_NS = 1_000
"""What a step of an attempt takes that takes no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival:
    """One op as it begins: ``order`` are the published replicas, the one whose turn it is first."""

    number: int
    at_ns: int
    step: int
    order: tuple[str, ...]


class FakeLoad:
    """A `harness.load.base.Load` in memory. Tell it of exits with `on_exit`."""

    def __init__(self, *, clock: Clock, append: Callable[[AnyLine], None], rate_per_s: float, answer_s: float, requests: int) -> None:
        """``append`` takes the ledger's lines; an op takes ``answer_s`` and is of one of ``requests`` kinds in turn."""
        self._clock = clock
        self._append = append
        self._every_ns = max(1, round(NS_PER_S / rate_per_s))
        self._answer_ns = round(answer_s * NS_PER_S)
        self._requests = requests
        self._published: list[str] = []
        self._exits: dict[str, int] = {}
        self._arrivals: deque[_Arrival] = deque()
        self._sent: Counter[str] = Counter()
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
        del self._sent[replica]

    def on_the_way(self, replica: str) -> int:  # noqa: ARG002  an op leaves at the instant at which it arrives
        """Always 0."""
        return 0

    def in_flight(self, replica: str) -> int:
        """Ops that are under way on ``replica`` now."""
        self._advance()
        now_ns = self._clock.now_ns()
        count = 0
        for arrival in reversed(self._arrivals):
            if arrival.at_ns + self._answer_ns <= now_ns:
                break
            count += self._served_by(arrival) == replica and now_ns < self._exits.get(replica, now_ns + 1)
        return count

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

    def on_exit(self, replica: str, at_ns: int) -> None:
        """The replica's process ended at ``at_ns``, however it did."""
        self._exits[replica] = at_ns

    def stop(self, *, at_once: bool = False) -> None:
        """Write the ledger; a second call does nothing."""
        if self._stopped or not self._began_ns:
            return
        self._advance()
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
            self._sent[self._served_by(arrival)] += 1
            self._next_ns += self._every_ns

    def _served_by(self, arrival: _Arrival) -> str:
        """The first replica that had not ended when the op arrived; empty when there was none."""
        return next((replica for replica in arrival.order if not self._gone(replica, arrival.at_ns)), "")

    def _gone(self, replica: str, at_ns: int) -> bool:
        return self._exits.get(replica, at_ns + 1) <= at_ns

    def _write(self, arrival: _Arrival, cut_ns: int | None) -> int:
        """The attempts of one op; returns how many there were. ``cut_ns`` is the instant at which the load was cut off, if it was."""
        served_by = self._served_by(arrival)
        refused = arrival.order[: arrival.order.index(served_by)] if served_by else arrival.order or ("",)
        for n, replica in enumerate(refused):
            self._invoke(arrival, n, replica)
            last = not served_by and n + 1 == len(refused)
            done_ns = arrival.at_ns + _INSTANT_NS
            error = "ECONNREFUSED" if replica else "NO_REPLICA"
            self._append(
                Close(op=arrival.number, n=n, outcome=Outcome.REFUSED, reached=Reached.NOTHING, last=last, done_ns=done_ns, error=error)
            )
        if served_by:
            self._invoke(arrival, len(refused), served_by)
            self._append(self._close_of(arrival, len(refused), served_by, cut_ns))
        return len(refused) + bool(served_by)

    def _invoke(self, arrival: _Arrival, n: int, replica: str) -> None:
        self._append(
            Invoke(
                op=arrival.number,
                n=n,
                user=1,
                request=arrival.number % self._requests,
                replica=replica,
                step=arrival.step,
                at_ns=arrival.at_ns,
                due_ns=arrival.at_ns,
            )
        )

    def _close_of(self, arrival: _Arrival, n: int, replica: str, cut_ns: int | None) -> Close:
        at_ns, done_ns = arrival.at_ns, arrival.at_ns + self._answer_ns
        ends = [(done_ns, Outcome.OK, Reached.ANSWERED, "")]
        if replica in self._exits:
            ends.append((self._exits[replica], Outcome.CLOSED, Reached.SENT, "FIN"))
        if cut_ns is not None:
            ends.append((cut_ns, Outcome.UNFINISHED, Reached.SENT, "LOAD_ENDED"))
        done_ns, outcome, reached, error = min(ends, key=lambda end: end[0])
        whole = outcome is Outcome.OK
        return Close(
            op=arrival.number,
            n=n,
            outcome=outcome,
            reached=reached,
            last=True,
            done_ns=done_ns,
            connected_ns=at_ns,
            sent_ns=at_ns,
            first_ns=done_ns if whole else 0,
            reused=True,
            status=200 if whole else 0,
            tx=100,
            rx=100 if whole else 0,
            port=1,
            error=error,
        )
