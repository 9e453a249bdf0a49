"""The cleanup: finds all that carries a run's mark, and removes it.

It knows a run by its mark alone (`harness.marks`), so it works when the harness is dead, and from any process. What can be left of a run
is listed in `CLEANERS`, one line a kind, in the order of removal: processes and containers before the folder that they write to. *Gone*
counts as done, whoever removed it, and everything is bounded in time.

Three ask for it: the harness at the end of its run (`clean_run`), a watchdog when the harness died (`harness.cleanup.watchdog`), and
``jetable cleanup`` for all runs that nobody owns any more (`clean_stale`).
"""

from __future__ import annotations

from harness.cleanup.base import Order, Swept, Trace
from harness.cleanup.docker import DockerThings
from harness.cleanup.folders import ScratchFolders
from harness.cleanup.processes import Processes
from harness.cleanup.removal import CLEANERS, Removed, StaleRun, clean_run, clean_stale
from harness.cleanup.watchdog import Watchdog, start_watchdog, watch
from harness.marks import make_scratch

__all__ = [
    "CLEANERS",
    "DockerThings",
    "Order",
    "Processes",
    "Removed",
    "ScratchFolders",
    "StaleRun",
    "Swept",
    "Trace",
    "Watchdog",
    "clean_run",
    "clean_stale",
    "make_scratch",
    "start_watchdog",
    "watch",
]
