"""``DATABASE_URL=sqlite:////path/jobs.db python -m sample_apps.workers.sqlite``: jobs from a table with locks, with nothing but Python.

A job is taken by one ``UPDATE … RETURNING``, which locks its row for ``LEASE_S``: nobody else gets it until then, and anybody after that.
The effect is written and the row deleted in one transaction, so a job that was begun twice has its effect once: the transaction of the
worker whose lock has run out finds that the row is not its own any more, and takes the effect back.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from sample_apps.workers.loop import Job, LostError, main, read_job, say
from sample_apps.workers.settings import DEFECTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sample_apps.workers.settings import Settings

_BUSY_S: Final = 10.0
_POLL_S: Final = 0.02

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS {table} (
  id INTEGER PRIMARY KEY,
  body TEXT NOT NULL,
  run_at REAL NOT NULL DEFAULT 0,
  locked_by TEXT,
  locked_until REAL,
  attempts INTEGER NOT NULL DEFAULT 0,
  failed_at REAL
);
CREATE TABLE IF NOT EXISTS effects (job TEXT NOT NULL, at REAL NOT NULL, worker TEXT NOT NULL);
"""

_TAKE: Final = """
UPDATE {table} SET locked_by = :name, locked_until = :now + :lease, attempts = attempts + 1
WHERE id = (
  SELECT id FROM {table}
  WHERE failed_at IS NULL AND run_at <= :now AND (locked_by IS NULL OR locked_until <= :now)
  ORDER BY id LIMIT 1
)
RETURNING id, body
"""

_POP: Final = """
DELETE FROM {table} WHERE id = (SELECT id FROM {table} WHERE failed_at IS NULL AND run_at <= :now ORDER BY id LIMIT 1) RETURNING id, body
"""


class SqliteSource:
    """A connection to the file."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._table = '"' + settings.queue.replace('"', '""') + '"'
        path = unquote(urlsplit(settings.url).path)[1:]
        with _told():
            self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.executescript(_TABLES.format(table=self._table))

    def take(self, wait_s: float) -> Job | None:
        """Lock the oldest row that is free."""
        sql = (_POP if self._settings.defect == "pop-and-forget" else _TAKE).format(table=self._table)
        end_s = time.monotonic() + wait_s
        while True:
            values = {"name": self._settings.name, "now": time.time(), "lease": self._settings.own_lease_s}
            with _told(), closing(self._db.execute(sql, values)) as cursor:
                rows = cursor.fetchall()  # to the end, or else the statement is not committed
            if rows:
                return read_job(str(rows[0][1]), rows[0][0])
            if time.monotonic() >= end_s:
                return None
            time.sleep(_POLL_S)

    def finish(self, job: Job) -> None:
        """Effect and deletion in one transaction."""
        with _told(), self._transaction():
            self._write(job)
            say(job, "finished")
            if not self._delete(job):
                raise _NotOursError
        say(job, "settled")

    def effect(self, job: Job) -> None:
        """A row of the table of effects."""
        with _told():
            self._write(job)

    def settle(self, job: Job) -> None:
        """Delete the row."""
        with _told():
            self._delete(job)

    def give_back(self, job: Job) -> None:
        """Unlock the row, if it is still ours."""
        with _told():
            self._db.execute(
                f"UPDATE {self._table} SET locked_by = NULL, locked_until = NULL WHERE id = ? AND locked_by = ?",  # noqa: S608  quoted
                (job.handle, self._settings.name),
            )

    def close(self) -> None:
        """Close the file."""
        with suppress(sqlite3.Error):
            self._db.close()

    def _write(self, job: Job) -> None:
        self._db.execute("INSERT INTO effects (job, at, worker) VALUES (?, ?, ?)", (job.id, time.time(), self._settings.name))

    def _delete(self, job: Job) -> bool:
        sql = f"DELETE FROM {self._table} WHERE id = ? AND locked_by = ?"  # noqa: S608  quoted
        return self._db.execute(sql, (job.handle, self._settings.name)).rowcount == 1

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


class _NotOursError(Exception):
    """The lock ran out, and somebody else has the job."""


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LostError(str(error)) from error
    except _NotOursError as error:
        raise LostError("the lock of the job ran out, and it is somebody else's now") from error


if __name__ == "__main__":
    raise SystemExit(main("sample_apps.workers.sqlite", "DATABASE_URL", SqliteSource, [name for name in DEFECTS if name != "no-reconnect"]))
