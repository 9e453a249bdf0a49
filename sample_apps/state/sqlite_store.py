"""State in one SQLite file that all processes of a machine share, in WAL mode.

A statement is a transaction of its own, and what takes two of them is in one that begins with ``BEGIN IMMEDIATE``, so that nobody writes
between its look and its change (sqlite.org/lang_transaction.html). A write that reached the WAL outlives the process;
``synchronous=NORMAL`` gives it away to a power cut only.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final, TypeVar, cast

from sample_apps.state.store import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_T = TypeVar("_T")
_Rows = list[tuple[object, ...]]

_BUSY_TIMEOUT_S: Final = 10.0
"""How long a request waits for a lock that another replica holds before it is answered 503."""
_FIRST_RETRY_S: Final = 0.001
_LONGEST_RETRY_S: Final = 0.02
_TRY_AGAIN: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS registers (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS counters (key TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS counted (request TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS elements (key TEXT, element TEXT, PRIMARY KEY (key, element)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, key TEXT NOT NULL, value TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS entries_of_key ON entries (key, id)",
)
_WRITE: Final = "INSERT INTO registers (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_REPLACE: Final = "UPDATE registers SET value = ? WHERE key = ? AND value = ? RETURNING key"
_ADD_ONE: Final = "INSERT INTO counters (key, count) VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET count = count + 1 RETURNING count"
_ADD: Final = "INSERT INTO elements (key, element) VALUES (?, ?) ON CONFLICT DO NOTHING"


class SqliteStore:
    """One file, one connection a worker.

    The connection waits for no lock by itself: SQLite's own busy timeout sleeps in C and would hold up every request of a gevent worker.
    A request that finds the file locked sleeps here, where the others go on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def ping(self) -> None:
        """See ``Store``."""
        self._run("SELECT 1 FROM registers LIMIT 1")

    def read(self, key: str) -> str | None:
        """See ``Store``."""
        rows = self._run("SELECT value FROM registers WHERE key = ?", key)
        return str(rows[0][0]) if rows else None

    def write(self, key: str, value: str) -> None:
        """See ``Store``."""
        self._run(_WRITE, key, value)

    def replace(self, key: str, old: str, new: str) -> bool:
        """See ``Store``."""
        return bool(self._run(_REPLACE, new, key, old))

    def count(self, key: str) -> int:
        """See ``Store``."""
        return _number(self._run("SELECT count FROM counters WHERE key = ?", key))

    def add_one(self, key: str, request: str = "") -> int:
        """See ``Store``."""
        if not request:
            return _number(self._run(_ADD_ONE, key))
        return self._patiently(lambda db: _count_once(db, key, f"{key}/{request}"))

    def add(self, key: str, element: str) -> None:
        """See ``Store``."""
        self._run(_ADD, key, element)

    def remove(self, key: str, element: str) -> None:
        """See ``Store``."""
        self._run("DELETE FROM elements WHERE key = ? AND element = ?", key, element)

    def has(self, key: str, element: str) -> bool:
        """See ``Store``."""
        return bool(self._run("SELECT 1 FROM elements WHERE key = ? AND element = ?", key, element))

    def elements(self, key: str, after: str = "", limit: int | None = None) -> list[str]:
        """See ``Store``."""
        sql = "SELECT element FROM elements WHERE key = ? AND element > ? ORDER BY element LIMIT ?"
        return [str(row[0]) for row in self._run(sql, key, after, -1 if limit is None else limit)]

    def append(self, key: str, value: str) -> None:
        """See ``Store``."""
        self._run("INSERT INTO entries (key, value) VALUES (?, ?)", key, value)

    def entries(self, key: str) -> list[str]:
        """See ``Store``."""
        return [str(row[0]) for row in self._run("SELECT value FROM entries WHERE key = ? ORDER BY id", key)]

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, statement: str, *values: str | int) -> _Rows:
        return self._patiently(lambda db: _all(db, statement, values))

    def _patiently(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
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

    def _connected(self) -> sqlite3.Connection:
        """The connection, opened on first use: what fails here (another replica is just doing the same) is tried again."""
        if self._connection is None:
            connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            try:
                for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", *_TABLES):
                    _all(connection, statement)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def _count_once(db: sqlite3.Connection, key: str, request: str) -> int:
    _all(db, "BEGIN IMMEDIATE")
    try:
        before = _all(db, "SELECT count FROM counted WHERE request = ?", (request,))
        count = _number(before or _all(db, _ADD_ONE, (key,)))
        if not before:
            _all(db, "INSERT INTO counted (request, count) VALUES (?, ?)", (request, count))
        _all(db, "COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite has taken it back itself
            _all(db, "ROLLBACK")
        raise
    return count


def _all(db: sqlite3.Connection, statement: str, values: Sequence[str | int] = ()) -> _Rows:
    """Its rows, to the last: before that a statement is not committed."""
    with closing(db.execute(statement, values)) as cursor:
        return cursor.fetchall()


def _number(rows: _Rows) -> int:
    return cast("int", rows[0][0]) if rows else 0
