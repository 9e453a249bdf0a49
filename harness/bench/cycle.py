"""One cycle under each condition: what is started, what else goes on meanwhile, and how it is stopped.

A cycle never raises because the target fails: a start that never gets healthy is a fact like any other, it stands in the history and is
counted. Whatever a cycle has started it also ends. Each function here is told by the `Cycled` events that it leaves, one for each start
that is timed by itself.
"""

from __future__ import annotations

import http.client
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from harness.bench.sessions import Session, first_path
from harness.clock import NS_PER_S
from harness.engines.base import Replica
from harness.errors import TargetError
from harness.fleet import nobody
from harness.history import Cycled
from harness.probes import Connection
from harness.resources import Strangers

IDLE_CONNECTIONS: Final = 10
"""How many idle keep-alive connections are open at a stop under ``keep-alive``."""

CONNECT_S: Final = 2.0
QUIET_S: Final = 0.1
"""How long the machine is looked at before a cycle of containers; right within 0.2 CPUs."""

AWAY_S: Final = 1.0
"""How long a service stays away under ``service-down`` once the target's command runs."""


Took: TypeAlias = dict[str, list[float]]
"""Seconds of starts, by the condition under which they were timed."""


def new_took() -> Took:
    """Without any start."""
    return defaultdict(list)


def _nothing() -> None:
    """All stays warm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in the bench a cycle is.

    Attributes:
        round: Its number, from 0 on.
        warmup: It is discarded on purpose.
        at_once: How many start at the same time under ``at-once``.
        service: The service that is disturbed.
        slow_s: How much later each of its answers comes under ``service-slow``.
        strangers: Sees what other programs use of the machine.
        cool: Makes cold what is to be cold; called before each start that is timed, since any other warms it up again.
        took: Gets the seconds of each start that got healthy, as far as the harness knows them at once.
    """

    round: int
    warmup: bool = False
    at_once: int = 1
    service: str = ""
    slow_s: float = 0.0
    strangers: Strangers
    cool: Callable[[], None] = _nothing
    took: Took = field(default_factory=new_took)


Cycle: TypeAlias = Callable[[Session, Place], None]


@contextmanager
def booked(session: Session, place: Place, under: str) -> Iterator[None]:
    """Write down that a cycle under ``under`` was played while the body ran; a target that fails is its problem, and raises no further."""
    stage = session.stage
    place.cool()
    others = _quiet(session, place) if session.contained else -1.0
    began_ns = stage.clock.now_ns()
    place.strangers.look()
    problem = ""
    try:
        yield
    except TargetError as error:
        problem = str(error)
    stage.record(
        Cycled(
            at_ns=stage.clock.now_ns(),
            began_ns=began_ns,
            round=place.round,
            under=under,
            process=session.process,
            warmup=place.warmup,
            others=others if session.contained else place.strangers.since(),
            problem=problem,
        )
    )
    stage.raise_if_lost()


def _quiet(session: Session, place: Place) -> float:
    """What strangers use while nothing of the bench goes on: who makes containers is one of them as soon as it does.

    -1.0 while others are under load, since those are containers, too.
    """
    if session.loaded:
        return -1.0
    place.strangers.look()
    session.stage.clock.sleep(QUIET_S)
    return place.strangers.since()


def _started(session: Session, place: Place, under: str, *, again: Replica | None = None) -> Replica:
    replica = session.start(again=again)
    place.took[under].append((session.stage.clock.now_ns() - replica.began_ns) / NS_PER_S)
    return replica


def idle(session: Session, place: Place) -> None:
    """Start one and stop it; nothing else is on."""
    with booked(session, place, "idle"):
        session.stop(_started(session, place, "idle"))


def load(session: Session, place: Place) -> None:
    """Start one more beside others that are under load, which it then gets, too, and stop it with a request in flight."""
    with booked(session, place, "load"):
        session.stop(_started(session, place, "load"), busy=True)


def kill(session: Session, place: Place) -> None:
    """Start one where another was stopped in order, kill it, start one where it was, and stop that in order.

    Both starts that are timed take the address of one that is gone, so they differ in nothing but how it went. Where there was nothing to
    kill, none is timed as one after SIGKILL.
    """
    before: Replica | None = None
    with suppress(TargetError):  # the first address; it is not timed
        before = session.fleet.start(session.process)
        session.stop(before)
    killed: Replica | None = None
    with booked(session, place, "clean"):
        replica = _started(session, place, "clean", again=before)
        session.kill(replica)
        killed = replica
    if killed is not None:
        with booked(session, place, "kill"):
            session.stop(_started(session, place, "kill", again=killed))


def keep_alive(session: Session, place: Place) -> None:
    """Start one, open idle keep-alive connections to it, and stop it."""
    path = first_path(session.plan.scenario, session.process)
    with booked(session, place, "keep-alive"), ExitStack() as open_ones:
        replica = _started(session, place, "keep-alive")
        for _ in range(IDLE_CONNECTIONS if path else 0):
            _hold_one(open_ones, session, replica, path or "/")
        session.stop(replica)


def _hold_one(open_ones: ExitStack, session: Session, replica: Replica, path: str) -> None:
    """A connection on which one request was answered, and which then stays."""
    connection = open_ones.enter_context(closing(Connection(replica, CONNECT_S, session.plan.scenario.target[session.process].spoken_tls)))
    with suppress(OSError, http.client.HTTPException):  # one that the app does not want is not there
        connection.request("GET", path)
        connection.getresponse().read()


def service_down(session: Session, place: Place) -> None:
    """Take the service away, start one, give the service back while it starts, and stop it.

    A target that waits for its service gets healthy afterwards, one that does without it before; one that gives up is a failed start.
    """
    backing, between, fleet = session.stage.backing, session.between, session.fleet
    runs, over = threading.Event(), threading.Event()
    if between is not None:
        between.shut()
    backing.stop(place.service, "SIGKILL")

    def give_back(_stop: threading.Event) -> None:
        runs.wait()  # a runtime may take longer to make a container than the service is to be away
        over.wait(AWAY_S)
        backing.start(place.service)
        if between is not None:
            between.open()

    fleet.launched = lambda _replica: runs.set()
    back = session.stage.background.watch(give_back)
    try:
        with booked(session, place, "service-down"):
            replica = _started(session, place, "service-down")
            over.set()
            back.end()
            session.stop(replica)
    finally:
        fleet.launched = nobody
        over.set()
        runs.set()
        back.end()


def service_slow(session: Session, place: Place) -> None:
    """Start one while each answer of the service comes later, and stop it."""
    between = session.between
    assert between is not None  # noqa: S101  a bench with this condition has one
    between.slow(place.slow_s)
    try:
        with booked(session, place, "service-slow"):
            session.stop(_started(session, place, "service-slow"))
    finally:
        between.slow(0.0)


def at_once(session: Session, place: Place) -> None:
    """Start several at the same time, and stop them at the same time."""
    with booked(session, place, "at-once"):
        try:
            session.stage.background.map(lambda _number: _started(session, place, "at-once"), range(place.at_once))
        except TargetError:
            session.stage.background.map(session.stop, session.fleet.up(session.process))  # those that are up stop in order, too
            raise
        session.stage.background.map(session.stop, session.fleet.up(session.process))


CYCLES: Final[dict[str, Cycle]] = {
    "idle": idle,
    "load": load,
    "kill": kill,
    "keep-alive": keep_alive,
    "service-slow": service_slow,
    "service-down": service_down,
    "at-once": at_once,
}
"""What is played under each condition; ``kill`` brings ``clean`` with it."""


def leave_nothing(session: Session, before: Sequence[str]) -> None:
    """End what a cycle that went wrong has left up; ``before`` names what was up before it."""
    for replica in session.fleet.up(session.process):
        if replica.name not in before:
            with suppress(TargetError):
                session.kill(replica)
