"""A run in numbers."""

from __future__ import annotations

import msgspec
import pytest

from harness.checks.summary import Summary, summarise
from harness.history import Note
from tests.checks.build import STORIES, at, clean_stop, steady_run, stop_run

TELLABLE = sorted(set(STORIES) - {"unknown--check-raised"})


def test_a_clean_stop_in_numbers() -> None:
    found = summarise(stop_run(clean_stop).history())
    assert (found.requests, found.answered, found.dropped, found.attempts) == (36, 36, 0, 36)
    assert [(share.name, share.count) for share in found.outcomes] == [("ok", 36)]
    assert (found.steps, found.steps_done, found.replicas) == (3, 3, 3)
    assert found.load_s == pytest.approx(2.5)
    assert found.requests_per_second == pytest.approx(36 / 2.5)
    assert found.response_median_s == pytest.approx(0.0079)
    assert found.response_max_s == pytest.approx(0.0649)
    assert (found.outages, found.longest_outage_s, found.longest_client_outage_s) == (0, 0.0, 0.0)
    assert (found.control_requests, found.control_worst_s) == (12, pytest.approx(0.0004))
    assert [row.phase for row in found.phases][-1] == "exited"


def test_faults_by_kind_carry_their_bound() -> None:
    (row,) = summarise(stop_run(clean_stop).history()).faults
    assert (row.kind, row.process, row.count, row.landed, row.busy, row.dropped) == ("terminate", "web", 1, 1, 1, 0)
    assert row.bound is not None
    assert row.bound.upper == pytest.approx(0.95)
    (kills,) = summarise(STORIES["fail--lost-by-kill--many"]().history()).faults
    assert (kills.kind, kills.busy, kills.dropped) == ("kill", 6, 6)
    assert kills.bound is not None
    assert kills.bound.upper == 1.0


def test_an_idle_fault_has_no_bound() -> None:
    (row,) = summarise(STORIES["unknown--fault-on-idle"]().history()).faults
    assert (row.landed, row.busy, row.bound) == (1, 0, None)


def test_drops_are_rows_with_cause_and_cure() -> None:
    (row,) = summarise(STORIES["fail--dropped-in-flight"]().history()).drops
    assert (row.name, row.replica, row.step, row.fault, row.signal, row.count) == (
        "dropped-in-flight",
        "web.1",
        2,
        "terminate",
        "SIGTERM",
        2,
    )
    assert (row.first_offset_s, row.last_offset_s) == pytest.approx((0.003, 0.0035))
    assert (row.new_connections, row.reused_connections, row.last_log_line) == (1, 1, "listening on 8000")
    assert row.cause
    assert row.cure


def test_drops_without_a_fault_name_none() -> None:
    (row,) = summarise(STORIES["fail--truncated-answers"]().history()).drops
    assert (row.fault, row.signal, row.first_offset_s) == ("", "", 0.0)


def test_what_could_not_be_measured_is_none() -> None:
    found = summarise(STORIES["unknown--no-load"]().history())
    assert (found.requests, found.requests_per_second, found.response_median_s) == (0, None, None)


@pytest.mark.parametrize("name", TELLABLE)
def test_a_summary_is_the_same_after_a_round_trip_through_json(name: str) -> None:
    found = summarise(STORIES[name]().history())
    assert msgspec.json.decode(msgspec.json.encode(found), type=Summary) == found


def test_replicas_that_went_wrong_are_counted() -> None:
    assert summarise(STORIES["fail--killed-after-grace"]().history()).killed_after_grace == 1
    assert summarise(STORIES["fail--signal-swallowed-by-shell"]().history()).survivors == 2
    assert summarise(STORIES["fail--died-by-itself"]().history()).died_by_itself == 1
    assert summarise(STORIES["fail--never-ready"]().history()).failed_starts == 1
    assert summarise(steady_run().history()).killed_after_grace == 0


def test_what_the_run_noted_of_itself_is_told_once_each_in_order() -> None:
    story = steady_run()
    story.tell(
        *(
            Note(at_ns=at(offset), text=text)
            for offset, text in ((5, "a port is dropped"), (1, "a shell runs it"), (9, "a port is dropped"))
        )
    )
    assert summarise(story.history()).notes == ("a shell runs it", "a port is dropped")
    assert summarise(steady_run().history()).notes == ()


def test_disturbances_are_faults_of_a_kind_of_their_own() -> None:
    (row,) = summarise(STORIES["fail--dropped-while-paused"]().history()).faults
    assert (row.kind, row.process, row.count, row.landed, row.busy, row.dropped) == ("pause", "web", 1, 1, 1, 1)
    (drop,) = summarise(STORIES["fail--dropped-while-cut-off--reset"]().history()).drops
    assert (drop.name, drop.fault, drop.signal, drop.step) == ("dropped-while-cut-off", "cut_network", "", 2)
    assert drop.first_offset_s == pytest.approx(0.505)
    (row,) = summarise(STORIES["unknown--fault-not-landed--nothing-killed"]().history()).faults
    assert (row.kind, row.landed, row.busy, row.bound) == ("squeeze_memory", 0, 0, None)
