"""Columns of operations, filled one by one: what every dialect makes of a file at the end.

Made for files of a million lines, so it appends to plain columns and keeps no object for an operation. `harness.monitors.calls.calls_of`
does the same for a few operations that are written out.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final

import numpy as np

from harness.dialects.values import Value, WrongHistoryError, text_of, whole_number
from harness.monitors.calls import INITIAL_TEXT, NEVER, NOTHING, Calls, Ended, F
from harness.words import shown

LATEST_NS: Final = 1 << 61
"""Instants and numbers are smaller than that, so that sums of a few fit."""


class Names:
    """Gives each text a number of its own, from 0."""

    def __init__(self, *first: str) -> None:
        self._numbers = {text: number for number, text in enumerate(first)}

    def of(self, text: str) -> int:
        """The number of ``text``."""
        return self._numbers.setdefault(text, len(self._numbers))

    def all(self) -> tuple[str, ...]:
        """The texts in the order of their numbers."""
        return tuple(self._numbers)


class Columns:
    """Operations so far; ``numbers`` where values are numbers to add, ``initial`` is the text of the value before any write."""

    def __init__(self, *, numbers: bool, initial: str = INITIAL_TEXT) -> None:
        self._numbers = numbers
        self._values, self._sessions, self._keys, self._replicas = Names(initial), Names(), Names(), Names()
        self._simple: dict[int | str, int] = {}
        self._f, self._ended = array("b"), array("b")
        self._arg, self._arg2, self._result = array("q"), array("q"), array("q")
        self._call_ns, self._ret_ns, self._place = array("q"), array("q"), array("q")
        self._session, self._key, self._replica = array("l"), array("l"), array("l")
        self._starts, self._items = array("q", [0]), array("q")
        self._any_items = False

    def __len__(self) -> int:
        return len(self._f)

    def code(self, value: Value, line: int) -> int:
        """The code of a value; of None that of nothing being there, which is `INITIAL` unless the history begins with another value."""
        if self._numbers:
            return self._number(value, line)
        if type(value) is int or type(value) is str:  # nearly all are; a keyword is a str of another type
            code = self._simple.get(value)
            if code is None:
                code = self._simple[value] = self._values.of(text_of(value))
            return code
        return self._values.of(text_of(value))

    def _number(self, value: Value, line: int) -> int:
        if value is None:
            return 0
        number = whole_number(value)
        if number is None or abs(number) >= LATEST_NS:
            raise WrongHistoryError(line, f"{said(value)} is no number that a counter can hold; write a whole number below 2^61")
        return number

    def add(  # noqa: PLR0913  one parameter a column
        self,
        f: F,
        ended: Ended,
        call_ns: int,
        ret_ns: int,
        *,
        arg: int = NOTHING,
        arg2: int = NOTHING,
        result: int = NOTHING,
        items: Iterable[Value] | None = None,
        session: str = "",
        key: str = "",
        replica: str = "",
        place: int = 0,
    ) -> None:
        """One operation more; ``items`` are the elements that a read of a whole collection answered."""
        if items is not None:
            self._any_items = True
            codes = [self.code(item, place) for item in items]
            self._items.extend(codes)
            result = len(codes)
        self._starts.append(len(self._items))
        self._f.append(f)
        self._ended.append(ended)
        self._arg.append(arg)
        self._arg2.append(arg2)
        self._result.append(result)
        self._call_ns.append(call_ns)
        self._ret_ns.append(NEVER if ended is Ended.INFO else ret_ns)
        self._place.append(place)
        self._session.append(self._sessions.of(session))
        self._key.append(self._keys.of(key))
        self._replica.append(self._replicas.of(replica) if replica else -1)

    def calls(self) -> Calls:
        """All of them."""
        return Calls(
            f=np.array(self._f, dtype=np.int8),
            arg=np.array(self._arg, dtype=np.int64),
            arg2=np.array(self._arg2, dtype=np.int64),
            result=np.array(self._result, dtype=np.int64),
            call_ns=np.array(self._call_ns, dtype=np.int64),
            ret_ns=np.array(self._ret_ns, dtype=np.int64),
            ended=np.array(self._ended, dtype=np.int8),
            session=np.array(self._session, dtype=np.int32),
            key=np.array(self._key, dtype=np.int32),
            replica=np.array(self._replica, dtype=np.int32),
            place=np.array(self._place, dtype=np.int64),
            starts=np.array(self._starts if self._any_items else [], dtype=np.int64),
            items=np.array(self._items, dtype=np.int64),
            values=() if self._numbers else self._values.all(),
            sessions=self._sessions.all(),
            keys=self._keys.all(),
            replicas=self._replicas.all(),
        )


def said(value: Value) -> str:
    """``value`` for a message: its text, cut where it is long."""
    text = text_of(value)
    return shown(text) if not text.isprintable() else text if len(text) <= 60 else f"{text[:60]}…"
