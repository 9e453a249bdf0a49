"""What ties the parts of a real run together."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.backing import Backing
from harness.clock import Dice, FakeClock
from harness.engines.base import Exit, Replica
from harness.history import CutOff, Event, ServicePhase
from harness.real import _Ties, no_inner
from harness.scenario import Scenario, Step

SCENARIO = Scenario.model_validate(
    {
        "jetable": 1,
        "name": "services",
        "target": {"web": {"command": "true"}},
        "services": {"redis": {}},
        "load": {"requests": ["GET /"]},
        "steps": [{"steady": "1s"}],
    }
)


def replica(name: str) -> Replica:
    return Replica(name=name, process=name, host="127.0.0.1", port=1, pid=1, at_ns=1, running_ns=1)


def test_what_an_engine_sees_of_a_service_is_no_evidence_against_the_app() -> None:
    events: list[Event] = []
    backing = Backing(SCENARIO, mark="2fecf0", scratch=Path(), clock=FakeClock(), record=events.append)
    ties = _Ties(backing, events.append)
    ties.record(CutOff(at_ns=1, replica="redis", processes=()))
    ties.exited(replica("redis"), Exit(at_ns=2, status=0))
    ties.record(CutOff(at_ns=3, replica="web.1", processes=()))
    assert [(type(event), event.at_ns) for event in events] == [(ServicePhase, 2), (CutOff, 3)]


def test_before_there_is_a_fleet_nobody_is_asked() -> None:
    ties = _Ties(Backing(SCENARIO, mark="2fecf0", scratch=Path(), clock=FakeClock(), record=lambda _event: None), lambda _event: None)
    ties.exited(replica("web.1"), Exit(at_ns=2, status=0))
    ties.hear("web.1", b"job 2fecf0-1 started\n")
    assert (ties.address("web"), ties.up("web"), ties.replicas("web"), ties.step()) == (None, [], [], 0)


def test_a_step_that_nobody_frames_is_a_defect() -> None:
    with pytest.raises(AssertionError, match="nobody frames kill here"):
        no_inner(Step.model_validate({"kill": "any"}), Dice(1))
