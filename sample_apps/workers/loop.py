"""What all workers share: one job at a time, in small slices, until SIGTERM or SIGINT.

After the signal nothing new is taken. The job in hand may be finished within ``grace_s``; after that it is given back, so that another
worker can begin with it at once. A worker whose connection was lost has lost its job, too, as the queue hands it to somebody else: it
forgets it, connects again and goes on.

A line of the log, each flushed, tells each thing that happens to a job: ``job <id> started``, ``finished`` (its work is done, and the queue
does not know it yet), ``settled`` (the queue was told that it is done) and ``returned`` (it was given back).

The body of a job is JSON, ``{"id": "…", "ms": 50}``: its work takes so many milliseconds. A body that is no JSON is an id whose work takes
no time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from sample_apps.workers.settings import DEFECTS, Settings, SettingsError, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

SLICE_S: Final = 0.01
WAIT_S: Final = 0.1
"""The longest that a worker waits for a job before it looks whether it is to stop."""

_AGAIN_S: Final = 0.2
_POISON_STATUS: Final = 70


class LostError(Exception):
    """The connection to the queue is gone; whatever was under way on it may or may not have happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that was taken.

    Attributes:
        id: Its id.
        work_s: How long its work takes.
        handle: What the queue knows it by.
    """

    id: str
    work_s: float
    handle: object = None

    @property
    def poison(self) -> bool:
        """Every tenth: its number ends with 7."""
        return self.id.endswith("7")


class Source(Protocol):
    """One connection to a queue, and to the place where effects show. Each call may raise `LostError`."""

    def take(self, wait_s: float) -> Job | None:
        """The next job, or None when there was none for ``wait_s``."""
        ...

    def finish(self, job: Job) -> None:
        """Write the effect and tell the queue, as is right for this queue, and `say` ``finished`` between them, ``settled`` after."""
        ...

    def effect(self, job: Job) -> None:
        """Write the effect alone."""
        ...

    def settle(self, job: Job) -> None:
        """Tell the queue alone that the job is done."""
        ...

    def give_back(self, job: Job) -> None:
        """Let others have the job at once."""
        ...

    def close(self) -> None:
        """Close the connection; never raises."""
        ...


@runtime_checkable
class Keeps(Protocol):
    """What a source has besides, where a queue wants to hear of a job while it is worked on."""

    def keep(self, job: Job) -> None:
        """Called in every slice of the work: say that the job is still in hand, if it is time to. `LostError`: or it is not any more."""
        ...


class Stop:
    """Whether the worker was asked to end, and how long ago."""

    def __init__(self) -> None:
        self._asked_s: float | None = None

    def listen(self) -> None:
        """Take SIGTERM and SIGINT from now on."""
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)

    def _ask(self, _number: int, _frame: object) -> None:
        if self._asked_s is None:
            self._asked_s = time.monotonic()

    @property
    def asked(self) -> bool:
        """A signal came."""
        return self._asked_s is not None

    def over(self, grace_s: float) -> bool:
        """``grace_s`` or more have gone by since the signal."""
        return self._asked_s is not None and time.monotonic() - self._asked_s >= grace_s


def say(job: Job, what: str) -> None:
    """A line of the log."""
    print(f"job {job.id} {what}", flush=True)


def read_job(body: str, handle: object = None) -> Job:
    """The job that a body describes."""
    try:
        told = json.loads(body)
    except ValueError:
        told = body
    if not isinstance(told, dict):
        return Job(id=str(told), work_s=0.0, handle=handle)
    return Job(id=str(told.get("id", "")), work_s=float(told.get("ms", 0)) / 1000, handle=handle)


def work(job: Job, stop: Stop, grace_s: float, keep: Callable[[Job], None] = lambda _job: None) -> bool:
    """Do the work in slices; False when the end of the worker came first. Raises `LostError` as ``keep`` does."""
    end_s = time.monotonic() + job.work_s
    while (left_s := end_s - time.monotonic()) > 0:
        if stop.over(grace_s):
            return False
        keep(job)
        time.sleep(min(SLICE_S, left_s))
    return True


def run(connect: Callable[[], Source], settings: Settings, stop: Stop) -> None:
    """Take jobs and work on them until the worker is asked to stop."""
    while not stop.asked:
        try:
            source = connect()
        except LostError as error:
            print(f"no connection: {error}", flush=True)
            time.sleep(_AGAIN_S)
            continue
        print(f"worker {settings.name} takes jobs from {settings.queue}", flush=True)
        try:
            _serve(source, settings, stop)
        except LostError as error:
            print(f"connection lost: {error}", flush=True)
            time.sleep(_AGAIN_S)
        finally:
            source.close()


def _serve(source: Source, settings: Settings, stop: Stop) -> None:
    while not stop.asked:
        try:
            job = source.take(WAIT_S)
            if job is not None:
                _handle(source, job, settings, stop)
        except LostError as error:
            if settings.defect != "no-reconnect":
                raise
            print(f"error: {error}", flush=True)
            time.sleep(_AGAIN_S)


def _handle(source: Source, job: Job, settings: Settings, stop: Stop) -> None:
    defect = settings.defect
    say(job, "started")
    if defect == "poison-kills" and job.poison:
        os._exit(_POISON_STATUS)
    if defect == "early-ack":
        _settle(source, job)
    grace_s = {"finishes-after-grace": float("inf"), "drops-on-sigterm": 0.0, "keeps-lock": 0.0}.get(defect or "", settings.grace_s)
    if not (work(job, stop, grace_s, source.keep) if isinstance(source, Keeps) else work(job, stop, grace_s)):
        _interrupted(source, job, defect)
    elif defect in ("early-ack", "pop-and-forget"):
        source.effect(job)
        say(job, "finished")
    elif defect == "double-effect":
        source.effect(job)
        say(job, "finished")
        time.sleep(settings.gap_s)
        _settle(source, job)
    elif defect == "ack-before-effect":
        _settle(source, job)
        time.sleep(settings.gap_s)
        source.effect(job)
        say(job, "finished")
    else:
        source.finish(job)


def _interrupted(source: Source, job: Job, defect: str | None) -> None:
    if defect == "keeps-lock":
        os._exit(0)  # a clean-up that nobody wrote
    if defect == "drops-on-sigterm":
        _settle(source, job)
    elif defect not in ("early-ack", "pop-and-forget"):  # which have nothing left to give back
        source.give_back(job)
        say(job, "returned")


def _settle(source: Source, job: Job) -> None:
    source.settle(job)
    say(job, "settled")


def main(name: str, variable: str, connect: Callable[[Settings], Source], defects: Collection[str] = tuple(DEFECTS)) -> int:
    """Run the worker of module ``name``: 0 after SIGTERM or SIGINT, 2 when the environment can't be used."""
    try:
        settings = read_settings(os.environ, variable, defects)
    except SettingsError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    stop = Stop()
    stop.listen()
    run(lambda: connect(settings), settings, stop)
    return 0
