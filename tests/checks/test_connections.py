"""What became of connections of each kind, and when that is a failure."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.checks.connections import LATE_S, check
from harness.history import LetGo
from harness.outcome import Outcome
from harness.verdict import Finding, Verdict
from tests.checks.build import STORIES, Story, at, clean_stop, samples, steady_run, stop_run


def findings(story: Story) -> dict[str, Finding]:
    return {finding.name: finding for finding in check(story.history())}


def kinds(story: Story) -> dict[str, Finding]:
    """What was told of each kind of connection."""
    return {finding.title.partition(" ")[0]: finding for finding in check(story.history()) if finding.name == "connections-at-signal"}


def test_each_kind_is_told_apart_with_what_became_of_it_and_when() -> None:
    told = kinds(STORIES["pass--connections-at-signal"]())
    assert {kind: finding.title.partition(": ")[2] for kind, finding in told.items()} == {
        "new": "none",
        "reused": "1 request in flight: 1 ok, after 60.0 ms (median), 60.0 ms (longest)",
        "idle": "1 connection: 1 closed, after 5.00 ms (median), 5.00 ms (longest)",
        "silent": "1 connection: 1 closed, after 6.00 ms (median), 6.00 ms (longest)",
        "half-open": "1 connection: 1 reset, after 7.00 ms (median), 7.00 ms (longest)",
        "http/1.0": "1 connection: 1 answered, after 50.1 ms (median), 50.1 ms (longest)",
        "pipelined": "1 connection: 1 closed as it was told after 1 of 3 answers, after 52.0 ms (median), 52.0 ms (longest)",
    }
    assert all(finding.verdict is Verdict.PASS for finding in told.values())


def test_requests_that_came_after_the_signal_are_told_apart_from_those_in_flight() -> None:
    def stop(story: Story) -> None:
        clean_stop(story)
        story.ask("web.1", 690, 740, reused=False)
        story.ask("web.1", 710, 711, Outcome.CLOSED)
        story.ask("web.1", 712, 713, Outcome.CLOSED)

    told = kinds(stop_run(stop))
    assert told["new"].title.endswith(": 1 request in flight: 1 ok, after 40.0 ms (median), 40.0 ms (longest)")
    assert told["reused"].title.endswith("; 2 requests sent after it: 2 closed-before-response, after 12.0 ms (median), 13.0 ms (longest)")
    assert told["reused"].count == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"end": "refused", "ended": 650, "connected_ns": 0}, "could not be made"),
        ({"end": "closed", "ended": 650}, "ended before the signal"),
        ({"end": "open", "ended": 900}, "left open"),
        ({"end": "closed", "ended": 750, "sent_ns": at(701)}, "sent after the signal, closed"),
        ({"end": "done", "ended": 750, "sent_ns": at(701)}, "sent after the signal, answered"),
        ({"end": "refused", "ended": 702, "connected_ns": 0, "sent_ns": 0}, "refused"),
    ],
)
def test_a_connection_that_owed_no_answer_is_told_and_no_failure(changes: dict[str, object], words: str) -> None:
    def stop(story: Story) -> None:
        clean_stop(story)
        story.hold("http/1.0", **changes)  # type: ignore[arg-type]  # fields by name

    story = stop_run(stop)
    assert f"1 {words}," in kinds(story)["http/1.0"].title
    assert "http-1-0-dropped" not in findings(story)


def test_a_request_of_http_1_0_that_only_the_harness_lost_is_a_failure() -> None:
    finding = findings(STORIES["fail--http-1-0-dropped"]())["http-1-0-dropped"]
    assert (finding.verdict, finding.count, finding.metric, finding.replica) == (Verdict.FAIL, 1, "dropped_held", "web.1")
    assert "GET /slow" in finding.evidence[0]
    assert "lost none" in finding.cause


def lost_both_ways(story: Story) -> None:
    story.ask("web.1", 690, 703, Outcome.CLOSED)
    story.signal("web.1", 700)
    story.hold("http/1.0", "closed", 703)
    story.exit("web.1", 703, 143)


def killed(story: Story) -> None:
    story.ask("web.1", 695, 760)
    story.signal("web.1", 700, grace_s=0.5)
    story.signal("web.1", 1200, purpose="grace-over", in_flight=-1)
    story.hold("http/1.0", "reset", 1201)
    story.exit("web.1", 1201, 137)


@pytest.mark.parametrize("stop", [lost_both_ways, killed])
def test_what_other_findings_tell_is_not_told_twice(stop: Callable[[Story], None]) -> None:
    story = stop_run(stop)
    assert "http-1-0-dropped" not in findings(story)
    assert samples(story.history(), "dropped_held") == [1.0]


@pytest.mark.parametrize(
    ("end", "answered", "told", "name"),
    [
        ("done", (710, 720, 730), False, ""),
        ("closed", (), False, "pipelined-dropped"),
        ("reset", (), False, "pipelined-dropped"),
        ("cut", (), False, "pipelined-dropped"),
        ("cut", (720,), False, "pipelined-dropped"),
        ("closed", (720,), True, ""),
        ("closed", (720,), False, "pipelined-unanswered"),
        ("closed", (650,), False, "pipelined-dropped"),
    ],
)
def test_of_pipelined_requests_the_one_that_is_being_answered_is_owed_an_answer(
    end: str, answered: tuple[float, ...], *, told: bool, name: str
) -> None:
    def stop(story: Story) -> None:
        clean_stop(story)
        story.hold("pipelined", end, 740, *answered, close_told=told)

    found = findings(stop_run(stop)).keys() & {"pipelined-dropped", "pipelined-unanswered"}
    assert found == ({name} if name else set())


def test_a_stop_that_ends_when_its_clients_let_go_had_waited_for_them() -> None:
    story = STORIES["fail--idle-connections-awaited"]()
    finding = findings(story)["idle-connections-awaited"]
    assert (finding.verdict, finding.metric, finding.replica) == (Verdict.FAIL, "killed_after_grace", "web.1")
    assert "1 idle, 1 silent, 1 half-open" in finding.cause
    assert samples(story.history(), "killed_after_grace") == [1.0]


def test_one_that_has_to_be_killed_all_the_same_had_not() -> None:
    story = STORIES["fail--killed-after-grace--let-go"]()
    assert "idle-connections-awaited" not in findings(story)
    story = stop_run(clean_stop)
    story.tell(LetGo(at_ns=at(790), step=2, replica="web.1"))  # it was gone by then
    assert "idle-connections-awaited" not in findings(story)


def test_a_stop_that_closes_idle_connections_late_and_then_ends_is_told_with_a_cure() -> None:
    finding = findings(STORIES["pass--idle-connections-closed-late"]())["idle-connections-closed-late"]
    assert finding.verdict is Verdict.PASS
    assert "3.00 s" in finding.title
    assert finding.cure


@pytest.mark.parametrize("ended", [760 + LATE_S * 1000 - 10, 3600.0])
def test_it_is_not_where_the_end_had_another_reason(ended: float) -> None:
    def stop(story: Story) -> None:
        story.ask("web.1", 695, 760)
        story.signal("web.1", 700, grace_s=10.0, lag_s=2.0 if ended > 3000 else 0.0)
        story.hold("idle", "closed", ended, 601)
        story.exit("web.1", ended + 20, 0)

    assert "idle-connections-closed-late" not in findings(stop_run(stop))


def test_where_nothing_is_stopped_no_connection_meets_a_stop() -> None:
    assert findings(steady_run()).keys() == {"no-stop-met"}
