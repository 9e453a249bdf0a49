"""Recorded histories, each with the verdict and the finding in its file's name: ``fail--dropped-in-flight--backlog``."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.checks import CHECKS, judge
from harness.checks.summary import summarise
from harness.history import read
from harness.verdict import Verdict
from tests.checks.build import FOLDER, STORIES

FILES = sorted(FOLDER.glob("*.jsonl"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recorded_history_gets_the_verdict_and_the_finding_of_its_name(file: Path) -> None:
    verdict, finding, *_ = file.stem.split("--")
    judgement = judge(read(file))
    assert (judgement.verdict.word, finding in {each.name for each in judgement.findings}) == (verdict, True), judgement.findings


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_check_has_something_to_say_of_every_history(file: Path) -> None:
    assert {finding.check for finding in judge(read(file)).findings} == set(CHECKS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_finding_that_is_no_pass_names_what_it_counts_in_its_title(file: Path) -> None:
    for finding in judge(read(file)).findings:
        assert finding.title
        assert finding.verdict is not Verdict.FAIL or finding.metric, finding


@pytest.mark.parametrize("file", [file for file in FILES if "check-raised" not in file.stem], ids=lambda file: file.stem)
def test_the_summary_counts_what_the_findings_count(file: Path) -> None:
    history = read(file)
    summary = summarise(history)
    assert summary.requests == len(history.ops)
    assert summary.dropped == sum(row.count for row in summary.drops)
    assert summary.dropped == sum(
        finding.count for finding in CHECKS["requests"](history) if finding.metric == "dropped_requests" and finding.verdict is Verdict.FAIL
    )


def test_every_story_is_on_disk_and_nothing_else_is() -> None:
    assert {file.stem for file in FILES} == set(STORIES)


def test_each_verdict_has_histories() -> None:
    assert {file.stem.partition("--")[0] for file in FILES} == {verdict.word for verdict in Verdict}
