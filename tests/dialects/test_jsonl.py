"""Jetable's own JSON Lines."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.dialects.events import Meaning
from harness.dialects.jsonl import looks_like, read
from harness.dialects.source import Source
from harness.dialects.values import WrongHistoryError
from harness.monitors.calls import Call, Calls, Ended, F, calls_of
from harness.monitors.lines import encode
from tests.dialects.told import told


def calls_in(*lines: dict[str, object], model: str | None = None, **how: object) -> Calls:
    data = "\n".join(map(json.dumps, lines)).encode()
    return read(Source(data=data), Meaning(model=model, **how)).calls  # type: ignore[arg-type]  # the options of the test


def op(f: str, **fields: object) -> dict[str, object]:
    return {"f": f, **fields}


@pytest.mark.parametrize(
    ("model", "line", "row"),
    [
        ("register", op("write", value=3), "write 3 ok"),
        ("register", op("write", value=None), "write nil ok"),
        ("register", op("write", value="w3", ended="fail"), "write w3 fail"),
        ("register", op("write", value=3, ended="info"), "write 3 info"),
        ("register", op("read", result=3), "read -> 3 ok"),
        ("register", op("read", result=[3.0, 0.5]), "read -> [3 0.5] ok"),
        ("register", op("read", result=None), "read -> nil ok"),
        ("register", op("read", value=3), None),
        ("register", op("read", ended="info"), "read info"),
        ("register", op("read"), "read ok"),
        ("set", op("read"), "read ok"),
        ("set", op("contains", value="a"), "contains a ok"),
        ("register", op("read", result=3, ended="fail"), "read fail"),
        ("register", op("cas", old=1, new=2), "cas 1 2 ok"),
        ("register", op("cas", old=1, new=2, result=True), "cas 1 2 -> 1 ok"),
        ("register", op("cas", old=1, new=2, result=False), "cas 1 2 -> 0 ok"),
        ("register", op("cas", old=None, new=2, ended="fail"), "cas nil 2 fail"),
        ("register", op("write", value=[1, {"a": None}], key="x"), "x write [1 {a nil}] ok"),
        ("set", op("add", value="a"), "add a ok"),
        ("set", op("remove", value="a", result=True), "remove a -> 1 ok"),
        ("set", op("remove", value="a"), "remove a ok"),
        ("set", op("contains", value="a", result=False), "contains a -> 0 ok"),
        ("set", op("read", result=["a", 3]), "read -> [a 3] ok"),
        ("set", op("read", result=None), "read -> [] ok"),
        ("counter", op("add", value=1), "add 1 ok"),
        ("counter", op("add", value=1, result=7), "add 1 -> 7 ok"),
        ("counter", op("read", result=7.0), "read -> 7 ok"),
        ("queue", op("enqueue", value=1), "enqueue 1 ok"),
        ("queue", op("dequeue", result=1), "dequeue -> 1 ok"),
        ("queue", op("dequeue", result=None), "dequeue -> nil ok"),
        ("log", op("append", value=1), "append 1 ok"),
        ("log", op("read", result=[1, 1]), "read -> [1 1] ok"),
        ("mutex", op("acquire"), "cas nil held ok"),
    ],
)
def test_what_a_line_means(model: str, line: dict[str, object], row: str | None) -> None:
    if row is None:
        with pytest.raises(WrongHistoryError, match="a read has no value; write what it answered as result"):
            calls_in(line, model=model)
    else:
        assert told(calls_in(line, model=model)) == [row]


def test_times_sessions_keys_replicas_and_places_are_taken_over() -> None:
    calls = calls_in(
        op("write", value=3, key="x", session="c1", replica="web.1", call_ns=10, ret_ns=10, place=7),
        op("read", result=3, key=5, session=2, call_ns=5, ret_ns=20.0, note={"my": "own"}),
    )
    assert (calls.call_ns.tolist(), calls.ret_ns.tolist(), calls.place.tolist()) == ([10, 5], [10, 20], [7, 2])
    assert (calls.keys, calls.sessions, calls.replicas, calls.replica.tolist()) == (("x", "5"), ("c1", "2"), ("web.1",), [0, -1])


def test_without_times_each_operation_comes_after_the_one_above() -> None:
    calls = calls_in(op("write", value=3), op("read", result=3))
    assert calls.ret_ns[0] < calls.call_ns[1]


def test_a_read_of_null_may_tell_nothing() -> None:
    assert told(calls_in(op("read", result=None), model="register", nil_tells=False)) == ["read ok"]


@pytest.mark.parametrize(
    ("model", "lines", "line", "says"),
    [
        ("register", [op("write", value=3), op("wirte", value=3)], 2, 'did you mean "write"'),
        ("register", [op("enqueue", value=3)], 1, "judge it with --model queue"),
        ("register", [op("write", value=3, ended="OK")], 1, 'ended is "OK"; write "ok", "fail" or "info"'),
        ("register", [op("write")], 1, 'a write needs a value; add "value"'),
        ("register", [op("cas", old=1)], 1, "a cas needs old and new"),
        ("register", [op("cas", old=1, new=2, value=[1, 2])], 1, "a cas needs old and new, and no value"),
        ("register", [op("cas", old=1, new=2, result="yes")], 1, "the result of a cas must be true or false"),
        ("register", [op("write", value=3, old=2)], 1, "a write has no old and new"),
        ("register", [op("write", value=3, result=3)], 1, "a write has no result"),
        ("register", [op("write", value=3, call_ns=1)], 1, "needs ret_ns"),
        ("register", [op("write", value=3, call_ns=2, ret_ns=1)], 1, "it returned 1 ns before it was called"),
        ("register", [op("write", value=3, call_ns=1.5, ret_ns=2)], 1, "call_ns is 1.5; write a whole number"),
        ("register", [op("write", value=3, call_ns=1, ret_ns=1 << 62)], 1, "past any clock"),
        ("register", [op("write", value=3, call_ns="1", ret_ns=2)], 1, "call_ns: must be"),
        ("register", [op("write", value=3, call_ns=1, ret_ns=2), op("read", result=3)], 2, "some lines have call_ns and some have none"),
        ("register", [op("write", valeu=3)], 1, 'no field "valeu" (did you mean "value"?)'),
        ("register", [op("write", value=3, type="ok")], 1, 'no field "type"'),
        ("set", [op("read", result=3)], 1, "a read of a set must answer a list, not 3"),
        ("set", [op("add", value=None)], 1, "an add needs".replace("an", "a")),
        ("counter", [op("add", value="3")], 1, "no number that a counter can hold"),
        ("queue", [op("drain")], 1, "write a dequeue for each element"),
        ("queue", [], 0, "it holds no operation"),
    ],
)
def test_a_line_that_contradicts_itself_is_refused(model: str, lines: list[dict[str, object]], line: int, says: str) -> None:
    with pytest.raises(WrongHistoryError) as wrong:
        calls_in(*lines, model=model)
    assert (wrong.value.line, says in str(wrong.value)) == (line, True), str(wrong.value)


def test_it_looks_like_an_object_without_a_type() -> None:
    assert looks_like('\n{"f": "write"}')
    assert looks_like('[{"f": "write"}')
    assert not looks_like('{"type": "invoke"}')
    assert not looks_like("{:type :invoke}")


VALUES = st.one_of(st.none(), st.integers(-5, 5), st.text(max_size=3).filter(lambda text: text.isprintable()))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES, st.sampled_from(list(Ended))), min_size=1, max_size=6))
def test_what_the_harness_writes_reads_back_as_the_same_history(written: list[tuple[object, object, Ended]]) -> None:
    first = calls_in(*(op("cas", old=old, new=new, ended=ended.name.lower()) for old, new, ended in written), model="register")
    again = read(Source(data="\n".join(encode(first)).encode()), Meaning(model="register")).calls
    for name in ("f", "arg", "arg2", "result", "call_ns", "ret_ns", "ended", "place"):
        assert np.array_equal(getattr(first, name), getattr(again, name)), name


def test_a_log_that_the_harness_writes_reads_back_whole() -> None:
    calls = calls_of(
        [
            Call(f=F.APPEND, ended=Ended.OK, call_ns=1, ret_ns=2, arg="e1", session="c1", place=1),
            Call(f=F.READ, ended=Ended.OK, call_ns=3, ret_ns=4, items=["e1"], session="c2", place=2),
            Call(f=F.READ, ended=Ended.OK, call_ns=5, ret_ns=6, items=[], session="c2", place=3),
        ]
    )
    assert told(read(Source(data="\n".join(encode(calls)).encode()), Meaning()).calls) == [
        "append e1 ok",
        "read -> [e1] ok",
        "read -> [] ok",
    ]
