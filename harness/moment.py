"""The moment of a fault: the victim is doing what the step demands when the signal comes.

The load shares its counters with the harness, so the harness sees within microseconds what is under way on a replica:

``in-flight``
    a request has left for it, and no byte of the answer has come;
``mid-response``
    its answer has begun and is not over;
``just-accepted``
    a new connection is there and has brought nothing yet. Nobody could catch this by looking, so the load holds a few requests (no
    streams) back on their new connections until the signal is out;
``idle``
    none of these.

What the counters say is a hint that makes the moment likely. The verdict is found from the instants in the ledger, and a fault that came at
another moment says so.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from harness.clock import NS_PER_S
from harness.stage import Stage

POLL_S: Final = 0.00002
PATIENT_NS: Final = 250_000_000
ON_THE_WAY_S: Final = 0.25

SEVERAL: Final = 3
LASTING_NS: Final = 5_000_000
"""What has been in flight for so long will be for another few microseconds."""


class Moment:
    """One wait for one victim. Use it as a context, which ends what it holds back.

    ``when`` is as in a scenario, ``within_s`` how long the wait may take in all, and ``is_gone`` tells whether the victim has ended.
    """

    def __init__(self, stage: Stage, victim: str, *, when: str, within_s: float, is_gone: Callable[[], bool]) -> None:
        self._load, self._clock = stage.load, stage.clock
        self._victim = victim
        self._when = when
        self._is_gone = is_gone
        self._deadline_ns = stage.clock.now_ns() + (round(within_s * NS_PER_S) if when != "any" else 0)

    def __enter__(self) -> Self:
        if self._when == "just-accepted":
            self._load.hold(self._victim)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._when == "just-accepted":
            self._load.release(self._victim)

    @property
    def requests(self) -> int:
        """How many requests are under way on the victim in the way that is demanded; those in flight where nothing is, or idleness."""
        match self._when:
            case "mid-response":
                return self._load.answering(self._victim)
            case "just-accepted":
                return self._load.held(self._victim)
            case _:
                return self._load.in_flight(self._victim)

    @property
    def is_now(self) -> bool:
        """The victim is as demanded, as far as the counters tell."""
        if self._when == "idle":
            return not self._under_way()
        return self._when == "any" or self.requests > 0

    @property
    def is_over(self) -> bool:
        """There is nothing to wait for any more: the time is over, or the victim is gone."""
        return self._clock.now_ns() >= self._deadline_ns or self._is_gone()

    def wait(self) -> None:
        """Wait until it is likely to be as demanded for some more microseconds, or until `is_over`."""
        if self._when == "in-flight":
            self._wait_in_flight()
            return
        while not self.is_now and not self.is_over:
            self._clock.sleep(POLL_S)

    def wait_until_now(self) -> None:
        """As `wait`, and asked again, since this thread may have had to wait for its turn."""
        while True:
            self.wait()
            if self.is_now or self.is_over:
                return

    def wait_none_on_the_way(self) -> None:
        """Wait until all that was routed to the victim has left; once it is withdrawn, this takes microseconds."""
        deadline_ns = self._clock.now_ns() + round(ON_THE_WAY_S * NS_PER_S)
        while self._load.on_the_way(self._victim) > 0 and self._clock.now_ns() < deadline_ns:
            self._clock.sleep(0)

    def _under_way(self) -> int:
        load, victim = self._load, self._victim
        return load.on_the_way(victim) + load.held(victim) + load.in_flight(victim) + load.answering(victim)

    def _wait_in_flight(self) -> None:
        """Wait until something is in flight on the victim that lasts.

        A request that is about to be answered would be gone before the signal arrives. So this waits for one that lasts: nothing new was
        sent for a while, and more than one is in flight all the same, as any one may be just about to end; or for several at once. A load
        that has neither for a quarter of a second has few users or short requests: then a single one must do, or one sent just now.
        """
        load, clock, victim = self._load, self._clock, self._victim
        since_ns, before = clock.now_ns(), load.sent(victim)
        patient_until_ns = since_ns + PATIENT_NS
        while True:
            in_flight, sent, now_ns = load.in_flight(victim), load.sent(victim), clock.now_ns()
            fresh = sent > before and now_ns >= patient_until_ns
            lasting = now_ns - since_ns > LASTING_NS and (in_flight > 1 or now_ns >= patient_until_ns)
            if in_flight > 0 and (fresh or lasting or in_flight >= SEVERAL):
                return
            if self.is_over:
                return
            if in_flight == 0 or sent > before:
                since_ns = now_ns
            before = sent
            clock.sleep(POLL_S)
