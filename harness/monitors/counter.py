"""Counters: whether the numbers that were answered are explained by one order of the additions.

Where all additions are of one amount, mostly one, this is exact and near-linear. The *k*-th increment happens at some instant, and every
answer bounds it: an answer of *k* or more ends after it, an answer of less begins before it. So there are slots, one for each increment
that anyone saw, whose bounds only ever grow, and increments that fit an interval of slots each. Every slot must be filled, and every
acknowledged increment must have a slot, or one behind all that was seen; pending increments may be left out. Such a pairing exists iff both
halves exist for themselves (Mendelsohn and Dulmage, Canad. J. Math. 10, 1958). Slots can be filled iff no answer is more than what had
begun by its end. The acknowledged increments find slots iff taking the first one that is free, in the order in which they run out, never
fails (Glover, Naval Res. Logist. Q. 14, 1967). Two increments that stand in the wrong order can always change places, so a pairing is an
order. An addition that tells its new number has its slot given, and is an answer as well.

With different amounts the question is NP-hard: one read beside all additions asks whether some of them add up to it. Then each answer is
compared with what is surely and what is possibly in it, and with the answers before it; what is left is searched where it is small.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from harness.monitors.calls import NOTHING, Calls, Column, Ended, F, Mask, Rows
from harness.monitors.columns import ROOM, Apart, Found, Search, apart, at_least, at_most, dense, known_only, rows_of
from harness.monitors.judged import Because, Budget, Judged, Violation, Why, before
from harness.monitors.models import MODELS

ASKED: Final = (F.ADD, F.READ)

SMALL: Final = 1_000
"""Operations of a key that are searched, where amounts differ."""


def judge(calls: Calls, budget: Budget) -> Judged:
    """Judge a history of counters, each key one, each beginning at 0."""
    found = Found()
    kept = known_only(calls, ASKED, found.doubts)
    took_part = kept & (calls.ended != Ended.FAIL)
    adds = np.flatnonzero(took_part & (calls.f == F.ADD))
    answered = took_part & (calls.ended == Ended.OK) & (calls.result != NOTHING)
    told = np.flatnonzero(answered)
    at = apart(calls)
    step = _steps(calls, adds)
    _judge_steps(_told_of(calls, at, adds[step[calls.key[adds]] != 0], told[step[calls.key[told]] != 0], step), found)
    other = step == 0
    if other.any():
        _judge_amounts(calls, at, adds[other[calls.key[adds]]], told[other[calls.key[told]]], found)
        _search_small(calls, kept & other[calls.key], Search(model=MODELS["counter"], budget=budget), found)
    return found.judged("counter", operations=int(np.count_nonzero(took_part)), reads=len(told))


def _steps(calls: Calls, adds: Rows) -> Column:
    """The amount that is added to each key each time; 0 where amounts differ, 1 where nothing is added."""
    keys = int(calls.key.max(initial=0)) + 1
    least = at_least(calls.key[adds], calls.arg[adds], np.full(keys, ROOM, dtype=np.int64))
    most = at_most(calls.key[adds], calls.arg[adds], np.full(keys, -ROOM, dtype=np.int64))
    step: Column = np.where(least == ROOM, 1, np.where(least == most, least, 0))
    return step


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Told:
    """Answers, and the additions that they may count. Numbers are counted in steps.

    Attributes:
        calls: The history.
        at: Its instants.
        step: What is added to each key each time.
        adds: Rows that may have added, by key and call.
        rows: Rows that answered a number.
        number: The number of each.
        ticket: Which of them are additions that told their new number.
    """

    calls: Calls
    at: Apart
    step: Column
    adds: Rows
    rows: Rows
    number: Column
    ticket: Mask

    def but(self, wrong: Mask) -> _Told:
        """Without the answers that are ``wrong``; the additions among them stay, as if they had told nothing."""
        return _Told(
            calls=self.calls,
            at=self.at,
            step=self.step,
            adds=self.adds,
            rows=self.rows[~wrong],
            number=self.number[~wrong],
            ticket=self.ticket[~wrong],
        )

    @property
    def keys(self) -> Column:
        """The key of each answer."""
        return self.calls.key[self.rows].astype(np.int64)

    @property
    def blind(self) -> Rows:
        """The additions that told no number, by key and call."""
        blind = np.ones(len(self.calls), dtype=np.bool_)
        blind[self.rows[self.ticket]] = False
        chosen: Rows = self.adds[blind[self.adds]]
        return chosen

    def answer(self, one: int) -> int:
        """The number that was answered."""
        return int(self.calls.result[self.rows[one]])


def _told_of(calls: Calls, at: Apart, adds: Rows, rows: Rows, step: Column) -> _Told:
    return _Told(
        calls=calls,
        at=at,
        step=step,
        adds=adds[np.argsort(at.call[adds], kind="stable")],
        rows=rows,
        number=calls.result[rows] if np.all(step == 1) else calls.result[rows] // step[calls.key[rows]],
        ticket=calls.f[rows] == F.ADD,
    )


def _judge_steps(told: _Told, found: Found) -> None:
    """Judge keys where all additions are of one amount."""
    step = told.step[told.keys]
    wrong = (told.number < told.ticket) | (told.number * step != told.calls.result[told.rows])
    found.note("impossible-number", np.flatnonzero(wrong), partial(_impossible, told))
    told = told.but(wrong) if wrong.any() else told
    wrong = told.number > _begun(told, told.adds)
    found.note("counted-twice", np.flatnonzero(wrong), partial(_counted_twice, told))
    told = told.but(wrong) if wrong.any() else told
    wrong = _same_numbers(told, found)
    told = told.but(wrong) if wrong.any() else told
    slots = _Slots.of(told)
    wrong = slots.high[slots.of_answer + ~told.ticket] < told.at.call[told.rows]
    found.note("went-back", np.flatnonzero(wrong), partial(_went_back, told, slots))
    if wrong.any():
        told = told.but(wrong)
        slots = _Slots.of(told)
    given = np.cumsum(slots.given)
    wrong = told.number > _begun(told, told.blind) + given[slots.of_answer] - given[slots.of_answer - told.number]
    found.note("counted-twice", np.flatnonzero(wrong), partial(_counted_twice, told))
    _judge_increments(told, slots, found)


def _begun(told: _Told, adds: Rows) -> Column:
    """How many of ``adds``, which are sorted, had begun when each answer ended."""
    first = np.searchsorted(told.calls.key[adds], told.keys)
    by: Column = np.searchsorted(told.at.call[adds], told.at.ret[told.rows], "right") - first
    return by


def _impossible(told: _Told, one: int) -> Violation:
    row = int(told.rows[one])
    because = Because(why=Why.NOT_A_STEP, a=row, n=told.answer(one), m=int(told.step[told.keys[one]]))
    return Violation(kind="impossible-number", rows=(row,), because=(because,))


def _same_numbers(told: _Told, found: Found) -> Mask:
    """Which additions told a number that another one had told, that ended before."""
    tickets = np.flatnonzero(told.ticket)
    tickets = tickets[np.lexsort((told.at.ret[told.rows[tickets]], told.number[tickets], told.keys[tickets]))]
    same = (np.diff(told.keys[tickets]) == 0) & (np.diff(told.number[tickets]) == 0)
    wrong = np.zeros(len(told.rows), dtype=np.bool_)
    wrong[tickets[1:][same]] = True

    def build(place: int) -> Violation:
        a, b = int(told.rows[tickets[place]]), int(told.rows[tickets[place + 1]])
        because = Because(why=Why.SAME_NUMBER, a=a, b=b, n=told.answer(tickets[place]))
        return Violation(kind="lost-increment", rows=(a, b), because=(because,))

    found.note("lost-increment", np.flatnonzero(same), build)
    return wrong


def _counted_twice(told: _Told, one: int) -> Violation:
    """With the last answer since which less was added than the number rose; alone where there is none."""
    calls, at = told.calls, told.at
    row, number, key = int(told.rows[one]), int(told.number[one]), told.keys[one]
    adds = told.adds[calls.key[told.adds] == key]
    higher = told.rows[told.ticket & (told.keys == key) & (told.number > number)]
    adds = adds[(at.call[adds] <= at.ret[row]) & ~np.isin(adds, higher)]
    over = np.sort(at.ret[adds])
    others = np.flatnonzero((told.keys == key) & (at.call[told.rows] <= at.ret[row]) & (told.rows != row))
    since = len(adds) - np.searchsorted(over, at.call[told.rows[others]])
    fits = np.flatnonzero(number - told.number[others] > since)
    if not len(fits):
        because = Because(why=Why.COUNTED_MORE, a=row, n=told.answer(one), m=len(adds))
        return Violation(kind="counted-twice", rows=rows_of(row, *adds.tolist()), because=(because,))
    other = int(others[fits[np.argmin(since[fits])]])
    earlier = int(told.rows[other])
    adds = adds[at.ret[adds] >= at.call[earlier]]
    because = Because(why=Why.COUNTED_MORE_SINCE, a=row, b=earlier, n=abs(told.answer(one) - told.answer(other)), m=len(adds))
    return Violation(kind="counted-twice", rows=rows_of(earlier, row, *adds.tolist()), because=(because,))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Slots:
    """One slot for each increment that anyone saw, the keys' one behind the other, with a slot before and one behind those of each key.

    Attributes:
        low: From when on each increment happened at the earliest: the last call of an answer that does not count it.
        high: By when at the latest: the first end of an answer that counts it.
        given: Which slots belong to an addition that told its number.
        first: The slot before those of each key; behind the last key's there is one more.
        of_answer: The slot of the number that each answer told.
    """

    low: Column
    high: Column
    given: Mask
    first: Column
    of_answer: Column

    @classmethod
    def of(cls, told: _Told) -> _Slots:
        """Those that the answers of ``told`` show."""
        keys, at, rows = np.arange(len(told.step)), told.at, told.rows
        most = at_most(told.keys, told.number, np.zeros(len(keys), dtype=np.int64))
        first = np.concatenate([[0], np.cumsum(most + 2)])
        high, low = np.repeat(at.after(keys), most + 2), np.repeat(at.before(keys), most + 2)
        slot = first[told.keys] + told.number
        at_least(slot, at.ret[rows], high)
        at_most(slot + 1, at.call[rows], low)
        high = np.minimum.accumulate(high[::-1])[::-1]
        high[first[:-1]] = at.before(keys)
        given = np.zeros(len(high), dtype=np.bool_)
        given[slot[told.ticket]] = True
        return cls(low=np.maximum.accumulate(low), high=high, given=given, first=first, of_answer=slot)


def _went_back(told: _Told, slots: _Slots, one: int) -> Violation:
    """With an answer that had ended before, and was not less."""
    at, row = told.at, int(told.rows[one])
    by = slots.high[slots.of_answer[one] + (not told.ticket[one])]
    same = (told.keys == told.keys[one]) & (told.number >= told.number[one] + (not told.ticket[one])) & (at.ret[told.rows] == by)
    other = int(np.flatnonzero(same)[0])
    earlier = int(told.rows[other])
    because = (before(earlier, row), Because(why=Why.COUNTED_BACK, a=row, b=earlier, n=told.answer(one), m=told.answer(other)))
    size = int(told.calls.call_ns[row] - told.calls.ret_ns[earlier])
    return Violation(kind="went-back", rows=(earlier, row), because=because, size_ns=size)


def first_fit(begin: Column, end: Column, slots: int) -> Column:
    """For each job, one after the other, the first slot from ``begin`` on that is free; -1 where that is behind ``end``.

    Slots that are taken lead to a free one by shortened paths (Gabow and Tarjan, JCSS 30(2), 1985), so a job costs next to nothing.
    """
    free = list(range(slots + 1))  # of a slot that is taken, one behind it
    taken = [-1] * len(begin)
    for job, (wanted, last) in enumerate(zip(begin.tolist(), end.tolist(), strict=True)):
        slot = wanted
        while free[slot] != slot:
            free[slot] = free[free[slot]]
            slot = free[slot]
        if slot <= last:
            taken[job] = slot
            free[slot] = slot + 1
    return np.array(taken, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Jobs:
    """Acknowledged additions that must have one of the slots, by the last slot that they fit.

    Attributes:
        rows: Their rows.
        first: The first slot that each fits.
        last: The last one.
        begin: The first one among the free ones.
        taken: Which of the free ones it has; -1 where none was left.
        free: The free slots.
    """

    rows: Rows
    first: Column
    last: Column
    begin: Column
    taken: Column
    free: Column

    @classmethod
    def of(cls, told: _Told, slots: _Slots) -> _Jobs:
        """Those of ``told``."""
        at, blind = told.at, told.blind
        last = np.searchsorted(slots.low, at.ret[blind], "right") - 1
        must = last < slots.first[1:][told.calls.key[blind]] - 1
        rows, last = blind[must], last[must]
        first = np.searchsorted(slots.high, at.call[rows])
        order = np.argsort(last, kind="stable")
        rows, first, last = rows[order], first[order], last[order]
        place = np.concatenate([[0], np.cumsum(~slots.given)])
        taken = first_fit(place[first], place[last + 1] - 1, int(place[-1]))
        return cls(rows=rows, first=first, last=last, begin=place[first], taken=taken, free=np.flatnonzero(~slots.given))

    def crowd(self, job: int) -> Column:
        """Jobs that can't all have a slot, ``job`` among them: those in the slots that it fits, and what these could have had instead."""
        end = np.searchsorted(self.free, self.last[job], "right") - 1
        owner = np.full(len(self.free), -1, dtype=np.int64)
        owner[self.taken[:job][self.taken[:job] >= 0]] = np.flatnonzero(self.taken[:job] >= 0)
        begin = since = int(self.begin[job])
        while True:
            begin = min(begin, int(self.begin[owner[since : end + 1]].min(initial=begin)))
            if begin == since:
                break
            since = begin
        return np.append(owner[begin : end + 1], job)


def _judge_increments(told: _Told, slots: _Slots, found: Found) -> None:
    """Find acknowledged additions that no number counts, though one was told later."""
    jobs = _Jobs.of(told, slots)

    def build(job: int) -> Violation:
        crowd = jobs.crowd(job)
        first, last = int(jobs.first[crowd].min()), int(jobs.last[job])
        return _not_counted(told, slots, jobs.rows[crowd], first, last)

    found.note("lost-increment", np.flatnonzero(jobs.taken < 0), build)


def _not_counted(told: _Told, slots: _Slots, rows: Rows, first: int, last: int) -> Violation:
    """That the additions ``rows`` are more than the slots from ``first`` to ``last``, which are all that they fit."""
    at, key = told.at, told.calls.key[rows[0]]
    of_key = told.keys == key
    late = np.flatnonzero(of_key & (slots.of_answer <= last) & (at.call[told.rows] == slots.low[last + 1]))[0]
    begin = first - int(slots.first[key]) - 1
    between = told.rows[of_key & told.ticket & (slots.of_answer >= first) & (slots.of_answer <= last)]
    read, many = int(told.rows[late]), len(rows) + len(between)
    proof = rows_of(read, *rows.tolist(), *between.tolist())
    if begin == 0:
        because = Because(why=Why.COUNTED_FEWER, a=read, n=told.answer(late), m=many)
        return Violation(kind="lost-increment", rows=proof, because=(because,))
    early = np.flatnonzero(of_key & (told.number >= begin) & (at.ret[told.rows] == slots.high[first - 1]))[0]
    earlier = int(told.rows[early])
    because = Because(why=Why.COUNTED_FEWER_SINCE, a=earlier, b=read, n=many, m=last - first + 1)
    return Violation(kind="lost-increment", rows=rows_of(earlier, *proof), because=(because,))


def _judge_amounts(calls: Calls, at: Apart, adds: Rows, told: Rows, found: Found) -> None:
    """Judge keys where amounts differ, as far as sums tell."""
    up = calls.arg[adds] > 0
    own = np.where(calls.f[told] == F.ADD, calls.arg[told], 0)
    may_rise, may_fall = _sum(calls, at, adds[up], told, begun=True), _sum(calls, at, adds[~up], told, begun=True)
    rose, fell = _sum(calls, at, adds[up], told, begun=False), _sum(calls, at, adds[~up], told, begun=False)
    low, high = rose + may_fall + np.maximum(own, 0), may_rise + fell + np.minimum(own, 0)
    number = calls.result[told]

    def build(kind: str, one: int) -> Violation:
        row, less = int(told[one]), kind == "lost-increment"
        ended, begun = at.ret[adds] < at.call[row], at.call[adds] <= at.ret[row]
        counts = np.where(up, ended, begun) if less else np.where(up, begun, ended)
        rows = adds[(calls.key[adds] == calls.key[row]) & counts].tolist()
        why, bound = (Why.SUM_TOO_SMALL, low) if less else (Why.SUM_TOO_LARGE, high)
        because = Because(why=why, a=row, n=int(number[one]), m=int(bound[one]))
        return Violation(kind=kind, rows=rows_of(row, *rows), because=(because,))

    found.note("counted-twice", np.flatnonzero(number > high), partial(build, "counted-twice"))
    found.note("lost-increment", np.flatnonzero(number < low), partial(build, "lost-increment"))
    falls = np.isin(calls.key[told], calls.key[adds[calls.arg[adds] < 0]])
    rises = np.isin(calls.key[told], calls.key[adds[up]])
    _judge_one_way(calls, at, told[~falls], 1, found)
    _judge_one_way(calls, at, told[falls & ~rises], -1, found)


def _sum(calls: Calls, at: Apart, adds: Rows, told: Rows, *, begun: bool) -> Column:
    """The sum of ``adds`` that had ``begun`` when each of ``told`` ended, or else that had ended when it began."""
    when = (at.call if begun else at.ret)[adds]
    order = np.argsort(when, kind="stable")
    when, sums = when[order], np.concatenate([[0], np.cumsum(calls.arg[adds[order]])])
    until = np.searchsorted(when, at.ret[told], "right") if begun else np.searchsorted(when, at.call[told])
    total: Column = sums[until] - sums[np.searchsorted(when, at.before(calls.key[told]))]
    return total


def _judge_one_way(calls: Calls, at: Apart, told: Rows, sign: int, found: Found) -> None:
    """Find answers that are behind one before them, in keys where numbers only go the way of ``sign``."""
    own = np.where(calls.f[told] == F.ADD, calls.arg[told], 0)
    (after, least), numbers = dense([calls.result[told] * sign, (calls.result[told] - own) * sign])
    order = np.argsort(at.ret[told], kind="stable")
    offset = calls.key[told].astype(np.int64) * (len(numbers) + 1)
    most = np.maximum.accumulate((after + offset)[order])
    earlier = np.searchsorted(at.ret[told][order], at.call[told]) - 1
    wrong = np.flatnonzero((earlier >= 0) & (most[earlier] > least + offset)) if len(told) else order

    def build(one: int) -> Violation:
        row = int(told[one])
        candidates = np.flatnonzero((calls.key[told] == calls.key[row]) & (at.ret[told] < at.call[row]))
        other = int(told[candidates[np.argmax(after[candidates])]])
        back = Because(why=Why.COUNTED_BACK, a=row, b=other, n=int(calls.result[row]), m=int(calls.result[other]))
        size = int(calls.call_ns[row] - calls.ret_ns[other])
        return Violation(kind="went-back", rows=(other, row), because=(before(other, row), back), size_ns=size)

    found.note("went-back", wrong, build)


def _search_small(calls: Calls, chosen: Mask, search: Search, found: Found) -> None:
    """Search those keys of the ``chosen`` rows of which nothing wrong is known, where they are few enough."""
    rows = np.flatnonzero(chosen)
    many = np.bincount(calls.key[rows], minlength=int(calls.key.max(initial=0)) + 1)
    wrong = found.keys(calls)
    many[wrong] = 0
    search.judge(calls, rows[(many <= SMALL)[calls.key[rows]] & ~np.isin(calls.key[rows], wrong)], found)
    large = int(np.count_nonzero(many > SMALL))
    if large:
        found.doubts.append(
            f"{large} counters were not decided: different amounts were added, so to find an order is NP-hard, and these have more than"
            f" {SMALL:,} operations; no answer is beyond what sums allow"
        )
