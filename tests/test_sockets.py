"""Ports: what is open, who holds it, and claims that never clash."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness import sockets
from harness.clock import Dice
from harness.errors import MachineError
from harness.sockets import PortClaim, claim_port, holders, listening_ports, socket_inodes

CLAIMER = """
import sys
from harness.sockets import claim_port
claims = [claim_port() for _ in range(50)]
print(*(claim.port for claim in claims), flush=True)
sys.stdin.read()
"""


def server_at(family: socket.AddressFamily, address: str) -> socket.socket:
    """A listening socket; skips the test where there is no such family."""
    try:
        return socket.create_server((address, 0), family=family)
    except OSError:
        pytest.skip("no IPv6 here")


def eventually(condition: Callable[[], bool]) -> None:
    """The kernel tells the other side of a loopback connection in a moment of its own."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.001)


def backlog_at(port: int) -> int:
    found = listener_at(port)
    return -1 if found is None else found.backlog


def listener_at(port: int) -> sockets.Listener | None:
    return next((found for found in listening_ports() or () if found.port == port), None)


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_listener_is_seen_with_its_backlog_without_connecting(family: socket.AddressFamily, address: str) -> None:
    with server_at(family, address) as server, ExitStack() as stack:
        port = server.getsockname()[1]
        found = listener_at(port)
        assert found is not None
        assert (found.family, found.backlog) == (family, 0)
        for _ in range(2):
            stack.enter_context(socket.create_connection((address, port)))
        eventually(lambda: backlog_at(port) == 2)
        found = listener_at(port)
        assert found is not None
        assert found.inode in (socket_inodes(os.getpid()) or ())
        assert os.getpid() in holders(found.inode)
        assert holders(found.inode, pids=[os.getppid()]) == ()
    assert listener_at(port) is None


def test_a_bound_port_that_does_not_listen_is_not_open() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert listener_at(bound.getsockname()[1]) is None


def test_where_the_kernel_has_no_netlink_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_NETLINK")
    assert listening_ports() is None


def test_a_closed_table_tells_nothing() -> None:
    table = sockets.ListenTable()
    assert table.listeners() is not None
    table.close()
    assert table.listeners() is None


def test_the_table_of_a_network_namespace_is_that_of_the_processes_in_it_or_tells_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        table = sockets.ListenTable(Path("/proc/self/ns/net"))
        found = table.listeners()
        table.close()
        assert found is None or port in {listener.port for listener in found}
        assert table.listeners() is None


def test_a_namespace_that_is_gone_tells_nothing(tmp_path: Path) -> None:
    assert sockets.ListenTable(tmp_path / "gone").listeners() is None


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_what_a_processs_own_file_tells_of_a_listener_is_what_the_table_tells(family: socket.AddressFamily, address: str) -> None:
    with server_at(family, address) as server, ExitStack() as stack:
        port = server.getsockname()[1]
        for _ in range(2):
            stack.enter_context(socket.create_connection((address, port)))
        eventually(lambda: backlog_at(port) == 2)
        (found,) = (listener for listener in sockets.listeners_of(os.getpid()) or () if listener.port == port)
        assert found == listener_at(port)
        assert found.backlog == 2


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_connection_counts_until_one_side_has_ended_it(family: socket.AddressFamily, address: str) -> None:
    with server_at(family, address) as server, ExitStack() as stack:
        port = server.getsockname()[1]
        assert sockets.connections_to(address, port) == 0
        clients = [stack.enter_context(socket.create_connection((address, port))) for _ in range(3)]
        theirs, *_ = [stack.enter_context(server.accept()[0]) for _ in clients]
        assert sockets.connections_to(address, port) == 3
        theirs.close()
        eventually(lambda: sockets.connections_to(address, port) == 2)
        clients[1].shutdown(socket.SHUT_WR)
        eventually(lambda: sockets.connections_to(address, port) == 1)
        assert sockets.connections_to(address, port + 1) == 0


def test_connections_to_a_host_without_an_address_are_unknown() -> None:
    assert sockets.connections_to("web.internal", 80) is None


def test_the_listeners_of_a_process_that_is_gone_are_unknown() -> None:
    assert sockets.listeners_of(0) is None


def test_a_claimed_port_can_be_bound_and_is_not_given_to_outgoing_connections() -> None:
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    claim = claim_port()
    try:
        assert not low <= claim.port <= high
        assert claim.port not in sockets.WELL_KNOWN_PORTS
        with socket.create_server(("0.0.0.0", claim.port)):
            assert listener_at(claim.port) is not None
    finally:
        claim.release()


def test_the_dice_choose_and_a_claimed_port_is_passed_over() -> None:
    first = claim_port(Dice(7))
    second = claim_port(Dice(7))
    first.release()
    third = claim_port(Dice(7))
    try:
        assert second.port != first.port
        assert third.port == first.port
    finally:
        second.release()
        third.release()


def test_a_port_that_somebody_listens_on_is_passed_over() -> None:
    claim = claim_port(Dice(11))
    claim.release()
    for address in ("127.0.0.1", "0.0.0.0"):
        with socket.create_server((address, claim.port)):
            other = claim_port(Dice(11))
            other.release()
            assert other.port != claim.port


def test_a_port_in_time_wait_is_free() -> None:
    claim = claim_port(Dice(13))
    claim.release()
    with socket.create_server(("127.0.0.1", claim.port)) as server, socket.create_connection(("127.0.0.1", claim.port)) as client:
        server.accept()[0].close()  # the side that closes first waits
        client.recv(1)
    again = claim_port(Dice(13))
    again.release()
    assert again.port == claim.port


def test_a_wanted_port_is_claimed_whoever_listens_but_only_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        claim = claim_port(wanted=port)
        with pytest.raises(MachineError, match=f"port {port} belongs to another run"):
            claim_port(wanted=port)
        claim.release()
        claim.release()
        claim_port(wanted=port).release()


def test_many_threads_never_get_the_same_port() -> None:
    claims: list[PortClaim] = []
    start = threading.Barrier(8)

    def take() -> None:
        start.wait()
        claims.extend(claim_port(Dice(1)) for _ in range(20))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for claim in claims:
        claim.release()
    assert len({claim.port for claim in claims}) == 160


@pytest.mark.slow
@pytest.mark.live
def test_many_processes_never_get_the_same_port_and_their_death_frees_them() -> None:
    command = [sys.executable, "-c", CLAIMER]
    with ExitStack() as stack:
        others = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)) for _ in range(4)
        ]
        ports = []
        for other in others:
            assert other.stdout is not None
            ports += [int(word) for word in other.stdout.readline().split()]
        assert len(set(ports)) == 200
        with pytest.raises(MachineError):
            claim_port(wanted=ports[0])
        for other in others:
            other.kill()
            other.wait()
        for port in ports:
            claim_port(wanted=port).release()


@pytest.mark.parametrize(
    ("ephemeral", "lowest", "highest"),
    [("32768 60999", 10_001, 32_767), ("10000 40000", 40_001, 65_535), ("1024 65535", 10_001, 65_535), ("", 10_001, 32_767)],
)
def test_ports_are_chosen_outside_the_ephemeral_range_where_that_leaves_enough(
    ephemeral: str, lowest: int, highest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "range").write_text(ephemeral)
    monkeypatch.setattr(sockets, "_EPHEMERAL", tmp_path / "range")
    ports = sockets._candidates()
    assert (ports[0], ports[-1]) == (lowest, highest)


def test_a_machine_without_a_free_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_is_free", lambda _port: False)
    with pytest.raises(MachineError, match="no free port between"):
        claim_port()
