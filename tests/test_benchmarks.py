"""The benchmarks of the engines still run. What they measure is no test's business: see docs/benchmarks.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.live]


def table_of(name: str, *options: str) -> list[str]:
    """The lines that a benchmark prints, without the one of the machine."""
    done = subprocess.run(
        [sys.executable, f"benchmarks/{name}.py", *options], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[1:]


def test_the_benchmark_of_kill_cycles_prints_a_row_for_the_engine() -> None:
    assert any(line.startswith("process ") for line in table_of("engine_kill_cycles", "--cycles=1", "--rounds=1", "--engines=process"))


def test_the_benchmark_of_phases_finds_a_stamp_for_every_phase() -> None:
    rows = [line for line in table_of("engine_phases", "--stops=2", "--engines=process") if line.startswith("process ")]
    assert len(rows) == 6
    assert all(" 2 " in row for row in rows[:-1])


@pytest.mark.docker
def test_the_benchmark_of_the_overhead_counts_its_pairs() -> None:
    assert any(line.startswith("2 pairs: ") for line in table_of("engine_overhead", "--pairs=2"))


@pytest.mark.docker
def test_the_benchmark_of_phases_finds_a_stamp_for_every_phase_in_a_container() -> None:
    rows = [line for line in table_of("engine_phases", "--stops=1", "--engines=docker") if line.startswith("docker ")]
    assert len(rows) == 6
    assert all(" 1 " in row for row in rows[:-1])


def test_the_benchmark_of_the_share_takes_a_run_apart() -> None:
    rows = [line.split() for line in table_of("engine_share", "--rounds=1", "--engines=process") if line.startswith("process ")]
    wall, *parts = (float(word) for word in rows[-1][1:-2])
    assert abs(wall - sum(parts)) < 10
