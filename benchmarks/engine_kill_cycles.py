"""Verified kill cycles a minute: three replicas of gunicorn under load, one of them killed again and again.

``python benchmarks/engine_kill_cycles.py [--cycles 20] [--rounds 3] [--engines process docker]`` plays the same scenario on each engine in
turns, as ``jetable run`` does, and prints a table. A cycle is verified: a request was in flight on the victim by the ledger, SIGKILL was
delivered, the kernel told of the exit, and the replacement was healthy; only cycles of runs that *passed* count. A minute is 60 seconds
of the steps that killed, from their first instant to their last.

Beside it stands what no harness could do without: what the victim took to end and the replacement to be healthy, and how much of that is
the container's, before the app's first instruction. The rest of a cycle is Jetable's: waiting for a busy victim, the exit's news, the
probe.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import ENGINES, ROOT, Figure, Ran, lives, machine, ms, quantile, run, step_spans
from harness.clock import NS_PER_S
from harness.history import Signalled
from harness.verdict import Verdict

SCENARIO = """
jetable: 1
name: kill cycles
target:
  web:
    command: ["{{python}}", -m, sample_apps.web]
    build: {{context: {root}/sample_apps, dockerfile: web/Dockerfile}}
    volumes: [data:/data]
    replicas: 3
    healthcheck: /healthz
load:
  users: 10
  think_time: 5ms
  retries: 5
  requests:
    - GET /items/{{id}}
    - request: GET /slow?ms=200
      weight: 2
steps:
  - steady: 500ms
  - kill: any
    repeat: {cycles}
  - steady: 500ms
expect:
  - dropped_requests == 0
  - busy_faults == {cycles}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One step that killed, in nanoseconds. ``runtime``: from the order to create to the app's first instruction."""

    whole: int
    end: int
    runtime: int
    app: int

    @property
    def rest(self) -> int:
        """What neither the app nor the runtime took."""
        return self.whole - self.end - self.runtime - self.app


def cycles_of(ran: Ran) -> list[Cycle]:
    """The complete cycles of a run."""
    found = []
    by_name = lives(ran.history)
    replacement = {life.replaces: life for life in by_name.values() if life.replaces}
    victims = {event.step: event.replica for event in ran.history.events if isinstance(event, Signalled) and event.purpose == "kill"}
    for step, (name, begin_ns, end_ns) in step_spans(ran.history.events).items():
        if name != "kill" or victims.get(step) not in replacement:
            continue
        victim, new = by_name[victims[step]], replacement[victims[step]]
        if victim.exited_ns and new.healthy_ns:
            found.append(
                Cycle(
                    whole=end_ns - begin_ns,
                    end=victim.exited_ns - victim.signalled_ns,
                    runtime=new.running_ns - new.spawned_ns,
                    app=new.healthy_ns - new.running_ns,
                )
            )
    return found


def measured(cycles: int, rounds: int, engines: Sequence[str]) -> dict[str, list[list[Cycle]]]:
    """The cycles of each run that passed, by engine; all engines in turns."""
    found: dict[str, list[list[Cycle]]] = {engine: [] for engine in engines}
    with tempfile.TemporaryDirectory(prefix="benchmark-of-jetable-") as folder:
        scenario = Path(folder) / "kill-cycles.yaml"
        scenario.write_text(SCENARIO.format(root=ROOT, cycles=cycles))
        for number in range(rounds):
            for engine in engines:
                ran = run(scenario, engine, seed=number + 1)
                if ran.verdict is Verdict.PASS:
                    found[engine].append(cycles_of(ran))
                else:
                    print(f"{engine}: a run is not counted: {ran.verdict.name.lower()}, {', '.join(ran.findings)}", flush=True)
    return found


def a_minute(cycles: Sequence[Cycle], *, without_rest: bool = False) -> float:
    """Cycles a minute, or what they would be if the app and its runtime were all that takes time."""
    return 60 * NS_PER_S * len(cycles) / sum(cycle.whole - cycle.rest * without_rest for cycle in cycles)


def figures(engines: Sequence[str]) -> list[Figure]:
    """Verified cycles a minute, run by run."""
    rows = []
    for engine, runs in measured(cycles=20, rounds=3, engines=engines).items():
        every = [cycle for cycles in runs for cycle in cycles]
        rows.append(
            Figure(
                what=f"{engine}: verified kill cycles a minute, 3 replicas of gunicorn",
                goal="≥ 100" if engine == "process" else "≥ 50",
                values=tuple(a_minute(cycles) for cycles in runs),
                digits=0,
                peer=f"{a_minute(every, without_rest=True):.0f} if only the app and its runtime took time" if every else "",
                command=f"python benchmarks/engine_kill_cycles.py --engines {engine}",
            )
        )
    return rows


def main() -> None:
    """Run all in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    options = parser.parse_args()
    print(machine(), flush=True)
    found = measured(options.cycles, options.rounds, options.engines)
    print(f"{'':9}{'runs':>6}{'cycles':>8}{'a minute':>10}{'cycle':>10}{'p95':>9}{'end':>8}{'runtime':>9}{'app':>8}{'rest':>8}{'bound':>7}")
    for engine, runs in found.items():
        print(_row(engine, runs) if any(runs) else f"{engine:9}{0:6}")
    print("cycle, end, runtime, app, rest: medians in ms; bound: cycles a minute if the rest were nothing")


def _row(engine: str, runs: list[list[Cycle]]) -> str:
    cycles = [cycle for cycles in runs for cycle in cycles]
    rate, bound = a_minute(cycles), a_minute(cycles, without_rest=True)
    median = [ms(statistics.median(getattr(cycle, name) for cycle in cycles)) for name in ("whole", "end", "runtime", "app", "rest")]
    p95 = ms(quantile([cycle.whole for cycle in cycles], 0.95))
    return (
        f"{engine:9}{len(runs):6}{len(cycles):8}{rate:10.0f}{median[0]:10.0f}{p95:9.0f}"
        f"{median[1]:8.1f}{median[2]:9.1f}{median[3]:8.1f}{median[4]:8.1f}{bound:7.0f}"
    )


if __name__ == "__main__":
    main()
