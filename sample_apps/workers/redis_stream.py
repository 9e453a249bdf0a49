"""``REDIS_URL=redis://… python -m sample_apps.workers.redis_stream``: jobs from a stream, through its consumer group ``workers``.

``XREADGROUP`` hands an entry to one consumer, in whose list of pending entries it stays until ``XACK``. What a consumer has had pending
for ``LEASE_S`` is claimed by another one (``XAUTOCLAIM``), so a consumer that works for longer keeps saying that it does. There is no
command to give an entry back: it is made to look as if it had been pending for long, so that the next one to claim anything gets it. A
consumer reads what it has pending itself before anything else, and deletes itself only when nothing is. The effect is written together
with a mark (``DONE:once``), or not at all, since a job may be begun twice.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, cast

import redis

from sample_apps.workers.loop import Job, main, read_job, say
from sample_apps.workers.redis_link import Pace, RedisLink

if TYPE_CHECKING:
    from sample_apps.workers.settings import Settings

GROUP: Final = "workers"
_FIELD: Final = "body"


class RedisStreamSource(RedisLink):
    """A consumer of the group."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._stream = settings.queue
        self._lease_ms = round(settings.own_lease_s * 1000)
        self._keeps = Pace(settings.own_lease_s / 4)
        self._claims = Pace(min(0.5, settings.own_lease_s / 4))
        self._recalls = True
        with self.told():
            try:
                self._redis.xgroup_create(self._stream, GROUP, id="0", mkstream=True)
            except redis.ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def take(self, wait_s: float) -> Job | None:
        """What this consumer has pending; what others have had pending for too long; what is new."""
        with self.told():
            job = self._read("0", 0.0) if self._recalls else None
            self._recalls = job is not None
            return job or self._claim() or self._read(">", wait_s)

    def finish(self, job: Job) -> None:
        """The effect, once; then it is acknowledged."""
        self.effect_once(job)
        say(job, "finished")
        time.sleep(self._settings.settle_after_s)
        self.settle(job)
        say(job, "settled")

    def settle(self, job: Job) -> None:
        """Acknowledge it. Who drops its job deletes its consumer, and what that has pending goes with it."""
        with self.told():
            if self._settings.defect == "drops-on-sigterm":
                self._redis.xgroup_delconsumer(self._stream, GROUP, self._settings.name)
            else:
                self._redis.xack(self._stream, GROUP, str(job.handle))

    def give_back(self, job: Job) -> None:
        """Let the entry look as if it had been pending for as long as it takes to be claimed."""
        with self.told():
            self._redis.xclaim(self._stream, GROUP, self._settings.name, 0, [str(job.handle)], idle=self._lease_ms + 1000, justid=True)

    def keep(self, job: Job) -> None:
        """Its time of being pending begins anew."""
        if self._keeps.due():
            with self.told():
                self._redis.xclaim(self._stream, GROUP, self._settings.name, 0, [str(job.handle)], idle=0, justid=True)

    def farewell(self) -> None:
        """Delete the consumer if nothing is pending."""
        pending = self._redis.xpending(self._stream, GROUP)
        if not any(each["name"] == self._settings.name for each in pending["consumers"]):
            self._redis.xgroup_delconsumer(self._stream, GROUP, self._settings.name)

    def _read(self, start: str, wait_s: float) -> Job | None:
        answer = self._redis.xreadgroup(
            GROUP,
            self._settings.name,
            {self._stream: start},
            count=1,
            block=round(wait_s * 1000) or None,
            noack=self._settings.defect == "pop-and-forget",
        )
        rows = cast("list[tuple[str, list[tuple[str, dict[str, str]]]]]", answer)
        return _job(rows[0][1]) if rows else None

    def _claim(self) -> Job | None:
        if not self._claims.due():
            return None
        answer = self._redis.xautoclaim(self._stream, GROUP, self._settings.name, self._lease_ms, "0-0", count=1)
        return _job(cast("list[list[tuple[str, dict[str, str]]]]", answer)[1])


def _job(entries: list[tuple[str, dict[str, str]]]) -> Job | None:
    return read_job(entries[0][1].get(_FIELD, ""), entries[0][0]) if entries else None


if __name__ == "__main__":
    raise SystemExit(main("sample_apps.workers.redis_stream", "REDIS_URL", RedisStreamSource))
