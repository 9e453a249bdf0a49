"""The workers on SQLite and PostgreSQL as processes: what they do at a signal, and what another one finds afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.job_history import HELD, READY
from harness.services.base import QueueSpec
from harness.services.postgres import POSTGRES
from harness.services.sqlite import SQLITE
from tests.services.sql_place import BOUND_S, SqlPlace, await_clients

pytestmark = [pytest.mark.slow, pytest.mark.live]

ROOT = Path(__file__).parents[2]
WAYS = {"sqlite": ("sqlite", {}), "lock": ("postgres", {"STYLE": "lock"}), "skip-locked": ("postgres", {"STYLE": "skip-locked"})}
HOUR_MS = 3_600_000


class Place(SqlPlace):
    """A queue with workers that take its jobs in one of the ways."""

    def __init__(self, way: str, url: str, folder: Path) -> None:
        self._module, self._environment = WAYS[way]
        self._url = url
        super().__init__((SQLITE if way == "sqlite" else POSTGRES).open(url), QueueSpec(form="table", name="jobs"), folder)

    def worker(self, name: str, **environment: str) -> subprocess.Popen[bytes]:
        given = {"DATABASE_URL": self._url, "WORKER_NAME": name, "LEASE_S": "1", **self._environment, **environment}
        return self.begin(name, [sys.executable, "-m", f"sample_apps.workers.{self._module}"], ROOT, given)

    def stopped(self, process: subprocess.Popen[bytes]) -> int:
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=BOUND_S)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    way = request.param
    url = SQLITE.url("", 0, tmp_path) if way == "sqlite" else request.getfixturevalue("schema")
    with closing(Place(way, url, tmp_path)) as made:
        yield made


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
    place.put("m-0", 1500)  # the signal is to come in the middle, on a busy machine too
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
    place.put("m-0", 1500)  # its worker is to be held up in the middle, on a busy machine too
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
    await_clients(place.client, 2)
    assert place.client.cut_connections() == 2
    place.put("m-0")
    assert place.drained() == ["m-0"]
    place.says("good", "job m-0 settled")
    place.says("bad", "error: the connection is closed")
    assert place.worker("other", STYLE="none").wait(timeout=BOUND_S) == 2
