"""Figures of a bench in words."""

from __future__ import annotations

import pytest

from harness.benches import CONDITIONS, Unit
from harness.report.figures import WHEN, amount, are_shown, cases_of, factor_text, interval_text, label_of, relations_of
from harness.statistics import Effect, Interval
from tests.report.benches_made_up import TEN, bench, scaled, series, variant


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.41234, "s", "412 ms"),
        (12_340.4, "count", "12 340"),
        (512, "bytes", "512 B"),
        (61.24 * 2**20, "bytes", "61.2 MiB"),
        (3 * 2**30, "bytes", "3.00 GiB"),
    ],
)
def test_amounts_have_three_digits_or_are_whole(value: float, unit: Unit, words: str) -> None:
    assert amount(value, unit) == words


def test_the_unit_of_an_interval_is_said_once_where_both_ends_share_it() -> None:
    assert interval_text(Interval(low=0.408, high=0.415), "s") == "408 to 415 ms"
    assert interval_text(Interval(low=0.98, high=1.21), "s") == "980 ms to 1.21 s"
    assert interval_text(Interval(low=12_340, high=13_000), "count") == "12 340 to 13 000"
    assert interval_text(None, "s") == "-"


@pytest.mark.parametrize(("value", "words"), [(0.01234, "0.012"), (0.991, "0.99"), (1.8, "1.80"), (23.45, "23.4"), (1234.5, "1234")])
def test_factors_are_short(value: float, words: str) -> None:
    assert factor_text(value) == words


def an_effect(low: float, high: float, p_value: float) -> Effect:
    return Effect(ratio=(low + high) / 2, interval=Interval(low=low, high=high), p_value=p_value, base_count=10, new_count=10, paired=True)


def test_a_difference_is_shown_only_by_interval_and_rank_test_together() -> None:
    assert are_shown([an_effect(1.1, 1.3, 0.001)]) == (True,)
    assert are_shown([an_effect(0.9, 1.3, 0.001)]) == (False,)
    assert are_shown([an_effect(1.1, 1.3, 0.2)]) == (False,)
    assert are_shown([None]) == (False,)


def test_of_many_comparisons_each_must_be_surer() -> None:
    assert are_shown([an_effect(1.1, 1.3, 0.04)]) == (True,)
    assert are_shown([an_effect(1.1, 1.3, 0.04)] * 3) == (False,) * 3


def test_every_condition_is_a_part_of_a_sentence() -> None:
    assert set(WHEN) == set(CONDITIONS)


def test_cases_stand_in_the_order_of_conditions() -> None:
    mixed = [series(TEN, under="at-once", at_once=4), series(TEN, under="at-once", at_once=2), series(TEN, under="load"), series(TEN)]
    assert [(case.under, case.at_once) for case in cases_of(variant(*mixed, attempts=()))] == [
        ("idle", 1),
        ("load", 1),
        ("at-once", 2),
        ("at-once", 4),
    ]


def test_a_label_is_no_longer_than_it_must_be() -> None:
    one = variant(series(TEN))
    assert [label_of(bench(one), one, case) for case in cases_of(one)] == ["web"]
    two = variant(series(TEN), series(TEN, under="kill"))
    assert [label_of(bench(two), two, case) for case in cases_of(two)] == ["web (nothing else on)", "web (after SIGKILL)"]


def test_the_same_condition_is_compared_and_no_other() -> None:
    base = variant(series(TEN), series(TEN, under="load"), name="base")
    new = variant(series(scaled(2), under="load"), series(TEN, under="kill"), name="new", attempts=())
    (line,) = relations_of(bench(base, new))
    assert line.startswith("new starts 2.00 times (")
    assert line.endswith(" slower than base, under load")


def test_a_bench_of_one_variant_or_none_relates_nothing() -> None:
    assert relations_of(bench(variant(series(TEN)))) == ()
    assert relations_of(bench()) == ()
