"""Values that several parts of a scenario share."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter

from harness.strict_model import Names
from harness.template import compile_template
from harness.units import Duration
from harness.words import MistakeError, quoted

MAX_REPLICAS: Final = 200
ZERO: Final = Duration(ns=0)
PATH_CHARACTERS: Final = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/?%\[\]]*")
"""What may stand in a path and query as it is (RFC 3986); brackets, as many apps use them, too."""


def _above_zero(duration: Duration) -> Duration:
    if not duration:
        raise MistakeError("must be longer than 0s")
    return duration


def no_nul(text: str) -> str:
    """``text`` itself; raises `MistakeError` when no operating system could take it."""
    if "\0" in text:
        raise MistakeError("must not contain a NUL character")
    return text


def _one_line(text: str) -> str:
    if not text.strip():
        raise MistakeError("must not be empty")
    if not text.isprintable():
        raise MistakeError("must be one line of printable text")
    return text


def _kebab_case(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", text):
        raise MistakeError(f"{quoted(text)} is no finding's name; names look like dropped-in-flight")
    return text


def _process_name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", text):
        raise MistakeError(f"{quoted(text)} is no name for a process type; use small letters, digits, - and _, and begin with a letter")
    return text


def _workload_name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,30}", text):
        raise MistakeError(f"{quoted(text)} is no name for a workload; use small letters, digits, - and _, and begin with a letter")
    return text


def _template(text: str) -> str:
    compile_template(text)
    return text


TEXTS: Final[TypeAdapter[tuple[str, ...]]] = TypeAdapter(Names, config=ConfigDict(strict=True))

PositiveDuration = Annotated[Duration, AfterValidator(_above_zero)]
Line = Annotated[str, Field(max_length=120), AfterValidator(_one_line)]
ProcessName = Annotated[str, AfterValidator(_process_name)]
WorkloadName = Annotated[str, AfterValidator(_workload_name)]
TemplateText = Annotated[str, AfterValidator(_template)]
FindingName = Annotated[str, AfterValidator(_kebab_case)]
Count = Annotated[int, Field(ge=0, le=MAX_REPLICAS)]


def is_long(written: object) -> bool:
    """True for a duration above zero."""
    try:
        return bool(Duration.parse(written))
    except ValueError:
        return False


def moved(schema: dict[str, Any]) -> dict[str, Any]:
    """Empty a JSON ``schema`` but for its title and description, and return what was in it, to stand beside a short form."""
    return {key: schema.pop(key) for key in list(schema) if key not in ("title", "description")}
