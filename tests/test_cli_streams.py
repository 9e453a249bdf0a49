"""The command line when its standard output is closed, full, or read only in part."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
JETABLE = f"{sys.executable} -m harness"


def shell(command: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash from the project's folder; ``pipefail`` gives the status of ``jetable`` and not of its reader."""
    line = ["bash", "-o", "pipefail", "-c", command]
    return subprocess.run(line, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("schema >/dev/full", 8, "standard output can't be written: No space left on device"),
        ("list scenarios >/dev/full", 8, "standard output can't be written"),
        ("list scenarios | head -1 >/dev/null", 0, ""),
        ("schema | head -1 >/dev/null", 0, ""),
        ("validate scenarios/quickstart >&-", 0, ""),
        ("check reports/example >&-", 1, ""),
        ("check reports/example | head -1 >/dev/null", 1, ""),
    ],
)
def test_standard_output_never_changes_the_verdict_nor_ends_in_a_traceback(command: str, code: int, says: str) -> None:
    ended = shell(f"{JETABLE} {command}")
    assert ended.returncode == code, ended.stderr
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) <= 1, ended.stderr
