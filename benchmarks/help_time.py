"""How long ``jetable --help`` takes, beside an interpreter that does nothing.

``python benchmarks/help_time.py [--rounds 20]`` starts both in turns and prints one table: wall time from the start of a process to its
end.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import ROOT, Figure, in_turns, machine, ms

COMMANDS: Final = {
    "jetable --help": [sys.executable, "-m", "harness", "--help"],
    "python -c pass": [sys.executable, "-c", "pass"],
}


def measured(rounds: int) -> dict[str, list[int]]:
    """Nanoseconds of each start, by command; one more round than is counted warms the file cache up."""
    took = in_turns({name: partial(_took_ns, command) for name, command in COMMANDS.items()}, rounds + 1)
    return {name: values[1:] for name, values in took.items()}


def _took_ns(command: Sequence[str]) -> int:
    begin_ns = time.monotonic_ns()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.monotonic_ns() - begin_ns


def figures() -> list[Figure]:
    """Milliseconds until the help is there."""
    took = measured(rounds=20)
    return [
        Figure(
            what="jetable --help, ms",
            goal="≤ 150",
            values=tuple(ms(value) for value in took["jetable --help"]),
            digits=0,
            peer=f"python -c pass takes {ms(statistics.median(took['python -c pass'])):.0f}",
            command="python benchmarks/help_time.py",
        )
    ]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    print(machine(), flush=True)
    print(f"{'ms':16}{'median':>8}{'min':>8}{'max':>8}")
    for name, values in measured(options.rounds).items():
        print(f"{name:16}{ms(statistics.median(values)):8.0f}{ms(min(values)):8.0f}{ms(max(values)):8.0f}")


if __name__ == "__main__":
    main()
