"""The suites that are shipped, run as a person runs them: real processes, real load, the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.scenario import load_scenario
from tests.live.processes import left_of

ROOT = Path(__file__).parent.parent.parent
QUICKSTART = sorted((ROOT / "scenarios/quickstart").glob("*.yaml"))
KNOWN_BAD = sorted((ROOT / "scenarios/known-bad").glob("*.yaml"))
BOUND_S = 120

pytestmark = [pytest.mark.slow, pytest.mark.live]


def jetable(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=BOUND_S, check=False)


def results(reports: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(reports.glob("*/result.json")) if not path.parent.is_symlink()]


@pytest.mark.parametrize("path", QUICKSTART, ids=lambda path: path.stem)
def test_a_known_good_scenario_passes(path: Path, tmp_path: Path) -> None:
    ended = jetable("run", path, "--reports", tmp_path, "--seed", "1")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (result,) = results(tmp_path)
    assert result["verdict"] == "pass"
    assert not left_of(str(result["run_id"]))


@pytest.mark.parametrize("path", KNOWN_BAD, ids=lambda path: path.stem)
def test_a_planted_defect_is_found_by_name(path: Path, tmp_path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.must_find, f"{path} names no finding"
    ended = jetable("run", path, "--reports", tmp_path, "--seed", "1")
    (result,) = results(tmp_path)
    findings = result["findings"]
    assert isinstance(findings, list)
    worse = {finding["name"] for finding in findings if finding["verdict"] != "pass"}
    assert set(scenario.must_find) <= worse, f"found only {sorted(worse)}\n{ended.stdout}{ended.stderr}"
    assert ended.returncode == {"fail": 1, "unknown": 7}[str(result["verdict"])]
    assert not left_of(str(result["run_id"]))


def test_every_planted_defect_of_the_sample_app_has_a_scenario() -> None:
    from sample_apps.web.defects import DEFECTS

    text = "".join(path.read_text() for path in KNOWN_BAD)
    assert not [name for name in DEFECTS if f"DEFECT: {name}" not in text]
