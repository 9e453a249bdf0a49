"""The suites of state, run as a person runs them: real replicas over real stores, real faults, the command line.

By default each defect whose face no other one has runs, and one known-good suite of each way of working; ``JETABLE_EVERY_ENGINE=1``
runs all of them, and every known-good suite in containers, too.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.monitors import MONITORS
from harness.scenario import load_scenario
from tests.live.commands import ROOT, jetable, run_until_known
from tests.live.processes import left_by, left_of
from tests.live.selection import on

KNOWN_GOOD = sorted((ROOT / "scenarios/state").glob("*.yaml"))
KNOWN_BAD = sorted((ROOT / "scenarios/known-bad").glob("state-*.yaml"))
ALL = bool(os.environ.get("JETABLE_EVERY_ENGINE"))

ON_PROCESSES = ("idempotency", "journey", "journey-memcached", "postgres", "quickstart")
"""Known-good suites that run by default."""

IN_CONTAINERS = ("quickstart",)
"""Known-good suites that run in containers by default."""

ENOUGH = (
    "state-cache-sessions",
    "state-counter-per-process",
    "state-ignores-idempotency-key",
    "state-memory",
    "state-own-version",
    "state-read-modify-write",
    "state-sticky-session",
    "state-wall-clock",
    "state-write-behind",
)
"""Planted defects that run by default."""

CAUSES = {
    "applies-twice": "the app itself applied one more than once",
    "cache": "it keeps a copy that nobody renews",
    "cache-sessions": "it keeps a copy that nobody renews",
    "counter-per-process": "and it was gone with it",
    "ignores-idempotency-key": "at least one was applied each time",
    "local-file": "in its own memory or in a file of its own",
    "memory": "in its own memory or in a file of its own",
    "own-version": "The replicas do not share what they answer from",
    "read-modify-write": "it is read, changed and written back in steps",
    "read-modify-write-cas": "it is read, changed and written back in steps",
    "rejects-after-write": "that it had not done what it did",
    "stale-replica": "copy that nobody renews",
    "sticky-session": "did not know of a session that another one had begun",
    "wall-clock": "the older one won",
    "write-behind": "it was not yet durable",
}
"""What the cause of one of the findings must say, by defect; the others have none that the evidence alone shows."""

AT_THE_END = {"diverged", "lost-write", "resurrected", "unexpected-value"}
"""What only the reads at the end prove, of which a history alone does not say that they are the last ones."""

pytestmark = [pytest.mark.slow, pytest.mark.live]


@pytest.mark.parametrize(
    ("engine", "path"),
    on("process", [path for path in KNOWN_GOOD if ALL or path.stem in ON_PROCESSES])
    + on("docker", [path for path in KNOWN_GOOD if ALL or path.stem in IN_CONTAINERS]),
)
def test_replicas_that_share_their_state_pass(engine: str, path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    ended, result = run_until_known(path, engine, tmp_path)
    assert ended.code == 0, ended.output
    assert (result["verdict"], result["engine"]) == ("pass", engine)
    on_docker = left_by(request.getfixturevalue("daemon"), ended.owner) if engine == "docker" else []
    assert not [*left_of(str(result["run_id"])), *on_docker]


@pytest.mark.parametrize("path", [path for path in KNOWN_BAD if ALL or path.stem in ENOUGH], ids=lambda path: path.stem)
def test_what_is_planted_is_found_with_a_witness_and_its_cause(path: Path, tmp_path: Path) -> None:
    scenario = load_scenario(path)
    ended, result = run_until_known(path, "process", tmp_path, named=scenario.must_find)
    assert ended.code == 1, ended.output
    (folder,) = tmp_path.glob(f"*/{result['run_id']}")
    found = {finding["name"]: finding for finding in result["findings"] if finding["verdict"] == "fail"}
    assert set(scenario.must_find) <= found.keys(), ended.output
    beside = {name for name, finding in found.items() if finding["check"] not in ("state", "expect")}
    assert not beside, ended.output  # the many faces of one defect are all the state's own
    cause = CAUSES.get(path.stem.removeprefix("state-"), "")
    assert any(cause in finding["cause"] for finding in found.values()), ended.output
    assert not left_of(str(result["run_id"]))
    for witness in (folder / "witness").glob("*.jsonl"):
        name = next(name for name in scenario.state if witness.stem.startswith(f"{name}-"))
        if witness.stem.removeprefix(f"{name}-") not in AT_THE_END and scenario.state[name].model in MONITORS.keys() - {"sessions"}:
            judged = jetable("check", "--history", witness, "--model", scenario.state[name].model)
            assert judged.code == 1, judged.output


def test_the_tables_of_this_file_name_scenarios_that_there_are() -> None:
    assert {*ON_PROCESSES, *IN_CONTAINERS} <= {path.stem for path in KNOWN_GOOD}
    assert {*ENOUGH, *(f"state-{name}" for name in CAUSES)} <= {path.stem for path in KNOWN_BAD}
