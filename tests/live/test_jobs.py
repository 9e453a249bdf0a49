"""The suites of jobs, run as a person runs them: real queues and stores, real workers, real faults, the command line.

Each queue has a worker with much the same planted defects. By default each defect runs on the queue that shows it best, and what only one
queue has runs there; ``JETABLE_EVERY_ENGINE=1`` runs all of them, and every known-good suite on containers, too.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.scenario import load_scenario
from tests.live.commands import ROOT, run_until_known
from tests.live.processes import left_by, left_of
from tests.live.selection import on

KNOWN_GOOD = sorted((ROOT / "scenarios/jobs").glob("*.yaml"))
KNOWN_BAD = sorted((ROOT / "scenarios/known-bad").glob("jobs-*.yaml"))
ALL = bool(os.environ.get("JETABLE_EVERY_ENGINE"))

ON_PROCESSES = (
    "beanstalkd",
    "delayed-job",
    "postgres-lock",
    "postgres-restart-lock",
    "quickstart",
    "rabbitmq-quorum",
    "rabbitmq-results",
    "redis-list",
    "redis-rq",
    "redis-stream",
    "web-and-worker",
)
"""Known-good suites that run by default: each queue, each way of working that differs much."""

IN_CONTAINERS = ("quickstart", "redis-celery", "delayed-job-same-name")
"""Known-good suites that run in containers by default, the real Delayed Job on PostgreSQL among them."""

ENOUGH = (
    "jobs-beanstalkd-buries-on-sigterm",
    "jobs-beanstalkd-releases-late",
    "jobs-celery-early-ack",
    "jobs-delayed-job-killed",
    "jobs-delayed-job-outlives-grace",
    "jobs-rabbitmq-ack-lost",
    "jobs-rabbitmq-dead-letters",
    "jobs-rabbitmq-delivery-limit",
    "jobs-rabbitmq-finishes-after-grace",
    "jobs-rabbitmq-prefetch-batch",
    "jobs-redis-list-no-reconnect",
    "jobs-redis-list-pop-and-forget",
    "jobs-redis-not-durable",
    "jobs-redis-stream-keeps-lock",
    "jobs-sqlite-ack-before-effect",
    "jobs-sqlite-double-effect",
    "jobs-sqlite-drops-on-sigterm",
    "jobs-sqlite-early-ack",
    "jobs-sqlite-keeps-lock",
    "jobs-sqlite-poison-kills",
    "jobs-sqlite-pop-and-forget",
)
"""Planted defects that run by default."""

BY_CHANCE = {"ttr-too-short"}
"""Defects that show only when the queue itself does as it should: beanstalkd 1.12 overlooks many ends of a time to run."""

UNKNOWN = ("no-reconnect", "prefetch-batch")
"""Defects after which nobody can tell what becomes of the jobs: a worker is up, and may yet take them."""

FAILS_ALL_THE_SAME = ("jobs-delayed-job-no-reconnect",)
"""Those of them whose worker ends."""

BESIDE = {
    "early-ack": {"lost-jobs"},
    "finishes-after-grace": {"duplicated-jobs"},  # its effect was there when SIGKILL came
    "outlives-grace": {"stranded-jobs", "duplicated-jobs"},
    "poison-kills": {"died-by-itself", "lost-jobs", "stranded-jobs", "jobs-not-drained"},
    "dead-letters": {"died-by-itself"},
    "delivery-limit": {"died-by-itself"},
}
"""What else may fail, where chance decides how far the job had come."""

EARLY = ("before its effect was there", "had let go of the job while", "let go of the job when", "is nowhere else")
CAUSES = {
    "ack-before-effect": EARLY,
    "ack-lost": ("the acknowledgement was lost",),
    "early-ack": EARLY,
    "pop-and-forget": EARLY,
    "buries-on-sigterm": ("counted as a failure of the job",),
    "dead-letters": ("The job kills its workers",),
    "delivery-limit": ("a quorum queue drops a message at its delivery limit (1)",),
    "double-effect": ("ended between the effect and telling the queue",),
    "drops-on-sigterm": ("ended on SIGTERM with the job in hand",),
    "finishes-after-grace": ("when the grace was over",),
    "keeps-lock": ("did not give its job back",),
    "killed": ("The queue waits for a worker that is gone until",),
    "no-reconnect": ("took no more jobs after", "The queue waits for a worker that is gone until"),
    "not-durable": ("was stopped when it had the job, and the job was gone afterwards",),
    "outlives-grace": ("when the grace was over",),
    "poison-kills": ("The job kills its workers", "No worker was up at the end of the drain"),
    "prefetch-batch": ("at the end of the drain", "waited behind these"),
    "releases-late": ("The queue holds the job back",),
    "ttr-too-short": ("its lease was over",),
}
"""What the cause of one of the findings must say, by defect; one of these, where what a worker had just done decides."""

pytestmark = [pytest.mark.slow, pytest.mark.live]


def defect_of(path: Path) -> str:
    """The defect that a scenario plants, by its name."""
    return max((name for name in CAUSES if path.stem.endswith(name)), key=len)


@pytest.mark.parametrize(
    ("engine", "path"),
    [
        *on("process", [path for path in KNOWN_GOOD if ALL or path.stem in ON_PROCESSES]),
        *on("docker", [path for path in KNOWN_GOOD if ALL or path.stem in IN_CONTAINERS]),
    ],
)
def test_workers_that_do_as_their_queue_recommends_lose_nothing(
    engine: str, path: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    ended, result = run_until_known(path, engine, tmp_path)
    assert ended.code == 0, ended.output
    assert (result["verdict"], result["engine"]) == ("pass", engine)
    on_docker = left_by(request.getfixturevalue("daemon"), ended.owner) if engine == "docker" else []
    assert not [*left_of(str(result["run_id"])), *on_docker]


@pytest.mark.parametrize(("engine", "path"), on("process", [path for path in KNOWN_BAD if ALL or path.stem in ENOUGH]))
def test_a_worker_s_planted_defect_is_found_by_name_with_its_cause(engine: str, path: Path, tmp_path: Path) -> None:
    scenario = load_scenario(path)
    ended, result = run_until_known(path, engine, tmp_path, named=scenario.must_find)
    worse = {finding["name"]: finding["verdict"] for finding in result["findings"] if finding["verdict"] != "pass"}
    failed = {name for name, verdict in worse.items() if verdict == "fail"}
    named, defect = set(scenario.must_find), defect_of(path)
    assert named, f"{path} names no finding"
    assert named <= set(worse), f"found only {sorted(worse)}\n{ended.output}"
    assert failed <= named | BESIDE.get(defect, set()) | {"expectation-failed"}, f"found {sorted(failed)}\n{ended.output}"
    unknown = defect in UNKNOWN and path.stem not in FAILS_ALL_THE_SAME
    assert (result["verdict"], ended.code) == (("unknown", 7) if unknown else ("fail", 1)), ended.output
    causes = " ".join(finding["cause"] for finding in result["findings"])
    assert any(cause in causes for cause in CAUSES[defect]), causes
    assert not left_of(str(result["run_id"]))


def test_the_tables_of_this_file_name_scenarios_that_there_are() -> None:
    assert {*ENOUGH, *FAILS_ALL_THE_SAME} <= {path.stem for path in KNOWN_BAD}
    assert {*ON_PROCESSES, *IN_CONTAINERS} <= {path.stem for path in KNOWN_GOOD}
    assert {defect_of(path) for path in KNOWN_BAD} == CAUSES.keys()
    by_default = {defect_of(path) for path in KNOWN_BAD if path.stem in ENOUGH}
    assert by_default == CAUSES.keys() - BY_CHANCE, "each defect runs by default on one queue"


def test_every_planted_defect_of_the_sample_workers_has_a_scenario() -> None:
    from sample_apps.workers.settings import DEFECTS

    planted = {kind.environment.get("DEFECT") for path in KNOWN_BAD for kind in load_scenario(path).target.values()}
    assert set(DEFECTS) <= planted
