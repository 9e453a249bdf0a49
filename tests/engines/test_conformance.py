"""What every engine must do, whatever it is made of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.clock import NS_PER_S, Clock, FakeClock, MonotonicClock
from harness.engines import ENGINES
from harness.engines.base import Engine, EngineContext, Exit, Replica, ReplicaSpec
from harness.engines.fake import FakeEngine, FakeProcess, FakeScript
from harness.errors import UsageError

CHILD = Path(__file__).parent.parent / "helpers" / "child.py"
WITHIN_S = 20.0

PLAYS = {
    "obeys": FakeProcess(stop_status=7),
    "is_plain": FakeProcess(stop_status=143),
    "ignores": FakeProcess(stop_s=None, stop_lines=("SIGTERM",)),
    "dies": FakeProcess(dies_after_s=0.03, dies_status=3),
    "leaves": FakeProcess(stop_status=7, children=("sleeper", "daemon")),
    "is_missing": FakeProcess(missing=True),
}
"""Each behaviour as the fake plays it; `ARGUMENTS` has it for a real child."""

ARGUMENTS = {
    "obeys": ("{python}", str(CHILD), "--listen", "--on-term", "7"),
    "is_plain": ("{python}", str(CHILD), "--listen"),
    "ignores": ("{python}", str(CHILD), "--listen", "--on-term", "ignore"),
    "dies": ("{python}", str(CHILD), "--exit", "3"),
    "leaves": ("{python}", str(CHILD), "--listen", "--on-term", "7", "--leave", "child", "--leave", "daemon"),
    "is_missing": ("no-such-command-anywhere", "--listen"),
}


@dataclass
class Stage:
    """One engine with all that a test needs around it."""

    engine: Engine
    clock: Clock
    exits: list[tuple[Replica, Exit]] = field(default_factory=list)
    made: int = 0

    def spec(self, behaviour: str, port: int = 0) -> ReplicaSpec:
        """What to start for a replica that behaves so."""
        self.made += 1
        return ReplicaSpec(
            name=f"{behaviour}.{self.made}",
            process=behaviour,
            argv=ARGUMENTS[behaviour],
            environment={},
            working_dir=Path.cwd(),
            port=port,
        )

    def up(self, behaviour: str) -> Replica:
        """A started replica that said it is ready."""
        replica = self.engine.start(self.spec(behaviour))
        self.eventually(lambda: self.engine.log_matches(replica, "^ready$"))
        return replica

    def is_open(self, replica: Replica) -> bool:
        """Whether its port is open, as the engine sees it."""
        seen = self.engine.listening(replica)
        return seen is not None and seen.open

    def eventually(self, condition: Callable[[], object]) -> None:
        """Wait, on the engine's clock, until the condition holds."""
        deadline_ns = self.clock.now_ns() + round(WITHIN_S * NS_PER_S)
        while not condition():
            assert self.clock.now_ns() < deadline_ns, "it never happened"
            self.clock.sleep(0.002)


@pytest.fixture(params=[pytest.param("process", marks=[pytest.mark.live, pytest.mark.slow]), "fake"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    exits: list[tuple[Replica, Exit]] = []
    clock: Clock = FakeClock() if request.param == "fake" else MonotonicClock()
    context = EngineContext(
        run_id=f"test-{tmp_path.name}",
        clock=clock,
        scratch=tmp_path,
        logs=tmp_path,
        on_exit=lambda replica, gone: exits.append((replica, gone)),
    )
    engine = FakeEngine(context, FakeScript(processes=PLAYS)) if request.param == "fake" else ENGINES[request.param](context)
    yield Stage(engine=engine, clock=clock, exits=exits)
    engine.close()


def test_every_engine_is_named_by_its_key(tmp_path: Path) -> None:
    for name, factory in ENGINES.items():
        context = EngineContext(
            run_id="test-names", clock=MonotonicClock(), scratch=tmp_path, logs=tmp_path, on_exit=lambda _replica, _exit: None
        )
        engine = factory(context)
        engine.close()
        assert engine.name == name


def test_a_started_replica_says_where_and_when_it_was_started(stage: Stage) -> None:
    before_ns = stage.clock.now_ns()
    spec = stage.spec("obeys")
    replica = stage.engine.start(spec)
    assert (replica.name, replica.process) == (spec.name, "obeys")
    assert replica.host
    assert replica.port > 0
    assert before_ns <= replica.at_ns <= replica.running_ns <= stage.clock.now_ns()


def test_each_replica_has_a_port_of_its_own(stage: Stage) -> None:
    ports = {stage.engine.start(stage.spec("obeys")).port for _ in range(3)}
    assert len(ports) == 3


def test_a_restart_in_place_gets_the_same_port(stage: Stage) -> None:
    first = stage.up("obeys")
    stage.engine.signal(first, "SIGKILL")
    assert stage.engine.wait_exit(first, WITHIN_S)
    second = stage.engine.start(stage.spec("obeys", port=first.port))
    assert second.port == first.port
    stage.eventually(lambda: stage.is_open(second))


def test_its_port_is_open_from_its_start_to_its_end(stage: Stage) -> None:
    replica = stage.up("obeys")
    stage.eventually(lambda: stage.is_open(replica))
    stage.engine.signal(replica, "SIGTERM")
    stage.engine.wait_exit(replica, WITHIN_S)
    assert not stage.is_open(replica)


def test_an_exit_on_sigterm_has_the_status_that_the_app_chose(stage: Stage) -> None:
    replica = stage.up("obeys")
    sent = stage.engine.signal(replica, "SIGTERM")
    gone = stage.engine.wait_exit(replica, WITHIN_S)
    assert gone is not None
    assert gone.status == 7
    assert sent.delivered
    assert replica.running_ns <= sent.at_ns <= sent.until_ns <= stage.clock.now_ns()
    assert sent.at_ns <= gone.at_ns <= stage.clock.now_ns()


@pytest.mark.parametrize(("signal", "status"), [("SIGTERM", 143), ("SIGKILL", 137)])
def test_an_end_by_a_signal_has_its_number_above_128(stage: Stage, signal: str, status: int) -> None:
    replica = stage.up("is_plain")
    stage.engine.signal(replica, signal)
    gone = stage.engine.wait_exit(replica, WITHIN_S)
    assert gone is not None
    assert gone.status == status


def test_each_exit_is_told_exactly_once_and_before_the_wait_for_it_ends(stage: Stage) -> None:
    replicas = [stage.up("is_plain") for _ in range(3)]
    for replica in replicas:
        stage.engine.signal(replica, "SIGKILL")
        gone = stage.engine.wait_exit(replica, WITHIN_S)
        assert (replica, gone) in stage.exits
    stage.engine.close()
    assert len(stage.exits) == 3


def test_a_replica_that_ignores_sigterm_lives_on_until_sigkill(stage: Stage) -> None:
    replica = stage.up("ignores")
    assert stage.engine.signal(replica, "SIGTERM").delivered
    stage.eventually(lambda: stage.engine.log_matches(replica, "^SIGTERM$"))
    assert stage.engine.wait_exit(replica, 0.05) is None
    stage.engine.signal(replica, "SIGKILL")
    gone = stage.engine.wait_exit(replica, WITHIN_S)
    assert gone is not None
    assert gone.status == 137


def test_a_replica_that_dies_by_itself_is_told_of(stage: Stage) -> None:
    replica = stage.engine.start(stage.spec("dies"))
    gone = stage.engine.wait_exit(replica, WITHIN_S)
    assert gone is not None
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
    stage.engine.wait_exit(replica, WITHIN_S)
    assert stage.engine.descendants(replica)
    assert not stage.engine.signal(replica, "SIGKILL", everything=True).delivered
    stage.eventually(lambda: not stage.engine.descendants(replica))
    assert stage.engine.signal(stage.up("leaves"), "SIGKILL", everything=True).delivered


def test_a_signal_that_does_not_exist_is_refused(stage: Stage) -> None:
    replica = stage.up("obeys")
    with pytest.raises(UsageError, match="SIGNAL"):
        stage.engine.signal(replica, "SIGNAL")


def test_descendants_that_outlive_a_replica_are_seen_and_can_be_killed(stage: Stage) -> None:
    replica = stage.up("leaves")
    assert len(stage.engine.descendants(replica)) == 2
    stage.engine.signal(replica, "SIGTERM")
    stage.engine.wait_exit(replica, WITHIN_S)
    survivors = stage.engine.descendants(replica)
    assert len(survivors) == 2
    assert all(process.pid != replica.pid and process.command for process in survivors)
    stage.engine.signal(replica, "SIGKILL", everything=True)
    stage.eventually(lambda: not stage.engine.descendants(replica))


def test_a_replica_without_descendants_has_none(stage: Stage) -> None:
    assert stage.engine.descendants(stage.up("obeys")) == ()


def test_killing_everything_ends_the_main_process_too(stage: Stage) -> None:
    replica = stage.up("leaves")
    stage.engine.signal(replica, "SIGKILL", everything=True)
    gone = stage.engine.wait_exit(replica, WITHIN_S)
    assert gone is not None
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
        stage.engine.start(stage.spec("is_missing"))


def test_closing_kills_what_still_runs_and_tells_of_it_once(stage: Stage) -> None:
    replicas = [stage.up("ignores"), stage.up("leaves")]
    stage.engine.close()
    stage.engine.close()
    assert sorted(replica.name for replica, _ in stage.exits) == sorted(replica.name for replica in replicas)
    assert {gone.status for _, gone in stage.exits} == {137}
    assert [stage.engine.descendants(replica) for replica in replicas] == [(), ()]


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
