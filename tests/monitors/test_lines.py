"""Histories as JSON Lines: each operation, and nothing that is not known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness.dialects import Options, read_history
from harness.monitors.calls import Call, Calls, Ended, F, calls_of
from harness.monitors.lines import Operation, encode
from tests.monitors.histories import FS, Recipe, histories


def told(*calls: Call, numbers: bool = False) -> list[dict[str, object]]:
    return [json.loads(line) for line in encode(calls_of(calls, numbers=numbers))]


def call(f: F, *, ended: Ended = Ended.OK, **also: object) -> Call:
    return Call(f=f, call_ns=5, ret_ns=9, ended=ended, **also)  # type: ignore[arg-type]  # as Call takes them


OK = {"call_ns": 5, "ret_ns": 9, "ended": "ok"}


@pytest.mark.parametrize(
    ("one", "line"),
    [
        (call(F.READ, result="a"), {"f": "read", "result": "a"}),
        (call(F.READ, result="nil"), {"f": "read", "result": None}),
        (call(F.READ), {"f": "read"}),
        (call(F.READ, items=["b", "a"]), {"f": "read", "result": ["b", "a"]}),
        (call(F.WRITE, arg="a"), {"f": "write", "value": "a"}),
        (call(F.CAS, arg="nil", arg2="b"), {"f": "cas", "old": None, "new": "b"}),
        (call(F.ADD, arg="a"), {"f": "add", "value": "a"}),
        (call(F.REMOVE, arg="a"), {"f": "remove", "value": "a"}),
        (call(F.ENQUEUE, arg="a"), {"f": "enqueue", "value": "a"}),
        (call(F.DEQUEUE, result="nil"), {"f": "dequeue", "result": None}),
        (call(F.APPEND, arg="a"), {"f": "append", "value": "a"}),
    ],
)
def test_each_operation_is_one_object(one: Call, line: dict[str, object]) -> None:
    assert told(one) == [{**line, **OK}]


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("-7", -7), ("007", "007"), ('"3"', "3"), ('"a b"', "a b"), ('"a" "b"', '"a" "b"'), ("9" * 30, "9" * 30), (":a", ":a")],
)
def test_a_text_is_written_as_what_it_stands_for(text: str, value: object) -> None:
    assert told(call(F.WRITE, arg=text))[0]["value"] == value


def test_two_texts_never_become_one_value() -> None:
    lines = told(call(F.WRITE, arg='":a"'), call(F.WRITE, arg=":a"))
    assert [line["value"] for line in lines] == ['":a"', ":a"]


def test_an_answer_of_yes_or_no_is_no_value() -> None:
    rows = [call(F.CONTAINS, arg=3, result=0), call(F.REMOVE, arg=3, result=1), call(F.ADD, arg=3)]
    assert [line.get("result") for line in told(*rows, numbers=True)] == [False, True, None]
    assert told(call(F.CAS, arg=1, arg2=2, result=0), numbers=True)[0]["result"] is False


def test_a_counter_tells_numbers_and_zero_is_one() -> None:
    lines = told(call(F.ADD, arg=1, result=1), call(F.READ, result=0), numbers=True)
    assert [line.get("value") for line in lines] == [1, None]
    assert [line["result"] for line in lines] == [1, 0]


def test_an_empty_set_is_an_empty_list() -> None:
    assert [line.get("result") for line in told(call(F.ADD, arg="a"), call(F.READ, items=[]))] == [None, []]


def test_names_and_places_are_told_where_they_are_known() -> None:
    one = call(F.READ, result="a", session="s", key="k", replica="web.1", place=7)
    assert told(one) == [{"f": "read", "result": "a", **OK, "session": "s", "key": "k", "replica": "web.1", "place": 7}]


def test_what_has_no_end_has_no_return() -> None:
    (line,) = told(call(F.WRITE, arg="a", ended=Ended.INFO))
    assert line["ended"] == "info"
    assert "ret_ns" not in line
    assert told(call(F.WRITE, arg="a", ended=Ended.FAIL))[0]["ret_ns"] == 9


@pytest.mark.parametrize("model", FS)
def test_all_that_monitors_judge_is_in_the_lines(model: str) -> None:
    for calls in histories(Recipe(model=model, keys=2), seed=2, count=30):
        lines = [msgspec.json.decode(line, type=Operation) for line in encode(calls)]
        assert [line.call_ns for line in lines] == calls.call_ns.tolist()
        assert [line.session for line in lines] == [calls.sessions[session] for session in calls.session]
        assert sum(len(line.result) for line in lines if isinstance(line.result, list)) == items(calls)


def items(calls: Calls) -> int:
    return int(np.diff(calls.starts).sum())


@pytest.mark.parametrize("model", FS)
def test_a_history_reads_back_as_itself(model: str, tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    for numbers in histories(Recipe(model=model, keys=2, most=12, damaged=0, told=1), seed=6, count=20):
        texts = ("nil", *(str(number) if number % 2 else f"<v {number}>" for number in range(1, 99)))
        calls = numbers if model == "counter" else replace(numbers, values=texts)
        file.write_text("".join(f"{line}\n" for line in encode(calls)))
        again = read_history(file, model, Options()).calls
        for column in ("f", "call_ns", "ret_ns", "ended", "place"):
            left, right = getattr(calls, column), getattr(again, column)
            ends = calls.ended != Ended.INFO if column == "ret_ns" else np.ones(len(calls), dtype=bool)
            assert left[ends].tolist() == right[ends].tolist()
        assert [calls.keys[key] for key in calls.key] == [again.keys[key] for key in again.key]
        assert [spelled(calls, row) for row in range(len(calls))] == [spelled(again, row) for row in range(len(again))]


def test_reads_of_nothing_at_all_are_lists_too() -> None:
    calls = calls_of([call(F.ADD, arg="a"), call(F.READ, items=[])])
    bare = replace(calls, starts=np.zeros(0, dtype=np.int64))
    assert list(encode(bare)) == list(encode(calls))


def spelled(calls: Calls, row: int) -> list[str]:
    """The values of a row as texts, in quotes or not."""
    codes = [int(calls.arg[row]), int(calls.arg2[row]), *calls.items_of(row).tolist()]
    answers = [int(calls.result[row])] if calls.f[row] in (F.READ, F.DEQUEUE) and not calls.items_of(row).size else []
    return [calls.value(code).strip('"') for code in codes + answers]
