"""The harness's handle on the load process, which it never imports: shared memory, a pipe, and a bounded end for everything.

`ProcessLoad.prepare` starts the process early, because Locust takes a second to import and the target takes as long to start;
`ProcessLoad.start` lets it send. Both the load process and the control server end by themselves when their pipe does, so nothing is
left of them when the harness is killed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from harness import marks
from harness.clock import NS_PER_S, Clock, MonotonicClock
from harness.errors import MachineError
from harness.history import OPS_FILE
from harness.load import table
from harness.load.spec import LoadSpec, Orders
from harness.load.table import Publisher, Table, anonymous_file
from harness.load.tail import Demand, was_met
from harness.sockets import connections_to

START_S: Final = 30.0
"""How long the load process may take to be ready."""

STOP_SPARE_S: Final = 5.0
"""How long after the scenario's time-out a load process that was told to stop is killed."""

TOLD_WITHIN_S: Final = 1.0
"""How long the load may take to notice the end of what was under way on a replica that is gone."""

_TOLD_EVERY_S: Final = 0.02
LOG_FILE: Final = "load.log"
_POLL_S: Final = 0.002
_LOG_BYTES: Final = 4000
_GO: Final = b"g"
_STOP: Final = b"s"
_STOP_AT_ONCE: Final = b"x"


class ProcessLoad:
    """A `harness.load.base.Load` that is Locust in a process of its own."""

    def __init__(self, spec: LoadSpec, *, history: Path, logs: Path, run_id: str, clock: Clock | None = None) -> None:
        """``history`` and ``logs`` are folders that exist; ``run_id`` marks the processes."""
        self._spec = spec
        self._ledger = history / OPS_FILE
        self._log = logs / LOG_FILE
        self._run_id = run_id
        self._clock = clock or MonotonicClock()
        self._child: subprocess.Popen[bytes] | None = None
        self._control: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._table = Table.create()
        self._publisher = Publisher(self._table)

    def prepare(self) -> None:
        """Start the load process and the control server, so that they are ready when `start` is called; a second call does nothing.

        Raises:
            MachineError: They can't be started.
        """
        if self._child is not None:
            return
        try:
            with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
                self._control = self._spawn("harness.load.control", [listener.fileno()])
                port = listener.getsockname()[1]
            orders = anonymous_file("jetable-orders")
            try:
                os.write(orders, msgspec.json.encode(Orders(load=self._spec, ledger=str(self._ledger), control_port=port)))
                os.lseek(orders, 0, os.SEEK_SET)
                self._child = self._spawn("harness.load.child", [self._table.fd, orders])
            finally:
                os.close(orders)
        except OSError as error:
            self._kill()
            raise MachineError(f"the load process can't be started: {error}") from error

    def start(self) -> None:
        """Let the load process send; returns when it does.

        Raises:
            MachineError: It ended, or was not ready within 30 seconds; the message ends with the last line of its log.
        """
        self.prepare()
        self._say(_GO)
        deadline_ns = self._clock.now_ns() + round(START_S * NS_PER_S)
        while not self._table.words[table.SENDING]:
            ended = self._ended()
            if ended and self._table.words[table.SENDING]:
                return  # it began and ended while this thread waited for its turn, which `alive` tells
            if ended or self._clock.now_ns() > deadline_ns:
                what = f"the {ended} ended before the load began" if ended else f"the load process was not ready within {START_S:.0f} s"
                self._kill()
                raise MachineError(f"{what} (its log: {self._log}): {self.last_words()}")
            self._clock.sleep(_POLL_S)

    def publish(self, replica: str, host: str, port: int) -> None:
        """From now on ``replica`` gets new requests; raises `MachineError` when ``host`` has no address."""
        self._publisher.publish(replica, host, port)

    def withdraw(self, replica: str) -> None:
        """From the load's next choice on no request is routed to ``replica``."""
        self._publisher.withdraw(replica)

    def vanish(self, replica: str) -> None:
        """Nobody is at its address any more; see `harness.load.base.Load.vanish`."""
        self._publisher.vanish(replica)

    def forget(self, replica: str) -> None:
        """The replica is gone for good; the load closes its connections to it."""
        self._publisher.forget(replica)

    def hold(self, replica: str) -> None:
        """A few requests to ``replica`` wait on a new connection before a byte leaves; see `harness.load.base.Load.hold`."""
        self._publisher.hold(replica)

    def release(self, replica: str) -> None:
        """What is held goes on."""
        self._publisher.release(replica)

    def held(self, replica: str) -> int:
        """Requests that have a connection to ``replica`` and are held."""
        return self._publisher.held(replica)

    def on_the_way(self, replica: str) -> int:
        """Requests that were routed to ``replica`` and have not left, without those that are held."""
        return self._publisher.on_the_way(replica)

    def in_flight(self, replica: str) -> int:
        """Requests that have left for ``replica`` and are not answered."""
        return self._publisher.in_flight(replica)

    def connected(self, replica: str) -> int | None:
        """Connections to ``replica`` that neither side has ended; see `harness.load.base.Load.connected`."""
        address = self._publisher.address_of(replica)
        return connections_to(*address) if address else None

    def answering(self, replica: str) -> int:
        """Requests that ``replica`` has begun to answer, and whose answer is not over."""
        return self._publisher.answering(replica)

    def met(self, demand: Demand) -> bool:
        """Whether the victim was as demanded; true when the ledger can't be read, or does not tell soon, as the checks will tell that."""
        deadline_ns = self._clock.now_ns() + round(TOLD_WITHIN_S * NS_PER_S)
        try:
            while (met := was_met(self._ledger, demand)) is None and self._clock.now_ns() < deadline_ns:
                self._clock.sleep(_TOLD_EVERY_S)
        except (OSError, msgspec.MsgspecError):
            return True
        return met is not False

    def sent(self, replica: str) -> int:
        """Requests that have left for ``replica`` so far."""
        return self._publisher.sent(replica)

    def set_step(self, step: int) -> None:
        """Ops that begin from now on belong to ``step``."""
        self._publisher.set_step(step)

    @property
    def begun(self) -> int:
        """Ops that have begun so far."""
        return self._table.words[table.BEGUN]

    @property
    def pid(self) -> int:
        """The load process, 0 before it is started."""
        return self._child.pid if self._child is not None else 0

    @property
    def control_pid(self) -> int:
        """The control server, 0 before it is started."""
        return self._control.pid if self._control is not None else 0

    def alive(self) -> bool:
        """False when the load process or the control server has ended although nobody stopped it."""
        return self._stopped or (self._child is not None and not self._ended())

    def stop(self, *, at_once: bool = False) -> None:
        """End the load in order, or ``at_once``; what does not end in time is killed. Safe to call at any moment, and again."""
        if self._child is not None and not self._stopped:
            self._stopped = True
            self._say(_STOP_AT_ONCE if at_once else _STOP)
            try:
                self._child.wait(STOP_SPARE_S + (0.0 if at_once else self._spec.timeout_s))
            except subprocess.TimeoutExpired:
                self._child.kill()
        self._kill()

    def _ended(self) -> str:
        """What has ended already, in words; empty while both processes run."""
        both = {"load process": self._child, "control server": self._control}
        return next((name for name, process in both.items() if process is not None and process.poll() is not None), "")

    def _spawn(self, module: str, descriptors: list[int]) -> subprocess.Popen[bytes]:
        """Start a module of this package in a session of its own, so that Ctrl-C does not reach it."""
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", module, *map(str, descriptors)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=marks.unmarked_environment() | _import_path() | marks.mark_environment(self._run_id),
                pass_fds=descriptors,
                start_new_session=True,
                bufsize=0,
            )

    def _say(self, word: bytes) -> None:
        pipe = self._child.stdin if self._child is not None else None
        if pipe is None or pipe.closed:
            return
        try:
            pipe.write(word)
        except BrokenPipeError:
            return  # it has ended, which `alive` tells

    def _kill(self) -> None:
        """End both processes without asking, and wait for them."""
        self._table.close()
        for process in (self._child, self._control):
            if process is None:
                continue
            if process.stdin is not None:
                process.stdin.close()
            if process.poll() is None:
                process.kill()
            process.wait()

    def last_words(self) -> str:
        """The last line of the log that is not empty: the load process ends with the reason."""
        try:
            lines = self._log.read_bytes()[-_LOG_BYTES:].decode(errors="replace").split("\n")
        except OSError as error:
            return f"({error.strerror})"
        return next((line.strip() for line in reversed(lines) if line.strip()), "(nothing)")


def _import_path() -> dict[str, str]:
    """What lets a new interpreter import this package when it runs from a checkout; an installed one needs nothing."""
    root = Path(__file__).resolve().parents[2]
    if root.name in ("site-packages", "dist-packages"):
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))}
