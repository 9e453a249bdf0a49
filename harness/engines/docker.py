"""Replicas as containers of a Docker engine.

A container is run as its user would run it (see `harness.engines.docker_container`), on a network of the run's own, and reached at its own
address. Where its processes are visible, on Linux with an engine of this machine, the kernel is asked and not the engine:

* its end is seen by pidfd, with the instant and the status that the proc connector tells (`harness.procevents`),
* signals go to its process 1 by pidfd, in microseconds and without the engine's knowledge. So a kill looks to the engine like a crash,
  which ``docker kill`` does not: that one also switches restart policies off,
* its listeners are read from the socket table of its network namespace.

Elsewhere the engine's own words must do, and a note says so. The order at an exit is fixed:

1. the pidfd becomes readable, or the engine says ``die``; the instant is taken;
2. the engine has said ``die`` and its output has ended, both awaited for a bounded time: so the last lines are there, an exit for want of
   memory is known as one, and the engine's own end (see `harness.engines.docker_events`) is never taken for the app's;
3. ``on_exit`` is called, and `DockerEngine.wait_exit` returns;
4. what it wrote into its own filesystem is read, and the container is removed.

When process 1 ends, the kernel kills all others in its pid namespace (pid_namespaces(7)). Nothing survives a container, so what would be a
survivor elsewhere is told as *cut off* here.
"""

from __future__ import annotations

import os
import select
import signal as signals
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

from harness import marks, proctable
from harness.clock import NS_PER_S
from harness.command import fill
from harness.dockerd import Daemon, DaemonGoneError, NoSuchThingError, RefusedError, connect, finish, translated
from harness.engines.base import EngineContext, Exit, Listening, Replica, ReplicaSpec, Sent, open_log, signal_number
from harness.engines.docker_container import (
    LOOPBACK,
    SCRATCH,
    SCRATCH_MOUNT,
    START_INTERVAL_API,
    Place,
    command_of,
    container_config,
    mounted,
    named_volumes,
    port_of,
    uses_scratch,
    values_of,
    volume_name,
)
from harness.engines.docker_events import ContainerEvent, EventStream
from harness.engines.docker_evidence import (
    changed_paths,
    layers_of,
    memory_used,
    overlay_changes,
    processes_of,
    scratch_archive,
    tighten_memory,
    uid_of,
)
from harness.engines.docker_first_look import FirstLook
from harness.engines.docker_fresh import FreshImage
from harness.engines.docker_image import Health, Image, have_image
from harness.engines.docker_network import Networks, reached_by_address
from harness.errors import EngineLostError, KeyOfScenarioError, MachineError, UsageError
from harness.history import Contained, CutOff, EngineLost, OomKilled, PhaseReached, Process, Wrote, Zombies
from harness.keptlog import KeptLog
from harness.loop import Loop
from harness.procevents import Past, ProcEvents
from harness.proctable import CpuTimes, Kinship, Proc, Table
from harness.scenario import ProcessType
from harness.sockets import ListenTable, claim_port, listeners_of, socket_inodes

DEFAULT_NETWORK: Final = "default"
CLOSE_WITHIN_S: Final = 10.0
LOOK_EVERY_S: Final = 0.25
"""How often all processes of the containers are looked at."""

ZOMBIE_AFTER_NS: Final = NS_PER_S
"""Who has been a zombie for so long was forgotten."""

_DIE_WITHIN_S: Final = 10.0
_LAST_OUTPUT_S: Final = 0.3
_JANITORS: Final = 8
_CUT_OFF_WITHIN_NS: Final = 100_000_000
_COMPARED: Final = 3
_MOST_ANCESTORS: Final = 100
_ONE_OOM_NS: Final = NS_PER_S // 10
_TOLD_WITHIN_NS: Final = 2 * NS_PER_S
_TOLD_EVERY_S: Final = 0.001
_SETTLED_NS: Final = 2 * NS_PER_S
_LEAVE_ALONE: Final = "leave the containers of a run alone (jetable cleanup removes those of dead runs)"

_PLACES: Final = 16
"""So many addresses or ports are tried for a replica; somebody else may have taken some."""

_SQUEEZES: Final = 40
_NO_LIMIT_BYTES: Final = (1 << 63) - 4096
"""What the kernel takes for no limit; -1, which would say so, is refused as too little."""

_TIGHTEN_EVERY_S: Final = 0.005
_KILLED: Final = 128 + signals.SIGKILL


@dataclass(slots=True, kw_only=True)
class _Life:
    """A replica, its container, and what the engine knows of both. ``lock`` guards ``pidfd`` and ``known``."""

    spec: ReplicaSpec
    container: str
    log: KeptLog
    image: Image
    port: int
    at_ns: int
    networks: tuple[str, ...]
    addresses: tuple[str, ...]
    replica: Replica | None = None
    main: Proc | None = None
    pidfd: int = -1
    table: ListenTable | None = None
    health: str = ""
    told: bool = False
    main_command: str = ""
    main_uid: int = -1
    main_serves: bool = True
    main_listened: bool = False
    mounts: tuple[str, ...] = ()
    layers: tuple[Path, tuple[Path, ...]] | None = None
    oom: bool = False
    oom_told_ns: int = 0
    asked_kills: int = 0
    asked_pauses: int = 0
    killed: bool = False
    away: bool = False
    paused: bool = False
    ending: bool = False
    opened_ns: int = 0
    ended_ns: int = 0
    died_ns: int = 0
    status: int = -1
    exit: Exit | None = None
    known: dict[int, Proc] = field(default_factory=dict)
    own: dict[int, int] = field(default_factory=dict)
    commands: dict[int, str] = field(default_factory=dict)
    zombies: dict[int, tuple[Proc, int]] = field(default_factory=dict)
    told_zombies: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    died: threading.Event = field(default_factory=threading.Event)
    written: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    squeezed: threading.Event = field(default_factory=threading.Event)
    announcer: threading.Thread | None = None


class _PlaceTakenError(KeyOfScenarioError):
    """Somebody else's container took the address, or the port of this machine, that a replica was to have."""


class DockerEngine:
    """Replicas as containers; see `harness.engines.base.Engine`."""

    name = "docker"
    contained = True

    def __init__(self, context: EngineContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._lives: dict[str, _Life] = {}
        self._containers: dict[str, _Life] = {}
        self._images: dict[str, Image] = {}
        self._fresh: dict[str, FreshImage] = {}
        self._renewed: dict[str, Image] = {}
        self._volumes: set[str] = set()
        self._lost = ""
        self._gone = False
        self._closed = False
        self._direct = True
        self._compared: dict[str, int] = {}
        self._problems: list[BaseException] = []
        self._daemon: Daemon = connect()
        with translated():
            info = self._daemon.api.info()
        self._by_address = reached_by_address(self._daemon, info)
        marks.record_daemon(context.scratch, self._daemon.url)
        self._networks = Networks(self._daemon, context.run_id)
        self._kernel = ProcEvents.open() if self._daemon.local else None
        self._events = EventStream(self._daemon, context.run_id, context.clock, self._on_event, self._on_lost)
        self._janitor = ThreadPoolExecutor(_JANITORS, thread_name_prefix="jetable-docker")
        self._exits = Loop("jetable-exits", context.clock)
        self._looks = Loop("jetable-looks", context.clock, tick=self._look, tick_s=LOOK_EVERY_S)

    @staticmethod
    def check(spec: ReplicaSpec) -> None:
        """Whether there is something to make a container from; see `harness.engines.base.EngineClass.check`."""
        declared = spec.declared
        if declared is None or (declared.image is None and declared.build is None):
            what = "the docker engine makes containers from image: or build:, and there is neither; write one, or use --engine process"
            raise KeyOfScenarioError(("target", spec.process), what)

    def prepare(self, specs: Sequence[ReplicaSpec]) -> None:
        """Build or find all images, and make networks and volumes; see `harness.engines.base.Prepares`."""
        for spec in specs:
            self.check(spec)
            self._prepare(_inside(spec))
        note = self._context.note
        if not self._by_address:
            note("replicas are reached by published loopback ports, where a refused connection is seen as a reset (see docs/docker.md)")
        if self._kernel is None:
            note("what the kernel says of the containers' processes can't be heard here, so the engine's word must do (see docs/docker.md)")

    def freshen(self, spec: ReplicaSpec) -> None:
        """Load the image anew, with all its layers, under a name of the run's own; see `harness.engines.base.FreshImages`."""
        image = self._prepare(_inside(spec))
        for life in list(self._containers.values()):
            if life.spec.process == spec.process and life.over.is_set():
                life.gone.wait(_DIE_WITHIN_S)  # its container holds the layers
        with self._unlost():
            fresh = self._fresh.get(spec.process)
            if fresh is None:
                fresh = FreshImage(self._daemon, self._context.run_id, spec.process, image, self._context.scratch)
                self._fresh[spec.process] = fresh
            renewed = fresh.renew()
        with self._lock:
            self._renewed[spec.process] = renewed

    def start(self, spec: ReplicaSpec) -> Replica:
        """Create and start a container; see `harness.engines.base.Engine.start`."""
        if self._closed:
            raise MachineError(f"{spec.name} can't be started: the engine is closed")
        spec = _inside(spec)
        found = self._prepare(spec)
        image = self._renewed.get(spec.process, found)
        with self._unlost():
            for left in reversed(range(_PLACES)):
                life = self._create(spec, image)
                created_ns = self._context.clock.now_ns()
                try:
                    return self._run(life, created_ns)
                except _PlaceTakenError:
                    self._remove(life)
                    if spec.host or not left:
                        raise
                except BaseException:
                    self._remove(life)
                    raise
        raise AssertionError("the last try returns or raises")

    def signal(self, replica: Replica, signal: str, *, everything: bool = False) -> Sent:
        """Signal process 1, or all processes of the container; SIGKILL of process 1 ends them all."""
        life = self._lives[replica.name]
        number = signal_number(signal)
        sent = self._send(life, number)
        if number == signals.SIGKILL:
            life.killed = life.killed or sent.delivered
            if everything and sent.delivered:  # the kernel ends them with process 1, but only when that one has had its turn to end
                with life.lock:
                    known = list(life.known.values())
                for proc in known:
                    proctable.send(proc, number)
        elif sent.delivered and everything:
            for proc in self._members(life):
                proctable.send(proc, number)
        elif sent.delivered:  # who is there to be cut off; not now, as the watchers of this stop wait for their turn
            self._looks.call(lambda: self._members(life))
        return sent

    def wait_exit(self, replica: Replica, timeout_s: float) -> Exit | None:
        """Wait until process 1 has ended and ``on_exit`` has been called, at most ``timeout_s``; 0 asks without waiting."""
        life = self._lives[replica.name]
        if life.announcer is not threading.current_thread():  # on_exit itself runs there and would wait for its own end
            life.over.wait(timeout_s)
            return life.exit if life.over.is_set() else None
        return life.exit

    def descendants(self, replica: Replica) -> tuple[Process, ...]:
        """The container's processes other than process 1; none when that one has ended, since the kernel ends them with it."""
        life = self._lives[replica.name]
        if life.ended_ns:
            return ()
        if life.main is None:
            with suppress(RefusedError), translated():
                return processes_of(self._daemon.api.top(life.container))[1:]
            return ()
        listeners = (life.table.listeners() if life.table else None) or ()
        inodes = {listener.inode for listener in listeners if listener.port == life.port}
        return tuple(
            Process(
                pid=proc.pid,
                command=life.commands.get(proc.pid, ""),
                listening=bool(inodes and inodes & (socket_inodes(proc.pid) or frozenset())),
            )
            for proc in self._members(life)
            if proc.alive
        )

    def cpu(self, replica: Replica) -> CpuTimes:
        """What the threads of the container have had of the CPUs; nothing where the scenario says how much that is."""
        life = self._lives[replica.name]
        limited = life.spec.declared is not None and life.spec.declared.cpus is not None
        if life.main is None or life.ended_ns or limited:
            return {}
        return proctable.cpu_of([life.main.pid, *(proc.pid for proc in self._members(life))])

    def listening(self, replica: Replica) -> Listening | None:
        """Whether the port is open inside the container; None when its network namespace can't be looked into."""
        life = self._lives[replica.name]
        if life.ended_ns:
            return Listening(open=False)
        if life.main is None:
            return None
        found = life.table.listeners() if life.table else None
        if found is None:
            found = listeners_of(life.main.pid)
        if found is None:
            return Listening(open=False) if life.ended_ns else None
        at_port = [listener for listener in found if listener.port == life.port]
        outward = [listener for listener in at_port if not listener.loopback]
        return Listening(
            open=bool(outward),
            backlog=sum(listener.backlog for listener in outward),
            inward=bool(at_port) and not outward,
            since_ns=life.opened_ns if outward else 0,
        )

    def healthy(self, replica: Replica) -> bool | None:
        """What the engine's own health check says, where the image or the scenario has one and nothing else is to be asked."""
        life = self._lives[replica.name]
        return life.health == "healthy" if _health_of(life.spec.declared, life.image) else None

    def why_not_healthy(self, replica: Replica) -> str:
        """What the engine's own health check said last; it keeps the last few answers with their output."""
        life = self._lives[replica.name]
        try:
            with translated():
                health = self._daemon.api.inspect_container(life.container)["State"].get("Health") or {}
        except (RefusedError, DaemonGoneError):
            return ""
        answers = health.get("Log") or ()
        if not answers:
            return "its own health check was not asked once"
        output = " ".join(str(answers[-1].get("Output") or "").split())[:200]
        return f"its own health check ended with {answers[-1].get('ExitCode')}{f': {output}' if output else ''}"

    def log_tail(self, replica: Replica, lines: int) -> tuple[str, ...]:
        """The last lines that the replica wrote to stdout or stderr."""
        return self._lives[replica.name].log.tail(lines)

    def log_matches(self, replica: Replica, pattern: str) -> bool:
        """Whether any line that the replica wrote so far matches the regular expression ``pattern``."""
        return self._lives[replica.name].log.matches(pattern)

    def lost(self) -> str:
        """What happened to the engine; empty while it is there."""
        return self._lost

    # What can be taken away from a replica

    def pause(self, replica: Replica) -> Sent:
        """Freeze all its processes (``docker pause``)."""

        def freeze(life: _Life) -> None:
            life.asked_pauses += 1
            self._daemon.api.pause(life.container)
            life.paused = True

        return self._ask(self._lives[replica.name], freeze)

    def resume(self, replica: Replica) -> Sent:
        """Thaw them."""

        def thaw(life: _Life) -> None:
            life.paused = False
            life.asked_pauses += 1
            self._daemon.api.unpause(life.container)

        return self._ask(self._lives[replica.name], thaw)

    def cut(self, replica: Replica) -> Sent:
        """Take the container off all its networks: packets to and from it vanish, and no connection is closed."""

        def off(life: _Life) -> None:
            life.away = True
            for name in life.networks:
                with suppress(NoSuchThingError):
                    self._networks.disconnect(life.container, name)

        return self._ask(self._lives[replica.name], off)

    def reconnect(self, replica: Replica) -> Sent:
        """Put it back on its networks, at its old address."""

        def on(life: _Life) -> None:
            if not life.away:
                return
            for name, address in zip(life.networks, life.addresses, strict=True):
                self._networks.connect(life.container, name, alias=replica.process, address=address)
            life.away = False

        return self._ask(self._lives[replica.name], on)

    def squeeze(self, replica: Replica, limit_bytes: int) -> Sent:
        """Lower its memory limit, as far as the kernel lets us.

        With cgroup version 1 a limit below what can't be given back is refused; then it is set to just that, again and again until it is
        released, so that the next allocation is one too many.
        """

        def lower(life: _Life) -> None:
            wanted = limit_bytes
            for left in reversed(range(_SQUEEZES)):
                try:
                    with translated():
                        self._daemon.api.update_container(life.container, mem_limit=wanted, memswap_limit=wanted)
                except RefusedError:
                    wanted = memory_used(life.main.pid) if life.main else 0
                    if not wanted or not left:
                        raise
                else:
                    break
            if wanted != limit_bytes:
                life.squeezed.set()
                self._janitor.submit(self._tighten, life).add_done_callback(self._keep_problem)

        return self._ask(self._lives[replica.name], lower)

    def release(self, replica: Replica) -> Sent:
        """Give it back the limit that it was started with."""

        def back(life: _Life) -> None:
            life.squeezed.clear()
            limit = (life.spec.declared.mem_limit if life.spec.declared else None) or _NO_LIMIT_BYTES
            with translated():
                self._daemon.api.update_container(life.container, mem_limit=limit, memswap_limit=limit)

        return self._ask(self._lives[replica.name], back)

    def close(self) -> None:
        """Kill what still runs and remove everything; a second call does nothing.

        Raises:
            Exception: What ``on_exit`` raised, after all is freed.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        lives = list(self._lives.values())
        for life in lives:
            if not life.over.is_set():
                self._send(life, signals.SIGKILL)
                life.killed = True
        deadline_ns = self._context.clock.now_ns() + round(CLOSE_WITHIN_S * NS_PER_S)
        for life in lives:
            life.over.wait(max(0.0, (deadline_ns - self._context.clock.now_ns()) / NS_PER_S))
        self._janitor.shutdown(wait=True)
        self._looks.stop()
        self._exits.stop()
        self._events.close()
        if self._kernel is not None:
            self._kernel.close()
        for life in self._containers.values():  # also of one that could not be started
            self._free(life)
        if not self._gone:
            self._remove_all()
        self._daemon.close()
        for problem in (*self._exits.problems, *self._looks.problems, *self._problems):
            raise problem

    # Starting

    def _prepare(self, spec: ReplicaSpec) -> Image:
        """The image of a process type, with the networks and volumes that its containers need."""
        with self._lock:
            image = self._images.get(spec.process)
            if image is not None:
                return image
            declared = _declared(spec)
            image = have_image(self._daemon, self._context.run_id, spec.process, declared, self._context.tell)
            for name in _network_names(declared):
                self._networks.make(name)
            for name in named_volumes(spec):
                if name not in self._volumes:
                    with translated():
                        self._daemon.api.create_volume(
                            volume_name(self._context.run_id, name), labels=marks.mark_labels(self._context.run_id)
                        )
                    self._volumes.add(name)
            if declared.stop_signal is None:
                try:
                    _signal_name(image.stop_signal)
                except UsageError as error:
                    raise KeyOfScenarioError(("target", spec.process), f"image {image.name}: {error}") from error
            for sentence in (*declared.dropped, *_lacks(self._daemon, declared)):
                self._context.note(f"{spec.process}: {sentence}")
            self._images[spec.process] = image
            return image

    def _create(self, spec: ReplicaSpec, image: Image) -> _Life:
        declared = _declared(spec)
        networks = _network_names(declared)
        self._await_address(spec)
        addresses = tuple(self._networks.next_address(name) if self._by_address else "" for name in networks)
        if self._by_address and spec.host:
            addresses = (spec.host, *addresses[1:])
        published = -1 if self._by_address else spec.port or _free_port()
        place = Place(network=self._networks.full_name(networks[0]), address=addresses[0], published=published)
        log = open_log(self._context, spec)
        config = container_config(self._daemon, self._context.run_id, spec, image, place)
        at_ns = self._context.clock.now_ns()
        try:
            with translated():
                container = str(self._daemon.api.create_container(**config)["Id"])
        except RefusedError as error:
            log.finish()
            raise _why_not_started(spec, image, error) from error
        life = _Life(
            spec=spec,
            container=container,
            log=log,
            image=image,
            port=port_of(declared, image),
            at_ns=at_ns,
            networks=networks,
            addresses=addresses,
        )
        with self._lock:
            self._containers[container] = life
        return life

    def _await_address(self, spec: ReplicaSpec) -> None:
        """Wait until who had the wanted address is removed: its end is told before the engine has taken its network down."""
        for life in list(self._lives.values()):
            if life.replica and (life.replica.host, life.replica.port) == (spec.host, spec.port) and life.over.is_set():
                life.gone.wait(_DIE_WITHIN_S)

    def _run(self, life: _Life, created_ns: int) -> Replica:
        spec, api = life.spec, self._daemon.api
        look = FirstLook(self._kernel, self._context.clock, life.container, life.port) if self._kernel is not None else None
        try:
            with translated():
                self._make_ready(life)
                api.start(life.container)
        except RefusedError as error:
            raise _why_not_started(spec, life.image, error) from error
        finally:
            life.opened_ns = look.end() if look is not None else 0
        running_ns = self._context.clock.now_ns()
        with translated():
            found = api.inspect_container(life.container)
        self._take_hold(life, int(found["State"].get("Pid") or 0))
        past = self._beginning(life)
        seen = past is not None and created_ns <= past.forked_ns <= past.executed_ns
        host, port = self._address_of(life, found)
        if life.main is not None:
            life.layers = layers_of(found)
            life.mounts = tuple(str(mount.get("Destination", "")) for mount in found.get("Mounts") or ())
            self._look_at_main(life, life.main)
        life.replica = Replica(
            name=spec.name,
            process=spec.process,
            host=host,
            port=port,
            pid=life.main.pid if life.main else 0,
            at_ns=life.at_ns,
            running_ns=past.executed_ns if seen and past else running_ns,
            created_ns=created_ns,
            started_ns=past.forked_ns if seen and past else running_ns,
            command=_shown_command(life),
            stop_signal="" if _declared(spec).stop_signal else _signal_name(life.image.stop_signal),
            vanishes=self._by_address,
            refuses=self._by_address,
            patience_s=health.patience_s if (health := _health_of(spec.declared, life.image)) else 0.0,
        )
        with self._lock:
            self._lives[spec.name] = life
        if life.pidfd >= 0:
            self._exits.watch(life.pidfd, partial(self._readable, life))
        elif life.died.is_set() or not found["State"].get("Running"):
            self._end(life, life.died_ns or self._context.clock.now_ns())
        return life.replica

    def _make_ready(self, life: _Life) -> None:
        """What comes between creating a container and starting it; call it inside `translated`."""
        spec, api = life.spec, self._daemon.api
        for name, address in list(zip(life.networks, life.addresses, strict=True))[1:]:
            self._networks.connect(life.container, name, alias=spec.process, address=address)
        if uses_scratch(spec):
            api.put_archive(life.container, SCRATCH_MOUNT, scratch_archive(PurePosixPath(SCRATCH).name))
        output = api.attach(life.container, stdout=True, stderr=True, stream=True, logs=True)
        threading.Thread(target=self._keep_output, args=(life, output), name=f"jetable-log-{spec.name}", daemon=True).start()

    def _beginning(self, life: _Life) -> Past | None:
        """What the kernel told of the begin of process 1; the engine may answer a moment before the command is executed."""
        return self._told_of_main(life, lambda past: past.executed_ns or past.ended_ns)

    def _told_of_main(self, life: _Life, enough: Callable[[Past], int]) -> Past | None:
        """What the kernel told of process 1, once that is ``enough``; it always comes to that, but on a busy machine not at once."""
        if self._kernel is None or life.main is None:
            return None
        deadline_ns = self._context.clock.now_ns() + _TOLD_WITHIN_NS
        while not enough(past := self._kernel.past(life.main.pid)) and self._kernel.whole and self._context.clock.now_ns() < deadline_ns:
            self._context.clock.sleep(_TOLD_EVERY_S)
        return past

    def _take_hold(self, life: _Life, pid: int) -> None:
        """Open the pidfd of process 1, where this pid means here what it means to the engine."""
        if not pid or not self._daemon.local:
            return
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return
        proc = proctable.look(pid)
        if proc is None or life.container not in _cgroup(pid):
            os.close(pidfd)
            return
        life.main, life.pidfd = proc, pidfd
        if self._by_address:
            life.table = ListenTable(Path(f"/proc/{pid}/ns/net"))

    def _address_of(self, life: _Life, found: dict[str, Any]) -> tuple[str, int]:
        settings = found["NetworkSettings"]
        if self._by_address:
            network = settings["Networks"][self._networks.full_name(life.networks[0])]
            return str(network["IPAddress"] or (network.get("IPAMConfig") or {}).get("IPv4Address", "")), life.port
        published = (settings.get("Ports") or {}).get(f"{life.port}/tcp") or [{"HostPort": "0"}]
        return LOOPBACK, int(published[0]["HostPort"])

    def _keep_output(self, life: _Life, output: Any) -> None:
        with suppress(OSError, ValueError, DaemonGoneError, RefusedError), translated():
            for data in output:
                life.log.write(data)
        life.written.set()
        finish(output)

    def _tighten(self, life: _Life) -> None:
        while life.squeezed.is_set() and not life.oom and not life.ended_ns and life.main is not None and not self._closed:
            if not tighten_memory(life.main.pid):
                return
            self._context.clock.sleep(_TIGHTEN_EVERY_S)

    # Ends

    def _readable(self, life: _Life, at_ns: int) -> None:
        self._exits.unwatch(life.pidfd)
        self._end(life, at_ns)

    def _on_event(self, event: ContainerEvent) -> None:
        """On the thread of the event stream."""
        life = self._containers.get(event.container)
        if life is None:
            return
        match event.what:
            case "oom":
                if life.oom and event.told_ns - life.oom_told_ns < _ONE_OOM_NS:
                    return  # the kernel tells of each allocation that had to wait for the kill
                life.oom, life.oom_told_ns = True, event.told_ns
                limit = life.spec.declared.mem_limit if life.spec.declared else None
                self._context.record(OomKilled(at_ns=event.at_ns, replica=life.spec.name, limit_bytes=limit or 0))
            case "kill" if life.asked_kills > 0:
                life.asked_kills -= 1
            case "kill":  # a stop of the engine itself begins like this, too
                self._lose(
                    f"somebody else sent signal {event.detail} to {life.spec.name} through the Docker engine, or that shuts down; "
                    f"{_LEAVE_ALONE}"
                )
            case "health_status":
                life.health = event.detail
            case "pause" | "unpause":
                life.paused = event.what == "pause"
                if not life.asked_pauses:
                    self._lose(f"somebody else let the Docker engine {event.what} {life.spec.name}; {_LEAVE_ALONE}")
                life.asked_pauses = max(0, life.asked_pauses - 1)
            case "die":
                life.status, life.died_ns = event.status, event.at_ns
                life.died.set()
                if life.pidfd < 0 and life.replica is not None:
                    self._end(life, event.at_ns)

    def _lose(self, why: str) -> None:
        """From now on nothing that happens to a replica is the app's doing."""
        with self._lock:
            first, self._lost = not self._lost, self._lost or why
        if first and not self._closed:
            self._context.record(EngineLost(at_ns=self._context.clock.now_ns(), why=why))

    def _on_lost(self, why: str) -> None:
        """The event stream ended, so nobody will tell of any container's end."""
        self._gone = True
        self._lose(why)
        with self._lock:
            lives = list(self._containers.values())
        for life in lives:
            life.died.set()
            if life.pidfd < 0 and life.replica is not None:
                self._end(life, self._context.clock.now_ns())

    def _end(self, life: _Life, at_ns: int) -> None:
        with life.lock:
            if life.ending:
                return
            life.ending = True
            life.ended_ns = at_ns
        with suppress(RuntimeError):  # it outlived all patience of `close`, and nobody waits for its end any more
            self._janitor.submit(self._announce, life).add_done_callback(self._keep_problem)

    def _keep_problem(self, future: Future[None]) -> None:
        problem = future.exception()
        if problem is not None:
            self._problems.append(problem)

    def _announce(self, life: _Life) -> None:
        """Steps 2 to 4 at the head of this file, on a janitor's thread."""
        assert life.replica is not None  # noqa: S101  nothing ends before it runs
        life.announcer = threading.current_thread()
        try:
            life.died.wait(_DIE_WITHIN_S)
            life.written.wait(_LAST_OUTPUT_S)
            self._take_the_kernels_word(life)
            self._ask_the_engine(life)
            life.exit = Exit(at_ns=life.ended_ns, status=life.status, oom=life.oom, lost=bool(self._lost) and not life.killed)
            self._tell_cut_off(life)
            self._tell_contained(life)
            self._context.on_exit(life.replica, life.exit)
        finally:
            life.announcer = None
            life.over.set()
            self._tidy_up(life)
            life.gone.set()

    def _take_the_kernels_word(self, life: _Life) -> None:
        """Not when the end is noticed, but now: the kernel makes the pidfd readable a moment before it tells of the end."""
        past = self._told_of_main(life, lambda past: past.ended_ns)
        if past is not None and past.forked_ns <= life.ended_ns and life.at_ns < past.ended_ns:
            life.ended_ns, life.status = past.ended_ns, past.status

    def _ask_the_engine(self, life: _Life) -> None:
        """Ask for what nobody told; for nothing else, since the engine answers only when it has taken the container's network down."""
        doubtful = life.status < 0 or (life.status == _KILLED and not life.killed and not life.oom)
        if self._gone or not doubtful:
            return
        with suppress(RefusedError, DaemonGoneError), translated():
            state = self._daemon.api.inspect_container(life.container)["State"]
            life.oom = life.oom or bool(state.get("OOMKilled"))
            if life.status < 0 and not state.get("Running"):
                life.status = int(state.get("ExitCode", -1))

    def _tidy_up(self, life: _Life) -> None:
        """Read what it wrote into its own filesystem, and remove the container."""
        if self._gone:
            return
        with suppress(RefusedError, DaemonGoneError):
            paths = self._changed(life)
            if paths is not None:
                self._context.record(Wrote(at_ns=self._context.clock.now_ns(), replica=life.spec.name, paths=paths[:200], count=len(paths)))
            self._remove(life)
            self._context.record(PhaseReached(at_ns=self._context.clock.now_ns(), replica=life.spec.name, phase="removed"))

    def _changed(self, life: _Life) -> tuple[str, ...] | None:
        """What changed in its own filesystem, read from its layer where that can be seen.

        ``docker diff`` may compare all files of the image, which keeps the engine busy for seconds while others are measured. So it is
        asked for the first few replicas of a process type only.
        """
        changes = overlay_changes(*life.layers) if life.layers else None
        if changes is None:
            asked = self._compared.get(life.spec.process, 0)
            if asked == _COMPARED:
                self._compared[life.spec.process] += 1
                self._context.note(
                    f"{life.spec.process}: what it wrote into its own filesystem was looked at in its first {_COMPARED} replicas only, as "
                    "docker diff takes long; root sees it in all of them"
                )
            if asked >= _COMPARED:
                return None
            self._compared[life.spec.process] = asked + 1
            with translated():
                changes = [(int(entry["Kind"]), str(entry["Path"])) for entry in self._daemon.api.diff(life.container) or ()]
        return changed_paths(changes, (*mounted(life.spec), *life.mounts))

    def _remove(self, life: _Life) -> None:
        life.asked_kills += 1
        with suppress(NoSuchThingError, RefusedError, DaemonGoneError), translated():
            self._daemon.api.remove_container(life.container, v=True, force=True)

    # Signals

    def _send(self, life: _Life, number: signals.Signals) -> Sent:
        now_ns = self._context.clock.now_ns
        with life.lock:
            at_ns = now_ns()
            if life.ending:
                return Sent(at_ns=at_ns, until_ns=at_ns, delivered=False)
            frozen = life.paused and number == signals.SIGKILL  # ends when it thaws: the engine sees to that as well
            if life.pidfd >= 0 and self._direct and not frozen:
                try:
                    if _is_readable(life.pidfd):
                        return Sent(at_ns=at_ns, until_ns=now_ns(), delivered=False)
                    at_ns = now_ns()
                    signals.pidfd_send_signal(life.pidfd, number)
                    return Sent(at_ns=at_ns, until_ns=now_ns(), delivered=True)
                except ProcessLookupError:
                    return Sent(at_ns=at_ns, until_ns=now_ns(), delivered=False)
                except PermissionError:
                    self._direct = False
                    self._context.note(
                        "this user may not signal the containers' processes, so signals go through docker kill: they take some "
                        "milliseconds, and a kill is no crash to the engine, which would not restart such a container"
                    )
        life.asked_kills += 1
        sent = self._ask(life, lambda life: self._daemon.api.kill(life.container, signal=number.name))
        if number == signals.SIGKILL and sent.delivered and life.ended_ns:  # the engine answers when it is over
            return Sent(at_ns=sent.at_ns, until_ns=max(sent.at_ns, min(sent.until_ns, life.ended_ns)), delivered=True)
        return sent

    def _ask(self, life: _Life, work: Any) -> Sent:
        """Let the engine do something to a container; not delivered when that is gone or not in the state for it."""
        at_ns = self._context.clock.now_ns()
        delivered = not life.ended_ns and not self._gone
        try:
            if not self._gone:
                with translated():
                    work(life)
        except RefusedError:
            delivered = False
        except DaemonGoneError as error:  # whoever plays the story asks `lost` next
            self._gone = True
            self._lose(str(error))
            delivered = False
        return Sent(at_ns=at_ns, until_ns=self._context.clock.now_ns(), delivered=delivered)

    @contextmanager
    def _unlost(self) -> Iterator[None]:
        """When the engine does not answer in the middle of a run, the run can't go on, but what there is can be judged."""
        if self._lost:
            raise EngineLostError(self._lost)
        try:
            yield
        except DaemonGoneError as error:
            self._gone = True
            self._lose(str(error))
            raise EngineLostError(str(error)) from error

    # Processes

    def _members(self, life: _Life, table: Table | None = None) -> list[Proc]:
        """The container's processes other than process 1, zombies included."""
        if life.main is None:
            return []
        with life.lock:
            known = {life.main.pid: life.main.started} | {proc.pid: proc.started for proc in life.known.values()}
        found = proctable.family(table or proctable.scan(), Kinship(known=known, since=life.main.started))
        found.pop(life.main.pid, None)
        found = {pid: proc for pid, proc in found.items() if self._descends(life, proc)}
        with life.lock:
            for proc in found.values():
                if life.known.get(proc.pid) != proc and proc.alive:
                    life.known[proc.pid] = proc
                    life.commands[proc.pid] = proctable.command_line(proc)
        return list(found.values())

    def _descends(self, life: _Life, proc: Proc) -> bool:
        """Whether process 1 or a descendant of it made this process.

        What somebody executes in a container, such as a health check, comes from outside. When it ends, what it leaves behind becomes a
        child of process 1, whose fault it is not.
        """
        if self._kernel is None or life.main is None or life.own.get(proc.pid) == proc.started:
            return True
        pid = proc.pid
        for _ in range(_MOST_ANCESTORS):
            if pid == life.main.pid or not pid:
                break
            pid = self._kernel.past(pid).parent
        if pid != life.main.pid and self._kernel.whole:
            return False
        life.own[proc.pid] = proc.started
        return True

    def _look(self) -> None:
        """Learn who the descendants are, who is a zombie for long, and once each replica has settled, who process 1 is."""
        lives = [life for life in list(self._lives.values()) if not life.ended_ns]
        if not lives:
            return
        table, now_ns = proctable.scan(), self._context.clock.now_ns()
        for life in lives:
            if life.main is None or life.replica is None:
                continue
            if life.paused:  # nobody can wait for anybody there
                life.zombies = {}
                continue
            self._look_for_zombies(life, self._members(life, table), now_ns)
            self._look_at_main(life, life.main)
            if life.main_listened and now_ns - life.replica.running_ns > _SETTLED_NS:
                self._tell_contained(life)

    def _look_for_zombies(self, life: _Life, members: Sequence[Proc], now_ns: int) -> None:
        dead = {proc.pid: proc for proc in members if not proc.alive}
        life.zombies = {
            pid: life.zombies[pid] if pid in life.zombies and life.zombies[pid][0].started == proc.started else (proc, now_ns)
            for pid, proc in dead.items()
        }
        old = [(proc, since_ns) for proc, since_ns in life.zombies.values() if now_ns - since_ns > ZOMBIE_AFTER_NS]
        fresh = [(proc, since_ns) for proc, since_ns in old if proc.pid not in life.told_zombies]
        if not fresh:
            return
        life.told_zombies |= {proc.pid for proc, _ in fresh}
        processes = tuple(Process(pid=proc.pid, command=life.commands.get(proc.pid, f"[{proc.name}]")) for proc, _ in fresh)
        after_ns = now_ns - min(since_ns for _, since_ns in fresh)
        self._context.record(Zombies(at_ns=now_ns, replica=life.spec.name, after_ns=after_ns, processes=processes))

    def _look_at_main(self, life: _Life, main: Proc) -> None:
        command, uid = proctable.command_line(main), uid_of(main.pid)
        listeners = (life.table.listeners() if life.table else listeners_of(main.pid)) or ()
        at_port = {listener.inode for listener in listeners if listener.port == life.port}
        held = socket_inodes(main.pid)
        now = proctable.look(main.pid)
        if now is None or now.started != main.started or not now.alive or (command.startswith("[") and life.main_command):
            return  # it ends, and the kernel has taken its command line away
        life.main_command, life.main_uid = command, uid
        if at_port:
            life.main_listened, life.main_serves = True, held is None or bool(at_port & held)

    def _tell_contained(self, life: _Life) -> None:
        """Tell once what process 1 is, as it was last seen: an entrypoint may change its user and become another program."""
        if life.told:
            return
        life.told = True
        self._context.record(
            Contained(
                at_ns=self._context.clock.now_ns(),
                replica=life.spec.name,
                container=life.container[:12],
                image=life.image.name,
                main=life.main_command or _shown_command(life),
                uid=life.main_uid,
                init=bool(life.spec.declared and life.spec.declared.init),
                serves=life.main_serves,
                watched=life.main is not None and self._kernel is not None and self._kernel.whole,
            )
        )

    def _tell_cut_off(self, life: _Life) -> None:
        """Tell whom the kernel killed because process 1 ended. It is known only where the kernel told of every end."""
        if self._kernel is None or not self._kernel.whole or life.status == _KILLED or life.main is None or self._lost:
            return
        cut = []
        for pid, proc in sorted(life.known.items()):
            past = self._kernel.past(pid)
            if past.parent == life.main.pid and past.survived_by_parent:  # process 1 killed it itself, and ended after that
                continue
            if past.status == _KILLED and past.signalled and 0 <= life.ended_ns - past.ended_ns < _CUT_OFF_WITHIN_NS:
                cut.append(Process(pid=pid, command=life.commands.get(pid, f"[{proc.name}]")))
        if cut:
            self._context.record(CutOff(at_ns=life.ended_ns, replica=life.spec.name, processes=tuple(cut)))

    # The end

    def _free(self, life: _Life) -> None:
        life.log.finish()
        if life.table is not None:
            life.table.close()
        if life.pidfd >= 0 and life.ending:
            os.close(life.pidfd)
            life.pidfd = -1

    def _remove_all(self) -> None:
        """Remove what was made for the run. What fails here is the cleanup's to remove."""
        with suppress(RefusedError, MachineError):
            for life in self._containers.values():
                self._remove(life)
            self._networks.remove()
            for fresh in self._fresh.values():
                fresh.remove()
            for name in self._volumes:
                with suppress(NoSuchThingError), translated():
                    self._daemon.api.remove_volume(volume_name(self._context.run_id, name), force=True)
            for process, image in self._images.items():
                if image.name != image.id and self._was_built(process):
                    with suppress(NoSuchThingError), translated():
                        self._daemon.api.remove_image(image.id, force=True, noprune=True)

    def _was_built(self, process: str) -> bool:
        return any(life.spec.process == process and life.spec.declared and life.spec.declared.build for life in self._containers.values())


def _inside(spec: ReplicaSpec) -> ReplicaSpec:
    """What is started in a container."""
    return replace(spec, argv=spec.inside.argv, environment=spec.inside.environment) if spec.inside else spec


def _declared(spec: ReplicaSpec) -> ProcessType:
    DockerEngine.check(spec)
    assert spec.declared is not None  # noqa: S101  just checked
    return spec.declared


def _network_names(declared: ProcessType) -> tuple[str, ...]:
    return tuple(declared.networks) or (DEFAULT_NETWORK,)


def _health_of(declared: ProcessType | None, image: Image) -> Health | None:
    """The health check of the engine's own that decides whether a replica is healthy; None when the harness asks the replica."""
    check = declared.healthcheck if declared else None
    if check is None:
        return image.health
    if check.test is None or check.disable:
        return None
    first_s = check.ask_every.s + check.timeout.s if "interval" in check.model_fields_set else 0.0
    return Health(patience_s=check.start_period.s + first_s)


def _lacks(daemon: Daemon, declared: ProcessType) -> list[str]:
    """What the scenario asks for and this engine is too old to do."""
    check = declared.healthcheck
    if check is not None and check.start_interval is not None and daemon.api_version < START_INTERVAL_API:
        return [f"start_interval has no effect: Docker {daemon.version} does not know it; Docker 25 or later does"]
    return []


def _signal_name(written: str) -> str:
    """``SIGTERM`` of what a STOPSIGNAL may say: ``SIGTERM``, ``TERM`` or ``15``."""
    known = {each.name for each in signals.Signals}
    names = {f"{each.value}": each.name for each in signals.Signals}
    name = written.upper() if written.upper().startswith("SIG") else f"SIG{written.upper()}"
    if not written or written in names:
        return names.get(written, "")
    if name in known:
        return name
    raise UsageError(
        f"it asks for STOPSIGNAL {written}, which Jetable can't send; write stop_signal: with the signal that the app stops at"
    )


def _shown_command(life: _Life) -> str:
    """What process 1 was asked to be."""
    values = values_of(life.spec, life.port)
    return " ".join(fill(word, values) for word in command_of(life.spec, life.image))


def _free_port() -> int:
    """A port of this machine that stays the replica's own when it is taken off the network and put back."""
    claim = claim_port()
    claim.release()
    return claim.port


def _is_readable(fd: int) -> bool:
    poll = select.poll()  # not select(2), which knows descriptors below 1024 only
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def _cgroup(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""


def _why_not_started(spec: ReplicaSpec, image: Image, error: RefusedError) -> KeyOfScenarioError:
    """What an engine means that can't make or start a container: mostly that the image lacks the command."""
    text, declared = str(error), _declared(spec)
    place = ("target", spec.process)
    if "port is already allocated" in text or "address already in use" in text.lower():
        where = f"the address {spec.host}:{spec.port}" if spec.host else "its address"
        return _PlaceTakenError(place, f"somebody else has taken {where} of {spec.name}: {text}")
    if "unable to find user" in text or "no matching entries in passwd" in text:
        what = f"image {image.name} has no such user: {text}; name one that it has, or a number"
        return KeyOfScenarioError((*place, "user") if declared.user else place, what)
    key = "entrypoint" if declared.entrypoint_argv else "command" if spec.argv and not image.entrypoint else ""
    if trouble := _trouble_with_command(spec, image, text, mend=f"mend {key}" if key else "mend the image"):
        return KeyOfScenarioError((*place, key) if key else place, trouble)
    return KeyOfScenarioError(place, f"Docker can't start {spec.name}: {text}")


def _trouble_with_command(spec: ReplicaSpec, image: Image, text: str, *, mend: str) -> str:
    """What is wrong with the command, if ``text`` speaks of that; empty otherwise."""
    words = command_of(spec, image)
    command = words[0] if words else ""
    if "No command specified" in text or not command:
        return f"image {image.name} names no command to run; write command:"
    if "executable file not found" in text:
        return f"command {command} is not on PATH in image {image.name}; {mend}, or install it in the image"
    if "no such file or directory" in text and command in text:
        return f"there is no {command} in image {image.name}, or no interpreter that its first line names; {mend}"
    if "permission denied" in text.lower() and command in text:
        return f"command {command} may not be executed in image {image.name}; allow it with chmod +x, or {mend}"
    return ""
