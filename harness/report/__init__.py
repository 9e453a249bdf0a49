"""Reports: they show what the checks found and compute nothing new.

`REPORTERS` are the files that every run gets in its folder. `harness.report.terminal` prints for people, `harness.report.live` shows
progress, `harness.report.choice` reads ``--reporter``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.report import json_report, junit
from harness.report.files import update_latest, write_whole
from harness.report.model import RunReport

__all__ = ["REPORTERS", "Reporter", "RunReport", "update_latest", "write_all", "write_missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """A format of reports: ``file`` is its name in a run's folder; the functions make its bytes and touch nothing."""

    file: str
    of_run: Callable[[RunReport], bytes]
    of_suite: Callable[[Sequence[RunReport]], bytes]


REPORTERS: Final[dict[str, Reporter]] = {
    "json": Reporter(file=json_report.FILE, of_run=json_report.of_run, of_suite=json_report.of_suite),
    "junit": Reporter(file=junit.FILE, of_run=junit.of_run, of_suite=junit.of_suite),
}


def write_all(report: RunReport) -> list[Path]:
    """Write every file of `REPORTERS` into the run's folder and return their paths; raises `OSError` when one can't be written."""
    return _write(report, list(REPORTERS.values()))


def write_missing(report: RunReport) -> list[Path]:
    """As `write_all`, but only what is not there yet: a run that was cut off has no reports of its own."""
    return _write(report, [reporter for reporter in REPORTERS.values() if not (report.folder / reporter.file).exists()])


def _write(report: RunReport, reporters: Sequence[Reporter]) -> list[Path]:
    written = []
    for reporter in reporters:
        path = report.folder / reporter.file
        write_whole(path, reporter.of_run(report))
        written.append(path)
    for proof in (proof for finding in report.findings for proof in finding.proofs):
        path = _inside(report.folder, proof.name)
        write_whole(path, proof.text.encode(errors="backslashreplace"))
        written.append(path)
    return written


def _inside(folder: Path, name: str) -> Path:
    """The path of a proof; raises `ValueError` when it would be written anywhere but in the run's folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"the proof {name!r} is not in the run's folder")
    return path
