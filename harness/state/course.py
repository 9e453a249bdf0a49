"""What the harness itself asks of the app's state in one run, from its beginning to its end.

    replicas are up ─▶ journeys ─▶ steps, some of which hand a session over ─▶ the load is over ─▶ journeys again ─▶ everything is read

Only replicas that are up are asked. Everything goes to `state.jsonl` as it happens; what is judged comes later, from the disk alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.clock import Clock, Dice
from harness.engines.base import Replica
from harness.scenario import HandOver, Scenario, nested
from harness.services.base import Client
from harness.state.asker import Asker, Place
from harness.state.ending import StateEnd
from harness.state.journeys import Journeys, Next, in_turns, pairs_of
from harness.state.probes import WRITES, Numbers, Probe
from harness.state_history import StateLine

if TYPE_CHECKING:
    from harness.stage import Background


class StateCourse:
    """See `harness.stage.State`."""

    def __init__(  # noqa: PLR0913  what a run hands over
        self,
        scenario: Scenario,
        *,
        mark: str,
        clock: Clock,
        dice: Dice,
        append: Callable[[StateLine], None],
        background: Background,
        client: Callable[[str], Client],
        up: Callable[[str], Sequence[Replica]],
        note: Callable[[str], None],
    ) -> None:
        """``client`` opens a connection to a service; ``up`` tells the replicas of a process type that are up."""
        self._scenario = scenario
        self._clock = clock
        self._up = up
        self._note = note
        self._write = append
        self._writing = threading.Lock()
        self._closed = False
        dice = dice.fork("state")
        workloads = scenario.state
        journeys = {name: workload for name, workload in workloads.items() if workload.model == "journey"}
        self._journeys = Journeys(journeys, clock=clock, dice=dice, append=self._append, asker=self._asker)
        numbers = Numbers()
        self._probes = {
            name: Probe(name, workload, mark=mark, clock=clock, dice=dice, append=self._append, numbers=numbers)
            for name, workload in workloads.items()
            if any(getattr(workload, f) is not None for f in WRITES)
        }
        self._end = StateEnd(
            workloads,
            mark=mark,
            clock=clock,
            dice=dice,
            append=self._append,
            asker=self._asker,
            client=lambda name: client(name or next(iter(scenario.services))),
            background=background,
            is_over=lambda: self._closed,
        )

    def begin(self) -> None:
        """Make each journey once that no step makes."""
        places = self._places()
        for name in self._journeys.names:
            if name not in self._handed_over():
                self._tell_if_alone(name, places)
                self._journeys.walk(name, in_turns(places))

    def hand_over(self, workload: str, victim: Replica, fault: str, between: Callable[[], None]) -> None:
        """Begin at ``victim``, do ``between``, which ends it by ``fault``, and go on at the others."""
        first = _place(victim)
        if workload in self._journeys.names:
            self._journeys.walk(workload, self._away_from(first), between=between, fault=fault)
            return
        probe, asker = self._probes[workload], self._asker()
        try:
            written = probe.write(asker, first)
            between()
            for place in self._places():
                if place != first:
                    probe.read(asker, place, written)
        finally:
            asker.close()

    def read_at_end(self) -> None:
        """The load is over: make each journey over all pairs of replicas, and read everything everywhere until all agree."""
        places = self._places()
        for name in self._journeys.names:
            self._tell_if_alone(name, places)
            for pair in pairs_of(places) if len(places) > 1 else [tuple(places)]:
                if self._closed:
                    return
                self._journeys.walk(name, in_turns(pair))
        self._end.read_all(self._places)

    def close(self) -> None:
        """Nothing more will be written; what comes late is let go."""
        with self._writing:
            self._closed = True

    def _append(self, line: StateLine) -> None:
        with self._writing:
            if not self._closed:
                self._write(line)

    def _asker(self) -> Asker:
        scenario = self._scenario
        tls = scenario.target[scenario.load_process].spoken_tls
        return Asker(self._clock, timeout_s=scenario.load.timeout.s, tls=tls)

    def _places(self) -> list[Place]:
        return [_place(replica) for replica in self._up(self._scenario.load_process)]

    def _handed_over(self) -> set[str]:
        steps = (step.options for step in nested(self._scenario.steps))
        return {options.journey for options in steps if isinstance(options, HandOver) and options.journey is not None}

    def _away_from(self, first: Place) -> Next:
        """``first``, and then whoever is up, each time another one than before."""

        def after(before: Place | None) -> Place | None:
            if before is None:
                return first
            others = [place for place in self._places() if place != first]
            return in_turns(others)(before)

        return after

    def _tell_if_alone(self, name: str, places: Sequence[Place]) -> None:
        if len(places) == 1:
            self._note(f"{name}: only {places[0].name} was up, so the journey went on where it had begun")


def _place(replica: Replica) -> Place:
    return Place(name=replica.name, host=replica.host, port=replica.port)
