"""Effects in a file, and in an answer of the app."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.job_history import job_pattern
from harness.jobs.places import AppEffects, FileEffects
from harness.services.base import ServiceError


def test_whole_lines_of_a_file_are_handed_out_once(tmp_path: Path) -> None:
    path = tmp_path / "done"
    effects = FileEffects(path)
    assert list(effects.new()) == []
    path.write_text("a\nb")
    assert list(effects.new()) == ["a"]
    with path.open("a") as file:
        file.write("c\na\n")
    assert list(effects.new()) == ["bc", "a"]
    assert list(effects.new()) == []


def test_what_stood_in_the_file_before_is_nobody_s_effect(tmp_path: Path) -> None:
    path = tmp_path / "done"
    path.write_text("old\n")
    effects = FileEffects(path)
    with path.open("a") as file:
        file.write("new\n")
    assert list(effects.new()) == ["new"]


@pytest.mark.skipif(os.geteuid() != 0, reason="a folder in place of the file is all that a test without root can make unreadable")
def test_a_file_that_can_t_be_read_is_no_effect_but_a_problem(tmp_path: Path) -> None:
    (tmp_path / "done").mkdir()
    with pytest.raises(ServiceError, match="done: Is a directory"):
        FileEffects(tmp_path / "done").new()


@pytest.mark.parametrize("how", ["truncated", "replaced"])
def test_a_file_that_is_not_the_one_that_it_was_may_have_held_effects(tmp_path: Path, how: str) -> None:
    path = tmp_path / "done"
    path.write_text("first line\n")
    effects = FileEffects(path)
    with path.open("a") as file:
        file.write("second\n")
    assert list(effects.new()) == ["second"]
    if how == "replaced":
        (tmp_path / "other").write_text("first line\nsecond\nthird\n")
        (tmp_path / "other").replace(path)
    else:
        path.write_text("third\n")
    for _ in range(2):
        with pytest.raises(ServiceError, match="was truncated or replaced"):
            effects.new()


def test_a_file_that_was_never_made_is_told(tmp_path: Path) -> None:
    effects = FileEffects(tmp_path / "done")
    assert not list(effects.new())
    assert effects.absent == f"there is no file {tmp_path / 'done'}"
    (tmp_path / "done").write_text("a\n")
    assert list(effects.new()) == ["a"]
    assert not effects.absent


class App(http.server.HTTPServer):
    """Answers each GET with ``answer``: a status and a text."""

    answer: tuple[int, str] = (200, "")


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers with what its server holds."""

    def do_GET(self) -> None:
        assert isinstance(self.server, App)
        status, text = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name there
        pass


@pytest.fixture
def app() -> Iterator[App]:
    server = App(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_ids_in_an_answer_are_handed_out_as_often_as_they_are_new(app: App) -> None:
    effects = AppEffects("/done", lambda: ("127.0.0.1", app.server_address[1]), job_pattern("2fecf0"))
    app.answer = 200, '{"done": ["2fecf0-1", "2fecf0-2", "other-1"]}'
    assert sorted(effects.new()) == ["2fecf0-1", "2fecf0-2"]
    app.answer = 200, "2fecf0-1"  # of a replica that knows less
    assert list(effects.new()) == []
    app.answer = 200, "2fecf0-1 2fecf0-2 2fecf0-1"
    assert list(effects.new()) == ["2fecf0-1"]
    app.answer = 500, "broken"
    with pytest.raises(ServiceError, match="answered with 500"):
        effects.new()


def test_an_app_that_is_not_there_tells_nothing() -> None:
    with pytest.raises(ServiceError, match="no replica was up"):
        AppEffects("/done", lambda: None, job_pattern("2fecf0")).new()
    with pytest.raises(ServiceError, match="ConnectionRefusedError"):
        AppEffects("/done", lambda: ("127.0.0.1", 1), job_pattern("2fecf0")).new()
