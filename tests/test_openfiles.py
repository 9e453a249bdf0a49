"""How many connections a scenario needs, and what is refused for want of files."""

from __future__ import annotations

import resource

import pytest

from harness.errors import ExitCode, MachineError
from harness.openfiles import check_open_files, most_replicas
from harness.scenario import Scenario


def scenario(**load: object) -> Scenario:
    return Scenario.model_validate(
        {
            "jetable": 1,
            "name": "x",
            "target": {"web": {"command": "x", "replicas": 2}, "worker": {"command": "x", "replicas": 9}},
            "load": {"requests": ["GET /"], **load},
            "steps": [{"scale": {"web": 4}}, {"scale": {"web": 1, "worker": 20}}],
        }
    )


def test_the_most_replicas_that_take_the_load_are_counted() -> None:
    assert most_replicas(scenario()) == 4


def test_steps_that_are_made_of_steps_count_too() -> None:
    together = {"together": [{"scale": {"web": 7}}, {"rolling_restart": {}}]}
    drawn = {"chaos": {"for": "5s", "every": "1s", "of": ["scale", {"kill": "any"}]}}
    whole = scenario().model_dump(mode="json")
    assert most_replicas(Scenario.model_validate(whole | {"steps": [together]})) == 7
    assert most_replicas(Scenario.model_validate(whole | {"steps": [drawn]})) == 4


def test_more_connections_than_files_are_refused_with_the_numbers_and_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (64, 1024))
    check_open_files(scenario(users=240))
    check_open_files(scenario(users=960, keep_alive=False))
    check_open_files(scenario(rate="10/s"))
    with pytest.raises(
        MachineError, match=r"241 users with a connection to each of 4 replicas need 1028 open files, and 1024 are allowed"
    ) as e:
        check_open_files(scenario(users=241))
    assert e.value.exit_code == ExitCode.ENVIRONMENT
    assert "ulimit -Hn 1028" in str(e.value)
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (64, resource.RLIM_INFINITY))
    check_open_files(scenario(users=241))
