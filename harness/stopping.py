"""Ctrl-C, SIGTERM and a closed terminal, while a run is on: the first ends it in order, and nothing interrupts what then is cleaned up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from harness.errors import StoppedError

STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stoppable() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a closed terminal raise `StoppedError` once; then they are ignored until the run is cleaned up."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for name in STOPS:
            signal.signal(name, signal.SIG_IGN)
        raise StoppedError("stopped")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None] = {
        name: signal.signal(name, stop)
        for name in STOPS
        if signal.getsignal(name) is not signal.SIG_IGN  # nohup keeps its word
    }
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
