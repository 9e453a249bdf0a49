"""The story of a run, readable from top to bottom.

    scenario ─ prepare ─▶ start the target ─▶ load ─▶ steps ─▶ end the load ─▶ remove everything ─▶ judge ─▶ reports

`run_scenario` is the only place that knows the order of the stages. Everything is recorded as it happens and judged afterwards from
the disk alone, so `judge_folder` gives the same answer for a run that ended long ago, or that was killed half-way.
"""

from __future__ import annotations

import datetime
import math
import os
import platform
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import psutil

from harness import __version__
from harness.backing import check_services
from harness.baseline import Source, baseline_of, kept_baseline, with_limits
from harness.checks import judge
from harness.checks.summary import summarise
from harness.clock import NS_PER_S, Clock, Dice, FakeClock, MonotonicClock
from harness.engines import ENGINES
from harness.engines.base import EngineContext, Exit, Replica
from harness.engines.fake import FakeEngine, FakeScript
from harness.errors import JetableError, KeyOfScenarioError, MachineError, ScenarioError, StoppedError, TargetError, UsageError
from harness.faults import STEPS, StepProblemError, check_abilities, raise_if_load_ended, resolve, wait_until
from harness.fleet import Fleet, spec_of
from harness.history import (
    EVENTS_FILE,
    FORMAT,
    AnyLine,
    Baseline,
    EventWriter,
    Header,
    History,
    Planned,
    RunEnded,
    StepBegan,
    StepEnded,
    build,
    read,
)
from harness.imports import VARIABLE
from harness.load.base import Load
from harness.load.fake import FakeLoad
from harness.load.none import NoLoad
from harness.openfiles import check_open_files
from harness.real import no_inner, real_stage
from harness.replay import PLAN_FILE, plan_of, write_plan
from harness.report import update_latest, write_all
from harness.report.model import RunReport
from harness.report.progress import Progress, SilentProgress
from harness.scenario import (
    Aimed,
    Chaos,
    CrashLoop,
    CutConnections,
    CutNetwork,
    HandOver,
    Kill,
    Pause,
    Restart,
    RollingRestart,
    Scale,
    Scenario,
    Signal,
    SqueezeMemory,
    StartService,
    Steady,
    Step,
    StopService,
    Terminate,
    TerminateAtStart,
    Together,
    problem_at,
)
from harness.stage import Inline, Stage
from harness.words import did_you_mean, one_of

PARTS: Final = ("history", "logs")
"""The folders that a run's own has."""


def real_engines() -> list[str]:
    """The engines that a run can be played on; the fake one is what ``--dry-run`` plays on."""
    return [name for name in ENGINES if name != FakeEngine.name]


def check_engine(name: str) -> None:
    """Raise `UsageError` when no engine for real runs is called ``name``."""
    if name not in real_engines():
        raise UsageError(f"--engine {name}: no engine is called so; there is {one_of(real_engines())}{did_you_mean(name, real_engines())}")


def engine_for(scenario: Scenario, asked: str) -> str:
    """The engine that was asked for, or else the one that the scenario's target needs."""
    return asked or scenario.default_engine


def check_scenarios(scenarios: Sequence[tuple[Path, Scenario]], asked: str) -> None:
    """Raise `ScenarioError` with all that the engine could not start or do, of all scenarios, before anything starts."""
    problems = []
    for path, scenario in scenarios:
        check_open_files(scenario)
        engine = ENGINES[engine_for(scenario, asked)]
        check_services(scenario, engine)
        problems += [problem_at(path, key, what) for key, what in check_abilities(scenario, engine)]
        for process in scenario.target:
            try:
                engine.check(spec_of(scenario, process, process))
            except UsageError as error:
                key = error.key if isinstance(error, KeyOfScenarioError) else ("target", process, "command")
                problems.append(problem_at(path, key, str(error)))
    if problems:
        raise ScenarioError(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What the person who runs it decided.

    Attributes:
        engine: A key of ``ENGINES``, or empty for the one that each scenario's target can be started by.
        seed: The seed, or None for the scenario's own, or else a new one.
        reports: The folder that gets one folder a run.
        rerun: The command line that repeats the run; empty for that of ``jetable run``.
        baseline: What the thresholds of the one scenario are compared with that hang on a baseline.
    """

    engine: str
    seed: int | None
    reports: Path
    rerun: str = ""
    baseline: Baseline | None = None


def with_baseline(scenario: Scenario, options: RunOptions, sources: Sequence[Source], replayed: Header | None = None) -> RunOptions:
    """``options`` of a run of ``scenario`` with what its baseline says, or without any kept from the run that is ``replayed``.

    Raises:
        UsageError: What there is does not compare with the run.
    """
    engine, here = engine_for(scenario, options.engine), _machine()
    if sources or replayed is None:
        return replace(options, baseline=baseline_of(scenario, sources, engine, here))
    return replace(options, baseline=kept_baseline(replayed.baseline, engine, here))


def run_scenario(scenario: Scenario, path: Path, options: RunOptions, progress: Progress) -> tuple[RunReport, bool]:
    """Run one scenario on real replicas under real load, judge it, and write its reports.

    Returns:
        The report, and whether somebody stopped the run; then it is cleaned up and judged as far as it got.

    Raises:
        MachineError: This machine can't run it.
        UsageError: Something that the scenario names does not exist.
    """
    folder = new_folder(options.reports, scenario.name)
    header = header_of(scenario, path, options, folder.name, MonotonicClock())
    writer = open_history(folder, header)
    stopped = False
    progress.run_began(scenario.name, [step.text for step in plan(scenario)], planned_s(scenario))
    begun = False
    try:
        with real_stage(with_limits(scenario, options.baseline), header, folder, writer, progress) as (stage, fleet):
            begun = True
            perform(stage, fleet, progress)
    except StoppedError:
        if not begun:
            _unmake(folder)
            raise
        stopped = True
    except KeyOfScenarioError as error:
        _unmake(folder)
        raise ScenarioError([problem_at(path, error.key, str(error))]) from error
    except JetableError:
        if not begun:
            _unmake(folder)
        raise
    except OSError as error:
        raise MachineError(
            f"{folder}: can't write the history: {error.strerror}; free space, or name another folder with --reports"
        ) from error
    finally:
        progress.run_ended()
        writer.close()
    try:
        return _reported(folder, options.reports), stopped
    except StoppedError:  # only once, and then nothing more interrupts it
        return _reported(folder, options.reports), True


def _unmake(folder: Path) -> None:
    """Nothing was run, so there is nothing to keep; nor is the folder of all runs if this would have been the first."""
    shutil.rmtree(folder)
    with suppress(OSError):
        folder.parent.rmdir()


def _reported(folder: Path, reports: Path) -> RunReport:
    """Judge a run that has just ended and write its reports."""
    history = read(folder)
    report = _judged(history, folder)
    write_all(report)
    write_plan(history, folder)
    update_latest(reports, folder)
    return report


def rehearse(scenario: Scenario, path: Path, options: RunOptions, script: FakeScript | None = None) -> History:
    """Play the same story on fakes, in milliseconds and without starting anything: what ``--dry-run`` shows.

    ``script`` says how the imagined replicas behave; by default they are clean.
    """
    clock = FakeClock()
    header = msgspec.structs.replace(header_of(scenario, path, options, "rehearsal", clock), engine="fake")
    lines: list[AnyLine] = [header]
    fleet: Fleet

    def on_exit(replica: Replica, gone: Exit) -> None:
        if isinstance(load, FakeLoad):
            load.on_exit(replica.name, gone.at_ns)
        fleet.exited(replica, gone)

    load = _imagined_load(scenario, clock, lines)
    stage = Stage(
        scenario=scenario,
        clock=clock,
        dice=Dice(header.seed).fork("faults"),
        engine=FakeEngine(EngineContext(run_id=header.run_id, clock=clock, scratch=Path(), logs=Path(), on_exit=on_exit), script),
        load=load,
        record=lines.append,
        background=Inline(),
        tell=lambda _text: None,
        note=lambda _text: None,
        inner=no_inner,
    )
    fleet = Fleet(stage)
    perform(stage, fleet, SilentProgress())
    return build(lines)


def _imagined_load(scenario: Scenario, clock: FakeClock, lines: list[AnyLine]) -> Load:
    if not scenario.has_load:
        return NoLoad()
    return FakeLoad(clock=clock, append=lines.append, rate_per_s=100.0, answer_s=0.008, requests=len(scenario.requests))


def perform(stage: Stage, fleet: Fleet, progress: Progress) -> None:
    """Play the story, end it in order whatever happens, and record how it ended."""
    with ended_in_order(stage, fleet):
        play(stage, fleet, progress)


@contextmanager
def ended_in_order(stage: Stage, fleet: Fleet) -> Iterator[None]:
    """End whatever was begun on ``stage``, however the body ends, and record how; what is the target's own fault raises no further."""
    how, why = "aborted", "an internal error"
    try:
        yield
        how, why = "finished", ""
    except TargetError as error:
        why = str(error)
    except StoppedError:
        how, why = "interrupted", "somebody stopped the harness"
        raise
    except JetableError as error:
        why = str(error)
        raise
    finally:
        with ExitStack() as ending:  # the last one named is the first one done, and each is done whatever another one raises
            ending.callback(lambda: stage.record(RunEnded(at_ns=stage.clock.now_ns(), how=how, why=why)))
            ending.callback(stage.background.end)
            ending.callback(stage.engine.close)
            ending.callback(stage.backing.tear_down)
            ending.callback(stage.jobs.close)
            ending.callback(fleet.tear_down)
            ending.callback(stage.state.close)
            ending.callback(stage.load.stop, at_once=how == "interrupted")


def play(stage: Stage, fleet: Fleet, progress: Progress) -> None:
    """The story: start the target, put load and jobs on it, do one step after the other, wait for what is left, and read its state."""
    teller = _Teller(stage, fleet, progress)
    with teller.frame("start", "start the target"):
        for process in stage.scenario.start_order():
            fleet.start_many(process, stage.scenario.target[process].replicas)
        stage.load.start()
        stage.jobs.submit()
        stage.state.begin()
    began_ns = stage.clock.now_ns()
    for place, step in enumerate(plan(stage.scenario), start=1):
        if step.at is not None:
            wait_until(stage, began_ns + step.at.ns)
        teller.do(step, place)
        raise_if_load_ended(stage)
    stage.jobs.drain()
    if stage.scenario.state:
        stage.load.stop()
        stage.state.read_at_end()
    for process in slow_to_start(stage.scenario, fleet):
        stage.load.stop()
        stage.note(f"{process} starts once more, apart from the run, to see what it imports meanwhile")
        fleet.profile_start(process)


PYTHON: Final = re.compile(r"python|\.py\b|\b(gunicorn|uvicorn|hypercorn|daphne|granian|waitress|flask|celery|django)", re.IGNORECASE)
"""What a command of a Python app has in it; of another program nothing would be heard."""


def slow_to_start(scenario: Scenario, fleet: Fleet) -> list[str]:
    """Python apps whose quickest start was not as quick as a threshold demands, but for those that tell their imports anyway."""
    limits = [
        (threshold.process, threshold.value)
        for threshold in scenario.expect
        if threshold.metric == "startup_time" and threshold.op in ("<", "<=") and isinstance(threshold.value, float | int)
    ]
    return [
        process
        for process, kind in scenario.target.items()
        if VARIABLE not in kind.environment
        and process != scenario.job_process  # one that starts apart from the run would take jobs
        and any(PYTHON.search(word) for word in kind.argv)
        and fleet.up(process)
        and any(of in (None, process) and fleet.quickest_start_s(process) > limit for of, limit in limits)
    ]


DEFAULT_REPORTS: Final = Path("reports")

START_GUESS_S: Final = 1.0
STOP_GUESS_S: Final = 0.5


def planned_s(scenario: Scenario) -> float:
    """About how long the run takes, for the display of what remains: what is written, and a guess for starts and stops."""
    seconds = START_GUESS_S
    up = {process: kind.replicas for process, kind in scenario.target.items()}
    for step in plan(scenario):
        begins_s = max(seconds, START_GUESS_S + step.at.s) if step.at is not None else seconds
        seconds = begins_s + _step_s(scenario, step, up)
    return seconds


def _step_s(scenario: Scenario, step: Step, up: dict[str, int]) -> float:  # noqa: C901, PLR0911, PLR0912  one line a kind
    """About how long a step takes, in seconds; ``up`` is how many replicas there are, and is kept true."""
    cycle_s = START_GUESS_S + STOP_GUESS_S
    match step.options:
        case Steady() as steady:
            return steady.duration.s
        case Scale() as scale:
            seconds = 0.0
            for process, count in scale.counts.items():
                seconds += START_GUESS_S if count > up[process] else STOP_GUESS_S * (up[process] - count)
                up[process] = count
            return seconds
        case RollingRestart() as rolling:
            return cycle_s * math.ceil(up[scenario.process_of(rolling)] / rolling.at_a_time)
        case TerminateAtStart():
            return cycle_s + START_GUESS_S
        case CrashLoop() as loop:
            return cycle_s * loop.times * _rounds(scenario, loop, up)
        case Together() as together:
            return max(_step_s(scenario, part, up) for part in together.steps)
        case Chaos() as chaos:
            return chaos.lasts.s
        case Pause() | SqueezeMemory() | CutNetwork() as disturb:
            each_s = disturb.lasts.s + START_GUESS_S * isinstance(disturb, SqueezeMemory)
            return each_s * _rounds(scenario, disturb, up)
        case Signal() as signal:
            return signal.lasts.s * _rounds(scenario, signal, up)
        case Terminate() | Kill() | Restart() | HandOver() as stop:
            return cycle_s * _rounds(scenario, stop, up)
        case StopService() as away:
            return STOP_GUESS_S + (away.lasts.s + START_GUESS_S if away.lasts else 0.0)
        case StartService():
            return START_GUESS_S
        case CutConnections():
            return 0.0


def _rounds(scenario: Scenario, options: Aimed, up: dict[str, int]) -> int:
    return up[scenario.process_of(options)] if options.replica == "each" else 1


def plan(scenario: Scenario) -> list[Step]:
    """The steps as they are done, repeats written out."""
    return [step.model_copy(update={"repeat": 1}) for step in scenario.steps for _ in range(step.repeat)]


class _Teller:
    """Does steps and frames them in the history, in the ledger and on the screen; counts them, those that others draw included."""

    def __init__(self, stage: Stage, fleet: Fleet, progress: Progress) -> None:
        self._stage = stage
        self._fleet = fleet
        self._progress = progress
        self._next = 0

    def do(self, step: Step, place: int, *, of: int = 0, dice: Dice | None = None) -> None:
        """Do one step, of which the person at the screen knows that it is number ``place`` of the plan."""
        number = self._next
        stage = replace(
            self._stage,
            dice=dice or self._stage.dice.fork(f"step {number}"),
            inner=lambda drawn, dice: self.do(drawn, place, of=number, dice=dice),
        )
        with self.frame(step.kind, step.text, place, of=of):
            concrete = resolve(stage, self._fleet, step)
            stage.record(Planned(at_ns=stage.clock.now_ns(), step=number, plan=concrete.model_dump_json()))
            STEPS[step.kind](stage, self._fleet, concrete.options)

    @contextmanager
    def frame(self, name: str, text: str, place: int = 0, *, of: int = 0) -> Iterator[None]:
        """Tell that a step began, and how it ended."""
        stage, before = self._stage, self._fleet.step
        number, self._next = self._next, self._next + 1
        problem = "it did not come to its end"
        self._fleet.step = number
        stage.load.set_step(number)
        stage.record(StepBegan(at_ns=stage.clock.now_ns(), step=number, name=name, text=text, of=of))
        self._progress.step_began(place, text)
        try:
            yield
            problem = ""
        except StepProblemError as error:
            problem = str(error)
        finally:
            stage.record(StepEnded(at_ns=stage.clock.now_ns(), step=number, problem=problem))
            self._progress.step_ended(place, problem)
            if of:  # the step that has drawn it goes on
                self._fleet.step = before
                stage.load.set_step(before)


def run_folder(path: Path) -> Path:
    """The run's folder, of whatever of it was named: itself, its history folder or a file in that."""
    folder = path.parent if path.is_file() else path
    return folder.parent if folder.name == "history" else folder


def replay_of(path: Path) -> tuple[Path, Scenario, Header]:
    """What a stored run did, as a scenario with the place of its plan, and the run's header, which tells engine and seed.

    Raises:
        UsageError: There is no run, or it did nothing.
        MachineError: A run that was cut off has no plan yet, and it can't be written.
    """
    history = read(path)
    folder = run_folder(path)
    folder = folder.parent / folder.resolve().name  # reports/latest will be another one
    if not (folder / PLAN_FILE).is_file():
        try:
            write_plan(history, folder)
        except OSError as error:
            raise MachineError(f"can't write {folder / PLAN_FILE}: {error.strerror}; copy the run to a folder of yours") from error
    return folder / PLAN_FILE, plan_of(history), history.header


def judge_folder(folder: Path) -> RunReport:
    """Judge a stored run from its history alone and say it in the words of a report."""
    return _judged(read(folder), folder)


def _judged(history: History, folder: Path) -> RunReport:
    judgement = judge(history)
    scenario = Scenario.model_validate_json(history.header.scenario)
    return RunReport(
        run_id=history.header.run_id,
        scenario=scenario.name,
        path=history.header.scenario_path,
        engine=history.header.engine,
        seed=history.header.seed,
        verdict=judgement.verdict,
        findings=judgement.findings,
        summary=summarise(history),
        folder=run_folder(folder),
        rerun=history.header.rerun,
        began=history.header.wall_start,
        duration_s=(history.ended_ns - history.header.started_ns) / NS_PER_S,
    )


def open_history(folder: Path, header: Header) -> EventWriter:
    """The file of a run's events, with its header; raises `MachineError` when it can't be written."""
    try:
        writer = EventWriter(folder / "history" / EVENTS_FILE)
        writer.append(header)
    except OSError as error:
        raise MachineError(f"{folder}: can't be written: {error.strerror}; free space, or name another folder with --reports") from error
    return writer


def seed_of(scenario: Scenario, options: RunOptions) -> int:
    """The seed that was asked for, else the scenario's own, else a new one."""
    if options.seed is not None:
        return options.seed
    return scenario.seed if scenario.seed is not None else int.from_bytes(os.urandom(4), "big")


def new_folder(reports: Path, name: str, parts: Sequence[str] = PARTS) -> Path:
    """Make the run's own folder; its name is the run's id, sorts by time and is unique. Raises `MachineError` when it can't be made."""
    slug = "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())[:40].strip("-")
    wall = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
    folder = reports / f"{wall}-{slug or 'run'}-{os.urandom(3).hex()}"
    try:
        for part in parts:
            (folder / part).mkdir(parents=True)
    except OSError as error:
        raise MachineError(f"can't write to {reports}: {error.strerror}; name a folder of yours with --reports") from error
    return folder


def header_of(scenario: Scenario, path: Path, options: RunOptions, run_id: str, clock: Clock) -> Header:
    """The first line of a run's history."""
    seed = seed_of(scenario, options)
    return Header(
        format=FORMAT,
        run_id=run_id,
        harness=__version__,
        engine=engine_for(scenario, options.engine),
        seed=seed,
        scenario=scenario.model_dump_json(),
        scenario_path=str(path),
        started_ns=clock.now_ns(),
        wall_start=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        machine=_machine(),
        rerun=options.rerun or _rerun(path, options, seed, engine_for(scenario, options.engine)),
        baseline=options.baseline,
    )


def _rerun(path: Path, options: RunOptions, seed: int, engine: str) -> str:
    what = ["--replay", str(path.parent)] if path.name == PLAN_FILE else [str(path)]
    words = ["jetable", "run", *what, "--engine", engine, "--seed", str(seed)]
    if options.reports != DEFAULT_REPORTS:
        words += ["--reports", str(options.reports)]
    if options.baseline is not None:
        words += ["--baseline", options.baseline.place]
    return shlex.join(words)


def _machine() -> str:
    release = platform.release().partition("-")[0]  # what a builder appends says nothing to a reader
    memory_gib = psutil.virtual_memory().total / 2**30
    return f"{psutil.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()} {release}, Python {platform.python_version()}"
