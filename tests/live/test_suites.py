"""The suites that are shipped, run as a person runs them on every engine that can: real replicas, real load, the command line."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ScenarioError
from harness.run import check_scenarios, real_engines
from harness.scenario import load_scenario
from harness.schema import EXAMPLE
from tests.live.commands import ROOT, jetable, run_until_known
from tests.live.processes import left_by, left_of

KNOWN_GOOD = sorted(path for suite in ("quickstart", "faults", "streams", "docker") for path in (ROOT / "scenarios" / suite).glob("*.yaml"))
KNOWN_BAD = sorted(path for path in (ROOT / "scenarios/known-bad").glob("*.yaml") if not path.stem.startswith(("jobs-", "state-")))

UNKNOWN = {
    "idle-victim",
    "rate-too-high",
    "stream-no-ids",
}
"""Scenarios that show why a run proves nothing."""

BESIDE: dict[str, set[str]] = {
    # it closes reused connections and those of probes, too, and a request that left before the signal may be read after it
    "accepts-then-drops": {"keep-alive-race", "new-connections-dropped", "dropped-in-flight"},
    "crashes": {"dropped-without-fault", "truncated-answers", "unavailable"},  # what the crash cut, and what came when no replica was left
    "cuts-bodies": {"dropped-in-flight"},  # a cut that happened to be in flight at the signal is laid at its door
    "drops-kept-connections": {"dropped-in-flight"},  # a request that left before the signal may be read after it
    "drops-new-connections": {"dropped-after-signal"},  # a user may happen to connect anew
    "grace-too-short": {"dropped-after-signal"},  # a request that was on its way when the signal came
}
"""What else may fail, where one defect has two faces and chance decides whether the second one shows."""

IN_CONTAINERS: dict[str, set[str]] = {
    "answers-after-exit": {"cut-off-with-process-1"},  # the kernel cuts what would have answered
    "orphans-block-start": {"lost-by-kill"},  # as the next one
    "orphans-keep-port": {"lost-by-kill"},  # nothing outlives process 1 of a container, so the kill takes the workers along
    "leaves-child": {"cut-off-with-process-1"},  # nothing outlives process 1 of a container: what would survive is cut off
}
"""What must be found instead of what the scenario names, where a container makes another thing of the same defect."""

BESIDE_IN_CONTAINERS: dict[str, set[str]] = {
    "docker-eats-memory": {"dropped-without-fault"},  # what a worker had in flight when the kernel killed it, and no step had ordered it
    "answers-after-exit": {"dropped-in-flight"},  # as the next one
    "docker-exits-before-workers": {"dropped-in-flight"},  # what the workers were answering when process 1 took them along
    "drops-on-sigterm": {"cut-off-with-process-1"},  # master and workers end at once, so chance decides who was first
    "ends-on-sighup": {"cut-off-with-process-1"},  # the same
    "exits-zero": {"cut-off-with-process-1"},  # the same
    "saved-by-retry": {"cut-off-with-process-1"},  # the same
    "second-signal": {"cut-off-with-process-1"},  # the same
}
"""What else may fail where only containers show the second face."""

FAILS_ITS_OWN = {"slow-start": "startup_time", "slow-imports": "startup_time", "saved-by-retry": "retried_requests"}
"""Scenarios of which a threshold is all that fails, and its metric."""

METRICS_BESIDE = {"cut-off-with-process-1": "cut_off"}
"""The threshold that fails with what may be found beside such a scenario's own."""

CAUSES = {
    "accepts-then-drops": "and the app closed them without a whole answer",
    "answers-after-exit": "The main process ended before its workers had answered",
    "crashes": "The replica ended by itself at that moment, with status 3",
    "crashes-at-start": "KeyError: 'pool'",
    "cuts-bodies": "The app closed the connection in the middle of its answer",
    "drops-kept-connections": "the server closed idle kept-alive connections on which a request was on its way",
    "drops-new-connections": "The port was open after the signal, but nobody served what connected to it",
    "drops-old-clients": "The same stops lost none of what the load itself had in flight",
    "drops-on-reload": "cut them when SIGHUP came, though the replica lived on",
    "drops-on-sigterm": "exited with status 143",  # at once, unless the machine is slow
    "ends-on-sighup": "SIGHUP ended the process",
    "errors-while-draining": "answered that it is stopping",
    "exits-at-start": "no database",
    "exits-zero": "It looks like an orderly end and is none",
    "grace-too-short": "still under way when the grace of 1.00 s was over",
    "idle-connections-awaited": "it ended as soon as its clients had closed their connections, and not before",
    "ignores-sigterm": "went on serving new requests until SIGKILL",
    "ignores-sigterm-at-start": "while it started",
    "leaves-child": "ended without ending the processes that it, or one of them, had started",
    "lost-by-kill": "SIGKILL can't be answered",
    "never-answered": "GET /not/there was never answered otherwise than with 404",
    "never-exits": "what kept it is no request",
    "never-ready": "was answered with 503",
    "orphans-block-start": "outlived the main process of",
    "orphans-keep-port": "went on and holds the port",
    "paused-too-long": "the router went on sending to it, and their clients gave up",
    "pid-file": "already running",
    "ready-too-soon": "The health check passed before the app was ready",
    "reloader": "the reloader of flask and not the server",
    "saved-by-retry": "exited with status 143",  # the same
    "second-signal": "when it came a second time",
    "shell-wrapper": "a shell does not pass SIGTERM on",
    "slow-imports": "most on sample_apps.web.heavy",
    "slow-start": "before it listened",
    "stream-cuts-polls": "The app closed their connections after SIGTERM while it went on",
    "stream-cuts-streams": "no last chunk, no close frame",
    "stream-holds-streams": "still open when the grace of 1.00 s was over",
    "stream-ignores-last-id": "did not go on after the event that the client had named",
    "stream-longer-than-grace": "when the grace of 1.00 s was over",
    "stream-repeats-events": "A client that connected again got events that it had",
    "stream-skips-events": "Events were left out in the middle of a connection",
    "unavailable": "No other replica was up to take them",
}
"""What the cause of one of a scenario's findings must say, on processes."""

WITHOUT_CAUSE = {
    "crashes-while-stopping",  # its last line of log is all that is known
    "some-errors",
    "stream-refuses-resumption",
    "timeouts",
    "wrong-answers",
    *UNKNOWN,  # nothing is proven
}
"""Scenarios whose findings need no cause: the finding itself is all the evidence that there is."""

ENGINE_S_OWN = {"answers-after-exit", "exits-zero", "leaves-child", "orphans-block-start", "orphans-keep-port", "saved-by-retry"}
"""Scenarios whose cause is another one in containers."""

IN_CONTAINERS_TOO = {
    "accepts-then-drops",
    "crashes",
    "drops-on-reload",
    "exits-at-start",
    "idle-connections-awaited",
    "idle-victim",
    "ignores-sigterm",
    "ignores-sigterm-at-start",
    "lost-by-kill",
    "never-ready",
    "paused-too-long",
    "pid-file",
    "shell-wrapper",
    "slow-imports",
    "stream-holds-streams",
    "stream-skips-events",
}
"""Scenarios of which the engine has a part in what is found, by signals, starts, ends or addresses. Of the others, whose defect is in what
the app answers, a test on one engine is as good as two, and half as long; ``JETABLE_EVERY_ENGINE=1`` runs all on all."""

pytestmark = [pytest.mark.slow, pytest.mark.live]


def can(engine: str, path: Path) -> bool:
    """Whether the engine has all that a scenario asks for."""
    try:
        check_scenarios([(path, load_scenario(path))], engine)
    except ScenarioError:
        return False
    return True


def engines_of(path: Path) -> list[str]:
    """The engines that a planted defect is shown on."""
    able = [engine for engine in real_engines() if can(engine, path)]
    tables = IN_CONTAINERS_TOO | ENGINE_S_OWN | IN_CONTAINERS.keys() | BESIDE_IN_CONTAINERS.keys()
    return able if path.stem in tables or os.environ.get("JETABLE_EVERY_ENGINE") else able[:1]


def on_every_engine(paths: list[Path]) -> list[Any]:
    """Each scenario on each engine that can run it, as parameters of a test."""
    return [
        pytest.param(engine, path, id=f"{engine}-{path.stem}", marks=[pytest.mark.docker] if engine == "docker" else [])
        for path in paths
        for engine in real_engines()
        if can(engine, path)
    ]


def left(request: pytest.FixtureRequest, engine: str, run_id: str, owner: str) -> list[str]:
    """All that is left of a run where its engine works."""
    on_docker = left_by(request.getfixturevalue("daemon"), owner) if engine == "docker" else []
    return left_of(run_id) + on_docker


@pytest.mark.parametrize(("engine", "path"), on_every_engine(KNOWN_GOOD))
def test_a_known_good_scenario_passes(engine: str, path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    ended, result = run_until_known(path, engine, tmp_path)
    assert ended.code == 0, ended.output
    assert (result["verdict"], result["engine"]) == ("pass", engine)
    assert not left(request, engine, str(result["run_id"]), ended.owner)


def test_the_example_of_the_reference_passes(tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    demands = {"rate: 200/s": "rate: 100/s", "p(95) < 2s": "p(95) < 60s", "p(95) < 5s": "p(95) < 60s"}  # how quick this machine is
    text = EXAMPLE
    for written, lenient in demands.items():
        assert written in text
        text = text.replace(written, lenient)
    path.write_text(text)
    ended, _ = run_until_known(path, "process", tmp_path / "reports")
    assert ended.code == 0, ended.output


@pytest.mark.parametrize(("engine", "path"), [each for each in on_every_engine(KNOWN_BAD) if each.values[0] in engines_of(each.values[1])])
def test_a_planted_defect_is_found_by_name_and_nothing_else_is(
    engine: str, path: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    scenario = load_scenario(path)
    assert scenario.must_find, f"{path} names no finding"
    ended, result = run_until_known(path, engine, tmp_path, named=scenario.must_find)
    output = ended.output
    worse = {finding["name"]: finding["verdict"] for finding in result["findings"] if finding["verdict"] != "pass"}
    failed = {name for name, verdict in worse.items() if verdict == "fail"}
    named, beside = set(scenario.must_find), BESIDE.get(path.stem, set())
    if engine == "docker":
        named = IN_CONTAINERS.get(path.stem, named)
        beside = beside | BESIDE_IN_CONTAINERS.get(path.stem, set())
    assert named <= set(worse), f"found only {sorted(worse)}\n{output}"
    assert failed <= named | beside | {"expectation-failed"}, f"found {sorted(failed)}\n{output}"
    wanted = "unknown" if path.stem in UNKNOWN else "fail"
    assert (result["verdict"], ended.code) == (wanted, {"fail": 1, "unknown": 7}[wanted]), output
    causes = [finding["cause"] for finding in result["findings"]]
    if not (engine == "docker" and path.stem in ENGINE_S_OWN):
        assert any(CAUSES.get(path.stem, "") in cause for cause in causes), causes
    metrics = {finding["metric"] for finding in result["findings"] if finding["name"] == "expectation-failed"}
    if path.stem in FAILS_ITS_OWN:
        assert metrics - {METRICS_BESIDE[name] for name in failed & beside} == {FAILS_ITS_OWN[path.stem]}, output
    assert not left(request, engine, str(result["run_id"]), ended.owner)


def test_an_engine_refuses_what_it_can_not_run_with_its_place_in_the_file_and_a_cure(tmp_path: Path) -> None:
    refused = [path for path in KNOWN_GOOD + KNOWN_BAD if not can("process", path)]
    ended = jetable("run", *refused, "--engine", "process", "--reports", tmp_path)
    assert ended.code == 4
    lines = ended.errors.splitlines()
    for path in refused:
        assert [line for line in lines if line.startswith(f"{path}:")], path
    for line in lines:
        place, _, sentence = line.partition(": ")
        assert re.fullmatch(r".+\.yaml:\d+:\d+", place), line
        assert "the process engine" in sentence
        assert sentence.endswith("use --engine docker")
    assert not list(tmp_path.iterdir())


def test_every_shipped_scenario_runs_on_containers_and_only_those_without_a_command_nowhere_else() -> None:
    for path in KNOWN_GOOD + KNOWN_BAD:
        assert can("docker", path)
        assert can("process", path) == all(kind.command for kind in load_scenario(path).target.values()), path


def test_each_planted_defect_has_a_cause_to_be_told_unless_it_is_named_as_one_that_has_none() -> None:
    shown_on_processes = {path.stem for path in KNOWN_BAD if can("process", path)}
    assert shown_on_processes - CAUSES.keys() == WITHOUT_CAUSE


def test_the_tables_of_this_file_name_scenarios_that_there_are() -> None:
    named = IN_CONTAINERS_TOO | UNKNOWN | BESIDE.keys() | IN_CONTAINERS.keys() | BESIDE_IN_CONTAINERS.keys() | FAILS_ITS_OWN.keys()
    named |= CAUSES.keys() | ENGINE_S_OWN
    assert named <= {path.stem for path in KNOWN_BAD}


def test_every_planted_defect_of_the_sample_app_has_a_scenario() -> None:
    from sample_apps.web.defects import DEFECTS

    planted = {kind.environment.get("DEFECT") for path in KNOWN_BAD for kind in load_scenario(path).target.values()}
    assert set(DEFECTS) <= planted
