"""`result.json`: what is in it, its schema and its documentation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.report import json_report
from harness.report.model import RunReport
from harness.verdict import Finding, Verdict

Make = Callable[..., RunReport]
MakeFinding = Callable[..., Finding]

DOCS = Path(__file__).parents[2] / "docs"
RENEW = "python -c 'from harness.report.json_report import schema; print(schema(), end=\"\")' > docs/result.schema.json"


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads((DOCS / "result.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_document_says_everything_about_the_run(failed: RunReport) -> None:
    document = json.loads(json_report.of_run(failed))
    assert document["version"] == 1
    assert (document["verdict"], document["exit_code"]) == ("fail", 1)
    assert document["rerun"] == failed.rerun
    assert document["duration_s"] == 31.25
    assert [finding["verdict"] for finding in document["findings"]] == ["fail", "fail", "unknown", "pass", "pass", "pass"]
    assert document["findings"][0]["evidence"] == list(failed.findings[0].evidence)
    assert document["findings"][4]["bound"] == {"hits": 0, "trials": 5, "upper": 0.451, "confidence": 0.95}
    assert document["summary"]["phases"][1]["median_s"] == 0.412
    assert document["summary"]["faults"][0]["busy"] == 9


def test_keys_come_in_the_same_order_every_time(failed: RunReport, passed: RunReport) -> None:
    assert list(json.loads(json_report.of_run(failed))) == list(json.loads(json_report.of_run(passed)))
    assert json_report.of_run(failed) == json_report.of_run(failed)
    assert next(iter(json.loads(json_report.of_run(failed)))) == "version"


def test_it_reads_back_as_the_same_record(failed: RunReport) -> None:
    record = msgspec.json.decode(json_report.of_run(failed), type=json_report.RunResult)
    assert record.summary == failed.summary
    assert [finding.title for finding in record.findings] == [finding.title for finding in failed.findings]


def test_a_document_from_before_there_were_notes_still_reads(failed: RunReport) -> None:
    document = json.loads(json_report.of_run(failed))
    del document["summary"]["notes"]
    assert msgspec.convert(document, json_report.RunResult).summary.notes == ()


@pytest.mark.parametrize(("verdict", "code"), [(Verdict.PASS, 0), (Verdict.UNKNOWN, 7), (Verdict.FAIL, 1)])
def test_the_exit_code_is_the_one_of_the_command(make: Make, finding: MakeFinding, verdict: Verdict, code: int) -> None:
    assert json.loads(json_report.of_run(make(finding("x", verdict))))["exit_code"] == code


def test_a_command_with_several_runs_has_their_worst_verdict_and_each_run_whole(failed: RunReport, passed: RunReport, make: Make) -> None:
    document = json.loads(json_report.of_suite([passed, failed]))
    assert (document["version"], document["verdict"], document["exit_code"]) == (1, "fail", 1)
    assert document["runs"] == [json.loads(json_report.of_run(report)) for report in (passed, failed)]
    assert json.loads(json_report.of_suite([]))["verdict"] == "unknown"


def test_documents_fit_the_committed_schema(failed: RunReport, passed: RunReport, make: Make, validator: Any) -> None:
    for content in (json_report.of_run(failed), json_report.of_run(make()), json_report.of_suite([failed, passed])):
        validator.validate(json.loads(content))
    wrong = json.loads(json_report.of_run(failed)) | {"verdict": "maybe"}
    assert not validator.is_valid(wrong)


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=())), st.lists(st.text(st.characters(exclude_categories=())), max_size=3))
def test_any_text_of_a_finding_survives(make: Make, finding: MakeFinding, title: str, evidence: list[str]) -> None:
    found = Finding(check="requests", name="x", verdict=Verdict.FAIL, title=title, evidence=tuple(evidence))
    document = json.loads(json_report.of_run(make(found)))
    assert document["findings"][0]["title"] == title.encode("utf-8", "backslashreplace").decode()
    assert len(document["findings"][0]["evidence"]) == len(evidence)


def test_the_committed_schema_is_current() -> None:
    assert (DOCS / "result.schema.json").read_text() == json_report.schema(), f"renew it: {RENEW}"


def test_every_key_is_documented() -> None:
    told = set(re.findall(r"`(\w+)`", (DOCS / "result.md").read_text()))
    keys = {key for part in json.loads(json_report.schema())["$defs"].values() for key in part["properties"]}
    assert sorted(keys - told) == []


def test_the_example_in_the_documentation_fits_the_schema(validator: Any) -> None:
    example = re.search(r"```json\n(.*?)```", (DOCS / "result.md").read_text(), re.DOTALL)
    assert example is not None
    validator.validate(json.loads(example[1]))
