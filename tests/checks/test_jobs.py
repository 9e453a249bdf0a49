"""What the checks say of jobs: recorded stories, every cause, and the words of the page against a slow reading of small ledgers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks import CHECKS, judge
from harness.checks.facts import Facts
from harness.checks.job_causes import DUPLICATED, LEASES, LOST, OF_JOBS, SET_ASIDE_JOBS, STRANDED, explained
from harness.checks.job_facts import JobFacts, busy_at, jobs_of
from harness.checks.job_stories import story as told_story
from harness.checks.jobs import METRICS, number_of
from harness.checks.summary import summarise
from harness.checks.wording import long_span
from harness.history import History, read
from harness.job_history import (
    ACKNOWLEDGED,
    ANSWERS,
    FINISHED,
    HELD,
    JOBS_FILE,
    READY,
    SET_ASIDE,
    SETTLED,
    STARTED,
    STATES,
    JobAnswered,
    JobColumns,
    JobDone,
    JobLine,
    JobsClosed,
    JobSeen,
    JobSubmitted,
    JobTold,
    job_pattern,
    job_text,
    ledger_of,
)
from harness.threshold import METRICS as KNOWN_METRICS
from harness.verdict import Finding, Verdict
from tests.checks.build import at, samples
from tests.checks.build_jobs import BAD, FOLDER, LEFT, LOG, OTHER, STEADY, STORIES, VICTIM, JobStory, early_ack, fine, job_run

FILES = sorted(FOLDER.glob("*.jsonl"))

SAID: dict[str, tuple[str, str]] = {
    "fail--lost-jobs--early-ack": ("told the queue that the job was done 1.00 ms after it had begun", "Acknowledge (delete, settle)"),
    "fail--lost-jobs--wrong-order": ("before its effect was there", "Write the effect"),
    "fail--lost-jobs--held-none": (
        "let go of the job while worker.1 still worked on it: before SIGKILL it had 0 ready, 0 held",
        "Acknowledge",
    ),
    "fail--lost-jobs--let-go": ("The queue let go of the job when worker.1 took it", "Acknowledge"),
    "fail--lost-jobs--popped": ("What is popped from a list is nowhere else", "BLMOVE"),
    "fail--lost-jobs--dropped-on-sigterm": ("worker.1 ended on SIGTERM with the job in hand", "On SIGTERM take no more jobs"),
    "fail--lost-jobs--deleted-on-sigterm": ("worker.1 ended on SIGTERM with the job in hand", "On SIGTERM take no more jobs"),
    "fail--lost-jobs--returned-in-vain": ("says that it gave the job back, and the queue does not have it", "Wait for the answer"),
    "fail--lost-jobs--not-kept": ("rabbitmq was stopped when it had the job", "Let the queue keep what it confirms"),
    "fail--lost-jobs--batch": ("worker.1 had taken several at once", "Take one job at a time"),
    "fail--lost-jobs--delivery-limit": ("begun 3 times; a quorum queue drops a message at its delivery limit (2)", "dead-letter exchange"),
    "fail--lost-jobs--poison": ("all 2 that began with it died", "set the job aside"),
    "fail--stranded-jobs--poison": ("all 2 that began with it died", "set the job aside"),
    "fail--stranded-jobs--leased": (
        "gone until 4 h 0 min after the run's end, which is longer than the drain (held by worker.1)",
        "max_run",
    ),
    "fail--stranded-jobs--kept-lock": ("ended in order on SIGTERM and did not give its job back", "clear its lock"),
    "fail--stranded-jobs--grace-too-short": ("took longer than the grace", "raise stop_grace_period"),
    "fail--stranded-jobs--for-ever": ("nobody takes it back", "take over what dead ones held"),
    "fail--stranded-jobs--nobody-named": ("waits for a worker that is gone", "ttr"),
    "fail--stranded-jobs--batch": ("2 jobs with which nobody had begun are held for one worker", "prefetch 1"),
    "fail--stranded-jobs--delayed": ("held back until 60.0 s after the run's end", "raise drain above it"),
    "fail--duplicated-jobs--before-settled": ("ended between the effect and telling the queue", "unique key"),
    "fail--duplicated-jobs--acknowledgement-lost": ("the acknowledgement was lost", "No retry can mend"),
    "fail--duplicated-jobs--acknowledgement-lost-in-a-slow-cut": ("the acknowledgement was lost", "No retry can mend"),
    "fail--duplicated-jobs--not-told": ("the queue never learned of that", "why the acknowledgement failed"),
    "fail--duplicated-jobs--lease-too-short": ("worker.2 began with the job while worker.1 still worked on it, 215 ms", "Raise the ttr"),
    "fail--duplicated-jobs--paused": ("pause of worker.1 lasted 710 ms", "fencing token"),
    "fail--duplicated-jobs--in-one-try": ("begun once, by worker.2, and its effect showed 2 times", "retry inside the job"),
    "fail--duplicated-jobs--given-back": ("gave the job back although it had finished it", "give back only what is not finished"),
    "fail--set-aside-jobs--poison": ("all 2 that began with it died", "set the job aside"),
    "fail--set-aside-jobs--faults-counted": ("counted as a failure of the job", "Raise the limit of tries"),
    "unknown--jobs-not-drained--still-at-work": ("worker.2 still worked on it", "Raise drain"),
    "unknown--jobs-not-drained--taken-ahead": ("held 2 jobs and had begun with 1: the others waited behind these", "prefetch 1"),
    "unknown--jobs-not-drained--no-reconnect": ("took no more jobs after redis ended", "connect again"),
    "fail--jobs-not-drained--all-gone": ("No worker was up", "Let the steps end with workers"),
    "fail--jobs-not-drained--poison": ("all 2 that began with it died", "set the job aside"),
}
"""What the finding of a story says of cause and cure."""


def found(history: History, name: str) -> Finding:
    (finding,) = [each for each in CHECKS["jobs"](history) if each.name == name]
    return finding


def of(story: JobStory) -> JobFacts:
    return jobs_of(Facts(story.history()))


# --- stories ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recorded_history_of_jobs_gets_the_verdict_and_the_finding_of_its_name(file: Path) -> None:
    verdict, finding, *_ = file.stem.split("--")
    judgement = judge(read(file))
    assert (judgement.verdict.word, finding in {each.name for each in judgement.findings}) == (verdict, True), judgement.findings
    assert {each.check for each in judgement.findings} >= set(CHECKS) - {"sanity"}
    assert all(each.metric in KNOWN_METRICS for each in judgement.findings if each.verdict is Verdict.FAIL)


def test_every_story_of_jobs_is_on_disk_and_nothing_else_is() -> None:
    assert {file.stem for file in FILES} == set(STORIES)


@pytest.mark.parametrize("name", SAID)
def test_a_story_is_told_with_its_cause_and_its_cure(name: str) -> None:
    findings = [each for each in CHECKS["jobs"](STORIES[name]().history()) if each.name == name.split("--")[1]]
    cause, cure = SAID[name]
    assert [each for each in findings if cause in each.cause and cure in each.cure], findings


@pytest.mark.parametrize("name", ["fail--lost-jobs--no-log", "unknown--jobs-not-drained"])
def test_without_evidence_no_cause_is_told(name: str) -> None:
    assert not found(STORIES[name]().history(), name.split("--")[1]).cause


def test_every_row_is_told_by_a_story() -> None:
    """A lease is that of any service; one stands for them all."""
    told = set()
    for name in SAID:
        facts, finding = of(STORIES[name]()), name.split("--")[1]
        masks = {LOST: facts.lost, STRANDED: facts.stranded, DUPLICATED: facts.duplicated, SET_ASIDE_JOBS: facts.set_aside}
        for each in explained(facts, finding, np.flatnonzero(masks.get(finding, facts.left))):
            told.add(next((finding, row.needs) for row in OF_JOBS if row.name == finding and row.fits(each.fates[0])))
    leases = {f"{kind} ({form})" for kind, form in LEASES}
    untold = [(row.name, row.needs) for row in OF_JOBS if (row.name, row.needs) not in told]
    assert not [needs for _, needs in untold if needs.partition(":")[0] not in leases]


def test_every_row_has_a_cure() -> None:
    assert all(row.cure and row.needs for row in OF_JOBS)


def test_the_story_of_a_stranded_job_has_all_that_is_known_of_it() -> None:
    (line, *_) = found(STORIES["fail--stranded-jobs--leased"]().history(), "stranded-jobs").evidence
    for words in (
        "job 000000-100: submitted 680 ms after the run began, acknowledged after 2.00 ms",
        "worker.1 began +10.0 ms",
        "SIGKILL to worker.1 +20.0 ms, exited with status 137 +21.0 ms, last log lines: job 100 started",
        "the queue had before 0 ready, 1 held and after 0 ready, 1 held",
        "the queue says: held by worker.1 until 4 h 0 min after the run's end, handed out 1 time",
    ):
        assert words in line


def test_only_the_first_stories_are_told_and_the_rest_is_counted() -> None:
    def many(story: JobStory) -> None:
        early_ack(story)
        for job in range(BAD + 1, BAD + 9):
            story.put(job, 681)
            story.see(job, VICTIM, **{STARTED: 683, SETTLED: 684})

    finding = found(job_run(many).history(), "lost-jobs")
    assert finding.count == 9
    assert len(finding.evidence) == 6
    assert finding.evidence[-1] == "… and 4 more of this kind"


def test_very_many_lost_jobs_are_counted_by_their_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.checks.job_causes.MOST_LOOKED_INTO", 3)

    def many(story: JobStory) -> None:
        early_ack(story)
        for job in range(BAD + 1, BAD + 9):
            story.put(job, 681)
            story.see(job, VICTIM, **({STARTED: 683, SETTLED: 684} if job % 2 else {STARTED: 690}))

    counts = {each.cure[:11]: each.count for each in CHECKS["jobs"](job_run(many, kind="beanstalkd").history()) if each.name == "lost-jobs"}
    assert counts == {"Acknowledge": 9}


def test_jobs_with_other_cures_are_other_findings() -> None:
    def two(story: JobStory) -> None:
        early_ack(story)
        story.put(BAD + 1, 100)
        story.see(BAD + 1, OTHER, **{STARTED: 110, FINISHED: 120, SETTLED: 121})

    findings = [each for each in CHECKS["jobs"](job_run(two).history()) if each.name == "lost-jobs"]
    assert len({each.cure for each in findings}) == 2
    assert [each.count for each in findings] == [1, 1]


# --- what is not a loss -----------------------------------------------------------------------------------------------------


def test_a_job_that_a_worker_still_has_in_hand_is_not_lost_although_the_queue_has_forgotten_it() -> None:
    told = of(job_run(lambda story: story.see(BAD, OTHER, **{STARTED: 3990, SETTLED: 3991}), STEADY))
    assert [number_of(told.lost), number_of(told.left)] == [0, 1]


def test_a_job_after_which_its_worker_began_with_another_one_is_lost() -> None:
    def drops(story: JobStory) -> None:
        story.see(BAD, OTHER, **{STARTED: 690})
        story.put(BAD + 1, 700)
        story.work(BAD + 1, OTHER, 750)

    told = of(job_run(drops, STEADY))
    assert [number_of(told.lost), number_of(told.left)] == [1, 0]


def test_a_job_that_the_queue_holds_for_a_worker_that_was_up_is_left_and_not_stranded() -> None:
    told = of(job_run(lambda story: story.told(BAD, HELD, by="host:1 worker.2 pid:3"), STEADY, drain=LEFT))
    assert [number_of(told.stranded), number_of(told.left)] == [0, 1]


def test_a_word_of_the_queue_from_before_the_drain_says_nothing_of_its_end() -> None:
    def early(story: JobStory) -> None:
        story.add(JobTold(job=BAD, at_ns=at(1000), state=HELD))

    assert np.count_nonzero(of(job_run(early, STEADY)).lost) == 1


@pytest.mark.parametrize("story", ["unknown--jobs-unknown--torn", "unknown--jobs-unknown--no-drain", "unknown--jobs-unknown--unreadable"])
def test_nothing_that_did_not_happen_is_claimed_where_it_is_not_known(story: str) -> None:
    history = STORIES[story]().history()
    assert not any(samples(history, metric) for metric in METRICS.values())
    assert samples(history, "jobs_done") == [10.0]
    summary = summarise(history).jobs
    assert summary is not None
    assert (summary.lost, summary.done) == (None, 10)


def test_a_duplicate_stays_a_fact_in_a_torn_ledger() -> None:
    def twice(story: JobStory) -> None:
        story.work(BAD, OTHER, 700)
        story.effect(BAD, 760, 2)

    story = job_run(twice, STEADY, closed=False)
    assert {each.name for each in CHECKS["jobs"](story.history())} >= {"duplicated-jobs", "jobs-unknown"}


def test_a_scenario_without_jobs_has_none_of_it() -> None:
    from tests.checks.build import steady_run

    history = steady_run().history()
    assert [each.name for each in CHECKS["jobs"](history)] == ["no-jobs"]
    assert not any(samples(history, metric) for metric in (*METRICS.values(), "jobs_done", "job_time", "redelivered_jobs"))
    assert not any("jobs" in each.title for each in CHECKS["expect"](history))
    assert summarise(history).jobs is None


def test_defaults_about_jobs_hold_where_there_are_jobs_and_duplicates_where_they_are_idempotent() -> None:
    held = {each.metric for each in CHECKS["expect"](job_run(fine).history())}
    assert held >= {"lost_jobs", "stranded_jobs", "set_aside_jobs", "unexpected_jobs", "duplicated_jobs"}
    assert "duplicated_jobs" not in {each.metric for each in CHECKS["expect"](job_run(fine, idempotent=False).history())}


def test_metrics_of_jobs_belong_to_who_works_on_them() -> None:
    kill = {"kill": {"process": "worker", "replica": "oldest", "when": "job-started"}}
    history = job_run(fine, ({"steady": "500ms"}, kill), load=True).history()
    assert samples(history, "jobs_done", "worker") == [12.0]
    assert samples(history, "jobs_done", "web") == []
    assert samples(history, "redelivered_jobs") == [1.0]
    assert len(samples(history, "job_time")) == 12
    assert samples(history, "busy_faults", "worker") == [1.0]


def test_a_fault_is_on_who_has_a_job_in_hand() -> None:
    told = of(job_run(fine))
    (fault,) = told.facts.faults
    row = int(np.flatnonzero(told.ledger.job == BAD)[0])
    assert told.in_hand(VICTIM, fault.signal.at_ns).tolist() == [row]
    assert told.in_hand(VICTIM, at(689)).tolist() == []
    assert told.in_hand(OTHER, at(760)).tolist() == [row]
    assert told.in_hand(OTHER, at(790.5), "job-finished").tolist() == [row]
    assert told.in_hand(OTHER, at(795)).tolist() == []
    assert told.in_hand("worker.9", at(700)).tolist() == []
    assert busy_at(told.facts, fault) > 0


def test_what_is_acknowledged_too_early_stays_in_hand_until_it_is_finished() -> None:
    told = of(job_run(early_ack))
    assert len(told.in_hand(VICTIM, at(695))) == 1


def test_where_no_log_tells_it_the_harness_said_whether_a_fault_met_a_job() -> None:
    story = job_run(JobStory.kill, log={}, bad=False)
    told = of(story)
    assert told.had_in_hand(told.facts.faults[0]) == 1


def test_the_story_of_a_job_that_was_never_submitted_says_so() -> None:
    told = of(STORIES["fail--unexpected-jobs"]())
    assert "never submitted" in told_story(told, told.job(0))


@pytest.mark.parametrize(("seconds", "text"), [(0.41, "410 ms"), (119, "119 s"), (125.4, "2 min 5 s"), (14_395, "3 h 59 min")])
def test_a_long_span_is_told_in_hours_and_minutes(seconds: float, text: str) -> None:
    assert long_span(seconds) == text


# --- the ledger -------------------------------------------------------------------------------------------------------------


def test_a_ledger_is_read_in_pieces_as_it_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line for line in job_run(fine).ordered() if isinstance(line, JobLine)]
    encoder = msgspec.json.Encoder()
    data = b"".join(encoder.encode(line) + b"\n" for line in lines)
    (tmp_path / JOBS_FILE).write_bytes(data[:300] + b"{torn\n" + data[300:] + b'{"kind":"job-')
    monkeypatch.setattr(JobColumns, "CHUNK", 100)
    pieces = JobColumns()
    torn = pieces.read(tmp_path / JOBS_FILE)
    ledger = pieces.ledger()
    assert torn in (2, 3), "the line in which it was torn is one more unless it ended there"
    assert ledger.lines == len(lines) - 1 - (torn - 2)
    assert not ledger.whole
    (tmp_path / JOBS_FILE).write_bytes(data)
    again = JobColumns()
    assert again.read(tmp_path / JOBS_FILE) == 0
    assert again.ledger().whole
    assert again.ledger().tries.started_ns.tolist() == ledger_of(lines).tries.started_ns.tolist()


def test_what_comes_after_the_ledger_was_closed_does_not_make_up_for_what_is_missing() -> None:
    lines: list[JobLine] = [JobSubmitted(job=0, at_ns=1, step=1), JobsClosed(at_ns=2, lines=1), JobSubmitted(job=1, at_ns=3, step=1)]
    assert ledger_of(lines).whole
    assert not ledger_of(lines[1:]).whole


def test_numbers_of_jobs_may_be_anything() -> None:
    numbers = [-5, 3, 10**11]
    ledger = ledger_of([JobDone(job=number, at_ns=number % 7 + 1, since_ns=0) for number in reversed(numbers)])
    assert ledger.job.tolist() == numbers
    assert ledger.rows(np.array([10**11, 3])).tolist() == [2, 1]
    assert ledger.effects.tolist() == [1, 1, 1]


def test_a_ledger_without_lines_is_empty_and_not_whole() -> None:
    ledger = ledger_of(())
    assert (len(ledger), ledger.whole, len(ledger.tries)) == (0, False, 0)


@given(st.integers(min_value=0, max_value=10**12 - 1))
def test_the_id_of_a_job_is_found_in_any_text(number: int) -> None:
    text = f"x{job_text('ab12cd', 5)} [{job_text('ab12cd', number)}] {job_text('ab12cd', 7)}z"
    assert [int(match[1]) for match in job_pattern("ab12cd").finditer(text)] == [number]


# --- against a slow reading -------------------------------------------------------------------------------------------------


@dataclass
class Slow:
    """What the words of docs/jobs.md say of one job, read line by line."""

    submitted: bool = False
    answers: set[str] = field(default_factory=set)
    effects: int = 0
    starts: int = 0
    told: str = ""

    def word(self, *, seen: bool, whole: bool) -> str:
        if not self.submitted:
            return "unexpected" if self.effects else ""
        if self.effects:
            return "done" if ACKNOWLEDGED in self.answers else "recovered"
        if ACKNOWLEDGED not in self.answers:
            return "uncertain"
        if self.told:
            return {SET_ASIDE: "set_aside", READY: "left"}.get(self.told, "stranded")
        return "lost" if seen or whole else "left"


_JOBS = st.integers(min_value=0, max_value=4)
_WHEN = st.integers(min_value=700, max_value=2400)
_LINES = st.one_of(
    st.builds(lambda job, when, answer: JobAnswered(job=job, at_ns=at(when), answer=answer), _JOBS, _WHEN, st.sampled_from(ANSWERS)),
    st.builds(
        lambda job, when, what: JobSeen(job=job, at_ns=at(when), what=what, replica="worker.1"), _JOBS, _WHEN, st.sampled_from(list(LOG))
    ),
    st.builds(lambda job, when, n: JobDone(job=job, at_ns=at(when), since_ns=at(600), effects=n), _JOBS, _WHEN, st.integers(1, 3)),
    st.builds(lambda job, state: JobTold(job=job, at_ns=at(4020), state=state), _JOBS, st.sampled_from(STATES)),
)


@given(st.lists(_LINES, max_size=30), st.sets(_JOBS), st.booleans(), st.booleans())
def test_words_are_those_of_a_slow_reading(lines: Sequence[JobLine], submitted: set[int], seen: bool, whole: bool) -> None:  # noqa: FBT001  drawn
    story = JobStory(STEADY)
    story.start(VICTIM, 5)
    story.exit(VICTIM, 2450, 1, commanded=False)  # nobody has anything in hand at the end of the drain
    for job in submitted:
        story.add(JobSubmitted(job=job, at_ns=at(600), step=1))
    story.add(*lines)
    story.drain(whole=whole, seen=seen)
    story.close()
    told = of(story)
    slow = {int(job): Slow(submitted=int(job) in submitted) for job in told.ledger.job}
    for line in sorted(lines, key=lambda line: line.at_ns):
        match line:
            case JobAnswered():
                slow[line.job].answers.add(line.answer)
            case JobDone():
                slow[line.job].effects = max(slow[line.job].effects, line.effects)
            case JobSeen():
                slow[line.job].starts += line.what == STARTED
            case JobTold():
                slow[line.job].told = line.state
            case _:
                pass
    words = ("lost", "stranded", "set_aside", "left", "uncertain", "recovered", "unexpected")
    for row, job in enumerate(told.ledger.job.tolist()):
        mine = [word for word in words if getattr(told, word)[row]]
        mine += ["done"] if told.done[row] and not told.recovered[row] else []
        assert mine == [word for word in [slow[job].word(seen=seen, whole=whole)] if word]
        assert bool(told.duplicated[row]) == (job in submitted and slow[job].effects > 1)
        assert bool(told.redelivered[row]) == (job in submitted and slow[job].effects == 1 and slow[job].starts > 1)
        assert told.job(row).starts == slow[job].starts
    assert judge(story.history()).findings


def test_every_word_of_the_page_is_a_word_of_the_facts() -> None:
    page = (Path(__file__).parent.parent.parent / "docs/jobs.md").read_text()
    words = re.findall(r"^\| ([a-z ]+) \| ", page.partition("## What became of the jobs")[2].partition("*Lost* needs")[0], re.MULTILINE)
    assert all(hasattr(JobFacts, word.replace(" ", "_")) for word in words if word != "word")
    assert len(words) == 13
