"""Which harm dropped a request, and what happened to it on the wire.

A dropped op is attributed to a harm, a stop or a disturbance, when the life of its last attempt, from invoke to end, meets the harm's
window on the replica that it went to; when it was refused everywhere, any harm's window will do; of two the later one. Its finding's name
follows from the harm, from whether it had been sent before the signal, and from whether its connection was reused:

| outcome | no fault | SIGKILL | sent before the signal | sent after it, new connection | sent after it, reused connection |
|---|---|---|---|---|---|
| closed | dropped-without-fault | lost-by-kill | dropped-in-flight | dropped-after-signal | keep-alive-race |
| truncated | truncated-answers | lost-by-kill | dropped-in-flight | dropped-after-signal | dropped-after-signal |
| timeout | timeouts | lost-by-kill | dropped-in-flight | dropped-after-signal | dropped-after-signal |

Around a signal that a replica should live through, such as SIGHUP, all of these are ``dropped-at-signal``.

While a replica was disturbed, or soon after, all of these are ``dropped-while-paused``, ``dropped-while-cut-off``, ``lost-by-oom`` when the
kernel killed in it, or else ``dropped-while-squeezed``. So are those that could connect to nothing but a replica that hung or was cut off.
All others of ``unavailable``, and ``rejected``, ``errors``, ``wrong-answers`` and ``unfinished`` are called so whatever happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from harness.checks.facts import SAME_MOMENT_S, STOP_PURPOSES, Disturbance, Facts, Fault, Harm, Life, Rows
from harness.clock import NS_PER_S
from harness.history import CODE, OUTCOMES
from harness.outcome import Outcome, Reached

DROPPED_IN_FLIGHT: Final = "dropped-in-flight"
DROPPED_AFTER_SIGNAL: Final = "dropped-after-signal"
KEEP_ALIVE_RACE: Final = "keep-alive-race"
LOST_BY_KILL: Final = "lost-by-kill"
DROPPED_AT_SIGNAL: Final = "dropped-at-signal"
DROPPED_WHILE_PAUSED: Final = "dropped-while-paused"
DROPPED_WHILE_CUT_OFF: Final = "dropped-while-cut-off"
LOST_BY_OOM: Final = "lost-by-oom"
DROPPED_WHILE_SQUEEZED: Final = "dropped-while-squeezed"
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
    DROPPED_AT_SIGNAL,
    DROPPED_WHILE_PAUSED,
    DROPPED_WHILE_CUT_OFF,
    LOST_BY_OOM,
    DROPPED_WHILE_SQUEEZED,
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
    Outcome.ENDED: DROPPED_WITHOUT_FAULT,
    Outcome.CUT: TRUNCATED_ANSWERS,
}
"""Outcomes that a fault can be the reason of, with their names when there was none."""

WHILE_UNREACHABLE: Final[dict[str, str]] = {"pause": DROPPED_WHILE_PAUSED, "network": DROPPED_WHILE_CUT_OFF}
"""Disturbances in which nobody could connect to the replica, with their names."""

LIKEWISE_SHARE: Final = 0.9
"""Where so large a share of a request's attempts comes to nothing with no fault near, a fault has no part in the same end of others."""

LIKEWISE_AT_LEAST: Final = 20
"""Of fewer attempts with no fault near no such share is taken."""

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
    """Dropped requests with one name, on one replica, by one harm (or by none). ``rows`` are their last attempts.

    Attributes:
        name: One of `NAMES`.
        replica: Where their last attempts went; empty when there was no replica to go to.
        process: Its process type.
        life: What is known of the replica.
        harm: The stop or disturbance that they are attributed to.
        step: The harm's step, or the first drop's.
        offsets_s: First and last end after its beginning, in seconds; (0, 0) without a harm.
        ended_ns: First and last end.
        sent_ns: First and last instant at which the first byte left; 0 for never.
        reused: How many were on a connection that had carried a request before.
        outcomes: How many ended how.
        reached: How far how many got.
        errors: How many ended with which errno or exception.
        statuses: How many were answered with which status.
        requests: How many of each request of the scenario.
        answered: How many of the same requests the replica answered as expected well before the last of them, and after it.
        never_else: They are all there is of their requests: none of those ended in another way, on any replica, in the whole run.
        unanswered: No request at all was answered as expected in the whole run.
        likewise: All of one outcome, in which at least nine of ten of the same requests ended with no fault near.
        not_resent: The load retries, but none of these requests has a method that may be sent twice.
        beside: The names of all dropped requests of the run.
    """

    name: str
    replica: str
    process: str
    life: Life
    harm: Harm | None
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
    answered: tuple[int, int]
    never_else: bool
    unanswered: bool = False
    likewise: bool = False
    not_resent: bool = False
    beside: frozenset[str] = frozenset()

    @property
    def fault(self) -> Fault | None:
        """The stop that they are attributed to."""
        return self.harm if isinstance(self.harm, Fault) else None

    @property
    def disturbance(self) -> Disturbance | None:
        """The disturbance that they are attributed to."""
        return self.harm if isinstance(self.harm, Disturbance) else None

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
    """All dropped requests of a run: in groups, most first, and the numbers of the harms that they are attributed to."""

    groups: tuple[Drops, ...]
    faults: frozenset[int]


def book(facts: Facts) -> DropBook:
    """Attribute every dropped request and group them by name, replica and harm."""
    return _book(facts, facts.history.ops.last[np.flatnonzero(facts.dropped)])


def saved_book(facts: Facts) -> DropBook:
    """The same of attempts that came to nothing while only a retry saved their request: what would have been dropped without."""
    ops, attempts = facts.history.ops, facts.history.attempts
    retried = ops.op[facts.closed & (ops.outcome == CODE[Outcome.RETRIED])]
    if not len(retried):
        return _book(facts, np.zeros(0, dtype=np.int64))
    harmless = [CODE[outcome] for outcome in (Outcome.OK, Outcome.REFUSED, Outcome.STALE)]
    failed = np.isin(attempts.op, retried) & attempts.closed & ~np.isin(attempts.outcome, harmless)
    return _book(facts, np.flatnonzero(failed))


def saved_by_retry(facts: Facts) -> frozenset[int]:
    """The numbers of the stops in order that would have dropped a request if nobody had sent it again."""
    stops = {harm.number for harm in facts.harms if harm.kind in STOP_PURPOSES}
    return saved_book(facts).faults & stops


def _book(facts: Facts, last: Rows) -> DropBook:
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
    likewise = _ends_without_fault(facts) if any(group.harm is None for group in groups) else {}
    return DropBook(
        groups=tuple(replace(group, beside=beside, likewise=_is_likewise(facts, group, likewise)) for group in groups),
        faults=frozenset(int(number) for number in np.unique(fault) if number >= 0),
    )


def _ends_without_fault(facts: Facts) -> dict[int, int]:
    """For each request that nearly always came to the same end while no fault was near, the code of that outcome."""
    ops, attempts = facts.history.ops, facts.history.attempts
    last = ops.last[facts.closed & (ops.last >= 0)]
    alone = last[_fault_of(facts, last) < 0] if len(last) else last
    requests, outcomes = attempts.request[alone], _op_outcome(facts, alone)
    found = {}
    for request in np.unique(requests).tolist():
        times = np.bincount(outcomes[requests == request], minlength=len(OUTCOMES))
        if times.sum() >= LIKEWISE_AT_LEAST and times.max() >= LIKEWISE_SHARE * times.sum():
            found[request] = int(times.argmax())
    return found


def _is_likewise(facts: Facts, group: Drops, ends: dict[int, int]) -> bool:
    """A fault is near them, and they ended as nearly all of their requests do without one."""
    if group.harm is None or not ends:
        return False
    requests, outcomes = facts.history.attempts.request[group.rows].tolist(), _op_outcome(facts, group.rows).tolist()
    return all(ends.get(request) == outcome for request, outcome in zip(requests, outcomes, strict=True))


def _unique_rows(key: Rows) -> tuple[Rows, Rows]:
    """The different rows, and for each row which of them it is; with one number a row, which sorts faster than ``np.unique(axis=0)``."""
    low, high = key.min(axis=0), key.max(axis=0)
    sizes = high - low + 1
    flat = ((key[:, 0] - low[0]) * sizes[1] + (key[:, 1] - low[1])) * sizes[2] + (key[:, 2] - low[2])
    _, index, place = np.unique(flat, return_index=True, return_inverse=True)
    return key[index], place


def _fault_of(facts: Facts, last: Rows) -> Rows:
    """For each of these attempts the number of the harm that it is attributed to, or -1."""
    attempts = facts.history.attempts
    found = np.full(len(last), -1, dtype=np.int64)
    codes = {name: code for code, name in enumerate(attempts.replicas)}
    order = np.argsort(attempts.done_ns[last], kind="stable")
    invoke, done, replica = attempts.invoke_ns[last[order]], attempts.done_ns[last[order]], attempts.replica[last[order]]
    homeless = (attempts.outcome[last[order]] == CODE[Outcome.REFUSED]) | (replica == codes.get("", -1))
    longest_ns = int((done - invoke).max())
    for harm in sorted(facts.harms, key=lambda harm: harm.order.at_ns):
        # What met the window ended after its beginning, and at most the longest life of an attempt after the window.
        near = slice(*np.searchsorted(done, [harm.order.at_ns, harm.end_ns + longest_ns + 1]).tolist())
        mine = replica[near] == codes.get(harm.order.replica, -2)
        ours = (invoke[near] <= harm.end_ns) & (mine | (homeless[near] & (found[near] < 0)))
        found[near][ours] = harm.number
    in_order = np.empty_like(found)
    in_order[order] = found
    return in_order


def _name_of(facts: Facts, last: Rows, fault: Rows) -> Rows:
    """For each of these attempts the index of its name in `NAMES`; the table at the head of this file in numpy."""
    attempts, ops_outcome = facts.history.attempts, _op_outcome(facts, last)
    signals = np.array([each.order.at_ns for each in facts.harms] or [0], dtype=np.int64)
    kills = np.array([isinstance(each, Fault) and each.is_kill for each in facts.harms] or [False])
    lasting = np.array([isinstance(each, Fault) and each.kind == "signal" for each in facts.harms] or [False])
    at_ns, killed = signals[fault], kills[fault]
    sent = np.where(attempts.sent_ns[last] > 0, attempts.sent_ns[last], attempts.invoke_ns[last])
    race = (ops_outcome == CODE[Outcome.CLOSED]) & attempts.reused[last]
    by_fault = np.select(
        [killed, lasting[fault], sent <= at_ns, race],
        [_NAME_CODE[LOST_BY_KILL], _NAME_CODE[DROPPED_AT_SIGNAL], _NAME_CODE[DROPPED_IN_FLIGHT], _NAME_CODE[KEEP_ALIVE_RACE]],
        default=_NAME_CODE[DROPPED_AFTER_SIGNAL],
    )
    alone = np.full(len(OUTCOMES), _NAME_CODE[DROPPED_WITHOUT_FAULT])
    for outcome, name in {**ALWAYS, **CUT}.items():
        alone[CODE[outcome]] = _NAME_CODE[name]
    cut = np.isin(ops_outcome, [CODE[outcome] for outcome in CUT])
    names: Rows = np.where(cut & (fault >= 0), by_fault, alone[ops_outcome])
    for disturbance in facts.disturbances:
        mine, name = fault == disturbance.number, _name_of_disturbance(disturbance)
        names[mine & cut] = _NAME_CODE[name]
        if disturbance.taken.what in WHILE_UNREACHABLE:
            there = np.array([replica == disturbance.victim.replica for replica in attempts.replicas], dtype=np.bool_)
            names[mine & (ops_outcome == CODE[Outcome.UNAVAILABLE]) & there[attempts.replica[last]]] = _NAME_CODE[name]
    return names


def _name_of_disturbance(disturbance: Disturbance) -> str:
    """What requests are called that were cut while a replica was disturbed."""
    unreachable = WHILE_UNREACHABLE.get(disturbance.taken.what)
    return unreachable or (LOST_BY_OOM if disturbance.oom_ns else DROPPED_WHILE_SQUEEZED)


def _op_outcome(facts: Facts, last: Rows) -> Rows:
    """The outcome of the op of each of these attempts: a last attempt that was refused leaves its op unavailable."""
    outcome = facts.history.attempts.outcome[last]
    refused = np.isin(outcome, [CODE[Outcome.REFUSED], CODE[Outcome.STALE]])
    return np.where(refused, CODE[Outcome.UNAVAILABLE], outcome)


def _group(facts: Facts, name: str, number: int, rows: Rows) -> Drops:
    attempts = facts.history.attempts
    harm = facts.harms[number] if number >= 0 else None
    replica = attempts.replicas[attempts.replica[rows[0]]]
    done, sent = attempts.done_ns[rows], attempts.sent_ns[rows]
    ended = int(done.min()), int(done.max())
    return Drops(
        name=name,
        replica=replica,
        process=facts.process_of(replica),
        life=facts.life(replica),
        harm=harm,
        step=harm.order.step if harm else int(attempts.step[rows[0]]),
        rows=rows,
        offsets_s=(harm.after_s(ended[0]), harm.after_s(ended[1])) if harm else (0.0, 0.0),
        ended_ns=ended,
        sent_ns=(int(sent.min()), int(sent.max())),
        reused=int(np.count_nonzero(attempts.reused[rows])),
        outcomes=_tally(_op_outcome(facts, rows), [outcome.value for outcome in OUTCOMES]),
        reached=_tally(attempts.reached[rows], [REACHED[reached] for reached in Reached]),
        errors=tuple((error, times) for error, times in _tally(attempts.error[rows], attempts.errors) if error),
        statuses=tuple((str(status), times) for status, times in _counts(attempts.status[rows]) if status),
        requests=tuple((request_name(facts, request), times) for request, times in _counts(attempts.request[rows])),
        answered=_answered_around(facts, replica, rows, ended[1]),
        never_else=_never_else(facts, rows),
        unanswered=not bool(facts.answered.any()),
        not_resent=_not_resent(facts, rows),
    )


def _answered_around(facts: Facts, replica: str, rows: Rows, last_ns: int) -> tuple[int, int]:
    """How many of the same requests ``replica`` answered as expected well before ``last_ns``, and after it."""
    done = facts.answered_of(replica, np.unique(facts.history.attempts.request[rows]))
    return int(np.count_nonzero(done < last_ns - SAME_MOMENT_S * NS_PER_S)), int(np.count_nonzero(done > last_ns))


def _never_else(facts: Facts, rows: Rows) -> bool:
    """Whether these attempts, all of one outcome, are of requests that never ended in another way."""
    attempts, kinds = facts.history.attempts, facts.outcomes_of_requests
    requests, outcomes = np.unique(attempts.request[rows]), np.unique(_op_outcome(facts, rows))
    if len(outcomes) != 1 or int(requests.max()) >= len(kinds) or int(requests.min()) < 0:
        return False
    return all(int(kinds[request].sum()) == int(kinds[request, outcomes[0]]) for request in requests.tolist())


def _not_resent(facts: Facts, rows: Rows) -> bool:
    """Whether the load sends requests again, but none of these, whose methods are not idempotent."""
    load, requests = facts.scenario.load, facts.scenario.requests
    mine = [requests[number] for number in np.unique(facts.history.attempts.request[rows]).tolist() if 0 <= number < len(requests)]
    return load.retries > 0 and bool(mine) and not any(request.idempotent for request in mine)


def request_name(facts: Facts, index: int) -> str:
    """What the scenario calls its request number ``index``: its own name, or method and path."""
    requests = facts.scenario.requests
    return requests[index].name if 0 <= index < len(requests) else f"request {index}"


def _counts(values: Rows) -> list[tuple[int, int]]:
    """Each value with how often it is there, most first."""
    found, times = np.unique(values, return_counts=True)
    return sorted(zip(found.tolist(), times.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))


def _tally(codes: Rows, names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    return tuple((names[code] if 0 <= code < len(names) else str(code), times) for code, times in _counts(codes))
