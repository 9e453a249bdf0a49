"""All checks together: what raises is unknown, what is damaged never passes, what the scenario allows is no failure."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import checks
from harness.checks import CHECKS, judge
from harness.history import (
    AnyLine,
    Close,
    Exited,
    Header,
    History,
    Invoke,
    LoadEnded,
    RunEnded,
    Signalled,
    StepEnded,
    build,
)
from harness.outcome import Outcome
from harness.verdict import Finding, Verdict
from tests.checks.build import ONE_KILL, STORIES, Story, clean_stop, steady_run, stop_run

GOOD = {name: tell().ordered() for name, tell in STORIES.items() if name in ("pass--faults-landed", "pass--redirected")}


def findings(history: History) -> dict[str, Finding]:
    return {finding.name: finding for finding in judge(history).findings}


def test_the_worst_findings_come_first_and_make_the_verdict() -> None:
    judgement = judge(STORIES["fail--never-ready"]().history())
    verdicts = [finding.verdict for finding in judgement.findings]
    assert verdicts == sorted(verdicts, reverse=True)
    assert judgement.verdict is verdicts[0] is Verdict.FAIL


def test_the_same_history_gets_the_same_judgement() -> None:
    history = STORIES["fail--errors"]().history()
    assert judge(history) == judge(history)


def test_the_order_of_the_lines_does_not_matter() -> None:
    lines = STORIES["fail--lost-by-kill--many"]().ordered()
    assert judge(build(lines)) == judge(build(reversed(lines)))


def test_a_check_that_raises_is_unknown_and_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(history: History) -> list[Finding]:
        raise ZeroDivisionError("nothing to divide by")

    monkeypatch.setitem(checks.CHECKS, "timing", broken)
    judgement = judge(steady_run().history())
    raised = judgement.findings[0]
    assert judgement.verdict is Verdict.UNKNOWN
    assert (raised.check, raised.name, raised.verdict) == ("timing", "check-raised", Verdict.UNKNOWN)
    assert any("in broken" in line for line in raised.evidence)
    assert raised.evidence[-1] == "ZeroDivisionError: nothing to divide by"


def test_a_check_that_has_nothing_to_say_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(history: History) -> list[Finding]:
        return []

    monkeypatch.setitem(checks.CHECKS, "timing", silent)
    judgement = judge(steady_run().history())
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.findings[0].name == "check-silent"


@pytest.mark.slow
@pytest.mark.parametrize("name", GOOD)
def test_a_history_that_is_cut_off_anywhere_is_unknown_and_raises_nothing(name: str) -> None:
    lines = GOOD[name]
    assert judge(build(lines)).verdict is Verdict.PASS
    for length in range(1, len(lines)):
        judgement = judge(build(lines[:length]))
        assert judgement.verdict is Verdict.UNKNOWN, (length, judgement.findings[0])
        assert "check-raised" not in {finding.name for finding in judgement.findings}


def is_op(line: AnyLine) -> bool:
    """A line of the load's own file."""
    return line.__struct_config__.tag in ("invoke", "close", "control", "generator", "load-began", "load-ended")


@pytest.mark.slow
@pytest.mark.parametrize("theirs", [is_op, lambda line: not is_op(line)], ids=["the load", "the harness"])
def test_when_one_of_the_two_writers_is_cut_off_the_run_never_passes(theirs: Callable[[AnyLine], bool]) -> None:
    header, *rest = GOOD["pass--faults-landed"]
    cut = [line for line in rest if theirs(line)]
    other = [line for line in rest if not theirs(line)]
    for length in range(len(cut)):
        judgement = judge(build([header, *other, *cut[:length]]))
        assert judgement.verdict is not Verdict.PASS, length
        assert "check-raised" not in {finding.name for finding in judgement.findings}


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(GOOD)), data=st.data())
def test_a_history_that_lost_half_of_its_lines_never_passes(name: str, data: st.DataObject) -> None:
    header, *rest = GOOD[name]
    lost = data.draw(st.sets(st.integers(0, len(rest) - 1), min_size=len(rest) // 2, max_size=len(rest) // 2))
    judgement = judge(build([header, *(line for number, line in enumerate(rest) if number not in lost)]))
    assert judgement.verdict is not Verdict.PASS
    assert "check-raised" not in {finding.name for finding in judgement.findings}


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_subset_of_lines_makes_a_check_raise(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(set(STORIES) - {"unknown--check-raised"})))
    header, *rest = STORIES[name]().ordered()
    kept = data.draw(st.lists(st.sampled_from(rest), unique_by=id))
    assert "check-raised" not in {finding.name for finding in judge(build([header, *kept])).findings}


@pytest.mark.parametrize("kind", [Invoke, Close, LoadEnded, RunEnded, StepEnded, Signalled, Exited])
def test_a_history_that_lost_every_line_of_one_kind_never_passes(kind: type[AnyLine]) -> None:
    assert judge(stop_run(clean_stop).without(kind).history()).verdict is not Verdict.PASS


@pytest.mark.slow
@given(st.data())
@settings(max_examples=25, deadline=None)
def test_a_history_that_lost_one_line_of_a_request_never_passes(data: st.DataObject) -> None:
    lines = GOOD["pass--faults-landed"]
    lost = data.draw(st.sampled_from([line for line in lines if isinstance(line, Invoke | Close)]))
    assert judge(build([line for line in lines if line is not lost])).verdict is not Verdict.PASS


def test_a_threshold_of_the_scenario_allows_what_it_permits_and_the_finding_says_so() -> None:
    lost = findings(STORIES["pass--lost-by-kill--allowed"]().history())["lost-by-kill"]
    assert lost.verdict is Verdict.PASS
    assert lost.evidence[0] == "the scenario allows it: dropped_requests <= 2"


def lost_by_kill(expect: str) -> dict[str, Finding]:
    def kill(story: Story) -> None:
        story.ask("web.1", 690, 701, Outcome.CLOSED)
        story.signal("web.1", 700, purpose="kill")
        story.exit("web.1", 701, 137)

    return findings(stop_run(kill, steps=ONE_KILL, expect=[expect]).history())


@pytest.mark.parametrize("expect", ["web.dropped_requests <= 1", "dropped_requests < 5"])
def test_a_threshold_about_the_process_type_concerned_allows_it_too(expect: str) -> None:
    assert lost_by_kill(expect)["lost-by-kill"].verdict is Verdict.PASS


@pytest.mark.parametrize("expect", ["dropped_requests == 0", "timeouts <= 5", "error_rate < 90%"])
def test_a_threshold_that_fails_or_is_about_something_else_allows_nothing(expect: str) -> None:
    assert lost_by_kill(expect)["lost-by-kill"].verdict is Verdict.FAIL


def test_a_threshold_never_turns_an_unknown_into_a_pass() -> None:
    story = steady_run(expect=["dropped_requests <= 100"]).without(LoadEnded)
    assert judge(story.history()).verdict is Verdict.UNKNOWN


def test_a_header_alone_is_unknown() -> None:
    header = steady_run().ordered()[0]
    assert isinstance(header, Header)
    assert judge(build([header])).verdict is Verdict.UNKNOWN


def test_every_check_is_called_by_its_own_name() -> None:
    history = steady_run().history()
    assert {name: {finding.check for finding in check(history)} for name, check in CHECKS.items()} == {name: {name} for name in CHECKS}


def test_every_finding_that_a_story_provokes_is_documented() -> None:
    text = (Path(__file__).parent.parent.parent / "docs/results.md").read_text()
    told = set(re.findall(r"`([a-z]+(?:-[a-z0-9]+)*)`", text))
    found = {finding.name for tell in STORIES.values() for finding in judge(tell().history()).findings}
    assert found <= told, found - told
