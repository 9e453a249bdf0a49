"""Values in requests: ``{uuid}``, ``{id}``, ``{int:1..100}``, ``{choice:a|b}``, ``{user}``, ``{seq}``, and those of streams and of state.

A template is compiled once and rendered for each request, in the hot path of the load; so compiling does all the work and rendering is
one ``%``. A placeholder has one value within one request: ``{uuid}`` in the path and in the body is the same. ``{{`` and ``}}`` are
literal braces. All values come from the seeded dice, so the same seed sends the same requests.

In JSON, a text that is nothing but one placeholder of a number becomes a number: ``{count: "{int:1..5}"}`` is sent as ``{"count": 3}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from operator import itemgetter
from typing import Final, TypeAlias

from harness.clock import Dice
from harness.words import MistakeError, did_you_mean, quoted

Drawer: TypeAlias = Callable[[Dice, int, int], str]
"""Makes a value of the dice, the user's number and the request's number."""

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_RANGE: Final = re.compile(r"([-+]?\d{1,15})\.\.([-+]?\d{1,15})", re.ASCII)
_IDS: Final = 1000
_FREE_TEXTS: Final = ("choice", "kept", "page")
"""Placeholders whose values may hold what JSON must escape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placeholder:
    """One kind of placeholder: how it is written, what it becomes, and how its argument is turned into a drawer.

    ``prepare`` gets the text after the colon (None without a colon) and raises `MistakeError` when it is wrong.
    """

    written: str
    doc: str
    number: bool
    prepare: Callable[[str | None], Drawer]


def _without_argument(drawer: Drawer) -> Callable[[str | None], Drawer]:
    def prepare(argument: str | None) -> Drawer:
        if argument is not None:
            raise MistakeError("takes nothing after its name")
        return drawer

    return prepare


def _uuid(dice: Dice, _user: int, _seq: int) -> str:
    """A random UUID (RFC 9562, version 4)."""
    bits = dice.bits(128) & ~(0xF << 76) & ~(0x3 << 62) | (0x4 << 76) | (0x2 << 62)
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _int(argument: str | None) -> Drawer:
    match = _RANGE.fullmatch(argument or "")
    if match is None:
        raise MistakeError("needs a range: write {int:1..100}")
    low, high = int(match[1]), int(match[2])
    if low > high:
        raise MistakeError(f"has its range the wrong way round: write {{int:{high}..{low}}}")
    return lambda dice, _user, _seq: str(dice.integer(low, high))


def _choice(argument: str | None) -> Drawer:
    options = options_of(argument or "")
    if not argument or not all(options):
        raise MistakeError("needs what to choose from: write {choice:red|green|blue}")
    return lambda dice, _user, _seq: dice.choice(options)


def _kept(argument: str | None) -> Drawer:
    if KEPT_NAME.fullmatch(argument or "") is None:
        raise MistakeError("needs the name of what was kept: write {kept:token}")
    return lambda _dice, _user, _seq: ""


PLACEHOLDERS: Final[dict[str, Placeholder]] = {
    "uuid": Placeholder(written="{uuid}", doc="a random UUID, version 4", number=False, prepare=_without_argument(_uuid)),
    "id": Placeholder(
        written="{id}",
        doc=f"a whole number from 1 to {_IDS}",
        number=True,
        prepare=_without_argument(lambda dice, _user, _seq: str(dice.integer(1, _IDS))),
    ),
    "int": Placeholder(written="{int:1..100}", doc="a whole number from the first to the second, both included", number=True, prepare=_int),
    "choice": Placeholder(written="{choice:red|green}", doc="one of the texts between the bars", number=False, prepare=_choice),
    "user": Placeholder(
        written="{user}",
        doc="the number of the simulated user",
        number=True,
        prepare=_without_argument(lambda _dice, user, _seq: str(user)),
    ),
    "seq": Placeholder(
        written="{seq}",
        doc="the number of the request in the run",
        number=True,
        prepare=_without_argument(lambda _dice, _user, seq: str(seq)),
    ),
    "last_id": Placeholder(
        written="{last_id}",
        doc="in the path and in headers of a stream: the id of the last event that its client has; empty at first",
        number=False,
        prepare=_without_argument(lambda _dice, _user, _seq: ""),
    ),
    **{
        name: Placeholder(written=f"{{{name}}}", doc=doc, number=number, prepare=_without_argument(lambda _dice, _user, _seq: ""))
        for name, doc, number in (
            ("key", "under `state`: the key that the operation is about", False),
            ("value", "under `state`: the value that is written, unique in the run", False),
            ("number", "under `state`: the same value as a number, without the run's mark", True),
            ("old", "under `state`: the value that a compare-and-set replaces", False),
            ("old_number", "under `state`: the same as a number", True),
            ("client", "under `state`: the number of the client", True),
            ("page", "under `state`: where the next page of a read begins; empty at first", False),
        )
    },
    "kept": Placeholder(
        written="{kept:name}", doc="in a journey under `state`: what an earlier request kept under that name", number=False, prepare=_kept
    ),
}
"""Every placeholder that a request may use."""

OF_STATE: Final = ("key", "value", "number", "old", "old_number", "client", "page")
"""Those of them that have a value only in operations on state."""

KEPT: Final = "kept"
"""The one that has a value only in a journey; it has the name of what was kept behind a colon."""

KEPT_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Template:
    """Text with holes. ``names`` are the placeholders in it, each once; ``literals`` the text between them."""

    text: str
    names: tuple[str, ...]
    literals: tuple[str, ...]
    _format: str = field(repr=False)
    _pick: Callable[[Mapping[str, str]], object] | None = field(repr=False, compare=False)

    def render(self, values: Mapping[str, str]) -> str:
        """The text with each placeholder replaced by its value from ``values`` (see `draw`)."""
        return self._format if self._pick is None else self._format % self._pick(values)


def options_of(argument: str) -> list[str]:
    """The texts that ``{choice:…}`` chooses from."""
    return argument.split("|")


def compile_template(text: str) -> Template:
    """Compile ``text``.

    Raises:
        MistakeError: An unknown or malformed placeholder, or a brace that stands alone; the message says how to mend it.
    """
    parts = _parts(text)
    return _built(text, parts, escaped=False)


def compile_json(value: object) -> Template:
    """Compile a JSON value whose texts may hold placeholders; it renders to JSON text.

    Raises:
        MistakeError: As `compile_template`.
    """
    parts: list[tuple[str, str | None]] = []
    _json_parts(value, parts)
    return _built(json.dumps(value, ensure_ascii=False), parts, escaped=True)


def draw(dice: Dice, names: Iterable[str], *, user: int, seq: int) -> dict[str, str]:
    """One value for each of ``names``, for one request."""
    return {name: _drawer(name)(dice, user, seq) for name in names}


@cache
def _drawer(name: str) -> Drawer:
    kind, colon, argument = name.partition(":")
    if kind not in PLACEHOLDERS:
        near = did_you_mean(kind, PLACEHOLDERS)
        raise MistakeError(f"unknown placeholder {quoted('{' + name + '}')}{near}; write {{{{ for a literal brace")
    try:
        return PLACEHOLDERS[kind].prepare(argument if colon else None)
    except MistakeError as error:
        raise MistakeError(f"the placeholder {quoted('{' + name + '}')} {error}") from None


def _parts(text: str) -> list[tuple[str, str | None]]:
    """``text`` cut into pairs of a literal and the name of the placeholder after it (None after the last literal)."""
    parts: list[tuple[str, str | None]] = []
    literal, position = "", 0
    for match in _TOKEN.finditer(text):
        literal += text[position : match.start()]
        position = match.end()
        if match[0] in ("{{", "}}"):
            literal += match[0][0]
        elif match[1] is None:
            raise MistakeError(f"a single {match[0]} in {quoted(text)}; write {match[0] * 2} for a literal brace")
        else:
            _drawer(match[1])
            parts.append((literal, match[1]))
            literal = ""
    return [*parts, (literal + text[position:], None)]


def _json_parts(value: object, parts: list[tuple[str, str | None]]) -> None:
    """Add the parts of ``value``, as JSON text, to ``parts``."""
    if isinstance(value, dict):
        for index, (key, item) in enumerate(value.items()):
            parts.append((("{" if index == 0 else ",") + json.dumps(key, ensure_ascii=False) + ":", None))
            _json_parts(item, parts)
        parts.append(("}" if value else "{}", None))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            parts.append(("[" if index == 0 else ",", None))
            _json_parts(item, parts)
        parts.append(("]" if value else "[]", None))
    elif isinstance(value, str):
        _json_text_parts(value, parts)
    else:
        parts.append((json.dumps(value, allow_nan=False), None))


def _json_text_parts(text: str, parts: list[tuple[str, str | None]]) -> None:
    inner = _parts(text)
    if len(inner) == 2 and not inner[0][0] and not inner[1][0] and _is_number(str(inner[0][1])):
        parts.append(("", inner[0][1]))
        return
    parts.append(('"', None))
    parts.extend((json.dumps(literal, ensure_ascii=False)[1:-1], name) for literal, name in inner)
    parts.append(('"', None))


def _is_number(name: str) -> bool:
    return PLACEHOLDERS[name.partition(":")[0]].number


def _built(text: str, parts: list[tuple[str, str | None]], *, escaped: bool) -> Template:
    order = [name for _, name in parts if name is not None]
    literals = tuple(literal for literal, _ in parts)
    if not order:
        return Template(text, (), literals, "".join(literals), None)
    form = "".join(literal.replace("%", "%%") + ("%s" if name is not None else "") for literal, name in parts)
    pick: Callable[[Mapping[str, str]], object] = itemgetter(*order)
    if escaped and any(name.partition(":")[0] in _FREE_TEXTS for name in order):
        pick = _escaping(order)
    return Template(text, tuple(dict.fromkeys(order)), literals, form, pick)


def _escaping(order: list[str]) -> Callable[[Mapping[str, str]], object]:
    """Picks values and escapes each for the inside of a JSON text."""
    return lambda values: tuple(json.dumps(values[name], ensure_ascii=False)[1:-1] for name in order)
