"""A store in front of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sample_apps.state.store import Store


class Passing:
    """A store that passes everything on to another one; who derives from it says what it does otherwise."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ping(self) -> None:
        """See ``Store``."""
        self._store.ping()

    def read(self, key: str) -> str | None:
        """See ``Store``."""
        return self._store.read(key)

    def write(self, key: str, value: str) -> None:
        """See ``Store``."""
        self._store.write(key, value)

    def replace(self, key: str, old: str, new: str) -> bool:
        """See ``Store``."""
        return self._store.replace(key, old, new)

    def count(self, key: str) -> int:
        """See ``Store``."""
        return self._store.count(key)

    def add_one(self, key: str, request: str = "") -> int:
        """See ``Store``."""
        return self._store.add_one(key, request)

    def add(self, key: str, element: str) -> None:
        """See ``Store``."""
        self._store.add(key, element)

    def remove(self, key: str, element: str) -> None:
        """See ``Store``."""
        self._store.remove(key, element)

    def has(self, key: str, element: str) -> bool:
        """See ``Store``."""
        return self._store.has(key, element)

    def elements(self, key: str, after: str = "", limit: int | None = None) -> list[str]:
        """See ``Store``."""
        return self._store.elements(key, after, limit)

    def append(self, key: str, value: str) -> None:
        """See ``Store``."""
        self._store.append(key, value)

    def entries(self, key: str) -> list[str]:
        """See ``Store``."""
        return self._store.entries(key)
