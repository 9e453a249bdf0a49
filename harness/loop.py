"""One thread that waits for many file descriptors.

The instant of an event is taken once, right after the wait, and handed to each callback, so that it does not depend on how long the
callbacks before it took. Callbacks never run at the same time as each other.
"""

from __future__ import annotations

import os
import selectors
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias

from harness.clock import NS_PER_S, Clock

OnReadable: TypeAlias = Callable[[int], object]
"""Gets the instant at which the wait ended, in nanoseconds."""

_JOIN_S: Final = 5.0


class Loop:
    """A thread with a selector. ``tick``, if given, is called about every ``tick_s`` seconds."""

    def __init__(self, name: str, clock: Clock, *, tick: Callable[[], None] | None = None, tick_s: float = 1.0) -> None:
        self.problems: list[Exception] = []
        self._clock = clock
        self._tick = tick
        self._tick_s = tick_s
        self._selector = selectors.DefaultSelector()
        self._calls: deque[Callable[[], object]] = deque()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._on_wake)
        self._stopping = False
        self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Whether the caller is one of this loop's own callbacks."""
        return threading.current_thread() is self._thread

    def call(self, work: Callable[[], object]) -> None:
        """Do ``work`` on the loop's thread, after all that was asked for before; never when the loop was stopped."""
        with self._lock:
            if not self._closed:
                self._calls.append(work)
                with suppress(BlockingIOError):  # a full pipe wakes as well
                    os.write(self._wake_writer, b".")

    def watch(self, fd: int, on_readable: OnReadable) -> None:
        """From now on call ``on_readable`` whenever ``fd`` is readable."""
        self.call(lambda: self._register(fd, on_readable))

    def unwatch(self, fd: int) -> None:
        """Stop watching ``fd``; only for the loop's own callbacks, which may then close it."""
        self._selector.unregister(fd)

    def stop(self) -> None:
        """Do all that was asked for, end the thread and free its descriptors; a second call does nothing."""
        self._stopping = True
        self.call(_nothing)
        self._thread.join(_JOIN_S)
        with self._lock:
            if self._closed or self._thread.is_alive():
                return
            self._closed = True
            self._selector.close()
            os.close(self._wake_reader)
            os.close(self._wake_writer)

    def _register(self, fd: int, on_readable: OnReadable) -> None:
        self._selector.register(fd, selectors.EVENT_READ, on_readable)

    def _on_wake(self, _at_ns: int) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)

    def _run(self) -> None:
        next_tick_ns = self._clock.now_ns() + round(self._tick_s * NS_PER_S)
        while not (self._stopping and not self._calls):
            wait_s = None if self._tick is None else max(0.0, (next_tick_ns - self._clock.now_ns()) / NS_PER_S)
            events = self._selector.select(wait_s)
            at_ns = self._clock.now_ns()
            for key, _ in events:
                self._guard(partial(key.data, at_ns))
            while self._calls:
                self._guard(self._calls.popleft())
            if self._tick is not None and at_ns >= next_tick_ns:
                next_tick_ns = at_ns + round(self._tick_s * NS_PER_S)
                self._guard(self._tick)

    def _guard(self, work: Callable[[], object]) -> None:
        """One callback that fails must not leave the other descriptors unwatched; whoever owns the loop raises ``problems``."""
        try:
            work()
        except Exception as problem:  # noqa: BLE001  kept, and raised by the owner
            self.problems.append(problem)


def _nothing() -> None:
    """Only wake the loop."""
