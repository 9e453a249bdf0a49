"""Durations, rates, sizes and shares as people spell them: ``250ms``, ``1m30s``, ``400/s``, ``64m``, ``5%``.

A bare number is refused, because nobody can tell whether 10 means seconds or milliseconds. All of them are exact: a duration is a
whole number of nanoseconds, a size one of bytes, and text made from any reads back as the same value. Only what was measured is said in
three digits (`span`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Self

from harness.words import MistakeError, quoted, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema

NS_PER_UNIT: Final = {"h": 3_600_000_000_000, "m": 60_000_000_000, "s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
SECONDS_PER_UNIT: Final = {"s": 1, "m": 60, "h": 3600}
LONGEST_NS: Final = 24 * NS_PER_UNIT["h"]
HIGHEST_RATE_PER_S: Final = 1_000_000.0
BYTES_PER_UNIT: Final = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
MOST_BYTES: Final = 1 << 50

_NUMBER = r"\d{1,18}(?:\.\d{1,9})?"
_DURATION = re.compile("".join(rf"(?:({_NUMBER}){unit}(?![a-z]))?" for unit in NS_PER_UNIT), re.ASCII)
_RATE = re.compile(rf"({_NUMBER}) ?/ ?(s|m|h)", re.ASCII)
_BYTES = re.compile(rf"({_NUMBER})(b|[kmg]b?)", re.ASCII | re.IGNORECASE)
_PERCENT = re.compile(rf"({_NUMBER})\s*%", re.ASCII)
_BARE_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?", re.ASCII)

DURATION_PATTERN: Final = rf"^(?=\d)(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?(?:{_NUMBER}us)?(?:{_NUMBER}ns)?$"
RATE_PATTERN: Final = rf"^{_NUMBER} ?/ ?[smh]$"
BYTES_PATTERN: Final = rf"^{_NUMBER}([bB]|[kmgKMG][bB]?)$"


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Duration:
    """A span of time from 0s to 24h, exact to the nanosecond."""

    ns: int

    @classmethod
    def parse(cls, written: object) -> Self:
        """The duration that ``written`` spells, such as ``1m30s``.

        Raises:
            MistakeError: It is not a duration; the message says how to write one.
        """
        if isinstance(written, int | float) and not isinstance(written, bool):
            raise MistakeError(_needs_unit(str(written)))
        if not isinstance(written, str):
            raise MistakeError(f"must be a duration such as 10s or 250ms, not {shown(written)}")
        if _BARE_NUMBER.fullmatch(written):
            raise MistakeError(_needs_unit(written))
        match = _DURATION.fullmatch(written)
        if match is None or not written:
            raise MistakeError(f"{quoted(written)} is not a duration; write it as 250ms, 10s, 1m30s or 2h")
        amounts = zip(match.groups(), NS_PER_UNIT.values(), strict=True)
        ns = sum((Decimal(number) * unit_ns for number, unit_ns in amounts if number), start=Decimal(0))
        if ns > LONGEST_NS:
            raise MistakeError(f"{written} is longer than 24h, the longest duration that a scenario may use")
        return cls(ns=round(ns))

    @property
    def s(self) -> float:
        """Seconds."""
        return self.ns / 1e9

    def __bool__(self) -> bool:
        return self.ns != 0

    def __str__(self) -> str:
        if self.ns == 0:
            return "0s"
        for unit in ("ns", "us", "ms"):
            if self.ns < NS_PER_UNIT[unit] * 1000:
                return f"{_decimal(self.ns, NS_PER_UNIT[unit])}{unit}"
        hours, rest_ns = divmod(self.ns, NS_PER_UNIT["h"])
        minutes, seconds_ns = divmod(rest_ns, NS_PER_UNIT["m"])
        seconds = f"{_decimal(seconds_ns, NS_PER_UNIT['s'])}s" if seconds_ns else ""
        return (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "") + seconds

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Callable[[Any], CoreSchema]) -> CoreSchema:
        """Read from text, written as text."""
        return _spelled(cls, cls.parse)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Text of the shape of a duration."""
        return {"type": "string", "pattern": DURATION_PATTERN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many requests in each second, minute or hour."""

    count: float
    unit: str

    @classmethod
    def parse(cls, written: object) -> Self:
        """The rate that ``written`` spells, such as ``400/s``.

        Raises:
            MistakeError: It is not a rate; the message says how to write one.
        """
        if isinstance(written, int | float) and not isinstance(written, bool):
            raise MistakeError(f"needs a unit: write {written}/s")
        if not isinstance(written, str):
            raise MistakeError(f"must be a rate such as 400/s, not {shown(written)}")
        if _BARE_NUMBER.fullmatch(written):
            raise MistakeError(f"needs a unit: write {written}/s")
        match = _RATE.fullmatch(written)
        if match is None:
            raise MistakeError(f"{quoted(written)} is not a rate; write it as 400/s, 20/m or 100/h")
        rate = cls(count=float(match[1]), unit=match[2])
        if not 0 < rate.per_s <= HIGHEST_RATE_PER_S:
            raise MistakeError(f"{written} is not a rate above zero and up to {HIGHEST_RATE_PER_S:.0f}/s")
        return rate

    @property
    def per_s(self) -> float:
        """Requests a second."""
        return self.count / SECONDS_PER_UNIT[self.unit]

    def __str__(self) -> str:
        return f"{Decimal(repr(self.count)).normalize():f}/{self.unit}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Callable[[Any], CoreSchema]) -> CoreSchema:
        """Read from text, written as text."""
        return _spelled(cls, cls.parse)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Text of the shape of a rate."""
        return {"type": "string", "pattern": RATE_PATTERN}


def parse_bytes(written: object) -> int:
    """The number of bytes that ``written`` spells as the Compose specification does: ``64m``, ``1.5g``, ``512kb``.

    Raises:
        MistakeError: It is not a size above zero; the message says how to write one.
    """
    if isinstance(written, int | float) and not isinstance(written, bool):
        raise MistakeError(f"needs a unit: write {written}m or {written}b")
    if not isinstance(written, str):
        raise MistakeError(f"must be a size such as 64m or 1g, not {shown(written)}")
    if _BARE_NUMBER.fullmatch(written):
        raise MistakeError(f"needs a unit: write {written}m or {written}b")
    match = _BYTES.fullmatch(written)
    if match is None:
        raise MistakeError(f"{quoted(written)} is not a size; write it as 512k, 64m or 1g")
    count = round(Decimal(match[1]) * BYTES_PER_UNIT[match[2][0].lower()])
    if not 0 < count <= MOST_BYTES:
        raise MistakeError(f"{written} is not a size above zero and up to {bytes_text(MOST_BYTES)}")
    return count


def bytes_text(count: int) -> str:
    """``count`` bytes as a scenario spells them, in the largest unit that makes them a whole number: ``64m``."""
    unit = next(unit for unit in reversed(BYTES_PER_UNIT) if count % BYTES_PER_UNIT[unit] == 0)
    return f"{count // BYTES_PER_UNIT[unit]}{unit}"


def percent_of(written: str) -> Fraction | None:
    """The share that ``written`` spells in per cent, such as ``2.5%``, exactly; None for all that is no per cent."""
    match = _PERCENT.fullmatch(written)
    return None if match is None else Fraction(match[1]) / 100


def span(seconds: float) -> str:
    """A span of time in three digits: ``0.41 ms``, ``412 ms``, ``1.21 s``."""
    if abs(seconds) < 0.9995:
        return f"{_three_digits(seconds * 1000)} ms"
    return f"{_three_digits(seconds)} s"


def _needs_unit(number: str) -> str:
    return f"needs a unit: write {number}s or {number}ms"


def _three_digits(value: float) -> str:
    places = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{places}f}"


def _decimal(amount: int, unit: int) -> str:
    return f"{(Decimal(amount) / unit).normalize():f}"


def _spelled(kind: type[Any], parse: Callable[[object], Any]) -> CoreSchema:
    """A pydantic schema for a value that is text in a file and ``kind`` in memory."""
    # Imported here so that thresholds can use these types without paying for pydantic.
    from pydantic_core import core_schema  # noqa: PLC0415  see above

    return core_schema.no_info_plain_validator_function(
        lambda written: written if isinstance(written, kind) else parse(written),
        serialization=core_schema.to_string_ser_schema(),
    )
