"""Requests that all replicas must answer alike, and sessions that go on elsewhere."""

from __future__ import annotations

import pytest

from harness.checks.facts import Facts
from harness.checks.state_facts import StateFacts
from harness.checks.state_walks import JOURNEY_CURE, SAME_CURE, alike, broken, differing, last_answers, masked, walks
from harness.scenario import Visit
from harness.state_history import SameAnswered
from harness.verdict import Finding
from tests.checks.build_state import JOURNEY, NAME, ONE, SAME, THREE, TWO, StateStory, everywhere, session_lost, state_run


def facts_of(story: StateStory) -> StateFacts:
    return StateFacts(Facts(story.history()))


def found(story: StateStory, name: str) -> Finding:
    (finding,) = [each for each in walks(facts_of(story)) if each.name == name]
    return finding


def names(story: StateStory) -> set[str]:
    return {each.name for each in walks(facts_of(story))}


def visit(**changes: object) -> Visit:
    return Visit.model_validate({"request": "GET /things", **changes})


def answered(**changes: object) -> SameAnswered:
    given: dict[str, object] = {"request": 0, "replica": ONE, "round": 1, "at_ns": 1, "done_ns": 2, "status": 200, **changes}
    return SameAnswered(workload=NAME, **given)  # type: ignore[arg-type]  # a test names only what it is about


def test_a_mask_takes_out_what_may_differ() -> None:
    assert masked("at 12:30 by web.1", visit(mask=["[0-9]+:[0-9]+", r"web\.\d"])) == "at … by …"
    assert alike(answered(body="at 12:30"), visit(mask=["[0-9:]+"])) == alike(answered(body="at 9:45"), visit(mask=["[0-9:]+"]))


@pytest.mark.parametrize("change", [{"status": 404}, {"body": "x"}, {"headers": (("content-type", "text/html"),)}])
def test_status_headers_and_body_must_be_the_same(change: dict[str, object]) -> None:
    assert alike(answered(), visit()) != alike(answered(**change), visit())
    assert alike(answered(), visit()) == alike(answered(replica=TWO, at_ns=5), visit())


def test_what_differs_is_told_by_its_lines() -> None:
    finding = found(state_run(lambda story: story.same(0, {ONE: "3 things\nwell", TWO: "2 things\nwell"}), **SAME), "replicas-differ")
    assert finding.title == "things: GET /things is answered in 2 different ways by web.1 and web.2"
    assert {"-3 things", "+2 things"} <= set(finding.evidence)
    assert not any("well" in line for line in finding.evidence)
    assert (finding.count, finding.cure) == (2, SAME_CURE)


def test_a_status_and_a_header_that_differ_are_told() -> None:
    assert (
        "status 200 at web.1, 404 at web.2"
        in found(state_run(lambda story: story.same(0, {ONE: 200, TWO: 404}), **SAME), "replicas-differ").evidence
    )


def test_each_request_that_differs_is_a_finding_and_those_that_do_not_are_none() -> None:
    def story(story: StateStory) -> None:
        story.same(0, everywhere("a"))
        story.same(1, {ONE: "a", TWO: "b", THREE: "b"})

    facts = facts_of(state_run(story, **SAME))
    assert [(index, len(sorts)) for index, sorts in differing(facts, NAME, facts.facts.scenario.state[NAME])] == [(1, 2)]


def test_a_replica_that_could_not_be_asked_in_an_earlier_round_only_is_not_missed() -> None:
    def story(story: StateStory) -> None:
        story.same(0, {ONE: "a", TWO: "!ECONNRESET"})
        story.same(0, everywhere("a"), number=2)

    told = state_run(story, **SAME)
    assert names(told) == {"replicas-alike"}
    assert {line.round for line in last_answers(facts_of(told), NAME)} == {2}


def test_one_that_cannot_be_asked_leaves_the_others_to_be_compared() -> None:
    told = state_run(lambda story: story.same(0, {ONE: "a", TWO: "b", THREE: "!ECONNREFUSED"}), **SAME)
    assert names(told) == {"replicas-not-asked", "replicas-differ"}
    assert found(told, "replicas-not-asked").evidence == ("web.3: ECONNREFUSED",)


def test_the_story_of_a_lost_session_has_both_replicas_and_the_fault() -> None:
    (line,) = found(state_run(lambda story: session_lost(story, fault="kill"), **JOURNEY), "session-lost").evidence
    assert line == "journey 1: begun at web.1, which had been killed by SIGKILL; GET /me at web.2: status 401"


@pytest.mark.parametrize(("fault", "cause"), [("", "though that one was up"), ("kill", "went with it"), ("terminate", "went with it")])
def test_a_lost_session_has_a_cause_by_what_happened_to_where_it_began(fault: str, cause: str) -> None:
    finding = found(state_run(lambda story: session_lost(story, fault=fault), **JOURNEY), "session-lost")
    assert cause in finding.cause
    assert finding.cure == JOURNEY_CURE


def test_only_the_first_request_that_went_wrong_counts() -> None:
    story = state_run(lambda story: story.journey(1, (ONE, 200), (TWO, 401), (ONE, 401)), **JOURNEY)
    assert [line.request for line in broken(facts_of(story).ledger.journeys)] == [1]


def test_a_journey_that_did_not_begin_is_not_lost() -> None:
    story = state_run(lambda story: story.journey(1, (ONE, 500), (TWO, 401)), **JOURNEY)
    assert names(story) == {"journey-not-begun"}
    assert found(story, "journey-not-begun").evidence == ("web.1: status 500",)
