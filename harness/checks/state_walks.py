"""Findings that need no workload: whether all replicas answer alike, and whether a session goes on at another replica."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from harness.checks.state_facts import StateFacts
from harness.checks.wording import count, listed, some
from harness.scenario import Visit, Workload
from harness.state_history import JourneyMade, SameAnswered
from harness.verdict import Finding, Verdict

CHECK: Final = "state"
DIFFERING_ANSWERS: Final = "differing_answers"
BROKEN_JOURNEYS: Final = "broken_journeys"

SAME_CAUSE: Final = "The replicas do not share what they answer from: each has a state, a cache or a file of its own."
SAME_CURE: Final = (
    "Keep what answers depend on in a backing service that all replicas share (factor VI); name what may differ, such as times, in mask."
)
JOURNEY_CURE: Final = (
    "Keep sessions, tokens and uploads in a backing service, or in a signed cookie, so that any replica can go on with them; "
    "sticky sessions only hide this until a replica dies (factor VI)."
)
MOST_LINES: Final = 6


def masked(body: str, request: Visit) -> str:
    """``body`` without what may differ."""
    for pattern in request.mask:
        body = re.sub(pattern, "…", body)
    return body


def alike(line: SameAnswered, request: Visit) -> tuple[object, ...]:
    """What must be the same of an answer."""
    return (line.status, line.headers, masked(line.body, request), line.digest, line.error)


def last_answers(facts: StateFacts, name: str) -> list[SameAnswered]:
    """What all replicas answered in the last round, which is the one that counts."""
    lines = [line for line in facts.ledger.same if line.workload == name]
    last = max((line.round for line in lines), default=0)
    return [line for line in lines if line.round == last]


def differing(facts: StateFacts, name: str, workload: Workload) -> list[tuple[int, list[SameAnswered]]]:
    """The requests to which the replicas' last answers differ, with one answer of each sort."""
    lines = last_answers(facts, name)
    found = []
    for index, request in enumerate(workload.requests):
        sorts: dict[tuple[object, ...], SameAnswered] = {}
        for line in lines:
            if line.request == index and not line.error:
                sorts.setdefault(alike(line, request), line)
        if len(sorts) > 1:
            found.append((index, list(sorts.values())))
    return found


def broken(lines: Sequence[JourneyMade]) -> list[JourneyMade]:
    """The first request of each journey that was not answered as it should, where another replica was asked than before."""
    first: dict[tuple[str, int], JourneyMade] = {}
    for line in lines:
        if not line.good:
            first.setdefault((line.workload, line.number), line)
    return [line for line in first.values() if line.before]


def walks(facts: StateFacts) -> Iterator[Finding]:
    """Findings about requests that all replicas must answer alike, and about journeys."""
    for name, workload in facts.facts.scenario.state.items():
        if workload.model == "same":
            yield from _same(facts, name, workload)
        elif workload.model == "journey":
            yield from _journeys(facts, name, workload)


def _same(facts: StateFacts, name: str, workload: Workload) -> Iterator[Finding]:
    lines = last_answers(facts, name)
    replicas = sorted({line.replica for line in lines if not line.error})
    failed = dict.fromkeys(f"{line.replica}: {line.error}" for line in lines if line.error)
    if failed or len(replicas) < 2:
        who = "no replica" if not replicas else f"only {listed(replicas)}"
        title = f"{name}: {who} could be asked" if len(replicas) < 2 else f"{name}: not all replicas could be asked"
        yield Finding(check=CHECK, name="replicas-not-asked", verdict=Verdict.UNKNOWN, title=title, evidence=some(list(failed)))
    found = differing(facts, name, workload)
    for index, answers in found:
        yield Finding(
            check=CHECK,
            name="replicas-differ",
            verdict=Verdict.FAIL,
            title=f"{name}: {workload.requests[index].name} is answered in {count(len(answers), 'different way')} by {listed(replicas)}",
            evidence=tuple(_difference(answers, workload.requests[index])),
            cause=SAME_CAUSE,
            cure=SAME_CURE,
            metric=DIFFERING_ANSWERS,
            count=len(answers),
        )
    if not found and len(replicas) > 1:
        title = f"{name}: {listed(replicas)} answer {count(len(workload.requests), 'request')} alike"
        yield Finding(check=CHECK, name="replicas-alike", verdict=Verdict.PASS, title=title, count=len(workload.requests))


def _difference(answers: list[SameAnswered], request: Visit) -> Iterator[str]:
    """What differs between the first two sorts of answers."""
    one, other = answers[:2]
    if one.status != other.status:
        yield f"status {one.status} at {one.replica}, {other.status} at {other.replica}"
    for (header, here), (_, there) in zip(one.headers, other.headers, strict=False):
        if here != there:
            yield f"{header}: {here} at {one.replica}, {there} at {other.replica}"
    here_lines, there_lines = masked(one.body, request).splitlines(), masked(other.body, request).splitlines()
    changed = list(difflib.unified_diff(here_lines, there_lines, one.replica, other.replica, n=0, lineterm=""))
    yield from changed[:MOST_LINES]


def _journeys(facts: StateFacts, name: str, workload: Workload) -> Iterator[Finding]:
    lines = [line for line in facts.ledger.journeys if line.workload == name]
    if not lines:
        title = f"{name}: no journey was made"
        yield Finding(check=CHECK, name="no-journey", verdict=Verdict.UNKNOWN, title=title)
        return
    journeys: dict[int, list[JourneyMade]] = defaultdict(list)
    for line in lines:
        journeys[line.number].append(line)
    lost = broken(lines)
    unfit = [line for line in lines if not line.good and not line.before]
    alone = [number for number, steps in journeys.items() if len({step.replica for step in steps}) < 2]
    if lost:
        yield Finding(
            check=CHECK,
            name="session-lost",
            verdict=Verdict.FAIL,
            title=f"{name}: {len(lost)} of {count(len(journeys), 'journey')} could not go on at another replica",
            evidence=some([_story(line, workload) for line in lost]),
            cause=_why(lost),
            cure=JOURNEY_CURE,
            metric=BROKEN_JOURNEYS,
            count=len(lost),
        )
    if unfit:
        title = f"{name}: {count(len(unfit), 'journey')} did not get beyond the first request, at the replica where it began"
        evidence = some([f"{line.replica}: {line.error or f'status {line.status}'}" for line in unfit])
        yield Finding(check=CHECK, name="journey-not-begun", verdict=Verdict.UNKNOWN, title=title, evidence=evidence)
    if len(alone) == len(journeys):
        title = f"{name}: every journey stayed at one replica, so nothing is known of others"
        yield Finding(check=CHECK, name="journey-at-one-replica", verdict=Verdict.UNKNOWN, title=title)
    if not lost and not unfit:
        title = f"{name}: {count(len(journeys), 'journey')} went on at another replica"
        yield Finding(check=CHECK, name="journeys-went-on", verdict=Verdict.PASS, title=title, count=len(journeys))


def _story(line: JourneyMade, workload: Workload) -> str:
    fault = {"kill": ", which had been killed by SIGKILL", "terminate": ", which had been terminated"}.get(line.fault, "")
    asked = workload.requests[line.request].name if line.request < len(workload.requests) else f"request {line.request + 1}"
    return f"journey {line.number}: begun at {line.before}{fault}; {asked} at {line.replica}: {line.error or f'status {line.status}'}"


def _why(lost: Sequence[JourneyMade]) -> str:
    if any(not line.fault for line in lost):
        return "The replica that was asked next did not know of a session that another one had begun, though that one was up."
    return "What the first replica knew of the session went with it."
