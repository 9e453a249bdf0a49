"""How one replica is stopped in front of a router, on fakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.clock import NS_PER_S, Dice, FakeClock
from harness.engines.base import EngineContext, Exit, Replica, Sent
from harness.engines.fake import FakeEngine, FakeProcess, FakeScript
from harness.errors import KeyOfScenarioError, MachineError, StoppedError, TargetError
from harness.fleet import LET_GO_S, Disturbance, Fleet, StopOrder
from harness.history import (
    Disturbed,
    Event,
    Exited,
    LetGo,
    PhaseReached,
    Repeated,
    Restored,
    Routed,
    Scheduled,
    Signalled,
    Spawned,
    StartFailed,
    Survived,
)
from harness.load.tail import Demand
from harness.scenario import Scenario, Step
from harness.stage import Inline, NoJobs, Stage

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
    """A load whose counters follow a script, a reading each: what is on the way, in flight, being answered and held."""

    def __init__(self, *, fresh: bool = True, **readings: list[int]) -> None:
        self.count, self.fresh = 0, fresh
        self.demands: list[Demand] = []
        self.meets = True
        self.readings = {"in_flight": [0], "on_the_way": [0], "answering": [0], "held": [0], "connected": [1]} | readings
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

    def vanish(self, replica: str) -> None: ...
    def hold(self, replica: str) -> None:
        self.calls.append(f"hold {replica}")

    def release(self, replica: str) -> None:
        self.calls.append(f"release {replica}")

    def on_the_way(self, replica: str) -> int:
        return self._next("on_the_way")

    def in_flight(self, replica: str) -> int:
        return self._next("in_flight")

    def answering(self, replica: str) -> int:
        return self._next("answering")

    def connected(self, replica: str) -> int:
        return self._next("connected")

    def held(self, replica: str) -> int:
        return self._next("held")

    def sent(self, replica: str) -> int:
        self.count += self.fresh
        return self.count

    def met(self, demand: Demand) -> bool:
        self.demands.append(demand)
        return self.meets

    def set_step(self, step: int) -> None: ...
    def alive(self) -> bool:
        return True

    def stop(self, *, at_once: bool = False) -> None: ...


def no_inner(step: Step, _dice: Dice) -> None:
    raise AssertionError(f"nobody draws {step.kind} here")


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
            inner=no_inner,
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
        "when": "in-flight",
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
    play.fleet.stop(victim, order(when="any"))
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


@pytest.mark.parametrize(("status", "left"), [(0, ["python daemon.py"]), (1, [])])
def test_what_a_main_process_leaves_behind_that_ends_well_before_it_is_healthy_is_told(status: int, left: list[str]) -> None:
    children = ("python daemon.py",)
    play = Play(ScriptedLoad(in_flight=[0], on_the_way=[0]), start_s=None, dies_after_s=0.1, dies_status=status, children=children)
    raises(TargetError, lambda: play.fleet.start("web"))
    (failed,) = [event for event in play.events if isinstance(event, StartFailed)]
    assert (failed.reason, [process.command for process in failed.left]) == ("exited", left)


def test_requests_that_come_and_go_are_not_taken_for_one_that_lasts() -> None:
    """In flight at every look, but never the same one: the signal waits for one that was sent since the last look."""
    load = ScriptedLoad(in_flight=[2], on_the_way=[0], fresh=False)
    play = Play(load)
    victim = play.fleet.start("web")
    began_ns = play.clock.now_ns()
    play.fleet.stop(victim, order(busy_within_s=5.0))
    lasted_ns = play.of("terminate")[0].at_ns - began_ns
    assert 5_000_000 <= lasted_ns < 10_000_000  # nothing new was sent for five milliseconds: those two last


def test_a_single_request_that_lasts_must_do_only_when_no_second_one_comes() -> None:
    """It may be just about to end, and two seldom end at once."""
    play = Play(ScriptedLoad(in_flight=[1], on_the_way=[0], fresh=False))
    victim = play.fleet.start("web")
    began_ns = play.clock.now_ns()
    play.fleet.stop(victim, order(busy_within_s=5.0))
    lasted_ns = play.of("terminate")[0].at_ns - began_ns
    assert 250_000_000 <= lasted_ns < 260_000_000


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


# --- what is taken away and given back


def disturbance(play: Play, what: str, **changes: object) -> Disturbance:
    """Two seconds without ``what``."""
    engine = play.engine
    ways = {
        "pause": (engine.pause, engine.resume),
        "network": (engine.cut, engine.reconnect),
        "memory": (lambda victim: engine.squeeze(victim, 1 << 20), engine.release),
    }
    take, give_back = ways[what]
    fields = {
        "what": what,
        "detail": "",
        "lasts_s": 2.0,
        "when": "in-flight",
        "busy_within_s": 1.0,
        "take": take,
        "give_back": give_back,
    }
    return Disturbance(**(fields | changes))  # type: ignore[arg-type]  # fields by name


def both(play: Play) -> tuple[Disturbed, Restored]:
    """The one disturbance of a play and its end."""
    (taken,) = (event for event in play.events if isinstance(event, Disturbed))
    (given,) = (event for event in play.events if isinstance(event, Restored))
    return taken, given


def busy_play(**plays: object) -> tuple[Play, Replica]:
    play = Play(ScriptedLoad(in_flight=[0, 0, 3], on_the_way=[0]), **plays)
    return play, play.fleet.start("web")


@pytest.mark.parametrize("what", ["pause", "network"])
def test_what_is_taken_away_is_given_back_when_its_time_is_over_and_the_router_is_told_nothing(what: str) -> None:
    play, victim = busy_play()
    assert play.fleet.disturb(victim, disturbance(play, what))
    taken, given = both(play)
    assert (taken.what, taken.replica, taken.in_flight, taken.wants_busy, taken.delivered) == (what, "web.1", 3, True, True)
    assert (given.what, given.replica, given.delivered) == (what, "web.1", True)
    assert given.at_ns - taken.until_ns == pytest.approx(2 * NS_PER_S, rel=0.01)
    assert play.load.calls == ["publish web.1"]
    assert not play.engine.lacking(victim)
    assert play.fleet.up("web") == [victim]


def test_a_replica_that_takes_no_load_is_disturbed_at_once() -> None:
    play = Play(ScriptedLoad(in_flight=[0], on_the_way=[0]))
    victim = play.fleet.start("worker")
    began_ns = play.clock.now_ns()
    play.fleet.disturb(victim, disturbance(play, "pause", when="any"))
    taken, _ = both(play)
    assert taken.in_flight == -1
    assert taken.at_ns - began_ns < NS_PER_S / 100


def test_a_victim_that_was_gone_is_told_and_not_waited_for() -> None:
    play, victim = busy_play()
    play.engine.signal(victim, "SIGKILL")
    began_ns = play.clock.now_ns()
    play.fleet.disturb(victim, disturbance(play, "pause"))
    taken, given = both(play)
    assert (taken.delivered, given.delivered) == (False, False)
    assert play.clock.now_ns() - began_ns < 2 * NS_PER_S


def test_a_replica_that_dies_by_itself_meanwhile_is_given_it_back_all_the_same_and_its_death_is_its_own() -> None:
    play, victim = busy_play(dies_after_s=1.0)
    play.fleet.disturb(victim, disturbance(play, "pause"))
    taken, given = both(play)
    assert (taken.delivered, given.delivered) == (True, False)
    assert given.at_ns - taken.at_ns < NS_PER_S
    assert [event.commanded for event in play.events if isinstance(event, Exited)] == [False]
    assert not play.engine.lacking(victim)


@pytest.mark.parametrize("error", [StoppedError("stopped"), MachineError("the engine is gone")])
@pytest.mark.parametrize("when", ["taking", "waiting"])
def test_it_is_given_back_whatever_ends_the_step(error: Exception, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    play, victim = busy_play()

    def interrupted(*_: object) -> Sent:
        raise error

    def taking(replica: Replica) -> Sent:
        play.engine.pause(replica)
        raise error

    if when == "waiting":
        monkeypatch.setattr(play.engine, "wait_exit", interrupted)
    changes = {"take": taking} if when == "taking" else {}
    assert raises(type(error), lambda: play.fleet.disturb(victim, disturbance(play, "pause", **changes))) is error
    assert not play.engine.lacking(victim)
    assert [event.delivered for event in play.events if isinstance(event, Restored)] == [True]


def test_the_history_says_when_it_could_not_be_given_back() -> None:
    play, victim = busy_play()

    def gone(_: Replica) -> Sent:
        raise MachineError("the engine is gone")

    raises(MachineError, lambda: play.fleet.disturb(victim, disturbance(play, "pause", give_back=gone)))
    assert not both(play)[1].delivered


def test_a_main_process_that_is_killed_for_want_of_memory_in_a_squeeze_was_commanded_and_its_place_is_free() -> None:
    play, victim = busy_play()
    assert not play.fleet.disturb(victim, disturbance(play, "memory"))
    (exited,) = (event for event in play.events if isinstance(event, Exited))
    assert (exited.commanded, exited.status) == (True, 137)
    assert play.load.calls == ["publish web.1", "withdraw web.1", "forget web.1"]
    assert [event.open for event in play.events if isinstance(event, Routed)] == [True, False]
    assert play.fleet.up("web") == []


def test_a_replica_of_which_only_a_worker_is_killed_stays() -> None:
    play, victim = busy_play(oom_kills="worker")
    assert play.fleet.disturb(victim, disturbance(play, "memory"))
    assert play.fleet.up("web") == [victim]
    assert both(play)[1].delivered


def test_a_squeeze_explains_no_death_that_has_nothing_to_do_with_memory_nor_one_long_after_it() -> None:
    play, victim = busy_play(dies_after_s=1.0, oom_kills="worker")
    assert play.fleet.disturb(victim, disturbance(play, "memory"))
    assert [event.commanded for event in play.events if isinstance(event, Exited)] == [False]
    play, victim = busy_play(oom_kills="worker")
    play.fleet.disturb(victim, disturbance(play, "memory"))
    late_ns = both(play)[1].until_ns + 2 * NS_PER_S
    play.fleet.exited(victim, Exit(at_ns=late_ns, status=137, oom=True))
    assert [event.commanded for event in play.events if isinstance(event, Exited)] == [False]


# --- the moment that a stop demands


def test_a_victim_that_is_to_answer_is_signalled_while_it_does() -> None:
    play = stop(ScriptedLoad(in_flight=[3], answering=[0, 0, 2]), when="mid-response")
    (signal,) = play.of("terminate")
    assert (signal.when, signal.in_flight, signal.wants_busy) == ("mid-response", 2, True)
    assert play.load.demands[0].when == "mid-response"


def test_a_victim_that_has_just_accepted_is_held_so_until_the_signal_is_out() -> None:
    play = stop(ScriptedLoad(held=[0, 0, 1]), when="just-accepted")
    assert [call.split()[0] for call in play.load.calls] == ["publish", "hold", "withdraw", "release", "forget"]
    (signal,) = play.of("terminate")
    assert (signal.when, signal.in_flight) == ("just-accepted", 1)


def test_a_victim_that_is_to_be_idle_is_withdrawn_before_it_is_awaited() -> None:
    play = stop(ScriptedLoad(in_flight=[2, 1, 0], on_the_way=[1, 0], answering=[0, 0, 1, 0]), when="idle")
    assert play.load.calls == ["publish web.1", "withdraw web.1", "forget web.1"]
    (signal,) = play.of("terminate")
    assert (signal.when, signal.in_flight, signal.wants_busy) == ("idle", 0, True)


def test_an_idle_victim_of_a_kill_is_withdrawn_as_well() -> None:
    play = stop(ScriptedLoad(in_flight=[2, 0]), when="idle", purpose="kill", signal="SIGKILL", grace_s=0.0, everything=True)
    (told,) = [event for event in play.events if isinstance(event, Routed) and not event.open]
    assert told.at_ns == play.of("kill")[0].at_ns
    assert play.of("kill")[0].in_flight == 0


def test_a_moment_that_never_comes_is_given_up_and_the_history_says_so() -> None:
    play = stop(ScriptedLoad(in_flight=[4]), when="mid-response")
    assert play.of("terminate")[0].in_flight == 0
    assert "release web.1" in stop(ScriptedLoad(), when="just-accepted").load.calls


@pytest.mark.parametrize(
    ("when", "lag_s", "until"), [("in-flight", 0.0, "signal"), ("mid-response", 2.0, "signal"), ("idle", -2.0, "told")]
)
def test_the_ledger_is_asked_for_the_instant_at_which_the_victim_had_to_be_so(when: str, lag_s: float, until: str) -> None:
    play = stop(ScriptedLoad(in_flight=[3] if when == "in-flight" else [0], answering=[1]), when=when, lag_s=lag_s)
    (signal,), (demand,) = play.of("terminate"), play.load.demands
    (told,) = [event for event in play.events if isinstance(event, Routed) and not event.open]
    assert (demand.replica, demand.when, demand.sudden) == ("web.1", when, False)
    assert (demand.at_ns, demand.until_ns) == ((signal.at_ns, signal.until_ns) if until == "signal" else (told.at_ns, told.at_ns))


def test_a_stop_says_whether_the_ledger_shows_what_was_demanded() -> None:
    for meets in (True, False):
        play = Play(ScriptedLoad(in_flight=[3]))
        play.load.meets = meets
        assert play.fleet.stop(play.fleet.start("web"), order()) is meets
    play = Play(ScriptedLoad(in_flight=[3]))
    play.load.meets = False
    assert play.fleet.stop(play.fleet.start("web"), order(when="any"))
    assert play.fleet.stop(play.fleet.start("worker"), order())
    assert not play.load.demands


def test_a_fault_that_is_done_again_is_written_down() -> None:
    play = Play(ScriptedLoad())
    victim, again = play.fleet.start("web"), play.fleet.start("web")
    play.fleet.repeat(victim, again)
    assert [(event.replica, event.again) for event in play.events if isinstance(event, Repeated)] == [("web.1", "web.2")]


# --- connections that a stop waits for


def test_at_the_end_of_the_grace_a_victim_with_nothing_left_to_answer_is_let_go_of_and_not_killed_if_that_ends_it() -> None:
    play = Play(ScriptedLoad(in_flight=[0]), stop_s=2.5)
    play.fleet.stop(play.fleet.start("web"), order(grace_s=1.0, when="any"))
    (let_go,) = [event for event in play.events if isinstance(event, LetGo)]
    (signal,) = play.of("terminate")
    assert let_go.at_ns - signal.at_ns == pytest.approx(1.0 * NS_PER_S, rel=0.01)
    assert "forget web.1" in play.load.calls
    assert not play.of("grace-over")


def test_it_is_killed_if_it_does_not_end_then_either() -> None:
    play = Play(ScriptedLoad(in_flight=[0]), stop_s=60.0)
    play.fleet.stop(play.fleet.start("web"), order(grace_s=1.0, when="any"))
    (signal,), (kill,) = play.of("terminate"), play.of("grace-over")
    assert kill.at_ns - signal.at_ns == pytest.approx((1.0 + LET_GO_S) * NS_PER_S, rel=0.01)


@pytest.mark.parametrize(("in_flight", "closes_s"), [([1], 0.0), ([0], 60.0)])
def test_one_that_has_something_to_answer_or_goes_on_listening_is_killed_at_once(in_flight: list[int], closes_s: float) -> None:
    play = Play(ScriptedLoad(in_flight=in_flight), stop_s=60.0, closes_s=closes_s)
    play.fleet.stop(play.fleet.start("web"), order(grace_s=1.0, when="any"))
    (signal,), (kill,) = play.of("terminate"), play.of("grace-over")
    assert kill.at_ns - signal.at_ns == pytest.approx(1.0 * NS_PER_S, rel=0.01)
    assert not [event for event in play.events if isinstance(event, LetGo)]


def test_one_that_has_closed_all_its_connections_waits_for_something_else_and_is_killed() -> None:
    play = Play(ScriptedLoad(connected=[0]), stop_s=2.5)
    play.fleet.stop(play.fleet.start("web"), order(grace_s=1.0, when="any"))
    assert play.of("grace-over")
    assert not [event for event in play.events if isinstance(event, LetGo)]


# --- what the machine gave a replica of its CPUs


def scheduled(play: Play) -> Scheduled:
    (told,) = [event for event in play.events if isinstance(event, Scheduled)]
    return told


def test_at_the_end_of_a_grace_the_history_gets_what_the_victim_had_of_the_cpus_since_the_signal() -> None:
    play = Play(ScriptedLoad(), stop_s=60.0)
    victim = play.fleet.start("web")
    readings = [{7: (100, 1000), 9: (5, 5)}, {7: (150, 1900), 8: (3, 4)}]
    play.engine.cpu = lambda _replica: readings.pop(0)  # type: ignore[attr-defined]  # an ability that engines may have
    play.fleet.stop(victim, order(grace_s=1.0, when="any"))
    told = scheduled(play)
    assert (told.replica, told.ran_ns, told.waited_ns) == (victim.name, 53, 904)
    assert told.since_ns == play.of("terminate")[0].at_ns
    assert told.at_ns - told.since_ns == pytest.approx(1.0 * NS_PER_S, rel=0.01)


def test_a_start_that_is_given_up_says_what_the_replica_had_of_the_cpus_in_all() -> None:
    play = Play(ScriptedLoad(), healthy_s=None)
    play.engine.cpu = lambda _replica: {7: (100, 1000)}  # type: ignore[attr-defined]  # as above
    with pytest.raises(TargetError):
        play.fleet.start("web")
    told = scheduled(play)
    assert (told.ran_ns, told.waited_ns) == (100, 1000)
    (failed,) = [event for event in play.events if isinstance(event, StartFailed)]
    assert told.since_ns < told.at_ns <= failed.at_ns


def test_where_nobody_knows_what_it_had_the_history_says_nothing_of_it() -> None:
    play = Play(ScriptedLoad(), stop_s=60.0)
    play.engine.cpu = lambda _replica: {}  # type: ignore[attr-defined]  # as above
    play.fleet.stop(play.fleet.start("web"), order(grace_s=1.0, when="any"))
    assert not [event for event in play.events if isinstance(event, Scheduled)]


# --- a second signal, and one to live through


def test_a_second_signal_comes_while_the_first_is_obeyed() -> None:
    play = Play(ScriptedLoad(in_flight=[1]), stop_s=0.9)
    play.fleet.stop(play.fleet.start("web"), order(signal="SIGINT", again_s=0.3))
    (first,), (second,) = play.of("terminate"), play.of("again")
    assert second.signal == "SIGINT"
    assert second.at_ns - first.at_ns == pytest.approx(0.3 * NS_PER_S, rel=0.01)
    assert not play.of("grace-over")


def test_no_second_signal_comes_to_one_that_is_gone() -> None:
    play = Play(ScriptedLoad(in_flight=[1]), stop_s=0.1)
    play.fleet.stop(play.fleet.start("web"), order(again_s=0.3))
    assert not play.of("again")


def nudge(play: Play, victim: Replica, signal: str = "SIGWINCH", **changes: object) -> bool:
    return play.fleet.nudge(victim, order(purpose="signal", signal=signal, grace_s=0.0, **changes), 2.0)


def test_a_replica_that_lives_through_a_signal_stays_and_the_router_is_not_told() -> None:
    play, victim = busy_play()
    began_ns = play.clock.now_ns()
    assert nudge(play, victim)
    (signal,) = play.of("signal")
    assert (signal.signal, signal.in_flight, signal.delivered) == ("SIGWINCH", 3, True)
    assert play.clock.now_ns() - began_ns >= 2 * NS_PER_S
    assert play.load.calls == ["publish web.1"]
    assert play.fleet.up("web") == [victim]


def test_a_replica_that_ends_by_a_signal_was_commanded_and_its_place_is_free() -> None:
    play, victim = busy_play()
    assert not nudge(play, victim, "SIGTERM")
    assert [event.commanded for event in play.events if isinstance(event, Exited)] == [True]
    assert play.load.calls == ["publish web.1", "withdraw web.1", "forget web.1"]
    assert [event.open for event in play.events if isinstance(event, Routed)] == [True, False]
    assert play.fleet.up("web") == []


def test_what_happens_to_a_replica_after_it_was_watched_is_its_own_doing() -> None:
    play, victim = busy_play(dies_after_s=5.0)
    assert nudge(play, victim)
    play.clock.sleep(5)
    play.fleet.tear_down()
    assert [event.commanded for event in play.events if isinstance(event, Exited)] == [False]


def test_a_replica_that_takes_no_load_is_nudged_at_once() -> None:
    play = Play(ScriptedLoad())
    assert nudge(play, play.fleet.start("worker"))
    assert play.of("signal")[0].in_flight == -1


def test_a_signal_to_one_that_is_gone_was_not_delivered_and_its_end_is_its_own() -> None:
    play, victim = busy_play(dies_after_s=1.0)
    play.engine.wait_exit(victim, 2)
    assert not nudge(play, victim)
    assert [event.delivered for event in play.of("signal")] == [False]
    assert [event.commanded for event in play.events if isinstance(event, Exited)] == [False]


# --- starts that are stopped


def early(**changes: object) -> StopOrder:
    return order(purpose="start", when="any", **changes)


def test_a_replica_is_stopped_while_it_starts_and_gets_no_load() -> None:
    play = Play(ScriptedLoad(), start_s=1.0)
    left = play.fleet.stop_while_starting("web", 0.5, early())
    (signal,) = play.of("start")
    assert signal.at_ns - left.at_ns == pytest.approx(0.5 * NS_PER_S, rel=0.01)
    assert (signal.signal, signal.in_flight, signal.replica) == ("SIGTERM", -1, left.name)
    assert [event.commanded for event in play.events if isinstance(event, Exited)] == [True]
    assert not [event for event in play.events if isinstance(event, PhaseReached) and event.phase == "healthy"]
    assert not play.load.calls or play.load.calls == [f"forget {left.name}"]
    assert play.fleet.up("web") == []


def test_a_replica_that_is_ready_too_early_is_stopped_at_its_time_all_the_same() -> None:
    play = Play(ScriptedLoad(), start_s=0.1)
    left = play.fleet.stop_while_starting("web", 0.5, early())
    (signal,) = play.of("start")
    assert signal.at_ns - left.at_ns == pytest.approx(0.5 * NS_PER_S, rel=0.01)
    assert "publish" not in " ".join(play.load.calls)


def test_one_that_ignores_the_signal_while_it_starts_is_killed_at_the_end_of_its_grace() -> None:
    play = Play(ScriptedLoad(), start_s=0.1, stop_s=None)
    play.fleet.stop_while_starting("web", 0.5, early(grace_s=1.0))
    assert [event.signal for event in play.of("grace-over")] == ["SIGKILL"]


def test_one_that_dies_before_it_is_stopped_has_failed_to_start() -> None:
    play = Play(ScriptedLoad(), start_s=1.0, dies_after_s=0.2)
    raises(TargetError, lambda: play.fleet.stop_while_starting("web", 0.5, early()))
    assert [event.reason for event in play.events if isinstance(event, StartFailed)] == ["exited"]
    assert not play.of("start")


def test_a_start_is_proven_at_the_address_of_one_that_was_stopped_and_removed() -> None:
    play = Play(ScriptedLoad(), start_s=1.0)
    left = play.fleet.stop_while_starting("web", 0.5, early())
    play.fleet.prove_start("web", again=left)
    first, second = (event for event in play.events if isinstance(event, Spawned))
    assert (second.port, second.replaces) == (first.port, first.replica)
    assert [event.replica for event in play.events if isinstance(event, PhaseReached) and event.phase == "healthy"] == [second.replica]
    assert [event.replica for event in play.of("teardown")] == [second.replica]
    assert [event.commanded for event in play.events if isinstance(event, Exited)] == [True, True]
    assert "publish" not in " ".join(play.load.calls)
    assert play.fleet.up("web") == []


def test_the_quickest_start_is_remembered_and_a_stopped_one_is_none() -> None:
    play = Play(ScriptedLoad(), start_s=1.0)
    assert play.fleet.quickest_start_s("web") == 0
    play.fleet.stop_while_starting("web", 0.5, early())
    assert play.fleet.quickest_start_s("web") == 0
    play.fleet.start("web")
    assert play.fleet.quickest_start_s("web") == pytest.approx(1.0, rel=0.05)


# --- claims of steps that go on at the same time


def test_a_replica_is_claimed_once_and_is_no_longer_up_for_others() -> None:
    play = Play(ScriptedLoad())
    first, second = play.fleet.start("web"), play.fleet.start("web")
    assert play.fleet.take(first, replaced=True)
    assert not play.fleet.take(first, replaced=True)
    assert play.fleet.up("web") == [second]


def test_a_place_that_was_promised_counts_until_it_is_taken_or_given_up() -> None:
    play = Play(ScriptedLoad())
    first, second = play.fleet.start("web"), play.fleet.start("web")
    play.fleet.take(first, replaced=True)
    assert play.fleet.places("web") == 2
    play.fleet.take(second, replaced=False)
    assert play.fleet.places("web") == 1
    play.fleet.stop(first, order(when="any"))
    play.fleet.start("web", replaces=first.name)
    assert (play.fleet.places("web"), play.fleet.places("worker")) == (1, 0)


def test_a_replacement_that_fails_leaves_no_promise_behind() -> None:
    play = Play(ScriptedLoad(), dies_after_s=1.5)
    first = play.fleet.start("web")
    play.fleet.take(first, replaced=True)
    play.engine._script = FakeScript(other=FakeProcess(start_s=None))
    raises(TargetError, lambda: play.fleet.start("web", replaces=first.name))
    assert play.fleet.places("web") == 0


WORKERS = Scenario.model_validate(
    {
        "jetable": 1,
        "name": "workers",
        "target": {"worker": {"command": "true"}},
        "services": {"sqlite": {}},
        "jobs": {"count": 5, "done": {"file": "done"}},
        "steps": [{"kill": "any"}],
    }
)


class ScriptedJobs(NoJobs):
    """Has jobs in hand as scripted, the last number for ever, and writes down when the queue was looked at."""

    def __init__(self, *in_hand: int) -> None:
        self._in_hand = list(in_hand)
        self.asked: list[tuple[str, str, float]] = []
        self.looks: list[tuple[str, str]] = []
        self.had_it = True

    def in_hand(self, replica: str, when: str, share: float = 0.0) -> int:
        self.asked.append((replica, when, share))
        return self._in_hand.pop(0) if len(self._in_hand) > 1 else self._in_hand[0]

    def had(self, replica: str, when: str, at_ns: int) -> bool:
        return self.had_it

    def look(self, why: str, replica: str) -> None:
        self.looks.append((why, replica))

    def gone(self, replica: str) -> None:
        self.looks.append(("gone", replica))


def worker_play(jobs: ScriptedJobs) -> tuple[Play, Replica]:
    play = Play(ScriptedLoad())
    play.fleet = Fleet(replace(play.fleet._stage, scenario=WORKERS, jobs=jobs))
    return play, play.fleet.start("worker")


@pytest.mark.parametrize(
    ("when", "words"), [("in-flight", "job-started"), ("job-started", "job-started"), ("job-finished", "job-finished")]
)
def test_a_worker_is_hit_when_it_has_a_job_in_hand(when: str, words: str) -> None:
    jobs = ScriptedJobs(0, 0, 2, 3)
    play, worker = worker_play(jobs)
    assert play.fleet.stop(worker, StopOrder(purpose="kill", signal="SIGKILL", when=when, busy_within_s=5, job_share=0.5))
    (signal,) = play.of("kill")
    assert (signal.in_flight, signal.when, signal.wants_busy) == (3, words, True)
    assert jobs.asked == [("worker.1", when, 0.5)] * 4
    assert jobs.looks == [("before", "worker.1"), ("gone", "worker.1"), ("after", "worker.1")]


def test_a_worker_that_never_has_a_job_is_hit_all_the_same_and_the_history_says_so() -> None:
    jobs = ScriptedJobs(0)
    jobs.had_it = False
    play, worker = worker_play(jobs)
    assert not play.fleet.stop(worker, StopOrder(purpose="kill", signal="SIGKILL", when="job-started", busy_within_s=0.2))
    assert play.of("kill")[0].in_flight == 0


def test_a_worker_may_be_wanted_idle_or_as_it_is() -> None:
    jobs = ScriptedJobs(1, 0)
    play, worker = worker_play(jobs)
    play.fleet.stop(worker, StopOrder(purpose="kill", signal="SIGKILL", when="idle", busy_within_s=5))
    assert play.of("kill")[0].in_flight == 0
    other = play.fleet.start("worker")
    play.fleet.stop(other, StopOrder(purpose="kill", signal="SIGKILL", when="any"))
    assert len(jobs.asked) == 3, "the second one was not waited for"
