"""A run in numbers, computed from its history alone, so that reports compute nothing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from harness.checks.causes import explain
from harness.checks.drops import Drops, book, saved_by_retry
from harness.checks.facts import Facts, Fault, Harm, Mask
from harness.checks.job_facts import JobFacts, busy_at, jobs_of
from harness.checks.metrics import SAMPLERS
from harness.checks.power import bound
from harness.checks.timing import PhaseRow, table_of
from harness.clock import NS_PER_S
from harness.history import CODE, History, Note, StepEnded
from harness.outcome import Outcome
from harness.verdict import Bound

__all__ = ["DropRow", "FaultRow", "JobRow", "PhaseRow", "Share", "Summary", "summarise"]


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """How often one thing was among many: an outcome, an errno, a request."""

    name: str
    count: int


class FaultRow(msgspec.Struct, frozen=True, kw_only=True):
    """All faults of one kind on one process type.

    Attributes:
        kind: ``terminate``, ``scale``, ``kill``, ``pause``, ``cut_network`` or ``squeeze_memory``.
        process: The process type.
        landed: How many reached their victim, of ``count``; a squeeze only when the kernel killed in it.
        busy: How many of those hit a replica with a request in flight, or with a job in hand.
        dropped: How many of the busy ones dropped a request.
        bound: The rate behind ``dropped`` of those of ``busy`` whose answers are proven to be whole; None when there was none, and where
            nothing was dropped because ``saved`` were.
        saved: How many of the busy ones cut a request that only a retry saved; of stops in order alone.
        with_job: How many of the busy ones hit a replica with a job in hand.
        lost: How many of all lost, stranded or set aside a job.
        job_bound: The rate behind ``lost`` of those ``with_job``; None when there was none, or nobody knows.
    """

    kind: str
    process: str
    count: int
    landed: int
    busy: int
    dropped: int
    bound: Bound | None
    saved: int = 0
    with_job: int = 0
    lost: int = 0
    job_bound: Bound | None = None


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs of a run. What did not happen is None where that is not known; so are times where no job was done.

    Attributes:
        submitted: Handed to the queue, or to the app.
        acknowledged: Confirmed by the queue.
        done: Their effect was seen.
        redelivered: Begun more than once, with one effect.
        recovered: Not acknowledged, yet done.
        duplicated: Had their effect more than once.
        lost: Acknowledged and never done, and the queue does not have them any more.
        stranded: Acknowledged and not done, and held by the queue for who is gone, or until later.
        set_aside: Acknowledged and not done, and dead-lettered, buried or failed.
        left: Acknowledged and not done, and they might yet have been when the wait for them ended.
        unexpected: Effects of jobs that were never submitted.
        job_median_s: From acknowledged to done; and so on.
    """

    submitted: int
    acknowledged: int
    done: int
    redelivered: int
    recovered: int
    duplicated: int
    lost: int | None
    stranded: int | None
    set_aside: int | None
    left: int | None
    unexpected: int | None
    job_median_s: float | None
    job_p99_s: float | None
    job_max_s: float | None


class DropRow(msgspec.Struct, frozen=True, kw_only=True):
    """Dropped requests that are alike: one finding's name, one replica, one fault or none (then ``fault`` is empty).

    ``first_offset_s`` and ``last_offset_s`` are seconds from the signal, or from the beginning of what else was done to the replica, to the
    first and the last of their ends.
    """

    name: str
    process: str
    replica: str
    step: int
    fault: str
    signal: str
    count: int
    first_offset_s: float
    last_offset_s: float
    new_connections: int
    reused_connections: int
    outcomes: tuple[Share, ...]
    reached: tuple[Share, ...]
    errors: tuple[Share, ...]
    statuses: tuple[Share, ...]
    requests: tuple[Share, ...]
    last_log_line: str
    cause: str
    cure: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A run in numbers. Spans are seconds; a figure that could not be measured is None.

    Attributes:
        requests: All requests, whatever became of them.
        answered: Answered as expected: ok, redirected and retried ones.
        dropped: Not answered as expected.
        outcomes: Every outcome of a request that there was.
        attempts: Requests on the wire; more than ``requests`` when some were sent again.
        stale_connections: Attempts on a kept-alive connection that was already closed.
        load_s: From the begin of the load to its end.
        requests_per_second: Answered as expected in each second of load.
        response_median_s: From the first byte sent to the last byte of the answer; and so on.
        steps_done: Steps that came to their end without a problem, of ``steps``.
        faults: Faults by kind and process type.
        drops: Dropped requests by name, replica and fault, most first.
        phases: Start and stop phases by process type.
        outages: Spans in which no client got an answer and a request failed.
        longest_outage_s: The longest of them.
        longest_client_outage_s: The longest such span of one client.
        replicas: Replicas that were started.
        killed_after_grace: Those that needed SIGKILL at the end of their grace.
        survivors: Descendants that outlived their replica.
        died_by_itself: Replicas that ended though nobody had stopped them.
        failed_starts: Replicas that never got healthy.
        control_requests: Requests of the control sampler.
        control_worst_s: The slowest of them.
        jobs: What became of the jobs; None where the scenario has none.
        notes: What the run said of itself in the order in which it did, each once: what of the scenario was dropped, and what was seen with
            less exactness than elsewhere.
    """

    requests: int
    answered: int
    dropped: int
    outcomes: tuple[Share, ...]
    attempts: int
    stale_connections: int
    load_s: float
    requests_per_second: float | None
    response_median_s: float | None
    response_p95_s: float | None
    response_p99_s: float | None
    response_max_s: float | None
    steps: int
    steps_done: int
    faults: tuple[FaultRow, ...]
    drops: tuple[DropRow, ...]
    phases: tuple[PhaseRow, ...]
    outages: int
    longest_outage_s: float
    longest_client_outage_s: float
    replicas: int
    killed_after_grace: int
    survivors: int
    died_by_itself: int
    failed_starts: int
    control_requests: int
    control_worst_s: float | None
    jobs: JobRow | None = None
    notes: tuple[str, ...] = ()


def summarise(history: History) -> Summary:
    """The run in numbers."""
    facts = Facts(history)
    drops = book(facts)
    began_ns, ended_ns = facts.load_ns
    median_s, p95_s, p99_s, max_s = _response_times(facts)
    _, gap_began_ns, gap_ended_ns = facts.longest_client_outage
    return Summary(
        requests=len(history.ops),
        answered=int(np.count_nonzero(facts.answered)),
        dropped=int(np.count_nonzero(facts.dropped)),
        outcomes=tuple(Share(name=outcome.value, count=times) for outcome, times in facts.outcomes.items() if times),
        attempts=len(history.attempts),
        stale_connections=int(np.count_nonzero(history.attempts.outcome == CODE[Outcome.STALE])),
        load_s=(ended_ns - began_ns) / NS_PER_S,
        requests_per_second=_one(facts, "requests_per_second"),
        response_median_s=median_s,
        response_p95_s=p95_s,
        response_p99_s=p99_s,
        response_max_s=max_s,
        steps=facts.planned,
        steps_done=len({step.step for step in facts.events(StepEnded) if step.step > 0 and not step.problem}),
        faults=_fault_rows(facts, drops.faults),
        drops=tuple(_drop_row(group) for group in drops.groups),
        phases=table_of(facts),
        outages=len(facts.outages),
        longest_outage_s=max((end_ns - begin_ns for begin_ns, end_ns in facts.outages), default=0) / NS_PER_S,
        longest_client_outage_s=(gap_ended_ns - gap_began_ns) / NS_PER_S,
        replicas=sum(life.spawned_ns > 0 for life in facts.lives.values()),
        killed_after_grace=round(_one(facts, "killed_after_grace") or 0),
        survivors=round(_one(facts, "survivors") or 0),
        died_by_itself=round(_one(facts, "died_by_itself") or 0),
        failed_starts=round(_one(facts, "failed_starts") or 0),
        control_requests=len(history.controls),
        control_worst_s=max(((control.done_ns - control.at_ns) / NS_PER_S for control in history.controls), default=None),
        jobs=_jobs(facts),
        notes=tuple(dict.fromkeys(note.text for note in facts.events(Note))),
    )


def _one(facts: Facts, metric: str) -> float | None:
    return next(iter(SAMPLERS[metric](facts, None)), None)


def _jobs(facts: Facts) -> JobRow | None:
    if facts.scenario.jobs is None:
        return None
    jobs = jobs_of(facts)
    times_s = jobs.job_times_s
    median_s, p99_s, max_s = np.percentile(times_s, [50, 99, 100]).tolist() if len(times_s) else (None, None, None)

    def happened(mask: Mask) -> int:
        return int(np.count_nonzero(mask))

    def known(mask: Mask) -> int | None:
        return happened(mask) if jobs.known else None

    return JobRow(
        submitted=happened(jobs.submitted),
        acknowledged=happened(jobs.acknowledged),
        done=happened(jobs.done),
        redelivered=happened(jobs.redelivered),
        recovered=happened(jobs.recovered),
        duplicated=happened(jobs.duplicated),
        lost=known(jobs.lost),
        stranded=known(jobs.stranded),
        set_aside=known(jobs.set_aside),
        left=known(jobs.left),
        unexpected=known(jobs.unexpected),
        job_median_s=median_s,
        job_p99_s=p99_s,
        job_max_s=max_s,
    )


def _response_times(facts: Facts) -> tuple[float | None, float | None, float | None, float | None]:
    """Median, p95, p99 and maximum."""
    attempts = facts.history.attempts
    rows = np.flatnonzero((attempts.outcome == CODE[Outcome.OK]) & (attempts.sent_ns > 0) & ~facts.streaming)
    if not len(rows):
        return None, None, None, None
    median_s, p95_s, p99_s, max_s = (np.percentile(attempts.done_ns[rows] - attempts.sent_ns[rows], [50, 95, 99, 100]) / NS_PER_S).tolist()
    return median_s, p95_s, p99_s, max_s


def _fault_rows(facts: Facts, hits: frozenset[int]) -> tuple[FaultRow, ...]:
    rows, retried = [], saved_by_retry(facts)
    for kind, process in dict.fromkeys((fault.kind, fault.victim.process) for fault in facts.harms):
        mine = [fault for fault in facts.harms if (fault.kind, fault.victim.process) == (kind, process)]
        busy = [fault for fault in mine if fault.landed and busy_at(facts, fault)]
        works = process == facts.scenario.job_process
        with_job, lost, job_bound = _work_lost(jobs_of(facts), mine) if works else (0, 0, None)
        dropped, saved = (sum(fault.number in those for fault in busy) for those in (hits, retried - hits))
        unclaimed = (works and process != facts.scenario.load_process) or (saved and not dropped)
        rows.append(
            FaultRow(
                kind=kind,
                process=process,
                count=len(mine),
                landed=sum(fault.landed and not (isinstance(fault, Fault) and kind == "start" and fault.was_ready) for fault in mine),
                busy=len(busy),
                dropped=dropped,
                bound=None if unclaimed else bound(dropped, sum(fault.tells or fault.number in hits for fault in busy)),
                saved=saved,
                with_job=with_job,
                lost=lost,
                job_bound=job_bound,
            )
        )
    return tuple(rows)


def _work_lost(jobs: JobFacts, harms: Sequence[Harm]) -> tuple[int, int, Bound | None]:
    """How many harms hit a replica with a job in hand, how many lost one, and the rate behind that.

    No rate is claimed where some may yet be done, or where it is not known which stop a job met.
    """
    with_job = sum(harm.landed and jobs.had_in_hand(harm) > 0 for harm in harms)
    lost = sum(harm.number in (jobs.hits or ()) for harm in harms)
    known = jobs.known and jobs.hits is not None and not np.any(jobs.left)
    return with_job, lost, bound(min(lost, with_job), with_job) if known else None


def _drop_row(group: Drops) -> DropRow:
    cause, cure = explain(group)
    return DropRow(
        name=group.name,
        process=group.process,
        replica=group.replica,
        step=group.step,
        fault=group.harm.kind if group.harm else "",
        signal=group.fault.signal.signal if group.fault else "",
        count=group.count,
        first_offset_s=group.offsets_s[0],
        last_offset_s=group.offsets_s[1],
        new_connections=group.new,
        reused_connections=group.reused,
        outcomes=_shares(group.outcomes),
        reached=_shares(group.reached),
        errors=_shares(group.errors),
        statuses=_shares(group.statuses),
        requests=_shares(group.requests),
        last_log_line=group.life.last_log_line,
        cause=cause,
        cure=cure,
    )


def _shares(pairs: tuple[tuple[str, int], ...]) -> tuple[Share, ...]:
    return tuple(Share(name=name, count=times) for name, times in pairs)
