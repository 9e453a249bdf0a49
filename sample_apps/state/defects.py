"""What can be wrong with the state on purpose: one small store around the real one a defect, chosen by ``DEFECT=<name>``.

Each says what it plants and what must be found. What a defect keeps for itself in the real store is in registers and sets whose names hold
a slash, which no key of the API can.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import tempfile
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, cast

from sample_apps.state.memory_store import MemoryStore
from sample_apps.state.passing import Passing
from sample_apps.state.sqlite_store import SqliteStore
from sample_apps.state.store import Store, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sample_apps.state.settings import Settings

_T = TypeVar("_T")

FLUSHED_EVERY_S: Final = 0.3
LAG_S: Final = 0.5
PAUSE_S: Final = 0.003
ANSWERS_LATE_S: Final = 0.05
MOST_SKEW_S: Final = 3.0
_TWICE_EVERY: Final = 5
_REFUSED_EVERY: Final = 4
_SESSIONS: Final = "session/"  # as in journey.py, which needs Flask, which belongs in the workers


class Caching(Passing):
    """Plants: what was found once is answered again without asking. To be found: stale reads, and with no end of them divergence.

    A process may see its own writes (it forgets what it has of the key) and none of others; or what it has may be ``fresh_s`` old, its own
    writes included, as with a replica of the database that lags behind.
    """

    def __init__(self, store: Store, *, fresh_s: float, sees_own: bool) -> None:
        super().__init__(store)
        self._fresh_s = fresh_s
        self._sees_own = sees_own
        self._kept: dict[tuple[object, ...], tuple[float, object]] = {}

    def read(self, key: str) -> str | None:
        """What was there at the last look."""
        return self._cached(key, "read", lambda: self._store.read(key))

    def count(self, key: str) -> int:
        """What was there at the last look."""
        return self._cached(key, "count", lambda: self._store.count(key))

    def has(self, key: str, element: str) -> bool:
        """What was there at the last look."""
        return self._cached(key, f"has {element}", lambda: self._store.has(key, element))

    def elements(self, key: str, after: str = "", limit: int | None = None) -> list[str]:
        """What was there at the last look."""
        return self._cached(key, f"elements {after} {limit}", lambda: self._store.elements(key, after, limit))

    def entries(self, key: str) -> list[str]:
        """What was there at the last look."""
        return self._cached(key, "entries", lambda: self._store.entries(key))

    def write(self, key: str, value: str) -> None:
        """Forget the key after it."""
        self._store.write(key, value)
        self._forget(key)

    def replace(self, key: str, old: str, new: str) -> bool:
        """Forget the key after it."""
        done = self._store.replace(key, old, new)
        self._forget(key)
        return done

    def add_one(self, key: str, request: str = "") -> int:
        """Forget the key after it."""
        count = self._store.add_one(key, request)
        self._forget(key)
        return count

    def add(self, key: str, element: str) -> None:
        """Forget the key after it."""
        self._store.add(key, element)
        self._forget(key)

    def remove(self, key: str, element: str) -> None:
        """Forget the key after it."""
        self._store.remove(key, element)
        self._forget(key)

    def append(self, key: str, value: str) -> None:
        """Forget the key after it."""
        self._store.append(key, value)
        self._forget(key)

    def _cached(self, key: str, what: str, ask: Callable[[], _T]) -> _T:
        at_s, found = self._kept.get((key, what), (-math.inf, None))
        if time.monotonic() - at_s < self._fresh_s:
            return cast("_T", found)
        asked_s, answer = time.monotonic(), ask()
        if answer:  # what is not there is not remembered
            self._kept[key, what] = (asked_s, answer)
        return answer

    def _forget(self, key: str) -> None:
        if self._sees_own:
            for known in [known for known in self._kept if known[0] == key]:
                self._kept.pop(known, None)


class OwnSessions(Passing):
    """Plants: sessions and their forms are in the process's memory. To be found: sessions that end when another replica answers."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._sessions: dict[str, str] = {}

    def read(self, key: str) -> str | None:
        """From memory, for a session."""
        return self._sessions.get(key) if key.startswith(_SESSIONS) else self._store.read(key)

    def write(self, key: str, value: str) -> None:
        """Into memory, for a session."""
        if key.startswith(_SESSIONS):
            self._sessions[key] = value
        else:
            self._store.write(key, value)


class Unguarded(Passing):
    """Plants: counters and compare-and-sets read, wait a little, and write, in no transaction. To be found: lost updates."""

    def replace(self, key: str, old: str, new: str) -> bool:
        """Others may write in the middle of it."""
        if self._store.read(key) != old:
            return False
        time.sleep(PAUSE_S)
        self._store.write(key, new)
        return True

    def count(self, key: str) -> int:
        """A register."""
        return int(self._store.read(f"counter/{key}") or 0)

    def add_one(self, key: str, request: str = "") -> int:  # noqa: ARG002  the parameter of the protocol
        """Others may write in the middle of it."""
        count = self.count(key) + 1
        time.sleep(PAUSE_S)
        self._store.write(f"counter/{key}", str(count))
        return count


class WriteBehind(Passing):
    """Plants: writes are acknowledged at once, and reach the store every 300 ms, and when the process ends in order.

    To be found: stale reads on other replicas, and after SIGKILL lost writes.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._waiting: list[tuple[str, str, str]] = []
        self._flushing = threading.Lock()
        _flushed_by(self.flush)

    def flush(self) -> None:
        """Hand on what waits, the oldest first."""
        with self._flushing:
            while self._waiting:
                what, key, value = self._waiting[0]
                getattr(self._store, what)(key, value)
                self._waiting.pop(0)

    def read(self, key: str) -> str | None:
        """With what waits."""
        behind = [value for what, of, value in self._waiting if what == "write" and of == key]
        return behind[-1] if behind else self._store.read(key)

    def write(self, key: str, value: str) -> None:
        """Later."""
        self._waiting.append(("write", key, value))

    def replace(self, key: str, old: str, new: str) -> bool:
        """Later."""
        if self.read(key) != old:
            return False
        self.write(key, new)
        return True

    def count(self, key: str) -> int:
        """With what waits."""
        return self._store.count(key) + sum(what == "add_one" and of == key for what, of, _ in self._waiting)

    def add_one(self, key: str, request: str = "") -> int:
        """Later."""
        self._waiting.append(("add_one", key, request))
        return self.count(key)

    def add(self, key: str, element: str) -> None:
        """Later."""
        self._waiting.append(("add", key, element))

    def remove(self, key: str, element: str) -> None:
        """Later."""
        self._waiting.append(("remove", key, element))

    def has(self, key: str, element: str) -> bool:
        """With what waits."""
        return element in self.elements(key)

    def elements(self, key: str, after: str = "", limit: int | None = None) -> list[str]:
        """With what waits."""
        found = set(self._store.elements(key))
        for what, of, element in self._waiting:
            if of == key and what in ("add", "remove"):
                (found.add if what == "add" else found.discard)(element)
        return sorted(element for element in found if element > after)[:limit]

    def append(self, key: str, value: str) -> None:
        """Later."""
        self._waiting.append(("append", key, value))

    def entries(self, key: str) -> list[str]:
        """With what waits."""
        return self._store.entries(key) + [value for what, of, value in self._waiting if what == "append" and of == key]


class WallClock(Passing):
    """Plants: the last write by the wall clock wins, and the clock of each replica is wrong by up to 3 s. Logs are sorted by it.

    To be found: writes that were acknowledged and that nobody ever sees; entries of a log that come in between others.
    """

    def __init__(self, store: Store, skew_s: float) -> None:
        super().__init__(store)
        self._skew_s = skew_s

    def read(self, key: str) -> str | None:
        """The value of the latest write."""
        found = self._store.read(f"clock/{key}")
        return None if found is None else str(json.loads(found)[1])

    def write(self, key: str, value: str) -> None:
        """Nothing, if somebody's clock says that it comes too late."""
        at_s, key = self._now_s(), f"clock/{key}"
        new = json.dumps([at_s, value])
        while True:
            old = self._store.read(key)
            if old is None:
                self._store.write(key, new)
                return
            if json.loads(old)[0] >= at_s or self._store.replace(key, old, new):
                return

    def replace(self, key: str, old: str, new: str) -> bool:
        """A write, if the value is still there."""
        if self.read(key) != old:
            return False
        self.write(key, new)
        return True

    def append(self, key: str, value: str) -> None:
        """With its time before it."""
        self._store.append(key, json.dumps([self._now_s(), value]))

    def entries(self, key: str) -> list[str]:
        """Sorted by time."""
        return [str(value) for _, value in sorted(json.loads(entry) for entry in self._store.entries(key))]

    def _now_s(self) -> float:
        return time.time() + self._skew_s


class OwnCounts(Passing):
    """Plants: each process counts for itself, and writes its count every 300 ms; a counter is the sum of what all have written.

    To be found: stale counts, and after SIGKILL lost increments.
    """

    def __init__(self, store: Store, process: str) -> None:
        super().__init__(store)
        self._process = process
        self._own: dict[str, int] = {}
        self._flushed: dict[str, int] = {}
        _flushed_by(self.flush)

    def flush(self) -> None:
        """Write the counts that have changed."""
        for key, count in list(self._own.items()):
            if self._flushed.get(key) != count:
                self._store.add(f"counters/{key}", self._process)
                self._store.write(f"counters/{key}/{self._process}", str(count))
                self._flushed[key] = count

    def count(self, key: str) -> int:
        """The own count, and what the others have written."""
        others = [process for process in self._store.elements(f"counters/{key}") if process != self._process]
        return self._own.get(key, 0) + sum(int(self._store.read(f"counters/{key}/{process}") or 0) for process in others)

    def add_one(self, key: str, request: str = "") -> int:  # noqa: ARG002  the parameter of the protocol
        """In memory."""
        self._own[key] = self._own.get(key, 0) + 1
        return self.count(key)


class Twice(Passing):
    """Plants: every fifth increment and entry is done again, as after an answer that was lost; an Idempotency-Key means nothing.

    To be found: increments and entries that happened twice.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._calls = 0

    def add_one(self, key: str, request: str = "") -> int:  # noqa: ARG002  the parameter of the protocol
        """Once or twice."""
        for _ in range(self._times()):
            count = self._store.add_one(key)
        return count

    def append(self, key: str, value: str) -> None:
        """Once or twice."""
        for _ in range(self._times()):
            self._store.append(key, value)

    def _times(self) -> int:
        self._calls += 1
        return 1 if self._calls % _TWICE_EVERY else 2


class NotIdempotent(Passing):
    """Plants: an Idempotency-Key means nothing, and an answer comes 50 ms after its increment.

    To be found, where clients try again: increments that happened twice.
    """

    def add_one(self, key: str, request: str = "") -> int:  # noqa: ARG002  the parameter of the protocol
        """Each time."""
        count = self._store.add_one(key)
        time.sleep(ANSWERS_LATE_S)
        return count


class RefusesDone(Passing):
    """Plants: every fourth compare-and-set that has happened is answered as if it had not. To be found: reads of refused values."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._done = 0

    def replace(self, key: str, old: str, new: str) -> bool:
        """Done, and sometimes not admitted."""
        if not self._store.replace(key, old, new):
            return False
        self._done += 1
        return self._done % _REFUSED_EVERY != 0


class OwnRemovals(Passing):
    """Plants: what is removed from a set is only marked so, in the process's memory. To be found: elements that are there again."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._removed: set[tuple[str, str]] = set()

    def add(self, key: str, element: str) -> None:
        """Without the mark."""
        self._removed.discard((key, element))
        self._store.add(key, element)

    def remove(self, key: str, element: str) -> None:
        """Only a mark."""
        self._removed.add((key, element))

    def has(self, key: str, element: str) -> bool:
        """Without the marked."""
        return (key, element) not in self._removed and self._store.has(key, element)

    def elements(self, key: str, after: str = "", limit: int | None = None) -> list[str]:
        """Without the marked."""
        return [element for element in self._store.elements(key, after) if (key, element) not in self._removed][:limit]


def _flushed_by(flush: Callable[[], None]) -> None:
    """Call ``flush`` every 300 ms from now on, and when the process ends in order."""

    def again() -> None:
        while True:
            time.sleep(FLUSHED_EVERY_S)
            with suppress(StoreUnavailableError):  # what waits will wait on
                flush()

    threading.Thread(target=again, daemon=True).start()
    atexit.register(flush)


def _memory(_store: Store, _settings: Settings) -> Store:
    """Plants: all is in dictionaries of the process. To be found: replicas that differ, and all lost with the process."""
    return MemoryStore()


def _local_file(_store: Store, settings: Settings) -> Store:
    """Plants: each replica has a file of its own. To be found: replicas that differ."""
    folder = Path(tempfile.gettempdir()) if settings.postgres_url or settings.redis_url else settings.database_path.parent
    return SqliteStore(folder / f"{settings.replica}.db")


def skew_s(replica: str) -> float:
    """By how many seconds the clock of ``replica`` is wrong: always as many, and others' by others."""
    return (zlib.crc32(replica.encode()) / 0xFFFFFFFF * 2 - 1) * MOST_SKEW_S


def _own_version(store: Store, _settings: Settings) -> Store:
    """Plants: a version that each process draws for itself, in the answer of /config (see app.py). To be found: replicas that differ."""
    return store


DEFECTS: Final[dict[str, Callable[[Store, Settings], Store]]] = {
    "applies-twice": lambda store, _settings: Twice(store),
    "cache": lambda store, _settings: Caching(store, fresh_s=math.inf, sees_own=True),
    "counter-per-process": lambda store, settings: OwnCounts(store, f"{settings.replica}-{os.getpid()}"),
    "ignores-idempotency-key": lambda store, _settings: NotIdempotent(store),
    "local-file": _local_file,
    "memory": _memory,
    "own-removals": lambda store, _settings: OwnRemovals(store),
    "own-version": _own_version,
    "read-modify-write": lambda store, _settings: Unguarded(store),
    "rejects-after-write": lambda store, _settings: RefusesDone(store),
    "stale-replica": lambda store, _settings: Caching(store, fresh_s=LAG_S, sees_own=False),
    "sticky-session": lambda store, _settings: OwnSessions(store),
    "wall-clock": lambda store, settings: WallClock(store, skew_s(settings.replica)),
    "write-behind": lambda store, _settings: WriteBehind(store),
}
"""Every planted defect by its name: what it makes of the store."""


def plant(store: Store, settings: Settings) -> Store:
    """The store with the defect that the settings ask for, or as it is."""
    return store if settings.defect is None else DEFECTS[settings.defect](store, settings)
