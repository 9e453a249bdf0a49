"""``BEANSTALKD_URL=beanstalk://127.0.0.1:11300 python -m sample_apps.workers.beanstalkd``: jobs from a tube, with greenstalk.

A job is reserved, worked on, and deleted once its effect is written. While it is worked on its time to run is renewed (*touch*) well before
it is over. A worker that is asked to stop releases its job with the priority that it had; what a dead one had reserved beanstalkd hands to
others by itself, as soon as the connection ends or the time to run is over.

The effect is a line in the file ``DONE``, which all workers of a machine share. A job that comes again may have had its effect already, so
a worker looks, under a lock of the file, whether the job is in it. beanstalkd counts how often a job was reserved, but that count is no
sign that the look can be spared: it is not kept over a restart of beanstalkd.

A worker that only closes its connection, or dies, keeps nothing from others, so ``keeps-lock`` can't be planted here. Instead there are

* ``releases-late``: on SIGTERM the job is released as after a failure, with an hour's delay;
* ``buries-on-sigterm``: on SIGTERM the job is buried, and stays so until somebody kicks it;
* ``ttr-too-short``: every tenth job takes ``GAP_MS`` longer when it comes for the first time, its time is never renewed, and nobody looks
  whether the effect is there. Not each of them is handed to a second worker, as beanstalkd 1.12 overlooks many ends of a time to run.
"""

from __future__ import annotations

import math
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import greenstalk

from sample_apps.workers.file_effects import FileEffects
from sample_apps.workers.loop import Job, LostError, main, read_job, say
from sample_apps.workers.settings import DEFECTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sample_apps.workers.settings import Settings

RELEASES_LATE: Final = "releases-late"
BURIES: Final = "buries-on-sigterm"
TTR_TOO_SHORT: Final = "ttr-too-short"
KNOWN: Final = (*(name for name in DEFECTS if name not in ("pop-and-forget", "keeps-lock")), RELEASES_LATE, BURIES, TTR_TOO_SHORT)
"""The defects that this worker knows; it can't forget a job other than by ``early-ack``."""

_PORT: Final = 11300
_ANSWER_S: Final = 10.0
_LATE_S: Final = 3600


@dataclass(slots=True)
class _Reserved:
    """A job as beanstalkd knows it, and when its time to run was last renewed."""

    job: greenstalk.Job[str]
    priority: int
    ttr_s: int
    renewed_s: float = field(default_factory=time.monotonic)


class BeanstalkdSource:
    """A connection that watches the tube, and the file of effects."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._effects = FileEffects(settings.done)
        url = urlsplit(settings.url)
        with _told():
            connection = socket.create_connection((url.hostname or "127.0.0.1", url.port or _PORT), timeout=_ANSWER_S)
            self._client = greenstalk.Client(connection, watch=settings.queue)

    def take(self, wait_s: float) -> Job | None:
        """Reserve one job; beanstalkd waits in whole seconds."""
        with _told():
            try:
                reserved = self._client.reserve(timeout=math.ceil(wait_s))
            except greenstalk.TimedOutError:
                return None
            stats = self._client.stats_job(reserved)
        job = read_job(reserved.body, _Reserved(job=reserved, priority=stats["pri"], ttr_s=stats["ttr"]))
        if self._settings.defect == TTR_TOO_SHORT and job.poison and stats["reserves"] == 1:
            return replace(job, work_s=job.work_s + self._settings.gap_s)
        return job

    def keep(self, job: Job) -> None:
        """Ask for its whole time to run again when a third of it has gone by."""
        held = _reserved(job)
        if time.monotonic() - held.renewed_s < held.ttr_s / 3 or self._settings.defect == TTR_TOO_SHORT:
            return
        held.renewed_s = time.monotonic()
        with _told():
            try:
                self._client.touch(held.job)
            except greenstalk.NotFoundError:
                say(job, "returned")
                raise LostError(f"the time to run of job {job.id} is over, and it is somebody else's now") from None

    def finish(self, job: Job) -> None:
        """The effect, unless it is there already; then the deletion."""
        if self._settings.defect == TTR_TOO_SHORT:
            self._effects.add(job.id)
        else:
            self._effects.add_once(job.id)
        say(job, "finished")
        time.sleep(self._settings.settle_after_s)
        with _told():
            try:
                self._client.delete(_reserved(job).job)
            except greenstalk.NotFoundError:
                say(job, "is not this worker's any more: its time to run was over")  # who has it now will find the effect
            else:
                say(job, "settled")

    def effect(self, job: Job) -> None:
        """A line in the file, whether there is one already or not."""
        self._effects.add(job.id)

    def settle(self, job: Job) -> None:
        """Delete it."""
        with _told(), suppress(greenstalk.NotFoundError):
            self._client.delete(_reserved(job).job)

    def give_back(self, job: Job) -> None:
        """Release it with the priority that it had; not there any more means that somebody else has it already."""
        held = _reserved(job)
        with _told(), suppress(greenstalk.NotFoundError):
            if self._settings.defect == BURIES:
                self._client.bury(held.job, priority=held.priority)
            else:
                self._client.release(held.job, priority=held.priority, delay=_LATE_S if self._settings.defect == RELEASES_LATE else 0)

    def close(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            self._client.close()


def _reserved(job: Job) -> _Reserved:
    assert isinstance(job.handle, _Reserved)  # noqa: S101  take puts it there
    return job.handle


@contextmanager
def _told() -> Iterator[None]:
    """A connection that failed, was closed, or ended in the middle of an answer (which greenstalk asserts) is lost."""
    try:
        yield
    except (OSError, AssertionError, ValueError, greenstalk.Error) as error:
        raise LostError(str(error) or type(error).__name__) from error


if __name__ == "__main__":
    raise SystemExit(main("sample_apps.workers.beanstalkd", "BEANSTALKD_URL", BeanstalkdSource, KNOWN))
