"""What repeated measurements say, and how sure that is: intervals, outliers, drift, effects, growth and bands of noise.

Nothing here assumes that times are normal, for they are not: they have a floor and a long tail. So intervals come from the bootstrap
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993) and tests go by ranks. All resampling is seeded by an argument: the same
samples and the same seed give the same numbers. No sample is ever removed; outliers are named, and the reader decides.

An interval at the level ``CONFIDENCE`` holds the true value in that share of repeated benches. Where there are too few samples for any
interval to hold what it promises, there is none; what is too few stands with each function.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

# scipy is imported where it is used: scipy.special takes a third of a second and scipy.stats most of one, and not every command needs both.

CONFIDENCE: Final = 0.95
"""The share of repeated benches in which an interval holds the true value."""

RESAMPLES: Final = 2000
"""How often samples are drawn again; Efron and Tibshirani (chapter 14) ask for 1000 to 2000 for the ends of intervals."""

FEWEST: Final = 3
"""Fewer samples than these have no interval of their median."""

OUTLYING: Final = 3.5
"""The modified z-score beyond which Iglewicz and Hoaglin call a sample an outlier."""

_CELLS: Final = 1 << 20
"""So many drawn samples are held in memory at once."""


_FEWEST_FOR_MEDIAN: Final = 6
"""The least n for which smallest and largest sample enclose the median with 95 %: 1 - 2**(1 - n) is 0.94 for 5 and 0.97 for 6."""

_FEWEST_TO_TELL: Final = 8
"""With fewer a side, Wilcoxon's test can't come below 1 %, however clear the difference is: its least p-value is 2**(1 - n)."""

_EXACT: Final = 7
"""Up to so many samples all orders (5040) are tried to judge a rank correlation; from 8 on Student's t is close enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """From ``low`` to ``high``, in the unit of the samples, or of the ratio."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the distance between its ends."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the samples of one series say; all numbers but ``count`` are in the unit of the samples.

    Attributes:
        count: How many samples.
        mean: Their mean.
        sd: Their standard deviation, with n - 1 in the denominator; 0 for one sample.
        median: Their median.
        min: The smallest.
        max: The largest.
        p95: The 95th percentile.
        median_interval: Of the median; none for fewer than 3 samples.
        p95_interval: Of the 95th percentile; none for fewer than 72 samples.
    """

    count: int
    mean: float
    sd: float
    median: float
    min: float
    max: float
    p95: float
    median_interval: Interval | None
    p95_interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Whether samples rise or fall in the course of a bench: Spearman's ``rho`` of samples against their order, and its p-value."""

    rho: float
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How much one series differs from another.

    Attributes:
        ratio: The median of the new one through that of the base: 1.05 is 5 % more.
        interval: Of the ratio.
        p_value: Of the rank test, two-sided: how probable such a difference would be if there were none.
        base_count: How many samples of the base are in it.
        new_count: How many samples of the new one are in it.
        paired: True when samples of the same rounds were compared.
    """

    ratio: float
    interval: Interval
    p_value: float
    base_count: int
    new_count: int
    paired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How values grow with size: ``value = factor * size ** exponent``.

    Attributes:
        exponent: 0 for no growth, 1 for growth in proportion.
        interval: Of the exponent; none when a size has fewer than 3 values.
        factor: The value at size 1.
    """

    exponent: float
    interval: Interval | None
    factor: float


def summary(samples: Sequence[float], *, seed: int, confidence: float = CONFIDENCE) -> Summary:
    """The statistics of one sample or more, with intervals.

    Percentiles are interpolated linearly (Hyndman and Fan's type 7, as in `harness.threshold`). The interval of the median is a
    bootstrap percentile interval, its tails widened for few samples (Hesterberg, What Teachers Should Know about the Bootstrap, 2015).
    Two samples say next to nothing about their spread, so it begins at 3. It can't leave the range of the samples, which encloses the
    true median in only 75 % (3 samples), 88 % (4) and 94 % (5) of benches; from 6 samples on it can hold its 95 %.

    The bootstrap knows too little of a tail: at 100 samples its interval of the 95th percentile held in 87 % of simulated benches. So that
    one goes from one sample to another, chosen by the binomial distribution (Conover, Practical Nonparametric Statistics, 1999, section
    3.2), which holds for any distribution. Its upper end is the largest sample at most, and that lies below the true 95th percentile in
    0.95**n of benches: too often with fewer than 72 samples.

    Raises:
        ValueError: When there is no sample, or one is not a finite number.
    """
    ordered = np.sort(_array(samples))
    count = len(ordered)
    if not count:
        raise ValueError("no samples: there is nothing to sum up")
    return Summary(
        count=count,
        mean=_mean(ordered),
        sd=_sd(ordered),
        median=_quantile(ordered, 0.5),
        min=float(ordered[0]),
        max=float(ordered[-1]),
        p95=_quantile(ordered, 0.95),
        median_interval=_interval_of_median(ordered, confidence, np.random.default_rng(seed)) if count >= FEWEST else None,
        p95_interval=_interval_of_tail(ordered, 0.95, confidence),
    )


def outliers(samples: Sequence[float]) -> tuple[int, ...]:
    """The places of samples whose modified z-score exceeds 3.5 either way; none of fewer than 4 samples.

    The score is 0.6745 (x - median) / MAD, with the median absolute deviation; when that is 0, since half of the samples are the same, it
    is (x - median) / (1.253314 MeanAD), with the mean one (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993).
    """
    values = _array(samples)
    if len(values) < 4:
        return ()
    deviations, limit = _deviations(values, values)
    return tuple(int(place) for place in np.flatnonzero(np.abs(deviations) > limit))


def slow_first(samples: Sequence[float]) -> bool:
    """Whether the first sample is an outlier upwards, judged by the others alone; False with fewer than 4 others.

    It is the warning of hyperfine: what was not cached at the first run was at all others.
    """
    values = _array(samples)
    if len(values) < 5:
        return False
    deviations, limit = _deviations(values[:1], values[1:])
    return bool(deviations[0] > limit)


def relative_half_width(samples: Sequence[float], *, seed: int) -> float | None:
    """Half the width of the interval of the median as a share of the median; None when that is unknown.

    Unknown with fewer than 6 samples, whose range does not enclose the median as often as promised (see `summary`): a bench must not stop
    because three samples happen to lie close. Unknown too when the median is 0. A bench that asks after each round and stops at the first
    narrow interval ends with one that is a little too narrow, for chance has a say in when it stops.
    """
    ordered = np.sort(_array(samples))
    if len(ordered) < _FEWEST_FOR_MEDIAN or not (median := _quantile(ordered, 0.5)):
        return None
    return _interval_of_median(ordered, CONFIDENCE, np.random.default_rng(seed)).half_width / abs(median)


def drift(samples: Sequence[float]) -> Drift:
    """Spearman's rank correlation of the samples with their order: a small p-value means that they rose or fell as the bench went on.

    Up to 7 samples the p-value is exact, over all orders; above that it is Student's. With fewer than 3 samples, or all the same, there is
    no correlation and p is 1.
    """
    values = _array(samples)
    if len(values) < FEWEST or values.min() == values.max():
        return Drift(rho=0.0, p=1.0)
    from scipy.stats import rankdata, spearmanr  # noqa: PLC0415  as above

    order = np.arange(len(values), dtype=np.float64)
    found = spearmanr(order, values)
    rho = float(found.statistic)
    if len(values) > _EXACT:
        return Drift(rho=rho, p=float(found.pvalue))
    ranks = rankdata(values)
    centred = ranks - ranks.mean()
    others = np.array(list(permutations(centred))) @ order
    return Drift(rho=rho, p=float(np.mean(np.abs(others) >= abs(centred @ order) - 1e-9)))


def effect(
    base: Sequence[float],
    new: Sequence[float],
    *,
    seed: int,
    base_rounds: Sequence[int] | None = None,
    new_rounds: Sequence[int] | None = None,
) -> Effect | None:
    """How much the median of ``new`` differs from that of ``base``; None when that can't be said.

    With the rounds of both, which must be of one bench, what was measured in the same round is compared: whole rounds are drawn again, and
    the test is Wilcoxon's signed-rank test (1945) on the logarithms of the ratios of the rounds' medians, or on the differences when one is
    not positive. So a machine that drifts, drifts for both. Rounds that only one of them has, since a start failed, are left out. Without
    rounds, or with fewer than 3 in common, each is drawn again by itself, and the test is that of Mann and Whitney (1947), exact for few
    samples without ties.

    Few samples have too narrow an interval: in simulated benches that of 3 rounds held in 76 %, of 4 in 88 %, of 5 in 95 %, and that of 3
    samples each without rounds in 91 %. No rank test of so few on both sides comes below 1 %. It can't be said at all with fewer than 3
    samples of either, or when the median of the base is not positive, or is 0 in so many resamples that the ratio has no upper end.

    Raises:
        ValueError: When the samples and the rounds of one differ in number, or a sample is not a finite number.
    """
    first, second = _array(base), _array(new)
    if base_rounds is not None and new_rounds is not None:
        pairs = _Pairs.of(first, second, base_rounds, new_rounds)
        if pairs is not None:
            return _effect_of_pairs(pairs, np.random.default_rng(seed))
    return _effect_of_two(np.sort(first), np.sort(second), np.random.default_rng(seed))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """The p-values, each in its place, adjusted for there being several, by Holm's step-down procedure (1979).

    To call those at most 0.05 significant errs anywhere in at most 5 % of benches, whatever hangs on whatever.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for tried, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - tried)))
        adjusted[place] = largest
    return tuple(adjusted)


def runs_needed(
    base: Sequence[float],
    new: Sequence[float],
    *,
    threshold: float,
    seed: int,
    base_rounds: Sequence[int] | None = None,
    new_rounds: Sequence[int] | None = None,
) -> int | None:
    """About how many samples each side would need to tell a difference of ``threshold`` (0.05 is 5 %) from none.

    The interval of the ratio narrows with the square root of the number of samples. To lie clear of 1 in four of five benches, half of it
    must be at most 0.70 of the threshold. Never fewer than 8, for with fewer no rank test comes below 1 %. None when there is no `effect`,
    or the threshold is not positive.
    """
    found = effect(base, new, seed=seed, base_rounds=base_rounds, new_rounds=new_rounds)
    if found is None or found.ratio <= 0 or threshold <= 0:
        return None
    normal = NormalDist()
    end = normal.inv_cdf((1 + CONFIDENCE) / 2)
    wanted = threshold * end / (end + normal.inv_cdf(0.8))
    count = 2 / (1 / found.base_count + 1 / found.new_count)
    needed = count * (found.interval.half_width / found.ratio / wanted) ** 2
    return max(_FEWEST_TO_TELL, math.ceil(needed)) if math.isfinite(needed) else None


def growth(sizes: Sequence[float], values: Sequence[float], *, seed: int) -> Growth | None:
    """The power law that fits the values best: least squares of log value on log size, with a bootstrap interval of its exponent.

    Values are drawn again within their size. None with fewer than two sizes, or when a size or a value is not positive.

    Raises:
        ValueError: When there are not as many sizes as values, or one is not a finite number.
    """
    x, y = _array(sizes), _array(values)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} sizes and {len(y)} values; each value has its size")
    if not len(x) or x.min() <= 0 or y.min() <= 0:
        return None
    x, y = np.log(x), np.log(y)
    if x.min() == x.max():
        return None
    lever = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    exponent = float(lever @ y)
    groups = [np.flatnonzero(x == size) for size in np.unique(x)]
    interval = None
    fewest = min(len(group) for group in groups)
    if fewest >= FEWEST:
        rng = np.random.default_rng(seed)
        # The sizes stay as they are, so the exponent of a resample is a weighted sum of the sums that were drawn within each size.
        drawn = sum(lever[group[0]] * len(group) * _means(y[group], rng) for group in groups)
        interval = _ends(np.asarray(drawn), _tail(CONFIDENCE, fewest, len(x) - len(groups)))
    return Growth(exponent=exponent, interval=interval, factor=math.exp(float(y.mean()) - exponent * float(x.mean())))


def noise_band(medians: Sequence[float]) -> Interval | None:
    """Where the median of one more bench of the same code falls with 95 %, given those of earlier ones.

    It is the prediction interval of Student's t on logarithms, since benches differ by factors (Hahn and Meeker, Statistical Intervals,
    1991). None with fewer than 3, or when one is not positive.
    """
    values = _array(medians)
    if len(values) < FEWEST or values.min() <= 0:
        return None
    if values.min() == values.max():  # counts often are, and the way to logarithms and back would not quite return to them
        return Interval(low=float(values[0]), high=float(values[0]))
    from scipy.special import stdtrit  # noqa: PLC0415  as above

    logs = np.sort(np.log(values))
    reach = float(stdtrit(len(logs) - 1, (1 + CONFIDENCE) / 2)) * _sd(logs) * math.sqrt(1 + 1 / len(logs))
    middle = _mean(logs)
    return Interval(low=math.exp(middle - reach), high=math.exp(middle + reach))


def histogram(
    samples: Sequence[float], *, bins: int, low: float | None = None, high: float | None = None
) -> tuple[tuple[float, float, int], ...]:
    """Bins of equal width from ``low`` to ``high``: lower edge, upper edge and how many samples lie in each.

    A bin has its lower edge and not its upper one, but the last has both. Without ends, those of the samples are taken; samples outside
    the ends are in no bin. When both ends are the same there is one bin of no width, and without samples and ends there is none.

    Raises:
        ValueError: When there is not at least one bin, ``low`` lies above ``high``, or a sample is not a finite number.
    """
    values = _array(samples)
    if bins < 1:
        raise ValueError(f"a histogram has one bin or more, not {bins}")
    if not len(values) and (low is None or high is None):
        return ()
    first = float(values.min()) if low is None else low
    last = float(values.max()) if high is None else high
    if first > last:
        raise ValueError(f"a histogram goes upwards, not from {first} to {last}")
    within = values[(values >= first) & (values <= last)]
    if first == last:
        return ((first, last, len(within)),)
    edges = [first + (last - first) * (number / bins) for number in range(bins)] + [last]
    places = np.clip(np.searchsorted(edges, within, side="right") - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    return tuple((edges[number], edges[number + 1], int(counts[number])) for number in range(bins))


def _array(samples: Sequence[float]) -> Floats:
    values = np.asarray(samples, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a sample is not a finite number")
    return values


def _mean(ordered: Floats) -> float:
    # Rounding must not take the mean of equal samples beyond them, or they would spread.
    return min(max(math.fsum(ordered) / len(ordered), float(ordered[0])), float(ordered[-1]))


def _sd(ordered: Floats) -> float:
    return math.sqrt(math.fsum((ordered - _mean(ordered)) ** 2) / (len(ordered) - 1)) if len(ordered) > 1 else 0.0


def _quantile(ordered: Floats, rank: float) -> float:
    place = (len(ordered) - 1) * rank
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (ordered[above] - ordered[below]) * (place - below))


def _deviations(values: Floats, others: Floats) -> tuple[Floats, float]:
    """How far each value lies from the median of the others, and how far is too far."""
    median = float(np.median(others))
    away = np.abs(others - median)
    mad = float(np.median(away))
    # Nothing is divided by the deviation: it may be too small for that.
    return values - median, OUTLYING * (mad / 0.6745 if mad else 1.253314 * float(away.mean()))


def _tail(confidence: float, count: int, freedom: int) -> float:
    """The share of resamples beyond each end of an interval, widened for few samples.

    A resample of n samples spreads sqrt((n - 1) / n) as wide as it should, and percentiles know no Student's t; Hesterberg (2015)
    mends both by taking the tails at the normal probability of -sqrt(n / (n - 1)) t instead of at 2.5 %.
    """
    from scipy.special import stdtrit  # noqa: PLC0415  as above

    t = float(stdtrit(freedom, (1 + confidence) / 2))
    return NormalDist().cdf(-math.sqrt(count / (count - 1)) * t)


def _ends(drawn: Floats, tail: float) -> Interval:
    """The interval that leaves a share of ``tail`` of what was drawn beyond each end; no interpolation, for an end may be infinite."""
    low, high = np.quantile(drawn, [tail, 1 - tail], method="inverted_cdf")
    return Interval(low=float(low), high=float(high))


def _means(values: Floats, rng: np.random.Generator) -> Floats:
    """The mean of each resample."""
    count = len(values)
    means = np.empty(RESAMPLES)
    step = max(1, _CELLS // count)
    for begin in range(0, RESAMPLES, step):
        end = min(begin + step, RESAMPLES)
        means[begin:end] = values[rng.integers(0, count, (end - begin, count))].mean(axis=1)
    return means


def _medians(ordered: Floats, rng: np.random.Generator) -> Floats:
    """The median of each resample, without drawing resamples whole.

    To draw n of n samples is to draw n uniform numbers and round each down to a place. So the k-th smallest of a resample has the place of
    the k-th smallest of n uniform numbers, which is Beta(k, n + 1 - k); the next one has that of the smallest of the n - k numbers left,
    which lie between the k-th and 1.
    """
    count = len(ordered)
    k = (count + 1) // 2
    first = rng.beta(k, count + 1 - k, RESAMPLES)
    low: Floats = ordered[np.minimum((first * count).astype(np.intp), count - 1)]
    if count % 2:
        return low
    second = first + (1 - first) * rng.beta(1, count - k, RESAMPLES)
    high: Floats = ordered[np.minimum((second * count).astype(np.intp), count - 1)]
    return low + (high - low) / 2


def _interval_of_median(ordered: Floats, confidence: float, rng: np.random.Generator) -> Interval:
    return _ends(_medians(ordered, rng), _tail(confidence, len(ordered), len(ordered) - 1))


def _interval_of_tail(ordered: Floats, rank: float, confidence: float) -> Interval | None:
    """The samples that enclose a quantile; None when the largest lies below it too often.

    So many samples lie below the quantile as a binomial distribution says: the l-th lies above it when fewer than l do, and the u-th below
    it when u or more do. Either happens in at most half of what ``confidence`` leaves.
    """
    from scipy.special import bdtr  # noqa: PLC0415  as above

    count = len(ordered)
    tail = (1 - confidence) / 2
    if rank**count > tail:
        return None
    at_most = bdtr(np.arange(count, dtype=np.float64), count, rank)
    below = int(np.searchsorted(at_most, tail, side="right")) - 1
    above = int(np.searchsorted(at_most[:-1], 1 - tail))
    return Interval(low=float(ordered[below]), high=float(ordered[above]))


def _ratios(base: Floats, new: Floats) -> Floats:
    """New through base, infinite where the base is 0 or next to it."""
    with np.errstate(over="ignore"):
        found: Floats = np.divide(new, base, out=np.full(len(base), np.inf), where=base > 0)
    return found


def _effect_of_two(base: Floats, new: Floats, rng: np.random.Generator) -> Effect | None:
    """The effect between ordered samples that share no rounds."""
    if min(len(base), len(new)) < FEWEST or (median := _quantile(base, 0.5)) <= 0:
        return None
    interval = _ends(_ratios(_medians(base, rng), _medians(new, rng)), (1 - CONFIDENCE) / 2)
    if not math.isfinite(interval.high):
        return None
    return Effect(
        ratio=_quantile(new, 0.5) / median,
        interval=interval,
        p_value=_mann_whitney(base, new),
        base_count=len(base),
        new_count=len(new),
        paired=False,
    )


def _mann_whitney(base: Floats, new: Floats) -> float:
    if min(base[0], new[0]) == max(base[-1], new[-1]):
        return 1.0
    from scipy.stats import mannwhitneyu  # noqa: PLC0415  as above

    return float(mannwhitneyu(base, new, alternative="two-sided", method="auto").pvalue)


def _wilcoxon(differences: Floats) -> float:
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    from scipy.stats import wilcoxon  # noqa: PLC0415  as above

    return float(wilcoxon(differences, alternative="two-sided", method="auto").pvalue)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """Samples of one side in ascending order, and for each the place of its round."""

    ordered: Floats
    places: NDArray[np.intp]

    @classmethod
    def of(cls, values: Floats, rounds: NDArray[np.int64], common: NDArray[np.int64]) -> _Side:
        kept = np.isin(rounds, common)
        values, rounds = values[kept], rounds[kept]
        order = np.argsort(values, kind="stable")
        return cls(ordered=values[order], places=np.searchsorted(common, rounds[order]))

    def medians_of_rounds(self, count: int) -> Floats:
        return np.array([_quantile(self.ordered[self.places == place], 0.5) for place in range(count)])

    def medians(self, weights: NDArray[np.int64]) -> Floats:
        """The median of each resample; a row of ``weights`` says how often it has each round."""
        running = np.cumsum(weights[:, self.places], axis=1)
        total = running[:, -1:]
        low = self.ordered[np.argmax(running > (total - 1) // 2, axis=1)]
        high = self.ordered[np.argmax(running > total // 2, axis=1)]
        return np.asarray(low + (high - low) / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """Both sides of the rounds that they have in common."""

    base: _Side
    new: _Side
    rounds: int

    @classmethod
    def of(cls, base: Floats, new: Floats, base_rounds: Sequence[int], new_rounds: Sequence[int]) -> _Pairs | None:
        """The pairs, or None when there are too few rounds in common."""
        if len(base) != len(base_rounds) or len(new) != len(new_rounds):
            raise ValueError("each sample has its round: there must be as many rounds as samples")
        first, second = np.asarray(base_rounds, dtype=np.int64), np.asarray(new_rounds, dtype=np.int64)
        common = np.intersect1d(first, second)
        if len(common) < FEWEST:
            return None
        return cls(base=_Side.of(base, first, common), new=_Side.of(new, second, common), rounds=len(common))

    def ratios(self, rng: np.random.Generator) -> Floats:
        """The ratio of the medians of each resample of whole rounds."""
        step = max(1, _CELLS // max(len(self.base.ordered), len(self.new.ordered)))
        found = []
        for begin in range(0, RESAMPLES, step):
            weights = rng.multinomial(self.rounds, np.full(self.rounds, 1 / self.rounds), size=min(step, RESAMPLES - begin))
            found.append(_ratios(self.base.medians(weights), self.new.medians(weights)))
        return np.concatenate(found)


def _effect_of_pairs(pairs: _Pairs, rng: np.random.Generator) -> Effect | None:
    """The effect between samples of the same rounds."""
    base, new = pairs.base, pairs.new
    if (median := _quantile(base.ordered, 0.5)) <= 0:
        return None
    interval = _ends(pairs.ratios(rng), (1 - CONFIDENCE) / 2)
    if not math.isfinite(interval.high):
        return None
    before, after = base.medians_of_rounds(pairs.rounds), new.medians_of_rounds(pairs.rounds)
    positive = bool(before.min() > 0 and after.min() > 0)
    return Effect(
        ratio=_quantile(new.ordered, 0.5) / median,
        interval=interval,
        p_value=_wilcoxon(np.log(after) - np.log(before) if positive else after - before),
        base_count=len(base.ordered),
        new_count=len(new.ordered),
        paired=True,
    )
