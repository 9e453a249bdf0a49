"""What workers say of jobs is heard, in whatever pieces it comes."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from harness.jobs.listen import Listener
from harness.scenario import WorkerLog

LOG = WorkerLog(started="job {job} started", finished="done: {job}", settled="[{job}] acknowledged")
TEXT = b"noise\njob 2fecf0-7 started\njob 2fecf0-70 started now\nx done: 2fecf0-7\n[2fecf0-7] acknowledged\njob ffffff-1 started\n"
HEARD = [(7, "started", "worker.1"), (70, "started", "worker.1"), (7, "finished", "worker.1"), (7, "settled", "worker.1")]


def heard(*pieces: bytes, log: WorkerLog = LOG) -> list[tuple[int, str, str]]:
    found: list[tuple[int, str, str]] = []
    listener = Listener(log, "2fecf0", lambda *said: found.append(said))
    for piece in pieces:
        listener.hear("worker.1", piece)
    return found


def test_lines_of_the_run_s_own_jobs_are_heard() -> None:
    assert heard(TEXT) == HEARD


@given(st.lists(st.integers(0, len(TEXT)), max_size=6))
def test_it_matters_not_how_the_output_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(TEXT)]
    assert heard(*(TEXT[begin:end] for begin, end in itertools.pairwise(places))) == HEARD


def test_replicas_are_kept_apart() -> None:
    found: list[tuple[int, str, str]] = []
    listener = Listener(LOG, "2fecf0", lambda *said: found.append(said))
    listener.hear("worker.1", b"job 2fecf0-1 ")
    listener.hear("worker.2", b"job 2fecf0-2 started\n")
    listener.hear("worker.1", b"started\n")
    assert found == [(2, "started", "worker.2"), (1, "started", "worker.1")]


def test_an_id_is_taken_whole() -> None:
    assert heard(b"done: 2fecf0-12\ndone: 2fecf0-1\n", log=WorkerLog(started="took {job}", finished="done: {job}")) == [
        (12, "finished", "worker.1"),
        (1, "finished", "worker.1"),
    ]


def test_a_scenario_that_says_nothing_of_the_log_hears_nothing() -> None:
    assert heard(TEXT, log=WorkerLog()) == []
    assert not Listener(WorkerLog(), "2fecf0", lambda *_said: None).hears
    assert Listener(LOG, "2fecf0", lambda *_said: None).hears


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    assert heard(b"x" * 100_000, b"\njob 2fecf0-7 started\n") == [(7, "started", "worker.1")]
