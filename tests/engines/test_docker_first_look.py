"""The first look at a container's port: who listens before the engine has answered is seen in time, and nobody else's port is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.clock import MonotonicClock
from harness.dockerd import Daemon
from harness.engines.docker_first_look import FirstLook, _is_first_of
from harness.procevents import ProcEvents
from tests.engines.containers import Run, command, docker_run, eventually

AT_ONCE = '$s = IO::Socket::INET->new(Listen => 9, LocalAddr => "0.0.0.0", LocalPort => $ENV{PORT}); $| = 1; print "ready\\n"; sleep 60'
"""Listens a few milliseconds after it is executed."""

pytestmark = [pytest.mark.docker, pytest.mark.live, pytest.mark.slow]


@pytest.fixture
def kernel() -> Iterator[ProcEvents]:
    events = ProcEvents.open()
    if events is None:
        pytest.skip("this user may not listen to the kernel's proc connector, or in this pid namespace")
    yield events
    events.close()


@pytest.fixture
def run(daemon: Daemon, tmp_path: Path) -> Iterator[Run]:
    with docker_run(daemon, tmp_path) as run:
        yield run


def test_the_port_of_a_container_is_seen_open_while_nobody_has_said_that_it_runs(run: Run, kernel: ProcEvents) -> None:
    clock = MonotonicClock()
    began_ns = clock.now_ns()
    looks: list[FirstLook] = []
    start = run.engine._daemon.api.start

    def start_and_wait(container: str) -> None:  # as an engine that is busy answers late
        looks.append(FirstLook(kernel, clock, container, 8000))
        start(container)
        eventually(lambda: looks[0]._open_ns)

    run.engine._daemon.api.start = start_and_wait
    replica = run.up(command("quick.1", "perl", "-MIO::Socket::INET", "-e", AT_ONCE))
    seen = run.engine.listening(replica)
    assert seen is not None
    assert seen.open
    assert began_ns < replica.running_ns <= seen.since_ns <= clock.now_ns()
    assert replica.running_ns <= looks[0].end() <= clock.now_ns()


def test_a_look_at_nobody_ends_when_it_is_told_to_and_has_seen_nothing(kernel: ProcEvents) -> None:
    look = FirstLook(kernel, MonotonicClock(), "no such container", 1)
    assert look.end() == 0


def test_a_process_of_this_machine_is_process_1_of_no_container(run: Run) -> None:
    assert not _is_first_of("", os.getpid())
    replica = run.up(command("quick.1", "perl", "-MIO::Socket::INET", "-e", AT_ONCE))
    eventually(lambda: _is_first_of("", replica.pid))
