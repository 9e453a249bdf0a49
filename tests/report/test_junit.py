"""`junit.xml`: names, verdicts, and validity whatever the app wrote into its log."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml

from harness.checks.summary import Summary
from harness.report import junit
from harness.report.model import RunReport
from harness.verdict import Finding, Verdict

Make = Callable[..., RunReport]
MakeFinding = Callable[..., Finding]

# What Jenkins' junit-10.xsd allows: attributes (those that are required first), then children.
ALLOWED: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"time", "skipped", "timestamp", "hostname", "id", "package"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    "testcase": ({"name", "classname", "time"}, set(), {"failure", "error", "system-out"}),
    "failure": ({"message", "type"}, set(), set()),
    "error": ({"message", "type"}, set(), set()),
    "system-out": (set(), set(), set()),
}

TEXT = st.text(st.one_of(st.characters(exclude_categories=()), st.sampled_from("\x00\x1b\r\n\t😀]]>&<\"'\ufffe")), max_size=30)
FINDINGS = st.builds(
    Finding,
    check=TEXT,
    name=st.one_of(TEXT, st.sampled_from(["a", "a #2", "expectation-held"])),
    verdict=st.sampled_from(Verdict),
    title=TEXT,
    evidence=st.lists(TEXT, max_size=3).map(tuple),
    cause=TEXT,
    cure=TEXT,
    replica=st.sampled_from(["", "web.1", "web.2"]),
    step=st.integers(-1, 2),
)


def assert_fits(root: ET.Element) -> None:
    for element in root.iter():
        required, optional, children = ALLOWED[element.tag]
        assert required <= set(element.attrib) <= required | optional, element.tag
        assert {child.tag for child in element} <= children, element.tag
    for time in root.iter():
        assert re.fullmatch(r"[0-9]+\.[0-9]{1,3}", time.attrib.get("time", "0.0"))


def cases(content: bytes) -> list[ET.Element]:
    return list(ET.fromstring(content).iter("testcase"))  # noqa: S314  our own file


def test_there_is_one_case_for_each_finding_with_its_verdict(failed: RunReport) -> None:
    (suite,) = list(JUnitXml.fromstring(junit.of_run(failed).decode()))
    results = [[type(result) for result in case.result] for case in suite]
    assert results == [[Failure], [Failure], [Error], [], [], []]
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (6, 2, 1, 0)
    assert suite.time == 31.25
    assert suite.timestamp == "2026-11-22T01:37:22"


def test_the_reason_is_in_the_message_and_the_proof_in_the_text(failed: RunReport) -> None:
    failure = cases(junit.of_run(failed))[0].find("failure")
    assert failure is not None
    assert failure.attrib["message"] == failed.findings[0].title
    assert failure.text is not None
    for part in (
        "last log line: [INFO] Booting worker",
        "why: The process exited",
        "cure: Handle",
        "again: jetable run scenarios/web.yaml",
    ):
        assert part in failure.text


def test_cases_are_named_after_finding_replica_and_step(failed: RunReport) -> None:
    assert [(case.attrib["classname"], case.attrib["name"]) for case in cases(junit.of_run(failed))][:3] == [
        ("web survives a rolling restart", "dropped-in-flight (web.2, step 3)"),
        ("web survives a rolling restart", "dropped_requests == 0"),
        ("web survives a rolling restart", "control-slow"),
    ]


def test_an_expectation_has_the_same_name_whether_it_holds_or_not(finding: MakeFinding) -> None:
    broken = "startup_time p(95) < 2s does not hold: it was 3.10 s over 9 samples"
    failed = finding("expectation-failed", Verdict.FAIL, check="expect", title=broken)
    held = finding("expectation-held", Verdict.PASS, check="expect", title="startup_time p(95) < 2s: 412 ms over 9 samples")
    assert junit.case_name(failed) == junit.case_name(held) == "startup_time p(95) < 2s"


def test_alike_findings_are_told_apart_by_a_number(make: Make, finding: MakeFinding) -> None:
    twins = [finding("x", Verdict.FAIL, replica="web.1", step=2)] * 3
    names = [case.attrib["name"] for case in cases(junit.of_run(make(*twins)))]
    assert names == ["x (web.1, step 2)", "x (web.1, step 2) #2", "x (web.1, step 2) #3"]


def test_several_runs_are_one_suite_each_even_of_one_scenario(failed: RunReport, passed: RunReport) -> None:
    root = ET.fromstring(junit.of_suite([failed, passed, failed]))  # noqa: S314  our own file
    assert_fits(root)
    assert [suite.attrib["name"] for suite in root] == [
        "web survives a rolling restart",
        "web survives a rolling restart #2",
        "web survives a rolling restart #3",
    ]
    assert (root.attrib["tests"], root.attrib["failures"], root.attrib["errors"]) == ("15", "4", "2")
    named = [(case.attrib["classname"], case.attrib["name"]) for case in root.iter("testcase")]
    assert len(set(named)) == len(named) == 15


@pytest.mark.parametrize(("verdict", "tag"), [(Verdict.UNKNOWN, "error"), (Verdict.FAIL, "failure")])
def test_a_file_never_looks_better_than_the_verdict(make: Make, finding: MakeFinding, verdict: Verdict, tag: str) -> None:
    for report in (make(verdict=verdict), make(finding("fine", Verdict.PASS), verdict=verdict)):
        last = cases(junit.of_run(report))[-1]
        assert last.attrib["name"] == "verdict"
        assert last.find(tag) is not None


def test_what_the_run_noted_of_itself_is_a_property_each(make: Make, finding: MakeFinding, summary: Callable[..., Summary]) -> None:
    root = ET.fromstring(junit.of_run(make(finding("x", Verdict.PASS), summary=summary(notes=("first\x1b", "second")))))  # noqa: S314  our own file
    assert_fits(root)
    told = {each.attrib["name"]: each.attrib["value"] for each in root.iter("property")}
    assert (told["note.1"], told["note.2"]) == ("first\\x1b", "second")


def test_a_time_in_another_zone_is_told_in_utc_and_a_bad_one_not_at_all(make: Make) -> None:
    root = ET.fromstring(junit.of_suite([make(began="2026-11-22T03:37:22+02:00"), make(began="")]))  # noqa: S314  our own file
    assert [suite.attrib.get("timestamp") for suite in root] == ["2026-11-22T01:37:22", None]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.lists(FINDINGS, max_size=6), TEXT)
def test_whatever_the_findings_say_the_file_is_valid_and_its_names_are_unique(make: Make, findings: list[Finding], scenario: str) -> None:
    report = make(*findings, scenario=scenario, rerun=scenario, path=scenario, duration_s=0.00001)
    root = ET.fromstring(junit.of_suite([report, report]))  # noqa: S314  our own file
    assert_fits(root)
    named = [(case.attrib["classname"], case.attrib["name"]) for case in root.iter("testcase")]
    assert len(set(named)) == len(named) == 2 * max(1, len(findings))
    assert all(name for _, name in named)
    fails = sum(finding.verdict is Verdict.FAIL for finding in findings)
    assert sum(1 for _ in root.iter("failure")) == 2 * fails
