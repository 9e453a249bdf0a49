"""Files that are whole or not there, and `reports/latest`."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import msgspec
import pytest

from harness.errors import UsageError
from harness.history import Header, read
from harness.report.files import update_latest, write_whole


def a_run(reports: Path, name: str) -> Path:
    folder = reports / name
    folder.mkdir(parents=True)
    return folder


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result.json"
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert [file.name for file in path.parent.iterdir()] == ["result.json"]


def test_what_was_there_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    write_whole(path, b"old")

    def no_space(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_other_people_may_read_it(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        write_whole(tmp_path / "result.json", b"x")
    finally:
        os.umask(mask)
    assert (tmp_path / "result.json").stat().st_mode & 0o777 == 0o644


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    write_whole(path, b"through the pipe")
    reader.join(10)
    assert got == [b"through the pipe"]
    assert path.is_fifo()


def test_a_link_to_a_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_latest_is_a_relative_link_to_the_newest_run(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    for name in ("first", "second"):
        latest = update_latest(reports, a_run(reports, name))
    assert latest.readlink() == Path("second")
    moved = reports.rename(tmp_path / "moved")
    assert (moved / "latest").resolve() == (moved / "second").resolve()
    assert sorted(path.name for path in moved.iterdir()) == ["first", "latest", "second"]


def test_a_link_to_a_run_that_is_gone_is_replaced(tmp_path: Path) -> None:
    a_run(tmp_path, "gone").rmdir()
    (tmp_path / "latest").symlink_to("gone")
    assert update_latest(tmp_path, a_run(tmp_path, "new")).readlink() == Path("new")


def test_where_there_are_no_links_latest_is_a_file_with_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    latest = update_latest(tmp_path, a_run(tmp_path, "run"))
    assert latest.read_text() == "run\n"


def test_a_folder_called_latest_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(UsageError, match="move it away"):
        update_latest(tmp_path, a_run(tmp_path, "run"))
    assert (tmp_path / "latest").is_dir()


def test_a_history_can_be_read_through_latest(tmp_path: Path) -> None:
    run = a_run(tmp_path, "run")
    header = Header(format=1, run_id="r", harness="0", engine="fake", seed=1, scenario="{}", scenario_path="x", started_ns=0, wall_start="")
    (run / "history").mkdir()
    (run / "history" / "events.jsonl").write_bytes(msgspec.json.encode(header) + b"\n")
    assert read(update_latest(tmp_path, run)).header.run_id == "r"
