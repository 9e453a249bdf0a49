"""What a knock on a real listener tells."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from harness.engines.base import Replica
from harness.probes import knock

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def replica(port: int) -> Replica:
    return Replica(name="web.1", process="web", host="127.0.0.1", port=port, pid=0, at_ns=0, running_ns=0)


def answers(answer: bytes) -> Callable[[socket.socket], None]:
    def serve(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(answer)

    return serve


def resets(peer: socket.socket) -> None:
    peer.recv(4096)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def closes(peer: socket.socket) -> None:
    peer.recv(4096)


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A listener that treats one connection as ``serve`` says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def once() -> None:
            peer, _ = listener.accept()
            with peer:
                serve(peer)

        thread = threading.Thread(target=once, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


@pytest.mark.parametrize(
    ("serve", "told"),
    [(answers(OK), "served"), (answers(BUSY), "rejected"), (resets, "reset"), (closes, "reset"), (answers(b"HTTP/1.1 2"), "reset")],
)
def test_a_knock_tells_what_the_listener_did(serve: Callable[[socket.socket], None], told: str) -> None:
    with server(serve) as port:
        assert knock(replica(port), "/") == told


def test_a_knock_on_a_closed_port_is_refused() -> None:
    with socket.socket() as taken:  # bound, but not listening: nobody else can listen there meanwhile
        taken.bind(("127.0.0.1", 0))
        assert knock(replica(taken.getsockname()[1]), "/") == "refused"


@pytest.mark.slow
def test_a_knock_that_nobody_answers_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepted by the kernel, never by anybody else
        assert knock(replica(listener.getsockname()[1]), "/") == "hung"
