"""Columns that are filled one by one."""

from __future__ import annotations

import numpy as np
import pytest

from harness.dialects.columns import Columns, said
from harness.dialects.values import Keyword, WrongHistoryError
from harness.monitors.calls import INITIAL, NEVER, NOTHING, Call, Ended, F, calls_of


def test_columns_are_those_that_written_out_operations_give() -> None:
    columns = Columns(numbers=False)
    columns.add(F.WRITE, Ended.OK, 1, 2, arg=columns.code("a", 1), session="c1", key="x", replica="web.1", place=1)
    columns.add(F.READ, Ended.OK, 3, 4, result=columns.code(None, 2), session="c2", key="x", place=2)
    columns.add(F.WRITE, Ended.INFO, 5, 6, arg=columns.code("b", 3), session="c1", key="y", place=3)
    told = calls_of(
        [
            Call(f=F.WRITE, ended=Ended.OK, call_ns=1, ret_ns=2, arg="a", session="c1", key="x", replica="web.1", place=1),
            Call(f=F.READ, ended=Ended.OK, call_ns=3, ret_ns=4, result="nil", session="c2", key="x", place=2),
            Call(f=F.WRITE, ended=Ended.INFO, call_ns=5, arg="b", session="c1", key="y", place=3),
        ]
    )
    made = columns.calls()
    for name in ("f", "arg", "arg2", "result", "call_ns", "ret_ns", "ended", "session", "key", "replica", "place", "items"):
        assert np.array_equal(getattr(made, name), getattr(told, name)), name
    assert (made.values, made.sessions, made.keys, made.replicas) == (told.values, told.sessions, told.keys, told.replicas)


def test_items_of_whole_reads_are_kept_in_order() -> None:
    columns = Columns(numbers=False)
    columns.add(F.READ, Ended.OK, 1, 2, items=["b", "a"])
    columns.add(F.APPEND, Ended.INFO, 3, NEVER, arg=columns.code("a", 2))
    columns.add(F.READ, Ended.OK, 4, 5, items=[])
    calls = columns.calls()
    assert [calls.value(int(code)) for code in calls.items_of(0)] == ["b", "a"]
    assert calls.result.tolist() == [2, NOTHING, 0]
    assert len(calls.items_of(1)) == len(calls.items_of(2)) == 0


def test_the_first_value_of_a_register_may_be_another_one() -> None:
    columns = Columns(numbers=False, initial="0")
    assert columns.code(0, 1) == INITIAL
    assert columns.code(None, 1) != INITIAL
    assert columns.code(Keyword(":a"), 1) != columns.code(":a", 1)


def test_a_counter_takes_whole_numbers_only() -> None:
    columns = Columns(numbers=True)
    assert [columns.code(value, 1) for value in (3, -3, 2.0, None)] == [3, -3, 2, 0]
    for value in ("3", 2.5, True, 1 << 70):
        with pytest.raises(WrongHistoryError, match="no number that a counter can hold"):
            columns.code(value, 1)


def test_a_value_in_a_message_is_one_short_line() -> None:
    assert said("x" * 100) == "x" * 60 + "…"
    assert "\n" not in said("a\nb")
