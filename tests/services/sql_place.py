"""A queue in a database with worker processes, for tests of any worker that keeps its jobs there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.services.base import Client, DoneSpec, QueueSpec, Rows
from harness.services.postgres_client import OWN_NAME
from tests.services.brokers import until

BOUND_S = 60.0


def await_clients(client: Client, number: int) -> None:
    """Wait until PostgreSQL serves so many besides our own: the process of one that has left ends a little later, on a busy machine."""
    assert isinstance(client, Rows)
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"  # noqa: S608  our own name
        f" AND backend_type = 'client backend' AND application_name <> '{OWN_NAME}'"
    )
    until(lambda: list(client.rows(query)) == [(str(number),)], f"it serves {number}", within_s=BOUND_S)


class SqlPlace:
    """A queue, its effects in the table ``effects``, and workers, all of which end with the test."""

    def __init__(self, client: Client, spec: QueueSpec, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._effects = client.effects(DoneSpec(kind="query", name="SELECT job FROM effects"))
        self._done: list[str] = []
        self.client = client
        self.queue = client.queue(spec)
        self.queue.declare()

    def put(self, job: str, ms: int = 0) -> None:
        self.queue.put(job, f'{{"id": "{job}", "ms": {ms}}}')

    def begin(self, name: str, argv: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a worker, whose log has its name."""
        with self._log(name).open("ab") as log:
            process = subprocess.Popen(argv, cwd=cwd, env={**os.environ, **environment}, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def said(self, name: str) -> list[str]:
        return self._log(name).read_text().splitlines()

    def says(self, name: str, line: str) -> None:
        until(lambda: line in self.said(name), f"{name} says {line}", within_s=BOUND_S)

    def effects(self) -> list[str]:
        self._done += self._effects.new()
        return sorted(self._done)

    def drained(self) -> list[str]:
        """The effects, once the queue is empty."""
        until(lambda: self.queue.look().empty, "the queue is empty", within_s=BOUND_S)
        return self.effects()

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self.client.close()

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"
