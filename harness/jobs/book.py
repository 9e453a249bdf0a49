"""What is known of every job while the run goes on, written to the ledger as it becomes known.

The book answers what faults and the drain ask in the midst of a run: which jobs a replica has in hand, whether it had one at an instant,
and what is not done yet. Judging is done later, from the disk alone.
"""

from __future__ import annotations

import statistics
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from harness.clock import NS_PER_S, Clock
from harness.job_history import (
    ACKNOWLEDGED,
    FINISHED,
    REFUSED,
    RETURNED,
    SETTLED,
    STARTED,
    JobAnswered,
    JobDone,
    JobLine,
    JobsClosed,
    JobSeen,
    JobSubmitted,
)

LATE_NS: Final = NS_PER_S
"""A job that leaves so long after it was due shows that the rate was not kept."""

PATIENCE_NS: Final = 2 * NS_PER_S
USUAL_TIMES: Final = 10

_DURATIONS: Final = 200
_SPANS: Final = 2000


@dataclass(slots=True, kw_only=True)
class _Span:
    """One job in the hands of one replica; instants in nanoseconds, 0 for not yet."""

    job: int
    started_ns: int
    finished_ns: int = 0
    settled_ns: int = 0
    over_ns: int = 0

    def was(self, when: str, at_ns: int) -> bool:
        """It was finished and not settled at that instant, with ``job-finished``; in hand, with anything else."""
        if when == "job-finished":
            return 0 < self.finished_ns <= at_ns and not 0 < (self.settled_ns or self.over_ns) <= at_ns
        return self.started_ns <= at_ns and not 0 < (self.finished_ns or self.over_ns) <= at_ns


@dataclass(slots=True, kw_only=True)
class _Hands:
    """What a replica has in hand, and what it had."""

    held: dict[int, _Span] = field(default_factory=dict)
    past: deque[_Span] = field(default_factory=lambda: deque(maxlen=_SPANS))


class JobBook:
    """The book of one run. Safe from several threads."""

    def __init__(self, append: Callable[[JobLine], None], clock: Clock, *, tells: frozenset[str]) -> None:
        """``tells``: which of ``SIGHTINGS`` a worker's log speaks of."""
        self._tells = tells
        self._ends = tells & {FINISHED, SETTLED}
        self._append = append
        self._clock = clock
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._lines = 0
        self._closed = False
        self._late = 0
        self._answers: dict[int, str] = {}
        self._effects: dict[int, int] = {}
        self._submitted = 0
        self._hands: dict[str, _Hands] = defaultdict(_Hands)
        self._holders: dict[int, str] = {}
        self._earlier: dict[int, list[str]] = {}
        self._gone: set[str] = set()
        self._durations: deque[int] = deque(maxlen=_DURATIONS)
        self.foreign = 0

    @property
    def submitted(self) -> int:
        """How many jobs have been submitted."""
        return self._submitted

    def submit(self, job: int, *, step: int, due_ns: int) -> None:
        """A job is about to leave."""
        at_ns = self._clock.now_ns()
        self._late += bool(due_ns) and at_ns - due_ns > LATE_NS
        self._write(JobSubmitted(job=job, at_ns=at_ns, step=step, due_ns=due_ns if due_ns and due_ns != at_ns else 0))
        with self._lock:
            self._submitted = max(self._submitted, job + 1)

    def answer(self, job: int, answer: str, error: str = "") -> None:
        """What became of the submission."""
        self._write(JobAnswered(job=job, at_ns=self._clock.now_ns(), answer=answer, error=error))
        with self._lock:
            self._answers[job] = answer

    def see(self, job: int, what: str, replica: str) -> None:
        """A worker's log said something of a job."""
        at_ns = self._clock.now_ns()
        self._write(JobSeen(job=job, at_ns=at_ns, what=what, replica=replica))
        with self._lock:
            hands = self._hands[replica]
            if what == STARTED:
                hands.held[job] = _Span(job=job, started_ns=at_ns)
                if (before := self._holders.get(job, replica)) != replica:
                    self._earlier.setdefault(job, []).append(before)
                self._holders[job] = replica
                if replica in self._gone:  # its last words came late
                    self._end(hands, hands.held[job], at_ns)
            elif (span := hands.held.get(job)) is not None:
                self._go_on(hands, span, what, at_ns)

    def _go_on(self, hands: _Hands, span: _Span, what: str, at_ns: int) -> None:
        """More is said of a job that is in hand; it is over when all has been told of it that the log tells."""
        if what == FINISHED:
            span.finished_ns = at_ns
            self._durations.append(at_ns - span.started_ns)
        if what == SETTLED:
            span.settled_ns = at_ns
        told = {name for name, when_ns in ((FINISHED, span.finished_ns), (SETTLED, span.settled_ns)) if when_ns}
        if what == RETURNED or (self._ends and self._ends <= told):
            self._end(hands, span, at_ns)

    def effect(self, number: int, *, at_ns: int, since_ns: int) -> None:
        """An effect of a job showed."""
        with self._lock:
            known = 0 <= number < self._submitted
            if known:
                count = self._effects[number] = self._effects.get(number, 0) + 1
                holder = self._holders.get(number, "")
                span = self._hands[holder].held.get(number) if holder else None
                if span is not None and not span.finished_ns and FINISHED not in self._tells:
                    span.finished_ns = at_ns
                self._end_earlier(number, at_ns)
            else:
                count = 1
                number = -1 - number
        self._write(JobDone(job=number, at_ns=at_ns, since_ns=since_ns, effects=count))

    def _end_earlier(self, job: int, at_ns: int) -> None:
        """The job is done by its last holder: those who had it before, and lost it without a word, have it in hand no more."""
        for replica in self._earlier.pop(job, ()):
            if (span := self._hands[replica].held.get(job)) is not None and self._holders[job] != replica:
                self._end(self._hands[replica], span, at_ns)

    def gone(self, replica: str) -> None:
        """A replica ended: it has nothing in hand any more."""
        with self._lock:
            self._gone.add(replica)
            hands = self._hands[replica]
            for span in list(hands.held.values()):
                self._end(hands, span, self._clock.now_ns())

    def write(self, line: JobLine) -> None:
        """Write what the queue said of a job."""
        self._write(line)

    def close(self) -> None:
        """Nothing more will be written; what comes late is let go."""
        with self._writing:
            if not self._closed:
                self._closed = True
                self._append(JobsClosed(at_ns=self._clock.now_ns(), lines=self._lines, late=self._late))

    def in_hand(self, replica: str, when: str = "in-flight", *, older_ns: int = 0) -> int:
        """How many jobs the replica has in hand that are as ``when`` says, and were begun at least ``older_ns`` ago."""
        now_ns = self._clock.now_ns()
        with self._lock:
            hands = self._hands.get(replica)
            spans = list(hands.held.values()) if hands else []
        return sum(span.was(when, now_ns) and now_ns - span.started_ns >= older_ns for span in spans)

    def had(self, replica: str, when: str, at_ns: int) -> bool:
        """Whether the replica had a job in hand at that instant that was as ``when`` says."""
        with self._lock:
            hands = self._hands.get(replica)
            spans = [*hands.past, *hands.held.values()] if hands else []
        return any(span.was(when, at_ns) for span in spans)

    @property
    def effects(self) -> int:
        """How many effects have shown."""
        with self._lock:
            return sum(self._effects.values())

    def all_in_hand(self) -> int:
        """How many jobs somebody still works on.

        One that has shown an effect may be worked on a second time; but a try that failed without a word is not waited for as long as one
        whose job is not done.
        """
        now_ns = self._clock.now_ns()
        patience_ns = max(PATIENCE_NS, USUAL_TIMES * self.usual_ns())
        with self._lock:
            held = [span for hands in self._hands.values() for span in hands.held.values()]
            young = [span for span in held if not span.finished_ns and now_ns - span.started_ns < patience_ns]
            again = len(young) if FINISHED in self._tells else 0
            return again + sum(span.job not in self._effects for span in held if not again or span not in young)

    def usual_ns(self) -> int:
        """How long a job is worked on: the median of the last ones; 0 while nobody knows."""
        with self._lock:
            return round(statistics.median(self._durations)) if self._durations else 0

    def missing(self) -> int:
        """Jobs that were acknowledged and are not done."""
        with self._lock:
            return sum(answer == ACKNOWLEDGED and job not in self._effects for job, answer in self._answers.items())

    def doubtful(self) -> int:
        """Jobs of which nobody knows whether the queue has them, and that are not done."""
        with self._lock:
            return sum(answer not in (ACKNOWLEDGED, REFUSED) and job not in self._effects for job, answer in self._answers.items())

    def _end(self, hands: _Hands, span: _Span, at_ns: int) -> None:
        span.over_ns = at_ns
        hands.held.pop(span.job, None)
        hands.past.append(span)

    def _write(self, line: JobLine) -> None:
        with self._writing:
            if not self._closed:
                self._append(line)
                self._lines += 1
