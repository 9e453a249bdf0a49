"""What only real processes can show."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from harness import marks, proctable
from harness.clock import NS_PER_S, MonotonicClock
from harness.engines.base import EngineContext, Exit, Replica, ReplicaSpec
from harness.engines.process import ProcessEngine
from harness.errors import MachineError, UsageError

pytestmark = [pytest.mark.live, pytest.mark.slow]

CHILD = Path(__file__).parent.parent / "helpers" / "child.py"
CLOCK = MonotonicClock()
WITHIN_S = 20.0


def eventually(condition: Callable[[], object]) -> None:
    deadline_ns = CLOCK.now_ns() + round(WITHIN_S * NS_PER_S)
    while not condition():
        assert CLOCK.now_ns() < deadline_ns, "it never happened"
        CLOCK.sleep(0.002)


Make = Callable[..., ProcessEngine]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes engines that are closed at the end of the test, whatever happens."""
    with ExitStack() as stack:

        def engine(run_id: str = "one", on_exit: Callable[[Replica, Exit], None] = lambda _replica, _gone: None) -> ProcessEngine:
            folder = tmp_path / run_id
            folder.mkdir()
            made = ProcessEngine(
                EngineContext(run_id=f"test-{tmp_path.name}-{run_id}", clock=CLOCK, scratch=folder, logs=folder, on_exit=on_exit)
            )
            stack.callback(made.close)
            return made

        yield engine


@pytest.fixture
def engine(make: Make) -> ProcessEngine:
    return make()


def spec(name: str, *options: str, port: int = 0, **environment: str) -> ReplicaSpec:
    return ReplicaSpec(
        name=name, process="web", argv=("{python}", str(CHILD), *options), environment=environment, working_dir=Path.cwd(), port=port
    )


def command(folder: Path, *argv: str) -> ReplicaSpec:
    return ReplicaSpec(name="web.1", process="web", argv=argv, environment={}, working_dir=folder)


def up(engine: ProcessEngine, name: str, *options: str, **environment: str) -> Replica:
    replica = engine.start(spec(name, *options, **environment))
    eventually(lambda: engine.log_matches(replica, "^ready$"))
    return replica


def left_pid(engine: ProcessEngine, replica: Replica, kind: str) -> int:
    return next(int(line.split()[2]) for line in engine.log_tail(replica, 20) if line.startswith(f"left {kind} "))


def is_alive(pid: int) -> bool:
    proc = proctable.look(pid)
    return proc is not None and proc.alive


def test_placeholders_are_filled_in_the_command_and_in_the_environment(engine: ProcessEngine, tmp_path: Path) -> None:
    replica = up(engine, "web.1", "--show", "A", "--show", "B", A="{replica} {scratch} {port}", B="{python} {other} {}")
    assert engine.log_tail(replica, 3)[:2] == (f"A=web.1 {tmp_path / 'one'} {replica.port}", f"B={sys.executable} {{other}} {{}}")


def test_a_replica_gets_port_scratch_and_marks_but_no_mark_of_a_run_around_it(
    engine: ProcessEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JETABLE_OTHER", "around")
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    names = ("PORT", "TMPDIR", "PYTHONUNBUFFERED", "JETABLE_RUN", "JETABLE_OWNER", "JETABLE_REPLICA", "JETABLE_OTHER")
    replica = up(engine, "web.1", *[word for name in names for word in ("--show", name)], JETABLE_RUN="another")
    assert engine.log_tail(replica, 8)[:7] == (
        f"PORT={replica.port}",
        f"TMPDIR={tmp_path / 'one'}",
        "PYTHONUNBUFFERED=1",
        f"JETABLE_RUN=test-{tmp_path.name}-one",
        f"JETABLE_OWNER={marks.owner()}",
        "JETABLE_REPLICA=web.1",
        "JETABLE_OTHER=None",
    )


def test_a_replica_leads_a_session_of_its_own_and_reads_nothing(engine: ProcessEngine) -> None:
    replica = up(engine, "web.1")
    proc = proctable.look(replica.pid)
    assert proc is not None
    assert proc.session == proc.group == replica.pid
    assert Path(f"/proc/{replica.pid}/fd/0").readlink() == Path("/dev/null")


def test_a_signal_that_the_harness_ignores_is_not_ignored_by_replicas(make: Make) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        engine = make()
        os.kill(os.getpid(), signal.SIGINT)
        replica = up(engine, "web.1")
        engine.signal(replica, "SIGINT")
        gone = engine.wait_exit(replica, WITHIN_S)
        engine.close()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert gone is not None
    assert gone.status == 130


def test_a_command_is_found_relative_to_the_working_directory(engine: ProcessEngine, tmp_path: Path) -> None:
    script = tmp_path / "app"
    script.write_text("#!/bin/sh\necho here\n")
    script.chmod(0o700)
    replica = engine.start(command(tmp_path, "./app"))
    engine.wait_exit(replica, WITHIN_S)
    assert engine.log_tail(replica, 1) == ("here",)


@pytest.mark.parametrize(
    ("file", "mode", "argv", "message"),
    [
        ("", 0, "pythonx", "command pythonx is not on PATH; write {python}"),
        ("", 0, "./app", "there is no file .*app; mend command or working_dir"),
        ("echo", 0o600, "./app", "may not be executed; allow it with chmod"),
        ("\0\1\2", 0o700, "./app", "is no program of this machine"),
        ("#!/no/such/interpreter\n", 0o700, "./app", "names an interpreter in its first line that does not exist"),
        ("", 0, "a\0b", "embedded null byte"),
    ],
)
def test_a_command_that_can_not_run_is_the_users_to_mend(
    engine: ProcessEngine, tmp_path: Path, file: str, mode: int, argv: str, message: str
) -> None:
    if file:
        (tmp_path / "app").write_text(file)
        (tmp_path / "app").chmod(mode)
    with pytest.raises(UsageError, match=message.replace("{", r"\{")):
        engine.start(command(tmp_path, argv))


def test_a_missing_working_directory_is_named(engine: ProcessEngine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"can't run in .*nowhere: No such file or directory; mend working_dir"):
        engine.start(command(tmp_path / "nowhere", sys.executable))


def test_a_log_that_can_not_be_written_is_the_machines_trouble(engine: ProcessEngine) -> None:
    with pytest.raises(MachineError, match="can't write"):
        engine.start(spec("no/such/folder"))


def test_a_failed_start_keeps_no_port_and_no_descriptor(engine: ProcessEngine, tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(UsageError):
            engine.start(command(tmp_path, "./nothing"))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 5  # the claims, which are given back when they are many


def open_files() -> set[tuple[str, str]]:
    """The descriptors of this process, each with what it leads to."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of this look itself
            found.add((path.name, str(path.readlink())))
    return found


def test_nothing_of_an_engine_stays_open_after_its_end(make: Make) -> None:
    files, threads = open_files(), set(threading.enumerate())
    engine = make()
    up(engine, "web.1", "--leave", "daemon", "--listen")
    engine.listening(up(engine, "web.2", "--listen"))
    engine.close()
    assert open_files() - files == set()  # what was open before may be closed meanwhile, by a test before
    assert set(threading.enumerate()) - threads == set()
    with pytest.raises(MachineError, match="closed"):
        engine.start(spec("web.3"))


def test_an_exit_is_noted_when_it_happens_and_leaves_no_zombie(engine: ProcessEngine) -> None:
    replica = up(engine, "web.1")
    sent = engine.signal(replica, "SIGKILL")
    eventually(lambda: proctable.look(replica.pid) is None)  # it was waited for, though nobody asked
    seen_ns = CLOCK.now_ns()
    gone = engine.wait_exit(replica, WITHIN_S)
    assert gone is not None
    assert sent.at_ns <= gone.at_ns <= seen_ns
    assert proctable.look(replica.pid) is None


def test_a_signal_to_a_zombie_is_not_delivered(engine: ProcessEngine) -> None:
    gate = threading.Event()
    engine._exits.call(partial(gate.wait, WITHIN_S))  # nobody waits for a replica that ended
    replica = engine.start(spec("web.1", "--exit", "0"))
    eventually(lambda: not is_alive(replica.pid))
    try:
        assert proctable.look(replica.pid) is not None
        assert not engine.signal(replica, "SIGTERM").delivered
    finally:
        gate.set()
    gone = engine.wait_exit(replica, WITHIN_S)
    assert gone is not None
    assert gone.status == 0


def test_what_on_exit_raises_is_not_lost(make: Make) -> None:
    def fail(_replica: Replica, _gone: Exit) -> None:
        raise OSError("the disk is full")

    engine = make("fails", fail)
    replica = engine.start(spec("web.1", "--exit", "0"))
    assert engine.wait_exit(replica, WITHIN_S) is not None
    with pytest.raises(OSError, match="the disk is full"):
        engine.close()


def test_a_double_forked_daemon_is_a_survivor_and_stays_attributed(engine: ProcessEngine) -> None:
    replica = up(engine, "web.1", "--leave", "daemon")
    other = up(engine, "web.2")
    daemon = left_pid(engine, replica, "daemon")
    engine.signal(replica, "SIGKILL")
    engine.wait_exit(replica, WITHIN_S)
    (survivor,) = engine.descendants(replica)
    assert survivor.pid == daemon
    assert "child.py" in survivor.command
    assert not survivor.listening
    assert not is_open(engine, replica)
    assert engine.descendants(other) == ()


def test_a_survivor_that_holds_the_port_is_told_and_keeps_it_open(engine: ProcessEngine) -> None:
    replica = up(engine, "web.1", "--listen", "--leave", "child")
    engine.signal(replica, "SIGKILL")
    engine.wait_exit(replica, WITHIN_S)
    (survivor,) = engine.descendants(replica)
    assert survivor.listening
    seen = engine.listening(replica)
    assert seen is not None
    assert seen.open
    engine.signal(replica, "SIGKILL", everything=True)
    eventually(lambda: not is_open(engine, replica))


def is_open(engine: ProcessEngine, replica: Replica) -> bool:
    seen = engine.listening(replica)
    return seen is not None and seen.open


def test_a_descendant_without_mark_and_session_is_known_once_it_was_seen(engine: ProcessEngine) -> None:
    replica = up(engine, "web.1", "--leave", "forgetful")
    forgetful = left_pid(engine, replica, "forgetful")
    eventually(lambda: forgetful in engine._lives["web.1"].known)  # the engine looks by itself
    engine.signal(replica, "SIGKILL")
    engine.wait_exit(replica, WITHIN_S)
    assert [process.pid for process in engine.descendants(replica)] == [forgetful]


def test_a_replica_that_overwrote_its_environment_keeps_its_descendants(engine: ProcessEngine) -> None:
    replica = up(engine, "web.1", "--forget", "--leave", "child")
    engine.signal(replica, "SIGKILL")
    engine.wait_exit(replica, WITHIN_S)
    assert len(engine.descendants(replica)) == 1


@pytest.mark.parametrize("kind", ["wiped", "leading"])
def test_a_daemon_that_shed_every_trace_is_a_survivor_of_its_replica_and_does_not_outlive_the_engine(make: Make, kind: str) -> None:
    engine = make()
    replica = up(engine, "web.1", "--leave", kind)
    other = up(engine, "web.2")
    stray = left_pid(engine, replica, kind)
    assert proctable.scan().environment(stray) == b"\0"
    engine.signal(replica, "SIGKILL")
    engine.wait_exit(replica, WITHIN_S)
    assert [process.pid for process in engine.descendants(replica)] == [stray]
    assert engine.descendants(other) == ()
    engine.close()
    assert not is_alive(stray)


@pytest.mark.parametrize("kind", ["wiped", "leading"])
def test_a_daemon_that_shed_every_trace_is_soon_on_the_list_of_the_watchdog(engine: ProcessEngine, tmp_path: Path, kind: str) -> None:
    engine._next_look_ns = CLOCK.now_ns() + 3600 * NS_PER_S  # only what a glance at the new processes shows
    replica = up(engine, "web.1", "--leave", kind)
    stray = left_pid(engine, replica, kind)
    eventually(lambda: stray in marks.recorded(tmp_path / "one"))


def test_a_stray_that_nobody_saw_come_goes_to_its_own_replica(make: Make) -> None:
    engine = make()
    engine._glance = engine._look_after = lambda: None  # type: ignore[method-assign]  # as if the machine had been too busy
    first, second = up(engine, "web.1", "--leave", "leading"), up(engine, "web.2")
    stray = left_pid(engine, first, "leading")
    engine.signal(second, "SIGKILL")  # what happens to others says nothing
    assert [process.pid for process in engine.descendants(first)] == [stray]
    assert engine.descendants(second) == ()


def test_a_stray_is_known_by_its_brand_alone_even_as_a_zombie_that_only_its_engine_waits_for(make: Make) -> None:
    engine = make()
    replica = up(engine, "web.1", "--leave", "leading")
    stray = left_pid(engine, replica, "leading")
    brand = proctable.brand_of(replica.pid or 0)
    assert brand in marks.brands(engine._context.run_id)
    assert proctable.brand_of(stray) == brand
    os.kill(stray, signal.SIGKILL)
    eventually(lambda: not engine.descendants(replica))
    eventually(lambda: proctable.look(stray) is None)


def test_a_stray_that_holds_the_port_keeps_it_open_and_is_told_as_a_listening_survivor(engine: ProcessEngine) -> None:
    replica = up(engine, "web.1", "--leave", "holder")
    engine.signal(replica, "SIGKILL")
    engine.wait_exit(replica, WITHIN_S)
    seen = engine.listening(replica)
    assert seen is not None
    assert seen.open
    assert seen.taken_by == ""
    (survivor,) = engine.descendants(replica)
    assert survivor.listening


def test_what_the_program_around_the_engine_started_is_never_touched(make: Make, tmp_path: Path) -> None:
    run_id = f"test-{tmp_path.name}-one"
    plain = marks.unmarked_environment()
    to_be_like_a_stray = plain | {"TMPDIR": str(tmp_path / "one")}

    def bystander(environment: dict[str, str], *, own_session: bool) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["/bin/sleep", "60"], env=environment, start_new_session=own_session)
        stack.callback(process.wait)
        stack.callback(process.kill)
        return process

    with ExitStack() as stack:
        before = bystander({}, own_session=True)
        engine = make()
        replica = up(engine, "web.1", "--leave", "wiped")
        bystanders = [
            before,
            bystander(plain | marks.mark_environment(run_id), own_session=True),  # as the load
            bystander(plain, own_session=True),
            bystander(plain | {"MORE": "1"}, own_session=True),
            bystander({}, own_session=False),
            bystander({}, own_session=True),
            bystander({"ONLY": "this"}, own_session=True),
            bystander(to_be_like_a_stray, own_session=True),
        ]
        engine._look_after()
        assert [process.pid for process in engine.descendants(replica)] == [left_pid(engine, replica, "wiped")]
        engine.signal(replica, "SIGKILL", everything=True)
        engine.close()
        assert [process.poll() for process in bystanders] == [None] * len(bystanders)
        assert not set(marks.recorded(tmp_path / "one")) & {process.pid for process in bystanders}


def test_what_a_thread_starts_in_the_middle_of_a_run_survives_and_daemons_of_the_app_do_not(make: Make) -> None:
    started: list[subprocess.Popen[bytes]] = []
    daemons: list[int] = []
    enough = threading.Event()

    def fixture() -> None:
        """What tests beside this one may do: services of their own, and a daemon that this process adopts."""
        while not enough.is_set() and len(started) < 100:
            started.append(subprocess.Popen(["/bin/sleep", "60"], env={}, start_new_session=True))
            if len(started) % 10 == 0:
                line = ["/bin/sh", "-c", "setsid env -i /bin/sleep 60 >/dev/null 2>&1 & echo $!"]
                daemons.append(int(subprocess.run(line, capture_output=True, check=True, start_new_session=True).stdout))

    thread = threading.Thread(target=fixture)
    thread.start()
    try:
        engine = make()
        strays = []
        for number in range(1, 6):
            replica = up(engine, f"web.{number}", "--leave", "leading", "--leave", "wiped")
            strays += [left_pid(engine, replica, kind) for kind in ("leading", "wiped")]
            engine.signal(replica, "SIGKILL", everything=True)
        eventually(lambda: daemons)
        engine.close()
        enough.set()
        thread.join()
        assert not [pid for pid in strays if is_alive(pid)]
        assert [process.poll() for process in started] == [None] * len(started)
        assert [pid for pid in daemons if not is_alive(pid)] == []
    finally:
        enough.set()
        thread.join()
        for process in started:
            process.kill()
            process.wait()
        for pid in daemons:
            os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):  # this process adopted it, or the first one did
                os.waitpid(pid, 0)


def test_a_daemon_of_somebody_else_that_ended_is_left_for_whoever_waits_for_it(make: Make) -> None:
    engine = make()
    replica = up(engine, "web.1")
    with subprocess.Popen(["/bin/sh", "-c", "exit 7"], env={}, start_new_session=True) as other:
        eventually(lambda: not is_alive(other.pid))
        engine._look_after()
        engine.descendants(replica)
        engine.close()
        assert other.wait() == 7


@pytest.mark.parametrize("shell", ["setsid env -i /bin/sleep 60 & wait", "(setsid env -i /bin/sleep 60 &) ; sleep 60"])
def test_what_a_fast_program_leaves_as_soon_as_it_runs_does_not_outlive_the_engine(make: Make, tmp_path: Path, shell: str) -> None:
    engine = make()
    for number in range(5):
        said = ReplicaSpec(name=f"web.{number}", process="web", argv=("/bin/sh", "-c", shell), environment={}, working_dir=tmp_path)
        replica = engine.start(said)
        brand = proctable.brand_of(replica.pid or 0)

        def branded(brand: int = brand) -> list[int]:
            return [pid for pid in proctable.scan().procs if proctable.brand_of(pid) == brand and _is_sleep(pid)]

        eventually(branded)
    engine.close()
    assert not [pid for pid in proctable.scan().procs if proctable.brand_of(pid) in engine._brands and is_alive(pid)]


def _is_sleep(pid: int) -> bool:
    proc = proctable.look(pid)
    return proc is not None and proc.name == "sleep"


def test_a_descendant_that_ended_is_none_and_no_zombie_of_it_stays(engine: ProcessEngine) -> None:
    replica = up(engine, "web.1", "--leave", "daemon")
    daemon = left_pid(engine, replica, "daemon")
    assert engine.descendants(replica)
    os.kill(daemon, signal.SIGKILL)
    eventually(lambda: not engine.descendants(replica))
    eventually(lambda: proctable.look(daemon) is None)


def test_waiting_for_descendants_takes_no_status_from_other_children(engine: ProcessEngine) -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(5)"]) as bystander:
        replica = up(engine, "web.1", "--leave", "daemon")
        eventually(lambda: not is_alive(bystander.pid))
        engine.descendants(replica)
        engine._look_after()
        assert bystander.wait() == 5


def test_a_process_that_forks_faster_than_one_can_look_is_killed_with_its_group(engine: ProcessEngine) -> None:
    replica = up(engine, "web.1", "--leave", "hopping")
    assert engine.signal(replica, "SIGKILL", everything=True).delivered
    engine.wait_exit(replica, WITHIN_S)
    eventually(lambda: not has_group(replica.pid))


def has_group(group: int) -> bool:
    """Whether anybody is in a process group, as the kernel tells it, which misses nobody."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_signal_to_everything_reaches_each_descendant(engine: ProcessEngine) -> None:
    replica = up(engine, "web.1", "--on-term", "ignore", "--leave", "child", "--leave", "daemon")
    assert engine.signal(replica, "SIGTERM", everything=True).delivered
    eventually(lambda: not engine.descendants(replica))
    assert engine.wait_exit(replica, 0) is None


def test_two_engines_side_by_side_know_their_own_only(make: Make) -> None:
    one, two = make("left"), make("right")
    mine, yours = up(one, "web.1", "--leave", "daemon", "--listen"), up(two, "web.1", "--leave", "daemon", "--listen")
    assert mine.port != yours.port
    assert {process.pid for process in one.descendants(mine)} == {left_pid(one, mine, "daemon")}
    one.close()
    assert two.wait_exit(yours, 0) is None
    assert len(two.descendants(yours)) == 1


def test_descendants_come_to_the_harness_while_an_engine_is_open_and_no_longer(make: Make) -> None:
    before = proctable._subreaper()
    engine = make()
    assert proctable._subreaper() == 1
    engine.close()
    assert proctable._subreaper() == before


def test_a_replica_that_writes_much_is_not_held_up_and_its_log_is_bounded(engine: ProcessEngine, tmp_path: Path) -> None:
    replica = up(engine, "web.1", "--write", "60000")
    path = tmp_path / "one" / "web.1.log"
    assert engine.log_tail(replica, 2)[0].startswith("line 59999 ")
    engine.signal(replica, "SIGKILL")
    engine.wait_exit(replica, WITHIN_S)
    eventually(lambda: len(list(path.parent.glob("web.1.log*"))) == 1)
    text = path.read_bytes()
    assert text.startswith(b"line 0 ")
    assert text.endswith(b"ready\n")
    assert b" bytes left out ...]" in text
    assert len(text) < 3 << 20


def test_the_last_lines_are_there_after_a_sudden_death(engine: ProcessEngine) -> None:
    text = "echo one; echo two; kill -KILL $$"
    replica = engine.start(command(Path.cwd(), "sh", "-c", text))
    gone = engine.wait_exit(replica, WITHIN_S)
    assert gone is not None
    assert gone.status == 137
    assert engine.log_tail(replica, 5) == ("one", "two")


def test_a_survivor_that_holds_the_log_open_delays_nothing_and_is_still_heard(engine: ProcessEngine) -> None:
    replica = engine.start(command(Path.cwd(), "sh", "-c", "sleep 60 & (sleep 0.1; echo later) & echo now"))
    assert engine.wait_exit(replica, WITHIN_S) is not None
    assert "now" in engine.log_tail(replica, 5)
    eventually(lambda: engine.log_matches(replica, "^later$"))


def test_a_port_that_somebody_else_took_is_not_the_replicas(engine: ProcessEngine) -> None:
    first = up(engine, "web.1", "--listen")
    engine.signal(first, "SIGKILL")
    engine.wait_exit(first, WITHIN_S)
    with socket.create_server((first.host, first.port)):
        second = engine.start(spec("web.2", "--listen", port=first.port))
        seen = engine.listening(second)
        assert seen is not None
        assert not seen.open
        assert f"(pid {os.getpid()})" in seen.taken_by
        gone = engine.wait_exit(second, WITHIN_S)
        assert gone is not None
        assert gone.status == 1


def test_connections_that_wait_to_be_accepted_are_counted(engine: ProcessEngine) -> None:
    replica = up(engine, "web.1", "--listen")
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection((replica.host, replica.port)))

        def backlog() -> int:
            seen = engine.listening(replica)
            assert seen is not None
            return seen.backlog

        eventually(lambda: backlog() == 3)  # a client is connected before its last packet has arrived


def test_closing_takes_what_was_never_listed(make: Make, tmp_path: Path) -> None:
    engine = make("lost")
    environment = {**os.environ, **marks.mark_environment(f"test-{tmp_path.name}-lost", "web.9")}
    with subprocess.Popen([sys.executable, str(CHILD)], env=environment, stdout=subprocess.DEVNULL, start_new_session=True) as lost:
        engine.close()
        assert lost.wait() == -signal.SIGKILL


def test_replicas_can_be_started_from_many_threads(engine: ProcessEngine) -> None:
    replicas: list[Replica] = []
    threads = [threading.Thread(target=lambda n=n: replicas.append(engine.start(spec(f"web.{n}")))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({replica.port for replica in replicas}) == 8
    assert len({replica.pid for replica in replicas}) == 8


def states(engine: ProcessEngine, replica: Replica) -> set[str]:
    pids = [replica.pid, *(process.pid for process in engine.descendants(replica))]
    return {proc.state for pid in pids if (proc := proctable.look(pid)) is not None}


@pytest.mark.parametrize("kind", ["child", "leading"])
def test_a_pause_stops_the_replica_with_all_its_descendants_until_it_is_resumed(engine: ProcessEngine, kind: str) -> None:
    replica = up(engine, "web.1", "--leave", kind)
    stray = left_pid(engine, replica, kind)
    eventually(lambda: stray in {process.pid for process in engine.descendants(replica)})
    sent = engine.pause(replica)
    assert sent.delivered
    assert sent.at_ns <= sent.until_ns
    eventually(lambda: states(engine, replica) == {"T"})
    assert engine.wait_exit(replica, 0) is None
    assert engine.resume(replica).delivered
    eventually(lambda: "T" not in states(engine, replica))
    assert engine.resume(replica).delivered  # which is no error and does nothing


def test_a_replica_that_is_gone_can_be_neither_paused_nor_resumed(engine: ProcessEngine) -> None:
    replica = up(engine, "web.1")
    engine.signal(replica, "SIGKILL")
    engine.wait_exit(replica, WITHIN_S)
    assert not engine.pause(replica).delivered
    assert not engine.resume(replica).delivered


def test_a_paused_replica_does_not_outlive_the_engine(make: Make) -> None:
    engine = make()
    replica = up(engine, "web.1", "--leave", "child")
    child = left_pid(engine, replica, "child")
    engine.pause(replica)
    engine.close()
    assert not is_alive(replica.pid)
    assert not is_alive(child)
