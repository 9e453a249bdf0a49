"""What the benchmarks share: rows of the one table, runs of a scenario as a user starts them, judging of large histories, the machine."""

from __future__ import annotations

import compileall
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import msgspec
import psutil

from harness.clock import NS_PER_S
from harness.dockerd import connect
from harness.errors import JetableError
from harness.history import (
    EVENTS_FILE,
    FORMAT,
    Event,
    Exited,
    Header,
    History,
    PhaseReached,
    Signalled,
    Spawned,
    StepBegan,
    StepEnded,
    read,
)
from harness.run import judge_folder
from harness.scenario import Scenario
from harness.verdict import Verdict

ROOT: Final = Path(__file__).resolve().parents[1]
ENGINES: Final = ("process", "docker")

T = TypeVar("T")


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
    _compile()
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


@cache
def _compile() -> None:
    """Compile the checkout as pip compiles what it installs, whatever the environment says of bytecode."""
    for folder in ("harness", "sample_apps"):
        compileall.compile_dir(ROOT / folder, quiet=1)


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


# --- histories that are written and judged ----------------------------------------------------------------------------------

ZERO_NS: Final = 5_000_000_000_000
LEAST_S: Final = 0.01
"""What is quicker says nothing of how it grows."""

Judged: TypeAlias = dict[int, list[dict[str, float]]]
"""What each judging told of a history, by the history's size."""


def instant(seconds: float) -> int:
    """Nanoseconds of the clock so long after the first request or job."""
    return ZERO_NS + round(seconds * 1e9)


def write_events(history: Path, scenario: Mapping[str, object], events: Iterable[Event]) -> None:
    """Write ``events`` in order of time, with the header of a run of ``scenario`` that began a second before the zero."""
    header = Header(
        format=FORMAT,
        run_id="benchmark-000000",
        harness="0",
        engine="fake",
        seed=1,
        scenario=Scenario.model_validate(scenario).model_dump_json(),
        scenario_path="benchmark.yaml",
        started_ns=instant(-1),
        wall_start="",
    )
    encoder = msgspec.json.Encoder()
    lines = [header, *sorted(events, key=lambda event: event.at_ns)]
    (history / EVENTS_FILE).write_bytes(b"".join(encoder.encode(line) + b"\n" for line in lines))


def judged(benchmark: str, write: Callable[[Path, int], Mapping[str, int]], sizes: Sequence[int], rounds: int = 1) -> Judged:
    """What ``benchmark --judge FOLDER`` prints of a history of each size, each time in a process of its own.

    ``write`` writes a history into a folder, and tells what the checks must find there.

    Raises:
        SystemExit: They found another number.
    """
    found: Judged = {}
    for size in sorted(sizes):
        with tempfile.TemporaryDirectory(prefix="benchmark-of-jetable-") as folder:
            planted = write(Path(folder), size)
            for _ in range(rounds):
                done = subprocess.run([sys.executable, benchmark, "--judge", folder], check=True, capture_output=True, text=True)
                told = json.loads(done.stdout)
                found.setdefault(size, []).append(told)
                if {word: told[word] for word in planted} != planted:
                    raise SystemExit(f"in a history of {size} {planted} were planted, and the checks found {told}")
    return found


def exponent(found: Judged, name: str) -> float | None:
    """How ``name`` grows with the size: as its power; None where it is too quick to tell."""
    few, many = min(found), max(found)
    low, high = (min(each[name] for each in found[size]) for size in (few, many))
    return math.log(high / low) / math.log(many / few) if many > few and low >= LEAST_S else None


def print_judged(found: Judged, things: str, names: Sequence[str], others: str, row: Callable[[Mapping[str, float]], str]) -> None:
    """Print the seconds of ``names`` for each size, the columns of ``others``, which ``row`` fills, and how the seconds grow."""
    print(f"{f'{things}, s':>12}" + "".join(f"{name:>9}" for name in names) + others)
    for size, (told, *_) in found.items():
        print(f"{size:12}" + "".join(f"{told[name]:9.3f}" for name in names) + row(told))
    powers = [exponent(found, name) for name in names]
    print(f"{'growth':>12}" + "".join(f"{'' if power is None else f'{power:.2f}':>9}" for power in powers))


def highest_memory() -> int:
    """The highest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


# --- figures ----------------------------------------------------------------------------------------------------------------


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


def in_turns(contestants: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each contestant returned in each round, one after the other, so that what slows the machine down slows them all."""
    found: dict[str, list[T]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, measure in contestants.items():
            found[name].append(measure())
    return found


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
