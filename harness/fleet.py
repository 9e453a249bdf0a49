"""The fleet: the replicas that are up, how one is started, and how one is stopped in front of a router.

`Fleet.stop` is where a fault becomes exact. With no lag the router must know of the stop *at* the signal, and the victim must be busy
*at* the signal; the load shares two counters for each replica with the harness, so both can be had at once:

1. wait until a request is in flight on the victim;
2. withdraw the victim: the load routes nothing new to it;
3. wait until nothing is *on the way* (routed before 2, not sent yet): from here on what is in flight was sent before the signal;
4. if something is still in flight, signal; else publish the victim again and go back to 1, until the scenario's bound is over.

A victim that never was busy is signalled all the same, and the history says so: the verdict is then *unknown*, not *pass*.

`Fleet.disturb` takes something away from a replica that stays where it is, and gives it back at its end, whatever happens meanwhile: the
router is told nothing, as nobody tells one that a process hangs.
"""

from __future__ import annotations

import math
import signal as signals
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from harness import imports
from harness.clock import NS_PER_S
from harness.connections import Holder, Holding
from harness.engines.base import Exit, Replica, ReplicaSpec, Sent, TellsCpu
from harness.errors import KeyOfScenarioError, TargetError, UsageError
from harness.history import (
    Disturbed,
    Exited,
    LetGo,
    PhaseReached,
    Process,
    Repeated,
    Restored,
    Routed,
    Scheduled,
    Signalled,
    Spawned,
    StartFailed,
    Survived,
)
from harness.load.tail import Demand
from harness.moment import Moment
from harness.probes import NotHealthyError, knock_watch, listener_watch, wait_healthy
from harness.proctable import CpuTimes, disposition
from harness.scenario import JOB_MOMENTS, Scenario, Volume
from harness.stage import Given, Stage, Watch

LOG_LINES: Final = 20
IMPORT_LINES: Final = 10_000
KILL_WAIT_S: Final = 10.0
"""How long SIGKILL may take before the run is given up."""

GONE_S: Final = 2.0
"""How long the end of the run waits for the ends of what it has killed."""

SETTLE_S: Final = 1.0
"""How long descendants may outlive their main process before they count as survivors."""

LET_GO_S: Final = 3.0
"""How long a victim may take to end once nobody holds a connection to it, when its grace is over."""

OOM_NEWS_S: Final = 1.0
"""An exit for want of memory so long after the end of a squeeze is still its doing: the kernel takes a while to end a large process."""

JOB_POLL_S: Final = 0.001

PLAIN_WHENS: Final = ("any", "in-flight")
"""Moments that the history tells by ``wants_busy`` alone."""

_NEVER_NS: Final = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOrder:
    """How to stop one replica.

    Attributes:
        purpose: A `Signalled` purpose: ``terminate``, ``kill``, ``scale``, ``start`` or ``signal``.
        signal: The first signal.
        grace_s: Time until SIGKILL; 0 sends nothing after the first signal.
        lag_s: The router learns of it so long after the signal; negative: before it.
        when: What the victim must be doing at the signal, see `harness.moment`.
        busy_within_s: How long to wait for that.
        everything: Signal the descendants too.
        again_s: Send the signal once more so long after the first; 0 for never.
        job_share: For how much of what jobs usually take it must have worked on one, where a job in hand is the moment.
        spares: Leave what outlives it until `Fleet.bury`, as a process manager does that starts the next one at once.
        timed: Watch its listener also where it takes no load, since its stop is timed.
    """

    purpose: str
    signal: str
    grace_s: float = 0.0
    lag_s: float = 0.0
    when: str = "any"
    busy_within_s: float = 0.0
    everything: bool = False
    again_s: float = 0.0
    spares: bool = False
    job_share: float = 0.0
    timed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """What to take away from one replica, and how.

    Attributes:
        what: As in `Disturbed`: ``pause``, ``network`` or ``memory``.
        detail: The same in more words, such as the new limit; may be empty.
        lasts_s: How long the replica goes without.
        when: What the victim must be doing at the beginning, see `harness.moment`.
        busy_within_s: How long to wait for that.
        job_share: As in `StopOrder`.
        take: Takes it away.
        give_back: Gives it back.
    """

    what: str
    detail: str
    lasts_s: float
    when: str
    busy_within_s: float
    take: Callable[[Replica], Sent]
    give_back: Callable[[Replica], Sent]
    job_share: float = 0.0


def spec_of(scenario: Scenario, process: str, name: str, *, again: Replica | None = None, given: Given | None = None) -> ReplicaSpec:
    """What a replica of ``process`` is started from; at the address of ``again``, if given. The scenario's words come before ``given``."""
    kind = scenario.target[process]
    given = given or Given()
    if given.shared is not None:
        mount = Volume(type="bind", source=str(given.shared), target=str(given.shared))
        kind = kind.model_copy(update={"volumes": (*kind.volumes, mount)})
    folder = Path(kind.working_dir) if kind.working_dir else Path.cwd()
    return ReplicaSpec(
        name=name,
        process=process,
        argv=kind.argv,
        environment={**given.environment, **kind.environment},
        working_dir=folder,
        port=again.port if again else 0,
        host=again.host if again else "",
        declared=kind,
    )


def nobody(_replica: Replica) -> None:
    """Nobody waits for a launch."""


class Fleet:
    """The replicas of a run that are up, in the order of their starts.

    ``launched`` is called as soon as a replica runs, before its health is waited for; from any thread, and it must be quick.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._up: dict[str, Replica] = {}
        self._count: dict[str, int] = {}
        self._commanded: set[str] = set()
        self._gone: set[str] = set()
        self._squeezed: dict[str, tuple[int, int]] = {}
        self._holder = Holder(stage)
        self._holdings: dict[str, Holding] = {}
        self._spared: dict[str, tuple[Process, ...]] = {}
        self._taken: set[str] = set()
        self._promised: dict[str, str] = {}
        self._nudged: set[str] = set()
        self._dispositions: dict[str, str] = {}
        self._apart: set[str] = set()
        self._ready: set[str] = set()
        self._quickest_ns: dict[str, int] = {}
        self._ending = False
        self._lock = threading.Lock()
        self.step = 0
        self.launched: Callable[[Replica], None] = nobody

    def up(self, process: str) -> list[Replica]:
        """The replicas of a process type that are up and that no step has taken, oldest first."""
        with self._lock:
            mine = [replica for replica in self._up.values() if replica.process == process and replica.name not in self._taken]
        return sorted(mine, key=lambda replica: int(replica.name.rpartition(".")[2]))  # instants of a common start would be a race

    def address_of(self, process: str) -> tuple[str, int] | None:
        """Where a replica of a process type is that is up, the newest one; None when there is none."""
        up = self.up(process)
        return (up[-1].host, up[-1].port) if up else None

    def places(self, process: str) -> int:
        """How many replicas of a process type there are once what has been taken is replaced, or gone."""
        with self._lock:
            promised = sum(of == process for of in self._promised.values())
        return len(self.up(process)) + promised

    def take(self, victim: Replica, *, replaced: bool) -> bool:
        """Claim a replica for a step, which stops it and, if ``replaced``, starts another one; false when another step was first."""
        with self._lock:
            if victim.name in self._taken:
                return False
            self._taken.add(victim.name)
            if replaced:
                self._promised[victim.name] = victim.process
            return True

    def repeat(self, victim: Replica, again: Replica | None = None) -> None:
        """Write down that the last fault on ``victim`` came at the wrong moment and is done again, on ``again`` or on the next to start."""
        stage = self._stage
        stage.record(Repeated(at_ns=stage.clock.now_ns(), step=self.step, replica=victim.name, again=again.name if again else ""))
        on = again.name if again else "the next that starts"
        stage.note(f"the fault on {victim.name} came at another moment than its step demands; it is done again on {on}")

    def got_ready(self, replica: Replica) -> bool:
        """It has been healthy."""
        with self._lock:
            return replica.name in self._ready

    @contextmanager
    def claimed(self, victim: Replica) -> Iterator[bool]:
        """Keep a replica for a step that does something to it and leaves it where it is, so that no other step stops it meanwhile.

        Yields false, and keeps nothing, when another step was first.
        """
        mine = self.take(victim, replaced=True)
        try:
            yield mine
        finally:
            if mine:
                with self._lock:
                    self._taken.discard(victim.name)
                    self._promised.pop(victim.name, None)

    def quickest_start_s(self, process: str) -> float:
        """Seconds of the quickest start of a process type so far, from its beginning to *healthy*; 0 when there was none."""
        with self._lock:
            return self._quickest_ns.get(process, 0) / NS_PER_S

    def start_many(self, process: str, count: int) -> None:
        """Start ``count`` replicas at once and wait until all are healthy.

        Raises:
            TargetError: One did not become healthy; the history says which and why.
        """
        names = [self._next_name(process) for _ in range(count)]
        self._stage.background.map(lambda name: self._start(process, name, again=None, replaces=""), names)

    def start(self, process: str, *, replaces: str = "", again: Replica | None = None) -> Replica:
        """Start one replica and wait until it is healthy and gets its share of the load; raises as `start_many`.

        With ``again`` it takes the address of a replica that is gone.
        """
        try:
            return self._start(process, self._next_name(process), again=again, replaces=replaces)
        finally:
            with self._lock:
                self._promised.pop(replaces, None)

    def stop_while_starting(self, process: str, after_s: float, order: StopOrder, *, again: Replica | None = None) -> Replica:
        """Start one replica and stop it as ``order`` says, ``after_s`` after it began; it gets no load. Raises as `start`.

        With an infinite ``after_s`` that is as soon as it listens, before anybody has asked whether it is healthy. It begins when it is
        asked for, or when its command runs where a runtime has to make a container first.

        Returns:
            What is left of it: its address, for the next start.
        """
        replica = self._launch(process, self._next_name(process), again=again, replaces=again.name if again else "")
        if math.isinf(after_s):
            self._await_health(replica, until_listening=True)
        else:
            self._await_health(replica, until_ns=replica.began_ns + round(after_s * NS_PER_S))
            self._stage.engine.wait_exit(replica, (replica.began_ns - self._stage.clock.now_ns()) / NS_PER_S + after_s)
        self._end(replica, order)
        return replica

    def prove_start(self, process: str, *, again: Replica) -> None:
        """Start one replica at the address of ``again``, wait until it is healthy, and remove it; it gets no load. Raises as `start`."""
        replica = self._launch(process, self._next_name(process), again=again, replaces=again.name)
        self._await_health(replica)
        self._end(replica, _order("teardown"))

    def profile_start(self, process: str) -> None:
        """Start one replica apart from the run, to hear what a Python app imports meanwhile, and remove it; nothing of it is judged.

        What it tells is recorded of the replica that started last, as its process type's; of itself where none is up.
        """
        stage, up = self._stage, self.up(process)
        name = self._next_name(process)
        apart = replace(stage, record=lambda _event: None)
        with self._lock:
            self._apart.add(name)
        spec = spec_of(stage.scenario, process, name, given=stage.given)
        replica = stage.engine.start(replace(spec, environment={**spec.environment, imports.VARIABLE: "1"}))
        try:
            wait_healthy(apart, replica, stage.scenario.healthcheck_of(process))
            healthy_ns = stage.clock.now_ns()
            lines = stage.engine.log_tail(replica, IMPORT_LINES)
            if told := imports.imported(lines, replica=up[-1].name if up else name, at_ns=healthy_ns):
                stage.record(msgspec.structs.replace(told, apart=True, took_ns=healthy_ns - replica.began_ns))
        except NotHealthyError:
            return  # so there is no evidence, and no cause is told
        finally:
            stage.engine.signal(replica, "SIGKILL", everything=True)
            stage.engine.wait_exit(replica, KILL_WAIT_S)

    def _end(self, replica: Replica, order: StopOrder) -> None:
        """Stop a replica that never got load."""
        self._look_at_handler(replica, order)
        sent = self._signal(replica, order, in_flight=-1)
        gone, _ = self._await_exit(replica, order, sent)
        self._bury(replica, self._settle(replica, gone, everything=order.everything))

    def _next_name(self, process: str) -> str:
        with self._lock:
            self._count[process] = self._count.get(process, 0) + 1
            return f"{process}.{self._count[process]}"

    def _start(self, process: str, name: str, *, again: Replica | None, replaces: str) -> Replica:
        replica = self._launch(process, name, again=again, replaces=replaces)
        self._await_health(replica)
        with self._lock:
            if name in self._gone:
                raise TargetError(f"{name} ended right after it was healthy")
            self._up[name] = replica
        self._publish(replica)
        self._tell()
        return replica

    def _launch(self, process: str, name: str, *, again: Replica | None, replaces: str) -> Replica:
        """Have the engine start a replica, and record it."""
        stage = self._stage
        spec = spec_of(stage.scenario, process, name, again=again, given=stage.given)
        try:
            replica = stage.engine.start(spec)
        except KeyOfScenarioError:
            raise
        except UsageError as error:
            raise KeyOfScenarioError(("target", process, "command"), str(error)) from error
        stage.record(
            Spawned(
                at_ns=replica.at_ns,
                step=self.step,
                replica=name,
                process=process,
                command=replica.command or " ".join(spec.argv),
                host=replica.host,
                port=replica.port,
                pid=replica.pid,
                replaces=replaces,
            )
        )
        for phase, at_ns in (("created", replica.created_ns), ("started", replica.started_ns), ("running", replica.running_ns)):
            if at_ns:
                stage.record(PhaseReached(at_ns=at_ns, replica=name, phase=phase))
        self.launched(replica)
        return replica

    def _await_health(self, replica: Replica, *, until_ns: int = 0, until_listening: bool = False) -> None:
        """Wait until it is healthy, or until ``until_ns`` or until it listens if that is asked for and comes first."""
        stage = self._stage
        check = stage.scenario.healthcheck_of(replica.process)
        try:
            healthy = wait_healthy(stage, replica, check, until_ns=until_ns, until_listening=until_listening)
        except NotHealthyError as error:
            self._give_up(replica, error)
            raise
        if healthy:
            took_ns = stage.clock.now_ns() - replica.began_ns
            with self._lock:
                self._ready.add(replica.name)
                self._quickest_ns[replica.process] = min(took_ns, self._quickest_ns.get(replica.process, took_ns))
            self._tell_imports(replica)

    def _tell_imports(self, replica: Replica) -> None:
        """Record what a Python app imported while it started, where its environment makes it tell."""
        stage = self._stage
        if imports.VARIABLE in stage.scenario.target[replica.process].environment:
            lines = stage.engine.log_tail(replica, IMPORT_LINES)
            if told := imports.imported(lines, replica=replica.name, at_ns=stage.clock.now_ns()):
                stage.record(told)

    def _give_up(self, replica: Replica, error: NotHealthyError) -> None:
        stage = self._stage
        with self._lock:
            self._commanded.add(replica.name)
            if self._ending:
                return
        gone = stage.engine.wait_exit(replica, 0) if error.reason == "exited" else None
        left = self._left_after(replica, gone) if gone is not None and gone.status == 0 else ()
        self._record_cpu(replica, replica.began_ns, {})
        stage.record(
            StartFailed(
                at_ns=stage.clock.now_ns(),
                step=self.step,
                replica=replica.name,
                reason=error.reason,
                detail=error.detail,
                log=stage.engine.log_tail(replica, LOG_LINES),
                left=left,
            )
        )
        stage.engine.signal(replica, "SIGKILL", everything=True)

    def exited(self, replica: Replica, gone: Exit) -> None:
        """The engine tells that a main process ended; called from any thread, also for a replica that never got healthy."""
        with self._lock:
            if replica.name in self._apart:
                return
            squeezed = gone.oom and self._was_squeezed(replica, gone.at_ns)
            if squeezed:
                self._commanded.add(replica.name)
            commanded = self._ending or gone.lost or replica.name in self._commanded
            self._gone.add(replica.name)
            self._up.pop(replica.name, None)
        stage = self._stage
        stage.jobs.gone(replica.name)
        if replica.vanishes and self._gets_load(replica):
            stage.load.vanish(replica.name)
        stage.record(
            Exited(
                at_ns=gone.at_ns,
                replica=replica.name,
                status=gone.status,
                commanded=commanded,
                log=stage.engine.log_tail(replica, LOG_LINES),
                oom=gone.oom,
                lost=gone.lost,
            )
        )
        self._tell()
        if squeezed or not commanded or replica.name in self._nudged:
            self._withdraw(replica)
        if not commanded:
            stage.note(f"{replica.name} ended by itself with status {gone.status}")

    def stop(self, victim: Replica, order: StopOrder) -> bool:
        """Stop one replica as ``order`` says and return when it, and all that it left behind, is gone.

        Returns:
            False when the signal came at another moment than ``order.when``.

        Raises:
            TargetError: It survived SIGKILL.
        """
        holding = self._holdings[victim.name] = self._holder.hold(victim, self.step)
        watches: list[Watch] = [holding]
        try:
            sent, told_ns = self._send(victim, order)
            holding.signalled(sent.at_ns)
            watches += self._watch(victim, timed=order.timed)
            gone, told = self._await_exit(victim, order, sent)
            left = self._settle(victim, gone, everything=order.everything)
            if not told:  # the router learns of it when its lag is over, also of a replica that is gone already
                self._sleep_until(sent.at_ns + round(order.lag_s * NS_PER_S))
                self._withdraw(victim)
        finally:
            for watch in watches:
                watch.end()
            del self._holdings[victim.name]
        if self._stage.scenario.job_process == victim.process:
            self._stage.jobs.look("after", victim.name)
        met = self._was_met(victim, order, sent, told_ns)
        if order.spares and left:
            self._spared[victim.name] = left
        else:
            self._bury(victim, left)
        return met

    def bury(self, victim: Replica) -> None:
        """End what was spared when ``victim`` was stopped; nothing when nothing was."""
        if left := self._spared.pop(victim.name, ()):
            self._bury(victim, left)

    def nudge(self, victim: Replica, order: StopOrder, watch_s: float) -> bool:
        """Send a signal that the replica should live through, and watch it for ``watch_s``; the router is not told.

        Returns:
            False when it ended meanwhile: its place is free.
        """
        with self._lock:
            self._nudged.add(victim.name)  # so that the router learns of its end, and not of the signal
        self._look_at_handler(victim, order)
        with self._when_it_is(victim, order) as in_flight:
            sent = self._signal(victim, order, in_flight=in_flight)
        gone = self._stage.engine.wait_exit(victim, watch_s)
        self._stage.raise_if_lost()
        with self._lock:
            if gone is None or not sent.delivered:
                self._nudged.discard(victim.name)
                self._commanded.discard(victim.name)  # what happens to it from now on is not the signal's doing
        if gone is None:
            return True
        self._bury(victim, self._settle(victim, gone, everything=order.everything))
        return False

    def disturb(self, victim: Replica, order: Disturbance) -> bool:
        """Take something away from one replica for a while and give it back whatever happens; the router is not told.

        Returns:
            False when the replica did not live through it because it lacked memory: its place is free.
        """
        stage = self._stage
        if order.what == "memory":
            self._squeezed[victim.name] = stage.clock.now_ns(), _NEVER_NS
        try:
            sent = self._take_away(victim, order)
            if sent.delivered:
                left_s = order.lasts_s - (stage.clock.now_ns() - sent.until_ns) / NS_PER_S
                stage.engine.wait_exit(victim, max(0.0, left_s))
        finally:
            self._give_back(victim, order)
        if order.what != "memory":
            return True
        gone = stage.engine.wait_exit(victim, OOM_NEWS_S)
        if gone is None or not gone.oom or not self._was_squeezed(victim, gone.at_ns):
            return True
        self._bury(victim, self._settle(victim, gone, everything=False))
        return False

    def _take_away(self, victim: Replica, order: Disturbance) -> Sent:
        with self._when_it_is(victim, order) as in_flight:
            sent = order.take(victim)
        self._stage.record(
            Disturbed(
                at_ns=sent.at_ns,
                until_ns=sent.until_ns,
                step=self.step,
                replica=victim.name,
                what=order.what,
                delivered=sent.delivered,
                wants_busy=order.when not in ("any", "idle") and in_flight >= 0,
                in_flight=in_flight,
                detail=order.detail,
            )
        )
        return sent

    def _give_back(self, victim: Replica, order: Disturbance) -> None:
        """Give back what was taken; the history has it even when that fails."""
        stage = self._stage
        at_ns = stage.clock.now_ns()
        sent = Sent(at_ns=at_ns, until_ns=at_ns, delivered=False)
        try:
            sent = order.give_back(victim)
        finally:
            with self._lock:
                if victim.name in self._squeezed:
                    self._squeezed[victim.name] = self._squeezed[victim.name][0], sent.until_ns + round(OOM_NEWS_S * NS_PER_S)
            stage.record(
                Restored(
                    at_ns=sent.at_ns,
                    until_ns=sent.until_ns,
                    step=self.step,
                    replica=victim.name,
                    what=order.what,
                    delivered=sent.delivered,
                )
            )

    def _was_squeezed(self, replica: Replica, at_ns: int) -> bool:
        begin_ns, end_ns = self._squeezed.get(replica.name, (_NEVER_NS, 0))
        return begin_ns <= at_ns <= end_ns

    def _was_met(self, victim: Replica, order: StopOrder, sent: Sent, told_ns: int) -> bool:
        """The victim was as demanded, as far as the ledger knows by now."""
        if order.when == "any" or not sent.delivered:
            return True
        if self._is_about_jobs(victim, order.when):
            return self._stage.jobs.had(victim.name, order.when, sent.at_ns)
        if not self._gets_load(victim):
            return True
        sudden = order.purpose == "kill" and order.everything
        until_ns = sent.until_ns if told_ns == sent.at_ns else told_ns
        return self._stage.load.met(Demand(replica=victim.name, when=order.when, at_ns=told_ns, until_ns=until_ns, sudden=sudden))

    def _send(self, victim: Replica, order: StopOrder) -> tuple[Sent, int]:
        """Signal the victim at the right moment and leave the router as ``order.lag_s`` wants it.

        Returns:
            The signal, and the instant at which the victim had to be as demanded: the signal's, or when the router was told before it.
        """
        self._look_at_handler(victim, order)
        if self._is_about_jobs(victim, order.when):
            with self._job_moment(victim, order) as jobs:
                sent = self._signal(victim, order, in_flight=jobs)
            self._withdraw(victim)
            return sent, sent.at_ns
        if not self._gets_load(victim):
            sent = self._signal(victim, order, in_flight=-1)
            return sent, sent.at_ns
        with self._moment(victim, order.when, order.busy_within_s) as moment:
            if order.lag_s < 0:
                moment.wait()
                in_flight = moment.requests
                self._withdraw(victim)
                told_ns = self._stage.clock.now_ns()
                self._stage.engine.wait_exit(victim, -order.lag_s)  # one that dies by itself while it drains need not be waited for
                return self._signal(victim, order, in_flight=in_flight), told_ns
            alone = order.when == "idle" and not self._others(victim)  # held back, it would leave users without any replica
            if order.lag_s == 0 and not alone and (order.grace_s > 0 or order.when == "idle"):
                sent = self._send_withdrawn(victim, order, moment)
                return sent, sent.at_ns
            moment.wait_until_now()
            sent = self._signal(victim, order, in_flight=moment.requests)
            if order.lag_s == 0:
                self._withdraw(victim)
            return sent, sent.at_ns

    def _send_withdrawn(self, victim: Replica, order: StopOrder, moment: Moment) -> Sent:
        """Signal at the very moment at which the router learns of it: the numbered steps at the head of this file.

        Where the victim is to be idle it is so for good once it is withdrawn and has answered what it had.
        """
        load, idle = self._stage.load, order.when == "idle"
        while True:
            if not idle:
                moment.wait()
            load.withdraw(victim.name)
            moment.wait_none_on_the_way()
            if idle:
                moment.wait()
            if moment.is_now or moment.is_over:
                sent = self._signal(victim, order, in_flight=moment.requests)
                self._stage.record(Routed(at_ns=sent.at_ns, replica=victim.name, open=False))
                return sent
            load.publish(victim.name, victim.host, victim.port)

    def _others(self, victim: Replica) -> bool:
        """Another replica of its process type is up."""
        with self._lock:
            return any(other.process == victim.process and other.name != victim.name for other in self._up.values())

    @contextmanager
    def _when_it_is(self, victim: Replica, order: StopOrder | Disturbance) -> Iterator[int]:
        """The moment that ``order`` demands of a victim of which the router is told nothing; yields what is in flight, -1 without load."""
        if self._is_about_jobs(victim, order.when):
            with self._job_moment(victim, order) as jobs:
                yield jobs
            return
        if not self._gets_load(victim):
            yield -1
            return
        with self._moment(victim, order.when, order.busy_within_s) as moment:
            moment.wait_until_now()
            yield moment.requests

    def _is_about_jobs(self, victim: Replica, when: str) -> bool:
        """The moment is one of jobs: it says so, or the victim takes no load and works on jobs."""
        works = victim.process == self._stage.scenario.job_process
        return works and (when in JOB_MOMENTS or (when in ("in-flight", "idle") and not self._gets_load(victim)))

    @contextmanager
    def _job_moment(self, victim: Replica, order: StopOrder | Disturbance) -> Iterator[int]:
        """Wait until the victim's hands are as ``order`` demands; yields how many jobs it has in them. The queue is looked at before."""
        jobs, clock = self._stage.jobs, self._stage.clock
        deadline_ns = clock.now_ns() + round(order.busy_within_s * NS_PER_S)

        def wait() -> int:
            while True:
                count = jobs.in_hand(victim.name, order.when if order.when != "idle" else "in-flight", order.job_share)
                if (count == 0) == (order.when == "idle") or clock.now_ns() > deadline_ns or self._is_gone(victim):
                    return count
                clock.sleep(JOB_POLL_S)

        wait()
        jobs.look("before", victim.name)
        yield wait()

    def _moment(self, victim: Replica, when: str, within_s: float) -> Moment:
        return Moment(self._stage, victim.name, when=when, within_s=within_s, is_gone=lambda: self._is_gone(victim))

    def _signal(self, victim: Replica, order: StopOrder, *, in_flight: int) -> Sent:
        with self._lock:
            self._commanded.add(victim.name)  # not before: what died until now died by itself
        sent = self._stage.engine.signal(victim, order.signal, everything=order.everything)
        self._record_signal(victim, order, sent, in_flight=in_flight, does=self._dispositions.pop(victim.name, ""))
        return sent

    def _look_at_handler(self, victim: Replica, order: StopOrder) -> None:
        """See what the main process would do on the signal; before the wait for the moment, as looking takes time."""
        if order.signal in signals.Signals.__members__:
            self._dispositions[victim.name] = disposition(victim.pid, signals.Signals[order.signal])

    def _is_gone(self, replica: Replica) -> bool:
        with self._lock:
            return replica.name in self._gone

    def _sleep_until(self, at_ns: int) -> None:
        self._stage.clock.sleep((at_ns - self._stage.clock.now_ns()) / NS_PER_S)

    def _record_signal(self, victim: Replica, order: StopOrder, sent: Sent, *, in_flight: int, does: str = "") -> None:
        self._stage.record(
            Signalled(
                at_ns=sent.at_ns,
                until_ns=sent.until_ns,
                step=self.step,
                replica=victim.name,
                signal=order.signal,
                purpose=order.purpose,
                delivered=sent.delivered,
                wants_busy=order.when != "any" and in_flight >= 0,
                when=self._when_words(victim, order),
                in_flight=in_flight,
                disposition=does,
                grace_s=order.grace_s,
                lag_s=order.lag_s,
            )
        )

    def _when_words(self, victim: Replica, order: StopOrder) -> str:
        if order.when == "in-flight" and self._is_about_jobs(victim, order.when):
            return "job-started"
        return order.when if order.when not in PLAIN_WHENS else ""

    def _watch(self, victim: Replica, *, timed: bool) -> list[Watch]:
        stage = self._stage
        if not self._gets_load(victim):
            return [stage.background.watch(listener_watch(stage, victim))] if timed else []
        path = stage.scenario.healthcheck_of(victim.process).http or stage.scenario.plain_path
        return [
            stage.background.watch(listener_watch(stage, victim)),
            stage.background.watch(knock_watch(stage, victim, path)),
        ]

    def _await_exit(self, victim: Replica, order: StopOrder, sent: Sent) -> tuple[Exit, bool]:
        """Wait for the exit; meanwhile tell the router when its lag is over, and send SIGKILL when the grace is.

        Returns:
            The exit, and whether the router knows by now.
        """
        told = order.lag_s <= 0
        lag_end_ns = sent.at_ns + round(order.lag_s * NS_PER_S)
        grace_end_ns = sent.at_ns + round(order.grace_s * NS_PER_S)
        last_ns = (grace_end_ns if order.grace_s > 0 else sent.until_ns) + round(KILL_WAIT_S * NS_PER_S)
        plan: list[tuple[int, Callable[[Replica], None]]] = [(last_ns, self._raise_unkillable)]
        if order.grace_s > 0:
            had = self._cpu_of(victim)
            plan.append((grace_end_ns, partial(self._end_grace, told=order.lag_s <= order.grace_s, since_ns=sent.at_ns, had=had)))
        if 0 < order.again_s < order.grace_s:
            plan.append((sent.at_ns + round(order.again_s * NS_PER_S), partial(self._signal_again, order=order)))
        if not told:
            plan.append((lag_end_ns, self._withdraw))
        for at_ns, act in sorted(plan, key=lambda entry: entry[0]):
            wait_s = (at_ns - self._stage.clock.now_ns()) / NS_PER_S
            gone = self._stage.engine.wait_exit(victim, max(0.0, wait_s))
            self._stage.raise_if_lost()
            if gone is not None:
                return gone, told
            act(victim)
            told = told or act == self._withdraw
        raise AssertionError("the last act raises")

    def _signal_again(self, victim: Replica, *, order: StopOrder) -> None:
        sent = self._stage.engine.signal(victim, order.signal)
        self._record_signal(victim, StopOrder(purpose="again", signal=order.signal), sent, in_flight=-1)

    def _end_grace(self, victim: Replica, *, told: bool, since_ns: int, had: CpuTimes) -> None:
        self._record_cpu(victim, since_ns, had)
        if told and self._let_go(victim):
            return
        sent = self._stage.engine.signal(victim, "SIGKILL", everything=True)
        self._record_signal(victim, _order("grace-over"), sent, in_flight=-1)

    def _cpu_of(self, replica: Replica) -> CpuTimes:
        engine = self._stage.engine
        return engine.cpu(replica) if isinstance(engine, TellsCpu) else {}

    def _record_cpu(self, replica: Replica, since_ns: int, had: CpuTimes) -> None:
        """Record what the replica got of the CPUs since then, when it had had as much as ``had`` says."""
        spent = [(ran - had.get(tid, (0, 0))[0], waited - had.get(tid, (0, 0))[1]) for tid, (ran, waited) in self._cpu_of(replica).items()]
        if spent:
            self._stage.record(
                Scheduled(
                    at_ns=self._stage.clock.now_ns(),
                    since_ns=since_ns,
                    step=self.step,
                    replica=replica.name,
                    ran_ns=sum(ran for ran, _ in spent),
                    waited_ns=sum(waited for _, waited in spent),
                )
            )

    def _let_go(self, victim: Replica) -> bool:
        """Close all connections to a victim that has nothing left to answer; returns whether its end had waited for that."""
        stage, holding = self._stage, self._holdings.get(victim.name)
        if holding is None or not self._gets_load(victim) or not (holding.open or stage.scenario.load.keep_alive):
            return False
        seen = stage.engine.listening(victim)
        if seen is not None and seen.open:  # it goes on serving: it is not about to end
            return False
        if holding.in_flight or stage.load.in_flight(victim.name) or stage.load.answering(victim.name):
            return False
        if not holding.open and stage.load.connected(victim.name) == 0:  # it has closed all of them, so it waits for something else
            return False
        stage.record(LetGo(at_ns=stage.clock.now_ns(), step=self.step, replica=victim.name, held=holding.open))
        holding.let_go()
        stage.load.forget(victim.name)
        return stage.engine.wait_exit(victim, LET_GO_S) is not None

    def _raise_unkillable(self, victim: Replica) -> None:
        raise TargetError(f"{victim.name} (pid {victim.pid}) is still there {KILL_WAIT_S:.0f} s after SIGKILL; look at its state with ps")

    def _settle(self, victim: Replica, gone: Exit, *, everything: bool) -> tuple[Process, ...]:
        """The descendants that are still there a second after the main process ended, recorded as survivors.

        Those that end soon after it are none, nor is anything that was meant to be hit (``everything``).
        """
        left = self._left_after(victim, gone)
        if everything:
            self._await_free_port(victim, gone.at_ns + round(SETTLE_S * NS_PER_S))
        if left and not everything:
            now_ns = self._stage.clock.now_ns()
            self._stage.record(Survived(at_ns=now_ns, replica=victim.name, after_ns=now_ns - gone.at_ns, processes=left))
        return left

    def _left_after(self, victim: Replica, gone: Exit) -> tuple[Process, ...]:
        """The descendants that are still there a second after the main process ended."""
        stage = self._stage
        deadline_ns = gone.at_ns + round(SETTLE_S * NS_PER_S)
        left = stage.engine.descendants(victim)
        while left and stage.clock.now_ns() < deadline_ns:
            stage.clock.sleep(0.01)
            left = stage.engine.descendants(victim)
        return left

    def _await_free_port(self, victim: Replica, deadline_ns: int) -> None:
        """Wait until the kernel has closed the listener of what was killed, lest the next start at this address meets it."""
        stage = self._stage
        while (seen := stage.engine.listening(victim)) is not None and seen.open and stage.clock.now_ns() < deadline_ns:
            stage.clock.sleep(0.001)

    def _bury(self, victim: Replica, left: tuple[Process, ...]) -> None:
        """End the descendants that stay, and forget the replica."""
        stage = self._stage
        if left:
            sent = stage.engine.signal(victim, "SIGKILL", everything=True)
            self._record_signal(victim, _order("survivor"), sent, in_flight=-1)
        if self._gets_load(victim):
            stage.load.forget(victim.name)

    def _tell(self) -> None:
        with self._lock:
            up = Counter(replica.process for replica in self._up.values())
        counts = [f"{process} {up[process]} up" for process in self._stage.scenario.target]
        self._stage.tell(", ".join(counts))

    def tear_down(self) -> None:
        """The run is over: kill what is still up. Nobody is judged by how it ends here."""
        with self._lock:
            left = list(self._up.values())
        for replica in left:
            self._stage.engine.wait_exit(replica, 0)  # what died by itself until now did not die of this
        with self._lock:
            left = list(self._up.values())
            self._ending = True
        for replica in left:
            sent = self._stage.engine.signal(replica, "SIGKILL", everything=True)
            self._record_signal(replica, _order("teardown"), sent, in_flight=-1)
        deadline_ns = self._stage.clock.now_ns() + round(GONE_S * NS_PER_S)
        for replica in left:  # what queues say of those that are gone is asked next
            self._stage.engine.wait_exit(replica, max(0.0, (deadline_ns - self._stage.clock.now_ns()) / NS_PER_S))

    def _gets_load(self, replica: Replica) -> bool:
        return replica.process == self._stage.scenario.load_process

    def _publish(self, replica: Replica) -> None:
        if self._gets_load(replica):
            self._stage.load.publish(replica.name, replica.host, replica.port)
            self._stage.record(Routed(at_ns=self._stage.clock.now_ns(), replica=replica.name, open=True))

    def _withdraw(self, replica: Replica) -> None:
        if self._gets_load(replica):
            self._stage.load.withdraw(replica.name)
            self._stage.record(Routed(at_ns=self._stage.clock.now_ns(), replica=replica.name, open=False))


def _order(purpose: str) -> StopOrder:
    """The order behind a SIGKILL that no step asked for."""
    return StopOrder(purpose=purpose, signal="SIGKILL", everything=True)
