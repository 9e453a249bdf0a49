"""Which replica a step means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clock import Dice
from harness.engines.base import Replica
from harness.faults import StepProblemError, choose


def replicas(count: int) -> list[Replica]:
    return [
        Replica(name=f"web.{number}", process="web", host="127.0.0.1", port=20000 + number, pid=number, at_ns=number, running_ns=number)
        for number in range(1, count + 1)
    ]


@given(st.integers(min_value=1, max_value=9), st.integers(min_value=0, max_value=2**32))
def test_any_is_one_of_those_that_are_up_and_the_same_for_the_same_seed(count: int, seed: int) -> None:
    up = replicas(count)
    (chosen,) = choose(up, "any", Dice(seed))
    assert chosen in up
    assert choose(up, "any", Dice(seed)) == [chosen]


def test_each_oldest_newest_and_a_place_in_the_row() -> None:
    up = replicas(3)
    dice = Dice(1)
    assert choose(up, "each", dice) == up
    assert choose(up, "oldest", dice) == up[:1]
    assert choose(up, "newest", dice) == up[2:]
    assert choose(up, 2, dice) == up[1:2]


def test_a_place_that_is_not_taken_is_a_problem_of_the_step() -> None:
    with pytest.raises(StepProblemError, match="only 2 were up"):
        choose(replicas(2), 3, Dice(1))


def test_any_reaches_every_replica_in_the_long_run() -> None:
    dice = Dice(3)
    assert {choose(replicas(4), "any", dice)[0].name for _ in range(200)} == {"web.1", "web.2", "web.3", "web.4"}
