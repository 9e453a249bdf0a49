"""Files of every dialect: which it is, and what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness.dialects
from harness.dialects import DIALECTS, Options, check_names, read_history
from harness.errors import UsageError
from tests.dialects.simulate import files

DATA = Path(__file__).parent / "data"
FOLDER = Path(harness.dialects.__file__).parent


def test_every_file_that_reads_a_dialect_is_in_the_registry() -> None:
    readers = {path.stem for path in FOLDER.glob("*.py") if "\ndef looks_like(" in path.read_text(encoding="utf-8")}
    assert readers == {name.replace("-", "_") for name in DIALECTS}


@pytest.mark.parametrize(
    ("name", "dialect", "operations", "failed"),
    [
        ("log/bad-1.log", "jepsen-log", 74, 0),
        ("log/good-2.log", "jepsen-log", 86, 0),
        ("edn/good-1.edn", "jepsen-edn", 13, 1),
        ("edn/bad-2.edn", "jepsen-edn", 16, 4),
    ],
)
def test_files_are_recognised_and_read_whole(name: str, dialect: str, operations: int, failed: int) -> None:
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


def test_the_files_are_those_that_the_simulation_makes() -> None:
    assert {str(path.relative_to(DATA)): path.read_text() for path in DATA.glob("*/*.*")} == files()
