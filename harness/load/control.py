"""The control server: answers every request with ``ok`` and does nothing else.

The load asks it over the same code and the same wire as it asks the target. When its answers are late or missing too, the machine
stalled, and the app is not to blame. It is a process of its own, ``python -m harness.load.control LISTENER``, given a listening socket;
it ends when its standard input does, which means that the harness is gone or done.
"""

from __future__ import annotations

import selectors
import socket
import sys
from typing import Final

ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
_CHUNK: Final = 65536


def serve(listener: socket.socket, end: int) -> None:
    """Answer until the descriptor ``end`` can be read."""
    listener.settimeout(0)
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(end, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj == end:
                    _close_all(listener, selector)
                    return
                if key.fileobj is listener:
                    _accept(listener, selector)
                elif isinstance(key.fileobj, socket.socket):
                    _answer(key.fileobj, selector)


def _close_all(listener: socket.socket, selector: selectors.BaseSelector) -> None:
    """Close the connections of clients that are still there; the listener is its owner's."""
    for key in list(selector.get_map().values()):
        if isinstance(key.fileobj, socket.socket) and key.fileobj is not listener:
            key.fileobj.close()


def _accept(listener: socket.socket, selector: selectors.BaseSelector) -> None:
    try:
        connection, _ = listener.accept()
    except (BlockingIOError, ConnectionError):
        return
    connection.settimeout(0)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    selector.register(connection, selectors.EVENT_READ)


def _answer(connection: socket.socket, selector: selectors.BaseSelector) -> None:
    """Answer what came, which is one request a time; a peer that has gone is let go."""
    try:
        data = connection.recv(_CHUNK)
        if data:
            connection.send(ANSWER)
            return
    except BlockingIOError:
        return
    except ConnectionError:
        pass
    selector.unregister(connection)
    connection.close()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.stdin.fileno())
