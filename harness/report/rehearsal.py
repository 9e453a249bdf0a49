"""What ``--dry-run`` shows: the steps in order, and which replica each of them would hit with the same seed."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.text import Text

from harness.history import Disturbed, Event, History, Signalled, Spawned, StepBegan, StepEnded
from harness.scenario import Scenario


def print_rehearsal(history: History, console: Console) -> None:
    """Print the plan of a run that was played on fakes; nothing was started."""
    scenario = Scenario.model_validate_json(history.header.scenario)
    console.print(Text.assemble((scenario.name, "bold"), f"  dry run, seed {history.header.seed}"), soft_wrap=True)
    for line in plan_lines(history.events):
        console.print(Text(line), soft_wrap=True)
    for threshold in scenario.expect:
        console.print(Text(f"  expects {threshold.text}"), soft_wrap=True)
    console.print(Text(f"  for real: {history.header.rerun}"), soft_wrap=True)


_MANNERS: Final = {"terminate": "", "kill": "", "scale": "", "signal": "", "again": " once more", "start": " while it starts"}
"""The purposes of signals that a step orders, and how each comes to its replica."""

_TAKEN: Final = {"pause": "freeze", "network": "cut off", "memory": "squeeze"}


def plan_lines(events: tuple[Event, ...]) -> list[str]:
    """One line a step, and under it one for each signal, each start and all else that it would bring."""
    lines = []
    for event in events:
        match event:
            case StepBegan():
                lines.append(f"  step {event.step}  {event.text}" + (f", drawn by step {event.of}" if event.of else ""))
            case Signalled() if event.purpose in _MANNERS:
                lines.append(f"          {event.signal} to {event.replica}{_MANNERS[event.purpose]}" + _router_words(event.lag_s))
            case Disturbed():
                lines.append(f"          {_TAKEN[event.what]} {event.replica}")
            case Spawned():
                lines.append(f"          start {event.replica}" + (f" in place of {event.replaces}" if event.replaces else ""))
            case StepEnded() if event.problem:
                lines.append(f"          problem: {event.problem}")
    return lines


def _router_words(lag_s: float) -> str:
    if lag_s == 0:
        return ""
    return f", the router learns of it {abs(lag_s):g} s {'later' if lag_s > 0 else 'before'}"
