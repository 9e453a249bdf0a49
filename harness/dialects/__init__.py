"""Dialects: the languages in which people have histories of operations on state, each read into the same columns.

One file a dialect, one line in `DIALECTS`. A dialect says what it looks like and reads a whole file; it judges nothing. What nil and fail
mean in each is told in docs/histories.md. What can't be read exactly is refused with its line and the cure, and never guessed at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.dialects import jepsen_edn, jepsen_json, jepsen_log, jsonl
from harness.dialects.events import Meaning, Told
from harness.dialects.models import MODELS
from harness.dialects.source import Source
from harness.dialects.values import WrongHistoryError
from harness.errors import UsageError
from harness.monitors.calls import INITIAL_TEXT, Calls
from harness.words import did_you_mean, one_of, printable

__all__ = ["DIALECTS", "MODELS", "Options", "Reading", "check_names", "read_history"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One language.

    Attributes:
        what: What it is, in half a sentence.
        looks_like: Whether a text begins as this dialect does.
        read: Reads a whole file.
        failed_cas_looks: Whether a compare-and-set that failed has seen another value, where nobody says so for a file.
    """

    what: str
    looks_like: Callable[[str], bool]
    read: Callable[[Source, Meaning], Told]
    failed_cas_looks: bool = False


DIALECTS: Final[dict[str, Dialect]] = {
    "jsonl": Dialect(what=jsonl.WHAT, looks_like=jsonl.looks_like, read=jsonl.read),
    "jepsen-json": Dialect(what=jepsen_json.WHAT, looks_like=jepsen_json.looks_like, read=jepsen_json.read),
    "jepsen-edn": Dialect(what=jepsen_edn.WHAT, looks_like=jepsen_edn.looks_like, read=jepsen_edn.read),
    "jepsen-log": Dialect(what=jepsen_log.WHAT, looks_like=jepsen_log.looks_like, read=jepsen_log.read, failed_cas_looks=True),
}
"""Every dialect; a file is of the first one that it looks like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How files are to be read.

    Attributes:
        dialect: A key of `DIALECTS`; empty: the one that a file looks like.
        initial: The text of a register's value before any write.
        failed_cas: ``look``, ``nothing``, or empty for what the dialect says.
        nil: ``initial``: a read that answered nil saw that nothing is there; ``unknown``: it tells nothing.
        keyed: ``yes``, ``no``, or ``auto``: whether values of events are pairs of a key and a value.
    """

    dialect: str = ""
    initial: str = INITIAL_TEXT
    failed_cas: str = ""
    nil: str = "initial"
    keyed: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A history that was read.

    Attributes:
        calls: Its operations.
        model: A key of `MODELS`: the one that was asked for, or the one that follows from the operations.
        dialect: A key of `DIALECTS`.
        notes: What the reader should know of the file, a sentence each.
    """

    calls: Calls
    model: str
    dialect: str
    notes: tuple[str, ...] = ()


def read_history(path: Path, model: str, options: Options) -> Reading:
    """The history in ``path``, of ``model``, a key of `MODELS`; empty: the one that has its operations.

    Raises:
        UsageError: It can't be read; the message names the file, the line, what is wrong and the cure.
    """
    try:
        source = Source(data=path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    try:
        name = options.dialect or _recognised(source)
        dialect = DIALECTS[name]
        meaning = Meaning(
            model=model or None,
            initial=options.initial,
            failed_cas_looks=options.failed_cas == "look" if options.failed_cas else dialect.failed_cas_looks,
            nil_tells=options.nil != "unknown",
            keyed={"yes": True, "no": False}.get(options.keyed),
        )
        told = dialect.read(source, meaning)
    except WrongHistoryError as error:
        place = f"{path}:{error.line}" if error.line else f"{path}"
        raise UsageError(f"{place}: {printable(str(error))}") from error
    return Reading(calls=told.calls, model=told.model, dialect=name, notes=told.notes)


def check_names(*, model: str, dialect: str, initial: str | None) -> None:
    """Refuse names that are no model's and no dialect's, and options that don't go together.

    Raises:
        UsageError: The message names those that there are.
    """
    for flag, name, known in (("model", model, MODELS), ("dialect", dialect, DIALECTS)):
        if name and name not in known:
            raise UsageError(f"--{flag} {name}: there is no such {flag}{did_you_mean(name, known)}; name {one_of(known)}")
    if initial is not None and model not in ("", "register"):
        raise UsageError(f"--initial is the first value of a register; a {model} begins empty")


def _recognised(source: Source) -> str:
    """The dialect of a file."""
    if not source.data.strip():
        raise WrongHistoryError(0, "it is empty; nothing can be judged")
    if source.data.startswith(b"JEPSEN"):
        raise WrongHistoryError(0, "it is Jepsen's binary file; give the history.edn that lies beside it")
    head = source.head()
    for name, dialect in DIALECTS.items():
        if dialect.looks_like(head):
            return name
    if b"\x00" in source.data or "\ufffd" in head:
        source.text()
    known = ", ".join(f"{name} ({dialect.what})" for name, dialect in DIALECTS.items())
    raise WrongHistoryError(0, f"it looks like no dialect that is known: {known}; name one with --dialect")
