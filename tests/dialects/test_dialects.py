"""Files of every dialect: which it is, and what real ones say."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness.dialects
from harness.dialects import DIALECTS, Options, check_names, read_history
from harness.errors import UsageError

DATA = Path(__file__).parent / "data"
FOLDER = Path(harness.dialects.__file__).parent


def test_every_file_that_reads_a_dialect_is_in_the_registry() -> None:
    readers = {path.stem for path in FOLDER.glob("*.py") if "\ndef looks_like(" in path.read_text(encoding="utf-8")}
    assert readers == {name.replace("-", "_") for name in DIALECTS}


@pytest.mark.parametrize(
    ("name", "dialect", "operations", "failed"),
    [
        ("etcd/bad-etcd_000.log", "jepsen-log", 85, 0),
        ("etcd/good-etcd_102.log", "jepsen-log", 66, 0),
        ("knossos/good-cas-register-bug.edn", "jepsen-edn", 6, 0),
        ("knossos/bad-immediate-failure.edn", "jepsen-edn", 2, 1),
    ],
)
def test_real_files_are_recognised_and_read_whole(name: str, dialect: str, operations: int, failed: int) -> None:
    reading = read_history(DATA / name, "", Options())
    assert (reading.dialect, reading.model, len(reading.calls), int((reading.calls.ended == 1).sum())) == (
        dialect,
        "register",
        operations,
        failed,
    )


def test_the_dialect_can_be_said(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text('{"f": "write", "value": 3, "note": "type"}\n')
    assert read_history(path, "", Options(dialect="jsonl")).dialect == "jsonl"
    path.write_text("3")
    with pytest.raises(UsageError, match=r"x:1: .*event"):
        read_history(path, "register", Options(dialect="jepsen-edn"))


def test_what_a_file_says_can_not_move_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text('{"type": "ok", "f": "read", "process": "\\u001b[2J\\u202e"}')
    with pytest.raises(UsageError) as wrong:
        read_history(path, "register", Options())
    assert str(wrong.value).isprintable()


def test_a_byte_order_mark_is_no_part_of_the_history(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xef\xbb\xbf" + b'{"f": "write", "value": 3}')
    assert read_history(path, "", Options()).dialect == "jsonl"


def test_names_that_are_none_are_refused_with_those_that_are() -> None:
    check_names(model="set", dialect="jsonl", initial=None)
    for wrong, says in (
        ({"model": "regsiter", "dialect": "", "initial": None}, 'did you mean "register"'),
        ({"model": "", "dialect": "edn", "initial": None}, "--dialect edn"),
        ({"model": "set", "dialect": "", "initial": "0"}, "--initial is the first value of a register"),
    ):
        with pytest.raises(UsageError) as error:
            check_names(**wrong)  # type: ignore[arg-type]  # the options of the test
        assert says in str(error.value)
