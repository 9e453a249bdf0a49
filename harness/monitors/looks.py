"""Compare-and-sets that answered *another value*: each one rules out that its value was there all the while.

Without them the other operations have an order, as `harness.monitors.register` has found. A look then is wrong for sure where its value had
been seen before it began and was still seen by what began after it ended. It is right for sure where it began before its value was written,
or ended after something that certainly replaced it. For the others the order is written down in three ways, with the earliest instant for
every operation. Where all three have had the same values, one may go over into another, for what came before is the same; so if in each
stretch between two such places the looks fit one of the orders, that is an order with them. A stretch in which none fits is joined with
those beside it, or tried with later instants, which the next one leaves free. What then is left, the general search decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.monitors.blocks import Numbering, Values, overwritten, shifted, zones
from harness.monitors.calls import NEVER, Column, Mask, Rows
from harness.monitors.register_proof import Proofs

ATTEMPTS: Final = 8
"""How often the stretches are tried: those that fit no order are joined with their neighbours, and then tried with other instants."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Looks:
    """Looks, the value that each one missed, when they were called, and when they returned."""

    rows: Rows
    missed: Rows
    call_ns: Column
    ret_ns: Column

    def only(self, chosen: Mask) -> Looks:
        """Those that are ``chosen``."""
        return Looks(rows=self.rows[chosen], missed=self.missed[chosen], call_ns=self.call_ns[chosen], ret_ns=self.ret_ns[chosen])


def doubtful_looks(proofs: Proofs, numbering: Numbering, fit: Mask) -> Rows:
    """The looks of ``fit`` keys that nothing fast decides. Those that are wrong for sure are noted, and of their keys none is in doubt."""
    calls, told, values = proofs.calls, proofs.told, proofs.values
    rows = told.looks[fit[calls.key[told.looks]]]
    missed = numbering.numbers(calls.key[rows], calls.arg[rows])
    looks = Looks(rows=rows, missed=missed, call_ns=calls.call_ns[rows], ret_ns=calls.ret_ns[rows])
    looks = looks.only((missed >= 0) & values.there()[missed])
    looks = looks.only(looks.call_ns > values.call_ns[looks.missed])
    if not len(looks.rows):
        return looks.rows
    known = np.minimum(values.ret_ns, values.first_ret_ns)
    child = values.child[looks.missed]
    still = np.maximum(values.last_call_ns[looks.missed], np.where(child >= 0, values.call_ns[child], values.begin_ns))
    wrong = (known[looks.missed] < looks.call_ns) & (looks.ret_ns < still)
    proofs.missed(looks.rows[wrong], looks.missed[wrong])
    looks = looks.only(~proofs.wrong[calls.key[looks.rows]])
    looks = looks.only(looks.ret_ns < overwritten(calls, told, values, looks.missed, by_swap=True))
    return looks.only(~_fit(values, looks)).rows if len(looks.rows) else looks.rows


def _fit(values: Values, looks: Looks) -> Mask:
    """Which looks are of keys whose looks all fit some order."""
    orders = [_order(values, looks, by) for by in (np.minimum, np.add, np.maximum)]
    times = _times(values, looks, orders[0])
    place, many = np.zeros(len(values.key), dtype=np.int64), len(orders[0])
    places, cut = [], np.ones(many, dtype=np.bool_)
    for order in orders:
        place[order] = np.arange(many)
        places.append(place[looks.missed])
        cut &= np.maximum.accumulate(place[orders[0]]) == np.arange(many)
    place[orders[0]] = np.arange(many)
    early, late = [times.early(place[order]) for order in orders], [times.late(place[order]) for order in orders]
    fits = np.zeros(len(looks.rows), dtype=np.bool_)
    waiting = np.zeros(many, dtype=np.bool_)
    for attempt in range(ATTEMPTS):
        stretches = _Stretches(cut=cut, early=early, late=late)
        bad = stretches.bad(waiting, places, times)
        bad_keys = np.zeros(int(values.key.max()) + 1, dtype=np.bool_)
        bad_keys[values.key[orders[0][bad]]] = True
        fits |= ~bad_keys[values.key[looks.missed]]
        if attempt % 2:
            waiting = waiting ^ bad
        else:
            cut = cut & ~bad & ~np.append(bad[1:], False) | (np.append(np.diff(values.key[orders[0]]) != 0, True))
    return fits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Stretches:
    """The stretches between places where all orders have had the same values.

    Attributes:
        cut: Whether a stretch ends at each place of an order; the same for all orders.
        early: When the write at each place takes effect at the earliest, in each order.
        late: When at the latest.
    """

    cut: Mask
    early: list[Column]
    late: list[Column]

    def bad(self, waiting: Mask, places: list[Rows], times: _Times) -> Mask:
        """The places of stretches in which the looks fit no order; those that are ``waiting`` use the time until the next one may begin."""
        begins = np.append(True, self.cut[:-1])
        segment = np.cumsum(begins) - 1
        until = np.append(np.min(self.early, axis=0)[np.flatnonzero(begins)[1:]], NEVER)[segment]
        starts = [
            np.maximum.accumulate(np.where(waiting, np.maximum(early, np.minimum(late, until)), early))
            for early, late in zip(self.early, self.late, strict=True)
        ]
        next_start = np.append(np.max(starts, axis=0)[1:], NEVER)
        bad = np.ones(int(segment[-1]) + 1, dtype=np.bool_)
        for start, at in zip(starts, places, strict=True):
            end = np.where(self.cut, next_start, np.append(start[1:], NEVER))
            stuck = (times.call > start[at]) & (times.ret < end[at])
            held = np.zeros(len(bad), dtype=np.bool_)
            held[segment[at[stuck]]] = True
            bad &= held
        found: Mask = bad[segment]
        return found


def _order(values: Values, looks: Looks, by: np.ufunc) -> Rows:
    """The values of the looks' keys in an order that explains all but the looks: by key, by block, by compare-and-sets.

    Blocks are in order of the smaller of their two instants (first end and last beginning), or of the sum, or of the greater one. Each way
    one that must come before another does: its first end is before the other one's last beginning, and as that one need not come before
    it, its last beginning is not after the other one's first end. So neither of these three is greater; and where two are the same, the
    block that must come first is the one that ends last among those by the smaller, and begins last among those by the greater.
    """
    keys = np.zeros(int(values.key.max()) + 1, dtype=np.bool_)
    keys[values.key[looks.missed]] = True
    chosen = values.there() & keys[values.key]
    block, ends, begins = zones(values, chosen)
    ends = np.minimum(ends, values.end_ns)
    instant = by(ends - values.begin_ns, begins - values.begin_ns)
    forward = (ends >= begins) if by is np.minimum else (ends < begins)
    rank = np.zeros(len(chosen), dtype=np.int64)
    rank[block[np.lexsort((~forward, instant, values.key[block]))]] = np.arange(len(block))
    all_of_them = np.flatnonzero(chosen)
    return all_of_them[np.lexsort((values.depth[all_of_them], rank[values.root[all_of_them]]))]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Times:
    """When the values of an order were written and read, and the looks were called and returned, the keys' instants laid apart."""

    write_call: Column
    read_call: Column
    write_ret: Column
    read_ret: Column
    call: Column
    ret: Column

    def early(self, order: Rows) -> Column:
        """When each write of ``order`` takes effect at the earliest."""
        begun = np.maximum.accumulate(np.maximum(self.write_call, self.read_call)[order])
        found: Column = np.maximum(self.write_call[order], np.append(np.zeros(1, dtype=np.int64), begun[:-1]))
        return found

    def late(self, order: Rows) -> Column:
        """When each write of ``order`` takes effect at the latest."""
        found: Column = np.minimum.accumulate(np.minimum(self.write_ret, self.read_ret)[order][::-1])[::-1]
        return found


def _times(values: Values, looks: Looks, order: Rows) -> _Times:
    key, of_look = values.key[order].astype(np.int64), values.key[looks.missed].astype(np.int64)
    columns = [values.call_ns[order], values.last_call_ns[order], values.ret_ns[order], values.first_ret_ns[order]]
    (instants,) = shifted(
        values,
        np.concatenate([key, key, key, key, of_look, of_look]),
        int(key.max()) + 1,
        [np.concatenate([*columns, looks.call_ns, looks.ret_ns])],
    )
    parts = np.split(instants, np.cumsum([len(key)] * 4 + [len(of_look)]))
    return _Times(write_call=parts[0], read_call=parts[1], write_ret=parts[2], read_ret=parts[3], call=parts[4], ret=parts[5])
