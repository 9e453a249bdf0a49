"""The progress of a run on a terminal.

Where the display may move, finished steps scroll up and two lines at the bottom tell what goes on, for how long and how long it will
take. Anywhere else each step is one line that stays, with the time since the run began, so that the log of a CI machine reads well.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from harness.checks.wording import count
from harness.clock import NS_PER_S, Clock
from harness.report.console import glyphs, prose_width
from harness.report.text import clean, elapsed

BAR_COLUMNS: Final = 24
REFRESH_PER_S: Final = 8
STAMP_COLUMNS: Final = 7
"""Room for the time since the run began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Now:
    """What goes on at this moment; ``step`` is empty between two steps."""

    steps: int = 0
    planned_s: float = 0.0
    began_ns: int = 0
    step: str = ""
    step_began_ns: int = 0
    replicas: str = ""


class TerminalProgress:
    """Draws a `harness.report.progress.Progress` on ``console``; with ``moving`` false it only appends plain lines."""

    def __init__(self, console: Console, clock: Clock, *, moving: bool) -> None:
        self._console = console
        self._clock = clock
        self._moving = moving
        self._glyphs = glyphs(console)
        self._spinner = Spinner(self._glyphs.spinner)
        # Guards changes of what follows, and nothing is printed under it: the display's own thread holds the display's lock while it
        # reads `_now`, and printing a line takes that one too.
        self._lock = threading.Lock()
        self._now = _Now(began_ns=clock.now_ns())
        self._live: Live | None = None
        self._running = False

    def run_began(self, name: str, steps: Sequence[str], planned_s: float) -> None:
        """The scenario's name, how many steps it has and how long it should take."""
        at_ns = self._clock.now_ns()
        self._now = _Now(steps=len(steps), planned_s=planned_s, began_ns=at_ns, step_began_ns=at_ns)
        about = f", about {elapsed(planned_s)}" if planned_s > 0 else ""
        self._line(Text.assemble((clean(name), "bold"), f": {count(len(steps), 'step')}{about}"))
        self._running = True
        if self._moving:
            self._live = Live(
                console=self._console,
                get_renderable=self._view,
                refresh_per_second=REFRESH_PER_S,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start(refresh=True)

    def step_began(self, index: int, text: str) -> None:
        """A moving display shows the step at its bottom; a plain one gets its line."""
        step = f"step {_of(index, self._now.steps)}  {clean(text)}" if index > 0 else clean(text)
        with self._lock:
            self._now = now = replace(self._now, step=step, step_began_ns=self._clock.now_ns())
        if self._live is None:
            self._line(Text(f"{self._stamp()}  {step}  {self._left(now)}".rstrip()))

    def note(self, text: str) -> None:
        """One line that stays."""
        self._line(Text(f"{self._stamp()}  note: {clean(text)}"))

    def replica(self, text: str) -> None:
        """Only a moving display shows it: in a log it would be one line for every change."""
        with self._lock:
            self._now = replace(self._now, replicas=clean(text))

    def work(self, text: str) -> None:
        """A moving display shows the latest line, a plain one all of them."""
        if self._live is not None:
            self.replica(text)
        else:
            self._line(Text(f"{self._stamp()}  {clean(text)}"))

    def step_ended(self, index: int, problem: str) -> None:  # noqa: ARG002  steps end in the order in which they began
        """What went wrong in it, if anything; a moving display keeps the step with the time that it took."""
        with self._lock:
            now = self._now
            self._now = replace(now, step="")
        took = elapsed(self._since(now.step_began_ns))
        if problem:
            self._line(Text(f"{self._stamp()}  {self._glyphs.problem} {now.step}: {clean(problem)}", style="yellow"))
        elif self._live is not None:
            self._line(Text.assemble((self._stamp(), "dim"), f"  {now.step}  ", (took, "dim")))

    def run_ended(self) -> None:
        """The moving lines go."""
        with self._lock:
            live, self._live = self._live, None
            running, self._running = self._running, False
        if live is not None:
            live.stop()
        if running:
            self._line(Text(f"{self._stamp()}  ended", style="dim"))

    def _line(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)

    def _stamp(self) -> str:
        return f"{elapsed(self._since(self._now.began_ns)):>{STAMP_COLUMNS}}"

    def _since(self, at_ns: int) -> float:
        return (self._clock.now_ns() - at_ns) / NS_PER_S

    def _left(self, now: _Now) -> str:
        """How long the rest should take, in words, or nothing when there is no plan."""
        if now.planned_s <= 0:
            return ""
        left_s = now.planned_s - self._since(now.began_ns)
        return f"(about {elapsed(left_s)} left)" if left_s > 0 else f"({elapsed(-left_s)} longer than planned)"

    def _view(self) -> RenderableType:
        """The two lines at the bottom of a moving display."""
        now = self._now
        margin = Text(" " * (STAMP_COLUMNS - 1))
        step = Text.assemble(now.step, "  ", (elapsed(self._since(now.step_began_ns)), "dim")) if now.step else Text()
        step.truncate(prose_width(self._console) - STAMP_COLUMNS - 4, overflow="ellipsis")
        first = Table.grid(padding=(0, 1))
        first.add_row(margin, self._spinner, step)

        gone_s = self._since(now.began_ns)
        words = [f"{elapsed(gone_s)} {self._left(now)}".rstrip(), *([now.replicas] if now.replicas else [])]
        told = Text(f" {self._glyphs.dot} ".join(words), style="dim", no_wrap=True, overflow="ellipsis")
        second = Table.grid(padding=(0, 1))
        if now.planned_s > 0:
            done = min(gone_s, now.planned_s)
            bar = ProgressBar(total=now.planned_s, completed=done, width=BAR_COLUMNS, complete_style="cyan", finished_style="cyan")
            second.add_row(margin, bar, told)
        else:
            second.add_row(margin, told)
        return Group(first, second)


def _of(index: int, steps: int) -> str:
    """``3/9``, or ``3`` when nobody said how many there are."""
    return f"{index}/{steps}" if steps else str(index)
