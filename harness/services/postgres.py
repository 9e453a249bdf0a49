"""PostgreSQL, where a queue is a table with locks: one of its own, the one of Delayed Job, or one of the app's.

The form ``table`` makes a table ``id bigserial, body text, run_at timestamptz, locked_by text, locked_at timestamptz, locked_until
timestamptz, attempts integer, failed_at timestamptz`` before the first worker starts. A row is held while ``locked_until`` lies in the
future, or while a transaction has it locked (``SELECT … FOR UPDATE``): the holder is then called as its connection calls itself
(``application_name``). A finished job's row is deleted.

An app with a table of its own says in ``options`` how it is spoken to: ``insert``, a statement in which ``{body}`` and ``{job}`` stand for
what is put; ``states``, a query with a row for each job that is left: its state (ready, held, delayed or set-aside), a text with its id,
and, if it likes, who holds it, for how many seconds more, and how often it was handed out; ``declare``, statements that make the table when
the app does not.

The form ``delayed_job`` is the table of the gem delayed_job_active_record, version 4: ``delayed_jobs``, made if the app has not, in which
``queue`` is the queue's name. A lock is good until ``locked_at`` plus ``max_run_time``, which the table does not tell, so options do; the
gem's own default is 4 h. ``handler`` in options is the YAML that is put, with ``{body}`` in single quotes of YAML, or ``{job}``; without
it the body is the handler.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from harness.errors import KeyOfScenarioError
from harness.job_history import DELAYED, HELD, READY, SET_ASIDE, STATES
from harness.services.base import Client, DoneSpec, Launch, Look, PutRefusedError, Queue, QueueSpec, ServiceEffects, ServiceError, Told
from harness.services.postgres_client import OWN_NAME, UNDEFINED_TABLE, AnsweredError, Link, Row
from harness.units import Duration
from harness.words import MistakeError, all_of, did_you_mean, quoted

_PROGRAMS: Final = Path("/usr/lib/postgresql")
"""Where Debian has the programs of each version, which are not on the path."""

_IN_MEMORY: Final = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


class _Postgres:
    """The kind; see `harness.services.base.Kind`."""

    name = "postgres"
    extra = "postgres"

    def launch(self, *, durable: bool) -> Launch | None:
        """On the loopback address alone, where everybody of this machine is trusted; asked to end, it does not wait for its clients."""
        keeps = () if durable else _IN_MEMORY
        small = ("-c", "shared_buffers=16MB", "-c", "max_connections=200", "-c", "dynamic_shared_memory_type=mmap")
        alone = ("-h", "127.0.0.1", "-p", "{port}", "-c", "unix_socket_directories=")
        made = ("-D", "{folder}/data", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale")
        return Launch(
            argv=(_program("postgres"), "-D", "{folder}/data", *alone, *small, *keeps),
            prepare=((_program("initdb"), *made, *(() if durable else ("--no-sync",))),),
            package="postgresql",
            image="postgres:15",
            command=("postgres", *keeps) if keeps else (),
            image_environment={"POSTGRES_HOST_AUTH_METHOD": "trust"},
            volume="/var/lib/postgresql/data",
            port=5432,
            stop_signal="SIGINT",
            user="postgres",
        )

    def url(self, host: str, port: int, folder: Path) -> str:  # noqa: ARG002  it has an address
        """``postgresql://postgres@host:port/postgres``."""
        return f"postgresql://postgres@{host}:{port}/postgres"

    def own(self, url: str, mark: str) -> str:
        """A schema of the run's own, made here, in which everything is looked for and made."""
        _once(url, f"CREATE SCHEMA IF NOT EXISTS {_schema(mark)}")
        parts = urlsplit(url)
        wanted = f"options={quote(f'-csearch_path={_schema(mark)}')}"
        query, found = re.subn(r"(?<![^&])options=[^&]*", lambda old: f"{old[0]}%20{wanted.partition('=')[2]}", parts.query, count=1)
        return urlunsplit(parts._replace(query=query if found else "&".join(filter(None, (parts.query, wanted)))))

    def place(self, mark: str) -> str:
        """The schema."""
        return f"schema {_schema(mark)}"

    def disown(self, url: str, mark: str) -> None:
        """Drop the schema and all that is in it."""
        _once(url, f"DROP SCHEMA IF EXISTS {_schema(mark)} CASCADE")

    def open(self, url: str) -> Client:
        """A client of the database at ``url``."""
        return _Client(url)


POSTGRES: Final = _Postgres()


def _program(name: str) -> str:
    found = sorted(_PROGRAMS.glob(f"*/bin/{name}"), key=lambda path: float(re.sub(r"[^\d.]", "", path.parts[-3]) or 0))
    return str(found[-1]) if found else name


def _schema(mark: str) -> str:
    return f"jetable_{mark}"


def _once(url: str, sql: str) -> None:
    link = Link(url)
    try:
        link.ask(sql)
    finally:
        link.close()


class _Client:
    def __init__(self, url: str) -> None:
        self._link = Link(url)

    def ready(self) -> str:
        """The version of the server."""
        return str(self._link.ask("SHOW server_version")[0][0])

    def cut_connections(self) -> int:
        """Those of all clients of this database but our own."""
        told = self._link.ask(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> $1",
            [OWN_NAME],
        )
        return int(told[0][0] or 0)

    def queue(self, spec: QueueSpec) -> Queue:
        """A queue of one of the forms."""
        return _FORMS[spec.form](self._link, spec)

    def effects(self, spec: DoneSpec) -> ServiceEffects:
        """The rows of a query."""
        return _Rows(self._link, spec.name)

    def rows(self, query: str) -> Sequence[Row]:
        """All rows of a query."""
        return self._link.ask(query.strip().rstrip(";"))

    def close(self) -> None:
        """End the connection."""
        self._link.close()


class _Table:
    """A queue that is spoken to in statements."""

    def __init__(self, link: Link, statements: _Statements) -> None:
        self._link = link
        self._statements = statements

    def declare(self) -> None:
        """Make what workers don't."""
        if self._statements.declare:
            self._link.do(self._statements.declare)

    def put(self, job: str, body: str) -> None:
        """Insert a row: what fails before the commit was sent left nothing behind, and of a commit without an answer nobody knows."""
        sql, values = self._statements.filled(job, body)
        try:
            self._link.ask("BEGIN")
            self._link.ask(sql, values)
        except AnsweredError as error:
            self._link.ask("ROLLBACK")
            raise PutRefusedError(str(error)) from error
        except ServiceError as error:
            raise PutRefusedError(str(error)) from error
        try:
            self._link.ask("COMMIT")
        except AnsweredError as error:
            raise PutRefusedError(str(error)) from error

    def look(self) -> Look:
        """Count the rows by state."""
        rows = self._link.ask(f"SELECT s.state, count(*) FROM ({self._statements.states}) AS s(state) GROUP BY 1")  # noqa: S608  the user's
        counts = Counter({_state(state): int(count or 0) for state, count in rows})
        return Look(ready=counts[READY], held=counts[HELD], delayed=counts[DELAYED], set_aside=counts[SET_ASIDE])

    def told(self, limit: int) -> Sequence[Told]:
        """Each row with its lock."""
        rows = self._link.ask(f"SELECT * FROM ({self._statements.states}) AS s LIMIT {limit:d}")  # noqa: S608  the user's
        return [_told(row) for row in rows]

    def take_rest(self, limit: int) -> Sequence[Told]:
        """What is left can be seen where it is."""
        return self.told(limit)

    def remove(self) -> None:
        """Remove what `declare` has made."""
        if self._statements.remove:
            self._link.do(self._statements.remove)


def _told(row: Row) -> Told:
    state, text, by, until_s, deliveries = (*row, None, None, None, None)[:5]
    held = _state(state) == HELD
    try:
        return Told(
            text=text or "",
            state=_state(state),
            by=(by or "") if held else "",
            until_s=float(until_s) if held and until_s else None,
            deliveries=int(deliveries) if deliveries else -1,
            redelivered=int(deliveries or 0) > 1,
        )
    except ValueError as error:
        raise ServiceError(f"the query states of the options tells what is no number: {error}") from error


def _state(told: str | None) -> str:
    if told not in STATES:
        raise ServiceError(f"the query states of the options tells the state {told}; there is {all_of(STATES)}")
    return told


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statements:
    """How a table is spoken to.

    Attributes:
        insert: Puts a job; ``{job}`` and ``{body}`` stand for values, or for what ``handler`` makes of them.
        states: A row for each job: state, text, who holds it, seconds until others may have it, how often it was handed out.
        declare: Makes the table; empty when the app does.
        remove: Removes what ``declare`` has made.
        handler: What is put as ``{body}``, with ``{job}`` and ``{body}`` in it.
    """

    insert: str
    states: str
    declare: str = ""
    remove: str = ""
    handler: str = "{body}"

    def filled(self, job: str, body: str) -> tuple[str, list[str]]:
        """The statement that puts a job, and its values in their order."""
        in_yaml = body if self.handler == "{body}" else body.replace("'", "''")
        given = {"job": job, "body": self.handler.replace("{job}", job).replace("{body}", in_yaml)}
        names = list(dict.fromkeys(_PLACEHOLDER.findall(self.insert)))
        return _PLACEHOLDER.sub(lambda found: f"${names.index(found[1]) + 1}", self.insert), [given[name] for name in names]


_PLACEHOLDER: Final = re.compile(r"\{(job|body)\}")


def _table(link: Link, spec: QueueSpec) -> Queue:
    options = _options(spec.options, ("insert", "states", "declare"))
    if not options:
        return _Table(link, _own_table(_quoted(spec.name)))
    for name in ("insert", "states"):
        if name not in options:
            raise KeyOfScenarioError(("jobs", "options"), f"a table of the app's own needs {name}, too: see docs/jobs.md")
    return _Table(link, _Statements(insert=options["insert"], states=options["states"].rstrip("; \n"), declare=options.get("declare", "")))


def _own_table(name: str) -> _Statements:
    return _Statements(
        declare=f"""
            CREATE TABLE IF NOT EXISTS {name} (
              id bigserial PRIMARY KEY,
              body text NOT NULL,
              run_at timestamptz NOT NULL DEFAULT now(),
              locked_by text,
              locked_at timestamptz,
              locked_until timestamptz,
              attempts integer NOT NULL DEFAULT 0,
              failed_at timestamptz
            )""",
        insert=f"INSERT INTO {name} (body) VALUES ({{body}})",  # noqa: S608  a name that was quoted
        states=f"""
            SELECT
              CASE
                WHEN j.failed_at IS NOT NULL THEN '{SET_ASIDE}'
                WHEN j.locked_until > now() OR a.pid IS NOT NULL THEN '{HELD}'
                WHEN j.run_at > now() THEN '{DELAYED}'
                ELSE '{READY}'
              END,
              j.body,
              CASE WHEN j.locked_until > now() THEN j.locked_by ELSE coalesce(nullif(a.application_name, ''), 'pid ' || a.pid) END,
              CASE WHEN j.locked_until > now() THEN extract(epoch FROM j.locked_until - now()) END,
              j.attempts
            FROM {name} AS j LEFT JOIN pg_stat_activity AS a ON a.backend_xid = j.xmax
            ORDER BY j.id""",  # noqa: S608  the same
        remove=f"DROP TABLE IF EXISTS {name}",
    )


def _delayed_job(link: Link, spec: QueueSpec) -> Queue:
    options = _options(spec.options, ("max_run_time", "handler"))
    try:
        longest = Duration.parse(options.get("max_run_time", "4h"))
    except MistakeError as error:
        raise KeyOfScenarioError(("jobs", "options", "max_run_time"), str(error)) from error
    queue = "'" + spec.name.replace("'", "''") + "'"
    ends = f"locked_at + interval '{longest.ns // 1000} microseconds' - {_UTC}"
    return _Table(
        link,
        _Statements(
            declare=_DELAYED_JOBS,
            insert=f"""
                INSERT INTO delayed_jobs (queue, handler, run_at, created_at, updated_at)
                VALUES ({queue}, {{body}}, {_UTC}, {_UTC}, {_UTC})""",  # noqa: S608  text that was quoted
            states=f"""
                SELECT
                  CASE
                    WHEN failed_at IS NOT NULL THEN '{SET_ASIDE}'
                    WHEN {ends} > interval '0' THEN '{HELD}'
                    WHEN run_at > {_UTC} THEN '{DELAYED}'
                    ELSE '{READY}'
                  END,
                  handler,
                  locked_by,
                  extract(epoch FROM {ends})
                FROM delayed_jobs WHERE queue = {queue} ORDER BY id""",  # noqa: S608  the same
            handler=options.get("handler", "{body}"),
        ),
    )


_UTC: Final = "(now() AT TIME ZONE 'UTC')"

_DELAYED_JOBS: Final = """
CREATE TABLE IF NOT EXISTS delayed_jobs (
  id bigserial PRIMARY KEY,
  priority integer NOT NULL DEFAULT 0,
  attempts integer NOT NULL DEFAULT 0,
  handler text NOT NULL,
  last_error text,
  run_at timestamp(6),
  locked_at timestamp(6),
  failed_at timestamp(6),
  locked_by varchar,
  queue varchar,
  created_at timestamp(6),
  updated_at timestamp(6)
);
CREATE INDEX IF NOT EXISTS delayed_jobs_priority ON delayed_jobs (priority, run_at)
"""

_FORMS: Final[Mapping[str, Callable[[Link, QueueSpec], Queue]]] = {"table": _table, "delayed_job": _delayed_job}


def _options(written: Mapping[str, str | int | bool], known: tuple[str, ...]) -> Mapping[str, str]:
    for name in written:
        if name not in known:
            near = did_you_mean(name, known)
            raise KeyOfScenarioError(("jobs", "options", name), f"there is no option {quoted(name)} here, but {all_of(known)}{near}")
    return {name: str(value) for name, value in written.items()}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class _Rows:
    """The rows of a query: as many texts as a row's first value has come up more often than before.

    All rows are read each time, unless nobody has committed anything since.
    """

    counts = True

    def __init__(self, link: Link, sql: str) -> None:
        self._link = link
        self._sql = sql.strip().rstrip(";")
        self.absent = ""
        """Which table is not there yet, in PostgreSQL's words."""
        self._snapshot: list[Row] = []
        self._before: Counter[str] = Counter()

    def new(self) -> Sequence[str]:
        """The values that are new, or there once more; none while the app has not made its tables yet."""
        try:
            with self._link.transaction("ISOLATION LEVEL REPEATABLE READ"):
                snapshot = self._link.ask("SELECT pg_current_snapshot()")
                if snapshot == self._snapshot:
                    return []
                found = Counter(str(row[0]) for row in self._link.ask(self._sql))
        except AnsweredError as error:
            if error.state != UNDEFINED_TABLE:
                raise
            self.absent = str(error)
            return []
        self.absent = ""
        fresh = list((found - self._before).elements())
        self._snapshot = snapshot
        self._before |= found  # one that was lost and comes again is the same
        return fresh

    def remove(self) -> None:
        """The query's tables are the app's own."""
