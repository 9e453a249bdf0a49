"""What the kernel tells of processes the moment it happens: the proc connector.

The kernel multicasts a line for every fork, exec and exit over a netlink socket, with the instant on CLOCK_MONOTONIC and, at an exit, the
status (``linux/cn_proc.h``). So the end of a process that is nobody's child here, such as process 1 of a container, is known to the
microsecond and with its status, and so is the end of its descendants. It needs CAP_NET_ADMIN in the first user and pid namespace; where
that is missing `ProcEvents.open` says so, and who asks must do without.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import struct
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Self

_NETLINK_CONNECTOR: Final = 11
_CN_IDX_PROC: Final = 1
_CN_VAL_PROC: Final = 1
_LISTEN: Final = 1
_IGNORE: Final = 2
_NLMSG_DONE: Final = 3
_SOL_NETLINK_BYTES: Final = 4 << 20
_HEADER: Final = struct.Struct("=IHHII")
_CONNECTOR: Final = struct.Struct("=IIIIHH")
_EVENT: Final = struct.Struct("=IIQ")
_EVENT_AT: Final = _HEADER.size + _CONNECTOR.size
_FORK: Final = struct.Struct("=IIII")
_EXEC: Final = struct.Struct("=II")
_EXIT: Final = struct.Struct("=IIII")
_ACKNOWLEDGED: Final = struct.Struct("=I")
_PROC_EVENT_NONE: Final = 0x0
_PROC_EVENT_FORK: Final = 0x1
_PROC_EVENT_EXEC: Final = 0x2
_PROC_EVENT_EXIT: Final = 0x80000000
_ACKNOWLEDGES_WITHIN_S: Final = 0.5
_LATEST: Final = 1000
_MOST_AT_ONCE: Final = 100_000
"""Events that one look reads at most, lest who asks reads for ever."""

_KEPT: Final = 20_000
"""So many processes are remembered, the latest."""


@dataclass(slots=True, kw_only=True)
class Past:
    """What happened to one process: instants in nanoseconds of CLOCK_MONOTONIC, 0 for never seen.

    ``parent`` is the process that forked it, 0 when that was not seen.
    ``status`` is its exit status, 128+N for signal N; ``signalled`` says which of the two. ``ended_ns`` is the end of its first thread:
    where that leaves the others running, the process goes on. ``survived_by_parent``: SIGKILL ended it, and when that was read the process
    that had forked it was not about to end: it still had its memory.
    """

    parent: int = 0
    forked_ns: int = 0
    executed_ns: int = 0
    ended_ns: int = 0
    status: int = -1
    signalled: bool = False
    survived_by_parent: bool = False


class ProcEvents:
    """A thread that reads the connector and remembers what happened to which process. Safe from several threads.

    Who asks reads as well: the kernel has queued an event before the process that it is about goes on, so an answer lacks nothing that has
    happened before the question, whether or not the thread had its turn since then.
    """

    def __init__(self, connector: socket.socket) -> None:
        self._connector = connector
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._tells = True
        self._pasts: OrderedDict[int, Past] = OrderedDict()
        self._overrun = False
        self._wake_reader, self._wake_writer = os.pipe()
        self._thread = threading.Thread(target=self._read, name="jetable-procevents", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls) -> Self | None:
        """Begin to listen; None where the kernel does not let us."""
        family = getattr(socket, "AF_NETLINK", None)
        if family is None:
            return None
        connector = None
        try:
            connector = socket.socket(family, socket.SOCK_DGRAM, _NETLINK_CONNECTOR)
            with suppress(OSError):  # more than usual, so that nothing is lost while this thread waits for its turn
                connector.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), _SOL_NETLINK_BYTES)
            connector.bind((0, _CN_IDX_PROC))
            number = int.from_bytes(os.urandom(3), "little")
            connector.send(_order(_LISTEN, number))
            if not _acknowledged(connector, number):
                connector.close()
                return None
        except OSError:
            if connector is not None:
                connector.close()
            return None
        return cls(connector)

    def past(self, pid: int) -> Past:
        """What is known of a process by now. Of a pid that was used twice, the later one."""
        self._catch_up()
        with self._lock:
            found = self._pasts.get(pid)
            return Past() if found is None else Past(**{name: getattr(found, name) for name in Past.__slots__})

    def executed_since(self, at_ns: int) -> list[int]:
        """The processes that executed a program at ``at_ns`` or later, those that were forked last first; of the latest thousand."""
        self._catch_up()
        with self._lock:
            return [pid for pid, past in islice(reversed(self._pasts.items()), _LATEST) if past.executed_ns >= at_ns and not past.ended_ns]

    @property
    def whole(self) -> bool:
        """False when events were lost since the beginning: then something unseen proves nothing."""
        return not self._overrun

    def close(self) -> None:
        """Stop listening; a second call does nothing. What is known stays known."""
        if self._wake_writer < 0:
            return
        os.write(self._wake_writer, b".")
        self._thread.join()
        with self._reading:
            self._tells = False
        os.close(self._wake_writer)
        os.close(self._wake_reader)
        self._wake_writer = -1
        with suppress(OSError):  # a kernel before 6.6 counts listeners, and would go on telling nobody
            self._connector.send(_order(_IGNORE, 0))
        self._connector.close()

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._connector, select.POLLIN)
        poll.register(self._wake_reader, select.POLLIN)
        while True:
            if self._wake_reader in (fd for fd, _ in poll.poll()):
                return
            self._catch_up()
            if not self._tells:
                return

    def _catch_up(self) -> None:
        """Take all that the kernel has told so far, without waiting for more."""
        with self._reading:
            for _ in range(_MOST_AT_ONCE):
                if not self._tells:
                    return
                try:
                    message = self._connector.recv(1 << 16, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    return
                except OSError as error:
                    self._overrun = True
                    self._tells = error.errno == errno.ENOBUFS  # which says that the kernel had to drop some
                    continue
                self._take(message)

    def _take(self, message: bytes) -> None:
        if len(message) < _EVENT_AT + _EVENT.size + _EXIT.size:  # the kernel sends the whole union, whatever happened
            return
        what, _cpu, at_ns = _EVENT.unpack_from(message, _EVENT_AT)
        at = _EVENT_AT + _EVENT.size
        with self._lock:
            if what == _PROC_EVENT_FORK:
                _, parent, pid, thread_group = _FORK.unpack_from(message, at)
                if pid == thread_group:
                    self._pasts.pop(pid, None)
                    past = self._of(pid)
                    past.parent, past.forked_ns = parent, at_ns
            elif what == _PROC_EVENT_EXEC:
                _, thread_group = _EXEC.unpack_from(message, at)
                past = self._of(thread_group)
                past.executed_ns = at_ns
                # Where another thread executes, the first one ends before.
                past.ended_ns, past.status, past.signalled, past.survived_by_parent = 0, -1, False, False
            elif what == _PROC_EVENT_EXIT:
                pid, thread_group, code, _ = _EXIT.unpack_from(message, at)
                if pid == thread_group:
                    past = self._of(pid)
                    past.ended_ns = at_ns
                    past.signalled = bool(code & 0x7F)
                    past.status = 128 + (code & 0x7F) if code & 0x7F else (code >> 8) & 0xFF
                    past.survived_by_parent = code & 0x7F == signal.SIGKILL and _has_memory(past.parent)

    def _of(self, pid: int) -> Past:
        past = self._pasts.get(pid)
        if past is None:
            past = self._pasts[pid] = Past()
            if len(self._pasts) > _KEPT:
                self._pasts.popitem(last=False)
        return past


def _has_memory(pid: int) -> bool:
    """Whether a process has not begun to end: the kernel takes its memory first (``do_exit``), and kills its pid namespace after that."""
    try:
        return not Path(f"/proc/{pid}/statm").read_bytes().startswith(b"0 ")
    except OSError:
        return False


def _order(operation: int, number: int) -> bytes:
    body = struct.pack("=I", operation)
    connector = _CONNECTOR.pack(_CN_IDX_PROC, _CN_VAL_PROC, 0, number, len(body), 0) + body
    return _HEADER.pack(_HEADER.size + len(connector), _NLMSG_DONE, 0, 0, 0) + connector


def _acknowledged(connector: socket.socket, number: int) -> bool:
    """Whether the kernel acknowledges the order with this number, which comes back raised by one.

    From a pid namespace of its own it takes the order and stays silent; and yet, where somebody else listens, too, events arrive, with
    pids that mean other processes here.
    """
    deadline_s = time.monotonic() + _ACKNOWLEDGES_WITHIN_S
    for _ in range(_MOST_AT_ONCE):
        connector.settimeout(max(0.0, deadline_s - time.monotonic()))  # in the end what came while this thread waited for its turn
        try:
            message = connector.recv(1 << 16)
        except (TimeoutError, BlockingIOError):
            break
        if len(message) < _EVENT_AT + _EVENT.size + _ACKNOWLEDGED.size:
            continue
        _, _, _, ack, _, _ = _CONNECTOR.unpack_from(message, _HEADER.size)
        what, _, _ = _EVENT.unpack_from(message, _EVENT_AT)
        if what == _PROC_EVENT_NONE and ack == number + 1:
            connector.settimeout(None)
            return _ACKNOWLEDGED.unpack_from(message, _EVENT_AT + _EVENT.size) == (0,)
    return False
