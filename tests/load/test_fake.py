"""The load that exists only on a fake clock."""

from __future__ import annotations

from harness.clock import FakeClock
from harness.history import AnyLine, Close, Header, History, build
from harness.load.base import Load
from harness.load.fake import FakeLoad
from harness.outcome import Outcome

HEADER = Header(format=1, run_id="r", harness="0", engine="fake", seed=1, scenario="{}", scenario_path="s", started_ns=0, wall_start="")


def played(lines: list[AnyLine]) -> History:
    return build([HEADER, *lines])


def outcomes(lines: list[AnyLine]) -> dict[str, int]:
    ops = played(lines).ops
    names = [list(Outcome)[code].value for code in ops.outcome]
    return {name: names.count(name) for name in names}


def new_load() -> tuple[FakeLoad, FakeClock, list[AnyLine]]:
    clock, lines = FakeClock(), list[AnyLine]()
    load = FakeLoad(clock=clock, append=lines.append, rate_per_s=100.0, answer_s=0.01, requests=2)
    _as_protocol: Load = load
    load.publish("web.1", "h", 1)
    load.publish("web.2", "h", 2)
    load.start()
    return load, clock, lines


def test_a_calm_run_answers_every_op() -> None:
    load, clock, lines = new_load()
    clock.sleep(1.0)
    load.stop()
    assert outcomes(lines) == {"ok": 101}


def test_a_replica_that_ends_after_it_has_drained_loses_nothing() -> None:
    load, clock, lines = new_load()
    clock.sleep(0.5)
    load.withdraw("web.1")
    clock.sleep(0.1)
    load.on_exit("web.1", clock.now_ns())
    load.forget("web.1")
    clock.sleep(0.5)
    load.stop()
    assert set(outcomes(lines)) == {"ok"}


def test_an_abrupt_end_drops_what_is_in_flight_and_the_next_op_goes_elsewhere() -> None:
    load, clock, lines = new_load()
    clock.sleep(0.5)
    while load.in_flight("web.1") < 1:
        clock.sleep(0.0002)
    clock.sleep(0.001)
    load.on_exit("web.1", clock.now_ns())
    clock.sleep(0.1)
    load.withdraw("web.1")
    clock.sleep(0.1)
    load.stop()
    found = outcomes(lines)
    assert found["closed-before-response"] == 1
    assert found["redirected"] >= 4


def test_what_was_sent_to_a_replica_is_counted_until_it_is_forgotten() -> None:
    load, clock, _ = new_load()
    clock.sleep(0.095)
    assert (load.sent("web.1"), load.sent("web.2"), load.sent("nobody")) == (5, 5, 0)
    load.withdraw("web.1")
    clock.sleep(0.1)
    assert (load.sent("web.1"), load.sent("web.2")) == (5, 15)
    load.forget("web.1")
    load.publish("web.1", "h", 1)
    assert load.sent("web.1") == 0


def test_an_exit_that_is_told_late_counts_from_its_instant() -> None:
    load, clock, lines = new_load()
    clock.sleep(0.5)
    exit_ns = clock.now_ns()
    clock.sleep(0.1)
    load.set_step(1)
    load.on_exit("web.1", exit_ns)
    load.on_exit("web.2", exit_ns)
    load.stop()
    assert outcomes(lines)["unavailable"] >= 10


def test_ops_carry_the_step_in_which_they_began() -> None:
    load, clock, lines = new_load()
    clock.sleep(0.095)
    load.set_step(1)
    clock.sleep(0.1)
    load.stop()
    steps = played(lines).attempts.step.tolist()
    assert steps == [0] * 10 + [1] * 10


def test_a_load_that_is_cut_off_leaves_ops_unfinished_but_on_record() -> None:
    load, clock, lines = new_load()
    clock.sleep(0.1)
    load.stop(at_once=True)
    assert outcomes(lines)["unfinished"] == 1
    load.stop()
    assert len(played(lines).ops) == 11


def test_an_op_is_in_flight_and_then_being_answered() -> None:
    load, clock, _ = new_load()
    story: list[tuple[int, int]] = []
    for _ in range(200):  # an op each 10 ms, on the two replicas in turns, for 10 ms
        clock.sleep(0.0002)
        now = load.in_flight("web.1"), load.answering("web.1")
        if now != (story or [None])[-1]:
            story.append(now)
    steady = story[1:] if story[0] == (0, 0) else story
    assert steady[:6] == [(1, 0), (0, 1), (0, 0)] * 2 or story[:6] == [(0, 0), (1, 0), (0, 1)] * 2


def test_a_few_ops_are_held_until_the_release_and_then_sent() -> None:
    load, clock, lines = new_load()
    clock.sleep(0.1)
    load.hold("web.1")
    clock.sleep(0.2)
    assert (load.held("web.1"), load.held("web.2")) == (3, 0)
    released_ns = clock.now_ns()
    load.release("web.1")
    assert load.held("web.1") == 0
    clock.sleep(0.001)
    assert load.in_flight("web.1") >= 3
    clock.sleep(0.2)
    assert load.held("web.1") == 0
    load.stop()
    assert set(outcomes(lines)) == {"ok"}
    held = [line for line in lines if isinstance(line, Close) and not line.reused]
    assert [close.sent_ns for close in held] == [released_ns] * 3
    assert all(close.connected_ns < released_ns for close in held)


def test_an_op_is_held_for_a_second_at_most_and_one_whose_replica_ends_meanwhile_goes_elsewhere() -> None:
    load, clock, lines = new_load()
    clock.sleep(0.1)
    load.hold("web.1")
    clock.sleep(1.053)
    assert load.held("web.1") == 3, "those that were released by the bound have made room for others"
    load.on_exit("web.1", clock.now_ns())
    load.withdraw("web.1")
    load.release("web.1")
    clock.sleep(0.1)
    load.stop()
    found = outcomes(lines)
    assert found["redirected"] == 3
    assert {close.error for close in lines if isinstance(close, Close) and close.outcome == "refused"} == {"FIN"}


def test_an_answer_that_has_begun_when_its_replica_ends_is_truncated() -> None:
    load, clock, lines = new_load()
    clock.sleep(0.1)
    while not load.answering("web.1"):
        clock.sleep(0.0002)
    load.on_exit("web.1", clock.now_ns())
    load.withdraw("web.1")
    clock.sleep(0.1)
    load.stop()
    assert outcomes(lines)["truncated"] == 1
