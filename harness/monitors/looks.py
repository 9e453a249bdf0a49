"""Compare-and-sets that answered *another value*: each one rules out that its value was there all the while.

Without them the other operations have an order, as `harness.monitors.register` has found. A look then is wrong for sure where its value had
been seen before it began and was still seen by what began after it ended. It is right for sure where it began before its value was written,
or ended after something that certainly replaced it. For the others the order is written down in four ways, each with an instant for every
operation: if all looks of a key fit one of them, that is an order with them. What then is left, the general search decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.monitors.blocks import Mask, Numbering, Values, overwritten, shifted, zones
from harness.monitors.calls import NEVER, Column, Rows
from harness.monitors.register_proof import Proofs


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
    for unread_late in (False, True):
        for latest in (False, True):
            if len(looks.rows):
                looks = looks.only(~_fits(values, looks, _order(values, looks, unread_late=unread_late), latest=latest))
    return looks.rows


def _order(values: Values, looks: Looks, *, unread_late: bool) -> Rows:
    """The values of the looks' keys in an order that explains all but the looks: by key, by block, by compare-and-sets.

    Blocks are in order of their first instant, or of their last one. Either way one that must come before another does: if its first end is
    before the other one's last beginning, and not the other way round, both of its instants are at or before those of the other one.
    """
    keys = np.zeros(int(values.key.max()) + 1, dtype=np.bool_)
    keys[values.key[looks.missed]] = True
    chosen = values.there() & keys[values.key]
    block, ends, begins = zones(values, chosen)
    instant, forward = (np.maximum(ends, begins), ends < begins) if unread_late else (np.minimum(ends, begins), ends >= begins)
    rank = np.zeros(len(chosen), dtype=np.int64)
    rank[block[np.lexsort((~forward, instant, values.key[block]))]] = np.arange(len(block))
    all_of_them = np.flatnonzero(chosen)
    return all_of_them[np.lexsort((values.depth[all_of_them], rank[values.root[all_of_them]]))]


def _fits(values: Values, looks: Looks, order: Rows, *, latest: bool) -> Mask:
    """Which looks are of keys whose looks all fit the order, when each operation takes effect as early, or as late, as the order allows."""
    key, many = values.key[order].astype(np.int64), len(order)
    of_look = values.key[looks.missed].astype(np.int64)
    columns = [values.call_ns[order], values.last_call_ns[order], values.ret_ns[order], values.first_ret_ns[order]]
    (instants,) = shifted(
        values,
        np.concatenate([key, key, key, key, of_look, of_look]),
        int(key.max()) + 1,
        [np.concatenate([*columns, looks.call_ns, looks.ret_ns])],
    )
    write_call, read_call, write_ret, read_ret, call, ret = np.split(instants, np.cumsum([many] * 4 + [len(of_look)]))
    if latest:
        start = np.minimum.accumulate(np.minimum(write_ret, read_ret)[::-1])[::-1]
    else:
        before = np.maximum.accumulate(np.maximum(write_call, read_call))
        start = np.maximum(write_call, np.append(write_call[:1], before[:-1]))
    end = np.append(start[1:], NEVER)
    place = np.zeros(len(values.key), dtype=np.int64)
    place[order] = np.arange(many)
    at = place[looks.missed]
    stuck = (call > start[at]) & (ret < end[at])
    bad = np.zeros(int(key.max()) + 1, dtype=np.bool_)
    bad[of_look[stuck]] = True
    found: Mask = ~bad[of_look]
    return found
