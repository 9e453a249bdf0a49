"""A violation in sentences, in the manner of Elle (Kingsbury and Alvaro, PVLDB 14(3), 2020): who did what and when, why that can't be."""

from __future__ import annotations

from dataclasses import dataclass

from harness.monitors.calls import Calls
from harness.monitors.judged import Violation


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened to the target meanwhile, to be named beside the operations.

    Attributes:
        at_ns: When it began.
        until_ns: When it was over; the same where it has no length.
        text: What it was, such as ``SIGKILL``, ``started``, ``stopped``.
        replica: To whom; empty where it was to all.
        fault: Whether it was done to harm, as a start is not.
    """

    at_ns: int
    until_ns: int
    text: str
    replica: str = ""
    fault: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Speak:
    """What the sentences are told with beside the history.

    Attributes:
        moments: What happened to the target, in any order.
        model: What is judged, such as ``register``; unused where empty.
    """

    moments: tuple[Moment, ...] = ()
    model: str = ""


def proof(calls: Calls, violation: Violation, speak: Speak | None = None) -> list[str]:
    """The violation as sentences, one each: its operations, the facts of the proof, the conclusion, and what was done to the target."""
    raise NotImplementedError


def names(calls: Calls, rows: tuple[int, ...] | None = None) -> dict[int, str]:
    """A short name for each of ``rows`` (None: all), such as ``w1`` and ``r2``, numbered in the order of their calls."""
    raise NotImplementedError
