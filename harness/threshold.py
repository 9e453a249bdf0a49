"""Expectations over metrics: ``dropped_requests == 0``, ``shutdown_time p(95) < 5s``, ``web.exit_status in (0, 143)``.

A threshold names a metric, perhaps of one process type, how its samples become one number, and what that number must be. A metric
without data is no pass: `Threshold.holds` then answers None, and the run's verdict is unknown. Some thresholds apply to every scenario
that does not name their metric itself; those are `DEFAULT_THRESHOLDS`.

What the number must be may hang on a *baseline*, what another run measured: ``startup_time p(50) <= baseline + 10%``. Such a threshold
holds of nothing until `Threshold.against` is told what the same aggregate of the baseline's samples is.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Literal, TypeAlias

from harness.units import Duration, Rate, percent_of
from harness.words import MistakeError, all_of, did_you_mean, quoted

Unit: TypeAlias = Literal["count", "s", "share", "status", "per_s"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Something that a run measures.

    Attributes:
        name: What a threshold calls it.
        unit: ``count`` (how many), ``s`` (seconds), ``share`` (0 to 1), ``status`` (exit status) or ``per_s``.
        many: True when a run has many samples of it, so that a threshold needs an aggregate.
        doc: What it is, for people.
        example: A threshold over it.
    """

    name: str
    unit: Unit
    many: bool
    doc: str
    example: str


def _count(name: str, doc: str, demand: str = "== 0") -> Metric:
    return Metric(name=name, unit="count", many=False, doc=doc, example=f"{name} {demand}")


def _span(name: str, doc: str, demand: str = "p(95) < 2s") -> Metric:
    return Metric(name=name, unit="s", many=True, doc=doc, example=f"{name} {demand}")


METRICS: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (
        _count("requests", "requests that the load wanted answered, whatever became of them", ">= 1000"),
        _count("ok_requests", "requests answered as expected at the first attempt", ">= 1000"),
        _count("dropped_requests", "requests that were not answered as expected, not even after they had been redirected or sent again"),
        _count("redirected_requests", "requests refused by one replica and answered by another"),
        _count("retried_requests", "requests answered only after a permitted retry"),
        _count("stale_connections", "attempts on a kept-alive connection that was already closed; sent again on a new one"),
        _count("unavailable_requests", "requests refused by every replica there was"),
        _count("closed_requests", "requests whose connection was closed or reset before the first byte of an answer"),
        _count("truncated_answers", "answers cut in their headers or body"),
        _count("wrong_answers", "whole answers with another status or body than expected"),
        _count("error_answers", "answers with a status from 500 on, other than a refusal while draining"),
        _count("rejected_answers", "answers 503 or 429"),
        _count("timeouts", "requests without a whole answer in time"),
        _count("unfinished_requests", "requests still open when the load ended"),
        Metric(
            name="error_rate",
            unit="share",
            many=False,
            doc="dropped requests as a share of all requests",
            example="error_rate < 1%",
        ),
        Metric(
            name="requests_per_second",
            unit="per_s",
            many=False,
            doc="requests answered as expected in each second of load",
            example="requests_per_second >= 100",
        ),
        _span("response_time", "from the first byte sent to the last byte of the answer"),
        _span("outage_time", "spans in which no replica answered any client; 0s when there was none", "max < 500ms"),
        _count("lost_events", "events of streams that a client should have got and did not"),
        _count("repeated_events", "events of streams that a client got more than once"),
        _count("resumed_streams", "times that a client connected again and its stream went on", ">= 10"),
        _span("resume_time", "from the end of a stream's connection until its client has another one", "p(95) < 1s"),
        _count("cut_streams", "streams that a replica cut at a stop instead of ending them in order"),
        _span("time_to_running", "from spawned until the command runs"),
        _span("time_to_created", "from spawned until the runtime has made the container; only in containers"),
        _span("time_to_started", "from spawned until the first process of the container exists; only in containers"),
        _span("runtime_start_time", "the runtime's share of a start, from spawned until the command runs; only in containers"),
        _span("runtime_remove_time", "the runtime's share of a stop, from the end until the container is removed; only in containers"),
        _span("time_to_listening", "from spawned, in a container from running, until the port is open"),
        _span("startup_time", "from spawned, in a container from running, until healthy"),
        _span("time_to_first_answer", "from spawned, in a container from running, until the first request of the load is answered"),
        _span("time_to_stop_listening", "from the signal until the port is closed"),
        _span("time_to_drained", "from the signal until the last request in flight is answered"),
        _span("shutdown_time", "from the signal until the main process has ended, for stops with a grace"),
        Metric(
            name="grace_share",
            unit="share",
            many=True,
            doc="the share of its grace that each stop used",
            example="grace_share max < 50%",
        ),
        Metric(
            name="exit_status",
            unit="status",
            many=True,
            doc="exit status of each replica that was stopped with a grace; 128+N when signal N ended it",
            example="exit_status in (0, 143)",
        ),
        _count("killed_after_grace", "stops that were not over at the end of their grace"),
        _count("survivors", "descendants that outlived their replica"),
        _count("dropped_knocks", "new connections that were taken and lost after the signal, before the router knew of the stop"),
        _count("dropped_held", "requests in flight at a stop, on connections that the harness held, that were lost"),
        _count("died_by_itself", "replicas that ended although nobody had stopped them"),
        _count("failed_starts", "replicas that did not become healthy"),
        _count("root_replicas", "replicas whose main process runs as root; only in containers"),
        _count("written_files", "files, without known caches, that replicas changed in their own filesystems; only in containers"),
        _count("zombies", "processes that ended and that nobody waited for; only in containers"),
        _count("cut_off", "processes that a stop cut off because process 1 of their container ended before them; only in containers"),
        _count("oom_kills", "times that the kernel killed a process for want of memory that no step had taken; only in containers"),
        _count("lost_jobs", "jobs that were acknowledged and never done, and that the queue does not have any more"),
        _count("stranded_jobs", "jobs that were acknowledged and not done, and that the queue holds for who is gone, or until later"),
        _count("set_aside_jobs", "jobs that were acknowledged and not done, and that the queue set aside (dead letters, buried, failed)"),
        _count("duplicated_jobs", "jobs that had their effect more than once"),
        _count("unexpected_jobs", "effects of jobs that were never submitted"),
        _count("redelivered_jobs", "jobs that were begun more than once and had one effect"),
        _count("recovered_jobs", "jobs that were not acknowledged, yet done"),
        _count("jobs_done", "jobs whose effect was seen", ">= 100"),
        _span("job_time", "from the instant at which a job was acknowledged until its effect was seen"),
        _count("lost_writes", "changes of state that were acknowledged and are gone"),
        _count("stale_reads", "answers that were older than what had been acknowledged or answered before, or than the scenario allows"),
        _count("diverged_keys", "keys on which replicas, or the store, do not agree at the end"),
        _count("state_errors", "other answers about state that no order of the operations explains"),
        _count("differing_answers", "requests that replicas answer differently at the end"),
        _count("broken_journeys", "sessions that could not go on at another replica"),
        _count("faults", "faults that landed", ">= 10"),
        _count("busy_faults", "faults that landed on a replica with a request in flight or a job in hand", ">= 10"),
    )
}
"""Every metric that a threshold may name."""

OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
"""How a metric may be compared; beside these there is ``in (a, b)``."""

AGGREGATES: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "min": min,
    "max": max,
    "mean": lambda samples: math.fsum(samples) / len(samples),
    "median": lambda samples: percentile(samples, 50),
    "sum": math.fsum,
    "count": lambda samples: float(len(samples)),
}
"""How many samples become one number; beside these there is ``p(N)``, a percentile."""

_SHAPE: Final = re.compile(
    r"(?:(?P<process>[A-Za-z0-9_-]+)\.)?(?P<metric>\w+)"
    r"(?:\s+(?P<aggregate>[A-Za-z]\w*(?:\s*\([^()]*\))?))??"
    r"\s*(?P<op>==|!=|<=|>=|=<|=>|<>|=|<|>|\bin\b)\s*(?P<value>.+)",
)
_PERCENTILE: Final = re.compile(r"p\s*\(\s*(\d{1,3}(?:\.\d{1,6})?)\s*\)", re.ASCII)
_NUMBER: Final = re.compile(r"-?\d{1,15}(?:\.\d{1,9})?", re.ASCII)
_MISSPELT: Final = {"=": "==", "=<": "<=", "=>": ">=", "<>": "!="}

BASELINE: Final = "baseline"
_SAYS_BASELINE: Final = re.compile(rf"\b{BASELINE}\b")
_OF_BASELINE: Final = re.compile(rf"{BASELINE}(?:\s*(?P<sign>[+-])\s*(?P<amount>\d[^\s+*-]*(?:\s*%)?))?", re.ASCII)
_AMOUNTS: Final = {"s": "20ms", "share": "0.02", "per_s": "20", "count": "2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfBaseline:
    """What a threshold allows when its baseline is known: that number, ``share`` of it more, and ``more`` in the metric's own unit.

    Both may be negative; one of them is zero.
    """

    share: Fraction = Fraction(0)
    more: float = 0.0

    def limit(self, number: float) -> float:
        """The limit for a baseline of ``number``, computed in decimals: 7 % less than 100 is 93, and 45 ms and 5 ms are 50 ms."""
        return float(Fraction(repr(number)) * (1 + self.share) + Fraction(repr(self.more)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """What a metric must be.

    Attributes:
        text: As it was written.
        process: The process type that it speaks of; None for all of them together.
        metric: A key of `METRICS`.
        aggregate: ``p(95)`` or a key of `AGGREGATES`; None for a metric with one sample, or when every sample must hold.
        op: A key of `OPERATORS`, or ``in``.
        value: What is compared with, durations in seconds and per cent as a share; a tuple for ``in``, and `OfBaseline` as long as
            nobody has told it the baseline.
    """

    text: str
    process: str | None
    metric: str
    aggregate: str | None
    op: str
    value: float | tuple[float, ...] | OfBaseline

    def __str__(self) -> str:
        return self.text

    @property
    def limits(self) -> tuple[float, ...]:
        """The number or numbers that are compared with; none as long as they hang on a baseline that nobody has told."""
        match self.value:
            case tuple():
                return self.value
            case OfBaseline():
                return ()
            case _:
                return (self.value,)

    def against(self, number: float) -> Threshold:
        """The same, with the number that a baseline says for its metric and aggregate; what needs no baseline is as before."""
        return replace(self, value=self.value.limit(number)) if isinstance(self.value, OfBaseline) else self

    def holds(self, samples: Sequence[float]) -> bool | None:
        """Whether ``samples`` of the metric are as demanded; None when there are none, or a baseline is needed and not told.

        Without an aggregate every sample must hold.
        """
        measured = self.measured(samples)
        limits = self.limits
        return None if measured is None or not limits else all(self._fits(number, limits) for number in measured)

    def measured(self, samples: Sequence[float]) -> tuple[float, ...] | None:
        """The number or numbers that are compared: the aggregate, or the samples themselves; None when there are none."""
        if len(samples) == 0:
            return None
        if self.aggregate is None:
            return tuple(samples)
        return (aggregated(self.aggregate, samples),)

    def _fits(self, number: float, limits: tuple[float, ...]) -> bool:
        return number in limits if self.op == "in" else OPERATORS[self.op](number, limits[0])


def parse_threshold(text: str) -> Threshold:
    """The threshold that ``text`` spells.

    Raises:
        MistakeError: A sentence that says what is wrong and how to write it.
    """
    text = " ".join(text.split())
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise MistakeError(_no_shape(text))
    metric = METRICS.get(shape["metric"])
    if metric is None:
        raise MistakeError(f"unknown metric {quoted(shape['metric'])}{did_you_mean(shape['metric'], METRICS)}")
    if shape["op"] in _MISSPELT:
        raise MistakeError(f"unknown comparison {shape['op']}; write {_MISSPELT[shape['op']]}")
    aggregate = _aggregate(shape["aggregate"])
    _check_aggregate(metric, aggregate, shape["op"], shape["value"])
    return Threshold(
        text=text,
        process=shape["process"],
        metric=metric.name,
        aggregate=aggregate,
        op=shape["op"],
        value=_value(metric, "count" if aggregate == "count" else metric.unit, shape["op"], shape["value"]),
    )


def aggregated(aggregate: str, samples: Sequence[float]) -> float:
    """``samples``, of which there is at least one, as one number."""
    match = _PERCENTILE.fullmatch(aggregate)
    return percentile(samples, float(match[1])) if match else float(AGGREGATES[aggregate](samples))


def percentile(samples: Sequence[float], rank: float) -> float:
    """The ``rank``-th percentile (0 to 100) of one sample or more, by linear interpolation (Hyndman and Fan's type 7, as in numpy)."""
    ordered = sorted(samples)
    place = (len(ordered) - 1) * rank / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _no_shape(text: str) -> str:
    first = re.match(r"(?:[\w-]+\.)?(\w+)", text)
    if first and first[1] not in METRICS and (near := did_you_mean(first[1], METRICS)):
        return f"unknown metric {quoted(first[1])}{near}"
    return f"{quoted(text)} is not a threshold; write it as: dropped_requests == 0, or shutdown_time p(95) < 5s"


def _aggregate(written: str | None) -> str | None:
    """The canonical spelling of an aggregate."""
    if written is None or written in AGGREGATES:
        return written
    match = _PERCENTILE.fullmatch(written)
    if match and 0 <= float(match[1]) <= 100:
        return f"p({match[1]})"
    if match:
        raise MistakeError(f"a percentile lies between 0 and 100, not {match[1]}")
    if re.fullmatch(r"p\d{1,3}", written):
        raise MistakeError(f"unknown aggregate {quoted(written)}; write p({written[1:]})")
    known = [*AGGREGATES, "p(95)"]
    raise MistakeError(f"unknown aggregate {quoted(written)}{did_you_mean(written, known)}; there are {all_of(known)}")


def _check_aggregate(metric: Metric, aggregate: str | None, op: str, value: str) -> None:
    """Demand an aggregate exactly where there are many samples; every exit status can be compared by itself."""
    if not metric.many and aggregate is not None:
        raise MistakeError(f"{metric.name} is one number in each run and takes no aggregate; remove {aggregate}")
    if not metric.many or (aggregate is not None and op != "in"):
        return
    if metric.unit == "status":
        if aggregate is None and op in ("==", "!=", "in"):
            return
        raise MistakeError("each exit_status is compared by itself: write exit_status == 0, or exit_status in (0, 143)")
    if op == "in":
        raise MistakeError(f"{metric.name} can't be compared with a list; write {metric.name} p(95) < …")
    unit_added = f"{value}s" if metric.unit == "s" and _NUMBER.fullmatch(value) else value
    raise MistakeError(f"{metric.name} has many samples in a run and needs an aggregate: write {metric.name} p(95) {op} {unit_added}")


def _value(metric: Metric, unit: Unit, op: str, written: str) -> float | tuple[float, ...] | OfBaseline:
    if _SAYS_BASELINE.search(written):
        return _of_baseline(metric, unit, op, written)
    word = re.match(r"[A-Za-z]\w*", written)
    if word and (near := did_you_mean(word[0], [BASELINE])):
        raise MistakeError(f"unknown word {quoted(word[0])}{near}")
    if op != "in":
        if written.startswith("("):
            raise MistakeError(f"a list goes with in: write {metric.name} in {written}")
        return _number(metric, unit, written)
    match = re.fullmatch(r"[(\[](.+)[)\]]", written)
    if match is None:
        raise MistakeError(f"in needs a list: write {metric.name} in ({written.strip('()[] ') or '0, 143'})")
    return tuple(_number(metric, unit, item.strip()) for item in match[1].rstrip(", ").split(","))


def _of_baseline(metric: Metric, unit: Unit, op: str, written: str) -> OfBaseline:
    """What ``baseline``, ``baseline + 10%`` or ``baseline - 20ms`` allows."""
    if unit == "status":
        raise MistakeError("an exit_status has no more and no less, so no baseline; write exit_status == 0, or exit_status in (0, 143)")
    if op == "in":
        raise MistakeError(f"in takes a list of numbers and no baseline; write {metric.name} <= baseline")
    if op in ("==", "!=") and unit != "count":
        raise MistakeError(f"no {metric.name} is exactly that of another run; write <= baseline + 5% or >= baseline - 5%")
    shape = _OF_BASELINE.fullmatch(written)
    if shape is None:
        much = f"baseline + {_AMOUNTS[unit]}" if unit == "share" else f"baseline + 10% or baseline + {_AMOUNTS[unit]}"
        raise MistakeError(f"{quoted(written)} can't be computed; write baseline, {much}, or the same with -")
    if shape["amount"] is None:
        return OfBaseline()
    sign = -1 if shape["sign"] == "-" else 1
    share = percent_of(shape["amount"])
    if share is None and unit == "share" and _NUMBER.fullmatch(shape["amount"]) and float(shape["amount"]) > 1:
        raise MistakeError(f"{metric.name} is a share from 0 to 1: write baseline {shape['sign']} 0.02, not {shape['amount']}")
    if share is None:
        return OfBaseline(more=sign * _number(metric, unit, shape["amount"]))
    if unit == "share":
        which = f"{metric.name} is a share, so {shape['amount']} might be of the baseline or of the whole"
        raise MistakeError(f"{which}; write baseline {shape['sign']} {float(share):g}, which is of the whole")
    if sign < 0 and share >= 1:
        raise MistakeError(f"baseline - {shape['amount']} leaves nothing of it; write less than 100%")
    return OfBaseline(share=sign * share)


def _number(metric: Metric, unit: Unit, written: str) -> float:
    """``written`` in the metric's own unit: seconds, a share from 0 to 1, a count."""
    bare = _NUMBER.fullmatch(written)
    match unit:
        case "s":
            if bare:
                raise MistakeError(f"{metric.name} is a time: write {written}s, not {written}")
            return Duration.parse(written).s
        case "share":
            return _share(metric, written)
        case "per_s":
            return float(written) if bare else Rate.parse(written).per_s
        case _:
            if bare is None or float(written) < 0 or not float(written).is_integer():
                raise MistakeError(f"{metric.name} is a whole number, not {quoted(written)}")
            return float(written)


def _share(metric: Metric, written: str) -> float:
    if (share := percent_of(written)) is not None:
        return float(share)
    number = _NUMBER.fullmatch(written)
    if number is None:
        raise MistakeError(f"{metric.name} is a share: write 1% or 0.01, not {quoted(written)}")
    if not 0 <= float(number[0]) <= 1:
        raise MistakeError(f"{metric.name} is a share from 0 to 1: write {written}%, not {written}")
    return float(number[0])


DEFAULT_THRESHOLDS: Final[tuple[Threshold, ...]] = tuple(
    parse_threshold(text)
    for text in (
        "dropped_requests == 0",
        "killed_after_grace == 0",
        "survivors == 0",
        "dropped_knocks == 0",
        "died_by_itself == 0",
        "failed_starts == 0",
        "zombies == 0",
        "cut_off == 0",
        "oom_kills == 0",
    )
)
"""What every scenario expects unless it names the metric itself."""


JOB_THRESHOLDS: Final[tuple[Threshold, ...]] = tuple(
    parse_threshold(text) for text in ("lost_jobs == 0", "stranded_jobs == 0", "set_aside_jobs == 0", "unexpected_jobs == 0")
)
"""What every scenario with jobs expects besides."""

ONCE_THRESHOLDS: Final[tuple[Threshold, ...]] = (parse_threshold("duplicated_jobs == 0"),)
"""What every scenario whose jobs are idempotent expects besides."""


STATE_THRESHOLDS: Final[tuple[Threshold, ...]] = tuple(
    parse_threshold(text) for text in ("lost_writes == 0", "stale_reads == 0", "diverged_keys == 0", "state_errors == 0")
)
"""What every scenario expects besides that has clients who write and read state."""

SAME_THRESHOLDS: Final[tuple[Threshold, ...]] = (parse_threshold("differing_answers == 0"),)
"""What every scenario expects besides that asks all replicas the same."""

JOURNEY_THRESHOLDS: Final[tuple[Threshold, ...]] = (parse_threshold("broken_journeys == 0"),)
"""What every scenario expects besides in which sessions go on at other replicas."""

BESIDES: Final[dict[str, tuple[Threshold, ...]]] = {
    "jobs": JOB_THRESHOLDS,
    "once": ONCE_THRESHOLDS,
    "state": STATE_THRESHOLDS,
    "same": SAME_THRESHOLDS,
    "journey": JOURNEY_THRESHOLDS,
}
"""What a scenario expects besides, by what it has."""


def default_thresholds(has: Iterable[str] = ()) -> tuple[Threshold, ...]:
    """What a scenario expects unless it names the metric itself; ``has`` is what it has of the keys of `BESIDES`."""
    held = frozenset(has)
    return (*DEFAULT_THRESHOLDS, *(threshold for part, thresholds in BESIDES.items() if part in held for threshold in thresholds))


def effective_thresholds(expect: Sequence[Threshold], defaults: Sequence[Threshold] = DEFAULT_THRESHOLDS) -> list[tuple[Threshold, bool]]:
    """All thresholds that a run is judged by, each with whether the scenario's author wrote it (else it is one of ``defaults``)."""
    named = {threshold.metric for threshold in expect}
    written = [(threshold, True) for threshold in expect]
    return written + [(threshold, False) for threshold in defaults if threshold.metric not in named]
