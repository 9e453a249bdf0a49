"""The state that a scenario checks: what clients write and read, how, and what every replica must answer alike.

Each *workload* has a model, and names the app's own requests for the model's operations: how to write and read a register, add to a set, a
counter or a log. The harness chooses the values, each one once, so that an answer tells exactly which write it saw. Two models need no
operations: ``same`` asks every replica the same requests, and ``journey`` is a session that begins on one replica and goes on at another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_serializer

from harness.extract import Extractor
from harness.scenario.load import Request
from harness.scenario.services import SomeText
from harness.scenario.values import Line, PositiveDuration
from harness.strict_model import AsTuple, Complaint, Part
from harness.units import Duration
from harness.words import MistakeError, one_of, quoted, shown

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
MAX_KEYS: Final = 100_000
MAX_CLIENTS: Final = 1000
_SHARE: Final = re.compile(r"([1-9]\d?|100)%")


def _extractor(written: str) -> str:
    Extractor(written)
    return written


def _hot(written: str) -> str:
    if not _SHARE.fullmatch(written):
        raise MistakeError(f"must be a share from 1% to 100%, not {quoted(written)}")
    return written


def _statuses(written: object) -> object:
    if isinstance(written, int) and not isinstance(written, bool):
        return (written,)
    if isinstance(written, list | tuple):
        return tuple(written)
    raise MistakeError(f"must be a status such as 409, or a list of them, not {shown(written)}")


_STATUS_SCHEMA: Final = {"type": "integer", "minimum": 100, "maximum": 599}
Statuses = Annotated[
    tuple[Annotated[int, Field(ge=100, le=599)], ...],
    BeforeValidator(_statuses),
    WithJsonSchema({"anyOf": [_STATUS_SCHEMA, {"type": "array", "items": _STATUS_SCHEMA}]}),
]
Answer = Annotated[str, AfterValidator(_extractor)]


class Operation(Request):
    """One of the app's own requests, and what its answer tells. All that a request may have, and these."""

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

    @model_serializer
    def _spelled(self) -> dict[str, Any]:
        told: dict[str, Any] = {"answer": self.answer, "nothing": list(self.nothing) or None, "next": self.next}
        return super()._spelled() | {key: value for key, value in told.items() if value is not None}


class Visit(Request):
    """One request of a journey, or one that all replicas must answer alike."""

    keep: dict[str, Answer] = Field(
        default={},
        description="journey: names for what the answer tells, each with the place where it stands; later requests may use them as "
        "{kept:name}",
        examples=[{"token": "$.csrf"}],
        json_schema_extra={"type_words": "mapping of names to JSON paths", "default_words": "nothing; cookies are kept anyway"},
    )
    compare: Annotated[tuple[Line, ...], AsTuple] = Field(
        default=(),
        description="same: headers that must be the same on all replicas, too",
        examples=[["content-type"]],
        json_schema_extra={"type_words": "list of names of headers", "default_words": "content-type"},
    )
    mask: Annotated[tuple[SomeText, ...], AsTuple] = Field(
        default=(),
        description="same: regular expressions; what they match in the body may differ",
        examples=[["[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z?"]],
        json_schema_extra={"type_words": "list of regular expressions", "default_words": "none"},
    )

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
        default=None, description="SQL: a query with a row for each key and value, in this order", examples=["SELECT id, name FROM items"]
    )
    key: SomeText | None = Field(
        default=None,
        description="Redis: the key that holds the value (a string), the elements (a set or a list), or all keys (a hash); may hold {key}",
        examples=["items"],
    )


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
        default=5, ge=1, le=MAX_KEYS, description="how many keys there are", examples=[20], json_schema_extra={"unit": "keys"}
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
        default=(409, 412),
        description="the statuses by which the app says that the operation did not happen; every other bad answer leaves that unknown",
        examples=[[409]],
        json_schema_extra={"default_words": "409 and 412", "type_words": "whole number, or list of them"},
    )
    stale: PositiveDuration | None = Field(
        default=None,
        description="the app promises fresh answers only after so long: a read may be older, and reads are not checked beyond that",
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
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """A model has its operations and no others."""
        model = str(long.get("model"))
        if model not in OPERATIONS:
            return
        needed, allowed = OPERATIONS[model]
        for name in needed:
            if long.get(name) is None:
                yield Complaint((), f"{model} needs {name}, the request that does it", "key")
        for name in ALL_OPERATIONS:
            if long.get(name) is not None and name not in (*needed, *allowed):
                yield Complaint(
                    (name,), f"has no meaning with {model}, which has {one_of((*needed, *allowed)) or 'requests'}; remove it", "key"
                )

    @property
    def operations(self) -> dict[str, Operation]:
        """Its operations by name, in a fixed order."""
        return {name: operation for name in ALL_OPERATIONS if (operation := getattr(self, name)) is not None}

    @property
    def hot_share(self) -> float:
        """The share of operations on the first key, from 0 to 1; 0 when all keys are alike."""
        return int(self.hot.removesuffix("%")) / 100 if self.hot is not None else 0.0
