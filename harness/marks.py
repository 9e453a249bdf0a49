"""The mark of a run, and who owns it.

Everything that a run makes carries the run's id: processes as the environment variable ``JETABLE_RUN``, files as the scratch folder
``/tmp/jetable-<run id>``. Beside it stands the owner, ``<pid>:<start time>`` of the harness, so that anybody can tell later whether the
run still lives. A pid alone would not do, since pids are used again.

The scratch folder also holds ``pids``, the append-only list of processes that the harness made: an app that overwrites its environment
to change its title loses its mark there, but not its place in that list. Where a run makes things on a container engine, ``daemon`` in the
folder says on which one, before the first of them is made: without it nobody would know where to look for them. So does ``deposits``
(`harness.services.deposits`) for what is made in a service that others use as well.

Processes also carry a brand (`harness.proctable`), a number that is made of the run's id: the one mark that no daemon sheds.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness import proctable
from harness.errors import MachineError, UsageError

RUN: Final = "JETABLE_RUN"
OWNER: Final = "JETABLE_OWNER"
REPLICA: Final = "JETABLE_REPLICA"
PREFIX: Final = "JETABLE_"

LABEL_RUN: Final = "jetable.run"
LABEL_OWNER: Final = "jetable.owner"
LABEL_REPLICA: Final = "jetable.replica"
"""The same marks as labels on containers, networks, volumes and images. The owner's has pid namespace and boot beside it."""

FOLDER_PREFIX: Final = "jetable-"
OWNER_FILE: Final = "owner"
PIDS_FILE: Final = "pids"
DAEMON_FILE: Final = "daemon"
DEPOSITS_FILE: Final = "deposits"
_REPLICAS_OF_A_RUN: Final = 1 << 16
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchOwner:
    """Who made a scratch folder or a thing with labels.

    ``owner`` names a process of the pid namespace ``namespace`` since the boot ``boot`` only.
    """

    owner: str
    namespace: str
    boot: str


def mark_environment(run_id: str, replica: str = "") -> dict[str, str]:
    """The environment variables that mark a process as part of a run that this process owns."""
    marks = {RUN: run_id, OWNER: owner()}
    if replica:
        marks[REPLICA] = replica
    return marks


def mark_labels(run_id: str, replica: str = "") -> dict[str, str]:
    """The labels that mark a thing of a container engine as part of a run that this process owns."""
    labels = {LABEL_RUN: run_id, LABEL_OWNER: f"{owner()} {proctable.namespace(os.getpid())} {boot_id()}"}
    if replica:
        labels[LABEL_REPLICA] = replica
    return labels


def brands(run_id: str) -> range:
    """The brands of a run: one for each replica that it starts, in their order, and after very many the first ones again."""
    first = (int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:5], "big") + (1 << 40)) * _REPLICAS_OF_A_RUN
    return range(first, first + _REPLICAS_OF_A_RUN)


def unmarked_environment() -> dict[str, str]:
    """The environment of this process without the marks of a run around it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def needle(name: str, value: str) -> bytes:
    """What `harness.proctable.Table.environment` holds when the variable ``name`` is exactly ``value``."""
    return b"\0" + os.fsencode(f"{name}={value}") + b"\0"


def value_of(environment: bytes, name: str) -> str:
    """The value of a variable in what `harness.proctable.Table.environment` returned; empty when it is not there."""
    _, found, rest = environment.partition(b"\0" + os.fsencode(name) + b"=")
    return os.fsdecode(rest.partition(b"\0")[0]) if found else ""


def owner() -> str:
    """This process as an owner."""
    pid = os.getpid()
    proc = proctable.look(pid)
    if proc is None:
        raise MachineError("can't read /proc/self/stat; Jetable's process engine needs Linux with /proc mounted")
    return f"{pid}:{proc.started}"


def owner_alive(owner: str) -> bool:
    """Whether the process that ``owner`` names still runs; False for what is no owner at all."""
    parsed = _parse(owner)
    if parsed is None:
        return False
    proc = proctable.look(parsed[0])
    return proc is not None and proc.started == parsed[1] and proc.alive


def owner_age_s(owner: str) -> float:
    """Seconds since the owner was started; infinite for one of an earlier boot or for what is no owner at all."""
    parsed = _parse(owner)
    if parsed is None:
        return float("inf")
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - parsed[1] / os.sysconf("SC_CLK_TCK")
    return age_s if age_s >= 0 else float("inf")


def scratch_root() -> Path:
    """Where scratch folders are."""
    return Path(os.environ.get("TMPDIR") or "/tmp").absolute()  # noqa: S108  the folders in it are made with mode 0700


def scratch_folder(run_id: str) -> Path:
    """The scratch folder of a run, whether it exists or not.

    Raises:
        UsageError: ``run_id`` can't be part of a file name.
    """
    if not run_id or "/" in run_id or "\0" in run_id:
        raise UsageError(f"{run_id!r} is no run id; name a folder under reports/")
    return scratch_root() / f"{FOLDER_PREFIX}{run_id}"


def make_scratch(run_id: str) -> Path:
    """Make the scratch folder of a run that this process owns.

    Raises:
        MachineError: It exists already, or can't be made.
    """
    folder = scratch_folder(run_id)
    try:
        folder.mkdir(mode=0o700)
        (folder / OWNER_FILE).write_text(f"{owner()} {proctable.namespace(os.getpid())} {boot_id()}\n")
    except OSError as error:
        raise MachineError(f"can't make {folder}: {error.strerror}; set TMPDIR to a folder of yours") from error
    return folder


def scratch_owner(folder: Path) -> ScratchOwner | None:
    """Who made a scratch folder; None when it does not say (yet)."""
    try:
        return parsed_owner((folder / OWNER_FILE).read_text())
    except (OSError, UnicodeDecodeError):
        return None


def parsed_owner(text: str) -> ScratchOwner | None:
    """The owner in the words of a scratch folder's file or of the label `LABEL_OWNER`; None for anything else."""
    words = text.split()
    return ScratchOwner(owner=words[0], namespace=words[1], boot=words[2]) if len(words) == 3 else None


def boot_id() -> str:
    """The name of this boot of the machine: pids and start times mean nothing after it."""
    return _BOOT_ID.read_text().strip()


def record_process(scratch: Path, proc: proctable.Proc) -> None:
    """Add a process to the list of those that the run made. One ``write(2)``, so it outlives this process."""
    fd = os.open(scratch / PIDS_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, f"{proc.pid}:{proc.started}\n".encode())
    finally:
        os.close(fd)


def recorded(scratch: Path) -> dict[int, int]:
    """Start time of each process on the list. Of a pid that was used twice, the later one: the earlier one is gone."""
    made_by = scratch_owner(scratch)
    if made_by is not None and made_by.boot != boot_id():
        return {}
    try:
        lines = (scratch / PIDS_FILE).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return dict(parsed for line in lines if (parsed := _parse(line)) is not None)


def record_daemon(scratch: Path, url: str) -> None:
    """Note that the run is about to make things on the container engine at ``url``. Whoever removes the run looks there, and only then.

    Raises:
        MachineError: It can't be written, so nothing may be made there.
    """
    half = scratch / f"{DAEMON_FILE}.half"
    try:
        half.write_text(f"{url}\n")
        half.rename(scratch / DAEMON_FILE)
    except OSError as error:
        raise MachineError(f"can't write to {scratch}: {error.strerror}; free space, or set TMPDIR to a folder of yours") from error


def recorded_daemon(scratch: Path) -> str:
    """Where the container engine is that may hold things of the run; empty: none does."""
    try:
        return (scratch / DAEMON_FILE).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def forget_daemon(scratch: Path) -> None:
    """Nothing of the run is left on its container engine. Until then its scratch folder must stay."""
    _forget(scratch, DAEMON_FILE)


def has_deposits(scratch: Path) -> bool:
    """Whether something of the run may be in a service that others use as well. Until then its scratch folder must stay."""
    return (scratch / DEPOSITS_FILE).exists()


def notes_the_rest(scratch: Path) -> bool:
    """Whether nothing but this folder says where something of the run may be left."""
    return bool(recorded_daemon(scratch)) or has_deposits(scratch)


def forget_deposits(scratch: Path) -> None:
    """Nothing of the run is left in any service."""
    _forget(scratch, DEPOSITS_FILE)


def _forget(scratch: Path, file: str) -> None:
    with suppress(FileNotFoundError):
        try:
            (scratch / file).unlink()
        except PermissionError:  # an app took the right from the folder that we share with it
            scratch.chmod(0o700)
            (scratch / file).unlink()


def _parse(owner: str) -> tuple[int, int] | None:
    pid, colon, started = owner.strip().partition(":")
    if not (colon and pid.isdigit() and started.isdigit()):
        return None
    return int(pid), int(started)
