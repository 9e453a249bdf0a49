"""Monitors: each decides whether a history of operations on state is explained by some order of their effects, and shows why not.

One file a model, one line in `MONITORS`. A monitor is a pure function of `Calls`: no engine, no clock, no network. Where values are written
at most once and increments are one, it is exact and near-linear; where they repeat, the general search decides within its budget, and says
*unknown* beyond.
"""

from __future__ import annotations

from typing import Final

from harness.monitors import counter, log, queue, register, sessions, sets
from harness.monitors.judged import Monitor

MONITORS: Final[dict[str, Monitor]] = {
    "register": register.judge,
    "set": sets.judge,
    "counter": counter.judge,
    "queue": queue.judge,
    "log": log.judge,
    "sessions": sessions.judge,
}
"""Every model that a history can be judged by."""
