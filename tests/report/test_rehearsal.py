"""What ``--dry-run`` prints."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from harness.history import Disturbed, Signalled, Spawned, StepBegan, StepEnded
from harness.report.rehearsal import plan_lines, print_rehearsal
from harness.run import RunOptions, rehearse
from harness.scenario import load_scenario

QUICKSTART = Path(__file__).parents[2] / "scenarios" / "quickstart"
FAULTS = QUICKSTART.parent / "faults"


def test_each_step_shows_whom_it_hits_and_what_it_starts() -> None:
    lines = plan_lines(
        (
            StepBegan(at_ns=1, step=2, name="terminate", text="terminate any"),
            Signalled(at_ns=2, until_ns=3, step=2, replica="web.1", signal="SIGTERM", purpose="terminate", lag_s=-2.0),
            Spawned(at_ns=4, step=2, replica="web.3", process="web", command="app", replaces="web.1"),
            StepEnded(at_ns=5, step=2),
        )
    )
    assert [line.strip() for line in lines] == [
        "step 2  terminate any",
        "SIGTERM to web.1, the router learns of it 2 s before",
        "start web.3 in place of web.1",
    ]


def test_signals_that_stop_nothing_come_twice_or_while_it_starts_are_shown_as_such() -> None:
    def signal(purpose: str, name: str) -> Signalled:
        return Signalled(at_ns=2, until_ns=3, step=2, replica="web.1", signal=name, purpose=purpose)

    lines = plan_lines((signal("signal", "SIGHUP"), signal("again", "SIGTERM"), signal("start", "SIGTERM")))
    assert [line.strip() for line in lines] == ["SIGHUP to web.1", "SIGTERM to web.1 once more", "SIGTERM to web.1 while it starts"]


def test_what_chance_drew_names_who_drew_it() -> None:
    lines = plan_lines((StepBegan(at_ns=1, step=3, name="kill", text="kill any", of=2),))
    assert lines == ["  step 3  kill any, drawn by step 2"]


@pytest.mark.parametrize(("what", "word"), [("pause", "freeze"), ("network", "cut off"), ("memory", "squeeze")])
def test_what_is_taken_away_is_shown_with_its_victim(what: str, word: str) -> None:
    (line,) = plan_lines((Disturbed(at_ns=1, until_ns=2, step=1, replica="web.1", what=what, delivered=True),))
    assert line.strip() == f"{word} web.1"


@pytest.mark.parametrize("path", sorted(FAULTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_fault_of_the_suite_is_shown_with_a_victim_and_without_a_problem(path: Path) -> None:
    history = rehearse(load_scenario(path), path, RunOptions(engine="process", seed=7, reports=Path("reports")))
    lines = plan_lines(history.events)
    assert [line for line in lines if " web." in line and "start web." not in line]
    assert not [line for line in lines if "problem" in line]


def test_what_only_the_end_of_a_run_does_is_not_shown_and_problems_are() -> None:
    lines = plan_lines(
        (
            Signalled(at_ns=2, until_ns=3, step=2, replica="web.1", signal="SIGKILL", purpose="teardown"),
            StepEnded(at_ns=5, step=2, problem="no replica of web was up"),
        )
    )
    assert [line.strip() for line in lines] == ["problem: no replica of web was up"]


@pytest.mark.parametrize("engine", ["docker", "process"])
def test_the_command_that_does_it_for_real_names_the_engine_that_was_asked_for(engine: str) -> None:
    path = min(QUICKSTART.glob("*.yaml"))
    history = rehearse(load_scenario(path), path, RunOptions(engine=engine, seed=7, reports=Path("reports")))
    console = Console(file=io.StringIO(), width=200)
    print_rehearsal(history, console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines()[-1] == f"  for real: jetable run {path} --engine {engine} --seed 7"
    assert history.header.engine == "fake"
