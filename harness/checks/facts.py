"""What a history says about replicas, faults and requests, put together once for all checks.

A *life* is all that is known of one replica. A *fault* is one stop that a step ordered, with its window: from the signal until its
replacement was healthy, or until the victim and all that it left behind was gone. A *disturbance* is what a step took away from a replica
and gave back; its window ends a while after that. Both are *harms*. A request is *in flight* at a fault when its first
byte had left before the signal and the app surely had it still to answer. An answer whose first byte was there before the signal may have
been whole in a buffer of the kernel already, unless it ended later than the load can have been late to read it; all that was answered
after SIGKILL to everything was: neither counts. What was cut or never answered does.

Where nothing but the end of the connection tells the end of an answer, an app that dies ends it too. Such an answer around a signal or an
exit is *unproven* unless the scenario says what its body must hold.

Everything here is derived from the history alone, and only when somebody asks for it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from signal import Signals
from typing import Final, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.clock import NS_PER_S
from harness.history import (
    CODE,
    OUTCOMES,
    Contained,
    CutOff,
    Disturbed,
    EngineLost,
    Event,
    Exited,
    Held,
    History,
    Imported,
    Knocked,
    Lagged,
    LetGo,
    LoadBegan,
    LoadEnded,
    OomKilled,
    PhaseReached,
    Planned,
    Restored,
    Routed,
    RunEnded,
    Scheduled,
    Signalled,
    Spawned,
    StartFailed,
    StepBegan,
    Survived,
    Wrote,
    Zombies,
)
from harness.outcome import OWN_TROUBLE, Outcome, Reached
from harness.scenario import JOB_MOMENTS, Kill, Restart, Scenario, Step, nested

E = TypeVar("E")

STOP_PURPOSES: Final = ("terminate", "scale")
"""Purposes of signals that ask a replica in service to stop, and grant it a grace."""

FAULT_PURPOSES: Final = (*STOP_PURPOSES, "kill", "start", "signal")
"""Purposes of signals that are faults; the others come after one, or clean up after it."""

_CUT: Final = [CODE[outcome] for outcome in (Outcome.CLOSED, Outcome.TRUNCATED, Outcome.CUT, Outcome.ENDED)]
"""Outcomes of what was cut off by an end."""

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

NO_ROWS: Final[Rows] = np.zeros(0, dtype=np.int64)

STALL_S: Final = 0.25
"""A control request that takes longer says that the machine stalled, and so does a start or a stop during which the harness stood still
for longer."""

STARVED_SHARE: Final = 0.75
FED_SHARE: Final = 0.25
"""A replica was starved when its threads waited for a CPU for so much of the time that it had, and ran for so little of it: one whose own
threads take the CPUs from each other runs for longer, and one that only looks at its clock now and then waits for less."""

AFTERMATH_NS: Final = 2_000_000_000
"""An engine that goes away ends its replicas first, one after the other; who notices does so so much later."""

SAME_MOMENT_S: Final = 0.05
"""What ends within this time of a process ended with it."""

AFTER_S: Final = 1.0
"""What is dropped within this time after a replica was given back what it lacked is still the doing of that."""

STEP_OF: Final = {"pause": "pause", "network": "cut_network", "memory": "squeeze_memory"}
"""The step that takes away what an event calls so."""

ENDED_BY_S: Final = 2.0
"""A replica whose main process ends within this time of a signal that it should live through was ended by it."""

NOUNS: Final = {"pause": "pause", "network": "cut", "memory": "squeeze"}
"""What findings call a disturbance."""


OF_A_REPLICA: Final = (
    Spawned,
    PhaseReached,
    StartFailed,
    Routed,
    Signalled,
    Knocked,
    Exited,
    Survived,
    Contained,
    Zombies,
    CutOff,
    Wrote,
    OomKilled,
    Imported,
)
"""Events that tell something of a `Life`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessStall:
    """The harness stood still in a start or a stop.

    Attributes:
        words: Which: ``the stop of web.1``.
        seconds: For how long, in all; so much too long may be what it measured of it.
        moved: It was another stop than the scenario asks for: the signal came later after the router had been told, so that what the app
            loses in that time may not have shown.
    """

    words: str
    seconds: float
    moved: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """All that is known of one replica. Instants are nanoseconds, 0 for what never happened.

    Attributes:
        created_ns: The runtime between the engine and the command had made it; 0 where there is no such runtime.
        started_ns: Its first process existed.
        first_answer_ns: The first whole answer as expected that it gave to the load, or in a bench without load to the harness.
        removed_ns: The runtime had removed it.
        signals: Every signal that it was sent, in order.
        closed: Its listener was seen closed after a signal.
        exited: How its main process ended.
        failed: Why it never got healthy.
        survived: Descendants that outlived it.
        knocks: What its listener did after a signal.
        contained: What holds it, where a container does.
        zombies: Processes that had ended and that nobody waited for.
        cut_off: Processes that the end of process 1 killed.
        wrote: What it changed in its own filesystem.
        oom_kills: Each time that the kernel killed a process of it for want of memory.
        imported: What it imported while it started.
    """

    replica: str
    process: str
    command: str = ""
    step: int = -1
    replaces: str = ""
    spawned_ns: int = 0
    created_ns: int = 0
    started_ns: int = 0
    running_ns: int = 0
    listening_ns: int = 0
    healthy_ns: int = 0
    first_answer_ns: int = 0
    removed_ns: int = 0
    signals: tuple[Signalled, ...] = ()
    closed: PhaseReached | None = None
    exited: Exited | None = None
    failed: StartFailed | None = None
    survived: tuple[Survived, ...] = ()
    knocks: tuple[Knocked, ...] = ()
    contained: Contained | None = None
    zombies: tuple[Zombies, ...] = ()
    cut_off: CutOff | None = None
    wrote: Wrote | None = None
    oom_kills: tuple[OomKilled, ...] = ()
    imported: Imported | None = None

    @property
    def app_began_ns(self) -> int:
        """The instant from which the app's own phases count: what a runtime takes to make and start its container is not the app's."""
        return (self.created_ns and self.running_ns) or self.spawned_ns

    @property
    def lost(self) -> bool:
        """The engine went away, so that nobody knows how it would have ended."""
        return self.exited is not None and self.exited.lost

    @property
    def lived_through(self) -> tuple[Signalled, ...]:
        """All signals that it got before its end, when each is one that it should live through; empty when one was to stop it."""
        end_ns = self.exited.at_ns if self.exited else 0
        before = tuple(each for each in self.signals if each.delivered and (not end_ns or each.at_ns <= end_ns))
        return before if all(each.purpose == "signal" for each in before) else ()

    @property
    def ended_by(self) -> Signalled | None:
        """The signal that ended it although it should have lived through it: by its status, or by the moment."""
        if self.exited is None or self.exited.lost or not self.lived_through:
            return None
        last = self.lived_through[-1]
        soon = self.exited.at_ns - last.at_ns <= ENDED_BY_S * NS_PER_S
        return last if soon or self.exited.status == 128 + signal_number(last.signal) else None

    @property
    def died_by_itself(self) -> bool:
        """Its main process ended although nobody had stopped it, after it had started well."""
        if self.exited is None or self.exited.lost or self.failed is not None or self.ended_by is not None:
            return False
        return not self.exited.commanded or bool(self.lived_through)

    @property
    def stopped_at_start(self) -> bool:
        """A step asked it to stop before it was healthy."""
        return any(each.purpose == "start" for each in self.signals)

    @property
    def last_log_line(self) -> str:
        """The last line that it wrote and that is not empty."""
        lines = self.exited.log if self.exited else self.failed.log if self.failed else ()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fault:
    """One stop that a step ordered.

    Attributes:
        number: Its place among the run's faults, from 0.
        signal: The signal, with grace and lag.
        victim: The replica that got it.
        replacement: The replica that took its place.
        killed: SIGKILL at the end of the grace, when the main process was still there to get it.
        end_ns: The end of its window.
        again: The stop signal that it was sent a second time while it stopped.
        in_flight: Rows of `Attempts` that were in flight on the victim at the signal.
        busy: How many were as the step's ``when`` says, at the signal or before it when the router was told first: in flight, in the
            middle of their answer (mid-response) or connected and not yet sent (just-accepted); for idle, how many were in flight.
        unproven: How many answers around the signal or the exit may have been cut without a trace.
        drained_ns: The end of the last answer to what was in flight at the signal; 0 when there was none.
    """

    number: int
    signal: Signalled
    victim: Life
    replacement: Life | None
    killed: Signalled | None
    again: Signalled | None
    end_ns: int
    in_flight: Rows
    busy: int
    unproven: int
    drained_ns: int

    @property
    def kind(self) -> str:
        """``terminate``, ``scale``, ``kill``, ``start`` or ``signal``."""
        return self.signal.purpose

    @property
    def order(self) -> Signalled:
        """The event with which it began."""
        return self.signal

    @property
    def blow(self) -> str:
        """What it is called after which something happened: the signal."""
        return self.signal.signal

    @property
    def words(self) -> str:
        """``SIGTERM to web.1``."""
        return f"{self.signal.signal} to {self.victim.replica}"

    @property
    def over_ns(self) -> int:
        """When the harm itself was over: the end of its window."""
        return self.end_ns

    @property
    def is_kill(self) -> bool:
        """The victim had no chance to do anything about it."""
        return self.signal.purpose == "kill"

    @property
    def landed(self) -> bool:
        """The signal reached the victim, and its end was seen where it had to end."""
        return self.signal.delivered and (self.victim.exited is not None or self.kind == "signal")

    @property
    def met(self) -> bool:
        """The victim was as the step demanded; a stop in order while it starts has come too late when it was healthy before."""
        if self.kind == "start" and self.signal.grace_s > 0:
            return not self.was_ready
        return not self.signal.wants_busy or (self.busy == 0) == (self.signal.when == "idle")

    @property
    def was_ready(self) -> bool:
        """The victim was healthy when the signal came."""
        return 0 < self.victim.healthy_ns < self.signal.at_ns

    @property
    def tells(self) -> bool:
        """It would have shown it if it had dropped a request: it landed on a busy victim, and each answer is proven to be whole."""
        return self.landed and self.busy > 0 and not self.unproven and self.kind != "start"

    @property
    def exit_s(self) -> float | None:
        """Seconds from the signal to the end of the main process; None when it did not end by it."""
        if self.victim.exited is None or (self.kind == "signal" and self.victim.ended_by is not self.signal):
            return None
        return (self.victim.exited.at_ns - self.signal.at_ns) / NS_PER_S

    def after_s(self, at_ns: int) -> float:
        """Seconds from the signal to ``at_ns``, negative before it."""
        return (at_ns - self.signal.at_ns) / NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Disturbance:
    """What a step took away from a replica and gave back.

    Attributes:
        number: Its place among the run's harms, after all stops.
        taken: The event with which it began.
        restored: The one with which it ended; None when the history does not know.
        victim: The replica.
        replacement: The replica that took its place, if it did not live through it.
        over_ns: When it had it back, or its replacement was healthy.
        end_ns: The end of its window: a while later.
        oom_ns: When the kernel first killed in it for want of memory, if memory is what it lacked; 0 for never.
        busy: How many requests were in flight on it at any time from the beginning to its end, or to that kill.
        unproven: How many answers of it in its window may have been cut without a trace.
    """

    number: int
    taken: Disturbed
    restored: Restored | None
    victim: Life
    replacement: Life | None
    over_ns: int
    end_ns: int
    oom_ns: int
    busy: int
    unproven: int

    @property
    def kind(self) -> str:
        """The step: ``pause``, ``cut_network`` or ``squeeze_memory``."""
        return STEP_OF.get(self.taken.what, self.taken.what)

    @property
    def order(self) -> Disturbed:
        """The event with which it began."""
        return self.taken

    @property
    def blow(self) -> str:
        """What it is called after which something happened: ``the pause began``."""
        return f"the {NOUNS.get(self.taken.what, self.taken.what)} began"

    @property
    def words(self) -> str:
        """``pause of web.1``, ``squeeze of web.1 to 32m``."""
        return f"{NOUNS.get(self.taken.what, self.taken.what)} of {self.victim.replica} {self.taken.detail}".strip()

    @property
    def met(self) -> bool:
        """The victim was as the step demanded."""
        return not self.taken.wants_busy or self.busy > 0

    @property
    def lasted_s(self) -> float:
        """Seconds for which the replica lacked it."""
        end_ns = self.restored.at_ns if self.restored else self.over_ns
        return (end_ns - self.taken.at_ns) / NS_PER_S

    @property
    def landed(self) -> bool:
        """It reached the victim; one of memory only when the kernel killed in it."""
        return self.taken.delivered and (self.taken.what != "memory" or self.oom_ns > 0)

    @property
    def tells(self) -> bool:
        """As `Fault.tells`."""
        return self.landed and self.busy > 0 and not self.unproven

    def after_s(self, at_ns: int) -> float:
        """Seconds from its beginning to ``at_ns``, negative before it."""
        return (at_ns - self.taken.at_ns) / NS_PER_S


Harm: TypeAlias = Fault | Disturbance
"""All that a step does to a replica."""


class Facts:
    """The facts of one history."""

    def __init__(self, history: History) -> None:
        self.history = history

    @cached_property
    def scenario(self) -> Scenario:
        """The scenario that was run; raises `pydantic.ValidationError` when the header does not hold one."""
        return Scenario.model_validate_json(self.history.header.scenario)

    def events(self, kind: type[E]) -> list[E]:
        """All events of one kind, in order."""
        return [event for event in self.history.events if isinstance(event, kind)]

    @cached_property
    def run_ended(self) -> RunEnded | None:
        """The run's own last word."""
        return next(iter(self.events(RunEnded)), None)

    @cached_property
    def steps(self) -> dict[int, Step]:
        """The steps of the run by their numbers, as they were really done, and those that are still to come as they are written."""
        written = [step for step in self.scenario.steps for _ in range(step.repeat)]
        steps = dict(enumerate(written, start=1))
        drawn = self.planned - len(written)
        if drawn:  # what a step draws takes the numbers that follow its own
            began = [event.step for event in self.events(StepBegan) if event.step > 0 and not event.of]
            later = range(max([*began, 0]) + 1, self.planned + 1)
            numbers = [*began, *later][: len(written)]
            steps = dict(zip(numbers, written, strict=False))
        return steps | {event.step: Step.model_validate_json(event.plan) for event in self.events(Planned)}

    @cached_property
    def planned(self) -> int:
        """How many steps the run had to do, those included that others have drawn so far."""
        return sum(step.repeat for step in self.scenario.steps) + sum(event.of > 0 for event in self.events(StepBegan))

    @property
    def finished(self) -> bool:
        """The run came to its end as planned."""
        return self.run_ended is not None and self.run_ended.how == "finished"

    @cached_property
    def load_ns(self) -> tuple[int, int]:
        """When the load began and ended, as far as it is known; (0, 0) without any load."""
        ops = self.history.ops
        began = [event.at_ns for event in self.events(LoadBegan)]
        ended = [event.at_ns for event in self.events(LoadEnded)]
        if len(ops):
            began.append(int(ops.invoke_ns.min()))
            ended.append(int(max(ops.done_ns.max(), ops.invoke_ns.max())))
        return (min(began), max(ended)) if began and ended else (0, 0)

    @cached_property
    def end_ns(self) -> int:
        """The last instant that the history knows."""
        instants = [event.at_ns for event in self.history.events[-1:]]
        return max([*instants, self.load_ns[1], self.history.header.started_ns])

    # --- requests ---------------------------------------------------------------------------------------------------------

    @cached_property
    def by_replica(self) -> dict[str, Rows]:
        """Rows of `Attempts` by the replica that they went to, in the order of their invokes."""
        attempts = self.history.attempts
        codes = attempts.replica
        if len(attempts.replicas) < 1 << 15:
            codes = codes.astype(np.int16)  # numpy sorts these by radix, ten times faster
        order = np.argsort(codes, kind="stable")
        bounds = np.searchsorted(attempts.replica[order], np.arange(len(attempts.replicas) + 1))
        return {name: order[bounds[code] : bounds[code + 1]] for code, name in enumerate(attempts.replicas)}

    @cached_property
    def closed(self) -> Mask:
        """Ops whose end is in the ledger."""
        return self.history.ops.done_ns > 0

    @cached_property
    def dropped(self) -> Mask:
        """Ops that the app's user would call failed.

        What the ledger has no end of is not among them, nor what was under way when the load of a run that did not finish was cut off:
        nobody knows how those would have ended. Neither is what is `blameless`, nor an operation on state that is `cut_by_kill`.
        """
        kept = [code for outcome, code in CODE.items() if not outcome.dropped]
        if not self.finished:
            kept.append(CODE[Outcome.UNFINISHED])
        return self.closed & ~np.isin(self.history.ops.outcome, kept) & ~self.blameless & ~self.cut_by_kill

    @cached_property
    def cut_by_kill(self) -> Mask:
        """Operations on state that SIGKILL of a replica cut, which nobody can answer and nobody may send again.

        Whether they happened is unknown to their client; that the app is whole with either is what the check of state shows.
        """
        ops, attempts = self.history.ops, self.history.attempts
        cut: Mask = np.zeros(len(ops), dtype=np.bool_)
        kills = [fault for fault in self.faults if fault.signal.purpose == "kill"]
        if not self.scenario.state or not kills:
            return cut
        last = ops.last
        candidates = (attempts.request[last] >= len(self.scenario.load.requests)) & np.isin(ops.outcome, _CUT)
        for kill in kills:
            if kill.signal.replica in attempts.replicas:
                there = candidates & (attempts.replica[last] == attempts.replicas.index(kill.signal.replica))
                cut |= there & (attempts.invoke_ns[last] <= kill.end_ns) & (attempts.done_ns[last] >= kill.signal.at_ns)
        return cut

    @cached_property
    def blameless(self) -> Mask:
        """Ops whose end is the doing of the machine, or of the scenario itself where it wants no replica, whatever that end was."""
        return self.unsent | self.stalled | self.aftermath | self.scaled_to_zero | self.cut_while_starved

    @cached_property
    def stalls(self) -> tuple[tuple[int, int], ...]:
        """Spans in which the control sampler, which asks a server that does nothing, failed or waited over `STALL_S`; in their order."""
        slow_ns = STALL_S * NS_PER_S
        spans = [(each.at_ns, each.done_ns) for each in self.history.controls if not each.ok or each.done_ns - each.at_ns > slow_ns]
        # The sampler sleeps between two requests; a stop of the whole load process shows in the lag of its loop, always.
        spans += [(each.at_ns - each.lag_ns, each.at_ns) for each in self.history.generator if each.lag_ns > slow_ns]
        merged: list[tuple[int, int]] = []
        for begin, end in sorted(spans):
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((begin, end))
        return tuple(merged)

    def stalled_between(self, begin_ns: int, end_ns: int) -> bool:
        """Whether the machine stalled at any time of this span."""
        return any(begin <= end_ns and begin_ns <= end for begin, end in self.stalls)

    @cached_property
    def harness_stalls(self) -> tuple[HarnessStall, ...]:
        """Starts and stops during which the harness stood still for over `STALL_S` in all."""
        lags = [(event.at_ns - event.lag_ns, event.at_ns) for event in self.events(Lagged)]
        if not lags:
            return ()

        def stood(first_ns: int, last_ns: int) -> float:
            return sum(end - begin for begin, end in lags if begin <= last_ns and first_ns <= end) / NS_PER_S

        starts = [(f"the start of {life.replica}", False, stood(life.spawned_ns, self._started_ns(life))) for life in self._spawned]
        stops = [
            (
                f"the stop of {fault.victim.replica}",
                fault.signal.lag_s < 0 or stood(fault.signal.at_ns - round(SAME_MOMENT_S * NS_PER_S), fault.signal.until_ns) > 0,
                stood(fault.signal.at_ns, fault.victim.exited.at_ns if fault.victim.exited else fault.end_ns),
            )
            for fault in self.faults
            if fault.kind != "signal"
        ]
        return tuple(
            HarnessStall(words=words, seconds=seconds, moved=moved) for words, moved, seconds in (*starts, *stops) if seconds > STALL_S
        )

    @property
    def _spawned(self) -> list[Life]:
        return [life for life in self.lives.values() if life.spawned_ns]

    def _started_ns(self, life: Life) -> int:
        """When the start of ``life`` was over, one way or the other."""
        ends = [life.healthy_ns, life.failed.at_ns if life.failed else 0, life.exited.at_ns if life.exited else 0]
        return min((end for end in ends if end), default=self.end_ns)

    @cached_property
    def stalled(self) -> Mask:
        """Ops that timed out, or could not connect in time, while the machine stalled for at least half of their time."""
        ops, attempts = self.history.ops, self.history.attempts
        if not self.stalls:
            return np.zeros(len(ops), dtype=np.bool_)
        begin, end = (np.array(column, dtype=np.int64) for column in zip(*self.stalls, strict=True))
        before = np.concatenate(([0], np.cumsum(end - begin)))

        def stalled_until(at_ns: Rows) -> Rows:
            """Nanoseconds of stall before each instant; one sampler asks at a time, so spans don't overlap."""
            place = np.searchsorted(begin, at_ns, side="right") - 1
            inside = np.clip(at_ns - begin[place], 0, (end - begin)[place])
            total: Rows = np.where(place < 0, 0, before[place] + inside)
            return total

        timed_out = [code for code, error in enumerate(attempts.errors) if is_timeout(error)]
        no_connection = (ops.outcome == CODE[Outcome.UNAVAILABLE]) & np.isin(attempts.error[ops.last], timed_out)
        late = self.closed & ((ops.outcome == CODE[Outcome.TIMEOUT]) | no_connection)
        mask: Mask = late & (2 * (stalled_until(ops.done_ns) - stalled_until(ops.invoke_ns)) >= ops.done_ns - ops.invoke_ns)
        return mask

    @cached_property
    def lost_ns(self) -> int:
        """When the engine was lost; the end of all time when it was not."""
        return min((event.at_ns for event in self.events(EngineLost)), default=np.iinfo(np.int64).max)

    @cached_property
    def aftermath(self) -> Mask:
        """Ops that ended when the engine was lost: what became of the replicas then was not their own doing."""
        mask: Mask = self.closed & (self.history.ops.done_ns > self.lost_ns - AFTERMATH_NS)
        return mask

    @cached_property
    def unsent(self) -> Mask:
        """Ops that ended because the load's own machine could not send them."""
        attempts, last = self.history.attempts, self.history.ops.last
        own = [code for code, name in enumerate(attempts.errors) if name in OWN_TROUBLE]
        unfinished = self.history.ops.outcome == CODE[Outcome.UNFINISHED]
        mask: Mask = unfinished & np.isin(attempts.error[last], own)
        return mask

    @cached_property
    def cut_while_starved(self) -> Mask:
        """Ops that SIGKILL cut at the end of a grace for which the machine had no CPU."""
        ops, attempts = self.history.ops, self.history.attempts
        mask: Mask = np.zeros(len(ops), dtype=np.bool_)
        for signal in self.events(Signalled):
            if signal.purpose == "grace-over" and signal.replica in self.starved and signal.replica in attempts.replicas:
                there = attempts.replica[ops.last] == attempts.replicas.index(signal.replica)
                mask |= there & (ops.invoke_ns <= signal.at_ns) & (ops.done_ns >= signal.at_ns)
        return mask

    @cached_property
    def scaled_to_zero(self) -> Mask:
        """Ops that no replica took while the scenario itself had scaled the process type that takes the load to none."""
        ops = self.history.ops
        mask: Mask = np.zeros(len(ops), dtype=np.bool_)
        for begin_ns, end_ns in self.zero_spans:
            mask |= (ops.invoke_ns <= end_ns) & (ops.done_ns >= begin_ns)
        mask &= self.closed & (ops.outcome == CODE[Outcome.UNAVAILABLE])
        return mask

    @cached_property
    def zero_spans(self) -> tuple[tuple[int, int], ...]:
        """Spans in which the scenario wanted no replica for the load: from the stop of the last one until the first one is ready again.

        A start takes time whatever the app does; how long it took is told of the start.
        """
        process = self.scenario.load_process
        if not _scales_to_zero(self.scenario.model_dump(mode="json", include={"steps"}), process):
            return ()
        scaled = {event.replica: event.at_ns for event in self.events(Signalled) if event.purpose == "scale"}
        up: set[str] = set()
        spans: list[tuple[int, int]] = []
        began_ns = 0
        for event in self.history.events:
            if isinstance(event, Routed):
                if event.open:
                    up.add(event.replica)
                    if began_ns:
                        spans.append((began_ns, event.at_ns))
                        began_ns = 0
                elif up == {event.replica} and event.replica in scaled:
                    began_ns = min(event.at_ns, scaled[event.replica])
                if not event.open:
                    up.discard(event.replica)
        return (*spans, (began_ns, self.end_ns)) if began_ns else tuple(spans)

    @cached_property
    def answered(self) -> Mask:
        """Ops that were answered as expected, at once or elsewhere or after a permitted retry."""
        kept = [CODE[outcome] for outcome in (Outcome.OK, Outcome.REDIRECTED, Outcome.RETRIED, Outcome.RESUMED)]
        return self.closed & np.isin(self.history.ops.outcome, kept)

    @cached_property
    def streaming(self) -> Mask:
        """Attempts that are a connection of a stream, which lasts as long as its client wants."""
        requests = [number for number, request in enumerate(self.scenario.requests) if request.stream is not None]
        mask: Mask = np.isin(self.history.attempts.request, requests)
        return mask

    @cached_property
    def answer_ns(self) -> Rows:
        """The instants of all answers, in order; of a stream, those of the first and the last event of each of its connections."""
        ops, attempts = self.history.ops, self.history.attempts
        whole = ops.done_ns[self.answered & ~self.streaming[ops.first]] if len(attempts) else NO_ROWS
        told = [at_ns for each in self.history.streamed for at_ns in (each.first_event_ns, each.last_event_ns) if at_ns]
        return np.sort(np.concatenate((whole, np.array(told, dtype=np.int64))))

    @cached_property
    def outcomes(self) -> dict[Outcome, int]:
        """How many ops had each outcome; those without an end count as unfinished."""
        counts = np.bincount(self.history.ops.outcome, minlength=len(OUTCOMES))
        return {outcome: int(counts[code]) for code, outcome in enumerate(OUTCOMES)}

    @cached_property
    def outcomes_of_requests(self) -> Rows:
        """How many ops of each request of the scenario (rows) had each outcome (columns)."""
        ops, kinds = self.history.ops, len(self.scenario.requests)
        request = np.clip(self.history.attempts.request[ops.first], 0, max(0, kinds - 1))
        counts: Rows = np.bincount(request * len(OUTCOMES) + ops.outcome, minlength=kinds * len(OUTCOMES)).reshape(-1, len(OUTCOMES))
        return counts

    def answered_of(self, replica: str, requests: Rows) -> Rows:
        """When ``replica`` answered those requests of the scenario as expected, in no order."""
        attempts, rows = self.history.attempts, self.by_replica.get(replica, NO_ROWS)
        rows = rows[(attempts.outcome[rows] == CODE[Outcome.OK]) & np.isin(attempts.request[rows], requests)]
        done: Rows = attempts.done_ns[rows]
        return done

    @cached_property
    def outages(self) -> tuple[tuple[int, int], ...]:
        """Spans from the last answer (or the first failed request after it) to the next answer, with a failed request in each.

        All clients together: a span in which no replica answered anybody. A request that fails while others are answered makes a
        span as short as the distance between two answers.
        """
        return _outages(self.history.ops.invoke_ns, self.history.ops.done_ns, self.answered, self.dropped)

    @cached_property
    def longest_client_outage(self) -> tuple[int, int, int]:
        """The longest such span of one client: client, begin, end; (-1, 0, 0) when nothing was dropped."""
        ops, attempts = self.history.ops, self.history.attempts
        users = attempts.user[ops.first]
        longest = (-1, 0, 0)
        mine = np.flatnonzero(np.isin(users, np.unique(users[self.dropped])))
        mine = mine[np.argsort(users[mine], kind="stable")]
        bounds = np.flatnonzero(np.diff(users[mine], prepend=-1, append=-1))
        for begin, end in pairwise(bounds):
            rows = mine[begin:end]
            for start_ns, end_ns in _outages(ops.invoke_ns[rows], ops.done_ns[rows], self.answered[rows], self.dropped[rows]):
                if end_ns - start_ns > longest[2] - longest[1]:
                    longest = (int(users[rows[0]]), start_ns, end_ns)
        return longest

    # --- replicas and faults ----------------------------------------------------------------------------------------------

    @cached_property
    def lives(self) -> dict[str, Life]:
        """Every replica that the history names, in the order of its first event."""
        events: dict[str, list[Event]] = defaultdict(list)
        for event in self.history.events:
            if isinstance(event, OF_A_REPLICA):
                events[event.replica].append(event)
        return {replica: self._life(replica, mine) for replica, mine in events.items()}

    def life(self, replica: str) -> Life:
        """What is known of ``replica``; a bare name when no event speaks of it."""
        return self.lives.get(replica) or Life(replica=replica, process=replica.rpartition(".")[0] or replica)

    def process_of(self, replica: str) -> str:
        """The process type of ``replica``; that of the load when there was no replica to go to."""
        return self.life(replica).process if replica else self.scenario.load_process

    def _life(self, replica: str, events: list[Event]) -> Life:
        spawned = _first(events, Spawned)
        reached: dict[str, PhaseReached] = {}
        for event in events:
            if isinstance(event, PhaseReached):
                reached.setdefault(event.phase, event)
        instants = {name: event.at_ns for name, event in reached.items()}
        return Life(
            replica=replica,
            process=spawned.process if spawned else replica.rpartition(".")[0] or replica,
            command=spawned.command if spawned else "",
            step=spawned.step if spawned else -1,
            replaces=spawned.replaces if spawned else "",
            spawned_ns=spawned.at_ns if spawned else 0,
            created_ns=instants.get("created", 0),
            started_ns=instants.get("started", 0),
            running_ns=instants.get("running", 0),
            listening_ns=instants.get("listening", 0),
            healthy_ns=instants.get("healthy", 0),
            first_answer_ns=instants.get("first-answer", 0) or self._first_answer_ns(replica),
            removed_ns=instants.get("removed", 0),
            signals=tuple(event for event in events if isinstance(event, Signalled)),
            closed=reached.get("stopped-listening"),
            exited=_first(events, Exited),
            failed=_first(events, StartFailed),
            survived=tuple(event for event in events if isinstance(event, Survived)),
            knocks=tuple(event for event in events if isinstance(event, Knocked)),
            contained=_first(events, Contained),
            zombies=tuple(event for event in events if isinstance(event, Zombies)),
            cut_off=_first(events, CutOff),
            wrote=_first(events, Wrote),
            oom_kills=tuple(event for event in events if isinstance(event, OomKilled)),
            imported=_first(events, Imported),
        )

    def _first_answer_ns(self, replica: str) -> int:
        attempts = self.history.attempts
        rows = self.by_replica.get(replica, NO_ROWS)
        plain = rows[(attempts.outcome[rows] == CODE[Outcome.OK]) & ~self.streaming[rows]]
        open_streams = rows[self.streaming[rows] & (attempts.reached[rows] >= Reached.BODY) & (attempts.first_ns[rows] > 0)]
        done = np.concatenate((attempts.done_ns[plain], attempts.first_ns[open_streams]))
        return int(done.min()) if len(done) else 0

    @cached_property
    def held(self) -> dict[str, list[Held]]:
        """The connections that the harness held, by the replica."""
        held: dict[str, list[Held]] = defaultdict(list)
        for event in self.events(Held):
            held[event.replica].append(event)
        return dict(held)

    @cached_property
    def let_go(self) -> dict[str, LetGo]:
        """When load and harness closed their connections to a replica whose grace was over, by the replica."""
        return {event.replica: event for event in self.events(LetGo)}

    @cached_property
    def starved(self) -> dict[str, Scheduled]:
        """Replicas whose time was over, for a start or a stop, because the machine had no CPU for them; see `STARVED_SHARE`.

        Not those whose port somebody else had: no CPU would have helped them.
        """
        hopeless = {event.replica for event in self.events(StartFailed) if event.reason == "port-taken"}
        return {
            event.replica: event
            for event in self.events(Scheduled)
            if event.replica not in hopeless
            and event.waited_ns >= STARVED_SHARE * (event.at_ns - event.since_ns)
            and event.ran_ns <= FED_SHARE * (event.at_ns - event.since_ns)
        }

    @cached_property
    def faults(self) -> tuple[Fault, ...]:
        """Every stop that a step ordered, in order."""
        signals = [event for event in self.events(Signalled) if event.purpose in FAULT_PURPOSES]
        return tuple(self._fault(number, signal) for number, signal in enumerate(signals))

    def predecessor(self, life: Life) -> Life | None:
        """The replica whose place ``life`` took, or else the last one of its process type that had ended before it was asked for."""
        if life.replaces:
            return self.lives.get(life.replaces)
        ended = [other for other in self.lives.values() if other.process == life.process and other is not life and other.exited]
        before = [other for other in ended if other.exited and other.exited.at_ns < life.spawned_ns]
        return max(before, key=lambda other: other.exited.at_ns if other.exited else 0, default=None)

    @cached_property
    def disturbances(self) -> tuple[Disturbance, ...]:
        """All that steps took away from replicas and gave back, in order."""
        first = len(self.faults)
        return tuple(self._disturbance(number, taken) for number, taken in enumerate(self.events(Disturbed), start=first))

    @property
    def harms(self) -> tuple[Harm, ...]:
        """All stops, then all disturbances: the one with number n is the n-th."""
        return (*self.faults, *self.disturbances)

    @cached_property
    def _heirs(self) -> dict[str, Life]:
        """The replica that took the place of another, by the name of the other."""
        return {life.replaces: life for life in reversed(self.lives.values()) if life.replaces}

    def _disturbance(self, number: int, taken: Disturbed) -> Disturbance:
        victim, heir = self.life(taken.replica), self._heirs.get(taken.replica)
        later = (event for event in self.events(Restored) if (event.replica, event.what) == (taken.replica, taken.what))
        restored = next((event for event in later if event.until_ns >= taken.until_ns), None)
        over_ns = restored.until_ns if restored else self.end_ns
        end_ns = over_ns + round(AFTER_S * NS_PER_S)
        oom_ns = 0
        if taken.what == "memory":
            kills = [event.at_ns for event in victim.oom_kills]
            kills += [victim.exited.at_ns] if victim.exited and victim.exited.oom else []
            oom_ns = min((at_ns for at_ns in kills if taken.at_ns <= at_ns <= end_ns), default=0)
        if oom_ns and heir and heir.step == taken.step:
            over_ns, end_ns = max(over_ns, heir.healthy_ns), max(end_ns, heir.healthy_ns)
        attempts, rows = self.history.attempts, self.by_replica.get(taken.replica, NO_ROWS)
        last_ns = min(oom_ns or over_ns, restored.at_ns if restored else over_ns)
        begun = int(np.count_nonzero((attempts.invoke_ns[rows] > taken.at_ns) & (attempts.invoke_ns[rows] <= last_ns)))
        unproven = np.intersect1d(self.unproven, rows)
        done = attempts.done_ns[unproven]
        return Disturbance(
            number=number,
            taken=taken,
            restored=restored,
            victim=victim,
            replacement=heir,
            over_ns=over_ns,
            end_ns=end_ns,
            oom_ns=oom_ns,
            busy=self._jobs_in_hand(taken)
            if self._only_works(taken.replica)
            else len(self._unanswered(rows, taken.at_ns, taken.until_ns)) + begun,
            unproven=int(np.count_nonzero((done > taken.at_ns) & (done <= end_ns))),
        )

    def _fault(self, number: int, signal: Signalled) -> Fault:
        victim = self.life(signal.replica)
        later = [other for other in victim.signals if other.at_ns >= signal.at_ns and other.purpose not in ("teardown", *FAULT_PURPOSES)]
        ends_it = signal.purpose != "signal" or victim.ended_by is signal
        heir = self._heirs.get(signal.replica) if ends_it else None
        ends = [other.until_ns for other in later] + [event.at_ns for event in victim.survived]
        ends += [victim.exited.at_ns] if victim.exited else [self.end_ns]
        ends = ends if ends_it else [signal.at_ns + round(AFTER_S * NS_PER_S)]
        ends += [heir.healthy_ns] if heir else []
        ends.append(signal.at_ns + round(max(0.0, signal.lag_s) * NS_PER_S))  # until then the router sends it requests
        in_flight = self._in_flight(signal, signal.at_ns, signal.until_ns)
        attempts = self.history.attempts
        answered = in_flight[(attempts.reached[in_flight] == Reached.ANSWERED) & ~np.isin(in_flight, self.unproven)]
        told_ns = self._told_ns(signal)
        unproven = np.intersect1d(self.unproven, self.by_replica.get(signal.replica, NO_ROWS))
        return Fault(
            number=number,
            signal=signal,
            victim=victim,
            replacement=heir,
            killed=next((other for other in later if ends_it and other.purpose == "grace-over" and other.delivered), None),
            again=next((other for other in later if ends_it and other.purpose == "again" and other.delivered), None),
            end_ns=max([signal.until_ns, *ends]),
            in_flight=in_flight,
            busy=self._jobs_in_hand(signal) if self._is_about_jobs(signal) else len(self._demanded(signal, told_ns)),
            unproven=int(np.count_nonzero(attempts.done_ns[unproven] > told_ns)),
            drained_ns=int(attempts.done_ns[answered].max()) if len(answered) else 0,
        )

    def _only_works(self, replica: str) -> bool:
        """It works on jobs and takes no load, so that a job in its hands is all that can be under way on it."""
        return self.life(replica).process == self.scenario.job_process != self.scenario.load_process

    def _is_about_jobs(self, signal: Signalled) -> bool:
        """The step demands a job in the victim's hands, or none."""
        return signal.when in JOB_MOMENTS or (signal.when == "idle" and self._only_works(signal.replica))

    def _jobs_in_hand(self, order: Signalled | Disturbed) -> int:
        """How many jobs the victim's log says that it had in hand then; as the harness saw it where the log says nothing."""
        if not self._hears("started"):
            return max(0, order.in_flight)
        when = order.when if isinstance(order, Signalled) else ""
        return len(self.history.jobs.in_hand(order.replica, order.at_ns, when, says_finished=self._hears("finished")))

    def _hears(self, what: str) -> bool:
        """The scenario says how a worker's log tells this of a job."""
        jobs = self.scenario.jobs
        return jobs is not None and getattr(jobs.log, what) is not None

    def _demanded(self, signal: Signalled, told_ns: int) -> Rows:
        """Attempts on the victim that were as ``when`` says, at the signal or when the router was told before it."""
        attempts, rows = self.history.attempts, self.by_replica.get(signal.replica, NO_ROWS)
        done = attempts.done_ns[rows]
        under_way = (done == 0) | (done > told_ns)
        match signal.when:
            case "mid-response":
                first = attempts.first_ns[rows]
                late = (attempts.reached[rows] != Reached.ANSWERED) | (done - self._lag_ns(done) > told_ns)
                found: Rows = rows[(first > 0) & (first < told_ns) & under_way & late]
            case "just-accepted":
                connected, sent = attempts.connected_ns[rows], attempts.sent_ns[rows]
                silent = (sent == 0) | (sent > told_ns)
                found = rows[~attempts.reused[rows] & (connected > 0) & (connected < told_ns) & silent & under_way]
            case _ if told_ns == signal.at_ns:
                found = self._in_flight(signal, told_ns, signal.until_ns)
            case _:
                found = self._in_flight(signal, told_ns, told_ns)
        return found

    def _in_flight(self, signal: Signalled, at_ns: int, until_ns: int) -> Rows:
        """Attempts on the victim that the app had still to answer when what happened between ``at_ns`` and ``until_ns`` happened.

        ``at_ns`` is the instant before the system call: one that was cut during it may have been cut by it.
        """
        attempts, rows = self.history.attempts, self.by_replica.get(signal.replica, NO_ROWS)
        if signal.purpose == "kill" and self._to_everything(signal):
            rows = rows[self._open(rows, at_ns)]
            cut: Rows = rows[attempts.reached[rows] != Reached.ANSWERED]
            return cut
        return self._unanswered(rows, at_ns, until_ns)

    def _unanswered(self, rows: Rows, at_ns: int, until_ns: int) -> Rows:
        """Which of these attempts had left at ``at_ns`` and were not answered before ``until_ns``, as far as the load can have seen it."""
        attempts = self.history.attempts
        rows = rows[self._open(rows, at_ns)]
        whole = attempts.reached[rows] == Reached.ANSWERED
        after = (attempts.first_ns[rows] > until_ns) | (attempts.done_ns[rows] - self._lag_ns(attempts.done_ns[rows]) > until_ns)
        in_flight: Rows = rows[~whole | after]
        return in_flight

    def _lag_ns(self, at_ns: Rows) -> Rows:
        """How late the load can have been at each instant to read what had come: the worst lag of the sample that covers it."""
        samples = self.history.generator
        until = np.array([sample.at_ns for sample in samples], dtype=np.int64)
        unknown = np.iinfo(np.int64).max // 2
        lags = np.array([*(sample.lag_ns for sample in samples), unknown], dtype=np.int64)
        found: Rows = lags[np.searchsorted(until, at_ns)]
        return found

    def _open(self, rows: Rows, at_ns: int) -> Mask:
        """Which of these attempts had left at ``at_ns`` and had not ended."""
        attempts = self.history.attempts
        sent, done = attempts.sent_ns[rows], attempts.done_ns[rows]
        mask: Mask = (sent > 0) & (sent <= at_ns) & ((done == 0) | (done > at_ns))
        return mask

    def _to_everything(self, signal: Signalled) -> bool:
        """Whether a kill went to the descendants too; where only the main process was killed, workers may go on answering."""
        step = self.steps.get(signal.step)
        kills = [each.options for each in nested((step,)) if isinstance(each.options, Kill | Restart)] if step else []
        to_main = any(kill.scope == "main" for kill in kills)
        return not to_main and not self.life(signal.replica).survived

    @cached_property
    def unproven(self) -> Rows:
        """Attempts that were answered as expected, as far as anybody can know: see the head of this file."""
        attempts = self.history.attempts
        rows = np.flatnonzero(attempts.eof & (attempts.outcome == CODE[Outcome.OK]))
        if not len(rows):
            return NO_ROWS
        expects = [request.expect for request in self.scenario.requests]
        told = [number for number, expect in enumerate(expects) if expect.body is not None or expect.body_contains is not None]
        rows = rows[~np.isin(attempts.request[rows], told)]
        near = np.zeros(len(rows), dtype=np.bool_)
        for life in self.lives.values():
            mine = np.isin(rows, self.by_replica.get(life.replica, NO_ROWS))
            for signal in life.signals:
                near |= mine & self._open(rows, signal.at_ns)
            for kill in life.oom_kills:
                near |= mine & (np.abs(attempts.done_ns[rows] - kill.at_ns) <= SAME_MOMENT_S * NS_PER_S)
            if life.exited:
                # What ended before the harness tore the replica down did not end by that.
                before = [signal.at_ns for signal in life.signals if signal.purpose == "teardown"]
                done = attempts.done_ns[rows]
                with_exit = np.abs(done - life.exited.at_ns) <= SAME_MOMENT_S * NS_PER_S
                near |= mine & with_exit & (done >= min(before, default=0))
        return rows[near]

    def _told_ns(self, signal: Signalled) -> int:
        """The instant at which the victim had to be busy: when the router was told, if that was before the signal."""
        if signal.lag_s >= 0:
            return signal.at_ns
        told = [event.at_ns for event in self.events(Routed) if event.replica == signal.replica and not event.open]
        return max((at_ns for at_ns in told if at_ns <= signal.at_ns), default=signal.at_ns + round(signal.lag_s * NS_PER_S))


def signal_number(name: str) -> int:
    """The number of a signal that is called so; -1 when this machine has none of that name."""
    return int(Signals[name]) if name in Signals.__members__ else -1


def _scales_to_zero(written: object, process: str) -> bool:
    """Whether a step anywhere in what a scenario says scales ``process`` to none."""
    if isinstance(written, list):
        return any(_scales_to_zero(each, process) for each in written)
    if not isinstance(written, dict):
        return False
    counts = written.get("scale")
    here = isinstance(counts, dict) and counts.get(process) == 0
    return here or any(_scales_to_zero(each, process) for each in written.values())


def is_timeout(error: str) -> bool:
    """Whether an errno name or exception type says that time ran out."""
    return "timedout" in error.lower() or "timeout" in error.lower()


def _first(events: list[Event], kind: type[E]) -> E | None:
    return next((event for event in events if isinstance(event, kind)), None)


def _outages(invoke_ns: Rows, done_ns: Rows, answered: Mask, dropped: Mask) -> tuple[tuple[int, int], ...]:
    """Spans without an answer that hold a failed request, in order (see `Facts.outages`)."""
    if not dropped.any():
        return ()
    answers = np.sort(done_ns[answered])
    failed = np.flatnonzero(dropped)
    gap = np.searchsorted(answers, done_ns[failed], side="right")
    gaps, place = np.unique(gap, return_inverse=True)
    begin = np.full(len(gaps), np.iinfo(np.int64).max)
    end = np.zeros(len(gaps), dtype=np.int64)
    np.minimum.at(begin, place, invoke_ns[failed])
    np.maximum.at(end, place, done_ns[failed])
    bounds = np.r_[0, answers, np.iinfo(np.int64).max]
    begin = np.maximum(begin, bounds[gaps])
    end = np.where(gaps < len(answers), bounds[gaps + 1], end)
    return tuple((int(low), int(high)) for low, high in zip(begin, end, strict=True))
