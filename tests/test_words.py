"""The wording of messages."""

from __future__ import annotations

import pytest

from harness.words import all_of, did_you_mean, one_of, quoted, shown


def test_the_nearest_name_is_offered() -> None:
    assert did_you_mean("comand", ["command", "replicas"]) == ' (did you mean "command"?)'


def test_a_name_in_other_letters_is_offered() -> None:
    assert did_you_mean("Post", ["GET", "POST"]) == ' (did you mean "POST"?)'


def test_nothing_is_offered_when_nothing_is_near() -> None:
    assert not did_you_mean("xyzzy", ["command", "replicas"])


def test_names_are_listed_as_people_write_them() -> None:
    assert one_of(["a"]) == '"a"'
    assert one_of(["a", "b", 3]) == '"a", "b" or 3'
    assert all_of(["a", "b"]) == '"a" and "b"'


def test_quoted_text_is_short_printable_and_one_line() -> None:
    assert quoted("a\tb\nc\x07") == '"a\\tb\\nc\\x07"'
    assert len(quoted("x" * 1000)) < 70


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "nothing"),
        (True, "true"),
        (5, "the number 5"),
        (1.5, "the number 1.5"),
        ("", "an empty text"),
        ("5", 'the text "5"'),
        ([], "an empty list"),
        ([1], "a list"),
        ({}, "an empty mapping"),
        ({"a": 1}, "a mapping"),
        (b"x", "\"b'x'\""),
    ],
)
def test_a_value_is_shown_as_its_author_wrote_it(value: object, words: str) -> None:
    assert shown(value) == words
