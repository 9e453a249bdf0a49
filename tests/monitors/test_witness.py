"""Witnesses: small, wrong, and made of nothing that was not so."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from harness.dialects import Options, read_history
from harness.monitors import MONITORS, lanes, words
from harness.monitors.calls import NOTHING, Calls, Ended, F, calls_of
from harness.monitors.calls import Call as Told
from harness.monitors.judged import Because, Budget, Judged, Monitor, Violation, Why, judged
from harness.monitors.witness import GENERAL, TRIES, Witness, _Parts, shrink, to_lines
from harness.monitors.words import proof
from harness.verdict import Verdict
from tests.monitors.histories import FS, Recipe, histories
from tests.monitors.oracle import explained

KIND = GENERAL


def oracle(model: str) -> Monitor:
    """A monitor that tries all orders and blames everything."""

    def monitor(calls: Calls, budget: Budget) -> Judged:
        wrong = [] if explained(calls, model) else [Violation(kind=KIND, rows=tuple(range(len(calls))))]
        return judged(model, violations=wrong, undecided=[], operations=len(calls), reads=1)

    return monitor


def with_texts(calls: Calls) -> Calls:
    """``calls`` with texts for its values, as all histories but those of counters have them."""
    return replace(calls, values=("nil", *(f"<v{number}>" for number in range(1, 99))))


def smaller(witness: Witness) -> Iterator[Calls]:
    """The witness without each thing that may go."""
    parts = _Parts(witness.calls)
    everything = parts.everything()
    for atom in parts.atoms(everything):
        state = parts.without(everything, np.array([atom]))
        if state is not None:
            yield parts.build(state)[0]


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(set(FS) - {"counter"}))
@pytest.mark.parametrize("repeats", [0.0, 0.5])
def test_what_may_go_leaves_an_explained_history_explained(model: str, repeats: float) -> None:
    dice = random.Random(7)
    tried = 0
    for calls in histories(Recipe(model=model, repeats=repeats, damaged=0.3, keys=2), seed=11, count=60):
        if not explained(calls, model):
            continue
        parts = _Parts(calls)
        atoms = parts.atoms(parts.everything())
        for size in (1, 1, 2, 3):
            if len(atoms) < size:
                continue
            state = parts.without(parts.everything(), np.array(dice.sample(atoms.tolist(), size)))
            if state is not None:
                tried += 1
                assert explained(parts.build(state)[0], model), (calls, parts.build(state)[0])
    assert tried > 40


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(set(FS) - {"counter"}))
def test_a_witness_is_wrong_and_nothing_more_can_go(model: str) -> None:
    monitor, sizes = oracle(model), []
    for numbers in histories(Recipe(model=model, most=9, damaged=1, keys=2), seed=3, count=40):
        calls = with_texts(numbers)
        found = monitor(calls, Budget())
        if found.verdict is not Verdict.FAIL:
            continue
        witness = shrink(calls, found.violations[0], monitor, Budget())
        assert witness.minimal
        assert witness.violation.rows == tuple(range(len(witness.calls)))
        assert monitor(witness.calls, Budget()).verdict is Verdict.FAIL
        assert (np.diff(witness.calls.call_ns) >= 0).all()
        assert not any(monitor(less, Budget()).verdict is Verdict.FAIL for less in smaller(witness))
        sizes.append(len(witness.calls))
    assert len(sizes) > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", MONITORS)
def test_what_a_monitor_finds_is_shown_by_a_file_in_words_and_in_a_picture(name: str, tmp_path: Path) -> None:
    monitor, model = MONITORS[name], name if name in FS else "register"
    file = tmp_path / "witness.jsonl"
    shown: set[str] = set()
    for calls in histories(Recipe(model=model, most=12, damaged=1, keys=2, told=1), seed=4, count=150):
        named = calls if model == "counter" else with_texts(calls)
        if ((calls.f == F.DEQUEUE) & (calls.ended == Ended.OK) & (calls.result == NOTHING)).any():
            continue  # a file can't say that somebody took something, and not what
        for violation in monitor(named, Budget()).violations:
            witness = shrink(named, violation, monitor, Budget())
            kind = witness.violation.kind
            assert violation.kind in (kind, GENERAL)
            assert witness.minimal
            file.write_text("".join(f"{line}\n" for line in to_lines(witness)))
            again = monitor(read_history(file, model, Options()).calls, Budget())
            assert again.verdict is Verdict.FAIL
            assert kind in {found.kind for found in again.violations} or model == "counter"
            told = proof(witness.calls, witness.violation)
            names = words.names(witness.calls, witness.violation).values()
            assert all(any(line.startswith(f"{name} is ") for line in told) for name in names)
            assert len(names) == len(witness.calls)
            assert not any("{" in line for line in told)
            assert max(map(len, lanes.text(witness.calls))) <= lanes.COLUMNS
            ElementTree.fromstring(lanes.svg(witness.calls))  # noqa: S314  it is our own
            shown.add(kind)
    assert shown or name not in FS


def test_the_general_reason_gives_way_to_a_special_one() -> None:
    def both(calls: Calls, budget: Budget) -> Judged:
        wrong = [] if explained(calls, "register") else [Violation(kind="stale-read", rows=(0,))]
        return judged("", violations=wrong, undecided=[], operations=1, reads=1)

    calls = calls_of([write(0, "a"), write(10, "b"), read(20, "a")])
    assert shrink(calls, Violation(kind=GENERAL, rows=(0, 1, 2)), both, Budget()).violation.kind == "stale-read"


def test_a_refused_write_that_nothing_needs_goes_and_one_that_was_seen_stays() -> None:
    refused = Told(f=F.WRITE, call_ns=1, ret_ns=2, ended=Ended.FAIL, arg="a")
    calls = calls_of([refused, write(10, "a"), write(20, "b"), read(30, "a")])
    witness = shrink(calls, Violation(kind=KIND, rows=(3,)), oracle("register"), Budget())
    assert Ended.FAIL not in witness.calls.ended.tolist()
    calls = calls_of([refused, read(30, "a")])
    witness = shrink(calls, Violation(kind=KIND, rows=(1,)), oracle("register"), Budget())
    assert Ended.FAIL in witness.calls.ended.tolist()


def read(at_ns: int, value: str, **also: str) -> Told:
    return Told(f=F.READ, call_ns=at_ns, ret_ns=at_ns + 5, ended=Ended.OK, result=value, **also)


def write(at_ns: int, value: str, **also: str) -> Told:
    return Told(f=F.WRITE, call_ns=at_ns, ret_ns=at_ns + 5, ended=Ended.OK, arg=value, **also)


def test_a_read_keeps_the_write_that_it_saw_so_that_nothing_seems_to_come_from_nowhere() -> None:
    calls = calls_of([write(0, "a"), write(10, "b"), read(20, "b"), read(30, "a"), write(40, "c")])
    witness = shrink(calls, Violation(kind=KIND, rows=(1, 3)), oracle("register"), Budget())
    assert witness.calls.place.tolist() == [0] * 3
    assert [witness.calls.value(code) for code in witness.calls.arg[:2].tolist()] == ["a", "b"]
    assert witness.calls.f.tolist() == [F.WRITE, F.WRITE, F.READ]


def test_elements_that_do_not_matter_leave_the_answers_of_reads() -> None:
    adds = [Told(f=F.ADD, arg=str(n), call_ns=n, ret_ns=n, ended=Ended.OK) for n in range(50)]
    late = Told(f=F.READ, items=[str(n) for n in range(50) if n != 17], call_ns=99, ret_ns=100, ended=Ended.OK)

    def lost(calls: Calls, budget: Budget) -> Judged:
        wanted = set(calls.arg[calls.f == F.ADD].tolist())
        wrong = any(wanted - set(calls.items_of(row).tolist()) for row in np.flatnonzero(calls.f == F.READ))
        violations = [Violation(kind="lost", rows=tuple(range(len(calls))))] if wrong else []
        return judged("set", violations=violations, undecided=[], operations=len(calls), reads=1)

    calls = calls_of([*adds, late])
    witness = shrink(calls, lost(calls, Budget()).violations[0], lost, Budget())
    assert [witness.calls.value(int(witness.calls.arg[0])), len(witness.calls), witness.left_out] == ["17", 2, 49]
    assert witness.calls.items_of(1).tolist() == []
    assert witness.calls.result[1] == 0


def test_what_proves_a_counter_wrong_is_left_as_it_is() -> None:
    adds = [Told(f=F.ADD, arg=1, call_ns=n, ret_ns=n, ended=Ended.OK) for n in range(5)]
    late = Told(f=F.READ, result=3, call_ns=9, ret_ns=9, ended=Ended.OK)
    because = (Because(why=Why.BEFORE, a=4, b=0), Because(why=Why.BEFORE, a=1, b=0))
    calls = calls_of([late, *adds], numbers=True)
    witness = shrink(calls, Violation(kind="lost-increment", rows=(0, 4, 2, 3), because=because), oracle("counter"), Budget())
    assert witness.calls.call_ns.tolist() == [1, 2, 3, 9]
    assert witness.violation.because == (Because(why=Why.BEFORE, a=2, b=3),)
    assert not witness.minimal
    witness = shrink(calls, Violation(kind="lost-increment", rows=(0, 1, 4, 2, 3), because=because), oracle("counter"), Budget())
    assert witness.minimal
    assert len(witness.violation.because) == 2


def test_a_monitor_is_asked_a_bounded_number_of_times() -> None:
    asked = 0

    def always(calls: Calls, budget: Budget) -> Judged:
        nonlocal asked
        asked += 1
        odd = len(calls) % 2 == 1 and len(calls) > 1500
        return judged("", violations=[Violation(kind=KIND, rows=())] if odd else [], undecided=[], operations=1, reads=1)

    calls = calls_of([read(n, "nil") for n in range(2001)])
    witness = shrink(calls, Violation(kind=KIND, rows=tuple(range(2001))), always, Budget())
    assert not witness.minimal
    assert asked <= TRIES + 2


def test_an_end_of_the_budget_ends_the_shrinking_with_what_there_is() -> None:
    calls = calls_of([write(0, "a"), write(10, "b"), read(20, "b"), read(30, "a")])
    witness = shrink(calls, Violation(kind=KIND, rows=(0, 1, 2, 3)), oracle("register"), Budget(over=lambda: True))
    assert not witness.minimal
    assert len(witness.calls) == 4


def test_a_violation_that_its_rows_do_not_show_grows_until_it_is_seen() -> None:
    calls = calls_of([write(0, "a"), write(10, "b"), read(20, "a"), *(read(30 + n, "a", key="other") for n in range(3))])

    def three(calls: Calls, budget: Budget) -> Judged:
        wrong = [Violation(kind=KIND, rows=(2,))] if len(calls) >= 3 and not explained(calls, "register") else []
        return judged("", violations=wrong, undecided=[], operations=1, reads=1)

    witness = shrink(calls, Violation(kind=KIND, rows=(2,)), three, Budget())
    assert sorted(witness.calls.f.tolist()) == [F.READ, F.WRITE, F.WRITE]
    assert witness.minimal


def test_a_violation_that_the_monitor_never_says_again_is_kept_as_it_is() -> None:
    calls = calls_of([write(0, "a"), write(10, "b"), read(20, "b")])
    deaf = shrink(calls, Violation(kind=KIND, rows=(2, 0)), oracle("register"), Budget())
    assert not deaf.minimal
    assert deaf.calls.f.tolist() == [F.WRITE, F.READ]
    assert deaf.violation.rows == (0, 1)
