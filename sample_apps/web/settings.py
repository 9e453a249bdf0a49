"""What the environment says.

* ``PORT``: the TCP port to listen on; required.
* ``HOST``: the address to listen on; 127.0.0.1.
* ``WEB_CONCURRENCY``: gunicorn workers; 1.
* ``GRACEFUL_TIMEOUT``: seconds after SIGTERM in which what is in flight may still be answered; 30.
* ``GRACEFUL_SIGNAL``: what asks for that end; ``SIGTERM``. With ``SIGQUIT`` the two change places: SIGTERM ends the app at once.
* ``TLS_CERT`` and ``TLS_KEY``: files in PEM form with the certificate and its key; with them the app speaks TLS; none. ``tls/`` has a pair.
* ``REDIS_URL``: where the items live, when it is set: ``redis://``, ``rediss://`` or ``unix://``.
* ``DATABASE_PATH``: otherwise the SQLite file that all replicas share, in a folder that exists; ``items.db`` in the temporary folder.
* ``DEFECT``: a name in ``defects.py``; none.
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sample_apps.web.defects import DEFECTS

if TYPE_CHECKING:
    from collections.abc import Mapping

_REDIS_SCHEMES: Final = ("redis", "rediss", "unix")
_GRACEFUL_SIGNALS: Final = ("SIGTERM", "SIGQUIT")


class SettingsError(ValueError):
    """One sentence that names the environment variable which is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The app's whole configuration.

    Attributes:
        host: The address to bind.
        port: The TCP port to bind, 1 to 65535.
        workers: How many gunicorn workers serve, at least 1.
        graceful_timeout_s: Seconds after SIGTERM until what is still in flight is cut.
        graceful_signal: ``SIGTERM`` or ``SIGQUIT``; the other one of them ends the app at once.
        tls: The certificate's file and its key's, or ``None`` for plain HTTP.
        redis_url: Where the items live, or ``None`` for SQLite.
        database_path: The SQLite file when ``redis_url`` is ``None``.
        defect: The planted defect's name, or ``None``.
    """

    host: str
    port: int
    workers: int
    graceful_timeout_s: int
    graceful_signal: str
    tls: tuple[str, str] | None
    redis_url: str | None
    database_path: Path
    defect: str | None


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings that ``environment`` asks for; an empty variable counts as unset.

    Raises:
        SettingsError: A variable is missing or can't be used.
    """
    defect = environment.get("DEFECT") or None
    if defect is not None and defect not in DEFECTS:
        raise SettingsError(f"DEFECT must be one of {', '.join(sorted(DEFECTS))}, not {defect!r}.")
    redis_url = _redis_url(environment)
    return Settings(
        host=_host(environment),
        port=_whole_number(environment, "PORT", default=None, lowest=1, highest=65535),
        workers=_whole_number(environment, "WEB_CONCURRENCY", default=1, lowest=1, highest=64),
        graceful_timeout_s=_whole_number(environment, "GRACEFUL_TIMEOUT", default=30, lowest=0, highest=3600),
        graceful_signal=_graceful_signal(environment),
        tls=_tls(environment),
        redis_url=redis_url,
        database_path=Path(tempfile.gettempdir()) / "items.db" if redis_url else _database_path(environment),
        defect=defect,
    )


def _host(environment: Mapping[str, str]) -> str:
    host = environment.get("HOST") or "127.0.0.1"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.bind(address)
    except (OSError, UnicodeError):
        raise SettingsError(f"HOST must be an address of this machine, or 0.0.0.0 for all of them, not {host!r}.") from None
    return host


def _graceful_signal(environment: Mapping[str, str]) -> str:
    name = environment.get("GRACEFUL_SIGNAL") or _GRACEFUL_SIGNALS[0]
    if name not in _GRACEFUL_SIGNALS:
        raise SettingsError(f"GRACEFUL_SIGNAL must be one of {', '.join(_GRACEFUL_SIGNALS)}, not {name!r}.")
    return name


def _tls(environment: Mapping[str, str]) -> tuple[str, str] | None:
    certificate, key = environment.get("TLS_CERT", ""), environment.get("TLS_KEY", "")
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise SettingsError("TLS_CERT and TLS_KEY belong together, and only one of them is set.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError):
        raise SettingsError(f"TLS_CERT and TLS_KEY must be files in PEM form that fit together, not {certificate!r} and {key!r}.") from None
    return certificate, key


def _redis_url(environment: Mapping[str, str]) -> str | None:
    url = environment.get("REDIS_URL") or None
    if url is None:
        return None
    scheme, colon, rest = url.partition("://")
    if scheme not in _REDIS_SCHEMES or not colon or not rest:
        raise SettingsError(f"REDIS_URL must begin with {', '.join(f'{name}://' for name in _REDIS_SCHEMES)}, not be {url!r}.")
    try:
        port_is_good = urlsplit(url).port != 0
    except ValueError:  # no number, or too large a one
        port_is_good = False
    if not port_is_good:
        raise SettingsError("REDIS_URL must name a port from 1 to 65535, or none.")
    return url


def _database_path(environment: Mapping[str, str]) -> Path:
    path = Path(environment.get("DATABASE_PATH") or Path(tempfile.gettempdir()) / "items.db")
    folder = path.parent
    if not folder.is_dir():
        raise SettingsError(f"DATABASE_PATH must be in a folder that exists, and there is no folder {str(folder)!r}.")
    if path.is_dir():
        raise SettingsError(f"DATABASE_PATH must be a file, and {str(path)!r} is a folder.")
    writable = os.access(folder, os.W_OK | os.X_OK) and (not path.exists() or os.access(path, os.R_OK | os.W_OK))
    if not writable:
        raise SettingsError(f"DATABASE_PATH must be a file that can be written in a folder that can, and {str(path)!r} is not.")
    return path


def _whole_number(environment: Mapping[str, str], name: str, *, default: int | None, lowest: int, highest: int) -> int:
    text = environment.get(name, "")
    if not text and default is not None:
        return default
    if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= highest:
        problem = f"not {text!r}" if text else "and it is not set"
        raise SettingsError(f"{name} must be a whole number from {lowest} to {highest}, {problem}.")
    return int(text)
