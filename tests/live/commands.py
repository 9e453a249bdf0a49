"""What tests of the command line share: running it on real replicas as a person would, and reading what it wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import ExitCode
from tests.live.processes import owner_label

ROOT = Path(__file__).parent.parent.parent
BOUND_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the command line ended: its exit code, all that it printed, what it said on stderr, and the label of what it had made."""

    code: int
    output: str
    errors: str
    owner: str


def jetable(*arguments: str | Path) -> Ended:
    environment = {**os.environ, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        owner = owner_label(process.pid)
        try:
            output, errors = process.communicate(timeout=BOUND_S)
        except BaseException:
            process.kill()  # its watchdog removes the run
            raise
    return Ended(code=process.returncode, output=output + errors, errors=errors, owner=owner)


def results(reports: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(reports.glob("*/result.json")) if not path.parent.is_symlink()]


MACHINE = frozenset({"control-stalled", "fault-at-wrong-moment", "generator-saturated", "harness-stalled", "replica-starved"})
"""Findings by which a run says that this machine had no time for it. Nothing is known of the app then, and their cure is to run it again on
a quieter machine: several of these tests share its cores. A fault comes at the wrong moment where the lines by which a worker tells what it
is at are read a third of a second late; one that is always wrong is so three times."""

TRIES = 3


def run_until_known(path: Path, engine: str, reports: Path, *, named: Iterable[str] = ()) -> tuple[Ended, dict[str, Any]]:
    """Run a scenario, and again, at most twice, for as long as nothing but the machine is why it is unknown; the last run and its result.

    A run that failed, that found all of what is ``named``, or that is unknown for any other reason, is never repeated.
    """
    for number in range(TRIES):
        folder = reports / f"try-{number}"
        ended = jetable("run", path, "--engine", engine, "--reports", folder, "--seed", "1")
        found = results(folder)
        assert len(found) == 1, ended.output
        (result,) = found
        if not is_the_machines(ended.code, result, named):
            break
    return ended, result


def is_the_machines(code: int, result: dict[str, Any], named: Iterable[str] = ()) -> bool:
    """Whether nothing but the machine is why a run is unknown, and why not all is found that is ``named``."""
    wanted = set(named)
    ills = {finding["name"] for finding in result["findings"] if finding["verdict"] != "pass"}
    found = bool(wanted) and wanted <= ills
    return code == ExitCode.UNKNOWN and not found and bool(ills & MACHINE) and not ills - MACHINE - wanted - {"expectation-unknown"}
