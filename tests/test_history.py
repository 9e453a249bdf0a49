"""The history on disk: what was written is read, what was torn is counted, and a killed writer loses nothing that it had written."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.history import (
    CODE,
    EVENTS_FILE,
    FORMAT,
    OPS_FILE,
    OUTCOMES,
    AnyLine,
    Close,
    Control,
    Event,
    EventWriter,
    Exited,
    Generator,
    Header,
    History,
    Invoke,
    LedgerWriter,
    LoadBegan,
    LoadEnded,
    Note,
    PhaseReached,
    Process,
    RunEnded,
    Signalled,
    Streamed,
    Survived,
    build,
    read,
)
from harness.line import Line
from harness.outcome import Outcome, Reached, of_op

HEADER = Header(
    format=FORMAT, run_id="r", harness="0.1.0", engine="fake", seed=1, scenario="{}", scenario_path="s.yaml", started_ns=5, wall_start=""
)

NS = st.integers(0, 2**62)
SMALL = st.integers(0, 6)
NAMES = st.sampled_from(["", "web.1", "web.2", "worker.1", "wörk.3\n\t\0"])
TEXT = st.text(max_size=20)
ATTEMPT_OUTCOMES = [
    Outcome.OK,
    Outcome.STALE,
    Outcome.REFUSED,
    Outcome.CLOSED,
    Outcome.TRUNCATED,
    Outcome.TIMEOUT,
    Outcome.REJECTED,
    Outcome.UNFINISHED,
]

INVOKES = st.builds(Invoke, op=SMALL, n=st.integers(0, 3), user=SMALL, request=SMALL, replica=NAMES, step=SMALL, at_ns=NS, due_ns=NS)
CLOSES = st.builds(
    Close,
    op=SMALL,
    n=st.integers(0, 3),
    outcome=st.sampled_from(ATTEMPT_OUTCOMES).map(lambda outcome: outcome.value),
    reached=st.sampled_from(Reached).map(int),
    last=st.booleans(),
    done_ns=NS,
    connected_ns=NS,
    sent_ns=NS,
    first_ns=NS,
    reused=st.booleans(),
    status=st.sampled_from([0, 200, 503]),
    tx=NS,
    rx=NS,
    port=SMALL,
    error=TEXT,
)
EVENTS = st.one_of(
    st.builds(Note, at_ns=NS, text=TEXT),
    st.builds(PhaseReached, at_ns=NS, replica=NAMES, phase=TEXT, backlog=SMALL),
    st.builds(Exited, at_ns=NS, replica=NAMES, status=SMALL, commanded=st.booleans(), log=st.lists(TEXT, max_size=3).map(tuple)),
    st.builds(
        Signalled, at_ns=NS, until_ns=NS, step=SMALL, replica=NAMES, signal=TEXT, purpose=TEXT, lag_s=st.floats(-9, 9), in_flight=SMALL
    ),
    st.builds(
        Survived,
        at_ns=NS,
        replica=NAMES,
        after_ns=NS,
        processes=st.lists(st.builds(Process, pid=SMALL, command=TEXT), max_size=2).map(tuple),
    ),
    st.builds(RunEnded, at_ns=NS, how=TEXT, why=TEXT),
    st.builds(LoadEnded, at_ns=NS, invoked=SMALL, closed=SMALL),
)
SAMPLES = st.one_of(
    st.builds(Control, at_ns=NS, done_ns=NS, ok=st.booleans()),
    st.builds(Streamed, op=SMALL, n=SMALL, at_ns=NS, opened_ns=NS, end=st.just("cut"), events=SMALL, last_id=SMALL, resumed=st.booleans()),
    st.builds(Generator, at_ns=NS, lag_ns=NS, cpu=st.floats(0, 1), late=SMALL, arrivals=SMALL),
)
LINES = st.lists(st.one_of(INVOKES, CLOSES, EVENTS, SAMPLES), max_size=30)


def columns(history: History) -> dict[str, list[object]]:
    """All columns of a history as lists, which compare."""
    both = {"attempts": history.attempts, "ops": history.ops}
    return {
        f"{what}.{name}": np.asarray(getattr(table, name)).tolist()
        for what, table in both.items()
        for name in table.__dataclass_fields__  # type: ignore[attr-defined]  # both are dataclasses
    }


def same(one: History, other: History) -> bool:
    """Everything in two histories is equal, but for the number of lines, which the writer counts."""
    plain = ("header", "controls", "generator", "streamed", "torn")
    events = [tuple(uncounted(event) for event in history.events) for history in (one, other)]
    return columns(one) == columns(other) and events[0] == events[1] and all(getattr(one, name) == getattr(other, name) for name in plain)


def uncounted(event: Event) -> Event:
    return msgspec.structs.replace(event, lines=-1) if isinstance(event, RunEnded) else event


def of_load(line: AnyLine) -> bool:
    """It is the load process that writes it, to the file that is read last."""
    return isinstance(line, Invoke | Close | Streamed | Control | Generator | LoadBegan | LoadEnded)


def written(folder: Path, lines: Sequence[AnyLine]) -> Path:
    """A run's folder as its two writers would leave it."""
    (folder / "history").mkdir(parents=True)
    events, ledger = EventWriter(folder / "history" / EVENTS_FILE), LedgerWriter(folder / "history" / OPS_FILE)
    for line in lines:
        (ledger if of_load(line) else events).append(line)
    events.close()
    ledger.close()
    return folder


# --- round trips --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=60)
@given(lines=LINES)
def test_what_was_written_is_read(lines: list[AnyLine], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = written(tmp_path_factory.mktemp("run"), [HEADER, *lines])
    told = build([HEADER, *sorted(lines, key=of_load)])  # of one instant, those of the harness come first
    assert same(read(folder), told)
    assert same(read(folder / "history"), told)


@pytest.mark.slow
@settings(max_examples=60)
@given(lines=LINES)
def test_one_file_holds_all_kinds_of_lines(lines: list[AnyLine], tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("run") / "pass--x.jsonl"
    file.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in [HEADER, *lines]))
    assert same(read(file), build([HEADER, *lines]))


@settings(max_examples=40)
@given(lines=st.lists(INVOKES, min_size=1, max_size=5), cut=st.integers(1, 10_000))
def test_a_torn_last_line_is_counted_and_the_others_are_read(
    lines: list[Invoke], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("run") / "torn.jsonl"
    whole = b"".join(msgspec.json.encode(line) + b"\n" for line in [HEADER, *lines[:-1]])
    last = msgspec.json.encode(lines[-1])
    file.write_bytes(whole + last[: 1 + cut % len(last)])
    history = read(file)
    assert history.torn == 1
    assert same(history, build([HEADER, *lines[:-1]], torn=1))


@settings(max_examples=40)
@given(lines=st.lists(CLOSES, max_size=4), torn=st.booleans(), nuls=st.integers(0, 5000))
def test_the_unused_rest_of_a_ledger_is_no_line(
    lines: list[Close],
    torn: bool,  # noqa: FBT001  drawn by hypothesis
    nuls: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    file = tmp_path_factory.mktemp("run") / "nul.jsonl"
    whole = b"".join(msgspec.json.encode(line) + b"\n" for line in [HEADER, *lines])
    file.write_bytes(whole + b'{"kind":"invo' * torn + b"\0" * nuls)
    assert same(read(file), build([HEADER, *lines], torn=int(torn)))


def test_a_line_that_is_damaged_in_the_middle_costs_that_line_alone(tmp_path: Path) -> None:
    file = tmp_path / "damaged.jsonl"
    notes = [Note(at_ns=1, text="a"), Note(at_ns=2, text="b")]
    good = [msgspec.json.encode(line) for line in [HEADER, *notes]]
    file.write_bytes(b"\n".join([good[0], good[1], b'{"kind":"note","at_ns":', b"\0\0\0\0", good[2]]) + b"\n")
    history = read(file)
    assert history.torn == 2
    assert history.events == tuple(notes)


# --- what is no history -------------------------------------------------------------------------------------------------------


def test_a_folder_without_a_history_is_refused_and_the_message_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no history here.*reports/latest"):
        read(tmp_path)


@pytest.mark.parametrize("headers", [0, 2])
def test_a_history_has_exactly_one_header(headers: int) -> None:
    with pytest.raises(UsageError, match=f"{headers} found"):
        build([HEADER] * headers)


def test_a_newer_format_is_refused() -> None:
    with pytest.raises(UsageError, match="update Jetable"):
        build([msgspec.structs.replace(HEADER, format=FORMAT + 1)])


def test_an_outcome_that_is_not_known_is_refused() -> None:
    invoke = Invoke(op=0, n=0, user=0, request=0, replica="web.1", step=0, at_ns=1, due_ns=1)
    with pytest.raises(UsageError, match="unknown outcomes evaporated"):
        build([HEADER, invoke, Close(op=0, n=0, outcome="evaporated", reached=0, last=True, done_ns=2)])


# --- columns ------------------------------------------------------------------------------------------------------------------


def slow_attempts(lines: Sequence[AnyLine]) -> list[tuple[object, ...]]:
    """Attempts as the columns should hold them, one by one."""
    ends = {(line.op, line.n): line for line in lines if isinstance(line, Close)}
    invokes = sorted((line for line in lines if isinstance(line, Invoke)), key=lambda line: (line.at_ns, line.op, line.n))
    rows: list[tuple[object, ...]] = []
    for line in invokes:
        end = ends.get((line.op, line.n))
        began = (line.op, line.n, line.user, line.request, line.replica, line.step, line.at_ns, line.due_ns)
        closed = (end.outcome, end.done_ns, end.sent_ns, end.reached, end.reused, end.last, end.error, end.tx) if end else ()
        rows.append(began + (closed or ("unfinished", 0, 0, 0, False, False, "", 0)) + (end is not None,))
    return rows


@pytest.mark.slow
@settings(max_examples=100)
@given(lines=st.lists(st.one_of(INVOKES, CLOSES), max_size=25))
def test_columns_hold_every_attempt_with_its_last_close(lines: list[AnyLine]) -> None:
    a = build([HEADER, *lines]).attempts
    rows = [
        (
            *(int(column[row]) for column in (a.op, a.n, a.user, a.request)),
            a.replicas[a.replica[row]],
            *(int(column[row]) for column in (a.step, a.invoke_ns, a.due_ns)),
            OUTCOMES[a.outcome[row]].value,
            *(int(column[row]) for column in (a.done_ns, a.sent_ns, a.reached)),
            bool(a.reused[row]),
            bool(a.last[row]),
            a.errors[a.error[row]],
            int(a.tx[row]),
            bool(a.closed[row]),
        )
        for row in range(len(a))
    ]
    # Two invokes of one attempt at one instant have no order of their own.
    assert sorted(rows, key=repr) == sorted(slow_attempts(lines), key=repr)
    assert [row[6] for row in rows] == sorted(row[6] for row in rows)


@pytest.mark.slow
@settings(max_examples=100)
@given(lines=st.lists(st.one_of(INVOKES, CLOSES), max_size=25, unique_by=lambda line: (type(line), line.op, line.n)))
def test_an_op_is_all_of_its_attempts(lines: list[AnyLine]) -> None:
    history = build([HEADER, *lines])
    attempts, ops = history.attempts, history.ops
    assert sorted(ops.op.tolist()) == sorted({line.op for line in lines if isinstance(line, Invoke)})
    assert ops.invoke_ns.tolist() == sorted(ops.invoke_ns.tolist())
    for row in range(len(ops)):
        mine = [index for index in range(len(attempts)) if attempts.op[index] == ops.op[row]]
        mine.sort(key=lambda index: int(attempts.n[index]))
        last = mine[-1]
        over = bool(attempts.closed[last] and attempts.last[last])
        assert (ops.first[row], ops.last[row], ops.attempts[row]) == (mine[0], last, len(mine))
        assert OUTCOMES[ops.outcome[row]] is of_op([OUTCOMES[attempts.outcome[index]] for index in mine], closed=over)
        assert ops.done_ns[row] == (attempts.done_ns[last] if over else 0)


@pytest.mark.parametrize("op", [0, 1, 2**40, 2**63 - 1])
def test_ops_may_have_any_number(op: int) -> None:
    invoke = Invoke(op=op, n=0, user=0, request=0, replica="web.1", step=0, at_ns=1, due_ns=1)
    other = msgspec.structs.replace(invoke, op=7)
    history = build([HEADER, invoke, other, Close(op=op, n=0, outcome="ok", reached=5, last=True, done_ns=2)])
    assert sorted(history.ops.op.tolist()) == sorted([op, 7])
    assert [OUTCOMES[code] for code in history.ops.outcome[history.ops.op == op]] == [Outcome.OK]
    assert [OUTCOMES[code] for code in history.ops.outcome[history.ops.op == 7]] == [Outcome.UNFINISHED]


def test_a_history_without_requests_has_empty_columns() -> None:
    history = build([HEADER])
    assert (len(history.attempts), len(history.ops), history.complete) == (0, 0, False)


def test_events_and_samples_are_in_the_order_of_their_instants() -> None:
    lines: list[AnyLine] = [HEADER]
    for at_ns in (5, 1, 3):
        lines += [Note(at_ns=at_ns, text=""), Control(at_ns=at_ns, done_ns=9, ok=True), Generator(at_ns=at_ns, lag_ns=0, cpu=0.0)]
    history = build(lines)
    assert [[line.at_ns for line in kind] for kind in (history.events, history.controls, history.generator)] == [[1, 3, 5]] * 3


def test_every_outcome_has_its_code() -> None:
    assert [OUTCOMES[CODE[outcome]] for outcome in Outcome] == list(Outcome)


# --- writers ------------------------------------------------------------------------------------------------------------------


def test_events_of_several_threads_never_mix(tmp_path: Path) -> None:
    file = tmp_path / EVENTS_FILE
    writer = EventWriter(file)
    writer.append(HEADER)

    def write(number: int) -> None:
        for index in range(100):
            writer.append(Note(at_ns=index, text=str(number) * 200))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    writer.close()
    writer.close()
    history = read(tmp_path)
    assert (len(history.events), history.torn) == (400, 0)


def test_a_ledger_grows_past_its_first_chunk_and_ends_without_a_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LedgerWriter, "CHUNK", 4096)
    file = tmp_path / "all.jsonl"
    ledger = LedgerWriter(file)
    ledger.append(HEADER)
    for number in range(300):
        ledger.append(Control(at_ns=number, done_ns=number, ok=True))
    ledger.append(Note(at_ns=1, text="x" * 10_000))
    ledger.close()
    ledger.close()
    assert b"\0" not in file.read_bytes()
    assert (len(read(file).controls), len(read(file).events)) == (300, 1)


def test_an_open_ledger_can_be_read_already(tmp_path: Path) -> None:
    file = tmp_path / "open.jsonl"
    ledger = LedgerWriter(file)
    ledger.append(HEADER)
    ledger.append(Note(at_ns=1, text="written"))
    assert file.stat().st_size == LedgerWriter.CHUNK
    assert [event.at_ns for event in read(file).events] == [1]
    assert read(file).torn == 0
    ledger.close()


KILLED = """
import sys
from pathlib import Path
from harness.history import EventWriter, LedgerWriter, Control, Note, Header
folder = Path(sys.argv[1])
events, ledger = EventWriter(folder / "events.jsonl"), LedgerWriter(folder / "ops.jsonl")
events.append(Header(format=1, run_id="r", harness="0", engine="fake", seed=1, scenario="{}", scenario_path="", started_ns=0,
                     wall_start=""))
for number in range(1_000_000):
    ledger.append(Control(at_ns=number, done_ns=number, ok=True))
    events.append(Note(at_ns=number, text=""))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


@pytest.mark.slow
@pytest.mark.live
def test_what_a_killed_writer_said_it_had_written_is_on_disk(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent)
    assert writer.stdout is not None
    told = -1
    with writer:
        while told < 200:
            line = writer.stdout.readline()
            assert line, "the writer ended before it was killed"
            told = int(line)
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
    told = int(rest[-1]) if rest else told
    history = read(tmp_path)
    assert [control.at_ns for control in history.controls[: told + 1]] == list(range(told + 1))
    assert [event.at_ns for event in history.events[: told + 1]] == list(range(told + 1))


def test_each_kind_of_line_has_a_name_of_its_own() -> None:
    def below(kind: type[Line]) -> list[type[Line]]:
        return [each for sub in kind.__subclasses__() for each in (sub, *below(sub))]

    names = [each.__struct_config__.tag for each in below(Line)]
    assert len(names) == len(set(names)) > 30
    assert all(each.__struct_config__.tag_field == "kind" for each in below(Line))
