"""The clock and the dice: what makes a run reproducible."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from harness.clock import NS_PER_S, Dice, FakeClock, MonotonicClock


def test_the_real_clock_is_the_monotonic_clock_of_the_machine() -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    assert before <= MonotonicClock().now_ns() <= time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def test_a_fake_clock_moves_only_when_somebody_sleeps() -> None:
    clock = FakeClock()
    start = clock.now_ns()
    assert clock.now_ns() == start
    clock.sleep(1.5)
    assert clock.now_ns() - start == 1.5 * NS_PER_S


def test_a_fake_sleep_of_nothing_still_moves_so_that_polling_loops_end() -> None:
    clock = FakeClock()
    start = clock.now_ns()
    clock.sleep(0)
    assert clock.now_ns() > start


@given(st.integers(min_value=0, max_value=2**63 - 1), st.text(max_size=20))
def test_the_same_seed_makes_the_same_choices(seed: int, name: str) -> None:
    def drawn(dice: Dice) -> list[object]:
        return [dice.choice([1, 2, 3]), dice.integer(1, 100), dice.uniform(), dice.bits(64)]

    assert drawn(Dice(seed).fork(name)) == drawn(Dice(seed).fork(name))


def test_forks_do_not_depend_on_what_was_drawn_before() -> None:
    dice = Dice(7)
    early = dice.fork("load").bits(64)
    dice.bits(64)
    assert dice.fork("load").bits(64) == early
    assert dice.fork("faults").bits(64) != early


@given(st.integers(min_value=0, max_value=2**63 - 1), st.lists(st.integers(), max_size=20))
def test_what_is_shuffled_is_all_there_once_and_the_same_for_the_same_seed(seed: int, things: list[int]) -> None:
    before = list(things)
    shuffled = Dice(seed).shuffled(things)
    assert sorted(shuffled) == sorted(things)
    assert things == before
    assert Dice(seed).shuffled(tuple(things)) == shuffled


def test_what_is_shuffled_again_comes_in_another_order_and_each_order_comes() -> None:
    dice = Dice(3)
    orders = [tuple(dice.shuffled("abc")) for _ in range(200)]
    assert len(set(orders)) == 6
    assert min(map(orders.count, set(orders))) > 10
