"""The smallest history that is still wrong: what remains when everything that the proof can do without is gone.

A history of a million operations proves nothing to a person. A *witness* is the few of them that the same monitor still judges FAIL, of the
same kind, when it sees nothing else. It is saved as a file that anyone can judge again.

What is left out must not make the rest wrong. A read whose write is left out answers a value that nobody wrote: that is wrong too, yet it
never happened. So only such things are left out, together, that an order which explains the whole would do without:

* an operation that only looked;
* a write of a register with all that may have seen it, or seen by it that another value was gone, and with what those wrote in turn;
* an element of a set, a log or a queue: whatever was done with it, and its place in the answers of reads.

Nothing is left out of what proves a counter wrong, since each of its answers is about all additions so far: it is taken as the monitor told
it. Where the proof is about what was added *since* an answer, the file lacks what had been added before, and is wrong for that reason, too.

A witness is *minimal* when none of these can go. What is tried is the algorithm *ddmin* (Zeller and Hildebrandt, IEEE Transactions on
Software Engineering 28(2), 2002): halves first, and single ones in the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.monitors.calls import INITIAL, NEVER, NOTHING, Calls, Column, Ended, F, Mask, Rows
from harness.monitors.judged import Budget, Judged, Monitor, Violation
from harness.monitors.lines import are_numbers, encode, reads_are_whole
from harness.verdict import Verdict

TRIES: Final = 1_000
"""How often a monitor is asked for one witness, at most."""

TRIAL_STEPS: Final = 50_000
"""How much a search may do for one trial: what is smaller than what was already found is found sooner, or is not worth it."""

GENERAL: Final = "not-linearizable"
"""The kind that only says that something is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """Operations that can't all be right.

    Attributes:
        calls: The operations, in order of call.
        violation: What is wrong with them, as the monitor says of them alone; its rows count in ``calls``.
        minimal: Whether nothing can be left out (see the module). False where too much was tried before that was known, or where the
            monitor finds nothing wrong with the operations of the violation alone.
        left_out: How many elements the reads had answered that are not shown in ``calls``.
    """

    calls: Calls
    violation: Violation
    minimal: bool
    left_out: int = 0


def shrink(calls: Calls, violation: Violation, monitor: Monitor, budget: Budget) -> Witness:
    """The smallest part of ``calls`` that ``monitor`` judges to be wrong in the same way as ``violation`` says.

    Where that is only `GENERAL`, any other way will do, as it says more.
    """
    trials = _Trials(monitor, budget)
    if are_numbers(calls):
        return _as_told(calls, violation, trials, proven=True)
    for parts, state in _starts(calls, violation):
        found = trials.judged(parts.build(state)[0], budget.steps).violations
        kinds = [other.kind for other in found if violation.kind in (other.kind, GENERAL)]
        if kinds:
            return _smallest(parts, state, violation.kind if violation.kind in kinds else kinds[0], trials)
    parts, state = next(_starts(calls, violation))
    other = trials.judged(parts.build(state)[0], budget.steps)
    if other.verdict is Verdict.FAIL:
        return _smallest(parts, state, other.violations[0].kind, trials)
    return _as_told(calls, violation, trials, proven=False)


def to_lines(witness: Witness) -> list[str]:
    """The witness as a history of its own (see `harness.monitors.lines`), which the monitor judges FAIL again."""
    return list(encode(witness.calls))


class _Trials:
    """Asks a monitor, at most `TRIES` times."""

    def __init__(self, monitor: Monitor, budget: Budget) -> None:
        self._monitor, self._budget, self._left = monitor, budget, TRIES

    @property
    def over(self) -> bool:
        return self._left <= 0 or self._budget.over()

    def judged(self, calls: Calls, steps: int) -> Judged:
        self._left -= 1
        return self._monitor(calls, Budget(steps=min(steps, self._budget.steps), over=self._budget.over))

    def violation(self, calls: Calls, kind: str, steps: int = TRIAL_STEPS) -> Violation | None:
        """The worst violation of ``kind`` in ``calls``, if there is one."""
        if not len(calls):
            return None
        return next((found for found in self.judged(calls, steps).violations if found.kind == kind), None)


def _starts(calls: Calls, violation: Violation) -> Iterator[tuple[_Parts, _State]]:
    """Where to begin, smallest first: the rows of the violation, also those that wrote what they read, those of the keys, everything.

    The first one has also who wrote a single value that was read, and reads of whole sets and logs answer only elements in it that its rows
    wrote, or that nobody did.
    """
    rows = np.unique(np.array(violation.rows, dtype=np.int64))
    alone = calls.take(rows)
    whole = reads_are_whole(calls)
    there = whole & np.isin(alone.f, (F.CONTAINS, F.REMOVE)) & (alone.result == 1)
    values = np.isin(alone.f, (F.DEQUEUE,) if whole else (F.READ, F.DEQUEUE))
    read = _written(calls, alone.key, np.where(there, alone.arg, np.where(values, alone.result, NOTHING)))
    parts = _Parts(_in_order(calls.take(np.union1d(rows, read))))
    items = _written(calls, np.repeat(alone.key, np.diff(alone.starts)), alone.items) if len(alone.items) else np.array([], dtype=np.int64)
    missing = calls.take(np.setdiff1d(items, rows))
    yield parts, parts.without_elements(missing)
    if len(missing):
        parts = _Parts(_in_order(calls.take(np.union1d(np.union1d(rows, read), items))))
        yield parts, parts.everything()
    for more in (np.flatnonzero(np.isin(calls.key, alone.key)), np.arange(len(calls))):
        parts = _Parts(_in_order(calls.take(more)))
        yield parts, parts.everything()


def _written(calls: Calls, keys: NDArray[np.int32], codes: Column) -> Rows:
    """The rows that wrote one of ``codes`` to the key beside it, or wanted to."""
    found = np.zeros(len(calls), dtype=bool)
    for key in np.unique(keys[codes != NOTHING]):
        wanted = codes[(keys == key) & (codes != NOTHING)]
        writes = np.isin(calls.f, (F.WRITE, F.ADD, F.ENQUEUE, F.APPEND)) & np.isin(calls.arg, wanted)
        found |= (calls.key == key) & (writes | ((calls.f == F.CAS) & np.isin(calls.arg2, wanted)))
    return np.flatnonzero(found)


def _smallest(parts: _Parts, state: _State, kind: str, trials: _Trials) -> Witness:
    """``state``, which is wrong, without all that it can do without."""
    size, minimal = max(1, len(parts.atoms(state)) // 2), False
    while not trials.over:
        before = state
        state, through = _pass(parts, state, size, kind, trials)
        if not through:
            break
        if state is before and size == 1:
            minimal = True
            break
        size = max(1, min(size if state is not before else size // 2, len(parts.atoms(state)) // 2))
    calls, left_out = parts.build(state)
    found = trials.violation(calls, kind, NEVER) or Violation(kind=kind, rows=())  # none when the budget's clock has run out
    return Witness(calls=calls, violation=replace(found, rows=tuple(range(len(calls)))), minimal=minimal, left_out=left_out)


def _pass(parts: _Parts, state: _State, size: int, kind: str, trials: _Trials) -> tuple[_State, bool]:
    """``state`` without those pieces of ``size`` atoms that it can do without, and whether all pieces were tried."""
    atoms = parts.atoms(state)
    for at in range(0, len(atoms), size):
        trial = parts.without(state, atoms[at : at + size])
        if trial is None:
            continue
        if trials.over:
            return state, False
        if trials.violation(parts.build(trial)[0], kind) is not None:
            state = trial
    return state, True


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """Which rows and which elements are still there."""

    rows: Mask
    elements: Mask


class _Parts:
    """What a history can be taken apart into.

    An *atom* is a row, or an element behind all rows. An element is a value of a key. Behind the last one is one for what has none.
    """

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        lengths = np.diff(calls.starts) if len(calls.starts) else np.zeros(len(calls), dtype=np.int64)
        written, seen, done = _columns(calls)
        self.looks = (calls.f == F.CAS) & (calls.ended == Ended.OK) & (calls.result == 0)
        self._row_of_item = np.repeat(np.arange(len(calls)), lengths)
        keys = np.concatenate([calls.key, calls.key, calls.key, calls.key[self._row_of_item]]).astype(np.int64)
        numbers, count = _numbered(keys, np.concatenate([written, seen, done, calls.items]))
        ends = np.cumsum([len(calls)] * 3)
        self.writes, self.sees, self.of_element, self.of_item = np.split(numbers, ends)
        self.elements = count
        self._needless = self._refused_needlessly()
        self._atoms = self._in_order(_rows_alone(calls) | self._needless)

    def everything(self) -> _State:
        """Nothing left out."""
        return _State(rows=np.ones(len(self.calls), dtype=bool), elements=np.ones(self.elements + 1, dtype=bool))

    def without_elements(self, missing: Calls) -> _State:
        """Nothing left out but the elements that ``missing`` wrote."""
        keys = np.concatenate([self.calls.key[self._row_of_item], missing.key]).astype(np.int64)
        numbers, _ = _numbered(keys, np.concatenate([self.calls.items, missing.arg]))
        state, split = self.everything(), len(self._row_of_item)
        state.elements[self.of_item[np.isin(numbers[:split], numbers[split:])]] = False
        return state

    def atoms(self, state: _State) -> Column:
        """What can still be left out, in order of time."""
        alive = np.concatenate([state.rows, state.elements])
        return np.asarray(self._atoms[alive[self._atoms]])

    def without(self, state: _State, atoms: Column) -> _State | None:
        """``state`` without ``atoms`` and what has to go with them; None where they are gone already or nothing would be left."""
        rows, elements = state.rows.copy(), state.elements.copy()
        rows[atoms[atoms < len(rows)]] = False
        elements[atoms[atoms >= len(rows)] - len(rows)] = False
        rows &= (self.of_element < 0) | elements[self.of_element]
        gone = np.flatnonzero(state.rows & ~rows)
        while len(gone):
            lost = gone[(self.writes[gone] >= 0) & ~self._needless[gone]]
            first_ns = np.full(self.elements + 1, NEVER, dtype=np.int64)
            of_key_ns = np.full(int(self.calls.key.max()) + 1, NEVER, dtype=np.int64)
            np.minimum.at(first_ns, self.writes[lost], self.calls.call_ns[lost])
            np.minimum.at(of_key_ns, self.calls.key[lost], self.calls.call_ns[lost])
            saw_ns = np.where(self.looks, of_key_ns[self.calls.key], first_ns[self.sees])
            gone = np.flatnonzero(rows & (saw_ns < NEVER) & (self.calls.ret_ns >= saw_ns))
            rows[gone] = False
        if not rows.any() or (np.array_equal(rows, state.rows) and np.array_equal(elements, state.elements)):
            return None
        return _State(rows=rows, elements=elements)

    def build(self, state: _State) -> tuple[Calls, int]:
        """The operations of ``state``, and how many elements are missing in the answers of its reads."""
        chosen = self.calls.take(np.flatnonzero(state.rows))
        if not len(self.calls.items):
            return chosen, 0
        kept_rows = state.rows[self._row_of_item]
        shown = kept_rows & state.elements[self.of_item]
        lengths = np.bincount(self._row_of_item[shown], minlength=len(self.calls))[state.rows]
        told = np.diff(chosen.starts) > 0
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        result = np.where(told, lengths, chosen.result)
        left_out = len(np.unique(self.of_item[kept_rows & ~shown]))
        return replace(chosen, items=self.calls.items[shown], starts=starts, result=result), left_out

    def _refused_needlessly(self) -> Mask:
        """The refused rows that wanted to write what another row may have written: nothing that was seen needs them."""
        calls = self.calls
        told = np.where(self.writes >= 0, self.writes, self.of_element)
        writes = np.isin(calls.f, (F.WRITE, F.CAS, F.ADD, F.ENQUEUE, F.APPEND)) & (told >= 0)
        written = np.zeros(self.elements + 1, dtype=bool)
        written[told[writes & (calls.ended != Ended.FAIL)]] = True
        needless: Mask = writes & (calls.ended == Ended.FAIL) & written[told]
        return needless

    def _in_order(self, alone: Mask) -> Column:
        """All atoms by the first call that has to do with them."""
        calls = self.calls
        first_ns = np.full(self.elements + 1, NEVER, dtype=np.int64)
        np.minimum.at(first_ns, self.of_element, calls.call_ns)
        np.minimum.at(first_ns, self.of_item, calls.call_ns[self._row_of_item])
        elements = np.union1d(self.of_element[self.of_element >= 0], self.of_item)
        rows = np.flatnonzero(alone)
        atoms = np.concatenate([rows, elements + len(calls)])
        order = np.argsort(np.concatenate([calls.call_ns[rows], first_ns[elements]]), kind="stable")
        return np.asarray(atoms[order])


def _has_elements(calls: Calls) -> bool:
    """Whether these are sets, logs or queues, and not registers."""
    return reads_are_whole(calls) or bool(np.isin(calls.f, (F.ENQUEUE, F.DEQUEUE)).any())


def _columns(calls: Calls) -> tuple[Column, Column, Column]:
    """For each row the value that it writes, the one that it must have seen, and the element that it is about; `NOTHING` where none."""
    nothing = np.full(len(calls), NOTHING, dtype=np.int64)
    f, told = calls.f, (calls.result != NOTHING) & (calls.ended == Ended.OK)
    if not _has_elements(calls):
        swaps = (f == F.CAS) & (calls.result != 0)
        written = np.where(f == F.WRITE, calls.arg, np.where(swaps, calls.arg2, NOTHING))
        seen = np.where((f == F.READ) & told, calls.result, np.where(swaps & (calls.ended != Ended.FAIL), calls.arg, NOTHING))
        return written, seen, nothing
    taken = (f == F.DEQUEUE) & told & (calls.result != INITIAL)
    return nothing, nothing, np.where(taken, calls.result, calls.arg)


def _rows_alone(calls: Calls) -> Mask:
    """The rows that may be left out one by one."""
    if not _has_elements(calls):
        return np.ones(len(calls), dtype=bool)
    only_looks = np.isin(calls.f, (F.READ, F.CONTAINS)) | ((calls.f == F.DEQUEUE) & (calls.result == INITIAL))
    alone: Mask = only_looks | ((calls.ended == Ended.FAIL) & (calls.arg == NOTHING))
    return alone


def _numbered(keys: Column, codes: Column) -> tuple[Column, int]:
    """A number from 0 for each pair of a key and a code, -1 for `NOTHING`; and how many numbers there are."""
    there = codes != NOTHING
    kinds, code = np.unique(codes[there], return_inverse=True)
    pairs, number = np.unique(keys[there] * max(1, len(kinds)) + code, return_inverse=True)
    numbers = np.full(len(codes), -1, dtype=np.int64)
    numbers[there] = number
    return numbers, len(pairs)


def _in_order(calls: Calls) -> Calls:
    return calls.take(np.lexsort((calls.ret_ns, calls.call_ns)))


def _as_told(calls: Calls, violation: Violation, trials: _Trials, *, proven: bool) -> Witness:
    """The operations of ``violation`` as they are; minimal where they are all it takes, and the monitor judges them wrong again."""
    rows = np.unique(np.array(violation.rows, dtype=np.int64))
    rows = rows[np.lexsort((calls.ret_ns[rows], calls.call_ns[rows]))]
    number = {row: at for at, row in enumerate(rows.tolist())}
    known = [fact for fact in violation.because if fact.a in number and (fact.b < 0 or fact.b in number)]
    because = tuple(replace(fact, a=number[fact.a], b=number.get(fact.b, -1)) for fact in known)
    alone = calls.take(rows)
    again = proven and trials.judged(alone, NEVER).verdict is Verdict.FAIL
    return Witness(calls=alone, violation=replace(violation, rows=tuple(range(len(rows))), because=because), minimal=again)
