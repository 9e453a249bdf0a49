"""The load's own ledger: a `harness.history.LedgerWriter` that says in one sentence why it can't be written.

Nothing of a request's own path is here: only making, growing and closing the file can fail, and they are rare.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.errors import MachineError
from harness.history import LedgerWriter

if TYPE_CHECKING:
    from pathlib import Path


class Ledger(LedgerWriter):
    """Raises `MachineError` where its base raises `OSError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        with self._or_sentence():
            super().__init__(path)

    def close(self) -> None:
        """Cut the unused rest off and close the file; a second call does nothing."""
        with self._or_sentence():
            super().close()

    def _grow(self, needed: int) -> None:
        with self._or_sentence():
            try:
                super()._grow(needed)
            except OSError:
                os.ftruncate(self._fd, self._size)  # gives back what was allocated in vain, so that the log has room to say why
                raise

    @contextmanager
    def _or_sentence(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise MachineError(f"can't write {self._path}: {error.strerror}; free space, or name another folder with --reports") from error
