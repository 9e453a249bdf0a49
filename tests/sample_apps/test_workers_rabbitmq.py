"""The workers of RabbitMQ as their users meet them: a real broker, and real workers that are stopped, killed and left without it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from harness.services.base import Client, Queue, QueueSpec
from harness.services.rabbitmq import RABBITMQ
from sample_apps.workers.file_effects import FileEffects
from sample_apps.workers.loop import LostError
from sample_apps.workers.settings import DEFECTS, Settings
from tests.services.brokers import Broker, free_port, serving, until

pytest.importorskip("pika")

ROOT = Path(__file__).parents[2]
BOUND_S = 60.0

WORKER = ("-m", "sample_apps.workers.rabbitmq")
CELERY = ("-m", "celery", "-A", "sample_apps.workers.celery_app", "worker", "-c", "1", "--without-gossip", "--without-mingle")

live = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A RabbitMQ for all of them."""
    with serving(RABBITMQ, tmp_path_factory.mktemp("rabbitmq")) as one:
        yield one


@pytest.fixture
def client(broker: Broker) -> Iterator[Client]:
    with closing(broker.client()) as opened:
        yield opened


class Worker:
    """One worker process, and what it says."""

    def __init__(self, url: str, queue: str, done: Path, words: tuple[str, ...] = WORKER, more: Mapping[str, str] | None = None) -> None:
        self.log = done.with_suffix(f".{time.monotonic_ns()}")
        environment = {**os.environ, "AMQP_URL": url, "QUEUE": queue, "DONE": str(done), "PYTHONUNBUFFERED": "1", **(more or {})}
        with self.log.open("ab") as out:
            command = [sys.executable, *words, *(("-Q", queue, "-n", f"{queue}@%h") if words is CELERY else ())]
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True)

    def says(self, pattern: str) -> re.Match[str]:
        """Wait until it has said this."""
        deadline = time.monotonic() + BOUND_S
        while time.monotonic() < deadline:
            if found := re.search(pattern, self.log.read_text()):
                return found
            time.sleep(0.02)
        raise AssertionError(f"never said {pattern}: {self.log.read_text()}")

    def end(self, number: signal.Signals) -> int:
        """Its status after this signal."""
        self.process.send_signal(number)
        return self.process.wait(BOUND_S)

    def remove(self) -> None:
        """End it for good, with what it has started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(BOUND_S)


@pytest.fixture
def start(broker: Broker, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def one(queue: str, words: tuple[str, ...] = WORKER, **more: str) -> Worker:
        workers.append(Worker(broker.url, queue, tmp_path / "done.log", words, more))
        return workers[-1]

    yield one
    for worker in workers:
        worker.remove()


def effects(folder: Path) -> Counter[str]:
    done = folder / "done.log"
    return Counter(done.read_text().split()) if done.exists() else Counter()


def queue_of(client: Client, name: str, form: str = "classic", **options: str) -> Queue:
    queue = client.queue(QueueSpec(form=form, name=name, options=options))
    queue.declare()
    return queue


def put(queue: Queue, job: str, ms: int = 0) -> None:
    queue.put(job, f'{{"id": "{job}", "ms": {ms}}}')


def await_empty(queue: Queue) -> None:
    until(lambda: queue.look().empty, "the queue is empty", within_s=BOUND_S)


def test_an_effect_is_written_once_or_as_often_as_asked(tmp_path: Path) -> None:
    ours, others = (FileEffects(str(tmp_path / "done.log")) for _ in range(2))
    for file in (ours, others, ours):
        file.add_once("m-0")
        file.add("m-1")
    assert effects(tmp_path) == {"m-0": 1, "m-1": 3}


def test_a_broker_that_is_away_is_a_lost_connection() -> None:
    from sample_apps.workers.rabbitmq import KNOWN, PREFETCH_BATCH, RabbitSource

    assert set(KNOWN) - {PREFETCH_BATCH} == set(DEFECTS) - {"keeps-lock"}
    with pytest.raises(LostError):
        RabbitSource(Settings(url=f"amqp://127.0.0.1:{free_port()}"))


class TestOnABroker:
    """Each with a queue of its own."""

    pytestmark = live

    def test_jobs_are_done_and_acknowledged(self, client: Client, start: Callable[..., Worker], tmp_path: Path) -> None:
        queue = queue_of(client, "done")
        for number in range(3):
            put(queue, f"m-{number}", ms=10)
        worker = start("done")
        worker.says("job m-2 settled")
        assert worker.log.read_text().count("settled") == 3
        assert effects(tmp_path) == {"m-0": 1, "m-1": 1, "m-2": 1}
        await_empty(queue)
        assert worker.end(signal.SIGTERM) == 0

    def test_a_worker_that_is_asked_to_stop_finishes_its_job_or_returns_it(
        self, client: Client, start: Callable[..., Worker], tmp_path: Path
    ) -> None:
        queue = queue_of(client, "stop")
        put(queue, "m-0", ms=600)
        worker = start("stop")
        worker.says("m-0 started")
        assert worker.end(signal.SIGTERM) == 0
        worker.says("m-0 settled")
        put(queue, "m-1", ms=30_000)
        worker = start("stop", GRACEFUL_TIMEOUT="0.1")
        worker.says("m-1 started")
        assert worker.end(signal.SIGTERM) == 0
        worker.says("m-1 returned")
        assert effects(tmp_path) == {"m-0": 1}
        (left,) = queue.take_rest(10)
        assert left.redelivered

    def test_what_a_dead_worker_held_comes_again_and_has_its_effect_once(
        self, client: Client, start: Callable[..., Worker], tmp_path: Path
    ) -> None:
        queue = queue_of(client, "dead")
        put(queue, "m-0")
        worker = start("dead", DEFECT="double-effect", GAP_MS="60000")
        worker.says("m-0 finished")
        worker.end(signal.SIGKILL)
        start("dead").says("m-0 settled")
        assert effects(tmp_path) == {"m-0": 1}

    def test_a_worker_connects_again_when_its_connection_was_cut(self, client: Client, start: Callable[..., Worker]) -> None:
        queue = queue_of(client, "cut")
        worker = start("cut")
        worker.says("takes jobs")

        def was_cut() -> bool:
            """Else it is cut once more: the broker may tell late of its connection, and for a while of others that have ended."""
            if re.search("connection lost: .*Closed via management plugin", worker.log.read_text()):
                return True
            client.cut_connections()
            return False

        until(was_cut, worker.log.read_text(), within_s=BOUND_S)
        put(queue, "m-0")
        worker.says("m-0 settled")

    def test_one_without_a_limit_gets_all(self, client: Client, start: Callable[..., Worker]) -> None:
        queue = queue_of(client, "batch")
        for number in range(5):
            put(queue, f"m-{number}", ms=30_000)
        worker = start("batch", DEFECT="prefetch-batch")
        worker.says("m-0 started")
        until(lambda: queue.look().held == 5, "it holds all", within_s=BOUND_S)
        worker.end(signal.SIGKILL)

    def test_one_with_automatic_acknowledgements_takes_all_with_it(self, client: Client, start: Callable[..., Worker]) -> None:
        queue = queue_of(client, "auto")
        for number in range(5):
            put(queue, f"m-{number}", ms=30_000)
        worker = start("auto", DEFECT="pop-and-forget")
        worker.says("m-0 started")
        await_empty(queue)
        worker.end(signal.SIGKILL)
        assert queue.take_rest(10) == []

    def test_celery_finishes_its_task_when_it_is_stopped_and_begins_it_anew_when_it_was_killed(
        self, client: Client, start: Callable[..., Worker], tmp_path: Path
    ) -> None:
        pytest.importorskip("celery")
        queue = queue_of(client, "tasks", "celery", task="work")
        put(queue, "m-0", ms=600)
        worker = start("tasks", CELERY)
        worker.says("m-0 started")
        assert worker.end(signal.SIGTERM) == 0
        assert effects(tmp_path) == {"m-0": 1}
        put(queue, "m-1", ms=3000)  # its worker is to be killed in the middle, on a busy machine too
        worker = start("tasks", CELERY)
        worker.says("m-1 started")
        os.killpg(worker.process.pid, signal.SIGKILL)
        worker.process.wait(BOUND_S)
        start("tasks", CELERY).says("m-1 finished")
        await_empty(queue)
        assert effects(tmp_path) == {"m-0": 1, "m-1": 1}
