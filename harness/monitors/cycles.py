"""Cycles among versions that several lines of observers saw, each line in its own order: proof that no order is shared by all.

A *line* is whoever saw versions one after the other: a session, or a replica. A *zone* is what one line tells of one version: by when it
had seen it, and when it last asked and still got it. In a line one version comes before another when it had seen the one before it last
asked and got the other. An order of versions that fits all lines exists exactly when these relations have no cycle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.monitors.calls import Column, Rows

STARTS: Final = 8
"""From so many versions a shortest cycle is searched."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Zones:
    """What lines tell of versions, one line and version a row.

    Attributes:
        line: Whose zone it is.
        version: Of which version.
        seen: By when it had been seen; an instant or a place in the line, whatever orders it.
        asked: When it was last asked for and answered.
        seen_row: The operation of ``seen``.
        asked_row: That of ``asked``.
    """

    line: Column
    version: Column
    seen: Column
    asked: Column
    seen_row: Rows
    asked_row: Rows

    def __len__(self) -> int:
        return len(self.line)

    def take(self, chosen: Rows) -> Zones:
        """The zones ``chosen``."""
        return Zones(
            line=self.line[chosen],
            version=self.version[chosen],
            seen=self.seen[chosen],
            asked=self.asked[chosen],
            seen_row=self.seen_row[chosen],
            asked_row=self.asked_row[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """A line saw one version in ``before``, and another one later, in ``after``; both are rows of the history."""

    line: int
    version: int
    before: int
    after: int


def components(sources: Column, targets: Column, count: int) -> tuple[Column, NDArray[np.bool_]]:
    """For each of ``count`` nodes its strong component, and whether that has others as well (Pearce, Inf. Process. Lett. 116(1), 2016)."""
    from scipy.sparse import coo_array  # noqa: PLC0415  most runs watch no state, and it takes a tenth of a second
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415  as above

    graph = coo_array((np.ones(len(sources), dtype=np.int32), (sources, targets)), shape=(count, count)).tocsr()
    _, labels = connected_components(graph, directed=True, connection="strong")
    return labels.astype(np.int64), (np.bincount(labels) > 1)[labels]


def shortest(zones: Zones) -> tuple[Hop, ...]:
    """A cycle of few hops among ``zones``, which have one; empty where none was found."""
    versions = np.unique(zones.version)
    search = _Search(zones)
    best: tuple[Hop, ...] = ()
    for start in versions[np.linspace(0, len(versions) - 1, min(STARTS, len(versions)), dtype=np.int64)].tolist():
        found = search.cycle(start)
        if found and (not best or len(found) < len(best)):
            best = found
        if len(best) == 2:
            break
    return best


class _Search:
    """Breadth first: each line is walked backwards, each of its zones once a start."""

    def __init__(self, zones: Zones) -> None:
        self._zones = zones
        order = np.argsort(-zones.asked, kind="stable").tolist()
        self._of_line: dict[int, list[int]] = {}
        self._of_version: dict[int, list[int]] = {}
        self._line, self._version = zones.line.tolist(), zones.version.tolist()
        self._seen, self._asked = zones.seen.tolist(), zones.asked.tolist()
        for zone in order:
            self._of_line.setdefault(self._line[zone], []).append(zone)
            self._of_version.setdefault(self._version[zone], []).append(zone)

    def cycle(self, start: int) -> tuple[Hop, ...]:
        """The hops from ``start`` back to it."""
        home = {self._line[zone]: zone for zone in self._of_version[start]}
        reached: dict[int, tuple[int, int]] = {}
        walked = dict.fromkeys(self._of_line, 0)
        queue = [start]
        for version in queue:
            for zone in self._of_version[version]:
                line = self._line[zone]
                if version != start and line in home and self._asked[home[line]] > self._seen[zone]:
                    return tuple(reversed(list(self._back(start, (zone, home[line]), reached))))
                for target in self._after(zone, walked):
                    if self._version[target] != start and self._version[target] not in reached:
                        reached[self._version[target]] = (zone, target)
                        queue.append(self._version[target])
        return ()

    def _after(self, zone: int, walked: dict[int, int]) -> Iterator[int]:
        """The zones of the same line that come after ``zone`` and were not met yet."""
        line = self._line[zone]
        others = self._of_line[line]
        while walked[line] < len(others) and self._asked[others[walked[line]]] > self._seen[zone]:
            yield others[walked[line]]
            walked[line] += 1

    def _back(self, start: int, last: tuple[int, int], reached: dict[int, tuple[int, int]]) -> Iterator[Hop]:
        """The hops that led to ``last`` and it, last one first."""
        here = last
        while True:
            zone, target = here
            yield Hop(
                line=self._line[zone],
                version=self._version[zone],
                before=int(self._zones.seen_row[zone]),
                after=int(self._zones.asked_row[target]),
            )
            if self._version[zone] == start:
                return
            here = reached[self._version[zone]]
