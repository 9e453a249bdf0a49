"""The benchmarks still run. What they measure is no test's business: see docs/benchmarks.md."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import __main__ as all_of_them
from benchmarks.__main__ import BENCHMARKS, END, Benchmark, measure, table
from benchmarks.common import Figure
from benchmarks.judge_state import CASES, growth
from benchmarks.memory_hour import Needs, in_an_hour

ROOT = Path(__file__).parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.live]


def table_of(name: str, *options: str) -> list[str]:
    """The lines that a benchmark prints, without the one of the machine."""
    done = subprocess.run(
        [sys.executable, f"benchmarks/{name}.py", *options], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[1:]


def test_the_benchmark_of_kill_cycles_prints_a_row_for_the_engine() -> None:
    assert any(line.startswith("process ") for line in table_of("engine_kill_cycles", "--cycles=1", "--rounds=1", "--engines=process"))


def test_the_benchmark_of_phases_finds_a_stamp_for_every_phase() -> None:
    rows = [line for line in table_of("engine_phases", "--stops=2", "--engines=process") if line.startswith("process ")]
    assert len(rows) == 6
    assert all(int(row[38:45]) >= 2 for row in rows[:-1]), "a stop that came when its victim was idle is done again, so there may be more"


@pytest.mark.docker
def test_the_benchmark_of_the_overhead_counts_its_pairs() -> None:
    assert any(line.startswith("2 pairs: ") for line in table_of("engine_overhead", "--pairs=2"))


@pytest.mark.docker
def test_the_benchmark_of_phases_finds_a_stamp_for_every_phase_in_a_container() -> None:
    rows = [line for line in table_of("engine_phases", "--stops=1", "--engines=docker") if line.startswith("docker ")]
    assert len(rows) == 6
    assert all(int(row[38:45]) >= 1 for row in rows[:-1])


def test_the_benchmark_of_the_share_takes_a_run_apart() -> None:
    rows = [line.split() for line in table_of("engine_share", "--rounds=1", "--engines=process") if line.startswith("process ")]
    wall, *parts = (float(word) for word in rows[-1][1:-2])
    assert abs(wall - sum(parts)) < 10


def test_the_benchmark_of_the_load_compares_it_with_its_peer() -> None:
    """Its first line is a head, and not the machine's."""
    rows = table_of("load_throughput", "--seconds=0.3", "--rounds=1", "--users=2")
    assert [row.split()[0] for row in rows] == ["jetable", "FastHttpUser", "jetable"]
    assert rows[-1].endswith("times as much for the same CPU time")


def test_the_benchmark_of_the_help_has_a_row_for_it_and_for_an_interpreter_that_does_nothing() -> None:
    assert [row[:16].strip() for row in table_of("help_time", "--rounds=1")] == ["ms", "jetable --help", "python -c pass"]


def test_the_benchmark_of_memory_sees_both_processes_and_the_disk() -> None:
    head, short, long, hour = table_of("memory_hour", "--rate=100/s", "--seconds", "1", "2")
    assert head.split()[-4:] == ["load", "parent", "judging", "history"]
    assert all(float(word) > 1 for row in (short, long) for word in row.split()[-4:-1])
    assert float(short.split()[-1]) <= float(long.split()[-1]) < float(hour.split()[-1])


def test_the_benchmark_of_a_million_finds_what_it_planted_and_how_it_grows() -> None:
    _, small, large, growth = table_of("judge_million", "--ops", "20000", "40000")
    assert [row.split()[0] for row in (small, large, growth)] == ["20000", "40000", "growth"]
    assert int(large.split()[-1]) > 0


def test_the_benchmark_of_a_million_jobs_finds_what_it_planted_and_how_it_grows() -> None:
    _, small, large, growth = table_of("judge_jobs", "--jobs", "20000", "100000")
    assert [row.split()[0] for row in (small, large, growth)] == ["20000", "100000", "growth"]
    assert int(large.split()[-1]) > 0


def test_the_benchmark_of_state_judges_every_kind_of_history_right_and_how_it_grows() -> None:
    """That the right ones pass and the wrong ones fail is looked at by the benchmark itself."""
    rows = table_of("judge_state", "--ops", "2000", "5000", "--only", *CASES)
    assert [row.split()[:2] for row in rows[1:]] == [words for name in CASES for words in ([name, "2000"], [name, "5000"], ["growth"])]


def test_the_benchmark_of_state_compares_clients_and_measures_the_general_search() -> None:
    others, memory, short = table_of("judge_state", "--ops", "1000", "2000", "--only", "others", "searched", "short")
    assert others.startswith("a register of 2000 operations: 10 clients ")
    assert "exponent" in memory
    assert "a second" in short


def test_growth_is_fitted_over_all_sizes_but_those_that_are_too_quick_to_tell() -> None:
    assert growth([10, 100, 1000], [0.02, 0.2, 2.0], 0.01) == pytest.approx(1.0)
    assert growth([10, 100, 1000], [0.00001, 0.2, 20.0], 0.01) == pytest.approx(2.0)
    assert growth([10, 100], [0.00001, 0.2], 0.01) is None


def test_a_figure_says_its_median_and_its_range() -> None:
    figure = Figure(what="x", goal="", values=(1.0, 3.0, 2.0), digits=1, peer="", command="")
    assert figure.measured == "2.0 (1.0 to 3.0)"
    assert replace(figure, values=(12345.6,), digits=0).measured == "12 346"
    assert replace(figure, values=()).measured == "not measured"


def test_all_benchmarks_together_make_one_table_between_the_markers_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text((ROOT / "docs/benchmarks.md").read_text())
    command = [sys.executable, "-m", "benchmarks", "--only", "help_time", "--write", str(page)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    (row,) = (line for line in done.stdout.splitlines() if line.startswith("| jetable --help, ms | ≤ 150: "))
    assert text.count("| jetable --help, ms |") == text.count(row) == 1
    assert "Measured again, help_time: on " in text
    others = [line for line in (ROOT / "docs/benchmarks.md").read_text().splitlines() if line.startswith("| ") and "help_time" not in line]
    assert others == [line for line in text.splitlines() if line.startswith("| ") and "help_time" not in line], "they stay as they were"
    assert text.partition(END)[2] == (ROOT / "docs/benchmarks.md").read_text().partition(END)[2]


def test_a_benchmark_that_fails_leaves_its_row_and_the_reason_and_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_engines: Sequence[str]) -> list[Figure]:
        raise SystemExit("the run left no history")

    good = Figure(what="good", goal="", values=(1.0,), digits=0, peer="", command="python benchmarks/good.py")
    known = {"bad": Benchmark(figures=broken), "good": Benchmark(figures=lambda _engines: [good])}
    monkeypatch.setattr(all_of_them, "BENCHMARKS", known)
    rows, failed = measure(["bad", "good"], ["process"])
    assert [row.measured for row in rows] == ["not measured", "1"]
    assert failed == ["bad: SystemExit: the run left no history"]
    assert "Not measured: bad: SystemExit: the run left no history" in table(rows, "a machine", failed)


def test_rows_that_are_measured_again_take_the_place_of_the_old_ones_and_all_lines_above_stay_true() -> None:
    def row(name: str, value: float, words: str = "") -> Figure:
        values = () if value == 0 else (value,)
        return Figure(what=name, goal="", values=values, digits=0, peer="", command=f"python benchmarks/{name}.py{words}")

    whole = table([row("help_time", 1), row("engine_share", 2, " --engines process"), row("judge_jobs", 3)], "the first", [])
    failed = table([row("engine_share", 0)], "the second", ["engine_share: it broke"], whole)
    again = table([row("engine_share", 4, " --engines process"), row("help_time", 5)], "the third", [], failed)
    assert again.splitlines()[:2] == ["Measured on the first.", "Measured again, engine_share, help_time: on the third."]
    assert [line.split(" | ")[2] for line in again.splitlines()[5:]] == ["4", "5", "3"]
    assert "not measured" in failed
    assert "not measured" not in again


def test_the_benchmark_of_submissions_compares_them_with_pika() -> None:
    pytest.importorskip("pika")
    if shutil.which("/usr/lib/rabbitmq/bin/rabbitmq-server") is None:
        pytest.skip("RabbitMQ is not installed; Debian has it in the package rabbitmq-server")
    assert "of the bare loop's rate" in table_of("submit_rabbitmq", "--seconds=0.2", "--rounds=1")[-1]


def test_the_benchmark_of_benches_compares_them_with_hyperfine() -> None:
    if shutil.which("hyperfine") is None:
        pytest.skip("hyperfine is not installed; Debian has it in the package hyperfine")
    apart, own, missed, false = table_of("bench_starts", "--rounds=3", "--repeats=1", "--turns=1")
    assert "hyperfine" in apart
    assert "medians" in apart
    assert "beyond" in own
    assert [row.split(" rounds")[0] for row in (missed, false)] == ["benches of 3"] * 2


def test_every_benchmark_is_one_of_all() -> None:
    files = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {
        "__init__",
        "__main__",
        "common",
        "nothing_app",
        "stamping_app",
        "state_histories",
    }
    assert set(BENCHMARKS) == files


def test_what_grows_goes_on_growing_as_it_did() -> None:
    short, long = (Needs(load_s=s, requests=0, load=100, parent=100 + int(s), judging=0, history=int(10 * s)) for s in (10, 20))
    assert in_an_hour([short, long], "load") == 100
    assert in_an_hour([short, long], "parent") == 3700
    assert in_an_hour([short, long], "history") == 36_000
    assert in_an_hour([replace(short, load=101), long], "load") == 100, "a little less is chance"


@pytest.mark.parametrize(
    ("goal", "values", "verdict"),
    [
        ("≤ 1", (0.9, 1.0, 1.4), "≤ 1: met"),
        ("≤ 1", (1.2, 1.1), "≤ 1: **missed**"),
        ("≥ 3", (3.1,), "≥ 3: met"),
        ("", (3.1,), ""),
        ("≥ 3", (), "≥ 3"),
    ],
)
def test_a_row_says_whether_its_goal_is_met(goal: str, values: tuple[float, ...], verdict: str) -> None:
    assert Figure(what="x", goal=goal, values=values, digits=1, peer="", command="y").verdict == verdict
