"""What the environment says.

* ``PORT``: the TCP port to listen on; required.
* ``HOST``: the address to listen on; 127.0.0.1.
* ``TICK_MS``: milliseconds from one event to the next; 20.
* ``RETRY_MS``: the reconnection time that clients of server-sent events are told; unset: they are told none.
* ``DEFECT``: a name in `DEFECTS`; none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFECTS: Final[dict[str, str]] = {
    "ignores-last-id": "a client that comes back gets only what happens from then on",
    "repeats-events": "a client that comes back gets again the last three events that it has",
    "skips-events": "every 10th event is left out",
    "no-ids": "events carry no id",
    "cuts-streams": "SIGTERM closes the connections of streams in the middle: no last chunk, no close frame",
    "holds-streams": "streams go on after SIGTERM for as long as their clients listen",
    "cuts-polls": "SIGTERM closes the connections of long polls without an answer",
    "refuses-resumption": "a client that comes back is answered 500",
}
"""Every planted defect and what it does."""


class SettingsError(ValueError):
    """One sentence that names the environment variable which is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The app's whole configuration.

    Attributes:
        host: The address to bind.
        port: The TCP port to bind, 1 to 65535.
        tick_ms: Milliseconds from one event to the next.
        retry_ms: What clients are told to wait before they connect again; ``None`` for nothing.
        defect: The planted defect's name, or ``None``.
    """

    host: str
    port: int
    tick_ms: int
    retry_ms: int | None
    defect: str | None


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings that ``environment`` asks for; an empty variable counts as unset.

    Raises:
        SettingsError: A variable is missing or can't be used.
    """
    defect = environment.get("DEFECT") or None
    if defect is not None and defect not in DEFECTS:
        raise SettingsError(f"DEFECT must be one of {', '.join(sorted(DEFECTS))}, not {defect!r}.")
    return Settings(
        host=environment.get("HOST") or "127.0.0.1",
        port=_whole_number(environment, "PORT", "", highest=65535),
        tick_ms=_whole_number(environment, "TICK_MS", "20", highest=60_000),
        retry_ms=_whole_number(environment, "RETRY_MS", "", highest=60_000) if environment.get("RETRY_MS") else None,
        defect=defect,
    )


def _whole_number(environment: Mapping[str, str], name: str, default: str, *, highest: int) -> int:
    text = environment.get(name) or default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= highest:
        problem = f"not {text!r}" if text else "and it is not set"
        raise SettingsError(f"{name} must be a whole number from 1 to {highest}, {problem}.")
    return int(text)
