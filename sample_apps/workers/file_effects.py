"""Effects as lines of a file that all workers of a machine share, for queues that are no place for results."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class FileEffects:
    """A file with a line for each effect; a line is appended by one ``write(2)``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._read = 0
        self._seen: set[str] = set()

    def add(self, job: str) -> None:
        """Append a line."""
        with self._file() as file:
            os.write(file, f"{job}\n".encode())

    def add_once(self, job: str) -> None:
        """Append a line if there is none; nobody else comes in between."""
        with self._file() as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
            size = os.fstat(file).st_size
            self._seen.update(os.pread(file, size - self._read, self._read).decode().splitlines())
            self._read = size
            if job not in self._seen:
                os.write(file, f"{job}\n".encode())

    @contextmanager
    def _file(self) -> Iterator[int]:
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            yield file
        finally:
            os.close(file)
