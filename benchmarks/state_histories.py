"""Histories of operations on state for benchmarks, as columns: valid by construction, by a seed, ten million in a few seconds.

Each operation takes effect at an instant of its own, in the order of its number, and answers what follows from that order; only then it is
given a beginning before that instant and an end behind it. Clients take turns, and each is always busy: its next operation begins when the
last one ended, so as many run at once as there are clients. Of those that nobody answered half took effect. Rows come by their calls, as in
a run. Values are numbered as they are written, from one.

`damaged` changes one answer, so that no order explains the history any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.monitors.calls import INITIAL, NEVER, NOTHING, Calls, Column, Ended, F, Rows

Mask = NDArray[np.bool_]

STEP_NS: Final = 10_000
"""From one effect to the next."""

READS: Final = 100
"""Reads of the whole, in a set or a log that is read like that."""

REPLICAS: Final = 3
BEHIND: Final = 200
"""So many operations a replica is behind the one before it, where sessions are judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a history is like.

    Attributes:
        ops: How many operations; of sets and logs that are read whole, how many items all reads have together, about.
        clients: Clients, so many run at once.
        keys: Keys.
        unknown: The share of operations that nobody answered.
        looks: Whether a compare-and-set that meets another value says so, and is not simply refused.
        seed: Of the dice.
    """

    ops: int
    clients: int = 50
    keys: int = 1
    unknown: float = 0.01
    looks: bool = False
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Plan:
    """What all operations have, in order of their effects."""

    shape: Shape
    dice: np.random.Generator
    number: Column
    unknown: Mask
    effect: Mask

    @classmethod
    def of(cls, shape: Shape) -> _Plan:
        """Dice first, then who is answered, then who has an effect all the same."""
        dice = np.random.default_rng(shape.seed)
        unknown = dice.random(shape.ops) < shape.unknown
        effect = ~unknown | (dice.random(shape.ops) < 0.5)
        return cls(shape=shape, dice=dice, number=np.arange(shape.ops), unknown=unknown, effect=effect)

    @property
    def session(self) -> Column:
        """Clients take turns."""
        return self.number % self.shape.clients

    def filled(self, many: int = NOTHING) -> Column:
        """A column of ``many``."""
        return np.full(self.shape.ops, many, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Asked:
    """What each operation asked and was answered; what an operation without an answer tells is left out later."""

    f: NDArray[np.int8]
    arg: Column
    arg2: Column
    result: Column
    key: Column
    refused: Mask


def _calls(plan: _Plan, asked: _Asked) -> tuple[Calls, Rows]:
    """The columns by call, and for each row the number of its operation."""
    ops, clients = plan.shape.ops, plan.shape.clients
    width = clients * STEP_NS
    begins = (np.arange(ops + clients) + clients) * STEP_NS - plan.dice.integers(1, width - 1, ops + clients)
    order = np.argsort(begins[:ops], kind="stable")
    ended = np.where(plan.unknown, Ended.INFO, np.where(asked.refused, Ended.FAIL, Ended.OK)).astype(np.int8)[order]
    return Calls(
        f=asked.f[order],
        arg=asked.arg[order],
        arg2=asked.arg2[order],
        result=np.where(ended == Ended.OK, asked.result[order], NOTHING),
        call_ns=begins[:ops][order],
        ret_ns=np.where(ended == Ended.INFO, NEVER, (begins[clients:] - 1)[order]),
        ended=ended,
        session=plan.session[order].astype(np.int32),
        key=asked.key[order].astype(np.int32),
        replica=(plan.session % REPLICAS)[order].astype(np.int32),
        place=np.arange(ops),
        starts=np.zeros(0, dtype=np.int64),
        items=np.zeros(0, dtype=np.int64),
    ), order


def _last_before(plan: _Plan, writes: Rows, keys: Column, before: Column) -> Rows:
    """For each operation the place among ``writes``, which come by key and number, of the last one of its key before a number, or -1."""
    many = plan.shape.ops + 1
    place = np.searchsorted(keys[writes] * many + writes, keys * many + np.maximum(before, 0)) - 1
    there = (place >= 0) & (keys[writes[place]] == keys)
    return np.where(there, place, -1)


def _by_key(writes: Rows, keys: Column) -> Rows:
    return writes[np.argsort(keys[writes], kind="stable")]


def register(shape: Shape) -> Calls:
    """Half of them reads, four tenths writes, and a tenth compare-and-sets, of which a fifth meets another value."""
    plan = _Plan.of(shape)
    dice, ops = plan.dice, shape.ops
    sort = dice.random(ops)
    f = np.where(sort < 0.5, F.READ, np.where(sort < 0.9, F.WRITE, F.CAS)).astype(np.int8)
    key = dice.integers(0, shape.keys, ops)
    missed = (f == F.CAS) & (dice.random(ops) < 0.2) & ~plan.unknown
    writes = _by_key(np.flatnonzero((f != F.READ) & plan.effect & ~missed), key)
    place = _last_before(plan, writes, key, plan.number)
    value = np.cumsum(f != F.READ)
    there = np.where(place >= 0, value[writes[place]], INITIAL)
    older = np.where((place > 0) & (key[writes[place - 1]] == key), value[writes[place - 1]], NOTHING)
    looks = missed & (older != NOTHING) & shape.looks
    expected = np.where(missed, np.where(older == NOTHING, value[-1] + 1, older), there)
    asked = _Asked(
        f=f,
        arg=np.where(f == F.WRITE, value, np.where(f == F.CAS, expected, NOTHING)),
        arg2=np.where(f == F.CAS, value, NOTHING),
        result=np.where(f == F.READ, there, np.where(f == F.CAS, np.where(looks, 0, 1), NOTHING)),
        key=key,
        refused=missed & ~looks,
    )
    return _calls(plan, asked)[0]


def counter(shape: Shape) -> Calls:
    """Half of them reads, half of them additions of one, of which each fifth tells the new number."""
    plan = _Plan.of(shape)
    reads = plan.dice.random(shape.ops) < 0.5
    told = reads | (plan.dice.random(shape.ops) < 0.2)
    asked = _Asked(
        f=np.where(reads, F.READ, F.ADD).astype(np.int8),
        arg=np.where(reads, NOTHING, 1),
        arg2=plan.filled(),
        result=np.where(told, np.cumsum(~reads & plan.effect), NOTHING),
        key=plan.filled(0),
        refused=np.zeros(shape.ops, dtype=np.bool_),
    )
    return _calls(plan, asked)[0]


def queue(shape: Shape) -> Calls:
    """Half of them put a value in, half of them take one out; now and then nothing is inside."""
    plan = _Plan.of(shape)
    puts = plan.dice.random(shape.ops) < 0.5
    length = np.cumsum(np.where(plan.effect, np.where(puts, 1, -1), 0))
    lowest = np.minimum.accumulate(np.minimum(length, 0))
    takes = ~puts & plan.effect & (lowest == np.append(0, lowest[:-1]))
    value = np.cumsum(puts)
    result = np.where(puts, NOTHING, INITIAL)
    result[takes] = value[puts & plan.effect][: np.count_nonzero(takes)]
    asked = _Asked(
        f=np.where(puts, F.ENQUEUE, F.DEQUEUE).astype(np.int8),
        arg=np.where(puts, value, NOTHING),
        arg2=plan.filled(),
        result=result,
        key=plan.filled(0),
        refused=np.zeros(shape.ops, dtype=np.bool_),
    )
    return _calls(plan, asked)[0]


def elements(shape: Shape) -> Calls:
    """Four tenths add an element, four tenths look for one of those asked for so far, and two tenths remove the next one."""
    plan = _Plan.of(shape)
    dice, ops, number = plan.dice, shape.ops, plan.number
    sort = dice.random(ops)
    adds = sort < 0.4
    adds[0] = True
    added = np.flatnonzero(adds)
    so_far = np.cumsum(adds)
    removes = ~adds & (sort > 0.8)
    turn = np.cumsum(removes)
    removes &= turn < so_far
    removed = np.flatnonzero(removes)
    gone = np.full(len(added), ops, dtype=np.int64)
    has_gone = plan.effect[removed]
    gone[turn[removed][has_gone] - 1] = removed[has_gone]
    about = np.where(removes, turn - 1, (dice.random(ops) * so_far).astype(np.int64))
    about[adds] = np.arange(len(added))
    there = plan.effect[added][about] & (number < gone[about])
    asked = _Asked(
        f=np.where(adds, F.ADD, np.where(removes, F.REMOVE, F.CONTAINS)).astype(np.int8),
        arg=about + 1,
        arg2=plan.filled(),
        result=np.where(adds | removes, NOTHING, there),
        key=plan.filled(0),
        refused=np.zeros(ops, dtype=np.bool_),
    )
    return _calls(plan, asked)[0]


def whole_set(shape: Shape) -> Calls:
    """Additions, and `READS` reads of all elements, in any order; ``ops`` of the shape is how many elements these tell together."""
    return _whole(shape, F.ADD)


def whole_log(shape: Shape) -> Calls:
    """Values appended, and `READS` reads of all of them; ``ops`` of the shape is how many values these tell together."""
    return _whole(shape, F.APPEND)


def _whole(shape: Shape, change: F) -> Calls:
    plan = _Plan.of(replace(shape, ops=2 * shape.ops // READS + READS))
    ops, dice = plan.shape.ops, plan.dice
    reads = np.zeros(ops, dtype=np.bool_)
    reads[np.linspace(ops // READS, ops - 1, READS).astype(np.int64)] = True
    plan.unknown[reads] = False
    value = np.cumsum(~reads)
    there = value[~reads & plan.effect]
    lengths = np.where(reads, np.cumsum(~reads & plan.effect), 0)
    asked = _Asked(
        f=np.where(reads, F.READ, change).astype(np.int8),
        arg=np.where(reads, NOTHING, value),
        arg2=plan.filled(),
        result=np.where(reads, lengths, NOTHING),
        key=plan.filled(0),
        refused=np.zeros(ops, dtype=np.bool_),
    )
    calls, order = _calls(plan, asked)
    of_row = lengths[order]
    told = [there[:length] if change is F.APPEND else dice.permutation(there[:length]) for length in of_row[of_row > 0].tolist()]
    return replace(calls, starts=np.append(0, np.cumsum(of_row)), items=np.concatenate(told))


def sessions(shape: Shape) -> Calls:
    """Each key is written by one client, which reads what it wrote; the others read it from a replica that is behind, each from one."""
    plan = _Plan.of(shape)
    dice, ops, clients = plan.dice, shape.ops, shape.clients
    writes = dice.random(ops) < 0.5
    own = writes | (dice.random(ops) < 0.5)
    many = max(1, shape.keys // clients)
    key = np.where(own, plan.session + clients * dice.integers(0, many, ops), dice.integers(0, many * clients, ops))
    behind = np.where(key % clients == plan.session, 0, BEHIND * (plan.session % REPLICAS))
    written = _by_key(np.flatnonzero(writes & plan.effect), key)
    place = _last_before(plan, written, key, plan.number - behind)
    value = np.cumsum(writes)
    asked = _Asked(
        f=np.where(writes, F.WRITE, F.READ).astype(np.int8),
        arg=np.where(writes, value, NOTHING),
        arg2=plan.filled(),
        result=np.where(writes, NOTHING, np.where(place >= 0, value[written[place]], INITIAL)),
        key=key,
        refused=np.zeros(ops, dtype=np.bool_),
    )
    return _calls(plan, asked)[0]


VALUES: Final = 5
"""Different values where they repeat."""


def repeating(shape: Shape, *, wrong: bool = False) -> Calls:
    """A register to which few values are written, again and again: a third reads, writes and compare-and-sets each.

    With ``wrong`` the last read answers what only the first write wrote, though another one was acknowledged before that read began.
    """
    plan = _Plan.of(shape)
    dice, ops = plan.dice, shape.ops
    f = dice.choice(np.array([F.READ, F.WRITE, F.CAS], dtype=np.int8), ops)
    arg, new = dice.integers(1, VALUES + 1, ops), dice.integers(1, VALUES + 1, ops)
    f[[0, ops - 2, ops - 1]] = F.WRITE, F.WRITE, F.READ
    arg[0] = VALUES + 1
    plan.unknown[[0, ops - 2, ops - 1]] = False
    plan.effect[[0, ops - 2, ops - 1]] = True
    result, there = plan.filled(), INITIAL
    for number, (what, value, other, effect) in enumerate(zip(f.tolist(), arg.tolist(), new.tolist(), plan.effect.tolist(), strict=True)):
        if what == F.READ:
            result[number] = there
        elif what == F.CAS:
            result[number] = int(there == value)
            there = other if there == value and effect else there
        elif effect:
            there = value
    if wrong:
        result[ops - 1] = VALUES + 1
    asked = _Asked(
        f=f,
        arg=np.where(f == F.READ, NOTHING, arg),
        arg2=np.where(f == F.CAS, new, NOTHING),
        result=result,
        key=plan.filled(0),
        refused=np.zeros(ops, dtype=np.bool_),
    )
    calls, order = _calls(plan, asked)
    call_ns, ret_ns = calls.call_ns.copy(), calls.ret_ns.copy()
    end = (ops + 2 * shape.clients) * STEP_NS
    for at, number in enumerate((ops - 2, ops - 1)):
        row = np.flatnonzero(order == number)
        call_ns[row], ret_ns[row] = end + (2 * at + 1) * STEP_NS, end + (2 * at + 2) * STEP_NS
    return replace(calls, call_ns=call_ns, ret_ns=ret_ns)


# --- one wrong answer -------------------------------------------------------------------------------------------------------


def _answers(calls: Calls, f: F) -> Rows:
    """The rows that were answered something, but not that there is nothing."""
    return np.flatnonzero((calls.f == f) & (calls.ended == Ended.OK) & (calls.result > 0))


def _with(calls: Calls, row: int, result: int) -> Calls:
    column = calls.result.copy()
    column[row] = result
    return replace(calls, result=column)


def _old_value(calls: Calls) -> Calls:
    reads = _answers(calls, F.READ)
    return _with(calls, reads[len(reads) * 3 // 4], calls.result[reads[len(reads) // 4]])


def _forgotten(calls: Calls) -> Calls:
    """A client reads nothing, where it had read what it had written itself, and that was acknowledged."""
    reads = _answers(calls, F.READ)
    clients = int(calls.session.max()) + 1
    reads = reads[(calls.key[reads] % clients == calls.session[reads])]
    acknowledged = np.zeros(len(calls) + 2, dtype=np.bool_)
    acknowledged[calls.arg[(calls.f == F.WRITE) & (calls.ended == Ended.OK)]] = True
    reads = reads[acknowledged[calls.result[reads]]]
    return _with(calls, reads[len(reads) * 3 // 4], INITIAL)


def _overtaken(calls: Calls) -> Calls:
    takes = _answers(calls, F.DEQUEUE)
    place = len(takes) // 2
    one, other = takes[place], takes[min(place + 20 * (int(calls.session.max()) + 1), len(takes) - 1)]
    return _with(_with(calls, one, calls.result[other]), other, calls.result[one])


def _missed(calls: Calls) -> Calls:
    """A look late in the history misses an element that had been there for long and is never removed."""
    looks = _answers(calls, F.CONTAINS)
    removed = calls.arg[calls.f == F.REMOVE]
    old = calls.arg[looks] < calls.arg.max() * 0.8
    looks = looks[old & ~np.isin(calls.arg[looks], removed)]
    return _with(calls, looks[-1], 0)


def _without_one(calls: Calls) -> Calls:
    """The last read of all lacks the first element."""
    row = int(_answers(calls, F.READ)[-1])
    at = int(calls.starts[row] + np.argmin(calls.items_of(row)))
    starts = calls.starts.copy()
    starts[row + 1 :] -= 1
    return _with(replace(calls, items=np.delete(calls.items, at), starts=starts), row, calls.result[row] - 1)


def _swapped(calls: Calls) -> Calls:
    """The last read of all has its first two values the other way round."""
    row = int(_answers(calls, F.READ)[-1])
    items = calls.items.copy()
    first = calls.starts[row]
    items[[first, first + 1]] = items[[first + 1, first]]
    return replace(calls, items=items)


DAMAGED: Final[Mapping[Callable[[Shape], Calls], Callable[[Calls], Calls]]] = {
    register: _old_value,
    counter: _old_value,
    queue: _overtaken,
    elements: _missed,
    whole_set: _without_one,
    whole_log: _swapped,
    sessions: _forgotten,
}
"""One wrong answer in a history that each of these made: nothing explains it any more."""
