"""What an answer says: a JSON path (RFC 9535) into a JSON body, or a regular expression on its text.

`Extractor.texts` gives every value that is found, as text: a JSON number, true or false is what JSON writes, and a text is itself, without
quotation marks. 5 and 5.0 are one number, and both are ``5``. A body that can't be read gives None, which is not the same as a body that
holds nothing. Nothing that an app may answer raises.

The load asks for every read, so paths of plain names, indexes and wildcards, which nearly all are, are walked right here; the library for
JSON paths knows the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from harness.words import MistakeError, quoted

if TYPE_CHECKING:
    from jsonpath import JSONPath, JSONPathEnvironment

REGEX: Final = "regex:"
"""How an extractor begins that is a regular expression; anything else is a JSON path."""

Texts: TypeAlias = Sequence[str | None]
"""The values that were found; None stands for JSON's null."""

_Steps: TypeAlias = tuple[str | int | None, ...]
"""A plain path: names, indexes, and None for a wildcard."""

_DECODE: Final = msgspec.json.Decoder().decode
_BOM: Final = b"\xef\xbb\xbf"
_WHOLE: Final = 2.0**53
"""Below this a float that is whole is one whole number and no other."""


class Extractor:
    """Finds values in a body. Compiled once, used for each answer.

    Attributes:
        written: What the scenario says.
        at_most_one: It never finds more than one value, whatever the body is.
    """

    def __init__(self, written: str) -> None:
        """Compile ``written``; raises `MistakeError` when it is neither."""
        self.written = written
        self.at_most_one = False
        self._find: Callable[[bytes], Texts | None]
        if written.startswith(REGEX):
            self._find = _regex(written)
            return
        path = _compiled(written)
        self.at_most_one = path.singular_query()
        self._find = _in_json(path)

    def texts(self, body: bytes) -> Texts | None:
        """All values in ``body``; None when it can't be read."""
        return self._find(body)

    def text(self, body: bytes, *, must: bool = False) -> tuple[bool, str | None]:
        """Whether ``body`` could be read and holds at most one value, and that value; None for null, and where there is none.

        With ``must`` there has to be one: null, and no longer nothing at all.
        """
        found = self._find(body)
        if found is None or len(found) > 1 or (must and not found):
            return False, None
        return True, found[0] if found else None


def _regex(written: str) -> Callable[[bytes], Texts | None]:
    pattern = written.removeprefix(REGEX).strip()
    if not pattern:
        raise MistakeError(f'needs a regular expression behind {REGEX}, such as "{REGEX}count=([0-9]+)"')
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise MistakeError(f"{quoted(pattern)} is no regular expression: {error}") from None
    if compiled.groups > 1:
        raise MistakeError(f"{quoted(pattern)} has {compiled.groups} groups; let one of them hold the value, and write the others as (?:…)")

    def find(body: bytes) -> Texts | None:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return None
        return [match[compiled.groups] for match in compiled.finditer(text) if match[0]]  # (.*) also matches nothing behind the text

    return find


@cache
def _environment() -> JSONPathEnvironment:
    from jsonpath import JSONPathEnvironment  # noqa: PLC0415  a scenario without state needs it not

    return JSONPathEnvironment(strict=True)


def _compiled(written: str) -> JSONPath:
    from jsonpath import JSONPath, JSONPathError  # noqa: PLC0415  as above

    if not written.startswith("$"):
        raise MistakeError(f"{quoted(written)} is neither a JSON path, such as $.value, nor begins with {REGEX}")
    try:
        path = _environment().compile(written)
    except JSONPathError as error:
        raise MistakeError(f"{quoted(written)} is no JSON path (RFC 9535): {error.message}") from None
    except RecursionError:
        raise MistakeError(f"{quoted(written)} is no JSON path: nested too deep") from None
    assert isinstance(path, JSONPath)  # noqa: S101  unions of paths are no part of RFC 9535
    return path


def _in_json(path: JSONPath) -> Callable[[bytes], Texts | None]:
    steps = _steps(path)
    values = _of_library(path) if steps is None else _walk(steps)

    def find(body: bytes) -> Texts | None:
        try:
            found = values(_DECODE(body.removeprefix(_BOM)))
            return [value if value is None or isinstance(value, str) else _text(value) for value in found]
        except (ValueError, RecursionError):
            return None

    return find


def _of_library(path: JSONPath) -> Callable[[object], Sequence[object]]:
    from jsonpath import JSONPathError  # noqa: PLC0415  as above

    def find(value: object) -> Sequence[object]:
        if not isinstance(value, dict | list):
            return ()  # nothing is in it, and the library would read a text as JSON once more
        try:
            return path.findall(value)
        except (JSONPathError, re.error) as error:
            raise ValueError(str(error.args)) from None

    return find


def _steps(path: JSONPath) -> _Steps | None:
    """The steps of a plain path; None for any other."""
    from jsonpath.segments import JSONPathChildSegment  # noqa: PLC0415  as above
    from jsonpath.selectors import IndexSelector, NameSelector, WildcardSelector  # noqa: PLC0415  as above

    steps: list[str | int | None] = []
    for segment in path.segments:
        if not isinstance(segment, JSONPathChildSegment) or len(segment.selectors) != 1:
            return None
        match segment.selectors[0]:
            case NameSelector(name=name):
                steps.append(name)
            case IndexSelector(index=index):
                steps.append(index)
            case WildcardSelector():
                steps.append(None)
            case _:
                return None
    return tuple(steps)


def _walk(steps: _Steps) -> Callable[[object], Sequence[object]]:
    """All values where ``steps`` lead to."""
    wild = steps.index(None) if None in steps else len(steps)
    straight, rest = steps[:wild], steps[wild:]

    def find(root: object) -> Sequence[object]:
        found = _straight(root, straight)
        for step in rest if found else ():
            if step is None:
                found = [child for value in found for child in _children(value)]
            elif type(step) is str:
                found = [value[step] for value in found if type(value) is dict and step in value]
            else:
                found = [child for value in found for child in _straight(value, (step,))]
        return found

    return find


def _straight(value: object, steps: _Steps) -> Sequence[object]:
    """The one value where ``steps``, without a wildcard, lead to from ``value``, or none."""
    for step in steps:
        if type(value) is dict:
            if step not in value:
                return ()
            value = value[step]
        elif type(value) is list and type(step) is int and -len(value) <= step < len(value):
            value = value[step]
        else:
            return ()
    return (value,)


def _children(value: object) -> Sequence[object]:
    return tuple(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ()


def _text(value: object) -> str:
    """A number, true, false, a list or an object as JSON writes it."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        value = int(value)
    return json.dumps(value, ensure_ascii=False)
