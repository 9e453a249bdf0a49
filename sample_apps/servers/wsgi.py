"""The routes as a WSGI app without a framework: ``app`` for gunicorn and waitress, ``flask_app`` for what takes only a Flask app."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flask import Flask

from sample_apps.servers import duration_s, work

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer one request; it holds its thread as long as it lasts."""
    path, query, status = environ["PATH_INFO"], environ.get("QUERY_STRING", ""), "200 OK"
    if path == "/healthz":
        body = b"ok"
    elif path == "/slow":
        time.sleep(duration_s(query, 300))
        body = b"slow"
    elif path == "/work":
        work(query)
        body = b"work"
    elif path.startswith("/echo/"):
        body = path.removeprefix("/echo/").encode("latin-1")
    else:
        status, body = "404 Not Found", b"no such route"
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


flask_app = Flask(__name__, static_folder=None)
flask_app.wsgi_app = app  # type: ignore[method-assign]  # as Flask's own documentation puts something before its app
