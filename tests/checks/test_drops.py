"""Which fault a dropped request is attributed to, and which name that makes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.checks.drops import ALWAYS, CUT, NAMES, DropBook, book
from harness.checks.facts import Facts
from harness.checks.requests import TITLES
from harness.outcome import Outcome
from tests.checks.build import ONE_CUT, ONE_KILL, ONE_SQUEEZE, STORIES, Story, at, clean_stop, disturb_run, steady_run, stop_run

OP_OUTCOMES = sorted(set(Outcome) - {Outcome.OK, Outcome.REDIRECTED, Outcome.RETRIED, Outcome.RESUMED, Outcome.STALE, Outcome.REFUSED})


def book_of(story: Story) -> DropBook:
    return book(Facts(story.history()))


def only(story: Story) -> tuple[str, str, int | None]:
    """Name, replica and fault of the one group of drops."""
    (group,) = book_of(story).groups
    return group.name, group.replica, group.fault.number if group.fault else None


def stopped(
    begin: float, end: float, outcome: Outcome = Outcome.CLOSED, *, purpose: str = "terminate", replica: str = "web.1", reused: bool = True
) -> Story:
    """web.1 is signalled at 700 and gone at 800; one request fails."""

    def stop(story: Story) -> None:
        story.ask("web.1", 690, 740)
        story.ask(replica, begin, end, outcome, reused=reused)
        story.signal("web.1", 700, purpose=purpose)
        story.exit("web.1", 800)

    return stop_run(stop, steps=ONE_KILL) if purpose == "kill" else stop_run(stop)


def test_every_dropped_outcome_of_an_op_leads_to_a_name() -> None:
    assert set(ALWAYS) | set(CUT) == set(OP_OUTCOMES)
    assert set(NAMES) >= {*ALWAYS.values(), *CUT.values()}
    assert set(TITLES) == set(NAMES)


@pytest.mark.parametrize("outcome", [Outcome.CLOSED, Outcome.TRUNCATED, Outcome.TIMEOUT])
@pytest.mark.parametrize(
    ("begin", "end", "purpose", "name"),
    [
        (690, 705, "terminate", "dropped-in-flight"),
        (690, 705, "scale", "dropped-in-flight"),
        (690, 701, "kill", "lost-by-kill"),
        (701, 702, "kill", "lost-by-kill"),
    ],
)
def test_what_a_stop_cut_is_named_after_the_stop(outcome: Outcome, begin: float, end: float, purpose: str, name: str) -> None:
    assert only(stopped(begin, end, outcome, purpose=purpose)) == (name, "web.1", 0)


@pytest.mark.parametrize(
    ("outcome", "reused", "name"),
    [
        (Outcome.CLOSED, True, "keep-alive-race"),
        (Outcome.CLOSED, False, "dropped-after-signal"),
        (Outcome.TRUNCATED, True, "dropped-after-signal"),
        (Outcome.TIMEOUT, True, "dropped-after-signal"),
        (Outcome.TIMEOUT, False, "dropped-after-signal"),
    ],
)
def test_what_was_sent_after_the_signal_is_named_after_its_connection(outcome: Outcome, reused: bool, name: str) -> None:  # noqa: FBT001  a parameter
    assert only(stopped(705, 720, outcome, reused=reused)) == (name, "web.1", 0)


@pytest.mark.parametrize(
    ("outcome", "name"),
    [(Outcome.CLOSED, "dropped-without-fault"), (Outcome.TRUNCATED, "truncated-answers"), (Outcome.TIMEOUT, "timeouts")],
)
@pytest.mark.parametrize(("begin", "end", "replica"), [(600, 650, "web.1"), (690, 740, "web.2"), (2000, 2100, "web.2")])
def test_before_the_signal_or_on_another_replica_no_fault_is_to_blame(
    outcome: Outcome, name: str, begin: float, end: float, replica: str
) -> None:
    assert only(stopped(begin, end, outcome, replica=replica)) == (name, replica, None)


@pytest.mark.parametrize(
    ("outcome", "name"),
    [(Outcome.ERROR, "errors"), (Outcome.REJECTED, "rejected"), (Outcome.WRONG, "wrong-answers"), (Outcome.UNFINISHED, "unfinished")],
)
def test_an_answer_that_says_no_keeps_its_name_near_a_fault(outcome: Outcome, name: str) -> None:
    assert only(stopped(690, 740, outcome)) == (name, "web.1", 0)


def test_a_request_that_no_replica_took_is_attributed_to_the_fault_whose_window_it_met() -> None:
    assert only(STORIES["fail--unavailable"]()) == ("unavailable", "", 0)


def test_a_refused_request_outside_of_every_window_is_nobody_s() -> None:
    story = steady_run()
    story.attempts([("web.1", 500, 501, Outcome.REFUSED), ("web.2", 501, 502, Outcome.REFUSED)])
    assert only(story) == ("unavailable", "web.2", None)


def test_a_slow_request_that_outlives_the_window_still_belongs_to_it() -> None:
    assert only(stopped(690, 2400, Outcome.TIMEOUT)) == ("dropped-in-flight", "web.1", 0)


def test_each_fault_keeps_its_own_drops() -> None:
    drops = book_of(STORIES["fail--lost-by-kill--many"]())
    assert sorted((group.replica, group.step) for group in drops.groups) == [
        (f"web.{number}", number if number > 2 else 2) for number in (1, 3, 4, 5, 6, 7)
    ]
    assert drops.faults == frozenset(range(6))


def test_a_group_holds_its_evidence() -> None:
    (group,) = book_of(STORIES["fail--dropped-in-flight"]()).groups
    assert (group.count, group.new, group.reused, group.process, group.step) == (2, 1, 1, "web", 2)
    assert group.offsets_s == pytest.approx((0.003, 0.0035))
    assert group.ended_ns == (at(703), at(703.5))
    assert group.sent_ns == (at(690.1), at(692.1))
    assert dict(group.outcomes) == {"closed-before-response": 1, "truncated": 1}
    assert dict(group.reached) == {"sent": 1, "in the body of the answer": 1}
    assert dict(group.errors) == {"ECONNRESET": 1, "EOF": 1}
    assert dict(group.statuses) == {"200": 1}
    assert dict(group.requests) == {"GET /items/{id}": 1, "POST /items": 1}


def test_nothing_dropped_makes_an_empty_book() -> None:
    drops = book_of(steady_run())
    assert (drops.groups, drops.faults) == ((), frozenset())


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["web.1", "web.2", "web.3", ""]),
            st.integers(500, 2000),
            st.integers(1, 400),
            st.sampled_from(OP_OUTCOMES),
            st.booleans(),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_every_dropped_request_is_in_exactly_one_group(asked: list[tuple[str, int, int, Outcome, bool]]) -> None:
    def stop(story: Story) -> None:
        for replica, begin, took, outcome, reused in asked:
            there = replica and outcome is not Outcome.UNAVAILABLE
            story.ask(replica, begin, begin + took, outcome if there else Outcome.REFUSED, **({"reused": reused} if there else {}))
        story.signal("web.1", 700)
        story.exit("web.1", 800)
        story.signal("web.2", 1500, purpose="kill")
        story.exit("web.2", 1501, 137)

    facts = Facts(stop_run(stop).history())
    groups = book(facts).groups
    rows = np.concatenate([group.rows for group in groups])
    assert sorted(rows) == sorted(facts.history.ops.last[facts.dropped])
    for group in groups:
        assert group.count == sum(times for _, times in group.outcomes) == sum(times for _, times in group.reached)
        if group.fault is not None and group.name != "unavailable":
            assert group.replica == group.fault.victim.replica
            assert group.ended_ns[0] >= group.fault.signal.at_ns


# --- disturbances

STEPS = {"pause": None, "network": ONE_CUT, "memory": ONE_SQUEEZE}
NAMED = {"pause": "dropped-while-paused", "network": "dropped-while-cut-off", "memory": "dropped-while-squeezed"}


def disturbed(what: str, begin: float, end: float, outcome: Outcome, replica: str = "web.1") -> Story:
    """web.1 lacks ``what`` from 700 to 1200; one request fails."""

    def tell(story: Story) -> None:
        story.ask(replica, begin, end, outcome)
        story.disturb("web.1", what, 700, 1200)

    steps = STEPS[what]
    return disturb_run(tell) if steps is None else disturb_run(tell, steps)


def name_of(story: Story) -> str:
    (group,) = book_of(story).groups
    return group.name


@pytest.mark.parametrize("what", NAMED)
@pytest.mark.parametrize("outcome", [Outcome.CLOSED, Outcome.TRUNCATED, Outcome.TIMEOUT])
@pytest.mark.parametrize(("begin", "end"), [(650, 701), (690, 1190), (800, 1300), (1150, 1250), (2150, 2180)])
def test_what_is_cut_on_a_replica_while_it_is_disturbed_or_within_a_second_after_is_called_so(
    what: str, outcome: Outcome, begin: float, end: float
) -> None:
    story = disturbed(what, begin, end, outcome)
    (group,) = book_of(story).groups
    assert (group.name, group.replica, group.step, group.fault) == (NAMED[what], "web.1", 2, None)
    assert group.disturbance is not None
    assert book_of(story).faults == {group.disturbance.number}


@pytest.mark.parametrize(("begin", "end", "replica"), [(600, 690, "web.1"), (2250, 2300, "web.1"), (690, 1190, "web.2")])
def test_what_is_cut_before_it_long_after_it_or_elsewhere_has_nothing_to_do_with_it(begin: float, end: float, replica: str) -> None:
    assert name_of(disturbed("pause", begin, end, Outcome.CLOSED, replica)) == "dropped-without-fault"


@pytest.mark.parametrize(("what", "name"), [("pause", NAMED["pause"]), ("network", NAMED["network"]), ("memory", "unavailable")])
def test_what_could_not_connect_to_a_replica_that_hangs_or_is_cut_off_is_dropped_by_that(what: str, name: str) -> None:
    assert name_of(disturbed(what, 710, 1210, Outcome.REFUSED)) == name


@pytest.mark.parametrize(("outcome", "name"), [(Outcome.ERROR, "errors"), (Outcome.REJECTED, "rejected"), (Outcome.WRONG, "wrong-answers")])
def test_an_answer_is_called_by_what_it_is_even_while_a_replica_is_disturbed(outcome: Outcome, name: str) -> None:
    assert name_of(disturbed("pause", 690, 1210, outcome)) == name


def test_of_a_disturbance_and_a_stop_soon_after_it_the_later_one_dropped_it() -> None:
    def both(story: Story) -> None:
        story.disturb("web.1", "pause", 300, 400)
        story.ask("web.1", 695, 702, Outcome.CLOSED)
        clean_stop(story)

    assert name_of(stop_run(both)) == "dropped-in-flight"
