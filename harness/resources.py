"""What a replica used of the machine, what machine it is, and how much of it went to strangers.

What a replica used is the sum over its processes. CPU time comes from the CPU clock of each process, in nanoseconds, threads that have
ended included (clock_getcpuclockid(3)); that of children that have ended and were waited for comes from ``/proc/<pid>/stat``, which tells
it in ticks of 10 ms, user and system mode apart: up to 20 ms too little for each process that waited for children, however many. No
process counts twice, as a child is either alive, or waited for, or waits to be. Children whose parent ignores SIGCHLD leave no trace
(wait(2)) outside of a cgroup.

A container has a cgroup of its own, and that is the better source: it also counts what was not waited for. It counts health checks that
run inside the container, too, and its memory includes the files that the kernel keeps in memory for it.
"""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from harness.benches import Machine
from harness.clock import NS_PER_S, Clock
from harness.history import Used

_READ_BYTES: Final = 1 << 14
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICK_NS: Final = NS_PER_S // os.sysconf("SC_CLK_TCK")
_NS_PER_US: Final = 1000
_BYTES_PER_KB: Final = 1024
_CPUCLOCK_SCHED: Final = 2
"""The clock of a whole process as the scheduler keeps it, in the lowest bits of a clock's number (clock_getres(2) of Linux)."""

_UNIFIED: Final = "unified"
"""What the hierarchy of version 2 is called here; those of version 1 have the names of their controllers (cgroups(7))."""


def used_by(pids: Sequence[int], replica: str, when: str, at_ns: int, *, cgroup: bool = False) -> Used | None:
    """What the processes of a replica have used since each began; None when the main process is gone.

    Args:
        pids: The main process and those of its descendants that the caller knows. Children of all of them are found here.
        replica: The name of the event.
        when: ``healthy`` or ``steady``. Only ``steady`` asks the kernel for the shares of common pages, which takes it milliseconds for a
            process of a gigabyte; otherwise ``resident_bytes`` counts a page for each process that has it.
        at_ns: The instant of the event.
        cgroup: Use the cgroup of the main process as far as it tells, unless the harness is in the same.
    """
    if not pids or (main := _share_of(pids[0], common=when == "steady")) is None or not main.alive:
        return None
    shares = [main, *_shares_of(_and_descendants(pids) - {pids[0]}, common=when == "steady")]
    group = _group_of(pids[0]) if cgroup else _Group()
    reads = [each.read_bytes for each in shares]
    major = sum(each.major_faults for each in shares) if group.major_faults is None else group.major_faults
    minor = sum(each.minor_faults for each in shares) if group.faults is None else group.faults - major
    resident_bytes = sum(each.resident_bytes for each in shares)
    peak_bytes = sum(each.peak_bytes for each in shares) if group.peak_bytes is None else group.peak_bytes
    return Used(
        at_ns=at_ns,
        replica=replica,
        when=when,
        processes=sum(each.alive for each in shares),
        cpu_ns=sum(each.cpu_ns for each in shares) if group.cpu_ns is None else group.cpu_ns,
        minor_faults=minor,
        major_faults=major,
        read_bytes=group.read_bytes if group.read_bytes is not None else -1 if min(reads) < 0 else sum(reads),
        resident_bytes=resident_bytes,
        peak_bytes=max(peak_bytes, resident_bytes),  # a cgroup does not count pages of files that another one had read first
    )


# --- processes --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """What one process has used, with its children that were waited for; ``read_bytes`` is -1 when it can't be read."""

    alive: bool
    cpu_ns: int
    minor_faults: int
    major_faults: int
    read_bytes: int
    resident_bytes: int
    peak_bytes: int


def _share_of(pid: int, *, common: bool) -> _Share | None:
    fields = _stat_of(pid)
    if not fields:
        return None
    alive = fields[0] not in (b"Z", b"X", b"x")
    return _Share(
        alive=alive,
        cpu_ns=_cpu_ns(pid, fields),
        minor_faults=int(fields[7]) + int(fields[8]),
        major_faults=int(fields[9]) + int(fields[10]),
        read_bytes=_value(_read(f"/proc/{pid}/io"), b"read_bytes", missing=-1),
        resident_bytes=_resident_bytes(pid, common=common) if alive else 0,
        peak_bytes=_value(_read(f"/proc/{pid}/status"), b"VmHWM") * _BYTES_PER_KB if alive else 0,
    )


def _shares_of(pids: Iterable[int], *, common: bool) -> list[_Share]:
    return [share for pid in pids if (share := _share_of(pid, common=common)) is not None]


def _stat_of(pid: int) -> list[bytes]:
    """The fields of ``/proc/<pid>/stat`` from the third on, its state (proc(5)); empty when there is no such process."""
    stat = _read(f"/proc/{pid}/stat") if pid > 0 else b""
    return stat[stat.rindex(b")") + 2 :].split() if stat else []  # the name before it may itself hold spaces and parentheses


def _cpu_ns(pid: int, fields: list[bytes]) -> int:
    """CPU time of a process, and of its children that were waited for."""
    waited_for = (int(fields[13]) + int(fields[14])) * _TICK_NS
    with suppress(OSError):
        return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED) + waited_for
    return (int(fields[11]) + int(fields[12])) * _TICK_NS + waited_for


def _resident_bytes(pid: int, *, common: bool) -> int:
    if common and (rollup := _read(f"/proc/{pid}/smaps_rollup")):
        return _value(rollup, b"Pss") * _BYTES_PER_KB
    words = _read(f"/proc/{pid}/statm").split()
    return int(words[1]) * _PAGE_BYTES if words else 0


def _and_descendants(pids: Iterable[int]) -> set[int]:
    """``pids`` and all their descendants, zombies included."""
    found: set[int] = set()
    fresh = [pid for pid in pids if pid > 0]
    while fresh:
        pid = fresh.pop()
        if pid not in found:
            found.add(pid)
            fresh += _children_of(pid)
    return found


def _children_of(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208  a Path for each thread would take longer than the look
    except OSError:
        return []
    return [int(word) for thread in threads for word in _read(f"/proc/{pid}/task/{thread}/children").split()]


# --- cgroups ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """What all processes that ever were in a cgroup have used; None for what it does not tell."""

    cpu_ns: int | None = None
    faults: int | None = None
    major_faults: int | None = None
    read_bytes: int | None = None
    peak_bytes: int | None = None


def _group_of(pid: int) -> _Group:
    places = places_of(_read(f"/proc/{pid}/cgroup"), _read("/proc/self/cgroup"), _read("/proc/self/mountinfo"))
    return read_group(places)


def places_of(theirs: bytes, ours: bytes, mounts: bytes) -> dict[str, str]:
    """The folder of a process's cgroup in each hierarchy where it is not in the same as we are.

    Args:
        theirs: ``/proc/<pid>/cgroup``.
        ours: That of this process.
        mounts: ``/proc/self/mountinfo`` (proc(5)).

    Returns:
        By controller of version 1, or ``unified`` for version 2.
    """
    own = _paths(ours)
    roots = _roots(mounts)
    places = {}
    for name, path in _paths(theirs).items():
        if name in roots and path != own.get(name):
            root, point = roots[name]
            inside = path.removeprefix(root) if root != "/" else path
            places[name] = point + inside
    return places


def _paths(text: bytes) -> dict[str, str]:
    """The path of the cgroup by controller, from lines such as ``4:cpu,cpuacct:/docker/1f`` and ``0::/user.slice``."""
    found = {}
    for line in os.fsdecode(text).splitlines():
        number, controllers, path = line.split(":", 2)
        for name in controllers.split(",") if controllers else [_UNIFIED] if number == "0" else []:
            found[name] = path
    return found


def _roots(mounts: bytes) -> dict[str, tuple[str, str]]:
    """What of each hierarchy is mounted, and where."""
    found: dict[str, tuple[str, str]] = {}
    for line in os.fsdecode(mounts).splitlines():
        before, _, after = line.partition(" - ")
        words, rest = before.split(), after.split()
        kind, options = (rest[0], rest[-1]) if len(words) > 4 and rest else ("", "")
        names = [_UNIFIED] if kind == "cgroup2" else options.split(",") if kind == "cgroup" else []
        for name in names:
            found.setdefault(name, (words[3], words[4]))
    return found


def read_group(places: Mapping[str, str]) -> _Group:
    """What the cgroup has used; version 1 is asked first, since on a machine with both version 2 has no controllers."""
    unified = places.get(_UNIFIED, "")
    memory = places.get("memory", unified)
    events = _read(f"{memory}/memory.stat") if memory else b""
    total = b"total_" if "memory" in places else b""
    return _Group(
        cpu_ns=_number(places, "cpuacct", "cpuacct.usage") if "cpuacct" in places else _unified_cpu_ns(unified),
        faults=_value_or_none(events, total + b"pgfault"),
        major_faults=_value_or_none(events, total + b"pgmajfault"),
        read_bytes=_version_1_read_bytes(places["blkio"]) if "blkio" in places else _unified_read_bytes(unified),
        peak_bytes=_number(places, "memory", "memory.max_usage_in_bytes")
        if "memory" in places
        else _number(places, _UNIFIED, "memory.peak"),  # since Linux 5.19
    )


def _number(places: Mapping[str, str], name: str, file: str) -> int | None:
    text = _read(f"{places[name]}/{file}").strip() if name in places else b""
    return int(text) if text.isdigit() else None


def _unified_cpu_ns(folder: str) -> int | None:
    found = _value_or_none(_read(f"{folder}/cpu.stat"), b"usage_usec") if folder else None
    return None if found is None else found * _NS_PER_US


def _unified_read_bytes(folder: str) -> int | None:
    """From lines such as ``8:0 rbytes=4096 wbytes=0``: none of a device that was not used, and no file without the controller."""
    if not folder or not os.path.exists(f"{folder}/io.stat"):  # noqa: PTH110  as plain as the other looks here
        return None
    words = _read(f"{folder}/io.stat").split()
    return sum(int(word.removeprefix(b"rbytes=")) for word in words if word.startswith(b"rbytes="))


def _version_1_read_bytes(folder: str) -> int | None:
    """From lines such as ``8:0 Read 4096``."""
    lines = [line.split() for line in _read(f"{folder}/blkio.throttle.io_service_bytes_recursive").splitlines()]
    return sum(int(words[2]) for words in lines if len(words) == 3 and words[1] == b"Read") if lines else None


# --- the machine ------------------------------------------------------------------------------------------------------------


def machine() -> Machine:
    """The machine that this process runs on."""
    models = [line.partition(b":")[2].strip() for line in _read("/proc/cpuinfo").splitlines() if line.startswith(b"model name")]
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        cpu=os.fsdecode(models[0]) if models else platform.processor() or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES,
        python=platform.python_version(),
    )


class Strangers:
    """Tells how many CPUs were busy with what is not of this run, between two looks.

    From the time in which the machine's CPUs were not idle goes off what this process, its children and their descendants have used. Time
    that a hypervisor gave to others counts as theirs. Interrupts count for nobody: whose they are is not known.

    The kernel tells idle time in ticks of 10 ms, all CPUs together, so a span of 200 ms is right within 0.1 CPUs, one of 2 s within 0.01.
    Children of ours that ended under a parent that ignores SIGCHLD count as strangers, and so do containers and their engine, as they are
    no descendants: with those, look while none is at work.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._before: _Look | None = None

    def look(self) -> None:
        """Begin a span."""
        self._before = self._now()

    def since(self) -> float:
        """How many CPUs strangers used on average since the last look; -1.0 when it can't be known, or no time has passed."""
        before, now = self._before, self._now()
        if before is None or now is None or now.at_ns <= before.at_ns:
            return -1.0
        span_ns = now.at_ns - before.at_ns
        busy_ns = now.cpus * span_ns - (now.free_ns - before.free_ns)
        return max(0.0, (busy_ns - (now.own_ns - before.own_ns)) / span_ns)

    def _now(self) -> _Look | None:
        """How things stand; None when the kernel does not tell."""
        free = free_of(_read("/proc/stat"))
        return None if free is None else _Look(at_ns=self._clock.now_ns(), cpus=free[0], free_ns=free[1], own_ns=own_cpu_ns())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """How many CPUs there are, for how long they have run no program, and for how long they have run us, both in all."""

    at_ns: int
    cpus: int
    free_ns: int
    own_ns: int


def free_of(stat: bytes) -> tuple[int, int] | None:
    """How many CPUs there are by ``/proc/stat`` (proc(5)), and the nanoseconds for which they ran no program, taken together.

    That is idle time, which kernels without a regular tick measure, while the time of programs is sampled once a tick.
    """
    lines = [line.split() for line in stat.splitlines() if line.startswith(b"cpu")]
    if len(lines) < 2 or len(lines[0]) < 8:
        return None
    _user, _nice, _system, *free = map(int, lines[0][1:8])
    return len(lines) - 1, sum(free) * _TICK_NS


def own_cpu_ns() -> int:
    """CPU time of this process and all its descendants, dead or alive: nobody's goes lost when it ends and is waited for."""
    me = os.getpid()
    alive = [_cpu_ns(pid, fields) for pid in _and_descendants([me]) - {me} if (fields := _stat_of(pid))]
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time_ns() + round((ended.ru_utime + ended.ru_stime) * NS_PER_S) + sum(alive)


# --- small files ------------------------------------------------------------------------------------------------------------


def _value(text: bytes, key: bytes, *, missing: int = 0) -> int:
    found = _value_or_none(text, key)
    return missing if found is None else found


def _value_or_none(text: bytes, key: bytes) -> int | None:
    """The number after ``key`` and perhaps a colon at the beginning of a line."""
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0].rstrip(b":") == key:
            return int(words[1])
    return None


def _read(path: str) -> bytes:
    """All of a small file of the kernel; empty when it is gone or not for us. A process may end between open and read."""
    parts = []
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        while part := os.read(fd, _READ_BYTES):
            parts.append(part)
    except OSError:
        return b""
    finally:
        os.close(fd)
    return b"".join(parts)
