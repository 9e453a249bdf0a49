"""What tests of the Docker engine share: replicas made from an image that is there, a run around them, an engine that goes away."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from harness import marks
from harness.clock import NS_PER_S, MonotonicClock
from harness.dockerd import Daemon, RefusedError, translated
from harness.engines.base import EngineContext, Exit, Replica, ReplicaSpec
from harness.engines.docker import DockerEngine
from harness.history import Event
from harness.scenario import ProcessType

IMAGE: Final = "python:3.11-slim-bookworm"
HELPERS: Final = Path(__file__).parent.parent / "helpers"
CHILD: Final = "/helpers/child.py"
CLOCK: Final = MonotonicClock()
WITHIN_S: Final = 20.0

NUMBERS: Final = itertools.count(1)
"""For names that no other test uses."""

_Event = TypeVar("_Event", bound=Event)


def eventually(condition: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """Wait until the condition holds."""
    deadline_ns = CLOCK.now_ns() + round(within_s * NS_PER_S)
    while not condition():
        assert CLOCK.now_ns() < deadline_ns, "it never happened"
        CLOCK.sleep(0.005)


def fresh_run_id() -> str:
    """A run that no other test has, in this process or another one."""
    return f"test-{os.getpid()}-{next(NUMBERS)}"


def declared(**words: Any) -> ProcessType:
    """A process type in the words of a scenario, with tests/helpers mounted at /helpers."""
    mount = {"type": "bind", "source": str(HELPERS), "target": "/helpers", "read_only": True}
    made_from = {} if "build" in words or "image" in words else {"image": IMAGE}
    return ProcessType.model_validate(made_from | words | {"volumes": [mount, *words.get("volumes", [])]})


def child(name: str, *options: str, says: ProcessType | None = None, **environment: str) -> ReplicaSpec:
    """What to start for a tests/helpers/child.py in a container; its process type is what stands before the dot."""
    return command(name, "{python}", CHILD, *options, says=says, HOST="0.0.0.0", **environment)


def command(name: str, *argv: str, says: ProcessType | None = None, **environment: str) -> ReplicaSpec:
    """What to start for any command in a container."""
    return ReplicaSpec(
        name=name,
        process=name.partition(".")[0],
        argv=argv,
        environment=environment,
        working_dir=Path.cwd(),
        declared=declared() if says is None else says,
    )


@dataclass(kw_only=True)
class Run:
    """A Docker engine, and all that it told."""

    engine: DockerEngine
    run_id: str
    daemon: Daemon
    scratch: Path
    exits: list[tuple[Replica, Exit]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def up(self, spec: ReplicaSpec) -> Replica:
        """A started replica that said it is ready."""
        replica = self.engine.start(spec)
        eventually(lambda: self.engine.log_matches(replica, "^ready$"))
        return replica

    def end(self, replica: Replica, signal: str = "SIGKILL") -> Exit:
        """Send the signal and wait for the end."""
        self.engine.signal(replica, signal)
        return self.ended(replica)

    def ended(self, replica: Replica) -> Exit:
        """Wait for the end."""
        gone = self.engine.wait_exit(replica, WITHIN_S)
        assert gone is not None, "it did not end"
        return gone

    def of(self, kind: type[_Event]) -> list[_Event]:
        """The events of a kind that were told so far."""
        return [event for event in list(self.events) if isinstance(event, kind)]

    def the(self, kind: type[_Event], replica: Replica | None = None) -> _Event:
        """The one event of a kind, of ``replica`` if one is given, as soon as it is told; one of the test before may come late."""

        def found() -> list[_Event]:
            return [event for event in self.of(kind) if replica is None or getattr(event, "replica", "") == replica.name]

        eventually(lambda: bool(found()))
        (event,) = found()
        return event

    def container(self, replica: Replica) -> str:
        """The name of its container."""
        return f"jetable-{self.run_id}-{replica.name}"

    def inspect(self, replica: Replica) -> dict[str, Any]:
        """What the engine says of its container."""
        with translated():
            found: dict[str, Any] = self.daemon.api.inspect_container(self.container(replica))
        return found


def leftovers(daemon: Daemon, run_id: str) -> list[str]:
    """What has the label of a run on the engine."""
    filters = {"label": [f"{marks.LABEL_RUN}={run_id}"]}
    api = daemon.api
    with translated():
        return [
            *(f"container {each['Id']}" for each in api.containers(all=True, filters=filters)),
            *(f"network {each['Id']}" for each in api.networks(filters=filters)),
            *(f"volume {each['Name']}" for each in api.volumes(filters=filters).get("Volumes") or ()),
            *(f"image {each['Id']}" for each in api.images(filters=filters)),
        ]


def unfinished(daemon: Daemon) -> list[str]:
    """Images of builds by this process that no run has: an engine without BuildKit makes an image of each label, the owner's first."""
    owner = marks.mark_labels("any")[marks.LABEL_OWNER]
    with translated():
        images = daemon.api.images(filters={"label": [f"{marks.LABEL_OWNER}={owner}"]})
    return [f"image {each['Id']}" for each in images if marks.LABEL_RUN not in (each.get("Labels") or {})]


def sweep(daemon: Daemon, run_id: str) -> None:
    """Remove what has the label of a run, whatever a test left, and then what the builds of this process had not finished."""
    api = daemon.api
    remove: dict[str, Callable[[str], object]] = {
        "container": lambda key: api.remove_container(key, v=True, force=True),
        "network": api.remove_network,
        "volume": lambda key: api.remove_volume(key, force=True),
        "image": lambda key: api.remove_image(key, force=True, noprune=True),
    }
    for look in (lambda: leftovers(daemon, run_id), lambda: unfinished(daemon)):
        for thing in look():
            kind, _, key = thing.partition(" ")
            with suppress(RefusedError), translated():
                remove[kind](key)


@contextmanager
def docker_run(daemon: Daemon, scratch: Path, *, run_id: str = "") -> Iterator[Run]:
    """A run with an engine that is closed at the end, after which nothing of it may be left."""
    run_id = run_id or fresh_run_id()
    exits: list[tuple[Replica, Exit]] = []
    events: list[Event] = []
    notes: list[str] = []
    told: list[str] = []
    context = EngineContext(
        run_id=run_id,
        clock=CLOCK,
        scratch=scratch,
        logs=scratch,
        on_exit=lambda replica, gone: exits.append((replica, gone)),
        record=events.append,
        note=notes.append,
        tell=told.append,
    )
    try:
        engine = DockerEngine(context)
        try:
            yield Run(engine=engine, run_id=run_id, daemon=daemon, scratch=scratch, exits=exits, events=events, notes=notes, told=told)
        finally:
            engine.close()
        assert leftovers(daemon, run_id) == []
    finally:
        sweep(daemon, run_id)


class Proxy:
    """A unix socket before the engine's own, that can be closed as if the engine had ended."""

    def __init__(self, path: Path, behind: str) -> None:
        self.path, self.behind = path, behind
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._server: socket.socket | None = None
        self.open()

    def open(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(self.path))
        self._server.listen(64)
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        self.path.unlink(missing_ok=True)
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            far.connect(self.behind)
            with self._lock:
                self._open += [near, far]
            ends = threading.Barrier(2)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink, ends), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, ends: threading.Barrier) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        with suppress(threading.BrokenBarrierError):
            ends.wait(60)
        with self._lock:
            if source in self._open:
                self._open.remove(source)
        source.close()
