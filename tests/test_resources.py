"""What a replica used, what machine it is, and what strangers take of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from harness import resources
from harness.clock import NS_PER_S, FakeClock, MonotonicClock
from harness.history import Used
from harness.resources import Strangers, free_of, machine, own_cpu_ns, places_of, read_group, used_by

if TYPE_CHECKING:
    from harness.dockerd import Daemon

DEADLINE_S = 20.0
IMAGE = "python:3.11-slim-bookworm"
MEGABYTE = 1 << 20
NOBODY = 2**22 + 1

BURNS = "import time\nwhile time.process_time() < 0.15: pass\n"
BURNS_INDENTED = "  while time.process_time() < 0.15: pass\n"
MUCH = f"much = bytearray({64 * MEGABYTE})\nmuch[::4096] = b'x' * {64 * 256}\n"
WAITS = "print('ready', flush=True)\ninput()\n"


@contextmanager
def python(code: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program that has said ``ready`` and goes on when it gets a line."""
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
            yield child
        finally:
            child.kill()


def of(*pids: int, when: str = "healthy") -> Used:
    found = used_by(pids, "web-1", when, 5)
    assert found is not None
    return found


# --- used_by ----------------------------------------------------------------------------------------------------------------


def test_of_a_process_that_is_gone_nothing_is_told() -> None:
    assert used_by([], "web-1", "healthy", 5) is None
    assert used_by([0], "web-1", "healthy", 5) is None
    assert used_by([NOBODY, os.getpid()], "web-1", "healthy", 5) is None
    with subprocess.Popen(["/bin/true"], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.read()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert used_by([child.pid], "web-1", "healthy", 5) is None, "it has ended, and nobody has waited for it"


def test_this_process_is_told_as_psutil_tells_it() -> None:
    me = psutil.Process()
    before, used, after = me.cpu_times(), of(os.getpid()), me.cpu_times()
    assert (used.at_ns, used.replica, used.when) == (5, "web-1", "healthy")
    sampled = 0.05  # the kernel may only sample what it tells psutil, once a tick, and we ask for the clock
    assert (1 - sampled) * sum(before[:4]) - sampled <= used.cpu_ns / NS_PER_S <= (1 + sampled) * sum(after[:4]) + sampled
    assert used.resident_bytes == pytest.approx(me.memory_info().rss, rel=0.2)
    assert used.peak_bytes >= used.resident_bytes * 0.9
    assert used.minor_faults > 1000
    assert used.read_bytes >= 0


@pytest.mark.slow
@pytest.mark.live
def test_processor_time_of_the_living_and_of_those_that_were_waited_for_is_in_it_once() -> None:
    burning = f"import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', {BURNS!r}])\n{BURNS}{WAITS}"
    with python(burning) as child:
        used = of(child.pid)
        times = psutil.Process(child.pid).cpu_times()
    assert used.processes == 1
    assert used.cpu_ns / NS_PER_S == pytest.approx(
        times.user + times.system + times.children_user + times.children_system, rel=0.1, abs=0.045
    )
    assert used.cpu_ns >= 0.25 * NS_PER_S


@pytest.mark.slow
@pytest.mark.live
def test_processor_time_of_threads_that_have_ended_is_in_it() -> None:
    burning = "import time\ndef burn():\n  while time.thread_time() < 0.1: pass\n"
    with python(f"{burning}import threading\nt = threading.Thread(target=burn)\nt.start()\nt.join()\n{WAITS}") as child:
        assert of(child.pid).cpu_ns >= 0.1 * NS_PER_S


@pytest.mark.slow
@pytest.mark.live
def test_living_children_are_found_and_count_once_also_when_they_are_named() -> None:
    parent = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-S', '-c', {BURNS + WAITS!r}]).wait()\n"
    with python(parent) as child:
        (grandchild,) = psutil.Process(child.pid).children()
        try:
            alone, named = of(child.pid), of(child.pid, grandchild.pid, NOBODY)
        finally:
            grandchild.kill()
        assert child.wait(DEADLINE_S) == 0
    assert alone.processes == named.processes == 2
    assert alone.cpu_ns / NS_PER_S == pytest.approx(named.cpu_ns / NS_PER_S, abs=0.05)
    assert 0.15 * NS_PER_S <= alone.cpu_ns < 0.15 * NS_PER_S + NS_PER_S


@pytest.mark.slow
@pytest.mark.live
def test_the_peak_of_memory_stays_when_the_memory_is_given_back() -> None:
    with python(f"print('ready', flush=True)\ninput()\n{MUCH}{WAITS}") as child:
        assert child.stdin
        assert child.stdout
        before = of(child.pid)
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "ready\n"
        after, told = of(child.pid), psutil.Process(child.pid).memory_info()
        assert after.resident_bytes == pytest.approx(told.rss, rel=0.05)
        assert after.resident_bytes - before.resident_bytes == pytest.approx(64 * MEGABYTE, rel=0.1)
        assert after.minor_faults > before.minor_faults
    with python(f"{MUCH}del much\n{WAITS}") as child:
        freed = of(child.pid)
        assert freed.peak_bytes - freed.resident_bytes >= 48 * MEGABYTE


@pytest.mark.slow
@pytest.mark.live
def test_pages_in_common_count_once_just_before_the_stop() -> None:
    forking = f"import os\n{MUCH}if os.fork() == 0:\n  os.read(0, 1)\n  os._exit(0)\n"
    with python(forking + WAITS + "os.wait()\n") as child:
        each, common = of(child.pid), of(child.pid, when="steady")
        assert each.processes == common.processes == 2
        assert each.resident_bytes >= 128 * MEGABYTE
        assert 64 * MEGABYTE <= common.resident_bytes < 96 * MEGABYTE
        for process in psutil.Process(child.pid).children():
            process.kill()


def test_what_can_not_be_read_of_the_disk_is_minus_one(monkeypatch: pytest.MonkeyPatch) -> None:
    read = resources._read
    monkeypatch.setattr(resources, "_read", lambda path: b"" if path.endswith("/io") else read(path))
    assert of(os.getpid()).read_bytes == -1


def test_a_kernel_without_shares_of_common_pages_tells_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    read = resources._read
    monkeypatch.setattr(resources, "_read", lambda path: b"" if path.endswith("/smaps_rollup") else read(path))
    assert of(os.getpid(), when="steady").resident_bytes == pytest.approx(of(os.getpid()).resident_bytes, rel=0.1)


# --- cgroups ----------------------------------------------------------------------------------------------------------------

MOUNTS_1 = b"""\
21 1 0:20 / /proc rw,nosuid - proc proc rw
31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
32 25 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
MOUNTS_2 = b"31 25 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_the_place_of_a_cgroup_of_version_2_is_below_its_mount() -> None:
    places = places_of(b"0::/system.slice/docker-1f.scope\n", b"0::/user.slice/session-1.scope\n", MOUNTS_2)
    assert places == {"unified": "/sys/fs/cgroup/system.slice/docker-1f.scope"}


def test_of_version_1_each_controller_has_its_place_unless_it_is_ours() -> None:
    theirs = b"4:memory:/docker/1f\n3:cpu,cpuacct:/docker/1f\n2:pids:/docker/1f\n1:name=systemd:/docker/1f\n0::/\n"
    ours = b"4:memory:/docker/1f\n3:cpu,cpuacct:/mine\n2:pids:/\n1:name=systemd:/\n0::/\n"
    place = "/sys/fs/cgroup/cpu,cpuacct/docker/1f"
    assert places_of(theirs, ours, MOUNTS_1) == {"cpu": place, "cpuacct": place}


def test_where_only_a_part_of_the_hierarchy_is_mounted_the_place_is_below_that_part() -> None:
    mounts = b"31 25 0:27 /docker/outer /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
    assert places_of(b"0::/docker/outer/docker/1f\n", b"0::/docker/outer\n", mounts) == {"unified": "/sys/fs/cgroup/docker/1f"}


def test_nothing_known_of_cgroups_is_no_place() -> None:
    assert places_of(b"", b"", b"") == {}
    assert places_of(b"0::/a\n", b"0::/\n", b"torn line\n31 25 0:27\n") == {}


def test_a_cgroup_of_version_2_tells_all_it_ever_used(tmp_path: Path) -> None:
    files = {
        "cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n",
        "memory.stat": "anon 4096\npgfault 900\npgmajfault 12\n",
        "memory.peak": "8388608\n",
        "io.stat": "8:0 rbytes=4096 wbytes=10 rios=1 wios=1\n8:16 rbytes=1024 wbytes=0 rios=1 wios=0\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    group = read_group({"unified": str(tmp_path)})
    assert (group.cpu_ns, group.faults, group.major_faults, group.read_bytes, group.peak_bytes) == (1_500_000, 900, 12, 5120, 8388608)


def test_a_cgroup_of_version_1_tells_it_in_other_files(tmp_path: Path) -> None:
    files = {
        "cpuacct.usage": "1500000\n",
        "memory.stat": "pgfault 1\npgmajfault 1\ntotal_pgfault 900\ntotal_pgmajfault 12\n",
        "memory.max_usage_in_bytes": "8388608\n",
        "blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 10\n8:0 Total 4106\nTotal 4106\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    group = read_group({name: str(tmp_path) for name in ("cpuacct", "memory", "blkio", "unified")})
    assert (group.cpu_ns, group.faults, group.major_faults, group.read_bytes, group.peak_bytes) == (1_500_000, 900, 12, 4096, 8388608)


def test_what_a_cgroup_does_not_tell_is_none(tmp_path: Path) -> None:
    for places in ({}, {"unified": str(tmp_path)}, {"cpuacct": str(tmp_path), "memory": str(tmp_path), "blkio": str(tmp_path)}):
        group = read_group(places)
        assert {group.cpu_ns, group.faults, group.major_faults, group.read_bytes, group.peak_bytes} == {None}


def test_what_a_cgroup_left_to_others_is_in_the_peak_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_group_of", lambda _pid: resources._Group(peak_bytes=4096))
    used = used_by([os.getpid()], "web-1", "steady", 5, cgroup=True)
    assert used is not None
    assert used.peak_bytes == used.resident_bytes > 4096


def test_a_process_in_our_own_cgroup_is_told_by_its_processes() -> None:
    used, plain = used_by([os.getpid()], "web-1", "healthy", 5, cgroup=True), of(os.getpid())
    assert used is not None
    assert used.peak_bytes == plain.peak_bytes
    assert used.minor_faults == pytest.approx(plain.minor_faults, rel=0.1)


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.live
def test_a_container_is_told_by_its_cgroup_with_what_nobody_waited_for(daemon: Daemon) -> None:
    orphaned = f"""\
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
pid = os.fork()
if not pid:
{BURNS_INDENTED}  os._exit(0)
"""
    gone = "try: os.waitpid(pid, 0)\nexcept ChildProcessError: pass\nprint('ready', flush=True)\nsignal.pause()\n"
    made = daemon.api.create_container(IMAGE, ["python", "-S", "-c", orphaned + gone])["Id"]
    try:
        daemon.api.start(made)
        deadline = time.monotonic() + 20
        while b"ready" not in daemon.api.logs(made):  # a stream of them would leave its connection open
            assert time.monotonic() < deadline
            time.sleep(0.02)
        pid = daemon.api.inspect_container(made)["State"]["Pid"]
        if not Path(f"/proc/{pid}").exists():
            pytest.skip("its processes are not visible here")
        alone, whole = of(pid), used_by([pid], "web-1", "steady", 5, cgroup=True)
    finally:
        daemon.api.remove_container(made, force=True)
    assert whole is not None
    assert whole.processes == 1
    assert whole.cpu_ns - alone.cpu_ns >= 0.1 * NS_PER_S
    assert whole.peak_bytes > 0


# --- the machine ------------------------------------------------------------------------------------------------------------


def test_the_machine_is_told() -> None:
    found = machine()
    assert found.system.startswith("Linux ")
    assert found.cpu
    assert found.cores == len(os.sched_getaffinity(0))
    assert found.memory_bytes == psutil.virtual_memory().total
    assert found.python == ".".join(map(str, sys.version_info[:3]))


def test_a_processor_without_a_model_has_the_name_of_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_read", lambda _: b"processor\t: 0\nBogoMIPS\t: 50.00\n")
    assert machine().cpu


# --- strangers --------------------------------------------------------------------------------------------------------------


def stat(*, idle: int = 0, waiting: int = 0, irq: int = 0, steal: int = 0) -> bytes:
    """Of a machine with two CPUs, in ticks."""
    line = f"cpu  9999 9999 9999 {idle} {waiting} {irq} 0 {steal} 0 0"
    return f"{line}\ncpu0 1 2 3 4 5 6 7 8 9 10\ncpu1 1 2 3 4 5 6 7 8 9 10\nintr 5 0\n".encode()


def test_time_without_a_program_is_idle_waiting_or_of_interrupts() -> None:
    assert free_of(stat(idle=100, waiting=10, irq=5, steal=50)) == (2, 115 * 10_000_000)
    assert free_of(b"") is None
    assert free_of(b"cpu 1 2\ncpu0 1 2\n") is None


@pytest.mark.parametrize(
    ("idle_ticks", "own_s", "strangers"),
    [
        (200, 0.0, 0.0),
        (150, 0.0, 0.5),
        (50, 0.5, 1.0),
        (100, 1.01, 0.0),
    ],
)
def test_strangers_have_what_is_neither_free_nor_ours(
    idle_ticks: int, own_s: float, strangers: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, files, own = FakeClock(), iter([stat(idle=1000), stat(idle=1000 + idle_ticks)]), iter([7.0, 7.0 + own_s])
    monkeypatch.setattr(resources, "_read", lambda _: next(files))
    monkeypatch.setattr(resources, "own_cpu_ns", lambda: round(next(own) * NS_PER_S))
    watch = Strangers(clock)
    watch.look()
    clock.sleep(1)
    assert watch.since() == pytest.approx(strangers)


def test_before_the_first_look_and_without_a_span_and_without_the_file_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Strangers(FakeClock())
    assert watch.since() == -1.0
    watch.look()
    assert watch.since() == -1.0
    monkeypatch.setattr(resources, "_read", lambda _: b"")
    watch.look()
    assert watch.since() == -1.0


@pytest.mark.slow
@pytest.mark.live
def test_what_this_process_and_its_children_compute_is_its_own_before_and_after_they_end() -> None:
    before = own_cpu_ns()
    with python(BURNS + WAITS):
        alive = own_cpu_ns()
    ended = own_cpu_ns()
    assert before + 0.15 * NS_PER_S <= alive <= ended


@pytest.mark.slow
@pytest.mark.live
def test_on_this_machine_our_own_work_is_no_strangers() -> None:
    watch, clock = Strangers(MonotonicClock()), MonotonicClock()
    watch.look()
    began_ns, free = clock.now_ns(), free_of(stat_now())
    wait_until(lambda: clock.now_ns() - began_ns > 0.3 * NS_PER_S)
    found, after = watch.since(), free_of(stat_now())
    assert free
    assert after
    busy = free[0] - (after[1] - free[1]) / (clock.now_ns() - began_ns)
    assert 0.0 <= found <= max(0.0, busy) + 0.2, "strangers never have more than all that was busy"


def stat_now() -> bytes:
    return Path("/proc/stat").read_bytes()


def wait_until(condition: Callable[[], bool]) -> None:
    """Compute, for at most `DEADLINE_S`."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
