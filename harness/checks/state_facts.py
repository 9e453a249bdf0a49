"""What several findings about state ask of a history: the operations of each workload as monitors read them, and what happened meanwhile.

Operations of clients and reads at the end become one history for each workload. The reads at the end are those of a session of their own,
one for each replica and one for the store. A value that carries the run's mark is told by its number. Where no request of a workload names
a key, others may write there, too: what does not carry the mark is then left out, or counts as what was there before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from harness.checks.facts import Facts
from harness.checks.wording import count
from harness.job_history import mark_of
from harness.monitors.calls import INITIAL_TEXT, NEVER, Call, Calls, Ended, F, Rows, calls_of
from harness.monitors.words import Moment
from harness.scenario import Workload
from harness.state_history import FAIL, OF_MANY, OK, StateAnswered, StateAsked, StateRead
from harness.words import shown

AT_THE_END: Final = "last reader"
"""How the sessions of reads at the end are called, one for each replica and one for the store."""

FUNCTIONS: Final = {
    "write": F.WRITE,
    "read": F.READ,
    "cas": F.CAS,
    "add": F.ADD,
    "remove": F.REMOVE,
    "contains": F.CONTAINS,
    "append": F.APPEND,
}

TAKEN: Final = {"network": "loss of network", "memory": "lack of memory"}
"""What a disturbance is called where it is said of a replica."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Worked:
    """What is known of one workload.

    Attributes:
        name: Its name in the scenario.
        workload: What the scenario says of it.
        calls: All operations, those of clients first, then all reads at the end.
        final: The rows of the last reads of each key at each replica and at the store.
        before: The rows of the round of reads before that, where there was one.
        earlier: The rows of all rounds before the last one, while replicas did not agree yet.
        attempts: How often each operation was sent; 1 for reads at the end.
        asked: How many operations of clients there are.
        unread: What could not be read at the end: replica (or the store's name), and why.
        unheard: How many good answers could not be understood, and the first reason.
        settled_s: How long after the first read at the end the last one of them ended, in seconds; 0 without any.
        foreign: How many values came that do not carry the run's mark, where others may write, too.
    """

    name: str
    workload: Workload
    calls: Calls
    final: Rows
    before: Rows
    earlier: Rows
    attempts: Rows
    asked: int
    unread: tuple[tuple[str, str], ...]
    unheard: tuple[int, str]
    settled_s: float
    foreign: int

    @property
    def clients(self) -> Rows:
        """The rows of clients."""
        return np.arange(self.asked)

    @property
    def told(self) -> Calls:
        """The operations of clients, and the last reads at the end: what must have an order, where reads are never stale."""
        return self.calls.take(np.concatenate((self.clients, self.earlier, self.final)))


class StateFacts:
    """The facts of the state of one history."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.ledger = facts.history.state
        self.mark = mark_of(facts.history.header.run_id)

    @cached_property
    def workloads(self) -> tuple[Worked, ...]:
        """Each workload whose operations are checked."""
        return tuple(self._worked(name, workload) for name, workload in self.facts.scenario.state.items() if workload.operations)

    @cached_property
    def moments(self) -> tuple[Moment, ...]:
        """What was done to replicas, for the words of a proof."""
        return tuple(self._moments())

    def store_of(self, workload: Workload) -> str:
        """The name of the store of a workload."""
        named = workload.store.service if workload.store is not None else None
        return named or next(iter(self.facts.scenario.services), "the store")

    def _moments(self) -> Iterator[Moment]:
        for fault in self.facts.faults:
            yield Moment(at_ns=fault.signal.at_ns, until_ns=fault.signal.until_ns, text=fault.signal.signal, replica=fault.signal.replica)
        for disturbance in self.facts.disturbances:
            taken = disturbance.taken
            yield Moment(at_ns=taken.at_ns, until_ns=disturbance.over_ns, text=TAKEN.get(taken.what, taken.what), replica=taken.replica)
        for life in self.facts.lives.values():
            if life.spawned_ns and life.healthy_ns:
                yield Moment(at_ns=life.spawned_ns, until_ns=life.healthy_ns, text="start", replica=life.replica, fault=False)

    def _worked(self, name: str, workload: Workload) -> Worked:
        asked = [line for line in self.ledger.asked if line.workload == name]
        answered = {line.op: line for line in self.ledger.answered}
        reader = _Reader(self.mark, name, workload)
        calls = [reader.call(line, answered.get(line.op)) for line in asked]
        reads = [line for line in self.ledger.reads if line.workload == name]
        last = max((line.round for line in reads), default=0)
        read = [line for line in reads if not line.error]
        calls += [reader.read(line, self.store_of(workload)) for line in read]
        rounds = np.array([line.round for line in read], dtype=np.int64)
        rows = len(asked) + np.arange(len(read))
        sent = [answered[line.op].attempts if line.op in answered else 1 for line in asked]
        heard = [line for line in (answered.get(line.op) for line in asked) if line is not None and line.ended == OK and line.error]
        unheard = [*(line.error for line in heard), *(f"{shown(text)} is no whole number" for text in reader.no_numbers)]
        failed = dict.fromkeys((line.replica or self.store_of(workload), line.error) for line in reads if line.error and line.round == last)
        return Worked(
            name=name,
            workload=workload,
            calls=calls_of(calls, numbers=workload.model == "counter"),
            final=rows[rounds == last],
            before=rows[rounds == last - 1],
            earlier=rows[rounds < last],
            attempts=np.array(sent + [1] * len(read), dtype=np.int64),
            asked=len(asked),
            unread=tuple(failed),
            unheard=(len(unheard), unheard[0] if unheard else ""),
            settled_s=(max(line.done_ns for line in reads) - min(line.at_ns for line in reads)) / 1e9 if reads else 0.0,
            foreign=reader.foreign,
        )


class _Reader:
    """Turns lines into operations."""

    def __init__(self, mark: str, name: str, workload: Workload) -> None:
        self._mark = f"{mark}-"
        self._name = name
        self._model = workload.model
        written = [f"{each.path} {each.headers} {each.json_body} {each.body}" for each in workload.operations.values()]
        self._keyed = all("{key}" in text for text in written)
        self._numbers = any("{number}" in text for text in written)
        self.foreign = 0
        self.no_numbers: list[str] = []
        self._readers: dict[str, int] = {}

    def call(self, asked: StateAsked, answered: StateAnswered | None) -> Call:
        """One operation of a client."""
        f = FUNCTIONS[asked.f]
        ended = Ended.INFO if answered is None else {OK: Ended.OK, FAIL: Ended.FAIL}.get(answered.ended, Ended.INFO)
        known = answered is not None and ended is Ended.OK and answered.there
        result, items = self._result(f, answered if known else None)
        return Call(
            f=f,
            call_ns=asked.at_ns,
            ret_ns=answered.at_ns if answered is not None and ended is not Ended.INFO else NEVER,
            ended=ended,
            arg=self._argument(f, asked),
            arg2=self._value(asked.value) if f is F.CAS else None,
            result=result,
            items=items,
            session=_who(asked),
            key=f"{self._name}/{_probe(asked.key) if asked.key < 0 else asked.key}",
            replica=answered.replica if answered is not None else "",
            place=asked.op,
        )

    def _reader(self, replica: str) -> int:
        """The number of the reader of a replica, or of the store, at the end."""
        return self._readers.setdefault(replica, len(self._readers) + 1)

    def _argument(self, f: F, asked: StateAsked) -> str | int | None:
        if f is F.READ:
            return None
        if self._model == "counter":
            return 1
        text = asked.old if f is F.CAS else asked.value
        return self._value(text) if text else None

    def read(self, line: StateRead, store: str) -> Call:
        """One read at the end."""
        many = self._model in OF_MANY
        result, items = self._answer(line.result, line.items if many else None)
        if many and items is None:
            items = ()
        return Call(
            f=F.READ,
            call_ns=line.at_ns,
            ret_ns=line.done_ns,
            ended=Ended.OK,
            result=result,
            items=items,
            session=f"{AT_THE_END} {self._reader(line.replica)}",
            key=f"{self._name}/{line.key}",
            replica=line.replica or store,
            place=-1,
        )

    def _result(self, f: F, answered: StateAnswered | None) -> tuple[str | int | None, Sequence[str] | None]:
        if answered is None or f not in (F.READ, F.CONTAINS, F.ADD):
            return None, None
        if f is F.CONTAINS:
            return int(answered.result is not None), None
        return self._answer(answered.result, answered.items)

    def _answer(self, result: str | None, items: Sequence[str] | None) -> tuple[str | int | None, Sequence[str] | None]:
        """What was read, in the words of monitors."""
        if items is not None:
            return None, [value for item in items if (value := self._value(item)) is not None]
        if self._model == "counter":
            return (0 if result is None else self._number(result)), None
        if result is None:
            return INITIAL_TEXT, None
        return self._value(result) or INITIAL_TEXT, None

    def _number(self, text: str) -> int | None:
        """A count; None for what is no whole number."""
        try:
            return int(text)
        except ValueError:
            self.no_numbers.append(text)
            return None

    def _value(self, text: str) -> str | None:
        """A value as it is told; None for one of others."""
        if text.startswith(self._mark):
            return text.removeprefix(self._mark)
        if self._numbers and text.isascii() and text.isdigit():
            return text
        if self._keyed:
            return f"“{text}”"
        self.foreign += 1
        return None


def _who(asked: StateAsked) -> str:
    """Whose operation it is: a client's, or the harness's own in a step that hands over."""
    if asked.client <= 0:
        return f"the harness, {_probe(asked.client)}"
    return f"client {asked.client}" + (f", after {count(asked.session, 'lost answer')}" if asked.session else "")


def _probe(number: int) -> str:
    return f"probe {-number}"
