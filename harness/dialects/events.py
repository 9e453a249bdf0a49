"""Histories of events: an operation is *invoked* by a process and *completed* later, on two lines, as Jepsen and Knossos write them.

The order of the lines is the order of time. It is what Knossos goes by, and in real files the times beside it run back by milliseconds,
since they are taken before a line gets its place; so a time says how long something took, and never which of two events was first. A
process that is invoked while its last operation is open, or after one that ended with *info*, goes on as a new session.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import msgspec

from harness.dialects.columns import LATEST_NS, Columns, said
from harness.dialects.models import MODELS, Ask, model_of, operation_of
from harness.dialects.values import OfKey, Value, WrongHistoryError, elements_of, pair_of, text_of, whole_number
from harness.monitors.calls import INITIAL, INITIAL_TEXT, NEVER, NOTHING, Calls, Ended, F
from harness.words import one_of

Kind: TypeAlias = Literal["invoke", "ok", "fail", "info"]
KINDS: Final[tuple[Kind, ...]] = ("invoke", "ok", "fail", "info")
MOST_BACK_NS: Final = 1_000_000_000
"""So far times may run back from line to line."""
HELD: Final = "held"
WRITES: Final = ("write", "put")
"""Operations that may write nil, and so must say that they do."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """One line.

    Attributes:
        line: Its number.
        kind: What happened.
        f: The operation's name.
        value: Its value, whatever stood there.
        process: Whose it was.
        time_ns: When, as the file says; None when it doesn't.
        excused: It names an error, so a refusal may have another reason than what was there.
    """

    line: int
    kind: Kind
    f: str
    value: Value
    process: str
    time_ns: int | None = None
    excused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """How a history of events is to be taken, where files differ.

    Attributes:
        model: The model's name; None: the one that has the operations.
        initial: The text of a register's value before any write.
        failed_cas_looks: A compare-and-set that failed without naming an error has seen that another value was there.
        nil_tells: A read that answered nil has seen that there is nothing; otherwise it tells nothing.
        keyed: Values are pairs of a key and a value; None: when they all look like it.
    """

    model: str | None = None
    initial: str = INITIAL_TEXT
    failed_cas_looks: bool = False
    nil_tells: bool = True
    keyed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A history that was read: its operations, the model, and what the reader should know of the file."""

    calls: Calls
    model: str
    notes: tuple[str, ...] = ()


class _Operation(msgspec.Struct, frozen=True, gc=False):
    """An invocation and how it ended; ``answer`` is the value of its completion."""

    line: int
    ask: Ask
    f: str
    ended: Ended
    key: str
    value: Value
    answer: Value
    excused: bool
    call_ns: int
    ret_ns: int
    session: str


def told_by(events: Iterable[Event], meaning: Meaning) -> Told:
    """The operations of ``events``, which come in the order of time.

    Raises:
        WrongHistoryError: An event is none of the model's, completes nothing, or contradicts another one.
    """
    kept = list(events)
    if not kept:
        raise WrongHistoryError(0, "it holds no operation of a client; nothing can be judged")
    model = meaning.model or model_of((event.f, _inner(event.value)) for event in kept)
    keyed = meaning.keyed if meaning.keyed is not None else _looks_keyed(kept, model)
    notes: list[str] = []
    columns = Columns(numbers=MODELS[model].numbers, initial=meaning.initial)
    operations = list(_paired(kept, model, keyed=keyed, notes=notes))
    writer = _Writer(columns, model, meaning)
    for operation in sorted(operations, key=lambda operation: operation.call_ns):
        writer.write(operation)
    writer.add_unknown_drains(operations)
    if all(event.time_ns is None for event in kept):
        notes.append("it has no times, so its events are shown as 1 ns apart, in the order of the lines")
    return Told(calls=columns.calls(), model=model, notes=tuple(notes))


def _inner(value: Value) -> Value:
    """The value of a key where ``value`` says that it is one; to tell a set from a counter before it is known whether there are keys."""
    if isinstance(value, OfKey):
        return value.value
    pair = pair_of(value)
    if pair is not None and (elements_of(pair[1]) is not None or pair[1] is None):
        return pair[1]
    return value


def _looks_keyed(events: Sequence[Event], model: str) -> bool:
    """Whether every value is a pair of a key and what belongs to it.

    A read is invoked with nil, or with a key and nil, and a compare-and-set with two values, or with a key and two values. So one plain
    invocation tells.
    """
    if any(isinstance(event.value, OfKey) for event in events):
        return True
    asks = MODELS[model].asks
    invoked = [(asks.get(event.f), pair_of(event.value)) for event in events if event.kind == "invoke"]
    return bool(invoked) and all(_is_of_key(ask, pair) for ask, pair in invoked)


def _is_of_key(ask: Ask | None, pair: tuple[Value, Value] | None) -> bool:
    if pair is None:
        return False
    if ask is Ask.CAS:
        return pair_of(pair[1]) is not None
    return pair[1] is None if ask in (Ask.READ, Ask.DEQUEUE, Ask.DRAIN) else True


class _Clock:
    """Gives each event an instant of its own, later than the one before, and as near to what the file says as that allows."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes
        self._now_ns, self._latest_ns, self._back = -1, -LATEST_NS, False

    def at(self, event: Event) -> int:
        """The instant of the next event."""
        self._now_ns += 1
        if event.time_ns is None:
            return self._now_ns
        back_ns = self._latest_ns - event.time_ns
        if back_ns > MOST_BACK_NS:
            raise WrongHistoryError(event.line, f"its time is {back_ns / 1e9:.3g} s before that of a line above; sort the lines by time")
        if back_ns > 0 and not self._back:
            self._back = True
            self._notes.append(f"times run back from line {event.line} on, by less than a second; the order of the lines decides")
        self._latest_ns = max(self._latest_ns, event.time_ns)
        self._now_ns = max(self._now_ns, event.time_ns)
        return self._now_ns


def _paired(events: Sequence[Event], model: str, *, keyed: bool, notes: list[str]) -> Iterator[_Operation]:
    """Operations in the order in which they ended; those that never did come last."""
    opened: dict[str, tuple[Event, int]] = {}
    lives: dict[str, int] = {}
    clock = _Clock(notes)

    def ended(event: Event, call_ns: int, completion: Event | None, ret_ns: int) -> _Operation:
        life = lives.get(event.process, 0)
        if completion is None or completion.kind == "info":
            lives[event.process] = life + 1
        session = event.process if not life else f"{event.process}#{life + 1}"
        return _operation(event, completion, model, (call_ns, ret_ns), session=session, keyed=keyed)

    for event in events:
        now_ns = clock.at(event)
        before = opened.pop(event.process, None)
        if event.kind == "invoke":
            if before is not None:
                yield ended(*before, None, NEVER)
            opened[event.process] = (event, now_ns)
        elif before is None:
            if event.kind == "info" and event.f not in MODELS[model].asks:
                continue  # something that the test noted down
            raise WrongHistoryError(
                event.line, f"process {event.process} completes :{event.f} that it never invoked; give it its :invoke, or leave it out"
            )
        elif before[0].f != event.f:
            raise WrongHistoryError(
                event.line,
                f"process {event.process} completes :{event.f}, but had invoked :{before[0].f} on line {before[0].line}; give both one :f",
            )
        else:
            yield ended(*before, event, now_ns)
    for event, call_ns in sorted(opened.values(), key=lambda one: one[1]):
        yield ended(event, call_ns, None, NEVER)


def _operation(event: Event, completion: Event | None, model: str, when_ns: tuple[int, int], *, session: str, keyed: bool) -> _Operation:
    key, value = _split(event, keyed=keyed, must=True)
    answer: Value = None
    ended = Ended.INFO
    excused = False
    if completion is not None:
        ended = {"ok": Ended.OK, "fail": Ended.FAIL}.get(completion.kind, Ended.INFO)
        of_key, answer = _split(completion, keyed=keyed, must=completion.kind == "ok" and completion.value is not None)
        excused = completion.excused or (completion.value is not None and text_of(answer) != text_of(value))
        if completion.kind == "ok" and completion.value is not None and of_key != key:
            raise WrongHistoryError(completion.line, f"it completes :{event.f} of key {of_key}, which line {event.line} invoked for {key}")
    ask = operation_of(model, event.f, event.line)
    if ended is Ended.OK and completion is not None and ask not in _ANSWERED and answer is not None and text_of(answer) != text_of(value):
        raise WrongHistoryError(
            completion.line,
            f":{event.f} was invoked with {said(value)} on line {event.line} and completed with {said(answer)}; give both one value",
        )
    return _Operation(event.line, ask, event.f, ended, key, value, answer, excused, *when_ns, session)


_ANSWERED: Final = (Ask.READ, Ask.DEQUEUE, Ask.DRAIN, Ask.CONTAINS, Ask.ACQUIRE, Ask.RELEASE)
"""Completions of these tell an answer; those of the others repeat what was asked."""


def _split(event: Event, *, keyed: bool, must: bool) -> tuple[str, Value]:
    """The key and the value of it; the key is empty where there are none."""
    if isinstance(event.value, OfKey):
        return text_of(event.value.key), event.value.value
    if not keyed:
        return "", event.value
    pair = pair_of(event.value)
    if pair is not None:
        return text_of(pair[0]), pair[1]
    if must:
        raise WrongHistoryError(event.line, f"{said(event.value)} is no pair of a key and a value, as the others are; write [key value]")
    return "", event.value


class _Writer:
    """Says in columns what operations mean."""

    def __init__(self, columns: Columns, model: str, meaning: Meaning) -> None:
        self._columns, self._model, self._meaning = columns, MODELS[model], meaning

    def write(self, operation: _Operation) -> None:
        """One operation; one that failed and proves nothing is left out."""
        ask = operation.ask
        if ask is Ask.READ:
            self._read(operation)
        elif ask is Ask.CAS:
            self._cas(operation)
        elif ask is Ask.DEQUEUE:
            if operation.ended is not Ended.FAIL:
                answered = operation.ended is Ended.OK
                self._add(operation, F.DEQUEUE, result=self._code(operation.answer, operation) if answered else NOTHING)
        elif ask is Ask.DRAIN:
            if operation.ended is Ended.OK:
                for element in _collection(operation):
                    self._add(operation, F.DEQUEUE, result=self._code(element, operation))
        elif ask is Ask.CONTAINS:
            raise WrongHistoryError(
                operation.line, "events have no place for what contains asks and answers; write Jetable's own JSON Lines"
            )
        elif ask in (Ask.ACQUIRE, Ask.RELEASE):
            if operation.ended is not Ended.FAIL:
                held = self._columns.code(HELD, operation.line)
                old, new = (INITIAL, held) if ask is Ask.ACQUIRE else (held, INITIAL)
                self._add(operation, F.CAS, arg=old, arg2=new)
        else:
            self._add(operation, CHANGES[ask], arg=self._argument(operation))

    def add_unknown_drains(self, operations: Sequence[_Operation]) -> None:
        """A drain of which nobody knows what it took may have taken all that no dequeue answered."""
        for drain in operations:
            if drain.ask is not Ask.DRAIN or drain.ended is not Ended.INFO:
                continue
            for _ in range(_left(operations, drain.key)):
                self._add(drain, F.DEQUEUE)

    def _read(self, operation: _Operation) -> None:
        if operation.ended is Ended.FAIL:
            return
        known = operation.ended is Ended.OK and (operation.answer is not None or self._meaning.nil_tells)
        if self._model.whole:
            self._add(operation, F.READ, items=_collection(operation) if known else None)
        else:
            self._add(operation, F.READ, result=self._code(operation.answer, operation) if known else NOTHING)

    def _cas(self, operation: _Operation) -> None:
        pair = pair_of(operation.value)
        if pair is None:
            raise WrongHistoryError(operation.line, f"a cas needs the old and the new value, not {said(operation.value)}; write [old new]")
        looks = operation.ended is Ended.FAIL and self._meaning.failed_cas_looks and not operation.excused
        old, new = (self._code(half, operation) for half in pair)
        self._add(operation, F.CAS, arg=old, arg2=new, result=0 if looks else NOTHING, ended=Ended.OK if looks else operation.ended)

    def _argument(self, operation: _Operation) -> int:
        value = operation.value
        if self._model.numbers:
            if value is None and operation.f in ("increment", "inc", "decrement", "dec"):
                value = 1
            elif value is None:
                raise WrongHistoryError(operation.line, f":{operation.f} needs the number to add; give it a :value")
            number = self._columns.code(value, operation.line)
            return -number if operation.ask is Ask.SUBTRACT else number
        if value is None and operation.ask is not Ask.WRITE:
            raise WrongHistoryError(operation.line, f":{operation.f} needs a value; give its :invoke one")
        return self._code(value, operation)

    def _code(self, value: Value, operation: _Operation) -> int:
        return self._columns.code(value, operation.line)

    def _add(  # noqa: PLR0913  one parameter a column
        self,
        operation: _Operation,
        f: F,
        *,
        arg: int = NOTHING,
        arg2: int = NOTHING,
        result: int = NOTHING,
        items: Iterable[Value] | None = None,
        ended: Ended | None = None,
    ) -> None:
        self._columns.add(
            f,
            operation.ended if ended is None else ended,
            operation.call_ns,
            operation.ret_ns,
            arg=arg,
            arg2=arg2,
            result=result,
            items=items,
            session=operation.session,
            key=operation.key,
            place=operation.line,
        )


CHANGES: Final = {
    Ask.WRITE: F.WRITE,
    Ask.ADD: F.ADD,
    Ask.SUBTRACT: F.ADD,
    Ask.REMOVE: F.REMOVE,
    Ask.ENQUEUE: F.ENQUEUE,
    Ask.APPEND: F.APPEND,
}
"""What operations are that change something by one value."""


def _collection(operation: _Operation) -> tuple[Value, ...]:
    """What a read of a whole set or log, or a drain, answered; nil is an empty one."""
    elements = () if operation.answer is None else elements_of(operation.answer)
    if elements is None:
        raise WrongHistoryError(
            operation.line,
            f":{operation.f} must answer a collection of elements, not {said(operation.answer)}; write [1 2 3] or #{{1 2 3}}",
        )
    return elements


def _left(operations: Iterable[_Operation], key: str) -> int:
    """How many elements of ``key`` may be there that no dequeue answered."""
    left = 0
    for operation in operations:
        if operation.key != key:
            continue
        if operation.ask is Ask.ENQUEUE:
            left += operation.ended is not Ended.FAIL
        elif operation.ended is Ended.OK:
            left -= len(_collection(operation)) if operation.ask is Ask.DRAIN else operation.answer is not None
    return max(left, 0)


def kind_of(written: Value, line: int) -> Kind:
    """The kind that ``:type`` names.

    Raises:
        WrongHistoryError: There is no such kind.
    """
    for kind in KINDS:
        if written in (kind, f":{kind}"):
            return kind
    raise WrongHistoryError(line, f"its type is {said(written)}; write {one_of(KINDS)}")


def time_of(written: Value, line: int) -> int | None:
    """The instant that ``:time`` names; None when it names none.

    Raises:
        WrongHistoryError: It is no whole number of nanoseconds.
    """
    if written is None:
        return None
    time_ns = whole_number(written)
    if time_ns is None or abs(time_ns) >= LATEST_NS:
        raise WrongHistoryError(line, f"its time is {said(written)}; write a whole number of nanoseconds, or none on any line")
    return time_ns
