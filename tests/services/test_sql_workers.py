"""The workers on SQLite and PostgreSQL as processes: what they do at a signal, and what another one finds afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.job_history import HELD, READY
from harness.services.base import Client, DoneSpec, Kind, QueueSpec
from harness.services.postgres import POSTGRES
from harness.services.sqlite import SQLITE
from tests.services.brokers import Broker

pytestmark = [pytest.mark.slow, pytest.mark.live]

ROOT = Path(__file__).parents[2]
BOUND_S = 60.0
WAYS = {"sqlite": ("sqlite", {}), "lock": ("postgres", {"STYLE": "lock"}), "skip-locked": ("postgres", {"STYLE": "skip-locked"})}
HOUR_MS = 3_600_000


class Place:
    """A queue with workers, all of which end with the test."""

    def __init__(self, way: str, url: str, client: Client, folder: Path) -> None:
        self.module, self._environment = WAYS[way]
        self._url = url
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.client = client
        self.queue = client.queue(QueueSpec(form="table", name="jobs"))
        self._effects = client.effects(DoneSpec(kind="query", name="SELECT job FROM effects"))
        self.done: list[str] = []
        self.queue.declare()

    def put(self, job: str, ms: int = 0) -> None:
        self.queue.put(job, json.dumps({"id": job, "ms": ms}))

    def worker(self, name: str, **environment: str) -> subprocess.Popen[bytes]:
        given = {"DATABASE_URL": self._url, "WORKER_NAME": name, "LEASE_S": "1", **self._environment, **environment}
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"sample_apps.workers.{self.module}"], cwd=ROOT, env={**os.environ, **given}, stdout=log, stderr=log
            )
        self._processes.append(process)
        return process

    def says(self, name: str, line: str) -> None:
        until(lambda: line in (self._folder / f"{name}.log").read_text().splitlines(), f"{name} says {line}")

    def stopped(self, process: subprocess.Popen[bytes]) -> int:
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=BOUND_S)

    def effects(self) -> list[str]:
        self.done += self._effects.new()
        return sorted(self.done)

    def drained(self) -> list[str]:
        until(lambda: self.queue.look().empty, "the queue is empty")
        return self.effects()

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self.client.close()


def until(holds: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + BOUND_S
    while not holds():
        assert time.monotonic() < end_s, f"never: {what}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def server(started_for_module: Callable[[Kind], Broker]) -> Iterator[Broker]:
    broker = started_for_module(POSTGRES)
    yield broker
    broker.stop()  # in order, since what is killed leaves a segment of shared memory behind


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    way = request.param
    if way == "sqlite":
        url = SQLITE.url("", 0, tmp_path)
        with closing(Place(way, url, SQLITE.open(url), tmp_path)) as made:
            yield made
        return
    base = request.getfixturevalue("server").url
    mark = str(abs(hash(request.node.name)))
    url = POSTGRES.own(base, mark)
    with closing(Place(way, url, POSTGRES.open(url), tmp_path)) as made:
        yield made
    POSTGRES.disown(base, mark)


every_way = pytest.mark.parametrize("place", WAYS, indirect=True)
with_leases = pytest.mark.parametrize("place", ["sqlite", "lock"], indirect=True)


@every_way
def test_two_workers_do_every_job_once(place: Place) -> None:
    jobs = sorted(f"m-{number}" for number in range(30))
    for job in jobs:
        place.put(job, 5)
    both = [place.worker("w1"), place.worker("w2")]
    assert place.drained() == jobs
    assert [place.stopped(each) for each in both] == [0, 0]


@every_way
def test_sigterm_lets_it_finish_within_its_grace(place: Place) -> None:
    place.put("m-0", 500)
    place.put("m-1")
    worker = place.worker("w1", GRACEFUL_TIMEOUT="60")
    place.says("w1", "job m-0 started")
    assert place.stopped(worker) == 0
    assert place.effects() == ["m-0"]
    assert place.queue.look().ready == 1


@every_way
def test_sigterm_gives_back_what_takes_longer(place: Place) -> None:
    place.put("m-0", HOUR_MS)
    worker = place.worker("w1", GRACEFUL_TIMEOUT="0.1", LEASE_S="3600")
    place.says("w1", "job m-0 started")
    assert place.queue.look().held == 1
    assert place.stopped(worker) == 0
    place.says("w1", "job m-0 returned")
    told = place.queue.told(1)
    assert told is not None
    assert told[0].state == READY
    assert place.effects() == []


@every_way
def test_what_a_worker_had_when_it_died_is_done_by_another(place: Place) -> None:
    place.put("m-0", 300)
    worker = place.worker("w1", LEASE_S="1")
    place.says("w1", "job m-0 started")
    worker.kill()
    place.worker("w2")
    assert place.drained() == ["m-0"]


@with_leases
def test_a_worker_whose_lock_ran_out_meanwhile_takes_its_effect_back(place: Place) -> None:
    place.put("m-0", 300)
    slow = place.worker("w1", LEASE_S="0.1")
    place.says("w1", "job m-0 started")
    slow.send_signal(signal.SIGSTOP)
    place.worker("w2", LEASE_S="60")
    assert place.drained() == ["m-0"]
    slow.send_signal(signal.SIGCONT)
    place.says("w1", "connection lost: the lock of the job ran out, and it is somebody else's now")
    assert place.effects() == ["m-0"]


@pytest.mark.parametrize("defect", ["early-ack", "drops-on-sigterm"])
@every_way
def test_what_loses_jobs_loses_them(place: Place, defect: str) -> None:
    place.put("m-0", HOUR_MS)
    worker = place.worker("w1", DEFECT=defect, GRACEFUL_TIMEOUT="0")
    place.says("w1", "job m-0 started")
    if defect == "early-ack":
        place.says("w1", "job m-0 settled")
    place.stopped(worker)
    assert place.drained() == []


@with_leases
def test_what_keeps_its_lock_leaves_it_for_an_hour(place: Place) -> None:
    place.put("m-0", HOUR_MS)
    worker = place.worker("w1", DEFECT="keeps-lock")
    place.says("w1", "job m-0 started")
    assert place.stopped(worker) == 0
    told = place.queue.told(1)
    assert told is not None
    assert (told[0].state, told[0].by) == (HELD, "w1")
    assert told[0].until_s is not None
    assert told[0].until_s > 3000


@with_leases
def test_what_pops_and_forgets_leaves_nothing(place: Place) -> None:
    place.put("m-0", HOUR_MS)
    place.worker("w1", DEFECT="pop-and-forget")
    place.says("w1", "job m-0 started")
    assert place.queue.look().empty


@every_way
def test_an_effect_outside_of_the_job_s_transaction_comes_twice(place: Place) -> None:
    place.put("m-0")
    worker = place.worker("w1", DEFECT="double-effect", GAP_MS=str(HOUR_MS // 10))
    place.says("w1", "job m-0 finished")
    worker.kill()
    place.worker("w2")
    assert place.drained() == ["m-0", "m-0"]


@every_way
def test_an_effect_after_the_acknowledgement_is_lost_between_them(place: Place) -> None:
    place.put("m-0")
    worker = place.worker("w1", DEFECT="ack-before-effect", GAP_MS=str(HOUR_MS // 10))
    place.says("w1", "job m-0 settled")
    worker.kill()
    assert place.drained() == []


@every_way
def test_poison_kills_and_comes_back(place: Place) -> None:
    place.put("m-7")
    for name in ("w1", "w2"):
        assert place.worker(name, DEFECT="poison-kills").wait(timeout=BOUND_S) == 70
    assert place.effects() == []
    place.worker("w3")
    assert place.drained() == ["m-7"]


@pytest.mark.parametrize("place", ["lock", "skip-locked"], indirect=True)
def test_a_connection_that_was_cut_is_made_again_but_not_by_who_never_does(place: Place) -> None:
    place.worker("good")
    place.worker("bad", DEFECT="no-reconnect")
    for name in ("good", "bad"):
        place.says(name, f"worker {name} takes jobs from jobs")
    until(lambda: place.client.cut_connections() == 2, "both are connected")
    place.put("m-0")
    assert place.drained() == ["m-0"]
    place.says("good", "job m-0 settled")
    place.says("bad", "error: the connection is closed")
    assert place.worker("other", STYLE="none").wait(timeout=BOUND_S) == 2
