"""A picture of a few operations: a lane for each session, a bar from call to return, and a lane for what was done to the target."""

from __future__ import annotations

from collections.abc import Sequence

from harness.monitors.calls import Calls
from harness.monitors.words import Moment


def text(calls: Calls, moments: Sequence[Moment] = ()) -> list[str]:
    """The picture for a terminal, at most 100 columns wide."""
    raise NotImplementedError


def svg(calls: Calls, moments: Sequence[Moment] = ()) -> str:
    """The picture as one SVG element that needs nothing else."""
    raise NotImplementedError
