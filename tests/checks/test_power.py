"""The upper bound of a rate."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaincinv

from harness.checks.power import bound


def test_zero_of_120_is_at_most_two_and_a_half_per_cent() -> None:
    found = bound(0, 120)
    assert found is not None
    assert found.upper == pytest.approx(0.0246554, abs=1e-6)


@given(st.integers(1, 100_000))
def test_of_zero_hits_the_bound_has_a_closed_form(trials: int) -> None:
    found = bound(0, trials)
    assert found is not None
    assert found.upper == pytest.approx(1 - 0.05 ** (1 / trials), rel=1e-9)
    assert found.upper == pytest.approx(float(betaincinv(1, trials, 0.95)), rel=1e-9)


@pytest.mark.slow
@given(st.data())
def test_so_few_hits_would_be_a_surprise_at_the_bound(data: st.DataObject) -> None:
    trials = data.draw(st.integers(1, 60))
    hits = data.draw(st.integers(0, trials - 1))
    found = bound(hits, trials)
    assert found is not None
    chance = sum(math.comb(trials, k) * found.upper**k * (1 - found.upper) ** (trials - k) for k in range(hits + 1))
    assert chance == pytest.approx(0.05, rel=1e-6)


@given(st.integers(1, 1000), st.integers(0, 10))
def test_when_everything_was_hit_the_bound_is_one(trials: int, more: int) -> None:
    found = bound(trials + more, trials)
    assert found is not None
    assert found.upper == 1.0


def test_without_a_trial_nothing_is_known() -> None:
    assert bound(0, 0) is None
