"""Real runs that are compared with a stored one; the limits are so far away that chance decides nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live.commands import ROOT, Ended, jetable
from tests.live.processes import left_of

pytestmark = [pytest.mark.live, pytest.mark.slow]

MOST_TRIES = 8
STARTS = "startup_time p(50) <= baseline"


def scenario(folder: Path, *expect: str) -> Path:
    """The first scenario of the quickstart on processes, with little load and other expectations."""
    document = yaml.safe_load((ROOT / "scenarios/quickstart/1-graceful-stop.yaml").read_text())
    for key in ("build", "volumes"):
        del document["target"]["web"][key]
    document["target"]["web"]["replicas"] = 2
    document["load"] = {"rate": "10/s", "requests": ["GET /slow?ms=100"]}
    document["expect"] = list(expect)
    file = folder / "scenario.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def run(folder: Path, name: str, expect: str, *options: str | Path) -> tuple[Ended, Path]:
    """A run into ``name`` during which the harness did not stand still, since nothing is said of times then; and its own folder."""
    for _ in range(MOST_TRIES):
        ended = jetable("run", scenario(folder, expect), "--reports", folder / name, *options)
        run_folder = (folder / name / "latest").resolve()
        findings = json.loads((run_folder / "result.json").read_text())["findings"]
        if not any(finding["name"] == "harness-stalled" for finding in findings):
            return ended, run_folder
    pytest.skip("this machine lets the harness stand still again and again")


def expectation(run_folder: Path, text: str) -> dict[str, Any]:
    """The finding of the threshold ``text``."""
    findings = json.loads((run_folder / "result.json").read_text())["findings"]
    return next(finding for finding in findings if finding["title"].startswith(text))


def test_a_run_is_compared_with_a_stored_one_and_judged_the_same_when_that_is_gone(tmp_path: Path) -> None:
    without, main = run(tmp_path, "main", f"{STARTS} + 400%")
    assert without.code != 0, without.output
    assert expectation(main, STARTS)["name"] == "expectation-unknown"
    passed, higher = run(tmp_path, "higher", f"{STARTS} + 400%", "--baseline", tmp_path / "main/latest")
    failed, lower = run(tmp_path, "lower", f"{STARTS} - 99%", "--baseline", main)
    assert failed.code == 1, failed.output
    for run_folder, name in ((higher, "expectation-held"), (lower, "expectation-failed")):
        found = expectation(run_folder, STARTS)
        assert found["name"] == name
        assert "over 4 samples (baseline " in found["title"]
        assert str(main) in found["evidence"][-1]
    shutil.rmtree(tmp_path / "main")
    for ended, run_folder in ((passed, higher), (failed, lower)):
        before = json.loads((run_folder / "result.json").read_text())
        again = jetable("check", run_folder, "--reporter", f"json={tmp_path / 'again.json'}")
        assert again.code == ended.code, again.output
        assert json.loads((tmp_path / "again.json").read_text())["runs"] == [before]
    assert not [left for run_folder in (main, higher, lower) for left in left_of(run_folder.name)]
