"""Logs: each kind of violation by a history that shows it, and small random ones against trying all orders."""

from __future__ import annotations

import pytest

from harness.monitors import log
from harness.monitors.calls import Call, Calls, Ended, F, calls_of
from harness.monitors.judged import Budget, Judged
from harness.verdict import Verdict
from tests.monitors.agreement import alone, check
from tests.monitors.histories import Recipe

RECIPES = {
    "as usual": Recipe(model="log"),
    "many at once": Recipe(model="log", most=9, width=25, pending=0.05),
    "one after the other": Recipe(model="log", most=10, width=5, keys=2),
    "values that repeat": Recipe(model="log", repeats=0.2, keys=2),
}


def append(value: str, call_ns: int, ret_ns: int, ended: Ended = Ended.OK, *, key: str = "") -> Call:
    return Call(f=F.APPEND, arg=value, call_ns=call_ns, ret_ns=ret_ns, ended=ended, key=key)


def read(items: str, call_ns: int, ret_ns: int, *, key: str = "") -> Call:
    return Call(f=F.READ, items=items, call_ns=call_ns, ret_ns=ret_ns, ended=Ended.OK, key=key)


def judged(*told: Call) -> Judged:
    return log.judge(calls_of(told), Budget())


def kinds(*told: Call) -> dict[str, int]:
    calls: Calls = calls_of(told)
    found = log.judge(calls, Budget())
    assert found.verdict is (Verdict.FAIL if found.violations else Verdict.PASS), found
    assert all(log.judge(alone(calls, violation), Budget()).counts.get(violation.kind) for violation in found.violations)
    return {kind: many for kind, many in found.counts.items() if kind != "never-read"}


A, B = append("a", 0, 1), append("b", 2, 3)


def test_reads_that_are_beginnings_of_one_order_are_right() -> None:
    assert kinds(A, B, append("c", 2, 3), read("a", 2, 3), read("acb", 4, 5), read("ac", 2, 4)) == {}
    assert kinds(A, append("b", 2, 8), read("ab", 4, 9), read("a", 5, 7)) == {}


def test_two_reads_that_are_no_beginnings_of_one_another_disagree() -> None:
    assert kinds(append("a", 0, 9), append("b", 0, 9), read("ab", 1, 8), read("ba", 1, 8)) == {"order-disagreement": 1}
    assert kinds(append("a", 0, 9), append("b", 0, 9), read("a", 1, 8), read("b", 1, 8)) == {"order-disagreement": 1}


def test_the_order_must_be_the_order_of_time() -> None:
    assert kinds(A, B, read("ba", 4, 5)) == {"reordered-elements": 1}
    assert kinds(A, append("b", 1, 3), read("ba", 4, 5)) == {}
    assert kinds(A, append("a", 2, 3, Ended.FAIL), B, read("ba", 4, 5)) == {"reordered-elements": 1}
    assert kinds(append("c", 0, 1), read("c", 2, 3), append("a", 4, 5), append("b", 6, 7), read("cba", 8, 9)) == {"reordered-elements": 1}


def test_a_read_must_not_skip_what_was_acknowledged_before_what_it_has_was_asked_for() -> None:
    assert kinds(A, B, read("b", 0, 5)) == {"skipped-element": 1}


def test_a_value_that_later_reads_lack_is_lost_and_does_not_confuse_the_order_of_the_others() -> None:
    assert kinds(A, B, append("c", 4, 5), read("ab", 4, 5), read("ac", 6, 7), read("ac", 8, 9)) == {"lost-element": 1}


def test_a_value_that_comes_back_is_stale() -> None:
    assert kinds(A, B, read("a", 4, 5), read("ab", 6, 7)) == {"stale-element": 1}


def test_a_value_that_is_there_twice_is_duplicated() -> None:
    assert kinds(A, B, read("aba", 4, 5)) == {"duplicated-element": 1}


def test_what_nobody_appended_is_unexpected_and_what_was_refused_is_resurrected() -> None:
    assert kinds(A, read("ax", 4, 5)) == {"unexpected-element": 1}
    assert kinds(A, append("x", 2, 3, Ended.FAIL), read("xa", 4, 5)) == {"resurrected-element": 1}


def test_a_value_that_is_read_before_it_was_asked_for_is_from_the_future() -> None:
    assert kinds(A, append("b", 6, 7), read("ab", 4, 5)) == {"future-read": 1}


def test_an_append_without_an_answer_may_be_there_or_not() -> None:
    pending = append("b", 2, 3, Ended.INFO)
    assert kinds(A, pending, read("a", 4, 5)) == {}
    assert kinds(A, pending, append("c", 4, 5), read("acb", 6, 7)) == {}
    assert kinds(A, append("c", 4, 5), append("b", 6, 7, Ended.INFO), read("abc", 8, 9)) == {"reordered-elements": 1}


def test_values_that_were_appended_twice_are_searched() -> None:
    again = append("a", 6, 7)
    assert kinds(A, again, B, read("aba", 8, 9)) == {}
    assert kinds(A, again, B, read("aab", 8, 9)) == {"not-linearizable": 1}


def test_each_key_is_a_log_of_its_own() -> None:
    assert kinds(A, append("b", 2, 3, key="other"), read("a", 4, 5), read("b", 4, 5, key="other")) == {}
    assert kinds(A, append("b", 2, 3, key="other"), read("a", 4, 5), read("a", 4, 5, key="other")) == {
        "lost-element": 1,
        "unexpected-element": 1,
    }


def test_without_any_read_the_answer_is_unknown() -> None:
    assert judged(A, B).verdict is Verdict.UNKNOWN


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_small_histories_are_judged_as_trying_all_orders_says(name: str) -> None:
    check(log.judge, RECIPES[name], seed=len(name))
