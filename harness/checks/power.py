"""How strong a count of faults is: the rate's one-sided upper bound."""

from __future__ import annotations

import math
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
    if hits == 0:  # nearly always, and then without the third of a second that the import takes
        return Bound(hits=0, trials=trials, upper=-math.expm1(math.log1p(-confidence) / trials), confidence=confidence)
    from scipy.special import betaincinv  # noqa: PLC0415  as above

    return Bound(hits=hits, trials=trials, upper=float(betaincinv(hits + 1, trials - hits, confidence)), confidence=confidence)
