"""The image of a process type: built from a Dockerfile or found by name, and what it says of itself.

A build shows its output as it comes, uses the engine's cache, and carries the run's labels, so that the cleanup finds the image. When it
fails, the instruction that failed is named. An image that is not there is pulled, which shows its progress, too.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.clock import NS_PER_S
from harness.dockerd import Daemon, DaemonGoneError, NoSuchThingError, RefusedError, translated
from harness.errors import KeyOfScenarioError
from harness.marks import mark_labels

if TYPE_CHECKING:
    from harness.scenario import ProcessType

_COLOURS: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ASIDE: Final = ("---> ", "Removing intermediate container ", "Successfully ")
"""How lines of a build begin that tell of the engine's own doings."""

_OWN_LABEL: Final = " : LABEL jetable."
_LAST_LINES: Final = 8
_HEALTH_INTERVAL_S: Final = 30.0
_HEALTH_RETRIES: Final = 3
"""What Docker takes where an image's HEALTHCHECK says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """An image's own HEALTHCHECK: ``patience_s`` is the time within which it must have passed once, by its own settings."""

    patience_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What an image says of itself.

    Attributes:
        id: What containers are made from.
        name: What a person calls it.
        command: Its entrypoint and command.
        entrypoint: Its entrypoint alone.
        stop_signal: Its STOPSIGNAL; empty for none.
        environment: Its ENV.
        ports: Its EXPOSEd TCP ports.
        health: Its HEALTHCHECK, if any.
    """

    id: str
    name: str
    command: tuple[str, ...]
    entrypoint: tuple[str, ...]
    stop_signal: str
    environment: Mapping[str, str]
    ports: tuple[int, ...]
    health: Health | None


def have_image(daemon: Daemon, run_id: str, process: str, declared: ProcessType, tell: Callable[[str], None]) -> Image:
    """Build, find or pull the image of a process type.

    Raises:
        KeyOfScenarioError: It can't be built or pulled.
        DaemonGoneError: The engine does not answer.
    """
    if declared.build is not None:
        name = build(daemon, run_id, process, declared, tell)
        shown = os.path.normpath(Path(declared.build.context, declared.build.dockerfile))
    else:
        name = shown = str(declared.image)
        _pull_if_missing(daemon, process, name, tell)
    with translated():
        return _described(daemon.api.inspect_image(name), shown)


def build(daemon: Daemon, run_id: str, process: str, declared: ProcessType, tell: Callable[[str], None]) -> str:
    """Build a process type's image and return its tag; raises as `have_image`."""
    how = declared.build
    assert how is not None  # noqa: S101  have_image asked
    tag = f"jetable/{run_id.lower()}:{process}"  # after the colon a name may be as process types' names are, such as web_
    try:
        with translated():
            chunks = daemon.api.build(
                path=how.context,
                dockerfile=how.dockerfile,
                tag=tag,
                buildargs=dict(how.args),
                target=how.target or "",
                network_mode=how.network,
                labels=mark_labels(run_id),
                rm=True,
                forcerm=True,
                decode=True,
            )
            _follow_build(chunks, process, tell)
    except (RefusedError, OSError, TypeError, ValueError) as error:
        if isinstance(error, DaemonGoneError):
            raise
        raise KeyOfScenarioError(("target", process, "build"), f"{how.dockerfile} can't be built: {error}") from error
    return tag


def _follow_build(chunks: Iterable[Mapping[str, Any]], process: str, tell: Callable[[str], None]) -> None:
    """Show a build's output; raise with the failing instruction and its last words when it fails.

    An instruction that the cache answers is not worth a line.
    """
    step, untold, failed, last = "", "", "", deque[str](maxlen=_LAST_LINES)
    for chunk in whole_lines(chunks):  # to the very end, whatever went wrong: only then is the connection free
        failed = failed or str(chunk.get("error") or "").strip()
        line = str(chunk.get("stream") or chunk.get("status") or "")
        if line.upper().startswith("STEP "):  # Podman shouts
            step, untold = line, "" if _OWN_LABEL in line else line
            last.clear()
            continue
        if line == "---> Using cache":
            untold = ""
        said = bool(line) and not line.startswith(_ASIDE)
        if untold and (said or line.startswith("---> Running")):
            tell(f"{process}: {untold}")
            untold = ""
        if said:
            last.append(line)
            tell(f"{process}: {line}")
    if failed:
        words = "".join(f"\n    {line}" for line in last)
        at = f"at {step}" if step else "before its first instruction"
        from_ = step.upper().split(" ")[3:4] == ["FROM"]
        cure = "; build or load the base image first (docker load), or mend its name" if from_ else "; mend that instruction"
        raise KeyOfScenarioError(("target", process, "build"), f"the build failed {at}: {failed}{cure}{words}")


def whole_lines(chunks: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The chunks of a build, its output put together to whole lines without colours: it comes in pieces as the command wrote it."""
    rest = ""
    for chunk in chunks:
        if "stream" not in chunk:
            yield chunk
            continue
        *lines, rest = (rest + str(chunk["stream"])).replace("\r", "\n").split("\n")
        yield from ({"stream": words} for line in lines if (words := _COLOURS.sub("", line).strip()))
    if words := _COLOURS.sub("", rest).strip():
        yield {"stream": words}


def _pull_if_missing(daemon: Daemon, process: str, name: str, tell: Callable[[str], None]) -> None:
    try:
        with translated():
            daemon.api.inspect_image(name)
            return
    except NoSuchThingError:
        pass
    try:
        with translated():
            _pull(daemon, process, name, tell)
    except RefusedError as error:
        reason = f"image {name} is not on this machine and can't be pulled: {error}; mend its name, build it, or load it (docker load)"
        raise KeyOfScenarioError(("target", process, "image"), reason) from error


def _pull(daemon: Daemon, process: str, name: str, tell: Callable[[str], None]) -> None:
    tagged = name if "@" in name or ":" in name.rpartition("/")[2] else f"{name}:latest"
    refused = ""
    for chunk in daemon.api.pull(tagged, stream=True, decode=True):  # to the very end, as with a build
        refused = refused or str(chunk.get("error") or "")
        tell(f"{process}: {chunk.get('status', '')} {chunk.get('progress', '')}".strip())
    if refused:
        raise RefusedError(refused, 0)


def _described(found: Mapping[str, Any], name: str) -> Image:
    config = found.get("Config") or {}
    entrypoint = tuple(config.get("Entrypoint") or ())
    pairs = [entry.partition("=") for entry in config.get("Env") or ()]
    ports = [port.partition("/") for port in config.get("ExposedPorts") or {}]
    return Image(
        id=str(found["Id"]),
        name=name,
        command=(*entrypoint, *(config.get("Cmd") or ())),
        entrypoint=entrypoint,
        stop_signal=str(config.get("StopSignal") or ""),
        environment={key: value for key, _, value in pairs},
        ports=tuple(sorted(int(number) for number, _, protocol in ports if protocol in ("", "tcp"))),
        health=_health(config.get("Healthcheck") or {}),
    )


def _health(check: Mapping[str, Any]) -> Health | None:
    test = check.get("Test") or []
    if not test or test[0] == "NONE":
        return None

    def seconds(key: str, default: float) -> float:
        return (check.get(key) or 0) / NS_PER_S or default

    interval_s = seconds("Interval", _HEALTH_INTERVAL_S)
    retries = check.get("Retries") or _HEALTH_RETRIES
    return Health(patience_s=seconds("StartPeriod", 0.0) + (retries + 1) * (interval_s + seconds("Timeout", _HEALTH_INTERVAL_S)))
