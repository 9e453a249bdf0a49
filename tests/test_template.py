"""Templates of requests."""

from __future__ import annotations

import json
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clock import Dice
from harness.template import OF_STATE, PLACEHOLDERS, compile_json, compile_template, draw
from harness.words import MistakeError


def rendered(text: str, *, seed: int = 1, user: int = 3, seq: int = 9) -> str:
    template = compile_template(text)
    return template.render(draw(Dice(seed), template.names, user=user, seq=seq))


def rendered_json(value: object, *, seed: int = 1) -> object:
    template = compile_json(value)
    return json.loads(template.render(draw(Dice(seed), template.names, user=3, seq=9)))


def test_text_without_placeholders_is_itself() -> None:
    assert rendered("/items?x=100%&y=%20%s") == "/items?x=100%&y=%20%s"


def test_double_braces_are_literal_braces() -> None:
    assert rendered("{{uuid}} {{{seq}}}") == "{uuid} {9}"


def test_every_placeholder_becomes_what_its_doc_says() -> None:
    assert uuid.UUID(rendered("{uuid}")).version == 4
    assert uuid.UUID(rendered("{uuid}")).variant == uuid.RFC_4122
    assert 1 <= int(rendered("{id}")) <= 1000
    assert rendered("{int:5..5}") == "5"
    assert rendered("{int:-2..-1}") in ("-2", "-1")
    assert rendered("{choice:red|dark green}") in ("red", "dark green")
    assert rendered("{user}/{seq}") == "3/9"


def test_every_placeholder_of_the_registry_compiles_as_it_is_written() -> None:
    for name, placeholder in PLACEHOLDERS.items():
        assert compile_template(placeholder.written).names[0].partition(":")[0] == name


def test_one_placeholder_has_one_value_within_a_request() -> None:
    path, body = compile_template("/items/{uuid}/{uuid}"), compile_json({"name": "x-{uuid}"})
    values = draw(Dice(7), dict.fromkeys(path.names + body.names), user=0, seq=0)
    first, second = path.render(values).split("/")[2:]
    assert first == second
    assert json.loads(body.render(values)) == {"name": f"x-{first}"}


def test_two_ranges_are_two_placeholders() -> None:
    assert compile_template("{int:1..2}{int:1..3}{int:1..2}").names == ("int:1..2", "int:1..3")


@given(st.integers(0, 2**63))
def test_the_same_seed_makes_the_same_values(seed: int) -> None:
    text = "{uuid}{id}{int:1..9}{choice:a|b}"
    assert rendered(text, seed=seed) == rendered(text, seed=seed)
    assert uuid.UUID(rendered("{uuid}", seed=seed)).version == 4


def test_all_of_a_range_and_of_a_choice_comes_up() -> None:
    dice = Dice(1)
    names = ["int:1..3", "choice:a|b"]
    drawn = [draw(dice, names, user=0, seq=0) for _ in range(100)]
    assert {values["int:1..3"] for values in drawn} == {"1", "2", "3"}
    assert {values["choice:a|b"] for values in drawn} == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{uid}", 'unknown placeholder "{uid}" (did you mean "uuid"?); write {{ for a literal brace'),
        ("{}", 'unknown placeholder "{}"; write {{ for a literal brace'),
        ("{nothing like it}", 'unknown placeholder "{nothing like it}"; write {{ for a literal brace'),
        ('{"a": 1', 'a single { in "{"a": 1"; write {{ for a literal brace'),
        ("a}", 'a single } in "a}"; write }} for a literal brace'),
        ("{uuid:4}", 'the placeholder "{uuid:4}" takes nothing after its name'),
        ("{int}", 'the placeholder "{int}" needs a range: write {int:1..100}'),
        ("{int:a..b}", 'the placeholder "{int:a..b}" needs a range: write {int:1..100}'),
        ("{int:9..1}", 'the placeholder "{int:9..1}" has its range the wrong way round: write {int:1..9}'),
        ("{choice:}", 'the placeholder "{choice:}" needs what to choose from: write {choice:red|green|blue}'),
        ("{kept}", 'the placeholder "{kept}" needs the name of what was kept: write {kept:token}'),
        ("{kept:a b}", 'the placeholder "{kept:a b}" needs the name of what was kept: write {kept:token}'),
        ("{value:1}", 'the placeholder "{value:1}" takes nothing after its name'),
        ("{choice:a||b}", 'the placeholder "{choice:a||b}" needs what to choose from: write {choice:red|green|blue}'),
    ],
)
def test_a_wrong_template_is_told_in_words(text: str, message: str) -> None:
    with pytest.raises(MistakeError) as caught:
        compile_template(text)
    assert str(caught.value) == message


def test_a_text_that_is_only_a_number_becomes_a_number_in_json() -> None:
    value = rendered_json({"n": "{int:4..4}", "text": "{int:4..4}!", "seq": ["{seq}"], "uuid": "{uuid}"})
    assert isinstance(value, dict)
    assert (value["n"], value["text"], value["seq"]) == (4, "4!", [9])
    assert re.fullmatch(r"[0-9a-f-]{36}", value["uuid"])


def test_choices_are_escaped_in_json() -> None:
    assert rendered_json({"a": 'x{choice:"|"}\\'}) == {"a": 'x"\\'}


def test_where_a_page_begins_is_escaped_in_json_and_nothing_of_state_is_drawn() -> None:
    template = compile_json({"after": "{page}", "n": "{number}", "kept": "{kept:a}"})
    values = draw(Dice(1), template.names, user=0, seq=0)
    assert set(values.values()) == {""}
    assert json.loads(template.render(values | {"page": 'a"b\\', "number": "7"})) == {"after": 'a"b\\', "n": 7, "kept": ""}


@pytest.mark.parametrize("name", OF_STATE)
def test_placeholders_of_state_are_placeholders(name: str) -> None:
    assert compile_template(PLACEHOLDERS[name].written).names == (name,)


def test_keys_of_json_are_no_templates() -> None:
    assert rendered_json({"{uuid}": 1}) == {"{uuid}": 1}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def braced(value: object) -> object:
    """``value`` with all braces of its texts doubled."""
    if isinstance(value, str):
        return value.replace("{", "{{").replace("}", "}}")
    if isinstance(value, list):
        return [braced(item) for item in value]
    return {key: braced(item) for key, item in value.items()} if isinstance(value, dict) else value


@given(JSON_VALUES)
def test_json_without_placeholders_is_sent_as_it_is(value: object) -> None:
    assert rendered_json(braced(value)) == value


@given(st.text(), st.text())
def test_literals_survive_whatever_stands_in_them(before: str, after: str) -> None:
    escaped = [text.replace("{", "{{").replace("}", "}}") for text in (before, after)]
    assert rendered(f"{escaped[0]}{{seq}}{escaped[1]}") == f"{before}9{after}"
