"""The plan that a run really followed, as a scenario that repeats it.

A step of a scenario may leave much to chance: which replica, how many, which of several steps. A run writes down each step as it was
done, and when. `plan_of` makes a scenario of that: the same target, load and expectations, the same seed, and for steps those that were
done, each with the replicas that it hit and with the time at which it began. It is kept in the run's folder as ``plan.yaml``, and
``jetable run --replay RUN`` runs it.

The same steps at the same times are not the same run: which request is in flight at a signal is not for a plan to say.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import yaml

from harness.errors import UsageError
from harness.history import History, Planned, StepBegan, StepEnded
from harness.scenario import Scenario, Step
from harness.units import Duration

PLAN_FILE: Final = "plan.yaml"
_MS: Final = 1_000_000


def plan_of(history: History) -> Scenario:
    """The scenario that does again what was done.

    Raises:
        UsageError: Nothing was done, or the run is of a Jetable that did not write it down.
    """
    scenario = Scenario.model_validate_json(history.header.scenario)
    began = {event.step: event for event in history.events if isinstance(event, StepBegan)}
    started_ns = next((event.at_ns for event in history.events if isinstance(event, StepEnded) and event.step == 0), 0)
    steps = []
    for event in history.events:
        if not isinstance(event, Planned) or event.step not in began:
            continue
        step = Step.model_validate_json(event.plan)
        if step.kind != "chaos":  # what it drew has steps of its own
            at_ns = max(0, began[event.step].at_ns - started_ns) // _MS * _MS
            steps.append(step.model_copy(update={"at": Duration(ns=at_ns), "repeat": 1}))
    if not steps:
        raise UsageError(f"{history.header.run_id}: no step of this run was begun, so there is nothing to repeat")
    return scenario.model_copy(update={"steps": tuple(steps), "seed": history.header.seed})


def write_plan(history: History, folder: Path) -> None:
    """Write ``plan.yaml`` into the run's folder; nothing when no step was begun. Raises `OSError`."""
    try:
        scenario = plan_of(history)
    except UsageError:
        return
    head = (
        f"# What {history.header.run_id} really did, each step with its replicas and its time since the load began.\n"
        f"# Repeat it: jetable run --replay {folder}\n"
    )
    document = _short(json.loads(scenario.model_dump_json()))
    (folder / PLAN_FILE).write_text(head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")


def _short(value: Any) -> Any:
    """``value`` without what says nothing: keys without a value, and empty lists and mappings."""
    if isinstance(value, dict):
        return {key: short for key, item in value.items() if (short := _short(item)) not in (None, "", [], {}) or _is_step(key, item)}
    if isinstance(value, list):
        return [_short(item) for item in value]
    return value


def _is_step(key: str, item: object) -> bool:
    """An empty mapping under the name of a step means that step with all defaults."""
    return key in Step.model_fields and isinstance(item, dict)
