"""What is derived from a history: lives, faults, what was in flight, outages."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.checks.facts import AFTER_S, Disturbance, Facts, Fault, HarnessStall
from harness.history import Disturbed, Generator, Lagged, OomKilled, PhaseReached, Restored, Routed, Scheduled
from harness.outcome import Outcome
from tests.checks.build import MS, ONE_CUT, ONE_SQUEEZE, STORIES, Story, at, clean_stop, disturb_run, steady_run, stop_run


def fault_of(story: Story) -> Fault:
    (fault,) = Facts(story.history()).faults
    return fault


def test_a_life_holds_every_instant_of_a_replica() -> None:
    life = Facts(stop_run(clean_stop).history()).life("web.1")
    assert (life.process, life.replaces, life.failed, life.died_by_itself) == ("web", "", None, False)
    assert [life.spawned_ns, life.running_ns, life.listening_ns, life.healthy_ns] == [at(5), at(7), at(45), at(55)]
    assert life.first_answer_ns == at(138)
    assert [signal.purpose for signal in life.signals] == ["terminate"]
    assert life.closed is not None
    assert life.closed.at_ns == at(702)
    assert life.exited is not None
    assert life.exited.status == 0
    assert life.last_log_line == "bye"


def test_a_replica_that_no_event_speaks_of_is_a_bare_name() -> None:
    facts = Facts(steady_run().history())
    assert (facts.life("api.7").process, facts.life("api.7").spawned_ns) == ("api", 0)


def test_no_replica_belongs_to_the_process_type_that_takes_the_load() -> None:
    assert Facts(steady_run().history()).process_of("") == "web"


def test_a_replacement_ends_the_window_of_its_fault() -> None:
    fault = fault_of(stop_run(clean_stop))
    assert fault.replacement is not None
    assert (fault.replacement.replica, fault.replacement.replaces) == ("web.3", "web.1")
    assert fault.end_ns == fault.replacement.healthy_ns == at(1850)


def test_without_a_replacement_the_window_ends_when_everything_of_the_victim_is_gone() -> None:
    def shrink(story: Story) -> None:
        clean_stop(story)
        story.survive("web.1", 1780, "sleep 9")
        story.signal("web.1", 1790, purpose="survivor")
        story.start("web.9", 1800)

    story = stop_run(shrink)
    story.lines = [line for line in story.lines if getattr(line, "replica", "") != "web.3"]
    assert fault_of(story).end_ns == at(1790) + 50_000


def test_while_the_router_still_sends_requests_the_window_is_open() -> None:
    def lag(story: Story) -> None:
        story.ask("web.1", 690, 720)
        story.signal("web.1", 700, lag_s=1.5)
        story.exit("web.1", 730)

    assert fault_of(stop_run(lag)).end_ns == at(2200)


@pytest.mark.parametrize(
    ("begin", "end", "in_flight"),
    [
        (650.0, 660.0, 0),  # answered before the signal
        (695.0, 760.0, 1),
        (699.95, 760.0, 0),  # its first byte left after the signal
        (699.9, 760.0, 1),  # its first byte left at the signal
        (695.0, 700.2, 0),  # the first byte of its answer was there before the signal
        (695.0, 700.3, 1),  # it came after the signal
        (695.0, 700.0, 0),
        (700.01, 760.0, 0),
    ],
)
def test_in_flight_is_what_was_sent_before_the_signal_and_ended_after_it(begin: float, end: float, in_flight: int) -> None:
    def stop(story: Story) -> None:
        story.ask("web.1", begin, end)
        story.ask("web.2", 690, 760)
        story.signal("web.1", 700)
        story.exit("web.1", 780)

    fault = fault_of(stop_run(stop))
    assert (len(fault.in_flight), fault.busy) == (in_flight, in_flight)


@pytest.mark.parametrize(("lag_ms", "busy"), [(2, 1), (15, 1), (17, 0)])
def test_the_rest_of_an_answer_that_the_load_cannot_have_read_so_late_came_after_the_signal(lag_ms: int, busy: int) -> None:
    def stop(story: Story) -> None:
        story.ask("web.1", 640, 716, first_ns=at(650))
        story.signal("web.1", 700)
        story.exit("web.1", 780)

    story = stop_run(stop)
    story.lines = [msgspec.structs.replace(line, lag_ns=lag_ms * MS) if isinstance(line, Generator) else line for line in story.lines]
    assert fault_of(story).busy == busy
    assert fault_of(story.without(Generator)).busy == 0


def test_what_was_cut_while_the_signal_was_sent_was_in_flight() -> None:
    def stop(story: Story) -> None:
        story.ask("web.1", 695, 700.02, Outcome.TRUNCATED)
        story.signal("web.1", 700)
        story.exit("web.1", 780)

    assert fault_of(stop_run(stop)).busy == 1


@pytest.mark.parametrize(("scope", "busy"), [("all", 0), ("main", 1)])
def test_what_was_answered_after_a_kill_of_everything_had_been_answered_before_it(scope: str, busy: int) -> None:
    def kill(story: Story) -> None:
        story.ask("web.1", 690, 705)
        story.signal("web.1", 700, purpose="kill")
        story.exit("web.1", 701, 137)

    steps = ({"steady": "500ms"}, {"kill": {"replica": "oldest", "scope": scope}}, {"steady": "500ms"})
    assert fault_of(stop_run(kill, steps=steps)).busy == busy


def test_a_sigkill_that_came_too_late_killed_nobody() -> None:
    assert fault_of(STORIES["pass--exit-statuses--gone-at-the-end-of-its-grace"]()).killed is None


def unproven(begin: float, end: float, *, request: int = 0, **options: Any) -> int:
    """How many answers that only the end of their connection ended are unproven; web.1 is signalled at 700 and gone at 800."""

    def stop(story: Story) -> None:
        story.ask("web.1", 690, 740)
        story.ask("web.1", begin, end, eof=True, request=request)
        story.signal("web.1", 700)
        story.exit("web.1", 800)

    return len(Facts(stop_run(stop, **options).history()).unproven)


@pytest.mark.parametrize(
    ("begin", "end", "times"),
    [
        (600, 650, 0),  # long before the signal
        (690, 701, 1),  # in flight at it
        (702, 740, 0),  # the process went on for a while
        (702, 760, 1),  # it ended with the process
        (702, 840, 1),
        (702, 860, 0),
    ],
)
def test_an_end_near_a_signal_or_an_exit_is_not_provable(begin: float, end: float, times: int) -> None:
    assert unproven(begin, end) == times


@pytest.mark.parametrize("expected", [{"body": "item"}, {"body_contains": "item"}])
def test_an_answer_whose_body_is_known_proves_its_own_end(expected: dict[str, str]) -> None:
    assert unproven(690, 760, expected=expected) == 0
    assert unproven(690, 760, expected=expected, request=1) == 1


def test_what_ended_before_the_run_was_torn_down_is_proven() -> None:
    story = steady_run()
    story.ask("web.1", 1180, 1209, eof=True, request=0)
    assert len(Facts(story.history()).unproven) == 0


def test_an_unproven_answer_is_not_drained_and_no_proof_of_anything() -> None:
    fault = fault_of(STORIES["unknown--end-not-provable"]())
    assert (fault.busy, fault.unproven, fault.tells, fault.drained_ns) == (2, 1, False, at(750))


@pytest.mark.parametrize(
    ("lags", "stalls"),
    [
        ([(725, 150), (775, 120)], [HarnessStall(words="the stop of web.1", seconds=pytest.approx(0.27), moved=True)]),
        ([(725, 150), (775, 90)], []),
        ([(1600, 500)], []),  # nothing was being timed
        ([(1820, 300)], [HarnessStall(words="the start of web.3", seconds=pytest.approx(0.3), moved=False)]),
    ],
)
def test_the_harness_stood_still_when_it_was_late_for_a_quarter_of_a_second_in_one_start_or_stop(
    lags: list[tuple[float, float]], stalls: list[HarnessStall]
) -> None:
    story = stop_run(clean_stop)
    story.tell(*(Lagged(at_ns=at(when), lag_ns=round(ms * MS)) for when, ms in lags))
    assert list(Facts(story.history()).harness_stalls) == stalls


@pytest.mark.parametrize(
    ("ran", "waited", "starved"), [(0, 675, True), (0, 674, False), (225, 675, True), (226, 4500, False), (0, 4500, True)]
)
def test_a_replica_was_starved_when_it_waited_for_most_of_its_time_and_ran_for_no_more_than_a_quarter(
    ran: int, waited: int, *, starved: bool
) -> None:
    story = stop_run(clean_stop)
    story.tell(Scheduled(at_ns=at(1600), since_ns=at(700), step=2, replica="web.1", ran_ns=ran * MS, waited_ns=waited * MS))
    assert ("web.1" in Facts(story.history()).starved) is starved


def test_an_attempt_that_nobody_saw_the_end_of_proves_nothing() -> None:
    def stop(story: Story) -> None:
        story.leave_open("web.1", 690)
        story.signal("web.1", 700)
        story.exit("web.1", 780)

    assert fault_of(stop_run(stop)).busy == 0


def test_with_a_drain_the_victim_is_busy_when_the_router_is_told_and_may_be_idle_at_the_signal() -> None:
    fault = fault_of(STORIES["pass--faults-landed--drained"]())
    assert (fault.busy, len(fault.in_flight), fault.drained_ns) == (1, 0, 0)


def test_when_the_router_was_told_is_taken_from_the_lag_if_no_event_says_it() -> None:
    story = STORIES["pass--faults-landed--drained"]()
    story.lines = [line for line in story.lines if not (isinstance(line, Routed) and not line.open)]
    assert fault_of(story).busy == 1


def test_drained_is_the_last_answer_to_what_was_in_flight() -> None:
    def stop(story: Story) -> None:
        story.ask("web.1", 690, 740)
        story.ask("web.1", 691, 750, Outcome.REJECTED)
        story.ask("web.1", 692, 770, Outcome.TRUNCATED)
        story.signal("web.1", 700)
        story.exit("web.1", 780)

    assert fault_of(stop_run(stop)).drained_ns == at(750)


def test_only_what_a_step_ordered_is_a_fault() -> None:
    facts = Facts(STORIES["fail--killed-after-grace"]().history())
    assert [fault.kind for fault in facts.faults] == ["terminate"]
    assert facts.faults[0].killed is not None
    assert [life.exited is not None for life in facts.lives.values()] == [True, True, True]


def test_a_replica_that_ended_while_it_started_did_not_die_by_itself() -> None:
    story = STORIES["fail--exited-at-start"]()
    assert not Facts(story.history()).life("web.1").died_by_itself


def test_what_was_under_way_when_a_run_was_cut_off_is_not_called_dropped() -> None:
    assert np.count_nonzero(Facts(STORIES["unknown--unfinished"]().history()).dropped) == 0
    assert np.count_nonzero(Facts(STORIES["fail--unfinished"]().history()).dropped) == 1


def test_an_op_without_an_end_is_neither_dropped_nor_answered() -> None:
    facts = Facts(STORIES["unknown--ledger-open"]().history())
    assert (np.count_nonzero(~facts.closed), np.count_nonzero(facts.dropped & ~facts.closed)) == (1, 0)
    assert np.count_nonzero(facts.answered & ~facts.closed) == 0


def outages(*ops: tuple[int, int, int, bool]) -> tuple[list[tuple[float, float]], tuple[int, float, float]]:
    """The outages of ops (user, begin, end, answered), and the longest one of a client, in milliseconds."""
    story = Story()
    for user, begin, end, answered in ops:
        story.ask("web.1", begin, end, Outcome.OK if answered else Outcome.TIMEOUT, user=user)
    facts = Facts(story.history())
    user, begin_ns, end_ns = facts.longest_client_outage
    ms = [((low - at(0)) / 1e6, (high - at(0)) / 1e6) for low, high in facts.outages]
    return ms, (user, (begin_ns - at(0)) / 1e6, (end_ns - at(0)) / 1e6)


def test_an_outage_lasts_from_the_first_failed_request_after_an_answer_to_the_next_answer() -> None:
    found, longest = outages((0, 10, 20, True), (0, 30, 40, False), (0, 50, 60, False), (0, 70, 80, True), (0, 90, 100, True))
    assert found == [(30.0, 80.0)]
    assert longest == (0, 30.0, 80.0)


def test_while_another_client_is_answered_there_is_no_outage_for_all() -> None:
    found, longest = outages(
        (0, 10, 20, True), (0, 30, 90, False), (1, 30, 40, True), (1, 50, 60, True), (1, 70, 95, True), (0, 100, 110, True)
    )
    assert found == [(60.0, 95.0)]
    assert longest == (0, 30.0, 110.0)


def test_an_outage_without_an_answer_after_it_ends_with_its_last_failed_request() -> None:
    assert outages((0, 10, 20, True), (0, 30, 40, False), (0, 45, 70, False))[0] == [(30.0, 70.0)]


def test_an_outage_without_an_answer_before_it_begins_with_its_first_request() -> None:
    assert outages((0, 10, 20, False), (0, 25, 30, True))[0] == [(10.0, 30.0)]


def test_without_a_failed_request_there_is_no_outage() -> None:
    assert outages((0, 10, 20, True), (0, 5000, 5010, True))[0] == []


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 500), st.integers(1, 60), st.booleans()), min_size=1, max_size=25))
def test_no_answer_lies_inside_an_outage_and_every_failed_request_ends_in_one(asked: list[tuple[int, int, int, bool]]) -> None:
    ops = [(user, begin, begin + took, answered) for user, begin, took, answered in asked]
    found, _ = outages(*ops)
    for low, high in found:
        assert low <= high
        assert not [end for _, _, end, answered in ops if answered and low < end < high]
    for _, _, end, answered in ops:
        assert answered or any(low <= end <= high for low, high in found)


def test_phases_after_the_first_of_their_name_do_not_move_it() -> None:
    story = steady_run()
    story.tell(PhaseReached(at_ns=at(900), replica="web.1", phase="healthy"))
    assert Facts(story.history()).life("web.1").healthy_ns == at(55)


# --- what is taken away and given back


def disturbance_of(story: Story) -> Disturbance:
    (disturbance,) = Facts(story.history()).disturbances
    return disturbance


def test_a_disturbance_lasts_until_it_is_given_back_and_its_window_a_while_longer() -> None:
    found = disturbance_of(STORIES["pass--faults-landed--paused"]())
    assert (found.kind, found.number, found.victim.replica, found.landed, found.busy, found.tells) == ("pause", 0, "web.1", True, 2, True)
    assert (found.lasted_s, found.after_s(at(950))) == (0.5, 0.25)
    assert found.end_ns - found.over_ns == AFTER_S * 1000 * MS
    assert found.words == "pause of web.1"


def test_disturbances_are_numbered_after_the_stops() -> None:
    def both(story: Story) -> None:
        story.disturb("web.2", "pause", 300, 400)
        clean_stop(story)

    facts = Facts(stop_run(both).history())
    assert [harm.kind for harm in facts.harms] == ["terminate", "pause"]
    assert [harm.number for harm in facts.harms] == [0, 1]


@pytest.mark.parametrize(
    ("begin", "end", "outcome", "busy"),
    [
        (690, 1208, Outcome.OK, 1),  # in flight at the beginning
        (800, 808, Outcome.OK, 1),  # sent meanwhile
        (690, 699, Outcome.OK, 0),  # answered before
        (690, 700.01, Outcome.OK, 0),  # whole in a buffer of the kernel at the beginning, for all that is known
        (1201, 1209, Outcome.OK, 0),  # sent after the end
        (650, 1150, Outcome.TIMEOUT, 1),
    ],
)
def test_a_victim_is_busy_that_owed_an_answer_at_any_time(begin: float, end: float, outcome: Outcome, busy: int) -> None:
    def tell(story: Story) -> None:
        story.ask("web.1", begin, end, outcome)
        story.disturb("web.1", "network", 700, 1200)

    assert disturbance_of(disturb_run(tell, ONE_CUT)).busy == busy


@pytest.mark.parametrize(("when", "landed"), [(699, False), (701, True), (1199, True), (2100, True), (2300, False)])
def test_a_squeeze_landed_when_the_kernel_killed_meanwhile_or_right_after(when: float, *, landed: bool) -> None:
    def tell(story: Story) -> None:
        story.ask("web.1", 690, 1250)
        story.disturb("web.1", "memory", 700, 1200)
        story.tell(OomKilled(at_ns=at(when), replica="web.1"))

    assert disturbance_of(disturb_run(tell, ONE_SQUEEZE)).landed is landed


def test_what_was_asked_after_the_kernel_had_killed_does_not_make_the_victim_busy() -> None:
    def tell(story: Story) -> None:
        story.disturb("web.1", "memory", 700, 1200)
        story.tell(OomKilled(at_ns=at(720), replica="web.1"))
        story.ask("web.1", 800, 808)

    assert disturbance_of(disturb_run(tell, ONE_SQUEEZE)).busy == 0


def test_a_replica_that_did_not_live_through_a_squeeze_is_disturbed_until_its_replacement_is_healthy() -> None:
    found = disturbance_of(STORIES["fail--lost-by-oom"]())
    assert found.replacement is not None
    assert found.replacement.replica == "web.3"
    assert found.over_ns == at(1050)


def test_without_its_end_a_disturbance_goes_on_to_the_end_of_the_history() -> None:
    found = disturbance_of(STORIES["pass--faults-landed--paused"]().without(Restored))
    assert found.restored is None
    assert found.over_ns == at(2650)


def test_the_end_of_another_disturbance_is_not_its_own() -> None:
    def tell(story: Story) -> None:
        story.disturb("web.1", "pause", 700, 800)
        story.disturb("web.1", "pause", 900, 1100)
        story.tell(Restored(at_ns=at(750), until_ns=at(750), step=2, replica="web.2", what="pause"))

    facts = Facts(disturb_run(tell).history())
    assert [each.lasted_s for each in facts.disturbances] == [0.1, 0.2]
    assert len(facts.events(Disturbed)) == 2
