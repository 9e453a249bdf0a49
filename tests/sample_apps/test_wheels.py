"""The wheels of the images: fetched whole, once, and anew when what is needed has changed. pip is replaced by what it would leave."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sample_apps import wheels

if TYPE_CHECKING:
    from collections.abc import Callable


class Pip:
    """Stands for `subprocess.run`: leaves wheels where pip was told to, and ends with ``status``."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.leaves = ["flask-3.0-py3-none-any.whl"]
        self.status = 0

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.calls.append(command)
        for name in self.leaves:
            Path(command[command.index("--dest") + 1], name).write_text("wheel")
        return subprocess.CompletedProcess(command, self.status)


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pip:
    stand_in = Pip()
    monkeypatch.setattr(subprocess, "run", stand_in)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(wheels, "FOLDER", tmp_path / "wheels")
    monkeypatch.setattr(wheels, "REQUIREMENTS", (tmp_path / "web.txt", tmp_path / "other.txt"))
    for path in wheels.REQUIREMENTS:
        path.write_text("flask>=3.0\n")
    return stand_in


def fetched() -> list[str]:
    return sorted(path.name for path in wheels.FOLDER.glob("*.whl"))


def test_what_is_there_is_not_fetched_again(pip: Pip) -> None:
    assert [wheels.main(), wheels.main()] == [0, 0]
    assert len(pip.calls) == 1
    assert fetched() == ["flask-3.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    "change",
    [
        lambda _: (wheels.FOLDER / "flask-3.0-py3-none-any.whl").unlink(),
        lambda _: wheels.REQUIREMENTS[1].write_text("flask>=3.1\n"),
        lambda monkeypatch: monkeypatch.setattr(platform, "machine", lambda: "arm64"),
    ],
    ids=["a wheel is gone", "the requirements changed", "another processor"],
)
def test_it_is_fetched_anew_when_something_changed(
    pip: Pip, monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch], object]
) -> None:
    wheels.main()
    change(monkeypatch)
    pip.leaves = ["flask-3.1-py3-none-any.whl"]
    assert wheels.main() == 0
    assert fetched() == ["flask-3.1-py3-none-any.whl"]


def test_they_are_asked_for_as_the_image_needs_them_and_not_this_python(pip: Pip) -> None:
    wheels.main()
    (command,) = pip.calls
    assert command[command.index("--python-version") + 1] == "3.11"
    assert {"--only-binary=:all:", "manylinux2014_x86_64", "manylinux_2_28_x86_64"} <= set(command)


def test_a_failure_of_pip_is_told_and_leaves_nothing_half_done(pip: Pip, capsys: pytest.CaptureFixture[str]) -> None:
    pip.status = 1
    assert wheels.main() == 1
    assert fetched() == []
    assert "pip could not fetch the wheels" in capsys.readouterr().err
    assert [path.name for path in wheels.FOLDER.parent.iterdir() if path.name.startswith(".fetching-")] == []


def test_a_processor_without_wheels_is_told_in_one_sentence(
    pip: Pip, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert wheels.main() == 1
    assert "there are no wheels for the processor 'riscv64'" in capsys.readouterr().err
    assert pip.calls == []
