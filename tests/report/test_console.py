"""Colour and motion, on terminals, in pipes and on CI machines."""

from __future__ import annotations

import io
import os
import pty
from collections.abc import Iterator
from typing import TextIO

import pytest

from harness.report.console import console_for, glyphs, in_ci, may_move
from harness.verdict import Verdict


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    """A file that is a terminal."""
    ours, theirs = pty.openpty()
    file = os.fdopen(theirs, "w", encoding="utf-8")
    yield file
    file.close()
    os.close(ours)


def colours(file: TextIO, **environ: str) -> bool:
    return console_for(file, environ).color_system is not None


def test_a_pipe_gets_no_colours() -> None:
    assert not colours(io.StringIO(), TERM="xterm-256color")


def test_a_terminal_gets_colours_and_may_move(terminal: TextIO) -> None:
    environ = {"TERM": "xterm-256color"}
    assert colours(terminal, **environ)
    assert may_move(console_for(terminal, environ), environ)


def test_no_color_takes_colours_from_a_terminal_but_not_its_motion(terminal: TextIO) -> None:
    environ = {"TERM": "xterm-256color", "NO_COLOR": "1"}
    assert not colours(terminal, **environ)
    assert may_move(console_for(terminal, environ), environ)


def test_an_empty_no_color_means_nothing(terminal: TextIO) -> None:
    assert colours(terminal, TERM="xterm", NO_COLOR="")


@pytest.mark.parametrize("term", ["xterm", "dumb", ""])
def test_force_color_brings_colours_into_a_pipe_but_no_motion(term: str) -> None:
    environ = {"FORCE_COLOR": "1", "TERM": term}
    assert colours(io.StringIO(), **environ)
    assert not may_move(console_for(io.StringIO(), environ), environ)


def test_no_color_wins_over_force_color() -> None:
    assert not colours(io.StringIO(), FORCE_COLOR="1", NO_COLOR="1")


def test_in_ci_even_a_terminal_gets_plain_lines(terminal: TextIO) -> None:
    environ = {"TERM": "xterm-256color", "CI": "true"}
    assert not colours(terminal, **environ)
    assert not may_move(console_for(terminal, environ), environ)


def test_force_color_brings_colours_into_a_ci_log_but_no_motion(terminal: TextIO) -> None:
    environ = {"TERM": "xterm-256color", "CI": "true", "FORCE_COLOR": "1"}
    assert colours(terminal, **environ)
    assert not may_move(console_for(terminal, environ), environ)


def test_a_dumb_terminal_gets_neither(terminal: TextIO) -> None:
    environ = {"TERM": "dumb"}
    assert not colours(terminal, **environ)
    assert not may_move(console_for(terminal, environ), environ)


@pytest.mark.parametrize(
    ("value", "is_ci"), [("", False), ("0", False), ("false", False), ("true", True), ("1", True), ("woodpecker", True)]
)
def test_ci_is_set_unless_it_says_no(value: str, is_ci: bool) -> None:  # noqa: FBT001  a case of the table
    assert in_ci({"CI": value}) is is_ci


def test_a_place_that_knows_only_ascii_gets_ascii_signs_and_never_an_error() -> None:
    raw = io.BytesIO()
    console = console_for(io.TextIOWrapper(raw, encoding="ascii"), {})
    assert all(mark.isascii() for mark in glyphs(console).marks.values())
    console.print("naïve 😀")
    console.file.flush()
    assert raw.getvalue() == b"na\\xefve \\U0001f600\n"


def test_a_reader_that_goes_away_silences_the_console_and_ends_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as file:
        console = console_for(file, {})
        console.print("x" * 100_000)
        console.print("more")
        assert console.quiet


def test_every_verdict_has_a_sign() -> None:
    assert set(glyphs(console_for(io.StringIO(), {})).marks) == set(Verdict)
