"""The harness is itself disposable: whatever ends it, nothing that it started is left, and what it recorded can be judged."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.dockerd import Daemon
from tests.live.processes import left_in, left_of, owner_label, wait_until

ROOT = Path(__file__).parent.parent.parent
SCENARIO = f"""
jetable: 1
name: a run to be cut off
target:
  web:
    command: ["{{python}}", -m, sample_apps.web]
    build: {{context: {ROOT / "sample_apps"}, dockerfile: web/Dockerfile}}
    volumes: [data:/data]
    replicas: 3
    healthcheck: /healthz
load:
  retries: 2
  requests:
    - GET /items/{{id}}
    - GET /slow?ms=50
steps:
  - steady: 500ms
  - kill: any
    repeat: 2
  - terminate: {{replica: any, endpoint_lag: 500ms}}
  - steady: LAST
"""
FOR_LONG = "20s"
GONE_WITHIN_S = 10
GONE_IN_DOCKER_WITHIN_S = 20
ON_EITHER_ENGINE = pytest.mark.parametrize("engine", ["process", pytest.param("docker", marks=pytest.mark.docker)])

pytestmark = [pytest.mark.slow, pytest.mark.live]


@contextmanager
def running(reports: Path, engine: str, last: str = FOR_LONG) -> Iterator[subprocess.Popen[bytes]]:
    """The harness on `SCENARIO`, whose last step takes ``last``; what it prints goes to a file beside ``reports``."""
    scenario = reports.parent / f"{reports.name}.yaml"
    scenario.write_text(SCENARIO.replace("LAST", last))
    command = [sys.executable, "-m", "harness", "run", str(scenario), "--engine", engine, "--reports", str(reports), "--seed", "1"]
    with output_of(reports).open("wb") as output, ctrl_c_heard():
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@contextmanager
def ctrl_c_heard() -> Iterator[None]:
    """What is started here hears SIGINT, even when these tests run in the background of a shell that ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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


def ledger(folder: Path) -> str:
    file = folder / "history/ops.jsonl"
    return file.read_bytes().rstrip(b"\0").decode(errors="replace") if file.exists() else ""


def await_load(reports: Path) -> Path:
    """Wait until users are at work; returns the run's folder."""

    def at_work() -> bool:
        folder = run_folder(reports)
        return folder is not None and '"load-began"' in ledger(folder)

    wait_until(at_work, within_s=40, why=lambda: output_of(reports).read_text())
    folder = run_folder(reports)
    assert folder is not None
    return folder


def killed_after(harness: subprocess.Popen[bytes], after_s: float, output: Path) -> str:
    """SIGKILL the harness at that instant; returns it as an owner of things."""
    deadline = time.monotonic() + after_s
    wait_until(lambda: time.monotonic() >= deadline or harness.poll() is not None, within_s=after_s + 5)
    assert harness.poll() is None, output.read_text()
    owner = owner_label(harness.pid)
    harness.kill()
    harness.wait()
    return owner


def assert_judged(folder: Path) -> None:
    """What a run that was cut off has recorded can be judged, and does not pass."""
    if not events(folder):
        return
    judged = check(folder)
    assert judged.returncode in (0, 1, 7), judged.stdout + judged.stderr
    if '"run-ended"' not in events(folder):
        assert judged.returncode != 0
        assert "incomplete" in judged.stdout


@pytest.mark.parametrize("number", range(10))
def test_nothing_is_left_after_sigkill_at_a_random_instant(number: int, tmp_path: Path) -> None:
    after_s = random.Random(number).uniform(0.05, 5.0)  # a fixed spread over start, load, faults and end
    with running(tmp_path, "process") as harness:
        killed_after(harness, after_s, output_of(tmp_path))
        folder = run_folder(tmp_path)
        if folder is None:
            return  # it died before it began
        wait_until(lambda: not left_of(folder.name), within_s=GONE_WITHIN_S, why=lambda: f"left: {left_of(folder.name)}")
    assert_judged(folder)


@pytest.mark.docker
@pytest.mark.parametrize("number", range(5))
def test_no_container_is_left_after_sigkill_at_a_random_instant(
    number: int, tmp_path: Path, daemon: Daemon, record_property: Callable[[str, object], None]
) -> None:
    after_s = random.Random(number).uniform(2.0 * number, 2.0 * number + 2.0)  # one in each stretch of the run, the image's build included
    with running(tmp_path, "docker") as harness:
        owner = killed_after(harness, after_s, output_of(tmp_path))
        died_s = time.monotonic()
        folder = run_folder(tmp_path)
        if folder is None:
            return  # it died before it began

        def left() -> list[str]:
            return left_of(folder.name) + left_in(daemon, folder.name, owner)

        wait_until(lambda: not left(), within_s=GONE_IN_DOCKER_WITHIN_S, why=lambda: f"killed after {after_s:.2f} s, left: {left()}")
        record_property("gone_after_s", round(time.monotonic() - died_s, 2))
    assert_judged(folder)


@ON_EITHER_ENGINE
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_of_the_harness_cleans_up_writes_and_exits_with_2(
    number: signal.Signals, engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with running(tmp_path, engine) as harness:
        folder = await_load(tmp_path)
        harness.send_signal(number)
        harness.wait(timeout=30)
    output = output_of(tmp_path).read_text()
    assert harness.returncode == 2, output
    assert not left_of(folder.name)
    assert engine == "process" or not left_in(request.getfixturevalue("daemon"), folder.name)
    assert json.loads((folder / "result.json").read_text())["verdict"] != "pass"
    assert "Traceback" not in output


@ON_EITHER_ENGINE
def test_a_run_beside_one_that_is_killed_passes_and_nothing_of_it_is_touched(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (killed := tmp_path / "killed").mkdir()
    (spared := tmp_path / "spared").mkdir()

    def left(folder: Path) -> list[str]:
        return left_of(folder.name) + (left_in(request.getfixturevalue("daemon"), folder.name) if engine == "docker" else [])

    with running(killed, engine) as victim, running(spared, engine, last="4s") as other:
        folder, folder_of_other = await_load(killed), await_load(spared)
        victim.kill()
        victim.wait()
        wait_until(lambda: not left(folder), within_s=GONE_IN_DOCKER_WITHIN_S, why=lambda: f"left: {left(folder)}")
        other.wait(timeout=60)
    assert other.returncode == 0, output_of(spared).read_text()
    assert not left(folder_of_other)
