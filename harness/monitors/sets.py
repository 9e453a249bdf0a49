"""Sets: whether the answers of reads and looks are explained by one order of additions and removals, and which element proves that not.

Elements that nobody removes are judged by `harness.monitors.grown`, whole reads included: exact and near-linear, also where an element is
added again. Without whole reads each element is a set of its own (a set is linearizable iff each element's operations are: Herlihy and
Wing, ACM TOPLAS 12(3), 1990), and one that is added once and removed once is judged by the four times that matter, as by Lee and Mathur
(OOPSLA 2025): it is there from the first proof of it at the latest, and gone at the last call that needs it at the earliest, so that nobody
may miss it in between. A removal of what is not there changes nothing, and a removal that says so is a look.

Elements that are added or removed several times, and keys that have both removals and whole reads, are judged by the general search,
after all that can be said of them without.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from harness.monitors.calls import NOTHING, Calls, Column, Ended, F, Mask, Rows
from harness.monitors.columns import Apart, Found, Search, apart, at_least, at_most, dense_pairs, known_only, rows_of
from harness.monitors.grown import elements_of, judge_chain, judge_elements
from harness.monitors.judged import Because, Budget, Judged, Violation, Why, before
from harness.monitors.models import MODELS

ASKED: Final = (F.ADD, F.REMOVE, F.CONTAINS, F.READ)


def judge(calls: Calls, budget: Budget) -> Judged:
    """Judge a history of sets, each key one."""
    found = Found()
    search = Search(model=MODELS["set"], budget=budget)
    kept = known_only(calls, ASKED, found.doubts)
    at = apart(calls)
    took_part = kept & (calls.ended != Ended.FAIL)
    told = took_part & (calls.ended == Ended.OK) & (calls.result != NOTHING) & (calls.f != F.ADD)
    removals = np.flatnonzero(took_part & (calls.f == F.REMOVE))
    if not len(removals):
        _judge_grown(calls, at, kept, found)
    else:
        _judge_removed(calls, at, kept, found, search)
    return found.judged("set", operations=int(np.count_nonzero(took_part)), reads=int(np.count_nonzero(told)))


def _judge_grown(calls: Calls, at: Apart, chosen: Mask, found: Found) -> None:
    """Judge rows of which none removes anything."""
    told = elements_of(calls, at, chosen)
    judge_chain(told, judge_elements(told, found), found)


def _judge_removed(calls: Calls, at: Apart, kept: Mask, found: Found, search: Search) -> None:
    """Judge rows of which some remove something."""
    lives = _lives_of(calls, at, kept)
    removed = lives.removals > 0
    rest = kept.copy()
    rest[lives.about[removed[lives.about_of]]] = False
    grown = calls if not len(lives.items) else _without(calls, removed[lives.items])
    _judge_grown(grown, at, rest, found)
    _judge_lives(lives, found)
    mixed = np.intersect1d(
        calls.key[kept & (calls.f == F.READ) & (calls.ended == Ended.OK) & (calls.result != NOTHING)], lives.keys[removed]
    )
    wrong = found.keys(calls)
    search.judge(calls, np.flatnonzero(kept & np.isin(calls.key, np.setdiff1d(mixed, wrong))), found)
    again = removed & ((lives.additions > 1) | (lives.removals > 1)) & ~np.isin(lives.keys, mixed)
    chosen = again[lives.about_of]
    search.judge(calls, lives.about[chosen], found, parts=lives.about_of[chosen])


def _without(calls: Calls, gone: Mask) -> Calls:
    """``calls`` without those items of whole reads that are ``gone``."""
    there = np.concatenate([[0], np.cumsum(~gone)])
    return replace(calls, items=calls.items[~gone], starts=there[calls.starts])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Lives:
    """Elements that come and go: what their rows say of each of them.

    Attributes:
        calls: The history.
        at: Its instants.
        keys: The key of each element.
        about: Rows about one element, and in ``about_of`` which.
        about_of: See ``about``.
        items: The elements of all items of the history.
        additions: How many rows may have added each element.
        removals: How many rows may have removed it.
        yes: Rows that saw an element, and in ``yes_of`` which.
        yes_of: See ``yes``.
        no: Rows that missed an element, and in ``no_of`` which.
        no_of: See ``no``.
    """

    calls: Calls
    at: Apart
    keys: Column
    about: Rows
    about_of: Column
    items: Column
    additions: Column
    removals: Column
    yes: Rows
    yes_of: Column
    no: Rows
    no_of: Column

    def rows(self, element: int, f: F) -> Rows:
        """The rows that may have added or removed ``element``."""
        rows = self.about[self.about_of == element]
        chosen: Rows = rows[_may(self.calls, rows, f)]
        return chosen


def _may(calls: Calls, rows: Rows, f: F) -> Mask:
    """Which of ``rows`` may have done ``f``; a removal that found nothing there has not."""
    ended = calls.ended[rows]
    nothing = (ended == Ended.OK) & (calls.result[rows] == 0) & (calls.f[rows] == F.REMOVE)
    chosen: Mask = (calls.f[rows] == f) & (ended != Ended.FAIL) & ~nothing
    return chosen


def _lives_of(calls: Calls, at: Apart, kept: Mask) -> _Lives:
    about = np.flatnonzero(kept & (calls.f != F.READ))
    row_of_item = np.repeat(np.arange(len(calls)), np.diff(calls.starts)) if len(calls.items) else np.zeros(0, dtype=np.int64)
    (about_of, items), keys = dense_pairs([calls.key[about], calls.key[row_of_item]], [calls.arg[about], calls.items])
    ok, result = calls.ended[about] == Ended.OK, calls.result[about]
    looked = ok & (calls.f[about] != F.ADD) & (result != NOTHING)
    yes, no = looked & (result != 0), looked & (result == 0)
    told = (kept & (calls.f == F.READ) & (calls.ended == Ended.OK) & (calls.result != NOTHING))[row_of_item]
    return _Lives(
        calls=calls,
        at=at,
        keys=keys,
        about=about,
        about_of=about_of,
        items=items,
        additions=np.bincount(about_of[_may(calls, about, F.ADD)], minlength=len(keys)),
        removals=np.bincount(about_of[_may(calls, about, F.REMOVE)], minlength=len(keys)),
        yes=np.concatenate([about[yes], row_of_item[told]]),
        yes_of=np.concatenate([about_of[yes], items[told]]),
        no=about[no],
        no_of=about_of[no],
    )


def _judge_lives(lives: _Lives, found: Found) -> None:
    """Judge each element that is removed at most once and added at most once; of the others only whether somebody added it."""
    at, calls = lives.at, lives.calls
    last, first = at.after(lives.keys), at.before(lives.keys)
    removed = lives.removals > 0
    seen = np.zeros(len(lives.keys), dtype=np.bool_)
    seen[lives.yes_of] = True
    strange = removed & seen & (lives.additions == 0)
    _note_strange(lives, strange, found)

    adds, removes = _may(calls, lives.about, F.ADD), _may(calls, lives.about, F.REMOVE)
    born, born_of = lives.about[adds], lives.about_of[adds]
    gone, gone_of = lives.about[removes], lives.about_of[removes]
    born_call, born_end = at_least(born_of, at.call[born], last.copy()), at_least(born_of, at.ret[born], last.copy())
    gone_call, gone_end = at_least(gone_of, at.call[gone], last.copy()), at_least(gone_of, at.ret[gone], last.copy())
    seen_end, seen_call = at_least(lives.yes_of, at.ret[lives.yes], last.copy()), at_most(lives.yes_of, at.call[lives.yes], first.copy())
    missed_call = at_most(lives.no_of, at.call[lives.no], first.copy())
    certain = np.zeros(len(lives.keys), dtype=np.bool_)
    certain[gone_of[calls.result[gone] > 0]] = True
    known = np.minimum(born_end, seen_end)
    # the removal came first, or never: then it was there from some instant on, for ever
    from_on = np.maximum(np.maximum(born_call, missed_call), np.where(gone_end < last, gone_call, first))
    stays = ~certain & (from_on <= known)
    # the removal came later: then nobody may miss it from the first proof of it to the last call that needs it
    there = np.minimum(known, gone_end)
    needed = np.maximum(np.maximum(born_call, seen_call), gone_call)
    missed = np.zeros(len(lives.keys), dtype=np.bool_)
    missed[lives.no_of[(there[lives.no_of] < at.call[lives.no]) & (at.ret[lives.no] < needed[lives.no_of])]] = True
    goes = (born_call <= there) & (needed <= gone_end) & ~missed
    wrong = removed & (lives.removals == 1) & (lives.additions == 1) & ~stays & ~goes
    early = wrong & (seen_end < born_call)
    after = wrong & ~early & (seen_call > gone_end) & (born_call <= gone_end)
    lost = wrong & ~early & ~after & (missed | ((gone_end < born_call) & (known < missed_call)))
    kinds = {"future-read": early, "removed-yet-there": after, "lost-element": lost, "not-linearizable": wrong & ~early & ~after & ~lost}
    for kind, which in kinds.items():
        found.note(kind, np.flatnonzero(which), partial(_life, lives, kind))


def _note_strange(lives: _Lives, strange: Mask, found: Found) -> None:
    calls = lives.calls
    wanted = (calls.f[lives.about] == F.ADD) & (calls.ended[lives.about] == Ended.FAIL)
    refused = np.zeros(len(strange), dtype=np.bool_)
    refused[lives.about_of[wanted]] = True

    def build(element: int) -> Violation:
        read = int(lives.yes[lives.yes_of == element][0])
        value = int(calls.arg[lives.about[lives.about_of == element][0]])
        by = lives.about[wanted & (lives.about_of == element)].tolist()
        if not by:
            return Violation(kind="unexpected-element", rows=(read,), because=(Because(why=Why.NOBODY_ADDED, a=read, value=value),))
        because = Because(why=Why.REFUSED_ADDED, a=read, b=by[0], value=value, n=len(by))
        return Violation(kind="resurrected-element", rows=rows_of(read, *by), because=(because,))

    found.note("unexpected-element", np.flatnonzero(strange & ~refused), build)
    found.note("resurrected-element", np.flatnonzero(strange & refused), build)


def _life(lives: _Lives, kind: str, element: int) -> Violation:
    """The few rows that prove that an element was missed or seen when it can't have been."""
    at, calls = lives.at, lives.calls
    add, gone = int(lives.rows(element, F.ADD)[0]), int(lives.rows(element, F.REMOVE)[0])
    yes, no = lives.yes[lives.yes_of == element], lives.no[lives.no_of == element]
    value = int(calls.arg[add])
    proofs = np.concatenate([[add, gone], yes])
    sure = int(proofs[np.argmin(at.ret[proofs])])
    need = int(proofs[np.argmax(at.call[proofs])])
    proofs = proofs[proofs != gone] if gone not in yes else proofs
    first = int(proofs[np.argmin(at.ret[proofs])])
    rows = [add, gone, first, sure, need]
    because = [Because(why=Why.ADDED, a=add, value=value), Because(why=Why.GONE, a=gone, value=value)]
    later = np.concatenate([[gone] if calls.ended[gone] == Ended.OK else [], no]).astype(np.int64)
    if len(later):
        rows.append(int(later[np.argmax(at.call[later])]))
        if at.ret[first] < at.call[rows[-1]]:
            because.append(before(first, rows[-1]))
    inside = no[(at.ret[sure] < at.call[no]) & (at.ret[no] < at.call[need])]
    if at.ret[gone] < at.call[add]:
        because.append(before(gone, add))
    elif len(inside):
        rows.append(int(inside[0]))
        because += [before(sure, rows[-1]), Because(why=Why.LACKS, a=rows[-1], b=add, value=value), before(rows[-1], need)]
    elif at.ret[gone] < at.call[need]:
        because += [before(gone, need), Because(why=Why.HAS, a=need, b=add, value=value)]
    elif at.ret[sure] < at.call[add]:
        because += [Because(why=Why.HAS, a=sure, b=add, value=value), before(sure, add)]
    return Violation(kind=kind, rows=rows_of(*rows), because=tuple(because))
