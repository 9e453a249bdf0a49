"""Effects in a key of Redis: a list or a stream with an entry for each, a hash of counts, or a set, in which nothing is seen twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.services.base import ServiceError
from harness.services.redis_client import Link, entry_id, entry_text, number, pairs, texts

_PAGE = 1000


class Key:
    """A key, whatever it turns out to be; see `harness.services.base.Effects`. Nothing is taken out, so no lost answer loses an effect."""

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._name = name
        self._type = ""
        self._handed: Counter[str] = Counter()
        self._length = 0
        self._ends: tuple[object, object] = (None, None)
        self._last = "0-0"
        self._counts = True
        self.absent = ""  # says so until the key was there once
        link.known.effects.add((link.url, name))

    @property
    def counts(self) -> bool:
        """False once it has turned out to be a set, or a hash of something else than numbers."""
        return self._counts

    def new(self) -> Sequence[str]:
        """What has come since."""
        if not self._type:
            found = str(self._link.do("TYPE", self._name))
            if found == "none":
                self.absent = f"there is no key {self._name}"
                return ()
            self._type, self.absent = found, ""
        match self._type:
            case "list":
                return self._of_list()
            case "stream":
                return self._of_stream()
            case "hash":
                return self._more(self._counted())
            case "set":
                self._counts = False
                return self._more(Counter(texts(self._link.do("SMEMBERS", self._name))))
            case "zset":
                self._counts = False
                return self._more(Counter(texts(self._link.do("ZRANGE", self._name, 0, -1))))
            case other:
                raise ServiceError(f"Redis: the key {self._name} is a {other}, in which no effects can be seen")

    def remove(self) -> None:
        """Remove the key, and what workers keep beside it."""
        self._link.remove(self._name)

    def _more(self, found: Counter[str]) -> list[str]:
        fresh = list((found - self._handed).elements())
        self._handed |= found
        return fresh

    def _of_list(self) -> list[str]:
        """What was pushed at the right, or at the left, since the last look; both readings and the ends are of one instant."""
        known = self._length
        length, first, last, right, left = self._link.together(
            ("LLEN", self._name),
            ("LINDEX", self._name, 0),
            ("LINDEX", self._name, max(0, known - 1)),
            ("LRANGE", self._name, known, -1),
            ("LRANGE", self._name, 0, -known - 1),
        )
        if known and (first, last) != self._ends and number(length) <= known:
            return self._anew()
        fresh = texts(right)
        if known and (first, last) != self._ends:
            fresh = texts(left)
            self._ends = (fresh[0], self._ends[1])
        elif fresh:
            self._ends = (first, fresh[-1])
        self._length = number(length)
        self._handed.update(fresh)
        return fresh

    def _anew(self) -> list[str]:
        """It lost entries: what is in it now more often than was handed out ever."""
        whole = texts(self._link.do("LRANGE", self._name, 0, -1))
        self._length = len(whole)
        self._ends = (whole[0], whole[-1]) if whole else (None, None)
        return self._more(Counter(whole))

    def _of_stream(self) -> list[str]:
        found: list[str] = []
        while True:
            answer = self._link.do("XRANGE", self._name, f"({self._last}", "+", "COUNT", _PAGE)
            if not isinstance(answer, list) or not answer:
                return found
            found += [entry_text(entry) for entry in answer]
            self._last = entry_id(answer[-1])

    def _counted(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for name, value in pairs(self._link.do("HGETALL", self._name)).items():
            whole = str(value)
            if whole.isascii() and whole.isdigit():
                found[name] = int(whole)
            else:
                found[name] = 1
                self._counts = False
        return found
