"""How the app stops: gunicorn's gevent worker, with an end that is quick and loses nothing.

The stock worker answers whatever it has accepted. Two things in its end are in the way of an app that is to be thrown away at any
moment (measured with gunicorn 27.0, gevent 26.9, eight clients):

* It lets idle keep-alive connections run into their ordinary time-out, so a stop takes ``keepalive`` seconds more for nothing
  (5.5 to 5.9 s with 5 s), and a short ``keepalive`` closes connections on clients that are about to use them.
* It closes its listener with connections still in the backlog, or accepted and not yet begun, and these are reset: with clients that
  connect anew for each request and learn of the stop two seconds late, six stops in ten lost a request.

So this worker ends in three steps:

1. For ``linger_s`` after SIGTERM it goes on as before, yet with ``Connection: close`` on each answer (gunicorn's own doing). What was
   sent to this replica when the signal came is on its way no longer than that.
2. It lets no new connection begin (`sample_apps.closing`), accepts what still waits in the backlog and closes the listener; from then on a
   connection is refused.
3. It stops reading from connections that have been idle since before the signal; one that becomes idle later has ``linger_s`` of its
   own. A request that has arrived there is still read and answered; only then does the connection end. When the last is gone, the
   worker exits.

Its exit, and the master's after it, look for no garbage: the interpreter would go through every object of Flask and gevent, only for the
kernel to take them all. That search was most of what was left to do once all was answered, 50 ms of a whole core in each process. With
a twentieth of a core a stop took 3.0 s with it and 1.0 s without, and among many others on a busy machine a whole grace of 10 s.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import gevent
from gevent import socket
from gevent.local import local
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.sock import ssl_context  # type: ignore[import-untyped]  # it publishes no types
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]  # it publishes no types

from sample_apps.closing import HANDSHAKE_S, let_no_connection_begin

if TYPE_CHECKING:
    from collections.abc import Iterator

_POLL_S = 0.02  # how late the worker may notice that it was signalled or has become idle


def _let_sigterm_come() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


os.register_at_fork(after_in_parent=_let_sigterm_come)


def _is_held_by(pid: int, listener: socket.socket) -> bool:
    """Whether the process has the listener open too: the master has closed it when the app ends, and not when one worker does."""
    mine = os.fstat(listener.fileno())
    with suppress(FileNotFoundError, PermissionError), os.scandir(f"/proc/{pid}/fd") as descriptors:  # it has ended, or this is not Linux
        for descriptor in descriptors:
            with suppress(FileNotFoundError, PermissionError):  # closed meanwhile, or the process has ended, of which Linux says either
                if os.path.samestat(mine, descriptor.stat()):
                    return True
    return False


@dataclass(frozen=True, slots=True)
class _ListenerAddress:
    """Stands for the listener in a handler, which asks it for nothing but its address and may start after it was closed."""

    address: tuple[str, int]

    def getsockname(self) -> tuple[str, int]:
        return self.address


class GracefulWorker(GeventWorker):  # type: ignore[misc]  # gunicorn publishes no types
    """A gevent worker whose end takes ``linger_s`` and the time of what is in flight.

    Attributes:
        linger_s: Seconds after SIGTERM in which connections are accepted as before; also how long a connection that becomes idle
            after SIGTERM may stay so.
    """

    linger_s = 0.5

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # gunicorn forks next, which lets it come again in the master. A SIGTERM that the new process got before `init_process` would be
        # lost, and the master would wait its whole graceful time-out for a worker that knows of no stop.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        self._handler = local()
        self._idle: set[socket.socket] = set()

    def init_process(self) -> None:
        """Boot as a process that SIGTERM ends; until then it has the master's handlers, which would keep the signal to themselves."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _let_sigterm_come()
        super().init_process()
        gc.freeze()

    def run(self) -> None:
        """Serve until SIGTERM, then end as the module says."""
        servers = [self._start(listener) for listener in self.sockets]
        while self.alive:
            self.notify()
            gevent.sleep(_POLL_S)
        deadline_s = time.monotonic() + self.cfg.graceful_timeout
        gevent.sleep(min(self.linger_s, self.cfg.graceful_timeout))
        for server in servers:
            self._accept_the_rest_and_close(server)
        for client in list(self._idle):
            self._stop_reading(client)
        while any(len(server.pool) for server in servers):
            if time.monotonic() > deadline_s:
                self.log.warning("Worker graceful timeout (pid:%s)", self.pid)
                for server in servers:
                    server.stop(timeout=1)
                return
            self.notify()
            gevent.sleep(_POLL_S)

    def _start(self, listener: socket.socket) -> StreamServer:
        listener.setblocking(True)  # noqa: FBT003  the socket's own signature
        handle = partial(self.handle, _ListenerAddress(listener.getsockname()))
        tls = {"ssl_context": ssl_context(self.cfg)} if self.cfg.is_ssl else {}
        server = StreamServer(listener, handle=handle, spawn=Pool(self.worker_connections), **tls)
        if self.cfg.workers > 1:
            server.max_accept = 1
        server.start()
        return server

    def _accept_the_rest_and_close(self, server: StreamServer) -> None:
        server.stop_accepting()
        if not _is_held_by(self.ppid, server.socket):
            let_no_connection_begin(server.socket)
            gevent.sleep(HANDSHAKE_S)
        while waiting := server.do_read():
            server.do_handle(*waiting)
        server.socket.close()
        server.close()

    @staticmethod
    def _stop_reading(client: socket.socket) -> None:
        # A gevent socket's own shutdown would fail the read that waits on it, hence the duplicate, which one with TLS does not make itself;
        # a client that has just gone is no error.
        with suppress(OSError), socket.socket(fileno=os.dup(client.fileno())) as same_connection:
            same_connection.shutdown(socket.SHUT_RD)

    def handle(self, listener: _ListenerAddress, client: socket.socket, addr: tuple[str, int]) -> None:
        """Answer all requests of one connection."""
        self._handler.client = client
        super().handle(listener, client, addr)

    @contextmanager
    def timeout_ctx(self) -> Iterator[None]:
        """Around each wait for a request: it ends after gunicorn's keep-alive, and after SIGTERM when ``linger_s`` is over.

        gunicorn raises a time-out here. Its timer comes before what has been received meanwhile, so a process that was held up would
        close the connection on a request that had arrived in time.
        """
        client = self._handler.client
        before_signal = self.alive  # read once: the signal may come between any two lines
        timer = gevent.get_hub().loop.timer(self.cfg.keepalive if before_signal else self.linger_s)
        timer.start(self._stop_reading, client)
        if before_signal:
            self._idle.add(client)  # nothing yields to `run` since the reading, so step 3 finds it here
        try:
            yield
        finally:
            self._idle.discard(client)
            timer.close()
