"""YAML without its traps.

PyYAML parses the text; everything that decides what a scalar *means* is done here, by the core schema of YAML 1.2
(https://yaml.org/spec/1.2.2/#103-core-schema): only true and false are booleans, ``on``, ``yes`` and ``22:22`` are text. Refused are
duplicate keys, keys that are not text, merge keys, tags, several documents, recursive anchors, aliases that blow up, nesting without
end, numbers that JSON can't carry and files that are not UTF-8. Every problem is told with its line and column, and each key and each
value keeps its position, so that later problems can be told with theirs.

The text is read as a stream of parser events, never as PyYAML's own objects, so that a hostile file is refused before it costs memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol, TypeAlias

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from harness.errors import ScenarioError
from harness.words import MistakeError, printable, quoted, shown

MAX_BYTES: Final = 1 << 20
MAX_NODES: Final = 10_000
MAX_DEPTH: Final = 40
_MAX_DIGITS: Final = 40

Scalar: TypeAlias = str | int | float | bool | None
Value: TypeAlias = "Scalar | list[Value] | dict[str, Value]"
Path: TypeAlias = tuple[str | int, ...]

_WORDS: Final[Mapping[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LISTED_REQUEST: Final = re.compile(r"\s*-\s+([A-Za-z]+ +/\S*)\s*(?:#.*)?")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


class Position(NamedTuple):
    """Line and column in a file, both counted from 1."""

    line: int
    column: int


_START: Final = Position(1, 1)


class _Mark(Protocol):
    """A place as PyYAML tells it, counted from 0."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


class Problem(NamedTuple):
    """One thing that is wrong: where in the text, at which key, and what."""

    at: Position
    path: Path
    what: str

    def line_of(self, file: str) -> str:
        """``file:line:col: path: what is wrong``."""
        path = path_text(self.path)
        return f"{file}:{self.at.line}:{self.at.column}: " + (f"{path}: " if path else "") + printable(self.what)


@dataclass(slots=True)
class Node:
    """One value of the file with its position and, for a mapping or a list, what is in it; ``size`` counts aliases in full."""

    at: Position
    value: Value
    entries: dict[str, tuple[Position, Node]] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The deepest part of a path that is in the file, with the positions of its key and of its value."""

    path: Path
    key: Position
    value: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file's plain data, where each part of it stands, and what is wrong with the YAML itself."""

    file: str
    root: Node
    problems: tuple[Problem, ...] = ()

    @property
    def data(self) -> Value:
        """Plain dicts, lists, texts, numbers, booleans and None."""
        return self.root.value

    def find(self, path: Sequence[str | int]) -> Found:
        """Follow ``path`` from the root as far as it goes."""
        node, key = self.root, self.root.at
        for depth, part in enumerate(path):
            if isinstance(part, str) and part in node.entries:
                key, node = node.entries[part]
            elif isinstance(part, int) and 0 <= part < len(node.items):
                node = node.items[part]
                key = node.at
            else:
                return Found(path=tuple(path[:depth]), key=key, value=node.at)
        return Found(path=tuple(path), key=key, value=node.at)


def path_text(path: Sequence[str | int]) -> str:
    """A path as people write it: ``load.requests[1].headers``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[\w-]+", part):
            text += f".{part}" if text else part
        else:
            text += f"[{quoted(part)}]"
    return text


def parse(content: bytes, file: str) -> Document:
    """Read a whole file's ``content``; ``file`` is its name in messages. What can be read on from is in the document's ``problems``.

    Raises:
        ScenarioError: All that is wrong with the YAML up to a place from where reading can't go on.
    """
    builder = _Builder()
    try:
        root = builder.build(_decoded(content))
    except _StopError as stop:
        problems = in_order([*builder.problems, stop.problem])
        raise ScenarioError([problem.line_of(file) for problem in problems]) from None
    return Document(file=file, root=root, problems=tuple(builder.problems))


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems from top to bottom of the file, each once."""
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.at, problem.what))


class _StopError(Exception):
    """Reading can't go on after this problem."""

    def __init__(self, at: Position, what: str, path: Path = ()) -> None:
        super().__init__(what)
        self.problem = Problem(at, path, what)


def _decoded(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise _StopError(_START, f"the file is larger than {MAX_BYTES >> 20} MiB; a scenario is a page of text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", errors="replace")
        at = Position(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        raise _StopError(at, f"not UTF-8 (byte 0x{content[error.start]:02x}); save the file as UTF-8") from None


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet."""

    node: Node
    path: Path
    anchor: str | None
    is_mapping: bool
    key: str | None = None
    key_at: Position = _START
    wants_key: bool = True


class _Builder:
    """Builds nodes from parser events, collecting problems on the way."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._anchors: dict[str, Node | None] = {}
        self._stack: list[_Open] = []
        self._root: Node | None = None
        self._documents = 0

    def build(self, text: str) -> Node:
        """The root of the only document in ``text``."""
        for event in _events(text):
            self._take(event)
        if self._root is None or (self._root.value is None and not self.problems):
            raise _StopError(_START, "the file is empty; `jetable schema` and docs/scenarios.md say what belongs in it")
        return self._root

    def _take(self, event: Event) -> None:
        match event:
            case DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise _StopError(_at(event), "a second document; a file holds one scenario, so remove this --- or split the file")
            case ScalarEvent() | AliasEvent() | MappingStartEvent() | SequenceStartEvent():
                self._take_node(event)
            case MappingEndEvent() | SequenceEndEvent():
                closed = self._stack.pop()
                if closed.anchor is not None:
                    self._anchors[closed.anchor] = closed.node
                self._put(closed.node, _at(event))
            case StreamStartEvent() | StreamEndEvent() | DocumentEndEvent():
                pass
            case _:
                raise AssertionError(f"an event that PyYAML does not document: {event}")

    def _take_node(self, event: NodeEvent) -> None:
        at = _at(event)
        tag = getattr(event, "tag", None)
        if tag is not None:
            spelled = str(tag).replace("tag:yaml.org,2002:", "!!")
            self._complain(at, f"the tag {spelled} is not allowed; YAML's core types are enough for a scenario")
        if self._wants_key():
            self._take_key(event, at)
        elif isinstance(event, AliasEvent):
            self._put(self._aliased(event, at), at)
        elif isinstance(event, ScalarEvent):
            node = Node(at=at, value=self._scalar(event, at))
            if event.anchor is not None:
                self._anchors[event.anchor] = node
            self._put(node, at)
        else:
            self._open(event, at)

    def _take_key(self, event: NodeEvent, at: Position) -> None:
        if not isinstance(event, ScalarEvent):
            what = "a key must be text, not a mapping, a list or an alias; text that begins with { needs quotes"
            raise _StopError(at, what, self._path())
        opened = self._stack[-1]
        key = self._scalar(event, at)
        if not isinstance(key, str):
            self._complain(at, f"a key must be text, not {shown(key)}; put it in quotes")
        if event.implicit[0] and event.value == "<<":
            self._complain(at, "merge keys (<<) are not part of YAML 1.2; write the keys out")
        spelled = key if isinstance(key, str) else event.value
        if spelled in opened.node.entries:
            first = opened.node.entries[spelled][0]
            self._complain(at, f"the key {quoted(spelled)} is here for the second time; the first is in line {first.line}")
        opened.key, opened.key_at, opened.wants_key = spelled, at, False

    def _open(self, event: NodeEvent, at: Position) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise _StopError(at, f"nested deeper than {MAX_DEPTH} levels", self._path())
        is_mapping = isinstance(event, MappingStartEvent)
        node = Node(at=at, value={} if is_mapping else [])
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(node=node, path=self._path(), anchor=event.anchor, is_mapping=is_mapping))

    def _put(self, node: Node, at: Position) -> None:
        """Give a finished node to what encloses it."""
        if not self._stack:
            self._root = node
            return
        opened = self._stack[-1]
        outer = opened.node
        outer.size += node.size
        if outer.size > MAX_NODES:
            raise _StopError(at, f"more than {MAX_NODES} values once its aliases are written out", opened.path)
        if isinstance(outer.value, dict) and opened.key is not None:
            outer.entries[opened.key] = (opened.key_at, node)
            outer.value[opened.key] = node.value
            opened.key, opened.wants_key = None, True
        elif isinstance(outer.value, list):
            outer.items.append(node)
            outer.value.append(node.value)

    def _aliased(self, event: AliasEvent, at: Position) -> Node:
        if event.anchor not in self._anchors:
            raise _StopError(at, f"the alias *{event.anchor} has no anchor &{event.anchor} before it", self._path())
        node = self._anchors[event.anchor]
        if node is None:
            raise _StopError(at, f"the anchor &{event.anchor} contains itself", self._path())
        return node

    def _scalar(self, event: ScalarEvent, at: Position) -> Scalar:
        text = str(event.value)
        if _SURROGATE.search(text):
            try:
                text = text.encode("utf-16", errors="surrogatepass").decode("utf-16")  # JSON spells one character as a pair
            except UnicodeDecodeError:
                self._complain(at, "half of a surrogate pair is not a character; write the whole character")
                return ""
        if event.style is not None:
            return text
        try:
            return _plain_scalar(text)
        except MistakeError as error:
            self._complain(at, str(error))
            return None

    def _wants_key(self) -> bool:
        return bool(self._stack) and self._stack[-1].is_mapping and self._stack[-1].wants_key

    def _path(self) -> Path:
        """Where the next node will stand."""
        if not self._stack:
            return ()
        opened = self._stack[-1]
        if not opened.is_mapping:
            return (*opened.path, len(opened.node.items))
        return (*opened.path, opened.key) if opened.key is not None else opened.path

    def _complain(self, at: Position, what: str) -> None:
        self.problems.append(Problem(at, self._path(), what))


def _plain_scalar(text: str) -> Scalar:
    """What unquoted ``text`` means in the core schema of YAML 1.2."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        whole = 0 if len(text) > _MAX_DIGITS else int(text, 0) if text.startswith(("0o", "0x")) else int(text)
        if len(text) > _MAX_DIGITS or not -(2**63) <= whole < 2**63:
            raise MistakeError("a whole number of more than 64 bits; put it in quotes if it is text")
        return whole
    number = float(text) if _FLOAT.fullmatch(text) else None
    if _NOT_FINITE.fullmatch(text) or (number is not None and math.isinf(number)):
        raise MistakeError(f"{quoted(text)} is not a number that JSON can carry; put it in quotes if it is text")
    return text if number is None else number


def _at(event: Event) -> Position:
    return _position(event.start_mark)


def _position(mark: _Mark | None) -> Position:
    return Position(mark.line + 1, mark.column + 1) if mark else _START


def _events(text: str) -> Iterator[Event]:
    """PyYAML's parser events of ``text``, its errors turned into ours."""
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        at = Position(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        raise _StopError(at, f"the control character U+{ord(text[error.position]):04X} is not allowed in YAML") from None
    try:
        while loader.check_event():
            event: Event = loader.get_event()  # type: ignore[no-untyped-call]  # the stubs know no types here
            yield event
    except yaml.MarkedYAMLError as error:
        at = _position(error.problem_mark or error.context_mark)
        raise _StopError(at, _meant(error, text.splitlines(), at) or _syntax_in_words(error)) from None
    except (ValueError, OverflowError):
        raise _StopError(_position(loader.get_mark()), "an escape that names no character") from None
    finally:
        loader.dispose()


def _meant(error: yaml.MarkedYAMLError, lines: Sequence[str], at: Position) -> str:
    """What the author of a scenario most likely meant, by the lines themselves; empty where they do not tell."""
    problem, here = error.problem or "", lines[at.line - 1] if at.line <= len(lines) else ""
    listed = _LISTED_REQUEST.fullmatch(lines[at.line - 2]) if here and at.line > 1 else None
    if listed and ("mapping values are not allowed" in problem or "'<block mapping start>'" in problem):
        return f"not YAML: keys under text; write - request: {listed[1]} in the line above"
    before = here[: at.column - 1].rstrip()
    if "'<scalar>'" in problem and before.endswith(("}", "]")):
        return f"not YAML: text that begins with {'{' if before.endswith('}') else '['} needs quotes"
    return ""


def _syntax_in_words(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "not YAML"
    if r"'\t'" in problem:
        return "a tab; indent with spaces"
    if "mapping values are not allowed" in problem:
        return "not YAML: a colon where no key can stand; put text that holds ': ' in quotes, and indent keys alike"
    if "could not find expected ':'" in problem:
        return "not YAML: a key without its colon"
    if "cannot start any token" in problem:
        return f"not YAML: {problem}; put the text in quotes"
    if "but got '{'" in problem or "but got '}'" in problem:
        return "not YAML: text that holds { or } needs quotes inside of { } and [ ]"
    context = f" {error.context}" if error.context else ""
    return f"not YAML: {problem}{context}"
