"""How old what was read is: for each read how long what it answered had been overwritten, and how long a replica took to know a write.

What a read answered is *certainly overwritten* once a write was acknowledged that began after that value had taken effect. A value has
taken effect when its write was acknowledged, or when somebody had read it. The *lag* of a read is the time from the first such
acknowledgement to the read's call; 0 where there is none. These are lower bounds that hold in every order (Golab, Li and Shah, PODC 2011).

To be stale is a measurement here. Only `judge_within` judges it, for apps that promise freshness within some time; that reads are never
stale is part of what a register promises, and is judged there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.monitors.calls import NEVER, Calls, Column, Ended, F, Mask, Rows
from harness.monitors.judged import MOST, Because, Judged, Violation, Why, before, judged, rows_of_facts
from harness.monitors.written import FIRST, Seen, Written, is_register, seen, stable_order, version_of, written

MODEL: Final = "stale"

NONE: Final = -1
"""In a column of rows: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Staleness:
    """Every read of a register whose answer names one write, and how old that was.

    Attributes:
        rows: The reads.
        lag_ns: How long the answer had certainly been overwritten when the read was called; 0: it may have been fresh.
        writer: Who had written the answer; `NONE` where it was what is there at first.
        over: The write that had certainly overwritten it, acknowledged first of all such; `NONE` where ``lag_ns`` is 0.
        shown_by: Who shows that the answer had taken effect before ``over`` began: its writer, or a read of it; `NONE` for the first value.
        undecided: Why other reads are not among them.
    """

    rows: Rows
    lag_ns: Column
    writer: Rows
    over: Rows
    shown_by: Rows
    undecided: tuple[str, ...] = ()

    @property
    def stale(self) -> Mask:
        """Which of the reads were certainly stale."""
        return self.lag_ns > 0

    def quantile_ns(self, share: float) -> int:
        """The lag that ``share`` of the *stale* reads do not exceed, in ns; 0 where none is stale."""
        lags = self.lag_ns[self.stale]
        return int(np.quantile(lags, share, method="inverted_cdf")) if len(lags) else 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """How long one replica took to answer an acknowledged write, or something that is certainly newer.

    Attributes:
        replica: Which one.
        writes: The acknowledged writes of which that is known.
        after_ns: The time from the acknowledgement to the end of its first read that knew it, 0 where it knew it before; `NEVER` where the
            last thing that it answered is certainly older.
    """

    replica: int
    writes: Rows
    after_ns: Column


def staleness(calls: Calls) -> Staleness:
    """The lag of each read. O(n log n) in the number of writes, O(n) in that of reads."""
    nothing = np.zeros(0, dtype=np.int64)
    if not is_register(calls):
        return Staleness(
            rows=nothing,
            lag_ns=nothing,
            writer=nothing,
            over=nothing,
            shown_by=nothing,
            undecided=("staleness is measured of registers only",),
        )
    writers = written(calls)
    what = seen(calls, writers)
    shown_by = _shown_by(calls, what)
    over = _overwriters(calls, writers, what, shown_by)
    reads = np.flatnonzero(calls.f[what.rows] == F.READ)
    rows, writer = what.rows[reads], what.writer[reads]
    version = version_of(calls, rows, writer)
    by = over[version]
    lag_ns = np.where(by >= 0, calls.call_ns[rows] - calls.ret_ns[by], 0)
    stale = lag_ns > 0
    return Staleness(
        rows=rows,
        lag_ns=np.where(stale, lag_ns, 0),
        writer=np.where(writer == FIRST, NONE, writer),
        over=np.where(stale, by, NONE),
        shown_by=np.where(writer == FIRST, NONE, shown_by[np.maximum(writer, 0)]) if len(calls) else rows,
        undecided=what.undecided,
    )


def _shown_by(calls: Calls, what: Seen) -> Rows:
    """For each row that wrote, the operation that first returned after its value had taken effect: itself, or one that saw it."""
    first = np.arange(len(calls))
    saw = np.flatnonzero(what.writer >= 0)
    rows, writer = what.rows[saw], what.writer[saw]
    sooner = np.flatnonzero(calls.ret_ns[rows] < calls.ret_ns[writer])
    rows, writer = rows[sooner], writer[sooner]
    latest_first = np.argsort(-calls.ret_ns[rows], kind="stable")
    first[writer[latest_first]] = rows[latest_first]
    return first


def _overwriters(calls: Calls, writers: Written, what: Seen, shown_by: Rows) -> Rows:
    """For each version the first acknowledged write that certainly replaced it; a version is the row that wrote it, or behind all a key."""
    over = np.full(len(calls) + len(writers.ambiguous), NONE, dtype=np.int64)
    acked = writers.rows[calls.ended[writers.rows] == Ended.OK]
    if not len(acked):
        return over
    ends_ns = calls.ret_ns[shown_by[writers.rows]]
    known, ends_ns = writers.rows[ends_ns < NEVER], ends_ns[ends_ns < NEVER]
    key = calls.key.astype(np.int64)
    events = _Events(key=key[acked], at_ns=calls.call_ns[acked], value_ns=calls.ret_ns[acked])
    keys = np.unique(key[acked])
    found = _least_after(events, np.concatenate([key[known], keys]), np.concatenate([ends_ns, np.full(len(keys), -NEVER)]))
    over[np.concatenate([known, len(calls) + keys])] = np.where(found >= 0, acked[found], NONE)
    _add_swaps(calls, what, over)
    return over


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Events:
    """Something of each ``key`` at ``at_ns``, with a value."""

    key: Column
    at_ns: Column
    value_ns: Column


def _least_after(events: _Events, key: Column, after_ns: Column) -> Rows:
    """For each asked key and instant the event of the least value among those of the key later than the instant; `NONE` where none is.

    One number orders events by key and instant, another one by key and value, so that one running minimum serves all keys.
    """
    count = len(events.key)
    if not count:
        return np.full(len(key), NONE, dtype=np.int64)
    stride = count + 1
    instants = np.sort(events.at_ns)
    place = events.key * stride + np.searchsorted(instants, events.at_ns, "left")
    order = np.argsort(place, kind="stable")
    place = place[order]
    by_value = order[np.argsort(events.value_ns[order], kind="stable")]
    rank = np.empty(count, dtype=np.int64)
    rank[by_value] = np.arange(count)
    least = np.minimum.accumulate((events.key * stride + rank)[order][::-1])[::-1]
    asked = key * stride + np.searchsorted(instants, after_ns, "right")
    by_key = stable_order(key, int(max(key.max(initial=0), events.key.max())) + 1)
    at = np.empty(len(asked), dtype=np.int64)
    at[by_key] = np.searchsorted(place, asked[by_key], "left")  # near to each other, so that what they meet is in the cache
    found = by_value[least[np.minimum(at, count - 1)] % stride]
    return np.where((at < count) & (events.key[found] == key), found, NONE)


def _add_swaps(calls: Calls, what: Seen, over: Rows) -> None:
    """A swap that was acknowledged has replaced what it asked for, however it overlaps with the write of that."""
    at = np.flatnonzero(calls.f[what.rows] == F.CAS)
    swaps, old = what.rows[at], what.writer[at]
    version = version_of(calls, swaps, old)
    now_ns = np.where(over[version] >= 0, calls.ret_ns[over[version]], NEVER)
    sooner = np.flatnonzero(calls.ret_ns[swaps] < now_ns)
    latest_first = sooner[np.argsort(-calls.ret_ns[swaps[sooner]], kind="stable")]
    over[version[latest_first]] = swaps[latest_first]


def known(calls: Calls) -> tuple[Known, ...]:
    """How long each replica took to know each acknowledged write, as far as its reads tell. O(n log n) for each replica."""
    if not is_register(calls):
        return ()
    writers = written(calls)
    what = seen(calls, writers)
    shown_by = _shown_by(calls, what)
    acked = writers.rows[(calls.ended[writers.rows] == Ended.OK) & ~writers.ambiguous[calls.key[writers.rows]]]
    replicas = np.unique(calls.replica[what.rows])
    return tuple(_known(calls, what, acked, shown_by, int(replica)) for replica in replicas[replicas >= 0])


def _known(calls: Calls, what: Seen, acked: Rows, shown_by: Rows, replica: int) -> Known:
    mine = (calls.replica[what.rows] == replica) & (calls.f[what.rows] == F.READ)
    rows, writer = what.rows[mine], what.writer[mine]
    key = calls.key.astype(np.int64)
    born_ns = np.where(writer >= 0, calls.call_ns[np.maximum(writer, 0)], -NEVER)
    newer = _least_after(_Events(key=key[rows], at_ns=born_ns, value_ns=calls.ret_ns[rows]), key[acked], calls.ret_ns[acked])
    knew_ns = np.where(newer >= 0, calls.ret_ns[rows[newer]], NEVER) if len(rows) else np.full(len(acked), NEVER)
    itself_ns = np.full(len(calls), NEVER, dtype=np.int64)
    of_row = np.flatnonzero(writer >= 0)
    latest_first = of_row[np.argsort(-calls.ret_ns[rows[of_row]], kind="stable")]
    itself_ns[writer[latest_first]] = calls.ret_ns[rows[latest_first]]
    knew_ns = np.minimum(knew_ns, itself_ns[acked])
    last = np.full(int(key.max(initial=0)) + 1, NONE, dtype=np.int64)
    in_order = np.argsort(calls.call_ns[rows], kind="stable")
    last[key[rows[in_order]]] = in_order
    last = last[key[acked]]
    took_ns = np.where(writer >= 0, calls.ret_ns[shown_by[np.maximum(writer, 0)]], -NEVER)
    in_vain = (last >= 0) & (knew_ns == NEVER)
    if len(rows):
        in_vain &= (calls.call_ns[rows[last]] > calls.ret_ns[acked]) & (took_ns[last] < calls.call_ns[acked])
    after_ns = np.where(knew_ns < NEVER, np.maximum(knew_ns - calls.ret_ns[acked], 0), NEVER)
    told = in_vain | (knew_ns < NEVER)
    return Known(replica=replica, writes=acked[told], after_ns=after_ns[told])


def judge_within(calls: Calls, bound_ns: int) -> Judged:
    """Whether no read answered what had certainly been overwritten for more than ``bound_ns``."""
    measured = staleness(calls)
    late = np.flatnonzero(measured.lag_ns > bound_ns)
    worst = late[np.argsort(-measured.lag_ns[late], kind="stable")[:MOST]]
    undecided = list(measured.undecided)
    acked = np.flatnonzero(np.isin(calls.f, (F.WRITE, F.CAS)) & (calls.ended == Ended.OK) & (calls.result != 0))
    first_ns = np.full(int(calls.key.max(initial=0)) + 1, NEVER, dtype=np.int64)
    np.minimum.at(first_ns, calls.key[acked], calls.ret_ns[acked])
    begun_ns = calls.call_ns[measured.rows] - bound_ns
    if len(measured.rows) and not (begun_ns > first_ns[calls.key[measured.rows]]).any():
        undecided.append("no read began that long after an acknowledged write, so the promise was not tried")
    return judged(
        MODEL,
        violations=[_violation(calls, measured, at) for at in worst.tolist()],
        undecided=undecided,
        operations=int((calls.ended != Ended.FAIL).sum()),
        reads=len(measured.rows),
        counts={"stale-beyond-bound": len(late)} if len(late) else {},
    )


def _violation(calls: Calls, measured: Staleness, at: int) -> Violation:
    facts = overwritten(calls, measured, at)
    return Violation(kind="stale-beyond-bound", rows=rows_of_facts(calls, facts), because=tuple(facts), size_ns=int(measured.lag_ns[at]))


def overwritten(calls: Calls, measured: Staleness, at: int) -> list[Because]:
    """Why the answer of the read at the place ``at`` had certainly been overwritten."""
    read, writer, over, shown = (int(column[at]) for column in (measured.rows, measured.writer, measured.over, measured.shown_by))
    if writer == NONE:
        return [Because(why=Why.SAW_INITIAL, a=read), before(over, read)]
    value = int(calls.result[read])
    facts = [Because(why=Why.SAW, a=read, b=writer, value=value)]
    if calls.ret_ns[shown] >= calls.call_ns[over]:
        facts.append(Because(why=Why.REPLACED, a=over, b=writer, value=value))
    else:
        if shown != writer:
            facts.append(Because(why=Why.REPLACED if calls.f[shown] == F.CAS else Why.SAW, a=shown, b=writer, value=value))
        facts.append(before(shown, over))
    return [*facts, before(over, read)]
