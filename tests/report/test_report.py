"""The registry of reporters, and the files of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import harness.report
from harness.report import REPORTERS, write_all
from harness.report.model import RunReport

NO_REPORTERS = {"__init__", "choice", "console", "drain", "files", "history", "live", "model", "progress", "rehearsal", "terminal", "text"}


def test_every_module_that_makes_a_file_is_in_the_registry() -> None:
    modules = {path.stem for path in Path(harness.report.__file__).parent.glob("*.py")} - NO_REPORTERS
    assert modules == {reporter.of_run.__module__.rpartition(".")[2] for reporter in REPORTERS.values()}


def test_every_reporter_writes_its_file_into_the_folder_of_the_run(tmp_path: Path, failed: RunReport) -> None:
    written = write_all(replace(failed, folder=tmp_path / "run"))
    assert sorted(path.name for path in written) == ["junit.xml", "result.json"]
    assert sorted(written) == sorted((tmp_path / "run").iterdir())


def test_a_run_that_is_judged_again_gets_its_reports_anew(tmp_path: Path, failed: RunReport, passed: RunReport) -> None:
    write_all(replace(failed, folder=tmp_path))
    write_all(replace(passed, folder=tmp_path))
    assert b'"verdict": "pass"' in (tmp_path / "result.json").read_bytes()
    assert b"<failure" not in (tmp_path / "junit.xml").read_bytes()
