"""What can be read of a container from outside it."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from harness.engines.docker_evidence import (
    ADDED,
    CHANGED,
    DELETED,
    changed_paths,
    layers_of,
    memory_used,
    overlay_changes,
    processes_of,
    scratch_archive,
    uid_of,
)
from harness.history import Process


def test_a_folder_that_changed_because_of_what_is_in_it_is_left_out() -> None:
    changes = [(CHANGED, "/app"), (ADDED, "/app/new"), (ADDED, "/app/new/file"), (CHANGED, "/app/code.py"), (DELETED, "/etc/motd")]
    assert changed_paths(changes, ()) == ("C /app/code.py", "A /app/new/file", "D /etc/motd")


def test_a_folder_that_is_new_and_empty_or_gone_with_all_in_it_is_told() -> None:
    assert changed_paths([(ADDED, "/app/empty"), (DELETED, "/srv"), (DELETED, "/srv/file")], ()) == (
        "A /app/empty",
        "D /srv",
        "D /srv/file",
    )


def test_the_place_of_a_mount_is_left_out_with_the_folders_above_it_but_not_what_is_beside_it() -> None:
    changes = [(ADDED, "/a"), (ADDED, "/a/b"), (ADDED, "/a/b/data"), (ADDED, "/a/c")]
    assert changed_paths(changes, ["/a/b/data"]) == ("A /a/c",)
    assert changed_paths([(ADDED, "/data"), (ADDED, "/database")], ["/data"]) == ("A /database",)


def test_nothing_changed_tells_nothing() -> None:
    assert changed_paths([], ["/data"]) == ()


@pytest.mark.parametrize(
    "driver",
    [{}, {"Name": "vfs", "Data": None}, {"Name": "overlay2", "Data": None}, {"Name": "overlay2", "Data": {"UpperDir": "/u"}}],
)
def test_layers_are_known_of_overlays_only(driver: object) -> None:
    assert layers_of({"GraphDriver": driver}) is None
    assert layers_of({"GraphDriver": {"Name": "overlay2", "Data": {"UpperDir": "/u", "LowerDir": "/a:/b"}}}) == (
        Path("/u"),
        (Path("/a"), Path("/b")),
    )


def test_what_stands_in_a_lower_layer_was_changed_and_the_rest_is_new(tmp_path: Path) -> None:
    upper, lowers = tmp_path / "upper", [tmp_path / "init", tmp_path / "image"]
    for folder in (upper / "app", *(lower / "app" for lower in lowers)):
        folder.mkdir(parents=True)
    (lowers[1] / "app" / "code.py").write_text("old")
    (upper / "app" / "code.py").write_text("new")
    (upper / "app" / "link").symlink_to("/nowhere")
    found = overlay_changes(upper, lowers)
    assert found is not None
    assert sorted(found) == [(CHANGED, "/app/code.py"), (ADDED, "/app/link")]


def test_a_folder_in_which_something_was_for_a_while_only_has_not_changed_and_one_with_other_rights_has(tmp_path: Path) -> None:
    upper, lower = tmp_path / "upper", tmp_path / "image"
    for folder in (upper / "same", lower / "same", upper / "open", lower / "open"):
        folder.mkdir(parents=True)
    (upper / "open").chmod(0o777)
    assert overlay_changes(upper, [lower]) == [(CHANGED, "/open")]


def test_a_layer_that_is_not_there_or_not_ours_to_read_tells_nothing(tmp_path: Path) -> None:
    assert overlay_changes(tmp_path / "gone", []) is None


def test_a_process_is_told_with_its_user_and_one_that_is_gone_without() -> None:
    assert uid_of(os.getpid()) == os.geteuid()
    assert uid_of(0) == -1


def test_the_processes_of_a_container_are_those_that_the_engine_lists() -> None:
    top = {"Titles": ["UID", "PID", "PPID", "CMD"], "Processes": [["root", "12", "1", "app --x"], ["root", "13", "12", "sleep 60"]]}
    assert processes_of(top) == (Process(pid=12, command="app --x"), Process(pid=13, command="sleep 60"))
    assert processes_of({"Titles": ["PID", "COMMAND"], "Processes": None}) == ()
    assert processes_of({"Titles": None}) == ()


def test_memory_of_a_process_that_is_gone_is_unknown() -> None:
    assert memory_used(0) == 0
    assert memory_used(os.getpid()) % 4096 == 0


def test_the_scratch_folder_is_writable_for_everybody_and_nobody_removes_what_is_anothers() -> None:
    with tarfile.open(fileobj=io.BytesIO(scratch_archive("scratch"))) as archive:
        (folder,) = archive.getmembers()
    assert folder.isdir()
    assert (folder.name, folder.mode) == ("scratch", 0o1777)
