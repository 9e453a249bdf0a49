"""What a bench is to do, before anything starts: its variants, and how often and under what each is started and stopped.

A variant is a whole scenario of its own, whether it came from a file, from ``--image`` or from the words after ``--``, so everything that
can start a run can start a variant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from harness.scenario import Scenario

Cold: TypeAlias = Literal["disk", "bytecode", "image"]
COLD: Final[dict[str, str]] = {
    "disk": "the page cache of this machine is dropped",
    "bytecode": "Python finds no compiled modules (__pycache__) and compiles all anew",
    "image": "the image's layers are removed from the engine and loaded again",
}
"""What can be made cold before each start."""

MIN_RUNS: Final = 10
MAX_RUNS: Final = 100
PRECISION: Final = 0.05
"""Of the median of the start: half the width of its interval, as a share of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantPlan:
    """One way to start the target.

    Attributes:
        name: Unique in the bench; what the person sees.
        scenario: All that a run needs; of its steps nothing is played.
        path: The scenario's file, or the folder in which it was made up.
        process: The process type that is started and stopped.
        engine: A key of ``harness.engines.ENGINES``.
        parameters: What ``--parameter-list`` and ``--parameter-scan`` chose for it.
        prepare: A shell command before each of its cycles, outside of all timing; empty for none.
        cleanup: One after all its stops.
        reference: The others are compared with it.
        cold: What is made cold before each start.
        slowed: The service that will be slow, so that the target speaks to it through the harness, under every condition; empty for none.
    """

    name: str
    scenario: Scenario
    path: Path
    process: str
    engine: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    prepare: str = ""
    cleanup: str = ""
    reference: bool = False
    cold: tuple[Cold, ...] = ()
    slowed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """The whole bench.

    Attributes:
        name: What the reports call it.
        variants: At least one.
        under: Keys of `harness.benches.CONDITIONS`: ``idle``, ``load``, ``kill`` (with its ``clean``), ``keep-alive``, ``service-slow``,
            ``service-down``, ``at-once``.
        at_once: How many start at the same time, one after the other, where ``under`` has ``at-once``.
        warmup: Rounds that are discarded.
        runs: Rounds; None: at least ``min_runs`` and at most ``max_runs``, until ``precision`` is reached.
        precision: A share of the median.
        seed: Where the order of the cycles and all resampling come from.
        reports: The folder that gets the bench's folder.
        attributes: What the person wants to find it by.
        again: The command line that repeats it.
        show_output: Show what the target writes.
        slow_s: How much later each answer of a service comes under ``service-slow``.
        service: Whose; empty where no condition needs one.
        imports: Start a Python target once more to hear what it imports.
    """

    name: str
    variants: tuple[VariantPlan, ...]
    under: tuple[str, ...] = ("idle",)
    at_once: tuple[int, ...] = ()
    warmup: int = 0
    runs: int | None = None
    min_runs: int = MIN_RUNS
    max_runs: int = MAX_RUNS
    precision: float = PRECISION
    seed: int
    reports: Path
    attributes: Mapping[str, str] = field(default_factory=dict)
    again: str = ""
    show_output: bool = False
    slow_s: float = 0.1
    service: str = ""
    imports: bool = True
