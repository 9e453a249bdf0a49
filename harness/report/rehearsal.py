"""What ``--dry-run`` shows: the steps in order, and which replica each of them would hit with the same seed."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from harness.history import Event, History, Signalled, Spawned, StepBegan, StepEnded
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


def plan_lines(events: tuple[Event, ...]) -> list[str]:
    """One line a step, and under it one for each signal and each start that it would bring."""
    lines = []
    for event in events:
        match event:
            case StepBegan():
                lines.append(f"  step {event.step}  {event.text}")
            case Signalled() if event.purpose in ("terminate", "kill", "scale"):
                lines.append(f"          {event.signal} to {event.replica}" + _router_words(event.lag_s))
            case Spawned():
                lines.append(f"          start {event.replica}" + (f" in place of {event.replaces}" if event.replaces else ""))
            case StepEnded() if event.problem:
                lines.append(f"          problem: {event.problem}")
    return lines


def _router_words(lag_s: float) -> str:
    if lag_s == 0:
        return ""
    return f", the router learns of it {abs(lag_s):g} s {'later' if lag_s > 0 else 'before'}"
