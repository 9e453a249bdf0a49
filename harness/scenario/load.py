"""What users do to the target meanwhile: requests, how many, how fast."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, JsonValue, PlainValidator, WithJsonSchema, model_serializer

from harness.outcome import IDEMPOTENT_METHODS
from harness.scenario.values import PATH_CHARACTERS, ZERO, Line, PositiveDuration, TemplateText, is_long, moved
from harness.strict_model import AsTuple, Complaint, Part, Place, complain
from harness.template import compile_json, compile_template, options_of
from harness.units import Duration, Rate
from harness.words import MistakeError, did_you_mean, one_of, quoted, shown

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
MAX_USERS: Final = 5000
USERS_OF_AN_OPEN_MODEL: Final = 1000

ConnectionKind: TypeAlias = Literal["idle", "silent", "half-open", "http/1.0", "pipelined"]
"""What the harness can hold to a replica while it is stopped; `harness.connections` says what each is."""

MAX_CONNECTIONS: Final = 20

HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OWN_HEADERS: Final = {
    "connection": "keep_alive of the load decides about it",
    "content-length": "the body decides about it",
    "transfer-encoding": "bodies are sent whole",
}
_METHOD_AND_PATH: Final = r"^(" + "|".join(METHODS) + r") +/\S*$"
_SHORT_REQUEST: Final = re.compile(r"[A-Za-z]+\s+\S.*|/.*|.*://.*", re.DOTALL)
STREAM_KINDS: Final = ("sse", "websocket")
_LAST_ID: Final = re.compile(r"(?<!\{)\{last_id\}")
_REQUEST_KEYS: Final = ("request", "method", "path", "name", "weight", "headers", "json", "body", "expect", "stream")


def _method(written: object) -> str:
    if written in METHODS:
        return str(written)
    if not written:
        raise MistakeError("needs a method: write GET /path")
    raise MistakeError(f"unknown method {quoted(str(written))}{did_you_mean(str(written).upper(), METHODS)}; write for example GET /path")


def _path(written: str) -> str:
    if "://" in written:
        raise MistakeError(f"must be a path such as /items, not {quoted(written)}; load goes only to the run's own replicas")
    if not written.startswith("/"):
        raise MistakeError(f"must be a path that begins with /, not {shown(written)}")
    for piece in _pieces(written):
        if not PATH_CHARACTERS.fullmatch(piece):
            raise MistakeError(f"{quoted(written)} holds a character that must be percent-encoded in a path")
    return written


def _pieces(text: str) -> Iterator[str]:
    """The literal text of a template and everything that its choices can put between."""
    template = compile_template(text)
    yield from template.literals
    for name in template.names:
        kind, _, argument = name.partition(":")
        if kind == "choice":
            yield from options_of(argument)


def _headers(written: dict[str, str]) -> dict[str, str]:
    complaints: list[Complaint] = []
    seen: set[str] = set()
    for name, value in written.items():
        if problem := _header_name_problem(name, seen):
            complaints.append(Complaint((name,), problem, "key"))
        elif problem := _header_value_problem(value):
            complaints.append(Complaint((name,), problem))
        seen.add(name.lower())
    if complaints:
        raise complain("headers", complaints)
    return written


def _header_name_problem(name: str, seen: set[str]) -> str:
    if not HEADER_NAME.fullmatch(name):
        return f"{quoted(name)} is no name for a header"
    if name.lower() in _OWN_HEADERS:
        return f"{name} can't be set; {_OWN_HEADERS[name.lower()]}"
    if name.lower() in seen:
        return f"the header {name} is here for the second time"
    return ""


def _header_value_problem(value: str) -> str:
    try:
        if any(not piece.isprintable() or not piece.isascii() for piece in _pieces(value)):
            return "must be printable ASCII on one line"
    except MistakeError as error:
        return str(error)
    return ""


def _json(written: Any) -> Any:
    """Compile every text of a JSON body, so that a wrong placeholder is told with its own place."""
    complaints = list(_json_complaints(written, ()))
    if complaints:
        raise complain("json", complaints)
    return written


def _json_complaints(value: object, path: tuple[str | int, ...]) -> Iterator[Complaint]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _json_complaints(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _json_complaints(item, (*path, index))
    elif isinstance(value, str):
        try:
            compile_json(value)
        except MistakeError as error:
            yield Complaint(path, str(error))


def status_or_list(example: int) -> BeforeValidator:
    """One status alone as a list of it; whoever wrote neither is told of ``example``."""

    def statuses(written: object) -> object:
        if isinstance(written, int) and not isinstance(written, bool):
            return (written,)
        if isinstance(written, list | tuple):
            return tuple(written)
        raise MistakeError(f"must be a status such as {example}, or a list of them, not {shown(written)}")

    return BeforeValidator(statuses)


Status = Annotated[int, Field(ge=100, le=599)]
_STATUS_SCHEMA: Final = {"type": "integer", "minimum": 100, "maximum": 599}
STATUSES_SCHEMA: Final = WithJsonSchema({"anyOf": [_STATUS_SCHEMA, {"type": "array", "items": _STATUS_SCHEMA}]})


class Expectation(Part):
    """What a whole answer must be like; anything else is a wrong answer."""

    status: Annotated[tuple[Status, ...], status_or_list(201), STATUSES_SCHEMA] = Field(
        default=(),
        description="the status, or the statuses, of a good answer",
        examples=[[200, 404]],
        json_schema_extra={"default_words": "200 to 399", "type_words": "whole number, or list of them"},
    )
    body: TemplateText | None = Field(
        default=None,
        description="the whole body of a good answer; may hold placeholders",
        examples=["pong"],
        json_schema_extra={"default_words": "anything"},
    )
    body_contains: TemplateText | None = Field(
        default=None, description="text that the body of a good answer contains; may hold placeholders", examples=['"id": {id}']
    )

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """The whole body, or a piece of it."""
        if long.get("body") is not None and long.get("body_contains") is not None:
            yield Complaint(("body_contains",), "has no meaning beside body, which says what the whole body is; remove one of them", "key")

    def accepts(self, status: int) -> bool:
        """Whether ``status`` is one of a good answer."""
        return status in self.status if self.status else 200 <= status <= 399


def _stream_schema(schema: dict[str, Any]) -> None:
    """Add the short form of a stream: its kind alone."""
    long = moved(schema)
    schema["anyOf"] = [{"type": "string", "enum": list(STREAM_KINDS)}, long]


class Stream(Part):
    """A request that is a stream: a subscription that outlives its connections. The short form is the kind alone: ``stream: sse``."""

    model_config = ConfigDict(json_schema_extra=_stream_schema)

    kind: Literal["sse", "websocket"] = Field(
        description="`sse` (server-sent events; WHATWG HTML, 9.2) or `websocket` (RFC 6455)", examples=["websocket"]
    )
    lasts: PositiveDuration = Field(
        default=Duration.parse("3s"),
        alias="for",
        description="how long one subscription lasts, from its first connection on; it is complete, too, when the load ends",
        examples=["5s"],
    )
    resume: bool = Field(
        default=True,
        description="no event may be missing and none may come twice when the client connects again; the ids of events must be successive "
        "whole numbers then, or it is unknown. A websocket then needs {last_id} in its path or headers. false: events that nobody heard "
        "are not missed",
        examples=[False],
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """The kind alone."""
        return {"kind": written} if isinstance(written, str) else written


def _request_schema(schema: dict[str, Any]) -> None:
    """Add the short forms of a request: text, ``POST /items: body``, and ``request:``."""
    long = moved(schema)
    long.pop("required", None)
    long["properties"]["request"] = {
        "type": "string",
        "pattern": _METHOD_AND_PATH,
        "description": "method and path in one; a short form of method and path",
        "examples": ["POST /items"],
    }
    long["patternProperties"] = {_METHOD_AND_PATH: {"description": "the request, and under it its JSON body"}}
    long["minProperties"] = 1
    schema["anyOf"] = [{"type": "string", "pattern": _METHOD_AND_PATH}, long]


class Request(Part):
    """One kind of request. Short forms: ``GET /items/{id}``, or ``POST /items:`` with the JSON body under it and other keys beside it."""

    model_config = ConfigDict(json_schema_extra=_request_schema)

    method: Annotated[str, PlainValidator(_method), WithJsonSchema({"enum": list(METHODS)})] = Field(
        description="the method, where request: is not used",
        examples=["POST"],
        json_schema_extra={"type_words": "HTTP method", "default_words": "that of request"},
    )
    path: Annotated[str, AfterValidator(_path)] = Field(
        description="path and query, where request: is not used; may hold placeholders",
        examples=["/items/{id}"],
        json_schema_extra={"default_words": "that of request"},
    )
    name: Line = Field(
        description="what reports call it", examples=["read an item"], json_schema_extra={"default_words": "its method and path"}
    )
    weight: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="how often it is chosen, relative to the others",
        examples=[3],
        json_schema_extra={"unit": "shares"},
    )
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(
        default={}, description="headers; values may hold placeholders", examples=[{"Accept": "application/json"}]
    )
    json_body: Annotated[JsonValue, AfterValidator(_json)] = Field(
        default=None,
        alias="json",
        description="a body sent as JSON; texts in it may hold placeholders, and a text that is nothing but a placeholder of a number "
        "becomes that number",
        examples=[{"name": "{uuid}"}],
        json_schema_extra={"type_words": "any", "default_words": "no body"},
    )
    body: TemplateText | None = Field(
        default=None,
        description="a body sent as it is; may hold placeholders",
        examples=["name={uuid}"],
        json_schema_extra={"default_words": "no body"},
    )
    expect: Expectation = Field(default=Expectation(), description="what a whole answer must be like", examples=[{"status": 201}])
    stream: Stream | None = Field(
        default=None,
        description="it is a stream, whose client connects again when its connection ends",
        examples=["sse"],
        json_schema_extra={"default_words": "a plain request"},
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """Method, path and name taken from ``POST /items``, wherever that stands."""
        if isinstance(written, str):
            written = {"request": written}
        if not isinstance(written, Mapping):
            raise MistakeError(f"must be a request such as GET /items, not {shown(written)}")
        long = dict(written)
        short = _short_keys(written)
        if len(short) + ("request" in long) > 1:
            raise MistakeError("two requests in one place; begin each with its own -")
        if short:
            under = long.pop(short[0])
            if isinstance(under, Mapping) and under and short[0].upper().startswith(("GET ", "HEAD ")) and set(under) <= set(_REQUEST_KEYS):
                raise MistakeError(f"what stands under {short[0]} is its JSON body; {one_of(under)} belongs beside it, indented like it")
            if under is not None and "json" in long:
                raise MistakeError(f"has two JSON bodies, one under {short[0]} and one under json")
            long |= {"request": short[0]} | ({"json": under} if under is not None else {})
        if "request" in long:
            if "method" in long or "path" in long:
                raise MistakeError("needs either request, or method and path, not both")
            long |= _method_and_path(long.pop("request"))
        name = f"{long.get('method')} {long.get('path')}"
        return {"name": name[:120] if name.isprintable() else "unnamed"} | long

    @classmethod
    def written_keys(cls, written: object) -> Mapping[str, tuple[str, Place]]:
        """Method, path, name and JSON body come from ``POST /items: …`` or from ``request``."""
        short = _short_keys(written)
        if short:
            return {"method": (short[0], "key"), "path": (short[0], "key"), "json": (short[0], "value")}
        if isinstance(written, Mapping) and "request" in written:
            return {"method": ("request", "value"), "path": ("request", "value")}
        return {}

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """One body at most; a stream has none."""
        if long.get("json") is not None and long.get("body") is not None:
            yield Complaint(("body",), "there is a JSON body already; write either json or body", "key")
        if long.get("stream") is not None:
            yield from _stream_contradictions(long)
        else:
            yield from _misplaced_last_id(long, ("path", "headers"))
        yield from _misplaced_last_id(long, ("json", "body", "expect"))

    @model_serializer
    def _spelled(self) -> dict[str, Any]:
        stream = self.stream.model_dump(mode="json", by_alias=True) if self.stream is not None else None
        bodies = {"json": self.json_body, "body": self.body, "stream": stream}
        return {
            "request": f"{self.method} {self.path}",
            "name": self.name,
            "weight": self.weight,
            "headers": self.headers,
            "expect": self.expect.model_dump(mode="json"),
        } | {key: body for key, body in bodies.items() if body is not None}

    @property
    def idempotent(self) -> bool:
        """True when sending it twice has the effect of sending it once (RFC 9110, section 9.2.2)."""
        return self.method in IDEMPOTENT_METHODS


def long_request(written: object) -> Mapping[str, Any]:
    """The long form of a request as plain data, which may be wrong in any way; empty where it can't be told what it is."""
    try:
        long = Request.long_form(written)
    except MistakeError:
        return {}
    return long if isinstance(long, Mapping) else {}


def holes_in(long: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each placeholder of a request in its long form as plain data, with the place of the text that it stands in."""
    for path, text in _texts_of(long):
        try:
            names = compile_template(text).names
        except MistakeError:
            continue  # told by itself
        yield from ((path, name) for name in names)


def is_whole(long: Mapping[str, Any]) -> bool:
    """Whether all texts of a request in its long form are templates, so that no placeholder is there that nobody sees."""
    try:
        for _, text in _texts_of(long):
            compile_template(text)
    except MistakeError:
        return False
    return True


def _texts_of(long: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The texts of a request that may hold placeholders, with their places."""
    for key in ("path", "headers", "json", "body"):
        yield from _texts_in(long.get(key), (key,))
    if isinstance(expect := long.get("expect"), Mapping):
        for key in ("body", "body_contains"):
            yield from _texts_in(expect.get(key), ("expect", key))


def _texts_in(value: object, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts_in(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts_in(item, (*path, index))


def _stream_contradictions(long: Mapping[str, Any]) -> Iterator[Complaint]:
    """What has no meaning in a stream."""
    if long.get("method") != "GET":
        yield Complaint(("method",), f"a stream is a GET, not {long.get('method')}", "key")
    for key in ("json", "body"):
        if long.get(key) is not None:
            yield Complaint((key,), "has no meaning in a stream, which has no body; remove it", "key")
    expect = long.get("expect")
    if any(value not in (None, (), []) for value in (expect.values() if isinstance(expect, Mapping) else ())):
        yield Complaint(("expect",), "has no meaning in a stream, whose events are looked at one by one; remove it", "key")
    if _resumes_blindly(long):
        path = str(long.get("path"))
        asked = f"GET {path}{'&' if '?' in path else '?'}last={{last_id}}"
        yield Complaint(("stream",), f"nothing tells the server which event was last; write {asked}, or resume: false")


def _resumes_blindly(long: Mapping[str, Any]) -> bool:
    """A WebSocket that is to go on where it was, whose server can't know where: only server-sent events have a header for it."""
    stream = long["stream"] if isinstance(long["stream"], Mapping) else {"kind": long["stream"]}
    if stream.get("kind") != "websocket" or stream.get("resume", True) is not True:
        return False
    return not any(_LAST_ID.search(str(long.get(key))) for key in ("path", "headers"))


def _misplaced_last_id(long: Mapping[str, Any], keys: Iterable[str]) -> Iterator[Complaint]:
    """``{last_id}`` where there is no id that could have come last."""
    for key in keys:
        if _LAST_ID.search(str(long.get(key))):
            yield Complaint((key,), "{last_id} is known only in the path and in headers of a stream; add stream: sse or websocket")


def _short_keys(written: object) -> list[str]:
    if not isinstance(written, Mapping):
        return []
    return [key for key in written if isinstance(key, str) and _SHORT_REQUEST.fullmatch(key)]


def _method_and_path(written: object) -> dict[str, str]:
    if not isinstance(written, str) or not written.strip():
        raise MistakeError(f"must be a request such as GET /items, not {shown(written)}")
    text = written.strip()
    if text.startswith("/") or "://" in text.split()[0]:
        return {"method": "GET" if "://" in text else "", "path": text}
    method, _, path = text.partition(" ")
    return {"method": method, "path": path.strip()}


class Load(Part):
    """What users do to the target meanwhile."""

    process: str | None = Field(
        default=None,
        description="the process type that takes the load",
        examples=["api"],
        json_schema_extra={"default_words": "web, or the only process type"},
    )
    users: int = Field(
        default=10,
        ge=1,
        le=MAX_USERS,
        description="without rate: how many users send requests, each waiting for its answer before the next; with rate: how many requests "
        "may be under way at once",
        examples=[20],
        json_schema_extra={"unit": "users", "default_words": f"10; with rate {USERS_OF_AN_OPEN_MODEL}"},
    )
    rate: Rate | None = Field(
        default=None,
        description="open model: so many requests begin in each second (s), minute (m) or hour (h), whether or not the earlier ones are "
        "answered",
        examples=["400/s"],
        json_schema_extra={"unit": "requests in s, m or h", "default_words": "none: users wait for their answers"},
    )
    think_time: Duration = Field(default=ZERO, description="how long a user waits between two requests; not with rate", examples=["50ms"])
    keep_alive: bool = Field(default=True, description="use a connection for more than one request", examples=[False])
    timeout: PositiveDuration = Field(
        default=Duration.parse("10s"), description="a request without a whole answer by then has timed out", examples=["2s"]
    )
    retries: int = Field(
        default=0,
        ge=0,
        le=5,
        description=f"how often a request that may be sent twice ({', '.join(sorted(IDEMPOTENT_METHODS))}; RFC 9110, 9.2.2) is sent again, "
        "whatever cut it, terminate as well as kill; retries stay visible, and `retried_requests == 0` in expect allows none",
        examples=[1],
        json_schema_extra={"unit": "retries"},
    )
    requests: Annotated[tuple[Request, ...], Field(min_length=1), AsTuple] = Field(
        description="what is sent, chosen by weight",
        examples=[["GET /items/{id}"]],
        json_schema_extra={"type_words": "list of requests (see below)"},
    )

    connections: Annotated[tuple[ConnectionKind, ...], Field(max_length=MAX_CONNECTIONS), AsTuple] = Field(
        default=(),
        description="connections that the harness itself holds to each replica of this process type while a step stops it: idle (one "
        "request was answered on it), silent (nothing was sent), half-open (a request was begun and never ended), http/1.0 and pipelined "
        "(under way at the signal); a kind named twice is held twice",
        examples=[["idle", "silent", "half-open"]],
        json_schema_extra={"default_words": "none"},
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """An open model has room for many requests unless the file says otherwise."""
        if isinstance(written, Mapping) and written.get("rate") is not None and "users" not in written:
            return {**written, "users": USERS_OF_AN_OPEN_MODEL}
        return written

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """Users of an open model do not think."""
        if long.get("rate") is not None and is_long(long.get("think_time")):
            yield Complaint(("think_time",), "has no meaning with rate, which alone says when requests begin; remove one of them", "key")
