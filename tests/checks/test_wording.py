"""How findings say numbers."""

from __future__ import annotations

import pytest

from harness.checks import wording


def test_offsets_have_a_sign_and_a_range_of_equal_ones_is_one() -> None:
    assert wording.offset(0.003) == "+3.00 ms"
    assert wording.offset(-0.003) == "-3.00 ms"
    assert wording.between(-0.001, 0.25) == "-1.00 ms to +250 ms"
    assert wording.between(0.25, 0.25) == "+250 ms"


@pytest.mark.parametrize(("share", "text"), [(0.0, "0 %"), (0.0001, "under 0.1 %"), (0.0247, "2.5 %"), (0.5, "50 %"), (1.0, "100 %")])
def test_a_share_that_is_not_zero_never_reads_as_zero(share: float, text: str) -> None:
    assert wording.percent(share) == text


def test_counts_agree_with_their_noun() -> None:
    assert wording.count(1, "request") == "1 request"
    assert wording.count(12_340, "request") == "12 340 requests"
    assert wording.count(2, "process", "processes") == "2 processes"


def test_long_lists_are_cut_and_say_so() -> None:
    assert wording.listed(["a"]) == "a"
    assert wording.listed(["a", "b", "c"]) == "a, b and c"
    assert wording.listed(list("abcdefg")) == "a, b, c, d and 3 more"
    assert wording.some(["x"] * 3, most=3) == ("x", "x", "x")
    assert wording.some(["x"] * 10, most=3) == ("x", "x", "… and 8 more")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.25, "s", "250 ms"), (0.25, "share", "25 %"), (12.34, "per_s", "12.3/s"), (143.0, "status", "143"), (1234.0, "count", "1 234")],
)
def test_a_sample_is_said_in_its_unit(value: float, unit: str, text: str) -> None:
    assert wording.number(value, unit) == text


def test_one_value_of_many_is_told_only_when_all_are_alike() -> None:
    assert wording.only(["web.1", "web.1"], "") == "web.1"
    assert wording.only(["web.1", "web.2"], "") == ""
    assert wording.only([], -1) == -1
