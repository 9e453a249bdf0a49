"""Sets: each kind of violation by a history that shows it, and small random ones against trying all orders."""

from __future__ import annotations

import numpy as np
import pytest

from harness.monitors import sets
from harness.monitors.calls import Call, Calls, Ended, F, calls_of
from harness.monitors.judged import Budget, Judged, Why
from harness.verdict import Verdict
from tests.monitors.agreement import alone, check
from tests.monitors.histories import Recipe

RECIPES = {
    "adds and whole reads": Recipe(model="set", fs=(F.ADD, F.ADD, F.READ)),
    "many at once": Recipe(model="set", fs=(F.ADD, F.ADD, F.READ), most=9, width=30, pending=0.05),
    "elements added again": Recipe(model="set", fs=(F.ADD, F.ADD, F.READ, F.CONTAINS), repeats=0.3, keys=2),
    "looks and whole reads": Recipe(model="set", fs=(F.ADD, F.READ, F.CONTAINS), keys=2),
    "removals": Recipe(model="set", fs=(F.ADD, F.CONTAINS, F.REMOVE), told=0.5, keys=2),
    "removals that nobody saw": Recipe(model="set", fs=(F.ADD, F.CONTAINS, F.CONTAINS, F.REMOVE), told=0.2, width=25, pending=0.3),
    "removed and added again": Recipe(model="set", fs=(F.ADD, F.CONTAINS, F.REMOVE), told=0.5, repeats=0.3),
    "everything": Recipe(model="set", keys=3, repeats=0.1),
}


def add(value: str, call_ns: int, ret_ns: int, ended: Ended = Ended.OK, *, key: str = "") -> Call:
    return Call(f=F.ADD, arg=value, call_ns=call_ns, ret_ns=ret_ns, ended=ended, key=key, replica="web.1")


def read(items: str, call_ns: int, ret_ns: int, session: str = "", *, key: str = "") -> Call:
    return Call(f=F.READ, items=items, call_ns=call_ns, ret_ns=ret_ns, ended=Ended.OK, session=session, key=key, replica="web.2")


def look(value: str, there: int, call_ns: int, ret_ns: int) -> Call:
    return Call(f=F.CONTAINS, arg=value, result=str(there), call_ns=call_ns, ret_ns=ret_ns, ended=Ended.OK)


def remove(value: str, call_ns: int, ret_ns: int, there: int | None = None, ended: Ended = Ended.OK) -> Call:
    return Call(f=F.REMOVE, arg=value, result=there, call_ns=call_ns, ret_ns=ret_ns, ended=ended)


def judged(*told: Call) -> Judged:
    return sets.judge(_calls(*told), Budget())


def _calls(*told: Call) -> Calls:
    """The answers of looks are numbers, and elements are letters: a number of their own each."""
    numbered = [
        Call(
            f=call.f,
            call_ns=call.call_ns,
            ret_ns=call.ret_ns,
            ended=call.ended,
            arg=None if call.arg is None else ord(str(call.arg)),
            result=call.result,
            items=None if call.items is None else [ord(str(item)) for item in call.items],
            session=call.session,
            key=call.key,
            replica=call.replica,
        )
        for call in told
    ]
    return calls_of(numbered, numbers=True)


def kinds(*told: Call) -> dict[str, int]:
    found = judged(*told)
    assert found.verdict is (Verdict.FAIL if found.violations else Verdict.PASS), found
    assert all(sets.judge(alone(_calls(*told), violation), Budget()).counts.get(violation.kind) for violation in found.violations)
    return {kind: many for kind, many in found.counts.items() if kind != "never-read"}


A, B = add("a", 0, 1), add("b", 2, 3)


def test_a_read_that_has_all_that_was_acknowledged_is_right() -> None:
    assert kinds(A, B, read("ba", 4, 5)) == {}
    assert kinds(add("b", 0, 1), add("a", 2, 3), read("ab", 4, 5)) == {}


def test_an_element_that_the_final_reads_lack_is_lost_and_shown_with_its_add_its_last_read_and_the_first_without_it() -> None:
    found = judged(A, B, read("ab", 4, 5), read("ab", 6, 7), read("a", 10, 11, "final"), read("a", 12, 13, "final"))
    assert found.counts == {"lost-element": 1}
    (lost,) = found.violations
    assert set(lost.rows) == {1, 2, 3, 4} - {2}
    assert lost.size_ns == 9, "the last read that lacks it began at 12, and it was known at 3"
    assert Why.LACKS in {because.why for because in lost.because}


def test_an_element_that_nobody_ever_saw_after_its_acknowledgement_is_lost() -> None:
    assert kinds(A, B, read("a", 4, 5)) == {"lost-element": 1}


def test_an_element_without_acknowledgement_is_lost_once_it_was_seen() -> None:
    pending = add("b", 2, 3, Ended.INFO)
    assert kinds(A, pending, read("a", 4, 5)) == {}
    assert kinds(A, pending, read("ab", 4, 5), read("a", 6, 7)) == {"lost-element": 1}


def test_an_element_that_comes_back_is_stale_by_the_time_since_it_was_known() -> None:
    found = judged(A, B, read("a", 103, 105), read("ab", 110, 111))
    assert found.counts == {"stale-element": 1}
    assert found.violations[0].size_ns == 100
    assert kinds(A, look("a", 0, 4, 5), look("a", 1, 6, 7)) == {"stale-element": 1}


def test_the_stalest_element_is_shown_first() -> None:
    found = judged(A, B, read("b", 50, 51), read("a", 60, 61), read("ab", 70, 71))
    assert [violation.size_ns for violation in found.violations if violation.kind == "stale-element"] == [57, 49]


def test_an_answer_that_ran_beside_the_acknowledgement_may_lack_the_element() -> None:
    assert kinds(A, B, read("a", 3, 5), read("ab", 6, 7)) == {}


def test_an_element_that_nobody_tried_is_unexpected_and_one_that_was_refused_is_resurrected() -> None:
    assert kinds(A, read("ax", 4, 5)) == {"unexpected-element": 1}
    assert kinds(A, add("x", 2, 3, Ended.FAIL), read("ax", 4, 5)) == {"resurrected-element": 1}
    assert kinds(A, add("x", 2, 3, Ended.FAIL), add("x", 2, 3, Ended.INFO), read("ax", 4, 5)) == {}


def test_an_element_that_is_twice_in_one_read_is_duplicated() -> None:
    assert kinds(A, B, read("aba", 4, 5)) == {"duplicated-element": 1}


def test_an_element_that_is_read_before_anybody_added_it_is_from_the_future() -> None:
    assert kinds(add("a", 5, 6), read("a", 1, 4)) == {"future-read": 1}
    assert kinds(add("a", 5, 6), look("a", 1, 1, 4)) == {"future-read": 1}


def test_two_reads_that_each_have_what_the_other_lacks_are_incomparable() -> None:
    assert kinds(add("a", 0, 9), add("b", 0, 9), read("a", 1, 8), read("b", 1, 8)) == {"incomparable-reads": 2}


def test_a_read_that_skips_what_was_acknowledged_before_what_it_has_was_asked_for_is_told() -> None:
    assert kinds(A, B, read("b", 0, 9)) == {"skipped-element": 1}
    assert kinds(A, add("b", 1, 3), read("b", 0, 9)) == {}


def test_an_element_that_is_added_again_counts_from_its_first_addition() -> None:
    again = add("a", 20, 21)
    assert kinds(A, again, read("a", 4, 5)) == {}
    assert kinds(add("a", 0, 1, Ended.INFO), again, read("", 4, 5), read("a", 30, 31)) == {}
    assert kinds(A, again, read("", 4, 5)) == {"lost-element": 1}


def test_what_nobody_looked_for_is_counted_and_is_no_violation() -> None:
    found = judged(A, read("a", 2, 3), B)
    assert (found.verdict, found.counts) == (Verdict.PASS, {"never-read": 1})


def test_without_any_look_the_answer_is_unknown() -> None:
    assert judged(A, B).verdict is Verdict.UNKNOWN


def test_a_read_that_told_nothing_proves_nothing() -> None:
    assert judged(A, Call(f=F.READ, call_ns=4, ret_ns=5, ended=Ended.OK)).verdict is Verdict.UNKNOWN


def test_a_removed_element_that_is_seen_again_is_told_as_such() -> None:
    gone = remove("a", 2, 3)
    assert kinds(A, gone, look("a", 0, 4, 5)) == {}
    assert kinds(A, gone, look("a", 1, 3, 5)) == {}
    assert kinds(A, gone, look("a", 1, 4, 5)) == {"removed-yet-there": 1}
    assert kinds(A, gone, read("a", 4, 5)) == {"removed-yet-there": 1}


def test_an_element_that_is_missing_before_its_removal_is_lost() -> None:
    assert kinds(A, look("a", 0, 2, 3), remove("a", 4, 5)) == {"lost-element": 1}
    assert kinds(A, look("a", 0, 2, 3), remove("a", 3, 5)) == {}
    assert kinds(look("a", 0, 0, 1), add("a", 2, 3), remove("a", 8, 9)) == {}


def test_a_removal_that_found_nothing_is_a_look() -> None:
    assert kinds(A, remove("a", 2, 3, there=0)) == {"lost-element": 1}
    assert kinds(A, remove("a", 1, 3, there=0)) == {}


def test_an_element_whose_removal_came_before_its_addition_stays() -> None:
    early = remove("a", 0, 1)
    assert kinds(early, add("a", 2, 3), look("a", 1, 8, 9)) == {}
    assert kinds(early, add("a", 2, 3), look("a", 0, 8, 9)) == {"lost-element": 1}


def test_a_removal_that_found_what_was_never_added_is_told() -> None:
    assert kinds(A, remove("x", 2, 3, there=1)) == {"unexpected-element": 1}
    assert kinds(A, add("x", 2, 3, Ended.FAIL), remove("x", 2, 3, there=1)) == {"resurrected-element": 1}


def test_elements_that_are_never_removed_are_judged_in_whole_reads_although_others_are() -> None:
    assert kinds(A, B, remove("b", 4, 5), read("b", 4, 5)) == {"lost-element": 1}
    assert kinds(A, B, remove("b", 4, 6), read("ab", 5, 7)) == {}


def test_an_element_that_comes_and_goes_twice_is_searched() -> None:
    twice = (A, remove("a", 2, 3), add("a", 4, 5), remove("a", 6, 7))
    assert kinds(*twice, look("a", 1, 4, 5), look("a", 0, 8, 9)) == {}
    assert kinds(*twice, look("a", 1, 8, 9)) == {"not-linearizable": 1}
    assert kinds(*twice[:3], look("a", 0, 6, 7)) == {"not-linearizable": 1}
    assert kinds(*twice[:2], twice[3], look("a", 1, 8, 9)) == {"not-linearizable": 1}


def test_a_read_of_the_whole_that_lacks_what_was_removed_only_later_is_searched() -> None:
    assert judged(A, B, read("a", 4, 5), remove("b", 6, 7)).counts == {"not-linearizable": 1}
    assert judged(A, B, read("a", 4, 6), remove("b", 6, 7)).verdict is Verdict.PASS


def test_a_removal_that_found_it_has_removed_it() -> None:
    assert kinds(add("a", 0, 9), remove("a", 0, 9, there=1), look("a", 1, 20, 21)) == {"removed-yet-there": 1}
    assert kinds(add("a", 0, 9), remove("a", 0, 9), look("a", 1, 20, 21)) == {}


def test_an_element_that_is_removed_may_be_seen_too_early_or_lost_after_an_early_removal() -> None:
    assert kinds(add("a", 5, 6), look("a", 1, 1, 4), remove("a", 8, 9)) == {"future-read": 1}
    assert kinds(remove("a", 0, 1), add("a", 2, 3), look("a", 1, 4, 5), look("a", 0, 8, 9)) == {"lost-element": 1}


def test_an_unexpected_element_that_is_gone_again_is_not_lost() -> None:
    assert kinds(A, read("ax", 4, 5), read("a", 6, 7)) == {"unexpected-element": 1}


def test_looks_say_when_an_element_came_as_well() -> None:
    seen = (add("a", 0, 1, Ended.INFO), look("a", 1, 2, 3))
    assert kinds(*seen, add("b", 4, 5), read("b", 0, 9)) == {"skipped-element": 1}
    missed = (add("b", 0, 9), look("b", 0, 2, 3))
    assert kinds(A, *missed, read("b", 0, 9)) == {"skipped-element": 1}
    assert kinds(add("a", 0, 2), *missed, read("b", 0, 9)) == {}


def test_each_key_is_a_set_of_its_own() -> None:
    assert kinds(A, add("a", 5, 6, key="other"), read("a", 2, 3)) == {}
    assert kinds(add("a", 0, 1, key="other"), A, read("", 2, 3)) == {"lost-element": 1}
    assert kinds(A, add("b", 0, 1, key="other"), read("a", 4, 5), read("b", 4, 5, key="other")) == {}


def test_a_key_that_was_asked_something_else_is_not_judged() -> None:
    found = judged(A, read("", 2, 3), Call(f=F.WRITE, arg="a", call_ns=0, ret_ns=1, ended=Ended.OK))
    assert found.verdict is Verdict.UNKNOWN
    assert "write" in found.undecided[0]


def test_instants_that_are_far_apart_and_many_keys_fit() -> None:
    far = 1 << 61
    told = [add("a", key, key + 1, key=f"k{key}") for key in range(9)]
    assert kinds(*told, add("a", far, far + 1), read("a", far + 2, far + 3), read("", far + 4, far + 5)) == {"lost-element": 1}


def test_codes_may_be_any_numbers() -> None:
    calls = calls_of(
        [
            Call(f=F.ADD, arg=1 << 60, call_ns=0, ret_ns=1, ended=Ended.OK, key="a"),
            Call(f=F.ADD, arg=-(1 << 60), call_ns=0, ret_ns=1, ended=Ended.OK, key="b"),
            Call(f=F.READ, items=[], call_ns=2, ret_ns=3, ended=Ended.OK, key="b"),
        ],
        numbers=True,
    )
    assert sets.judge(calls, Budget()).counts == {"lost-element": 1, "never-read": 1}


def test_only_the_worst_are_shown_and_all_are_counted() -> None:
    found = judged(*(add(value, 0, number) for number, value in enumerate("abcdefgh")), read("", 10, 11))
    assert found.counts == {"lost-element": 8}
    assert [violation.size_ns for violation in found.violations] == [10, 9, 8]


def test_the_rows_may_stand_in_any_order() -> None:
    calls = _calls(A, B, read("ab", 4, 5), read("b", 6, 7))
    turned = calls.take(np.arange(len(calls))[::-1])
    assert sets.judge(turned, Budget()).counts == sets.judge(calls, Budget()).counts == {"lost-element": 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_small_histories_are_judged_as_trying_all_orders_says(name: str) -> None:
    check(sets.judge, RECIPES[name], seed=len(name))
