"""Each condition of the monitor of counters is needed: without it a test or a small history goes wrong."""

from __future__ import annotations

from types import ModuleType

import pytest

from harness.monitors import counter
from harness.monitors.calls import F
from tests.monitors import test_counter
from tests.monitors.agreement import fails, noticed_by
from tests.monitors.histories import Recipe
from tests.monitors.mutation import Mutant, noticed

RECIPES = (
    Recipe(model="counter", keys=2, told=0.5),
    Recipe(model="counter", fs=(F.READ, F.ADD), most=9, width=25, pending=0.05),
    Recipe(model="counter", most=9, width=15, pending=0.3, told=0.8),
    Recipe(model="counter", amounts=(1, 2, -1)),
)

MUTANTS = (
    Mutant(why="an unanswered read tells", fragment=" & (calls.result != NOTHING)", instead=""),
    Mutant(why="a pending answer tells", fragment="took_part & (calls.ended == Ended.OK) & ", instead="took_part & "),
    Mutant(why="what was refused happened", fragment="took_part = kept & (calls.ended != Ended.FAIL)", instead="took_part = kept"),
    Mutant(why="different amounts are alike", fragment="np.where(least == most, least, 0)", instead="least"),
    Mutant(why="numbers are not counted in steps", fragment=" // step[calls.key[rows]]", instead=""),
    Mutant(why="tickets may be zero", fragment="(told.number < told.ticket)", instead="(told.number < 0)"),
    Mutant(why="numbers between steps may be", fragment=" | (told.number * step != told.calls.result[told.rows])", instead=""),
    Mutant(
        why="impossible numbers go on to count",
        fragment="told.but(wrong) if wrong.any() else told\n    wrong = told.number > _begun(told, told.adds)",
        instead="told\n    wrong = told.number > _begun(told, told.adds)",
    ),
    Mutant(why="tickets of one number in two keys are one", fragment="(np.diff(told.keys[tickets]) == 0) & ", instead=""),
    Mutant(why="two tickets may have one number", fragment="wrong = _same_numbers(told, found)", instead="wrong = told.number < 0"),
    Mutant(
        why="reads went back as tickets do",
        fragment="slots.high[slots.of_answer + ~told.ticket] < ",
        instead="slots.high[slots.of_answer] < ",
    ),
    Mutant(
        why="tickets went back as reads do",
        fragment="slots.high[slots.of_answer + ~told.ticket] < ",
        instead="slots.high[slots.of_answer + 1] < ",
    ),
    Mutant(why="numbers may go back", fragment="< told.at.call[told.rows]\n    found", instead="< 0 * told.at.call[told.rows]\n    found"),
    Mutant(
        why="what went back still bounds",
        fragment="        told = told.but(wrong)\n        slots = _Slots.of(told)\n",
        instead="        pass\n",
    ),
    Mutant(
        why="tickets above count below",
        fragment="_begun(told, told.blind) + given[slots.of_answer] - given[slots.of_answer - told.number]",
        instead="_begun(told, told.adds)",
    ),
    Mutant(why="tickets below do not count", fragment=" + given[slots.of_answer] - given[slots.of_answer - told.number]", instead=""),
    Mutant(why="tickets of other keys count", fragment=" - given[slots.of_answer - told.number]", instead=""),
    Mutant(why="additions of other keys had begun", fragment='"right") - first\n    return by', instead='"right")\n    return by'),
    Mutant(
        why="additions that begin at the end had not begun",
        fragment='told.at.ret[told.rows], "right") - first',
        instead='told.at.ret[told.rows], "left") - first',
    ),
    Mutant(why="higher numbers do not bound", fragment="        high = np.minimum.accumulate(high[::-1])[::-1]\n", instead=""),
    Mutant(why="lower numbers do not bound", fragment="low=np.maximum.accumulate(low)", instead="low=low"),
    Mutant(why="a number says nothing of its end", fragment="        at_least(slot, at.ret[rows], high)\n", instead=""),
    Mutant(why="the slot before all may be had", fragment="        high[first[:-1]] = at.before(keys)\n", instead=""),
    Mutant(why="slots are taken again", fragment="            free[slot] = slot + 1\n", instead=""),
    Mutant(why="slots behind the last may be had", fragment="        if slot <= last:", instead="        if slot < slots:"),
    Mutant(why="what ends as an answer begins is before it", fragment='at.ret[blind], "right") - 1', instead='at.ret[blind], "left") - 1'),
    Mutant(
        why="what fits behind all must have a slot",
        fragment="must = last < slots.first[1:][told.calls.key[blind]] - 1",
        instead="must = last < slots.first[1:][told.calls.key[blind]]",
    ),
    Mutant(
        why="pairs are made in any order",
        fragment='order = np.argsort(last, kind="stable")\n        rows, first',
        instead='order = np.argsort(-last, kind="stable")\n        rows, first',
    ),
    Mutant(
        why="slots that end before the call fit",
        fragment="first = np.searchsorted(slots.high, at.call[rows])",
        instead="first = slots.first[told.calls.key[rows]] + 1",
    ),
    Mutant(why="the crowd is the job alone", fragment="return np.append(owner[begin : end + 1], job)", instead="return np.array([job])"),
    Mutant(why="sums have no upper bound", fragment="np.flatnonzero(number > high)", instead="np.flatnonzero(number > high)[:0]"),
    Mutant(why="sums have no lower bound", fragment="np.flatnonzero(number < low)", instead="np.flatnonzero(number < low)[:0]"),
    Mutant(why="falls that may be are not in the lower bound", fragment="rose + may_fall + ", instead="rose + "),
    Mutant(why="falls that must be are not in the upper bound", fragment="may_rise + fell + ", instead="may_rise + "),
    Mutant(why="one's own rise is not in its number", fragment=" + np.maximum(own, 0), may", instead=", may"),
    Mutant(why="one's own fall is not in its number", fragment=" + np.minimum(own, 0)\n", instead="\n"),
    Mutant(
        why="sums are of all keys", fragment="sums[until] - sums[np.searchsorted(when, at.before(calls.key[told]))]", instead="sums[until]"
    ),
    Mutant(why="numbers only rise although some amounts fall", fragment="told[~falls], 1, found", instead="told, 1, found"),
    Mutant(why="numbers only fall although some amounts rise", fragment="told[falls & ~rises], -1", instead="told[falls], -1"),
    Mutant(
        why="numbers of other keys went before",
        fragment="offset = calls.key[told].astype(np.int64) * (len(numbers) + 1)",
        instead="offset = np.zeros(len(told), dtype=np.int64)",
    ),
    Mutant(why="one's own addition is no step", fragment="(calls.result[told] - own) * sign", instead="calls.result[told] * sign"),
    Mutant(
        why="different amounts are not searched", fragment="(many <= SMALL)[calls.key[rows]] & ", instead="(many < 0)[calls.key[rows]] & "
    ),
    Mutant(why="what is not searched is decided", fragment="    if large:", instead="    if large < 0:"),
    Mutant(why="given slots are free", fragment="np.cumsum(~slots.given)", instead="np.cumsum(slots.given | True)"),
)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.why)
def test_each_condition_of_counters_is_needed(mutant: Mutant) -> None:
    def differs(made: ModuleType) -> bool:
        return fails(test_counter, "counter", made) or noticed_by(made.judge, RECIPES)

    assert noticed(counter, mutant, differs)
