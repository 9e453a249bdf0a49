"""The whole pipeline, from a scenario's text to findings, on a fake clock, fake replicas and a fake load: milliseconds, no process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness import run
from harness.checks import Judgement, judge
from harness.clock import NS_PER_S
from harness.engines.fake import FakeProcess, FakeScript
from harness.errors import TargetError, UsageError
from harness.fleet import Fleet
from harness.history import (
    Disturbed,
    Exited,
    History,
    Imported,
    Planned,
    Restored,
    Routed,
    RunEnded,
    Signalled,
    Spawned,
    StepBegan,
    StepEnded,
    Survived,
)
from harness.report.progress import Progress
from harness.run import RunOptions, check_engine, plan, planned_s, rehearse
from harness.scenario import Step, load_scenario, nested
from harness.scenario.choice import share_of
from harness.stage import NoState, Stage
from harness.verdict import Verdict

OPTIONS = RunOptions(engine="fake", seed=1, reports=Path("unused"))


def scenario_file(folder: Path, steps: str, *, target: str = "", extra: str = "") -> Path:
    path = folder / "scenario.yaml"
    path.write_text(
        f"""
jetable: 1
name: a rehearsal
target:
  web:
    command: app
    replicas: 3
    stop_grace_period: 1s
{target}
load:
  requests: [GET /]
steps:
{steps}
{extra}
"""
    )
    return path


def play(path: Path, **web: object) -> tuple[History, Judgement]:
    script = FakeScript(processes={"web": FakeProcess(**web)})  # type: ignore[arg-type]  # each test names fields that there are
    history = rehearse(load_scenario(path), path, OPTIONS, script)
    return history, judge(history)


def worse(judgement: Judgement) -> set[str]:
    return {finding.name for finding in judgement.findings if finding.verdict is not Verdict.PASS}


def of(history: History, kind: type) -> list:  # type: ignore[type-arg]  # events of one kind
    return [event for event in history.events if isinstance(event, kind)]


STEADY = "  - steady: 500ms\n"


def test_a_clean_app_passes_with_evidence_for_each_fault(tmp_path: Path) -> None:
    history, judgement = play(scenario_file(tmp_path, STEADY + "  - terminate: each\n" + STEADY))
    sent = [signal for signal in of(history, Signalled) if signal.purpose == "terminate"]
    assert [signal.replica for signal in sent] == ["web.1", "web.2", "web.3"]
    assert all(signal.in_flight > 0 for signal in sent)
    assert len(of(history, Spawned)) == 6
    assert not worse(judgement) - {"control-missing", "generator-missing"}, judgement.findings


def test_an_app_without_a_handler_drops_what_is_in_flight(tmp_path: Path) -> None:
    _, judgement = play(scenario_file(tmp_path, STEADY + "  - terminate: any\n" + STEADY), stop_s=0.001, stop_status=143)
    assert "dropped-in-flight" in worse(judgement)
    assert judgement.verdict is Verdict.FAIL


def test_an_app_that_ignores_the_signal_is_killed_at_the_end_of_its_grace(tmp_path: Path) -> None:
    history, judgement = play(scenario_file(tmp_path, STEADY + "  - terminate: any\n" + STEADY), stop_s=None)
    first, last = (signal for signal in of(history, Signalled) if signal.purpose in ("terminate", "grace-over"))
    assert (first.signal, last.signal) == ("SIGTERM", "SIGKILL")
    assert last.at_ns - first.at_ns >= NS_PER_S
    assert "killed-after-grace" in worse(judgement)


def test_what_outlives_its_replica_is_a_survivor_and_is_ended(tmp_path: Path) -> None:
    history, judgement = play(scenario_file(tmp_path, STEADY + "  - terminate: any\n" + STEADY), children=("sleep 60",))
    (survived,) = of(history, Survived)
    assert [process.command for process in survived.processes] == ["sleep 60"]
    assert any(signal.purpose == "survivor" for signal in of(history, Signalled))
    assert "survivors" in worse(judgement)


def test_a_kill_takes_the_descendants_with_it_unless_it_is_for_the_main_process_only(tmp_path: Path) -> None:
    history, _ = play(scenario_file(tmp_path, STEADY + "  - kill: any\n"), children=("sleep 60",))
    assert not of(history, Survived)
    history, _ = play(scenario_file(tmp_path, STEADY + "  - kill: {replica: any, scope: main}\n"), children=("sleep 60",))
    assert of(history, Survived)


def test_a_start_that_never_gets_healthy_ends_the_run_and_fails(tmp_path: Path) -> None:
    path = scenario_file(tmp_path, STEADY, target="    healthcheck: {http: /healthz, start_period: 2s}")
    history, judgement = play(path, healthy_s=None)
    (ended,) = of(history, RunEnded)
    assert ended.how == "aborted"
    assert "never-ready" in worse(judgement)
    assert judgement.verdict is Verdict.FAIL


def test_a_replica_that_dies_by_itself_is_an_event_with_its_last_lines(tmp_path: Path) -> None:
    history, judgement = play(scenario_file(tmp_path, "  - steady: 5s\n"), dies_after_s=2.0, dies_status=3, lines=("out of memory",))
    died = [event for event in of(history, Exited) if not event.commanded]
    assert {event.status for event in died} == {3}
    assert died[0].log == ("out of memory",)
    assert "died-by-itself" in worse(judgement)


def test_scaling_starts_what_is_missing_and_stops_the_newest(tmp_path: Path) -> None:
    history, _ = play(scenario_file(tmp_path, STEADY + "  - scale: {web: 5}\n  - scale: {web: 2}\n" + STEADY))
    assert [event.replica for event in of(history, Spawned)] == [f"web.{number}" for number in range(1, 6)]
    stopped = [signal.replica for signal in of(history, Signalled) if signal.purpose == "scale"]
    assert stopped == ["web.5", "web.4", "web.3"]


@pytest.mark.parametrize(("order", "first"), [("stop-first", Signalled), ("start-first", Spawned)])
def test_a_rolling_restart_replaces_all_one_at_a_time_in_the_order_asked_for(tmp_path: Path, order: str, first: type) -> None:
    history, _ = play(scenario_file(tmp_path, STEADY + f"  - rolling_restart: {{order: {order}}}\n" + STEADY))
    began = next(event.at_ns for event in history.events if getattr(event, "name", "") == "rolling_restart")
    acts = [event for event in history.events if event.at_ns >= began and isinstance(event, Signalled | Spawned)]
    acts = [act for act in acts if getattr(act, "purpose", "") != "teardown"]
    assert isinstance(acts[0], first)
    assert [act.replaces for act in acts if isinstance(act, Spawned)] == ["web.1", "web.2", "web.3"]


def test_a_restart_takes_the_same_port_and_a_termination_another_one(tmp_path: Path) -> None:
    history, _ = play(scenario_file(tmp_path, "  - restart: oldest\n  - terminate: oldest\n"))
    ports = {event.replica: event.port for event in of(history, Spawned)}
    assert ports["web.4"] == ports["web.1"]
    assert ports["web.5"] != ports["web.2"]


def router_offset_s(history: History) -> float:
    (signal,) = (signal for signal in of(history, Signalled) if signal.purpose == "terminate")
    told = next(event for event in of(history, Routed) if event.replica == signal.replica and not event.open)
    return float(told.at_ns - signal.at_ns) / NS_PER_S


@pytest.mark.parametrize(("routing", "offset_s"), [("{}", 0.0), ("{endpoint_lag: 2s}", 2.0), ("{drain: 2s}", -2.0)])
def test_the_router_learns_of_a_stop_when_the_scenario_says(tmp_path: Path, routing: str, offset_s: float) -> None:
    path = scenario_file(tmp_path, STEADY + "  - terminate: any\n" + STEADY, extra=f"routing: {routing}")
    history, judgement = play(path)
    assert router_offset_s(history) == pytest.approx(offset_s, abs=0.05)
    assert "fault-on-idle" not in worse(judgement)


def test_a_step_of_its_own_overrides_the_routing(tmp_path: Path) -> None:
    path = scenario_file(tmp_path, STEADY + "  - terminate: {endpoint_lag: 1s}\n" + STEADY, extra="routing: {drain: 2s}")
    history, _ = play(path)
    assert router_offset_s(history) == pytest.approx(1.0, abs=0.05)


def test_a_step_without_a_victim_is_a_problem_and_the_verdict_unknown(tmp_path: Path) -> None:
    history, judgement = play(scenario_file(tmp_path, STEADY + "  - scale: {web: 0}\n  - kill: any\n"))
    assert [event.problem for event in of(history, StepEnded) if event.problem] == ["no replica of web was up"]
    assert "step-problem" in worse(judgement)


def test_an_interrupted_step_is_recorded_as_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise TargetError("it broke")

    monkeypatch.setitem(__import__("harness.faults", fromlist=["STEPS"]).STEPS, "kill", fails)
    history, judgement = play(scenario_file(tmp_path, STEADY + "  - kill: any\n" + STEADY))
    (ended,) = of(history, RunEnded)
    assert (ended.how, ended.why) == ("aborted", "it broke")
    assert "run-incomplete" in worse(judgement)


def test_the_same_seed_hits_the_same_replicas(tmp_path: Path) -> None:
    path = scenario_file(tmp_path, "  - kill: any\n    repeat: 5\n")

    def victims(seed: int) -> list[str]:
        options = RunOptions(engine="fake", seed=seed, reports=Path("unused"))
        return [signal.replica for signal in of(rehearse(load_scenario(path), path, options), Signalled) if signal.purpose == "kill"]

    assert victims(7) == victims(7)
    assert len({tuple(victims(seed)) for seed in range(10)}) > 1


def test_repeats_are_steps_of_their_own(tmp_path: Path) -> None:
    scenario = load_scenario(scenario_file(tmp_path, "  - kill: any\n    repeat: 3\n  - steady: 1s\n"))
    assert [step.text for step in plan(scenario)] == ["kill any"] * 3 + ["steady for 1s"]
    assert planned_s(scenario) > 1


def test_process_types_start_after_those_that_they_depend_on(tmp_path: Path) -> None:
    path = scenario_file(tmp_path, STEADY, target="    depends_on: [cache]\n  cache:\n    command: cache\n")
    history, _ = play(path)
    assert [event.process for event in of(history, Spawned)] == ["cache", "web", "web", "web"]


def test_an_unknown_engine_is_told_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r'there is "process"'):
        check_engine("proces")


def test_a_replica_that_is_disturbed_gets_back_what_it_lacked_and_stays(tmp_path: Path) -> None:
    steps = "  - pause: {replica: each, for: 500ms}\n  - cut_network: {for: 1s}\n"
    history, judgement = play(scenario_file(tmp_path, STEADY + steps + STEADY))
    assert [event.what for event in of(history, Disturbed)] == ["pause"] * 3 + ["network"]
    assert [event.replica for event in of(history, Restored)] == [event.replica for event in of(history, Disturbed)]
    assert all(event.in_flight > 0 for event in of(history, Disturbed))
    assert len(of(history, Spawned)) == 3
    assert not worse(judgement) - {"control-missing", "generator-missing"}, judgement.findings


def test_a_replica_that_does_not_live_through_a_squeeze_is_replaced_and_did_not_die_by_itself(tmp_path: Path) -> None:
    history, judgement = play(scenario_file(tmp_path, STEADY + "  - squeeze_memory: {to: 32m, for: 1s}\n" + STEADY))
    (spawned,) = (event for event in of(history, Spawned) if event.replaces)
    assert spawned.replica == "web.4"
    assert "lost-by-oom" in worse(judgement)
    assert "died-by-itself" not in worse(judgement)
    assert "faults-landed" in {finding.name for finding in judgement.findings}


def test_the_plan_of_a_disturbance_counts_how_long_it_lasts(tmp_path: Path) -> None:
    def planned(step: str) -> float:
        return planned_s(load_scenario(scenario_file(tmp_path, f"  - {step}\n")))

    alone = planned("pause: {for: 10s}")
    assert planned("pause: {replica: each, for: 10s}") - alone == 20
    assert planned("squeeze_memory: {to: 32m, for: 10s}") > alone


# --- steps that are made of steps, and those that are no plain stops

EVERY_NEW_STEP = """
  - steady: 500ms
  - signal: SIGWINCH
  - terminate: {replica: half, when: mid-response}
  - terminate: {when: just-accepted}
  - terminate: {when: idle}
  - terminate: {again: 2ms}
  - restart: {signal: SIGKILL}
  - terminate_at_start: ready
  - terminate_at_start: any
  - crash_loop: {times: 3}
  - rolling_restart: {at_a_time: 2}
  - together: [{rolling_restart: {}}, {scale: {web: 4}}, {kill: any}]
  - chaos: {for: 4s, every: 500ms, of: [terminate, kill, scale]}
  - steady: 500ms
"""


def test_every_new_step_is_played_and_judged(tmp_path: Path) -> None:
    history, judgement = play(scenario_file(tmp_path, EVERY_NEW_STEP))
    assert {event.purpose for event in of(history, Signalled)} == {"signal", "terminate", "again", "kill", "start", "scale", "teardown"}
    assert {event.when for event in of(history, Signalled)} == {"", "mid-response", "just-accepted", "idle"}
    assert not [event.problem for event in of(history, StepEnded) if event.problem]
    by_kill = {"lost-by-kill", "expectation-failed"}
    by_the_fake = {"fault-on-idle", "fault-at-wrong-moment"}  # it moves in such even steps that things happen at the same nanosecond
    assert not worse(judgement) - by_kill - by_the_fake - {"control-missing", "generator-missing"}, judgement.findings


def test_requests_that_find_nobody_while_the_scenario_wants_nobody_are_not_dropped(tmp_path: Path) -> None:
    steps = STEADY + "  - scale: {web: 0}\n" + STEADY + "  - scale: {web: 2}\n" + STEADY
    _, judgement = play(scenario_file(tmp_path, steps), start_s=0.5)
    assert not worse(judgement) - {"control-missing", "generator-missing"}, judgement.findings
    (zero,) = [finding for finding in judgement.findings if finding.name == "scaled-to-zero"]
    assert zero.count > 50  # half a second of rest and half a second of start, at a hundred a second


def test_a_signal_that_ends_a_replica_fails_and_the_replica_is_replaced(tmp_path: Path) -> None:
    history, judgement = play(scenario_file(tmp_path, STEADY + "  - signal: {name: SIGHUP, replica: oldest}\n" + STEADY))
    assert [event.replaces for event in of(history, Spawned) if event.replaces] == ["web.1"]
    assert "ended-by-signal" in worse(judgement)
    assert judgement.verdict is Verdict.FAIL


def test_a_step_begins_no_sooner_than_it_says(tmp_path: Path) -> None:
    history, _ = play(scenario_file(tmp_path, STEADY + "  - kill: {when: any}\n    at: 3s\n"))
    load_ns = next(event.at_ns for event in of(history, StepEnded) if event.step == 0)
    (kill,) = (event for event in of(history, Signalled) if event.purpose == "kill")
    assert kill.at_ns - load_ns == pytest.approx(3 * NS_PER_S, rel=0.05)


def test_every_step_writes_down_what_it_really_did(tmp_path: Path) -> None:
    history, _ = play(scenario_file(tmp_path, EVERY_NEW_STEP))
    plans = [Step.model_validate_json(event.plan) for event in of(history, Planned)]
    assert len(plans) == len([event for event in of(history, StepBegan) if event.step > 0])
    for each in nested(tuple(each for each in plans if each.kind != "chaos")):
        choice = getattr(each.options, "replica", 1)
        assert choice != "any"
        assert share_of(choice) is None


@pytest.mark.parametrize(
    ("step", "seconds"),
    [
        ("chaos: {for: 10s, every: 1s, of: [kill]}", 10),
        ("signal: {name: HUP, for: 3s, replica: each}", 9),
        ("together: [{steady: 7s}, {kill: any}]", 7),
        ("rolling_restart: {at_a_time: 2}", 3),
        ("crash_loop: {times: 4}", 6),
    ],
)
def test_how_long_a_step_takes_is_guessed(tmp_path: Path, step: str, seconds: float) -> None:
    nothing = planned_s(load_scenario(scenario_file(tmp_path, "  - steady: 1s\n"))) - 1
    assert planned_s(load_scenario(scenario_file(tmp_path, f"  - {step}\n"))) - nothing == seconds


# --- what is asked of the app's state

STATE = """
state:
  login: {model: journey, requests: [POST /login, GET /me]}
  hits: {model: counter, add: POST /hits, read: {request: GET /hits, answer: $.count}}
"""


def test_a_hand_over_is_rehearsed_as_the_fault_that_it_is(tmp_path: Path) -> None:
    steps = "  - hand_over: {journey: login, replica: oldest}\n  - hand_over: {state: hits, by: terminate, replica: oldest}\n"
    path = scenario_file(tmp_path, STEADY + steps + STEADY, extra=STATE)
    history, _ = play(path)
    sent = [(event.purpose, event.replica) for event in of(history, Signalled) if event.purpose in ("kill", "terminate")]
    assert sent == [("kill", "web.1"), ("terminate", "web.2")]
    assert [event.replaces for event in of(history, Spawned) if event.replaces] == ["web.1", "web.2"]
    assert not [event.problem for event in of(history, StepEnded) if event.problem]
    texts = [step.text for step in plan(load_scenario(path))]
    assert texts[1:3] == ["hand over login from oldest, kill", "hand over hits from oldest, terminate"]


def test_a_hand_over_takes_as_long_as_its_fault(tmp_path: Path) -> None:
    def planned(step: str) -> float:
        return planned_s(load_scenario(scenario_file(tmp_path, f"  - {step}\n", extra=STATE)))

    assert planned("hand_over: {journey: login, replica: each}") == planned("kill: each")


class ToldState(NoState):
    """Writes down when it was asked for what."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def begin(self) -> None:
        self.told.append("begin")

    def read_at_end(self) -> None:
        self.told.append("read")

    def close(self) -> None:
        self.told.append("close")


@pytest.mark.parametrize("state", [True, False])
def test_state_is_read_when_the_load_is_over_and_replicas_are_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, state: bool) -> None:
    told: list[str] = []

    def perform(stage: Stage, fleet: Fleet, progress: Progress) -> None:
        def noting(what: str, act: Callable[..., object]) -> Callable[..., object]:
            return lambda *args, **keys: (told.append(what), act(*args, **keys))[1]

        load = stage.load
        monkeypatch.setattr(load, "start", noting("load", load.start))
        monkeypatch.setattr(load, "stop", noting("stop", load.stop))
        monkeypatch.setattr(fleet, "tear_down", noting("tear down", fleet.tear_down))
        performed(replace(stage, state=ToldState(told)), fleet, progress)

    performed = run.perform
    monkeypatch.setattr(run, "perform", perform)
    play(scenario_file(tmp_path, STEADY, extra=STATE if state else ""))
    assert told == ["load", "begin", *(["stop", "read"] if state else []), "stop", "close", "tear down"]


# --- starts that are too slow


def test_a_start_that_is_too_slow_is_played_once_more_and_nothing_of_that_is_judged(tmp_path: Path) -> None:
    path = scenario_file(tmp_path, "  - steady: 1s", extra="expect: ['web.startup_time max < 100ms']")
    path.write_text(path.read_text().replace("command: app", "command: python app.py"))
    lines = tuple(f"import time: {us:>9} | {us:>10} | {name}" for us, name in ((700_000, "heavy"), (20_000, "light")))
    history, judgement = play(path, start_s=0.8, healthy_s=0.1, lines=lines)
    (told,) = [event for event in history.events if isinstance(event, Imported)]
    assert told.top[0].name == "heavy"
    assert {event.replica for event in history.events if isinstance(event, Spawned)} == {"web.1", "web.2", "web.3"}
    assert {event.replica for event in history.events if isinstance(event, Exited)} <= {"web.1", "web.2", "web.3"}
    assert "heavy" in next(finding.cause for finding in judgement.findings if finding.name == "expectation-failed")


def test_a_start_that_is_quick_enough_or_of_which_nothing_is_demanded_is_not_played_again(tmp_path: Path) -> None:
    quick = scenario_file(tmp_path, "  - steady: 1s", extra="expect: ['startup_time max < 10s', 'shutdown_time max < 1ms']")
    history, _ = play(quick, lines=("import time: 700000 | 700000 | heavy",))
    assert not [event for event in history.events if isinstance(event, Imported)]


def test_what_is_no_python_app_is_not_asked_what_it_imports(tmp_path: Path) -> None:
    path = scenario_file(tmp_path, "  - steady: 1s", extra="expect: ['web.startup_time max < 100ms']")
    history, _ = play(path, start_s=0.8, lines=("import time: 700000 | 700000 | heavy",))
    assert not [event for event in history.events if isinstance(event, Imported)]
