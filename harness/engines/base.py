"""What an engine is: the place where replicas live.

An engine starts replicas, sends them signals and reports facts; it judges nothing and knows nothing of scenarios, load or checks. No
code outside an engine's own file asks which engine it is. What only some engines can do is a protocol of its own, and a scenario that
needs one that the engine lacks is refused before anything starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from harness.clock import Clock
from harness.history import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSpec:
    """What to start.

    Attributes:
        name: The replica's name, unique in the run: ``web.1``.
        process: Its process type: ``web``.
        argv: The command, with the placeholders ``{python} {port} {scratch} {replica}`` still in it.
        environment: Added to the engine's own, placeholders still in it.
        working_dir: Where it runs.
        port: The port to use again (a restart in place), or 0 for a free one.
    """

    name: str
    process: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    working_dir: Path
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A replica that was started. ``at_ns`` is the instant before it was asked for, ``running_ns`` when its command ran.

    ``pid`` is its main process as seen from here, 0 when it is not visible.
    """

    name: str
    process: str
    host: str
    port: int
    pid: int
    at_ns: int
    running_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A signal was sent between ``at_ns`` and ``until_ns``; ``delivered`` is false when its main process was already gone."""

    at_ns: int
    until_ns: int
    delivered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """A replica's main process ended at ``at_ns`` with ``status`` (128+N for signal N, -1 when it can't be known)."""

    at_ns: int
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Whether a replica holds its port open, and how many connections wait in its accept queue.

    ``taken_by`` names the program that listens there when that is not the replica: ``nginx (pid 12)``; empty otherwise.
    """

    open: bool
    backlog: int = 0
    taken_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineContext:
    """What an engine gets from the run.

    Attributes:
        run_id: The mark that everything it makes must carry.
        clock: The run's clock.
        scratch: A folder for temporary files of the replicas; it goes with the run.
        logs: A folder for ``<replica>.log``.
        on_exit: Called from any thread, once for each replica, as soon as its main process has ended.
    """

    run_id: str
    clock: Clock
    scratch: Path
    logs: Path
    on_exit: Callable[[Replica, Exit], None]


class EngineClass(Protocol):
    """What makes engines of one kind: a class, mostly."""

    name: str

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
    """An engine that knows by itself whether a replica is healthy, so that nobody needs to ask the replica."""

    def healthy(self, replica: Replica) -> bool:
        """Whether a health probe would succeed now."""
        ...
