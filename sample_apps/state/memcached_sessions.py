"""Sessions in memcached, everything else in the store behind it.

Any replica finds a session there, so none has to stay for it. But memcached forgets what it held when it ends, and may forget any of it
before: that is right for what can be had again, and means to a session that its user has to log in once more.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pymemcache import MemcacheError, PooledClient  # type: ignore[import-untyped]  # it publishes no types
from pymemcache.client.retrying import RetryingClient  # type: ignore[import-untyped]  # the same
from pymemcache.exceptions import MemcacheUnexpectedCloseError  # type: ignore[import-untyped]  # the same

from sample_apps.state.journey import SESSIONS
from sample_apps.state.passing import Passing
from sample_apps.state.store import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sample_apps.state.store import Store

_TIMEOUT_S: Final = 5.0
_LIVES_S: Final = 3600
_ATTEMPTS: Final = 20
"""More than the connections that a pool may have kept to a memcached that has ended: each attempt finds out about one."""


class MemcachedSessions(Passing):
    """A pool of connections to one memcached, which hands a connection to one request at a time."""

    def __init__(self, store: Store, url: str) -> None:
        super().__init__(store)
        parts = urlsplit(url)
        address = (parts.hostname or "127.0.0.1", parts.port or 11211)
        pool = PooledClient(address, connect_timeout=_TIMEOUT_S, timeout=_TIMEOUT_S, no_delay=True, encoding="utf-8")
        # Connections of the pool may have ended with the memcached before this one; to get or to set again does no harm.
        self._sessions = RetryingClient(pool, attempts=_ATTEMPTS, retry_for=[ConnectionError, MemcacheUnexpectedCloseError])

    def ping(self) -> None:
        """See ``Store``; memcached has to answer, too."""
        with _errors_translated():
            self._sessions.version()
        super().ping()

    def read(self, key: str) -> str | None:
        """See ``Store``."""
        if not key.startswith(SESSIONS):
            return super().read(key)
        with _errors_translated():
            found = self._sessions.get(key)
        return None if found is None else bytes(found).decode()

    def write(self, key: str, value: str) -> None:
        """See ``Store``; a session lives for an hour."""
        if key.startswith(SESSIONS):
            with _errors_translated():
                self._sessions.set(key, value, expire=_LIVES_S, noreply=False)
        else:
            super().write(key, value)

    def close(self) -> None:
        """Close the connections to memcached."""
        self._sessions.close()


@contextmanager
def _errors_translated() -> Iterator[None]:
    try:
        yield
    except (MemcacheError, OSError) as error:
        raise StoreUnavailableError(str(error) or type(error).__name__) from error
