"""Histories that were judged, as people and programs read them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from harness.errors import MachineError
from harness.histories import HistoryReport, Wrong
from harness.report.console import console_for
from harness.report.history import print_history, print_summary, write_json, write_witness

WRONG = Wrong(
    kind="stale-read",
    means="a value was read that had been overwritten before the read began",
    seen=3,
    operations=({"f": "write", "place": 4}, {"f": "read", "place": 1024, "result": "\ud800"}),
    minimal=True,
    proof=("r2 began late.", "So it can't be."),
    picture=("c1 ├w1┤", "  \x1b[31m\x07   ├r2┤"),
)
FAILED = HistoryReport(
    file="a.log", verdict="fail", dialect="jepsen-log", model="register", operations=1024, reads=3, keys=3, clients=10, wrong=(WRONG,)
)


def printed(*reports: HistoryReport) -> str:
    file = io.StringIO()
    console = console_for(file, {"NO_COLOR": "1"}, width=100)
    for report in reports:
        print_history(report, console)
    if len(reports) > 1:
        print_summary(reports, console)
    return file.getvalue()


def test_a_verdict_is_one_sentence_with_its_numbers() -> None:
    passed = HistoryReport(file="a", verdict="pass", model="register", operations=1024, keys=3, clients=10)
    one = HistoryReport(file="a", verdict="pass", model="set", operations=1, keys=1)
    open_one = HistoryReport(file="a", verdict="unknown", model="log", operations=2, keys=1, undecided=("too many", "and more"))
    assert printed(passed) == "✓ a: 1 024 operations on 3 keys by 10 clients, each a register: linearizable\n"
    assert printed(one) == "✓ a: 1 operation on a set: linearizable\n"
    assert printed(open_one) == "? a: 2 operations on a log: unknown: too many\n  also: and more\n"


def test_what_is_wrong_stands_below_with_proof_lines_and_picture() -> None:
    text = printed(FAILED)
    assert text.startswith(
        "✗ a.log: 1 024 operations on 3 keys by 10 clients, each a register: not linearizable: a value was read that had"
    )
    for part in ("    r2 began late.\n", "    So it can't be.\n", "    Lines of the file: 4, 1024.\n", "    c1 ├w1┤\n"):
        assert part in text
    assert "\n      \\x07   ├r2┤\n" in text


def test_notes_are_told_and_errors_are_not_told_twice() -> None:
    noted = HistoryReport(file="a", verdict="pass", model="set", operations=1, keys=1, notes=("it has no times",))
    assert "\n  note: it has no times\n" in printed(noted)
    assert printed(HistoryReport(file="a", verdict="error", error="bad")) == ""


def test_several_files_are_summed_up() -> None:
    reports = [FAILED, HistoryReport(file="b", verdict="pass", operations=1), HistoryReport(file="c", verdict="error", error="bad"), FAILED]
    assert printed(*reports).endswith("4 histories: 1 linearizable, 2 not linearizable, 1 not readable\n")


def test_the_json_is_one_document_that_utf_8_can_hold() -> None:
    file = io.BytesIO()
    write_json([FAILED], file)
    document = json.loads(file.getvalue())
    assert (document["version"], document["exit_code"], len(document["histories"])) == (1, 1, 1)
    history = document["histories"][0]
    assert (history["verdict"], history["model"], history["operations"]) == ("fail", "register", 1024)
    assert history["wrong"][0]["operations"][1] == {"f": "read", "place": 1024, "result": "\\ud800"}


def test_a_witness_is_a_history_of_its_own(tmp_path: Path) -> None:
    write_witness(WRONG, tmp_path / "w.jsonl")
    assert [json.loads(line)["f"] for line in (tmp_path / "w.jsonl").read_text().splitlines()] == ["write", "read"]
    with pytest.raises(MachineError, match="the witness can't be written"):
        write_witness(WRONG, tmp_path / "nowhere/w.jsonl")
