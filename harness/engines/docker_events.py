"""What the Docker engine tells of a run's containers as it happens.

One thread reads the engine's event stream, filtered by the run's label. The stream is also how the engine's own end is noticed: while it
lasts, the engine lives. When dockerd is stopped it closes its connections before it stops the containers, so what ends after the stream
did not end by itself, and nobody blames the app for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from harness import marks
from harness.clock import Clock
from harness.dockerd import Daemon, DaemonGoneError, RefusedError, finish, translated

_JOIN_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEvent:
    """One line of the stream, as it was read at ``at_ns``.

    Attributes:
        told_ns: When the engine told of it, by the engine's own clock: two of these are as far apart as the events were, also where the
            thread that reads them had to wait for its turn.
        container: The container's id.
        what: ``die``, ``oom``, ``health_status``, ``kill``, ``destroy`` …
        detail: The health's state, or the signal's number; empty for others.
        status: The exit status of a ``die``; -1 for others.
    """

    at_ns: int
    told_ns: int = 0
    container: str
    what: str
    detail: str = ""
    status: int = -1


class EventStream:
    """Reads the events of a run until it is closed; ``on_lost`` is called once, with a sentence, when the stream ends before."""

    def __init__(
        self, daemon: Daemon, run_id: str, clock: Clock, on_event: Callable[[ContainerEvent], None], on_lost: Callable[[str], None]
    ) -> None:
        self._clock = clock
        self._on_event = on_event
        self._on_lost = on_lost
        self._closing = False
        filters = {"type": "container", "label": f"{marks.LABEL_RUN}={run_id}"}
        with translated():
            self._stream: Any = daemon.api.events(filters=filters, decode=True)
        self._thread = threading.Thread(target=self._read, name="jetable-docker-events", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading; a second call does nothing."""
        self._closing = True
        with suppress(OSError, ValueError):
            self._stream.close()
        self._thread.join(_JOIN_S)

    def _read(self) -> None:
        reason = "it closed the connection"
        try:
            with translated():
                for event in self._stream:
                    self._on_event(_parsed(event, self._clock.now_ns()))
        except (DaemonGoneError, RefusedError) as error:
            reason = str(error)
        except (OSError, ValueError) as error:  # the stream was closed under its reader
            reason = str(error)
        finish(self._stream)
        if not self._closing:
            self._on_lost(f"the Docker engine went away in the middle of the run ({reason}); see its log (journalctl -u docker)")


def _parsed(event: dict[str, Any], at_ns: int) -> ContainerEvent:
    action, _, detail = str(event.get("Action", "")).partition(":")
    attributes = (event.get("Actor") or {}).get("Attributes") or {}
    status = str(attributes.get("exitCode", ""))
    return ContainerEvent(
        at_ns=at_ns,
        told_ns=int(event.get("timeNano") or 0),
        container=str((event.get("Actor") or {}).get("ID", "")),
        what=action,
        detail=detail.strip() or str(attributes.get("signal", "")),
        status=int(status) if status.isdigit() else -1,
    )
