"""Which replica a step means, and how it is stopped."""

from __future__ import annotations

import math
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
from harness.faults import ABILITIES, StepProblemError, check_abilities, choose, needs
from harness.fleet import Disturbance, StopOrder
from harness.scenario import STEP_KINDS, Restart, RollingRestart, Scenario, Terminate
from harness.stage import Stage
from harness.units import Duration


def replicas(count: int) -> list[Replica]:
    return [
        Replica(name=f"web.{number}", process="web", host="127.0.0.1", port=20000 + number, pid=number, at_ns=number, running_ns=number)
        for number in range(1, count + 1)
    ]


@given(st.integers(min_value=1, max_value=9), st.integers(min_value=0, max_value=2**32))
def test_any_is_one_of_those_that_are_up_and_the_same_for_the_same_seed(count: int, seed: int) -> None:
    up = replicas(count)
    (chosen,) = choose(up, "any", Dice(seed))
    assert chosen in up
    assert choose(up, "any", Dice(seed)) == [chosen]


def test_each_oldest_newest_and_a_place_in_the_row() -> None:
    up = replicas(3)
    dice = Dice(1)
    assert choose(up, "each", dice) == up
    assert choose(up, "oldest", dice) == up[:1]
    assert choose(up, "newest", dice) == up[2:]
    assert choose(up, 2, dice) == up[1:2]


def test_a_place_that_is_not_taken_is_a_problem_of_the_step() -> None:
    with pytest.raises(StepProblemError, match="only 2 were up"):
        choose(replicas(2), 3, Dice(1))


def test_any_reaches_every_replica_in_the_long_run() -> None:
    dice = Dice(3)
    assert {choose(replicas(4), "any", dice)[0].name for _ in range(200)} == {"web.1", "web.2", "web.3", "web.4"}


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
    assert graceful(kind()).wants_busy
    assert not graceful(kind(when="any")).wants_busy
    assert graceful(kind(busy_within=Duration.parse("250ms"))).busy_within_s == 0.25


def test_a_replica_that_takes_no_load_is_never_wanted_busy() -> None:
    assert not graceful(Terminate(), "worker").wants_busy
    assert graceful(Terminate(), "worker", load={"process": "worker", "requests": ["GET /"]}).wants_busy


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
    """A fleet that only writes down what it is asked for."""

    def __init__(self, count: int) -> None:
        self.replicas = {"web": replicas(count), "worker": workers(count)}
        self.calls: list[str] = []
        self.orders: list[StopOrder] = []
        self.disturbances: list[Disturbance] = []
        self.survives = True

    def up(self, process: str) -> list[Replica]:
        return list(self.replicas[process])

    def start(self, process: str, *, replaces: str = "", again: Replica | None = None) -> None:
        self.calls.append(f"start {process} for {replaces}" + (f" at {again.port}" if again else ""))

    def start_many(self, process: str, count: int) -> None:
        self.calls.append(f"start {count} {process}")

    def stop(self, victim: Replica, order: StopOrder) -> None:
        self.calls.append(f"stop {victim.name}")
        self.orders.append(order)

    def disturb(self, victim: Replica, order: Disturbance) -> bool:
        self.calls.append(f"{order.what} of {victim.name}")
        self.disturbances.append(order)
        return self.survives


def workers(count: int) -> list[Replica]:
    return [
        Replica(name=f"worker.{number}", process="worker", host="127.0.0.1", port=0, pid=number, at_ns=number, running_ns=number)
        for number in range(1, count + 1)
    ]


def do(step: dict[str, object], count: int = 2, *, engine: type[FakeEngine] = FakeEngine, survives: bool = True) -> RecordedFleet:
    """Do one step of a file on ``count`` replicas of each process type."""
    whole = scenario(steps=[step])
    fleet, unused = RecordedFleet(count), cast("Any", None)
    fleet.survives = survives
    context = EngineContext(run_id="x", clock=FakeClock(), scratch=Path(), logs=Path(), on_exit=unused)
    stage = Stage(
        scenario=whole,
        clock=FakeClock(),
        dice=Dice(1),
        engine=engine(context),
        load=unused,
        record=unused,
        background=unused,
        tell=unused,
        note=unused,
    )
    (only,) = whole.steps
    faults.STEPS[only.kind](stage, cast("Any", fleet), only.options)
    return fleet


def test_a_kill_is_sudden_and_hits_everything_unless_it_says_main() -> None:
    fleet = do({"kill": "oldest"})
    (order,) = fleet.orders
    assert (order.signal, order.grace_s, order.everything, order.wants_busy) == ("SIGKILL", 0.0, True, True)
    assert not do({"kill": {"replica": 1, "scope": "main"}}).orders[0].everything
    assert not do({"kill": {"replica": 1, "when": "any"}}).orders[0].wants_busy
    assert do({"kill": {"replica": 1, "busy_within": "1s", "endpoint_lag": "2s"}}).orders[0].lag_s == 2.0
    assert fleet.calls == ["stop web.1", "start web for web.1"]


def test_a_restart_takes_the_port_again_and_a_termination_does_not() -> None:
    assert do({"restart": "newest"}).calls == ["stop web.2", "start web for web.2 at 20002"]
    assert do({"terminate": "newest"}).calls == ["stop web.2", "start web for web.2"]


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
    assert {(order.purpose, order.signal, order.wants_busy) for order in down.orders} == {("scale", "SIGINT", True)}


def test_scaling_down_what_takes_no_load_waits_for_no_request() -> None:
    down = do({"scale": {"worker": 1}})
    assert down.calls == ["stop worker.2"]
    assert [(order.signal, order.wants_busy) for order in down.orders] == [("SIGQUIT", False)]


def test_a_step_on_nothing_is_a_problem_of_the_step() -> None:
    with pytest.raises(StepProblemError, match="no replica of web was up"):
        do({"terminate": "any"}, count=0)


# --- what takes something away


@pytest.mark.parametrize(
    ("kind", "options", "what"),
    [("pause", {}, "pause"), ("cut_network", {}, "network"), ("squeeze_memory", {"to": "32m"}, "memory")],
)
def test_a_disturbance_hits_what_it_names_for_as_long_as_it_says(kind: str, options: dict[str, object], what: str) -> None:
    fleet = do({kind: {"replica": "each", "for": "3s", "busy_within": "1s", **options}})
    assert fleet.calls == [f"{what} of web.1", f"{what} of web.2"]
    order = fleet.disturbances[0]
    assert (order.what, order.lasts_s, order.wants_busy, order.busy_within_s) == (what, 3.0, True, 1.0)
    assert order.detail == ("to 32m" if what == "memory" else "")
    assert not do({kind: {"when": "any", **options}}).disturbances[0].wants_busy


def test_only_a_replica_that_did_not_live_through_a_squeeze_is_replaced() -> None:
    step: dict[str, object] = {"squeeze_memory": {"replica": "oldest", "to": "32m"}}
    assert do(step).calls == ["memory of web.1"]
    assert do(step, survives=False).calls == ["memory of web.1", "start web for web.1"]


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
