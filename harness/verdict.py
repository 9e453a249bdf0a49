"""Findings and the verdict: pass < unknown < fail, merged by taking the worst.

A *finding* is one statement of a check with its evidence. The *verdict* of a run is its worst finding's. No data is unknown, a check
that raises is unknown, and nothing turns an unknown into a pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import msgspec

from harness.errors import ExitCode


class Verdict(IntEnum):
    """How a finding, a run or a suite ended; a larger value is worse."""

    PASS = 0
    UNKNOWN = 1
    FAIL = 2

    @property
    def word(self) -> str:
        """``pass``, ``unknown`` or ``fail``, as printed everywhere."""
        return self.name.lower()


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """How strong a count is: ``hits`` of ``trials``, and the rate's one-sided upper bound.

    Attributes:
        hits: Faults after which it happened.
        trials: Faults that landed on a busy victim.
        upper: Upper bound of the rate, a share from 0 to 1 (Clopper and Pearson, Biometrika 26, 1934).
        confidence: The bound's confidence, a share from 0 to 1.
    """

    hits: int
    trials: int
    upper: float
    confidence: float = 0.95


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A file that proves a finding: reports write it into the run's folder, as ``name``, which may name a folder in it."""

    name: str
    text: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One statement of one check.

    Attributes:
        check: The check's name, a key of ``harness.checks.CHECKS``.
        name: What was found, in kebab-case; stable, so that scripts and ``must_find`` can name it.
        verdict: PASS for what is merely worth knowing.
        title: One sentence for a person, with its numbers.
        evidence: Lines that prove it, worst first.
        cause: Why, when the evidence says so; empty otherwise.
        cure: What to change; empty when there is nothing to change.
        metric: The metric whose threshold decides about it, or empty; a threshold that the user wrote and that holds allows the finding.
        replica: The replica concerned, or empty.
        step: Number of the step concerned, or -1.
        count: How many ops, replicas or faults it speaks of.
        bound: How strong a zero is, for findings that say that nothing happened.
        proofs: Files that prove it.
    """

    check: str
    name: str
    verdict: Verdict
    title: str
    evidence: tuple[str, ...] = ()
    cause: str = ""
    cure: str = ""
    metric: str = ""
    replica: str = ""
    step: int = -1
    count: int = 0
    bound: Bound | None = None
    proofs: tuple[Proof, ...] = ()


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of ``verdicts``; of none at all it is UNKNOWN, because no data is no pass."""
    return max(verdicts, default=Verdict.UNKNOWN)


def exit_code(verdict: Verdict) -> ExitCode:
    """The exit code that tells the shell about ``verdict``."""
    return {Verdict.PASS: ExitCode.PASSED, Verdict.UNKNOWN: ExitCode.UNKNOWN, Verdict.FAIL: ExitCode.FAILED}[verdict]
