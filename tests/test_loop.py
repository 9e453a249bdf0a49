"""One thread that waits for many descriptors."""

from __future__ import annotations

import os
import threading

from harness.clock import MonotonicClock
from harness.loop import Loop

WITHIN_S = 10.0


def test_a_readable_descriptor_calls_back_with_the_instant() -> None:
    clock, told, seen = MonotonicClock(), threading.Event(), []
    loop = Loop("test", clock)
    reader, writer = os.pipe()

    def on_readable(at_ns: int) -> None:
        seen.append((os.read(reader, 10), at_ns))
        told.set()

    loop.watch(reader, on_readable)
    before_ns = clock.now_ns()
    os.write(writer, b"x")
    assert told.wait(WITHIN_S)
    loop.stop()
    os.close(reader)
    os.close(writer)
    ((data, at_ns),) = seen
    assert data == b"x"
    assert before_ns <= at_ns <= clock.now_ns()


def test_all_that_was_asked_for_is_done_before_it_stops_and_nothing_after() -> None:
    loop, done = Loop("test", MonotonicClock()), []
    for number in range(100):
        loop.call(lambda number=number: done.append(number))
    loop.stop()
    loop.call(lambda: done.append(-1))
    loop.stop()
    assert done == list(range(100))


def test_a_callback_that_fails_is_kept_and_the_others_go_on() -> None:
    loop, done = Loop("test", MonotonicClock()), []

    def fail() -> None:
        raise ValueError("one")

    loop.call(fail)
    loop.call(lambda: done.append(loop.is_current))
    loop.stop()
    assert done == [True]
    assert [str(problem) for problem in loop.problems] == ["one"]
    assert not loop.is_current


def test_a_tick_comes_again_and_again() -> None:
    twice = threading.Semaphore(0)
    loop = Loop("test", MonotonicClock(), tick=twice.release, tick_s=0.001)
    assert twice.acquire(timeout=WITHIN_S)
    assert twice.acquire(timeout=WITHIN_S)
    loop.stop()
