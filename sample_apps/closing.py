"""Closing a port without resetting who connects just then.

What connects between the last ``accept`` and the ``close`` of a listener is reset, a few microseconds that a busy machine makes into
milliseconds (seen in one of 120 stops). So connections are kept from beginning first; those that had
begun have `HANDSHAKE_S`, are accepted, and then the port is closed. A client that asks just then gets no answer, asks again a second later,
as TCP does, and is refused (RFC 9293, section 3.8.1). Linux only; elsewhere the gap stays.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from contextlib import suppress
from typing import Final

_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h; Python's socket module doesn't name it
_DROP_SYN: Final = b"".join(  # the kernel's "Linux Socket Filtering aka Berkeley Packet Filter (BPF)"; the TCP header has its flags at 13
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # ldb [13]
        (0x54, 0, 0, 0x12),  # and #(SYN | ACK)
        (0x15, 0, 1, 0x02),  # jeq #SYN
        (0x06, 0, 0, 0),  # ret #0: drop it
        (0x06, 0, 0, 0xFFFF),  # ret #65535: take it whole
    )
)

HANDSHAKE_S: Final = 0.005
"""What a handshake that has begun may take on one machine; on loopback it is over within the client's ``connect``."""


def let_no_connection_begin(listener: socket.socket) -> None:
    """Who asks for a connection from now on gets no answer, asks again a second later, and is refused once the port is closed."""
    if sys.platform != "linux":
        return
    instructions = ctypes.create_string_buffer(_DROP_SYN, len(_DROP_SYN))
    program = struct.pack("HP", len(_DROP_SYN) // 8, ctypes.addressof(instructions))
    with suppress(OSError):  # a kernel without such filters: a connection that begins just then is reset
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
