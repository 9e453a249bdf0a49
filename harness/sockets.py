"""Ports: which are open, who holds them, and how to get a free one for sure.

Whether a port is open is read from the kernel's own socket table (sock_diag(7)): no connection is made, so the app notices nothing,
and the accept queue is seen too. A free port is chosen outside the range from which the kernel takes the ports of outgoing connections,
so that neither a client of this machine nor a connection to itself can take it, and it is claimed between all runs on this machine by an
abstract unix socket: the kernel frees it when its holder ends, however that happens, and no file is left.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import struct
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.clock import Dice
from harness.errors import MachineError

LOWEST_PORT: Final = 10_000
HIGHEST_PORT: Final = 65_535
_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES: Final = 500

WELL_KNOWN_PORTS: Final = frozenset(
    {10_000, 10_050, 10_051, 10_250, 11_211, 11_300, 11_434, 15_672, 25_672, 26_379, 27_017, 27_018, 27_019, 28_015}
)
"""Ports above `LOWEST_PORT` at which well-known services are usually found; left to them."""

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST_DUMP: Final = 0x301
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_LISTENING: Final = 10
"""TCP_LISTEN, as ``linux/net/tcp_states.h`` numbers it."""

_ESTABLISHED: Final = 1
"""TCP_ESTABLISHED: neither side has said that it is done."""

_STATE_LISTEN: Final = 1 << _LISTENING
_NETLINK_HEADER: Final = struct.Struct("=IHHII")
_DIAG_REQUEST: Final = struct.Struct("=BBBxI48x")
_DIAG_HEAD: Final = struct.Struct("!BBBBH")
_DIAG_COUNTS: Final = struct.Struct("=IIII")
_CLONE_NEWNET: Final = 0x40000000
_LOOPBACK_6: Final = b"\0" * 15 + b"\1"
_COUNTS_AT: Final = 4 + 48 + 4
"""Where ``idiag_rqueue`` stands in ``struct inet_diag_msg``: after four bytes, the socket's id, and its timer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A TCP socket that listens. ``backlog`` is how many connections wait to be accepted; ``inode`` names the socket.

    ``loopback``: nobody outside its network namespace can reach it.
    """

    family: int
    port: int
    backlog: int
    inode: int
    loopback: bool = False


class ListenTable:
    """The kernel's table of listening TCP sockets, over one netlink socket that stays open. Safe from several threads.

    ``namespace`` is a file such as ``/proc/12/ns/net``: the table of that network namespace instead of this process's own. To look into
    another one takes CAP_SYS_ADMIN; without it the table tells nothing.
    """

    def __init__(self, namespace: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._netlink = _open_netlink() if namespace is None else _open_netlink_in(namespace)

    def listeners(self) -> tuple[Listener, ...] | None:
        """All listening TCP sockets of the network namespace; None where the kernel does not tell."""
        with self._lock:
            if self._netlink is None:
                return None
            try:
                return tuple(found for family in (socket.AF_INET, socket.AF_INET6) for found in _dump(self._netlink, family))
            except OSError:
                self._netlink.close()
                self._netlink = None
                return None

    def close(self) -> None:
        """Close the netlink socket; from now on the table tells nothing."""
        with self._lock:
            if self._netlink is not None:
                self._netlink.close()
                self._netlink = None


def listening_ports() -> tuple[Listener, ...] | None:
    """All listening TCP sockets now; None where the kernel does not tell. For many looks make one `ListenTable`."""
    table = ListenTable()
    try:
        return table.listeners()
    finally:
        table.close()


def _open_netlink() -> socket.socket | None:
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        return None
    try:
        netlink = socket.socket(family, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
    except OSError:
        return None
    netlink.settimeout(1.0)
    return netlink


def _open_netlink_in(namespace: Path) -> socket.socket | None:
    """A netlink socket of another network namespace (setns(2)): a socket stays in the namespace in which it was made."""
    found: list[socket.socket | None] = []

    def enter() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            if libc.setns(fd, _CLONE_NEWNET) == 0:
                found.append(_open_netlink())
        finally:
            os.close(fd)

    thread = threading.Thread(target=enter, name="jetable-setns")  # it ends there, so no other work is ever done in that namespace
    thread.start()
    thread.join()
    return found[0] if found else None


def listeners_of(pid: int) -> tuple[Listener, ...] | None:
    """All listening TCP sockets of the network namespace of a process, from its ``/proc/<pid>/net/tcp``; None when it can't be read.

    Slower than a `ListenTable`, but no right is needed.
    """
    rows = _rows(f"/proc/{pid}/net", _LISTENING)
    if rows is None:
        return None
    found = []
    for family, fields in rows:
        address, port = _end_point(fields[1])
        found.append(
            Listener(
                family=family,
                port=port,
                backlog=int(fields[4].partition(":")[2], 16),
                inode=int(fields[9]),
                loopback=_is_loopback(address, family),
            )
        )
    return tuple(found)


def connections_to(host: str, port: int) -> int | None:
    """How many TCP connections of this network namespace to ``host`` and ``port`` neither side has ended; None when it can't be known."""
    try:
        wanted = (ipaddress.ip_address(host).packed, port)
    except ValueError:
        return None
    rows = _rows("/proc/self/net", _ESTABLISHED)
    return None if rows is None else sum(_end_point(fields[2]) == wanted for _, fields in rows)


def _rows(folder: str, state: int) -> list[tuple[int, list[str]]] | None:
    """The rows of the kernel's files of TCP sockets that are in ``state``, each with its family; None when they can't be read."""
    found: list[tuple[int, list[str]]] = []
    for family, name in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        try:
            lines = Path(folder, name).read_text().splitlines()[1:]
        except FileNotFoundError:
            if family == socket.AF_INET:
                return None
            continue
        except OSError:
            return None
        found += [(family, fields) for fields in map(str.split, lines) if int(fields[3], 16) == state]
    return found


def _end_point(text: str) -> tuple[bytes, int]:
    """The address in network order and the port of one end, as those files write it."""
    address, _, port = text.partition(":")
    words = [int(address[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(address), 8)]
    return b"".join(words), int(port, 16)


def _dump(netlink: socket.socket, family: int) -> list[Listener]:
    request = _DIAG_REQUEST.pack(family, socket.IPPROTO_TCP, 0, _STATE_LISTEN)
    netlink.send(_NETLINK_HEADER.pack(_NETLINK_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + request)
    found: list[Listener] = []
    while True:
        answer = netlink.recv(1 << 16)
        at = 0
        while at + _NETLINK_HEADER.size <= len(answer):
            length, kind, _flags, _sequence, _pid = _NETLINK_HEADER.unpack_from(answer, at)
            body = at + _NETLINK_HEADER.size
            if kind == _NLMSG_DONE:
                return found
            if kind == _NLMSG_ERROR:
                number = -struct.unpack_from("=i", answer, body)[0]
                raise OSError(number, os.strerror(number))
            family_, _state, _timer, _retrans, port = _DIAG_HEAD.unpack_from(answer, body)
            backlog, _limit, _uid, inode = _DIAG_COUNTS.unpack_from(answer, body + _COUNTS_AT)
            found.append(
                Listener(
                    family=family_, port=port, backlog=backlog, inode=inode, loopback=_is_loopback(answer[body + 8 : body + 24], family_)
                )
            )
            at += (length + 3) & ~3


def _is_loopback(address: bytes, family: int) -> bool:
    """Whether an address in network order, in the first 4 or all 16 bytes, is one of this namespace alone."""
    return address[0] == 127 if family == socket.AF_INET else address == _LOOPBACK_6


def socket_inodes(pid: int) -> frozenset[int] | None:
    """The inodes of all sockets that a process holds; None when we may not look into it."""
    folder = f"/proc/{pid}/fd"
    inodes = set()
    try:
        names = os.listdir(folder)  # noqa: PTH208  thousands of these a second
    except PermissionError:
        return None
    except OSError:
        return frozenset()
    for name in names:
        with suppress(OSError):  # closed since the listing
            target = os.readlink(f"{folder}/{name}")  # noqa: PTH115  "socket:[12]" is no path
            if target.startswith("socket:["):
                inodes.add(int(target[8:-1]))
    return frozenset(inodes)


def holders(inode: int, pids: Iterable[int] | None = None) -> tuple[int, ...]:
    """The processes (of ``pids``, or all that we may look into) that hold the socket with this inode; usually one and its children."""
    if pids is None:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  as above
    return tuple(pid for pid in pids if inode in (socket_inodes(pid) or ()))


class PortClaim:
    """A TCP port that no other run takes until it is released or this process ends."""

    def __init__(self, port: int, holder: socket.socket | None) -> None:
        self.port = port
        self._holder = holder

    def release(self) -> None:
        """Let others have it; a second call does nothing."""
        if self._holder is not None:
            self._holder.close()
            self._holder = None


def claim_port(dice: Dice | None = None, *, wanted: int = 0) -> PortClaim:
    """Claim a free TCP port, chosen by ``dice`` or at random; or the port ``wanted``, whoever listens there.

    Raises:
        MachineError: No port is free, or another run holds the one that is wanted.
    """
    if wanted:
        holder = _hold(wanted)
        if holder is None:
            raise MachineError(f"port {wanted} belongs to another run of Jetable on this machine; wait for its end")
        return PortClaim(wanted, holder)
    ports = _candidates()
    for _ in range(_TRIES):
        index = dice.integer(0, len(ports) - 1) if dice is not None else int.from_bytes(os.urandom(4), "big") % len(ports)
        port = ports[index]
        holder = _hold(port)
        if holder is None:
            continue
        if _is_free(port):
            return PortClaim(port, holder)
        holder.close()
    raise MachineError(f"found no free port between {ports[0]} and {ports[-1]} in {_TRIES} tries; end what holds them (ss -ltnp)")


def _candidates() -> list[int]:
    """Ports that the kernel gives to no outgoing connection; all of them on a machine that leaves too few."""
    try:
        low, high = map(int, _EPHEMERAL.read_text().split())
    except (OSError, ValueError):
        low, high = 32_768, 60_999
    below = [port for port in range(LOWEST_PORT, min(low, HIGHEST_PORT + 1)) if port not in WELL_KNOWN_PORTS]
    above = [port for port in range(max(high + 1, LOWEST_PORT), HIGHEST_PORT + 1) if port not in WELL_KNOWN_PORTS]
    enough = next((ports for ports in (below, above) if len(ports) >= _TRIES), None)
    return enough or [port for port in range(LOWEST_PORT, HIGHEST_PORT + 1) if port not in WELL_KNOWN_PORTS]


def _hold(port: int) -> socket.socket | None:
    """Bind the abstract socket that stands for ``port``; None when another run holds it."""
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        holder.bind(f"\0jetable-port-{port}")
    except OSError:
        holder.close()
        return None
    return holder


def _is_free(port: int) -> bool:
    """Whether a server could bind ``port``, on loopback and on all addresses. Connections that linger in TIME_WAIT are no obstacle."""
    for address in ("127.0.0.1", "0.0.0.0"):  # noqa: S104  bound for an instant, never listening
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True
