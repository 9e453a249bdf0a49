"""The outcome table covers every combination of evidence, and never calls a request unsent whose bytes left."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.outcome import IDEMPOTENT_METHODS, TABLE, Ending, Executed, Outcome, Reached, Row, Wire, classify, may_send_again, of_op

EVERY_WIRE = [
    Wire(reached=reached, ending=ending, reused=reused, status=status, as_expected=as_expected, stream=stream)
    for reached, ending, reused, status, as_expected, stream in product(
        Reached, Ending, (False, True), (0, 200, 302, 404, 429, 500, 503, 599), (False, True), (False, True)
    )
]

ATTEMPT_OUTCOMES = sorted({row.outcome for row in TABLE})
STREAM_OUTCOMES = [Outcome.ENDED, Outcome.CUT]
PLAIN_OUTCOMES = [outcome for outcome in ATTEMPT_OUTCOMES if outcome not in STREAM_OUTCOMES]

LAST_WORDS = [Outcome.OK, Outcome.REJECTED, Outcome.ERROR, Outcome.WRONG, Outcome.CLOSED, Outcome.TRUNCATED, Outcome.TIMEOUT]


def test_every_combination_of_evidence_has_a_row() -> None:
    for wire in EVERY_WIRE:
        assert isinstance(classify(wire), Row)


def test_every_row_is_the_first_for_some_evidence() -> None:
    assert {classify(wire).sentence for wire in EVERY_WIRE} == {row.sentence for row in TABLE}


def test_every_row_has_a_sentence_of_its_own() -> None:
    assert len({row.sentence for row in TABLE}) == len(TABLE)


def test_nothing_counts_as_surely_not_executed_once_a_byte_left() -> None:
    left = [wire for wire in EVERY_WIRE if wire.reached >= Reached.SENT]
    assert [wire for wire in left if classify(wire).executed is Executed.NO] == []


def test_nothing_counts_as_executed_without_a_whole_answer() -> None:
    cut = [wire for wire in EVERY_WIRE if wire.ending is not Ending.ANSWERED]
    assert [wire for wire in cut if classify(wire).executed is Executed.YES] == []


def test_only_a_whole_answer_as_expected_is_ok() -> None:
    for wire in EVERY_WIRE:
        assert (classify(wire).outcome is Outcome.OK) == (wire.ending is Ending.ANSWERED and wire.as_expected)


@given(st.integers(min_value=100, max_value=999))
def test_a_whole_answer_with_any_status_has_a_row(status: int) -> None:
    row = classify(Wire(reached=Reached.ANSWERED, ending=Ending.ANSWERED, status=status))
    assert row.outcome in {Outcome.REJECTED, Outcome.ERROR, Outcome.WRONG}


@pytest.mark.parametrize(
    ("wire", "outcome", "executed"),
    [
        (Wire(reached=Reached.NOTHING, ending=Ending.REFUSED), Outcome.REFUSED, Executed.NO),
        (Wire(reached=Reached.NOTHING, ending=Ending.TIMEOUT), Outcome.REFUSED, Executed.NO),
        (Wire(reached=Reached.CONNECTED, ending=Ending.CLOSED, reused=True), Outcome.STALE, Executed.NO),
        (Wire(reached=Reached.CONNECTED, ending=Ending.CLOSED), Outcome.REFUSED, Executed.NO),
        (Wire(reached=Reached.CONNECTED, ending=Ending.TIMEOUT, reused=True), Outcome.TIMEOUT, Executed.NO),
        (Wire(reached=Reached.SENT, ending=Ending.CLOSED, reused=True), Outcome.CLOSED, Executed.UNKNOWN),
        (Wire(reached=Reached.SENT, ending=Ending.TIMEOUT), Outcome.TIMEOUT, Executed.UNKNOWN),
        (Wire(reached=Reached.HEADERS, ending=Ending.CLOSED), Outcome.TRUNCATED, Executed.UNKNOWN),
        (Wire(reached=Reached.BODY, ending=Ending.CLOSED), Outcome.TRUNCATED, Executed.UNKNOWN),
        (Wire(reached=Reached.HEADERS, ending=Ending.GARBLED), Outcome.WRONG, Executed.UNKNOWN),
        (Wire(reached=Reached.ANSWERED, ending=Ending.ANSWERED, status=503), Outcome.REJECTED, Executed.UNKNOWN),
        (Wire(reached=Reached.ANSWERED, ending=Ending.ANSWERED, status=500), Outcome.ERROR, Executed.UNKNOWN),
        (Wire(reached=Reached.ANSWERED, ending=Ending.ANSWERED, status=404), Outcome.WRONG, Executed.YES),
        (Wire(reached=Reached.ANSWERED, ending=Ending.ANSWERED, status=503, as_expected=True), Outcome.OK, Executed.YES),
        (Wire(reached=Reached.CONNECTED, ending=Ending.LOAD_ENDED), Outcome.UNFINISHED, Executed.NO),
        (Wire(reached=Reached.BODY, ending=Ending.LOAD_ENDED), Outcome.UNFINISHED, Executed.UNKNOWN),
        (Wire(reached=Reached.BODY, ending=Ending.CLOSED, stream=True), Outcome.CUT, Executed.UNKNOWN),
        (Wire(reached=Reached.SENT, ending=Ending.CLOSED, stream=True), Outcome.CUT, Executed.UNKNOWN),
        (Wire(reached=Reached.CONNECTED, ending=Ending.CLOSED, stream=True), Outcome.REFUSED, Executed.NO),
        (Wire(reached=Reached.ANSWERED, ending=Ending.ENDED, stream=True), Outcome.ENDED, Executed.UNKNOWN),
        (Wire(reached=Reached.ANSWERED, ending=Ending.ANSWERED, status=503, stream=True), Outcome.REJECTED, Executed.UNKNOWN),
    ],
)
def test_the_table_says_what_the_design_says(wire: Wire, outcome: Outcome, executed: Executed) -> None:
    row = classify(wire)
    assert (row.outcome, row.executed) == (outcome, executed)


@given(st.sampled_from(TABLE), st.sampled_from(["POST", "PATCH"]), st.integers(0, 3))
def test_what_may_have_been_executed_is_never_sent_again_when_it_is_not_idempotent(row: Row, method: str, retries_left: int) -> None:
    if row.executed is not Executed.NO:
        assert not may_send_again(row, method=method, retries_left=retries_left)


@given(st.sampled_from(TABLE), st.sampled_from(sorted(IDEMPOTENT_METHODS)))
def test_without_retries_only_what_was_surely_not_executed_is_sent_again(row: Row, method: str) -> None:
    if may_send_again(row, method=method, retries_left=0):
        assert row.executed is Executed.NO


@given(st.sampled_from(TABLE), st.sampled_from(["GET", "POST"]), st.integers(0, 3))
def test_an_answered_or_unfinished_op_is_over(row: Row, method: str, retries_left: int) -> None:
    if row.outcome in {Outcome.OK, Outcome.WRONG, Outcome.UNFINISHED}:
        assert not may_send_again(row, method=method, retries_left=retries_left)


@given(st.lists(st.sampled_from(ATTEMPT_OUTCOMES)))
def test_an_op_that_was_not_closed_is_unfinished(attempts: list[Outcome]) -> None:
    assert of_op(attempts, closed=False) is Outcome.UNFINISHED


@given(st.booleans())
def test_an_op_without_attempts_is_unfinished(closed: bool) -> None:  # noqa: FBT001  drawn by hypothesis
    assert of_op([], closed=closed) is Outcome.UNFINISHED


@given(st.lists(st.sampled_from(ATTEMPT_OUTCOMES), min_size=1))
def test_an_op_is_dropped_exactly_when_its_last_attempt_was_not_answered_as_expected(attempts: list[Outcome]) -> None:
    assert of_op(attempts, closed=True).dropped == (attempts[-1] is not Outcome.OK)


@given(st.lists(st.sampled_from(ATTEMPT_OUTCOMES)), st.sampled_from(LAST_WORDS))
def test_earlier_attempts_never_change_a_failure(earlier: list[Outcome], last: Outcome) -> None:
    if last is not Outcome.OK:
        assert of_op([*earlier, last], closed=True) is last


@given(st.lists(st.sampled_from([Outcome.STALE])))
def test_an_op_that_only_met_stale_connections_is_ok(earlier: list[Outcome]) -> None:
    assert of_op([*earlier, Outcome.OK], closed=True) is Outcome.OK


@given(st.lists(st.sampled_from([Outcome.STALE, Outcome.REFUSED])), st.lists(st.sampled_from([Outcome.STALE, Outcome.REFUSED])))
def test_an_op_that_was_refused_and_then_answered_is_redirected(before: list[Outcome], after: list[Outcome]) -> None:
    assert of_op([*before, Outcome.REFUSED, *after, Outcome.OK], closed=True) is Outcome.REDIRECTED


@given(st.lists(st.sampled_from(ATTEMPT_OUTCOMES)), st.sampled_from(STREAM_OUTCOMES), st.lists(st.sampled_from(ATTEMPT_OUTCOMES)))
def test_a_stream_whose_connection_ended_and_that_went_on_was_resumed(before: list[Outcome], end: Outcome, after: list[Outcome]) -> None:
    assert of_op([*before, end, *after, Outcome.OK], closed=True) is Outcome.RESUMED


@given(
    st.lists(st.sampled_from(PLAIN_OUTCOMES)),
    st.sampled_from([Outcome.CLOSED, Outcome.TRUNCATED, Outcome.TIMEOUT, Outcome.REJECTED, Outcome.ERROR]),
    st.lists(st.sampled_from(PLAIN_OUTCOMES)),
)
def test_a_retry_stays_visible(before: list[Outcome], failure: Outcome, after: list[Outcome]) -> None:
    assert of_op([*before, failure, *after, Outcome.OK], closed=True) is Outcome.RETRIED


@given(st.lists(st.sampled_from(ATTEMPT_OUTCOMES)), st.sampled_from([Outcome.REFUSED, Outcome.STALE]))
def test_an_op_with_nowhere_left_to_go_is_unavailable(earlier: list[Outcome], last: Outcome) -> None:
    assert of_op([*earlier, last], closed=True) is Outcome.UNAVAILABLE


def test_redirected_retried_resumed_and_stale_are_not_dropped_and_everything_else_but_ok_is() -> None:
    kept = {outcome for outcome in Outcome if not outcome.dropped}
    assert kept == {Outcome.OK, Outcome.REDIRECTED, Outcome.RETRIED, Outcome.RESUMED, Outcome.STALE}
