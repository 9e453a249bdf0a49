"""The routes as an ASGI app without a framework, for uvicorn and hypercorn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sample_apps.servers import duration_s, work

_Message = MutableMapping[str, Any]  # ASGI's own types are of this shape


async def app(scope: _Message, receive: Callable[[], Awaitable[_Message]], send: Callable[[_Message], Awaitable[None]]) -> None:
    """Answer one request, or say yes to the server's start and stop."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    path, query, status = scope["path"], scope["query_string"].decode("latin-1"), 200
    if path == "/healthz":
        body = b"ok"
    elif path == "/slow":
        await asyncio.sleep(duration_s(query, 300))
        body = b"slow"
    elif path == "/work":
        work(query)
        body = b"work"
    elif path.startswith("/echo/"):
        body = path.removeprefix("/echo/").encode()
    else:
        status, body = 404, b"no such route"
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Callable[[], Awaitable[_Message]], send: Callable[[_Message], Awaitable[None]]) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
