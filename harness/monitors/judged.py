"""What a monitor says: a verdict, the violations that prove a failure, and what it could not decide.

A *violation* names the few operations that can't all be right, in any order of effects, and why: a chain of *becauses*, each one a fact
about two of them that anyone can check against the history. `harness.monitors.words` says it in sentences, and `harness.monitors.witness`
makes it smallest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from harness.monitors.calls import Calls
from harness.verdict import Verdict


class Why(Enum):
    """One fact; ``{a}`` and ``{b}`` are operations, ``{gap}`` the time between them, ``{n}`` and ``{m}`` the numbers of the because.

    A monitor that needs another fact adds a member; the sentence is the member's value.
    """

    BEFORE = "{a} had ended {gap} before {b} began"
    SAW = "{a} answered {value}, which {b} had written"
    SAW_INITIAL = "{a} answered that there is nothing yet"
    NOBODY_WROTE = "{a} answered {value}, which nobody ever wrote"
    REFUSED_WROTE = "{a} answered {value}, which only {b} wanted to write, and that had been refused"
    NO_PLACE = "the longest order that explains the answers has no place left for {a}"
    REPLACED = "{a} replaced {value}, which {b} had written"
    REPLACED_INITIAL = "{a} replaced what there was before anything was written"
    REPLACED_UNKNOWN = "{a} replaced {value}, which nobody ever wrote"
    REPLACED_REFUSED = "{a} replaced {value}, which only {b} wanted to write, and that had been refused"
    MISSED = "{a} answered that {value} is not there, which {b} had written"
    MISSED_INITIAL = "{a} answered that something had been written"
    ADDED = "{a} was acknowledged: {value} is there"
    NOBODY_ADDED = "{a} had {value}, which nobody ever added"
    REFUSED_ADDED = "{a} had {value}, which only {b} wanted to add, and that had been refused"
    GONE = "{a} was acknowledged: {value} is gone"
    OTHER_ORDER = "{a} had {value} at place {n}, where {b} had another"
    COUNTED_MORE = "{a} answered {n}, but only {m} additions had begun when it ended"
    COUNTED_FEWER = "{a} answered {n}, but {m} additions must have come before it"
    COUNTED_FEWER_SINCE = "{n} additions must have come between {a} and {b}, and their answers leave room for only {m}"
    COUNTED_MORE_SINCE = "from {b} to {a} the number changed by {n}, but only {m} additions were under way between them"
    COUNTED_BACK = "{a} answered {n}, which can't be after {b} had answered {m}"
    SUM_TOO_LARGE = "{a} answered {n}, and all that may have been in it is at most {m}"
    SUM_TOO_SMALL = "{a} answered {n}, and all that must have been in it is at least {m}"
    NOT_A_STEP = "{a} answered {n}, which no sum of additions of {m} gives"
    SAME_NUMBER = "{a} and {b} both answered {n} as the number that they made"
    TOOK = "{a} took {value}, which {b} had put in"
    TOOK_UNKNOWN = "{a} took {value}, which nobody ever put in"
    TOOK_REFUSED = "{a} took {value}, which only {b} wanted to put in, and that had been refused"
    TOOK_TOO = "{a} took {value}, which {b} took as well"
    NEVER_TAKEN = "{value}, which {a} had put in, was never taken"
    FOUND_EMPTY = "{a} answered that there is nothing in it"
    TOO_FEW_TAKERS = "{n} values had to be gone by the end of {a}, and only {m} takers that were never answered had begun"
    NEEDED = "{a} can only have taken effect on {value}, which nobody ever wrote"
    SAME_SESSION = "one session did {a} before {b}"
    SAME_REPLICA = "one replica answered {a} {gap} before it was asked {b}"
    DIFFER = "{a} and {b} were asked when everything had ended, and they answer differently"
    LACKS = "{a} does not have {value}, which {b} had put there"
    HAS = "{a} has {value}, which {b} had put there"
    REMOVED = "{a} has {value}, which {b} had removed"
    HAS_TWICE = "{a} has {value} {n} times, and it was put there {m} times at most"
    TOO_LITTLE = "{a} answered {n}, and {m} had been acknowledged"
    TOO_MUCH = "{a} answered {n}, and {m} had been asked for at most"
    SHOWS_ORDER = "{a} has {value} before what {b} had put there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Because:
    """A fact about the rows ``a`` and ``b`` (-1: of ``a`` alone).

    ``value`` is the code of a value, ``n`` and ``m`` are numbers, where the fact speaks of one.
    """

    why: Why
    a: int
    b: int = -1
    value: int | None = None
    n: int = 0
    m: int = 0


def before(a: int, b: int) -> Because:
    """That ``a`` had ended before ``b`` began."""
    return Because(why=Why.BEFORE, a=a, b=b)


def rows_of_facts(calls: Calls, facts: Iterable[Because], more: Iterable[int] = ()) -> tuple[int, ...]:
    """The operations of ``facts`` and ``more``, each once, in order of call."""
    rows = {row for fact in facts for row in (fact.a, fact.b) if row >= 0}
    return tuple(sorted(rows.union(more), key=lambda row: (int(calls.call_ns[row]), row)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """Operations that can't all be right.

    Attributes:
        kind: What is wrong, in kebab-case; a key of `KINDS`.
        rows: The operations that prove it, each once.
        because: Why, in the order of the proof.
        size_ns: How bad it is, where time says so (staleness); 0 elsewhere. The worst of a kind is shown first.
    """

    kind: str
    rows: tuple[int, ...]
    because: tuple[Because, ...] = ()
    size_ns: int = 0


KINDS: Final[dict[str, str]] = {
    "phantom-read": "a value was read that nobody ever wrote",
    "aborted-read": "a value was read whose write had been refused",
    "future-read": "a value was read before its write began",
    "stale-read": "a value was read that had been overwritten before the read began",
    "lost-update": "two compare-and-sets replaced the same value",
    "stale-swap": "a compare-and-set replaced a value that had been overwritten before it began",
    "future-swap": "a compare-and-set replaced a value before its write began",
    "phantom-swap": "a compare-and-set replaced a value that nobody ever wrote",
    "aborted-swap": "a compare-and-set replaced a value whose write had been refused",
    "circular-swap": "compare-and-sets replaced each other's values in a circle, which none of them can have begun",
    "order-conflict": "two values each had to be there before the other one",
    "false-mismatch": "a compare-and-set answered that another value was there, while its own was there all the time",
    "lost-element": "what was acknowledged, or seen, was gone later and was not seen again",
    "stale-element": "what was acknowledged, or seen, was missing in a later answer, and was there again after that",
    "unexpected-element": "an element was there that nobody ever added",
    "resurrected-element": "an element was there whose addition had been refused",
    "duplicated-element": "an element that was added was there twice in one answer",
    "never-read": "nobody looked for an element after it had been acknowledged, so nothing is known of it; no violation",
    "incomparable-reads": "two reads each had an element that the other one lacked",
    "skipped-element": "a read had an element but lacked one that had been acknowledged before that one was asked for",
    "reordered-elements": "an element was acknowledged before another one was asked for, yet came behind it",
    "removed-yet-there": "an element was there after its removal had been acknowledged",
    "impossible-number": "a counter told a number that no sum of additions gives",
    "dequeued-twice": "a value that was put in once was taken twice",
    "never-enqueued": "a value was taken that nobody ever put in",
    "refused-yet-dequeued": "a value was taken whose putting in had been refused",
    "dequeued-early": "a value was taken before its putting in began",
    "overtaken": "a value was taken before one that had been put in earlier",
    "lost-value": "a later value was taken, or nothing found, and an earlier one was never taken",
    "empty-while-inside": "nothing was found in a queue though something was in it all the while",
    "not-linearizable": "no order of the operations explains all answers",
    "read-your-writes": "a session read what was there before its own acknowledged write",
    "monotonic-reads": "a session read something older than it had read before",
    "monotonic-writes": "the writes of one session were seen in another order",
    "writes-follow-reads": "a write was seen before what its session had read when it wrote",
    "order-disagreement": "not all saw the changes in one order",
    "went-back": "an answer went back behind one that had been given before it",
    "stale-beyond-bound": "a value was read longer after it had been overwritten than was promised",
    "diverged": "after everything had ended, the answers differ",
    "lost-write": "an acknowledged write is not there at the end",
    "unexpected-value": "something is there at the end that nobody wrote",
    "resurrected": "something is there at the end that was refused or removed",
    "lost-increment": "the number is less than what had been acknowledged",
    "counted-twice": "the number is more than what had been asked for",
}
"""Each kind of violation and what it means, in half a sentence. Each monitor adds its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one monitor says of one history.

    Attributes:
        model: The monitor's name.
        verdict: FAIL with a violation; UNKNOWN when something was not decided or nothing was there to judge; else PASS.
        violations: For each kind its worst examples, at most `MOST` each, worst first.
        counts: How many violations of each kind were seen.
        undecided: Why something was not decided, a sentence each.
        operations: How many operations were judged: all but those that provably had no effect.
        reads: How many of them told what is there.
    """

    model: str
    verdict: Verdict
    violations: tuple[Violation, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    undecided: tuple[str, ...] = ()
    operations: int = 0
    reads: int = 0


MOST: Final = 3
"""Examples of a kind of violation that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much a search may do: ``steps`` are configurations looked at, for each key; ``over`` is asked now and then whether to give up."""

    steps: int = 2_000_000
    over: Callable[[], bool] = lambda: False


Monitor: TypeAlias = Callable[[Calls, Budget], Judged]


def judged(
    model: str, *, violations: list[Violation], undecided: list[str], operations: int, reads: int, counts: Mapping[str, int] | None = None
) -> Judged:
    """The judgement that follows: the violations sorted and cut, and the verdict. ``counts`` where not all violations were listed."""
    seen: dict[str, list[Violation]] = {}
    for violation in sorted(violations, key=lambda violation: -violation.size_ns):
        seen.setdefault(violation.kind, []).append(violation)
    doubts = list(undecided)
    if not reads and not violations:
        doubts.append("no read was answered, so nothing is known of what is there")
    verdict = Verdict.FAIL if violations else Verdict.UNKNOWN if doubts else Verdict.PASS
    return Judged(
        model=model,
        verdict=verdict,
        violations=tuple(violation for found in seen.values() for violation in found[:MOST]),
        counts=dict(counts) if counts is not None else {kind: len(found) for kind, found in seen.items()},
        undecided=tuple(doubts),
        operations=operations,
        reads=reads,
    )
