"""The backing services that the app needs, which the run starts for itself or finds at a URL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from harness.strict_model import Complaint, Part
from harness.words import MistakeError, all_of, did_you_mean, quoted, shown

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

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _variable(written: str) -> str:
    if not _VARIABLE.fullmatch(written):
        raise MistakeError(f"{quoted(written)} is no name for an environment variable")
    if written == "PORT" or written.startswith("JETABLE_"):
        raise MistakeError(f"{written} is handed in by Jetable itself; take another name")
    return written


VariableName = Annotated[str, AfterValidator(_variable)]


class Service(Part):
    """A backing service. Where nothing but its name is written, that is its kind."""

    kind: ServiceKind = Field(
        description="what it is", examples=["redis"], json_schema_extra={"default_words": "its name, where that is a kind"}
    )
    url: Annotated[str, Field(min_length=1)] | None = Field(
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
    image: Annotated[str, Field(min_length=1)] | None = Field(
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
        """Nothing at all is a mapping without keys."""
        return {} if written is None else written

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """A URL of its kind; nothing that only a service of the run's own could have."""
        kind, url = long.get("kind"), long.get("url")
        if not isinstance(url, str) or kind not in SERVICE_KINDS:
            return
        if problem := _url_problem(str(kind), url):
            yield Complaint(("url",), problem)
        for key in ("image", "durable"):
            if long.get(key) not in (None, True):
                yield Complaint((key,), "has no meaning with url, as that service runs already; remove one of them", "key")

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
    if kind not in EMBEDDED and not parts.hostname:
        return f"names no host; write {schemes[0]}://127.0.0.1:…"
    return ""


def _named(written: object) -> object:
    """Each service with its kind: what is written, else its name."""
    if not isinstance(written, Mapping):
        return written
    return {name: _with_kind(name, service) for name, service in written.items()}


def _with_kind(name: object, written: object) -> object:
    if isinstance(written, Service):
        return written
    long = {} if written is None else written
    if not isinstance(long, Mapping) or "kind" in long:
        return long
    if name not in SERVICE_KINDS:
        near = did_you_mean(str(name), SERVICE_KINDS)
        raise MistakeError(f"what kind of service is {shown(name)}? Write kind: with one of {all_of(SERVICE_KINDS)}{near}")
    return {"kind": name, **long}


def _service_name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", text):
        raise MistakeError(f"{quoted(text)} is no name for a service; use small letters, digits, - and _, and begin with a letter")
    return text


ServiceName = Annotated[str, AfterValidator(_service_name)]
Services = Annotated[dict[ServiceName, Service], BeforeValidator(_named)]
