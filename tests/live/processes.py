"""What tests of whole runs share: what is left of a run, and waiting for a condition."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def left_of(run_id: str) -> list[str]:
    """All that is left of a run: processes that carry its mark (zombies excepted) and temporary files."""
    left = [str(path) for path in Path(tempfile.gettempdir()).glob(f"*{run_id}*")]
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if run_id.encode() in environ.read_bytes():
                left.append((environ.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it is gone
    return left


def wait_until(condition: Callable[[], bool], *, within_s: float, why: Callable[[], str] = lambda: "") -> None:
    """Wait until ``condition`` holds, looking a hundred times a second; fails with ``why`` when ``within_s`` is over."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {why()}"
        time.sleep(0.01)
