"""What a run knows of its jobs while it goes on."""

from __future__ import annotations

import pytest

from harness.clock import FakeClock
from harness.job_history import ACKNOWLEDGED, FINISHED, REFUSED, RETURNED, SETTLED, STARTED, UNKNOWN, JobDone, JobLine, JobsClosed, JobSeen
from harness.jobs.book import JobBook


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def book_of(clock: FakeClock, *, tells_finished: bool = True) -> tuple[JobBook, list[JobLine]]:
    lines: list[JobLine] = []
    book = JobBook(lines.append, clock, tells=frozenset({STARTED, SETTLED, RETURNED, *([FINISHED] if tells_finished else [])}))
    for job in range(3):
        book.submit(job, step=1, due_ns=0)
        book.answer(job, ACKNOWLEDGED)
    return book, lines


def test_a_job_is_in_hand_from_its_start_until_it_is_finished(clock: FakeClock) -> None:
    book, _ = book_of(clock)
    assert book.in_hand("worker.1") == 0
    book.see(0, STARTED, "worker.1")
    began_ns = clock.now_ns()
    clock.sleep(0.1)
    assert (book.in_hand("worker.1"), book.in_hand("worker.2")) == (1, 0)
    assert book.in_hand("worker.1", "job-finished") == 0
    book.see(0, FINISHED, "worker.1")
    finished_ns = clock.now_ns()
    clock.sleep(0.1)
    assert (book.in_hand("worker.1"), book.in_hand("worker.1", "job-finished")) == (0, 1)
    book.see(0, SETTLED, "worker.1")
    assert book.in_hand("worker.1", "job-finished") == 0
    assert book.had("worker.1", "in-flight", began_ns + 1)
    assert not book.had("worker.1", "in-flight", finished_ns + 1)
    assert book.had("worker.1", "job-finished", finished_ns + 1)
    assert not book.had("worker.1", "job-finished", clock.now_ns())


def test_a_job_of_which_the_queue_was_told_too_early_is_in_hand_all_the_same(clock: FakeClock) -> None:
    book, _ = book_of(clock)
    book.see(0, STARTED, "worker.1")
    book.see(0, SETTLED, "worker.1")
    assert book.in_hand("worker.1") == 1
    book.see(0, FINISHED, "worker.1")
    clock.sleep(0.001)
    assert book.in_hand("worker.1") == 0


def test_where_the_log_does_not_tell_the_end_of_the_work_the_queue_s_word_ends_it(clock: FakeClock) -> None:
    book, _ = book_of(clock, tells_finished=False)
    book.see(0, STARTED, "worker.1")
    book.see(0, SETTLED, "worker.1")
    assert book.in_hand("worker.1") == 0
    book.see(1, STARTED, "worker.1")
    book.effect(1, at_ns=clock.now_ns(), since_ns=0)
    clock.sleep(0.001)
    assert book.in_hand("worker.1") == 0, "its effect has shown"


@pytest.mark.parametrize("end", ["returned", "gone"])
def test_what_was_given_back_or_left_by_a_dead_worker_is_in_nobody_s_hands(clock: FakeClock, end: str) -> None:
    book, _ = book_of(clock)
    book.see(0, STARTED, "worker.1")
    clock.sleep(0.1)
    if end == "gone":
        book.gone("worker.1")
    else:
        book.see(0, RETURNED, "worker.1")
    assert (book.in_hand("worker.1"), book.all_in_hand()) == (0, 0)
    assert book.had("worker.1", "in-flight", clock.now_ns() - 1)


def test_what_a_worker_lost_without_a_word_is_in_its_hands_no_more_when_another_has_done_it(clock: FakeClock) -> None:
    book, _ = book_of(clock)
    book.see(0, STARTED, "worker.1")
    clock.sleep(0.1)
    book.see(0, STARTED, "worker.2")
    assert (book.in_hand("worker.1"), book.in_hand("worker.2")) == (1, 1), "the first one may still work on it"
    book.effect(0, at_ns=clock.now_ns(), since_ns=clock.now_ns())
    assert (book.in_hand("worker.1"), book.in_hand("worker.2")) == (0, 1)
    book.see(0, FINISHED, "worker.2")
    clock.sleep(0.001)
    assert book.in_hand("worker.2") == 0


def test_a_share_of_what_jobs_take_is_known_from_those_before(clock: FakeClock) -> None:
    book, _ = book_of(clock)
    assert book.usual_ns() == 0
    book.see(0, STARTED, "worker.1")
    clock.sleep(0.2)
    book.see(0, FINISHED, "worker.1")
    assert book.usual_ns() == 200_000_000
    book.see(1, STARTED, "worker.1")
    clock.sleep(0.09)
    assert book.in_hand("worker.1", older_ns=100_000_000) == 0
    clock.sleep(0.02)
    assert book.in_hand("worker.1", older_ns=100_000_000) == 1


def test_what_is_missing_was_acknowledged_and_is_not_done(clock: FakeClock) -> None:
    book, _ = book_of(clock)
    book.submit(3, step=1, due_ns=0)
    book.answer(3, UNKNOWN, "reset")
    book.submit(4, step=1, due_ns=0)
    book.answer(4, REFUSED, "no")
    assert (book.missing(), book.doubtful()) == (3, 1)
    book.effect(0, at_ns=5, since_ns=1)
    book.effect(3, at_ns=5, since_ns=1)
    assert (book.missing(), book.doubtful()) == (2, 0)


def test_effects_are_counted_and_those_of_nobody_s_job_are_told_apart(clock: FakeClock) -> None:
    book, lines = book_of(clock)
    for number in (1, 1, 77):
        book.effect(number, at_ns=5, since_ns=1)
    assert [(line.job, line.effects) for line in lines if isinstance(line, JobDone)] == [(1, 1), (1, 2), (-78, 1)]


def test_the_ledger_ends_with_how_many_lines_it_has(clock: FakeClock) -> None:
    book, lines = book_of(clock)
    book.see(0, STARTED, "worker.1")
    book.close()
    assert lines[-1] == JobsClosed(at_ns=clock.now_ns(), lines=7)
    assert isinstance(lines[-2], JobSeen)
