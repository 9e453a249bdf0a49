"""Recorded requests a second on one core: Jetable's load, with its whole ledger on disk, beside Locust's ``FastHttpUser``.

``python benchmarks/load_throughput.py [--seconds 3] [--rounds 3] [--users 20]`` runs both in turns against the same server on the same
machine and prints one table. Requests for each second of the load process's own CPU time are the figure to compare, since the server
and other programs share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil

from benchmarks.common import Figure, in_turns
from harness.load.process import ProcessLoad
from harness.load.spec import LoadSpec, RequestSpec

BODY = b'{"id": "1", "name": "a small answer"}'
ANSWER = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)

FAST_HTTP_USER = """
import json, sys, time
from locust import FastHttpUser, task, constant
from locust.env import Environment
import gevent
url, users, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
class Visitor(FastHttpUser):
    host = url
    wait_time = constant(0)
    @task
    def read(self):
        self.client.get("/items/1")
environment = Environment(user_classes=[Visitor])
runner = environment.create_local_runner()
runner.start(users, spawn_rate=users)
runner.spawning_greenlet.join()
gevent.sleep(0.3)
before, began, cpu = runner.stats.total.num_requests, time.monotonic(), time.process_time()
gevent.sleep(seconds)
figures = [runner.stats.total.num_requests - before, time.monotonic() - began, time.process_time() - cpu]
runner.quit()
print(json.dumps(figures))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one load did: requests with a recorded end, and seconds of the wall and of its own CPU."""

    requests: int
    wall_s: float
    cpu_s: float


class _Answering(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request at once."""
        self._transport.write(ANSWER * data.count(b"\r\n\r\n"))  # type: ignore[attr-defined]  # a socket's transport can write


async def serve() -> None:
    """A server that is faster than both loads, on ``PORT`` or any other; it prints its port."""
    server = await asyncio.get_running_loop().create_server(_Answering, "127.0.0.1", int(os.environ.get("PORT", "0")))
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def server() -> Iterator[int]:
    """The server in a process of its own; its port."""
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def jetable(port: int, users: int, seconds: float) -> Figures:
    """Jetable's load process, watched from outside."""
    with tempfile.TemporaryDirectory() as folder:
        spec = LoadSpec(seed=1, users=users, requests=(RequestSpec(method="GET", path="/items/1"),))
        load = ProcessLoad(spec, history=Path(folder), logs=Path(folder), run_id="benchmark")
        load.publish("web.1", "127.0.0.1", port)
        try:
            load.start()
            time.sleep(0.3)
            process = psutil.Process(load.pid)
            before, began, cpu = load.begun, time.monotonic(), sum(process.cpu_times()[:2])
            time.sleep(seconds)
            return Figures(requests=load.begun - before, wall_s=time.monotonic() - began, cpu_s=sum(process.cpu_times()[:2]) - cpu)
        finally:
            load.stop()


def fast_http_user(port: int, users: int, seconds: float) -> Figures:
    """Locust's own fast user, in a process of its own."""
    command = [sys.executable, "-c", FAST_HTTP_USER, f"http://127.0.0.1:{port}", str(users), str(seconds)]
    requests, wall_s, cpu_s = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return Figures(requests=requests, wall_s=wall_s, cpu_s=cpu_s)


def measured(rounds: int, users: int, seconds: float) -> dict[str, list[Figures]]:
    """Both in turns, so often."""
    with server() as port:
        contestants = {"jetable": lambda: jetable(port, users, seconds), "FastHttpUser": lambda: fast_http_user(port, users, seconds)}
        return in_turns(contestants, rounds)


def figures() -> list[Figure]:
    """How many times as much as its peer it does for the same CPU time."""
    found = measured(rounds=3, users=20, seconds=3.0)
    each_s = {name: [one.requests / one.cpu_s for one in all_] for name, all_ in found.items()}
    theirs, ours = (statistics.median(each_s[name]) for name in ("FastHttpUser", "jetable"))
    return [
        Figure(
            what="recorded requests for each second of CPU, as a multiple of FastHttpUser's",
            goal="≥ 3",
            values=tuple(mine / yours for mine, yours in zip(each_s["jetable"], each_s["FastHttpUser"], strict=True)),
            digits=1,
            peer=f"FastHttpUser {theirs:.0f} a second of CPU, Jetable {ours:.0f}",
            command="python benchmarks/load_throughput.py",
        )
    ]


def main() -> None:
    """Run both in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    found = measured(options.rounds, options.users, options.seconds)
    each_cpu_s = {name: statistics.median(f.requests / f.cpu_s for f in all_) for name, all_ in found.items()}
    print(f"{'':14}{'requests/s':>12}{'requests/CPU s':>16}{'CPU':>7}")
    for name, all_ in found.items():
        each_s = statistics.median(f.requests / f.wall_s for f in all_)
        share = statistics.median(f.cpu_s / f.wall_s for f in all_)
        print(f"{name:14}{each_s:12,.0f}{each_cpu_s[name]:16,.0f}{share:7.0%}")
    print(f"jetable does {each_cpu_s['jetable'] / each_cpu_s['FastHttpUser']:.1f} times as much for the same CPU time")


if __name__ == "__main__":
    main()
