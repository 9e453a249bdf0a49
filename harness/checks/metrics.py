"""How each metric of `harness.threshold.METRICS` is measured from a history.

A sampler gives all samples of its metric in its own unit (seconds, shares, counts), of one process type or of all together. It answers
with an empty list where nothing could be measured, and with a zero only where there was something to count over: a
run without a request has no dropped requests *and no proof of it*, so ``dropped_requests`` has no sample then. Metrics of requests
belong to the process type that takes the load; of any other one they have no samples. What only a container shows has samples where there
were containers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final, TypeAlias

import numpy as np

from harness.checks.deaths import died_by_itself, oom_kills_of
from harness.checks.facts import SAME_MOMENT_S, STOP_PURPOSES, Facts, Fault, Harm, Life, Mask
from harness.checks.held import awaited, dropped_held, held_of, in_flight
from harness.checks.job_facts import JobFacts, busy_at, jobs_of
from harness.checks.state_judgement import DIVERGED_KEYS, LOST_WRITES, STALE_READS, STATE_ERRORS, state_of, state_sampler
from harness.checks.state_walks import broken, differing, last_answers
from harness.checks.subscriptions import Stream, cut_at_stop, met_stops, streams_of
from harness.checks.writes import written
from harness.clock import NS_PER_S
from harness.history import CODE, Knocked, LoadBegan, Process
from harness.outcome import Outcome

Sampler: TypeAlias = Callable[[Facts, str | None], list[float]]
OfLife: TypeAlias = Callable[[Life], float | None]
OfStop: TypeAlias = Callable[[Fault], float | None]


# --- requests ---------------------------------------------------------------------------------------------------------------


def _takes_load(facts: Facts, process: str | None) -> bool:
    """There were requests, and they were those of ``process``."""
    return len(facts.history.ops) > 0 and (process is None or process == facts.scenario.load_process)


def _requests(facts: Facts, process: str | None) -> list[float]:
    return [float(len(facts.history.ops))] if _takes_load(facts, process) else []


def _of_outcome(outcome: Outcome) -> Sampler:
    """Counts ops that ended with ``outcome``."""

    def sampler(facts: Facts, process: str | None) -> list[float]:
        return [float(facts.outcomes[outcome])] if _takes_load(facts, process) else []

    return sampler


def _blamed(outcome: Outcome) -> Sampler:
    """Counts ops that ended with ``outcome``, but not what the machine or the scenario itself is to blame for."""

    def sampler(facts: Facts, process: str | None) -> list[float]:
        blamed = (facts.history.ops.outcome == CODE[outcome]) & ~facts.blameless
        return [float(np.count_nonzero(blamed))] if _takes_load(facts, process) else []

    return sampler


def _dropped(facts: Facts, process: str | None) -> list[float]:
    return [float(np.count_nonzero(facts.dropped))] if _takes_load(facts, process) else []


def _error_rate(facts: Facts, process: str | None) -> list[float]:
    return [float(np.mean(facts.dropped))] if _takes_load(facts, process) else []


def _stale(facts: Facts, process: str | None) -> list[float]:
    stale = np.count_nonzero(facts.history.attempts.outcome == CODE[Outcome.STALE])
    return [float(stale)] if _takes_load(facts, process) else []


def _requests_per_second(facts: Facts, process: str | None) -> list[float]:
    began_ns, ended_ns = facts.load_ns
    if not _takes_load(facts, process) or ended_ns <= began_ns:
        return []
    return [float(np.count_nonzero(facts.answered)) * NS_PER_S / (ended_ns - began_ns)]


def _response_time(facts: Facts, process: str | None) -> list[float]:
    attempts = facts.history.attempts
    rows = np.flatnonzero((attempts.outcome == CODE[Outcome.OK]) & (attempts.sent_ns > 0) & ~facts.streaming)
    spans: list[float] = ((attempts.done_ns[rows] - attempts.sent_ns[rows]) / NS_PER_S).tolist()
    return spans if _takes_load(facts, process) else []


def _outage_time(facts: Facts, process: str | None) -> list[float]:
    if not _takes_load(facts, process):
        return []
    return [(end_ns - begin_ns) / NS_PER_S for begin_ns, end_ns in facts.outages] or [0.0]


# --- streams ----------------------------------------------------------------------------------------------------------------


def _of_events(events: Callable[[Stream], int]) -> Sampler:
    """Counts over the streams that are to be resumed, where each can be verified."""

    def sampler(facts: Facts, process: str | None) -> list[float]:
        asked = [stream for stream in streams_of(facts) if stream.resume]
        provable = bool(asked) and not any(stream.why_not for stream in asked)
        return [float(sum(events(stream) for stream in asked))] if provable and _takes_load(facts, process) else []

    return sampler


def _resumed_streams(facts: Facts, process: str | None) -> list[float]:
    streams = streams_of(facts)
    return [float(sum(len(stream.proven) for stream in streams))] if streams and _takes_load(facts, process) else []


def _resume_time(facts: Facts, process: str | None) -> list[float]:
    return [away_s for stream in streams_of(facts) for away_s in stream.away_s] if _takes_load(facts, process) else []


def _cut_streams(facts: Facts, process: str | None) -> list[float]:
    streams = streams_of(facts)
    return [float(len(cut_at_stop(streams)))] if met_stops(streams) and _takes_load(facts, process) else []


# --- state ------------------------------------------------------------------------------------------------------------------


def _differing_answers(facts: Facts, process: str | None) -> list[float]:
    """Requests that replicas answered differently, where at least two of them were asked."""
    state = state_of(facts).facts
    named = {name: workload for name, workload in facts.scenario.state.items() if workload.model == "same"}
    asked = [{line.replica for line in last_answers(state, name) if not line.error} for name in named]
    if not any(len(replicas) > 1 for replicas in asked) or process not in (None, facts.scenario.load_process):
        return []
    return [float(sum(len(differing(state, name, workload)) for name, workload in named.items()))]


def _broken_journeys(facts: Facts, process: str | None) -> list[float]:
    """Journeys that could not go on at another replica, where there was another one."""
    made = facts.history.state.journeys
    if not any(line.before for line in made) or process not in (None, facts.scenario.load_process):
        return []
    return [float(len(broken(made)))]


# --- jobs -------------------------------------------------------------------------------------------------------------------


def _has_jobs(facts: Facts, process: str | None) -> bool:
    """There were jobs, and they were those of ``process``."""
    jobs = facts.scenario.jobs
    return jobs is not None and bool(np.any(jobs_of(facts).submitted)) and process in (None, facts.scenario.job_process)


def _of_jobs(mask: Callable[[JobFacts], Mask]) -> Sampler:
    """Counts jobs of what did happen."""

    def sampler(facts: Facts, process: str | None) -> list[float]:
        return [float(np.count_nonzero(mask(jobs_of(facts))))] if _has_jobs(facts, process) else []

    return sampler


def _of_missing(mask: Callable[[JobFacts], Mask]) -> Sampler:
    """Counts jobs of what did not happen, where that is known: none is no proof while some may yet be done."""

    def sampler(facts: Facts, process: str | None) -> list[float]:
        if not _has_jobs(facts, process):
            return []
        jobs = jobs_of(facts)
        found = int(np.count_nonzero(mask(jobs)))
        proven = jobs.known and bool(np.any(jobs.acknowledged)) and (found > 0 or not np.any(jobs.left))
        return [float(found)] if proven else []

    return sampler


def _unexpected_jobs(facts: Facts, process: str | None) -> list[float]:
    """Effects tell it by themselves, whatever is left."""
    jobs = jobs_of(facts)
    return [float(np.count_nonzero(jobs.unexpected))] if _has_jobs(facts, process) and jobs.known else []


def _duplicated_jobs(facts: Facts, process: str | None) -> list[float]:
    """Where a place of effects can't tell two from one, none is no proof."""
    if not _has_jobs(facts, process):
        return []
    jobs = jobs_of(facts)
    found = int(np.count_nonzero(jobs.duplicated))
    provable = jobs.known and jobs.drained is not None and jobs.drained.counts
    return [float(found)] if found or provable else []


def _job_time(facts: Facts, process: str | None) -> list[float]:
    times: list[float] = jobs_of(facts).job_times_s.tolist() if _has_jobs(facts, process) else []
    return times


# --- starts -----------------------------------------------------------------------------------------------------------------


def lives_of(facts: Facts, process: str | None) -> list[Life]:
    """Replicas of ``process``, or all, that the run started."""
    return [life for life in facts.lives.values() if life.spawned_ns and process in (None, life.process)]


def _since_spawned(instant_ns: Callable[[Life], int]) -> OfLife:
    return lambda life: (instant_ns(life) - life.spawned_ns) / NS_PER_S if instant_ns(life) else None


def _since_app_began(instant_ns: Callable[[Life], int]) -> OfLife:
    """From spawned, or from running where a runtime had to make a container first."""
    return lambda life: (instant_ns(life) - life.app_began_ns) / NS_PER_S if instant_ns(life) else None


def _removed_s(life: Life) -> float | None:
    return (life.removed_ns - life.exited.at_ns) / NS_PER_S if life.removed_ns and life.exited and not life.lost else None


LIFE_TIMES: Final[dict[str, OfLife]] = {
    "time_to_running": _since_spawned(lambda life: life.running_ns),
    "time_to_created": _since_spawned(lambda life: life.created_ns),
    "time_to_started": _since_spawned(lambda life: life.started_ns),
    "runtime_start_time": _since_spawned(lambda life: life.running_ns if life.created_ns else 0),
    "runtime_remove_time": _removed_s,
    "time_to_listening": _since_app_began(lambda life: life.listening_ns),
    "startup_time": _since_app_began(lambda life: life.healthy_ns),
    "time_to_first_answer": _since_app_began(lambda life: life.first_answer_ns),
}
"""Seconds of each phase of one replica's life that no signal begins; None for a phase that it did not reach."""


def _of_lives(measure: OfLife) -> Sampler:
    return lambda facts, process: [value for life in lives_of(facts, process) if (value := measure(life)) is not None]


def _time_to_first_answer(facts: Facts, process: str | None) -> list[float]:
    """Only of replicas that were started under load; the others were waiting for the load and not the load for them."""
    began_ns = min((event.at_ns for event in facts.events(LoadBegan)), default=0)
    late = [life for life in lives_of(facts, process) if began_ns and life.spawned_ns >= began_ns]
    return [value for life in late if (value := LIFE_TIMES["time_to_first_answer"](life)) is not None]


def _failed_starts(facts: Facts, process: str | None) -> list[float]:
    lives = lives_of(facts, process)
    failed = [life for life in lives if life.failed is not None and not life.lost and not life.stopped_at_start]
    return [float(sum(life.replica not in facts.starved for life in failed))] if lives else []


def _died_by_itself(facts: Facts, process: str | None) -> list[float]:
    lives = lives_of(facts, process)
    return [float(sum(died_by_itself(facts, life) or life.ended_by is not None for life in lives))] if lives else []


# --- stops ------------------------------------------------------------------------------------------------------------------


def faults_of(facts: Facts, process: str | None) -> list[Fault]:
    """Faults on ``process``, or all."""
    return [fault for fault in facts.faults if process in (None, fault.victim.process)]


def stops_of(facts: Facts, process: str | None) -> list[Fault]:
    """Faults that asked a replica in service to stop and reached it; how one would have ended whose engine went away, nobody knows."""
    return _reached(facts, process, STOP_PURPOSES)


def early_stops_of(facts: Facts, process: str | None) -> list[Fault]:
    """The same of replicas that were asked to stop while they started: what may be said of how they ended is less."""
    return _reached(facts, process, ("start",))


def _reached(facts: Facts, process: str | None, purposes: Collection[str]) -> list[Fault]:
    faults = [fault for fault in faults_of(facts, process) if fault.kind in purposes]
    return [fault for fault in faults if fault.signal.delivered and not fault.victim.lost]


def _since_signal(instant_ns: Callable[[Fault], int]) -> OfStop:
    return lambda fault: fault.after_s(instant_ns(fault)) if instant_ns(fault) else None


def _exit_ns(fault: Fault) -> int:
    return fault.victim.exited.at_ns if fault.victim.exited else 0


def _closed_ns(fault: Fault) -> int:
    """When it stopped listening: with its end at the latest where nobody outlived it, since then the table was only read later."""
    closed_ns, exited_ns = fault.victim.closed.at_ns if fault.victim.closed else 0, _exit_ns(fault)
    late = 0 < closed_ns - exited_ns <= SAME_MOMENT_S * NS_PER_S and not fault.victim.survived
    return exited_ns if late else closed_ns


STOP_TIMES: Final[dict[str, OfStop]] = {
    "time_to_stop_listening": _since_signal(_closed_ns),
    "time_to_drained": _since_signal(lambda fault: fault.drained_ns),
    "shutdown_time": _since_signal(_exit_ns),
}
"""Seconds from the signal of one stop to each phase of it; None for one that it did not reach."""


def _of_stops(measure: OfStop) -> Sampler:
    return lambda facts, process: [value for fault in stops_of(facts, process) if (value := measure(fault)) is not None]


def _grace_share(facts: Facts, process: str | None) -> list[float]:
    graced = [fault for fault in stops_of(facts, process) if fault.signal.grace_s > 0]
    return [fault.exit_s / fault.signal.grace_s for fault in graced if fault.exit_s is not None]


def _exit_status(facts: Facts, process: str | None) -> list[float]:
    return _known(fault.victim.exited.status for fault in stops_of(facts, process) if fault.victim.exited)


def _known(statuses: Iterable[int]) -> list[float]:
    return [float(status) for status in statuses if status >= 0]


def _killed_after_grace(facts: Facts, process: str | None) -> list[float]:
    stops = [fault for fault in (*stops_of(facts, process), *early_stops_of(facts, process)) if fault.victim.exited or fault.killed]
    killed = [fault for fault in stops if fault.killed or awaited(facts, fault)]
    return [float(sum(fault.victim.replica not in facts.starved for fault in killed))] if stops else []


def _survivors(facts: Facts, process: str | None) -> list[float]:
    """Counted over replicas that were stopped or died, for only those were looked after."""
    stopped = {fault.victim.replica for fault in facts.faults}
    lives = [life for life in lives_of(facts, process) if not life.lost]
    ended = [life for life in lives if life.survived or life.died_by_itself or (life.exited and life.replica in stopped)]
    survivors = {(life.replica, each.pid) for life in ended for event in life.survived for each in event.processes}
    return [float(len(survivors))] if ended else []


def dropped_knocks(facts: Facts, fault: Fault) -> list[Knocked]:
    """Knocks that were taken and then lost between a stop and the instant at which the router learned of it, in order.

    One that hung was not surely lost, so one alone says nothing, nor does any that the machine stalled for, nor one before another that was
    served: the app did serve what connected to it, only not in the time that a knock has.
    """
    until_ns = fault.signal.at_ns + round(fault.signal.lag_s * NS_PER_S)
    knocks = [knock for knock in fault.victim.knocks if fault.signal.at_ns <= knock.at_ns < until_ns]
    served_ns = max((knock.at_ns for knock in knocks if knock.result == "served"), default=0)
    late = [knock for knock in knocks if knock.result == "hung" and knock.at_ns > served_ns]
    hung = [knock for knock in late if not facts.stalled_between(knock.at_ns, knock.done_ns)]
    return [knock for knock in knocks if knock.result == "reset" or (len(hung) > 1 and knock in hung)]


def _dropped_knocks(facts: Facts, process: str | None) -> list[float]:
    lagging = [fault for fault in stops_of(facts, process) if fault.signal.lag_s > 0 and fault.victim.knocks]
    return [float(sum(len(dropped_knocks(facts, fault)) for fault in lagging))] if lagging else []


def _dropped_held(facts: Facts, process: str | None) -> list[float]:
    """Counted over stops with a request in flight on a connection that the harness held."""
    stops = [fault for fault in stops_of(facts, process) if any(in_flight(fault, held) for held in held_of(facts, fault))]
    return [float(sum(len(dropped_held(facts, fault)) for fault in stops))] if stops else []


def _harms_of(facts: Facts, process: str | None) -> list[Harm]:
    """Stops and disturbances of ``process``, or all."""
    return [harm for harm in facts.harms if process in (None, harm.victim.process)]


def _faults(facts: Facts, process: str | None) -> list[float]:
    return [float(sum(harm.landed for harm in _harms_of(facts, process)))] if lives_of(facts, process) else []


def _busy_faults(facts: Facts, process: str | None) -> list[float]:
    busy = sum(harm.landed and busy_at(facts, harm) for harm in _harms_of(facts, process))
    return [float(busy)] if lives_of(facts, process) else []


# --- containers -------------------------------------------------------------------------------------------------------------


def contained_of(facts: Facts, process: str | None) -> list[Life]:
    """Replicas of ``process``, or all, that a container held."""
    return [life for life in lives_of(facts, process) if life.contained or life.created_ns]


def roots_of(facts: Facts, process: str | None) -> list[Life]:
    """Replicas whose main process was user 0 of its container."""
    return [life for life in contained_of(facts, process) if life.contained and life.contained.uid == 0]


def _root_replicas(facts: Facts, process: str | None) -> list[float]:
    """Of a replica that ended at once nobody saw the user; all of one process type have the same."""
    roots, lives = roots_of(facts, process), contained_of(facts, process)
    seen = {life.process for life in lives if life.contained and life.contained.uid >= 0}
    return [float(len(roots))] if lives and seen == {life.process for life in lives} else []


def _written_files(facts: Facts, process: str | None) -> list[float]:
    lives = [life for life in contained_of(facts, process) if life.wrote]
    return [float(sum(written(life).counted for life in lives))] if lives else []


def zombies_of(life: Life) -> dict[int, tuple[Process, float]]:
    """Each process of ``life`` that nobody waited for, by its pid, and for how many seconds at least."""
    return {process.pid: (process, event.after_ns / NS_PER_S) for event in life.zombies for process in event.processes}


def _zombies(facts: Facts, process: str | None) -> list[float]:
    lives = [life for life in contained_of(facts, process) if life.contained and life.contained.watched]
    return [float(sum(len(zombies_of(life)) for life in lives))] if lives else []


def contained_stops_of(facts: Facts, process: str | None) -> list[Fault]:
    """Stops that ended the main process of a container before the grace was over, so that it is its own doing what it left running."""
    return [
        fault
        for fault in stops_of(facts, process)
        if fault.victim.contained and fault.victim.contained.watched
        if fault.victim.exited and not fault.killed and not fault.victim.exited.oom
    ]


def _cut_off(facts: Facts, process: str | None) -> list[float]:
    victims = {fault.victim.replica: fault.victim for fault in contained_stops_of(facts, process)}
    return [float(sum(len(life.cut_off.processes) for life in victims.values() if life.cut_off))] if victims else []


def _oom_kills(facts: Facts, process: str | None) -> list[float]:
    lives = contained_of(facts, process)
    return [float(sum(len(oom_kills_of(facts, life)) for life in lives))] if lives else []


SAMPLERS: Final[dict[str, Sampler]] = {
    "requests": _requests,
    "ok_requests": _of_outcome(Outcome.OK),
    "dropped_requests": _dropped,
    "redirected_requests": _of_outcome(Outcome.REDIRECTED),
    "retried_requests": _of_outcome(Outcome.RETRIED),
    "stale_connections": _stale,
    "unavailable_requests": _blamed(Outcome.UNAVAILABLE),
    "closed_requests": _of_outcome(Outcome.CLOSED),
    "truncated_answers": _of_outcome(Outcome.TRUNCATED),
    "wrong_answers": _of_outcome(Outcome.WRONG),
    "error_answers": _of_outcome(Outcome.ERROR),
    "rejected_answers": _of_outcome(Outcome.REJECTED),
    "timeouts": _blamed(Outcome.TIMEOUT),
    "unfinished_requests": _blamed(Outcome.UNFINISHED),
    "error_rate": _error_rate,
    "requests_per_second": _requests_per_second,
    "response_time": _response_time,
    "outage_time": _outage_time,
    "lost_events": _of_events(lambda stream: stream.lost),
    "repeated_events": _of_events(lambda stream: stream.repeated),
    "resumed_streams": _resumed_streams,
    "resume_time": _resume_time,
    "cut_streams": _cut_streams,
    **{name: _of_lives(measure) for name, measure in LIFE_TIMES.items()},
    "time_to_first_answer": _time_to_first_answer,
    **{name: _of_stops(measure) for name, measure in STOP_TIMES.items()},
    "grace_share": _grace_share,
    "exit_status": _exit_status,
    "killed_after_grace": _killed_after_grace,
    "survivors": _survivors,
    "dropped_knocks": _dropped_knocks,
    "dropped_held": _dropped_held,
    "died_by_itself": _died_by_itself,
    "failed_starts": _failed_starts,
    "root_replicas": _root_replicas,
    "written_files": _written_files,
    "zombies": _zombies,
    "cut_off": _cut_off,
    "oom_kills": _oom_kills,
    "lost_jobs": _of_missing(lambda jobs: jobs.lost),
    "stranded_jobs": _of_missing(lambda jobs: jobs.stranded),
    "set_aside_jobs": _of_missing(lambda jobs: jobs.set_aside),
    "duplicated_jobs": _duplicated_jobs,
    "unexpected_jobs": _unexpected_jobs,
    "redelivered_jobs": _of_jobs(lambda jobs: jobs.redelivered),
    "recovered_jobs": _of_jobs(lambda jobs: jobs.recovered),
    "jobs_done": _of_jobs(lambda jobs: jobs.done),
    "job_time": _job_time,
    "lost_writes": state_sampler(LOST_WRITES),
    "stale_reads": state_sampler(STALE_READS),
    "diverged_keys": state_sampler(DIVERGED_KEYS),
    "state_errors": state_sampler(STATE_ERRORS),
    "differing_answers": _differing_answers,
    "broken_journeys": _broken_journeys,
    "faults": _faults,
    "busy_faults": _busy_faults,
}
"""How each metric is measured."""
