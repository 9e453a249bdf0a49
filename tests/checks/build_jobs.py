"""Small histories of jobs as stories: jobs are put, workers say what they do, somebody stops a worker, the queue is asked.

`tests/histories/jobs` holds what these stories make, named as those of `tests.checks.build` are.
``python -m tests.checks.build_jobs`` writes them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from harness.history import Disturbed, Drained, Exited, QueueSeen, Restored, RunEnded, ServicePhase, Signalled, Spawned
from harness.job_history import (
    ACKNOWLEDGED,
    DELAYED,
    FINISHED,
    HELD,
    READY,
    REFUSED,
    RETURNED,
    SET_ASIDE,
    SETTLED,
    STARTED,
    UNKNOWN,
    JobAnswered,
    JobDone,
    JobLine,
    JobsClosed,
    JobSeen,
    JobSubmitted,
    JobTold,
)
from harness.scenario import Scenario
from tests.checks import build
from tests.checks.build import Story, at

FOLDER = build.FOLDER / "jobs"

LOG = {
    "started": "job {job} started",
    "finished": "job {job} finished",
    "settled": "job {job} settled",
    "returned": "job {job} returned",
}
KILL = ({"steady": "500ms"}, {"kill": {"replica": "oldest", "when": "job-started"}}, {"steady": "500ms"})
TERMINATE = ({"steady": "500ms"}, {"terminate": {"replica": "oldest", "when": "job-started"}}, {"steady": "500ms"})
STEADY = ({"steady": "1s"},)
VICTIM, OTHER = "worker.1", "worker.2"
BAD = 100
"""The job that something happens to; the others are done as they should be."""
LATE = 99
"""The job that is done after all."""


class JobStory(Story):
    """A story of workers; all times are milliseconds after its zero."""

    def __init__(
        self,
        steps: Sequence[Mapping[str, Any]] = KILL,
        *,
        kind: str = "redis",
        form: str | None = None,
        expect: Sequence[str] = (),
        load: bool = False,
        **jobs: Any,
    ) -> None:
        super().__init__()
        done = {"key": "done"} if kind == "redis" else {"file": "done.log"}
        written: dict[str, Any] = {
            "jetable": 1,
            "name": "a story of jobs",
            "target": {"worker": {"command": ["app"], "replicas": 2}, **({"web": {"command": ["app"]}} if load else {})},
            "services": {kind: {}},
            "jobs": {"rate": "20/s", "done": done, "log": LOG, "idempotent": True, **({"form": form} if form else {}), **jobs},
            "steps": list(steps),
            "expect": list(expect),
        }
        if load:
            written["load"] = {"process": "web", "requests": ["GET /"]}
        self.scenario = Scenario.model_validate(written)
        self.work_lines: list[JobLine] = []
        self.moment = "job-started"

    def add(self, *lines: JobLine) -> None:
        """Lines of the ledger of jobs."""
        self.work_lines += lines
        self.lines += lines

    def put(self, job: int, when: float, answer: str | None = ACKNOWLEDGED, *, error: str = "") -> None:
        """It is submitted, and answered 2 ms later."""
        self.add(JobSubmitted(job=job, at_ns=at(when), step=1))
        if answer is not None:
            self.add(JobAnswered(job=job, at_ns=at(when + 2), answer=answer, error=error))

    def see(self, job: int, replica: str, **said: float) -> None:
        """What a worker's log says of it, and when: ``started=690``."""
        self.add(*(JobSeen(job=job, at_ns=at(when), what=what, replica=replica) for what, when in said.items()))

    def effect(self, job: int, when: float, effects: int = 1) -> None:
        """One showed."""
        self.add(JobDone(job=job, at_ns=at(when), since_ns=at(when - 20), effects=effects))

    def work(self, job: int, replica: str, begin: float, *, effects: int = 1) -> None:
        """All as it should be, in 40 ms."""
        self.see(job, replica, **{STARTED: begin, FINISHED: begin + 40, SETTLED: begin + 41})
        self.effect(job, begin + 40, effects)

    def told(self, job: int, state: str, *, by: str = "", until: float | None = None, **changes: Any) -> None:
        """What the queue says of it when all workers are gone."""
        self.add(JobTold(job=job, at_ns=at(4020), state=state, by=by, until_ns=0 if until is None else at(until), **changes))

    def look(self, why: str, when: float, ready: int, held: int, *, replica: str = VICTIM) -> None:
        """What the queue holds around a fault."""
        self.tell(QueueSeen(at_ns=at(when), until_ns=at(when + 1), ready=ready, held=held, why=why, replica=replica))

    def order(self, replica: str, when: float, purpose: str) -> None:
        """A stop that demands a job in hand, or one that is finished, with a grace of 500 ms where it has one."""
        signal, grace_s = ("SIGKILL", 0.0) if purpose == "kill" else ("SIGTERM", 0.5)
        given: dict[str, Any] = {
            "signal": signal,
            "purpose": purpose,
            "wants_busy": self.moment != "any",
            "when": self.moment,
            "in_flight": 1,
            "grace_s": grace_s,
        }
        self.tell(Signalled(at_ns=at(when), until_ns=at(when) + 50_000, step=2, replica=replica, **given))

    def kill(self, when: float = 700, *, replica: str = VICTIM, before: tuple[int, int] = (0, 1), after: tuple[int, int] = (0, 1)) -> None:
        """SIGKILL, with a look at the queue before and after it; each ``(ready, held)``."""
        self.look("before", when - 1, *before, replica=replica)
        self.order(replica, when, "kill")
        self.exit(replica, when + 1, 137, log=[f"job {BAD} started"])
        self.look("after", when + 2, *after, replica=replica)

    def stop(self, when: float = 700, *, after: tuple[int, int] = (0, 1), killed: bool = False) -> None:
        """SIGTERM, after which the worker ends in 30 ms, or is killed when its grace is over."""
        self.look("before", when - 1, 0, 1)
        self.order(VICTIM, when, "terminate")
        if killed:
            self.signal(VICTIM, when + 500, purpose="grace-over", in_flight=-1)
        self.exit(VICTIM, when + (501 if killed else 30), 137 if killed else 0, log=["SIGTERM: bye"])
        self.look("after", when + 503, *after)

    def trouble(self, *phases: tuple[str, float]) -> None:
        """Something happens to the service of the queue."""
        service = next(iter(self.scenario.services))
        self.tell(*(ServicePhase(at_ns=at(when), step=2, service=service, phase=phase) for phase, when in phases))

    def drain(self, *, whole: bool = True, **changes: Any) -> None:
        """The wait for all jobs, from 2500 to 4000."""
        self.tell(Drained(at_ns=at(4000), began_ns=at(2500), whole=whole, **changes))

    def close(self, lines: int | None = None, *, late: int = 0) -> None:
        """The ledger is closed."""
        self.add(JobsClosed(at_ns=at(4030), lines=len(self.work_lines) if lines is None else lines, late=late))


def job_run(tell: Callable[[JobStory], None], steps: Sequence[Mapping[str, Any]] = KILL, **options: Any) -> JobStory:
    """Two workers share ten jobs, and one is done after a fault; ``tell`` tells what becomes of another one, which is put at 680."""
    told = {name: options.pop(name) for name in ("drain", "closed", "bad", "jobs", "late") if name in options}
    story = JobStory(steps, **options)
    story.step(1, 110, "start the target")
    for replica in (VICTIM, OTHER):
        story.start(replica, 5)
    story.step(120, 690, "steady for 500ms")
    if len(steps) > 1:
        story.step(690, 1900, next(iter(steps[1])) + " oldest")
        story.step(1900, 2500, "steady for 500ms")
        story.start("worker.3", 1000, step=2, replaces=VICTIM)
    for job in range(told.get("jobs", 10)):
        story.put(job, 130 + 50 * job)
        story.work(job, (VICTIM, OTHER)[job % 2], 135 + 50 * job)
    if told.get("bad", True):
        story.put(BAD, 680)
    tell(story)
    if len(steps) > 1 and not any(isinstance(line, Exited) and line.replica == "worker.3" for line in story.lines):
        story.put(LATE, 2000)
        story.work(LATE, "worker.3", 2005)
    if told.get("drain") is not None:
        story.drain(**told["drain"])
    elif "drain" not in told:
        story.drain()
    gone = {line.replica for line in story.lines if isinstance(line, Exited)}
    for line in list(story.lines):
        if isinstance(line, Spawned) and line.replica not in gone:
            story.signal(line.replica, 4005, step=-1, purpose="teardown", in_flight=-1)
            story.exit(line.replica, 4010, 137)
    if told.get("closed", True):
        story.close(late=told.get("late", 0))
    story.tell(RunEnded(at_ns=at(4050), how="finished"))
    return story


# --- what becomes of the job ------------------------------------------------------------------------------------------------


def _killed_at_last(story: JobStory) -> None:
    """The second fault comes when all that is done is done."""
    story.see(3, VICTIM, **{STARTED: 695})
    story.kill(700)
    story.see(4, "worker.3", **{STARTED: 2390})
    story.kill(2400, replica="worker.3")


def _service_died(story: JobStory) -> None:
    service = next(iter(story.scenario.services))
    story.tell(
        ServicePhase(
            at_ns=at(900),
            step=1,
            service=service,
            phase="exited",
            status=137,
            detail="nobody had asked it to end",
            log=("out of memory",),
        )
    )


def _stopped_and_cut(story: JobStory) -> None:
    story.trouble(("signalled", 300), ("exited", 310), ("asked", 390), ("ready", 410), ("cut", 450))


def fine(story: JobStory) -> None:
    """The worker is killed with the job in hand, and another one does it."""
    story.see(BAD, VICTIM, **{STARTED: 690})
    story.kill()
    story.work(BAD, OTHER, 750)


def early_ack(story: JobStory) -> None:
    """Acknowledged before the work, by the worker's own log."""
    story.see(BAD, VICTIM, **{STARTED: 690, SETTLED: 691})
    story.kill(before=(0, 0), after=(0, 0))


def _wrong_order(story: JobStory) -> None:
    story.moment = "any"
    story.see(BAD, VICTIM, **{STARTED: 682, FINISHED: 690, SETTLED: 692})
    story.kill(before=(0, 0), after=(0, 0))


def _held_none(story: JobStory) -> None:
    story.see(BAD, VICTIM, **{STARTED: 690})
    story.kill(before=(0, 0), after=(0, 0))


def _held_and_lost(story: JobStory) -> None:
    story.see(BAD, VICTIM, **{STARTED: 690})
    story.kill(after=(0, 0))


def _dropped(story: JobStory) -> None:
    story.see(BAD, VICTIM, **{STARTED: 690})
    story.stop(after=(0, 0))


def _deleted_on_sigterm(story: JobStory) -> None:
    story.see(BAD, VICTIM, **{STARTED: 690, SETTLED: 705})
    story.stop(after=(0, 0))


def _returned_in_vain(story: JobStory) -> None:
    story.see(BAD, VICTIM, **{STARTED: 690, RETURNED: 710})
    story.stop(after=(0, 0))


def _never_kept(story: JobStory) -> None:
    story.trouble(("signalled", 700), ("exited", 705))


def _died(story: JobStory) -> None:
    story.see(BAD, VICTIM, **{STARTED: 690})
    story.exit(VICTIM, 700, 1, commanded=False, log=["Traceback (most recent call last):", "MemoryError"])


def _batch(story: JobStory) -> None:
    story.put(BAD + 1, 681)
    story.see(8, VICTIM, **{STARTED: 690})
    story.kill(before=(0, 3), after=(0, 0))


def _at_the_limit(story: JobStory) -> None:
    for place, (replica, when) in enumerate(((VICTIM, 690), (OTHER, 720), ("worker.3", 1100))):
        story.see(BAD, replica, **{STARTED: when})
        story.kill(when + 10, replica=replica, after=(int(place < 2), 0))


def _stranded(story: JobStory, end: Callable[[JobStory], None], *, until: float | None = 14_404_050, by: str = VICTIM) -> None:
    story.see(BAD, VICTIM, **{STARTED: 690})
    end(story)
    story.told(BAD, HELD, by=by, until=until, deliveries=1)


def _stranded_batch(story: JobStory) -> None:
    story.see(8, VICTIM, **{STARTED: 695})
    story.put(BAD + 1, 681)
    story.kill(before=(0, 2), after=(0, 2))
    for job in (BAD, BAD + 1):
        story.told(job, HELD, by=VICTIM)


def _killed_before_settled(story: JobStory) -> None:
    story.moment = "job-finished"
    story.see(BAD, VICTIM, **{STARTED: 685, FINISHED: 695})
    story.effect(BAD, 696)
    story.kill()
    story.work(BAD, OTHER, 800, effects=2)


def _acknowledgement_lost(story: JobStory) -> None:
    story.see(BAD, VICTIM, **{STARTED: 685, FINISHED: 695})
    story.effect(BAD, 696)
    story.trouble(("cut", 697))
    story.work(BAD, OTHER, 800, effects=2)


def _lost_in_a_slow_cut(story: JobStory) -> None:
    story.see(BAD, VICTIM, **{STARTED: 685, FINISHED: 695})
    story.effect(BAD, 696)
    story.tell(ServicePhase(at_ns=at(680), until_ns=at(720), step=2, service=next(iter(story.scenario.services)), phase="cut"))
    story.work(BAD, OTHER, 800, effects=2)


def _not_told(story: JobStory) -> None:
    story.see(BAD, VICTIM, **{STARTED: 685, FINISHED: 695})
    story.effect(BAD, 696)
    story.work(BAD, OTHER, 800, effects=2)


def _lease_too_short(story: JobStory) -> None:
    story.see(BAD, VICTIM, **{STARTED: 685, FINISHED: 1500, SETTLED: 1501})
    story.see(BAD, OTHER, **{STARTED: 900, FINISHED: 1700, SETTLED: 1701})
    story.effect(BAD, 1500)
    story.effect(BAD, 1700, 2)


def _paused(story: JobStory) -> None:
    story.tell(
        Disturbed(at_ns=at(690), until_ns=at(691), step=2, replica=VICTIM, what="pause", in_flight=1),
        Restored(at_ns=at(1400), until_ns=at(1401), step=2, replica=VICTIM, what="pause"),
    )
    _lease_too_short(story)


def _twice_in_one(story: JobStory) -> None:
    story.work(BAD, OTHER, 700)
    story.effect(BAD, 760, 2)


def _gave_back_done(story: JobStory) -> None:
    story.moment = "job-finished"
    story.see(BAD, VICTIM, **{STARTED: 685, FINISHED: 699, RETURNED: 710})
    story.effect(BAD, 699)
    story.stop()
    story.work(BAD, OTHER, 800, effects=2)


def _poison(story: JobStory) -> None:
    story.see(BAD, VICTIM, **{STARTED: 690})
    story.exit(VICTIM, 700, 70, commanded=False)
    story.see(BAD, OTHER, **{STARTED: 800})
    story.exit(OTHER, 810, 70, commanded=False)


def _poison_buried(story: JobStory) -> None:
    _poison(story)
    story.told(BAD, SET_ASIDE, deliveries=2)


def _poison_held(story: JobStory) -> None:
    _poison(story)
    story.told(BAD, HELD, by=OTHER, until=64_050)


def _poison_left(story: JobStory) -> None:
    _poison(story)
    story.told(BAD, READY, deliveries=2)


def _faults_counted(story: JobStory) -> None:
    story.see(BAD, VICTIM, **{STARTED: 690})
    story.kill()
    story.told(BAD, SET_ASIDE, deliveries=1)


def _all_gone(story: JobStory) -> None:
    story.exit(VICTIM, 700, 1, commanded=False)
    story.exit(OTHER, 705, 1, commanded=False)
    story.exit("worker.3", 1200, 1, commanded=False)
    story.told(BAD, READY)


def _no_reconnect(story: JobStory) -> None:
    story.trouble(("exited", 690), ("ready", 800))
    story.told(BAD, READY)


def _still_at_work(story: JobStory) -> None:
    story.see(BAD, OTHER, **{STARTED: 690})
    story.told(BAD, READY, deliveries=1)


def _taken_ahead(story: JobStory) -> None:
    story.put(BAD + 1, 681)
    story.see(BAD, OTHER, **{STARTED: 690})
    story.look("", 3990, 0, 2, replica="")
    for job in (BAD, BAD + 1):
        story.told(job, READY)
    story.see(BAD + 1, VICTIM, **{STARTED: 4006})  # when the other worker is gone already


def _nothing(_story: JobStory) -> None:
    pass


def _not_acknowledged(story: JobStory) -> None:
    story.put(BAD, 680, UNKNOWN, error="no confirm in 5 s")
    story.put(BAD + 1, 685, REFUSED, error="connection refused")
    story.put(BAD + 2, 690, None)
    story.put(BAD + 3, 695, UNKNOWN, error="no confirm in 5 s")
    story.work(BAD, OTHER, 750)
    story.work(BAD + 1, OTHER, 800)


def _unsubmitted(story: JobStory) -> None:
    story.work(BAD, OTHER, 690)
    story.add(JobDone(job=-778, at_ns=at(900), since_ns=at(880)))


def _set(story: JobStory) -> None:
    story.work(BAD, OTHER, 690)


def _torn(story: JobStory) -> JobStory:
    closed = next(line for line in story.lines if isinstance(line, JobsClosed))
    story.lines[story.lines.index(closed)] = msgspec.structs.replace(closed, lines=closed.lines + 2)
    return story


def _twice_submitted(story: JobStory) -> None:
    story.work(BAD, OTHER, 690)
    story.put(BAD, 900)


LEFT: dict[str, Any] = {"whole": False, "why": "1 held"}
QUORUM: dict[str, Any] = {"kind": "rabbitmq", "form": "quorum", "options": {"delivery_limit": 2}}
PROCESSING: dict[str, Any] = {"options": {"processing": "jobs:*"}}
TABLE: dict[str, Any] = {"kind": "postgres", "form": "table"}
LOCKED: dict[str, Any] = {"kind": "postgres", "form": "delayed_job"}

STORIES: dict[str, Callable[[], JobStory]] = {
    "pass--jobs-counted": lambda: job_run(fine, **PROCESSING),
    "pass--jobs-redelivered": lambda: job_run(fine, **PROCESSING),
    "pass--no-job-lost": lambda: job_run(fine, **PROCESSING),
    "pass--no-load-wanted": lambda: job_run(fine),
    "pass--jobs-recovered": lambda: job_run(_not_acknowledged, STEADY, bad=False),
    "pass--jobs-uncertain": lambda: job_run(_not_acknowledged, STEADY, bad=False),
    "pass--foreign-jobs": lambda: job_run(_nothing, STEADY, bad=False, drain={"foreign": 3}),
    "pass--duplicated-jobs--not-idempotent": lambda: job_run(_killed_before_settled, idempotent=False),
    "pass--lost-jobs--allowed": lambda: job_run(early_ack, expect=["lost_jobs <= 1"]),
    "fail--lost-jobs--early-ack": lambda: job_run(early_ack, **TABLE),
    "fail--lost-jobs--wrong-order": lambda: job_run(_wrong_order, **TABLE),
    "fail--lost-jobs--held-none": lambda: job_run(_held_none, kind="beanstalkd"),
    "fail--lost-jobs--let-go": lambda: job_run(_held_and_lost, **PROCESSING),
    "fail--lost-jobs--popped": lambda: job_run(_held_none),
    "fail--lost-jobs--dropped-on-sigterm": lambda: job_run(_dropped, TERMINATE, **PROCESSING),
    "fail--lost-jobs--deleted-on-sigterm": lambda: job_run(_deleted_on_sigterm, TERMINATE, **TABLE),
    "fail--lost-jobs--returned-in-vain": lambda: job_run(_returned_in_vain, TERMINATE, kind="rabbitmq"),
    "fail--lost-jobs--not-kept": lambda: job_run(_never_kept, STEADY, kind="rabbitmq"),
    "fail--lost-jobs--died": lambda: job_run(_died, STEADY, kind="rabbitmq"),
    "fail--lost-jobs--batch": lambda: job_run(_batch, kind="rabbitmq"),
    "fail--lost-jobs--delivery-limit": lambda: job_run(_at_the_limit, **QUORUM),
    "fail--lost-jobs--poison": lambda: job_run(_poison, STEADY, kind="rabbitmq"),
    "fail--lost-jobs--no-log": lambda: job_run(_nothing, STEADY, log={}, jobs=0),
    "fail--lost-jobs--not-listed": lambda: job_run(early_ack, drain=LEFT, **TABLE),
    "fail--stranded-jobs--leased": lambda: job_run(lambda story: _stranded(story, JobStory.kill), drain=LEFT, **LOCKED),
    "fail--stranded-jobs--kept-lock": lambda: job_run(lambda story: _stranded(story, JobStory.stop), TERMINATE, drain=LEFT, **LOCKED),
    "fail--stranded-jobs--grace-too-short": lambda: job_run(
        lambda story: _stranded(story, lambda story: story.stop(killed=True)), TERMINATE, drain=LEFT, **TABLE
    ),
    "fail--stranded-jobs--for-ever": lambda: job_run(lambda story: _stranded(story, JobStory.kill, until=None), drain=LEFT, **PROCESSING),
    "fail--stranded-jobs--nobody-named": lambda: job_run(
        lambda story: _stranded(story, JobStory.kill, by=""), drain=LEFT, kind="beanstalkd"
    ),
    "fail--stranded-jobs--batch": lambda: job_run(_stranded_batch, drain=LEFT, form="stream"),
    "fail--stranded-jobs--poison": lambda: job_run(_poison_held, STEADY, drain=LEFT, **TABLE),
    "fail--stranded-jobs--delayed": lambda: job_run(
        lambda story: story.told(BAD, DELAYED, until=64_050), STEADY, drain=LEFT, kind="beanstalkd"
    ),
    "fail--duplicated-jobs--before-settled": lambda: job_run(_killed_before_settled),
    "fail--duplicated-jobs--acknowledgement-lost": lambda: job_run(_acknowledgement_lost, STEADY, kind="rabbitmq"),
    "fail--duplicated-jobs--acknowledgement-lost-in-a-slow-cut": lambda: job_run(_lost_in_a_slow_cut, STEADY, kind="rabbitmq"),
    "fail--duplicated-jobs--not-told": lambda: job_run(_not_told, STEADY, kind="rabbitmq"),
    "fail--duplicated-jobs--lease-too-short": lambda: job_run(_lease_too_short, STEADY, kind="beanstalkd"),
    "fail--duplicated-jobs--paused": lambda: job_run(_paused, ({"steady": "500ms"}, {"pause": {"replica": "oldest", "for": "700ms"}})),
    "fail--duplicated-jobs--in-one-try": lambda: job_run(_twice_in_one, STEADY),
    "fail--duplicated-jobs--given-back": lambda: job_run(_gave_back_done, TERMINATE),
    "fail--set-aside-jobs--poison": lambda: job_run(_poison_buried, STEADY, drain=LEFT, kind="beanstalkd"),
    "fail--set-aside-jobs--faults-counted": lambda: job_run(_faults_counted, drain=LEFT, **QUORUM),
    "fail--unexpected-jobs": lambda: job_run(_unsubmitted, STEADY),
    "unknown--jobs-not-drained": lambda: job_run(_nothing, STEADY, drain={**LEFT, "seen": False}),
    "unknown--jobs-not-drained--still-at-work": lambda: job_run(_still_at_work, STEADY, drain=LEFT),
    "unknown--jobs-not-drained--taken-ahead": lambda: job_run(_taken_ahead, STEADY, drain=LEFT, kind="rabbitmq"),
    "unknown--jobs-not-drained--no-reconnect": lambda: job_run(_no_reconnect, STEADY, drain=LEFT),
    "fail--jobs-not-drained--all-gone": lambda: job_run(_all_gone, drain=LEFT),
    "fail--jobs-not-drained--poison": lambda: job_run(_poison_left, STEADY, drain=LEFT),
    "unknown--jobs-unknown--no-drain": lambda: job_run(_nothing, STEADY, drain=None),
    "unknown--jobs-unknown--not-closed": lambda: job_run(_nothing, STEADY, closed=False),
    "unknown--jobs-unknown--torn": lambda: _torn(job_run(_nothing, STEADY)),
    "unknown--jobs-unknown--unreadable": lambda: job_run(_nothing, STEADY, drain={**LEFT, "readable": False}),
    "unknown--jobs-unknown--none": lambda: job_run(_nothing, STEADY, bad=False, jobs=0),
    "unknown--jobs-unknown--none-acknowledged": lambda: job_run(
        lambda story: story.put(BAD, 680, REFUSED, error="queue is full"), STEADY, bad=False, jobs=0
    ),
    "unknown--jobs-unknown--twice-submitted": lambda: job_run(_twice_submitted, STEADY),
    "unknown--jobs-late": lambda: job_run(_nothing, STEADY, bad=False, late=2),
    "unknown--jobs-not-all-submitted": lambda: job_run(_nothing, STEADY, bad=False, count=500),
    "unknown--jobs-gap": lambda: job_run(_killed_at_last, bad=False),
    "unknown--service-died": lambda: job_run(_service_died, STEADY, bad=False),
    "pass--services-disturbed": lambda: job_run(_stopped_and_cut, STEADY, bad=False),
    "unknown--duplicates-not-seen": lambda: job_run(_set, STEADY, drain={"counts": False}),
    "unknown--expectation-unknown--duplicates": lambda: job_run(
        _set, STEADY, drain={"counts": False}, idempotent=False, expect=["duplicated_jobs == 0"]
    ),
}
"""Every history under ``tests/histories/jobs``: verdict, finding that must be there, and what is special about it."""


def main() -> None:
    """Write every story to `FOLDER`."""
    build.write(FOLDER, STORIES)


if __name__ == "__main__":
    main()
