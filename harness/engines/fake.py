"""Replicas that are only imagined, by a script, on the run's clock.

Nothing is started: what a replica does is computed from the clock, so on a `harness.clock.FakeClock` a whole run takes milliseconds. A
script says for each process type how long it takes to listen, how it ends, what it leaves behind and what it writes. Everything that
is due is done first whenever anybody calls a method, in the order of the instants at which it was due; so exits are told as late as
the next call, with their true instant. It has all abilities that an engine can have; `without` makes one that lacks some.
"""

from __future__ import annotations

import re
import signal as signals
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from harness.clock import NS_PER_S
from harness.engines.base import EngineContext, Exit, Listening, Replica, ReplicaSpec, Sent, signal_number
from harness.errors import UsageError
from harness.history import OomKilled, Process

HOST: Final = "127.0.0.1"
_FIRST_PORT: Final = 20_000
_FIRST_PID: Final = 5_000_000
"""Above the largest pid that Linux can give, so that nothing real can be hit by mistake."""

_RUNNING_S: Final = 0.001
_KILLING_NS: Final = 1_000_000
"""What the kernel takes until it kills for want of memory."""

_STEP_S: Final = 0.005
_STOP_SIGNALS: Final = frozenset({"SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP"})
_KILLED: Final = 128 + signals.SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeProcess:
    """What replicas of one process type do.

    Attributes:
        missing: The command does not exist.
        start_s: From the start until the port is open; None: never.
        healthy_s: From then on until a health probe succeeds; None: never.
        closes_s: From a stop signal until the port is closed.
        stop_s: From a stop signal until it exits by itself; None: it ignores stop signals.
        stop_status: The exit status then. A stop signal before the port is open ends it as an unhandled signal does.
        dies_after_s: From the start until it exits without being asked; None: never.
        dies_status: The exit status then.
        children: Commands of its descendants, which live until they are killed.
        children_listen: The descendants hold the port open, too.
        lines: What it writes when its port opens (at once when that never happens).
        stop_lines: What it writes at a stop signal.
        memory_bytes: What it uses; squeezed below that, the kernel kills in it.
        oom_kills: What it kills then: the main process with all others, or only a worker.
    """

    missing: bool = False
    start_s: float | None = 0.02
    healthy_s: float | None = 0.005
    closes_s: float = 0.0
    stop_s: float | None = 0.01
    stop_status: int = 0
    dies_after_s: float | None = None
    dies_status: int = 1
    children: tuple[str, ...] = ()
    children_listen: bool = False
    lines: tuple[str, ...] = ("ready",)
    stop_lines: tuple[str, ...] = ("stopping",)
    memory_bytes: int = 1 << 28
    oom_kills: Literal["main", "worker"] = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeScript:
    """What each process type does; ``other`` is what those do that are not named."""

    processes: Mapping[str, FakeProcess] = field(default_factory=dict)
    other: FakeProcess = field(default_factory=FakeProcess)


@dataclass(slots=True, kw_only=True)
class _Life:
    """A replica that is imagined. Instants are nanoseconds; None: not yet, or never."""

    replica: Replica
    plays: FakeProcess
    open_ns: int | None
    due: Exit | None
    children: tuple[Process, ...]
    closed_ns: int | None = None
    exit: Exit | None = None
    lacks: set[str] = field(default_factory=set)
    log: list[tuple[int, str]] = field(default_factory=list)


class FakeEngine:
    """Replicas by a script; see `harness.engines.base.Engine`."""

    name = "fake"
    contained = False

    def __init__(self, context: EngineContext, script: FakeScript | None = None) -> None:
        self._context = context
        self._clock = context.clock
        self._script = script if script is not None else FakeScript()
        self._lives: dict[str, _Life] = {}
        self._made = 0
        self._lock = threading.Lock()

    @staticmethod
    def check(spec: ReplicaSpec) -> None:
        """Anything can be imagined; see `harness.engines.base.EngineClass.check`."""

    def start(self, spec: ReplicaSpec) -> Replica:
        """Imagine a replica; see `harness.engines.base.Engine.start`."""
        self._catch_up()
        plays = self._script.processes.get(spec.process, self._script.other)
        if plays.missing:
            raise UsageError(f"{spec.process}: command {spec.argv[0]} is not on PATH; install it, or mend command")
        at_ns = self._clock.now_ns()
        self._clock.sleep(_RUNNING_S)
        with self._lock:
            self._made += 1
            life = self._imagine(spec, plays, at_ns, self._made)
            self._lives[spec.name] = life
        return life.replica

    def signal(self, replica: Replica, signal: str, *, everything: bool = False) -> Sent:
        """Send ``signal``: SIGKILL ends it, a stop signal begins what the script says, others do nothing."""
        self._catch_up()
        signal_number(signal)  # only a real one is taken
        at_ns = self._clock.now_ns()
        with self._lock:
            life = self._lives[replica.name]
            delivered = life.exit is None
            if everything and signal == "SIGKILL":
                life.children = ()
            if life.exit is None and signal == "SIGKILL":
                _end_at(life, at_ns, _KILLED)
            elif life.exit is None and signal in _STOP_SIGNALS:
                _stop(life, at_ns, signal)
        self._catch_up()
        return Sent(at_ns=at_ns, until_ns=self._clock.now_ns(), delivered=delivered)

    def wait_exit(self, replica: Replica, timeout_s: float) -> Exit | None:
        """Sleep on the clock, in small steps, until the main process has ended, at most ``timeout_s``; 0 asks without waiting."""
        life = self._lives[replica.name]
        deadline_ns = self._clock.now_ns() + round(timeout_s * NS_PER_S)
        while True:
            self._catch_up()
            now_ns = self._clock.now_ns()
            if life.exit is not None or now_ns >= deadline_ns:
                return life.exit
            next_ns = min([deadline_ns, *(other.due.at_ns for other in self._waiting() if other.due is not None)])
            self._clock.sleep(min(_STEP_S, (next_ns - now_ns) / NS_PER_S))

    def descendants(self, replica: Replica) -> tuple[Process, ...]:
        """The descendants that the script gave it, until they are killed."""
        self._catch_up()
        return self._lives[replica.name].children

    def listening(self, replica: Replica) -> Listening | None:
        """Whether the replica's imagined port is open."""
        self._catch_up()
        return Listening(open=self._is_open(self._lives[replica.name]))

    def why_not_healthy(self, replica: Replica) -> str:  # noqa: ARG002  the script says no more
        """Nobody knows."""
        return ""

    def log_tail(self, replica: Replica, lines: int) -> tuple[str, ...]:
        """The last lines that it has written by now."""
        self._catch_up()
        written = self._written(self._lives[replica.name])
        return tuple(written[-lines:]) if lines > 0 else ()

    def log_matches(self, replica: Replica, pattern: str) -> bool:
        """Whether any line that it has written by now matches ``pattern``."""
        self._catch_up()
        return any(re.search(pattern, line) for line in self._written(self._lives[replica.name]))

    def healthy(self, replica: Replica) -> bool:
        """Whether a health probe would succeed now."""
        self._catch_up()
        life = self._lives[replica.name]
        if life.open_ns is None or life.plays.healthy_s is None or not self._is_open(life):
            return False
        return (
            life.exit is None
            and not life.lacks & {"pause", "network"}
            and self._clock.now_ns() >= life.open_ns + round(life.plays.healthy_s * NS_PER_S)
        )

    def pause(self, replica: Replica) -> Sent:
        """It is not healthy until `resume`; see `harness.engines.base.Pauses`."""
        return self._take(replica, "pause")

    def resume(self, replica: Replica) -> Sent:
        """The end of `pause`."""
        return self._give(replica, "pause")

    def cut(self, replica: Replica) -> Sent:
        """It is not healthy until `reconnect`; see `harness.engines.base.CutsNetwork`."""
        return self._take(replica, "network")

    def reconnect(self, replica: Replica) -> Sent:
        """The end of `cut`."""
        return self._give(replica, "network")

    def squeeze(self, replica: Replica, limit_bytes: int) -> Sent:
        """Kill in it what the script says when it uses more; see `harness.engines.base.LimitsMemory`."""
        self._catch_up()
        at_ns = self._clock.now_ns()
        with self._lock:
            life = self._lives[replica.name]
            delivered = life.exit is None
            if delivered:
                life.lacks.add("memory")
            killing = delivered and limit_bytes < life.plays.memory_bytes
            if killing and life.plays.oom_kills == "main":
                life.children = ()
                _end_at(life, at_ns + _KILLING_NS, _KILLED, oom=True)
        if killing:
            self._context.record(OomKilled(at_ns=at_ns + _KILLING_NS, replica=replica.name, limit_bytes=limit_bytes))
        self._catch_up()
        return Sent(at_ns=at_ns, until_ns=self._clock.now_ns(), delivered=delivered)

    def release(self, replica: Replica) -> Sent:
        """The end of `squeeze`."""
        return self._give(replica, "memory")

    def lacking(self, replica: Replica) -> frozenset[str]:
        """What it was not given back yet, in the words of `harness.history.Disturbed`."""
        return frozenset(self._lives[replica.name].lacks)

    def close(self) -> None:
        """Kill what still runs; a second call finds nothing."""
        self._catch_up()
        for life in self._waiting():
            self.signal(life.replica, "SIGKILL", everything=True)
        with self._lock:
            for life in self._lives.values():
                life.children = ()

    def _take(self, replica: Replica, what: str) -> Sent:
        self._catch_up()
        at_ns = self._clock.now_ns()
        life = self._lives[replica.name]
        if life.exit is None:
            life.lacks.add(what)
        return Sent(at_ns=at_ns, until_ns=at_ns, delivered=life.exit is None)

    def _give(self, replica: Replica, what: str) -> Sent:
        self._catch_up()
        at_ns = self._clock.now_ns()
        life = self._lives[replica.name]
        life.lacks.discard(what)
        return Sent(at_ns=at_ns, until_ns=at_ns, delivered=life.exit is None)

    def _imagine(self, spec: ReplicaSpec, plays: FakeProcess, at_ns: int, number: int) -> _Life:
        open_ns = None if plays.start_s is None else at_ns + round(plays.start_s * NS_PER_S)
        due = None
        if plays.dies_after_s is not None:
            due = Exit(at_ns=at_ns + round(plays.dies_after_s * NS_PER_S), status=plays.dies_status)
        pid = _FIRST_PID + 100 * number
        return _Life(
            replica=Replica(
                name=spec.name,
                process=spec.process,
                host=HOST,
                port=spec.port or _FIRST_PORT + number,
                pid=pid,
                at_ns=at_ns,
                running_ns=self._clock.now_ns(),
            ),
            plays=plays,
            open_ns=open_ns,
            due=due,
            children=tuple(
                Process(pid=pid + index, command=command, listening=plays.children_listen)
                for index, command in enumerate(plays.children, start=1)
            ),
            log=[(open_ns if open_ns is not None else at_ns, line) for line in plays.lines],
        )

    def _waiting(self) -> list[_Life]:
        """The replicas whose end nobody has been told of."""
        with self._lock:
            return [life for life in self._lives.values() if life.exit is None]

    def _catch_up(self) -> None:
        """Tell of all exits that are due by now, in their order. ``on_exit`` may itself call any method."""
        while True:
            with self._lock:
                now_ns = self._clock.now_ns()
                due = [
                    (life.due.at_ns, life) for life in self._lives.values() if life.exit is None and life.due and life.due.at_ns <= now_ns
                ]
                if not due:
                    return
                _, life = min(due, key=lambda entry: entry[0])
                life.exit = life.due
            assert life.exit is not None  # noqa: S101  just set
            self._context.on_exit(life.replica, life.exit)

    def _is_open(self, life: _Life) -> bool:
        now_ns = self._clock.now_ns()
        if life.open_ns is None or now_ns < life.open_ns:
            return False
        if life.children and life.plays.children_listen:
            return True
        return life.exit is None and (life.closed_ns is None or now_ns < life.closed_ns)

    def _written(self, life: _Life) -> list[str]:
        end_ns = life.exit.at_ns if life.exit is not None else self._clock.now_ns()
        return [line for at_ns, line in life.log if at_ns <= end_ns]


def _stop(life: _Life, at_ns: int, signal: str) -> None:
    """A stop signal: at once the end of a replica that does not listen yet, else what the script says; a second one changes nothing."""
    if life.closed_ns is not None:
        return
    if life.open_ns is None or at_ns < life.open_ns:
        _end_at(life, at_ns, 128 + signals.Signals[signal])
        return
    life.log += [(at_ns, line) for line in life.plays.stop_lines]
    if life.plays.stop_s is not None:
        life.closed_ns = at_ns + round(life.plays.closes_s * NS_PER_S)
        _end_at(life, at_ns + round(life.plays.stop_s * NS_PER_S), life.plays.stop_status)


def _end_at(life: _Life, at_ns: int, status: int, *, oom: bool = False) -> None:
    """It will end at ``at_ns``, unless it does so before."""
    if life.due is None or at_ns < life.due.at_ns:
        life.due = Exit(at_ns=at_ns, status=status, oom=oom)


def without(*abilities: type) -> type[FakeEngine]:
    """A kind of `FakeEngine` that lacks ``abilities``, protocols of `harness.engines.base`."""
    methods = {name: None for ability in abilities for name in vars(ability) if not name.startswith("_")}
    return type("LackingEngine", (FakeEngine,), methods)
