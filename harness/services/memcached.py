"""memcached: a cache that some apps need; it has no jobs, and shows no effects, since it may forget whatever it holds."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from harness.errors import KeyOfScenarioError
from harness.services.base import TIMEOUT_S, Client, DoneSpec, Launch, Queue, QueueSpec, ServiceEffects, ServiceError

_DEFAULT_PORT: Final = 11211
_LONGEST: Final = 4096


class _Memcached:
    """The kind; see `harness.services.base.Kind`."""

    name = "memcached"
    extra = ""

    def launch(self, *, durable: bool) -> Launch | None:  # noqa: ARG002  it keeps nothing
        """Without UDP. Started by root it becomes nobody, as it refuses to be root."""
        return Launch(
            argv=("memcached", "-l", "127.0.0.1", "-p", "{port}", "-U", "0", "-u", "nobody"),
            package="memcached",
            image="memcached:1.6",
            command=("memcached", "-l", "0.0.0.0", "-p", str(_DEFAULT_PORT), "-U", "0", "-u", "nobody"),  # noqa: S104  of the container
            port=_DEFAULT_PORT,
        )

    def url(self, host: str, port: int, folder: Path) -> str:  # noqa: ARG002  it has an address
        """``memcached://host:port``."""
        return f"memcached://{host}:{port}"

    def own(self, url: str, mark: str) -> str:  # noqa: ARG002  nothing is put into it
        """The same."""
        return url

    def open(self, url: str) -> Client:
        """A client of the server at ``url``."""
        return _Client(url)


MEMCACHED: Final = _Memcached()


class _Client:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or _DEFAULT_PORT)

    def ready(self) -> str:
        """Its version, asked in the text protocol over a connection of its own."""
        try:
            with closing(socket.create_connection(self._address, timeout=TIMEOUT_S)) as connection:
                connection.settimeout(TIMEOUT_S)
                connection.sendall(b"version\r\n")
                with connection.makefile("rb") as answers:
                    answer = answers.readline(_LONGEST)
        except OSError as error:
            raise ServiceError(f"memcached: {error.strerror or error}") from error
        word, _, version = answer.decode(errors="replace").strip().partition(" ")
        if word != "VERSION":
            raise ServiceError("memcached: something else answers on its port")
        return version

    def cut_connections(self) -> int:
        """It has no command for that."""
        raise ServiceError("memcached can't be told to close its connections")

    def queue(self, spec: QueueSpec) -> Queue:  # noqa: ARG002  there is none
        """It has no queues."""
        raise KeyOfScenarioError(("jobs", "service"), "memcached has no queues")

    def effects(self, spec: DoneSpec) -> ServiceEffects:  # noqa: ARG002  there are none
        """It shows no effects."""
        raise KeyOfScenarioError(("jobs", "done"), "memcached may forget what it holds, so no effect can be seen in it for sure")

    def close(self) -> None:
        """No connection stays open."""
