"""A tiny HTTP server of the standard library that tells on standard output when it did what, by CLOCK_MONOTONIC.

Its first line of code, right after ``listen()``, in its SIGTERM handler, right after it closed the listener, and right before ``_exit()``:
what `benchmarks/engine_phases.py` compares with a run's history. The instants are taken first and written when nothing is waited for.
"""

import time

FIRST_NS = time.monotonic_ns()

import os  # noqa: E402  the first line must come first
import select  # noqa: E402  as above
import signal  # noqa: E402  as above
import socket  # noqa: E402  as above

ANSWER_S = 0.1
"""How long an answer takes, so that something is in flight at any time."""

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
stamps = {"first": FIRST_NS}


def stop(_number: int, _frame: object) -> None:
    """Stamp the signal; the loop sees it."""
    stamps.setdefault("signalled", time.monotonic_ns())


def main() -> None:
    """Serve until SIGTERM, answer what was taken, and end."""
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGTERM, stop)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])))
    listener.listen(128)
    stamps["listening"] = time.monotonic_ns()
    taken: list[tuple[float, socket.socket]] = []
    while "signalled" not in stamps:
        wait_s = max(0.0, taken[0][0] - time.monotonic()) if taken else None
        if listener.fileno() in select.select([listener.fileno(), woken], [], [], wait_s)[0]:
            taken.append((time.monotonic() + ANSWER_S, listener.accept()[0]))
        answer_due(taken)
    listener.close()
    stamps["closed"] = time.monotonic_ns()
    while taken:
        time.sleep(max(0.0, taken[0][0] - time.monotonic()))
        answer_due(taken)
    stamps["exiting"] = time.monotonic_ns()
    os.write(1, "".join(f"stamp {name} {at_ns}\n" for name, at_ns in stamps.items()).encode())
    os._exit(0)


def answer_due(taken: list[tuple[float, socket.socket]]) -> None:
    """Answer all that have waited long enough."""
    while taken and taken[0][0] <= time.monotonic():
        answer(taken.pop(0)[1])


def answer(client: socket.socket) -> None:
    """Answer whatever was asked, and close."""
    with client:
        try:
            client.recv(65536)
            client.sendall(ANSWER)
        except OSError:
            pass


if __name__ == "__main__":
    main()
