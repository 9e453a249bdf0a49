"""Findings about streams: lost and repeated events fail, a stream that was cut is advice, what nobody can know is unknown."""

from __future__ import annotations

import pytest

from harness.checks import judge
from harness.checks.facts import Facts
from harness.checks.streams import check
from harness.checks.subscriptions import cut_at_stop, held, met_stops, streams_of
from harness.history import History
from harness.outcome import Outcome
from harness.verdict import Finding, Verdict
from tests.checks.build import STORIES, Story, resumed, samples, steady_run, stream_run


def findings(story: Story) -> dict[str, Finding]:
    return {finding.name: finding for finding in check(story.history())}


def told(name: str) -> dict[str, Finding]:
    return findings(STORIES[name]())


def history(name: str) -> History:
    return STORIES[name]().history()


def test_a_stream_that_went_on_says_how_long_clients_were_away_and_how_strong_that_is() -> None:
    finding = told("pass--streams-resumed")["streams-resumed"]
    assert finding.verdict is Verdict.PASS
    assert "connected again 1 time, without a stream for 60.0 ms (median), 60.0 ms (longest)" in finding.title
    assert any("50.0 ms" in line for line in finding.evidence)
    assert finding.bound is not None
    assert (finding.bound.hits, finding.bound.trials) == (0, 1)


def test_events_that_are_missing_name_both_replicas_and_both_numbers() -> None:
    finding = told("fail--stream-events-lost")["stream-events-lost"]
    assert (finding.verdict, finding.count, finding.metric) == (Verdict.FAIL, 3, "lost_events")
    assert "after 10 from web.1, which ended it in order +5.00 ms after SIGTERM, it sent 14 first: 3 missing" in finding.evidence[0]
    assert "Last-Event-ID" in finding.cure


def test_events_that_were_left_out_in_the_middle_have_another_cause() -> None:
    finding = told("fail--stream-events-lost--within")["stream-events-lost"]
    assert "in the middle of a connection" in finding.cause
    assert "Last-Event-ID" not in finding.cure
    both = told("fail--stream-events-lost--everywhere")["stream-events-lost"]
    assert "in the middle of a connection, and at 1 return of a client" in both.cause
    assert "Last-Event-ID" in both.cure


def test_events_that_came_again_are_counted() -> None:
    finding = told("fail--stream-events-repeated")["stream-events-repeated"]
    assert (finding.verdict, finding.count, finding.metric) == (Verdict.FAIL, 2, "repeated_events")


def test_a_cut_at_a_stop_is_advice_until_the_scenario_demands_an_end_in_order() -> None:
    advice, failure = told("pass--stream-cut")["stream-cut"], told("fail--stream-cut")["stream-cut"]
    assert (advice.verdict, failure.verdict) == (Verdict.PASS, Verdict.FAIL)
    assert advice.cure == failure.cure != ""
    assert judge(history("pass--stream-cut")).verdict is Verdict.PASS


def test_the_end_of_a_connection_that_tells_nothing_is_not_called_a_cut() -> None:
    found = told("pass--streams-ended--by-the-end-of-the-connection")
    assert "stream-cut" not in found
    assert found["streams-ended"].evidence == ("1 by nothing but the end of the connection",)


def test_streams_that_were_held_until_sigkill_are_no_cut_of_the_app() -> None:
    found = told("fail--streams-held")
    assert "stream-cut" not in found
    assert found["streams-held"].count == 1
    streams = streams_of(Facts(history("fail--streams-held")))
    assert [held(connection, stop) for connection, stop in met_stops(streams)] == [True]
    assert cut_at_stop(streams) == []


@pytest.mark.parametrize("name", [name for name in STORIES if name.startswith("unknown--stream-not-verifiable")])
def test_what_nobody_can_know_is_unknown_and_has_no_samples(name: str) -> None:
    assert told(name)["stream-not-verifiable"].verdict is Verdict.UNKNOWN
    assert "streams-resumed" not in told(name)
    if not name.endswith("nothing-came"):
        assert samples(history(name), "lost_events") == []
        assert samples(history(name), "repeated_events") == []
    assert samples(history(name), "resume_time") == [0.06]


def test_a_stream_that_need_not_be_resumed_is_looked_at_for_its_time_alone() -> None:
    found = told("pass--streams-reconnected")
    assert "not asked for" in found["streams-reconnected"].title
    assert "stream-events-lost" not in found
    assert samples(history("pass--streams-reconnected"), "lost_events") == []


def test_a_run_without_streams_says_so_and_has_no_samples() -> None:
    assert list(findings(steady_run())) == ["no-streams"]
    for metric in ("lost_events", "repeated_events", "resumed_streams", "resume_time", "cut_streams"):
        assert samples(steady_run().history(), metric) == []


def test_the_samples_are_what_the_connections_brought() -> None:
    lossy, repeating = history("fail--stream-events-lost"), history("fail--stream-events-repeated")
    assert (samples(lossy, "lost_events"), samples(lossy, "repeated_events"), samples(lossy, "resumed_streams")) == ([3.0], [0.0], [1.0])
    assert (samples(repeating, "lost_events"), samples(repeating, "repeated_events")) == ([0.0], [2.0])
    assert samples(history("pass--streams-resumed--late"), "lost_events") == [0.0]
    assert samples(history("pass--stream-cut"), "cut_streams") == [1.0]
    assert samples(history("pass--streams-ended"), "cut_streams") == [0.0]
    assert samples(lossy, "lost_events", "worker") == []


def test_a_subscription_that_was_refused_is_a_dropped_request_and_no_stream_that_met_nothing() -> None:
    story = STORIES["fail--errors--of-a-stream"]()
    assert "streams-not-met" not in findings(story)
    assert Facts(story.history()).outcomes[Outcome.ERROR] == 1


def test_a_stream_counts_as_answered_while_events_come_and_not_as_a_slow_answer() -> None:
    facts = Facts(stream_run(resumed()).history())
    assert facts.outcomes[Outcome.RESUMED] == 1
    assert max(samples(facts.history, "response_time")) < 0.1
    assert len(facts.answer_ns) == int(facts.answered.sum()) - 1 + 4
    assert not facts.dropped.any()


def test_an_open_stream_makes_its_replica_busy() -> None:
    facts = Facts(stream_run(resumed()).history())
    assert facts.streaming[facts.faults[0].in_flight].sum() == 1
