"""What monitors over columns share: the keys' instants laid apart, values numbered without holes, and the worst of what was found.

A sweep over instants judges all keys at once when the instants of one key all lie behind those of the key before it: then no rule about
*before* and *after* ever holds between two keys, and what holds within one key is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.monitors.calls import NEVER, Calls, Column, Ended, F, Mask, Rows
from harness.monitors.judged import MOST, Budget, Judged, Violation, judged
from harness.monitors.models import Model
from harness.monitors.search import search

ROOM: Final = 1 << 62
"""Instants and numbers stay below this, so that none overflows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Apart:
    """The instants of each row, the keys' one behind the other.

    Attributes:
        call: When each row was called.
        ret: When it returned; where it never did, `after` its key.
        span: How many instants each key has.
    """

    call: Column
    ret: Column
    span: int

    def before(self, keys: Column | NDArray[np.int32]) -> Column:
        """An instant before all others of each key."""
        return keys.astype(np.int64) * self.span

    def after(self, keys: Column | NDArray[np.int32]) -> Column:
        """An instant after all others of each key: when those return that never do."""
        return self.before(keys) + (self.span - 1)


def apart(calls: Calls) -> Apart:
    """The instants of ``calls``, laid apart by key."""
    never = (calls.ended == Ended.INFO) | (calls.ret_ns == NEVER)
    call, ret = calls.call_ns, calls.ret_ns
    first = int(call.min(initial=0))
    last = int(max(call.max(initial=0), np.where(never, 0, ret).max(initial=0)))
    keys = int(calls.key.max(initial=0)) + 1
    if (last - first + 4) * keys >= ROOM:
        (call, ret), _ = dense([call, np.where(never, call, ret)])
        first, last = 0, int(max(call.max(initial=0), ret.max(initial=0)))
    span = last - first + 4
    offset = calls.key.astype(np.int64) * span
    return Apart(call=call + (offset + (1 - first)), ret=np.where(never, offset + (span - 1), ret + (offset + (1 - first))), span=span)


def dense(groups: Sequence[Column]) -> tuple[list[Column], Column]:
    """The numbers of all ``groups`` numbered from 0 without holes, in their order, and what each of these stands for."""
    low = min((int(group.min()) for group in groups if len(group)), default=0)
    high = max((int(group.max()) for group in groups if len(group)), default=0)
    many = sum(len(group) for group in groups)
    if high - low > 4 * many + 1024:
        stands_for, numbers = np.unique(np.concatenate(groups), return_inverse=True)
        return np.split(numbers, np.cumsum([len(group) for group in groups])[:-1]), stands_for
    there = np.zeros(high - low + 1, dtype=np.bool_)
    for group in groups:
        there[group - low] = True
    number = np.cumsum(there) - 1
    return [number[group - low] for group in groups], np.flatnonzero(there) + low


def dense_pairs(keys: Sequence[Column | NDArray[np.int32]], values: Sequence[Column]) -> tuple[list[Column], Column]:
    """Each pair of a key and a value numbered from 0 without holes, and the key of each number."""
    low = min((int(group.min()) for group in values if len(group)), default=0)
    width = max((int(group.max()) for group in values if len(group)), default=0) - low + 1
    most = max((int(group.max()) for group in keys if len(group)), default=0) + 1
    if width * most >= ROOM:
        values, stands_for = dense(values)
        low, width = 0, len(stands_for)
    if most == 1 and width <= 4 * sum(len(group) for group in values):  # the codes are as good as numbers
        return [group - low for group in values], np.zeros(width, dtype=np.int64)
    numbers, pairs = dense([key.astype(np.int64) * width + (value - low) for key, value in zip(keys, values, strict=True)])
    return numbers, pairs // width


def known_only(calls: Calls, fs: Iterable[F], doubts: list[str]) -> Mask:
    """Which rows are of keys that were only asked ``fs``; of the other keys one of ``doubts`` is said."""
    wanted = np.zeros(max(F) + 1, dtype=np.bool_)
    wanted[list(fs)] = True
    foreign = ~wanted[calls.f] & (calls.ended != Ended.FAIL)
    if not foreign.any():
        return np.ones(len(calls), dtype=np.bool_)
    keys = np.unique(calls.key[foreign])
    doubts.append(f"{len(keys)} keys were asked what this model has not: {F(int(calls.f[foreign][0])).name.lower()}")
    return ~np.isin(calls.key, keys)


@dataclass(slots=True, kw_only=True)
class Found:
    """Violations as they are found: all are counted, the worst of each kind are built.

    Attributes:
        violations: What was built.
        counts: How many there are of each kind.
        doubts: What was not decided, a sentence each.
    """

    violations: list[Violation] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    def note(self, kind: str, where: Column, build: Callable[[int], Violation], sizes: Column | None = None) -> None:
        """Note a violation of ``kind`` for each number in ``where``; ``build`` makes one of it, and ``sizes`` says which are worst."""
        if not len(where):
            return
        self.counts[kind] = self.counts.get(kind, 0) + len(where)
        chosen = where[:MOST] if sizes is None else where[np.argsort(-sizes, kind="stable")[:MOST]]
        self.violations.extend(build(int(number)) for number in chosen)

    def take(self, found: Judged, rows: Rows) -> None:
        """Add what the search said of ``rows``."""
        self.violations.extend(_of_rows(violation, rows) for violation in found.violations)
        for kind, many in found.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + many
        if not found.violations:  # that nothing was read there is no doubt of the whole
            self.doubts.extend(doubt for doubt in found.undecided if found.reads or "no read" not in doubt)

    def keys(self, calls: Calls) -> Column:
        """The keys of the violations that were built."""
        rows = np.array([row for violation in self.violations for row in violation.rows], dtype=np.int64)
        return np.unique(calls.key[rows]).astype(np.int64)

    def judged(self, model: str, *, operations: int, reads: int) -> Judged:
        """The judgement that follows."""
        return judged(
            model,
            violations=self.violations,
            undecided=self.doubts,
            operations=operations,
            reads=reads,
            counts=dict(sorted(self.counts.items())),
        )


def _of_rows(violation: Violation, rows: Rows) -> Violation:
    def row(number: int) -> int:
        return int(rows[number]) if number >= 0 else number

    because = tuple(replace(one, a=row(one.a), b=row(one.b)) for one in violation.because)
    return replace(violation, rows=tuple(row(number) for number in violation.rows), because=because)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The general search, for what the exact rules do not cover."""

    model: Model
    budget: Budget

    def judge(self, calls: Calls, rows: Rows, found: Found, *, parts: Column | None = None) -> None:
        """Let the search judge ``rows``, each key alone, or each of ``parts``, a number for each of the rows."""
        if len(rows):
            chosen = calls.take(rows)
            found.take(search(chosen if parts is None else replace(chosen, key=parts.astype(np.int32)), self.model, self.budget), rows)


def at_least(numbers: Column | NDArray[np.int32], of: Column, start: Column) -> Column:
    """For each number the smallest of ``of`` that belongs to it, or ``start``, which is changed and returned."""
    np.minimum.at(start, numbers, of)
    return start


def at_most(numbers: Column | NDArray[np.int32], of: Column, start: Column) -> Column:
    """For each number the largest of ``of`` that belongs to it, or ``start``, which is changed and returned."""
    np.maximum.at(start, numbers, of)
    return start


def rows_of(*rows: int) -> tuple[int, ...]:
    """``rows``, each once, without those that are none."""
    return tuple(dict.fromkeys(row for row in rows if row >= 0))
