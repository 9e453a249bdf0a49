"""What became of the jobs: lost, stranded, done twice, set aside, or all done once; each with its story, why, and what to change.

The words are those of `harness.checks.job_facts`. Lost, stranded, set aside and unexpected jobs are failures, and duplicated ones where the
scenario calls the job idempotent; elsewhere these are advice. A job that was begun more than once and had one effect is what a queue
promises, and one whose submission was not answered may be done or not: both are counted. What nobody knows is unknown, never a pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np

from harness.checks.facts import Facts, Mask, Rows
from harness.checks.job_causes import DUPLICATED, LOST, NOT_DRAINED, SET_ASIDE_JOBS, STRANDED, Explained, explained
from harness.checks.job_facts import JobFacts, jobs_of
from harness.checks.job_stories import story
from harness.checks.power import bound
from harness.checks.requests import PURPOSES
from harness.checks.wording import count, grouped, listed, none_did, only, some, tally
from harness.clock import NS_PER_S
from harness.history import History
from harness.job_history import READY
from harness.threshold import percentile
from harness.units import span
from harness.verdict import Finding, Verdict

CHECK: Final = "jobs"
UNEXPECTED: Final = "unexpected-jobs"

MOST_STORIES: Final = 5
"""Stories that a finding tells; the jobs behind the others are counted."""

METRICS: Final = {
    LOST: "lost_jobs",
    STRANDED: "stranded_jobs",
    SET_ASIDE_JOBS: "set_aside_jobs",
    DUPLICATED: "duplicated_jobs",
    UNEXPECTED: "unexpected_jobs",
}
"""The metric that decides about each failure."""

TITLES: Final = {
    LOST: "{jobs} {were} acknowledged and never done, and the queue does not have {them} any more",
    STRANDED: "{jobs} {were} acknowledged and not done, and the queue holds {them} for who is gone, or until later",
    SET_ASIDE_JOBS: "{jobs} {were} acknowledged and not done, and the queue has set {them} aside",
    DUPLICATED: "{jobs} had {their} effect more than once",
    NOT_DRAINED: "{jobs} {were} acknowledged and not done when the wait for {them} ended",
}

NO_DATA_CURE: Final = (
    "See events and the replicas' logs in the run's folder for what came between; a run that ends in order closes its ledger after a drain."
)
NONE_CURE: Final = "See whether the queue is reachable and takes jobs: the errors are its own words."
COUNTS_CURE: Final = "Let effects show where a second one can be seen: a list, a stream, a file or a table with a row an effect, not a set."
UNEXPECTED_CURE: Final = "See which program puts jobs with such ids, and whether workers write the id that they were given."
NOT_DRAINED_CURE: Final = "Raise drain, or look at what holds what is left."


def check(history: History) -> list[Finding]:
    """Findings about every job; one that says so when the scenario has none."""
    facts = Facts(history)
    if facts.scenario.jobs is None:
        return [Finding(check=CHECK, name="no-jobs", verdict=Verdict.PASS, title="the scenario has no jobs")]
    jobs = jobs_of(facts)
    return [
        *_unknown(jobs),
        *_by_cause(jobs, LOST, jobs.lost),
        *_by_cause(jobs, STRANDED, jobs.stranded),
        *_by_cause(jobs, SET_ASIDE_JOBS, jobs.set_aside),
        *_by_cause(jobs, DUPLICATED, jobs.duplicated),
        *_unexpected(jobs),
        *_by_cause(jobs, NOT_DRAINED, jobs.left),
        *_duplicates_not_seen(jobs),
        _counted(jobs),
        *_redelivered(jobs),
        *_recovered(jobs),
        *_uncertain(jobs),
        *_foreign(jobs),
        *_strength(jobs),
    ]


def number_of(mask: Mask) -> int:
    """How many jobs."""
    return int(np.count_nonzero(mask))


# --- what is known ----------------------------------------------------------------------------------------------------------


def _counted(jobs: JobFacts) -> Finding:
    total = number_of(jobs.submitted)
    parts = [("acknowledged", jobs.acknowledged), ("done", jobs.done)]
    parts += [("lost", jobs.lost), ("stranded", jobs.stranded)] if jobs.known else []
    parts += [("redelivered", jobs.redelivered)]
    times_s = jobs.job_times_s.tolist()
    times = f"from acknowledged to done {span(percentile(times_s, 50))} (median), {span(max(times_s))} (longest)" if times_s else ""
    return Finding(
        check=CHECK,
        name="jobs-counted",
        verdict=Verdict.PASS,
        title=f"{count(total, 'job')} submitted, {tally((word, number_of(mask)) for word, mask in parts)}",
        evidence=(times,) if times else (),
        count=total,
    )


def _unknown(jobs: JobFacts) -> Iterator[Finding]:
    """What there is no data for."""
    doubts = list(jobs.doubts)
    none = not np.any(jobs.acknowledged)
    if none:
        doubts.append("no job was acknowledged" if np.any(jobs.submitted) else "no job was submitted")
    if not doubts:
        return
    answers = [f"{grouped(times)} answered: {error}" for error, times in _errors(jobs, jobs.submitted) if error]
    yield Finding(
        check=CHECK,
        name="jobs-unknown",
        verdict=Verdict.UNKNOWN,
        title=f"nobody knows what became of the jobs: {listed(doubts)}",
        evidence=some(answers, most=5) if none else (),
        cure=NONE_CURE if none and not jobs.doubts else NO_DATA_CURE,
    )


def _errors(jobs: JobFacts, mask: Mask) -> list[tuple[str, int]]:
    """What was said to submissions, and how often; no word where nothing was wrong, or nobody answered."""
    return Counter(jobs.ledger.errors[code] for code in jobs.ledger.error[mask].tolist()).most_common()


# --- what went wrong --------------------------------------------------------------------------------------------------------


def _by_cause(jobs: JobFacts, name: str, mask: Mask) -> list[Finding]:
    """One finding for each cure, as far as the evidence says one."""
    return [_finding(jobs, name, each) for each in explained(jobs, name, np.flatnonzero(mask))]


def _finding(jobs: JobFacts, name: str, told: Explained) -> Finding:
    total = told.count
    twice_is_wrong = jobs.jobs is not None and jobs.jobs.idempotent
    verdict = Verdict.UNKNOWN if name == NOT_DRAINED else Verdict.PASS if name == DUPLICATED and not twice_is_wrong else Verdict.FAIL
    last = [fate.job.tries[0 if name == DUPLICATED else -1] for fate in told.fates if fate.job.tries]
    harms = {each.harm.number for each in last if each.harm}
    replicas = sorted({each.replica for each in last})
    where = [listed(replicas)] if replicas else []
    where += [f"after {count(len(harms), 'fault')}"] if harms else []
    were, them, their = ("was", "it", "its") if total == 1 else ("were", "them", "their")
    title = TITLES[name].format(jobs=count(total, "job"), were=were, them=them, their=their)
    return Finding(
        check=CHECK,
        name=name,
        verdict=verdict,
        title=f"{title} ({', '.join(where)})" if where else title,
        evidence=(*_what_is_left(jobs, name), *_stories(jobs, told)),
        cause=told.cause,
        cure=told.cure or (NOT_DRAINED_CURE if name == NOT_DRAINED else ""),
        metric=METRICS.get(name, ""),
        replica=only(replicas, ""),
        step=only((each.harm.signal.step if each.harm else -1 for each in last), -1),
        count=total,
    )


def _stories(jobs: JobFacts, told: Explained) -> tuple[str, ...]:
    """The first few jobs, each in a line, and how many more there are."""
    shown = told.fates[:MOST_STORIES]
    rest = told.count - len(shown)
    more = (f"… and {grouped(rest)} more of this kind",) if rest else ()
    return (*(story(jobs, fate.job) for fate in shown), *more)


def _what_is_left(jobs: JobFacts, name: str) -> tuple[str, ...]:
    """Why the drain was not whole, and who holds what."""
    drained = jobs.drained
    if name != NOT_DRAINED or drained is None:
        return ()
    waited = span((drained.at_ns - drained.began_ns) / NS_PER_S)
    why = f"after {waited}: {drained.why or 'the queue was empty'}"
    told = Counter(f"{line.state} by {line.by}" if line.by else line.state for line in jobs.told.values())
    return (why, f"the queue lists {tally(told.most_common(5))}") if told.keys() - {READY} else (why,)


def _unexpected(jobs: JobFacts) -> Iterator[Finding]:
    rows = np.flatnonzero(jobs.unexpected)
    if len(rows):
        were = "effect of a job that was" if len(rows) == 1 else "effects of jobs that were"
        yield Finding(
            check=CHECK,
            name=UNEXPECTED,
            verdict=Verdict.FAIL,
            title=f"{grouped(len(rows))} {were} never submitted, with the mark of this run",
            evidence=tuple(story(jobs, jobs.job(row)) for row in rows[: MOST_STORIES + 1].tolist()),
            cure=UNEXPECTED_CURE,
            metric=METRICS[UNEXPECTED],
            count=len(rows),
        )


def _duplicates_not_seen(jobs: JobFacts) -> Iterator[Finding]:
    if jobs.drained is not None and not jobs.drained.counts and jobs.jobs is not None and jobs.jobs.idempotent:
        yield Finding(
            check=CHECK,
            name="duplicates-not-seen",
            verdict=Verdict.UNKNOWN,
            title="effects show where a second one can't be told from the first, so nobody knows whether a job had its effect twice",
            cure=COUNTS_CURE,
        )


# --- what is legal ----------------------------------------------------------------------------------------------------------


def _note(name: str, title: str, rows: Rows, jobs: JobFacts) -> Finding:
    stories = tuple(story(jobs, jobs.job(row)) for row in rows[:3].tolist())
    return Finding(check=CHECK, name=name, verdict=Verdict.PASS, title=title, evidence=stories, count=len(rows))


def _redelivered(jobs: JobFacts) -> Iterator[Finding]:
    rows = np.flatnonzero(jobs.redelivered)
    if len(rows):
        most = int(jobs.starts[rows].max())
        title = f"{count(len(rows), 'job')} begun more than once (at most {most} times) and had one effect, as queues may do it"
        yield _note("jobs-redelivered", title, rows, jobs)


def _recovered(jobs: JobFacts) -> Iterator[Finding]:
    rows = np.flatnonzero(jobs.recovered)
    if len(rows):
        yield _note("jobs-recovered", f"{count(len(rows), 'job')} not acknowledged, yet done", rows, jobs)


def _uncertain(jobs: JobFacts) -> Iterator[Finding]:
    """Refused, or nobody knows, and not done: whoever submits has to do it again."""
    rows = np.flatnonzero(jobs.uncertain)
    if len(rows):
        errors = _errors(jobs, jobs.uncertain)
        yield Finding(
            check=CHECK,
            name="jobs-uncertain",
            verdict=Verdict.PASS,
            title=f"{count(len(rows), 'job')} not acknowledged and not done, so that nothing was promised",
            evidence=some([f"{grouped(times)}: {error or 'no answer'}" for error, times in errors], most=5),
            count=len(rows),
        )


def _foreign(jobs: JobFacts) -> Iterator[Finding]:
    if jobs.drained is not None and jobs.drained.foreign:
        number = jobs.drained.foreign
        title = f"{count(number, 'job or effect', 'jobs or effects')} of others, without the mark of this run, left alone"
        yield Finding(check=CHECK, name="foreign-jobs", verdict=Verdict.PASS, title=title, count=number)


def _strength(jobs: JobFacts) -> Iterator[Finding]:
    """How strong it is that faults lost no job: by kind, of those that came when their victim had a job in hand."""
    if not jobs.known or not np.any(jobs.acknowledged) or np.any(jobs.left):
        return
    for purpose, thing in PURPOSES.items():
        harms = [harm for harm in jobs.facts.harms if harm.kind == purpose and harm.victim.process == jobs.facts.scenario.job_process]
        trials = [harm for harm in harms if harm.landed and jobs.had_in_hand(harm)]
        strength = bound(0, len(trials))
        if strength is None or jobs.hits is None or jobs.hits & {harm.number for harm in harms}:
            continue
        yield Finding(
            check=CHECK,
            name="no-job-lost",
            verdict=Verdict.PASS,
            title=none_did(strength, thing, "lost a job"),
            count=len(trials),
            bound=strength,
        )
