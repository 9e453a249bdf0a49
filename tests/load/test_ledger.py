"""The load's ledger when it can't be written (`harness.load.ledger`)."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from harness.errors import MachineError
from harness.history import LoadBegan
from harness.load.ledger import Ledger

LINE = LoadBegan(at_ns=1, pid=2)


def full(fd: int, offset: int, length: int) -> None:
    """A disk that gives half of what is asked for and is full then."""
    os.ftruncate(fd, offset + length // 2)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sentence(path: Path, why: str = "No space left on device") -> str:
    return f"can't write {path}: {why}; free space, or name another folder with --reports"


def test_a_ledger_is_written_and_cut_to_its_length(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ops.jsonl")
    ledger.append(LINE)
    ledger.close()
    ledger.close()
    assert (tmp_path / "ops.jsonl").read_text() == '{"kind":"load-began","at_ns":1,"pid":2}\n'


def test_a_full_disk_is_told_in_a_sentence_and_what_it_gave_in_vain_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ops.jsonl"
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(MachineError) as told:
        Ledger(path)
    assert str(told.value) == sentence(path)
    assert path.stat().st_size == 0


def test_a_disk_that_is_full_later_leaves_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ops.jsonl"
    ledger = Ledger(path)
    monkeypatch.setattr(os, "posix_fallocate", full)
    text = '{"kind":"load-began","at_ns":1,"pid":2}\n'
    lines = Ledger.CHUNK // len(text)
    for _ in range(lines):
        ledger.append(LINE)
    with pytest.raises(MachineError) as told:
        ledger.append(LINE)
    assert str(told.value) == sentence(path)
    ledger.close()
    assert path.read_text() == text * lines


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "ops.jsonl"
    with pytest.raises(MachineError) as told:
        Ledger(path)
    assert str(told.value) == sentence(path, "No such file or directory")
