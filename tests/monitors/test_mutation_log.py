"""Each condition of the monitor of logs is needed: without it a test or a small history goes wrong."""

from __future__ import annotations

from types import ModuleType

import pytest

from harness.monitors import log
from tests.monitors import test_log
from tests.monitors.agreement import fails, noticed_by
from tests.monitors.histories import Recipe
from tests.monitors.mutation import Mutant, noticed

RECIPES = (
    Recipe(model="log", most=9, width=25, pending=0.05),
    Recipe(model="log", most=10, width=5, keys=2),
    Recipe(model="log", repeats=0.2, keys=2),
)

MUTANTS = (
    Mutant(why="refused appends repeat", fragment="took_part = kept & (calls.ended != Ended.FAIL)", instead="took_part = kept"),
    Mutant(why="values that repeat are not searched", fragment="    if len(again):", instead="    if len(again) > 99:"),
    Mutant(why="values that repeat are judged as well", fragment="        kept &= ~repeated\n", instead=""),
    Mutant(why="what is there twice has a place", fragment="    good[told.cell_of[~known.once]] = False", instead="    pass"),
    Mutant(
        why="reads need not agree", fragment="differ = np.flatnonzero(items != expected)", instead="differ = np.flatnonzero(items != items)"
    ),
    Mutant(
        why="reads that differ are counted by their values",
        fragment="np.flatnonzero(np.concatenate([[True], np.diff(rank[differ]) != 0]))",
        instead="np.arange(len(differ))",
    ),
    Mutant(
        why="the order is that of any read",
        fragment="    of_longest = longest[rank] == rank\n",
        instead="    of_longest = rank == rank[:1]\n",
    ),
    Mutant(why="what is wrong alone has a place", fragment="    if not chosen.all():", instead="    if not len(chosen):"),
    Mutant(
        why="places are those among wrong ones",
        fragment="        lengths = np.bincount(rank, minlength=len(told.reads))\n    within",
        instead="    within",
    ),
    Mutant(why="the longest read is the last one", fragment="order = np.lexsort((lengths, keys))", instead="order = np.arange(len(keys))"),
    Mutant(
        why="the longest read is that of all keys", fragment='np.searchsorted(keys, keys, "right") - 1', instead="len(keys) - 1 + 0 * keys"
    ),
    Mutant(why="time says nothing", fragment="    if not len(over):", instead="    if True:"),
    Mutant(why="what nobody saw is out of order", fragment="placed = place[over] < NOWHERE", instead="placed = place[over] <= NOWHERE"),
)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.why)
def test_each_condition_of_logs_is_needed(mutant: Mutant) -> None:
    def differs(made: ModuleType) -> bool:
        return fails(test_log, "log", made) or noticed_by(made.judge, RECIPES)

    assert noticed(log, mutant, differs)
