"""A backing service whose answers come later: what stands between a target and its service in a bench with ``service-slow``.

The target is given the address of a `Link` instead of the service's own. A link connects to the service for each connection that it takes,
hands on at once what the target says, and holds back what the service says by a delay that can be changed meanwhile. It is a delay and no
bandwidth: each chunk waits by itself, so chunks keep their distances and their order, and so does the end of a connection. What it does
not delay is the connection itself, which the kernel makes.

In such a bench the link is there under every condition, with no delay, so that conditions differ in nothing else; it costs some tenths of
a millisecond for each question. When the service is taken away, the link's door is shut, so a target that looks whether the port is open
sees it closed as the service's own would be. Nobody is asked for root: all of it is one thread of the harness, which ends with the session.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from harness.clock import NS_PER_S, Clock
from harness.errors import MachineError
from harness.scenario import Scenario
from harness.services import KINDS
from harness.sockets import PortClaim, claim_port

LOOPBACK: Final = "127.0.0.1"
MOST_PAIRS: Final = 1000
"""Connections at the same time; more of them wait until one has ended."""

HELD_BYTES: Final = 4 << 20
"""So much of one connection is held back at most; a service that says more within the delay waits, as for a slow reader."""

_CHUNK: Final = 1 << 16
_BACKLOG: Final = 512
_PLACES: Final = 16
_JOIN_S: Final = 5.0
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER without time: the connection ends with a reset (tcp(7), RFC 9293, 3.10.7)."""

_PROVES: Final = ("rediss", "amqps")


def why_not_slow(scenario: Scenario, service: str, *, contained: bool) -> str:
    """Why nothing can stand between the target and this service; empty when it can.

    ``contained``: its engine's replicas have an address of their own.
    """
    found = scenario.services[service]
    if found.url is None:
        return ""
    parts = urlsplit(found.url)
    if parts.scheme in _PROVES or "sslmode=verify" in parts.query:
        return f"{service} proves by TLS who it is, so nothing can stand in between; write a url without TLS"
    if contained:
        return (
            f"{service} has a url, and what stands in between would be open to its whole network; remove the url, or use --engine process"
        )
    return ""


class Between:
    """What stands between the target and one service: made with the session, and a `Link` as soon as the service's URL is handed out."""

    def __init__(self, service: str, scenario: Scenario, clock: Clock, *, contained: bool) -> None:
        self._service = service
        self._scenario = scenario
        self._clock = clock
        self._contained = contained
        self._link: Link | None = None

    @property
    def asked(self) -> int:
        """How many connections went through it."""
        return self._link.taken if self._link is not None else 0

    def handed(self, service: str, url: str) -> str:
        """The URL that the target is given for a service, which is at ``url``.

        Raises:
            MachineError: There is no address at which both can reach it.
        """
        if service != self._service:
            return url
        if self._link is None:
            parts = urlsplit(url)
            host = parts.hostname or LOOPBACK
            at = local_address_towards(host) if self._contained else LOOPBACK
            if self._contained and at.startswith("127."):
                raise MachineError(
                    f"{service} can't be made slow: containers of this engine can't reach this machine; use --engine process, or leave "
                    "service-slow out"
                )
            self._link = Link((host, parts.port or self._usual_port()), at=at, clock=self._clock)
        return url_at(url, *self._link.address)

    def slow(self, delay_s: float) -> None:
        """From now on each answer comes so much later; 0 for not at all."""
        if self._link is not None:
            self._link.delay(delay_s)

    def shut(self) -> None:
        """The service goes away: its port is closed."""
        if self._link is not None:
            self._link.shut()

    def open(self) -> None:
        """It is back."""
        if self._link is not None:
            self._link.open()

    def close(self) -> None:
        """Leave no thread and no socket; a second call does nothing."""
        if self._link is not None:
            self._link.close()

    def _usual_port(self) -> int:
        launch = KINDS[self._scenario.services[self._service].kind].launch(durable=True)
        return launch.port if launch is not None else 0


def url_at(url: str, host: str, port: int) -> str:
    """The same URL at another address."""
    parts = urlsplit(url)
    account, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{account}{at}{host}:{port}").geturl()


def local_address_towards(host: str) -> str:
    """The address of this machine from which packets to ``host`` leave, so whoever is beside ``host`` reaches this machine there.

    For a container that is the gateway of its network. Nothing is sent.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as asked:
        asked.connect(address)
        return str(asked.getsockname()[0])


@dataclass(slots=True, eq=False)
class _Pair:
    """A connection of the target's, and the one to the service that was made for it.

    ``held`` is what the service said, each with the instant from which it may go on; ``b""`` is its end, None a reset.
    """

    client: socket.socket
    service: socket.socket
    connected: bool = False
    asked: bytearray = field(default_factory=bytearray)
    held: deque[tuple[int, bytes | None]] = field(default_factory=deque)
    held_bytes: int = 0
    client_ended: bool = False
    service_ended: bool = False
    service_deaf: bool = False
    end_told: bool = False
    full: bool = False


class Link:
    """A TCP proxy with a delay, on a thread of its own. Safe from several threads."""

    def __init__(self, service: tuple[str, int], *, clock: Clock, at: str = LOOPBACK) -> None:
        """``service`` is where the service is, and ``at`` the address of this machine at which the link listens.

        Raises:
            MachineError: The service's name leads nowhere, or there is no port.
        """
        self._clock = clock
        try:
            found = socket.getaddrinfo(*service, type=socket.SOCK_STREAM)[0]
        except OSError as error:
            raise MachineError(f"{service[0]} can't be found: {error.strerror}") from error
        self._family, self._towards = found[0], found[4]
        self.taken = 0
        self._delay_ns = 0
        self._pairs: set[_Pair] = set()
        self._waiting: set[_Pair] = set()
        self._calls: deque[Callable[[], None]] = deque()
        self._problem: Exception | None = None
        self._stopping = self._closed = False
        self._claim, self._listener = _listener(at)
        self.address: tuple[str, int] = (at, self._claim.port)
        self._door: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._woken)
        self._admit(self._listener)
        self._thread = threading.Thread(target=self._run, name="jetable-slow", daemon=True)
        self._thread.start()

    def delay(self, delay_s: float) -> None:
        """What the service says from now on is handed on so much later; nothing overtakes what is held already."""
        self._delay_ns = round(delay_s * NS_PER_S)

    def shut(self) -> None:
        """Refuse new connections, as a port that nobody listens on; those that there are end when the service ends them."""
        self._do(self._shut)

    def open(self) -> None:
        """Take connections again, at the same address."""
        self._do(self._open)

    def close(self) -> None:
        """End all connections, the thread and the port; a second call does nothing. Raises what went wrong in the link itself."""
        if self._closed:
            return
        self._closed = self._stopping = True
        self._wake()
        self._thread.join(_JOIN_S)
        self._claim.release()
        os.close(self._wake_writer)
        os.close(self._wake_reader)
        if self._problem is not None:
            raise self._problem

    # On any thread

    def _do(self, work: Callable[[], None]) -> None:
        """Do it on the link's thread, and return when it is done; raises what it raised."""
        done = threading.Event()
        failed: list[OSError] = []

        def guarded() -> None:
            try:
                work()
            except OSError as error:
                failed.append(error)
            done.set()

        self._calls.append(guarded)
        self._wake()
        if not done.wait(_JOIN_S):
            raise MachineError("the link to a slow service does not answer") from self._problem
        if failed:
            raise MachineError(f"port {self.address[1]} of {self.address[0]} can't be had again: {failed[0].strerror}") from failed[0]

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._wake_writer, b".")

    # On the link's own thread

    def _run(self) -> None:
        try:
            while not self._stopping:
                for key, mask in self._selector.select(self._until_due_s()):
                    key.data(mask)
                while self._calls:
                    self._calls.popleft()()
                for pair in list(self._waiting):
                    self._hand_on(pair)
        except Exception as problem:  # noqa: BLE001  kept, and raised by whoever closes the link
            self._problem = problem
        finally:
            for pair in list(self._pairs):
                self._drop(pair)
            self._shut()
            self._selector.close()

    def _until_due_s(self) -> float | None:
        due_ns = min((pair.held[0][0] for pair in self._waiting if not pair.full), default=None)
        return None if due_ns is None else max(0.0, (due_ns - self._clock.now_ns()) / NS_PER_S)

    def _woken(self, _mask: int) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)

    def _admit(self, door: socket.socket) -> None:
        self._door = door
        self._await(door, selectors.EVENT_READ, self._knocked)

    def _shut(self) -> None:
        if self._door is not None:
            self._await(self._door, 0, self._knocked)
            self._door.close()
            self._door = None

    def _open(self) -> None:
        if self._door is None:
            self._admit(_listening(*self.address))

    def _knocked(self, _mask: int) -> None:
        assert self._door is not None  # noqa: S101  it is asked only while it is open
        try:
            client, _ = self._door.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and self._pairs:
                self._await(self._door, 0, self._knocked)  # until one has ended
            return
        self.taken += 1
        service = socket.socket(self._family, socket.SOCK_STREAM)
        pair = _Pair(client=client, service=service)
        self._pairs.add(pair)
        for each in (client, service):
            each.settimeout(0)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if service.connect_ex(self._towards) not in (0, errno.EINPROGRESS):
            self._drop(pair)
            return
        self._heed(pair)
        if len(self._pairs) >= MOST_PAIRS:
            self._await(self._door, 0, self._knocked)

    def _heed(self, pair: _Pair) -> None:
        """Wait for just what can go on with a pair."""
        if pair not in self._pairs:
            return
        from_client = not pair.client_ended and len(pair.asked) < HELD_BYTES
        from_service = pair.connected and not pair.service_ended and pair.held_bytes < HELD_BYTES
        to_service = bool(pair.asked) or not pair.connected
        client = selectors.EVENT_READ * from_client | selectors.EVENT_WRITE * pair.full
        service = selectors.EVENT_READ * from_service | selectors.EVENT_WRITE * to_service
        self._await(pair.client, client, lambda mask: self._from_client(pair, mask))
        self._await(pair.service, service, lambda mask: self._from_service(pair, mask))

    def _await(self, sock: socket.socket, mask: int, work: Callable[[int], None]) -> None:
        known = self._selector.get_map().get(sock)
        if known is None and mask:
            self._selector.register(sock, mask, work)
        elif known is not None and not mask:
            self._selector.unregister(sock)
        elif known is not None and known.events != mask:
            self._selector.modify(sock, mask, work)

    def _from_client(self, pair: _Pair, mask: int) -> None:
        if pair not in self._pairs:
            return
        if mask & selectors.EVENT_WRITE:
            pair.full = False
            self._hand_on(pair)
        if mask & selectors.EVENT_READ and pair in self._pairs:
            try:
                said = pair.client.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:
                self._drop(pair)
                return
            pair.client_ended = not said
            if not pair.service_deaf:
                pair.asked += said
            self._ask(pair)
        self._heed(pair)

    def _ask(self, pair: _Pair) -> None:
        """Hand on what the target said, and its end behind it."""
        if not pair.connected:
            return
        try:
            while pair.asked:
                del pair.asked[: pair.service.send(memoryview(pair.asked)[:_CHUNK].tobytes())]
            if pair.client_ended:
                pair.service.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:  # it hears nothing any more; what it said before may still be on the way
            pair.asked.clear()
            pair.service_deaf = True
        self._drop_if_over(pair)

    def _from_service(self, pair: _Pair, mask: int) -> None:
        if pair not in self._pairs:
            return
        if not pair.connected:
            if pair.service.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._drop(pair)  # the service is away
                return
            pair.connected = True
            self._ask(pair)
        elif mask & selectors.EVENT_WRITE:
            self._ask(pair)
        if mask & selectors.EVENT_READ and pair in self._pairs and not pair.service_ended:
            with suppress(BlockingIOError):
                self._hold(pair, _said_by(pair.service))
        self._heed(pair)

    def _hold(self, pair: _Pair, said: bytes | None) -> None:
        pair.service_ended = not said
        due_ns = self._clock.now_ns() + self._delay_ns
        pair.held.append((max(due_ns, pair.held[-1][0]) if pair.held else due_ns, said))
        pair.held_bytes += len(said or b"")
        self._waiting.add(pair)
        self._hand_on(pair)

    def _hand_on(self, pair: _Pair) -> None:
        """Hand on what has been held back long enough."""
        now_ns = self._clock.now_ns()
        try:
            while pair.held and pair.held[0][0] <= now_ns and not pair.full:
                due_ns, said = pair.held[0]
                if said is None:
                    self._drop(pair)
                    return
                if not said:
                    pair.client.shutdown(socket.SHUT_WR)
                    pair.end_told = True
                sent = pair.client.send(said) if said else 0
                pair.held_bytes -= sent
                pair.held.popleft()
                if sent < len(said):
                    pair.held.appendleft((due_ns, said[sent:]))
        except BlockingIOError:
            pair.full = True
        except OSError:
            self._drop(pair)
            return
        if not pair.held:
            self._waiting.discard(pair)
        self._drop_if_over(pair)
        self._heed(pair)

    def _drop_if_over(self, pair: _Pair) -> None:
        """Both have ended, and both know."""
        if pair.end_told and (pair.service_deaf or (pair.client_ended and not pair.asked)):
            self._drop(pair, reset=False)

    def _drop(self, pair: _Pair, *, reset: bool = True) -> None:
        if pair not in self._pairs:
            return
        self._pairs.discard(pair)
        self._waiting.discard(pair)
        for each in (pair.client, pair.service):
            self._await(each, 0, self._knocked)
            if reset:
                with suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            each.close()
        if self._door is not None:
            self._await(self._door, selectors.EVENT_READ, self._knocked)


def _said_by(service: socket.socket) -> bytes | None:
    """The next chunk, ``b""`` at the end, None for a reset."""
    try:
        return service.recv(_CHUNK)
    except BlockingIOError:
        raise
    except OSError:
        return None


def _listener(at: str) -> tuple[PortClaim, socket.socket]:
    """A port of ``at`` that is free, and its listener."""
    for _ in range(_PLACES):
        claim = claim_port()
        try:
            return claim, _listening(at, claim.port)
        except OSError as error:
            claim.release()
            if error.errno != errno.EADDRINUSE:
                raise MachineError(f"nothing can listen at {at}: {error.strerror}") from error
    raise MachineError(f"found no free port of {at} in {_PLACES} tries; end what holds them (ss -ltnp)")


def _listening(at: str, port: int) -> socket.socket:
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((at, port))
        door.listen(_BACKLOG)
        door.settimeout(0)
    except OSError:
        door.close()
        raise
    return door
