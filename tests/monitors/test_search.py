"""The general search: every model against all orders tried, the budget, what an answer names, and how memory and steps grow."""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import replace

import pytest

from harness.monitors.calls import NEVER, Call, Calls, Ended, F, calls_of
from harness.monitors.judged import Budget
from harness.monitors.models import MODELS
from harness.monitors.search import search, search_key, smaller
from harness.verdict import Verdict
from tests.monitors.histories import FS, Recipe, histories
from tests.monitors.oracle import explained

LONG = bool(os.environ.get("JETABLE_LONG"))
COUNT = 20_000 if LONG else 300

RECIPES = {
    f"{model}, {name}": replace(recipe, model=model)
    for model in FS
    for name, recipe in {
        "few values": Recipe(model="", repeats=0.5, keys=2, amounts=(1, 2, -1)),
        "many pending": Recipe(model="", repeats=0.3, pending=0.45, most=9, amounts=(1, 2)),
        "all at once": Recipe(model="", repeats=0.3, width=24, most=7),
    }.items()
}
REGISTER = MODELS["register"]


def ok(f: F, call_ns: int, ret_ns: int, **others: int) -> Call:
    return Call(f=f, call_ns=call_ns, ret_ns=ret_ns, ended=Ended.OK, **others)  # type: ignore[arg-type]  # the rest are attributes of Call


def of(*told: Call) -> Calls:
    return calls_of(told, numbers=True)


def test_every_model_has_an_oracle() -> None:
    assert set(MODELS) == set(FS)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_every_answer_is_the_one_of_all_orders_tried(name: str) -> None:
    model, seen = MODELS[RECIPES[name].model], Counter[bool]()
    for number, calls in enumerate(histories(RECIPES[name], seed=3, count=COUNT)):
        found, right = search(calls, model, Budget()), explained(calls, model.name)
        assert (found.verdict is Verdict.FAIL) is not right, f"history {number}"
        assert not right or not found.reads or found.verdict is Verdict.PASS, f"history {number}"
        for violation in found.violations:
            assert violation.because[0].a in violation.rows
            assert not explained(calls.take(violation.rows), model.name), f"history {number}: {violation}"
        seen[right] += 1
    assert min(seen[True], seen[False]) > COUNT // 100


def test_a_step_beyond_the_budget_is_unknown_and_says_so() -> None:
    told = search(of(ok(F.WRITE, 0, 1, arg=1), ok(F.WRITE, 2, 3, arg=2), ok(F.READ, 4, 5, result=2)), REGISTER, Budget(steps=2))
    assert told.verdict is Verdict.UNKNOWN
    assert "gave up after" in told.undecided[0]


def test_the_clock_may_end_it() -> None:
    calls = _hard(40)
    asked = iter([False, True])
    answer = search_key(calls, range(len(calls)), REGISTER, Budget(over=lambda: next(asked, True)))
    assert answer.explained is None
    assert answer.steps <= 2_000


def test_it_names_the_operation_that_has_no_place_and_leaves_out_what_comes_later() -> None:
    calls = of(
        ok(F.WRITE, 0, 1, arg=1),
        ok(F.WRITE, 2, 3, arg=2),
        ok(F.READ, 4, 5, result=1),
        ok(F.WRITE, 6, 7, arg=1),
        ok(F.READ, 8, 9, result=1),
    )
    answer = search_key(calls, range(5), REGISTER, Budget())
    assert answer.explained is False
    assert answer.stuck == 2
    assert answer.rows == (0, 1, 2)


def test_fewer_rows_prove_the_same() -> None:
    told = [ok(F.WRITE, 10 * at, 10 * at + 1, arg=at % 3 + 1) for at in range(40)]
    told += [ok(F.READ, 10 * at + 2, 10 * at + 3, result=at % 3 + 1) for at in range(40)]
    calls = of(*told, ok(F.READ, 402, 403, result=2), ok(F.READ, 404, 405, result=3))
    answer = search_key(calls, range(len(calls)), REGISTER, Budget())
    less = smaller(calls, answer, REGISTER, Budget())
    assert answer.explained is less.explained is False
    assert len(less.rows) <= 24 < len(answer.rows)
    assert search_key(calls, less.rows, REGISTER, Budget()).explained is False


def test_keys_are_searched_alone_and_each_has_the_whole_budget() -> None:
    calls = of(
        *(replace(call, key=str(key)) for key in range(5) for call in (ok(F.WRITE, 0, 1, arg=1), ok(F.READ, 2, 3, result=1))),
    )
    assert search(calls, REGISTER, Budget(steps=3)).verdict is Verdict.PASS


@pytest.mark.slow
def test_many_pending_operations_that_ask_the_same_cost_little() -> None:
    told = [Call(f=F.WRITE, arg=at % 4 + 1, call_ns=at, ended=Ended.INFO) for at in range(300)]
    told += [ok(F.READ, 400 + 2 * at, 401 + 2 * at, result=(at * 7) % 4 + 1) for at in range(200)]
    calls = of(*told)
    answer = search_key(calls, range(len(calls)), REGISTER, Budget(steps=100_000))
    assert answer.explained is True
    told.append(ok(F.READ, 900, 901, result=9))
    calls = of(*told)
    assert search_key(calls, range(len(calls)), REGISTER, Budget(steps=100_000)).explained is False


def _hard(many: int) -> Calls:
    """Writes at once, of which no order gives the last reads; the more, the longer it takes to be sure."""
    told = [ok(F.WRITE, 0, 1_000, arg=at + 1) for at in range(many)]
    told += [ok(F.READ, 1, 999, result=at + 1) for at in range(many)]
    return of(*told, ok(F.READ, 2_000, 2_001, result=1), ok(F.READ, 2_002, 2_003, result=2))


def _valid(many: int, clients: int, dice: random.Random) -> Calls:
    """A register with five values that ``clients`` use at once."""
    told, there = [], 0
    for at in range(many):
        call_ns, ret_ns = 10 * at - dice.randint(0, 5 * clients), 10 * at + dice.randint(0, 5 * clients)
        f = dice.choice((F.READ, F.WRITE, F.CAS))
        if f is F.READ:
            told.append(ok(f, call_ns, ret_ns, result=there))
        elif f is F.WRITE:
            there = dice.randint(1, 5)
            told.append(ok(f, call_ns, ret_ns, arg=there))
        else:
            old, new = dice.randint(1, 5), dice.randint(1, 5)
            told.append(ok(f, call_ns, ret_ns, arg=old, arg2=new, result=int(old == there)))
            there = new if old == there else there
    return of(*told)


@pytest.mark.slow
def test_steps_grow_with_the_history_and_not_with_its_square() -> None:
    steps = []
    for many in (500, 2_000):
        calls = _valid(many, 8, random.Random(many))
        answer = search_key(calls, range(many), REGISTER, Budget(steps=100 * many))
        assert answer.explained is True
        steps.append(answer.steps)
    assert steps[1] < 12 * steps[0]


def test_what_never_returned_has_no_end_here_either() -> None:
    calls = of(Call(f=F.WRITE, arg=1, call_ns=0, ended=Ended.INFO), ok(F.READ, NEVER - 2, NEVER - 1, result=1))
    assert search(calls, REGISTER, Budget()).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("model", "right", "told"),
    [
        ("set", False, [ok(F.ADD, 0, 1, arg=1), ok(F.REMOVE, 2, 3, arg=1, result=0)]),
        ("set", True, [ok(F.ADD, 0, 1, arg=1), ok(F.REMOVE, 2, 3, arg=1), ok(F.CONTAINS, 4, 5, arg=1, result=0)]),
        ("counter", False, [ok(F.ADD, 0, 1, arg=2, result=2), ok(F.ADD, 2, 3, arg=2, result=3)]),
        ("counter", True, [ok(F.ADD, 0, 1, arg=2, result=2), ok(F.READ, 2, 3, result=2)]),
        ("queue", False, [ok(F.ENQUEUE, 0, 1, arg=1), ok(F.DEQUEUE, 2, 3, result=0)]),
        ("queue", True, [ok(F.ENQUEUE, 0, 1, arg=1), Call(f=F.DEQUEUE, call_ns=2), ok(F.DEQUEUE, 2, 3, result=0)]),
        ("register", False, [ok(F.WRITE, 0, 1, arg=1), ok(F.CAS, 2, 3, arg=1, arg2=2, result=0)]),
        ("register", True, [ok(F.CAS, 2, 3, arg=0, arg2=2), ok(F.CAS, 4, 5, arg=1, arg2=2, result=0), ok(F.READ, 6, 7, result=2)]),
    ],
)
def test_what_each_model_answers(*, model: str, right: bool, told: list[Call]) -> None:
    assert (search(of(*told), MODELS[model], Budget()).verdict is not Verdict.FAIL) is right


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_unknown(model: str) -> None:
    assert search(of(), MODELS[model], Budget()).verdict is Verdict.UNKNOWN
