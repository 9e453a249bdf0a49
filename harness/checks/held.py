"""Connections that the harness held to a replica over a stop: which were there, which were lost, and which a stop waited for."""

from __future__ import annotations

from typing import Final

from harness.checks.facts import Facts, Fault
from harness.history import Held, LetGo

SURELY_READ_NS: Final = 10_000_000
"""What was sent so long before the signal is no longer on its way to the app, nor in its accept queue."""

LOST: Final = ("closed", "cut", "reset")


def held_of(facts: Facts, fault: Fault) -> list[Held]:
    """All that was held to the victim of a stop, in the order of their beginnings; a replica is stopped once."""
    return facts.held.get(fault.victim.replica, [])


def awaited(facts: Facts, fault: Fault) -> LetGo | None:
    """The event with which a stop was let go of, if that ended it: its grace was over, nothing was under way, and no SIGKILL was needed."""
    exited = fault.victim.exited
    if exited is None or fault.killed is not None or fault.victim.replica in facts.starved:
        return None
    let_go = facts.let_go.get(fault.victim.replica)
    return let_go if let_go is not None and fault.signal.at_ns <= let_go.at_ns <= exited.at_ns else None


def in_flight(fault: Fault, held: Held) -> bool:
    """A request on it was surely with the app at the signal, and its answer was not whole by then."""
    sent = 0 < held.sent_ns <= fault.signal.at_ns - SURELY_READ_NS
    return sent and held.ended_ns > fault.signal.until_ns and len(held.answered_ns) - answers_after(fault, held) < held.requests


def answers_after(fault: Fault, held: Held) -> int:
    """How many whole answers came after the signal."""
    return sum(at_ns > fault.signal.at_ns for at_ns in held.answered_ns)


def dropped_held(facts: Facts, fault: Fault) -> list[Held]:
    """Those on which a request was lost that was being answered at the signal.

    Of pipelined ones that is the first without an answer. Once one was answered after the signal, the server may close; but no answer may
    end in its middle.
    """
    lost = [held for held in held_of(facts, fault) if held.end in LOST and in_flight(fault, held)]
    return [held for held in lost if held.end == "cut" or not (answers_after(fault, held) or held.close_told)]
