"""Foreign text made fit to print.

Log lines, paths and tracebacks come from the app under test, so they may hold anything: colour codes, control characters, lone
surrogates, text that runs from right to left. Cleaned text has none of it, can't move a terminal's cursor and is valid in XML.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

ESCAPE_SEQUENCE: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC: titles, links
    r"|\x1b[ -/]*[0-~]"  # the short ones
)
_UNSEEN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_NO_CHARACTER: Final = frozenset("\ufffe\uffff")


def clean(text: str) -> str:
    r"""``text`` on one line: line ends and tabs become spaces, escape sequences go, other control characters are spelled ``\x07``."""
    return _visible(" ".join(text.replace("\t", " ").splitlines())).strip()


def clean_lines(text: str) -> list[str]:
    """The lines of ``text``, each as `clean` but with its indentation; empty lines are left out."""
    lines = [_visible(line.replace("\t", "    ")).rstrip() for line in text.splitlines()]
    return [line for line in lines if line]


def encodable(text: str) -> str:
    """``text`` with lone surrogates spelled out, so that UTF-8 can hold it; nothing else changes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def elapsed(seconds: float) -> str:
    """A span of time as a running clock shows it, without jumping units: ``0.8 s``, ``31.2 s``, ``2m05s``."""
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest_s:02}s"


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if _shows(char) else ascii(char)[1:-1] for char in ESCAPE_SEQUENCE.sub("", text))


def _shows(char: str) -> bool:
    return char.isprintable() or not (unicodedata.category(char) in _UNSEEN or char in _TURNING or char in _NO_CHARACTER)
