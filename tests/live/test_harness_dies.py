"""The harness is itself disposable: whatever ends it, nothing that it started is left, and what it recorded can be judged.

``JETABLE_INSTANTS=50`` tries so many random instants for a SIGKILL on each engine, instead of some.
"""

from __future__ import annotations

import os
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
from tests.live.commands import TRIES, is_the_machines
from tests.live.harnesses import ROOT, await_event, await_load, events, events_of, output_of, result_of, run_folder, running
from tests.live.processes import left_by, left_in, left_of, owner_label, wait_until

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
DISTURBED = f"""
jetable: 1
name: a run to be stopped while something is taken away
target:
  web:
    build: {{context: {ROOT / "sample_apps"}, dockerfile: web/Dockerfile}}
    volumes: [data:/data]
    mem_limit: 256m
    replicas: 2
    healthcheck: /healthz
load:
  requests:
    - GET /items/{{id}}
steps:
  - STEP
"""
DISTURBANCES = {
    "pause": "pause: {replica: any, for: 60s}",
    "network": "cut_network: {replica: any, for: 60s}",
    "memory": "squeeze_memory: {replica: any, to: 200m, for: 60s}",
}
"""What is taken away, in the words of the history, and the step that does it for longer than any test waits."""

INSTANTS = int(os.environ.get("JETABLE_INSTANTS", "0"))
STRETCHES = 5
GONE_WITHIN_S = 10
GONE_IN_DOCKER_WITHIN_S = 20
ON_EITHER_ENGINE = pytest.mark.parametrize("engine", ["process", pytest.param("docker", marks=pytest.mark.docker)])

pytestmark = [pytest.mark.slow, pytest.mark.live]


@contextmanager
def started(reports: Path, engine: str, last: str = FOR_LONG) -> Iterator[subprocess.Popen[bytes]]:
    """The harness on `SCENARIO`, whose last step takes ``last``."""
    scenario = reports.parent / f"{reports.name}.yaml"
    scenario.write_text(SCENARIO.replace("LAST", last))
    with running(scenario, reports, engine) as process:
        yield process


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", "check", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


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


@pytest.mark.parametrize("number", range(INSTANTS or 10))
def test_nothing_is_left_after_sigkill_at_a_random_instant(number: int, tmp_path: Path) -> None:
    after_s = random.Random(number).uniform(0.05, 5.0)  # a fixed spread over start, load, faults and end
    with started(tmp_path, "process") as harness:
        killed_after(harness, after_s, output_of(tmp_path))
        folder = run_folder(tmp_path)
        if folder is None:
            return  # it died before it began
        wait_until(lambda: not left_of(folder.name), within_s=GONE_WITHIN_S, why=lambda: f"left: {left_of(folder.name)}")
    assert_judged(folder)


@pytest.mark.docker
@pytest.mark.parametrize("number", range(INSTANTS or STRETCHES))
def test_no_container_is_left_after_sigkill_at_a_random_instant(
    number: int, tmp_path: Path, daemon: Daemon, record_property: Callable[[str, object], None]
) -> None:
    stretch = 2.0 * (number % STRETCHES)  # of the run, the image's build included
    after_s = random.Random(number).uniform(stretch, stretch + 2.0)
    with started(tmp_path, "docker") as harness:
        owner = killed_after(harness, after_s, output_of(tmp_path))
        died_s = time.monotonic()
        folder = run_folder(tmp_path)

        def left() -> list[str]:
            return (left_of(folder.name) if folder else []) + left_by(daemon, owner)

        if folder is None:  # it died before it began, and before anything could be made there must be a watchdog
            assert not left()
            return
        wait_until(lambda: not left(), within_s=GONE_IN_DOCKER_WITHIN_S, why=lambda: f"killed after {after_s:.2f} s, left: {left()}")
        record_property("gone_after_s", round(time.monotonic() - died_s, 2))
    assert_judged(folder)


@ON_EITHER_ENGINE
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_of_the_harness_cleans_up_writes_and_exits_with_2(
    number: signal.Signals, engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with started(tmp_path, engine) as harness:
        folder = await_load(tmp_path)
        harness.send_signal(number)
        harness.wait(timeout=30)
    output = output_of(tmp_path).read_text()
    assert harness.returncode == 2, output
    assert not left_of(folder.name)
    assert engine == "process" or not left_in(request.getfixturevalue("daemon"), folder.name)
    assert result_of(folder)["verdict"] != "pass"
    assert "Traceback" not in output


@pytest.mark.docker
@pytest.mark.parametrize("what", DISTURBANCES)
def test_a_stop_of_the_harness_gives_back_what_it_had_taken_from_a_replica(what: str, tmp_path: Path, daemon: Daemon) -> None:
    scenario, reports = tmp_path / "scenario.yaml", tmp_path / "reports"
    scenario.write_text(DISTURBED.replace("STEP", DISTURBANCES[what]))
    with running(scenario, reports, "docker") as harness:
        folder = await_event(harness, reports, "disturbed", what=what)
        harness.send_signal(signal.SIGINT)
        harness.wait(timeout=30)
    output = output_of(reports).read_text()
    assert harness.returncode == 2, output
    assert "Traceback" not in output
    (disturbed,), (restored,) = events_of(folder, "disturbed"), events_of(folder, "restored")
    assert (disturbed["replica"], disturbed["what"]) == (restored["replica"], restored["what"])
    assert "delivered" not in disturbed | restored  # what is as usual is not written
    assert restored["at_ns"] >= disturbed["until_ns"]
    assert not [event for event in events_of(folder, "exited") if event["at_ns"] < restored["until_ns"]]
    wait_until(lambda: not left_in(daemon, folder.name), within_s=GONE_IN_DOCKER_WITHIN_S, why=lambda: str(left_in(daemon, folder.name)))
    assert not left_of(folder.name)


@ON_EITHER_ENGINE
def test_a_run_beside_one_that_is_killed_passes_and_nothing_of_it_is_touched(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    def left(folder: Path) -> list[str]:
        return left_of(folder.name) + (left_in(request.getfixturevalue("daemon"), folder.name) if engine == "docker" else [])

    def await_nothing(folder: Path) -> None:
        wait_until(lambda: not left(folder), within_s=GONE_IN_DOCKER_WITHIN_S, why=lambda: f"left: {left(folder)}")

    for number in range(TRIES):
        (killed := tmp_path / f"killed-{number}").mkdir()
        (spared := tmp_path / f"spared-{number}").mkdir()
        with started(killed, engine) as victim, started(spared, engine, last="4s") as other:
            folder, folder_of_other = await_load(killed), await_load(spared)
            victim.kill()
            victim.wait()
            await_nothing(folder)
            other.wait(timeout=60)
        assert not left(folder_of_other)
        if not is_the_machines(other.returncode, result_of(folder_of_other)):
            break
    assert other.returncode == 0, output_of(spared).read_text()
