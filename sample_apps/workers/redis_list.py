"""``REDIS_URL=redis://… python -m sample_apps.workers.redis_list``: jobs from a list, as the reliable queue of Redis' documentation.

``BLMOVE`` takes a job from the right end of the list ``QUEUE`` and puts it into a list of the worker's own, ``QUEUE:processing:<name>``, in
one step; ``LREM`` removes it there once its effect is written. ``QUEUE:alive:<name>`` lives as long as its worker says so, and ``LEASE_S``
more. Every worker looks now and then whether another one has died, and puts what that one held back into the queue; ``QUEUE:workers`` names
them all. So a job may be begun twice, and its effect must not care: it is written together with a mark (``DONE:once``), or not at all.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, cast

from sample_apps.workers.loop import Job, main, read_job, say
from sample_apps.workers.redis_link import Pace, RedisLink

if TYPE_CHECKING:
    from sample_apps.workers.settings import Settings

_GIVE_BACK: Final = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 1 then redis.call('RPUSH', KEYS[2], ARGV[1]) end
"""

_REAP: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 then return end
while redis.call('LMOVE', KEYS[2], KEYS[3], 'LEFT', 'RIGHT') do end
redis.call('SREM', KEYS[4], ARGV[1])
"""


class RedisListSource(RedisLink):
    """A connection to Redis, and a heart that beats while the worker waits or works."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._queue = settings.queue
        self._own = self._processing(settings.name)
        self._beats = Pace(settings.own_lease_s / 4)
        self._reaps = Pace(settings.lease_s / 4)
        self._beat()
        with self.told():
            self._redis.sadd(f"{self._queue}:workers", settings.name)
            while self._redis.lmove(self._own, self._queue, "LEFT", "RIGHT"):
                pass  # what a worker of this name held when it lost its connection, or its life

    def take(self, wait_s: float) -> Job | None:
        """Move a job into the list of our own."""
        self._beat()
        self._reap()
        with self.told():
            if self._settings.defect == "pop-and-forget":
                popped = cast("list[str] | None", self._redis.brpop([self._queue], timeout=wait_s))
                body = popped[1] if popped else None
            else:
                command = ("BLMOVE", self._queue, self._own, "RIGHT", "LEFT", wait_s)  # redis-py's own blmove wants whole seconds
                body = cast("str | None", self._redis.execute_command(*command))  # type: ignore[no-untyped-call]  # it has no types
        return None if body is None else read_job(body, body)

    def finish(self, job: Job) -> None:
        """The effect, once; then the job leaves the list of our own."""
        self.effect_once(job)
        say(job, "finished")
        time.sleep(self._settings.settle_after_s)
        self.settle(job)
        say(job, "settled")

    def settle(self, job: Job) -> None:
        """Remove it from the list of our own."""
        with self.told():
            self._redis.lrem(self._own, 1, str(job.handle))

    def give_back(self, job: Job) -> None:
        """Move it to where the next one is taken from, if it is still ours."""
        with self.told():
            self._redis.eval(_GIVE_BACK, 2, self._own, self._queue, str(job.handle))

    def keep(self, job: Job) -> None:  # noqa: ARG002  whatever it is
        """Our heart beats."""
        self._beat()

    def farewell(self) -> None:
        """Nobody has to wait for the end of our heartbeat."""
        self._redis.delete(self._alive(self._settings.name))

    def _processing(self, worker: str) -> str:
        return f"{self._queue}:processing:{worker}"

    def _alive(self, worker: str) -> str:
        return f"{self._queue}:alive:{worker}"

    def _beat(self) -> None:
        if self._beats.due():
            with self.told():
                self._redis.set(self._alive(self._settings.name), "", px=round(self._settings.own_lease_s * 1000))

    def _reap(self) -> None:
        if not self._reaps.due():
            return
        workers = f"{self._queue}:workers"
        with self.told():
            for worker in cast("set[str]", self._redis.smembers(workers)):
                self._redis.eval(_REAP, 4, self._alive(worker), self._processing(worker), self._queue, workers, worker)


if __name__ == "__main__":
    raise SystemExit(main("sample_apps.workers.redis_list", "REDIS_URL", RedisListSource))
