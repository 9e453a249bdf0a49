"""The load process: ``python -m harness.load.child TABLE ORDERS``, started by `harness.load.process` and by nobody else.

Locust changes the whole process that imports it, so it lives here and only here. The two arguments are inherited descriptors: the
routing table and the orders (`harness.load.spec.Orders` as JSON). Standard input is the line to the harness: a byte ``g`` begins the
load, ``s`` ends it in order, ``x`` ends it at once, and so does the end of the input, which means that the harness is gone.

In order means: no new op, what is under way ends within its time-out, what still is not over is written down as unfinished, the ledger
is closed. The process also ends on SIGTERM, and by itself when it has lived too long. It does not hear SIGINT: Ctrl-C reaches every
process of the terminal, and the harness decides what it means.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

import gevent
import msgspec
from gevent import Greenlet, get_hub
from gevent.event import Event
from locust.env import Environment

from harness.clock import NS_PER_S, Dice
from harness.errors import ExitCode, JetableError
from harness.history import Control, Generator, LoadBegan, LoadEnded
from harness.load import table
from harness.load.client import Client, Exchange, Expect
from harness.load.ledger import Ledger
from harness.load.locust_user import make_user_class
from harness.load.spec import Orders
from harness.load.table import Router, Table, lone_route
from harness.load.user import Crowd

GO: Final = b"g"
STOP: Final = b"s"

_STDIN: Final = 0
_BEAT_S: Final = 0.01
_SAMPLE_NS: Final = 250_000_000
_CONTROL_S: Final = 0.02
_PART_S: Final = 0.02
_CONTROL_TIMEOUT_S: Final = 2.0
_DRAIN_SPARE_S: Final = 0.5
_CANCEL_S: Final = 2.0


def main(arguments: list[str]) -> int:
    """The whole life of the load process; returns its exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    shared, orders_fd = Table(int(arguments[0])), int(arguments[1])
    with os.fdopen(orders_fd, "rb") as file:
        orders = msgspec.json.decode(file.read(), type=Orders)
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR, format="%(name)s: %(message)s")
    _allow_many_files()
    try:
        load = _Load(shared, orders)
    except JetableError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return load.run()


def _allow_many_files() -> None:
    """Each user holds a connection to each replica."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _Load:
    """Locust, the crowd, and the greenlets beside them."""

    def __init__(self, shared: Table, orders: Orders) -> None:
        self._spec = orders.load
        self._words = shared.words
        self._control_port = orders.control_port
        self._ledger = Ledger(Path(orders.ledger))
        start = Dice(self._spec.seed).fork("router").integer(0, 1 << 20)
        self._router = Router(shared, start=start)
        self._crowd: Crowd = Crowd(self._spec, self._router, self._ledger, shared.words)
        self._environment = Environment(user_classes=[make_user_class(self._crowd, self._fail)], catch_exceptions=False)
        self._go = Event()
        self._stop = Event()
        self._at_once = False
        self._problem = ""
        self._exit_code = 0

    def run(self) -> int:
        """Wait for the word to begin, send until the word to end."""
        gevent.signal_handler(signal.SIGTERM, self._end)
        self._spawn(self._listen)
        self._go.wait(self._spec.longest_s)
        try:
            try:
                if not self._stop.is_set():
                    self._send()
            finally:
                self._ledger.close()
        except JetableError as error:
            self._fail(error)
        sys.stderr.write(self._problem)
        return self._exit_code

    def _send(self) -> None:
        runner = self._environment.create_local_runner()
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 20)
        self._ledger.append(LoadBegan(at_ns=time.monotonic_ns(), pid=os.getpid()))
        beside = [self._spawn(self._watch_itself), self._spawn(self._ask_control_server), self._spawn(self._part)]
        everybody = self._spec.users + self._spec.clients
        runner.start(everybody, spawn_rate=everybody)
        runner.spawning_greenlet.join()
        if self._spec.rate_per_s:
            beside.append(self._spawn(self._crowd.arrive))
        self._words[table.SENDING] = 1
        self._stop.wait(self._spec.longest_s)
        self._drain()
        self._crowd.leave_overdue()
        gevent.killall(beside)
        if not self._problem:
            self._ledger.append(LoadEnded(at_ns=time.monotonic_ns(), invoked=self._crowd.invoked, closed=self._crowd.closed))
        runner.quit()

    def _spawn(self, body: Callable[[], None]) -> Greenlet:
        """Run ``body`` beside the users; a defect in it ends the load."""

        def guarded() -> None:
            try:
                body()
            except Exception as error:  # noqa: BLE001  handed on: the load ends with it
                self._fail(error)

        return gevent.spawn(guarded)

    def _drain(self) -> None:
        """Let what is under way end in time; write down what does not as unfinished."""
        crowd = self._crowd
        crowd.stopping = True
        self._wait_for_ops(self._spec.timeout_s + _DRAIN_SPARE_S, patient=True)
        crowd.cancel()
        self._wait_for_ops(_CANCEL_S, patient=False)

    def _wait_for_ops(self, longest_s: float, *, patient: bool) -> None:
        deadline_ns = time.monotonic_ns() + round(longest_s * NS_PER_S)
        while self._crowd.open_ops and not (self._at_once and patient) and time.monotonic_ns() < deadline_ns:
            gevent.sleep(0.001)

    def _listen(self) -> None:
        """Obey the harness, and end when it is gone."""
        hub = get_hub()
        io = hub.loop.io(_STDIN, 1)
        while True:
            hub.wait(io)
            said = os.read(_STDIN, 1)
            if said == GO:
                self._go.set()
                continue
            self._at_once |= said != STOP
            self._end()
            if not said:
                return

    def _end(self) -> None:
        """End the load, whether it has begun or not."""
        self._stop.set()
        self._go.set()

    def _part(self) -> None:
        """Answer the farewells of replicas that are being stopped."""
        while True:
            gevent.sleep(_PART_S)
            for route in self._router.leaving:
                for client in self._crowd.clients:
                    client.part(route)

    def _watch_itself(self) -> None:
        """Measure how late the loop is and what it costs, so that a generator that can't keep up is not taken for a slow app."""
        crowd = self._crowd
        began_ns, cpu_s, lag_ns = time.monotonic_ns(), time.process_time(), 0
        late, crowded, arrivals = crowd.late, crowd.crowded, crowd.arrivals
        ending = False
        while not ending:
            before_ns = time.monotonic_ns()
            try:
                gevent.sleep(_BEAT_S)
            except gevent.GreenletExit:
                ending = True  # one more sample, of what is left
            now_ns = time.monotonic_ns()
            lag_ns = max(lag_ns, now_ns - before_ns - round(_BEAT_S * NS_PER_S))
            if now_ns - began_ns < _SAMPLE_NS and not ending:
                continue
            used_s = time.process_time()
            self._ledger.append(
                Generator(
                    at_ns=now_ns,
                    lag_ns=lag_ns,
                    cpu=round((used_s - cpu_s) * NS_PER_S / max(1, now_ns - began_ns), 4),
                    late=crowd.late - late,
                    crowded=crowd.crowded - crowded,
                    arrivals=crowd.arrivals - arrivals,
                )
            )
            began_ns, cpu_s, lag_ns = now_ns, used_s, 0
            late, crowded, arrivals = crowd.late, crowd.crowded, crowd.arrivals

    def _ask_control_server(self) -> None:
        """Ask a server that does nothing, over the same code and the same wire, on new and on kept connections in turn.

        It goes on until all users have their answers: who waits longest needs the proof most that it was not the machine.
        """
        if not self._control_port:
            return
        clients = [Client(timeout_s=_CONTROL_TIMEOUT_S, keep_alive=keep) for keep in (True, False)]
        route = lone_route("control", "127.0.0.1", self._control_port)
        request = b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % route.authority
        expect = Expect(statuses=(200,), contains=b"ok")
        while True:
            clients.reverse()
            seen = Exchange()
            at_ns = time.monotonic_ns()
            route.reserve()
            clients[0].exchange(route, request, expect, seen)
            error = "" if seen.as_expected else seen.error or "STATUS"
            self._ledger.append(Control(at_ns=at_ns, done_ns=seen.done_ns, ok=seen.as_expected, error=error))
            gevent.sleep(_CONTROL_S)

    def _fail(self, error: BaseException) -> None:
        """The load can't go on: end at once with the reason in the log, rather than send on with holes in the books.

        What a person can mend is said in a sentence; anything else is a defect and has a traceback.
        """
        if not self._problem:
            mendable = isinstance(error, JetableError)
            self._problem = f"{error}\n" if mendable else "".join(traceback.format_exception(error))
            self._exit_code = error.exit_code if isinstance(error, JetableError) else ExitCode.INTERNAL
        self._at_once = True
        self._end()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
