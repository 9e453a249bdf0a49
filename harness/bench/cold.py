"""Starts without what earlier starts have left warm: files in memory, and Python's compiled modules.

What stays warm all the same: files that a running program has mapped, such as the interpreter and the libraries that Jetable itself shares
with a target in Python; what a disk, or a hypervisor below this machine, keeps in its own memory; and the modules that an interpreter
carries frozen inside.
"""

from __future__ import annotations

import os
from typing import Final

from harness.errors import MachineError

DROP: Final = "/proc/sys/vm/drop_caches"
ALL: Final = b"3"
"""Page cache (1), and directory entries and inodes (2): proc(5)."""

VARIABLE: Final = "PYTHONPYCACHEPREFIX"
"""With it set, Python looks for compiled modules below that folder and nowhere else, those of installed packages included (PEP 304's heir,
since Python 3.8)."""


def may_drop_caches() -> str:
    """Why the page cache can't be dropped here, and what helps; empty when it can. Drops nothing."""
    try:
        os.close(os.open(DROP, os.O_WRONLY | os.O_CLOEXEC))
    except OSError as error:
        return (
            f"the page cache can't be dropped: {DROP}: {error.strerror}. That takes root, and in a container --privileged: "
            "run it with sudo, on the machine itself, or leave out --drop-caches"
        )
    return ""


def drop_caches() -> None:
    """Write what is dirty to the disk, and drop all files from memory that nobody has mapped. It slows down all of the machine.

    Raises:
        MachineError: It is not allowed.
    """
    os.sync()  # what is dirty is not dropped
    try:
        fd = os.open(DROP, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, ALL)
        finally:
            os.close(fd)
    except OSError as error:
        raise MachineError(may_drop_caches() or f"the page cache can't be dropped: {DROP}: {error.strerror}") from error
