"""Extensible data notation (github.com/edn-format/edn), as Clojure programs print it.

Written here because a history has 10⁵ lines and more, and what there is for Python takes a hundred microseconds a line; and because an
error must name its line. Read without recursion, so that no nesting exhausts the stack. A record such as ``#jepsen.history.Op{…}`` is the
map in it, ``#jepsen.independent.Tuple [k v]`` a value of a key; every other tag is kept beside its value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from harness.dialects.values import Char, Elements, Keyword, OfKey, Symbol, Tagged, Value, WrongHistoryError, pair_of, text_of
from harness.words import quoted

DEEPEST: Final = 100
"""Collections within each other, at most."""

_TOKEN: Final = re.compile(
    r"""[\s,]*(?:
        (?P<atom>[^\s,()\[\]{}";\\\#][^\s,()\[\]{}";\\]*)
      | (?P<open>\#\{|[(\[{])
      | (?P<close>[)\]}])
      | "(?P<text>[^"\\]*(?:\\.[^"\\]*)*)"
      | (?P<char>\\(?:newline|return|space|tab|formfeed|backspace|u[0-9a-fA-F]{4}|o[0-7]{1,3}|.)(?![^\s,()\[\]{}";\\]))
      | (?P<comment>;[^\n]*)
      | (?P<discard>\#_)
      | (?P<special>\#\#[A-Za-z-]+)
      | \#(?P<tag>:{0,2}[^\s,()\[\]{}";\\\#]*)
    )""",
    re.VERBOSE | re.DOTALL,
)
_CLOSES: Final = {"(": ")", "[": "]", "{": "}", "#{": "}"}
_NAMES: Final = {"(": "list", "[": "vector", "{": "map", "#{": "set"}
_INTEGER: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]*)N?|[+-]?0[xX][0-9a-fA-F]+", re.ASCII)
_FLOAT: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?M?", re.ASCII)
_RATIO: Final = re.compile(r"[+-]?[0-9]+/[0-9]+", re.ASCII)
_CHARS: Final = {"newline": "\n", "return": "\r", "space": " ", "tab": "\t", "formfeed": "\f", "backspace": "\b"}
_ESCAPES: Final = {"t": "\t", "r": "\r", "n": "\n", "\\": "\\", '"': '"', "b": "\b", "f": "\f"}
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|[0-7]{1,3}|.)", re.DOTALL)
_SPECIAL: Final = {"##Inf": float("inf"), "##-Inf": float("-inf"), "##NaN": float("nan")}
_DISCARD: Final = ""
_GONE: Final = Tagged(tag="_", value=None)
_MOST_KEPT: Final = 100_000
"""Atoms whose meaning is kept; times are all different, and need not be."""


@dataclass(slots=True)
class _Frame:
    """A collection that is open: what opened it and where, what it holds so far, and the tags that wait for their element."""

    opener: str
    start: int
    items: list[Value] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


class _Misread(Exception):  # noqa: N818  it never leaves this module
    """Something is wrong at a position of the text."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__(what)
        self.at = at


def forms(text: str) -> Iterator[tuple[int, Value]]:
    """What is written in ``text``, with the line of each; what one list or vector around everything holds comes one by one.

    Raises:
        WrongHistoryError: It is not EDN; with its line.
    """
    line, counted = 1, 0
    try:
        for start, value in _Reader().read(text):
            line += text.count("\n", counted, start)
            counted = start
            yield line, value
    except _Misread as error:
        raise WrongHistoryError(text.count("\n", 0, error.at) + 1, str(error)) from error


def one_line(text: str) -> list[Value]:
    """All that is written in ``text``.

    Raises:
        WrongHistoryError: It is not EDN.
    """
    return [value for _, value in forms(f"({text}\n)")]


class _Reader:
    """Where the reading of one text stands: the collections that are open, and the one around everything, whose elements are forms."""

    def __init__(self) -> None:
        self.atoms: dict[str, Value] = {"nil": None, "true": True, "false": False}
        self.stack = [_Frame("", 0)]
        self._outer: _Frame | None = None

    def read(self, text: str) -> Iterator[tuple[int, Value]]:
        """Each form and where it begins."""
        stack, atoms = self.stack, self.atoms
        at, end = 0, len(text.rstrip(" \t\r\n\f,"))
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                raise _unreadable(text, at)
            group = match.lastindex or 0
            kind, token, start, at = match.lastgroup, match[group], match.start(group), match.end()
            if kind == "atom":
                value = atoms[token] if token in atoms else self._atom(token, start)
            elif kind == "open":
                self._open(token, start)
                continue
            elif kind == "close":
                closed = self._close(token, start)
                if closed is None:
                    continue
                start, value = closed
            elif kind in _ALONE:
                value = _ALONE[kind](token, start)
            else:
                self._mark(kind, token, start)
                continue
            frame = stack[-1]
            if frame.tags and (value := _tagged(frame, value)) is _GONE:
                continue
            if frame.opener and frame is not self._outer:
                frame.items.append(value)
            else:
                yield start, value
        if len(stack) > 1:
            raise _Misread(stack[-1].start, f"the {_NAMES[stack[-1].opener]} that begins here never ends; the file may be cut off")
        _no_tags_left(stack[0], end)

    def _atom(self, token: str, at: int) -> Value:
        value = _atom(token, at)
        if len(self.atoms) < _MOST_KEPT:
            self.atoms[token] = value
        return value

    def _open(self, token: str, at: int) -> None:
        if len(self.stack) > DEEPEST:
            raise _Misread(at, f"collections are nested more than {DEEPEST} deep, which no history is")
        self.stack.append(_Frame(token, at))
        if len(self.stack) == 2 and self._outer is None and token in ("(", "["):
            self._outer = self.stack[-1]

    def _close(self, token: str, at: int) -> tuple[int, Value] | None:
        """Where the collection began that ends here, and it; None for the one around everything."""
        frame = self.stack[-1]
        if len(self.stack) == 1 or _CLOSES[frame.opener] != token:
            raise _Misread(at, f"{token} closes nothing that is open; look for a bracket too many or too few before it")
        self.stack.pop()
        if frame is not self._outer:
            return frame.start, _closed(frame, at)
        _no_tags_left(frame, at)
        return None

    def _mark(self, kind: str | None, token: str, at: int) -> None:
        if kind == "discard":
            self.stack[-1].tags.append(_DISCARD)
        elif kind == "tag":
            if not token:
                raise _Misread(at, "# stands alone; a tag such as #inst needs a name")
            self.stack[-1].tags.append(token)


def _unreadable(text: str, at: int) -> _Misread:
    start = at + len(text[at:]) - len(text[at:].lstrip(" \t\r\n\f,"))
    if text[start] == '"':
        return _Misread(start, "the text that begins here is never closed; the file may be cut off")
    return _Misread(start, f"{quoted(text[start : start + 20])} is no EDN; write a value such as 3, :read or [0 3]")


def _no_tags_left(frame: _Frame, at: int) -> None:
    if frame.tags:
        raise _Misread(at, f"#{frame.tags[-1] or '_'} stands before nothing; a tag needs an element behind it")


def _closed(frame: _Frame, at: int) -> Value:
    """The collection that has just ended."""
    _no_tags_left(frame, at)
    if frame.opener == "#{":
        return Elements(frame.items)
    if frame.opener != "{":
        return tuple(frame.items)
    keys, values = frame.items[::2], frame.items[1::2]
    if len(keys) != len(values):
        raise _Misread(frame.start, f"the map that begins here has a key without a value ({text_of(keys[-1])})")
    try:
        held = dict(zip(keys, values, strict=True))
    except TypeError:  # a map is a key
        keys = [text_of(key) for key in keys]
        held = dict(zip(keys, values, strict=True))
    if len(held) != len(keys) and len({text_of(key) for key in keys}) != len(keys):
        raise _Misread(frame.start, "the map that begins here has a key twice")
    return held


def _tagged(frame: _Frame, value: Value) -> Value:
    """What its tags make of an element; `_GONE` when it is discarded."""
    while frame.tags:
        tag = frame.tags.pop()
        if tag == _DISCARD:
            return _GONE
        leaf = tag.rpartition(".")[2]
        pair = pair_of(value)
        if leaf in ("Tuple", "MapEntry") and pair is not None:
            value = OfKey(key=pair[0], value=pair[1])
        elif not (isinstance(value, dict) and (leaf == "Op" or tag.startswith(":"))):
            value = Tagged(tag=tag, value=value)
    return value


def _text(token: str, at: int) -> Value:
    return token if "\\" not in token else _ESCAPE.sub(lambda found: _escaped(found[1], at), token)


def _char(token: str, _at: int) -> Value:
    name = token[1:]
    if len(name) > 1 and name[0] in "uo" and name not in _CHARS:
        return Char(chr(int(name[1:], 16 if name[0] == "u" else 8)))
    return Char(_CHARS.get(name, name))


def _special(token: str, at: int) -> Value:
    if token not in _SPECIAL:
        raise _Misread(at, f"{token} is not known; there are ##Inf, ##-Inf and ##NaN")
    return _SPECIAL[token]


_ALONE: Final[dict[str | None, Callable[[str, int], Value]]] = {"text": _text, "char": _char, "special": _special}
"""What each token means that is neither an atom nor part of a collection."""


def _escaped(code: str, at: int) -> str:
    if code in _ESCAPES:
        return _ESCAPES[code]
    if code[0] == "u" and len(code) > 1:
        return chr(int(code[1:], 16))
    if code.isdigit():
        return chr(int(code, 8))
    raise _Misread(at, f"\\{code} is no escape of EDN in the text that begins here; write \\\\{code}")


def _atom(token: str, at: int) -> Value:
    first = token[1:2] if token[0] in "+-" else token[0]
    if first.isdigit():
        return _number(token, at)
    if token[0] == ":":
        if len(token) == 1:
            raise _Misread(at, "a colon stands alone; a keyword needs a name")
        return Keyword(token)
    return Symbol(token)


def _number(token: str, at: int) -> Value:
    if _INTEGER.fullmatch(token):
        return int(token.rstrip("N"), 16 if "x" in token.lower() else 10)
    if _RATIO.fullmatch(token) and int(token.partition("/")[2]):
        ratio = Fraction(token)
        return ratio.numerator if ratio.denominator == 1 else Symbol(ratio)
    if _FLOAT.fullmatch(token) and not re.match(r"[+-]?0[0-9]", token):
        return Symbol(token) if token.endswith("M") else float(token)
    raise _Misread(at, f"{quoted(token)} is not a number; write it as 3, -3, 0.5, 1/2 or 3N")
