"""A history of operations as JSON Lines, Jetable's own way to write one: an object a line, an operation an object, in any order.

====================  ==================================================================================================================
field                 meaning
====================  ==================================================================================================================
``f``                 what was asked: ``read``, ``write``, ``cas``, ``add``, ``remove``, ``contains``, ``enqueue``, ``dequeue``, ``append``
``call_ns``           when it was called, a whole number of nanoseconds; all of a file by one clock
``ret_ns``            when it returned; absent for an ``info``
``ended``             ``ok``: it took effect; ``fail``: it provably did not; ``info``: nobody knows
``value``             the argument of ``write``, ``add``, ``remove``, ``contains``, ``enqueue`` and ``append``
``old``, ``new``      the arguments of ``cas``
``result``            what was answered: of a ``read`` the value, or the list of all elements of a set or a log; of a ``dequeue`` the value;
                      of ``contains`` and ``remove`` true or false: whether the element was there; of ``cas`` true, or false when it took
                      effect as a look that found another value; of an ``add`` to a counter the new number, if it was told. ``null`` means
                      that there is nothing yet, or that a queue was empty; absent means that the answer is not known
``session``           who asked, a text; who asks one thing after the other, in that order
``key``               of what, a text; absent: the history has one key
``replica``           who answered, or was asked; absent: not known
``place``             the number of the operation in the history that this one was cut from; absent: the number of its line
====================  ==================================================================================================================

A value is a text, or a whole number; in a history of a counter they are all numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from harness.monitors.calls import INITIAL, NEVER, NOTHING, Calls, Ended, F

Value: TypeAlias = str | int | None
Asked: TypeAlias = Literal["read", "write", "cas", "add", "remove", "contains", "enqueue", "dequeue", "append"]
Outcome: TypeAlias = Literal["ok", "fail", "info"]


class Operation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line; the fields are told at the head of the module."""

    f: Asked
    call_ns: int
    ret_ns: int | UnsetType = UNSET
    ended: Outcome
    value: Value | UnsetType = UNSET
    old: Value | UnsetType = UNSET
    new: Value | UnsetType = UNSET
    result: bool | str | int | list[Value] | UnsetType | None = UNSET
    session: str | UnsetType = UNSET
    key: str | UnsetType = UNSET
    replica: str | UnsetType = UNSET
    place: int | UnsetType = UNSET


_ASKED: Final[dict[F, Asked]] = {
    F.READ: "read",
    F.WRITE: "write",
    F.CAS: "cas",
    F.ADD: "add",
    F.REMOVE: "remove",
    F.CONTAINS: "contains",
    F.ENQUEUE: "enqueue",
    F.DEQUEUE: "dequeue",
    F.APPEND: "append",
}
_ENDED: Final[dict[Ended, Outcome]] = {Ended.OK: "ok", Ended.FAIL: "fail", Ended.INFO: "info"}
_OF_ELEMENTS: Final = (F.ADD, F.REMOVE, F.CONTAINS, F.APPEND)
_TRUE_OR_FALSE: Final = (F.CAS, F.CONTAINS, F.REMOVE)


def encode(calls: Calls) -> Iterator[str]:
    """Each operation as a line without its end, in the order of the rows."""
    encoder = msgspec.json.Encoder()
    numbers, whole = are_numbers(calls), reads_are_whole(calls)
    for row in range(len(calls)):
        yield encoder.encode(_operation(calls, row, numbers=numbers, whole=whole)).decode()


def are_numbers(calls: Calls) -> bool:
    """Whether values are the numbers themselves, and 0 is a number and not `INITIAL`: in the history of a counter."""
    return not calls.values and not len(calls.items) and bool(np.isin(calls.f, (F.READ, F.ADD)).all())


def reads_are_whole(calls: Calls) -> bool:
    """Whether reads answer all elements of a set or a log, so that one without items has answered an empty one."""
    return not are_numbers(calls) and (len(calls.items) > 0 or bool(np.isin(calls.f, _OF_ELEMENTS).any()))


def _operation(calls: Calls, row: int, *, numbers: bool, whole: bool) -> Operation:
    def value(code: int) -> Value | UnsetType:
        if code == NOTHING:
            return UNSET
        if numbers or not calls.values:
            return code if code != INITIAL or numbers else None
        return calls.value(code) if code != INITIAL else None

    def result() -> bool | str | int | list[Value] | UnsetType | None:
        code = int(calls.result[row])
        if code == NOTHING:
            return UNSET
        if f in _TRUE_OR_FALSE:
            return bool(code)
        if f is F.READ and whole:
            return [item for item in map(value, calls.items_of(row).tolist()) if item is not UNSET]
        return value(code)

    f, replica, ret_ns = F(calls.f[row]), int(calls.replica[row]), int(calls.ret_ns[row])
    argument = value(int(calls.arg[row]))
    return Operation(
        f=_ASKED[f],
        call_ns=int(calls.call_ns[row]),
        ret_ns=UNSET if ret_ns == NEVER else ret_ns,
        ended=_ENDED[Ended(calls.ended[row])],
        value=UNSET if f is F.CAS else argument,
        old=argument if f is F.CAS else UNSET,
        new=value(int(calls.arg2[row])) if f is F.CAS else UNSET,
        result=result(),
        session=name(calls.sessions, int(calls.session[row])),
        key=name(calls.keys, int(calls.key[row])) or UNSET,
        replica=UNSET if replica < 0 else name(calls.replicas, replica),
        place=int(calls.place[row]) or UNSET,
    )


def name(names: Sequence[str], number: int) -> str:
    """The name of a session, key or replica; its number where names are not known."""
    return names[number] if 0 <= number < len(names) else str(number)
