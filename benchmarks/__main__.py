"""All benchmarks, one after the other, as one table.

``python -m benchmarks [--engines process docker] [--only NAME…] [--write]`` measures for a few minutes, prints the table, and with
``--write`` puts it into docs/benchmarks.md between its two markers. With ``--only`` the rows of the others stay as they are, and a line
says what was measured again. A benchmark that fails leaves its row as *not measured* with the reason below the table, and the others are
measured all the same. Nothing else should run on the machine meanwhile; the load average in the first line is that of the beginning.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import (
    bench_starts,
    engine_kill_cycles,
    engine_overhead,
    engine_phases,
    engine_share,
    help_time,
    judge_jobs,
    judge_million,
    judge_state,
    load_throughput,
    memory_hour,
    submit_rabbitmq,
)
from benchmarks.common import ENGINES, ROOT, Figure, machine

PAGE: Final = ROOT / "docs" / "benchmarks.md"
BEGIN: Final = "<!-- python -m benchmarks --write: from here -->"
END: Final = "<!-- to here -->"
HEAD: Final = ("figure", "goal", "measured", "beside it", "alone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One of them: what measures it on these engines, and the engines that it is about; empty for all."""

    figures: Callable[[Sequence[str]], list[Figure]]
    engines: tuple[str, ...] = ()


BENCHMARKS: Final[Mapping[str, Benchmark]] = {
    "load_throughput": Benchmark(figures=lambda _engines: load_throughput.figures()),
    "engine_phases": Benchmark(figures=engine_phases.figures, engines=ENGINES),
    "engine_kill_cycles": Benchmark(figures=engine_kill_cycles.figures, engines=ENGINES),
    "engine_share": Benchmark(figures=engine_share.figures, engines=("process",)),
    "engine_overhead": Benchmark(figures=lambda _engines: engine_overhead.figures(), engines=("docker",)),
    "help_time": Benchmark(figures=lambda _engines: help_time.figures()),
    "memory_hour": Benchmark(figures=lambda _engines: memory_hour.figures()),
    "judge_million": Benchmark(figures=lambda _engines: judge_million.figures()),
    "judge_jobs": Benchmark(figures=lambda _engines: judge_jobs.figures()),
    "judge_state": Benchmark(figures=lambda _engines: judge_state.figures()),
    "bench_starts": Benchmark(figures=lambda _engines: bench_starts.figures(), engines=("process",)),
    "submit_rabbitmq": Benchmark(figures=lambda _engines: submit_rabbitmq.figures()),
}


def measure(names: Sequence[str], engines: Sequence[str]) -> tuple[list[Figure], list[str]]:
    """All rows, and a sentence for each benchmark that failed."""
    rows: list[Figure] = []
    failed: list[str] = []
    for name in names:
        benchmark = BENCHMARKS[name]
        where = [engine for engine in engines if engine in benchmark.engines]
        if benchmark.engines and not where:
            continue
        begin = time.monotonic()
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            rows += benchmark.figures(where)
        except (Exception, SystemExit) as error:  # noqa: BLE001  one that fails must not lose what the others gave
            failed.append(f"{name}: {type(error).__name__}: {error}".splitlines()[0])
            rows.append(Figure(what=name, goal="", values=(), digits=0, peer="", command=f"python benchmarks/{name}.py"))
        print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return rows, failed


def table(rows: Sequence[Figure], on: str, failed: Sequence[str], before: str = "") -> str:
    """The table in Markdown, with the machine above and what failed below. Of a table ``before``, the rows of other commands stay."""
    fresh = [f"| {row.what} | {row.verdict} | {row.measured} | {row.peer} | `{row.command}` |" for row in rows]
    again = {_benchmark(line) for line in fresh}
    gone = {row.command for row in rows} | {f"python benchmarks/{name}.py" for name in again}
    kept = [line for line in before.splitlines() if _benchmark(line) in BENCHMARKS and line.split("`")[-2] not in gone]
    lines = [f"Measured on {on}."]
    if kept:
        lines = [*_still_true(before, again), f"Measured again, {', '.join(sorted(again))}: on {on}."]
    lines += ["", f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    lines += sorted(kept + fresh, key=lambda line: [*BENCHMARKS, ""].index(_benchmark(line)))
    lines += ["", *(f"Not measured: {line}" for line in failed)] if failed else []
    return "\n".join(lines) + "\n"


def _still_true(before: str, again: Collection[str]) -> Iterator[str]:
    """What a table said of where it was measured, without those that were measured ``again``."""
    for line in before.splitlines():
        names, colon, on = line.removeprefix("Measured again, ").partition(": ")
        if line.startswith("Measured on "):
            yield line
        elif line.startswith("Measured again, ") and (left := [name for name in names.split(", ") if name not in again]):
            yield f"Measured again, {', '.join(left)}{colon}{on}"


def _benchmark(line: str) -> str:
    """Whose row a line of the table is; empty for any other line."""
    found = re.fullmatch(r"\| .* \| `python benchmarks/(\w+)\.py\b.*` \|", line)
    return found[1] if found else ""


def replaced(page: str, text: str) -> str:
    """``page`` with ``text`` between its markers; raises `SystemExit` when it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE}: there is no {BEGIN} with {END} below it")
    return f"{before}{BEGIN}\n{text}{END}{after}"


def main() -> None:
    """Measure all and show the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS))
    parser.add_argument("--write", nargs="?", type=Path, const=PAGE, metavar="FILE", help=f"into FILE, by default {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    page = options.write.read_text() if options.write else f"{BEGIN}\n{END}"
    replaced(page, "")  # before anything is measured in vain
    on = machine()
    rows, failed = measure(options.only, options.engines)
    print(table(rows, on, failed))
    if options.write and rows:
        some = set(options.only) < set(BENCHMARKS) or set(options.engines) < set(ENGINES)
        before = page.partition(BEGIN)[2].partition(END)[0] if some else ""
        options.write.write_text(replaced(page, table(rows, on, failed, before)))
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
