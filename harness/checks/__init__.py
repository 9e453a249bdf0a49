"""Checks: pure functions from a history to findings. One file a check, one line in `CHECKS`.

A check reads the history and nothing else: no engine, no clock, no network. `judge` runs them all; a check that raises is *unknown*, and
so is a check that finds nothing at all to say.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from harness.checks import connections, expect, jobs, posture, requests, sanity, state, streams, timing
from harness.history import History
from harness.verdict import Finding, Verdict, worst

Check: TypeAlias = Callable[[History], list[Finding]]

CHECKS: Final[dict[str, Check]] = {
    "sanity": sanity.check,
    "requests": requests.check,
    "jobs": jobs.check,
    "state": state.check,
    "streams": streams.check,
    "connections": connections.check,
    "timing": timing.check,
    "posture": posture.check,
    "expect": expect.check,
}
"""Every check, in the order in which a report tells of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What all checks together say of a run: its findings, worst first, and their worst verdict."""

    findings: tuple[Finding, ...]
    verdict: Verdict


def judge(history: History) -> Judgement:
    """Run every check on ``history``; what the scenario's own thresholds allow is no failure."""
    findings = [finding for name, check in CHECKS.items() for finding in _run(name, check, history)]
    findings = _run_allow(history, findings)
    findings.sort(key=lambda finding: -finding.verdict)
    return Judgement(findings=tuple(findings), verdict=worst(finding.verdict for finding in findings))


def _run(name: str, check: Check, history: History) -> list[Finding]:
    try:
        findings = check(history)
    except Exception as error:  # noqa: BLE001  whatever a check trips over is evidence, and the run is then unknown
        return [_raised(name, error)]
    silent = Finding(check=name, name="check-silent", verdict=Verdict.UNKNOWN, title=f"the check {name} had nothing to say")
    return findings or [silent]


def _run_allow(history: History, findings: list[Finding]) -> list[Finding]:
    try:
        return expect.allow(history, findings)
    except Exception as error:  # noqa: BLE001  as above; all failures then stay failures
        return [*findings, _raised("expect", error)]


def _raised(name: str, error: Exception) -> Finding:
    return Finding(
        check=name,
        name="check-raised",
        verdict=Verdict.UNKNOWN,
        title=f"the check {name} could not judge this history: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
        evidence=tuple("".join(traceback.format_exception(error)).splitlines()),
        cure="This is a defect of Jetable or a damaged history; please report it with the run's history folder.",
    )
