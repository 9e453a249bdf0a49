"""What tests of the command line share: running it on real replicas as a person would, and reading what it wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
