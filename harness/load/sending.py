"""One kind of request, compiled once and rendered for each op."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harness.clock import Dice
from harness.load.client import Expect
from harness.template import Template, compile_json, compile_template, draw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.load.spec import RequestSpec


class Sending:
    """One kind of request, compiled. ``index`` is its place in the scenario."""

    def __init__(self, index: int, spec: RequestSpec, *, keep_alive: bool) -> None:
        given = {name.lower(): value for name, value in spec.headers}
        self.index = index
        self.method = spec.method
        self.has_id = "x-request-id" in given
        self.has_host = "host" in given
        # The table asks for a method; PUT stands for "may be repeated" where the scenario says so of another one.
        self.repeatable = "PUT" if spec.idempotent else spec.method
        self._path = compile_template(spec.path)
        self._headers = [(name, compile_template(value)) for name, value in _all_headers(spec, keep_alive=keep_alive)]
        self._body = compile_json(json.loads(spec.json)) if spec.json else compile_template(spec.body)
        self._has_body = bool(spec.json or spec.body) or spec.method in ("POST", "PUT", "PATCH")
        self._contains = compile_template(spec.body_contains)
        self._whole = compile_template(spec.body_is) if spec.body_is is not None else None
        self._statuses = frozenset(spec.statuses)
        self.bare: frozenset[int] = frozenset()
        expected = [self._contains] if self._whole is None else [self._contains, self._whole]
        templates: list[Template] = [self._path, self._body, *expected, *(value for _, value in self._headers)]
        self.names = tuple(dict.fromkeys(name for template in templates for name in template.names))
        self._fixed = None if self.names else self._render({})

    def render(self, dice: Dice, *, user: int, seq: int) -> tuple[bytes, bytes, Expect]:
        """The request line, the rest of the request, and what a good answer is like; the Host header goes between the two."""
        return self._fixed or self._render(draw(dice, self.names, user=user, seq=seq))

    def whole(self, start: bytes, rest: bytes, authority: bytes, attempt: tuple[int, int]) -> bytes:
        """The request to a replica, with the number of the op and of the attempt, so that the app's log can be laid beside the ledger."""
        if self.has_id or self.has_host:
            host = b"" if self.has_host else b"Host: %b\r\n" % authority
            own_id = b"" if self.has_id else b"X-Request-Id: %d-%d\r\n" % attempt
            return b"%b%b%b%b" % (start, host, own_id, rest)
        return b"%bHost: %b\r\nX-Request-Id: %d-%d\r\n%b" % (start, authority, *attempt, rest)

    def render_with(self, dice: Dice, given: Mapping[str, str], *, user: int, seq: int) -> tuple[bytes, bytes, Expect]:
        """As `render`, with values for placeholders that chance does not decide; the body of the answer is kept."""
        start, rest, expect = self._render({**draw(dice, self.names, user=user, seq=seq), **given})
        expect.keep = True
        expect.bare = self.bare
        return start, rest, expect

    def _render(self, values: Mapping[str, str]) -> tuple[bytes, bytes, Expect]:
        body = self._body.render(values).encode()
        headers = "".join(f"{name}: {value.render(values)}\r\n" for name, value in self._headers)
        length = f"Content-Length: {len(body)}\r\n" if self._has_body else ""
        expect = Expect(
            statuses=self._statuses,
            contains=self._contains.render(values).encode(),
            body=self._whole.render(values).encode() if self._whole is not None else None,
            head=self.method == "HEAD",
        )
        start = f"{self.method} {self._path.render(values)} HTTP/1.1\r\n"
        return start.encode(), f"{headers}{length}\r\n".encode() + body, expect


def _all_headers(spec: RequestSpec, *, keep_alive: bool) -> list[tuple[str, str]]:
    given = {name.lower() for name, _ in spec.headers}
    defaults = [("User-Agent", "jetable"), ("Accept", "*/*")]
    if spec.json:
        defaults.append(("Content-Type", "application/json"))
    if not keep_alive:
        defaults.append(("Connection", "close"))
    return [(name, value) for name, value in defaults if name.lower() not in given] + list(spec.headers)
