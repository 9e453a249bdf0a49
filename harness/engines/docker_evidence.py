"""What can be read of a container from outside it: who runs in it, as whom, with how much memory, and what it wrote.

All of it is read, nothing is executed in the container.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Final

from harness.history import Process

CHANGED, ADDED, DELETED = 0, 1, 2
"""How the engine numbers what happened to a path."""

_LETTERS: Final = {CHANGED: "C", ADDED: "A", DELETED: "D"}
_MOST_PATHS: Final = 20_000
_PAGE: Final = 4096
_MEMORY: Final = Path("/sys/fs/cgroup/memory")


def changed_paths(changes: Iterable[tuple[int, str]], mounts: Sequence[str]) -> tuple[str, ...]:
    """The lines of ``docker diff`` that say something: ``A /app/x``, sorted by path.

    Left out: folders that only changed because something in them did, and the places at which something else is mounted, which the engine
    makes itself.
    """
    kinds = {path: kind for kind, path in changes}
    above = {str(parent) for path in kinds for parent in PurePosixPath(path).parents}
    inside = {str(parent) for mount in mounts for parent in (PurePosixPath(mount), *PurePosixPath(mount).parents)}
    return tuple(
        f"{_LETTERS.get(kind, 'C')} {path}"
        for path, kind in sorted(kinds.items())
        if not (path in above and kind != DELETED) and not (path in inside and kind != DELETED)
    )


def layers_of(found: Mapping[str, Any]) -> tuple[Path, tuple[Path, ...]] | None:
    """The folder of what a container changed and those of its image, of an engine that keeps them with overlayfs; None of another one."""
    driver = found.get("GraphDriver") or {}
    data = driver.get("Data") or {}
    upper, lower = data.get("UpperDir"), data.get("LowerDir")
    if not str(driver.get("Name", "")).startswith("overlay") or not upper or not lower:
        return None
    return Path(upper), tuple(Path(part) for part in str(lower).split(":"))


def overlay_changes(upper: Path, lowers: Sequence[Path]) -> list[tuple[int, str]] | None:
    """What ``docker diff`` would tell, read from the upper folder of an overlay (overlayfs in the kernel's documentation).

    A character device 0:0 there stands for something that was deleted. None when it may not be read.
    """
    if not os.access(upper, os.R_OK | os.X_OK):
        return None
    try:
        return list(islice(_overlay_changes(upper, lowers), _MOST_PATHS))
    except OSError:  # somebody removes the container meanwhile
        return None


def _overlay_changes(upper: Path, lowers: Sequence[Path]) -> Iterator[tuple[int, str]]:
    for folder, folders, files in os.walk(upper):
        for name in (*folders, *files):
            path = Path(folder, name)
            inside = path.relative_to(upper)
            status = path.lstat()
            below = next((lower / inside for lower in lowers if os.path.lexists(lower / inside)), None)
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                yield DELETED, f"/{inside}"
            elif below is None:
                yield ADDED, f"/{inside}"
            elif not (stat.S_ISDIR(status.st_mode) and _rights(status) == _rights(below.lstat())):
                yield CHANGED, f"/{inside}"


def _rights(status: os.stat_result) -> tuple[int, int, int]:
    """What a folder is by itself: it is copied up, the same as it was, as soon as something in it changes, or only did for a while."""
    return status.st_mode, status.st_uid, status.st_gid


def uid_of(pid: int) -> int:
    """The user number of a process as it is called inside its own user namespace; -1 when it can't be seen (proc(5))."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        mapping = Path(f"/proc/{pid}/uid_map").read_text()
    except OSError:
        return -1
    outside = next((int(line.split()[2]) for line in status.splitlines() if line.startswith("Uid:")), -1)
    for line in mapping.splitlines():
        inside, begin, count = map(int, line.split())
        if begin <= outside < begin + count:
            return outside - begin + inside
    return outside


def processes_of(top: Mapping[str, Any]) -> tuple[Process, ...]:
    """The processes that the engine lists for a container (``docker top``), process 1 first."""
    titles = list(top.get("Titles") or ())
    if "PID" not in titles:
        return ()
    pid, command = titles.index("PID"), len(titles) - 1
    return tuple(Process(pid=int(row[pid]), command=str(row[command])) for row in top.get("Processes") or ())


def memory_used(pid: int) -> int:
    """Bytes that the memory cgroup (version 1) of a process can't give back, rounded up to pages; 0 when it can't be read."""
    try:
        used = int((_memory_group(pid) / "memory.usage_in_bytes").read_text())
    except (OSError, ValueError):
        return 0
    return -(-used // _PAGE) * _PAGE


def tighten_memory(pid: int) -> bool:
    """Lower the limit of the memory cgroup (version 1) of a process to what it uses now; false when that is not ours to do."""
    try:
        (_memory_group(pid) / "memory.limit_in_bytes").write_text(str(memory_used(pid)))
    except OSError as error:
        return error.errno == errno.EBUSY  # it grew meanwhile
    return True


def _memory_group(pid: int) -> Path:
    """Where the memory cgroup (version 1) of a process is; raises `FileNotFoundError` when there is none."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, place = line.split(":", 2)
        if "memory" in controllers.split(","):
            return _MEMORY / place.lstrip("/")
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def scratch_archive(name: str) -> bytes:
    """A tar archive of an empty folder that every user may write to, as to /tmp."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder = tarfile.TarInfo(name)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(folder)
    return buffer.getvalue()
