"""Why state was lost, stale or different, and what to change: the table of causes for state.

The subject of a row is a `Case`: one kind of violation in one workload. As in `harness.checks.causes` the first row of a finding's name
whose evidence is there speaks, and where none fits nothing is said. Most evidence is in who answered what: whether a replica ever answered
what another one had been told, whether what is lost went through a replica that was killed right after, whether the older of two writes
won.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np

from harness.checks.causes import Cause, first_that_fits
from harness.checks.state_facts import StateFacts, Worked
from harness.checks.state_judgement import LOST, STALE, Wrong
from harness.checks.wording import count, grouped
from harness.clock import NS_PER_S
from harness.history import Signalled
from harness.monitors.calls import NEVER, NOTHING, Calls, Column, Ended, F, Rows
from harness.monitors.judged import Why
from harness.monitors.stale import staleness
from harness.state_history import OF_MANY
from harness.units import span

ENOUGH: Final = 3
"""Answers that must all be of one sort before that is taken for a habit."""

SOON_NS: Final = 5 * NS_PER_S
"""A write that was acknowledged so shortly before SIGKILL, and lost, may have been lost by it."""

DIFFERENT: Final = ("diverged", "order-disagreement", "incomparable-reads")
TOO_MUCH: Final = ("counted-twice", "duplicated-element")
REFUSED: Final = ("aborted-read", "resurrected-element", "resurrected")
ALL: Final = tuple(dict.fromkeys((*LOST, *STALE, *DIFFERENT, "not-linearizable", "removed-yet-there")))

_SHARE: Final = (
    "Keep state in a backing service that all replicas share, and nothing in the process or in its own files but what may vanish at any "
    "moment (factor VI)."
)
_DURABLE: Final = "Answer only when the backing service has confirmed the write; what is kept to be written later is lost with the process."
_ATOMIC: Final = (
    "Change it in one step: a transaction that takes a lock (SELECT … FOR UPDATE, BEGIN IMMEDIATE), one atomic statement "
    "(SET n = n + 1, INCR), or a compare-and-set that is tried again."
)
_RENEW: Final = (
    "Answer from the backing service, or renew the copy when anybody writes (a shared cache, an invalidation message, a short time to live "
    "that clients can bear: then say so with stale:)."
)
_CLOCKS: Final = (
    "Answer only when the backing service has the write, and let that decide which write is later (a version, a sequence, its own clock); "
    "clocks of replicas differ."
)
_ONCE: Final = (
    "Apply each request once: keep its idempotency key with its effect in one transaction, and do not repeat inside the app what may "
    "already have been done."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Who answered what: ``own`` answers of a value that went through the replica that answers, ``others`` through another one."""

    own: int
    others: int
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Writes:
    """The row that wrote each value of each key, the last one where several did; counters have none."""

    rows: Rows
    places: Column
    values: int

    def by(self, keys: Column, values: Column) -> Rows:
        """The rows that wrote ``values`` to ``keys``, -1 where nobody did."""
        if not len(self.rows):
            return np.full(len(keys), -1, dtype=np.int64)
        wanted = np.where((values >= 0) & (values < self.values), keys * np.int64(self.values) + values, -1)
        found = np.minimum(np.searchsorted(self.places, wanted), len(self.places) - 1)
        return np.where(self.places[found] == wanted, self.rows[found], -1)


@lru_cache(maxsize=1)
def writes_of(worked: Worked) -> Writes:
    """Who wrote what in a workload."""
    calls = worked.calls
    values = np.where(calls.f == F.CAS, calls.arg2, calls.arg)
    counts = worked.workload.model == "counter"
    rows = np.flatnonzero(np.isin(calls.f, (F.WRITE, F.CAS, F.ADD, F.APPEND)) & (values >= 0) & (not counts))
    many = int(values[rows].max(initial=0)) + 1
    places, last = np.unique((calls.key[rows] * np.int64(many) + values[rows])[::-1], return_index=True)
    return Writes(rows=rows[::-1][last], places=places, values=many)


@lru_cache(maxsize=1)
def traces_of(worked: Worked) -> Traces:
    """Who answered what in a workload."""
    calls = worked.calls
    rows = np.flatnonzero((calls.f == F.READ) & (calls.ended == Ended.OK) & (calls.replica >= 0))
    if worked.workload.model in OF_MANY:
        reads = np.zeros(len(calls), dtype=np.bool_)
        reads[rows] = True
        lengths = np.diff(calls.starts)
        values, rows = calls.items[np.repeat(reads, lengths)], np.repeat(rows, lengths[rows])
    else:
        values = calls.result[rows]
    writer = writes_of(worked).by(calls.key[rows].astype(np.int64), values)
    known = (writer >= 0) & (calls.replica[writer] >= 0)
    through, told = calls.replica[writer[known]], calls.replica[rows[known]]
    own = int(np.count_nonzero(through == told))
    return Traces(own=own, others=len(told) - own, replicas=len(np.unique(told)))


class Case:
    """One kind of violation in one workload, with what is known beside it."""

    def __init__(self, facts: StateFacts, wrong: Wrong) -> None:
        self.facts = facts
        self.wrong = wrong

    @property
    def worked(self) -> Worked:
        """The workload."""
        return self.wrong.worked

    @property
    def calls(self) -> Calls:
        """All its operations."""
        return self.worked.calls

    @cached_property
    def empty_answers(self) -> int:
        """How many reads were answered, when none of them told any value; 0 when one did."""
        calls = self.calls
        told = calls.result[(calls.f == F.READ) & (calls.ended == Ended.OK) & (calls.result != NOTHING)]
        return 0 if np.any(told) else len(told)

    @property
    def traces(self) -> Traces:
        """Which of the answers were of writes that went through the same replica."""
        return traces_of(self.worked)

    @cached_property
    def kills(self) -> list[Signalled]:
        """Every SIGKILL that a step sent."""
        return [fault.signal for fault in self.facts.facts.faults if fault.signal.purpose == "kill"]

    @cached_property
    def last_kill(self) -> tuple[Signalled, int] | None:
        """The kill of the replica that had acknowledged what is lost shortly before, and how long before, in ns; the closest one."""
        calls, found = self.wrong.calls, []
        for row in self.wrong.violation.rows:
            if calls.f[row] == F.READ or calls.ended[row] != Ended.OK or calls.replica[row] < 0:
                continue
            replica = calls.replicas[int(calls.replica[row])]
            gaps = [(kill, kill.at_ns - int(calls.ret_ns[row])) for kill in self.kills if kill.replica == replica]
            found += [(kill, gap_ns) for kill, gap_ns in gaps if 0 <= gap_ns <= SOON_NS and not self._seen_after(row, kill)]
        return min(found, key=lambda pair: pair[1], default=None)

    def _seen_after(self, row: int, kill: Signalled) -> bool:
        """Whether anybody was still told, after ``kill``, what ``row`` had put there: then it was not lost with the replica."""
        calls = self.wrong.calls
        if self.worked.workload.model == "counter":
            return False
        value = calls.arg2[row] if calls.f[row] == F.CAS else calls.arg[row]
        later = (calls.key == calls.key[row]) & (calls.ended == Ended.OK) & (calls.call_ns > kill.at_ns)
        if np.any(later & (calls.f == F.CONTAINS) & (calls.arg == value) & (calls.result == 1)):
            return True
        reads = later & (calls.f == F.READ)
        if self.worked.workload.model in OF_MANY:
            return bool(np.any(reads[np.searchsorted(calls.starts, np.flatnonzero(calls.items == value), "right") - 1]))
        return bool(np.any(reads & (calls.result == value)))

    @cached_property
    def overlapping(self) -> tuple[str, str] | None:
        """Two changes of the key of the violation that were under way at once, and by whom; None when there were none."""
        calls = self.wrong.calls
        keys = {int(calls.key[row]) for row in self.wrong.violation.rows}
        changes = np.flatnonzero(np.isin(calls.key, list(keys)) & ~np.isin(calls.f, (F.READ, F.CONTAINS)) & (calls.ended == Ended.OK))
        changes = changes[np.lexsort((calls.call_ns[changes], calls.key[changes]))]
        changes = changes[calls.replica[changes] >= 0]
        same = calls.key[changes[1:]] == calls.key[changes[:-1]]
        at_once = np.flatnonzero(same & (calls.call_ns[changes[1:]] <= calls.ret_ns[changes[:-1]]))
        if not len(at_once):
            return None
        before, after = changes[at_once[0]], changes[at_once[0] + 1]
        return calls.replicas[int(calls.replica[before])], calls.replicas[int(calls.replica[after])]

    @cached_property
    def copied(self) -> str:
        """The replica that answered a stale value and had itself answered or written that value before; empty when there is none."""
        calls, rows = self.wrong.calls, self.wrong.violation.rows
        if self.worked.workload.model not in ("register", "sessions"):
            return ""
        for row in rows:
            if calls.f[row] != F.READ or calls.replica[row] < 0 or calls.result[row] == NOTHING or calls.session[row] < 0:
                continue
            alike = (calls.key == calls.key[row]) & (calls.replica == calls.replica[row]) & (calls.ret_ns < calls.call_ns[row])
            said = (calls.f == F.READ) & (calls.result == calls.result[row])
            wrote = (calls.f == F.WRITE) & (calls.arg == calls.result[row])
            if np.any(alike & (said | wrote)):
                return calls.replicas[int(calls.replica[row])]
        return ""

    @cached_property
    def older_won(self) -> tuple[str, str, int] | None:
        """Who wrote what all have at the end, who acknowledged a write that began after that was over, and how much later, in ns."""
        calls, final = self.calls, self.worked.final
        if self.worked.workload.model not in ("register", "sessions") or not len(final):
            return None
        first, last = (np.full(int(calls.key.max()) + 1, start, dtype=np.int64) for start in (NEVER, NOTHING))
        np.minimum.at(first, calls.key[final], calls.result[final])
        np.maximum.at(last, calls.key[final], calls.result[final])
        writes = writes_of(self.worked)
        alike = np.flatnonzero(first == last)
        writer = writes.by(alike, last[alike])
        known = (writer >= 0) & (calls.ended[writer] == Ended.OK)
        winner = np.full(len(first), -1, dtype=np.int64)
        winner[alike[known]] = writer[known]
        of_key = winner[calls.key]
        later = (calls.f == F.WRITE) & (calls.ended == Ended.OK) & (of_key >= 0) & (calls.call_ns > calls.ret_ns[of_key])
        rows = np.flatnonzero(later & (calls.replica != calls.replica[of_key]))
        if not len(rows):
            return None
        gaps_ns = calls.call_ns[rows] - calls.ret_ns[of_key[rows]]
        row = int(rows[np.argmax(gaps_ns)])
        return calls.replicas[int(calls.replica[of_key[row]])], calls.replicas[int(calls.replica[row])], int(gaps_ns.max())

    @cached_property
    def counts_of_their_own(self) -> bool:
        """At the end each replica tells no more than what went through it, and they differ: each counts for itself."""
        calls, final = self.calls, self.worked.final
        if self.worked.workload.model != "counter" or not len(final):
            return False
        tried = np.flatnonzero((calls.f == F.ADD) & (calls.ended != Ended.FAIL) & (calls.replica >= 0))
        through = np.zeros((int(calls.key.max()) + 1, len(calls.replicas)), dtype=np.int64)
        np.add.at(through, (calls.key[tried], calls.replica[tried]), 1)
        if np.any(calls.result[final] == NOTHING) or np.any(calls.result[final] > through[calls.key[final], calls.replica[final]]):
            return False
        told = calls.result[final][np.lexsort((calls.result[final], calls.key[final]))]
        keys = np.sort(calls.key[final])
        return bool(np.any((told[1:] != told[:-1]) & (keys[1:] == keys[:-1])))

    @cached_property
    def sent_again(self) -> int:
        """How many operations on this state were sent more than once."""
        return int(np.count_nonzero(self.worked.attempts > 1))


def explain(facts: StateFacts, wrong: Wrong) -> tuple[str, str]:
    """Cause and cure of one kind of violation, both empty when the evidence says neither."""
    return first_that_fits(OF_STATE, wrong.kind, Case(facts, wrong))


def _empty_words(case: Case) -> str:
    read = case.worked.workload.read
    place = f"answer ({read.answer})" if read is not None and read.answer else "answer"
    told = f"None of {count(case.empty_answers, 'answer')} told a value"
    return f"{told}: the app keeps nothing at all, or {place} names no place in its answers."


def _own_only(case: Case) -> bool:
    traces = case.traces
    return (traces.others == 0 and traces.own >= ENOUGH and traces.replicas > 1) or case.counts_of_their_own


def _own_only_words(case: Case) -> str:
    if case.counts_of_their_own:
        return "At the end no replica tells more than went through itself: each counts for itself, in its own memory or a file of its own."
    return (
        f"Each of {count(case.traces.replicas, 'replica')} answered only what it had been told itself ({grouped(case.traces.own)} values, "
        "and none of another one's): it keeps the state in its own memory or in a file of its own."
    )


def _killed_soon(case: Case) -> bool:
    return case.last_kill is not None


def _killed_words(case: Case) -> str:
    assert case.last_kill is not None  # noqa: S101  the evidence of the row has shown it
    kill, gap_ns = case.last_kill
    return (
        f"{kill.replica} had acknowledged it {span(gap_ns / NS_PER_S)} before its SIGKILL, and it was gone with it: it was not yet durable."
    )


def _overlapping_words(case: Case) -> str:
    assert case.overlapping is not None  # noqa: S101  as above
    one, other = case.overlapping
    where = f"through {one} and {other}" if one != other else f"through {one}"
    return f"Changes of one key were under way at once, {where}, and one undid the other: it is read, changed and written back in steps."


def _older_words(case: Case) -> str:
    assert case.older_won is not None  # noqa: S101  as above
    one, other, gap_ns = case.older_won
    return (
        f"What {one} had acknowledged is there for all at the end, though {other} acknowledged another write that began "
        f"{span(gap_ns / NS_PER_S)} later: the older one won, as it does where a replica writes after it has answered, or where the "
        "clocks of replicas decide."
    )


def _lags(case: Case) -> bool:
    if case.worked.workload.model not in ("register", "sessions"):
        return False
    return bool(np.any(staleness(case.calls).stale)) and case.traces.others > 0


def _lag_words(case: Case) -> str:
    found = staleness(case.calls)
    longest = span(found.quantile_ns(1.0) / NS_PER_S)
    return f"Answers come from copies that lag behind, by up to {longest}, and know what others wrote only after that."


def _was_refused(case: Case) -> bool:
    return any(fact.why in (Why.REFUSED_WROTE, Why.REFUSED_ADDED) for fact in case.wrong.violation.because)


OF_STATE: Final[tuple[Cause[Case], ...]] = (
    *(
        Cause(
            name=name,
            needs="three reads or more were answered, and none of all told a value",
            fits=lambda case: case.empty_answers >= ENOUGH,
            cause=_empty_words,
            cure="See by hand what the app answers to a read after a write, and mend answer: of the operation, or the app.",
        )
        for name in ALL
    ),
    *(
        Cause(
            name=name,
            needs="no replica ever answered what had gone through another one (a counter: none tells more than went through it)",
            fits=_own_only,
            cause=_own_only_words,
            cure=_SHARE,
        )
        for name in ALL
    ),
    *(
        Cause(
            name=name,
            needs="the replica that had acknowledged it got SIGKILL within 5 s, and nobody was told of it after that",
            fits=_killed_soon,
            cause=_killed_words,
            cure=_DURABLE,
        )
        for name in (*LOST, "went-back", "stale-read", "not-linearizable")
    ),
    *(
        Cause(
            name=name,
            needs="a register; at the end all have a value whose write had ended before another one, through another replica, began",
            fits=lambda case: case.older_won is not None,
            cause=_older_words,
            cure=_CLOCKS,
        )
        for name in ("lost-write", "stale-read", "not-linearizable")
    ),
    *(
        Cause(
            name=name,
            needs="the replica that answered the old value had written or answered it before",
            fits=lambda case: bool(case.copied),
            cause=lambda case: (
                f"{case.copied} answered what it had known before, though it had been overwritten: it keeps a copy that nobody renews."
            ),
            cure=_RENEW,
        )
        for name in (*STALE, *DIFFERENT, "lost-write", "not-linearizable")
    ),
    *(
        Cause(
            name=name,
            needs="two acknowledged changes of the key were under way at once",
            fits=lambda case: case.overlapping is not None,
            cause=_overlapping_words,
            cure=_ATOMIC,
        )
        for name in ("lost-update", "lost-increment", "lost-element")
    ),
    *(
        Cause(
            name=name,
            needs="a register, of which replicas do answer what went through others, only later",
            fits=_lags,
            cause=_lag_words,
            cure=_RENEW,
        )
        for name in STALE
    ),
    *(
        Cause(
            name=name,
            needs="operations were sent again, as the scenario allows for what has an Idempotency-Key",
            fits=lambda case: case.sent_again > 0,
            cause=lambda case: (
                f"{count(case.sent_again, 'operation')} of this state went out more than once, and at least one was applied each time."
            ),
            cure=_ONCE,
        )
        for name in TOO_MUCH
    ),
    *(
        Cause(
            name=name,
            needs="no operation was sent more than once",
            fits=lambda case: case.sent_again == 0,
            cause=lambda _case: "Every operation was sent once, so the app itself applied one more than once.",
            cure=_ONCE,
        )
        for name in TOO_MUCH
    ),
    *(
        Cause(
            name=name,
            needs="a status of refused was the answer to what is there all the same",
            fits=_was_refused,
            cause=lambda _case: "The app answered that it had not done what it did.",
            cure="Answer with a status of refused only before anything was changed, or undo the change in the same transaction.",
        )
        for name in REFUSED
    ),
)
"""Every cause of what is wrong with state, most telling first."""
