"""A history of a million requests, read and judged: seconds of CPU for each check, memory, and how both grow.

``python benchmarks/judge_million.py [--ops 100000 1000000]`` writes histories as a run would have: three replicas, 2000 requests a second
of 50 users, and every 5 seconds a stop, in turns in order and by SIGKILL; what is in flight then is answered or cut. Each history is read
and judged in a process of its own, whose highest memory is told. The last line is the exponent of the growth between the smallest and the
largest: 1 is proportional.

Nothing here is a user's app, so it is known how many requests were dropped, and the benchmark fails when the checks find another number.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.common import ZERO_NS, Figure, exponent, highest_memory, instant, judged, machine, print_judged, write_events
from harness.checks import CHECKS
from harness.checks.summary import summarise
from harness.history import (
    OPS_FILE,
    Control,
    Event,
    Exited,
    Generator,
    LoadBegan,
    LoadEnded,
    PhaseReached,
    Routed,
    RunEnded,
    Signalled,
    Spawned,
    StepBegan,
    StepEnded,
    read,
)

RATE_PER_S: Final = 2000
USERS: Final = 50
REPLICAS: Final = 3
STOP_EVERY_S: Final = 5.0
BACK_AFTER_S: Final = 0.3
"""From a stop until its replacement is healthy."""

GONE_AFTER_S: Final = 0.12
"""From SIGTERM to the exit."""

LONGEST_ANSWER_S: Final = 0.1
CONTROL_S: Final = 0.1
GENERATOR_S: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The stop number ``number``, of one of the places; ``at_s`` after the load's begin."""

    number: int
    at_s: float

    @property
    def place(self) -> int:
        """Which of the three."""
        return self.number % REPLICAS

    @property
    def victim(self) -> str:
        """Who held the place."""
        return f"web.{self.number + 1}"

    @property
    def replacement(self) -> str:
        """Who holds it then."""
        return f"web.{self.number + 1 + REPLICAS}"

    @property
    def kills(self) -> bool:
        """It is SIGKILL."""
        return self.number % 2 == 1


def stops_in(length_s: float) -> list[Stop]:
    """All stops of a load of that length."""
    return [Stop(number=number, at_s=(number + 0.5) * STOP_EVERY_S) for number in range(int(length_s / STOP_EVERY_S))]


def write(folder: Path, ops: int) -> dict[str, int]:
    """Write a history of so many requests, and say how many of them were dropped."""
    length_s = ops / RATE_PER_S
    stops = stops_in(length_s)
    history = folder / "history"
    history.mkdir(parents=True)
    dropped = _write_ops(history / OPS_FILE, ops, stops)
    write_events(history, _scenario(stops), _events(length_s, ops, stops))
    return {"dropped": dropped}


def _scenario(stops: Sequence[Stop]) -> dict[str, object]:
    steps: list[object] = [{"kill" if stop.kills else "terminate": "oldest"} for stop in stops]
    return {
        "jetable": 1,
        "name": "a million requests",
        "target": {"web": {"command": ["app"], "replicas": REPLICAS}},
        "load": {"rate": f"{RATE_PER_S}/s", "users": USERS, "requests": ["GET /items/{id}", {"POST /items": {"name": "x"}}]},
        "steps": steps or [{"steady": "1s"}],
    }


def _events(length_s: float, ops: int, stops: Sequence[Stop]) -> Iterator[Event]:
    yield StepBegan(at_ns=instant(-1), step=0, name="start", text="start the target")
    for place in range(REPLICAS):
        yield from _start(f"web.{place + 1}", -0.9, 0, "")
    yield LoadBegan(at_ns=instant(0), pid=1)
    yield StepEnded(at_ns=instant(0), step=0)
    for number, stop in enumerate(stops, start=1):
        yield from _stop(stop, number)
    for tick in range(1, int(length_s / CONTROL_S)):
        yield Control(at_ns=instant(tick * CONTROL_S), done_ns=instant(tick * CONTROL_S + 0.001), ok=True)  # type: ignore[misc]  # as good
    for tick in range(1, int(length_s / GENERATOR_S)):
        sample = Generator(at_ns=instant(tick * GENERATOR_S), lag_ns=1_000_000, cpu=0.4, arrivals=round(RATE_PER_S * GENERATOR_S))
        yield sample  # type: ignore[misc]  # as good
    yield LoadEnded(at_ns=instant(length_s + LONGEST_ANSWER_S), invoked=ops, closed=ops)
    yield RunEnded(at_ns=instant(length_s + 1), how="finished")


def _start(replica: str, at_s: float, step: int, replaces: str) -> Iterator[Event]:
    yield Spawned(at_ns=instant(at_s), step=step, replica=replica, process="web", command="app", pid=1, port=8000, replaces=replaces)
    for phase, after_s in (("running", 0.002), ("listening", 0.1), ("healthy", 0.11)):
        yield PhaseReached(at_ns=instant(at_s + after_s), replica=replica, phase=phase)
    yield Routed(at_ns=instant(at_s + 0.11), replica=replica, open=True)


def _stop(stop: Stop, step: int) -> Iterator[Event]:
    name = "kill" if stop.kills else "terminate"
    signal, gone_s = ("SIGKILL", 0.001) if stop.kills else ("SIGTERM", GONE_AFTER_S)
    yield StepBegan(at_ns=instant(stop.at_s - 0.001), step=step, name=name, text=f"{name} oldest")
    yield Routed(at_ns=instant(stop.at_s), replica=stop.victim, open=False)
    yield Signalled(
        at_ns=instant(stop.at_s),
        until_ns=instant(stop.at_s) + 50_000,
        step=step,
        replica=stop.victim,
        signal=signal,
        purpose=name,
        wants_busy=True,
        when="in-flight",
        in_flight=5,
        grace_s=0.0 if stop.kills else 10.0,
    )
    yield Exited(at_ns=instant(stop.at_s + gone_s), replica=stop.victim, status=137 if stop.kills else 0, commanded=True)
    yield from _start(stop.replacement, stop.at_s + BACK_AFTER_S - 0.11, step, stop.victim)
    yield StepEnded(at_ns=instant(stop.at_s + BACK_AFTER_S), step=step)


def _write_ops(path: Path, ops: int, stops: Sequence[Stop]) -> int:
    """The ledger, and how many of its requests were cut by a SIGKILL."""
    dice = np.random.default_rng(1)
    begun = np.arange(ops) / RATE_PER_S
    ended = begun + np.minimum(0.002 + dice.exponential(0.01, ops), LONGEST_ANSWER_S)
    place = dice.integers(0, REPLICAS, ops)
    replica = place + 1
    cut = np.zeros(ops, dtype=np.bool_)
    for stop in stops:
        away = (place == stop.place) & (begun >= stop.at_s) & (begun < stop.at_s + BACK_AFTER_S)
        replica[(place == stop.place) & (begun >= stop.at_s)] = stop.number + 1 + REPLICAS
        in_flight = (place == stop.place) & (begun < stop.at_s) & (ended > stop.at_s)
        if stop.kills:
            cut |= in_flight
            ended[in_flight] = stop.at_s + 0.0005
        others = [other for other in range(REPLICAS) if other != stop.place]
        goes = dice.integers(0, len(others), ops)[away]
        current = {other: _holder(other, stop.at_s, stops) for other in others}
        replica[away] = np.array([current[other] for other in others])[goes]
        place[away] = REPLICAS  # settled: no later stop concerns it
    began_ns, ended_ns = (np.rint(each * 1e9).astype(np.int64) + ZERO_NS for each in (begun, ended))
    step = np.searchsorted(np.array([stop.at_s for stop in stops]), begun, side="right")
    with path.open("w") as file:
        for first in range(0, ops, 100_000):
            some = slice(first, first + 100_000)
            columns = (each[some].tolist() for each in (began_ns, ended_ns, replica, cut, step))
            file.writelines(_op(first + number, *row) for number, row in enumerate(zip(*columns, strict=True)))
    return int(np.count_nonzero(cut))


def _holder(place: int, at_s: float, stops: Sequence[Stop]) -> int:
    """The number of the replica that holds ``place`` then."""
    return max([place + 1, *(stop.number + 1 + REPLICAS for stop in stops if stop.place == place and stop.at_s < at_s)])


def _op(number: int, began_ns: int, ended_ns: int, replica: int, cut: bool, step: int) -> str:  # noqa: FBT001  a column each
    """Both lines of one request, as `harness.history.LedgerWriter` writes them."""
    invoke = (
        f'{{"kind":"invoke","op":{number},"n":0,"user":{number % USERS},"request":{number % 4 == 0:d},"replica":"web.{replica}",'
        f'"step":{step},"at_ns":{began_ns},"due_ns":{began_ns}}}\n'
    )
    sent = f'"connected_ns":{began_ns + 20_000},"sent_ns":{began_ns + 50_000}'
    if cut:
        how = f'"outcome":"closed-before-response","reached":2,"last":true,"done_ns":{ended_ns},{sent},"error":"ECONNRESET"'
    else:
        first = f'"first_ns":{ended_ns - 20_000},"reused":{"true" if number % 3 else "false"},"status":200,"tx":120,"rx":300'
        how = f'"outcome":"ok","reached":5,"last":true,"done_ns":{ended_ns},{sent},{first}'
    return f'{invoke}{{"kind":"close","op":{number},"n":0,{how},"port":{40_000 + number % USERS}}}\n'


# --- judging ----------------------------------------------------------------------------------------------------------------


def judge(folder: Path) -> dict[str, float]:
    """Seconds of CPU of reading, of each check and of the summary, how many were dropped, and this process's highest memory in bytes."""
    took: dict[str, float] = {}
    begin = time.process_time()
    history = read(folder)
    took["read"] = time.process_time() - begin
    for name, check in CHECKS.items():
        begin = time.process_time()
        check(history)
        took[name] = time.process_time() - begin
    begin = time.process_time()
    summary = summarise(history)
    took["summary"] = time.process_time() - begin
    return {**took, "dropped": summary.dropped, "memory": highest_memory()}


def figures() -> list[Figure]:
    """The slowest check, reading, memory, and the steepest growth, at a million."""
    found = judged(__file__, write, (100_000, 1_000_000), rounds=2)
    million = found[1_000_000]
    slowest = max(CHECKS, key=lambda name: max(each[name] for each in million))
    powers = {name: power for name in ("read", *CHECKS, "summary") if (power := exponent(found, name)) is not None}
    steepest = max(powers, key=lambda name: powers[name], default="")
    command = "python benchmarks/judge_million.py"
    rows = [
        (f"1 000 000 requests judged: the slowest check ({slowest}), s of CPU", "≤ 1", [each[slowest] for each in million], 2, ""),
        ("1 000 000 requests: all checks together, s of CPU", "", [sum(each[name] for name in CHECKS) for each in million], 2, ""),
        ("1 000 000 requests: reading the history, s of CPU", "", [each["read"] for each in million], 2, ""),
        ("1 000 000 requests: highest memory, GiB", "≤ 2", [each["memory"] / 2**30 for each in million], 2, ""),
        (
            "growth from 100 000 to 1 000 000 requests, exponent of the steepest",
            "≤ 1.1",
            [powers[steepest]] if steepest else [],
            2,
            steepest,
        ),
    ]
    return [
        Figure(what=what, goal=goal, values=tuple(values), digits=digits, peer=peer, command=command)
        for what, goal, values, digits, peer in rows
    ]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ops", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--judge", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.judge is not None:
        print(json.dumps(judge(options.judge)))
        return
    print(machine(), flush=True)
    print_judged(
        judged(__file__, write, options.ops),
        "requests",
        ("read", *CHECKS, "summary"),
        f"{'GiB':>7}{'dropped':>9}",
        lambda told: f"{told['memory'] / 2**30:7.2f}{told['dropped']:9.0f}",
    )


if __name__ == "__main__":
    main()
