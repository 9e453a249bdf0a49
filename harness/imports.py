"""What a Python app imported while it started, from what the interpreter itself writes about it.

With ``PYTHONPROFILEIMPORTTIME=1`` in its environment (or ``-X importtime``) CPython writes a line to stderr for each module, in
microseconds: ``import time: self | cumulative | name``, the name indented by two spaces for each level. Lines of several processes may be
mixed; a module that several of them import counts once, with the longest time. Other programs ignore the variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from harness.history import Import, Imported

VARIABLE: Final = "PYTHONPROFILEIMPORTTIME"
"""The environment variable that makes Python tell."""

MOST: Final = 10
_LINE: Final = re.compile(r"^import time:\s*(\d+)\s*\|\s*(\d+)\s*\| ( *)(\S+)\s*$")
_NS_PER_US: Final = 1000


def imported(lines: Iterable[str], *, replica: str, at_ns: int) -> Imported | None:
    """The packages that took longest of what ``lines`` of a log tell; None when they tell of no import."""
    took: dict[str, int] = {}
    for line in lines:
        if found := _LINE.match(line):
            took[found[4]] = max(took.get(found[4], 0), int(found[1]) * _NS_PER_US)
    if not took:
        return None
    packages: dict[str, list[str]] = {}
    for name in took:
        packages.setdefault(name.partition(".")[0], []).append(name)
    imports = [
        Import(
            name=package,
            self_ns=sum(took[name] for name in modules),
            modules=len(modules),
            slowest=max(modules, key=lambda name: took[name]),
        )
        for package, modules in packages.items()
    ]
    imports.sort(key=lambda each: (-each.self_ns, each.name))
    return Imported(at_ns=at_ns, replica=replica, total_ns=sum(took.values()), top=tuple(imports[:MOST]))
