"""Values and their texts."""

from __future__ import annotations

import pytest

from harness.dialects.values import Char, Elements, Keyword, OfKey, Symbol, Tagged, elements_of, pair_of, text_of, whole_number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nil"),
        (True, "true"),
        (3, "3"),
        (-1, "-1"),
        (0.5, "0.5"),
        (float("inf"), "##Inf"),
        (float("-inf"), "##-Inf"),
        (float("nan"), "##NaN"),
        ("w3", "w3"),
        ("3", '"3"'),
        ("nil", '"nil"'),
        ("true", '"true"'),
        ("", '""'),
        ("two words", '"two words"'),
        (Keyword(":a"), ":a"),
        (":a", '":a"'),
        (Symbol("x"), "'x"),
        (Char("c"), "\\c"),
        ((1, "a"), "[1 a]"),
        ([1, None], "[1 nil]"),
        (Elements((2, 1)), "#{1 2}"),
        ({Keyword(":b"): 1, Keyword(":a"): None}, "{:a nil, :b 1}"),
        (Tagged(tag="inst", value="2020"), '#inst "2020"'),
        (OfKey(key=1, value=2), "[1 2]"),
    ],
)
def test_each_value_has_a_text_of_its_own(value: object, text: str) -> None:
    assert text_of(value) == text


def test_a_set_is_the_same_in_any_order_and_a_list_is_not() -> None:
    assert text_of(Elements((1, 2))) == text_of(Elements((2, 1)))
    assert text_of((1, 2)) != text_of((2, 1))


def test_pairs_elements_and_whole_numbers_are_told_from_the_rest() -> None:
    assert pair_of((1, 2)) == (1, 2)
    assert pair_of(Elements((1, 2))) is None
    assert pair_of("ab") is None
    assert elements_of([1]) == (1,)
    assert elements_of("ab") is None
    assert [whole_number(value) for value in (3, 3.0, 3.5, True, "3")] == [3, 3, None, None, None]
