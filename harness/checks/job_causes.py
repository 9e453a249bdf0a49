"""Why jobs were lost, stranded, duplicated or left, and what to change: the table of causes for jobs.

The subject of a row is a `Fate`: one job, or many that are alike, with what became of it. As in `harness.checks.causes` the first row of a
finding's name whose evidence is there speaks, and where none fits nothing is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeVar

import numpy as np

from harness.checks.causes import Cause, first_that_fits
from harness.checks.facts import STOP_PURPOSES, Disturbance, Fault, Rows
from harness.checks.job_facts import NO_HARM, Job, JobFacts, Try
from harness.checks.job_stories import look_words, told_words, until_words
from harness.checks.wording import count
from harness.clock import NS_PER_S
from harness.history import QueueSeen, ServicePhase
from harness.job_history import DELAYED, HELD, naming
from harness.units import span

T = TypeVar("T")

LOST: Final = "lost-jobs"
DUPLICATED: Final = "duplicated-jobs"
STRANDED: Final = "stranded-jobs"
SET_ASIDE_JOBS: Final = "set-aside-jobs"
NOT_DRAINED: Final = "jobs-not-drained"

MOST_LOOKED_INTO: Final = 2000
"""So many jobs are looked into one by one; of more, one of each kind."""

DELIVERY_LIMIT: Final = 20
"""The limit of a quorum queue that sets none, in RabbitMQ since this major version."""

LIMITS_SINCE: Final = 4

LEASES: Final[Mapping[tuple[str, str], str]] = {
    ("sqlite", "table"): "the time for which a row stays locked (locked_until)",
    ("postgres", "table"): "the time for which a row stays locked (locked_until, or a locked_at that is too old)",
    ("postgres", "delayed_job"): "Delayed::Worker.max_run_time (4 h unless it is set)",
    ("beanstalkd", "tube"): "the ttr with which jobs are put",
    ("rabbitmq", "classic"): "consumer_timeout (30 min unless it is set)",
    ("rabbitmq", "quorum"): "consumer_timeout (30 min unless it is set)",
    ("rabbitmq", "celery"): "consumer_timeout (30 min unless it is set)",
    ("redis", "stream"): "the min-idle-time with which XAUTOCLAIM takes entries over",
    ("redis", "list"): "the time after which somebody moves the processing list of a dead worker back",
    ("redis", "rq"): "the job's timeout, and how often RQ cleans its StartedJobRegistry (maintenance_interval)",
    ("redis", "celery"): "visibility_timeout in broker_transport_options (1 h unless it is set)",
}
"""What decides when a job whose worker died is given to another, by the kind of service and the form."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fate:
    """What became of ``job``, and of all of ``rows``, which are like it."""

    jobs: JobFacts
    name: str
    job: Job
    rows: Rows

    @property
    def form(self) -> tuple[str, str]:
        """The kind of the service that has the queue, and how it keeps jobs."""
        scenario = self.jobs.facts.scenario
        return scenario.services[scenario.job_service].kind, scenario.job_form

    @property
    def options(self) -> Mapping[str, str | int | bool]:
        """What the scenario says of the queue's form."""
        return self.jobs.jobs.options if self.jobs.jobs else {}

    @property
    def count(self) -> int:
        """How many jobs."""
        return len(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explained:
    """Jobs of one finding with one cure: ``fates`` in their order."""

    cause: str
    cure: str
    fates: tuple[Fate, ...]

    @property
    def count(self) -> int:
        """How many jobs."""
        return sum(fate.count for fate in self.fates)


def explained(jobs: JobFacts, name: str, rows: Rows) -> list[Explained]:
    """``rows`` by what is to be changed: what kills workers first, then what has a cause, the most frequent before the others."""
    alike: dict[str, list[tuple[str, str, Fate]]] = {}
    for mine in _alike(jobs, rows):
        fate = Fate(jobs=jobs, name=name, job=jobs.job(int(mine[0])), rows=mine)
        cause, cure = explain_job(fate)
        alike.setdefault(cure or cause, []).append((cause, cure, fate))
    found = [Explained(cause=told[0][0], cure=told[0][1], fates=tuple(fate for *_, fate in told)) for told in alike.values()]
    return sorted(found, key=lambda each: (each.cure != _SURVIVE, not each.cause, -each.count))


def explain_job(fate: Fate) -> tuple[str, str]:
    """Cause and cure, both empty when the evidence says neither."""
    return first_that_fits(OF_JOBS, fate.name, fate)


def _alike(jobs: JobFacts, rows: Rows) -> list[Rows]:
    """Each row by itself; of very many, those together whose last try met the same stop of the same replica and came as far."""
    if len(rows) <= MOST_LOOKED_INTO:
        return [rows[place : place + 1] for place in range(len(rows))]
    tries, last, first = jobs.ledger.tries, jobs.last_try[rows], jobs.first_try[rows]
    key: Rows = np.minimum(jobs.starts[rows], 30) + 1
    for of in (last, first):
        far = np.stack([tries.finished_ns, tries.settled_ns, tries.returned_ns, tries.early]).astype(np.bool_)
        code = far.T @ np.array([1, 2, 4, 8]) + 16 * (jobs.harm_of_try - 2 * NO_HARM + 1)
        code = np.append(code, 0)[of] * (len(tries.replicas) + 1) + np.append(tries.replica + 1, 0)[of]
        key = np.unique(key, return_inverse=True)[1] * (int(code.max()) + 1) + code
    told = [(jobs.told[row].state, jobs.told[row].by) if row in jobs.told else ("", "") for row in rows.tolist()]
    codes = {words: number for number, words in enumerate(dict.fromkeys(told))}
    key = np.unique(key, return_inverse=True)[1] * len(codes) + np.array([codes[words] for words in told])
    _, place = np.unique(key, return_inverse=True)
    order = np.argsort(place, kind="stable")
    groups = np.split(rows[order], np.flatnonzero(np.diff(place[order])) + 1)
    return sorted(groups, key=lambda group: -len(group))[:MOST_LOOKED_INTO]


# --- evidence ---------------------------------------------------------------------------------------------------------------


def _shown(found: T | None) -> T:
    """What the evidence of a row has shown to be there."""
    assert found is not None  # noqa: S101  every row that needs it has asked
    return found


def _last(fate: Fate) -> Try:
    return _shown(fate.job.last)


def _fault(fate: Fate) -> Fault | None:
    return fate.job.last.harm if fate.job.last else None


def _in_order(fault: Fault | None) -> bool:
    """A stop with a grace, within which the worker ended by itself."""
    return fault is not None and fault.kind in STOP_PURPOSES and fault.killed is None and fault.victim.exited is not None


def _killed(fate: Fate) -> bool:
    """SIGKILL, or the worker died by itself."""
    last = fate.job.last
    return last is not None and (last.died or (last.harm is not None and (last.harm.is_kill or last.harm.killed is not None)))


def _before(fate: Fate) -> QueueSeen | None:
    last = fate.job.last
    return fate.jobs.look("before", last.replica, last.harm.order.at_ns) if last and last.harm else None


def _in_hand_then(fate: Fate) -> bool:
    """The job was in its worker's hands when the fault came, by the log."""
    last = fate.job.last
    if last is None or last.harm is None or not last.started_ns:
        return False
    return fate.job.row in fate.jobs.in_hand(last.replica, last.harm.order.at_ns)


def _settled_first(fate: Fate) -> bool:
    """The queue was told that it was done while it was not, and not because of the signal."""
    last = fate.job.last
    return last is not None and last.early and (last.harm is None or last.settled_ns <= last.harm.order.at_ns)


def _effect_after(fate: Fate) -> bool:
    last = fate.job.last
    return last is not None and last.finished_ns > 0 and last.settled_ns > 0


def _forgotten_list(fate: Fate) -> bool:
    last = fate.job.last
    ended = last is not None and last.started_ns > 0 and (last.harm is not None or last.died)
    return fate.form == ("redis", "list") and ended and not fate.options.get("processing")


def _held_none(fate: Fate) -> bool:
    before = _before(fate)
    return before is not None and before.held == 0 and _in_hand_then(fate)


def _returned(fate: Fate) -> bool:
    return fate.job.last is not None and fate.job.last.returned_ns > 0


def _at_delivery_limit(fate: Fate) -> bool:
    limit = _limit(fate)
    return fate.form[1] == "quorum" and not fate.options.get("dead_letter") and limit is not None and fate.job.starts > limit


def _limit(fate: Fate) -> int | None:
    """How often a message is delivered again before it is dropped; None for as often as need be."""
    written = fate.options.get("delivery_limit")
    if written is not None:
        return int(written)
    told = fate.jobs.facts.events(ServicePhase)
    ready = [event.detail for event in told if event.service == fate.jobs.facts.scenario.job_service and event.phase == "ready"]
    majors = [version.partition(".")[0] for version in ready]
    return DELIVERY_LIMIT if any(major.isdecimal() and int(major) >= LIMITS_SINCE for major in majors) else None


def _service_ended(fate: Fate) -> ServicePhase | None:
    """The queue's service ended after it had confirmed the job, and no worker ever got it."""
    scenario, drained = fate.jobs.facts.scenario, fate.jobs.drained
    ends = (event for event in fate.jobs.troubles if event.service == scenario.job_service and event.phase in ("signalled", "exited"))
    last_ns = drained.at_ns if drained else 0
    return next((event for event in ends if fate.job.answered_ns <= event.at_ns <= last_ns), None) if not fate.job.tries else None


def _batch(fate: Fate) -> tuple[Fault, QueueSeen, QueueSeen] | None:
    """A fault whose victim had begun with fewer jobs than the queue says went with it, after the job was put; none where it was begun."""
    if fate.job.tries:
        return None
    for fault in fate.jobs.facts.faults:
        before, after = (fate.jobs.look(why, fault.victim.replica, fault.order.at_ns) for why in ("before", "after"))
        if before is None or after is None or fate.job.answered_ns > fault.order.at_ns:
            continue
        gone = before.held - after.held
        if gone > max(1, len(fate.jobs.in_hand(fault.victim.replica, fault.order.at_ns))) and after.ready <= before.ready:
            return fault, before, after
    return None


def _poison(fate: Fate) -> bool:
    """Every worker that began with it died by itself."""
    return len({each.replica for each in fate.job.tries if each.died}) > 1 and all(each.died for each in fate.job.tries)


def _held(fate: Fate) -> bool:
    return fate.job.told is not None and fate.job.told.state == HELD


def _same_holder(fate: Fate) -> int:
    """How many missing jobs that no log speaks of the queue holds for the same worker."""
    told = fate.job.told
    return _held_unspoken(fate.jobs)[told.by] if told is not None and told.by and not fate.job.tries else 0


@lru_cache(maxsize=1)
def _held_unspoken(jobs: JobFacts) -> Counter[str]:
    """How many jobs with which nobody is known to have begun the queue holds for each worker; counted once for all fates."""
    return Counter(line.by for row, line in jobs.told.items() if line.state == HELD and not jobs.starts[row])


def _holder(fate: Fate) -> Fault | None:
    """The stop of the worker that holds it by the queue's word, or else of the one that had it last."""
    told = fate.job.told
    by = told.by if told else ""
    named = [fault for fault in fate.jobs.facts.faults if naming(fault.victim.replica).search(by)]
    return named[-1] if named else _fault(fate)


def _left_locked(fate: Fate) -> bool:
    return _held(fate) and _in_order(_holder(fate))


def _locked_by_grace(fate: Fate) -> bool:
    fault = _holder(fate)
    return _held(fate) and fault is not None and fault.killed is not None


def _leased(fate: Fate) -> bool:
    """SIGKILL or its own death ended who holds it, and the queue tells until when it waits for that one."""
    return _gone_with_it(fate) and fate.job.told is not None and fate.job.told.until_ns > 0


def _gone_with_it(fate: Fate) -> bool:
    fault = _holder(fate)
    return _held(fate) and ((fault is not None and fault.is_kill) or _killed(fate))


def _in_form(form: tuple[str, str], fits: Callable[[Fate], bool]) -> Callable[[Fate], bool]:
    return lambda fate: fate.form == form and fits(fate)


def _first_two(fate: Fate) -> tuple[Try, Try] | None:
    """The try that had the first effect, as far as it is known, and the one after it."""
    return (fate.job.tries[0], fate.job.tries[1]) if len(fate.job.tries) > 1 else None


def _gave_back_done(fate: Fate) -> bool:
    return any(0 < each.finished_ns <= each.returned_ns for each in fate.job.tries[:-1])


def _twice_in_one(fate: Fate) -> bool:
    return len(fate.job.tries) == 1


def _overlap(fate: Fate) -> bool:
    """The second worker began while the first one, to which nothing was done, still worked."""
    two = _first_two(fate)
    if two is None or two[0].replica == two[1].replica:
        return False
    ends = [at_ns for at_ns in (two[0].finished_ns, two[0].returned_ns) if at_ns]
    until_ns = min(ends) if ends else two[0].ended_ns
    return 0 < two[1].first_ns < until_ns and not 0 < two[0].ended_ns < two[1].first_ns


def _paused(fate: Fate) -> Disturbance | None:
    """The first worker was paused, or cut off, while it had the job, and the second one began meanwhile."""
    two = _first_two(fate)
    if two is None:
        return None
    return next(
        (
            each
            for each in fate.jobs.facts.disturbances
            if each.victim.replica == two[0].replica and two[0].first_ns <= each.taken.at_ns <= two[1].first_ns
        ),
        None,
    )


def _between_effect_and_settled(fate: Fate) -> bool:
    """The first worker was stopped or died when the effect was there and the queue had not been told."""
    two = _first_two(fate)
    if two is None or not two[0].ended_ns or two[0].settled_ns or two[0].ended_ns > two[1].first_ns:
        return False
    return two[0].finished_ns > 0 or 0 < fate.job.done_ns < two[1].first_ns


def _unheard(fate: Fate) -> ServicePhase | None:
    """A service was away, or lost its clients, between the first effect and the second beginning."""
    two = _first_two(fate)
    return fate.jobs.trouble_between(two[0].first_ns, two[1].first_ns) if two else None


def _finished_unsettled(fate: Fate) -> bool:
    two = _first_two(fate)
    return two is not None and two[0].finished_ns > 0 and not two[0].settled_ns


def _each_met_a_fault(fate: Fate) -> bool:
    return len(fate.job.tries) > 0 and all(each.harm is not None for each in fate.job.tries)


def _up(fate: Fate) -> frozenset[str]:
    drained = fate.jobs.drained
    return fate.jobs.up_at(drained.at_ns) if drained else frozenset()


def _ahead(fate: Fate) -> tuple[int, int]:
    """How many the queue said at the end of the drain that workers hold, and with how many of them workers that were up had begun.

    Both 0 where that is not more, or where somebody had begun with the job by then.
    """
    drained, told = fate.jobs.drained, fate.jobs.last_look
    if drained is None or told is None or any(each.first_ns <= drained.at_ns for each in fate.job.tries):
        return 0, 0
    begun = sum(len(fate.jobs.in_hand(replica, drained.at_ns)) for replica in _up(fate))
    return (told.held, begun) if begun and told.held > begun else (0, 0)


def _still_at_work(fate: Fate) -> bool:
    """A worker that was up at the end of the drain had begun with it by then, and not finished it."""
    drained, last = fate.jobs.drained, fate.job.last
    if drained is None or last is None or last.first_ns > drained.at_ns:
        return False
    return last.replica in _up(fate) and not last.finished_ns


def _silent(fate: Fate) -> ServicePhase | None:
    """Workers were up and began with nothing from the moment on at which a service was away."""
    drained, tries = fate.jobs.drained, fate.jobs.ledger.tries
    if drained is None or fate.job.told is None or not _up(fate) or not len(tries):
        return None
    last_ns = int(tries.first_ns.max())
    troubles = [event for event in fate.jobs.troubles if event.at_ns <= drained.at_ns]
    return next((event for event in troubles if last_ns <= max(event.at_ns, event.until_ns) + NS_PER_S), None)


# --- words ------------------------------------------------------------------------------------------------------------------


def _whom(fate: Fate) -> str:
    return _last(fate).replica


def _after(fate: Fate) -> str:
    """``SIGTERM``, or what other signal ended its worker."""
    return _shown(_holder(fate) if _held(fate) else _fault(fate)).signal.signal


def _held_words(fate: Fate) -> str:
    return told_words(fate.jobs, _shown(fate.job.told))


def _until(fate: Fate) -> str:
    return until_words(fate.jobs, _shown(fate.job.told))


def _by_words(fate: Fate) -> str:
    by = _shown(fate.job.told).by
    return f" (held by {by})" if by else ""


def _settled_words(fate: Fate) -> str:
    """When the queue was told that it was done, and what came then."""
    last = _last(fate)
    after = span((last.settled_ns - last.first_ns) / NS_PER_S)
    end = f"; {span((last.ended_ns - last.settled_ns) / NS_PER_S)} later {_end_of(last)}" if last.ended_ns >= last.settled_ns else ""
    return f"{last.replica} told the queue that the job was done {after} after it had begun, before its effect was there{end}."


def _end_of(one: Try) -> str:
    return f"{one.harm.signal.signal} came" if one.harm else "the worker died"


def _batch_words(fate: Fate) -> str:
    fault, before, after = _shown(_batch(fate))
    return (
        f"No worker had begun with it: {fault.victim.replica} had taken several at once, and they went with it. The queue had "
        f"{look_words(before)} before {fault.words}, and {look_words(after)} after it."
    )


_TROUBLES: Final = {"signalled": "was stopped", "exited": "ended", "cut": "closed its clients' connections", "away": "did not answer"}


def _trouble_words(found: ServicePhase | None) -> str:
    event = _shown(found)
    return f"{event.service} {_TROUBLES[event.phase]}"


def _paused_words(fate: Fate) -> str:
    found = _shown(_paused(fate))
    return f"{found.words} lasted {span(found.lasted_s)}"


_IDEMPOTENT: Final = (
    "Let the effect happen once however often the job is begun: a unique key on the job's id, an upsert, or effect and deletion of the job "
    "in one transaction."
)
_ACK_LATE: Final = (
    "Acknowledge (delete, settle) a job only when its effect is there: a lock and no DELETE … RETURNING in a table, acks_late in Celery, "
    "auto_ack=False and basic_ack at the end."
)
_SURVIVE: Final = "Let the worker catch what such a job does to it, and set the job aside after a few tries (a dead-letter queue)."


OF_JOBS: Final[tuple[Cause[Fate], ...]] = (
    *(
        Cause(
            name=name,
            needs="two replicas or more began with the job, and every one that did died by itself",
            fits=_poison,
            cause=lambda fate: f"The job kills its workers: all {len(fate.job.tries)} that began with it died.",
            cure=_SURVIVE,
        )
        for name in (LOST, STRANDED, SET_ASIDE_JOBS, NOT_DRAINED)
    ),
    Cause(
        name=LOST,
        needs="a quorum queue without dead_letter, and the job was begun more often than its delivery limit allows",
        fits=_at_delivery_limit,
        cause=lambda fate: (
            f"It was begun {count(fate.job.starts, 'time')}; a quorum queue drops a message at its delivery limit ({_limit(fate)}) when it "
            "has no dead-letter exchange, and each worker that ends with it counts."
        ),
        cure="Give the queue a dead-letter exchange (x-dead-letter-exchange), or a higher x-delivery-limit.",
    ),
    Cause(
        name=LOST,
        needs="the worker's log says that the queue was told before the work was finished, and before any signal",
        fits=_settled_first,
        cause=_settled_words,
        cure=_ACK_LATE,
    ),
    Cause(
        name=LOST,
        needs="the worker finished it, told the queue so, and the effect never showed",
        fits=_effect_after,
        cause=_settled_words,
        cure="Write the effect, and see that it is kept, before the queue is told that the job is done.",
    ),
    Cause(
        name=LOST,
        needs="a list of Redis without a processing list, and the worker that had begun with it ended",
        fits=_forgotten_list,
        cause=lambda fate: f"What is popped from a list is nowhere else: it was gone with {_whom(fate)}.",
        cure="Take jobs with BLMOVE into a list of the worker's own and remove them when they are done, or use a stream with a group.",
    ),
    Cause(
        name=LOST,
        needs="the look at the queue before the fault says that it held nothing, while the log says that the worker had the job in hand",
        fits=_held_none,
        cause=lambda fate: (
            f"The queue had let go of the job while {_whom(fate)} still worked on it: before {_after(fate)} it had "
            f"{look_words(_shown(_before(fate)))}."
        ),
        cure=_ACK_LATE,
    ),
    Cause(
        name=LOST,
        needs="the worker's log says that it gave the job back, and the queue does not have it",
        fits=_returned,
        cause=lambda fate: f"{_whom(fate)} says that it gave the job back, and the queue does not have it.",
        cure="Wait for the answer of the queue before the worker ends: a message that is still in a buffer goes with its connection.",
    ),
    Cause(
        name=LOST,
        needs="the worker had begun with it, ended in order after a signal, and neither finished it nor gave it back",
        fits=lambda fate: _in_order(_fault(fate)) and _last(fate).started_ns > 0,
        cause=lambda fate: f"{_whom(fate)} ended on {_after(fate)} with the job in hand, and neither finished it nor gave it back.",
        cure="On SIGTERM take no more jobs, and finish the one in hand or give it back (nack with requeue, release, unlock).",
    ),
    Cause(
        name=LOST,
        needs="no worker began with it, and the service that keeps the queue was stopped or ended after it had confirmed the job",
        fits=lambda fate: _service_ended(fate) is not None,
        cause=lambda fate: f"{_trouble_words(_service_ended(fate))} when it had the job, and the job was gone afterwards.",
        cure="Let the queue keep what it confirms: durable queues, persistent messages, appendfsync always, a binlog (-b).",
    ),
    Cause(
        name=LOST,
        needs="no worker began with it, and the looks before and after a fault say that more went with the victim than it had begun with",
        fits=lambda fate: _batch(fate) is not None,
        cause=_batch_words,
        cure="Take one job at a time (prefetch 1, worker_prefetch_multiplier 1), or give back at SIGTERM what was not begun.",
    ),
    Cause(
        name=LOST,
        needs="the worker that had begun with it was killed or died, and the queue gave it to nobody else",
        fits=lambda fate: _killed(fate) and _last(fate).started_ns > 0,
        cause=lambda fate: f"The queue let go of the job when {_whom(fate)} took it, so nobody else got it when that was gone.",
        cure=_ACK_LATE,
    ),
    Cause(
        name=STRANDED,
        needs="the queue holds two or more for one worker, and no worker's log speaks of them",
        fits=lambda fate: _same_holder(fate) > 1,
        cause=lambda fate: (
            f"{_same_holder(fate)} jobs with which nobody had begun are held for one worker, which took several: {_held_words(fate)}."
        ),
        cure="Take one job at a time (prefetch 1), or give back at SIGTERM what was not begun; a lease must cover all that is taken.",
    ),
    Cause(
        name=STRANDED,
        needs="the worker for which it is held ended in order after a signal",
        fits=_left_locked,
        cause=lambda fate: f"The worker ended in order on {_after(fate)} and did not give its job back: {_held_words(fate)}.",
        cure="Give the job back before exiting: clear its lock (locked_by), nack with requeue, release, move it back to its list.",
    ),
    Cause(
        name=STRANDED,
        needs="the worker for which it is held needed SIGKILL at the end of its grace",
        fits=_locked_by_grace,
        cause=lambda fate: f"The job took longer than the grace, so that SIGKILL came while it was in hand: {_held_words(fate)}.",
        cure="Give the job back on SIGTERM when it can't be finished in time, or raise stop_grace_period above the longest job.",
    ),
    *(
        Cause(
            name=STRANDED,
            needs=f"{form[0]} ({form[1]}): the worker for which it is held was killed or died, and the queue says until when it waits",
            fits=_in_form(form, _leased),
            cause=lambda fate: (
                f"The queue waits for a worker that is gone until {_until(fate)}, which is longer than the drain{_by_words(fate)}."
            ),
            cure=f"Lower {setting} to a little more than the longest job takes, or raise drain where so long a wait is meant.",
        )
        for form, setting in LEASES.items()
    ),
    Cause(
        name=STRANDED,
        needs="the worker for which it is held was killed or died, and the queue does not say that it will ever be given to another",
        fits=_gone_with_it,
        cause=lambda fate: f"The queue keeps the job for a worker that is gone, and nobody takes it back: {_held_words(fate)}.",
        cure="Let workers take over what dead ones held, at their start and now and then: processing lists, pending entries, old locks.",
    ),
    Cause(
        name=STRANDED,
        needs="the queue holds it back until an instant after the drain",
        fits=lambda fate: fate.job.told is not None and fate.job.told.state == DELAYED,
        cause=lambda fate: f"The queue holds the job back, as for a later try: {_held_words(fate)}.",
        cure="Let the delay of a new try be shorter, or raise drain above it.",
    ),
    Cause(
        name=DUPLICATED,
        needs="a worker gave the job back after it had finished it",
        fits=_gave_back_done,
        cause=lambda fate: f"{fate.job.tries[0].replica} gave the job back although it had finished it.",
        cure="On SIGTERM give back only what is not finished; tell the queue of what is.",
    ),
    Cause(
        name=DUPLICATED,
        needs="the job was begun once, and its effect showed more than once",
        fits=_twice_in_one,
        cause=lambda fate: f"It was begun once, by {_whom(fate)}, and its effect showed {count(fate.job.effects, 'time')}.",
        cure="Look for a retry inside the job, or a write that is repeated when its answer is late. " + _IDEMPOTENT,
    ),
    Cause(
        name=DUPLICATED,
        needs="a second worker began with the job while the first one was paused or cut off with it in hand",
        fits=lambda fate: _paused(fate) is not None,
        cause=lambda fate: f"{_paused_words(fate)}, the queue gave the job to another worker meanwhile, and both had its effect.",
        cure="Look whether the lock is still held in the transaction that writes the effect (a fencing token). " + _IDEMPOTENT,
    ),
    *(
        Cause(
            name=DUPLICATED,
            needs=f"{form[0]} ({form[1]}): a second worker began with it while the first, to which nothing was done, still worked on it",
            fits=_in_form(form, _overlap),
            cause=lambda fate: (
                f"{fate.job.tries[1].replica} began with the job while {fate.job.tries[0].replica} still worked on it, "
                f"{span((fate.job.tries[1].first_ns - fate.job.tries[0].first_ns) / NS_PER_S)} after that had begun: its lease was over."
            ),
            cure=f"Raise {setting} above the longest job, or renew the lease while the work lasts (touch, XCLAIM, a new lock).",
        )
        for form, setting in LEASES.items()
    ),
    Cause(
        name=DUPLICATED,
        needs="the first worker was stopped or died after the effect was there and before the queue was told",
        fits=_between_effect_and_settled,
        cause=lambda fate: (
            f"{fate.job.tries[0].replica} ended between the effect and telling the queue, so the job was given to "
            f"{fate.job.tries[1].replica} as well, and had its effect again."
        ),
        cure=_IDEMPOTENT,
    ),
    Cause(
        name=DUPLICATED,
        needs="the first worker finished it and could not tell the queue, as a service was away or had closed the connection",
        fits=lambda fate: _finished_unsettled(fate) and _unheard(fate) is not None,
        cause=lambda fate: (
            f"{_trouble_words(_unheard(fate))} before {fate.job.tries[0].replica} could tell it that the job was done: the result was "
            "written, the acknowledgement was lost."
        ),
        cure="No retry can mend a lost acknowledgement. " + _IDEMPOTENT,
    ),
    Cause(
        name=DUPLICATED,
        needs="the first worker finished it and did not tell the queue so, and it was begun again",
        fits=_finished_unsettled,
        cause=lambda fate: f"{fate.job.tries[0].replica} finished it, and the queue never learned of that: it gave the job out again.",
        cure="See in the worker's log why the acknowledgement failed. " + _IDEMPOTENT,
    ),
    Cause(
        name=SET_ASIDE_JOBS,
        needs="each worker that had begun with it was stopped or killed by a step",
        fits=_each_met_a_fault,
        cause=lambda fate: f"What ended its workers ({count(len(fate.job.tries), 'stop')} of this run) counted as a failure of the job.",
        cure="Raise the limit of tries above what stops of workers can cost, or give jobs back on SIGTERM in a way that does not count.",
    ),
    Cause(
        name=NOT_DRAINED,
        needs="no replica that works on jobs was up at the end of the drain",
        fits=lambda fate: not _up(fate),
        cause=lambda _: "No worker was up at the end of the drain, so nobody took what was left.",
        cure="Let the steps end with workers that are up (scale), and look why the others ended.",
    ),
    Cause(
        name=NOT_DRAINED,
        needs="workers were up and began with nothing more after a service was away",
        fits=lambda fate: _silent(fate) is not None,
        cause=lambda fate: f"Workers were up and took no more jobs after {_trouble_words(_silent(fate))}.",
        cure="Let the worker connect again, with a pause between tries, when its connection is lost, or exit so that it is started anew.",
    ),
    Cause(
        name=NOT_DRAINED,
        needs="no worker had begun with it, and the queue said at the end of the drain that workers hold more than they had begun with",
        fits=lambda fate: _ahead(fate)[0] > 0,
        cause=lambda fate: (
            f"Workers that were up held {_ahead(fate)[0]} jobs and had begun with {_ahead(fate)[1]}: the others waited behind these, where "
            "nobody else could take them."
        ),
        cure="Take one job at a time (prefetch 1, worker_prefetch_multiplier 1), or raise drain above the time that all need.",
    ),
    Cause(
        name=NOT_DRAINED,
        needs="a worker that was up still had the job in hand at the end of the drain",
        fits=_still_at_work,
        cause=lambda fate: f"{_whom(fate)} still worked on it at the end of the drain.",
        cure="Raise drain above the longest job.",
    ),
)
"""Why jobs were not done, or done more than once."""
