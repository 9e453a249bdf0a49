"""The control server (`harness.load.control`)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from harness.load import control


@pytest.fixture
def port() -> Iterator[int]:
    """Where a control server listens."""
    listener = socket.create_server(("127.0.0.1", 0))
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=control.serve, args=(listener, theirs.fileno()))
    thread.start()
    yield listener.getsockname()[1]
    ours.close()
    thread.join(5)
    assert not thread.is_alive(), "it ends when its input does"
    theirs.close()
    listener.close()


def ask(connection: socket.socket) -> bytes:
    connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
    return connection.recv(1000)


def test_it_answers_many_requests_on_many_connections(port: int) -> None:
    connections = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(3)]
    for _ in range(3):
        assert [ask(connection) for connection in connections] == [control.ANSWER] * 3
    for connection in connections:
        connection.close()


def test_a_client_that_goes_away_does_not_disturb_it(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as rude:
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        rude.sendall(b"GET")
    with socket.create_connection(("127.0.0.1", port), timeout=5) as polite:
        assert ask(polite) == control.ANSWER


def test_who_is_still_connected_at_the_end_is_let_go() -> None:
    ours, theirs = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener, ours, theirs:
        thread = threading.Thread(target=control.serve, args=(listener, theirs.fileno()))
        thread.start()
        with socket.create_connection(listener.getsockname(), timeout=5) as connection:
            assert ask(connection) == control.ANSWER
            ours.close()
            assert connection.recv(1) == b""
        thread.join(5)
        assert not thread.is_alive()
