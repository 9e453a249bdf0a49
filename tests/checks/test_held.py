"""Which connections were there at a stop, and which of them owed an answer."""

from __future__ import annotations

from typing import Any

import pytest

from harness.checks.facts import Facts
from harness.checks.held import answers_after, awaited, dropped_held, held_of, in_flight
from tests.checks.build import STORIES, Story, at, clean_stop, stop_run


def facts_of(story: Story) -> Facts:
    return Facts(story.history())


def held(what: str, end: str, ended: float, *answered: float, **changes: Any) -> Facts:
    def stop(story: Story) -> None:
        clean_stop(story)
        story.hold(what, end, ended, *answered, **changes)
        story.hold("idle", "open", 900, replica="web.2")

    return facts_of(stop_run(stop))


def test_what_was_held_to_another_replica_is_not_met_by_a_stop() -> None:
    facts = held("silent", "closed", 705)
    assert [each.what for each in held_of(facts, facts.faults[0])] == ["silent"]


@pytest.mark.parametrize(
    ("what", "end", "ended", "answered", "sent", "flies"),
    [
        ("http/1.0", "closed", 740, (), 600, True),
        ("http/1.0", "done", 740, (740,), 600, True),
        ("http/1.0", "closed", 740, (), 695, False),  # the app may not have read it
        ("http/1.0", "closed", 740, (), 705, False),
        ("http/1.0", "done", 690, (690,), 600, False),
        ("http/1.0", "closed", 740, (650,), 600, False),
        ("pipelined", "closed", 740, (650, 660), 600, True),
        ("pipelined", "closed", 740, (650, 660, 670), 600, False),
        ("idle", "closed", 740, (650,), 600, False),
        ("silent", "closed", 740, (), 0, False),
    ],
)
def test_in_flight_is_what_the_app_surely_had_still_to_answer(
    what: str, end: str, ended: float, answered: tuple[float, ...], sent: float, *, flies: bool
) -> None:
    facts = held(what, end, ended, *answered, sent_ns=at(sent) if sent else 0)
    fault = facts.faults[0]
    (only,) = held_of(facts, fault)
    assert in_flight(fault, only) == flies
    assert answers_after(fault, only) == sum(when > 700 for when in answered)
    assert bool(dropped_held(facts, fault)) == (flies and end == "closed")


def test_a_stop_was_awaiting_only_if_it_ended_by_itself_after_its_clients_let_go() -> None:
    for name, expected in (
        ("fail--idle-connections-awaited", True),
        ("fail--killed-after-grace--let-go", False),
        ("pass--faults-landed", False),
    ):
        facts = facts_of(STORIES[name]())
        assert (awaited(facts, facts.faults[0]) is not None) == expected
