"""Findings about requests."""

from __future__ import annotations

import pytest

from harness.checks.requests import check
from harness.checks.summary import summarise
from harness.history import Control, Routed
from harness.outcome import Outcome
from harness.verdict import Finding, Verdict
from tests.checks.build import ONE_KILL, STORIES, Story, at, clean_stop, many_kills, steady_run, stop_run


def findings(story: Story) -> dict[str, Finding]:
    return {finding.name: finding for finding in check(story.history())}


def test_a_dropped_request_is_attributed_in_full() -> None:
    found = findings(STORIES["fail--dropped-in-flight"]())["dropped-in-flight"]
    assert (found.verdict, found.metric, found.replica, found.step, found.count) == (Verdict.FAIL, "dropped_requests", "web.1", 2, 2)
    assert found.title == "2 requests that were in flight at the signal were dropped (web.1, after 1 fault)"
    (line,) = found.evidence
    assert line == (
        "step 2, web.1: 2 +3.00 ms to +3.50 ms after SIGTERM; got as far as: 1 sent, 1 in the body of the answer; "
        "connections: 1 new, 1 reused; 1 ECONNRESET, 1 EOF; 1 with status 200; 1 GET /items/{id}, 1 POST /items; "
        "last log line: listening on 8000"
    )
    assert found.cause.startswith("Nothing handles SIGTERM")
    assert found.cure


def test_drops_of_one_cause_are_one_finding_with_a_line_for_each_fault() -> None:
    story = STORIES["fail--lost-by-kill--many"]()
    found = [finding for finding in check(story.history()) if finding.verdict is Verdict.FAIL]
    assert [(each.name, each.count, len(each.evidence), each.replica, each.step) for each in found] == [("lost-by-kill", 6, 6, "", -1)]


def test_drops_of_two_causes_are_two_findings() -> None:
    found = [finding for finding in check(STORIES["fail--errors"]().history()) if finding.verdict is Verdict.FAIL]
    assert [finding.name for finding in found] == ["errors", "rejected"]


@pytest.mark.parametrize(("name", "times"), [("redirected", 1), ("retried", 1), ("stale-connections", 1)])
def test_nothing_is_sent_again_in_silence(name: str, times: int) -> None:
    found = findings(STORIES["pass--redirected"]())[name]
    assert (found.verdict, found.count) == (Verdict.PASS, times)


def test_a_zero_that_retries_made_says_so() -> None:
    def kill(story: Story) -> None:
        story.attempts([("web.1", 690, 702, Outcome.CLOSED), ("web.2", 706, 715, Outcome.OK)])
        story.signal("web.1", 700, purpose="kill")
        story.exit("web.1", 701, 137)

    assert findings(stop_run(kill, steps=ONE_KILL))["no-request-dropped"].evidence == ("thanks to the retries of 1 request",)


def test_of_stops_that_only_a_retry_saved_no_strength_is_claimed_and_attempts_are_no_requests() -> None:
    def stop(story: Story) -> None:
        story.ask("web.2", 690, 760)
        cut = [("web.1", 690, 702, Outcome.CLOSED), ("web.1", 702.5, 703, Outcome.CLOSED)]
        story.attempts([*cut, ("web.2", 706, 715, Outcome.OK)])
        story.signal("web.1", 700)
        story.exit("web.1", 710)

    found = findings(stop_run(stop))
    assert "no-request-dropped" not in found
    assert found["saved-by-retry"].count == 1
    (row,) = summarise(stop_run(stop).history()).faults
    assert (row.dropped, row.saved, row.bound) == (0, 1, None)


def test_causes_that_differ_in_their_numbers_are_told_for_one_replica() -> None:
    def stop(story: Story) -> None:
        for replica, exit_ms in (("web.1", 702), ("web.2", 703)):
            story.ask(replica, 690, exit_ms, Outcome.CLOSED)
            story.signal(replica, 700)
            story.exit(replica, exit_ms, 1)

    found = findings(stop_run(stop))["dropped-in-flight"]
    assert (found.count, found.replica) == (2, "")
    assert found.cause == "web.1: The process exited with status 1, 2.00 ms after SIGTERM, without waiting for what was in flight."


def test_a_retry_tells_what_came_before_it() -> None:
    assert findings(STORIES["pass--retried"]())["retried"].evidence == ("before that: 1 closed-before-response",)


def test_a_zero_says_how_strong_it_is() -> None:
    found = findings(stop_run(clean_stop))["no-request-dropped"]
    assert found.bound is not None
    assert (found.bound.hits, found.bound.trials, found.bound.upper) == (0, 1, pytest.approx(0.95))
    assert found.title == "0 of 1 termination dropped a request: at most 95 % do, at 95 %"


def test_kills_and_stops_are_counted_by_themselves() -> None:
    story = many_kills(Outcome.OK, retried=True)
    found = findings(story)["no-request-dropped"]
    assert found.title.startswith("0 of 6 kills dropped a request: at most 39.3 % do")


def test_a_drop_of_one_purpose_takes_nothing_from_the_zero_of_another() -> None:
    def stop(story: Story) -> None:
        clean_stop(story)
        story.ask("web.2", 1500, 1503, Outcome.CLOSED)
        story.signal("web.2", 1501, purpose="scale")
        story.exit("web.2", 1503)

    found = [finding for finding in check(stop_run(stop).history()) if finding.name == "no-request-dropped"]
    assert [finding.title for finding in found] == ["0 of 1 termination dropped a request: at most 95 % do, at 95 %"]


@pytest.mark.parametrize("name", ["unknown--end-not-provable", "unknown--end-not-provable--kill"])
def test_an_answer_that_may_have_been_cut_is_unknown_and_no_zero(name: str) -> None:
    found = findings(STORIES[name]())
    assert "no-request-dropped" not in found
    assert (found["end-not-provable"].verdict, found["end-not-provable"].count) == (Verdict.UNKNOWN, 1)
    assert found["end-not-provable"].evidence == ("1 GET /items/{id}", "1 of web.1")
    assert "Content-Length" in found["end-not-provable"].cure


def test_a_new_connection_that_is_lost_before_the_router_knows_is_a_failure() -> None:
    found = findings(STORIES["fail--new-connections-dropped"]())["new-connections-dropped"]
    assert (found.verdict, found.metric, found.replica, found.step, found.count) == (Verdict.FAIL, "dropped_knocks", "web.1", 2, 3)
    (line,) = found.evidence
    assert line == (
        "step 2, web.1: 2 hung, 1 reset, +25.0 ms to +66.0 ms after SIGTERM, the router learned of it after 200 ms; "
        "2 connections in the accept queue when the port was closed"
    )


def knocked(*results: str, lag_s: float = 0.2, stall: bool = False) -> bool:
    """Whether new connections count as dropped."""

    def stop(story: Story) -> None:
        story.ask("web.1", 690, 760)
        story.signal("web.1", 700, lag_s=lag_s)
        for number, result in enumerate(results):
            story.knock("web.1", 705 + 20 * number, 706 + 20 * number, result)
        story.exit("web.1", 910)
        if stall:
            story.lines.append(Control(at_ns=at(650), done_ns=at(950), ok=True))

    return "new-connections-dropped" in findings(stop_run(stop))


def test_only_what_was_surely_lost_while_the_router_did_not_know_counts() -> None:
    assert knocked("reset")
    assert knocked("reset", stall=True)
    assert knocked("hung", "hung")
    assert not knocked("hung", "hung", stall=True)
    assert not knocked("hung")
    assert not knocked("rejected", "refused", "served")
    assert not knocked("reset", "hung", "hung", lag_s=0.0)
    assert not knocked("served", "reset", lag_s=0.02)


def test_answers_after_the_end_of_the_main_process_are_those_of_orphans() -> None:
    found = findings(STORIES["fail--answered-by-orphans"]())["answered-by-orphans"]
    assert (found.verdict, found.metric, found.replica, found.count) == (Verdict.FAIL, "survivors", "web.1", 1)
    assert found.evidence == ("step 2, web.1: the main process was gone 3.00 ms after SIGTERM; 1 answer +97.0 ms after that",)
    assert "answered-by-orphans" not in findings(STORIES["fail--signal-swallowed-by-shell"]())


def refused(story: Story, begin: float) -> bool:
    story.attempts([("web.2", begin, begin + 0.2, Outcome.REFUSED), ("web.1", begin + 1, begin + 8, Outcome.OK)])
    return "refused-without-fault" in findings(story)


def test_a_live_replica_that_refuses_without_a_fault_is_a_failure() -> None:
    found = findings(STORIES["fail--refused-without-fault"]())["refused-without-fault"]
    assert (found.verdict, found.metric, found.replica, found.count) == (Verdict.FAIL, "redirected_requests", "web.1", 1)
    assert found.evidence == ("1 by web.1", "web.1: ECONNREFUSED, 700 ms after the run began")
    assert refused(steady_run(), 700)


def test_near_a_start_a_stop_or_a_death_nobody_asks_why_a_connection_was_refused() -> None:
    assert not refused(steady_run(), 300)  # web.2 was published at 57
    for begin in (300, 650, 720, 1000, 1790, 2200):
        assert not refused(stop_run(clean_stop), begin), begin
    assert refused(stop_run(clean_stop), 2400)
    assert not refused(STORIES["fail--died-by-itself"](), 710)
    assert "refused-without-fault" not in findings(STORIES["pass--redirected"]())


def test_more_bytes_than_announced_are_unknown() -> None:
    found = findings(STORIES["unknown--surplus-bytes"]())["surplus-bytes"]
    assert (found.verdict, found.count, found.metric) == (Verdict.UNKNOWN, 1, "")
    assert "Content-Length is too small" in found.cure


@pytest.mark.parametrize(
    "name", ["fail--dropped-in-flight", "fail--lost-by-kill", "unknown--fault-on-idle", "pass--no-fault", "unknown--fault-not-landed"]
)
def test_there_is_no_zero_without_a_fault_on_a_busy_victim_or_after_a_drop(name: str) -> None:
    assert "no-request-dropped" not in findings(STORIES[name]())


def test_the_listener_s_behaviour_is_told_in_order() -> None:
    def stop(story: Story) -> None:
        story.ask("web.1", 690, 740)
        story.signal("web.1", 700)
        story.knock("web.1", 705, 740, "served")
        story.knock("web.1", 745, 780, "hung")
        story.close_listener("web.1", 800, backlog=3)
        story.knock("web.1", 805, 830, "refused")
        story.exit("web.1", 840)

    found = findings(stop_run(stop))["listener-after-signal"]
    assert found.verdict is Verdict.PASS
    assert found.title == (
        "web after SIGTERM: new connections: 2 served, 2 hung, 2 refused; the port was closed after 100 ms (median), 100 ms (longest); "
        "at most 3 connections in the accept queue then"
    )
    (line,) = found.evidence
    assert line == (
        "step 2, web.1: served +5.00 ms to +26.0 ms, hung +45.0 ms to +66.0 ms, refused +105 ms to +126 ms, "
        "port closed +100 ms, 3 in the accept queue"
    )


def test_an_outage_is_told_for_all_and_for_one_client() -> None:
    found = findings(STORIES["fail--unavailable"]())["outage"]
    assert found.verdict is Verdict.PASS
    assert found.count == 1
    assert any("client" in line for line in found.evidence)
    assert "outage" not in findings(steady_run())


def test_without_requests_nothing_is_known() -> None:
    (found,) = check(STORIES["unknown--no-load"]().history())
    assert (found.name, found.verdict) == ("no-requests", Verdict.UNKNOWN)


def test_what_a_cut_off_run_left_under_way_is_unknown_and_not_dropped() -> None:
    found = findings(STORIES["unknown--unfinished"]())
    assert (found["unfinished"].verdict, found["unfinished"].metric, found["unfinished"].count) == (Verdict.UNKNOWN, "", 1)


def test_long_log_lines_are_cut() -> None:
    def stop(story: Story) -> None:
        story.ask("web.1", 690, 703, Outcome.CLOSED)
        story.signal("web.1", 700)
        story.exit("web.1", 703, log=["x" * 5000, "", "  "])

    assert len(findings(stop_run(stop))["dropped-in-flight"].evidence[0]) < 500


def test_the_router_s_events_are_not_needed_to_judge_requests() -> None:
    story = STORIES["fail--dropped-in-flight"]()
    assert findings(story)["dropped-in-flight"] == findings(story.without(Routed))["dropped-in-flight"]


@pytest.mark.parametrize(
    ("story", "name", "title"),
    [
        ("fail--dropped-while-paused", "dropped-while-paused", "2 requests were dropped while a replica hung (web.1, after 1 fault)"),
        (
            "fail--dropped-while-cut-off",
            "dropped-while-cut-off",
            "2 requests were dropped while a replica was off the network (web.1, after 1 fault)",
        ),
        ("fail--lost-by-oom", "lost-by-oom", "1 request was lost when the kernel killed for want of memory (web.1, after 1 fault)"),
        (
            "fail--dropped-while-squeezed",
            "dropped-while-squeezed",
            "1 request was dropped while a replica had little memory (web.1, after 1 fault)",
        ),
    ],
)
def test_what_a_disturbance_dropped_has_a_name_of_its_own_and_no_other(story: str, name: str, title: str) -> None:
    failed = [finding for finding in check(STORIES[story]().history()) if finding.verdict is Verdict.FAIL]
    assert [(finding.name, finding.title) for finding in failed] == [(name, title)]
    assert (failed[0].metric, failed[0].replica, failed[0].step) == ("dropped_requests", "web.1", 2)
    assert failed[0].cause
    assert failed[0].cure
    assert " began" in failed[0].evidence[0]


@pytest.mark.parametrize(
    ("story", "title"),
    [
        ("pass--faults-landed--paused", "0 of 1 pause dropped a request: at most 95 % do, at 95 %"),
        ("pass--faults-landed--cut-off", "0 of 1 network cut dropped a request: at most 95 % do, at 95 %"),
        ("pass--faults-landed--worker-killed", "0 of 1 memory squeeze dropped a request: at most 95 % do, at 95 %"),
    ],
)
def test_how_strong_it_is_that_a_disturbance_dropped_nothing(story: str, title: str) -> None:
    assert findings(STORIES[story]())["no-request-dropped"].title == title
