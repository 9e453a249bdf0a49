"""Jobs of Celery in Redis, where Kombu, its transport, keeps them.

``task`` is the name that Celery has for the function that gets the job's body. A queue is a list, with more lists beside it for other
priorities. What workers have taken and not acknowledged stands in a hash of all queues, ``unacked``, from which any worker puts back what
was taken ``visibility_timeout`` ago (an hour by default; say here what the app has set). Kombu does not note who took it, nor how often.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from harness.job_history import HELD, READY
from harness.services.base import Look, QueueSpec, Told
from harness.services.celery import TASK, celery_in_redis, task_of
from harness.services.redis_client import Answer, Link, items, number, pairs, texts
from harness.services.redis_forms import Options

_UNACKED: Final = "unacked"
_UNACKED_SINCE: Final = "unacked_index"
_PRIORITIES: Final = ("", "\x06\x163", "\x06\x166", "\x06\x169")
"""What Kombu adds to a queue's name for each of its steps of priority."""

_HOUR_S: Final = 3600.0


class CeleryQueue:
    """See `harness.services.base.Queue`."""

    def __init__(self, link: Link, spec: QueueSpec) -> None:
        options = Options(spec, TASK, "visibility_timeout")
        self._link = link
        self._name = spec.name
        self._task = task_of(spec.options)
        own_s = options.seconds("visibility_timeout")
        self._timeout_s = _HOUR_S if own_s is None else own_s
        self._lists = [spec.name + priority for priority in _PRIORITIES]

    def declare(self) -> None:
        """A list is there when something is in it."""
        self._link.do("PING")

    def put(self, job: str, body: str) -> None:
        """Push the message."""
        with self._link.putting():
            self._link.do("LPUSH", self._name, celery_in_redis(self._task, self._name, job, body))

    def look(self) -> Look:
        """The lengths of the lists, and what is not acknowledged of this queue, at one instant."""
        unacked, *lengths = self._link.together(("HGETALL", _UNACKED), *(("LLEN", key) for key in self._lists))
        return Look(ready=sum(number(length) for length in lengths), held=len(list(self._ours(unacked))))

    def told(self, limit: int) -> Sequence[Told]:
        """What is held first, with the time until a worker puts it back."""
        now, unacked, since, *lists = self._link.together(
            ("TIME",),
            ("HGETALL", _UNACKED),
            ("ZRANGE", _UNACKED_SINCE, 0, -1, "WITHSCORES"),
            *(("LRANGE", key, 0, limit - 1) for key in self._lists),
        )
        now_s = number(items(now)[0])
        taken_s = {tag: float(str(score)) for tag, score in pairs(since).items()}
        found = []
        for tag, message in self._ours(unacked):
            until_s = max(0.0, taken_s[tag] + self._timeout_s - now_s) if tag in taken_s else None
            found.append(_told(message, HELD, until_s))
        found += [_told(message, READY) for each in lists for message in texts(each)]
        return found[:limit]

    def take_rest(self, limit: int) -> Sequence[Told]:
        """What is left can be seen where it is."""
        return self.told(limit)

    def remove(self) -> None:
        """Remove the lists, and this queue's part of what all queues share."""
        tags = [tag for tag, _ in self._ours(self._link.do("HGETALL", _UNACKED))]
        if tags:
            self._link.together(("HDEL", _UNACKED, *tags), ("ZREM", _UNACKED_SINCE, *tags))
        self._link.do("UNLINK", *self._lists, f"_kombu.binding.{self._name}")

    def _ours(self, unacked: Answer) -> Iterator[tuple[str, str]]:
        """The tags and messages that went through this queue."""
        for tag, value in pairs(unacked).items():
            message, _, routing_key = json.loads(str(value))
            if routing_key == self._name:
                yield tag, json.dumps(message)


def _told(message: str, state: str, until_s: float | None = None) -> Told:
    return Told(text=message, state=state, until_s=until_s, redelivered='"redelivered": true' in message)
