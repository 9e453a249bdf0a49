"""Histories that were judged, as people and programs read them: a line a file, and below it what is wrong with its proof and a picture."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Final

import msgspec
from rich.console import Console
from rich.text import Text

from harness.checks.wording import count
from harness.errors import MachineError
from harness.histories import HistoryReport, Wrong, exit_of
from harness.report.console import STYLES, glyphs, prose_width
from harness.report.text import clean, clean_lines, encodable
from harness.verdict import Verdict

VERSION: Final = 1


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` prints.

    Attributes:
        version: Of this format; 1.
        exit_code: How the command ends.
        histories: A record a file, in the order of the command line.
    """

    version: int
    exit_code: int
    histories: tuple[HistoryReport, ...]


def print_history(report: HistoryReport, console: Console) -> None:
    """Print what is known of one file, but an error, which is told elsewhere."""
    if report.verdict == "error":
        return
    verdict = Verdict[report.verdict.upper()]
    mark = (f"{glyphs(console).marks[verdict]} ", STYLES[verdict])
    console.print(Text.assemble(mark, f"{clean(report.file)}: {_judged(report)}: ", (_said(report), "bold")), soft_wrap=True)
    for wrong in report.wrong:
        _print_wrong(wrong, console, several=len(report.wrong) > 1)
    if report.verdict != "unknown":  # then the first stands in the line above
        _listed(report.undecided, "undecided", console)
    else:
        _listed(report.undecided[1:], "also", console)
    _listed(report.notes, "note", console)


def print_summary(reports: Sequence[HistoryReport], console: Console) -> None:
    """Print how many of several files are right."""
    ends = Counter(report.verdict for report in reports)
    words = {"pass": "linearizable", "fail": "not linearizable", "unknown": "unknown", "error": "not readable"}
    told = ", ".join(f"{ends[verdict]} {word}" for verdict, word in words.items() if ends[verdict])
    console.print(f"{count(len(reports), 'history', 'histories')}: {told}", soft_wrap=True)


def write_json(reports: Iterable[HistoryReport], file: IO[bytes]) -> None:
    """Write one JSON document of all files."""
    told = tuple(reports)
    document = Document(version=VERSION, exit_code=exit_of(told), histories=told)
    builtins = msgspec.to_builtins(document)
    file.write(msgspec.json.format(msgspec.json.encode(_encodable(builtins)), indent=2) + b"\n")
    file.flush()


def write_witness(wrong: Wrong, path: Path) -> None:
    """Write the operations of ``wrong`` as a history of its own.

    Raises:
        MachineError: The file can't be written.
    """
    lines = [msgspec.json.encode(_encodable(line)) + b"\n" for line in wrong.operations]
    try:
        path.write_bytes(b"".join(lines))
    except OSError as error:
        raise MachineError(f"{path}: the witness can't be written: {error.strerror}; give --witness another file") from error


def _judged(report: HistoryReport) -> str:
    parts = [count(report.operations, "operation")]
    if report.keys > 1:
        parts.append(f"on {count(report.keys, 'key')}")
    if report.clients:
        parts.append(f"by {count(report.clients, 'client')}")
    return f"{' '.join(parts)} on a {report.model}" if report.keys <= 1 else f"{' '.join(parts)}, each a {report.model}"


def _said(report: HistoryReport) -> str:
    match report.verdict:
        case "pass":
            return "linearizable"
        case "fail":
            return f"not linearizable: {report.wrong[0].means}" if report.wrong else "not linearizable"
        case _:
            return f"unknown: {clean(report.undecided[0])}" if report.undecided else "unknown"


def _print_wrong(wrong: Wrong, console: Console, *, several: bool) -> None:
    if several:
        _prose(f"{wrong.kind} (seen {count(wrong.seen, 'time')}): {wrong.means}", "  ", console)
    for line in wrong.proof:
        _prose(clean(line), "    ", console)
    places = [str(operation["place"]) for operation in wrong.operations if "place" in operation]
    if places:
        _prose(f"Lines of the file: {', '.join(places)}.", "    ", console)
    if wrong.picture:
        console.print()
        for line in wrong.picture:
            console.print(Text("    " + "".join(clean_lines(line))), soft_wrap=True)
        console.print()


def _listed(lines: Iterable[str], label: str, console: Console) -> None:
    for line in lines:
        _prose(f"{label}: {clean(line)}", "  ", console)


def _prose(text: str, indent: str, console: Console) -> None:
    for line in textwrap.wrap(text, max(20, prose_width(console) - len(indent)), break_long_words=False, break_on_hyphens=False):
        console.print(Text(indent + line), soft_wrap=True)


def _encodable(value: object) -> object:
    """``value`` without lone surrogates, which UTF-8 can't hold."""
    match value:
        case str():
            return encodable(value)
        case list() | tuple():
            return [_encodable(item) for item in value]
        case dict():
            return {encodable(str(key)): _encodable(held) for key, held in value.items()}
        case _:
            return value
