"""The plan that a run really followed, and doing it again."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.errors import UsageError
from harness.history import EventWriter, History, Planned, Signalled, StepBegan, build
from harness.replay import PLAN_FILE, plan_of, write_plan
from harness.run import RunOptions, rehearse, replay_of
from harness.scenario import Scenario, load_scenario

TEXT = """
jetable: 1
name: chance
target:
  web: {command: [app], replicas: 4}
load: {requests: [GET /]}
steps:
  - steady: 1s
  - kill: half
  - terminate: {replica: any, again: 200ms, when: mid-response}
  - together: [{restart: any}, {scale: {web: 5}}]
  - terminate_at_start: any
  - chaos: {for: 5s, every: 700ms, of: [terminate, kill, scale, {restart: 30%}]}
"""


def scenario(tmp_path: Path, text: str = TEXT) -> Scenario:
    path = tmp_path / "chance.yaml"
    path.write_text(text)
    return load_scenario(path)


def rehearsed(of: Scenario, seed: int | None) -> History:
    return rehearse(of, Path("chance.yaml"), RunOptions(engine="", seed=seed, reports=Path("reports")))


def blows(history: History) -> list[tuple[str, str, str]]:
    signals = [event for event in history.events if isinstance(event, Signalled) and event.purpose != "teardown"]
    return [(event.purpose, event.signal, event.replica) for event in signals]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_plan_does_to_the_same_replicas_what_was_done(tmp_path: Path, seed: int) -> None:
    first = rehearsed(scenario(tmp_path), seed)
    again = rehearsed(plan_of(first), None)
    assert blows(again) == blows(first)
    assert len(blows(first)) > 10
    assert again.header.seed == seed


def test_a_plan_leaves_nothing_to_chance_and_begins_each_step_when_it_began(tmp_path: Path) -> None:
    history = rehearsed(scenario(tmp_path), 5)
    plan = plan_of(history)
    text = plan.model_dump_json()
    assert all(word not in text for word in ('"any"', '"half"', "30%", '"chaos"'))
    assert [step.at for step in plan.steps] == sorted(step.at for step in plan.steps if step.at is not None)
    began = [event for event in history.events if isinstance(event, StepBegan) and event.step > 0 and event.name != "chaos"]
    assert [step.kind for step in plan.steps] == [event.name for event in began]


def test_what_chaos_drew_has_numbers_of_its_own_and_names_who_drew_it(tmp_path: Path) -> None:
    history = rehearsed(scenario(tmp_path), 5)
    began = [event for event in history.events if isinstance(event, StepBegan)]
    assert [event.step for event in began] == list(range(len(began)))
    (chaos,) = [event for event in began if event.name == "chaos"]
    drawn = [event for event in began if event.of]
    assert {event.of for event in drawn} == {chaos.step}
    assert len(drawn) > 2


def test_the_plan_file_reads_as_the_plan(tmp_path: Path) -> None:
    history = rehearsed(scenario(tmp_path), 7)
    write_plan(history, tmp_path)
    assert load_scenario(tmp_path / PLAN_FILE) == plan_of(history)
    assert (tmp_path / PLAN_FILE).read_text().startswith("# What ")


def test_a_run_that_did_nothing_has_no_plan(tmp_path: Path) -> None:
    history = rehearsed(scenario(tmp_path), 7)
    nothing = build([history.header, *(event for event in history.events if not isinstance(event, Planned))])
    with pytest.raises(UsageError, match="no step of this run was begun"):
        plan_of(nothing)
    write_plan(nothing, tmp_path)
    assert not (tmp_path / PLAN_FILE).exists()


def stored(tmp_path: Path) -> Path:
    """A run's folder as if it had been run."""
    folder = tmp_path / "reports" / "run-1"
    (folder / "history").mkdir(parents=True)
    history = rehearsed(scenario(tmp_path), 9)
    writer = EventWriter(folder / "history" / "events.jsonl")
    for line in (history.header, *history.events):
        writer.append(line)
    writer.close()
    (tmp_path / "reports" / "latest").symlink_to("run-1")
    return folder


def test_a_stored_run_is_named_by_its_own_name_and_not_by_that_of_the_latest(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    path, plan, header = replay_of(tmp_path / "reports" / "latest")
    assert path == folder / PLAN_FILE
    assert (plan.seed, header.seed) == (9, 9)


def test_the_command_line_replays_a_run_and_says_what_it_needs(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    runner = CliRunner()
    shown = runner.invoke(main, ["run", "--replay", str(folder), "--engine", "process", "--dry-run"])
    assert shown.exit_code == 4  # the command of this scenario does not exist here
    assert "app" in shown.output
    nothing = runner.invoke(main, ["run"])
    assert nothing.exit_code == 4
    assert "name scenarios" in nothing.output
    both = runner.invoke(main, ["run", "x.yaml", "--replay", str(folder)])
    assert both.exit_code == 4
    assert f"--replay {folder} runs what that run did" in both.output
    none = runner.invoke(main, ["run", "--replay", str(tmp_path)])
    assert none.exit_code == 4
    assert "no history here" in none.output
