"""The app under test: its process types, named as in a Procfile."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    WithJsonSchema,
    model_serializer,
)

from harness import tls as spoken
from harness.command import needs_shell, split
from harness.scenario.container import (
    ASSIGNMENTS_JSON,
    ContainerKeys,
    assignments,
    container_path,
    folder_of,
    is_folder,
    value_problem,
)
from harness.scenario.values import MAX_REPLICAS, PATH_CHARACTERS, TEXTS, PositiveDuration, moved, no_nul
from harness.strict_model import Complaint, Part, complain
from harness.tls import ca_problem, tls_with
from harness.units import Duration
from harness.words import MistakeError, all_of, did_you_mean, quoted, shown

_UNCATCHABLE: Final = ("SIGKILL", "SIGSTOP")
_LONGEST_NAME: Final = 253
_SERVER_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
"""A host's name, or an address with colons (RFC 1123, RFC 4291)."""


def _command(written: object) -> str | tuple[str, ...]:
    if isinstance(written, list | tuple):
        words = TEXTS.validate_python(written)
        if not words or not words[0]:
            raise MistakeError("must name a program")
        for word in words:
            no_nul(word)
        return words
    if not isinstance(written, str):
        hint = "; put text that begins with { in quotes" if isinstance(written, dict) else ""
        raise MistakeError(f"must be text or a list of texts, not {shown(written)}{hint}")
    if not written.strip():
        raise MistakeError("must name a program")
    split(no_nul(written))
    return written


def _environment(written: object) -> dict[str, str]:
    return assignments(written, lambda name, value: (_name_problem(name, value), value_problem(value)))


def _name_problem(name: str, value: object) -> str:
    if not name or "=" in name or "\0" in name:
        return f"{quoted(name)} is no name for an environment variable"
    if name.startswith("JETABLE_"):
        return f"{name} is Jetable's own; names that begin with JETABLE_ mark what a run has started"
    if name == "PORT" and value != "{port}":
        return "PORT is handed in for each replica; remove it, and write {port} where the command needs it"
    return ""


class WorkingDir(Part):
    """Where it runs. Short forms: a relative path is a folder of this machine alone, an absolute one is meant for containers as well."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(anyOf=[{"type": "string", "minLength": 1}, moved(schema)]))

    machine: Annotated[str, AfterValidator(no_nul), Field(min_length=1)] | None = Field(
        default=None,
        description="the folder for a process of this machine; a relative path begins at the scenario file's folder",
        examples=["../app"],
        json_schema_extra={"default_words": "the folder where jetable was started", "type_words": "folder"},
    )
    container: Annotated[str, AfterValidator(container_path)] | None = Field(
        default=None,
        description="the absolute path in a container",
        examples=["/srv/app"],
        json_schema_extra={"default_words": "the image's own", "type_words": "path"},
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """A path as a mapping."""
        if isinstance(written, str):
            return {"machine": written} | ({"container": written} if written.startswith("/") else {})
        if not isinstance(written, Mapping):
            raise MistakeError(f"must be a folder, or a mapping with machine and container, not {shown(written)}")
        return written


def _working_dir(written: WorkingDir, info: ValidationInfo) -> WorkingDir:
    """The folder of this machine exists, and is absolute when the scenario comes from a file."""
    folder = folder_of(info)
    if folder is None or written.machine is None:
        return written
    # A key that is wrong itself is not in the data, and counts as given.
    for_containers = info.data.get("image", "") is not None or info.data.get("build", "") is not None
    if for_containers and written.machine == written.container:
        return written
    path = Path(folder, written.machine)
    if not is_folder(path):
        what = f"there is no folder {path}; a relative path begins at the scenario file's folder"
        raise complain("working_dir", [Complaint(("machine",), what)])
    return WorkingDir(machine=str(path), container=written.container)


def _stop_signal(written: str) -> str:
    name = written.upper() if written.upper().startswith("SIG") else f"SIG{written.upper()}"
    known = [each.name for each in signal.Signals]
    if name in _UNCATCHABLE:
        raise MistakeError(f"{name} can't be caught, so no app can stop in order on it; use the step kill to test that")
    if name not in known:
        raise MistakeError(f"unknown signal {quoted(written)}{did_you_mean(name, known)}")
    return name


def _grace(duration: Duration) -> Duration:
    if not duration:
        raise MistakeError("must be longer than 0s; a stop without grace is a kill, for which there is the step kill")
    return duration


def _http_path(written: str) -> str:
    if not written.startswith("/") or not PATH_CHARACTERS.fullmatch(written):
        raise MistakeError(f"must be a path such as /healthz, not {quoted(written)}")
    return written


def _regex(written: str) -> str:
    try:
        re.compile(written)
    except re.error as error:
        raise MistakeError(f"is no regular expression: {error}") from None
    return written


def _depends_on(written: object) -> object:
    if isinstance(written, Mapping):
        raise MistakeError(f"must be a list: write [{', '.join(map(str, written))}]; a process type always waits until those are healthy")
    return tuple(written) if isinstance(written, list) else written


def _test(written: object) -> tuple[str, ...]:
    """Compose's test: what is executed, or what a shell gets."""
    if isinstance(written, str):
        written = ["CMD-SHELL", written]
    if not isinstance(written, list | tuple):
        raise MistakeError(f"must be text or a list that begins with CMD or CMD-SHELL, not {shown(written)}")
    kind, *words = TEXTS.validate_python(written) or ("",)
    if kind not in ("CMD", "CMD-SHELL"):
        raise MistakeError(f'must begin with CMD, CMD-SHELL or (alone) NONE, not {quoted(kind)}; write ["CMD", program, arguments]')
    if not words or not words[0].strip() or (kind == "CMD-SHELL" and len(words) > 1):
        raise MistakeError("must name a program" if kind == "CMD" else "must hold one text for the shell after CMD-SHELL")
    for word in words:
        no_nul(word)
    return (kind, *words)


HealthKind: TypeAlias = Literal["http", "tcp", "log", "running", "test"]
HEALTH_KINDS: Final[tuple[HealthKind, ...]] = ("http", "tcp", "log", "running", "test")


def _ca(written: str, info: ValidationInfo) -> str:
    """The file with the authority's certificates, absolute when the scenario comes from a file."""
    folder = folder_of(info)
    if folder is None:
        return no_nul(written)
    path = str(Path(folder, no_nul(written)))
    problem = ca_problem(path)
    if problem:
        raise MistakeError(problem)
    return path


def _server_name(written: str) -> str:
    if len(written) > _LONGEST_NAME or not _SERVER_NAME.fullmatch(written):
        raise MistakeError(f"must be a host's name such as shop.example, or an address, not {quoted(written)}")
    return written


class Tls(Part):
    """The app speaks TLS on its port: health checks of the kinds http and tcp, knocks and the load do so, too. Short form: ``true``."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(anyOf=[{"type": "boolean"}, moved(schema)]))

    ca: Annotated[str, Field(min_length=1), AfterValidator(_ca)] | None = Field(
        default=None,
        description="a file of certificates in PEM form, one of which must have signed the app's own (a self-signed one is its own "
        "authority); a relative path begins at the scenario file's folder",
        examples=["certs/ca.pem"],
        json_schema_extra={"type_words": "file", "default_words": "no certificate is looked at"},
    )
    server_name: Annotated[str, Field(min_length=1), AfterValidator(_server_name)] | None = Field(
        default=None,
        description="the name that the app is asked for (SNI), and that its certificate must be made out to where it is looked at",
        examples=["localhost"],
        json_schema_extra={"type_words": "name", "default_words": "none; the certificate must be made out to the replica's address"},
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """``true`` as a mapping that asks for nothing."""
        if written is True:
            return {}
        if not isinstance(written, Mapping):
            raise MistakeError(f"must be true, false, or a mapping with ca and server_name, not {shown(written)}")
        return written


class Healthcheck(Part):
    """When a replica counts as started. Short forms: ``/healthz``, ``tcp``, ``running``. Exactly one of the first five keys."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update(
            anyOf=[{"type": "string", "pattern": "^(/|tcp$|running$)"}, moved(schema)],
        )
    )

    http: Annotated[str, AfterValidator(_http_path)] | None = Field(
        default=None, description="healthy when GET of this path answers with a status from 200 to 399", examples=["/healthz"]
    )
    tcp: Literal[True] | None = Field(default=None, description="healthy when the port takes connections", examples=[True])
    log: Annotated[str, AfterValidator(_regex)] | None = Field(
        default=None, description="healthy when a line of its output matches this regular expression", examples=["ready|started"]
    )
    running: Literal[True] | None = Field(default=None, description="healthy as soon as the command runs", examples=[True])
    test: (
        Annotated[
            tuple[str, ...],
            BeforeValidator(_test),
            WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
        ]
        | None
    ) = Field(
        default=None,
        description="containers only: healthy when this command, run inside the container, ends with status 0; CMD is executed, CMD-SHELL "
        "and text are handed to a shell, and NONE alone is disable: true",
        examples=[["CMD", "pg_isready"]],
        json_schema_extra={"type_words": "text, or list of CMD or CMD-SHELL and texts"},
    )
    disable: bool = Field(
        default=False,
        description="containers only: the image's own health check is not asked; the default of Jetable holds, tcp or running",
        examples=[True],
    )
    interval: PositiveDuration = Field(
        default=Duration.parse("10ms"),
        description="how often to ask while it starts; a test begins so long after the one before it has ended",
        examples=["50ms"],
    )
    timeout: PositiveDuration = Field(
        default=Duration.parse("1s"), description="how long one answer may take; a test that takes longer has failed", examples=["500ms"]
    )
    start_period: PositiveDuration = Field(
        default=Duration.parse("30s"),
        description="not healthy within this time, from when the command runs: the start has failed",
        examples=["2m"],
    )
    start_interval: PositiveDuration | None = Field(
        default=None,
        description="how often to ask while it starts; wins over interval",
        examples=["100ms"],
        json_schema_extra={"default_words": "interval"},
    )
    retries: int = Field(
        default=3,
        ge=1,
        le=10_000,
        description="containers only: so many tests in a row must fail before a container that was healthy is not; while it starts, "
        "start_period alone decides",
        examples=[5],
        json_schema_extra={"unit": "failures"},
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """A path, ``tcp`` or ``running`` as a mapping; a test of NONE as ``disable``."""
        if isinstance(written, str) and written.startswith("/"):
            return {"http": written}
        if written in ("tcp", "running"):
            return {written: True}
        if not isinstance(written, Mapping):
            raise MistakeError(
                f"must be a path such as /healthz, tcp, running, or a mapping with http, tcp, log or test, not {shown(written)}"
            )
        if _is_none(written.get("test")):
            return {key: value for key, value in written.items() if key != "test"} | {"disable": True}
        return written

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """Exactly one kind, unless all it says is that the image's own is not asked."""
        given = [kind for kind in HEALTH_KINDS if long.get(kind) is not None]
        if long.get("disable") is True and given:
            yield Complaint(
                ("disable",), f"has no meaning beside {all_of(given)}, which is asked instead of the image's own; remove it", "key"
            )
        elif long.get("disable") is not True and len(given) != 1:
            found = "none of them" if not given else all_of(given)
            yield Complaint((), f"needs exactly one of http, tcp, log, running and test, and has {found}", "key")

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without an interval that nobody wrote: of a test it is the engine's to choose, also where a stored run is done again."""
        told: dict[str, Any] = handler(self)
        if "interval" not in self.model_fields_set:
            told.pop("interval", None)
        return told

    @property
    def kind(self) -> HealthKind:
        """Which of the kinds it is; *running* for one that is disabled, of which `Scenario.healthcheck_of` knows more."""
        return next((kind for kind in HEALTH_KINDS if getattr(self, kind) is not None), "running")

    @property
    def ask_every(self) -> Duration:
        """How often to ask while it starts."""
        return self.start_interval or self.interval


def _is_none(test: object) -> bool:
    return isinstance(test, list | tuple) and list(test) == ["NONE"]


# fmt: off
_COMPOSE_KEYS: Final = (
    "annotations", "attach", "blkio_config", "cgroup", "cgroup_parent", "configs", "cpu_count", "cpu_percent", "cpu_period", "cpu_quota",
    "cpu_rt_period", "cpu_rt_runtime", "cpu_shares", "cpuset", "credential_spec", "develop", "device_cgroup_rules", "devices", "dns",
    "dns_opt", "dns_search", "domainname", "env_file", "extends", "external_links", "extra_hosts", "gpus", "group_add", "hostname", "ipc",
    "isolation", "label_file", "links", "logging", "mac_address", "mem_reservation", "mem_swappiness", "memswap_limit", "models",
    "network_mode", "oom_kill_disable", "oom_score_adj", "pid", "platform", "post_start", "privileged", "profiles", "provider",
    "pull_policy", "runtime", "secrets", "shm_size", "stdin_open", "storage_opt", "sysctls", "tty", "ulimits", "use_api_socket",
    "userns_mode", "uts", "volumes_from",
)
# fmt: on
"""Keys of a service in the Compose specification that Jetable does not know what to do with yet."""


class ProcessType(ContainerKeys):
    """One process type of the app under test, named as in a Procfile."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update(anyOf=[{"required": [key]} for key in ("command", "image", "build")])
    )

    not_yet: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(_COMPOSE_KEYS, ""),
        "env_file": "; write environment:",
        "network_mode": "; write networks:",
        "deploy": "; write replicas:, mem_limit: and cpus: directly",
        "scale": "; write replicas:",
        "pre_stop": "; write drain: in routing",
    }

    command: (
        Annotated[
            str | tuple[str, ...],
            PlainValidator(_command),
            WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
            PlainSerializer(lambda command: command if isinstance(command, str) else list(command), return_type=str | list[str]),
        ]
        | None
    ) = Field(
        default=None,
        description="how a replica is started: a list is executed as it is; text is split into words and executed directly, or under sh -c "
        "when it uses something that only a shell understands, and then the run says so; with image or build it may be left out, and "
        "what the image says is run",
        examples=["gunicorn --bind 127.0.0.1:{port} app:app"],
        json_schema_extra={"type_words": "text, or list of texts", "default_words": "**required**, unless image or build is given"},
    )
    environment: Annotated[
        dict[str, str],
        BeforeValidator(_environment),
        ASSIGNMENTS_JSON,
    ] = Field(
        default={},
        description="environment variables, added to those of the shell that started Jetable, or to those of the image; PORT is handed in",
        examples=[{"WORKERS": 2}],
        json_schema_extra={"type_words": "mapping, or list of NAME=value"},
    )
    folder: Annotated[WorkingDir, AfterValidator(_working_dir)] | None = Field(
        default=None,
        alias="working_dir",
        description="where it runs: a relative path begins at the scenario file's folder and means this machine alone; an absolute one "
        "means containers as well",
        examples=["../app"],
        json_schema_extra={
            "default_words": "the folder where jetable was started; that of the image",
            "type_words": "folder, or mapping (see below)",
        },
    )
    replicas: int = Field(
        default=1,
        ge=1,
        le=MAX_REPLICAS,
        description="how many there are at the start",
        examples=[3],
        json_schema_extra={"unit": "replicas"},
    )
    healthcheck: Healthcheck | None = Field(
        default=None,
        description="when a replica counts as started",
        examples=["/healthz"],
        json_schema_extra={
            "default_words": "that of the image, else tcp for what takes the load and running for the others",
            "type_words": "text, or mapping (see below)",
        },
    )
    tls: Annotated[Tls | None, BeforeValidator(lambda written: None if written is False else written)] = Field(
        default=None,
        description="the app speaks TLS on its port, so it is asked with TLS; with true its certificate is not looked at",
        examples=[True],
        json_schema_extra={"type_words": "true, or mapping (see below)", "default_words": "plain HTTP"},
    )
    stop_signal: Annotated[str, AfterValidator(_stop_signal)] | None = Field(
        default=None,
        description="the signal that asks it to stop, with or without SIG",
        examples=["SIGINT"],
        json_schema_extra={"default_words": "that of the image, else `SIGTERM`"},
    )
    stop_grace_period: Annotated[Duration, AfterValidator(_grace)] = Field(
        default=Duration.parse("10s"), description="how long it may take to stop before SIGKILL", examples=["30s"]
    )
    depends_on: Annotated[tuple[str, ...], BeforeValidator(_depends_on)] = Field(
        default=(), description="process types that must be healthy before this one is started", examples=[["cache"]]
    )

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """Something to start, and nothing that only a container could do without one."""
        in_container = long.get("image") is not None or long.get("build") is not None
        if not in_container and long.get("command") is None:
            yield Complaint((), 'the key "command" is missing; only with image or build it may be left out', "key")
        health = long.get("healthcheck")
        test = health.get("test") if isinstance(health, Mapping) else None
        if not in_container and test is not None and not _is_none(test):
            yield Complaint(("healthcheck", "test"), "runs inside a container; give image or build, or write http: /path", "key")

    @model_serializer(mode="wrap")
    def _spelled(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Keys as a file spells them, those for containers only where they say something."""
        dumped: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        unsaid = {name for name in ContainerKeys.model_fields if getattr(self, name) == fields[name].default}
        return {fields[name].alias or name: value for name, value in dumped.items() if name not in unsaid}

    @property
    def spoken_tls(self) -> spoken.Tls | None:
        """How TLS is spoken to it; None for not at all. Raises `TargetError` when the authority's file can't be read any more."""
        return tls_with(self.tls.ca or "", self.tls.server_name or "") if self.tls is not None else None

    @property
    def shell(self) -> bool:
        """True when the command runs under ``sh -c``."""
        return isinstance(self.command, str) and needs_shell(self.command)

    @property
    def argv(self) -> tuple[str, ...]:
        """What is executed, with the placeholders still in it (see `harness.command.fill`); nothing where the image says it."""
        return split(self.command) if isinstance(self.command, str) else self.command or ()

    @property
    def working_dir(self) -> str | None:
        """Where it runs on this machine."""
        return self.folder.machine if self.folder else None

    @property
    def container_dir(self) -> str | None:
        """Where it runs in a container, an absolute path; None for the image's own."""
        return self.folder.container if self.folder else None
