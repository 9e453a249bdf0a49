"""What the app answers. Each request touches the store or nothing: there is no state in the process.

`GET /items/{id}` answers 200 for an id that nobody has written (its name is null), so that a load of random ids needs no set-up.
`PUT` and `DELETE` are idempotent; `POST` makes up the id.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING
from uuid import uuid4

from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException

from sample_apps.web.settings import read_settings
from sample_apps.web.store import Store, StoreUnavailableError, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.typing import ResponseReturnValue

_LONGEST_ANSWER_MS = 30_000
_MOST_CHUNKS = 1_000
_PAGE = 100
_LARGEST_PAGE = 100_000

_INDEX = """A small web app to stop, kill and scale.
GET /healthz  /items  /items/<id>  /slow?ms=300  /stream?chunks=5&ms=50  /echo/<value>
POST /items  PUT /items/<id>  {"name": "..."}  DELETE /items/<id>
"""


def create_app(store: Store | None = None) -> Flask:
    """The WSGI app over ``store``, by default the one that the environment names."""
    app = Flask(__name__, static_folder=None)
    _add_items(app, store or open_store(read_settings(os.environ)))
    _add_waits(app)
    app.register_error_handler(StoreUnavailableError, _store_unavailable)
    app.register_error_handler(HTTPException, _refused)
    return app


def _add_items(app: Flask, store: Store) -> None:
    @app.get("/healthz")
    def healthz() -> ResponseReturnValue:
        store.ping()
        return _text("ok")

    @app.get("/items")
    def list_items() -> ResponseReturnValue:
        limit = _query_number("limit", default=_PAGE, highest=_LARGEST_PAGE)
        count, page = store.page(request.args.get("after", ""), limit)
        return {"count": count, "items": [{"id": item_id, "name": name} for item_id, name in page]}

    @app.get("/items/<item_id>")
    def get_item(item_id: str) -> ResponseReturnValue:
        return {"id": item_id, "name": store.get(item_id)}

    @app.post("/items")
    def create_item() -> ResponseReturnValue:
        item_id, name = uuid4().hex, _name_in_body()
        store.put(item_id, name)
        return {"id": item_id, "name": name}, 201, {"Location": f"/items/{item_id}"}

    @app.put("/items/<item_id>")
    def put_item(item_id: str) -> ResponseReturnValue:
        name = _name_in_body()
        store.put(item_id, name)
        return {"id": item_id, "name": name}

    @app.delete("/items/<item_id>")
    def delete_item(item_id: str) -> ResponseReturnValue:
        store.delete(item_id)
        return {"id": item_id, "name": None}


def _add_waits(app: Flask) -> None:
    @app.get("/")
    def index() -> ResponseReturnValue:
        return _text(_INDEX)

    @app.get("/echo/<value>")
    def echo(value: str) -> ResponseReturnValue:
        return _text(value)

    @app.get("/slow")
    def slow() -> ResponseReturnValue:
        ms = _query_number("ms", default=300, highest=_LONGEST_ANSWER_MS)
        time.sleep(ms / 1000)
        return _text("slow\n")

    @app.get("/stream")
    def stream() -> ResponseReturnValue:
        chunks = _query_number("chunks", default=5, highest=_MOST_CHUNKS)
        ms = _query_number("ms", default=50, highest=_LONGEST_ANSWER_MS // max(1, chunks))

        def lines() -> Iterator[str]:
            for number in range(1, chunks + 1):
                yield f"chunk {number}\n"
                time.sleep(ms / 1000)
            yield "end\n"

        return Response(lines(), mimetype="text/plain")


def _text(body: str) -> Response:
    return Response(body, mimetype="text/plain")


def _query_number(name: str, *, default: int, highest: int) -> int:
    """The query's whole number ``name``, lowered to ``highest``."""
    text = request.args.get(name, str(default))
    if not text.isascii() or not text.isdigit():
        abort(400, f"{name} must be a whole number, not {text!r}.")
    return min(int(text), highest)


def _name_in_body() -> str:
    body = request.get_json()
    if not isinstance(body, dict) or not isinstance(body.get("name"), str):
        abort(400, 'The body must be a JSON object with a string "name".')
    return str(body["name"])


def _store_unavailable(error: StoreUnavailableError) -> ResponseReturnValue:
    return {"error": f"The store does not answer: {error}."}, 503


def _refused(error: HTTPException) -> ResponseReturnValue:
    return {"error": error.description}, error.code or 500
