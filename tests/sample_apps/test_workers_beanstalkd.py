"""The worker of beanstalkd as its users meet it: a real beanstalkd, and real workers that are stopped, killed and left without it."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from harness.services.beanstalkd import BEANSTALKD
from sample_apps.workers.beanstalkd import KNOWN, BeanstalkdSource
from sample_apps.workers.file_effects import FileEffects
from sample_apps.workers.loop import LostError
from sample_apps.workers.settings import DEFECTS, Settings
from tests.services import brokers
from tests.services.brokers import Broker, serving

greenstalk = pytest.importorskip("greenstalk")

ROOT = Path(__file__).parents[2]
BOUND_S = 30.0

until = partial(brokers.until, within_s=BOUND_S)

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A beanstalkd that keeps its jobs."""
    with serving(BEANSTALKD, tmp_path) as one:
        yield one


class Tube:
    """The tube of jobs, seen by who puts them, and the effects."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.client = greenstalk.Client(("127.0.0.1", broker.port), use="jobs", watch="jobs")
        self.done = folder / "done.log"
        self.url = broker.url

    def put(self, job: str, ms: int = 0, **options: int) -> int:
        """Put one job."""
        return int(self.client.put(f'{{"id": "{job}", "ms": {ms}}}', **options))

    def effects(self) -> Counter[str]:
        """The effects so far, as often as each is there."""
        return Counter(self.done.read_text().split()) if self.done.exists() else Counter()

    def count(self, state: str) -> int:
        """How many jobs are ready, reserved, delayed or buried."""
        return int(self.client.stats_tube("jobs")[f"current-jobs-{state}"])


@pytest.fixture
def tube(broker: Broker, tmp_path: Path) -> Iterator[Tube]:
    one = Tube(broker, tmp_path)
    yield one
    one.client.close()


class Worker:
    """One worker process, and what it says."""

    def __init__(self, tube: Tube, log: Path, **environment: str) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sample_apps.workers.beanstalkd"],
                cwd=ROOT,
                env={**os.environ, "BEANSTALKD_URL": tube.url, "DONE": str(tube.done), **environment},
                stdout=out,
                stderr=out,
            )

    def said(self, line: str) -> bool:
        """Whether a line of its log is that one."""
        return line in self.log.read_text().splitlines()

    def asked_to_stop(self) -> int:
        """SIGTERM, and the status with which it ends."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=BOUND_S)


@pytest.fixture
def start(tube: Tube, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts workers, and returns each when it takes jobs."""
    workers: list[Worker] = []

    def one(**environment: str) -> Worker:
        worker = Worker(tube, tmp_path / f"worker-{len(workers)}.log", **environment)
        workers.append(worker)
        until(lambda: "takes jobs" in worker.log.read_text())
        return worker

    yield one
    for worker in workers:
        worker.process.kill()
        worker.process.wait(timeout=BOUND_S)


# --- as it should be --------------------------------------------------------------------------------------------------------


def test_a_job_has_its_effect_and_is_gone(tube: Tube, start: Callable[..., Worker]) -> None:
    worker = start()
    tube.put("m-0", ms=20)
    until(lambda: worker.said("job m-0 settled"))
    assert tube.effects() == {"m-0": 1}
    assert tube.count("reserved") == tube.count("ready") == 0
    lines = [line for line in worker.log.read_text().splitlines() if line.startswith("job ")]
    assert lines == ["job m-0 started", "job m-0 finished", "job m-0 settled"]
    assert worker.asked_to_stop() == 0


def test_sigterm_finishes_what_can_be_finished(tube: Tube, start: Callable[..., Worker]) -> None:
    worker = start()
    tube.put("m-0", ms=500)
    until(lambda: worker.said("job m-0 started"))
    assert worker.asked_to_stop() == 0
    assert worker.said("job m-0 settled")
    assert tube.effects() == {"m-0": 1}


def test_sigterm_releases_what_can_not_with_its_priority_and_another_worker_does_it(tube: Tube, start: Callable[..., Worker]) -> None:
    worker = start(GRACEFUL_TIMEOUT="0.1")
    number = tube.put("m-0", ms=1500, priority=77)
    until(lambda: worker.said("job m-0 started"))
    assert worker.asked_to_stop() == 0
    assert worker.said("job m-0 returned")
    stats = tube.client.stats_job(number)
    assert (stats["state"], stats["pri"], stats["releases"]) == ("ready", 77, 1)
    other = start()
    until(lambda: other.said("job m-0 settled"))
    assert tube.effects() == {"m-0": 1}


def test_sigkill_in_the_middle_gives_the_job_to_another_at_once(tube: Tube, start: Callable[..., Worker]) -> None:
    worker = start()
    number = tube.put("m-0", ms=60_000, ttr=3600)
    until(lambda: worker.said("job m-0 started"))
    worker.process.kill()
    until(lambda: tube.count("ready") == 1)
    assert tube.client.stats_job(number)["reserves"] == 1


def test_a_job_that_takes_longer_than_its_time_to_run_stays_its_workers(tube: Tube, start: Callable[..., Worker]) -> None:
    worker, other = start(), start()
    tube.put("m-0", ms=4500, ttr=3)  # a worker that a busy machine holds up for a second or two keeps its job all the same
    until(lambda: tube.effects()["m-0"] == 1)
    first = worker if worker.said("job m-0 started") else other
    until(lambda: first.said("job m-0 settled"))
    assert sum(each.said("job m-0 started") for each in (worker, other)) == 1


def test_a_restart_of_beanstalkd_costs_no_job_and_doubles_none(broker: Broker, tube: Tube, start: Callable[..., Worker]) -> None:
    worker = start()
    tube.put("m-0", ms=1000)
    tube.put("m-1")
    until(lambda: worker.said("job m-0 started"))
    broker.kill()
    broker.start()
    until(lambda: tube.effects() == {"m-0": 1, "m-1": 1})


def test_an_effect_that_is_there_is_not_written_again_even_when_beanstalkd_has_forgotten_that_the_job_was_out(
    broker: Broker, tube: Tube, start: Callable[..., Worker], tmp_path: Path
) -> None:
    number = tube.put("m-0")
    with closing(BeanstalkdSource(Settings(url=broker.url, done=str(tube.done)))) as source:
        job = source.take(1)
        assert job is not None
        source.effect(job)
        broker.kill()
        broker.start()
        with pytest.raises(LostError):
            source.settle(job)
    with greenstalk.Client(("127.0.0.1", broker.port)) as client:
        assert client.stats_job(number)["reserves"] == 0
    worker = start()
    until(lambda: worker.said("job m-0 settled"))
    assert tube.effects() == {"m-0": 1}


def test_who_lost_its_reservation_leaves_the_job_to_others(broker: Broker, tube: Tube) -> None:
    tube.put("m-0", ttr=1)
    for _ in range(20):  # beanstalkd overlooks nearly half of all ends
        with closing(BeanstalkdSource(Settings(url=broker.url, done=str(tube.done)))) as source:
            job = source.take(1)
            assert job is not None
            number = job.handle.job.id
            until(lambda number=number: tube.count("ready") == 1 or tube.client.stats_job(number)["time-left"] < 0)
            if tube.count("reserved"):
                continue
            with pytest.raises(LostError, match="the time to run of job m-0 is over"):
                source.keep(job)
            source.give_back(job)
            return
    pytest.fail("no time to run has ever ended")


def test_a_beanstalkd_that_is_not_there_is_waited_for(broker: Broker, tube: Tube, tmp_path: Path) -> None:
    broker.kill()
    worker = Worker(tube, tmp_path / "early.log")
    try:
        until(lambda: "no connection: " in worker.log.read_text())
        broker.start()
        until(lambda: "takes jobs from jobs" in worker.log.read_text())
        assert worker.asked_to_stop() == 0
    finally:
        worker.process.kill()
        worker.process.wait(timeout=BOUND_S)


def test_two_that_share_the_file_write_an_effect_once(tmp_path: Path) -> None:
    one, other = (FileEffects(str(tmp_path / "done.log")) for _ in range(2))
    for job in ("m-0", "m-1", "m-0"):
        one.add_once(job)
        other.add_once(job)
    other.add("m-1")
    assert (tmp_path / "done.log").read_text() == "m-0\nm-1\nm-1\n"


# --- as it should not be ----------------------------------------------------------------------------------------------------


def test_every_defect_has_a_scenario_that_names_it() -> None:
    planted = {path.stem.removeprefix("jobs-beanstalkd-"): path for path in (ROOT / "scenarios/known-bad").glob("jobs-beanstalkd-*.yaml")}
    named = {name: re.search(r"DEFECT: ([a-z-]+)", path.read_text()) for name, path in planted.items()}
    assert {name: found[1] for name, found in named.items() if found} == {name: name for name in KNOWN}
    assert set(DEFECTS) - set(KNOWN) == {"pop-and-forget", "keeps-lock"}


def test_an_early_acknowledgement_leaves_nothing_of_a_job_whose_worker_dies(tube: Tube, start: Callable[..., Worker]) -> None:
    worker = start(DEFECT="early-ack")
    tube.put("m-0", ms=60_000)
    until(lambda: worker.said("job m-0 settled"))
    worker.process.kill()
    worker.process.wait(timeout=BOUND_S)
    assert tube.count("ready") == tube.count("reserved") == 0
    assert not tube.effects()


def test_a_defect_that_can_not_be_planted_is_refused(tube: Tube, tmp_path: Path) -> None:
    assert Worker(tube, tmp_path / "refused.log", DEFECT="keeps-lock").process.wait(timeout=BOUND_S) == 2


@pytest.mark.parametrize(("defect", "state"), [("drops-on-sigterm", None), ("releases-late", "delayed"), ("buries-on-sigterm", "buried")])
def test_what_a_defect_leaves_of_a_job_that_sigterm_interrupted(
    defect: str, state: str | None, tube: Tube, start: Callable[..., Worker]
) -> None:
    worker = start(DEFECT=defect, GRACEFUL_TIMEOUT="0")
    number = tube.put("m-0", ms=60_000)
    until(lambda: worker.said("job m-0 started"))
    assert worker.asked_to_stop() == 0
    assert {each for each in ("ready", "reserved", "delayed", "buried") if tube.count(each)} == ({state} if state else set())
    if state == "delayed":
        assert tube.client.stats_job(number)["time-left"] > 3000


def test_an_effect_before_the_acknowledgement_is_doubled_by_a_death_between_them(tube: Tube, start: Callable[..., Worker]) -> None:
    worker = start(DEFECT="double-effect", GAP_MS="60000")
    tube.put("m-0")
    until(lambda: worker.said("job m-0 finished"))
    worker.process.kill()
    other = start(DEFECT="double-effect", GAP_MS="0")
    until(lambda: other.said("job m-0 settled"))
    assert tube.effects() == {"m-0": 2}


def test_an_effect_after_the_acknowledgement_is_lost_by_a_death_between_them(tube: Tube, start: Callable[..., Worker]) -> None:
    worker = start(DEFECT="ack-before-effect", GAP_MS="60000")
    tube.put("m-0")
    until(lambda: worker.said("job m-0 settled"))
    worker.process.kill()
    worker.process.wait(timeout=BOUND_S)
    assert tube.count("ready") == 0
    assert not tube.effects()


def test_a_time_to_run_that_is_too_short_doubles_an_effect_without_any_fault(tube: Tube, start: Callable[..., Worker]) -> None:
    numbers = itertools.count()

    def is_doubled() -> bool:
        """An effect is there twice; until then there is always another job, as beanstalkd overlooks many ends of a time to run."""
        if tube.count("ready") == 0:
            tube.put(f"m-{next(numbers)}7", ttr=1)
        return 2 in tube.effects().values()

    for _ in range(3):
        start(DEFECT="ttr-too-short", GAP_MS="1300")
    until(is_doubled)


def test_poison_goes_from_worker_to_worker(tube: Tube, start: Callable[..., Worker]) -> None:
    number = tube.put("m-7")
    workers = [Worker(tube, tube.done.with_name(f"poisoned-{each}.log"), DEFECT="poison-kills") for each in range(2)]
    assert [worker.process.wait(timeout=BOUND_S) for worker in workers] == [70, 70]
    until(lambda: tube.count("ready") == 1)
    assert tube.client.stats_job(number)["reserves"] == 2


def test_who_never_connects_again_does_nothing_after_a_restart(broker: Broker, tube: Tube, start: Callable[..., Worker]) -> None:
    worker = start(DEFECT="no-reconnect")
    broker.kill()
    broker.start()
    until(lambda: "error: " in worker.log.read_text())
    with greenstalk.Client(("127.0.0.1", broker.port), use="jobs") as client:
        client.put("m-0")
        before = worker.log.read_text().count("error: ")
        until(lambda: worker.log.read_text().count("error: ") > before + 1)
        assert client.stats_tube("jobs")["current-jobs-ready"] == 1
    assert worker.asked_to_stop() == 0


def test_a_job_that_outlasts_the_grace_is_still_worked_on_after_it(tube: Tube, start: Callable[..., Worker]) -> None:
    worker = start(DEFECT="finishes-after-grace", GRACEFUL_TIMEOUT="0")
    tube.put("m-0", ms=1000)
    until(lambda: worker.said("job m-0 started"))
    assert worker.asked_to_stop() == 0
    assert worker.said("job m-0 settled")
