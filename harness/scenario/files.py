"""Scenario files: finding them, reading them, and telling all that is wrong with one at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from harness import strict_yaml
from harness.errors import NothingSelectedError, ScenarioError, UsageError
from harness.scenario.whole import Scenario, loaded_process
from harness.strict_yaml import Problem

SUFFIXES: Final = (".yaml", ".yml")
_OF_A_RUN: Final = Path("history/events.jsonl")


def load_scenario(path: Path) -> Scenario:
    """Read one scenario file.

    Raises:
        ScenarioError: All that is wrong with the file, in the order of its lines.
        UsageError: The file can't be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(strict_yaml.MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    document = strict_yaml.parse(content, str(path))
    problems = list(document.problems)
    if what := _something_else(document.data):
        raise ScenarioError([Problem(document.root.at, (), what).line_of(str(path))])
    try:
        context = {"folder": path.parent.resolve(), "process": loaded_process(document.data)}
        scenario = Scenario.model_validate(document.data, context=context)
    except ValidationError as error:
        told = {problem.at for problem in problems}
        found = (_problem(document, str(detail["type"]), detail["loc"], detail["msg"]) for detail in error.errors(include_url=False))
        problems += [problem for problem in found if problem.at not in told]
    if problems:
        raise ScenarioError([problem.line_of(str(path)) for problem in strict_yaml.in_order(problems)])
    return scenario


def _something_else(data: object) -> str:
    """What a file is that was written for another program, and how a scenario begins; empty when it may be a scenario."""
    if not isinstance(data, dict) or "jetable" in data:
        return ""
    begin = "begin a scenario in a file of its own with jetable: 1"
    if isinstance(data.get("services"), dict):
        return f"this is a Compose file and no scenario; {begin}, and paste the app's services under target: (docs/docker.md shows how)"
    if "apiVersion" in data and "kind" in data:
        return f"this is a Kubernetes manifest and no scenario; {begin}, and write the app's image or command under target:"
    return ""


def _problem(document: strict_yaml.Document, place: str, path: tuple[str | int, ...], what: str) -> Problem:
    found = document.find(path)
    return Problem(found.key if place == "key" else found.value, found.path, what)


def problem_at(path: Path, key: tuple[str | int, ...], what: str) -> str:
    """``file:line:col: key: what`` for something that turned out to be wrong after the file was read."""
    document = strict_yaml.parse(path.read_bytes(), str(path))
    return _problem(document, "value", key, what).line_of(str(path))


def find_scenarios(paths: Sequence[Path]) -> list[Path]:
    """The scenario files that ``paths`` select: files as given, folders with all that is in them, sorted; each file once.

    Raises:
        UsageError: A path does not exist, or is neither a file nor a folder.
        NothingSelectedError: A folder holds no scenario file, or there is no path at all.
    """
    selected: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
        if not path.is_file() and not path.is_dir():
            raise UsageError(f"{path}: neither a file nor a folder")
        for file in _in_folder(path) if path.is_dir() else [path]:
            selected.setdefault(file.resolve(), file)
    if not selected:
        raise NothingSelectedError("no scenario is selected; name a scenario file or a folder with scenario files")
    return list(selected.values())


def is_of_a_run(folder: Path) -> bool:
    """Whether a run wrote into this folder: the plan that it keeps there is a scenario, but only for who names it."""
    return (folder / _OF_A_RUN).exists()


def _in_folder(folder: Path) -> list[Path]:
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and not is_of_a_run(Path(parent, name))]
        files += [Path(parent, name) for name in names if name.endswith(SUFFIXES) and not name.startswith(".")]
    if not files:
        raise NothingSelectedError(f"{folder}: no scenario file (*.yaml or *.yml) is in this folder or below it")
    return sorted(files)
