"""Histories of a million operations on state, judged by each monitor: seconds of CPU, memory, and how both grow.

``python benchmarks/judge_state.py [--only NAME…] [--ops 100000 300000 1000000] [--large]`` makes histories (`benchmarks.state_histories`)
and judges each one as it is, and again with one wrong answer in it, which must be found. Each kind has a process of its own, on one core,
which may not have more than 2 GiB of data while it judges, the history included. What a monitor loads once is loaded before. The
growth is fitted over all sizes that take 10 ms or more: 1 is proportional. ``--large`` adds ten million operations.

Then a register of a million operations with other numbers of clients and of operations that nobody answered; and the general search, for
registers to which the same values are written again and again: how its memory grows with the history, and how quick it is with many
short ones.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks import state_histories
from benchmarks.common import LEAST_S, Figure, in_turns, machine
from benchmarks.state_histories import DAMAGED, Shape
from harness.monitors import MONITORS
from harness.monitors.calls import Calls
from harness.monitors.judged import Budget, Judged
from harness.monitors.models import MODELS
from harness.monitors.search import search_key
from harness.verdict import Verdict

MOST_MEMORY: Final = 2 << 30
SIZES: Final = (100_000, 300_000, 1_000_000)
MILLION: Final = 1_000_000
LARGE: Final = 10_000_000
WARM: Final = 60_000
"""So many operations make a monitor load all that it loads."""

ROUNDS: Final = 3


DEFAULT: Final = Shape(ops=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of history.

    Attributes:
        what: It, in the table.
        make: What makes it.
        model: The monitor that judges it.
        shape: What it is like, but for its size.
        most_s: Seconds of CPU that judging its largest usual size may take.
        sizes: Its usual sizes.
        large: Its size with ``--large``; 0: it has none.
    """

    what: str
    make: Callable[[Shape], Calls]
    model: str
    shape: Shape = DEFAULT
    most_s: float = 1.0
    sizes: Sequence[int] = SIZES
    large: int = LARGE


CELLS: Final = (1_000_000, 3_000_000, LARGE)

CASES: Final[Mapping[str, Case]] = {
    "register": Case(what="operations on a register with CAS", make=state_histories.register, model="register"),
    "keys": Case(
        what="operations on 10 000 registers with CAS",
        make=state_histories.register,
        model="register",
        shape=Shape(ops=0, keys=10_000),
    ),
    "looks": Case(
        what="operations on a register whose CAS say what they met",
        make=state_histories.register,
        model="register",
        shape=Shape(ops=0, looks=True),
    ),
    "counter": Case(what="operations on a counter", make=state_histories.counter, model="counter"),
    "queue": Case(what="operations on a queue", make=state_histories.queue, model="queue"),
    "set": Case(what="operations on a set, element by element", make=state_histories.elements, model="set"),
    "sessions": Case(
        what="operations of sessions on 10 000 keys",
        make=state_histories.sessions,
        model="sessions",
        shape=Shape(ops=0, keys=10_000),
    ),
    "whole-set": Case(
        what="elements in full reads of a set", make=state_histories.whole_set, model="set", most_s=2.0, sizes=CELLS, large=0
    ),
    "whole-log": Case(what="entries in full reads of a log", make=state_histories.whole_log, model="log", most_s=2.0, sizes=CELLS, large=0),
}

OTHERS: Final[Mapping[str, Shape]] = {
    "10 clients": Shape(ops=0, clients=10),
    "50 clients": DEFAULT,
    "1000 clients": Shape(ops=0, clients=1000),
    "10 % unknown": Shape(ops=0, unknown=0.1),
}
"""The same register with other numbers of clients and of operations that nobody answered; else it has 50, and 1 %."""

SEARCHED: Final = (1_000, 10_000, 30_000)
"""Operations of 10 clients that the general search judges."""

SHORT: Final = 85
"""Operations of a short history, as many as in those that Porcupine is tested with, which etcd made for Jepsen."""

SHORT_ONES: Final = 100

Told: TypeAlias = dict[str, float]


# --- in a process of its own ------------------------------------------------------------------------------------------------


def judge(case: Case, sizes: Sequence[int]) -> list[Told]:
    """What judging a history of each size took, and one with a wrong answer; ``over`` is 1 where memory did not suffice."""
    monitor = MONITORS[case.model]
    calls = case.make(replace(case.shape, ops=WARM))
    for history in (calls, DAMAGED[case.make](calls)):  # some is loaded only for what is wrong
        monitor(history, Budget())
    return [{"ops": size, **_judge_one(case, size)} for size in sizes]


def _judge_one(case: Case, size: int) -> Told:
    monitor = MONITORS[case.model]
    calls = case.make(replace(case.shape, ops=size))
    told: Told = {"history": sum(getattr(calls, f.name).nbytes for f in fields(calls) if f.type == "Column" or "NDArray" in str(f.type))}
    with _limited():
        try:
            for number in range(ROUNDS):
                told[f"round {number}"], found = _seconds(lambda: monitor(calls, Budget()))
                _must_be(found, Verdict.PASS, case.what)
            told["memory"] = _highest_memory()
            calls = DAMAGED[case.make](calls)
            told["wrong"], found = _seconds(lambda: monitor(calls, Budget()))
            _must_be(found, Verdict.FAIL, case.what)
        except MemoryError:
            return {**told, "over": 1}
    return {**told, "over": 0}


def judge_others(sizes: Sequence[int]) -> list[Told]:
    """What each of `OTHERS` took in each round, at the largest size; in turns, as they are to be compared."""
    histories = {name: state_histories.register(replace(shape, ops=max(sizes))) for name, shape in OTHERS.items()}

    def one(calls: Calls) -> float:
        seconds, found = _seconds(lambda: MONITORS["register"](calls, Budget()))
        _must_be(found, Verdict.PASS, "a register")
        return seconds

    took = in_turns({name: partial(one, calls) for name, calls in histories.items()}, ROUNDS + 2)
    return [{name: rounds[number] for name, rounds in took.items()} for number in range(ROUNDS + 2)]


def judge_searched(sizes: Sequence[int]) -> list[Told]:
    """What the general search needs for long histories of each size: seconds, and then, as that slows it down, how much memory at once."""
    told: list[Told] = []
    for size in sizes:
        calls = state_histories.repeating(Shape(ops=size, clients=10, unknown=0.0))
        search = partial(search_key, calls, np.arange(len(calls)), MODELS["register"], Budget())
        begin = time.process_time()
        answer = search()
        seconds = time.process_time() - begin
        if not answer.explained:
            raise SystemExit(f"the search has not explained {size} operations that have an order")
        tracemalloc.start()
        search()
        told.append({"ops": size, "seconds": seconds, "memory": tracemalloc.get_traced_memory()[1], "steps": answer.steps})
        tracemalloc.stop()
    return told


def judge_short() -> list[Told]:
    """Operations that the general search judges in a second, in short histories of which every second one is wrong."""
    shapes = [Shape(ops=SHORT, clients=5, unknown=0.05, seed=number) for number in range(SHORT_ONES)]
    histories = [state_histories.repeating(shape, wrong=shape.seed % 2 == 1) for shape in shapes]
    told: list[Told] = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        explained = [search_key(calls, np.arange(SHORT), MODELS["register"], Budget()).explained for calls in histories]
        told.append({"a second": SHORT * SHORT_ONES / (time.process_time() - begin)})
        if explained != [True, False] * (SHORT_ONES // 2):
            raise SystemExit("the search has judged a short history wrong")
    return told


def _seconds(judging: Callable[[], Judged]) -> tuple[float, Judged]:
    begin = time.process_time()
    found = judging()
    return time.process_time() - begin, found


def _must_be(found: Judged, verdict: Verdict, what: str) -> None:
    if found.verdict is not verdict:
        raise SystemExit(f"{what}: {found.verdict.name} and not {verdict.name}: {dict(found.counts)} {found.undecided}")


@contextmanager
def _limited() -> Iterator[None]:
    """No more than `MOST_MEMORY` of data in here, and the highest memory is counted from here on.

    Not the address space is limited: libraries reserve much of that and never use it.
    """
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak of the resident set
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _highest_memory() -> int:
    """The peak of the resident set, in bytes, since it was reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


PARTS: Final[Mapping[str, Callable[[Sequence[int]], list[Told]]]] = {
    **{name: partial(judge, case) for name, case in CASES.items()},
    "others": judge_others,
    "searched": judge_searched,
    "short": lambda _sizes: judge_short(),
}


def _told_by(part: str, sizes: Sequence[int] = ()) -> list[Told]:
    """What a process of its own tells of a part, on one core.

    Raises:
        SystemExit: It failed.
    """
    words = [sys.executable, __file__, "--part", part, "--ops", *map(str, sizes)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    if done.returncode:
        raise SystemExit(f"{part}: {(done.stderr.strip() or 'it failed').splitlines()[-1]}")
    told: list[Told] = json.loads(done.stdout)
    return told


# --- figures ----------------------------------------------------------------------------------------------------------------


def _rounds(told: Told) -> list[float]:
    return [value for word, value in told.items() if word.startswith("round ")]


def growth(sizes: Sequence[float], values: Sequence[float], least: float = 0.0) -> float | None:
    """The power of the size that the values grow with, by least squares; None with fewer than two of at least ``least``."""
    known = [(size, value) for size, value in zip(sizes, values, strict=True) if value >= max(least, 1e-9)]
    if len({size for size, _ in known}) < 2:
        return None
    return statistics.linear_regression(*zip(*((math.log(size), math.log(value)) for size, value in known), strict=True)).slope


def growth_of(told: Sequence[Told]) -> float | None:
    """How the seconds of a case grow."""
    there = [one for one in told if not one["over"]]
    return growth([one["ops"] for one in there], [min(_rounds(one)) for one in there], LEAST_S)


def _row(what: str, goal: str, values: Sequence[float], digits: int, peer: str = "") -> Figure:
    command = "python benchmarks/judge_state.py"
    return Figure(what=what, goal=goal, values=tuple(values), digits=digits, peer=peer, command=command)


def figures() -> list[Figure]:
    """Each kind of history at its largest usual size, the highest memory, the steepest growth, and the general search."""
    found = {name: _told_by(name, case.sizes) for name, case in CASES.items()}
    last = {name: told[-1] for name, told in found.items()}
    for name, told in last.items():
        if told["over"]:
            raise SystemExit(f"{name}: {told['ops']:.0f} operations need more than 2 GiB")
    rows = [
        _row(f"{_spaced(case.sizes[-1])} {case.what}, s of CPU", f"≤ {case.most_s:g}", _rounds(last[name]), 2)
        for name, case in CASES.items()
    ]
    slowest = max(last, key=lambda name: last[name]["wrong"])
    largest = max(last, key=lambda name: last[name]["memory"])
    powers = {name: power for name, told in found.items() if (power := growth_of(told)) is not None}
    steepest = max(powers, key=lambda name: powers[name], default="")
    rows += [
        _row("one wrong answer among as many: the slowest, s of CPU", "", [last[slowest]["wrong"]], 2, slowest),
        _row("highest memory of these, GiB", "≤ 2", [last[largest]["memory"] / 2**30], 2, largest),
        _row(
            "growth of these from the smallest size, exponent of the steepest",
            "≤ 1.1",
            [powers[name] for name in [steepest] if name],
            2,
            steepest,
        ),
    ]
    return [*rows, *_figures_of_others(), *_figures_of_search()]


def _figures_of_others() -> list[Figure]:
    rounds = _told_by("others", [MILLION])
    clients = [one["1000 clients"] / one["10 clients"] for one in rounds]
    unknown = [one["10 % unknown"] / one["50 clients"] for one in rounds]
    return [
        _row("a register of 1000 clients, as a multiple of one of 10", "≤ 1.5", clients, 2),
        _row("a register with 10 % unknown, as a multiple of one with 1 %", "≤ 1.5", unknown, 2),
    ]


def _figures_of_search(sizes: Sequence[int] = SEARCHED) -> list[Figure]:
    long = _told_by("searched", sizes)
    power = growth([one["ops"] for one in long], [one["memory"] for one in long])
    beside = f"{long[-1]['memory'] / 2**20:.0f} MiB and {long[-1]['seconds']:.1f} s of CPU for {_spaced(sizes[-1])}"
    return [
        _row("general search, 10 clients: growth of its memory, exponent", "≤ 1.2", [] if power is None else [power], 2, beside),
        _row("general search, short histories: operations a second of CPU", "≥ 11400", [one["a second"] for one in _told_by("short")], 0),
    ]


def _spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--ops", type=int, nargs="*", default=[], help="sizes in place of the usual ones")
    parser.add_argument("--large", action="store_true", help="ten million operations, too")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is not None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(json.dumps(PARTS[options.part](options.ops)))
        return
    print(machine(), flush=True)
    cases = {name: case for name, case in CASES.items() if name in options.only}
    if cases:
        print(f"{'':12}{'operations':>12}{'s of CPU':>10}{'one wrong':>10}{'MiB':>7}{'history':>9}")
    for name, case in cases.items():
        print_case(name, _told_by(name, options.ops or [*case.sizes, *([case.large] if options.large and case.large else [])]))
    if "others" in options.only:
        size = max(options.ops or [MILLION])
        rounds = _told_by("others", [size])
        each = ", ".join(f"{name} {statistics.median(one[name] for one in rounds):.3f} s" for name in OTHERS)
        print(f"a register of {size} operations: {each}")
    if {"searched", "short"} & set(options.only):
        for figure in _figures_of_search(options.ops or SEARCHED):
            print(f"{figure.what}: {figure.measured}{f' ({figure.peer})' if figure.peer else ''}")


def print_case(name: str, told: Sequence[Told]) -> None:
    """A line for each size, and how the seconds grow."""
    for one in told:
        history = one["history"] / 2**20
        if one["over"]:
            print(f"{name:12}{one['ops']:12.0f}  more than 2 GiB, of which the history has {history:.0f} MiB", flush=True)
            continue
        seconds = statistics.median(_rounds(one))
        print(f"{name:12}{one['ops']:12.0f}{seconds:10.3f}{one['wrong']:10.3f}{one['memory'] / 2**20:7.0f}{history:9.0f}", flush=True)
    power = growth_of(told)
    print(f"{'':12}{'growth':>12}{'' if power is None else f'{power:.2f}':>10}", flush=True)


if __name__ == "__main__":
    main()
