"""What is there when everything has ended: all replicas and the store must agree with each other and with what was acknowledged.

Each of them is read by itself. These final reads are rows like all others; who asks for them says which ones they are. They are judged by
what no order can explain:

* *diverged*: two of them answer differently, and no change that may still have been on its way explains it;
* *lost-write*, *lost-increment*: something was acknowledged, nothing can have replaced it, and it is not there;
* *unexpected-value*: something is there that nobody wrote;
* *resurrected*: something is there that was refused, or that was removed;
* *counted-twice*: there is more than was asked for;
* *order-disagreement*: two logs have the same entries in another order.

A change that nobody answered may take effect between two final reads. Where that would explain the difference nothing is judged until
everybody is read once more: a replica that still answers the old after another one had answered the new has no such excuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

import numpy as np

from harness.monitors.calls import NEVER, NOTHING, Calls, Column, Ended, F, Rows, name
from harness.monitors.judged import Because, Budget, Judged, Violation, Why, before, judged, rows_of_facts
from harness.monitors.stale import overwritten, staleness
from harness.monitors.written import FIRST, NOBODY, written

MODEL: Final = "final"

MOST_ROWS: Final = 200
"""So many additions are named beside a counter that is wrong; where there are more, only the read is."""

ONE_OF_SEVERAL: Final = -3
"""For the writer of a value: it was written several times."""

KEPT: Final = 50
"""So many examples of a kind are made; further ones are only counted."""


def judge_final(calls: Calls, final_rows: Rows, budget: Budget, *, model: str = "") -> Judged:
    """Whether the reads ``final_rows``, all taken when everything had ended, agree with each other and with the rest of ``calls``.

    ``model`` says what is kept under the keys; without it `model_of` does.
    """
    final_rows = np.unique(np.asarray(final_rows, dtype=np.int64))
    answered = final_rows[(calls.ended[final_rows] == Ended.OK) & (calls.result[final_rows] != NOTHING) & (calls.f[final_rows] == F.READ)]
    found = _Found()
    found.undecided += _unread(calls, final_rows, answered)
    model = model or model_of(calls)
    if model == "register":
        _judge_registers(calls, answered, found)
    else:
        for of_key in _by_key(calls, answered):
            if budget.over():
                found.undecided.append("the budget ended before all keys were judged")
                break
            {"set": _judge_set, "log": _judge_set, "counter": _judge_counter}[model](calls, of_key, found)
    return judged(
        MODEL,
        violations=found.violations,
        undecided=found.undecided,
        operations=int((calls.ended != Ended.FAIL).sum()),
        reads=len(answered),
        counts=found.counts,
    )


def model_of(calls: Calls) -> str:
    """What is kept under the keys: ``log``, ``set``, ``counter`` or ``register``, by what was asked."""
    asked = np.bincount(calls.f, minlength=len(F))
    if asked[F.APPEND]:
        return "log"
    if asked[F.ADD] or asked[F.REMOVE] or asked[F.CONTAINS] or len(calls.items):
        return "set" if calls.values or len(calls.items) or asked[F.REMOVE] or asked[F.CONTAINS] else "counter"
    return "register"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _OfKey:
    """One key: the rows that changed it, or wanted to, and its final reads."""

    key: int
    changes: Rows
    reads: Rows


@dataclass(slots=True, kw_only=True)
class _Found:
    """What was found so far."""

    violations: list[Violation] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    undecided: list[str] = field(default_factory=list)

    def add(self, kind: str, facts: list[Because], calls: Calls, *, size_ns: int = 0, more: Rows | None = None) -> None:
        """There is one more violation; its operations are those of its facts and ``more``, in order of call."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] <= KEPT:
            rows = rows_of_facts(calls, facts, () if more is None else more.tolist())
            self.violations.append(Violation(kind=kind, rows=rows, because=tuple(facts), size_ns=size_ns))


def _unread(calls: Calls, final_rows: Rows, answered: Rows) -> list[str]:
    """Who did not answer for which keys."""
    keys = np.unique(calls.key[final_rows])
    undecided = []
    for replica in np.unique(calls.replica[final_rows]).tolist():
        missing = np.setdiff1d(keys, calls.key[answered[calls.replica[answered] == replica]])
        if len(missing):
            who = calls.replicas[replica] if 0 <= replica < len(calls.replicas) else "a replica without a name"
            first = name(calls.keys, int(missing[0]))
            undecided.append(f"{who} could not be read at the end: {len(missing)} of {len(keys)} keys, such as {first!r}")
    return undecided


def _by_key(calls: Calls, answered: Rows) -> Iterator[_OfKey]:
    """Each key that was read."""
    changes = np.flatnonzero(np.isin(calls.f, (F.ADD, F.REMOVE, F.APPEND)))
    changes = changes[np.argsort(calls.key[changes], kind="stable")]
    answered = answered[np.argsort(calls.key[answered], kind="stable")]
    for key in np.unique(calls.key[answered]).tolist():
        yield _OfKey(key=key, changes=_slice(calls, changes, key), reads=_slice(calls, answered, key))


def _slice(calls: Calls, rows: Rows, key: int) -> Rows:
    low, high = np.searchsorted(calls.key[rows], [key, key + 1])
    return rows[low:high]


# --- registers


def _judge_registers(calls: Calls, answered: Rows, found: _Found) -> None:
    writers = written(calls)
    measured = staleness(calls)
    found.undecided += measured.undecided
    at = np.flatnonzero(np.isin(measured.rows, answered) & (measured.lag_ns > 0))
    for place in at[np.argsort(-measured.lag_ns[at], kind="stable")].tolist():
        found.add("lost-write", overwritten(calls, measured, place), calls, size_ns=int(measured.lag_ns[place]))
    writer = writers.by(calls.key[answered].astype(np.int64), calls.result[answered])
    writer = np.where(writers.ambiguous[calls.key[answered]] & (writer != NOBODY), ONE_OF_SEVERAL, writer)
    refuser = written(calls, refused=True).by(calls.key[answered].astype(np.int64), calls.result[answered])
    for place in np.flatnonzero(writer == NOBODY).tolist():
        row, value, refused = int(answered[place]), int(calls.result[answered[place]]), int(refuser[place])
        if refused >= 0:
            found.add("resurrected", [Because(why=Why.REFUSED_WROTE, a=row, b=refused, value=value)], calls)
        else:
            found.add("unexpected-value", [Because(why=Why.NOBODY_WROTE, a=row, value=value)], calls)
    order = np.lexsort((calls.call_ns[answered], calls.key[answered]))
    answered, writer = answered[order], writer[order]
    starts = np.flatnonzero(np.concatenate([np.ones(min(1, len(order)), dtype=bool), np.diff(calls.key[answered]) != 0]))
    lowest = np.minimum.reduceat(calls.result[answered], starts) if len(starts) else starts
    highest = np.maximum.reduceat(calls.result[answered], starts) if len(starts) else starts
    ends = np.concatenate([starts[1:], [len(answered)]])
    ended_ns = np.full(len(writers.ambiguous), -NEVER)
    np.maximum.at(ended_ns, calls.key[writers.rows], calls.ret_ns[writers.rows])
    for number in np.flatnonzero(lowest != highest).tolist():
        chosen = slice(int(starts[number]), int(ends[number]))
        _judge_values(calls, answered[chosen], writer[chosen], found, ended_ns=int(ended_ns[calls.key[answered[starts[number]]]]))


def _judge_values(calls: Calls, reads: Rows, writer: Rows, found: _Found, *, ended_ns: int) -> None:
    """Different values of one key, whose writes had all ended at ``ended_ns``; one violation at most."""
    values = [_Value(calls, reads, writer, code, ended_ns=ended_ns) for code in np.unique(calls.result[reads]).tolist()]
    excused = 0
    for one, other in combinations(values, 2):
        if one.may_precede(other) or other.may_precede(one):
            excused += 1
            continue
        found.add("diverged", _differ(one, other), calls, size_ns=max(one.age_ns, other.age_ns))
        return
    if excused:
        found.undecided.append(_on_its_way(calls, reads))


class _Value:
    """One value that final reads of one key answered."""

    def __init__(self, calls: Calls, reads: Rows, writer: Rows, code: int, *, ended_ns: int = -NEVER) -> None:
        rows = reads[calls.result[reads] == code]
        self.code, self.writer = code, int(writer[calls.result[reads] == code][0])
        self.first_ns, self.last_ns = int(calls.ret_ns[rows].min()), int(calls.call_ns[rows].max())
        self.shown = int(rows[np.argmin(calls.ret_ns[rows])])
        self.last = int(rows[np.argmax(calls.call_ns[rows])])
        self.ends_ns = int(calls.ret_ns[self.writer]) if self.writer >= 0 else ended_ns if self.writer == ONE_OF_SEVERAL else -NEVER
        self.settled = self.ends_ns < int(calls.call_ns[reads].min())
        self.age_ns = self.last_ns - self.ends_ns if self.settled and self.writer >= 0 else 0

    def may_precede(self, other: _Value) -> bool:
        """Whether the other one may have replaced this one while the final reads were taken."""
        return not other.settled and other.first_ns >= self.last_ns

    def facts(self, row: int) -> list[Because]:
        """What ``row`` answered, and how long it had been there."""
        if self.writer == FIRST:
            return [Because(why=Why.SAW_INITIAL, a=row)]
        if self.writer == NOBODY:
            return [Because(why=Why.NOBODY_WROTE, a=row, value=self.code)]
        if self.writer == ONE_OF_SEVERAL:
            return []
        saw = [Because(why=Why.SAW, a=row, b=self.writer, value=self.code)]
        return [*saw, before(self.writer, row)] if self.settled else saw


def _differ(one: _Value, other: _Value) -> list[Because]:
    """Two values that were there beside each other; one that may have come late was answered before the other one was."""
    facts = [*one.facts(one.shown), *other.facts(other.shown)]
    for late, early in ((one, other), (other, one)):
        if not late.settled:
            facts += [*early.facts(early.last), before(late.shown, early.last)]
    return list(dict.fromkeys([*facts, Because(why=Why.DIFFER, a=one.shown, b=other.shown)]))


def _on_its_way(calls: Calls, reads: Rows) -> str:
    key = name(calls.keys, int(calls.key[reads[0]]))
    return f"the final answers for {key!r} differ, yet a change that nobody answered may have taken effect between them; read once more"


# --- sets and logs


class _Elements:
    """The elements of one key: who put them there, who took them away, and which final reads have them."""

    def __init__(self, calls: Calls, of_key: _OfKey) -> None:
        self.calls, self.reads = calls, of_key.reads
        items = [calls.items_of(int(row)) for row in of_key.reads]
        changes = of_key.changes[calls.arg[of_key.changes] != NOTHING]
        self.codes = np.unique(np.concatenate([calls.arg[changes], *items]))
        count = len(self.codes)
        self.has = np.zeros((len(items), count), dtype=bool)
        for at, told in enumerate(items):
            self.has[at, np.searchsorted(self.codes, told)] = True
        element = np.searchsorted(self.codes, calls.arg[changes])
        ended = calls.ended[changes]
        puts = np.isin(calls.f[changes], (F.ADD, F.APPEND))
        tries, takes = puts & (ended != Ended.FAIL), ~puts & (ended != Ended.FAIL) & (calls.result[changes] != 0)
        self.tries = np.bincount(element[tries], minlength=count)
        self.put = self._last(changes, element, tries & (ended == Ended.OK), calls.call_ns)
        self.tried = self._last(changes, element, tries, calls.ret_ns)
        self.refused = self._last(changes, element, puts & (ended == Ended.FAIL), calls.call_ns)
        self.taken = self._last(changes, element, takes, calls.ret_ns)
        self.surely_taken = self._last(changes, element, takes & (ended == Ended.OK), calls.call_ns)
        self.settled_ns = int(calls.call_ns[of_key.reads].min())

    def _last(self, changes: Rows, element: Column, chosen: Column, by: Column) -> Rows:
        """For each element the last one of the chosen rows that are about it, -1 where there is none."""
        last = np.full(len(self.codes), -1, dtype=np.int64)
        rows, about = changes[chosen], element[chosen]
        order = np.argsort(by[rows], kind="stable")
        last[about[order]] = rows[order]
        return last

    def ns(self, column: Column, rows: Rows, otherwise: int) -> Column:
        """The instants of ``rows`` in a column, and ``otherwise`` where there is no row."""
        return np.where(rows >= 0, column[np.maximum(rows, 0)], otherwise)


def _judge_set(calls: Calls, of_key: _OfKey, found: _Found) -> None:
    """Sets and logs."""
    elements = _Elements(calls, of_key)
    _add_lost(calls, elements, found)
    _add_unwanted(calls, elements, found)
    _add_different(calls, elements, of_key.reads, found)
    if (calls.f[of_key.changes] == F.APPEND).any():
        _add_twice(calls, elements, of_key, found)
        _add_order(calls, of_key.reads, found)


def _add_lost(calls: Calls, elements: _Elements, found: _Found) -> None:
    put_ns = elements.ns(calls.ret_ns, elements.put, NEVER)
    removable = elements.ns(calls.ret_ns, elements.taken, -NEVER) >= elements.ns(calls.call_ns, elements.put, -NEVER)
    lacks = ~elements.has & (put_ns[None, :] < calls.call_ns[elements.reads][:, None]) & ~removable[None, :]
    for at in np.flatnonzero(lacks.any(axis=0)).tolist():
        put, value = int(elements.put[at]), int(elements.codes[at])
        row = int(elements.reads[np.flatnonzero(lacks[:, at])[0]])
        facts = [Because(why=Why.LACKS, a=row, b=put, value=value, n=int(lacks[:, at].sum()), m=len(elements.reads))]
        found.add("lost-write", [*facts, before(put, row)], calls, size_ns=int(calls.call_ns[row] - calls.ret_ns[put]))


def _add_unwanted(calls: Calls, elements: _Elements, found: _Found) -> None:
    there = elements.has.any(axis=0)
    gone = elements.surely_taken
    taken = there & (gone >= 0) & (elements.ns(calls.ret_ns, elements.tried, NEVER) < elements.ns(calls.call_ns, gone, -NEVER))
    for at in np.flatnonzero(there & ((elements.tries == 0) | taken)).tolist():
        row, value = int(elements.reads[np.flatnonzero(elements.has[:, at])[-1]]), int(elements.codes[at])
        if not elements.tries[at] and elements.refused[at] < 0:
            found.add("unexpected-value", [Because(why=Why.NOBODY_WROTE, a=row, value=value)], calls)
        elif not elements.tries[at]:
            found.add("resurrected", [Because(why=Why.REFUSED_WROTE, a=row, b=int(elements.refused[at]), value=value)], calls)
        elif calls.ret_ns[gone[at]] < calls.call_ns[row]:
            facts = [
                Because(why=Why.HAS, a=row, b=int(elements.tried[at]), value=value),
                before(int(elements.tried[at]), int(gone[at])),
                Because(why=Why.REMOVED, a=row, b=int(gone[at]), value=value),
                before(int(gone[at]), row),
            ]
            found.add("resurrected", facts, calls)


def _add_different(calls: Calls, elements: _Elements, reads: Rows, found: _Found) -> None:
    """At most one difference a key: the element that was there, and acknowledged, the longest."""
    has, lacks = elements.has, ~elements.has
    differ = has.any(axis=0) & lacks.any(axis=0)
    if not differ.any():
        return
    ret_ns, call_ns = calls.ret_ns[reads][:, None], calls.call_ns[reads][:, None]
    first_has, last_has = np.where(has, ret_ns, NEVER).min(axis=0), np.where(has, call_ns, -NEVER).max(axis=0)
    first_lacks, last_lacks = np.where(lacks, ret_ns, NEVER).min(axis=0), np.where(lacks, call_ns, -NEVER).max(axis=0)
    settled = (elements.tries == 0) | (elements.ns(calls.ret_ns, elements.tried, NEVER) < elements.settled_ns)
    kept = elements.ns(calls.ret_ns, elements.taken, -NEVER) < elements.settled_ns
    came = ~settled & (first_has >= last_lacks)
    went = ~kept & (first_lacks >= last_has)
    sure = np.flatnonzero(differ & ~came & ~went)
    if not len(sure):
        found.undecided.append(_on_its_way(calls, reads))
        return
    put_ns = elements.ns(calls.ret_ns, elements.put, NEVER)
    at = int(sure[np.argmin(put_ns[sure])])
    order = [
        np.where(one[:, at], column, worst).argmin()
        for one, column, worst in (
            (has, calls.ret_ns[reads], NEVER),
            (lacks, -calls.call_ns[reads], NEVER),
            (lacks, calls.ret_ns[reads], NEVER),
            (has, -calls.call_ns[reads], NEVER),
        )
    ]
    rows = [int(reads[place]) for place in order]
    pairs = [(rows[0], rows[1])] if kept[at] else [(rows[0], rows[1]), (rows[3], rows[2])]
    facts: list[Because] = []
    for having, lacking in pairs:
        facts += _has_and_lacks(elements, at, having, lacking)
    found.add("diverged", list(dict.fromkeys(facts)), calls, size_ns=max(0, int(last_lacks[at] - put_ns[at])) if put_ns[at] < NEVER else 0)


def _has_and_lacks(elements: _Elements, at: int, having: int, lacking: int) -> list[Because]:
    put, value = int(elements.tried[at]), int(elements.codes[at])
    differ = Because(why=Why.DIFFER, a=having, b=lacking)
    if put < 0:
        return [Because(why=Why.NOBODY_WROTE, a=having, value=value), differ]
    return [Because(why=Why.HAS, a=having, b=put, value=value), Because(why=Why.LACKS, a=lacking, b=put, value=value, n=1, m=1), differ]


def _add_twice(calls: Calls, elements: _Elements, of_key: _OfKey, found: _Found) -> None:
    """Entries of a log that are there more often than they were appended."""
    for row in of_key.reads.tolist():
        codes, times = np.unique(calls.items_of(row), return_counts=True)
        at = np.searchsorted(elements.codes, codes)
        for place in np.flatnonzero((times > elements.tries[at]) & (elements.tries[at] > 0)).tolist():
            value = int(codes[place])
            appends = of_key.changes[(calls.arg[of_key.changes] == value) & (calls.ended[of_key.changes] != Ended.FAIL)]
            fact = Because(why=Why.HAS_TWICE, a=row, b=int(appends[0]), value=value, n=int(times[place]), m=len(appends))
            found.add("counted-twice", [fact], calls, more=appends)


def _add_order(calls: Calls, reads: Rows, found: _Found) -> None:
    """Two logs that have two entries the other way round; at most one a key."""
    distinct = list({calls.items_of(int(row)).tobytes(): int(row) for row in reads[::-1]}.values())
    for one, other in combinations(distinct, 2):
        items = calls.items_of(one)
        codes, place = np.unique(calls.items_of(other), return_index=True)
        at = np.minimum(np.searchsorted(codes, items), max(0, len(codes) - 1))
        common = np.flatnonzero(codes[at] == items) if len(codes) else np.zeros(0, dtype=np.int64)
        turned = np.flatnonzero(np.diff(place[at[common]]) < 0)
        if len(turned):
            first, second = (int(items[common[turned[0] + step]]) for step in (0, 1))
            key = calls.key[one]
            appends = np.flatnonzero(
                (calls.f == F.APPEND) & (calls.key == key) & np.isin(calls.arg, (first, second)) & (calls.ended != Ended.FAIL)
            )
            by = {int(calls.arg[row]): int(row) for row in appends[::-1]}
            facts = [
                Because(why=Why.SHOWS_ORDER, a=one, b=by.get(second, -1), value=first),
                Because(why=Why.SHOWS_ORDER, a=other, b=by.get(first, -1), value=second),
            ]
            found.add("order-disagreement", facts, calls, more=appends)
            return


# --- counters


def _judge_counter(calls: Calls, of_key: _OfKey, found: _Found) -> None:
    """Between what was surely added and what was possibly added, and the same everywhere."""
    adds = of_key.changes[(calls.ended[of_key.changes] != Ended.FAIL) & (calls.arg[of_key.changes] != NOTHING)]
    amount = calls.arg[adds]
    for row in of_key.reads.tolist():
        done = (calls.ended[adds] == Ended.OK) & (calls.ret_ns[adds] < calls.call_ns[row])
        begun = calls.call_ns[adds] <= calls.ret_ns[row]
        least = int(amount[(done & (amount > 0)) | (begun & (amount < 0))].sum())
        most = int(amount[(done & (amount < 0)) | (begun & (amount > 0))].sum())
        told = int(calls.result[row])
        if told < least:
            found.add("lost-increment", [Because(why=Why.TOO_LITTLE, a=row, n=told, m=least)], calls, more=_few(adds[done | (amount < 0)]))
        elif told > most:
            found.add("counted-twice", [Because(why=Why.TOO_MUCH, a=row, n=told, m=most)], calls, more=_few(adds))
    _add_different_numbers(calls, of_key.reads, adds, found)


def _few(rows: Rows) -> Rows:
    """All of ``rows``, or none where they are more than a person looks at."""
    return rows if len(rows) <= MOST_ROWS else rows[:0]


def _add_different_numbers(calls: Calls, reads: Rows, adds: Rows, found: _Found) -> None:
    """At most one difference a key."""
    on_its_way = calls.arg[adds[calls.ret_ns[adds] >= int(calls.call_ns[reads].min())]]
    up, down = int(on_its_way[on_its_way > 0].sum()), int(-on_its_way[on_its_way < 0].sum())
    nobody = np.full(len(reads), NOBODY)
    values = [_Value(calls, reads, nobody, code) for code in np.unique(calls.result[reads]).tolist()]
    excused = 0
    for low, high in combinations(values, 2):
        rose = high.code - low.code <= up and high.first_ns >= low.last_ns
        fell = high.code - low.code <= down and low.first_ns >= high.last_ns
        if rose or fell:
            excused += 1
            continue
        rows = np.array([high.shown, high.last, low.shown, low.last])
        found.add("diverged", [Because(why=Why.DIFFER, a=high.shown, b=low.last)], calls, more=np.concatenate([rows, _few(adds)]))
        return
    if excused:
        found.undecided.append(_on_its_way(calls, reads))
