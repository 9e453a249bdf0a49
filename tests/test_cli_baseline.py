"""The command line with a baseline: what is refused before anything starts, with one sentence and exit code 4."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checks.build import steady_run
from tests.test_baseline import stored
from tests.test_cli import QUICKSTART, jetable

SCENARIO = """\
jetable: 1
name: a story
target: {{web: {{command: [python, app.py]}}}}
load: {{requests: [GET /]}}
steps: [{{steady: 1s}}]
expect: ["{expect}"]
"""
STARTS = "startup_time p(50) <= baseline + 10%"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("JETABLE_BASELINE", raising=False)
    (tmp_path / "a.yaml").write_text(SCENARIO.format(expect=STARTS))
    return tmp_path


@pytest.mark.parametrize("flag", [True, False])
def test_a_baseline_that_does_not_compare_is_refused_before_anything_starts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, flag: bool
) -> None:
    stored(folder, steady_run(), machine="640 cores")
    if not flag:
        monkeypatch.setenv("JETABLE_BASELINE", "main")
    assert jetable("run", "a.yaml", *(["--baseline", "main"] if flag else [])) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("jetable: baseline main was measured on 640 cores, and this run is on ")
    assert not (folder / "reports").exists()


@pytest.mark.parametrize("place", ["nowhere", "a.yaml"])
def test_what_is_no_run_is_refused_even_for_a_dry_run(folder: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert jetable("run", "a.yaml", "--dry-run", "--baseline", place) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"jetable: baseline {place}: ")
    assert not (folder / "reports").exists()


def test_a_baseline_that_nothing_needs_is_a_mistake_unless_it_is_there_for_whoever_needs_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(folder, steady_run())
    scenario = QUICKSTART / "1-graceful-stop.yaml"
    assert jetable("run", scenario, "--dry-run", "--baseline", "main") == 4
    assert "--baseline main: nothing is compared with it" in capsys.readouterr().err
    monkeypatch.setenv("JETABLE_BASELINE", "main")
    assert jetable("run", scenario, "--dry-run") == 0


def test_a_threshold_with_a_mistake_is_told_with_its_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "b.yaml").write_text(SCENARIO.format(expect="startup_time p(50) <= baseline * 1.1"))
    assert jetable("validate", "b.yaml") == 4
    assert 'b.yaml:6:10: expect[0]: "baseline * 1.1" can\'t be computed; write baseline, baseline + 10%' in capsys.readouterr().err
