"""The first look at a container's port, taken before the engine has said that the container runs.

A runtime answers the order to start some milliseconds after the command is executed, and later when it is busy. An app that listens sooner
would be seen that much too late. So, while the engine is at it, a thread waits for the kernel's word that process 1 was executed, and then
asks the socket table of its network namespace each millisecond.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

from harness.clock import NS_PER_S, Clock
from harness.procevents import ProcEvents
from harness.sockets import ListenTable

_LOOK_EVERY_S: Final = 0.001
_LONGEST_NS: Final = 60 * NS_PER_S


class FirstLook:
    """Looks from its creation until `end`."""

    def __init__(self, kernel: ProcEvents, clock: Clock, container: str, port: int) -> None:
        self._kernel = kernel
        self._clock = clock
        self._container = container
        self._port = port
        self._open_ns = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="jetable-first-look", daemon=True)
        self._thread.start()

    def end(self) -> int:
        """Stop looking; the instant before the look that found the port open, 0 when none did."""
        self._stop.set()
        self._thread.join()
        return self._open_ns

    def _look(self) -> None:
        since_ns = self._clock.now_ns()
        table: ListenTable | None = None
        while not self._stop.is_set() and self._clock.now_ns() - since_ns < _LONGEST_NS:
            at_ns = self._clock.now_ns()
            if table is None:
                pid = next((pid for pid in self._kernel.executed_since(since_ns) if _is_first_of(self._container, pid)), 0)
                table = ListenTable(Path(f"/proc/{pid}/ns/net")) if pid else None
            elif any(found.port == self._port and not found.loopback for found in table.listeners() or ()):
                self._open_ns = at_ns
                break
            self._stop.wait(_LOOK_EVERY_S)
        if table is not None:
            table.close()


def _is_first_of(container: str, pid: int) -> bool:
    """Whether a process is process 1 of a container, with a network namespace of its own by now."""
    try:
        if container not in Path(f"/proc/{pid}/cgroup").read_text():
            return False
        status = Path(f"/proc/{pid}/status").read_text()
        apart = os.stat(f"/proc/{pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116  no path is meant
    except OSError:
        return False
    numbers = next((line.split() for line in status.splitlines() if line.startswith("NSpid:")), [])
    return apart and numbers[-1:] == ["1"]
