"""Places where effects show that are no service: a file that workers append to, and an answer of the app."""

from __future__ import annotations

import http.client
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.services.base import TIMEOUT_S, ServiceError

if TYPE_CHECKING:
    import re


MOST_BYTES: Final = 64 << 20
"""No answer of the app is read further."""


class FileEffects:
    """A line an effect. What stood in the file before the run is not looked at; the file need not be there yet."""

    counts = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self.absent = ""
        self._inode = 0
        self._problem = ""
        try:
            self._read = path.stat().st_size
        except OSError:
            self._read = 0

    def new(self) -> Sequence[str]:
        """The whole lines that are new. Raises `ServiceError` when the file can't be read, or is not the one that it was."""
        try:
            with self._path.open("rb") as file:
                self._raise_if_another(os.fstat(file.fileno()))
                file.seek(self._read)
                data = file.read()
        except FileNotFoundError:
            self.absent = f"there is no file {self._path}"
            return ()
        except OSError as error:
            raise ServiceError(f"{self._path}: {error.strerror}") from error
        self.absent = ""
        whole = data.rfind(b"\n") + 1
        self._read += whole
        return data[:whole].decode(errors="replace").splitlines()

    def _raise_if_another(self, now: os.stat_result) -> None:
        """What was cut off, or replaced, may have held effects that nobody saw."""
        if now.st_size < self._read or self._inode not in (0, now.st_ino):
            self._problem = f"{self._path} was truncated or replaced, and effects may be gone with what it held; append to it"
        if self._problem:
            raise ServiceError(self._problem)
        self._inode = now.st_ino


class AppEffects:
    """An answer of the app in which each effect shows as its job's id; ``address`` finds a replica that is up."""

    counts = True

    def __init__(self, path: str, address: Callable[[], tuple[str, int] | None], pattern: re.Pattern[str]) -> None:
        self._path = path
        self._address = address
        self._pattern = pattern
        self._before: Counter[str] = Counter()

    def new(self) -> Sequence[str]:
        """The ids that are new in the answer, or there once more. Raises `ServiceError` when no replica answers with 200."""
        address = self._address()
        if address is None:
            raise ServiceError("no replica was up to ask")
        with closing(http.client.HTTPConnection(*address, timeout=TIMEOUT_S)) as connection:
            try:
                connection.request("GET", self._path)
                answer = connection.getresponse()
                text = answer.read(MOST_BYTES + 1).decode(errors="replace")
            except (OSError, http.client.HTTPException) as error:
                raise ServiceError(f"GET {self._path}: {type(error).__name__}") from error
        if answer.status != http.HTTPStatus.OK:
            raise ServiceError(f"GET {self._path} was answered with {answer.status}")
        if len(text) > MOST_BYTES:
            raise ServiceError(f"GET {self._path} was answered with more than {MOST_BYTES >> 20} MiB")
        found = Counter(match[0] for match in self._pattern.finditer(text))
        fresh = list((found - self._before).elements())
        self._before |= found
        return fresh
