"""The smallest history that is still wrong: what remains when every operation that the proof can do without is gone.

A history of a million operations proves nothing to a person. A *witness* is the few of them that the same monitor still judges FAIL when it
sees nothing else, and it is *minimal* when it no longer does so without any one of them. It is saved as a file that anyone can judge again.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.monitors.calls import Calls
from harness.monitors.judged import Budget, Monitor, Violation
from harness.monitors.lines import encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """Operations that can't all be right.

    Attributes:
        calls: The operations, in order of call.
        violation: What is wrong with them, as the monitor says of them alone; its rows count in ``calls``.
        minimal: Whether the monitor finds nothing wrong any more when any one of them is left out. False where too many were looked at
            before that was known, or where the monitor fails the violation only in the company of others.
    """

    calls: Calls
    violation: Violation
    minimal: bool


def shrink(calls: Calls, violation: Violation, monitor: Monitor, budget: Budget) -> Witness:
    """The smallest part of ``calls`` that ``monitor`` judges to be wrong in the same way as ``violation`` says."""
    raise NotImplementedError


def to_lines(witness: Witness) -> list[str]:
    """The witness as a history of its own (see `harness.monitors.lines`), which the monitor judges FAIL again."""
    return list(encode(witness.calls))
