"""Which commands need a shell, and what is filled into them."""

from __future__ import annotations

import subprocess

import pytest

from harness.command import PLACEHOLDERS, fill, needs_shell, split
from harness.words import MistakeError


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        ("python app.py", ("python", "app.py")),
        ("{python} -m app --port {port}", ("{python}", "-m", "app", "--port", "{port}")),
        ("gunicorn --bind=127.0.0.1:{port} app:app", ("gunicorn", "--bind=127.0.0.1:{port}", "app:app")),
        ("python -c 'print(1); print($HOME)'", ("python", "-c", "print(1); print($HOME)")),
        ('python -c "print(1); import os"', ("python", "-c", "print(1); import os")),
        (r"echo a\ b \$x", ("echo", "a b", "$x")),
        ("app --color=#fff --home=x~y --json={}", ("app", "--color=#fff", "--home=x~y", "--json={}")),
        ("app --format '%(h)s' user@host!", ("app", "--format", "%(h)s", "user@host!")),
        ("  app\n", ("app",)),
    ],
)
def test_plain_words_are_executed_directly(command: str, argv: tuple[str, ...]) -> None:
    assert not needs_shell(command)
    assert split(command) == argv


@pytest.mark.parametrize(
    "command",
    [
        "a | b",
        "a && b",
        "a & wait",
        "a; b",
        "a > log",
        "a < in",
        "echo $HOME",
        'echo "$HOME"',
        "echo `date`",
        'echo "`date`"',
        "ls *.py",
        "ls a?b",
        "ls [ab]",
        "(a)",
        "a # comment",
        "ls ~/x",
        "PORT=1 a",
        "exec gunicorn app:app",
        "cd app && a",
        "a\nb",
        "{ a; }",
        "! a",
        ". ./env",
    ],
)
def test_what_only_a_shell_understands_runs_under_sh(command: str) -> None:
    assert needs_shell(command)
    assert split(command) == ("sh", "-c", command)


def test_a_quote_that_is_not_closed_is_told() -> None:
    with pytest.raises(MistakeError, match=r"^can't be split into words: no closing quotation$"):
        split("echo 'x")


@pytest.mark.parametrize("command", [r"printf %s,  a\ b  'c d' e=f", r'printf %s, "a \" b" x#y ""'])
def test_words_are_split_as_the_shell_does(command: str) -> None:
    direct = subprocess.run(split(command), capture_output=True, check=True).stdout
    by_shell = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True).stdout
    assert direct == by_shell


def test_placeholders_are_filled_and_other_braces_stay() -> None:
    values = {name: f"<{name}>" for name in PLACEHOLDERS}
    assert fill("{python} {port}{port} {scratch}/{replica}", values) == "<python> <port><port> <scratch>/<replica>"
    assert fill('{"a": {port}} {} {other} {{port}}', values) == '{"a": <port>} {} {other} {<port>}'
    assert fill("{port}", {"port": 8000}) == "8000"


def test_what_is_filled_in_is_not_filled_again() -> None:
    assert fill("{scratch}", {"scratch": "{port}", "port": 1}) == "{port}"


def test_a_placeholder_without_a_value_is_a_bug_of_the_caller() -> None:
    with pytest.raises(KeyError):
        fill("{port}", {})
