"""What a real run writes down: one run with every kind of event in it, and one that runs under a shell and dies by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from harness.clock import NS_PER_S
from harness.history import (
    Event,
    Exited,
    History,
    Knocked,
    Note,
    PhaseReached,
    Routed,
    RunEnded,
    Signalled,
    Spawned,
    StepBegan,
    StepEnded,
    read,
)

ROOT = Path(__file__).parent.parent.parent
BOUND_S = 120
SLACK_NS = NS_PER_S // 4

STOPS = """
jetable: 1
name: a run with one of everything
target:
  web:
    command: ["{python}", -m, sample_apps.web]
    replicas: 2
    healthcheck: /healthz
    stop_grace_period: 10s
load:
  users: 8
  think_time: 5ms
  retries: 2
  requests:
    - GET /items/{id}
    - GET /slow?ms=50
steps:
  - steady: 1s
  - terminate: {replica: any, endpoint_lag: 300ms}
  - kill: any
  - steady: 1s
"""

DEATHS = """
jetable: 1
name: a shell in between and replicas that die
target:
  web:
    command: '{python} -m sample_apps.web && true'
    environment: {DEFECT: crashes}
    replicas: 2
    healthcheck: /healthz
load:
  users: 4
  think_time: 5ms
  requests:
    - GET /items/{id}
steps:
  - steady: 6s
"""

pytestmark = [pytest.mark.slow, pytest.mark.live]

Kind = TypeVar("Kind", bound=Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run left: its folder of reports, what it printed and what it recorded."""

    reports: Path
    printed: str
    history: History

    def of(self, kind: type[Kind], replica: str = "") -> list[Kind]:
        """Its events of one kind, of one replica if wanted."""
        return [event for event in self.history.events if isinstance(event, kind) and replica in ("", getattr(event, "replica", ""))]

    def signalled(self, purpose: str) -> Signalled:
        """The one signal of this purpose."""
        (signal,) = [event for event in self.of(Signalled) if event.purpose == purpose]
        return signal

    def phases(self, replica: str) -> list[str]:
        """The phases that a replica reached, in order."""
        return [event.phase for event in sorted(self.of(PhaseReached, replica), key=lambda event: event.at_ns)]


def run(folder: Path, scenario: str) -> Run:
    path, reports = folder / "scenario.yaml", folder / "reports"
    path.write_text(scenario)
    command = [sys.executable, "-m", "harness", "run", str(path), "--reports", str(reports), "--seed", "1"]
    environment = {**os.environ, "NO_COLOR": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=BOUND_S, check=False)
    printed = ended.stdout + ended.stderr
    (stored,) = [path for path in reports.iterdir() if path.is_dir() and not path.is_symlink()]
    return Run(reports=reports, printed=printed, history=read(stored))


@pytest.fixture(scope="module")
def stops(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("stops"), STOPS)


@pytest.fixture(scope="module")
def deaths(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("deaths"), DEATHS)


def test_every_replica_runs_then_listens_then_is_healthy_then_gets_load(stops: Run) -> None:
    names = [event.replica for event in stops.of(Spawned)]
    assert sorted(names) == ["web.1", "web.2", "web.3", "web.4"]
    for name in names:
        assert stops.phases(name)[:3] == ["running", "listening", "healthy"]
        healthy = next(event for event in stops.of(PhaseReached, name) if event.phase == "healthy")
        opened = stops.of(Routed, name)[0]
        assert opened.open
        assert opened.at_ns >= healthy.at_ns


def test_a_replacement_says_whom_it_replaces(stops: Run) -> None:
    victims = [stops.signalled("terminate").replica, stops.signalled("kill").replica]
    assert [event.replaces for event in sorted(stops.of(Spawned), key=lambda event: event.at_ns)[2:]] == victims


def test_a_listener_that_closes_after_the_signal_is_recorded_with_its_backlog(stops: Run) -> None:
    signal = stops.signalled("terminate")
    (closed,) = [event for event in stops.of(PhaseReached, signal.replica) if event.phase == "stopped-listening"]
    (exited,) = stops.of(Exited, signal.replica)
    assert signal.at_ns < closed.at_ns
    assert type(closed.backlog) is int
    assert closed.backlog >= 0
    assert exited.status == 0
    assert exited.commanded


def test_a_signalled_replica_is_knocked_at_until_it_refuses(stops: Run) -> None:
    signal = stops.signalled("terminate")
    knocks = stops.of(Knocked, signal.replica)
    assert len(knocks) > 5
    assert all(signal.at_ns <= knock.at_ns <= knock.done_ns for knock in knocks)
    told = [knock.result for knock in knocks]
    assert told.index("served") < told.index("refused")


def test_the_router_learns_of_a_stop_when_its_lag_is_over_and_of_a_kill_at_once(stops: Run) -> None:
    for purpose, lag_s in (("terminate", 0.3), ("kill", 0.0)):
        signal = stops.signalled(purpose)
        assert signal.lag_s == lag_s
        (closed,) = [event for event in stops.of(Routed, signal.replica) if not event.open]
        assert closed.at_ns >= signal.at_ns + round(lag_s * NS_PER_S)


def test_a_fault_was_on_something_busy_and_of_its_own_step(stops: Run) -> None:
    for purpose, step in (("terminate", 2), ("kill", 3)):
        signal = stops.signalled(purpose)
        assert (signal.step, signal.delivered, signal.wants_busy) == (step, True, True)
        assert signal.in_flight > 0


def test_steps_begin_and_end_in_their_order(stops: Run) -> None:
    assert [(event.step, event.name) for event in stops.of(StepBegan)] == [
        (0, "start"),
        (1, "steady"),
        (2, "terminate"),
        (3, "kill"),
        (4, "steady"),
    ]
    assert [(event.step, event.problem) for event in stops.of(StepEnded)] == [(number, "") for number in range(5)]


def test_each_request_carries_the_step_in_which_it_began(stops: Run) -> None:
    attempts = stops.history.attempts
    assert set(attempts.step.tolist()) >= {1, 2, 3, 4}
    began_ns = {event.step: event.at_ns for event in stops.of(StepBegan)}
    ended_ns = {event.step: event.at_ns for event in stops.of(StepEnded)}
    for step in sorted(began_ns.keys() - {0}):
        # A step is told to the load between the end of the one before and its own record, so what begins in between may say either.
        inside = attempts.invoke_ns[(attempts.step == step) & (attempts.n == 0)]
        assert len(inside) > 0
        assert inside.min() >= ended_ns[step - 1] - SLACK_NS
        assert inside.max() <= began_ns.get(step + 1, ended_ns[step]) + SLACK_NS
        assert began_ns[step] <= ended_ns[step]


def test_a_run_says_that_it_finished_and_no_replica_is_called_dead(stops: Run) -> None:
    assert stops.history.complete
    last = stops.history.events[-1]
    assert isinstance(last, RunEnded)
    assert (last.how, last.why) == ("finished", "")
    assert all(event.commanded for event in stops.of(Exited))
    assert stops.history.torn == 0


def test_latest_points_to_the_run(stops: Run) -> None:
    assert (stops.reports / "latest").resolve().name == stops.history.header.run_id


def test_a_shell_that_runs_the_command_is_noted_and_told(deaths: Run, stops: Run) -> None:
    (note,) = deaths.of(Note)
    assert note.text.startswith("web: its command has shell syntax, so a shell runs it: sh -c ")
    assert "a shell runs it" in deaths.printed
    assert not stops.of(Note)


def test_a_replica_that_dies_by_itself_is_withdrawn_at_once_and_told(deaths: Run) -> None:
    dead = [event for event in deaths.of(Exited) if not event.commanded]
    assert sorted(event.replica for event in dead) == ["web.1", "web.2"]
    for event in dead:
        assert event.status == 3
        assert "crashed (planted)" in event.log[-1]
        assert [told.open for told in deaths.of(Routed, event.replica)] == [True, False]
        assert deaths.of(Routed, event.replica)[1].at_ns >= event.at_ns
        assert f"{event.replica} ended by itself with status 3" in deaths.printed
    assert not [signal for signal in deaths.of(Signalled) if signal.delivered]
