"""A replica for tests: prints ``ready`` when it is, each signal that it gets, and does what its options say.

It ends by itself after a minute, whatever happens. It listens on HOST, or on loopback where there is none.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType

LIFE_S = 60
BRANDED_WITHIN_S = 10
RLIMIT_LOCKS = 10
KINDS = ("child", "daemon", "forgetful", "hopping", "wiped", "leading", "holder")
WIPED = """
import os, signal, socket, sys
held = socket.create_server(("127.0.0.1", int(sys.argv[2]))) if sys.argv[2] else None
os.write(int(sys.argv[1]), b"%d" % os.getpid())
os.close(int(sys.argv[1]))
while True:
    signal.pause()
"""


def main() -> None:
    options = _options()
    held = []
    signal.signal(signal.SIGALRM, lambda _number, _frame: os._exit(142))  # process 1 of a container ignores what it does not handle
    signal.alarm(LIFE_S)
    if options.on_term != "default":
        signal.signal(signal.SIGTERM, _ignore if options.on_term == "ignore" else _exit_with(int(options.on_term)))
    if options.forget:
        _overwrite_environment()
    if options.listen:
        held.append(socket.create_server((os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])), backlog=16))
    for kind in options.leave:
        _leave(kind)
    for name in options.show:
        _say(f"{name}={os.environ.get(name)}")
    if options.write:
        _write(options.write)
    _say("ready")
    if options.exit is not None:
        os._exit(options.exit)
    while True:
        time.sleep(0.02)  # not pause(): a signal right before it would be handled only after the next one


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--on-term", default="default", help="default, ignore, or an exit status")
    parser.add_argument("--exit", type=int, help="exit with this status as soon as it is ready")
    parser.add_argument("--listen", action="store_true", help="listen on PORT")
    parser.add_argument("--leave", action="append", default=[], choices=KINDS, help="start a descendant")
    parser.add_argument("--forget", action="store_true", help="overwrite its environment")
    parser.add_argument("--show", action="append", default=[], help="print a variable of its environment")
    parser.add_argument("--write", type=int, default=0, help="write so many numbered lines first")
    return parser.parse_args()


def _leave(kind: str) -> None:
    """Start a descendant and wait until it is what it should be.

    child, forgetful and hopping stay children; the others are daemons. A wiped one has neither mark nor session nor parent left, a
    leading one leads its session besides, and a holder listens on PORT besides.
    """
    reader, writer = os.pipe()
    if kind in ("wiped", "leading", "holder"):
        _await_brand()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        if kind in ("daemon", "forgetful", "wiped", "holder"):
            os.setsid()
        if kind not in ("child", "forgetful", "hopping") and os.fork() > 0:
            os._exit(0)
        if kind in ("wiped", "leading", "holder"):
            _become_wiped(kind, writer)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.alarm(LIFE_S)
        if kind == "forgetful":
            _overwrite_environment()
        os.write(writer, b"%d" % os.getpid())
        os.close(writer)
        if kind == "hopping":
            _hop()
        while True:
            signal.pause()
    os.close(writer)
    descendant = os.read(reader, 20).decode()
    os.close(reader)
    if kind not in ("child", "forgetful", "hopping"):
        os.waitpid(pid, 0)
    _say(f"left {kind} {descendant}")


def _await_brand() -> None:
    """Wait until the engine has branded this process, which it does as soon as it runs: on a busy machine some time later.

    Bounded, so that what is never branded leaves its daemons all the same.
    """
    until = time.monotonic() + BRANDED_WITHIN_S
    while resource.getrlimit(RLIMIT_LOCKS)[0] == resource.RLIM_INFINITY and time.monotonic() < until:
        time.sleep(0.001)


def _become_wiped(kind: str, writer: int) -> None:
    """Go on without anything of what a replica is known by; the alarm stays."""
    if kind == "leading":
        os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.alarm(LIFE_S)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(nothing, fd)
    os.set_inheritable(writer, True)  # noqa: FBT003  it takes no keyword
    port = os.environ["PORT"] if kind == "holder" else ""
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", WIPED, str(writer), port], {})  # noqa: S606  there is none to want


def _hop() -> None:
    """Fork and end, again and again, so that no look at all processes is in time; bounded all the same."""
    until = time.monotonic() + LIFE_S
    while time.monotonic() < until:
        if os.fork() > 0:
            os._exit(0)
    os._exit(0)


def _overwrite_environment() -> None:
    """Do to the environment what setting a process title does: the kernel shows zeros afterwards."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    ctypes.memset(start, 0, end - start)


def _write(lines: int) -> None:
    for number in range(lines):
        sys.stdout.write(f"line {number} {'x' * 80}\n")
    sys.stdout.flush()


def _exit_with(status: int) -> object:
    def on_signal(number: int, _frame: FrameType | None) -> None:
        _say(signal.Signals(number).name)
        os._exit(status)

    return on_signal


def _ignore(number: int, _frame: FrameType | None) -> None:
    _say(signal.Signals(number).name)


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())  # not sys.stdout: a signal in the middle of its write would find it busy


if __name__ == "__main__":
    main()
