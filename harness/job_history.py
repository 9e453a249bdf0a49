"""The ledger of jobs: what `jobs.jsonl` holds, a line for each thing that was seen of a job.

A job has a number, from 0, and travels as text that also carries the run's mark (`job_text`), so that what another run or another program
left in a queue is never taken for it. *Submitted* is written before the job leaves and *answered* when the queue, or the app, has said what
became of it; everything else is seen later, from the queue, from the worker's log, or where the effect shows.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from harness.line import Line

JOBS_FILE: Final = "jobs.jsonl"

ACKNOWLEDGED: Final = "acknowledged"
REFUSED: Final = "refused"
UNKNOWN: Final = "unknown"
ANSWERS: Final = (ACKNOWLEDGED, REFUSED, UNKNOWN)
"""What became of a submission: the queue confirmed that it has the job, said no (so it surely has not), or nobody knows."""

STARTED: Final = "started"
FINISHED: Final = "finished"
SETTLED: Final = "settled"
RETURNED: Final = "returned"
SIGHTINGS: Final = (STARTED, FINISHED, SETTLED, RETURNED)
"""What a worker's log tells of a job: it began, its work was done, the queue was told so (acknowledged, deleted), it was given back."""

READY: Final = "ready"
HELD: Final = "held"
DELAYED: Final = "delayed"
SET_ASIDE: Final = "set-aside"
STATES: Final = (READY, HELD, DELAYED, SET_ASIDE)
"""Where a queue has a job: free to be taken; reserved, unacknowledged or locked; not before an instant; buried, failed or dead-lettered."""


class JobSubmitted(Line, frozen=True, tag="job-submitted", gc=False):
    """Job number ``job`` is about to be handed to the queue, or to the app; ``due_ns`` is when the rate wanted it (else ``at_ns``)."""

    job: int
    at_ns: int
    step: int
    due_ns: int = 0


class JobAnswered(Line, frozen=True, tag="job-answered", gc=False):
    """The answer to a submission, one of ``ANSWERS``; ``error`` says why it was not acknowledged."""

    job: int
    at_ns: int
    answer: str
    error: str = ""


class JobSeen(Line, frozen=True, tag="job-seen", gc=False):
    """A worker said something of a job, one of ``SIGHTINGS``; ``at_ns`` is when its line was read, up to some ms later."""

    job: int
    at_ns: int
    what: str
    replica: str


class JobDone(Line, frozen=True, tag="job-done", gc=False):
    """An effect of the job showed at ``at_ns`` and had not at ``since_ns``; ``effects`` is how many there are now.

    A negative ``job`` stands for an effect with the run's mark and a number that was never submitted.
    """

    job: int
    at_ns: int
    since_ns: int
    effects: int = 1


class JobTold(Line, frozen=True, tag="job-told", gc=False):
    """What the queue itself said of a job when it was asked.

    Attributes:
        state: One of ``STATES``.
        by: Who holds it, in the queue's words; empty when it does not say so.
        until_ns: When a lock or lease ends, so that others may take it; 0 when the queue does not tell.
        deliveries: How often it was handed out; -1 when the queue does not count.
        redelivered: The queue says that it was handed out before.
    """

    job: int
    at_ns: int
    state: str
    by: str = ""
    until_ns: int = 0
    deliveries: int = -1
    redelivered: bool = False


class JobsClosed(Line, frozen=True, tag="jobs-closed"):
    """The ledger of jobs was closed in order, ``lines`` lines before this one."""

    at_ns: int
    lines: int


JobLine: TypeAlias = JobSubmitted | JobAnswered | JobSeen | JobDone | JobTold | JobsClosed


def mark_of(run_id: str) -> str:
    """What all jobs of a run carry: the last part of its id."""
    return run_id.rpartition("-")[2]


def job_text(mark: str, number: int) -> str:
    """A job's id as it travels: ``2fecf0-17``."""
    return f"{mark}-{number}"


def job_pattern(mark: str) -> re.Pattern[str]:
    """Finds the jobs of a run in any text; group 1 is the number."""
    return re.compile(rf"(?<![0-9A-Za-z]){re.escape(mark)}-(\d{{1,12}})(?![0-9A-Za-z])")
