"""What a cleaner is: it knows one kind of things that a run makes, finds them by the run's mark, and removes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from harness.clock import Clock

LOOK_AGAIN_S: Final = 0.05
"""Between two looks that found nothing."""

AFTER_KILL_S: Final = 0.005

OF_EARLIER_BOOT: Final = "of an earlier boot"
"""The owner of what was made before this machine started again: not alive, and of any age."""


UNFINISHED: Final = "unfinished build of "
"""Begins the name of what stands for a run where the run can't be known: what its owner was building when it died. The owner follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What one kind of thing is left of a run: who owns it (nobody: it does not say) and its things in words."""

    owners: frozenset[str]
    things: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one cleaner removed of a run, and what it could not, in words."""

    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Which run to remove.

    Attributes:
        run_id: The run.
        deadline_ns: The removal returns then at the latest.
        clock: What ``deadline_ns`` is read from.
        fresh: Its harness lives, or died a moment ago, so no pid of it is used again by a stranger.
        settle_s: For so long nothing may be found: a call of a harness that died may be under way to somebody who still obeys it.
    """

    run_id: str
    deadline_ns: int
    clock: Clock
    fresh: bool
    settle_s: float = 0.0

    @property
    def over(self) -> bool:
        """The deadline has passed."""
        return self.clock.now_ns() >= self.deadline_ns


class Cleaner(Protocol):
    """One kind of things that a run makes."""

    def traces(self) -> Mapping[str, Trace]:
        """What is there now of every run, living ones included, by run id."""
        ...

    def remove(self, order: Order) -> Swept:
        """Remove everything of this kind of a run."""
        ...
