"""The order in which a run is removed, and which runs are dead and may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness import marks
from harness.cleanup.base import UNFINISHED, Cleaner, Order, Trace
from harness.cleanup.deposits import Deposits
from harness.cleanup.docker import DockerThings
from harness.cleanup.folders import ScratchFolders
from harness.cleanup.processes import Processes
from harness.clock import NS_PER_S, MonotonicClock

WITHIN_S: Final = 10.0
"""No removal of one run takes longer."""

_UNOWNED_FOR_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What was removed of a run, and what is still there, each in words: ``process 12 sleep 60``."""

    run_id: str
    removed: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleRun:
    """What is left of a run whose harness is gone, or of its unfinished build; ``left`` is what could not be removed."""

    run_id: str
    things: tuple[str, ...]
    left: tuple[str, ...] = ()

    def __str__(self) -> str:
        _, unfinished, owner = self.run_id.rpartition(UNFINISHED)
        of = f"an {UNFINISHED}process {owner.partition(':')[0]}" if unfinished else f"run {self.run_id}"
        text = f"{', '.join(self.things)} of {of}"
        return f"{text}; still there: {', '.join(self.left)}" if self.left else text


CLEANERS: Final[dict[str, Cleaner]] = {
    "processes": Processes(),
    "things of Docker": DockerThings(),
    "things in services": Deposits(),
    "scratch folders": ScratchFolders(),
}
"""All that can be left of a run, in the order of removal."""


def clean_run(run_id: str) -> Removed:
    """Remove everything that carries the mark of a run whose harness lives or died a moment ago.

    Nothing is raised for what could not be removed; `Removed.left` says it.

    Raises:
        UsageError: ``run_id`` can't be one.
    """
    return remove(run_id, fresh=True)


def remove(run_id: str, *, fresh: bool, settle_s: float = 0.0) -> Removed:
    """Remove one run, whoever asks for it; see `Order` for what the flags mean."""
    marks.scratch_folder(run_id)
    clock = MonotonicClock()
    order = Order(run_id=run_id, deadline_ns=clock.now_ns() + round(WITHIN_S * NS_PER_S), clock=clock, fresh=fresh, settle_s=settle_s)
    removed: list[str] = []
    left: list[str] = []
    for kind, cleaner in CLEANERS.items():
        try:
            swept = cleaner.remove(order)
        except Exception as error:  # noqa: BLE001  the other kinds must be removed all the same; it is handed on
            left.append(f"{kind}: {type(error).__name__}: {error}")
            continue
        removed += swept.removed
        left += swept.left
    return Removed(run_id=run_id, removed=tuple(removed), left=tuple(left))


def clean_stale(older_than_s: float = 0.0, *, dry_run: bool = False) -> list[StaleRun]:
    """Remove what is left of every run whose owner is gone and was started more than ``older_than_s`` ago; living runs are not touched.

    Returns:
        What was removed, or with ``dry_run`` would be.
    """
    stale = []
    for run_id, trace in sorted(_dead_runs().items()):
        if min((marks.owner_age_s(owner) for owner in trace.owners), default=float("inf")) < older_than_s:
            continue
        left = () if dry_run else remove(run_id, fresh=False).left
        stale.append(StaleRun(run_id=run_id, things=trace.things, left=left))
    return stale


def _dead_runs() -> dict[str, Trace]:
    """Runs of which no owner lives. A run without any may just be writing it down, so it is looked at twice."""
    dead = {run_id: trace for run_id, trace in _all_traces().items() if not any(map(marks.owner_alive, trace.owners))}
    unowned = [run_id for run_id, trace in dead.items() if not trace.owners]
    if not unowned:
        return dead
    MonotonicClock().sleep(_UNOWNED_FOR_S)
    again = _all_traces()
    for run_id in unowned:
        if run_id not in again or any(map(marks.owner_alive, again[run_id].owners)):
            del dead[run_id]
    return dead


def _all_traces() -> dict[str, Trace]:
    merged: dict[str, Trace] = {}
    for cleaner in CLEANERS.values():
        for run_id, trace in cleaner.traces().items():
            before = merged.get(run_id, Trace(owners=frozenset(), things=()))
            merged[run_id] = Trace(owners=before.owners | trace.owners, things=before.things + trace.things)
    return merged
