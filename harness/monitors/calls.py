"""Operations on state as columns: what was asked, what was answered, and between which two instants it took effect.

One row is one *operation*: a request to read or change something, with the outcome that its caller saw. Its effect, if it had one, lies
between its call and its return, both included (Herlihy and Wing, ACM TOPLAS 12(3), 1990). There are three outcomes:

* **ok**: it took effect exactly once, at some instant from ``call_ns`` to ``ret_ns``;
* **fail**: it provably had no effect. It takes no place in any order, yet its value must never be seen;
* **info**: nobody knows. It may take effect at any instant from ``call_ns`` on, or never; its ``ret_ns`` is `NEVER`.

An operation precedes another one only when it returned strictly before the other one was called. Monitors read `Calls` and nothing else, so
they judge histories of a run and histories that somebody brings alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

NEVER: Final = (1 << 63) - 1
"""The return of an operation that has none. It counts as later than every instant."""

NOTHING: Final = -(1 << 62)
"""In ``arg``, ``arg2`` or ``result``: there is none, or it is not known."""

INITIAL: Final = 0
"""The code of the value that a key has before anything was written to it; what a queue answers when it is empty."""

Column: TypeAlias = NDArray[np.int64]
Rows: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]


class F(IntEnum):
    """What an operation asks for.

    READ answers the value (register, counter), or the whole of it (set, log: see `Calls.items_of`); with `NOTHING` it proves nothing.
    WRITE sets ``arg``. CAS replaces ``arg`` by ``arg2`` where ``arg`` is there. A CAS that ended ok has replaced it when ``result`` is 1 or
    `NOTHING`; with 0 it answered that another value was there, so it took effect as a look. A CAS that ended fail only says that it
    replaced nothing, whatever was there. ADD puts the element ``arg`` into a set, or adds the number ``arg`` to a counter, where
    ``result`` is the new number if the app tells it. REMOVE and CONTAINS are of the element ``arg``; CONTAINS answers 1 or 0, and so may
    REMOVE: whether it was there. ENQUEUE puts ``arg``; DEQUEUE answers the value that it took, or `INITIAL` when there was none. APPEND
    puts ``arg`` behind a log.
    """

    READ = 0
    WRITE = 1
    CAS = 2
    ADD = 3
    REMOVE = 4
    CONTAINS = 5
    ENQUEUE = 6
    DEQUEUE = 7
    APPEND = 8


class Ended(IntEnum):
    """How an operation ended; see the module."""

    OK = 0
    FAIL = 1
    INFO = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calls:
    """Operations, one a row, in any order.

    Attributes:
        f: What was asked, a code of `F`.
        arg: The value's code, or the number for a counter; `NOTHING` where there is none.
        arg2: The new value of a CAS.
        result: What was answered: a value's code, or a number; `NOTHING` where it is not known. Of a read of a whole set or log its length.
        call_ns: When it was called.
        ret_ns: When it returned; `NEVER` for an info.
        ended: A code of `Ended`.
        session: Whose it was; an index into ``sessions``. A session does one operation at a time, and after an info it may go on at once.
        key: An index into ``keys``.
        replica: Who answered, or was asked; an index into ``replicas``, -1 when not known.
        place: Where it is written: the number of the op in a run, of the line in a file.
        starts: Where the items of each row begin in ``items``, and the end behind them: one longer than the rows. Empty: no row has items.
        items: The codes that reads of whole sets and logs answered, one behind the other, in the order of the answer.
        values: The text of each value's code; the first one is `INITIAL`'s. Empty where codes are the numbers themselves (counters,
            benchmarks).
        sessions: Names.
        keys: Names.
        replicas: Names.
    """

    f: NDArray[np.int8]
    arg: Column
    arg2: Column
    result: Column
    call_ns: Column
    ret_ns: Column
    ended: NDArray[np.int8]
    session: NDArray[np.int32]
    key: NDArray[np.int32]
    replica: NDArray[np.int32]
    place: Column
    starts: Column
    items: Column
    values: Sequence[str] = ()
    sessions: Sequence[str] = ()
    keys: Sequence[str] = ()
    replicas: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.f)

    def take(self, rows: Iterable[int] | Rows) -> Self:
        """The operations ``rows`` alone, in that order; names and codes stay what they are."""
        chosen = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows), dtype=np.int64)
        columns = {f.name: getattr(self, f.name)[chosen] for f in fields(self) if f.name in _COLUMNS}
        if not len(self.starts):
            return replace(self, **columns)
        lengths = np.diff(self.starts)[chosen]
        starts = np.zeros(len(chosen) + 1, dtype=np.int64)
        np.cumsum(lengths, out=starts[1:])
        within = np.arange(int(starts[-1])) - np.repeat(starts[:-1], lengths)
        return replace(self, **columns, starts=starts, items=self.items[np.repeat(self.starts[:-1][chosen], lengths) + within])

    def items_of(self, row: int) -> Column:
        """What the read ``row`` of a whole set or log answered."""
        if not len(self.starts):
            return self.items
        return self.items[self.starts[row] : self.starts[row + 1]]

    def value(self, code: int) -> str:
        """The text of a value's code."""
        if code == NOTHING:
            return "nothing known"
        return self.values[code] if 0 <= code < len(self.values) else str(code)


def name(names: Sequence[str], number: int) -> str:
    """The name of a session, key or replica; its number where names are not known."""
    return names[number] if 0 <= number < len(names) else str(number)


def places_by(numbers: Column | NDArray[np.int32]) -> list[Rows]:
    """The places of each number that is there, in the order of the numbers."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1) if len(order) else []


_COLUMNS: Final = ("f", "arg", "arg2", "result", "call_ns", "ret_ns", "ended", "session", "key", "replica", "place")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation with its names written out, to build `Calls` from; the attributes are those of `Calls`, and None is `NOTHING`."""

    f: F
    call_ns: int
    ret_ns: int = NEVER
    ended: Ended = Ended.INFO
    arg: str | int | None = None
    arg2: str | int | None = None
    result: str | int | None = None
    items: Sequence[str | int] | None = None
    session: str = ""
    key: str = ""
    replica: str = ""
    place: int = 0


INITIAL_TEXT: Final = "nil"
"""The text of `INITIAL`: give it as an argument or a result to mean that there is nothing yet."""


def calls_of(told: Iterable[Call], *, numbers: bool = False) -> Calls:
    """Columns of ``told``. With ``numbers`` arguments and results are whole numbers and stay as they are, as counters need it."""
    rows = list(told)
    values, sessions, keys, replicas = _Codes(INITIAL_TEXT), _Codes(), _Codes(), _Codes()

    def code(value: str | int | None) -> int:
        if value is None:
            return NOTHING
        return int(value) if numbers else values.of(str(value))

    def answer(row: Call) -> int:
        if row.items is not None:
            return len(row.items)
        yes_or_no = row.f in (F.CONTAINS, F.CAS) and row.result is not None
        return int(row.result or 0) if yes_or_no else code(row.result)

    lengths = [len(row.items) if row.items is not None else 0 for row in rows]
    return Calls(
        f=np.array([row.f for row in rows], dtype=np.int8),
        arg=np.array([code(row.arg) for row in rows], dtype=np.int64),
        arg2=np.array([code(row.arg2) for row in rows], dtype=np.int64),
        result=np.array([answer(row) for row in rows], dtype=np.int64),
        call_ns=np.array([row.call_ns for row in rows], dtype=np.int64),
        ret_ns=np.array([row.ret_ns if row.ended is not Ended.INFO else NEVER for row in rows], dtype=np.int64),
        ended=np.array([row.ended for row in rows], dtype=np.int8),
        session=np.array([sessions.of(row.session) for row in rows], dtype=np.int32),
        key=np.array([keys.of(row.key) for row in rows], dtype=np.int32),
        replica=np.array([replicas.of(row.replica) if row.replica else -1 for row in rows], dtype=np.int32),
        place=np.array([row.place for row in rows], dtype=np.int64),
        starts=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        items=np.array([code(item) for row in rows for item in row.items or ()], dtype=np.int64),
        values=() if numbers else values.names,
        sessions=sessions.names,
        keys=keys.names,
        replicas=replicas.names,
    )


class _Codes:
    """Gives each text a number of its own, from 0."""

    def __init__(self, *first: str) -> None:
        self._codes = {text: number for number, text in enumerate(first)}

    def of(self, text: str) -> int:
        return self._codes.setdefault(text, len(self._codes))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._codes)
