"""The engine that needs nothing but Python: each replica is a process of this machine.

A replica gets a session of its own, its port as ``PORT``, the run's mark, a scratch folder as ``TMPDIR``, and a pipe for stdout and
stderr, which one thread empties into bounded logs, so no replica ever waits for its log and what it wrote last is there after a sudden
death. Another thread waits for pidfds, so an exit is noted when it happens and not when somebody looks.

The order at an exit is fixed:

1. the kernel makes the pidfd readable; the exits thread takes the instant and the status, and no zombie stays;
2. the logs thread takes what is left in the pipe, so the last lines are there (a descendant that holds the pipe open delays nothing);
3. ``on_exit`` is called;
4. `ProcessEngine.wait_exit` returns.

A descendant belongs to its replica by mark, session, parent or brand, see `harness.proctable`. A daemon that has shed the first three is a
child of this process by then, as every orphan among its descendants is, and so are the load, the watchdog and whatever the program around
Jetable has started, a test of pytest say. Only the brand tells them apart, and who has none of ours is never touched or waited for. A
replica is branded as soon as it runs, `ProcessEngine._brand`, before it can have done more than begin to load.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal as signals
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from harness import marks, proctable
from harness.clock import NS_PER_S
from harness.command import fill
from harness.engines.base import EngineContext, Exit, Listening, Replica, ReplicaSpec, Sent, open_log, signal_number
from harness.errors import KeyOfScenarioError, MachineError, UsageError
from harness.history import Process
from harness.keptlog import KeptLog
from harness.loop import Loop
from harness.proctable import Adoption, Births, CpuTimes, Kinship, Proc, Table
from harness.sockets import Listener, ListenTable, PortClaim, claim_port, holders, socket_inodes

HOST: Final = "127.0.0.1"
CLOSE_WITHIN_S: Final = 5.0
LOOK_AFTER_EVERY_S: Final = 1.0
"""How often all processes are looked at."""

GLANCE_EVERY_S: Final = 0.04
"""How often new processes are looked at, so that a daemon is known, and on the list of the watchdog, before it has shed every trace."""

_PIPE_BYTES: Final = 1 << 20
_READ_BYTES: Final = 1 << 16
_LAST_READS: Final = 64
"""After an exit at most so many reads of the pipe, four times what it holds: a chatty descendant could fill it for ever."""

_SIGNAL_ROUNDS: Final = 20
_BRAND_ROUNDS: Final = 5
_STRANGER_FOR_NS: Final = NS_PER_S // 10
_NOBODY_S_FOR_NS: Final = NS_PER_S
"""A socket that nobody seems to hold is somebody's whom we may not see if it stays for so long."""

_KEPT_CLAIMS: Final = 200
"""Ports of so many replicas that ended stay claimed, so that no other replica takes one to which somebody still sends."""

_MACHINE_ERRORS: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EIO})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stranger:
    """Somebody else's socket at a replica's port, seen from ``since_ns`` to ``at_ns``; ``holder`` is empty when nobody was found."""

    since_ns: int
    at_ns: int
    holder: str


@dataclass(slots=True, kw_only=True)
class _Life:
    """A replica and what the engine holds of it. ``lock`` guards ``pidfd``, ``reaped`` and ``known``.

    ``settled``: its main process ended and left nothing behind, so the number of its session may become a stranger's.
    """

    replica: Replica
    process: subprocess.Popen[bytes]
    main: Proc
    pidfd: int
    pipe: int
    log: KeptLog
    marks: tuple[bytes, ...]
    brand: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)
    exit: Exit | None = None
    reaped: bool = False
    settled: bool = False
    known: dict[int, int] = field(default_factory=dict)
    own_sockets: set[int] = field(default_factory=set)
    strangers: dict[int, _Stranger] = field(default_factory=dict)


class ProcessEngine:
    """Replicas as processes of this machine; see `harness.engines.base.Engine`."""

    name = "process"
    contained = False

    def __init__(self, context: EngineContext) -> None:
        if not hasattr(os, "pidfd_open"):
            raise MachineError("the process engine needs Linux 5.4 or later (pidfd_open)")
        self._context = context
        self._lock = threading.Lock()
        self._lives: dict[str, _Life] = {}
        self._unsettled: dict[str, _Life] = {}
        self._claims: dict[int, PortClaim] = {}
        self._free_claims: list[int] = []
        self._closed = False
        self._told_of: frozenset[str] = frozenset()
        self._handlers = _replace_ignored_signals()
        self._births = Births()
        self._brands = marks.brands(context.run_id)
        self._branded: dict[int, _Life] = {}
        self._spawning = 0
        self._spawned = 0
        self._next_look_ns = 0
        self._adoption = Adoption()
        self._table = ListenTable()
        self._exits = Loop("jetable-exits", context.clock)
        self._logs = Loop("jetable-logs", context.clock, tick=self._tick, tick_s=GLANCE_EVERY_S)

    @staticmethod
    def check(spec: ReplicaSpec) -> None:
        """Whether there is such a program; see `harness.engines.base.EngineClass.check`."""
        if not spec.argv:
            what = "the process engine needs a command, and there is none; write command:, or use --engine docker"
            raise KeyOfScenarioError(("target", spec.process), what)
        if spec.declared is not None and spec.declared.healthcheck is not None and spec.declared.healthcheck.test is not None:
            what = "test runs inside a container, and the process engine has none; write http: or tcp:, or use --engine docker"
            raise KeyOfScenarioError(("target", spec.process, "healthcheck", "test"), what)
        values = {"python": sys.executable, "port": 0, "scratch": "", "replica": spec.name}
        command = fill(spec.argv[0], values)
        path = fill(spec.environment["PATH"], values) if "PATH" in spec.environment else os.environ.get("PATH")
        place = str(spec.working_dir / command) if "/" in command else command
        if shutil.which(place, path=path) is None:
            there = shutil.which(place, mode=os.F_OK, path=path) is not None
            error = OSError(errno.EACCES if there else errno.ENOENT, "")
            raise UsageError(_why_not_executed(command, spec.working_dir, error, on_path=there))

    def start(self, spec: ReplicaSpec) -> Replica:
        """Start a replica and return as soon as its command runs; see `harness.engines.base.Engine.start`."""
        if self._closed:
            raise MachineError(f"{spec.name} can't be started: the engine is closed")
        self._note_image(spec)
        port = self._claim(spec.port)
        with self._in_spawn() as brand:
            try:
                life = self._spawn(spec, port, brand)
            except BaseException:
                self._release(port)
                raise
            with self._lock:
                if not self._closed:
                    self._lives[spec.name] = self._unsettled[spec.name] = self._branded[life.brand] = life
        if spec.name not in self._lives:
            self._abandon(life)
            raise MachineError(f"{spec.name} was started while the engine closed")
        self._logs.watch(life.pipe, lambda _at_ns: self._drain(life))
        self._exits.watch(life.pidfd, partial(self._ended, life))
        return life.replica

    def signal(self, replica: Replica, signal: str, *, everything: bool = False) -> Sent:
        """Send ``signal`` to the main process, or to the whole replica: its own process group first, in one system call."""
        life = self._lives[replica.name]
        number = signal_number(signal)
        sent = self._signal_main(life, number, group=everything)
        if everything:
            self._signal_descendants(life, number, in_group=sent.delivered)
        return sent

    def pause(self, replica: Replica) -> Sent:
        """Stop all its processes with SIGSTOP, which none can ignore, the main process and its group first."""
        sent = self.signal(replica, "SIGSTOP", everything=True)
        return replace(sent, until_ns=self._context.clock.now_ns())

    def resume(self, replica: Replica) -> Sent:
        """Let all its processes go on with SIGCONT, which does nothing to one that runs."""
        sent = self.signal(replica, "SIGCONT", everything=True)
        return replace(sent, until_ns=self._context.clock.now_ns())

    def wait_exit(self, replica: Replica, timeout_s: float) -> Exit | None:
        """Wait until the main process has ended and ``on_exit`` has been called, at most ``timeout_s``; 0 asks without waiting."""
        life = self._lives[replica.name]
        if not self._logs.is_current:  # on_exit itself runs there and would wait for its own end
            life.over.wait(timeout_s)
            return life.exit if life.over.is_set() else None
        return life.exit

    def descendants(self, replica: Replica) -> tuple[Process, ...]:
        """Processes of the replica other than its main process that are alive now, double-forked ones included."""
        life = self._lives[replica.name]
        members = self._members(life, proctable.scan())
        listeners = self._table.listeners() or ()
        inodes = {listener.inode for listener in listeners if listener.port == replica.port}
        return tuple(
            Process(
                pid=proc.pid,
                command=proctable.command_line(proc),
                listening=bool(inodes and inodes & (socket_inodes(proc.pid) or frozenset())),
            )
            for proc in members
        )

    def cpu(self, replica: Replica) -> CpuTimes:
        """What the threads of the replica have had of the CPUs."""
        life = self._lives[replica.name]
        return proctable.cpu_of([life.main.pid, *(proc.pid for proc in self._members(life, proctable.scan()))])

    def listening(self, replica: Replica) -> Listening | None:
        """Whether the replica, or what it left behind, holds its port open; None when the kernel does not tell."""
        life = self._lives[replica.name]
        found = self._table.listeners()
        if found is None:
            return None
        at_port = [listener for listener in found if listener.port == replica.port]
        strangers = [holder for listener in at_port if (holder := self._stranger(life, listener))]
        own = [listener for listener in at_port if listener.inode in life.own_sockets]
        return Listening(
            open=bool(own), backlog=sum(listener.backlog for listener in own), taken_by=strangers[0] if strangers and not own else ""
        )

    def log_tail(self, replica: Replica, lines: int) -> tuple[str, ...]:
        """The last lines that the replica wrote to stdout or stderr."""
        return self._lives[replica.name].log.tail(lines)

    def log_matches(self, replica: Replica, pattern: str) -> bool:
        """Whether any line that the replica wrote so far matches the regular expression ``pattern``."""
        return self._lives[replica.name].log.matches(pattern)

    def close(self) -> None:
        """Kill what still runs and free everything; a second call does nothing.

        Raises:
            Exception: What ``on_exit`` raised, after all is freed.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        deadline_ns = self._context.clock.now_ns() + round(CLOSE_WITHIN_S * NS_PER_S)
        self._kill_everything(deadline_ns)
        for life in self._lives.values():
            life.over.wait(max(0.0, (deadline_ns - self._context.clock.now_ns()) / NS_PER_S))
        self._exits.stop()
        self._logs.stop()
        for life in self._lives.values():
            self._free(life)
        for claim in self._claims.values():
            claim.release()
        self._table.close()
        self._adoption.close()
        _restore_signals(self._handlers)
        for problem in self._exits.problems + self._logs.problems:
            raise problem

    # Starting

    def _note_image(self, spec: ReplicaSpec) -> None:
        """Say once that an image is not used, lest somebody who pasted a Compose service believes that it was."""
        said = spec.declared
        contained = said is not None and bool(said.init or said.read_only or said.user or said.cap_drop or said.mem_limit or said.cpus)
        image = (said.image or (f"built from {said.build.context}" if said.build and contained else "")) if said is not None else ""
        with self._lock:
            told, self._told_of = spec.process in self._told_of, self._told_of | {spec.process}
        if image and not told:
            self._context.note(f"{spec.process} runs as a process of this machine; --engine docker runs its image {image}")

    def _claim(self, wanted: int) -> int:
        with self._lock:
            if wanted and wanted in self._claims:
                if wanted in self._free_claims:
                    self._free_claims.remove(wanted)
                return wanted
            claim = claim_port(wanted=wanted)
            self._claims[claim.port] = claim
            return claim.port

    def _release(self, port: int) -> None:
        """The replica at ``port`` ended: keep its claim for a while, and give the oldest such claim back when there are many."""
        with self._lock:
            if port not in self._free_claims:
                self._free_claims.append(port)
            if len(self._free_claims) > _KEPT_CLAIMS:
                self._claims.pop(self._free_claims.pop(0)).release()

    def _spawn(self, spec: ReplicaSpec, port: int, brand: int) -> _Life:
        values = {"python": sys.executable, "port": port, "scratch": self._context.scratch, "replica": spec.name}
        argv = [fill(word, values) for word in spec.argv]
        environment = self._environment(spec, values)
        log = open_log(self._context, spec)
        reader, writer = _log_pipe()
        process: subprocess.Popen[bytes] | None = None
        births = Births()
        try:
            at_ns = self._context.clock.now_ns()
            process = _popen(argv, environment, spec, writer)
            running_ns = self._context.clock.now_ns()
            main, pidfd = self._take_hold(process, brand)
        except BaseException:
            if process is not None:
                process.kill()
                process.wait()
            os.close(reader)
            log.finish()
            raise
        finally:
            os.close(writer)
        replica = Replica(name=spec.name, process=spec.process, host=HOST, port=port, pid=process.pid, at_ns=at_ns, running_ns=running_ns)
        needles = (marks.needle(marks.RUN, self._context.run_id), marks.needle(marks.REPLICA, spec.name))
        life = _Life(replica=replica, process=process, main=main, pidfd=pidfd, pipe=reader, log=log, marks=needles, brand=brand)
        self._brand(life, births)
        return life

    def _brand(self, life: _Life, births: Births) -> None:
        """Brand the main process once more, and what it may have forked before the first time; whoever is born later inherits the brand.

        A main process that changes its user as it starts can't be branded; what it leaves is known by its other traces.
        """
        proctable.brand(life.main, life.brand)
        kin = Kinship(marks=life.marks, leaders={life.main.pid: life.main.started}, since=life.main.started)
        for _ in range(_BRAND_ROUNDS):
            born = births.look()
            table = proctable.scan() if born is None else Table(procs={proc.pid: proc for proc in born})
            early = proctable.family(table, kin, never={os.getpid()})
            if not [proc for proc in early.values() if table.brand(proc.pid) != life.brand and proctable.brand(proc, life.brand)]:
                return

    def _take_hold(self, process: subprocess.Popen[bytes], brand: int) -> tuple[Proc, int]:
        """Brand a new process before anything else, put it on the run's list, for the watchdog, and open its pidfd."""
        main = proctable.look(process.pid)
        if main is None:
            raise MachineError(
                f"process {process.pid} vanished: this program was started with SIGCHLD ignored, which hides every exit status"
            )
        proctable.brand(main, brand)
        try:
            marks.record_process(self._context.scratch, main)
            return main, os.pidfd_open(process.pid)
        except OSError as error:
            raise MachineError(f"process {process.pid} was started but can't be watched: {error}") from error

    def _environment(self, spec: ReplicaSpec, values: Mapping[str, object]) -> dict[str, str]:
        """The marks come last: whatever a scenario sets, its processes must be found again."""
        environment = marks.unmarked_environment()
        environment.setdefault("PYTHONUNBUFFERED", "1")
        environment |= {"PORT": str(values["port"]), "TMPDIR": str(self._context.scratch)}
        environment |= {name: fill(text, values) for name, text in spec.environment.items()}
        return environment | marks.mark_environment(self._context.run_id, spec.name)

    # Exits and logs, each on its own thread

    def _ended(self, life: _Life, at_ns: int) -> None:
        self._exits.unwatch(life.pidfd)
        with life.lock:
            try:
                result = os.waitid(os.P_PIDFD, life.pidfd, os.WEXITED)
            except ChildProcessError:  # somebody else waited for it
                result = None
            life.reaped = True
            os.close(life.pidfd)
        status = _status(result)
        life.process.returncode = status  # so that Popen neither waits for a pid that is no longer its own nor warns
        life.exit = Exit(at_ns=at_ns, status=status)
        self._logs.call(partial(self._announce, life))

    def _announce(self, life: _Life) -> None:
        for _ in range(_LAST_READS):
            if not self._drain(life):
                break
        self._release(life.replica.port)
        try:
            assert life.exit is not None  # noqa: S101  set before this was asked for
            self._context.on_exit(life.replica, life.exit)
        finally:
            life.over.set()

    def _drain(self, life: _Life) -> bool:
        """Take once what is in the pipe; False when there is nothing, for now or for good."""
        if life.pipe < 0:
            return False
        try:
            data = os.read(life.pipe, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._logs.unwatch(life.pipe)
            os.close(life.pipe)
            life.pipe = -1
            life.log.finish()
            return False
        life.log.write(data)
        return True

    def _tick(self) -> None:
        now_ns = self._context.clock.now_ns()
        if now_ns >= self._next_look_ns:
            self._next_look_ns = now_ns + round(LOOK_AFTER_EVERY_S * NS_PER_S)
            self._look_after()
        elif self._lives:
            self._glance()

    def _glance(self) -> None:
        """Learn who the new processes are while their traces are fresh; whose parents were seen is never in doubt."""
        spawned = self._spawned
        born = self._births.look()
        with self._lock:
            if self._spawning or self._spawned != spawned:
                return  # a new main process may be among them that is not known as one yet: the next look shows the same again
        self._births.done()
        if born is None:
            self._look_after()
            return
        for proc in born:
            life = self._family_of(proc)
            if life is not None and not proctable.is_thread(proc.pid):
                self._remember(life, [proc])

    def _look_after(self) -> None:
        """Learn who the descendants are, and take the zombies that were adopted."""
        if not self._lives:
            return
        over = {life.replica.name for life in self._unsettled_lives() if life.over.is_set()}
        table = proctable.scan()
        lives = self._unsettled_lives()
        for life in lives:
            if not self._members(life, table) and life.replica.name in over:
                life.settled = True
                with self._lock:
                    self._unsettled.pop(life.replica.name, None)

    # Descendants

    def _members(self, life: _Life, table: Table) -> list[Proc]:
        """The replica's living processes other than its main one; adopted zombies are taken on the way."""
        with life.lock:
            leaders = {} if life.settled else {life.main.pid: life.main.started}
            brands = range(life.brand, life.brand + 1)
            kin = Kinship(marks=life.marks, leaders=leaders, known=life.known, brands=brands, since=life.main.started)
            found = proctable.family(table, kin, never={os.getpid()})
        found.pop(life.main.pid, None)
        self._remember(life, found.values())
        for proc in found.values():
            if not proc.alive and proc.parent == os.getpid():
                self._reap(proc)
        return [proc for proc in found.values() if proc.alive]

    def _remember(self, life: _Life, procs: Collection[Proc]) -> None:
        """From now on these belong to the replica whatever they do, for the watchdog as well."""
        with life.lock:
            fresh = [proc for proc in procs if life.known.get(proc.pid) != proc.started]
            life.known |= {proc.pid: proc.started for proc in fresh}
        if not self._closed:
            for proc in fresh:
                if proc.alive:
                    marks.record_process(self._context.scratch, proc)

    @contextmanager
    def _in_spawn(self) -> Iterator[int]:
        """Until a new main process is known as one, nobody can say who its children are. Yields the brand for it."""
        with self._lock:
            self._spawning += 1
            self._spawned += 1
            brand = self._brands[self._spawned % len(self._brands)]
        try:
            yield brand
        finally:
            with self._lock:
                self._spawning -= 1

    def _family_of(self, proc: Proc) -> _Life | None:
        """The replica that a newborn belongs to, if any; main processes belong to none."""
        life = self._branded.get(proctable.brand_of(proc.pid)) or next(filter(partial(_is_child, proc), self._unsettled_lives()), None)
        if life is None or proc.pid == life.main.pid:
            return None
        if life.settled:
            life.settled = False
            with self._lock:
                self._unsettled[life.replica.name] = life
        return life

    def _unsettled_lives(self) -> list[_Life]:
        with self._lock:
            return list(self._unsettled.values())

    def _reap(self, zombie: Proc) -> None:
        """Wait for an adopted descendant, and for nobody else: the pid may have been waited for and used again meanwhile."""
        with self._lock:
            now = proctable.look(zombie.pid)
            if now is not None and now.started == zombie.started and not now.alive:
                with suppress(ChildProcessError):
                    os.waitpid(zombie.pid, os.WNOHANG)

    # Signals

    def _signal_main(self, life: _Life, number: signals.Signals, *, group: bool) -> Sent:
        """Signal the main process, with its process group if wanted; the instants are those right before and after the system call.

        While it is not waited for, its pid and its group can't be anybody else's.
        """
        now_ns = self._context.clock.now_ns
        with life.lock:
            at_ns = now_ns()
            try:
                if life.reaped or os.waitid(os.P_PIDFD, life.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    return Sent(at_ns=at_ns, until_ns=now_ns(), delivered=False)
                at_ns = now_ns()
                if group:
                    os.killpg(life.main.pid, number)
                else:
                    signals.pidfd_send_signal(life.pidfd, number)
                return Sent(at_ns=at_ns, until_ns=now_ns(), delivered=True)
            except (ProcessLookupError, ChildProcessError):
                return Sent(at_ns=at_ns, until_ns=now_ns(), delivered=False)

    def _signal_descendants(self, life: _Life, number: signals.Signals, *, in_group: bool) -> None:
        """Signal all descendants once each, until two looks in a row find no new one.

        ``in_group``: those in the main process's own group have it already.
        """
        done: set[tuple[int, int]] = set()
        quiet = 0
        for _ in range(_SIGNAL_ROUNDS):
            table = proctable.scan()
            members = [proc for proc in self._members(life, table) if not (in_group and proc.group == life.main.pid)]
            fresh = [proc for proc in members if (proc.pid, proc.started) not in done]
            quiet = 0 if fresh else quiet + 1
            if quiet == 2:
                break
            done |= {(proc.pid, proc.started) for proc in fresh}
            if number == signals.SIGKILL:
                proctable.kill(fresh, table)
            else:
                for proc in fresh:
                    proctable.send(proc, number)

    # Ports

    def _stranger(self, life: _Life, listener: Listener) -> str | None:
        """Who holds this socket when it is neither the replica nor a descendant; None when it is, empty when it may be about to go.

        The answer is kept, since this is asked a thousand times a second: for good when the socket is the replica's own, else for a
        moment, as a look at many processes is no look at one instant.
        """
        if listener.inode in life.own_sockets:
            return None
        now_ns = self._context.clock.now_ns()
        before = life.strangers.get(listener.inode)
        if before is not None and now_ns - before.at_ns < _STRANGER_FOR_NS:
            return self._told(before)
        table = proctable.scan()
        own = [*self._members(life, table)]
        main = table.same(life.main.pid, life.main.started)
        if main is not None and main.alive:
            own.insert(0, main)
        if any(_holds(proc, listener) for proc in own):
            life.own_sockets.add(listener.inode)
            return None
        since_ns = before.since_ns if before is not None else now_ns
        life.strangers[listener.inode] = _Stranger(since_ns=since_ns, at_ns=now_ns, holder=_holder_of(listener))
        return self._told(life.strangers[listener.inode])

    @staticmethod
    def _told(stranger: _Stranger) -> str:
        """A socket of a process that was just killed is still there for a moment, and nobody holds it any more."""
        lasting = stranger.at_ns - stranger.since_ns >= _NOBODY_S_FOR_NS
        return stranger.holder or ("another program" if lasting else "")

    # The end

    def _kill_everything(self, deadline_ns: int) -> None:
        """SIGKILL all replicas with all that belongs to them, until two looks in a row find nothing."""
        for life in list(self._lives.values()):
            self._signal_main(life, signals.SIGKILL, group=True)
        # A replica whose start was interrupted between fork and return is in no list, but it carries the mark.
        needles = (marks.needle(marks.RUN, self._context.run_id), b"\0" + marks.REPLICA.encode() + b"=")
        unlisted = Kinship(marks=needles, brands=self._brands)
        quiet = 0
        while quiet < 2 and self._context.clock.now_ns() < deadline_ns:
            table = proctable.scan()
            left = proctable.family(table, unlisted, never=proctable.ancestors(table, os.getpid()))
            for life in list(self._lives.values()):
                left |= {proc.pid: proc for proc in self._members(life, table)}
            alive = [proc for proc in left.values() if proc.alive]
            proctable.kill(alive, table)
            quiet = 0 if alive or self._spawning else quiet + 1
            if quiet == 0:
                self._context.clock.sleep(0.002)

    def _abandon(self, life: _Life) -> None:
        """End a replica that came too late to be watched."""
        self._signal_main(life, signals.SIGKILL, group=True)
        life.process.wait()
        self._free(life)

    def _free(self, life: _Life) -> None:
        """Let go of what belongs to one replica; both threads have ended."""
        if life.pipe >= 0:
            os.close(life.pipe)
            life.pipe = -1
        life.log.finish()
        if not life.reaped:  # it survived SIGKILL, which only the kernel's own troubles can make happen
            os.close(life.pidfd)
            life.process.returncode = -1
            life.reaped = True


def _popen(argv: list[str], environment: Mapping[str, str], spec: ReplicaSpec, output: int) -> subprocess.Popen[bytes]:
    """Start the command; it runs when this returns.

    Raises:
        UsageError: The command can't be executed.
        MachineError: The machine has no room for another process.
    """
    try:
        return subprocess.Popen(
            argv,
            env=environment,
            cwd=str(spec.working_dir),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    except ValueError as error:
        raise UsageError(f"{spec.process}: command can't be executed: {error}") from error
    except OSError as error:
        if error.errno in _MACHINE_ERRORS:
            raise MachineError(f"can't start {spec.name}: {error.strerror}; see ulimit -a for this machine's limits") from error
        if error.filename == str(spec.working_dir):
            raise UsageError(f"{spec.process}: can't run in {spec.working_dir}: {error.strerror}; mend working_dir") from error
        on_path = shutil.which(argv[0], mode=os.F_OK, path=environment.get("PATH")) is not None
        raise UsageError(_why_not_executed(argv[0], spec.working_dir, error, on_path=on_path)) from error


def _why_not_executed(command: str, folder: Path, error: OSError, *, on_path: bool) -> str:
    if "/" not in command and not on_path:  # the error may be that of a folder on PATH that we may not look into
        hint = "write {python} for the Python that runs Jetable" if command.startswith("python") else "install it"
        return f"command {command} is not on PATH; {hint}, or mend command"
    if error.errno == errno.ENOENT and "/" in command and not (folder / command).exists():
        return f"there is no file {folder / command}; mend command or working_dir"
    if error.errno == errno.ENOENT:
        return f"command {command} names an interpreter in its first line that does not exist; mend that line or command"
    if error.errno == errno.EACCES:
        return f"command {command} may not be executed; allow it with chmod +x, or mend command"
    if error.errno == errno.ENOEXEC:
        return f"command {command} is no program of this machine; a script needs a first line such as #!/bin/sh"
    return f"command {command} can't be executed: {error.strerror}; mend command"


def _log_pipe() -> tuple[int, int]:
    """A pipe of which our end never blocks, large enough that a pause of ours does not stop a replica that writes much."""
    try:
        reader, writer = os.pipe()
    except OSError as error:
        raise MachineError(f"no pipe for a replica's log: {error.strerror}; raise the limit of open files (ulimit -n)") from error
    os.set_blocking(reader, False)
    with suppress(OSError):  # beyond what one user may have; the usual size does, too
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return reader, writer


def _status(result: os.waitid_result | None) -> int:
    if result is None:
        return -1
    return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status


def _holds(proc: Proc, listener: Listener) -> bool:
    """Whether a process holds a socket; taken for granted of one that runs but may not be looked into."""
    inodes = socket_inodes(proc.pid)
    if inodes is not None:
        return listener.inode in inodes
    now = proctable.look(proc.pid)
    return now is not None and now.alive


def _is_child(proc: Proc, life: _Life) -> bool:
    """Whether the parent of ``proc`` is a process of the replica, still the one that was seen."""
    started = life.main.started if proc.parent == life.main.pid else life.known.get(proc.parent)
    parent = proctable.look(proc.parent) if started is not None else None
    return parent is not None and parent.started == started


def _holder_of(listener: Listener) -> str:
    """The program that holds a socket, in words; empty when nobody whom we can see does."""
    found = [proc for pid in holders(listener.inode) if (proc := proctable.look(pid)) is not None]
    return ", ".join(f"{proc.name} (pid {proc.pid})" for proc in found[:3])


def _replace_ignored_signals() -> dict[signals.Signals, signals.Handlers]:
    """Let an empty handler stand for each signal that this process ignores, and return those that were replaced.

    An ignored signal stays ignored in every child, a handled one does not. Under nohup, or in the background of a script, the harness was
    started with SIGHUP or SIGINT ignored; replicas that inherit that seem to have no ear for their stop signal.
    """
    replaced: dict[signals.Signals, signals.Handlers] = {}
    if threading.current_thread() is not threading.main_thread():
        return replaced
    for number in (signals.SIGHUP, signals.SIGINT, signals.SIGQUIT, signals.SIGTERM, signals.SIGCHLD, signals.SIGUSR1, signals.SIGUSR2):
        if signals.getsignal(number) is signals.SIG_IGN:
            signals.signal(number, _do_nothing)
            replaced[number] = signals.SIG_IGN
    return replaced


def _restore_signals(replaced: Mapping[signals.Signals, signals.Handlers]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in replaced.items():
            if signals.getsignal(number) is _do_nothing:
                signals.signal(number, handler)


def _do_nothing(_number: int, _frame: object) -> None:
    """Stand for a signal that is ignored."""
