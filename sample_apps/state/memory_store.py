"""State in dictionaries of one process: right as long as there is one process, and it never ends. Planted as ``DEFECT=memory``."""

from __future__ import annotations

from collections import defaultdict


class MemoryStore:
    """A ``Store`` that nobody else sees."""

    def __init__(self) -> None:
        self._registers: dict[str, str] = {}
        self._counters: defaultdict[str, int] = defaultdict(int)
        self._counted: dict[tuple[str, str], int] = {}
        self._sets: defaultdict[str, set[str]] = defaultdict(set)
        self._logs: defaultdict[str, list[str]] = defaultdict(list)

    def ping(self) -> None:
        """See ``Store``."""

    def read(self, key: str) -> str | None:
        """See ``Store``."""
        return self._registers.get(key)

    def write(self, key: str, value: str) -> None:
        """See ``Store``."""
        self._registers[key] = value

    def replace(self, key: str, old: str, new: str) -> bool:
        """See ``Store``."""
        if self._registers.get(key) != old:
            return False
        self._registers[key] = new
        return True

    def count(self, key: str) -> int:
        """See ``Store``."""
        return self._counters.get(key, 0)

    def add_one(self, key: str, request: str = "") -> int:
        """See ``Store``."""
        if request and (key, request) in self._counted:
            return self._counted[key, request]
        self._counters[key] += 1
        if request:
            self._counted[key, request] = self._counters[key]
        return self._counters[key]

    def add(self, key: str, element: str) -> None:
        """See ``Store``."""
        self._sets[key].add(element)

    def remove(self, key: str, element: str) -> None:
        """See ``Store``."""
        self._sets[key].discard(element)

    def has(self, key: str, element: str) -> bool:
        """See ``Store``."""
        return element in self._sets[key]

    def elements(self, key: str, after: str = "", limit: int | None = None) -> list[str]:
        """See ``Store``."""
        return sorted(element for element in self._sets[key] if element > after)[:limit]

    def append(self, key: str, value: str) -> None:
        """See ``Store``."""
        self._logs[key].append(value)

    def entries(self, key: str) -> list[str]:
        """See ``Store``."""
        return list(self._logs[key])
