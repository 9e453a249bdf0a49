"""The harness is itself disposable: whatever ends it, nothing that it started is left, and what it recorded can be judged."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.processes import left_of, wait_until

ROOT = Path(__file__).parent.parent.parent
SCENARIO = """
jetable: 1
name: a run to be cut off
target:
  web:
    command: ["{python}", -m, sample_apps.web]
    replicas: 3
    healthcheck: /healthz
load:
  requests:
    - GET /items/{id}
    - GET /slow?ms=50
steps:
  - steady: 500ms
  - kill: any
    repeat: 2
  - terminate: {replica: any, endpoint_lag: 500ms}
  - steady: 20s
"""
GONE_WITHIN_S = 10

pytestmark = [pytest.mark.slow, pytest.mark.live]


@contextmanager
def running(reports: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The harness on `SCENARIO`; what it prints goes to a file beside ``reports``."""
    scenario = reports.parent / f"{reports.name}.yaml"
    scenario.write_text(SCENARIO)
    command = [sys.executable, "-m", "harness", "run", str(scenario), "--reports", str(reports)]
    with output_of(reports).open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def output_of(reports: Path) -> Path:
    return reports.parent / f"{reports.name}-output.txt"


def run_folder(reports: Path) -> Path | None:
    folders = [path for path in reports.glob("*") if path.is_dir() and not path.is_symlink()]
    return folders[0] if folders else None


def events(folder: Path) -> str:
    file = folder / "history/events.jsonl"
    return file.read_text() if file.exists() else ""


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", "check", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("number", range(10))
def test_nothing_is_left_after_sigkill_at_a_random_instant(number: int, tmp_path: Path) -> None:
    after_s = random.Random(number).uniform(0.05, 5.0)  # a fixed spread over start, load, faults and end
    with running(tmp_path) as harness:
        deadline = time.monotonic() + after_s
        wait_until(lambda: time.monotonic() >= deadline or harness.poll() is not None, within_s=after_s + 5)
        assert harness.poll() is None, output_of(tmp_path).read_text()
        harness.kill()
        harness.wait()
        folder = run_folder(tmp_path)
        if folder is None:
            return  # it died before it began
        wait_until(lambda: not left_of(folder.name), within_s=GONE_WITHIN_S, why=lambda: f"left: {left_of(folder.name)}")
    if events(folder):
        judged = check(folder)
        assert judged.returncode in (0, 1, 7), judged.stdout + judged.stderr
        if '"run-ended"' not in events(folder):
            assert judged.returncode != 0
            assert "incomplete" in judged.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_of_the_harness_cleans_up_writes_and_exits_with_2(number: signal.Signals, tmp_path: Path) -> None:
    with running(tmp_path) as harness:
        wait_until(
            lambda: (folder := run_folder(tmp_path)) is not None and '"load-began"' in ledger(folder),
            within_s=30,
            why=lambda: output_of(tmp_path).read_text(),
        )
        harness.send_signal(number)
        harness.wait(timeout=30)
    output = output_of(tmp_path).read_text()
    assert harness.returncode == 2, output
    folder = run_folder(tmp_path)
    assert folder is not None
    assert not left_of(folder.name)
    assert json.loads((folder / "result.json").read_text())["verdict"] != "pass"
    assert "Traceback" not in output


def ledger(folder: Path) -> str:
    file = folder / "history/ops.jsonl"
    return file.read_bytes().rstrip(b"\0").decode(errors="replace") if file.exists() else ""
