"""What a stop does to connections of each kind: new, reused, idle, silent, half-open, HTTP/1.0 and pipelined.

New and reused ones are the load's: requests that were in flight at the signal, and requests that were sent after it. The others were held
by the harness, where the scenario asks for them. What became of each kind is told for every signal.

Two things are failures. A request of HTTP/1.0, or the pipelined request that was being answered, was lost in a stop that answered the
load's own. And a stop lasted until the end of its grace, with nothing left to answer, and came to its end as soon as nobody held a
connection any more: it had waited for connections on which nothing was under way. Of pipelined requests only the one that is being answered
must be answered: a server may close after any whole answer, with ``Connection: close`` on it or without, and clients must be ready to send
the rest again (RFC 9112, sections 9.3.2 and 9.6).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from harness.checks.facts import NO_ROWS, Facts, Fault, Rows
from harness.checks.held import awaited, dropped_held, held_of, in_flight
from harness.checks.metrics import stops_of
from harness.checks.wording import count, listed, only, some, tally
from harness.clock import NS_PER_S
from harness.history import CODE, OUTCOMES, Held, History
from harness.outcome import Outcome
from harness.units import span
from harness.verdict import Finding, Verdict

CHECK: Final = "connections"

LATE_S: Final = 2.0
"""A stop that closes idle connections so long after its last answer is told to be slow because of them."""

_WITH_EXIT_S: Final = 1.0
"""What ends within this time of its last connection ended because of that."""

MOST_EVIDENCE: Final = 5

_UNUSED: Final = ("idle", "silent", "half-open")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fates:
    """What became of several connections or requests.

    Attributes:
        words: What became of them, and how often.
        after_s: How long after the signal each ended.
        lines: Evidence, with the seconds by which it is sorted, latest first.
    """

    words: Counter[str]
    after_s: list[float]
    lines: list[tuple[float, str]]

    @property
    def gist(self) -> str:
        """``3 ok, 1 closed, after 12 ms (median), 30 ms (longest)``."""
        return f"{tally(self.words.most_common())}, after {span(median(self.after_s))} (median), {span(max(self.after_s))} (longest)"


def check(history: History) -> list[Finding]:
    """Findings for each kind of connection, worst first."""
    facts = Facts(history)
    stops = [fault for fault in stops_of(facts, None) if fault.victim.process == facts.scenario.load_process]
    findings = [*_awaited(facts, stops), *_dropped(facts, stops), *_not_met(facts, stops)]
    findings += [*_closed_late(facts, stops), *_unanswered(facts, stops)]
    for name in dict.fromkeys(fault.signal.signal for fault in stops):
        alike = [fault for fault in stops if fault.signal.signal == name]
        findings += [_of_load(facts, alike, "new"), _of_load(facts, alike, "reused")]
        kinds = dict.fromkeys(held.what for fault in alike for held in held_of(facts, fault))
        findings += [_of_held(facts, alike, kind) for kind in kinds]
    return findings or [Finding(check=CHECK, name="no-stop-met", verdict=Verdict.PASS, title="no stop met a connection")]


def _not_met(facts: Facts, stops: Sequence[Fault]) -> list[Finding]:
    """Kinds that the scenario wants held and that no stop met: none could be made, or no request was being answered on one."""
    held = [(fault, each) for fault in stops for each in held_of(facts, fault)]
    kinds = dict.fromkeys(facts.scenario.load.connections if stops else ())
    return [
        Finding(
            check=CHECK,
            name="held-not-met",
            verdict=Verdict.UNKNOWN,
            title=f"no stop met a connection of the kind {kind}, so nothing is known of what it does to one",
            evidence=some([_held_proof(facts, fault, each) for fault, each in held if each.what == kind]),
            cure="" if kind in _UNUSED else "Give the load a GET that takes a while: the longest of it is what is asked for there.",
        )
        for kind in kinds
        if not any(each.connected_ns if kind in _UNUSED else in_flight(fault, each) for fault, each in held if each.what == kind)
    ]


# --- what became of each ----------------------------------------------------------------------------------------------------


def _of_load(facts: Facts, faults: Sequence[Fault], kind: str) -> Finding:
    """The load's requests on new or on reused connections."""
    attempts = facts.history.attempts
    parts, lines, total = [], [], 0
    for when in ("in flight", "sent after it"):
        fates = _Fates(words=Counter(), after_s=[], lines=[])
        for fault in faults:
            rows = fault.in_flight if when == "in flight" else _sent_after(facts, fault)
            _add(facts, fault, fates, rows[(attempts.reused[rows] == (kind == "reused")) & (attempts.done_ns[rows] > 0)])
        if fates.after_s:
            parts.append(f"{count(len(fates.after_s), 'request')} {when}: {fates.gist}")
            total += len(fates.after_s)
            lines += [(after_s, f"{line}, {when}") for after_s, line in fates.lines]
    return _finding(faults, kind, "; ".join(parts) or "none", lines, total)


def _sent_after(facts: Facts, fault: Fault) -> Rows:
    """Attempts on the victim that began after the signal."""
    rows = facts.by_replica.get(fault.victim.replica, NO_ROWS)
    return rows[facts.history.attempts.invoke_ns[rows] > fault.signal.at_ns]


def _add(facts: Facts, fault: Fault, fates: _Fates, rows: Rows) -> None:
    """Count these attempts; the last of them are evidence."""
    attempts = facts.history.attempts
    rows = rows[np.argsort(-attempts.done_ns[rows])]
    words = [OUTCOMES[code].value for code in attempts.outcome[rows].tolist()]
    after_s = ((attempts.done_ns[rows] - fault.signal.at_ns) / NS_PER_S).tolist()
    fates.words.update(words)
    fates.after_s.extend(after_s)
    for word, each_s in list(zip(words, after_s, strict=True))[:MOST_EVIDENCE]:
        fates.lines.append((each_s, f"{_where(fault)}: {word} {span(each_s)} after {fault.signal.signal}"))


def _of_held(facts: Facts, faults: Sequence[Fault], kind: str) -> Finding:
    """The harness's own connections of one kind."""
    fates = _Fates(words=Counter(), after_s=[], lines=[])
    for fault in faults:
        for held in held_of(facts, fault):
            if held.what == kind:
                after_s = max(0.0, fault.after_s(held.ended_ns))
                fates.words[_word(facts, fault, held)] += 1
                fates.after_s.append(after_s)
                fates.lines.append((after_s, _held_proof(facts, fault, held)))
    return _finding(faults, kind, f"{count(len(fates.after_s), 'connection')}: {fates.gist}", fates.lines, len(fates.after_s))


def _held_proof(facts: Facts, fault: Fault, held: Held) -> str:
    after = f" {span(fault.after_s(held.ended_ns))} after {fault.signal.signal}" if held.ended_ns >= fault.signal.at_ns else ""
    ended = f"; the replica ended after {span(fault.exit_s)}" if fault.exit_s is not None else ""
    return f"{_where(fault)}: {_word(facts, fault, held)}{after}{ended}"


def _word(facts: Facts, fault: Fault, held: Held) -> str:
    """What became of it, in a few words."""
    if held.ended_ns < fault.signal.at_ns:
        return "ended before the signal" if held.connected_ns else "could not be made"
    if held.end == "open":
        return "closed by its client only" if awaited(facts, fault) else "left open"
    if held.what in _UNUSED or not held.connected_ns:
        return held.end
    if held.sent_ns > fault.signal.at_ns:
        return f"sent after the signal, {'answered' if held.end == 'done' else held.end}"
    told = " as it was told" if held.close_told else ""
    return "answered" if held.end == "done" else f"{held.end}{told} after {len(held.answered_ns)} of {count(held.requests, 'answer')}"


def _finding(faults: Sequence[Fault], kind: str, gist: str, lines: Sequence[tuple[float, str]], total: int) -> Finding:
    latest = [line for _, line in sorted(lines, key=lambda each: -each[0])]
    return Finding(
        check=CHECK,
        name="connections-at-signal",
        verdict=Verdict.PASS,
        title=f"{kind} at {faults[0].signal.signal}: {gist}",
        evidence=tuple(latest[:MOST_EVIDENCE]),
        replica=only((fault.victim.replica for fault in faults), ""),
        count=total,
    )


# --- awaited ----------------------------------------------------------------------------------------------------------------


def _awaited(facts: Facts, stops: Sequence[Fault]) -> list[Finding]:
    """Stops whose grace was over while they waited for connections with nothing under way."""
    faults = [fault for fault in stops if awaited(facts, fault)]
    if not faults:
        return []
    kinds = _kinds(held for fault in faults for held in held_of(facts, fault) if held.end == "open")
    return [
        Finding(
            check=CHECK,
            name="idle-connections-awaited",
            verdict=Verdict.FAIL,
            title=f"{_victims(faults)} waited for idle connections until the grace of {span(faults[0].signal.grace_s)} was over",
            evidence=some([_awaited_proof(facts, fault) for fault in faults]),
            cause="With nothing left to answer, it ended as soon as its clients had closed their connections, and not before."
            + (f" Open until then, as the harness held them: {kinds}." if kinds else ""),
            cure="When the signal comes, close connections on which nothing is under way, and give up half-open ones soon; or set the "
            "server's keep-alive and header time-outs below stop_grace_period. Load balancers hold idle connections for minutes.",
            metric="killed_after_grace",
            replica=only((fault.victim.replica for fault in faults), ""),
            step=only((fault.signal.step for fault in faults), -1),
            count=len(faults),
        )
    ]


def _awaited_proof(facts: Facts, fault: Fault) -> str:
    let_go, exited = awaited(facts, fault), fault.victim.exited
    let_go_ns, exited_ns = (let_go.at_ns if let_go else 0), (exited.at_ns if exited else 0)
    return (
        f"{_where(fault)}: {_last_answer(facts, fault)}; connections closed by their clients {span(fault.after_s(let_go_ns))} after "
        f"{fault.signal.signal}; ended {span((exited_ns - let_go_ns) / NS_PER_S)} after that"
    )


def _closed_late(facts: Facts, stops: Sequence[Fault]) -> list[Finding]:
    """Stops that ended by themselves, but long after their last answer, as soon as the last idle connection was closed."""
    found = [(fault, late_ns) for fault in stops if (late_ns := _late_ns(facts, fault))]
    if not found:
        return []
    faults = [fault for fault, _ in found]
    waits = [(late_ns - _idle_since_ns(facts, fault)) / NS_PER_S for fault, late_ns in found]
    lines = [
        f"{_where(fault)}: {_last_answer(facts, fault)}; idle connections closed {span(fault.after_s(late_ns))} after "
        f"{fault.signal.signal}; ended after {span(fault.exit_s or 0.0)}"
        for fault, late_ns in found
    ]
    return [
        Finding(
            check=CHECK,
            name="idle-connections-closed-late",
            verdict=Verdict.PASS,
            title=f"{_victims(faults)} kept idle connections for {span(max(waits))} with nothing left to answer, and then ended",
            evidence=some(lines),
            cure="If that is a keep-alive time-out and no delay on purpose: close idle connections when the signal comes, and stops are "
            "as much faster.",
            replica=only((fault.victim.replica for fault in faults), ""),
            count=len(found),
        )
    ]


def _late_ns(facts: Facts, fault: Fault) -> int:
    """When it closed the last connection that nothing was under way on, if that was late and its end came with it; else 0."""
    closed = [held.ended_ns for held in held_of(facts, fault) if held.what in _UNUSED and held.end in ("closed", "reset")]
    last_ns, exited = max(closed, default=0), fault.victim.exited
    if exited is None or fault.killed or awaited(facts, fault) or last_ns < _idle_since_ns(facts, fault) + LATE_S * NS_PER_S:
        return 0
    return last_ns if exited.at_ns - last_ns <= _WITH_EXIT_S * NS_PER_S else 0


def _idle_since_ns(facts: Facts, fault: Fault) -> int:
    """Since when it had nothing to answer and its router knew."""
    return max(fault.signal.at_ns + round(max(0.0, fault.signal.lag_s) * NS_PER_S), _answered_ns(facts, fault))


def _answered_ns(facts: Facts, fault: Fault) -> int:
    """When it gave its last answer, to the load or to the harness; 0 when it gave none after the signal."""
    attempts = facts.history.attempts
    rows = facts.by_replica.get(fault.victim.replica, NO_ROWS)
    done = attempts.done_ns[rows[attempts.outcome[rows] == CODE[Outcome.OK]]]
    instants = [int(done.max())] if len(done) else []
    instants += [at_ns for held in held_of(facts, fault) for at_ns in held.answered_ns]
    return max((at_ns for at_ns in instants if at_ns > fault.signal.at_ns), default=0)


def _last_answer(facts: Facts, fault: Fault) -> str:
    answered_ns = _answered_ns(facts, fault)
    return f"last answer {span(fault.after_s(answered_ns))} after {fault.signal.signal}" if answered_ns else "nothing left to answer"


# --- dropped ----------------------------------------------------------------------------------------------------------------


_DROPPED_NAMES: Final = {"http/1.0": "http-1-0-dropped", "pipelined": "pipelined-dropped"}

_DROPPED_CURES: Final = {
    "http/1.0": "Wait for every request in flight, also on connections that are not kept: HTTP/1.0 is what some proxies and health "
    "checks speak.",
    "pipelined": "Answer the request that was begun before closing its connection; then say Connection: close, and read what still comes "
    "before closing, or the kernel resets the connection and the answer with it (RFC 9112, section 9.6).",
}


def _dropped(facts: Facts, stops: Sequence[Fault]) -> list[Finding]:
    """Requests that the harness had in flight and that were lost, in stops that have no other finding that says so."""
    findings = []
    for kind, name in _DROPPED_NAMES.items():
        found = [
            (fault, held)
            for fault in stops
            if not _told_elsewhere(facts, fault)
            for held in dropped_held(facts, fault)
            if held.what == kind
        ]
        if not found:
            continue
        replicas = list(dict.fromkeys(fault.victim.replica for fault, _ in found))
        findings.append(
            Finding(
                check=CHECK,
                name=name,
                verdict=Verdict.FAIL,
                title=f"{listed(replicas)} lost {count(len(found), _THINGS[kind])} that {'was' if len(found) == 1 else 'were'} in flight",
                evidence=some([f"{_held_proof(facts, fault, held)}; GET {held.path}" for fault, held in found]),
                cause=_dropped_cause([fault for fault, _ in found]),
                cure=_DROPPED_CURES[kind],
                metric="dropped_held",
                replica=only(replicas, ""),
                step=only((fault.signal.step for fault, _ in found), -1),
                count=len(found),
            )
        )
    return findings


_THINGS: Final = {"http/1.0": "HTTP/1.0 request", "pipelined": "pipelined request"}


def _dropped_cause(faults: Sequence[Fault]) -> str:
    """What the load's own requests say about it."""
    answered = sum(len(fault.in_flight) for fault in faults)
    return f"The same stops lost none of what the load itself had in flight ({count(answered, 'request')})." if answered else ""


def _told_elsewhere(facts: Facts, fault: Fault) -> bool:
    """The stop lost requests of the load too, or did not come to its end: other findings tell, and one fault gets one."""
    outcomes = facts.history.attempts.outcome[fault.in_flight]
    lost = bool(np.any(outcomes != CODE[Outcome.OK]))
    return lost or fault.killed is not None or (fault.victim.exited is not None and fault.victim.exited.oom)


def _unanswered(facts: Facts, stops: Sequence[Fault]) -> list[Finding]:
    """Pipelined requests that a server left unanswered without a word, as it may."""
    found = [
        (fault, held)
        for fault in stops
        for held in held_of(facts, fault)
        if in_flight(fault, held) and held.what == "pipelined" and held not in dropped_held(facts, fault)
        if held.end in ("closed", "reset") and not held.close_told
    ]
    if not found:
        return []
    total = sum(held.requests - len(held.answered_ns) for _, held in found)
    return [
        Finding(
            check=CHECK,
            name="pipelined-unanswered",
            verdict=Verdict.PASS,
            title=f"{count(total, 'pipelined request')} left unanswered when the app closed, and no answer had said that it would",
            evidence=some([_held_proof(facts, fault, held) for fault, held in found]),
            cure="A server may do that (RFC 9112, section 9.3.2), and clients must send them again; Connection: close on the last answer "
            "tells them at once.",
            replica=only((fault.victim.replica for fault, _ in found), ""),
            count=total,
        )
    ]


def _where(fault: Fault) -> str:
    return f"step {fault.signal.step}, {fault.victim.replica}"


def _victims(faults: Sequence[Fault]) -> str:
    return listed(list(dict.fromkeys(fault.victim.replica for fault in faults)))


def _kinds(held: Iterable[Held]) -> str:
    """``1 idle, 1 half-open``."""
    return tally(Counter(each.what for each in held).most_common())
