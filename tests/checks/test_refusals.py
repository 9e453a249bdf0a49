"""Which refusals no fault explains."""

from __future__ import annotations

import pytest

from harness.checks.facts import Facts
from harness.checks.refusals import refusals
from harness.history import Control
from harness.outcome import Outcome
from tests.checks.build import STORIES, Story, at, steady_run


def refused(*tries: tuple[str, float, float, Outcome]) -> Story:
    story = steady_run()
    story.attempts(tries)
    return story


def times(story: Story) -> int:
    return len(refusals(Facts(story.history())))


def test_a_replica_that_is_up_takes_connections() -> None:
    assert times(refused(("web.1", 700, 700.2, Outcome.REFUSED), ("web.2", 701, 708, Outcome.OK))) == 1
    assert times(STORIES["fail--refused-without-fault"]()) == 1
    assert times(steady_run()) == 0


@pytest.mark.parametrize(
    "tries",
    [
        (("", 700, 700.2, Outcome.REFUSED), ("web.2", 701, 708, Outcome.OK)),  # there was no replica to go to
        (("web.7", 700, 700.2, Outcome.REFUSED), ("web.2", 701, 708, Outcome.OK)),  # nobody knows whether it was up
        (("web.1", 700, 700.2, Outcome.REFUSED), ("web.2", 701, 701.2, Outcome.REFUSED)),  # lost, and told as unavailable
        (("web.1", 300, 300.2, Outcome.REFUSED), ("web.2", 301, 308, Outcome.OK)),  # it was published a moment ago
    ],
)
def test_what_is_explained_or_told_elsewhere_is_left_out(tries: tuple[tuple[str, float, float, Outcome], ...]) -> None:
    assert times(refused(*tries)) == 0


def test_a_stall_of_the_machine_explains_a_refusal() -> None:
    story = refused(("web.1", 700, 700.2, Outcome.REFUSED), ("web.2", 701, 708, Outcome.OK))
    story.lines.append(Control(at_ns=at(650), done_ns=at(950), ok=True))
    assert times(story) == 0


def test_a_replica_that_is_off_the_network_takes_none() -> None:
    assert times(STORIES["pass--faults-landed--cut-off"]()) == 0
