"""The ledger of jobs: what `jobs.jsonl` holds, a line for each thing that was seen of a job.

A job has a number, from 0, and travels as text that also carries the run's mark (`job_text`), so that what another run or another program
left in a queue is never taken for it. *Submitted* is written before the job leaves and *answered* when the queue, or the app, has said what
became of it; everything else is seen later, from the queue, from the worker's log, or where the effect shows.

Checks read a `JobLedger`: numpy columns with a row for each job, and what workers said of it, since a million jobs have five million lines.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from harness.line import Line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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

NEVER: Final = 1 << 62
"""The instant of what has not happened, where the least of several is asked for."""

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
    """The ledger of jobs was closed in order, ``lines`` lines before this one; ``late`` jobs left over a second after they were due."""

    at_ns: int
    lines: int
    late: int = 0


JobLine: TypeAlias = JobSubmitted | JobAnswered | JobSeen | JobDone | JobTold | JobsClosed


def naming(replica: str) -> re.Pattern[str]:
    """Finds a replica's name in what a queue says of who holds a job: ``worker.1`` and not ``worker.11``."""
    return re.compile(rf"(?<![\w.]){re.escape(replica)}(?![\w.])")


def mark_of(run_id: str) -> str:
    """What all jobs of a run carry: the last part of its id."""
    return run_id.rpartition("-")[2]


def job_text(mark: str, number: int) -> str:
    """A job's id as it travels: ``2fecf0-17``."""
    return f"{mark}-{number}"


def job_pattern(mark: str) -> re.Pattern[str]:
    """Finds the jobs of a run in any text; group 1 is the number."""
    return re.compile(rf"(?<![0-9A-Za-z]){re.escape(mark)}-(\d{{1,12}})(?![0-9A-Za-z])")


# --- columns ----------------------------------------------------------------------------------------------------------------

NO_ANSWER: Final = -1
"""The code of a job in `JobLedger.answer` whose submission nobody saw the end of; other codes are indexes into `ANSWERS`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tries:
    """What workers said of jobs, as numpy columns: a row for each time that a job came into the hands of a replica.

    The tries of a job stand together and in their order; one that was never said to begin is there when more was said of it.

    Attributes:
        row: The row of its job in the `JobLedger`.
        replica: Whose log said it, an index into ``replicas``.
        first_ns: The first thing was said of it.
        started_ns: It began; this and the following are 0 for what was not said.
        finished_ns: Its work was done.
        settled_ns: The queue was told so.
        returned_ns: It was given back.
        early: The queue was told, and its work had not been done before.
        by_replica: The places of all tries by their replica and ``first_ns``.
        bounds: Where those of each replica begin in it, and the end of the last.
    """

    row: NDArray[np.int64]
    replica: NDArray[np.int64]
    first_ns: NDArray[np.int64]
    started_ns: NDArray[np.int64]
    finished_ns: NDArray[np.int64]
    settled_ns: NDArray[np.int64]
    returned_ns: NDArray[np.int64]
    early: NDArray[np.bool_]
    by_replica: NDArray[np.int64]
    bounds: NDArray[np.int64]
    replicas: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.row)

    def of(self, replica: str) -> NDArray[np.int64]:
        """The places of the tries on a replica, in the order in which they began."""
        if replica not in self.replicas:
            return self.by_replica[:0]
        code = self.replicas.index(replica)
        return self.by_replica[self.bounds[code] : self.bounds[code + 1]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JobLedger:
    """All jobs as numpy columns, a row for each in the order of their numbers. Instants are nanoseconds, 0 for never.

    Attributes:
        job: The number; negative for an effect with a number that was never submitted.
        submissions: How often it was submitted: once, or never.
        submitted_ns: The instant before that.
        answer: What became of it, an index into `ANSWERS`, or `NO_ANSWER`.
        answered_ns: The first answer of that kind.
        error: Why it was not acknowledged, an index into ``errors``.
        effects: How many effects it had.
        since_ns: The first one had not shown at this instant,
        done_ns: and had at this one.
        again_ns: The second one had.
        tries: What workers said of them.
        told: What the queue said of single jobs, in its order.
        closed: The last line, when it is there.
        lines: How many lines stand before it; all of them where it is not there.
        torn: How many could not be read.
    """

    job: NDArray[np.int64]
    submissions: NDArray[np.int64]
    submitted_ns: NDArray[np.int64]
    answer: NDArray[np.int64]
    answered_ns: NDArray[np.int64]
    error: NDArray[np.int64]
    effects: NDArray[np.int64]
    since_ns: NDArray[np.int64]
    done_ns: NDArray[np.int64]
    again_ns: NDArray[np.int64]
    tries: Tries
    errors: tuple[str, ...]
    told: tuple[JobTold, ...]
    closed: JobsClosed | None
    lines: int
    torn: int

    def __len__(self) -> int:
        return len(self.job)

    @property
    def whole(self) -> bool:
        """It was closed in order, and every line that was written can be read."""
        return self.closed is not None and self.closed.lines == self.lines and not self.torn

    def worked_until_ns(self, places: NDArray[np.int64], *, says_finished: bool) -> NDArray[np.int64]:
        """When the work of these tries was over: done, given back, or its effect there; the largest number for not yet.

        Being acknowledged before all that does not end it where a log ``says_finished``.
        """
        import numpy as np  # noqa: PLC0415  as in `harness.history`

        tries = self.tries
        first_ns, done_ns = tries.first_ns[places], self.done_ns[tries.row[places]]
        settled_ns = np.where(tries.early[places] & says_finished, 0, tries.settled_ns[places])
        ends = np.stack([tries.finished_ns[places], settled_ns, tries.returned_ns[places], np.where(done_ns >= first_ns, done_ns, 0)])
        found: NDArray[np.int64] = np.where(ends > 0, ends, NEVER).min(axis=0)
        return found

    def in_hand(self, replica: str, at_ns: int, when: str = "in-flight", *, says_finished: bool) -> NDArray[np.int64]:
        """Rows of jobs that the replica had in hand at that instant, by its log.

        It had begun with them, and had neither finished them nor given them back, nor was their effect there; with ``when``
        ``job-finished``: all that was, and the queue had not been told so.
        """
        import numpy as np  # noqa: PLC0415  as above

        tries, mine = self.tries, self.tries.of(replica)
        mine = mine[(tries.started_ns[mine] > 0) & (tries.started_ns[mine] <= at_ns)]
        until_ns = self.worked_until_ns(mine, says_finished=says_finished)
        if when == "job-finished":
            over = np.maximum(tries.settled_ns[mine], tries.returned_ns[mine])
            mine = mine[(until_ns <= at_ns) & ((over == 0) | (over > at_ns))]
        else:
            mine = mine[until_ns > at_ns]
        rows: NDArray[np.int64] = np.unique(tries.row[mine])
        return rows

    def rows(self, jobs: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of each of these numbers, all of which are in ``job``."""
        return _Places(self.job).of(jobs)


class JobColumns:
    """Collects lines and makes a `JobLedger` of them; what it has taken in needs some bytes a line."""

    CHUNK: Final = 8 << 20

    def __init__(self) -> None:
        self._columns: dict[str, list[NDArray[np.int64]]] = defaultdict(list)
        self._replicas: dict[str, int] = {}
        self._errors: dict[str, int] = {"": 0}
        self._told: list[JobTold] = []
        self._closed: JobsClosed | None = None
        self._lines = 0
        self._before = 0
        self._torn = 0

    def read(self, file: Path) -> int:
        """Take in a file, some MiB at a time; how many of its lines could not be read."""
        decoder: msgspec.json.Decoder[JobLine] = msgspec.json.Decoder(JobLine)
        rest, torn = b"", 0
        with file.open("rb") as opened:
            while data := opened.read(self.CHUNK):
                whole, newline, rest = (rest + data).rpartition(b"\n")
                lines, bad = _decoded(decoder, whole + newline)
                self.add(lines)
                torn += bad
        torn += bool(rest.strip(b"\0"))
        self._torn += torn
        return torn

    def add(self, lines: Iterable[JobLine]) -> None:
        """Take in lines in the order in which they were written."""
        kinds: dict[type[JobLine], list[Any]] = defaultdict(list)
        for number, line in enumerate(lines, start=self._lines):
            kinds[type(line)].append(line)
            if isinstance(line, JobsClosed):
                self._closed, self._before = line, number
        self._told += kinds[JobTold]
        self._lines += sum(map(len, kinds.values()))
        self._keep(kinds[JobSubmitted], "submitted", ("job", "at_ns"))
        answered, seen = kinds[JobAnswered], kinds[JobSeen]
        self._keep(answered, "answered", ("job", "at_ns"))
        self._keep(kinds[JobDone], "done", ("job", "at_ns", "since_ns", "effects"))
        self._keep(seen, "seen", ("job", "at_ns"))
        if answered:
            self._code(answered, "answered", "answer", {answer: code for code, answer in enumerate(ANSWERS)})
            self._code(answered, "answered", "error", self._errors)
        if seen:
            self._code(seen, "seen", "what", {what: code for code, what in enumerate(SIGHTINGS)})
            self._code(seen, "seen", "replica", self._replicas)

    def ledger(self) -> JobLedger:
        """All that was taken in."""
        import numpy as np  # noqa: PLC0415  writers don't need it and it takes a tenth of a second

        told = np.fromiter((line.job for line in self._told), dtype=np.int64, count=len(self._told))
        numbers = [self._column(f"{kind}.job") for kind in ("submitted", "answered", "done", "seen")]
        job = _distinct([*numbers, told])
        place = _Places(job)
        submitted, answered, done, seen = (place.of(each) for each in numbers)
        submitted_ns, answered_ns, done_ns = (self._column(f"{kind}.at_ns") for kind in ("submitted", "answered", "done"))
        answers = self._column("answered.answer")
        answer = place.least(answered, answers, otherwise=NO_ANSWER)
        mine = np.flatnonzero(answers == answer[answered])
        effects, first = self._column("done.effects"), place.first(done, done_ns)
        again = np.flatnonzero(effects > 1)
        return JobLedger(
            job=job,
            submissions=place.count(submitted),
            submitted_ns=place.least(submitted, submitted_ns),
            answer=answer,
            answered_ns=place.least(answered[mine], answered_ns[mine]),
            error=place.given(place.first(answered[mine], answered_ns[mine]), self._column("answered.error")[mine]),
            effects=-place.least(done, -effects),
            since_ns=place.given(first, self._column("done.since_ns")),
            done_ns=place.given(first, done_ns),
            again_ns=place.least(done[again], done_ns[again]),
            tries=_tries(seen, self._column("seen.at_ns"), self._column("seen.what"), self._column("seen.replica"), tuple(self._replicas)),
            errors=tuple(self._errors),
            told=tuple(sorted(self._told, key=attrgetter("at_ns"))),
            closed=self._closed,
            lines=self._lines if self._closed is None else self._before,
            torn=self._torn,
        )

    def _keep(self, lines: Sequence[Line], kind: str, names: Sequence[str]) -> None:
        import numpy as np  # noqa: PLC0415  as above

        for name in names if lines else ():
            self._columns[f"{kind}.{name}"].append(np.fromiter(map(attrgetter(name), lines), dtype=np.int64, count=len(lines)))

    def _code(self, lines: Sequence[Line], kind: str, name: str, codes: dict[str, int]) -> None:
        """The attribute as a number of ``codes``, which get a new one for each word that they lack."""
        import numpy as np  # noqa: PLC0415  as above

        for found in dict.fromkeys(map(attrgetter(name), lines)):
            codes.setdefault(found, len(codes))
        column = np.fromiter(map(codes.__getitem__, map(attrgetter(name), lines)), dtype=np.int64, count=len(lines))
        self._columns[f"{kind}.{name}"].append(column)

    def _column(self, name: str) -> NDArray[np.int64]:
        import numpy as np  # noqa: PLC0415  as above

        found = self._columns.pop(name, [])
        kept = np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
        self._columns[name] = [kept]
        return kept


def ledger_of(lines: Iterable[JobLine]) -> JobLedger:
    """The ledger of lines that are at hand, in the order in which they were written."""
    columns = JobColumns()
    columns.add(lines)
    return columns.ledger()


class _Places:
    """Rows of jobs, and what becomes of columns of lines when each job gets one value."""

    def __init__(self, job: NDArray[np.int64]) -> None:
        self._job = job
        self._dense = len(job) > 0 and int(job[-1]) - int(job[0]) == len(job) - 1

    def of(self, jobs: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of each line's job."""
        import numpy as np  # noqa: PLC0415  as above

        found: NDArray[np.int64] = jobs - self._job[0] if self._dense else np.searchsorted(self._job, jobs)
        return found

    def count(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many lines each job has."""
        import numpy as np  # noqa: PLC0415  as above

        found: NDArray[np.int64] = np.bincount(rows, minlength=len(self._job)).astype(np.int64)
        return found

    def least(self, rows: NDArray[np.int64], values: NDArray[np.int64], *, otherwise: int = 0) -> NDArray[np.int64]:
        """The smallest value of each job's lines."""
        import numpy as np  # noqa: PLC0415  as above

        found = np.full(len(self._job), np.iinfo(np.int64).max)
        np.minimum.at(found, rows, values)
        found[found == np.iinfo(np.int64).max] = otherwise
        return found

    def first(self, rows: NDArray[np.int64], at_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """The place of each job's earliest line; -1 where there is none."""
        import numpy as np  # noqa: PLC0415  as above

        order = np.argsort(at_ns, kind="stable")[::-1]
        found = np.full(len(self._job), -1)
        found[rows[order]] = order
        return found

    def given(self, places: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
        """The value at each place; 0 where it is -1."""
        import numpy as np  # noqa: PLC0415  as above

        # The last value of all stands for -1.
        found: NDArray[np.int64] = np.append(values, 0)[places]
        return found


def _by(rows: NDArray[np.int64], at_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order of lines by job, instant, and place in the file; lines that are in order already cost little."""
    import numpy as np  # noqa: PLC0415  as above

    order = np.argsort(at_ns, kind="stable")
    return order[np.argsort(rows[order], kind="stable")]


def _tries(
    rows: NDArray[np.int64], at_ns: NDArray[np.int64], what: NDArray[np.int64], replica: NDArray[np.int64], replicas: tuple[str, ...]
) -> Tries:
    """Cut what each replica said of each job where it said that it began."""
    import numpy as np  # noqa: PLC0415  as above

    order = _by(rows * max(1, len(replicas)) + replica, at_ns)
    rows, at_ns, what, replica = rows[order], at_ns[order], what[order], replica[order]
    elsewhere = (np.diff(rows, prepend=-1) != 0) | (np.diff(replica, prepend=-1) != 0)
    begins = np.flatnonzero(elsewhere | (what == SIGHTINGS.index(STARTED)))
    of_try = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(rows)))

    def places(of: str) -> NDArray[np.int64]:
        """Where this was first said in each try; the place behind the last line when it was not."""
        said = np.flatnonzero(what == SIGHTINGS.index(of))[::-1]
        found = np.full(len(begins), len(rows))
        found[of_try[said]] = said
        return found

    instants = np.append(at_ns, 0)
    finished, settled = places(FINISHED), places(SETTLED)
    again = _by(rows[begins], at_ns[begins])
    by_replica = _by(replica[begins][again], at_ns[begins][again])
    return Tries(
        row=rows[begins][again],
        replica=replica[begins][again],
        first_ns=at_ns[begins][again],
        started_ns=instants[places(STARTED)][again],
        finished_ns=instants[finished][again],
        settled_ns=instants[settled][again],
        returned_ns=instants[places(RETURNED)][again],
        early=(settled < finished)[again],
        by_replica=by_replica,
        bounds=np.searchsorted(replica[begins][again][by_replica], np.arange(len(replicas) + 1)),
        replicas=replicas,
    )


def _distinct(columns: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """All numbers in them, each once, in order; mostly these are 0 to n - 1, and then without sorting."""
    import numpy as np  # noqa: PLC0415  as above

    there = [column for column in columns if len(column)]
    if not there:
        return np.zeros(0, dtype=np.int64)
    low, high = min(int(column.min()) for column in there), max(int(column.max()) for column in there)
    if high - low > 4 * sum(map(len, there)):
        return np.unique(np.concatenate(there))
    known = np.zeros(high - low + 1, dtype=np.bool_)
    for column in there:
        known[column - low] = True
    found: NDArray[np.int64] = np.flatnonzero(known) + low
    return found


def _decoded(decoder: msgspec.json.Decoder[JobLine], data: bytes) -> tuple[list[JobLine], int]:
    """The lines of ``data`` and how many could not be read."""
    try:
        return decoder.decode_lines(data), 0
    except msgspec.DecodeError:
        found, torn = [], 0
        for raw in data.splitlines():
            try:
                found.append(decoder.decode(raw))
            except msgspec.DecodeError:
                torn += 1
        return found, torn
