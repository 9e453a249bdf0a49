"""A violation in sentences, in the manner of Elle (Kingsbury and Alvaro, PVLDB 14(3), 2020): who did what and when, why that can't be.

Each operation gets a short name, ``w1`` or ``r2``, and is told once. Then come the facts of the proof, each of which anyone can check
against the history, what follows from them, and what was done to the target shortly before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.monitors.calls import INITIAL, INITIAL_TEXT, NEVER, NOTHING, Calls, Ended, F, name
from harness.monitors.judged import KINDS, Because, Violation
from harness.monitors.lines import are_numbers, reads_are_whole
from harness.units import span
from harness.words import printable, quoted

MOST_TOLD: Final = 24
"""Operations that are told one by one; the rest is counted. The file of the witness has them all."""

MOST_ITEMS: Final = 8
"""Elements of a read that are told one by one."""

MOST_MOMENTS: Final = 4
"""Sentences about what was done to the target."""

AT_ONCE_NS: Final = 1_000_000
"""What was over sooner has no length that is worth a word."""

LETTERS: Final = {
    F.READ: "r",
    F.WRITE: "w",
    F.CAS: "c",
    F.ADD: "a",
    F.REMOVE: "x",
    F.CONTAINS: "h",
    F.ENQUEUE: "e",
    F.DEQUEUE: "d",
    F.APPEND: "a",
}
"""What the short name of an operation begins with."""


_BARE: Final = re.compile(r'[^\s"]+')
_QUOTED: Final = re.compile(r'".*"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened to the target meanwhile, to be told beside the operations.

    Attributes:
        at_ns: When it began.
        until_ns: When it was over; ``at_ns`` where it has no length, `NEVER` where it never was.
        text: What it was, such that "the … of web.1" is said of it: ``SIGKILL``, ``pause``, ``start``, ``stop``.
        replica: Of whom; empty where it was of all.
        fault: Whether it was done to harm, as a start is not.
    """

    at_ns: int
    until_ns: int
    text: str
    replica: str = ""
    fault: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Speak:
    """What is told beside the operations.

    Attributes:
        moments: What happened to the target, in any order.
        left_out: How many elements are missing in the answers of reads (see `harness.monitors.witness.Witness`).
    """

    moments: tuple[Moment, ...] = ()
    left_out: int = 0


def proof(calls: Calls, violation: Violation, speak: Speak | None = None) -> list[str]:
    """The violation as sentences, one each: its operations, the facts of the proof, what follows, and what was done to the target."""
    speak = speak or Speak()
    named = names(calls, violation)
    told = list(named)[:MOST_TOLD]
    lines = [f"{named[row]} is {_introduced(calls, row, named)}." for row in told]
    if len(named) > len(told):
        lines.append(f"{_count(len(named) - len(told), 'more operation')} {'belongs' if len(named) == len(told) + 1 else 'belong'} to it.")
    if speak.left_out:
        lines.append(f"{_count(speak.left_out, 'element')} that it does not need {_are(speak.left_out)} not shown in the answers of reads.")
    facts = list(dict.fromkeys(_fact(calls, because, named) for because in violation.because))
    lines += [*facts, f"So {KINDS.get(violation.kind, violation.kind.replace('-', ' '))} ({violation.kind})."]
    return lines + _meanwhile(calls, named, speak.moments)


def names(calls: Calls, violation: Violation) -> dict[int, str]:
    """A short name for each operation of ``violation``, such as ``w1`` and ``r2``, numbered and sorted in the order of their calls."""
    also = [row for because in violation.because for row in (because.a, because.b) if row >= 0]
    return named_rows(calls, sorted({*violation.rows, *also}))


def named_rows(calls: Calls, rows: Sequence[int]) -> dict[int, str]:
    """A short name for each of ``rows``, in the order of their calls."""
    chosen = np.asarray(rows, dtype=np.int64)
    order = chosen[np.lexsort((calls.ret_ns[chosen], calls.call_ns[chosen]))].tolist()
    return {row: f"{LETTERS[F(calls.f[row])]}{number}" for number, row in enumerate(order, start=1)}


def value_text(calls: Calls, code: int) -> str:
    """A value as it is shown: its text where that is plain, else in quotes; cut where it is long."""
    text = calls.value(code)
    if code == INITIAL and not are_numbers(calls) and text in (INITIAL_TEXT, str(INITIAL)):
        return "nothing"
    plain = len(text) <= 40 and printable(text) == text
    return text if plain and (_BARE.fullmatch(text) or _QUOTED.fullmatch(text)) else quoted(text)


def time_text(ns: int) -> str:
    """A span of time; what is too short for milliseconds in nanoseconds."""
    return f"{ns} ns" if abs(ns) < 5_000 else span(ns / 1e9)


def asked_text(calls: Calls, row: int) -> str:
    """What an operation asks for: ``a write of 3 to x``."""
    key, value = printable(name(calls.keys, int(calls.key[row]))), value_text(calls, int(calls.arg[row]))

    def of(word: str) -> str:
        return f" {word} {key}" if key else ""

    match F(calls.f[row]):
        case F.READ:
            text = f"a read{of('of')}"
        case F.WRITE:
            text = f"a write of {value}{of('to')}"
        case F.CAS:
            text = f"a compare-and-set{of('of')} from {value} to {value_text(calls, int(calls.arg2[row]))}"
        case F.ADD:
            text = f"an addition of {value}{of('to')}"
        case F.REMOVE:
            text = f"a removal of {value}{of('from')}"
        case F.CONTAINS:
            text = f"a look for {value}{of('in')}"
        case F.ENQUEUE:
            text = f"an enqueue of {value}{of('to')}"
        case F.DEQUEUE:
            text = f"a dequeue{of('from')}"
        case F.APPEND:
            text = f"an append of {value}{of('to')}"
    return text


def answered_text(calls: Calls, row: int) -> str:
    """How an operation ended: ``answered 3``, ``was acknowledged``, ``was refused``."""
    f, result = F(calls.f[row]), int(calls.result[row])
    if calls.ended[row] == Ended.FAIL:
        return "was refused"
    if calls.ended[row] == Ended.INFO:
        return "never told what it found" if f in (F.READ, F.CONTAINS) else "never told whether it took effect"
    there = "it was there" if result else "it was not there"
    match f:
        case F.READ if result != NOTHING and reads_are_whole(calls):
            text = _items_text(calls, row)
        case F.READ if result != NOTHING:
            text = f"answered {value_text(calls, result)}"
        case F.READ:
            text = "answered nothing that could be read"
        case F.CAS if result == 0:
            text = "answered that another value was there"
        case F.CONTAINS | F.REMOVE if result != NOTHING:
            text = f"answered that {there}"
        case F.DEQUEUE if result != NOTHING:
            text = "found it empty" if result == INITIAL else f"took {value_text(calls, result)}"
        case F.DEQUEUE:
            text = "took something that is not known"
        case F.ADD if result != NOTHING and are_numbers(calls):
            text = f"answered {_grouped(result)}"
        case _:
            text = "was acknowledged"
    return text


def moment_text(moment: Moment) -> str:
    """``the SIGKILL of web.3``."""
    return f"the {printable(moment.text)}{' of ' + printable(moment.replica) if moment.replica else ''}"


def _items_text(calls: Calls, row: int) -> str:
    items = calls.items_of(row).tolist()
    if not items:
        return "answered that there is nothing"
    more = f" and {_grouped(len(items) - MOST_ITEMS)} more" if len(items) > MOST_ITEMS else ""
    return f"answered {', '.join(value_text(calls, item) for item in items[:MOST_ITEMS])}{more}"


def _introduced(calls: Calls, row: int, named: dict[int, str]) -> str:
    """``a read of x by client 3 at web.1; it began 41 ms after w1 and answered 3 within 2 ms``."""
    first = next(iter(named))
    after = int(calls.call_ns[row]) - int(calls.call_ns[first])
    began = (
        "it began first"
        if row == first
        else f"it began {time_text(after)} after {named[first]}"
        if after
        else f"it began with {named[first]}"
    )
    answered, ret_ns = answered_text(calls, row), int(calls.ret_ns[row])
    took = f" within {time_text(ret_ns - int(calls.call_ns[row]))}" if ret_ns != NEVER else ""
    return f"{asked_text(calls, row)}{_by(calls, row)}; {began} and {answered}{took}"


def _by(calls: Calls, row: int) -> str:
    who, replica = printable(name(calls.sessions, int(calls.session[row]))), int(calls.replica[row])
    by = f" by {'client ' if who.isdigit() else ''}{who}" if who else ""
    return by + (f" at {printable(name(calls.replicas, replica))}" if replica >= 0 else "")


def _fact(calls: Calls, because: Because, named: dict[int, str]) -> str:
    a, b = because.a, because.b
    code = because.value if because.value is not None else _value_of(calls, a)
    gap_ns = _gap_ns(calls, a, b) if b >= 0 else 0
    template = because.why.value[0].upper() + because.why.value[1:]
    return f"{template}.".format(
        a=named[a],
        b=named.get(b, "nothing"),
        gap=time_text(gap_ns),
        value=value_text(calls, code),
        n=_grouped(because.n),
        m=_grouped(because.m),
    )


def _gap_ns(calls: Calls, a: int, b: int) -> int:
    """From the end of the first one to the call of the other; where they overlap, from call to call."""
    first, second = sorted((a, b), key=lambda row: int(calls.call_ns[row]))
    end_ns, call_ns = int(calls.ret_ns[first]), int(calls.call_ns[second])
    return call_ns - end_ns if end_ns <= call_ns else call_ns - int(calls.call_ns[first])


def _value_of(calls: Calls, row: int) -> int:
    result = int(calls.result[row])
    return result if result != NOTHING and F(calls.f[row]) in (F.READ, F.DEQUEUE) else int(calls.arg[row])


def _meanwhile(calls: Calls, named: dict[int, str], moments: Sequence[Moment]) -> list[str]:
    """What was done to the target before the last operation, and when the replicas that took part were started or stopped."""
    faults = sorted((moment for moment in moments if moment.fault), key=lambda moment: moment.at_ns)
    last = list(named)[-1] if named else -1
    if last < 0 or not moments:
        return []
    call_ns, ret_ns = int(calls.call_ns[last]), int(calls.ret_ns[last])
    until_ns = call_ns if ret_ns == NEVER else ret_ns
    lines = []
    before = [moment for moment in faults if moment.at_ns <= until_ns]
    if before:
        lines.append(_moment_line(before[-1], call_ns, named[last]))
    elif faults:
        lines.append(f"Nothing had been done to the target before {named[last]} ended.")
    replicas = dict.fromkeys(name(calls.replicas, int(calls.replica[row])) for row in named if calls.replica[row] >= 0)
    for replica in replicas:
        own = [moment for moment in moments if not moment.fault and moment.replica == replica and moment.at_ns <= until_ns]
        if not own:
            continue
        latest = max(own, key=lambda moment: moment.at_ns)
        cause = next((fault for fault in reversed(faults) if fault.at_ns <= latest.at_ns), None)
        after = f", {time_text(latest.at_ns - cause.at_ns)} after {moment_text(cause)}" if cause else ""
        lines.append(_moment_line(latest, call_ns, named[last], after))
    return lines[:MOST_MOMENTS]


def _moment_line(moment: Moment, call_ns: int, last: str, after: str = "") -> str:
    text = moment_text(moment)
    away_ns = call_ns - moment.at_ns
    when = f"{time_text(abs(away_ns))} {'before' if away_ns >= 0 else 'after'} {last} began"
    if moment.until_ns == NEVER:
        over = ", and was never over"
    elif moment.until_ns - moment.at_ns >= AT_ONCE_NS:
        over = f", and was over {time_text(moment.until_ns - moment.at_ns)} later"
    else:
        over = ""
    return f"{text[0].upper()}{text[1:]} {'began' if over else 'was'} {when}{after}{over}."


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _count(number: int, thing: str) -> str:
    return f"{_grouped(number)} {thing}{'' if number == 1 else 's'}"


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")
