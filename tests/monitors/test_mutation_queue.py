"""Each condition of the monitor of queues is needed: without it a test or a small history goes wrong."""

from __future__ import annotations

from types import ModuleType

import pytest

from harness.monitors import queue
from harness.monitors.calls import F
from tests.monitors import test_queue
from tests.monitors.agreement import fails, noticed_by
from tests.monitors.histories import Recipe
from tests.monitors.mutation import Mutant, noticed

RECIPES = (
    Recipe(model="queue", keys=2),
    Recipe(model="queue", fs=(F.ENQUEUE, F.DEQUEUE), most=9, width=25, pending=0.05),
    Recipe(model="queue", fs=(F.ENQUEUE, F.DEQUEUE, F.DEQUEUE), most=9, width=15, pending=0.3, refused=0.03),
    Recipe(model="queue", most=10, keys=2, pending=0.3, refused=0.03, width=8),
)

MUTANTS = (
    Mutant(
        why="what was refused went in",
        fragment="np.flatnonzero(kept & puts & (calls.ended != Ended.FAIL))",
        instead="np.flatnonzero(kept & puts)",
    ),
    Mutant(
        why="a pending taker tells",
        fragment="kept & ~puts & ok & (calls.result != INITIAL) & (calls.result != NOTHING)",
        instead="kept & ~puts & (calls.result != INITIAL) & (calls.result != NOTHING)",
    ),
    Mutant(why="nothing is a value", fragment=" & (calls.result != INITIAL) & ", instead=" & "),
    Mutant(
        why="an unknown answer is a value",
        fragment="(calls.result != INITIAL) & (calls.result != NOTHING))",
        instead="(calls.result != INITIAL))",
    ),
    Mutant(
        why="a taker without an answer took nothing",
        fragment="((calls.ended == Ended.INFO) | (ok & (calls.result == NOTHING)))",
        instead="(ok & (calls.result == NOTHING))",
    ),
    Mutant(
        why="a taker that did not tell took nothing",
        fragment="((calls.ended == Ended.INFO) | (ok & (calls.result == NOTHING)))",
        instead="(calls.ended == Ended.INFO)",
    ),
    Mutant(why="takers are in any order", fragment='takers[np.argsort(at.call[takers], kind="stable")]', instead="takers"),
    Mutant(why="values that repeat are not searched", fragment="(times[values.put_of] > 1) | ", instead=""),
    Mutant(why="a value that reads as nothing is not searched", fragment=" | (values.calls.arg[values.puts] == INITIAL)", instead=""),
    Mutant(
        why="what nobody put in may come out", fragment="np.flatnonzero(strange & ~refused)", instead="np.flatnonzero(strange & ~strange)"
    ),
    Mutant(why="what was refused may come out", fragment="np.flatnonzero(strange & refused)", instead="np.flatnonzero(strange & ~strange)"),
    Mutant(why="a value may come out twice", fragment="twice = put & (times > 1)", instead="twice = put & (times > 9)"),
    Mutant(
        why="a value may come out early", fragment="early[values.take_of] = at.ret[values.takes] < called[values.take_of]", instead="pass"
    ),
    Mutant(why="what comes out early is judged on", fragment=" & ~twice & ~early\n", instead=" & ~twice\n"),
    Mutant(
        why="what was never taken is inside for good",
        fragment="chosen = np.flatnonzero(taken)",
        instead="chosen = np.arange(len(taken))",
    ),
    Mutant(why="stretches end where a value does", fragment="np.maximum.accumulate(end[order])", instead="end[order]"),
    Mutant(why="stretches that meet are one", fragment="begin[1:] >= end[:-1]", instead="begin[1:] > end[:-1]"),
    Mutant(why="values may overtake", fragment="(_gone_by(inside) < inside.take_call) & ", instead="(inside.take_call < 0) & "),
    Mutant(
        why="a take beside another one overtakes it",
        fragment="(_gone_by(inside) < inside.take_call) & ",
        instead="(_gone_by(inside) <= inside.take_call) & ",
    ),
    Mutant(why="what was never taken was overtaken as well", fragment=" & (inside.take_call < inside.never))", instead=")"),
    Mutant(
        why="puts beside one another have an order",
        fragment='inside.put_end[places], "right")',
        instead='inside.put_end[places], "left")',
    ),
    Mutant(
        why="only the next put overtakes", fragment="later_end=np.minimum.accumulate(take_end[::-1])[::-1]", instead="later_end=take_end"
    ),
    Mutant(why="nothing may be found at any time", fragment="np.flatnonzero((stretch >= 0) & ", instead="np.flatnonzero((stretch < -1) & "),
    Mutant(
        why="a poll that begins with a stretch is in it",
        fragment='stretch = np.searchsorted(inside.begin, call, "left") - 1',
        instead='stretch = np.searchsorted(inside.begin, call, "right") - 1',
    ),
    Mutant(
        why="a poll that ends with a stretch is in it",
        fragment="(end < np.append(inside.end, 0)[stretch])",
        instead="(end <= np.append(inside.end, 0)[stretch])",
    ),
    Mutant(
        why="the first instant of a poll is its call",
        fragment="first = np.where(call < ends[of_call], ends[of_call], call)",
        instead="first = call",
    ),
    Mutant(
        why="the last instant of a poll is its end",
        fragment="last = np.where(end < ends[of_end], begins[of_end], end)",
        instead="last = end",
    ),
    Mutant(why="polls that nothing explains demand as well", fragment="order[(first <= last)[order]]", instead="order"),
    Mutant(
        why="polls demand nothing",
        fragment="surely = np.minimum(gone_by, polls.demand(since, polls.first, polls.last))",
        instead="surely = gone_by",
    ),
    Mutant(
        why="later values demand nothing",
        fragment="surely = np.minimum(gone_by, polls.demand(since, polls.first, polls.last))",
        instead="surely = polls.demand(since, polls.first, polls.last)",
    ),
    Mutant(
        why="what is put in as a poll begins must be gone",
        fragment='smallest[np.searchsorted(first[order], since, "right")]',
        instead='smallest[np.searchsorted(first[order], since, "left")]',
    ),
    Mutant(
        why="later polls demand nothing", fragment="np.minimum.accumulate(last[order][::-1])[::-1], ROOM)", instead="last[order], ROOM)"
    ),
    Mutant(why="what is not decided is not searched", fragment="np.union1d(np.intersect1d(early, late), guessed)", instead="guessed"),
    Mutant(
        why="what was guessed is not searched",
        fragment="np.union1d(np.intersect1d(early, late), guessed)",
        instead="np.intersect1d(early, late)",
    ),
    Mutant(why="nothing need be gone by then", fragment="order = np.flatnonzero(by < never)", instead="order = np.flatnonzero(by < 0)"),
    Mutant(why="what has no end must be gone", fragment="order = np.flatnonzero(by < never)", instead="order = np.arange(len(by))"),
    Mutant(
        why="what must be gone first has no first claim",
        fragment='order = order[np.argsort(by[order], kind="stable")]',
        instead="order = order[np.lexsort((-by[order], never[order]))]",
    ),
    Mutant(
        why="takers that begin as a value must be gone are late", fragment='by[order], "right") - np', instead='by[order], "left") - np'
    ),
    Mutant(why="takers of other keys take", fragment=' - np.searchsorted(taker_keys, keys, "left")', instead=""),
    Mutant(
        why="values of other keys are counted",
        fragment='np.arange(len(order)) - np.searchsorted(keys, keys, "left")',
        instead="np.arange(len(order))",
    ),
    Mutant(
        why="takers may take twice",
        fragment="matched = np.minimum(rank + 1, slack + rank)",
        instead="matched = np.where(takers > 0, rank + 1, 0)",
    ),
    Mutant(
        why="too few takers before do not matter",
        fragment="slack = np.minimum.accumulate(takers - rank - keys * far) + keys * far",
        instead="slack = takers - rank",
    ),
    Mutant(
        why="too few takers of other keys matter",
        fragment="np.minimum.accumulate(takers - rank - keys * far) + keys * far",
        instead="np.minimum.accumulate(takers - rank)",
    ),
    Mutant(
        why="what covers the poll is not shown",
        fragment="early = inside.cover(call, first) if call < first else []",
        instead="early: list[int] = []",
    ),
    Mutant(
        why="what covers the end of the poll is not shown",
        fragment="late = inside.cover(last + 1, end) if last < end else []",
        instead="late: list[int] = []",
    ),
    Mutant(why="one value covers all", fragment="            if since_ns > until_ns:\n", instead="            if chain:\n"),
)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.why)
def test_each_condition_of_queues_is_needed(mutant: Mutant) -> None:
    def differs(made: ModuleType) -> bool:
        return fails(test_queue, "queue", made) or noticed_by(made.judge, RECIPES)

    assert noticed(queue, mutant, differs)
