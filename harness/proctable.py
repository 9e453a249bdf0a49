"""What the kernel tells of processes: who runs, who is whose child, who carries which mark.

One look reads ``/proc/<pid>/stat`` of every process, a few microseconds each. A process is named by its pid *and* its start time, since
pids are used again; a signal goes through a pidfd whose start time was checked, so it can't hit a stranger. `family` finds all that
belongs together by every trace there is, as no single one is enough:

* the environment that a process was started with (lost when an app overwrites it to change its title),
* the session (left by a daemon),
* the parent (lost when it ends before its child),
* having been seen as a member before,
* its *brand*, a number in a limit that the kernel keeps and no longer enforces: ``RLIMIT_LOCKS``, "early Linux 2.4 only" (setrlimit(2)).

A daemon can shed the first three within a millisecond. The brand goes with it through fork, setsid and exec, into an empty environment
and into the next life of its parent; nothing but a call that names this very limit takes it off. It tells a daemon that an app left from
what the program around Jetable started itself, though both are children of this process and may look alike in all else.

While an `Adoption` is open, who loses its parent becomes a child of this process. `Births` shows each new process soon enough that little
can happen to it unseen, and costs next to nothing while nothing is born.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import resource
import signal
import threading
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from harness.errors import MachineError

_STAT_BYTES: Final = 2048
_STATUS_BYTES: Final = 4096
_MASKS: Final = re.compile(rb"^Sig(Cgt|Ign):\s*([0-9a-f]+)", re.MULTILINE)
_ENVIRON_BYTES: Final = 1 << 17
_COMMAND_CHARS: Final = 200
_LOADAVG_BYTES: Final = 256
_MOST_BIRTHS: Final = 500
"""With more than so many new numbers, a look at all processes is no dearer."""

_RLIMIT_LOCKS: Final = 10
"""As ``asm-generic/resource.h`` numbers it; the standard library has no name for it."""

_LIMITS_BYTES: Final = 4096
_LOCKS: Final = b"Max file locks"

_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_GET_CHILD_SUBREAPER: Final = 37

CpuTimes = dict[int, tuple[int, int]]
"""By thread: nanoseconds for which it ran, and for which it was ready to run and waited for a CPU (``/proc/<pid>/schedstat``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proc:
    """One process at one look.

    ``started`` is in clock ticks since boot, field 22 of ``/proc/<pid>/stat`` (proc(5)); ``name`` is the kernel's short one.
    """

    pid: int
    parent: int
    group: int
    session: int
    state: str
    started: int
    name: str

    @property
    def alive(self) -> bool:
        """It can still run: neither a zombie nor dead."""
        return self.state not in "ZXx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All processes at one look. Environments and brands are read when somebody asks for them, and once."""

    procs: Mapping[int, Proc]
    _environments: dict[int, bytes] = field(default_factory=dict)
    _brands: dict[int, int] = field(default_factory=dict)

    def environment(self, pid: int) -> bytes:
        """The environment that ``pid`` was started with, each entry between two NUL bytes; empty where it can't be read."""
        found = self._environments.get(pid)
        if found is None:
            found = self._environments[pid] = b"\0" + _read(f"/proc/{pid}/environ", _ENVIRON_BYTES)
        return found

    def brand(self, pid: int) -> int:
        """The brand of ``pid``, see `brand_of`."""
        found = self._brands.get(pid)
        if found is None:
            found = self._brands[pid] = brand_of(pid)
        return found

    def same(self, pid: int, started: int) -> Proc | None:
        """The process with this pid and start time, if it is still there."""
        proc = self.procs.get(pid)
        return proc if proc is not None and proc.started == started else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinship:
    """By what a process is known to belong.

    Attributes:
        marks: Byte strings that are all in its environment (see `Table.environment`); none: no mark counts.
        leaders: Start time of each session leader whose whole session belongs.
        known: Start time of each process that was seen to belong before.
        brands: Whoever carries one of these belongs.
        since: Nothing that started before this belongs.
    """

    marks: tuple[bytes, ...] = ()
    leaders: Mapping[int, int] = field(default_factory=dict)
    known: Mapping[int, int] = field(default_factory=dict)
    brands: range = range(0)
    since: int = 0


def scan() -> Table:
    """Look at all processes of this machine.

    Raises:
        MachineError: There is no ``/proc``.
    """
    try:
        names = os.listdir("/proc")  # noqa: PTH208  a Path for each process would take longer than the look
    except OSError as error:
        raise MachineError("can't see processes: /proc is not mounted; Jetable's process engine needs Linux") from error
    procs = {}
    for name in names:
        if name.isdigit() and (proc := look(int(name))) is not None:
            procs[proc.pid] = proc
    return Table(procs=procs)


def look(pid: int) -> Proc | None:
    """Look at one process; None when there is none."""
    stat = _read(f"/proc/{pid}/stat", _STAT_BYTES)
    if not stat:
        return None
    opening, closing = stat.index(b"("), stat.rindex(b")")  # the name between them may itself hold spaces and parentheses
    fields = stat[closing + 2 :].split(None, 20)
    return Proc(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        state=fields[0].decode(),
        started=int(fields[19]),
        name=os.fsdecode(stat[opening + 1 : closing]),
    )


def family(table: Table, kin: Kinship, never: Collection[int] = ()) -> dict[int, Proc]:
    """All processes that belong by ``kin``, and their children and children's children; zombies included, ``never`` left out."""
    candidates = [proc for proc in table.procs.values() if proc.started >= kin.since and proc.pid not in never]
    children: dict[int, list[Proc]] = {}
    for proc in candidates:
        children.setdefault(proc.parent, []).append(proc)
    members: dict[int, Proc] = {}
    fresh = [proc for proc in candidates if _belongs(table, kin, proc)]
    while fresh:
        proc = fresh.pop()
        if proc.pid not in members:
            members[proc.pid] = proc
            fresh += children.get(proc.pid, [])
    return members


def _belongs(table: Table, kin: Kinship, proc: Proc) -> bool:
    if proc.started in (kin.leaders.get(proc.pid), kin.known.get(proc.pid)):
        return True
    if proc.session in kin.leaders:
        leader = table.procs.get(proc.session)
        if leader is None or leader.started == kin.leaders[proc.session]:
            return True
    if kin.brands and table.brand(proc.pid) in kin.brands:
        return True
    if not kin.marks:
        return False
    environment = table.environment(proc.pid)
    return all(mark in environment for mark in kin.marks)


def brand(proc: Proc, number: int) -> bool:
    """Brand a process with ``number``, and so all that it will start; False when it is gone, not ours to brand, or limited below that."""
    try:
        soft, hard = resource.prlimit(proc.pid, _RLIMIT_LOCKS)
        if hard != resource.RLIM_INFINITY and hard < number:
            return False
        resource.prlimit(proc.pid, _RLIMIT_LOCKS, (number, hard))
        now = look(proc.pid)
        if now is None or now.started != proc.started:  # its pid was used again in between, by somebody who gets back what it had
            resource.prlimit(proc.pid, _RLIMIT_LOCKS, (soft, hard))
            return False
    except (OSError, ValueError):
        return False
    return True


def brand_of(pid: int) -> int:
    """The brand of a process, zombies included; 0 for none, or when there is no such process."""
    _, found, rest = _read(f"/proc/{pid}/limits", _LIMITS_BYTES).partition(_LOCKS)
    soft = rest.split(None, 1)[0] if found else b""
    return int(soft) if soft.isdigit() else 0


def send(proc: Proc, signum: int) -> bool:
    """Send a signal to exactly this process; False when it is gone or not ours to signal."""
    try:
        pidfd = os.pidfd_open(proc.pid)
    except OSError:
        return False
    try:
        now = look(proc.pid)
        if now is None or now.started != proc.started or not now.alive:
            return False
        signal.pidfd_send_signal(pidfd, signum)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(pidfd)
    return True


def kill(procs: Iterable[Proc], table: Table) -> None:
    """SIGKILL all of ``procs``.

    A process group of which every member is meant goes in one system call: the kernel lets no fork slip through that, while a process
    that forks and ends faster than the table can be read is never caught one by one.
    """
    meant = {proc.pid: proc for proc in procs}
    groups: dict[int, bool] = {}
    for proc in table.procs.values():
        if proc.alive:
            groups[proc.group] = groups.get(proc.group, True) and proc.pid in meant
    for group, whole in groups.items():
        if whole and group > 1:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
    for proc in meant.values():
        send(proc, signal.SIGKILL)


def command_line(proc: Proc) -> str:
    """The command of a process as one line, or the kernel's short name in brackets."""
    words = _read(f"/proc/{proc.pid}/cmdline", _STAT_BYTES).replace(b"\0", b" ").strip()
    return os.fsdecode(words)[:_COMMAND_CHARS] or f"[{proc.name}]"


def disposition(pid: int, signum: int) -> str:
    """What a process does on a signal (proc(5), signal(7)): ``caught``, ``ignored`` or ``default``; empty when it can't be known."""
    bit = 1 << (signum - 1)
    masks = {name: int(value, 16) for name, value in _MASKS.findall(_read(f"/proc/{pid}/status", _STATUS_BYTES))} if pid else {}
    if not masks:
        return ""
    return "caught" if masks.get(b"Cgt", 0) & bit else "ignored" if masks.get(b"Ign", 0) & bit else "default"


def cpu_of(pids: Iterable[int]) -> CpuTimes:
    """What each thread of these processes has had of the CPUs; nothing of those that are gone, or where the kernel keeps no books."""
    times: CpuTimes = {}
    for pid in pids:
        with suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  as fast as the other looks here
                ran, waited, *_ = [*map(int, _read(f"/proc/{pid}/task/{name}/schedstat", _STAT_BYTES).split()), 0, 0]
                times[int(name)] = (ran, waited)
    return times


def ancestors(table: Table, pid: int) -> set[int]:
    """``pid``, its parent, and so on up to the first process."""
    found: set[int] = set()
    while pid and pid not in found:
        found.add(pid)
        proc = table.procs.get(pid)
        pid = proc.parent if proc is not None else 0
    return found


def is_thread(pid: int) -> bool:
    """Whether this number is that of a thread other than the first of its process: ``/proc`` shows them alike."""
    try:
        os.close(os.pidfd_open(pid))
    except OSError as error:
        return error.errno in (errno.EINVAL, errno.ENOENT)  # the latter since Linux 6.9
    return False


class Births:
    """Shows the processes that were born since the last look, of the whole machine, at the price of one small read.

    The kernel gives numbers in order and tells the last one it gave, in ``/proc/loadavg`` (proc(5)). Threads get numbers, too.
    """

    def __init__(self) -> None:
        self._seen = _newest_pid()
        self._newest = self._seen

    def look(self) -> list[Proc] | None:
        """The new processes and threads that are still there, oldest first, until `done` is called; None: too many, look at all."""
        self._newest = _newest_pid()
        if not 0 <= self._newest - self._seen <= _MOST_BIRTHS:  # below zero: the numbers have begun anew
            return None
        return [proc for pid in range(self._seen + 1, self._newest + 1) if (proc := look(pid)) is not None]

    def done(self) -> None:
        """What the last look showed is dealt with."""
        self._seen = self._newest


def _newest_pid() -> int:
    words = _read("/proc/loadavg", _LOADAVG_BYTES).split()
    return int(words[-1]) if words else 0


def namespace(pid: int) -> str:
    """The name of the pid namespace of a process; empty when we may not know. Pids mean something within one namespace only."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115  Path.readlink makes a path of what is none
    except OSError:
        return ""


class Adoption:
    """While one of these is open, descendants of this process that lose their parent become its children (prctl(2)).

    So a double-forked daemon stays in the family tree, and its end can be noted. The state before is restored by the last one to close.
    """

    _lock: Final = threading.Lock()
    _open = 0
    _before = 0

    def __init__(self) -> None:
        self._closed = False
        with Adoption._lock:
            if Adoption._open == 0:
                Adoption._before = _subreaper()
                _set_subreaper(1)
            Adoption._open += 1

    def close(self) -> None:
        """Give up this claim; a second call does nothing."""
        with Adoption._lock:
            if self._closed:
                return
            self._closed = True
            Adoption._open -= 1
            if Adoption._open == 0:
                _set_subreaper(Adoption._before)


def _subreaper() -> int:
    value = ctypes.c_int(0)
    _prctl(_PR_GET_CHILD_SUBREAPER, ctypes.addressof(value))
    return value.value


def _set_subreaper(value: int) -> None:
    _prctl(_PR_SET_CHILD_SUBREAPER, value)


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(ctypes.c_int(option), ctypes.c_ulong(argument), zero, zero, zero) != 0:
        number = ctypes.get_errno()
        raise MachineError(f"prctl({option}) is not allowed here: {os.strerror(number)}; the process engine needs Linux 3.4 or later")


def _read(path: str, size: int) -> bytes:
    """All of a small file of ``/proc``; empty when it is gone or not for us. A process may end between open and read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        data = part = os.read(fd, size)
        while len(part) == size:
            part = os.read(fd, size)
            data += part
    except OSError:
        return b""
    finally:
        os.close(fd)
    return data
