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

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.clock import NS_PER_S
from harness.engines.base import Exit, Replica, ReplicaSpec, Sent
from harness.errors import KeyOfScenarioError, TargetError, UsageError
from harness.history import Disturbed, Exited, PhaseReached, Process, Restored, Routed, Signalled, Spawned, StartFailed, Survived
from harness.probes import NotHealthyError, knock_watch, listener_watch, wait_healthy
from harness.scenario import Scenario
from harness.stage import Stage, Watch

LOG_LINES: Final = 10
KILL_WAIT_S: Final = 10.0
"""How long SIGKILL may take before the run is given up."""

SETTLE_S: Final = 1.0
"""How long descendants may outlive their main process before they count as survivors."""

ON_THE_WAY_S: Final = 0.25
POLL_S: Final = 0.00002
PATIENT_NS: Final = 250_000_000
OOM_NEWS_S: Final = 1.0
"""An exit for want of memory so long after the end of a squeeze is still its doing: the kernel takes a while to end a large process."""

SEVERAL: Final = 3
_NEVER_NS: Final = 1 << 62
LASTING_NS: Final = 5_000_000
"""What has been in flight for so long will be for another few microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOrder:
    """How to stop one replica.

    Attributes:
        purpose: A `Signalled` purpose: ``terminate``, ``kill`` or ``scale``.
        signal: The first signal.
        grace_s: Time until SIGKILL; 0 sends nothing after the first signal.
        lag_s: The router learns of it so long after the signal; negative: before it.
        wants_busy: Signal while a request is in flight on the victim.
        busy_within_s: How long to wait for that.
        everything: Signal the descendants too.
    """

    purpose: str
    signal: str
    grace_s: float
    lag_s: float
    wants_busy: bool
    busy_within_s: float
    everything: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """What to take away from one replica, and how.

    Attributes:
        what: As in `Disturbed`: ``pause``, ``network`` or ``memory``.
        detail: The same in more words, such as the new limit; may be empty.
        lasts_s: How long the replica goes without.
        wants_busy: Begin while a request is in flight on the victim.
        busy_within_s: How long to wait for that.
        take: Takes it away.
        give_back: Gives it back.
    """

    what: str
    detail: str
    lasts_s: float
    wants_busy: bool
    busy_within_s: float
    take: Callable[[Replica], Sent]
    give_back: Callable[[Replica], Sent]


def spec_of(scenario: Scenario, process: str, name: str, *, again: Replica | None = None) -> ReplicaSpec:
    """What a replica of ``process`` is started from; at the address of ``again``, if given."""
    kind = scenario.target[process]
    folder = Path(kind.working_dir) if kind.working_dir else Path.cwd()
    return ReplicaSpec(
        name=name,
        process=process,
        argv=kind.argv,
        environment=kind.environment,
        working_dir=folder,
        port=again.port if again else 0,
        host=again.host if again else "",
        declared=kind,
    )


class Fleet:
    """The replicas of a run that are up, in the order of their starts."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._up: dict[str, Replica] = {}
        self._count: dict[str, int] = {}
        self._commanded: set[str] = set()
        self._gone: set[str] = set()
        self._squeezed: dict[str, tuple[int, int]] = {}
        self._ending = False
        self._lock = threading.Lock()
        self.step = 0

    def up(self, process: str) -> list[Replica]:
        """The replicas of a process type that are up, oldest first."""
        with self._lock:
            mine = [replica for replica in self._up.values() if replica.process == process]
        return sorted(mine, key=lambda replica: int(replica.name.rpartition(".")[2]))  # instants of a common start would be a race

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
        return self._start(process, self._next_name(process), again=again, replaces=replaces)

    def _next_name(self, process: str) -> str:
        with self._lock:
            self._count[process] = self._count.get(process, 0) + 1
            return f"{process}.{self._count[process]}"

    def _start(self, process: str, name: str, *, again: Replica | None, replaces: str) -> Replica:
        stage = self._stage
        spec = spec_of(stage.scenario, process, name, again=again)
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
        try:
            wait_healthy(stage, replica, stage.scenario.healthcheck_of(process))
        except NotHealthyError as error:
            self._give_up(replica, error)
            raise
        with self._lock:
            if name in self._gone:
                raise TargetError(f"{name} ended right after it was healthy")
            self._up[name] = replica
        self._publish(replica)
        self._tell()
        return replica

    def _give_up(self, replica: Replica, error: NotHealthyError) -> None:
        stage = self._stage
        with self._lock:
            self._commanded.add(replica.name)
            if self._ending:
                return
        stage.record(
            StartFailed(
                at_ns=stage.clock.now_ns(),
                step=self.step,
                replica=replica.name,
                reason=error.reason,
                detail=error.detail,
                log=stage.engine.log_tail(replica, LOG_LINES),
            )
        )
        stage.engine.signal(replica, "SIGKILL", everything=True)

    def exited(self, replica: Replica, gone: Exit) -> None:
        """The engine tells that a main process ended; called from any thread, also for a replica that never got healthy."""
        with self._lock:
            squeezed = gone.oom and self._was_squeezed(replica, gone.at_ns)
            if squeezed:
                self._commanded.add(replica.name)
            commanded = self._ending or gone.lost or replica.name in self._commanded
            self._gone.add(replica.name)
            self._up.pop(replica.name, None)
        stage = self._stage
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
        if squeezed or not commanded:
            self._withdraw(replica)
        if not commanded:
            stage.note(f"{replica.name} ended by itself with status {gone.status}")

    def stop(self, victim: Replica, order: StopOrder) -> None:
        """Stop one replica as ``order`` says and return when it, and all that it left behind, is gone.

        Raises:
            TargetError: It survived SIGKILL.
        """
        sent = self._send(victim, order)
        watches = self._watch(victim)
        try:
            gone, told = self._await_exit(victim, order, sent)
            left = self._settle(victim, gone, everything=order.everything)
            if not told:  # the router learns of it when its lag is over, also of a replica that is gone already
                self._sleep_until(sent.at_ns + round(order.lag_s * NS_PER_S))
                self._withdraw(victim)
        finally:
            for watch in watches:
                watch.end()
        self._bury(victim, left)

    def disturb(self, victim: Replica, order: Disturbance) -> bool:
        """Take something away from one replica for a while and give it back whatever happens; the router is not told.

        Returns:
            False when the replica did not live through it because it lacked memory: its place is free.
        """
        stage, deadline_ns = self._stage, self._stage.clock.now_ns() + round(order.busy_within_s * NS_PER_S) * order.wants_busy
        in_flight = self._await_busy_until_now(victim, deadline_ns) if self._gets_load(victim) else -1
        if order.what == "memory":
            self._squeezed[victim.name] = stage.clock.now_ns(), _NEVER_NS
        try:
            sent = order.take(victim)
            self._record_disturbed(victim, order, sent, in_flight=in_flight)
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

    def _record_disturbed(self, victim: Replica, order: Disturbance, sent: Sent, *, in_flight: int) -> None:
        self._stage.record(
            Disturbed(
                at_ns=sent.at_ns,
                until_ns=sent.until_ns,
                step=self.step,
                replica=victim.name,
                what=order.what,
                delivered=sent.delivered,
                wants_busy=order.wants_busy,
                in_flight=in_flight,
                detail=order.detail,
            )
        )

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

    def _send(self, victim: Replica, order: StopOrder) -> Sent:
        """Signal the victim at the right moment and leave the router as ``order.lag_s`` wants it."""
        if not self._gets_load(victim):
            return self._signal(victim, order, in_flight=-1)
        load, clock = self._stage.load, self._stage.clock
        deadline_ns = clock.now_ns() + round(order.busy_within_s * NS_PER_S) * order.wants_busy
        if order.lag_s < 0:
            in_flight = self._await_busy(victim, deadline_ns)
            self._withdraw(victim)
            self._stage.engine.wait_exit(victim, -order.lag_s)  # one that dies by itself while it drains need not be waited for
            return self._signal(victim, order, in_flight=in_flight)
        if order.lag_s > 0 or order.grace_s == 0:
            in_flight = self._await_busy_until_now(victim, deadline_ns)
            sent = self._signal(victim, order, in_flight=in_flight)
            if order.lag_s == 0:
                self._withdraw(victim)
            return sent
        while True:  # the numbered steps at the head of this file
            self._await_busy(victim, deadline_ns)
            load.withdraw(victim.name)
            self._await_none_on_the_way(victim)
            in_flight = load.in_flight(victim.name)
            if in_flight > 0 or clock.now_ns() >= deadline_ns or self._is_gone(victim):
                sent = self._signal(victim, order, in_flight=in_flight)
                self._stage.record(Routed(at_ns=sent.at_ns, replica=victim.name, open=False))
                return sent
            load.publish(victim.name, victim.host, victim.port)

    def _signal(self, victim: Replica, order: StopOrder, *, in_flight: int) -> Sent:
        with self._lock:
            self._commanded.add(victim.name)  # not before: what died until now died by itself
        sent = self._stage.engine.signal(victim, order.signal, everything=order.everything)
        self._record_signal(victim, order, sent, in_flight=in_flight)
        return sent

    def _is_gone(self, replica: Replica) -> bool:
        with self._lock:
            return replica.name in self._gone

    def _sleep_until(self, at_ns: int) -> None:
        self._stage.clock.sleep((at_ns - self._stage.clock.now_ns()) / NS_PER_S)

    def _record_signal(self, victim: Replica, order: StopOrder, sent: Sent, *, in_flight: int) -> None:
        self._stage.record(
            Signalled(
                at_ns=sent.at_ns,
                until_ns=sent.until_ns,
                step=self.step,
                replica=victim.name,
                signal=order.signal,
                purpose=order.purpose,
                delivered=sent.delivered,
                wants_busy=order.wants_busy,
                in_flight=in_flight,
                grace_s=order.grace_s,
                lag_s=order.lag_s,
            )
        )

    def _await_busy(self, victim: Replica, deadline_ns: int) -> int:
        """Wait until something is in flight on the victim, at most until ``deadline_ns``; returns how much is.

        A request that is about to be answered would be gone before the signal arrives. So this waits for one that lasts: nothing new was
        sent for a while, and more than one is in flight all the same, as any one may be just about to end; or for several at once. A load
        that has neither for a quarter of a second has few users or short requests: then a single one must do, or one sent just now.
        """
        load, clock = self._stage.load, self._stage.clock
        since_ns, before = clock.now_ns(), load.sent(victim.name)
        patient_until_ns = since_ns + PATIENT_NS
        while True:
            in_flight, sent, now_ns = load.in_flight(victim.name), load.sent(victim.name), clock.now_ns()
            fresh = sent > before and now_ns >= patient_until_ns
            lasting = now_ns - since_ns > LASTING_NS and (in_flight > 1 or now_ns >= patient_until_ns)
            if in_flight > 0 and (fresh or lasting or in_flight >= SEVERAL):
                return in_flight
            if now_ns >= deadline_ns or self._is_gone(victim):
                return in_flight
            if in_flight == 0 or sent > before:
                since_ns = now_ns
            before = sent
            clock.sleep(POLL_S)

    def _await_busy_until_now(self, victim: Replica, deadline_ns: int) -> int:
        """As `_await_busy`, and asked again, since this thread may have had to wait for its turn."""
        load, clock = self._stage.load, self._stage.clock
        while True:
            self._await_busy(victim, deadline_ns)
            in_flight = load.in_flight(victim.name)
            if in_flight > 0 or clock.now_ns() >= deadline_ns or self._is_gone(victim):
                return in_flight

    def _await_none_on_the_way(self, victim: Replica) -> None:
        load, clock = self._stage.load, self._stage.clock
        deadline_ns = clock.now_ns() + round(ON_THE_WAY_S * NS_PER_S)
        while load.on_the_way(victim.name) > 0 and clock.now_ns() < deadline_ns:
            clock.sleep(0)  # a request leaves within microseconds, so this loop is short

    def _watch(self, victim: Replica) -> list[Watch]:
        if not self._gets_load(victim):
            return []
        stage = self._stage
        path = stage.scenario.healthcheck_of(victim.process).http or self._plain_path()
        return [
            stage.background.watch(listener_watch(stage, victim)),
            stage.background.watch(knock_watch(stage, victim, path)),
        ]

    def _plain_path(self) -> str:
        """What to knock with where no health check names a path: something that the load asks for, too."""
        asked = self._stage.scenario.load.requests
        return next((request.path for request in asked if request.method == "GET" and "{" not in request.path), "/")

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
            plan.append((grace_end_ns, self._end_grace))
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

    def _end_grace(self, victim: Replica) -> None:
        sent = self._stage.engine.signal(victim, "SIGKILL", everything=True)
        self._record_signal(victim, _order("grace-over"), sent, in_flight=-1)

    def _raise_unkillable(self, victim: Replica) -> None:
        raise TargetError(f"{victim.name} (pid {victim.pid}) is still there {KILL_WAIT_S:.0f} s after SIGKILL; look at its state with ps")

    def _settle(self, victim: Replica, gone: Exit, *, everything: bool) -> tuple[Process, ...]:
        """The descendants that are still there a second after the main process ended, recorded as survivors.

        Those that end soon after it are none, nor is anything that was meant to be hit (``everything``).
        """
        stage = self._stage
        deadline_ns = gone.at_ns + round(SETTLE_S * NS_PER_S)
        left = stage.engine.descendants(victim)
        while left and stage.clock.now_ns() < deadline_ns:
            stage.clock.sleep(0.01)
            left = stage.engine.descendants(victim)
        if left and not everything:
            now_ns = stage.clock.now_ns()
            stage.record(Survived(at_ns=now_ns, replica=victim.name, after_ns=now_ns - gone.at_ns, processes=left))
        return left

    def _bury(self, victim: Replica, left: tuple[Process, ...]) -> None:
        """End the descendants that stay, and forget the replica."""
        stage = self._stage
        if left:
            sent = stage.engine.signal(victim, "SIGKILL", everything=True)
            self._record_signal(victim, _order("survivor"), sent, in_flight=-1)
        if self._gets_load(victim):
            stage.load.forget(victim.name)

    def _tell(self) -> None:
        counts = [f"{process} {len(self.up(process))} up" for process in self._stage.scenario.target]
        self._stage.tell(", ".join(counts))

    def tear_down(self) -> None:
        """The run is over: kill what is still up. Nobody is judged by how it ends here."""
        for replica in [replica for process in self._stage.scenario.target for replica in self.up(process)]:
            self._stage.engine.wait_exit(replica, 0)  # what died by itself until now did not die of this
        with self._lock:
            left = list(self._up.values())
            self._ending = True
        for replica in left:
            sent = self._stage.engine.signal(replica, "SIGKILL", everything=True)
            self._record_signal(replica, _order("teardown"), sent, in_flight=-1)

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
    return StopOrder(purpose=purpose, signal="SIGKILL", grace_s=0, lag_s=0, wants_busy=False, busy_within_s=0, everything=True)
