"""Every metric has a way to be measured, and no sample where nothing was."""

from __future__ import annotations

import pytest

from harness.checks.expect import CONTAINED
from harness.checks.metrics import SAMPLERS
from harness.history import LoadBegan
from harness.outcome import Outcome
from harness.threshold import DEFAULT_THRESHOLDS, METRICS
from tests.checks.build import STORIES, Story, clean_stop, samples, steady_run, stop_run

OF_REQUESTS = [
    name
    for name in METRICS
    if (name.endswith(("_requests", "_answers")) and name != "differing_answers")
    or name in ("requests", "timeouts", "error_rate", "stale_connections", "outage_time")
]
OF_STOPS = ["killed_after_grace", "shutdown_time", "grace_share", "exit_status", "time_to_drained", "time_to_stop_listening"]


def test_every_metric_of_the_thresholds_can_be_measured() -> None:
    assert list(SAMPLERS) == list(METRICS)


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_with_one_sample_has_at_most_one_everywhere(metric: str) -> None:
    for tell in (steady_run, STORIES["fail--errors"], STORIES["fail--lost-by-kill--many"], STORIES["unknown--no-load"]):
        found = samples(tell().history(), metric)
        assert METRICS[metric].many or len(found) <= 1
        assert all(isinstance(sample, float) for sample in found)


@pytest.mark.parametrize("metric", OF_REQUESTS)
def test_without_a_request_nothing_is_known_about_requests(metric: str) -> None:
    assert samples(STORIES["unknown--no-load"]().history(), metric) == []


@pytest.mark.parametrize("metric", OF_REQUESTS)
def test_a_process_type_that_takes_no_load_has_no_metric_of_requests(metric: str) -> None:
    history = STORIES["unknown--fault-on-idle--no-load-there"]().history()
    assert samples(history, metric, "worker") == []
    assert samples(history, metric, "web") == samples(history, metric) != []


@pytest.mark.parametrize("metric", OF_STOPS)
def test_without_a_stop_nothing_is_known_about_stops(metric: str) -> None:
    assert samples(steady_run().history(), metric) == []


@pytest.mark.parametrize("metric", OF_STOPS)
def test_kills_are_no_stops(metric: str) -> None:
    assert samples(STORIES["fail--lost-by-kill--many"]().history(), metric) == []


@pytest.mark.parametrize("threshold", DEFAULT_THRESHOLDS, ids=str)
def test_a_clean_stop_meets_every_default(threshold: object) -> None:
    history = STORIES["pass--listener-after-signal--one-hung"]().contain().history()
    assert samples(history, str(threshold).split()[0]) == [0.0]


@pytest.mark.parametrize("metric", sorted(CONTAINED))
def test_without_a_container_nothing_is_known_about_containers(metric: str) -> None:
    assert samples(stop_run(clean_stop).history(), metric) == []


@pytest.mark.parametrize(
    ("story", "metric", "expected"),
    [
        ("fail--errors", "error_answers", [1.0]),
        ("fail--errors", "rejected_answers", [1.0]),
        ("fail--errors", "dropped_requests", [2.0]),
        ("fail--errors", "closed_requests", [0.0]),
        ("fail--unavailable", "unavailable_requests", [1.0]),
        ("fail--wrong-answers", "wrong_answers", [1.0]),
        ("fail--truncated-answers", "truncated_answers", [1.0]),
        ("fail--timeouts", "timeouts", [1.0]),
        ("fail--unfinished", "unfinished_requests", [1.0]),
        ("fail--unfinished", "dropped_requests", [1.0]),
        ("unknown--unfinished", "unfinished_requests", [1.0]),
        ("unknown--unfinished", "dropped_requests", [0.0]),
        ("unknown--ledger-open", "unfinished_requests", [1.0]),
        ("pass--redirected", "redirected_requests", [1.0]),
        ("pass--redirected", "stale_connections", [1.0]),
        ("pass--redirected", "retried_requests", [1.0]),
        ("pass--redirected", "dropped_requests", [0.0]),
        ("pass--redirected", "requests", [39.0]),
        ("pass--redirected", "ok_requests", [37.0]),
        ("fail--dropped-in-flight", "error_rate", [2 / 37]),
        ("fail--killed-after-grace", "killed_after_grace", [1.0]),
        ("fail--killed-after-grace", "exit_status", [137.0]),
        ("fail--survivors", "survivors", [1.0]),
        ("fail--signal-swallowed-by-shell", "survivors", [2.0]),
        ("fail--died-by-itself", "died_by_itself", [1.0]),
        ("fail--died-by-itself", "survivors", [0.0]),
        ("fail--never-ready", "failed_starts", [1.0]),
        ("fail--never-ready", "startup_time", []),
        ("fail--exited-at-start", "died_by_itself", [0.0]),
        ("fail--lost-by-kill--many", "faults", [6.0]),
        ("fail--lost-by-kill--many", "busy_faults", [6.0]),
        ("unknown--fault-on-idle", "busy_faults", [0.0]),
        ("unknown--fault-not-landed", "faults", [0.0]),
        ("pass--no-fault", "faults", [0.0]),
        ("pass--faults-landed", "dropped_knocks", []),
        ("fail--new-connections-dropped", "dropped_knocks", [3.0]),
        ("unknown--control-stalled", "timeouts", [0.0]),
        ("pass--exit-statuses--gone-at-the-end-of-its-grace", "killed_after_grace", [0.0]),
        ("unknown--fault-on-idle--answered-before-the-kill", "busy_faults", [0.0]),
        ("pass--no-fault", "survivors", []),
        ("pass--containers", "root_replicas", [0.0]),
        ("fail--runs-as-root", "root_replicas", [3.0]),
        ("pass--writes-own-filesystem", "written_files", [2.0]),
        ("fail--writes-own-filesystem", "written_files", [5.0]),
        ("pass--writes-caches", "written_files", [0.0]),
        ("fail--zombies-left", "zombies", [2.0]),
        ("fail--cut-off-with-process-1", "cut_off", [2.0]),
        ("fail--signal-not-forwarded", "cut_off", []),
        ("fail--oom-killed", "oom_kills", [1.0]),
        ("fail--oom-killed", "died_by_itself", [1.0]),
        ("fail--oom-killed--worker", "oom_kills", [2.0]),
        ("unknown--run-incomplete--engine-lost", "died_by_itself", [0.0]),
        ("unknown--run-incomplete--engine-lost", "shutdown_time", []),
        ("unknown--run-incomplete--engine-lost", "exit_status", []),
        ("unknown--run-incomplete--engine-lost", "survivors", []),
        ("pass--no-fault", "outage_time", [0.0]),
    ],
)
def test_what_is_counted(story: str, metric: str, expected: list[float]) -> None:
    assert samples(STORIES[story]().history(), metric) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("time_to_running", [0.002] * 3),
        ("time_to_listening", [0.04] * 3),
        ("startup_time", [0.05] * 3),
        ("time_to_first_answer", [0.118]),
        ("time_to_stop_listening", [0.002]),
        ("time_to_drained", [0.06]),
        ("shutdown_time", [0.08]),
        ("grace_share", [0.008]),
        ("exit_status", [0.0]),
        ("outage_time", [0.0]),
    ],
)
def test_spans_are_seconds_from_the_instant_before_the_start_or_the_signal(metric: str, expected: list[float]) -> None:
    history = stop_run(clean_stop).history()
    assert samples(history, metric) == pytest.approx(expected)
    assert samples(history, metric, "web") == pytest.approx(expected)
    assert samples(history, metric, "worker") == []


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("time_to_created", [0.0005] * 3),
        ("time_to_started", [0.0015] * 3),
        ("time_to_running", [0.002] * 3),
        ("runtime_start_time", [0.002] * 3),
        ("time_to_listening", [0.038] * 3),
        ("startup_time", [0.048] * 3),
        ("time_to_first_answer", [0.116]),
        ("shutdown_time", [0.08]),
        ("runtime_remove_time", [0.005] * 3),
    ],
)
def test_what_the_runtime_takes_to_make_and_remove_a_container_is_not_the_app_s(metric: str, expected: list[float]) -> None:
    assert samples(stop_run(clean_stop).contain().history(), metric) == pytest.approx(expected)


def test_whether_a_user_that_cannot_be_seen_is_root_is_not_known() -> None:
    assert samples(steady_run().contain(uid=-1).history(), "root_replicas") == []


def test_the_first_answer_is_measured_only_where_the_load_was_there_first() -> None:
    story = stop_run(clean_stop)
    assert len(samples(story.history(), "time_to_first_answer")) == 1
    assert samples(story.without(LoadBegan).history(), "time_to_first_answer") == []


def test_response_time_is_measured_from_the_first_byte_sent_of_what_was_answered_as_expected() -> None:
    story = steady_run()
    found = samples(story.history(), "response_time")
    assert found == pytest.approx([0.0079] * 20)
    story.ask("web.1", 700, 900, Outcome.ERROR)
    assert len(samples(story.history(), "response_time")) == 20


def test_requests_per_second_counts_answers_over_the_whole_load() -> None:
    assert samples(steady_run().history(), "requests_per_second") == pytest.approx([20 / 1.1])


def test_an_exit_status_that_nobody_knows_is_no_sample() -> None:
    def stop(story: Story) -> None:
        story.ask("web.1", 695, 760)
        story.signal("web.1", 700)
        story.exit("web.1", 780, -1)

    assert samples(stop_run(stop).history(), "exit_status") == []


@pytest.mark.parametrize(
    ("name", "landed", "busy"),
    [
        ("pass--faults-landed--paused", 1, 1),
        ("unknown--fault-on-idle--paused", 1, 0),
        ("unknown--fault-not-landed--nothing-killed", 0, 0),
    ],
)
def test_what_is_taken_away_from_a_replica_is_a_fault_too(name: str, landed: int, busy: int) -> None:
    history = STORIES[name]().history()
    assert samples(history, "faults") == [landed]
    assert samples(history, "busy_faults", "web") == [busy]
    assert samples(history, "busy_faults", "other") == []


@pytest.mark.parametrize(("left", "closed_s"), [((), 0.08), (("worker",), 0.09)])
def test_a_listener_is_closed_with_its_process_at_the_latest_unless_another_one_holds_it(left: tuple[str, ...], closed_s: float) -> None:
    def stop(story: Story) -> None:
        story.ask("web.1", 690, 760)
        story.signal("web.1", 700)
        story.exit("web.1", 780)
        story.close_listener("web.1", 790)
        if left:
            story.survive("web.1", 1790, *left)

    assert samples(stop_run(stop).history(), "time_to_stop_listening") == [pytest.approx(closed_s)]
