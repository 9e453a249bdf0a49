"""What this machine can and can't run, each with its cure: the body of ``jetable doctor``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness import dockerd, procevents
from harness.cleanup import clean_stale
from harness.engines.docker_network import REACH, reached_by_address
from harness.errors import JetableError
from harness.sockets import claim_port, listening_ports

LEAST_FILES: Final = 4096
"""Open files that a load of a thousand users and a handful of replicas can need, with room to spare."""

DOCKER_WITHIN_S: Final = 5
CAP_KILL: Final = 5

LEAST_FREE: Final = 100 << 20
"""Bytes that a long run with a fast load writes in some ten seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One thing that was looked at: ``ok``, what was found, and the cure when it is not."""

    what: str
    ok: bool
    found: str
    cure: str = ""


def examine(reports: Path) -> Iterator[Examined]:
    """Look at everything that a run needs, one after the other; nothing raises."""
    for look in LOOKS:
        try:
            yield from look(reports)
        except (OSError, JetableError) as error:
            yield Examined(what=look.__name__.strip("_").replace("_", " "), ok=False, found=str(error), cure="see the message")


def _python(_reports: Path) -> Iterator[Examined]:
    yield Examined(what="python", ok=sys.version_info >= (3, 11), found=platform.python_version(), cure="")


def _system(_reports: Path) -> Iterator[Examined]:
    linux = sys.platform == "linux"
    cure = "" if linux else "run it on Linux: the process engine needs pidfd and /proc"
    yield Examined(what="system", ok=linux, found=f"{platform.system()} {platform.release()}, {os.cpu_count()} cores", cure=cure)


def _packages(_reports: Path) -> Iterator[Examined]:
    found, missing = _versions(("locust", "gevent", "httptools", "pydantic", "requests", "psutil", "docker"))
    cure = f"{', '.join(missing)} missing: pip install jetable again" if missing else ""
    yield Examined(what="packages", ok=not missing, found=", ".join(found), cure=cure)


def _samples(_reports: Path) -> Iterator[Examined]:
    found, missing = _versions(("gunicorn", "flask"))
    hint = "; the shipped scenarios need them, your own app does not: pip install 'jetable[samples]'" if missing else ""
    yield Examined(what="sample apps", ok=True, found=", ".join(found) + (f"no {' and no '.join(missing)}{hint}" if missing else ""))


def _versions(names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Those that are installed, with their versions, and those that are not."""
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return found, missing


def _exits(_reports: Path) -> Iterator[Examined]:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as error:
        yield Examined(what="exits", ok=False, found=f"no pidfd ({error})", cure="needs Linux 5.4 or newer")
        return
    yield Examined(what="exits", ok=True, found="seen at once, by pidfd")


def _listeners(_reports: Path) -> Iterator[Examined]:
    seen = listening_ports()
    if seen is None:
        yield Examined(what="listeners", ok=False, found="the kernel's socket table can't be read", cure="listeners are seen by connecting")
        return
    yield Examined(what="listeners", ok=True, found=f"read from the kernel's socket table ({len(seen)} ports open now)")


def _ports(_reports: Path) -> Iterator[Examined]:
    claim = claim_port()
    claim.release()
    yield Examined(what="ports", ok=True, found=f"free ones outside the range of outgoing connections, such as {claim.port}")


def _open_files(_reports: Path) -> Iterator[Examined]:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # the load process raises its own limit to the hard one
    enough = hard == resource.RLIM_INFINITY or hard >= LEAST_FILES
    cure = "" if enough else f"raise the hard limit (ulimit -Hn {LEAST_FILES}) before a load of many users"
    yield Examined(what="open files", ok=enough, found="no limit" if hard == resource.RLIM_INFINITY else f"at most {hard}", cure=cure)


def _reports_folder(reports: Path) -> Iterator[Examined]:
    parent = next(folder for folder in (reports.absolute(), *reports.absolute().parents) if folder.is_dir())
    cure = "name a folder of yours, with room in it, with --reports"
    try:
        free = shutil.disk_usage(parent).free
        with tempfile.TemporaryFile(dir=parent):
            room = f"{reports} can be written, {free / 2**20:,.0f} MiB are free"
            yield Examined(what="reports", ok=free >= LEAST_FREE, found=room, cure="" if free >= LEAST_FREE else cure)
    except OSError as error:
        yield Examined(what="reports", ok=False, found=f"{reports} can't be written: {error.strerror}", cure=cure)


def _docker(_reports: Path) -> Iterator[Examined]:
    """What runs on containers need; a machine without Docker is in order, but not one that is told where it is and finds nobody there."""
    try:
        daemon = dockerd.connect(timeout_s=DOCKER_WITHIN_S)
    except dockerd.DaemonGoneError as error:
        found, _, cure = str(error).partition("; ")
        if name := _asked_for_by_name():
            yield Examined(what="docker", ok=False, found=found, cure=f"{cure}; or unset {name}, which names it")
        else:
            yield Examined(what="docker", ok=True, found=f"none, which only --engine docker needs: {error}")
        return
    except JetableError as error:
        yield Examined(what="docker", ok=False, found="it can't be used", cure=str(error))
        return
    try:
        about = dockerd.about(daemon)
        with dockerd.translated():
            info = daemon.api.info()
            by_address = reached_by_address(daemon, info)
    finally:
        daemon.close()
    api = ".".join(map(str, daemon.api_version))
    yield Examined(what="docker", ok=True, found=f"{daemon.version} at {daemon.url}, API {api}")
    groups = f"cgroup version {about.cgroups} ({about.cgroup_driver}), storage driver {about.storage}"
    yield Examined(what="docker host", ok=True, found=groups + (", without root" if about.rootless else ""))
    address = "by their own addresses" if by_address else "by published loopback ports: a refused connection is seen as a reset there"
    cure = "" if by_address else _PUBLISHED_CURE
    yield Examined(what="docker network", ok=True, found=f"containers are reached {address}", cure=cure)
    yield Examined(what="docker signals", ok=True, found=_told_of_containers(about))
    layers = about.here and _layers_can_be_read(Path(str(info.get("DockerRootDir", "")), about.storage))
    yield Examined(what="docker layers", ok=True, found=_LAYERS_READ if layers else _LAYERS_COMPARED)


_PUBLISHED_CURE: Final = (
    "the ports are on the loopback of the engine's machine, so it must be this one; to see refused connections as such, run on Linux with "
    f"an engine of this machine that is not rootless, or set {REACH}=address if containers' addresses lead there"
)

_LAYERS_READ: Final = "what containers write is read from their layers directly, of every replica"
_LAYERS_COMPARED: Final = (
    "what containers write is told by docker diff, of the first three replicas of each process type only "
    "(root reads it of all of them, where an engine of this machine has the storage driver overlay2)"
)


def _asked_for_by_name() -> str:
    """The environment variable that names an engine, if one does: then its absence is no accident of the machine."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        if os.environ.get(name, "").strip():
            return "" if (name, os.environ[name]) == ("DOCKER_CONTEXT", "default") else name
    return ""


def _layers_can_be_read(folder: Path) -> bool:
    """Whether the engine keeps layers with overlayfs in a folder that we may walk through."""
    return folder.name.startswith("overlay") and os.access(folder, os.X_OK)


def _told_of_containers(about: dockerd.About) -> str:
    """How containers are signalled and how their exits are known, with the limits of where we are."""
    if not about.here:
        return "both by the engine, some milliseconds late: its processes can't be seen from here"
    signals = "sent directly" if _may_signal_all() else "sent by the engine, some milliseconds late (root sends them directly)"
    events = procevents.ProcEvents.open()
    if events is None:
        return f"{signals}; exits are told by the engine, some milliseconds late (root is told by the kernel)"
    events.close()
    return f"{signals}; exits are told by the kernel"


def _may_signal_all() -> bool:
    """Whether this process has CAP_KILL (capabilities(7)), as processes of containers mostly belong to others."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_KILL & 1)
    return False


def _leftovers(_reports: Path) -> Iterator[Examined]:
    left = clean_stale(older_than_s=0.0, dry_run=True)
    found = f"{len(left)} of runs that are no longer alive" if left else "none"
    yield Examined(what="leftovers", ok=True, found=found, cure="remove them with jetable cleanup" if left else "")


LOOKS: Final[tuple[Callable[[Path], Iterator[Examined]], ...]] = (
    _python,
    _system,
    _packages,
    _samples,
    _exits,
    _listeners,
    _ports,
    _open_files,
    _reports_folder,
    _docker,
    _leftovers,
)
