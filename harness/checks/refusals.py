"""Refusals that no fault explains: a replica that is up and that nobody has touched takes connections.

A router sends a refused request elsewhere, so nobody loses it while there is somewhere else to go. Around every start, every stop and
every death some are refused rightly: what the load knows of its replicas is a moment old then. Those moments are left out with a margin.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from harness.checks.facts import Facts, Life, Mask, Rows
from harness.clock import NS_PER_S
from harness.history import CODE, Routed
from harness.outcome import Outcome

MARGIN_S: Final = 0.5
"""How long before and after it something that happens to a replica explains a refusal."""


def refusals(facts: Facts) -> Rows:
    """Attempts of redirected ops that a live replica refused while nothing happened to any replica, in their order."""
    attempts, ops = facts.history.attempts, facts.history.ops
    redirected = ops.op[facts.closed & (ops.outcome == CODE[Outcome.REDIRECTED])]
    if not len(redirected):
        return np.zeros(0, dtype=np.int64)
    rows = np.flatnonzero(np.isin(attempts.op, redirected) & (attempts.outcome == CODE[Outcome.REFUSED]))
    alive = np.zeros(len(rows), dtype=np.bool_)
    for replica in {attempts.replicas[code] for code in attempts.replica[rows].tolist()} - {""}:
        alive |= _was_up(facts, facts.life(replica), rows)
    margin_ns = round(MARGIN_S * NS_PER_S)
    begin, end = attempts.invoke_ns[rows] - margin_ns, attempts.done_ns[rows] + margin_ns
    for first_ns, last_ns in _busy_spans(facts):
        alive &= (end < first_ns) | (begin > last_ns)
    found: Rows = rows[alive]
    return found


def _was_up(facts: Facts, life: Life, rows: Rows) -> Mask:
    """Which of these attempts went to ``life`` between its start and all that happened to it."""
    attempts = facts.history.attempts
    mine = np.isin(rows, facts.by_replica[life.replica])
    over = [signal.at_ns for signal in life.signals if signal.purpose != "signal"] + ([life.exited.at_ns] if life.exited else [])
    mask: Mask = (
        mine & (life.healthy_ns > 0) & (attempts.invoke_ns[rows] > life.healthy_ns) & (attempts.done_ns[rows] < min(over, default=1 << 62))
    )
    return mask


def _busy_spans(facts: Facts) -> list[tuple[int, int]]:
    """Spans in which a replica was started, stopped or disturbed, was published or withdrawn, or died, and stalls of the machine."""
    spans = [(event.at_ns, event.at_ns) for event in facts.events(Routed)]
    for life in facts.lives.values():
        if life.spawned_ns:
            ends = [at_ns for at_ns in (life.healthy_ns, life.failed.at_ns if life.failed else 0) if at_ns]
            spans.append((life.spawned_ns, min(ends, default=facts.end_ns)))
        if life.exited and not any(signal.purpose == "teardown" for signal in life.signals):
            spans.append((life.exited.at_ns, life.exited.at_ns))
        spans += [(signal.at_ns, signal.until_ns) for signal in life.signals if signal.purpose != "teardown"]
    spans += [(disturbance.taken.at_ns, disturbance.end_ns) for disturbance in facts.disturbances]
    for fault in facts.faults:
        spans.append((min(fault.signal.at_ns, fault.signal.at_ns + round(fault.signal.lag_s * NS_PER_S)), fault.end_ns))
    return [*spans, *facts.stalls]
