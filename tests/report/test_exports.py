"""Files that were asked for are looked at first and written whole."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.report.exports import STDOUT, check_exports, write_exports

CONTENTS = {"json": lambda: b"{}", "csv": lambda: b"a,b\n"}


def test_each_is_written_and_one_may_go_to_standard_output(tmp_path: Path) -> None:
    wanted = {"json": tmp_path / "a.json", "csv": STDOUT, "markdown": None}
    assert check_exports(wanted)
    assert not check_exports({"json": tmp_path / "a.json", "csv": None})
    stdout = io.BytesIO()
    write_exports(wanted, CONTENTS, stdout)
    assert (tmp_path / "a.json").read_bytes() == b"{}"
    assert stdout.getvalue() == b"a,b\n"


def test_what_can_not_be_written_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--export-json and --export-csv both go to standard output"):
        check_exports({"json": STDOUT, "csv": STDOUT})
    one, same = tmp_path / "a", tmp_path / "nowhere" / ".." / "a"
    with pytest.raises(UsageError, match=r"--export-json and --export-csv both go to .*/a; give each a file of its own"):
        check_exports({"json": one, "csv": same})
    assert not check_exports({"json": Path(os.devnull), "csv": Path(os.devnull)})
    with pytest.raises(UsageError, match=rf"--export-csv .*: there is no folder {tmp_path}/none; make it first"):
        check_exports({"csv": tmp_path / "none" / "a.csv"})


def test_a_file_that_can_not_be_written_in_the_end_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--export-csv .*can't be written"):
        write_exports({"csv": tmp_path / "file" / "a.csv"}, CONTENTS, io.BytesIO())
