"""Logs: whether all reads tell the beginning of one order of the appended values, and whether that order agrees with time.

Each read must be a prefix of the longest one, which therefore is the order of all that anyone saw. Single values are judged as elements
that only come (`harness.monitors.grown`), which says what is lost, stale, refused, unknown or there twice. Then the order is judged: a
value that was acknowledged before another one was asked for must not come behind it, nor be missing where that one is there. That is exact
where values are written once: the order is forced, so time is all that can contradict it. A value that was appended several times can't be
told from itself; its key is left to the general search.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.monitors.calls import NOTHING, Calls, Column, Ended, F, Mask
from harness.monitors.columns import Found, Search, apart, dense_pairs, known_only, rows_of
from harness.monitors.grown import Elements, Known, elements_of, judge_elements, overtaken, skipped
from harness.monitors.judged import Because, Budget, Judged, Violation, Why, before
from harness.monitors.models import MODELS

ASKED: Final = (F.APPEND, F.READ)

NOWHERE: Final = 1 << 62
"""The place of what the longest read lacks: behind all others."""


def judge(calls: Calls, budget: Budget) -> Judged:
    """Judge a history of logs, each key one."""
    found = Found()
    kept = known_only(calls, ASKED, found.doubts)
    took_part = kept & (calls.ended != Ended.FAIL)
    told = took_part & (calls.ended == Ended.OK) & (calls.f == F.READ) & (calls.result != NOTHING)
    again = _keys_with_repeats(calls, took_part)
    if len(again):
        repeated = np.isin(calls.key, again)
        Search(model=MODELS["log"], budget=budget).judge(calls, np.flatnonzero(kept & repeated), found)
        kept &= ~repeated
    elements = elements_of(calls, apart(calls), kept)
    known = judge_elements(elements, found)
    _judge_order(elements, known, found)
    return found.judged("log", operations=int(np.count_nonzero(took_part)), reads=int(np.count_nonzero(told)))


def _keys_with_repeats(calls: Calls, took_part: Mask) -> Column:
    """The keys to which some value may have been appended more than once."""
    appends = np.flatnonzero(took_part & (calls.f == F.APPEND))
    (values,), keys = dense_pairs([calls.key[appends]], [calls.arg[appends]])
    times = np.bincount(values, minlength=len(keys))
    return np.unique(calls.key[appends[times[values] > 1]]).astype(np.int64)


def _judge_order(told: Elements, known: Known, found: Found) -> None:
    """Find what is wrong with the order of those values that are as they should be one by one."""
    if not len(told.reads):
        return
    good = known.good.copy()
    good[told.cell_of[~known.once]] = False  # what is there twice has no place of its own
    known = replace(known, good=good)
    items, rank, within = _good_items(told, known)
    lengths = np.bincount(rank, minlength=len(told.reads))
    begins = np.cumsum(lengths) - lengths
    longest = _longest(told.calls.key[told.reads], lengths)
    expected = items[begins[longest[rank]] + within]
    differ = np.flatnonzero(items != expected)
    first = differ[np.flatnonzero(np.concatenate([[True], np.diff(rank[differ]) != 0]))] if len(differ) else differ

    def disagree(cell: int) -> Violation:
        return _disagree(told, int(rank[cell]), int(longest[rank[cell]]), int(items[cell]), int(expected[cell]), int(within[cell]))

    found.note("order-disagreement", first, disagree)
    place = np.full(told.many, NOWHERE, dtype=np.int64)
    of_longest = longest[rank] == rank
    place[items[of_longest]] = within[of_longest]
    _judge_time(told, known, place, longest, found)


def _good_items(told: Elements, known: Known) -> tuple[Column, Column, Column]:
    """The items of all reads that are as they should be, the rank of the read of each, and its place among these of that read."""
    lengths = np.diff(told.calls.starts)[told.reads] if len(told.calls.starts) else np.zeros(len(told.reads), dtype=np.int64)
    rank = np.repeat(np.arange(len(told.reads)), lengths)
    items = told.items
    chosen = known.good[items]
    if not chosen.all():
        items, rank = items[chosen], rank[chosen]
        lengths = np.bincount(rank, minlength=len(told.reads))
    within = np.arange(len(items)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return items, rank, within


def _longest(keys: NDArray[np.int32], lengths: Column) -> Column:
    """For each read, which are sorted by key, the rank of the longest one of its key."""
    order = np.lexsort((lengths, keys))
    final = np.searchsorted(keys, keys, "right") - 1
    longest: Column = order[final]
    return longest


def _disagree(told: Elements, rank: int, longest: int, x: int, y: int, place: int) -> Violation:
    """That two reads have the values ``x`` and ``y`` at one place."""
    a, b = int(told.reads[rank]), int(told.reads[longest])
    add_x, add_y = told.first_add_of(x), told.first_add_of(y)
    because = (
        Because(why=Why.HAS, a=a, b=add_x, value=int(told.calls.arg[add_x])),
        Because(why=Why.HAS, a=b, b=add_y, value=int(told.calls.arg[add_y])),
        Because(why=Why.OTHER_ORDER, a=a, b=b, value=int(told.calls.arg[add_x]), n=place + 1),
    )
    return Violation(kind="order-disagreement", rows=rows_of(a, b, add_x, add_y), because=because)


def _judge_time(told: Elements, known: Known, place: Column, longest: Column, found: Found) -> None:
    """Find values that come behind what was asked for only after they had been acknowledged, or that are missing where that is there."""
    over, by = overtaken(told, known, place)
    if not len(over):
        return
    keys = told.calls.key[told.reads].astype(np.int64)

    def read_of(element: int) -> int:
        return int(told.reads[longest[np.searchsorted(keys, told.keys[element])]])

    def reordered(element: int) -> Violation:
        other, read = by(element), read_of(element)
        add, add_other = told.add_of(element), told.first_add_of(other)
        because = (
            Because(why=Why.ADDED, a=add, value=int(told.calls.arg[add])),
            before(add, add_other),
            Because(why=Why.SHOWS_ORDER, a=read, b=add, value=int(told.calls.arg[add_other])),
        )
        return Violation(kind="reordered-elements", rows=rows_of(add, add_other, read), because=because)

    placed = place[over] < NOWHERE
    found.note("reordered-elements", over[placed], reordered)
    found.note("skipped-element", over[~placed], lambda element: skipped(told, element, by(element), read_of(element)))
