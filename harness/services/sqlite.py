"""SQLite: the embedded service, a database file in the run's shared folder that needs nothing to be installed.

Jobs are rows of a table with a lock: ``id INTEGER PRIMARY KEY, body TEXT, locked_by TEXT, locked_until REAL, attempts INTEGER,
failed_at REAL``; instants are seconds of the wall clock since 1970, as workers of any language have them. The table is made
before the first worker starts. A finished job's row is deleted.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from harness.job_history import DELAYED, HELD, READY, SET_ASIDE
from harness.services.base import (
    TIMEOUT_S,
    Client,
    DoneSpec,
    Launch,
    Look,
    PutRefusedError,
    Queue,
    QueueSpec,
    ServiceEffects,
    ServiceError,
    Told,
)

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS {name} (
  id INTEGER PRIMARY KEY,
  body TEXT NOT NULL,
  run_at REAL NOT NULL DEFAULT 0,
  locked_by TEXT,
  locked_until REAL,
  attempts INTEGER NOT NULL DEFAULT 0,
  failed_at REAL
)
"""


class _Sqlite:
    """The kind; see `harness.services.base.Kind`."""

    name = "sqlite"
    extra = ""

    def launch(self, *, durable: bool) -> Launch | None:  # noqa: ARG002  a file is as durable as its writers make it
        """Nothing is started."""
        return None

    def url(self, host: str, port: int, folder: Path) -> str:  # noqa: ARG002  it is a file
        """``sqlite:////path/to/jobs.db``."""
        return f"sqlite:///{folder / 'jobs.db'}"

    def own(self, url: str, mark: str) -> str:  # noqa: ARG002  its tables have the mark in their names
        """The same file, which others have made: a mistyped path must not make one. A relative path is of this folder, for all replicas."""
        if not Path(path := _path(url)).is_file():
            raise ServiceError(f"SQLite: there is no file {path}")
        scheme, relative, rest = url.partition("sqlite:///")
        return url if scheme or not relative or rest.startswith("/") else f"{relative}{quote(str(Path.cwd()))}/{rest}"

    def open(self, url: str) -> Client:
        """A client of the file at ``url``."""
        return _Client(url)


SQLITE: Final = _Sqlite()


class _Client:
    def __init__(self, url: str) -> None:
        self._path = _path(url)
        self._made = False
        self._db: sqlite3.Connection | None = None

    def run(self, sql: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Execute and commit one statement; all its rows."""
        try:
            if self._db is None:
                self._db = self._opened()
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise ServiceError(f"SQLite, {self._path}: {error}") from error

    def _opened(self) -> sqlite3.Connection:
        """A connection; the journal stays as it is in a file of others, as that is written into the file for good."""
        self._make()
        db = sqlite3.connect(self._path, timeout=TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            if self._made:
                db.execute("PRAGMA journal_mode=WAL")
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _make(self) -> None:
        """Make the file, if it is not there, so that who may write to its folder may write to it: workers may be somebody else."""
        path = Path(self._path)
        with suppress(OSError):  # it is there, or SQLite will say why it can't be made
            path.touch(exist_ok=False)
            self._made = True
            path.chmod(path.parent.stat().st_mode & 0o666)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read within it is of one instant."""
        self.run("BEGIN")
        try:
            yield
        finally:
            self.run("ROLLBACK")

    def ready(self) -> str:
        """The version of SQLite."""
        self.run("SELECT count(*) FROM sqlite_master")
        return sqlite3.sqlite_version

    def cut_connections(self) -> int:
        """There are none that could be cut."""
        raise ServiceError("SQLite is a file: nobody is connected to it")

    def queue(self, spec: QueueSpec) -> Queue:
        """A table of jobs."""
        return _Table(self, spec)

    def effects(self, spec: DoneSpec) -> ServiceEffects:
        """The rows of a query."""
        return _Rows(self, spec.name)

    def rows(self, query: str) -> Sequence[tuple[str | None, ...]]:
        """All rows of a query."""
        return [tuple(_text(value) for value in row) for row in self.run(query)]

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None


class _Table:
    def __init__(self, client: _Client, spec: QueueSpec) -> None:
        self._client = client
        self._name = '"' + spec.name.replace('"', '""') + '"'

    def declare(self) -> None:
        """Make the table."""
        self._client.run(_TABLE.format(name=self._name))

    def put(self, job: str, body: str) -> None:  # noqa: ARG002  the id is in the body
        """Insert a row; a transaction that failed left nothing behind."""
        try:
            self._client.run(f"INSERT INTO {self._name} (body) VALUES (?)", (body,))  # noqa: S608  a name that was quoted
        except ServiceError as error:
            raise PutRefusedError(str(error)) from error

    def look(self) -> Look:
        """Count the rows by state."""
        counts = Counter({state: _int(count) for state, count in self._client.run(f"{_STATES} FROM {self._name} GROUP BY 1")})
        return Look(ready=counts[READY], held=counts[HELD], delayed=counts[DELAYED], set_aside=counts[SET_ASIDE])

    def told(self, limit: int) -> Sequence[Told]:
        """Each row with its lock."""
        sql = f"{_STATE}, body, locked_by, locked_until - {_NOW}, attempts FROM {self._name} ORDER BY id LIMIT ?"
        return [
            Told(
                text=str(body),
                state=str(state),
                by=str(by) if state == HELD and by else "",
                until_s=float(str(until)) if state == HELD and until is not None else None,
                deliveries=_int(attempts),
                redelivered=_int(attempts) > 1,
            )
            for state, body, by, until, attempts in self._client.run(sql, (limit,))
        ]

    def take_rest(self, limit: int) -> Sequence[Told]:
        """What is left can be seen where it is."""
        return self.told(limit)

    def remove(self) -> None:
        """Drop the table."""
        self._client.run(f"DROP TABLE IF EXISTS {self._name}")


_NOW: Final = "(julianday('now') - 2440587.5) * 86400.0"
"""Seconds of the wall clock since 1970; unixepoch('subsec') would need SQLite 3.42."""

_STATE: Final = f"""
SELECT CASE
  WHEN failed_at IS NOT NULL THEN '{SET_ASIDE}'
  WHEN locked_by IS NOT NULL AND (locked_until IS NULL OR locked_until > {_NOW}) THEN '{HELD}'
  WHEN run_at > {_NOW} THEN '{DELAYED}'
  ELSE '{READY}' END AS state"""
_STATES: Final = f"{_STATE}, count(*)"


_PLAIN: Final = re.compile(r"\s*SELECT\s+(?P<value>[A-Za-z_]\w*)\s+FROM\s+(?P<table>[A-Za-z_]\w*)\s*;?\s*", re.IGNORECASE)
"""A query of which a part can be asked."""

_SELDOM: Final = 20
"""All rows are read again when so many times as long has gone by as it took the last time."""


class _Rows:
    """The rows of a query: as many texts as a row's first value has come up more often than before.

    All of them are read each time while that is quick. Where it is not, a plain query is asked for the rows that were appended since, and
    all rows are read again from time to time, and whenever an old row is gone.
    """

    counts = True

    def __init__(self, client: _Client, sql: str) -> None:
        self._client = client
        self._sql = sql
        self.absent = ""  # which table is not there yet, in SQLite's words
        self._plain = _PLAIN.fullmatch(sql)
        self._version: object = None
        self._before: Counter[str] = Counter()
        self._last = 0  # the highest rowid when the rows were last read
        self._read_ns = 0
        self._took_ns = 0

    def new(self) -> Sequence[str]:
        """The values that are new, or there once more; none while the app has not made its tables yet."""
        try:
            with self._client.snapshot():
                fresh = self._new()
        except ServiceError as error:
            if "no such table" not in str(error):
                raise
            self.absent = str(error)
            return []
        self.absent = ""
        return fresh

    def _new(self) -> list[str]:
        version = self._client.run("PRAGMA data_version")
        if version == self._version:
            return []
        fresh = self._appended()
        if fresh is None:
            fresh = self._all()
        self._version = version
        return fresh

    def _all(self) -> list[str]:
        began_ns = time.monotonic_ns()
        found = Counter(str(row[0]) for row in self._client.run(self._sql))
        fresh = list((found - self._before).elements())
        self._before = found
        if self._plain:
            self._last = self._highest(self._plain["table"])
        self._read_ns = time.monotonic_ns()
        self._took_ns = self._read_ns - began_ns
        return fresh

    def _appended(self) -> list[str] | None:
        """The rows with a higher rowid than all before, if no old one is gone; None when all must be read."""
        if not self._plain or time.monotonic_ns() - self._read_ns >= self._took_ns * _SELDOM:
            return None
        table, value = self._plain["table"], self._plain["value"]
        old = self._client.run(f"SELECT count(*) FROM {table} WHERE rowid <= ?", (self._last,))  # noqa: S608  a plain name
        if _int(old[0][0]) != self._before.total():
            return None
        rows = self._client.run(f"SELECT rowid, {value} FROM {table} WHERE rowid > ? ORDER BY rowid", (self._last,))  # noqa: S608  plain names
        fresh = [str(row[1]) for row in rows]
        self._before.update(fresh)
        if rows:
            self._last = _int(rows[-1][0])
        return fresh

    def _highest(self, table: str) -> int:
        try:
            return _int(self._client.run(f"SELECT coalesce(max(rowid), 0) FROM {table}")[0][0])  # noqa: S608  a plain name
        except ServiceError:  # a view, or a table WITHOUT ROWID
            self._plain = None
            return 0

    def remove(self) -> None:
        """The query's tables are the app's own."""


def _path(url: str) -> str:
    path = unquote(urlsplit(url).path)
    return path[1:] if url.startswith("sqlite:////") else path.lstrip("/")


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return None if value is None else str(value)


def _int(value: object) -> int:
    return int(str(value))
