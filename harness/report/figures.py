"""The figures of a bench in words, alike on the screen and in Markdown: amounts, intervals, conditions, and sentences that compare.

A difference is *shown* when the interval of its ratio leaves out 1 and the rank test agrees, with Holm's correction for all that stand
together. All else is told as "no difference shown" with the same interval, so that a reader sees how large one could still be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from harness.benches import CONDITIONS, Attempts, Bench, Series, Under, Unit, Variant, by_cycle
from harness.checks.wording import grouped
from harness.report.text import clean
from harness.statistics import Effect, Interval, Summary, effect, growth, holm, summary
from harness.units import span

START: Final = "startup_time"
STOP: Final = "shutdown_time"
RUNTIME: Final = "runtime_start_time"

SURE: Final = 0.05
"""A chance of the rank test below which it says that there is a difference."""

WHEN: Final[dict[Under, str]] = {
    "idle": "with nothing else on",
    "load": "under load",
    "clean": "after a clean stop",
    "kill": "after SIGKILL",
    "keep-alive": "with idle connections open",
    "service-slow": "with the service slow",
    "service-down": "with the service down",
    "at-once": "with several at once",
}
"""Each condition as a part of a sentence."""

_PAIRS: Final[tuple[tuple[Under, Under, str], ...]] = (
    ("load", "idle", START),
    ("load", "idle", STOP),
    ("kill", "clean", START),
    ("keep-alive", "idle", STOP),
    ("service-slow", "idle", START),
    ("service-down", "idle", START),
)
"""Which condition is held against which, and by what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One process type of a variant under one condition."""

    process: str
    under: Under
    at_once: int

    @property
    def words(self) -> str:
        """The condition as people read it."""
        return f"{self.at_once} at once" if self.under == "at-once" else CONDITIONS[self.under].words

    @property
    def when(self) -> str:
        """The same as a part of a sentence: ``under load``."""
        return f"with {self.at_once} at once" if self.under == "at-once" else WHEN[self.under]

    def has(self, record: Series | Attempts) -> bool:
        """Whether ``record`` is of this case."""
        return (record.process, record.under, record.at_once) == (self.process, self.under, self.at_once)


def cases_of(variant: Variant) -> tuple[Case, ...]:
    """All cases of a variant that something is known of, in the order of reports."""
    told: Iterable[Series | Attempts] = (*variant.attempts, *variant.series)
    found = dict.fromkeys(Case(process=each.process, under=each.under, at_once=each.at_once) for each in told)
    order = tuple(CONDITIONS)
    return tuple(sorted(found, key=lambda case: (order.index(case.under), case.at_once)))


def series_of(variant: Variant, case: Case, metric: str) -> Series | None:
    """The samples of one metric, of which there is at least one; None where it was never measured."""
    return next((each for each in variant.series if each.metric == metric and each.samples and case.has(each)), None)


def attempts_of(variant: Variant, case: Case) -> Attempts | None:
    """The books of a case."""
    return next((each for each in variant.attempts if case.has(each)), None)


def label_of(bench: Bench, variant: Variant, case: Case) -> str:
    """The shortest name that tells a case from all others of the bench."""
    cases = [each for one in bench.variants for each in cases_of(one)]
    parts = [case.process] if len({each.process for each in cases_of(variant)}) > 1 else []
    parts += [case.words] if len({(each.under, each.at_once) for each in cases}) > 1 else []
    return clean(variant.name) + (f" ({', '.join(map(clean, parts))})" if parts else "")


@lru_cache(maxsize=1024)
def figures(samples: tuple[float, ...], seed: int) -> Summary:
    """The summary of one sample or more; several reports of a bench ask for the same, and resampling takes its time."""
    return summary(samples, seed=seed)


# --- numbers ----------------------------------------------------------------------------------------------------------------


def amount(value: float, unit: Unit) -> str:
    """A sample in three digits or as a whole number: ``412 ms``, ``61.2 MiB``, ``12 340``."""
    if unit == "s":
        return span(value)
    return _size(value) if unit == "bytes" else grouped(round(value))


def _size(value: float) -> str:
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        scaled = value / 1024**power
        if scaled >= 1:
            return f"{scaled:.{_places(scaled)}f} {unit}"
    return f"{value:.0f} B"


def _places(value: float) -> int:
    """Digits after the point, so that there are three in all."""
    return 2 if value < 9.995 else 1 if value < 99.95 else 0


def interval_text(interval: Interval | None, unit: Unit) -> str:
    """``408 to 415 ms``; ``-`` where there were too few samples for an interval."""
    return "-" if interval is None else _both(amount(interval.low, unit), " to ", amount(interval.high, unit))


def mean_text(figure: Summary, unit: Unit, sign: str) -> str:
    """``412 ± 12.0 ms`` with ``sign`` for the ±; of one sample only itself."""
    mean = amount(figure.mean, unit)
    return mean if figure.count < 2 else _both(mean, f" {sign} ", amount(figure.sd, unit))


def _both(first: str, between: str, second: str) -> str:
    """Two amounts, with their unit once if it is the same."""
    bare, _, unit = first.rpartition(" ")
    return f"{bare if unit.isalpha() and second.endswith(f' {unit}') else first}{between}{second}"


def factor_text(value: float) -> str:
    """A ratio in three digits."""
    return f"{value:.2g}" if value < 0.095 else f"{value:.{_places(value)}f}"


def range_text(interval: Interval) -> str:
    """The interval of a ratio, in parentheses."""
    return f"({factor_text(interval.low)} to {factor_text(interval.high)})"


# --- sentences that compare -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Versus:
    """A variant's series against that of the reference; ``found`` is None when there are too few samples to say."""

    variant: Variant
    case: Case
    metric: str
    found: Effect | None


def are_shown(found: Sequence[Effect | None]) -> tuple[bool, ...]:
    """Which of several differences are shown, by the interval of the ratio as well as by the rank test, with Holm's correction for all."""
    adjusted = holm([each.p_value if each else 1.0 for each in found])
    return tuple(
        each is not None and p <= SURE and not each.interval.low <= 1 <= each.interval.high for each, p in zip(found, adjusted, strict=True)
    )


def reference_of(bench: Bench) -> Variant | None:
    """The variant that the others are compared with: the one that was named, or the first; None of a bench without any."""
    return next((each for each in bench.variants if each.reference), next(iter(bench.variants), None))


def relations_of(bench: Bench) -> tuple[str, ...]:
    """Each variant against the reference, its start and its stop under each condition, in one sentence each."""
    base = reference_of(bench)
    if base is None:
        return ()
    lines = []
    told = list(_versus(bench, base))
    for each, shown in zip(told, are_shown([each.found for each in told]), strict=True):
        when = f", {each.case.when}" if len(cases_of(each.variant)) > 1 else ""
        lines.append(_against(base, each, shown=shown) + when)
        lines += _runtime_share(bench, base, each) if each.metric == START else []
    return tuple(lines)


def _versus(bench: Bench, base: Variant) -> Iterator[_Versus]:
    cases = [(variant, case) for variant in bench.variants if variant is not base for case in cases_of(variant)]
    for variant, case in cases:
        other = _counterpart(base, case)
        for metric in (START, STOP):
            first, second = series_of(base, other, metric) if other else None, series_of(variant, case, metric)
            if first and second:
                yield _Versus(variant=variant, case=case, metric=metric, found=_effect(bench, first, second))


def _effect(bench: Bench, base: Series, new: Series) -> Effect | None:
    """What differs between two series of one bench: round by round, unless just one was measured under load, which has its own rounds."""
    if (base.under == "load") != (new.under == "load"):
        return effect(base.samples, new.samples, seed=bench.seed)
    return effect(base.samples, new.samples, seed=bench.seed, base_rounds=base.rounds, new_rounds=new.rounds)


def _counterpart(base: Variant, case: Case) -> Case | None:
    """The case of the reference under the same condition; process types may have other names in another scenario."""
    alike = [each for each in cases_of(base) if (each.under, each.at_once) == (case.under, case.at_once)]
    return next((each for each in alike if each.process == case.process), alike[0] if len(alike) == 1 else None)


def _against(base: Variant, versus: _Versus, *, shown: bool) -> str:
    """``docker starts 1.80 times (1.62 to 2.01) slower than process``."""
    new, old, thing = clean(versus.variant.name), clean(base.name), "start" if versus.metric == START else "stop"
    found = versus.found
    if found is None:
        return f"{thing} of {new} against {old}: too few samples to compare"
    if not shown:
        return f"{thing} of {new} against {old}: no difference shown: {_times(found)}"
    if found.ratio > 1:
        return f"{new} {thing}s {_times(found)} slower than {old}"
    return f"{new} {thing}s {_times(_inverse(found))} faster than {old}"


def _times(found: Effect) -> str:
    return f"{factor_text(found.ratio)} times {range_text(found.interval)}"


def _inverse(found: Effect) -> Effect:
    """The same, seen from the other side."""
    low, high = (1 / end if end > 0 else math.inf for end in (found.interval.high, found.interval.low))
    return replace(found, ratio=1 / found.ratio if found.ratio > 0 else math.inf, interval=Interval(low=low, high=high))


def _runtime_share(bench: Bench, base: Variant, versus: _Versus) -> list[str]:
    """What the comparison of two starts leaves out when a runtime makes a container first for one of them alone."""
    share = series_of(versus.variant, versus.case, RUNTIME)
    if share is None or any(each.metric == RUNTIME for each in base.series):
        return []
    spent = amount(figures(share.samples, bench.seed).median, share.unit)
    return [f"that leaves out the runtime of {clean(versus.variant.name)}, which takes {spent} (median) before the app runs"]


def conditions_of(bench: Bench, variant: Variant) -> tuple[str, ...]:
    """Each condition of a variant against the one that it is held against, and how its start grows with n, in one sentence each."""
    several = len({case.process for case in cases_of(variant)}) > 1
    lines = []
    for process in dict.fromkeys(case.process for case in cases_of(variant)):
        of = f"{clean(process)}: " if several else ""
        lines += [of + line for line in (*_pairs(bench, variant, process), *_growth(bench, variant, process))]
    return tuple(lines)


def _pairs(bench: Bench, variant: Variant, process: str) -> Iterator[str]:
    cases = {under: Case(process=process, under=under, at_once=1) for under in WHEN}
    told = [
        (new, old, "a start" if metric == START else "a stop", _effect(bench, first, second))
        for new, old, metric in _PAIRS
        if (first := series_of(variant, cases[old], metric)) and (second := series_of(variant, cases[new], metric))
    ]
    sure = are_shown([found for *_, found in told])
    for (new, old, thing, found), shown in zip(told, sure, strict=True):
        if found is None:
            yield f"{WHEN[new]} against {WHEN[old]}: too few samples to compare {thing}"
        else:
            yield f"{WHEN[new]} {thing} takes {_times(found)} as long as {WHEN[old]}" + ("" if shown else ": no difference shown")


def _growth(bench: Bench, variant: Variant, process: str) -> Iterator[str]:
    """How a start grows with the number of those that start with it."""
    cases = [case for case in cases_of(variant) if case.under == "at-once" and case.process == process]
    samples = [(case.at_once, value) for case in cases if (series := series_of(variant, case, START)) for value in by_cycle(series).samples]
    if len({size for size, _ in samples}) < 2:
        return
    found = growth([size for size, _ in samples], [value for _, value in samples], seed=bench.seed)
    if found is None:
        yield "how start-up grows with n can't be told"
        return
    sure = f"({found.interval.low:.2f} to {found.interval.high:.2f})" if found.interval else "(too few samples for an interval)"
    yield f"start-up grows with n^{found.exponent:.2f} {sure}"
