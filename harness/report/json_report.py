"""``result.json``: a run for programs, versioned and documented in ``docs/result.md``.

The document is a type of its own, so that nothing inside Jetable can change it by accident: a key is never renamed or removed and keeps
its meaning within one version; keys may be added. Keys come in the order in which they stand here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from harness.report.model import RunReport, Summary
from harness.report.text import encodable
from harness.verdict import Bound, Finding, Verdict, exit_code, worst

FILE: Final = "result.json"
VERSION: Final = 1

VerdictWord: TypeAlias = Literal["pass", "unknown", "fail"]

WORDS: Final[Mapping[Verdict, VerdictWord]] = {Verdict.PASS: "pass", Verdict.UNKNOWN: "unknown", Verdict.FAIL: "fail"}


class FindingResult(msgspec.Struct, frozen=True, kw_only=True):
    """One finding: a `harness.verdict.Finding` with its verdict in a word."""

    check: str
    name: str
    verdict: VerdictWord
    title: str
    evidence: tuple[str, ...]
    cause: str
    cure: str
    metric: str
    replica: str
    step: int
    count: int
    bound: Bound | None


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    version: Literal[1]
    run_id: str
    scenario: str
    path: str
    engine: str
    seed: int
    began: str
    duration_s: float
    verdict: VerdictWord
    exit_code: int
    rerun: str
    folder: str
    findings: tuple[FindingResult, ...]
    summary: Summary


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """All runs of one command."""

    version: Literal[1]
    verdict: VerdictWord
    exit_code: int
    runs: tuple[RunResult, ...]


def of_run(report: RunReport) -> bytes:
    """The document of one run, indented, with a line end."""
    return _pretty(_run(report))


def of_suite(reports: Sequence[RunReport]) -> bytes:
    """The document of one command, however many runs it had: their worst verdict, and each run as in its own ``result.json``."""
    verdict = worst(report.verdict for report in reports)
    runs = tuple(_run(report) for report in reports)
    return _pretty(Results(version=VERSION, verdict=WORDS[verdict], exit_code=int(exit_code(verdict)), runs=runs))


def schema() -> str:
    """The JSON Schema (2020-12) of both documents, as committed in ``docs/result.schema.json``."""
    references, parts = msgspec.json.schema_components([RunResult, Results], ref_template="#/$defs/{name}")
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Jetable: result.json of one run, or the document of all runs of one command",
        "anyOf": list(references),
        "$defs": parts,
    }
    return _pretty(document).decode()


def _run(report: RunReport) -> RunResult:
    return RunResult(
        version=VERSION,
        run_id=report.run_id,
        scenario=encodable(report.scenario),
        path=encodable(report.path),
        engine=report.engine,
        seed=report.seed,
        began=report.began,
        duration_s=round(report.duration_s, 3),
        verdict=WORDS[report.verdict],
        exit_code=int(exit_code(report.verdict)),
        rerun=encodable(report.rerun),
        folder=encodable(str(report.folder)),
        findings=tuple(_finding(finding) for finding in report.findings),
        summary=report.summary,
    )


def _finding(finding: Finding) -> FindingResult:
    return FindingResult(
        check=finding.check,
        name=finding.name,
        verdict=WORDS[finding.verdict],
        title=encodable(finding.title),
        evidence=tuple(encodable(line) for line in finding.evidence),
        cause=encodable(finding.cause),
        cure=encodable(finding.cure),
        metric=finding.metric,
        replica=encodable(finding.replica),
        step=finding.step,
        count=finding.count,
        bound=finding.bound,
    )


def _pretty(document: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
