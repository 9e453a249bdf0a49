"""State in PostgreSQL, at its default isolation, READ COMMITTED.

A change that depends on what is there says so in its own ``WHERE`` or ``ON CONFLICT``: PostgreSQL looks again at a row that it had to wait
for (manual, 13.2.1). A log takes each entry's place from a row that stays locked until the commit, since a sequence would hand out numbers
in another order than that of the commits, and readers would see entries come in between.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Final, LiteralString, cast

import psycopg

from sample_apps.state.store import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

_Rows = list[tuple[object, ...]]

_CONNECTIONS: Final = 8
"""So many at most for each worker."""
_ONE_AT_A_TIME: Final = 20452
"""An advisory lock: two who make the same table at once fail."""

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS registers (key text PRIMARY KEY, value text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS counters (key text PRIMARY KEY, count bigint NOT NULL)",
    "CREATE TABLE IF NOT EXISTS counted (request text PRIMARY KEY, count bigint NOT NULL)",
    'CREATE TABLE IF NOT EXISTS elements (key text, element text COLLATE "C", PRIMARY KEY (key, element))',
    "CREATE TABLE IF NOT EXISTS lengths (key text PRIMARY KEY, length bigint NOT NULL)",
    "CREATE TABLE IF NOT EXISTS entries (key text, place bigint, value text NOT NULL, PRIMARY KEY (key, place))",
)
_WRITE: Final = "INSERT INTO registers (key, value) VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_REPLACE: Final = "UPDATE registers SET value = %s WHERE key = %s AND value = %s RETURNING key"
_ADD_ONE: Final = (
    "INSERT INTO counters (key, count) VALUES (%s, 1) ON CONFLICT (key) DO UPDATE SET count = counters.count + 1 RETURNING count"
)
_FIRST: Final = "INSERT INTO counted (request, count) VALUES (%s, 0) ON CONFLICT DO NOTHING RETURNING request"
_ADD: Final = "INSERT INTO elements (key, element) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_APPEND: Final = """
WITH last AS (
  INSERT INTO lengths (key, length) VALUES (%s, 1) ON CONFLICT (key) DO UPDATE SET length = lengths.length + 1 RETURNING key, length
)
INSERT INTO entries (key, place, value) SELECT key, length, %s FROM last
"""


class PostgresStore:
    """A few connections to one database, opened when they are needed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._free = BoundedSemaphore(_CONNECTIONS)
        self._idle: list[psycopg.Connection] = []
        self._made = False

    def ping(self) -> None:
        """See ``Store``."""
        self._run("SELECT 1")

    def read(self, key: str) -> str | None:
        """See ``Store``."""
        rows = self._run("SELECT value FROM registers WHERE key = %s", key)
        return str(rows[0][0]) if rows else None

    def write(self, key: str, value: str) -> None:
        """See ``Store``."""
        self._run(_WRITE, key, value)

    def replace(self, key: str, old: str, new: str) -> bool:
        """See ``Store``."""
        return bool(self._run(_REPLACE, new, key, old))

    def count(self, key: str) -> int:
        """See ``Store``."""
        return _number(self._run("SELECT count FROM counters WHERE key = %s", key))

    def add_one(self, key: str, request: str = "") -> int:
        """See ``Store``."""
        if not request:
            return _number(self._run(_ADD_ONE, key))
        name = f"{key}/{request}"
        with self._connection() as db, db.transaction():
            # Who comes second waits here until the first has committed.
            if not _all(db, _FIRST, name):
                return _number(_all(db, "SELECT count FROM counted WHERE request = %s", name))
            count = _number(_all(db, _ADD_ONE, key))
            _all(db, "UPDATE counted SET count = %s WHERE request = %s", count, name)
            return count

    def add(self, key: str, element: str) -> None:
        """See ``Store``."""
        self._run(_ADD, key, element)

    def remove(self, key: str, element: str) -> None:
        """See ``Store``."""
        self._run("DELETE FROM elements WHERE key = %s AND element = %s", key, element)

    def has(self, key: str, element: str) -> bool:
        """See ``Store``."""
        return bool(self._run("SELECT 1 FROM elements WHERE key = %s AND element = %s", key, element))

    def elements(self, key: str, after: str = "", limit: int | None = None) -> list[str]:
        """See ``Store``."""
        sql: Final = "SELECT element FROM elements WHERE key = %s AND element > %s ORDER BY element LIMIT %s"
        return [str(row[0]) for row in self._run(sql, key, after, limit)]

    def append(self, key: str, value: str) -> None:
        """See ``Store``."""
        self._run(_APPEND, key, value)

    def entries(self, key: str) -> list[str]:
        """See ``Store``."""
        return [str(row[0]) for row in self._run("SELECT value FROM entries WHERE key = %s ORDER BY place", key)]

    def close(self) -> None:
        """Close all connections that are not in use."""
        while self._idle:
            with suppress(psycopg.Error):
                self._idle.pop().close()

    def _run(self, statement: LiteralString, *values: str | int | None) -> _Rows:
        with self._connection() as db:
            return _all(db, statement, *values)

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection]:
        """A connection for one step; when one fails, none that was idle is trusted either."""
        with self._free:
            try:
                db = self._idle.pop() if self._idle else self._connect()
                try:
                    yield db
                except BaseException:
                    db.close()
                    raise
            except psycopg.Error as error:
                self.close()
                raise StoreUnavailableError(str(error).strip()) from error
            self._idle.append(db)

    def _connect(self) -> psycopg.Connection:
        db = psycopg.connect(self._url, autocommit=True, connect_timeout=5, tcp_user_timeout=5000)
        try:
            if not self._made:
                with db.transaction():
                    _all(db, "SELECT pg_advisory_xact_lock(%s)", _ONE_AT_A_TIME)
                    for statement in _TABLES:
                        _all(db, statement)
                self._made = True
        except BaseException:
            db.close()
            raise
        return db


def _all(db: psycopg.Connection, statement: LiteralString, *values: str | int | None) -> _Rows:
    cursor = db.execute(statement, values)
    return cursor.fetchall() if cursor.description else []


def _number(rows: _Rows) -> int:
    return cast("int", rows[0][0]) if rows else 0
