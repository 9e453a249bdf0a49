"""Why a replica ended that nobody had stopped, or why it never got healthy, where its container or its log tells it.

Two causes have a name of their own and are told under it alone: the kernel killed it for want of memory, and the scenario denied it what
it needs, a filesystem to write to (``read_only``) or a capability (``cap_drop``). Memory that the harness itself took away is no
cause of the app's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from harness.checks.facts import Facts, Life
from harness.clock import NS_PER_S
from harness.history import Disturbed, Restored

AFTER_SQUEEZE_S: Final = 2.0
"""What the kernel kills within this time of the instant at which a replica got its memory back, it may have chosen before."""

WITH_OOM_S: Final = 2.0
"""A main process that ends within this time of such a kill ended by it."""

WRITABLE: Final = "needs-writable-filesystem"
CAPABILITY: Final = "needs-capability"

_READ_ONLY: Final = re.compile(r"read-only file ?system|\bEROFS\b|\berrno 30\b", re.IGNORECASE)
_DENIED: Final = re.compile(r"operation not permitted|permission denied|\bEPERM\b|\bEACCES\b|\berrno 13?\b(?!\d)", re.IGNORECASE)
_QUOTED_PATH: Final = re.compile(r"['\"\u2018`](/[^'\"\u2019`]+)['\"\u2019`]")
_PATH: Final = re.compile(r"(?<![\w/.])/[^\s:,;'\"()]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """What the scenario denied a replica that could not do without.

    ``name`` is the finding's, ``line`` the line of its log that shows it, and ``path`` what that line names; empty for nothing.
    """

    name: str
    line: str
    path: str


def oom_kills_of(facts: Facts, life: Life) -> list[int]:
    """The instants at which the kernel killed a process of ``life`` for want of memory that the harness had not taken away."""
    kills = [event.at_ns for event in life.oom_kills]
    if not kills and life.exited and life.exited.oom:
        kills = [life.exited.at_ns]
    spans = _squeezes(facts, life.replica) if kills else []
    return [at_ns for at_ns in kills if not any(begin <= at_ns <= end for begin, end in spans)]


def died_by_itself(facts: Facts, life: Life) -> bool:
    """Its main process ended although nobody had signalled it, nor taken so much memory from it that the kernel killed in it."""
    if life.exited is None or not life.died_by_itself:
        return False
    instants = [life.exited.at_ns] if life.exited.oom else []
    instants += [event.at_ns for event in life.oom_kills if abs(life.exited.at_ns - event.at_ns) <= WITH_OOM_S * NS_PER_S]
    spans = _squeezes(facts, life.replica) if instants else []
    return not any(begin <= at_ns <= end for begin, end in spans for at_ns in instants)


def ended_by_oom(facts: Facts, life: Life) -> bool:
    """Its main process ended for want of memory that the harness had not taken away."""
    kills = oom_kills_of(facts, life)
    if life.exited is None or not kills:
        return False
    near = any(abs(life.exited.at_ns - at_ns) <= WITH_OOM_S * NS_PER_S for at_ns in kills)
    return life.exited.oom or (near and not life.exited.commanded)


def denial(facts: Facts, life: Life) -> Denial | None:
    """What ``life`` lacked when it died or did not start, by the newest line of its log that says so; None when it lacked nothing."""
    at_start = life.failed is not None and life.failed.reason in ("exited", "never-healthy") and not life.lost
    declared = facts.scenario.target.get(life.process)
    if declared is None or not (at_start or died_by_itself(facts, life)):
        return None
    for line in reversed(log_of(life)):
        if declared.read_only and (found := _READ_ONLY.search(line)):
            return Denial(name=WRITABLE, line=line.strip(), path=_path_in(line, found))
        if declared.cap_drop and (found := _DENIED.search(line)):
            return Denial(name=CAPABILITY, line=line.strip(), path=_path_in(line, found))
    return None


def log_of(life: Life) -> list[str]:
    """The last lines that it wrote and that are not empty."""
    lines = life.failed.log if life.failed else life.exited.log if life.exited else ()
    return [line for line in lines if line.strip()]


def _squeezes(facts: Facts, replica: str) -> list[tuple[int, int]]:
    """Spans in which the harness had taken memory away from ``replica``, and a little longer."""
    restored = [event.until_ns for event in facts.events(Restored) if (event.replica, event.what) == (replica, "memory")]
    taken = [event for event in facts.events(Disturbed) if (event.replica, event.what) == (replica, "memory")]
    after_ns = round(AFTER_SQUEEZE_S * NS_PER_S)
    return [(event.at_ns, min((at_ns for at_ns in restored if at_ns >= event.at_ns), default=facts.end_ns) + after_ns) for event in taken]


def _path_in(line: str, found: re.Match[str]) -> str:
    """The path that a line of a log names: one in quotes, else the last before the complaint, else the first after it."""
    if quoted := _QUOTED_PATH.search(line):
        return quoted[1]
    before, after = _PATH.findall(line[: found.start()]), _PATH.findall(line[found.end() :])
    return before[-1] if before else after[0] if after else ""
