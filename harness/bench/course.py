"""The course of a bench, from top to bottom: sessions, warm-ups, rounds, the sessions under load, and what they say.

    open a session for each variant ─▶ warm-ups ─▶ rounds, each in an order of its own ─▶ one more start for imports ─▶ close ─▶
    the same under load, a few cycles at a time ─▶ read the histories ─▶ bench.json

Variants and conditions take turns, in an order that the dice decide anew for each round, so that a machine that drifts favours none. A
bench ends by itself once the interval of every variant's start is tight enough, or when its bound of rounds or of time is reached.
Whatever ends it, what was measured until then is judged and kept.
"""

from __future__ import annotations

import datetime
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from harness.bench.books import as_measured, exit_of
from harness.bench.cold import drop_caches, may_drop_caches
from harness.bench.cycle import CYCLES, Place, Took, leave_nothing, new_took
from harness.bench.plan import BenchPlan, VariantPlan
from harness.bench.sessions import Session, open_session, run_command
from harness.benches import FILE, Bench, Variant, encoded
from harness.checks.health import health_of
from harness.clock import NS_PER_S, Dice, MonotonicClock
from harness.engines.base import FreshImages
from harness.errors import ExitCode, JetableError, KeyOfScenarioError, MachineError, ScenarioError, StoppedError, TargetError
from harness.fleet import spec_of
from harness.history import EVENTS_FILE
from harness.report.files import update_latest, write_whole
from harness.report.progress import Progress
from harness.resources import Strangers, machine
from harness.run import PYTHON, RunOptions, new_folder
from harness.scenario import problem_at
from harness.statistics import relative_half_width

LOADED_CYCLES: Final = 5
"""Cycles of one session under load: opening it takes seconds, and while it is open no other variant has its turn."""

HOPELESS: Final = 3
"""When the first so many starts of a variant under a condition all failed, no more are tried."""

WARM_IMAGE: Final = (
    "the image was loaded anew before each start, but the page cache could not be dropped, so its files were still in memory, where the "
    "engine had just written them; run it as root for starts that read them from the disk"
)

LONGEST_S: Final = 600.0
"""A bench that ends by itself does so after this time at the latest."""


class Ended(NamedTuple):
    """A bench that is over: what it measured, its folder, and whether somebody stopped it."""

    bench: Bench
    folder: Path
    stopped: bool

    @property
    def exit_code(self) -> ExitCode:
        """How the command ends."""
        return exit_of(self.bench)


@dataclass(frozen=True, slots=True)
class _Cell:
    """What has its turn once in each round: a variant under a condition."""

    variant: int
    under: str
    at_once: int = 1

    def words(self, plan: BenchPlan) -> str:
        """As progress shows it."""
        name = plan.variants[self.variant].name if len(plan.variants) > 1 else plan.name
        return f"{name}, {self.at_once} at once" if self.under == "at-once" else f"{name}, {self.under}" if self.under != "idle" else name


class Course:
    """One bench while it goes on."""

    def __init__(self, plan: BenchPlan, folder: Path, progress: Progress) -> None:
        self._plan = plan
        self._folder = folder
        self._progress = progress
        self._clock = MonotonicClock()
        self._dice = Dice(plan.seed).fork("bench")
        self._strangers = Strangers(self._clock)
        self._options = RunOptions(engine="", seed=plan.seed, reports=plan.reports, rerun=plan.again)
        self._took: dict[_Cell, Took] = defaultdict(new_took)
        self._worked: set[_Cell] = set()
        self._failed: dict[tuple[_Cell, bool], int] = defaultdict(int)
        self._hopeless: set[_Cell] = set()
        self._sessions = 0
        self.folders: dict[int, list[Path]] = defaultdict(list)
        self.warnings: list[str] = []

    def play(self) -> None:
        """Everything, in its order; raises what ends it early."""
        cells = [cell for cell in self._cells() if cell.under != "load"]
        if cells:
            with ExitStack() as opened:
                sessions = [self._open(opened, number, loaded=False) for number in range(len(self._plan.variants))]
                self._rounds(cells, lambda cell: sessions[cell.variant])
                self.warnings += [warning for session in sessions if (warning := _unasked(session))]
                self._profile(sessions)
        if loaded := [cell for cell in self._cells() if cell.under == "load"]:
            self._under_load(loaded)
        for variant in self._plan.variants:
            run_command(variant.cleanup, "--cleanup")

    def _cells(self) -> list[_Cell]:
        numbers = range(len(self._plan.variants))
        plain = [_Cell(number, under) for number in numbers for under in self._plan.under if under != "at-once"]
        return plain + [_Cell(number, "at-once", size) for number in numbers for size in self._plan.at_once]

    def _open(self, opened: ExitStack, number: int, *, loaded: bool) -> Session:
        self._sessions += 1
        plan = replace(self._plan.variants[number], slowed=self._plan.service if "service-slow" in self._plan.under else "")
        folder = self._folder / f"session-{self._sessions}"
        self.folders[number].append(folder)
        run_id = f"{self._folder.name}-{self._sessions}"
        self._progress.work(f"{plan.name}: get ready" + (" under load" if loaded else ""))
        try:
            return opened.enter_context(
                open_session(plan, folder, replace(self._options, engine=plan.engine), run_id, loaded=loaded, progress=self._progress)
            )
        except KeyOfScenarioError as error:
            if not plan.path.is_file():  # made of words of the command line
                raise
            raise ScenarioError([problem_at(plan.path, error.key, str(error))]) from error

    def _rounds(self, cells: Sequence[_Cell], session_of: Callable[[_Cell], Session]) -> None:
        """Warm-ups, then rounds until enough is known."""
        began_ns = self._clock.now_ns()
        for number in range(self._plan.warmup):
            self._progress.step_began(0, f"warm-up {number + 1} of {self._plan.warmup}")
            for cell in self._dice.shuffled(cells):
                self._cycle(cell, session_of(cell), number, warmup=True)
            self._progress.step_ended(0, "")
        for number in range(self._plan.runs or self._plan.max_runs):
            self._progress.step_began(number + 1, self._words(cells, number))
            for cell in self._dice.shuffled(cells):
                self._cycle(cell, session_of(cell), number)
            self._progress.step_ended(number + 1, "")
            if self._is_enough(cells, number + 1, began_ns):
                return

    def _under_load(self, cells: Sequence[_Cell]) -> None:
        """A few cycles of each variant in a session of its own, again and again."""
        began_ns = self._clock.now_ns()
        done = -self._plan.warmup
        while done < (self._plan.runs or self._plan.max_runs):
            block = min(LOADED_CYCLES, (self._plan.runs or self._plan.max_runs) - done)
            self._progress.step_began(max(1, done + 1), self._words(cells, done))
            for cell in self._dice.shuffled([each for each in cells if each not in self._hopeless]):
                with ExitStack() as opened:
                    session = self._open(opened, cell.variant, loaded=True)
                    for number in range(done, done + block):
                        self._cycle(cell, session, number, warmup=number < 0)
            self._progress.step_ended(max(1, done + 1), "")
            done += block
            if done > 0 and self._is_enough(cells, done, began_ns):
                return

    def _words(self, cells: Sequence[_Cell], number: int) -> str:
        """What a round is called while it goes on."""
        widths = [width for cell in cells if (width := self._half_width(cell)) is not None]
        so_far = f", start known to ±{100 * max(widths):.1f} %" if widths else ""
        under = ", ".join(dict.fromkeys(cell.under for cell in cells))
        return f"{under}{so_far}" if number >= 0 else f"{under}, warm-up"

    def _half_width(self, cell: _Cell) -> float | None:
        """Of the loosest of its starts; None as long as one is unknown."""
        widths = [relative_half_width(took, seed=self._plan.seed) for took in self._took[cell].values()]
        known = [width for width in widths if width is not None]
        return max(known) if known and len(known) == len(widths) else None

    def _is_enough(self, cells: Sequence[_Cell], rounds: int, began_ns: int) -> bool:
        """Nothing more is to be learned, or the bound of time is reached."""
        alive = [cell for cell in cells if cell not in self._hopeless]
        if not alive:
            return True
        if self._plan.runs is not None or rounds < self._plan.min_runs:
            return False
        widths = {cell: self._half_width(cell) for cell in alive}
        loose = [cell for cell, width in widths.items() if width is None or width > self._plan.precision]
        if not loose:
            return True
        late = (self._clock.now_ns() - began_ns) / NS_PER_S > LONGEST_S
        if late or rounds >= self._plan.max_runs:
            why = f"after {LONGEST_S:.0f} s" if late else f"after {rounds} runs"
            worst = max(loose, key=lambda cell: widths[cell] or 1.0)
            reached = f"±{100 * (widths[worst] or 1.0):.1f} %" if widths[worst] is not None else "no interval"
            self.warnings.append(
                f"stopped {why} at {reached} for {worst.words(self._plan)}, wider than the ±{100 * self._plan.precision:g} % asked "
                "for: give it a quieter machine, or more with --max-runs or --runs"
            )
        return late

    def _cycle(self, cell: _Cell, session: Session, number: int, *, warmup: bool = False) -> None:
        """One turn of a cell, with what the person wants done before it."""
        if cell in self._hopeless or (warmup and self._failed[cell, True] >= HOPELESS):
            return
        plan = session.plan
        run_command(plan.prepare, "--prepare")
        up = [replica.name for replica in session.fleet.up(session.process)]
        place = Place(
            round=abs(number),
            warmup=warmup,
            at_once=cell.at_once,
            service=self._plan.service,
            slow_s=self._plan.slow_s,
            strangers=self._strangers,
            cool=partial(self._cool, session),
            took=new_took() if warmup else self._took[cell],
        )
        before = _count(place.took)
        CYCLES[cell.under](session, place)
        leave_nothing(session, up)
        if self._plan.show_output:
            self._show_output(session)
        if _count(place.took) > before:
            self._worked.add(cell)
        elif cell not in self._worked:
            self._failed[cell, warmup] += 1  # those of warm-ups are in no books, so they give up nothing but warm-ups
            if self._failed[cell, False] >= HOPELESS:
                self._hopeless.add(cell)
                self.warnings.append(
                    f"{cell.words(self._plan)}: the first {HOPELESS} starts all failed, so no more were tried; see the failed starts"
                )

    def _cool(self, session: Session) -> None:
        """Make cold what the variant wants cold; bytecode is the session's own business."""
        cold, stage = session.plan.cold, session.stage
        if "image" in cold and isinstance(stage.engine, FreshImages):
            stage.engine.freshen(spec_of(stage.scenario, session.process, session.process, given=stage.given))
        why = may_drop_caches() if cold else ""
        if "disk" in cold or ("image" in cold and not why):
            drop_caches()
        elif "image" in cold and WARM_IMAGE not in self.warnings:
            self.warnings.append(WARM_IMAGE)

    def _show_output(self, session: Session) -> None:
        """What the replicas of a cycle wrote; each is shown once."""
        for path in sorted(session.logs.glob(f"{session.process}.*.log")):
            if path not in session.shown:
                session.shown.add(path)
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                    self._progress.work(f"{path.stem}: {line}")

    def _profile(self, sessions: Sequence[Session]) -> None:
        """Start each Python target once more, to hear what it imports meanwhile."""
        hopeless = {cell.variant for cell in self._hopeless}
        for number, session in enumerate(sessions):
            kind = session.plan.scenario.target[session.process]
            python = any(PYTHON.search(word) for word in kind.argv) or not kind.argv
            if self._plan.imports and python and number not in hopeless:
                self._progress.work(f"{session.plan.name}: one more start, to hear what it imports")
                with suppress(TargetError):
                    session.fleet.profile_start(session.process)


def _count(took: Took) -> int:
    return sum(map(len, took.values()))


def _unasked(session: Session) -> str:
    """What to say of a target that was to have a slow service and never asked it; empty of one that did."""
    between, slowed = session.between, session.plan.slowed
    if between is None or between.asked:
        return ""
    variable = session.plan.scenario.services[slowed].handed_as
    return f"{session.plan.name} never connected to {slowed} at the address in {variable}, so service-slow says nothing of it"


def run_bench(plan: BenchPlan, progress: Progress) -> Ended:
    """Play a bench, read what it recorded, and store it as ``bench.json`` in a folder of its own.

    Raises:
        JetableError: It could not begin, as for `harness.run.run_scenario`; then nothing is left of it.
    """
    folder = new_folder(plan.reports, f"bench {plan.name}", ("",))
    began = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    course = Course(plan, folder, progress)
    how, why, stopped = "finished", "", False
    progress.run_began(plan.name, [""] * (plan.runs or 0), 0.0)
    try:
        course.play()
    except JetableError as error:
        if not _has_cycles(course):
            shutil.rmtree(folder)
            with suppress(OSError):
                folder.parent.rmdir()
            raise
        stopped = isinstance(error, StoppedError)
        how, why = ("interrupted", "somebody stopped it") if stopped else ("aborted", str(error))
    except OSError as error:
        raise MachineError(f"{folder}: can't be written: {error.strerror}; free space, or name another folder with --reports") from error
    finally:
        progress.run_ended()
    bench = partial(
        Bench,
        name=plan.name,
        began=began,
        how=how,
        why=why,
        machine=machine(),
        seed=plan.seed,
        attributes=dict(plan.attributes),
        again=plan.again,
        warnings=tuple(course.warnings),
    )
    try:
        return Ended(_stored(bench, plan, course, folder), folder, stopped)
    except StoppedError:  # only once, and then nothing more interrupts it
        return Ended(_stored(bench, plan, course, folder), folder, stopped=True)


def _stored(bench: Callable[..., Bench], plan: BenchPlan, course: Course, folder: Path) -> Bench:
    """The bench with what its histories say, as it now lies in its folder, which is the newest one."""
    variants = tuple(_judged(variant, course.folders[number], folder) for number, variant in enumerate(plan.variants))
    whole = bench(variants=variants)
    write_whole(folder / FILE, encoded(whole))
    update_latest(plan.reports, folder)
    return whole


def _has_cycles(course: Course) -> bool:
    """Something was measured before it ended."""
    files = [each / "history" / EVENTS_FILE for folders in course.folders.values() for each in folders]
    return any(b'"kind":"cycled"' in file.read_bytes() for file in files if file.is_file())


def _judged(plan: VariantPlan, folders: Sequence[Path], bench: Path) -> Variant:
    """A variant as its histories tell it."""
    kind = plan.scenario.target[plan.process]
    variant = Variant(
        name=plan.name,
        engine=plan.engine,
        command=" ".join(kind.argv) or kind.image or (kind.build.context if kind.build else ""),
        parameters=dict(plan.parameters),
        reference=plan.reference,
        cold=plan.cold,
        health=health_of(plan.scenario, plan.process),
    )
    return as_measured(variant, folders, bench)
