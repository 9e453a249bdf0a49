"""What a real run needs: watchdog, folder, engine, services, load, jobs, state and fleet, tied together, and removed whatever happens."""

from __future__ import annotations

import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from harness.backing import Backing, Handed, itself
from harness.cleanup import clean_run, make_scratch, start_watchdog
from harness.clock import NS_PER_S, Clock, Dice, MonotonicClock
from harness.engines import ENGINES
from harness.engines.base import Engine, EngineContext, Exit, Prepares, Replica
from harness.fleet import Fleet, spec_of
from harness.history import Event, EventWriter, Header, Lagged, Note
from harness.job_history import JOBS_FILE, mark_of
from harness.jobs import JobCourse, names_of
from harness.load.base import Load
from harness.load.none import NoLoad
from harness.load.process import ProcessLoad
from harness.load.spec import LoadSpec
from harness.report.progress import Progress
from harness.scenario import Scenario, Step
from harness.stage import Given, Stage, Threads
from harness.state import StateCourse
from harness.state_history import STATE_FILE

BEAT_S: Final = 0.01
LAGGED_NS: Final = 50_000_000

SWITCH_S: Final = 0.0005
"""How long a thread of the harness may compute before another one, which saw an exit or a closed port, gets its turn."""


class _Ties:
    """Engine, services, jobs and fleet speak to each other and come to be one after the other; until then nobody is there to hear."""

    def __init__(self, backing: Backing, append: Callable[[Event], None]) -> None:
        self._backing = backing
        self._append = append
        self.fleet: Fleet | None = None
        self.jobs: JobCourse | None = None

    def context(self, run_id: str, clock: Clock, scratch: Path, logs: Path) -> EngineContext:
        """What an engine gets to speak with."""
        return EngineContext(
            run_id=run_id, clock=clock, scratch=scratch, logs=logs, on_exit=self.exited, record=self.record, hear=self.hear
        )

    def exited(self, replica: Replica, gone: Exit) -> None:
        """The engine tells an end: of a service, or of a replica."""
        if self._backing.owns(replica.name):
            self._backing.exited(replica, gone)
        elif self.fleet is not None:
            self.fleet.exited(replica, gone)

    def record(self, event: Event) -> None:
        """What only the engine sees is on record for replicas; a service is nobody's app."""
        if not self._backing.owns(getattr(event, "replica", "")):
            self._append(event)

    def hear(self, replica: str, data: bytes) -> None:
        """A replica wrote something."""
        if self.jobs is not None:
            self.jobs.hear(replica, data)

    def address(self, process: str) -> tuple[str, int] | None:
        """Where a replica of a process type is that is up."""
        return self.fleet.address_of(process) if self.fleet is not None else None

    def up(self, process: str) -> list[str]:
        """The names of the replicas of a process type that are up."""
        return [replica.name for replica in self.replicas(process)]

    def replicas(self, process: str) -> list[Replica]:
        """The replicas of a process type that are up, oldest first."""
        return self.fleet.up(process) if self.fleet is not None else []

    def step(self) -> int:
        """The number of the step in progress."""
        return self.fleet.step if self.fleet is not None else 0


@contextmanager
def real_stage(
    scenario: Scenario, header: Header, folder: Path, writer: EventWriter, progress: Progress, *, handed: Handed = itself
) -> Iterator[tuple[Stage, Fleet]]:
    """All that a real run needs, and its removal, by a watchdog should this process die first; ``handed``: where replicas find services."""
    clock: Clock = MonotonicClock()
    sys.setswitchinterval(SWITCH_S)

    def note(text: str) -> None:
        writer.append(Note(at_ns=clock.now_ns(), text=text))
        progress.note(text)

    watchdog, scratch = start_watchdog(header.run_id), make_scratch(header.run_id)
    undo, ledgers = ExitStack(), ExitStack()
    ledger = _ledger(folder / "history" / JOBS_FILE, ledgers) if scenario.jobs is not None else None
    asked = _ledger(folder / "history" / STATE_FILE, ledgers) if scenario.state else None
    try:
        backing = Backing(scenario, mark=mark_of(header.run_id), scratch=scratch, clock=clock, record=writer.append)
        ties = _Ties(backing, writer.append)
        backing.step, backing.handed = ties.step, handed
        context = ties.context(header.run_id, clock, scratch, folder / "logs")
        engine = _prepared_engine(scenario, header.engine, replace(context, note=note, tell=progress.work), backing)
        undo.callback(engine.close)
        undo.callback(backing.tear_down)
        load = _real_load(scenario, header, folder)
        backing.start_all(engine)
        stage = Stage(
            scenario=scenario,
            clock=clock,
            dice=Dice(header.seed).fork("faults"),
            engine=engine,
            load=load,
            record=writer.append,
            background=Threads(),
            tell=progress.replica,
            note=progress.note,
            inner=no_inner,
            backing=backing,
            given=Given(environment=backing.environment(), shared=backing.shared if backing.shares else None),
        )
        if ledger is not None:
            stage = _with_jobs(stage, header, ledger, backing, ties)
            undo.callback(stage.jobs.close)
        if asked is not None:
            stage = _with_state(stage, header, asked, backing, ties)
            undo.callback(stage.state.close)
        ties.fleet = Fleet(stage)
        beat = stage.background.watch(_beat(stage))
        _note_shells(scenario, note)
        undo.pop_all()  # from here on whoever plays the story ends it in order
        yield stage, ties.fleet
        beat.end()
    finally:
        undo.close()
        ledgers.close()
        removed = clean_run(header.run_id)
        if removed.left:
            progress.note(f"could not be removed yet: {', '.join(removed.left)}")
            watchdog.hand_over()
        else:
            watchdog.dismiss()


def _ledger(path: Path, closing: ExitStack) -> EventWriter:
    """A ledger of the run's own, which ``closing`` closes."""
    writer = EventWriter(path)
    closing.callback(writer.close)
    return writer


def _note_shells(scenario: Scenario, note: Callable[[str], None]) -> None:
    for process, kind in scenario.target.items():
        if kind.shell:
            note(f"{process}: its command has shell syntax, so a shell runs it: sh -c {shlex.quote(str(kind.command))}")


def no_inner(step: Step, _dice: Dice) -> None:
    """Nobody frames a step that another one draws before `Stage.inner` is replaced."""
    raise AssertionError(f"nobody frames {step.kind} here")


def _with_jobs(stage: Stage, header: Header, ledger: EventWriter, backing: Backing, ties: _Ties) -> Stage:
    """The stage with the scenario's jobs, whose queue is there."""
    jobs = stage.scenario.jobs
    assert jobs is not None  # noqa: S101  there is a ledger only with jobs
    names = names_of(stage.scenario, mark_of(header.run_id), backing.shared)
    course = JobCourse(
        stage.scenario,
        names,
        clock=stage.clock,
        record=stage.record,
        append=ledger.append,
        background=stage.background,
        client=backing.client,
        deposit=backing.deposit,
        address=ties.address,
        step=ties.step,
        up=ties.up,
    )
    ties.jobs = course
    course.start()
    given = replace(stage.given, environment={**stage.given.environment, **names.environment(jobs)})
    return replace(stage, jobs=course, given=given)


def _with_state(stage: Stage, header: Header, asked: EventWriter, backing: Backing, ties: _Ties) -> Stage:
    """The stage with what the harness itself asks of the scenario's state."""
    course = StateCourse(
        stage.scenario,
        mark=mark_of(header.run_id),
        clock=stage.clock,
        dice=Dice(header.seed),
        append=asked.append,
        background=stage.background,
        client=backing.client,
        up=ties.replicas,
        note=stage.note,
    )
    return replace(stage, state=course)


def _real_load(scenario: Scenario, header: Header, folder: Path) -> Load:
    if not scenario.has_load:
        return NoLoad()
    spec = LoadSpec.of(scenario, seed=header.seed, mark=mark_of(header.run_id))
    load = ProcessLoad(spec, history=folder / "history", logs=folder / "logs", run_id=header.run_id)
    load.prepare()
    return load


def _prepared_engine(scenario: Scenario, name: str, context: EngineContext, backing: Backing) -> Engine:
    engine = ENGINES[name](context)
    try:
        if isinstance(engine, Prepares):
            engine.prepare([*backing.specs(), *(spec_of(scenario, process, process) for process in scenario.target)])
    except BaseException:
        engine.close()
        raise
    return engine


def _beat(stage: Stage) -> Callable[[threading.Event], None]:
    """Notices when the harness itself stood still, because what it saw then, it saw too late."""

    def body(stop: threading.Event) -> None:
        while True:
            before_ns = stage.clock.now_ns()
            ending = stop.wait(BEAT_S)
            lag_ns = stage.clock.now_ns() - before_ns - round(BEAT_S * NS_PER_S)
            if lag_ns > LAGGED_NS:
                stage.record(Lagged(at_ns=stage.clock.now_ns(), lag_ns=lag_ns))
            if ending:
                return

    return body
