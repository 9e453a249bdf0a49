"""What the app answers and how it stops.

It keeps nothing: the number of the event that happens now is that of the tick of the machine's monotonic clock, so every replica of a
machine tells the same events, and any of them can go on where another one ended.

On SIGTERM it ends streams in order (the last chunk of server-sent events; close code 1001 of a WebSocket), answers long polls with 204 and
slow requests with what they asked for, takes for a moment what was sent to it before everybody knew, and then closes its port. What it has
taken by then has another moment to ask for something, before idle connections are closed and it ends.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import TYPE_CHECKING, Final

from aiohttp import WSCloseCode, WSMsgType, web

from sample_apps.closing import HANDSHAKE_S, let_no_connection_begin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sample_apps.streams.settings import Settings

MOST_BEHIND: Final = 3000
"""So many events are kept for clients that come back."""

LINGER_S: Final = 0.3
"""For so long after SIGTERM new connections are taken."""

FIRST_REQUEST_S: Final = 0.1
"""For so long after its port was closed a connection that was taken may still bring its request."""

LONGEST_S: Final = 30.0
_REPEATED: Final = 3
_SKIPPED: Final = 10
_TURNS: Final = 20
"""More turns of the event loop than a connection needs to become one that waits for a request, or for its request to be read."""


class App:
    """What the handlers share."""

    def __init__(self, settings: Settings) -> None:
        self._tick_ns = settings.tick_ms * 1_000_000
        self._retry_ms = settings.retry_ms
        self._defect = settings.defect
        self._stopping = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        """Every path."""
        return [
            web.get("/healthz", self.healthz),
            web.get("/events", self.events),
            web.get("/ws", self.ws),
            web.get("/poll", self.poll),
            web.get("/slow", self.slow),
            web.get("/stream", self.stream),
        ]

    def stop(self) -> None:
        """SIGTERM."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        """SIGTERM has come."""
        return self._stopping.is_set()

    async def stopped(self) -> None:
        """Wait for SIGTERM."""
        await self._stopping.wait()

    async def healthz(self, _: web.Request) -> web.Response:
        """``ok``."""
        return web.Response(text="ok")

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events from the one after ``Last-Event-ID`` on."""
        last_id = _number(request.headers.get("Last-Event-ID"))
        if self._refuses(last_id):
            return web.Response(status=500, text="can't resume")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        if self._retry_ms is not None:
            await response.write(b"retry: %d\n\n" % self._retry_ms)
        try:
            async for number in self._numbers(last_id):
                own_id = b"" if self._defect == "no-ids" else b"id: %d\n" % number
                await response.write(b"%sdata: tick\n\n" % own_id)
            if self._is_cut(request):
                return response
            await response.write_eof()
        except ConnectionResetError:
            pass  # the client has left
        return response

    async def ws(self, request: web.Request) -> web.StreamResponse:
        """A WebSocket with the same events as JSON, from the one after ``after`` on."""
        last_id = _number(request.query.get("after"))
        if self._refuses(last_id):
            return web.Response(status=500, text="can't resume")
        socket = web.WebSocketResponse(timeout=1.0)
        await socket.prepare(request)
        listener = asyncio.create_task(_listen(socket))
        try:
            async for number in self._numbers(last_id):
                if socket.closed:
                    break
                await socket.send_str(json.dumps({"event": "tick"} if self._defect == "no-ids" else {"id": number, "event": "tick"}))
        except ConnectionResetError:
            pass  # the client has left
        finally:
            listener.cancel()
            await asyncio.wait([listener])
        if not socket.closed and not self._is_cut(request):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"stopping")
        return socket

    async def poll(self, request: web.Request) -> web.Response:
        """A long poll: the number of the event after ``ms`` milliseconds, or 204 when the app stops before."""
        if await self._wait(_seconds(request)) and self._defect == "cuts-polls":
            self._abort(request)
        if self._stopping.is_set():
            return web.Response(status=204)
        return web.json_response({"id": self._now()})

    async def slow(self, request: web.Request) -> web.Response:
        """An answer that takes ``ms`` milliseconds, whatever happens meanwhile."""
        await asyncio.sleep(_seconds(request))
        return web.Response(text="slow")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Chunks, ``ms`` milliseconds apart, and then ``end``."""
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            for number in range(min(1000, int(request.query.get("chunks", "5")))):
                await asyncio.sleep(_seconds(request))
                await response.write(b"chunk %d\n" % number)
            await response.write(b"end\n")
            await response.write_eof()
        except ConnectionResetError:
            pass  # the client has left
        return response

    async def _numbers(self, last_id: int | None) -> AsyncIterator[int]:
        """The numbers of events from the one after ``last_id`` on, each when it happens, until the app stops."""
        following = self._first(last_id)
        while not self._stopping.is_set() or self._defect == "holds-streams":
            for number in range(following, self._now() + 1):
                if self._defect != "skips-events" or number % _SKIPPED:
                    yield number
                following = number + 1
            await self._wait((following * self._tick_ns - time.monotonic_ns()) / 1e9)

    def _first(self, last_id: int | None) -> int:
        now = self._now()
        if last_id is None or self._defect == "ignores-last-id":
            return now
        if self._defect == "repeats-events":
            return last_id + 1 - _REPEATED
        return max(last_id + 1, now - MOST_BEHIND)

    def _now(self) -> int:
        return time.monotonic_ns() // self._tick_ns

    async def _wait(self, seconds: float) -> bool:
        """Sleep; true when SIGTERM came before."""
        if self._defect == "holds-streams":
            await asyncio.sleep(max(0.0, seconds))
            return False
        try:
            await asyncio.wait_for(self._stopping.wait(), max(0.0, seconds))
        except TimeoutError:
            return False
        return True

    def _refuses(self, last_id: int | None) -> bool:
        return last_id is not None and self._defect == "refuses-resumption"

    def _is_cut(self, request: web.Request) -> bool:
        """Cut the connection, where that is planted."""
        if self._defect != "cuts-streams":
            return False
        self._abort(request)
        return True

    def _abort(self, request: web.Request) -> None:
        if request.transport is not None:
            request.transport.abort()


async def _listen(socket: web.WebSocketResponse) -> None:
    """Hear pings and the client's goodbye."""
    while (await socket.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
        pass


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _seconds(request: web.Request) -> float:
    return min(LONGEST_S, int(request.query.get("ms", "100")) / 1000)


def _closing(app: App) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def close_when_stopping(_: web.Request, response: web.StreamResponse) -> None:
        if app.is_stopping and not response.prepared:
            response.force_close()

    return close_when_stopping


async def _wait_turns(seconds: float) -> None:
    """Sleep, and do all that came meanwhile: on a machine that held up this process the time may have gone by in a single turn."""
    await asyncio.sleep(seconds)
    for _ in range(_TURNS):
        await asyncio.sleep(0)


async def _serve(settings: Settings) -> None:
    app = App(settings)
    web_app = web.Application()
    web_app.add_routes(app.routes())
    web_app.on_response_prepare.append(_closing(app))
    runner = web.AppRunner(web_app, access_log=None, shutdown_timeout=3600.0)
    await runner.setup()
    loop = asyncio.get_running_loop()
    assert runner.server is not None  # noqa: S101  it was set up
    port = await loop.create_server(runner.server, settings.host, settings.port, backlog=1024)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, app.stop)
    print(f"listening on {settings.host}:{settings.port}", flush=True)
    await app.stopped()
    print("stopping: streams are ended, what is in flight is answered", flush=True)
    await asyncio.sleep(LINGER_S)
    for listener in port.sockets:
        let_no_connection_begin(listener)
    await _wait_turns(HANDSHAKE_S)
    port.close()
    # aiohttp never answers what comes on a connection that it began to close before that was ready, and waits for it to be answered.
    await _wait_turns(FIRST_REQUEST_S)
    await runner.cleanup()
    print("bye", flush=True)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM."""
    asyncio.run(_serve(settings))
