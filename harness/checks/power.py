"""How strong a count of faults is: the rate's one-sided upper bound."""

from __future__ import annotations

from typing import Final

from harness.verdict import Bound

CONFIDENCE: Final = 0.95


def bound(hits: int, trials: int, *, confidence: float = CONFIDENCE) -> Bound | None:
    """The upper bound of the rate behind ``hits`` of ``trials``, after Clopper and Pearson (Biometrika 26, 1934); None of no trial at all.

    It is the rate at which so few hits have a probability of only ``1 - confidence``: of zero hits ``1 - (1 - confidence) ** (1 /
    trials)``.
    """
    if trials <= 0:
        return None
    if hits >= trials:
        return Bound(hits=hits, trials=trials, upper=1.0, confidence=confidence)
    from scipy.special import betaincinv  # noqa: PLC0415  takes a third of a second

    return Bound(hits=hits, trials=trials, upper=float(betaincinv(hits + 1, trials - hits, confidence)), confidence=confidence)
