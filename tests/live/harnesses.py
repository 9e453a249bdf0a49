"""What tests of a harness that is watched from outside share: starting one, following what it records, and judging what it left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.live.processes import wait_until

ROOT = Path(__file__).parent.parent.parent
BEGUN_WITHIN_S = 40


@contextmanager
def running(scenario: Path, reports: Path, engine: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """The harness on ``scenario``; what it prints goes to a file beside ``reports``, and it is killed at the end if it still runs."""
    command = [sys.executable, "-m", "harness", "run", str(scenario), "--engine", engine, "--reports", str(reports), "--seed", "1"]
    surroundings = {**os.environ, "NO_COLOR": "1", **environment}
    with output_of(reports).open("wb") as output, ctrl_c_heard():
        process = subprocess.Popen(command, cwd=ROOT, env=surroundings, stdout=output, stderr=output, start_new_session=True)
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


def events_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The events of one kind that are recorded so far; a line that is just being written does not count."""
    whole, _, _ = events(folder).rpartition("\n")
    return [event for event in map(json.loads, whole.splitlines()) if event["kind"] == kind]


def ledger(folder: Path) -> str:
    file = folder / "history/ops.jsonl"
    return file.read_bytes().rstrip(b"\0").decode(errors="replace") if file.exists() else ""


def await_event(harness: subprocess.Popen[bytes], reports: Path, kind: str, **says: object) -> Path:
    """Wait until such an event is recorded, or fail when the harness ends before; returns the run's folder."""

    def recorded() -> bool:
        folder = run_folder(reports)
        if folder is not None and any(says.items() <= event.items() for event in events_of(folder, kind)):
            return True
        assert harness.poll() is None, output_of(reports).read_text()
        return False

    wait_until(recorded, within_s=BEGUN_WITHIN_S, why=lambda: output_of(reports).read_text())
    folder = run_folder(reports)
    assert folder is not None
    return folder


def await_load(reports: Path) -> Path:
    """Wait until users are at work; returns the run's folder."""

    def at_work() -> bool:
        folder = run_folder(reports)
        return folder is not None and '"load-began"' in ledger(folder)

    wait_until(at_work, within_s=BEGUN_WITHIN_S, why=lambda: output_of(reports).read_text())
    folder = run_folder(reports)
    assert folder is not None
    return folder


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found
