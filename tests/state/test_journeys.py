"""Sessions that go on at another replica."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from harness.clock import Dice
from harness.state.asker import Asker, Place
from harness.state.journeys import MOST_PAIRS, NOBODY, Journeys, in_turns, pairs_of
from harness.state_history import JourneyMade
from tests.state.apps import CLOCK, App, Got, Lines, Says, app, said, workload

LOGIN: dict[str, object] = {
    "model": "journey",
    "requests": [
        {"POST /login": {"user": "{user}"}, "keep": {"token": "$.csrf"}},
        {"request": "GET /me", "expect": {"body_contains": "ada"}},
        {"POST /form": {"csrf": "{kept:token}"}, "headers": {"X-Token": "{kept:token}"}, "expect": {"status": 201}},
    ],
}


class Sessions:
    """The sessions of an app: shared by all replicas, or each replica's own, as in the memory of its process."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def answer(self, got: Got) -> Says:
        if got.path == "/login":
            cookie, token = f"s{len(self.known)}", f'to"ken-{len(self.known)}'
            self.known[cookie] = token
            return said({"csrf": token}, Set_Cookie=f"session={cookie}; Secure; HttpOnly; Path=/; Domain=app.example")
        session = got.headers.get("cookie", "").partition("session=")[2]
        if session not in self.known:
            return Says(status=401)
        if got.path == "/me":
            return said({"user": "ada"})
        good = json.loads(got.body)["csrf"] == got.headers["x-token"] == self.known[session]
        return Says(status=201 if good else 403)


def journeys(lines: Lines, *, asker: Callable[[], Asker] = lambda: Asker(CLOCK, timeout_s=5), **workloads: dict[str, object]) -> Journeys:
    made = {name: workload(**keys) for name, keys in workloads.items()}
    return Journeys(made, clock=CLOCK, dice=Dice(1), append=lines.append, asker=asker)


@contextmanager
def replicas(*answers: Callable[[Got], Says]) -> Iterator[list[App]]:
    with ExitStack() as running:
        yield [running.enter_context(app(answer, f"web.{number}")) for number, answer in enumerate(answers, 1)]


def in_turn(apps: Sequence[App]) -> Callable[[Place | None], Place | None]:
    return in_turns([each.place for each in apps])


def made(lines: Lines) -> list[tuple[int, int, str, str, str, bool, int, str]]:
    keys = ("number", "request", "replica", "before", "fault", "good", "status", "error")
    return [tuple(getattr(line, key) for key in keys) for line in lines.of(JourneyMade)]


def test_a_session_goes_on_with_its_cookies_and_with_what_it_keeps() -> None:
    lines, sessions = Lines(), Sessions()
    with replicas(sessions.answer, sessions.answer) as apps:
        assert journeys(lines, login=LOGIN).walk("login", in_turn(apps))
    assert made(lines) == [
        (1, 0, "web.1", "", "", True, 200, ""),
        (1, 1, "web.2", "web.1", "", True, 200, ""),
        (1, 2, "web.1", "web.2", "", True, 201, ""),
    ]
    assert {line.workload for line in lines.of(JourneyMade)} == {"login"}
    assert all(0 < line.at_ns <= line.done_ns for line in lines.of(JourneyMade))


def test_a_session_in_a_replica_s_own_memory_ends_at_the_next_one() -> None:
    lines = Lines()
    with replicas(Sessions().answer, Sessions().answer) as apps:
        assert not journeys(lines, login=LOGIN).walk("login", in_turn(apps))
        assert apps[1].paths == ["/me"]
    assert made(lines) == [(1, 0, "web.1", "", "", True, 200, ""), (1, 1, "web.2", "web.1", "", False, 401, "answered with 401")]


def test_what_happens_between_the_first_request_and_the_second_is_on_record() -> None:
    lines, sessions, told = Lines(), Sessions(), []
    with replicas(sessions.answer, sessions.answer) as apps:

        def kill() -> None:
            told.append(len(apps[0].asked))
            apps[0].stop()

        others = in_turn(apps[1:])
        walked = journeys(lines, login=LOGIN).walk(
            "login", lambda before: others(before) if before else apps[0].place, between=kill, fault="kill"
        )
    assert walked
    assert told == [1]
    assert [line[2:5] for line in made(lines)] == [("web.1", "", ""), ("web.2", "web.1", "kill"), ("web.2", "web.2", "")]


def test_what_is_between_is_done_also_when_the_first_answer_was_bad() -> None:
    lines, told = Lines(), []
    with replicas(lambda _got: Says(status=500)) as apps:
        assert not journeys(lines, login=LOGIN).walk("login", in_turn(apps), between=lambda: told.append("killed"), fault="kill")
    assert told == ["killed"]
    assert [line[5:] for line in made(lines)] == [(False, 500, "answered with 500")]


def test_with_one_replica_the_session_stays_where_it_is_and_the_record_says_so() -> None:
    lines = Lines()
    with replicas(Sessions().answer) as apps:
        assert journeys(lines, login=LOGIN).walk("login", in_turn(apps))
    assert {(line.replica, line.before) for line in lines.of(JourneyMade)} == {("web.1", ""), ("web.1", "web.1")}


def test_with_no_replica_nobody_is_asked_and_the_record_says_so() -> None:
    lines = Lines()
    assert not journeys(lines, login=LOGIN).walk("login", in_turns([]))
    assert made(lines) == [(1, 0, "", "", "", False, 0, NOBODY)]


def test_a_replica_that_is_gone_is_an_error() -> None:
    lines, sessions = Lines(), Sessions()
    with replicas(sessions.answer, sessions.answer) as apps:
        apps[1].stop()
        assert not journeys(lines, login=LOGIN).walk("login", in_turn(apps))
    assert made(lines)[-1] == (1, 1, "web.2", "web.1", "", False, 0, "ConnectionRefusedError")


@pytest.mark.parametrize(
    ("answer", "what"),
    [(said({}), "$.csrf"), (said({"csrf": None}), "$.csrf"), (Says(body=b"<html>"), "$.csrf")],
)
def test_what_can_not_be_kept_ends_the_journey(answer: Says, what: str) -> None:
    lines = Lines()
    with replicas(lambda _got: answer) as apps:
        assert not journeys(lines, login=LOGIN).walk("login", in_turn(apps))
    assert made(lines)[0][5:] == (False, 200, f"token can't be kept: {what} is not one value in the answer")


def test_a_redirect_after_a_login_is_a_good_answer_that_is_not_followed() -> None:
    lines = Lines()
    keys: dict[str, object] = {"model": "journey", "requests": ["POST /login", "GET /me"]}
    with app(lambda _got: said("foreign")) as foreign:
        there = (("Location", f"http://127.0.0.1:{foreign.port}/"), ("Set-Cookie", "a=1; Path=/"))
        with replicas(lambda got: Says(status=303, headers=there) if got.path == "/login" else said("me")) as apps:
            assert journeys(lines, login=keys).walk("login", in_turn(apps))
            assert [got.headers.get("cookie") for got in apps[0].asked] == [None, "a=1"]
        assert not foreign.asked


def test_cookies_of_the_scenario_s_own_stand_before_those_of_the_session() -> None:
    lines = Lines()
    keys: dict[str, object] = {"model": "journey", "requests": ["GET /a", {"request": "GET /b", "headers": {"Cookie": "own=1"}}]}
    with replicas(lambda _got: Says(headers=(("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")))) as apps:
        assert journeys(lines, login=keys).walk("login", in_turn(apps))
        assert apps[0].asked[1].headers["cookie"] == "own=1; a=1; b=2"


def test_journeys_are_counted_and_share_nothing() -> None:
    lines, sessions = Lines(), Sessions()
    with replicas(sessions.answer) as apps:
        walks = journeys(lines, login=LOGIN, other=LOGIN)
        for name in ("login", "other", "login"):
            assert walks.walk(name, in_turn(apps))
    assert walks.names == ("login", "other")
    assert {(line.workload, line.number) for line in lines.of(JourneyMade)} == {("login", 1), ("other", 1), ("login", 2)}
    assert len(sessions.known) == 3


def places(count: int) -> list[Place]:
    return [Place(name=f"web.{number}", host="h", port=number) for number in range(1, count + 1)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_pairs_are_all_of_them_both_ways(count: int) -> None:
    pairs = list(pairs_of(places(count)))
    assert len(pairs) == len(set(pairs)) == count * (count - 1)
    assert all(first != second for first, second in pairs)


def test_pairs_are_bounded_and_leave_no_replica_out_before_its_turn() -> None:
    pairs = list(pairs_of(places(15)))
    assert len(pairs) == MOST_PAIRS
    assert {first for first, _ in pairs} == {second for _, second in pairs} == set(places(15))


def test_turns_begin_again_and_who_is_gone_is_followed_by_the_first() -> None:
    one, two = places(2)
    after = in_turns([one, two])
    assert [after(None), after(one), after(two), after(places(3)[2])] == [one, two, one, one]
    assert in_turns([])(one) is None


def test_the_connection_of_a_journey_is_closed_whatever_happens() -> None:
    closed = []

    class Broken(Asker):
        def __init__(self) -> None:
            super().__init__(CLOCK, timeout_s=1)

        def ask(self, *_: Any) -> Any:
            raise OSError("the disk is full")

        def close(self) -> None:
            closed.append(1)

    with pytest.raises(OSError, match="the disk is full"):
        journeys(Lines(), asker=Broken, login=LOGIN).walk("login", in_turns(places(1)))
    assert closed == [1]
