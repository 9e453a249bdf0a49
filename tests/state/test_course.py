"""What the harness asks of the app's state in one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness.clock import Dice
from harness.engines.base import Replica
from harness.scenario import Scenario
from harness.stage import Inline, NoState, State
from harness.state.course import StateCourse
from harness.state_history import JourneyMade, SameAnswered, StateAnswered, StateRead
from tests.state.apps import CLOCK, MARK, App, Got, Lines, Says, app, said
from tests.state.test_journeys import LOGIN, Sessions
from tests.state.test_reader import REGISTER


class Run:
    """A course, replicas that are up, and what it wrote and said."""

    def __init__(self, *apps: App, steps: list[object] | None = None, **state: dict[str, object]) -> None:
        self.up = list(apps)
        self.lines = Lines()
        self.notes: list[str] = []
        scenario = Scenario.model_validate(
            {
                "jetable": 1,
                "name": "x",
                "target": {"web": {"command": "a", "replicas": 3}},
                "state": state,
                "steps": steps or [{"steady": "1s"}],
            }
        )
        self.course = StateCourse(
            scenario,
            mark=MARK,
            clock=CLOCK,
            dice=Dice(1),
            append=self.lines.append,
            background=Inline(),
            client=lambda name: pytest.fail(f"nobody needs {name}"),
            up=self._up,
            note=self.notes.append,
        )

    def _up(self, process: str) -> list[Replica]:
        assert process == "web"
        return [replica(each) for each in self.up]

    def made(self) -> list[tuple[str, str, bool]]:
        return [(line.replica, line.fault, line.good) for line in self.lines.of(JourneyMade)]


def replica(of: App) -> Replica:
    return Replica(name=of.name, process="web", host="127.0.0.1", port=of.port, pid=1, at_ns=1, running_ns=1)


@contextmanager
def three(answer: Callable[[Got], Says]) -> Iterator[tuple[App, App, App]]:
    with app(answer) as one, app(answer, "web.2") as two, app(answer, "web.3") as three:
        yield one, two, three


def test_it_is_what_a_stage_asks_for() -> None:
    with three(lambda _got: Says()) as apps:
        parts: list[State] = [Run(*apps, login=LOGIN).course, NoState()]
    for part in parts:
        part.begin() if part is parts[1] else None
        part.close()
        part.close()


def test_at_the_beginning_each_journey_is_made_once_that_no_step_makes() -> None:
    with three(Sessions().answer) as apps:
        run = Run(
            *apps, steps=[{"together": [{"hand_over": {"journey": "other", "when": "any"}}, {"steady": "1s"}]}], login=LOGIN, other=LOGIN
        )
        run.course.begin()
    # their sessions are shared, so that a session that comes to all three is good everywhere
    assert [(line.workload, line.replica, line.good) for line in run.lines.of(JourneyMade)] == [
        ("login", "web.1", True),
        ("login", "web.2", True),
        ("login", "web.3", True),
    ]


def test_a_journey_that_is_handed_over_goes_on_at_others_alone() -> None:
    with three(Sessions().answer) as apps:
        run = Run(*apps, login=LOGIN)

        def kill() -> None:
            apps[0].stop()
            run.up.remove(apps[0])

        run.course.hand_over("login", replica(apps[0]), "kill", kill)
    assert run.made() == [("web.1", "", True), ("web.2", "kill", True), ("web.3", "", True)]


def test_a_journey_that_is_handed_over_never_comes_back_to_where_it_began() -> None:
    with three(Sessions().answer) as apps:
        run = Run(*apps[:2], login=LOGIN)
        run.course.hand_over("login", replica(apps[0]), "terminate", lambda: None)
    assert [line[0] for line in run.made()] == ["web.1", "web.2", "web.2"]


def test_a_value_that_is_handed_over_is_read_through_all_others_and_the_replacement() -> None:
    kept: dict[str, str] = {}

    def answer(got: Got) -> Says:
        if got.method == "PUT":
            kept[got.path] = got.body.decode()
            return said({})
        return Says(body=kept[got.path].encode(), headers=(("Content-Type", "application/json"),))

    with three(answer) as apps:
        run = Run(*apps[:2], items=REGISTER)

        def kill() -> None:
            run.up[:] = apps[1:]

        run.course.hand_over("items", replica(apps[0]), "kill", kill)
    answered = run.lines.of(StateAnswered)
    assert [(line.op, line.replica, line.ended) for line in answered] == [(-1, "web.1", "ok"), (-2, "web.2", "ok"), (-3, "web.3", "ok")]
    assert {line.result for line in answered[1:]} == {"2fecf0-2000000001"}


def test_at_the_end_journeys_are_made_over_all_pairs_and_everything_is_read() -> None:
    sessions = Sessions()

    def answer(got: Got) -> Says:
        if got.path.startswith("/items"):
            return said({"name": "a"})
        return said("page") if got.path == "/page" else sessions.answer(got)

    with three(answer) as apps:
        run = Run(*apps, login=LOGIN, items=REGISTER, page={"model": "same", "requests": ["GET /page"]})
        run.course.read_at_end()
    journeys = run.lines.of(JourneyMade)
    assert all(line.good for line in journeys)
    assert {(line.before, line.replica) for line in journeys if line.before} == {
        (one.name, other.name) for one in apps for other in apps if one != other
    }
    assert {line.number for line in journeys} == set(range(1, 7))
    assert len(run.lines.of(StateRead)) == 15
    assert len(run.lines.of(SameAnswered)) == 3
    assert not run.notes


def test_a_single_replica_is_said() -> None:
    with three(Sessions().answer) as apps:
        run = Run(apps[0], login=LOGIN)
        run.course.begin()
        run.course.read_at_end()
    assert run.notes == ["login: only web.1 was up, so the journey went on where it had begun"] * 2
    assert {line[0] for line in run.made()} == {"web.1"}


def test_when_nobody_is_up_nothing_is_read_and_the_journeys_say_so() -> None:
    run = Run(login=LOGIN, items=REGISTER)
    run.course.begin()
    run.course.read_at_end()
    assert [(line.replica, line.error) for line in run.lines.of(JourneyMade)] == [("", "no replica was up")] * 2
    assert not run.lines.of(StateRead)


def test_what_comes_after_the_end_is_let_go() -> None:
    with three(Sessions().answer) as apps:
        run = Run(*apps, login=LOGIN, items=REGISTER)
        run.course.close()
        run.course.begin()
        run.course.read_at_end()
    assert not run.lines


def test_the_scenario_s_time_out_bounds_each_request() -> None:
    whole: dict[str, Any] = {"users": 1, "timeout": "7s", "requests": ["GET /"]}
    scenario = Scenario.model_validate(
        {
            "jetable": 1,
            "name": "x",
            "target": {"web": {"command": "a"}},
            "load": whole,
            "state": {"a": REGISTER},
            "steps": [{"steady": "1s"}],
        }
    )
    made = StateCourse(
        scenario,
        mark=MARK,
        clock=CLOCK,
        dice=Dice(1),
        append=lambda _line: None,
        background=Inline(),
        client=lambda _name: pytest.fail("nobody needs it"),
        up=lambda _process: [],
        note=lambda _text: None,
    )
    assert made._asker()._timeout_s == 7.0
