"""What the environment says.

* ``PORT``: the TCP port to listen on; required.
* ``HOST``, ``WEB_CONCURRENCY``, ``GRACEFUL_TIMEOUT``: as the web sample has them.
* ``DATABASE_URL``: where the state lives: ``postgresql://…``, or ``sqlite:////path/to/file.db``.
* ``REDIS_URL``: otherwise a Redis.
* ``DATABASE_PATH``: otherwise a SQLite file that all replicas share; ``items.db`` in the temporary folder.
* ``MEMCACHED_URL``: where sessions live, ``memcached://host:port``; with all the rest.
* ``DEFECT``: a name in ``defects.py``; none.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from sample_apps.state.defects import DEFECTS
from sample_apps.web.settings import SettingsError
from sample_apps.web.settings import read_settings as read_of_web

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Settings", "SettingsError", "read_settings"]

_POSTGRES: Final = ("postgresql://", "postgres://")
_SQLITE: Final = "sqlite:///"
_MEMCACHED: Final = "memcached://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The app's whole configuration.

    Attributes:
        host: The address to bind.
        port: The TCP port to bind, 1 to 65535.
        workers: How many gunicorn workers serve, at least 1.
        graceful_timeout_s: Seconds after SIGTERM until what is still in flight is cut.
        postgres_url: Where the state lives, or ``None``.
        redis_url: Where it lives without a ``postgres_url``, or ``None``.
        database_path: The SQLite file, without both.
        memcached_url: Where sessions live, or ``None``: with all the rest.
        defect: The planted defect's name, or ``None``.
    """

    host: str
    port: int
    workers: int
    graceful_timeout_s: int
    postgres_url: str | None
    redis_url: str | None
    database_path: Path
    memcached_url: str | None
    defect: str | None

    @property
    def replica(self) -> str:
        """What tells this replica from others, in containers and without."""
        return f"{socket.gethostname()}-{self.port}"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings that ``environment`` asks for; an empty variable counts as unset.

    Raises:
        SettingsError: A variable is missing or can't be used.
    """
    defect = environment.get("DEFECT") or None
    if defect is not None and defect not in DEFECTS:
        raise SettingsError(f"DEFECT must be one of {', '.join(sorted(DEFECTS))}, not {defect!r}.")
    url = environment.get("DATABASE_URL") or ""
    asked = dict(environment) | {"DEFECT": ""}
    if url.startswith(_SQLITE):
        asked |= {"DATABASE_PATH": unquote(urlsplit(url).path)[1:], "REDIS_URL": ""}
    elif url and not url.startswith(_POSTGRES):
        raise SettingsError(f"DATABASE_URL must begin with postgresql:// or {_SQLITE}, not be {url!r}.")
    memcached_url = environment.get("MEMCACHED_URL") or None
    if memcached_url is not None and not memcached_url.startswith(_MEMCACHED):
        raise SettingsError(f"MEMCACHED_URL must begin with {_MEMCACHED}, not be {memcached_url!r}.")
    web = read_of_web(asked)
    return Settings(
        host=web.host,
        port=web.port,
        workers=web.workers,
        graceful_timeout_s=web.graceful_timeout_s,
        postgres_url=url if url.startswith(_POSTGRES) else None,
        redis_url=web.redis_url,
        database_path=web.database_path,
        memcached_url=memcached_url,
        defect=defect,
    )
