"""Session guarantees against a judge that tries every order of the versions of each key."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import chain, combinations, pairwise, permutations, product
from types import ModuleType

import numpy as np
import pytest

from harness.monitors import sessions
from harness.monitors.calls import INITIAL, NEVER, NOTHING, Call, Calls, Ended, F, calls_of
from harness.monitors.judged import Budget, Judged
from harness.verdict import Verdict
from tests.monitors.mutation import Mutant, noticed

OK, FAIL, INFO = Ended.OK, Ended.FAIL, Ended.INFO
LONG = os.environ.get("JETABLE_LONG") == "1"


def told(*lines: str) -> Calls:
    """``session f value [replica] [outcome]`` one a line, one after the other; ``swap`` takes ``old>new``."""
    made = []
    for number, line in enumerate(lines, 1):
        session, f, value, *rest = line.split()
        ended = next((Ended[word.upper()] for word in rest if word in ("fail", "info")), OK)
        replica = next((word for word in rest if word not in ("fail", "info")), "")
        times = {"call_ns": 10 * number, "ret_ns": 10 * number + 5, "place": number}
        if f == "read":
            made.append(Call(f=F.READ, result=value, ended=ended, session=session, key="k", replica=replica, **times))
        elif f == "write":
            made.append(Call(f=F.WRITE, arg=value, ended=ended, session=session, key="k", replica=replica, **times))
        else:
            old, new = value.split(">")
            made.append(Call(f=F.CAS, arg=old, arg2=new, ended=ended, session=session, key="k", replica=replica, **times))
    return calls_of(made)


def judge(calls: Calls) -> Judged:
    return sessions.judge(calls, Budget())


def explained(calls: Calls) -> bool:
    """Whether every key has an order of its versions that keeps all four promises; by trying all of them."""
    return all(_explained(calls.take(calls.of_key(key))) for key in range(len(calls.keys)))


def _explained(calls: Calls) -> bool:
    ops = sorted(range(len(calls)), key=lambda row: (calls.call_ns[row], calls.place[row]))
    ops = [row for row in ops if calls.ended[row] != FAIL and not (calls.f[row] == F.READ and calls.ended[row] == INFO)]
    pending = [row for row in ops if calls.ended[row] == INFO]
    subsets = chain.from_iterable(combinations(pending, size) for size in range(len(pending) + 1))
    return any(_order(calls, [row for row in ops if calls.ended[row] == OK or row in chosen]) for chosen in subsets)


def _order(calls: Calls, ops: list[int]) -> bool:
    new = {_written(calls, row): row for row in ops if calls.f[row] != F.READ}
    saw = {row: int(calls.result[row] if calls.f[row] == F.READ else calls.arg[row]) for row in ops if calls.f[row] != F.WRITE}
    for row, value in saw.items():
        if value != INITIAL and (value not in new or calls.ret_ns[row] < calls.call_ns[new[value]]):
            return False
    demands = [(int(calls.arg[row]), _written(calls, row)) for row in ops if calls.f[row] == F.CAS]
    for one, other in combinations(ops, 2):
        if calls.session[one] == calls.session[other] and calls.ended[one] == OK:
            demands += product(_touched(calls, one), _touched(calls, other))
    for order in permutations(new):
        place = {INITIAL: -1} | {value: at for at, value in enumerate(order)}
        if all(place[one] <= place[other] for one, other in demands):
            return True
    return False


def _written(calls: Calls, row: int) -> int:
    return int(calls.arg2[row] if calls.f[row] == F.CAS else calls.arg[row])


def _touched(calls: Calls, row: int) -> list[int]:
    if calls.f[row] == F.READ:
        return [int(calls.result[row])]
    return [int(calls.arg[row]), int(calls.arg2[row])] if calls.f[row] == F.CAS else [int(calls.arg[row])]


def histories(seed: int, count: int) -> Iterator[Calls]:
    """Random ones: sessions that mostly go forward along an order of each key's versions."""
    dice = random.Random(seed)
    for _ in range(count):
        yield _history(dice)


def _history(dice: random.Random) -> Calls:
    made: list[Call] = []
    keys = [f"k{number}" for number in range(dice.randint(1, 2))]
    fresh = dict.fromkeys(keys, 0)
    now = {name: dice.randint(0, 5) for name in "abc"[: dice.randint(1, 3)]}
    at: dict[tuple[str, str], int] = {}
    for place in range(dice.randint(2, 9)):
        session, key = dice.choice(list(now)), dice.choice(keys)
        call_ns = now[session] + dice.randint(0, 3)
        ret_ns = call_ns + dice.randint(1, 8)
        now[session] = ret_ns + dice.randint(0, 2)
        common = {"call_ns": call_ns, "ret_ns": ret_ns, "session": session, "key": key, "place": place, "replica": dice.choice(("", "x", "y"))}
        ended = dice.choices((OK, INFO, FAIL), (8, 2, 1))[0]
        if ended == INFO:
            now[session] = call_ns + dice.randint(1, 8)
        kind = dice.random()
        if kind < 0.5:
            seen = dice.choice((at.get((session, key), 0), fresh[key], dice.randint(0, fresh[key])))
            at[session, key] = seen
            made.append(Call(f=F.READ, result=_text(seen), ended=ended, **common))
            continue
        fresh[key] += 1
        if kind < 0.85:
            made.append(Call(f=F.WRITE, arg=_text(fresh[key]), ended=ended, **common))
        else:
            old = dice.choice((fresh[key] - 1, dice.randint(0, fresh[key] - 1)))
            made.append(Call(f=F.CAS, arg=_text(old), arg2=_text(fresh[key]), ended=ended, **common))
    dice.shuffle(made)
    return calls_of(made)


def _text(number: int) -> str:
    return f"v{number}" if number else "nil"


def differs(module: ModuleType, seed: int = 1, count: int = 1500) -> bool:
    """Whether the monitor and the judge by trial disagree, or a proof does not stand alone."""
    return any(_wrong(module, calls) for calls in histories(seed, count))


def _wrong(module: ModuleType, calls: Calls) -> bool:
    said = module.judge(calls, Budget())
    if (said.verdict is Verdict.FAIL) == explained(calls):
        return True
    return any(kept(module, calls, number) for number in range(len(said.violations)))


def kept(module: ModuleType, calls: Calls, number: int) -> bool:
    """Whether the operations of a violation alone are judged otherwise."""
    violation = module.judge(calls, Budget()).violations[number]
    assert set(violation.rows) >= {row for fact in violation.because for row in (fact.a, fact.b) if row >= 0}
    alone = module.judge(calls.take(violation.rows), Budget())
    return alone.verdict is not Verdict.FAIL or violation.kind not in alone.counts


def test_sessions_are_judged_as_by_trying_every_order() -> None:
    for seed in range(100 if LONG else 1):
        for calls in histories(seed, 3000):
            said = judge(calls)
            assert said.verdict is not Verdict.PASS or explained(calls)
            assert said.verdict is not Verdict.FAIL or not explained(calls)
            assert said.verdict is not Verdict.UNKNOWN or not said.reads


def test_the_operations_of_each_violation_are_wrong_alone_too() -> None:
    for calls in histories(7, 2000):
        for number in range(len(judge(calls).violations)):
            assert not kept(sessions, calls, number)
