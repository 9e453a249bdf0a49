"""Who is whose kin, and signals that hit nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from harness import proctable
from harness.proctable import Kinship, Proc, Table, family


def proc(pid: int, *, parent: int = 1, session: int = 1, group: int = 0, started: int = 100, state: str = "S") -> Proc:
    return Proc(pid=pid, parent=parent, group=group or pid, session=session, state=state, started=started, name="app")


def table(*procs: Proc, **environments: bytes) -> Table:
    named = {int(key.removeprefix("p")): value for key, value in environments.items()}
    return Table(procs={p.pid: p for p in procs}, _environments={**{p.pid: b"\0" for p in procs}, **named})


def test_this_process_is_in_the_table_with_its_parent_and_its_environment() -> None:
    found = proctable.scan()
    me = found.procs[os.getpid()]
    assert me == proctable.look(os.getpid()) or me.alive
    assert me.parent == os.getppid()
    assert found.same(me.pid, me.started) is me
    assert found.same(me.pid, me.started + 1) is None
    assert b"\0PATH=" in found.environment(os.getpid())
    assert proctable.command_line(me)
    assert proctable.ancestors(found, os.getpid()) >= {os.getpid(), os.getppid()}


def test_a_process_that_is_not_there_is_none() -> None:
    assert proctable.look(2**22 + 1) is None
    assert proctable.scan().environment(2**22 + 1) == b"\0"
    assert not proctable.send(proc(2**22 + 1), signal.SIGKILL)


def test_a_family_is_found_by_each_single_trace() -> None:
    by_mark, by_session, by_pid = proc(10), proc(20, session=7), proc(30, started=333)
    kin = Kinship(marks=(b"\0A=1\0", b"\0B="), leaders={7: 100}, known={30: 333})
    found = family(table(by_mark, by_session, by_pid, proc(40), p10=b"\0X=\0A=1\0B=2\0", p40=b"\0A=1\0"), kin)
    assert set(found) == {10, 20, 30}


def test_children_of_members_are_members_to_any_depth() -> None:
    found = family(table(proc(10, started=5), proc(11, parent=10), proc(12, parent=11), proc(13, parent=9)), Kinship(known={10: 5}))
    assert set(found) == {10, 11, 12}


def test_a_pid_that_was_used_again_is_no_member() -> None:
    kin = Kinship(known={10: 5}, leaders={20: 6})
    assert family(table(proc(10, started=50), proc(20, started=60), proc(21, session=20, started=70)), kin) == {}


def test_a_session_whose_leader_is_gone_still_belongs() -> None:
    assert set(family(table(proc(21, session=20)), Kinship(leaders={20: 6}))) == {21}


def test_nothing_older_and_nothing_forbidden_belongs_nor_what_descends_from_it() -> None:
    kin = Kinship(known={10: 5, 20: 200, 30: 200}, since=100)
    procs = table(proc(10, started=5), proc(20, started=200), proc(30, started=200), proc(31, parent=30, started=201))
    assert set(family(procs, kin, never={30})) == {20}


def test_no_mark_at_all_makes_nobody_a_member() -> None:
    assert family(table(proc(10)), Kinship()) == {}


def test_a_name_with_spaces_and_parentheses_is_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    program = tmp_path_factory.mktemp("bin") / "a) (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as child:
        deadline = time.monotonic() + 10
        while (found := proctable.look(child.pid)) is not None and found.name != "a) (b" and time.monotonic() < deadline:
            time.sleep(0.001)  # the kernel sets the name a moment after it has closed what the parent waits for
        child.kill()
    assert found is not None
    assert (found.name, found.parent) == ("a) (b", os.getpid())


def test_births_are_shown_until_they_are_dealt_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proctable, "_MOST_BIRTHS", 1_000_000)  # others start processes meanwhile
    births = proctable.Births()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        for _ in range(2):
            assert child.pid in [proc.pid for proc in births.look() or ()]
        births.done()
        assert child.pid not in [proc.pid for proc in births.look() or ()]
        child.kill()


@pytest.mark.parametrize("newest", [99, 100 + 501])
def test_numbers_that_begin_anew_or_are_many_ask_for_a_look_at_all(monkeypatch: pytest.MonkeyPatch, newest: int) -> None:
    monkeypatch.setattr(proctable, "_newest_pid", lambda: 100)
    births = proctable.Births()
    assert births.look() == []
    monkeypatch.setattr(proctable, "_newest_pid", lambda: newest)
    assert births.look() is None
    births.done()
    assert births.look() == []


def test_a_thread_is_told_from_a_process() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait, args=(10,))
    thread.start()
    try:
        assert thread.native_id is not None
        assert proctable.is_thread(thread.native_id)
        assert not proctable.is_thread(os.getpid())
    finally:
        over.set()
        thread.join()


def test_a_signal_goes_to_the_very_process_that_was_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        seen = proctable.look(child.pid)
        assert seen is not None
        stranger = proc(child.pid, started=seen.started + 1)
        assert not proctable.send(stranger, signal.SIGKILL)
        assert child.poll() is None
        assert proctable.send(seen, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL


def test_a_group_with_a_stranger_in_it_is_not_killed_as_a_whole() -> None:
    """The children are in this test's own process group."""
    with subprocess.Popen(["/bin/sleep", "60"]) as meant, subprocess.Popen(["/bin/sleep", "60"]) as other:
        look = proctable.scan()
        proctable.kill([look.procs[meant.pid]], look)
        assert meant.wait() == -signal.SIGKILL
        assert other.poll() is None
        other.kill()


@pytest.mark.slow
def test_a_brand_goes_with_a_process_whatever_it_sheds() -> None:
    first = 1 << 57
    line = ["/bin/sh", "-c", "read go; setsid env -i /bin/sh -c 'sleep 60 & echo $!; wait'"]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        branded = proctable.look(parent.pid)
        assert branded is not None
        assert proctable.brand_of(parent.pid) == 0
        assert proctable.brand(branded, first + 5)
        assert not proctable.brand(proc(parent.pid, started=branded.started + 1), first + 9)  # the pid of another life
        parent.stdin.write("go\n")
        parent.stdin.flush()
        left = int(parent.stdout.readline())
        assert proctable.brand_of(left) == first + 5
        found = proctable.scan()
        assert left in family(found, Kinship(brands=range(first, first + 10)))
        assert family(found, Kinship(brands=range(first + 6, first + 10))) == {}
        proctable.kill(family(found, Kinship(brands=range(first, first + 10))).values(), found)


def test_who_is_not_there_or_not_ours_has_no_brand_and_gets_none() -> None:
    assert proctable.brand_of(2**22 + 1) == 0
    assert not proctable.brand(proc(2**22 + 1), 7)


SET = """
import signal, sys
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.live
def test_a_thread_that_runs_is_seen_to_have_had_a_cpu_and_who_is_gone_has_had_none() -> None:
    if not (before := proctable.cpu_of([os.getpid()])).get(os.getpid(), (0, 0))[0]:
        pytest.skip("this kernel keeps no books of that")
    began_ns = time.process_time_ns()
    while time.process_time_ns() - began_ns < 20_000_000:
        pass
    after = proctable.cpu_of([os.getpid()])
    assert sum(ran for ran, _ in after.values()) >= sum(ran for ran, _ in before.values()) + 10_000_000
    assert all(waited >= 0 for _, waited in after.values())
    assert proctable.cpu_of([0]) == {}


def test_what_a_process_does_on_a_signal_is_seen() -> None:
    command = [sys.executable, "-c", SET]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        seen = {name: proctable.disposition(child.pid, signal.Signals[name]) for name in ("SIGUSR1", "SIGUSR2", "SIGTERM")}
        child.communicate()
    assert seen == {"SIGUSR1": "caught", "SIGUSR2": "ignored", "SIGTERM": "default"}
    assert proctable.disposition(child.pid, signal.SIGTERM) == ""
    assert proctable.disposition(0, signal.SIGTERM) == ""
