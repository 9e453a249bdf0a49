"""Whether the run can be trusted: was there load, did each fault land on something busy, is the ledger whole, was the machine well.

A run that fails here proves nothing, whatever the other checks say, so what is found here is *unknown* and names what to change. When
all is well the numbers are told all the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from harness.checks.facts import AFTERMATH_NS, SAME_MOMENT_S, STEP_OF, Disturbance, Facts, Fault, Harm, is_timeout
from harness.checks.wording import count, grouped, listed, percent, some, tally
from harness.clock import NS_PER_S
from harness.history import History, LoadBegan, LoadEnded, Repeated, RunEnded, ServicePhase, StepBegan, StepEnded
from harness.job_history import ACKNOWLEDGED, ANSWERS
from harness.scenario import JOB_MOMENTS, Step, nested
from harness.units import span
from harness.verdict import Finding, Verdict

CHECK: Final = "sanity"

_MOMENTS: Final = {
    "job-started": "it had no job in hand",
    "job-finished": "it had no job that was finished and of which the queue did not know",
    "starting": "it was healthy before the signal",
    "mid-response": "no answer had begun and not ended",
    "just-accepted": "no new connection had sent nothing yet",
}
"""What the ledger says of a victim that was not as `when` demands."""

JOB_CURE: Final = (
    "Put more jobs (rate, count), or jobs that take longer, raise busy_within, look whether jobs.log says what the worker's log says, or "
    "write when: any."
)

MOMENT_CURE: Final = (
    "Send more load, or requests for which that moment lasts (a stream or a large body for mid-response, think_time for idle), "
    "raise busy_within, or write when: any."
)

NO_CONTROL: Final = ", so stalls of the machine can't be told from the app's"

LATE_JOBS: Final = 0.05

JOB_BEFORE: Final = "in the queue before the first fault"
JOB_AFTER: Final = "done after the last fault began"

NO_LOAD_CURE: Final = (
    "No user had anything to send while the run lasted: look at think_time and rate, and at logs/load.log in the run's folder."
)

BUSY_CPU: Final = 0.95
BUSY_SHARE: Final = 0.2
LAG_S: Final = 0.5
LATE_SHARE: Final = 0.01
"""The load process is saturated when it used ``BUSY_CPU`` of its core in more than ``BUSY_SHARE`` of its samples, when its loop lagged
more than ``LAG_S`` once, or when more than ``LATE_SHARE`` of the arrivals of the open model began late."""

CROWDED_SHARE: Final = 0.9
"""When so many of the late arrivals had to wait for a free user, and the load process was well, the app was too slow and not the load."""

CONTROL_UNTIL_S: Final = 1.0
"""The control server has to have answered within so long of the load's last request."""

BUSY_CURES: Final = (
    "Send more load (users or rate), use slower requests or a longer busy_within, or write when: any in the step "
    "(terminate: {replica: any, when: any}) if an idle victim is what you mean."
)


SQUEEZE_CURE: Final = "Squeeze harder (to) or longer (for), or look at how much memory the replica really uses."

REVERSE_CURE: Final = (
    "The engine refused, and the replica went on in that state: what it did from then on proves nothing. "
    "See the engine's own log for why, and run it again."
)


def check(history: History) -> list[Finding]:
    """Findings about the run itself."""
    facts = Facts(history)
    return [
        *_course(facts),
        *_load(facts),
        *_jobs(facts),
        *_ledger(facts),
        *_faults(facts),
        *_reversed(facts),
        *_control(facts),
        *_harness(facts),
        *_starved(facts),
        *_services(facts),
        *_generator(facts),
    ]


def _well(name: str, title: str, *evidence: str, count: int = 0) -> Finding:
    return Finding(check=CHECK, name=name, verdict=Verdict.PASS, title=title, evidence=evidence, count=count)


def _ill(name: str, title: str, evidence: Sequence[str] = (), *, cure: str = "", count: int = 0, step: int = -1) -> Finding:
    return Finding(check=CHECK, name=name, verdict=Verdict.UNKNOWN, title=title, evidence=some(evidence), cure=cure, count=count, step=step)


# --- the course of the run --------------------------------------------------------------------------------------------------


def _course(facts: Facts) -> list[Finding]:
    began, ended = facts.events(StepBegan), facts.events(StepEnded)
    planned = facts.planned
    findings = [
        _ill("step-problem", f"step {step.step} ({_step_words(began, step.step)}): {step.problem}", step=step.step)
        for step in (ended if facts.finished else ended[:-1])  # the last step of a cut run is told by `run-incomplete`
        if step.problem
    ]
    done = {step.step for step in ended if not step.problem}
    missing = [number for number in range(planned + 1) if number not in done and number not in {step.step for step in ended}]
    if not facts.finished or missing:
        return [_incomplete(facts, began, done, planned), *findings]
    return findings or [_well("run-complete", f"{planned} of {count(planned, 'step')} done", count=planned)]


def _incomplete(facts: Facts, began: Sequence[StepBegan], done: set[int], planned: int) -> Finding:
    how = facts.run_ended.how if facts.run_ended else "cut off"
    why = f": {facts.run_ended.why}" if facts.run_ended and facts.run_ended.why else ""
    last = f", in the step: {began[-1].text}" if began else ""
    steps = len(done - {0})
    title = f"the run was {how if how != 'finished' else 'not recorded whole'} after {steps} of {count(planned, 'step')}{why}"
    after = span((facts.end_ns - facts.history.header.started_ns) / NS_PER_S)
    evidence = [f"the history ends {after} after the run began{last}"]
    again = facts.history.header.rerun if how != "aborted" else ""
    return _ill("run-incomplete", title, evidence, cure=f"Run it again: {again}" if again else "")


def _step_words(began: Sequence[StepBegan], number: int) -> str:
    return next((step.text for step in began if step.step == number), "not known")


# --- load and ledger --------------------------------------------------------------------------------------------------------


def _load(facts: Facts) -> list[Finding]:
    """There were answers before the first fault, during the faults and after the last one."""
    if not facts.scenario.has_load:
        return []
    if not len(facts.history.ops):
        if not facts.finished and not facts.events(LoadBegan):
            return []  # the run ended before the load could begin, which `run-incomplete` tells
        return [_ill("no-load", "not one request was sent", cure=NO_LOAD_CURE)]
    answers = facts.answer_ns
    if not facts.harms:
        title = f"{count(len(answers), 'request')} answered, no fault"
        return [_well("load-was-there", title, count=len(answers)) if len(answers) else _gap(["at any time"], [title])]
    first_ns, last_ns = min(harm.order.at_ns for harm in facts.harms), max(harm.over_ns for harm in facts.harms)
    before, until = np.searchsorted(answers, [first_ns, last_ns]).tolist()
    # What a replica that hung alone was asked meanwhile, it answered when it went on.
    begun = facts.history.ops.invoke_ns[facts.answered]
    spans = [(each.taken.at_ns, each.over_ns) for each in facts.disturbances] if until == before else []
    held = sum(int(np.count_nonzero((begun >= begin) & (begun <= end))) for begin, end in spans)
    counts = {"before the first fault": before, "during the faults": until - before + held, "after the last fault": len(answers) - until}
    words = ", ".join(f"{grouped(number)} {when}" for when, number in counts.items())
    missing = [when for when, number in counts.items() if number == 0]
    if missing:
        return [_gap(missing, [f"answered requests: {words}"])]
    return [_well("load-was-there", f"answered requests: {words}", count=len(answers))]


def _jobs(facts: Facts) -> list[Finding]:
    """Whether the jobs were such that faults could show something."""
    if facts.scenario.jobs is None:
        return []
    return [*_job_gaps(facts), *_submissions(facts)]


def _submissions(facts: Facts) -> list[Finding]:
    """As many jobs were submitted as the scenario wants, and when it wants them."""
    jobs, ledger = facts.scenario.jobs, facts.history.jobs
    if jobs is None or not facts.finished or ledger.closed is None:
        return []
    submitted = int(ledger.submissions.sum())
    findings = []
    if jobs.count is not None and submitted < jobs.count:
        title = f"{grouped(submitted)} of {count(jobs.count, 'job')} were submitted before the wait for the end of the jobs was over"
        cure = "Write fewer jobs (count), a higher rate or a longer drain, or look why the queue takes so long to confirm one."
        findings.append(_ill("jobs-not-all-submitted", title, cure=cure, count=jobs.count - submitted))
    away = any(event.phase in ("signalled", "exited") and event.step > 0 for event in facts.events(ServicePhase))
    if submitted and ledger.closed.late / submitted > LATE_JOBS and not away:
        title = (
            f"{grouped(ledger.closed.late)} of {count(submitted, 'job')} left over a second after they were due, so the rate was not kept"
        )
        cure = "Write a lower rate: one thread hands over one job after the other, and waits until each is confirmed."
        findings.append(_ill("jobs-late", title, cure=cure, count=ledger.closed.late))
    return findings


def _job_gaps(facts: Facts) -> list[Finding]:
    """There was a job in the queue before the first fault, and one was done after the last one began."""
    ledger = facts.history.jobs
    blows = [harm.order.at_ns for harm in facts.harms]
    blows += [event.at_ns for event in facts.events(ServicePhase) if event.step > 0 and event.phase in ("signalled", "cut")]
    if not blows or not facts.finished:
        return []
    acknowledged = (ledger.answer == ANSWERS.index(ACKNOWLEDGED)) & (ledger.answered_ns < min(blows))
    done = (ledger.effects > 0) & (ledger.done_ns > max(blows))
    missing = [words for words, there in ((JOB_BEFORE, acknowledged), (JOB_AFTER, done)) if not np.any(there)]
    if not missing:
        return []
    cure = "Put a steady step before the first fault and after the last one, and more jobs (rate, count)."
    return [_ill("jobs-gap", f"no job was {listed(missing)}", cure=cure)]


def _gap(missing: Sequence[str], evidence: Sequence[str]) -> Finding:
    return _ill(
        "load-gap",
        f"no request was answered {listed(missing)}",
        evidence,
        cure="Put a steady step before the first fault and after the last one, and send more load.",
    )


def _ledger(facts: Facts) -> list[Finding]:
    """Every request has an end, and the ledger is as long as the load says."""
    history, attempts = facts.history, facts.history.attempts
    began, ended = facts.events(LoadBegan), facts.events(LoadEnded)
    if not began and not len(attempts):
        return []
    open_attempts, open_ops = int(np.count_nonzero(~attempts.closed)), int(np.count_nonzero(~facts.closed))
    problems = []
    if not began:
        problems.append("its beginning is missing")
    if missing := _missing_events(facts):
        problems.append(f"{count(missing, 'event')} of the run {'is' if missing == 1 else 'are'} missing")
    if history.torn:
        problems.append(f"{count(history.torn, 'line')} can't be read")
    if open_attempts or open_ops:
        problems.append(f"{count(open_ops, 'request')} without an end ({count(open_attempts, 'attempt')})")
    for event in ended:
        if (event.invoked, event.closed) != (len(attempts), len(attempts) - open_attempts):
            told, seen = (event.invoked, event.closed), (len(attempts), len(attempts) - open_attempts)
            problems.append(f"the load began {told[0]} attempts and ended {told[1]}, the ledger holds {seen[0]} and {seen[1]}")
    findings = []
    if not ended:
        findings.append(_load_died(facts))
    if problems:
        findings.append(_ill("ledger-open", f"the ledger is not whole: {listed(problems)}", _open_ops(facts), count=open_ops))
    return findings or [_well("ledger-closed", f"each of {count(len(attempts), 'attempt')} has its end in the ledger", count=len(attempts))]


def _missing_events(facts: Facts) -> int:
    """How many events fewer there are than the run's last line has counted before it; the load process has lines of its own."""
    if facts.run_ended is None or facts.run_ended.lines < 0:
        return 0
    told = sum(not isinstance(event, LoadBegan | LoadEnded | RunEnded) for event in facts.history.events)
    return max(0, facts.run_ended.lines - 1 - told)  # one of the lines is the header


def _load_died(facts: Facts) -> Finding:
    """The load did not close its ledger in order; before the end of a run that was cut off, that is part of being cut off."""
    name = "load-died" if facts.run_ended else "ledger-open"
    title = "the load ended before it was told to" if facts.run_ended else "the load had not ended when the history did"
    attempts = facts.history.attempts
    last_ns = max(int(attempts.invoke_ns.max()), int(attempts.done_ns.max())) if len(attempts) else 0
    evidence = [f"its last line is {span((facts.end_ns - last_ns) / NS_PER_S)} older than the end of the history"] if last_ns else []
    return _ill(name, title, evidence, cure="See the log of the load (logs/load.log in the run's folder)." if facts.run_ended else "")


def _open_ops(facts: Facts) -> list[str]:
    ops, attempts = facts.history.ops, facts.history.attempts
    rows = np.flatnonzero(~facts.closed)[:5]
    return [
        f"op {ops.op[row]}: begun {span((facts.end_ns - int(ops.invoke_ns[row])) / NS_PER_S)} before the end of the history, "
        f"last on {attempts.replicas[attempts.replica[ops.last[row]]] or 'no replica'}"
        for row in rows
    ]


# --- faults -----------------------------------------------------------------------------------------------------------------


def _faults(facts: Facts) -> list[Finding]:
    faults = facts.harms
    findings = [_vacuous(step) for step in _steps_without_victim(facts)]
    chaos = [_chaos(facts, event) for event in facts.events(StepBegan) if event.name == "chaos"]
    findings += [found for found in chaos if found.verdict is not Verdict.PASS]
    told = [found for found in chaos if found.verdict is Verdict.PASS]
    if not faults:
        return [*findings, *told] or [_well("no-fault", "no replica was stopped")]
    missed = [fault for fault in faults if not fault.landed]
    if missed:
        title = f"{count(len(missed), 'fault')} of {len(faults)} did not land"
        squeezes = [harm for harm in missed if harm.kind == "squeeze_memory" and harm.order.delivered]
        cure = SQUEEZE_CURE if len(squeezes) == len(missed) else ""
        findings.append(_ill("fault-not-landed", title, [_missed_words(fault) for fault in missed], cure=cure, count=len(missed)))
    repeated = {(event.step, event.replica) for event in facts.events(Repeated)}
    missed_moment = [
        fault for fault in faults if fault.landed and not fault.met and (fault.order.step, fault.victim.replica) not in repeated
    ]
    idle = [fault for fault in missed_moment if _when(fault) == "in-flight"]
    other = [fault for fault in missed_moment if _when(fault) != "in-flight"]
    if other:
        findings.append(_at_wrong_moment(other, len(faults)))
    loadless = [fault for fault in idle if fault.order.in_flight < 0]
    if loadless:
        findings.append(
            _idle(
                loadless,
                len(faults),
                cure="This process type takes no load: write when: any in the step, as in kill: {process: worker, when: any}.",
            )
        )
    if len(idle) > len(loadless):
        findings.append(_idle([fault for fault in idle if fault.order.in_flight >= 0], len(faults), cure=BUSY_CURES))
    return [*(findings or [_landed(faults)]), *told]


def _chaos(facts: Facts, event: StepBegan) -> Finding:
    """What a chaos step has drawn; unknown when it could harm and harmed nobody."""
    step = facts.steps.get(event.step)
    options = step.chaos if step is not None else None
    drawn = [other for other in facts.events(StepBegan) if other.of == event.step]
    kinds = Counter(other.name for other in drawn)
    items = [item if isinstance(item, str) else item.kind for item in options.of] if options is not None else []
    most = math.ceil(options.lasts.ns / options.every.ns) if options is not None else len(drawn)
    done = tally((kind, kinds[kind]) for kind in dict.fromkeys([*items, *kinds]))
    title = f"step {event.step}, chaos: {len(drawn)} of {count(most, 'step')} done ({done})"
    cure = "Its steps take longer than every: write a longer for, or a longer every." if len(drawn) < most else ""
    numbers = {other.step for other in drawn}
    could = any(part.kind not in HARMLESS for item in (options.of if options else ()) if isinstance(item, Step) for part in nested((item,)))
    if could and not any(harm.order.step in numbers and harm.kind != "scale" for harm in facts.harms):
        title = f"step {event.step}, chaos: {len(drawn)} of {count(most, 'step')} done, none of which was a fault but scaling ({done})"
        return _ill("fault-not-landed", title, cure=cure or "Give it more time, or another seed.", step=event.step)
    return Finding(check=CHECK, name="chaos-done", verdict=Verdict.PASS, title=title, cure=cure, count=len(drawn), step=event.step)


HARMLESS: Final = ("steady", "scale", "together", "stop_service", "start_service", "cut_connections")
"""Steps that need not harm a replica."""


def _steps_without_victim(facts: Facts) -> list[StepBegan]:
    """Steps that had to harm a replica, came to their end without a problem, and yet harmed none."""
    harmful = {number for number, step in facts.steps.items() if any(part.kind not in HARMLESS for part in nested((step,)))}
    harmful -= {number for number, step in facts.steps.items() if step.kind == "chaos"}  # what it drew has numbers of its own
    ended = {event.step for event in facts.events(StepEnded) if not event.problem}
    struck = {harm.order.step for harm in facts.harms}
    return [event for event in facts.events(StepBegan) if event.step in (harmful & ended) - struck]


def _vacuous(step: StepBegan) -> Finding:
    did = "hit" if step.name in STEP_OF.values() else "stopped"
    return _ill("fault-not-landed", f"step {step.step} ({step.text}) {did} no replica", step=step.step)


def _missed_words(harm: Harm) -> str:
    if not harm.order.delivered:
        why = f"it was gone before {'the signal' if isinstance(harm, Fault) else 'that'}"
    else:
        why = "its end was never seen" if isinstance(harm, Fault) else f"the kernel killed nothing in it for {span(harm.lasted_s)}"
    return f"step {harm.order.step}, {harm.words}: {why}"


def _idle(idle: Sequence[Harm], total: int, *, cure: str) -> Finding:
    evidence = [
        f"step {fault.order.step}, {fault.words}: nothing in flight by the ledger"
        + (f", {fault.order.in_flight} as the load told it" if fault.order.in_flight >= 0 else ", it takes no load")
        for fault in idle
    ]
    steps = {fault.order.step for fault in idle}
    title = f"{len(idle)} of {count(total, 'fault')} hit an idle replica: what they would have done to a request is not known"
    return _ill("fault-on-idle", title, evidence, cure=cure, count=len(idle), step=steps.pop() if len(steps) == 1 else -1)


def _when(harm: Harm) -> str:
    """What the step demands of its victim."""
    if harm.kind == "start":
        return "starting"
    return (harm.signal.when if isinstance(harm, Fault) else "") or "in-flight"


def _at_wrong_moment(missed: Sequence[Harm], total: int) -> Finding:
    """Faults that found their victim otherwise than ``when`` demands, by the ledger."""
    evidence = [
        f"step {harm.order.step}, {harm.words}: "
        + (f"{count(harm.busy, 'request')} in flight" if _when(harm) == "idle" else _MOMENTS.get(_when(harm), "not so"))
        + f" by the history; the step wants {_when(harm)}"
        for harm in missed
    ]
    steps = {harm.order.step for harm in missed}
    demanded = listed(sorted({_when(harm) for harm in missed}))
    early = "starting" in demanded
    title = f"{len(missed)} of {count(total, 'fault')} came at another moment than the scenario demands: {demanded}"
    cure = "Write an earlier at: in terminate_at_start, such as 50% or ready." if early else MOMENT_CURE
    if all(_when(harm) in JOB_MOMENTS for harm in missed):
        cure = JOB_CURE
    return _ill("fault-at-wrong-moment", title, evidence, cure=cure, count=len(missed), step=steps.pop() if len(steps) == 1 else -1)


def _landed(faults: Sequence[Harm]) -> Finding:
    on_jobs = [fault for fault in faults if _when(fault) in JOB_MOMENTS]
    others = [fault for fault in faults if _when(fault) not in JOB_MOMENTS]
    kinds_of_busy = ((others, "request", "in flight"), (on_jobs, "job", "in hand"))
    each = listed([_busy_words(group, thing, where) for group, thing, where in kinds_of_busy if group])
    kinds = {kind: sum(fault.kind == kind for fault in faults) for kind in dict.fromkeys(fault.kind for fault in faults)}
    evidence = tally(kinds.items())
    return _well("faults-landed", f"{len(faults)} of {count(len(faults), 'fault')} landed, {each}", evidence, count=len(faults))


def _busy_words(faults: Sequence[Harm], thing: str, where: str) -> str:
    busy = [fault.busy for fault in faults]
    low, high = min(busy), max(busy)
    idle = [fault for fault in faults if not fault.busy]
    if idle:
        return f"{len(faults) - len(idle)} of them on a replica with a {thing} {where}"
    return f"each with {f'{low} to {high}' if low != high else low} {thing}{'' if high == 1 else 's'} {where}"


def _reversed(facts: Facts) -> list[Finding]:
    """What was taken away from a replica that lived on was given back."""
    kept = [each for each in facts.disturbances if _not_reversed(facts, each)]
    if not kept:
        return []
    title = f"{len(kept)} of {count(len(facts.disturbances), 'disturbance')} could not be undone, though the replica lived on"
    steps = {each.order.step for each in kept}
    lines = [_kept_words(facts, each) for each in kept]
    return [_ill("fault-not-reversed", title, lines, cure=REVERSE_CURE, count=len(kept), step=steps.pop() if len(steps) == 1 else -1)]


def _not_reversed(facts: Facts, each: Disturbance) -> bool:
    """It landed and was not given back, while engine and victim were there. An exit may be told a moment late."""
    if each.restored is None or each.restored.delivered or not each.order.delivered:
        return False
    tried_ns, exited = each.restored.until_ns, each.victim.exited
    ended = exited is not None and exited.at_ns <= tried_ns + SAME_MOMENT_S * NS_PER_S
    return not ended and tried_ns <= facts.lost_ns - AFTERMATH_NS


def _kept_words(facts: Facts, each: Disturbance) -> str:
    until_ns = each.victim.exited.at_ns if each.victim.exited else facts.end_ns
    then = "until it ended" if each.victim.exited else "until the history ends"
    after = span((each.over_ns - facts.history.header.started_ns) / NS_PER_S)
    return (
        f"step {each.order.step}, {each.words}: not undone {span(each.lasted_s)} after it began, {after} after the run began; "
        f"it stayed so for {span((until_ns - each.over_ns) / NS_PER_S)}, {then}"
    )


# --- the machine ------------------------------------------------------------------------------------------------------------


def _control(facts: Facts) -> list[Finding]:
    """The control sampler asks a server that does nothing: what is slow or missing there is the machine's doing."""
    controls = facts.history.controls
    if not len(facts.history.ops):
        return []
    if not controls:
        return [_ill("control-missing", f"the control sampler left no sample{NO_CONTROL}")]
    if gaps := _control_gaps(facts):
        cure = "Look at what ended or hindered the control server: a firewall, a limit of open files, a machine that is too busy."
        return [_ill("control-missing", f"the control sampler has too little to say: {listed(gaps)}{NO_CONTROL}", cure=cure)]
    worst_s = max(control.done_ns - control.at_ns for control in controls) / NS_PER_S
    failures = sum(not control.ok for control in controls)
    stalls = facts.stalls
    numbers = f"{count(len(controls), 'control request')}: {failures} failed, the slowest took {span(worst_s)}"
    if not stalls:
        return [_well("control-clean", numbers, count=len(controls))]
    hidden = int(np.count_nonzero(facts.stalled))
    longest_first = sorted(stalls, key=lambda stall: stall[0] - stall[1])
    lines = some([_stall_words(facts, begin_ns, end_ns) for begin_ns, end_ns in longest_first], most=5)
    if not hidden:
        title = f"the machine stalled, but no request was lost to that; {numbers}"
        return [_well("control-stalled", title, *lines, count=len(stalls))]
    title = f"the machine stalled while {count(hidden, 'request')} timed out, so that is not blamed on the app; {numbers}"
    return [_ill("control-stalled", title, lines, cure="Run it on a quieter machine, or with less load.", count=hidden)]


def _control_gaps(facts: Facts) -> list[str]:
    """Why the samples don't cover the load; its end is its last request, for the sampler doesn't wait for what is still under way."""
    controls = facts.history.controls
    end_ns = int(facts.history.attempts.invoke_ns.max())
    good = [control.done_ns for control in controls if control.ok]
    gaps = []
    if not good or end_ns - max(good) > CONTROL_UNTIL_S * NS_PER_S:
        gaps.append(f"no answer in the last {span(CONTROL_UNTIL_S)} of the load")
    if 2 * len(good) < len(controls):
        gaps.append(f"{len(good)} of {count(len(controls), 'sample')} answered")
    errors = [control.error for control in controls if not control.ok and control.done_ns <= end_ns and not is_timeout(control.error)]
    if errors:
        told = tally((error or "without an answer", times) for error, times in Counter(errors).most_common())
        gaps.append(f"{count(len(errors), 'sample')} failed other than by time ({told})")
    return gaps


def _harness(facts: Facts) -> list[Finding]:
    """What the harness saw late, it measured too long, and what it did late was not the stop that was asked for."""
    stalls = facts.harness_stalls
    if not stalls:
        return []
    longest_first = sorted(stalls, key=lambda stall: -stall.seconds)
    longest = span(longest_first[0].seconds)
    if moved := [stall for stall in longest_first if stall.moved]:
        lines = [f"{span(stall.seconds)} during {stall.words}" for stall in moved]
        during = listed([stall.words for stall in stalls if stall.moved])
        title = f"the harness itself stood still for {span(moved[0].seconds)} in {during}, so it was not as the scenario says"
        return [_ill("harness-stalled", title, lines, cure="Run it on a quieter machine, or with less load.", count=len(moved))]
    lines = [f"{stall.words} may be up to {span(stall.seconds)} shorter than measured" for stall in longest_first]
    title = f"the harness itself stood still for {longest} while it timed {listed([stall.words for stall in stalls])}"
    return [_well("harness-stalled", title, *some(lines), count=len(stalls))]


def _starved(facts: Facts) -> list[Finding]:
    """What the machine had no CPU for can't be blamed for its slowness."""
    starved = list(facts.starved.values())
    if not starved:
        return []
    lines = [
        f"step {each.step}, {each.replica}: of {span((each.at_ns - each.since_ns) / NS_PER_S)} it ran for {span(each.ran_ns / NS_PER_S)}; "
        f"its threads were ready to run and waited for a CPU for {span(each.waited_ns / NS_PER_S)} in all"
        for each in starved
    ]
    title = f"the machine had no CPU for {listed([each.replica for each in starved])}, so nobody knows if the time would have sufficed"
    cure = "Run it on a quieter machine, or with fewer replicas; containers share what is left by the programs outside of them."
    return [_ill("replica-starved", title, some(lines), cure=cure, count=len(starved))]


def _services(facts: Facts) -> list[Finding]:
    """No backing service ended although nobody had asked it to; what the app did without it proves nothing of its own."""
    told = facts.events(ServicePhase)
    ended = [event for event in told if event.phase == "exited" and event.detail]
    if not ended:
        return [_well("services-disturbed", listed(lines), count=len(lines))] if (lines := list(_disturbed_services(told))) else []
    began_ns = facts.history.header.started_ns
    lines = [
        f"{event.service} ended with status {event.status}, {span((event.at_ns - began_ns) / NS_PER_S)} after the run began"
        + (f"; its last words: {event.log[-1].strip()}" if event.log else "")
        for event in ended
    ]
    title = f"{listed([event.service for event in ended])} ended although nobody had asked for it"
    cure = "See the service's log in the run's folder (logs/): memory, disk, or a limit of this machine."
    return [_ill("service-died", title, some(lines), cure=cure, count=len(ended))]


def _disturbed_services(told: Sequence[ServicePhase]) -> Iterator[str]:
    """What steps did to each service: ``redis was stopped twice and away for 1.02 s at most``."""
    for service in dict.fromkeys(event.service for event in told):
        mine = [event for event in told if event.service == service]
        signals = [event.at_ns for event in mine if event.phase == "signalled"]
        stops = [event.at_ns for event in mine if event.phase == "exited" and any(at_ns <= event.at_ns for at_ns in signals)]
        cuts = sum(event.phase == "cut" for event in mine)
        ready = [event.at_ns for event in mine if event.phase == "ready"]
        away = [min((at_ns for at_ns in ready if at_ns > gone_ns), default=0) - gone_ns for gone_ns in stops]
        if stops:
            back = f" and away for {span(max(away) / NS_PER_S)} at most" if min(away) > 0 else " and did not come back"
            yield f"{service} was stopped {count(len(stops), 'time')}{back}"
        if cuts:
            yield f"the connections of {service} were cut {count(cuts, 'time')}"


def _stall_words(facts: Facts, begin_ns: int, end_ns: int) -> str:
    after = span((begin_ns - facts.history.header.started_ns) / NS_PER_S)
    return f"{span((end_ns - begin_ns) / NS_PER_S)} from {after} after the run began"


def _generator(facts: Facts) -> list[Finding]:
    """The load process had time to spare; a saturated one measures itself."""
    samples = facts.history.generator
    if not len(facts.history.ops):
        return []
    if not samples:
        return [_ill("generator-missing", "the load did not say how it was, so nobody knows whether it kept up")]
    busy = sum(sample.cpu >= BUSY_CPU for sample in samples) / len(samples)
    lag_s = max(sample.lag_ns for sample in samples) / NS_PER_S
    arrivals, late, crowded = (sum(getattr(sample, name) for sample in samples) for name in ("arrivals", "late", "crowded"))
    used = percent(float(np.median([sample.cpu for sample in samples])))
    numbers = f"the load used {used} of a core (median), its loop lagged at most {span(lag_s)}"
    numbers += f", {late} of {count(arrivals, 'arrival')} began late" if arrivals else ""
    problems = []
    if busy > BUSY_SHARE:
        problems.append(f"it was at its limit in {percent(busy)} of its samples")
    if lag_s > LAG_S:
        problems.append(f"its loop lagged {span(lag_s)}")
    if unsent := int(np.count_nonzero(facts.unsent)):
        problems.append(f"it had no port, file or memory left to send {count(unsent, 'request')}")
    if arrivals and late / arrivals > LATE_SHARE:
        words = f"{percent(late / arrivals)} of the arrivals began late"
        if not problems and crowded >= CROWDED_SHARE * late:
            title = f"the app was too slow for the rate: {words}, since all users were waiting for answers"
            cure = "Send less (rate), raise users if that many requests may be under way at once, or run more replicas."
            return [_ill("app-too-slow-for-rate", title, [numbers], cure=cure)]
        problems.append(words)
    if not problems:
        return [_well("generator-clean", numbers, count=len(samples))]
    title = f"the load could not keep up: {listed(problems)}"
    cure = "Send less load (rate, users, think_time), raise ulimit -n if it ran out of files, or use a faster machine."
    return [_ill("generator-saturated", title, [numbers], cure=cure)]
