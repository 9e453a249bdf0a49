"""The steps of a run: one small function each, in one visible dict.

A step acts on the fleet and returns when all that it started has come to its end, so the next step finds a settled target. A *fault* is
a step that harms: terminate, kill, restart, rolling restart and scaling down stop a replica; pause, squeeze memory and cut network take
something away from one and give it back. Which replica is hit comes from the run's seeded dice. What only some engines can do is in
`ABILITIES`, so that a scenario is refused before anything starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from harness.clock import NS_PER_S, Dice
from harness.engines import ENGINES
from harness.engines.base import CutsNetwork, EngineClass, LimitsMemory, Pauses, Replica, Sent
from harness.engines.fake import FakeEngine
from harness.errors import JetableError, TargetError
from harness.fleet import Disturbance, Fleet, StopOrder
from harness.scenario import (
    CutNetwork,
    Disturb,
    Kill,
    Pause,
    Restart,
    RollingRestart,
    Scale,
    Scenario,
    SqueezeMemory,
    Steady,
    Step,
    Terminate,
)
from harness.stage import Stage
from harness.units import bytes_text

LOOK_EVERY_S: Final = 0.1

LOAD_ENDED: Final = "the load ended before the steps did; logs/load.log in the run's folder says why"

SCALE_DOWN: Final = Terminate(replica="newest")
"""How a replica is stopped that is one too many."""


class StepProblemError(JetableError):
    """A step could not do what it should; the run goes on, and the verdict can't be better than unknown."""


def steady(stage: Stage, _fleet: Fleet, options: Steady) -> None:
    """Only the load runs; should it end, so does the step.

    Raises:
        TargetError: The load has ended although nobody stopped it.
    """
    end_ns = stage.clock.now_ns() + options.duration.ns
    while (left_s := (end_ns - stage.clock.now_ns()) / NS_PER_S) > 0:
        stage.clock.sleep(min(left_s, LOOK_EVERY_S))
        stage.raise_if_lost()
        if not stage.load.alive():
            raise TargetError(LOAD_ENDED)


def terminate(stage: Stage, fleet: Fleet, options: Terminate) -> None:
    """Stop signal, grace, SIGKILL at its end; then a replacement on a port of its own."""
    for victim in _victims(stage, fleet, options):
        fleet.stop(victim, _graceful(stage.scenario, victim, options, purpose="terminate"))
        fleet.start(victim.process, replaces=victim.name)


def restart(stage: Stage, fleet: Fleet, options: Restart) -> None:
    """As terminate, but the replacement takes the same port, as a process manager on one machine does it."""
    for victim in _victims(stage, fleet, options):
        fleet.stop(victim, _graceful(stage.scenario, victim, options, purpose="terminate"))
        fleet.start(victim.process, replaces=victim.name, again=victim)


def kill(stage: Stage, fleet: Fleet, options: Kill) -> None:
    """SIGKILL without a warning; then a replacement."""
    for victim in _victims(stage, fleet, options):
        order = StopOrder(
            purpose="kill",
            signal="SIGKILL",
            grace_s=0.0,
            lag_s=_lag_s(stage.scenario, options),
            wants_busy=options.when == "in-flight",
            busy_within_s=options.busy_within.s,
            everything=options.scope == "all",
        )
        fleet.stop(victim, order)
        fleet.start(victim.process, replaces=victim.name)


def rolling_restart(stage: Stage, fleet: Fleet, options: RollingRestart) -> None:
    """Replace every replica, one at a time, oldest first."""
    process = stage.scenario.process_of(options)
    for victim in fleet.up(process):
        order = _graceful(stage.scenario, victim, options, purpose="terminate")
        if options.order == "start-first":
            fleet.start(process, replaces=victim.name)
            fleet.stop(victim, order)
        else:
            fleet.stop(victim, order)
            fleet.start(process, replaces=victim.name)


def scale(stage: Stage, fleet: Fleet, options: Scale) -> None:
    """Start replicas at once, or stop the newest ones one after the other, until each process type has as many as wanted."""
    for process, wanted in options.counts.items():
        missing = wanted - len(fleet.up(process))
        if missing > 0:
            fleet.start_many(process, missing)
        for victim in reversed(fleet.up(process)[wanted:]):
            fleet.stop(victim, _graceful(stage.scenario, victim, SCALE_DOWN, purpose="scale"))


def pause(stage: Stage, fleet: Fleet, options: Pause) -> None:
    """Freeze the replica with all its descendants; the router goes on sending to it."""
    engine = stage.engine
    if not isinstance(engine, Pauses):
        raise StepProblemError(_lacking("pause", engine.name))
    for victim in _victims(stage, fleet, options):
        fleet.disturb(victim, _disturbance(stage, options, what="pause", take=engine.pause, give_back=engine.resume))


def squeeze_memory(stage: Stage, fleet: Fleet, options: SqueezeMemory) -> None:
    """Lower its limit of memory; a replacement only when its main process was killed by that."""
    engine = stage.engine
    if not isinstance(engine, LimitsMemory):
        raise StepProblemError(_lacking("squeeze_memory", engine.name))

    def squeeze(victim: Replica) -> Sent:
        return engine.squeeze(victim, options.to)

    for victim in _victims(stage, fleet, options):
        if not fleet.disturb(victim, _disturbance(stage, options, what="memory", take=squeeze, give_back=engine.release)):
            fleet.start(victim.process, replaces=victim.name)


def cut_network(stage: Stage, fleet: Fleet, options: CutNetwork) -> None:
    """Take it off the network; the router goes on sending to it."""
    engine = stage.engine
    if not isinstance(engine, CutsNetwork):
        raise StepProblemError(_lacking("cut_network", engine.name))
    for victim in _victims(stage, fleet, options):
        fleet.disturb(victim, _disturbance(stage, options, what="network", take=engine.cut, give_back=engine.reconnect))


# Any: the options under a key are of that key's own type, which `Scenario` has checked
STEPS: Final[dict[str, Callable[[Stage, Fleet, Any], None]]] = {
    "steady": steady,
    "terminate": terminate,
    "kill": kill,
    "restart": restart,
    "rolling_restart": rolling_restart,
    "scale": scale,
    "pause": pause,
    "squeeze_memory": squeeze_memory,
    "cut_network": cut_network,
}
"""Every step that a scenario can name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """What an engine must be able to do: the protocol that says so, and words for people."""

    protocol: type
    words: str


ABILITIES: Final[dict[str, Ability]] = {
    "pause": Ability(protocol=Pauses, words="freeze a replica"),
    "squeeze_memory": Ability(protocol=LimitsMemory, words="change a replica's limit of memory"),
    "cut_network": Ability(protocol=CutsNetwork, words="take a replica off the network"),
}
"""The steps that not every engine can do."""


def needs(step: Step) -> Ability | None:
    """What ``step`` asks of an engine beyond what all engines can do."""
    return ABILITIES.get(step.kind)


def check_abilities(scenario: Scenario, engine: EngineClass) -> list[tuple[tuple[str | int, ...], str]]:
    """Every step that ``engine`` can't do: its path in the scenario, and a sentence that says what to do about it."""
    return [
        (("steps", index, step.kind), _lacking(step.kind, engine.name))
        for index, step in enumerate(scenario.steps)
        if (ability := needs(step)) is not None and not _has(engine, ability)
    ]


def _has(engine: EngineClass, ability: Ability) -> bool:
    return isinstance(engine, type) and issubclass(engine, ability.protocol)


def _lacking(kind: str, engine: str) -> str:
    """``cut_network needs an engine that can take a replica off the network; the x engine can't; use --engine y``."""
    ability = ABILITIES[kind]
    others = [name for name, each in ENGINES.items() if name not in (engine, FakeEngine.name) and _has(each, ability)]
    cure = "use " + " or ".join(f"--engine {name}" for name in others) if others else "remove the step"
    return f"{kind} needs an engine that can {ability.words}; the {engine} engine can't; {cure}"


def _victims(stage: Stage, fleet: Fleet, options: Terminate | Kill | Restart | Disturb) -> list[Replica]:
    process = stage.scenario.process_of(options)
    up = fleet.up(process)
    if not up:
        raise StepProblemError(f"no replica of {process} was up")
    return choose(up, options.replica, stage.dice)


def choose(up: list[Replica], choice: str | int, dice: Dice) -> list[Replica]:
    """The replicas that ``choice`` means, of those that are up, oldest first.

    Raises:
        StepProblemError: A place in the row that is not taken.
    """
    match choice:
        case "each":
            return up
        case "oldest":
            return up[:1]
        case "newest":
            return up[-1:]
        case int():
            if choice > len(up):
                raise StepProblemError(f"replica {choice} was named but only {len(up)} were up")
            return [up[choice - 1]]
        case _:
            return [dice.choice(up)]


def _disturbance(
    stage: Stage, options: Disturb, *, what: str, take: Callable[[Replica], Sent], give_back: Callable[[Replica], Sent]
) -> Disturbance:
    process = stage.scenario.process_of(options)
    return Disturbance(
        what=what,
        detail=f"to {bytes_text(options.to)}" if isinstance(options, SqueezeMemory) else "",
        lasts_s=options.lasts.s,
        wants_busy=options.when == "in-flight" and process == stage.scenario.load_process,
        busy_within_s=options.busy_within.s,
        take=take,
        give_back=give_back,
    )


def _graceful(scenario: Scenario, victim: Replica, options: Terminate | Restart | RollingRestart, *, purpose: str) -> StopOrder:
    kind = scenario.target[victim.process]
    return StopOrder(
        purpose=purpose,
        signal=kind.stop_signal or victim.stop_signal or "SIGTERM",
        grace_s=kind.stop_grace_period.s,
        lag_s=_lag_s(scenario, options),
        wants_busy=options.when == "in-flight" and victim.process == scenario.load_process,
        busy_within_s=options.busy_within.s,
        everything=False,
    )


def _lag_s(scenario: Scenario, options: Terminate | Kill | Restart | RollingRestart) -> float:
    """Seconds from the signal until the router knows; negative when it knows before."""
    routing = scenario.routing_of(options)
    return routing.endpoint_lag.s or -routing.drain.s or 0.0
