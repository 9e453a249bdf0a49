"""Session guarantees: what one client saw and wrote never goes back in time, whichever replica answers it.

Four promises, of each session and key (Terry et al., PDIS 1994; formally Viotti and Vukolić, ACM Computing Surveys 49(1), 2016):

* *read your writes*: after its acknowledged write a session never reads anything older;
* *monotonic reads*: after a read it never reads anything older;
* *monotonic writes*: its writes take effect in its order;
* *writes follow reads*: what it writes takes effect after what it had read.

Together they ask that the versions that a session touches, one after the other, are in one order that all sessions of a key share. Such an
order exists exactly when the graph of *this one, then that one* has no cycle, and that is judged: no clock is compared across sessions. A
write that nobody answered may take effect later, so its own session owes it nothing until it reads it.

A cycle says that a promise was broken, and not always which. It has the name of what its last operation did where the order of the others
is certain, as it is for the writes of one session; else it is an *order disagreement*. A reader that went back on one and the same replica
shows that the writes came there in another order, so then it is the promise about writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.monitors.calls import NEVER, Calls, Column, Ended, F, Mask, Rows, name, places_by
from harness.monitors.cycles import Hop, Zones, components, shortest
from harness.monitors.judged import MOST, Because, Budget, Judged, Violation, Why, judged, rows_of_facts
from harness.monitors.written import (
    NOBODY,
    Seen,
    Written,
    in_order_of_calls,
    is_register,
    seen,
    stable_order,
    swapped,
    version_of,
    written,
)

MODEL: Final = "sessions"

LOOKED_AT: Final = 100
"""So many groups of versions whose order has a cycle are looked at; further ones are only counted."""

BEFORE_ALL: Final = -NEVER
"""When the first version of each key was born."""


def judge(calls: Calls, budget: Budget) -> Judged:
    """Whether each session saw and wrote in an order that all share; see the module. O(n log n), as it sorts."""
    if not is_register(calls):
        return judged(MODEL, violations=[], undecided=["session guarantees are judged of registers only"], operations=0, reads=0)
    writers = written(calls)
    what = seen(calls, writers)
    found = _Found(violations=list(what.violations), counts=dict(what.counts))
    touches, undecided = _suspects(calls, _touches(calls, writers, what, found), len(writers.ambiguous))
    if len(touches) and len((tangled := _tangled(calls, writers, touches)).touches):
        certain = _certain(calls, tangled.touches)
        _add_certain(calls, tangled.touches, certain, found)
        left = ~np.isin(tangled.label, tangled.label[certain.later])
        zones = _zones(tangled.touches.take(left))
        label = np.zeros(_after(zones.version), dtype=np.int64)
        label[tangled.touches.version[left]] = tangled.label[left]
        _add_cycles(calls, zones, label[zones.version], found, Why.SAME_SESSION, budget)
    return judged(
        MODEL,
        violations=found.violations,
        undecided=[*what.undecided, *undecided],
        operations=int((calls.ended != Ended.FAIL).sum()),
        reads=len(what.rows),
        counts=found.counts,
    )


def disagreements(calls: Calls, budget: Budget, stale_ns: int = 0) -> Judged:
    """Whether the replicas showed the versions of each key in one order, judged by what each of them answered, whoever asked. O(n log n).

    Reads of one replica may overlap, so one comes before another only when it had ended before the other began, and where an answer may be
    ``stale_ns`` old, more than that before. Then the order is certain: what was seen first had taken effect by then, and if the other one
    had already been overwritten at that time, its answer would be older than it may be.
    """
    if not is_register(calls):
        return judged("replicas", violations=[], undecided=["the order of versions is judged of registers only"], operations=0, reads=0)
    what = seen(calls, written(calls))
    known = calls.replica[what.rows] >= 0
    rows, writer = what.rows[known], what.writer[known]
    undecided = list(what.undecided)
    if len(rows) < len(what.rows):
        undecided.append(f"of {len(what.rows) - len(rows)} of {len(what.rows)} answers it is not known which replica gave them")
    version = version_of(calls, rows, writer)
    zones = _zones_of_replicas(calls, rows, version, stale_ns)
    zones = _with_first(zones, first=len(calls), keys=_after(calls.key))
    label = _labels_of_replicas(zones)
    found = _Found(violations=list(what.violations), counts=dict(what.counts))
    _add_cycles(calls, zones.take(np.flatnonzero(label >= 0)), label[label >= 0], found, Why.SAME_REPLICA, budget)
    return judged("replicas", violations=found.violations, undecided=undecided, operations=len(rows), reads=len(rows), counts=found.counts)


@dataclass(slots=True, kw_only=True)
class _Found:
    """What was found so far; ``through`` tells by which row it is known that a swap took effect which nobody answered."""

    violations: list[Violation]
    counts: dict[str, int]
    through: dict[int, int] = field(default_factory=dict)

    def count(self, kind: str, number: int = 1) -> None:
        """There are ``number`` more of ``kind``."""
        self.counts[kind] = self.counts.get(kind, 0) + number

    def violation(self, calls: Calls, kind: str, facts: list[Because], size_ns: int = 0) -> Violation:
        """What ``facts`` prove, with what shows that the swaps among them took effect."""
        shown = list(dict.fromkeys(facts))
        rows = [fact.a for fact in facts if fact.why in (Why.REPLACED, Why.NEEDED, Why.SAW_INITIAL)]
        for row in rows:
            if row in self.through:
                shown.append(_saw(calls, self.through[row], row)[0])
                rows.append(self.through[row])
        return Violation(kind=kind, rows=rows_of_facts(calls, shown), because=tuple(dict.fromkeys(shown)), size_ns=max(0, size_ns))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Touches:
    """What sessions saw and wrote, in order of time, or of session, key and time.

    Attributes:
        row: The operation.
        line: Its session and key.
        version: What it saw or wrote: the row that wrote it, or behind all rows the key whose first version it is.
        wrote: Whether it wrote it, and did not only see it.
        lasts: Whether what comes after it in its session must not be older: not so for a write that nobody answered.
    """

    row: Rows
    line: Column
    version: Column
    wrote: Mask
    lasts: Mask

    def __len__(self) -> int:
        return len(self.row)

    def take(self, chosen: Rows | Mask) -> _Touches:
        """The touches ``chosen``."""
        return _Touches(
            row=self.row[chosen], line=self.line[chosen], version=self.version[chosen], wrote=self.wrote[chosen], lasts=self.lasts[chosen]
        )

    def last_before(self) -> Rows:
        """For each touch the place of the one before it in its line that lasts, -1 where there is none."""
        here = np.arange(len(self))
        if not self.lasts.all():
            here = np.maximum.accumulate(np.where(self.lasts, here, -1))
        before = np.concatenate([[-1], here])[:-1]
        swaps = np.flatnonzero(self.row[1:] == self.row[:-1]) + 1
        before[swaps] = swaps - 1
        return np.where((before >= 0) & (self.line[before] == self.line), before, -1)


def _touches(calls: Calls, writers: Written, what: Seen, found: _Found) -> _Touches:
    """All that may be compared, in order of time."""
    count = len(calls)
    saw = np.full(count, -1, dtype=np.int64)
    saw[what.rows] = version_of(calls, what.rows, what.writer)
    wrote = np.zeros(count, dtype=bool)
    wrote[writers.rows] = True
    _add_pending_swaps(calls, writers, saw, found)
    rows = in_order_of_calls(calls)
    twice = swapped(calls) & (saw >= 0) & wrote
    if twice.any():
        rows = np.repeat(np.arange(count) if rows is None else rows, 1 + (twice if rows is None else twice[rows]))
        second = np.concatenate([[False], rows[1:] == rows[:-1]])
    else:
        rows, second = np.arange(count) if rows is None else rows, np.zeros(count, dtype=bool)
    there = (saw[rows] >= 0) | wrote[rows]
    if not there.all():
        rows, second = rows[there], second[there]
    writes = wrote[rows] & (second | (saw[rows] < 0))
    keys = len(writers.ambiguous)
    line = calls.session[rows].astype(np.int64) * keys + calls.key[rows]
    return _Touches(row=rows, line=line, version=np.where(writes, rows, saw[rows]), wrote=writes, lasts=calls.ended[rows] == Ended.OK)


def _add_pending_swaps(calls: Calls, writers: Written, saw: Column, found: _Found) -> None:
    """Swaps that nobody answered saw what they replaced, if somebody saw what they wrote, or what was swapped for it in turn."""
    pending = swapped(calls) & (calls.ended == Ended.INFO) & ~writers.ambiguous[calls.key]
    if not pending.any():
        return
    observers = np.flatnonzero((saw >= 0) & (saw < len(calls)))
    observers = observers[pending[saw[observers]]]
    left = dict(zip(saw[observers].tolist(), observers.tolist(), strict=True))
    while left:
        row, observer = left.popitem()
        found.through[row] = observer
        old = int(writers.by(calls.key[row : row + 1].astype(np.int64), calls.arg[row : row + 1])[0])
        if old == NOBODY:
            found.count("phantom-read")
            found.violations.append(found.violation(calls, "phantom-read", [Because(why=Why.NEEDED, a=row, value=int(calls.arg[row]))]))
            continue
        saw[row] = old if old >= 0 else len(calls) + calls.key[row]
        if old >= 0 and pending[old] and old not in found.through:
            left[old] = row


def _suspects(calls: Calls, touches: _Touches, keys: int) -> tuple[_Touches, list[str]]:
    """Of ``touches`` in order of time those of the keys in which a session went back, in order of line, and why others are not looked at.

    To go back is to touch a version of an earlier row than that of the last one that lasts. The order of the rows explains all other keys.
    Only the columns that this takes are put in order of line: where a history is larger than the processor's cache, that takes the time.
    """
    order, line = _by_line(touches.line)
    swap = touches.row[1:] == touches.row[:-1]
    second = np.append(False, swap)[order][1:] if swap.any() else swap
    same = line[1:] == line[:-1]
    begins = calls.call_ns[touches.row]
    until = np.maximum(np.where(calls.ended[touches.row] == Ended.INFO, begins, calls.ret_ns[touches.row]), begins + 1)
    at_once = (until[order][:-1] > begins[order][1:]) & same & ~second
    lines = np.unique(line[1:][at_once])
    undecided = []
    if len(lines):
        session = name(calls.sessions, int(lines[0]) // keys)
        undecided.append(f"sessions such as {session!r} did several things at once on one key, so they have no order of their own")
    birth = np.where(touches.version < len(calls), touches.version, -1)[order]
    lasts = touches.lasts[order]
    next_ = lasts[:-1] | second
    back = np.flatnonzero((birth[:-1] > birth[1:]) & same & next_) + 1
    over = np.flatnonzero(same & ~next_) + 1
    before = np.append(-1, np.flatnonzero(lasts))[np.searchsorted(np.flatnonzero(lasts), over)]
    over = over[(before >= 0) & (line[before] == line[over]) & (birth[before] > birth[over])]
    went = np.concatenate([line[back], line[over]])
    suspect = np.zeros(keys, dtype=bool)
    suspect[went[~np.isin(went, lines)] % max(1, keys)] = True
    if not suspect.any():
        return touches.take(order[:0]), undecided
    chosen = order[suspect[calls.key[touches.row]][order]]
    return touches.take(chosen[~np.isin(touches.line[chosen], lines)]), undecided


def _by_line(line: Column) -> tuple[Rows, Column]:
    """The places in order of line, equal ones as they were, and the lines in that order.

    Line and place are sorted as one number where they fit into one: that reads memory from end to end, where a sort of places jumps about.
    """
    width = len(line).bit_length()
    if int(line.max(initial=0)) >> (63 - width):
        order = np.argsort(line, kind="stable")
        return order, line[order]
    both = line << width
    both |= np.arange(len(line))
    both.sort()
    return both & ((1 << width) - 1), both >> width


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tangled:
    """The touches of versions whose order has a cycle; versions of one ``label`` come before and after each other."""

    touches: _Touches
    label: Column


def _tangled(calls: Calls, writers: Written, touches: _Touches) -> _Tangled:
    """What is left when all is left out that some order explains.

    An edge leads from what a session touched to what it touched next. Versions stand in a row, by key and birth. A cycle has an edge back
    across each gap between its first and its last version, so edges that no chain of such edges spans are in none. Strong components of
    what is left tell all cycles.
    """
    before = touches.last_before()
    edge = np.flatnonzero(before >= 0)
    old, new = touches.version[before[edge]], touches.version[edge]
    place = _places(calls, writers)
    begins, ends = place[old], place[new]
    back = np.flatnonzero(ends < begins)
    if not len(back):
        return _Tangled(touches=touches.take(np.zeros(0, dtype=np.int64)), label=np.zeros(0, dtype=np.int64))
    spans = np.bincount(ends[back], minlength=len(place) + 1) - np.bincount(begins[back], minlength=len(place) + 1)
    stretch = np.concatenate([[0], np.cumsum(np.cumsum(spans)[:-1] == 0)])
    kept = np.flatnonzero((stretch[begins] == stretch[ends]) & (begins != ends))
    old, new = old[kept], new[kept]
    to_first = new >= len(calls)
    versions, number = np.unique(np.concatenate([old, new[to_first], new, old[to_first]]), return_inverse=True)
    sources, targets = np.split(number, 2)
    found, in_cycle = components(sources, targets, len(versions))
    label = np.full(max(_after(touches.version), len(place)), -1, dtype=np.int64)
    label[versions[in_cycle]] = found[in_cycle]
    chosen = touches.take(label[touches.version] >= 0)
    return _Tangled(touches=chosen, label=label[chosen.version])


def _places(calls: Calls, writers: Written) -> Column:
    """The place of each version in a row of all, by key and then by birth: of those that rows wrote, and of the first one of each key."""
    rows, keys = writers.rows, len(writers.ambiguous)
    if bool((calls.call_ns[rows][1:] < calls.call_ns[rows][:-1]).any()):
        rows = rows[np.argsort(calls.call_ns[rows], kind="stable")]
    rows = rows[stable_order(calls.key[rows].astype(np.int64), keys)]
    place = np.zeros(len(calls) + keys, dtype=np.int64)
    place[rows] = np.arange(len(rows)) + calls.key[rows] + 1
    place[len(calls) :] = np.searchsorted(calls.key[rows], np.arange(keys)) + np.arange(keys)
    return place


def _after(column: Column | NDArray[np.int32]) -> int:
    return int(column.max(initial=-1)) + 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Certain:
    """Pairs of touches of one line, as places: the ``later`` one is of an older version, and that is certain.

    Attributes:
        earlier: What was newer.
        later: What was older.
        again: Where the line had touched the older one before the newer one; -1 where the order is certain for another reason: the older
            one is the first of all, or one session wrote both.
    """

    earlier: Rows
    later: Rows
    again: Rows


def _certain(calls: Calls, touches: _Touches) -> _Certain:
    """All such pairs, at most one for each later one."""
    before = touches.last_before()
    here = np.arange(len(touches))
    first = len(calls)
    to_first = np.flatnonzero((touches.version >= first) & (before >= 0))
    to_first = to_first[touches.version[before[to_first]] < first]
    by_writer = _went_back(calls, touches)
    order = np.lexsort((here, touches.version, touches.line))
    same = (touches.line[order][1:] == touches.line[order][:-1]) & (touches.version[order][1:] == touches.version[order][:-1])
    again, later = order[:-1][same], order[1:][same]
    returned = touches.lasts[again]
    returned &= (touches.version[before[later]] != touches.version[later]) & (touches.version[before[later]] < first)
    again, later = again[returned], later[returned]
    every = np.concatenate([to_first, by_writer[1], later])
    earlier = np.concatenate([before[to_first], by_writer[0], before[later]])
    seen_again = np.concatenate([np.full(len(to_first) + len(by_writer[1]), -1, dtype=np.int64), again])
    every, chosen = np.unique(every, return_index=True)
    return _Certain(earlier=earlier[chosen], later=every, again=seen_again[chosen])


def _went_back(calls: Calls, touches: _Touches) -> tuple[Rows, Rows]:
    """Pairs of touches of one line, newer first, whose versions one session wrote one after the other."""
    places = np.flatnonzero(touches.version < len(calls))
    version, line = touches.version[places], touches.line[places]
    order = np.lexsort((places, calls.session[version], line))
    places, version, line = places[order], version[order], line[order]
    if not len(places):
        return places, places
    writer = calls.session[version]
    group = np.concatenate([[0], np.cumsum((line[1:] != line[:-1]) | (writer[1:] != writer[:-1]))])
    _, age = np.unique(calls.call_ns[version], return_inverse=True)
    steps = int(age.max()) + 2
    newest = np.where(touches.lasts[places], group * steps + age + 1, group * steps)
    upto = np.maximum.accumulate(newest)
    rises = np.concatenate([[True], newest[1:] > upto[:-1]])
    at = np.maximum.accumulate(np.where(rises, np.arange(len(places)), 0))
    at = np.concatenate([[0], at[:-1]])
    older = (group[at] == group) & touches.lasts[places[at]] & (places[at] < places)
    older &= (version[at] != version) & (calls.ret_ns[version] <= calls.call_ns[version[at]])
    return places[at][older], places[older]


def _kinds(calls: Calls, touches: _Touches, certain: _Certain) -> list[str]:
    """The promise that each pair breaks."""
    newer, later = touches.version[certain.earlier], touches.row[certain.later]
    earlier = touches.row[certain.earlier]
    own = (calls.session[newer] == calls.session[later]) & (calls.ended[newer] == Ended.OK)
    writes = (touches.version[certain.later] < len(calls)) & (certain.again < 0) & ~touches.wrote[certain.earlier]
    writes &= (calls.replica[earlier] >= 0) & (calls.replica[earlier] == calls.replica[later])
    kinds: list[str] = np.where(own, "read-your-writes", np.where(writes, "monotonic-writes", "monotonic-reads")).tolist()
    return kinds


def _add_certain(calls: Calls, touches: _Touches, certain: _Certain, found: _Found) -> None:
    """The worst pairs of each kind: the longer the session had known better, the worse."""
    kinds = np.array(_kinds(calls, touches, certain))
    size_ns = calls.call_ns[touches.row[certain.later]] - calls.ret_ns[touches.row[certain.earlier]]
    for kind in np.unique(kinds).tolist():
        of_kind = np.flatnonzero(kinds == kind)
        worst = of_kind[np.argsort(-size_ns[of_kind], kind="stable")[:MOST]]
        found.count(kind, len(of_kind))
        for at in worst.tolist():
            found.violations.append(found.violation(calls, kind, _facts(calls, touches, certain, at), int(size_ns[at])))


def _facts(calls: Calls, touches: _Touches, certain: _Certain, at: int) -> list[Because]:
    """Why the pair ``at`` is wrong."""
    earlier, later, again = (int(column[at]) for column in (certain.earlier, certain.later, certain.again))
    one, other = int(touches.row[earlier]), int(touches.row[later])
    facts: list[Because] = []
    if again >= 0:
        had = int(touches.row[again])
        facts += _saw(calls, had, int(touches.version[again]))
        facts.append(Because(why=Why.SAME_SESSION, a=had, b=one))
    elif touches.version[later] < len(calls):
        facts.append(Because(why=Why.SAME_SESSION, a=int(touches.version[later]), b=int(touches.version[earlier])))
    facts += _saw(calls, one, int(touches.version[earlier]))
    facts += _saw(calls, other, int(touches.version[later]))
    facts.append(Because(why=Why.SAME_SESSION, a=one, b=other))
    return facts


def _starts(one: Column, other: Column) -> Rows:
    """The places where either column changes, and the first one."""
    changes = (one[1:] != one[:-1]) | (other[1:] != other[:-1])
    return np.flatnonzero(np.concatenate([np.ones(min(1, len(one)), dtype=bool), changes]))


def _zones(touches: _Touches) -> Zones:
    """What each line tells of each version, by places; each swap that nobody answered is one more line, from the old to the new version."""
    place = np.arange(len(touches))
    order = np.lexsort((touches.version, touches.line))
    line, version = touches.line[order], touches.version[order]
    starts = _starts(line, version)
    seen_at = np.minimum.reduceat(np.where(touches.lasts, place, NEVER)[order], starts) if len(order) else place
    asked_at = np.maximum.reduceat(place[order], starts) if len(order) else place
    new = np.flatnonzero((touches.row[1:] == touches.row[:-1]) & ~touches.lasts[1:]) + 1
    own = -1 - np.arange(len(new))
    ends = np.concatenate([new - 1, new])
    seen_row = touches.row[np.where(seen_at == NEVER, 0, seen_at)] if len(order) else place
    return Zones(
        line=np.concatenate([line[starts], own, own]),
        version=np.concatenate([version[starts], touches.version[ends]]),
        seen=np.concatenate([seen_at, ends]),
        asked=np.concatenate([asked_at, ends]),
        seen_row=np.concatenate([seen_row, touches.row[ends]]),
        asked_row=np.concatenate([touches.row[asked_at], touches.row[ends]]),
    )


def _zones_of_replicas(calls: Calls, rows: Rows, version: Column, stale_ns: int) -> Zones:
    """What each replica tells of each version of each key, where an answer may be ``stale_ns`` old."""
    line = calls.replica[rows].astype(np.int64) * (int(calls.key.max(initial=0)) + 1) + calls.key[rows]
    by_return = np.lexsort((calls.ret_ns[rows], version, line))
    by_call = np.lexsort((calls.call_ns[rows], version, line))
    lines, versions = line[by_return], version[by_return]
    starts = _starts(lines, versions)
    ends = np.concatenate([starts[1:], [len(rows)]])[: len(starts)] - 1
    seen_row, asked_row = rows[by_return[starts]], rows[by_call[ends]]
    return Zones(
        line=lines[starts],
        version=versions[starts],
        seen=calls.ret_ns[seen_row],
        asked=calls.call_ns[asked_row] - stale_ns,
        seen_row=seen_row,
        asked_row=asked_row,
    )


def _with_first(zones: Zones, *, first: int, keys: int) -> Zones:
    """``zones`` and, for each key whose first version was read, a line which says that it is before all other ones."""
    of_first = np.unique(zones.version[zones.version >= first])
    version, at = np.unique(zones.version, return_index=True)
    key = zones.line[at] % keys
    at, key = at[np.isin(key + first, of_first)], key[np.isin(key + first, of_first)]
    version = zones.version[at]
    when = np.where(version >= first, BEFORE_ALL, NEVER)
    return Zones(
        line=np.concatenate([zones.line, -1 - key]),
        version=np.concatenate([zones.version, version]),
        seen=np.concatenate([zones.seen, when]),
        asked=np.concatenate([zones.asked, when]),
        seen_row=np.concatenate([zones.seen_row, zones.seen_row[at]]),
        asked_row=np.concatenate([zones.asked_row, zones.asked_row[at]]),
    )


def _labels_of_replicas(zones: Zones) -> Column:
    """For each zone the group of versions that come before and after each other, -1 where its version is alone.

    Each line becomes a chain of instants: a version leads to the instant by which it had been seen, and the instant at which a version was
    last asked for leads to it. So a line of n zones needs 4 n edges and not n².
    """
    versions, number = np.unique(zones.version, return_inverse=True)
    count = len(zones)
    line = np.concatenate([zones.line, zones.line])
    order = np.lexsort((np.repeat([0, 1], count), np.concatenate([zones.asked, zones.seen]), line))
    chained = line[order][1:] == line[order][:-1]
    instant = order + len(versions)
    asked = np.arange(count) + len(versions)
    sources = np.concatenate([instant[:-1][chained], number, asked])
    targets = np.concatenate([instant[1:][chained], asked + count, number])
    label, _ = components(sources, targets, len(versions) + 2 * count)
    shared = np.bincount(label[: len(versions)], minlength=1)[label[: len(versions)]] > 1
    return np.where(shared[number], label[: len(versions)][number], -1)


def _add_cycles(calls: Calls, zones: Zones, label: Column, found: _Found, why: Why, budget: Budget) -> None:
    """A cycle of each group of versions; ``label`` is the group of each zone."""
    groups = sorted(places_by(label), key=len)
    for number, group in enumerate(groups):
        if number >= LOOKED_AT or (number and budget.over()):
            found.count("order-disagreement", len(groups) - number)
            return
        violation = _cycle(calls, zones.take(group), found, why)
        found.count(violation.kind)
        found.violations.append(violation)


def _cycle(calls: Calls, zones: Zones, found: _Found, why: Why) -> Violation:
    """One cycle as a proof."""
    hops = shortest(zones)
    facts: list[Because] = []
    for hop, after in zip(hops, (*hops[1:], *hops[:1]), strict=True):
        facts += _saw(calls, hop.before, hop.version)
        facts += _saw(calls, hop.after, after.version)
        if hop.line >= 0 and hop.before != hop.after:
            facts.append(Because(why=why, a=hop.before, b=hop.after))
    return found.violation(calls, _kind(calls, hops, why), facts)


def _kind(calls: Calls, hops: tuple[Hop, ...], why: Why) -> str:
    """What the cycle breaks. Two hops, one from what was read to what was written and one back again, show a write before its cause."""
    if len({hop.line for hop in hops if hop.line >= 0 and hop.before != hop.after}) == 1:  # the order of all others is certain
        return "went-back" if why is Why.SAME_REPLICA else "monotonic-reads"
    writes = [hop for hop, after in zip(hops, (*hops[1:], *hops[:1]), strict=True) if hop.after == after.version]
    if len(hops) == 2 and len(writes) == 1 and calls.f[writes[0].before] == F.READ:
        return "writes-follow-reads"
    return "order-disagreement"


def _saw(calls: Calls, row: int, version: int) -> list[Because]:
    """That ``row`` saw ``version``; nothing where it wrote it itself."""
    if row == version:
        return []
    if version >= len(calls):
        return [Because(why=Why.SAW_INITIAL, a=row)]
    value = int(calls.arg2[version] if calls.f[version] == F.CAS else calls.arg[version])
    return [Because(why=Why.REPLACED if calls.f[row] == F.CAS else Why.SAW, a=row, b=version, value=value)]
