"""Histories that somebody brings: judged, made small, and told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.clock import MonotonicClock
from harness.dialects import Options
from harness.errors import ExitCode, NothingSelectedError, UsageError
from harness.histories import Asked, HistoryReport, budget_of, exit_of, files_of, judge_history
from harness.monitors.calls import Calls
from harness.monitors.judged import Budget, Judged, Monitor
from harness.monitors.models import MODELS
from harness.monitors.search import search

LOST = """{"f": "write", "value": 1, "session": "c1", "call_ns": 0, "ret_ns": 10}
{"f": "write", "value": 2, "session": "c2", "call_ns": 20, "ret_ns": 30}
{"f": "read", "result": 1, "session": "c1", "call_ns": 40, "ret_ns": 50}
{"f": "read", "result": 2, "session": "c1", "call_ns": 60, "ret_ns": 70}
"""


def searching(name: str) -> Monitor:
    def monitor(calls: Calls, budget: Budget) -> Judged:
        return search(calls, MODELS[name], budget)

    return monitor


MONITORS: dict[str, Monitor] = {name: searching(name) for name in MODELS}


def judge(path: Path, model: str = "", budget_s: float = 20, **options: str) -> HistoryReport:
    return judge_history(path, Asked(model=model, budget_s=budget_s, options=Options(**options), monitors=MONITORS), MonotonicClock())


@pytest.fixture
def lost(tmp_path: Path) -> Path:
    path = tmp_path / "lost.jsonl"
    path.write_text(LOST)
    return path


def test_what_is_right_passes_with_its_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(LOST.replace('"result": 1', '"result": 2'))
    report = judge(path)
    assert report == HistoryReport(
        file=str(path), verdict="pass", dialect="jsonl", model="register", operations=4, reads=2, keys=1, clients=2
    )


def test_what_is_wrong_is_shown_small_with_its_proof_and_a_picture(lost: Path) -> None:
    report = judge(lost)
    assert report.verdict == "fail"
    (wrong,) = report.wrong
    assert (wrong.kind, wrong.seen, wrong.minimal) == ("not-linearizable", 1, True)
    assert [line["place"] for line in wrong.operations] == [1, 2, 3]
    assert wrong.proof
    assert wrong.picture


@pytest.mark.parametrize(
    ("model", "options", "text"),
    [
        ("register", {}, LOST),
        ("register", {"initial": "5"}, '{"f": "write", "value": 1}\n{"f": "read", "result": 5}\n{"f": "read", "result": null}'),
        ("register", {}, '{"f": "cas", "old": null, "new": "3"}\n{"f": "cas", "old": 3, "new": "nil"}\n{"f": "read", "result": true}'),
        ("set", {}, '{"f": "add", "value": 1}\n{"f": "read", "result": []}'),
        ("counter", {}, '{"f": "add", "value": 1}\n{"f": "read", "result": 0}'),
        ("queue", {}, '{"f": "enqueue", "value": 1}\n{"f": "enqueue", "value": 2}\n{"f": "dequeue", "result": 2}'),
        ("log", {}, '{"f": "append", "value": 1}\n{"f": "read", "result": [2]}'),
        ("mutex", {}, '{"f": "acquire"}\n{"f": "acquire"}'),
        ("mutex", {}, '{"f": "release"}'),
        ("register", {}, "0\t:invoke\t:write\t[1 2]\n0\t:ok\t:write\nnil\n1\t:invoke\t:read\tnil\n1\t:ok\t:read\t:x\n"),
    ],
)
def test_the_witness_is_judged_wrong_again_by_the_same_question(model: str, options: dict[str, str], text: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    first = judge(path, model, **options)
    assert first.verdict == "fail", first
    path.write_text("".join(json.dumps(line) + "\n" for line in first.wrong[0].operations))
    again = judge(path, model, **options)
    assert (again.verdict, again.operations) == ("fail", len(first.wrong[0].operations))


def test_what_can_not_be_read_is_a_report_with_its_error(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text('{"f": "wirte"}')
    report = judge(path, "register")
    assert (report.verdict, report.operations) == ("error", 0)
    assert report.error.startswith(f"{path}:1: ")
    assert "can't be read" in judge(tmp_path / "nowhere").error


def test_a_budget_that_is_over_leaves_the_verdict_open(tmp_path: Path) -> None:
    path = tmp_path / "x"
    lines = ['{"f": "write", "value": 1, "call_ns": 0, "ended": "info"}'] * 3
    path.write_text("\n".join([*lines, '{"f": "read", "result": 1, "call_ns": 1, "ret_ns": 2}']))
    assert judge(path).verdict == "pass"
    assert budget_of(0, MonotonicClock()).over()
    assert not budget_of(60, MonotonicClock()).over()


def test_a_command_ends_by_the_worst_file_and_an_unreadable_one_is_told_first() -> None:
    def ended(*verdicts: str) -> ExitCode:
        return exit_of([HistoryReport(file="x", verdict=verdict) for verdict in verdicts])

    assert ended("pass") == ExitCode.PASSED
    assert ended("pass", "unknown") == ExitCode.UNKNOWN
    assert ended("unknown", "fail", "pass") == ExitCode.FAILED
    assert ended("fail", "error") == ExitCode.USAGE


def test_files_of_folders_are_those_named_like_histories(tmp_path: Path) -> None:
    for name in ("b.edn", "a/c.log", "a/README.md", "d.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    odd = tmp_path / "a/README.md"
    assert files_of([tmp_path, odd]) == [tmp_path / "a/c.log", tmp_path / "b.edn", tmp_path / "d.jsonl", odd]
    with pytest.raises(UsageError, match="there is no such file"):
        files_of([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingSelectedError, match="holds no history"):
        files_of([tmp_path / "empty"])
