"""Benches compared, phase by phase: what got slower, what did not, and what the data can't tell.

The last of several places is the *new* one, the others are the *base*; each is a bench, or the folder of a run. Series match by variant,
process type, condition and metric, and a variant's name needs not agree where each side has only one. Several baselines are pooled, and
from three on they make a *noise band*: where one more bench of the same code would fall. In a single bench its variants are compared with
the reference; they were measured side by side, so rounds are compared with themselves.

A series is **slower** only when all say so: its median grew by more than the threshold, Wilcoxon's or Mann and Whitney's rank test finds a
difference with p < 0.01 after Holm's adjustment for all series compared, the change is larger than what can be seen at all, and it lies
outside of the noise band. It is the **same** when the interval of the ratio excludes a regression of that size. Otherwise the data
**can't tell**, which is no pass.

What was measured on another machine, with another engine or cold on one side only is refused. Where another health check said that a
start was healthy there is a warning, as all but the times to *healthy* and after it compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from math import comb
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from harness.benches import (
    CONDITIONS,
    FILE,
    STOOD_STILL,
    USED,
    Attempts,
    Bench,
    Machine,
    Series,
    Under,
    Unit,
    Variant,
    by_cycle,
    differences,
    path_of,
    read_bench,
)
from harness.checks.facts import Facts
from harness.checks.health import known_health
from harness.checks.metrics import SAMPLERS, lives_of
from harness.checks.timing import PHASES
from harness.checks.wording import count, listed
from harness.engines import ENGINES
from harness.errors import ExitCode, UsageError
from harness.history import Cycled, History, LoadBegan, read
from harness.statistics import Effect, Interval, effect, holm, noise_band, runs_needed
from harness.threshold import METRICS, percentile
from harness.units import percent_of, span
from harness.verdict import Verdict
from harness.words import all_of, quoted

VERSION: Final = 1

ALPHA: Final = 0.01
"""The adjusted p-value below which a difference is none of chance."""

ALPHA_OF_FAILURES: Final = 0.05
"""The same of how often starts failed and stops had to be killed: a few in fifty matter, and the exact test is conservative."""

THRESHOLD: Final = 0.05

FLOOR_S: Final = 0.001
"""No shorter change of a time is told: the harness looks about once a millisecond whether a port is open."""

FLOOR_SHARE: Final = 0.01
"""No smaller change of anything else is told, as a share of the base."""

FEWEST: Final = 8
"""With fewer samples on a side nothing is called the same: up to 7 their interval is no wider than their range, however they fell."""

MAIN: Final = ("startup_time", "time_to_first_answer", "shutdown_time")
"""When one of these, or whether starts fail more often, can't be told, the comparison as a whole can't tell."""

TIMES: Final = tuple(name for name in METRICS if name in {*PHASES.values(), "runtime_start_time"})

COMPARED: Final = (*TIMES, *(name for name in USED if name in ("start_cpu_time", "steady_memory", "peak_memory")))
"""Every metric that is compared, in the order of reports; of all less is better. Page faults hang on what the kernel had cached."""

_MACHINE_OF_RUN: Final = re.compile(r"(?P<cores>\d+) cores, (?P<gib>\d+) GiB, (?P<system>.+), Python (?P<python>\S+)", re.ASCII)


class Judgement(Enum):
    """What is said of one series, or of how often something failed; the value is the word of JSON."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "same"
    UNSURE = "can't tell"


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One place that was compared, as its reader knows it."""

    path: str
    kind: Literal["bench", "run"]
    name: str
    began: str
    engines: tuple[str, ...]
    attributes: dict[str, str]


class Key(NamedTuple):
    """What one series is of, whatever its variant."""

    process: str
    under: Under
    at_once: int
    metric: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One series against that of the base.

    Attributes:
        variant: The new variant's name.
        base_variant: The name of that of the base.
        unit: Of both medians.
        base_median: Of the samples of all baselines together.
        limit: How much more would be a regression, as a share: the threshold, or what can be seen at all where that is more.
        ratio: The new median through that of the base; None when nothing can be said.
        low: Where the 95 % interval of the ratio begins.
        high: Where it ends.
        p: Of the rank test, adjusted for all series that were compared.
        paired: What was measured in the same round was compared.
        band: The noise band of the median, by at least three baselines.
        judgement: In one word.
        why: What else must be known to understand it; empty for nothing.
        runs_needed: About how many samples each side needs, where the data can't tell and it is known.
    """

    variant: str
    base_variant: str
    process: str
    under: Under
    at_once: int
    metric: str
    unit: Unit
    base_count: int
    new_count: int
    base_median: float
    new_median: float
    limit: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    paired: bool = False
    band: tuple[float, float] | None = None
    judgement: Judgement
    why: str = ""
    runs_needed: int | None = None

    @property
    def main(self) -> bool:
        """It decides whether the whole can be told."""
        return self.metric in MAIN


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """How often starts failed, or stops had to be killed: ``base`` of ``base_of`` before, ``new`` of ``new_of`` now.

    A start that got healthy and ended before anybody stopped it failed, too.
    ``p`` is of Fisher's exact test that it is more often, adjusted for all such tests.
    """

    variant: str
    process: str
    under: Under
    at_once: int
    what: Literal["failed starts", "killed stops"]
    base: int
    base_of: int
    new: int
    new_of: int
    p: float
    judgement: Judgement


class OneSided(msgspec.Struct, frozen=True, kw_only=True):
    """What only one side has, so that nobody compared it: a whole variant, or some metrics of one.

    ``tried``: the new side began such starts and yet has no time of them.
    """

    side: Literal["base", "new"]
    variant: str
    process: str = ""
    under: Under = "idle"
    at_once: int = 1
    metrics: tuple[str, ...] = ()
    tried: bool = False

    @property
    def blind(self) -> bool:
        """A metric that decides should be there and is not, or a whole variant."""
        return self.side == "base" and (not self.metrics or (self.tried and bool({*self.metrics} & {*MAIN})))


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All that is said of some benches.

    Attributes:
        within: Variants of one bench were compared with ``reference``.
        threshold: A share: 0.05 is 5 %.
        alpha: A rank test finds a difference when its adjusted p-value is below.
        verdict: ``fail`` for a regression, ``unknown`` when the data can't tell, else ``pass``.
        warnings: What forbids to believe it, and was allowed by ``--anyway``, or weakens it.
    """

    version: Literal[1] = VERSION
    base: tuple[Side, ...]
    new: Side
    within: bool = False
    reference: str = ""
    threshold: float
    alpha: float = ALPHA
    verdict: Literal["pass", "unknown", "fail"]
    warnings: tuple[str, ...] = ()
    changes: tuple[Change, ...]
    failures: tuple[Failures, ...]
    one_sided: tuple[OneSided, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A bench or a run that was read; a run is read as a bench of one variant."""

    path: Path
    kind: Literal["bench", "run"]
    bench: Bench


@dataclass(frozen=True, slots=True, kw_only=True)
class _Match:
    """A new variant, and the same one of each baseline that has it."""

    base: tuple[Variant, ...]
    new: Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """One series of a match on both sides; ``medians`` are those of each baseline. Rounds only where both sides shared them."""

    match: _Match
    key: Key
    unit: Unit
    base: tuple[float, ...]
    new: tuple[float, ...]
    medians: tuple[float, ...]
    rounds: tuple[tuple[int, ...], tuple[int, ...]] | None

    @property
    def base_median(self) -> float:
        return percentile(self.base, 50)

    @property
    def new_median(self) -> float:
        return percentile(self.new, 50)


# --- reading ----------------------------------------------------------------------------------------------------------------


def read_place(path: Path) -> Place:
    """What ``path`` names: a bench's folder or file, or a run's folder.

    Raises:
        UsageError: It is neither, or can't be read.
    """
    is_run = path.suffix == ".jsonl" if path.is_file() else path.is_dir() and not (path / FILE).exists()
    if not is_run:
        return Place(path=path, kind="bench", bench=read_bench(path))
    try:
        history = read(path)
    except UsageError as error:
        if "no history here" not in str(error):
            raise
        raise UsageError(f"{path}: neither a bench ({FILE}) nor a run's history in this folder; name one such as reports/latest") from error
    return Place(path=path, kind="run", bench=bench_of_run(history, str(path)))


def bench_of_run(history: History, source: str) -> Bench:
    """The starts and stops of a run as a bench of one variant; all count as under load where the run had any.

    Raises:
        UsageError: The history is that of a bench's variant, whose warm-ups only ``bench.json`` tells apart, or nothing was timed.
    """
    if any(isinstance(event, Cycled) for event in history.events):
        raise UsageError(f"{source}: the history of one variant of a bench; name the bench's own folder, which has its {FILE}")
    facts = Facts(history)
    under: Under = "load" if facts.events(LoadBegan) else "idle"
    processes = list(dict.fromkeys(life.process for life in lives_of(facts, None)))
    series = tuple(
        Series(process=process, under=under, metric=metric, unit="s", samples=tuple(samples), rounds=tuple(range(len(samples))))
        for process in processes
        for metric in TIMES
        if (samples := SAMPLERS[metric](facts, process))
    )
    if not processes:
        raise UsageError(f"{source}: no replica was started in this run, so there is nothing to compare")
    header = history.header
    name = facts.scenario.name
    engine = ENGINES.get(header.engine)
    contained = engine is None or engine.contained
    warnings = [f"{history.torn} lines of its history are damaged and were left out"] if history.torn else []
    if stalls := facts.harness_stalls:
        during, longest = count(len(stalls), "start or stop", "starts and stops"), span(max(stall.seconds for stall in stalls))
        warnings.append(f"{STOOD_STILL}{during}, for {longest} at most: so much too long may they be")
    variant = Variant(
        name=name,
        engine=header.engine,
        command=header.scenario_path,
        series=series,
        attempts=tuple(_attempts_of_run(facts, process, under) for process in processes),
        health=known_health(facts.scenario, processes[0], contained=contained) if len(processes) == 1 else None,
    )
    return Bench(
        name=name,
        began=header.wall_start,
        how="finished",
        machine=_machine_of_run(header.machine),
        seed=header.seed,
        again=header.rerun,
        variants=(variant,),
        warnings=tuple(warnings),
    )


def _attempts_of_run(facts: Facts, process: str, under: Under) -> Attempts:
    return Attempts(
        process=process,
        under=under,
        starts=sum(not life.lost and not life.stopped_at_start for life in lives_of(facts, process)),
        failed=int(sum(SAMPLERS["failed_starts"](facts, process))),
        killed=int(sum(SAMPLERS["killed_after_grace"](facts, process))),
        warmups=0,
    )


def _machine_of_run(words: str) -> Machine:
    """What a run's header says of its machine; empty and 0 for what it does not."""
    told = _MACHINE_OF_RUN.fullmatch(words)
    if told is None:
        return Machine(system="", cpu="", cores=0, memory_bytes=0, python="")
    return Machine(system=told["system"], cpu="", cores=int(told["cores"]), memory_bytes=int(told["gib"]) << 30, python=told["python"])


def parse_percent(flag: str, written: str) -> float:
    """The share that ``written`` spells in per cent, such as ``5%``; raises `UsageError` for anything else."""
    share = percent_of(written.strip())
    if share is None:
        raise UsageError(f"{flag} {written}: not a share in per cent; write it as 5% or 2.5%")
    if not 0 < share <= 10:
        raise UsageError(f"{flag} {written}: must be above 0% and at most 1000%")
    return float(share)


# --- the whole --------------------------------------------------------------------------------------------------------------


def compare(places: Sequence[Place], *, threshold: float = THRESHOLD, anyway: bool = False) -> Comparison:
    """Compare the last of ``places`` with the others, or the variants of a single one with its reference.

    Raises:
        UsageError: They were not measured alike and ``anyway`` is False, have nothing in common, or one of them is there twice.
    """
    _check_twice(places)
    *bases, new = places
    one_sided: list[OneSided] = []
    if bases:
        matches = _matches(bases, new, one_sided)
        unlike = _unlike_machines(bases, new) + _unlike_variants(bases, new, matches)
    else:
        matches, unlike = _variants_within(new), []
    if unlike and not anyway:
        raise UsageError("\n".join([*unlike, "compare what was measured alike, or add --anyway to compare it all the same"]))
    pairs = [pair for match in matches for pair in _pairs(match, one_sided, within=not bases)]
    changes = _changes(pairs, threshold, new.bench.seed)
    failures = _failures(matches)
    if not changes and not failures:
        raise UsageError(f"{', '.join(str(place.path) for place in places)}: nothing in common to compare: {_common(bases, new)}")
    return Comparison(
        base=tuple(map(_side, bases or places)),
        new=_side(new),
        within=not bases,
        reference="" if bases else matches[0].base[0].name,
        threshold=threshold,
        verdict=_verdict(changes, failures, one_sided),
        warnings=(*unlike, *_weaknesses(places), *_mixed(matches, within=not bases), *_unlike_checks(bases, matches)),
        changes=tuple(changes),
        failures=tuple(failures),
        one_sided=tuple(one_sided),
    )


def exit_of(comparison: Comparison, *, fail_on: str = "regression") -> ExitCode:
    """0, 1 on a regression, 7 when the data can't tell; always 0 when ``fail_on`` is ``none``."""
    codes: dict[str, ExitCode] = {"pass": ExitCode.PASSED, "unknown": ExitCode.UNKNOWN, "fail": ExitCode.FAILED}
    return ExitCode.PASSED if fail_on == "none" else codes[comparison.verdict]


def _verdict(changes: Sequence[Change], failures: Sequence[Failures], one_sided: Sequence[OneSided]) -> Literal["pass", "unknown", "fail"]:
    judgements = [*(each.judgement for each in changes), *(each.judgement for each in failures)]
    if Judgement.SLOWER in judgements:
        return "fail"
    main = [each.judgement for each in changes if each.main]
    starts = [each.judgement for each in failures if each.what == "failed starts"]
    blind = any(each.blind for each in one_sided)
    return "unknown" if blind or not main or Judgement.UNSURE in (*main, *starts) else "pass"


def _side(place: Place) -> Side:
    bench = place.bench
    engines = tuple(dict.fromkeys(variant.engine for variant in bench.variants))
    return Side(
        path=str(place.path), kind=place.kind, name=bench.name, began=bench.began, engines=engines, attributes=dict(bench.attributes)
    )


def _common(bases: Sequence[Place], new: Place) -> str:
    """Why nothing matches, in words."""
    theirs, ours = _has([variant for base in bases for variant in base.bench.variants]), _has(new.bench.variants)
    return f"the base has {theirs}, the new one {ours}"


def _has(variants: Iterable[Variant]) -> str:
    """Which variants, and of which process types under which conditions."""
    told: dict[str, None] = {}
    for variant in variants:
        measured = dict.fromkeys(f"{each.process}, {CONDITIONS[each.under].words}" for each in variant.series)
        told[f"{quoted(variant.name)} ({'; '.join(measured) or 'nothing measured'})"] = None
    return listed(sorted(told)) or "nothing"


def _weaknesses(places: Sequence[Place]) -> list[str]:
    """What was not done as it should have been."""
    scenarios = list(dict.fromkeys(place.bench.name for place in places if place.kind == "run"))
    told = [f"runs of different scenarios: {all_of(scenarios)}"] if len(scenarios) > 1 else []
    if len({place.kind for place in places}) > 1:
        told.append("benches and runs: other things go on at the starts and stops of a run, so a difference may be none of the app")
    for place in places:
        if place.bench.how != "finished":
            told.append(f"{place.path} was {place.bench.how}, so it has fewer rounds than were asked for")
        told += [f"{place.path}: {warning}" for warning in place.bench.warnings if place.kind == "run"]
        for variant in place.bench.variants:
            told += [f"{place.path}: {quoted(variant.name)}: {each}" for each in variant.warnings if each.startswith(STOOD_STILL)]
    return told


def _mixed(matches: Sequence[_Match], *, within: bool) -> list[str]:
    """Within one bench other engines are compared on purpose; their reader must know it all the same."""
    if not within:
        return []
    pairs = [(each.new, each.base[0]) for each in matches]
    told = [f"{new.name} ran on the engine {new.engine}, {base.name} on {base.engine}" for new, base in pairs if new.engine != base.engine]
    cold = [f"{new.name} started {_cold(new)}, {base.name} {_cold(base)}" for new, base in pairs if {*new.cold} != {*base.cold}]
    return told + cold


# --- what may be compared ---------------------------------------------------------------------------------------------------


def _check_twice(places: Sequence[Place]) -> None:
    """Raise when two of ``places`` are one: against itself nothing got worse, and what is pooled twice looks surer than it is."""
    seen: dict[Path, Path] = {}
    for place in places:
        folder = path_of(place.path).resolve()
        if folder in seen:
            names = f"{seen[folder]} and {place.path} are" if seen[folder] != place.path else f"{place.path} is there twice:"
            raise UsageError(f"{names} the same {place.kind}; name each once")
        seen[folder] = place.path


def _unlike_machines(bases: Sequence[Place], new: Place) -> list[str]:
    """One sentence for each base that was measured on another machine."""
    return [
        f"{base.path} was measured on another machine than {new.path}: {'; '.join(differ)}"
        for base in bases
        if (differ := differences(base.bench.machine, new.bench.machine))
    ]


def _unlike_variants(bases: Sequence[Place], new: Place, matches: Sequence[_Match]) -> list[str]:
    """One sentence for each variant with another engine, or that was cold on one side only."""
    told = []
    names = {id(variant): base.path for base in bases for variant in base.bench.variants}
    for match in matches:
        for theirs in match.base:
            where = f"{quoted(match.new.name)} of {new.path}"
            other = f"that of {names[id(theirs)]}"
            if theirs.engine != match.new.engine:
                told.append(f"{where} ran on the engine {match.new.engine}, {other} on {theirs.engine}")
            if {*theirs.cold} != {*match.new.cold}:
                told.append(f"{where} started {_cold(match.new)}, {other} {_cold(theirs)}")
    return told


def _unlike_checks(bases: Sequence[Place], matches: Sequence[_Match]) -> list[str]:
    """One sentence for each variant that another health check called healthy, where both are known."""
    of = {id(variant): f"that of {base.path}" for base in bases for variant in base.bench.variants}
    return [
        f"{quoted(match.new.name)} was told healthy by {match.new.health}, {of.get(id(theirs), quoted(theirs.name))} by {theirs.health}: "
        "startup_time and all after it are measured by different checks"
        for match in matches
        for theirs in match.base
        if match.new.health is not None and theirs.health is not None and theirs.health != match.new.health
    ]


def _cold(variant: Variant) -> str:
    return f"cold ({', '.join(sorted(variant.cold))})" if variant.cold else "warm"


# --- matching ---------------------------------------------------------------------------------------------------------------


def _variants_within(place: Place) -> list[_Match]:
    """Each other variant of one bench with its reference, or with the first one."""
    variants = place.bench.variants
    reference = next((variant for variant in variants if variant.reference), variants[0])
    if len(variants) < 2:
        raise UsageError(f"{place.path}: has one variant only; name another bench or run to compare it with")
    return [_Match(base=(reference,), new=variant) for variant in variants if variant is not reference]


def _matches(bases: Sequence[Place], new: Place, one_sided: list[OneSided]) -> list[_Match]:
    """Each new variant with those of the same name; whatever its name, where a base and the new one have only one."""
    ours = new.bench.variants
    found: dict[str, list[Variant]] = {variant.name: [] for variant in ours}
    lonely: dict[str, None] = {}
    for base in bases:
        alone = len(base.bench.variants) == len(ours) == 1
        for variant in base.bench.variants:
            name = ours[0].name if alone else variant.name
            if name in found:
                found[name].append(variant)
            else:
                lonely[name] = None
    one_sided += [OneSided(side="base", variant=name) for name in lonely]
    one_sided += [OneSided(side="new", variant=name) for name, theirs in found.items() if not theirs]
    return [_Match(base=tuple(found[variant.name]), new=variant) for variant in ours if found[variant.name]]


def _series_of(variant: Variant) -> dict[Key, Series]:
    """What of it is compared, by key, in the order of reports; of starts at once, cycle by cycle."""
    series = [each for each in variant.series if each.metric in COMPARED and each.samples]
    series.sort(key=lambda each: (each.process, [*CONDITIONS].index(each.under), each.at_once, COMPARED.index(each.metric)))
    return {Key(each.process, each.under, each.at_once, each.metric): by_cycle(each) for each in series}


def _pairs(match: _Match, one_sided: list[OneSided], *, within: bool) -> Iterator[_Pair]:
    """The series that both sides have; what only one has is told."""
    ours, theirs = _series_of(match.new), [_series_of(variant) for variant in match.base]
    every = dict.fromkeys(key for series in theirs for key in series)
    one_sided += _lonely("base", match.new, [key for key in every if key not in ours])
    one_sided += _lonely("new", match.new, [key for key in ours if key not in every])
    for key, new in ours.items():
        bases = [series[key] for series in theirs if key in series]
        if bases:
            yield _Pair(
                match=match,
                key=key,
                unit=new.unit,
                base=tuple(sample for series in bases for sample in series.samples),
                new=new.samples,
                medians=tuple(percentile(series.samples, 50) for series in bases),
                rounds=(bases[0].rounds, new.rounds) if within else None,
            )


def _lonely(side: Literal["base", "new"], variant: Variant, keys: Iterable[Key]) -> list[OneSided]:
    tried = {(each.process, each.under, each.at_once) for each in variant.attempts if each.starts}
    grouped: dict[tuple[str, Under, int], list[str]] = {}
    for key in keys:
        grouped.setdefault((key.process, key.under, key.at_once), []).append(key.metric)
    return [
        OneSided(side=side, variant=variant.name, process=at[0], under=at[1], at_once=at[2], metrics=tuple(metrics), tried=at in tried)
        for at, metrics in grouped.items()
    ]


# --- judging ----------------------------------------------------------------------------------------------------------------


def _changes(pairs: Sequence[_Pair], threshold: float, seed: int) -> list[Change]:
    """Every pair judged; the p-values are adjusted for all of them together."""
    effects = [_effect(pair, seed) for pair in pairs]
    adjusted = iter(holm([found.p_value for found in effects if found is not None]))
    return [
        _unmeasured(pair) if found is None else _measured(pair, found, next(adjusted), threshold, seed)
        for pair, found in zip(pairs, effects, strict=True)
    ]


def _effect(pair: _Pair, seed: int) -> Effect | None:
    base_rounds, new_rounds = pair.rounds or (None, None)
    return effect(pair.base, pair.new, seed=seed, base_rounds=base_rounds, new_rounds=new_rounds)


def _unmeasured(pair: _Pair) -> Change:
    """Of which no ratio can be formed."""
    counts = f"{len(pair.base)} and {len(pair.new)}"
    if min(len(pair.base), len(pair.new)) >= FEWEST:
        if {*pair.base} == {*pair.new} == {0.0}:
            return _change(pair, Judgement.SAME)
        return _change(pair, Judgement.UNSURE, why="the median of the base is 0 too often, so there is no ratio")
    return _change(pair, Judgement.UNSURE, why=f"too few samples: {counts}", runs_needed=FEWEST)


def _measured(pair: _Pair, found: Effect, p: float, threshold: float, seed: int) -> Change:  # noqa: PLR0911  one return a judgement
    band = noise_band(pair.medians)
    limit = max(threshold, FLOOR_S / pair.base_median if pair.unit == "s" else FLOOR_SHARE)
    judge = _Judged(pair=pair, found=found, p=p, limit=limit, band=band)
    moved, proven = found.ratio - 1, p < ALPHA
    inside = band is not None and band.low <= pair.new_median <= band.high
    if proven and not inside and moved > limit:
        return judge(Judgement.SLOWER)
    if proven and not inside and -moved > limit:
        return judge(Judgement.FASTER)
    if proven and inside and moved > limit:
        return judge(Judgement.UNSURE, f"it got worse by no more than the {len(pair.medians)} baselines differ from each other")
    fewest = min(len(pair.base), len(pair.new))
    if fewest >= FEWEST and found.interval.high < 1 + limit:
        return judge(Judgement.SAME)
    needed = _needed(pair, found, limit, seed)
    if fewest < FEWEST:
        return judge(Judgement.UNSURE, f"too few samples: {len(pair.base)} and {len(pair.new)}", needed or FEWEST)
    if moved > limit and not proven:
        return judge(Judgement.UNSURE, "it got worse, and that may be chance", needed)
    if needed is None:
        return judge(Judgement.UNSURE, f"too close to the {_limit_words(limit, threshold, pair.unit)} that would be a regression")
    return judge(Judgement.UNSURE, f"{_limit_words(limit, threshold, pair.unit)} more can't be excluded", needed)


def _needed(pair: _Pair, found: Effect, limit: float, seed: int) -> int | None:
    """About how many samples each side needs, so that the interval does not reach from the ratio to the limit; None for no more than now.

    A ratio close to the limit is taken to be as far from it as none is: more samples may move it either way.
    """
    before, after = pair.rounds or (None, None)
    reach = max(abs(found.ratio - 1 - limit), limit) / found.ratio if found.ratio else limit
    needed = runs_needed(pair.base, pair.new, threshold=reach, seed=seed, base_rounds=before, new_rounds=after)
    return needed if needed is not None and needed > min(found.base_count, found.new_count) else None


def _limit_words(limit: float, threshold: float, unit: Unit) -> str:
    """What would be a regression: the threshold, or what can be seen at all where that is more."""
    if limit > threshold and unit == "s":
        return span(FLOOR_S)
    return f"{limit * 100:.3g} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """Makes the `Change` of a pair that has an effect."""

    pair: _Pair
    found: Effect
    p: float
    limit: float
    band: Interval | None

    def __call__(self, judgement: Judgement, why: str = "", needed: int | None = None) -> Change:
        return msgspec.structs.replace(
            _change(self.pair, judgement, why=why, runs_needed=needed),
            base_count=self.found.base_count,
            new_count=self.found.new_count,
            limit=self.limit,
            ratio=self.found.ratio,
            low=self.found.interval.low,
            high=self.found.interval.high,
            p=self.p,
            paired=self.found.paired,
            band=(self.band.low, self.band.high) if self.band else None,
        )


def _change(pair: _Pair, judgement: Judgement, *, why: str = "", runs_needed: int | None = None) -> Change:
    return Change(
        variant=pair.match.new.name,
        base_variant=pair.match.base[0].name,
        process=pair.key.process,
        under=pair.key.under,
        at_once=pair.key.at_once,
        metric=pair.key.metric,
        unit=pair.unit,
        base_count=len(pair.base),
        new_count=len(pair.new),
        base_median=pair.base_median,
        new_median=pair.new_median,
        judgement=judgement,
        why=why,
        runs_needed=runs_needed,
    )


# --- what failed ------------------------------------------------------------------------------------------------------------


class _Trials(NamedTuple):
    """So many of so many."""

    hits: int
    of: int


def _failures(matches: Sequence[_Match]) -> list[Failures]:
    """Starts that failed and stops that had to be killed, wherever both sides tried."""
    found = [
        (match, at, what, before[at], now)
        for match in matches
        for what in ("failed starts", "killed stops")
        for before in (_pooled([_trials(variant, what) for variant in match.base]),)
        for at, now in _trials(match.new, what).items()
        if now.of and at in before and before[at].of
    ]
    adjusted = holm([more_often(before, now) for *_, before, now in found])
    fewer = holm([more_often(now, before) for *_, before, now in found])
    return [
        Failures(
            variant=match.new.name,
            process=at[0],
            under=at[1],
            at_once=at[2],
            what="failed starts" if what == "failed starts" else "killed stops",
            base=before.hits,
            base_of=before.of,
            new=now.hits,
            new_of=now.of,
            p=p,
            judgement=_judge_failures(before, now, p, less),
        )
        for (match, at, what, before, now), p, less in zip(found, adjusted, fewer, strict=True)
    ]


def _judge_failures(before: _Trials, now: _Trials, p: float, less: float) -> Judgement:
    if p < ALPHA_OF_FAILURES:
        return Judgement.SLOWER
    if less < ALPHA_OF_FAILURES:
        return Judgement.FASTER
    return Judgement.SAME if now.hits * before.of <= before.hits * now.of else Judgement.UNSURE


def _trials(variant: Variant, what: str) -> dict[tuple[str, Under, int], _Trials]:
    """How often it happened of how many, by process, condition and how many at once."""
    stops = {(each.process, each.under, each.at_once): len(each.samples) for each in variant.series if each.metric == "shutdown_time"}
    found = {}
    for each in variant.attempts:
        at = (each.process, each.under, each.at_once)
        stopped = max(stops.get(at, each.starts - each.failed), each.killed)
        found[at] = _Trials(each.failed + each.died, each.starts) if what == "failed starts" else _Trials(each.killed, stopped)
    return found


def _pooled(sides: Iterable[dict[tuple[str, Under, int], _Trials]]) -> dict[tuple[str, Under, int], _Trials]:
    pooled: dict[tuple[str, Under, int], _Trials] = {}
    for side in sides:
        for at, trials in side.items():
            so_far = pooled.get(at, _Trials(0, 0))
            pooled[at] = _Trials(so_far.hits + trials.hits, so_far.of + trials.of)
    return pooled


def more_often(before: _Trials, now: _Trials) -> float:
    """The p-value of Fisher's exact test (Journal of the Royal Statistical Society 85, 1922) that ``now`` has more: one-sided."""
    hits, total = before.hits + now.hits, before.of + now.of
    ways = sum(comb(hits, k) * comb(total - hits, now.of - k) for k in range(now.hits, min(hits, now.of) + 1))
    return min(1.0, ways / comb(total, now.of))


def verdict_of(comparison: Comparison) -> Verdict:
    """The verdict of which ``comparison`` has the word."""
    return Verdict[comparison.verdict.upper()]
