"""The cleanup: finds all that carries a run's mark, and removes it.

It knows a run by its mark alone (`harness.marks`), so it works when the harness is dead, and from any process. What can be left of a run
is listed in `CLEANERS`, one line a kind, in the order of removal: processes before the folder that they write to. *Gone* counts as done,
whoever removed it, and everything is bounded in time.

The watchdog is this module as a process of its own. It holds the reading end of a pipe whose writing end only the harness has:

1. the harness ends in order, having cleaned up: it writes a farewell, and the watchdog ends;
2. the harness dies, however that happens: the kernel closes the pipe, and the watchdog removes the run.

A child between fork and exec holds the pipe, too. So its end also tells that no process is about to be born unmarked. A watchdog that
has not even begun when the harness dies finds the pipe closed already.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from harness import marks, proctable
from harness.clock import NS_PER_S, Clock, MonotonicClock
from harness.errors import MachineError
from harness.marks import make_scratch

__all__ = ["CLEANERS", "Removed", "StaleRun", "Watchdog", "clean_run", "clean_stale", "make_scratch", "start_watchdog"]

WITHIN_S: Final = 10.0
"""No removal of one run takes longer."""

_LOOK_AGAIN_S: Final = 0.05
_AFTER_KILL_S: Final = 0.005
_UNOWNED_FOR_S: Final = 1.0
_FAREWELL: Final = b"."
_FAREWELL_S: Final = 5.0

_BOOT: Final = "import sys; sys.path.append(sys.argv[1]); from harness.cleanup import watch; watch(sys.argv[2])"
"""How the watchdog begins: nothing but the standard library and this package, which comes last, so that it shadows nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What one kind of thing is left of a run: who owns it (nobody: it does not say) and its things in words."""

    owners: frozenset[str]
    things: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one cleaner removed of a run, and what it could not, in words."""

    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What was removed of a run, and what is still there, each in words: ``process 12 sleep 60``."""

    run_id: str
    removed: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleRun:
    """What is left of a run whose harness is gone; ``left`` is what could not be removed."""

    run_id: str
    things: tuple[str, ...]
    left: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{', '.join(self.things)} of run {self.run_id}"
        return f"{text}; still there: {', '.join(self.left)}" if self.left else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Which run to remove.

    Attributes:
        run_id: The run.
        deadline_ns: The removal returns then at the latest.
        clock: What ``deadline_ns`` is read from.
        fresh: Its harness lives, or died a moment ago, so no pid of it is used again by a stranger.
    """

    run_id: str
    deadline_ns: int
    clock: Clock
    fresh: bool

    @property
    def over(self) -> bool:
        """The deadline has passed."""
        return self.clock.now_ns() >= self.deadline_ns


class Cleaner(Protocol):
    """One kind of things that a run makes."""

    def traces(self) -> Mapping[str, Trace]:
        """What is there now of every run, living ones included, by run id."""
        ...

    def remove(self, order: Order) -> Swept:
        """Remove everything of this kind of a run."""
        ...


class Processes:
    """Processes with the mark, those that the harness listed, and their sessions and descendants.

    Never this process or one that it descends from.
    """

    def traces(self) -> Mapping[str, Trace]:
        """The marked processes of this pid namespace; in another one the pid of an owner means another process."""
        table = proctable.scan()
        never = proctable.ancestors(table, os.getpid())
        here = proctable.namespace(os.getpid())
        found: dict[str, Trace] = {}
        for proc in table.procs.values():
            environment = table.environment(proc.pid)
            run_id, owner = marks.value_of(environment, marks.RUN), marks.value_of(environment, marks.OWNER)
            if run_id and owner and proc.alive and proc.pid not in never and proctable.namespace(proc.pid) == here:
                before = found.get(run_id, Trace(owners=frozenset(), things=()))
                found[run_id] = Trace(owners=before.owners | {owner}, things=(*before.things, _process_text(proc)))
        return found

    def remove(self, order: Order) -> Swept:
        """SIGKILL until two looks in a row find nothing."""
        listed = marks.recorded(marks.scratch_folder(order.run_id))
        known = dict(listed)
        texts: dict[tuple[int, int], str] = {}
        found: list[proctable.Proc] = []
        quiet = 0
        while quiet < 2 and not order.over:
            table = proctable.scan()
            found = self._of_run(table, order, listed, known)
            for proc in found:
                known[proc.pid] = proc.started
                texts.setdefault((proc.pid, proc.started), _process_text(proc))
            proctable.kill(found, table)
            quiet = 0 if found else quiet + 1
            if quiet < 2:
                order.clock.sleep(_AFTER_KILL_S if found else _LOOK_AGAIN_S)
        left = {(proc.pid, proc.started) for proc in found}
        return Swept(
            removed=tuple(text for key, text in texts.items() if key not in left),
            left=tuple(text for key, text in texts.items() if key in left),
        )

    def _of_run(self, table: proctable.Table, order: Order, listed: Mapping[int, int], known: Mapping[int, int]) -> list[proctable.Proc]:
        """All living processes of a run. Of an old run, a session whose leader is gone may be a stranger's: its number is free for use."""
        leaders = {pid: started for pid, started in listed.items() if order.fresh or table.same(pid, started)}
        kin = proctable.Kinship(marks=(marks.needle(marks.RUN, order.run_id),), leaders=leaders, known=known)
        family = proctable.family(table, kin, never=proctable.ancestors(table, os.getpid()))
        return [proc for proc in family.values() if proc.alive]


class ScratchFolders:
    """The folders of `harness.marks.make_scratch`, where they are ours."""

    def traces(self) -> Mapping[str, Trace]:
        """The folders that were made in this pid namespace. One whose owner is not written yet has none."""
        here, boot = proctable.namespace(os.getpid()), marks.boot_id()
        found = {}
        for folder in marks.scratch_root().glob(f"{marks.FOLDER_PREFIX}*"):
            made_by = marks.scratch_owner(folder)
            if not _is_ours(folder) or (made_by is not None and made_by.boot == boot and made_by.namespace != here):
                continue
            owners = frozenset() if made_by is None else frozenset({made_by.owner if made_by.boot == boot else "of an earlier boot"})
            found[folder.name.removeprefix(marks.FOLDER_PREFIX)] = Trace(owners=owners, things=(f"folder {folder}",))
        return found

    def remove(self, order: Order) -> Swept:
        """Remove the folder with all that is in it, even what is write-protected."""
        folder = marks.scratch_folder(order.run_id)
        if not _is_ours(folder):
            return Swept()
        text, why = f"folder {folder}", ""
        while True:
            try:
                shutil.rmtree(folder)
            except FileNotFoundError:  # somebody else removes it, too
                why = "its content changes"
            except OSError as error:
                why = error.strerror or type(error).__name__
                _make_writable(folder)
            if not folder.exists():
                return Swept(removed=(text,))
            if order.over:
                return Swept(left=(f"{text} ({why})",))
            order.clock.sleep(_AFTER_KILL_S)


CLEANERS: Final[dict[str, Cleaner]] = {
    "processes": Processes(),
    "scratch folders": ScratchFolders(),
}
"""All that can be left of a run, in the order of removal."""


def clean_run(run_id: str) -> Removed:
    """Remove everything that carries the mark of a run whose harness lives or died a moment ago.

    Nothing is raised for what could not be removed; `Removed.left` says it.

    Raises:
        UsageError: ``run_id`` can't be one.
    """
    return _remove(run_id, fresh=True)


def _remove(run_id: str, *, fresh: bool) -> Removed:
    marks.scratch_folder(run_id)
    clock = MonotonicClock()
    order = Order(run_id=run_id, deadline_ns=clock.now_ns() + round(WITHIN_S * NS_PER_S), clock=clock, fresh=fresh)
    removed: list[str] = []
    left: list[str] = []
    for kind, cleaner in CLEANERS.items():
        try:
            swept = cleaner.remove(order)
        except Exception as error:  # noqa: BLE001  the other kinds must be removed all the same; it is handed on
            left.append(f"{kind}: {type(error).__name__}: {error}")
            continue
        removed += swept.removed
        left += swept.left
    return Removed(run_id=run_id, removed=tuple(removed), left=tuple(left))


def clean_stale(older_than_s: float = 0.0, *, dry_run: bool = False) -> list[StaleRun]:
    """Remove what is left of every run whose owner is gone and was started more than ``older_than_s`` ago; living runs are not touched.

    Returns:
        What was removed, or with ``dry_run`` would be.
    """
    stale = []
    for run_id, trace in sorted(_dead_runs().items()):
        if min((marks.owner_age_s(owner) for owner in trace.owners), default=float("inf")) < older_than_s:
            continue
        left = () if dry_run else _remove(run_id, fresh=False).left
        stale.append(StaleRun(run_id=run_id, things=trace.things, left=left))
    return stale


def _dead_runs() -> dict[str, Trace]:
    """Runs of which no owner lives. A run without any may just be writing it down, so it is looked at twice."""
    dead = {run_id: trace for run_id, trace in _all_traces().items() if not any(map(marks.owner_alive, trace.owners))}
    unowned = [run_id for run_id, trace in dead.items() if not trace.owners]
    if not unowned:
        return dead
    MonotonicClock().sleep(_UNOWNED_FOR_S)
    again = _all_traces()
    for run_id in unowned:
        if run_id not in again or any(map(marks.owner_alive, again[run_id].owners)):
            del dead[run_id]
    return dead


def _all_traces() -> dict[str, Trace]:
    merged: dict[str, Trace] = {}
    for cleaner in CLEANERS.values():
        for run_id, trace in cleaner.traces().items():
            before = merged.get(run_id, Trace(owners=frozenset(), things=()))
            merged[run_id] = Trace(owners=before.owners | trace.owners, things=before.things + trace.things)
    return merged


class Watchdog:
    """The process that removes a run when the harness dies. It lives until it is dismissed."""

    def __init__(self, process: subprocess.Popen[bytes], farewell_fd: int) -> None:
        self._process = process
        self._farewell_fd = farewell_fd

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def dismiss(self) -> bool:
        """The run is cleaned up: let the watchdog go and wait for its end. False when it had died before; a second call does nothing."""
        if self._farewell_fd >= 0:
            with suppress(BrokenPipeError):
                os.write(self._farewell_fd, _FAREWELL)
            os.close(self._farewell_fd)
            self._farewell_fd = -1
            try:
                self._process.wait(_FAREWELL_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return self._process.returncode == 0


def start_watchdog(run_id: str) -> Watchdog:
    """Start the watchdog of a run, before anything else of the run is made; it is ready as soon as this returns.

    Raises:
        UsageError: ``run_id`` can't be one.
        MachineError: The machine has no room for another process.
    """
    marks.scratch_folder(run_id)
    package = Path(__file__).absolute().parent.parent
    environment = marks.unmarked_environment()
    reader, writer = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOT, str(package), run_id],
            env=environment,
            cwd="/",
            stdin=reader,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        os.close(writer)
        raise MachineError(f"can't start the watchdog: {error.strerror}; see ulimit -a for this machine's limits") from error
    finally:
        os.close(reader)
    return Watchdog(process, writer)


def watch(run_id: str) -> None:
    """Be the watchdog: wait for the end of standard input, and remove the run unless a farewell came first."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.read(0, 1) == b"":
        clean_run(run_id)


def _process_text(proc: proctable.Proc) -> str:
    return f"process {proc.pid} {proctable.command_line(proc)}"


def _is_ours(folder: Path) -> bool:
    """Whether it is a folder, no link to one, that belongs to this user: in a shared /tmp anybody can make the name."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return folder.is_dir() and not folder.is_symlink() and status.st_uid == os.geteuid()


def _make_writable(folder: Path) -> None:
    """Give this user back what an app took from the folders that it made."""
    for path, _, _ in os.walk(folder, onerror=None):
        with suppress(OSError):
            Path(path).chmod(0o700)
