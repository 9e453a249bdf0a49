"""What a run tells while it goes on: which step it is in and what it noticed.

The run calls these methods from one thread or several and never waits for them. `harness.report.live` draws them on a terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Progress(Protocol):
    """Shows how far a run is."""

    def run_began(self, name: str, steps: Sequence[str], planned_s: float) -> None:
        """The run of scenario ``name`` began; ``steps`` are its steps in words, without the start of the target.

        ``planned_s`` is how long it should take in all, 0 when nobody knows.
        """
        ...

    def step_began(self, index: int, text: str) -> None:
        """Step ``index`` began, counted from 1; 0 is the start of the target."""
        ...

    def note(self, text: str) -> None:
        """Something that the person at the terminal should know at once."""
        ...

    def replica(self, text: str) -> None:
        """How many replicas are up, such as ``web 2/3 up``; replaces what was told before."""
        ...

    def work(self, text: str) -> None:
        """A line of what the engine does before anything starts, such as the output of a build."""
        ...

    def step_ended(self, index: int, problem: str) -> None:
        """Step ``index`` ended; ``problem`` is empty when it did all that it should."""
        ...

    def run_ended(self) -> None:
        """The run is over and the terminal must be as it was; a second call does nothing."""
        ...


class SilentProgress:
    """Shows nothing."""

    def run_began(self, name: str, steps: Sequence[str], planned_s: float) -> None:
        """Nothing is shown."""

    def step_began(self, index: int, text: str) -> None:
        """Nothing is shown."""

    def note(self, text: str) -> None:
        """Nothing is shown."""

    def replica(self, text: str) -> None:
        """Nothing is shown."""

    def work(self, text: str) -> None:
        """Nothing is shown."""

    def step_ended(self, index: int, problem: str) -> None:
        """Nothing is shown."""

    def run_ended(self) -> None:
        """Nothing is shown."""
