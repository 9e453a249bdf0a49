"""Queues: each kind of violation by a history that shows it, and small random ones against trying all orders."""

from __future__ import annotations

import pytest

from harness.monitors import queue
from harness.monitors.calls import INITIAL_TEXT, Call, Ended, F, calls_of
from harness.monitors.judged import Budget, Judged, Why
from harness.verdict import Verdict
from tests.monitors.agreement import alone, check
from tests.monitors.histories import Recipe

RECIPES = {
    "as usual": Recipe(model="queue", keys=2),
    "many at once": Recipe(model="queue", fs=(F.ENQUEUE, F.DEQUEUE), most=10, width=25, pending=0.05),
    "one after the other": Recipe(model="queue", most=10, width=5),
    "often empty, often without an answer": Recipe(
        model="queue", fs=(F.ENQUEUE, F.DEQUEUE, F.DEQUEUE), most=10, width=15, pending=0.3, refused=0.03
    ),
    "values that repeat": Recipe(model="queue", repeats=0.2, keys=2),
}


def put(value: str, call_ns: int, ret_ns: int, ended: Ended = Ended.OK, *, key: str = "") -> Call:
    return Call(f=F.ENQUEUE, arg=value, call_ns=call_ns, ret_ns=ret_ns, ended=ended, key=key)


def take(value: str | None, call_ns: int, ret_ns: int, ended: Ended = Ended.OK, *, key: str = "") -> Call:
    return Call(f=F.DEQUEUE, result=value, call_ns=call_ns, ret_ns=ret_ns, ended=ended, key=key)


def empty(call_ns: int, ret_ns: int) -> Call:
    return take(INITIAL_TEXT, call_ns, ret_ns)


def unanswered(call_ns: int, *, key: str = "") -> Call:
    return take(None, call_ns, call_ns, Ended.INFO, key=key)


def judged(*told: Call) -> Judged:
    return queue.judge(calls_of(told), Budget())


def kinds(*told: Call) -> dict[str, int]:
    calls = calls_of(told)
    found = queue.judge(calls, Budget())
    assert found.verdict is (Verdict.FAIL if found.violations else Verdict.PASS), found
    assert all(queue.judge(alone(calls, violation), Budget()).counts.get(violation.kind) for violation in found.violations)
    return dict(found.counts)


A, B = put("a", 0, 1), put("b", 2, 3)


def test_what_comes_out_in_the_order_in_which_it_went_in_is_right() -> None:
    assert kinds(A, B, take("a", 4, 5), take("b", 6, 7), empty(8, 9)) == {}


def test_what_went_in_at_once_may_come_out_in_any_order() -> None:
    assert kinds(A, put("b", 1, 3), take("b", 4, 5), take("a", 6, 7)) == {}
    assert kinds(A, B, take("b", 4, 6), take("a", 6, 7)) == {}


def test_a_value_that_comes_out_before_an_earlier_one_overtakes_it() -> None:
    found = judged(A, B, take("b", 4, 5), take("a", 6, 7))
    assert found.counts == {"overtaken": 1}
    assert set(found.violations[0].rows) == {0, 1, 2, 3}


def test_a_value_behind_which_others_came_out_and_that_never_did_is_lost() -> None:
    assert kinds(A, B, take("b", 4, 5)) == {"lost-value": 1}


def test_a_value_is_lost_when_nothing_is_found_after_it_was_put_in() -> None:
    assert kinds(A, take("a", 2, 3), B, empty(4, 5)) == {"lost-value": 1}
    assert kinds(A, take("a", 2, 3), put("b", 2, 4), empty(4, 5)) == {}


def test_a_taker_without_an_answer_explains_one_value_that_is_missing() -> None:
    assert kinds(A, B, unanswered(4), take("b", 4, 5)) == {}
    assert kinds(A, B, unanswered(5), take("b", 4, 5)) == {}
    assert kinds(A, B, unanswered(6), take("b", 4, 5)) == {"lost-value": 1}
    assert kinds(A, B, unanswered(4), put("c", 4, 5), take("c", 6, 7)) == {"lost-value": 1}
    assert kinds(A, B, unanswered(4), unanswered(7), put("c", 4, 5), take("c", 6, 7)) == {}


def test_what_a_taker_without_an_answer_tells_is_not_known() -> None:
    assert kinds(A, take("x", 2, 3, Ended.INFO), take("a", 4, 5)) == {}


def test_too_few_takers_are_counted() -> None:
    found = judged(A, B, unanswered(4), put("c", 4, 5), take("c", 6, 7))
    facts = [because for because in found.violations[0].because if because.why is Why.TOO_FEW_TAKERS]
    assert [(fact.n, fact.m) for fact in facts] == [(2, 1)]


def test_takers_explain_what_is_missing_when_nothing_is_found() -> None:
    assert kinds(A, B, unanswered(2), unanswered(2), empty(4, 5)) == {}
    assert kinds(A, B, unanswered(2), empty(4, 5)) == {"lost-value": 1}


def test_what_the_pairing_can_not_tell_is_searched() -> None:
    told = (A, put("c", 6, 7), empty(2, 9))  # nothing may have been inside until `c` came, if a taker had taken `a` by then
    assert kinds(*told, unanswered(5)) == {}
    assert kinds(*told, unanswered(8)) == {"not-linearizable": 1}
    assert kinds(*told, unanswered(8), unanswered(9)) == {}


def test_the_taker_that_began_first_is_the_first_to_take_wherever_it_stands() -> None:
    assert kinds(A, B, unanswered(9), unanswered(4), put("c", 4, 5), take("c", 6, 7)) == {"lost-value": 1}


def test_what_must_be_gone_first_has_the_first_claim() -> None:
    first = (A, B, take("b", 4, 5))
    then = (put("c", 6, 7), put("d", 8, 9), take("d", 19, 20))
    assert kinds(*first, *then, unanswered(4), unanswered(10)) == {}
    assert kinds(*first, *then, unanswered(10), put("e", 21, 22), put("f", 23, 24), take("f", 25, 26), unanswered(10)) == {"lost-value": 1}


def test_takers_of_another_queue_take_nothing_here() -> None:
    other = [put("a", 0, 1, key="o"), put("b", 2, 3, key="o"), take("b", 4, 5, key="o")]
    assert kinds(unanswered(4), *other) == {"lost-value": 1}
    assert kinds(A, B, take("b", 4, 5), unanswered(4), *other, unanswered(4, key="o")) == {}
    assert kinds(A, B, take("b", 4, 5), *other, unanswered(4, key="o")) == {"lost-value": 1}


def test_an_answer_of_nothing_counts_only_at_instants_that_other_values_leave_to_it() -> None:
    assert kinds(A, take("a", 5, 6), put("c", 3, 4), empty(2, 9)) == {"lost-value": 1}
    assert kinds(A, take("a", 5, 6), put("c", 3, 5), empty(2, 9)) == {}
    late = (put("c", 0, 1), put("b", 3, 4), take("b", 20, 21), empty(2, 9))
    assert kinds(*late, unanswered(6)) == {"lost-value": 1}
    assert kinds(*late, unanswered(4)) == {}
    assert kinds(put("c", 0, 4), empty(5, 20), empty(6, 7), unanswered(10)) == {"lost-value": 1}


def test_an_answer_of_nothing_that_nothing_explains_proves_nothing_else() -> None:
    assert kinds(A, take("a", 8, 9), empty(2, 7), put("c", 3, 4)) == {"empty-while-inside": 1}


def test_a_value_that_comes_out_twice_is_told() -> None:
    assert kinds(A, take("a", 2, 3), take("a", 2, 3)) == {"dequeued-twice": 1}


def test_a_value_that_nobody_put_in_is_told_and_so_is_one_that_was_refused() -> None:
    assert kinds(A, take("x", 2, 3)) == {"never-enqueued": 1}
    assert kinds(A, put("x", 0, 1, Ended.FAIL), take("x", 2, 3)) == {"refused-yet-dequeued": 1}
    assert kinds(A, put("x", 0, 1, Ended.FAIL), put("x", 0, 1, Ended.INFO), take("x", 2, 3)) == {}


def test_a_value_that_comes_out_before_it_was_put_in_is_told() -> None:
    assert kinds(put("a", 4, 5), take("a", 2, 3)) == {"dequeued-early": 1}
    assert kinds(put("a", 3, 5), take("a", 2, 3)) == {}
    assert kinds(put("b", 0, 1), take("b", 8, 9), put("a", 4, 5), take("a", 2, 3)) == {"dequeued-early": 1}


def test_nothing_must_not_be_found_while_something_is_inside() -> None:
    inside = (A, take("a", 8, 9))
    assert kinds(*inside, empty(2, 7)) == {"empty-while-inside": 1}
    assert kinds(*inside, empty(1, 7)) == {}
    assert kinds(*inside, empty(2, 8)) == {}
    within = (put("b", 0, 3), take("b", 6, 7), put("c", 0, 8), take("c", 9, 10))
    assert kinds(A, take("a", 30, 31), *within, empty(12, 13)) == {"empty-while-inside": 1}


def test_what_was_always_inside_may_be_several_values_one_after_the_other() -> None:
    chain = (A, B, take("a", 4, 5), put("c", 5, 6), take("b", 7, 8), take("c", 20, 21))
    found = judged(*chain, empty(2, 19))
    assert found.counts == {"empty-while-inside": 1}
    assert len(found.violations[0].rows) == 7
    assert kinds(A, put("b", 2, 4), take("a", 4, 5), take("b", 20, 21), empty(2, 19)) == {}


def test_a_put_without_an_answer_may_have_had_its_effect_or_not() -> None:
    pending = put("b", 2, 3, Ended.INFO)
    assert kinds(A, pending, take("a", 4, 5), empty(6, 7)) == {}
    assert kinds(A, pending, put("c", 4, 5), take("a", 6, 7), take("c", 8, 9), take("b", 10, 11)) == {}


def test_a_taker_that_did_not_tell_what_it_took_is_searched() -> None:
    assert kinds(A, B, take(None, 4, 5), take("b", 6, 7)) == {}
    assert kinds(A, take("a", 2, 3), B, take(None, 4, 5), put("c", 6, 7), take(None, 8, 9), take("b", 10, 11)) == {"not-linearizable": 1}


def test_values_that_were_put_in_twice_are_searched() -> None:
    assert kinds(A, B, put("a", 4, 5), take("a", 6, 7), take("b", 8, 9), take("a", 10, 11)) == {}
    assert kinds(A, B, put("a", 4, 5), take("a", 6, 7), take("a", 8, 9)) == {"not-linearizable": 1}


def test_a_value_that_reads_as_nothing_is_searched() -> None:
    assert kinds(put(INITIAL_TEXT, 0, 1), B, take(INITIAL_TEXT, 4, 5), take("b", 6, 7)) == {}
    assert kinds(put(INITIAL_TEXT, 0, 1), B, take("b", 4, 5)) == {"not-linearizable": 1}


def test_each_key_is_a_queue_of_its_own() -> None:
    assert kinds(A, put("b", 2, 3, key="other"), take("b", 4, 5, key="other"), take("a", 6, 7)) == {}
    assert kinds(A, put("b", 2, 3, key="other"), take("a", 4, 5, key="other"), take("a", 6, 7)) == {"never-enqueued": 1}


def test_without_any_dequeue_the_answer_is_unknown() -> None:
    assert judged(A, B, unanswered(4)).verdict is Verdict.UNKNOWN


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_small_histories_are_judged_as_trying_all_orders_says(name: str) -> None:
    check(queue.judge, RECIPES[name], seed=len(name))
