"""One request to one replica."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from harness.clock import Dice
from harness.scenario import Request
from harness.state import asker as module
from harness.state.asker import Asker, Form, Place, Ready
from harness.tls import tls_with
from tests.load.servers import CERTIFICATE, server_context
from tests.state.apps import CLOCK, Got, Says, app, asker, said

GET = Ready(method="GET", path="/")


@contextmanager
def raw(serve: Callable[[socket.socket], None], times: int = 1) -> Iterator[Place]:
    """A listener that treats its first connections as ``serve`` says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            for _ in range(times):
                peer, _address = listener.accept()
                with peer:
                    serve(peer)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield Place(name="web.1", host="127.0.0.1", port=listener.getsockname()[1])
        thread.join(10)


def test_what_is_asked_is_what_the_scenario_says_and_nothing_of_a_browser() -> None:
    request = Request.model_validate({"request": "POST /items?a=1", "json": {"a": 1}, "headers": {"X-Own": "b"}})
    with app(lambda _got: said({"ok": True}, 201)) as web, closing(asker()) as asks:
        asked = asks.ask(web.place, Form(request).ready({}))
    (got,) = web.asked
    assert (got.method, got.path, got.body) == ("POST", "/items?a=1", b'{"a":1}')
    assert got.headers == {
        "host": f"127.0.0.1:{web.port}",
        "user-agent": "jetable",
        "accept": "*/*",
        "content-type": "application/json",
        "x-own": "b",
        "content-length": "7",
    }
    assert (asked.status, asked.body, asked.error, asked.header("content-type")) == (201, b'{"ok": true}', "", "application/json")
    assert 0 < asked.at_ns <= asked.done_ns


def test_values_are_written_as_their_place_asks_for() -> None:
    awkward = 'a&b="c" ü/%'
    written = {
        "request": "POST /x/{kept:a}?q={kept:a}",
        "json": {"v": "{kept:a}"},
        "expect": {"body_contains": "{kept:a}"},
    }
    form = Form(Request.model_validate(written))
    ready = form.ready({"kept:a": awkward})
    assert ready.path == "/x/a%26b%3D%22c%22%20%C3%BC%2F%25?q=a%26b%3D%22c%22%20%C3%BC%2F%25"
    assert ready.body == '{"v":"a&b=\\"c\\" ü/%"}'.encode()
    plain = {"request": "POST /x", "body": "v={kept:a}"}
    assert Form(Request.model_validate(plain)).ready({"kept:a": awkward}).body == f"v={awkward}".encode()
    as_form = plain | {"headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    assert Form(Request.model_validate(as_form)).ready({"kept:a": awkward}).body == b"v=a%26b%3D%22c%22%20%C3%BC%2F%25"


def test_what_is_not_given_is_drawn_and_the_same_within_one_request() -> None:
    form = Form(Request.model_validate({"request": "POST /{uuid}/{key}", "body": "{uuid}"}))
    values = form.values(Dice(1), {"key": "k"}, seq=1)
    ready = form.ready(values)
    assert ready.path == f"/{values['uuid']}/k"
    assert ready.body == values["uuid"].encode()


@pytest.mark.parametrize(
    ("expect", "answer", "problem"),
    [
        ({}, Says(status=302), ""),
        ({}, Says(status=404), "answered with 404"),
        ({"status": 404}, Says(status=404), ""),
        ({"body": "pong"}, Says(body=b"pong"), ""),
        ({"body": "pong"}, Says(body=b"ping"), "its body is another one than expected"),
        ({"body_contains": "on"}, Says(body=b"pong"), ""),
        ({"body_contains": "on"}, Says(body=b"ping"), "its body lacks what it must contain"),
    ],
)
def test_a_good_answer_is_as_the_scenario_expects(expect: dict[str, object], answer: Says, problem: str) -> None:
    form = Form(Request.model_validate({"request": "GET /", "expect": expect}))
    with app(lambda _got: answer) as web, closing(asker()) as asks:
        assert form.problem(asks.ask(web.place, form.ready({})), {}) == problem


def test_a_redirect_is_an_answer_and_is_never_followed() -> None:
    with app(lambda _got: Says()) as foreign, closing(asker()) as asks:
        with app(lambda _got: Says(status=307, headers=(("Location", f"http://127.0.0.1:{foreign.port}/"),))) as web:
            assert asks.ask(web.place, GET).status == 307
        assert not foreign.asked


def test_the_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with app(lambda _got: said(1)) as web, closing(asker()) as asks:
        assert asks.ask(web.place, GET).body == b"1"


def test_reads_share_a_connection_and_writes_have_their_own() -> None:
    with app(lambda _got: said(1)) as web, closing(asker()) as asks:
        for _ in range(3):
            assert asks.ask(web.place, GET).body == b"1"
        assert web.connections == 1
        for _ in range(2):
            assert asks.ask(web.place, Ready(method="POST", path="/", body=b"")).body == b"1"
        assert web.connections == 3
        assert asks.ask(web.place, Ready(method="HEAD", path="/")).status == 200
        assert asks.ask(web.place, GET).body == b"1"
        assert web.connections == 3


def test_a_read_on_a_connection_that_was_closed_meanwhile_goes_over_a_new_one() -> None:
    def once(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")

    with raw(once, times=2) as place, closing(asker()) as asks:
        assert [asks.ask(place, GET).body for _ in range(2)] == [b"1", b"1"]


def test_nobody_there_is_surely_not_reached() -> None:
    with closing(asker()) as asks:
        with app(lambda _got: Says()) as web:
            pass
        asked = asks.ask(web.place, GET)
    assert (asked.error, asked.unsent, asked.status) == ("ConnectionRefusedError", True, 0)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "RemoteDisconnected"),
        (b"HTTP/1.1 2", "BadStatusLine"),
        (b"nonsense\r\n\r\n", "BadStatusLine"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "its body was cut off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "its body was cut off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "its body was cut off"),
    ],
)
def test_what_is_no_whole_answer_is_an_error(answer: bytes, error: str) -> None:
    def serve(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(answer)

    with raw(serve) as place, closing(asker()) as asks:
        asked = asks.ask(place, GET)
    assert (asked.error, asked.body, asked.unsent) == (error, b"", False)


def test_chunks_and_the_end_of_the_connection_end_a_body() -> None:
    for answer in (b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", b"\r\nab"):

        def serve(peer: socket.socket, answer: bytes = answer) -> None:
            peer.recv(4096)
            peer.sendall(b"HTTP/1.1 200 OK\r\n" + answer)

        with raw(serve) as place, closing(asker()) as asks:
            asked = asks.ask(place, GET)
        assert (asked.body, asked.error) == (b"ab", "")


@pytest.mark.parametrize("where", ["headers", "body"])
def test_an_answer_that_drips_is_none(where: str) -> None:
    over = threading.Event()

    def serve(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(b"HTTP/1.1 200 OK\r\n" + (b"X: " if where == "headers" else b"Content-Length: 100000\r\n\r\n"))
        for _ in range(2000):
            if over.wait(0.005):
                return
            try:
                peer.sendall(b"x")
            except OSError:
                return

    with raw(serve) as place, closing(asker(timeout_s=0.05)) as asks:
        assert asks.ask(place, GET).error == "no whole answer within 0.05 s"
        over.set()


def test_a_body_without_an_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1 << 20)
    with app(lambda _got: Says(body=b"x" * ((1 << 20) + 1))) as web, closing(asker()) as asks:
        assert asks.ask(web.place, GET).error == "its body is longer than 1 MiB"
        assert asks.ask(web.place, GET).error, "and the connection is not used again"
    assert web.connections == 2


def test_a_value_that_can_not_stand_in_a_header_is_told() -> None:
    form = Form(Request.model_validate({"request": "GET /", "headers": {"X-Token": "{kept:t}"}}))
    with app(lambda _got: Says()) as web, closing(asker()) as asks:
        for value in ("a\r\nX-Other: b", "🙂"):
            assert asks.ask(web.place, form.ready({"kept:t": value})).error.startswith("it can't be sent: ")
        assert not web.asked


def over_tls(serve: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    def wrapped(peer: socket.socket) -> None:
        with server_context().wrap_socket(peer, server_side=True) as secure:
            serve(secure)

    return wrapped


def test_an_app_that_speaks_tls_is_asked_with_tls() -> None:
    def serve(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with raw(over_tls(serve)) as place, closing(Asker(CLOCK, timeout_s=5, tls=tls_with(str(CERTIFICATE), "localhost"))) as asks:
        assert asks.ask(place, GET).body == b"ok"


def test_an_app_without_the_tls_that_was_promised_is_told() -> None:
    def serve(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with raw(serve) as place, closing(Asker(CLOCK, timeout_s=5, tls=tls_with("", ""))) as asks:
        asked = asks.ask(place, GET)
    assert "does not speak TLS as it should" in asked.error
    assert asked.unsent


def test_a_replica_that_dies_in_the_middle_is_an_error_and_no_exception() -> None:
    def answer(got: Got) -> Says:
        return Says(body=b"abc", cut=1) if len(web.asked) > 1 else said(got.path)

    with app(answer) as web, closing(asker()) as asks:
        assert asks.ask(web.place, GET).body == b'"/"'
        assert asks.ask(web.place, GET).error == "its body was cut off"
        web.stop()
        assert asks.ask(web.place, GET).error
