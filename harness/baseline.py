"""The baseline: what thresholds such as ``startup_time p(50) <= baseline + 10%`` are compared with.

A baseline is a stored run of the same scenario, or a bench of the same process type, measured by the same engine on the same machine.
All of it is read before anything starts, and what does not compare is refused in a sentence. The numbers that the scenario's thresholds
need become a part of the new run's header, so a run is judged the same when its baseline is gone.

A run counts with all its samples, whatever its verdict was: a dropped request does not make its times wrong. One that was cut off is
refused, as it lacks what would have come; so are times that were taken while the harness itself stood still, as they are too long and
would let a slower app pass, and times to *healthy* that another health check ended. Of a bench count the samples of starts and stops with
nothing else on, of the one variant that has the engine, and not of a variant that was made cold before each start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from pydantic import ValidationError

from harness.benches import FILE, STOOD_STILL, TO_HEALTHY, Bench, HealthCheck, Variant, differences, read_bench
from harness.checks.expect import TIMING, resolved
from harness.checks.facts import Facts
from harness.checks.health import known_health
from harness.checks.metrics import SAMPLERS
from harness.checks.wording import listed
from harness.engines import ENGINES
from harness.errors import UsageError
from harness.history import Baseline, BaselineNumber, Cycled, read
from harness.resources import machine
from harness.scenario import Scenario
from harness.threshold import OfBaseline, Threshold
from harness.words import quoted

_MEDIANS: Final = ("median", "p(50)")
_ONCE_SAID_S: Final = 0.01

Samples: TypeAlias = Callable[[Threshold], Sequence[float]]
"""All samples of what a threshold speaks of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A run or a bench that may be a baseline, as it was read before anything started.

    Attributes:
        place: Where it lies, with every link followed: ``reports/latest`` will soon be another one.
        name: Of its scenario or bench.
        began: Its wall time, ISO 8601.
        what: The facts of the run, or the bench.
    """

    place: Path
    name: str
    began: str
    what: Facts | Bench


def read_baselines(places: Sequence[Path]) -> list[Source]:
    """Read all that may be a baseline.

    Raises:
        UsageError: One of them is no run and no bench, or was not finished.
    """
    return [_read(place) for place in places]


def needs_baseline(scenario: Scenario) -> bool:
    """Whether a threshold of ``scenario`` hangs on a baseline."""
    return any(isinstance(threshold.value, OfBaseline) for threshold in scenario.expect)


def baseline_of(scenario: Scenario, sources: Sequence[Source], engine: str, here: str) -> Baseline | None:
    """What ``sources`` say for the thresholds of ``scenario``; None where there is no source, or no threshold that needs one.

    Args:
        scenario: What is to run.
        sources: One, or several of which one is of this scenario.
        engine: Where it is to run.
        here: This machine, as a run's header tells it.

    Raises:
        UsageError: What there is does not compare with the run: a sentence that names both.
    """
    if not sources or not needs_baseline(scenario):
        return None
    source = _chosen(scenario, sources)
    if isinstance(source.what, Bench):
        samples = _of_bench(source, source.what, scenario, engine)
    else:
        samples = _of_run(source, source.what, scenario, (engine, here))
    asked = [threshold for threshold in scenario.expect if isinstance(threshold.value, OfBaseline)]
    numbers = tuple(_number(source, threshold, samples(threshold)) for threshold in asked)
    return Baseline(place=str(source.place), name=source.name, engine=engine, machine=here, began=source.began, numbers=numbers)


def kept_baseline(old: Baseline | None, engine: str, here: str) -> Baseline | None:
    """The baseline of a run that is replayed, where it still compares."""
    return old if old is not None and (old.engine, old.machine) == (engine, here) else None


def with_limits(scenario: Scenario, baseline: Baseline | None) -> Scenario:
    """``scenario`` with thresholds that know their limits; their texts, and so what is stored of them, stay."""
    if baseline is None:
        return scenario
    return scenario.model_copy(update={"expect": tuple(resolved(threshold, baseline) for threshold in scenario.expect)})


# --- what is read -----------------------------------------------------------------------------------------------------------


def _read(place: Path) -> Source:
    if not place.exists():
        raise UsageError(f"baseline {place}: there is no such file or folder; name the folder of a stored run or bench")
    followed = place.resolve()
    shown = followed.relative_to(Path.cwd()) if followed.is_relative_to(Path.cwd()) else followed
    try:
        if (place.is_file() and place.suffix == ".json") or (place / FILE).is_file():
            return _finished_bench(shown, read_bench(place))
        return _finished_run(shown, Facts(read(place)))
    except UsageError as error:
        raise UsageError(f"baseline {error}") from error
    except ValidationError as error:
        raise UsageError(f"baseline {place}: its scenario can't be read by this Jetable; measure another one") from error
    except OSError as error:
        raise UsageError(f"baseline {place}: can't be read: {error.strerror}") from error


def _finished_run(place: Path, facts: Facts) -> Source:
    if facts.events(Cycled):
        raise UsageError(f"{place}: a part of a bench; name the bench's own folder, which has a {FILE}")
    if not facts.finished:
        raise UsageError(f"{place}: a run that was not finished; name one that was")
    return Source(place=place, name=facts.scenario.name, began=facts.history.header.wall_start, what=facts)


def _finished_bench(place: Path, bench: Bench) -> Source:
    if bench.how != "finished":
        raise UsageError(f"{place}: a bench that was not finished ({bench.how}); name one that was")
    return Source(place=place, name=bench.name, began=bench.began, what=bench)


def _chosen(scenario: Scenario, sources: Sequence[Source]) -> Source:
    """The only one there is, or of several the one that has the scenario's name."""
    if len(sources) == 1:
        return sources[0]
    named = [source for source in sources if source.name == scenario.name]
    if len(named) == 1:
        return named[0]
    if not named:
        raise UsageError(f"none of the baselines {_places(sources)} is of {quoted(scenario.name)}; name a run of that scenario as well")
    raise UsageError(f"the baselines {_places(named)} are all of {quoted(scenario.name)}; name one for each scenario")


def _places(sources: Sequence[Source]) -> str:
    return listed([str(source.place) for source in sources])


# --- what compares ----------------------------------------------------------------------------------------------------------


def _of_run(source: Source, facts: Facts, scenario: Scenario, where: tuple[str, str]) -> Samples:
    """The samples of a run of the same scenario in the same place, an engine and a machine."""
    header = facts.history.header
    if source.name != scenario.name:
        cure = "name a run of the same scenario; --baseline can be given several times, once for each"
        raise UsageError(f"baseline {source.place} is a run of {quoted(source.name)}, and not of {quoted(scenario.name)}; {cure}")
    if set(facts.scenario.target) != set(scenario.target):
        theirs, ours = listed(sorted(facts.scenario.target)), listed(sorted(scenario.target))
        raise UsageError(f"baseline {source.place} has the process types {theirs}, and this run has {ours}; measure another one")
    for what, was, now in (("the engine ", header.engine, where[0]), ("", header.machine, where[1])):
        if was != now:
            raise UsageError(f"baseline {source.place} was measured on {what}{was}, and this run is on {now}; measure one here")

    def samples(threshold: Threshold) -> Sequence[float]:
        for process in [threshold.process] if threshold.process else scenario.target:
            contained = ENGINES[where[0]].contained
            theirs, ours = (known_health(each, process, contained=contained) for each in (facts.scenario, scenario))
            _check_health(source, threshold, *_known_alike(theirs, ours))
        if threshold.metric in TIMING and facts.harness_stalls:
            raise UsageError(_too_late(source, threshold))
        return SAMPLERS[threshold.metric](facts, threshold.process)

    return samples


def _of_bench(source: Source, bench: Bench, scenario: Scenario, engine: str) -> Samples:
    """The samples of the one variant of a bench that was measured by the same engine, on this machine."""
    if differ := differences(bench.machine, machine()):
        raise UsageError(f"baseline {source.place} was measured on another machine than this run: {'; '.join(differ)}; measure one here")
    variant = _variant(source, bench, engine)
    processes = sorted({series.process for series in variant.series})

    def samples(threshold: Threshold) -> Sequence[float]:
        process = threshold.process or _only_process(source, scenario, threshold)
        if process not in processes:
            told = f"is a bench of {listed(processes) or 'nothing'}, and {quoted(threshold.text)} speaks of {process}"
            raise UsageError(f"baseline {source.place} {told}; name a bench of the same process type")
        _check_health(source, threshold, variant.health, known_health(scenario, process, contained=ENGINES[engine].contained))
        if threshold.metric in TIMING and _stood_still(variant, process, threshold):
            raise UsageError(_too_late(source, threshold))
        return [
            sample
            for series in variant.series
            if (series.process, series.metric, series.under, series.at_once) == (process, threshold.metric, "idle", 1)
            for sample in series.samples
        ]

    return samples


def _stood_still(variant: Variant, process: str, threshold: Threshold) -> bool:
    """Whether the harness did during starts and stops that would count: during any; for a median, more than a tenth. Of old benches any."""
    counted = [books for books in variant.attempts if (books.process, books.under, books.at_once) == (process, "idle", 1)]
    told = [books.late for books in counted if books.late is not None]
    if told and len(told) == len(counted):
        return sum(told) > (sum(books.starts for books in counted) / 10 if threshold.aggregate in _MEDIANS else 0)
    return any(warning.startswith(STOOD_STILL) for warning in variant.warnings)


def _too_late(source: Source, threshold: Threshold) -> str:
    late = "the harness stood still meanwhile, so its times may be too long"
    return f"baseline {source.place} can't tell {threshold.metric}: {late}; measure another one"


def _known_alike(theirs: HealthCheck | None, ours: HealthCheck | None) -> tuple[HealthCheck | None, HealthCheck | None]:
    """Both with what is known of both: 10 ms of a test is what headers once said where nobody had written an interval."""
    if theirs is None or ours is None or theirs.kind != "test" or theirs.every_s != _ONCE_SAID_S:
        return theirs, ours
    return msgspec.structs.replace(theirs, every_s=0.0), msgspec.structs.replace(ours, every_s=0.0)


def _check_health(source: Source, threshold: Threshold, theirs: HealthCheck | None, ours: HealthCheck | None) -> None:
    """Raise where ``threshold`` hangs on the health check and that is known to be another one now."""
    if threshold.metric in TO_HEALTHY and theirs is not None and ours is not None and theirs != ours:
        told = f"was told healthy by {theirs}, and this run is by {ours}"
        raise UsageError(f"baseline {source.place} {told}, so {threshold.metric} does not compare; measure another one")


def _variant(source: Source, bench: Bench, engine: str) -> Variant:
    variants = [variant for variant in bench.variants if variant.engine == engine]
    if not variants:
        theirs = listed(sorted({variant.engine for variant in bench.variants}))
        raise UsageError(f"baseline {source.place} was measured on the engine {theirs}, and this run is on {engine}; measure one here")
    if len(variants) > 1:
        names = listed([variant.name for variant in variants])
        raise UsageError(f"baseline {source.place} has several variants ({names}), and nobody can tell which is meant; name a bench of one")
    (variant,) = variants
    if variant.cold:
        raise UsageError(f"baseline {source.place} was made cold before each start, and no run is; name a bench that was not")
    return variant


def _only_process(source: Source, scenario: Scenario, threshold: Threshold) -> str:
    if len(scenario.target) > 1:
        names = sorted(scenario.target)
        which = f"{threshold.text} speaks of {listed(names)} together, which no bench has side by side as a run does"
        raise UsageError(f"baseline {source.place}: {which}; write {names[0]}.{threshold.metric} …")
    return next(iter(scenario.target))


def _number(source: Source, threshold: Threshold, samples: Sequence[float]) -> BaselineNumber:
    measured = threshold.measured(samples)
    if measured is None:
        whose = f" of {threshold.process}" if threshold.process else ""
        raise UsageError(f"baseline {source.place} has no samples of {threshold.metric}{whose}, which {quoted(threshold.text)} needs")
    (number,) = measured
    return BaselineNumber(threshold=threshold.text, number=number, samples=len(samples))
