"""What ``--reporter`` asks for: ``terminal``, ``json``, ``junit``, or one of the last two with a file, as in ``junit=out.xml``.

These are about all runs of one command; the files in a run's own folder are written whatever was asked for
(`harness.report.write_all`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from harness.errors import UsageError
from harness.report import REPORTERS
from harness.report.console import forget_reader
from harness.report.files import write_whole
from harness.report.model import RunReport
from harness.words import did_you_mean, one_of, quoted

TERMINAL: Final = "terminal"
NAMES: Final = (TERMINAL, *REPORTERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReporterChoice:
    """One reporter that the user asked for; without a ``path`` it goes to standard output."""

    name: str
    path: Path | None = None


def parse_reporter(written: str) -> ReporterChoice:
    """The choice that ``written`` spells, such as ``junit=out.xml``.

    Raises:
        UsageError: There is no such reporter, or its file can't be one.
    """
    name, equals, file = written.partition("=")
    said = f"--reporter {quoted(written)}"
    if name not in NAMES:
        raise UsageError(f"{said}: no reporter is called {quoted(name)}; it is {one_of(NAMES)}{did_you_mean(name, NAMES)}")
    if not equals:
        return ReporterChoice(name=name)
    if name == TERMINAL:
        raise UsageError(f"{said}: terminal takes no file; redirect standard output instead")
    if not file:
        raise UsageError(f"{said}: the file is missing after the equals sign; write {name}={REPORTERS[name].file}")
    path = Path(file)
    if path.is_dir() or file.endswith("/"):
        raise UsageError(f"{said}: {file} is a folder; write {name}={path / REPORTERS[name].file}")
    return ReporterChoice(name=name, path=path)


def check_place(choice: ReporterChoice) -> None:
    """Raise `UsageError` when the file of ``choice`` can't be written, before anything is run for it."""
    if choice.path is None:
        return
    folder = choice.path.absolute().parent
    written = f"--reporter {choice.name}={choice.path}"
    if not folder.is_dir():
        raise UsageError(f"{written}: there is no folder {folder}; make it first")
    if not os.access(choice.path if choice.path.exists() else folder, os.W_OK):
        raise UsageError(f"{written}: it may not be written; name a file of yours")


def write_choice(choice: ReporterChoice, reports: Sequence[RunReport], stdout: BinaryIO) -> None:
    """Write all ``reports`` of one command as ``choice`` says; ``terminal`` has been printed run by run and writes nothing.

    Raises:
        UsageError: The file can't be written.
    """
    if choice.name == TERMINAL:
        return
    content = REPORTERS[choice.name].of_suite(reports)
    if choice.path is None:
        try:
            stdout.write(content)
            stdout.flush()
        except BrokenPipeError:
            forget_reader(stdout)
        return
    try:
        write_whole(choice.path, content)
    except OSError as error:
        raise UsageError(f"--reporter {choice.name}={choice.path}: can't write it: {error.strerror or error}") from error
