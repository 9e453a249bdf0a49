"""What a backing service is: how one is started, where it is found, and what it tells of its queues.

A *kind* of service says how it is started as a process of this machine and as a container; the engine of the run starts it as it starts
a replica, so its log, its end, its signals and its cleanup are the engine's business and no kind starts anything by itself. Everything
else is a conversation with a service at a URL: a `Client` is one connection for one thread. A client never retries in silence, and every
call is bounded by ``TIMEOUT_S``.

What a call may raise is part of its meaning: `PutRefusedError` says that the job surely is not in the queue, `ServiceError` that nobody
knows, or that the question has no answer now. The service being away is an everyday thing here and never ends a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from harness.errors import JetableError, UsageError

TIMEOUT_S: Final = 5.0
"""No call of a client takes longer."""


class ServiceError(JetableError):
    """A service did not do what it was asked, or can't be reached; the message says why in one line, without passwords."""


class PutRefusedError(ServiceError):
    """The service said no, or was never reached: the job is surely not in the queue."""


@contextmanager
def from_extra(extra: str, what: str) -> Iterator[None]:
    """Around the import of a package that an extra of Jetable brings; ``what`` says who needs which.

    Raises:
        UsageError: It is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise UsageError(f"{what}: pip install 'jetable[{extra}]'") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a service of one kind is started.

    Attributes:
        argv: The command on this machine, with ``{port}`` and ``{folder}`` (its own empty folder, an absolute path) in it.
        environment: Variables for it, with the same placeholders.
        prepare: Commands that are run in the folder once before its first start, such as ``initdb``; the same placeholders.
        package: The Debian package that has the program of ``argv``.
        image: The image that a container is started from.
        command: What the container runs; empty for the image's own.
        image_environment: Variables for the container.
        volume: The path in the container that holds what the service keeps; empty when it keeps nothing.
        port: The port in the container.
        stop_signal: What asks it to end in order.
        user: The account of this machine that ``prepare`` and ``argv`` run as when Jetable is root, for a program that refuses root; its
            folder then belongs to that account.
    """

    argv: tuple[str, ...]
    package: str
    image: str
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: tuple[tuple[str, ...], ...] = ()
    command: tuple[str, ...] = ()
    image_environment: Mapping[str, str] = field(default_factory=dict)
    volume: str = ""
    stop_signal: str = "SIGTERM"
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a queue holds right now; -1 where it can't tell.

    ``ready`` may be taken; ``held`` is reserved, unacknowledged or locked; ``delayed`` waits for its time; ``set_aside`` is buried, failed
    or dead-lettered.
    """

    ready: int
    held: int = -1
    delayed: int = 0
    set_aside: int = 0

    @property
    def empty(self) -> bool:
        """Nothing is there that a worker could still get."""
        return self.ready == 0 and self.held == 0 and self.delayed == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a queue says of one job of it.

    Attributes:
        text: What it holds of the job: its body, or its id, in which the run's mark can be found.
        state: One of `harness.job_history.STATES`.
        by: Who holds it, in the queue's words.
        until_s: Seconds from now until others may take it; None when the queue does not tell.
        deliveries: How often it was handed out; -1 when that is not counted.
        redelivered: The queue says that it was handed out before.
    """

    text: str
    state: str
    by: str = ""
    until_s: float | None = None
    deliveries: int = -1
    redelivered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSpec:
    """The queue of a run: ``form`` and ``options`` as in `harness.scenario.Jobs`, ``name`` as workers see it."""

    form: str
    name: str
    options: Mapping[str, str | int | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneSpec:
    """Where effects show in a service: ``kind`` is ``key``, ``query`` or ``queue``, ``name`` the key, the SQL or the queue."""

    kind: str
    name: str


class Queue(Protocol):
    """One queue, over one client."""

    def declare(self) -> None:
        """Make it, if workers don't, so that a job can be put before the first worker is there. Raises `ServiceError`."""
        ...

    def put(self, job: str, body: str) -> None:
        """Hand it one job and return when the queue has confirmed it; ``job`` is its id, which ``body`` contains.

        Raises:
            PutRefusedError: It is surely not in the queue.
            ServiceError: Nobody knows.
        """
        ...

    def look(self) -> Look:
        """What it holds now. Raises `ServiceError`."""
        ...

    def told(self, limit: int) -> Sequence[Told] | None:
        """What it says of the jobs that are left, ``limit`` at most, without changing anything; None when it can't list them.

        Raises `ServiceError`.
        """
        ...

    def take_rest(self, limit: int) -> Sequence[Told]:
        """When all workers are gone for good: what is left, taken out where there is no other way to see it. Raises `ServiceError`."""
        ...

    def remove(self) -> None:
        """Remove it with all that is in it, for a service that is not the run's own. Raises `ServiceError`."""
        ...


@runtime_checkable
class MakesBeside(Protocol):
    """A queue whose `Queue.declare` makes things besides it."""

    def beside(self) -> Sequence[str]:
        """The names of what `Queue.declare` would make, as it is not there yet. Raises `ServiceError`."""
        ...

    def made_beside(self, names: Sequence[str]) -> None:
        """These were made by `Queue.declare`, perhaps in another process; `Queue.remove` removes them, too."""
        ...


class Effects(Protocol):
    """The place where effects show, over one client."""

    def new(self) -> Sequence[str]:
        """Texts in which ids can be found, one for each effect that was not handed out before; a repeated effect is a text again.

        A place that only counts hands out a text as often as its count has grown. Raises `ServiceError`.
        """
        ...

    @property
    def counts(self) -> bool:
        """False where an effect that happened twice looks like one, as in a set."""
        ...


class ServiceEffects(Effects, Protocol):
    """Such a place in a service."""

    def remove(self) -> None:
        """Remove what this run has put there, for a service that is not the run's own. Raises `ServiceError`."""
        ...


@runtime_checkable
class TellsAbsence(Protocol):
    """A place of effects that may not be there yet."""

    @property
    def absent(self) -> str:
        """What was not there when it was last looked for, such as a table or a file; empty when it was."""
        ...


class Client(Protocol):
    """One connection, used by one thread at a time; it is made when it is first needed, and again after it was lost."""

    def ready(self) -> str:
        """What the service says of its version once it does its work. Raises `ServiceError` while it does not."""
        ...

    def cut_connections(self) -> int:
        """Close the connections of all other clients; how many there were. Raises `ServiceError`."""
        ...

    def queue(self, spec: QueueSpec) -> Queue:
        """A queue of it; nothing is asked yet."""
        ...

    def effects(self, spec: DoneSpec) -> ServiceEffects:
        """A place where effects show; nothing is asked yet."""
        ...

    def close(self) -> None:
        """End it; what goes wrong meanwhile is of no interest."""
        ...


@runtime_checkable
class Rows(Protocol):
    """A client of a service that answers queries."""

    def rows(self, query: str) -> Sequence[tuple[str | None, ...]]:
        """All rows of a query, each value as text; None for NULL. Raises `ServiceError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a key holds: one of these, or nothing at all where there is no such key.

    Attributes:
        value: A text.
        items: The elements of a set, or of a list in its order.
        fields: Names and values.
    """

    value: str | None = None
    items: tuple[str, ...] | None = None
    fields: Mapping[str, str] | None = None


@runtime_checkable
class Keys(Protocol):
    """A client of a service that keeps things under keys."""

    def held(self, key: str) -> Held:
        """What a key holds. Raises `ServiceError`, also when that can't be read as texts."""
        ...


class Kind(Protocol):
    """One kind of service: a module's only instance."""

    name: str

    @property
    def extra(self) -> str:
        """The extra of this package that brings its Python client: ``redis``; empty when nothing is needed."""
        ...

    def launch(self, *, durable: bool) -> Launch | None:
        """How it is started; None for one that is no process."""
        ...

    def url(self, host: str, port: int, folder: Path) -> str:
        """Its URL when it was started from `launch`; ``folder`` is its own, for one that is no process."""
        ...

    def own(self, url: str, mark: str) -> str:
        """The URL with a place of the run's own in a service that others use as well, made there if need be (a schema); else ``url``.

        Raises `ServiceError`.
        """
        ...

    def open(self, url: str) -> Client:
        """A client of the service at ``url``; nothing is asked yet.

        Raises:
            UsageError: The Python client is not installed; the message names the extra.
        """
        ...


@runtime_checkable
class MakesPlace(Protocol):
    """A kind whose `Kind.own` makes something."""

    def place(self, mark: str) -> str:
        """What it makes, in words: ``schema jetable_2fecf0``."""
        ...

    def disown(self, url: str, mark: str) -> None:
        """Remove it with all that is in it; ``url`` as `Kind.own` gets it. Raises `ServiceError`."""
        ...
