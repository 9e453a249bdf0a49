"""The app under test: its process types, named as in a Procfile."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from harness.command import needs_shell, split
from harness.scenario.values import MAX_REPLICAS, PATH_CHARACTERS, TEXTS, PositiveDuration, moved, no_nul
from harness.strict_model import Complaint, Part, complain
from harness.units import Duration
from harness.words import MistakeError, all_of, did_you_mean, quoted, shown

_UNCATCHABLE: Final = ("SIGKILL", "SIGSTOP")


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
    """A mapping, or Compose's list of ``NAME=value``, as a mapping of text to text."""
    complaints: list[Complaint] = []
    environment: dict[str, str] = {}
    pairs: list[tuple[tuple[str | int, ...], str, object]] = []
    if isinstance(written, Mapping):
        pairs = [((name,), name, value) for name, value in written.items()]
    elif isinstance(written, list | tuple):
        for index, item in enumerate(written):
            name, equals, value = item.partition("=") if isinstance(item, str) else ("", "", "")
            if equals:
                pairs.append(((index,), name, value))
            else:
                complaints.append(Complaint((index,), f"must be text such as NAME=value, not {shown(item)}"))
    else:
        raise MistakeError(f"must be a mapping, or a list of NAME=value, not {shown(written)}")
    for path, name, given in pairs:
        if problem := f"{name} is here for the second time" if name in environment else _name_problem(name, given):
            complaints.append(Complaint(path, problem, "key"))
        elif problem := _value_problem(given):
            complaints.append(Complaint(path, problem))
        environment[name] = _environment_text(given)
    if complaints:
        raise complain("environment", complaints)
    return environment


def _name_problem(name: str, value: object) -> str:
    if not name or "=" in name or "\0" in name:
        return f"{quoted(name)} is no name for an environment variable"
    if name.startswith("JETABLE_"):
        return f"{name} is Jetable's own; names that begin with JETABLE_ mark what a run has started"
    if name == "PORT" and value != "{port}":
        return "PORT is handed in for each replica; remove it, and write {port} where the command needs it"
    return ""


def _value_problem(value: object) -> str:
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
        return no_nul(written)
    path = Path(folder, no_nul(written))
    if not path.is_dir():
        raise MistakeError(f"there is no folder {path}; a relative path begins at the scenario file's folder")
    return str(path)


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


HealthKind: TypeAlias = Literal["http", "tcp", "log", "running"]
HEALTH_KINDS: Final[tuple[HealthKind, ...]] = ("http", "tcp", "log", "running")


class Healthcheck(Part):
    """When a replica counts as started. Short forms: ``/healthz``, ``tcp``, ``running``. Exactly one of http, tcp, log and running."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update(
            anyOf=[{"type": "string", "pattern": "^(/|tcp$|running$)"}, moved(schema)],
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
    interval: PositiveDuration = Field(default=Duration.parse("10ms"), description="how often to ask while it starts", examples=["50ms"])
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
            raise MistakeError(f"must be a path such as /healthz, tcp, running, or a mapping with http, tcp or log, not {shown(written)}")
        return written

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """Exactly one kind."""
        given = [kind for kind in HEALTH_KINDS if long.get(kind) is not None]
        if len(given) != 1 and not set(long) & set(cls.not_yet):
            found = "none of them" if not given else all_of(given)
            yield Complaint((), f"needs exactly one of http, tcp, log and running, and has {found}", "key")

    @property
    def kind(self) -> HealthKind:
        """Which of the kinds it is."""
        return next(kind for kind in HEALTH_KINDS if getattr(self, kind) is not None)


# fmt: off
_COMPOSE_KEYS: Final = (
    "annotations", "attach", "blkio_config", "cap_add", "cap_drop", "cgroup", "cgroup_parent", "configs", "container_name",
    "cpu_count", "cpu_percent", "cpu_period", "cpu_quota", "cpu_shares", "cpus", "cpuset", "credential_spec", "develop",
    "device_cgroup_rules", "devices", "dns", "dns_opt", "dns_search", "domainname", "entrypoint", "env_file", "expose", "extends",
    "external_links", "extra_hosts", "gpus", "group_add", "hostname", "init", "ipc", "isolation", "label_file", "labels", "links",
    "logging", "mac_address", "mem_limit", "mem_reservation", "mem_swappiness", "memswap_limit", "models", "network_mode", "networks",
    "oom_kill_disable", "oom_score_adj", "pid", "pids_limit", "platform", "post_start", "privileged", "profiles", "provider",
    "pull_policy", "read_only", "restart", "runtime", "secrets", "security_opt", "shm_size", "stdin_open", "storage_opt", "sysctls",
    "tmpfs", "tty", "ulimits", "use_api_socket", "user", "userns_mode", "uts", "volumes", "volumes_from",
)
# fmt: on
"""Keys of a service in the Compose specification that mean nothing to local processes."""


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
        WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
        PlainSerializer(lambda command: command if isinstance(command, str) else list(command), return_type=str | list[str]),
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
