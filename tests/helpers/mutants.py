"""Scenario files as people, editors and disks break them: each shipped scenario, damaged once, by a seed.

Each function takes the lines of a good file and the dice and returns what is left of it as bytes, or None where it does not apply.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

Mutator = Callable[[list[str], random.Random], "bytes | None"]

ODD_VALUES: Final = (
    "", "~", "true", "5", "-1", "3.5", "1e400", "99999999999999999999999999", "[]", "{}", "[1, 2]", "{a: b}", "''", '"\\ud800"', '"\\0"',
    "5 s", "1.5.2s", "10 parsecs", "-2s", "1h99", "0x10", ".nan", ".inf", "on", "22:22", "!!python/object:os.system x", "*nowhere", "&a",
    "{unclosed", "[unclosed", '"unclosed', "'unclosed", "@at", "`tick", "%percent", "| ", "> ", "? ", ": ", "- - -", "x: y: z",
    "\u202eevil", "\u200bzero", "\u00a0", "\ufeff", "x" * 5000, "[" * 200, "{a: " * 100, "null", "{python}", "http://example.com/",
    "GET http://example.com/", "//example.com", "/a b", "\U0001f600",
    "{job}", "redis", "sqlite", "job-started",
)  # fmt: skip
OTHER_KEYS: Final = ("", "target", "load", "steps", "expect", "on", "5", "~", "[a]", "{b: c}", "<<", "services", "jobs", "replica")


def _line(lines: list[str], dice: random.Random, holding: str = "") -> int | None:
    found = [number for number, line in enumerate(lines) if holding in line and line.strip() and not line.lstrip().startswith("#")]
    return dice.choice(found) if found else None


def _joined(lines: list[str]) -> bytes:
    return "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n"


def _with(lines: list[str], number: int, *instead: str) -> bytes:
    return _joined([*lines[:number], *instead, *lines[number + 1 :]])


def drop_a_line(lines: list[str], dice: random.Random) -> bytes | None:
    number = _line(lines, dice)
    return None if number is None else _with(lines, number)


def write_a_line_twice(lines: list[str], dice: random.Random) -> bytes | None:
    number = _line(lines, dice, ":")
    return None if number is None else _with(lines, number, lines[number], lines[number])


def misspell_a_key(lines: list[str], dice: random.Random) -> bytes | None:
    number = _line(lines, dice, ":")
    if number is None:
        return None
    key, colon, rest = lines[number].partition(":")
    at = len(key) - len(key.lstrip(" -{")) + (1 if len(key.strip()) > 2 else 0)
    return _with(lines, number, key[:at] + dice.choice("xqz_") + key[at + 1 :] + colon + rest)


def put_an_odd_value(lines: list[str], dice: random.Random) -> bytes | None:
    number = _line(lines, dice, ":")
    if number is None:
        return None
    key, colon, _ = lines[number].partition(":")
    return _with(lines, number, f"{key}{colon} {dice.choice(ODD_VALUES)}")


def put_an_odd_item(lines: list[str], dice: random.Random) -> bytes | None:
    number = _line(lines, dice, "- ")
    if number is None:
        return None
    return _with(lines, number, lines[number].partition("- ")[0] + "- " + dice.choice(ODD_VALUES))


def put_another_key(lines: list[str], dice: random.Random) -> bytes | None:
    number = _line(lines, dice, ":")
    if number is None:
        return None
    key, colon, rest = lines[number].partition(":")
    return _with(lines, number, key[: len(key) - len(key.lstrip(" -"))] + dice.choice(OTHER_KEYS) + colon + rest)


def put_the_value_of_another_key(lines: list[str], dice: random.Random) -> bytes | None:
    first, second = _line(lines, dice, ": "), _line(lines, dice, ": ")
    if first is None or second is None:
        return None
    return _with(lines, first, lines[first].partition(":")[0] + ":" + lines[second].partition(":")[2])


def indent_wrongly(lines: list[str], dice: random.Random) -> bytes | None:
    number = _line(lines, dice)
    if number is None:
        return None
    line = lines[number]
    return _with(lines, number, dice.choice([f" {line}", f"   {line}", f"\t{line}", line[1:] if line.startswith(" ") else f"  {line}"]))


def remove_a_character(lines: list[str], dice: random.Random) -> bytes | None:
    number = _line(lines, dice)
    if number is None:
        return None
    at = dice.randrange(len(lines[number]))
    return _with(lines, number, lines[number][:at] + lines[number][at + 1 :])


def cut_the_file(lines: list[str], dice: random.Random) -> bytes | None:
    whole = _joined(lines)
    return whole[: dice.randrange(len(whole))]


def mangle_bytes(lines: list[str], dice: random.Random) -> bytes | None:
    whole = bytearray(_joined(lines))
    for _ in range(dice.randint(1, 4)):
        whole[dice.randrange(len(whole))] = dice.randrange(256)
    return bytes(whole)


def put_something_in_between(lines: list[str], dice: random.Random) -> bytes | None:
    odd = ("---", "...", "%YAML 3.0", "- x", "<<: {a: 1}", "? [a]", "\x00", "\x07", "x", "&a [*a]", "}", "jetable: 1")
    at = dice.randrange(len(lines) + 1)
    return _joined([*lines[:at], dice.choice(odd), *lines[at:]])


def blow_up_with_aliases(lines: list[str], dice: random.Random) -> bytes | None:
    bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    bomb += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, dice.randint(6, 12))]
    return _joined([*lines, *bomb])


def save_in_another_encoding(lines: list[str], dice: random.Random) -> bytes | None:
    text = "\n".join([*lines, "# \u00e9\u4e2d"])
    return text.encode(dice.choice(["utf-16", "utf-32", "latin-1", "cp1252", "shift_jis"]), "replace")


MUTATORS: Final[tuple[Mutator, ...]] = (
    drop_a_line,
    write_a_line_twice,
    misspell_a_key,
    put_an_odd_value,
    put_an_odd_item,
    put_another_key,
    put_the_value_of_another_key,
    indent_wrongly,
    remove_a_character,
    cut_the_file,
    mangle_bytes,
    put_something_in_between,
    blow_up_with_aliases,
    save_in_another_encoding,
)


def mutants(files: list[Path], seed: int, rounds: int) -> Iterator[tuple[str, bytes]]:
    """What each mutator makes of each file, ``rounds`` times, each content once; the name says who made it from what."""
    seen: set[bytes] = set()
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        for mutator in MUTATORS:
            dice = random.Random(f"{seed} {file.name} {mutator.__name__}")
            for number in range(rounds):
                made = mutator(lines, dice)
                if made is not None and made not in seen:
                    seen.add(made)
                    yield f"{file.stem}-{mutator.__name__}-{number}", made
