"""``junit.xml``: what CI machines show, one test case for each finding and expectation.

A finding that fails is a ``<failure>``, an unknown one an ``<error>`` and nothing is ever skipped. Test cases are named after findings,
without numbers that change from run to run, so that a CI machine can follow one through its history. Elements and attributes are those
of Jenkins' ``junit-10.xsd``; a file holds nothing that XML 1.0 forbids, whatever the log lines of the app were.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from harness.checks import expect
from harness.report.model import RunReport
from harness.report.text import clean, clean_lines
from harness.verdict import Finding, Verdict, worst

FILE: Final = "junit.xml"


def of_run(report: RunReport) -> bytes:
    """The file for one run."""
    return of_suite([report])


def of_suite(reports: Sequence[RunReport]) -> bytes:
    """One file for several runs, one ``<testsuite>`` each, in their order."""
    document = JUnitXml(name="jetable")
    scenarios = _Names()
    suites = [_suite(report, scenarios.unique(clean(report.scenario) or "unnamed")) for report in reports]
    for suite in suites:
        # Not `add_testsuite`, which melts two runs of one scenario together; nor `update_statistics`, whose times are sums of cases.
        document.append(suite)  # type: ignore[no-untyped-call]  # junitparser is typed in part
    document.tests = sum(suite.tests for suite in suites)
    document.failures = sum(suite.failures for suite in suites)
    document.errors = sum(suite.errors for suite in suites)
    document.time = round(sum(report.duration_s for report in reports), 3)
    written = io.BytesIO()
    document.write(written, pretty=True)
    return written.getvalue()


def case_name(finding: Finding) -> str:
    """What a finding's test case is called; two findings of a run may share it.

    An expectation is called after its threshold, which stands at the head of its title, because its finding's name says how it ended.
    """
    if finding.check == expect.CHECK and finding.name in expect.SAYS:
        return clean(expect.threshold_of(finding)) or "unnamed"
    where = [clean(finding.replica)] if finding.replica else []
    where += [f"step {finding.step}"] if finding.step >= 0 else []
    name = clean(finding.name) or "unnamed"
    return f"{name} ({', '.join(where)})" if where else name


def _suite(report: RunReport, name: str) -> TestSuite:
    suite = TestSuite(name)
    suite.hostname = "localhost"
    began = _timestamp(report.began)
    if began:
        suite.timestamp = began
    for key, value in _properties(report):
        suite.add_property(key, clean(value))
    names = _Names()
    cases = [_case(report, finding, names.unique(case_name(finding)), name) for finding in report.findings]
    if worst(finding.verdict for finding in report.findings) < report.verdict or not report.findings:
        cases.append(_verdict_case(report, names.unique("verdict"), name))
    suite.add_testcases(cases)
    suite.time = round(report.duration_s, 3)
    return suite


def _properties(report: RunReport) -> list[tuple[str, str]]:
    return [
        ("run_id", report.run_id),
        ("verdict", report.verdict.word),
        ("engine", report.engine),
        ("seed", str(report.seed)),
        ("path", report.path),
        ("rerun", report.rerun),
        *((f"note.{number}", note) for number, note in enumerate(report.summary.notes, start=1)),
    ]


def _case(report: RunReport, finding: Finding, name: str, classname: str) -> TestCase:
    case = TestCase(name=name, classname=classname, time=0.0)
    title = clean(finding.title) or name
    proof = [line for text in finding.evidence for line in clean_lines(text)]
    match finding.verdict:
        case Verdict.PASS:
            case.system_out = "\n".join([title, *proof])
            return case
        case Verdict.FAIL:
            result: Failure | Error = Failure(message=title, type_=clean(finding.check) or "check")
        case Verdict.UNKNOWN:
            result = Error(message=title, type_=clean(finding.check) or "check")
    advice = [f"{word}: {clean(text)}" for word, text in (("why", finding.cause), ("cure", finding.cure)) if text]
    result.text = "\n".join([title, *proof, *advice, *_where(report)])
    case.result = [result]
    return case


def _verdict_case(report: RunReport, name: str, classname: str) -> TestCase:
    """A case for a verdict that no finding explains, so that the file never looks better than the verdict."""
    case = TestCase(name=name, classname=classname, time=0.0)
    message = f"the verdict is {report.verdict.word}, and no finding says why"
    if report.verdict is Verdict.PASS:
        case.system_out = "nothing was found"
        return case
    result = Failure(message=message, type_="verdict") if report.verdict is Verdict.FAIL else Error(message=message, type_="verdict")
    result.text = "\n".join([message, *_where(report)])
    case.result = [result]
    return case


def _where(report: RunReport) -> list[str]:
    return [f"report: {clean(str(report.folder))}", f"again: {clean(report.rerun)}"]


def _timestamp(wall: str) -> str:
    """``wall`` (ISO 8601) in UTC without its zone, as the schemas want it; empty when it is not a time."""
    try:
        at = datetime.fromisoformat(wall)
    except ValueError:
        return ""
    return (at.astimezone(UTC) if at.tzinfo else at).replace(tzinfo=None).isoformat(timespec="seconds")


class _Names:
    """Makes names unique: the second ``x`` becomes ``x #2``."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._last: dict[str, int] = {}

    def unique(self, name: str) -> str:
        candidate, number = name, self._last.get(name, 1)
        while candidate in self._taken:
            number += 1
            candidate = f"{name} #{number}"
        self._last[name] = number
        self._taken.add(candidate)
        return candidate
