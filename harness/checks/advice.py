"""What would make a target start or stop sooner, as far as a bench's own numbers tell.

A rule looks at the series of one variant and says one sentence with its numbers and with what to do, or nothing. Of each part of a start
and a stop the first rule that has something to say speaks, the most particular one first; of all that was said the two that could save
most time are kept. A rule that would have to guess says nothing, and none goes by fewer than 5 samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from harness.benches import CONDITIONS, Series, Variant
from harness.checks.wording import grouped, percent
from harness.statistics import Effect, effect
from harness.units import span

MOST: Final = 2
FEWEST: Final = 5

IMPORTS: Final = 0.4
RUNTIME: Final = 0.5
COMPUTES: Final = 0.9
WAITS: Final = 0.3
"""Shares of a start from which on (or of CPU time, up to which) a rule speaks."""

LONG_START_S: Final = 0.3
LONG_STOP_S: Final = 0.5
SLOWER: Final = 1.1
SIGNIFICANT: Final = 0.05
AFTERWARDS: Final = 0.5
AFTERWARDS_S: Final = 0.1
OFTEN_S: Final = 0.1
"""An engine that runs a test so often is told nothing: what the test itself takes would be the next to count."""

RARELY: Final = 0.2
"""The share of a start from which on what it waits for the next question of its health check is worth a sentence."""

QUANTISED: Final = 0.8
"""Of the starts, so many end with a question of the health check: other spans fall so near to a multiple of it by chance only."""

EARLY: Final = 0.05
ANSWERED: Final = {"http": 0.1, "tcp": 0.1, "test": 0.25}
"""How near to a multiple of the interval counts, as shares of it: before it, and after it, since a question takes its time, too."""

MUCH_READ: Final = 10_000_000
MANY_FAULTS: Final = 100
"""Bytes from the disk, and page faults that needed it, from which on a start is said to wait for it."""

_SEED: Final = 0
"""The same samples always get the same advice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A sentence, and the seconds of each start or stop that are at stake."""

    saves_s: float
    sentence: str


Rule: TypeAlias = Callable[[Variant], Advice | None]


def advice_of(variant: Variant) -> tuple[str, ...]:
    """The sentences that the numbers of a variant support, what saves most first: at most two, and often none."""
    said = [next((said for rule in rules if (said := rule(variant)) is not None), None) for rules in RULES.values()]
    best = sorted((each for each in said if each is not None), key=lambda each: -each.saves_s)
    return tuple(each.sentence for each in best[:MOST])


# --- what a rule asks -------------------------------------------------------------------------------------------------------


def _series(variant: Variant, metric: str, under: str) -> Series | None:
    """The series of one replica at a time, when it has enough samples."""
    fitting = (each for each in variant.series if each.metric == metric and each.under == under and each.at_once == 1)
    return next((each for each in fitting if len(each.samples) >= FEWEST), None)


def _median(variant: Variant, metric: str, under: str) -> float | None:
    found = _series(variant, metric, under)
    return None if found is None else float(np.median(found.samples))


def _usual(variant: Variant) -> str:
    """The condition under which the start is looked at: idle, or what is nearest to it."""
    return "idle" if _series(variant, "startup_time", "idle") else "clean"


def _start(variant: Variant) -> tuple[float, float | None]:
    """The median of the start, 0 when it is not known, and CPU time as a share of the time until it was read: above 1 for several CPUs.

    It was read at the first answer, which may come long after the start is over.
    """
    under = _usual(variant)
    start_s, cpu_s = _median(variant, "startup_time", under), _median(variant, "start_cpu_time", under)
    read_s = max(start_s or 0.0, _median(variant, "time_to_first_answer", under) or 0.0)
    return start_s or 0.0, cpu_s / read_s if start_s and cpu_s is not None else None


def _imports_share(variant: Variant) -> float:
    """What all imports take of the start in which they were timed; 0 when nothing is known."""
    dearest = variant.imports[0] if variant.imports else None
    if dearest is None or dearest.self_s <= 0:
        return 0.0
    return min(1.0, variant.import_s * dearest.share / dearest.self_s)


def _longer(variant: Variant, metric: str, base: str, new: str) -> Effect | None:
    """How much longer it takes under ``new``, when that is more than `SLOWER` and no chance."""
    before, after = _series(variant, metric, base), _series(variant, metric, new)
    if before is None or after is None:
        return None
    found = effect(before.samples, after.samples, seed=_SEED, base_rounds=before.rounds, new_rounds=after.rounds)
    sure = found is not None and found.ratio > SLOWER and found.interval.low > 1 and found.p_value < SIGNIFICANT
    return found if sure else None


def _more(found: Effect) -> str:
    """``34 % (28 % to 41 %)``."""
    return f"{_percent(found.ratio - 1)} ({_percent(found.interval.low - 1)} to {_percent(found.interval.high - 1)})"


def _percent(share: float) -> str:
    """As `percent`, in whole ones from 10 % on: medians of so few samples are not better than that."""
    return percent(round(share, 2) if share >= 0.1 else share)


# --- the start --------------------------------------------------------------------------------------------------------------


def _asked_rarely(variant: Variant) -> Advice | None:
    """The interval of the health check, where starts end with its beat.

    The harness first asks when the port is open, an engine when the first interval is over.
    """
    check, under = variant.health, _usual(variant)
    listening, healthy = _series(variant, "time_to_listening", under), _series(variant, "startup_time", under)
    if check is None or check.kind not in ANSWERED or check.every_s <= 0 or listening is None or healthy is None:
        return None
    pairs = _of_the_same_rounds(listening, healthy)
    if len(pairs) < FEWEST:
        return None
    start_s, waited_s = float(np.median([end for _, end in pairs])), float(np.median([end - begin for begin, end in pairs]))
    lost_s = min(waited_s, check.every_s)
    own = check.kind == "test"
    if own and check.every_s <= OFTEN_S:
        return None
    beats = sum(_on_the_beat(end if own else end - begin, check.every_s, ANSWERED[check.kind]) for begin, end in pairs)
    if lost_s <= RARELY * start_s or beats < QUANTISED * len(pairs):
        return None
    who = "The container engine runs the health check" if own else "The health check is asked"
    cure = f"start_interval: {OFTEN_S * 1000:.0f}ms (Docker 25 or later) or a shorter interval" if own else "a shorter interval"
    return Advice(
        saves_s=lost_s,
        sentence=f"{who} every {span(check.every_s)} only, and starts end on that beat, {span(waited_s)} after the port is open: up to "
        f"{span(lost_s)} of the start ({_percent(lost_s / start_s)} of it) is waiting for the next one; set {cure}.",
    )


def _on_the_beat(span_s: float, every_s: float, answered: float) -> bool:
    """Whether a span ends with one of the questions that come each ``every_s``."""
    beats = span_s / every_s
    return beats + EARLY >= 1 and (beats + EARLY) % 1 <= EARLY + answered


def _runtime(variant: Variant) -> Advice | None:
    under = _usual(variant)
    runtime_s, start_s = _median(variant, "runtime_start_time", under), _start(variant)[0]
    if not runtime_s or not start_s or (share := runtime_s / (runtime_s + start_s)) < RUNTIME:
        return None
    return Advice(
        saves_s=runtime_s,
        sentence=f"The container runtime takes {_percent(share)} of the start ({span(runtime_s)} of {span(runtime_s + start_s)}), not the "
        "app: fewer mounts and networks, or a faster runtime (crun), save more than any change of the app.",
    )


def _imports(variant: Variant) -> Advice | None:
    start_s, share = _start(variant)[0], _imports_share(variant)
    if not start_s or share < IMPORTS:
        return None
    dearest = sorted(variant.imports, key=lambda each: -each.self_s)[:2]
    names = ", ".join(f"{each.package} {_percent(each.share)}" for each in dearest)
    compiled = "; and ship them compiled (python -m compileall)" if "bytecode" in variant.cold else ""
    return Advice(
        saves_s=start_s * min(share, sum(each.share for each in dearest)),
        sentence=f"Imports take {_percent(share)} of the start ({names}): import them where they are needed (lazily){compiled}.",
    )


def _disk(variant: Variant) -> Advice | None:
    (start_s, cpu), under = _start(variant), _usual(variant)
    if not start_s or cpu is None or cpu >= COMPUTES:
        return None
    read, faults = _median(variant, "start_read_bytes", under) or 0.0, _median(variant, "start_major_faults", under) or 0.0
    if read < MUCH_READ and faults < MANY_FAULTS:
        return None
    cure = "a smaller image or fewer files save reads" if variant.cold else "more memory keeps its files in the page cache between starts"
    return Advice(
        saves_s=start_s * (1 - cpu),
        sentence=f"It reads {read / 1e6:.1f} MB from the disk in its start, with {grouped(round(faults))} major page faults, and computes "
        f"for only {_percent(cpu)} of it: {cure}.",
    )


def _computes(variant: Variant) -> Advice | None:
    start_s, cpu = _start(variant)
    if not start_s or cpu is None or cpu < COMPUTES:
        return None
    how = f"computes for {_percent(min(cpu, 1.0))} of its start" if cpu < 1.1 else f"keeps {cpu:.1f} CPUs busy all through its start"
    return Advice(
        saves_s=start_s * min(cpu, 1.0),
        sentence=f"It {how} ({span(start_s)}): profile that (perf record; py-spy record for Python), and "
        "leave for later what no request needs.",
    )


def _waits(variant: Variant) -> Advice | None:
    start_s, cpu = _start(variant)
    if cpu is None or cpu > WAITS or start_s <= LONG_START_S:
        return None
    waited_s = start_s * (1 - cpu)
    return Advice(
        saves_s=waited_s,
        sentence=f"It waits for {_percent(1 - cpu)} of its start ({span(waited_s)} of {span(start_s)}): look for a service that answers "
        "late, a sleep, or a health check that asks too rarely (interval, start_interval).",
    )


# --- the start after SIGKILL ------------------------------------------------------------------------------------------------


def _recovery(variant: Variant) -> Advice | None:
    found, clean_s = _longer(variant, "startup_time", "clean", "kill"), _median(variant, "startup_time", "clean")
    if found is None or clean_s is None:
        return None
    return Advice(
        saves_s=clean_s * (found.ratio - 1),
        sentence=f"After SIGKILL it starts {_more(found)} slower than after a clean stop: recovery takes another path; look for what is "
        "replayed or waits for a stale lock, and let every start take the same path.",
    )


# --- the stop ---------------------------------------------------------------------------------------------------------------


def _killed(variant: Variant) -> Advice | None:
    worst = max(variant.attempts, key=lambda each: each.killed, default=None)
    if worst is None or not worst.killed or (stops := worst.starts - worst.failed) < FEWEST:
        return None
    times = _series(variant, "shutdown_time", worst.under)
    longest_s = max(times.samples) if times else 0.0
    after = f", after {span(longest_s)}" if longest_s else ""
    return Advice(
        saves_s=longest_s * worst.killed / stops,
        sentence=f"{worst.killed} of {stops} stops ({CONDITIONS[worst.under].words}) were killed at the end of their grace{after}: end on "
        "SIGTERM, which the first process of a container ignores unless it has a handler, and a shell does not pass on (exec).",
    )


def _keep_alive(variant: Variant) -> Advice | None:
    idle_s, kept_s = _median(variant, "shutdown_time", "idle"), _median(variant, "shutdown_time", "keep-alive")
    if idle_s is None or kept_s is None or (more_s := kept_s - idle_s) < AFTERWARDS_S:
        return None
    if _longer(variant, "shutdown_time", "idle", "keep-alive") is None:
        return None
    return Advice(
        saves_s=more_s,
        sentence=f"Idle keep-alive connections make the stop {span(more_s)} longer ({span(kept_s)} instead of {span(idle_s)}): close them "
        "as soon as SIGTERM comes.",
    )


def _after_the_last_answer(variant: Variant) -> Advice | None:
    said = []
    for under, condition in CONDITIONS.items():
        drained, stopped = _series(variant, "time_to_drained", under), _series(variant, "shutdown_time", under)
        pairs = _of_the_same_rounds(drained, stopped) if drained and stopped else []
        if len(pairs) < FEWEST:
            continue
        rest_s, whole_s = float(np.median([end - last for last, end in pairs])), float(np.median([end for _, end in pairs]))
        if rest_s >= AFTERWARDS_S and rest_s >= AFTERWARDS * whole_s:
            sentence = (
                f"{span(rest_s)} of the stop ({_percent(rest_s / whole_s)} of it, {condition.words}) pass after the last answer: look for "
                "what it waits for then, such as idle connections, threads or a fixed delay."
            )
            said.append(Advice(saves_s=rest_s, sentence=sentence))
    return max(said, key=lambda each: each.saves_s, default=None)


def _of_the_same_rounds(first: Series, second: Series) -> Sequence[tuple[float, float]]:
    """What both have of the rounds in which each has one sample."""
    one, two = (
        {number: sample for number, sample in zip(each.rounds, each.samples, strict=True) if each.rounds.count(number) == 1}
        for each in (first, second)
    )
    return [(one[number], two[number]) for number in sorted(one.keys() & two.keys())]


def _idle_stop(variant: Variant) -> Advice | None:
    stop_s = _median(variant, "shutdown_time", "idle")
    if stop_s is None or stop_s < LONG_STOP_S:
        return None
    return Advice(
        saves_s=stop_s,
        sentence=f"It takes {span(stop_s)} to stop though no request is in flight: look for a fixed delay, or a loop that sees the signal "
        "only when its poll or sleep is over.",
    )


RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "the runtime": (_runtime,),
    "the app's start": (_asked_rarely, _imports, _disk, _computes, _waits),
    "the start after SIGKILL": (_recovery,),
    "the stop": (_killed, _keep_alive, _after_the_last_answer, _idle_stop),
}
"""What is looked at, and who looks at it, the most particular first."""
