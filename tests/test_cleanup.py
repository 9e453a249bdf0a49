"""Nothing of a run is left, however its harness ended."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO

import pytest

from harness import marks, proctable
from harness.cleanup import make_scratch
from harness.cleanup.base import Order, Swept, Trace
from harness.cleanup.deposits import Deposits
from harness.cleanup.docker import DockerThings
from harness.cleanup.folders import ScratchFolders
from harness.cleanup.processes import Processes
from harness.cleanup.removal import CLEANERS, clean_run, clean_stale
from harness.cleanup.watchdog import start_watchdog
from harness.clock import NS_PER_S, MonotonicClock
from harness.errors import UsageError
from harness.services import deposits
from harness.services.deposits import QueueDeposit

HELPERS = Path(__file__).parent / "helpers"
ROOT = Path(__file__).parent.parent
CLOCK = MonotonicClock()
GONE_WITHIN_S = 30.0  # half of what the doomed live by themselves; a busy machine takes many seconds for some looks at all processes
DEAD_OWNER = "1:1"


def eventually(condition: Callable[[], object], within_s: float = 20.0) -> None:
    deadline_ns = CLOCK.now_ns() + round(within_s * NS_PER_S)
    while not condition():
        assert CLOCK.now_ns() < deadline_ns, "it never happened"
        CLOCK.sleep(0.005)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scratch folders of these tests are apart from those of real runs."""
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setenv("TMPDIR", str(root))
    return root


class OwnRunsOnly(Processes):
    """What `clean_stale` finds is limited to the runs of this test process: others may test at the same time."""

    def traces(self) -> dict[str, Trace]:
        """Those of this test process."""
        return {run_id: trace for run_id, trace in super().traces().items() if run_id.startswith(f"test-{os.getpid()}-")}


class OwnThingsOnly(DockerThings):
    """The same of what is on a Docker engine, which outlives the tests that left it there."""

    def traces(self) -> dict[str, Trace]:
        """Those of this test process."""
        return {run_id: trace for run_id, trace in super().traces().items() if run_id.startswith(f"test-{os.getpid()}-")}


@pytest.fixture(autouse=True)
def own_runs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLEANERS, "processes", OwnRunsOnly())
    monkeypatch.setitem(CLEANERS, "things of Docker", OwnThingsOnly())


@pytest.fixture
def run_id(tmp_path: Path) -> Iterator[str]:
    """A run of which nothing is left at the end of the test."""
    name = f"test-{os.getpid()}-{tmp_path.name}"
    yield name
    clean_run(name)


@pytest.fixture
def started() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def child(stack: ExitStack, environment: dict[str, str], *options: str) -> subprocess.Popen[str]:
    """A marked process that is ready; it is killed and waited for at the end."""
    process = subprocess.Popen(
        [sys.executable, str(HELPERS / "child.py"), *options],
        env=marks.unmarked_environment() | environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    stack.callback(process.communicate)
    stack.callback(process.kill)
    read_until(process.stdout, "ready")
    return process


def read_until(lines: IO[str] | None, wanted: str) -> list[str]:
    assert lines is not None
    read = []
    for line in lines:
        read.append(line.strip())
        if line.strip() == wanted:
            return read
    raise AssertionError(f"it ended without {wanted!r}: {read}")


def marked(run_id: str) -> list[int]:
    table = proctable.scan()
    mark = marks.needle(marks.RUN, run_id)
    return [proc.pid for proc in table.procs.values() if proc.alive and mark in table.environment(proc.pid)]


def is_alive(pid: int) -> bool:
    proc = proctable.look(pid)
    return proc is not None and proc.alive


def test_a_run_of_which_nothing_is_left_is_clean(run_id: str) -> None:
    result = clean_run(run_id)
    assert (result.removed, result.left) == ((), ())


def test_a_run_id_that_is_none_is_refused() -> None:
    for act in (clean_run, start_watchdog):
        with pytest.raises(UsageError):
            act("../etc")


@pytest.mark.slow
@pytest.mark.live
def test_all_that_carries_the_mark_is_removed_and_nothing_else(run_id: str, started: ExitStack) -> None:
    mine = [child(started, marks.mark_environment(run_id)), child(started, marks.mark_environment(run_id), "--leave", "daemon")]
    other = child(started, marks.mark_environment(f"{run_id}-other"))
    folder = make_scratch(run_id)
    (folder / "file").write_text("x")
    result = clean_run(run_id)
    assert result.left == ()
    assert len(result.removed) == 4
    assert f"folder {folder}" in result.removed
    assert [process.wait() for process in mine] == [-signal.SIGKILL, -signal.SIGKILL]
    assert marked(run_id) == []
    assert not folder.exists()
    assert other.poll() is None


@pytest.mark.slow
@pytest.mark.live
def test_a_process_that_lost_its_mark_is_found_by_the_list_with_its_whole_session(run_id: str, started: ExitStack) -> None:
    folder = make_scratch(run_id)
    listed = child(started, marks.mark_environment(run_id), "--forget", "--leave", "child")
    proc = proctable.look(listed.pid)
    assert proc is not None
    marks.record_process(folder, proc)
    assert marked(run_id) == []
    session = [each.pid for each in proctable.scan().procs.values() if each.session == listed.pid]
    assert len(session) == 2
    clean_run(run_id)
    eventually(lambda: not any(map(is_alive, session)))


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.slow
def test_a_process_that_nobody_listed_and_that_shed_all_else_is_found_by_its_brand(run_id: str, started: ExitStack) -> None:
    make_scratch(run_id)
    wiped = started.enter_context(subprocess.Popen(["/bin/sleep", "60"], env={}, start_new_session=True))
    bystander = started.enter_context(subprocess.Popen(["/bin/sleep", "60"], env={}, start_new_session=True))
    started.callback(bystander.kill)
    proc = proctable.look(wiped.pid)
    assert proc is not None
    assert proctable.brand(proc, marks.brands(run_id)[3])
    assert clean_run(run_id).removed
    assert wiped.wait() == -signal.SIGKILL
    assert bystander.poll() is None


def test_a_listed_pid_that_a_stranger_uses_by_now_is_left_alone(run_id: str, started: ExitStack) -> None:
    folder = make_scratch(run_id)
    stranger = child(started, {})
    (folder / "pids").write_text(f"{stranger.pid}:1\n")
    clean_run(run_id)
    assert stranger.poll() is None


@pytest.mark.slow
@pytest.mark.live
def test_this_process_and_its_ancestors_are_never_removed(run_id: str) -> None:
    text = f"from harness.cleanup import clean_run; print(len(clean_run({run_id!r}).removed))"
    environment = {**os.environ, **marks.mark_environment(run_id)}
    shell = f'{sys.executable} -c "{text}"; echo alive'
    result = subprocess.run(["/bin/sh", "-c", shell], env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["0", "alive"]


def test_a_folder_is_removed_even_when_the_app_protected_it(run_id: str) -> None:
    folder = make_scratch(run_id)
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_text("x")
    (folder / "sub").chmod(0o500)
    clean_run(run_id)
    assert not folder.exists()


def test_a_link_at_the_place_of_a_folder_is_not_followed(run_id: str, root: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (root / f"jetable-{run_id}").symlink_to(precious)
    clean_run(run_id)
    clean_stale()
    assert precious.exists()


def test_a_cleaner_that_fails_does_not_keep_the_others_from_their_work(run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Processes):
        def remove(self, order: Order) -> Swept:
            raise OSError(f"can't clean {order.run_id}")

    monkeypatch.setitem(CLEANERS, "processes", Broken())
    folder = make_scratch(run_id)
    result = clean_run(run_id)
    assert result.left == (f"processes: OSError: can't clean {run_id}",)
    assert not folder.exists()


@pytest.mark.slow
@pytest.mark.live
def test_a_living_run_is_not_stale(run_id: str, started: ExitStack) -> None:
    folder = make_scratch(run_id)
    process = child(started, marks.mark_environment(run_id))
    assert run_id not in [stale.run_id for stale in clean_stale()]
    assert folder.exists()
    assert process.poll() is None


@pytest.mark.slow
@pytest.mark.live
def test_a_run_whose_owner_is_gone_is_stale_and_a_dry_run_only_says_so(run_id: str, started: ExitStack) -> None:
    folder = make_scratch(run_id)
    (folder / "owner").write_text(f"{DEAD_OWNER} {proctable.namespace(os.getpid())} {marks.boot_id()}\n")
    process = child(started, marks.mark_environment(run_id) | {marks.OWNER: DEAD_OWNER})
    (said,) = [stale for stale in clean_stale(dry_run=True) if stale.run_id == run_id]
    assert process.poll() is None
    assert f"process {process.pid} " in str(said)
    assert f"folder {folder} of run {run_id}" in str(said)
    (done,) = [stale for stale in clean_stale() if stale.run_id == run_id]
    assert done.things == said.things
    assert done.left == ()
    assert process.wait() == -signal.SIGKILL
    assert not folder.exists()
    assert run_id not in [stale.run_id for stale in clean_stale()]


def test_a_stale_run_that_is_younger_than_wanted_is_left_alone(run_id: str) -> None:
    young = proctable.look(os.getpid())
    assert young is not None
    folder = make_scratch(run_id)
    (folder / "owner").write_text(f"{2**22}:{young.started} {proctable.namespace(os.getpid())} {marks.boot_id()}\n")
    assert run_id not in [stale.run_id for stale in clean_stale(older_than_s=3600 * 24)]
    assert folder.exists()
    assert run_id in [stale.run_id for stale in clean_stale(older_than_s=0)]


def test_a_folder_of_another_pid_namespace_is_left_alone_and_one_of_an_earlier_boot_is_stale(run_id: str) -> None:
    folder = make_scratch(run_id)
    (folder / "owner").write_text(f"{DEAD_OWNER} pid:[1] {marks.boot_id()}\n")
    assert run_id not in [stale.run_id for stale in clean_stale()]
    (folder / "owner").write_text(f"{marks.owner()} pid:[1] another-boot\n")
    assert run_id in [stale.run_id for stale in clean_stale(older_than_s=3600)]


@pytest.mark.slow
def test_a_folder_without_an_owner_is_stale_when_none_comes(run_id: str, root: Path) -> None:
    (root / f"jetable-{run_id}").mkdir()
    assert [stale.run_id for stale in clean_stale()] == [run_id]


@pytest.mark.slow
@pytest.mark.live
def test_a_dismissed_watchdog_leaves_everything_to_the_harness(run_id: str, started: ExitStack) -> None:
    process = child(started, marks.mark_environment(run_id))
    watchdog = start_watchdog(run_id)
    assert watchdog.dismiss()
    assert watchdog.dismiss()
    assert not is_alive(watchdog.pid)
    assert process.poll() is None


@pytest.mark.slow
@pytest.mark.live
def test_a_watchdog_that_was_killed_is_told_at_the_end(run_id: str) -> None:
    watchdog = start_watchdog(run_id)
    os.kill(watchdog.pid, signal.SIGKILL)
    assert not watchdog.dismiss()


@pytest.mark.slow
@pytest.mark.live
def test_a_watchdog_is_deaf_to_stop_signals_and_to_ctrl_c(run_id: str) -> None:
    watchdog = start_watchdog(run_id)
    status = Path(f"/proc/{watchdog.pid}/status")
    wanted = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}

    def ignored() -> set[int]:
        mask = int(status.read_text().partition("SigIgn:")[2].split()[0], 16)
        return {number for number in wanted if mask >> (number - 1) & 1}

    eventually(lambda: ignored() == wanted)
    proc = proctable.look(watchdog.pid)
    assert proc is not None
    assert proc.session == watchdog.pid
    assert watchdog.dismiss()


@pytest.mark.slow
@pytest.mark.live
def test_a_watchdog_that_is_handed_the_rest_removes_it_where_it_is(
    run_id: str, started: ExitStack, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    monkeypatch.setenv("TMPDIR", root.name)
    process = child(started, marks.mark_environment(run_id))
    watchdog = start_watchdog(run_id)
    folder = make_scratch(run_id)
    watchdog.hand_over()
    assert process.wait() == -signal.SIGKILL
    eventually(lambda: not folder.exists() and not is_alive(watchdog.pid), GONE_WITHIN_S)
    watchdog.dismiss()


def killed_harness(stack: ExitStack, run_id: str, tmp_path: Path, *options: str) -> subprocess.Popen[str]:
    logs = tmp_path / "logs"
    logs.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, str(HELPERS / "doomed.py"), run_id, str(logs), *options],
        env={**marks.unmarked_environment(), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.callback(process.communicate)
    stack.callback(process.kill)
    return process


def assert_nothing_is_left(run_id: str, pids: list[int], watchdog: int) -> None:
    eventually(lambda: not marked(run_id) and not marks.scratch_folder(run_id).exists(), GONE_WITHIN_S)
    eventually(lambda: not is_alive(watchdog), GONE_WITHIN_S)
    assert [pid for pid in pids if is_alive(pid)] == []


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize(
    "replica",
    ["--listen", "--on-term ignore --leave child", "--leave daemon", "--forget --leave child", "--leave hopping"],
)
def test_after_sigkill_of_the_harness_nothing_is_left(run_id: str, tmp_path: Path, started: ExitStack, replica: str) -> None:
    started.callback(proctable.Adoption().close)  # what the harness leaves comes to this process, where it can be waited for
    harness = killed_harness(started, run_id, tmp_path, "--", *replica.split())
    lines = read_until(harness.stdout, "ready")
    pids = [pid for pid in marks.recorded(marks.scratch_folder(run_id)) if is_alive(pid)]
    assert len(pids) >= 2
    harness.kill()
    assert_nothing_is_left(run_id, pids, int(lines[0].split()[1]))
    eventually(lambda: not any(map(has_group, pids)), GONE_WITHIN_S)


@pytest.mark.slow
@pytest.mark.live
def test_after_sigkill_of_the_harness_no_daemon_is_left_that_shed_every_trace(run_id: str, tmp_path: Path, started: ExitStack) -> None:
    started.callback(proctable.Adoption().close)
    harness = killed_harness(started, run_id, tmp_path, "--", "--leave", "wiped", "--leave", "leading")
    lines = read_until(harness.stdout, "ready")
    text = "".join(log.read_text() for log in (tmp_path / "logs").glob("web.*.log"))
    strays = [int(line.split()[2]) for line in text.splitlines() if line.startswith("left ")]
    assert len(strays) == 4
    eventually(lambda: set(strays) <= set(marks.recorded(marks.scratch_folder(run_id))))
    harness.kill()
    eventually(lambda: not any(map(is_alive, strays)), GONE_WITHIN_S)
    assert_nothing_is_left(run_id, strays, int(lines[0].split()[1]))


def has_group(group: int) -> bool:
    """Whether anybody is in a process group, as the kernel tells it, which misses nobody; zombies that came to us are taken first."""
    try:
        while os.waitpid(-group, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        pass
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.live
def test_after_sigkill_of_the_harness_while_it_starts_replicas_nothing_is_left(run_id: str, tmp_path: Path, started: ExitStack) -> None:
    harness = killed_harness(started, run_id, tmp_path, "--endless", "--", "--listen")
    lines = read_until(harness.stdout, "starting")
    harness.kill()
    assert_nothing_is_left(run_id, [], int(lines[0].split()[1]))


@pytest.mark.slow
@pytest.mark.live
def test_after_sigkill_of_the_harness_before_the_watchdog_is_up_nothing_is_left(run_id: str, tmp_path: Path, started: ExitStack) -> None:
    harness = killed_harness(started, run_id, tmp_path, "--endless", "--", "--listen")
    assert harness.stdout is not None
    watchdog = int(harness.stdout.readline().split()[1])
    harness.kill()
    harness.wait()
    assert_nothing_is_left(run_id, [], watchdog)


# --- what a run has made in services that others use


def sqlite_of_others(folder: Path) -> tuple[Path, QueueDeposit]:
    path = folder / "theirs.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE theirs (id INTEGER)")
        db.execute("CREATE TABLE jetable_2fecf0_jobs (id INTEGER)")
    return path, QueueDeposit(service="sqlite", url=f"sqlite:///{path}", form="table", names=("jetable_2fecf0_jobs",), options={})


def tables(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [name for (name,) in db.execute("SELECT name FROM sqlite_master ORDER BY 1")]


def test_what_a_run_has_made_in_a_service_of_others_goes_with_it(run_id: str, tmp_path: Path) -> None:
    path, deposit = sqlite_of_others(tmp_path)
    scratch = make_scratch(run_id)
    deposits.record(scratch, deposit)
    assert clean_run(run_id).left == ()
    assert tables(path) == ["theirs"]
    assert not scratch.exists()


@pytest.mark.slow
def test_the_watchdog_takes_it_out_when_the_harness_dies(run_id: str, tmp_path: Path) -> None:
    path, deposit = sqlite_of_others(tmp_path)
    watchdog, scratch = start_watchdog(run_id), make_scratch(run_id)
    deposits.record(scratch, deposit)
    watchdog.hand_over()
    eventually(lambda: not scratch.exists())
    assert tables(path) == ["theirs"]


def test_what_a_service_does_not_let_go_is_told_and_stays_on_record(run_id: str, tmp_path: Path) -> None:
    path, deposit = sqlite_of_others(tmp_path)
    scratch = make_scratch(run_id)
    deposits.record(scratch, deposit)
    good = path.read_bytes()
    path.write_bytes(b"no file of SQLite" * 100)
    left = Deposits().remove(Order(run_id=run_id, deadline_ns=0, clock=CLOCK, fresh=True)).left
    assert left == (f"jetable_2fecf0_jobs in sqlite at {path} (SQLite, {path}: file is not a database)",)
    assert ScratchFolders().remove(Order(run_id=run_id, deadline_ns=0, clock=CLOCK, fresh=True)).left == (
        f"folder {scratch} (it notes where the rest is)",
    )
    path.write_bytes(good)
    assert clean_run(run_id).left == ()
    assert (tables(path), scratch.exists()) == (["theirs"], False)


@pytest.mark.parametrize("written", [b"", b'{"kind":"queue","serv'], ids=["nothing", "half a line"])
def test_a_record_of_what_was_never_made_keeps_no_folder(run_id: str, written: bytes) -> None:
    scratch = make_scratch(run_id)
    (scratch / marks.DEPOSITS_FILE).write_bytes(written)
    removed = clean_run(run_id)
    assert (removed.left, removed.removed, scratch.exists()) == ((), (f"folder {scratch}",), False)


def test_a_dead_run_tells_what_it_may_have_left_in_a_service(run_id: str, tmp_path: Path) -> None:
    path, deposit = sqlite_of_others(tmp_path)
    scratch = make_scratch(run_id)
    deposits.record(scratch, deposit)
    (scratch / marks.OWNER_FILE).write_text(f"{DEAD_OWNER} {proctable.namespace(os.getpid())} {marks.boot_id()}\n")
    (stale,) = clean_stale(dry_run=True)
    assert (stale.run_id, set(stale.things)) == (run_id, {f"folder {scratch}", str(deposit)})
    assert tables(path) == ["jetable_2fecf0_jobs", "theirs"]
    clean_stale()
    assert tables(path) == ["theirs"]
