"""A kind of request, compiled: what leaves for each op, and what a good answer is like."""

from __future__ import annotations

import pytest

from harness.clock import Dice
from harness.load.sending import Sending
from harness.load.spec import RequestSpec

GET = RequestSpec(method="GET", path="/items")
PUT = RequestSpec(
    method="PUT", path="/items/{key}?if={old}", headers=(("X-User", "{user}"),), json='{"name": "{value}"}', body_contains="{value}"
)
GIVEN = {"key": "m-things-3", "value": "m-17", "old": "m-4"}


def sending(spec: RequestSpec, **changes: bool) -> Sending:
    return Sending(0, spec, **{"keep_alive": True, **changes})


def test_a_request_without_placeholders_is_made_once() -> None:
    compiled = sending(GET)
    first, second = (compiled.render(Dice(seed), user=seed, seq=seed) for seed in (1, 2))
    assert first is second
    assert first[0] == b"GET /items HTTP/1.1\r\n"
    assert first[1] == b"User-Agent: jetable\r\nAccept: */*\r\n\r\n"


def test_what_is_given_stands_in_path_body_and_expected_answer_and_chance_in_the_rest() -> None:
    start, rest, expect = sending(PUT).render_with(Dice(1), GIVEN, user=5, seq=9)
    assert start == b"PUT /items/m-things-3?if=m-4 HTTP/1.1\r\n"
    assert rest.endswith(b'\r\nX-User: 5\r\nContent-Length: 15\r\n\r\n{"name":"m-17"}')
    assert (expect.contains, expect.keep) == (b"m-17", True)


def test_only_a_request_whose_answer_is_read_keeps_its_body() -> None:
    compiled = sending(GET)
    assert compiled.render_with(Dice(1), {}, user=1, seq=1)[2].keep
    assert not compiled.render(Dice(1), user=1, seq=1)[2].keep


@pytest.mark.parametrize(
    ("headers", "lines"),
    [
        ((), [b"Host: a:1", b"X-Request-Id: 7-2"]),
        ((("host", "shop"),), [b"X-Request-Id: 7-2"]),
        ((("X-REQUEST-ID", "mine"),), [b"Host: a:1"]),
        ((("host", "shop"), ("x-request-id", "mine")), []),
    ],
)
def test_the_host_and_the_number_of_the_attempt_are_added_unless_the_scenario_has_them(
    headers: tuple[tuple[str, str], ...], lines: list[bytes]
) -> None:
    compiled = sending(RequestSpec(method="GET", path="/", headers=headers))
    start, rest, _ = compiled.render(Dice(1), user=1, seq=1)
    whole = compiled.whole(start, rest, b"a:1", (7, 2))
    assert whole.startswith(b"GET / HTTP/1.1\r\n")
    added = whole.split(b"\r\n")[1 : 1 + len(lines)]
    assert added == lines
    assert whole == start + b"".join(line + b"\r\n" for line in lines) + rest


@pytest.mark.parametrize(("method", "has"), [("GET", False), ("DELETE", False), ("POST", True), ("PUT", True), ("PATCH", True)])
def test_a_method_that_changes_something_says_how_long_its_body_is(method: str, has: bool) -> None:  # noqa: FBT001  of a table
    _, rest, _ = sending(RequestSpec(method=method, path="/")).render(Dice(1), user=1, seq=1)
    assert (b"Content-Length: 0" in rest) is has


def test_what_the_scenario_calls_idempotent_may_be_repeated() -> None:
    assert sending(RequestSpec(method="POST", path="/", idempotent=True)).repeatable == "PUT"
    assert sending(RequestSpec(method="POST", path="/")).repeatable == "POST"


def test_without_keep_alive_each_request_says_that_it_is_the_last_one() -> None:
    assert b"Connection: close\r\n" in sending(GET, keep_alive=False).render(Dice(1), user=1, seq=1)[1]


def test_a_head_has_no_body() -> None:
    assert sending(RequestSpec(method="HEAD", path="/")).render(Dice(1), user=1, seq=1)[2].head
