"""What a process type says of its containers, in the words of a Compose service, so that one can be pasted in.

These keys stand flat beside `command` and its like, as in Compose. They mean something only where replicas are containers; elsewhere they
are read as strictly and then ignored. What would keep a second replica from starting, such as a fixed host port, is accepted and dropped,
and `ContainerKeys.dropped` says so in a sentence for each.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from harness.scenario.options import LEAST_BYTES
from harness.scenario.values import TEXTS, moved, no_nul
from harness.strict_model import AsTuple, Complaint, Part, complain
from harness.units import BYTES_PATTERN, MOST_BYTES, bytes_text, parse_bytes
from harness.words import MistakeError, all_of, did_you_mean, quoted, shown

_LEAST_CPUS: Final = 0.01
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", re.ASCII)
_USER: Final = re.compile(r"[^\s:]+(:[^\s:]+)?")
_RESTART: Final = re.compile(r"no|always|unless-stopped|on-failure(:\d{1,9})?", re.ASCII)
_PORT: Final = re.compile(r"(?:(?P<ip>\[[0-9a-fA-F:.]+\]|[0-9.]*):)?(?:(?P<published>\d{0,6}):)?(?P<target>\d{1,6})", re.ASCII)
_PORT_PATTERN: Final = r"^([^/]*:)?\d+(/tcp)?$"

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::\d{1,5})?"
_IMAGE: Final = re.compile(
    rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*(?::\w[\w.-]{{0,127}})?(?:@[A-Za-z][A-Za-z0-9+._-]*:[0-9a-fA-F]{{32,}})?", re.ASCII
)

# fmt: off
CAPABILITIES: Final = (
    "ALL", "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN", "DAC_OVERRIDE",
    "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE",
    "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP", "SETUID",
    "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
)
# fmt: on
"""The capabilities of Linux (capabilities(7)) without their CAP_, and all of them."""


# --- what a value must be like -----------------------------------------------------------------------------------------------


def assignments(written: object, problem: Callable[[str, object], tuple[str, str]], *, bare: bool = False) -> dict[str, str]:
    """A mapping, or Compose's list of ``NAME=value``, as a mapping of text to text.

    Args:
        written: What stands in the file.
        problem: What is wrong with a name and with its value, each empty when nothing is.
        bare: Whether a name may stand without a value, which is empty then.
    """
    complaints: list[Complaint] = []
    read: dict[str, str] = {}
    pairs: list[tuple[tuple[str | int, ...], str, object]] = []
    if isinstance(written, Mapping):
        pairs = [((name,), name, "" if value is None and bare else value) for name, value in written.items()]
    elif isinstance(written, list | tuple):
        for index, item in enumerate(written):
            name, equals, value = item.partition("=") if isinstance(item, str) else ("", "", "")
            if equals or (bare and name):
                pairs.append(((index,), name, value))
            else:
                complaints.append(Complaint((index,), f"must be text such as NAME=value, not {shown(item)}"))
    else:
        raise MistakeError(f"must be a mapping, or a list of NAME=value, not {shown(written)}")
    for path, name, given in pairs:
        of_name, of_value = problem(name, given)
        if of_name := f"{name} is here for the second time" if name in read else of_name:
            complaints.append(Complaint(path, of_name, "key"))
        elif of_value:
            complaints.append(Complaint(path, of_value))
        read[name] = str(given).lower() if isinstance(given, bool) else str(given)
    if complaints:
        raise complain("assignments", complaints)
    return read


def value_problem(value: object) -> str:
    """Why ``value`` can't be given as text, empty when it can."""
    if value is None:
        return 'has no value; write "" for an empty one'
    if not isinstance(value, str | int | float):
        return f"must be text, a number, true or false, not {shown(value)}"
    return "must not contain a NUL character" if "\0" in str(value) else ""


def _build_arg_problem(name: str, value: object) -> tuple[str, str]:
    wrong = not name or "=" in name or "\0" in name
    return f"{quoted(name)} is no name for a build argument" if wrong else "", value_problem(value)


def _label_problem(name: str, value: object) -> tuple[str, str]:
    if name.startswith("jetable."):
        return f"{name} is Jetable's own; labels that begin with jetable. mark what a run has made", ""
    return f"{quoted(name)} is no name for a label" if not name or "\0" in name else "", value_problem(value)


def _build_args(written: object) -> dict[str, str]:
    return assignments(written, _build_arg_problem)


def _labels(written: object) -> dict[str, str]:
    return assignments(written, _label_problem, bare=True)


def folder_of(info: ValidationInfo) -> Path | None:
    """The folder of the scenario file; None when the scenario comes from elsewhere, and no path is looked at."""
    folder: Path | None = (info.context or {}).get("folder")
    return folder


def is_folder(path: Path) -> bool:
    """Whether ``path`` is a folder; never raises, whatever was written."""
    return os.path.isdir(path)  # noqa: PTH112  Path.is_dir raises where a name is too long


def _below(folder: Path, written: str) -> Path:
    """``written`` from ``folder`` on, with ~ for the home of whoever runs Jetable."""
    return Path(folder, os.path.expanduser(written))  # noqa: PTH111  Path.expanduser raises where there is no such user


def _some_text(written: str) -> str:
    if not no_nul(written).strip():
        raise MistakeError("must not be empty")
    return written


def _image(written: str) -> str:
    if not _IMAGE.fullmatch(written):
        raise MistakeError(f"{quoted(written)} is no image's name; names look like nginx:1.27 or ghcr.io/owner/app:1.0, in small letters")
    return written


def _context(written: str, info: ValidationInfo) -> str:
    if "://" in written or written.startswith("git@"):
        raise MistakeError("must be a folder of this machine; clone the repository, and name its folder")
    folder = folder_of(info)
    if folder is None:
        return _some_text(written)
    path = _below(folder, _some_text(written))
    if not is_folder(path):
        raise MistakeError(f"there is no folder {path}; a relative path begins at the scenario file's folder")
    return str(path)


def _dockerfile(written: str, info: ValidationInfo) -> str:
    context = info.data.get("context")
    if folder_of(info) is not None and context is not None:
        path = Path(context, _some_text(written))
        if not os.path.isfile(path):  # noqa: PTH113  Path.is_file raises where a name is too long
            raise MistakeError(f"there is no file {path}; it is looked for in the context, {context}")
    return _some_text(written)


def _entrypoint(written: object) -> str | tuple[str, ...]:
    if isinstance(written, list | tuple):
        words = TEXTS.validate_python(written)
        if words and not words[0]:
            raise MistakeError("must name a program; write [] for no entrypoint at all")
        for word in words:
            no_nul(word)
        return words
    if not isinstance(written, str):
        hint = "; put text that begins with { in quotes" if isinstance(written, dict) else ""
        raise MistakeError(f"must be text or a list of texts, not {shown(written)}{hint}")
    _words(no_nul(written))
    return written


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise MistakeError(f"can't be split into words: {str(error).lower()}") from None


def _user(written: str) -> str:
    if not _USER.fullmatch(no_nul(written)):
        raise MistakeError(f"must be a user such as app, 1000 or 1000:1000, not {quoted(written)}")
    return written


def container_path(written: str) -> str:
    """An absolute path inside a container."""
    if not no_nul(written).startswith("/"):
        raise MistakeError(f"must be an absolute path in the container, such as /data, not {quoted(written)}")
    return written


def _mount_point(written: str) -> str:
    if os.path.normpath(container_path(written)) in ("/", "//"):
        raise MistakeError("must be a folder below /; the root of a container can't be replaced")
    return written


def _tmpfs(written: str) -> str:
    _mount_point(written.partition(":")[0])
    return no_nul(written)


def _capability(written: str) -> str:
    name = written.upper().removeprefix("CAP_")
    if name not in CAPABILITIES:
        raise MistakeError(f"unknown capability {quoted(written)}{did_you_mean(name, CAPABILITIES)}")
    return name


def _network(written: str) -> str:
    if not _NAME.fullmatch(written):
        raise MistakeError(f"{quoted(written)} is no name for a network; use letters, digits, _, . and -")
    return written


def _networks(written: object) -> object:
    """A mapping of names to nothing, as a list of names."""
    if not isinstance(written, Mapping):
        return tuple(written) if isinstance(written, list) else written
    complaints = []
    for name, options in written.items():
        if isinstance(options, Mapping) and options:
            complaints += [Complaint((name, key), f"{quoted(str(key))} is not supported yet; remove it", "key") for key in options]
        elif options is not None and not isinstance(options, Mapping):
            complaints.append(Complaint((name,), f"must be empty, not {shown(options)}; a network has a name and no more"))
    if complaints:
        raise complain("networks", complaints)
    return tuple(written)


def _bytes(written: object) -> int:
    """A number of bytes, from Compose's ``64m`` or from a bare number."""
    count = written if isinstance(written, int) and not isinstance(written, bool) else parse_bytes(written)
    if not LEAST_BYTES <= count <= MOST_BYTES:
        limit = f"at least {bytes_text(LEAST_BYTES)}, the least" if count < LEAST_BYTES else f"at most {bytes_text(MOST_BYTES)}, the most"
        raise MistakeError(f"must be {limit} that container engines take, not {written if isinstance(written, str) else f'{count} bytes'}")
    return count


def _cpus(written: object) -> float:
    if isinstance(written, str) and re.fullmatch(r"\d{1,6}(\.\d{1,9})?", written, re.ASCII):
        written = float(written)
    number = written if isinstance(written, int | float) and not isinstance(written, bool) else math.nan
    if not math.isfinite(number):
        raise MistakeError(f"must be a number of CPUs such as 0.5 or 2, not {shown(written)}")
    if number < _LEAST_CPUS:
        raise MistakeError(f"must be at least {_LEAST_CPUS}, not {number:g}")
    return float(number)


def _pids_limit(written: int) -> int:
    if written != -1 and written < 1:
        raise MistakeError(f"must be at least 1, or -1 for no limit, not {written}")
    return written


def _container_name(written: str) -> str:
    if not _NAME.fullmatch(written):
        raise MistakeError(f"{quoted(written)} is no name for a container; use letters, digits, _, . and -")
    return written


def _restart(written: str) -> str:
    if not _RESTART.fullmatch(written):
        known = ("no", "always", "unless-stopped", "on-failure")
        raise MistakeError(f"must be one of {', '.join(known)}, not {quoted(written)}{did_you_mean(written, known)}")
    return written


def _port_number(written: int) -> int:
    if not 1 <= written <= 65535:
        raise MistakeError(f"must be a port from 1 to 65535, not {written}")
    return written


def _port_of_text(text: str) -> dict[str, Any]:
    """The long form of ``80``, ``8080:80`` or ``127.0.0.1:8080:80``, each with or without ``/tcp``."""
    ports, slash, protocol = text.partition("/")
    if slash and protocol != "tcp":
        raise MistakeError(f"{quoted(text)} is not TCP; Jetable's load speaks HTTP, so remove it")
    if re.search(r"\d-\d", ports):
        raise MistakeError(f"{quoted(text)} is a range; write each port for itself")
    match = _PORT.fullmatch(ports)
    if match is None:
        raise MistakeError(f'must be a port of the container such as 8000, or "8080:80", not {quoted(text)}')
    address, published = match["ip"], match["published"]
    if published is None and address is not None:
        address, published = None, address
    if published and not published.isdecimal():
        raise MistakeError(f'must be a port of the container such as 8000, or "8080:80", not {quoted(text)}')
    long: dict[str, Any] = {"target": int(match["target"])}
    long |= {"published": int(published)} if published else {}
    return long | ({"host_ip": address} if address else {})


def _published(written: object) -> object:
    if isinstance(written, str):
        if re.fullmatch(r"\d{1,6}-\d{1,6}", written, re.ASCII):
            raise MistakeError(f"{quoted(written)} is a range; write each port for itself")
        if not re.fullmatch(r"\d{1,6}", written, re.ASCII):
            raise MistakeError(f"must be a port from 1 to 65535, not {quoted(written)}")
        return int(written)
    return written


def _exposed(written: object) -> int:
    if isinstance(written, str):
        long = _port_of_text(written)
        if set(long) != {"target"}:
            raise MistakeError(f"must be a port of the container alone, not {quoted(written)}; host ports belong in ports")
        return _port_number(long["target"])
    if not isinstance(written, int) or isinstance(written, bool):
        raise MistakeError(f"must be a port of the container such as 8000, not {shown(written)}")
    return _port_number(written)


def _each_once(items: tuple[Any, ...]) -> tuple[Any, ...]:
    again = [index for index, item in enumerate(items) if item in items[:index]]
    if again:
        raise complain("list", [Complaint((index,), f"{items[index]} is here for the second time") for index in again])
    return items


def _listed(written: object) -> object:
    """Text as a list of that text, a list as a tuple."""
    if isinstance(written, str):
        return (written,)
    return tuple(written) if isinstance(written, list) else written


_ASSIGNMENTS_SCHEMA: Final = {
    "anyOf": [
        {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
        {"type": "array", "items": {"type": "string", "pattern": "^[^=]+="}},
    ]
}
_LABELS_SCHEMA: Final = {
    "anyOf": [
        {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
        {"type": "array", "items": {"type": "string", "minLength": 1}},
    ]
}

ASSIGNMENTS_JSON: Final = WithJsonSchema(_ASSIGNMENTS_SCHEMA)
"""The JSON Schema of a mapping, or a list of NAME=value."""

WORDS_JSON: Final = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}

SomeText: TypeAlias = Annotated[str, AfterValidator(_some_text)]
PortNumber: TypeAlias = Annotated[int, AfterValidator(_port_number), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 65535})]
Capabilities: TypeAlias = Annotated[tuple[Annotated[str, AfterValidator(_capability)], ...], AsTuple, AfterValidator(_each_once)]


# --- parts -------------------------------------------------------------------------------------------------------------------

# fmt: off
_BUILD_KEYS: Final = (
    "additional_contexts", "cache_from", "cache_to", "dockerfile_inline", "entitlements", "extra_hosts", "isolation", "labels",
    "no_cache", "platforms", "privileged", "provenance", "pull", "sbom", "secrets", "shm_size", "ssh", "tags", "ulimits",
)
# fmt: on


class Build(Part):
    """How the image is built. Short form: its folder, the context."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(anyOf=[{"type": "string", "minLength": 1}, moved(schema)]))
    not_yet: ClassVar[Mapping[str, str]] = dict.fromkeys(_BUILD_KEYS, "")

    context: Annotated[str, AfterValidator(_context)] = Field(
        default=".",
        validate_default=True,
        description="the folder that the build may read; a relative path begins at the scenario file's folder",
        examples=["../app"],
        json_schema_extra={"type_words": "folder"},
    )
    dockerfile: Annotated[str, AfterValidator(_dockerfile)] = Field(
        default="Dockerfile",
        validate_default=True,
        description="the Dockerfile; a relative path begins at the context",
        examples=["docker/web.Dockerfile"],
        json_schema_extra={"type_words": "file"},
    )
    args: Annotated[dict[str, str], BeforeValidator(_build_args), ASSIGNMENTS_JSON] = Field(
        default={},
        description="build arguments (ARG)",
        examples=[{"VERSION": "1.0"}],
        json_schema_extra={"type_words": "mapping, or list of NAME=value"},
    )
    target: SomeText | None = Field(
        default=None,
        description="the stage to build, where there are several",
        examples=["production"],
        json_schema_extra={"default_words": "the last one"},
    )
    network: Literal["none", "host", "default"] | None = Field(
        default=None,
        description="the network that RUN has",
        examples=["none"],
        json_schema_extra={"default_words": "that of the engine"},
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """A folder as a mapping."""
        if isinstance(written, str):
            return {"context": written}
        if not isinstance(written, Mapping):
            raise MistakeError(f"must be a folder, or a mapping with context, not {shown(written)}")
        return written


def _source(written: str, info: ValidationInfo) -> str:
    kind = info.data.get("type")
    if kind == "bind":
        return _bound(written, folder_of(info))
    if kind == "tmpfs" and written:
        raise MistakeError("has no meaning for a tmpfs, which begins empty; remove it")
    if kind == "volume" and written and not _NAME.fullmatch(written):
        hint = "; write ./ before a folder of this machine" if "/" in written else "; use letters, digits, _, . and -"
        raise MistakeError(f"{quoted(written)} is no name for a volume{hint}")
    return no_nul(written)


def _bound(written: str, folder: Path | None) -> str:
    """A file or folder of this machine, absolute when the scenario comes from a file."""
    if not no_nul(written):
        raise MistakeError("a bind needs source: the file or folder of this machine")
    if folder is None:
        return written
    path = _below(folder, written)
    if not os.path.exists(path):  # noqa: PTH110  Path.exists raises where a name is too long
        raise MistakeError(f"there is no {path}; a relative path begins at the scenario file's folder")
    return str(path)


class Volume(Part):
    """What is mounted into each container. Short forms: ``name:/path``, ``./folder:/path:ro``, or ``/path`` for a volume without a name."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(anyOf=[{"type": "string", "pattern": "/"}, moved(schema)]))
    not_yet: ClassVar[Mapping[str, str]] = dict.fromkeys(("bind", "volume", "tmpfs", "image", "consistency"), "; remove it")

    type: Literal["volume", "bind", "tmpfs"] = Field(
        description="volume: made for the run and removed with it, shared by its replicas; bind: a file or folder of this machine; tmpfs: "
        "in memory, empty at each start",
        examples=["volume"],
    )
    source: Annotated[str, AfterValidator(_source)] = Field(
        default="",
        validate_default=True,
        description="the name of the volume, or the path on this machine, which begins at the scenario file's folder when it is relative",
        examples=["data"],
        json_schema_extra={"default_words": "a volume for each replica alone"},
    )
    target: Annotated[str, AfterValidator(_mount_point)] = Field(
        description="where it is in the container, an absolute path", examples=["/data"], json_schema_extra={"type_words": "path"}
    )
    read_only: bool = Field(default=False, description="the app may not write to it", examples=[True])

    @classmethod
    def long_form(cls, written: object) -> object:
        """``source:target:ro`` as a mapping."""
        if isinstance(written, Mapping):
            return written
        if not isinstance(written, str):
            raise MistakeError(f"must be text such as data:/data, or a mapping with type, source and target, not {shown(written)}")
        parts = written.split(":")
        if len(parts) > 3 or (len(parts) == 1 and not written.startswith("/")):
            raise MistakeError(f"must be a volume such as data:/data, ./folder:/data:ro or /data, not {quoted(written)}")
        source, target, mode = ("", *parts, "rw") if len(parts) == 1 else (*parts, "rw")[:3]
        if mode not in ("ro", "rw"):
            raise MistakeError(f"unknown option {quoted(mode)}; there are ro and rw")
        if len(parts) > 1 and not source:
            raise MistakeError(f"must name a volume or a folder before the colon, not {quoted(written)}")
        kind = "bind" if source.startswith((".", "/", "~")) else "volume"
        return {"type": kind, "source": source, "target": target, "read_only": mode == "ro"}


class Port(Part):
    """A port of the container. Short forms: ``8000``, ``8080:80``, ``127.0.0.1:8080:80``, ``80/tcp``."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update(
            anyOf=[{"type": "integer", "minimum": 1, "maximum": 65535}, {"type": "string", "pattern": _PORT_PATTERN}, moved(schema)]
        )
    )
    not_yet: ClassVar[Mapping[str, str]] = {"mode": "; remove it"}

    target: PortNumber = Field(description="the port in the container", examples=[80], json_schema_extra={"type_words": "port"})
    published: Annotated[PortNumber, BeforeValidator(_published), WithJsonSchema({"type": ["integer", "string"]})] | None = Field(
        default=None, description="the port of the host, which is dropped", examples=[8080], json_schema_extra={"type_words": "port"}
    )
    host_ip: SomeText | None = Field(default=None, description="the address of the host, which is dropped", examples=["127.0.0.1"])
    protocol: Literal["tcp"] = Field(default="tcp", description="nothing but TCP", examples=["tcp"])
    name: str | None = Field(default=None, description="what people call it", examples=["web"])
    app_protocol: str | None = Field(default=None, description="what is spoken there", examples=["http"])

    @classmethod
    def long_form(cls, written: object) -> object:
        """A number, or ``host:container``, as a mapping."""
        if isinstance(written, str):
            return _port_of_text(written)
        if isinstance(written, int) and not isinstance(written, bool):
            return {"target": written}
        if not isinstance(written, Mapping):
            raise MistakeError(f'must be a port of the container such as 8000, or "8080:80", not {shown(written)}')
        return written


def _volumes(volumes: tuple[Volume, ...], info: ValidationInfo) -> tuple[Volume, ...]:
    """Nothing is mounted where something is mounted already."""
    taken = {os.path.normpath(each.partition(":")[0]) for each in info.data.get("tmpfs") or ()}
    complaints = []
    for index, volume in enumerate(volumes):
        target = os.path.normpath(volume.target)
        if target in taken:
            complaints.append(Complaint((index, "target"), f"something is mounted at {volume.target} already"))
        taken.add(target)
    if complaints:
        raise complain("volumes", complaints)
    return volumes


def _describe(words: str) -> str:
    return f"{ONLY}{words}"


ONLY: Final = "containers only: "
"""How the description of each key here begins, for editors, which show it alone."""


class ContainerKeys(Part):
    """Keys that mean something to containers only; where replicas are processes of this machine they are read and ignored."""

    image: Annotated[str, AfterValidator(_image)] | None = Field(
        default=None, description=_describe("the image that it runs; with build as well, build wins"), examples=["nginx:1.27"]
    )
    build: Build | None = Field(
        default=None,
        description=_describe("how its image is built, once for each run"),
        examples=["../app"],
        json_schema_extra={"type_words": "folder, or mapping (see below)"},
    )
    entrypoint: (
        Annotated[
            str | tuple[str, ...],
            PlainValidator(_entrypoint),
            WithJsonSchema(WORDS_JSON),
            PlainSerializer(lambda words: words if isinstance(words, str) else list(words), return_type=str | list[str]),
        ]
        | None
    ) = Field(
        default=None,
        description=_describe(
            "the program before the command, text split into words without a shell; an empty list takes the image's away"
        ),
        examples=[["tini", "--"]],
        json_schema_extra={"type_words": "text, or list of texts", "default_words": "the image's own"},
    )
    user: Annotated[str, AfterValidator(_user)] | None = Field(
        default=None,
        description=_describe("who it runs as: a user, or user:group, by name or number"),
        examples=["1000:1000"],
        json_schema_extra={"default_words": "the image's own"},
    )
    published: Annotated[tuple[Port, ...], AsTuple] = Field(
        default=(),
        alias="ports",
        description=_describe("the ports on which it listens inside, first the one that takes the load; host ports are dropped"),
        examples=[["8080:80"]],
        json_schema_extra={"type_words": "list of ports (see below)"},
    )
    expose: Annotated[
        tuple[Annotated[int, PlainValidator(_exposed), WithJsonSchema({"type": ["integer", "string"]})], ...],
        AsTuple,
        AfterValidator(_each_once),
    ] = Field(
        default=(),
        description=_describe("ports on which it listens inside, as in ports"),
        examples=[[8000]],
        json_schema_extra={"type_words": "list of ports"},
    )
    init: bool = Field(default=False, description=_describe("run a small init as PID 1, which forwards signals and reaps"), examples=[True])
    read_only: bool = Field(default=False, description=_describe("its own filesystem can't be written to"), examples=[True])
    tmpfs: Annotated[
        tuple[Annotated[str, AfterValidator(_tmpfs)], ...], BeforeValidator(_listed), AfterValidator(_each_once), WithJsonSchema(WORDS_JSON)
    ] = Field(
        default=(),
        description=_describe("folders in memory, each an absolute path, with options after a colon"),
        examples=[["/tmp:size=64m"]],  # noqa: S108  a path in a container
        json_schema_extra={"type_words": "path, or list of paths"},
    )
    volumes: Annotated[tuple[Volume, ...], AsTuple, AfterValidator(_volumes)] = Field(
        default=(),
        description=_describe("what is mounted into it; volumes are made for the run and removed with it"),
        examples=[["data:/data", "./conf:/etc/app:ro"]],
        json_schema_extra={"type_words": "list of volumes (see below)"},
    )
    networks: Annotated[
        tuple[Annotated[str, AfterValidator(_network)], ...],
        BeforeValidator(_networks),
        AfterValidator(_each_once),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "array", "items": {"type": "string"}},
                    {"type": "object", "additionalProperties": {"type": ["object", "null"], "maxProperties": 0}},
                ]
            }
        ),
    ] = Field(
        default=(),
        description=_describe("networks that it is in, made for the run and removed with it; it is reached on the first"),
        examples=[["back"]],
        json_schema_extra={"type_words": "list, or mapping of names to nothing", "default_words": "one that all process types share"},
    )
    cap_drop: Capabilities = Field(
        default=(), description=_describe("capabilities that it does without, with or without CAP_"), examples=[["ALL"]]
    )
    cap_add: Capabilities = Field(
        default=(), description=_describe("capabilities that it gets, with or without CAP_"), examples=[["NET_BIND_SERVICE"]]
    )
    security_opt: Annotated[tuple[SomeText, ...], AsTuple, AfterValidator(_each_once)] = Field(
        default=(), description=_describe("security options, handed on as they are"), examples=[["no-new-privileges:true"]]
    )
    mem_limit: (
        Annotated[
            int,
            PlainValidator(_bytes),
            PlainSerializer(bytes_text, return_type=str),
            WithJsonSchema({"anyOf": [{"type": "integer", "minimum": LEAST_BYTES}, {"type": "string", "pattern": BYTES_PATTERN}]}),
        ]
        | None
    ) = Field(
        default=None,
        description=_describe("how much memory it may have, from 6m and without swap; above it the kernel kills; a bare number is bytes"),
        examples=["256m"],
        json_schema_extra={"type_words": "size", "unit": "b, k, m, g", "default_words": "no limit"},
    )
    cpus: (
        Annotated[
            float,
            PlainValidator(_cpus),
            WithJsonSchema({"anyOf": [{"type": "number", "minimum": _LEAST_CPUS}, {"type": "string", "pattern": r"^\d+(\.\d+)?$"}]}),
        ]
        | None
    ) = Field(
        default=None,
        description=_describe("how many CPUs it may use, in shares of their time, from 0.01"),
        examples=[0.5],
        json_schema_extra={"type_words": "number", "unit": "CPUs", "default_words": "no limit"},
    )
    pids_limit: Annotated[int, AfterValidator(_pids_limit)] | None = Field(
        default=None,
        description=_describe("how many processes and threads it may have; -1 for no limit"),
        examples=[100],
        json_schema_extra={"unit": "processes", "default_words": "that of the engine"},
    )
    labels: Annotated[dict[str, str], BeforeValidator(_labels), WithJsonSchema(_LABELS_SCHEMA)] = Field(
        default={},
        description=_describe("labels beside Jetable's own, which begin with jetable."),
        examples=[{"com.example.team": "web"}],
        json_schema_extra={"type_words": "mapping, or list of NAME=value"},
    )
    container_name: Annotated[str, AfterValidator(_container_name)] | None = Field(
        default=None, description=_describe("dropped, because two replicas can't share a name"), examples=["web"]
    )
    restart: Annotated[str, AfterValidator(_restart)] | None = Field(
        default=None, description=_describe("dropped, because Jetable itself starts replacements"), examples=["unless-stopped"]
    )

    @property
    def entrypoint_argv(self) -> tuple[str, ...] | None:
        """The words of the entrypoint; None for the image's own, and nothing when it is taken away."""
        return _words(self.entrypoint) if isinstance(self.entrypoint, str) else self.entrypoint

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports in the container, in the order of the file, each once."""
        return tuple(dict.fromkeys(port.target for port in self.published))

    @property
    def dropped(self) -> tuple[str, ...]:
        """What the file says and Jetable does not do, a sentence each."""
        return tuple(self._dropped())

    def _dropped(self) -> Iterator[str]:
        if self.image is not None and self.build is not None:
            yield "image: dropped, because build wins; what is built gets a name of the run's own"
        if self.container_name is not None:
            yield "container_name: dropped, because two replicas can't share a name"
        host = list(dict.fromkeys(port.published for port in self.published if port.published is not None))
        if host:
            which = f"the host port {host[0]} is" if len(host) == 1 else f"the host ports {all_of(host)} are"
            them = "it" if len(host) == 1 else "them"
            yield f"ports: {which} dropped, because two replicas can't share {them}; Jetable finds its own way to each replica"
        if self.restart not in (None, "no"):
            yield "restart: dropped, because Jetable itself starts replacements"
