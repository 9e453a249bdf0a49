"""Jetable's own share of a smoke run: the wall time of ``jetable run`` less what the app, its runtime and the scenario need.

``python benchmarks/engine_share.py [--scenario scenarios/quickstart/1-graceful-stop.yaml] [--rounds 5] [--engines process docker]`` runs
the scenario on each engine in turns, from the start of the command's process to its end, and takes it apart by its history:

* *steady*: the scenario's own waiting, as it is written;
* *app*: while replicas start, from the app's first instruction until it is healthy (the slowest of those that start together), and while
  they stop, from the signal to the exit;
* *runtime*: while replicas start, from the order to the app's first instruction: creating and starting a container, or forking;
* *jetable*: the rest. It is shown in four parts: *before* the first replica is asked for (the interpreter, imports, reading the scenario, a
  cached build, networks and volumes), *between* (waiting for a busy victim, the exit's news, probes, the load's start), *after* the last
  step (ending the load, killing what still runs, removing it) and *reports* (judging the history and writing reports).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import ENGINES, ROOT, Figure, Lived, Ran, lives, machine, ms, run, step_spans
from harness.clock import NS_PER_S
from harness.history import RunEnded
from harness.scenario import Scenario, Steady

QUICKSTART: Final = ROOT / "scenarios" / "quickstart" / "1-graceful-stop.yaml"
PARTS: Final = ("steady", "app", "runtime", "before", "between", "after", "reports")
OWN: Final = ("before", "between", "after", "reports")


def parts_of(ran: Ran) -> dict[str, int]:
    """The wall time of a run by parts, in nanoseconds; their sum is the whole."""
    spans = step_spans(ran.history.events)
    begin_ns, end_ns = min(begin for _, begin, _ in spans.values()), max(end for _, _, end in spans.values())
    run_end_ns = next(event.at_ns for event in ran.history.events if isinstance(event, RunEnded))
    steps = Scenario.model_validate_json(ran.history.header.scenario).steps
    steady = sum(step.options.duration.ns * step.repeat for step in steps if isinstance(step.options, Steady))
    app = runtime = 0
    for _, begin, end in spans.values():
        born = [life for life in lives(ran.history).values() if begin <= life.spawned_ns < end and life.healthy_ns]
        ended = [life for life in lives(ran.history).values() if begin <= life.signalled_ns < end]
        for slowest in _slowest(born):
            app += slowest.healthy_ns - slowest.running_ns
            runtime += slowest.running_ns - slowest.spawned_ns
        app += sum(life.exited_ns - life.signalled_ns for life in ended)
    return {
        "steady": steady,
        "app": app,
        "runtime": runtime,
        "before": begin_ns - ran.began_ns,
        "between": end_ns - begin_ns - steady - app - runtime,
        "after": run_end_ns - end_ns,
        "reports": ran.ended_ns - run_end_ns,
    }


def _slowest(born: list[Lived]) -> list[Lived]:
    """Of replicas that started at the same time the one that was healthy last; of those that did not overlap all."""
    found: list[Lived] = []
    for life in sorted(born, key=lambda life: life.spawned_ns):
        if found and life.spawned_ns < found[-1].healthy_ns:
            found[-1] = max(found[-1], life, key=lambda one: one.healthy_ns)
        else:
            found.append(life)
    return found


def measured(scenario: Path, rounds: int, engines: Sequence[str]) -> dict[str, list[dict[str, int]]]:
    """The parts of each run that came to its end, by engine; all engines in turns."""
    found: dict[str, list[dict[str, int]]] = {engine: [] for engine in engines}
    for number in range(rounds):
        for engine in engines:
            ran = run(scenario, engine, seed=number + 1)
            counted = any(isinstance(event, RunEnded) and event.how == "finished" for event in ran.history.events)
            if counted:
                found[engine].append(parts_of(ran))
            if ran.findings:
                told = f"{ran.verdict.name.lower()}, {', '.join(ran.findings)}"
                print(f"{engine}: {told}" if counted else f"{engine}: a run is not counted: {told}", flush=True)
    return found


def figures(engines: Sequence[str]) -> list[Figure]:
    """Jetable's own seconds of a smoke run."""
    rows = []
    for engine, runs in measured(QUICKSTART, rounds=3, engines=engines).items():
        walls_s = [sum(parts.values()) / NS_PER_S for parts in runs]
        rows.append(
            Figure(
                what=f"{engine}: Jetable's own share of a smoke run, s",
                goal="≤ 1" if engine == "process" else "",
                values=tuple(sum(parts[part] for part in OWN) / NS_PER_S for parts in runs),
                digits=2,
                peer=f"the whole run takes {statistics.median(walls_s):.1f} s" if walls_s else "",
                command=f"python benchmarks/engine_share.py --engines {engine}",
            )
        )
    return rows


def main() -> None:
    """Run all in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scenario", type=Path, default=QUICKSTART)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    options = parser.parse_args()
    print(machine(), flush=True)
    found = measured(options.scenario.resolve(), options.rounds, options.engines)
    print(f"{'median, ms':12}{'wall':>8}" + "".join(f"{part:>9}" for part in PARTS) + f"{'jetable':>9}{'share':>7}")
    for engine, runs in found.items():
        if not runs:
            continue
        wall = statistics.median(sum(parts.values()) for parts in runs)
        own = statistics.median(sum(parts[part] for part in OWN) for parts in runs)
        share = statistics.median(sum(parts[part] for part in OWN) / sum(parts.values()) for parts in runs)
        each = "".join(f"{ms(statistics.median(parts[part] for parts in runs)):9.0f}" for part in PARTS)
        print(f"{engine:12}{ms(wall):8.0f}{each}{ms(own):9.0f}{share:7.0%}")


if __name__ == "__main__":
    main()
