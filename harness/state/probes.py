"""Written through one replica, which then is stopped, and read through all others: what was acknowledged must be there.

It is an operation as those of the load's clients are, and on record as such, under numbers that no op and no client of the load has: below
zero. Where the workload's requests name a key, it has one of its own, which nobody else writes to; where they don't, there is only one
thing to write.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.clock import Clock, Dice
from harness.state.asker import Asked, Asker, Form, Place
from harness.state.reader import KeyReader, Understanding, given, redirected
from harness.state_history import FAIL, INFO, OK, StateAnswered, StateAsked, StateLine, key_text, value_text

if TYPE_CHECKING:
    from harness.scenario import Workload

WRITES: Final = ("write", "add", "append")
"""The operations with which a probe may begin, one of which each model has."""

FIRST_VALUE: Final = 2_000_000_000
"""Values are counted from here, where clients of the load never get to; a column of 32 bits still holds them."""

_KEY: Final = "key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a probe has written.

    Attributes:
        number: Which probe of the workload it is, from 1.
        key: The number of its key.
        text: Its key as it travels.
        value: The value.
    """

    number: int
    key: int
    text: str
    value: str


class Probe:
    """The probes of one workload. Safe from several threads."""

    def __init__(  # noqa: PLR0913  what a run hands over
        self,
        name: str,
        workload: Workload,
        *,
        mark: str,
        clock: Clock,
        dice: Dice,
        append: Callable[[StateLine], None],
        numbers: Numbers,
    ) -> None:
        operations = workload.operations
        self._name = name
        self._refused = workload.refused
        self._mark = mark
        self._clock = clock
        self._dice = dice.fork(f"probes {name}")
        self._append = append
        self._numbers = numbers
        self._f = next(f for f in WRITES if f in operations)
        self._write = Form(operations[self._f])
        self._wrote = Understanding(operations[self._f], workload.model, whole=False)
        self._reads = workload.read is not None
        self._contains = Form(workload.contains) if workload.read is None and workload.contains is not None else None
        self._nothing = workload.contains.nothing if workload.contains is not None else ()
        self._reader = KeyReader(name, workload, mark=mark, clock=clock, dice=self._dice.fork("reads")) if self._reads else None
        self._keyed = _KEY in self._write.names

    def write(self, asker: Asker, place: Place) -> Written:
        """Write a fresh value through ``place``."""
        number = self._numbers.probe(self._name)
        key, text = (-number, f"{self._mark}-{self._name}-probe-{number}") if self._keyed else (0, key_text(self._mark, self._name, 0))
        value = value_text(self._mark, self._numbers.value())
        values = self._write.values(self._dice, given(key=text, value=value), seq=number)
        op = self._ask(self._f, key, number, value)
        asked = asker.ask(place, self._write.ready(values))
        problem = self._write.problem(asked, values) or redirected(self._write.request, asked)
        refused = asked.unsent or (not asked.error and asked.status in self._refused)
        told = self._wrote.told(asked, problem) if not problem else None
        self._answer(
            op,
            place,
            ended=FAIL if refused else INFO if problem else OK,
            result=told.result if told is not None and not told.error else None,
            there=bool(told is not None and told.result is not None and not told.error),
            error=problem,
        )
        return Written(number=number, key=key, text=text, value=value)

    def read(self, asker: Asker, place: Place, written: Written) -> None:
        """Read through ``place`` what `write` has written."""
        key, text, value, number = written.key, written.text, written.value, written.number
        if self._reader is not None:
            op = self._ask("read", key, number, "")
            told = self._reader.read(asker, place, key, text=text)
            self._answer(
                op,
                place,
                ended=INFO if told.error else OK,
                result=told.result,
                items=told.items,
                there=not told.error,
                error=told.error,
            )
        elif self._contains is not None:
            op = self._ask("contains", key, number, value)
            values = self._contains.values(self._dice, given(key=text, value=value), seq=number)
            asked = asker.ask(place, self._contains.ready(values))
            problem = self._contains.problem(asked, values) or redirected(self._contains.request, asked)
            self._answer_contains(op, place, asked, problem)

    def _answer_contains(self, op: int, place: Place, asked: Asked, problem: str) -> None:
        absent = not asked.error and asked.status in self._nothing
        there = absent or not problem
        self._answer(
            op,
            place,
            ended=OK if there else INFO,
            result="1" if there and not absent else None,
            there=there,
            error="" if there else problem,
        )

    def _ask(self, f: str, key: int, probe: int, value: str) -> int:
        op = self._numbers.op()
        self._append(StateAsked(op=op, at_ns=self._clock.now_ns(), workload=self._name, f=f, key=key, client=-probe, value=value))
        return op

    def _answer(  # noqa: PLR0913  what the line holds
        self,
        op: int,
        place: Place,
        *,
        ended: str,
        result: str | None = None,
        items: Iterable[str] | None = None,
        there: bool,
        error: str,
    ) -> None:
        self._append(
            StateAnswered(
                op=op,
                at_ns=self._clock.now_ns(),
                ended=ended,
                replica=place.name,
                result=result,
                items=tuple(items) if items is not None else None,
                there=there,
                error=error,
            )
        )


class Numbers:
    """Numbers that nobody else of the run has. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ops = 0
        self._values = FIRST_VALUE
        self._probes: Counter[str] = Counter()

    def op(self) -> int:
        """The number of an op of the harness's own, below zero."""
        with self._lock:
            self._ops -= 1
            return self._ops

    def value(self) -> int:
        """The number of a value."""
        with self._lock:
            self._values += 1
            return self._values

    def probe(self, workload: str) -> int:
        """The number of a probe of a workload, from 1."""
        with self._lock:
            self._probes[workload] += 1
            return self._probes[workload]
