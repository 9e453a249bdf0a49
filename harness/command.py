"""The command of a process type: directly executed where it can be, under ``sh -c`` only where it must.

A shell between the engine and the app is the classic thief of signals: it gets SIGTERM, and the app never does. So a command written as
text is split and executed directly unless it uses something that only a shell understands; then it runs under ``sh -c`` and the run says
so. Placeholders ``{python} {port} {scratch} {replica}`` are no shell syntax; the engine fills them in when it knows their values.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Final

from harness.words import MistakeError

PLACEHOLDERS: Final[Mapping[str, str]] = {
    "python": "the Python interpreter that runs Jetable",
    "port": "the port that the replica must listen on, also in its environment as PORT",
    "scratch": "a folder of this run for temporary files, shared by all replicas and removed afterwards",
    "replica": "the replica's name, such as web.1",
}
"""What may stand in braces in a command or in the value of an environment variable."""

_PLACEHOLDER: Final = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")
_SHELL_CHARACTERS: Final = frozenset("|&;<>()$`*?[\n")
_SHELL_WORD_STARTS: Final = frozenset("#~")
_SHELL_WORDS: Final = frozenset({"{", "}", "!"})
_SHELL_COMMANDS: Final = frozenset(
    {".", ":", "cd", "eval", "exec", "export", "for", "if", "set", "source", "trap", "ulimit", "umask", "unset", "until", "while"}
)
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=", re.ASCII)


def fill(text: str, values: Mapping[str, object]) -> str:
    """``text`` with ``{python} {port} {scratch} {replica}`` replaced by ``values``; all other braces stay as they are.

    Raises:
        KeyError: ``text`` uses a placeholder that ``values`` lacks.
    """
    return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), text)


def needs_shell(command: str) -> bool:
    """Whether ``command`` uses something that only a shell understands."""
    text = _PLACEHOLDER.sub("x", command.strip())
    words = text.split()
    if not words or words[0] in _SHELL_COMMANDS or _ASSIGNMENT.match(words[0]):
        return bool(words)
    return any(word in _SHELL_WORDS for word in words) or _has_shell_character(text)


def split(command: str) -> tuple[str, ...]:
    """The words of ``command`` as a shell would split them, or ``sh -c`` and the command where it needs a shell.

    Raises:
        MistakeError: A quote is not closed.
    """
    if needs_shell(command):
        return ("sh", "-c", command.strip())
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise MistakeError(f"can't be split into words: {str(error).lower()}") from None


def _has_shell_character(text: str) -> bool:
    """Walk over ``text`` as a shell does: nothing is special in single quotes, little in double quotes."""
    quote = ""
    skip = False
    before = " "
    for char in text:
        if skip:
            skip = False
        elif quote == "'":
            quote = "" if char == "'" else quote
        elif char == "\\":
            skip = True
        elif quote == '"':
            if char in "$`":
                return True
            quote = "" if char == '"' else quote
        elif char in "'\"":
            quote = char
        elif char in _SHELL_CHARACTERS or (char in _SHELL_WORD_STARTS and before.isspace()):
            return True
        before = char
    return False
