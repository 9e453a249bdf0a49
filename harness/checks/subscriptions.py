"""What streams went through: every connection of every subscription, where it was, what ended it, and what its events prove.

The ids of events are numbers, one more than the one before: only then can a client tell that one is missing or came twice. Whether they
are is read from the events themselves. A stream is *verifiable* when each of its events carried a number and, within one connection, at
least half of them followed the one before; otherwise nobody knows what was lost, and nothing here claims to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.checks.facts import Facts, Fault, Harm
from harness.history import Streamed

COMPLETE: Final = "complete"
ENDED: Final = "ended"
EOF: Final = "eof"
CUT: Final = "cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One connection of a stream.

    Attributes:
        told: What it brought and how it ended.
        replica: Where it was.
        before: The connection of the same subscription before it.
        harm: The last harm done to its replica before it ended, in whose window it ended.
    """

    told: Streamed
    replica: str
    before: Connection | None
    harm: Harm | None

    @property
    def lost(self) -> int:
        """Numbers that did not come on it though their turn was there; those that came late are given back."""
        return self.told.missing + self.told.skipped - self.told.late

    @property
    def proves(self) -> bool:
        """The client had connected again, and the stream went on."""
        return self.told.resumed and self.told.events > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """All subscriptions of one request of the scenario: ``request`` is its number, ``resume`` as it says."""

    request: int
    name: str
    resume: bool
    connections: tuple[Connection, ...]

    @property
    def subscriptions(self) -> int:
        """How many there were that ever were open."""
        return len({each.told.op for each in self.connections})

    @property
    def events(self) -> int:
        """How many events came."""
        return sum(each.told.events for each in self.connections)

    @property
    def again(self) -> list[Connection]:
        """Connections of clients that had been there before."""
        return [each for each in self.connections if each.told.resumed]

    @property
    def proven(self) -> list[Connection]:
        """Those of them that brought an event."""
        return [each for each in self.connections if each.proves]

    @property
    def away_s(self) -> list[float]:
        """How long clients were without a stream, each time."""
        return [each.told.away_ns / 1e9 for each in self.again if each.told.away_ns]

    @property
    def lost(self) -> int:
        """Events that are missing; meaningful where it is verifiable."""
        return max(0, sum(each.lost for each in self.connections))

    @property
    def repeated(self) -> int:
        """Events that came again; meaningful where it is verifiable."""
        return sum(each.told.twice for each in self.connections)

    @property
    def why_not(self) -> str:
        """Why nobody can say whether an event is missing; empty when it is verifiable."""
        events = self.events
        if not events:
            return "no event came"
        unnumbered = sum(each.told.unnumbered for each in self.connections)
        if unnumbered:
            return f"{unnumbered} of {events} events carried no number as their id"
        irregular = sum(each.told.holes + (0 if each.told.resumed else each.told.twice) for each in self.connections)
        if 2 * irregular > events:
            return "the ids are numbers, but not successive ones"
        return ""


def streams_of(facts: Facts) -> list[Stream]:
    """Every stream of the scenario that was ever open."""
    attempts = facts.history.attempts
    rows = {(int(attempts.op[row]), int(attempts.n[row])): int(row) for row in np.flatnonzero(facts.streaming)}
    found: dict[int, list[Connection]] = {}
    before: dict[int, Connection] = {}
    for told in facts.history.streamed:
        row = rows.get((told.op, told.n))
        if row is None:
            continue
        replica = attempts.replicas[attempts.replica[row]]
        connection = Connection(told=told, replica=replica, before=before.get(told.op), harm=_harm_of(facts, replica, told.at_ns))
        before[told.op] = connection
        found.setdefault(int(attempts.request[row]), []).append(connection)
    requests = facts.scenario.requests
    return [
        Stream(request=number, name=request.name, resume=request.stream.resume, connections=tuple(found[number]))
        for number, request in enumerate(requests)
        if request.stream is not None and number in found
    ]


def _harm_of(facts: Facts, replica: str, at_ns: int) -> Harm | None:
    near = [harm for harm in facts.harms if harm.order.replica == replica and harm.order.at_ns <= at_ns <= harm.end_ns]
    return max(near, key=lambda harm: harm.order.at_ns, default=None)


def met_stops(streams: list[Stream]) -> list[tuple[Connection, Fault]]:
    """Connections that were open when their replica was asked to stop, with that stop."""
    met = [(each, each.harm) for stream in streams for each in stream.connections]
    return [
        (each, harm)
        for each, harm in met
        if isinstance(harm, Fault) and not harm.is_kill and harm.signal.delivered and each.told.opened_ns <= harm.signal.at_ns
    ]


def held(connection: Connection, stop: Fault) -> bool:
    """The replica kept it open until SIGKILL at the end of its grace."""
    return stop.killed is not None and connection.told.at_ns >= stop.killed.at_ns


def cut_at_stop(streams: list[Stream]) -> list[tuple[Connection, Fault]]:
    """Those of `met_stops` that the replica cut itself instead of ending them."""
    return [(each, stop) for each, stop in met_stops(streams) if each.told.end == CUT and not held(each, stop)]
