"""Ctrl-C and SIGTERM in the middle of a run."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from harness.errors import StoppedError
from harness.stopping import STOPS, stoppable


@pytest.fixture
def heard() -> Iterator[None]:
    """None of the signals is ignored, even when these tests run under nohup, or in the background of a shell without job control."""
    before = {name: signal.signal(name, signal.SIG_DFL) for name in STOPS}
    yield
    for name, handler in before.items():
        signal.signal(name, handler)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", STOPS)
def test_the_first_signal_raises_and_those_that_follow_are_ignored_until_the_end(number: signal.Signals) -> None:
    before = {name: signal.getsignal(name) for name in STOPS}
    cleaned = False
    with pytest.raises(StoppedError), stoppable():  # noqa: PT012  what follows the signal is the point
        try:
            os.kill(os.getpid(), number)
        finally:
            for name in STOPS:
                os.kill(os.getpid(), name)
            cleaned = True
    assert cleaned
    assert {name: signal.getsignal(name) for name in STOPS} == before


def test_a_signal_that_is_ignored_stays_so_as_nohup_wants_it() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_a_thread_that_can_have_no_handlers_nothing_is_done() -> None:
    seen: list[object] = []

    def body() -> None:
        with stoppable():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
