"""What the benchmarks share: rows of the one table, whole runs of a scenario as a user starts them, quantiles, and what the machine is."""

from __future__ import annotations

import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from harness.clock import NS_PER_S
from harness.dockerd import connect
from harness.errors import JetableError
from harness.history import Event, Exited, History, PhaseReached, Signalled, Spawned, StepBegan, StepEnded, read
from harness.run import judge_folder
from harness.verdict import Verdict

ROOT: Final = Path(__file__).resolve().parents[1]
ENGINES: Final = ("process", "docker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One run of a scenario by the command line; ``began_ns`` and ``ended_ns`` are those of its process, by the clock of its history.

    ``logs`` holds what each replica wrote.
    """

    history: History
    verdict: Verdict
    findings: tuple[str, ...]
    logs: Mapping[str, str]
    began_ns: int
    ended_ns: int


def run(scenario: Path, engine: str, seed: int, meanwhile: AbstractContextManager[None] | None = None) -> Ran:
    """Run a scenario in a process of its own, ``meanwhile`` around it, and read what it recorded."""
    with tempfile.TemporaryDirectory(prefix="benchmark-of-jetable-") as folder:
        words = [sys.executable, "-m", "harness", "run", str(scenario), "--engine", engine, "--seed", str(seed), "--reports", folder]
        began_ns = time.monotonic_ns()
        with meanwhile or nullcontext():
            done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        ended_ns = time.monotonic_ns()
        runs = [path.parent for path in Path(folder).glob("*/history") if not path.parent.is_symlink()]
        if len(runs) != 1:
            raise SystemExit(f"the run left no history:\n{done.stdout}{done.stderr}")
        report = judge_folder(runs[0])
        return Ran(
            history=read(runs[0]),
            verdict=report.verdict,
            findings=tuple(finding.name for finding in report.findings if finding.verdict is not Verdict.PASS),
            logs={path.stem: path.read_text() for path in (runs[0] / "logs").glob("*.log")},
            began_ns=began_ns,
            ended_ns=ended_ns,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """What a replica's own events tell, in instants of nanoseconds; 0 for what never happened. ``exit_ns`` belongs to the first signal."""

    name: str
    replaces: str
    spawned_ns: int
    running_ns: int
    healthy_ns: int
    signalled_ns: int
    exited_ns: int


def lives(history: History) -> dict[str, Lived]:
    """All replicas of a run by name."""
    first: dict[tuple[str, str], int] = {}
    replaces: dict[str, str] = {}
    for event in history.events:
        match event:
            case Spawned():
                replaces[event.replica] = event.replaces
                first.setdefault((event.replica, "spawned"), event.at_ns)
            case PhaseReached():
                first.setdefault((event.replica, event.phase), event.at_ns)
            case Signalled() if event.delivered:
                first.setdefault((event.replica, "signalled"), event.at_ns)
            case Exited():
                first.setdefault((event.replica, "exited"), event.at_ns)
            case _:
                pass
    return {
        name: Lived(
            name=name,
            replaces=before,
            spawned_ns=first[name, "spawned"],
            running_ns=first.get((name, "running"), 0),
            healthy_ns=first.get((name, "healthy"), 0),
            signalled_ns=first.get((name, "signalled"), 0),
            exited_ns=first.get((name, "exited"), 0),
        )
        for name, before in replaces.items()
    }


def step_spans(events: Sequence[Event]) -> dict[int, tuple[str, int, int]]:
    """For each step its key, its begin and its end."""
    ends = {event.step: event.at_ns for event in events if isinstance(event, StepEnded)}
    return {event.step: (event.name, event.at_ns, ends[event.step]) for event in events if isinstance(event, StepBegan)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table of all benchmarks.

    Attributes:
        what: What was measured, the unit included.
        goal: What it should be, such as ``≤ 150``; empty where it is only told.
        values: One of each round, in no order; empty when it could not be measured.
        digits: Digits behind the point.
        peer: What it is to be compared with, measured in the same go.
        command: What repeats it alone.
    """

    what: str
    goal: str
    values: tuple[float, ...]
    digits: int
    peer: str
    command: str

    @property
    def verdict(self) -> str:
        """The goal, and whether the median meets it."""
        if not self.goal or not self.values:
            return self.goal
        sign, limit = self.goal.split()
        median = statistics.median(self.values)
        met = median <= float(limit) if sign == "≤" else median >= float(limit)
        return f"{self.goal}: {'met' if met else '**missed**'}"

    @property
    def measured(self) -> str:
        """The median, and the smallest and largest value where there are several."""
        if not self.values:
            return "not measured"
        median, low, high = (f"{value:,.{self.digits}f}".replace(",", " ") for value in _summary(self.values))
        return median if len(self.values) == 1 else f"{median} ({low} to {high})"


def _summary(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that at least ``share`` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def ms(nanoseconds: float) -> float:
    """Milliseconds."""
    return nanoseconds / (NS_PER_S / 1000)


def machine() -> str:
    """One line that says on what this was measured, and how busy that was."""
    memory_gib = psutil.virtual_memory().total / 2**30
    model = "unknown processor"
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return (
        f"{psutil.cpu_count()} cores ({model}), {memory_gib:.0f} GiB, Linux {platform.release().partition('-')[0]}, "
        f"Python {platform.python_version()}, {_docker()}, load average {os.getloadavg()[0]:.1f}"
    )


def _docker() -> str:
    try:
        daemon = connect()
    except JetableError:
        return "no Docker"
    try:
        return f"Docker {daemon.version}"
    finally:
        daemon.close()
