"""A ledger of a million jobs, read and judged: seconds of CPU and memory of the judging on top of the reading, and how they grow.

``python benchmarks/judge_jobs.py [--jobs 100000 1000000]`` writes histories as a run would have: three workers, 2000 jobs a second, each
submitted, answered, started, finished and done, and every 5 seconds a SIGKILL. What is in hand then is, in turns, begun again by another
worker, has its effect twice, or is lost. Each history is read and judged in a process of its own. The last line is the exponent of the
growth between the smallest and the largest: 1 is proportional.

It is known how many jobs were lost, duplicated and redelivered, and the benchmark fails when the checks find another number.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.common import Figure, exponent, highest_memory, instant, judged, machine, print_judged, write_events
from harness.checks import CHECKS
from harness.checks.summary import summarise
from harness.history import (
    Drained,
    Event,
    Exited,
    PhaseReached,
    RunEnded,
    Signalled,
    Spawned,
    StepBegan,
    StepEnded,
    read,
)
from harness.job_history import JOBS_FILE

RATE_PER_S: Final = 2000
WORKERS: Final = 3
KILL_EVERY_S: Final = 5.0
BACK_AFTER_S: Final = 0.3
WORK_S: Final = 0.02
AGAIN_S: Final = 1.0

FATES: Final = ("redelivered", "duplicated", "lost")


def write(folder: Path, jobs: int) -> dict[str, int]:
    """Write a history of so many jobs, and say what became of those that a kill met."""
    length_s = jobs / RATE_PER_S
    kills = [(number + 0.5) * KILL_EVERY_S for number in range(int(length_s / KILL_EVERY_S))]
    history = folder / "history"
    history.mkdir(parents=True)
    planted = _write_jobs(history / JOBS_FILE, jobs, kills)
    write_events(history, _scenario(len(kills)), _events(length_s, kills))
    return planted


def _scenario(kills: int) -> dict[str, object]:
    return {
        "jetable": 1,
        "name": "a million jobs",
        "target": {"worker": {"command": ["app"], "replicas": WORKERS}},
        "services": {"redis": {}},
        "jobs": {
            "rate": f"{RATE_PER_S}/s",
            "done": {"key": "done"},
            "log": {"started": "job {job} started", "finished": "job {job} finished"},
            "idempotent": True,
        },
        "steps": [{"kill": "oldest"}] * kills or [{"steady": "1s"}],
    }


def _events(length_s: float, kills: Sequence[float]) -> Iterator[Event]:
    yield StepBegan(at_ns=instant(-1), step=0, name="start", text="start the target")
    for place in range(WORKERS):
        yield from _start(f"worker.{place + 1}", -0.9, 0, "")
    yield StepEnded(at_ns=instant(0), step=0)
    for number, at_s in enumerate(kills):
        victim, heir = f"worker.{number + 1}", f"worker.{number + 1 + WORKERS}"
        yield StepBegan(at_ns=instant(at_s - 0.001), step=number + 1, name="kill", text="kill oldest")
        given = {"signal": "SIGKILL", "purpose": "kill", "wants_busy": True, "when": "job-started", "in_flight": 5}
        yield Signalled(at_ns=instant(at_s), until_ns=instant(at_s) + 50_000, step=number + 1, replica=victim, **given)  # type: ignore[arg-type]
        yield Exited(at_ns=instant(at_s + 0.001), replica=victim, status=137, commanded=True)
        yield from _start(heir, at_s + BACK_AFTER_S - 0.11, number + 1, victim)
        yield StepEnded(at_ns=instant(at_s + BACK_AFTER_S), step=number + 1)
    yield Drained(at_ns=instant(length_s + 5), began_ns=instant(length_s), whole=True)
    yield RunEnded(at_ns=instant(length_s + 6), how="finished")


def _start(replica: str, at_s: float, step: int, replaces: str) -> Iterator[Event]:
    yield Spawned(at_ns=instant(at_s), step=step, replica=replica, process="worker", command="app", pid=1, replaces=replaces)
    for phase, after_s in (("running", 0.002), ("healthy", 0.11)):
        yield PhaseReached(at_ns=instant(at_s + after_s), replica=replica, phase=phase)


def _write_jobs(path: Path, jobs: int, kills: Sequence[float]) -> dict[str, int]:
    """The ledger, in the order of what happened; how many jobs the kills met, by what became of them."""
    begun_s = np.arange(jobs) / RATE_PER_S + 0.001
    place = np.random.default_rng(1).integers(0, WORKERS, jobs)
    worker = place + 1
    fate = np.full(jobs, -1)
    for number, at_s in enumerate(kills):
        later = (place == number % WORKERS) & (begun_s >= at_s)
        worker[later] = number + 1 + WORKERS
        worker[later & (begun_s < at_s + BACK_AFTER_S)] = number + 2  # the one that is killed next
        fate[(worker == number + 1) & (begun_s < at_s) & (begun_s + WORK_S > at_s)] = number % len(FATES)
    with path.open("w") as file:
        lines = 0
        waiting: list[tuple[int, str]] = []
        for first in range(0, jobs, 20_000):
            some = range(first, min(jobs, first + 20_000))
            told = [line for job in some for line in _job(job, float(begun_s[job]), int(worker[job]), int(fate[job]))]
            told = sorted([*waiting, *told])
            until_ns = instant(some[-1] / RATE_PER_S)
            waiting = [line for line in told if line[0] > until_ns]
            file.writelines(line for at_ns, line in told if at_ns <= until_ns)
            lines += len(told) - len(waiting)
        file.writelines(line for _, line in waiting)
        file.write(f'{{"kind":"jobs-closed","at_ns":{instant(jobs / RATE_PER_S + 5.5)},"lines":{lines + len(waiting)}}}\n')
    return {word: int(np.count_nonzero(fate == code)) for code, word in enumerate(FATES)}


def _job(job: int, begun_s: float, worker: int, fate: int) -> Iterator[tuple[int, str]]:
    """The lines of one job, as `harness.history.EventWriter` writes them."""
    put_ns, begun_ns, done_ns = instant(begun_s - 0.0008), instant(begun_s), instant(begun_s + WORK_S)
    yield put_ns, f'{{"kind":"job-submitted","job":{job},"at_ns":{put_ns},"step":1}}\n'
    yield put_ns + 300_000, f'{{"kind":"job-answered","job":{job},"at_ns":{put_ns + 300_000},"answer":"acknowledged"}}\n'
    yield begun_ns, _seen(job, begun_ns, "started", worker)
    if fate < 0:
        yield done_ns, _seen(job, done_ns, "finished", worker)
        yield done_ns + 1, _done(job, done_ns + 1, 1)
        return
    effects = 0
    if FATES[fate] == "duplicated":
        effects = 1
        yield begun_ns + 1, _done(job, begun_ns + 1, effects)
    if FATES[fate] != "lost":
        again_ns = begun_ns + round(AGAIN_S * 1e9)
        yield again_ns, _seen(job, again_ns, "started", worker + 1)
        yield again_ns + 20_000_000, _seen(job, again_ns + 20_000_000, "finished", worker + 1)
        yield again_ns + 20_000_001, _done(job, again_ns + 20_000_001, effects + 1)


def _seen(job: int, at_ns: int, what: str, worker: int) -> str:
    return f'{{"kind":"job-seen","job":{job},"at_ns":{at_ns},"what":"{what}","replica":"worker.{worker}"}}\n'


def _done(job: int, at_ns: int, effects: int) -> str:
    more = f',"effects":{effects}' if effects > 1 else ""
    return f'{{"kind":"job-done","job":{job},"at_ns":{at_ns},"since_ns":{at_ns - 20_000_000}{more}}}\n'


# --- judging ----------------------------------------------------------------------------------------------------------------


def judge(folder: Path) -> dict[str, float]:
    """Seconds of CPU of reading and of judging, what was found, and this process's highest memory in bytes after each."""
    begin = time.process_time()
    history = read(folder)
    took = {"read": time.process_time() - begin, "memory_read": highest_memory()}
    begin = time.process_time()
    for check in CHECKS.values():
        check(history)
    told = summarise(history).jobs
    took["judge"] = time.process_time() - begin
    memory = highest_memory() - took["memory_read"]
    if told is None or told.lost is None:
        raise SystemExit("nothing was known of the jobs")
    return {**took, "memory": memory, "lost": told.lost, "duplicated": told.duplicated, "redelivered": told.redelivered}


def figures() -> list[Figure]:
    """Judging a million: its time and its memory on top of the reading, and how its time grows."""
    found = judged(__file__, write, (100_000, 1_000_000), rounds=2)
    million, power = found[1_000_000], exponent(found, "judge")
    rows = [
        ("1 000 000 jobs judged by every check, s of CPU", "≤ 2", [each["judge"] for each in million], 2),
        ("1 000 000 jobs judged: memory on top of reading, MiB", "≤ 500", [each["memory"] / 2**20 for each in million], 0),
        ("1 000 000 jobs: reading the ledger, s of CPU", "", [each["read"] for each in million], 2),
        ("growth of the judging from 100 000 to 1 000 000 jobs, exponent", "≤ 1.1", [] if power is None else [power], 2),
    ]
    return [
        Figure(what=what, goal=goal, values=tuple(values), digits=digits, peer="", command="python benchmarks/judge_jobs.py")
        for what, goal, values, digits in rows
    ]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--judge", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.judge is not None:
        print(json.dumps(judge(options.judge)))
        return
    print(machine(), flush=True)
    print_judged(
        judged(__file__, write, options.jobs),
        "jobs",
        ("read", "judge"),
        f"{'MiB read':>13}{'MiB judged':>13}{'lost':>13}",
        lambda told: f"{told['memory_read'] / 2**20:13.0f}{told['memory'] / 2**20:13.0f}{told['lost']:13.0f}",
    )


if __name__ == "__main__":
    main()
