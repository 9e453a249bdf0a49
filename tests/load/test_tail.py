"""What the end of a ledger says of a fault that has just been."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.history import Close, Generator, Invoke, LedgerWriter
from harness.load.tail import Demand, was_met
from harness.outcome import Reached

MS = 1_000_000
SIGNAL_NS = 1_000 * MS


def ledger(path: Path, *closes: Close, replica: str = "web.1", lag_ns: int = 0) -> Path:
    """A ledger whose writer still has it open."""
    writer = LedgerWriter(path / "ops.jsonl")
    for close in closes:
        writer.append(Invoke(op=close.op, n=0, user=1, request=0, replica=replica, step=1, at_ns=900 * MS, due_ns=900 * MS))
        writer.append(close)
    writer.append(Generator(at_ns=SIGNAL_NS + 200 * MS, lag_ns=lag_ns, cpu=0.1))
    return path / "ops.jsonl"


def attempt(*, sent: int = 0, first: int = 0, done: int, whole: bool = True, reused: bool = True, connected: int = 900) -> Close:
    reached = Reached.ANSWERED if whole else Reached.SENT
    return Close(
        op=1,
        n=0,
        outcome="ok" if whole else "closed-before-response",
        reached=reached,
        last=True,
        connected_ns=connected * MS,
        sent_ns=sent * MS,
        first_ns=first * MS,
        done_ns=done * MS,
        reused=reused,
    )


def demand(when: str, *, sudden: bool = False) -> Demand:
    return Demand(replica="web.1", when=when, at_ns=SIGNAL_NS, until_ns=SIGNAL_NS + MS, sudden=sudden)


@pytest.mark.parametrize(
    ("when", "sudden", "close", "met"),
    [
        ("in-flight", False, attempt(sent=950, first=1050, done=1060), True),
        ("in-flight", False, attempt(sent=950, first=999, done=1060), False),  # its answer had begun
        ("in-flight", False, attempt(sent=950, done=1060, whole=False), True),
        ("in-flight", False, attempt(sent=950, first=980, done=990), False),  # it was over
        ("in-flight", False, attempt(sent=1001, first=1050, done=1060), False),  # it came later
        ("in-flight", True, attempt(sent=950, first=1050, done=1060), False),  # a dead app answers nothing: it was answered before
        ("in-flight", True, attempt(sent=950, done=1060, whole=False), True),
        ("mid-response", False, attempt(sent=950, first=990, done=1060), True),
        ("mid-response", False, attempt(sent=950, first=1010, done=1060), False),
        ("just-accepted", False, attempt(connected=990, sent=1010, first=1020, done=1060, reused=False), True),
        ("just-accepted", False, attempt(connected=990, sent=1010, first=1020, done=1060, reused=True), False),
        ("just-accepted", False, attempt(connected=990, sent=995, first=1020, done=1060, reused=False), False),
        ("just-accepted", False, attempt(connected=990, done=1060, whole=False, reused=False), True),
        ("idle", False, attempt(sent=950, first=1050, done=1060), False),
        ("idle", False, attempt(sent=950, first=980, done=990), True),
    ],
)
def test_the_victim_was_as_demanded_by_the_instants_in_the_ledger(
    tmp_path: Path, *, when: str, sudden: bool, close: Close, met: bool
) -> None:
    assert was_met(ledger(tmp_path, close), demand(when, sudden=sudden)) is met


def test_an_answer_that_the_load_may_have_read_late_was_over_by_then(tmp_path: Path) -> None:
    assert was_met(ledger(tmp_path, attempt(sent=950, first=990, done=1030)), demand("mid-response"))
    late = tmp_path / "late"
    late.mkdir()
    assert not was_met(ledger(late, attempt(sent=950, first=990, done=1030), lag_ns=40 * MS), demand("mid-response"))


def test_other_replicas_prove_nothing(tmp_path: Path) -> None:
    assert not was_met(ledger(tmp_path, attempt(sent=950, first=1050, done=1060), replica="web.2"), demand("in-flight"))


def test_only_the_end_of_a_long_ledger_is_read(tmp_path: Path) -> None:
    early = [attempt(sent=950, first=1050, done=1060)]
    filler = [Close(op=op, n=0, outcome="ok", reached=Reached.ANSWERED, last=True, done_ns=2_000 * MS) for op in range(2, 60_000)]
    assert not was_met(ledger(tmp_path, *early, *filler), demand("in-flight"))


def test_an_attempt_without_an_end_leaves_it_open(tmp_path: Path) -> None:
    path = ledger(tmp_path, attempt(sent=950, first=980, done=990))
    writer = LedgerWriter(tmp_path / "more.jsonl")
    writer.append(Invoke(op=7, n=0, user=1, request=0, replica="web.1", step=1, at_ns=950 * MS, due_ns=950 * MS))
    both = tmp_path / "both.jsonl"
    both.write_bytes(path.read_bytes().rstrip(b"\0") + (tmp_path / "more.jsonl").read_bytes().rstrip(b"\0"))
    assert was_met(path, demand("in-flight")) is False
    assert was_met(both, demand("in-flight")) is None
    assert was_met(both, demand("idle")) is None
    writer.close()
