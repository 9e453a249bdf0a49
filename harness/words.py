"""The wording that every message about a scenario file shares.

A message says what is wrong in the words of the file, shows the value as its author wrote it, and offers the nearest name where
there is one. Keeping the phrases here keeps them alike.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SHOWN_CHARACTERS = 60


class MistakeError(ValueError):
    """Somebody wrote something that has to be mended; the message is a sentence that tells its author how."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean "x"?)`` with the nearest of ``known``, or nothing when none is near."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if not near:
        lowered = {name.lower(): name for name in names}
        near = [lowered[match] for match in difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.6)]
    return f' (did you mean "{near[0]}"?)' if near else ""


def one_of(names: Iterable[object]) -> str:
    """``a, b or c``, each text in quotes."""
    return _listed(names, "or")


def all_of(names: Iterable[object]) -> str:
    """``a, b and c``, each text in quotes."""
    return _listed(names, "and")


def _listed(names: Iterable[object], last: str) -> str:
    words = [f'"{name}"' if isinstance(name, str) else str(name) for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def quoted(text: str) -> str:
    """``text`` in double quotes on one line, cut where it is long."""
    line = printable(text)
    return f'"{line}"' if len(line) <= _SHOWN_CHARACTERS else f'"{line[:_SHOWN_CHARACTERS]}…"'


def printable(text: str) -> str:
    """``text`` on one line, with an escape for each character that a terminal would not show."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def shown(value: object) -> str:
    """A value of a YAML file in words: ``the text "5"``, ``the number 5``, ``a list``."""
    match value:
        case None | bool():
            words = {None: "nothing", True: "true", False: "false"}[value]
        case int() | float():
            words = f"the number {value}"
        case str():
            words = f"the text {quoted(value)}" if value else "an empty text"
        case list() | tuple():
            words = "a list" if value else "an empty list"
        case dict():
            words = "a mapping" if value else "an empty mapping"
        case _:
            words = quoted(str(value))
    return words
