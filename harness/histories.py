"""Judges histories that somebody brings: reads a file, asks the model's monitor, and makes what is wrong small enough to be understood.

It starts nothing and knows no run. The record that it makes is what `jetable check --history` prints, as text or as JSON. Time is bounded:
the monitor gets the budget, and as much again is spent on the witnesses at most.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from harness.clock import Clock
from harness.dialects import MODELS, Options, Reading, read_history
from harness.dialects.events import HELD
from harness.errors import ExitCode, NothingSelectedError, UsageError
from harness.monitors import MONITORS, lanes
from harness.monitors.calls import INITIAL_TEXT, Calls
from harness.monitors.judged import KINDS, Budget, Judged, Monitor, Violation
from harness.monitors.lines import encode
from harness.monitors.witness import shrink
from harness.monitors.words import proof
from harness.verdict import Verdict, exit_code, worst

SUFFIXES: Final = (".edn", ".json", ".jsonl", ".log", ".ndjson", ".txt")
"""What files of a folder are named that hold histories."""
MOST_STEPS: Final = 20_000_000
"""Configurations that a search looks at for a key, so that its memory is bounded as its time is."""

Line: TypeAlias = dict[str, object]
"""An operation as the fields of a line of JSON (see `harness.monitors.lines`)."""


class Wrong(msgspec.Struct, frozen=True, kw_only=True):
    """What can't be right, with its proof.

    Attributes:
        kind: A key of `harness.monitors.judged.KINDS`.
        means: The kind in half a sentence.
        seen: How often it was seen.
        operations: The witness: operations that are wrong without any others, as lines of JSON.
        minimal: Whether they are explained when any one of them is left out.
        proof: Sentences that prove it.
        picture: Lanes of the operations, lines of text.
    """

    kind: str
    means: str
    seen: int
    operations: tuple[Line, ...]
    minimal: bool
    proof: tuple[str, ...]
    picture: tuple[str, ...]


class HistoryReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one file.

    Attributes:
        file: Its path, as it was given.
        verdict: ``pass``, ``fail`` or ``unknown``; ``error`` when it could not be read.
        error: Why it could not be read; else empty.
        dialect: The language it is written in.
        model: The model that judged it.
        operations: How many were judged: all but those that provably had no effect.
        reads: How many of them told what is there.
        keys: How many keys they were on.
        clients: Whose they were: how many sessions; 0 when the file does not say.
        wrong: What is wrong, an example a kind, worst first.
        undecided: What was not decided and why.
        notes: What to know of the file.
    """

    file: str
    verdict: str
    error: str = ""
    dialect: str = ""
    model: str = ""
    operations: int = 0
    reads: int = 0
    keys: int = 0
    clients: int = 0
    wrong: tuple[Wrong, ...] = ()
    undecided: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of files.

    Attributes:
        model: A key of `MODELS`; empty: the one that has a file's operations.
        budget_s: How long the monitor may take for a file, in seconds.
        options: How files are read.
        monitors: Who judges.
    """

    model: str
    budget_s: float
    options: Options
    monitors: Mapping[str, Monitor] = field(default_factory=lambda: MONITORS)


def judge_history(path: Path, asked: Asked, clock: Clock) -> HistoryReport:
    """Judge the history in ``path``; a file that can't be read is a report with its error."""
    try:
        reading = read_history(path, asked.model, asked.options)
    except UsageError as error:
        return HistoryReport(file=str(path), verdict="error", error=str(error), model=asked.model)
    monitor = asked.monitors[MODELS[reading.model].monitor]
    judged = monitor(reading.calls, budget_of(asked.budget_s, clock))
    return HistoryReport(
        file=str(path),
        verdict=judged.verdict.word,
        dialect=reading.dialect,
        model=reading.model,
        operations=judged.operations,
        reads=judged.reads,
        keys=len(reading.calls.keys),
        clients=len([name for name in reading.calls.sessions if name]),
        wrong=tuple(_wrong(reading, judged, monitor, asked, clock)),
        undecided=judged.undecided,
        notes=reading.notes,
    )


def budget_of(seconds: float, clock: Clock) -> Budget:
    """A budget that is over in so many seconds."""
    end_ns = clock.now_ns() + round(seconds * 1e9)
    return Budget(steps=MOST_STEPS, over=lambda: clock.now_ns() >= end_ns)


def exit_of(reports: Iterable[HistoryReport]) -> ExitCode:
    """How a command ends that judged ``reports``: as `ExitCode.USAGE` when a file could not be read, else by the worst verdict."""
    words = [report.verdict for report in reports]
    if "error" in words:
        return ExitCode.USAGE
    return exit_code(worst(Verdict[word.upper()] for word in words))


def files_of(paths: Iterable[Path]) -> list[Path]:
    """The files that ``paths`` name: those that are in folders, by their `SUFFIXES`, in order of their names.

    Raises:
        UsageError: A path is not there.
        NothingSelectedError: A folder holds no such file.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.suffix in SUFFIXES and one.is_file())
            if not inside:
                raise NothingSelectedError(f"{path}: holds no history; name files that end in {', '.join(SUFFIXES)}")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"{path}: there is no such file; name a history, or a folder of them")
    return found


def _wrong(reading: Reading, judged: Judged, monitor: Monitor, asked: Asked, clock: Clock) -> Iterator[Wrong]:
    """An example of each kind of violation, the worst, made small."""
    first: dict[str, Violation] = {}
    for violation in judged.violations:
        first.setdefault(violation.kind, violation)
    for kind, violation in first.items():
        witness = shrink(reading.calls, violation, monitor, budget_of(asked.budget_s / len(first), clock))
        yield Wrong(
            kind=kind,
            means=KINDS.get(kind, kind),
            seen=judged.counts.get(kind, 1),
            operations=lines_of(witness.calls, reading, asked.options.initial),
            minimal=witness.minimal,
            proof=tuple(proof(witness.calls, witness.violation)),
            picture=tuple(lanes.text(witness.calls)),
        )


def lines_of(calls: Calls, reading: Reading, initial: str = INITIAL_TEXT) -> tuple[Line, ...]:
    """``calls`` as lines that the same command judges the same."""
    return tuple(_line(json.loads(line), initial, mutex=reading.model == "mutex") for line in encode(calls))


def _line(line: Line, initial: str, *, mutex: bool) -> Line:
    for name in ("value", "old", "new", "result"):
        if name in line:
            line[name] = _value(line[name], initial)
    if mutex:
        old, _ = line.pop("old"), line.pop("new")
        line["f"] = "release" if old == HELD else "acquire"
        line.pop("result", None)
    return line


def _value(value: object, initial: str) -> object:
    """``value`` as a file has it that begins with ``initial``: None is the value before any write, and nil is one as any other."""
    if initial == INITIAL_TEXT:
        return value
    if value is None:
        return int(initial) if re.fullmatch(r"0|-?[1-9][0-9]*", initial, re.ASCII) else initial
    return None if value == INITIAL_TEXT else value
