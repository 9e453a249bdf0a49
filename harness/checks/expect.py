"""Whether the scenario's expectations hold: one finding for each threshold, with what was measured.

A threshold that somebody wrote and whose metric has no sample is unknown. A default one without a sample does not apply: a scenario that
stops nothing has no stop that could have gone wrong. One that hangs on a baseline is judged by the number that stands in the run's own
header, so it says the same when the baseline is long gone; without it, it is unknown. `allow` is the other half: what a threshold of the
author permits, no check calls a failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from harness.checks.causes import explain_start
from harness.checks.evidence import Start
from harness.checks.facts import Facts
from harness.checks.metrics import SAMPLERS, contained_of, lives_of
from harness.checks.wording import count, listed, number, some
from harness.history import Baseline, BaselineNumber, History
from harness.scenario import Scenario
from harness.threshold import METRICS, OfBaseline, Threshold, default_thresholds, effective_thresholds
from harness.units import span
from harness.verdict import Finding, Verdict

CHECK: Final = "expect"

TIMING: Final = frozenset(
    {
        "time_to_running",
        "time_to_created",
        "time_to_started",
        "runtime_start_time",
        "runtime_remove_time",
        "time_to_listening",
        "startup_time",
        "time_to_first_answer",
        "time_to_stop_listening",
        "time_to_drained",
        "shutdown_time",
        "grace_share",
    }
)
"""Metrics that the harness itself times; one that stood still has measured them wrong."""

AT_LEAST: Final = (">", ">=", "==", "in")
"""Operators that a time may fulfil only because it was measured too long."""

START_TIMES: Final = ("time_to_listening", "startup_time", "time_to_first_answer")
"""Metrics of how long an app takes to start."""

SAYS: Final = {
    "expectation-held": ":",
    "expectation-failed": " does not hold: it was",
    "expectation-unknown": " is not known to hold:",
    "expectation-not-applicable": ":",
}
"""What the title of each finding says between the threshold and the reason."""

AMOUNTS: Final = {"<=": "at most", "<": "below", ">=": "at least", ">": "above", "==": "exactly", "!=": "not"}
"""What each operator demands, in words."""

CONTAINED: Final = frozenset(
    {
        "time_to_created",
        "time_to_started",
        "runtime_start_time",
        "runtime_remove_time",
        "root_replicas",
        "written_files",
        "zombies",
        "cut_off",
        "oom_kills",
    }
)
"""Metrics that only containers have samples of."""


def check(history: History) -> list[Finding]:
    """One finding for each effective threshold."""
    facts = Facts(history)
    effective = effective_thresholds(facts.scenario.expect, _defaults(facts))
    return [_finding(facts, threshold, written=written) for threshold, written in effective]


def _defaults(facts: Facts) -> tuple[Threshold, ...]:
    return default_thresholds(_has(facts.scenario))


def _has(scenario: Scenario) -> Iterator[str]:
    """What the scenario has that is to hold besides."""
    if scenario.jobs is not None:
        yield "jobs"
        if scenario.jobs.idempotent:
            yield "once"
    for workload in scenario.state.values():
        yield "state" if workload.operations else workload.model


def resolved(threshold: Threshold, baseline: Baseline | None) -> Threshold:
    """``threshold`` with the limit that the run's baseline sets, as far as there is one."""
    told = _told(threshold, baseline)
    return threshold if told is None else threshold.against(told.number)


def _told(threshold: Threshold, baseline: Baseline | None) -> BaselineNumber | None:
    """What the baseline of a run says for ``threshold``; None when there is no baseline, or none is needed."""
    if baseline is None or not isinstance(threshold.value, OfBaseline):
        return None
    return next((told for told in baseline.numbers if told.threshold == threshold.text), None)


def _finding(facts: Facts, threshold: Threshold, *, written: bool) -> Finding:
    baseline = facts.history.header.baseline
    told = _told(threshold, baseline)
    if told is None or baseline is None:
        return _judged(facts, threshold, written=written) if threshold.limits else _without_baseline(facts, threshold)
    limited = threshold.against(told.number)
    finding = _judged(facts, limited, written=written)
    where = f"the baseline: {baseline.place}, {baseline.name}, on {baseline.engine}, {baseline.machine}, {baseline.began}"
    return msgspec.structs.replace(finding, title=f"{finding.title} ({_limit(limited, told)})", evidence=(*finding.evidence, where))


def _limit(threshold: Threshold, told: BaselineNumber) -> str:
    """What the baseline says, and what is therefore demanded."""
    unit = "count" if threshold.aggregate == "count" else METRICS[threshold.metric].unit
    over = f" over {count(told.samples, 'sample')}" if METRICS[threshold.metric].many else ""
    (limit,) = threshold.limits
    return f"baseline {_exact(told.number, unit)}{over}, so {AMOUNTS[threshold.op]} {_exact(limit, unit)}"


def _exact(value: float, unit: str) -> str:
    """As findings say it, but for what samples never are: below zero, or a count between two whole ones."""
    if value < 0:
        return f"-{_exact(-value, unit)}"
    return f"{value:.1f}" if unit == "count" and not value.is_integer() else number(value, unit)


def _without_baseline(facts: Facts, threshold: Threshold) -> Finding:
    samples = SAMPLERS[threshold.metric](facts, threshold.process)
    was = f"it was {_measured(threshold, samples)}, and" if samples else "nothing was measured, and"
    name = "expectation-unknown"
    return Finding(
        check=CHECK,
        name=name,
        verdict=Verdict.UNKNOWN,
        title=f"{threshold.text}{SAYS[name]} {was} there is no baseline to compare it with",
        cure="Give a baseline: jetable run … --baseline RUN, where RUN is the folder of a stored run or bench.",
        metric=threshold.metric,
        count=len(samples),
    )


def _judged(facts: Facts, threshold: Threshold, *, written: bool) -> Finding:
    samples = SAMPLERS[threshold.metric](facts, threshold.process)
    match threshold.holds(samples):
        case True if threshold.metric in TIMING and facts.harness_stalls and threshold.op in AT_LEAST:
            return _untimed(facts, threshold, samples)
        case True:
            name, verdict, words = "expectation-held", Verdict.PASS, _measured(threshold, samples)
        case False if not facts.finished and _could_still(threshold, samples):
            name, verdict = "expectation-unknown", Verdict.UNKNOWN
            words = f"it was {_measured(threshold, samples)} when the run was cut off"
        case False if threshold.metric in TIMING and facts.harness_stalls:
            return _untimed(facts, threshold, samples)
        case False:
            name, verdict, words = "expectation-failed", Verdict.FAIL, _measured(threshold, samples)
        case _ if written:
            words = "nothing was measured" if facts.finished else "the run ended before there was anything to measure"
            name, verdict = "expectation-unknown", Verdict.UNKNOWN
        case _:
            name, verdict, words = "expectation-not-applicable", Verdict.PASS, "there was nothing to measure"
    cause, cure = _slow_start(facts, threshold) if verdict is Verdict.FAIL else ("", "")
    return Finding(
        check=CHECK,
        name=name,
        verdict=verdict,
        title=f"{threshold.text}{SAYS[name]} {words}",
        evidence=() if written else ("a default; name the metric in expect to change it",),
        cause=cause,
        cure=_cure(facts, threshold) if verdict is Verdict.UNKNOWN and facts.finished else cure,
        metric=threshold.metric,
        count=len(samples),
    )


def threshold_of(finding: Finding) -> str:
    """The threshold of a finding whose name is one of `SAYS`, as it was written, which stands at the head of its title."""
    return finding.title.partition(f"{SAYS[finding.name]} ")[0]


def _slow_start(facts: Facts, threshold: Threshold) -> tuple[str, str]:
    """Where the time of the longest start went, when that is what the threshold bounds."""
    lives = [life for life in lives_of(facts, threshold.process) if life.healthy_ns]
    if threshold.metric not in START_TIMES or not lives:
        return "", ""
    slowest = max(lives, key=lambda life: life.healthy_ns - life.app_began_ns)
    told = next((life for life in lives if life.imported and life.process == slowest.process), slowest)
    return explain_start("expectation-failed", Start(facts=facts, life=told))


def _could_still(threshold: Threshold, samples: Sequence[float]) -> bool:
    """Whether it asks for more of something that is counted than there was, which a whole run might have given."""
    counted = threshold.aggregate == "count" or METRICS[threshold.metric].unit == "count"
    wanted = max(threshold.limits)
    return counted and threshold.op in ("==", ">=", ">", "in") and all(each < wanted for each in threshold.measured(samples) or ())


def _untimed(facts: Facts, threshold: Threshold, samples: Sequence[float]) -> Finding:
    """A time that is too long, or just long enough, measured by a harness that stood still meanwhile: nobody knows if the app took it."""
    name, late = "expectation-unknown", "but the harness itself was too late to tell (see harness-stalled)"
    stalls = [f"the harness stood still for {span(stall.seconds)} during {stall.words}" for stall in facts.harness_stalls]
    return Finding(
        check=CHECK,
        name=name,
        verdict=Verdict.UNKNOWN,
        title=f"{threshold.text}{SAYS[name]} it was {_measured(threshold, samples)}, {late}",
        evidence=some(stalls),
        cure="Run it on a quieter machine, or with less load.",
        metric=threshold.metric,
        count=len(samples),
    )


def _measured(threshold: Threshold, samples: Sequence[float]) -> str:
    """The number that was compared, and over how many samples."""
    metric = METRICS[threshold.metric]
    measured = threshold.measured(samples) or ()
    if not metric.many:
        return number(measured[0], metric.unit)
    over = count(len(samples), "sample")
    if threshold.aggregate is None:
        times = Counter(number(value, metric.unit) for value in measured)
        return f"{listed([f'{words} in {found}' for words, found in times.most_common()])} of {over}"
    unit = "count" if threshold.aggregate == "count" else metric.unit
    return f"{number(measured[0], unit)} over {over}"


def _cure(facts: Facts, threshold: Threshold) -> str:
    if threshold.metric in CONTAINED and not contained_of(facts, threshold.process):
        return "Run it with an engine that has containers (--engine), or remove the line."
    whose = f" of {threshold.process}" if threshold.process else ""
    return f"Add a step that makes {threshold.metric}{whose} measurable ({METRICS[threshold.metric].doc}), or remove the line."


def allow(history: History, findings: Sequence[Finding]) -> list[Finding]:
    """``findings``, but what the scenario's own thresholds permit is no longer a failure and says so.

    A finding is permitted when every threshold that the author wrote about its metric holds, and together they speak of every process
    type in which the default would have failed. There is nothing to cure in it then.
    """
    permitted: dict[tuple[str, str], Sequence[Threshold]] = {}
    facts = Facts(history)
    result = []
    for finding in findings:
        if finding.check == CHECK or finding.verdict is not Verdict.FAIL or not finding.metric:
            result.append(finding)
            continue
        process = facts.life(finding.replica).process if finding.replica else ""
        key = finding.metric, process
        if key not in permitted:
            permitted[key] = _permissions(facts, *key)
        result.append(_permitted(finding, permitted[key]) if permitted[key] else finding)
    return result


def _permissions(facts: Facts, metric: str, process: str) -> Sequence[Threshold]:
    """The author's thresholds that permit what ``metric`` shows in ``process`` (empty: in any); none when they don't permit all of it."""
    baseline = facts.history.header.baseline
    written = [resolved(threshold, baseline) for threshold in facts.scenario.expect if threshold.metric == metric]
    if process:
        written = [threshold for threshold in written if threshold.process in (None, process)]
    if not written or not all(threshold.holds(SAMPLERS[metric](facts, threshold.process)) for threshold in written):
        return ()
    strict = [threshold for threshold in _defaults(facts) if threshold.metric == metric]
    concerned = [process] if process else list(facts.scenario.target)
    for each in concerned:
        spoken_of = any(threshold.process in (None, each) for threshold in written)
        if not spoken_of and any(threshold.holds(SAMPLERS[metric](facts, each)) is False for threshold in strict):
            return ()
    return written


def _permitted(finding: Finding, thresholds: Sequence[Threshold]) -> Finding:
    note = f"the scenario allows it: {listed([threshold.text for threshold in thresholds])}"
    return msgspec.structs.replace(finding, verdict=Verdict.PASS, evidence=(note, *finding.evidence), cure="")
