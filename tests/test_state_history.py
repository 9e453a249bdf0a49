"""What was asked of state, on disk: every line is read as it was written, and a folder's files make one ledger in the order of time."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.history import EVENTS_FILE, FORMAT, OPS_FILE, AnyLine, Close, EventWriter, Header, Invoke, LedgerWriter, build, read
from harness.line import Line
from harness.outcome import Reached
from harness.state_history import (
    ENDINGS,
    FAIL,
    INFO,
    OK,
    STATE_FILE,
    STORE,
    JourneyMade,
    SameAnswered,
    StateAnswered,
    StateAsked,
    StateLedger,
    StateLine,
    StateRead,
    key_text,
    state_ledger,
    value_text,
)

HEADER = Header(
    format=FORMAT, run_id="r", harness="0.1.0", engine="fake", seed=1, scenario="{}", scenario_path="s.yaml", started_ns=5, wall_start=""
)
NS = st.integers(0, 2**62)
SMALL = st.integers(-3, 6)
TEXT = st.text(max_size=12)
MAYBE = st.none() | TEXT
ITEMS = st.none() | st.lists(TEXT, max_size=4).map(tuple)
NAMES = st.sampled_from([STORE, "web.1", "wörk.3\n\t\0"])

LINES: st.SearchStrategy[StateLine] = st.one_of(
    st.builds(StateAsked, op=SMALL, at_ns=NS, workload=TEXT, f=TEXT, key=SMALL, client=SMALL, session=SMALL, value=TEXT, old=TEXT),
    st.builds(
        StateAnswered,
        op=SMALL,
        at_ns=NS,
        ended=st.sampled_from(ENDINGS),
        replica=NAMES,
        result=MAYBE,
        items=ITEMS,
        there=st.booleans(),
        error=TEXT,
        attempts=SMALL,
    ),
    st.builds(StateRead, workload=TEXT, key=SMALL, replica=NAMES, round=SMALL, at_ns=NS, done_ns=NS, result=MAYBE, items=ITEMS, error=TEXT),
    st.builds(
        SameAnswered,
        workload=TEXT,
        request=SMALL,
        replica=NAMES,
        round=SMALL,
        at_ns=NS,
        done_ns=NS,
        status=SMALL,
        headers=st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple),
        body=TEXT,
        error=TEXT,
    ),
    st.builds(
        JourneyMade,
        workload=TEXT,
        number=SMALL,
        request=SMALL,
        replica=NAMES,
        at_ns=NS,
        done_ns=NS,
        before=NAMES,
        fault=TEXT,
        good=st.booleans(),
        status=SMALL,
        error=TEXT,
    ),
)

ASKED = StateAsked(op=7, at_ns=100, workload="stock", f="cas", key=3, client=2, session=1, value="r-17", old="r-16")
ANSWERED = StateAnswered(op=7, at_ns=105, ended=OK, replica="web.1", attempts=2)
READ = StateRead(workload="stock", key=3, replica=STORE, round=1, at_ns=200, done_ns=201, result="r-17")
SAME = SameAnswered(
    workload="pages", request=0, replica="web.1", round=1, at_ns=210, done_ns=211, status=200, headers=(("etag", "x"),), body="a"
)
JOURNEY = JourneyMade(
    workload="login", number=1, request=1, replica="web.2", at_ns=150, done_ns=151, before="web.1", fault="kill", good=True
)


def of(ledger: StateLedger) -> list[StateLine]:
    return [*ledger.asked, *ledger.answered, *ledger.reads, *ledger.same, *ledger.journeys]


@settings(max_examples=60)
@given(LINES)
def test_every_line_is_read_as_it_was_written(line: StateLine) -> None:
    decoder: msgspec.json.Decoder[AnyLine] = msgspec.json.Decoder(AnyLine)
    assert decoder.decode(msgspec.json.encode(line)) == line


@settings(max_examples=30)
@given(st.lists(LINES, max_size=8))
def test_a_ledger_has_all_lines_once_each_sort_in_the_order_of_time(lines: list[StateLine]) -> None:
    ledger = state_ledger(lines)
    assert sorted(map(repr, of(ledger))) == sorted(map(repr, lines))
    for lines_of_a_sort in (ledger.asked, ledger.answered, ledger.reads, ledger.same, ledger.journeys):
        instants = [line.at_ns for line in lines_of_a_sort]
        assert instants == sorted(instants)


def test_a_folder_with_operations_and_with_reads_at_the_end_is_one_history(tmp_path: Path) -> None:
    folder = tmp_path / "history"
    folder.mkdir()
    with closing(EventWriter(folder / EVENTS_FILE)) as events:
        events.append(HEADER)
    with closing(LedgerWriter(folder / OPS_FILE)) as ops:
        for line in (ASKED, _invoke(), _close(), ANSWERED):
            ops.append(line)
    with closing(EventWriter(folder / STATE_FILE)) as state:
        for line in (SAME, READ, JOURNEY):
            state.append(line)
    history = read(tmp_path)
    assert history.state == StateLedger(asked=(ASKED,), answered=(ANSWERED,), reads=(READ,), same=(SAME,), journeys=(JOURNEY,))
    assert (len(history.ops), history.torn, history.events) == (1, 0, ())


def _invoke() -> Invoke:
    return Invoke(op=7, n=0, user=1, request=0, replica="web.1", step=1, at_ns=101, due_ns=101)


def _close() -> Close:
    return Close(op=7, n=0, outcome="ok", reached=Reached.ANSWERED, last=True, done_ns=104)


def test_a_run_without_state_has_an_empty_ledger() -> None:
    assert build([HEADER]).state == StateLedger()


def test_a_line_of_state_that_was_torn_is_counted_and_the_others_are_read(tmp_path: Path) -> None:
    lines = [msgspec.json.encode(line) + b"\n" for line in (HEADER, READ, SAME)]
    (tmp_path / "one.jsonl").write_bytes(b"".join(lines)[:-5])
    history = read(tmp_path / "one.jsonl")
    assert (history.state.reads, history.state.same, history.torn) == ((READ,), (), 1)


def test_what_is_not_said_is_not_written() -> None:
    assert msgspec.json.decode(msgspec.json.encode(StateAnswered(op=1, at_ns=2, ended=INFO)))["ended"] == "info"
    assert isinstance(READ, Line)


@pytest.mark.parametrize(("text", "written"), [(key_text("2fecf0", "items", 3), "2fecf0-items-3"), (value_text("2fecf0", 17), "2fecf0-17")])
def test_keys_and_values_carry_the_mark_of_the_run(text: str, written: str) -> None:
    assert text == written


def test_an_operation_ends_in_one_of_three_ways() -> None:
    assert ENDINGS == (OK, FAIL, INFO)
