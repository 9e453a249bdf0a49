"""Values of histories, from whatever language they were written in, and the one text that stands for each.

Two values are the same when their texts are. A number is written as such, a text as itself where nobody could take it for something else
and else in quotes, a keyword with its colon; so the number 3, the text "3" and the keyword :3 stay three values.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from harness.words import MistakeError

Value: TypeAlias = object
"""What stood in the file: None, numbers, texts, tuples, lists, dictionaries, and the classes below."""

_BARE: Final = re.compile(r"(?!(?:nil|true|false)\Z)[A-Za-z_][A-Za-z0-9_.@+-]*", re.ASCII)


class WrongHistoryError(MistakeError):
    """A history can't be read; the message says what is wrong and how to mend it.

    Attributes:
        line: Where, from 1; 0 when it is about the whole file.
    """

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


class Keyword(str):
    """A keyword of EDN, with its colon."""

    __slots__ = ()


class Symbol(str):
    """A symbol of EDN."""

    __slots__ = ()


class Char(str):
    """A character of EDN."""

    __slots__ = ()


class Elements(tuple[Value, ...]):
    """A set, in the order in which it was written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """A tagged element of EDN that has no meaning here."""

    tag: str
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class OfKey:
    """A value of one of several independent keys, said so by a tag (``jepsen.independent``)."""

    key: Value
    value: Value


def text_of(value: Value) -> str:  # noqa: PLR0911  one return a type
    """The text that stands for ``value``."""
    match value:
        case None:
            return "nil"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value + 0.0) if math.isfinite(value) else "##NaN" if math.isnan(value) else "##Inf" if value > 0 else "##-Inf"
        case Keyword() | Symbol() | Char():
            return f"{_SIGNS[type(value)]}{value!s}"
        case str():
            return value if _BARE.fullmatch(value) else json.dumps(value, ensure_ascii=False)
        case _:
            return _text_of_collection(value)


_SIGNS: Final[dict[type, str]] = {Keyword: "", Symbol: "'", Char: "\\"}


def _text_of_collection(value: Value) -> str:
    match value:
        case Elements():
            return "#{" + " ".join(sorted(map(text_of, value))) + "}"
        case tuple() | list():
            return "[" + " ".join(map(text_of, value)) + "]"
        case dict():
            return "{" + ", ".join(sorted(f"{text_of(key)} {text_of(held)}" for key, held in value.items())) + "}"
        case Tagged():
            return f"#{value.tag} {text_of(value.value)}"
        case OfKey():
            return f"[{text_of(value.key)} {text_of(value.value)}]"
        case _:
            return str(value)


def of_json(value: Value) -> Value:
    """``value`` with 3.0 as 3, which is the same number in JSON."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [of_json(item) for item in value]
        case dict():
            return {key: of_json(held) for key, held in value.items()}
        case _:
            return value


def elements_of(value: Value) -> tuple[Value, ...] | None:
    """The members of a collection, in order; None when ``value`` is no collection."""
    return tuple(value) if isinstance(value, tuple | list) else None


def pair_of(value: Value) -> tuple[Value, Value] | None:
    """The two halves of a pair; None when ``value`` is none, as a set never is."""
    if isinstance(value, tuple | list) and len(value) == 2 and not isinstance(value, Elements):
        return value[0], value[1]
    return None


def whole_number(value: Value) -> int | None:
    """``value`` as a whole number, where it is one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None
