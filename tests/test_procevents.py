"""What the kernel tells of processes, as it is remembered."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from harness import procevents
from harness.clock import NS_PER_S, MonotonicClock
from harness.procevents import Past, ProcEvents

ROOT = Path(__file__).parent.parent
CLOCK = MonotonicClock()
FORK, EXEC, EXIT = 0x1, 0x2, 0x80000000


def eventually(condition: Callable[[], object], within_s: float = 10.0) -> None:
    deadline_ns = CLOCK.now_ns() + round(within_s * NS_PER_S)
    while not condition():
        assert CLOCK.now_ns() < deadline_ns, "it never happened"
        CLOCK.sleep(0.005)


@pytest.fixture
def events() -> Iterator[ProcEvents]:
    events = ProcEvents.open()
    if events is None:
        pytest.skip("this user may not listen to the kernel's proc connector, or in this pid namespace")
    yield events
    events.close()


@pytest.fixture
def told() -> Iterator[tuple[ProcEvents, Callable[..., None]]]:
    """One that listens to us in the kernel's place, and what tells it an event: its number, its instant, its first words."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    events = ProcEvents(theirs)

    def tell(what: int, at_ns: int, *words: int) -> None:
        data = struct.pack("=IIQ", what, 0, at_ns) + struct.pack("=6I", *words, *[0] * (6 - len(words)))
        connector = struct.pack("=IIIIHH", 1, 1, 0, 0, len(data), 0)
        ours.send(struct.pack("=IHHII", 16 + len(connector) + len(data), 3, 0, 0, 0) + connector + data)

    yield events, tell
    events.close()
    ours.close()


Told = tuple[ProcEvents, Callable[..., None]]


def test_the_life_of_a_process_is_remembered(told: Told) -> None:
    events, tell = told
    assert events.past(7) == Past()
    tell(FORK, 10, 1, 1, 7, 7)
    tell(EXEC, 20, 7, 7)
    tell(EXIT, 30, 7, 7, 3 << 8, 17)
    eventually(lambda: events.past(7).ended_ns)
    assert events.past(7) == Past(parent=1, forked_ns=10, executed_ns=20, ended_ns=30, status=3)


@pytest.mark.live
def test_an_answer_lacks_nothing_that_was_told_before_though_the_thread_had_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcEvents, "_read", lambda _self: None)
    events = ProcEvents.open()
    if events is None:
        pytest.skip("this user may not listen to the kernel's proc connector, or in this pid namespace")
    since_ns = time.monotonic_ns()
    with closing(events), subprocess.Popen(["/bin/sh", "-c", "echo runs; exec sleep 60"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"runs\n"  # it executes what was asked for, and the kernel has said so
        assert process.pid in events.executed_since(since_ns)
        assert events.past(process.pid).parent == os.getpid()
        process.kill()


def test_an_end_by_a_signal_is_told_apart_from_a_status_of_the_same_number(told: Told) -> None:
    events, tell = told
    tell(EXIT, 1, 7, 7, signal.SIGSEGV | 0x80, 17)
    tell(EXIT, 2, 8, 8, (128 + signal.SIGSEGV) << 8, 17)
    eventually(lambda: events.past(8).ended_ns)
    assert (events.past(7).status, events.past(7).signalled) == (139, True)
    assert (events.past(8).status, events.past(8).signalled) == (139, False)


def test_threads_are_no_processes(told: Told) -> None:
    events, tell = told
    tell(FORK, 10, 1, 1, 8, 7)
    tell(EXIT, 11, 8, 7, 0, 17)
    tell(FORK, 12, 1, 1, 9, 9)
    eventually(lambda: events.past(9).forked_ns)
    assert (events.past(7), events.past(8)) == (Past(), Past())


def test_a_pid_that_is_used_again_begins_anew(told: Told) -> None:
    events, tell = told
    tell(EXIT, 10, 7, 7, 0, 17)
    tell(FORK, 20, 1, 1, 7, 7)
    eventually(lambda: events.past(7).forked_ns)
    assert events.past(7) == Past(parent=1, forked_ns=20)


def test_a_process_of_which_another_thread_executes_has_not_ended(told: Told) -> None:
    events, tell = told
    tell(FORK, 10, 1, 1, 7, 7)
    tell(EXIT, 20, 7, 7, 9, 17)
    tell(EXEC, 21, 7, 7)
    eventually(lambda: events.past(7).executed_ns)
    assert events.past(7) == Past(parent=1, forked_ns=10, executed_ns=21)


def test_only_the_latest_processes_are_remembered(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    events, tell = told
    monkeypatch.setattr(procevents, "_KEPT", 3)
    for pid in range(1, 6):
        tell(FORK, pid, 0, 0, pid, pid)
    eventually(lambda: events.past(5).forked_ns)
    assert [events.past(pid).forked_ns for pid in range(1, 6)] == [0, 0, 3, 4, 5]


def test_what_is_no_event_does_no_harm(told: Told) -> None:
    events, tell = told
    tell(0, 1, 0)
    tell(0x4, 1, 7, 7)
    events._take(b"")
    events._take(b"\0" * 40)
    tell(FORK, 5, 1, 1, 7, 7)
    eventually(lambda: events.past(7).forked_ns)
    assert events.whole


def test_events_that_the_kernel_had_to_drop_are_told() -> None:
    class Full(socket.socket):
        def recv(self, bufsize: int, flags: int = 0) -> bytes:
            super().recv(bufsize, flags)
            raise OSError(105, "No buffer space available")

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    events = ProcEvents(Full(fileno=theirs.detach()))
    assert events.whole
    ours.send(b"x")
    eventually(lambda: not events.whole)
    events.close()
    events.close()
    ours.close()


@pytest.mark.live
def test_the_kernel_tells_of_fork_exec_and_exit_on_the_clock_of_the_run(events: ProcEvents) -> None:
    before_ns = time.monotonic_ns()
    process = subprocess.Popen(["/bin/sh", "-c", "exit 7"])
    process.wait()
    after_ns = time.monotonic_ns()
    eventually(lambda: events.past(process.pid).ended_ns)
    past = events.past(process.pid)
    assert before_ns <= past.forked_ns <= past.executed_ns <= past.ended_ns <= after_ns
    assert (past.status, past.signalled) == (7, False)


@pytest.mark.live
def test_the_kernel_tells_by_which_signal_a_process_ended_and_when(events: ProcEvents) -> None:
    process = subprocess.Popen(["/bin/sleep", "60"])
    before_ns = time.monotonic_ns()
    process.kill()
    process.wait()
    eventually(lambda: events.past(process.pid).ended_ns)
    past = events.past(process.pid)
    assert before_ns <= past.ended_ns
    assert (past.status, past.signalled) == (128 + signal.SIGKILL, True)


@pytest.mark.live
def test_who_is_killed_is_seen_to_be_survived_by_the_process_that_forked_it(events: ProcEvents) -> None:
    process = subprocess.Popen(["/bin/sleep", "60"])
    process.kill()
    process.wait()
    eventually(lambda: events.past(process.pid).ended_ns)
    assert events.past(process.pid).survived_by_parent


def test_who_ended_by_itself_or_after_the_process_that_forked_it_is_survived_by_nobody(told: Told) -> None:
    events, tell = told
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    for pid, parent, code in ((1001, gone.pid, signal.SIGKILL), (1002, os.getpid(), 7 << 8), (1003, os.getpid(), signal.SIGKILL)):
        tell(FORK, 100, parent, parent, pid, pid)
        tell(EXIT, 200, pid, pid, code, 0)
    eventually(lambda: events.past(1003).ended_ns)
    assert [events.past(pid).survived_by_parent for pid in (1001, 1002, 1003)] == [False, False, True]


@pytest.mark.live
def test_several_can_listen_and_one_that_closes_takes_nothing_from_the_others(events: ProcEvents) -> None:
    other = ProcEvents.open()
    assert other is not None
    other.close()
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    eventually(lambda: events.past(process.pid).ended_ns)
    assert other.past(process.pid) == Past()


@pytest.mark.live
def test_nothing_is_left_open(events: ProcEvents) -> None:
    threads, files = set(threading.enumerate()), files_open()
    other = ProcEvents.open()
    assert other is not None
    other.close()
    assert set(threading.enumerate()) <= threads, "those of tests before may end meanwhile"
    assert files_open() <= files


def files_open() -> set[str]:
    """What is open, by the kernel's name for it, which is never the same twice."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            found.add(str(path.readlink()))
    return found


@pytest.mark.slow
@pytest.mark.live
def test_in_a_pid_namespace_of_its_own_the_pids_of_others_are_not_listened_to(events: ProcEvents) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a pid namespace")
    text = (
        "import subprocess, threading\nfrom harness.procevents import ProcEvents\n"
        "noise = threading.Thread(target=lambda: [subprocess.run(['/bin/true']) for _ in range(20)])\n"
        "noise.start(); print(ProcEvents.open()); noise.join()"
    )
    ended = subprocess.run(
        ["/usr/bin/unshare", "--pid", "--fork", sys.executable, "-c", text],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert ended.stdout.strip() == "None"
    assert events.whole


@pytest.mark.parametrize("status", [0, 1])
def test_an_order_that_the_kernel_refuses_is_no_listening(status: int) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        for number, answer in ((5, 0), (6, status)):  # the first is somebody else's
            data = struct.pack("=IIQI", 0, 0, 0, answer) + bytes(20)
            ours.send(struct.pack("=IHHII", 16, 3, 0, 0, 0) + struct.pack("=IIIIHH", 1, 1, 0, number + 1, len(data), 0) + data)
        assert procevents._acknowledged(theirs, 6) is (status == 0)
