"""One clock and one dice, both handed in.

All instants in Jetable are nanoseconds of CLOCK_MONOTONIC, which every process of one machine shares (`clock_gettime(2)`), so
that an instant taken in the load process can be compared with one taken in the harness. Wall time appears once, in a run's
header. Chance comes from one seed: the same seed makes the same choices.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Sequence
from typing import Protocol, TypeVar

NS_PER_S = 1_000_000_000

T = TypeVar("T")


class Clock(Protocol):
    """Tells monotonic time and waits."""

    def now_ns(self) -> int:
        """Nanoseconds of CLOCK_MONOTONIC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``; zero or less returns at once."""
        ...


class MonotonicClock:
    """The machine's own clock."""

    def now_ns(self) -> int:
        """Nanoseconds of CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``; zero or less returns at once."""
        if seconds > 0:
            time.sleep(seconds)


class FakeClock:
    """A clock that moves only when somebody sleeps on it; for tests and dry runs."""

    def __init__(self, start_ns: int = 1_000_000_000) -> None:
        self._now_ns = start_ns
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        """Nanoseconds since the fake's own zero."""
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        """Move the clock forward by ``seconds`` (at least one nanosecond, so that a polling loop always ends)."""
        with self._lock:
            self._now_ns += max(1, round(seconds * NS_PER_S))


class Dice:
    """Seeded chance. Forks with a name are independent of each other and of the order in which they are made."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._random = random.Random(seed)  # noqa: S311  reproducible on purpose, nothing secret

    def fork(self, name: str) -> Dice:
        """A dice of its own for ``name``, the same for the same seed and name."""
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        return Dice(int.from_bytes(digest[:8], "big"))

    def choice(self, things: list[T]) -> T:
        """One of ``things``, which must not be empty."""
        return self._random.choice(things)

    def integer(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return self._random.randint(low, high)

    def uniform(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()

    def shuffled(self, things: Sequence[T]) -> list[T]:
        """``things`` in an order that chance decides."""
        return self._random.sample(things, len(things))

    def bits(self, count: int) -> int:
        """A whole number of ``count`` random bits."""
        return self._random.getrandbits(count)
