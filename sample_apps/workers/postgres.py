"""``DATABASE_URL=postgresql://… python -m sample_apps.workers.postgres``: jobs from a table of PostgreSQL, in one of two ways.

``STYLE=lock``, the default, is that of Delayed Job: a short transaction writes ``locked_at``, ``locked_by`` and here also ``locked_until``
into the row, and nobody else takes it until then, except a worker of the same name. A worker that is asked to stop finishes its job, or
unlocks it; a job of one that died comes back when the lock is over.

``STYLE=skip-locked`` has one transaction for all: ``SELECT … FOR UPDATE SKIP LOCKED``, the work, the effect and the deletion. When the
connection ends, however it does, the server takes the transaction back, and others get the job at once. Long work means a long
transaction, which keeps VACUUM from cleaning up behind it (PostgreSQL's manual, 25.1.2).

Both write the effect and delete the row in one transaction, so a job that was begun twice has its effect once.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from sample_apps.workers.loop import Job, LostError, main, read_job, say
from sample_apps.workers.settings import DEFECTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sample_apps.workers.settings import Settings

_POLL_S: Final = 0.02
_ONE_AT_A_TIME: Final = 20451
"""An advisory lock: two who make the same table at once fail."""

_TABLES: Final = SQL("""
CREATE TABLE IF NOT EXISTS {table} (
  id bigserial PRIMARY KEY,
  body text NOT NULL,
  run_at timestamptz NOT NULL DEFAULT now(),
  locked_by text,
  locked_at timestamptz,
  locked_until timestamptz,
  attempts integer NOT NULL DEFAULT 0,
  failed_at timestamptz
);
CREATE TABLE IF NOT EXISTS effects (job text NOT NULL, at timestamptz NOT NULL DEFAULT now(), worker text NOT NULL);
""")

_FREE: Final = SQL("""
SELECT id, body FROM {table}
WHERE failed_at IS NULL AND run_at <= now() AND (locked_until IS NULL OR locked_until <= now() OR locked_by = {name})
ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
""")

_LOCK: Final = SQL("""
WITH free AS ({free})
UPDATE {table} AS jobs
SET locked_by = {name}, locked_at = now(), locked_until = now() + {lease} * interval '1s', attempts = attempts + 1
FROM free WHERE jobs.id = free.id RETURNING jobs.id, jobs.body
""")

_POP: Final = SQL("WITH free AS ({free}) DELETE FROM {table} AS jobs USING free WHERE jobs.id = free.id RETURNING jobs.id, jobs.body")
_UNLOCK: Final = SQL("UPDATE {table} SET locked_by = NULL, locked_at = NULL, locked_until = NULL WHERE id = %s AND locked_by = {name}")
_DELETE: Final = SQL("DELETE FROM {table} WHERE id = %s")
_DELETE_OWN: Final = SQL("DELETE FROM {table} WHERE id = %s AND locked_by = {name}")
_EFFECT: Final = SQL("INSERT INTO effects (job, worker) VALUES (%s, {name})")


class _Source:
    """What both ways share: a connection, and the statements with the table's name in them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._names: dict[str, Composed | Identifier | Literal] = {
            "table": Identifier(settings.queue),
            "name": Literal(settings.name),
            "lease": Literal(settings.own_lease_s),
        }
        self._names["free"] = _FREE.format(**self._names)
        self._connection = self._connect()
        with _told(), self._connection.transaction():
            self._connection.execute("SELECT pg_advisory_xact_lock(%s)", [_ONE_AT_A_TIME])
            self._connection.execute(_TABLES.format(**self._names))

    def _connect(self) -> psycopg.Connection:
        with _told():
            return psycopg.connect(
                self._settings.url, autocommit=True, connect_timeout=5, application_name=self._settings.name, keepalives_idle=5
            )

    def _run(self, statement: SQL, values: Sequence[object] = ()) -> psycopg.Cursor:
        return self._connection.execute(statement.format(**self._names), values)

    def take(self, wait_s: float) -> Job | None:
        """Ask for a row that is free until there is one."""
        end_s = time.monotonic() + wait_s
        while True:
            with _told():
                row = self._next()
            if row is not None:
                return read_job(str(row[1]), row[0])
            if time.monotonic() >= end_s:
                return None
            time.sleep(_POLL_S)

    def _next(self) -> tuple[object, ...] | None:
        raise NotImplementedError

    def close(self) -> None:
        """End the connection, and with it what was not committed."""
        with suppress(psycopg.Error):
            self._connection.close()


class LockSource(_Source):
    """A row is locked by what is written into it."""

    def _next(self) -> tuple[object, ...] | None:
        return self._run(_POP if self._settings.defect == "pop-and-forget" else _LOCK).fetchone()

    def finish(self, job: Job) -> None:
        """Effect and deletion in one transaction, which ends without either when the row is somebody else's by now."""
        with _told(), self._connection.transaction():
            self._run(_EFFECT, [job.id])
            say(job, "finished")
            if self._run(_DELETE_OWN, [job.handle]).rowcount != 1:
                raise LostError("the lock of the job ran out, and it is somebody else's now")
        say(job, "settled")

    def effect(self, job: Job) -> None:
        """A row of the table of effects."""
        with _told():
            self._run(_EFFECT, [job.id])

    def settle(self, job: Job) -> None:
        """Delete the row."""
        with _told():
            self._run(_DELETE, [job.handle])

    def give_back(self, job: Job) -> None:
        """Unlock the row."""
        with _told():
            self._run(_UNLOCK, [job.handle])


class SkipLockedSource(_Source):
    """A row is locked by a transaction that lasts as long as the work."""

    def _next(self) -> tuple[object, ...] | None:
        self._connection.execute("BEGIN")
        row = self._run(_FREE).fetchone()
        if row is None:
            self._connection.execute("COMMIT")
        return row

    def finish(self, job: Job) -> None:
        """Effect and deletion, and the end of the transaction."""
        with _told():
            self._run(_EFFECT, [job.id])
            say(job, "finished")
            self._run(_DELETE, [job.handle])
            self._connection.execute("COMMIT")
        say(job, "settled")

    def effect(self, job: Job) -> None:
        """A row of the table of effects, outside of the job's transaction, as what is sent by mail would be."""
        with _told(), self._connect() as outside:
            outside.execute(_EFFECT.format(**self._names), [job.id])

    def settle(self, job: Job) -> None:
        """Delete the row, and end the transaction."""
        with _told():
            self._run(_DELETE, [job.handle])
            self._connection.execute("COMMIT")

    def give_back(self, job: Job) -> None:  # noqa: ARG002  a transaction has one job
        """Take the transaction back."""
        with _told():
            self._connection.execute("ROLLBACK")


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise LostError(str(error).partition("\n")[0]) from error


STYLES: Final[dict[str, type[LockSource] | type[SkipLockedSource]]] = {"lock": LockSource, "skip-locked": SkipLockedSource}
NOT_SO: Final = {"lock": set[str](), "skip-locked": {"pop-and-forget", "keeps-lock"}}
"""Defects that a way can't have."""


def start() -> int:
    """Run the worker that ``STYLE`` asks for."""
    style = os.environ.get("STYLE") or "lock"
    if style not in STYLES:
        print(f"sample_apps.workers.postgres: STYLE must be one of {', '.join(STYLES)}, not {style!r}.", file=sys.stderr)
        return 2
    return main("sample_apps.workers.postgres", "DATABASE_URL", STYLES[style], [name for name in DEFECTS if name not in NOT_SO[style]])


if __name__ == "__main__":
    raise SystemExit(start())
