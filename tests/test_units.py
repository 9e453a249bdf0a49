"""Durations, rates and sizes."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.units import (
    BYTES_PATTERN,
    DURATION_PATTERN,
    LONGEST_NS,
    MOST_BYTES,
    RATE_PATTERN,
    Duration,
    Rate,
    bytes_text,
    parse_bytes,
    percent_of,
    span,
)
from harness.words import MistakeError


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0s", 0),
        ("250ms", 250_000_000),
        ("10s", 10_000_000_000),
        ("1.5s", 1_500_000_000),
        ("1m30s", 90_000_000_000),
        ("2h", 7_200_000_000_000),
        ("1h1m1s1ms1us1ns", 3_661_001_001_001),
        ("24h", LONGEST_NS),
    ],
)
def test_a_duration_is_read_exactly(text: str, ns: int) -> None:
    assert Duration.parse(text).ns == ns
    assert re.fullmatch(DURATION_PATTERN, text)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (10, "needs a unit: write 10s or 10ms"),
        ("10", "needs a unit: write 10s or 10ms"),
        (0.5, "needs a unit: write 0.5s or 0.5ms"),
        ("", '"" is not a duration; write it as 250ms, 10s, 1m30s or 2h'),
        ("10 s", '"10 s" is not a duration; write it as 250ms, 10s, 1m30s or 2h'),
        ("30s1m", '"30s1m" is not a duration; write it as 250ms, 10s, 1m30s or 2h'),
        ("-1s", '"-1s" is not a duration; write it as 250ms, 10s, 1m30s or 2h'),
        ("10sec", '"10sec" is not a duration; write it as 250ms, 10s, 1m30s or 2h'),
        ("\N{ARABIC-INDIC DIGIT ONE}s", '"\N{ARABIC-INDIC DIGIT ONE}s" is not a duration; write it as 250ms, 10s, 1m30s or 2h'),
        ("25h", "25h is longer than 24h, the longest duration that a scenario may use"),
        (True, "must be a duration such as 10s or 250ms, not true"),
        (None, "must be a duration such as 10s or 250ms, not nothing"),
        (["1s"], "must be a duration such as 10s or 250ms, not a list"),
    ],
)
def test_what_is_no_duration_is_told_in_words(written: object, message: str) -> None:
    with pytest.raises(MistakeError) as caught:
        Duration.parse(written)
    assert str(caught.value) == message


@given(st.integers(min_value=0, max_value=LONGEST_NS))
def test_every_duration_reads_back_as_itself(ns: int) -> None:
    duration = Duration(ns=ns)
    assert Duration.parse(str(duration)) == duration
    assert re.fullmatch(DURATION_PATTERN, str(duration))


@given(st.integers(0, LONGEST_NS), st.integers(0, LONGEST_NS))
def test_durations_compare_and_hash_as_their_length(first: int, second: int) -> None:
    assert (Duration(ns=first) < Duration(ns=second)) == (first < second)
    assert len({Duration(ns=first), Duration(ns=first)}) == 1


def test_a_duration_is_spelled_as_people_do() -> None:
    for text in ("0s", "250ms", "1.5s", "1m30s", "1h", "1h30m", "10us", "7ns", "1m0.5s"):
        assert str(Duration.parse(text)) == text
    assert str(Duration.parse("90s")) == "1m30s"
    assert str(Duration.parse("1000ms")) == "1s"


def test_seconds_are_a_number() -> None:
    assert Duration.parse("250ms").s == 0.25
    assert not Duration.parse("0s")
    assert Duration.parse("1ns")


@pytest.mark.parametrize(("text", "per_s"), [("400/s", 400.0), ("20/m", 20 / 60), ("36/h", 0.01), ("0.5 / s", 0.5)])
def test_a_rate_is_a_number_a_second(text: str, per_s: float) -> None:
    assert Rate.parse(text).per_s == pytest.approx(per_s)
    assert re.fullmatch(RATE_PATTERN, text)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (400, "needs a unit: write 400/s"),
        ("400", "needs a unit: write 400/s"),
        ("400rps", '"400rps" is not a rate; write it as 400/s, 20/m or 100/h'),
        ("0/s", "0/s is not a rate above zero and up to 1000000/s"),
        ("9999999/s", "9999999/s is not a rate above zero and up to 1000000/s"),
        (False, "must be a rate such as 400/s, not false"),
    ],
)
def test_what_is_no_rate_is_told_in_words(written: object, message: str) -> None:
    with pytest.raises(MistakeError) as caught:
        Rate.parse(written)
    assert str(caught.value) == message


@given(st.decimals(min_value="0.000001", max_value=1_000_000, places=6), st.sampled_from("smh"))
def test_every_rate_reads_back_as_itself(count: object, unit: str) -> None:
    rate = Rate.parse(f"{count}/{unit}")
    assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize(
    ("text", "count"), [("100b", 100), ("512k", 1 << 19), ("64m", 1 << 26), ("64MB", 1 << 26), ("1.5g", 3 << 29), ("1kb", 1024)]
)
def test_a_size_is_read_in_powers_of_two(text: str, count: int) -> None:
    assert parse_bytes(text) == count
    assert re.fullmatch(BYTES_PATTERN, text)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (64, "needs a unit: write 64m or 64b"),
        ("64", "needs a unit: write 64m or 64b"),
        ("64 MiB", '"64 MiB" is not a size; write it as 512k, 64m or 1g'),
        ("5bb", '"5bb" is not a size; write it as 512k, 64m or 1g'),
        ("0m", "0m is not a size above zero and up to 1048576g"),
        ("9999999g", "9999999g is not a size above zero and up to 1048576g"),
        (True, "must be a size such as 64m or 1g, not true"),
    ],
)
def test_what_is_no_size_is_told_in_words(written: object, message: str) -> None:
    with pytest.raises(MistakeError) as caught:
        parse_bytes(written)
    assert str(caught.value) == message


@given(st.integers(min_value=1, max_value=MOST_BYTES))
def test_every_size_reads_back_as_itself(count: int) -> None:
    assert parse_bytes(bytes_text(count)) == count
    assert re.fullmatch(BYTES_PATTERN, bytes_text(count))


@pytest.mark.parametrize(("text", "share"), [("5%", Fraction(1, 20)), ("2.5 %", Fraction(1, 40)), ("0%", 0), ("1000%", 10)])
def test_per_cent_are_a_share_exactly(text: str, share: Fraction) -> None:
    assert percent_of(text) == share


@pytest.mark.parametrize("text", ["", "5", "%", "-5%", "+5%", ".5%", "5%%", " 5%", "five%", "1e3%", "\N{ARABIC-INDIC DIGIT FIVE}%"])
def test_what_is_no_per_cent_is_no_share(text: str) -> None:
    assert percent_of(text) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 ms"),
        (0.0004, "0.40 ms"),
        (0.01234, "12.3 ms"),
        (0.412, "412 ms"),
        (1.2149, "1.21 s"),
        (59.96, "60.0 s"),
        (-0.003, "-3.00 ms"),
    ],
)
def test_a_span_has_three_digits_and_a_unit(seconds: float, text: str) -> None:
    assert span(seconds) == text
