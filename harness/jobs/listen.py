"""What workers say of jobs, heard while they say it.

The engine hands over what a replica writes as it comes, in pieces; the listener cuts it into lines and looks in each for the texts that the
scenario names. A line that is longer than a few KiB is nobody's report of a job and is let go.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Final

from harness.job_history import SIGHTINGS
from harness.scenario import WorkerLog

_LONGEST: Final = 8192
_JOB: Final = "{job}"


class Listener:
    """Listens to all replicas. ``see`` gets the job's number, what was said of it, and the replica. Safe from several threads."""

    def __init__(self, log: WorkerLog, mark: str, see: Callable[[int, str, str], None]) -> None:
        self._mark = mark.encode()
        self._see = see
        self._patterns = [(what, _pattern(text, mark)) for what in SIGHTINGS if (text := getattr(log, what)) is not None]
        self._rest: dict[str, bytes] = {}
        self._lock = threading.Lock()

    @property
    def hears(self) -> bool:
        """The scenario says how the log speaks of jobs."""
        return bool(self._patterns)

    def hear(self, replica: str, data: bytes) -> None:
        """A replica wrote ``data``."""
        if not self._patterns:
            return
        with self._lock:
            *lines, rest = (self._rest.get(replica, b"") + data).split(b"\n")
            self._rest[replica] = rest[-_LONGEST:]
        for line in lines:
            if self._mark in line:
                self._look_at(replica, line.decode(errors="replace"))

    def _look_at(self, replica: str, line: str) -> None:
        """All that a line says, in its order: the ends of lines of several processes may come late."""
        found = [(match.start(), int(match[1]), what) for what, pattern in self._patterns for match in pattern.finditer(line)]
        for _, job, what in sorted(found):
            self._see(job, what, replica)


def _pattern(text: str, mark: str) -> re.Pattern[str]:
    before, _, after = text.partition(_JOB)
    end = "" if after else r"(?!\d)"
    return re.compile(rf"{re.escape(before)}{re.escape(mark)}-(\d{{1,12}}){end}{re.escape(after)}")
