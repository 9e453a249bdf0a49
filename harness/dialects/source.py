"""A file that holds a history, as text, or as the JSON objects in it with the number of each one's line."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from harness.dialects.values import WrongHistoryError
from harness.words import printable

T = TypeVar("T")

_HEAD: Final = 1 << 18
_OBJECT: Final = re.compile(r'\s*\[?\s*\{\s*"')
_PATH: Final = re.compile(r" - at `\$(?:\[\.\.\.\])?\.?([^`]*)`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What stands in a file, without its byte order mark."""

    data: bytes

    def text(self) -> str:
        """The whole of it.

        Raises:
            WrongHistoryError: It is not UTF-8.
        """
        try:
            return self.data.decode()
        except UnicodeDecodeError as error:
            line = self.data.count(b"\n", 0, error.start) + 1
            raise WrongHistoryError(line, "it is not UTF-8 text; save it as UTF-8") from error

    def head(self) -> str:
        """How it begins, for a look at what it is."""
        return self.data[:_HEAD].decode(errors="replace")

    def objects(self, kind: type[T]) -> Iterator[tuple[int, T]]:
        """The JSON objects in it, one a line or all in one list, with the number of the line or of the element.

        Raises:
            WrongHistoryError: One is not JSON, or not such an object.
        """
        if self.data.lstrip()[:1] == b"[":
            yield from enumerate(self._decoded(msgspec.json.Decoder(list[kind]), self.data, 0), start=1)  # type: ignore[valid-type]  # only mypy minds
            return
        decoder = msgspec.json.Decoder(kind)
        for number, line in enumerate(io.BytesIO(self.data), start=1):
            if line.strip():
                yield number, self._decoded(decoder, line, number)

    def _decoded(self, decoder: msgspec.json.Decoder[T], data: bytes, number: int) -> T:
        try:
            return decoder.decode(data)
        except msgspec.ValidationError as error:
            raise WrongHistoryError(number, _wrong_field(str(error))) from error
        except msgspec.DecodeError as error:
            cut = "truncated" in str(error)
            what = "it is cut off in the midst of a JSON object" if cut else f"it is no JSON ({printable(str(error))})"
            raise WrongHistoryError(number, f"{what}; write one whole object a line") from error
        except UnicodeDecodeError as error:
            raise WrongHistoryError(number, "it is not UTF-8 text; save it as UTF-8") from error
        except RecursionError as error:
            raise WrongHistoryError(number, "its values are nested deeper than any history needs; write plain values") from error


def first_object(head: str) -> str | None:
    """What ``head`` holds up to the first closing brace, if it begins as JSON objects do, one a line or all in one list; else None."""
    return head.partition("}")[0] if _OBJECT.match(head) else None


def _wrong_field(said: str) -> str:
    """What msgspec says of a field, with the field first."""
    found = _PATH.search(said)
    told = printable(_PATH.sub("", said)).replace("Object ", "the object ").replace("Expected", "must be", 1)
    return (
        f"{found[1]}: {told}; see docs/histories.md for the fields"
        if found and found[1]
        else f"{told}; see docs/histories.md for the fields"
    )
