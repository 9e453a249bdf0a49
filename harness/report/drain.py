"""The shortest drain, as people and programs read it.

Each try is one line when it is over; at the end stand the answer with its bound, what the longest drain that was too short dropped, and
settings to paste. The same is in ``drain.json`` in the folder of the last try, so ``reports/latest/drain.json`` is the newest answer.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final, Literal

import msgspec
from rich.console import Console
from rich.text import Text

from harness.checks.wording import count, percent
from harness.clock import NS_PER_S
from harness.errors import MachineError
from harness.report.console import STYLES, glyphs, prose_width
from harness.report.files import write_whole
from harness.report.text import clean, encodable
from harness.units import Duration
from harness.verdict import Bound, Verdict

FILE: Final = "drain.json"
VERSION: Final = 1
MARGIN: Final = 16
"""Columns of the names of platforms."""


class DrainTry(msgspec.Struct, frozen=True, kw_only=True):
    """One run with one drain. Spans are seconds.

    Attributes:
        drain_s: How long after the platform's decision the process got its signal.
        router_s: When the router learned of it: so long after the signal, or before it when negative.
        verdict: ``pass``: no stop dropped anything; ``fail``: one did; ``unknown``: it proves neither.
        stops: Stops in order of the process type that takes the load.
        proven: Those of them that would have shown it: a request was in flight, and each answer is proven to be whole. Or it was shown.
        dropped_stops: Those that dropped a request or a new connection.
        dropped_requests: Requests that they dropped.
        dropped_connections: New connections that were taken and then lost, before the router knew.
        longest_stop_s: From the signal to the exit, the longest; None when none ended by itself.
        killed: Stops that needed SIGKILL at the end of the grace.
        what: What was dropped, or why nothing is known: one sentence; empty when it passed.
        cause: Why, as in the finding.
        cure: What to change in the app, so that a shorter drain will do.
        beside: Names of failures that no drain mends, such as a survivor.
        seed: The run's seed.
        folder: Where its history, logs and reports lie.
    """

    drain_s: float
    router_s: float
    verdict: str
    stops: int
    proven: int
    dropped_stops: int
    dropped_requests: int
    dropped_connections: int
    longest_stop_s: float | None
    killed: int
    what: str
    cause: str
    cure: str
    beside: tuple[str, ...]
    seed: int
    folder: str


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting to paste: for which platform, its text, and what to know of it."""

    platform: str
    text: str
    note: str = ""


class DrainResult(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. Spans are seconds.

    Attributes:
        verdict: ``pass``: ``shortest_s`` is it; ``fail``: not even ``up_to_s`` is enough; ``unknown``: the tries did not tell.
        exit_code: That of the command.
        endpoint_lag_s: How long after the platform's decision the router learns of a stop.
        shortest_s: The shortest drain with which nothing was dropped; None without one.
        too_short_s: The longest drain below it with which something was; None when none is too short.
        precision_s: How far apart the two are at most.
        bound: How strong it is: the stops of all tries with ``shortest_s``.
        longest_stop_s: The longest stop of all tries, from the signal to the exit; None when some had to be killed.
        settings: What to paste.
        left_out: Steps of the scenario that were no part of the tries, because nothing stops in order there.
        tries: All tries, in their order.
        again: The command line that repeats all this.
    """

    version: Literal[1] = VERSION
    scenario: str
    path: str
    engine: str
    verdict: str
    exit_code: int
    endpoint_lag_s: float
    up_to_s: float
    precision_s: float
    shortest_s: float | None
    too_short_s: float | None
    bound: Bound | None
    longest_stop_s: float | None
    settings: tuple[Setting, ...]
    left_out: tuple[str, ...]
    tries: tuple[DrainTry, ...]
    again: str


def write_result(result: DrainResult) -> Path:
    """Write ``drain.json`` into the folder of the last try and return its path; raises `MachineError` when it can't be written."""
    path = Path(result.tries[-1].folder) / FILE
    try:
        write_whole(path, msgspec.json.format(msgspec.json.encode(_encodable(result)), indent=2) + b"\n")
    except OSError as error:
        raise MachineError(f"{path}: can't be written: {error.strerror}; free space, or name another folder with --reports") from error
    return path


def _encodable(result: DrainResult) -> DrainResult:
    """``result`` with the app's own words made fit for UTF-8."""
    tries = tuple(
        msgspec.structs.replace(each, what=encodable(each.what), cause=encodable(each.cause), folder=encodable(each.folder))
        for each in result.tries
    )
    return msgspec.structs.replace(result, path=encodable(result.path), again=encodable(result.again), tries=tries)


def words_of(seconds: float) -> str:
    """``2.5s``, as a scenario spells it."""
    return str(Duration(ns=round(seconds * NS_PER_S)))


def print_head(name: str, lag_s: float, left_out: tuple[str, ...], console: Console) -> None:
    """Print what is looked for."""
    console.print(Text.assemble("shortest drain of: ", (clean(name), "bold")), soft_wrap=True)
    when = f"{words_of(lag_s)} after the platform has decided on it" if lag_s else "as soon as the platform has decided on it"
    _prose(console, f"the router learns of a stop {when} (endpoint lag)", "  ")
    if left_out:
        _prose(console, f"left out, as nothing stops in order there: {'; '.join(map(clean, left_out))}", "  ")
    console.print()


def print_try(tried: DrainTry, console: Console) -> None:
    """Print one line for a try that is over."""
    verdict = verdict_of(tried.verdict)
    dropped = f"{tried.dropped_stops} of {count(tried.proven, 'stop')} dropped something"
    parts = [count(tried.dropped_requests, "request")] if tried.dropped_requests else []
    parts += [count(tried.dropped_connections, "new connection")] if tried.dropped_connections else []
    told = f"{dropped}: {' and '.join(parts)}" if parts else dropped if tried.verdict != "unknown" else clean(tried.what)
    console.print(
        Text.assemble((f"  {glyphs(console).marks[verdict]} ", STYLES[verdict]), f"drain {words_of(tried.drain_s):>7}  ", told),
        soft_wrap=True,
    )


def print_result(result: DrainResult, console: Console, file: Path) -> None:
    """Print the answer, its proof and what to paste; ``file`` is where the same lies for programs."""
    verdict = verdict_of(result.verdict)
    console.print()
    console.print(Text.assemble((f"{verdict.name:<9}", STYLES[verdict]), (_answer(result), "bold")), soft_wrap=True)
    if result.bound is not None:
        proof = f"0 of {count(result.bound.trials, 'stop')} with it dropped a request: at most {percent(result.bound.upper)} do"
        _prose(
            console,
            f"{proof}, at {percent(result.bound.confidence)} (--confirm, or repeat: on a step, gives more stops and a lower bound)",
            " " * 9,
        )
    worst = _worst(result)
    if worst is not None:
        console.print()
        _prose(console, f"with a drain of {words_of(worst.drain_s)}: {clean(worst.what)}", "  ")
        for label, text in (("why", worst.cause), ("cure", worst.cure)):
            if text:
                _prose(console, clean(text), f"    {label:<6}")
    _settings(result, console)
    beside = sorted({name for each in result.tries for name in each.beside})
    if beside:
        console.print()
        _prose(console, f"beside that the tries failed for what no drain mends: {', '.join(beside)}; jetable check FOLDER says more", "  ")
    console.print()
    for label, text in (("report", result.tries[-1].folder), ("result", str(file)), ("again", result.again)):
        console.print(Text.assemble((f"{label:<8}", "dim"), clean(text)), soft_wrap=True)


def _answer(result: DrainResult) -> str:
    if result.verdict == "fail":
        only = len({each.drain_s for each in result.tries}) == 1
        return f"a drain of {words_of(result.up_to_s)} {'is not enough' if only else 'is not enough either'}"
    if result.shortest_s is None or result.verdict == "unknown":
        return "the shortest drain is unknown"
    if result.shortest_s == 0:
        return "no drain is needed"
    if result.too_short_s is None:
        return f"a drain of {words_of(result.shortest_s)} is enough"
    return f"the shortest drain is {words_of(result.shortest_s)} ({words_of(result.too_short_s)} is too short)"


def _worst(result: DrainResult) -> DrainTry | None:
    """The try that says why the answer is no better: what was dropped with the longest drain that is too short, or why nothing is known."""
    word = "unknown" if result.verdict == "unknown" else "fail"
    return max((each for each in result.tries if each.verdict == word), key=lambda each: each.drain_s, default=None)


def _settings(result: DrainResult, console: Console) -> None:
    last = ""
    if result.settings:
        console.print()
    for setting in result.settings:
        name = setting.platform if setting.platform != last else ""
        note = (f"   # {setting.note}", "dim") if setting.note else ""
        console.print(Text.assemble((f"  {name:<{MARGIN - 2}}", "bold cyan"), setting.text, note), soft_wrap=True)
        last = setting.platform


def verdict_of(word: str) -> Verdict:
    """The verdict that is written as ``word``."""
    return Verdict[word.upper()]


def _prose(console: Console, text: str, first: str) -> None:
    """Wrapped text; what does not fit into the first line is indented as far as ``first`` is long."""
    lines = textwrap.wrap(text, max(20, prose_width(console) - len(first)), break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(lines):
        console.print(Text((first if number == 0 else " " * len(first)) + line), soft_wrap=True)
