"""Expectations: held, failed, unknown, not applicable; and what they allow."""

from __future__ import annotations

import pytest

from harness.checks import timing
from harness.checks.expect import allow, check, threshold_of
from harness.threshold import DEFAULT_THRESHOLDS, METRICS
from harness.verdict import Finding, Verdict
from tests.checks.build import ONE_KILL, STORIES, Story, _lost, clean_stop, steady_run, stop_run


def finding(story: Story, text: str) -> Finding:
    return next(each for each in check(story.history()) if threshold_of(each) == text)


def stopped(*expect: str) -> Story:
    return stop_run(clean_stop, expect=expect)


@pytest.mark.parametrize(
    ("text", "name", "title"),
    [
        ("dropped_requests == 0", "expectation-held", "dropped_requests == 0: 0"),
        ("shutdown_time p(95) < 5s", "expectation-held", "shutdown_time p(95) < 5s: 80.0 ms over 1 sample"),
        ("shutdown_time max < 50ms", "expectation-failed", "shutdown_time max < 50ms does not hold: it was 80.0 ms over 1 sample"),
        ("startup_time count == 3", "expectation-held", "startup_time count == 3: 3 over 3 samples"),
        ("exit_status in (0, 143)", "expectation-held", "exit_status in (0, 143): 0 in 1 of 1 sample"),
        ("exit_status == 143", "expectation-failed", "exit_status == 143 does not hold: it was 0 in 1 of 1 sample"),
        ("web.faults >= 1", "expectation-held", "web.faults >= 1: 1"),
        ("error_rate < 1%", "expectation-held", "error_rate < 1%: 0 %"),
        ("requests_per_second > 400", "expectation-failed", "requests_per_second > 400 does not hold: it was 14.4/s"),
        ("grace_share max < 50%", "expectation-held", "grace_share max < 50%: 0.8 % over 1 sample"),
    ],
)
def test_a_threshold_is_told_with_what_was_measured(text: str, name: str, title: str) -> None:
    found = finding(stopped(text), text)
    assert (found.name, found.title, found.metric in METRICS) == (name, title, True)
    assert found.verdict is (Verdict.PASS if name == "expectation-held" else Verdict.FAIL)


@pytest.mark.parametrize("text", ["shutdown_time p(95) < 5s", "killed_after_grace == 0", "time_to_drained max < 1s", "exit_status != 1"])
def test_a_written_threshold_without_data_is_unknown(text: str) -> None:
    found = finding(steady_run(expect=[text]), text)
    assert (found.name, found.verdict) == ("expectation-unknown", Verdict.UNKNOWN)
    assert found.cure


@pytest.mark.parametrize("metric", ["survivors", "killed_after_grace"])
def test_a_default_threshold_without_data_does_not_apply(metric: str) -> None:
    found = finding(steady_run(), f"{metric} == 0")
    assert (found.name, found.verdict) == ("expectation-not-applicable", Verdict.PASS)


@pytest.mark.parametrize(
    ("text", "number", "name", "title"),
    [
        (
            "shutdown_time p(50) <= baseline + 10%",
            0.075,
            "expectation-held",
            ": 80.0 ms over 1 sample (baseline 75.0 ms over 12 samples, so at most 82.5 ms)",
        ),
        (
            "shutdown_time p(50) <= baseline + 10%",
            0.07,
            "expectation-failed",
            " does not hold: it was 80.0 ms over 1 sample (baseline 70.0 ms over 12 samples, so at most 77.0 ms)",
        ),
        ("web.startup_time max < baseline + 5ms", 0.045, "expectation-failed", None),
        ("web.startup_time max <= baseline + 5ms", 0.045, "expectation-held", None),
        ("shutdown_time max > baseline - 5ms", 0.001, "expectation-held", None),
        ("shutdown_time count >= baseline - 50%", 3.0, "expectation-failed", None),
        (
            "requests_per_second >= baseline - 5%",
            15.0,
            "expectation-held",
            ": 14.4/s (baseline 15.0/s, so at least 14.2/s)",
        ),
        ("grace_share max <= baseline - 0.5", 0.1, "expectation-failed", None),
        ("requests < baseline + 5%", 35.0, "expectation-held", ": 36 (baseline 35, so below 36.8)"),
        ("requests >= baseline - 50", 35.0, "expectation-held", ": 36 (baseline 35, so at least -15)"),
        ("requests == baseline", 35.0, "expectation-failed", " does not hold: it was 36 (baseline 35, so exactly 35)"),
    ],
)
def test_a_threshold_is_compared_with_the_baseline_of_the_run(text: str, number: float, name: str, title: str | None) -> None:
    found = finding(stopped(text).compare(text, number), text)
    assert found.name == name
    assert title is None or found.title == text + title
    assert found.evidence[-1] == "the baseline: reports/main, a story, on process, 2 cores, 2025-12-31T00:00:00.000+00:00"


@pytest.mark.parametrize("other", ["", "shutdown_time max <= baseline"])
def test_a_threshold_whose_baseline_nobody_told_is_unknown(other: str) -> None:
    text = "shutdown_time max <= baseline + 1h"
    story = stopped(text).compare(other, 1.0) if other else stopped(text)
    found = finding(story, text)
    assert (found.name, found.verdict) == ("expectation-unknown", Verdict.UNKNOWN)
    assert found.title.endswith("it was 80.0 ms over 1 sample, and there is no baseline to compare it with")
    assert "--baseline RUN" in found.cure


def test_a_baseline_does_not_make_up_for_what_was_not_measured() -> None:
    text = "shutdown_time max <= baseline"
    found = finding(steady_run(expect=[text]).compare(text, 1.0), text)
    assert (found.verdict, found.name) == (Verdict.UNKNOWN, "expectation-unknown")
    assert "nothing was measured" in found.title
    assert "there is no baseline" in finding(steady_run(expect=[text]), text).title


@pytest.mark.parametrize(("number", "verdict"), [(1.0, Verdict.PASS), (0.0, Verdict.FAIL), (None, Verdict.FAIL)])
def test_a_baseline_allows_what_its_threshold_allows(number: float | None, verdict: Verdict) -> None:
    text = "survivors <= baseline"
    story = stopped(text) if number is None else stopped(text).compare(text, number)
    story.survive("web.1", 1790, "sleep 1")
    history = story.history()
    assert next(each.verdict for each in allow(history, timing.check(history)) if each.name == "survivors") is verdict


def test_a_cut_off_run_may_yet_reach_what_the_baseline_had() -> None:
    text = "requests >= baseline"
    found = finding(steady_run(expect=[text], end=False).compare(text, 1000.0), text)
    assert (found.verdict, "when the run was cut off (baseline 1 000, so at least 1 000)" in found.title) == (Verdict.UNKNOWN, True)


def test_every_scenario_has_the_defaults_unless_it_names_their_metric() -> None:
    titles = [each.title for each in check(stopped("survivors <= 3", "requests > 10").history())]
    assert titles[:2] == ["survivors <= 3: 0", "requests > 10: 36"]
    assert len(titles) == 2 + len(DEFAULT_THRESHOLDS) - 1
    assert not any(title.startswith("survivors == 0") for title in titles)


WORKER = {"worker": {"command": ["work"]}}


def test_a_process_type_without_load_has_no_requests_to_judge() -> None:
    story = stop_run(clean_stop, expect=["worker.dropped_requests == 0"], others=WORKER)
    assert finding(story, "worker.dropped_requests == 0").verdict is Verdict.UNKNOWN


def survived(expect: str) -> Verdict:
    """What is said of a survivor of web, when the scenario expects ``expect``."""

    def stop(story: Story) -> None:
        clean_stop(story)
        story.start("worker.1", 7)
        story.survive("web.1", 1790, "sleep 1")

    history = stop_run(stop, expect=[expect], others=WORKER).history()
    return next(each.verdict for each in allow(history, timing.check(history)) if each.name == "survivors")


@pytest.mark.parametrize(
    ("expect", "verdict"),
    [
        ("survivors <= 1", Verdict.PASS),
        ("web.survivors <= 1", Verdict.PASS),
        ("survivors == 0", Verdict.FAIL),
        ("web.survivors == 0", Verdict.FAIL),
        ("worker.survivors <= 1", Verdict.FAIL),
        ("dropped_requests <= 1", Verdict.FAIL),
    ],
)
def test_a_threshold_allows_what_it_speaks_of_and_nothing_else(expect: str, verdict: Verdict) -> None:
    assert survived(expect) is verdict


def test_a_finding_about_several_replicas_needs_a_threshold_for_each_process_type_concerned() -> None:
    story = stop_run(clean_stop, others=WORKER)
    story.start("worker.1", 7)
    for replica in ("web.2", "worker.1"):
        story.survive(replica, 1900, "sleep 1")
    for expect, verdict in (("web.survivors <= 1", Verdict.FAIL), ("survivors <= 2", Verdict.PASS), ("survivors <= 1", Verdict.FAIL)):
        story.scenario = stop_run(clean_stop, expect=[expect], others=WORKER).scenario
        history = story.history()
        found = next(each for each in allow(history, timing.check(history)) if each.name == "survivors")
        assert (found.replica, found.verdict) == ("", verdict), expect


def test_kills_alone_give_no_exit_status() -> None:
    def kill(story: Story) -> None:
        story.ask("web.1", 690, 760)
        story.signal("web.1", 700, purpose="kill")
        story.exit("web.1", 701, 137)

    story = stop_run(kill, steps=ONE_KILL, expect=["exit_status == 0"])
    assert finding(story, "exit_status == 0").verdict is Verdict.UNKNOWN


def test_a_default_says_that_it_is_one() -> None:
    assert finding(steady_run(), "dropped_requests == 0").evidence == ("a default; name the metric in expect to change it",)
    assert finding(steady_run(expect=["dropped_requests == 0"]), "dropped_requests == 0").evidence == ()


def test_a_time_that_a_harness_measured_while_it_stood_still_is_unknown_when_it_is_too_long() -> None:
    text = "shutdown_time max < 50ms"
    found = finding(STORIES["unknown--expectation-unknown--harness-stalled"](), text)
    assert (found.name, found.verdict) == ("expectation-unknown", Verdict.UNKNOWN)
    assert found.evidence == ("the harness stood still for 260 ms during the stop of web.1",)
    held = STORIES["unknown--harness-stalled"]()
    held.scenario = stopped("shutdown_time max < 90ms", "exit_status == 1").scenario
    assert finding(held, "shutdown_time max < 90ms").verdict is Verdict.PASS
    assert finding(held, "exit_status == 1").verdict is Verdict.FAIL
    held.scenario = stopped("shutdown_time max > 10ms").scenario
    assert finding(held, "shutdown_time max > 10ms").verdict is Verdict.UNKNOWN


def test_a_failed_expectation_stays_a_failure_beside_the_finding_that_explains_it() -> None:
    found = finding(STORIES["fail--dropped-in-flight"](), "dropped_requests == 0")
    assert (found.name, found.verdict, found.title) == ("expectation-failed", Verdict.FAIL, "dropped_requests == 0 does not hold: it was 2")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("busy_faults == 5", Verdict.UNKNOWN),
        ("busy_faults >= 2", Verdict.UNKNOWN),
        ("faults in (3, 4)", Verdict.UNKNOWN),
        ("shutdown_time count > 3", Verdict.UNKNOWN),
        ("busy_faults == 0", Verdict.FAIL),
        ("ok_requests < 2", Verdict.FAIL),
        ("busy_faults >= 1", Verdict.PASS),
    ],
)
def test_a_run_that_was_cut_off_fails_no_demand_for_more_of_what_it_counts(text: str, verdict: Verdict) -> None:
    assert finding(_lost(expect=[text]), text).verdict is verdict


def test_what_fails_when_the_engine_is_lost_is_not_dropped_by_the_app() -> None:
    assert finding(_lost(), "dropped_requests == 0").title == "dropped_requests == 0: 0"
