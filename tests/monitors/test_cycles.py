"""Cycles of versions that lines saw in different orders."""

from __future__ import annotations

import numpy as np

from harness.monitors.cycles import Zones, components, shortest


def zones(*told: tuple[int, int, int, int]) -> Zones:
    """Line, version, when it had been seen, when it was last asked for."""
    columns = [np.array(column) for column in zip(*told, strict=True)]
    return Zones(line=columns[0], version=columns[1], seen=columns[2], asked=columns[3], seen_row=columns[2], asked_row=columns[3])


def test_two_lines_that_saw_two_versions_the_other_way_round_are_a_cycle() -> None:
    found = shortest(zones((0, 1, 0, 0), (0, 2, 5, 5), (1, 2, 10, 10), (1, 1, 15, 15)))
    assert {(hop.line, hop.version, hop.before, hop.after) for hop in found} == {(0, 1, 0, 5), (1, 2, 10, 15)}


def test_a_line_that_goes_back_is_a_cycle_of_its_own() -> None:
    found = shortest(zones((0, 1, 0, 20), (0, 2, 5, 5)))
    assert {(hop.version, hop.before, hop.after) for hop in found} == {(1, 0, 5), (2, 5, 20)}


def test_the_shorter_cycle_is_shown() -> None:
    ring = [(line, line, 10 * line, 10 * line) for line in range(5)] + [
        (line, (line + 1) % 5, 10 * line + 5, 10 * line + 5) for line in range(5)
    ]
    assert len(shortest(zones(*ring))) == 5
    assert len(shortest(zones(*ring, (9, 3, 90, 90), (9, 2, 95, 95)))) == 2


def test_what_is_in_one_order_has_no_cycle() -> None:
    assert shortest(zones((0, 1, 0, 0), (0, 2, 5, 5), (1, 1, 10, 10), (1, 2, 15, 15))) == ()
    assert shortest(zones((0, 1, 5, 5), (0, 2, 5, 5))) == ()


def test_components_are_those_that_reach_each_other() -> None:
    label, several = components(np.array([0, 1, 2]), np.array([1, 0, 0]), 4)
    assert several.tolist() == [True, True, False, False]
    assert label[0] == label[1] != label[2]
