"""Files that a person asked for by a flag: looked at before anything starts, so that no hour of work ends in a typo."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from harness.benches import Bench
from harness.errors import MachineError, UsageError
from harness.report.files import write_whole
from harness.report.hyperfine import to_csv, to_hyperfine, to_markdown

EXPORTS: Final[dict[str, Callable[[Bench], bytes]]] = {"json": to_hyperfine, "csv": to_csv, "markdown": to_markdown}
"""How a bench is written by each ``--export-…`` flag."""


def check_places(places: Mapping[str, Path | None]) -> None:
    """Raise `UsageError` when a file that was asked for could not be written."""
    for name, place in places.items():
        if place is not None and not place.parent.is_dir():
            raise UsageError(f"--export-{name} {place}: there is no folder {place.parent}; make it first")
        if place is not None and not os.access(place.parent if not place.exists() or place.is_file() else place, os.W_OK):
            raise UsageError(f"--export-{name} {place}: nothing may be written there; name a file in a folder of yours")


def write_exports(bench: Bench, places: Mapping[str, Path | None]) -> None:
    """Write what was asked for; raises `MachineError` when a file can't be written."""
    for name, place in places.items():
        if place is not None:
            try:
                write_whole(place, EXPORTS[name](bench))
            except OSError as error:
                raise MachineError(f"--export-{name} {place}: can't be written: {error.strerror}") from error
