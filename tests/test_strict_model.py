"""The base of every part of a scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field, ValidationError

from harness.strict_model import AsTuple, Complaint, Names, Part, Place, complain, plain
from harness.units import Duration
from harness.words import MistakeError


class Inner(Part):
    """A part of a part."""

    size: int = Field(default=1, ge=1, le=9)
    on: bool = False
    kind: Literal["a", "b"] = "a"
    span: Duration = Duration(ns=0)


class Outer(Part):
    """A part with everything that a part can have."""

    not_yet: ClassVar[Mapping[str, str]] = {"image": "; write name"}

    name: str = Field(min_length=1, max_length=5)
    inner: Inner = Inner()
    parts: Annotated[tuple[Inner, ...], Field(min_length=1), AsTuple] = (Inner(),)
    names: Names = ()
    by_name: dict[str, Inner] = Field(default={})
    ratio: float = 0.5

    @classmethod
    def long_form(cls, written: object) -> object:
        """A name alone."""
        if written == "bad":
            raise MistakeError("is bad")
        return {"name": written} if isinstance(written, str) else written

    @classmethod
    def written_keys(cls, written: object) -> Mapping[str, tuple[str, Place]]:
        """Pretend that ratio is called inner."""
        return {"ratio": ("inner", "key")} if isinstance(written, Mapping) and "ratio" in written else {}

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """The name is not among the names."""
        if long.get("names") == long.get("name", 0):
            yield Complaint(("names",), "is the name again", "key")


def told(written: object) -> list[tuple[tuple[str | int, ...], str, str]]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(written)
    return [(detail["loc"], detail["msg"], detail["type"]) for detail in caught.value.errors()]


@pytest.mark.parametrize(
    ("written", "path", "message", "place"),
    [
        ({}, ("name",), 'the key "name" is missing', "key"),
        ({"name": ""}, ("name",), "must not be empty", "value"),
        ({"name": "abcdef"}, ("name",), "must not be longer than 5 characters, and has 6", "value"),
        ({"name": 5}, ("name",), "must be text, not the number 5; put it in quotes", "value"),
        ({"name": {"x": None}}, ("name",), 'must be text, not a mapping; put "{x}" in quotes', "value"),
        ({"name": "x", "nmae": 1}, ("nmae",), 'unknown key "nmae" (did you mean "name"?)', "key"),
        (
            {"name": "x", "zzz": 1},
            ("zzz",),
            'unknown key "zzz"; there are "by_name", "inner", "name", "names", "parts" and "ratio"',
            "key",
        ),
        ({"name": "x", "image": 1}, ("image",), '"image" is not supported yet; write name', "key"),
        ({"name": "x", "inner": {"size": "5"}}, ("inner", "size"), 'must be a whole number, not the text "5"; remove the quotes', "value"),
        ({"name": "x", "inner": {"size": 1.5}}, ("inner", "size"), "must be a whole number, not the number 1.5", "value"),
        ({"name": "x", "inner": {"size": True}}, ("inner", "size"), "must be a whole number, not true", "value"),
        ({"name": "x", "inner": {"size": None}}, ("inner", "size"), "must be a whole number, not nothing", "value"),
        ({"name": "x", "inner": {"size": 0}}, ("inner", "size"), "must be at least 1, not 0", "value"),
        ({"name": "x", "inner": {"size": 10}}, ("inner", "size"), "must be at most 9, not 10", "value"),
        (
            {"name": "x", "inner": {"on": "yes"}},
            ("inner", "on"),
            'must be true or false, not the text "yes"; in YAML 1.2 that is text, so write true',
            "value",
        ),
        ({"name": "x", "inner": {"on": "true"}}, ("inner", "on"), 'must be true or false, not the text "true"; remove the quotes', "value"),
        ({"name": "x", "inner": {"on": 1}}, ("inner", "on"), "must be true or false, not the number 1", "value"),
        ({"name": "x", "inner": {"kind": "c"}}, ("inner", "kind"), 'must be "a" or "b", not the text "c"', "value"),
        ({"name": "x", "inner": {"span": 3}}, ("inner", "span"), "needs a unit: write 3s or 3ms", "value"),
        ({"name": "x", "inner": []}, ("inner",), "must be a mapping, not an empty list", "value"),
        ({"name": "x", "parts": []}, ("parts",), "must not be empty", "value"),
        ({"name": "x", "parts": {}}, ("parts",), "must be a list, not an empty mapping", "value"),
        ({"name": "x", "names": ["a", 5]}, ("names", 1), "must be text, not the number 5; put it in quotes", "value"),
        ({"name": "x", "names": "a"}, ("names",), 'must be a list, not the text "a"', "value"),
        ({"name": "x", "by_name": [1]}, ("by_name",), "must be a mapping, not a list", "value"),
        ({"name": "x", "ratio": "1"}, ("inner",), 'must be a number, not the text "1"', "key"),
        ("bad", (), "is bad", "value"),
        (7, (), "must be a mapping, not the number 7", "value"),
    ],
)
def test_every_mistake_is_a_sentence_with_its_place(written: object, path: tuple[str | int, ...], message: str, place: str) -> None:
    assert told(written) == [(path, message, place)]


def test_mistakes_and_contradictions_at_all_depths_are_told_together() -> None:
    written = {"name": "x", "names": "x", "parts": [{"size": 0, "sise": 1}], "by_name": {"k": {"on": 0}}}
    assert {path for path, _, _ in told(written)} == {("names",), ("parts", 0, "size"), ("parts", 0, "sise"), ("by_name", "k", "on")}
    assert [message for path, message, _ in told(written) if path == ("names",)] == [
        'must be a list, not the text "x"',
        "is the name again",
    ]


def test_a_short_form_becomes_the_long_one() -> None:
    assert Outer.model_validate("abc") == Outer(name="abc")


def test_a_part_is_frozen_and_reads_back_from_json() -> None:
    outer = Outer(name="x", parts=(Inner(span=Duration.parse("5s")),), names=("a",))
    with pytest.raises(ValidationError):
        outer.name = "y"  # type: ignore[misc]  # that is what is tested
    assert Outer.model_validate_json(outer.model_dump_json()) == outer


def test_complaints_keep_their_places_through_pydantic() -> None:
    error = complain("x", [Complaint(("a", 1), "is {odd}", "key")])
    assert [(detail["loc"], detail["msg"], detail["type"]) for detail in error.errors()] == [(("a", 1), "is {odd}", "key")]


def test_models_and_units_are_plain_data_to_contradictions() -> None:
    assert plain({"a": (Duration.parse("5s"), Inner()), "b": None}) == {
        "a": ["5s", {"size": 1, "on": False, "kind": "a", "span": "0s"}],
        "b": None,
    }
