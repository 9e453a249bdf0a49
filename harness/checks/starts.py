"""What the history of a bench's session says of each start and each stop: the series of its variant.

Every cycle has its `Cycled` event, and each replica that was started in its time is its; so is one that did not start before it, where it
was to come. A start that never got healthy has no sample of a phase that it did not reach, and stands among the failed ones, as does one
that got healthy and ended before anybody stopped it; a stop that needed SIGKILL keeps its time, which is that of its grace.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from harness.benches import STOOD_STILL, Attempts, FailedStart, ImportShare, Series, Under, Unit
from harness.checks.facts import Facts, Fault, Life
from harness.checks.metrics import LIFE_TIMES, STOP_TIMES, OfLife, OfStop
from harness.checks.wording import count
from harness.clock import NS_PER_S
from harness.history import Cycled, History, Imported, Lagged, Used
from harness.units import span

BUSY_CPUS: Final = 0.25
"""Programs outside of the bench that used more CPUs than this in the middle cycle disturbed it."""

LATE_SHARE: Final = 0.02
"""A start or a stop during which the harness stood still for more than this share of it was measured too long."""

_LOG_LINES: Final = 3


_Lag: TypeAlias = tuple[int, int]
"""From when to when the harness stood still."""


class Measured(NamedTuple):
    """What one session's history says; see `harness.benches.Variant`."""

    series: tuple[Series, ...]
    attempts: tuple[Attempts, ...]
    failed: tuple[FailedStart, ...]
    warnings: tuple[str, ...]


class _Sample(NamedTuple):
    """One start with its stop: in which cycle, and what was seen of it."""

    cycle: Cycled
    at_once: int
    life: Life
    stop: Fault | None
    used: dict[str, Used]


def _of_life(measure: OfLife) -> Callable[[_Sample], float | None]:
    return lambda sample: measure(sample.life)


def _of_stop(measure: OfStop) -> Callable[[_Sample], float | None]:
    """Of one that was asked to stop in order: how long SIGKILL takes says nothing of the app."""

    def metric(sample: _Sample) -> float | None:
        stop = sample.stop
        return measure(stop) if stop is not None and stop.kind == "terminate" and stop.signal.delivered else None

    return metric


def _used(when: str, read: Callable[[Used], float]) -> Callable[[_Sample], float | None]:
    def metric(sample: _Sample) -> float | None:
        told = sample.used.get(when)
        value = read(told) if told is not None else -1.0
        return value if value >= 0 else None

    return metric


_METRICS: Final[dict[str, tuple[Unit, Callable[[_Sample], float | None]]]] = {
    **{name: ("s", _of_life(measure)) for name, measure in LIFE_TIMES.items()},
    **{name: ("s", _of_stop(measure)) for name, measure in STOP_TIMES.items()},
    "start_cpu_time": ("s", _used("healthy", lambda used: used.cpu_ns / NS_PER_S)),
    "start_page_faults": ("count", _used("healthy", lambda used: float(used.minor_faults))),
    "start_major_faults": ("count", _used("healthy", lambda used: float(used.major_faults))),
    "start_read_bytes": ("bytes", _used("healthy", lambda used: float(used.read_bytes))),
    "steady_memory": ("bytes", _used("steady", lambda used: float(used.resident_bytes))),
    "peak_memory": ("bytes", _used("steady", lambda used: float(used.peak_bytes))),
}
"""How each metric is read from one start with its stop; None where there is nothing to read."""


def measured(histories: Sequence[History]) -> Measured:
    """What all sessions of one variant say together."""
    sessions = [Facts(history) for history in histories]
    told = [_samples(facts) for facts in sessions]
    samples = [sample for each in told for sample in each]
    counted = [sample for sample in samples if not sample.cycle.warmup]
    lags = [(event.at_ns - event.lag_ns, event.at_ns) for history in histories for event in history.events if isinstance(event, Lagged)]
    warnings = [
        *_strangers([cycle for history in histories for cycle in history.events if isinstance(cycle, Cycled)]),
        *_stalled(lags, counted),
        *_ready_before_listening(counted),
        *_mute([sample for facts, each in zip(sessions, told, strict=True) for sample in _asked(facts, each)]),
    ]
    return Measured(
        series=tuple(_series(counted)),
        attempts=tuple(_attempts(samples, lags)),
        failed=tuple(_failed(counted)),
        warnings=tuple(warnings),
    )


def imports_of(histories: Sequence[History]) -> tuple[float, tuple[ImportShare, ...]]:
    """What a Python target imports while it starts: the seconds of all of it, and the dearest packages with their share of that start."""
    for told in (event for history in histories for event in history.events if isinstance(event, Imported)):
        took_ns = told.took_ns or told.total_ns
        return told.total_ns / NS_PER_S, tuple(
            ImportShare(
                package=each.name,
                self_s=each.self_ns / NS_PER_S,
                share=each.self_ns / took_ns if took_ns else 0.0,
                modules=each.modules,
                slowest=each.slowest,
            )
            for each in told.top
        )
    return 0.0, ()


def _samples(facts: Facts) -> list[_Sample]:
    stops = {fault.victim.replica: fault for fault in facts.faults}
    used: dict[str, dict[str, Used]] = defaultdict(dict)
    for event in facts.events(Used):
        used[event.replica][event.when] = event
    found = []
    before_ns = 0
    for cycle in facts.events(Cycled):
        lives = [
            life
            for life in facts.lives.values()
            if life.process == cycle.process
            and (cycle.began_ns <= life.spawned_ns < cycle.at_ns or (before_ns <= life.spawned_ns < cycle.began_ns and life.failed))
        ]
        before_ns = cycle.at_ns
        found += [
            _Sample(
                cycle=cycle,
                at_once=len(lives) if cycle.under == "at-once" else 1,
                life=life,
                stop=stops.get(life.replica),
                used=used[life.replica],
            )
            for life in lives
        ]
    return found


def _series(samples: Sequence[_Sample]) -> Iterable[Series]:
    for (process, under, at_once), mine in _by_condition(samples).items():
        for metric, (unit, read) in _METRICS.items():
            values = [(sample.cycle.round, value) for sample in mine if (value := read(sample)) is not None]
            if values:
                rounds, numbers = zip(*values, strict=True)
                yield Series(process=process, under=under, at_once=at_once, metric=metric, unit=unit, samples=numbers, rounds=rounds)


def _by_condition(samples: Sequence[_Sample]) -> dict[tuple[str, Under, int], list[_Sample]]:
    found: dict[tuple[str, Under, int], list[_Sample]] = defaultdict(list)
    for sample in samples:
        found[(sample.cycle.process, _under(sample), sample.at_once)].append(sample)
    return found


def _under(sample: _Sample) -> Under:
    under: Under = sample.cycle.under  # type: ignore[assignment]  # only a bench writes these
    return under


def _attempts(samples: Sequence[_Sample], lags: Sequence[_Lag]) -> Iterable[Attempts]:
    for (process, under, at_once), mine in _by_condition(samples).items():
        counted = [sample for sample in mine if not sample.cycle.warmup]
        yield Attempts(
            process=process,
            under=under,
            at_once=at_once,
            starts=len(counted),
            failed=sum(not sample.life.healthy_ns for sample in counted),
            killed=sum(sample.stop is not None and sample.stop.killed is not None for sample in counted),
            warmups=len(mine) - len(counted),
            died=sum(map(_died, counted)),
            late=len(_late(lags, counted)),
        )


def _failed(samples: Sequence[_Sample]) -> Iterable[FailedStart]:
    for (process, under, _), mine in _by_condition(samples).items():
        for sample in mine:
            life = sample.life
            if life.healthy_ns:
                yield from _dead(sample)
                continue
            end_ns = life.failed.at_ns if life.failed else sample.cycle.at_ns
            yield FailedStart(
                process=process,
                under=under,
                round=sample.cycle.round,
                replica=life.replica,
                reason=life.failed.reason if life.failed else "unknown",
                detail=life.failed.detail if life.failed else sample.cycle.problem,
                after_s=(end_ns - life.spawned_ns) / NS_PER_S,
                log=tuple(line for line in life.failed.log if line.strip())[-_LOG_LINES:] if life.failed else (),
            )


def _died(sample: _Sample) -> bool:
    """It got healthy, and was gone before anybody stopped it: what says that it is ready says too little."""
    life = sample.life
    undelivered = sample.stop is not None and not sample.stop.signal.delivered
    return bool(life.healthy_ns) and life.exited is not None and (life.died_by_itself or undelivered)


def _dead(sample: _Sample) -> Iterable[FailedStart]:
    life = sample.life
    if life.exited is None or not _died(sample):
        return
    after_s = (life.exited.at_ns - life.healthy_ns) / NS_PER_S
    yield FailedStart(
        process=sample.cycle.process,
        under=_under(sample),
        round=sample.cycle.round,
        replica=life.replica,
        reason="ended by itself",
        detail=f"with status {life.exited.status}, {span(max(0.0, after_s))} after it was healthy",
        after_s=(life.exited.at_ns - life.spawned_ns) / NS_PER_S,
        log=tuple(line for line in life.exited.log if line.strip())[-_LOG_LINES:],
    )


def _strangers(cycles: Sequence[Cycled]) -> Iterable[str]:
    """Other programs took CPUs from the bench."""
    seen = [cycle.others for cycle in cycles if cycle.others >= 0]
    if not seen:
        return
    middle, most = float(np.median(seen)), max(seen)
    if middle > BUSY_CPUS:
        yield (
            f"programs that are not of this bench used {middle:.2f} CPUs in the middle cycle and {most:.2f} in the worst: close them, "
            "or compare only what was measured in the same rounds"
        )


def _late(lags: Sequence[_Lag], samples: Sequence[_Sample]) -> list[float]:
    """Of each start and stop that may be measured too long, for how many seconds of it the harness itself stood still."""
    late: list[float] = []
    if not lags:
        return late
    for sample in samples:
        spans = [(sample.life.spawned_ns, sample.life.first_answer_ns or sample.life.healthy_ns)]
        if sample.stop is not None and sample.life.exited is not None:
            spans.append((sample.stop.signal.at_ns, sample.life.exited.at_ns))
        for begin_ns, end_ns in spans:
            stood_ns = sum(min(end, end_ns) - max(begin, begin_ns) for begin, end in lags if begin < end_ns and begin_ns < end)
            if stood_ns > LATE_SHARE * (end_ns - begin_ns) > 0:
                late.append(stood_ns / NS_PER_S)
    return late


def _stalled(lags: Sequence[_Lag], samples: Sequence[_Sample]) -> Iterable[str]:
    """The harness was late itself."""
    if late := _late(lags, samples):
        yield (
            f"{STOOD_STILL}{count(len(late), 'start or stop', 'starts and stops')}, by {span(max(late))} at most: "
            "so much too long may they be"
        )


def _ready_before_listening(samples: Sequence[_Sample]) -> Iterable[str]:
    """The health check says *healthy* before anybody could reach the app."""
    healthy = [sample.life for sample in samples if sample.life.healthy_ns]
    early = [life for life in healthy if life.listening_ns > life.healthy_ns]
    if early:
        by_s = max(life.listening_ns - life.healthy_ns for life in early) / NS_PER_S
        yield (
            f"{len(early)} of {count(len(healthy), 'start')} were healthy before their port was open, by {span(by_s)} at most: "
            "the health check does not say that the app is there; ask it over HTTP (healthcheck: /path)"
        )


def _asked(facts: Facts, samples: Sequence[_Sample]) -> Iterable[_Sample]:
    """Those whose first answer somebody waited for, and that lived to give one."""
    counted = [sample for sample in samples if sample.life.healthy_ns and not sample.cycle.warmup and not _died(sample)]
    for process in {sample.cycle.process for sample in counted}:
        if facts.scenario.healthcheck_of(process).http or facts.scenario.load_process == process:
            yield from (sample for sample in counted if sample.cycle.process == process)


def _mute(asked: Sequence[_Sample]) -> Iterable[str]:
    """It was healthy, and answered nobody."""
    mute = sum(not sample.life.first_answer_ns for sample in asked)
    if mute:
        yield (
            f"{mute} of {count(len(asked), 'start')} that were healthy answered no request in time, or only with 5xx, so they are missing "
            "from the first answers: ask it over HTTP (healthcheck: /path), or name no requests to what speaks no HTTP"
        )
