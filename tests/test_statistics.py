"""Known values, properties, and intervals that hold in simulated benches what they promise."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.statistics import (
    Interval,
    _medians,
    _Side,
    drift,
    effect,
    growth,
    histogram,
    holm,
    noise_band,
    outliers,
    relative_half_width,
    runs_needed,
    slow_first,
    summary,
)

TIMES = st.floats(min_value=0, max_value=1e9, allow_nan=False)
SAMPLES = st.lists(TIMES, min_size=1, max_size=30)


def times(seed: int, count: int, *, median: float = 0.2, noise: float = 0.03) -> list[float]:
    found: list[float] = (median * np.random.default_rng(seed).lognormal(0, noise, count)).tolist()
    return found


def side_by_side(seed: int, *, slower: float, noise: float = 0.03, swing: float = 0.1) -> tuple[list[float], list[float]]:
    """50 rounds of base and new on a machine that gets slower for both."""
    rng = np.random.default_rng(seed)
    machine = 0.2 * (1 + np.linspace(0, swing, 50))
    return (machine * rng.lognormal(0, noise, 50)).tolist(), (slower * machine * rng.lognormal(0, noise, 50)).tolist()


def share_of_hits(draw: Callable[[int], Interval | None], truth: float, repeats: int) -> float:
    found = [draw(seed) for seed in range(repeats)]
    return sum(interval is not None and interval.low <= truth <= interval.high for interval in found) / repeats


def test_a_summary_has_the_numbers_that_one_counts_by_hand() -> None:
    found = summary([4.0, 1.0, 3.0, 2.0], seed=1)
    assert (found.count, found.mean, found.median, found.min, found.max) == (4, 2.5, 2.5, 1.0, 4.0)
    assert found.sd == pytest.approx(math.sqrt(5 / 3))
    assert found.p95 == pytest.approx(3.85)


@given(SAMPLES)
@settings(max_examples=25)
def test_a_summary_agrees_with_numpy_and_keeps_order(samples: list[float]) -> None:
    found = summary(samples, seed=1)
    assert found.mean == pytest.approx(np.mean(samples))
    assert found.median == pytest.approx(np.median(samples))
    assert found.p95 == pytest.approx(np.percentile(samples, 95))
    assert found.sd == pytest.approx(np.std(samples, ddof=1) if len(samples) > 1 else 0.0, abs=1e-6)
    assert found.min <= found.median <= found.p95 <= found.max
    assert found.min <= found.mean <= found.max
    interval = found.median_interval
    assert (interval is None) == (len(samples) < 3)
    assert interval is None or found.min <= interval.low <= interval.high <= found.max


def test_one_sample_has_no_spread_and_no_interval() -> None:
    found = summary([0.25], seed=1)
    assert (found.sd, found.p95, found.median_interval, found.p95_interval) == (0.0, 0.25, None, None)


def test_nothing_can_be_said_of_no_samples() -> None:
    with pytest.raises(ValueError, match="no samples"):
        summary([], seed=1)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_sample_that_is_no_finite_number_is_refused(odd: float) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        summary([1.0, odd], seed=1)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-300, 123456.789])
@pytest.mark.parametrize("count", [3, 7, 80])
def test_samples_that_are_all_the_same_have_intervals_of_no_width(value: float, count: int) -> None:
    found = summary([value] * count, seed=1)
    assert (found.mean, found.sd, found.p95) == (value, 0.0, value)
    assert found.median_interval == Interval(low=value, high=value)
    assert found.p95_interval == (Interval(low=value, high=value) if count == 80 else None)


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others() -> None:
    samples = times(1, 20)
    assert summary(samples, seed=7) == summary(samples, seed=7)
    # The ends are samples or midpoints of two, so not every other seed moves them.
    assert len({summary(samples, seed=seed).median_interval for seed in range(20)}) > 1


def test_the_order_of_the_samples_changes_no_summary() -> None:
    samples = times(1, 20)
    assert summary(samples, seed=7) == summary(sorted(samples), seed=7)


def test_more_confidence_is_a_wider_interval() -> None:
    samples = times(1, 40)
    narrow, wide = (summary(samples, seed=1, confidence=confidence).median_interval for confidence in (0.8, 0.99))
    assert narrow
    assert wide
    assert narrow.half_width < wide.half_width


def test_up_to_five_samples_the_interval_of_the_median_is_their_range() -> None:
    for count in (3, 4, 5):
        samples = times(count, count)
        assert summary(samples, seed=1).median_interval == Interval(low=min(samples), high=max(samples))


def test_the_median_of_resamples_is_distributed_as_if_they_had_been_drawn_whole() -> None:
    for count in (4, 7):
        ordered = np.arange(count, dtype=np.float64) ** 2
        drawn = np.median(ordered[np.random.default_rng(2).integers(0, count, (2000, count))], axis=1)
        assert scipy.stats.ks_2samp(_medians(ordered, np.random.default_rng(1)), drawn).pvalue > 0.01


def test_a_95th_percentile_has_an_interval_from_72_samples_on() -> None:
    assert summary(times(1, 71), seed=1).p95_interval is None
    found = summary(times(1, 72), seed=1)
    assert found.p95_interval
    assert found.p95_interval.low < found.p95 < found.p95_interval.high == found.max


def test_the_interval_of_the_95th_percentile_agrees_with_that_of_scipy() -> None:
    samples = times(1, 200)
    ours = summary(samples, seed=1).p95_interval
    theirs = scipy.stats.quantile_test(samples, p=0.95).confidence_interval(0.95)
    assert ours == Interval(low=float(theirs.low), high=float(theirs.high))


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["normal", "lognormal"])
def test_intervals_hold_what_they_promise(shape: str) -> None:
    rng = np.random.default_rng(11)
    draws = [rng.normal(1, 0.2, 20) if shape == "normal" else rng.lognormal(0, 0.5, 20) for _ in range(400)]
    found = [summary(samples, seed=number) for number, samples in enumerate(draws)]
    assert 0.90 <= share_of_hits(lambda number: found[number].median_interval, 1.0, 400) <= 0.99


def test_the_interval_of_the_95th_percentile_holds_what_it_promises() -> None:
    truth = math.exp(0.5 * NormalDist().inv_cdf(0.95))
    share = share_of_hits(lambda seed: summary(times(seed, 100, median=1, noise=0.5), seed=seed).p95_interval, truth, 100)
    assert 0.90 <= share <= 1


def test_the_one_sample_that_stands_apart_is_an_outlier_either_way() -> None:
    assert outliers([10.0, 10.1, 9.9, 10.05, 9.95, 15.0]) == (5,)
    assert outliers([10.0, 2.0, 10.1, 9.9, 10.05, 9.95]) == (1,)


def test_a_score_of_three_and_a_half_is_the_limit() -> None:
    # The median is 0 and the MAD is 1, so the limit lies at 3.5 / 0.6745 = 5.189.
    assert outliers([-1, -1, -1, 0, 1, 1, 1, -5.18, 5.18]) == ()
    assert outliers([-1, -1, -1, 0, 1, 1, 1, -5.2, 5.18]) == (7,)


def test_where_half_of_the_samples_are_the_same_the_mean_deviation_judges() -> None:
    assert outliers([5, 5, 5, 5, 5, 5, 5, 5, 5, 6]) == (9,)
    # The mean deviation is 2/5, so the limit lies 3.5 * 1.2533 * 0.4 = 1.75 away.
    assert outliers([5, 5, 5, 6, 4]) == ()


def test_equal_samples_and_few_samples_have_no_outliers() -> None:
    assert outliers([5.0] * 20) == ()
    assert outliers([1.0, 1.0, 100.0]) == ()
    assert outliers([]) == ()


@given(SAMPLES)
@settings(max_examples=40)
def test_outliers_are_the_same_in_another_unit_and_fewer_than_half(samples: list[float]) -> None:
    found = outliers(samples)
    assert outliers([1024 * sample for sample in samples]) == found
    assert 2 * len(found) <= len(samples)


def test_a_slow_first_sample_is_noticed_among_five_or_more() -> None:
    assert slow_first([2.0, 1.0, 1.01, 0.99, 1.02])
    assert not slow_first([2.0, 1.0, 1.01, 0.99])
    assert not slow_first([0.2, 1.0, 1.01, 0.99, 1.02])
    assert not slow_first([1.03, 1.0, 1.01, 0.99, 1.02])


def test_a_slow_first_sample_does_not_hide_behind_others_that_are_slow() -> None:
    assert slow_first([5.0, 1.0, 1.1, 0.9, 1.05, 0.95, 5.0])
    assert not slow_first([1.0, 1.0, 1.1, 0.9, 1.05, 0.95, 5.0])


def test_samples_that_are_all_the_same_have_no_slow_first() -> None:
    assert not slow_first([1.0] * 6)
    assert slow_first([2.0, *[1.0] * 6])


def test_the_relative_half_width_is_that_of_the_median_in_the_summary() -> None:
    samples = times(3, 20)
    found = summary(samples, seed=1)
    width = relative_half_width(samples, seed=1)
    assert found.median_interval
    assert width == pytest.approx(found.median_interval.half_width / found.median, rel=0.2)


def test_the_relative_half_width_shrinks_as_samples_come_in() -> None:
    widths = [relative_half_width(times(3, count), seed=1) for count in (10, 90, 810)]
    assert widths[0]
    assert widths[1]
    assert widths[2]
    assert widths[0] > 1.5 * widths[1] > 2.25 * widths[2]


def test_the_relative_half_width_is_unknown_for_few_samples_and_of_zero() -> None:
    assert relative_half_width([1.0] * 5, seed=1) is None
    assert relative_half_width([0.0] * 9, seed=1) is None
    assert relative_half_width([1.0] * 6, seed=1) == 0.0


def test_drift_is_seen_when_samples_rise_or_fall() -> None:
    rising = [1 + 0.01 * number + noise for number, noise in enumerate(times(1, 30, median=0.05))]
    assert drift(rising).rho > 0.9
    assert drift(rising).p < 1e-6
    assert drift(rising[::-1]).rho < -0.9
    assert drift(times(2, 30)).p > 0.01


def test_drift_of_few_samples_is_exact() -> None:
    assert drift([1, 2, 3, 4]).p == pytest.approx(2 / 24)
    assert drift([7, 6, 5, 4, 3, 2, 1]).p == pytest.approx(2 / 5040)
    # Orders of four whose rho is 0.8 or more either way: 1234 and its three swaps of neighbours, and the same backwards.
    assert drift([2, 1, 3, 4]).p == pytest.approx(8 / 24)


def test_there_is_no_drift_in_equal_samples_or_two() -> None:
    for samples in ([], [1.0], [1.0, 2.0], [3.0] * 10):
        assert (drift(samples).rho, drift(samples).p) == (0.0, 1.0)


def test_an_effect_is_the_ratio_of_the_medians() -> None:
    found = effect([1, 2, 3, 4], [2, 4, 6], seed=1)
    assert found
    assert found.ratio == pytest.approx(4 / 2.5)
    assert (found.base_count, found.new_count, found.paired) == (4, 3, False)
    assert found.p_value == pytest.approx(scipy.stats.mannwhitneyu([1, 2, 3, 4], [2, 4, 6]).pvalue)


def test_an_effect_of_few_samples_has_the_exact_probability() -> None:
    found = effect([1, 2, 3], [4, 5, 6], seed=1)
    assert found
    assert found.p_value == pytest.approx(2 / math.comb(6, 3))


def test_an_effect_in_rounds_has_the_exact_probability() -> None:
    base, rounds = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], range(6)
    found = effect(base, [1.1, 2.3, 3.2, 4.9, 5.8, 6.1], seed=1, base_rounds=rounds, new_rounds=rounds)
    assert found
    assert found.paired
    assert found.p_value == pytest.approx(2 / 2**6)


@pytest.mark.parametrize("rounds", [None, range(12)])
def test_equal_samples_have_no_effect(rounds: range | None) -> None:
    found = effect([0.1] * 12, [0.1] * 12, seed=1, base_rounds=rounds, new_rounds=rounds)
    assert found
    assert (found.ratio, found.interval, found.p_value, found.paired) == (1.0, Interval(low=1.0, high=1.0), 1.0, rounds is not None)


@pytest.mark.parametrize("rounds", [None, range(12)])
def test_equal_samples_of_two_kinds_differ_surely(rounds: range | None) -> None:
    found = effect([1.0] * 12, [2.0] * 12, seed=1, base_rounds=rounds, new_rounds=rounds)
    assert found
    assert (found.ratio, found.interval) == (2.0, Interval(low=2.0, high=2.0))
    assert found.p_value < 0.01


def test_no_effect_can_be_said_of_few_samples_or_of_a_base_of_zero() -> None:
    assert effect([1, 2], [1, 2, 3], seed=1) is None
    assert effect([1, 2, 3], [1, 2], seed=1) is None
    assert effect([], [], seed=1) is None
    assert effect([0, 0, 0, 5], [1, 2, 3], seed=1) is None
    assert effect([0, 0, 0, 5], [1, 2, 3, 4], seed=1, base_rounds=range(4), new_rounds=range(4)) is None


def test_a_base_next_to_zero_has_no_effect_and_no_warning() -> None:
    assert effect([0.0, 1.0, 2e-311], [0.0, 0.0, 1.0], seed=1) is None
    assert effect([0.0, 1.0, 2e-311], [1.0, 1.0, 1.0], seed=1, base_rounds=range(3), new_rounds=range(3)) is None


def test_a_base_that_might_as_well_be_zero_has_no_effect() -> None:
    base = [0.0] * 5 + [1.0] * 6
    assert effect(base, [1.0] * 11, seed=1) is None
    assert effect(base, [1.0] * 11, seed=1, base_rounds=range(11), new_rounds=range(11)) is None


def test_a_new_median_of_zero_is_an_effect() -> None:
    found = effect([1.0, 2.0, 3.0], [0.0] * 3, seed=1, base_rounds=range(3), new_rounds=range(3))
    assert found
    assert (found.ratio, found.interval) == (0.0, Interval(low=0.0, high=0.0))


def test_rounds_that_only_one_side_has_are_left_out() -> None:
    base, new = times(1, 10), times(2, 9)
    found = effect(base, new, seed=1, base_rounds=range(10), new_rounds=[0, 1, 2, 3, 5, 6, 7, 8, 9])
    without = effect([*base[:4], *base[5:]], new, seed=1, base_rounds=range(9), new_rounds=range(9))
    assert found
    assert found == without
    assert (found.base_count, found.new_count) == (9, 9)


def test_rounds_in_common_are_needed_for_pairs() -> None:
    found = effect(times(1, 10), times(2, 10), seed=1, base_rounds=range(10), new_rounds=range(8, 18))
    assert found == effect(times(1, 10), times(2, 10), seed=1)


def test_samples_without_their_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="as many rounds as samples"):
        effect([1, 2, 3], [1, 2, 3], seed=1, base_rounds=[0, 1], new_rounds=[0, 1, 2])


def test_rounds_may_have_several_samples_each() -> None:
    rounds = [number // 3 for number in range(30)]
    base = times(1, 30)
    found = effect(base, [1.2 * sample for sample in base], seed=1, base_rounds=rounds, new_rounds=rounds)
    assert found
    assert found.ratio == pytest.approx(1.2)
    assert found.interval.low == pytest.approx(1.2)
    assert found.interval.high == pytest.approx(1.2)
    assert found.p_value == pytest.approx(2 / 2**10)


def test_a_resample_of_rounds_has_the_median_of_what_it_holds() -> None:
    values, rounds = np.array(times(1, 12)), np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 4, 4])
    side = _Side.of(values, rounds, np.arange(5))
    weights = np.random.default_rng(1).multinomial(5, [0.2] * 5, size=20)
    by_hand = [np.median(np.repeat(values, row[rounds])) for row in weights]
    assert side.medians(weights) == pytest.approx(by_hand)


@given(SAMPLES, SAMPLES, st.booleans())
@settings(max_examples=25)
def test_an_effect_is_sound_for_any_samples(base: list[float], new: list[float], paired: bool) -> None:  # noqa: FBT001  drawn by hypothesis
    rounds = (range(len(base)), range(len(new))) if paired else (None, None)
    found = effect(base, new, seed=1, base_rounds=rounds[0], new_rounds=rounds[1])
    if found is not None:
        assert 0 <= found.p_value <= 1
        assert 0 <= found.interval.low <= found.interval.high < math.inf
        assert min(found.base_count, found.new_count) >= 3


@pytest.mark.slow
def test_a_start_that_is_five_percent_slower_is_found_on_a_drifting_machine() -> None:
    for seed in range(20):
        base, new = side_by_side(seed, slower=1.05)
        found = effect(base, new, seed=seed, base_rounds=range(50), new_rounds=range(50))
        assert found
        assert found.p_value < 0.01
        assert 1.01 < found.ratio < 1.1
        assert found.interval.low > 1


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
def test_no_difference_is_never_reported_in_twenty_of_twenty(paired: bool) -> None:  # noqa: FBT001  a case of the test
    for seed in range(20):
        base, new = side_by_side(seed, slower=1.0)
        rounds = range(50) if paired else None
        found = effect(base, new, seed=seed, base_rounds=rounds, new_rounds=rounds)
        assert found
        assert not (found.p_value < 0.01 and found.ratio > 1.02)


def test_pairs_see_what_a_drifting_machine_hides_from_the_rest() -> None:
    base, new = side_by_side(4, slower=1.05, swing=1.0)
    paired = effect(base, new, seed=1, base_rounds=range(50), new_rounds=range(50))
    apart = effect(base, new, seed=1)
    assert paired
    assert apart
    assert paired.p_value < 0.001
    assert apart.p_value > 0.05
    assert paired.interval.half_width < apart.interval.half_width


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_of_a_ratio_holds_what_it_promises(paired: bool) -> None:  # noqa: FBT001  a case of the test
    rounds = range(15) if paired else None

    def draw(seed: int) -> Interval | None:
        base, new = times(seed, 15), times(1000 + seed, 15, median=0.22)
        found = effect(base, new, seed=seed, base_rounds=rounds, new_rounds=rounds)
        return found and found.interval

    assert 0.90 <= share_of_hits(draw, 1.1, 150) <= 1


def test_holm_adjusts_step_by_step() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.6, 0.9]) == (1.0, 1.0)
    assert holm([]) == ()


@given(st.lists(st.floats(min_value=0, max_value=1), max_size=10))
@settings(max_examples=40)
def test_holm_keeps_order_and_lies_between_none_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for before, after in zip(p_values, adjusted, strict=True):
        assert before <= after <= min(1.0, len(p_values) * before) or after == max(adjusted)
        assert after <= 1
    ordered = [after for _, after in sorted(zip(p_values, adjusted, strict=True))]
    assert ordered == sorted(ordered)


def test_more_runs_are_needed_for_a_smaller_threshold() -> None:
    base, new = times(1, 20), times(2, 20)
    coarse, fine = runs_needed(base, new, threshold=0.02, seed=1), runs_needed(base, new, threshold=0.01, seed=1)
    assert coarse
    assert fine
    assert fine == pytest.approx(4 * coarse, rel=0.1)


def test_as_many_runs_as_are_said_to_be_needed_make_the_interval_narrow_enough() -> None:
    needed = runs_needed(times(1, 30), times(2, 30), threshold=0.01, seed=1)
    assert needed
    found = effect(times(3, needed), times(4, needed), seed=1)
    assert found
    assert 0.5 * 0.01 < found.interval.half_width < 0.01


def test_fewer_runs_are_needed_side_by_side_on_a_drifting_machine() -> None:
    base, new = side_by_side(1, slower=1.0, swing=1.0)
    apart = runs_needed(base, new, threshold=0.05, seed=1)
    paired = runs_needed(base, new, threshold=0.05, seed=1, base_rounds=range(50), new_rounds=range(50))
    assert apart
    assert paired
    assert 2 * paired < apart


def test_a_rank_test_needs_eight_runs_and_some_need_nobody_can_say() -> None:
    assert runs_needed([1.0] * 4, [1.0] * 4, threshold=0.05, seed=1) == 8
    assert runs_needed([1.0] * 2, [1.0] * 2, threshold=0.05, seed=1) is None
    assert runs_needed([1.0] * 4, [1.0] * 4, threshold=0, seed=1) is None
    assert runs_needed([1.0] * 4, [0.0] * 4, threshold=0.05, seed=1) is None


def test_growth_finds_the_exponent_of_a_power_law() -> None:
    sizes = [1, 1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 8]
    noise = times(1, 12, median=1)
    found = growth(sizes, [3 * size**1.5 * factor for size, factor in zip(sizes, noise, strict=True)], seed=1)
    assert found
    assert found.interval
    assert found.exponent == pytest.approx(1.5, abs=0.05)
    assert found.factor == pytest.approx(3, rel=0.1)
    assert found.interval.low < found.exponent < found.interval.high < found.interval.low + 0.2


def test_growth_is_the_least_squares_line_on_logarithms() -> None:
    sizes, values = [1.0, 2.0, 3.0, 3.0, 5.0], [1.0, 1.3, 2.5, 2.0, 2.2]
    found = growth(sizes, values, seed=1)
    line = scipy.stats.linregress(np.log(sizes), np.log(values))
    assert found
    assert found.exponent == pytest.approx(line.slope)
    assert found.factor == pytest.approx(math.exp(line.intercept))
    assert found.interval is None


def test_growth_needs_two_sizes_and_positive_values() -> None:
    assert growth([], [], seed=1) is None
    assert growth([2, 2, 2], [1, 2, 3], seed=1) is None
    assert growth([1, 2], [0, 1], seed=1) is None
    assert growth([0, 2], [1, 1], seed=1) is None
    with pytest.raises(ValueError, match="each value has its size"):
        growth([1, 2], [1], seed=1)


def test_values_that_do_not_grow_have_the_exponent_zero() -> None:
    found = growth([1, 1, 1, 4, 4, 4], [2.0] * 6, seed=1)
    assert found
    assert found.interval
    assert (found.exponent, found.interval.low, found.interval.high, found.factor) == pytest.approx((0.0, 0.0, 0.0, 2.0))


def test_the_interval_of_an_exponent_holds_what_it_promises() -> None:
    sizes = np.repeat([1, 2, 4, 8], 5)

    def draw(seed: int) -> Interval | None:
        found = growth(sizes.tolist(), (sizes**0.5 * times(seed, 20, median=1, noise=0.1)).tolist(), seed=seed)
        return found and found.interval

    assert 0.88 <= share_of_hits(draw, 0.5, 150) <= 1


def test_a_band_of_noise_is_student_s_prediction_interval_on_logarithms() -> None:
    found = noise_band([math.exp(-0.01), 1.0, math.exp(0.01)])
    # t of 2 degrees of freedom is 4.302653; the standard deviation of the logarithms is 0.01.
    reach = 4.302653 * 0.01 * math.sqrt(4 / 3)
    assert found
    assert (found.low, found.high) == pytest.approx((math.exp(-reach), math.exp(reach)))


def test_a_band_of_noise_catches_the_next_bench() -> None:
    caught = 0
    for seed in range(400):
        *before, after = times(seed, 6)
        band = noise_band(before)
        assert band
        caught += band.low <= after <= band.high
    assert 0.92 <= caught / 400 <= 0.98


def test_a_band_of_noise_needs_three_positive_medians() -> None:
    assert noise_band([1.0, 2.0]) is None
    assert noise_band([1.0, 2.0, 0.0]) is None


def test_a_band_of_noise_of_equal_medians_holds_just_these() -> None:
    assert noise_band([0.1] * 3) == Interval(low=0.1, high=0.1)


def test_the_maximum_lies_in_the_last_bin() -> None:
    assert histogram([0, 1, 2, 3, 4], bins=2) == ((0, 2, 2), (2, 4, 3))


def test_samples_outside_given_ends_are_in_no_bin() -> None:
    assert histogram([0, 1, 2, 3, 4], bins=2, low=1, high=3) == ((1, 2, 1), (2, 3, 2))
    assert histogram([], bins=2, low=0, high=2) == ((0, 1, 0), (1, 2, 0))


def test_equal_samples_are_in_one_bin_and_no_samples_in_none() -> None:
    assert histogram([3.0] * 4, bins=5) == ((3.0, 3.0, 4),)
    assert histogram([], bins=5) == ()


def test_a_histogram_without_bins_or_downwards_is_refused() -> None:
    with pytest.raises(ValueError, match="one bin or more"):
        histogram([1.0], bins=0)
    with pytest.raises(ValueError, match="goes upwards"):
        histogram([1.0], bins=2, low=2, high=1)


@given(SAMPLES, st.integers(min_value=1, max_value=12))
@settings(max_examples=40)
def test_every_sample_is_in_one_bin_and_the_bins_join(samples: list[float], bins: int) -> None:
    found = histogram(samples, bins=bins)
    assert sum(count for _, _, count in found) == len(samples)
    assert (found[0][0], found[-1][1]) == (min(samples), max(samples))
    assert all(one[1] == other[0] and one[0] <= one[1] for one, other in pairwise(found))
    for number, (low, high, count) in enumerate(found):
        last = number == len(found) - 1
        assert count == sum(low <= sample < high or (last and sample == high) for sample in samples)
