"""The error of a run's phases: what the history says, beside an app that stamps the same clock itself.

``python benchmarks/engine_phases.py [--stops 60] [--rounds 1] [--engines process docker]`` runs a real scenario under load on each engine
in turns: two replicas of `benchmarks/stamping_app.py`, one of them terminated again and again. CLOCK_MONOTONIC is one for a machine, its
containers included, so both sides can be subtracted. The table says for each phase by how many milliseconds the history is later than the
app's stamp; p50, p99 and max are of the absolute values.

Two rows are no error alone. The app's first line comes after its interpreter has started, so *running* is that much earlier; and after the
stamp before ``_exit()`` the app writes its stamps and the kernel takes its memory down, so *exited* is that much later.

The row *control* is what the machine itself does to anything that is timed on it: how late a thread wakes that sleeps for a millisecond
again and again meanwhile. Where that is as late as the phases, the machine was busy, and the figures say nothing of Jetable. With
``--realtime`` the kernel prefers Jetable, and the app where that is a process, to all else (SCHED_RR, which takes root): for a machine that
others use, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import ENGINES, ROOT, Figure, Ran, machine, ms, quantile, run
from harness.clock import NS_PER_S
from harness.history import Exited, PhaseReached, Signalled

SCENARIO: Final = """
jetable: 1
name: phases
target:
  web:
    image: python:3.11-slim-bookworm
    command: ["{{python}}", {place}/stamping_app.py]
    environment: {{HOST: {host}}}
    volumes: ["{folder}:/benchmarks:ro"]
    replicas: 2
    healthcheck: {{tcp: true}}
load:
  users: 4
  requests:
    - GET /
steps:
  - terminate: any
    repeat: {stops}
"""

CONTROL_NS: Final = 1_000_000

PHASES: Final = {
    "running, to the first line": ("running", "first"),
    "listening": ("listening", "listening"),
    "signalled, to the handler": ("signalled", "signalled"),
    "stopped listening": ("stopped-listening", "closed"),
    "exited, from before _exit()": ("exited", "exiting"),
}
"""What each row compares: a phase of the history and a stamp of the app."""

ERRORS: Final = ("listening", "signalled, to the handler", "stopped listening", "exited, from before _exit()")
"""The rows without what an interpreter takes to start."""

CONTROL: Final = "control"

STOPS: Final = {"process": 40, "docker": 25}
"""How many are enough for the one table; containers take longer."""


def stamps_of(log: str) -> dict[str, int]:
    """The app's own instants."""
    words = [line.split() for line in log.splitlines() if line.startswith("stamp ")]
    return {name: int(at_ns) for _, name, at_ns in words}


def recorded(ran: Ran) -> dict[str, dict[str, int]]:
    """The history's instants of each replica by phase, the first of each."""
    found: dict[str, dict[str, int]] = {}
    for event in ran.history.events:
        match event:
            case PhaseReached():
                found.setdefault(event.replica, {}).setdefault(event.phase, event.at_ns)
            case Signalled() if event.purpose == "terminate":
                found.setdefault(event.replica, {}).setdefault("signalled", event.at_ns)
            case Exited():
                found.setdefault(event.replica, {}).setdefault("exited", event.at_ns)
            case _:
                pass
    return found


def compare(ran: Ran) -> dict[str, list[int]]:
    """How late the history is, of all replicas that stamped their end."""
    late: dict[str, list[int]] = {row: [] for row in PHASES}
    for replica, phases in recorded(ran).items():
        stamps = stamps_of(ran.logs.get(replica, ""))
        for row, (phase, stamp) in PHASES.items():
            if phase in phases and stamp in stamps:
                late[row].append(phases[phase] - stamps[stamp])
    return late


@contextmanager
def control(late: list[int]) -> Iterator[None]:
    """Note meanwhile by how many nanoseconds a sleep is too long."""
    over = threading.Event()

    def body() -> None:
        while not over.is_set():
            begin_ns = time.monotonic_ns()
            time.sleep(CONTROL_NS / NS_PER_S)
            late.append(time.monotonic_ns() - begin_ns - CONTROL_NS)

    thread = threading.Thread(target=body)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def measured(stops: int, rounds: int, engines: Sequence[str]) -> dict[str, dict[str, list[int]]]:
    """How late the history is, by engine and row, and how late a thread wakes meanwhile; all engines in turns."""
    late: dict[str, dict[str, list[int]]] = {engine: {row: [] for row in (*PHASES, CONTROL)} for engine in engines}
    with tempfile.TemporaryDirectory(prefix="benchmark-of-jetable-") as name:
        for number in range(rounds):
            for engine in engines:
                meanwhile = control(late[engine][CONTROL])
                ran = run(_scenario(Path(name), engine, stops), engine, number + 1, meanwhile)
                for row, values in compare(ran).items():
                    late[engine][row] += values
    return late


def figures(engines: Sequence[str]) -> list[Figure]:
    """The p99 of each phase that is an error alone."""
    return [_figure(engine, measured(stops=STOPS[engine], rounds=1, engines=[engine])[engine]) for engine in engines]


def _figure(engine: str, late: dict[str, list[int]]) -> Figure:
    woken = quantile([abs(value) for value in late[CONTROL]], 0.99) if late[CONTROL] else 0
    return Figure(
        what=f"{engine}: error of a phase, its 99th percentile, ms (median, least and most of {len(ERRORS)} phases)",
        goal="≤ 2" if engine == "process" else "≤ 5",
        values=tuple(ms(quantile([abs(value) for value in late[row]], 0.99)) for row in ERRORS if late[row]),
        digits=2,
        peer=f"a thread that sleeps 1 ms wakes {ms(woken):.2f} late",
        command=f"python benchmarks/engine_phases.py --engines {engine}",
    )


def main() -> None:
    """Run all in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stops", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--realtime", action="store_true")
    options = parser.parse_args()
    if options.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))  # what is started from here inherits it
    print(machine() + (", SCHED_RR" if options.realtime else ""), flush=True)
    late = measured(options.stops, options.rounds, options.engines)
    print(f"{'ms':38}{'n':>7}{'earliest':>10}{'median':>9}{'latest':>9}{'p50':>9}{'p99':>9}{'max':>9}")
    for engine, rows in late.items():
        for row, values in rows.items():
            print(f"{engine:8}{row:30}{_figures(values)}")


def _scenario(folder: Path, engine: str, stops: int) -> Path:
    place, host = (ROOT / "benchmarks", "127.0.0.1") if engine == "process" else ("/benchmarks", "0.0.0.0")  # noqa: S104  in a container
    path = folder / f"{engine}.yaml"
    path.write_text(SCENARIO.format(place=place, host=host, folder=ROOT / "benchmarks", stops=stops))
    return path


def _figures(late: list[int]) -> str:
    if not late:
        return f"{0:7}"
    sizes = [abs(value) for value in late]
    signed = (min(late), statistics.median(late), max(late), statistics.median(sizes), quantile(sizes, 0.99), max(sizes))
    return f"{len(late):7}" + "".join(f"{ms(value):{width}.2f}" for value, width in zip(signed, (10, 9, 9, 9, 9, 9), strict=True))


if __name__ == "__main__":
    main()
