"""Work in the background: results in order, errors told, nothing left waiting."""

from __future__ import annotations

import threading

import pytest

from harness.errors import TargetError
from harness.stage import Inline, Threads


def test_work_is_done_at_the_same_time_and_results_keep_their_order() -> None:
    meeting = threading.Barrier(3, timeout=10)  # nobody passes unless all three are there at once

    def work(number: int) -> int:
        meeting.wait()
        return number * 10

    assert Threads().map(work, [1, 2, 3]) == [10, 20, 30]


@pytest.mark.parametrize("background", [Threads(), Inline()])
def test_the_first_error_is_raised(background: Threads | Inline) -> None:
    def work(number: int) -> int:
        if number == 2:
            raise TargetError("two is wrong")
        return number

    with pytest.raises(TargetError, match="two is wrong"):
        background.map(work, [1, 2, 3])


def test_work_may_have_work_done_at_the_same_time() -> None:
    background = Threads()

    def work(number: int) -> list[int]:
        return background.map(lambda inner: number + inner, [1, 2, 3])

    assert [background.map(work, [10, 20, 30, 40]) for _ in range(20)] == [[[t + n for n in (1, 2, 3)] for t in (10, 20, 30, 40)]] * 20


def test_an_error_does_not_leave_the_others_behind() -> None:
    done = []

    def work(number: int) -> None:
        if number == 0:
            raise TargetError("at once")
        done.append(number)

    with pytest.raises(TargetError):
        Threads().map(work, [0, 1, 2])
    assert sorted(done) == [1, 2]


def test_a_watch_runs_until_it_is_ended_and_tells_its_error_then() -> None:
    began = threading.Event()

    def watch(stop: threading.Event) -> None:
        began.set()
        stop.wait(10)
        raise TargetError("seen at the end")

    running = Threads().watch(watch)
    assert began.wait(10)
    with pytest.raises(TargetError, match="seen at the end"):
        running.end()


def test_fakes_need_no_watching() -> None:
    Inline().watch(lambda _stop: pytest.fail("it was run")).end()
    Inline().end()
