"""Why a history of registers is wrong: the most telling kind of violation for each key, and the few operations that prove it.

Nothing here is decided: `harness.monitors.register` knows which keys are wrong, and this finds what a person is told. A read of what had
been overwritten says more than two zones that meet, so the latter is told only of keys that show nothing plainer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.monitors.blocks import Told, Values, code_seen, code_written, overwritten
from harness.monitors.calls import Calls, Column, Ended, F, Mask, Rows
from harness.monitors.columns import Found, rows_of
from harness.monitors.judged import Because, Violation, Why, before

DEEP: Final = 64
"""Compare-and-sets below the ones that matter that are shown, at most: what they replaced, and what that had replaced."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Proofs:
    """Notes violations of one history.

    Attributes:
        calls: The history.
        told: What its rows tell.
        values: What is known of its values.
        found: Where violations are noted.
        wrong: The keys of which one was noted.
    """

    calls: Calls
    told: Told
    values: Values
    found: Found
    wrong: Mask

    def unwritten(self, unclear: Mask, repeated: Mask) -> Mask:
        """Note what was seen and never written; returns the keys where a compare-and-set saw it.

        Of a compare-and-set without an end nothing is said where values repeat, for it may be one of several that wrote what was seen.
        """
        told, key = self.told, self.calls.key
        unsure = (self.calls.ended[told.swaps] == Ended.INFO) & repeated[key[told.swaps]]
        reads = told.reads[self._nobody_wrote(told.read) & ~unclear[key[told.reads]]]
        swaps = told.swaps[self._nobody_wrote(told.swapped) & ~unclear[key[told.swaps]] & ~unsure]
        for rows, kind in ((reads, "read"), (swaps, "swap")):
            aborted = np.isin(
                self._pairs(rows, code_seen(self.calls, rows)), self._pairs(told.refused, code_written(self.calls, told.refused))
            )
            self._note(f"phantom-{kind}", rows[~aborted], self._of_unwritten)
            self._note(f"aborted-{kind}", rows[aborted], self._of_unwritten)
        found = np.zeros(len(unclear), dtype=np.bool_)
        found[key[swaps]] = True
        return found

    def forks(self, unfit: Mask) -> Mask:
        """Note values that were replaced twice; returns their keys."""
        swapped = self.told.swapped[self.told.swapped >= 0]
        last = self.values.child[swapped]
        twice = np.unique(swapped[last != self.told.made[self.told.swapped >= 0]])
        twice = twice[~unfit[self.values.key[twice]]]
        self._note("lost-update", twice, self._of_fork, of_values=True)
        return self._keys(twice)

    def circles(self, unfit: Mask) -> Mask:
        """Note compare-and-sets of which each replaced what another one wrote, with no beginning; returns their keys."""
        round_ = np.flatnonzero((self.values.root < 0) & ~unfit[self.values.key])
        self._note("circular-swap", _one_of_each(round_, self.values.key), self._of_circle, of_values=True)
        return self._keys(round_)

    def missed(self, looks: Rows, missed: Rows) -> None:
        """Note ``looks`` that answered that the values ``missed`` were not there, while they were."""
        value = dict(zip(looks.tolist(), missed.tolist(), strict=True))
        self._note("false-mismatch", looks, lambda row: self._of_miss(row, value[row]))

    def against_time(self, early: Rows, late: Rows, ones: Rows, others: Rows) -> None:
        """Note what contradicts time: values seen ``early``, ``late`` ones in a block, blocks ``ones`` and ``others`` in no order."""
        suspect = self._keys(np.concatenate([early, late, ones]))
        calls, told, values = self.calls, self.told, self.values
        for seers, seen, kind in ((told.reads, told.read, "read"), (told.swaps, told.swapped, "swap")):
            chosen = suspect[calls.key[seers]] & ~self._nobody_wrote(seen)
            rows, numbers = seers[chosen], seen[chosen]
            future = calls.ret_ns[rows] < values.call_ns[numbers]
            self._note(f"future-{kind}", rows[future], self._of_future)
            over_ns = overwritten(calls, told, values, numbers, by_swap=kind == "read")
            stale = (over_ns < calls.call_ns[rows]) & ~future
            self._note(f"stale-{kind}", rows[stale], self._of_stale, sizes=calls.call_ns[rows[stale]] - over_ns[stale])
        late = late[~self.wrong[values.key[late]]]
        pairs = np.flatnonzero(~self.wrong[values.key[ones]])
        self._note("order-conflict", late, self._of_late, of_values=True)
        if len(pairs):
            self.found.note("order-conflict", pairs, lambda pair: self._of_blocks(int(ones[pair]), int(others[pair])))
            self.wrong[values.key[ones[pairs]]] = True

    def _note(
        self, kind: str, where: Rows, build: Callable[[int], Violation], *, sizes: Column | None = None, of_values: bool = False
    ) -> None:
        """Note a violation of ``kind`` of each row, or each value, in ``where``."""
        self.found.note(kind, where, build, sizes)
        self.wrong[(self.values.key if of_values else self.calls.key)[where]] = True

    def _pairs(self, rows: Rows, codes: Column) -> Column:
        """A number for the key of each row and the code beside it, the same one for the same pair."""
        known = np.unique(code_written(self.calls, self.told.refused))
        code = np.searchsorted(known, codes)
        there = np.append(known, 0)[code] == codes
        return np.where(there, self.calls.key[rows] * (len(known) + 1) + code, -1)

    def _keys(self, numbers: Rows) -> Mask:
        keys = np.zeros(len(self.wrong), dtype=np.bool_)
        keys[self.values.key[numbers]] = True
        return keys

    def _nobody_wrote(self, numbers: Rows) -> Mask:
        found: Mask = (numbers < 0) | ((self.values.writer[numbers] < 0) & (numbers < self.values.first))
        return found

    def _refuser(self, row: int) -> int:
        """A row that wanted to write what ``row`` saw, and was refused; -1: none."""
        refused = self.told.refused
        same = refused[(self.calls.key[refused] == self.calls.key[row]) & (code_written(self.calls, refused) == self._code(row))]
        return int(same[0]) if len(same) else -1

    def _code(self, row: int) -> int:
        return int(code_seen(self.calls, np.array([row]))[0])

    def _swaps(self, row: int) -> bool:
        """Whether ``row`` replaced a value by another one, rather than only saw it."""
        return bool(self.calls.f[row] == F.CAS and self.calls.arg[row] != self.calls.arg2[row])

    def _number(self, row: int) -> int:
        """The value that ``row`` saw or, if it is a plain write, wrote."""
        told = self.told
        for rows, numbers in ((told.reads, told.read), (told.swaps, told.swapped), (told.writes, told.written)):
            at = np.searchsorted(rows, row)
            if at < len(rows) and rows[at] == row:
                return int(numbers[at])
        return -1

    def _saw(self, row: int) -> list[Because]:
        """What ``row`` saw; nothing for a plain write."""
        if row < 0 or self.calls.f[row] == F.WRITE:
            return []
        swap = self.calls.f[row] == F.CAS
        number = self._number(row)
        if number >= self.values.first:
            return [Because(why=Why.REPLACED_INITIAL if swap else Why.SAW_INITIAL, a=row)]
        why = Why.REPLACED if swap else Why.SAW
        return [Because(why=why, a=row, b=int(self.values.writer[number]), value=self._code(row))]

    def _violation(self, kind: str, rows: Iterable[int], because: Iterable[Because], size_ns: int = 0) -> Violation:
        return Violation(kind=kind, rows=self._closed(rows), because=tuple(dict.fromkeys(because)), size_ns=size_ns)

    def _closed(self, rows: Iterable[int]) -> tuple[int, ...]:
        """``rows`` with what they need to mean the same alone: who wrote what they saw, and who saw what no answer told."""
        closed = list(rows_of(*rows))
        deep = DEEP + len(closed)
        for row in closed:  # it grows meanwhile
            wants = []
            number = self._number(row)
            if self.calls.f[row] != F.WRITE and number >= 0:
                wants.append(int(self.values.writer[number]))
            if self.calls.ended[row] == Ended.INFO:
                wants.append(self._seer(row))
            if len(closed) < deep:
                closed.extend(want for want in dict.fromkeys(wants) if want >= 0 and want not in closed)
        return tuple(closed)

    def _seer(self, row: int) -> int:
        """A row that saw what ``row`` wrote, if possible one with an end."""
        number = int(self.told.written[np.searchsorted(self.told.writes, row)])
        reads = self.told.reads[self.told.read == number]
        if len(reads):
            return int(reads[0])
        swaps = self.told.swaps[self.told.swapped == number]
        return int(swaps[np.argmin(self.calls.ended[swaps])]) if len(swaps) else -1

    def _first_end(self, number: int) -> int:
        """Of what wrote or read the value ``number`` what ended first; -1 for a first value that nobody read."""
        rows = self.told.reads[self.told.read == number]
        writer = self.values.writer[number]
        rows = np.append(rows, writer) if writer >= 0 else rows
        return int(rows[np.argmin(self.calls.ret_ns[rows])]) if len(rows) else -1

    def _last_begin(self, number: int) -> int:
        """Of what wrote, read or replaced the value ``number`` what began last."""
        rows = np.concatenate([self.told.reads[self.told.read == number], self.told.swaps[self.told.swapped == number]])
        writer = self.values.writer[number]
        rows = np.append(rows, writer) if writer >= 0 else rows
        return int(rows[np.argmax(self.calls.call_ns[rows])])

    def _of_unwritten(self, row: int) -> Violation:
        swap, refuser = self._swaps(row), self._refuser(row)
        if refuser < 0:
            kind, why = ("phantom-swap", Why.REPLACED_UNKNOWN) if swap else ("phantom-read", Why.NOBODY_WROTE)
        else:
            kind, why = ("aborted-swap", Why.REPLACED_REFUSED) if swap else ("aborted-read", Why.REFUSED_WROTE)
        return self._violation(kind, (row, refuser), [Because(why=why, a=row, b=refuser, value=self._code(row))])

    def _of_fork(self, number: int) -> Violation:
        swaps = self.told.swaps[self.told.swapped == number]
        two = swaps[np.argsort(self.calls.ended[swaps], kind="stable")][:2].tolist()
        because = [one for row in two for one in self._saw(row)]
        return self._violation("lost-update", (int(self.values.writer[number]), *two), because)

    def _of_circle(self, number: int) -> Violation:
        seen: dict[int, None] = {}
        while number not in seen:
            seen[number] = None
            number = int(self.values.parent[number])
        ring = list(seen)[list(seen).index(number) :]
        rows = [int(self.values.writer[value]) for value in ring]
        return self._violation("circular-swap", rows, [one for row in rows for one in self._saw(row)])

    def _of_future(self, row: int) -> Violation:
        writer = int(self.values.writer[self._number(row)])
        kind = "future-swap" if self._swaps(row) else "future-read"
        return self._violation(kind, (row, writer), [*self._saw(row), before(row, writer)])

    def _of_stale(self, row: int) -> Violation:
        calls, values = self.calls, self.values
        number, swap = self._number(row), self._swaps(row)
        known = self._first_end(number)
        sure = self.told.writes[(calls.ended[self.told.writes] == Ended.OK) & (calls.key[self.told.writes] == calls.key[row])]
        if number < values.first:
            sure = sure[calls.call_ns[sure] > calls.ret_ns[known]]
        over = int(sure[np.argmin(calls.ret_ns[sure])]) if len(sure) else -1
        child = int(values.child[number]) if not swap else -1
        replaced = self._first_end(child) if child >= 0 else -1
        because = self._saw(row)
        if replaced >= 0 and (over < 0 or calls.ret_ns[replaced] <= calls.ret_ns[over]):
            swapper = int(values.writer[child])
            rows = [swapper, replaced, row]
            because += [*self._saw(swapper), *self._saw(replaced), before(replaced, row)]
        elif number >= values.first:
            rows, replaced = [over, row], over
            because += [before(over, row)]
        else:
            rows, replaced = [known, over, row], over
            because += [*self._saw(known), before(known, over), before(over, row)]
        size_ns = int(calls.call_ns[row] - calls.ret_ns[replaced])
        return self._violation("stale-swap" if swap else "stale-read", rows, because, size_ns)

    def _of_miss(self, row: int, number: int) -> Violation:
        first, last = self._first_end(number), self._last_begin(number)
        writer, code = int(self.values.writer[number]), int(self.calls.arg[row])
        missed = Because(why=Why.MISSED, a=row, b=writer, value=code) if writer >= 0 else Because(why=Why.MISSED_INITIAL, a=row)
        seen_before = [*self._saw(first), before(first, row)] if number < self.values.first else []
        because = [missed, *seen_before, *self._saw(last), before(row, last)]
        return self._violation("false-mismatch", (writer, first, row, last), because)

    def _block(self, root: int) -> tuple[Rows, Rows, Rows]:
        """The rows of a block, the value that each wrote or read, and its level in the block's order."""
        told, values = self.told, self.values
        read = (told.read >= 0) & (values.root[told.read] == root)
        wrote = values.root[told.written] == root
        numbers = np.concatenate([told.read[read], told.written[wrote]])
        levels = 2 * values.depth[numbers]
        levels[: np.count_nonzero(read)] += 1
        return np.concatenate([told.reads[read], told.writes[wrote]]), numbers, levels

    def _between(self, one: int, other: int) -> list[int]:
        """The compare-and-sets that lead from one value of a block to another one."""
        low, high = sorted((one, other), key=lambda number: int(self.values.depth[number]))
        rows = []
        while high != low:
            rows.append(int(self.values.writer[high]))
            high = int(self.values.parent[high])
        return rows

    def _of_late(self, number: int) -> Violation:
        calls = self.calls
        rows, numbers, levels = self._block(int(self.values.root[number]))
        of_it = np.flatnonzero(numbers == number)
        for high in of_it[np.argsort(levels[of_it], kind="stable")]:
            lower = np.flatnonzero(levels < levels[high])
            if len(lower) and calls.ret_ns[rows[high]] < calls.call_ns[rows[lower]].max():
                break
        low = lower[np.argmax(calls.call_ns[rows[lower]])]
        a, b, path = int(rows[low]), int(rows[high]), self._between(number, int(numbers[low]))
        because = [one for row in (a, *reversed(path), b) for one in self._saw(row)]
        return self._violation("order-conflict", (a, b, *path), [*because, before(b, a)])

    def _of_blocks(self, one: int, other: int) -> Violation:
        """Two blocks of which each must come before the other."""
        rows: list[int] = []
        because: list[Because] = []
        ends, begins = {}, {}
        for root in (one, other):
            block, numbers, _ = self._block(root)
            first, last = int(np.argmin(self.calls.ret_ns[block])), int(np.argmax(self.calls.call_ns[block]))
            ends[root], begins[root] = int(block[first]), int(block[last])
            path = self._between(int(numbers[first]), int(numbers[last]))
            if root >= self.values.first:
                path, ends[root] = self._between(root, int(numbers[last])), -1
            rows += [ends[root], begins[root], *path]
            because += [fact for row in (ends[root], *reversed(path), begins[root]) for fact in self._saw(row)]
        for root, then in ((one, other), (other, one)):
            if ends[root] >= 0:
                because.append(before(ends[root], begins[then]))
        return self._violation("order-conflict", rows, because)


def _one_of_each(numbers: Rows, key: NDArray[np.int32]) -> Rows:
    """The first of ``numbers`` of each key."""
    _, at = np.unique(key[numbers], return_index=True)
    return numbers[at]
