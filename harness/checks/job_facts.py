"""What a history says about jobs, put together once for all checks.

A job is *done* when its effect was seen. One that was acknowledged and is not done is *missing*, and what the queue says of it after the
drain tells the rest: set aside (dead-lettered, buried, failed); *stranded*, when the queue holds it for somebody or until an instant;
*left*, when it is free to be taken, or a worker that was up had it in hand at the end of the drain, so that it might yet be done; and
*lost*, when the queue does not have it any more. Where nobody knows what the queue holds, what is missing is left, unless the queue was
seen to be empty.

All that says that something did *not* happen needs a ledger that is whole, a drain that came to an end, and effects that could be read
there; without them nothing is lost, and nothing is known. What did happen stays known.

Instants of workers' logs are those at which a line was read, some milliseconds after it was written.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np

from harness.checks.facts import Facts, Fault, Harm, Life, Mask, Rows
from harness.clock import NS_PER_S
from harness.history import Drained, QueueSeen, ServicePhase
from harness.job_history import (
    ACKNOWLEDGED,
    ANSWERS,
    DELAYED,
    HELD,
    NEVER,
    SET_ASIDE,
    STATES,
    JobLedger,
    JobTold,
    job_text,
    mark_of,
    naming,
)
from harness.scenario import JOB_MOMENTS, Jobs

_TROUBLE: Final = ("signalled", "exited", "cut", "away")

NO_HARM: Final = -1
BY_ITSELF: Final = -2
"""What stands for the number of a harm where a try met none, and where its worker died by itself."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Try:
    """One time that a job was in the hands of a replica, as `harness.job_history.Tries` has it.

    ``harm`` is the stop that it met there; ``died`` says that the worker ended by itself while the job was open.
    """

    replica: str
    life: Life
    first_ns: int
    started_ns: int
    finished_ns: int
    settled_ns: int
    returned_ns: int
    early: bool
    harm: Fault | None
    died: bool

    @property
    def ended_ns(self) -> int:
        """When its replica was stopped or died; 0 when neither happened."""
        if self.harm is not None:
            return self.harm.order.at_ns
        return self.life.exited.at_ns if self.died and self.life.exited else 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """All that is known of one job: ``told`` is what the queue said of it at the end, ``text`` its id as it travels."""

    row: int
    number: int
    text: str
    submitted_ns: int
    answer: str
    answered_ns: int
    error: str
    effects: int
    done_ns: int
    again_ns: int
    tries: tuple[Try, ...]
    told: JobTold | None

    @property
    def last(self) -> Try | None:
        """Whose hands it was in last."""
        return self.tries[-1] if self.tries else None

    @property
    def starts(self) -> int:
        """How often it was said to begin."""
        return sum(each.started_ns > 0 for each in self.tries)


class JobFacts:
    """The facts about the jobs of one history. Masks are over the rows of its `JobLedger`."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.ledger: JobLedger = facts.history.jobs

    @property
    def jobs(self) -> Jobs | None:
        """What the scenario says of them; None where it has none."""
        return self.facts.scenario.jobs

    @cached_property
    def drained(self) -> Drained | None:
        """The end of the wait for all jobs."""
        return next(reversed(self.facts.events(Drained)), None)

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """Why nothing that did not happen is known; empty when it is."""
        ledger, drained, doubts = self.ledger, self.drained, []
        if not ledger.lines and ledger.closed is None:
            doubts.append("there is no ledger of jobs")
        elif ledger.closed is None:
            doubts.append("the ledger of jobs was not closed")
        elif not ledger.whole:
            doubts.append(f"the ledger of jobs has {ledger.lines} of its {ledger.closed.lines} lines")
        if np.any(ledger.submissions > 1):
            doubts.append("jobs of one number were submitted twice, so their effects can't be told apart")
        if drained is None:
            doubts.append("the run ended before the jobs were drained")
        elif not drained.readable:
            doubts.append("effects could not be read at the end" + (f" ({drained.why})" if drained.why else ""))
        return tuple(doubts)

    @property
    def known(self) -> bool:
        """It is known what did not happen."""
        return not self.doubts

    # --- what became of them ------------------------------------------------------------------------------------------------

    @cached_property
    def submitted(self) -> Mask:
        """Jobs that were handed to the queue, or to the app."""
        mask: Mask = self.ledger.submissions > 0
        return mask

    @cached_property
    def acknowledged(self) -> Mask:
        """Jobs that the queue confirmed."""
        mask: Mask = self.submitted & (self.ledger.answer == ANSWERS.index(ACKNOWLEDGED))
        return mask

    @cached_property
    def done(self) -> Mask:
        """Jobs that were submitted and whose effect was seen."""
        mask: Mask = self.submitted & (self.ledger.effects > 0)
        return mask

    @cached_property
    def duplicated(self) -> Mask:
        """Jobs whose effect was seen more than once."""
        mask: Mask = (self.ledger.submissions == 1) & (self.ledger.effects > 1)
        return mask

    @cached_property
    def recovered(self) -> Mask:
        """Jobs that were refused, or of which nobody knew, and that are done."""
        mask: Mask = self.done & ~self.acknowledged
        return mask

    @cached_property
    def uncertain(self) -> Mask:
        """Jobs that were refused, or of which nobody knew, and that are not done."""
        mask: Mask = self.submitted & ~self.acknowledged & ~self.done
        return mask

    @cached_property
    def unexpected(self) -> Mask:
        """Effects of jobs that were never submitted."""
        return ~self.submitted & (self.ledger.effects > 0) & self.known

    @cached_property
    def redelivered(self) -> Mask:
        """Jobs that were begun more than once and had one effect."""
        mask: Mask = (self.starts > 1) & self.done & (self.ledger.effects == 1)
        return mask

    @cached_property
    def missing(self) -> Mask:
        """Jobs that were acknowledged and are not done; none where that is not known."""
        return self.acknowledged & ~self.done & self.known

    @cached_property
    def set_aside(self) -> Mask:
        """Missing jobs that the queue keeps apart."""
        return self.missing & self._told_as(SET_ASIDE)

    @cached_property
    def stranded(self) -> Mask:
        """Missing jobs that the queue holds for who is gone, or until an instant."""
        return self.missing & ((self._told_as(HELD) & ~self._still_worked_on) | self._told_as(DELAYED))

    @cached_property
    def lost(self) -> Mask:
        """Missing jobs that the queue does not have any more, and nobody works on."""
        drained = self.drained
        told = self._told_as(*STATES)
        gone = drained is not None and (drained.seen or drained.whole)
        return self.missing & ~told & ~self._still_worked_on & ~self._in_the_dark & gone

    @cached_property
    def left(self) -> Mask:
        """Missing jobs that may yet be done, or of which nobody knows where they are."""
        return self.missing & ~self.lost & ~self.stranded & ~self.set_aside

    @cached_property
    def told(self) -> dict[int, JobTold]:
        """What the queue said of jobs when it was asked for what is left, by the row."""
        began_ns = self.drained.began_ns if self.drained else NEVER
        told = [line for line in self.ledger.told if line.at_ns >= began_ns]
        rows = self.ledger.rows(np.fromiter((line.job for line in told), dtype=np.int64, count=len(told))).tolist()
        return dict(zip(rows, told, strict=True))

    @cached_property
    def _in_the_dark(self) -> Mask:
        """Jobs that a worker may have taken without a word, of a queue that does not tell what its workers hold."""
        look, mask = self.last_look, np.zeros(len(self.ledger), dtype=np.bool_)
        if self.drained is not None and not self.drained.whole and look is not None and look.held < 0:
            mask[:] = True
            mask[self.ledger.tries.row] = False
        return mask

    def _told_as(self, *states: str) -> Mask:
        mask: Mask = np.zeros(len(self.ledger), dtype=np.bool_)
        mask[[row for row, line in self.told.items() if line.state in states]] = True
        return mask

    @cached_property
    def _still_worked_on(self) -> Mask:
        """Jobs that a replica which was up at the end of the drain had in hand, by its log or by the queue's word.

        By its log these are what it began last and did not finish; of one that works on several at a time, all that it did not finish.
        """
        mask: Mask = np.zeros(len(self.ledger), dtype=np.bool_)
        if self.drained is None:
            return mask
        tries, up = self.ledger.tries, self.up_at(self.drained.at_ns)
        is_last = np.zeros(len(tries), dtype=np.bool_)
        is_last[self.last_try[self.last_try >= 0]] = True
        worked = False
        for replica in up:
            mine = self.tries_of(replica)
            # Of a job that another replica had later, that one's log tells.
            begun = mine[is_last[mine] & (tries.started_ns[mine] > 0) & (tries.finished_ns[mine] == 0) & (tries.returned_ns[mine] == 0)]
            mask[tries.row[begun if self._works_on_several(mine) else begun[np.isin(begun, mine[-1:])]]] = True
            worked = worked or len(begun) > 0
        named = [naming(replica) for replica in up]
        mask[[row for row, line in self.told.items() if line.by and any(name.search(line.by) for name in named)]] = True
        says = self.jobs is not None and self.jobs.log.started is not None
        if up and (worked or not says):  # what nobody has spoken of may have been taken ahead by one of them
            dead = [
                life.replica
                for life in self.facts.lives.values()
                if life.process == self.facts.scenario.job_process and life.replica not in up
            ]
            gone = [naming(replica) for replica in dead]
            silent = [row for row, line in self.told.items() if line.state == HELD and self.last_try[row] < 0]
            mask[[row for row in silent if not any(name.search(self.told[row].by) for name in gone)]] = True
        return mask

    def _works_on_several(self, mine: Rows) -> bool:
        """A replica began with something before it had finished what it finished later."""
        tries = self.ledger.tries
        finished_ns = tries.finished_ns[mine]
        return bool(np.any((finished_ns[:-1] > 0) & (tries.started_ns[mine][1:] > 0) & (tries.started_ns[mine][1:] < finished_ns[:-1])))

    def up_at(self, at_ns: int) -> frozenset[str]:
        """Replicas of the process type that works on jobs that were there at that instant."""
        return frozenset(
            life.replica
            for life in self.facts.lives.values()
            if life.process == self.facts.scenario.job_process and 0 < life.spawned_ns <= at_ns
            if life.exited is None or life.exited.at_ns > at_ns
        )

    # --- in whose hands they were -------------------------------------------------------------------------------------------

    @cached_property
    def starts(self) -> Rows:
        """How often each job was said to begin."""
        tries = self.ledger.tries
        found: Rows = np.bincount(tries.row[tries.started_ns > 0], minlength=len(self.ledger)).astype(np.int64)
        return found

    @cached_property
    def last_try(self) -> Rows:
        """The last try of each job; -1 where there is none."""
        found = np.full(len(self.ledger), -1)
        found[self.ledger.tries.row] = np.arange(len(self.ledger.tries))
        return found

    @cached_property
    def first_try(self) -> Rows:
        """The first one."""
        found = np.full(len(self.ledger), -1)
        found[self.ledger.tries.row[::-1]] = np.arange(len(self.ledger.tries))[::-1]
        return found

    def tries_of(self, replica: str) -> Rows:
        """The tries on a replica, in the order in which they began."""
        return self.ledger.tries.of(replica)

    @cached_property
    def _worked_until_ns(self) -> Rows:
        """When each try's work was over, `NEVER` for not yet."""
        return self.ledger.worked_until_ns(np.arange(len(self.ledger.tries)), says_finished=self._says_finished)

    @property
    def _says_finished(self) -> bool:
        return self.jobs is not None and self.jobs.log.finished is not None

    def in_hand(self, replica: str, at_ns: int, when: str = "in-flight") -> Rows:
        """Rows of jobs that the replica had in hand at that instant; see `harness.job_history.JobLedger.in_hand`."""
        return self.ledger.in_hand(replica, at_ns, when, says_finished=self._says_finished)

    def had_in_hand(self, harm: Harm) -> int:
        """How many jobs its victim had in hand when a harm came, as its step demands; as the harness saw it where no log tells it."""
        when = getattr(harm.order, "when", "")
        if self.jobs is not None and self.jobs.log.started is None:
            return max(0, harm.order.in_flight) if when in JOB_MOMENTS else 0
        return len(self.in_hand(harm.victim.replica, harm.order.at_ns, when))

    @cached_property
    def harm_of_try(self) -> Rows:
        """The number of the stop that each try met, `BY_ITSELF` when its worker died, or `NO_HARM`.

        It is the first stop after the try's first word, or else the last one before it, as what a victim wrote is read late. A try met it
        when its work was not over, or when it was the last that the replica had begun.
        """
        tries = self.ledger.tries
        found = np.full(len(tries), NO_HARM)
        over_ns = np.maximum(self._worked_until_ns, tries.settled_ns)
        if self.jobs is not None and self.jobs.log.settled is not None:
            over_ns[(tries.finished_ns > 0) & (tries.settled_ns == 0) & (tries.returned_ns == 0)] = NEVER
        for replica in tries.replicas:
            mine = self.tries_of(replica)
            ends = self._ends_of(self.facts.life(replica))
            if len(mine) and ends:
                at_ns, numbers = (np.array(column) for column in zip(*ends, strict=True))
                place = np.minimum(np.searchsorted(at_ns, tries.first_ns[mine]), len(ends) - 1)
                met = over_ns[mine] >= at_ns[place]
                met[-1] = True
                found[mine] = np.where(met, numbers[place], NO_HARM)
        return found

    @cached_property
    def hits(self) -> frozenset[int] | None:
        """The numbers of the stops that lost, stranded or set aside a job; None when one of those jobs met no stop that is known."""
        rows = np.flatnonzero(self.lost | self.stranded | self.set_aside)
        last = self.last_try[rows]
        numbers = self.harm_of_try[last[last >= 0]]
        return None if np.any(last < 0) or np.any(numbers == NO_HARM) else frozenset(numbers[numbers >= 0].tolist())

    def _ends_of(self, life: Life) -> list[tuple[int, int]]:
        """When a replica was stopped, or died by itself, with the number that stands for it."""
        stops = [fault for fault in self.facts.faults if fault.victim is life]
        stops = [fault for fault in stops if fault.kind != "signal" or life.ended_by is fault.signal]
        ends = [(fault.order.at_ns, fault.number) for fault in stops]
        return [*ends, (life.exited.at_ns, BY_ITSELF)] if life.exited and life.died_by_itself else ends

    @cached_property
    def troubles(self) -> tuple[ServicePhase, ...]:
        """When services were stopped, went away or lost their clients."""
        return tuple(event for event in self.facts.events(ServicePhase) if event.phase in _TROUBLE)

    def trouble_between(self, begin_ns: int, end_ns: int) -> ServicePhase | None:
        """The first such event in a span; a cut of many connections takes its time."""
        return next((event for event in self.troubles if event.at_ns <= end_ns and begin_ns <= max(event.at_ns, event.until_ns)), None)

    # --- one job ------------------------------------------------------------------------------------------------------------

    def job(self, row: int) -> Job:
        """All that is known of one job."""
        ledger = self.ledger
        begin, end = np.searchsorted(ledger.tries.row, [row, row + 1]).tolist()
        number, answer = int(ledger.job[row]), int(ledger.answer[row])
        mark = mark_of(self.facts.history.header.run_id)
        return Job(
            row=row,
            number=number,
            text=job_text(mark, number if number >= 0 else -1 - number),
            submitted_ns=int(ledger.submitted_ns[row]),
            answer=ANSWERS[answer] if 0 <= answer < len(ANSWERS) else "",
            answered_ns=int(ledger.answered_ns[row]),
            error=ledger.errors[int(ledger.error[row])],
            effects=int(ledger.effects[row]),
            done_ns=int(ledger.done_ns[row]),
            again_ns=int(ledger.again_ns[row]),
            tries=tuple(self._try(place) for place in range(begin, end)),
            told=self.told.get(row),
        )

    def _try(self, place: int) -> Try:
        tries = self.ledger.tries
        replica = tries.replicas[int(tries.replica[place])]
        harm = int(self.harm_of_try[place])
        return Try(
            replica=replica,
            life=self.facts.life(replica),
            first_ns=int(tries.first_ns[place]),
            started_ns=int(tries.started_ns[place]),
            finished_ns=int(tries.finished_ns[place]),
            settled_ns=int(tries.settled_ns[place]),
            returned_ns=int(tries.returned_ns[place]),
            early=bool(tries.early[place]),
            harm=self.facts.faults[harm] if harm >= 0 else None,
            died=harm == BY_ITSELF,
        )

    # --- the queue ----------------------------------------------------------------------------------------------------------

    @cached_property
    def _looks(self) -> tuple[QueueSeen, ...]:
        return tuple(event for event in self.facts.events(QueueSeen) if not event.error)

    def look(self, why: str, replica: str, at_ns: int) -> QueueSeen | None:
        """What the queue said that it holds just ``before`` a fault on a replica at that instant, or first ``after`` it."""
        mine = [seen for seen in self._looks if (seen.why, seen.replica) == (why, replica)]
        if why == "before":
            return next((seen for seen in reversed(mine) if seen.until_ns <= at_ns), None)
        return next((seen for seen in mine if seen.at_ns >= at_ns), None)

    @cached_property
    def last_look(self) -> QueueSeen | None:
        """What the queue said last before the drain ended."""
        end_ns = self.drained.at_ns if self.drained else 0
        return next((seen for seen in reversed(self._looks) if seen.until_ns <= end_ns), None)

    @cached_property
    def job_times_s(self) -> Rows:
        """Seconds from acknowledged to done, of each job that was both."""
        rows = np.flatnonzero(self.acknowledged & self.done)
        found: Rows = np.maximum(self.ledger.done_ns[rows] - self.ledger.answered_ns[rows], 0) / NS_PER_S
        return found


def busy_at(facts: Facts, harm: Harm) -> bool:
    """Whether its victim had a request in flight, or a job in hand, when a harm came."""
    return harm.busy > 0 or (harm.victim.process == facts.scenario.job_process and jobs_of(facts).had_in_hand(harm) > 0)


@lru_cache(maxsize=1)
def jobs_of(facts: Facts) -> JobFacts:
    """The facts about the jobs of a history, made once for each `Facts`."""
    return JobFacts(facts)
