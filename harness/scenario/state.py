"""The state that a scenario checks: what clients write and read, how, and what every replica must answer alike.

Each *workload* has a model, and names the app's own requests for the model's operations: how to write and read a register, add to a set, a
counter or a log. The harness chooses the values, each one once, so that an answer tells exactly which write it saw. Two models need no
operations: ``same`` asks every replica the same requests, and ``journey`` is a session that begins on one replica and goes on at another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer
from pydantic_core import ErrorDetails

from harness.extract import Extractor
from harness.scenario.load import HEADER_NAME, STATUSES_SCHEMA, Request, Status, holes_in, is_whole, long_request, status_or_list
from harness.scenario.services import SomeText
from harness.scenario.values import Line, PositiveDuration
from harness.state_history import OF_MANY
from harness.strict_model import AsTuple, Complaint, Part, plain, respelled
from harness.template import KEPT, KEPT_NAME, OF_STATE
from harness.units import Duration
from harness.words import MistakeError, all_of, did_you_mean, one_of, quoted, shown

Model: TypeAlias = Literal["register", "set", "counter", "log", "sessions", "same", "journey"]

OPERATIONS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "register": (("write", "read"), ("cas",)),
    "set": (("add",), ("read", "contains", "remove")),
    "counter": (("add", "read"), ()),
    "log": (("append", "read"), ()),
    "sessions": (("write", "read"), ()),
    "same": ((), ()),
    "journey": ((), ()),
}
"""Which operations each model must have, and which it may have."""

ALL_OPERATIONS: Final = ("write", "read", "cas", "add", "remove", "contains", "append")
WITH_REQUESTS: Final = ("same", "journey")

WITHOUT_MEANING: Final[Mapping[str, tuple[str, ...]]] = {
    "set": ("stale",),
    "counter": ("stale",),
    "log": ("stale",),
    "sessions": ("stale", "store"),
    "same": ("keys", "hot", "clients", "pause", "refused", "stale", "store"),
    "journey": ("keys", "hot", "clients", "pause", "refused", "stale", "settle", "store"),
}
"""What a model can't have beside its operations or requests."""

_WHAT_IT_IS: Final[Mapping[str, str]] = {
    "set": "whose answers are not timed; only those of a register are",
    "counter": "whose answers are not timed; only those of a register are",
    "log": "whose answers are not timed; only those of a register are",
    "sessions": "which is about what each client sees and nothing else",
    "same": "which is requests and no operations",
    "journey": "which is requests and no operations",
}
_TELLS_NOTHING: Final = ("write", "add", "append", "cas")
"""Operations whose answer can't say that something is not there."""

_ANSWERS: Final[Mapping[str, str]] = {"counter": "$.count", "set": "$.items[*]", "log": "$.entries[*]"}
"""What an extractor may look like, for who forgot it."""

DEFAULT_KEYS: Final = 5
MAX_KEYS: Final = 100_000
MAX_CLIENTS: Final = 1000
DEFAULT_REFUSED: Final = (409, 412)
_SHARE: Final = re.compile(r"([1-9]\d?|100)%", re.ASCII)
_ANYTHING: Final = ("", "a", '{"id": 7}')


def _extractor(written: str) -> str:
    Extractor(written)
    return written


def _hot(written: str) -> str:
    if not _SHARE.fullmatch(written):
        raise MistakeError(f"must be a share from 1% to 100%, not {quoted(written)}")
    return written


def _mask(written: str) -> str:
    try:
        compiled = re.compile(written)
    except (re.error, OverflowError, RecursionError) as error:
        raise MistakeError(f"{quoted(written)} is no regular expression: {error}") from None
    if all(compiled.fullmatch(text) for text in _ANYTHING):
        raise MistakeError(f"{quoted(written)} matches any text, so that no body would ever be compared")
    return written


def _header(written: str) -> str:
    if not HEADER_NAME.fullmatch(written):
        raise MistakeError(f"{quoted(written)} is no name for a header")
    return written


def _kept_name(written: str) -> str:
    if not KEPT_NAME.fullmatch(written):
        raise MistakeError(f"{quoted(written)} is no name for what is kept; use letters, digits and _, and begin with a letter")
    return written


def _as_statuses(written: object) -> set[int]:
    """The statuses that plain data, which may be wrong, names."""
    items = written if isinstance(written, list) else [written]
    return {item for item in items if isinstance(item, int) and not isinstance(item, bool)}


Statuses = Annotated[tuple[Status, ...], status_or_list(409), STATUSES_SCHEMA]
Answer = Annotated[str, AfterValidator(_extractor)]
KeptName = Annotated[str, AfterValidator(_kept_name)]


def _without_stream(long: Mapping[str, Any], complaints: Iterator[Complaint], what: str) -> Iterator[Complaint]:
    """The complaints about a request that can't be a stream."""
    if long.get("stream") is not None:
        yield Complaint(("stream",), f"has no meaning in {what}, which is one request and its answer; remove it", "key")
    for told in complaints:
        known = f"{{last_id}} is known only in a stream, and {what} is none; remove it"
        yield told._replace(what=known) if "{last_id}" in told.what else told


class Operation(Request):
    """One of the app's own requests, and what its answer tells."""

    answer: Answer | None = Field(
        default=None,
        description="where in the answer the value stands (all values, for a set or a log): a JSON path, or `regex:` and a regular "
        "expression whose only group holds it",
        examples=["$.value", "regex:count=([0-9]+)"],
        json_schema_extra={"type_words": "JSON path or regex"},
    )
    nothing: Statuses = Field(
        default=(),
        description="the status, or statuses, by which the app says that there is nothing yet, or that an element is not there",
        examples=[[404]],
        json_schema_extra={"default_words": "none", "type_words": "whole number, or list of them"},
    )
    next: Answer | None = Field(
        default=None,
        description="where in the answer of a read by page stands what {page} becomes for the next one; the last page has none",
        examples=["$.next"],
        json_schema_extra={"type_words": "JSON path or regex", "default_words": "one page is all"},
    )

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """No stream, and a status means one thing."""
        yield from _without_stream(long, super().contradictions({**long, "stream": None}), "an operation on state")
        good = long["expect"].get("status") if isinstance(long.get("expect"), Mapping) else None
        if both := _as_statuses(good) & _as_statuses(long.get("nothing")):
            what = f'{all_of(sorted(both))} is in expect, too, as a good answer with a value; remove it there, as "nothing" is enough'
            yield Complaint(("nothing",), what)

    @model_serializer
    def _spelled(self) -> dict[str, Any]:
        told: dict[str, Any] = {"answer": self.answer, "nothing": list(self.nothing) or None, "next": self.next}
        return super()._spelled() | {key: value for key, value in told.items() if value is not None}


class Visit(Request):
    """One request of a journey, or one that all replicas must answer alike."""

    keep: dict[KeptName, Answer] = Field(
        default={},
        description="journey: names for what the answer tells, each with the place where it stands; later requests may use them as "
        "{kept:name}",
        examples=[{"token": "$.csrf"}],
        json_schema_extra={"type_words": "mapping of names to JSON paths", "default_words": "nothing; cookies are kept anyway"},
    )
    compare: Annotated[tuple[Annotated[Line, AfterValidator(_header)], ...], AsTuple] = Field(
        default=(),
        description="same: headers that must be the same on all replicas, too",
        examples=[["content-type"]],
        json_schema_extra={"type_words": "list of names of headers", "default_words": "content-type"},
    )
    mask: Annotated[tuple[Annotated[SomeText, AfterValidator(_mask)], ...], AsTuple] = Field(
        default=(),
        description="same: regular expressions; what they match in the body may differ",
        examples=[["[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z?"]],
        json_schema_extra={"type_words": "list of regular expressions", "default_words": "none"},
    )

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """No stream, and no weight, as all of them are sent."""
        yield from _without_stream(long, super().contradictions({**long, "stream": None}), "a request of state")
        if long.get("weight") not in (None, 1):
            yield Complaint(("weight",), "has no meaning here, as all of the requests are sent; remove it", "key")

    @model_serializer
    def _spelled(self) -> dict[str, Any]:
        told: dict[str, Any] = {"keep": self.keep, "compare": list(self.compare), "mask": list(self.mask)}
        return super()._spelled() | {key: value for key, value in told.items() if value}


class StoreQuery(Part):
    """How the store itself tells what it holds, to be compared with what replicas answer."""

    service: str | None = Field(
        default=None,
        description="the service that is the store",
        examples=["postgres"],
        json_schema_extra={"default_words": "the only one"},
    )
    query: SomeText | None = Field(
        default=None,
        description="SQL: a query with a row for each key and value, in this order; where there is one key, the value alone will do",
        examples=["SELECT id, name FROM items"],
    )
    key: SomeText | None = Field(
        default=None,
        description="Redis: the key that holds the value (a string), the elements (a set or a list), or all keys (a hash); may hold {key}",
        examples=["items:{key}"],
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """A query or a key alone is told how it is written."""
        if isinstance(written, str) and written:
            key = "query" if written.upper().startswith(("SELECT ", "WITH ")) else "key"
            raise MistakeError(f"must be a mapping, not {shown(written)}; write {{{key}: {quoted(written)}}}")
        return written

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """A query or a key."""
        query, key = long.get("query"), long.get("key")
        if query is None and key is None:
            yield Complaint((), "says not how it is asked; write query, for SQL, or key, for Redis", "key")
        elif query is not None and key is not None:
            yield Complaint(("key",), "has no meaning beside query, as a store is asked in one way; remove one of them", "key")
        if isinstance(query, str) and "{key}" in query:
            yield Complaint(("query",), "{key} has no value here; a query tells a row for each key, with its value behind it")


class Workload(Part):
    """What clients do to one kind of state, and what must hold of it."""

    model: Model = Field(
        description="what it is: `register` (write, read, compare-and-set), `set` (add, read all), `counter` (add one, read), `log` "
        "(append, read all), `sessions` (each client must see its own writes and never go back), `same` (all replicas answer alike), "
        "`journey` (a session that goes on at another replica)",
        examples=["register"],
    )
    process: str | None = Field(
        default=None,
        description="the process type that is asked",
        examples=["api"],
        json_schema_extra={"default_words": "the one that takes the load, or web, or the only one"},
    )
    write: Operation | None = Field(
        default=None, description="writes {value} to {key}", examples=[{"PUT /items/{key}": {"name": "{value}"}}]
    )
    read: Operation | None = Field(
        default=None,
        description="reads the value of {key}, or the whole set or log",
        examples=[{"request": "GET /items/{key}", "answer": "$.name"}],
    )
    cas: Operation | None = Field(
        default=None,
        description="register: writes {value} if the value is {old} still; a status in refused says that it was another one",
        examples=[{"PUT /items/{key}?if={old}": {"name": "{value}"}}],
    )
    add: Operation | None = Field(
        default=None, description="set: adds {value}; counter: adds one, and may answer the new number", examples=["POST /counters/{key}"]
    )
    remove: Operation | None = Field(default=None, description="set: removes {value}", examples=["DELETE /set/{key}/{value}"])
    contains: Operation | None = Field(
        default=None,
        description="set: asks for {value}; a good answer says that it is there, and a status in nothing that it is not",
        examples=[{"request": "GET /set/{key}/{value}", "nothing": 404}],
    )
    append: Operation | None = Field(default=None, description="log: puts {value} behind it", examples=[{"POST /log/{key}": "{value}"}])
    requests: Annotated[tuple[Visit, ...], AsTuple] = Field(
        default=(),
        description="same: requests that all replicas must answer alike; journey: the requests of one session, in order",
        examples=[["GET /items"]],
        json_schema_extra={"type_words": "list of requests", "default_words": "none"},
    )
    keys: int = Field(
        default=DEFAULT_KEYS,
        ge=1,
        le=MAX_KEYS,
        description="how many keys there are",
        examples=[20],
        json_schema_extra={"unit": "keys", "default_words": f"{DEFAULT_KEYS}; 1 where no operation has {{key}}"},
    )
    hot: Annotated[str, AfterValidator(_hot)] | None = Field(
        default=None,
        description="so large a share of the operations is on the first key",
        examples=["50%"],
        json_schema_extra={"default_words": "all keys alike"},
    )
    clients: int = Field(
        default=4,
        ge=1,
        le=MAX_CLIENTS,
        description="how many clients there are; each does one operation at a time, through whichever replica has its turn",
        examples=[8],
        json_schema_extra={"unit": "clients"},
    )
    pause: Duration = Field(default=Duration.parse("10ms"), description="how long a client waits between two operations", examples=["50ms"])
    refused: Statuses = Field(
        default=DEFAULT_REFUSED,
        description="the statuses by which the app says that the operation did not happen; every other bad answer leaves that unknown",
        examples=[[409]],
        json_schema_extra={"default_words": "409 and 412", "type_words": "whole number, or list of them"},
    )
    stale: PositiveDuration | None = Field(
        default=None,
        description="the app promises fresh answers only after so long: what a read misses must not be older than that, and reads that "
        "are further apart must show changes in one order",
        examples=["500ms"],
        json_schema_extra={"default_words": "a read never misses what was acknowledged before it"},
    )
    settle: PositiveDuration = Field(
        default=Duration.parse("2s"),
        description="when the load is over, all replicas are read one by one, again and again until they agree, so long at most",
        examples=["5s"],
    )
    store: StoreQuery | None = Field(
        default=None,
        description="how the store itself tells what it holds at the end",
        examples=[{"query": "SELECT id, name FROM items"}],
        json_schema_extra={"default_words": "only replicas are asked"},
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """Where nothing tells one key from another there is one."""
        if not isinstance(written, Mapping) or "keys" in written or written.get("model") in WITH_REQUESTS:
            return written
        operations = [written[name] for name in ALL_OPERATIONS if written.get(name) is not None]
        keyless = bool(operations) and not any("key" in _names(plain(operation)) for operation in operations)
        return {**written, "keys": 1} if keyless else written

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """A model has its operations and no others, and each says all that must be known of it."""
        model = str(long.get("model"))
        if model not in OPERATIONS:
            return
        yield from _of_model(model, long)
        yield from _keys_complaints(model, long)
        for name in (*OPERATIONS[model][0], *OPERATIONS[model][1]):
            if long.get(name) is not None:
                yield from _operation_complaints(model, name, long)
        if model in WITH_REQUESTS:
            yield from _visits_complaints(model, long)

    @classmethod
    def _in_words(cls, detail: ErrorDetails) -> Complaint:
        told = super()._in_words(detail)
        if told.path != ("model",):
            return told
        if detail["type"] == "missing":
            return told._replace(what=f"{told.what}; write {one_of(OPERATIONS)}")
        if detail["type"] == "literal_error":
            queue = detail["input"] == "queue"
            hint = "; queues are under jobs:" if queue else did_you_mean(str(detail["input"]), OPERATIONS)
            return told._replace(what=told.what + hint)
        return told

    @model_serializer(mode="wrap")
    def _spelled(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Only what has a meaning is written."""
        left_out = (*WITHOUT_MEANING.get(self.model, ()), *(() if self.requests else ("requests",)))
        return {key: value for key, value in handler(self).items() if value is not None and key not in left_out}

    @property
    def operations(self) -> dict[str, Operation]:
        """Its operations by name, in a fixed order."""
        return {name: operation for name in ALL_OPERATIONS if (operation := getattr(self, name)) is not None}

    @property
    def hot_share(self) -> float:
        """The share of operations on the first key, from 0 to 1; 0 when all keys are alike."""
        return int(self.hot.removesuffix("%")) / 100 if self.hot is not None else 0.0


# --- what can be wrong with a workload --------------------------------------------------------------------------------------


def _names(written: object) -> set[str]:
    """The names of all placeholders of a request as plain data."""
    return {name for _, name in holes_in(long_request(written))}


def _of_model(model: str, long: Mapping[str, Any]) -> Iterator[Complaint]:
    """What a model needs, and what has no meaning with it."""
    needed, allowed = OPERATIONS[model]
    for name in ALL_OPERATIONS:
        if name in long and long[name] is None:
            yield Complaint((name,), "is empty; write the request that does it, or remove it")
        elif name in long and name not in (*needed, *allowed):
            has = one_of((*needed, *allowed) or ("requests",))
            yield Complaint((name,), f"has no meaning with {model}, which has {has}; remove it", "key")
        elif name in needed and name not in long:
            yield Complaint((), f"{model} needs {name}, the request that does it", "key")
    if model == "set" and long.get("add") is not None and not any(name in long for name in ("read", "contains")):
        yield Complaint((), "nobody asks what is in the set; write read, contains, or both", "key")
    asked = long.get("requests") not in (None, [], ())
    if asked and model not in WITH_REQUESTS:
        yield Complaint(("requests",), f"has no meaning with {model}, which has {one_of((*needed, *allowed))}; remove it", "key")
    elif not asked and model in WITH_REQUESTS:
        yield Complaint((), f"{model} needs requests, a list of them", "key")
    for key in WITHOUT_MEANING.get(model, ()):
        if long.get(key) is not None:
            yield Complaint((key,), f"has no meaning with {model}, {_WHAT_IT_IS[model]}; remove it", "key")


def _keys_complaints(model: str, long: Mapping[str, Any]) -> Iterator[Complaint]:
    """Whether keys are told from each other, in operations and in the store."""
    keys = long.get("keys", DEFAULT_KEYS)
    if model in WITH_REQUESTS or not isinstance(keys, int) or isinstance(keys, bool):
        return
    if keys == 1 and long.get("hot") is not None:
        yield Complaint(("hot",), "has no meaning with one key; remove it, or write {key} in the operations and keys: 2 or more", "key")
    for name in (*OPERATIONS[model][0], *OPERATIONS[model][1]):
        request = long_request(long.get(name))
        if keys > 1 and request and is_whole(request) and "key" not in _sent(request):
            yield Complaint((name,), f"sends no {{key}}, and there are {keys} keys; write {{key}} in its path, or keys: 1", "key")
    store = long.get("store")
    key = store.get("key") if isinstance(store, Mapping) else None
    if keys > 1 and model in OF_MANY and isinstance(key, str) and "{key}" not in key:
        yield Complaint(("store", "key"), f"holds no {{key}}, and there are {keys} keys, each a {model} of its own; write {{key}} in it")


def _sent(request: Mapping[str, Any]) -> set[str]:
    """The names of placeholders in what a request in its long form sends."""
    return {name for path, name in holes_in(request) if path[0] != "expect"}


def _unquoted(value: object, name: str) -> bool:
    """Whether a JSON body holds ``{name}`` as a mapping of its own, which YAML makes of it without quotes."""
    if isinstance(value, Mapping):
        return value == {name: None} or any(_unquoted(item, name) for item in value.values())
    return isinstance(value, list) and any(_unquoted(item, name) for item in value)


def _operation_complaints(model: str, name: str, long: Mapping[str, Any]) -> Iterator[Complaint]:
    """One operation: its placeholders, its answer and its statuses."""
    written = long[name]
    request = long_request(written)
    if not request:
        return
    spelled = Request.written_keys(written)
    told = [*_hole_complaints(model, name, request), *_answer_complaints(model, name, written, request)]
    told += _status_complaints(name, request, long)
    for complaint in told:
        place = respelled(complaint, spelled)
        yield place._replace(path=(name, *place.path))


def _hole_complaints(model: str, name: str, request: Mapping[str, Any]) -> Iterator[Complaint]:
    """Values that must be sent, and placeholders that stand for nothing here."""
    holes, sent = list(holes_in(request)), _sent(request)
    writes = name in ("write", "cas", "append", "remove", "contains") or (model, name) == ("set", "add")
    wanted = [("value", "number", "the element" if model == "set" else "the value that is written")] if writes else []
    wanted += [("old", "old_number", "the value that is replaced")] if name == "cas" else []
    for text, number, what in wanted if is_whole(request) else []:
        if not sent & {text, number}:
            hint = f'put "{{{text}}}" in quotes' if _unquoted(request.get("json"), text) else f"write one of them where {what} stands"
            yield Complaint((), f"sends neither {{{text}}} nor {{{number}}}; {hint}", "key")
    pages = name == "read" and model in OF_MANY
    known = {"key", "client", *(("value", "number") if writes or name == "add" else ())}
    known |= {"old", "old_number"} if name == "cas" else {"page"} if pages else set()
    for path, hole in holes:
        kind = hole.partition(":")[0]
        if kind == KEPT:
            yield Complaint(path, f"{{{hole}}} has a value only in the requests of a journey; remove it")
        elif kind in OF_STATE and kind not in known:
            yield Complaint(path, _no_value(name, kind))
    if pages and "page" in sent and request.get("next") is None:
        yield Complaint((), "has {page} and says not where an answer names the next page; write next: $.next beside it", "key")


def _no_value(name: str, hole: str) -> str:
    """Why a placeholder of state stands for nothing in an operation."""
    if hole in ("old", "old_number"):
        return f"{{{hole}}} has a value only in cas; remove it"
    if hole == "page":
        return "{page} has a value only in the read of a set or a log; remove it"
    return f"{{{hole}}} has no value in {name}, which writes nothing; remove it"


def _answer_complaints(model: str, name: str, written: object, request: Mapping[str, Any]) -> Iterator[Complaint]:
    """Where an answer holds what is asked for."""
    answer, following = request.get("answer"), request.get("next")
    if name == "read" and answer is None:
        like = _ANSWERS.get(model, "$.value")
        like = f'"{like}"' if "[" in like else like
        how = f'{{request: "{written}", answer: {like}}}' if isinstance(written, str) else f"answer: {like} beside it"
        yield Complaint(
            (), f"says not where in the answer the {'values stand' if model in OF_MANY else 'value stands'}; write {how}", "key"
        )
    elif answer is not None and request.get("method") == "HEAD":
        yield Complaint(("method",), "HEAD has no body, where the answer would stand; write GET", "key")
    elif answer is not None and name != "read" and (model, name) != ("counter", "add"):
        yield Complaint(("answer",), f"has no meaning in {name}, whose status says all; remove it", "key")
    elif name == "read" and model in OF_MANY and isinstance(answer, str) and _at_most_one(answer):
        yield Complaint(("answer",), f"finds one value at most, and a {model} has many; write {answer}[*] for what is in a list")
    if following is None:
        return
    if name != "read" or model not in OF_MANY:
        yield Complaint(("next",), "has a meaning only in the read of a set or a log; remove it", "key")
    elif not any(hole == "page" for _, hole in holes_in(request)):
        what = "names the next page, and no {page} asks for it; write for example ?after={page} in its path"
        yield Complaint(("next",), what, "key")


def _at_most_one(answer: str) -> bool:
    try:
        return Extractor(answer).at_most_one
    except MistakeError:
        return False


def _status_complaints(name: str, request: Mapping[str, Any], long: Mapping[str, Any]) -> Iterator[Complaint]:
    """What a status says."""
    nothing = _as_statuses(request.get("nothing"))
    refused = _as_statuses(long["refused"]) if long.get("refused") is not None else set(DEFAULT_REFUSED)
    expect = request.get("expect")
    good = _as_statuses(expect.get("status")) if isinstance(expect, Mapping) else set()
    if name in _TELLS_NOTHING and nothing:
        cure = "write it in refused" if name == "cas" else "remove it"
        yield Complaint(("nothing",), f"has a meaning only where it is asked what is there, and {name} does not ask; {cure}", "key")
    elif both := nothing & refused:
        yield Complaint(("nothing",), _is_refused(both, long))
    if name == "contains" and request.get("nothing") in (None, []):
        yield Complaint((), "says not by which status the app tells that an element is not there; write nothing: 404 beside it", "key")
    if both := good & refused:
        yield Complaint(("expect", "status"), _is_refused(both, long))


def _is_refused(statuses: set[int], long: Mapping[str, Any]) -> str:
    which = all_of(sorted(statuses))
    if long.get("refused") is not None:
        return f"{which} is in refused, too, which says that the operation did not happen; remove it in one of them"
    usual = all_of(DEFAULT_REFUSED)
    return f"{which} says that the operation did not happen, as refused is {usual} where it is not written; write refused: without it"


def _visits_complaints(model: str, long: Mapping[str, Any]) -> Iterator[Complaint]:
    """The requests that all replicas must answer alike, or those of a journey, in their order."""
    requests = long.get("requests")
    if not isinstance(requests, list):
        return
    if model == "journey" and len(requests) == 1:
        yield Complaint(("requests",), "is one request, and a journey goes on at another replica; write two or more", "key")
    kept: list[str] = []
    for number, written in enumerate(requests):
        request = long_request(written)
        spelled = Request.written_keys(written)
        for complaint in _visit_complaints(model, request, kept):
            place = respelled(complaint, spelled)
            yield place._replace(path=("requests", number, *place.path))
        keeps = request.get("keep")
        kept += [name for name in keeps if isinstance(name, str)] if isinstance(keeps, Mapping) else []


def _visit_complaints(model: str, request: Mapping[str, Any], kept: list[str]) -> Iterator[Complaint]:
    foreign = {"same": ("keep",), "journey": ("compare", "mask")}[model]
    for key in foreign:
        if request.get(key) not in (None, {}, []):
            of = "journey" if model == "same" else "same"
            yield Complaint((key,), f"has a meaning only with {of}; remove it", "key")
    for path, hole in holes_in(request):
        kind, _, name = hole.partition(":")
        if kind in OF_STATE:
            yield Complaint(path, f"{{{kind}}} has no value in a request of {model}; remove it")
        elif kind == KEPT and model != "journey":
            yield Complaint(path, f"{{{hole}}} has a value only in the requests of a journey; remove it")
        elif kind == KEPT and name not in kept:
            near = did_you_mean(name, kept)
            yield Complaint(
                path, f"no request before this one keeps {quoted(name)}{near}; write keep: {{{name}: $.{name}}} beside that one"
            )
