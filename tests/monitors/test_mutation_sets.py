"""Each condition of the monitor of sets, and of elements that only come, is needed: without it a test or a small history goes wrong."""

from __future__ import annotations

from types import ModuleType
from unittest.mock import patch

import pytest

from harness.monitors import grown, sets
from harness.monitors.calls import F
from tests.monitors import test_sets
from tests.monitors.agreement import fails, noticed_by
from tests.monitors.histories import Recipe
from tests.monitors.mutation import Mutant, noticed

RECIPES = (
    Recipe(model="set", fs=(F.ADD, F.ADD, F.READ), most=9, width=30, pending=0.05),
    Recipe(model="set", fs=(F.ADD, F.READ, F.CONTAINS), keys=2, repeats=0.1),
    Recipe(model="set", fs=(F.ADD, F.CONTAINS, F.CONTAINS, F.REMOVE), told=0.5, pending=0.2),
    Recipe(model="set", fs=(F.ADD, F.CONTAINS, F.REMOVE), told=0.5, repeats=0.2, width=25),
    Recipe(model="set", keys=2),
)

OF_SETS = (
    Mutant(
        why="what is removed is judged as if it only came", fragment="    rest[lives.about[removed[lives.about_of]]] = False\n", instead=""
    ),
    Mutant(why="whole reads keep what is removed", fragment="_without(calls, removed[lives.items])", instead="calls"),
    Mutant(why="whole reads beside removals are not searched", fragment="np.setdiff1d(mixed, wrong)", instead="mixed[:0]"),
    Mutant(why="what is added again is not searched", fragment="(lives.additions > 1) | ", instead=""),
    Mutant(why="what is removed again is not searched", fragment=" | (lives.removals > 1)", instead=""),
    Mutant(why="a removal that found nothing removes", fragment=" & ~nothing", instead=""),
    Mutant(why="what was refused happened", fragment=" & (ended != Ended.FAIL) & ~nothing", instead=" & ~nothing"),
    Mutant(why="a look that told nothing missed it", fragment=" & (result != NOTHING)\n    yes", instead="\n    yes"),
    Mutant(why="what nobody added may be there", fragment="removed & seen & (lives.additions == 0)", instead="removed & ~removed"),
    Mutant(why="a sure removal may be none", fragment="~certain & ", instead=""),
    Mutant(why="missing does not matter to what stays", fragment="np.maximum(born_call, missed_call)", instead="born_call"),
    Mutant(why="a removal may be forgotten", fragment="np.where(gone_end < last, gone_call, first)", instead="first"),
    Mutant(why="what stays need not be known", fragment=" & (from_on <= known)", instead=""),
    Mutant(why="seeing does not make known", fragment="known = np.minimum(born_end, seen_end)", instead="known = born_end"),
    Mutant(why="an acknowledgement does not make known", fragment="known = np.minimum(born_end, seen_end)", instead="known = seen_end"),
    Mutant(why="seeing does not need it there", fragment="np.maximum(born_call, seen_call), gone_call", instead="born_call, gone_call"),
    Mutant(
        why="a removal does not need it there", fragment="(np.maximum(born_call, seen_call), gone_call)", instead="(born_call, seen_call)"
    ),
    Mutant(why="missing after the proof began", fragment="(there[lives.no_of] < at.call[lives.no]) & ", instead=""),
    Mutant(why="missing before the need", fragment=" & (at.ret[lives.no] < needed[lives.no_of])", instead=""),
    Mutant(why="seen before it was added", fragment="(born_call <= there) & ", instead=""),
    Mutant(why="seen after it was removed", fragment=" & (needed <= gone_end)", instead=""),
    Mutant(why="missed while it was there", fragment=" & ~missed\n", instead="\n"),
    Mutant(why="removed twice is judged as once", fragment="(lives.removals == 1) & ", instead=""),
    Mutant(why="added twice is judged as once", fragment=" & (lives.additions == 1) & ~stays", instead=" & ~stays"),
    Mutant(why="an early read is not told", fragment="early = wrong & (seen_end < born_call)", instead="early = wrong & False"),
    Mutant(why="seen after removal is not told", fragment=" & (seen_call > gone_end)", instead=" & (seen_call > last)"),
    Mutant(why="an early removal counts as a late one", fragment=" & (born_call <= gone_end)", instead=""),
    Mutant(why="refusals are not known", fragment="    refused[lives.about_of[wanted]] = True\n", instead=""),
)

OF_GROWN = (
    Mutant(
        why="reads are in any order", fragment='reads = reads[np.argsort(at.call[reads], kind="stable")]', instead="reads = reads[::-1]"
    ),
    Mutant(why="a refused addition may have happened", fragment=" & chosen & (calls.ended != Ended.FAIL)", instead=" & chosen"),
    Mutant(why="an unanswered look tells", fragment="told = ok & chosen & (calls.result != NOTHING)", instead="told = chosen"),
    Mutant(
        why="looks do not count",
        fragment="((calls.f == F.CONTAINS) | (calls.f == F.REMOVE)) & told",
        instead="(calls.f == F.REMOVE) & told",
    ),
    Mutant(
        why="removals are no looks",
        fragment="((calls.f == F.CONTAINS) | (calls.f == F.REMOVE)) & told",
        instead="(calls.f == F.CONTAINS) & told",
    ),
    Mutant(why="twice in two reads is twice", fragment=" | (told.cell_rank[1:] != told.cell_rank[:-1])", instead=""),
    Mutant(why="a look that saw it has no end", fragment="    seen_end = at_least(yes, at.ret[yes_rows], seen_end)\n", instead=""),
    Mutant(why="a look that saw it has no call", fragment="    seen_call = at_most(yes, at.call[yes_rows], seen_call)\n", instead=""),
    Mutant(
        why="a look that missed it does not count", fragment="    lacked_call = at_most(no, at.call[no_rows], lacked_call)\n", instead=""
    ),
    Mutant(why="what nobody tried may be there", fragment="_strange(told, seen & ~tried, found)", instead="pass"),
    Mutant(why="refusals are not known", fragment="    refused[told.refused_of] = True\n", instead=""),
    Mutant(why="twice in one read may be", fragment="np.unique(told.cell_of[~once])", instead="told.cell_of[:0]"),
    Mutant(why="seen before it was added may be", fragment="early = tried & seen & (seen_end < called)", instead="early = tried & ~tried"),
    Mutant(why="seeing does not make known", fragment="known = np.minimum(sure, seen_end)\n    gone", instead="known = sure\n    gone"),
    Mutant(
        why="an acknowledgement does not make known",
        fragment="known = np.minimum(sure, seen_end)\n    gone",
        instead="known = seen_end\n    gone",
    ),
    Mutant(why="what was never tried is lost as well", fragment="gone = tried & ", instead="gone = "),
    Mutant(why="missing beside the acknowledgement is lost", fragment="(known < lacked_call)\n", instead="(known <= lacked_call)\n"),
    Mutant(why="what came back is lost", fragment="gone & (seen_call < lacked_call)", instead="gone"),
    Mutant(why="what is lost is stale as well", fragment="gone & (seen_call >= lacked_call)", instead="gone"),
    Mutant(why="what was seen was never read", fragment=" & ~seen & (lacked_call <= known)", instead=""),
    Mutant(why="the last lacking read is any", fragment="lacked = final_rank - run", instead="lacked = final_rank"),
    Mutant(
        why="gaps between reads do not matter",
        fragment="run[those] = np.add.reduceat(in_run, begins, dtype=np.int64)",
        instead="run[those] = stops - begins",
    ),
    Mutant(
        why="reads need not be a chain",
        fragment="np.flatnonzero(wrong), lambda one: _incomparable",
        instead="np.flatnonzero(wrong)[:0], lambda one: _incomparable",
    ),
    Mutant(
        why="what is wrong alone counts in the chain",
        fragment="cells = known.good[told.cell_of] & known.once",
        instead="cells = known.once",
    ),
    Mutant(
        why="what is there twice makes a read larger", fragment="known.good[told.cell_of] & known.once", instead="known.good[told.cell_of]"
    ),
    Mutant(
        why="reads of other keys are of one chain",
        fragment="(np.diff(keys[order]) != 0) | (np.diff(sizes[order]) != 0)",
        instead="(np.diff(sizes[order]) != 0)",
    ),
    Mutant(why="reads of one size are not one level", fragment=" | (np.diff(sizes[order]) != 0)])", instead="])"),
    Mutant(why="levels have no order in time", fragment='found.note("skipped-element", over, skip)', instead="pass"),
    Mutant(why="one level has an order in time", fragment="np.diff(level[order]) != 0", instead="True"),
    Mutant(
        why="a look does not make sure",
        fragment="sure = at_least(yes, at.ret[yes_rows], at_least(told.added, at.ret[told.adds], last.copy()))",
        instead="sure = at_least(told.added, at.ret[told.adds], last.copy())",
    ),
    Mutant(
        why="a look that missed it says nothing of its time",
        fragment="late = at_most(no, at.call[no_rows], called.copy())",
        instead="late = called",
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", OF_SETS, ids=lambda mutant: mutant.why)
def test_each_condition_of_sets_is_needed(mutant: Mutant) -> None:
    def differs(made: ModuleType) -> bool:
        return fails(test_sets, "sets", made) or noticed_by(made.judge, RECIPES)

    assert noticed(sets, mutant, differs)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", OF_GROWN, ids=lambda mutant: mutant.why)
def test_each_condition_of_what_only_comes_is_needed(mutant: Mutant) -> None:
    def differs(made: ModuleType) -> bool:
        names = ("elements_of", "judge_elements", "judge_chain")
        with patch.multiple(sets, **{name: getattr(made, name) for name in names}):
            return fails(test_sets, "sets", sets) or noticed_by(sets.judge, RECIPES)

    assert noticed(grown, mutant, differs)
