"""Real services for tests, started from what their kind says of itself, each in a folder and on a port of its own.

A service that is not installed skips its test and names the Debian package. A program that refuses to run as root runs as the account that
its `Launch` names, in a folder that this account may enter.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from harness.services.base import Client, Kind, Launch, ServiceError
from harness.sockets import claim_port

READY_S = 90.0
"""So long at most until a service that was started does its work, on a machine with other things to do."""

STOP_S = 20.0
"""So long at most between the signal that asks a service to end and its end."""


def until(holds: Callable[[], object], what: str = "", *, within_s: float) -> None:
    """Wait until something holds; fails with ``what`` when that takes too long."""
    end_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end_s, f"never: {what}"
        time.sleep(0.01)


def free_port() -> int:
    """A port that nobody listens on, and that stays ours until this process ends: nobody else gets it while a service is away."""
    claim = claim_port()
    atexit.register(claim.release)
    return claim.port


class Broker:
    """One service, which may be stopped, killed and started again on the same port and with what it has kept. Skips where there is none."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        launch = kind.launch(durable=True)
        assert launch is not None, f"{kind.name} is no process"
        _skip_without(launch)
        self.kind = kind
        self.launch: Launch = launch
        self.port = free_port()
        self.log = folder / f"{kind.name}.log"
        self._owner = pwd.getpwnam(launch.user) if launch.user and os.geteuid() == 0 else None
        self._foreign = Path(tempfile.mkdtemp(prefix=f"jetable-{kind.name}-")) if self._owner else None
        self.folder = self._foreign or folder / kind.name
        self.folder.mkdir(exist_ok=True)
        if self._owner:
            os.chown(self.folder, self._owner.pw_uid, self._owner.pw_gid)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is found."""
        return self.kind.url("127.0.0.1", self.port, self.folder)

    def prepare(self) -> None:
        """What is to be done once before the first start."""
        for command in self.launch.prepare:
            assert self._popen(command).wait(timeout=READY_S) == 0, self.tail()

    def start(self) -> None:
        """Start it, and return when it does its work."""
        self.process = self._popen(self.launch.argv)
        client = self.kind.open(self.url)
        deadline = time.monotonic() + READY_S
        try:
            while True:
                try:
                    client.ready()
                except ServiceError as error:
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        pytest.fail(f"{self.kind.name} is not ready: {error} (exit code {self.process.returncode}): {self.tail()}")
                    time.sleep(0.05)
                else:
                    return
        finally:
            client.close()

    def client(self) -> Client:
        """A client of it; whoever takes one closes it."""
        return self.kind.open(self.url)

    def stop(self) -> None:
        """Ask it to end in order, and wait until it has."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.Signals[self.launch.stop_signal])
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=STOP_S)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for it, for all of its session that is still there, and for its children, as each of PostgreSQL's has a session."""
        if self.process is None:
            return
        children: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        self.process.wait(timeout=STOP_S)
        # One that still holds shared memory, or a file, would keep the next one from starting.
        until(lambda: all(_has_ended(child) for child in children), "its children have ended", within_s=STOP_S)
        self.process = None

    def remove(self) -> None:
        """End it for good."""
        self.kill()
        if self._foreign is not None:
            shutil.rmtree(self._foreign, ignore_errors=True)

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:] if self.log.exists() else ""

    def _popen(self, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        argv = [self._filled(word) for word in command]
        environment = {**os.environ, **{name: self._filled(text) for name, text in self.launch.environment.items()}}
        if self._owner:
            environment["HOME"] = str(self.folder)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                argv,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._owner.pw_uid if self._owner else None,
                group=self._owner.pw_gid if self._owner else None,
                extra_groups=[] if self._owner else None,
            )

    def _filled(self, text: str) -> str:
        return text.replace("{port}", str(self.port)).replace("{folder}", str(self.folder))


@contextmanager
def serving(kind: Kind, folder: Path) -> Iterator[Broker]:
    """A service that does its work, keeps what it is given, and ends with the block, whatever becomes of it."""
    broker = Broker(kind, folder)
    try:
        broker.prepare()
        broker.start()
        yield broker
    finally:
        broker.remove()


def _has_ended(process: psutil.Process) -> bool:
    """Whether it holds nothing any more; who buries it may take longer."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE or not process.is_running()
    except psutil.NoSuchProcess:
        return True


def _skip_without(launch: Launch) -> None:
    """Skip where a program of it is missing."""
    for program in (command[0] for command in (*launch.prepare, launch.argv)):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed; Debian has it in the package {launch.package}")
