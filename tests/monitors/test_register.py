"""Registers: what each kind of violation looks like, and every verdict against the one of all orders tried."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from harness.monitors.calls import INITIAL_TEXT, NEVER, NOTHING, Call, Calls, Ended, F, calls_of
from harness.monitors.judged import KINDS, Budget, Judged, Why
from harness.monitors.register import judge
from harness.verdict import Verdict
from tests.monitors.histories import Recipe, histories
from tests.monitors.oracle import explained

LONG = bool(os.environ.get("JETABLE_LONG"))
COUNT = 40_000 if LONG else 500

ONCE = Recipe(model="register", keys=2)
SWAPS = replace(ONCE, fs=(F.READ, F.READ, F.WRITE, F.CAS, F.CAS, F.CAS))
RECIPES = {
    "once": ONCE,
    "swaps": SWAPS,
    "many pending": replace(SWAPS, pending=0.4),
    "all at once": replace(SWAPS, width=24, most=7),
    "many looks": replace(SWAPS, missed=0.8, width=24, most=8, keys=1, pending=0.08, refused=0.05),
    "hardly ever at once": replace(ONCE, width=4, most=12),
    "now and then a value again": replace(SWAPS, repeats=0.05),
    "few values": replace(ONCE, repeats=0.5),
}


def write(value: str | int, call_ns: int, ret_ns: int = NEVER, **others: object) -> Call:
    return _call(F.WRITE, call_ns, ret_ns, arg=value, **others)


def read(value: str | int | None, call_ns: int, ret_ns: int = NEVER, **others: object) -> Call:
    return _call(F.READ, call_ns, ret_ns, result=value, **others)


def swap(old: str | int, new: str | int, call_ns: int, ret_ns: int = NEVER, **others: object) -> Call:
    return _call(F.CAS, call_ns, ret_ns, arg=old, arg2=new, **others)


def look(old: int, call_ns: int, ret_ns: int) -> Call:
    """A compare-and-set that answered *another value*."""
    return swap(old, 99, call_ns, ret_ns, result=0)


def _call(f: F, call_ns: int, ret_ns: int, **others: object) -> Call:
    ended = others.pop("ended", Ended.OK if ret_ns < NEVER else Ended.INFO)
    return Call(f=f, call_ns=call_ns, ret_ns=ret_ns, ended=ended, **others)  # type: ignore[arg-type]  # the rest are attributes of Call


CHAIN = ((1, 1, 9), (2, 9, 3), (3, 3, 8), (4, 8, 2), (5, 2, 7))
EDGES: list[tuple[bool, tuple[Call, ...]]] = [
    (True, (write(1, 0, 1), read(None, 2, 3), read(1, 4, 5))),
    (True, (write(1, 0), swap(1, 2, 0), swap(2, 3, 0), swap(3, 4, 0), read(4, 5, 6))),
    (True, (write(1, 0), swap(1, 2, 0), swap(1, 3, 0), read(2, 5, 6))),
    (False, (write(1, 5, 9), swap(1, 2, 0, 9), swap(2, 3, 0, 9), read(3, 0, 2))),
    (True, (write(2, 5, 10), write(1, 0, 5), read(1, 20, 21))),
    (True, (write(1, 0, 2), swap(1, 2, 3, 4), write(3, 10, 12), swap(3, 4, 13, 14), read(4, 15, 16))),
    (False, (write(1, 0, 10), read(1, 1, 2), look(1, 4, 5), read(1, 6, 7))),
    (True, (write(1, 0, 10), look(1, 2, 3), read(1, 20, 21))),
    (True, (write(1, 0, 2), look(1, 2, 3), read(1, 4, 5))),
    (True, (write(1, 0, 1), look(1, 3, 4), read(1, 4, 5), write(2, 4, 6))),
    (True, (write(1, 0, 1), write(2, 3, 9), look(1, 4, 5))),
    (False, (write(1, 0, 1), look(1, 4, 5), write(2, 6, 9))),
    (False, (write(1, 0, 1), look(1, 4, 5), swap(1, 2, 6, 9))),
    (True, (write(1, 0, 1), look(1, 4, 5), swap(1, 2, 5, 9))),
    (True, (write(1, 0, 1), look(1, 4, 5), write(2, 3))),
    (True, (write(1, 0, 9), write(2, 0, 9), look(1, 2, 3), look(2, 4, 5), read(1, 20, 21))),
    (False, (write(1, 0, 9), write(2, 0, 9), look(0, 2, 3), look(1, 4, 5), look(2, 6, 7), look(1, 8, 8), look(2, 9, 9))),
    (False, (write(1, 0, 9), write(2, 0, 9), look(1, 3, 4), look(0, 1, 2), look(2, 5, 6), read(2, 20, 21))),
    (False, (swap(1, 2, 0, 9), swap(2, 3, 0, 9), swap(3, 1, 0, 9))),
    (True, tuple(f(1, at, at + 1, key=key) for key in "xy" for f, at in ((write, 0), (read, 2)))),
    (True, (write(1, 0, 1), swap(1, 2, 2, 6), read(1, 5, 6), read(2, 4, 5))),
    (True, (write(1, 0, 1), swap(1, 2, 2, 5), read(1, 5, 6), read(2, 5, 6))),
    (False, (write(1, 0, 30), swap(1, 2, 0, 30), read(2, 1, 2), read(2, 20, 21), write(3, 5, 6))),
    (True, (write(1, 0, 1), read(1, 5, 6), write(2, 2, 5), read(2, 10, 11))),
    (True, (write(1, 0, 1), read(1, 2, 3), write(2, 4, 5), write(1, 6, 7), read(1, 8, 9))),
    (False, (write(1, 0, 1), write(2, 2, 3), write(1, 4, 5), read(2, 6, 7))),
    (False, (write(1, 0, 1), read(1, 8, 9), read(1, 2, 3), write(2, 4, 5))),
    (False, (write(1, 3, 4), read(1, 0, 2), read(1, 5, 6))),
    (True, (write(1, 0, 1), *(swap(old, new, 3 * at, 3 * at + 1) for at, old, new in CHAIN), read(7, 20, 21))),
    (True, (write(7, 0, 1), swap(7, 8, 2, 3), write(1, 4, 5), swap(1, 2, 6, 7), read(2, 8, 9))),
    (True, (write(1, 0, 1), read(1, 9, 10), write(2, 5, 9))),
    (False, (write(3, 5, 38), look(0, 0, 5), write(1, 11, 18), read(1, 28, 28), look(1, 34, 38))),
]
"""Histories that hang on one condition each, and whether an order explains them."""


@pytest.mark.parametrize(("right", "told"), EDGES)
def test_what_hangs_on_one_condition_is_judged_rightly(*, right: bool, told: tuple[Call, ...]) -> None:
    calls = calls_of(told, numbers=True)
    assert explained(calls, "register") is right
    assert (judge(calls, Budget()).verdict is not Verdict.FAIL) is right


def judged_of(*told: Call, steps: int = 100_000) -> Judged:
    return judge(calls_of(told), Budget(steps=steps))


def kinds(*told: Call) -> dict[str, int]:
    return dict(judged_of(*told).counts)


def test_a_read_of_what_was_written_passes() -> None:
    assert judged_of(write("a", 0, 1), read("a", 2, 3)).verdict is Verdict.PASS


def test_nothing_read_is_unknown() -> None:
    told = judged_of(write("a", 0, 1), read(None, 2, 3))
    assert told.verdict is Verdict.UNKNOWN
    assert told.operations == 2
    assert told.reads == 0


def test_an_empty_history_is_unknown() -> None:
    assert judged_of().verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("phantom-read", (write("a", 0, 1), read("b", 2, 3))),
        ("aborted-read", (write("a", 0, 1, ended=Ended.FAIL), read("a", 2, 3))),
        ("future-read", (read("a", 0, 1), write("a", 2, 3))),
        ("stale-read", (write("a", 0, 1), write("b", 2, 3), read("a", 4, 5))),
        ("stale-read", (write("a", 0, 1), read(INITIAL_TEXT, 2, 3))),
        ("stale-read", (write("a", 0), read("a", 1, 2), write("b", 3, 4), read("a", 5, 6))),
        ("stale-read", (write("a", 0, 9), swap("a", "b", 0, 2), read("a", 4, 5))),
        ("stale-read", (write("a", 0, 9), swap("a", "b", 0, 9), read("b", 0, 2), read("a", 4, 5))),
        ("phantom-swap", (swap("a", "b", 0, 1),)),
        ("phantom-swap", (swap("a", "b", 0), read("b", 2, 3))),
        ("aborted-swap", (write("a", 0, 1, ended=Ended.FAIL), swap("a", "b", 2, 3))),
        ("future-swap", (swap("a", "b", 0, 1), write("a", 2, 3))),
        ("stale-swap", (write("a", 0, 1), write("b", 2, 3), swap("a", "c", 4, 5))),
        ("lost-update", (write("a", 0, 1), swap("a", "b", 2, 5), swap("a", "c", 2, 5))),
        ("lost-update", (swap(INITIAL_TEXT, "b", 2, 5), swap(INITIAL_TEXT, "c", 2, 5))),
        ("circular-swap", (swap("a", "b", 0, 9), swap("b", "a", 0, 9))),
        ("order-conflict", (write("a", 0, 9), write("b", 0, 9), read("a", 1, 2), read("b", 3, 4), read("a", 5, 6))),
        ("order-conflict", (write("a", 0), read("a", 1, 2), read(INITIAL_TEXT, 3, 4))),
        ("order-conflict", (write("a", 0, 9), swap("a", "b", 0, 9), swap("b", "c", 0, 9), read("c", 1, 2), read("a", 4, 5))),
    ],
)
def test_each_kind_is_found_and_named_and_proves_itself(kind: str, told: tuple[Call, ...]) -> None:
    calls = calls_of(told)
    found = judge(calls, Budget())
    assert found.verdict is Verdict.FAIL
    assert kind in found.counts
    violation = next(violation for violation in found.violations if violation.kind == kind)
    assert kind in judge(calls.take(violation.rows), Budget()).counts
    assert violation.because


def test_staleness_is_told_in_ns_and_the_worst_comes_first() -> None:
    told = judged_of(write("a", 0, 10), write("b", 20, 30), read("a", 34, 50), read("a", 130, 140), read("a", 90, 95))
    assert told.counts == {"stale-read": 3}
    assert [violation.size_ns for violation in told.violations] == [100, 60, 4]
    assert [one.why for one in told.violations[0].because] == [Why.SAW, Why.BEFORE, Why.BEFORE]
    assert told.violations[0].rows[0] in (0, 3)


def test_the_same_instant_is_not_before() -> None:
    assert judged_of(write("a", 0, 2), write("b", 2, 4), read("a", 4, 5)).verdict is Verdict.PASS


def test_a_read_answered_by_what_may_still_happen_passes() -> None:
    assert judged_of(write("a", 0), read(INITIAL_TEXT, 5, 6), read("a", 7, 8)).verdict is Verdict.PASS


def test_a_chain_of_swaps_without_ends_is_seen_backwards() -> None:
    assert judged_of(write("a", 0), swap("a", "b", 1), swap("b", "c", 2), read("c", 8, 9)).verdict is Verdict.PASS
    assert kinds(write("a", 0), swap("a", "b", 1), swap("b", "c", 2), read("c", 8, 9), read("a", 10, 11)) == {"order-conflict": 1}


def test_a_value_replaced_by_itself_is_a_read_of_it() -> None:
    assert judged_of(write("a", 0, 1), swap("a", "a", 2, 3), read("a", 4, 5)).verdict is Verdict.PASS
    assert kinds(write("a", 0, 1), swap("b", "b", 2, 3)) == {"phantom-read": 1}


def test_keys_do_not_explain_each_other() -> None:
    assert kinds(write("a", 0, 1, key="x"), read("a", 2, 3, key="y")) == {"phantom-read": 1}
    assert judged_of(write("a", 0, 1, key="x"), write("a", 0, 1, key="y"), read("a", 2, 3, key="y")).verdict is Verdict.PASS
    assert kinds(write("a", 0, 1, key="x", ended=Ended.FAIL), write("a", 0, 1, key="z"), read("a", 2, 3, key="y")) == {"phantom-read": 1}


def test_a_swap_that_answered_another_value_while_its_own_was_there_is_wrong() -> None:
    told = calls_of([write(1, 0, 1), look(1, 2, 3), read(1, 4, 5)], numbers=True)
    assert dict(judge(told, Budget()).counts) == {"false-mismatch": 1}


def test_a_swap_that_was_only_refused_says_nothing_of_what_was_there() -> None:
    assert judged_of(write("a", 0, 1), swap("a", "b", 2, 3, ended=Ended.FAIL), read("a", 4, 5)).verdict is Verdict.PASS


def test_looks_that_cannot_all_be_right_are_found_by_the_search() -> None:
    told = [write(1, 0, 20), write(2, 0, 20), look(0, 2, 3), look(1, 4, 5), look(2, 6, 7)]
    assert judge(calls_of(told[:4], numbers=True), Budget()).verdict is Verdict.PASS
    wrong = calls_of([*told, look(1, 8, 9)], numbers=True)
    assert not explained(wrong, "register")
    assert judge(wrong, Budget()).counts == {"not-linearizable": 1}
    hurried = judge(wrong, Budget(steps=1))
    assert hurried.verdict is Verdict.UNKNOWN
    assert any("failed compare-and-sets" in doubt for doubt in hurried.undecided)


def test_keys_where_values_repeat_are_searched_within_the_budget() -> None:
    told = (write("a", 0, 1), write("b", 2, 3), write("a", 4, 5), read("a", 6, 7))
    assert judged_of(*told).verdict is Verdict.PASS
    assert judged_of(*told, read("b", 8, 9)).counts == {"not-linearizable": 1}
    hurried = judged_of(*told, steps=1)
    assert hurried.verdict is Verdict.UNKNOWN
    assert "gave up" in hurried.undecided[0]


def test_what_registers_have_not_leaves_its_key_unknown_and_others_are_judged() -> None:
    strange = Call(f=F.APPEND, key="x", arg="a", call_ns=0, ret_ns=1, ended=Ended.OK)
    told = (strange, read("a", 2, 3, key="x"), write("a", 0, 1, key="y"))
    assert judged_of(*told, read("a", 2, 3, key="y")).verdict is Verdict.UNKNOWN
    assert judged_of(*told, read("b", 2, 3, key="y")).counts == {"phantom-read": 1}


def test_a_write_that_does_not_tell_its_value_leaves_its_key_unknown() -> None:
    blind = Call(f=F.WRITE, call_ns=0, ret_ns=1, ended=Ended.OK)
    assert judged_of(blind, read("a", 2, 3)).verdict is Verdict.UNKNOWN


def test_codes_and_instants_may_be_anywhere() -> None:
    scale = (1 << 61) // 10
    for keys in (1, 3):
        told = [
            Call(f=F.WRITE, key=str(key), arg=(10 + key) << 40, call_ns=-scale * 9, ret_ns=-scale * 8, ended=Ended.OK)
            for key in range(keys)
        ]
        good = [replace(one, f=F.READ, arg=None, result=one.arg, call_ns=scale * 8, ret_ns=scale * 9) for one in told]
        assert judge(calls_of([*told, *good], numbers=True), Budget()).verdict is Verdict.PASS
        late = [replace(one, f=F.WRITE, arg=7, call_ns=0, ret_ns=scale) for one in told]
        assert judge(calls_of([*told, *late, *good], numbers=True), Budget()).counts == {"stale-read": keys}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_every_verdict_is_the_one_of_all_orders_tried(name: str) -> None:
    seen: Counter[bool] = Counter()
    for number, calls in enumerate(histories(RECIPES[name], seed=7, count=COUNT)):
        found, right = judge(calls, Budget()), explained(calls, "register")
        assert (found.verdict is Verdict.FAIL) is not right, f"history {number}: {found}"
        assert right or found.verdict is Verdict.FAIL
        assert not right or found.reads == 0 or found.verdict is Verdict.PASS, f"history {number}: {found}"
        _proves_itself(calls, found)
        seen[right] += 1
    assert min(seen[True], seen[False]) > COUNT // 40


def _proves_itself(calls: Calls, found: Judged) -> None:
    for violation in found.violations:
        assert violation.kind in KINDS
        assert len(set(violation.rows)) == len(violation.rows)
        assert judge(calls.take(violation.rows), Budget()).verdict is Verdict.FAIL, violation
        assert not explained(calls.take(violation.rows), "register"), violation
        for one in violation.because:
            assert {one.a, one.b} <= {*violation.rows, -1}
            if one.why is Why.BEFORE:
                assert calls.ret_ns[one.a] < calls.call_ns[one.b], violation
            if one.why in (Why.SAW, Why.REPLACED):
                _saw(calls, one.a, one.b)


def _saw(calls: Calls, seer: int, writer: int) -> None:
    wrote = calls.arg2[writer] if calls.f[writer] == F.CAS else calls.arg[writer]
    saw = calls.arg[seer] if calls.f[seer] == F.CAS else calls.result[seer]
    assert wrote == saw != NOTHING


def test_the_order_of_rows_and_the_names_of_keys_do_not_matter() -> None:
    dice = np.random.default_rng(3)
    for calls in histories(SWAPS, seed=5, count=100):
        turned = calls.take(dice.permutation(len(calls)))
        turned = replace(turned, key=(turned.key + 3).astype(np.int32), keys=("", "", "", *turned.keys))
        assert judge(turned, Budget()).counts == judge(calls, Budget()).counts
