"""Errors carry the exit code that the shell gets."""

from __future__ import annotations

import pytest

from harness import errors
from harness.errors import ExitCode, ScenarioError
from harness.verdict import Verdict, exit_code


def test_exit_codes_are_those_that_are_documented() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "PASSED": 0,
        "FAILED": 1,
        "INTERRUPTED": 2,
        "INTERNAL": 3,
        "USAGE": 4,
        "NOTHING": 5,
        "UNKNOWN": 7,
        "ENVIRONMENT": 8,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError, 4),
        (errors.NothingSelectedError, 5),
        (errors.MachineError, 8),
        (errors.TargetError, 1),
        (errors.StoppedError, 2),
    ],
)
def test_each_error_knows_its_exit_code(error: type[errors.JetableError], code: int) -> None:
    assert error("why").exit_code == code


def test_a_scenario_error_shows_all_problems() -> None:
    error = ScenarioError(["a.yaml:1:1: x: wrong", "a.yaml:2:1: y: wrong"])
    assert str(error).splitlines() == error.problems
    assert error.exit_code == ExitCode.USAGE


def test_each_verdict_has_its_exit_code() -> None:
    assert [exit_code(verdict) for verdict in (Verdict.PASS, Verdict.UNKNOWN, Verdict.FAIL)] == [0, 7, 1]
