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

A value is a text, or a whole number; in a history of a counter they are all numbers. A text that spells a whole number is written as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from harness.monitors.calls import INITIAL, NEVER, NOTHING, Calls, Ended, F, name

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
_WHOLE: Final = re.compile(r"0|-?[1-9]\d{0,17}", re.ASCII)
_QUOTED: Final = re.compile(r'".*"', re.DOTALL)
_TRUE_OR_FALSE: Final = (F.CAS, F.CONTAINS, F.REMOVE)


def encode(calls: Calls) -> Iterator[str]:
    """Each operation as a line without its end, in the order of the rows."""
    encoder = msgspec.json.Encoder()
    writing = _Writing(calls)
    for row in range(len(calls)):
        yield encoder.encode(writing.operation(row)).decode()


def are_numbers(calls: Calls) -> bool:
    """Whether values are the numbers themselves, and 0 is a number and not `INITIAL`: in the history of a counter."""
    return not calls.values and not len(calls.items) and bool(np.isin(calls.f, (F.READ, F.ADD)).all())


def reads_are_whole(calls: Calls) -> bool:
    """Whether reads answer all elements of a set or a log, so that one without items has answered an empty one."""
    return not are_numbers(calls) and (len(calls.items) > 0 or bool(np.isin(calls.f, _OF_ELEMENTS).any()))


class _Writing:
    """Makes lines of rows."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._numbers, self._whole = are_numbers(calls), reads_are_whole(calls)
        self._texts = frozenset(calls.values)

    def operation(self, row: int) -> Operation:
        """The line of ``row``."""
        calls = self._calls
        f, replica, ret_ns = F(calls.f[row]), int(calls.replica[row]), int(calls.ret_ns[row])
        argument = self._value(int(calls.arg[row]))
        return Operation(
            f=_ASKED[f],
            call_ns=int(calls.call_ns[row]),
            ret_ns=UNSET if ret_ns == NEVER else ret_ns,
            ended=_ENDED[Ended(calls.ended[row])],
            value=UNSET if f is F.CAS else argument,
            old=argument if f is F.CAS else UNSET,
            new=self._value(int(calls.arg2[row])) if f is F.CAS else UNSET,
            result=self._result(f, row),
            session=name(calls.sessions, int(calls.session[row])) or UNSET,
            key=name(calls.keys, int(calls.key[row])) or UNSET,
            replica=UNSET if replica < 0 else name(calls.replicas, replica),
            place=int(calls.place[row]) or UNSET,
        )

    def _result(self, f: F, row: int) -> bool | str | int | list[Value] | UnsetType | None:
        code = int(self._calls.result[row])
        if code == NOTHING:
            return UNSET
        if f in _TRUE_OR_FALSE:
            return bool(code)
        if f is F.READ and self._whole:
            return [item for item in map(self._value, self._calls.items_of(row).tolist()) if item is not UNSET]
        return self._value(code)

    def _value(self, code: int) -> Value | UnsetType:
        if code == NOTHING:
            return UNSET
        if self._numbers:
            return code
        return None if code == INITIAL else self._plain(self._calls.value(code))

    def _plain(self, text: str) -> str | int:
        """What ``text`` was before it became one: a number, or a text that stands in quotes where it could be taken for something else."""
        if _WHOLE.fullmatch(text):
            return int(text)
        if not _QUOTED.fullmatch(text):
            return text
        try:
            plain = msgspec.json.decode(text, type=str)
        except msgspec.DecodeError:
            return text
        return text if plain in self._texts else plain
