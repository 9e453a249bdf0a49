"""What an hour-long run needs: memory of the load process and of the parent, and room on the disk, from two shorter runs.

``python benchmarks/memory_hour.py [--rate 500/s] [--seconds 15 45]`` runs the same scenario twice, a server that answers at once and a load
of a stated rate, and watches its processes. What grows with time is taken to go on growing as it did between the two, so a figure for an
hour is the longer run's, and the difference of the two for each second that is left. Memory is what is a process's own (RssAnon): the
ledger's pages belong to the file cache and can be taken back at any time.

* *load*: the process that sends requests, at the end of the load;
* *parent*: ``jetable run`` itself, at the end of the load;
* *judging*: its highest memory in all, which it reaches when it reads the history back and judges it;
* *history*: all files of the run's ``history`` folder.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil

from benchmarks.common import ROOT, Figure, machine
from harness.clock import NS_PER_S
from harness.history import LoadBegan, LoadEnded, read

SCENARIO: Final = """
jetable: 1
name: memory of a run
target:
  web:
    command: ["{{python}}", "{root}/benchmarks/load_throughput.py", --serve]
    replicas: 2
load:
  users: 50
  rate: {rate}
  requests:
    - GET /items/{{id}}
steps:
  - steady: {seconds}s
"""

MIB: Final = 1 << 20
HOUR_S: Final = 3600
EVERY_S: Final = 0.2
LONGEST_S: Final = 600.0
LOAD_MODULE: Final = "harness.load.child"
FIGURES: Final = ("load", "parent", "judging", "history")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one run needed, in bytes; ``load_s`` is how long its load lasted, ``requests`` how many it had."""

    load_s: float
    requests: int
    load: int
    parent: int
    judging: int
    history: int


def measured(rate: str, lengths_s: Sequence[float]) -> list[Needs]:
    """The needs of a run of each length."""
    return [_needs(rate, seconds) for seconds in sorted(lengths_s)]


def _needs(rate: str, seconds: float) -> Needs:
    with tempfile.TemporaryDirectory(prefix="benchmark-of-jetable-") as name:
        folder = Path(name)
        scenario = folder / "memory.yaml"
        scenario.write_text(SCENARIO.format(root=ROOT, rate=rate, seconds=f"{seconds:g}"))
        command = [sys.executable, "-m", "harness", "run", str(scenario), "--engine", "process", "--reports", str(folder / "reports")]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                own = watch(process)
            except BaseException:
                process.kill()  # its watchdog removes the run
                raise
        run = next(path for path in (folder / "reports").iterdir() if not path.is_symlink())
        history = read(run)
        began, ended = (next(event.at_ns for event in history.events if isinstance(event, kind)) for kind in (LoadBegan, LoadEnded))
        written = sum(path.stat().st_size for path in (run / "history").iterdir())
        return Needs(load_s=(ended - began) / NS_PER_S, requests=len(history.ops), history=written, **own)


def watch(process: subprocess.Popen[bytes]) -> dict[str, int]:
    """The last memory of the load and of the parent while the load runs, and the parent's highest, in bytes."""
    found = {"load": 0, "parent": 0, "judging": 0}
    deadline = time.monotonic() + LONGEST_S
    parent, load = psutil.Process(process.pid), None
    while process.poll() is None:
        assert time.monotonic() < deadline, "the run does not end"
        with suppress(psutil.Error, OSError, KeyError):  # what has ended has no memory any more
            load = load or next((child for child in parent.children() if LOAD_MODULE in child.cmdline()), None)
            own = memory_of(parent.pid)
            found["judging"] = max(found["judging"], own["VmHWM"] - own["RssFile"])
            if load is not None:
                found |= {"load": memory_of(load.pid)["RssAnon"], "parent": own["RssAnon"]}
        time.sleep(EVERY_S if load is None or load.is_running() else EVERY_S / 10)
    return found


def memory_of(pid: int) -> dict[str, int]:
    """The kernel's figures of a process's memory (proc(5), ``/proc/pid/status``), in bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    return {name: int(kib) << 10 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}


def in_an_hour(needs: Sequence[Needs], figure: str) -> float:
    """``figure`` of a run of an hour, on the line through the shortest and the longest of ``needs``; what shrank is taken to stay."""
    short, long = needs[0], needs[-1]
    slope = max(0, getattr(long, figure) - getattr(short, figure)) / (long.load_s - short.load_s)
    return float(getattr(long, figure) + slope * (HOUR_S - long.load_s))


def figures() -> list[Figure]:
    """MiB of an hour at 500 requests a second."""
    rate, needs = "500/s", measured("500/s", (15, 45))
    words = {
        "load": "memory of the load process",
        "parent": "memory of the parent while the load runs",
        "judging": "memory of the parent while it judges",
        "history": "history on the disk",
    }
    return [
        Figure(
            what=f"{words[figure]} after an hour at {rate}, MiB (extrapolated)",
            goal="",
            values=(in_an_hour(needs, figure) / MIB,),
            digits=0,
            peer=", ".join(f"{getattr(each, figure) / MIB:.1f} after {each.load_s:.0f} s" for each in needs),
            command="python benchmarks/memory_hour.py",
        )
        for figure in FIGURES
    ]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", default="500/s")
    parser.add_argument("--seconds", type=float, nargs="+", default=[15.0, 45.0])
    options = parser.parse_args()
    print(machine(), flush=True)
    needs = measured(options.rate, options.seconds)
    print(f"{'MiB':14}{'requests':>10}" + "".join(f"{name:>10}" for name in FIGURES))
    for each in needs:
        print(f"{f'{each.load_s:.1f} s':14}{each.requests:10}" + "".join(f"{getattr(each, name) / MIB:10.1f}" for name in FIGURES))
    if len(needs) > 1:
        print(f"{'an hour':14}{'':10}" + "".join(f"{in_an_hour(needs, name) / MIB:10.1f}" for name in FIGURES))


if __name__ == "__main__":
    main()
