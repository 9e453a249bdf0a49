"""The stage on which a run plays: everything that the parts of a run are handed, in one frozen record.

Clock, dice, engine, load and the helpers that work in the background are injected, so the same story plays on real processes under
real load, or in milliseconds on fakes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeVar

from harness.clock import Clock, Dice
from harness.engines.base import CanBeLost, Engine, Replica
from harness.errors import EngineLostError, JetableError, StoppedError
from harness.history import Event
from harness.load.base import Load
from harness.scenario import Scenario, Step

A = TypeVar("A")
B = TypeVar("B")

END_WAIT_S: Final = 5.0


class Watch(Protocol):
    """Something that goes on in the background until it is asked to end."""

    def end(self) -> None:
        """Ask it to end and wait until it has; raises what it raised."""
        ...


class Background(Protocol):
    """How work is done at the same time as other work."""

    def map(self, work: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """Do ``work`` on all items at once; results in order; the first error is raised when all have ended."""
        ...

    def watch(self, body: Callable[[threading.Event], None]) -> Watch:
        """Run ``body(stop)`` until it returns; it must return soon after ``stop`` is set."""
        ...

    def end(self) -> None:
        """Wait for work that an interrupt left behind; call it when what it works on is gone."""
        ...


class _ThreadWatch:
    def __init__(self, body: Callable[[threading.Event], None]) -> None:
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._body = body
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._body(self._stop)
        except Exception as error:  # noqa: BLE001  handed to whoever waits for it
            self._error = error

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until it has ended by itself; raises what it raised."""
        self._thread.join(timeout_s)
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Ask it to end and wait until it has; raises what it raised."""
        self._stop.set()
        self.wait()


class Threads:
    """Background work on threads, for real runs.

    An exception in the waiting thread, such as the one that Ctrl-C raises, leaves the work behind: whoever ends the run takes away what
    it works on and then calls `end`.
    """

    def __init__(self) -> None:
        self._left: list[_ThreadWatch] = []
        self._lock = threading.Lock()

    def map(self, work: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """Do ``work`` on all items at once, one thread each."""
        results: dict[int, B] = {}

        def body(index: int) -> Callable[[threading.Event], None]:
            def one(_stop: threading.Event) -> None:
                results[index] = work(items[index])

            return one

        watches = [_ThreadWatch(body(index)) for index in range(len(items))]
        with self._lock:
            self._left += watches
        errors = []
        for watch in watches:
            try:
                watch.wait()
            except StoppedError:  # raised in this thread, by Ctrl-C: what is under way is left behind
                raise
            except JetableError as error:
                errors.append(error)
        with self._lock:
            self._left = [watch for watch in self._left if watch not in watches]
        if errors:
            raise errors[0]
        return [results[index] for index in range(len(items))]

    def watch(self, body: Callable[[threading.Event], None]) -> Watch:
        """Run ``body`` on a thread of its own."""
        return _ThreadWatch(body)

    def end(self) -> None:
        """Wait for work that was left behind, at most a few seconds; what it raised is of no interest any more."""
        for watch in self._left:
            with suppress(JetableError):
                watch.wait(END_WAIT_S)


class Jobs(Protocol):
    """What a step may ask of the jobs of a run while it goes on; see `harness.jobs`."""

    def in_hand(self, replica: str, when: str, share: float = 0.0) -> int:
        """How many jobs the replica has in hand as ``when`` says, worked on for at least ``share`` of what jobs usually take."""
        ...

    def had(self, replica: str, when: str, at_ns: int) -> bool:
        """Whether it had one at that instant, as far as is known by now."""
        ...

    def look(self, why: str, replica: str) -> None:
        """Write down what the queue holds right now, because of a fault on ``replica``."""
        ...

    def gone(self, replica: str) -> None:
        """A replica has ended."""
        ...

    def submit(self) -> None:
        """Workers are up: begin to submit."""
        ...

    def drain(self) -> None:
        """The steps are over: submit no more, and wait for the jobs that are left."""
        ...

    def close(self) -> None:
        """All workers are gone: list what is left, and close the ledger. A second call does nothing."""
        ...


class NoJobs:
    """A run without jobs, or a rehearsal, in which every worker has one in hand."""

    def in_hand(self, replica: str, when: str, share: float = 0.0) -> int:  # noqa: ARG002  all are alike
        """One."""
        return 1

    def had(self, replica: str, when: str, at_ns: int) -> bool:  # noqa: ARG002  as above
        """Nothing contradicts it."""
        return True

    def look(self, why: str, replica: str) -> None:
        """There is no queue."""

    def gone(self, replica: str) -> None:
        """It had none."""

    def submit(self) -> None:
        """There are none."""

    def drain(self) -> None:
        """None are left."""

    def close(self) -> None:
        """There is no ledger."""


class State(Protocol):
    """What the harness itself asks of the app's state; see `harness.state`."""

    def begin(self) -> None:
        """Replicas are up: make each journey once that no step makes."""
        ...

    def hand_over(self, workload: str, victim: Replica, fault: str, between: Callable[[], None]) -> None:
        """Begin a journey, or a write, at ``victim``, do ``between``, which ends it by ``fault``, and go on at the others."""
        ...

    def read_at_end(self) -> None:
        """The load is over: make journeys over all pairs of replicas, and read everything everywhere."""
        ...

    def close(self) -> None:
        """Nothing more will be written. A second call does nothing."""
        ...


class NoState:
    """A run without state, or a rehearsal, in which nothing is asked."""

    def begin(self) -> None:
        """There are no journeys."""

    def hand_over(self, workload: str, victim: Replica, fault: str, between: Callable[[], None]) -> None:  # noqa: ARG002  nobody is asked
        """Only do what ends the replica."""
        between()

    def read_at_end(self) -> None:
        """There is nothing to read."""

    def close(self) -> None:
        """Nothing was written."""


class Backing(Protocol):
    """What a step may do to the backing services of a run; see `harness.backing`."""

    def stop(self, name: str, signal: str) -> bool:
        """Stop a service and wait until it is gone; false when it was gone before."""
        ...

    def start(self, name: str) -> None:
        """Start it again where it was."""
        ...

    def cut(self, name: str) -> int:
        """Have it close the connections of its clients; how many there were."""
        ...

    def tear_down(self) -> None:
        """The run is over."""
        ...


class NoBacking:
    """Services of which nothing is known but their names, for a rehearsal."""

    def stop(self, name: str, signal: str) -> bool:  # noqa: ARG002  it is there in every story
        """Nothing is stopped."""
        return True

    def start(self, name: str) -> None:
        """Nothing is started."""

    def cut(self, name: str) -> int:  # noqa: ARG002  as above
        """One, as a rehearsal has no problems."""
        return 1

    def tear_down(self) -> None:
        """Nothing is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the run gives to every replica beside what the scenario says.

    Attributes:
        environment: The URLs of services, the names of the queue and of the place of effects.
        shared: A folder that all replicas see at the same path; None where nothing needs one.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    shared: Path | None = None


class _NoWatch:
    def end(self) -> None:
        """Nothing was started."""


class Inline:
    """No background at all, for fakes: a fake clock is moved by one hand only, and a fake engine needs no watching."""

    def map(self, work: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """Do ``work`` on one item after the other."""
        return [work(item) for item in items]

    def watch(self, body: Callable[[threading.Event], None]) -> Watch:  # noqa: ARG002  it is not run
        """Start nothing."""
        return _NoWatch()

    def end(self) -> None:
        """Nothing is left behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What the parts of a run are handed.

    Attributes:
        scenario: The frozen scenario.
        clock: The run's only clock.
        dice: The run's seeded chance.
        engine: Where replicas live.
        load: What users do meanwhile.
        record: Writes an event to the history.
        background: How work is done at the same time.
        tell: Shows how many replicas are up; replaces what was told before.
        note: Says a line to the person who watches.
        inner: Does a step that another one has drawn, with that dice; it gets a number and a place in the history of its own.
        row: For steps that began together: the replicas that were up then, by process type. Empty for all others.
        jobs: What is known of jobs meanwhile.
        state: What is asked of the app's state.
        backing: The backing services.
        given: What every replica is given.
    """

    scenario: Scenario
    clock: Clock
    dice: Dice
    engine: Engine
    load: Load
    record: Callable[[Event], None]
    background: Background
    tell: Callable[[str], None]
    note: Callable[[str], None]
    inner: Callable[[Step, Dice], None]
    row: Mapping[str, Sequence[Replica]] = field(default_factory=dict)
    jobs: Jobs = field(default_factory=NoJobs)
    state: State = field(default_factory=NoState)
    backing: Backing = field(default_factory=NoBacking)
    given: Given = field(default_factory=Given)

    def raise_if_lost(self) -> None:
        """Raise `EngineLostError` when the engine has gone away: nothing that is seen from then on says anything of the app."""
        if isinstance(self.engine, CanBeLost) and (why := self.engine.lost()):
            raise EngineLostError(why)
