"""How findings say numbers: spans, offsets, counts and lists, alike in every check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from harness.units import span
from harness.verdict import Bound

T = TypeVar("T")

MOST_LINES: Final = 20
"""Evidence that a person reads; the rest is counted in a last line, and the history has it all."""


def long_span(seconds: float) -> str:
    """A span that may be hours: ``3 h 59 min``, ``2 min 5 s``, and below two minutes as `span` says it."""
    if seconds < 120:
        return span(seconds)
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def offset(seconds: float) -> str:
    """A span before (-) or after (+) an instant."""
    return f"{'+' if seconds >= 0 else '-'}{span(abs(seconds))}"


def between(low_s: float, high_s: float) -> str:
    """Two offsets, or one when they read the same."""
    low, high = offset(low_s), offset(high_s)
    return low if low == high else f"{low} to {high}"


def count(number: int, thing: str, things: str = "") -> str:
    """``1 request``, ``12 340 requests``."""
    return f"{grouped(number)} {thing if number == 1 else things or thing + 's'}"


def grouped(number: int) -> str:
    """A whole number with its digits in groups of three."""
    return f"{number:,}".replace(",", " ")


def number(value: float, unit: str) -> str:
    """A sample of a metric in its unit (see `harness.threshold.Metric`)."""
    match unit:
        case "s":
            return span(value)
        case "share":
            return percent(value)
        case "per_s":
            return f"{value:.1f}/s"
        case _:
            return grouped(round(value))


def percent(share: float) -> str:
    """A share from 0 to 1 in per cent; what is not zero never reads as zero."""
    if 0 < share < 0.0005:
        return "under 0.1 %"
    return f"{share * 100:.1f}".removesuffix(".0") + " %"


def none_did(strength: Bound, thing: str, did: str) -> str:
    """``0 of 30 stops dropped a request: at most 9.5 % do, at 95 %``."""
    return f"0 of {count(strength.trials, thing)} {did}: at most {percent(strength.upper)} do, at {percent(strength.confidence)}"


def tally(pairs: Iterable[tuple[str, int]]) -> str:
    """``4 sent, 1 connected``."""
    return ", ".join(f"{grouped(times)} {name}" for name, times in pairs)


def some(lines: Sequence[str], most: int = MOST_LINES) -> tuple[str, ...]:
    """The first ``most`` lines, and one that counts the rest."""
    if len(lines) <= most:
        return tuple(lines)
    return (*lines[: most - 1], f"… and {grouped(len(lines) - most + 1)} more")


def listed(words: Sequence[str]) -> str:
    """``a, b and c``; of many words the first few and how many more there are."""
    if len(words) > 5:
        words = [*words[:4], f"{len(words) - 4} more"]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def only(values: Iterable[T], otherwise: T) -> T:
    """The one value that all of ``values`` are, or ``otherwise``."""
    found = set(values)
    return found.pop() if len(found) == 1 else otherwise
