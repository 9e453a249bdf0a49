"""Queues that workers of Redis make of its own types.

``list``: a job is pushed at the left, or with ``push: right`` at the other end. What a plain pop takes is in nobody's hands any more, so
nobody can count what is held, unless ``processing`` names the lists into which workers move what they take (``BLMOVE``, the reliable queue
of Redis' documentation), with ``*`` where the worker's name stands. ``heartbeat``, a key with ``*`` again, lives as long as the worker
does: when it ends, others give back what is in the list. ``failed`` is a list of jobs that were set aside. Without ``processing`` a job
that is left is looked for in other lists, too: in those whose names contain the queue's, and in a server of the run's own in all but that
of effects.

``stream``: a job is an entry whose ``field`` (body) holds it. ``group`` is made beforehand; without it all groups are looked at.
``claim_after`` is the idle time after which workers claim what another one holds (``XAUTOCLAIM``).

``{queue}`` in an option stands for the queue's name, which gets the run's mark in a service that others use as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from harness.errors import KeyOfScenarioError
from harness.job_history import HELD, READY, SET_ASIDE
from harness.services.base import Look, QueueSpec, ServiceError, Told
from harness.services.redis_client import Answer, Link, entry_id, entry_text, items, number, pairs, texts
from harness.units import Duration
from harness.words import MistakeError

_PAGE: Final = 1000
_LOOKS: Final = 3
_MOST: Final = 100_000
"""So many entries of a list that is not known are read at most."""

_OF_OTHERS: Final = "jetable_"
"""How the run's names begin in a server that others use as well."""

_FOR_EVER: Final = -1
"""What PTTL says of a key that has no end."""


class Options:
    """What the scenario says of the form. Each call raises `KeyOfScenarioError` for a value that can't be used."""

    def __init__(self, spec: QueueSpec, *known: str) -> None:
        self._spec = spec
        for name in spec.options:
            if name not in known:
                raise self._wrong(name, f"is no option of the form {spec.form}, which has {', '.join(known)}")

    def text(self, name: str, default: str = "") -> str:
        """A text, with the queue's name in it where it asks for that."""
        return str(self._spec.options.get(name, default)).replace("{queue}", self._spec.name)

    def choice(self, name: str, *choices: str) -> str:
        """One of several words, the first by default."""
        chosen = self.text(name, choices[0])
        if chosen not in choices:
            raise self._wrong(name, f"must be one of {', '.join(choices)}, not {chosen}")
        return chosen

    def pattern(self, name: str) -> str:
        """A key with one ``*``; empty by default."""
        pattern = self.text(name)
        if pattern and (pattern.count("*") != 1 or set(pattern) & set("?[]\\")):
            raise self._wrong(name, f"must have one * where the worker's name stands, and no other wildcard: {pattern}")
        return pattern

    def seconds(self, name: str) -> float | None:
        """A duration such as ``5s``; None by default."""
        written = self._spec.options.get(name)
        if written is None:
            return None
        try:
            return Duration.parse(written).s
        except MistakeError as error:
            raise self._wrong(name, str(error)) from error

    @staticmethod
    def _wrong(name: str, what: str) -> KeyOfScenarioError:
        return KeyOfScenarioError(("jobs", "options", name), what)


class ListQueue:
    """See `harness.services.base.Queue`."""

    def __init__(self, link: Link, spec: QueueSpec) -> None:
        options = Options(spec, "push", "processing", "heartbeat", "failed")
        self._link = link
        self._name = spec.name
        self._push = {"left": "LPUSH", "right": "RPUSH"}[options.choice("push", "left", "right")]
        self._processing = options.pattern("processing")
        self._heartbeat = options.pattern("heartbeat")
        self._failed = options.text("failed")
        self._known: set[str] = set()

    def declare(self) -> None:
        """A list is there when something is in it."""
        self._link.do("PING")

    def put(self, job: str, body: str) -> None:  # noqa: ARG002  the id is in the body
        """Push it."""
        self._bodies().add(body)
        with self._link.putting():
            self._link.do(self._push, self._name, body)

    def look(self) -> Look:
        """The lengths of all lists at one instant."""
        look = Look(ready=-1)
        for _ in range(_LOOKS):
            held_in = self._lists()
            lists = [self._name, self._failed or self._name, *held_in]
            ready, aside, *held = (number(length) for length in self._link.together(*(("LLEN", key) for key in lists)))
            look = Look(ready=ready, held=sum(held) if self._processing else -1, set_aside=aside if self._failed else 0)
            if look.ready or look.held or self._lists() == held_in:
                return look
        return look  # lists come up again and again, which the next look sees

    def told(self, limit: int) -> Sequence[Told]:
        """What is held first; the name of a processing list says by whom."""
        found: list[Told] = []
        before, _, after = self._processing.partition("*")
        for key in self._lists():
            by = key.removeprefix(before).removesuffix(after)
            until_s = self._until_s(by)
            found += [Told(text=text, state=HELD, by=by, until_s=until_s) for text in self._texts(key, limit - len(found))]
        if not self._processing:
            for key in self._others():
                found += [Told(text=text, state=HELD, by=key) for text in self._ours(key)[: limit - len(found)]]
        found += [Told(text=text, state=READY) for text in self._texts(self._name, limit - len(found))]
        if self._failed:
            found += [Told(text=text, state=SET_ASIDE) for text in self._texts(self._failed, limit - len(found))]
        return found

    def take_rest(self, limit: int) -> Sequence[Told]:
        """What is left can be seen where it is."""
        return self.told(limit)

    def remove(self) -> None:
        """Remove the queue, what workers keep beside it, and of the other lists those that have its name in theirs."""
        self._link.remove(self._name)
        self._link.do("UNLINK", *(key for key in (self._name, self._failed, *self._lists()) if self._name in key))
        self._link.known.bodies.pop((self._link.url, self._name), None)

    def _bodies(self) -> set[str]:
        return self._link.known.bodies[self._link.url, self._name]

    def _ours(self, key: str) -> list[str]:
        """The jobs of this queue that are in another list, which may be gone, or something else, by now."""
        try:
            found = self._texts(key, _MOST)
        except ServiceError as error:
            if "WRONGTYPE" not in str(error):
                raise
            return []
        return [text for text in found if text in self._bodies()]

    def _others(self) -> list[str]:
        """The lists in which jobs may be that a worker took without our knowing where to: not those in which they are done."""
        pattern = f"*{_literal(self._name)}*" if self._name.startswith(_OF_OTHERS) else "*"
        known = {self._name, self._failed} | {name for url, name in self._link.known.effects if url == self._link.url}
        return sorted(self._link.keys(pattern, "list") - known) if self._bodies() else []

    def _lists(self) -> list[str]:
        """All processing lists that there ever were; those without a job are gone from Redis."""
        if self._processing:
            self._known |= self._link.keys(self._processing, "list") - {self._name, self._failed}
        return sorted(self._known)

    def _texts(self, key: str, limit: int) -> list[str]:
        return texts(self._link.do("LRANGE", key, 0, limit - 1)) if limit > 0 else []

    def _until_s(self, by: str) -> float | None:
        if not self._heartbeat:
            return None
        left_ms = number(self._link.do("PTTL", self._heartbeat.replace("*", by)))
        return None if left_ms == _FOR_EVER else max(0, left_ms) / 1000


def _literal(text: str) -> str:
    """A pattern of Redis that only this text matches."""
    return re.sub(r"([*?\[\]\\^])", r"\\\1", text)


class StreamQueue:
    """See `harness.services.base.Queue`."""

    def __init__(self, link: Link, spec: QueueSpec) -> None:
        options = Options(spec, "group", "field", "claim_after")
        self._link = link
        self._name = spec.name
        self._group = options.text("group")
        self._field = options.text("field", "body")
        self._claim_after_s = options.seconds("claim_after")

    def declare(self) -> None:
        """Make the group, so that it is also given what is put before the first worker is there."""
        if not self._group:
            self._link.do("PING")
            return
        try:
            self._link.do("XGROUP", "CREATE", self._name, self._group, "0", "MKSTREAM")
        except ServiceError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def put(self, job: str, body: str) -> None:  # noqa: ARG002  the id is in the body
        """Add an entry."""
        with self._link.putting():
            self._link.do("XADD", self._name, "*", self._field, body)

    def look(self) -> Look:
        """What was not given to a group, and what was and is not acknowledged."""
        groups = self._groups()
        if not groups:
            return Look(ready=number(self._link.do("XLEN", self._name)), held=0)
        return Look(ready=sum(self._waiting(group) for group in groups), held=sum(number(group["pending"]) for group in groups))

    def told(self, limit: int) -> Sequence[Told]:
        """What is held first, with its consumer, and how often it was delivered."""
        groups = self._groups()
        found: list[Told] = []
        for group in groups:
            found += self._pending(str(group["name"]), limit - len(found))
        for last in [str(group["last-delivered-id"]) for group in groups] or ["0-0"]:
            entries = self._entries(last, limit - len(found)) if limit > len(found) else []
            found += [Told(text=entry_text(entry), state=READY) for entry in entries]
        return found

    def take_rest(self, limit: int) -> Sequence[Told]:
        """What is left can be seen where it is."""
        return self.told(limit)

    def remove(self) -> None:
        """Remove the stream with its groups, and what workers keep beside it."""
        self._link.remove(self._name)

    def _groups(self) -> list[Mapping[str, Answer]]:
        try:
            groups = [pairs(group) for group in items(self._link.do("XINFO", "GROUPS", self._name))]
        except ServiceError as error:
            if "no such key" in str(error):
                return []
            raise
        return [group for group in groups if self._group in ("", group["name"])]

    def _waiting(self, group: Mapping[str, Answer]) -> int:
        """Its lag; counted where Redis has lost count, as it does when entries are deleted, or does not tell, as before version 7."""
        if (lag := group.get("lag")) is not None:
            return number(lag)
        last, count = str(group["last-delivered-id"]), 0
        while entries := self._entries(last, _PAGE):
            count += len(entries)
            last = entry_id(entries[-1])
        return count

    def _entries(self, after: str, limit: int) -> list[Answer]:
        return items(self._link.do("XRANGE", self._name, f"({after}", "+", "COUNT", limit))

    def _pending(self, group: str, limit: int) -> Iterator[Told]:
        start = "-"
        while limit > 0:
            rows = [items(row) for row in items(self._link.do("XPENDING", self._name, group, start, "+", min(limit, _PAGE)))]
            if not rows:
                return
            bodies = self._link.together(*(("XRANGE", self._name, str(row[0]), str(row[0])) for row in rows))
            yield from (self._told(row, items(entries)) for row, entries in zip(rows, bodies, strict=True))
            limit -= len(rows)
            start = f"({rows[-1][0]}"

    def _told(self, row: list[Answer], entries: list[Answer]) -> Told:
        entry, consumer, idle_ms, deliveries = row
        return Told(
            text=entry_text(entries[0]) if entries else str(entry),
            state=HELD,
            by=str(consumer),
            until_s=None if self._claim_after_s is None else max(0.0, self._claim_after_s - number(idle_ms) / 1000),
            deliveries=number(deliveries),
            redelivered=number(deliveries) > 1,
        )
