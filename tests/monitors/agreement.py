"""Whether a monitor says of small histories what trying all orders says, and whether what it shows of a violation proves it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import FunctionType, ModuleType
from typing import Final
from unittest.mock import patch

import numpy as np

from harness.monitors.calls import Calls, F
from harness.monitors.judged import KINDS, Budget, Judged, Monitor, Violation, Why
from harness.verdict import Verdict
from tests.monitors.histories import Recipe, histories
from tests.monitors.oracle import explained

LONG: Final = os.environ.get("JETABLE_LONG") == "1"
COUNT: Final = 40_000 if LONG else 80
"""Histories a recipe."""


def alone(calls: Calls, violation: Violation) -> Calls:
    """The operations of ``violation``; of what reads of the whole answered, only what these added and what the proof names.

    What the general search found has no proof that names elements.
    """
    taken = calls.take(violation.rows)
    if not len(taken.items) or violation.kind == "not-linearizable":
        return taken
    named = [because.value for because in violation.because if because.value is not None]
    kept = np.isin(taken.items, np.concatenate([taken.arg[np.isin(taken.f, (F.ADD, F.APPEND))], np.array(named, dtype=np.int64)]))
    starts = np.concatenate([[0], np.cumsum(kept)])[taken.starts]
    return replace(taken, items=taken.items[kept], starts=starts)


def unproved(calls: Calls, found: Judged, judge: Monitor) -> str:
    """What is wrong with how the violations of ``calls`` are shown; empty where nothing is."""
    for violation in found.violations:
        if violation.kind not in KINDS:
            return f"{violation.kind} has no words"
        again = judge(alone(calls, violation), Budget())
        if again.verdict is not Verdict.FAIL:
            return f"{violation} is no violation alone"
        for because in violation.because:
            if not {because.a, because.b} <= {-1, *violation.rows}:
                return f"{because} is about rows that are not shown"
            if because.why is Why.BEFORE and not calls.ret_ns[because.a] < calls.call_ns[because.b]:
                return f"{because} does not hold"
    return ""


def disagreement(judge: Monitor, calls: Calls, model: str, *, right: bool | None = None) -> str:
    """How ``judge`` differs from trying all orders, which says ``right`` where that is known; empty where it does not."""
    found = judge(calls, Budget())
    right = explained(calls, model) if right is None else right
    if [doubt for doubt in found.undecided if "no read" not in doubt]:
        return f"undecided: {found.undecided}"
    if (found.verdict is Verdict.FAIL) == right:
        return f"{found} of {'an explained' if right else 'an unexplained'} history"
    return unproved(calls, found, judge)


def check(judge: Monitor, recipe: Recipe, *, seed: int, count: int = COUNT) -> None:
    """Assert that ``judge`` agrees with trying all orders, and that histories of both verdicts were met."""
    verdicts = {True: 0, False: 0}
    for calls in histories(recipe, seed=seed, count=count):
        right = explained(calls, recipe.model)
        verdicts[right] += 1
        wrong = disagreement(judge, calls, recipe.model, right=right)
        assert not wrong, (wrong, calls)
    assert min(verdicts.values()) > count // 40, verdicts


@cache
def examples(recipe: Recipe, seed: int, count: int) -> tuple[tuple[Calls, bool], ...]:
    """Histories and whether they are explained, made once."""
    return tuple((calls, explained(calls, recipe.model)) for calls in histories(recipe, seed=seed, count=count))


def noticed_by(judge: Callable[[Calls, Budget], Judged], recipes: tuple[Recipe, ...], *, count: int = 150) -> bool:
    """Whether ``judge`` differs from trying all orders on some of the histories of ``recipes``."""
    return any(
        disagreement(judge, calls, recipe.model, right=right)
        for seed, recipe in enumerate(recipes)
        for calls, right in examples(recipe, seed, count)
    )


def fails(tests: ModuleType, name: str, made: ModuleType) -> bool:
    """Whether one of the written tests of ``tests`` fails with ``made`` in place of its ``name``."""
    with patch.object(tests, name, made):
        for test in vars(tests).values():
            if isinstance(test, FunctionType) and test.__name__.startswith("test_") and not test.__code__.co_argcount:
                try:
                    test()
                except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError):
                    return True
    return False
