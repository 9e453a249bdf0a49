"""Written through one replica, and read through others."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from harness.clock import Dice
from harness.state.probes import FIRST_VALUE, Numbers, Probe
from harness.state_history import FAIL, INFO, OK, StateAnswered, StateAsked
from tests.state.apps import CLOCK, MARK, Got, Lines, Says, app, asker, said, workload
from tests.state.test_reader import COUNTER, LOG, REGISTER, SET

VALUE = f"{MARK}-{FIRST_VALUE + 1}"
KEY = f"{MARK}-items-probe-1"


def probe(lines: Lines, keys: dict[str, object], numbers: Numbers | None = None) -> Probe:
    return Probe("items", workload(**keys), mark=MARK, clock=CLOCK, dice=Dice(1), append=lines.append, numbers=numbers or Numbers())


def made(keys: dict[str, object], write: Says, read: Says) -> tuple[list[StateAsked], list[StateAnswered], list[Got]]:
    """What is on record of one write and one read, and what the replica was asked."""
    lines = Lines()

    def answer(got: Got) -> Says:
        return write if len(web.asked) == 1 else read

    with app(answer) as web, closing(asker()) as asks:
        one = probe(lines, keys)
        one.read(asks, web.place, one.write(asks, web.place))
        return lines.of(StateAsked), lines.of(StateAnswered), web.asked


@pytest.mark.parametrize(
    ("keys", "f", "path", "read", "told"),
    [
        (REGISTER, "write", f"/items/{KEY}", said({"name": VALUE}), {"result": VALUE}),
        (SET, "add", f"/set/{KEY}/{VALUE}", said({"items": [VALUE]}), {"items": (VALUE,)}),
        (LOG, "append", f"/log/{KEY}/{VALUE}", said({"entries": [VALUE]}), {"items": (VALUE,)}),
        (COUNTER, "add", f"/count/{KEY}", Says(body=b"count=1"), {"result": "1"}),
    ],
)
def test_a_fresh_value_goes_to_a_key_of_its_own_and_is_read(
    keys: dict[str, object], f: str, path: str, read: Says, told: dict[str, Any]
) -> None:
    asked, answered, got = made(keys, said({}), read)
    assert [(line.op, line.f, line.key, line.client, line.session) for line in asked] == [(-1, f, -1, -1, 0), (-2, "read", -1, -1, 0)]
    assert asked[0].value == VALUE
    assert [(line.op, line.ended, line.replica, line.there) for line in answered] == [(-1, OK, "web.1", False), (-2, OK, "web.1", True)]
    assert {"result": answered[1].result, "items": answered[1].items} == {"result": None, "items": None} | told
    assert got[0].path == path
    assert KEY in got[1].path
    assert all(before.at_ns <= after.at_ns for before, after in zip(asked, answered, strict=True))


@pytest.mark.parametrize(
    ("write", "ended", "error"),
    [
        (said({}), OK, ""),
        (said({}, 409), FAIL, "answered with 409"),
        (said({}, 500), INFO, "answered with 500"),
        (said({}, 404), INFO, "answered with 404"),
        (said({}, 303), INFO, "answered with 303; redirects are not followed"),
        (Says(body=b"abc", cut=1), INFO, "its body was cut off"),
    ],
)
def test_a_write_happened_or_surely_did_not_or_nobody_knows(write: Says, ended: str, error: str) -> None:
    _, answered, _ = made(REGISTER, write, Says(status=404))
    assert (answered[0].ended, answered[0].error) == (ended, error)
    assert (answered[1].ended, answered[1].result, answered[1].there) == (OK, None, True)


def test_nobody_there_surely_wrote_nothing_and_told_nothing() -> None:
    lines = Lines()
    with app(lambda _got: Says()) as web:
        pass
    with closing(asker()) as asks:
        one = probe(lines, REGISTER)
        one.read(asks, web.place, one.write(asks, web.place))
    assert [(line.ended, line.there) for line in lines.of(StateAnswered)] == [(FAIL, False), (INFO, False)]


def test_a_counter_that_answers_its_new_number_has_told_it() -> None:
    keys = COUNTER | {"add": {"request": "POST /count/{key}", "answer": "$.count"}}
    _, answered, _ = made(keys, said({"count": 4}), Says(body=b"count=4"))
    assert (answered[0].result, answered[0].there) == ("4", True)


@pytest.mark.parametrize(
    ("answer", "ended", "result", "there"),
    [
        (said({}), OK, "1", True),
        (Says(status=404), OK, None, True),
        (Says(status=500), INFO, None, False),
        (Says(status=302), INFO, None, False),
    ],
)
def test_a_set_without_a_read_is_asked_whether_the_element_is_there(answer: Says, ended: str, result: str | None, *, there: bool) -> None:
    keys = {key: value for key, value in SET.items() if key != "read"} | {"contains": {"request": "GET /set/{key}/{value}", "nothing": 404}}
    asked, answered, got = made(keys, said({}), answer)
    assert (asked[1].f, asked[1].value, got[1].path) == ("contains", VALUE, f"/set/{KEY}/{VALUE}")
    assert (answered[1].ended, answered[1].result, answered[1].there) == (ended, result, there)


def test_where_requests_name_no_key_there_is_only_the_first_one() -> None:
    keys = {"model": "set", "keys": 1, "add": "POST /set/{value}", "read": {"request": "GET /set", "answer": "$.items[*]"}}
    asked, _, got = made(keys, said({}), said({"items": ["x"]}))
    assert [line.key for line in asked] == [0, 0]
    assert [each.path for each in got] == [f"/set/{VALUE}", "/set"]


def test_each_probe_has_numbers_of_its_own() -> None:
    lines, numbers = Lines(), Numbers()
    with app(lambda _got: said({})) as web, closing(asker()) as asks:
        for each in (probe(lines, REGISTER, numbers), probe(lines, SET, numbers)):
            each.write(asks, web.place)
    asked = lines.of(StateAsked)
    assert [(line.op, line.key, line.client) for line in asked] == [(-1, -1, -1), (-2, -2, -2)]
    assert len({line.value for line in asked}) == 2
