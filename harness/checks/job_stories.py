"""The story of one job in one line: submitted when, taken by whom, which fault how long after, and what the queue says of it."""

from __future__ import annotations

from collections.abc import Iterator

from harness.checks.job_facts import Job, JobFacts, Try
from harness.checks.wording import count, listed, long_span, offset
from harness.clock import NS_PER_S
from harness.history import QueueSeen
from harness.job_history import ACKNOWLEDGED, DELAYED, HELD, READY, REFUSED, SET_ASIDE, JobTold
from harness.units import span

_LAST_LINES = 3
_LINE_CHARACTERS = 160

_STATES = {READY: "free to be taken", HELD: "held", DELAYED: "held back", SET_ASIDE: "set aside"}


def story(jobs: JobFacts, job: Job) -> str:
    """``job ab12cd-7: submitted 2.31 s after the run began, acknowledged after 3.10 ms; worker.1 began +12.0 ms, SIGKILL …``.

    Offsets are counted from the submission.
    """
    return f"job {job.text}: {'; '.join(_parts(jobs, job))}"


def _parts(jobs: JobFacts, job: Job) -> Iterator[str]:
    began_ns = jobs.facts.history.header.started_ns
    zero_ns = job.submitted_ns or job.done_ns
    yield _submitted(job, began_ns)
    tries = job.tries
    for place, each in enumerate(tries):
        until_ns = tries[place + 1].first_ns if place + 1 < len(tries) else 0
        yield _in_hand(each, zero_ns)
        if each.harm is not None or each.died:
            yield _end(jobs, each, zero_ns)
        elif until_ns and (trouble := jobs.trouble_between(each.first_ns, until_ns)):
            yield f"{trouble.service} {trouble.phase} {_at(trouble.at_ns, zero_ns)}"
    if not tries:
        yield (
            "no worker's log speaks of it"
            if _logs_told(jobs)
            else "nothing is known of who had it (say under log: how workers speak of jobs)"
        )
    if job.effects and job.submitted_ns:
        again = f", the second {_at(job.again_ns, zero_ns)}" if job.again_ns else ""
        yield f"{count(job.effects, 'effect')} seen, the first {_at(job.done_ns, zero_ns)}{again}"
    if not job.effects:
        yield _queue_words(jobs, job)


def _submitted(job: Job, began_ns: int) -> str:
    if not job.submitted_ns:
        return f"never submitted, its effect was seen {span((job.done_ns - began_ns) / NS_PER_S)} after the run began"
    when = f"submitted {span((job.submitted_ns - began_ns) / NS_PER_S)} after the run began"
    if not job.answer:
        return f"{when}, never answered"
    after = span((job.answered_ns - job.submitted_ns) / NS_PER_S)
    why = f" ({job.error})" if job.error else ""
    return f"{when}, {'answer ' if job.answer not in (ACKNOWLEDGED, REFUSED) else ''}{job.answer} after {after}{why}"


def _in_hand(each: Try, zero_ns: int) -> str:
    said = [
        (at_ns, f"{word} {_at(at_ns, zero_ns)}")
        for at_ns, word in (
            (each.started_ns, "began"),
            (each.settled_ns if each.early else 0, "told the queue that it was done"),
            (each.finished_ns, "finished"),
            (0 if each.early else each.settled_ns, "told the queue so"),
            (each.returned_ns, "gave it back"),
        )
        if at_ns
    ]
    return f"{each.replica} {', '.join(words for _, words in sorted(said, key=lambda pair: pair[0]))}"


def _end(jobs: JobFacts, each: Try, zero_ns: int) -> str:
    """What ended the replica, its last words, and what the queue said around that."""
    exited = each.life.exited
    if each.harm is not None:
        words = [f"{each.harm.words} {_at(each.harm.order.at_ns, zero_ns)}"]
        words += [f"SIGKILL at the end of the grace {_at(each.harm.killed.at_ns, zero_ns)}"] if each.harm.killed else []
        words += [f"exited with status {exited.status} {_at(exited.at_ns, zero_ns)}"] if exited else ["its end was not seen"]
    else:
        words = [f"{each.replica} died by itself with status {exited.status if exited else -1} {_at(each.ended_ns, zero_ns)}"]
    lines = [line.strip()[:_LINE_CHARACTERS] for line in exited.log if line.strip()][-_LAST_LINES:] if exited else []
    if lines:
        words.append(f"last log lines: {' | '.join(lines)}")
    at_ns = each.harm.order.at_ns if each.harm is not None else each.ended_ns
    looks = [f"{when} {look_words(seen)}" for when in ("before", "after") if (seen := jobs.look(when, each.replica, at_ns))]
    if looks:
        words.append(f"the queue had {listed(looks)}")
    return ", ".join(words)


def look_words(seen: QueueSeen) -> str:
    """``3 ready, 1 held``; what can't be told is left out."""
    parts = {"ready": seen.ready, "held": seen.held, "delayed": seen.delayed or -1, "set aside": seen.set_aside or -1}
    return ", ".join(f"{number} {state}" for state, number in parts.items() if number >= 0) or "nothing to tell"


def _queue_words(jobs: JobFacts, job: Job) -> str:
    if job.told is not None:
        return f"the queue says: {told_words(jobs, job.told)}"
    if jobs.drained is None or not (jobs.drained.seen or jobs.drained.whole):
        return "nobody knows whether the queue still has it"
    return "the queue does not have it any more"


def told_words(jobs: JobFacts, told: JobTold) -> str:
    """``held by worker.1 until 3 h 59 min after the run's end, handed out 1 time``."""
    words = _STATES.get(told.state, told.state)
    words += f" by {told.by}" if told.by else ""
    if told.state in (HELD, DELAYED):
        words += f" until {until_words(jobs, told)}" if told.until_ns else ", until when the queue does not tell"
    words += f", handed out {count(told.deliveries, 'time')}" if told.deliveries >= 0 else ""
    return words + (", marked as redelivered" if told.redelivered else "")


def until_words(jobs: JobFacts, told: JobTold) -> str:
    """When a lock or lease ends, seen from the end of the run."""
    after_s = (told.until_ns - jobs.facts.end_ns) / NS_PER_S
    return f"{long_span(abs(after_s))} {'after' if after_s >= 0 else 'before'} the run's end"


def _at(at_ns: int, zero_ns: int) -> str:
    return offset((at_ns - zero_ns) / NS_PER_S)


def _logs_told(jobs: JobFacts) -> bool:
    return jobs.jobs is not None and jobs.jobs.log.started is not None
