"""How one replica is stopped in front of a router, on fakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.clock import NS_PER_S, Dice, FakeClock
from harness.engines.base import EngineContext, Exit, Replica
from harness.engines.fake import FakeEngine, FakeProcess, FakeScript
from harness.errors import KeyOfScenarioError, TargetError
from harness.fleet import Fleet, StopOrder
from harness.history import Event, Exited, Routed, Signalled, Survived
from harness.scenario import Scenario
from harness.stage import Inline, Stage

SCENARIO = Scenario.model_validate(
    {
        "jetable": 1,
        "name": "x",
        "target": {"web": {"command": "app"}, "worker": {"command": "work"}},
        "load": {"requests": ["GET /"]},
        "steps": [{"steady": "1s"}],
    }
)


class ScriptedLoad:
    """A load whose counters follow a script: what is on the way and in flight, a reading each."""

    def __init__(self, in_flight: list[int], on_the_way: list[int], *, fresh: bool = True) -> None:
        self.count, self.fresh = 0, fresh
        self.readings = {"in_flight": in_flight, "on_the_way": on_the_way}
        self.calls: list[str] = []

    def _next(self, name: str) -> int:
        readings = self.readings[name]
        return readings.pop(0) if len(readings) > 1 else readings[0]

    def start(self) -> None: ...
    def publish(self, replica: str, host: str, port: int) -> None:
        self.calls.append(f"publish {replica}")

    def withdraw(self, replica: str) -> None:
        self.calls.append(f"withdraw {replica}")

    def forget(self, replica: str) -> None:
        self.calls.append(f"forget {replica}")

    def on_the_way(self, replica: str) -> int:
        return self._next("on_the_way")

    def in_flight(self, replica: str) -> int:
        return self._next("in_flight")

    def sent(self, replica: str) -> int:
        self.count += self.fresh
        return self.count

    def set_step(self, step: int) -> None: ...
    def alive(self) -> bool:
        return True

    def stop(self, *, at_once: bool = False) -> None: ...


class Play:
    """A fleet on fakes with what it recorded."""

    def __init__(self, load: ScriptedLoad, **plays: object) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.load = load

        def on_exit(replica: Replica, gone: Exit) -> None:
            self.fleet.exited(replica, gone)

        context = EngineContext(run_id="x", clock=self.clock, scratch=Path(), logs=Path(), on_exit=on_exit)
        self.engine = FakeEngine(context, FakeScript(other=FakeProcess(**plays)))  # type: ignore[arg-type]  # fields by name
        stage = Stage(
            scenario=SCENARIO,
            clock=self.clock,
            dice=Dice(1),
            engine=self.engine,
            load=load,
            record=self.events.append,
            background=Inline(),
            tell=lambda _text: None,
            note=lambda _text: None,
        )
        self.fleet = Fleet(stage)

    def of(self, purpose: str) -> list[Signalled]:
        return [event for event in self.events if isinstance(event, Signalled) and event.purpose == purpose]


def order(**changes: object) -> StopOrder:
    fields = {
        "purpose": "terminate",
        "signal": "SIGTERM",
        "grace_s": 1.0,
        "lag_s": 0.0,
        "wants_busy": True,
        "busy_within_s": 1.0,
        "everything": False,
    }
    return StopOrder(**(fields | changes))  # type: ignore[arg-type]  # fields by name


def stop(load: ScriptedLoad, process: str = "web", **changes: object) -> Play:
    play = Play(load)
    play.fleet.stop(play.fleet.start(process), order(**changes))
    return play


def test_the_signal_waits_until_nothing_is_on_the_way_and_something_is_in_flight() -> None:
    play = stop(ScriptedLoad(in_flight=[0, 0, 3], on_the_way=[2, 1, 0]))
    (signal,) = play.of("terminate")
    assert signal.in_flight == 3
    assert play.load.readings["on_the_way"] == [0]
    assert play.load.calls == ["publish web.1", "withdraw web.1", "forget web.1"]


def test_a_victim_that_is_idle_once_it_is_withdrawn_is_published_again_and_awaited_again() -> None:
    play = stop(ScriptedLoad(in_flight=[0, 3, 0, 0, 3], on_the_way=[0]))
    assert play.load.calls == ["publish web.1", "withdraw web.1", "publish web.1", "withdraw web.1", "forget web.1"]
    assert [event.open for event in play.events if isinstance(event, Routed)] == [True, False]


def test_a_victim_that_is_never_busy_is_signalled_at_the_bound_and_the_history_says_so() -> None:
    play = Play(ScriptedLoad(in_flight=[0], on_the_way=[0]))
    victim = play.fleet.start("web")
    began_ns = play.clock.now_ns()
    play.fleet.stop(victim, order(busy_within_s=2.0))
    (signal,) = play.of("terminate")
    assert (signal.in_flight, signal.wants_busy) == (0, True)
    assert signal.at_ns - began_ns == pytest.approx(2 * NS_PER_S, rel=0.01)


def test_a_victim_that_may_be_idle_is_signalled_at_once() -> None:
    play = Play(ScriptedLoad(in_flight=[0], on_the_way=[0]))
    victim = play.fleet.start("web")
    began_ns = play.clock.now_ns()
    play.fleet.stop(victim, order(wants_busy=False))
    assert play.of("terminate")[0].at_ns - began_ns < NS_PER_S / 100


def test_a_kill_comes_before_the_router_knows() -> None:
    play = stop(ScriptedLoad(in_flight=[0, 1], on_the_way=[5]), purpose="kill", signal="SIGKILL", grace_s=0.0, everything=True)
    told = [event for event in play.events if isinstance(event, Routed) and not event.open]
    assert told[0].at_ns >= play.of("kill")[0].until_ns


def test_a_replica_that_takes_no_load_is_never_waited_for_nor_routed() -> None:
    play = stop(ScriptedLoad(in_flight=[0], on_the_way=[0]), process="worker")
    assert play.of("terminate")[0].in_flight == -1
    assert not play.load.calls
    assert not [event for event in play.events if isinstance(event, Routed)]


def test_what_the_harness_stops_is_commanded_and_what_dies_is_not() -> None:
    play = stop(ScriptedLoad(in_flight=[0, 1], on_the_way=[0]))
    assert [event.commanded for event in play.events if isinstance(event, Exited)] == [True]
    play = Play(ScriptedLoad(in_flight=[0], on_the_way=[0]), dies_after_s=1.0)
    play.fleet.start("web")
    play.clock.sleep(2)
    play.fleet.tear_down()
    assert [event.commanded for event in play.events if isinstance(event, Exited)] == [False]
    assert not play.of("teardown")


def raises(kind: type[Exception], act: Callable[[], object]) -> Exception:
    with pytest.raises(kind) as raised:
        act()
    return raised.value


def test_a_command_that_is_missing_names_its_key() -> None:
    play = Play(ScriptedLoad(in_flight=[0], on_the_way=[0]), missing=True)
    error = raises(KeyOfScenarioError, lambda: play.fleet.start("web"))
    assert isinstance(error, KeyOfScenarioError)
    assert error.key == ("target", "web", "command")


def test_a_replica_that_is_never_healthy_is_killed_and_its_end_is_not_called_its_own() -> None:
    play = Play(ScriptedLoad(in_flight=[0], on_the_way=[0]), start_s=None)
    raises(TargetError, lambda: play.fleet.start("web"))
    play.fleet.tear_down()
    play.engine.close()
    assert [event.commanded for event in play.events if isinstance(event, Exited)] == [True]
    assert not play.fleet.up("web")


def test_requests_that_come_and_go_are_not_taken_for_one_that_lasts() -> None:
    """In flight at every look, but never the same one: the signal waits for one that was sent since the last look."""
    load = ScriptedLoad(in_flight=[1], on_the_way=[0], fresh=False)
    play = Play(load)
    victim = play.fleet.start("web")
    began_ns = play.clock.now_ns()
    play.fleet.stop(victim, order(busy_within_s=5.0))
    lasted_ns = play.of("terminate")[0].at_ns - began_ns
    assert 5_000_000 <= lasted_ns < 10_000_000  # nothing new was sent for five milliseconds: that one lasts


def test_a_load_of_short_requests_is_signalled_on_one_that_was_sent_just_now() -> None:
    play = Play(ScriptedLoad(in_flight=[1], on_the_way=[0], fresh=True))
    victim = play.fleet.start("web")
    began_ns = play.clock.now_ns()
    play.fleet.stop(victim, order(busy_within_s=5.0))
    assert play.of("terminate")[0].at_ns - began_ns == pytest.approx(NS_PER_S / 4, rel=0.05)


def test_a_kill_asks_once_more_before_it_strikes() -> None:
    load = ScriptedLoad(in_flight=[3, 0, 3, 3], on_the_way=[0])
    play = stop(load, purpose="kill", signal="SIGKILL", grace_s=0.0, everything=True)
    assert play.of("kill")[0].in_flight == 3
    assert load.readings["in_flight"] == [3]


def test_one_that_dies_while_it_drains_died_by_itself() -> None:
    play = Play(ScriptedLoad(in_flight=[1], on_the_way=[0]), dies_after_s=1.0, dies_status=3)
    victim = play.fleet.start("web")
    play.fleet.stop(victim, order(lag_s=-5.0))
    (signal,) = play.of("terminate")
    assert not signal.delivered
    assert [(event.status, event.commanded) for event in play.events if isinstance(event, Exited)] == [(3, False)]


def test_one_that_ended_by_itself_just_before_the_end_of_its_grace_is_not_killed() -> None:
    play = Play(ScriptedLoad(in_flight=[1], on_the_way=[0]), stop_s=0.9)
    play.fleet.stop(play.fleet.start("web"), order(grace_s=1.0))
    assert not play.of("grace-over")


def test_descendants_are_counted_from_the_exit_and_not_from_the_end_of_the_lag() -> None:
    play = Play(ScriptedLoad(in_flight=[1], on_the_way=[0]), children=("sleep 60",))
    play.fleet.stop(play.fleet.start("web"), order(lag_s=3.0))
    (survived,) = (event for event in play.events if isinstance(event, Survived))
    assert survived.after_ns == pytest.approx(NS_PER_S, rel=0.05)
    (told,) = (event for event in play.events if isinstance(event, Routed) and not event.open)
    assert told.at_ns - play.of("terminate")[0].at_ns == pytest.approx(3 * NS_PER_S, rel=0.01)
