"""Puts jobs into the queue, or has the app do it, at the times that the scenario asks for.

A job is written down before it leaves, and its answer as soon as it is there. Nothing is ever put twice: a job whose answer was lost stays
*unknown*, and a queue that is away refuses.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Final, Protocol

from harness.clock import NS_PER_S, Clock
from harness.job_history import ACKNOWLEDGED, REFUSED, UNKNOWN, job_text
from harness.jobs.book import JobBook
from harness.scenario import Jobs
from harness.services.base import TIMEOUT_S, PutRefusedError, Queue, ServiceError

JOB: Final = "{job}"
_WAIT_S: Final = 0.05
_REFUSALS_S: Final = 0.01
"""How long to wait after a refusal where no rate says when the next job is due: a queue that is away should not be hammered."""


class Door(Protocol):
    """Where jobs are handed over."""

    def put(self, job: str, body: str) -> None:
        """As `harness.services.base.Queue.put`."""
        ...


class AppDoor:
    """The app puts the job itself, asked by a POST to any replica that is up; nothing is sent twice."""

    def __init__(self, path: str, address: Callable[[], tuple[str, int] | None]) -> None:
        self._path = path
        self._address = address

    def put(self, job: str, body: str) -> None:
        """Ask for it; a status from 200 to 299 acknowledges the job, one from 400 to 499 refuses it."""
        address = self._address()
        if address is None:
            raise PutRefusedError("no replica was up to ask")
        kind = "application/json" if _is_json(body) else "text/plain; charset=utf-8"
        with closing(http.client.HTTPConnection(*address, timeout=TIMEOUT_S)) as connection:
            try:
                connection.connect()
            except OSError as error:
                raise PutRefusedError(f"connect: {type(error).__name__}") from error
            try:
                connection.request("POST", self._path.replace(JOB, job), body.encode(), {"Content-Type": kind})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise ServiceError(f"POST {self._path}: {type(error).__name__}") from error
        if not 200 <= answer.status < 300:
            refused = 400 <= answer.status < 500
            raise (PutRefusedError if refused else ServiceError)(f"POST {self._path} was answered with {answer.status}")


class Submitter:
    """Submits until it is stopped, or has submitted as many as there are; `run` is the body of its thread."""

    def __init__(self, jobs: Jobs, mark: str, book: JobBook, *, door: Door | Queue, clock: Clock, step: Callable[[], int]) -> None:
        self._jobs = jobs
        self._mark = mark
        self._book = book
        self._door = door
        self._clock = clock
        self._step = step
        self.over = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Submit one job after the other, each when it is due."""
        try:
            began_ns = self._clock.now_ns()
            number = 0
            while not stop.is_set() and (self._jobs.count is None or number < self._jobs.count):
                due_ns = self._due_ns(began_ns, number)
                while (left_s := (due_ns - self._clock.now_ns()) / NS_PER_S) > 0:
                    if stop.wait(min(left_s, _WAIT_S)):
                        return
                self._submit(number, due_ns, stop)
                number += 1
        finally:
            self.over.set()

    def _due_ns(self, began_ns: int, number: int) -> int:
        rate = self._jobs.rate
        return began_ns + round(number / rate.per_s * NS_PER_S) if rate is not None else 0

    def _submit(self, number: int, due_ns: int, stop: threading.Event) -> None:
        job = job_text(self._mark, number)
        self._book.submit(number, step=self._step(), due_ns=due_ns)
        try:
            self._door.put(job, self._jobs.body.replace(JOB, job))
        except PutRefusedError as error:
            self._book.answer(number, REFUSED, str(error))
            stop.wait(_REFUSALS_S)
        except ServiceError as error:
            self._book.answer(number, UNKNOWN, str(error))
        else:
            self._book.answer(number, ACKNOWLEDGED)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
