"""Small random histories, by a seed: first one that some order explains, made from that order, and then, as often as asked, damaged.

Ends and beginnings often meet at one instant, some operations have no known end, and some are refused, so that the edges of each rule are
met. Whether a damaged history is still explained, only the oracle knows.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from harness.monitors.calls import INITIAL, NEVER, Call, Calls, Ended, F, calls_of

FS: Final[Mapping[str, tuple[F, ...]]] = {
    "register": (F.READ, F.READ, F.WRITE, F.WRITE, F.CAS),
    "set": (F.ADD, F.ADD, F.REMOVE, F.CONTAINS, F.READ),
    "counter": (F.READ, F.ADD, F.ADD),
    "queue": (F.ENQUEUE, F.ENQUEUE, F.DEQUEUE),
    "log": (F.APPEND, F.APPEND, F.READ),
}
"""What each model is asked, the usual more than once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a history is made of.

    Attributes:
        model: A key of `FS`.
        fs: What is asked, in place of `FS`.
        most: Operations, at most; at least one.
        keys: Keys, at most.
        repeats: The share of new values that are none: they were written before. 0: each value is written at most once.
        pending: The share of operations without a known end.
        refused: The share that had no effect, and said so.
        damaged: The share of histories that are damaged.
        told: The share of changes that tell what they met: the counter's new number, whether the element was there.
        amounts: What is added to counters.
        missed: The share of compare-and-sets that guess what is there.
        width: How long an operation lasts, at most, where one comes each 4 ns.
    """

    model: str
    fs: tuple[F, ...] = ()
    most: int = 8
    keys: int = 1
    repeats: float = 0.0
    pending: float = 0.15
    refused: float = 0.1
    damaged: float = 0.6
    told: float = 0.3
    amounts: tuple[int, ...] = (1,)
    missed: float = 0.3
    width: int = 12


def histories(recipe: Recipe, *, seed: int, count: int) -> Iterator[Calls]:
    """``count`` histories; the same ones for the same seed."""
    dice = random.Random(seed)
    for _ in range(count):
        yield history(recipe, dice)


def history(recipe: Recipe, dice: random.Random) -> Calls:
    """One history, in a random order of rows."""
    made = _Maker(recipe=recipe, dice=dice).made()
    if dice.random() < recipe.damaged:
        for _ in range(dice.randint(1, 4)):
            made = damaged(made, dice)
    made = _sessions(made)
    dice.shuffle(made)
    return calls_of(made, numbers=True)


@dataclass(slots=True, kw_only=True)
class _Maker:
    recipe: Recipe
    dice: random.Random
    fresh: int = 0
    states: dict[str, list[int]] = field(default_factory=dict)

    def made(self) -> list[Call]:
        fs = self.recipe.fs or FS[self.recipe.model]
        keys = [f"k{number}" for number in range(self.dice.randint(1, self.recipe.keys))]
        return [
            self._call(self.dice.choice(fs), self.dice.choice(keys), 4 * place, place)
            for place in range(1, self.dice.randint(1, self.recipe.most) + 1)
        ]

    def _call(self, f: F, key: str, point_ns: int, place: int) -> Call:
        """One operation that takes effect at ``point_ns``, if it does."""
        width, chance = self.recipe.width, self.dice.random()
        call = Call(
            f=f,
            key=key,
            place=place,
            call_ns=point_ns - self.dice.randint(0, width),
            ret_ns=point_ns + self.dice.randint(0, width),
            ended=Ended.OK,
        )
        state = self.states.setdefault(key, [])
        before = list(state)
        call = self._applied(call, state)
        if chance < self.recipe.pending:
            state[:] = self.dice.choice((before, state))
            return replace(call, ended=Ended.INFO, ret_ns=NEVER, result=None, items=None)
        if chance < self.recipe.pending + self.recipe.refused:
            state[:] = before
            return replace(call, ended=Ended.FAIL, result=None, items=None)
        return call

    def _value(self, state: list[int]) -> int:
        if self.dice.random() < self.recipe.repeats:
            return self.dice.choice([*state, *range(self.fresh + 1)]) if self.recipe.model in ("register", "set") else self._old()
        self.fresh += 1
        return self.fresh

    def _old(self) -> int:
        self.fresh = max(self.fresh, 1)
        return self.dice.randint(1, self.fresh)

    def _told(self, result: int) -> int | None:
        return result if self.dice.random() < self.recipe.told else None

    def _applied(self, call: Call, state: list[int]) -> Call:
        """``call`` with what it asks and answers; ``state`` changes. A register's state is its value, a counter's its number."""
        of_model = {"register": self._register, "set": self._set, "counter": self._counter, "queue": self._line, "log": self._line}
        return of_model[self.recipe.model](call, state)

    def _register(self, call: Call, state: list[int]) -> Call:
        there = state[0] if state else INITIAL
        if call.f is F.READ:
            return replace(call, result=there)
        if call.f is F.WRITE:
            state[:] = [self._value(state)]
            return replace(call, arg=state[0])
        old = there if self.dice.random() >= self.recipe.missed else self.dice.randint(0, self.fresh)
        new = self._value(state)
        if old != there:
            return replace(call, arg=old, arg2=new, result=0)
        state[:] = [new]
        return replace(call, arg=old, arg2=new, result=self._told(1))

    def _set(self, call: Call, state: list[int]) -> Call:
        if call.f is F.READ:
            return replace(call, items=tuple(self.dice.sample(state, len(state))))
        if call.f is F.ADD:
            value = self._value(state)
            if value not in state:
                state.append(value)
            return replace(call, arg=value)
        value = self.dice.randint(1, max(1, self.fresh))
        there = value in state
        if call.f is F.CONTAINS:
            return replace(call, arg=value, result=int(there))
        if there:
            state.remove(value)
        return replace(call, arg=value, result=self._told(int(there)))

    def _counter(self, call: Call, state: list[int]) -> Call:
        there = state[0] if state else 0
        if call.f is F.READ:
            return replace(call, result=there)
        amount = self.dice.choice(self.recipe.amounts)
        state[:] = [there + amount]
        return replace(call, arg=amount, result=self._told(there + amount))

    def _line(self, call: Call, state: list[int]) -> Call:
        if call.f is F.READ:
            return replace(call, items=tuple(state))
        if call.f is F.DEQUEUE:
            return replace(call, result=state.pop(0) if state else INITIAL)
        state.append(self._value(state))
        return replace(call, arg=state[-1])


def damaged(made: list[Call], dice: random.Random) -> list[Call]:
    """``made`` with one thing changed: an answer, a time, an outcome, or an operation less."""
    made = list(made)
    at = dice.randrange(len(made))
    call = made[at]
    kind = dice.choice(("answer", "answer", "time", "time", "outcome", "gone"))
    if kind == "answer" and call.f is F.CAS and dice.random() < 0.7:
        made[at] = replace(call, arg=dice.choice([told.arg2 or told.arg or INITIAL for told in made]))
    elif kind == "answer" and call.items is not None:
        made[at] = replace(call, items=_other_items(call.items, dice))
    elif kind == "answer" and call.result is not None:
        known = [number for told in made for number in (told.arg, told.arg2, told.result) if number is not None]
        made[at] = (
            replace(call, result=dice.choice(known))
            if call.f in (F.READ, F.DEQUEUE)
            else replace(call, result=1 - min(1, int(call.result)))
        )
    elif kind == "time" and call.ended is not Ended.INFO:
        length = dice.randint(0, 6)
        call_ns = call.call_ns + dice.randint(-20, 20)
        made[at] = replace(call, call_ns=call_ns, ret_ns=call_ns + length)
    elif kind == "outcome" and call.ended is not Ended.OK and call.f is not F.READ:
        made[at] = replace(call, ended=Ended.OK, ret_ns=call.call_ns + dice.randint(0, 20))
    elif kind == "outcome" and call.f is not F.READ:
        made[at] = replace(call, ended=Ended.FAIL)
    elif kind == "gone" and len(made) > 1:
        del made[at]
    return made


def _other_items(items: Sequence[str | int], dice: random.Random) -> tuple[str | int, ...]:
    changed = list(items)
    way = dice.choice(("less", "more", "turned"))
    if way == "less" and changed:
        del changed[dice.randrange(len(changed))]
    elif way == "more":
        changed.insert(dice.randint(0, len(changed)), dice.randint(1, 8))
    else:
        dice.shuffle(changed)
    return tuple(changed)


def _sessions(made: list[Call]) -> list[Call]:
    """``made``, each in the first session that is free when it begins."""
    ends: list[int] = []
    placed = []
    for call in sorted(made, key=lambda call: call.call_ns):
        free = next((number for number, end in enumerate(ends) if end < call.call_ns), len(ends))
        if free == len(ends):
            ends.append(0)
        ends[free] = call.ret_ns if call.ended is not Ended.INFO else call.call_ns + 8
        placed.append(replace(call, session=f"s{free}"))
    return placed
