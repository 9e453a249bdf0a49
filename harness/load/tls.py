"""A TLS connection that looks like a non-blocking socket, so that the client treats both alike.

OpenSSL works on two buffers in memory and never touches the socket. So it is this class that decides what is read and when, and what is
found on a connection that nobody uses is told apart: a session ticket, which TLS 1.3 servers send unasked, is nothing; a closure alert
is the end as FIN is; anything else is data.

A request is handed over record by record, and one counts as sent when its last byte has left: nobody can read a record that is not
whole, so as long as the first one is not, the app has seen nothing.
"""

from __future__ import annotations

import _socket
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from harness.tls import in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.tls import Tls

READ: Final = 1
WRITE: Final = 2

_CHUNK: Final = 65536
_RECORD: Final = 16384


class TlsError(ConnectionError):
    """A connection broke by the rules of TLS, or ended before it was one.

    Attributes:
        label: What the ledger shows: ``CERTIFICATE``, ``TLS`` or ``FIN``.
        words: What is wrong with the peer; empty where it may just have ended.
    """

    def __init__(self, label: str, words: str = "") -> None:
        super().__init__(words or label)
        self.label = label
        self.words = words


def _told(error: ssl.SSLError) -> TlsError:
    return TlsError("CERTIFICATE" if isinstance(error, ssl.SSLCertVerificationError) else "TLS", in_words(error))


class TlsSocket:
    """A connected socket with TLS on it; `shake_hands` comes first. Its methods do what those of a non-blocking socket do."""

    __slots__ = (
        "_abrupt",
        "_ended",
        "_error",
        "_incoming",
        "_outgoing",
        "_plain",
        "_shaken",
        "_sock",
        "_taken",
        "_tls",
        "_unsent",
        "notified",
    )

    def __init__(self, sock: _socket.socket, tls: Tls, host: str) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.context.wrap_bio(self._incoming, self._outgoing, server_hostname=tls.name_at(host))
        self._shaken = self._ended = self._abrupt = False
        self._error: TlsError | None = None
        self._plain = self._unsent = b""
        self._taken = 0
        self.notified = False
        """The peer has said that nothing more comes, which one that died does not."""

    @property
    def pending(self) -> bool:
        """True when `recv` has something to tell without a look at the socket."""
        return bool(self._plain) or self._ended or self._error is not None

    def shake_hands(self) -> int:
        """Go on with the handshake; what to wait for before the next call, `READ` or `WRITE`, and 0 when it is done.

        Raises:
            TlsError: It failed, or the peer has ended it.
        """
        while True:
            try:
                self._flush()
            except BlockingIOError:
                return WRITE
            if self._shaken:
                return 0
            try:
                self._tls.do_handshake()
                self._shaken = True
            except ssl.SSLWantReadError:
                if not self._outgoing.pending and not self._read():
                    return READ
            except ssl.SSLError as error:
                self._say_farewell()  # the alert that tells the peer why
                raise _told(error) from None

    def _read(self) -> bool:
        """Hand what has come to the handshake; false when nothing has."""
        try:
            piece = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return False
        if not piece:
            raise TlsError("FIN")
        self._incoming.write(piece)
        return True

    def recv(self, size: int, flags: int = 0) -> bytes:
        """All that is there, at least one byte, or with ``MSG_PEEK`` up to ``size`` bytes that stay; empty at the end.

        Raises:
            BlockingIOError: There is nothing, for it was a session ticket or a part of a record.
            TlsError: What came is no TLS, or an alert.
        """
        while not self.pending:
            piece = self._sock.recv(_CHUNK)
            if piece:
                self._incoming.write(piece)
                self._decrypt()
            else:
                self._ended = True
        plain = self._plain
        if plain and flags & socket.MSG_PEEK:
            return plain[:size]
        if not plain and self._error is not None:
            raise self._error
        self._plain = b""
        return plain

    def _decrypt(self) -> None:
        pieces = []
        try:
            while piece := self._tls.read(_CHUNK):
                pieces.append(piece)
            self._ended = self.notified = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._ended = self.notified = True
        except ssl.SSLError as error:
            self._error = _told(error)
        self._plain = b"".join(pieces)

    def send(self, data: bytes | memoryview) -> int:
        """Send one record of ``data``; how many of its bytes that were. After a `BlockingIOError` it must be called with the same data."""
        if not self._unsent:
            piece = data[:_RECORD]
            try:
                self._tls.write(piece)
            except ssl.SSLError as error:
                raise _told(error) from None
            self._taken = len(piece)
        self._flush()
        return self._taken

    def _flush(self) -> None:
        """Hand to the kernel what OpenSSL has written; raises `BlockingIOError` as long as it does not take all."""
        self._unsent += self._outgoing.read()
        while self._unsent:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]

    def _say_farewell(self) -> None:
        try:
            self._flush()
        except OSError:
            return  # the peer was first, or does not read: it misses nothing that it waits for

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """Set an option of the socket; one whose close is to be a reset says no farewell."""
        self._abrupt |= option == socket.SO_LINGER
        self._sock.setsockopt(level, option, value)

    def close(self) -> None:
        """Close the socket, after a closure alert where the peer may still be there."""
        if self._shaken and not self._abrupt and not self._ended and self._error is None:
            with suppress(ssl.SSLError):  # it wants to read the peer's own alert, for which nobody waits
                self._tls.unwrap()
            self._say_farewell()
        self._sock.close()


class TlsWatcher:
    """The event loop's watcher of a `TlsSocket`, which is ready also when it has something to tell that has left the socket already."""

    __slots__ = ("_io", "_loop", "_now", "_sock")

    def __init__(self, loop: Any, sock: TlsSocket) -> None:
        self._loop = loop
        self._sock = sock
        self._io = loop.io(sock.fileno(), READ)
        self._now: Any = None

    def start(self, callback: Callable[..., object], *args: object) -> None:
        """Call ``callback`` once there is something to receive."""
        if self._sock.pending:
            self._now = self._loop.run_callback(callback, *args)
        else:
            self._io.start(callback, *args)

    def stop(self) -> None:
        """Call nobody any more."""
        if self._now is not None:
            self._now.stop()
            self._now = None
        self._io.stop()

    def close(self) -> None:
        """Free the watcher."""
        self.stop()
        self._io.close()
