"""A session: one variant's stage, on which its cycles are played, with a history of its own.

The session of a variant stays open for the whole bench, with the engine, the services and what the target depends on, so that a cycle is
a start and a stop and nothing else. No load is there and nothing is judged; what is timed is written down as in a run. Under ``load`` a
session has the scenario's load and the other replicas, and it is open for a few cycles at a time, since two loads would disturb each other.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.backing import itself
from harness.bench.cold import VARIABLE as BYTECODE_VARIABLE
from harness.bench.plan import VariantPlan
from harness.bench.slow import Between
from harness.clock import NS_PER_S, MonotonicClock
from harness.engines import ENGINES
from harness.engines.base import Replica
from harness.errors import MachineError, TargetError, UsageError
from harness.fleet import Fleet, StopOrder
from harness.history import PhaseReached
from harness.probes import Connection
from harness.real import real_stage
from harness.report.progress import Progress
from harness.resources import used_by
from harness.run import RunOptions, ended_in_order, header_of, open_history
from harness.scenario import NO_LOAD, Scenario
from harness.stage import Stage
from harness.tls import Tls

FIRST_ANSWER_S: Final = 10.0
"""How long a replica that is healthy may take until it answers a request, and until its port is open."""

MUTE: Final = 2
"""When so many replicas of a session were healthy and answered nobody, it is no server of HTTP, and no more are asked."""

ASK_S: Final = 2.0
"""How long one such request may take."""

POLL_S: Final = 0.001
BYTECODE_FOLDER: Final = "bytecode"
PREPARE_S: Final = 600.0
"""How long a command of ``--prepare`` or ``--cleanup`` may take."""

LAST_BYTES: Final = 4096
"""How much of the end of what such a command wrote is looked at for its last line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A stage that is ready for cycles.

    Attributes:
        plan: The variant.
        process: The process type that is timed.
        loaded: The others are under load.
        logs: Where its replicas' output goes.
        shown: The logs that the person has seen.
        mute: Replicas that were healthy and answered nobody; after a few of them no more are asked.
        between: What stands between the target and the service that will be slow; None in a bench in which none will.
    """

    plan: VariantPlan
    stage: Stage
    fleet: Fleet
    loaded: bool
    logs: Path
    shown: set[Path] = field(default_factory=set)
    mute: set[str] = field(default_factory=set)
    between: Between | None = None

    @property
    def contained(self) -> bool:
        """Replicas are no descendants of this process, and neither is who starts them."""
        return ENGINES[self.plan.engine].contained

    @property
    def process(self) -> str:
        """The process type that is started and stopped."""
        return self.plan.process

    def start(self, *, again: Replica | None = None) -> Replica:
        """Start one replica, wait until it has given its first answer, and record what it had used until then.

        Raises:
            TargetError: It did not become healthy; the history says why.
        """
        replica = self.fleet.start(self.process, again=again)
        self.await_first_answer(replica)
        if replica.name not in self.mute:  # what it used while it was asked in vain is no use of a start
            self.look(replica, "healthy")
        return replica

    def await_first_answer(self, replica: Replica) -> None:
        """Ask a replica that takes no load itself until it answers, and record when; nothing of one that nobody can ask over HTTP."""
        if self.loaded:
            self._await_load(replica)
            return
        path = first_path(self.plan.scenario, self.process)
        if path is None or len(self.mute) >= MUTE:
            return
        clock = self.stage.clock
        deadline_ns = clock.now_ns() + round(FIRST_ANSWER_S * NS_PER_S)
        self._await_open(replica, deadline_ns)
        while clock.now_ns() < deadline_ns and self.stage.engine.wait_exit(replica, 0) is None:
            if _answers(replica, path, self.plan.scenario.target[self.process].spoken_tls):
                self.stage.record(PhaseReached(at_ns=clock.now_ns(), replica=replica.name, phase="first-answer"))
                return
            clock.sleep(POLL_S)
        self.mute.add(replica.name)

    def _await_open(self, replica: Replica, deadline_ns: int) -> None:
        """Record when the port of one opened whose health says nothing of it; of one that is open by now nobody saw when."""
        stage = self.stage
        if stage.scenario.healthcheck_of(self.process).kind in ("http", "tcp", "test"):
            return  # that was seen on the way
        at_ns = 0
        while (seen := stage.engine.listening(replica)) is not None and not seen.open:
            if stage.clock.now_ns() > deadline_ns or stage.engine.wait_exit(replica, 0) is not None:
                return
            stage.clock.sleep(POLL_S)
            at_ns = stage.clock.now_ns()
        if seen is not None and (seen.since_ns or at_ns):
            stage.record(PhaseReached(at_ns=seen.since_ns or at_ns, replica=replica.name, phase="listening"))

    def _await_load(self, replica: Replica) -> None:
        """Wait until it has been asked a few times and answered; when it did so first, the ledger tells."""
        clock, load, name = self.stage.clock, self.stage.load, replica.name
        deadline_ns = clock.now_ns() + round(FIRST_ANSWER_S * NS_PER_S)
        while clock.now_ns() < deadline_ns and load.alive():
            sent = load.sent(name)  # before the others: what is sent after this look is no answer
            if sent >= FEW_REQUESTS and load.in_flight(name) + load.answering(name) < sent:
                return
            clock.sleep(POLL_S)

    def look(self, replica: Replica, when: str) -> None:
        """Record what its processes have used so far."""
        if not replica.pid:
            return
        pids = [replica.pid, *(process.pid for process in self.stage.engine.descendants(replica))]
        if told := used_by(pids, replica.name, when, self.stage.clock.now_ns(), cgroup=bool(replica.created_ns)):
            self.stage.record(told)

    def stop(self, replica: Replica, *, busy: bool = False) -> None:
        """Stop one replica in order, once its memory was looked at. Raises `TargetError` when it can't be killed."""
        self.look(replica, "steady")
        kind = self.stage.scenario.target[self.process]
        seen = self.stage.engine.listening(replica)
        order = StopOrder(
            purpose="terminate",
            signal=kind.stop_signal or replica.stop_signal or "SIGTERM",
            grace_s=kind.stop_grace_period.s,
            when="in-flight" if busy else "any",
            busy_within_s=BUSY_WITHIN_S if busy else 0.0,
            timed=seen is not None and seen.open,
        )
        self.fleet.stop(replica, order)
        shutil.rmtree(self.logs.parent / BYTECODE_FOLDER / replica.name, ignore_errors=True)  # many megabytes a start

    def kill(self, replica: Replica) -> None:
        """End one replica with SIGKILL, and all that belongs to it."""
        self.fleet.stop(replica, StopOrder(purpose="kill", signal="SIGKILL", everything=True))


FEW_REQUESTS: Final = 3
BUSY_WITHIN_S: Final = 2.0
"""How long a stop under load waits for a request in flight."""


def first_path(scenario: Scenario, process: str) -> str | None:
    """What is asked for the first answer: the health check's path, else a plain GET of the load, else ``/``; None where it is no HTTP."""
    check = scenario.healthcheck_of(process)
    if check.http:
        return check.http
    return scenario.plain_path if process == scenario.load_process else None


def _answers(replica: Replica, path: str, tls: Tls | None) -> bool:
    """Whether a request on a new connection gets a whole answer that is no failure of the server's."""
    with contextlib.closing(Connection(replica, ASK_S, tls)) as connection:
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            with connection.getresponse() as answer:
                answer.read()
        except (OSError, http.client.HTTPException):
            return False
    return answer.status < http.HTTPStatus.INTERNAL_SERVER_ERROR


@contextmanager
def open_session(
    plan: VariantPlan, folder: Path, options: RunOptions, run_id: str, *, loaded: bool, progress: Progress
) -> Iterator[Session]:
    """A session whose history goes to ``folder``; whatever ends it, what it started is removed.

    Raises:
        MachineError: This machine can't run it.
        TargetError: What the process type depends on, or the replicas under load, did not get healthy, or the engine went away in a cycle.
        UsageError: Something that the scenario names does not exist.
    """
    for part in ("history", "logs"):
        (folder / part).mkdir(parents=True)
    whole = plan.scenario
    header = header_of(whole, plan.path, options, run_id, MonotonicClock())
    writer = open_history(folder, header)
    played = _played(plan, loaded=loaded, bytecode=folder / BYTECODE_FOLDER)
    failed: TargetError | None = None
    try:
        with (
            _between(plan) as between,
            real_stage(played, header, folder, writer, progress, handed=between.handed if between else itself) as (stage, fleet),
            ended_in_order(stage, fleet),
        ):
            try:
                _get_ready(stage, fleet, plan, loaded=loaded)
                yield Session(plan=plan, stage=stage, fleet=fleet, loaded=loaded, logs=folder / "logs", between=between)
            except TargetError as error:
                failed = error
                raise
    finally:
        writer.close()
    if failed is not None:  # the end in order keeps it to itself, as a run does that has its verdict from the history
        raise failed


@contextmanager
def _between(plan: VariantPlan) -> Iterator[Between | None]:
    """What stands between the target and the service that will be slow, if one will."""
    if not plan.slowed:
        yield None
        return
    between = Between(plan.slowed, plan.scenario, MonotonicClock(), contained=ENGINES[plan.engine].contained)
    with contextlib.closing(between):
        yield between


def _get_ready(stage: Stage, fleet: Fleet, plan: VariantPlan, *, loaded: bool) -> None:
    for name in needed_by(plan.scenario, plan.process):
        fleet.start_many(name, plan.scenario.target[name].replicas)
    if loaded:
        fleet.start_many(plan.process, max(1, plan.scenario.target[plan.process].replicas))
        stage.load.start()
        _await_flow(stage, fleet, plan.process)


def _played(plan: VariantPlan, *, loaded: bool, bytecode: Path) -> Scenario:
    """The scenario without jobs and state, and without load where none is wanted; its health check stays what it would be with them."""
    whole = plan.scenario
    kind = whole.target[plan.process]
    environment = dict(kind.environment)
    if "bytecode" in plan.cold:
        environment[BYTECODE_VARIABLE] = f"{bytecode.absolute()}/{{replica}}"
    kind = kind.model_copy(update={"healthcheck": whole.healthcheck_of(plan.process), "environment": environment})
    bare: dict[str, object] = {"jobs": None, "state": {}, "target": {**whole.target, plan.process: kind}}
    return whole.model_copy(update=bare if loaded else {**bare, "load": NO_LOAD})


def needed_by(scenario: Scenario, process: str) -> list[str]:
    """The process types that must be up before ``process``, in the order of their starts."""
    needed: set[str] = set()
    pending = [process]
    while pending:
        for name in scenario.target[pending.pop()].depends_on:
            if name not in needed:
                needed.add(name)
                pending.append(name)
    return [name for name in scenario.start_order() if name in needed]


def _await_flow(stage: Stage, fleet: Fleet, process: str) -> None:
    """Wait until the load is there: every other replica has got requests, for a second."""
    clock = stage.clock
    deadline_ns = clock.now_ns() + round(FIRST_ANSWER_S * NS_PER_S)
    others = fleet.up(process)
    while clock.now_ns() < deadline_ns and stage.load.alive():
        if all(stage.load.sent(other.name) >= FEW_REQUESTS for other in others):
            clock.sleep(1.0)
            return
        clock.sleep(0.01)
    raise TargetError("the load has not reached every replica; see load.log in the session's folder")


def run_command(command: str, flag: str) -> None:
    """Run a command of the person's own in a shell, outside of all timing; nothing for an empty one.

    What it leaves in the background on purpose stays, and is not waited for; of one that is given up nothing is left.

    Raises:
        UsageError: It failed, or took too long.
    """
    if not command:
        return
    with tempfile.TemporaryFile() as output:  # no pipe, whose end would come with that of what it left in the background
        try:
            shell = subprocess.Popen(
                ["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            raise MachineError(f"{flag}: no shell could be started: {error.strerror}") from error
        try:
            status = shell.wait(PREPARE_S)
        except BaseException as error:  # Ctrl-C goes to the harness alone
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise UsageError(f"{flag} {command!r} did not end within {PREPARE_S:.0f} s") from error
            raise
        if status == 0:
            return
        output.seek(max(0, output.seek(0, os.SEEK_END) - LAST_BYTES))
        last = output.read().decode(errors="replace").strip().rpartition("\n")[2]
        raise UsageError(f"{flag} {command!r} ended with status {status}" + (f": {last}" if last else ""))
