"""Whether a run can be trusted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.checks.sanity import check
from harness.history import (
    AnyLine,
    Control,
    EngineLost,
    EventWriter,
    Exited,
    Generator,
    History,
    LoadBegan,
    LoadEnded,
    Restored,
    Signalled,
    build,
)
from harness.outcome import Outcome
from harness.verdict import Finding, Verdict
from tests.checks.build import MS, ONE_KILL, STORIES, Story, at, clean_stop, disturb_run, samples, steady_run, stop_run


def findings(story: Story) -> dict[str, Finding]:
    return {finding.name: finding for finding in check(story.history())}


def ills(story: Story) -> set[str]:
    return {finding.name for finding in check(story.history()) if finding.verdict is not Verdict.PASS}


def test_a_good_run_is_told_with_its_numbers() -> None:
    found = findings(stop_run(clean_stop))
    assert {finding.verdict for finding in found.values()} == {Verdict.PASS}
    assert found["run-complete"].title == "3 of 3 steps done"
    assert found["load-was-there"].title == "answered requests: 12 before the first fault, 12 during the faults, 12 after the last fault"
    assert found["ledger-closed"].title == "each of 36 attempts has its end in the ledger"
    assert found["faults-landed"].title == "1 of 1 fault landed, each with 1 request in flight"
    assert found["control-clean"].title == "12 control requests: 0 failed, the slowest took 0.40 ms"
    assert found["generator-clean"].title == "the load used 21 % of a core (median), its loop lagged at most 2.00 ms"


@pytest.mark.slow
def test_nothing_that_sanity_finds_is_a_failure() -> None:
    for tell in STORIES.values():
        story = tell()
        if story.history().header.scenario != "{}":
            assert max(finding.verdict for finding in check(story.history())) < Verdict.FAIL


def test_a_fault_on_an_idle_victim_says_how_to_keep_it_busy() -> None:
    found = findings(STORIES["unknown--fault-on-idle"]())["fault-on-idle"]
    assert (found.step, found.count) == (2, 1)
    assert "Send more load" in found.cure
    assert found.evidence == ("step 2, SIGTERM to web.1: nothing in flight by the ledger, 0 as the load told it",)


def test_a_fault_where_no_load_goes_says_to_write_when_any() -> None:
    found = findings(STORIES["unknown--fault-on-idle--no-load-there"]())["fault-on-idle"]
    assert "when: any" in found.cure
    assert "it takes no load" in found.evidence[0]


def test_the_ledger_decides_whether_the_victim_was_busy_and_not_what_the_load_told() -> None:
    def stop(story: Story) -> None:
        story.ask("web.1", 690, 699)
        story.signal("web.1", 700, in_flight=1)
        story.exit("web.1", 780)

    found = findings(stop_run(stop))["fault-on-idle"]
    assert found.evidence == ("step 2, SIGTERM to web.1: nothing in flight by the ledger, 1 as the load told it",)


def test_a_step_may_hit_an_idle_victim_on_purpose() -> None:
    found = findings(STORIES["pass--faults-landed--idle-on-purpose"]())
    assert found["faults-landed"].title == "1 of 1 fault landed, 0 of them on a replica with a request in flight"


def test_a_step_that_had_to_stop_a_replica_and_stopped_none_is_unknown() -> None:
    story = stop_run(clean_stop).without(Signalled)
    found = findings(story)
    assert found["fault-not-landed"].title == "step 2 (terminate oldest) stopped no replica"
    assert "no-fault" not in found


@pytest.mark.parametrize("status", [137, 0])
def test_a_kill_whose_victim_was_never_seen_to_end_did_not_land(status: int) -> None:
    def kill(story: Story) -> None:
        story.ask("web.1", 690, 760)
        story.signal("web.1", 700, purpose="kill")
        story.exit("web.1", 701, status)

    story = stop_run(kill, steps=ONE_KILL)
    assert "fault-not-landed" not in ills(story)
    story.lines = [line for line in story.lines if not (type(line).__name__ == "Exited" and getattr(line, "replica", "") == "web.1")]
    assert findings(story)["fault-not-landed"].evidence == ("step 2, SIGKILL to web.1: its end was never seen",)


@pytest.mark.parametrize(
    ("begin", "end", "when"),
    [(0, 690, "before the first fault"), (690, 1850, "during the faults"), (1850, 9000, "after the last fault")],
)
def test_load_is_needed_before_during_and_after(begin: float, end: float, when: str) -> None:
    story = stop_run(clean_stop)
    lost = {line.op for line in story.lines if type(line).__name__ == "Close" and at(begin) <= getattr(line, "done_ns", 0) < at(end)}
    story.lines = [line for line in story.lines if getattr(line, "op", -1) not in lost]
    found = findings(story)["load-gap"]
    assert found.title == f"no request was answered {when}"
    assert found.cure


def test_failed_requests_are_no_load() -> None:
    story = Story()
    story.ask("web.1", 10, 20, Outcome.ERROR)
    assert findings(story)["load-gap"].title == "no request was answered at any time"


def test_a_load_that_ended_early_is_told_apart_from_a_run_that_was_cut_off() -> None:
    assert "load-died" in ills(steady_run().without(LoadEnded))
    assert "load-died" not in ills(STORIES["unknown--run-incomplete"]())
    assert {"ledger-open", "run-incomplete"} <= ills(STORIES["unknown--run-incomplete"]())


def test_torn_lines_leave_the_ledger_open() -> None:
    history = steady_run().history()
    torn = type(history)(**{name: getattr(history, name) for name in history.__dataclass_fields__ if name != "torn"}, torn=1)
    assert "1 line can't be read" in next(finding.title for finding in check(torn) if finding.name == "ledger-open")


def test_an_open_ledger_names_the_requests_without_an_end() -> None:
    found = findings(STORIES["unknown--ledger-open"]())["ledger-open"]
    assert found.count == 1
    assert found.title == "the ledger is not whole: 1 request without an end (1 attempt)"
    assert "last on web.1" in found.evidence[0]


def test_a_run_that_was_cut_off_says_how_far_it_got() -> None:
    found = findings(STORIES["unknown--run-incomplete--interrupted"]())["run-incomplete"]
    assert found.title == "the run was interrupted after 0 of 1 step: somebody stopped the harness"
    assert "in the step: steady for 1s" in found.evidence[0]
    assert found.cure == "Run it again: jetable run story.yaml --engine process --seed 7"


def test_a_step_with_a_problem_is_named() -> None:
    found = findings(STORIES["unknown--step-problem"]())["step-problem"]
    assert (found.title, found.step) == ("step 3 (steady for 500ms): no replica of web was up", 3)


def control(took_ms: float, outcome: Outcome, begin: float, end: float, **changes: str) -> Story:
    """A control request from 400 on and one more request of the load."""
    story = steady_run().without(LoadEnded)
    story.lines.append(Control(at_ns=at(400), done_ns=at(400 + took_ms), ok=True))
    story.ask("web.1", begin, end, outcome, **changes)
    story.load_ends(1250)
    return story


@pytest.mark.parametrize(
    ("story", "verdict"),
    [
        (control(300, Outcome.TIMEOUT, 380, 690), Verdict.UNKNOWN),
        (control(300, Outcome.TIMEOUT, 380, 990), Verdict.PASS),  # it waited longer without a stall than with one
        (control(300, Outcome.TIMEOUT, 720, 900), Verdict.PASS),  # after the stall
        (control(300, Outcome.TIMEOUT, 200, 390), Verdict.PASS),  # before it
        (control(300, Outcome.CLOSED, 380, 690), Verdict.PASS),  # no stall closes a connection
        (control(300, Outcome.REFUSED, 380, 690), Verdict.PASS),
        (control(300, Outcome.REFUSED, 380, 690, error="ETIMEDOUT"), Verdict.UNKNOWN),
        (control(300, Outcome.OK, 380, 690), Verdict.PASS),
    ],
)
def test_a_stall_of_the_machine_matters_when_it_explains_a_dropped_request(story: Story, verdict: Verdict) -> None:
    assert findings(story)["control-stalled"].verdict is verdict


def test_what_a_stall_explains_is_not_blamed_on_the_app() -> None:
    assert samples(control(300, Outcome.TIMEOUT, 380, 690).history(), "dropped_requests") == [0.0]
    assert samples(control(300, Outcome.TIMEOUT, 720, 900).history(), "dropped_requests") == [1.0]


def test_a_short_delay_of_the_control_server_is_no_stall() -> None:
    assert "control-stalled" not in findings(control(249, Outcome.TIMEOUT, 380, 690))


@pytest.mark.parametrize("change", [{"cpu": 0.99}, {"lag_ns": 501 * MS}, {"late": 2, "arrivals": 100}])
def test_a_load_that_could_not_keep_up_is_unknown(change: dict[str, float]) -> None:
    story = steady_run()
    story.lines = [msgspec.structs.replace(line, **change) if isinstance(line, Generator) else line for line in story.lines]
    assert ills(story) == {"generator-saturated"}


@pytest.mark.parametrize("change", [{"cpu": 0.94}, {"lag_ns": 499 * MS}, {"late": 1, "arrivals": 100}])
def test_a_load_at_its_limit_still_counts(change: dict[str, float]) -> None:
    story = steady_run()
    story.lines = [msgspec.structs.replace(line, **change) if isinstance(line, Generator) else line for line in story.lines]
    assert ills(story) == set()


def test_late_arrivals_that_waited_for_users_are_the_app_s_doing() -> None:
    found = findings(STORIES["unknown--app-too-slow-for-rate"]())["app-too-slow-for-rate"]
    assert found.verdict is Verdict.UNKNOWN
    assert found.title == "the app was too slow for the rate: 3 % of the arrivals began late, since all users were waiting for answers"


@pytest.mark.parametrize("change", [{"crowded": 2}, {"crowded": 3, "cpu": 0.99}, {"crowded": 3, "lag_ns": 501 * MS}])
def test_late_arrivals_of_a_load_that_was_not_well_are_its_own(change: dict[str, float]) -> None:
    story = steady_run()
    late = {"late": 3, "arrivals": 100, **change}
    story.lines = [msgspec.structs.replace(line, **late) if isinstance(line, Generator) else line for line in story.lines]
    assert ills(story) == {"generator-saturated"}


@pytest.mark.parametrize(
    ("ok", "error", "missing"),
    [
        ((500, 600, 1090), "", False),
        ((30,), "", True),  # none in the last second
        ((500, 600), "ETIMEDOUT", False),
        ((500,), "ETIMEDOUT", False),
        ((), "TimeoutError", True),
        ((500, 600), "ECONNREFUSED", True),
        ((500, 600), "FIN", True),
    ],
)
def test_control_samples_must_cover_the_load_and_be_answered(ok: tuple[float, ...], error: str, *, missing: bool) -> None:
    story = steady_run().without(Control)
    story.lines += [Control(at_ns=at(when), done_ns=at(when + 1), ok=True) for when in ok]
    if error:
        story.lines.append(Control(at_ns=at(700), done_ns=at(900), ok=False, error=error))
    assert ("control-missing" in ills(story)) is missing


def test_what_ended_the_last_control_sample_with_the_load_is_no_failure_of_it() -> None:
    story = steady_run()
    story.lines.append(Control(at_ns=at(1150), done_ns=at(1190), ok=False, error="GreenletExit"))
    assert "control-missing" not in ills(story)


def test_a_harness_that_stood_still_says_so() -> None:
    found = findings(STORIES["unknown--harness-stalled"]())["harness-stalled"]
    assert found.title == "the harness itself stood still for 270 ms in the stop of web.1, so it was not as the scenario says"
    found = findings(STORIES["pass--harness-stalled"]())["harness-stalled"]
    assert found.title == "the harness itself stood still for 300 ms while it timed the start of web.3"
    assert found.evidence == ("the start of web.3 may be up to 300 ms shorter than measured",)


def test_what_a_machine_without_a_cpu_for_it_made_too_late_is_not_blamed_on_a_replica() -> None:
    for name in ("replica-starved", "replica-starved--cut", "replica-starved--let-go", "replica-starved--at-its-start"):
        story = STORIES[f"unknown--{name}"]()
        assert {"replica-starved"} <= ills(story) <= {"replica-starved", "run-incomplete", "no-requests"}
    found = findings(STORIES["unknown--replica-starved"]())["replica-starved"]
    assert found.evidence == (
        "step 2, web.1: of 900 ms it ran for 90.0 ms; its threads were ready to run and waited for a CPU for 700 ms in all",
    )


def test_one_busy_sample_of_five_is_forgiven() -> None:
    story = steady_run()
    first = next(line for line in story.lines if isinstance(line, Generator))
    story.lines = [msgspec.structs.replace(line, cpu=1.0) if line is first else line for line in story.lines]
    assert ills(story) == set()


def test_what_the_load_had_no_file_to_send_is_the_generators_trouble_and_no_drop() -> None:
    story = steady_run()
    story.ask("web.1", 400, 401, Outcome.UNFINISHED, error="EMFILE", reached=0, sent_ns=0, first_ns=0)
    saturated = findings(story)["generator-saturated"]
    assert "no port, file or memory left to send 1 request" in saturated.title
    assert "ulimit -n" in saturated.cure
    assert samples(story.history(), "dropped_requests") == [0.0]


def test_a_disturbance_that_landed_on_a_busy_replica_is_told_as_a_fault_is() -> None:
    found = findings(STORIES["pass--faults-landed--paused"]())
    assert found["faults-landed"].title == "1 of 1 fault landed, each with 2 requests in flight"
    assert found["faults-landed"].evidence == ("1 pause",)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("unknown--fault-not-landed--nothing-to-pause", "step 2, pause of web.1: it was gone before that"),
        ("unknown--fault-not-landed--nothing-killed", "step 2, squeeze of web.1 to 32m: the kernel killed nothing in it for 500 ms"),
    ],
)
def test_a_disturbance_that_did_not_land_says_why(name: str, line: str) -> None:
    found = findings(STORIES[name]())["fault-not-landed"]
    assert found.evidence == (line,)
    assert ("Squeeze harder" in found.cure) is ("squeeze" in line)


def test_a_disturbance_of_an_idle_replica_proves_nothing() -> None:
    found = findings(STORIES["unknown--fault-on-idle--paused"]())["fault-on-idle"]
    assert found.evidence == ("step 2, pause of web.1: nothing in flight by the ledger, 0 as the load told it",)


def test_a_step_that_disturbed_no_replica_did_not_land() -> None:
    found = findings(disturb_run(lambda _: None))["fault-not-landed"]
    assert found.title == "step 2 (pause oldest) hit no replica"


def test_a_replica_that_hung_alone_had_load_when_it_answered_later_what_it_was_asked_meanwhile() -> None:
    def alone(story: Story) -> None:
        lost = {getattr(line, "op", -1) for line in story.lines if getattr(line, "replica", "") == "web.2"}
        story.lines = [line for line in story.lines if getattr(line, "op", -2) not in lost]
        story.ask("web.1", 690, 1208)
        story.ask("web.1", 800, 1210)
        story.disturb("web.1", "pause", 700, 1200)

    assert "1 during the faults" in findings(disturb_run(alone))["load-was-there"].title


def test_a_replica_that_did_not_get_back_what_a_step_took_says_who_what_and_when() -> None:
    found = findings(STORIES["unknown--fault-not-reversed"]())["fault-not-reversed"]
    assert found.verdict is Verdict.UNKNOWN
    assert (found.count, found.step) == (1, 2)
    assert found.title == "1 of 1 disturbance could not be undone, though the replica lived on"
    (line,) = found.evidence
    assert line.startswith(
        "step 2, squeeze of web.1 to 32m: not undone 500 ms after it began, 1.20 s after the run began; it stayed so for"
    )
    assert "went on in that state" in found.cure


def kept_from(**changes: Any) -> Story:
    """A pause that could not be undone at 1200 ms."""

    def tell(story: Story) -> None:
        story.ask("web.1", 690, 1210)
        story.disturb("web.1", "pause", 700, 1200, **changes)
        story.lines = [msgspec.structs.replace(line, delivered=False) if isinstance(line, Restored) else line for line in story.lines]

    return disturb_run(tell)


def test_only_what_was_taken_while_victim_and_engine_live_has_to_be_given_back() -> None:
    assert "fault-not-reversed" in ills(kept_from())
    assert "fault-not-reversed" not in ills(kept_from(delivered=False))
    for exit_ms, told in ((800, False), (1200, False), (1220, False), (1400, True)):  # an exit may be told some milliseconds late
        story = kept_from()
        gone = {id(line) for line in story.lines if isinstance(line, Exited | Signalled) and line.replica == "web.1"}
        story.lines = [line for line in story.lines if id(line) not in gone]
        story.exit("web.1", exit_ms, 137)
        assert ("fault-not-reversed" in ills(story)) is told, exit_ms
    for lost_ms, told in ((1199, False), (1300, False), (9000, True)):
        story = kept_from()
        story.tell(EngineLost(at_ns=at(lost_ms), why="the engine went away"))
        assert ("fault-not-reversed" in ills(story)) is told, lost_ms


def test_a_run_that_ended_before_anything_was_given_back_is_told_as_cut_off_alone() -> None:
    assert "fault-not-reversed" not in ills(kept_from().without(Restored))


def test_an_event_that_somebody_took_out_of_the_history_is_missed(tmp_path: Path) -> None:
    history = stop_run(clean_stop).history()
    writer = EventWriter(tmp_path / "events.jsonl")
    for line in (history.header, *(event for event in history.events if not isinstance(event, LoadBegan | LoadEnded))):
        writer.append(line)
    writer.close()
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert "ledger-open" not in {finding.name for finding in check(with_events(history, lines))}
    fewer = [line for line in lines if '"spawned"' not in line]
    (found,) = [finding for finding in check(with_events(history, fewer)) if finding.name == "ledger-open"]
    assert f"{len(lines) - len(fewer)} event" in found.title
    assert "missing" in found.title


def with_events(history: History, lines: list[str]) -> History:
    """``history`` with the harness's own events as they stand in ``lines``."""
    decoder: msgspec.json.Decoder[AnyLine] = msgspec.json.Decoder(AnyLine)
    own = [decoder.decode(line) for line in lines]
    load = [event for event in history.events if isinstance(event, LoadBegan | LoadEnded)]
    ledger = history.attempts, history.ops
    whole = build([*own, *load, *history.controls, *history.generator])
    return dataclasses.replace(whole, attempts=ledger[0], ops=ledger[1])
