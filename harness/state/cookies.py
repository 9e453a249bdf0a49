"""The cookies of one session, carried by hand to every replica.

A browser keeps cookies by host, and sees one host whatever stands behind it. Replicas have addresses of their own here, so what RFC 6265
says of hosts, ports and Secure is left out: whatever one replica sets, the next one gets. Paths and ends are kept as there (5.1.4, 5.3).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_NEVER: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""What ends before this has ended, where an answer does not say what day it is."""


_SECONDS: Final = re.compile(r"-?[0-9]+")


class Cookies:
    """The cookies of one session."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], str] = {}

    def take(self, headers: tuple[tuple[str, str], ...], asked: str) -> None:
        """Keep what an answer sets; ``headers`` with names in small letters, ``asked`` the path of the request."""
        date = _instant(next((value for name, value in headers if name == "date"), "")) or _NEVER
        for name, value in headers:
            if name == "set-cookie":
                self._set(value, asked, date)

    def header(self, asked: str) -> str:
        """What the header Cookie of a request to the path ``asked`` holds; empty for none. Longer paths first (RFC 6265, 5.4)."""
        path = asked.partition("?")[0]
        fit = [(of, name, value) for (name, of), value in self._kept.items() if _covers(of, path)]
        return "; ".join(f"{name}={value}" for of, name, value in sorted(fit, key=lambda cookie: -len(cookie[0])))

    def _set(self, written: str, asked: str, date: datetime) -> None:
        pair, *attributes = written.split(";")
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            return
        told = {key.strip().lower(): given.strip() for key, _, given in (attribute.partition("=") for attribute in attributes)}
        of = told.get("path", "")
        key = name.strip(), of if of.startswith("/") else _folder(asked)
        if _has_ended(told, date):
            self._kept.pop(key, None)
        else:
            self._kept[key] = value.strip()


def _has_ended(told: dict[str, str], date: datetime) -> bool:
    """Whether a cookie with these attributes is to be forgotten; Max-Age counts before Expires."""
    age = told.get("max-age", "")
    if _SECONDS.fullmatch(age):
        return age.startswith("-") or not age.strip("0")
    ends = _instant(told.get("expires", ""))
    return ends is not None and ends <= date


def _instant(written: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(written)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _folder(asked: str) -> str:
    """The path of a cookie that names none."""
    path = asked.partition("?")[0]
    return path[: path.rfind("/")] or "/"


def _covers(of: str, path: str) -> bool:
    return path == of or (path.startswith(of) and (of.endswith("/") or path[len(of) :].startswith("/")))
