"""Who wrote which value: the row of the one write or compare-and-set that can have put a value into a key.

Where each value is written at most once, what a read answered names the write that it saw, and that is what makes exact judging cheap
(Gibbons and Korach, SIAM J. Comput. 26(4), 1997). Keys in which a value was written twice, or in which the initial value was written, are
told apart, as their reads name nobody. A write that was refused wrote nothing, so it makes no value repeat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.monitors.calls import INITIAL, NOTHING, Calls, Column, Ended, F, Mask, Rows, name
from harness.monitors.judged import MOST, Because, Violation, Why, before

NOBODY: Final = -1
"""In the answer of `Written.by`: no row wrote it."""

FIRST: Final = -2
"""In the answer of `Written.by`: it is what was there before anything was written."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Written:
    """Finds writers.

    Attributes:
        rows: The writes and swaps that may have taken effect.
        ambiguous: For each key, whether its reads name nobody for certain.
    """

    rows: Rows
    ambiguous: Mask
    _key: NDArray[np.int32]
    _codes: _Codes
    _table: _Table

    def by(self, keys: Column, values: Column) -> Rows:
        """For each key and value the row that wrote it, `NOBODY` or `FIRST`. Of an ambiguous key it may be any of several."""
        codes = self._codes.of(values)
        found = self._table.of(keys, codes) if len(self.rows) else np.full(len(codes), NOBODY, dtype=np.int64)
        found = np.where((codes >= 0) & (found >= 0), found, NOBODY)
        if len(self.rows):
            found = np.where(self._key[found] == keys, found, NOBODY)
        return np.where((found == NOBODY) & (values == INITIAL), FIRST, found)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Codes:
    """Numbers from 0 to ``width`` for values: what they are above ``low``, or their place among the ``kinds``."""

    low: int
    width: int
    kinds: Column | None = None

    def of(self, values: Column) -> Column:
        """The numbers; -1 for a value that has none."""
        if self.kinds is None:
            at = values - self.low
            return np.where((at >= 0) & (at < self.width), at, -1)
        at = np.minimum(np.searchsorted(self.kinds, values), len(self.kinds) - 1)
        return np.where(self.kinds[at] == values, at, -1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    """The row of each key and code: at ``key * stride + code``, or at the place where that is among ``places``."""

    stride: int
    rows: Rows
    places: Column | None = None

    def of(self, keys: Column, codes: Column) -> Rows:
        """The row, or any row or `NOBODY` where there is none."""
        at = keys * self.stride + np.maximum(codes, 0)
        if self.places is None:
            return self.rows[at]
        found = np.minimum(np.searchsorted(self.places, at), len(self.places) - 1)
        return np.where(self.places[found] == at, self.rows[found], NOBODY)


def is_register(calls: Calls) -> bool:
    """Whether only single values are read, written and swapped."""
    asked = set(np.flatnonzero(np.bincount(calls.f, minlength=1)).tolist())
    return asked <= {F.READ, F.WRITE, F.CAS} and not len(calls.items)


def version_of(calls: Calls, rows: Rows, writer: Rows) -> Rows:
    """The version that each of ``rows`` saw: the row that wrote it or, where that is `FIRST`, behind all rows the key whose first it is."""
    return np.where(writer == FIRST, len(calls) + calls.key[rows], writer)


def swapped(calls: Calls) -> Mask:
    """The compare-and-sets that did, or that may have done, what they asked for."""
    swaps: Mask = (calls.f == F.CAS) & (calls.result != 0) & (calls.ended != Ended.FAIL)
    return swaps


def written(calls: Calls, *, refused: bool = False) -> Written:
    """Who wrote what in ``calls``; with ``refused`` who wanted to, and was refused."""
    swaps = (calls.f == F.CAS) & (calls.ended == Ended.FAIL) if refused else swapped(calls)
    outcome = calls.ended == Ended.FAIL if refused else calls.ended != Ended.FAIL
    rows = np.flatnonzero(((calls.f == F.WRITE) & outcome) | swaps)
    values = np.where(calls.f[rows] == F.CAS, calls.arg2[rows], calls.arg[rows])
    rows, values = rows[values != NOTHING], values[values != NOTHING]
    keys = calls.key[rows].astype(np.int64)
    ambiguous = np.zeros(max(len(calls.keys), int(calls.key.max()) + 1 if len(calls) else 0), dtype=bool)
    ambiguous[keys[values == INITIAL]] = True
    few = 8 * len(calls) + 1024
    low, high = (int(values.min()), int(values.max())) if len(rows) else (0, 0)
    codes = _Codes(low=low, width=high - low + 1)
    if codes.width > few:
        kinds = np.unique(values)
        codes = _Codes(low=0, width=len(kinds), kinds=kinds)
    numbers = codes.of(values)
    table = _table(rows, keys, numbers, full=len(ambiguous) * codes.width if len(ambiguous) * codes.width <= few else 0)
    if table.places is None:
        ambiguous[keys[table.of(keys, numbers) != rows]] = True
    else:
        ambiguous[table.places[1:][table.places[1:] == table.places[:-1]] // table.stride] = True
    return Written(rows=rows, ambiguous=ambiguous, _key=calls.key, _codes=codes, _table=table)


def _table(rows: Rows, keys: Column, numbers: Column, *, full: int) -> _Table:
    """The table of ``full`` places where that is not too many; one of the values where these differ over all keys; else a sorted one."""
    width = int(numbers.max(initial=0)) + 1
    if full:
        found = np.full(full, NOBODY, dtype=np.int64)
        found[keys * width + numbers] = rows
        return _Table(stride=width, rows=found)
    found = np.full(width, NOBODY, dtype=np.int64)
    found[numbers] = rows
    if np.array_equal(found[numbers], rows):
        return _Table(stride=0, rows=found)
    places = keys * width + numbers
    order = np.argsort(places, kind="stable")
    return _Table(stride=width, rows=rows[order], places=places[order])


def stable_order(codes: Column, count: int) -> Rows:
    """The order that sorts ``codes``, each below ``count``, and keeps what is equal as it was; by radix, so in linear time."""
    if count <= 1 << 16:
        return np.argsort(codes.astype(np.uint16), kind="stable")
    if count > 1 << 32:
        return np.argsort(codes, kind="stable")
    low = np.argsort((codes & 0xFFFF).astype(np.uint16), kind="stable")
    return low[np.argsort((codes >> 16)[low].astype(np.uint16), kind="stable")]


def in_order_of_calls(calls: Calls) -> Rows | None:
    """The rows in order of call, equal ones in order of return and place; None where they are in order of call already."""
    if bool((calls.call_ns[1:] >= calls.call_ns[:-1]).all()):
        return None
    return np.lexsort((calls.place, calls.ret_ns, calls.call_ns))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What single values were answered, and by whom they had been written.

    Attributes:
        rows: The reads that told a value and the swaps that replaced one, both acknowledged, of keys that are not ambiguous.
        writer: Whose value it was: a row, or `FIRST`.
        violations: Answers that nobody can have given: written by nobody, by one that was refused, or by one that began only afterwards.
            They are left out of ``rows``.
        counts: How many of each kind.
        undecided: Why some were not looked at.
    """

    rows: Rows
    writer: Rows
    violations: tuple[Violation, ...]
    counts: Mapping[str, int]
    undecided: tuple[str, ...]


def seen(calls: Calls, writers: Written) -> Seen:
    """What the reads and swaps of registers saw."""
    looks = ((calls.f == F.READ) & (calls.result != NOTHING)) | (swapped(calls) & (calls.arg != NOTHING))
    rows = np.flatnonzero(looks & (calls.ended == Ended.OK))
    undecided = []
    vague = writers.ambiguous[calls.key[rows]]
    if vague.any():
        key = name(calls.keys, int(calls.key[rows[vague]][0]))
        undecided.append(f"of keys such as {key!r} a value was written twice, so {int(vague.sum())} reads name no one write")
        rows = rows[~vague]
    values = np.where(calls.f[rows] == F.CAS, calls.arg[rows], calls.result[rows])
    writer = writers.by(calls.key[rows].astype(np.int64), values)
    unborn = (writer >= 0) & (calls.ret_ns[rows] < calls.call_ns[np.maximum(writer, 0)])
    wrong = unborn | (writer == NOBODY)
    violations, counts = _impossible(calls, rows[wrong], writer[wrong], values[wrong])
    return Seen(
        rows=rows[~wrong] if wrong.any() else rows,
        writer=writer[~wrong] if wrong.any() else writer,
        violations=violations,
        counts=counts,
        undecided=tuple(undecided),
    )


def _impossible(calls: Calls, rows: Rows, writer: Rows, values: Column) -> tuple[tuple[Violation, ...], dict[str, int]]:
    """The violations of reads of what nobody had written yet."""
    if not len(rows):
        return (), {}
    refuser = written(calls, refused=True).by(calls.key[rows].astype(np.int64), values)
    kinds = np.where(writer >= 0, "future-read", np.where(refuser >= 0, "aborted-read", "phantom-read"))
    violations = []
    for kind in np.unique(kinds):
        for at in np.flatnonzero(kinds == kind)[:MOST].tolist():
            row, value = int(rows[at]), int(values[at])
            other = int(writer[at]) if kind == "future-read" else int(refuser[at]) if kind == "aborted-read" else -1
            violations.append(
                Violation(
                    kind=str(kind),
                    rows=(row,) if other < 0 else (row, other),
                    because=_why_impossible(str(kind), row, other, value),
                )
            )
    return tuple(violations), dict(Counter(kinds.tolist()))


def _why_impossible(kind: str, row: int, other: int, value: int) -> tuple[Because, ...]:
    if kind == "phantom-read":
        return (Because(why=Why.NOBODY_WROTE, a=row, value=value),)
    if kind == "aborted-read":
        return (Because(why=Why.REFUSED_WROTE, a=row, b=other, value=value),)
    return (Because(why=Why.SAW, a=row, b=other, value=value), before(row, other))
