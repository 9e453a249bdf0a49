"""What monitors say of each workload, what all replicas answered alike, and which journeys went on: judged once for each history.

Where a read may never be stale, operations and the reads at the end must have an order that explains all answers: the monitor of the model
decides. Where the scenario allows staleness (``stale``), only what is older than that is wrong, and the reads at the end must show what was
acknowledged, and all replicas must have shown the changes of a key in one order, as far as reads are so far apart that staleness does not
explain another one. `sessions` are judged by what each client may expect of its own order. Where no request says which client asks, an app
can't keep that for each of them unless each replica keeps it for all who ask, so that is judged, too. Whatever the model, the last reads of
all replicas and of the store are compared with each other and with what was acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np

from harness.checks.facts import Facts
from harness.checks.state_facts import AT_THE_END, StateFacts, Worked
from harness.monitors import MONITORS
from harness.monitors.calls import Calls
from harness.monitors.divergence import judge_final
from harness.monitors.judged import Budget, Judged, Monitor, Violation
from harness.monitors.sessions import disagreements
from harness.monitors.stale import judge_within
from harness.verdict import Verdict

LOST_WRITES: Final = "lost_writes"
STALE_READS: Final = "stale_reads"
DIVERGED_KEYS: Final = "diverged_keys"
STATE_ERRORS: Final = "state_errors"

LOST: Final = ("lost-write", "lost-element", "lost-increment", "lost-update", "lost-value", "skipped-element")
STALE: Final = (
    "stale-read",
    "stale-element",
    "stale-beyond-bound",
    "went-back",
    "read-your-writes",
    "monotonic-reads",
    "monotonic-writes",
    "writes-follow-reads",
)

BUDGET: Final = Budget(steps=2_000_000)


def metric_of(kind: str) -> str:
    """The metric that counts violations of ``kind``."""
    if kind in LOST:
        return LOST_WRITES
    if kind in STALE:
        return STALE_READS
    return DIVERGED_KEYS if kind == "diverged" else STATE_ERRORS


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """One kind of violation in one workload: its worst example, how often it was seen, and the monitor that judges it again."""

    worked: Worked
    kind: str
    times: int
    calls: Calls
    violation: Violation
    monitor: Monitor


class StateJudgement:
    """What is wrong with the state of one history, and what nobody knows."""

    def __init__(self, facts: Facts) -> None:
        self.facts = StateFacts(facts)

    @cached_property
    def judged(self) -> dict[str, list[tuple[Judged, Calls, Monitor]]]:
        """What each monitor says of each workload, with what it was asked about."""
        return {worked.name: list(_judgements(worked)) for worked in self.facts.workloads}

    @cached_property
    def wrongs(self) -> tuple[Wrong, ...]:
        """All that is wrong, each kind of a workload once."""
        return tuple(wrong for worked in self.facts.workloads for wrong in self._wrongs(worked))

    def of_metric(self, metric: str) -> list[float]:
        """How many violations count for ``metric``; no sample where something was not decided and nothing was found."""
        if not self.facts.workloads:
            return []
        times = sum(wrong.times for wrong in self.wrongs if metric_of(wrong.kind) == metric)
        unknown = any(each.verdict is Verdict.UNKNOWN for found in self.judged.values() for each, _, _ in found)
        unread = metric == DIVERGED_KEYS and any(worked.unread or not len(worked.final) for worked in self.facts.workloads)
        return [] if not times and (unknown or unread) else [float(times)]

    def _wrongs(self, worked: Worked) -> Iterator[Wrong]:
        seen: set[str] = set()
        for found, calls, monitor in self.judged[worked.name]:
            for violation in found.violations:
                if violation.kind not in seen:
                    seen.add(violation.kind)
                    times = found.counts.get(violation.kind, 1)
                    yield Wrong(worked=worked, kind=violation.kind, times=times, calls=calls, violation=violation, monitor=monitor)


def _judgements(worked: Worked) -> Iterator[tuple[Judged, Calls, Monitor]]:
    promise = worked.workload.stale
    told = worked.told if promise is None else worked.calls.take(worked.clients)
    for monitor in (MONITORS[worked.workload.model],) if promise is None else (_within(promise.ns), _in_one_order(promise.ns)):
        yield monitor(told, BUDGET), told, monitor
    if len(worked.final):
        final = final_of(worked.workload.model)
        last = worked.calls.take(np.concatenate((worked.clients, worked.final)))
        found = final(last, BUDGET)
        if found.verdict is Verdict.UNKNOWN and len(worked.before):  # one look may be too few: see `judge_final`
            last = worked.calls.take(np.concatenate((worked.clients, worked.before, worked.final)))
            found = final(last, BUDGET)
        yield found, last, final


def _within(bound_ns: int) -> Monitor:
    return lambda calls, _budget: judge_within(calls, bound_ns)


def _in_one_order(stale_ns: int) -> Monitor:
    return lambda calls, budget: disagreements(calls, budget, stale_ns)


def final_of(model: str) -> Monitor:
    """The monitor of reads at the end of a ``model``: against each other and against what was acknowledged."""

    def final(calls: Calls, budget: Budget) -> Judged:
        ends = np.array([name.startswith(AT_THE_END) for name in calls.sessions], dtype=np.bool_)
        return judge_final(calls, np.flatnonzero(ends[calls.session]), budget, model="register" if model == "sessions" else model)

    return final


class _History:
    """A history as a key: the same object is the same key, whoever's facts speak of it."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _History) and self.facts.history is other.facts.history

    def __hash__(self) -> int:
        return id(self.facts.history)


@lru_cache(maxsize=1)
def _judgement_of(history: _History) -> StateJudgement:
    return StateJudgement(history.facts)


def state_of(facts: Facts) -> StateJudgement:
    """The judgement of the state of a history, made once for all checks that ask for it, as it may take long."""
    return _judgement_of(_History(facts))


def state_sampler(metric: str) -> Callable[[Facts, str | None], list[float]]:
    """How ``metric`` is measured."""

    def sample(facts: Facts, process: str | None) -> list[float]:
        of_it = process is None or process == facts.scenario.load_process
        return state_of(facts).of_metric(metric) if of_it and facts.scenario.state else []

    return sample
