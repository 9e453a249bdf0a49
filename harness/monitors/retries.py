"""Effect once: a request that carries an idempotency key may be sent again and again, and what it asks for happens once.

A client that got no answer can only send again, so the key must make the repetition harmless (IETF draft *The Idempotency-Key HTTP Header
Field*). For each key, from its attempts and its effects:

* *double-effect*: it happened more than once;
* *late-duplicate*: it happened again after one of its attempts had been answered;
* *missing-effect*: an attempt was answered, and it did not happen;
* *ghost-effect*: it happened, though every attempt was refused, or there was none;
* *response-mismatch*: two answers to the same request differ;
* *reuse-mismatch*: two requests that ask for different things were both accepted under it.

A key of which no attempt was answered may have had one effect or none. Where effects can't be told by key, their total still lies between
the keys that were answered and the keys that were tried: `judge_total`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.monitors.calls import NEVER, NOTHING, Column, Ended, Rows
from harness.monitors.judged import MOST, Because, Judged, Violation, Why, judged

MODEL: Final = "retries"

SHOWN: Final = 8
"""So many attempts and so many effects of a key are part of a violation, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt with its names written out, to build `Tries` from; None is `NOTHING`."""

    key: str
    call_ns: int
    ret_ns: int = NEVER
    ended: Ended = Ended.INFO
    response: str | None = None
    payload: str | None = None
    replica: str = ""
    place: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One effect, or ``count`` of them, with its key's name written out."""

    key: str
    at_ns: int | None = None
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tries:
    """Attempts and effects as columns, first all attempts and then all effects; a row of a violation counts over both.

    Attributes:
        key: Whose it is; an index into ``keys``.
        call_ns: When the attempt was sent.
        ret_ns: When it was answered; `NEVER` where it was not.
        ended: A code of `Ended` for each attempt.
        response: A code of what was answered, equal for equal answers; `NOTHING` where that is not known.
        payload: A code of what was asked for, equal for equal requests; `NOTHING` where that is not known.
        replica: Who was asked; an index into ``replicas``, -1 when not known.
        place: Where the attempt is written.
        effect_key: Whose effect it is.
        effect_count: How often it happened.
        effect_at_ns: When, on the clock of the attempts; `NOTHING` where that is not known.
        effects_told: Whether effects could be listed at all. If not, nothing is said of them.
        keys: Names.
        replicas: Names.
    """

    key: NDArray[np.int32]
    call_ns: Column
    ret_ns: Column
    ended: NDArray[np.int8]
    response: Column
    payload: Column
    replica: NDArray[np.int32]
    place: Column
    effect_key: NDArray[np.int32]
    effect_count: Column
    effect_at_ns: Column
    effects_told: bool = True
    keys: Sequence[str] = ()
    replicas: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.key)

    def take(self, rows: Iterable[int] | Rows) -> Self:
        """The attempts and effects ``rows`` alone; names and codes stay what they are."""
        chosen = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows), dtype=np.int64)
        attempts, effects = chosen[chosen < len(self)], chosen[chosen >= len(self)] - len(self)
        parts = {name.name: getattr(self, name.name) for name in fields(self) if name.name not in ("effects_told", "keys", "replicas")}
        return replace(self, **{name: column[effects if name.startswith("effect_") else attempts] for name, column in parts.items()})

    @property
    def size(self) -> int:
        """How many keys there may be."""
        return max(len(self.keys), int(self.key.max(initial=-1)) + 1, int(self.effect_key.max(initial=-1)) + 1)


def tries_of(attempts: Iterable[Try], effects: Iterable[Effect] | None) -> Tries:
    """Columns of ``attempts`` and ``effects``; None: effects could not be listed."""
    sent, happened = list(attempts), list(effects or ())
    keys, replicas, texts = _Codes(), _Codes(), _Codes()

    def code(text: str | None) -> int:
        return NOTHING if text is None else texts.of(text)

    return Tries(
        key=np.array([keys.of(one.key) for one in sent], dtype=np.int32),
        call_ns=np.array([one.call_ns for one in sent], dtype=np.int64),
        ret_ns=np.array([one.ret_ns if one.ended is not Ended.INFO else NEVER for one in sent], dtype=np.int64),
        ended=np.array([one.ended for one in sent], dtype=np.int8),
        response=np.array([code(one.response) for one in sent], dtype=np.int64),
        payload=np.array([code(one.payload) for one in sent], dtype=np.int64),
        replica=np.array([replicas.of(one.replica) if one.replica else -1 for one in sent], dtype=np.int32),
        place=np.array([one.place for one in sent], dtype=np.int64),
        effect_key=np.array([keys.of(one.key) for one in happened], dtype=np.int32),
        effect_count=np.array([one.count for one in happened], dtype=np.int64),
        effect_at_ns=np.array([NOTHING if one.at_ns is None else one.at_ns for one in happened], dtype=np.int64),
        effects_told=effects is not None,
        keys=keys.names,
        replicas=replicas.names,
    )


class _Codes:
    """Gives each text a number of its own, from 0."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def of(self, text: str) -> int:
        return self._codes.setdefault(text, len(self._codes))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._codes)


def judge(tries: Tries) -> Judged:
    """Whether each key had the effect and the answers that it must have; see the module. O(n log n)."""
    per_key = _PerKey(tries)
    found = _Found(tries, per_key)
    undecided = []
    if tries.effects_told:
        found.add("double-effect", per_key.effects > 1, _double)
        found.add("late-duplicate", per_key.late, _late)
        found.add("missing-effect", (per_key.answered > 0) & (per_key.effects == 0), _missing)
        found.add("ghost-effect", (per_key.attempts == per_key.refused) & (per_key.effects > 0), _ghost)
    else:
        undecided.append("the effects could not be listed, so only answers are judged")
    found.add("response-mismatch", per_key.responses_differ, _other_response)
    found.add("reuse-mismatch", per_key.payloads_differ, _other_payload)
    if not len(tries):
        undecided.append("no request was sent")
    elif not (per_key.attempts > 1).any():
        undecided.append("no request was sent twice, so retries were not tried")
    return judged(
        MODEL,
        violations=found.violations,
        undecided=undecided,
        operations=int((tries.ended != Ended.FAIL).sum()),
        reads=len(tries.effect_key) if tries.effects_told and len(tries.effect_key) else int((tries.ended == Ended.OK).sum()),
        counts=found.counts,
    )


def judge_total(tries: Tries, total: int) -> Judged:
    """Whether ``total`` effects, which can't be told by key, are as many as keys were answered at least, and as keys were tried at most."""
    per_key = _PerKey(tries)
    answered, tried = int((per_key.answered > 0).sum()), int((per_key.attempts > per_key.refused).sum())
    violations = []
    if total < answered:
        rows = _first_of_each_key(tries, tries.ended == Ended.OK)[: max(0, total) + 1]
        fact = Because(why=Why.TOTAL_TOO_LITTLE, a=int(rows[0]), n=total, m=answered)
        violations.append(Violation(kind="missing-effect", rows=tuple(rows.tolist()), because=(fact,)))
    elif total > tried:
        rows = _first_of_each_key(tries, tries.ended != Ended.FAIL)
        rows = rows if len(rows) else np.arange(min(1, len(tries)))
        fact = Because(why=Why.TOTAL_TOO_MUCH, a=int(rows[0]) if len(rows) else -1, n=total, m=tried)
        violations.append(Violation(kind="double-effect", rows=tuple(rows.tolist()), because=(fact,)))
    undecided = [] if len(tries) else ["no request was sent"]
    return judged(MODEL, violations=violations, undecided=undecided, operations=int((tries.ended != Ended.FAIL).sum()), reads=1)


def _first_of_each_key(tries: Tries, chosen: NDArray[np.bool_]) -> Rows:
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(tries.call_ns[rows], kind="stable")]
    _, first = np.unique(tries.key[rows], return_index=True)
    return rows[np.sort(first)]


class _PerKey:
    """What there is of each key."""

    def __init__(self, tries: Tries) -> None:
        size = tries.size
        ok = tries.ended == Ended.OK
        self.attempts = np.bincount(tries.key, minlength=size)
        self.refused = np.bincount(tries.key[tries.ended == Ended.FAIL], minlength=size)
        self.answered = np.bincount(tries.key[ok], minlength=size)
        self.effects = np.zeros(size, dtype=np.int64)
        np.add.at(self.effects, tries.effect_key, tries.effect_count)
        self.payloads_differ = _differ(tries.key, tries.payload, ok, size)
        one_request = ~self.payloads_differ[tries.key]
        self.responses_differ = _differ(tries.key, tries.response, ok & one_request, size)
        self.first_ret_ns = np.full(size, NEVER)
        np.minimum.at(self.first_ret_ns, tries.key[ok], tries.ret_ns[ok])
        self.last_effect_ns = np.full(size, NOTHING, dtype=np.int64)
        np.maximum.at(self.last_effect_ns, tries.effect_key, tries.effect_at_ns)
        self.late = (self.effects > 1) & (self.last_effect_ns > self.first_ret_ns)
        self.attempts_in_order = np.lexsort((tries.call_ns, tries.key))
        self.effects_in_order = np.lexsort((tries.effect_at_ns, tries.effect_key))
        self._attempt_starts = np.concatenate([[0], np.cumsum(self.attempts)])
        self._effect_starts = np.concatenate([[0], np.cumsum(np.bincount(tries.effect_key, minlength=size))])

    def attempts_of(self, key: int) -> Rows:
        """The attempts of a key in order of call."""
        return self.attempts_in_order[self._attempt_starts[key] : self._attempt_starts[key + 1]]

    def effects_of(self, key: int) -> Rows:
        """The effects of a key in order of time, counted from 0."""
        return self.effects_in_order[self._effect_starts[key] : self._effect_starts[key + 1]]


def _differ(key: NDArray[np.int32], codes: Column, chosen: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """For each key whether the known codes of its chosen rows differ."""
    rows = np.flatnonzero(chosen & (codes != NOTHING))
    first = np.full(size, NOTHING, dtype=np.int64)
    first[key[rows]] = codes[rows]
    differ = np.zeros(size, dtype=bool)
    differ[key[rows[codes[rows] != first[key[rows]]]]] = True
    return differ


Prove: TypeAlias = Callable[[Tries, _PerKey, int], tuple[Rows, Rows, list[Because]]]
"""The attempts, the effects (counted from 0) and the facts that prove what is wrong with a key."""


class _Found:
    """What was found so far."""

    def __init__(self, tries: Tries, per_key: _PerKey) -> None:
        self._tries, self._per_key = tries, per_key
        self.violations: list[Violation] = []
        self.counts: dict[str, int] = {}

    def add(self, kind: str, wrong: NDArray[np.bool_], prove: Prove) -> None:
        """The keys that are ``wrong``: those with most effects, then those with most attempts, are shown."""
        keys = np.flatnonzero(wrong)
        if not len(keys):
            return
        self.counts[kind] = len(keys)
        worst = np.lexsort((-self._per_key.attempts[keys], -self._per_key.effects[keys]))[:MOST]
        for key in keys[worst].tolist():
            attempts, effects, facts = prove(self._tries, self._per_key, key)
            rows = (*attempts.tolist(), *(effects + len(self._tries)).tolist())
            late_ns = int(self._per_key.last_effect_ns[key] - self._per_key.first_ret_ns[key]) if kind == "late-duplicate" else 0
            self.violations.append(Violation(kind=kind, rows=rows, because=tuple(facts), size_ns=late_ns))


def _double(tries: Tries, per_key: _PerKey, key: int) -> tuple[Rows, Rows, list[Because]]:
    attempts, effects = per_key.attempts_of(key)[:SHOWN], per_key.effects_of(key)
    effects = effects[np.argsort(-tries.effect_count[effects], kind="stable")][:SHOWN]
    a = int(attempts[0]) if len(attempts) else len(tries) + int(effects[0])
    return attempts, effects, [Because(why=Why.HAD_EFFECTS, a=a, n=int(per_key.effects[key]))]


def _late(tries: Tries, per_key: _PerKey, key: int) -> tuple[Rows, Rows, list[Because]]:
    attempts, effects = per_key.attempts_of(key), per_key.effects_of(key)
    attempt = attempts[tries.ended[attempts] == Ended.OK]
    attempt = attempt[np.argsort(tries.ret_ns[attempt], kind="stable")][:1]
    chosen = np.unique([0, len(effects) - 1])
    late = len(tries) + int(effects[-1])
    facts = [
        Because(why=Why.HAD_EFFECTS, a=int(attempt[0]), n=int(per_key.effects[key])),
        Because(why=Why.EFFECT_AFTER, a=int(attempt[0]), b=late),
    ]
    return attempt, effects[chosen], facts


def _missing(tries: Tries, per_key: _PerKey, key: int) -> tuple[Rows, Rows, list[Because]]:
    attempts = per_key.attempts_of(key)
    answered = int(attempts[tries.ended[attempts] == Ended.OK][0])
    shown = np.unique([*attempts[: SHOWN - 1].tolist(), answered])
    return shown, np.zeros(0, dtype=np.int64), [Because(why=Why.HAD_NO_EFFECT, a=answered)]


def _ghost(tries: Tries, per_key: _PerKey, key: int) -> tuple[Rows, Rows, list[Because]]:
    attempts, effects = per_key.attempts_of(key)[:SHOWN], per_key.effects_of(key)
    effects = effects[np.argsort(-tries.effect_count[effects], kind="stable")][:SHOWN]
    if len(attempts):
        return attempts, effects, [Because(why=Why.REFUSED_HAD_EFFECT, a=int(attempts[0]), n=int(per_key.effects[key]))]
    return attempts, effects, [Because(why=Why.NOBODY_ASKED, a=len(tries) + int(effects[0]))]


def _other_response(tries: Tries, per_key: _PerKey, key: int) -> tuple[Rows, Rows, list[Because]]:
    return _two(tries, per_key.attempts_of(key), tries.response, Why.ANSWERED_OTHERWISE)


def _other_payload(tries: Tries, per_key: _PerKey, key: int) -> tuple[Rows, Rows, list[Because]]:
    return _two(tries, per_key.attempts_of(key), tries.payload, Why.ASKED_OTHERWISE)


def _two(tries: Tries, attempts: Rows, codes: Column, why: Why) -> tuple[Rows, Rows, list[Because]]:
    """The first two acknowledged attempts whose known codes differ."""
    attempts = attempts[(tries.ended[attempts] == Ended.OK) & (codes[attempts] != NOTHING)]
    other = attempts[codes[attempts] != codes[attempts[0]]][0]
    return np.array([attempts[0], other]), np.zeros(0, dtype=np.int64), [Because(why=why, a=int(attempts[0]), b=int(other))]
