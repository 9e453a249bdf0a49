"""What a request's body says."""

from __future__ import annotations

from flask import abort, request


def text_in_body(name: str) -> str:
    """The text ``name`` of a JSON object; 400 when there is none."""
    body = request.get_json()
    if not isinstance(body, dict) or not isinstance(body.get(name), str):
        abort(400, f'The body must be a JSON object with a string "{name}".')
    return str(body[name])
