"""Scenarios as parameters of tests, each with what it needs of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import MachineError, UsageError
from harness.run import check_scenarios
from harness.scenario import load_scenario


def needs(engine: str, path: Path) -> list[pytest.MarkDecorator]:
    """What the test of a scenario needs of this machine."""
    marks = [pytest.mark.docker] if engine == "docker" else []
    try:
        check_scenarios([(path, load_scenario(path))], engine)
    except (MachineError, UsageError) as error:
        return [*marks, pytest.mark.skip(reason=str(error))]
    return marks


def on(engine: str, paths: list[Path]) -> list[object]:
    """Each of ``paths`` on ``engine``; skipped, with the reason, where this machine can't run it."""
    return [pytest.param(engine, path, id=f"{engine}-{path.stem}", marks=needs(engine, path)) for path in paths]
