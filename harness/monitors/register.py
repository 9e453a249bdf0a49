"""Registers: whether the reads, writes and compare-and-sets of each key have an order that explains them all, in O(n log n).

Where every value is written at most once to its key, an answer names the write that it saw, and the question has an exact and fast answer
(Gibbons and Korach, SIAM J. Comput. 26(4), 1997, for reads and writes). Values linked by successful compare-and-sets form one *block*: its
order is forced, and nothing else may come between. A block must come before another one when one of its operations ended before one of the
other's began: its *zone* is the first end and the last beginning of its operations. An order exists exactly if within each block the forced
order does not contradict time, and no two blocks of a key must each come before the other. For: blocks can be put in a row unless they
must come before one another in a cycle, and on each cycle the block with the last beginning must come both before and after its successor.

Operations without a known end count only when somebody saw their value. A compare-and-set that answered *another value* only rules out;
what that leaves open, and keys where values repeat, is decided by `harness.monitors.search`, within its budget.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from harness.monitors.blocks import Numbering, Told, against_chain, against_zones, effective, told_of, values_of
from harness.monitors.calls import NOTHING, Calls, Ended, F, Mask, Rows, places_by
from harness.monitors.columns import Found, known_only
from harness.monitors.judged import MOST, Budget, Judged
from harness.monitors.looks import doubtful_looks
from harness.monitors.models import MODELS
from harness.monitors.register_proof import Proofs
from harness.monitors.search import gave_up, search_key, smaller, violation_of

ASKED: Final = (F.READ, F.WRITE, F.CAS)


def judge(calls: Calls, budget: Budget) -> Judged:
    """Judge a history of registers, each key one."""
    found = Found()
    took_part = calls.ended != Ended.FAIL
    told = (calls.ended == Ended.OK) & (((calls.f == F.READ) & (calls.result != NOTHING)) | (calls.f == F.CAS))
    if len(calls):
        _judge(calls, budget, found)
    return found.judged("register", operations=int(np.count_nonzero(took_part)), reads=int(np.count_nonzero(told)))


def _judge(calls: Calls, budget: Budget, found: Found) -> None:
    """Judge at least one operation. The masks are of keys."""
    keys = int(calls.key.max()) + 1
    told, numbering = told_of(calls, keys)
    unclear = _unclear(calls, told, keys, found)
    told = effective(calls, told, len(numbering.owner))
    repeated = _repeated(calls, told, numbering, keys)
    values = values_of(calls, told, numbering)
    proofs = Proofs(calls=calls, told=told, values=values, found=found, wrong=np.zeros(keys, dtype=np.bool_))
    unfit = unclear | repeated
    unfit |= proofs.unwritten(unclear, repeated)
    unfit |= proofs.forks(unfit)
    unfit |= proofs.circles(unfit)
    chosen = values.there() & ~unfit[values.key]
    early = np.flatnonzero(chosen & (values.first_ret_ns < values.call_ns))
    late = against_chain(values, chosen)
    ones, others = against_zones(values, chosen)
    if len(early) or len(late) or len(ones):
        proofs.against_time(early, late, ones, others)
    if len(told.looks):
        open_looks = doubtful_looks(proofs, numbering, ~(unfit | proofs.wrong))
        _search_looks(calls, told, open_looks, budget, found)
    _search_repeated(calls, repeated & ~(unclear | proofs.wrong), budget, found)


def _unclear(calls: Calls, told: Told, keys: int, found: Found) -> Mask:
    """The keys of which nothing is said: they were asked what registers have not, or a write does not tell its value."""
    unclear = np.zeros(keys, dtype=np.bool_)
    unclear[calls.key[~known_only(calls, ASKED, found.doubts)]] = True
    swap = calls.f[told.writes] == F.CAS
    untold = (calls.arg[told.writes] == NOTHING) | (swap & (calls.arg2[told.writes] == NOTHING))
    blind = np.zeros(keys, dtype=np.bool_)
    blind[calls.key[told.writes[untold]]] = True
    if blind.any():
        found.doubts.append(f"{np.count_nonzero(blind)} keys have writes that do not tell what they wrote")
    unclear |= blind
    return unclear


def _repeated(calls: Calls, told: Told, numbering: Numbering, keys: int) -> Mask:
    """The keys to which a value was written twice, or written that was there at first, so that an answer does not name its write."""
    repeated = np.zeros(keys, dtype=np.bool_)
    last = np.full(len(numbering.owner), -1, dtype=np.int64)
    last[told.written] = told.writes
    twice = (last[told.written] != told.writes) | (told.written >= numbering.first)
    repeated[calls.key[told.writes[twice]]] = True
    return repeated


def _search_looks(calls: Calls, told: Told, looks: Rows, budget: Budget, found: Found) -> None:
    """Search the keys of ``looks``, compare-and-sets that answered *another value*, of which it is open whether that was so."""
    if not len(looks):
        return
    chosen = np.isin(calls.key, calls.key[looks])
    chosen[told.looks] = False
    chosen[looks] = True
    for rows in _by_key(calls, chosen):
        many = int(np.count_nonzero((calls.f[rows] == F.CAS) & (calls.ended[rows] == Ended.OK) & (calls.result[rows] == 0)))
        _search(calls, rows, budget, found, but_for=f"valid but for {many} failed compare-and-sets: ")


def _search_repeated(calls: Calls, keys: Mask, budget: Budget, found: Found) -> None:
    """Search ``keys``."""
    if keys.any():
        for rows in _by_key(calls, keys[calls.key]):
            _search(calls, rows, budget, found)


def _by_key(calls: Calls, chosen: Mask) -> list[Rows]:
    rows = np.flatnonzero(chosen)
    return [rows[at] for at in places_by(calls.key[rows])]


def _search(calls: Calls, rows: Rows, budget: Budget, found: Found, *, but_for: str = "") -> None:
    model = MODELS["register"]
    answer = search_key(calls, rows, model, budget)
    if answer.explained is None:
        found.doubts.append(but_for + gave_up(calls, int(rows[0]), answer.steps))
    elif not answer.explained:
        kind = "not-linearizable"
        if found.counts.get(kind, 0) < MOST:
            answer = smaller(calls, answer, model, budget)
        found.note(kind, np.zeros(1, dtype=np.int64), lambda _: violation_of(answer))
