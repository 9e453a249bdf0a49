"""What an answer says, by a JSON path or a regular expression."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonpath import JSONPathEnvironment

from harness import extract
from harness.extract import Extractor
from harness.words import MistakeError


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("$.value", '{"value": "a-1"}', ["a-1"]),
        ("$.value", '{"value": 5}', ["5"]),
        ("$.value", '{"value": 5.0}', ["5"]),
        ("$.value", '{"value": -0.0}', ["0"]),
        ("$.value", '{"value": 5.25}', ["5.25"]),
        ("$.value", '{"value": 1e300}', ["1e+300"]),
        ("$.value", '{"value": 123456789012345678901234567890}', ["123456789012345678901234567890"]),
        ("$.value", '{"value": true}', ["true"]),
        ("$.value", '{"value": null}', [None]),
        ("$.value", '{"value": ""}', [""]),
        ("$.value", '{"value": "ä\\n"}', ["ä\n"]),
        ("$.value", '{"value": {"a": [1, "ä"]}}', ['{"a": [1, "ä"]}']),
        ("$.value", '{"other": 5}', []),
        ("$.value", "[5]", []),
        ("$.value", '"value"', []),
        ("$.value.length", '{"value": "abc"}', []),
        ("$", '"abc"', ["abc"]),
        ("$", '"[1]"', ["[1]"]),
        ("$", "7", ["7"]),
        ("$.a.b[0]", '{"a": {"b": ["x", "y"]}}', ["x"]),
        ("$.a[1]", '{"a": ["x"]}', []),
        ("$.a[-1]", '{"a": ["x", "y"]}', ["y"]),
        ("$.a[-3]", '{"a": ["x", "y"]}', []),
        ("$.a[0]", '{"a": {"0": "x"}}', []),
        ("$['a b']", '{"a b": 1}', ["1"]),
        ("$.items[*]", '{"items": ["x", null, 3]}', ["x", None, "3"]),
        ("$.items[*]", '{"items": {"a": 1, "b": 2}}', ["1", "2"]),
        ("$.items[*]", '{"items": []}', []),
        ("$.items[*]", '{"items": "text"}', []),
        ("$.items[*].id", '{"items": [{"id": 1}, {}, 5, {"id": "b"}]}', ["1", "b"]),
        ("$[*][*][0]", '[[[1], [2]], {"x": [3, 4]}]', ["1", "2", "3"]),
        ("$..id", '{"id": 1, "in": [{"id": 2}]}', ["1", "2"]),
        ("$[0, 2]", "[1, 2, 3]", ["1", "3"]),
        ("$[1:]", "[1, 2, 3]", ["2", "3"]),
        ("$[?@.ok == true].id", '[{"ok": true, "id": 1}, {"ok": false, "id": 2}]', ["1"]),
        ("$..x", '"{\\"x\\": 1}"', []),
    ],
)
def test_a_json_path_finds_what_rfc_9535_says(path: str, body: str, found: list[str | None]) -> None:
    assert list(Extractor(path).texts(body.encode()) or []) == found
    assert Extractor(path).texts(b"\xef\xbb\xbf" + body.encode()) is not None


@pytest.mark.parametrize("path", ["$", "$.a", "$..a", "$[*].a", "$.a[?@.b]"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<html>",
        b'{"a": 1',
        b'{"a": 1} x',
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b'"\xed\xa0\x80"',
        '{"a": 1}'.encode("utf-16"),
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"9" * 10_000,
    ],
    ids=range(14),
)
def test_what_can_not_be_read_is_none_and_never_raises(path: str, body: bytes) -> None:
    assert Extractor(path).texts(body) is None
    assert Extractor(path).text(body) == (False, None)


@pytest.mark.parametrize("path", ["$", "$.a", "$..a", "$[*]", "$[0][0]"])
@pytest.mark.parametrize("depth", [90, 150, 500, 900])
def test_deep_nesting_never_raises(path: str, depth: int) -> None:
    for body in (b'{"a":' * depth + b"1" + b"}" * depth, b"[" * depth + b"1" + b"]" * depth):
        found = Extractor(path).texts(body)
        assert found is None or all(isinstance(text, str) for text in found)


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("$.a", b'{"a": "x"}', (True, "x")),
        ("$.a", b'{"a": null}', (True, None)),
        ("$.a", b"{}", (True, None)),
        ("$.a", b"", (False, None)),
        ("$[*]", b"[1, 2]", (False, None)),
        ("$[*]", b"[1]", (True, "1")),
        ("$[*]", b"[null, null]", (False, None)),
    ],
)
def test_a_single_value_is_told_from_none_and_from_several(path: str, body: bytes, told: tuple[bool, str | None]) -> None:
    assert Extractor(path).text(body) == told


@pytest.mark.parametrize(
    ("written", "body", "found"),
    [
        ("regex:[0-9]+", b"a 12 b 3", ["12", "3"]),
        ("regex:count=([0-9]+)", b"count=12 count=3", ["12", "3"]),
        ("regex:count=(?:a|b)([0-9]+)", b"count=b12", ["12"]),
        ("regex: count=([a-z]*)", b"count=", [""]),
        ("regex:(?P<v>x+)", b"axx", ["xx"]),
        ("regex:a(b)?", b"a", [None]),
        ("regex:(.*)", b"abc", ["abc"]),
        ("regex:(.*)", b"abc\n", ["abc"]),
        ("regex:(.*)", b"", []),
        ("regex:none", b"abc", []),
        ("regex:.+", "ä€".encode(), ["ä€"]),
        ("regex:.+", b"\xff", None),
        ("regex:.+", b"\xed\xa0\x80", None),
    ],
)
def test_a_regular_expression_finds_its_group_or_all_that_it_matches(written: str, body: bytes, found: list[str | None] | None) -> None:
    assert Extractor(written).texts(body) == found


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("value", '"value" is neither a JSON path, such as $.value, nor begins with regex:'),
        ("", '"" is neither a JSON path, such as $.value, nor begins with regex:'),
        (" $.a", '" $.a" is neither a JSON path, such as $.value, nor begins with regex:'),
        ("$.", '"$." is no JSON path (RFC 9535): expected a shorthand selector'),
        ("$a", "\"$a\" is no JSON path (RFC 9535): unexpected token 'a'"),
        ("$.a | $.b", "\"$.a | $.b\" is no JSON path (RFC 9535): unexpected token '|'"),
        ("$[99999999999999999999]", '"$[99999999999999999999]" is no JSON path (RFC 9535): index out of range'),
        ("regex:", 'needs a regular expression behind regex:, such as "regex:count=([0-9]+)"'),
        ("regex:(", '"(" is no regular expression: missing ), unterminated subpattern at position 0'),
        ("regex:(a)(b)", '"(a)(b)" has 2 groups; let one of them hold the value, and write the others as (?:…)'),
    ],
)
def test_what_is_neither_is_told_in_a_sentence(written: str, told: str) -> None:
    with pytest.raises(MistakeError) as raised:
        Extractor(written)
    assert str(raised.value) == told


@pytest.mark.parametrize("written", ["$[?" + "(" * 5000, "regex:" + "(" * 5000, "regex:(?:a){99999999999999999999}"])
def test_what_nobody_writes_is_a_mistake_and_no_crash(written: str) -> None:
    with pytest.raises(MistakeError):
        Extractor(written)


def test_paths_that_find_one_value_at_most_are_known() -> None:
    assert [
        path for path in ("$", "$.a", "$.a[0]['b']", "$[*]", "$..a", "$[0, 1]", "$[0:1]", "regex:a") if Extractor(path).at_most_one
    ] == [
        "$",
        "$.a",
        "$.a[0]['b']",
    ]


def test_what_a_library_finds_wrong_with_an_answer_is_an_answer_that_can_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JSONPathEnvironment, "max_recursion_depth", 1)
    assert Extractor("$..a").texts(b'{"b": {"b": {"a": 1}}}') is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab[]{}", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "0"]), inner, max_size=3),
    max_leaves=12,
)
STEPS = st.lists(st.sampled_from([".a", ".b", "['0']", "[0]", "[1]", "[-1]", "[-2]", "[*]", ".*"]), max_size=5)


@pytest.mark.slow
@given(VALUES, STEPS)
def test_plain_paths_find_what_the_library_finds(value: object, steps: list[str]) -> None:
    path = JSONPathEnvironment(strict=True).compile("$" + "".join(steps))
    assert extract._steps(path) is not None  # type: ignore[arg-type]  # no union of paths
    expected = path.findall(value) if isinstance(value, dict | list) else [] if steps else [value]
    found = Extractor(str(path)).texts(json.dumps(value).encode())
    assert found == [each if each is None or isinstance(each, str) else json.dumps(each) for each in expected]


@given(st.binary(max_size=40), st.sampled_from(["$", "$.a", "$..a", "$[*]", "$[?@ > 1]", "regex:(a)?", "regex:.*"]))
def test_bytes_of_any_kind_are_no_crash(body: bytes, written: str) -> None:
    found = Extractor(written).texts(body)
    assert found is None or all(text is None or text.encode() is not None for text in found)


def test_a_value_that_must_be_there_may_be_null_and_not_missing() -> None:
    extractor = Extractor("$.value")
    assert extractor.text(b'{"value": null}', must=True) == (True, None)
    assert extractor.text(b'{"valeu": 3}', must=True) == (False, None)
    assert extractor.text(b'{"valeu": 3}') == (True, None)
