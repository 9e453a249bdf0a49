"""What the check of state says: recorded stories, the words of its findings, and the files that prove them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.checks import CHECKS, judge, state
from harness.dialects import Options, read_history
from harness.history import read
from harness.monitors import MONITORS
from harness.monitors.judged import KINDS, Budget
from harness.threshold import METRICS
from harness.verdict import Finding, Verdict
from tests.checks.build_state import FOLDER, NAME, OPERATIONS, STORIES, StateStory

FILES = sorted(FOLDER.glob("*.jsonl"))
DOCS = Path(__file__).parent.parent.parent / "docs/state.md"

WRONG = [name for name in STORIES if name.startswith("fail--") and name.split("--")[1] in KINDS]

SAID = {
    "pass--state-counted": "things (register): 7 operations on 1 key by 4 clients, 6 acknowledged, 1 refused; read at the end at web.1",
    "pass--state-counted--store": "read at the end at postgres, web.1 and web.2",
    "pass--staleness--within": "things: 1 of 5 reads was stale, by 15.0 ms (median), 15.0 ms (longest)",
    "pass--foreign-values": "things: 1 value that this run did not write came among its own, and was left out",
    "unknown--state-not-used": "things: no operation was acknowledged",
    "unknown--state-not-understood": "things: 1 good answer could not be understood",
    "unknown--state-not-understood--number": "things: 1 good answer could not be understood",
    "unknown--state-not-read": "things: not all replicas could be read at the end",
    "unknown--state-not-read--nothing": "things: nothing was read at the end",
    "unknown--state-one-replica--store": "things: only one replica ever answered",
}


def of(name: str, finding: str = "") -> Finding:
    """The finding of the story's name, of the check of state."""
    wanted = finding or name.split("--")[1]
    (found,) = [each for each in CHECKS["state"](STORIES[name]().history()) if each.name == wanted]
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recorded_history_of_state_gets_the_verdict_and_the_finding_of_its_name(file: Path) -> None:
    verdict, finding, *_ = file.stem.split("--")
    judgement = judge(read(file))
    assert (judgement.verdict.word, finding in {each.name for each in judgement.findings}) == (verdict, True), judgement.findings
    assert {each.check for each in judgement.findings} >= set(CHECKS) - {"sanity"}
    assert all(each.metric in METRICS for each in judgement.findings if each.verdict is Verdict.FAIL)


def test_it_is_told_when_each_replica_knew_what_had_been_acknowledged() -> None:
    assert of("fail--stale-read--memory", "staleness").evidence == (
        "web.1: 5 acknowledged writes known after 20.0 ms (median), 50.0 ms (longest)",
        "web.1: what it answered last was older than 1 acknowledged write",
        "web.2: 6 acknowledged writes known after 20.0 ms (median), 30.0 ms (longest)",
    )


def test_every_story_of_state_is_on_disk_and_nothing_else_is() -> None:
    assert {file.stem for file in FILES} == set(STORIES)


def test_every_finding_that_a_story_provokes_is_documented() -> None:
    told = set(re.findall(r"`([a-z]+(?:-[a-z0-9]+)*)`", DOCS.with_name("results.md").read_text()))
    found = {finding.name for tell in STORIES.values() for finding in CHECKS["state"](tell().history())}
    assert found <= told, found - told


def test_every_finding_that_the_page_names_has_a_story() -> None:
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", DOCS.read_text().partition("| finding |")[2]))
    assert not named - {name.split("--")[1] for name in STORIES}


@pytest.mark.parametrize("model", OPERATIONS)
def test_every_model_has_stories_of_both_verdicts(model: str) -> None:
    verdicts = {name.split("--")[0] for name, tell in STORIES.items() if _model(tell()) == model}
    assert verdicts >= {"pass", "fail"}


def _model(story: object) -> str:
    return story.scenario.state[NAME].model if isinstance(story, StateStory) else ""


@pytest.mark.parametrize("name", SAID)
def test_a_finding_has_its_numbers_in_its_title(name: str) -> None:
    assert SAID[name] in of(name).title


def test_what_was_asked_and_who_answered_is_told() -> None:
    assert of("pass--state-counted").evidence == ("3 read, 2 write, 2 cas", "answered by web.1 and web.2")


def test_the_store_is_no_replica() -> None:
    assert of("pass--state-counted--store").evidence[1] == "answered by web.1 and web.2"


def test_the_reason_of_what_is_unknown_is_told() -> None:
    assert of("unknown--state-not-understood").evidence == ("$.value is not one value in the answer",)
    assert of("unknown--state-not-understood--number").evidence == ('the text "many" is no whole number',)
    assert of("unknown--state-not-read").evidence == ("web.2: status 500",)
    assert of("unknown--state-not-read--store").evidence == ("postgres: relation things does not exist",)


def test_without_operations_there_is_nothing_to_say_of_registers() -> None:
    assert {each.name for each in CHECKS["state"](STORIES["pass--replicas-alike"]().history())} == {"replicas-alike"}


# --- proofs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_has_its_proof_in_three_files_and_in_sentences(name: str) -> None:
    finding = of(name)
    path = f"witness/{NAME}-{finding.name}"
    assert [proof.name for proof in finding.proofs] == [f"{path}.jsonl", f"{path}.txt", f"{path}.svg"]
    lines, text, svg = (proof.text for proof in finding.proofs)
    assert "\n".join(finding.evidence[:-1]) in text
    assert svg.startswith("<svg")
    assert f"{path}.jsonl ({len(lines.splitlines())} operation" in finding.evidence[-1]
    assert KINDS[finding.name] in finding.title
    assert finding.count > 0


@pytest.mark.parametrize("name", WRONG)
def test_the_proof_of_what_is_wrong_is_judged_as_wrong_again(name: str, tmp_path: Path) -> None:
    file = tmp_path / "witness.jsonl"
    file.write_text(of(name).proofs[0].text)
    model = _model(STORIES[name]()).replace("sessions", "register")  # which promises all that sessions do, and more
    assert MONITORS[model](read_history(file, model, Options()).calls, Budget()).verdict is Verdict.FAIL


def test_a_fault_between_two_operations_is_told_with_them() -> None:
    assert any("SIGKILL" in line for line in of("fail--lost-write--write-behind").evidence)


def test_every_cure_of_what_is_unknown_says_what_to_do() -> None:
    for name in STORIES:
        finding = name.split("--")[1]
        if name.startswith("unknown--state-") and finding != "state-undecided":
            assert of(name).cure, finding
    assert of("unknown--state-undecided").cure == state.UNDECIDED_CURE
