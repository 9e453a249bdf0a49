"""Elements that only ever come: what reads of a whole set or log prove about each of them, and about which came first.

Once an element is known to be there, because its addition was acknowledged or a finished read had it, every read that begins later must
have it. `Elements` holds what is told of each one. `judge_elements` finds those that break this, in the words of Jepsen's set-full (known,
lost, stale, never read), and tells a refused element that was seen from one that nobody ever tried. `judge_chain` asks the rest, so that
both together are exact for a set: two reads of which each has what the other lacks, and a read that has an element but lacks one that had
been acknowledged before that one was even asked for.

It is exact since the order is forced but for time: the distinct answers of reads form a chain of growing sets; what a read has first comes
after the read before it in the chain, and before it. Such an order exists iff no operation of a later level ended before one of an earlier
level began. An element that is added twice is there from its first addition on: only the first call and the first acknowledgement matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.monitors.calls import NOTHING, Calls, Column, Ended, F, Mask, Rows
from harness.monitors.columns import Apart, Found, at_least, at_most, dense_pairs, rows_of
from harness.monitors.judged import Because, Violation, Why, before

ADDS: Final = (F.ADD, F.APPEND)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Elements:
    """What a history tells of the elements of sets and logs.

    An element is a value of a key, by a number. Rows and their elements stand in two columns side by side. Times are those of `Apart`.

    Attributes:
        calls: The history.
        at: Its instants.
        keys: The key of each element.
        adds: Rows that may have added something, and in ``added`` what.
        added: See ``adds``.
        refused: Rows that provably added nothing, and in ``refused_of`` what they wanted to.
        refused_of: See ``refused``.
        looks: Rows that told whether one element is there, in ``looked_at`` which, in ``there`` the answer.
        looked_at: See ``looks``.
        there: See ``looks``.
        reads: Rows that told the whole, by key and call; a read's *rank* is its place here.
        cell_of: The elements that reads had, sorted, and in ``cell_rank`` the rank of the read, sorted for each element.
        cell_rank: See ``cell_of``.
        items: The same as ``cell_of`` in the order of the answers.
    """

    calls: Calls
    at: Apart
    keys: Column
    adds: Rows
    added: Column
    refused: Rows
    refused_of: Column
    looks: Rows
    looked_at: Column
    there: Mask
    reads: Rows
    cell_of: Column
    cell_rank: Column
    items: Column

    @property
    def many(self) -> int:
        """How many elements there are."""
        return len(self.keys)

    def add_of(self, element: int) -> int:
        """The addition of ``element`` that was acknowledged first; where none was, the one that was called first; else -1."""
        rows = self.adds[self.added == element]
        return int(rows[np.lexsort((self.at.call[rows], self.at.ret[rows]))[0]]) if len(rows) else -1

    def first_add_of(self, element: int) -> int:
        """The addition of ``element`` that was called first."""
        rows = self.adds[self.added == element]
        return int(rows[np.argmin(self.at.call[rows])])

    def seen_in(self, element: int) -> Rows:
        """The rows that had ``element``, by their call: whole reads, and looks at it."""
        begin, end = np.searchsorted(self.cell_of, [element, element + 1])
        rows = np.concatenate([self.reads[self.cell_rank[begin:end]], self.looks[(self.looked_at == element) & self.there]])
        return rows[np.argsort(self.at.call[rows], kind="stable")]

    def missed_in(self, element: int) -> Rows:
        """The rows that lacked ``element``, by their call."""
        begin, end = np.searchsorted(self.cell_of, [element, element + 1])
        lacking = self.reads[self.calls.key[self.reads] == self.keys[element]]
        lacking = np.setdiff1d(lacking, self.reads[self.cell_rank[begin:end]])
        rows = np.concatenate([lacking, self.looks[(self.looked_at == element) & ~self.there]])
        return rows[np.argsort(self.at.call[rows], kind="stable")]


def elements_of(calls: Calls, at: Apart, chosen: Mask) -> Elements:
    """What the ``chosen`` rows tell of elements."""
    ok, of_adds = calls.ended == Ended.OK, np.isin(calls.f, ADDS)
    told = ok & chosen & (calls.result != NOTHING)
    adds = np.flatnonzero(of_adds & chosen & (calls.ended != Ended.FAIL))
    refused = np.flatnonzero(of_adds & chosen & (calls.ended == Ended.FAIL))
    looks = np.flatnonzero(((calls.f == F.CONTAINS) | (calls.f == F.REMOVE)) & told)  # a removal here found nothing
    reads = np.flatnonzero((calls.f == F.READ) & told)
    reads = reads[np.argsort(at.call[reads], kind="stable")]
    lengths, items = _items_of(calls, reads)
    keys = [calls.key[adds], calls.key[refused], calls.key[looks], np.repeat(calls.key[reads], lengths)]
    (added, refused_of, looked_at, items), key_of = dense_pairs(keys, [calls.arg[adds], calls.arg[refused], calls.arg[looks], items])
    shift = len(reads).bit_length()
    cells = (items << shift) | np.repeat(np.arange(len(reads)), lengths)
    cells.sort()
    return Elements(
        calls=calls,
        at=at,
        keys=key_of,
        adds=adds,
        added=added,
        refused=refused,
        refused_of=refused_of,
        looks=looks,
        looked_at=looked_at,
        there=calls.result[looks] != 0,
        reads=reads,
        cell_of=cells >> shift,
        cell_rank=cells & ((1 << shift) - 1),
        items=items,
    )


def _items_of(calls: Calls, reads: Rows) -> tuple[Column, Column]:
    """How many items each of ``reads`` had, and all of them in that order."""
    if not len(calls.starts):
        return np.zeros(len(reads), dtype=np.int64), calls.items[:0]
    begin, lengths = calls.starts[:-1][reads], np.diff(calls.starts)[reads]
    if len(reads) and np.array_equal(begin[1:], begin[:-1] + lengths[:-1]):
        return lengths, calls.items[begin[0] : begin[-1] + lengths[-1]]
    ends = np.cumsum(lengths)
    return lengths, calls.items[np.arange(int(lengths.sum())) + np.repeat(begin - ends + lengths, lengths)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """What is known of each element, and which of them are as they should be.

    Attributes:
        sure: When it was certainly there: the first end of an acknowledged addition, or of a look that saw it.
        late: When it was certainly not yet there: the last call of its first addition, or of a look that missed it.
        good: Elements that some row may have added, that were acknowledged or seen, and of which nothing wrong was found.
        once: Which cells are the first of their element in their read.
    """

    sure: Column
    late: Column
    good: Mask
    once: Mask


def judge_elements(told: Elements, found: Found) -> Known:
    """Find what is wrong with single elements."""
    at, many = told.at, told.many
    last, first = at.after(told.keys), at.before(told.keys)
    yes, no = told.looked_at[told.there], told.looked_at[~told.there]
    yes_rows, no_rows = told.looks[told.there], told.looks[~told.there]
    called = at_least(told.added, at.call[told.adds], last.copy())
    tried = np.zeros(many, dtype=np.bool_)
    tried[told.added] = True
    once = np.ones(len(told.cell_of), dtype=np.bool_)
    once[1:] = (told.cell_of[1:] != told.cell_of[:-1]) | (told.cell_rank[1:] != told.cell_rank[:-1])
    seen_end, seen_call, lacked_call = _reads_of(told, once, last, first)
    seen_end = at_least(yes, at.ret[yes_rows], seen_end)
    seen_call = at_most(yes, at.call[yes_rows], seen_call)
    lacked_call = at_most(no, at.call[no_rows], lacked_call)
    sure = at_least(yes, at.ret[yes_rows], at_least(told.added, at.ret[told.adds], last.copy()))
    seen = seen_end < last

    _strange(told, seen & ~tried, found)
    twice = np.unique(told.cell_of[~once])
    found.note("duplicated-element", twice, lambda element: _twice(told, element, once))
    early = tried & seen & (seen_end < called)
    found.note("future-read", np.flatnonzero(early), lambda element: _early(told, element))
    known = np.minimum(sure, seen_end)
    gone = tried & (known < lacked_call)
    missing_for = lacked_call - known
    lost = np.flatnonzero(gone & (seen_call < lacked_call))
    found.note("lost-element", lost, lambda element: _lost(told, element), missing_for[lost])
    stale = np.flatnonzero(gone & (seen_call >= lacked_call))
    found.note("stale-element", stale, lambda element: _stale(told, element), missing_for[stale])
    never = int(np.count_nonzero(tried & (sure < last) & ~seen & (lacked_call <= known)))
    if never:
        found.counts["never-read"] = found.counts.get("never-read", 0) + never
    late = at_most(no, at.call[no_rows], called.copy())
    return Known(sure=sure, late=late, good=tried & (known < last) & ~gone & ~early, once=once)


def _reads_of(told: Elements, once: Mask, last: Column, first: Column) -> tuple[Column, Column, Column]:
    """For each element the first end and the last call of the whole reads that had it, and the last call of those that lacked it."""
    ends, calls = told.at.ret[told.reads], told.at.call[told.reads]
    seen_end, seen_call, lacked_call = last.copy(), first.copy(), first.copy()
    if not len(told.reads):
        return seen_end, seen_call, lacked_call
    keys = told.calls.key[told.reads]
    final_rank = np.searchsorted(keys, told.keys, "right") - 1
    element, rank = (told.cell_of, told.cell_rank) if once.all() else (told.cell_of[once], told.cell_rank[once])
    # of the ranks of an element, from the last one down, those without a gap between them and the end
    run = np.zeros(told.many, dtype=np.int64)
    if len(element):
        begins = np.flatnonzero(np.concatenate([[True], element[1:] != element[:-1]]))
        those = element[begins]
        stops = np.append(begins[1:], len(element))
        seen_end[those] = np.minimum.reduceat(ends[rank], begins)
        seen_call[those] = calls[rank[stops - 1]]
        in_run = rank - np.arange(len(rank)) == np.repeat(final_rank[those] - stops + 1, stops - begins)
        run[those] = np.add.reduceat(in_run, begins, dtype=np.int64)
    lacked = final_rank - run
    some = lacked >= 0  # the last read of the key before may be meant, which is before everything
    lacked_call[some] = calls[lacked[some]]
    return seen_end, seen_call, lacked_call


def _strange(told: Elements, strange: Mask, found: Found) -> None:
    refused = np.zeros(told.many, dtype=np.bool_)
    refused[told.refused_of] = True

    def build(kind: str, element: int) -> Violation:
        read = int(told.seen_in(element)[0])
        if kind == "unexpected-element":
            return Violation(
                kind=kind, rows=(read,), because=(Because(why=Why.NOBODY_ADDED, a=read, value=_value_of(told, read, element)),)
            )
        by = told.refused[told.refused_of == element].tolist()
        because = Because(why=Why.REFUSED_ADDED, a=read, b=by[0], value=_value_of(told, read, element), n=len(by))
        return Violation(kind=kind, rows=rows_of(read, *by), because=(because,))

    found.note("unexpected-element", np.flatnonzero(strange & ~refused), lambda element: build("unexpected-element", element))
    found.note("resurrected-element", np.flatnonzero(strange & refused), lambda element: build("resurrected-element", element))


def _value_of(told: Elements, row: int, element: int) -> int:
    """The code of ``element``, which the read or look ``row`` had."""
    looked = told.looks == row
    if looked.any():
        return int(told.calls.arg[row])
    lengths, _ = _items_of(told.calls, told.reads)
    rank = int(np.flatnonzero(told.reads == row)[0])
    begin = int(lengths[:rank].sum())
    place = int(np.flatnonzero(told.items[begin : begin + lengths[rank]] == element)[0])
    return int(told.calls.items_of(row)[place])


def _twice(told: Elements, element: int, once: Mask) -> Violation:
    cell = int(np.flatnonzero((told.cell_of == element) & ~once)[0])
    read = int(told.reads[told.cell_rank[cell]])
    because = Because(why=Why.HAS_TWICE, a=read, value=_value_of(told, read, element), n=2, m=1)
    return Violation(kind="duplicated-element", rows=rows_of(read, told.add_of(element)), because=(because,))


def _early(told: Elements, element: int) -> Violation:
    add, seen = told.first_add_of(element), told.seen_in(element)
    read = int(seen[np.argmin(told.at.ret[seen])])
    because = (Because(why=Why.HAS, a=read, b=add, value=int(told.calls.arg[add])), before(read, add))
    return Violation(kind="future-read", rows=(read, add), because=because)


def _first_known(told: Elements, element: int) -> tuple[int, int]:
    """The addition of ``element``, and the row whose end made it known."""
    add, seen = told.add_of(element), told.seen_in(element)
    if not len(seen):
        return add, add
    first = int(seen[np.argmin(told.at.ret[seen])])
    return add, add if told.at.ret[add] <= told.at.ret[first] else first


def _shown(add: int, witness: int, value: int) -> Because:
    """That ``witness``, which is the addition ``add`` or had what that added, shows that ``value`` is there."""
    return Because(why=Why.ADDED, a=add, value=value) if witness == add else Because(why=Why.HAS, a=witness, b=add, value=value)


def _lost(told: Elements, element: int) -> Violation:
    """With the last read that had it, and the first one after which it was never there again."""
    calls, call = told.calls, told.at.call
    add, witness = _first_known(told, element)
    seen, lacking = told.seen_in(element), told.missed_in(element)
    had = int(seen[-1]) if len(seen) else -1
    since = max(int(told.at.ret[witness]), int(call[had]) if had >= 0 else 0)
    read = int(lacking[np.searchsorted(call[lacking], since, "right")])
    value = int(calls.arg[add])
    because = [_shown(add, witness, value), before(witness, read)]
    if had >= 0 and had != witness:
        because.append(Because(why=Why.HAS, a=had, b=add, value=value))
    because.append(Because(why=Why.LACKS, a=read, b=add, value=value))
    latest = int(lacking[-1])
    size = int(calls.call_ns[latest] - calls.ret_ns[witness])
    return Violation(kind="lost-element", rows=rows_of(add, witness, had, read), because=tuple(because), size_ns=size)


def _stale(told: Elements, element: int) -> Violation:
    """With the read that lacked it for longest."""
    calls = told.calls
    add, witness = _first_known(told, element)
    read, later = int(told.missed_in(element)[-1]), int(told.seen_in(element)[-1])
    value = int(calls.arg[add])
    because = (_shown(add, witness, value), before(witness, read), Because(why=Why.LACKS, a=read, b=add, value=value))
    size = int(calls.call_ns[read] - calls.ret_ns[witness])
    return Violation(kind="stale-element", rows=rows_of(add, witness, read, later), because=because, size_ns=size)


def judge_chain(told: Elements, known: Known, found: Found) -> None:
    """Find what is wrong with elements together; only those count that are as they should be one by one."""
    if not len(told.reads):
        return
    cells = known.good[told.cell_of] & known.once
    element, rank = (told.cell_of, told.cell_rank) if cells.all() else (told.cell_of[cells], told.cell_rank[cells])
    sizes = np.bincount(rank, minlength=len(told.reads))
    keys = told.calls.key[told.reads].astype(np.int64)
    order = np.lexsort((sizes, keys))
    new = np.concatenate([[True], (np.diff(keys[order]) != 0) | (np.diff(sizes[order]) != 0)])
    level_of_rank = np.empty(len(order), dtype=np.int64)
    level_of_rank[order] = np.cumsum(new) - 1  # reads of one key and one size; if these are a chain, they are the same
    levels = int(np.count_nonzero(new))
    level = at_least(element, level_of_rank[rank], np.full(told.many, levels, dtype=np.int64))
    first = np.searchsorted(keys[order][new], keys[order][new])  # the first level of the same key
    there = np.concatenate([[0], np.cumsum(np.bincount(level, minlength=levels + 1)[:levels])])
    wrong = sizes != (there[1:] - there[first])[level_of_rank]
    found.note("incomparable-reads", np.flatnonzero(wrong), lambda one: _incomparable(told, known, one, level, level_of_rank))
    over, by = overtaken(told, known, level)

    def skip(x: int) -> Violation:
        y = by(x)
        ranks = told.cell_rank[told.cell_of == y]
        return skipped(told, x, y, int(told.reads[ranks[level_of_rank[ranks] == level[y]][0]]))

    found.note("skipped-element", over, skip)


def _incomparable(told: Elements, known: Known, rank: int, level: Column, level_of_rank: Column) -> Violation:
    """That the read ``rank`` lacks what a read had that is not larger."""
    own = told.cell_of[told.cell_rank == rank]
    own = own[known.good[own]]
    key = told.keys[own[0]]
    candidates = np.flatnonzero((level <= level_of_rank[rank]) & (told.keys == key) & known.good)
    x = int(np.setdiff1d(candidates, own)[0])
    ranks = told.cell_rank[told.cell_of == x]
    other_rank = int(ranks[level_of_rank[ranks] == level[x]][0])
    other = told.cell_of[told.cell_rank == other_rank]
    y = int(np.setdiff1d(own, other)[0])
    add_x, add_y = told.first_add_of(x), told.first_add_of(y)
    a, b = int(told.reads[rank]), int(told.reads[other_rank])
    value_x, value_y = int(told.calls.arg[add_x]), int(told.calls.arg[add_y])
    because = (
        Because(why=Why.HAS, a=a, b=add_y, value=value_y),
        Because(why=Why.LACKS, a=a, b=add_x, value=value_x),
        Because(why=Why.HAS, a=b, b=add_x, value=value_x),
        Because(why=Why.LACKS, a=b, b=add_y, value=value_y),
    )
    return Violation(kind="incomparable-reads", rows=rows_of(a, b, add_x, add_y), because=because)


def overtaken(told: Elements, known: Known, level: Column) -> tuple[Column, Callable[[int], int]]:
    """The elements that were sure to be there before one of a lower ``level`` of the same key was even asked for.

    And a function that tells the latest such one.
    """
    chosen = np.flatnonzero(known.good)
    order = chosen[np.lexsort((level[chosen], told.keys[chosen]))]
    late = np.maximum.accumulate(known.late[order])
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = np.diff(level[order]) != 0  # the lowest level of a key is never compared
    begin = np.flatnonzero(new)[np.cumsum(new) - 1]
    over = order[(begin > 0) & (known.sure[order] < late[begin - 1])]

    def by(element: int) -> int:
        lower = chosen[(level[chosen] < level[element]) & (told.keys[chosen] == told.keys[element])]
        return int(lower[np.argmax(known.late[lower])])

    return np.sort(over), by


def when_sure(told: Elements, element: int) -> tuple[int, int]:
    """The addition of ``element``, and the row whose end made sure that it is there: that addition or a look."""
    add = told.add_of(element)
    looks = told.looks[(told.looked_at == element) & told.there]
    rows = np.concatenate([[add], looks])
    return add, int(rows[np.argmin(told.at.ret[rows])])


def when_late(told: Elements, element: int) -> tuple[int, int]:
    """The first addition of ``element``, and the row whose call is the last at which it was not yet there: that addition or a look."""
    add = told.first_add_of(element)
    looks = told.looks[(told.looked_at == element) & ~told.there]
    rows = np.concatenate([[add], looks])
    return add, int(rows[np.argmax(told.at.call[rows])])


def skipped(told: Elements, x: int, y: int, read: int) -> Violation:
    """That ``read`` had the element ``y`` and not ``x``, though ``x`` was sure before ``y`` came."""
    (add_x, sure), (add_y, late) = when_sure(told, x), when_late(told, y)
    value_x, value_y = int(told.calls.arg[add_x]), int(told.calls.arg[add_y])
    because = [_shown(add_x, sure, value_x), before(sure, late)]
    if late != add_y:
        because.append(Because(why=Why.LACKS, a=late, b=add_y, value=value_y))
    because.append(Because(why=Why.HAS, a=read, b=add_y, value=value_y))
    because.append(Because(why=Why.LACKS, a=read, b=add_x, value=value_x))
    return Violation(kind="skipped-element", rows=rows_of(add_x, sure, add_y, late, read), because=tuple(because))
