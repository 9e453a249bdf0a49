"""The stage on which a run plays: everything that the parts of a run are handed, in one frozen record.

Clock, dice, engine, load and the helpers that work in the background are injected, so the same story plays on real processes under
real load, or in milliseconds on fakes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
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

    def raise_if_lost(self) -> None:
        """Raise `EngineLostError` when the engine has gone away: nothing that is seen from then on says anything of the app."""
        if isinstance(self.engine, CanBeLost) and (why := self.engine.lost()):
            raise EngineLostError(why)
