"""What the workers on Redis share: a client that repeats nothing, and effects that happen once.

redis-py would repeat a command after a lost connection; a job that was taken by the first of the two would then be in nobody's hands.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sample_apps.workers.loop import LostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis.connection import Connection

    from sample_apps.workers.loop import Job
    from sample_apps.workers.settings import Settings

_TIMEOUT_S: Final = 5.0

_ONCE: Final = """
if redis.call('SADD', KEYS[1], ARGV[1]) == 1 then redis.call('RPUSH', KEYS[2], ARGV[1]) end
"""


class Pace:
    """Says when something is due again that is to be done every so often."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._next_s = 0.0

    def due(self) -> bool:
        """It is, and from now on it is not for a while."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self._every_s
        return True


def _once() -> Callable[[Connection], None]:
    """Greets the server on the first connection only: redis-py makes another one by itself when it finds the old one closed."""
    first: list[Connection] = []

    def connected(connection: Connection) -> None:
        if first:
            raise redis.ConnectionError("Connection closed by server.")
        first.append(connection)
        connection.on_connect()  # type: ignore[no-untyped-call]  # redis-py has no types there

    return connected


class RedisLink:
    """A connection to Redis."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lost = ""
        self._redis = redis.Redis.from_url(
            settings.url,
            decode_responses=True,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=_once() if settings.defect == "no-reconnect" else None,
        )

    @contextmanager
    def told(self) -> Iterator[None]:
        """What goes wrong with Redis is a lost connection; one that a worker never renews stays lost."""
        if self._lost and self._settings.defect == "no-reconnect":
            raise LostError(self._lost)
        try:
            yield
        except redis.RedisError as error:
            self._lost = str(error)
            raise LostError(self._lost) from error

    def effect(self, job: Job) -> None:
        """Push the id."""
        with self.told():
            self._redis.rpush(self._settings.done, job.id)

    def effect_once(self, job: Job) -> None:
        """Push the id, unless that was done before."""
        with self.told():
            self._redis.eval(_ONCE, 2, f"{self._settings.done}:once", self._settings.done, job.id)

    def farewell(self) -> None:
        """What is said when the connection is closed in order."""

    def close(self) -> None:
        """Close the connection, after a farewell where it still works."""
        with suppress(redis.RedisError, OSError):
            if not self._lost:
                self.farewell()
            self._redis.close()
