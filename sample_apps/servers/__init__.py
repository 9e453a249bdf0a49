"""The same routes for many servers: what differs between two runs is then the server alone.

`GET /healthz` answers ``ok``, `GET /echo/<value>` the value, `GET /slow?ms=300` answers ``slow`` after waiting so long for something else,
and `GET /work?ms=5` answers ``work`` after working so long itself, which holds up an event loop as rendering a page does. No server here
gets code that helps it to stop, unless a variable says so: each is run as its own documentation says, and ``scenarios/servers`` shows what
that loses.
"""

from __future__ import annotations

import time
from urllib.parse import parse_qs

_LONGEST_ANSWER_MS = 30_000


def duration_s(query: str, default_ms: int) -> float:
    """``ms`` of a query such as ``ms=300``, in seconds, 30 at most; ``default_ms`` where it is no whole number."""
    (text,) = parse_qs(query).get("ms", [""])[-1:]
    return min(int(text) if text.isascii() and text.isdigit() else default_ms, _LONGEST_ANSWER_MS) / 1000


def work(query: str) -> None:
    """Work as long as a query says, 5 ms unless it does, and let nothing else of this thread run meanwhile."""
    until_s = time.monotonic() + duration_s(query, 5)
    while time.monotonic() < until_s:
        pass
