"""What an answer says: a JSON path (RFC 9535) into a JSON body, or a regular expression on its text.

`Extractor.texts` gives every value that is found, as text: a JSON number, text, true or false is what JSON writes, without quotation marks.
A body that can't be read gives None, which is not the same as a body that holds nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Final

from harness.words import MistakeError, quoted

REGEX: Final = "regex:"
"""How an extractor begins that is a regular expression; anything else is a JSON path."""

Texts = Sequence[str | None]
"""The values that were found; None stands for JSON's null."""


class Extractor:
    """Finds values in a body. Compiled once, used for each answer."""

    def __init__(self, written: str) -> None:
        """Compile ``written``; raises `MistakeError` when it is neither."""
        self.written = written
        self._find: Callable[[bytes], Texts | None] = _regex(written) if written.startswith(REGEX) else _json_path(written)

    def texts(self, body: bytes) -> Texts | None:
        """All values in ``body``; None when it can't be read."""
        return self._find(body)

    def text(self, body: bytes) -> tuple[bool, str | None]:
        """Whether ``body`` could be read and holds at most one value, and that value; None for null, and where there is none."""
        found = self._find(body)
        if found is None or len(found) > 1:
            return False, None
        return True, found[0] if found else None


def _regex(written: str) -> Callable[[bytes], Texts | None]:
    pattern = written.removeprefix(REGEX).strip()
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise MistakeError(f"{quoted(pattern)} is no regular expression: {error}") from None
    if compiled.groups > 1:
        raise MistakeError(f"{quoted(pattern)} has {compiled.groups} groups; let one of them hold the value, and write the others as (?:…)")

    def find(body: bytes) -> Texts | None:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return None
        return [match[compiled.groups] for match in compiled.finditer(text)]

    return find


def _json_path(written: str) -> Callable[[bytes], Texts | None]:
    if not written.startswith("$"):
        raise MistakeError(f"{quoted(written)} is neither a JSON path, such as $.value, nor begins with {REGEX}")
    import jsonpath  # noqa: PLC0415  a scenario without state needs it not

    try:
        path = jsonpath.compile(written)
    except jsonpath.JSONPathError as error:
        raise MistakeError(f"{quoted(written)} is no JSON path (RFC 9535): {str(error).splitlines()[0]}") from None

    def find(body: bytes) -> Texts | None:
        try:
            found = path.findall(json.loads(body))
        except ValueError:
            return None
        return [_text(value) for value in found]

    return find


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
