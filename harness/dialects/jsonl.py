"""Jetable's own JSON Lines: an operation an object, with both of its instants. `harness.monitors.lines` writes it and tells every field.

A file that people write by hand may leave out more than one that is written here: ``ended`` is then *ok*, and where no line has times each
operation comes after the one above it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from msgspec import UNSET

from harness.dialects.columns import LATEST_NS, Columns, said
from harness.dialects.events import CHANGES, HELD, Meaning, Told
from harness.dialects.models import MODELS, Ask, model_of, operation_of
from harness.dialects.source import Source, first_object
from harness.dialects.values import Value, WrongHistoryError, elements_of, of_json, text_of
from harness.monitors.calls import INITIAL, NEVER, NOTHING, Ended, F
from harness.words import did_you_mean, one_of, quoted, shown

WHAT: Final = "Jetable's own JSON Lines, an operation a line"

_ENDS: Final = {ended.name.lower(): ended for ended in Ended}
_UNKNOWN: Final = re.compile(r"unknown field `([^`]*)`")


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One operation."""

    f: str
    call_ns: int | float | None = None
    ret_ns: int | float | None = None
    ended: str = "ok"
    value: object = UNSET
    old: object = UNSET
    new: object = UNSET
    result: object = UNSET
    session: str | int | None = None
    key: object = None
    replica: str | int | None = None
    place: int | None = None
    note: object = None


def looks_like(head: str) -> bool:
    """Whether ``head`` begins as such a file does: with an object that has no ``type``."""
    return (first := first_object(head)) is not None and '"type"' not in first


def read(source: Source, meaning: Meaning) -> Told:
    """The operations of a file.

    Raises:
        WrongHistoryError: A line is none, or contradicts itself or the model.
    """
    lines: Iterable[tuple[int, Line]] = _lines(source)
    model = meaning.model
    if model is None:
        lines = list(lines)
        model = model_of((line.f, None if line.result is UNSET else line.result) for _, line in lines)
    writer = _Writer(model, meaning)
    for number, line in lines:
        writer.write(line, number)
    if not len(writer.columns):
        raise WrongHistoryError(0, "it holds no operation; nothing can be judged")
    return Told(calls=writer.columns.calls(), model=model)


def _lines(source: Source) -> Iterator[tuple[int, Line]]:
    try:
        yield from source.objects(Line)
    except WrongHistoryError as error:
        unknown = _UNKNOWN.search(str(error))
        if unknown is None:
            raise
        known = Line.__struct_fields__
        what = f'an operation has no field {quoted(unknown[1])}{did_you_mean(unknown[1], known)}; put what is your own under "note"'
        raise WrongHistoryError(error.line, what) from error


class _Writer:
    """Says in columns what lines mean."""

    def __init__(self, model: str, meaning: Meaning) -> None:
        self._name, self._model, self._nil_tells = model, MODELS[model], meaning.nil_tells
        self.columns = Columns(numbers=self._model.numbers, initial=meaning.initial)
        self._timed: bool | None = None
        self._keys: dict[str, str] = {}

    def write(self, line: Line, number: int) -> None:
        """One operation."""
        ask = operation_of(self._name, line.f, number)
        ended = _ENDS.get(line.ended)
        if ended is None:
            raise WrongHistoryError(number, f"ended is {quoted(line.ended)}; write {one_of(_ENDS)}")
        call_ns, ret_ns = self._times(line, ended, number)
        f, arg, arg2 = self._asked(line, ask, number)
        result, items = self._answered(line, ask, ended, number)
        self.columns.add(
            f,
            ended,
            call_ns,
            ret_ns,
            arg=arg,
            arg2=arg2,
            result=result,
            items=items,
            session="" if line.session is None else str(line.session),
            key=self._key(line.key),
            replica="" if line.replica is None else str(line.replica),
            place=number if line.place is None else line.place,
        )

    def _key(self, key: Value) -> str:
        if type(key) is str:
            return key
        return "" if key is None else text_of(of_json(key))

    def _times(self, line: Line, ended: Ended, number: int) -> tuple[int, int]:
        timed = line.call_ns is not None
        if self._timed is None:
            self._timed = timed
        if timed != self._timed:
            raise WrongHistoryError(
                number, "some lines have call_ns and some have none; give it to all, or to none and let their order decide"
            )
        if not timed:
            return 2 * number, 2 * number + 1
        call_ns = _instant(line.call_ns, "call_ns", number)
        if ended is Ended.INFO:
            return call_ns, NEVER
        if line.ret_ns is None:
            raise WrongHistoryError(
                number, f'an operation that ended {line.ended} needs ret_ns; if nobody knows how it ended, write "info"'
            )
        ret_ns = _instant(line.ret_ns, "ret_ns", number)
        if ret_ns < call_ns:
            raise WrongHistoryError(
                number, f"it returned {call_ns - ret_ns} ns before it was called; take call_ns and ret_ns from one clock"
            )
        return call_ns, ret_ns

    def _asked(self, line: Line, ask: Ask, number: int) -> tuple[F, int, int]:
        """What was asked, with its arguments."""
        code = self.columns.code
        if ask is Ask.CAS:
            if line.old is UNSET or line.new is UNSET or line.value is not UNSET:
                raise WrongHistoryError(number, "a cas needs old and new, and no value; write null for what is not there")
            return F.CAS, code(of_json(line.old), number), code(of_json(line.new), number)
        if ask in (Ask.ACQUIRE, Ask.RELEASE):
            held = code(HELD, number)
            return (F.CAS, INITIAL, held) if ask is Ask.ACQUIRE else (F.CAS, held, INITIAL)
        if line.old is not UNSET or line.new is not UNSET:
            raise WrongHistoryError(number, f"a {line.f} has no old and new, which belong to a cas; leave them out")
        if ask in _WITHOUT:
            if line.value is not UNSET and line.value is not None:
                raise WrongHistoryError(number, f"a {line.f} has no value; write what it answered as result")
            return _WITHOUT[ask], NOTHING, NOTHING
        if ask is Ask.DRAIN:
            raise WrongHistoryError(number, "a drain is no operation of its own here; write a dequeue for each element")
        value = of_json(line.value)
        if value is UNSET or (value is None and ask is not Ask.WRITE):
            raise WrongHistoryError(number, f'a {line.f} needs a value; add "value"')
        number_or_code = code(value, number)
        return _WITH[ask], -number_or_code if ask is Ask.SUBTRACT else number_or_code, NOTHING

    def _answered(self, line: Line, ask: Ask, ended: Ended, number: int) -> tuple[int, Iterable[Value] | None]:
        """The code of what was answered, or its elements."""
        result = line.result
        if ended is not Ended.OK:
            return NOTHING, None
        if ask in (Ask.CAS, Ask.CONTAINS, Ask.REMOVE):
            if result is UNSET or result is None:
                return NOTHING, None
            if not isinstance(result, bool):
                raise WrongHistoryError(number, f"the result of a {line.f} must be true or false, not {shown(result)}")
            return int(result), None
        if ask in (Ask.READ, Ask.DEQUEUE):
            return self._read(line, ask, number)
        if ask in (Ask.ADD, Ask.SUBTRACT) and self._model.numbers and result is not UNSET and result is not None:
            return self.columns.code(result, number), None
        if result is not UNSET and result is not None:
            raise WrongHistoryError(number, f"a {line.f} has no result; leave it out")
        return NOTHING, None

    def _read(self, line: Line, ask: Ask, number: int) -> tuple[int, Iterable[Value] | None]:
        result = line.result
        if result is UNSET:
            return NOTHING, None
        result = of_json(result)
        if result is None and ask is Ask.READ and not self._nil_tells:
            return NOTHING, None
        if not self._model.whole:
            return self.columns.code(result, number), None
        elements = () if result is None else elements_of(result)
        if elements is None:
            raise WrongHistoryError(number, f"a read of a {self._name} must answer a list, not {said(result)}; write [1, 2, 3]")
        return NOTHING, elements


_WITHOUT: Final = {Ask.READ: F.READ, Ask.DEQUEUE: F.DEQUEUE}
_WITH: Final = {**CHANGES, Ask.CONTAINS: F.CONTAINS}


def _instant(written: float | None, name: str, number: int) -> int:
    if isinstance(written, float) and not written.is_integer():
        raise WrongHistoryError(number, f"{name} is {written}; write a whole number of nanoseconds")
    at_ns = int(written or 0)
    if abs(at_ns) >= LATEST_NS:
        raise WrongHistoryError(number, f"{name} is {at_ns}, which is past any clock; write nanoseconds")
    return at_ns
