"""A conversation with Redis in which nothing is said twice.

redis-py by itself repeats a command up to three times after a lost connection, and a job with it. Here a command is sent once; after
anything but an answer the connection is given up, so that a late answer is never taken for that of the next command. Answers are those of
version 2 of the protocol as they come, because each version of redis-py makes something else of them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from harness.errors import UsageError
from harness.services.base import TIMEOUT_S, PutRefusedError, ServiceError, from_extra

if TYPE_CHECKING:
    import redis

Answer: TypeAlias = "str | int | list[Answer] | None"

OWN_NAME: Final = "jetable"
"""How our own connections call themselves, so that cutting connections spares them."""

_PAGE: Final = 1000


class Known:
    """What was said of keys from here, whichever client heard it: the bodies put into each queue, and where effects show."""

    def __init__(self) -> None:
        self.bodies: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self.effects: set[tuple[str, str]] = set()


class Link:
    """One connection, made when it is first needed, and again after it was lost. Each call may raise `ServiceError`."""

    def __init__(self, url: str, known: Known | None = None) -> None:
        with from_extra("redis", "a service of kind redis needs a package of Python"):
            from redis import exceptions  # noqa: PLC0415  only who uses it needs it
        self.url = url
        self.known = known or Known()
        self._errors = exceptions
        self._redis = library_client(url, decode=True)
        self._redis.response_callbacks.clear()

    def do(self, *words: str | int) -> Answer:
        """Send one command."""
        with self._told(self._redis):
            return cast("Answer", self._redis.execute_command(*words))  # type: ignore[no-untyped-call]  # redis-py has no types there

    def together(self, *commands: Sequence[str | int]) -> list[Answer]:
        """Several commands as one transaction, so that their answers are of one instant."""
        with self._told(self._redis), self._redis.pipeline(transaction=True) as pipe:
            for words in commands:
                pipe.execute_command(*words)  # type: ignore[no-untyped-call]  # the same
            return cast("list[Answer]", pipe.execute())

    @contextmanager
    def putting(self, library: redis.Redis | None = None) -> Iterator[None]:
        """Around what hands over a job, by `do` or by a library's own client: raises `PutRefusedError` where it surely was not taken."""
        client = library or self._redis
        refusals = (self._errors.ResponseError, self._errors.BusyLoadingError, self._errors.AuthenticationError)
        try:
            with self._told(client):
                client.connection_pool.release(client.connection_pool.get_connection())
        except ServiceError as error:
            raise PutRefusedError(str(error)) from error
        try:
            with self._told(client):
                yield
        except ServiceError as error:
            if isinstance(error.__cause__, refusals):
                raise PutRefusedError(str(error)) from error.__cause__
            raise

    def remove(self, name: str) -> None:
        """Remove a key of the run's own, and what workers have made beside it: keys whose names begin with its name and a colon."""
        self.do("UNLINK", name, *self.keys(f"{name}:*"))

    def keys(self, pattern: str, kind: str = "") -> set[str]:
        """The keys of a type, or of any, that match a pattern; at most `TIMEOUT_S` are spent on the search."""
        found: set[str] = set()
        cursor = "0"
        of_type = ("TYPE", kind) if kind else ()
        end_s = time.monotonic() + TIMEOUT_S
        while True:
            cursor, keys = cast("tuple[str, list[str]]", self.do("SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE, *of_type))
            found.update(keys)
            if str(cursor) == "0":
                return found
            if time.monotonic() > end_s:
                raise ServiceError(f"Redis has too many keys to find those like {pattern} among them within {TIMEOUT_S:g} s")

    def close(self) -> None:
        """End it; what goes wrong meanwhile is of no interest."""
        with suppress(self._errors.RedisError, OSError):
            self._redis.close()

    @contextmanager
    def _told(self, client: redis.Redis) -> Iterator[None]:
        try:
            yield
        except self._errors.RedisError as error:
            if not isinstance(error, self._errors.ResponseError):
                client.connection_pool.disconnect()
            raise ServiceError(f"Redis: {' '.join(str(error).split())}") from error


def library_client(url: str, *, decode: bool) -> redis.Redis:
    """A client of redis-py that repeats nothing and waits for nothing longer than `TIMEOUT_S`. Raises `UsageError` for a wrong URL."""
    import redis  # noqa: PLC0415  only who uses it needs it
    from redis.backoff import NoBackoff  # noqa: PLC0415  the same
    from redis.retry import Retry  # noqa: PLC0415  the same

    try:
        return redis.Redis.from_url(
            url,
            decode_responses=decode,
            encoding_errors="replace",
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            client_name=OWN_NAME,
        )
    except ValueError as error:
        raise UsageError(f"the URL of Redis is wrong: {error}") from error


def number(answer: Answer) -> int:
    """An answer that is a number."""
    return int(str(answer))


def items(answer: Answer) -> list[Answer]:
    """An answer that is a list; nothing is an empty one."""
    return answer if isinstance(answer, list) else []


def texts(answer: Answer) -> list[str]:
    """An answer that is a list of texts."""
    return [str(text) for text in items(answer)]


def pairs(answer: Answer) -> Mapping[str, Answer]:
    """An answer in which names and values take turns."""
    flat = items(answer)
    return {str(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def entry_id(entry: Answer) -> str:
    """The id of a stream's entry."""
    return str(items(entry)[0])


def entry_text(entry: Answer) -> str:
    """All values of a stream's entry."""
    return " ".join(str(value) for value in pairs(items(entry)[1]).values())
