"""Which health check said that a start was healthy, as a bench stores it: times that hang on different ones don't compare."""

from __future__ import annotations

import shlex
from typing import Final

from harness.benches import HealthCheck
from harness.scenario import Scenario

TEST_EVERY_S: Final = 0.5
"""How often an engine of containers runs a ``test`` that names no interval."""


def health_of(scenario: Scenario, process: str) -> HealthCheck:
    """What says that a replica of ``process`` is healthy, as a bench stores it, which never asks an image's own check."""
    check = scenario.healthcheck_of(process)
    every_s = check.ask_every.s
    if check.kind == "test":  # older engines heed no start_interval, so nobody knows how often such a test is run
        every_s = 0.0 if check.start_interval else every_s if "interval" in check.model_fields_set else TEST_EVERY_S
    seen = check.kind == "running" or (check.kind == "tcp" and scenario.target[process].spoken_tls is None)
    asked = check.http or check.log or (shlex.join(check.test) if check.test else "")
    return HealthCheck(kind=check.kind, asked=asked, every_s=0.0 if seen else every_s)


def known_health(scenario: Scenario, process: str, *, contained: bool) -> HealthCheck | None:
    """That of a run; None where its image may bring its own, as it may where the engine runs containers."""
    return None if contained and scenario.target[process].healthcheck is None else health_of(scenario, process)
