"""Sentences about a violation: all that is needed, nothing that stands for something else."""

from __future__ import annotations

import pytest

from harness.monitors import words
from harness.monitors.calls import NEVER, Call, Calls, Ended, F, calls_of
from harness.monitors.judged import KINDS, Because, Violation, Why
from harness.monitors.words import MOST_TOLD, Moment, Speak, proof

MS = 1_000_000


def call(f: F, at_ms: int, *, ended: Ended = Ended.OK, **also: object) -> Call:
    return Call(f=f, call_ns=at_ms * MS, ret_ns=(at_ms + 5) * MS, ended=ended, key="x", **also)  # type: ignore[arg-type]  # as Call takes them


def stale() -> tuple[Calls, Violation]:
    calls = calls_of(
        [
            call(F.READ, 60, result=3, session="3", replica="web.1"),
            call(F.WRITE, 0, arg=3, session="1", replica="web.1"),
            call(F.WRITE, 14, arg=4, session="2", replica="web.2"),
        ]
    )
    because = (Because(why=Why.SAW, a=0, b=1, value=1), Because(why=Why.BEFORE, a=1, b=2), Because(why=Why.BEFORE, a=2, b=0))
    return calls, Violation(kind="stale-read", rows=(1, 2, 0), because=because, size_ns=41 * MS)


def test_a_stale_read_is_told_as_a_person_would() -> None:
    calls, violation = stale()
    moments = (
        Moment(at_ns=-2500 * MS, until_ns=-2500 * MS, text="SIGKILL", replica="web.3"),
        Moment(at_ns=-2040 * MS, until_ns=-1640 * MS, text="start", replica="web.1", fault=False),
        Moment(at_ns=900 * MS, until_ns=NEVER, text="pause", replica="web.2"),
    )
    assert proof(calls, violation, Speak(moments=moments)) == [
        "w1 is a write of 3 to x by client 1 at web.1; it began first and was acknowledged within 5.00 ms.",
        "w2 is a write of 4 to x by client 2 at web.2; it began 14.0 ms after w1 and was acknowledged within 5.00 ms.",
        "r3 is a read of x by client 3 at web.1; it began 60.0 ms after w1 and answered 3 within 5.00 ms.",
        "r3 answered 3, which w1 had written.",
        "w1 had ended 9.00 ms before w2 began.",
        "w2 had ended 41.0 ms before r3 began.",
        "So a value was read that had been overwritten before the read began (stale-read).",
        "The SIGKILL of web.3 was 2.56 s before r3 began.",
        "The start of web.1 began 2.10 s before r3 began, 460 ms after the SIGKILL of web.3, and was over 400 ms later.",
    ]


def test_what_lasted_is_told_with_its_length() -> None:
    calls, violation = stale()
    told = proof(calls, violation, Speak(moments=(Moment(at_ns=50 * MS, until_ns=NEVER, text="pause", replica="web.2"),)))
    assert told[-1] == "The pause of web.2 began 10.0 ms before r3 began, and was never over."
    told = proof(calls, violation, Speak(moments=(Moment(at_ns=61 * MS, until_ns=63 * MS, text="lack of memory"),)))
    assert told[-1] == "The lack of memory began 1.00 ms after r3 began, and was over 2.00 ms later."


def test_it_is_told_when_no_fault_came_first() -> None:
    calls, violation = stale()
    told = proof(calls, violation, Speak(moments=(Moment(at_ns=900 * MS, until_ns=900 * MS, text="SIGKILL", replica="web.2"),)))
    assert told[-1] == "Nothing had been done to the target before r3 ended."
    assert proof(calls, violation)[-1].startswith("So ")


@pytest.mark.parametrize("why", Why)
def test_each_fact_is_told_with_nothing_left_open(why: Why) -> None:
    calls, _ = stale()
    told = proof(calls, Violation(kind="stale-read", rows=(0, 1), because=(Because(why=why, a=0, b=1, n=12_345, m=2),)))
    assert len(told) == 4
    assert not any("{" in line or "}" in line for line in told)


@pytest.mark.parametrize("kind", [*KINDS, "of-tomorrow"])
def test_each_kind_is_concluded(kind: str) -> None:
    calls, _ = stale()
    assert proof(calls, Violation(kind=kind, rows=(0, 1)))[-1] == f"So {KINDS.get(kind, 'of tomorrow')} ({kind})."


EVERY = (
    (call(F.READ, 0, items=[]), "a read of x; it began first and answered that there is nothing within 5.00 ms"),
    (call(F.READ, 0, items=range(10)), "a read of x; it began first and answered 0, 1, 2, 3, 4, 5, 6, 7 and 2 more within 5.00 ms"),
    (call(F.CONTAINS, 0, arg="a", result=1), "a look for a in x; it began first and answered that it was there within 5.00 ms"),
    (call(F.REMOVE, 0, arg="a"), "a removal of a from x; it began first and was acknowledged within 5.00 ms"),
    (call(F.ADD, 0, arg="a b"), 'an addition of "a b" to x; it began first and was acknowledged within 5.00 ms'),
    (call(F.APPEND, 0, arg="\x1b[2J"), 'an append of "\\x1b[2J" to x; it began first and was acknowledged within 5.00 ms'),
    (call(F.ADD, 0, arg="a", ended=Ended.FAIL), "an addition of a to x; it began first and was refused within 5.00 ms"),
)


@pytest.mark.parametrize(("one", "text"), EVERY)
def test_an_operation_on_elements_is_told_in_words(one: Call, text: str) -> None:
    calls = calls_of([one, call(F.ADD, 9, arg="z")])
    assert proof(calls, Violation(kind="phantom-read", rows=(0,)))[0].partition(" is ")[2] == f"{text}."


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (call(F.READ, 0, result="nil"), "a read of x; it began first and answered nothing within 5.00 ms"),
        (call(F.READ, 0, ended=Ended.INFO), "a read of x; it began first and never told what it found"),
        (call(F.WRITE, 0, arg="a", ended=Ended.INFO), "a write of a to x; it began first and never told whether it took effect"),
        (call(F.CAS, 0, arg="a", arg2="b"), "a compare-and-set of x from a to b; it began first and was acknowledged within 5.00 ms"),
        (call(F.ENQUEUE, 0, arg="a"), "an enqueue of a to x; it began first and was acknowledged within 5.00 ms"),
        (call(F.DEQUEUE, 0, result="nil"), "a dequeue from x; it began first and found it empty within 5.00 ms"),
        (call(F.DEQUEUE, 0, result="a"), "a dequeue from x; it began first and took a within 5.00 ms"),
        (Call(f=F.READ, call_ns=0, ret_ns=700, ended=Ended.OK, result="a"), "a read; it began first and answered a within 700 ns"),
    ],
)
def test_an_operation_on_a_value_is_told_in_words(one: Call, text: str) -> None:
    assert proof(calls_of([one]), Violation(kind="phantom-read", rows=(0,)))[0].partition(" is ")[2] == f"{text}."


def test_a_counter_answers_zero_and_not_nothing() -> None:
    calls = calls_of([call(F.ADD, 0, arg=1, result=1), call(F.READ, 9, result=0)], numbers=True)
    told = proof(calls, Violation(kind="stale-read", rows=(0, 1)))
    assert told[0].endswith("and answered 1 within 5.00 ms.")
    assert told[1].endswith("and answered 0 within 5.00 ms.")


def test_what_is_too_much_to_tell_is_counted() -> None:
    calls = calls_of([call(F.READ, n, result="a") for n in range(MOST_TOLD + 2)])
    told = proof(calls, Violation(kind="phantom-read", rows=tuple(range(len(calls)))), Speak(left_out=1))
    assert told[MOST_TOLD] == "2 more operations belong to it."
    assert told[MOST_TOLD + 1] == "1 element that it does not need is not shown in the answers of reads."


def test_names_have_a_letter_each_kind_and_follow_the_calls() -> None:
    calls, violation = stale()
    assert words.names(calls, violation) == {1: "w1", 2: "w2", 0: "r3"}
    assert set(words.LETTERS) == set(F)
