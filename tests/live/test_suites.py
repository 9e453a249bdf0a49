"""The suites that are shipped, run as a person runs them: real processes, real load, the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.scenario import load_scenario
from harness.schema import EXAMPLE
from tests.live.processes import left_of

ROOT = Path(__file__).parent.parent.parent
QUICKSTART = sorted((ROOT / "scenarios/quickstart").glob("*.yaml"))
KNOWN_BAD = sorted((ROOT / "scenarios/known-bad").glob("*.yaml"))
BOUND_S = 120

UNKNOWN = {"idle-victim", "rate-too-high"}
"""Scenarios that show why a run proves nothing."""

BESIDE: dict[str, set[str]] = {
    "accepts-then-drops": {"keep-alive-race", "new-connections-dropped"},  # it closes reused connections and those of probes, too
    "crashes": {"dropped-without-fault", "unavailable"},  # what the crash cut, and what came when no replica was left
    "cuts-bodies": {"dropped-in-flight"},  # a cut that happened to be in flight at the signal is laid at its door
    "drops-new-connections": {"dropped-after-signal"},  # a user may happen to connect anew
}
"""What else may fail, where one defect has two faces and chance decides whether the second one shows."""

FAILS_ITS_OWN = {"slow-start": "startup_time"}
"""Scenarios of which a threshold is all that fails, and its metric."""

pytestmark = [pytest.mark.slow, pytest.mark.live]


def jetable(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=BOUND_S, check=False)


def results(reports: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(reports.glob("*/result.json")) if not path.parent.is_symlink()]


@pytest.mark.parametrize("path", QUICKSTART, ids=lambda path: path.stem)
def test_a_known_good_scenario_passes(path: Path, tmp_path: Path) -> None:
    ended = jetable("run", path, "--reports", tmp_path, "--seed", "1")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (result,) = results(tmp_path)
    assert result["verdict"] == "pass"
    assert not left_of(str(result["run_id"]))


def test_the_example_of_the_reference_passes(tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(EXAMPLE)
    ended = jetable("run", path, "--reports", tmp_path / "reports", "--seed", "1")
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("path", KNOWN_BAD, ids=lambda path: path.stem)
def test_a_planted_defect_is_found_by_name_and_nothing_else_is(path: Path, tmp_path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.must_find, f"{path} names no finding"
    ended = jetable("run", path, "--reports", tmp_path, "--seed", "1")
    (result,) = results(tmp_path)
    output = ended.stdout + ended.stderr
    worse = {finding["name"]: finding["verdict"] for finding in result["findings"] if finding["verdict"] != "pass"}
    failed = {name for name, verdict in worse.items() if verdict == "fail"}
    assert set(scenario.must_find) <= set(worse), f"found only {sorted(worse)}\n{output}"
    assert failed <= {*scenario.must_find, "expectation-failed", *BESIDE.get(path.stem, ())}, f"found {sorted(failed)}\n{output}"
    wanted = "unknown" if path.stem in UNKNOWN else "fail"
    assert (result["verdict"], ended.returncode) == (wanted, {"fail": 1, "unknown": 7}[wanted]), output
    metrics = {finding["metric"] for finding in result["findings"] if finding["name"] == "expectation-failed"}
    assert path.stem not in FAILS_ITS_OWN or metrics == {FAILS_ITS_OWN[path.stem]}, output
    assert not left_of(str(result["run_id"]))


def test_every_planted_defect_of_the_sample_app_has_a_scenario() -> None:
    from sample_apps.web.defects import DEFECTS

    text = "".join(path.read_text() for path in KNOWN_BAD)
    assert not [name for name in DEFECTS if f"DEFECT: {name}" not in text]
