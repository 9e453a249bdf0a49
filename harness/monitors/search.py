"""The general search: whether some order of a key's operations explains all answers, for models and values where nothing faster is exact.

It is the search of Wing and Gong (J. Parallel Distrib. Comput. 17, 1993) with Lowe's memory of what was tried (Concurrency Comput. Pract.
Exp. 29, 2017) and one search a key (Horn and Kroening, FORTE 2015): put first one of the operations that nothing left must precede, and go
on with the rest; where nothing fits, go back. The question is NP-complete, so there is a budget, and *undecided* is an answer. What keeps
it fast:

* A configuration is the first operation that has no place yet, a mask of those behind it that have one, how many pending operations of each
  kind were used, and the state. Its size grows with how many operations run at once, not with the history, and only those that led nowhere
  are remembered.
* An operation that only looks is put as soon as it fits, and nothing else is tried in its place: whatever order explains the rest explains
  it after that one, too.
* Pending operations that ask the same are one kind, used in the order of their calls. Where a configuration led nowhere, so does one that
  used as many or more of each kind and is the same otherwise.
* After a pending operation comes nothing that would do the same without it.
* States are met by number, and what an operation does to a state is asked of the model once.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from harness.monitors.calls import NEVER, NOTHING, Calls, Ended, F, Rows, places_by
from harness.monitors.judged import Because, Budget, Judged, Violation, Why, judged
from harness.monitors.models import Asked, Model, State, only_looks, proves_nothing

ASK_EVERY: Final = 512
"""After so many configurations the budget is asked whether time is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the search found for one key.

    Attributes:
        explained: Whether some order explains all answers; None when the budget ended first.
        steps: How many configurations it looked at.
        stuck: Where not explained: the row that the longest order has no place for. Else -1.
        rows: Where not explained: rows that have no explanation, either; those that began before ``stuck`` ended, or fewer. Else empty.
    """

    explained: bool | None
    steps: int
    stuck: int = -1
    rows: tuple[int, ...] = ()


def search(calls: Calls, model: Model, budget: Budget) -> Judged:
    """Judge every key of ``calls``; each one has the steps of ``budget`` for itself."""
    violations: list[Violation] = []
    undecided: list[str] = []
    for rows in places_by(calls.key):
        answer = search_key(calls, rows, model, budget)
        if answer.explained is None:
            undecided.append(gave_up(calls, int(rows[0]), answer.steps))
        elif not answer.explained:
            violations.append(violation_of(smaller(calls, answer, model, budget)))
    took_part = calls.ended != Ended.FAIL
    told = (calls.ended == Ended.OK) & (calls.result != NOTHING) & ~np.isin(calls.f, (F.WRITE, F.ENQUEUE, F.APPEND))
    return judged(
        model.name,
        violations=violations,
        undecided=undecided,
        operations=int(np.count_nonzero(took_part)),
        reads=int(np.count_nonzero(told)),
    )


def gave_up(calls: Calls, row: int, steps: int) -> str:
    """The sentence for a key, that of ``row``, on which the budget ended."""
    key = calls.keys[calls.key[row]] if calls.keys else ""
    of = f"key {key}" if key else "the history"
    return f"{of} was not decided: the search gave up after {steps:,} steps (--budget gives it more)"


def violation_of(answer: Answer) -> Violation:
    """The violation that an answer which explains nothing shows."""
    return Violation(kind="not-linearizable", rows=answer.rows, because=(Because(why=Why.NO_PLACE, a=answer.stuck),))


def search_key(calls: Calls, rows: Rows | Sequence[int], model: Model, budget: Budget) -> Answer:
    """Search the operations ``rows``, which are of one key."""
    told = _told(calls, np.asarray(rows, dtype=np.int64), model)
    explorer = _Explorer(told=told, model=model, budget=budget)
    explained = explorer.explore()
    if explained is not False:
        return Answer(explained=explained, steps=explorer.steps)
    within = [row for row, call_ns in zip(told.every_row, told.every_call, strict=True) if call_ns <= explorer.furthest_ns]
    return Answer(explained=False, steps=explorer.steps, stuck=explorer.stuck_row, rows=tuple(within))


def smaller(calls: Calls, answer: Answer, model: Model, budget: Budget) -> Answer:
    """``answer`` with fewer rows that still have no explanation, as far as some thousand steps go.

    Only looks are left out, and on a register those changes whose value nobody left saw: all that is left out of what has an explanation
    leaves something that has one.
    """
    rows, spent, limit = list(answer.rows), 0, min(budget.steps, 50_000)
    size = max(1, len(rows) // 2)
    while spent < limit and not budget.over():
        at, before = 0, len(rows)
        while at < len(rows) and spent < limit:
            tried = rows[:at] + rows[at + size :]
            tried += [row for row in rows[at : at + size] if not _may_go(calls, row, rows, model)]
            found = Answer(explained=True, steps=0)
            if len(tried) < len(rows):
                found = search_key(calls, sorted(tried), model, Budget(steps=limit - spent, over=budget.over))
                spent += found.steps + 1 + len(tried) // 8
            if found.explained is False:
                rows, answer = list(found.rows), found
            else:
                at += size
        if size == 1 and len(rows) == before:
            break
        size = max(1, size // 2)
    return answer


def _may_go(calls: Calls, row: int, rows: Sequence[int], model: Model) -> bool:
    """Whether what has an explanation has one without ``row``, too."""
    asked = asked_of(calls, row, model)
    f = asked.f
    if only_looks(asked):
        return True
    if model.name != "register" or f not in (F.WRITE, F.CAS):
        return False
    value = int(calls.arg2[row] if f == F.CAS else calls.arg[row])
    rest = calls.take([other for other in rows if other != row])
    looked = (rest.f == F.CAS) & (rest.result == 0)
    seen = ((rest.f == F.READ) & (rest.result == value)) | ((rest.f == F.CAS) & (rest.arg == value))
    return not bool(np.any(looked | seen))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """One key's operations, ready to be searched: those that ended by their calls, the pending ones by kind."""

    rows: list[int]
    call: list[int]
    ret: list[int]
    kind: list[int]
    pending: list[tuple[int, list[int]]]
    kinds: list[Asked]
    looks: list[bool]
    every_row: list[int]
    every_call: list[int]


def _told(calls: Calls, rows: Rows, model: Model) -> _Told:
    rows = rows[calls.ended[rows] != Ended.FAIL]
    rows = rows[np.lexsort((calls.ret_ns[rows], calls.call_ns[rows]))]
    asked = [asked_of(calls, row, model) for row in rows.tolist()]
    kept = [(row, one) for row, one in zip(rows.tolist(), asked, strict=True) if not proves_nothing(one)]
    reduced = model.reduce([one for _, one in kept])
    left = [(row, one) for (row, _), one in zip(kept, reduced, strict=True) if one is not None]
    numbers: dict[Asked, int] = {}
    told = _Told(rows=[], call=[], ret=[], kind=[], pending=[], kinds=[], looks=[], every_row=[], every_call=[])
    pending: dict[int, list[int]] = {}
    for row, one in left:
        kind = numbers.setdefault(one, len(numbers))
        call_ns = int(calls.call_ns[row])
        told.every_row.append(row)
        told.every_call.append(call_ns)
        if one.pending:
            pending.setdefault(kind, []).append(call_ns)
        else:
            told.rows.append(row)
            told.call.append(call_ns)
            told.ret.append(int(calls.ret_ns[row]))
            told.kind.append(kind)
    told.pending.extend(pending.items())
    told.kinds.extend(numbers)
    told.looks.extend(only_looks(one) for one in numbers)
    return told


def asked_of(calls: Calls, row: int, model: Model) -> Asked:
    """The operation ``row`` as the model's step takes it."""
    f, result = F(int(calls.f[row])), int(calls.result[row])
    pending = int(calls.ended[row]) == Ended.INFO
    known = not pending and result != NOTHING
    whole = known and model.whole_reads and f is F.READ
    return Asked(
        f=f,
        arg=int(calls.arg[row]),
        arg2=int(calls.arg2[row]),
        result=result if known and not whole else None,
        items=tuple(calls.items_of(row).tolist()) if whole else None,
        pending=pending,
    )


@dataclass(slots=True, kw_only=True)
class _States:
    """The states met so far, by number, and what each kind of operation does to each: the next number, or -1 where it can't be."""

    model: Model
    kinds: list[Asked]
    known: list[State] = field(default_factory=list)
    numbers: dict[Hashable, int] = field(default_factory=dict)
    after: list[dict[int, int]] = field(default_factory=list)
    weight: int = 0

    def number(self, state: State) -> int:
        found = self.numbers.get(state)
        if found is None:
            found = self.numbers[state] = len(self.known)
            self.known.append(state)
            self.after.append({})
            self.weight += len(state) >> 4 if isinstance(state, tuple | frozenset) else 0
        return found

    def next(self, state: int, kind: int) -> int:
        """The state after an operation of ``kind``; -1 where it can't be. Ask ``after`` first where it matters."""
        known = self.after[state].get(kind)
        if known is not None:
            return known
        after = self.model.step(self.known[state], self.kinds[kind])
        found = self.after[state][kind] = -1 if after is None else self.number(after)
        return found


_Choice = tuple[int, int, int, int, int]
"""What may come next: the mask's bit, the pending kind's part of the count, the next state, when it ends, and its kind."""


@dataclass(slots=True, kw_only=True)
class _Explorer:
    """One search; ``explore`` runs it."""

    told: _Told
    model: Model
    budget: Budget
    steps: int = 0
    furthest_ns: int = -NEVER
    stuck_row: int = -1

    def explore(self) -> bool | None:
        """Whether some order explains all; None when the budget ended."""
        told = self.told
        states = _States(model=self.model, kinds=told.kinds)
        pending, guards = _fields(told.pending)
        dead: dict[tuple[int, int, int], list[int]] = {}
        stack: list[tuple[tuple[int, int, int], int, list[_Choice]]] = []
        first, mask, used, state, without = 0, 0, 0, states.number(self.model.first), -1
        place = (first, mask)
        count = len(told.call)
        while True:
            self.steps += 1
            if self.steps + states.weight > self.budget.steps or (self.steps % ASK_EVERY == 0 and self.budget.over()):
                return None
            first, mask, choices, blocked, limit_ns = self._look(states, first, mask, state)
            if first == count:
                return True
            here = (first, mask, state)
            failed = dead.get(here)
            if failed is not None and any(((used | guards) - less) & guards == guards for less in failed):
                choices = []
            else:
                choices += self._of_pending(states, pending, used, state, limit_ns)
                if without >= 0 and (first, mask) == place:  # what only looks may have needed the pending one
                    choices = [choice for choice in choices if states.next(without, choice[4]) != choice[2]]
                _sort(choices, states, blocked)
                stack.append((here, used, choices))
            while stack and not stack[-1][2]:
                here, used, _ = stack.pop()
                _bury(dead, here, used, guards)
            if not stack:
                return False
            (first, mask, before), used, choices = stack[-1]
            bit, part, state, _, _ = choices.pop()
            without = before if part else -1
            mask |= bit
            place = (first, mask)
            used += part

    def _look(self, states: _States, first: int, mask: int, state: int) -> tuple[int, int, list[_Choice], int, int]:
        """Put all that only looks and fits, and tell what may come next.

        Returns the new first and mask; the choices; the kind of the operation that ends first when it can't come next, else -1; that end.
        """
        told = self.told
        call, ret, kind, looks = told.call, told.ret, told.kind, told.looks
        after = states.after[state]
        choices: list[_Choice] = []
        limit_ns, blocked, stuck = NEVER, -1, -1
        at, bit, bits = first, 1, mask
        for at in range(first, len(call)):
            if call[at] > limit_ns:
                break
            if not bits & 1:
                found = after.get(kind[at])
                if found is None:
                    found = states.next(state, kind[at])
                if found == state and looks[kind[at]]:
                    mask |= bit
                else:
                    if ret[at] < limit_ns:
                        limit_ns, stuck = ret[at], at
                        blocked = kind[at] if found < 0 else -1
                    if found >= 0:
                        choices.append((bit, 0, found, ret[at], kind[at]))
            bit <<= 1
            bits >>= 1
        if stuck >= 0 and limit_ns > self.furthest_ns:
            self.furthest_ns, self.stuck_row = limit_ns, told.rows[stuck]
        done = (mask ^ (mask + 1)).bit_length() - 1
        if done:
            first += done
            mask >>= done
            choices = [(bit >> done, part, found, end, of) for bit, part, found, end, of in choices]
        return first, mask, choices, blocked, limit_ns

    def _of_pending(
        self, states: _States, pending: list[tuple[int, list[int], int, int]], used: int, state: int, limit_ns: int
    ) -> list[_Choice]:
        """The pending operations that may come next: the earliest unused one of each kind."""
        choices: list[_Choice] = []
        after = states.after[state]
        for kind, called, shift, width in pending:
            count = (used >> shift) & width
            if count < len(called) and called[count] <= limit_ns:
                found = after.get(kind)
                if found is None:
                    found = states.next(state, kind)
                if found >= 0 and found != state:
                    choices.append((0, 1 << shift, found, NEVER, kind))
        return choices


def _fields(pending: list[tuple[int, list[int]]]) -> tuple[list[tuple[int, list[int], int, int]], int]:
    """Where the count of each pending kind lies in one number: kind, calls, shift and mask; and the guard bits above all counts."""
    fields, guards, shift = [], 0, 0
    for kind, called in pending:
        width = len(called).bit_length()
        fields.append((kind, called, shift, (1 << width) - 1))
        guards |= 1 << (shift + width)
        shift += width + 1
    return fields, guards


def _sort(choices: list[_Choice], states: _States, blocked: int) -> None:
    """The most promising choice last: one after which what ends first fits, and among those the one that ends first."""

    def order(choice: _Choice) -> tuple[bool, int]:
        if blocked < 0:
            return False, -choice[3]
        found = states.after[choice[2]].get(blocked)
        if found is None:
            found = states.next(choice[2], blocked)
        return found >= 0, -choice[3]

    if len(choices) > 1:
        choices.sort(key=order)


def _bury(dead: dict[tuple[int, int, int], list[int]], here: tuple[int, int, int], used: int, guards: int) -> None:
    """Remember that ``here`` led nowhere after ``used``, and forget what that covers."""
    failed = dead.get(here)
    if failed is None:
        dead[here] = [used]
    else:
        failed[:] = [more for more in failed if ((more | guards) - used) & guards != guards]
        failed.append(used)
