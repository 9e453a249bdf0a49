"""State in Redis, each step one command, or one script where it takes a look and a change: Redis runs nothing in between.

Registers and counters are strings (``SET``, ``INCR``), sets are sets, logs are lists. What has been answered outlives every process of the
app; whether it outlives Redis itself is for its ``appendonly`` and ``appendfsync`` to say.

The client repeats nothing. redis-py would send a command again after a lost connection, and an ``INCR`` that had been done already would
be done twice.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sample_apps.state.store import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_S: Final = 5.0
_REMEMBERED_S: Final = 24 * 3600

_REPLACE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

_COUNT_ONCE: Final = """
local before = redis.call('GET', KEYS[2])
if before then return tonumber(before) end
local count = redis.call('INCR', KEYS[1])
redis.call('SET', KEYS[2], count, 'EX', ARGV[1])
return count
"""


class RedisStore:
    """A pool of connections to one Redis. Keys: ``register:<key>``, ``counter:<key>``, ``set:<key>``, ``log:<key>``."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._replace = self._redis.register_script(_REPLACE)
        self._count_once = self._redis.register_script(_COUNT_ONCE)

    def ping(self) -> None:
        """See ``Store``."""
        with _errors_translated():
            self._redis.ping()

    def read(self, key: str) -> str | None:
        """See ``Store``."""
        with _errors_translated():
            return cast("str | None", self._redis.get(f"register:{key}"))

    def write(self, key: str, value: str) -> None:
        """See ``Store``."""
        with _errors_translated():
            self._redis.set(f"register:{key}", value)

    def replace(self, key: str, old: str, new: str) -> bool:
        """See ``Store``."""
        with _errors_translated():
            return bool(self._replace(keys=[f"register:{key}"], args=[old, new]))

    def count(self, key: str) -> int:
        """See ``Store``."""
        with _errors_translated():
            return int(cast("str | None", self._redis.get(f"counter:{key}")) or 0)

    def add_one(self, key: str, request: str = "") -> int:
        """See ``Store``."""
        with _errors_translated():
            if not request:
                return self._redis.incr(f"counter:{key}")
            keys = [f"counter:{key}", f"counted:{key}/{request}"]
            return cast("int", self._count_once(keys=keys, args=[_REMEMBERED_S]))

    def add(self, key: str, element: str) -> None:
        """See ``Store``."""
        with _errors_translated():
            self._redis.sadd(f"set:{key}", element)

    def remove(self, key: str, element: str) -> None:
        """See ``Store``."""
        with _errors_translated():
            self._redis.srem(f"set:{key}", element)

    def has(self, key: str, element: str) -> bool:
        """See ``Store``."""
        with _errors_translated():
            return bool(self._redis.sismember(f"set:{key}", element))

    def elements(self, key: str, after: str = "", limit: int | None = None) -> list[str]:
        """See ``Store``."""
        with _errors_translated():
            found = cast("set[str]", self._redis.smembers(f"set:{key}"))
        return sorted(element for element in found if element > after)[:limit]

    def append(self, key: str, value: str) -> None:
        """See ``Store``."""
        with _errors_translated():
            self._redis.rpush(f"log:{key}", value)

    def entries(self, key: str) -> list[str]:
        """See ``Store``."""
        with _errors_translated():
            return cast("list[str]", self._redis.lrange(f"log:{key}", 0, -1))

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()


@contextmanager
def _errors_translated() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise StoreUnavailableError(str(error)) from error
