"""The mark of a run, its owner and its scratch folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import marks, proctable
from harness.errors import MachineError, UsageError
from harness.proctable import Proc


def listed(pid: int, started: int) -> Proc:
    return Proc(pid=pid, parent=1, group=pid, session=pid, state="S", started=started, name="app")


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_the_marks_name_the_run_its_owner_and_the_replica() -> None:
    assert marks.mark_environment("r") == {"JETABLE_RUN": "r", "JETABLE_OWNER": marks.owner()}
    assert marks.mark_environment("r", "web.1")["JETABLE_REPLICA"] == "web.1"


def test_the_brands_of_two_runs_are_apart_and_are_numbers_that_a_limit_can_hold() -> None:
    one, other = marks.brands("one"), marks.brands("other")
    assert one == marks.brands("one")
    assert len(one) >= 10_000
    assert not set(one) & set(other)
    assert 1 << 32 < one[0] < one[-1] < 1 << 63


def test_an_owner_lives_as_long_as_its_process_and_no_other_one_with_its_pid() -> None:
    assert marks.owner_alive(marks.owner())
    pid, _, started = marks.owner().partition(":")
    assert not marks.owner_alive(f"{pid}:{int(started) + 1}")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        proc = proctable.look(child.pid)
        assert proc is not None
        owner = f"{proc.pid}:{proc.started}"
        assert marks.owner_alive(owner)
        child.kill()
        child.wait()
        assert not marks.owner_alive(owner)


@pytest.mark.parametrize("owner", ["", "12", ":", "a:b", "-1:2", "1:", "of an earlier boot"])
def test_what_is_no_owner_does_not_live_and_is_old(owner: str) -> None:
    assert not marks.owner_alive(owner)
    assert marks.owner_age_s(owner) == float("inf")


def test_an_owner_has_an_age_and_one_from_the_future_is_of_an_earlier_boot() -> None:
    assert 0 <= marks.owner_age_s(marks.owner()) < 24 * 3600
    assert marks.owner_age_s(f"1:{10**12}") == float("inf")


def test_a_variable_is_found_whole_or_not_at_all() -> None:
    environment = b"\0A=1\0JETABLE_RUN=abc\0XJETABLE_RUN=d\0"
    assert marks.needle(marks.RUN, "abc") in environment
    assert marks.needle(marks.RUN, "ab") not in environment
    assert marks.needle(marks.RUN, "d") not in environment
    assert marks.value_of(environment, marks.RUN) == "abc"
    assert marks.value_of(environment, marks.OWNER) == ""


def test_a_scratch_folder_is_private_and_says_who_made_it(root: Path) -> None:
    folder = marks.make_scratch("r-1")
    assert folder == root / "jetable-r-1"
    assert folder.stat().st_mode & 0o777 == 0o700
    made_by = marks.scratch_owner(folder)
    assert made_by is not None
    assert (made_by.owner, made_by.namespace, made_by.boot) == (marks.owner(), proctable.namespace(os.getpid()), marks.boot_id())
    with pytest.raises(MachineError, match="File exists"):
        marks.make_scratch("r-1")


def test_a_folder_that_does_not_say_who_made_it_has_no_owner(root: Path) -> None:
    assert marks.scratch_owner(root) is None
    (root / "owner").write_text("half")
    assert marks.scratch_owner(root) is None


@pytest.mark.parametrize("run_id", ["", "../x", "a/b", "a\0b"])
def test_a_run_id_can_not_lead_out_of_the_root(run_id: str) -> None:
    with pytest.raises(UsageError):
        marks.scratch_folder(run_id)


def test_listed_processes_are_read_back_and_a_torn_line_does_no_harm() -> None:
    folder = marks.make_scratch("r-1")
    assert marks.recorded(folder) == {}
    for proc in (listed(10, 5), listed(11, 6), listed(10, 7)):
        marks.record_process(folder, proc)
    with (folder / "pids").open("a") as file:
        file.write("12:")
    assert marks.recorded(folder) == {10: 7, 11: 6}


def test_the_list_of_an_earlier_boot_means_nothing() -> None:
    folder = marks.make_scratch("r-1")
    marks.record_process(folder, listed(10, 5))
    (folder / "owner").write_text("1:2 pid:[3] another-boot\n")
    assert marks.recorded(folder) == {}


def test_the_engine_that_may_hold_things_of_a_run_is_noted_until_nothing_is_left_there() -> None:
    folder = marks.make_scratch("r-1")
    assert marks.recorded_daemon(folder) == ""
    marks.record_daemon(folder, "unix:///run/one.sock")
    marks.record_daemon(folder, "tcp://10.0.0.1:2376")
    assert marks.recorded_daemon(folder) == "tcp://10.0.0.1:2376"
    assert {path.name for path in folder.iterdir()} == {"owner", "daemon"}
    folder.chmod(0o500)
    marks.forget_daemon(folder)
    assert marks.recorded_daemon(folder) == ""
    marks.forget_daemon(folder)


def test_nothing_may_be_made_on_an_engine_that_can_not_be_noted(root: Path) -> None:
    with pytest.raises(MachineError, match="TMPDIR"):
        marks.record_daemon(root / "not there", "unix:///run/one.sock")
    marks.forget_daemon(root / "not there")
