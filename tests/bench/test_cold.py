"""Starts without what earlier starts left warm."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.bench import cold
from harness.bench.cold import VARIABLE, drop_caches, may_drop_caches
from harness.errors import MachineError


def compiled_files_read(folder: Path, environment: Mapping[str, str]) -> list[str]:
    """The compiled modules that Python read when it imported ``app`` of ``folder``, as ``-v`` tells them."""
    done = subprocess.run(
        [sys.executable, "-v", "-c", "import app, colorsys"],
        cwd=folder,
        env={**{key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return [line for line in done.stderr.splitlines() if " matches " in line]


@pytest.mark.slow
@pytest.mark.live
def test_python_finds_nothing_compiled_neither_beside_the_sources_nor_of_an_earlier_start(tmp_path: Path) -> None:
    app, scratch = tmp_path / "app", tmp_path / "scratch"
    app.mkdir()
    (app / "app.py").write_text("answer = 42\n")
    subprocess.run([sys.executable, "-m", "compileall", "-q", "."], cwd=app, check=True)
    assert any("app.cpython" in line for line in compiled_files_read(app, {})), "a warm start reads what lies beside the source"
    first = {VARIABLE: str(scratch / "first")}
    assert compiled_files_read(app, first) == []
    assert list(Path(first[VARIABLE]).rglob("app.*.pyc")), "what the first start compiled is kept for nobody else"
    assert compiled_files_read(app, first) != [], "the same folder again is warm"
    assert compiled_files_read(app, {VARIABLE: str(scratch / "second")}) == []


if os.environ.get("JETABLE_LONG") == "1":  # it slows down all of the machine

    @pytest.mark.slow
    @pytest.mark.live
    def test_after_a_drop_a_file_is_read_from_the_disk_and_where_that_is_not_allowed_the_sentence_says_so(tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_bytes(b"x" * 8192)
        if why := may_drop_caches():
            with pytest.raises(MachineError, match="--drop-caches"):
                drop_caches()
            assert "root" in why
            return
        with file.open("rb", buffering=0) as handle:
            assert os.preadv(handle.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT) == 1, "what was just written is in memory"
            drop_caches()
            with pytest.raises(BlockingIOError):
                os.preadv(handle.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOENT])
def test_why_the_caches_can_not_be_dropped_is_said_with_what_helps(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "sync", lambda: None)
    assert os.strerror(number) in may_drop_caches()
    assert "sudo" in may_drop_caches()
    with pytest.raises(MachineError, match="--drop-caches"):
        drop_caches()


def test_dropping_writes_what_is_dirty_first_and_asks_for_all_that_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = tmp_path / "drop_caches"
    switch.write_bytes(b"")
    synced = []
    monkeypatch.setattr(cold, "DROP", str(switch))
    monkeypatch.setattr(os, "sync", lambda: synced.append(switch.read_bytes()))
    assert may_drop_caches() == ""
    assert switch.read_bytes() == b"", "asking drops nothing"
    drop_caches()
    assert synced == [b""]
    assert switch.read_bytes() == b"3"
