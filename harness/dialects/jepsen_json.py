"""Events as JSON objects: what Jepsen's histories become when people export them, one object a line or all in one list.

``{"type": "invoke", "f": "write", "value": 3, "process": 0, "time": 123}``. The meaning of each field is that of Jepsen's EDN
(`harness.dialects.jepsen_edn`); the time may also be called ``time_ns`` or ``t_ns``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import UNSET

from harness.dialects.events import WRITES, Event, Meaning, Told, kind_of, time_of, told_by
from harness.dialects.source import Source, first_object
from harness.dialects.values import OfKey, WrongHistoryError, of_json

WHAT: Final = "events as JSON objects, as exported from Jepsen"


class Line(msgspec.Struct, frozen=True, gc=False):
    """One event; what else stands in the object is let be."""

    type: str
    process: str | int | None = None
    f: str | None = None
    value: object = UNSET
    key: object = None
    time: int | float | None = None
    time_ns: int | float | None = None
    t_ns: int | float | None = None
    error: object = UNSET


def looks_like(head: str) -> bool:
    """Whether ``head`` begins as such a file does: with an object that has a ``type``."""
    return (first := first_object(head)) is not None and '"type"' in first


def read(source: Source, meaning: Meaning) -> Told:
    """The operations of a file.

    Raises:
        WrongHistoryError: A line is no event, or contradicts another one.
    """
    return told_by(_events(source), meaning)


def _events(source: Source) -> Iterator[Event]:
    for number, line in source.objects(Line):
        if line.process is None and line.type == "info":
            continue  # something that the test noted down
        if line.process is None:
            raise WrongHistoryError(number, 'the event has no process; say whose it is, such as "process": 0')
        process = line.process if isinstance(line.process, str) else str(line.process)
        if process.removeprefix(":") == "nemesis":
            continue
        if line.f is None:
            raise WrongHistoryError(number, 'the event has no f; write what was asked, such as "read"')
        kind, f = kind_of(line.type, number), line.f.removeprefix(":")
        if line.value is UNSET and kind == "invoke" and f in WRITES:
            raise WrongHistoryError(number, f'the {f} has no value; write what is written, such as "value": 3')
        value = None if line.value is UNSET else of_json(line.value)
        if line.key is not None:
            value = OfKey(key=of_json(line.key), value=value)
        yield Event(number, kind, f, value, process, _time(line, number), line.error is not UNSET)


def _time(line: Line, number: int) -> int | None:
    return time_of(next((given for given in (line.time, line.time_ns, line.t_ns) if given is not None), None), number)
