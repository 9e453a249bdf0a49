"""The watchdog: a process that removes a run when its harness dies.

It holds the reading end of a pipe whose writing end only the harness has:

1. the harness ends in order, having cleaned up: it writes a farewell, and the watchdog ends;
2. the harness dies, however that happens: the kernel closes the pipe, and the watchdog removes the run;
3. the harness could not remove everything, since a container engine or a service of others went away under it: it closes the pipe
   without a farewell, and the watchdog goes on trying until that is back.

A child between fork and exec holds the pipe, too. So its end also tells that no process is about to be born unmarked. A watchdog that
has not even begun when the harness dies finds the pipe closed already.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from harness import marks
from harness.cleanup.removal import remove
from harness.clock import NS_PER_S, MonotonicClock
from harness.errors import MachineError

_FAREWELL: Final = b"."
_FAREWELL_S: Final = 5.0

_SETTLE_S: Final = 3.0
"""What a dying harness asked a container engine for shows up there this late: such a call takes it a tenth of a second, or a second
where it is busy."""

_AWAY_FOR_S: Final = 600.0
_ASK_AGAIN_S: Final = 0.5
_ASK_AGAIN_AT_MOST_S: Final = 5.0

_BOOT: Final = "import sys; sys.path += sys.argv[2:]; from harness.cleanup import watch; watch(sys.argv[1])"
"""How the watchdog begins: with the standard library, then this package and what the harness sees, which come last and shadow nothing."""

_PATHS: Final = ("TMPDIR", "DOCKER_CONFIG", "DOCKER_CERT_PATH")
"""Variables that may hold a path, which must mean the same where the watchdog is."""


class Watchdog:
    """The process that removes a run when the harness dies. It lives until it is dismissed, or has done what was handed over to it."""

    def __init__(self, process: subprocess.Popen[bytes], farewell_fd: int) -> None:
        self._process = process
        self._farewell_fd = farewell_fd

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def dismiss(self) -> bool:
        """The run is cleaned up: let the watchdog go and wait for its end. False when it had died before; a second call does nothing."""
        if self._farewell_fd >= 0:
            with suppress(BrokenPipeError):
                os.write(self._farewell_fd, _FAREWELL)
            os.close(self._farewell_fd)
            self._farewell_fd = -1
            try:
                self._process.wait(_FAREWELL_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return self._process.returncode == 0

    def hand_over(self) -> None:
        """Not all could be removed: leave the rest to the watchdog, which may outlive this process. A second call does nothing."""
        if self._farewell_fd >= 0:
            os.close(self._farewell_fd)
            self._farewell_fd = -1
            threading.Thread(target=self._process.wait, name="jetable-watchdog", daemon=True).start()


def start_watchdog(run_id: str) -> Watchdog:
    """Start the watchdog of a run, before anything else of the run is made; it is ready as soon as this returns.

    Raises:
        UsageError: ``run_id`` can't be one.
        MachineError: The machine has no room for another process.
    """
    marks.scratch_folder(run_id)
    package = Path(__file__).absolute().parent.parent.parent
    seen = [str(Path(entry).absolute()) for entry in sys.path if entry]
    environment = marks.unmarked_environment()
    environment |= {name: str(Path(environment[name]).absolute()) for name in _PATHS if environment.get(name)}
    reader, writer = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOT, run_id, str(package), *seen],
            env=environment,
            cwd="/",
            stdin=reader,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        os.close(writer)
        raise MachineError(f"can't start the watchdog: {error.strerror}; see ulimit -a for this machine's limits") from error
    finally:
        os.close(reader)
    return Watchdog(process, writer)


def watch(run_id: str) -> None:
    """Be the watchdog: wait for the end of standard input, and remove the run unless a farewell came first.

    A container engine or a service that does not answer is asked again, for ten minutes; what is left then stays on record for
    ``jetable cleanup``.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.read(0, 1) != b"":
        return
    clock = MonotonicClock()
    until_ns, pause_s = clock.now_ns() + round(_AWAY_FOR_S * NS_PER_S), _ASK_AGAIN_S
    left = remove(run_id, fresh=True, settle_s=_SETTLE_S).left
    scratch = marks.scratch_folder(run_id)
    while left and marks.notes_the_rest(scratch) and clock.now_ns() < until_ns:
        clock.sleep(pause_s)
        pause_s = min(pause_s * 1.1, _ASK_AGAIN_AT_MOST_S)
        left = remove(run_id, fresh=False, settle_s=_SETTLE_S).left
