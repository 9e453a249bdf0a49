"""One connection to RabbitMQ by pika, for one thread: made when it is needed, bounded in time, and never used when it is known to be dead.

pika sends heartbeats only while it is called, and bounds no call. This connection therefore asks for no heartbeats, which would end it
whenever its thread has other things to do, and cuts itself when a call takes longer than ``TIMEOUT_S``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import unquote, urlsplit

from harness.services.base import TIMEOUT_S, ServiceError

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
    from pika.connection import Parameters

T = TypeVar("T")

_WATCH_S: Final = 0.25
_IDLE_S: Final = 0.05
"""After so long without a call the connection is looked at before it is used: who has closed it meanwhile has surely not got the job."""


class NeverReachedError(ServiceError):
    """Nothing was sent: there was no connection, and none could be made."""


class NotThereError(ServiceError):
    """There is no such queue."""


class Wire:
    """A connection with one channel, whose publications are confirmed."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url = url
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
        self.user = unquote(parts.username or "guest")
        self.password = unquote(parts.password or "guest")
        self.vhost = unquote(parts.path[1:]) or "/"
        self._connection: BlockingConnection | None = None
        self._channel: BlockingChannel | None = None
        self._deadline_s = float("inf")
        self._used_s = 0.0

    @property
    def where(self) -> str:
        """How it is called in messages, without a password."""
        return f"RabbitMQ, {self.host}:{self.port}"

    def call(self, ask: Callable[[BlockingChannel], T]) -> T:
        """What ``ask`` returns of an open channel.

        Raises:
            NeverReachedError: There is no connection, and ``ask`` was not called.
            NotThereError: The queue does not exist.
            ServiceError: Anything else.
        """
        from pika import exceptions  # noqa: PLC0415  only scenarios with this service need it
        from pika.adapters.utils.connection_workflow import AMQPConnectorException  # noqa: PLC0415  as above

        self._deadline_s = time.monotonic() + TIMEOUT_S
        try:
            channel = self._open()
        except (exceptions.AMQPError, AMQPConnectorException, OSError, ValueError) as error:
            problem = self._problem(error)
            self.close()
            raise NeverReachedError(f"{self.where}: {problem}") from error
        try:
            return ask(channel)
        except exceptions.ChannelClosedByBroker as error:
            self._channel = None
            kind = NotThereError if error.reply_code == _NOT_FOUND else ServiceError
            raise kind(f"{self.where}: {_first_line(error.reply_text)}") from error
        except (exceptions.AMQPError, OSError) as error:
            problem = self._problem(error)
            self.close()
            raise ServiceError(f"{self.where}: {problem}") from error
        finally:
            self._deadline_s = float("inf")
            self._used_s = time.monotonic()

    @property
    def properties(self) -> Mapping[str, object]:
        """What the server said of itself when the connection was made; empty without one."""
        if self._connection is None:
            return {}
        return self._connection._impl.server_properties or {}  # noqa: SLF001  pika shows it nowhere else

    def close(self) -> None:
        """End it; what goes wrong meanwhile is of no interest."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is None:
            return
        from pika import exceptions  # noqa: PLC0415  as above

        self._deadline_s = time.monotonic() + 1
        with suppress(exceptions.AMQPError, OSError):
            connection.close()

    def _open(self) -> BlockingChannel:
        import pika  # noqa: PLC0415  as above

        if self._connection is not None and time.monotonic() - self._used_s > _IDLE_S:
            with suppress(pika.exceptions.AMQPError, OSError):
                self._connection.process_data_events(0)
        if self._connection is None or not self._connection.is_open:
            self._connection, self._channel = None, None
            self._connection = pika.BlockingConnection(self._parameters())
            self._watch(self._connection)
        if self._channel is None or not self._channel.is_open:
            self._channel = self._connection.channel()
            self._channel.confirm_delivery()
        return self._channel

    def _parameters(self) -> Parameters:
        import pika  # noqa: PLC0415  as above

        parameters = pika.URLParameters(self.url)
        parameters.virtual_host = self.vhost
        parameters.heartbeat = 0
        parameters.connection_attempts = 1
        parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = TIMEOUT_S
        parameters.client_properties = {"connection_name": "jetable"}
        return parameters

    def _watch(self, connection: BlockingConnection) -> None:
        """Look now and then, while a call of pika waits, whether it has waited too long."""
        from pika import exceptions  # noqa: PLC0415  as above

        link = connection._impl  # noqa: SLF001  pika bounds no call, and lets no other thread do so
        if time.monotonic() <= self._deadline_s:
            link._adapter_call_later(_WATCH_S, lambda: self._watch(connection))  # noqa: SLF001  the same
        else:
            link._terminate_stream(exceptions.AMQPHeartbeatTimeout("too late"))  # noqa: SLF001  what a missed heartbeat does

    def _problem(self, error: Exception) -> str:
        if time.monotonic() > self._deadline_s:
            return f"no answer within {TIMEOUT_S:g} s"
        return told_of(error)


_NOT_FOUND: Final = 404


def told_of(error: BaseException) -> str:
    """One line that says what pika's error means, which often stands in an error inside it."""
    from pika import exceptions  # noqa: PLC0415  as above

    match error:
        case exceptions.ProbableAuthenticationError() | exceptions.AuthenticationError():
            told = "it refuses the login; user and password stand in the URL"
        case exceptions.ProbableAccessDeniedError():
            told = "it refuses the virtual host, or the user has no right to it"
        case exceptions.ConnectionBlockedTimeout():
            told = "it takes nothing now: it lacks memory or room on its disk"
        case exceptions.ConnectionClosed() | exceptions.ChannelClosed():
            told = error.reply_text
        case _ if inner := _inside(error):
            told = told_of(inner[-1])
        case OSError() if error.strerror:
            told = error.strerror
        case _:
            told = str(error) or type(error).__name__
    return _first_line(told)


def _inside(error: BaseException) -> list[BaseException]:
    found = [*error.args, *getattr(error, "exceptions", ())]
    return [one for each in found for one in (each, getattr(each, "exception", None)) if isinstance(one, BaseException)]


def _first_line(text: str) -> str:
    return next(iter(text.splitlines()), "")


def hush() -> None:
    """Keep pika's log to itself: what it tells there is raised as well."""
    logging.getLogger("pika").setLevel(logging.CRITICAL + 1)
