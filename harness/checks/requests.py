"""What became of the requests: how many were dropped, by which fault, on which replica, in which phase, why, and what to change.

Nothing that was retried, redirected or sent again passes in silence: each has a finding of its own. A run in which no fault dropped a
request says how strong that zero is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec
import numpy as np

from harness.checks import drops as names
from harness.checks.causes import LIKEWISE_CURE, explain, explain_stop
from harness.checks.drops import DropBook, Drops, book, saved_book, saved_by_retry
from harness.checks.evidence import Stop
from harness.checks.facts import SAME_MOMENT_S, STOP_PURPOSES, Facts, Fault
from harness.checks.metrics import dropped_knocks, stops_of
from harness.checks.power import bound
from harness.checks.refusals import refusals
from harness.checks.wording import between, count, grouped, listed, none_did, offset, only, some, tally
from harness.clock import NS_PER_S
from harness.history import CODE, OUTCOMES, History, Knocked
from harness.outcome import Outcome
from harness.units import span
from harness.verdict import Finding, Verdict

CHECK: Final = "requests"
METRIC: Final = "dropped_requests"

PURPOSES: Final[dict[str, str]] = {
    "terminate": "termination",
    "scale": "stop of a scale-down",
    "kill": "kill",
    "signal": "signal that a replica should live through",
    "pause": "pause",
    "cut_network": "network cut",
    "squeeze_memory": "memory squeeze",
}
"""What one harm of each kind is called."""

SURPLUS: Final = "SURPLUS"
"""The error of an answer after which more bytes came than it had announced."""

TITLES: Final[dict[str, str]] = {
    names.DROPPED_IN_FLIGHT: "{count} that {were} in flight at the signal {were} dropped",
    names.DROPPED_AFTER_SIGNAL: "{count} that came to a replica after its signal {were} dropped",
    names.KEEP_ALIVE_RACE: "{count} on kept-alive connections met the closing of them",
    names.LOST_BY_KILL: "{count} {were} lost by SIGKILL",
    names.DROPPED_AT_SIGNAL: "{count} {were} dropped around a signal that the replica should live through",
    names.DROPPED_WHILE_PAUSED: "{count} {were} dropped while a replica hung",
    names.DROPPED_WHILE_CUT_OFF: "{count} {were} dropped while a replica was off the network",
    names.LOST_BY_OOM: "{count} {were} lost when the kernel killed for want of memory",
    names.DROPPED_WHILE_SQUEEZED: "{count} {were} dropped while a replica had little memory",
    names.UNAVAILABLE: "{count} found no replica that took them",
    names.TRUNCATED_ANSWERS: "{count} got an answer that was cut",
    names.TIMEOUTS: "{count} got no whole answer in time",
    names.ERRORS: "{count} {were} answered with an error",
    names.REJECTED: "{count} {were} rejected with 503 or 429",
    names.WRONG_ANSWERS: "{count} got an answer that is not as expected",
    names.DROPPED_WITHOUT_FAULT: "{count} lost the connection before an answer, with no fault near",
    names.UNFINISHED: "{count} {were} still under way when the load ended",
}


def check(history: History) -> list[Finding]:
    """Findings about every request of the load."""
    facts = Facts(history)
    if not facts.scenario.has_load and not len(history.ops):
        return [Finding(check=CHECK, name="no-load-wanted", verdict=Verdict.PASS, title="the scenario has no load, only jobs")]
    if not len(history.ops):
        return [Finding(check=CHECK, name="no-requests", verdict=Verdict.UNKNOWN, title="there was no request, so nothing is known of any")]
    drops = book(facts)
    return [
        _counted(facts),
        *_dropped(drops),
        *_cut_off(facts),
        *_kept(facts),
        *_saved(facts),
        *_scaled_to_zero(facts),
        *_outage(facts),
        *_refused_without_fault(facts),
        *_orphans(facts),
        *_not_provable(facts),
        *_surplus(facts),
        *_strength(facts, drops),
        *_dropped_knocks(facts),
        *_listeners(facts),
    ]


def _counted(facts: Facts) -> Finding:
    began_ns, ended_ns = facts.load_ns
    total, kept = len(facts.history.ops), int(np.count_nonzero(facts.answered))
    rate = f", {kept * NS_PER_S / (ended_ns - began_ns):.0f} answers a second" if ended_ns > began_ns else ""
    outcomes = [(outcome.value, times) for outcome, times in facts.outcomes.items() if times]
    return Finding(
        check=CHECK,
        name="requests-counted",
        verdict=Verdict.PASS,
        title=f"{count(total, 'request')}, {grouped(kept)} answered as expected{rate}",
        evidence=(tally(outcomes),),
        count=total,
    )


# --- dropped ----------------------------------------------------------------------------------------------------------------


def _dropped(drops: DropBook) -> list[Finding]:
    """One finding for each name, process type and cause; its groups of replica and fault are the evidence."""
    alike: dict[tuple[str, str, str, str], list[Drops]] = {}
    for group in drops.groups:
        cause, cure = explain(group)
        # Numbers differ from fault to fault; what is to be changed does not.
        alike.setdefault((group.name, group.process, cure or cause, cure), []).append(group)
    findings = [_finding(name, groups) for (name, _, _, _), groups in alike.items()]
    # What a fault has no part in stands behind the finding that tells of all like it.
    return sorted(findings, key=lambda finding: (finding.cure == LIKEWISE_CURE, names.NAMES.index(finding.name), -finding.count))


def _finding(name: str, groups: Sequence[Drops]) -> Finding:
    total = sum(group.count for group in groups)
    cause, cure = explain(groups[0])
    if len({explain(group)[0] for group in groups}) > 1:
        cause = f"{groups[0].replica}: {cause}"
    replicas = {group.replica for group in groups}
    faults = {group.harm.number for group in groups if group.harm}
    where = [listed(sorted(replica or "no replica" for replica in replicas))]
    where += [f"after {count(len(faults), 'fault')}"] if faults else []
    title = TITLES[name].format(count=count(total, "request"), were="was" if total == 1 else "were")
    return Finding(
        check=CHECK,
        name=name,
        verdict=Verdict.FAIL,
        title=f"{title} ({', '.join(where)})",
        evidence=some([_proof(group) for group in groups]),
        cause=cause,
        cure=cure,
        metric=METRIC,
        replica=only(replicas, ""),
        step=only((group.step for group in groups), -1),
        count=total,
    )


def _proof(group: Drops) -> str:
    """One line: where, when, how far, on what connection, with which error, which requests, and the replica's last words."""
    where = f"step {group.step}, {group.replica or 'no replica'}"
    if group.harm:
        after = f"{between(*group.offsets_s)} after {group.harm.blow}"
        where += f": {grouped(group.count)} {after}"
    else:
        where += f": {grouped(group.count)}, no fault near"
    connections = [(word, times) for word, times in (("new", group.new), ("reused", group.reused)) if times]
    parts = [where, f"got as far as: {tally(group.reached)}", f"connections: {tally(connections)}"]
    parts += [tally(group.errors)] if group.errors else []
    parts += [tally((f"with status {status}", times) for status, times in group.statuses)] if group.statuses else []
    parts += [tally(group.requests[:3])]
    if group.life.last_log_line:
        parts.append(f"last log line: {group.life.last_log_line[:160]}")
    return "; ".join(parts)


def _cut_off(facts: Facts) -> list[Finding]:
    """What was under way when a run that did not come to its end stopped its load."""
    ops = facts.history.ops
    cut = int(np.count_nonzero(facts.closed & (ops.outcome == CODE[Outcome.UNFINISHED])))
    if facts.finished or not cut:
        return []
    title = f"{count(cut, 'request')} {'was' if cut == 1 else 'were'} under way when the run was cut off: answered or dropped, nobody knows"
    return [Finding(check=CHECK, name=names.UNFINISHED, verdict=Verdict.UNKNOWN, title=title, count=cut)]


# --- answered, though not at the first attempt ------------------------------------------------------------------------------


def _kept(facts: Facts) -> list[Finding]:
    attempts = facts.history.attempts
    stale = int(np.count_nonzero(attempts.outcome == CODE[Outcome.STALE]))
    notes = [
        ("redirected", facts.outcomes[Outcome.REDIRECTED], "{} refused by one replica and answered by another, as a router does it"),
        ("retried", facts.outcomes[Outcome.RETRIED], "{} answered only after a retry that the scenario permits"),
    ]
    findings = [
        Finding(check=CHECK, name=name, verdict=Verdict.PASS, title=title.format(count(times, "request")), count=times)
        for name, times, title in notes
        if times
    ]
    if facts.outcomes[Outcome.RETRIED]:
        findings[-1] = _with_first_failures(facts, findings[-1])
    if stale:
        title = f"{count(stale, 'kept-alive connection')} closed before a byte left; sent again on a new one"
        findings.append(Finding(check=CHECK, name="stale-connections", verdict=Verdict.PASS, title=title, count=stale))
    return findings


def _with_first_failures(facts: Facts, finding: Finding) -> Finding:
    """``finding`` with what the attempts before the answered one met."""
    ops, attempts = facts.history.ops, facts.history.attempts
    retried = ops.op[ops.outcome == CODE[Outcome.RETRIED]]
    failed = np.isin(attempts.op, retried) & attempts.closed & (attempts.outcome != CODE[Outcome.OK])
    times = Counter(OUTCOMES[code].value for code in attempts.outcome[failed].tolist())
    return Finding(
        check=finding.check,
        name=finding.name,
        verdict=finding.verdict,
        title=finding.title,
        evidence=(f"before that: {tally(times.most_common())}",),
        count=finding.count,
    )


def _saved(facts: Facts) -> list[Finding]:
    """What only a retry saved from a stop in order: advice, since a client without one would have lost it, and an app may do better.

    What a kill cuts is not among it: retries are there for that.
    """
    groups = [group for group in saved_book(facts).groups if group.fault and group.fault.kind in STOP_PURPOSES]
    alike: dict[tuple[str, str, str], list[Drops]] = {}
    for group in groups:
        cause, cure = explain(group)
        alike.setdefault((group.name, group.process, cure or cause), []).append(group)
    findings = []
    for mine in alike.values():
        told = _finding(mine[0].name, mine)
        attempts = np.concatenate([group.rows for group in mine])
        number = len(np.unique(facts.history.attempts.op[attempts]))
        times = f" ({count(len(attempts), 'attempt')})" if len(attempts) > number else ""
        findings.append(
            msgspec.structs.replace(
                told,
                name="saved-by-retry",
                verdict=Verdict.PASS,
                title=f"only a retry saved {count(number, 'request')}{times} from what is otherwise {told.name} "
                f"({listed(sorted({group.replica for group in mine}))})",
                count=number,
                metric="retried_requests",
            )
        )
    return findings


def _scaled_to_zero(facts: Facts) -> list[Finding]:
    """Requests that came while the scenario itself wanted no replica, or until it had one again."""
    found = int(np.count_nonzero(facts.scaled_to_zero))
    if not facts.zero_spans:
        return []
    spans = [f"{span((end - begin) / NS_PER_S)} from {_since_start(facts, begin)}" for begin, end in facts.zero_spans]
    requests = f"{count(found, 'request')} found no replica while the scenario itself had scaled to none"
    title = f"{requests}, and {'is' if found == 1 else 'are'} not counted"
    return [Finding(check=CHECK, name="scaled-to-zero", verdict=Verdict.PASS, title=title, evidence=some(spans, most=5), count=found)]


def _since_start(facts: Facts, at_ns: int) -> str:
    return f"{span((at_ns - facts.history.header.started_ns) / NS_PER_S)} after the run began"


def _refused_without_fault(facts: Facts) -> list[Finding]:
    """Live replicas that refused a connection though nobody had touched them; that another one answered does not make it right."""
    attempts, rows = facts.history.attempts, refusals(facts)
    if not len(rows):
        return []
    replicas = Counter(attempts.replicas[code] for code in attempts.replica[rows].tolist())
    began_ns = facts.history.header.started_ns
    lines = [
        f"{attempts.replicas[attempts.replica[row]]}: {attempts.errors[attempts.error[row]] or 'refused'}, "
        f"{span((int(attempts.invoke_ns[row]) - began_ns) / NS_PER_S)} after the run began"
        for row in rows[:5].tolist()
    ]
    return [
        Finding(
            check=CHECK,
            name="refused-without-fault",
            verdict=Verdict.FAIL,
            title=f"{count(len(rows), 'connection')} {'was' if len(rows) == 1 else 'were'} refused by replicas that nobody had touched "
            f"({listed(sorted(replicas))}); other replicas answered",
            evidence=(tally((f"by {replica}", times) for replica, times in replicas.most_common()), *lines),
            cure="Look for a server that reopens its listener, or workers that restart; its log may say. With one replica these are lost.",
            metric="redirected_requests",
            replica=only(replicas, ""),
            count=len(rows),
        )
    ]


def _orphans(facts: Facts) -> list[Finding]:
    """Answers that came when the main process had been gone for a while."""
    found = [(fault, late_s) for fault in facts.faults if (late_s := _answered_after_exit(facts, fault))]
    if not found:
        return []
    total = sum(len(late_s) for _, late_s in found)
    replicas = [fault.victim.replica for fault, _ in found]
    were = "was" if total == 1 else "were"
    lines = [
        f"step {fault.signal.step}, {fault.victim.replica}: the main process was gone {span(fault.exit_s or 0.0)} after "
        f"{fault.signal.signal}; {count(len(late_s), 'answer')} {between(min(late_s), max(late_s))} after that"
        for fault, late_s in found
    ]
    return [
        Finding(
            check=CHECK,
            name="answered-by-orphans",
            verdict=Verdict.FAIL,
            title=f"{count(total, 'request')} {were} answered after the main process had ended ({listed(replicas)})",
            evidence=some(lines),
            cause="The main process ended before its workers had answered; in a container they would have been cut.",
            cure="Let the main process wait for its workers before it exits.",
            metric="survivors",
            replica=only(replicas, ""),
            count=total,
        )
    ]


def _answered_after_exit(facts: Facts, fault: Fault) -> list[float]:
    """Seconds from the end of the main process to each later answer to what was in flight at a stop, but for what a stall held up."""
    exited, attempts = fault.victim.exited, facts.history.attempts
    if fault.is_kill or exited is None or fault.victim.survived:  # survivors are told as such
        return []
    answered = fault.in_flight[attempts.outcome[fault.in_flight] == CODE[Outcome.OK]]
    after_ns = exited.at_ns + SAME_MOMENT_S * NS_PER_S
    late = [done_ns for done_ns in attempts.done_ns[answered].tolist() if done_ns > after_ns]
    return [(done_ns - exited.at_ns) / NS_PER_S for done_ns in late if not facts.stalled_between(exited.at_ns, done_ns)]


def _not_provable(facts: Facts) -> list[Finding]:
    """Answers whose end nothing but the end of the connection told, near a signal or an exit, which ends connections too."""
    attempts, rows = facts.history.attempts, facts.unproven
    if not len(rows):
        return []
    requests = Counter(names.request_name(facts, request) for request in attempts.request[rows].tolist())
    replicas = Counter(attempts.replicas[code] for code in attempts.replica[rows].tolist())
    one = len(rows) == 1
    return [
        Finding(
            check=CHECK,
            name="end-not-provable",
            verdict=Verdict.UNKNOWN,
            title=f"{count(len(rows), 'answer')} near a signal or an exit {'was' if one else 'were'} ended by nothing but the end of the "
            f"connection: whole or cut, nobody knows",
            evidence=(tally(requests.most_common()), tally((f"of {replica}", times) for replica, times in sorted(replicas.items()))),
            cure="Write body or body_contains in the request's expect, or let the app send Content-Length.",
            replica=only(replicas, ""),
            count=len(rows),
        )
    ]


def _surplus(facts: Facts) -> list[Finding]:
    """Answers after which more bytes came than they had announced."""
    attempts = facts.history.attempts
    codes = [code for code, error in enumerate(attempts.errors) if error == SURPLUS]
    rows = np.flatnonzero(np.isin(attempts.error, codes))
    if not len(rows):
        return []
    requests = Counter(names.request_name(facts, request) for request in attempts.request[rows].tolist())
    return [
        Finding(
            check=CHECK,
            name="surplus-bytes",
            verdict=Verdict.UNKNOWN,
            title=f"more bytes than announced came after {count(len(rows), 'answer')}: where {'it ends' if len(rows) == 1 else 'they end'} "
            "nobody knows",
            evidence=(tally(requests.most_common()),),
            cure="Content-Length is too small: let the server count the bytes of the body, not its characters.",
            count=len(rows),
        )
    ]


def _outage(facts: Facts) -> list[Finding]:
    """How long nobody, and how long one client, got an answer."""
    if not facts.outages:
        return []
    lengths = [(end_ns - begin_ns) / NS_PER_S for begin_ns, end_ns in facts.outages]
    user, begin_ns, end_ns = facts.longest_client_outage
    evidence = [
        f"{count(len(lengths), 'span')} between two answers with a failed request in it, {span(sum(lengths))} in all",
        f"longest for one client: {span((end_ns - begin_ns) / NS_PER_S)} (client {user})",
    ]
    title = f"the longest span in which no client got an answer: {span(max(lengths))}"
    return [Finding(check=CHECK, name="outage", verdict=Verdict.PASS, title=title, evidence=tuple(evidence), count=len(lengths))]


# --- strength and listeners -------------------------------------------------------------------------------------------------


def _strength(facts: Facts, drops: DropBook) -> list[Finding]:
    """For each kind, when none of the faults that hit a busy replica dropped a request: how strong that is.

    Of stops that only a retry saved nothing is claimed: see `_saved`.
    """
    findings = []
    saved = saved_by_retry(facts)
    for purpose, thing in PURPOSES.items():
        trials = [
            harm for harm in facts.harms if harm.kind == purpose and harm.tells and harm.victim.process == facts.scenario.load_process
        ]
        hits = [harm for harm in facts.harms if harm.kind == purpose and harm.number in drops.faults | saved]
        strength = bound(0, len(trials))
        if hits or strength is None:
            continue
        again = facts.outcomes[Outcome.RETRIED]
        findings.append(
            Finding(
                check=CHECK,
                name="no-request-dropped",
                verdict=Verdict.PASS,
                title=none_did(strength, thing, "dropped a request"),
                evidence=(f"thanks to the retries of {count(again, 'request')}",) if again else (),
                count=len(trials),
                bound=strength,
            )
        )
    return findings


def _dropped_knocks(facts: Facts) -> list[Finding]:
    """New connections that were lost while the router did not yet know of the stop and so would have sent users there, by their cure."""
    alike: dict[str, list[tuple[Fault, str, list[Knocked]]]] = {}
    for fault in stops_of(facts, None):
        if lost := dropped_knocks(facts, fault):
            cause, cure = explain_stop("new-connections-dropped", Stop(facts=facts, fault=fault))
            alike.setdefault(cure, []).append((fault, cause, lost))
    return [_dropped_knock(cure, found) for cure, found in alike.items()]


def _dropped_knock(cure: str, found: Sequence[tuple[Fault, str, list[Knocked]]]) -> Finding:
    total = sum(len(lost) for *_, lost in found)
    replicas = [fault.victim.replica for fault, *_ in found]
    lines = []
    for fault, _, lost in found:
        results = tally(Counter(knock.result for knock in lost).most_common())
        spread = f"{offset(fault.after_s(lost[0].at_ns))} to {offset(fault.after_s(lost[-1].done_ns))} after {fault.signal.signal}"
        waiting = fault.victim.closed.backlog if fault.victim.closed else 0
        lines.append(
            f"step {fault.signal.step}, {fault.victim.replica}: {results}, {spread}, the router learned of it after "
            f"{span(fault.signal.lag_s)}; {count(waiting, 'connection')} in the accept queue when the port was closed"
        )
    return Finding(
        check=CHECK,
        name="new-connections-dropped",
        verdict=Verdict.FAIL,
        title=f"{count(total, 'new connection')} after the signal {'was' if total == 1 else 'were'} taken and then lost, "
        f"before the router knew of the stop ({listed(replicas)})",
        evidence=some(lines),
        cause=found[0][1],
        cure=cure,
        metric="dropped_knocks",
        replica=only(replicas, ""),
        step=only((fault.signal.step for fault, *_ in found), -1),
        count=total,
    )


def _listeners(facts: Facts) -> list[Finding]:
    """What listeners did after the signal, for each process type and signal."""
    alike: dict[tuple[str, str], list[Fault]] = {}
    for fault in facts.faults:
        if fault.victim.knocks or fault.victim.closed:
            alike.setdefault((fault.victim.process, fault.signal.signal), []).append(fault)
    return [_listener(process, name, faults) for (process, name), faults in alike.items()]


def _listener(process: str, signal: str, faults: Sequence[Fault]) -> Finding:
    results = Counter(knock.result for fault in faults for knock in fault.victim.knocks)
    closed = [fault.after_s(fault.victim.closed.at_ns) for fault in faults if fault.victim.closed]
    waiting = max((fault.victim.closed.backlog for fault in faults if fault.victim.closed), default=0)
    parts = [f"new connections: {tally(results.most_common())}"] if results else []
    if closed:
        parts.append(f"the port was closed after {span(median(closed))} (median), {span(max(closed))} (longest)")
    parts.append(f"at most {count(waiting, 'connection')} in the accept queue then" if waiting else "")
    by_length = sorted(faults, key=_taken_s, reverse=True)
    return Finding(
        check=CHECK,
        name="listener-after-signal",
        verdict=Verdict.PASS,
        title=f"{process} after {signal}: {'; '.join(part for part in parts if part)}",
        evidence=some([_listener_proof(fault) for fault in by_length], most=5),
        replica=only((fault.victim.replica for fault in faults), ""),
        count=len(faults),
    )


def _taken_s(fault: Fault) -> float:
    """Seconds after the signal until which a knock was last not refused."""
    return max((fault.after_s(knock.done_ns) for knock in fault.victim.knocks if knock.result != "refused"), default=0.0)


def _listener_proof(fault: Fault) -> str:
    runs: list[tuple[str, int, int]] = []
    for knock in fault.victim.knocks:
        if runs and runs[-1][0] == knock.result:
            runs[-1] = (knock.result, runs[-1][1], knock.done_ns)
        else:
            runs.append((knock.result, knock.at_ns, knock.done_ns))
    words = [f"{result} {offset(fault.after_s(begin))} to {offset(fault.after_s(end))}" for result, begin, end in runs[:6]]
    words += ["…"] if len(runs) > 6 else []
    if fault.victim.closed:
        words.append(f"port closed {offset(fault.after_s(fault.victim.closed.at_ns))}, {fault.victim.closed.backlog} in the accept queue")
    return f"step {fault.signal.step}, {fault.victim.replica}: {', '.join(words)}"
