"""The frozen scenario, and everything that can be wrong with a file.

One YAML file is one scenario: the app under test (`target`), what users do to it meanwhile (`load`), what happens to it (`steps`) and what
must hold (`expect`). The words are those of the Compose specification wherever it has them. `load_scenario` shows all problems of a file
at once, each as ``file:line:col: path: what is wrong``; nothing is guessed and no value is converted in silence. A scenario written as
JSON (`Scenario.model_dump_json`) reads back as the same scenario, which is how a run's header keeps it.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    RootModel,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_serializer,
)

from harness import strict_yaml
from harness.command import needs_shell, split
from harness.errors import NothingSelectedError, ScenarioError, UsageError
from harness.outcome import IDEMPOTENT_METHODS
from harness.strict_model import AsTuple, Complaint, Names, Part, Place, complain, plain
from harness.strict_yaml import Problem
from harness.template import compile_json, compile_template
from harness.threshold import Threshold, parse_threshold
from harness.units import Duration, Rate
from harness.words import did_you_mean, one_of, quoted, shown

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
MAX_REPLICAS: Final = 200
MAX_STEPS: Final = 10_000
MAX_USERS: Final = 5000
USERS_OF_AN_OPEN_MODEL: Final = 1000
SUFFIXES: Final = (".yaml", ".yml")

_ZERO: Final = Duration(ns=0)
_UNCATCHABLE: Final = ("SIGKILL", "SIGSTOP")
_PATH_CHARACTERS: Final = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/?%\[\]{}|\"^`\\]*")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OWN_HEADERS: Final = {
    "connection": "keep_alive of the load decides about it",
    "content-length": "the body decides about it",
    "transfer-encoding": "bodies are sent whole",
}
_METHOD_AND_PATH: Final = r"^(" + "|".join(METHODS) + r") +/\S*$"


# --- values -----------------------------------------------------------------------------------------------------------------


def _above_zero(duration: Duration) -> Duration:
    if not duration:
        raise ValueError("must be longer than 0s")
    return duration


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    return text


def _one_line(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    if not text.isprintable():
        raise ValueError("must be one line of printable text")
    return text


def _kebab_case(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", text):
        raise ValueError(f"{quoted(text)} is no finding's name; names look like dropped-in-flight")
    return text


def _process_name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", text):
        raise ValueError(f"{quoted(text)} is no name for a process type; use small letters, digits, - and _, and begin with a letter")
    return text


def _template(text: str) -> str:
    compile_template(text)
    return text


_TEXT: Final[TypeAdapter[str]] = TypeAdapter(str, config=ConfigDict(strict=True))
_TEXTS: Final[TypeAdapter[tuple[str, ...]]] = TypeAdapter(Names, config=ConfigDict(strict=True))

PositiveDuration = Annotated[Duration, AfterValidator(_above_zero)]
Line = Annotated[str, Field(max_length=120), AfterValidator(_one_line)]
ProcessName = Annotated[str, AfterValidator(_process_name)]
TemplateText = Annotated[str, AfterValidator(_template)]
FindingName = Annotated[str, AfterValidator(_kebab_case)]
Count = Annotated[int, Field(ge=0, le=MAX_REPLICAS)]


# --- target -----------------------------------------------------------------------------------------------------------------


def _command(written: object) -> str | tuple[str, ...]:
    if isinstance(written, list | tuple):
        words = _TEXTS.validate_python(written)
        if not words or not words[0]:
            raise ValueError("must name a program")
        for word in words:
            _no_nul(word)
        return words
    if not isinstance(written, str):
        raise ValueError(f"must be text or a list of texts, not {shown(written)}" + ('; put "{python}" in quotes' if isinstance(written, dict) else ""))
    if not written.strip():
        raise ValueError("must name a program")
    split(_no_nul(written))
    return written


def _environment(written: object) -> dict[str, str]:
    """A mapping, or Compose's list of ``NAME=value``, as a mapping of text to text."""
    complaints: list[Complaint] = []
    environment: dict[str, str] = {}
    pairs: list[tuple[tuple[str | int, ...], str, object]] = []
    if isinstance(written, Mapping):
        pairs = [((name,), name, value) for name, value in written.items()]
    elif isinstance(written, list | tuple):
        for index, item in enumerate(written):
            if isinstance(item, str) and "=" in item:
                name, _, value = item.partition("=")
                pairs.append(((index,), name, value))
            else:
                complaints.append(Complaint((index,), f"must be text such as NAME=value, not {shown(item)}"))
    else:
        raise ValueError(f"must be a mapping, or a list of NAME=value, not {shown(written)}")
    for path, name, value in pairs:
        if problem := _environment_problem(name, value):
            complaints.append(Complaint(path, problem))
        environment[name] = _environment_text(value)
    if complaints:
        raise complain("environment", complaints)
    return environment


def _environment_problem(name: str, value: object) -> str:
    if not name or "=" in name or "\0" in name:
        return f"{quoted(name)} is no name for an environment variable"
    if name.startswith("JETABLE_"):
        return f"{name} is Jetable's own; names that begin with JETABLE_ mark what a run has started"
    if name == "PORT" and value != "{port}":
        return "PORT is handed in for each replica; remove it, and write {port} where the command needs it"
    if value is None:
        return 'has no value; write "" for an empty one'
    if not isinstance(value, str | int | float):
        return f"must be text, a number, true or false, not {shown(value)}"
    return "must not contain a NUL character" if "\0" in str(value) else ""


def _environment_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _working_dir(written: str, info: ValidationInfo) -> str:
    """An existing folder, absolute when the scenario comes from a file."""
    folder = (info.context or {}).get("folder")
    if folder is None:
        return _no_nul(written)
    path = Path(folder, _no_nul(written))
    if not path.is_dir():
        raise ValueError(f"there is no folder {path}; a relative path begins at the scenario file's folder")
    return str(path)


def _stop_signal(written: str) -> str:
    name = written.upper() if written.upper().startswith("SIG") else f"SIG{written.upper()}"
    known = [each.name for each in signal.Signals]
    if name in _UNCATCHABLE:
        raise ValueError(f"{name} can't be caught, so no app can stop in order on it; use the step kill to test that")
    if name not in known:
        raise ValueError(f"unknown signal {quoted(written)}{did_you_mean(name, known)}")
    return name


def _grace(duration: Duration) -> Duration:
    if not duration:
        raise ValueError("must be longer than 0s; a stop without grace is a kill, for which there is the step kill")
    return duration


def _http_path(written: str) -> str:
    if not written.startswith("/") or not _PATH_CHARACTERS.fullmatch(written):
        raise ValueError(f"must be a path such as /healthz, not {quoted(written)}")
    return written


def _regex(written: str) -> str:
    try:
        re.compile(written)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return written


def _depends_on(written: object) -> object:
    if isinstance(written, Mapping):
        raise ValueError(f"must be a list: write [{', '.join(map(str, written))}]; a process type always waits until those are healthy")
    return tuple(written) if isinstance(written, list) else written


HealthKind: TypeAlias = Literal["http", "tcp", "log", "running"]
HEALTH_KINDS: Final[tuple[HealthKind, ...]] = ("http", "tcp", "log", "running")


class Healthcheck(Part):
    """When a replica counts as started. Short forms: ``/healthz``, ``tcp``, ``running``. Exactly one of http, tcp, log and running."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update(
            anyOf=[{"type": "string", "pattern": "^(/|tcp$|running$)"}, _moved(schema)],
        )
    )
    not_yet: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("test", "disable", "retries", "start_interval"), "; write http: /path, tcp: true or log: a regular expression"
    )

    http: Annotated[str, AfterValidator(_http_path)] | None = Field(
        default=None, description="healthy when GET of this path answers with a status from 200 to 399", examples=["/healthz"]
    )
    tcp: Literal[True] | None = Field(default=None, description="healthy when the port takes connections", examples=[True])
    log: Annotated[str, AfterValidator(_regex)] | None = Field(
        default=None, description="healthy when a line of its output matches this regular expression", examples=["ready|started"]
    )
    running: Literal[True] | None = Field(default=None, description="healthy as soon as the command runs", examples=[True])
    interval: PositiveDuration = Field(
        default=Duration.parse("10ms"), description="how often to ask while it starts", examples=["50ms"]
    )
    timeout: PositiveDuration = Field(default=Duration.parse("1s"), description="how long one answer may take", examples=["500ms"])
    start_period: PositiveDuration = Field(
        default=Duration.parse("30s"), description="not healthy within this time: the start has failed", examples=["2m"]
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """A path, ``tcp`` or ``running`` as a mapping."""
        if isinstance(written, str) and written.startswith("/"):
            return {"http": written}
        if written in ("tcp", "running"):
            return {written: True}
        if not isinstance(written, Mapping):
            raise ValueError(f"must be a path such as /healthz, tcp, running, or a mapping with http, tcp or log, not {shown(written)}")
        return written

    @classmethod
    def contradictions(cls, plain: Mapping[str, Any]) -> Iterator[Complaint]:
        """Exactly one kind."""
        given = [kind for kind in HEALTH_KINDS if plain.get(kind) is not None]
        if len(given) != 1 and not set(plain) & set(cls.not_yet):
            found = "none of them" if not given else one_of(given).replace(" or ", " and ")
            yield Complaint((), f"needs exactly one of http, tcp, log and running, and has {found}", "key")

    @property
    def kind(self) -> HealthKind:
        """Which of the kinds it is."""
        return next(kind for kind in HEALTH_KINDS if getattr(self, kind) is not None)


_COMPOSE_KEYS: Final = (
    "annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent configs container_name cpu_count cpu_percent cpu_period "
    "cpu_quota cpu_shares cpus cpuset credential_spec develop device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint "
    "env_file expose extends external_links extra_hosts gpus group_add hostname image init ipc isolation label_file labels links logging "
    "mac_address mem_limit mem_reservation mem_swappiness memswap_limit models network_mode networks oom_kill_disable oom_score_adj pid "
    "pids_limit platform post_start pre_stop privileged profiles provider pull_policy read_only restart runtime secrets security_opt "
    "shm_size stdin_open storage_opt sysctls tmpfs tty ulimits use_api_socket user userns_mode uts volumes volumes_from"
).split()


class ProcessType(Part):
    """One process type of the app under test, named as in a Procfile."""

    not_yet: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(_COMPOSE_KEYS, ""),
        "image": "; write the command that starts the app on this machine",
        "build": "; write the command that starts the app on this machine",
        "ports": "; each replica gets a free port in PORT and {port}",
        "deploy": "; write replicas: directly",
        "scale": "; write replicas:",
        "pre_stop": "; write drain: in routing",
    }

    command: Annotated[
        str | tuple[str, ...],
        PlainValidator(_command),
        WithJsonSchema(
            {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
        ),
    ] = Field(
        description="how a replica is started: a list is executed as it is; text is split into words and executed directly, or under sh -c "
        "when it uses something that only a shell understands, and then the run says so",
        examples=["gunicorn --bind 127.0.0.1:{port} app:app"],
        json_schema_extra={"type_words": "text, or list of texts"},
    )
    environment: Annotated[
        dict[str, str],
        BeforeValidator(_environment),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
                    {"type": "array", "items": {"type": "string", "pattern": "^[^=]+="}},
                ]
            }
        ),
    ] = Field(
        default={},
        description="environment variables, added to those of the shell that started Jetable; PORT is handed in",
        examples=[{"WORKERS": 2}],
        json_schema_extra={"type_words": "mapping, or list of NAME=value"},
    )
    working_dir: Annotated[str, AfterValidator(_working_dir)] | None = Field(
        default=None,
        description="where it runs; a relative path begins at the scenario file's folder",
        examples=["../app"],
        json_schema_extra={"default_words": "the folder where jetable was started", "type_words": "folder"},
    )
    replicas: int = Field(
        default=1, ge=1, le=MAX_REPLICAS, description="how many there are at the start", examples=[3], json_schema_extra={"unit": "replicas"}
    )
    healthcheck: Healthcheck | None = Field(
        default=None,
        description="when a replica counts as started",
        examples=["/healthz"],
        json_schema_extra={"default_words": "tcp for what takes the load, else running", "type_words": "text, or mapping (see below)"},
    )
    stop_signal: Annotated[str, AfterValidator(_stop_signal)] = Field(
        default="SIGTERM", description="the signal that asks it to stop, with or without SIG", examples=["SIGINT"]
    )
    stop_grace_period: Annotated[Duration, AfterValidator(_grace)] = Field(
        default=Duration.parse("10s"), description="how long it may take to stop before SIGKILL", examples=["30s"]
    )
    depends_on: Annotated[tuple[str, ...], BeforeValidator(_depends_on)] = Field(
        default=(), description="process types that must be healthy before this one is started", examples=[["cache"]]
    )

    @property
    def shell(self) -> bool:
        """True when the command runs under ``sh -c``."""
        return isinstance(self.command, str) and needs_shell(self.command)

    @property
    def argv(self) -> tuple[str, ...]:
        """What is executed, with the placeholders still in it (see `harness.command.fill`)."""
        return split(self.command) if isinstance(self.command, str) else self.command


# --- load -------------------------------------------------------------------------------------------------------------------


def _method(written: object) -> str:
    if written in METHODS:
        return str(written)
    if not written:
        raise ValueError("needs a method: write GET /path")
    raise ValueError(f"unknown method {quoted(str(written))}{did_you_mean(str(written).upper(), METHODS)}; write for example GET /path")


def _path(written: str) -> str:
    if "://" in written:
        raise ValueError(f"must be a path such as /items, not {quoted(written)}; load goes only to the run's own replicas")
    if not written.startswith("/"):
        raise ValueError(f"must be a path that begins with /, not {shown(written)}")
    for piece in _pieces(written):
        if not _PATH_CHARACTERS.fullmatch(piece):
            raise ValueError(f"{quoted(written)} holds a character that must be percent-encoded in a path")
    return written


def _pieces(text: str) -> Iterator[str]:
    """The literal text of a template and everything that its choices can put between."""
    template = compile_template(text)
    yield from template.literals
    yield from (name for name in template.names if name.startswith("choice:"))


def _headers(written: dict[str, str]) -> dict[str, str]:
    complaints: list[Complaint] = []
    seen: set[str] = set()
    for name, value in written.items():
        if problem := _header_problem(name, value, seen):
            complaints.append(Complaint((name,), problem))
        seen.add(name.lower())
    if complaints:
        raise complain("headers", complaints)
    return written


def _header_problem(name: str, value: str, seen: set[str]) -> str:
    if not _HEADER_NAME.fullmatch(name):
        return f"{quoted(name)} is no name for a header"
    if name.lower() in _OWN_HEADERS:
        return f"{name} can't be set; {_OWN_HEADERS[name.lower()]}"
    if name.lower() in seen:
        return f"the header {name} is here for the second time"
    try:
        if any(not piece.isprintable() or not piece.isascii() for piece in _pieces(value)):
            return "must be printable ASCII on one line"
    except ValueError as error:
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
        except ValueError as error:
            yield Complaint(path, str(error))


def _statuses(written: object) -> object:
    if isinstance(written, int) and not isinstance(written, bool):
        return (written,)
    if isinstance(written, list | tuple):
        return tuple(written)
    raise ValueError(f"must be a status such as 201, or a list of them, not {shown(written)}")


class Expectation(Part):
    """What a whole answer must be like; anything else is a wrong answer."""

    status: Annotated[tuple[Annotated[int, Field(ge=100, le=599)], ...], BeforeValidator(_statuses, json_schema_input_type=int | list[int])] = Field(
        default=(),
        description="the status, or the statuses, of a good answer",
        examples=[[200, 404]],
        json_schema_extra={"default_words": "200 to 399", "type_words": "whole number, or list of them"},
    )
    body_contains: TemplateText | None = Field(
        default=None, description="text that the body of a good answer contains; may hold placeholders", examples=['"id": {id}']
    )

    def accepts(self, status: int) -> bool:
        """Whether ``status`` is one of a good answer."""
        return status in self.status if self.status else 200 <= status <= 399


_SHORT_REQUEST: Final = re.compile(r"[A-Za-z]+\s+\S.*|/.*|.*://.*", re.DOTALL)


class Request(Part):
    """One kind of request. Short forms: ``GET /items/{id}``, or ``POST /items:`` with the JSON body under it and other keys beside it."""

    model_config = ConfigDict(json_schema_extra=lambda schema: _request_schema(schema))

    method: Annotated[str, PlainValidator(_method), WithJsonSchema({"enum": list(METHODS)})] = Field(
        description="the method, where request: is not used", examples=["POST"], json_schema_extra={"type_words": "HTTP method"}
    )
    path: Annotated[str, AfterValidator(_path)] = Field(
        description="path and query, where request: is not used; may hold placeholders", examples=["/items/{id}"]
    )
    name: Line = Field(
        description="what reports call it", examples=["read an item"], json_schema_extra={"default_words": "its method and path"}
    )
    weight: int = Field(
        default=1, ge=1, le=1000, description="how often it is chosen, relative to the others", examples=[3], json_schema_extra={"unit": "shares"}
    )
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(
        default={}, description="headers; values may hold placeholders", examples=[{"Accept": "application/json"}]
    )
    json_body: Annotated[JsonValue, AfterValidator(_json)] = Field(
        default=None,
        alias="json",
        description="a body sent as JSON; texts in it may hold placeholders, and a text that is only the placeholder of a number becomes that number",
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

    @classmethod
    def long_form(cls, written: object) -> object:
        """Method, path and name taken from ``POST /items``, wherever that stands."""
        if isinstance(written, str):
            written = {"request": written}
        if not isinstance(written, Mapping):
            raise ValueError(f"must be a request such as GET /items, not {shown(written)}")
        long = dict(written)
        short = _short_keys(written)
        if len(short) + ("request" in long) > 1:
            raise ValueError("two requests in one place; begin each with its own -")
        if short:
            under = long.pop(short[0])
            if isinstance(under, Mapping) and under and short[0].upper().startswith(("GET ", "HEAD ")) and set(under) <= set(_REQUEST_KEYS):
                raise ValueError(f"what stands under {short[0]} is its JSON body; {one_of(under)} belongs beside it, indented like it")
            if under is not None and "json" in long:
                raise ValueError(f"has two JSON bodies, one under {short[0]} and one under json")
            long |= {"request": short[0]} | ({"json": under} if under is not None else {})
        if "request" in long:
            if "method" in long or "path" in long:
                raise ValueError("needs either request, or method and path, not both")
            long |= _method_and_path(long.pop("request"))
        if isinstance(long.get("method"), str) and isinstance(long.get("path"), str):
            long.setdefault("name", f"{long['method']} {long['path']}"[:120])
        else:
            long.setdefault("name", "unnamed")
        return long

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
    def contradictions(cls, plain: Mapping[str, Any]) -> Iterator[Complaint]:
        """One body at most."""
        if plain.get("json") is not None and plain.get("body") is not None:
            yield Complaint(("body",), "there is a JSON body already; write either json or body", "key")

    @model_serializer
    def _spelled(self) -> dict[str, Any]:
        bodies = {"json": self.json_body, "body": self.body}
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


_REQUEST_KEYS: Final = ("request", "method", "path", "name", "weight", "headers", "json", "body", "expect")


def _short_keys(written: object) -> list[str]:
    if not isinstance(written, Mapping):
        return []
    return [key for key in written if isinstance(key, str) and _SHORT_REQUEST.fullmatch(key)]


def _method_and_path(written: object) -> dict[str, str]:
    if not isinstance(written, str) or not written.strip():
        raise ValueError(f"must be a request such as GET /items, not {shown(written)}")
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
        description="without rate: how many users send requests at once, each waiting for its answer; with rate: how many requests may be under way at most",
        examples=[20],
        json_schema_extra={"unit": "users", "default_words": f"10; with rate {USERS_OF_AN_OPEN_MODEL}"},
    )
    rate: Rate | None = Field(
        default=None,
        description="open model: so many requests begin in each second (s), minute (m) or hour (h), whether or not earlier ones are answered",
        examples=["400/s"],
        json_schema_extra={"unit": "requests in s, m or h", "default_words": "none: users wait for their answers"},
    )
    think_time: Duration = Field(default=_ZERO, description="how long a user waits between two requests; not with rate", examples=["50ms"])
    keep_alive: bool = Field(default=True, description="use a connection for more than one request", examples=[False])
    timeout: PositiveDuration = Field(
        default=Duration.parse("10s"), description="a request without a whole answer by then has timed out", examples=["2s"]
    )
    retries: int = Field(
        default=0,
        ge=0,
        le=5,
        description=f"how often a request that may be sent twice ({', '.join(sorted(IDEMPOTENT_METHODS))}; RFC 9110, 9.2.2) is sent again; "
        "retries stay visible",
        examples=[1],
        json_schema_extra={"unit": "retries"},
    )
    requests: Annotated[tuple[Request, ...], AsTuple, Field(min_length=1)] = Field(
        description="what is sent, chosen by weight",
        examples=[["GET /items/{id}"]],
        json_schema_extra={"type_words": "list of requests (see below)"},
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """An open model has room for many requests unless the file says otherwise."""
        if isinstance(written, Mapping) and written.get("rate") is not None and "users" not in written:
            return {**written, "users": USERS_OF_AN_OPEN_MODEL}
        return written

    @classmethod
    def contradictions(cls, plain: Mapping[str, Any]) -> Iterator[Complaint]:
        """Users of an open model do not think."""
        if plain.get("rate") is not None and _is_long(plain.get("think_time")):
            yield Complaint(("think_time",), "has no meaning with rate, which alone says when requests begin; remove one of them", "key")


class Routing(Part):
    """When the router learns that a replica is to stop: at the signal, unless one of these says otherwise."""

    endpoint_lag: Duration = Field(
        default=_ZERO,
        description="the router learns of it so long after the signal, as on Kubernetes; new requests keep coming until then",
        examples=["2s"],
    )
    drain: Duration = Field(
        default=_ZERO, description="the router learns of it so long before the signal, as with a preStop sleep", examples=["2s"]
    )

    @classmethod
    def contradictions(cls, plain: Mapping[str, Any]) -> Iterator[Complaint]:
        """Before or after, not both."""
        yield from _both_ways(plain)


def _both_ways(plain: Mapping[str, Any]) -> Iterator[Complaint]:
    if _is_long(plain.get("endpoint_lag")) and _is_long(plain.get("drain")):
        yield Complaint(("drain",), "the router can learn of a stop before the signal (drain) or after it (endpoint_lag), not both", "key")


def _is_long(written: object) -> bool:
    """True for a duration above zero."""
    try:
        return bool(Duration.parse(written))
    except ValueError:
        return False


# --- steps ------------------------------------------------------------------------------------------------------------------

REPLICA_WORDS: Final = ("each", "any", "oldest", "newest")


def _replica(written: object) -> str | int:
    if written in REPLICA_WORDS:
        return str(written)
    if isinstance(written, int) and not isinstance(written, bool):
        if not 1 <= written <= MAX_REPLICAS:
            raise ValueError(f"replicas are counted from 1 to {MAX_REPLICAS}; there is no number {written}")
        return written
    near = did_you_mean(written, REPLICA_WORDS) if isinstance(written, str) else ""
    raise ValueError(f"must be {one_of(REPLICA_WORDS)} or a number from 1, not {shown(written)}{near}")


ReplicaChoice = Annotated[
    str | int,
    PlainValidator(_replica),
    WithJsonSchema({"anyOf": [{"enum": list(REPLICA_WORDS)}, {"type": "integer", "minimum": 1, "maximum": MAX_REPLICAS}]}),
]


class _Victim(Part):
    """The keys that every step with a victim has."""

    process: str | None = Field(
        default=None, description="the process type concerned", examples=["worker"], json_schema_extra={"default_words": "the one that takes the load"}
    )
    when: Literal["in-flight", "any"] = Field(
        default="in-flight",
        description="in-flight: only while at least one request is in flight on the victim; any: at once",
        examples=["any"],
    )
    busy_within: PositiveDuration = Field(
        default=Duration.parse("5s"), description="how long to wait for that; then the step says that it hit an idle replica", examples=["1s"]
    )
    endpoint_lag: Duration | None = Field(
        default=None,
        description="as in routing, for this step",
        examples=["2s"],
        json_schema_extra={"default_words": "as in routing"},
    )
    drain: Duration | None = Field(
        default=None, description="as in routing, for this step", examples=["2s"], json_schema_extra={"default_words": "as in routing"}
    )

    @classmethod
    def contradictions(cls, plain: Mapping[str, Any]) -> Iterator[Complaint]:
        """Before or after, not both."""
        yield from _both_ways(plain)


class _Choosing(_Victim):
    """A step that chooses a replica; its short form is the choice alone."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update(
            anyOf=[
                {"enum": list(REPLICA_WORDS)},
                {"type": "integer", "minimum": 1, "maximum": MAX_REPLICAS},
                {"type": "null"},
                _moved(schema),
            ]
        )
    )

    replica: ReplicaChoice = Field(
        default="any",
        description="each: one after the other; any: one by the dice; oldest; newest; or a number, 1 being the oldest",
        examples=["each"],
        json_schema_extra={"type_words": "each, any, oldest, newest, or a number"},
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """The choice alone, or nothing at all, as a mapping."""
        if written is None:
            return {}
        return written if isinstance(written, Mapping | list) else {"replica": written}


class Terminate(_Choosing):
    """Send the stop signal, wait for the grace, send SIGKILL at its end; then start a replacement. Short form: the replica alone."""


class Kill(_Choosing):
    """Send SIGKILL at once; then start a replacement. Short form: the replica alone."""

    scope: Literal["all", "main"] = Field(
        default="all",
        description="all: the replica with all its descendants, as when its container dies; main: its main process only",
        examples=["main"],
    )


class Restart(_Choosing):
    """Stop in order as terminate does, and start again on the same port once it has ended. Short form: the replica alone."""


class RollingRestart(_Victim):
    """Replace all replicas of a process type one after the other, each only when the one before it is healthy again."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(anyOf=[{"type": "null"}, _moved(schema)]))

    order: Literal["stop-first", "start-first"] = Field(
        default="stop-first", description="whether the old replica stops before or after the new one is healthy", examples=["start-first"]
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """Nothing at all as an empty mapping."""
        return {} if written is None else written


class Scale(RootModel[dict[str, Count]]):
    """Start or stop replicas until each process type named has so many; the newest stop first."""

    model_config = ConfigDict(frozen=True, strict=True)
    root: Annotated[dict[str, Count], Field(min_length=1)] = Field(description="how many replicas of each process type there are then")

    @property
    def counts(self) -> dict[str, int]:
        """How many replicas of each process type there are then."""
        return self.root


class Steady(RootModel[Duration]):
    """Let the load run for a while and do nothing else."""

    model_config = ConfigDict(frozen=True, strict=True)
    root: PositiveDuration = Field(description="how long")

    @property
    def duration(self) -> Duration:
        """How long."""
        return self.root


Options: TypeAlias = Steady | Terminate | Kill | Restart | RollingRestart | Scale
"""What a step's one key holds."""

Stop: TypeAlias = Terminate | Kill | Restart
"""Options of the steps that choose a replica."""

_VICTIM_STEPS: Final = ("terminate", "kill", "restart", "rolling_restart")


class Step(Part):
    """One step: exactly one of these keys, and repeat beside it."""

    steady: Steady | None = Field(
        default=None, description="let the load run and do nothing else", examples=["2s"], json_schema_extra={"type_words": "duration"}
    )
    terminate: Terminate | None = Field(
        default=None,
        description="send the stop signal, after the grace SIGKILL, then start a replacement",
        examples=["each"],
        json_schema_extra={"type_words": "a replica, or mapping"},
    )
    kill: Kill | None = Field(
        default=None,
        description="send SIGKILL at once, then start a replacement",
        examples=[{"replica": "any", "scope": "main"}],
        json_schema_extra={"type_words": "a replica, or mapping"},
    )
    restart: Restart | None = Field(
        default=None,
        description="stop as terminate does, then start again on the same port",
        examples=["oldest"],
        json_schema_extra={"type_words": "a replica, or mapping"},
    )
    rolling_restart: RollingRestart | None = Field(
        default=None,
        description="replace all replicas, one after the other",
        examples=[{"order": "start-first"}],
        json_schema_extra={"type_words": "mapping"},
    )
    scale: Scale | None = Field(
        default=None,
        description="start or stop replicas until there are so many of each process type named, from 0 to 200",
        examples=[{"web": 5}],
        json_schema_extra={"type_words": "mapping of process types to replicas", "unit": "replicas"},
    )
    repeat: int = Field(
        default=1, ge=1, le=1000, description="how often the step is done", examples=[5], json_schema_extra={"unit": "times"}
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """A key with nothing under it means that step with all defaults, where it has defaults."""
        if isinstance(written, str):
            raise ValueError(f"must be a mapping: write {quoted(f'{written}: …')[1:-1]} with one of {one_of(STEP_KINDS)}")
        if not isinstance(written, Mapping):
            return written
        if set(written) <= {*STEP_KINDS, "repeat"} and len(set(written) & set(STEP_KINDS)) == 1:
            return {key: {} if value is None and key in _VICTIM_STEPS else value for key, value in written.items()}
        return written

    @classmethod
    def contradictions(cls, plain: Mapping[str, Any]) -> Iterator[Complaint]:
        """Exactly one kind of step."""
        given = [kind for kind in STEP_KINDS if plain.get(kind) is not None]
        unknown = set(plain) - {*STEP_KINDS, "repeat"}
        if len(given) > 1:
            yield Complaint((given[1],), f"a step does one thing, and {given[0]} stands here already; begin each step with its own -", "key")
        elif not given and not unknown:
            empty = next((kind for kind in STEP_KINDS if kind in plain), None)
            what = f"{empty} needs a value" if empty else f"which step? There are {one_of(STEP_KINDS)}"
            yield Complaint((empty,) if empty else (), what, "key")

    @model_serializer
    def _spelled(self) -> dict[str, Any]:
        return {self.kind: self.options.model_dump(mode="json"), "repeat": self.repeat}

    @property
    def kind(self) -> str:
        """The step's key: ``terminate``."""
        return next(kind for kind in STEP_KINDS if getattr(self, kind) is not None)

    @property
    def options(self) -> Options:
        """What stands under that key."""
        options: Options = getattr(self, self.kind)
        return options

    @property
    def text(self) -> str:
        """The step in words, as reports show it: ``kill any of worker, 5 times``."""
        match self.options:
            case Steady() as steady:
                words = f"steady for {steady.duration}"
            case Scale() as scale:
                words = "scale " + ", ".join(f"{process} to {count}" for process, count in scale.counts.items())
            case RollingRestart() as rolling:
                words = "rolling restart" + (f" of {rolling.process}" if rolling.process else "") + f", {rolling.order}"
            case Terminate() | Kill() | Restart() as stop:
                victim = f"replica {stop.replica}" if isinstance(stop.replica, int) else stop.replica
                words = f"{self.kind} {victim}" + (f" of {stop.process}" if stop.process else "")
        return words + (f", {self.repeat} times" if self.repeat > 1 else "")


STEP_KINDS: Final = tuple(name for name in Step.model_fields if name != "repeat")
"""The names of all steps."""


# --- the whole --------------------------------------------------------------------------------------------------------------


def _version(written: object) -> int:
    if isinstance(written, int) and not isinstance(written, bool) and written == 1:
        return written
    raise ValueError(f"must be 1, the only version of the format that there is, not {shown(written)}")


def _threshold(written: object) -> Threshold:
    if isinstance(written, Threshold):
        return written
    if not isinstance(written, str):
        raise ValueError(f"must be text such as dropped_requests == 0, not {shown(written)}")
    return parse_threshold(written)


ThresholdText = Annotated[
    Threshold,
    PlainValidator(_threshold),
    PlainSerializer(lambda threshold: threshold.text, return_type=str),
    WithJsonSchema({"type": "string", "minLength": 1}),
]


class Scenario(Part):
    """One scenario file."""

    not_yet: ClassVar[Mapping[str, str]] = {"services": "; start backing services yourself and pass their URLs in environment"}

    jetable: Annotated[Literal[1], PlainValidator(_version), WithJsonSchema({"const": 1, "type": "integer"})] = Field(
        description="version of this format", examples=[1], json_schema_extra={"type_words": "1"}
    )
    name: Line = Field(description="what the scenario shows, in one line of at most 120 characters", examples=["web survives a rolling restart"])
    description: str = Field(
        default="", description="anything that its reader should know", examples=["Needs no more than Python."], json_schema_extra={"default_words": "empty"}
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        le=2**63 - 1,
        description="where all chance comes from; --seed overrides it",
        examples=[7],
        json_schema_extra={"default_words": "a new one for each run, which the run shows"},
    )
    target: Annotated[dict[ProcessName, ProcessType], Field(min_length=1)] = Field(
        description="the app under test: its process types by name",
        examples=[{"web": {"command": "python app.py"}}],
        json_schema_extra={"type_words": "mapping of names to process types (see below)"},
    )
    load: Load = Field(description="what users do to the target meanwhile", examples=[{"requests": ["GET /"]}])
    routing: Routing = Field(default=Routing(), description="when the router learns that a replica is to stop", examples=[{"drain": "2s"}])
    steps: Annotated[tuple[Step, ...], AsTuple, Field(min_length=1)] = Field(
        description="what happens, one after the other",
        examples=[[{"terminate": "each"}]],
        json_schema_extra={"type_words": "list of steps (see below)"},
    )
    expect: Annotated[tuple[ThresholdText, ...], AsTuple] = Field(
        default=(),
        description="what must hold, as thresholds over metrics",
        examples=[["shutdown_time p(95) < 5s"]],
        json_schema_extra={"type_words": "list of thresholds (see below)", "default_words": "the default thresholds"},
    )
    must_find: Annotated[tuple[FindingName, ...], AsTuple] = Field(
        default=(),
        description="the findings that this scenario exists to provoke, for scenarios against a planted defect",
        examples=[["dropped-in-flight"]],
        json_schema_extra={"type_words": "list of finding names"},
    )

    @classmethod
    def contradictions(cls, plain: Mapping[str, Any]) -> Iterator[Complaint]:
        """Names that name nothing, circles, and more than a run can do."""
        target = plain.get("target")
        if isinstance(target, Mapping) and target:
            yield from _unknown_names(plain, target)
            yield from _circles(target)
            yield from _load_complaints(plain, target)
        repeats = [step.get("repeat", 1) for step in _mappings(plain.get("steps"))]
        if sum(count for count in repeats if isinstance(count, int)) > MAX_STEPS:
            yield Complaint(("steps",), f"more than {MAX_STEPS} steps in all, repeats counted", "key")

    @property
    def load_process(self) -> str:
        """The process type that takes the load."""
        name = _load_process(self.load.process, self.target)
        assert name is not None  # noqa: S101  contradictions() refuses a scenario without one
        return name

    def process_of(self, options: Terminate | Kill | Restart | RollingRestart) -> str:
        """The process type that a step is about."""
        return options.process or self.load_process

    def routing_of(self, options: Terminate | Kill | Restart | RollingRestart) -> Routing:
        """When the router learns of a step's stops: the step's own lag or drain, else the scenario's."""
        if options.endpoint_lag is None and options.drain is None:
            return self.routing
        return Routing(endpoint_lag=options.endpoint_lag or _ZERO, drain=options.drain or _ZERO)

    def healthcheck_of(self, process: str) -> Healthcheck:
        """When a replica of ``process`` counts as started: what the file says, else tcp for what takes the load and running for others."""
        written = self.target[process].healthcheck
        if written is not None:
            return written
        return Healthcheck(tcp=True) if process == self.load_process else Healthcheck(running=True)

    def start_order(self) -> list[str]:
        """Process types, each after those that it depends on."""
        order: list[str] = []

        def visit(name: str) -> None:
            for needed in self.target[name].depends_on:
                visit(needed)
            if name not in order:
                order.append(name)

        for name in self.target:
            visit(name)
        return order


def _load_process(written: object, target: Mapping[str, object]) -> str | None:
    if written is not None:
        return str(written)
    if len(target) == 1:
        return next(iter(target))
    return "web" if "web" in target else None


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [item if isinstance(item, Mapping) else {} for item in value] if isinstance(value, list) else []


def _names(plain: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str, Place]]:
    """Every place of a scenario that names a process type."""
    for name, process in target.items():
        needed = process.get("depends_on") if isinstance(process, Mapping) else None
        for index, item in enumerate(needed if isinstance(needed, list) else []):
            yield ("target", name, "depends_on", index), item, "value"
    load = plain.get("load")
    if isinstance(load, Mapping):
        yield ("load", "process"), load.get("process", ""), "value"
    for index, step in enumerate(_mappings(plain.get("steps"))):
        for kind, options in step.items():
            if kind == "scale" and isinstance(options, Mapping):
                yield from ((("steps", index, kind, name), name, "key") for name in options)
            elif kind in _VICTIM_STEPS and isinstance(options, Mapping):
                yield ("steps", index, kind, "process"), options.get("process", ""), "value"
    expect = plain.get("expect")
    for index, text in enumerate(expect if isinstance(expect, list) else []):
        prefix = re.match(r"\s*([\w-]+)\.\w", text) if isinstance(text, str) else None
        if prefix:
            yield ("expect", index), prefix[1], "value"


def _unknown_names(plain: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[Complaint]:
    for path, name, place in _names(plain, target):
        if isinstance(name, str) and name and name not in target:
            yield Complaint(path, f"unknown process type {quoted(name)}{did_you_mean(name, target)}; the target has {one_of(target)}", place)


def _circles(target: Mapping[str, Any]) -> Iterator[Complaint]:
    """Process types that wait for each other; each circle once, told where its first member depends."""
    needs = {name: _needed(process) for name, process in target.items()}
    done: set[str] = set()

    def walk(name: str, above: tuple[str, ...]) -> Iterator[Complaint]:
        if name in above:
            circle = (*above[above.index(name) :], name)
            yield Complaint(("target", name, "depends_on"), f"a circle: {' needs '.join(circle)}", "key")
        elif name in needs and name not in done:
            for needed in needs[name]:
                yield from walk(needed, (*above, name))
            done.add(name)

    for name in needs:
        yield from walk(name, ())


def _needed(process: object) -> list[str]:
    needed = process.get("depends_on") if isinstance(process, Mapping) else None
    return [item for item in needed if isinstance(item, str)] if isinstance(needed, list) else []


def _load_complaints(plain: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[Complaint]:
    """Who takes the load, and what follows from it for the steps."""
    load = plain.get("load")
    if not isinstance(load, Mapping):
        return
    loaded = _load_process(load.get("process"), target)
    if loaded is None:
        yield Complaint(("load",), f"which process type takes the load? Write process: with {one_of(target)}", "key")
        return
    for index, step in enumerate(_mappings(plain.get("steps"))):
        for kind in _VICTIM_STEPS:
            options = step.get(kind)
            options = options if isinstance(options, Mapping) else {"replica": options}
            process = options.get("process") or loaded
            if process in target and process != loaded and options.get("when", "in-flight") == "in-flight":
                what = f"{process} takes no load, so no request is ever in flight on it; write when: any beside it"
                yield Complaint(("steps", index, kind, "process"), what)
            most = _most_replicas(plain, target, process)
            if kind in step and isinstance(options.get("replica"), int) and 0 < most < options["replica"]:
                yield Complaint(("steps", index, kind, "replica"), f"there are never more than {most} replicas of {process}")


def _most_replicas(plain: Mapping[str, Any], target: Mapping[str, Any], process: object) -> int:
    """The largest number of replicas that ``process`` ever has; 0 when the file does not say it rightly."""
    described = target.get(process) if isinstance(process, str) else None
    counts = [described.get("replicas", 1) if isinstance(described, Mapping) else 0]
    counts += [step["scale"].get(process, 0) for step in _mappings(plain.get("steps")) if isinstance(step.get("scale"), Mapping)]
    return max((count for count in counts if isinstance(count, int)), default=0)


# --- files ------------------------------------------------------------------------------------------------------------------


def load_scenario(path: Path) -> Scenario:
    """Read one scenario file.

    Raises:
        ScenarioError: All that is wrong with the file, in the order of its lines.
        UsageError: The file can't be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(strict_yaml.MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    document = strict_yaml.parse(content, str(path))
    problems = list(document.problems)
    try:
        scenario = Scenario.model_validate(document.data, context={"folder": path.parent.resolve()})
    except ValidationError as error:
        told = {problem.at for problem in problems}
        found = (_problem(document, str(detail["type"]), detail["loc"], detail["msg"]) for detail in error.errors(include_url=False))
        problems += [problem for problem in found if problem.at not in told]
    if problems:
        raise ScenarioError([problem.line_of(str(path)) for problem in strict_yaml.in_order(problems)])
    return scenario


def _problem(document: strict_yaml.Document, place: str, path: tuple[str | int, ...], what: str) -> Problem:
    found = document.find(path)
    return Problem(found.key if place == "key" else found.value, found.path, what)


def find_scenarios(paths: Sequence[Path]) -> list[Path]:
    """The scenario files that ``paths`` select: files as given, folders with all that is in them, sorted; each file once.

    Raises:
        UsageError: A path does not exist, or is neither a file nor a folder.
        NothingSelectedError: A folder holds no scenario file, or there is no path at all.
    """
    selected: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
        if not path.is_file() and not path.is_dir():
            raise UsageError(f"{path}: neither a file nor a folder")
        for file in _in_folder(path) if path.is_dir() else [path]:
            selected.setdefault(file.resolve(), file)
    if not selected:
        raise NothingSelectedError("no scenario is selected; name a scenario file or a folder with scenario files")
    return list(selected.values())


def _in_folder(folder: Path) -> list[Path]:
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(parent, name) for name in names if name.endswith(SUFFIXES) and not name.startswith(".")]
    if not files:
        raise NothingSelectedError(f"{folder}: no scenario file (*.yaml or *.yml) is in this folder or below it")
    return sorted(files)


# --- JSON Schema of the short forms -----------------------------------------------------------------------------------------


def _moved(schema: dict[str, Any]) -> dict[str, Any]:
    """Empty ``schema`` but for its title and description, and return what was in it, to stand beside a short form."""
    long = {key: schema.pop(key) for key in list(schema) if key not in ("title", "description")}
    return long


def _request_schema(schema: dict[str, Any]) -> None:
    """Add the short forms of a request: text, ``POST /items: body``, and ``request:``."""
    long = _moved(schema)
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


