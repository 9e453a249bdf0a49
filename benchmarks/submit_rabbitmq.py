"""Jobs a second into RabbitMQ, each with a confirm of its own: Jetable's `Queue.put` beside a bare loop over pika's ``basic_publish``.

``python benchmarks/submit_rabbitmq.py [--seconds 2] [--rounds 5]`` starts a RabbitMQ of its own and runs both in turns against it, each
into a queue that is empty at first. Needs Debian's package rabbitmq-server and ``jetable[rabbitmq]``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Figure, in_turns
from harness.job_history import job_text
from harness.services.base import QueueSpec, ServiceError
from harness.services.rabbitmq import RABBITMQ
from harness.sockets import claim_port

READY_S: Final = 120.0
STOP_S: Final = 20.0
OURS: Final = "Queue.put"
PEER: Final = "bare pika"


@contextmanager
def broker() -> Iterator[str]:
    """A RabbitMQ that does its work; its URL."""
    launch = RABBITMQ.launch(durable=True)
    if launch is None or shutil.which(launch.argv[0]) is None:
        raise SystemExit("RabbitMQ is not installed; Debian has it in the package rabbitmq-server")
    claim = claim_port()
    with tempfile.TemporaryDirectory(prefix="benchmark-of-jetable-", ignore_cleanup_errors=True) as folder:
        port = claim.port
        filled = {name: text.replace("{port}", str(port)).replace("{folder}", folder) for name, text in launch.environment.items()}
        url = RABBITMQ.url("127.0.0.1", port, Path(folder))
        process = subprocess.Popen(launch.argv, env={**os.environ, **filled}, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            _await(url)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_S)
            claim.release()


def _await(url: str) -> None:
    deadline = time.monotonic() + READY_S
    with closing(RABBITMQ.open(url)) as client:
        while True:
            try:
                client.ready()
            except ServiceError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return


def body_of(number: int) -> str:
    """What is put, by both."""
    return f'{{"id": "{job_text("2fecf0", number)}", "ms": 50}}'


def ours(url: str, seconds: float) -> float:
    """Jobs a second through a queue of Jetable's."""
    with closing(RABBITMQ.open(url)) as client:
        queue = client.queue(QueueSpec(form="classic", name="ours"))
        queue.declare()
        try:
            return _each_s(seconds, lambda number: queue.put(job_text("2fecf0", number), body_of(number)))
        finally:
            queue.remove()


def peer(url: str, seconds: float) -> float:
    """Jobs a second by pika alone, with the same queue, flags and confirms."""
    import pika  # noqa: PLC0415  as Jetable does: only who measures it needs it

    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare("bare", durable=True)
    channel.confirm_delivery()
    properties = pika.BasicProperties(delivery_mode=2)
    try:
        return _each_s(seconds, lambda number: channel.basic_publish("", "bare", body_of(number).encode(), properties, mandatory=True))
    finally:
        channel.queue_delete("bare")
        connection.close()


def _each_s(seconds: float, put: Callable[[int], object]) -> float:
    put(0)
    began, number = time.monotonic(), 0
    while (now := time.monotonic()) - began < seconds:
        number += 1
        put(number)
    return number / (now - began)


def measured(rounds: int, seconds: float) -> dict[str, list[float]]:
    """Both in turns, so often."""
    with broker() as url:
        return in_turns({OURS: lambda: ours(url, seconds), PEER: lambda: peer(url, seconds)}, rounds)


def figures() -> list[Figure]:
    """How much of the bare loop's rate is left."""
    found = measured(rounds=5, seconds=2.0)
    mine, theirs = (statistics.median(found[name]) for name in (OURS, PEER))
    return [
        Figure(
            what="jobs a second into RabbitMQ with confirms, as a share of a bare pika loop's",
            goal="≥ 0.8",
            values=tuple(one / other for one, other in zip(found[OURS], found[PEER], strict=True)),
            digits=2,
            peer=f"pika {theirs:.0f} a second, Jetable {mine:.0f}",
            command="python benchmarks/submit_rabbitmq.py",
        )
    ]


def main() -> None:
    """Run both in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = measured(options.rounds, options.seconds)
    print(f"{'':10}{'jobs/s':>10}")
    for name, rates in found.items():
        print(f"{name:10}{statistics.median(rates):10,.0f}")
    print(f"Queue.put does {statistics.median(a / b for a, b in zip(*found.values(), strict=True)):.2f} of the bare loop's rate")


if __name__ == "__main__":
    main()
