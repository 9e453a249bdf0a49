"""Servers on loopback that do one thing right or one thing wrong."""

from __future__ import annotations

import atexit
import re
import selectors
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
REQUEST_ID = re.compile(rb"X-Request-Id: (\d+)-(\d+)\r\n")

CERTIFICATE = Path(__file__).resolve().parents[2] / "sample_apps" / "web" / "tls" / "cert.pem"
"""Self-signed, for localhost and 127.0.0.1; its key lies beside it."""

Behaviour = Callable[[socket.socket], None]


class Server:
    """Hands each connection, with ``tls`` after its handshake, to ``behave`` on a thread of its own, and closes it when that returns."""

    def __init__(self, behave: Behaviour, *, tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.tls = tls
        self.requests: list[bytes] = []
        self.accepted = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, end all connections, wait for all threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            try:
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # TLS's own takes the encryption from under a thread that reads
            except OSError:
                continue  # it is closed already
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def read(self, connection: socket.socket) -> bytes:
        """Read one request; empty when the peer has closed."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return b""
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        while length and len(body) < int(length[1]):
            body += connection.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.append(connection)
            self._start(self._handle, connection)

    def _handle(self, connection: socket.socket) -> None:
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                self._open.append(connection)
            with connection:
                if isinstance(connection, ssl.SSLSocket):
                    connection.do_handshake()
                self.behave(connection)
        except OSError:
            return  # the client was first


def server_context(newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """A server's side of TLS with the self-signed certificate, of no version after ``newest``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_name("key.pem"))
    context.maximum_version = newest
    return context


def answering(*answers: bytes, then: Behaviour | None = None, tls: ssl.SSLContext | None = None) -> Server:
    """A server that gives ``answers`` to the requests of each connection, the last one again and again, or does ``then`` and closes."""

    def behave(connection: socket.socket) -> None:
        number = 0
        while server.read(connection):
            connection.sendall(answers[min(number, len(answers) - 1)])
            number += 1
            if then is not None and number == len(answers):
                then(connection)
                return

    server = Server(behave, tls=tls)
    return server


def close(connection: socket.socket) -> None:
    """Send FIN."""
    connection.close()


def close_with_alert(connection: socket.socket) -> None:
    """Send TLS's closure alert, and then FIN."""
    assert isinstance(connection, ssl.SSLSocket)
    say_the_end(connection)
    connection.close()


def say_the_end(connection: socket.socket) -> None:
    """Send TLS's closure alert, and leave the connection open."""
    assert isinstance(connection, ssl.SSLSocket)
    connection.settimeout(0)
    try:
        connection.unwrap()
    except ssl.SSLWantReadError:
        return  # the peer's own alert, for which nobody waits
    except ValueError:
        return  # the test is over, and its server was closed


def reset(connection: socket.socket) -> None:
    """Send RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hang(connection: socket.socket) -> None:
    """Say nothing until the peer closes."""
    while connection.recv(65536):
        pass


def closed_port() -> int:
    """A port on which nobody listens: it is bound until all tests are over, so that nobody else can listen there."""
    taken = socket.socket()
    atexit.register(taken.close)
    taken.bind(("127.0.0.1", 0))
    port: int = taken.getsockname()[1]
    return port


def free_port() -> int:
    """A port that nobody had a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class CountingServer:
    """One thread that answers every request with `OK` and remembers the numbers that it carried."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[int, int]] = Counter()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.settimeout(0)
        self.port: int = self._listener.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._wake.close()
        self._thread.join(5)
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    @property
    def count(self) -> int:
        """Requests that came."""
        return self.seen.total()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is self._woken:
                    return
                if key.fileobj is self._listener:
                    connection, _ = self._listener.accept()
                    connection.settimeout(0)
                    self._selector.register(connection, selectors.EVENT_READ)
                else:
                    self._answer(key.fileobj)

    def _answer(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self._selector.unregister(connection)
            connection.close()
            return
        for op, n in REQUEST_ID.findall(data):
            self.seen[int(op), int(n)] += 1
        try:
            connection.sendall(OK * data.count(b"\r\n\r\n"))
        except OSError:
            return  # the client is gone, and the next look at the connection tells so
