"""The lines that Jepsen logs."""

from __future__ import annotations

import pytest

from harness.dialects.events import Meaning
from harness.dialects.jepsen_log import looks_like, read
from harness.dialects.source import Source
from harness.dialects.values import WrongHistoryError
from tests.dialects.told import told

EVENTS = (
    "0\t:invoke\t:write\t3",
    ':nemesis\t:info\t:start\t"Cut off {:n3 #{:n4 :n2}}"',
    "0\t:ok\t:write\t3",
    "1\t:invoke\t:cas\t[3 4]",
    "1\t:info\t:cas\t:timed-out",
    "2\t:invoke\t:read\tnil",
    "2\t:ok\t:read\t3",
)


@pytest.mark.parametrize(
    "before",
    [
        "INFO  jepsen.util - ",
        "INFO [2016-12-13 12:00:00,123] jepsen worker 0 - jepsen.util ",
        "2021-06-01 12:00:00,123{GMT}\tINFO\t[jepsen worker 0] jepsen.util: ",
        "",
    ],
)
@pytest.mark.parametrize("gap", ["\t", "   "])
def test_the_same_events_are_read_whatever_stands_before_them(before: str, gap: str) -> None:
    log = "lein test x\nINFO  jepsen.core - Worker 2 starting\n" + "".join(f"{before}{line}\n".replace("\t", gap) for line in EVENTS)
    assert looks_like(log)
    assert told(read(Source(data=log.encode()), Meaning()).calls) == ["write 3 ok", "cas 3 4 info", "read -> 3 ok"]


def log_of(*lines: str) -> Source:
    return Source(data="".join(f"INFO  jepsen.util - {line}\n" for line in lines).encode())


def test_a_cas_that_failed_looks_unless_it_names_an_error() -> None:
    looks = Meaning(failed_cas_looks=True)
    ask = "0\t:invoke\t:cas\t[1 2]"
    assert told(read(log_of(ask, "0\t:fail\t:cas\t[1 2]"), looks).calls) == ["cas 1 2 -> 0 ok"]
    assert told(read(log_of(ask, "0\t:fail\t:cas\t:timed-out"), looks).calls) == ["cas 1 2 fail"]
    assert told(read(log_of(ask, "0\t:fail\t:cas\t[1 2]\t:timeout"), looks).calls) == ["cas 1 2 fail"]
    assert told(read(log_of(ask, "0\t:fail\t:cas\t#<java.Exception@12 x>"), looks).calls) == ["cas 1 2 fail"]


def test_windows_ends_of_lines_are_ends_of_lines() -> None:
    assert told(read(Source(data="\r\n".join(EVENTS).encode()), Meaning()).calls)[0] == "write 3 ok"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0\t:invoke\t:write\t[3", "its value [3 can't be read".replace("[3", '"[3"')),
        ("0\t:inv", "the line of an event is cut off"),
        ("0\t:", "the line of an event is cut off"),
        ("0\t:invoke\t", "the line of an event is cut off"),
        ("0\t:invoke\t:wri", "no operation"),
    ],
)
def test_a_line_of_an_event_that_can_not_be_read_is_refused(line: str, says: str) -> None:
    with pytest.raises(WrongHistoryError) as wrong:
        read(log_of(line), Meaning(model="register"))
    assert (wrong.value.line, says in str(wrong.value)) == (1, True), str(wrong.value)


def test_other_texts_do_not_look_like_it() -> None:
    assert not looks_like("{:type :invoke}")
    assert not looks_like("INFO jepsen.core - Worker 2 starting")
    assert not looks_like("")
