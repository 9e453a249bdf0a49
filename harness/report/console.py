"""Where reports for people are printed, and how much that place can do.

Colour: on a terminal, unless NO_COLOR is set, CI is set or the terminal is dumb; FORCE_COLOR asks for it everywhere, and NO_COLOR
wins over both (no-color.org, force-color.org). Motion: only on a real terminal outside CI; colour that is forced into a pipe does
not bring a moving display along.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import TextIOWrapper
from typing import IO, Any, Final, Literal, TextIO

from rich.console import Console

from harness.verdict import Verdict

WIDEST: Final = 120
"""Prose is wrapped here even where the terminal is wider; longer lines are hard to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """The few signs that the reports use."""

    marks: Mapping[Verdict, str]
    dot: str
    more: str
    problem: str
    spinner: str


_UNICODE: Final = Glyphs(marks={Verdict.FAIL: "✗", Verdict.UNKNOWN: "?", Verdict.PASS: "✓"}, dot="·", more="…", problem="!", spinner="dots")
_ASCII: Final = Glyphs(marks={Verdict.FAIL: "x", Verdict.UNKNOWN: "?", Verdict.PASS: "+"}, dot="-", more="...", problem="!", spinner="line")

STYLES: Final[Mapping[Verdict, str]] = {Verdict.FAIL: "bold red", Verdict.UNKNOWN: "bold yellow", Verdict.PASS: "bold green"}


def console_for(file: TextIO, environ: Mapping[str, str], *, width: int | None = None) -> Console:
    """A console on ``file`` that honours NO_COLOR, FORCE_COLOR, CI and TERM of ``environ``.

    A ``file`` that can't encode a character of a log line writes it as an escape from now on instead of raising.
    """
    if isinstance(file, TextIOWrapper) and not _is_unicode(file.encoding):
        file.reconfigure(errors="backslashreplace")
    forced = bool(environ.get("FORCE_COLOR"))
    plain = bool(environ.get("NO_COLOR")) or (in_ci(environ) and not forced)
    console = _Console(file, environ, None if plain else "auto", width)
    if forced and not plain and console.color_system is None:  # TERM=dumb, as many CI machines have it
        return _Console(file, environ, "standard", width)
    return console


class _Console(Console):
    """A console that prints text as it is, and whose reader may go away (``jetable run … | head``) without ending the run."""

    def __init__(self, file: TextIO, environ: Mapping[str, str], color: Literal["auto", "standard"] | None, width: int | None) -> None:
        super().__init__(
            file=file, _environ=environ, color_system=color, width=width, highlight=False, markup=False, emoji=False, force_jupyter=False
        )

    def on_broken_pipe(self) -> None:
        """Print nothing any more; what the run finds is in its folder, and its exit code tells the rest."""
        self.quiet = True
        forget_reader(self.file)


def forget_reader(file: IO[Any]) -> None:
    """Send what is still to be written to ``file`` nowhere, because nobody reads it any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, file.fileno())
    finally:
        os.close(nowhere)


def in_ci(environ: Mapping[str, str]) -> bool:
    """Whether ``environ`` says that a CI machine runs this, where nobody watches and the output is kept as a log."""
    return environ.get("CI", "").lower() not in ("", "0", "false", "no")


def may_move(console: Console, environ: Mapping[str, str]) -> bool:
    """Whether a moving display can be shown on ``console``: a real terminal, not dumb, with a person in front of it."""
    try:
        terminal = console.file.isatty()
    except ValueError:  # closed
        terminal = False
    return terminal and console.is_interactive and not in_ci(environ)


def glyphs(console: Console) -> Glyphs:
    """Signs that ``console`` can encode."""
    return _UNICODE if _is_unicode(console.encoding) else _ASCII


def prose_width(console: Console) -> int:
    """Columns to wrap prose at."""
    return min(console.width, WIDEST)


def _is_unicode(encoding: str) -> bool:
    return encoding.lower().startswith("utf")
