"""What monitors over columns share."""

from __future__ import annotations

import numpy as np

from harness.monitors import columns
from harness.monitors.calls import NEVER, Call, Ended, F, calls_of
from harness.monitors.columns import Found
from harness.monitors.judged import Budget, Violation
from harness.monitors.models import MODELS
from harness.verdict import Verdict


def read(key: str, call_ns: int, ret_ns: int, ended: Ended = Ended.OK) -> Call:
    return Call(f=F.READ, key=key, call_ns=call_ns, ret_ns=ret_ns, ended=ended)


def test_the_instants_of_one_key_all_lie_behind_those_of_the_key_before_it() -> None:
    at = columns.apart(calls_of([read("a", 5, 9), read("b", 1, 2), read("a", 3, 4, Ended.INFO)]))
    assert at.ret[0] - at.call[0] == 4, "times within a key are as they were"
    assert at.call[0] - at.call[2] == 2
    first, second = np.array([0]), np.array([1])
    assert at.before(first) < min(at.call[0], at.call[2])
    assert at.ret[0] < at.ret[2] == at.after(first) < at.before(second) < at.call[1] < at.ret[1] < at.after(second)


def test_instants_too_far_apart_for_many_keys_are_counted_instead() -> None:
    far = NEVER - 5
    at = columns.apart(calls_of([read("a", 0, far), read("b", far, far + 1), read("b", 7, 7)]))
    assert at.call[0] < at.ret[0] < at.call[2] == at.ret[2] < at.call[1] < at.ret[1]


def test_numbers_without_holes_keep_their_order() -> None:
    for many in (1, 1 << 60):
        (a, b), stands_for = columns.dense([np.array([5 * many, -many]), np.array([2 * many, 5 * many])])
        assert (a.tolist(), b.tolist()) == ([2, 0], [1, 2])
        assert stands_for.tolist() == [-many, 2 * many, 5 * many]


def test_pairs_of_a_key_and_a_value_have_numbers_of_their_own() -> None:
    for many in (1, 1 << 60):
        (numbers,), keys = columns.dense_pairs([np.array([0, 1, 1, 0])], [np.array([3, 3, 4, 3]) * many])
        assert numbers[0] == numbers[3]
        assert len(set(numbers.tolist())) == 3
        assert keys[numbers].tolist() == [0, 1, 1, 0]


def test_all_violations_are_counted_and_the_worst_are_built() -> None:
    found = Found()
    found.note("lost-element", np.arange(9), lambda one: Violation(kind="lost-element", rows=(one,)), np.arange(9))
    found.note("overtaken", np.arange(0), lambda one: Violation(kind="overtaken", rows=(one,)))
    judged = found.judged("set", operations=9, reads=1)
    assert (judged.verdict, judged.counts) == (Verdict.FAIL, {"lost-element": 9})
    assert [violation.rows for violation in judged.violations] == [(8,), (7,), (6,)]


def test_the_rows_of_what_the_search_found_are_those_of_the_whole() -> None:
    found = Found()
    calls = calls_of([Call(f=F.READ, result=number, call_ns=0, ret_ns=1, ended=Ended.OK) for number in (0, 7)], numbers=True)
    columns.Search(model=MODELS["counter"], budget=Budget()).judge(calls, np.array([1]), found)
    assert [violation.rows for violation in found.violations] == [(1,)]
    assert {because.a for because in found.violations[0].because} == {1}
