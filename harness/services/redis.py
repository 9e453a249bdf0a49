"""Redis, in which lists, streams, RQ and Celery keep jobs, and whose keys are places where effects show.

Each form of a queue has its own idea of who holds what: see `harness.services.redis_forms`, `harness.services.redis_rq` and
`harness.services.redis_celery`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from harness.services.base import Client, DoneSpec, Held, Launch, Queue, QueueSpec, ServiceEffects, ServiceError
from harness.services.redis_celery import CeleryQueue
from harness.services.redis_client import OWN_NAME, Known, Link, number, pairs, texts
from harness.services.redis_effects import Key
from harness.services.redis_forms import ListQueue, StreamQueue
from harness.services.redis_rq import RqQueue

_FORMS: Final[Mapping[str, Callable[[Link, QueueSpec], Queue]]] = {
    "list": ListQueue,
    "stream": StreamQueue,
    "rq": RqQueue,
    "celery": CeleryQueue,
}


class _Redis:
    """The kind; see `harness.services.base.Kind`."""

    name = "redis"
    extra = "redis"

    def __init__(self) -> None:
        self._known = Known()

    def launch(self, *, durable: bool) -> Launch | None:
        """Durable is an append-only file that is written before each answer; else nothing is ever written."""
        keeps = ("--appendonly", "yes", "--appendfsync", "always") if durable else ("--appendonly", "no")
        both = ("--save", "", "--daemonize", "no", *keeps)
        return Launch(
            argv=("redis-server", "--bind", "127.0.0.1", "--port", "{port}", "--dir", "{folder}", *both),
            package="redis-server",
            image="redis:7",
            command=("redis-server", "--bind", "*", "--protected-mode", "no", "--port", "6379", "--dir", "/data", *both),
            volume="/data",
            port=6379,
        )

    def url(self, host: str, port: int, folder: Path) -> str:  # noqa: ARG002  it has an address
        """``redis://host:port/0``."""
        return f"redis://{host}:{port}/0"

    def own(self, url: str, mark: str) -> str:  # noqa: ARG002  the names of its keys have the mark
        """The same."""
        return url

    def open(self, url: str) -> Client:
        """A client of the server at ``url``."""
        return _Client(url, self._known)


REDIS: Final = _Redis()


class _Client:
    def __init__(self, url: str, known: Known) -> None:
        self._link = Link(url, known)

    def ready(self) -> str:
        """Its version, once all that it has kept is loaded."""
        self._link.do("PING")  # refused meanwhile
        told = str(self._link.do("INFO", "server"))
        return next((line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("redis_version:")), "")

    def cut_connections(self) -> int:
        """Those of all clients and subscribers of this database but our own; replicas of the server keep theirs."""
        own, listed = self._link.together(("CLIENT", "ID"), ("CLIENT", "LIST"))
        clients = [dict(word.partition("=")[::2] for word in line.split()) for line in str(listed).splitlines()]
        database = next(each["db"] for each in clients if each["id"] == str(own))
        here = [each for each in clients if each["db"] == database and not set(each["flags"]) & {"M", "S"}]
        others = [each["id"] for each in here if each["name"] != OWN_NAME]
        return sum(number(killed) for killed in self._link.together(*(("CLIENT", "KILL", "ID", each) for each in others))) if others else 0

    def queue(self, spec: QueueSpec) -> Queue:
        """A queue of one of the forms."""
        return _FORMS[spec.form](self._link, spec)

    def effects(self, spec: DoneSpec) -> ServiceEffects:
        """A key; a queue of results is a key that is read, too."""
        return Key(self._link, spec.name)

    def held(self, key: str) -> Held:
        """What a string, a hash, a set or a list holds; a set sorted by scores is a list."""
        match kind := str(self._link.do("TYPE", key)):
            case "none":
                return Held()
            case "string":
                value = self._link.do("GET", key)
                return Held(value=None if value is None else str(value))
            case "hash":
                return Held(fields={name: str(value) for name, value in pairs(self._link.do("HGETALL", key)).items()})
            case "set":
                return Held(items=tuple(sorted(texts(self._link.do("SMEMBERS", key)))))
            case "list":
                return Held(items=tuple(texts(self._link.do("LRANGE", key, 0, -1))))
            case "zset":
                return Held(items=tuple(texts(self._link.do("ZRANGE", key, 0, -1))))
        raise ServiceError(f"Redis: the key {key} is a {kind}, which holds no state that can be read here")

    def close(self) -> None:
        """End the connection."""
        self._link.close()
