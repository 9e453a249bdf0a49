"""Benches to compare, made up: times around a median with a little noise, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.benches import FILE, Attempts, Bench, Machine, Series, Under, Unit, Variant, encoded

MACHINE = Machine(system="Linux 6.1.0-23", cpu="EPYC 7B13", cores=2, memory_bytes=4 << 30, python="3.11.9")


def times(median: float, *, seed: int, n: int = 50, noise: float = 0.03) -> tuple[float, ...]:
    """``n`` samples around ``median``, each off by a share that is normal with ``noise`` as its standard deviation."""
    dice = random.Random(seed)
    return tuple(median * (1 + dice.gauss(0, noise)) for _ in range(n))


def a_series(
    samples: Sequence[float],
    metric: str = "startup_time",
    *,
    process: str = "web",
    under: Under = "idle",
    at_once: int = 1,
    unit: Unit = "s",
) -> Series:
    rounds = tuple(range(len(samples)))
    return Series(process=process, under=under, at_once=at_once, metric=metric, unit=unit, samples=tuple(samples), rounds=rounds)


def a_variant(*series: Series, name: str = "gunicorn", engine: str = "process", **more: object) -> Variant:
    return msgspec.structs.replace(Variant(name=name, engine=engine, command="gunicorn app:app", series=series), **more)


def books(*, starts: int = 50, failed: int = 0, killed: int = 0, died: int = 0, under: Under = "idle") -> Attempts:
    return Attempts(process="web", under=under, starts=starts, failed=failed, killed=killed, warmups=0, died=died)


def a_bench(*variants: Variant, began: str = "2026-11-20T10:00:00+00:00", machine: Machine = MACHINE, **more: object) -> Bench:
    whole = Bench(name="shop", began=began, how="finished", machine=machine, seed=7, variants=variants)
    return msgspec.structs.replace(whole, **more)


def stored(folder: Path, bench: Bench) -> Path:
    """The folder, with ``bench`` in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(encoded(bench))
    return folder
