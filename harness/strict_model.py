"""The base of every part of a scenario: a frozen pydantic model that tells everything that is wrong with it, in words.

Pydantic stops looking for contradictions between keys when a single key is wrong, and speaks of types that a scenario's author has
never heard of. A `Part` reports both kinds at once, each as a sentence that says what to write instead, and keeps the place in the file
as the error's location. A part may have a short form, which is turned into its long form before anything is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from harness.words import MistakeError, all_of, did_you_mean, quoted, shown

Place = Literal["value", "key"]
"""Whether a complaint is about what stands at a path, or about the key that it stands under."""


_MOST_KEYS: Final = 20
"""More keys than these are not listed in a message."""


class Complaint(NamedTuple):
    """One thing that is wrong: where, relative to the part that complains, and what."""

    path: tuple[str | int, ...]
    what: str
    place: Place = "value"


class Part(BaseModel):
    """A mapping of a scenario. Subclasses override the class methods that they need."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    not_yet: ClassVar[Mapping[str, str]] = {}
    """Keys that other tools know and Jetable does not, with what to write instead."""

    @classmethod
    def long_form(cls, written: object) -> object:
        """The long form of what was written; anything that has no short form comes back as it is. Raises `MistakeError`."""
        return written

    @classmethod
    def written_keys(cls, written: object) -> Mapping[str, tuple[str, Place]]:
        """For keys of the long form that the file spells differently: the key there, and whether it or its value is meant."""
        del written
        return {}

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """What is wrong between the keys of ``long``, the long form as plain data, which may be wrong in any other way as well."""
        del long
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _tell_everything(cls, written: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(written, cls):
            return written
        complaints: list[Complaint] = []
        made = None
        long: object = None
        try:
            long = cls.long_form(written)
            made = handler(long)
        except ValidationError as error:
            complaints += [cls._in_words(detail) for detail in error.errors(include_url=False) if not _follows(detail)]
        except MistakeError as error:
            complaints.append(Complaint((), str(error)))
        if isinstance(long, Mapping):
            complaints += cls.contradictions(plain(long))
        if complaints or made is None:
            spelled = cls.written_keys(written)
            raise complain(cls.__name__, [respelled(complaint, spelled) for complaint in complaints])
        return made

    @classmethod
    def _in_words(cls, detail: ErrorDetails) -> Complaint:
        path = detail["loc"]
        if detail["type"] == "extra_forbidden":
            return Complaint(path, cls._unknown_key(str(path[-1])), "key")
        return in_words(detail)

    @classmethod
    def _unknown_key(cls, key: str) -> str:
        if key in cls.not_yet:
            return f"{quoted(key)} is not supported yet{cls.not_yet[key]}"
        known = [field.alias or name for name, field in cls.model_fields.items()]
        near = did_you_mean(key, known)
        if len(known) > _MOST_KEYS and not near:
            return f"unknown key {quoted(key)}; docs/scenarios.md lists the {len(known)} that there are"
        return f"unknown key {quoted(key)}{near}" if near else f"unknown key {quoted(key)}; there are {all_of(sorted(known))}"


def complain(title: str, complaints: Iterable[Complaint]) -> ValidationError:
    """A pydantic error that carries ``complaints`` with their places."""
    details = [
        InitErrorDetails(type=PydanticCustomError(complaint.place, complaint.what), loc=complaint.path, input=None)
        for complaint in complaints
    ]
    return ValidationError.from_exception_data(title, details)


def in_words(detail: ErrorDetails) -> Complaint:
    """What a pydantic error says, as a sentence for the author of a scenario."""
    path: tuple[str | int, ...] = detail["loc"]
    place: Place = "value"
    if path and path[-1] == "[key]":
        path, place = path[:-1], "key"
    if detail["type"] in get_args(Place):
        return Complaint(path, detail["msg"], "key" if detail["type"] == "key" else place)
    if detail["type"] == "value_error":
        return Complaint(path, str(detail["ctx"]["error"]), place)
    return Complaint(path, _sentence(detail, path), "key" if detail["type"] == "missing" else place)


def plain(value: object) -> Any:
    """``value`` as the YAML file would hold it: models and units become mappings and text."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def respelled(complaint: Complaint, spelled: Mapping[str, tuple[str, Place]]) -> Complaint:
    """``complaint`` at the place where the file has what it is about (see `Part.written_keys`)."""
    if not complaint.path or complaint.path[0] not in spelled:
        return complaint
    key, place = spelled[str(complaint.path[0])]
    path = (key, *complaint.path[1:])
    return Complaint(path, complaint.what, complaint.place if len(path) > 1 else place)


def _follows(detail: ErrorDetails) -> bool:
    """True for a list that pydantic calls too short only because what is in it is wrong, which is told by itself."""
    return detail["type"] == "too_short" and bool(detail["input"])


def _sentence(detail: ErrorDetails, path: tuple[str | int, ...]) -> str:
    got, limits = detail["input"], detail.get("ctx", {})
    words = detail["msg"]
    match detail["type"]:
        case "missing":
            words = f"the key {quoted(str(path[-1]))} is missing"
        case "greater_than_equal" | "less_than_equal":
            words = f"must be at {'least' if 'ge' in limits else 'most'} {limits.get('ge', limits.get('le'))}, not {got}"
        case "too_short" | "string_too_short":
            words = "must not be empty"
        case "too_long":
            words = f"must not hold more than {limits['max_length']}, and has {len(got)}"
        case "string_too_long":
            words = f"must not be longer than {limits['max_length']} characters, and has {len(str(got))}"
        case "literal_error":
            words = f"must be {limits['expected'].replace(chr(39), chr(34))}, not {shown(got)}"
        case kind if kind in _WANTED:
            hint = _HINTS[kind](got) if kind in _HINTS else ""
            words = f"must be {_WANTED[kind]}, not {shown(got)}{hint}"
    return words


def _boolean_hint(got: object) -> str:
    if not isinstance(got, str):
        return ""
    meant = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}.get(got.lower())
    if got.lower() in ("true", "false"):
        return "; remove the quotes"
    return f"; in YAML 1.2 that is text, so write {meant}" if meant else ""


def _text_hint(got: object) -> str:
    if isinstance(got, bool | int | float):
        return "; put it in quotes"
    if isinstance(got, dict) and len(got) == 1 and next(iter(got.values())) is None:
        return f'; put "{{{next(iter(got))}}}" in quotes'
    return ""


def _whole_number_hint(got: object) -> str:
    return "; remove the quotes" if isinstance(got, str) and got.strip().isdecimal() else ""


_WANTED: Final[Mapping[str, str]] = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
"""What pydantic's types are called in a scenario, by the type of its error."""

_HINTS: Final[Mapping[str, Callable[[object], str]]] = {
    "int_type": _whole_number_hint,
    "bool_type": _boolean_hint,
    "string_type": _text_hint,
}


AsTuple = BeforeValidator(lambda written: tuple(written) if isinstance(written, list) else written)
"""Lets a YAML list be a tuple in memory, although types are strict."""

Names = Annotated[tuple[str, ...], AsTuple]
"""A list of texts."""
