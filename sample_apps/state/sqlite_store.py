"""State in one SQLite file that all processes of a machine share, in WAL mode.

A statement is a transaction of its own, and what takes two of them is in one that begins with ``BEGIN IMMEDIATE``, so that nobody writes
between its look and its change (sqlite.org/lang_transaction.html). A write that reached the WAL outlives the process;
``synchronous=NORMAL`` gives it away to a power cut only.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

from sample_apps.web.store import SqliteFile, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from sample_apps.web.store import Rows

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
    """Tables of one file."""

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path, _TABLES)

    def ping(self) -> None:
        """See ``Store``."""
        self._file.run("SELECT 1 FROM registers LIMIT 1")

    def read(self, key: str) -> str | None:
        """See ``Store``."""
        rows = self._file.run("SELECT value FROM registers WHERE key = ?", key)
        return str(rows[0][0]) if rows else None

    def write(self, key: str, value: str) -> None:
        """See ``Store``."""
        self._file.run(_WRITE, key, value)

    def replace(self, key: str, old: str, new: str) -> bool:
        """See ``Store``."""
        return bool(self._file.run(_REPLACE, new, key, old))

    def count(self, key: str) -> int:
        """See ``Store``."""
        return _number(self._file.run("SELECT count FROM counters WHERE key = ?", key))

    def add_one(self, key: str, request: str = "") -> int:
        """See ``Store``."""
        if not request:
            return _number(self._file.run(_ADD_ONE, key))
        return self._file.patiently(lambda db: _count_once(db, key, f"{key}/{request}"))

    def add(self, key: str, element: str) -> None:
        """See ``Store``."""
        self._file.run(_ADD, key, element)

    def remove(self, key: str, element: str) -> None:
        """See ``Store``."""
        self._file.run("DELETE FROM elements WHERE key = ? AND element = ?", key, element)

    def has(self, key: str, element: str) -> bool:
        """See ``Store``."""
        return bool(self._file.run("SELECT 1 FROM elements WHERE key = ? AND element = ?", key, element))

    def elements(self, key: str, after: str = "", limit: int | None = None) -> list[str]:
        """See ``Store``."""
        sql = "SELECT element FROM elements WHERE key = ? AND element > ? ORDER BY element LIMIT ?"
        return [str(row[0]) for row in self._file.run(sql, key, after, -1 if limit is None else limit)]

    def append(self, key: str, value: str) -> None:
        """See ``Store``."""
        self._file.run("INSERT INTO entries (key, value) VALUES (?, ?)", key, value)

    def entries(self, key: str) -> list[str]:
        """See ``Store``."""
        return [str(row[0]) for row in self._file.run("SELECT value FROM entries WHERE key = ? ORDER BY id", key)]

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._file.close()


def _count_once(db: sqlite3.Connection, key: str, request: str) -> int:
    rows_of(db, "BEGIN IMMEDIATE")
    try:
        before = rows_of(db, "SELECT count FROM counted WHERE request = ?", (request,))
        count = _number(before or rows_of(db, _ADD_ONE, (key,)))
        if not before:
            rows_of(db, "INSERT INTO counted (request, count) VALUES (?, ?)", (request, count))
        rows_of(db, "COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite has taken it back itself
            rows_of(db, "ROLLBACK")
        raise
    return count


def _number(rows: Rows) -> int:
    return cast("int", rows[0][0]) if rows else 0
