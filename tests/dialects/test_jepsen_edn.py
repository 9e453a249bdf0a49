"""Jepsen's and Knossos' histories in EDN."""

from __future__ import annotations

import pytest

from harness.dialects.events import Meaning
from harness.dialects.jepsen_edn import looks_like, read
from harness.dialects.source import Source
from harness.dialects.values import WrongHistoryError
from tests.dialects.told import told

EVENTS = """{:type :invoke, :f :write, :value 3, :process 0, :time 10, :index 0}
{:type :info, :f :start, :process :nemesis, :value #{:n1}, :error #object[Foo 0x1 "x"], :index 1}
{:type :ok, :f :write, :value 3, :process 0, :time 20, :index 2}
{:type :invoke, :f :read, :value nil, :process 1, :time 30, :index 3}
{:type :ok, :f :read, :value 3, :process 1, :time 40, :index 4}
"""


@pytest.mark.parametrize(
    "written",
    [
        EVENTS,
        f"[{EVENTS}]",
        f"({EVENTS})",
        f"; how it came about\n{EVENTS}",
        EVENTS.replace("{:type", "#jepsen.history.Op{:type"),
        EVENTS.replace("{:type", "#knossos.op.Op {:type"),
        EVENTS.replace(",", ""),
        EVENTS.replace(", ", ",\n  "),
        EVENTS.replace(":index", ":at"),
        "\n\n".join(EVENTS.splitlines()),
    ],
)
def test_the_same_events_are_read_in_every_shape(written: str) -> None:
    assert looks_like(written)
    calls = read(Source(data=written.encode()), Meaning()).calls
    assert told(calls) == ["write 3 ok", "read -> 3 ok"]
    assert calls.call_ns.tolist() == [10, 30]


def test_keys_stand_in_the_value_or_beside_it() -> None:
    tuples = "{:type :invoke :f :cas :process 0 :value #jepsen.independent.Tuple [7 [1 2]]}"
    pairs = "{:type :invoke :f :cas :process 0 :value [7 [1 2]]}"
    beside = "{:type :invoke :f :cas :process 0 :key 7 :value [1 2]}"
    for written in (tuples, pairs, beside):
        assert told(read(Source(data=written.encode()), Meaning()).calls) == ["7 cas 1 2 info"]


def test_an_index_of_nothing_is_none() -> None:
    written = EVENTS.replace(":index 2", ":index -1").replace(":index 3", ":index nil")
    assert len(read(Source(data=written.encode()), Meaning()).calls) == 2


@pytest.mark.parametrize(
    ("written", "line", "says"),
    [
        ("{:type :invoke :f :read :process 0}\n3", 2, "3 is no event"),
        ("{:type :invoke :f :read}", 1, "has no :process"),
        ("{:type :invoke :process 0}", 1, "has no :f"),
        ("{:type :invoke :f :write :process 0}", 1, "the :write has no :value"),
        ("{:f :read :process 0}", 1, "has no :type"),
        ("{:type :done :f :read :process 0}", 1, "its type is :done"),
        ("{:type :invoke :f :read :process 0 :time 0.5}", 1, "its time is 0.5"),
        (EVENTS.replace(":index 3", ":index 1"), 4, "its :index 1 comes after 2; sort the events by :index"),
        (EVENTS[:-20], 5, "the map that begins here never ends"),
    ],
)
def test_what_is_no_event_is_refused_at_its_line(written: str, line: int, says: str) -> None:
    with pytest.raises(WrongHistoryError) as wrong:
        read(Source(data=written.encode()), Meaning(model="register"))
    assert (wrong.value.line, says in str(wrong.value)) == (line, True), str(wrong.value)


def test_it_does_not_look_like_json_or_a_log() -> None:
    assert not looks_like('{"type": "invoke"}')
    assert not looks_like("INFO  jepsen.util - 0\t:invoke\t:read\tnil")
