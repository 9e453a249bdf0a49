"""The lines that Jepsen logs for each event, ``INFO  jepsen.util - 0⇥:invoke⇥:write⇥3``, and its history.txt, which begins with the 0.

All other lines of a log are let be, and so are those of the nemesis. The value is EDN; behind it there may be an error, and in old logs
the error stands in its place (``:info⇥:write⇥:timed-out``). The order of the lines is the order of time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from harness.dialects.columns import said
from harness.dialects.edn import one_line
from harness.dialects.events import Event, Meaning, Told, kind_of, told_by
from harness.dialects.source import Source
from harness.dialects.values import Value, WrongHistoryError

WHAT: Final = "the lines that Jepsen logs (INFO jepsen.util - 0 :invoke :read nil)"

_PLACE: Final = r"(?:[^\n]*?\bjepsen\.util\b:?[ \t]+(?:-[ \t]+)?)"
_EVENT: Final = re.compile(
    rf"{_PLACE}?(?P<process>\d+|:[\w-]+)[ \t]+:(?P<kind>invoke|ok|fail|info)[ \t]+(?P<f>:?[\w-]+)(?:[ \t]+(?P<value>\S.*))?"
)
_CUT_OFF: Final = re.compile(rf"{_PLACE}(?:\d+|:[\w-]+)[ \t]+:(?:i|in|inv|invo|invok|invoke|o|ok|f|fa|fai|fail|inf|info)?[ \t]*")
_FIRST: Final = re.compile(
    rf"^{_EVENT.pattern}".replace("?P<process>", "").replace("?P<kind>", "").replace("?P<f>", "").replace("?P<value>", ""), re.MULTILINE
)


def looks_like(head: str) -> bool:
    """Whether there is a line of an event in ``head``."""
    return _FIRST.search(head) is not None


def read(source: Source, meaning: Meaning) -> Told:
    """The operations of a file.

    Raises:
        WrongHistoryError: A line of an event can't be read, or contradicts another one.
    """
    return told_by(_events(source.text()), meaning)


def _events(text: str) -> Iterator[Event]:
    for number, line in enumerate(text.split("\n"), start=1):
        found = _EVENT.fullmatch(line.rstrip())
        if found is None:
            if _CUT_OFF.fullmatch(line):
                raise WrongHistoryError(number, "the line of an event is cut off; complete it, or leave it out")
            continue
        if found["process"] == ":nemesis":
            continue
        kind = kind_of(found["kind"], number)
        values = _values(found["value"] or "nil", number, must=kind in ("invoke", "ok"))
        yield Event(number, kind, found["f"].removeprefix(":"), values[0], found["process"], None, len(values) > 1)


def _values(written: str, number: int, *, must: bool) -> list[Value]:
    """The value and the error behind it; what a failure says need not be EDN."""
    try:
        values = one_line(written)
    except WrongHistoryError as error:
        if must:
            raise WrongHistoryError(number, f"its value {said(written)} can't be read: {error}") from error
        return [None, written]
    return values or [None]
