"""Effects of idempotency keys: telling cases of each kind, and each key judged alone by the definitions."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from functools import cache
from types import ModuleType

import pytest

from harness.monitors import retries
from harness.monitors.calls import NOTHING, Ended
from harness.monitors.judged import Judged
from harness.monitors.retries import Effect, Tries, Try, tries_of
from harness.verdict import Verdict
from tests.monitors.mutation import Mutant, noticed

LONG = os.environ.get("JETABLE_LONG") == "1"
OK, FAIL, INFO = Ended.OK, Ended.FAIL, Ended.INFO


def sent(key: str, at: int, ended: Ended = OK, *, response: str | None = "201", payload: str | None = "p") -> Try:
    return Try(key=key, call_ns=at, ret_ns=at + 5, ended=ended, response=response if ended is OK else None, payload=payload)


def judge(attempts: list[Try], effects: list[Effect] | None) -> Judged:
    return retries.judge(tries_of(attempts, effects))


def kinds(attempts: list[Try], effects: list[Effect] | None) -> set[str]:
    tries = tries_of(attempts, effects)
    said = retries.judge(tries)
    for violation in said.violations:
        assert violation.kind in retries.judge(tries.take(violation.rows)).counts, violation
    return set(said.counts)


TWICE = [sent("k", 0, INFO), sent("k", 10)]


def test_a_retry_with_one_effect_passes() -> None:
    assert judge(TWICE, [Effect(key="k", at_ns=3)]).verdict is Verdict.PASS
    assert (
        judge([sent("k", 0, INFO), sent("k", 10, INFO), *(sent("other", at) for at in (20, 30))], [Effect(key="other")]).verdict
        is Verdict.PASS
    )


def test_two_effects_of_one_key_are_one_too_many() -> None:
    assert kinds(TWICE, [Effect(key="k", at_ns=3), Effect(key="k", at_ns=12)]) == {"double-effect"}
    assert kinds(TWICE, [Effect(key="k", count=2)]) == {"double-effect"}


def test_an_effect_after_the_answer_is_a_late_duplicate_where_it_is_not_the_only_one() -> None:
    assert kinds(TWICE, [Effect(key="k", at_ns=3), Effect(key="k", at_ns=16)]) == {"double-effect", "late-duplicate"}
    assert kinds(TWICE, [Effect(key="k", at_ns=16)]) == set()
    said = judge(TWICE, [Effect(key="k", at_ns=3), Effect(key="k", at_ns=35)])
    late = next(violation for violation in said.violations if violation.kind == "late-duplicate")
    assert (late.size_ns, late.rows) == (20, (1, 2, 3))


def test_an_answered_key_without_effect_is_missing_it() -> None:
    assert kinds(TWICE, []) == {"missing-effect"}
    assert kinds([sent("k", 0, INFO), sent("k", 10, INFO)], []) == set()


def test_an_effect_that_nobody_asked_for_or_that_was_refused_is_a_ghost() -> None:
    assert kinds([sent("k", 0, FAIL), sent("k", 10, FAIL)], [Effect(key="k")]) == {"ghost-effect"}
    assert kinds([*TWICE], [Effect(key="k"), Effect(key="z")]) == {"ghost-effect"}
    assert kinds([sent("k", 0, FAIL), sent("k", 10, INFO)], [Effect(key="k")]) == set()


def test_answers_for_one_key_must_be_the_same() -> None:
    assert kinds([sent("k", 0, response="a"), sent("k", 10, response="b")], [Effect(key="k")]) == {"response-mismatch"}
    assert kinds([sent("k", 0, response="a"), sent("k", 10, response=None)], [Effect(key="k")]) == set()


def test_a_key_may_not_be_accepted_for_different_requests() -> None:
    other = sent("k", 10, response="b", payload="q")
    assert kinds([sent("k", 0, response="a"), other], [Effect(key="k")]) == {"reuse-mismatch"}
    refused = sent("k", 10, FAIL, payload="q")
    assert kinds([sent("k", 0), refused], [Effect(key="k")]) == set()


def test_effects_that_could_not_be_listed_are_not_judged() -> None:
    said = judge(TWICE, None)
    assert (said.verdict, said.counts) == (Verdict.UNKNOWN, {})
    assert "could not be listed" in said.undecided[0]
    assert judge([sent("k", 0, response="a"), sent("k", 10, response="b")], None).verdict is Verdict.FAIL


def test_nothing_is_known_of_retries_where_nothing_was_sent_again() -> None:
    assert judge([sent("k", 0)], [Effect(key="k")]).verdict is Verdict.UNKNOWN
    assert judge([], []).verdict is Verdict.UNKNOWN


def test_a_total_lies_between_the_answered_and_the_tried_keys() -> None:
    attempts = [*TWICE, sent("a", 20), sent("a", 30), sent("b", 40, INFO), sent("c", 50, FAIL)]
    tries = tries_of(attempts, None)
    said = [retries.judge_total(tries, total) for total in range(1, 5)]
    assert [set(one.counts) for one in said] == [{"missing-effect"}, set(), set(), {"double-effect"}]
    for total, one in ((1, said[0]), (4, said[3])):
        assert retries.judge_total(tries.take(one.violations[0].rows), total).counts == one.counts
    assert retries.judge_total(tries_of([], None), 0).verdict is Verdict.UNKNOWN
    assert retries.judge_total(tries_of([], None), 1).verdict is Verdict.FAIL


def test_the_key_with_most_effects_is_shown_first() -> None:
    attempts = [sent(f"k{number}", number) for number in range(9)]
    said = judge(attempts, [Effect(key=f"k{number}", count=number) for number in range(1, 9)] + [Effect(key="k0")])
    assert said.counts == {"double-effect": 7}
    assert [violation.because[0].n for violation in said.violations] == [8, 7, 6]


def random_tries(seed: int, count: int) -> Iterator[Tries]:
    dice = random.Random(seed)
    for _ in range(count):
        attempts = [
            Try(
                key=dice.choice("abc"),
                call_ns=at,
                ret_ns=at + dice.randint(0, 9),
                ended=dice.choice((OK, OK, INFO, FAIL)),
                response=dice.choice(("x", "x", "y", None)),
                payload=dice.choice(("p", "p", "p", "q", None)),
            )
            for at in dice.sample(range(30), dice.randint(0, 8))
        ]
        effects = [
            Effect(key=dice.choice("abcd"), at_ns=dice.choice((None, dice.randint(0, 40))), count=dice.choice((1, 1, 2)))
            for _ in range(dice.randint(0, 4))
        ]
        yield tries_of(attempts, dice.choice((effects, effects, None)))


def by_definition(tries: Tries) -> dict[str, int]:
    """How many keys are wrong in each way."""
    counts: dict[str, int] = {}
    for key in range(len(tries.keys)):
        rows = [row for row in range(len(tries)) if tries.key[row] == key]
        ok = [row for row in rows if tries.ended[row] == OK]
        effects = [at for at in range(len(tries.effect_key)) if tries.effect_key[at] == key]
        number = sum(int(tries.effect_count[at]) for at in effects)
        payloads = {int(tries.payload[row]) for row in ok} - {NOTHING}
        responses = {int(tries.response[row]) for row in ok} - {NOTHING}
        first_ns = min((int(tries.ret_ns[row]) for row in ok), default=1 << 62)
        wrong = {
            "double-effect": tries.effects_told and number > 1,
            "late-duplicate": tries.effects_told and number > 1 and any(tries.effect_at_ns[at] > first_ns for at in effects),
            "missing-effect": tries.effects_told and bool(ok) and number == 0,
            "ghost-effect": tries.effects_told and all(tries.ended[row] == FAIL for row in rows) and number > 0,
            "response-mismatch": len(responses) > 1 and len(payloads) < 2,
            "reuse-mismatch": len(payloads) > 1,
        }
        for kind, is_wrong in wrong.items():
            if is_wrong:
                counts[kind] = counts.get(kind, 0) + 1
    return counts


@cache
def cases(seed: int, count: int) -> tuple[tuple[Tries, dict[str, int]], ...]:
    return tuple((tries, by_definition(tries)) for tries in random_tries(seed, count))


def differs(module: ModuleType, seed: int = 1, count: int = 400) -> bool:
    """Whether the module judges any of the random attempts otherwise, or a proof does not stand alone."""
    for tries, right in cases(seed, count):
        said = module.judge(tries)
        if dict(said.counts) != right or (said.verdict is Verdict.FAIL) != bool(right):
            return True
        for violation in said.violations:
            told = {row for fact in violation.because for row in (fact.a, fact.b) if row >= 0}
            if violation.kind not in module.judge(tries.take(violation.rows)).counts or not told <= set(violation.rows):
                return True
    return False


@pytest.mark.slow
def test_each_key_is_judged_by_the_definitions() -> None:
    assert not any(differs(retries, seed, 600) for seed in range(200 if LONG else 1))


MUTANTS = (
    ("one effect is right", "per_key.effects > 1, _double", "per_key.effects > 0, _double"),
    ("late only after an answer", "(self.last_effect_ns > self.first_ret_ns)", "(self.last_effect_ns > NOTHING)"),
    ("late only where there are two", "self.late = (self.effects > 1) & ", "self.late = "),
    ("missing only where answered", "(per_key.answered > 0) & (per_key.effects == 0)", "(per_key.effects == 0)"),
    (
        "ghosts were refused",
        "(per_key.attempts == per_key.refused) & (per_key.effects > 0)",
        "(per_key.refused > 0) & (per_key.effects > 0)",
    ),
    ("ghosts have effects", "(per_key.attempts == per_key.refused) & (per_key.effects > 0)", "(per_key.attempts == per_key.refused)"),
    ("only answers to one request are compared", "ok & one_request", "ok"),
    (
        "only accepted requests are compared",
        "_differ(tries.key, tries.payload, ok, size)",
        "_differ(tries.key, tries.payload, ok | True, size)",
    ),
    ("what is not known is not compared", "chosen & (codes != NOTHING)", "chosen"),
    ("effects that are not told are not judged", "    if tries.effects_told:\n", "    if True:\n"),
    (
        "effects are counted",
        "np.add.at(self.effects, tries.effect_key, tries.effect_count)",
        "np.add.at(self.effects, tries.effect_key, 1)",
    ),
    ("the first answer counts", "np.minimum.at(self.first_ret_ns, tries.key[ok]", "np.maximum.at(self.first_ret_ns, tries.key[ok]"),
)


@pytest.mark.slow
@pytest.mark.parametrize(("why", "fragment", "instead"), MUTANTS, ids=[why for why, _, _ in MUTANTS])
def test_each_condition_is_needed(why: str, fragment: str, instead: str) -> None:
    assert noticed(retries, Mutant(why=why, fragment=fragment, instead=instead), differs)
