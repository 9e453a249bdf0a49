"""Which replica a step means, and how it is stopped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import faults
from harness.clock import Dice, FakeClock
from harness.engines import ENGINES
from harness.engines.base import CutsNetwork, EngineContext, LimitsMemory, Pauses, Replica
from harness.engines.fake import FakeEngine, without
from harness.faults import ABILITIES, MORE_TRIES, StepProblemError, check_abilities, choose, draw, needs, resolve
from harness.fleet import Disturbance, StopOrder
from harness.scenario import (
    STEP_KINDS,
    Chaos,
    CrashLoop,
    Kill,
    Restart,
    RollingRestart,
    Scenario,
    Step,
    Terminate,
    TerminateAtStart,
    Together,
)
from harness.stage import A, B, Inline, NoState, Stage
from harness.units import Duration


def replicas(count: int) -> list[Replica]:
    return [
        Replica(name=f"web.{number}", process="web", host="127.0.0.1", port=20000 + number, pid=number, at_ns=number, running_ns=number)
        for number in range(1, count + 1)
    ]


# --- how a step says that a replica is to be stopped


def scenario(**changes: object) -> Scenario:
    """Two process types, of which web takes the load; ``changes`` are keys of the file."""
    written: dict[str, object] = {
        "jetable": 1,
        "name": "x",
        "target": {
            "web": {"command": "app", "stop_signal": "SIGINT", "stop_grace_period": "7s"},
            "worker": {"command": "work", "stop_signal": "SIGQUIT"},
        },
        "load": {"requests": ["GET /"]},
        "steps": [{"steady": "1s"}],
    }
    return Scenario.model_validate(written | changes)


def graceful(options: Terminate | Restart | RollingRestart, process: str = "web", **changes: object) -> StopOrder:
    victim = Replica(name=f"{process}.1", process=process, host="127.0.0.1", port=1, pid=1, at_ns=1, running_ns=1)
    return faults._graceful(scenario(**changes), victim, options, purpose="terminate")


@pytest.mark.parametrize("kind", [Terminate, Restart, RollingRestart])
def test_a_graceful_stop_is_that_of_its_process_type(kind: type[Terminate | Restart | RollingRestart]) -> None:
    order = graceful(kind())
    assert (order.signal, order.grace_s, order.purpose) == ("SIGINT", 7.0, "terminate")
    assert not order.everything
    assert graceful(kind(when="any"), "worker").signal == "SIGQUIT"
    assert graceful(kind(when="any"), "worker").grace_s == 10.0


@pytest.mark.parametrize("kind", [Terminate, Restart, RollingRestart])
def test_a_graceful_stop_wants_a_busy_victim_unless_any_will_do(kind: type[Terminate | Restart | RollingRestart]) -> None:
    assert graceful(kind()).when == "in-flight"
    assert graceful(kind(when="any")).when == "any"
    assert graceful(kind(when="mid-response")).when == "mid-response"
    assert graceful(kind(busy_within=Duration.parse("250ms"))).busy_within_s == 0.25


def test_a_replica_that_takes_no_load_is_never_wanted_busy() -> None:
    assert graceful(Terminate(), "worker").when == "any"
    assert graceful(Terminate(), "worker", load={"process": "worker", "requests": ["GET /"]}).when == "in-flight"


@pytest.mark.parametrize("kind", [Terminate, Restart, RollingRestart])
def test_a_step_may_name_the_signal_and_send_it_twice(kind: type[Terminate | Restart | RollingRestart]) -> None:
    order = graceful(kind(signal="SIGUSR2", again=Duration.parse("200ms")))
    assert (order.signal, order.again_s) == ("SIGUSR2", 0.2)
    assert graceful(kind()).again_s == 0


@pytest.mark.parametrize(
    ("routing", "options", "lag_s"),
    [
        ({}, {}, 0.0),
        ({"endpoint_lag": "2s"}, {}, 2.0),
        ({"drain": "3s"}, {}, -3.0),
        ({"endpoint_lag": "2s"}, {"endpoint_lag": "500ms"}, 0.5),
        ({"endpoint_lag": "2s"}, {"drain": "1s"}, -1.0),
        ({"drain": "3s"}, {"endpoint_lag": "0s"}, 0.0),
    ],
)
def test_the_router_learns_of_a_stop_as_the_step_says_or_else_the_scenario(
    routing: dict[str, str], options: dict[str, str], lag_s: float
) -> None:
    order = graceful(Terminate.model_validate(options), routing=routing)
    assert order.lag_s == lag_s
    assert math.copysign(1, order.lag_s) == (1 if lag_s >= 0 else -1)


class RecordedFleet:
    """A fleet that writes down what it is asked for, and keeps its row."""

    def __init__(self, count: int) -> None:
        self.replicas = {"web": replicas(count), "worker": workers(count)}
        self.calls: list[str] = []
        self.orders: list[StopOrder] = []
        self.disturbances: list[Disturbance] = []
        self.survives = True
        self.met = [True]
        self.taken: set[str] = set()
        self.promised: list[str] = []
        self.quickest_s = 1.0
        self.ready: list[bool] = []
        self.lives: list[float] = []

    def up(self, process: str) -> list[Replica]:
        return [replica for replica in self.replicas[process] if replica.name not in self.taken]

    def places(self, process: str) -> int:
        return len(self.up(process)) + self.promised.count(process)

    def take(self, victim: Replica, *, replaced: bool) -> bool:
        if victim.name in self.taken:
            return False
        self.taken.add(victim.name)
        if replaced:
            self.promised.append(victim.process)
        return True

    def start(self, process: str, *, replaces: str = "", again: Replica | None = None) -> Replica:
        self.calls.append(f"start {process} for {replaces}" + (f" at {again.port}" if again else ""))
        if process in self.promised:
            self.promised.remove(process)
        fresh = self._fresh(process)
        self.replicas[process].append(fresh)
        return fresh

    def _fresh(self, process: str) -> Replica:
        number = 1 + len(self.replicas[process])
        return Replica(
            name=f"{process}.{number}", process=process, host="127.0.0.1", port=20000 + number, pid=number, at_ns=1, running_ns=1
        )

    @contextmanager
    def claimed(self, victim: Replica) -> Iterator[bool]:
        mine = self.take(victim, replaced=True)
        yield mine
        if mine:
            self.taken.discard(victim.name)
            if victim.name in self.promised:
                self.promised.remove(victim.name)

    def start_many(self, process: str, count: int) -> None:
        self.calls.append(f"start {count} {process}")
        self.replicas[process] += [self._fresh(process)] * count

    def stop(self, victim: Replica, order: StopOrder) -> bool:
        self.calls.append(f"stop {victim.name}")
        self.orders.append(order)
        return self.met.pop(0) if len(self.met) > 1 else self.met[0]

    def bury(self, victim: Replica) -> None:
        """Nothing outlives anybody here."""

    def repeat(self, victim: Replica, again: Replica | None = None) -> None:
        self.calls.append(f"{victim.name} again on {again.name if again else 'the next'}")

    def nudge(self, victim: Replica, order: StopOrder, watch_s: float) -> bool:
        self.calls.append(f"{order.signal} to {victim.name}, watched for {watch_s:g} s")
        self.orders.append(order)
        return self.survives

    def disturb(self, victim: Replica, order: Disturbance) -> bool:
        self.calls.append(f"{order.what} of {victim.name}")
        self.disturbances.append(order)
        return self.survives

    def quickest_start_s(self, process: str) -> float:
        assert process in self.replicas
        return self.quickest_s

    def stop_while_starting(self, process: str, after_s: float, order: StopOrder, *, again: Replica | None = None) -> Replica:
        self.calls.append(f"stop a starting {process}" + (f" at {again.port}" if again else ""))
        self.orders.append(order)
        self.lives.append(after_s)
        return again or self._fresh(process)

    def got_ready(self, replica: Replica) -> bool:
        return bool(self.ready) and self.ready.pop(0)

    def prove_start(self, process: str, *, again: Replica) -> None:
        self.calls.append(f"prove that {process} starts at {again.port}")


def workers(count: int) -> list[Replica]:
    return [
        Replica(name=f"worker.{number}", process="worker", host="127.0.0.1", port=0, pid=number, at_ns=number, running_ns=number)
        for number in range(1, count + 1)
    ]


def stage_of(whole: Scenario, *, engine: type[FakeEngine] = FakeEngine, seed: int = 1, clock: FakeClock | None = None) -> Stage:
    """A stage of fakes on which nothing goes on but steps."""
    unused = cast("Any", None)
    clock = clock or FakeClock()
    context = EngineContext(run_id="x", clock=clock, scratch=Path(), logs=Path(), on_exit=unused)
    return Stage(
        scenario=whole,
        clock=clock,
        dice=Dice(seed),
        engine=engine(context),
        load=cast("Any", Alive()),
        record=unused,
        background=Inline(),
        tell=unused,
        note=unused,
        inner=unused,
    )


class Alive:
    """A load of which nothing is known but that it lives."""

    def alive(self) -> bool:
        return True


def do(
    step: dict[str, object], count: int = 2, *, engine: type[FakeEngine] = FakeEngine, fleet: RecordedFleet | None = None
) -> RecordedFleet:
    """Do one step of a file on ``count`` replicas of each process type."""
    whole = scenario(steps=[{"scale": {"web": 9}}, step])
    fleet = fleet or RecordedFleet(count)
    stage = stage_of(whole, engine=engine)
    concrete = resolve(stage, cast("Any", fleet), whole.steps[1])
    faults.STEPS[concrete.kind](stage, cast("Any", fleet), concrete.options)
    return fleet


def dying(count: int = 2) -> RecordedFleet:
    """A fleet whose replicas live through nothing."""
    fleet = RecordedFleet(count)
    fleet.survives = False
    return fleet


def test_a_kill_is_sudden_and_hits_everything_unless_it_says_main() -> None:
    fleet = do({"kill": "oldest"})
    (order,) = fleet.orders
    assert (order.signal, order.grace_s, order.everything, order.when) == ("SIGKILL", 0.0, True, "in-flight")
    assert not do({"kill": {"replica": 1, "scope": "main"}}).orders[0].everything
    assert do({"kill": {"replica": 1, "when": "just-accepted"}}).orders[0].when == "just-accepted"
    assert do({"kill": {"replica": 1, "busy_within": "1s", "endpoint_lag": "2s"}}).orders[0].lag_s == 2.0
    assert fleet.calls == ["stop web.1", "start web for web.1"]


def test_a_restart_takes_the_port_again_and_a_termination_does_not() -> None:
    assert do({"restart": "newest"}).calls == ["stop web.2", "start web for web.2 at 20002"]
    assert do({"terminate": "newest"}).calls == ["stop web.2", "start web for web.2"]


class RecordedState(NoState):
    """Writes down what is handed over, and to the fleet's calls what is asked of the app."""

    def __init__(self, fleet: RecordedFleet) -> None:
        self.fleet = fleet
        self.handed: list[tuple[str, str, str]] = []

    def hand_over(self, workload: str, victim: Replica, fault: str, between: Callable[[], None]) -> None:
        self.handed.append((workload, victim.name, fault))
        self.fleet.calls.append(f"begin at {victim.name}")
        between()
        self.fleet.calls.append("go on at " + " ".join(each.name for each in self.fleet.up("web")))


STATE: dict[str, object] = {
    "login": {"model": "journey", "requests": ["POST /login", "GET /me"]},
    "hits": {"model": "counter", "add": "POST /hits", "read": {"request": "GET /hits", "answer": "$.count"}},
}


def hand(options: dict[str, object], *, fleet: RecordedFleet | None = None) -> tuple[RecordedFleet, RecordedState]:
    """Hand something over, on two replicas."""
    whole = scenario(steps=[{"hand_over": options}], state=STATE)
    fleet = fleet or RecordedFleet(2)
    state = RecordedState(fleet)
    stage = replace(stage_of(whole), state=state)
    concrete = resolve(stage, cast("Any", fleet), whole.steps[0])
    faults.STEPS["hand_over"](stage, cast("Any", fleet), concrete.options)
    return fleet, state


def test_a_hand_over_stops_a_replica_between_two_requests_and_replaces_it() -> None:
    fleet, state = hand({"journey": "login", "replica": "oldest"})
    assert state.handed == [("login", "web.1", "kill")]
    assert fleet.calls == ["begin at web.1", "stop web.1", "start web for web.1", "go on at web.2 web.3"]
    (order,) = fleet.orders
    assert (order.purpose, order.signal, order.grace_s, order.everything, order.when) == ("kill", "SIGKILL", 0.0, True, "in-flight")


def test_a_hand_over_may_terminate_and_has_the_keys_of_a_termination() -> None:
    options = {"state": "hits", "by": "terminate", "replica": "newest", "when": "any", "busy_within": "1s", "endpoint_lag": "2s"}
    fleet, state = hand(options)
    assert state.handed == [("hits", "web.2", "terminate")]
    (order,) = fleet.orders
    assert (order.purpose, order.signal, order.grace_s, order.again_s) == ("terminate", "SIGINT", 7.0, 0.0)
    assert (order.when, order.busy_within_s, order.lag_s) == ("any", 1.0, 2.0)


def test_each_replica_is_handed_over_from_after_the_one_before_is_replaced() -> None:
    fleet, state = hand({"journey": "login", "replica": "each"})
    assert [victim for _, victim, _ in state.handed] == ["web.1", "web.2"]
    assert fleet.calls[4:] == ["begin at web.2", "stop web.2", "start web for web.2", "go on at web.3 web.4"]


def test_a_hand_over_at_another_moment_than_demanded_stops_the_replacement_too_before_it_goes_on() -> None:
    fleet = RecordedFleet(2)
    fleet.met = [False, True]
    hand({"journey": "login", "replica": "oldest"}, fleet=fleet)
    assert fleet.calls == [
        "begin at web.1",
        "stop web.1",
        "start web for web.1",
        "web.1 again on web.3",
        "stop web.3",
        "start web for web.3",
        "go on at web.2 web.4",
    ]


def test_a_hand_over_from_nobody_is_a_problem_of_the_step() -> None:
    with pytest.raises(StepProblemError, match="no replica of web was up"):
        hand({"journey": "login"}, fleet=RecordedFleet(0))


def test_a_rolling_restart_goes_from_the_oldest_in_the_order_that_is_wanted() -> None:
    stop_first = ["stop web.1", "start web for web.1", "stop web.2", "start web for web.2"]
    assert do({"rolling_restart": None}).calls == stop_first
    start_first = ["start web for web.1", "stop web.1", "start web for web.2", "stop web.2"]
    assert do({"rolling_restart": {"order": "start-first"}}).calls == start_first


def test_scaling_starts_what_is_missing_and_stops_the_newest() -> None:
    assert do({"scale": {"web": 5}}).calls == ["start 3 web"]
    assert do({"scale": {"web": 2}}).calls == []
    down = do({"scale": {"web": 1}}, count=3)
    assert down.calls == ["stop web.3", "stop web.2"]
    assert {(order.purpose, order.signal, order.when) for order in down.orders} == {("scale", "SIGINT", "in-flight")}


def test_scaling_down_what_takes_no_load_waits_for_no_request() -> None:
    down = do({"scale": {"worker": 1}})
    assert down.calls == ["stop worker.2"]
    assert [(order.signal, order.when) for order in down.orders] == [("SIGQUIT", "any")]


def test_a_step_on_nothing_is_a_problem_of_the_step() -> None:
    with pytest.raises(StepProblemError, match="no replica of web was up"):
        do({"terminate": "any"}, count=0)


# --- which replicas a step means


def chosen(choice: object, count: int, seed: int = 1) -> object:
    """What ``choice`` is among so many replicas."""
    whole = scenario(steps=[{"scale": {"web": 9}}, {"kill": choice}])
    options = whole.steps[1].options
    assert isinstance(options, Kill)
    return choose(replicas(count), options, stage_of(whole, seed=seed))


@given(st.integers(min_value=1, max_value=9), st.integers(min_value=0, max_value=2**32))
def test_any_is_one_of_those_that_are_up_and_the_same_for_the_same_seed(count: int, seed: int) -> None:
    place = chosen("any", count, seed)
    assert isinstance(place, int)
    assert 1 <= place <= count
    assert chosen("any", count, seed) == place


@given(st.integers(min_value=1, max_value=9), st.integers(min_value=1, max_value=100), st.integers(min_value=0, max_value=2**32))
def test_a_share_is_so_many_of_those_that_are_up_rounded_down_and_one_at_least(count: int, share: int, seed: int) -> None:
    places = chosen(f"{share}%", count, seed)
    assert isinstance(places, tuple)
    assert len(places) == max(1, count * share // 100)
    assert sorted(set(places)) == list(places)
    assert set(places) <= set(range(1, count + 1))
    assert chosen(f"{share}%", count, seed) == places


def test_what_chance_has_no_part_in_stays_as_it_is_written() -> None:
    assert [chosen(choice, 3) for choice in ("each", "oldest", "newest", 2, [1, 3])] == ["each", "oldest", "newest", 2, (1, 3)]
    assert chosen("all", 3) == (1, 2, 3)
    assert len(cast("tuple[int, ...]", chosen("half", 5))) == 2


@pytest.mark.parametrize("choice", [3, [1, 3]])
def test_a_place_that_is_not_taken_is_a_problem_of_the_step(choice: object) -> None:
    with pytest.raises(StepProblemError, match="replica 3 was named but only 2 were up"):
        chosen(choice, 2)


def test_any_reaches_every_replica_in_the_long_run() -> None:
    assert {chosen("any", 4, seed) for seed in range(60)} == {1, 2, 3, 4}
    assert {chosen("half", 3, seed) for seed in range(60)} == {(1,), (2,), (3,)}


def test_several_are_hit_at_once_and_each_one_after_the_other() -> None:
    hit: list[list[str]] = []

    class Groups(Inline):
        def map(self, work: Callable[[A], B], items: Sequence[A]) -> list[B]:
            hit.append([getattr(item, "name", "") for item in items])
            return super().map(work, items)

    for choice in ("all", [1, 3], "each", "newest"):
        whole = scenario(steps=[{"scale": {"web": 9}}, {"kill": choice}])
        stage, fleet = replace(stage_of(whole), background=Groups()), cast("Any", RecordedFleet(3))
        faults.STEPS["kill"](stage, fleet, resolve(stage, fleet, whole.steps[1]).options)
    assert hit == [["web.1", "web.2", "web.3"], ["web.1", "web.3"]]


# --- what takes something away


@pytest.mark.parametrize(
    ("kind", "options", "what"),
    [("pause", {}, "pause"), ("cut_network", {}, "network"), ("squeeze_memory", {"to": "32m"}, "memory")],
)
def test_a_disturbance_hits_what_it_names_for_as_long_as_it_says(kind: str, options: dict[str, object], what: str) -> None:
    fleet = do({kind: {"replica": "each", "for": "3s", "busy_within": "1s", **options}})
    assert fleet.calls == [f"{what} of web.1", f"{what} of web.2"]
    order = fleet.disturbances[0]
    assert (order.what, order.lasts_s, order.when, order.busy_within_s) == (what, 3.0, "in-flight", 1.0)
    assert order.detail == ("to 32m" if what == "memory" else "")
    assert do({kind: {"when": "idle", **options}}).disturbances[0].when == "idle"
    assert do({kind: {"when": "any", "process": "worker", **options}}).disturbances[0].when == "any"


def test_only_a_replica_that_did_not_live_through_a_squeeze_is_replaced() -> None:
    step: dict[str, object] = {"squeeze_memory": {"replica": "oldest", "to": "32m"}}
    assert do(step).calls == ["memory of web.1"]
    assert do(step, fleet=dying()).calls == ["memory of web.1", "start web for web.1"]


LACKS: dict[str, type] = {"pause": Pauses, "squeeze_memory": LimitsMemory, "cut_network": CutsNetwork}


def test_every_step_says_what_it_needs_of_an_engine() -> None:
    assert {kind: ability.protocol for kind, ability in ABILITIES.items()} == LACKS
    assert set(ABILITIES) < set(STEP_KINDS)
    assert needs(scenario(steps=[{"kill": "any"}]).steps[0]) is None


def wanting(kind: str) -> Scenario:
    options = {"to": "32m"} if kind == "squeeze_memory" else {}
    return scenario(steps=[{"steady": "1s"}, {kind: options}])


@pytest.mark.parametrize(("kind", "ability"), LACKS.items())
def test_a_scenario_that_needs_what_an_engine_lacks_is_told_where_and_what_to_do(
    kind: str, ability: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = without(ability)
    assert not check_abilities(wanting(kind), FakeEngine)
    monkeypatch.setattr(lacking, "name", "small")
    monkeypatch.setitem(ENGINES, "large", without())
    ((path, sentence),) = check_abilities(wanting(kind), lacking)
    assert path == ("steps", 1, kind)
    assert sentence.startswith(f"{kind} needs an engine that can ")
    assert "; the small engine can't; use " in sentence
    assert sentence.endswith("--engine large")
    with pytest.raises(StepProblemError, match="the small engine can't"):
        do({kind: {"to": "32m"} if kind == "squeeze_memory" else {}}, engine=lacking)


def test_without_any_engine_that_can_the_cure_is_to_do_without_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = without(CutsNetwork)
    for name in list(ENGINES):
        monkeypatch.setitem(ENGINES, name, lacking)
    ((_, sentence),) = check_abilities(wanting("cut_network"), lacking)
    assert sentence.endswith("; remove the step")


# --- signals, and starts that are stopped


def test_a_signal_is_watched_and_the_replica_stays() -> None:
    fleet = do({"signal": {"name": "HUP", "replica": "each", "for": "500ms", "scope": "all"}})
    assert fleet.calls == ["SIGHUP to web.1, watched for 0.5 s", "SIGHUP to web.2, watched for 0.5 s"]
    order = fleet.orders[0]
    assert (order.purpose, order.grace_s, order.when, order.everything) == ("signal", 0.0, "in-flight", True)
    assert not do({"signal": "HUP"}).orders[0].everything
    assert not fleet.taken


def test_only_a_replica_that_did_not_live_through_a_signal_is_replaced() -> None:
    step: dict[str, object] = {"signal": {"name": "HUP", "replica": "oldest"}}
    assert do(step, fleet=dying()).calls == ["SIGHUP to web.1, watched for 2 s", "start web for web.1"]


@pytest.mark.parametrize(("at", "life_s"), [("300ms", 0.3), ("ready", math.inf)])
def test_a_replica_of_its_own_is_stopped_while_it_starts_and_its_address_is_proven(at: str, life_s: float) -> None:
    fleet = do({"terminate_at_start": {"at": at, "again": "100ms"}})
    assert fleet.calls == ["stop a starting web", "prove that web starts at 20003"]
    assert fleet.lives == [life_s]
    (order,) = fleet.orders
    assert (order.purpose, order.signal, order.grace_s, order.again_s, order.when) == ("start", "SIGINT", 7.0, 0.1, "any")
    assert do({"terminate_at_start": {"process": "worker", "signal": "HUP"}}).orders[0].signal == "SIGHUP"


@given(st.integers(min_value=0, max_value=2**32))
def test_an_instant_by_the_dice_is_a_share_of_the_quickest_start(seed: int) -> None:
    whole = scenario(steps=[{"terminate_at_start": "any"}])
    made = [resolve(stage_of(whole, seed=seed), cast("Any", RecordedFleet(1)), whole.steps[0]).options for _ in range(2)]
    assert made[0] == made[1]
    assert isinstance(made[0], TerminateAtStart)
    assert isinstance(made[0].at, str)
    assert 1 <= int(made[0].at.removesuffix("%")) <= 100


def test_a_stop_that_came_when_the_start_was_over_is_done_again_unless_its_time_was_written() -> None:
    quick = RecordedFleet(1)
    quick.ready = [True, False]
    stops = [call for call in do({"terminate_at_start": "ready"}, fleet=quick).calls if call.startswith("stop a starting")]
    assert len(stops) == 2
    assert [call for call in quick.calls if "again on the next" in call]
    written = RecordedFleet(1)
    written.ready = [True]
    assert not [call for call in do({"terminate_at_start": "10s"}, fleet=written).calls if "again" in call]
    ever = RecordedFleet(1)
    ever.ready = [True] * 9
    assert len([call for call in do({"terminate_at_start": "any"}, fleet=ever).calls if call.startswith("stop")]) == faults.MORE_TRIES + 1


def test_a_disturbed_replica_is_left_alone_by_other_steps() -> None:
    fleet = RecordedFleet(2)
    fleet.up = lambda process: fleet.replicas[process]  # type: ignore[method-assign]  # as it was a moment ago
    fleet.taken.add("web.1")
    with pytest.raises(StepProblemError, match="in the hands of another step"):
        do({"pause": 1}, fleet=fleet)
    assert not fleet.disturbances


def test_a_crash_loop_kills_at_the_same_address_until_the_last_start() -> None:
    fleet = do({"crash_loop": {"replica": 2, "times": 3, "after": "200ms"}})
    assert fleet.calls == ["stop web.2", *["stop a starting web at 20002"] * 2, "start web for web.2 at 20002"]
    assert fleet.lives == [0.2, 0.2]
    assert [(order.purpose, order.signal, order.everything) for order in fleet.orders] == [
        ("kill", "SIGKILL", True),
        ("start", "SIGKILL", True),
        ("start", "SIGKILL", True),
    ]
    assert fleet.places("web") == 2


def test_a_crash_loop_by_the_dice_is_the_same_again_and_differs_from_kill_to_kill() -> None:
    step: dict[str, object] = {"crash_loop": {"replica": "oldest", "times": 5}}
    lives = do(step).lives
    assert lives == do(step).lives
    assert len(set(lives)) == 4
    assert all(0 <= life <= 0.9 for life in lives)
    assert do({"crash_loop": {"times": 3, "after": "ready"}}).lives == [math.inf, math.inf]


def test_a_list_of_lives_leaves_nothing_to_chance_once_it_is_resolved() -> None:
    whole = scenario(steps=[{"crash_loop": {"replica": 1, "times": 6, "after": ["any", "100ms"]}}])
    made = resolve(stage_of(whole, seed=4), cast("Any", RecordedFleet(2)), whole.steps[0]).options
    assert isinstance(made, CrashLoop)
    assert isinstance(made.after, tuple)
    assert len(made.after) == 5
    assert "any" not in made.after
    assert [each for each in made.after if isinstance(each, Duration)] == [Duration.parse("100ms")] * 2


def test_a_restart_by_sigkill_is_a_crash_on_the_same_port() -> None:
    fleet = do({"restart": {"replica": "newest", "signal": "SIGKILL"}})
    assert fleet.calls == ["stop web.2", "start web for web.2 at 20002"]
    (order,) = fleet.orders
    assert (order.purpose, order.signal, order.grace_s, order.everything) == ("kill", "SIGKILL", 0.0, True)
    assert not do({"restart": {"signal": "SIGKILL", "scope": "main"}}).orders[0].everything
    assert do({"restart": {"scope": "main"}}).orders[0].purpose == "terminate"


# --- faults that came at another moment


def test_a_fault_at_another_moment_is_done_again_on_the_replacement() -> None:
    fleet = RecordedFleet(2)
    fleet.met = [False, True]
    do({"terminate": "oldest"}, fleet=fleet)
    assert fleet.calls == ["stop web.1", "start web for web.1", "web.1 again on web.3", "stop web.3", "start web for web.3"]
    assert fleet.places("web") == 2


def test_a_fault_that_never_comes_at_its_moment_is_given_up() -> None:
    fleet = RecordedFleet(1)
    fleet.met = [False]
    do({"kill": "any"}, fleet=fleet)
    assert len([call for call in fleet.calls if call.startswith("stop")]) == 1 + MORE_TRIES
    assert fleet.places("web") == 1


# --- steps that go on at the same time


def test_a_rolling_restart_takes_as_many_at_a_time_as_it_says() -> None:
    groups = do({"rolling_restart": {"at_a_time": 2, "order": "start-first"}}, count=3)
    assert groups.calls[-2:] == ["start web for web.3", "stop web.3"]
    assert len(groups.calls) == 6
    assert not [victim for victim in groups.up("web") if victim.name in ("web.1", "web.2", "web.3")]


def test_steps_together_choose_from_the_row_that_was_there_when_they_began() -> None:
    fleet = do({"together": [{"rolling_restart": {}}, {"kill": 3}]}, count=3)
    assert "stop web.3" in fleet.calls
    assert sorted(fleet.taken) == ["web.1", "web.2", "web.3"]
    assert fleet.places("web") == 3


@given(st.integers(min_value=0, max_value=2**32))
def test_chance_leaves_out_what_another_step_at_the_same_time_begins_with(seed: int) -> None:
    parts = [{"kill": "any"}, {"rolling_restart": {}}, {"terminate": "any"}, {"restart": "newest"}]
    whole = scenario(steps=[{"scale": {"web": 9}}, {"together": parts}])
    (together,) = [resolve(stage_of(whole, seed=seed), cast("Any", RecordedFleet(4)), step).options for step in whole.steps[1:]]
    assert isinstance(together, Together)
    kill, terminate = together.steps[0].options, together.steps[2].options
    assert isinstance(kill, Kill)
    assert isinstance(terminate, Terminate)
    assert {kill.replica, terminate.replica} == {2, 3}


def test_scaling_beside_a_rolling_restart_counts_what_is_being_replaced() -> None:
    fleet = RecordedFleet(3)
    fleet.take(fleet.up("web")[0], replaced=True)
    assert do({"scale": {"web": 3}}, fleet=fleet).calls == []
    assert do({"scale": {"web": 5}}, fleet=fleet).calls == ["start 2 web"]


def test_a_step_that_finds_all_that_it_chose_taken_has_a_problem() -> None:
    with pytest.raises(StepProblemError, match="another step at the same time had stopped each replica"):
        do({"together": [{"terminate": "oldest"}, {"kill": "oldest"}]})


def test_scaling_down_waits_for_what_others_hold_and_not_for_ever() -> None:
    fleet = RecordedFleet(2)
    for victim in fleet.up("web"):
        fleet.take(victim, replaced=True)
    with pytest.raises(StepProblemError, match="web still had 2 replicas after 120 s"):
        do({"scale": {"web": 1}}, fleet=fleet)


# --- what is drawn


def chaos(seed: int, took_s: float = 0.0, **changes: object) -> list[tuple[float, str]]:
    """When each step was drawn, in seconds from the beginning, and what it says."""
    written: dict[str, object] = {"for": "4s", "every": "1s", "of": ["terminate", "kill", "scale", {"restart": "half"}]}
    whole = scenario(steps=[{"chaos": written | changes}])
    clock = FakeClock()
    drawn: list[tuple[float, str]] = []
    began_ns = clock.now_ns()

    def inner(step: Step, _dice: Dice) -> None:
        drawn.append(((clock.now_ns() - began_ns) / 1e9, step.text))
        clock.sleep(took_s)

    stage = replace(stage_of(whole, seed=seed, clock=clock), inner=inner)
    faults.STEPS["chaos"](stage, cast("Any", RecordedFleet(3)), whole.steps[0].options)
    assert clock.now_ns() - began_ns >= 4e9
    return drawn


def test_chance_draws_at_fixed_times_and_the_same_for_the_same_seed() -> None:
    assert [at for at, _ in chaos(1)] == pytest.approx([0, 1, 2, 3])
    assert chaos(1) == chaos(1)
    assert len({tuple(chaos(seed)) for seed in range(10)}) > 5


def test_a_step_that_takes_long_lets_its_successors_wait_for_their_tick() -> None:
    assert [at for at, _ in chaos(1, took_s=1.5)] == pytest.approx([0, 2])
    assert len(chaos(1, took_s=10)) == 1


def test_what_is_drawn_at_a_tick_does_not_depend_on_how_long_the_steps_before_took() -> None:
    swift, slow = dict(chaos(3)), dict(chaos(3, took_s=1.5))
    assert slow[2.0] == swift[2.0]


@given(st.integers(min_value=0, max_value=2**32))
def test_a_scale_that_is_drawn_is_within_bounds(seed: int) -> None:
    whole = scenario(target={"web": {"command": "app", "replicas": 3}}, steps=[{"chaos": {"for": "1s", "every": "1s", "of": ["scale"]}}])
    options = whole.steps[0].options
    assert isinstance(options, Chaos)
    scale = draw(whole, options, Dice(seed)).scale
    assert scale is not None
    assert set(scale.counts) == {"web"}
    assert 1 <= scale.counts["web"] <= 6


def test_an_engine_is_asked_for_what_steps_in_steps_need() -> None:
    lacking = without(CutsNetwork)
    parts = [{"together": [{"cut_network": None}, {"steady": "1s"}]}, {"chaos": {"for": "1s", "every": "1s", "of": ["cut_network"]}}]
    assert [path for path, _ in check_abilities(scenario(steps=parts), lacking)] == [("steps", 0, "together"), ("steps", 1, "chaos")]
