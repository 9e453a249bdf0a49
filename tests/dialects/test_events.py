"""Events become operations: which belong together, and what nil, fail and info mean."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from harness.dialects.edn import one_line
from harness.dialects.events import Event, Meaning, kind_of, time_of, told_by
from harness.dialects.values import OfKey, WrongHistoryError
from harness.monitors.calls import NEVER, Calls
from tests.dialects.told import told


def events(written: str) -> Iterator[Event]:
    """Events from lines such as ``0 invoke write 3``; ``@7`` before one is its time, ``!`` behind it names an error."""
    for number, line in enumerate(written.strip().splitlines(), start=1):
        words = line.split(None, 4 if line.strip().startswith("@") else 3)
        time_ns = int(words.pop(0)[1:]) if words[0].startswith("@") else None
        process, kind, f, *value = words
        text = value[0] if value else "nil"
        excused = text.endswith("!")
        yield Event(number, kind_of(kind, number), f, one_line(text.rstrip("!") or "nil")[0], process, time_ns, excused)


def calls_of(written: str, model: str | None = None, **how: object) -> Calls:
    return told_by(events(written), Meaning(model=model, **how)).calls  # type: ignore[arg-type]  # the options of the test


@pytest.mark.parametrize(
    ("written", "rows"),
    [
        ("0 invoke write 3\n0 ok write 3", ["write 3 ok"]),
        ("0 invoke write 3\n0 ok write nil", ["write 3 ok"]),
        ("0 invoke write 3\n0 fail write 3", ["write 3 fail"]),
        ("0 invoke write 3\n0 info write :timed-out", ["write 3 info"]),
        ("0 invoke write 3", ["write 3 info"]),
        ("0 invoke write nil\n0 ok write nil", ["write nil ok"]),
        ("0 invoke write 3\n1 invoke read\n1 ok read nil", ["write 3 info", "read -> nil ok"]),
        ("0 invoke write 3\n1 invoke read\n1 ok read 3", ["write 3 info", "read -> 3 ok"]),
        ("0 invoke write 3\n1 invoke read 3\n1 fail read 3", ["write 3 info"]),
        ("0 invoke write 3\n1 invoke read\n1 fail read :timed-out", ["write 3 info"]),
        ("0 invoke write 3\n1 invoke read\n1 info read 3", ["write 3 info", "read info"]),
        ("0 invoke cas [1 2]\n0 ok cas [1 2]", ["cas 1 2 ok"]),
        ("0 invoke cas [1 2]\n0 ok cas nil", ["cas 1 2 ok"]),
        ("0 invoke cas [1 2]\n0 fail cas [1 2]", ["cas 1 2 fail"]),
        ("0 invoke cas [nil 2]\n0 info cas [nil 2]", ["cas nil 2 info"]),
        ("0 invoke enqueue 1\n0 ok enqueue 1\n0 invoke dequeue\n0 ok dequeue 1", ["enqueue 1 ok", "dequeue -> 1 ok"]),
        ("0 invoke enqueue 1\n0 invoke dequeue\n0 ok dequeue nil", ["enqueue 1 info", "dequeue -> nil ok"]),
        ("0 invoke enqueue 1\n0 fail enqueue 1\n0 invoke dequeue\n0 fail dequeue nil", ["enqueue 1 fail"]),
        ("0 invoke enqueue 1\n0 ok enqueue\n0 invoke dequeue\n0 info dequeue nil", ["enqueue 1 ok", "dequeue info"]),
        (
            "0 invoke enqueue 1\n0 ok enqueue\n0 invoke enqueue 2\n0 ok enqueue\n0 invoke drain\n0 ok drain [1 2]",
            ["enqueue 1 ok", "enqueue 2 ok", "dequeue -> 1 ok", "dequeue -> 2 ok"],
        ),
        ("0 invoke enqueue 1\n0 ok enqueue\n0 invoke drain\n0 ok drain nil", ["enqueue 1 ok"]),
        ("0 invoke enqueue 1\n0 ok enqueue\n0 invoke drain\n0 fail drain nil", ["enqueue 1 ok"]),
        (
            "0 invoke enqueue 1\n0 ok enqueue\n0 invoke enqueue 2\n1 invoke dequeue\n1 ok dequeue 1\n2 invoke drain",
            ["enqueue 1 ok", "enqueue 2 info", "dequeue -> 1 ok", "dequeue info"],
        ),
        ("0 invoke add 1\n0 ok add 1\n0 invoke read\n0 ok read #{1 2}", ["add 1 ok", "read -> [1 2] ok"]),
        ("0 invoke add 1\n0 ok add 1\n0 invoke read\n0 ok read [1]", ["add 1 ok", "read -> [1] ok"]),
        ("0 invoke add -5\n0 ok add -5\n0 invoke read\n0 ok read 3", ["add -5 ok", "read -> 3 ok"]),
        (
            "0 invoke increment\n0 ok increment\n0 invoke decrement 2\n0 fail decrement 2\n0 invoke read\n0 ok read 0",
            ["add 1 ok", "add -2 fail", "read -> 0 ok"],
        ),
        ("0 invoke append x\n0 ok append x\n0 invoke read\n0 ok read nil", ["append 'x ok", "read -> [] ok"]),
        ("0 invoke acquire\n0 ok acquire\n0 invoke release\n0 info release", ["cas nil held ok", "cas held nil info"]),
        ("0 invoke acquire\n0 fail acquire :held!\n0 invoke release\n0 ok release", ["cas held nil ok"]),
    ],
)
def test_what_each_completion_says_of_each_operation(written: str, rows: list[str]) -> None:
    assert told(calls_of(written)) == rows


def test_a_read_of_nil_may_tell_nothing() -> None:
    written = "0 invoke write 3\n1 invoke read\n1 ok read nil"
    assert told(calls_of(written, nil_tells=False)) == ["write 3 info", "read ok"]


def test_a_cas_that_failed_may_have_seen_another_value_unless_it_names_an_error() -> None:
    written = "0 invoke cas [1 2]\n0 fail cas {}\n0 invoke write 3"
    looked = ["cas 1 2 -> 0 ok", "write 3 info"]
    nothing = ["cas 1 2 fail", "write 3 info"]
    assert told(calls_of(written.format("[1 2]"), failed_cas_looks=True)) == looked
    assert told(calls_of(written.format("nil"), failed_cas_looks=True)) == looked
    assert told(calls_of(written.format(":timed-out"), failed_cas_looks=True)) == nothing
    assert told(calls_of(written.format("[1 2]!"), failed_cas_looks=True)) == nothing
    assert told(calls_of(written.format("[1 2]"))) == nothing


def test_a_process_that_goes_on_after_it_crashed_is_a_new_session() -> None:
    calls = calls_of("0 invoke write 1\n0 info write 1\n0 invoke write 2\n0 invoke write 3\n0 ok write 3")
    assert [calls.sessions[number] for number in calls.session] == ["0", "0#2", "0#3"]


def test_the_order_of_lines_is_that_of_time() -> None:
    calls = calls_of("@10 0 invoke write 1\n@10 1 invoke read\n@10 0 ok write 1\n@10 1 ok read 1\n@20 1 invoke read\n@30 1 ok read 1")
    assert calls.call_ns.tolist() == [10, 11, 20]
    assert calls.ret_ns.tolist() == [12, 13, 30]


def test_times_that_run_back_a_little_are_said_and_those_that_run_back_much_are_refused() -> None:
    little = told_by(events("@100 0 invoke write 1\n@90 1 invoke read\n@95 1 ok read 1\n@200 0 ok write 1"), Meaning())
    assert little.notes == ("times run back from line 2 on, by less than a second; the order of the lines decides",)
    instants = sorted([*little.calls.call_ns.tolist(), *little.calls.ret_ns.tolist()])
    assert all(earlier < later for earlier, later in pairwise(instants))
    with pytest.raises(WrongHistoryError, match="its time is 2 s before that of a line above; sort the lines by time"):
        calls_of("@2000000100 0 invoke write 1\n@100 1 invoke read")


def test_a_history_without_times_says_so() -> None:
    assert "no times" in told_by(events("0 invoke write 1"), Meaning()).notes[0]


def test_values_that_all_are_pairs_are_of_keys() -> None:
    calls = calls_of(
        "0 invoke write [x 1]\n0 ok write [x 1]\n0 invoke cas [y [1 2]]\n0 ok cas [y [1 2]]\n0 invoke read [x nil]\n0 ok read [x 1]"
    )
    assert told(calls) == ["'x write 1 ok", "'y cas 1 2 ok", "'x read -> 1 ok"]


@pytest.mark.parametrize(
    ("written", "rows"),
    [
        ("0 invoke cas [1 2]\n0 ok cas [1 2]", ["cas 1 2 ok"]),
        ("0 invoke write [1 2]\n0 ok write [1 2]\n0 invoke read\n0 ok read [1 2]", ["write [1 2] ok", "read -> [1 2] ok"]),
        ("0 invoke add [1 2]\n0 ok add [1 2]\n0 invoke read\n0 ok read #{[1 2]}", ["add [1 2] ok", "read -> [[1 2]] ok"]),
        ("0 invoke add [k 2]\n0 ok add [k 2]\n0 invoke read [k nil]\n0 ok read [k #{2}]", ["'k add 2 ok", "'k read -> [2] ok"]),
        ("0 invoke add [k 2]\n0 ok add [k 2]\n0 invoke read [k nil]\n0 ok read [k 2]", ["'k add 2 ok", "'k read -> 2 ok"]),
    ],
)
def test_a_plain_invocation_tells_that_pairs_are_values(written: str, rows: list[str]) -> None:
    model = "counter" if rows[-1].endswith("-> 2 ok") else None
    assert told(calls_of(written, model)) == rows


def test_a_tag_or_the_option_tells_that_values_are_of_keys() -> None:
    tagged = [Event(1, "invoke", "write", OfKey(key="k", value=1), "0"), Event(2, "ok", "write", OfKey(key="k", value=1), "0")]
    assert told(told_by(tagged, Meaning()).calls) == ["k write 1 ok"]
    written = "0 invoke write [k 1]\n0 ok write [k 1]"
    assert told(calls_of(written, "register", keyed=False)) == ["write ['k 1] ok"]
    assert told(calls_of("0 invoke read [k 1]\n0 ok read [k 1]", "register", keyed=True)) == ["'k read -> 1 ok"]


@pytest.mark.parametrize(
    ("written", "model", "line", "says"),
    [
        ("0 ok write 3", "register", 1, "process 0 completes :write that it never invoked"),
        ("0 invoke write 3\n0 ok write 3\n0 ok write 3", "register", 3, "never invoked"),
        ("0 invoke write 3\n0 ok read 3", "register", 2, "completes :read, but had invoked :write on line 1"),
        ("0 invoke write 3\n0 ok write 4", "register", 2, "was invoked with 3 on line 1 and completed with 4"),
        ("0 invoke txn 3\n0 ok txn 3", "register", 1, "no operation"),
        ("0 info write 3", "register", 1, "never invoked"),
        ("0 invoke cas 3\n0 ok cas 3", "register", 1, "a cas needs the old and the new value, not 3"),
        ("0 invoke cas [1 2 3]\n0 ok cas [1 2 3]", "register", 1, "a cas needs the old and the new value"),
        ("0 invoke add 1\n0 ok add 1\n0 invoke read\n0 ok read 3", "set", 3, "must answer a collection of elements, not 3"),
        ("0 invoke add a\n0 ok add a", "counter", 1, "no number that a counter can hold"),
        ("0 invoke add nil\n0 ok add nil", "counter", 1, "needs the number to add"),
        ("0 invoke add nil\n0 ok add nil", "set", 1, ":add needs a value"),
        ("0 invoke enqueue\n0 ok enqueue", "queue", 1, ":enqueue needs a value"),
        ("0 invoke drain\n0 ok drain 3", "queue", 1, ":drain must answer a collection"),
        ("0 invoke contains 1\n0 ok contains 1", "set", 1, "events have no place for what contains asks"),
        ("0 invoke write [x 1]\n0 ok write [y 1]", "register", 2, "it completes :write of key 'y, which line 1 invoked for 'x"),
        ("0 invoke read [x nil]\n0 ok read 1", "register", 2, "is no pair of a key and a value"),
    ],
)
def test_events_that_contradict_each_other_are_refused_at_their_line(written: str, model: str, line: int, says: str) -> None:
    with pytest.raises(WrongHistoryError) as wrong:
        calls_of(written, model)
    assert (wrong.value.line, says in str(wrong.value)) == (line, True), str(wrong.value)


def test_notes_of_the_test_are_let_be_and_nothing_at_all_is_refused() -> None:
    assert told(calls_of("0 invoke write 3\n0 ok write 3\n9 info start", "register")) == ["write 3 ok"]
    with pytest.raises(WrongHistoryError, match="no operation of a client"):
        told_by([], Meaning())


def test_kinds_and_times_are_read_strictly() -> None:
    assert [kind_of(written, 1) for written in ("ok", ":ok")] == ["ok", "ok"]
    with pytest.raises(WrongHistoryError, match="its type is done"):
        kind_of("done", 1)
    assert [time_of(written, 1) for written in (None, 3, 3.0)] == [None, 3, 3]
    for wrong in ("3", 3.5, 1 << 62):
        with pytest.raises(WrongHistoryError, match="whole number of nanoseconds"):
            time_of(wrong, 1)


def test_operations_come_in_the_order_of_their_calls() -> None:
    calls = calls_of("0 invoke write 1\n1 invoke write 2\n1 ok write 2\n0 ok write 1")
    assert calls.place.tolist() == [1, 2]
    assert (calls.ret_ns < NEVER).all()
