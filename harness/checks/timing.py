"""How long starts and stops took, phase by phase, and how they ended.

Start phases are counted from the instant before the replica was asked for, stop phases from the instant before the signal. Where a runtime
makes a container first, the app's own phases count from the instant at which its command runs, and those of the runtime are told by
themselves, the removal after the end among them. A stop that needed SIGKILL at the end of its grace, descendants that outlived their
replica, a replica that ended by itself and one that never got healthy are failures; each is told once, under the name that says most.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from harness.checks.causes import explain_start, explain_stop
from harness.checks.deaths import denial, died_by_itself, ended_by_oom
from harness.checks.evidence import Start, Stop, last_words, log_block
from harness.checks.facts import Facts, Fault, Life
from harness.checks.held import awaited
from harness.checks.metrics import SAMPLERS, early_stops_of, lives_of, stops_of
from harness.checks.power import bound
from harness.checks.shells import Swallowed, main_of, swallowed
from harness.checks.wording import count, listed, none_did, only, percent, some, tally
from harness.clock import NS_PER_S
from harness.history import History
from harness.threshold import percentile
from harness.units import span
from harness.verdict import Finding, Verdict

CHECK: Final = "timing"

PHASES: Final[dict[str, str]] = {
    "created": "time_to_created",
    "started": "time_to_started",
    "running": "time_to_running",
    "listening": "time_to_listening",
    "healthy": "startup_time",
    "first answer": "time_to_first_answer",
    "stopped listening": "time_to_stop_listening",
    "drained": "time_to_drained",
    "exited": "shutdown_time",
    "removed": "runtime_remove_time",
}
"""Each phase and the metric that measures it."""

RUNTIME_PHASES: Final = ("created", "started", "running")
APP_PHASES: Final = ("listening", "healthy", "first answer")


class PhaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """The statistics of one phase of one process type.

    ``begin`` is ``spawned`` for starts and ``signalled`` for stops; with a runtime between, ``running`` for the app's share of a start and
    ``exited`` for the runtime's share of a stop.
    """

    process: str
    begin: str
    phase: str
    count: int
    median_s: float
    p95_s: float
    max_s: float


def check(history: History) -> list[Finding]:
    """Findings about every start and every stop."""
    facts = Facts(history)
    if not lives_of(facts, None):
        return [Finding(check=CHECK, name="no-replicas", verdict=Verdict.UNKNOWN, title="no replica was started, so nothing was timed")]
    shells = swallowed(facts)
    told = {each.fault.number for each in shells}
    return [
        *_failed_starts(facts),
        *_died(facts),
        *_shell_findings(facts, shells),
        *_killed(facts, told),
        *_stopped_at_start(facts),
        *_ended_by_signals(facts),
        *_crashed(facts),
        *_survivors(facts, told),
        *_tables(table_of(facts)),
        *_stops(facts),
    ]


def table_of(facts: Facts) -> tuple[PhaseRow, ...]:
    """The statistics of each phase that was measured, by process type in the order of `PHASES`."""
    processes = dict.fromkeys(life.process for life in lives_of(facts, None))
    measured = ((process, phase, SAMPLERS[metric](facts, process)) for process in processes for phase, metric in PHASES.items())
    return tuple(
        PhaseRow(
            process=process,
            begin=_begin(facts, process, phase),
            phase=phase,
            count=len(samples),
            median_s=percentile(samples, 50),
            p95_s=percentile(samples, 95),
            max_s=max(samples),
        )
        for process, phase, samples in measured
        if samples
    )


def _begin(facts: Facts, process: str, phase: str) -> str:
    """What a phase is counted from."""
    if phase in RUNTIME_PHASES:
        return "spawned"
    if phase in APP_PHASES:
        return "running" if any(life.created_ns for life in lives_of(facts, process)) else "spawned"
    return "exited" if phase == "removed" else "signalled"


# --- starts -----------------------------------------------------------------------------------------------------------------

_START_NAMES: Final = {"never-healthy": "never-ready", "exited": "exited-at-start", "port-taken": "port-taken"}

_START_TITLES: Final = {
    "never-ready": "{replicas} did not become healthy in time",
    "exited-at-start": "{replicas} ended before being healthy",
    "port-taken": "{replicas} could not take its port",
    "start-failed": "{replicas} did not start",
}


def _failed_starts(facts: Facts) -> list[Finding]:
    """One finding for each name, process type and cure."""
    alike: dict[tuple[str, str, str], list[Life]] = {}
    for life in lives_of(facts, None):
        told = _told_by_posture(facts, life) or life.replica in facts.starved
        if life.failed and not life.lost and not life.stopped_at_start and not told:
            name = _START_NAMES.get(life.failed.reason, "start-failed")
            alike.setdefault((name, life.process, explain_start(name, Start(facts=facts, life=life))[1]), []).append(life)
    return [_failed_start(facts, name, lives) for (name, _, _), lives in alike.items()]


def _failed_start(facts: Facts, name: str, lives: Sequence[Life]) -> Finding:
    cause, cure = _cause_of_starts(facts, name, lives)
    return Finding(
        check=CHECK,
        name=name,
        verdict=Verdict.FAIL,
        title=_start_title(name, lives),
        evidence=some([_start_proof(life) for life in lives], most=3) + log_block(lives),
        cause=cause,
        cure=cure,
        metric="failed_starts",
        replica=only((life.replica for life in lives), ""),
        step=only((life.failed.step for life in lives if life.failed), -1),
        count=len(lives),
    )


def _start_title(name: str, lives: Sequence[Life]) -> str:
    title = _START_TITLES[name].format(replicas=listed([life.replica for life in lives]))
    at_once = any(life.failed and "certificate was refused" in life.failed.detail for life in lives)
    return title.removesuffix(" in time") if at_once else title


def _cause_of_starts(facts: Facts, name: str, lives: Sequence[Life]) -> tuple[str, str]:
    """Cause and cure of the first one, with the names of those of which the same is said."""
    told = [(life.replica, *explain_start(name, Start(facts=facts, life=life))) for life in lives]
    replica, cause, cure = told[0]
    alike = [other for other, theirs, _ in told[1:] if theirs.replace(other, replica) == cause]
    return (f"{cause} (likewise {listed(alike)})" if alike and replica in cause else cause), cure


def _told_by_posture(facts: Facts, life: Life) -> bool:
    """Its end has a name that says more."""
    return ended_by_oom(facts, life) or denial(facts, life) is not None


def _start_proof(life: Life) -> str:
    failed_ns, detail = (life.failed.at_ns, life.failed.detail) if life.failed else (0, "")
    after, listening = (span((instant_ns - life.spawned_ns) / NS_PER_S) for instant_ns in (failed_ns, life.listening_ns))
    opened = f"its port was open after {listening}" if life.listening_ns else "no port was open"
    step = life.failed.step if life.failed else -1
    return f"step {step}, {life.replica}: given up {after} after its start, {opened}: {detail}"


def _died(facts: Facts) -> list[Finding]:
    """Replicas that ended although nobody had stopped them."""
    dead = [life for life in lives_of(facts, None) if died_by_itself(facts, life) and not _told_by_posture(facts, life)]
    if not dead:
        return []
    return [
        Finding(
            check=CHECK,
            name="died-by-itself",
            verdict=Verdict.FAIL,
            title=f"{listed([life.replica for life in dead])} ended although nobody had stopped {'it' if len(dead) == 1 else 'them'}",
            evidence=some([_death_proof(life) for life in dead], most=3) + log_block(dead),
            cause=last_words(dead[0]),
            cure="Mend what ended it; logs/ in the run's folder has all that it wrote.",
            metric="died_by_itself",
            replica=only((life.replica for life in dead), ""),
            count=len(dead),
        )
    ]


def _death_proof(life: Life) -> str:
    status, at_ns = (life.exited.status, life.exited.at_ns) if life.exited else (-1, life.spawned_ns)
    return f"{life.replica}: {_status(status)}, {span((at_ns - life.spawned_ns) / NS_PER_S)} after its start"


def _status(status: int) -> str:
    if status < 0:
        return "an exit status that is not known"
    return f"exit status {status}" + (f" (ended by signal {status - 128})" if status > 128 else "")


# --- stops ------------------------------------------------------------------------------------------------------------------


_SHELL_NAMES: Final = {
    "command": "signal-swallowed-by-shell",
    "script": "signal-not-forwarded",
    "init": "signal-not-forwarded",
}

_SHELL_TITLES: Final = {
    "command": "{signal} did not get past the shell of {replicas}",
    "script": "{signal} did not get past the start script of {replicas}",
    "init": "{signal} did not get past process 1 of {replicas}",
}


def _shell_findings(facts: Facts, shells: Sequence[Swallowed]) -> list[Finding]:
    findings = []
    for by in dict.fromkeys(each.by for each in shells):
        mine = [each for each in shells if each.by == by]
        faults = [each.fault for each in mine]
        name = _SHELL_NAMES[by]
        cause, cure = explain_stop(name, Stop(facts=facts, fault=faults[0], swallowed=mine[0]))
        title = _SHELL_TITLES[by].format(signal=faults[0].signal.signal, replicas=_victims(faults))
        evidence = some([_shell_proof(each) for each in mine])
        findings.append(_of_faults(faults, name, title, evidence, (cause, cure), metric=_shell_metric(faults)))
    return findings


def _of_faults(faults: Sequence[Fault], name: str, title: str, evidence: tuple[str, ...], told: tuple[str, str], *, metric: str) -> Finding:
    """The failure of some stops, with cause and cure as ``told``."""
    return Finding(
        check=CHECK,
        name=name,
        verdict=Verdict.FAIL,
        title=title,
        evidence=evidence,
        cause=told[0],
        cure=told[1],
        metric=metric,
        count=len(faults),
        replica=only((fault.victim.replica for fault in faults), ""),
        step=only((fault.signal.step for fault in faults), -1),
    )


def _shell_proof(each: Swallowed) -> str:
    return f"step {each.fault.signal.step}, {each.fault.victim.replica}: {each.proof}; {main_of(each.fault.victim)}"


def _shell_metric(faults: Sequence[Fault]) -> str:
    """The metric that shows most of what went wrong."""
    if any(fault.victim.survived for fault in faults):
        return "survivors"
    return "killed_after_grace" if any(fault.killed for fault in faults) else "cut_off"


def _of_stops(facts: Facts, name: str, faults: Sequence[Fault]) -> list[tuple[list[Fault], str, str]]:
    """``faults`` that one finding speaks of, by what cures them: the faults, the cause and the cure."""
    explained = [(fault, *explain_stop(name, Stop(facts=facts, fault=fault))) for fault in faults]
    cures = dict.fromkeys(cure for _, _, cure in explained)
    groups = [[each for each in explained if each[2] == cure] for cure in cures]
    return [([fault for fault, *_ in group], _cause_of_all(group), group[0][2]) for group in groups]


def _cause_of_all(group: Sequence[tuple[Fault, str, str]]) -> str:
    """The first one's cause; where those of others read otherwise, with its replica."""
    fault, cause, _ = group[0]
    return cause if len({each[1] for each in group}) == 1 else f"{fault.victim.replica}: {cause}"


def _killed(facts: Facts, told: set[int]) -> list[Finding]:
    """Stops that needed SIGKILL at the end of their grace."""
    killed = [fault for fault in stops_of(facts, None) if fault.killed and fault.number not in told and not _starved(facts, fault)]
    findings = []
    for faults, cause, cure in _of_stops(facts, "killed-after-grace", killed):
        title = f"{_victims(faults)} had to be killed at the end of the grace of {span(faults[0].signal.grace_s)}"
        evidence = some([_killed_proof(fault) for fault in faults])
        findings.append(_of_faults(faults, "killed-after-grace", title, evidence, (cause, cure), metric="killed_after_grace"))
    return findings


def _starved(facts: Facts, fault: Fault) -> bool:
    """The machine had no CPU for it: see `replica-starved`."""
    return fault.victim.replica in facts.starved


def _stopped_at_start(facts: Facts) -> list[Finding]:
    """Replicas that did not take it well to be stopped before they were healthy."""
    stops = early_stops_of(facts, None)
    killed = [fault for fault in stops if fault.killed and not _starved(facts, fault)]
    broken = [fault for fault in stops if not fault.killed and _broke(fault) and not ended_by_oom(facts, fault.victim)]
    findings = []
    for name, metric, mine in (
        ("ignored-while-starting", "killed_after_grace", killed),
        ("crashed-while-starting", "failed_starts", broken),
    ):
        for faults, cause, cure in _of_stops(facts, name, mine):
            signal_name, lives = faults[0].signal.signal, [fault.victim for fault in faults]
            did = "had to be killed after" if name.startswith("ignored") else "broke at"
            title = f"{_victims(faults)} {did} a {signal_name} that came while {'it' if len(lives) == 1 else 'they'} started"
            evidence = some([_early_proof(fault) for fault in faults]) + log_block(lives)
            findings.append(_of_faults(faults, name, title, evidence, (cause, cure), metric=metric))
    return findings


def _broke(fault: Fault) -> bool:
    """It ended in another way than with status 0 or by the signal itself, though its end was seen."""
    status = fault.victim.exited.status if fault.victim.exited else -1
    return status > 0 and _ended_by(fault) != fault.signal.signal


def _early_proof(fault: Fault) -> str:
    life = fault.victim
    after = span((fault.signal.at_ns - life.spawned_ns) / NS_PER_S)
    status = _status(life.exited.status) if life.exited else "no end"
    sent = f"step {fault.signal.step}, {life.replica}: {fault.signal.signal} {after} after its start"
    return f"{sent}; {status}, {span(fault.exit_s or 0.0)} later"


def _ended_by_signals(facts: Facts) -> list[Finding]:
    """Replicas that a signal ended which they should have lived through."""
    ended = [fault for fault in facts.faults if fault.kind == "signal" and fault.victim.ended_by is fault.signal]
    findings = []
    for faults, cause, cure in _of_stops(facts, "ended-by-signal", ended):
        title = f"{_victims(faults)} ended by {listed(sorted({fault.signal.signal for fault in faults}))}, which it should live through"
        evidence = some([_crash_proof(fault) for fault in faults]) + log_block([fault.victim for fault in faults])
        findings.append(_of_faults(faults, "ended-by-signal", title, evidence, (cause, cure), metric="died_by_itself"))
    return findings


def _torn_down(fault: Fault) -> bool:
    """The harness itself ended it at the end of the run, in the middle of its stop."""
    return any(signal.purpose == "teardown" and signal.delivered for signal in fault.victim.signals)


def _crashed(facts: Facts) -> list[Finding]:
    """Stops that another signal than ours ended: the app broke while it stopped."""
    faults = [
        fault
        for fault in stops_of(facts, None)
        if not (fault.killed or _torn_down(fault) or ended_by_oom(facts, fault.victim))
        and _ended_by(fault) not in ("", fault.signal.signal)
    ]
    if not faults:
        return []
    title = f"{_victims(faults)} did not end by {faults[0].signal.signal} but by {listed(sorted({_ended_by(f) for f in faults}))}"
    evidence = some([_crash_proof(fault) for fault in faults]) + log_block([fault.victim for fault in faults])
    told = explain_stop("crashed-while-stopping", Stop(facts=facts, fault=faults[0]))
    return [_of_faults(faults, "crashed-while-stopping", title, evidence, told, metric="exit_status")]


def _ended_by(fault: Fault) -> str:
    """The name of the signal that ended the victim, by its exit status; empty for none."""
    number = fault.victim.exited.status - 128 if fault.victim.exited else 0
    return next((each.name for each in signal.Signals if each.value == number), "")


def _crash_proof(fault: Fault) -> str:
    status = fault.victim.exited.status if fault.victim.exited else -1
    return f"step {fault.signal.step}, {fault.victim.replica}: {_status(status)}, {span(fault.exit_s or 0.0)} after {fault.signal.signal}"


def _killed_proof(fault: Fault) -> str:
    knocks = Counter(knock.result for knock in fault.victim.knocks)
    heard = f"; new connections: {tally(knocks.most_common())}" if knocks else ""
    last = f"; last log line: {fault.victim.last_log_line[:160]}" if fault.victim.last_log_line else ""
    killed_s = fault.after_s(fault.killed.at_ns) if fault.killed else 0.0
    return f"step {fault.signal.step}, {fault.victim.replica}: SIGKILL {span(killed_s)} after {fault.signal.signal}{heard}{last}"


def _survivors(facts: Facts, told: set[int]) -> list[Finding]:
    """Descendants that outlived their replica."""
    explained = {fault.victim.replica for fault in facts.faults if fault.number in told}
    stops = {fault.victim.replica: fault for fault in facts.faults if fault.kind != "signal"}
    alike: dict[tuple[str, str], list[Life]] = {}
    for life in lives_of(facts, None):
        if life.survived and life.replica not in explained:
            fault = stops.get(life.replica)
            alike.setdefault(explain_stop("survivors", Stop(facts=facts, fault=fault)) if fault else ("", ""), []).append(life)
    by_cure: dict[str, list[tuple[str, Life]]] = {}
    for (cause, cure), lives in alike.items():
        by_cure.setdefault(cure, []).extend((cause, life) for life in lives)
    return [_survivor(mine[0][0], cure, [life for _, life in mine]) for cure, mine in by_cure.items()]


def _survivor(cause: str, cure: str, lives: Sequence[Life]) -> Finding:
    lines = [
        f"{life.replica}: pid {process.pid}{' (holds the port)' if process.listening else ''}, "
        f"still there after {span(event.after_ns / NS_PER_S)}: {process.command}"
        for life in lives
        for event in life.survived
        for process in event.processes
    ]
    return Finding(
        check=CHECK,
        name="survivors",
        verdict=Verdict.FAIL,
        title=f"{count(len(lines), 'process', 'processes')} outlived {listed([life.replica for life in lives])}",
        evidence=some(lines),
        cause=cause,
        cure=cure,
        metric="survivors",
        replica=only((life.replica for life in lives), ""),
        count=len(lines),
    )


def _victims(faults: Sequence[Fault]) -> str:
    return listed(list(dict.fromkeys(fault.victim.replica for fault in faults)))


# --- numbers ----------------------------------------------------------------------------------------------------------------


def _tables(rows: Iterable[PhaseRow]) -> list[Finding]:
    """The table of phases, starts and stops by themselves."""
    findings = []
    rows = list(rows)
    for begins, name, thing in ((("spawned", "running"), "start-phases", "start"), (("signalled", "exited"), "stop-phases", "stop")):
        mine = [row for row in rows if row.begin in begins]
        if not mine:
            continue
        last = [row for row in mine if row.phase in ("healthy", "exited")] or mine[-1:]
        slowest = "; ".join(_row_gist(row) for row in last)
        findings.append(
            Finding(
                check=CHECK,
                name=name,
                verdict=Verdict.PASS,
                title=f"{count(max(row.count for row in mine), thing)}: {slowest}",
                evidence=tuple(_row_words(row) for row in mine),
                count=max(row.count for row in mine),
            )
        )
    return findings or [_nothing_timed()]


def _nothing_timed() -> Finding:
    return Finding(check=CHECK, name="no-phases", verdict=Verdict.UNKNOWN, title="no replica reached a phase that could be timed")


def _row_gist(row: PhaseRow) -> str:
    own = " of its own, once its container ran" if row.begin == "running" else ""
    return f"{row.process} {row.phase} after {span(row.median_s)} (median), {span(row.max_s)} (longest){own}"


def _row_words(row: PhaseRow) -> str:
    statistics = f"median {span(row.median_s)}, p95 {span(row.p95_s)}, max {span(row.max_s)}"
    return f"{row.process} {row.begin} → {row.phase}: {count(row.count, 'time')}, {statistics}"


def _stops(facts: Facts) -> list[Finding]:
    """The share of the grace that stops used, how many ended by themselves, and with which exit status; each zero with its bound."""
    stops = [fault for fault in stops_of(facts, None) if fault.victim.exited]
    if not stops:
        return []
    killed = sum(fault.killed is not None or awaited(facts, fault) is not None for fault in stops)
    statuses = Counter(f"with {_status(fault.victim.exited.status)}" for fault in stops if fault.victim.exited)
    shares = SAMPLERS["grace_share"](facts, None)
    used = f"; the longest used {percent(max(shares))} of its grace" if shares else ""
    title = f"{len(stops) - killed} of {count(len(stops), 'stop')} ended without SIGKILL{used}"
    strength = None if killed else bound(0, len(stops))
    evidence = [tally(statuses.most_common())]
    if strength:
        evidence.append(none_did(strength, "stop", "needed SIGKILL"))
    statuses_told = Finding(
        check=CHECK, name="exit-statuses", verdict=Verdict.PASS, title=title, evidence=tuple(evidence), count=len(stops), bound=strength
    )
    return [statuses_told, *_no_survivors(stops)]


def _no_survivors(stops: Sequence[Fault]) -> list[Finding]:
    """How strong it is that no stop left a process behind; nothing can outlive process 1 of a container."""
    stops = [fault for fault in stops if fault.victim.contained is None]
    strength = bound(0, len(stops))
    if strength is None or any(fault.victim.survived for fault in stops):
        return []
    title = none_did(strength, "stop", "left a process behind")
    return [Finding(check=CHECK, name="no-survivors", verdict=Verdict.PASS, title=title, count=len(stops), bound=strength)]
