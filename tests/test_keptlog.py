"""Bounded logs keep their beginning and their end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.keptlog import KeptLog


def small(path: Path) -> KeptLog:
    return KeptLog(path, head_bytes=40, tail_bytes=40)


def test_a_short_log_is_kept_whole(tmp_path: Path) -> None:
    log = small(tmp_path / "log")
    log.write(b"one\ntwo\n")
    log.write(b"three")
    assert log.tail(2) == ("two", "three")
    log.finish()
    log.finish()
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\nthree"
    assert log.tail(9) == ("one", "two", "three")


def test_a_long_log_keeps_its_beginning_and_its_end_and_says_what_it_left_out(tmp_path: Path) -> None:
    log = small(tmp_path / "log")
    for number in range(100):
        log.write(b"line %03d\n" % number)
    assert log.tail(2) == ("line 098", "line 099")
    log.finish()
    text = (tmp_path / "log").read_text()
    assert text.startswith("line 000\nline 001\n")
    assert text.endswith("line 098\nline 099\n")
    assert "\n[... 820 bytes left out ...]\n" in text
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert log.tail(2) == ("line 098", "line 099")


def test_what_was_written_is_on_disk_before_the_log_is_finished(tmp_path: Path) -> None:
    log = small(tmp_path / "log")
    log.write(b"a" * 50 + b"\n")
    log.write(b"the end\n")
    assert b"".join(sorted((path.read_bytes() for path in tmp_path.iterdir()), key=len, reverse=True)).endswith(b"the end\n")
    log.finish()


def test_a_line_matches_once_it_is_written_even_without_its_end(tmp_path: Path) -> None:
    log = small(tmp_path / "log")
    log.write(b"starting\nrea")
    assert not log.matches("^ready")
    log.write(b"dy")
    assert log.matches("^ready$")
    log.write(b" to serve\n" + b"x" * 500)
    assert log.matches("^ready$")  # it did match, and a line that is gone by now still counts
    assert not log.matches("^to serve")
    log.finish()
    assert log.matches("^start")


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    log = small(tmp_path / "log")
    log.write(b"\xff\xfe ready\r\n")
    assert log.matches("ready")
    assert log.tail(1) == ("\ufffd\ufffd ready",)
    log.finish()


def test_a_very_long_line_is_cut_when_it_is_handed_out(tmp_path: Path) -> None:
    log = KeptLog(tmp_path / "log")
    log.write(b"x" * 100_000)
    assert len(log.tail(1)[0]) == 2000
    log.finish()


def test_a_full_disk_stops_the_log_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    log = small(tmp_path / "log")
    log.write(b"one\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        log.write(b"two\n")
    log.write(b"three\n")
    assert log.tail(5) == ("one", "three")
    log.finish()


def test_nothing_is_written_after_the_end(tmp_path: Path) -> None:
    log = small(tmp_path / "log")
    log.finish()
    log.write(b"late\n")
    assert log.tail(1) == ()


@given(parts=st.lists(st.binary(max_size=60), max_size=30))
def test_the_end_is_kept_to_the_byte_however_it_was_cut_into_writes(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = small(folder / "log")
    for part in parts:
        log.write(part)
        assert sum(path.stat().st_size for path in folder.iterdir()) <= 120
    log.finish()
    whole, kept = b"".join(parts), (folder / "log").read_bytes()
    assert kept == whole if len(whole) <= 80 else kept.startswith(whole[:40]) and kept.endswith(whole[-40:])
