"""Requests that make sense one after the other, each of which any replica may answer: a login, a form in two steps, an upload in parts.

What one request leaves for the next is in the store, in registers whose names hold a slash, which no key of the API can. Only a cookie and
a token are with the client.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from flask import Flask, abort, jsonify, request

from sample_apps.state.body import text_in_body

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from sample_apps.state.store import Store

SESSIONS: Final = "session/"
"""How the name of each register of a session begins."""

_COOKIE: Final = "session"
_TOKEN: Final = "X-CSRF-Token"  # noqa: S105  the name of a header
_LARGEST_PART: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who is logged in. ``csrf`` must come with each change."""

    id: str
    user: str
    csrf: str


def add_journey(app: Flask, store: Store) -> None:
    """Give ``app`` its requests."""
    _add_login(app, store)
    _add_form(app, store)
    _add_upload(app, store)


def _add_login(app: Flask, store: Store) -> None:
    @app.post("/login")
    def login() -> ResponseReturnValue:
        session = Session(id=uuid4().hex, user=text_in_body("user"), csrf=uuid4().hex)
        _keep(store, session.id, "", {"user": session.user, "csrf": session.csrf})
        answer = jsonify({"csrf": session.csrf})
        answer.set_cookie(_COOKIE, session.id, httponly=True, samesite="Lax")
        return answer

    @app.get("/me")
    def me() -> ResponseReturnValue:
        return {"user": _session(store).user}


def _add_form(app: Flask, store: Store) -> None:
    @app.post("/form/step1")
    def step1() -> ResponseReturnValue:
        session, token = _session(store), uuid4().hex
        _check_token(session.csrf)
        _keep(store, session.id, "/form", {"name": text_in_body("name"), "token": token})
        return {"token": token}

    @app.post("/form/step2")
    def step2() -> ResponseReturnValue:
        first = _kept(store, _session(store).id, "/form")
        if first is None:
            abort(409, "The first step is missing.")
        _check_token(first["token"])
        return {"name": first["name"], "address": text_in_body("address")}


def _add_upload(app: Flask, store: Store) -> None:
    @app.route("/upload/<upload>/<int:part>", methods=["PUT", "POST"])
    def put_part(upload: str, part: int) -> ResponseReturnValue:
        if (request.content_length or 0) > _LARGEST_PART:
            abort(413, f"A part has {_LARGEST_PART} bytes at most.")
        text = request.get_data(as_text=True)
        store.write(f"upload/{upload}/{part}", text)
        store.add(f"upload/{upload}", str(part))
        return {"upload": upload, "part": part, "length": len(text)}

    @app.get("/upload/<upload>")
    def get_upload(upload: str) -> ResponseReturnValue:
        parts = sorted(int(part) for part in store.elements(f"upload/{upload}"))
        if not parts:
            abort(404, "No part of it is here.")
        return {"parts": parts, "text": "".join(store.read(f"upload/{upload}/{part}") or "" for part in parts)}


def _session(store: Store) -> Session:
    """The session that the request's cookie names; 401 when there is none."""
    name = request.cookies.get(_COOKIE, "")
    kept = _kept(store, name, "") if name.isalnum() else None
    if kept is None:
        abort(401, "Log in first.")
    return Session(id=name, user=kept["user"], csrf=kept["csrf"])


def _check_token(token: str) -> None:
    if request.headers.get(_TOKEN, "") != token:
        abort(403, f"The header {_TOKEN} must have the token of the request before.")


def _keep(store: Store, session: str, what: str, fields: dict[str, str]) -> None:
    store.write(f"{SESSIONS}{session}{what}", json.dumps(fields))


def _kept(store: Store, session: str, what: str) -> dict[str, str] | None:
    text = store.read(f"{SESSIONS}{session}{what}")
    return None if text is None else {str(name): str(value) for name, value in json.loads(text).items()}
