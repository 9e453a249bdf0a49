"""Each condition of the monitor of registers is needed: without it, some small history is judged wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from types import ModuleType

import pytest

from harness.monitors import blocks, looks, register, register_proof, search
from harness.monitors.calls import Call, Calls, Ended, F, calls_of
from harness.monitors.judged import Budget
from harness.monitors.models import MODELS
from harness.verdict import Verdict
from tests.monitors.histories import Recipe, histories
from tests.monitors.mutation import Mutant, noticed
from tests.monitors.oracle import explained
from tests.monitors.test_register import EDGES, RECIPES, read, swap, write

COUNT = 250
SEARCHED = Recipe(model="register", repeats=0.4, pending=0.35)

BLOCKS = [
    Mutant(
        why="a refused write is none",
        fragment="writes, written = changes[~gone], number[~gone]",
        instead="writes, written = changes, number",
    ),
    Mutant(why="what a look missed it did not see", fragment="& ~looked & ~same)", instead="& ~same)"),
    Mutant(why="a read without an end saw nothing", fragment="np.flatnonzero(ok & (((calls.f", instead="np.flatnonzero((((calls.f"),
    Mutant(
        why="a read that tells nothing is none", fragment="(calls.f == F.READ) & (calls.result != NOTHING)", instead="(calls.f == F.READ)"
    ),
    Mutant(why="a value replaced by itself was seen", fragment=" | (same & ~looked)))", instead="))"),
    Mutant(why="a first value belongs to its key", fragment="self.first + key[initial]", instead="self.first"),
    Mutant(why="a value belongs to its key", fragment="found[self.owner[found] != key] = -1", instead="pass"),
    Mutant(why="one code may belong to two keys", fragment="if not np.array_equal(owner[slot], key):", instead="if False:"),
    Mutant(why="pending writes that somebody saw are some", fragment="keep = ~pending | seen[told.written]", instead="keep = ~pending"),
    Mutant(
        why="pending swaps that nobody saw are none",
        fragment="keep_swap = ~swap_pending | seen[told.made]",
        instead="keep_swap = ~swap_pending | True",
    ),
    Mutant(why="a read shows its write", fragment="seen[told.read[told.read >= 0]] = True", instead="pass"),
    Mutant(why="a swap shows the write of what it replaced", fragment="seen[surely[surely >= 0]] = True", instead="pass"),
    Mutant(why="a pending swap that was seen shows another one", fragment="while len(reached):", instead="while False:"),
    Mutant(why="chains of pending swaps are long", fragment="reached = maker[before]\n", instead="reached = maker[before][:0]\n"),
    Mutant(
        why="a pending write never returned", fragment="calls.ret_ns[told.writes], NEVER)", instead="calls.ret_ns[told.writes], begin_ns)"
    ),
    Mutant(
        why="the first read counts",
        fragment="np.minimum.at(first_ret_ns, number, calls.ret_ns[rows])",
        instead="first_ret_ns[number] = calls.ret_ns[rows]",
    ),
    Mutant(
        why="the last read counts",
        fragment="np.maximum.at(last_call_ns, number, calls.call_ns[rows])",
        instead="last_call_ns[number] = calls.call_ns[rows]",
    ),
    Mutant(why="a circle has no root", fragment="root[made[parent[root[made]] >= 0]] = -1", instead="pass"),
    Mutant(why="roots are found from afar", fragment="for _ in range(len(made).bit_length() + 1):", instead="for _ in range(0):"),
    Mutant(why="depth adds up", fragment="depth[active] + more[going]", instead="more[going]"),
    Mutant(why="keys lie apart", fragment="base = segment * width", instead="base = 0"),
    Mutant(why="blocks lie apart", fragment="segment[1:])\n    write_call", instead="segment[1:])\n    segment[:] = 0\n    write_call"),
    Mutant(why="a write has those before it", fragment="(write_ret < before) | ", instead=""),
    Mutant(why="a read has those before it", fragment=" | (read_ret < before)", instead=""),
    Mutant(why="equal instants are not before, in blocks", fragment="(read_ret < before)", instead="(read_ret <= before)"),
    Mutant(why="equal instants are not before, in blocks of swaps", fragment="(write_ret < before)", instead="(write_ret <= before)"),
    Mutant(
        why="reads in a block come before the next swap",
        fragment="np.maximum.accumulate(np.maximum(write_call, read_call))",
        instead="np.maximum.accumulate(write_call)",
    ),
    Mutant(
        why="swaps in a block come before the next one",
        fragment="np.maximum.accumulate(np.maximum(write_call, read_call))",
        instead="np.maximum.accumulate(read_call)",
    ),
    Mutant(
        why="a block's first end is of all its values",
        fragment="    np.minimum.at(first_ret, values.root[linked], first_ret[linked])\n",
        instead="",
    ),
    Mutant(
        why="a block's last beginning is of all its values",
        fragment="    np.maximum.at(last_call, values.root[linked], last_call[linked])\n",
        instead="",
    ),
    Mutant(
        why="a block is one zone",
        fragment="np.flatnonzero(chosen & (values.root == np.arange(len(chosen))))",
        instead="np.flatnonzero(chosen)",
    ),
    Mutant(
        why="forward zones are apart",
        fragment="near = np.flatnonzero(ends_sorted[1:] < begins_sorted[:-1])",
        instead="near = np.flatnonzero(ends_sorted[1:] < 0)",
    ),
    Mutant(why="forward zones may touch", fragment="ends_sorted[1:] < begins_sorted[:-1]", instead="ends_sorted[1:] <= begins_sorted[:-1]"),
    Mutant(
        why="backward zones are not inside",
        fragment="inside = begins_sorted[around] > ends[backward]",
        instead="inside = begins_sorted[around] < 0",
    ),
    Mutant(
        why="backward zones may touch the end",
        fragment="begins_sorted[around] > ends[backward]",
        instead="begins_sorted[around] >= ends[backward]",
    ),
    Mutant(
        why="backward zones may touch the beginning",
        fragment="np.searchsorted(ends_sorted, begins[backward])",
        instead='np.searchsorted(ends_sorted, begins[backward], side="right")',
    ),
]

REGISTER = [
    Mutant(why="what was never written is not read", fragment="unfit |= proofs.unwritten(unclear, repeated)", instead="pass"),
    Mutant(why="a value is replaced once", fragment="unfit |= proofs.forks(unfit)", instead="pass"),
    Mutant(why="circles are impossible", fragment="unfit |= proofs.circles(unfit)", instead="pass"),
    Mutant(
        why="a read follows its write",
        fragment="early = np.flatnonzero(chosen & (values.first_ret_ns < values.call_ns))",
        instead="early = np.flatnonzero(chosen & False)",
    ),
    Mutant(why="blocks hold", fragment="late = against_chain(values, chosen)", instead="late = early[:0]"),
    Mutant(why="zones hold", fragment="if len(early) or len(late) or len(ones):", instead="if len(early) or len(late):"),
    Mutant(why="a value that is written again is searched", fragment="twice = (last[told.written] != told.writes) | ", instead="twice = "),
    Mutant(why="a first value that is written again is searched", fragment=" | (told.written >= numbering.first)", instead=""),
    Mutant(
        why="keys are searched", fragment="    _search_repeated(calls, repeated & ~(unclear | proofs.wrong), budget, found)\n", instead=""
    ),
    Mutant(why="looks in doubt are searched", fragment="        _search_looks(calls, told, open_looks, budget, found)\n", instead=""),
    Mutant(why="looks count", fragment="if len(told.looks):", instead="if False:"),
    Mutant(why="looks in doubt are part of the search", fragment="    chosen[looks] = True\n", instead=""),
]

LOOKS = [
    Mutant(
        why="a look before the write of its value",
        fragment="looks.only(looks.call_ns > values.call_ns[looks.missed])",
        instead="looks.only(looks.call_ns > values.ret_ns[looks.missed])",
    ),
    Mutant(
        why="a look sees its value from the first answer on",
        fragment="wrong = (known[looks.missed] < looks.call_ns) & ",
        instead="wrong = ",
    ),
    Mutant(why="a look sees its value until the last call", fragment=" & (looks.ret_ns < still)", instead=""),
    Mutant(
        why="a look at the first answer", fragment="wrong = (known[looks.missed] < looks", instead="wrong = (known[looks.missed] <= looks"
    ),
    Mutant(why="a look at the last call", fragment="(looks.ret_ns < still)", instead="(looks.ret_ns <= still)"),
    Mutant(why="an order is asked", fragment="looks.only(~_fit(", instead="looks.only(_fit("),
    Mutant(why="all looks of a key fit one order", fragment="bad_keys[values.key[orders[0][bad]]] = True", instead="pass"),
    Mutant(
        why="orders go over where they agree",
        fragment="cut &= np.maximum.accumulate(place[orders[0]]) == np.arange(many)",
        instead="pass",
    ),
    Mutant(why="the beginning counts", fragment="(times.call > start[at]) & ", instead="(times.call > start[at] + 8) & "),
    Mutant(why="the end counts", fragment=" & (times.ret < end[at])", instead=" & (times.ret < end[at] - 8)"),
]


AGAIN = (read(5, 10, 11), write(7, 12, 13), read(5, 14, 15))
SEARCHED_TOO = [
    (Call(f=F.READ, call_ns=0, ret_ns=1, ended=Ended.OK),),
    (swap(0, 5, 0), write(5, 1), *AGAIN),
    (write(5, 0), swap(0, 5, 1), *AGAIN),
]
"""Registers with an order that hangs on one condition of the search."""

SEARCH = [
    Mutant(why="what began after an end comes after it", fragment="if call[at] > limit_ns:", instead="if False:"),
    Mutant(why="equal instants are not before", fragment="if call[at] > limit_ns:", instead="if call[at] >= limit_ns:"),
    Mutant(why="only looks are put at once", fragment="if found == state and looks[kind[at]]:", instead="if found == state:"),
    Mutant(why="pending operations begin", fragment="called[count] <= limit_ns", instead="True"),
    Mutant(why="pending operations are used once", fragment="if count < len(called) and ", instead="count = 0\n            if "),
    Mutant(why="pending operations may help", fragment="if found >= 0 and found != state:", instead="if False:"),
    Mutant(why="a pending operation may help a look", fragment="if without >= 0 and (first, mask) == place:", instead="if without >= 0:"),
    Mutant(why="a pending operation may change what comes next", fragment="!= choice[2]]", instead="== -1]"),
    Mutant(
        why="more of each kind is worse, not more of one",
        fragment="& guards == guards for less in failed",
        instead="& guards for less in failed",
    ),
    Mutant(
        why="an end is no operation", fragment="told.ret.append(int(calls.ret_ns[row]))", instead="told.ret.append(int(calls.call_ns[row]))"
    ),
    Mutant(why="refused operations are none", fragment="rows = rows[calls.ended[rows] != Ended.FAIL]", instead="pass"),
    Mutant(why="looks that tell nothing are none", fragment="if not proves_nothing(one)]", instead="]"),
]


@cache
def told() -> list[tuple[Calls, bool]]:
    edges = [(calls_of(told, numbers=True), right) for right, told in EDGES]
    return edges + [
        (calls, explained(calls, "register"))
        for name in ("swaps", "many looks", "once", "all at once", "now and then a value again")
        for calls in histories(RECIPES[name], seed=11, count=COUNT)
    ]


def differs(judging: ModuleType) -> bool:
    """Whether some verdict is not the right one."""
    for calls, right in told():
        found = judging.judge(calls, Budget(steps=10_000))
        if (found.verdict is Verdict.FAIL) is right or (right and found.undecided and found.reads):
            return True
    return False


@contextmanager
def used(made: ModuleType, instead_of: ModuleType) -> Iterator[None]:
    """Have the monitor use the changed module."""
    before = {}
    for user in (register, looks, register_proof):
        for name, value in vars(user).items():
            if getattr(value, "__module__", "") == instead_of.__name__ and user is not instead_of:
                before[user, name] = value
    for user, name in before:
        setattr(user, name, getattr(made, name))
    try:
        yield
    finally:
        for (user, name), value in before.items():
            setattr(user, name, value)


def changed_part_differs(made: ModuleType, part: ModuleType) -> bool:
    with used(made, part):
        return differs(register)


@pytest.mark.slow
def test_unchanged_it_judges_rightly() -> None:
    assert not differs(register)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", REGISTER, ids=lambda mutant: mutant.why)
def test_each_stage_is_needed(mutant: Mutant) -> None:
    assert noticed(register, mutant, differs)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", BLOCKS, ids=lambda mutant: mutant.why)
def test_each_condition_of_blocks_is_needed(mutant: Mutant) -> None:
    assert noticed(blocks, mutant, lambda made: changed_part_differs(made, blocks))


@pytest.mark.slow
@pytest.mark.parametrize("mutant", LOOKS, ids=lambda mutant: mutant.why)
def test_each_condition_of_looks_is_needed(mutant: Mutant) -> None:
    assert noticed(looks, mutant, lambda made: changed_part_differs(made, looks))


@pytest.mark.slow
@pytest.mark.parametrize("mutant", SEARCH, ids=lambda mutant: mutant.why)
def test_each_condition_of_the_search_is_needed(mutant: Mutant) -> None:
    assert noticed(search, mutant, searched_differs)


def searched_differs(made: ModuleType) -> bool:
    return any(
        (made.search(calls, MODELS[recipe.model], Budget()).verdict is Verdict.FAIL) is right
        for recipe in (SEARCHED, replace(SEARCHED, pending=0.6, most=10), replace(SEARCHED, model="set"), replace(SEARCHED, model="queue"))
        for calls, right in searched(recipe)
    )


@cache
def searched(recipe: Recipe) -> list[tuple[Calls, bool]]:
    others = [(calls, explained(calls, recipe.model)) for calls in histories(recipe, seed=17, count=600)]
    return [*((calls_of(told, numbers=True), True) for told in SEARCHED_TOO), *others] if recipe.model == "register" else others
