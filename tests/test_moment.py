"""The moment of a fault: when it is there, how long it is awaited, and that nothing stays held back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from harness.clock import NS_PER_S, FakeClock
from harness.errors import StoppedError
from harness.load.fake import FakeLoad
from harness.moment import ON_THE_WAY_S, PATIENT_NS, Moment


class Users:
    """A fake load on one replica, ``web.1``, and the clock of both."""

    def __init__(self, rate_per_s: float, answer_s: float, *, published: bool = True) -> None:
        self.clock = FakeClock()
        self.load = FakeLoad(clock=self.clock, append=lambda _line: None, rate_per_s=rate_per_s, answer_s=answer_s, requests=1)
        self.load.start()
        if published:
            self.load.publish("web.1", "127.0.0.1", 1)
        self.began_ns = self.clock.now_ns()

    def moment(self, when: str, within_s: float = 2.0, is_gone: Callable[[], bool] = lambda: False) -> Moment:
        return Moment(cast("Any", self), "web.1", when=when, within_s=within_s, is_gone=is_gone)

    @property
    def waited_s(self) -> float:
        return (self.clock.now_ns() - self.began_ns) / NS_PER_S


def test_in_flight_is_when_a_request_awaits_its_answer() -> None:
    users = Users(rate_per_s=10, answer_s=0.09)
    with users.moment("in-flight") as moment:
        moment.wait()
        assert moment.is_now
        assert moment.requests == users.load.in_flight("web.1") == 1


def test_mid_response_is_when_an_answer_has_begun_and_is_not_over() -> None:
    users = Users(rate_per_s=10, answer_s=0.08)
    with users.moment("mid-response") as moment:
        moment.wait()
        assert moment.is_now
        assert (moment.requests, users.load.answering("web.1"), users.load.in_flight("web.1")) == (1, 1, 0)


def test_just_accepted_is_when_the_load_holds_a_request_on_its_connection() -> None:
    users = Users(rate_per_s=10, answer_s=0.08)
    assert users.load.held("web.1") == 0
    with users.moment("just-accepted") as moment:
        moment.wait()
        assert moment.is_now
        assert moment.requests == users.load.held("web.1") == 1
    assert users.load.held("web.1") == 0


@pytest.mark.parametrize("error", [StoppedError("stopped"), KeyboardInterrupt()])
def test_what_is_held_back_goes_on_whatever_happens(error: BaseException) -> None:
    users = Users(rate_per_s=10, answer_s=0.08)
    moment = users.moment("just-accepted")

    def interrupted() -> None:
        with moment:
            moment.wait()
            raise error

    with pytest.raises(type(error)):
        interrupted()
    users.clock.sleep(0.5)
    assert users.load.held("web.1") == 0


def test_nothing_is_held_back_for_other_moments() -> None:
    users = Users(rate_per_s=10, answer_s=0.08)
    for when in ("any", "in-flight", "mid-response", "idle"):
        with users.moment(when) as moment:
            moment.wait()
            users.clock.sleep(0.2)
            assert users.load.held("web.1") == 0


def test_idle_is_when_nothing_at_all_is_under_way() -> None:
    users = Users(rate_per_s=100, answer_s=0.1)
    users.clock.sleep(1)
    users.load.withdraw("web.1")
    with users.moment("idle") as moment:
        assert not moment.is_now
        moment.wait()
        assert moment.is_now
        assert moment.requests == users.load.in_flight("web.1") == users.load.answering("web.1") == 0
    assert users.waited_s == pytest.approx(1.1, rel=0.02)


def test_one_that_answers_is_not_idle() -> None:
    users = Users(rate_per_s=10, answer_s=0.08)
    with users.moment("mid-response") as busy:
        busy.wait()
    with users.moment("idle") as moment:
        assert not moment.is_now


def test_any_moment_is_now() -> None:
    users = Users(rate_per_s=1, answer_s=0.001, published=False)
    with users.moment("any") as moment:
        moment.wait_until_now()
        assert moment.is_now
    assert users.waited_s == 0


@pytest.mark.parametrize("when", ["in-flight", "mid-response", "just-accepted"])
def test_a_moment_that_does_not_come_is_given_up_in_time(when: str) -> None:
    users = Users(rate_per_s=10, answer_s=0.08, published=False)
    with users.moment(when, within_s=1.5) as moment:
        moment.wait_until_now()
        assert not moment.is_now
        assert moment.is_over
        assert moment.requests == 0
    assert users.waited_s == pytest.approx(1.5, rel=0.01)


@pytest.mark.parametrize("when", ["in-flight", "mid-response", "just-accepted"])
def test_nobody_waits_for_a_victim_that_is_gone(when: str) -> None:
    users = Users(rate_per_s=10, answer_s=0.08, published=False)
    with users.moment(when, within_s=100, is_gone=lambda: users.waited_s > 0.3) as moment:
        moment.wait_until_now()
        assert moment.is_over
    assert users.waited_s == pytest.approx(0.3, rel=0.05)


def test_a_lone_request_must_do_only_when_there_are_never_several() -> None:
    several, lone = Users(rate_per_s=100, answer_s=0.08), Users(rate_per_s=4, answer_s=0.2)
    for users in (several, lone):
        with users.moment("in-flight") as moment:
            moment.wait()
            assert moment.is_now
    assert several.load.in_flight("web.1") >= 2
    assert several.waited_s < PATIENT_NS / NS_PER_S
    assert lone.load.in_flight("web.1") == 1
    assert lone.waited_s >= PATIENT_NS / NS_PER_S


class Stuck(FakeLoad):
    """A load of which one request never leaves."""

    def on_the_way(self, replica: str) -> int:
        return 1


def test_what_never_leaves_is_not_awaited_for_ever() -> None:
    class Ticking(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(max(seconds, 0.001))  # a real one goes on by itself

    users = Users(rate_per_s=10, answer_s=0.08)
    users.clock = Ticking()
    users.load = Stuck(clock=users.clock, append=lambda _line: None, rate_per_s=10, answer_s=0.08, requests=1)
    began_ns = users.clock.now_ns()
    users.moment("in-flight").wait_none_on_the_way()
    assert users.clock.now_ns() - began_ns == pytest.approx(ON_THE_WAY_S * NS_PER_S, rel=0.05)
