"""The backing services that the app needs, which the run starts for itself or finds at a URL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_serializer,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails

from harness.scenario.values import no_nul
from harness.strict_model import Complaint, Part, complain, in_words
from harness.words import MistakeError, did_you_mean, one_of, quoted, shown

ServiceKind: TypeAlias = Literal["sqlite", "redis", "rabbitmq", "beanstalkd", "postgres", "memcached"]
SERVICE_KINDS: Final[tuple[str, ...]] = get_args(ServiceKind)

VARIABLES: Final[Mapping[str, str]] = {
    "sqlite": "DATABASE_URL",
    "redis": "REDIS_URL",
    "rabbitmq": "AMQP_URL",
    "beanstalkd": "BEANSTALKD_URL",
    "postgres": "DATABASE_URL",
    "memcached": "MEMCACHED_URL",
}
"""The environment variable that hands a service's URL to the app, as twelve-factor apps expect it."""

SCHEMES: Final[Mapping[str, tuple[str, ...]]] = {
    "sqlite": ("sqlite",),
    "redis": ("redis", "rediss"),
    "rabbitmq": ("amqp", "amqps"),
    "beanstalkd": ("beanstalk", "beanstalkd"),
    "postgres": ("postgresql", "postgres"),
    "memcached": ("memcached",),
}

EMBEDDED: Final = ("sqlite",)
"""Kinds that are no process of their own, so that they can't be stopped."""

CUTS_CONNECTIONS: Final = ("redis", "rabbitmq", "postgres")
"""Kinds that can be told to close their clients' connections."""

HIDDEN: Final = "***"
"""What stands for a password wherever a scenario is written down again."""

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _variable(written: str) -> str:
    if not _VARIABLE.fullmatch(written):
        raise MistakeError(f"{quoted(written)} is no name for an environment variable")
    if written == "PORT" or written.startswith("JETABLE_"):
        raise MistakeError(f"{written} is handed in by Jetable itself; take another name")
    return written


VariableName = Annotated[str, AfterValidator(_variable)]
SomeText = Annotated[str, Field(min_length=1), AfterValidator(no_nul)]


class Service(Part):
    """A backing service. Where nothing but its name is written, that is its kind."""

    kind: ServiceKind = Field(
        description="what it is", examples=["redis"], json_schema_extra={"default_words": "its name, where that is a kind"}
    )
    url: SomeText | None = Field(
        default=None,
        description="one that runs already: it is never stopped, and what is in it is left alone; without it the run starts one of its "
        "own, with an empty folder, and removes it",
        examples=["redis://127.0.0.1:6379/0"],
        json_schema_extra={"default_words": "the run's own", "type_words": "URL"},
    )
    variable: VariableName | None = Field(
        default=None,
        description="the environment variable that hands its URL to every replica",
        examples=["BROKER_URL"],
        json_schema_extra={"default_words": ", ".join(f"{name} ({kind})" for kind, name in VARIABLES.items())},
    )
    image: SomeText | None = Field(
        default=None,
        description="containers only: the image to start it from",
        examples=["redis:7"],
        json_schema_extra={"default_words": "the official one of its kind", "type_words": "image"},
    )
    durable: bool = Field(
        default=True,
        description="it keeps what it was given over a restart, written to its folder before it says yes",
        examples=[False],
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """Nothing at all is a mapping without keys. A kind or a URL alone is told how it is written."""
        if isinstance(written, str) and (written in SERVICE_KINDS or "://" in written):
            key = "kind" if written in SERVICE_KINDS else "url"
            raise MistakeError(f"must be a mapping, not {shown(written)}; write {{{key}: {quoted(written)}}}")
        return {} if written is None else written

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """A URL of its kind; nothing that only a service of the run's own could have, or only a process."""
        kind, url = long.get("kind"), long.get("url")
        if kind not in SERVICE_KINDS:
            return
        given = [key for key in ("image", "durable") if long.get(key) not in (None, True)]
        if isinstance(url, str) and url:
            if problem := _url_problem(str(kind), url):
                yield Complaint(("url",), problem)
            for key in given:
                yield Complaint((key,), "has no meaning with url, as that service runs already; remove one of them", "key")
        elif kind in EMBEDDED:
            for key in given:
                yield Complaint((key,), f"has no meaning here, as {kind} is a file that nobody starts; remove it", "key")

    @classmethod
    def _in_words(cls, detail: ErrorDetails) -> Complaint:
        told = super()._in_words(detail)
        if detail["type"] == "literal_error" and told.path == ("kind",):
            return told._replace(what=told.what + did_you_mean(str(detail["input"]), SERVICE_KINDS))
        return told

    @field_serializer("url")
    def _without_password(self, url: str | None) -> str | None:
        """The history of a run, its plan and its reports are for many eyes."""
        return hidden(url) if url is not None else None

    @property
    def handed_as(self) -> str:
        """The environment variable that hands its URL to the app."""
        return self.variable or VARIABLES[self.kind]


def _url_problem(kind: str, url: str) -> str:
    schemes = SCHEMES[kind]
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return f"is no URL: {str(error).lower()}"
    if parts.scheme not in schemes:
        return f"must begin with {schemes[0]}://, as {kind} is asked for"
    if kind in EMBEDDED:
        absolute = not parts.netloc and re.match(r"//[^/]", parts.path)
        return "" if absolute else f"must hold the whole path of the file, behind four slashes: {schemes[0]}:////path/to/jobs.db"
    return "" if parts.hostname else f"names no host; write {schemes[0]}://127.0.0.1:…"


def _named(written: object, handler: ValidatorFunctionWrapHandler) -> object:
    """Each service with its kind: what is written, else its name. What has none is told with what else is wrong."""
    if not isinstance(written, Mapping):
        return handler(written)
    kindless = [name for name, service in written.items() if _lacks_kind(name, service)]
    complaints = [Complaint((str(name),), _which_kind(name), "key") for name in kindless]
    made = None
    try:
        made = handler({name: _with_kind(name, service) for name, service in written.items() if name not in kindless})
    except ValidationError as error:
        complaints += [in_words(detail) for detail in error.errors(include_url=False)]
    if complaints:
        raise complain("Services", complaints)
    return made


def _lacks_kind(name: object, written: object) -> bool:
    tells_keys = written is None or (isinstance(written, Mapping) and "kind" not in written)
    return name not in SERVICE_KINDS and tells_keys


def _which_kind(name: object) -> str:
    near = did_you_mean(str(name), SERVICE_KINDS)
    return f"what kind of service is {quoted(str(name))}? Write kind: with {one_of(SERVICE_KINDS)}{near}"


def _with_kind(name: object, written: object) -> object:
    long = {} if written is None else written
    return {"kind": name, **long} if isinstance(long, Mapping) and "kind" not in long else long


def _service_name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", text):
        raise MistakeError(f"{quoted(text)} is no name for a service; use small letters, digits, - and _, and begin with a letter")
    return text


class _KindOrName:
    """Has the JSON Schema know that a name may be the kind, and that nothing may stand under it then."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        service = schema["additionalProperties"]
        keys = {key: value for key, value in handler.resolve_ref_schema(service).items() if key not in ("required", "description", "title")}
        return schema | {"properties": {kind: {"anyOf": [{"type": "null"}, keys]} for kind in SERVICE_KINDS}}


ServiceName = Annotated[str, AfterValidator(_service_name)]
Services = Annotated[dict[ServiceName, Service], WrapValidator(_named), _KindOrName()]


def hidden(url: str) -> str:
    """``url`` with `HIDDEN` in place of its password."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    account, _, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{account.partition(':')[0]}:{HIDDEN}@{place}").geturl()
