"""Verdicts merge by taking the worst; of nothing at all the verdict is unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ExitCode
from harness.verdict import Verdict, exit_code, worst

VERDICTS = st.sampled_from(list(Verdict))


def test_pass_is_better_than_unknown_and_unknown_better_than_fail() -> None:
    assert Verdict.PASS < Verdict.UNKNOWN < Verdict.FAIL


def test_the_worst_of_nothing_is_unknown() -> None:
    assert worst([]) is Verdict.UNKNOWN


@given(st.lists(VERDICTS, min_size=1))
def test_the_worst_is_one_of_them_and_none_is_worse(verdicts: list[Verdict]) -> None:
    assert worst(verdicts) in verdicts
    assert all(verdict <= worst(verdicts) for verdict in verdicts)


@given(st.lists(VERDICTS, min_size=1), VERDICTS)
def test_one_more_finding_never_makes_it_better(verdicts: list[Verdict], more: Verdict) -> None:
    assert worst([*verdicts, more]) >= worst(verdicts)


@given(st.lists(VERDICTS, min_size=1), st.lists(VERDICTS, min_size=1))
def test_merging_does_not_depend_on_order_or_grouping(left: list[Verdict], right: list[Verdict]) -> None:
    assert worst([*left, *right]) is worst([worst(right), worst(left)])


@given(st.lists(VERDICTS))
def test_a_pass_needs_at_least_one_pass_and_nothing_else(verdicts: list[Verdict]) -> None:
    assert (worst(verdicts) is Verdict.PASS) == (bool(verdicts) and set(verdicts) == {Verdict.PASS})


@pytest.mark.parametrize(
    ("verdict", "code", "word"),
    [(Verdict.PASS, ExitCode.PASSED, "pass"), (Verdict.UNKNOWN, ExitCode.UNKNOWN, "unknown"), (Verdict.FAIL, ExitCode.FAILED, "fail")],
)
def test_each_verdict_has_its_exit_code_and_its_word(verdict: Verdict, code: ExitCode, word: str) -> None:
    assert exit_code(verdict) is code
    assert verdict.word == word
