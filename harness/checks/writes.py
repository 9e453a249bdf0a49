"""What a replica changed in its own filesystem: by folder, with the caches that are known and harmless by their names.

A container's filesystem goes with it. What an app keeps there is lost at each stop, and no other replica sees it (twelve-factor, VI). A
cache, a temporary file or a pid file may be lost; those are told and not counted. What the engine did not list may be anything and is.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from harness.checks.facts import Life
from harness.checks.wording import count


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Paths that ``pattern`` finds are ``what``; ``harmless`` when nothing is lost with them; ``hint`` says how to write them no more."""

    pattern: re.Pattern[str]
    what: str
    hint: str
    harmless: bool = True


KNOWN: Final[tuple[Known, ...]] = (
    Known(
        pattern=re.compile(r"/__pycache__(/|$)|\.py[co]$"),
        what="Python bytecode",
        hint="PYTHONDONTWRITEBYTECODE=1, or compile while the image is built",
    ),
    Known(pattern=re.compile(r"/\.npm(/|$)"), what="npm's cache", hint="start the app with node instead of npm"),
    Known(pattern=re.compile(r"/\.cache(/|$)|^/var/cache(/|$)"), what="a cache", hint="fill it while the image is built, or tmpfs"),
    Known(pattern=re.compile(r"^(/var)?/tmp(/|$)"), what="temporary files", hint="tmpfs"),
    Known(pattern=re.compile(r"^(/var)?/run(/|$)"), what="pid files", hint="tmpfs"),
    Known(pattern=re.compile(r"^/var/log(/|$)"), what="logs", hint="write them to stdout", harmless=False),
)
"""What is known by its place, the more telling first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What one replica changed.

    Attributes:
        counted: Files that are no known cache, those that were not listed among them.
        caches: Files that are.
        kept: Folders of the counted ones, each with how many files: ``/app/data: 12 files``, most first.
        known: The same of the caches, each with what it is and how to be without it.
        what: What kinds of caches there are.
    """

    counted: int
    caches: int
    kept: tuple[str, ...]
    known: tuple[str, ...]
    what: tuple[str, ...]


def written(life: Life) -> Written:
    """What ``life`` changed in its own filesystem; all zero when that is nothing."""
    paths = [path.partition(" ")[2] for path in life.wrote.paths] if life.wrote else []
    kept: Counter[tuple[str, str]] = Counter()
    known: Counter[tuple[str, str]] = Counter()
    what: dict[str, None] = {}
    for path in paths:
        kind = next((each for each in KNOWN if each.pattern.search(path)), None)
        line = str(PurePosixPath(path).parent), f", {kind.what} ({kind.hint})" if kind else ""
        if kind and kind.harmless:
            known[line] += 1
            what[kind.what] = None
        else:
            kept[line] += 1
    unlisted = life.wrote.count - len(paths) if life.wrote else 0
    return Written(
        counted=kept.total() + unlisted,
        caches=known.total(),
        kept=_lines(kept) + ((f"{count(unlisted, 'file')} more, not listed",) if unlisted else ()),
        known=_lines(known),
        what=tuple(what),
    )


def _lines(folders: Counter[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(f"{folder}: {count(times, 'file')}{what}" for (folder, what), times in folders.most_common())
