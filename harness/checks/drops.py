"""Which fault dropped a request, and what happened to it on the wire.

A dropped op is attributed to a fault when the life of its last attempt, from invoke to end, meets the fault's window on the replica that
it went to; when it was refused everywhere, any fault's window will do. Its finding's name follows from the fault, from whether it had
been sent before the signal, and from whether its connection was reused:

| outcome | no fault | SIGKILL | sent before the signal | sent after it, new connection | sent after it, reused connection |
|---|---|---|---|---|---|
| closed | dropped-without-fault | lost-by-kill | dropped-in-flight | dropped-after-signal | keep-alive-race |
| truncated | truncated-answers | lost-by-kill | dropped-in-flight | dropped-after-signal | dropped-after-signal |
| timeout | timeouts | lost-by-kill | dropped-in-flight | dropped-after-signal | dropped-after-signal |

``unavailable``, ``rejected``, ``errors``, ``wrong-answers`` and ``unfinished`` are called so whatever else happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from harness.checks.facts import Facts, Fault, Life, Rows
from harness.history import CODE, OUTCOMES
from harness.outcome import Outcome, Reached

DROPPED_IN_FLIGHT: Final = "dropped-in-flight"
DROPPED_AFTER_SIGNAL: Final = "dropped-after-signal"
KEEP_ALIVE_RACE: Final = "keep-alive-race"
LOST_BY_KILL: Final = "lost-by-kill"
DROPPED_WITHOUT_FAULT: Final = "dropped-without-fault"
TRUNCATED_ANSWERS: Final = "truncated-answers"
TIMEOUTS: Final = "timeouts"
UNAVAILABLE: Final = "unavailable"
REJECTED: Final = "rejected"
ERRORS: Final = "errors"
WRONG_ANSWERS: Final = "wrong-answers"
UNFINISHED: Final = "unfinished"

NAMES: Final = (
    DROPPED_IN_FLIGHT,
    DROPPED_AFTER_SIGNAL,
    KEEP_ALIVE_RACE,
    LOST_BY_KILL,
    UNAVAILABLE,
    TRUNCATED_ANSWERS,
    TIMEOUTS,
    ERRORS,
    REJECTED,
    WRONG_ANSWERS,
    DROPPED_WITHOUT_FAULT,
    UNFINISHED,
)
"""Every name of a finding about dropped requests."""

_NAME_CODE: Final = {name: code for code, name in enumerate(NAMES)}

ALWAYS: Final[dict[Outcome, str]] = {
    Outcome.UNAVAILABLE: UNAVAILABLE,
    Outcome.REJECTED: REJECTED,
    Outcome.ERROR: ERRORS,
    Outcome.WRONG: WRONG_ANSWERS,
    Outcome.UNFINISHED: UNFINISHED,
}
"""Names that follow from the outcome alone."""

CUT: Final[dict[Outcome, str]] = {
    Outcome.CLOSED: DROPPED_WITHOUT_FAULT,
    Outcome.TRUNCATED: TRUNCATED_ANSWERS,
    Outcome.TIMEOUT: TIMEOUTS,
}
"""Outcomes that a fault can be the reason of, with their names when there was none."""

REACHED: Final[dict[Reached, str]] = {
    Reached.NOTHING: "no connection",
    Reached.CONNECTED: "connected",
    Reached.SENT: "sent",
    Reached.HEADERS: "in the headers of the answer",
    Reached.BODY: "in the body of the answer",
    Reached.ANSWERED: "answered",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drops:
    """Dropped requests with one name, on one replica, by one fault (or by none). ``rows`` are their last attempts.

    Attributes:
        name: One of `NAMES`.
        replica: Where their last attempts went; empty when there was no replica to go to.
        process: Its process type.
        life: What is known of the replica.
        fault: The fault that they are attributed to.
        step: The fault's step, or the first drop's.
        offsets_s: First and last end after the signal, in seconds; (0, 0) without a fault.
        ended_ns: First and last end.
        sent_ns: First and last instant at which the first byte left; 0 for never.
        reused: How many were on a connection that had carried a request before.
        outcomes: How many ended how.
        reached: How far how many got.
        errors: How many ended with which errno or exception.
        statuses: How many were answered with which status.
        requests: How many of each request of the scenario.
        beside: The names of all dropped requests of the run.
    """

    name: str
    replica: str
    process: str
    life: Life
    fault: Fault | None
    step: int
    rows: Rows
    offsets_s: tuple[float, float]
    ended_ns: tuple[int, int]
    sent_ns: tuple[int, int]
    reused: int
    outcomes: tuple[tuple[str, int], ...]
    reached: tuple[tuple[str, int], ...]
    errors: tuple[tuple[str, int], ...]
    statuses: tuple[tuple[str, int], ...]
    requests: tuple[tuple[str, int], ...]
    beside: frozenset[str] = frozenset()

    @property
    def count(self) -> int:
        """How many requests."""
        return len(self.rows)

    @property
    def new(self) -> int:
        """How many were on a connection of their own."""
        return len(self.rows) - self.reused

    def only(self, outcome: Outcome) -> bool:
        """All of them ended with ``outcome``."""
        return [name for name, _ in self.outcomes] == [outcome.value]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DropBook:
    """All dropped requests of a run: in groups, most first, and the numbers of the faults that they are attributed to."""

    groups: tuple[Drops, ...]
    faults: frozenset[int]


def book(facts: Facts) -> DropBook:
    """Attribute every dropped request and group them by name, replica and fault."""
    ops = facts.history.ops
    last = ops.last[np.flatnonzero(facts.dropped)]
    if not len(last):
        return DropBook(groups=(), faults=frozenset())
    fault = _fault_of(facts, last)
    name = _name_of(facts, last, fault)
    replica = facts.history.attempts.replica[last]
    key = np.stack([name, fault, replica], axis=1)
    kinds, place = _unique_rows(key)
    order = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[order], np.arange(len(kinds) + 1))
    groups = [
        _group(facts, NAMES[kind[0]], int(kind[1]), last[order[bounds[index] : bounds[index + 1]]]) for index, kind in enumerate(kinds)
    ]
    groups.sort(key=lambda group: (-group.count, group.ended_ns))
    beside = frozenset(group.name for group in groups)
    return DropBook(
        groups=tuple(replace(group, beside=beside) for group in groups),
        faults=frozenset(int(number) for number in np.unique(fault) if number >= 0),
    )


def _unique_rows(key: Rows) -> tuple[Rows, Rows]:
    """The different rows, and for each row which of them it is; with one number a row, which sorts faster than ``np.unique(axis=0)``."""
    low, high = key.min(axis=0), key.max(axis=0)
    sizes = high - low + 1
    flat = ((key[:, 0] - low[0]) * sizes[1] + (key[:, 1] - low[1])) * sizes[2] + (key[:, 2] - low[2])
    _, index, place = np.unique(flat, return_index=True, return_inverse=True)
    return key[index], place


def _fault_of(facts: Facts, last: Rows) -> Rows:
    """For each of these attempts the number of the fault that it is attributed to, or -1."""
    attempts = facts.history.attempts
    found = np.full(len(last), -1, dtype=np.int64)
    codes = {name: code for code, name in enumerate(attempts.replicas)}
    order = np.argsort(attempts.done_ns[last], kind="stable")
    invoke, done, replica = attempts.invoke_ns[last[order]], attempts.done_ns[last[order]], attempts.replica[last[order]]
    homeless = (attempts.outcome[last[order]] == CODE[Outcome.REFUSED]) | (replica == codes.get("", -1))
    longest_ns = int((done - invoke).max())
    for fault in facts.faults:
        # What met the window ended after the signal, and at most the longest life of an attempt after the window.
        near = slice(*np.searchsorted(done, [fault.signal.at_ns, fault.end_ns + longest_ns + 1]).tolist())
        mine = replica[near] == codes.get(fault.signal.replica, -2)
        ours = (invoke[near] <= fault.end_ns) & (mine | (homeless[near] & (found[near] < 0)))
        found[near][ours] = fault.number
    in_order = np.empty_like(found)
    in_order[order] = found
    return in_order


def _name_of(facts: Facts, last: Rows, fault: Rows) -> Rows:
    """For each of these attempts the index of its name in `NAMES`; the table at the head of this file in numpy."""
    attempts, ops_outcome = facts.history.attempts, _op_outcome(facts, last)
    signals = np.array([each.signal.at_ns for each in facts.faults] or [0], dtype=np.int64)
    kills = np.array([each.is_kill for each in facts.faults] or [False])
    at_ns, killed = signals[fault], kills[fault]
    sent = np.where(attempts.sent_ns[last] > 0, attempts.sent_ns[last], attempts.invoke_ns[last])
    race = (ops_outcome == CODE[Outcome.CLOSED]) & attempts.reused[last]
    by_fault = np.select(
        [killed, sent <= at_ns, race],
        [_NAME_CODE[LOST_BY_KILL], _NAME_CODE[DROPPED_IN_FLIGHT], _NAME_CODE[KEEP_ALIVE_RACE]],
        default=_NAME_CODE[DROPPED_AFTER_SIGNAL],
    )
    alone = np.full(len(OUTCOMES), _NAME_CODE[DROPPED_WITHOUT_FAULT])
    for outcome, name in {**ALWAYS, **CUT}.items():
        alone[CODE[outcome]] = _NAME_CODE[name]
    cut = np.isin(ops_outcome, [CODE[outcome] for outcome in CUT])
    names: Rows = np.where(cut & (fault >= 0), by_fault, alone[ops_outcome])
    return names


def _op_outcome(facts: Facts, last: Rows) -> Rows:
    """The outcome of the op of each of these attempts: a last attempt that was refused leaves its op unavailable."""
    outcome = facts.history.attempts.outcome[last]
    refused = np.isin(outcome, [CODE[Outcome.REFUSED], CODE[Outcome.STALE]])
    return np.where(refused, CODE[Outcome.UNAVAILABLE], outcome)


def _group(facts: Facts, name: str, number: int, rows: Rows) -> Drops:
    attempts = facts.history.attempts
    fault = facts.faults[number] if number >= 0 else None
    replica = attempts.replicas[attempts.replica[rows[0]]]
    done, sent = attempts.done_ns[rows], attempts.sent_ns[rows]
    ended = int(done.min()), int(done.max())
    return Drops(
        name=name,
        replica=replica,
        process=facts.process_of(replica),
        life=facts.life(replica),
        fault=fault,
        step=fault.signal.step if fault else int(attempts.step[rows[0]]),
        rows=rows,
        offsets_s=(fault.after_s(ended[0]), fault.after_s(ended[1])) if fault else (0.0, 0.0),
        ended_ns=ended,
        sent_ns=(int(sent.min()), int(sent.max())),
        reused=int(np.count_nonzero(attempts.reused[rows])),
        outcomes=_tally(_op_outcome(facts, rows), [outcome.value for outcome in OUTCOMES]),
        reached=_tally(attempts.reached[rows], [REACHED[reached] for reached in Reached]),
        errors=tuple((error, times) for error, times in _tally(attempts.error[rows], attempts.errors) if error),
        statuses=tuple((str(status), times) for status, times in _counts(attempts.status[rows]) if status),
        requests=tuple((request_name(facts, request), times) for request, times in _counts(attempts.request[rows])),
    )


def request_name(facts: Facts, index: int) -> str:
    """What the scenario calls its request number ``index``: its own name, or method and path."""
    requests = facts.scenario.load.requests
    return requests[index].name if 0 <= index < len(requests) else f"request {index}"


def _counts(values: Rows) -> list[tuple[int, int]]:
    """Each value with how often it is there, most first."""
    found, times = np.unique(values, return_counts=True)
    return sorted(zip(found.tolist(), times.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))


def _tally(codes: Rows, names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    return tuple((names[code] if 0 <= code < len(names) else str(code), times) for code, times in _counts(codes))
