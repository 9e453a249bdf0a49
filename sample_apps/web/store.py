"""Where the items live: outside the process, so that any replica can be killed at any instant.

A write is acknowledged only after the store has it. With SQLite all replicas of one machine share one file in WAL mode; each statement
is a transaction of its own, so a killed process leaves a whole write or none. ``synchronous=NORMAL`` is enough for that: a write that
reached the WAL outlives the process, and only a power cut could take it back.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sample_apps.web.settings import Settings

_T = TypeVar("_T")

Item = tuple[str, str]  # id, name
Rows = list[tuple[object, ...]]

# How long a request waits for a lock that another replica holds before it is answered 503.
_BUSY_TIMEOUT_S = 10.0
_FIRST_RETRY_S = 0.001
_LONGEST_RETRY_S = 0.02
_TRY_AGAIN = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})


class StoreUnavailableError(Exception):
    """The store does not answer; the write that was asked for may or may not have happened."""


class Store(Protocol):
    """Items by id. Every method raises ``StoreUnavailableError`` when the store does not answer."""

    def ping(self) -> None:
        """Return only when the store can be read."""
        ...

    def get(self, item_id: str) -> str | None:
        """The item's name, or ``None`` when there is no such item."""
        ...

    def put(self, item_id: str, name: str) -> None:
        """Create the item or replace its name; when this returns, no kill can lose it."""
        ...

    def delete(self, item_id: str) -> None:
        """Remove the item; no error when it is not there."""
        ...

    def page(self, after: str, limit: int) -> tuple[int, list[Item]]:
        """How many items there are in all, and up to ``limit`` of those whose id sorts behind ``after``."""
        ...


class SqliteFile:
    """One SQLite file that all processes of a machine share, in WAL mode; one connection a worker.

    The connection waits for no lock by itself: SQLite's own busy timeout sleeps in C and would hold up every request of a gevent
    worker. A request that finds the file locked sleeps here, where the others go on.
    """

    def __init__(self, path: Path, tables: Sequence[str]) -> None:
        self._path = path
        self._tables = tables
        self._connection: sqlite3.Connection | None = None

    def run(self, statement: str, *values: str | int) -> Rows:
        """The rows of a statement, which is a transaction of its own."""
        return self.patiently(lambda db: rows_of(db, statement, values))

    def patiently(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do what changes nothing when it fails, again and again while others hold the lock."""
        deadline_s = time.monotonic() + _BUSY_TIMEOUT_S
        retry_s = _FIRST_RETRY_S
        while True:
            try:
                return work(self._connected())
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF in _TRY_AGAIN  # the low byte is the error's family
                if not busy or time.monotonic() >= deadline_s:
                    raise StoreUnavailableError(f"{self._path}: {error}") from error
            time.sleep(retry_s)
            retry_s = min(2 * retry_s, _LONGEST_RETRY_S)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> sqlite3.Connection:
        """The connection, opened on first use: what fails here (another replica is just doing the same) is tried again."""
        if self._connection is None:
            connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            try:
                for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", *self._tables):
                    rows_of(connection, statement)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def rows_of(db: sqlite3.Connection, statement: str, values: Sequence[str | int] = ()) -> Rows:
    """Its rows, to the last: before that a statement is not committed."""
    with closing(db.execute(statement, values)) as cursor:
        return cursor.fetchall()


class SqliteStore:
    """A table of names by id."""

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path, ("CREATE TABLE IF NOT EXISTS items (id TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID",))

    def ping(self) -> None:
        """See ``Store``."""
        self._file.run("SELECT 1 FROM items LIMIT 1")

    def get(self, item_id: str) -> str | None:
        """See ``Store``."""
        rows = self._file.run("SELECT name FROM items WHERE id = ?", item_id)
        return cast("str", rows[0][0]) if rows else None

    def put(self, item_id: str, name: str) -> None:
        """See ``Store``."""
        self._file.run("INSERT INTO items (id, name) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name", item_id, name)

    def delete(self, item_id: str) -> None:
        """See ``Store``."""
        self._file.run("DELETE FROM items WHERE id = ?", item_id)

    def page(self, after: str, limit: int) -> tuple[int, list[Item]]:
        """See ``Store``."""
        count = cast("int", self._file.run("SELECT count(*) FROM items")[0][0])
        rows = self._file.run("SELECT id, name FROM items WHERE id > ? ORDER BY id LIMIT ?", after, limit)
        return count, cast("list[Item]", rows)


class RedisStore:
    """A hash for the names and a sorted set for the order of the ids, always written together."""

    def __init__(self, url: str) -> None:
        import redis  # noqa: PLC0415  only where it is used: it takes as long to import as Flask

        self._redis = redis.Redis.from_url(url, decode_responses=True, socket_timeout=5, socket_connect_timeout=5)
        self._error = redis.RedisError

    def ping(self) -> None:
        """See ``Store``."""
        with self._errors_translated():
            self._redis.ping()

    def get(self, item_id: str) -> str | None:
        """See ``Store``."""
        with self._errors_translated():
            return cast("str | None", self._redis.hget("items", item_id))

    def put(self, item_id: str, name: str) -> None:
        """See ``Store``."""
        with self._errors_translated(), self._redis.pipeline(transaction=True) as both:
            both.hset("items", item_id, name)
            both.zadd("items:ids", {item_id: 0})
            both.execute()

    def delete(self, item_id: str) -> None:
        """See ``Store``."""
        with self._errors_translated(), self._redis.pipeline(transaction=True) as both:
            both.hdel("items", item_id)
            both.zrem("items:ids", item_id)
            both.execute()

    def page(self, after: str, limit: int) -> tuple[int, list[Item]]:
        """See ``Store``."""
        with self._errors_translated():
            count = self._redis.hlen("items")
            ids = cast("list[str]", self._redis.zrange("items:ids", f"({after}", "+", bylex=True, offset=0, num=limit))
            names = cast("list[str | None]", self._redis.hmget("items", ids)) if ids else []
        return count, [(item_id, name) for item_id, name in zip(ids, names, strict=True) if name is not None]

    @contextmanager
    def _errors_translated(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            raise StoreUnavailableError(str(error)) from error


def open_store(settings: Settings) -> Store:
    """The store that the environment asks for; it connects on first use, so the app starts before its store does."""
    if settings.redis_url is not None:
        return RedisStore(settings.redis_url)
    return SqliteStore(settings.database_path)
