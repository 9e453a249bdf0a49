"""Scratch folders: whose they are, and that one goes with all that is in it, once nothing else is recorded there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import marks, proctable
from harness.cleanup.base import OF_EARLIER_BOOT, Order, Swept, Trace
from harness.cleanup.folders import ScratchFolders, is_ours
from harness.clock import NS_PER_S, MonotonicClock

CLOCK = MonotonicClock()
FOLDERS = ScratchFolders()


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scratch folders of these tests are apart from those of real runs."""
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setenv("TMPDIR", str(root))
    return root


def order(run_id: str = "a-run", within_s: float = 5.0) -> Order:
    return Order(run_id=run_id, deadline_ns=CLOCK.now_ns() + round(within_s * NS_PER_S), clock=CLOCK, fresh=True)


def owned_by(folder: Path, owner: str = "1:1", namespace: str = "", boot: str = "") -> None:
    namespace, boot = namespace or proctable.namespace(os.getpid()), boot or marks.boot_id()
    (folder / marks.OWNER_FILE).write_text(f"{owner} {namespace} {boot}\n")


def test_a_folder_is_found_with_its_owner() -> None:
    folder = marks.make_scratch("a-run")
    assert FOLDERS.traces() == {"a-run": Trace(owners=frozenset({marks.owner()}), things=(f"folder {folder}",))}


def test_a_folder_that_does_not_say_whose_it_is_has_no_owner(root: Path) -> None:
    (root / "jetable-a-run").mkdir()
    assert FOLDERS.traces()["a-run"].owners == frozenset()


def test_a_folder_of_another_pid_namespace_is_not_found_and_one_of_an_earlier_boot_is_nobodys() -> None:
    owned_by(marks.make_scratch("elsewhere"), namespace="pid:[1]")
    owned_by(marks.make_scratch("before"), namespace="pid:[1]", boot="earlier")
    traces = FOLDERS.traces()
    assert set(traces) == {"before"}
    assert traces["before"].owners == {OF_EARLIER_BOOT}


def test_a_file_and_a_link_are_not_ours(root: Path, tmp_path: Path) -> None:
    (root / "jetable-file").touch()
    (tmp_path / "somewhere").mkdir()
    (root / "jetable-link").symlink_to(tmp_path / "somewhere")
    assert not any(map(is_ours, (root / "jetable-file", root / "jetable-link", root / "jetable-none")))
    assert is_ours(tmp_path)
    assert FOLDERS.traces() == {}


def test_removal_takes_the_folder_with_all_that_is_in_it() -> None:
    folder = marks.make_scratch("a-run")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "file").touch()
    assert FOLDERS.remove(order()) == Swept(removed=(f"folder {folder}",))
    assert not folder.exists()
    assert FOLDERS.remove(order()) == Swept()


def test_a_folder_that_notes_an_engine_stays_until_that_is_forgotten() -> None:
    folder = marks.make_scratch("a-run")
    marks.record_daemon(folder, "unix:///nowhere.sock")
    (left,) = FOLDERS.remove(order()).left
    assert str(folder) in left
    assert folder.is_dir()
    marks.forget_daemon(folder)
    assert FOLDERS.remove(order()).removed


def test_what_can_not_be_removed_is_said_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_folder: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    folder = marks.make_scratch("a-run")
    with monkeypatch.context() as patched:
        patched.setattr("harness.cleanup.folders.shutil.rmtree", refuse)
        assert FOLDERS.remove(order(within_s=0.02)) == Swept(left=(f"folder {folder} (Operation not permitted)",))
    assert FOLDERS.remove(order()).removed
