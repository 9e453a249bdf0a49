"""Which metric counts what, when there is no sample, and that each threshold fails and holds."""

from __future__ import annotations

import pytest

from harness.checks import CHECKS
from harness.checks.facts import Facts
from harness.checks.metrics import SAMPLERS
from harness.checks.state_judgement import metric_of, state_of, state_sampler
from harness.monitors.judged import KINDS
from harness.outcome import Outcome
from harness.threshold import BESIDES, METRICS
from harness.verdict import Finding, Verdict
from tests.checks.build import ONE_KILL, samples, steady_run
from tests.checks.build_state import (
    ONE,
    SAME,
    SESSIONS,
    SET,
    STORIES,
    THREE,
    TWO,
    StateStory,
    element_lost,
    everywhere,
    lag,
    memory,
    session_lost,
    state_run,
)

OF_STATE = ("lost_writes", "stale_reads", "diverged_keys", "state_errors")
OURS = (*OF_STATE, "differing_answers", "broken_journeys")

FAILS = {
    "lost_writes": "fail--lost-write--clocks",
    "stale_reads": "fail--stale-read--lag",
    "diverged_keys": "fail--diverged--store",
    "state_errors": "fail--phantom-read",
    "differing_answers": "fail--replicas-differ",
    "broken_journeys": "fail--session-lost",
}
HOLDS = {
    **dict.fromkeys(OF_STATE, "pass--state-counted"),
    "differing_answers": "pass--replicas-alike",
    "broken_journeys": "pass--journeys-went-on",
}


def expected(name: str, metric: str) -> list[Finding]:
    return [each for each in CHECKS["expect"](STORIES[name]().history()) if each.metric == metric]


@pytest.mark.parametrize("metric", OURS)
def test_each_threshold_fails_once_and_holds_once(metric: str) -> None:
    (failed,) = expected(FAILS[metric], metric)
    assert (failed.name, failed.verdict) == ("expectation-failed", Verdict.FAIL)
    (held,) = expected(HOLDS[metric], metric)
    assert (held.name, held.verdict) == ("expectation-held", Verdict.PASS)


def test_every_threshold_that_state_adds_is_among_them() -> None:
    assert {threshold.metric for part in ("state", "same", "journey") for threshold in BESIDES[part]} == set(OURS)


@pytest.mark.parametrize("metric", OURS)
def test_a_scenario_without_state_expects_nothing_of_it(metric: str) -> None:
    assert metric not in {each.metric for each in CHECKS["expect"](steady_run().history())}
    assert samples(steady_run().history(), metric) == []


@pytest.mark.parametrize("metric", OURS)
def test_state_is_that_of_the_process_type_that_is_asked(metric: str) -> None:
    history = STORIES[FAILS[metric]]().history()
    assert samples(history, metric, "worker") == []
    assert samples(history, metric, "web") == samples(history, metric) != []


@pytest.mark.parametrize(
    ("story", "metric", "expected"),
    [
        ("fail--lost-write--clocks", "lost_writes", [2.0]),
        ("fail--lost-increment--at-once", "lost_writes", [1.0]),
        ("fail--lost-update--at-once", "lost_writes", [1.0]),
        ("fail--stale-read--lag", "stale_reads", [1.0]),
        ("fail--stale-beyond-bound", "stale_reads", [1.0]),
        ("fail--monotonic-reads", "stale_reads", [1.0]),
        ("fail--diverged--counter", "diverged_keys", [1.0]),
        ("fail--counted-twice--once", "state_errors", [2.0]),
        ("fail--replicas-differ", "differing_answers", [1.0]),
        ("fail--session-lost", "broken_journeys", [1.0]),
        ("pass--replicas-alike--at-last", "differing_answers", [0.0]),
        ("unknown--state-undecided", "lost_writes", []),
        ("unknown--state-not-read", "diverged_keys", []),
        ("unknown--state-not-read--nothing", "diverged_keys", []),
        ("unknown--state-not-read--nothing", "stale_reads", [0.0]),
        ("unknown--replicas-not-asked", "differing_answers", []),
        ("unknown--journey-not-begun", "broken_journeys", [0.0]),
        ("unknown--no-journey", "broken_journeys", []),
        ("pass--replicas-alike", "state_errors", []),
    ],
)
def test_metrics_count_what_the_findings_tell(story: str, metric: str, expected: list[float]) -> None:
    assert samples(STORIES[story]().history(), metric) == expected


def test_every_kind_of_violation_counts_for_one_metric_of_state() -> None:
    assert {metric_of(kind) for kind in KINDS} == set(OF_STATE)
    assert set(OURS) <= set(METRICS)


def test_what_a_scenario_allows_is_no_failure() -> None:
    findings = CHECKS["state"](STORIES["pass--lost-write--allowed"]().history())
    assert {each.verdict for each in findings if each.metric == "lost_writes"} == {Verdict.FAIL}
    assert [each.name for each in expected("pass--lost-write--allowed", "lost_writes")] == ["expectation-held"]


def test_where_one_round_of_reads_at_the_end_decides_nothing_two_may() -> None:
    """A late write may have come between two reads, but not between those of the round before, too."""

    def story(story: StateStory, rounds: int) -> None:
        story.put(TWO, 200, 1)
        story.put(ONE, 695, 2, took=5.5, outcome=Outcome.CLOSED, client=2)
        story.kill()
        for number in range(1, rounds + 1):
            story.ends({THREE: 2, TWO: 1} if number == 1 else {TWO: 1, THREE: 2}, number=number)

    for rounds, diverged in ((1, True), (2, True)):
        told = state_run(lambda each, rounds=rounds: story(each, rounds), ONE_KILL)  # type: ignore[misc]  # bound at once
        assert ("diverged" in {each.kind for each in state_of(Facts(told.history())).wrongs}) is diverged
    assert not state_of(Facts(STORIES["unknown--state-undecided"]().history())).wrongs


def test_each_kind_of_a_workload_is_told_once() -> None:
    kinds = [wrong.kind for wrong in state_of(Facts(state_run(memory).history())).wrongs]
    assert len(kinds) == len(set(kinds)) > 1


def test_a_judgement_is_made_once_for_one_history() -> None:
    history = state_run(memory).history()
    facts = Facts(history)
    assert state_of(facts) is state_of(Facts(history))
    assert state_of(facts) is not state_of(Facts(state_run(memory).history()))
    assert state_sampler("lost_writes")(facts, None) == SAMPLERS["lost_writes"](facts, None)


def test_where_reads_may_be_stale_only_the_bound_and_the_end_are_judged() -> None:
    for stale, wrong in (("500ms", []), ("10ms", ["stale-beyond-bound"])):
        assert [each.kind for each in state_of(Facts(state_run(lag, stale=stale).history())).wrongs] == wrong


def test_what_was_lost_at_the_end_is_found_where_reads_may_be_stale_too() -> None:
    def forgets(story: StateStory) -> None:
        story.put(ONE, 200, 1)
        story.put(ONE, 220, 2)
        story.read(TWO, 600, 2)
        story.ends(everywhere(1))

    assert [each.kind for each in state_of(Facts(state_run(forgets, stale="5s").history())).wrongs] == ["lost-write"]


def test_sessions_may_lag_as_long_as_each_client_goes_on() -> None:
    assert not state_of(Facts(state_run(lag, **SESSIONS).history())).wrongs


def shown(story: StateStory, *told: tuple[str, int]) -> None:
    """Two clients write at once, and others are told, each 30 ms after the one before; both replicas have the second value at the end."""
    story.put(ONE, 200, 1, took=100)
    story.put(TWO, 210, 2, took=100, client=2)
    for place, (replica, value) in enumerate(told):
        story.read(replica, 320 + 30 * place, value, client=3 + place)
    story.ends(everywhere(2))


def test_a_replica_that_goes_back_is_found_whoever_asks_it() -> None:
    history = state_run(lambda story: shown(story, (TWO, 1), (TWO, 2), (TWO, 1)), stale="10ms").history()
    assert [each.kind for each in state_of(Facts(history)).wrongs] == ["went-back"]
    (finding,) = [each for each in CHECKS["state"](history) if each.name == "went-back"]
    assert "One replica answered r3 25.0 ms before it was asked r4." in finding.evidence
    assert finding.metric == "stale_reads"


def test_replicas_that_show_changes_in_two_orders_are_found() -> None:
    story = state_run(lambda story: shown(story, (ONE, 1), (ONE, 2), (TWO, 2), (TWO, 1)), stale="10ms")
    assert [each.kind for each in state_of(Facts(story.history())).wrongs] == ["order-disagreement"]


def test_sessions_are_promised_nothing_about_what_others_are_shown() -> None:
    story = state_run(lambda story: shown(story, (TWO, 1), (TWO, 2), (TWO, 1)), **SESSIONS)
    assert not state_of(Facts(story.history())).wrongs


def test_staleness_that_is_allowed_explains_another_order() -> None:
    story = state_run(lambda story: shown(story, (TWO, 1), (TWO, 2), (TWO, 1), (ONE, 2), (ONE, 1)), stale="25ms")
    assert not state_of(Facts(story.history())).wrongs


def test_an_element_that_is_lost_counts_for_lost_writes() -> None:
    kinds = {each.kind for each in state_of(Facts(state_run(element_lost, **SET).history())).wrongs}
    assert kinds == {"lost-element", "lost-write"}
    assert {metric_of(kind) for kind in kinds} == {"lost_writes"}


def test_a_journey_whose_replica_was_killed_says_what_went_with_it() -> None:
    history = state_run(lambda story: session_lost(story, fault="kill"), model="journey").history()
    (lost,) = [each for each in CHECKS["state"](history) if each.name == "session-lost"]
    assert "went with it" in lost.cause
    assert samples(history, "broken_journeys") == [1.0]


def test_only_the_last_round_of_answers_counts() -> None:
    def story(story: StateStory) -> None:
        story.same(0, {ONE: "1", TWO: "2", THREE: "3"})
        story.same(0, everywhere("3"), number=2)

    assert samples(state_run(story, **SAME).history(), "differing_answers") == [0.0]
