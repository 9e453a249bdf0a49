"""What `--reporter` takes, what it refuses and where it writes."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.report import REPORTERS
from harness.report.choice import NAMES, ReporterChoice, parse_reporter, write_choice
from harness.report.model import RunReport


@pytest.mark.parametrize(
    ("written", "choice"),
    [
        ("terminal", ReporterChoice(name="terminal")),
        ("json", ReporterChoice(name="json")),
        ("junit=out.xml", ReporterChoice(name="junit", path=Path("out.xml"))),
        ("json=a=b.json", ReporterChoice(name="json", path=Path("a=b.json"))),
    ],
)
def test_a_reporter_is_a_name_and_perhaps_a_file(written: str, choice: ReporterChoice) -> None:
    assert parse_reporter(written) == choice


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("junitt=x.xml", 'did you mean "junit"'),
        ("JSON", 'did you mean "json"'),
        ("", '"terminal", "json" or "junit"'),
        ("junit=", "write junit=junit.xml"),
        ("terminal=x.txt", "takes no file"),
        ("json=reports/", "is a folder"),
    ],
)
def test_a_wrong_one_is_refused_with_its_cure(written: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_reporter(written)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"write json={tmp_path / 'result.json'}"):
        parse_reporter(f"json={tmp_path}")


def test_every_reporter_can_be_chosen() -> None:
    assert set(NAMES) == {"terminal", *REPORTERS}


def test_all_runs_go_to_the_file(tmp_path: Path, failed: RunReport, passed: RunReport) -> None:
    path = tmp_path / "new" / "all.json"
    write_choice(ReporterChoice(name="json", path=path), [failed, passed], io.BytesIO())
    assert len(json.loads(path.read_bytes())["runs"]) == 2


def test_without_a_file_they_go_to_standard_output(failed: RunReport) -> None:
    stdout = io.BytesIO()
    write_choice(ReporterChoice(name="junit"), [failed], stdout)
    assert stdout.getvalue().startswith(b"<?xml")


def test_the_terminal_has_been_written_to_already(failed: RunReport) -> None:
    stdout = io.BytesIO()
    write_choice(ReporterChoice(name="terminal"), [failed], stdout)
    assert stdout.getvalue() == b""


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, failed: RunReport) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/x\.json: can't write it"):
        write_choice(ReporterChoice(name="json", path=tmp_path / "file" / "x.json"), [failed], io.BytesIO())


def test_a_reader_that_goes_away_is_no_error(failed: RunReport) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stdout:
        write_choice(ReporterChoice(name="json"), [failed], stdout)
