"""One connection to PostgreSQL, on which every wait has an end, also when the server is frozen.

It speaks libpq through ``psycopg.pq``, without blocking calls: a server that takes a question and never answers holds a client of
psycopg's upper half for ever, as the kernel of that machine goes on saying that all is well. All values are texts.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from harness.errors import UsageError
from harness.services.base import TIMEOUT_S, ServiceError

if TYPE_CHECKING:
    from psycopg.pq import abc

OWN_NAME: Final = "jetable"
"""What our own connections are called, so that they are spared where all others are closed."""

Row: TypeAlias = tuple[str | None, ...]

_SETTINGS: Final = f"SET statement_timeout = {int(TIMEOUT_S * 1000)}; SET client_encoding = 'UTF8'; SET application_name = '{OWN_NAME}'"

UNDEFINED_TABLE: Final = "42P01"


class AnsweredError(ServiceError):
    """The server said no, and the connection lives on; ``state`` is the SQLSTATE (PostgreSQL's manual, appendix A)."""

    def __init__(self, what: str, state: str) -> None:
        super().__init__(what)
        self.state = state


class Link:
    """A connection that is made when it is needed, and again after it was lost.

    Raises:
        UsageError: psycopg is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            from psycopg import Error, pq  # noqa: PLC0415  an extra, that only those need who have a PostgreSQL
        except ImportError as error:
            raise UsageError(f"PostgreSQL is asked through psycopg: pip install 'jetable[postgres]' ({error})") from error
        self._pq = pq
        self._error = Error
        self._url = url
        parts = urlsplit(url)
        self._where = f"PostgreSQL, {parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"
        self._connection: abc.PGconn | None = None

    def ask(self, sql: str, values: Sequence[str] = ()) -> list[Row]:
        """All rows of one statement, which is a transaction of its own unless one was begun.

        Raises:
            AnsweredError: The server said no.
            ServiceError: It can't be reached, or nobody knows what became of the statement; the connection is closed.
        """
        with self._bounded() as (connection, end_s):
            connection.send_query_params(sql.encode(), [value.encode() for value in values])
            return self._rows(connection, end_s)

    def do(self, script: str) -> None:
        """Statements without values, all or none of them; raises as `ask`."""
        with self._bounded() as (connection, end_s):
            connection.send_query(script.encode())
            self._rows(connection, end_s)

    @contextmanager
    def transaction(self, kind: str = "") -> Iterator[None]:
        """What is asked within it is one transaction, of that ``kind`` (``ISOLATION LEVEL …``)."""
        self.ask(f"BEGIN {kind}")
        try:
            yield
        except BaseException:
            if self._connection is not None:
                self.ask("ROLLBACK")
            raise
        self.ask("COMMIT")

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.finish()
            self._connection = None

    @contextmanager
    def _bounded(self) -> Iterator[tuple[abc.PGconn, float]]:
        end_s = time.monotonic() + TIMEOUT_S
        try:
            yield self._connection or self._connected(end_s), end_s
        except AnsweredError:
            raise
        except (self._error, ServiceError, TimeoutError) as error:
            self.close()
            raise ServiceError(f"{self._where}: {_line(str(error))}") from error

    def _connected(self, end_s: float) -> abc.PGconn:
        made = self._connection = self._pq.PGconn.connect_start(self._url.encode())
        asked = self._pq.PollingStatus.WRITING
        while asked != self._pq.PollingStatus.OK:
            if asked == self._pq.PollingStatus.FAILED or made.status == self._pq.ConnStatus.BAD:
                raise ServiceError(made.get_error_message())
            _wait(made.socket, select.POLLIN if asked == self._pq.PollingStatus.READING else select.POLLOUT, end_s)
            asked = self._pq.PollingStatus(made.connect_poll())
        made.nonblocking = 1
        made.send_query(_SETTINGS.encode())
        self._rows(made, end_s)
        return made

    def _rows(self, connection: abc.PGconn, end_s: float) -> list[Row]:
        """Send what is to be sent, and read all that is answered; the rows of the last result."""
        while connection.flush():
            _wait(connection.socket, select.POLLIN | select.POLLOUT, end_s)
            connection.consume_input()
        rows: list[Row] = []
        wrong: abc.PGresult | None = None
        while True:
            while connection.is_busy():
                _wait(connection.socket, select.POLLIN, end_s)
                connection.consume_input()
            result = connection.get_result()
            if result is None:
                break
            if result.status in (self._pq.ExecStatus.TUPLES_OK, self._pq.ExecStatus.COMMAND_OK):
                rows = _texts(result)
            else:
                wrong = wrong or result
        if connection.status == self._pq.ConnStatus.BAD:
            raise ServiceError(wrong.get_error_message() if wrong else connection.get_error_message())
        if wrong is not None:
            state = wrong.error_field(self._pq.DiagnosticField.SQLSTATE) or b""
            raise AnsweredError(f"{self._where}: {_line(wrong.get_error_message())}", state.decode())
        return rows


def _wait(descriptor: int, what: int, end_s: float) -> None:
    poll = select.poll()
    poll.register(descriptor, what)
    if not poll.poll(max(0.0, end_s - time.monotonic()) * 1000):
        raise TimeoutError(f"no answer within {TIMEOUT_S:g} s")


def _texts(result: abc.PGresult) -> list[Row]:
    columns = range(result.nfields)
    return [tuple(_text(result.get_value(row, column)) for column in columns) for row in range(result.ntuples)]


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def _line(message: str) -> str:
    """The first line, without what every message begins with."""
    return message.strip().partition("\n")[0].removeprefix("ERROR:").removeprefix("FATAL:").strip()
