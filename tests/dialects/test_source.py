"""What stands in a file."""

from __future__ import annotations

import msgspec
import pytest

from harness.dialects.source import Source
from harness.dialects.values import WrongHistoryError


class Thing(msgspec.Struct, forbid_unknown_fields=True):
    """What the objects of these tests are."""

    a: int


def things(data: bytes) -> list[tuple[int, int]]:
    return [(number, thing.a) for number, thing in Source(data=data).objects(Thing)]


def test_objects_come_with_their_lines_and_those_of_a_list_with_their_numbers() -> None:
    assert things(b'{"a": 1}\r\n\n{"a": 2}') == [(1, 1), (3, 2)]
    assert things(b'[{"a": 1},\n\n{"a": 2}]') == [(1, 1), (2, 2)]
    assert things(b"") == []


@pytest.mark.parametrize(
    ("data", "line", "says"),
    [
        (b'{"a": 1}\n{"a"', 2, "it is cut off in the midst of a JSON object"),
        (b'[{"a": 1}', 0, "it is cut off"),
        (b'{"a": 1}\nhello', 2, "it is no JSON"),
        (b'{"a": "x"}', 1, "a: must be `int`, got `str`; see docs/histories.md"),
        (b'{"b": 1}', 1, "unknown field `b`"),
        (b"{}", 1, "missing required field `a`"),
        (b'{"a": 1}\n{"a": \xff}', 2, "it is no JSON"),
        (b'{"a": ' + b"[" * 100_000, 1, ""),
    ],
)
def test_what_is_no_such_object_is_refused_at_its_line(data: bytes, line: int, says: str) -> None:
    with pytest.raises(WrongHistoryError) as wrong:
        things(data)
    assert (wrong.value.line, says in str(wrong.value)) == (line, True), str(wrong.value)


def test_text_that_is_not_utf_8_is_refused_at_its_line() -> None:
    with pytest.raises(WrongHistoryError, match="not UTF-8") as wrong:
        Source(data=b"a\nb\xff").text()
    assert wrong.value.line == 2
    assert "b" in Source(data=b"b\xff").head()
