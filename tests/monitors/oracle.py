"""Whether some order of the effects explains a small history, by trying all orders: slow, short, and sharing nothing with the monitors.

Tests compare each monitor with it. Up to ten operations a key answer at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from harness.monitors.calls import INITIAL, NEVER, NOTHING, Calls, Ended, F


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One row, as plain numbers. ``result`` and ``items`` are None where they are not known, and of an operation without an end."""

    row: int
    f: F
    arg: int
    arg2: int
    result: int | None
    items: tuple[int, ...] | None
    call_ns: int
    ret_ns: int
    pending: bool


class Step(Protocol):
    """The states in which an operation that meets ``state`` may leave it; none: it can't have answered what it did."""

    def __call__(self, state: Hashable, op: Op) -> Iterator[Hashable]: ...


def register(state: Hashable, op: Op) -> Iterator[Hashable]:
    if op.f is F.WRITE:
        yield op.arg
    elif op.f is F.CAS:
        if op.result == 0:
            if state != op.arg:
                yield state
        elif state == op.arg:
            yield op.arg2
    elif op.result is None or op.result == state:
        yield state


def elements(state: Hashable, op: Op) -> Iterator[Hashable]:
    assert isinstance(state, frozenset)
    there = op.arg in state
    if op.f is F.ADD:
        yield state | {op.arg}
    elif op.f is F.REMOVE:
        if op.result is None or op.result == there:
            yield state - {op.arg}
    elif op.f is F.CONTAINS:
        if op.result is None or op.result == there:
            yield state
    elif op.items is None or (set(op.items) == state and len(op.items) == len(state)):
        yield state


def counter(state: Hashable, op: Op) -> Iterator[Hashable]:
    assert isinstance(state, int)
    if op.f is F.ADD:
        if op.result is None or op.result == state + op.arg:
            yield state + op.arg
    elif op.result is None or op.result == state:
        yield state


def queue(state: Hashable, op: Op) -> Iterator[Hashable]:
    assert isinstance(state, tuple)
    if op.f is F.ENQUEUE:
        yield (*state, op.arg)
    elif op.result is None or op.result == (state[0] if state else INITIAL):
        yield state[1:]


def log(state: Hashable, op: Op) -> Iterator[Hashable]:
    assert isinstance(state, tuple)
    if op.f is F.APPEND:
        yield (*state, op.arg)
    elif op.items is None or op.items == state:
        yield state


SPECS: Final[dict[str, tuple[Hashable, Step]]] = {
    "register": (INITIAL, register),
    "set": (frozenset(), elements),
    "counter": (0, counter),
    "queue": ((), queue),
    "log": ((), log),
}
"""Each model: its first state and its step."""


def ops_of(calls: Calls, model: str) -> list[Op]:
    """The rows that may have had an effect."""
    whole = {F.READ} if model in ("set", "log") else set()
    ops = []
    for row in range(len(calls)):
        ended = Ended(int(calls.ended[row]))
        if ended is Ended.FAIL:
            continue
        f, result = F(int(calls.f[row])), int(calls.result[row])
        known = ended is Ended.OK and result != NOTHING
        ops.append(
            Op(
                row=row,
                f=f,
                arg=int(calls.arg[row]),
                arg2=int(calls.arg2[row]),
                result=result if known else None,
                items=tuple(int(item) for item in calls.items_of(row)) if known and f in whole else None,
                call_ns=int(calls.call_ns[row]),
                ret_ns=int(calls.ret_ns[row]) if ended is Ended.OK else NEVER,
                pending=ended is Ended.INFO,
            )
        )
    return ops


def explained(calls: Calls, model: str) -> bool:
    """Whether each key's operations have an order that explains all answers."""
    first, step = SPECS[model]
    ops = ops_of(calls, model)
    return all(_some_order([op for op in ops if int(calls.key[op.row]) == key], first, step) for key in set(calls.key.tolist()))


def _some_order(ops: list[Op], first: Hashable, step: Step) -> bool:
    """Try to put each operation next that nothing left must precede, in every way; what is pending may be left out."""
    seen: set[tuple[frozenset[int], Hashable]] = set()

    def rest(done: frozenset[int], state: Hashable) -> bool:
        left = [op for op in ops if op.row not in done]
        if all(op.pending for op in left):
            return True
        if (done, state) in seen:
            return False
        seen.add((done, state))
        first_end = min(op.ret_ns for op in left)
        return any(rest(done | {op.row}, after) for op in left if op.call_ns <= first_end for after in step(state, op))

    return rest(frozenset(), first)
