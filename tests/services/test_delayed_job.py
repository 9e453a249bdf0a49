"""The real Delayed Job as a process, on a real PostgreSQL: what its gem does with a job when its worker ends, as its README here says."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.job_history import DELAYED, HELD
from harness.services.base import QueueSpec
from harness.services.postgres import POSTGRES
from tests.services.sql_place import BOUND_S, SqlPlace, await_clients

pytestmark = [pytest.mark.slow, pytest.mark.live, pytest.mark.usefixtures("gem")]

RUBY = shutil.which("ruby") or ""
APP = Path(__file__).parents[2] / "sample_apps" / "workers" / "delayed_job"
FOUR_HOURS_S = 4 * 3600
HANDLER = "--- !ruby/struct:Work\nbody: '{body}'\n"


class Place(SqlPlace):
    """The gem's table in a schema of its own, with workers that end with the test."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(POSTGRES.open(url), QueueSpec(form="delayed_job", name="jobs", options={"handler": HANDLER}), folder)
        self._url = url

    def worker(self, name: str, **environment: str) -> subprocess.Popen[bytes]:
        return self.begin(name, [RUBY, "worker.rb"], APP, {"DATABASE_URL": self._url, **environment})


@pytest.fixture(scope="module")
def gem() -> None:
    """Skips where it is not installed."""
    needs = [RUBY, "-e", 'require "delayed_job_active_record"; require "pg"']
    if not RUBY or subprocess.run(needs, check=False, capture_output=True).returncode != 0:
        pytest.skip("Delayed Job is not installed; Debian has it in the packages ruby-delayed-job-active-record and ruby-pg")


@pytest.fixture
def place(schema: str, tmp_path: Path) -> Iterator[Place]:
    with closing(Place(schema, tmp_path)) as made:
        yield made


def test_on_sigterm_it_finishes_its_job_takes_no_other_and_leaves_nothing_locked(place: Place) -> None:
    worker = place.worker("log")
    place.put("m-0", 2000)  # the signal is to come in the middle, on a busy machine too
    place.says("log", "job m-0 started")
    place.put("m-1", 0)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=BOUND_S) == 0
    assert [line for line in place.said("log") if line.startswith("job")] == ["job m-0 started", "job m-0 finished", "job m-0 settled"]
    assert (place.queue.look().ready, place.queue.look().held) == (1, 0)


def test_where_it_is_told_to_raise_sigterm_gives_the_job_back_for_a_second_attempt_some_seconds_later(place: Place) -> None:
    worker = place.worker("log", ON_TERM="raise")
    place.put("m-0", 60_000)
    place.says("log", "job m-0 started")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=BOUND_S) == 0
    assert "job m-0 returned" in place.said("log")
    (told,) = place.queue.told(10) or ()
    assert (told.state, told.by) == (DELAYED, "")


def test_sigkill_leaves_the_job_locked_for_four_hours_by_the_name_of_the_dead(place: Place) -> None:
    worker = place.worker("first", WORKER_PREFIX="worker.1")
    place.put("m-0", 60_000)
    place.says("first", "job m-0 started")
    worker.kill()
    worker.wait()
    place.worker("second", WORKER_PREFIX="worker.2")
    place.put("m-1", 0)
    place.says("second", "job m-1 settled")
    (told,) = place.queue.told(10) or ()
    assert "m-0" in told.text
    assert (told.state, told.by.split()[0], told.by.split()[-1]) == (HELD, "worker.1", f"pid:{worker.pid}")
    assert told.until_s is not None
    assert FOUR_HOURS_S - BOUND_S < told.until_s <= FOUR_HOURS_S


@pytest.mark.parametrize(
    "environment", [{"WORKER_NAME": "mailer"}, {"MAX_RUN_TIME_S": "3"}], ids=["a worker of the same name", "a lock that is too old"]
)
def test_what_a_dead_worker_had_locked_is_taken_by(place: Place, environment: dict[str, str]) -> None:
    worker = place.worker("first", **environment)
    place.put("m-0", 1500)  # its worker is to be killed in the middle, on a busy machine too
    place.says("first", "job m-0 started")
    worker.kill()
    worker.wait()
    place.worker("second", **environment)
    place.says("second", "job m-0 settled")
    assert place.drained() == ["m-0"]


def test_a_job_that_runs_too_long_fails_and_is_given_back(place: Place) -> None:
    place.worker("log", MAX_RUN_TIME_S="1")
    place.put("m-0", 60_000)
    place.says("log", "job m-0 returned")
    assert any("FAILED (0 prior attempts) with Delayed::WorkerTimeout" in line for line in place.said("log"))


def test_it_ends_when_its_connection_was_cut(place: Place) -> None:
    worker = place.worker("log")
    place.put("m-0", 0)
    place.says("log", "job m-0 settled")
    await_clients(place.client, 1)
    assert place.client.cut_connections() == 1
    assert worker.wait(timeout=BOUND_S) == 1
    assert sum("Error while reserving job" in line for line in place.said("log")) == 10
    assert any("Delayed::FatalBackendError" in line for line in place.said("log"))
