"""Queues: whether the values come out in the order in which they went in, each once, and nothing is answered only when nothing is inside.

With values that are put in once, a first-in-first-out queue is wrong iff one of four things happened (Henzinger, Sezgin and Vafeiadis,
CONCUR 2013; Gibbons, Bruno and Phillips, Theory Comput. Syst. 35, 2002): a value came out that was not put in before, or came out twice; a
value came out before one that went in earlier; or nothing was found while something was inside all the time. Each is a question of a sort
and a sweep. Two values are enough to show a wrong order, as *ended before the other began* has no longer cycle without a shorter one.

What never came out may have been taken by a dequeue that was never answered. Each of these takes at most one, and each value has a last
instant by which it must be gone: the first end of a dequeue of a later value. Takers and values are paired greedily, the earliest with the
earliest. Where answers of *nothing* have a say as well, the pairing is tried with what they surely demand, and with all that they might;
only where these two differ the general search decides. So it does for values that were put in twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from harness.monitors.calls import INITIAL, NOTHING, Calls, Column, Ended, F, Mask, Rows
from harness.monitors.columns import ROOM, Apart, Found, Search, apart, dense_pairs, known_only, rows_of
from harness.monitors.judged import Because, Budget, Judged, Violation, Why, before
from harness.monitors.models import MODELS

ASKED: Final = (F.ENQUEUE, F.DEQUEUE)

EVERY: Final = slice(None)


def judge(calls: Calls, budget: Budget) -> Judged:
    """Judge a history of queues, each key one."""
    found = Found()
    search = Search(model=MODELS["queue"], budget=budget)
    kept = known_only(calls, ASKED, found.doubts)
    at = apart(calls)
    took_part = kept & (calls.ended != Ended.FAIL)
    told = took_part & (calls.ended == Ended.OK) & (calls.f == F.DEQUEUE) & (calls.result != NOTHING)
    values = _values_of(calls, at, kept)
    again = _keys_with_repeats(values)
    if len(again):
        repeated = np.isin(calls.key, again)
        search.judge(calls, np.flatnonzero(kept & repeated), found)
        kept &= ~repeated
        values = _values_of(calls, at, kept)
    good = _judge_values(values, found)
    inside = _Inside.of(values, good)
    _judge_overtaken(values, inside, found)
    _judge_empty(values, inside, found)
    open_keys = _judge_untaken(values, inside, found)
    if len(open_keys):
        search.judge(calls, np.flatnonzero(kept & np.isin(calls.key, np.setdiff1d(open_keys, found.keys(calls)))), found)
    return found.judged("queue", operations=int(np.count_nonzero(took_part)), reads=int(np.count_nonzero(told)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Values:
    """What the rows say of each value, by a number.

    Attributes:
        calls: The history.
        at: Its instants.
        keys: The key of each value.
        puts: Rows that may have put a value in, and in ``put_of`` which.
        put_of: See ``puts``.
        refused: Rows that provably put nothing in, and in ``refused_of`` what they wanted to.
        refused_of: See ``refused``.
        takes: Rows that took a value, and in ``take_of`` which.
        take_of: See ``takes``.
        empty: Rows that found nothing.
        takers: Rows that may have taken something, nobody knows what, by key and call.
    """

    calls: Calls
    at: Apart
    keys: Column
    puts: Rows
    put_of: Column
    refused: Rows
    refused_of: Column
    takes: Rows
    take_of: Column
    empty: Rows
    takers: Rows

    def put(self, value: int) -> int:
        """The row that put ``value`` in."""
        return int(self.puts[np.flatnonzero(self.put_of == value)[0]])

    def take(self, value: int) -> int:
        """The row that took ``value``."""
        return int(self.takes[np.flatnonzero(self.take_of == value)[0]])

    def code(self, value: int) -> int:
        """The code of ``value``, which was put in."""
        return int(self.calls.arg[self.put(value)])


def _values_of(calls: Calls, at: Apart, kept: Mask) -> _Values:
    ok, puts = calls.ended == Ended.OK, calls.f == F.ENQUEUE
    put = np.flatnonzero(kept & puts & (calls.ended != Ended.FAIL))
    refused = np.flatnonzero(kept & puts & (calls.ended == Ended.FAIL))
    take = np.flatnonzero(kept & ~puts & ok & (calls.result != INITIAL) & (calls.result != NOTHING))
    takers = np.flatnonzero(kept & ~puts & ((calls.ended == Ended.INFO) | (ok & (calls.result == NOTHING))))
    numbered, keys = dense_pairs(
        [calls.key[put], calls.key[refused], calls.key[take]], [calls.arg[put], calls.arg[refused], calls.result[take]]
    )
    return _Values(
        calls=calls,
        at=at,
        keys=keys,
        puts=put,
        put_of=numbered[0],
        refused=refused,
        refused_of=numbered[1],
        takes=take,
        take_of=numbered[2],
        empty=np.flatnonzero(kept & ~puts & ok & (calls.result == INITIAL)),
        takers=takers[np.argsort(at.call[takers], kind="stable")],
    )


def _keys_with_repeats(values: _Values) -> Column:
    """The keys with a value that may have been put in more than once, or that looks like nothing when it is taken."""
    times = np.bincount(values.put_of, minlength=len(values.keys))
    odd = (times[values.put_of] > 1) | (values.calls.arg[values.puts] == INITIAL)
    return np.unique(values.calls.key[values.puts[odd]]).astype(np.int64)


def _judge_values(values: _Values, found: Found) -> Mask:
    """Find what is wrong with single values; tells those that somebody may have put in, and of which nothing is."""
    many, at = len(values.keys), values.at
    put, refused = np.zeros(many, dtype=np.bool_), np.zeros(many, dtype=np.bool_)
    put[values.put_of], refused[values.refused_of] = True, True
    times = np.bincount(values.take_of, minlength=many)
    strange = (times > 0) & ~put
    found.note("never-enqueued", np.flatnonzero(strange & ~refused), partial(_strange, values))
    found.note("refused-yet-dequeued", np.flatnonzero(strange & refused), partial(_strange, values))
    twice = put & (times > 1)
    found.note("dequeued-twice", np.flatnonzero(twice), partial(_twice, values))
    called = np.zeros(many, dtype=np.int64)
    called[values.put_of] = at.call[values.puts]
    early = np.zeros(many, dtype=np.bool_)
    early[values.take_of] = at.ret[values.takes] < called[values.take_of]
    early &= ~twice
    found.note("dequeued-early", np.flatnonzero(early), partial(_early, values))
    good: Mask = put & ~twice & ~early
    return good


def _strange(values: _Values, value: int) -> Violation:
    take = values.take(value)
    code = int(values.calls.result[take])
    by = values.refused[values.refused_of == value].tolist()
    if not by:
        return Violation(kind="never-enqueued", rows=(take,), because=(Because(why=Why.TOOK_UNKNOWN, a=take, value=code),))
    because = Because(why=Why.TOOK_REFUSED, a=take, b=by[0], value=code)
    return Violation(kind="refused-yet-dequeued", rows=rows_of(take, *by), because=(because,))


def _twice(values: _Values, value: int) -> Violation:
    put = values.put(value)
    first, second = values.takes[values.take_of == value][:2].tolist()
    because = (
        Because(why=Why.TOOK, a=first, b=put, value=values.code(value)),
        Because(why=Why.TOOK_TOO, a=second, b=first, value=values.code(value)),
    )
    return Violation(kind="dequeued-twice", rows=rows_of(put, first, second), because=because)


def _early(values: _Values, value: int) -> Violation:
    put, take = values.put(value), values.take(value)
    because = (Because(why=Why.TOOK, a=take, b=put, value=values.code(value)), before(take, put))
    return Violation(kind="dequeued-early", rows=(put, take), because=because)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Inside:
    """When values were inside for sure: four times of each good value, in columns side by side, by the call of the put.

    Attributes:
        value: The number of each value.
        put_call: When its put was called.
        put_end: When that ended.
        take_call: When the call began that took it; after everything where nobody is known to have.
        take_end: When that ended.
        never: After everything else of its key.
        later_end: The first end of a take of this value or one whose put was called later.
        begin: Stretches of time in which something that was taken later was always inside, in order: they begin after this instant.
        end: And end before this one.
    """

    value: Column
    put_call: Column
    put_end: Column
    take_call: Column
    take_end: Column
    never: Column
    later_end: Column
    begin: Column
    end: Column

    @classmethod
    def of(cls, values: _Values, good: Mask) -> _Inside:
        """Those of the ``good`` values."""
        at, last = values.at, values.at.after(values.keys)
        call, end = last.copy(), last.copy()
        call[values.take_of], end[values.take_of] = at.call[values.takes], at.ret[values.takes]
        puts, of = values.puts[good[values.put_of]], values.put_of[good[values.put_of]]
        order = np.argsort(at.call[puts], kind="stable")
        puts, of = puts[order], of[order]
        put_end, take_call, take_end = at.ret[puts], call[of], end[of]
        begin, until = _stretches(put_end, take_call, taken=take_call < last[of])
        return cls(
            value=of,
            put_call=at.call[puts],
            put_end=put_end,
            take_call=take_call,
            take_end=take_end,
            never=last[of],
            later_end=np.minimum.accumulate(take_end[::-1])[::-1],
            begin=begin,
            end=until,
        )

    def cover(self, since_ns: int, until_ns: int) -> list[int]:
        """A few taken values of which always one was inside, from ``since_ns`` to the end of its stretch or after ``until_ns``.

        One must have been inside right before ``since_ns``.
        """
        begin, end = self.put_end, np.where(self.take_call < self.never, self.take_call, -1)
        chain: list[int] = []
        while True:
            best = int(np.argmax(np.where(begin < since_ns, end, -1)))
            if chain and end[best] <= since_ns:
                return chain
            chain.append(best)
            since_ns = int(end[best])
            if since_ns > until_ns:
                return chain


def _stretches(begin: Column, end: Column, *, taken: Mask) -> tuple[Column, Column]:
    """The union of the open intervals from ``begin`` to ``end``, of those that are ``taken``, in order; one that ends early is none."""
    chosen = np.flatnonzero(taken)
    order = chosen[np.argsort(begin[chosen], kind="stable")]
    begin, end = begin[order], np.maximum.accumulate(end[order])
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = begin[1:] >= end[:-1]
    return begin[new], end[np.append(new[1:], True)] if len(order) else end


def _judge_overtaken(values: _Values, inside: _Inside, found: Found) -> None:
    """Find taken values before which one was taken that went in later."""
    over = np.flatnonzero((_gone_by(inside) < inside.take_call) & (inside.take_call < inside.never))

    def build(one: int) -> Violation:
        other = _overtaker(inside, one)
        x, y = int(inside.value[one]), int(inside.value[other])
        put_x, take_x, put_y, take_y = values.put(x), values.take(x), values.put(y), values.take(y)
        because = (
            before(put_x, put_y),
            Because(why=Why.TOOK, a=take_y, b=put_y, value=values.code(y)),
            before(take_y, take_x),
            Because(why=Why.TOOK, a=take_x, b=put_x, value=values.code(x)),
        )
        return Violation(kind="overtaken", rows=(put_x, put_y, take_y, take_x), because=because)

    found.note("overtaken", over, build)


def _gone_by(inside: _Inside, places: Rows | slice = EVERY) -> Column:
    """By when values must be gone: the first end of a take of a value whose put was called after their own had ended."""
    later = np.searchsorted(inside.put_call, inside.put_end[places], "right")
    by: Column = np.append(inside.later_end, ROOM)[later]
    return by


def _overtaker(inside: _Inside, one: int) -> int:
    """The value that says by when ``one`` must be gone."""
    later = int(np.searchsorted(inside.put_call, inside.put_end[one], "right"))
    return later + int(np.argmin(inside.take_end[later:]))


def _judge_empty(values: _Values, inside: _Inside, found: Found) -> None:
    """Find answers of nothing all through which something was inside that was taken later."""
    call, end = values.at.call[values.empty], values.at.ret[values.empty]
    stretch = np.searchsorted(inside.begin, call, "left") - 1
    wrong = np.flatnonzero((stretch >= 0) & (end < np.append(inside.end, 0)[stretch]))

    def build(one: int) -> Violation:
        poll = int(values.empty[one])
        chain = [int(inside.value[place]) for place in inside.cover(int(call[one]), int(end[one]))]
        puts, takes = [values.put(value) for value in chain], [values.take(value) for value in chain]
        because = [Because(why=Why.FOUND_EMPTY, a=poll), before(puts[0], poll)]
        because += [before(put, take) for put, take in zip(puts[1:], takes, strict=False)]
        because.append(before(poll, takes[-1]))
        return Violation(kind="empty-while-inside", rows=rows_of(poll, *puts, *takes), because=tuple(because))

    found.note("empty-while-inside", wrong, build)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Polls:
    """Answers of nothing that something explains: the rows, and the first and the last instant at which nothing may have been inside."""

    rows: Rows
    first: Column
    last: Column

    @classmethod
    def of(cls, values: _Values, inside: _Inside) -> _Polls:
        """Those of ``values``, by their first instant."""
        call, end = values.at.call[values.empty], values.at.ret[values.empty]
        begins, ends = np.append(inside.begin, ROOM), np.append(inside.end, -1)
        of_call = np.searchsorted(inside.begin, call, "left") - 1  # the stretch that began before, if any: else the last, which is none
        of_end = np.searchsorted(inside.begin, end, "left") - 1
        first = np.where(call < ends[of_call], ends[of_call], call)
        last = np.where(end < ends[of_end], begins[of_end], end)
        order = np.argsort(first, kind="stable")
        order = order[(first <= last)[order]]
        return cls(rows=values.empty[order], first=first[order], last=last[order])

    def around(self, values: _Values, inside: _Inside, one: int) -> list[int]:
        """The taken values that leave the poll ``one`` no other instants than from ``first`` to ``last``."""
        call, end = int(values.at.call[self.rows[one]]), int(values.at.ret[self.rows[one]])
        first, last = int(self.first[one]), int(self.last[one])
        early = inside.cover(call, first) if call < first else []
        late = inside.cover(last + 1, end) if last < end else []
        return list(dict.fromkeys(early + late))

    def demand(self, since: Column, first: Column, last: Column) -> Column:
        """For each of ``since`` the smallest of ``last`` whose ``first`` is later; both are of the polls."""
        order = np.argsort(first, kind="stable")
        smallest = np.append(np.minimum.accumulate(last[order][::-1])[::-1], ROOM)
        by: Column = smallest[np.searchsorted(first[order], since, "right")]
        return by


def _judge_untaken(values: _Values, inside: _Inside, found: Found) -> Column:
    """Find values that must be gone, and that nobody can have taken; tells the keys for which this is not decided."""
    left = np.flatnonzero(inside.take_call == inside.never)
    polls = _Polls.of(values, inside)
    since, never, gone_by = inside.put_end[left], inside.never[left], _gone_by(inside, left)
    surely = np.minimum(gone_by, polls.demand(since, polls.first, polls.last))
    order, missing = _unmatched(values, inside.value[left], surely, never)
    lost = left[order[missing]]
    found.note("lost-value", np.flatnonzero(missing), lambda place: _lost(values, inside, polls, left[order], surely[order], place))
    keys = values.keys[inside.value[lost]]
    early = _keys_unmatched(values, inside, left, np.minimum(gone_by, polls.demand(since, polls.first, polls.first)))
    late = _keys_unmatched(values, inside, left, np.minimum(gone_by, polls.demand(since, polls.last, polls.last)))
    guessed = values.calls.key[values.takers[values.calls.ended[values.takers] == Ended.OK]]  # taken to have no end, as if it were longer
    return np.setdiff1d(np.union1d(np.intersect1d(early, late), guessed), keys).astype(np.int64)


def _keys_unmatched(values: _Values, inside: _Inside, left: Rows, by: Column) -> Column:
    """The keys where no taker is left for one of the values at the places ``left``, which must be gone ``by`` some instant."""
    order, missing = _unmatched(values, inside.value[left], by, inside.never[left])
    keys: Column = np.unique(values.keys[inside.value[left[order[missing]]]])
    return keys


def _unmatched(values: _Values, value: Column, by: Column, never: Column) -> tuple[Column, Mask]:
    """Which of the values that must be gone ``by`` some instant no taker is left for: their places in that order, and whether."""
    order = np.flatnonzero(by < never)
    order = order[np.argsort(by[order], kind="stable")]
    keys = values.keys[value[order]]
    taker_keys = values.calls.key[values.takers]
    takers = np.searchsorted(values.at.call[values.takers], by[order], "right") - np.searchsorted(taker_keys, keys, "left")
    rank = np.arange(len(order)) - np.searchsorted(keys, keys, "left")
    far = 2 * (len(order) + len(values.takers) + 1)
    slack = np.minimum.accumulate(takers - rank - keys * far) + keys * far
    matched = np.minimum(rank + 1, slack + rank)
    earlier = np.where(rank > 0, np.append(0, matched[:-1]), 0) if len(order) else matched
    return order, matched == earlier


def _lost(values: _Values, inside: _Inside, polls: _Polls, left: Column, by: Column, place: int) -> Violation:
    """That the value at ``place`` of ``left``, by when they must be gone, is one too many for the takers there are."""
    calls, at = values.calls, values.at
    key = values.keys[inside.value[left[place]]]
    takers = values.takers[calls.key[values.takers] == key]
    takers, late = takers[at.call[takers] <= by[place]], takers[at.call[takers] > by[place]][:1].tolist()
    rows: list[int] = []
    because: list[Because] = []
    last = -1
    put_of, take_of = np.full(len(values.keys), -1), np.full(len(values.keys), -1)
    put_of[values.put_of], take_of[values.take_of] = values.puts, values.takes
    chosen = left[place - len(takers) : place + 1]
    for one, gone_by in zip(chosen.tolist(), _gone_by(inside, chosen).tolist(), strict=True):
        x = int(inside.value[one])
        put = int(put_of[x])
        polled = np.flatnonzero((polls.first > inside.put_end[one]) & (calls.key[polls.rows] == key))
        if len(polled) and polls.last[polled].min() < gone_by:
            at_poll = int(polled[np.argmin(polls.last[polled])])
            last = int(polls.rows[at_poll])
            chain = [int(inside.value[other]) for other in polls.around(values, inside, at_poll)]
            rows += [put, last, *put_of[chain].tolist(), *take_of[chain].tolist()]
            because += [before(put, last)] if at.ret[put] < at.call[last] else []
            because.append(Because(why=Why.FOUND_EMPTY, a=last))
        else:
            y = int(inside.value[_overtaker(inside, one)])
            last, other = int(take_of[y]), int(put_of[y])
            rows += [put, other, last]
            because += [before(put, other), Because(why=Why.TOOK, a=last, b=other, value=int(calls.arg[other]))]
        because.append(Because(why=Why.NEVER_TAKEN, a=put, value=int(calls.arg[put])))
    ends = {int(at.ret[row]): row for row in rows}
    because += [before(ends[int(by[place])], taker) for taker in late]
    if len(takers):
        because.append(Because(why=Why.TOO_FEW_TAKERS, a=last, n=len(takers) + 1, m=len(takers)))
    return Violation(kind="lost-value", rows=rows_of(*rows, *takers.tolist(), *late), because=tuple(because))
