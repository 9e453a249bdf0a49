"""Session guarantees against a judge that tries every order of the versions of each key."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain, combinations, permutations, product
from types import ModuleType

import numpy as np
import pytest

from harness.monitors import sessions
from harness.monitors.calls import INITIAL, Call, Calls, Ended, F, calls_of
from harness.monitors.judged import Budget, Judged, Violation
from harness.verdict import Verdict
from tests.monitors.mutation import Mutant, noticed

OK, FAIL, INFO = Ended.OK, Ended.FAIL, Ended.INFO
LONG = os.environ.get("JETABLE_LONG") == "1"


def calls_to(lines: Sequence[str]) -> list[Call]:
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
    return made


def told(*lines: str) -> Calls:
    return calls_of(calls_to(lines))


def replace_key(call: Call, key: int) -> Call:
    return replace(call, key=f"k{key}", session=f"{call.session}{key}")


def judge(calls: Calls) -> Judged:
    return sessions.judge(calls, Budget())


def explained(calls: Calls) -> bool:
    """Whether every key has an order of its versions that keeps all four promises; by trying all of them."""
    return all(_explained(calls.take(np.flatnonzero(calls.key == key))) for key in range(len(calls.keys)))


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
        common = {
            "call_ns": call_ns,
            "ret_ns": ret_ns,
            "session": session,
            "key": key,
            "place": place,
            "replica": dice.choice(("", "x", "y")),
        }
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


@cache
def cases(seed: int, count: int) -> tuple[tuple[Calls, bool], ...]:
    """Histories, and whether an order explains them."""
    return tuple((calls, explained(calls)) for calls in histories(seed, count))


def stands_alone(judge_again: Callable[[Calls, Budget], Judged], calls: Calls, violation: Violation) -> bool:
    """Whether the operations of a violation alone are wrong in the same way, and its proof speaks of them only."""
    told = {row for fact in violation.because for row in (fact.a, fact.b) if row >= 0}
    return violation.kind in judge_again(calls.take(violation.rows), Budget()).counts and told <= set(violation.rows)


def wrong(module: ModuleType, seed: int = 1, count: int = 350) -> bool:
    """Whether the module judges any of the histories otherwise, or a proof does not stand alone."""
    for calls, right in cases(seed, count):
        said = module.judge(calls, Budget())
        if (said.verdict is Verdict.FAIL) == right or bool(said.undecided) != (not said.reads and right):
            return True
        if not all(stands_alone(module.judge, calls, violation) for violation in said.violations):
            return True
    return False


@pytest.mark.slow
def test_sessions_are_judged_as_by_trying_every_order() -> None:
    assert not any(wrong(sessions, seed) for seed in range(1, 500 if LONG else 2))


def replicas_agree(calls: Calls) -> bool:
    """Whether each key's versions have an order in which each replica showed them; by trying all of them."""
    for key in range(len(calls.keys)):
        rows = [row for row in np.flatnonzero(calls.key == key).tolist() if calls.f[row] == F.READ and calls.ended[row] == OK]
        new = {
            int(calls.arg[row]): row
            for row in np.flatnonzero(calls.key == key).tolist()
            if calls.f[row] == F.WRITE and calls.ended[row] != FAIL
        }
        if any(
            calls.result[row] != INITIAL
            and (int(calls.result[row]) not in new or calls.ret_ns[row] < calls.call_ns[new[int(calls.result[row])]])
            for row in rows
        ):
            return False
        rows = [row for row in rows if calls.replica[row] >= 0]
        demands = [
            (int(calls.result[one]), int(calls.result[other]))
            for one, other in product(rows, rows)
            if calls.replica[one] == calls.replica[other] and calls.ret_ns[one] < calls.call_ns[other]
        ]
        orders = ({INITIAL: -1} | {value: at for at, value in enumerate(order)} for order in permutations(new))
        if not any(all(place[one] <= place[other] for one, other in demands) for place in orders):
            return False
    return True


def reads_of_replicas(seed: int, count: int) -> Iterator[Calls]:
    """Three writes a key, and reads of two replicas that overlap and mostly go forward."""
    dice = random.Random(seed)
    for _ in range(count):
        made = [Call(f=F.WRITE, arg=f"v{number}", call_ns=0, ret_ns=9, ended=OK, key=key) for key in ("k", "l") for number in range(1, 4)]
        for at in range(dice.randint(2, 8)):
            value = _text(min(3, max(0, at // 2 + dice.choice((-1, 0, 0, 1)))))
            call_ns = 4 * at + dice.randint(0, 6)
            replica, ended = dice.choice(("x", "x", "y", "y", "")), dice.choice((OK, OK, OK, INFO))
            made.append(
                Call(f=F.READ, result=value, call_ns=call_ns, ret_ns=call_ns + dice.randint(0, 9), ended=ended, replica=replica, key="k")
            )
        dice.shuffle(made)
        yield calls_of(made)


@cache
def cases_of_replicas(seed: int, count: int) -> tuple[tuple[Calls, bool], ...]:
    return tuple((calls, replicas_agree(calls)) for calls in reads_of_replicas(seed, count))


def wrong_of_replicas(module: ModuleType, seed: int = 1, count: int = 350) -> bool:
    for calls, right in cases_of_replicas(seed, count):
        said = module.disagreements(calls, Budget())
        if (said.verdict is Verdict.FAIL) == right:
            return True
        if not all(stands_alone(module.disagreements, calls, violation) for violation in said.violations):
            return True
    return False


@pytest.mark.slow
def test_replicas_are_compared_as_by_trying_every_order() -> None:
    assert not any(wrong_of_replicas(sessions, seed) for seed in range(1, 500 if LONG else 2))


def kind(*lines: str) -> str:
    """The one kind of violation in a history, ``none`` where it is right."""
    calls = told(*lines)
    said = judge(calls)
    assert all(stands_alone(sessions.judge, calls, violation) for violation in said.violations)
    assert len(said.counts) <= 1
    assert said.verdict is (Verdict.FAIL if said.counts else Verdict.PASS)
    return next(iter(said.counts), "none")


def test_a_session_reads_its_own_writes() -> None:
    assert kind("a write 1", "a read 1") == "none"
    assert kind("a write 1", "a read nil") == "read-your-writes"
    assert kind("a write 1", "a write 2", "a read 1") == "read-your-writes"
    assert kind("a write 1", "b write 2", "b read 2", "a read 2") == "none"
    assert kind("b write 1", "a read 1", "a write 2", "a read 1") == "read-your-writes"


def test_a_write_without_an_answer_is_owed_only_when_it_was_read() -> None:
    assert kind("a write 1 info", "a read nil") == "none"
    assert kind("a write 1 info", "a read 1", "a read nil") == "monotonic-reads"
    assert kind("a write 1", "a write 2 info", "a read 1", "b read 2", "a read 1") == "none"
    assert kind("w write 1", "w write 2", "a read 2", "a write 3 info", "a read 1") == "monotonic-reads"


def test_a_write_without_an_answer_is_in_no_order_with_its_session() -> None:
    assert kind("w write 1 info", "w write 2", "b read 1", "b read 2", "a read 2", "a read 1") == "order-disagreement"
    assert judge(told("a write 1", "a write 2 info", "c read 2", "c read 1", "a read 1")).counts == {"monotonic-reads": 1}
    swap = told("w write 1", "w write 2", "a swap 2>3 info", "b read 3", "c read 2", "c read 1", "a read 1")
    assert judge(swap).counts == {"monotonic-reads": 1}


def test_a_session_does_not_go_back_in_time() -> None:
    assert kind("w write 1", "w write 2", "a read 2", "a read 1") == "monotonic-reads"
    assert kind("w write 1", "w write 2", "a read 2 x", "a read 1 y") == "monotonic-reads"
    assert kind("w write 1", "a read 1", "a read nil") == "monotonic-reads"
    assert kind("v write 1", "w write 2", "a read 1", "a read 2", "a read 1") == "monotonic-reads"


def test_one_replica_that_goes_back_shows_writes_in_another_order() -> None:
    assert kind("w write 1", "w write 2", "a read 2 x", "a read 1 x") == "monotonic-writes"


def test_a_write_is_seen_after_what_its_session_had_read() -> None:
    assert kind("v write 1", "w read 1", "w write 2", "a read 2", "a read 1") == "writes-follow-reads"
    assert kind("v write 1", "w read 1", "w write 2", "a read 1", "a read 2") == "none"
    assert kind("v write 1", "w read 1", "w write 2 info", "a read 2", "a read 1") == "writes-follow-reads"


def test_sessions_that_saw_two_writes_the_other_way_round_disagree() -> None:
    lines = ("v write 1", "w write 2", "a read 1", "a read 2", "b read 2", "b read 1")
    assert kind(*lines) == "order-disagreement"
    assert judge(told(*lines)).violations[0].rows == (0, 1, 2, 3, 4, 5)
    assert kind(*lines[:5]) == "none"
    three = ("u write 1", "v write 2", "w write 3", "a read 1", "a read 2", "b read 2", "b read 3", "c read 3", "c read 1")
    assert kind(*three) == "order-disagreement"


def test_a_swap_is_a_read_and_a_write() -> None:
    assert kind("v write 1", "w swap 1>2", "a read 1", "a read 2") == "none"
    assert kind("v write 1", "w swap 1>2", "a read 2", "a read 1") == "monotonic-reads"
    assert kind("v write 1", "w swap 1>2", "w read 1") == "read-your-writes"
    assert kind("v write 1", "w swap 1>2 info", "a read 2", "a read 1") == "monotonic-reads"
    assert kind("v write 1", "w swap 1>2 info", "w read 1", "a read 1") == "none"
    assert kind("w swap 1>2 info", "v write 1", "a read 2", "a read 1") == "monotonic-reads"
    assert kind("v write 1", "w swap 1>2 info", "x swap 2>3 info", "a read 3", "a read 1") == "monotonic-reads"
    assert kind("w swap 7>2 info", "a read 2") == "phantom-read"
    assert kind("w swap 7>2 fail", "v write 1", "a read 1") == "none"


def test_what_nobody_can_have_read_is_told_apart() -> None:
    assert kind("a read 9") == "phantom-read"
    assert kind("w write 1 fail", "a read 1") == "aborted-read"
    assert kind("a read 1", "w write 1") == "future-read"


def test_a_session_that_does_two_things_at_once_is_not_judged() -> None:
    calls = told("a write 1", "a read nil")
    both = replace(calls, call_ns=np.array([10, 12]), ret_ns=np.array([15, 17]))
    said = judge(both)
    assert (said.verdict, said.counts) == (Verdict.UNKNOWN, {})
    assert "'a' did several things at once" in said.undecided[0]
    assert judge(replace(calls, call_ns=np.array([10, 15]), ret_ns=np.array([15, 17]))).verdict is Verdict.FAIL
    assert judge(replace(calls, call_ns=np.array([10, 10]), ret_ns=np.array([10, 10]))).verdict is Verdict.UNKNOWN


def test_what_a_session_did_at_once_proves_nothing_of_the_other_sessions_of_its_key() -> None:
    calls = told("a write 1", "a read nil", "b read 1", "b read nil")
    said = judge(replace(calls, call_ns=np.array([10, 12, 30, 40]), ret_ns=np.array([15, 17, 35, 45])))
    assert (said.verdict, said.counts) == (Verdict.FAIL, {"monotonic-reads": 1})
    assert len(said.undecided) == 1


def test_a_key_whose_values_repeat_is_not_judged() -> None:
    assert judge(told("a write 1", "b write 1", "a read 1")).verdict is Verdict.UNKNOWN
    assert judge(told("a write 1", "b write 1 fail", "a read 1")).verdict is Verdict.PASS
    assert judge(told("a write nil", "a read nil")).verdict is Verdict.UNKNOWN


def test_only_registers_are_judged() -> None:
    calls = calls_of([Call(f=F.ADD, arg="a", call_ns=0, ret_ns=1, ended=OK)])
    assert judge(calls).verdict is Verdict.UNKNOWN
    assert sessions.disagreements(calls, Budget()).verdict is Verdict.UNKNOWN


def test_the_worst_is_shown_and_the_rest_is_counted() -> None:
    said = judge(
        told("w write 1", "w write 2", *(f"a{number} read 2" for number in range(9)), *(f"a{number} read 1" for number in range(9)))
    )
    assert said.counts == {"monotonic-reads": 9}
    assert len(said.violations) == 3
    assert judge(told("w write 1", "w write 2", "a read 2", "b read 2", "a read 1", "b read 1")).violations[0].size_ns == 15


def test_groups_that_are_not_looked_at_are_counted() -> None:
    lines = ("v write 1", "w write 2", "a read 1", "a read 2", "b read 2", "b read 1")
    many = calls_of([replace_key(call, key) for key in range(120) for call in calls_to(lines)])
    said = judge(many)
    assert said.counts == {"order-disagreement": 120}
    assert sessions.judge(many, Budget(over=lambda: True)).counts == {"order-disagreement": 120}


def test_a_replica_that_answers_again_what_it_had_replaced_went_back() -> None:
    calls = told("v write 1", "w write 2", "a read 1 x", "b read 2 x", "c read 1 x")
    said = sessions.disagreements(calls, Budget())
    assert said.counts == {"went-back": 1}
    assert sessions.disagreements(told("w write 1", "a read 1 x", "b read nil x"), Budget()).counts == {"went-back": 1}


def test_a_swap_tells_what_was_there() -> None:
    calls = told("v write 1", "w write 2", "a read 1 x", "b read 2 x", "c swap 1>3 x")
    assert sessions.disagreements(calls, Budget()).counts == {"went-back": 1}


def test_replicas_that_show_two_versions_the_other_way_round_disagree() -> None:
    calls = told("v write 1", "w write 2", "a read 1 x", "b read 2 x", "c read 2 y", "d read 1 y")
    assert sessions.disagreements(calls, Budget()).counts == {"order-disagreement": 1}
    unknown = sessions.disagreements(told("v write 1", "a read 1", "a read 1 x"), Budget())
    assert (unknown.verdict, len(unknown.undecided)) == (Verdict.UNKNOWN, 1)


def test_what_may_be_stale_shows_an_order_only_where_more_time_has_passed() -> None:
    calls = told("v write 1", "w write 2", "a read 1 x", "b read 2 x", "c read 1 x")
    gaps_ns = calls.call_ns[3:] - calls.ret_ns[2:-1]
    assert sessions.disagreements(calls, Budget(), int(gaps_ns.min()) - 1).counts == {"went-back": 1}
    assert sessions.disagreements(calls, Budget(), int(gaps_ns.min())).verdict is Verdict.PASS


TOLD = tuple(test for name, test in list(globals().items()) if name.startswith("test_") and "every_order" not in name)


def differs(module: ModuleType) -> bool:
    """Whether the module fails one of the cases above, or judges random histories otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "sessions", module)
        for test in TOLD:
            test()
    return wrong(module) or wrong_of_replicas(module)


MUTANTS = (
    ("one edge back is enough to look", "back = np.flatnonzero(ends < begins)", "back = np.flatnonzero(ends + 1 < begins)"),
    ("the first version is before all", "np.concatenate([old, new[to_first], new, old[to_first]])", "np.concatenate([old, new])"),
    ("chains of edges back", "np.cumsum(np.cumsum(spans)[:-1] == 0)", "np.cumsum(np.cumsum(spans)[:-1] <= 1)"),
    ("the first version has the first place", "np.searchsorted(calls.key[rows], np.arange(keys)) + np.arange(keys)", "len(place)"),
    ("lines are apart", "np.where((before >= 0) & (self.line[before] == self.line), before, -1)", "before"),
    ("a swap's own step", "        before[swaps] = swaps - 1\n", ""),
    ("a write without an answer does not last", "lasts=calls.ended[rows] == Ended.OK", "lasts=calls.ended[rows] >= 0"),
    ("pending swaps took effect when seen", "    _add_pending_swaps(calls, writers, saw, found)\n", ""),
    ("pending swaps through others", "if old >= 0 and pending[old] and old not in found.through:", "if False:"),
    ("at once is not in order", "Ended.INFO, begins, calls.ret_ns[touches.row])", "Ended.INFO, begins, begins)"),
    (
        "after an info at once",
        "np.where(calls.ended[touches.row] == Ended.INFO, begins, calls.ret_ns[touches.row])",
        "calls.ret_ns[touches.row]",
    ),
    ("one instant has no order", "calls.ret_ns[touches.row]), begins + 1)", "calls.ret_ns[touches.row]), begins)"),
    ("only one session at once", "begins[order][1:]) & same & ~second", "begins[order][1:]) & ~second"),
    ("a swap is not at once with itself", "begins[order][1:]) & same & ~second", "begins[order][1:]) & same"),
    ("what is at once is left out", "touches.take(chosen[~np.isin(touches.line[chosen], lines)])", "touches.take(chosen)"),
    ("one step back is enough to look", "(birth[:-1] > birth[1:]) & same & next_", "(birth[:-1] > birth[1:] + 1) & same & next_"),
    ("a step from the first version is no step back", "np.where(touches.version < len(calls), touches.version, -1)", "touches.version"),
    ("a swap's own step back", "next_ = lasts[:-1] | second", "next_ = lasts[:-1]"),
    ("back past what does not last", "went = np.concatenate([line[back], line[over]])", "went = line[back]"),
    (
        "the own write was acknowledged",
        "(calls.session[newer] == calls.session[later]) & (calls.ended[newer] == Ended.OK)",
        "(calls.session[newer] == calls.session[later])",
    ),
    ("one replica", "(calls.replica[earlier] == calls.replica[later])", "(calls.replica[earlier] >= 0)"),
    (
        "a known replica",
        "(calls.replica[earlier] >= 0) & (calls.replica[earlier] == calls.replica[later])",
        "(calls.replica[earlier] == calls.replica[later])",
    ),
    ("the older write was acknowledged", " & (calls.ret_ns[version] <= calls.call_ns[version[at]])", ""),
    ("a touch that lasts", "older = (group[at] == group) & touches.lasts[places[at]]", "older = (group[at] == group)"),
    ("of the same session and writer", "older = (group[at] == group) & touches.lasts[places[at]]", "older = touches.lasts[places[at]]"),
    ("reads of unknown replicas are told", "known = calls.replica[what.rows] >= 0", "known = calls.replica[what.rows] >= -1"),
    ("the first version of a replica", "    zones = _with_first(zones, first=len(calls), keys=_after(calls.key))\n", ""),
    ("what is stale shows less", "calls.call_ns[asked_row] - stale_ns", "calls.call_ns[asked_row]"),
    ("ends and calls at one instant overlap", "np.lexsort((np.repeat([0, 1], count),", "np.lexsort((np.repeat([1, 0], count),"),
    ("groups of a version alone are right", "[label[: len(versions)]] > 1", "[label[: len(versions)]] > 0"),
)


@pytest.mark.slow
@pytest.mark.parametrize(("why", "fragment", "instead"), MUTANTS, ids=[why for why, _, _ in MUTANTS])
def test_each_condition_is_needed(why: str, fragment: str, instead: str) -> None:
    assert noticed(sessions, Mutant(why=why, fragment=fragment, instead=instead), differs)
