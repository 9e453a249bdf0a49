"""Places where effects show that are no service: a file that workers append to, and an answer of the app."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.services.base import TIMEOUT_S, ServiceError

if TYPE_CHECKING:
    import re


class FileEffects:
    """A line an effect. What stood in the file before the run is not looked at; the file need not be there yet."""

    counts = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self.absent = ""
        try:
            self._read = path.stat().st_size
        except OSError:
            self._read = 0

    def new(self) -> Sequence[str]:
        """The whole lines that are new. Raises `ServiceError` when the file is there and can't be read."""
        try:
            with self._path.open("rb") as file:
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

    def remove(self) -> None:
        """The file is the app's own."""


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
        import requests  # noqa: PLC0415  it takes a tenth of a second, and few runs need it

        address = self._address()
        if address is None:
            raise ServiceError("no replica was up to ask")
        try:
            answer = requests.get(f"http://{address[0]}:{address[1]}{self._path}", timeout=TIMEOUT_S)
        except requests.RequestException as error:
            raise ServiceError(f"GET {self._path}: {type(error).__name__}") from error
        if answer.status_code != requests.codes.ok:
            raise ServiceError(f"GET {self._path} was answered with {answer.status_code}")
        found = Counter(match[0] for match in self._pattern.finditer(answer.text))
        fresh = list((found - self._before).elements())
        self._before |= found
        return fresh

    def remove(self) -> None:
        """It is the app's own."""
