"""Who wrote a value, found by each kind of table, against a look at every row."""

from __future__ import annotations

import random

import numpy as np
import pytest

from harness.monitors.calls import INITIAL, Call, Ended, F, calls_of
from harness.monitors.written import FIRST, NOBODY, in_order_of_calls, is_register, stable_order, written


@pytest.mark.parametrize("spread", [1, 1 << 40], ids=["dense values", "far apart values"])
@pytest.mark.parametrize("shared", [False, True], ids=["values of one key", "values of several keys"])
@pytest.mark.parametrize("keys", [3, 3000], ids=["few keys", "many keys"])
def test_a_value_names_its_writer(spread: int, shared: bool, keys: int) -> None:  # noqa: FBT001  a parameter of the test
    dice = random.Random(1)
    numbers = [number % 20 + 1 if shared else number for number in range(1, 40)]
    made = [
        Call(
            f=F.WRITE,
            arg=number * spread,
            call_ns=at,
            ret_ns=at,
            ended=dice.choice((Ended.OK, Ended.OK, Ended.FAIL)),
            key=f"k{dice.randint(0, 2)}",
        )
        for at, number in enumerate(numbers)
    ]
    made += [Call(f=F.READ, call_ns=99, key=f"k{number}") for number in range(keys)]
    calls = calls_of(made, numbers=True)
    found = written(calls)
    asked = [(key, value * spread) for key in range(3) for value in range(-1, 42)]
    told = found.by(np.array([key for key, _ in asked]), np.array([value for _, value in asked]))
    for (key, value), row in zip(asked, told.tolist(), strict=True):
        rows = [at for at, call in enumerate(made) if call.arg == value and call.ended == Ended.OK and calls.key[at] == key]
        assert row in rows or (not rows and row == (FIRST if value == INITIAL else NOBODY))
        assert len(rows) < 2 or found.ambiguous[key]
    twice = {
        key
        for key in range(3)
        if any(
            sum((calls.key[at], call.arg) == (key, value) and call.ended == Ended.OK for at, call in enumerate(made)) > 1
            for _, value in asked
        )
    }
    assert set(np.flatnonzero(found.ambiguous).tolist()) == twice


def test_who_writes_the_initial_value_makes_a_key_ambiguous() -> None:
    calls = calls_of([Call(f=F.WRITE, arg="nil", call_ns=0, key="k"), Call(f=F.WRITE, arg="a", call_ns=0, key="l")])
    assert written(calls).ambiguous.tolist() == [True, False]


def test_an_order_keeps_what_is_equal() -> None:
    dice = np.random.default_rng(1)
    for count in (5, 1 << 17, 1 << 33):
        codes = dice.integers(0, count, 3000) // 3 * 3
        assert np.array_equal(stable_order(codes, count), np.argsort(codes, kind="stable"))


def test_rows_in_order_of_call_need_no_other_order() -> None:
    calls = calls_of([Call(f=F.READ, call_ns=1), Call(f=F.READ, call_ns=2), Call(f=F.READ, call_ns=2)])
    assert in_order_of_calls(calls) is None
    turned = in_order_of_calls(calls.take([1, 2, 0]))
    assert turned is not None
    assert turned.tolist()[0] == 2


def test_a_register_has_single_values() -> None:
    assert is_register(calls_of([Call(f=F.WRITE, arg="a", call_ns=0), Call(f=F.READ, result="a", call_ns=0)]))
    assert not is_register(calls_of([Call(f=F.READ, items=["a"], call_ns=0)]))
    assert not is_register(calls_of([Call(f=F.ADD, arg="a", call_ns=0)]))
