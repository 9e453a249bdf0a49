"""Sequential models: what each operation answers, and what it leaves behind, when one happens after the other.

A model is a first state and a pure step. The step takes a state and what was asked, with the answer where it is known, and returns the
state after it, or None where that answer is impossible in that state. States can be hashed, so that the search meets each one once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, cast

from harness.monitors.calls import INITIAL, NOTHING, F

State: TypeAlias = Hashable


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one operation asked and was answered.

    Attributes:
        f: What was asked.
        arg: The value, element or number.
        arg2: The new value of a CAS.
        result: The answer; None where it is not known.
        items: The answer of a read of a whole set or log; None where it is not known, or where the model has no such reads.
        pending: Whether nobody knows if it took effect.
    """

    f: F
    arg: int
    arg2: int
    result: int | None
    items: tuple[int, ...] | None
    pending: bool


Step: TypeAlias = Callable[[State, Asked], State | None]
Reduce: TypeAlias = Callable[[Sequence[Asked]], Sequence[Asked | None]]


def _as_it_is(asked: Sequence[Asked]) -> Sequence[Asked | None]:
    return asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A sequential model.

    Attributes:
        name: Its name in `MODELS`.
        first: The state before anything happened.
        step: See the module.
        whole_reads: Whether reads answer items.
        reduce: The operations of one key made fewer or more alike, None for those that may be left out, without a change of the verdict.
    """

    name: str
    first: State
    step: Step
    whole_reads: bool = False
    reduce: Reduce = _as_it_is


def proves_nothing(asked: Asked) -> bool:
    """Whether it only looks, and what it saw is not known: it fits everywhere and changes nothing."""
    if asked.f is F.READ:
        return asked.result is None and asked.items is None
    return asked.f is F.CONTAINS and asked.result is None


def only_looks(asked: Asked) -> bool:
    """Whether it changes nothing in any state in which its answer is possible."""
    if asked.f is F.CAS:
        return asked.result == 0 or asked.arg == asked.arg2
    if asked.f is F.REMOVE:
        return asked.result == 0
    return asked.f in (F.READ, F.CONTAINS) or (asked.f is F.DEQUEUE and asked.result == INITIAL)


def _register(state: State, asked: Asked) -> State | None:
    if asked.f is F.READ:
        return state if state == asked.result else None
    if asked.f is F.WRITE:
        return asked.arg
    if asked.result == 0:
        return state if state != asked.arg else None
    return asked.arg2 if state == asked.arg else None


OTHER: Final = NOTHING
"""Stands for every value that nobody saw and nobody compared with."""


def _fewer(asked: Sequence[Asked]) -> Sequence[Asked | None]:
    """Registers: the values that nobody named in an answer or a comparison become one, and pending changes to it go.

    To leave out a pending change whose value nobody saw changes only what is there until the next change, where nobody looked; only a look
    that says *another value* may need it, so where there is one such changes stay. A pending CAS compares only if it may stay itself, so
    this goes on until nothing changes.
    """
    looks = any(one.f is F.CAS and one.result == 0 for one in asked)
    left: list[Asked | None] = list(asked)
    while True:
        named = {INITIAL}
        for one in left:
            if one is not None and one.f is F.READ and one.result is not None:
                named.add(one.result)
            elif one is not None and one.f is F.CAS:
                named.add(one.arg)
        gone = [
            at
            for at, one in enumerate(left)
            if one is not None and one.pending and not looks and (one.arg if one.f is F.WRITE else one.arg2) not in named
        ]
        if not gone:
            break
        for at in gone:
            left[at] = None
    return [one if one is None else _with_named(one, named) for one in left]


def _with_named(one: Asked, named: set[int]) -> Asked:
    if one.f is F.WRITE and one.arg not in named:
        return replace(one, arg=OTHER)
    if one.f is F.CAS and one.arg2 not in named:
        return replace(one, arg2=OTHER)
    return one


def _set(state: State, asked: Asked) -> State | None:
    elements = cast("frozenset[int]", state)
    if asked.f is F.READ:
        items = asked.items or ()
        return state if len(items) == len(elements) and elements == set(items) else None
    if asked.f is F.ADD:
        return elements | {asked.arg}
    there = asked.arg in elements
    if asked.result is not None and bool(asked.result) != there:
        return None
    return state if asked.f is F.CONTAINS else elements - {asked.arg}


def _counter(state: State, asked: Asked) -> State | None:
    number = cast("int", state)
    after = number + asked.arg if asked.f is F.ADD else number
    return after if asked.result is None or asked.result == after else None


def _queue(state: State, asked: Asked) -> State | None:
    line = cast("tuple[int, ...]", state)
    if asked.f is F.ENQUEUE:
        return (*line, asked.arg)
    there = line[0] if line else INITIAL
    return line[1:] if asked.result is None or asked.result == there else None


def _log(state: State, asked: Asked) -> State | None:
    if asked.f is F.APPEND:
        return (*cast("tuple[int, ...]", state), asked.arg)
    return state if asked.items == state else None


MODELS: Final[dict[str, Model]] = {
    "register": Model(name="register", first=INITIAL, step=_register, reduce=_fewer),
    "set": Model(name="set", first=frozenset(), step=_set, whole_reads=True),
    "counter": Model(name="counter", first=0, step=_counter),
    "queue": Model(name="queue", first=(), step=_queue),
    "log": Model(name="log", first=(), step=_log, whole_reads=True),
}
"""Every sequential model."""
