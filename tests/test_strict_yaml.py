"""YAML without its traps."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ScenarioError
from harness.strict_yaml import MAX_BYTES, MAX_DEPTH, MAX_NODES, Document, Position, Problem, in_order, parse, path_text


def problems(content: str | bytes) -> list[str]:
    """All that is wrong with ``content``, without the file's name."""
    content = content.encode() if isinstance(content, str) else content
    try:
        found = [problem.line_of("f") for problem in in_order(parse(content, "f").problems)]
    except ScenarioError as error:
        found = error.problems
    assert all(line.startswith("f:") and "\n" not in line for line in found)
    return [line.removeprefix("f:") for line in found]


def read(content: str) -> object:
    document = parse(content.encode(), "f")
    assert not document.problems
    return document.data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        *((word, None) for word in ("~", "null", "Null", "NULL", "")),
        *((word, word) for word in ("on", "off", "yes", "no", "y", "n", "On", "YES", "tRue", "nuLL")),
        *((word, word) for word in ("22:22", "1:30:00", "2024-01-01", "1_000", "0b101", "0x", "0o8", "1e", ".", "+", "=", "<", "1.2.3")),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("010", 10),
        ("0o17", 15),
        ("0xff", 255),
        ("9223372036854775807", 2**63 - 1),
        ("1.5", 1.5),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("'5'", "5"),
        ('"true"', "true"),
        ('"\\u00e9"', "é"),
        ("|\n  5\n", "5\n"),
        (">-\n  a\n  b\n", "a b"),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(text: str, value: object) -> None:
    assert read(f"a: {text}") == {"a": value}
    assert type(read(f"a: {text}")["a"]) is type(value)  # type: ignore[index]  # a mapping, as the line above shows


@pytest.mark.parametrize("key", ["on", "yes", "22:22", "-", "'5'", '"null"', "a b", "?x"])
def test_keys_that_are_text_are_fine(key: str) -> None:
    assert len(parse(f"{key}: 1".encode(), "f").root.entries) == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", '4:3: b: the key "c" is here for the second time; the first is in line 3'),
        ("a: 1\n'a': 2\n", '2:1: the key "a" is here for the second time; the first is in line 1'),
        ("5: x", "1:1: a key must be text, not the number 5; put it in quotes"),
        ("a: {true: x}", "1:5: a: a key must be text, not true; put it in quotes"),
        ("~: x", "1:1: a key must be text, not nothing; put it in quotes"),
        ("? [a]\n: x", "1:3: a key must be text, not a mapping, a list or an alias; text that begins with { needs quotes"),
        ("a: {{b}: 1}", "1:5: a: a key must be text, not a mapping, a list or an alias; text that begins with { needs quotes"),
        ("a: &x b\n*x : 1", "2:1: a key must be text, not a mapping, a list or an alias; text that begins with { needs quotes"),
        ("b: &b {x: 1}\na:\n  <<: *b", "3:3: a: merge keys (<<) are not part of YAML 1.2; write the keys out"),
        (
            "a: !!python/object:os.system x",
            "1:4: a: the tag !!python/object:os.system is not allowed; YAML's core types are enough for a scenario",
        ),
        ("a: !!str 5", "1:4: a: the tag !!str is not allowed; YAML's core types are enough for a scenario"),
        ("a: !mine {b: 1}", "1:4: a: the tag !mine is not allowed; YAML's core types are enough for a scenario"),
        ("a: 1\n---\nb: 1\n", "2:1: a second document; a file holds one scenario, so remove this --- or split the file"),
        ("a: &a [*a]", "1:8: a[0]: the anchor &a contains itself"),
        ("a: &a\n  b: *a", "2:6: a.b: the anchor &a contains itself"),
        ("a: *nowhere", "1:4: a: the alias *nowhere has no anchor &nowhere before it"),
        ("", "1:1: the file is empty; `jetable schema` and docs/scenarios.md say what belongs in it"),
        ("# only\n# comments\n", "1:1: the file is empty; `jetable schema` and docs/scenarios.md say what belongs in it"),
        ("---\n", "1:1: the file is empty; `jetable schema` and docs/scenarios.md say what belongs in it"),
        ("a:\n\tb: 1\n", "2:1: a tab; indent with spaces"),
        ("a: [1,\n\t2]\n  b", "2:1: a tab; indent with spaces"),
        ("a: b: c", "1:5: not YAML: a colon where no key can stand; put text that holds ': ' in quotes, and indent keys alike"),
        ("a:\n  - GET /e\n    b: c\n", "3:6: not YAML: keys under text; write - request: GET /e in the line above"),
        ("a:\n  - GET /e?x={id}  # new\n    b: c\n", "3:5: not YAML: keys under text; write - request: GET /e?x={id} in the line above"),
        ("a: {b} c.py", "1:8: not YAML: text that begins with { needs quotes"),
        ("a: {b}/c", "1:7: not YAML: text that begins with { needs quotes"),
        ("a: {b: {c} d.py --e {f}, g: 1}", "1:12: not YAML: text that begins with { needs quotes"),
        ("- {a} -m b", "1:7: not YAML: text that begins with { needs quotes"),
        ("a: [b] c", "1:8: not YAML: text that begins with [ needs quotes"),
        ("a: 1\nb\nc: 2\n", "3:1: not YAML: a key without its colon"),
        ("a: @x", "1:4: not YAML: found character '@' that cannot start any token; put the text in quotes"),
        ("a: [1, 2", "1:9: not YAML: expected ',' or ']', but got '<stream end>' while parsing a flow sequence"),
        ("a: {b: x/{id}}", "1:10: not YAML: text that holds { or } needs quotes inside of { } and [ ]"),
        ("a: 'x", "1:6: not YAML: found unexpected end of stream while scanning a quoted scalar"),
        ('a: "\\q"', "1:6: not YAML: found unknown escape character 'q' while scanning a double-quoted scalar"),
        ('a: "\\UFFFFFFFF"', "1:7: an escape that names no character"),
        ('a: "\\ud800"', "1:4: a: half of a surrogate pair is not a character; write the whole character"),
        ("a: 1\nb: \x07", "2:4: the control character U+0007 is not allowed in YAML"),
        ("a: 9223372036854775808", "1:4: a: a whole number of more than 64 bits; put it in quotes if it is text"),
        ("a: " + "9" * 5000, "1:4: a: a whole number of more than 64 bits; put it in quotes if it is text"),
        ("a: .inf", '1:4: a: ".inf" is not a number that JSON can carry; put it in quotes if it is text'),
        ("a: .NaN", '1:4: a: ".NaN" is not a number that JSON can carry; put it in quotes if it is text'),
        ("a: -1e999", '1:4: a: "-1e999" is not a number that JSON can carry; put it in quotes if it is text'),
        ("%YAML 3.0\n---\na: 1", "1:1: not YAML: found incompatible YAML document (version 1.* is required)"),
        (b"a: caf\xe9", "1:7: not UTF-8 (byte 0xe9); save the file as UTF-8"),
        (b"a: 1\nb: \xff", "2:4: not UTF-8 (byte 0xff); save the file as UTF-8"),
        ("a: 1".encode("utf-16"), "1:1: not UTF-8 (byte 0xff); save the file as UTF-8"),
        (b"a: 1\x00", "1:5: the control character U+0000 is not allowed in YAML"),
    ],
)
def test_each_trap_is_told_with_its_place(content: str | bytes, expected: str) -> None:
    assert problems(content) == [expected]


def test_all_that_can_be_read_on_from_is_told_at_once() -> None:
    assert [line.split(": ", 1)[0] for line in problems("a: !!str 1\na: 2\n5: .inf\n")] == ["1:4", "2:1", "3:1", "3:4"]


def test_a_character_that_json_spells_as_a_pair_is_one_character() -> None:
    assert read('{"\\ud83d\\ude00": "\\ud83d\\ude00"}') == {"\N{GRINNING FACE}": "\N{GRINNING FACE}"}


def test_a_byte_order_mark_is_no_problem() -> None:
    assert parse(b"\xef\xbb\xbfa: 1", "f").data == {"a": 1}


def test_a_tab_inside_of_text_is_text() -> None:
    assert read('a: "x\ty"  \n') == {"a": "x\ty"}


def test_a_file_without_end_is_refused_before_it_is_read() -> None:
    assert problems(b"#" * (MAX_BYTES + 1)) == ["1:1: the file is larger than 1 MiB; a scenario is a page of text"]


def test_an_alias_is_the_value_that_it_stands_for() -> None:
    assert read("a: &x {b: [1, 2]}\nc: *x\nd: [*x]\ne: &y 5\nf: *y") == {
        "a": {"b": [1, 2]},
        "c": {"b": [1, 2]},
        "d": [{"b": [1, 2]}],
        "e": 5,
        "f": 5,
    }


def test_aliases_that_blow_up_are_refused() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 12))
    (line,) = problems(bomb)
    assert line.endswith(f"more than {MAX_NODES} values once its aliases are written out")
    assert line.startswith("4:")


def test_a_list_without_end_is_refused() -> None:
    (line,) = problems("a: [" + "x," * (MAX_NODES + 1) + "]")
    assert line.endswith(f"more than {MAX_NODES} values once its aliases are written out")


@pytest.mark.parametrize("content", ["[" * 5000, "{a: " * 5000, "".join(" " * depth + "a:\n" for depth in range(200)), "- " * 5000 + "x"])
def test_nesting_without_end_is_refused(content: str) -> None:
    (line,) = problems(content)
    assert line.endswith(f"nested deeper than {MAX_DEPTH} levels")


POSITIONS = """\
a: 1
list:
  - x
  - {b: 2, "c d": [3, 4]}
"""


@pytest.fixture
def document() -> Document:
    return parse(POSITIONS.encode(), "f")


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        ((), (1, 1), (1, 1)),
        (("a",), (1, 1), (1, 4)),
        (("list",), (2, 1), (3, 3)),
        (("list", 0), (3, 5), (3, 5)),
        (("list", 1, "b"), (4, 6), (4, 9)),
        (("list", 1, "c d", 1), (4, 23), (4, 23)),
    ],
)
def test_every_key_and_value_keeps_its_position(document: Document, path: tuple[str | int, ...], key: object, value: object) -> None:
    found = document.find(path)
    assert (found.path, found.key, found.value) == (path, key, value)


@pytest.mark.parametrize("path", [("list", 1, "nope"), ("list", 1, 0), ("list", 1, "nope", 3, "x")])
def test_a_path_that_leads_nowhere_is_followed_as_far_as_it_goes(document: Document, path: tuple[str | int, ...]) -> None:
    assert document.find(path).path == ("list", 1)
    assert document.find(path).value == (4, 5)


def test_a_path_reads_as_people_write_it() -> None:
    assert path_text(("load", "requests", 1, "POST /x", "a")) == 'load.requests[1]["POST /x"].a'
    assert path_text(()) == ""


def test_problems_come_in_the_order_of_the_file_each_once() -> None:
    late, early = Problem(Position(9, 1), (), "late"), Problem(Position(2, 5), ("a",), "early")
    assert in_order([late, early, late]) == [early, late]
    assert early.line_of("x.yaml") == "x.yaml:2:5: a: early"
    assert late.line_of("x.yaml") == "x.yaml:9:1: late"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=5), JSON_VALUES, min_size=1, max_size=3))
def test_json_is_yaml(value: dict[str, object]) -> None:
    assert read(json.dumps(value)) == value


@given(st.dictionaries(st.text("abc", min_size=1), st.lists(st.text("ab :#-'\"{}[]&*!|>%@`,?\n")), min_size=1, max_size=3))
def test_text_that_pyyaml_writes_is_read_back(value: dict[str, object]) -> None:
    assert read(yaml.safe_dump(value)) == value


@given(st.text("ab: -[]{}&*!|>'\"#%@\n\t0.,?<~\\", max_size=60))
def test_nonsense_is_told_and_never_a_crash(content: str) -> None:
    problems(content)


@given(st.binary(max_size=60))
def test_bytes_are_told_and_never_a_crash(content: bytes) -> None:
    problems(content)
