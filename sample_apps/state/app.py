"""What the app answers. The process keeps nothing: each request asks the store.

A compare-and-set is a ``PUT`` with ``?if=``; one that finds another value is answered 409 and has changed nothing. Whatever else is not
answered with 2xx may have happened.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException

from sample_apps.state.body import text_in_body
from sample_apps.state.defects import plant
from sample_apps.state.journey import add_journey
from sample_apps.state.settings import read_settings
from sample_apps.state.store import Store, StoreUnavailableError, open_store

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

_VERSION: Final = "1.4.2"
_LARGEST_PAGE: Final = 100_000
_SLOW_S: Final = 0.05

_INDEX: Final = """State to be judged.
PUT GET /registers/<key>  {"value": "..."}  ?if=<old>    POST GET /counters/<key>  Idempotency-Key: ...
GET /sets/<key>?after=&limit=  PUT DELETE GET /sets/<key>/<element>    POST GET /logs/<key>  {"value": "..."}
POST /login  {"user": "..."}  GET /me  POST /form/step1  POST /form/step2    PUT /upload/<id>/<part>  GET /upload/<id>
GET /config  /healthz  /slow
"""


def create_app(store: Store | None = None) -> Flask:
    """The WSGI app over ``store``, by default the one that the environment names, with the defect that it asks for."""
    version = _VERSION
    if store is None:
        settings = read_settings(os.environ)
        store = plant(open_store(settings), settings)
        if settings.defect == "own-version":
            version = uuid4().hex
    app = Flask(__name__, static_folder=None)
    _add_registers(app, store)
    _add_counters(app, store)
    _add_sets(app, store)
    _add_logs(app, store)
    add_journey(app, store)
    _add_rest(app, store, version)
    app.register_error_handler(StoreUnavailableError, _store_unavailable)
    app.register_error_handler(HTTPException, _refused)
    return app


def _add_registers(app: Flask, store: Store) -> None:
    @app.get("/registers/<key>")
    def read(key: str) -> ResponseReturnValue:
        value = store.read(key)
        return {"value": value} if value is not None else _absent("nobody has written it")

    @app.put("/registers/<key>")
    def write(key: str) -> ResponseReturnValue:
        value, old = text_in_body("value"), request.args.get("if")
        if old is None:
            store.write(key, value)
        elif not store.replace(key, old, value):
            return {"error": "it has another value"}, 409
        return {"value": value}


def _add_counters(app: Flask, store: Store) -> None:
    @app.get("/counters/<key>")
    def count(key: str) -> ResponseReturnValue:
        return {"count": store.count(key)}

    @app.post("/counters/<key>")
    def add_one(key: str) -> ResponseReturnValue:
        return {"count": store.add_one(key, request.headers.get("Idempotency-Key", ""))}


def _add_sets(app: Flask, store: Store) -> None:
    @app.get("/sets/<key>")
    def elements(key: str) -> ResponseReturnValue:
        limit = _limit()
        found = store.elements(key, request.args.get("after", ""), limit)
        more = limit is not None and len(found) == limit
        return {"elements": found, **({"next": found[-1]} if more else {})}

    @app.get("/sets/<key>/<element>")
    def has(key: str, element: str) -> ResponseReturnValue:
        return {"element": element} if store.has(key, element) else _absent("it is not in the set")

    @app.put("/sets/<key>/<element>")
    def add(key: str, element: str) -> ResponseReturnValue:
        store.add(key, element)
        return {"element": element}

    @app.delete("/sets/<key>/<element>")
    def remove(key: str, element: str) -> ResponseReturnValue:
        store.remove(key, element)
        return {"element": None}


def _add_logs(app: Flask, store: Store) -> None:
    @app.get("/logs/<key>")
    def entries(key: str) -> ResponseReturnValue:
        return {"entries": store.entries(key)}

    @app.post("/logs/<key>")
    def append(key: str) -> ResponseReturnValue:
        value = text_in_body("value")
        store.append(key, value)
        return {"value": value}, 201


def _add_rest(app: Flask, store: Store, version: str) -> None:
    @app.get("/")
    def index() -> ResponseReturnValue:
        return Response(_INDEX, mimetype="text/plain")

    @app.get("/healthz")
    def healthz() -> ResponseReturnValue:
        store.ping()
        return Response("ok", mimetype="text/plain")

    @app.get("/config")
    def config() -> ResponseReturnValue:
        served_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return {"largest_page": _LARGEST_PAGE, "served_at": served_at, "version": version}

    @app.get("/slow")
    def slow() -> ResponseReturnValue:
        time.sleep(_SLOW_S)
        return Response("slow\n", mimetype="text/plain")


def _limit() -> int | None:
    text = request.args.get("limit")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        abort(400, f"limit must be a whole number from 1 on, not {text!r}.")
    return min(int(text), _LARGEST_PAGE)


def _absent(why: str) -> ResponseReturnValue:
    return {"error": why}, 404


def _store_unavailable(error: StoreUnavailableError) -> ResponseReturnValue:
    return {"error": f"The store does not answer: {error}."}, 503


def _refused(error: HTTPException) -> ResponseReturnValue:
    return {"error": error.description}, error.code or 500
