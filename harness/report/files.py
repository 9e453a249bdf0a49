"""Files that are either whole or not there, and the pointer to the newest run."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from harness.errors import UsageError

LATEST: Final = "latest"

_NO_SYMLINKS: Final = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP})


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader sees all of it or what was there before, even after a crash.

    A pipe or device, such as ``/dev/stdout``, is written to and not replaced. Raises `OSError` when it can't be written.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def update_latest(reports: Path, folder: Path) -> Path:
    """Let ``reports/latest`` mean ``folder`` and return its path; at no instant is it missing.

    It is a symbolic link with a relative target, so that the reports can be moved. Where the file system has no such links it is a
    file that holds that target.

    Raises:
        UsageError: ``reports/latest`` is a folder that somebody made.
    """
    latest = reports / LATEST
    if latest.is_dir() and not latest.is_symlink():
        raise UsageError(f"{latest} is a folder, but must point to the newest run; move it away")
    reports.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(folder.resolve(), reports.resolve())
    beside = _beside(latest)
    try:
        beside.symlink_to(target, target_is_directory=True)
    except OSError as error:
        if error.errno not in _NO_SYMLINKS:
            raise
        write_whole(latest, f"{target}\n".encode())
    else:
        try:
            beside.replace(latest)
        finally:
            beside.unlink(missing_ok=True)
    return latest


def _beside(path: Path) -> Path:
    """A new name in the same folder; a process id would not do, every container has a process 1."""
    return path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
