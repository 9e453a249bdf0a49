"""What every report is made of: one frozen record of a run that was judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.checks.summary import FaultRow, JobRow, PhaseRow, Summary
from harness.verdict import Finding, Verdict

__all__ = ["FaultRow", "JobRow", "PhaseRow", "RunReport", "Summary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """A run and what the checks say of it.

    Attributes:
        run_id: The run's name, and that of its folder.
        scenario: The scenario's name.
        path: The scenario's file, as it was given.
        engine: A key of ``harness.engines.ENGINES``.
        seed: The seed of all chance in the run.
        verdict: The worst finding's.
        findings: Worst first.
        summary: The run in numbers.
        folder: Where history, logs and reports of the run lie.
        rerun: The command line that repeats the run, seed included.
        began: Wall time of the beginning, ISO 8601; empty when it is not known.
        duration_s: Seconds from the first event to the last.
    """

    run_id: str
    scenario: str
    path: str
    engine: str
    seed: int
    verdict: Verdict
    findings: tuple[Finding, ...]
    summary: Summary
    folder: Path
    rerun: str
    began: str = ""
    duration_s: float = 0.0
