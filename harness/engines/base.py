"""What an engine is: the place where replicas live.

An engine starts replicas, sends them signals and reports facts; it judges nothing and knows nothing of scenarios, load or checks. No
code outside an engine's own file asks which engine it is. What only some engines can do is a protocol of its own, and a scenario that
needs one that the engine lacks is refused before anything starts.
"""

from __future__ import annotations

import signal as signals
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from harness.clock import Clock
from harness.errors import MachineError, UsageError
from harness.history import Event, Process
from harness.keptlog import KeptLog
from harness.proctable import CpuTimes
from harness.scenario import ProcessType


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What runs in a container, and with which variables, where that is another thing than on this machine."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSpec:
    """What to start.

    Attributes:
        name: The replica's name, unique in the run: ``web.1``.
        process: Its process type: ``web``.
        argv: The command, with the placeholders ``{python} {port} {scratch} {replica}`` still in it; empty: the image's own.
        environment: Added to the engine's own, placeholders still in it.
        working_dir: Where it runs, on this machine.
        port: The port to use again (a restart in place), or 0 for a free one.
        host: The address to use again, with ``port``; empty for any.
        declared: All that the scenario says of its process type, for an engine to which a command is not enough.
        inside: Stands for ``argv`` and ``environment`` where replicas are containers; None: the same.
    """

    name: str
    process: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    working_dir: Path
    port: int = 0
    host: str = ""
    declared: ProcessType | None = None
    inside: Inside | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A replica that was started. ``at_ns`` is the instant before it was asked for, ``running_ns`` when its command ran.

    ``pid`` is its main process as seen from here, 0 when it is not visible. An engine with a runtime between itself and the command
    also tells ``created_ns``, when the runtime had made the replica, and ``started_ns``, when its first process existed; 0 where there
    is no such thing. ``command`` is what really runs and ``stop_signal`` what its image asks for; empty: as the scenario says.
    ``patience_s``: with a health check of its own it may need so long until it is known to be healthy, however quick it is.
    ``refuses`` is false where something in between takes every connection, so that nobody is refused but reset. ``vanishes``: its address
    goes with it, so that a connection there would wait for an answer that nobody gives.
    """

    name: str
    process: str
    host: str
    port: int
    pid: int
    at_ns: int
    running_ns: int
    created_ns: int = 0
    started_ns: int = 0
    command: str = ""
    stop_signal: str = ""
    patience_s: float = 0.0
    vanishes: bool = False
    refuses: bool = True

    @property
    def began_ns(self) -> int:
        """When the app itself began: what a runtime takes to make its container is not the app's."""
        return (self.created_ns and self.running_ns) or self.at_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A signal was sent between ``at_ns`` and ``until_ns``; ``delivered`` is false when its main process was already gone."""

    at_ns: int
    until_ns: int
    delivered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """A replica's main process ended at ``at_ns`` with ``status`` (128+N for signal N, -1 when it can't be known).

    ``oom``: the kernel killed it, or one of its processes, for want of memory. ``lost``: the engine itself went away, and nobody can tell
    whether the replica would have ended.
    """

    at_ns: int
    status: int
    oom: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Whether a replica holds its port open, and how many connections wait in its accept queue.

    ``taken_by`` names the program that listens there when that is not the replica: ``nginx (pid 12)``; empty otherwise. ``inward``: the
    replica listens where only itself can reach it, so that the port is not open to anybody. ``since_ns``: it was open then already, 0 when
    that is not known.
    """

    open: bool
    backlog: int = 0
    taken_by: str = ""
    inward: bool = False
    since_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineContext:
    """What an engine gets from the run.

    Attributes:
        run_id: The mark that everything it makes must carry.
        clock: The run's clock.
        scratch: A folder for temporary files of the replicas; it goes with the run.
        logs: A folder for ``<replica>.log``.
        on_exit: Called from any thread, once for each replica, as soon as its main process has ended.
        record: Writes a fact about a replica that only this engine can know to the history; from any thread.
        note: Says a line to the person who watches, and keeps it for the reports.
        tell: Shows a line of what is done right now, such as the output of a build.
        hear: Gets what a replica writes, by its name, as it comes; from any thread, and it must be quick.
    """

    run_id: str
    clock: Clock
    scratch: Path
    logs: Path
    on_exit: Callable[[Replica, Exit], None]
    record: Callable[[Event], None] = lambda _event: None
    note: Callable[[str], None] = lambda _text: None
    tell: Callable[[str], None] = lambda _text: None
    hear: Callable[[str, bytes], None] = lambda _replica, _data: None


def open_log(context: EngineContext, spec: ReplicaSpec) -> KeptLog:
    """The log of a replica that is about to be started; raises `MachineError` when the folder takes no file."""
    path, life = context.logs / f"{spec.name}.log", 1
    while path.exists():  # a service that is started again keeps the words of its lives before
        life += 1
        path = context.logs / f"{spec.name}.{life}.log"
    try:
        return KeptLog(path, hear=partial(context.hear, spec.name))
    except OSError as error:
        raise MachineError(f"can't write {path}: {error.strerror}; name another folder with --reports") from error


def signal_number(name: str) -> signals.Signals:
    """The signal that is called ``name``; raises `UsageError` when this machine has none."""
    try:
        return signals.Signals[name]
    except KeyError:
        raise UsageError(f"{name} is no signal of this machine; write its full name, such as SIGTERM") from None


class EngineClass(Protocol):
    """What makes engines of one kind: a class, mostly.

    ``contained``: replicas have an address of their own, so 127.0.0.1 is themselves, and see no file of this machine that is not mounted.
    """

    name: str
    contained: bool

    def __call__(self, context: EngineContext) -> Engine:
        """An engine for one run."""
        ...

    def check(self, spec: ReplicaSpec) -> None:
        """Look, before anything starts, whether such a replica could be started at all.

        Raises:
            UsageError: Its command does not exist or may not be executed.
        """
        ...


class Engine(Protocol):
    """Starts, signals and observes replicas. All methods are safe from several threads."""

    name: str

    def start(self, spec: ReplicaSpec) -> Replica:
        """Start a replica and return as soon as its command runs.

        Raises:
            UsageError: The command does not exist or may not be executed.
            MachineError: The machine gave no port, process or memory.
        """
        ...

    def signal(self, replica: Replica, signal: str, *, everything: bool = False) -> Sent:
        """Send ``signal`` (``SIGTERM``) to the main process, or to the replica with all its descendants."""
        ...

    def wait_exit(self, replica: Replica, timeout_s: float) -> Exit | None:
        """Wait until the main process has ended, at most ``timeout_s``; 0 asks without waiting."""
        ...

    def descendants(self, replica: Replica) -> tuple[Process, ...]:
        """Processes of the replica other than its main process that are alive now, double-forked ones included."""
        ...

    def listening(self, replica: Replica) -> Listening | None:
        """Whether the replica's port is open; None when this engine can't see it without connecting."""
        ...

    def log_tail(self, replica: Replica, lines: int) -> tuple[str, ...]:
        """The last lines that the replica wrote to stdout or stderr."""
        ...

    def log_matches(self, replica: Replica, pattern: str) -> bool:
        """Whether any line that the replica wrote so far matches the regular expression ``pattern``."""
        ...

    def close(self) -> None:
        """Kill what still runs and free everything; a second call does nothing."""
        ...


@runtime_checkable
class TellsHealth(Protocol):
    """An engine that can know by itself whether a replica is healthy, so that nobody needs to ask the replica."""

    def healthy(self, replica: Replica) -> bool | None:
        """Whether a health probe would succeed now; None when the replica must be asked."""
        ...

    def why_not_healthy(self, replica: Replica) -> str:
        """Why it was not, as far as that is known; empty when it is not."""
        ...


@runtime_checkable
class TellsCpu(Protocol):
    """An engine that can see what the machine gave a replica of its CPUs."""

    def cpu(self, replica: Replica) -> CpuTimes:
        """What each thread of its living processes has had so far; empty where nobody knows, or the scenario itself limits it."""
        ...


@runtime_checkable
class Prepares(Protocol):
    """An engine that has something to do before the first start, such as building images."""

    def prepare(self, specs: Sequence[ReplicaSpec]) -> None:
        """Get everything ready for replicas such as these, one of each process type.

        Raises:
            KeyOfScenarioError: What the scenario asks for can't be had.
            MachineError: The machine can't do it.
        """
        ...


@runtime_checkable
class FreshImages(Protocol):
    """An engine that starts replicas from images, and can take an image in anew."""

    def freshen(self, spec: ReplicaSpec) -> None:
        """From now on start replicas such as this one from an image that the engine has just taken in, with nothing left of it before.

        Raises:
            MachineError: A replica still runs from what has to be removed, or the machine can't do it.
        """
        ...


@runtime_checkable
class CanBeLost(Protocol):
    """An engine that can go away while replicas run."""

    def lost(self) -> str:
        """Empty while it is there, else a sentence that says what happened to it, with the cure."""
        ...


@runtime_checkable
class Pauses(Protocol):
    """An engine that can stop a replica's clock: nothing of it runs between `pause` and `resume`."""

    def pause(self, replica: Replica) -> Sent:
        """Freeze all of its processes; ``delivered`` is false when it was gone."""
        ...

    def resume(self, replica: Replica) -> Sent:
        """Let them go on; one that is gone, or not paused, is no error."""
        ...


@runtime_checkable
class CutsNetwork(Protocol):
    """An engine that can take a replica off the network and put it back at the same address."""

    def cut(self, replica: Replica) -> Sent:
        """Take it off; ``delivered`` is false when it was gone."""
        ...

    def reconnect(self, replica: Replica) -> Sent:
        """Put it back; one that is gone, or not cut off, is no error."""
        ...


@runtime_checkable
class LimitsMemory(Protocol):
    """An engine that can change how much memory a replica may have while it runs."""

    def squeeze(self, replica: Replica, limit_bytes: int) -> Sent:
        """Lower its limit, which may make the kernel kill processes of it; ``delivered`` is false when it was gone."""
        ...

    def release(self, replica: Replica) -> Sent:
        """Give it back the limit that it was started with; one that is gone is no error."""
        ...
