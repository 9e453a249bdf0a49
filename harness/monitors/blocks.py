"""The values of registers: who wrote each, when it was seen, which compare-and-sets link it to others, and what contradicts time.

Everything here is for values that were written at most once to their key. `harness.monitors.register` says why that decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.monitors.calls import INITIAL, NEVER, NOTHING, Calls, Column, Ended, F, Mask, Rows

Keys = NDArray[np.int32]

ROOMY: Final = 4
"""Codes up to so many times the rows are looked up in a table; sparser ones are sorted first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Numbering:
    """A number for each value of each key that somebody wanted to write, and behind them one for each key's first value.

    Attributes:
        slots: The codes, sorted, where they are too sparse for a table; else empty.
        pairs: Where one code belongs to several keys: key times ``width`` plus slot, sorted; else empty.
        owner: The key of each number.
        width: How many slots there are.
        first: The number of the first key's first value.
    """

    slots: Column
    pairs: Column
    owner: Keys
    width: int
    first: int

    @staticmethod
    def of_written(key: Keys, code: Column, keys: int) -> Numbering:
        """Number the values ``code`` that operations on ``key`` wanted to write."""
        none = np.zeros(0, dtype=np.int64)
        dense = not len(code) or (int(code.min()) >= 0 and int(code.max()) <= ROOMY * len(code) + 1024)
        slots = none if dense else np.unique(code)
        slot = code if dense else np.searchsorted(slots, code)
        width = int(slot.max(initial=-1)) + 1
        owner = np.full(width, -1, dtype=np.int32)
        owner[slot] = key
        pairs = none
        if not np.array_equal(owner[slot], key):
            pairs = np.unique(key.astype(np.int64) * width + slot)
            owner = (pairs // width).astype(np.int32)
        owners = np.concatenate([owner, np.arange(keys, dtype=np.int32)])
        return Numbering(slots=slots, pairs=pairs, owner=owners, width=width, first=len(owner))

    def numbers(self, key: Keys, code: Column) -> Rows:
        """The number of each value; -1 where nobody wanted to write it to that key."""
        if len(self.slots):
            slot = np.minimum(np.searchsorted(self.slots, code), self.width - 1)
            slot[self.slots[slot] != code] = -1
        else:
            slot = np.where((code >= 0) & (code < self.width), code, -1)
        if len(self.pairs):
            pair = key.astype(np.int64) * self.width + slot
            found = np.minimum(np.searchsorted(self.pairs, pair), len(self.pairs) - 1)
            found[(self.pairs[found] != pair) | (slot < 0)] = -1
        else:
            found = slot
            if self.width:
                found[self.owner[found] != key] = -1
        initial = np.flatnonzero(code == INITIAL)
        found[initial] = self.first + key[initial]
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Told:
    """The rows that tell something, by what they do; ``reads``, ``writes`` and ``swaps`` with the numbers of their values.

    Attributes:
        reads: Reads that answered a value, and compare-and-sets that replaced one by itself.
        read: The number of that value; -1 where nobody wanted to write it.
        writes: What took effect or may have, and writes a value: compare-and-sets, too.
        written: The number of that value.
        swaps: The compare-and-sets among the writes.
        swapped: The number of the value that each replaced, or would.
        made: The number of the value that each wrote, or would.
        looks: Compare-and-sets that answered another value.
        refused: Writes that had no effect.
        unwritten: The number of the value that each of those wanted to write.
    """

    reads: Rows
    read: Rows
    writes: Rows
    written: Rows
    swaps: Rows
    swapped: Rows
    made: Rows
    looks: Rows
    refused: Rows
    unwritten: Rows


def code_written(calls: Calls, rows: Rows) -> Column:
    """The values that the changes ``rows`` wrote or wanted to write."""
    return np.where(calls.f[rows] == F.CAS, calls.arg2[rows], calls.arg[rows])


def code_seen(calls: Calls, rows: Rows) -> Column:
    """The values that reads and successful compare-and-sets saw."""
    return np.where(calls.f[rows] == F.CAS, calls.arg[rows], calls.result[rows])


def told_of(calls: Calls, keys: int) -> tuple[Told, Numbering]:
    """Sort the rows by what they do, and number the values."""
    cas, fail, ok = calls.f == F.CAS, calls.ended == Ended.FAIL, calls.ended == Ended.OK
    looked = cas & ok & (calls.result == 0)
    same = cas & (calls.arg == calls.arg2)  # to replace a value by itself is to read it
    changes = np.flatnonzero(((calls.f == F.WRITE) | cas) & ~looked & ~same)
    code = code_written(calls, changes)
    numbering = Numbering.of_written(calls.key[changes], code, keys)
    number = numbering.numbers(calls.key[changes], code)
    reads = np.flatnonzero(ok & (((calls.f == F.READ) & (calls.result != NOTHING)) | (same & ~looked)))
    gone = fail[changes]
    writes, written = changes[~gone], number[~gone]
    swapping = cas[writes]
    swaps = writes[swapping]
    told = Told(
        reads=reads,
        read=numbering.numbers(calls.key[reads], code_seen(calls, reads)),
        writes=writes,
        written=written,
        swaps=swaps,
        swapped=numbering.numbers(calls.key[swaps], calls.arg[swaps]),
        made=written[swapping],
        looks=np.flatnonzero(looked),
        refused=changes[gone],
        unwritten=number[gone],
    )
    return told, numbering


def effective(calls: Calls, told: Told, values: int) -> Told:
    """``told`` without the pending writes whose value nobody saw.

    What they leave behind is seen by nobody, so an order with them explains the rest without them. A pending compare-and-set sees a value
    only if it stays itself; so what is seen is told backwards along such chains.
    """
    pending = calls.ended[told.writes] == Ended.INFO
    if not pending.any():
        return told
    swap_pending = calls.ended[told.swaps] == Ended.INFO
    seen = np.zeros(values, dtype=np.bool_)
    seen[told.read[told.read >= 0]] = True
    surely = told.swapped[~swap_pending]
    seen[surely[surely >= 0]] = True
    maker = np.full(values, -1, dtype=np.int64)
    unsure = np.flatnonzero(swap_pending)
    maker[told.made[unsure]] = unsure
    reached = unsure[seen[told.made[unsure]]]
    while len(reached):
        before = told.swapped[reached]
        before = np.unique(before[before >= 0])
        before = before[~seen[before]]
        seen[before] = True
        reached = maker[before]
        reached = reached[reached >= 0]
    keep = ~pending | seen[told.written]
    keep_swap = ~swap_pending | seen[told.made]
    return Told(
        reads=told.reads,
        read=told.read,
        writes=told.writes[keep],
        written=told.written[keep],
        swaps=told.swaps[keep_swap],
        swapped=told.swapped[keep_swap],
        made=told.made[keep_swap],
        looks=told.looks,
        refused=told.refused,
        unwritten=told.unwritten,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Values:
    """What is known of each value, by its number.

    Attributes:
        key: Its key.
        first: The number of the first key's first value.
        begin_ns: A time before every operation; the first values were written then.
        end_ns: A time after every known one.
        writer: The row that wrote it; -1: nobody, or it is a first value.
        call_ns: When its write was called.
        ret_ns: When its write returned.
        first_ret_ns: When the first read of it returned; `NEVER` without one.
        last_call_ns: When the last read of it was called; ``begin_ns`` without one.
        child: The value that replaced it by a compare-and-set; -1 without one.
        parent: The value that it replaced in that way; -1 when it was written outright.
        root: The value at the beginning of its block.
        depth: How many compare-and-sets lead from there to it.
    """

    key: Keys
    first: int
    begin_ns: int
    end_ns: int
    writer: Rows
    call_ns: Column
    ret_ns: Column
    first_ret_ns: Column
    last_call_ns: Column
    child: Rows
    parent: Rows
    root: Rows
    depth: Rows

    @property
    def linked(self) -> Rows:
        """The values of blocks of more than one."""
        return np.flatnonzero((self.parent >= 0) | (self.child >= 0))

    def there(self) -> Mask:
        """Which were written, or were there at first."""
        found = self.writer >= 0
        found[self.first :] = True
        return found


def values_of(calls: Calls, told: Told, numbering: Numbering) -> Values:
    """Gather what the operations say of each value."""
    count, first = len(numbering.owner), numbering.first
    begin_ns = int(calls.call_ns.min()) - 1
    known = calls.ret_ns[calls.ended == Ended.OK]
    end_ns = max(int(calls.call_ns.max()), int(known.max(initial=begin_ns))) + 1
    writer = np.full(count, -1, dtype=np.int64)
    writer[told.written] = told.writes
    call_ns = np.full(count, begin_ns, dtype=np.int64)
    call_ns[told.written] = calls.call_ns[told.writes]
    ret_ns = np.full(count, begin_ns, dtype=np.int64)
    ret_ns[told.written] = np.where(calls.ended[told.writes] == Ended.OK, calls.ret_ns[told.writes], NEVER)
    first_ret_ns = np.full(count, NEVER, dtype=np.int64)
    last_call_ns = np.full(count, begin_ns, dtype=np.int64)
    seen = told.read >= 0
    rows, number = (told.reads, told.read) if seen.all() else (told.reads[seen], told.read[seen])
    np.minimum.at(first_ret_ns, number, calls.ret_ns[rows])
    np.maximum.at(last_call_ns, number, calls.call_ns[rows])
    sure = told.swapped >= 0
    child, parent = np.full(count, -1, dtype=np.int64), np.full(count, -1, dtype=np.int64)
    child[told.swapped[sure]] = told.made[sure]
    parent[told.made[sure]] = told.swapped[sure]
    root, depth = _blocks(parent, told.made[sure])
    return Values(
        key=numbering.owner,
        first=first,
        begin_ns=begin_ns,
        end_ns=end_ns,
        writer=writer,
        call_ns=call_ns,
        ret_ns=ret_ns,
        first_ret_ns=first_ret_ns,
        last_call_ns=last_call_ns,
        child=child,
        parent=parent,
        root=root,
        depth=depth,
    )


def _blocks(parent: Rows, made: Rows) -> tuple[Rows, Rows]:
    """Each value's root and depth, by doubling the steps towards it; the root is -1 where the way there is a circle."""
    root, depth = np.arange(len(parent)), np.zeros(len(parent), dtype=np.int64)
    root[made], depth[made] = parent[made], 1
    active = made
    for _ in range(len(made).bit_length() + 1):
        half = root[active]
        whole, more = root[half], depth[half]
        going = whole != half
        active = active[going]
        if not len(active):
            break
        root[active], depth[active] = whole[going], depth[active] + more[going]
    root[made[parent[root[made]] >= 0]] = -1
    return root, depth


def shifted(values: Values, segment: Rows, segments: int, columns: Sequence[Column]) -> list[Column]:
    """``columns`` of instants so that those of a later segment are all greater, and within one they keep their order."""
    columns = [np.minimum(column, values.end_ns) for column in columns]
    for column in columns:
        np.subtract(column, values.begin_ns, out=column)
    width = values.end_ns - values.begin_ns + 1
    if segments * width >= 1 << 62:
        known = np.unique(np.concatenate(columns))
        columns, width = [np.searchsorted(known, column) for column in columns], len(known)
    if segments > 1:
        base = segment * width
        for column in columns:
            np.add(column, base, out=column)
    return columns


def against_chain(values: Values, chosen: Mask) -> Rows:
    """The values of blocks whose write or whose first read ended before something of an earlier value began. Only of ``chosen``."""
    linked = values.linked
    linked = linked[chosen[linked]]
    order = linked[np.lexsort((values.depth[linked], values.root[linked]))]
    segment = np.zeros(len(order), dtype=np.int64)
    np.cumsum(np.diff(values.root[order]) != 0, out=segment[1:])
    write_call, write_ret, read_call, read_ret = shifted(
        values,
        segment,
        int(segment.max(initial=0)) + 1,
        [values.call_ns[order], values.ret_ns[order], values.last_call_ns[order], values.first_ret_ns[order]],
    )
    until_write = np.maximum.accumulate(np.maximum(write_call, read_call))
    before = np.full(len(order), -1, dtype=np.int64)
    before[1:] = until_write[:-1]
    return order[(write_ret < before) | (read_ret < before)]


def zones(values: Values, chosen: Mask) -> tuple[Rows, Column, Column]:
    """The roots of all blocks of ``chosen`` values, the first end of each block's operations, and their last beginning."""
    first_ret, last_call = np.minimum(values.ret_ns, values.first_ret_ns), np.maximum(values.call_ns, values.last_call_ns)
    linked = values.linked
    linked = linked[chosen[linked]]
    np.minimum.at(first_ret, values.root[linked], first_ret[linked])
    np.maximum.at(last_call, values.root[linked], last_call[linked])
    block = np.flatnonzero(chosen & (values.root == np.arange(len(chosen))))
    return block, first_ret[block], last_call[block]


def against_zones(values: Values, chosen: Mask) -> tuple[Rows, Rows]:
    """Pairs of blocks that must each come before the other, by their roots; a pair of each key that has one. Only of ``chosen`` values."""
    block, ends, begins = zones(values, chosen)
    key = values.key[block].astype(np.int64)
    ends, begins = shifted(values, key, int(key.max(initial=0)) + 1, [ends, begins])
    forward = np.flatnonzero(ends < begins)
    forward = forward[np.argsort(ends[forward], kind="stable")]
    ends_sorted, begins_sorted = ends[forward], begins[forward]
    near = np.flatnonzero(ends_sorted[1:] < begins_sorted[:-1])
    backward = np.flatnonzero(ends >= begins)
    around = np.searchsorted(ends_sorted, begins[backward]) - 1
    backward, around = backward[around >= 0], around[around >= 0]
    inside = begins_sorted[around] > ends[backward]
    one = np.concatenate([forward[near], forward[around[inside]]])
    other = np.concatenate([forward[near + 1], backward[inside]])
    return block[one], block[other]


def overwritten(calls: Calls, told: Told, values: Values, numbers: Rows, *, by_swap: bool) -> Column:
    """When each value in ``numbers`` had certainly been overwritten; `NEVER` when nothing shows that.

    It had when a write of its key was answered that began after somebody had been answered who wrote or read it. With ``by_swap`` also
    when the compare-and-set that replaced it was answered, or what that wrote was read.
    """
    known = np.minimum(values.ret_ns, values.first_ret_ns)
    of_key = np.zeros(int(values.key.max(initial=0)) + 1, dtype=np.bool_)
    of_key[values.key[numbers]] = True
    sure = told.writes[(calls.ended[told.writes] == Ended.OK) & of_key[calls.key[told.writes]]]
    (instants,) = shifted(
        values,
        np.concatenate([calls.key[sure], calls.key[sure], values.key[numbers]]).astype(np.int64),
        len(of_key),
        [np.concatenate([calls.call_ns[sure], calls.ret_ns[sure], known[numbers]])],
    )
    by = np.append(sure, -1)[_first_answered(*np.split(instants, [len(sure), 2 * len(sure)]))]
    over_ns = np.where((by >= 0) & (calls.key[by] == values.key[numbers]), calls.ret_ns[by], NEVER)
    if by_swap:
        child = values.child[numbers]
        over_ns = np.minimum(over_ns, np.where(child >= 0, known[child], NEVER))
    return over_ns


def _first_answered(call: Column, ret: Column, since: Column) -> Rows:
    """Of those that were called after each instant of ``since`` the place of the one that returned first; -1 where there is none."""
    order = np.argsort(call, kind="stable")
    by_ret = np.argsort(ret, kind="stable")
    rank = np.zeros(len(call), dtype=np.int64)
    rank[by_ret] = np.arange(len(call))
    first = np.append(by_ret[np.minimum.accumulate(rank[order][::-1])[::-1]], -1)
    return first[np.searchsorted(call[order], since, side="right")]
