"""Events as JSON objects."""

from __future__ import annotations

import pytest

from harness.dialects.events import Meaning
from harness.dialects.jepsen_json import looks_like, read
from harness.dialects.source import Source
from harness.dialects.values import WrongHistoryError
from tests.dialects.told import told

WRITE = b'{"type":"invoke","f":"write","value":3,"process":0,"time":1}\n{"type":":ok","f":":write","value":3.0,"process":0,"time":2}\n'


def test_events_are_read_with_what_else_stands_in_them() -> None:
    nemesis = b'{"type":"info","f":"start","process":"nemesis","value":{"cut":["n1"]}}\n'
    data = (
        nemesis + WRITE + b'{"type":"invoke","f":"read","process":"c1","value":null}\n{"type":"ok","f":"read","process":"c1","value":3}\n'
    )
    assert told(read(Source(data=data), Meaning()).calls) == ["write 3 ok", "read -> 3 ok"]


def test_notes_of_nobody_are_let_be_and_times_have_several_names() -> None:
    data = b'{"type":"info","event":"phase","t_ns":5}\n{"type":"invoke","f":"write","value":3,"process":0,"t_ns":7}\n'
    calls = read(Source(data=data + b'{"type":"ok","f":"write","process":0,"time_ns":9}'), Meaning()).calls
    assert (calls.call_ns.tolist(), calls.ret_ns.tolist()) == ([7], [9])


def test_one_list_of_events_is_read_too() -> None:
    data = b"[" + WRITE.strip().replace(b"\n", b",\n") + b"]"
    assert told(read(Source(data=data), Meaning()).calls) == ["write 3 ok"]


def test_keys_stand_in_the_value_or_beside_it() -> None:
    within = b'{"type":"invoke","f":"write","value":["k",[1,2]],"process":0}'
    beside = b'{"type":"invoke","f":"write","value":[1,2],"key":"k","process":0}'
    assert told(read(Source(data=within), Meaning()).calls) == told(read(Source(data=beside), Meaning()).calls) == ["k write [1 2] info"]


def test_a_cas_that_failed_with_an_error_has_seen_nothing() -> None:
    data = b'{"type":"invoke","f":"cas","value":[1,2],"process":0}\n{"type":"fail","f":"cas","value":[1,2],"process":0%s}'
    looks = Meaning(failed_cas_looks=True)
    assert told(read(Source(data=data % b""), looks).calls) == ["cas 1 2 -> 0 ok"]
    assert told(read(Source(data=data % b',"error":"timeout"'), looks).calls) == ["cas 1 2 fail"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"type":"invoke","value":3,"process":0}', "the event has no f"),
        (b'{"type":"invoke","f":"read"}', "the event has no process"),
        (b'{"type":"invoke","f":"write","process":0}', "the write has no value"),
        (b'{"type":"begin","f":"read","process":0}', "its type is begin"),
        (b'{"type":"invoke","f":"read","process":0,"time":"now"}', "time: must be"),
        (b'{"type":"invoke","f":"read","process":0,"time":0.5}', "its time is 0.5"),
    ],
)
def test_what_is_no_event_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(WrongHistoryError) as wrong:
        read(Source(data=data), Meaning(model="register"))
    assert (wrong.value.line, says in str(wrong.value)) == (1, True), str(wrong.value)


def test_it_looks_like_an_object_with_a_type() -> None:
    assert looks_like('{"type": "invoke"}')
    assert looks_like(' [ { "f": "read", "type": "invoke"}')
    assert not looks_like('{"f": "write"}')
