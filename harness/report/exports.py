"""Files that a person asked for by an ``--export-…`` flag: looked at before anything starts, so that no hour of work ends in a typo."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from harness.errors import UsageError
from harness.report.console import forget_reader
from harness.report.files import write_whole

STDOUT: Final = Path("-")


def check_exports(wanted: Mapping[str, Path | None]) -> bool:
    """Whether one of them goes to standard output (``-``), where the table is then left out.

    Raises:
        UsageError: Two go to the same place, or a file can't be written.
    """
    there = [name for name, path in wanted.items() if path == STDOUT]
    if len(there) > 1:
        raise UsageError(f"--export-{' and --export-'.join(there)} both go to standard output; give all but one a file")
    places: dict[str, str] = {}
    for name, path in wanted.items():
        if path is None or path == STDOUT:
            continue
        other = places.setdefault(os.path.realpath(path), name)
        if other != name and (path.is_file() or not path.exists()):  # a pipe takes both
            raise UsageError(f"--export-{other} and --export-{name} both go to {path}; give each a file of its own")
        folder = path.absolute().parent
        if not folder.is_dir():
            raise UsageError(f"--export-{name} {path}: there is no folder {folder}; make it first")
        if not os.access(path if path.exists() else folder, os.W_OK):
            raise UsageError(f"--export-{name} {path}: it may not be written; name a file of yours")
    return bool(there)


def write_exports(wanted: Mapping[str, Path | None], contents: Mapping[str, Callable[[], bytes]], stdout: BinaryIO) -> None:
    """Write each that is wanted; raises `UsageError` when a file can't be written."""
    for name, path in wanted.items():
        if path is None:
            continue
        try:
            if path == STDOUT:
                stdout.write(contents[name]())
                stdout.flush()
            else:
                write_whole(path, contents[name]())
        except BrokenPipeError:
            forget_reader(stdout)
        except OSError as error:
            raise UsageError(f"--export-{name} {path}: can't be written: {error.strerror}") from error
