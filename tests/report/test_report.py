"""The registry of reporters, and the files of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import harness.report
from harness.report import REPORTERS, write_all, write_missing
from harness.report.model import RunReport
from harness.verdict import Finding, Proof, Verdict

OF_BENCHES = {"bench", "compare", "exports", "figures", "hyperfine"}
NO_REPORTERS = OF_BENCHES | {
    *("__init__", "choice", "console", "drain", "files", "history", "live", "model", "progress", "rehearsal", "terminal", "text"),
}


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


def proven(report: RunReport, folder: Path, *names: str) -> RunReport:
    """A report whose only finding has proofs of these names."""
    proofs = tuple(Proof(name=name, text=f"{name} ⟂ \ud800\n") for name in names)
    finding = Finding(check="state", name="stale-read", verdict=Verdict.FAIL, title="a value was stale", proofs=proofs)
    return replace(report, folder=folder, findings=(finding,))


def test_what_proves_a_finding_is_written_beside_the_reports_in_folders_of_its_own(tmp_path: Path, failed: RunReport) -> None:
    folder = tmp_path / "run"
    written = write_all(proven(failed, folder, "witness/stock-stale-read.jsonl", "witness/deep/er.svg", "note.txt"))
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == ["junit.xml", "note.txt", "result.json", "witness/deep/er.svg", "witness/stock-stale-read.jsonl"]
    assert sorted(path.relative_to(folder).as_posix() for path in written) == files
    assert (folder / "note.txt").read_text(encoding="utf-8") == "note.txt ⟂ \\ud800\n"


def test_a_proof_is_written_anew_when_a_run_is_judged_again(tmp_path: Path, failed: RunReport) -> None:
    write_all(proven(failed, tmp_path, "witness/a.txt"))
    (tmp_path / "witness/a.txt").write_text("old")
    assert tmp_path / "witness/a.txt" in write_missing(proven(failed, tmp_path, "witness/a.txt"))
    assert (tmp_path / "witness/a.txt").read_text(encoding="utf-8").startswith("witness/a.txt")


@pytest.mark.parametrize("name", ["../stolen.txt", "witness/../../stolen.txt", "/tmp/stolen.txt"])  # noqa: S108  it must not be written
def test_no_proof_is_written_outside_of_the_folder_of_the_run(tmp_path: Path, failed: RunReport, name: str) -> None:
    with pytest.raises(ValueError, match="is not in the run's folder"):
        write_all(proven(failed, tmp_path / "run", name))
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_the_text_of_a_proof_is_in_its_file_and_not_in_the_report(tmp_path: Path, failed: RunReport) -> None:
    write_all(proven(failed, tmp_path, "witness/a.txt"))
    assert "⟂" not in (tmp_path / "result.json").read_text(encoding="utf-8")
