"""Counters: each kind of violation by a history that shows it, and small random ones against trying all orders."""

from __future__ import annotations

import pytest

from harness.monitors import counter
from harness.monitors.calls import Call, Ended, F, calls_of
from harness.monitors.judged import Budget, Judged, Why
from harness.verdict import Verdict
from tests.monitors.agreement import check
from tests.monitors.histories import Recipe

RECIPES = {
    "as usual": Recipe(model="counter", keys=2, told=0),
    "additions that tell their number": Recipe(model="counter", keys=2, told=0.6),
    "many at once": Recipe(model="counter", fs=(F.READ, F.ADD), most=9, width=25, pending=0.05),
    "one after the other": Recipe(model="counter", fs=(F.READ, F.ADD), most=10, width=5),
    "often without an answer": Recipe(model="counter", most=9, width=15, pending=0.3, refused=0.03, told=1),
    "downwards": Recipe(model="counter", amounts=(-1,)),
    "in threes": Recipe(model="counter", amounts=(3,)),
    "up and down": Recipe(model="counter", amounts=(1, -1), keys=2),
    "any amounts": Recipe(model="counter", amounts=(1, 2, 5)),
}


def add(call_ns: int, ret_ns: int, told: int | None = None, ended: Ended = Ended.OK, *, amount: int = 1, key: str = "") -> Call:
    return Call(f=F.ADD, arg=amount, result=told, call_ns=call_ns, ret_ns=ret_ns, ended=ended, key=key)


def read(number: int | None, call_ns: int, ret_ns: int, *, key: str = "") -> Call:
    return Call(f=F.READ, result=number, call_ns=call_ns, ret_ns=ret_ns, ended=Ended.OK, key=key)


def judged(*told: Call) -> Judged:
    return counter.judge(calls_of(told, numbers=True), Budget())


def kinds(*told: Call) -> dict[str, int]:
    calls = calls_of(told, numbers=True)
    found = counter.judge(calls, Budget())
    assert found.verdict is (Verdict.FAIL if found.violations else Verdict.PASS), found
    assert all(counter.judge(calls.take(violation.rows), Budget()).verdict is Verdict.FAIL for violation in found.violations)
    return dict(found.counts)


ONE, TWO = add(0, 1), add(2, 3)


def test_a_number_that_counts_each_addition_once_is_right() -> None:
    assert kinds(ONE, TWO, read(2, 4, 5)) == {}
    assert kinds(ONE, TWO, read(1, 3, 5), read(2, 4, 5)) == {}


def test_a_number_above_what_had_begun_is_counted_twice() -> None:
    found = judged(ONE, TWO, read(3, 4, 5))
    assert found.counts == {"counted-twice": 1}
    assert [(because.why, because.n, because.m) for because in found.violations[0].because] == [(Why.COUNTED_MORE, 3, 2)]
    assert kinds(ONE, TWO, read(3, 4, 5), add(6, 7)) == {"counted-twice": 1}
    assert kinds(ONE, TWO, read(3, 4, 5), add(5, 7)) == {}


def test_a_rise_above_what_was_under_way_is_shown_since_the_number_before() -> None:
    found = judged(ONE, TWO, read(2, 4, 5), add(6, 7), read(4, 8, 9))
    assert found.counts == {"counted-twice": 1}
    assert set(found.violations[0].rows) == {2, 3, 4}
    assert [(because.why, because.n, because.m) for because in found.violations[0].because] == [(Why.COUNTED_MORE_SINCE, 2, 1)]


def test_an_acknowledged_addition_that_no_number_counts_is_lost() -> None:
    found = judged(ONE, TWO, read(1, 4, 5))
    assert found.counts == {"lost-increment": 1}
    assert [(because.why, because.n, because.m) for because in found.violations[0].because] == [(Why.COUNTED_FEWER, 1, 2)]
    assert kinds(ONE, TWO, read(1, 3, 5)) == {}
    pending = add(12, 12, ended=Ended.INFO)
    assert kinds(ONE, read(0, 10, 11), pending, pending, read(2, 20, 21)) == {"lost-increment": 1}


def test_a_lost_addition_is_shown_with_the_number_before_it() -> None:
    found = judged(*(add(0, 1) for _ in range(5)), read(5, 2, 3), add(4, 5), add(4, 5), read(6, 6, 7))
    assert found.counts == {"lost-increment": 1}
    assert set(found.violations[0].rows) == {5, 6, 7, 8}
    assert [(because.why, because.n, because.m) for because in found.violations[0].because] == [(Why.COUNTED_FEWER_SINCE, 2, 1)]


def test_how_many_were_lost_is_counted() -> None:
    assert kinds(*(add(0, number + 1) for number in range(9)), read(4, 20, 21)) == {"lost-increment": 5}


def test_a_number_below_one_before_it_went_back() -> None:
    found = judged(add(0, 9), read(1, 1, 2), read(0, 3, 4))
    assert found.counts == {"went-back": 1}
    assert found.violations[0].size_ns == 1
    assert kinds(add(0, 9), read(1, 1, 3), read(0, 3, 4)) == {}
    assert kinds(*(add(0, 9) for _ in range(3)), read(3, 1, 2), read(1, 3, 4)) == {"went-back": 1}


def test_an_addition_that_is_pending_may_count_once_or_not_at_all() -> None:
    pending = add(2, 3, ended=Ended.INFO)
    assert kinds(ONE, pending, read(1, 4, 5), read(2, 6, 7)) == {}
    assert kinds(ONE, pending, read(3, 4, 5)) == {"counted-twice": 1}
    assert kinds(ONE, add(2, 3, 9, Ended.INFO), read(1, 4, 5)) == {}, "what a pending addition told is not known"
    assert kinds(ONE, pending, read(2, 4, 5), read(1, 6, 7)) == {"went-back": 1}


def test_an_addition_that_was_refused_does_not_count() -> None:
    refused = add(2, 3, ended=Ended.FAIL)
    assert kinds(ONE, refused, read(1, 4, 5)) == {}
    assert kinds(ONE, refused, read(2, 4, 5)) == {"counted-twice": 1}


def test_two_additions_that_made_the_same_number_lost_one() -> None:
    found = judged(add(0, 9, 1), add(0, 9, 1))
    assert found.counts == {"lost-increment": 1}
    assert found.violations[0].because[0].why is Why.SAME_NUMBER
    assert kinds(add(0, 1, 1), add(0, 1, 1, key="other")) == {}


def test_an_addition_that_tells_its_number_bounds_the_others() -> None:
    assert kinds(add(0, 9, 2), add(0, 9, 1)) == {}
    assert kinds(add(0, 1, 2), add(2, 3, 1)) == {"counted-twice": 1, "lost-increment": 1}
    assert kinds(add(0, 9), add(0, 1, 2), add(2, 3, 1)) == {"went-back": 1}
    assert kinds(add(0, 1, 2), add(0, 9)) == {}
    assert kinds(add(0, 1, 2), add(2, 3)) == {"counted-twice": 1}
    assert kinds(add(0, 1), add(2, 3, 1)) == {"lost-increment": 1}
    assert kinds(read(1, 0, 1), add(0, 1), add(2, 3, 1)) == {"went-back": 1}
    assert kinds(add(0, 1), add(0, 1, 1), read(1, 2, 3)) == {"lost-increment": 1}


def test_an_addition_that_tells_a_higher_number_is_not_the_one_that_a_lower_number_counts() -> None:
    told = (read(1, 0, 1, key="other"), add(0, 9, 2, key="other"))
    assert kinds(*told, add(1, 9, key="other")) == {}
    assert kinds(*told, add(5, 9, key="other")) == {"counted-twice": 1}
    assert kinds(add(0, 1, 1), *told, add(5, 9, key="other")) == {"counted-twice": 1}


def test_an_addition_that_skips_a_number_which_nobody_made_is_told() -> None:
    assert kinds(add(0, 9, 1), add(0, 9, 3), add(10, 11, 4)) == {"counted-twice": 2}
    assert kinds(add(0, 9, 1), add(0, 9, 3), add(0, 9, ended=Ended.INFO)) == {}


def test_numbers_that_can_not_be_are_told() -> None:
    assert kinds(ONE, read(-1, 2, 3)) == {"impossible-number": 1}
    assert kinds(add(0, 1, 0)) == {"impossible-number": 1}
    assert kinds(add(0, 1, amount=5), read(7, 2, 3)) == {"impossible-number": 1}
    assert kinds(read(1 << 60, 2, 3), ONE) == {"counted-twice": 1}


def test_steps_of_one_amount_count_as_ones_do() -> None:
    down = (add(0, 1, amount=-2), add(2, 3, amount=-2))
    assert kinds(*down, read(-4, 4, 5)) == {}
    assert kinds(*down, read(-2, 4, 5)) == {"lost-increment": 1}
    assert kinds(*down, read(-6, 4, 5)) == {"counted-twice": 1}
    assert kinds(*down, read(2, 4, 5)) == {"impossible-number": 1}


def test_sums_bound_what_different_amounts_give() -> None:
    told = (add(0, 1, amount=5), add(2, 3, amount=3))
    assert kinds(*told, read(8, 4, 5)) == {}
    assert kinds(*told, read(9, 4, 5)) == {"counted-twice": 1}
    assert kinds(*told, read(7, 4, 5)) == {"lost-increment": 1}
    assert kinds(*told, add(2, 9, amount=-1), read(7, 4, 5)) == {}
    assert kinds(*told, add(2, 3, amount=-1), read(8, 4, 5)) == {"counted-twice": 1}
    assert kinds(*told, add(6, 7, 9, amount=2)) == {"lost-increment": 1}
    assert kinds(*told, add(6, 7, 11, amount=2)) == {"counted-twice": 1}
    assert kinds(add(0, 1, amount=5), add(2, 3, -1, amount=-3)) == {"lost-increment": 1}
    assert kinds(add(0, 1, amount=5), add(2, 3, 3, amount=-3)) == {"counted-twice": 1}


def test_numbers_never_turn_where_all_amounts_have_one_sign() -> None:
    up = (add(0, 9, amount=5), add(0, 9, amount=3))
    assert kinds(*up, read(5, 1, 2), read(3, 3, 4)) == {"went-back": 1}
    assert kinds(*up, read(5, 1, 3), read(3, 3, 4)) == {"not-linearizable": 1}
    down = (add(0, 9, amount=-5), add(0, 9, amount=-3))
    assert kinds(*down, read(-5, 1, 2), read(-3, 3, 4)) == {"went-back": 1}
    assert kinds(add(0, 1, amount=-5), read(-5, 2, 3), add(4, 5, amount=3), read(-2, 6, 7)) == {}
    assert kinds(*up, add(0, 9, amount=-2), read(5, 1, 2), read(3, 3, 4)) == {}
    assert kinds(*up, read(8, 1, 2), add(3, 4, 9, amount=4)) == {"went-back": 1}


def test_different_amounts_in_a_large_history_are_not_decided() -> None:
    told = [add(0, 9, amount=1 + number % 2) for number in range(counter.SMALL + 1)]
    found = judged(*told, read(7, 0, 9))
    assert found.verdict is Verdict.UNKNOWN
    assert "NP-hard" in found.undecided[0]


def test_each_key_is_a_counter_of_its_own() -> None:
    assert kinds(ONE, add(2, 3, key="other"), read(1, 4, 5), read(1, 4, 5, key="other")) == {}
    assert kinds(ONE, TWO, add(2, 3, amount=3, key="other"), read(2, 4, 5), read(2, 4, 5, key="other")) == {"impossible-number": 1}
    different = (add(0, 1, amount=5), add(2, 3, amount=3), read(8, 4, 5))
    assert kinds(*different, add(0, 1, amount=1, key="other"), add(2, 3, amount=2, key="other"), read(3, 4, 5, key="other")) == {}
    assert kinds(ONE, read(0, 4, 5, key="other"), read(1, 2, 3), read(1, 6, 7, key="other")) == {"counted-twice": 1}
    assert kinds(add(8, 9), add(0, 1, key="other"), read(0, 4, 5), read(0, 4, 5, key="other")) == {"lost-increment": 1}


def test_without_any_answer_it_is_unknown() -> None:
    assert judged(ONE, TWO).verdict is Verdict.UNKNOWN
    assert judged(ONE, read(None, 2, 3)).verdict is Verdict.UNKNOWN


@pytest.mark.slow
def test_what_is_compiled_says_the_same_as_what_is_not() -> None:
    told = [add(4 * number, 4 * number + 9) for number in range(12_000)]
    told += [read(number, 4 * number, 4 * number + 9) for number in range(12_000)]
    calls = calls_of([*told, read(11_990, 60_000, 60_001)], numbers=True)
    assert counter.judge(calls, Budget()).counts == {"went-back": 1}
    assert counter.judge(calls.take(range(12_000, len(calls))), Budget()).counts == {"counted-twice": 12_000}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_small_histories_are_judged_as_trying_all_orders_says(name: str) -> None:
    check(counter.judge, RECIPES[name], seed=len(name))
