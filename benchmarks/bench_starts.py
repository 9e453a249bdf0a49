"""What ``jetable bench`` measures beside hyperfine, what a cycle costs beyond the app's own time, and which differences it finds.

``python benchmarks/bench_starts.py [--rounds 50] [--repeats 20] [--turns 5]`` times a server that does nothing:

* hyperfine times a script that starts it and asks until it answers, by bash's own sockets, since a new curl for each try would take longer
  than the server; the same script against a server that is there already is what the script itself takes, and goes off. In the same
  minutes ``jetable bench`` times the same start, in turns of ten runs each;
* a cycle's wall time, without the span from spawned to the first answer and that from the signal to the end, is the harness's own;
* two variants whose work at the start differs by 5 % are told apart, and two that do not differ are not, in as many repeats as asked.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import ROOT, Figure, machine
from harness.benches import Bench, read_bench
from harness.checks.facts import Facts
from harness.clock import NS_PER_S
from harness.compare import Judgement, compare, read_place
from harness.history import Cycled, read

APP: Final = "benchmarks/nothing_app.py"
RUNS_A_TURN: Final = 10
THRESHOLD: Final = 0.02
WORK: Final = 100
"""Thousands of hashes: some tens of milliseconds, so that a start takes about a tenth of a second."""

READY: Final = """\
exec 4<> <(:)
until exec 3<>/dev/tcp/127.0.0.1/{port}; do read -rt 0.001 -u 4; done 2>/dev/null
echo 'GET / HTTP/1.0' >&3
read -r line <&3
"""
"""Bash: come back once a server on the port has answered. It asks in one line, since it would write each by itself, and looks once a
millisecond, as Jetable does: one that never rests takes a quarter of the speed of a server that starts on the same core's other thread."""


def bench(folder: Path, *words: str) -> tuple[Bench, Path]:
    """Play ``jetable bench`` in a process of its own, and read what it stored."""
    command = [sys.executable, "-m", "harness", "bench", "--reports", str(folder), "--no-imports", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    place = max((path.parent for path in folder.glob("*/bench.json")), key=lambda path: path.name)
    return read_bench(place), place


def free_port() -> int:
    """A port that nobody has right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def by_hyperfine(folder: Path) -> list[float]:
    """Seconds from the start of the server until it has answered, the script's own left out."""
    port = free_port()
    start, asks, stop = folder / "start.sh", folder / "ask.sh", folder / "stop.sh"
    ask = READY.format(port=port)
    pid = folder / "pid"
    start.write_text(f"PORT={port} {sys.executable} {APP} > /dev/null 2>&1 & echo $! > {pid}\n{ask}")
    asks.write_text(f"echo 0 > {folder / 'nothing'}\n{ask}")
    stop.write_text(f"[ -e {pid} ] || exit 0\nkill $(cat {pid})\nwhile kill -0 $(cat {pid}) 2>/dev/null; do sleep 0.01; done\nrm {pid}\n")
    try:
        cold = _hyperfine(folder, f"bash {start}", "--prepare", f"bash {stop}")
        there = _hyperfine(folder, f"bash {asks}")
    finally:
        subprocess.run([str(shutil.which("bash")), str(stop)], cwd=ROOT, check=False)
    own = statistics.median(there)
    return [each - own for each in cold]


def _hyperfine(folder: Path, command: str, *more: str) -> list[float]:
    told = folder / "hyperfine.json"
    words = ["hyperfine", "-N", "--warmup", "1", "--runs", str(RUNS_A_TURN), "--style", "none", "--export-json", str(told), *more, command]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    times: list[float] = json.loads(told.read_text())["results"][0]["times"]
    return times


def series(bench_: Bench, metric: str) -> list[float]:
    """All samples of a metric of the first variant."""
    return [value for each in bench_.variants[0].series if each.metric == metric for value in each.samples]


def own_ms(place: Path) -> list[float]:
    """Of each cycle, the milliseconds in which neither the app started nor stopped."""
    facts = Facts(read(place / "session-1"))
    ends = {fault.victim.replica: fault for fault in facts.faults}
    found = []
    for cycle in facts.events(Cycled):
        life = next(life for life in facts.lives.values() if cycle.began_ns <= life.spawned_ns <= cycle.at_ns)
        stop = ends[life.replica]
        if cycle.warmup or life.exited is None:
            continue
        apps_ns = (life.first_answer_ns or life.healthy_ns) - life.spawned_ns + life.exited.at_ns - stop.signal.at_ns
        found.append((cycle.at_ns - cycle.began_ns - apps_ns) / NS_PER_S * 1000)
    return found


def beside_hyperfine(turns: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds by hyperfine, seconds by ``jetable bench``, and milliseconds of each cycle that were the harness's own."""
    theirs, ours, own = [], [], []
    for _ in range(turns):
        with tempfile.TemporaryDirectory(prefix="benchmark-of-jetable-") as name:
            folder = Path(name)
            theirs += by_hyperfine(folder) if shutil.which("hyperfine") else []
            told, place = bench(folder, "--runs", str(RUNS_A_TURN), "--warmup", "1", "--healthcheck", "/", "--", sys.executable, APP)
            ours += series(told, "startup_time")
            own += own_ms(place)
    return theirs, ours, own


def slower_is_found(rounds: int, percent: int) -> bool:
    """Whether the second of two variants, whose work is ``percent`` more, is judged slower than the first."""
    other = f"{WORK * (100 + percent) // 100}" if percent else f"0{WORK}"  # the same number, written in another way
    with tempfile.TemporaryDirectory(prefix="benchmark-of-jetable-") as name:
        words = ["--runs", str(rounds), "--warmup", "1", "-n", "before", "-n", "after", "-L", "work", f"{WORK},{other}"]
        _, place = bench(Path(name), *words, "-e", "WORK={work}", "--healthcheck", "/", "--", sys.executable, APP)
        told = compare([read_place(place)], threshold=THRESHOLD)
        return any(change.judgement is Judgement.SLOWER for change in told.changes if change.metric == "startup_time")


def figures(rounds: int = 50, repeats: int = 20, turns: int = 5) -> list[Figure]:
    """The rows of the table; a fifth as many benches with a difference as without one."""
    command = "python benchmarks/bench_starts.py"
    theirs, ours, own = beside_hyperfine(turns)
    apart = (1000 * abs(statistics.median(ours) - statistics.median(theirs)),) if theirs else ()
    peer = f"medians {1000 * statistics.median(ours):.1f} and {1000 * statistics.median(theirs):.1f}" if theirs else "hyperfine is not here"
    slower = max(1, repeats // 5)
    missed = sum(not slower_is_found(rounds, 5) for _ in range(slower))
    false = sum(slower_is_found(rounds, 0) for _ in range(repeats))
    return [
        Figure(
            what="start of a server by jetable bench and by hyperfine, ms apart",
            goal="≤ 2",
            values=apart,
            digits=1,
            peer=peer,
            command=command,
        ),
        Figure(
            what="a cycle of jetable bench beyond the app's start and stop, ms",
            goal="≤ 20",
            values=tuple(own),
            digits=1,
            peer="",
            command=command,
        ),
        Figure(
            what=f"benches of {rounds} rounds, 5 % more work at the start: not found slower",
            goal="≤ 0",
            values=(float(missed),),
            digits=0,
            peer=f"of {slower}, threshold {100 * THRESHOLD:.0f} %",
            command=command,
        ),
        Figure(
            what=f"benches of {rounds} rounds, the same work: reported slower",
            goal="≤ 0",
            values=(float(false),),
            digits=0,
            peer=f"of {repeats}",
            command=command,
        ),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    print(machine(), flush=True)
    for figure in figures(options.rounds, options.repeats, options.turns):
        print(f"{figure.what:70}{figure.measured:24}{figure.verdict:16}{figure.peer}")


if __name__ == "__main__":
    main()
