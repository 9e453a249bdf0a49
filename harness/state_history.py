"""What a run asked of the app's state, and what it was told: the lines, and the columns that checks read.

The load writes two lines for each operation into its ledger: *asked* before its first attempt leaves, *answered* when it is over. So an
operation that has no answer when something is killed is on record as one of which nobody knows whether it happened. When the load is over
the harness itself reads every replica, and the store, one by one (*read at the end*), asks all replicas the same requests, and follows
journeys; these lines are in `state.jsonl`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from harness.line import Line

STATE_FILE: Final = "state.jsonl"

OK: Final = "ok"
FAIL: Final = "fail"
INFO: Final = "info"
ENDINGS: Final = (OK, FAIL, INFO)
"""How an operation ended: it happened; it provably did not; nobody knows."""

STORE: Final = ""
"""The name of the replica where the store itself was read."""

OF_MANY: Final = ("set", "log")
"""Models whose reads tell many values."""


class StateAsked(Line, frozen=True, tag="state-asked", gc=False):
    """Op ``op`` of the ledger is an operation on state and is about to leave.

    Attributes:
        workload: Its name in the scenario.
        f: What it does: ``write``, ``read``, ``cas``, ``add``, ``remove``, ``contains``, ``append``.
        key: The number of the key, from 0; below zero for a key of the harness's own, in a step that hands over.
        client: The client's number in the workload, from 1; below zero for the harness itself, and so is ``op`` then.
        session: Counts up from 0 when a client does not know what became of an operation, and goes on as a new one.
        value: The value that is written, added, removed or asked for; empty for none.
        old: The value that a compare-and-set replaces.
    """

    op: int
    at_ns: int
    workload: str
    f: str
    key: int
    client: int
    session: int = 0
    value: str = ""
    old: str = ""


class StateAnswered(Line, frozen=True, tag="state-answered", gc=False):
    """How an operation ended, one of ``ENDINGS``, and what it was told.

    Attributes:
        replica: Who answered, or was asked last.
        result: The value that was read; None where there was nothing, or where nothing was asked for.
        items: All elements that were read, of a set or a log.
        there: The answer told something: a read without it proves nothing.
        error: Why the answer could not be understood, or why nobody knows.
        attempts: How often it was sent.
    """

    op: int
    at_ns: int
    ended: str
    replica: str = ""
    result: str | None = None
    items: tuple[str, ...] | None = None
    there: bool = False
    error: str = ""
    attempts: int = 1


class StateRead(Line, frozen=True, tag="state-read", gc=False):
    """The harness read a key at the end: of ``replica``, or of the store itself (``STORE``), in round ``round`` of all reads.

    The last round is what counts; there is another one as long as replicas disagree and time is left. ``error`` says why it could not be
    read.
    """

    workload: str
    key: int
    replica: str
    round: int
    at_ns: int
    done_ns: int
    result: str | None = None
    items: tuple[str, ...] | None = None
    error: str = ""


class SameAnswered(Line, frozen=True, tag="same-answered", gc=False):
    """What ``replica`` answered to request ``request`` of a workload that asks all of them the same, in round ``round``.

    ``headers`` are those that are compared, by name in small letters; ``body`` is text without what a mask of the scenario matches. Of one
    of more than ``MOST_BODY`` characters it is the beginning, and ``digest`` the SHA-256 of all of it, which no mask can match.
    """

    workload: str
    request: int
    replica: str
    round: int
    at_ns: int
    done_ns: int
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    digest: str = ""
    error: str = ""


MOST_BODY: Final = 65_536


class JourneyMade(Line, frozen=True, tag="journey-made", gc=False):
    """One request of a journey.

    Attributes:
        workload: The journey's name.
        number: Which journey of that name, from 1.
        request: Which of its requests, from 0.
        replica: Who was asked.
        before: Who was asked before; empty for the first.
        fault: What happened to the replica before, between the two: ``kill``, ``terminate``, or empty when it lives on.
        good: The answer was as the scenario expects.
        status: Its status; 0 for none.
        error: Why there was none, or why it was not good.
    """

    workload: str
    number: int
    request: int
    replica: str
    at_ns: int
    done_ns: int
    before: str = ""
    fault: str = ""
    good: bool = False
    status: int = 0
    error: str = ""


StateLine: TypeAlias = StateAsked | StateAnswered | StateRead | SameAnswered | JourneyMade


@dataclass(frozen=True, slots=True, kw_only=True)
class StateLedger:
    """All that a run asked of the app's state, in the order of time."""

    asked: tuple[StateAsked, ...] = ()
    answered: tuple[StateAnswered, ...] = ()
    reads: tuple[StateRead, ...] = ()
    same: tuple[SameAnswered, ...] = ()
    journeys: tuple[JourneyMade, ...] = ()


def state_ledger(lines: Iterable[StateLine]) -> StateLedger:
    """The ledger that ``lines``, in any order, make."""
    ordered = sorted(lines, key=lambda line: line.at_ns)
    return StateLedger(
        asked=tuple(line for line in ordered if isinstance(line, StateAsked)),
        answered=tuple(line for line in ordered if isinstance(line, StateAnswered)),
        reads=tuple(line for line in ordered if isinstance(line, StateRead)),
        same=tuple(line for line in ordered if isinstance(line, SameAnswered)),
        journeys=tuple(line for line in ordered if isinstance(line, JourneyMade)),
    )


def key_text(mark: str, workload: str, number: int) -> str:
    """A key as it travels: ``2fecf0-items-3``."""
    return f"{mark}-{workload}-{number}"


def value_text(mark: str, number: int) -> str:
    """A value as it travels: ``2fecf0-17``."""
    return f"{mark}-{number}"
