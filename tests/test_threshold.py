"""Thresholds over metrics."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.threshold import (
    AGGREGATES,
    DEFAULT_THRESHOLDS,
    METRICS,
    OPERATORS,
    OfBaseline,
    effective_thresholds,
    parse_threshold,
    percentile,
)
from harness.units import Duration
from harness.words import MistakeError


@pytest.mark.parametrize(
    ("text", "process", "metric", "aggregate", "op", "value"),
    [
        ("dropped_requests == 0", None, "dropped_requests", None, "==", 0),
        ("dropped_requests==0", None, "dropped_requests", None, "==", 0),
        ("shutdown_time p(95) < 5s", None, "shutdown_time", "p(95)", "<", 5),
        ("shutdown_time p( 99.9 )<=1m30s", None, "shutdown_time", "p(99.9)", "<=", 90),
        ("exit_status in (0, 143)", None, "exit_status", None, "in", (0, 143)),
        ("exit_status in [0]", None, "exit_status", None, "in", (0,)),
        ("exit_status in(0,)", None, "exit_status", None, "in", (0,)),
        ("exit_status != 137", None, "exit_status", None, "!=", 137),
        ("exit_status max < 128", None, "exit_status", "max", "<", 128),
        ("web.startup_time max <= 2s", "web", "startup_time", "max", "<=", 2),
        ("my-worker_2.startup_time median <= 250ms", "my-worker_2", "startup_time", "median", "<=", 0.25),
        ("error_rate < 1%", None, "error_rate", None, "<", 0.01),
        ("error_rate < 0.5", None, "error_rate", None, "<", 0.5),
        ("grace_share max < 150%", None, "grace_share", "max", "<", 1.5),
        ("requests_per_second >= 100", None, "requests_per_second", None, ">=", 100),
        ("requests_per_second > 6000/m", None, "requests_per_second", None, ">", 100),
        ("response_time count >= 100", None, "response_time", "count", ">=", 100),
        ("  outage_time   sum   <   1s ", None, "outage_time", "sum", "<", 1),
        ("startup_time p(50) <= baseline", None, "startup_time", "p(50)", "<=", OfBaseline()),
        ("web.startup_time p(50) <= baseline + 10%", "web", "startup_time", "p(50)", "<=", OfBaseline(share=Fraction(1, 10))),
        ("startup_time max <= baseline+20ms", None, "startup_time", "max", "<=", OfBaseline(more=0.02)),
        ("requests_per_second >= baseline - 2.5 %", None, "requests_per_second", None, ">=", OfBaseline(share=Fraction(-1, 40))),
        ("requests_per_second >= baseline - 60/m", None, "requests_per_second", None, ">=", OfBaseline(more=-1)),
        ("dropped_requests <= baseline + 2", None, "dropped_requests", None, "<=", OfBaseline(more=2)),
        ("dropped_requests == baseline", None, "dropped_requests", None, "==", OfBaseline()),
        ("error_rate <= baseline + 0.01", None, "error_rate", None, "<=", OfBaseline(more=0.01)),
        ("grace_share count > baseline - 99.9%", None, "grace_share", "count", ">", OfBaseline(share=Fraction(-999, 1000))),
    ],
)
def test_a_threshold_is_read(text: str, process: str | None, metric: str, aggregate: str | None, op: str, value: object) -> None:
    threshold = parse_threshold(text)
    assert (threshold.process, threshold.metric, threshold.aggregate, threshold.op, threshold.value) == (
        process,
        metric,
        aggregate,
        op,
        value,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dropped_request == 0", 'unknown metric "dropped_request" (did you mean "dropped_requests"?)'),
        ("web.startup_tme max < 1s", 'unknown metric "startup_tme" (did you mean "startup_time"?)'),
        ("dropped_request", 'unknown metric "dropped_request" (did you mean "dropped_requests"?)'),
        ("dropped_requests", '"dropped_requests" is not a threshold; write it as: dropped_requests == 0, or shutdown_time p(95) < 5s'),
        ("", '"" is not a threshold; write it as: dropped_requests == 0, or shutdown_time p(95) < 5s'),
        ("dropped_requests = 0", "unknown comparison =; write =="),
        ("dropped_requests => 0", "unknown comparison =>; write >="),
        ("dropped_requests max == 0", "dropped_requests is one number in each run and takes no aggregate; remove max"),
        ("dropped_requests == 0.5", 'dropped_requests is a whole number, not "0.5"'),
        ("dropped_requests == -1", 'dropped_requests is a whole number, not "-1"'),
        ("dropped_requests < 5s", 'dropped_requests is a whole number, not "5s"'),
        ("dropped_requests == none", 'dropped_requests is a whole number, not "none"'),
        ("startup_time < 2", "startup_time has many samples in a run and needs an aggregate: write startup_time p(95) < 2s"),
        ("startup_time < 2s", "startup_time has many samples in a run and needs an aggregate: write startup_time p(95) < 2s"),
        ("startup_time max < 2", "startup_time is a time: write 2s, not 2"),
        ("startup_time max < 2 s", '"2 s" is not a duration; write it as 250ms, 10s, 1m30s or 2h'),
        ("startup_time max < 5%", '"5%" is not a duration; write it as 250ms, 10s, 1m30s or 2h'),
        ("startup_time p95 < 2s", 'unknown aggregate "p95"; write p(95)'),
        ("startup_time p(101) < 2s", "a percentile lies between 0 and 100, not 101"),
        (
            "startup_time medan < 2s",
            'unknown aggregate "medan" (did you mean "median"?); there are "min", "max", "mean", "median", "sum", "count" and "p(95)"',
        ),
        ("startup_time in (1s, 2s)", "startup_time can't be compared with a list; write startup_time p(95) < …"),
        ("startup_time max in (1s, 2s)", "startup_time can't be compared with a list; write startup_time p(95) < …"),
        ("exit_status < 1", "each exit_status is compared by itself: write exit_status == 0, or exit_status in (0, 143)"),
        ("exit_status == (0, 143)", "a list goes with in: write exit_status in (0, 143)"),
        ("exit_status in 0, 143", "in needs a list: write exit_status in (0, 143)"),
        ("exit_status in (0, x)", 'exit_status is a whole number, not "x"'),
        ("error_rate < 1.5", "error_rate is a share from 0 to 1: write 1.5%, not 1.5"),
        ("error_rate < 1s", 'error_rate is a share: write 1% or 0.01, not "1s"'),
        (
            "startup_time <= baseline + 10%",
            "startup_time has many samples in a run and needs an aggregate: write startup_time p(95) <= baseline + 10%",
        ),
        ("startup_time max <= basline + 10%", 'unknown word "basline" (did you mean "baseline"?)'),
        ("startup_time max <= Baseline", 'unknown word "Baseline" (did you mean "baseline"?)'),
        ("startup_time max <= baseline + 20", "startup_time is a time: write 20s, not 20"),
        ("startup_time max == baseline", "no startup_time is exactly that of another run; write <= baseline + 5% or >= baseline - 5%"),
        ("startup_time max <= baseline - 100%", "baseline - 100% leaves nothing of it; write less than 100%"),
        ("dropped_requests in (baseline, 3)", "in takes a list of numbers and no baseline; write dropped_requests <= baseline"),
        ("dropped_requests <= baseline + 5s", 'dropped_requests is a whole number, not "5s"'),
        (
            "exit_status == baseline",
            "an exit_status has no more and no less, so no baseline; write exit_status == 0, or exit_status in (0, 143)",
        ),
        (
            "error_rate <= baseline + 1%",
            "error_rate is a share, so 1% might be of the baseline or of the whole; write baseline + 0.01, which is of the whole",
        ),
        ("error_rate <= baseline + 2", "error_rate is a share from 0 to 1: write baseline + 0.02, not 2"),
        ("error_rate <= 2 baseline", '"2 baseline" can\'t be computed; write baseline, baseline + 0.02, or the same with -'),
        *(
            (
                f"startup_time max <= {value}",
                f'"{value}" can\'t be computed; write baseline, baseline + 10% or baseline + 20ms, or the same with -',
            )
            for value in ("baseline * 1.1", "1.1 * baseline", "110% baseline", "baseline + -5%", "baseline +", "baseline + 10% + 20ms")
        ),
    ],
)
def test_a_wrong_threshold_is_told_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(MistakeError) as caught:
        parse_threshold(text)
    assert str(caught.value) == message


@st.composite
def thresholds(draw: st.DrawFn) -> tuple[str, float | tuple[float, ...]]:
    """A threshold's text and the value that it must have."""
    metric = METRICS[draw(st.sampled_from(sorted(METRICS)))]
    process = draw(st.sampled_from(["", "web.", "job-runner."]))
    space = draw(st.sampled_from([" ", "  "]))
    if metric.unit == "status":
        statuses = draw(st.lists(st.integers(0, 255), min_size=1, max_size=4))
        return f"{process}{metric.name}{space}in ({', '.join(map(str, statuses))})", tuple(map(float, statuses))
    aggregate = draw(st.sampled_from(["min", "max", "mean", "median", "sum", "p(95)", "p(0)", "p(100)"])) if metric.many else ""
    op = draw(st.sampled_from(sorted(OPERATORS)))
    written, value = draw(
        {
            "count": st.integers(0, 10**9).map(lambda number: (str(number), float(number))),
            "per_s": st.integers(0, 10**6).map(lambda number: (str(number), float(number))),
            "share": st.integers(0, 100).map(lambda number: (f"{number}%", number / 100)),
            "s": st.integers(0, 3600 * 10**9).map(lambda ns: (str(Duration(ns=ns)), ns / 1e9)),
        }[metric.unit]
    )
    return f"{process}{metric.name} {aggregate}{space}{op}{space}{written}", value


@given(thresholds())
def test_every_threshold_reads_back_as_itself(written: tuple[str, float | tuple[float, ...]]) -> None:
    text, value = written
    threshold = parse_threshold(text)
    assert threshold.value == value
    assert parse_threshold(str(threshold)) == threshold


@pytest.mark.parametrize(
    ("value", "limit"),
    [("baseline", 0.98), ("baseline + 10%", 1.078), ("baseline - 50%", 0.49), ("baseline + 20ms", 1.0), ("baseline - 1s", -0.02)],
)
def test_a_baseline_sets_the_limit(value: str, limit: float) -> None:
    threshold = parse_threshold(f"startup_time max <= {value}")
    assert (threshold.limits, threshold.holds([0.0])) == ((), None)
    told = threshold.against(0.98)
    assert told.limits == (pytest.approx(limit),)
    assert (told.text, told.holds([]), told.against(5)) == (threshold.text, None, told)
    assert (told.holds([told.limits[0]]), told.holds([limit + 0.001])) == (True, False)


@given(number=st.integers(0, 10**6), percent=st.integers(0, 99), sign=st.sampled_from("+-"))
def test_per_cent_of_a_count_are_exact(number: int, percent: int, sign: str) -> None:
    threshold = parse_threshold(f"requests >= baseline {sign} {percent}%")
    hundredth = number * (100 + percent if sign == "+" else 100 - percent)
    (limit,) = threshold.against(float(number)).limits
    assert limit == hundredth / 100
    assert parse_threshold(str(threshold)) == threshold


@given(st.text(max_size=40))
def test_nonsense_is_a_mistake_and_never_a_crash(text: str) -> None:
    for written in (text, f"startup_time max <= {text}", f"error_rate <= baseline {text}", f"startup_time max <= baseline + {text}"):
        with contextlib.suppress(MistakeError):
            parse_threshold(written)


@pytest.mark.parametrize(
    ("text", "samples", "holds"),
    [
        ("dropped_requests == 0", [0.0], True),
        ("dropped_requests == 0", [1.0], False),
        ("dropped_requests == 0", [], None),
        ("startup_time max < 2s", [0.5, 1.9], True),
        ("startup_time max < 2s", [0.5, 2.0], False),
        ("startup_time min >= 500ms", [0.5, 2.0], True),
        ("startup_time mean <= 1s", [0.5, 1.5], True),
        ("startup_time median < 1s", [0.1, 0.2, 9.0], True),
        ("startup_time p(50) < 1s", [0.1, 0.2, 9.0], True),
        ("startup_time p(100) < 1s", [0.1, 0.2, 9.0], False),
        ("outage_time sum < 1s", [0.5, 0.4], True),
        ("startup_time count >= 3", [0.1, 0.2, 9.0], True),
        ("startup_time count >= 3", [], None),
        ("exit_status in (0, 143)", [0.0, 143.0, 0.0], True),
        ("exit_status in (0, 143)", [0.0, 137.0], False),
        ("exit_status != 137", [0.0, 137.0], False),
        ("exit_status == 0", [], None),
        ("error_rate < 1%", [0.009], True),
        ("error_rate < 1%", [0.01], False),
    ],
)
def test_a_threshold_holds_or_not_and_without_data_nobody_knows(text: str, samples: list[float], *, holds: bool | None) -> None:
    assert parse_threshold(text).holds(samples) is holds


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(0, 100))
def test_percentiles_are_those_of_numpy(samples: list[float], rank: float) -> None:
    assert percentile(samples, rank) == pytest.approx(float(np.percentile(samples, rank)), rel=1e-9, abs=1e-6)


def test_every_metric_of_the_registry_has_an_example_that_is_a_threshold_over_it() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.doc
        assert parse_threshold(metric.example).metric == name


def test_every_aggregate_takes_one_sample() -> None:
    for aggregate in AGGREGATES.values():
        assert aggregate([2.0]) in (2.0, 1.0)


def test_defaults_apply_to_metrics_that_nobody_named() -> None:
    assert effective_thresholds([]) == [(threshold, False) for threshold in DEFAULT_THRESHOLDS]
    own = [parse_threshold("web.dropped_requests < 5"), parse_threshold("startup_time max < 2s")]
    effective = effective_thresholds(own)
    assert effective[:2] == [(own[0], True), (own[1], True)]
    assert [threshold.metric for threshold, by_user in effective if not by_user] == [
        "killed_after_grace",
        "survivors",
        "dropped_knocks",
        "died_by_itself",
        "failed_starts",
        "zombies",
        "cut_off",
        "oom_kills",
    ]


def test_thresholds_cost_neither_pydantic_nor_numpy() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, harness.threshold; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"pydantic", "numpy", "locust"} & set(loaded)
