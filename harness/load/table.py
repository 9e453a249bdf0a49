"""The routing table: which replicas get requests, and what is on its way to each, shared by the harness and the load process.

Both map the same piece of memory. The harness writes which replicas are *published*; the load process writes five counters for each of
them. Every number is one aligned 64-bit word, stored and loaded in one move, and has one writer. Nothing is sent and nobody waits, so
the harness knows within microseconds that a request is in flight, and a withdrawal counts from the very next choice on.

The order of stores is what makes `endpoint_lag: 0s` exact. To route a request, the load process

1. chooses a replica that it believes to be published,
2. adds one to the replica's *on the way*,
3. loads the replica's state again; if it is no longer published, it takes the one away and goes back to 1,
4. sends the request, adds one to *sent* and one to *in flight*, and takes one away from *on the way*.

To withdraw a replica, the harness

a. stores the state *withdrawn*,
b. waits until *on the way* is zero.

Whichever of 2 and a comes first, the other side sees it: if a came before 3, the request goes elsewhere; if a came after 3, then 2 came
before b, and b waits for 4. So after b everything that will ever reach the replica has been handed to the kernel, and shows in *in
flight* (which grows before *on the way* shrinks, so that no request is ever in neither). This is Dekker's handshake; it needs a full
memory barrier between 2 and 3 and between a and b, because a processor may let a load overtake an earlier store: see `fence`.

*In flight* shrinks with the first byte of an answer: what the app has begun to answer may be over before anybody can act on it. Until
the answer is over the request counts as *answering*, which grows before *in flight* shrinks.
*Sent* only grows, and before *in flight* does: who finds something in flight at two instants and *sent* unchanged between them has seen
one lasting request, not many short ones.

The harness can set a *hold* on a replica, to have connections there on which no byte has left. A request that finds it set makes a new
connection, and then waits before step 4; while it does, it counts as *held* and not as on the way, so that a withdrawal does not wait
for it. It goes on when the hold is released, when nobody is at the address or the replica is forgotten, and after `HOLD_S` at the
latest; a withdrawal does not end a hold, since it comes just before a signal and the release right after it. *Held* grows before
*on the way* shrinks, and the other way round at its end. So, with a hold, what b promises is this: everything that will ever reach the
replica has been handed to the kernel or is held; and who then finds *held* zero, and after that *on the way* zero, knows that nothing
will leave any more. No more than `HELD_AT_ONCE` requests are held on one replica, the others pass.
"""

from __future__ import annotations

import _thread
import ipaddress
import mmap
import os
import platform
import socket
import tempfile
import threading
import time
from collections.abc import Collection
from typing import Final

from harness.errors import MachineError

SLOTS: Final = 4096
"""Replicas that can be known at one time."""

HELD_AT_ONCE: Final = 3
"""Requests that a hold keeps back on one replica; the load goes on with the others."""

HOLD_S: Final = 1.0
"""No request is held for longer, should nobody release it."""

FREE: Final = 0
PUBLISHED: Final = 1
WITHDRAWN: Final = 2

# The words of the table's head.
VERSION: Final = 0  # the harness adds one after each change
STEP: Final = 1  # the step in progress
USED: Final = 2  # slots that were ever used
SENDING: Final = 8  # 1 as soon as the load process sends
BEGUN: Final = 9  # ops that it has begun

# The words and bytes of a slot. A state word is a generation and a state, so that a slot that was reused looks different.
_HEAD_WORDS: Final = 64
_SLOT_WORDS: Final = 40
_STATE: Final = 0
_PORT: Final = 1
_NAME_LENGTH: Final = 2
_HOST_LENGTH: Final = 3
_ON_THE_WAY: Final = 4
_IN_FLIGHT: Final = 5
_SENT: Final = 6
_VANISHED: Final = 7
_ANSWERING: Final = 8
_HOLD: Final = 9
_HELD: Final = 10
_COUNTERS: Final = (_ON_THE_WAY, _IN_FLIGHT, _ANSWERING, _HELD)
_TEXT_BYTES: Final = 128
_NAME_BYTES: Final = 128
_HOST_BYTES: Final = 64
_SIZE: Final = 8 * (_HEAD_WORDS + SLOTS * _SLOT_WORDS)
_STATES: Final = 4

_STRONG_ORDER: Final = platform.machine().lower() in ("x86_64", "amd64")
"""A store can only be overtaken by a load here, and `fence` prevents that; waiting longer would give a short request time to end."""

_SETTLE_S: Final = 0.00005
_barrier: Final = _thread.allocate_lock()


def fence() -> None:
    """Let no later load overtake an earlier store.

    Taking a lock is an atomic exchange, which is a full barrier on x86. Where it is weaker (ARM), `Publisher.withdraw` also waits for
    longer than a store can stay invisible.
    """
    _barrier.acquire()
    _barrier.release()


class Table:
    """The shared memory itself, by words and by bytes. ``fd`` is what the load process inherits."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, _SIZE)
        self.bytes = memoryview(self._map)
        self.words = self.bytes.cast("q")

    @classmethod
    def create(cls) -> Table:
        """A new table that exists in memory only.

        Raises:
            MachineError: There is no memory for it.
        """
        try:
            fd = anonymous_file("jetable-routing")
            os.ftruncate(fd, _SIZE)
            return cls(fd)
        except OSError as error:
            raise MachineError(f"no shared memory for the routing table: {error.strerror}") from error

    def close(self) -> None:
        """Close the descriptor; the memory stays mapped as long as somebody holds this object. A second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def anonymous_file(name: str) -> int:
    """A descriptor of a file without a path, in memory where the system can do that."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _slot_at(slot: int) -> int:
    """The first word of a slot."""
    return _HEAD_WORDS + slot * _SLOT_WORDS


class Publisher:
    """The harness's side. Safe from several threads; a name that is not in the table is published nowhere and has no requests."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._words = table.words
        self._slots: dict[str, int] = {}
        self._addresses: dict[str, tuple[str, int]] = {}
        self._leaving: list[int] = []
        self._lock = threading.Lock()

    def publish(self, name: str, host: str, port: int) -> None:
        """From now on ``name`` gets requests at ``host`` and ``port``; raises `MachineError` when there is no place or no such host."""
        address = _address_of(host)
        with self._lock:
            if self._addresses.get(name) != (address, port):
                self._forget(name)
                self._enter(name, address, port)
            self._set(_slot_at(self._slots[name]), PUBLISHED)

    def withdraw(self, name: str) -> None:
        """From now on no request is routed to ``name``; `on_the_way` tells how many were and have not left."""
        with self._lock:
            slot = self._slots.get(name)
            if slot is None:
                return
            self._set(_slot_at(slot), WITHDRAWN)
        fence()
        if not _STRONG_ORDER:
            time.sleep(_SETTLE_S)

    def vanish(self, name: str) -> None:
        """Nobody is at the address of ``name`` any more: a connection there would not even be refused, and none is tried from now on."""
        self._write(name, _VANISHED, 1)

    def forget(self, name: str) -> None:
        """Withdraw ``name`` for good. Its place is used again when no request is under way to it any more."""
        with self._lock:
            self._forget(name)

    def hold(self, name: str) -> None:
        """From now on a few requests to ``name`` wait on a new connection before their first byte leaves; see the head of this module."""
        self._write(name, _HOLD, 1)

    def release(self, name: str) -> None:
        """What is held on ``name`` goes on, and nothing more is held."""
        self._write(name, _HOLD, 0)

    def on_the_way(self, name: str) -> int:
        """Requests that were routed to ``name`` and have not left, without those that are held."""
        return self._read(name, _ON_THE_WAY)

    def held(self, name: str) -> int:
        """Requests that have a connection to ``name`` and wait for the release of a hold."""
        return self._read(name, _HELD)

    def in_flight(self, name: str) -> int:
        """Requests that have left for ``name`` and of whose answer no byte has come."""
        return self._read(name, _IN_FLIGHT)

    def answering(self, name: str) -> int:
        """Requests that ``name`` has begun to answer, and whose answer is not over."""
        return self._read(name, _ANSWERING)

    def sent(self, name: str) -> int:
        """Requests that have left for ``name`` so far."""
        return self._read(name, _SENT)

    def address_of(self, name: str) -> tuple[str, int] | None:
        """Where ``name`` was published, until it is forgotten."""
        return self._addresses.get(name)

    def set_step(self, step: int) -> None:
        """Ops that begin from now on belong to ``step``."""
        self._words[STEP] = step

    def _read(self, name: str, word: int) -> int:
        slot = self._slots.get(name)
        return 0 if slot is None else self._words[_slot_at(slot) + word]

    def _write(self, name: str, word: int, value: int) -> None:
        with self._lock:
            slot = self._slots.get(name)
            if slot is not None:
                self._words[_slot_at(slot) + word] = value

    def _forget(self, name: str) -> None:
        self._addresses.pop(name, None)
        slot = self._slots.pop(name, None)
        if slot is not None:
            self._set(_slot_at(slot), FREE)
            self._leaving.append(slot)

    def _enter(self, name: str, address: str, port: int) -> None:
        """Write what does not change as long as the slot is used; its state is still *free*, so nobody reads it."""
        texts = (name.encode(), address.encode())
        if len(texts[0]) > _NAME_BYTES or len(texts[1]) > _HOST_BYTES:
            raise MachineError(f"{name!r} at {address!r} is too long for the routing table ({_NAME_BYTES} and {_HOST_BYTES} bytes)")
        slot = self._take()
        words, at = self._words, _slot_at(slot)
        words[at + _VANISHED] = words[at + _HOLD] = 0
        words[at + _PORT] = port
        words[at + _NAME_LENGTH], words[at + _HOST_LENGTH] = map(len, texts)
        for text, start in zip(texts, (at * 8 + _TEXT_BYTES, at * 8 + _TEXT_BYTES + _NAME_BYTES), strict=True):
            self._table.bytes[start : start + len(text)] = text
        fence()
        self._slots[name] = slot
        self._addresses[name] = (address, port)

    def _take(self) -> int:
        """A slot that nobody uses, of a new generation."""
        words = self._words
        for slot in self._leaving:
            at = _slot_at(slot)
            if not any(words[at + counter] for counter in _COUNTERS):
                self._leaving.remove(slot)
                words[at + _STATE] += _STATES
                words[at + _SENT] = 0  # nothing is under way, so the load process does not write it
                return slot
        slot = words[USED]
        if slot == SLOTS:
            raise MachineError(f"more than {SLOTS} replicas at one time")
        words[USED] = slot + 1
        return slot

    def _set(self, at: int, state: int) -> None:
        words = self._words
        words[at + _STATE] += state - words[at + _STATE] % _STATES
        fence()
        words[VERSION] += 1


def _address_of(host: str) -> str:
    """``host`` as an IP address, so that the load process never waits for a name server."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        try:
            return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
        except OSError as error:
            raise MachineError(f"the replica's host {host!r} has no address: {error.strerror}") from error
    return host


class Route:
    """One replica as the load process sees it, with the words in which it counts what is under way.

    Attributes:
        name: The replica's name.
        address: Where to connect to.
        authority: What the Host header says.
        words: The table's words.
        way: The index of *on the way*.
        sent: The index of *sent*.
        flight: The index of *in flight*.
        answering: The index of *answering*.
        held: The index of *held*.
        hold: The index of the hold itself.
    """

    __slots__ = (
        "_published",
        "_state",
        "_vanished",
        "address",
        "answering",
        "authority",
        "flight",
        "held",
        "hold",
        "name",
        "sent",
        "way",
        "words",
    )

    def __init__(self, words: memoryview[int], at: int, name: str, address: tuple[str, int]) -> None:
        self.name = name
        self.address = address
        host, port = address
        self.authority = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()
        self.words = words
        self._state = at + _STATE
        self._vanished = at + _VANISHED
        self._published = words[at + _STATE] // _STATES * _STATES + PUBLISHED
        self.way = at + _ON_THE_WAY
        self.sent = at + _SENT
        self.flight = at + _IN_FLIGHT
        self.answering = at + _ANSWERING
        self.held = at + _HELD
        self.hold = at + _HOLD

    @property
    def gone(self) -> bool:
        """True when the replica was forgotten, also when its place has been given to another one."""
        state = self.words[self._state]
        return state // _STATES != self._published // _STATES or state % _STATES == FREE

    @property
    def vanished(self) -> bool:
        """True when nobody is at its address any more, not even a kernel that would refuse a connection."""
        same = self.words[self._state] // _STATES == self._published // _STATES
        return same and self.words[self._vanished] == 1

    @property
    def held_back(self) -> bool:
        """True while a hold is set on it; for somebody who has a request reserved or held here, as the place can't change hands then."""
        return self.words[self.hold] == 1

    @property
    def published(self) -> bool:
        """True when it gets new requests."""
        return self.words[self._state] == self._published

    def reserve(self) -> bool:
        """Count a request as on the way; false, with nothing counted, when the replica is not published (steps 2 and 3)."""
        words = self.words
        words[self.way] += 1
        fence()
        if words[self._state] == self._published:
            return True
        self.release()
        return False

    def release(self) -> None:
        """The request that was reserved will not leave."""
        self.words[self.way] -= 1


def lone_route(name: str, host: str, port: int) -> Route:
    """A route to something that is in no table, such as the control server."""
    words = memoryview(bytearray(8 * _SLOT_WORDS)).cast("q")
    words[_STATE] = PUBLISHED
    return Route(words, 0, name, (host, port))


class Router:
    """The load process's side: spreads ops evenly over what is published, in turns that begin at ``start``."""

    def __init__(self, table: Table, *, start: int = 0) -> None:
        self._table = table
        self._words = table.words
        self._version = -1
        self._turn = self._detour = start
        self._known: dict[int, Route] = {}
        self._published: list[Route] = []
        self.gone: list[Route] = []
        """Routes that were forgotten since somebody last emptied this list; their connections can be closed."""

    def pick(self, tried: Collection[Route] = ()) -> Route | None:
        """The next published replica that is not in ``tried``, with a request reserved on it; None when there is none left."""
        while True:
            if self._words[VERSION] != self._version:
                self._read()
            if tried:
                # A detour has turns of its own: otherwise the neighbour of a replica that is down would get that one's whole share.
                routes = [route for route in self._published if route not in tried]
                turn = self._detour = self._detour + 1
            else:
                routes = self._published
                turn = self._turn = self._turn + 1
            if not routes:
                return None
            route = routes[turn % len(routes)]
            if route.reserve():
                return route
            self._version = -1  # withdrawn a moment ago: read the table again before the next choice

    @property
    def leaving(self) -> list[Route]:
        """Replicas that get no new requests and are not forgotten yet: those that are being stopped."""
        if self._words[VERSION] != self._version:
            self._read()
        return [route for route in self._known.values() if not route.published]

    def _read(self) -> None:
        words = self._words
        self._version = words[VERSION]  # before the slots are read: a change in between is then seen at the next choice
        for slot in range(words[USED]):
            state = words[_slot_at(slot) + _STATE]
            known = self._known.get(slot)
            if known is not None and known.gone:
                self.gone.append(self._known.pop(slot))
                known = None
            if known is None and state % _STATES != FREE:
                self._known[slot] = self._route(slot)
        self._published = [route for route in self._known.values() if route.published]

    def _route(self, slot: int) -> Route:
        words, at = self._words, _slot_at(slot)
        start = at * 8 + _TEXT_BYTES
        name = bytes(self._table.bytes[start : start + words[at + _NAME_LENGTH]]).decode()
        start += _NAME_BYTES
        host = bytes(self._table.bytes[start : start + words[at + _HOST_LENGTH]]).decode()
        return Route(words, at, name, (host, words[at + _PORT]))
