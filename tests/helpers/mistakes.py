"""Mistakes in files of scenarios, as the files beside the tests list them."""

from __future__ import annotations

from pathlib import Path


def broken(name: str) -> list[tuple[str, str, str]]:
    """What is replaced in the good file, by what, and what is told of it."""
    blocks = (Path(__file__).parents[1] / name).read_text(encoding="utf-8").split("\n\n")[1:]
    cases = [[line[2:].replace("⏎", "\n") for line in block.rstrip("\n").split("\n")] for block in blocks]
    return [(good_part, bad_part, expected) for good_part, bad_part, expected in cases]
