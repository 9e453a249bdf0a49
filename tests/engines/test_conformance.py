"""What every engine must do, whatever it is made of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from harness import faults
from harness.cleanup import CLEANERS
from harness.clock import NS_PER_S, Clock, FakeClock, MonotonicClock
from harness.engines import ENGINES
from harness.engines.base import CutsNetwork, Engine, EngineContext, Exit, LimitsMemory, Pauses, Replica, ReplicaSpec, TellsCpu, TellsHealth
from harness.engines.fake import FakeEngine, FakeProcess, FakeScript
from harness.errors import UsageError
from harness.scenario import ProcessType, Scenario
from tests.engines import containers

CHILD = containers.HELPERS / "child.py"
WITHIN_S = 20.0
LOTS = 2 << 30
"""Bytes, more than any replica here uses."""

OPTIONS = {
    "obeys": ("--listen", "--on-term", "7"),
    "is_plain": ("--listen",),
    "ignores": ("--listen", "--on-term", "ignore"),
    "dies": ("--exit", "3"),
    "leaves": ("--listen", "--on-term", "7", "--leave", "child", "--leave", "daemon"),
    "is_well": ("--listen",),
    "is_sick": ("--listen",),
}
"""Each behaviour as a real child has it."""

PLAYS = {
    "obeys": FakeProcess(stop_status=7),
    "is_plain": FakeProcess(stop_status=143),
    "ignores": FakeProcess(stop_s=None, stop_lines=("SIGTERM",)),
    "dies": FakeProcess(dies_after_s=0.03, dies_status=3),
    "leaves": FakeProcess(stop_status=7, children=("sleeper", "daemon")),
    "is_well": FakeProcess(),
    "is_sick": FakeProcess(healthy_s=None),
    "is_missing": FakeProcess(missing=True),
}
"""Each behaviour as the fake plays it."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the tests must know of one engine.

    Attributes:
        make: Makes one.
        clock: Makes the clock that it lives by.
        child: How it runs ``tests/helpers/child.py``, if it runs anything.
        environment: What that needs besides.
        says: What the scenario says of a behaviour's process type, for an engine that asks for it.
        descendants_outlive: Descendants of a replica go on when its main process ends. In a container the kernel kills them.
        shared: Whether one engine serves many tests, since it takes long to make.
    """

    make: Callable[[EngineContext], Engine]
    clock: Callable[[], Clock] = MonotonicClock
    child: tuple[str, ...] = ("{python}", str(CHILD))
    environment: Mapping[str, str] = field(default_factory=dict)
    says: Callable[[str], ProcessType | None] = lambda _behaviour: None
    descendants_outlive: bool = True
    shared: bool = False


CHECKS = {"is_well": ("true",), "is_sick": ("false",)}
"""What an engine that checks health by a command inside the replica runs there."""


def says_of_containers(behaviour: str) -> ProcessType:
    """As process 1 of a container nobody ends by a signal without a handler for it, so what is plain gets an init."""
    if behaviour in CHECKS:
        check = {"test": ["CMD", *CHECKS[behaviour]], "interval": "200ms", "start_period": "100ms", "retries": 1}
        return containers.declared(healthcheck=check)
    return containers.declared(init=behaviour == "is_plain")


KINDS = {
    "process": Kind(make=ENGINES["process"]),
    "docker": Kind(
        make=ENGINES["docker"],
        child=("{python}", containers.CHILD),
        environment={"HOST": "0.0.0.0"},
        says=says_of_containers,
        descendants_outlive=False,
        shared=True,
    ),
    "fake": Kind(make=lambda context: FakeEngine(context, FakeScript(processes=PLAYS)), clock=FakeClock),
}


@dataclass
class Stage:
    """One engine with all that a test needs around it. ``made`` are the names that the test gave to replicas."""

    kind: Kind
    engine: Engine
    clock: Clock
    run_id: str
    told: list[tuple[Replica, Exit]] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    started: list[Replica] = field(default_factory=list)

    @property
    def exits(self) -> list[tuple[Replica, Exit]]:
        """The exits that were told of this test's replicas."""
        return [(replica, gone) for replica, gone in self.told if replica.name in self.made]

    def spec(self, behaviour: str, like: Replica | None = None) -> ReplicaSpec:
        """What to start for a replica that behaves so, at the address of another one if that is given."""
        self.made.append(f"{behaviour}.{next(containers.NUMBERS)}")
        return ReplicaSpec(
            name=self.made[-1],
            process=behaviour,
            argv=(*self.kind.child, *OPTIONS[behaviour]) if behaviour in OPTIONS else ("no-such-command-anywhere", "--listen"),
            environment=self.kind.environment,
            working_dir=Path.cwd(),
            port=like.port if like else 0,
            host=like.host if like else "",
            declared=self.kind.says(behaviour),
        )

    def up(self, behaviour: str) -> Replica:
        """A started replica that said it is ready."""
        return self.ready(self.start(self.spec(behaviour)))

    def start(self, spec: ReplicaSpec) -> Replica:
        """A started replica."""
        self.started.append(self.engine.start(spec))
        return self.started[-1]

    def ready(self, replica: Replica) -> Replica:
        """Wait until a replica says it is ready."""
        self.eventually(lambda: self.engine.log_matches(replica, "^ready$"))
        return replica

    def is_open(self, replica: Replica) -> bool:
        """Whether its port is open, as the engine sees it."""
        seen = self.engine.listening(replica)
        return seen is not None and seen.open

    def ended(self, replica: Replica) -> Exit:
        """Wait for its end."""
        gone = self.engine.wait_exit(replica, WITHIN_S)
        assert gone is not None
        return gone

    def eventually(self, condition: Callable[[], object]) -> None:
        """Wait, on the engine's clock, until the condition holds."""
        deadline_ns = self.clock.now_ns() + round(WITHIN_S * NS_PER_S)
        while not condition():
            assert self.clock.now_ns() < deadline_ns, "it never happened"
            self.clock.sleep(0.002)


ALL = [
    pytest.param("process", marks=[pytest.mark.live, pytest.mark.slow]),
    pytest.param("docker", marks=[pytest.mark.live, pytest.mark.slow, pytest.mark.docker]),
    "fake",
]


def make(kind: Kind, folder: Path) -> Stage:
    told: list[tuple[Replica, Exit]] = []
    clock, run_id = kind.clock(), containers.fresh_run_id()
    context = EngineContext(
        run_id=run_id, clock=clock, scratch=folder, logs=folder, on_exit=lambda replica, gone: told.append((replica, gone))
    )
    return Stage(kind=kind, engine=kind.make(context), clock=clock, run_id=run_id, told=told)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Stage]]:
    """Engines that serve all tests of this file, made when the first one asks."""
    made: dict[str, Stage] = {}
    with ExitStack() as stack:

        def get(name: str) -> Stage:
            if name not in made:
                made[name] = make(KINDS[name], tmp_path_factory.mktemp(name))
                stack.callback(made[name].engine.close)
            return replace(made[name], made=[], started=[])

        yield get


@pytest.fixture(params=ALL)
def stage(request: pytest.FixtureRequest, tmp_path: Path, shared: Callable[[str], Stage]) -> Iterator[Stage]:
    kind = KINDS[request.param]
    stage = shared(request.param) if kind.shared else make(kind, tmp_path)
    yield stage
    if kind.shared:
        for replica in stage.started:
            stage.engine.signal(replica, "SIGKILL")
    else:
        stage.engine.close()


@pytest.fixture(params=ALL)
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """A stage whose engine serves this test alone."""
    stage = make(KINDS[request.param], tmp_path)
    yield stage
    stage.engine.close()


@pytest.mark.parametrize("name", ALL)
def test_every_engine_is_named_by_its_key(name: str, tmp_path: Path) -> None:
    stage = make(KINDS[name], tmp_path)
    stage.engine.close()
    assert stage.engine.name == ENGINES[name].name == name


def test_every_engine_is_tested_here() -> None:
    assert set(KINDS) == set(ENGINES)


def test_a_started_replica_says_where_and_when_it_was_started(stage: Stage) -> None:
    before_ns = stage.clock.now_ns()
    spec = stage.spec("obeys")
    replica = stage.start(spec)
    assert (replica.name, replica.process) == (spec.name, "obeys")
    assert replica.host
    assert replica.port > 0
    assert before_ns <= replica.at_ns <= replica.running_ns <= stage.clock.now_ns()


def test_replicas_that_are_started_at_once_have_an_address_of_their_own_each(stage: Stage) -> None:
    specs = [stage.spec("obeys") for _ in range(3)]
    if isinstance(stage.clock, FakeClock):  # which only one thread may live by
        replicas = [stage.start(spec) for spec in specs]
    else:
        with ThreadPoolExecutor(len(specs)) as pool:
            replicas = list(pool.map(stage.start, specs))
    assert [replica.name for replica in replicas] == [spec.name for spec in specs]
    assert len({(replica.host, replica.port) for replica in replicas}) == 3
    stage.eventually(lambda: all(map(stage.is_open, replicas)))


def test_a_restart_in_place_gets_the_same_address(stage: Stage) -> None:
    first = stage.up("obeys")
    stage.engine.signal(first, "SIGKILL")
    stage.ended(first)
    second = stage.start(stage.spec("obeys", like=first))
    assert (second.host, second.port) == (first.host, first.port)
    stage.eventually(lambda: stage.is_open(second))


def test_an_engine_that_tells_the_health_of_a_replica_tells_the_well_from_the_sick(stage: Stage) -> None:
    engine = stage.engine
    if not isinstance(engine, TellsHealth):
        return
    sick, well = stage.up("is_sick"), stage.up("is_well")  # in this order, so that the sick one is checked first
    stage.eventually(lambda: engine.healthy(well))
    assert engine.healthy(well) is True
    assert engine.healthy(sick) is False


def test_an_engine_that_tells_what_a_replica_had_of_the_cpus_counts_all_of_its_processes(stage: Stage) -> None:
    engine = stage.engine
    if not isinstance(engine, TellsCpu):
        return
    replica = stage.up("obeys")
    stage.eventually(lambda: sum(ran for ran, _ in engine.cpu(replica).values()) > 0)
    stage.engine.signal(replica, "SIGKILL")
    stage.ended(replica)
    assert sum(ran for ran, _ in engine.cpu(replica).values()) == 0


def test_its_port_is_open_from_its_start_to_its_end(stage: Stage) -> None:
    replica = stage.up("obeys")
    stage.eventually(lambda: stage.is_open(replica))
    stage.engine.signal(replica, "SIGTERM")
    stage.engine.wait_exit(replica, WITHIN_S)
    assert not stage.is_open(replica)


def test_an_exit_on_sigterm_has_the_status_that_the_app_chose(stage: Stage) -> None:
    replica = stage.up("obeys")
    sent = stage.engine.signal(replica, "SIGTERM")
    gone = stage.ended(replica)
    assert gone.status == 7
    assert sent.delivered
    assert replica.running_ns <= sent.at_ns <= sent.until_ns <= stage.clock.now_ns()
    assert sent.at_ns <= gone.at_ns <= stage.clock.now_ns()


@pytest.mark.parametrize(("signal", "status"), [("SIGTERM", 143), ("SIGKILL", 137)])
def test_an_end_by_a_signal_has_its_number_above_128(stage: Stage, signal: str, status: int) -> None:
    replica = stage.up("is_plain")
    stage.engine.signal(replica, signal)
    gone = stage.ended(replica)
    assert gone.status == status


def test_each_exit_is_told_exactly_once_and_before_the_wait_for_it_ends(own: Stage) -> None:
    replicas = [own.up("is_plain") for _ in range(3)]
    for replica in replicas:
        own.engine.signal(replica, "SIGKILL")
        gone = own.engine.wait_exit(replica, WITHIN_S)
        assert (replica, gone) in own.exits
    own.engine.close()
    assert len(own.exits) == 3


def test_a_replica_that_ignores_sigterm_lives_on_until_sigkill(stage: Stage) -> None:
    replica = stage.up("ignores")
    assert stage.engine.signal(replica, "SIGTERM").delivered
    stage.eventually(lambda: stage.engine.log_matches(replica, "^SIGTERM$"))
    assert stage.engine.wait_exit(replica, 0.05) is None
    stage.engine.signal(replica, "SIGKILL")
    gone = stage.ended(replica)
    assert gone.status == 137


def test_a_replica_that_dies_by_itself_is_told_of(stage: Stage) -> None:
    replica = stage.start(stage.spec("dies"))
    gone = stage.ended(replica)
    assert gone.status == 3
    assert stage.exits == [(replica, gone)]


def test_waiting_for_no_time_only_asks(stage: Stage) -> None:
    replica = stage.up("obeys")
    assert stage.engine.wait_exit(replica, 0) is None


def test_a_signal_to_one_that_is_gone_is_not_delivered(stage: Stage) -> None:
    replica = stage.up("obeys")
    stage.engine.signal(replica, "SIGKILL")
    stage.engine.wait_exit(replica, WITHIN_S)
    assert not stage.engine.signal(replica, "SIGTERM").delivered
    assert not stage.engine.signal(replica, "SIGKILL", everything=True).delivered


def test_a_signal_to_everything_is_delivered_when_the_main_process_got_it_and_not_when_only_descendants_did(stage: Stage) -> None:
    replica = stage.up("leaves")
    assert stage.engine.signal(replica, "SIGTERM").delivered
    stage.ended(replica)
    assert bool(stage.engine.descendants(replica)) == stage.kind.descendants_outlive
    assert not stage.engine.signal(replica, "SIGKILL", everything=True).delivered
    stage.eventually(lambda: not stage.engine.descendants(replica))
    assert stage.engine.signal(stage.up("leaves"), "SIGKILL", everything=True).delivered


def test_a_signal_that_does_not_exist_is_refused(stage: Stage) -> None:
    replica = stage.up("obeys")
    with pytest.raises(UsageError, match="SIGNAL"):
        stage.engine.signal(replica, "SIGNAL")


def test_descendants_are_seen_and_where_they_outlive_the_replica_they_can_be_killed(stage: Stage) -> None:
    replica = stage.up("leaves")
    descendants = stage.engine.descendants(replica)
    assert len(descendants) == 2
    assert all(process.pid != replica.pid and process.command for process in descendants)
    stage.engine.signal(replica, "SIGTERM")
    stage.ended(replica)
    survivors = stage.engine.descendants(replica)
    assert {process.pid for process in survivors} == ({process.pid for process in descendants} if stage.kind.descendants_outlive else set())
    assert all(process.command for process in survivors)
    stage.engine.signal(replica, "SIGKILL", everything=True)
    stage.eventually(lambda: not stage.engine.descendants(replica))


def test_a_replica_without_descendants_has_none(stage: Stage) -> None:
    assert stage.engine.descendants(stage.up("obeys")) == ()


def test_killing_everything_ends_the_main_process_too(stage: Stage) -> None:
    replica = stage.up("leaves")
    stage.engine.signal(replica, "SIGKILL", everything=True)
    gone = stage.ended(replica)
    assert gone.status == 137
    stage.eventually(lambda: not stage.engine.descendants(replica))


def test_the_log_ends_with_the_last_lines(stage: Stage) -> None:
    replica = stage.up("ignores")
    stage.engine.signal(replica, "SIGTERM")
    stage.eventually(lambda: stage.engine.log_matches(replica, "SIG"))
    assert stage.engine.log_tail(replica, 1) == ("SIGTERM",)
    assert stage.engine.log_tail(replica, 2) == ("ready", "SIGTERM")
    assert stage.engine.log_tail(replica, 0) == ()
    assert not stage.engine.log_matches(replica, "never written")


def test_a_missing_command_is_the_users_to_mend(stage: Stage) -> None:
    with pytest.raises(UsageError, match=r"command no-such-command-anywhere .* PATH"):
        stage.start(stage.spec("is_missing"))
    assert stage.exits == []


def test_closing_kills_what_still_runs_and_tells_of_it_once(own: Stage) -> None:
    replicas = [own.up("ignores"), own.up("leaves")]
    own.engine.close()
    own.engine.close()
    assert sorted(replica.name for replica, _ in own.exits) == sorted(replica.name for replica in replicas)
    assert {gone.status for _, gone in own.exits} == {137}
    assert [own.engine.descendants(replica) for replica in replicas] == [(), ()]


def test_on_exit_may_ask_the_engine_about_the_replica(tmp_path: Path) -> None:
    asked: list[object] = []
    engine = FakeEngine(
        EngineContext(
            run_id="test-asks",
            clock=FakeClock(),
            scratch=tmp_path,
            logs=tmp_path,
            on_exit=lambda replica, _gone: asked.extend([engine.wait_exit(replica, 1), engine.log_tail(replica, 5)]),
        )
    )
    spec = ReplicaSpec(name="web.1", process="web", argv=(sys.executable,), environment={}, working_dir=tmp_path)
    replica = engine.start(spec)
    engine.signal(replica, "SIGKILL")
    assert asked == [engine.wait_exit(replica, 0), ()]


def test_nothing_of_a_closed_engine_is_left(own: Stage) -> None:
    for behaviour in ("leaves", "ignores", "obeys"):
        own.up(behaviour)
    own.engine.close()
    assert [name for name, cleaner in CLEANERS.items() if own.run_id in cleaner.traces()] == []


# --- what only some engines can do


def asks_for(step: str) -> Scenario:
    """A scenario with that step."""
    options = {"to": "16m"} if step == "squeeze_memory" else {}
    target = {"web": {"command": "app", "image": "app:1"}}
    return Scenario.model_validate(
        {"jetable": 1, "name": "x", "target": target, "load": {"requests": ["GET /"]}, "steps": [{step: options | {"replica": "any"}}]}
    )


@pytest.mark.parametrize("name", list(ENGINES))
@pytest.mark.parametrize(("step", "protocol"), [("pause", Pauses), ("cut_network", CutsNetwork), ("squeeze_memory", LimitsMemory)])
def test_an_engine_either_has_an_ability_or_the_scenario_is_refused_with_the_engines_that_do(name: str, step: str, protocol: Any) -> None:
    engine = ENGINES[name]
    refused = faults.check_abilities(asks_for(step), engine)
    if isinstance(engine, type) and issubclass(engine, protocol):
        assert refused == []
    else:
        ((path, sentence),) = refused
        assert path == ("steps", 0, step)
        assert f"the {name} engine can't; use --engine docker" in sentence


def test_what_was_taken_from_a_replica_can_be_given_back_and_twice_is_no_error(stage: Stage) -> None:
    replica = stage.up("obeys")
    engine = stage.engine
    if isinstance(engine, Pauses):
        assert engine.pause(replica).delivered
        assert engine.resume(replica).delivered
        engine.resume(replica)
    if isinstance(engine, CutsNetwork):
        assert engine.cut(replica).delivered
        assert engine.reconnect(replica).delivered
        engine.reconnect(replica)
    if isinstance(engine, LimitsMemory):
        assert engine.squeeze(replica, LOTS).delivered
        assert engine.release(replica).delivered
        engine.release(replica)
    stage.eventually(lambda: stage.is_open(replica))
    assert engine.signal(replica, "SIGTERM").delivered
    assert stage.ended(replica).status == 7


def test_from_a_replica_that_is_gone_nothing_can_be_taken_and_that_is_no_error(stage: Stage) -> None:
    replica = stage.up("obeys")
    stage.engine.signal(replica, "SIGKILL")
    stage.ended(replica)
    engine = stage.engine
    if isinstance(engine, Pauses):
        assert not engine.pause(replica).delivered
        engine.resume(replica)
    if isinstance(engine, CutsNetwork):
        assert not engine.cut(replica).delivered
        engine.reconnect(replica)
    if isinstance(engine, LimitsMemory):
        assert not engine.squeeze(replica, LOTS).delivered
        engine.release(replica)
    assert len(stage.exits) == 1


def test_a_paused_replica_can_be_killed(stage: Stage) -> None:
    if not isinstance(stage.engine, Pauses):
        return  # refused, as tested above
    replica = stage.up("obeys")
    stage.engine.pause(replica)
    assert stage.engine.signal(replica, "SIGKILL").delivered
    assert stage.ended(replica).status == 137


def test_closing_ends_paused_replicas_and_those_without_a_network(own: Stage) -> None:
    paused, cut = own.up("obeys"), own.up("obeys")
    if isinstance(own.engine, Pauses):
        own.engine.pause(paused)
    if isinstance(own.engine, CutsNetwork):
        own.engine.cut(cut)
    own.engine.close()
    assert sorted(replica.name for replica, _ in own.exits) == sorted([paused.name, cut.name])
    assert {gone.status for _, gone in own.exits} == {137}
