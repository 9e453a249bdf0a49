"""The sample workers on Redis, each as a process of its own, against a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from harness.services.base import Kind
from harness.services.redis import REDIS
from tests.services.brokers import Broker

pytestmark = [pytest.mark.slow, pytest.mark.live]

ROOT = Path(__file__).parents[2]
WAIT_S = 30.0
BOTH = ("redis_list", "redis_stream")


class Workers:
    """Workers of one queue; all of them end with the test."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.all: dict[str, subprocess.Popen[bytes]] = {}
        self.redis: Any = redis.Redis.from_url(url, decode_responses=True)

    def start(self, module: str, name: str, **environment: str) -> subprocess.Popen[bytes]:
        return self.command([sys.executable, "-m", f"sample_apps.workers.{module}"], name, **environment)

    def command(self, argv: Sequence[str], name: str, **environment: str) -> subprocess.Popen[bytes]:
        told = {"REDIS_URL": self.url, "WORKER_NAME": name, "LEASE_S": "1", "PYTHONUNBUFFERED": "1", **environment}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.all[name] = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **told}, stdout=log, stderr=log, start_new_session=True)
        return self.all[name]

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def put(self, module: str, *jobs: str, ms: int = 50) -> None:
        for job in jobs:
            body = json.dumps({"id": job, "ms": ms})
            if module == "redis_list":
                self.redis.lpush("jobs", body)
            else:
                self.redis.xadd("jobs", {"body": body})

    def done(self) -> Counter[str]:
        return Counter(self.redis.lrange("done", 0, -1))

    def left(self, module: str) -> int:
        """How many jobs are not settled."""
        if module == "redis_list":
            return sum(self.redis.llen(key) for key in ["jobs", *self.redis.keys("jobs:processing:*")])
        group = self.redis.xinfo_groups("jobs")[0]
        return int(group["pending"]) + int(group["lag"])

    def until(self, what: Callable[[], object], why: str) -> None:
        end_s = time.monotonic() + WAIT_S
        while not what():
            logs = {name: self.log(name)[-500:] for name in self.all}
            assert time.monotonic() < end_s, f"{why}: {logs}"
            time.sleep(0.02)

    def says(self, name: str, line: str) -> None:
        self.until(lambda: line in self.log(name), f"{name} never said {line}")

    def ends(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        self.all[name].send_signal(number)
        return self.all[name].wait(WAIT_S)


@pytest.fixture(scope="module")
def server(started_for_module: Callable[[Kind], Broker]) -> Broker:
    return started_for_module(REDIS)


@pytest.fixture
def workers(server: Broker, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(server.url, tmp_path)
    workers.redis.flushall()
    yield workers
    for process in workers.all.values():
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    workers.redis.close()


@pytest.mark.parametrize("module", BOTH)
def test_two_workers_share_the_jobs_and_each_has_its_effect_once(workers: Workers, module: str) -> None:
    jobs = [f"m-{number}" for number in range(20)]
    workers.put(module, *jobs, ms=20)
    for name in "ab":
        workers.start(module, name)
    workers.until(lambda: len(workers.done()) == 20 and workers.left(module) == 0, "not all is done")
    assert [workers.ends(name) for name in "ab"] == [0, 0]
    assert workers.done() == Counter(jobs)
    for name in "ab":
        words = [line.split()[2] for line in workers.log(name).splitlines() if line.startswith("job ")]
        assert words
        assert words == ["started", "finished", "settled"] * (len(words) // 3)


@pytest.mark.parametrize("module", BOTH)
def test_sigterm_gives_back_what_takes_longer_than_the_grace_and_others_have_it_at_once(workers: Workers, module: str) -> None:
    workers.put(module, "m-0", ms=1500)
    workers.start(module, "a", GRACEFUL_TIMEOUT="0", LEASE_S="3000")
    workers.says("a", "job m-0 started")
    assert workers.ends("a") == 0
    workers.says("a", "job m-0 returned")
    workers.start(module, "b", LEASE_S="3000")
    workers.until(lambda: workers.done() == Counter(["m-0"]) and workers.left(module) == 0, "the job was not done")


@pytest.mark.parametrize("module", BOTH)
def test_sigterm_finishes_what_fits_into_the_grace(workers: Workers, module: str) -> None:
    workers.put(module, "m-0", "m-1", ms=2000)  # so long that the signal surely comes in the middle
    workers.start(module, "a")
    workers.says("a", "job m-0 started")
    assert workers.ends("a") == 0
    assert workers.done() == Counter(["m-0"]), workers.log("a")
    assert workers.left(module) == 1


@pytest.mark.parametrize("module", BOTH)
def test_what_a_killed_worker_held_is_done_by_another_one_after_the_lease(workers: Workers, module: str) -> None:
    workers.put(module, "m-0", "m-1", ms=300)
    workers.start(module, "a")
    workers.says("a", "started")
    workers.start(module, "b")  # not before, as it would take both if it were quicker
    workers.ends("a", signal.SIGKILL)
    workers.until(lambda: len(workers.done()) == 2 and workers.left(module) == 0, "what the dead worker held was not done")
    assert workers.done() == Counter(["m-0", "m-1"])


@pytest.mark.parametrize("module", BOTH)
def test_work_that_takes_longer_than_the_lease_is_not_done_twice(workers: Workers, module: str) -> None:
    workers.put(module, "m-0", ms=4500)
    workers.start(module, "a", LEASE_S="3")  # a worker that a busy machine holds up for a second or two keeps its lease all the same
    workers.says("a", "job m-0 started")
    workers.start(module, "b", LEASE_S="3")
    workers.until(lambda: workers.done() and workers.left(module) == 0, "the job was not done")
    assert "started" not in workers.log("b")


@pytest.mark.parametrize("module", BOTH)
def test_a_worker_of_the_same_name_begins_with_what_it_held(workers: Workers, module: str) -> None:
    workers.put(module, "m-0", ms=300)
    workers.start(module, "a", LEASE_S="3000")
    workers.says("a", "job m-0 started")
    workers.ends("a", signal.SIGKILL)
    workers.start(module, "a", LEASE_S="3000")
    workers.until(lambda: workers.done() == Counter(["m-0"]) and workers.left(module) == 0, "the job was not done")


@pytest.mark.parametrize("module", BOTH)
def test_a_worker_outlives_a_restart_of_redis_and_the_cut_of_its_connection(
    started: Callable[[Kind], Broker], tmp_path: Path, module: str
) -> None:
    broker = started(REDIS)
    workers = Workers(broker.url, tmp_path)
    workers.start(module, "a")
    try:
        workers.put(module, "m-0", ms=1000)
        workers.says("a", "job m-0 started")
        broker.kill()
        broker.start()
        workers.until(lambda: workers.done() == Counter(["m-0"]), "the job was not done")
        client = broker.client()
        assert client.cut_connections() >= 1
        client.close()
        workers.put(module, "m-1")
        workers.until(lambda: len(workers.done()) == 2 and workers.left(module) == 0, "nothing was done after the cut")
        assert workers.ends("a") == 0
    finally:
        workers.all["a"].kill()
        workers.all["a"].wait()
        workers.redis.close()


def interrupted(workers: Workers, module: str, defect: str, *, line: str, number: signal.Signals, ms: int = 60_000) -> None:
    """A worker with the defect is ended after it said ``line``; what would come next comes so late that it is ended before, surely."""
    workers.put(module, "m-0", ms=ms)
    workers.start(module, "a", DEFECT=defect, GAP_MS="60000")
    workers.says("a", line)
    workers.ends("a", number)


@pytest.mark.parametrize("module", BOTH)
@pytest.mark.parametrize(
    ("defect", "line", "number", "ms"),
    [
        ("early-ack", "m-0 settled", signal.SIGKILL, 60_000),
        ("pop-and-forget", "m-0 started", signal.SIGKILL, 60_000),
        ("drops-on-sigterm", "m-0 started", signal.SIGTERM, 60_000),
        ("ack-before-effect", "m-0 settled", signal.SIGKILL, 50),
    ],
)
def test_these_defects_lose_the_job(workers: Workers, module: str, defect: str, line: str, number: signal.Signals, ms: int) -> None:
    interrupted(workers, module, defect, line=line, number=number, ms=ms)
    assert workers.left(module) == 0
    assert not workers.done()


@pytest.mark.parametrize("module", BOTH)
def test_an_effect_without_a_mark_happens_twice(workers: Workers, module: str) -> None:
    interrupted(workers, module, "double-effect", line="m-0 finished", number=signal.SIGKILL, ms=50)
    workers.start(module, "b", DEFECT="double-effect")
    workers.until(lambda: workers.done() == Counter({"m-0": 2}), "the second effect did not come")


@pytest.mark.parametrize("module", BOTH)
def test_a_lock_that_is_kept_keeps_the_job_from_others(workers: Workers, module: str) -> None:
    interrupted(workers, module, "keeps-lock", line="m-0 started", number=signal.SIGTERM)
    workers.start(module, "b", DEFECT="keeps-lock")
    workers.put(module, "m-1")
    workers.until(lambda: workers.done() == Counter(["m-1"]), "the other job was not done")
    workers.until(lambda: workers.left(module) == 1, "the other job was not settled")  # its effect comes first
    assert workers.done() == Counter(["m-1"])


@pytest.mark.parametrize("asleep", [False, True], ids=["awake", "asleep meanwhile"])
@pytest.mark.parametrize("module", BOTH)
def test_a_worker_that_never_connects_again_gets_nothing_more(
    started: Callable[[Kind], Broker], tmp_path: Path, module: str, *, asleep: bool
) -> None:
    broker = started(REDIS)
    workers = Workers(broker.url, tmp_path)
    workers.start(module, "a", DEFECT="no-reconnect")
    try:
        workers.put(module, "m-0")
        workers.until(lambda: workers.done() == Counter(["m-0"]), "the job was not done")
        if asleep:  # at work, with no call under way that would fail
            workers.put(module, "m-9", ms=600)
            workers.says("a", "m-9 started")
            workers.all["a"].send_signal(signal.SIGSTOP)
        broker.kill()
        broker.start()
        workers.all["a"].send_signal(signal.SIGCONT)
        workers.put(module, "m-1")
        workers.says("a", "error: ")
        errors = workers.log("a").count("error: ")
        workers.until(lambda: workers.log("a").count("error: ") > errors + 2, "it does not try again")
        assert workers.done() == Counter(["m-0"])
        assert workers.ends("a") == 0
    finally:
        workers.all["a"].kill()
        workers.all["a"].wait()
        workers.redis.close()


@pytest.mark.parametrize("module", BOTH)
def test_a_poisonous_job_ends_one_worker_after_the_other(workers: Workers, module: str) -> None:
    workers.put(module, "m-7")
    for name in "ab":
        workers.start(module, name, DEFECT="poison-kills", LEASE_S="0.5")
        assert workers.all[name].wait(WAIT_S) == 70
    assert workers.left(module) == 1


@pytest.mark.parametrize("module", BOTH)
def test_a_defect_that_it_does_not_know_is_named(workers: Workers, module: str) -> None:
    assert workers.start(module, "a", DEFECT="nonsense").wait(WAIT_S) == 2
    assert "DEFECT must be one of" in workers.log("a")


def test_rq_finishes_the_job_in_hand_after_sigterm_and_its_effect_happens_once(workers: Workers) -> None:
    rq = pytest.importorskip("rq")
    queue = rq.Queue("mail", connection=redis.Redis.from_url(workers.url))
    for job in ("m-0", "m-1"):
        queue.enqueue("sample_apps.workers.rq_tasks.work", json.dumps({"id": job, "ms": 2000}), job_id=job)
    program = Path(sys.executable).with_name("rq")
    workers.command([str(program), "worker", "--url", workers.url, "mail"], "a", PYTHONPATH=str(ROOT), RQ_REDIS_URL=workers.url)
    workers.says("a", "job m-0 started")
    assert workers.ends("a") == 0
    assert workers.done() == Counter(["m-0"])
    assert "Job OK (m-0)" in workers.log("a")
    assert queue.job_ids == ["m-1"]
    queue.connection.close()
