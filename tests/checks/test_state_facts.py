"""How lines become operations, what is unread and unheard, and what a kill cuts."""

from __future__ import annotations

import numpy as np
import pytest

from harness.checks import CHECKS
from harness.checks.facts import Facts
from harness.checks.state_facts import AT_THE_END, StateFacts, Worked
from harness.monitors.calls import NEVER, NOTHING, Calls, Ended, F
from harness.outcome import Outcome
from harness.state_history import FAIL, StateAsked
from tests.checks.build import ONE_KILL, ONE_PAUSE, ONE_TERMINATE, at, samples
from tests.checks.build_state import (
    COUNTER,
    CUT,
    KEYLESS,
    LOOKS,
    ONE,
    SET,
    THREE,
    TWO,
    StateStory,
    cut,
    everywhere,
    fine,
    state_run,
)


def worked(story: StateStory) -> Worked:
    (found,) = StateFacts(Facts(story.history())).workloads
    return found


def texts(calls: Calls, row: int) -> list[str]:
    return [calls.value(int(code)) for code in calls.items_of(row)]


def test_operations_have_their_arguments_answers_and_instants() -> None:
    calls = worked(state_run(fine)).calls
    assert [F(code).name for code in calls.f] == ["READ", "WRITE", "READ", "CAS", "CAS", "WRITE", "READ", "READ", "READ"]
    assert [calls.value(int(code)) for code in calls.result[[0, 2, 6, 7, 8]]] == ["nil", "1", "4", "4", "4"]
    assert [calls.value(int(code)) for code in (calls.arg[3], calls.arg2[3])] == ["1", "2"]
    assert (calls.call_ns[1], calls.ret_ns[1]) == (at(200), at(205))
    assert [Ended(code).name for code in calls.ended] == ["OK"] * 4 + ["FAIL"] + ["OK"] * 4
    assert set(calls.keys) == {"things/0"}


def test_reads_at_the_end_are_those_of_a_session_for_each_replica_and_the_store() -> None:
    found = worked(state_run(fine, store=True))
    assert [found.calls.sessions[code] for code in found.calls.session[found.final]] == [f"{AT_THE_END} {n}" for n in (1, 2, 3)]
    assert [found.calls.replicas[code] for code in found.calls.replica[found.final]] == [ONE, TWO, "postgres"]
    assert found.settled_s == pytest.approx(0.005)


def test_an_operation_without_an_answer_may_have_happened() -> None:
    calls = worked(state_run(lambda story: story.put(ONE, 200, 1, answered=False))).calls
    assert (Ended(calls.ended[0]), calls.ret_ns[0], calls.replica[0]) == (Ended.INFO, NEVER, -1)


def test_a_read_that_was_not_understood_or_not_good_proves_nothing() -> None:
    def story(story: StateStory) -> None:
        story.read(ONE, 200, 1, there=False, error="not JSON")
        story.read(ONE, 220, 1, outcome=Outcome.ERROR)

    found = worked(state_run(story))
    assert found.calls.result.tolist() == [NOTHING, NOTHING]
    assert found.unheard == (1, "not JSON")


def test_a_refused_operation_did_not_happen() -> None:
    calls = worked(state_run(lambda story: story.put(ONE, 200, 1, ended=FAIL, error="status 409"))).calls
    assert Ended(calls.ended[0]) is Ended.FAIL


def test_a_counter_that_is_not_there_has_counted_nothing_and_a_text_is_no_number() -> None:
    def story(story: StateStory) -> None:
        story.do("add", ONE, 190)
        story.read(ONE, 200)
        story.count(ONE, 220, 7)
        story.count(ONE, 240, "7.5")

    found = worked(state_run(story, **COUNTER))
    assert found.calls.arg.tolist() == [1, NOTHING, NOTHING, NOTHING]
    assert found.calls.result.tolist() == [NOTHING, 0, 7, NOTHING]
    assert found.unheard == (1, 'the text "7.5" is no whole number')


def test_an_element_that_is_asked_for_is_there_or_not() -> None:
    def story(story: StateStory) -> None:
        story.do("add", ONE, 190, 1)
        story.look(ONE, 200, 1, there=True)
        story.look(TWO, 220, 1, there=False)

    assert worked(state_run(story, operations=LOOKS, **SET)).calls.result.tolist() == [NOTHING, 1, 0]


def test_where_no_request_names_a_key_what_others_put_there_is_left_out() -> None:
    def story(story: StateStory) -> None:
        story.do("add", ONE, 190, 1)
        story.do("read", ONE, 200, items=(1, "theirs"))

    found = worked(state_run(story, operations=KEYLESS, **SET))
    assert (texts(found.calls, 1), found.foreign) == (["1"], 1)


def test_where_requests_name_a_key_a_strange_value_is_one() -> None:
    def story(story: StateStory) -> None:
        story.do("add", ONE, 190, 1)
        story.do("read", ONE, 200, items=(1, "theirs"))

    found = worked(state_run(story, **SET))
    assert (texts(found.calls, 1), found.foreign) == (["1", "“theirs”"], 0)


def test_only_the_last_round_is_final_and_the_earlier_ones_are_reads_before_it() -> None:
    def story(story: StateStory) -> None:
        story.put(ONE, 200, 1)
        story.ends({ONE: 1, TWO: "status 500"})
        story.ends(everywhere(1), number=2)

    found = worked(state_run(story))
    assert (len(found.earlier), len(found.before), len(found.final), found.unread) == (1, 1, 2, ())
    assert len(found.told) == 4
    assert found.attempts.tolist() == [1, 1, 1, 1]


def test_who_could_not_be_read_in_the_last_round_is_named_once() -> None:
    def story(story: StateStory) -> None:
        story.ends({ONE: 1, TWO: "status 500", "": "no such table"})
        story.ends({ONE: 1, TWO: "status 500"}, key=1)

    assert worked(state_run(story, store=True, keys=2)).unread == ((TWO, "status 500"), ("postgres", "no such table"))


def test_a_client_that_lost_answers_goes_on_as_another_session() -> None:
    def story(story: StateStory) -> None:
        story.put(ONE, 200, 1)
        story.put(ONE, 220, 2, session=1)
        story.put(ONE, 240, 3, session=2)

    assert list(worked(state_run(story)).calls.sessions) == ["client 1", "client 1, after 1 lost answer", "client 1, after 2 lost answers"]


def test_what_the_harness_itself_wrote_has_a_key_and_a_session_of_its_own() -> None:
    def story(story: StateStory) -> None:
        story.lines.append(StateAsked(op=-1, at_ns=at(200), workload="things", f="write", key=-2, client=-2, value="000000-2000000001"))

    calls = worked(state_run(story)).calls
    assert (calls.keys[calls.key[0]], calls.sessions[calls.session[0]]) == ("things/probe 2", "the harness, probe 2")


def test_faults_disturbances_and_starts_are_moments_of_a_proof() -> None:
    facts = StateFacts(Facts(state_run(cut, ONE_KILL).history()))
    assert [(moment.text, moment.replica) for moment in facts.moments if moment.fault] == [("SIGKILL", ONE)]
    assert (THREE, "start") in {(moment.replica, moment.text) for moment in facts.moments}

    def pause(story: StateStory) -> None:
        story.disturb(ONE, "pause", 700, 1200)

    told = StateFacts(Facts(state_run(pause, ONE_PAUSE).history())).moments
    (paused,) = [moment for moment in told if moment.fault]
    assert (paused.text, paused.at_ns) == ("pause", at(700))
    assert paused.until_ns >= at(1200)


# --- what a kill cuts -------------------------------------------------------------------------------------------------------


def test_what_a_kill_cut_is_not_dropped() -> None:
    story = state_run(cut, ONE_KILL)
    assert int(np.count_nonzero(Facts(story.history()).cut_by_kill)) == 1
    assert samples(story.history(), "dropped_requests") == [0.0]


def test_the_same_cut_by_sigterm_is_dropped() -> None:
    story = state_run(lambda story: cut(story, kill=False), ONE_TERMINATE)
    assert not Facts(story.history()).cut_by_kill.any()
    assert samples(story.history(), "dropped_requests") == [1.0]
    assert {each.name for each in CHECKS["requests"](story.history())} >= {"dropped-in-flight"}


def _killed(tell: StateStory, **changes: object) -> None:
    given = {"replica": ONE, "begin": 695.0, "took": 5.5, "outcome": CUT, **changes}
    tell.put(given.pop("replica"), given.pop("begin"), 2, **given)  # type: ignore[arg-type]  # a test changes any of them
    tell.kill()
    tell.ends({TWO: 0, THREE: 0})


@pytest.mark.parametrize(
    "changes",
    [{"replica": TWO}, {"begin": 690.0, "took": 5}, {"begin": 860.0}, {"outcome": Outcome.ERROR}],
    ids=["at another replica", "before it", "when another one had its place", "answered badly"],
)
def test_what_a_kill_did_not_cut_is_dropped(changes: dict[str, object]) -> None:
    story = state_run(lambda story: _killed(story, **changes), ONE_KILL)
    assert not Facts(story.history()).cut_by_kill.any()
    assert samples(story.history(), "dropped_requests") == [1.0]


def test_what_a_kill_cut_of_users_is_dropped() -> None:
    def users(story: StateStory) -> None:
        story.ask(ONE, 695, 700.5, CUT)
        cut(story)

    story = state_run(users, ONE_KILL)
    assert samples(story.history(), "dropped_requests") == [1.0]
