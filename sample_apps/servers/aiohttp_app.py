"""``PORT=8000 python -m sample_apps.servers.aiohttp_app``: the routes on aiohttp's own server, run by ``web.run_app`` as it stands."""

from __future__ import annotations

import asyncio
import os

from aiohttp import web

from sample_apps.servers import duration_s, work


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _echo(request: web.Request) -> web.Response:
    return web.Response(text=request.match_info["value"])


async def _slow(request: web.Request) -> web.Response:
    await asyncio.sleep(duration_s(request.query_string, 300))
    return web.Response(text="slow")


async def _work(request: web.Request) -> web.Response:
    work(request.query_string)
    return web.Response(text="work")


def create_app() -> web.Application:
    """The routes."""
    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", _healthz),
            web.get("/echo/{value}", _echo),
            web.get("/slow", _slow),
            web.get("/work", _work),
        ]
    )
    return app


if __name__ == "__main__":
    web.run_app(create_app(), host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None)
