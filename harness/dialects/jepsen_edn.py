"""Jepsen's and Knossos' histories in EDN: one map an event, each on a line of its own or all in one vector or list.

``{:type :invoke, :f :write, :value 3, :process 0, :time 123, :index 0}``, with or without a record's tag before it. Events of the nemesis
are let be. With independent keys each value is a pair ``[key value]``, or the key stands beside it under ``:key``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from harness.dialects.columns import said
from harness.dialects.edn import forms
from harness.dialects.events import WRITES, Event, Meaning, Told, kind_of, time_of, told_by
from harness.dialects.source import Source
from harness.dialects.values import OfKey, Value, WrongHistoryError, text_of, whole_number

WHAT: Final = "Jepsen's history.edn, as Knossos reads it too"

_FIRST: Final = re.compile(r"(?:[\s,]|;[^\n]*\n)*[\[(]?(?:[\s,]|;[^\n]*\n)*(?:#[\w.:/-]+\s*)?\{(?:[\s,]|;[^\n]*\n)*:|\s*[\[(][\s,]*[\])]")


def looks_like(head: str) -> bool:
    """Whether ``head`` begins as such a file does: with a map whose first key is a keyword."""
    return _FIRST.match(head) is not None


def read(source: Source, meaning: Meaning) -> Told:
    """The operations of a file.

    Raises:
        WrongHistoryError: It is not EDN, something is no event, or an event contradicts another one.
    """
    return told_by(_events(source.text()), meaning)


def _events(text: str) -> Iterator[Event]:
    last = -1
    for line, form in forms(text):
        if not isinstance(form, dict):
            raise WrongHistoryError(
                line, f"{said(form)} is no event; write a map such as {{:type :invoke, :f :read, :value nil, :process 0}}"
            )
        process = form.get(":process")
        if process == ":nemesis":
            continue
        index = whole_number(form.get(":index"))
        if index is not None and index >= 0:
            if index <= last:
                raise WrongHistoryError(line, f"its :index {index} comes after {last}; sort the events by :index")
            last = index
        kind = kind_of(_given(form, ":type", line), line)
        f = text_of(_given(form, ":f", line)).removeprefix(":")
        if process is None:
            raise WrongHistoryError(line, "the event has no :process; say whose it is, such as :process 0")
        time_ns = time_of(form.get(":time"), line)
        if ":value" not in form and kind == "invoke" and f in WRITES:
            raise WrongHistoryError(line, f"the :{f} has no :value; write what is written, such as :value 3")
        value = form.get(":value")
        if form.get(":key") is not None:
            value = OfKey(key=form[":key"], value=value)
        yield Event(line, kind, f, value, text_of(process), time_ns, ":error" in form)


def _given(form: dict[Value, Value], key: str, line: int) -> Value:
    if form.get(key) is None:
        raise WrongHistoryError(line, f"the event has no {key}; write a map such as {{:type :invoke, :f :read, :value nil, :process 0}}")
    return form[key]
