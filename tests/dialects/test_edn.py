"""EDN: what the notation says, at which line, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.dialects.edn import DEEPEST, forms, one_line
from harness.dialects.values import Elements, OfKey, Tagged, WrongHistoryError, text_of


@pytest.mark.parametrize(
    ("written", "texts"),
    [
        ("nil true false", ["nil", "true", "false"]),
        ("0 -3 +3 3N 0x1F", ["0", "-3", "3", "3", "31"]),
        ("0.5 -1.5e3 3. 1.5M 4/2 1/2", ["0.5", "-1500.0", "3.0", "'1.5M", "2", "'1/2"]),
        ("##Inf ##-Inf ##NaN", ["##Inf", "##-Inf", "##NaN"]),
        (":a :a/b :timed-out foo", [":a", ":a/b", ":timed-out", "'foo"]),
        (r'"a\nb" "\u0041" "\101" "" "say \"x\""', ['"a\\nb"', "A", "A", '""', '"say \\"x\\""']),
        (r"\a \newline \space \u0041 \( \o101", ["\\a", "\\\n", "\\ ", "\\A", "\\(", "\\A"]),
        ("[1, 2] (1 2) #{1 2} {:a 1}", ["[1 2]", "[1 2]", "#{1 2}", "{:a 1}"]),
        ("[] () #{} {}", ["[]", "[]", "#{}", "{}"]),
        ("1 ; a comment\n2", ["1", "2"]),
        ("1 #_ 2 3 #_ [4 5]", ["1", "3"]),
        ("#_ #_ 1 2 3", ["3"]),
        ("[#_ 1]", ["[]"]),
        ('#inst "2020" #object[Foo 0x12 "x"]', ['#inst "2020"'.replace("\\", ""), "#object ['Foo 18 x]"]),
        ("#jepsen.history.Op{:f :read}", ["{:f :read}"]),
        ("#knossos.op.Op {:f :read}", ["{:f :read}"]),
        ("#:x{:f 1}", ["{:f 1}"]),
        ("{{:a 1} 2}", ['{"{:a 1}" 2}']),
        ("{[1 2] 3, #{} 4}", ["{#{} 4, [1 2] 3}"]),
        ("", []),
        (" ,, \n", []),
    ],
)
def test_what_is_written_is_read(written: str, texts: list[str]) -> None:
    assert [text_of(value) for value in one_line(written)] == texts


def test_what_one_vector_or_list_around_everything_holds_comes_one_by_one_with_its_line() -> None:
    assert list(forms("; c\n[1\n 2\n\n {:a\n 3}]")) == [(2, 1), (3, 2), (5, {":a": 3})]
    assert list(forms("(1 [2])")) == [(1, 1), (1, (2,))]
    assert list(forms("{:a 1}\n{:a 2}\n")) == [(1, {":a": 1}), (2, {":a": 2})]
    assert list(forms("1 [2]")) == [(1, 1), (1, 2)]


def test_tags_that_have_a_meaning_here_are_taken_for_what_they_are() -> None:
    assert one_line("#jepsen.independent.Tuple [1 nil]") == [OfKey(key=1, value=None)]
    assert one_line("#clojure.lang.MapEntry[1 2]") == [OfKey(key=1, value=2)]
    assert one_line("#other [1 2]") == [Tagged(tag="other", value=(1, 2))]
    assert isinstance(one_line("#{1}")[0], Elements)


@pytest.mark.parametrize(
    ("written", "line", "says"),
    [
        ("[1\n{:a 1", 2, "the map that begins here never ends; the file may be cut off"),
        ("[1 2", 1, "the vector that begins here never ends"),
        ("(1 2", 1, "the list that begins here never ends"),
        ("\n#{1 2", 2, "the set that begins here never ends"),
        ('1\n"abc', 2, "the text that begins here is never closed"),
        ("1 )", 1, ") closes nothing that is open"),
        ("[1)", 1, ") closes nothing that is open"),
        ("{:a}", 1, "has a key without a value (:a)"),
        ("{:a 1 :a 2}", 1, "has a key twice"),
        ("1 2x", 1, '"2x" is not a number'),
        ("012", 1, '"012" is not a number'),
        ("1/0", 1, '"1/0" is not a number'),
        ("##Infinity", 1, "##Infinity is not known"),
        (":", 1, "a colon stands alone"),
        ("# 1", 1, "# stands alone"),
        ("#inst", 1, "#inst stands before nothing"),
        ("[1 #_]", 1, "#_ stands before nothing"),
        (r'"a\q"', 1, "is no escape of EDN"),
        ("\\toolong", 1, "is no EDN"),
        ("[" * (DEEPEST + 2), 1, "nested more than"),
    ],
)
def test_what_is_no_edn_is_refused_at_its_line(written: str, line: int, says: str) -> None:
    with pytest.raises(WrongHistoryError) as wrong:
        list(forms(written))
    assert (wrong.value.line, says in str(wrong.value)) == (line, True), str(wrong.value)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='[](){}#_;:"\\ ,\n0aA/+-.M^@~`', max_size=40))
def test_whatever_stands_there_is_read_or_refused(written: str) -> None:
    line = 1
    try:
        list(forms(written))
    except WrongHistoryError as error:
        line = error.line
    assert 1 <= line <= written.count("\n") + 1
