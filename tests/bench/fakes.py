"""Benches on fakes: replicas that are only imagined, on a clock that moves only when somebody sleeps, and all the rest as it is."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from harness.bench import course, sessions
from harness.bench.plan import BenchPlan, VariantPlan
from harness.clock import Clock, Dice, FakeClock
from harness.engines.base import EngineContext, Exit, Replica
from harness.engines.fake import FakeEngine, FakeProcess, FakeScript
from harness.fleet import Fleet
from harness.history import OPS_FILE, Cycled, EventWriter, Header, read
from harness.load.base import Load
from harness.load.fake import FakeLoad
from harness.load.none import NoLoad
from harness.report.progress import SilentProgress
from harness.run import no_inner
from harness.scenario import Scenario
from harness.stage import Inline, Stage

SCENARIO: dict[str, Any] = {
    "jetable": 1,
    "name": "imagined",
    "target": {"web": {"command": "app", "healthcheck": "tcp", "replicas": 2}, "other": {"command": "other"}},
    "load": {"process": "other", "requests": ["GET /"]},
    "steps": [{"steady": "1s"}],
}
LOADED: dict[str, Any] = SCENARIO | {"load": {"process": "web", "requests": ["GET /"]}}


def scenario(**web: Any) -> Scenario:
    """What is imagined; without ``load`` nobody asks ``web`` over HTTP."""
    return Scenario.model_validate(SCENARIO | {"target": SCENARIO["target"] | {"web": SCENARIO["target"]["web"] | web}})


class Varying(Mapping[str, FakeProcess]):
    """A script whose every start takes another time: ``start_s`` times e to a normal variable of so much deviation."""

    def __init__(self, start_s: float, deviation: float, seed: int) -> None:
        self._start_s, self._deviation = start_s, deviation
        self._random = random.Random(seed)

    def __getitem__(self, process: str) -> FakeProcess:
        return FakeProcess(start_s=self._start_s * self._random.lognormvariate(0, self._deviation))

    def __iter__(self) -> Iterator[str]:
        return iter(("web",))

    def __len__(self) -> int:
        return 1


class InTurn(Mapping[str, FakeProcess]):
    """A script whose starts go as the list says, one after the other, and then as its last says."""

    def __init__(self, *starts: FakeProcess) -> None:
        self._starts = list(starts)

    def __getitem__(self, process: str) -> FakeProcess:
        return self._starts.pop(0) if len(self._starts) > 1 else self._starts[0]

    def __iter__(self) -> Iterator[str]:
        return iter(("web",))

    def __len__(self) -> int:
        return 1


NEVER = FakeProcess(start_s=None)
CRASHES = FakeProcess(start_s=None, dies_after_s=0.01, dies_status=3)


@dataclass(slots=True, kw_only=True)
class Imagined:
    """The stages of a bench: each by the script of its variant.

    Attributes:
        scripts: What replicas do, by the name of the variant.
        engine: Makes the engine of a session.
        opened: The id of each session, in their order, with whether it was loaded.
    """

    clock: FakeClock = field(default_factory=FakeClock)
    scripts: dict[str, Mapping[str, FakeProcess]] = field(default_factory=dict)
    engine: Callable[..., FakeEngine] = FakeEngine
    opened: list[tuple[str, bool]] = field(default_factory=list)

    @contextmanager
    def stage(
        self, whole: Scenario, header: Header, folder: Path, writer: EventWriter, *_: Any, **__: Any
    ) -> Iterator[tuple[Stage, Fleet]]:
        """Stands for `harness.real.real_stage`."""
        self.opened.append((header.run_id, whole.has_load))
        ledger = EventWriter(folder / "history" / OPS_FILE)
        load: Load = NoLoad()
        if whole.has_load:
            load = FakeLoad(clock=self.clock, append=ledger.append, rate_per_s=200.0, answer_s=0.008, requests=len(whole.requests))
        fleet: Fleet

        def on_exit(replica: Replica, gone: Exit) -> None:
            if isinstance(load, FakeLoad):
                load.on_exit(replica.name, gone.at_ns)
            fleet.exited(replica, gone)

        context = EngineContext(run_id=header.run_id, clock=self.clock, scratch=folder, logs=folder / "logs", on_exit=on_exit)
        stage = Stage(
            scenario=whole,
            clock=self.clock,
            dice=Dice(1),
            engine=self.engine(context, FakeScript(processes=self.scripts.get(header.scenario_path, {}))),
            load=load,
            record=writer.append,
            background=Inline(),
            tell=lambda _text: None,
            note=lambda _text: None,
            inner=no_inner,
        )
        fleet = Fleet(stage)
        try:
            yield stage, fleet
        finally:
            ledger.close()


class NoStrangers:
    """A machine on which nothing else goes on."""

    def __init__(self, clock: Clock) -> None: ...
    def look(self) -> None: ...

    def since(self) -> float:
        return 0.0


@pytest.fixture
def imagined(monkeypatch: pytest.MonkeyPatch) -> Imagined:
    """Benches are played on fakes."""
    made = Imagined()
    monkeypatch.setattr(course, "MonotonicClock", lambda: made.clock)
    monkeypatch.setattr(course, "Strangers", NoStrangers)
    monkeypatch.setattr(sessions, "MonotonicClock", lambda: made.clock)
    monkeypatch.setattr(sessions, "real_stage", made.stage)
    return made


def variant(name: str = "v", **changes: Any) -> VariantPlan:
    """A variant whose script is found by its name."""
    plan = VariantPlan(name=name, scenario=scenario(), path=Path(name), process="web", engine="fake")
    return replace(plan, **changes)


def plan(reports: Path, *variants: VariantPlan, **changes: Any) -> BenchPlan:
    """A bench of one variant or these; it hears no imports."""
    given = {"name": "a bench", "seed": 5, "imports": False, **changes}
    return BenchPlan(variants=variants or (variant(),), reports=reports, **given)


def played(made: BenchPlan) -> course.Ended:
    """The bench when it is over."""
    return course.run_bench(made, SilentProgress())


def cycles(ended: course.Ended) -> list[tuple[str, Cycled]]:
    """All cycles of a bench in the order in which they were played, each with its variant."""
    found = [
        (each.name, event)
        for each in ended.bench.variants
        for folder in each.folders
        for event in read(ended.folder / folder).events
        if isinstance(event, Cycled)
    ]
    return sorted(found, key=lambda entry: entry[1].began_ns)
