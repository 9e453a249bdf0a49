"""What a store must do: hold registers, counters, sets and logs, outside the process, so that any replica can be killed at any instant.

Each method is one step: it happens as a whole or not at all, at one instant between its call and its return, for all replicas alike. What
has returned can't be lost by the end of a process. Keys of the four kinds don't meet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sample_apps.web.store import StoreUnavailableError

if TYPE_CHECKING:
    from sample_apps.state.settings import Settings

__all__ = ["Store", "StoreUnavailableError", "open_store"]


class Store(Protocol):
    """Every method raises ``StoreUnavailableError`` when the store does not answer."""

    def ping(self) -> None:
        """Return only when the store can be read."""
        ...

    def read(self, key: str) -> str | None:
        """The value of a register, or ``None`` when nobody has written it."""
        ...

    def write(self, key: str, value: str) -> None:
        """Set a register."""
        ...

    def replace(self, key: str, old: str, new: str) -> bool:
        """Set a register to ``new`` if it is ``old``; whether it was."""
        ...

    def count(self, key: str) -> int:
        """What a counter stands at; 0 when nobody has counted."""
        ...

    def add_one(self, key: str, request: str = "") -> int:
        """Count one more, and say how many these are now. A ``request`` is counted once: later it gets its first answer again."""
        ...

    def add(self, key: str, element: str) -> None:
        """Put an element into a set; it may be there."""
        ...

    def remove(self, key: str, element: str) -> None:
        """Take an element out of a set; it may be absent."""
        ...

    def has(self, key: str, element: str) -> bool:
        """Whether an element is in a set."""
        ...

    def elements(self, key: str, after: str = "", limit: int | None = None) -> list[str]:
        """Up to ``limit`` elements of a set that sort behind ``after``, sorted by code points."""
        ...

    def append(self, key: str, value: str) -> None:
        """Put a value behind all that a log holds."""
        ...

    def entries(self, key: str) -> list[str]:
        """The values of a log, the oldest first."""
        ...


def open_store(settings: Settings) -> Store:
    """The store that the environment asks for; it connects on first use, so the app starts before its store does."""
    store = _open(settings)
    if settings.memcached_url is None:
        return store
    from sample_apps.state.memcached_sessions import MemcachedSessions  # noqa: PLC0415  as below

    return MemcachedSessions(store, settings.memcached_url)


def _open(settings: Settings) -> Store:
    # Each is imported only where it is used: their clients take as long to import as Flask.
    if settings.postgres_url is not None:
        from sample_apps.state.postgres_store import PostgresStore  # noqa: PLC0415  as above

        return PostgresStore(settings.postgres_url)
    if settings.redis_url is not None:
        from sample_apps.state.redis_store import RedisStore  # noqa: PLC0415  as above

        return RedisStore(settings.redis_url)
    from sample_apps.state.sqlite_store import SqliteStore  # noqa: PLC0415  as above

    return SqliteStore(settings.database_path)
