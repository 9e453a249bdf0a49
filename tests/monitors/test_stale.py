"""How old reads are, against the definition read out for each read alone."""

from __future__ import annotations

import os
from functools import cache
from types import ModuleType

import pytest

from harness.monitors import stale
from harness.monitors.calls import INITIAL, NEVER, Call, Calls, Ended, F, calls_of
from harness.monitors.judged import Why
from harness.verdict import Verdict
from tests.monitors.histories import Recipe, histories
from tests.monitors.mutation import Mutant, noticed

LONG = os.environ.get("JETABLE_LONG") == "1"
MS = 1_000_000
RECIPES = (Recipe(model="register", most=10, keys=2), Recipe(model="register", most=10, keys=3, fs=(F.READ, F.WRITE), width=6))


def write(value: str, call_ms: int, ret_ms: int, *, key: str = "k") -> Call:
    return Call(f=F.WRITE, arg=value, call_ns=call_ms * MS, ret_ns=ret_ms * MS, ended=Ended.OK, key=key)


def read(value: str, call_ms: int, ret_ms: int, replica: str = "web.1", *, key: str = "k") -> Call:
    return Call(f=F.READ, result=value, call_ns=call_ms * MS, ret_ns=ret_ms * MS, ended=Ended.OK, key=key, replica=replica)


OLD_AT_WEB_2 = calls_of(
    [
        write("a", 0, 1),
        write("b", 2, 3),
        read("b", 4, 5),
        read("a", 10, 11, "web.2"),
        read("a", 20, 21, "web.2"),
        read("b", 23, 24, "web.2"),
    ]
)


def test_a_read_lags_since_its_value_was_certainly_overwritten() -> None:
    measured = stale.staleness(OLD_AT_WEB_2)
    assert (measured.lag_ns // MS).tolist() == [0, 7, 17, 0]
    assert measured.stale.tolist() == [False, True, True, False]
    assert (measured.quantile_ns(0.5) // MS, measured.quantile_ns(1.0) // MS) == (7, 17)
    assert measured.over.tolist() == [-1, 1, 1, -1]


def test_a_write_that_overlaps_another_may_have_come_first() -> None:
    assert stale.staleness(calls_of([write("a", 0, 2), write("b", 2, 3), read("a", 10, 11)])).lag_ns.tolist() == [0]


def test_a_value_that_was_read_had_taken_effect_before_its_write_was_answered() -> None:
    calls = calls_of([write("a", 0, 9), read("a", 1, 2), write("b", 3, 4), read("a", 10, 11)])
    measured = stale.staleness(calls)
    assert measured.lag_ns.tolist() == [0, 6 * MS]
    assert measured.shown_by.tolist() == [1, 1]


def test_a_swap_has_replaced_what_it_asked_for() -> None:
    swap = Call(f=F.CAS, arg="a", arg2="b", call_ns=1 * MS, ret_ns=3 * MS, ended=Ended.OK, key="k")
    assert stale.staleness(calls_of([write("a", 0, 9), swap, read("a", 10, 11)])).lag_ns.tolist() == [7 * MS]


def test_of_two_swaps_of_one_value_the_first_acknowledged_counts() -> None:
    swaps = [
        Call(f=F.CAS, arg="a", arg2=new, call_ns=MS, ret_ns=ret_ms * MS, ended=Ended.OK, key="k") for new, ret_ms in (("b", 3), ("c", 5))
    ]
    for ordered in (swaps, swaps[::-1]):
        assert stale.staleness(calls_of([write("a", 0, 9), *ordered, read("a", 10, 11)])).lag_ns.tolist() == [7 * MS]


def test_a_later_swap_does_not_make_a_read_fresher() -> None:
    swap = Call(f=F.CAS, arg="a", arg2="c", call_ns=4 * MS, ret_ns=6 * MS, ended=Ended.OK, key="k")
    assert stale.staleness(calls_of([write("a", 0, 1), write("b", 2, 3), swap, read("a", 10, 11)])).lag_ns.tolist() == [7 * MS]


def test_of_two_reads_the_one_that_ended_first_shows_the_effect() -> None:
    shown = [read("a", 1, 2), read("a", 1, 5)]
    for ordered in (shown, shown[::-1]):
        assert stale.staleness(calls_of([write("a", 0, 9), *ordered, write("b", 3, 4), read("a", 10, 11)])).lag_ns.tolist()[-1] == 6 * MS


def test_the_proof_says_when_the_value_had_taken_effect() -> None:
    calls = calls_of([write("a", 0, 9), read("a", 1, 2, "web.2"), write("b", 3, 4), read("a", 10, 11)])
    (violation,) = stale.judge_within(calls, MS).violations
    assert [(fact.why, fact.a, fact.b) for fact in violation.because] == [
        (Why.SAW, 3, 0),
        (Why.SAW, 1, 0),
        (Why.BEFORE, 1, 2),
        (Why.BEFORE, 2, 3),
    ]


def test_what_is_there_at_first_is_overwritten_by_any_write() -> None:
    assert stale.staleness(calls_of([write("a", 0, 1), read("nil", 5, 6)])).lag_ns.tolist() == [4 * MS]
    assert stale.staleness(calls_of([write("a", 0, 1, key="other"), read("nil", 5, 6)])).lag_ns.tolist() == [0]


def test_the_time_until_a_replica_knew_a_write_is_told() -> None:
    one, two = stale.known(OLD_AT_WEB_2)
    assert (one.writes.tolist(), (one.after_ns // MS).tolist()) == ([0, 1], [4, 2])
    assert (two.writes.tolist(), (two.after_ns // MS).tolist()) == ([0, 1], [10, 21])
    in_vain = stale.known(OLD_AT_WEB_2.take([0, 1, 3, 4]))
    assert [NEVER if after == NEVER else after // MS for after in in_vain[0].after_ns.tolist()] == [10, NEVER]


def test_a_promise_of_freshness_is_kept_or_broken() -> None:
    assert stale.judge_within(OLD_AT_WEB_2, 17 * MS).verdict is Verdict.PASS
    said = stale.judge_within(OLD_AT_WEB_2, 16 * MS)
    assert (said.verdict, said.counts) == (Verdict.FAIL, {"stale-beyond-bound": 1})
    assert said.violations[0].rows == (0, 1, 4)
    assert said.violations[0].size_ns == 17 * MS


def test_a_promise_that_was_never_tried_is_not_judged() -> None:
    assert stale.judge_within(OLD_AT_WEB_2, 60 * MS).verdict is Verdict.UNKNOWN
    assert stale.judge_within(calls_of([write("a", 0, 1)]), MS).verdict is Verdict.UNKNOWN
    assert stale.judge_within(calls_of([Call(f=F.ADD, arg="a", call_ns=0)]), MS).verdict is Verdict.UNKNOWN


def written_by(calls: Calls, key: int, value: int) -> int:
    """The row that may have written ``value``; -1 for the first one, -2 for nobody."""
    if value == INITIAL:
        return -1
    for row in range(len(calls)):
        new = calls.arg2[row] if calls.f[row] == F.CAS else calls.arg[row]
        if calls.key[row] == key and calls.f[row] != F.READ and calls.ended[row] != Ended.FAIL and new == value:
            return row if calls.f[row] == F.WRITE or calls.result[row] != 0 else -2
    return -2


def reads(calls: Calls) -> dict[int, int]:
    """Each acknowledged read or swap that saw what somebody can have written by then, and that."""
    found = {}
    for row in range(len(calls)):
        if calls.f[row] == F.WRITE or calls.ended[row] != Ended.OK or (calls.f[row] == F.CAS and calls.result[row] == 0):
            continue
        value = int(calls.arg[row] if calls.f[row] == F.CAS else calls.result[row])
        writer = written_by(calls, int(calls.key[row]), value)
        if writer == -1 or (writer >= 0 and calls.call_ns[writer] <= calls.ret_ns[row]):
            found[row] = writer
    return found


def lags(calls: Calls) -> dict[int, int]:
    """The lag of each read, by its definition."""
    saw = reads(calls)
    found = {}
    for row, writer in saw.items():
        if calls.f[row] != F.READ:
            continue
        effect_ns = -1 << 60 if writer < 0 else min(int(calls.ret_ns[one]) for one in (writer, *(r for r, w in saw.items() if w == writer)))
        ends = [
            int(calls.ret_ns[other])
            for other in range(len(calls))
            if calls.f[other] != F.READ and calls.ended[other] == Ended.OK and calls.key[other] == calls.key[row]
            if not (calls.f[other] == F.CAS and calls.result[other] == 0)
            if calls.call_ns[other] > effect_ns or (calls.f[other] == F.CAS and saw.get(other) == writer)
        ]
        found[row] = max(0, int(calls.call_ns[row]) - min(ends, default=NEVER))
    return found


@cache
def cases(seed: int, count: int) -> tuple[tuple[Calls, dict[int, int]], ...]:
    """Histories, and the lags of their reads by definition."""
    return tuple((calls, lags(calls)) for recipe in RECIPES for calls in histories(recipe, seed=seed, count=count))


def differs(module: ModuleType, seed: int = 1, count: int = 250) -> bool:
    """Whether the module measures or proves anything otherwise."""
    for calls, right in cases(seed, count):
        measured = module.staleness(calls)
        if dict(zip(measured.rows.tolist(), measured.lag_ns.tolist(), strict=True)) != right:
            return True
        said = module.judge_within(calls, 5)
        if said.counts.get("stale-beyond-bound", 0) != sum(lag > 5 for lag in right.values()):
            return True
        for violation in said.violations:
            alone = module.judge_within(calls.take(violation.rows), 5)
            if alone.verdict is not Verdict.FAIL or alone.violations[0].size_ns != violation.size_ns:
                return True
    return False


@pytest.mark.slow
def test_lags_are_what_their_definition_says() -> None:
    assert not any(differs(stale, seed) for seed in range(1, 500 if LONG else 2))


MUTANTS = (
    ("a read shows an effect only if it ended sooner", "calls.ret_ns[rows] < calls.ret_ns[writer]", "rows > -1"),
    (
        "only acknowledged writes replace",
        "acked = writers.rows[calls.ended[writers.rows] == Ended.OK]\n    if",
        "acked = writers.rows\n    if",
    ),
    ("a write at the same instant overlaps", 'after_ns, "right")', 'after_ns, "left")'),
    ("keys are apart", "(at < count) & (events.key[found] == key)", "(at < count)"),
    ("the first acknowledgement counts", "events.value_ns[order], kind", "-events.value_ns[order], kind"),
    ("swaps replace", "    _add_swaps(calls, what, over)\n    return", "    return"),
    ("a lag is never negative", "lag_ns=np.where(stale, lag_ns, 0)", "lag_ns=lag_ns"),
)


@pytest.mark.slow
@pytest.mark.parametrize(("why", "fragment", "instead"), MUTANTS, ids=[why for why, _, _ in MUTANTS])
def test_each_condition_is_needed(why: str, fragment: str, instead: str) -> None:
    assert noticed(stale, Mutant(why=why, fragment=fragment, instead=instead), differs)
