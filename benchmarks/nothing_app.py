"""A server that does nothing but be there: what is left of its start is the interpreter's, and the harness's that looks on.

``WORK`` thousands of hashes come before it listens, so that one can be made to start slower by so much. What `benchmarks/bench_starts.py`
times.
"""

import hashlib
import os
import socket

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def work(thousands: int) -> None:
    """Compute for a while that grows with ``thousands``."""
    digest = b""
    for _ in range(1000 * thousands):
        digest = hashlib.sha256(digest).digest()


def main() -> None:
    """Answer each connection, until SIGTERM ends it."""
    work(int(os.environ.get("WORK") or 0))
    listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
    while True:
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            client.sendall(ANSWER)


if __name__ == "__main__":
    main()
