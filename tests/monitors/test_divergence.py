"""What is there at the end: telling cases of each kind, and never a finding about a history that some order explains."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from types import ModuleType

import numpy as np
import pytest

from harness.monitors import divergence
from harness.monitors.calls import NEVER, Call, Calls, Ended, F, calls_of
from harness.monitors.judged import Budget, Judged
from harness.verdict import Verdict
from tests.monitors.histories import Recipe, histories
from tests.monitors.mutation import Mutant, noticed
from tests.monitors.oracle import explained

LONG = os.environ.get("JETABLE_LONG") == "1"
OK, FAIL, INFO = Ended.OK, Ended.FAIL, Ended.INFO


def change(f: F, value: str | int, at: int, ended: Ended = OK, *, ret: int = 0, key: str = "k") -> Call:
    return Call(f=f, arg=value, call_ns=at, ret_ns=ret or at + 1, ended=ended, key=key)


def final(told: str | int | list[str], at: int, replica: str, ended: Ended = OK, *, key: str = "k") -> Call:
    result, items = (None, told) if isinstance(told, list) else (told, None)
    return Call(f=F.READ, result=result, items=items, call_ns=at, ret_ns=at + 1, ended=ended, key=key, replica=replica)


def judge(rows: list[Call], *, numbers: bool = False) -> Judged:
    calls = calls_of(rows, numbers=numbers)
    return said_of(divergence, calls, np.array([at for at, row in enumerate(rows) if row.f is F.READ and row.call_ns >= 100]))


def said_of(module: ModuleType, calls: Calls, rows: np.ndarray) -> Judged:
    said: Judged = module.judge_final(calls, rows, Budget())
    for violation in said.violations:
        taken = np.array(violation.rows, dtype=np.int64)
        alone = module.judge_final(calls.take(taken), np.flatnonzero(np.isin(taken, rows)), Budget())
        assert violation.kind in alone.counts, violation
        assert set(violation.rows) >= {row for fact in violation.because for row in (fact.a, fact.b) if row >= 0}
    return said


def kinds(rows: list[Call], *, numbers: bool = False) -> set[str]:
    said = judge(rows, numbers=numbers)
    assert (said.verdict is Verdict.FAIL) == bool(said.counts)
    return set(said.counts)


W, A, P, R = F.WRITE, F.ADD, F.APPEND, F.REMOVE


def test_replicas_that_agree_with_what_was_acknowledged_pass() -> None:
    assert judge([change(W, "a", 1), change(W, "b", 3), final("b", 100, "x"), final("b", 102, "y")]).verdict is Verdict.PASS
    assert judge([change(A, "a", 1), change(A, "b", 1), final(["b", "a"], 100, "x"), final(["a", "b"], 102, "y")]).verdict is Verdict.PASS
    assert judge([change(A, 1, 1), change(A, 1, 1), final(2, 100, "x"), final(2, 102, "y")], numbers=True).verdict is Verdict.PASS
    assert judge([change(P, "a", 1), change(P, "b", 3), final(["a", "b"], 100, "x"), final(["a", "b"], 102, "y")]).verdict is Verdict.PASS


def test_registers_that_differ_diverge() -> None:
    assert kinds([change(W, "a", 1, ret=9), change(W, "b", 2, ret=9), final("a", 100, "x"), final("b", 102, "y")]) == {"diverged"}


def test_an_overwritten_value_at_the_end_is_a_lost_write() -> None:
    both = judge([change(W, "a", 1), change(W, "b", 3), final("a", 100, "x"), final("a", 102, "y")])
    assert both.counts == {"lost-write": 2}
    assert both.violations[0].size_ns == 98
    assert kinds([change(W, "a", 1), change(W, "b", 3), final("b", 100, "x"), final("a", 102, "y")]) == {"lost-write", "diverged"}
    assert kinds([change(W, "a", 1), final("nil", 100, "x")]) == {"lost-write"}


def test_a_value_that_nobody_wrote_or_that_was_refused_is_told_apart() -> None:
    assert kinds([change(W, "a", 1, INFO), final("z", 100, "x")]) == {"unexpected-value"}
    assert kinds([change(W, "a", 1, FAIL), final("a", 100, "x")]) == {"resurrected"}
    assert kinds([change(A, "a", 1), final(["a", "z"], 100, "x")]) == {"unexpected-value"}
    assert kinds([change(A, "a", 1, FAIL), final(["a"], 100, "x")]) == {"resurrected"}


def test_a_change_on_its_way_may_come_between_two_reads_and_then_nothing_is_judged() -> None:
    unknown = judge([change(W, "a", 1), change(W, "b", 3, INFO), final("a", 100, "x"), final("b", 102, "y")])
    assert (unknown.verdict, unknown.counts) == (Verdict.UNKNOWN, {})
    assert kinds([change(W, "a", 1), change(W, "b", 3, INFO), final("b", 100, "x"), final("a", 102, "y")]) == {"diverged"}
    again = [final("a", 100, "x"), final("b", 102, "y"), final("a", 104, "x")]
    assert kinds([change(W, "a", 1), change(W, "b", 3, INFO), *again]) == {"diverged"}
    unknown = judge([change(A, "a", 1, INFO), final([], 100, "x"), final(["a"], 102, "y")])
    assert (unknown.verdict, unknown.counts) == (Verdict.UNKNOWN, {})
    assert kinds([change(A, "a", 1, INFO), final(["a"], 100, "x"), final([], 102, "y")]) == {"diverged"}
    unknown = judge([change(A, 1, 1, INFO), final(0, 100, "x"), final(1, 102, "y")], numbers=True)
    assert (unknown.verdict, unknown.counts) == (Verdict.UNKNOWN, {})
    assert kinds([change(A, 1, 1, INFO), final(1, 100, "x"), final(0, 102, "y")], numbers=True) == {"diverged"}


def test_a_removal_on_its_way_excuses_a_difference_once() -> None:
    told = [change(A, "a", 1), change(A, "z", 1), change(R, "a", 3, INFO)]
    unknown = judge([*told, final(["a", "z"], 100, "x"), final(["z"], 102, "y")])
    assert (unknown.verdict, unknown.counts) == (Verdict.UNKNOWN, {})
    assert kinds([*told, final(["z"], 100, "x"), final(["a", "z"], 102, "y")]) == {"diverged"}


def test_elements_that_are_missing_are_lost_writes() -> None:
    assert kinds([change(A, "a", 1), change(A, "b", 1), final(["a"], 100, "x"), final(["a"], 102, "y")]) == {"lost-write"}
    said = judge([change(A, "a", 1), change(A, "b", 1), final(["a", "b"], 100, "x"), final(["a"], 102, "y")])
    assert said.counts == {"diverged": 1, "lost-write": 1}
    lost = next(violation for violation in said.violations if violation.kind == "lost-write")
    assert (lost.because[0].n, lost.because[0].m, lost.size_ns) == (1, 2, 100)


def test_an_element_that_was_removed_is_not_lost_and_must_not_come_back() -> None:
    assert kinds([change(A, "a", 1), change(R, "a", 3), change(A, "z", 1), final(["z"], 100, "x")]) == set()
    assert kinds([change(A, "a", 1), change(R, "a", 3, INFO), change(A, "z", 1), final(["z"], 100, "x")]) == set()
    assert kinds([change(A, "a", 1), change(R, "a", 3, FAIL), change(A, "z", 1), final(["z"], 100, "x")]) == {"lost-write"}
    assert kinds([change(R, "a", 1), change(A, "a", 3), change(A, "z", 1), final(["z"], 100, "x")]) == {"lost-write"}
    assert kinds([change(A, "a", 1), change(R, "a", 3), final(["a"], 100, "x")]) == {"resurrected"}
    assert kinds([change(A, "a", 1), change(R, "a", 3, INFO), final(["a"], 100, "x")]) == set()
    assert kinds([change(A, "a", 1, ret=9), change(R, "a", 3), final(["a"], 100, "x")]) == set()
    assert kinds([change(A, "a", 1), change(R, "a", 3), change(A, "a", 5, INFO), final(["a"], 100, "x")]) == set()


def test_counters_lie_between_what_was_acknowledged_and_what_was_asked_for() -> None:
    adds = [change(A, 1, 1), change(A, 1, 3), change(A, 1, 5, INFO), change(A, 1, 7, FAIL)]
    assert [kinds([*adds, final(told, 100, "x")], numbers=True) for told in range(1, 5)] == [
        {"lost-increment"},
        set(),
        set(),
        {"counted-twice"},
    ]
    mixed = [change(A, 5, 1), change(A, -2, 3), change(A, -1, 5, INFO)]
    assert [kinds([*mixed, final(told, 100, "x")], numbers=True) for told in range(1, 5)] == [
        {"lost-increment"},
        set(),
        set(),
        {"counted-twice"},
    ]
    assert kinds([*adds, final(2, 100, "x"), final(3, 102, "y"), final(2, 104, "x")], numbers=True) == {"diverged"}


def test_a_number_may_fall_while_it_is_read() -> None:
    adds = [change(A, 3, 1), change(A, -1, 3, INFO)]
    assert judge([*adds, final(3, 100, "x"), final(2, 102, "y")], numbers=True).verdict is Verdict.UNKNOWN
    assert kinds([*adds, final(2, 100, "x"), final(3, 102, "y")], numbers=True) == {"diverged"}


def test_the_value_that_was_there_the_longest_tells_how_bad_it_is() -> None:
    said = judge([change(W, "a", 1, ret=9), change(W, "b", 2, ret=9), final("a", 100, "x"), final("b", 102, "y")])
    assert said.violations[0].size_ns == 93


def test_logs_that_have_entries_the_other_way_round_disagree() -> None:
    appends = [change(P, "a", 1, ret=9), change(P, "b", 2, ret=9), change(P, "c", 3, ret=9)]
    said = judge([*appends, final(["a", "b", "c"], 100, "x"), final(["a", "c", "b"], 102, "y")])
    assert said.counts == {"order-disagreement": 1}
    assert {fact.value for fact in said.violations[0].because} == {2, 3}


def test_an_entry_that_is_there_more_often_than_it_was_appended_is_counted_twice() -> None:
    assert kinds([change(P, "a", 1), final(["a", "a"], 100, "x")]) == {"counted-twice"}
    assert kinds([change(P, "a", 1), change(P, "a", 3, INFO), final(["a", "a"], 100, "x")]) == set()


def test_who_could_not_be_read_is_named() -> None:
    said = judge([change(W, "a", 1), final("a", 100, "x"), final("a", 102, "y", INFO)])
    assert said.verdict is Verdict.UNKNOWN
    assert said.undecided == ("y could not be read at the end: 1 of 1 keys, such as 'k'",)
    said = judge(
        [change(W, "a", 1), final("a", 100, "x"), final("a", 102, "y"), change(W, "b", 5, key="other"), final("b", 104, "x", key="other")]
    )
    assert said.undecided == ("y could not be read at the end: 1 of 2 keys, such as 'other'",)
    assert judge([change(W, "a", 1)]).verdict is Verdict.UNKNOWN


def test_the_budget_may_end_between_keys() -> None:
    calls = calls_of([change(A, "a", 1), final(["a"], 100, "x")])
    assert divergence.judge_final(calls, np.array([1]), Budget(over=lambda: True)).verdict is Verdict.UNKNOWN


def test_a_value_that_was_written_twice_is_judged_by_what_differs_alone() -> None:
    assert judge([change(W, "a", 1), change(W, "a", 3), final("a", 100, "x")]).verdict is Verdict.UNKNOWN
    told = [change(W, "a", 1), change(W, "b", 3), change(W, "a", 5)]
    assert kinds([*told, final("a", 100, "x"), final("b", 102, "y")]) == {"diverged"}
    assert kinds([*told, final("z", 100, "x")]) == {"unexpected-value"}
    late = judge([change(W, "a", 1, INFO), change(W, "b", 3), change(W, "a", 1), final("b", 100, "x"), final("a", 102, "y")])
    assert (late.verdict, late.counts) == (Verdict.UNKNOWN, {})
    unknown = judge([*told, change(W, "b", 7, INFO), final("a", 100, "x"), final("b", 102, "y")])
    assert (unknown.verdict, unknown.counts) == (Verdict.UNKNOWN, {})


def test_an_element_that_is_put_while_it_is_read_may_be_missing() -> None:
    assert kinds([change(A, "z", 1), change(A, "a", 99, ret=200), final(["z"], 100, "x")]) == set()


RECIPES = (
    Recipe(model="register", most=9, keys=2, pending=0.3, damaged=0.7),
    Recipe(model="set", most=9, fs=(F.ADD, F.ADD, F.REMOVE, F.READ), pending=0.3, damaged=0.7),
    Recipe(model="counter", most=8, pending=0.3, damaged=0.7),
    Recipe(model="counter", most=8, pending=0.3, damaged=0.7, amounts=(1, 2, -1)),
    Recipe(model="log", most=8, pending=0.3, damaged=0.7),
)


@cache
def cases(seed: int, count: int) -> tuple[tuple[Calls, str, bool], ...]:
    """Histories, what they are of, and whether some order explains them."""
    return tuple(
        (calls, recipe.model, explained(calls, recipe.model)) for recipe in RECIPES for calls in histories(recipe, seed=seed, count=count)
    )


def settled(calls: Calls) -> np.ndarray:
    """The reads that began when all that was acknowledged had ended."""
    done = calls.ret_ns[(calls.ended == OK) & (calls.f != F.READ)].max(initial=-NEVER)
    return np.flatnonzero((calls.f == F.READ) & (calls.call_ns > done))


def false_alarms(module: ModuleType, seed: int = 1, count: int = 150) -> Iterator[Calls]:
    """Histories that some order explains, and of which the module says that something is wrong."""
    for calls, model, right in cases(seed, count):
        if right and module.judge_final(calls, settled(calls), Budget(), model=model).counts:
            yield calls


@pytest.mark.slow
def test_what_some_order_explains_is_never_wrong_at_the_end() -> None:
    assert not any(calls for seed in range(1, 300 if LONG else 2) for calls in false_alarms(divergence, seed))


MUTANTS = (
    ("a value may come late only where it was not acknowledged", "not other.settled and other.first_ns >= self.last_ns", "False"),
    ("an element may come late", "came = ~settled & (first_has >= last_lacks)", "came = settled & False"),
    ("an element may go late", "went = ~kept & (first_lacks >= last_has)", "went = kept & False"),
    ("a number may rise late", "rose = high.code - low.code <= up and high.first_ns >= low.last_ns", "rose = False"),
    ("a number may fall late", "fell = high.code - low.code <= down and low.first_ns >= high.last_ns", "fell = False"),
    ("what may have been removed is not lost", "& ~removable[None, :]", "& True"),
    (
        "what was put again may be there",
        "elements.ns(calls.ret_ns, elements.tried, NEVER) < elements.ns(calls.call_ns, gone, -NEVER)",
        "gone > -9",
    ),
    ("a put must have ended", "(put_ns[None, :] < calls.call_ns[elements.reads][:, None])", "(put_ns[None, :] > -NEVER)"),
    ("a refused removal takes nothing", "~puts & (ended != Ended.FAIL) & (calls.result[changes] != 0)", "~puts"),
    ("a refused element is told apart", "if not elements.tries[at] and elements.refused[at] < 0:", "if not elements.tries[at]:"),
    ("a refused value is told apart", "if refused >= 0:", "if False:"),
    ("a removal has ended", "elif calls.ret_ns[gone[at]] < calls.call_ns[row]:", "elif False:"),
    ("only acknowledged reads count", "(calls.ended[final_rows] == Ended.OK)", "(calls.ended[final_rows] >= 0)"),
    ("who was not read is told", "    found.undecided += _unread(calls, final_rows, answered)\n", ""),
    ("other orders are seen", "< 0)\n        if len(turned):", "< -NEVER)\n        if len(turned):"),
    ("more than was appended is seen", "(times > elements.tries[at])", "(times > 9)"),
    ("a value that was written twice may come late", "ended_ns if self.writer == ONE_OF_SEVERAL else -NEVER", "-NEVER"),
    ("values that repeat name nobody", "& (writer != NOBODY), ONE_OF_SEVERAL, writer)", "& False, ONE_OF_SEVERAL, writer)"),
    ("the age of a value is told", "self.age_ns = self.last_ns - self.ends_ns if self.settled", "self.age_ns = 0 if self.settled"),
    ("too little is too little", "if told < least:", "if told < least - 1:"),
    ("too much is too much", "elif told > most:", "elif told > most + 1:"),
    ("refused additions do not count", "adds = of_key.changes[(calls.ended[of_key.changes] != Ended.FAIL) & ", "adds = of_key.changes["),
    ("less than nothing was added", "(begun & (amount < 0))", "(begun & (amount > 9))"),
    ("what is on its way may count", "(begun & (amount > 0))", "(done & (amount > 0))"),
)


TOLD = tuple(test for name, test in list(globals().items()) if name.startswith("test_") and "some_order" not in name)


def differs(module: ModuleType) -> bool:
    """Whether the module fails one of the cases above, or raises a false alarm."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "divergence", module)
        for test in TOLD:
            test()
    return any(True for _ in false_alarms(module))


@pytest.mark.slow
@pytest.mark.parametrize(("why", "fragment", "instead"), MUTANTS, ids=[why for why, _, _ in MUTANTS])
def test_each_condition_is_needed(why: str, fragment: str, instead: str) -> None:
    assert noticed(divergence, Mutant(why=why, fragment=fragment, instead=instead), differs)
