"""The steps of a run: one small function each, in one visible dict.

A step acts on the fleet and returns when all that it started has come to its end, so the next step finds a settled target. A *fault* is
a step that harms: terminate, kill, restart, rolling restart and scaling down stop a replica; pause, squeeze memory and cut network take
something away from one and give it back. Which replica is hit comes from the run's seeded dice. What only some engines can do is in
`ABILITIES`, so that a scenario is refused before anything starts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any, Final, TypeVar

from harness.clock import NS_PER_S, Dice
from harness.engines import ENGINES
from harness.engines.base import CutsNetwork, EngineClass, LimitsMemory, Pauses, Replica, Sent
from harness.engines.fake import FakeEngine
from harness.errors import JetableError, TargetError
from harness.fleet import Disturbance, Fleet, StopOrder
from harness.scenario import (
    Aimed,
    Chaos,
    CrashLoop,
    CutConnections,
    CutNetwork,
    Disturb,
    HandOver,
    Kill,
    Pause,
    Restart,
    RollingRestart,
    Scale,
    Scenario,
    Signal,
    SqueezeMemory,
    StartService,
    Steady,
    Step,
    Stop,
    StopService,
    Terminate,
    TerminateAtStart,
    Together,
    nested,
)
from harness.scenario.choice import ALL, ANY, Choice, share_of
from harness.scenario.options import SHARE
from harness.stage import Stage
from harness.units import Duration, bytes_text

LOOK_EVERY_S: Final = 0.1

SCALE_WITHIN_S: Final = 120.0
"""How long a step waits for replicas that another step holds at the same time."""

MORE_TRIES: Final = 3
"""How often a fault is done again that came at another moment than its step demands."""

SOONER: Final = 0.75
"""By what the life of a replica is shortened for the next try when it was ready before it was over."""

JUST_BEFORE: Final = 0.9
"""The share of the quickest start so far after which a replica is about to be ready."""

LOAD_ENDED: Final = "the load ended before the steps did; its last words (logs/load.log in the run's folder)"

SCALE_DOWN: Final = Terminate(replica="newest")
"""How a replica is stopped that is one too many."""


class StepProblemError(JetableError):
    """A step could not do what it should; the run goes on, and the verdict can't be better than unknown."""


def steady(stage: Stage, _fleet: Fleet, options: Steady) -> None:
    """Only the load runs; should it end, so does the step.

    Raises:
        TargetError: The load has ended although nobody stopped it.
    """
    wait_until(stage, stage.clock.now_ns() + options.duration.ns)


def terminate(stage: Stage, fleet: Fleet, options: Terminate) -> None:
    """Stop signal, grace, SIGKILL at its end; then a replacement on a port of its own."""
    _stop_and_replace(stage, fleet, options, lambda victim: _graceful(stage.scenario, victim, options, purpose="terminate"))


def restart(stage: Stage, fleet: Fleet, options: Restart) -> None:
    """As terminate, or kill, but the replacement takes the same port, as a process manager on one machine does it."""

    def order(victim: Replica) -> StopOrder:
        if options.is_crash:
            return _sudden(stage.scenario, options)
        return _graceful(stage.scenario, victim, options, purpose="terminate")

    _stop_and_replace(stage, fleet, options, order, in_place=True)


def kill(stage: Stage, fleet: Fleet, options: Kill) -> None:
    """SIGKILL without a warning; then a replacement."""
    _stop_and_replace(stage, fleet, options, lambda _victim: _sudden(stage.scenario, options))


def hand_over(stage: Stage, fleet: Fleet, options: HandOver) -> None:
    """Begin a journey, or a write, at the replica, kill or terminate that one with all that belongs to it, and go on at the others."""

    def stop(victim: Replica) -> None:
        how = options.stop
        order = _sudden(stage.scenario, how) if isinstance(how, Kill) else _graceful(stage.scenario, victim, how, purpose="terminate")
        _until_met(fleet, victim, lambda each: _replaced(fleet, each, order))

    def one(victim: Replica) -> None:
        stage.state.hand_over(options.workload, victim, options.by, lambda: stop(victim))

    _claim_each(stage, fleet, options, one)


def rolling_restart(stage: Stage, fleet: Fleet, options: RollingRestart) -> None:
    """Replace every replica, so many at a time, oldest first."""
    process = stage.scenario.process_of(options)

    def renew(victim: Replica) -> tuple[bool, Replica]:
        order = _graceful(stage.scenario, victim, options, purpose="terminate")
        if options.order == "start-first":
            fresh = fleet.start(process, replaces=victim.name)
            return fleet.stop(victim, order), fresh
        met = fleet.stop(victim, order)
        return met, fleet.start(process, replaces=victim.name)

    for group in batched(_row(stage, fleet, process), options.at_a_time):
        mine = [victim for victim in group if fleet.take(victim, replaced=True)]
        _at_once(stage, lambda victim: _until_met(fleet, victim, renew), mine)


def scale(stage: Stage, fleet: Fleet, options: Scale) -> None:
    """Start replicas at once, or stop the newest ones one after the other, until each process type has as many as wanted."""
    for process, wanted in options.counts.items():
        missing = wanted - fleet.places(process)
        if missing > 0:
            fleet.start_many(process, missing)
        deadline_ns = stage.clock.now_ns() + round(SCALE_WITHIN_S * NS_PER_S)
        while fleet.places(process) > wanted:
            victims = fleet.up(process)[-1:]
            for victim in victims:
                if fleet.take(victim, replaced=False):
                    fleet.stop(victim, _graceful(stage.scenario, victim, SCALE_DOWN, purpose="scale"))
            if not victims:  # another step at the same time holds them all, and will give their replacements back
                if stage.clock.now_ns() > deadline_ns:
                    raise StepProblemError(f"{process} still had {fleet.places(process)} replicas after {SCALE_WITHIN_S:.0f} s")
                stage.clock.sleep(LOOK_EVERY_S)


def signal(stage: Stage, fleet: Fleet, options: Signal) -> None:
    """A signal that the replica should live through; a replacement only when it does not."""
    order = StopOrder(
        purpose="signal",
        signal=options.name,
        when=options.when,
        busy_within_s=options.busy_within.s,
        job_share=_job_share(options),
        everything=options.scope == "all",
    )
    _hold_each(stage, fleet, options, lambda victim: fleet.nudge(victim, order, options.lasts.s))


def terminate_at_start(stage: Stage, fleet: Fleet, options: TerminateAtStart) -> None:
    """Stop one more replica while it starts, show that it starts again where it was, and remove it."""
    process = stage.scenario.process_of(options)
    kind = stage.scenario.target[process]
    order = StopOrder(
        purpose="start",
        signal=options.signal or kind.stop_signal or "SIGTERM",
        grace_s=kind.stop_grace_period.s,
        again_s=options.again.s if options.again else 0.0,
    )
    early: Replica | None = None
    for left in range(MORE_TRIES, -1, -1):
        life_s = _life_s(stage, fleet, process, options.at) * SOONER ** (MORE_TRIES - left)
        early = fleet.stop_while_starting(process, life_s, order, again=early)
        if isinstance(options.at, Duration) or not left or not fleet.got_ready(early):
            break
        fleet.repeat(early)  # it was quicker than all before it, of which the next one makes use
    assert early is not None  # noqa: S101  the loop has run
    fleet.prove_start(process, again=early)


def crash_loop(stage: Stage, fleet: Fleet, options: CrashLoop) -> None:
    """SIGKILL a replica, and at the same address each of its replacements but the last while it starts."""

    def loop(victim: Replica) -> None:
        fleet.stop(victim, StopOrder(purpose="kill", signal="SIGKILL", everything=True))
        last = victim
        for number in range(options.times - 1):
            order = StopOrder(purpose="start", signal="SIGKILL", everything=True)
            after = options.after[number % len(options.after)] if isinstance(options.after, tuple) else options.after
            last = fleet.stop_while_starting(victim.process, _life_s(stage, fleet, victim.process, after), order, again=last)
        fleet.start(victim.process, replaces=victim.name, again=last)

    _claim_each(stage, fleet, options, loop)


def together(stage: Stage, fleet: Fleet, options: Together) -> None:
    """Several steps at the same time, which choose from the same row, each by a dice of its own: it matters not who comes first."""
    row = stage.row or {process: fleet.up(process) for process in stage.scenario.target}

    def do(part: tuple[int, Step]) -> None:
        number, step = part
        STEPS[step.kind](replace(stage, dice=stage.dice.fork(f"part {number}"), row=row), fleet, step.options)

    # those that go through the whole row begin last and leave out what others have claimed
    stage.background.map(do, sorted(enumerate(options.steps), key=lambda part: isinstance(part[1].options, RollingRestart | Scale)))


def chaos(stage: Stage, _fleet: Fleet, options: Chaos) -> None:
    """One step that the dice chose after the other, at fixed times, each with its own place in the history."""
    began_ns = stage.clock.now_ns()
    number = 0
    while number * options.every.ns < options.lasts.ns:
        wait_until(stage, began_ns + number * options.every.ns)
        dice = stage.dice.fork(f"draw {number}")
        stage.inner(draw(stage.scenario, options, dice), dice)
        # A step that took long makes those wait that would have begun meanwhile, and the last ones never begin.
        number = max(number + 1, -(-(stage.clock.now_ns() - began_ns) // options.every.ns))
    wait_until(stage, began_ns + options.lasts.ns)


def draw(scenario: Scenario, options: Chaos, dice: Dice) -> Step:
    """One of the steps that ``options`` names; for ``scale`` alone how many replicas of the process type that takes the load."""
    item = dice.choice(list(options.of))
    if isinstance(item, Step):
        return item
    process = scenario.main_process
    return Step(scale=Scale({process: dice.integer(1, 2 * max(1, scenario.target[process].replicas))}))


def resolve(stage: Stage, fleet: Fleet, step: Step, spoken_for: frozenset[str] = frozenset()) -> Step:
    """``step`` as it is done: what chance decides is decided, so that the same can be done again.

    Chance leaves out replicas that are ``spoken_for``, by name, while there are others.

    Raises:
        StepProblemError: It needs a replica, and there is none.
    """
    options = step.options
    match options:
        case Together():
            return step.model_copy(update={"together": _resolve_together(stage, fleet, options, spoken_for)})
        case TerminateAtStart() if options.at == "any":
            return step.model_copy(update={step.kind: options.model_copy(update={"at": _some_life(stage)})})
        case Terminate() | Kill() | Restart() | HandOver() | Pause() | SqueezeMemory() | CutNetwork() | Signal() | CrashLoop():
            up = _row(stage, fleet, stage.scenario.process_of(options))
            settled: dict[str, object] = {"replica": choose(up, options, stage, spoken_for)}
            if isinstance(options, CrashLoop):
                settled["after"] = _settled_lives(stage, options)
            return step.model_copy(update={step.kind: options.model_copy(update=settled)})
        case _:
            return step


def _settled_lives(stage: Stage, options: CrashLoop) -> str | Duration | tuple[str | Duration, ...]:
    """How long the replicas of a crash loop live, each with a share of its own where chance decides."""
    lives = options.after if isinstance(options.after, tuple) else (options.after,)
    if ANY not in lives:
        return options.after
    return tuple(
        _some_life(stage) if each == ANY else each for each, _ in zip(cycle(lives), range(max(1, options.times - 1)), strict=False)
    )


def _some_life(stage: Stage) -> str:
    """A share of the quickest start by the dice; what the quickest is may change from one start to the next."""
    return f"{stage.dice.integer(1, 100)}%"


def _resolve_together(stage: Stage, fleet: Fleet, options: Together, spoken_for: frozenset[str]) -> Together:
    """Those that leave nothing to chance choose first, so that no two stop the same replica where there are enough of them."""
    parts = list(options.steps)
    for number in sorted(range(len(parts)), key=lambda number: _is_by_chance(parts[number])):
        part = resolve(replace(stage, dice=stage.dice.fork(f"part {number}")), fleet, parts[number], spoken_for)
        spoken_for |= {victim.name for victim in _first_victims(stage, fleet, part)}
        parts[number] = part
    return Together(tuple(parts))


def _is_by_chance(step: Step) -> bool:
    choice = getattr(step.options, "replica", None)
    return choice == ANY or (choice is not None and share_of(choice) is not None)


def _first_victims(stage: Stage, fleet: Fleet, step: Step) -> list[Replica]:
    """The replicas that a step, which leaves nothing to chance any more, stops at its beginning."""
    match step.options:
        case Together() as together:
            return [victim for part in together.steps for victim in _first_victims(stage, fleet, part)]
        case RollingRestart() as rolling:
            return _row(stage, fleet, stage.scenario.process_of(rolling))[: rolling.at_a_time]
        case Scale() as scale:
            return [victim for process, wanted in scale.counts.items() for victim in _row(stage, fleet, process)[wanted:]]
        case Terminate() | Kill() | Restart() | HandOver() | Pause() | SqueezeMemory() | CutNetwork() | Signal() | CrashLoop() as aimed:
            return _victims(stage, fleet, aimed)[0]
        case _:
            return []


def choose(up: list[Replica], options: Aimed, stage: Stage, spoken_for: frozenset[str] = frozenset()) -> Choice:
    """The choice of replicas with nothing left to chance: places in the row of those that are up, or a word that chance has no part in.

    Raises:
        StepProblemError: No replica is up, or not so many.
    """
    choice = options.replica
    if not up:
        raise StepProblemError(f"no replica of {stage.scenario.process_of(options)} was up")
    places = [choice] if isinstance(choice, int) else list(choice) if isinstance(choice, tuple) else []
    if places and max(places) > len(up):
        raise StepProblemError(f"replica {max(places)} was named but only {len(up)} were up")
    everybody = list(range(1, len(up) + 1))
    free = [place for place in everybody if up[place - 1].name not in spoken_for]
    if choice == ANY:
        return stage.dice.choice(free or everybody)
    if choice == ALL:
        return tuple(everybody)
    if share := share_of(choice):
        wanted = max(1, math.floor(share * len(up)))
        chosen = free if len(free) >= wanted else everybody
        for _ in range(len(chosen) - wanted):
            chosen.remove(stage.dice.choice(chosen))
        return tuple(chosen)
    return choice


def stop_service(stage: Stage, _fleet: Fleet, options: StopService) -> None:
    """Stop a backing service, and start it again when its time is over.

    Raises:
        StepProblemError: It was gone already.
    """
    there = stage.backing.stop(options.service, options.signal)
    if options.lasts is not None:
        wait_until(stage, stage.clock.now_ns() + options.lasts.ns)
        stage.backing.start(options.service)
    if not there:
        raise StepProblemError(f"{options.service} was gone already, so nothing was stopped")


def start_service(stage: Stage, _fleet: Fleet, options: StartService) -> None:
    """Start a backing service again."""
    stage.backing.start(options.service)


def cut_connections(stage: Stage, _fleet: Fleet, options: CutConnections) -> None:
    """Have a backing service close its clients' connections; they may connect again at once.

    Raises:
        StepProblemError: Nobody was connected, so nothing was cut.
    """
    if not stage.backing.cut(options.service):
        raise StepProblemError(f"nobody was connected to {options.service}, so nothing was cut")


def pause(stage: Stage, fleet: Fleet, options: Pause) -> None:
    """Freeze the replica with all its descendants; the router goes on sending to it."""
    engine = stage.engine
    if not isinstance(engine, Pauses):
        raise StepProblemError(_lacking("pause", engine.name))
    order = _disturbance(stage, options, what="pause", take=engine.pause, give_back=engine.resume)
    _hold_each(stage, fleet, options, lambda victim: fleet.disturb(victim, order))


def squeeze_memory(stage: Stage, fleet: Fleet, options: SqueezeMemory) -> None:
    """Lower its limit of memory; a replacement only when its main process was killed by that."""
    engine = stage.engine
    if not isinstance(engine, LimitsMemory):
        raise StepProblemError(_lacking("squeeze_memory", engine.name))

    def squeeze(victim: Replica) -> Sent:
        return engine.squeeze(victim, options.to)

    order = _disturbance(stage, options, what="memory", take=squeeze, give_back=engine.release)
    _hold_each(stage, fleet, options, lambda victim: fleet.disturb(victim, order))


def cut_network(stage: Stage, fleet: Fleet, options: CutNetwork) -> None:
    """Take it off the network; the router goes on sending to it."""
    engine = stage.engine
    if not isinstance(engine, CutsNetwork):
        raise StepProblemError(_lacking("cut_network", engine.name))
    order = _disturbance(stage, options, what="network", take=engine.cut, give_back=engine.reconnect)
    _hold_each(stage, fleet, options, lambda victim: fleet.disturb(victim, order))


# Any: the options under a key are of that key's own type, which `Scenario` has checked
STEPS: Final[dict[str, Callable[[Stage, Fleet, Any], None]]] = {
    "steady": steady,
    "terminate": terminate,
    "kill": kill,
    "restart": restart,
    "hand_over": hand_over,
    "rolling_restart": rolling_restart,
    "scale": scale,
    "signal": signal,
    "terminate_at_start": terminate_at_start,
    "crash_loop": crash_loop,
    "pause": pause,
    "squeeze_memory": squeeze_memory,
    "cut_network": cut_network,
    "stop_service": stop_service,
    "start_service": start_service,
    "cut_connections": cut_connections,
    "together": together,
    "chaos": chaos,
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


A = TypeVar("A")


def batched(things: list[A], size: int) -> Iterator[list[A]]:
    """``things`` in groups of ``size``, the last one smaller (``itertools.batched`` came with Python 3.12)."""
    rest = iter(things)
    while group := list(islice(rest, size)):
        yield group


def needs(step: Step) -> Ability | None:
    """What ``step`` asks of an engine beyond what all engines can do."""
    return ABILITIES.get(step.kind)


def check_abilities(scenario: Scenario, engine: EngineClass) -> list[tuple[tuple[str | int, ...], str]]:
    """Every step that ``engine`` can't do: its path in the scenario, and a sentence that says what to do about it."""
    return [
        (("steps", index, whole.kind), _lacking(step.kind, engine.name))
        for index, whole in enumerate(scenario.steps)
        for step in nested((whole,))
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


def _row(stage: Stage, fleet: Fleet, process: str) -> list[Replica]:
    """The replicas that a step chooses from: those that are up, or that were up when this step and others began together."""
    return list(stage.row[process]) if process in stage.row else fleet.up(process)


def _victims(stage: Stage, fleet: Fleet, options: Aimed) -> list[list[Replica]]:
    """The replicas that a step means, as groups that are hit at once, one group after the other."""
    up = _row(stage, fleet, stage.scenario.process_of(options))
    match choose(up, options, stage):
        case "oldest":
            return [up[:1]]
        case "newest":
            return [up[-1:]]
        case int() as place:
            return [[up[place - 1]]]
        case tuple() as places:
            return [[up[place - 1] for place in places]]
        case _:
            return [[victim] for victim in up]


def _at_once(stage: Stage, work: Callable[[Replica], object], victims: list[Replica]) -> None:
    """Do ``work`` on all of them at the same time."""
    if len(victims) == 1:
        work(victims[0])
    else:
        stage.background.map(work, victims)


def _stop_and_replace(stage: Stage, fleet: Fleet, options: Stop, order: Callable[[Replica], StopOrder], *, in_place: bool = False) -> None:
    """Stop each victim as ``order`` says, and start one in its place, ``in_place`` at the same address."""

    def one(victim: Replica) -> tuple[bool, Replica]:
        return _replaced(fleet, victim, order(victim), in_place=in_place)

    _claim_each(stage, fleet, options, lambda victim: _until_met(fleet, victim, one))


def _replaced(fleet: Fleet, victim: Replica, order: StopOrder, *, in_place: bool = False) -> tuple[bool, Replica]:
    """Stop one replica and start another one; whether the stop came at its moment, and the new one."""
    met = fleet.stop(victim, order)
    try:
        return met, fleet.start(victim.process, replaces=victim.name, again=victim if in_place else None)
    finally:
        fleet.bury(victim)


def _until_met(fleet: Fleet, victim: Replica, replace_one: Callable[[Replica], tuple[bool, Replica]]) -> None:
    """Replace a claimed replica, and its replacement again as long as the fault came at another moment than its step demands.

    ``replace_one`` tells whether it came at that moment, and the replacement.
    """
    for left in range(MORE_TRIES, -1, -1):
        met, fresh = replace_one(victim)
        if met or not left or not fleet.take(fresh, replaced=True):
            return
        fleet.repeat(victim, fresh)
        victim = fresh


def _hold_each(stage: Stage, fleet: Fleet, options: Disturb | Signal, act: Callable[[Replica], bool]) -> None:
    """Do ``act`` to the victims of a step, which stay where they are, and start another one for each that did not live through it.

    Raises:
        StepProblemError: Another step at the same time had claimed one.
    """

    def one(victim: Replica) -> None:
        with fleet.claimed(victim) as mine:
            if not mine:
                raise StepProblemError(f"{victim.name} was in the hands of another step at the same time")
            if not act(victim):
                fleet.start(victim.process, replaces=victim.name)

    for group in _victims(stage, fleet, options):
        _at_once(stage, one, group)


def _claim_each(stage: Stage, fleet: Fleet, options: Aimed, work: Callable[[Replica], None]) -> None:
    """Do ``work`` on all replicas that a step means, but on none that another step has claimed.

    Raises:
        StepProblemError: Others had claimed them all.
    """
    count = 0
    for group in _victims(stage, fleet, options):
        mine = [victim for victim in group if fleet.take(victim, replaced=True)]
        count += len(mine)
        _at_once(stage, work, mine)
    if not count:
        raise StepProblemError("another step at the same time had stopped each replica that this one chose")


def _life_s(stage: Stage, fleet: Fleet, process: str, at: str | Duration) -> float:
    """How long a replica lives that is not to become ready, in seconds from its beginning; infinite: until it listens."""
    if isinstance(at, Duration):
        return at.s
    if at == "ready" and stage.scenario.healthcheck_of(process).kind in ("http", "tcp", "test"):
        return math.inf
    share = SHARE.fullmatch(at)
    return fleet.quickest_start_s(process) * JUST_BEFORE * (int(share[1]) / 100 if share else 1.0)


def raise_if_load_ended(stage: Stage) -> None:
    """Raise `TargetError`, with its reason, when the load has ended although nobody stopped it."""
    if not stage.load.alive():
        raise TargetError(f"{LOAD_ENDED}: {stage.load.last_words()}")


def wait_until(stage: Stage, at_ns: int) -> None:
    """Let the load run until ``at_ns``; raises as `steady`."""
    while (left_s := (at_ns - stage.clock.now_ns()) / NS_PER_S) > 0:
        stage.clock.sleep(min(left_s, LOOK_EVERY_S))
        stage.raise_if_lost()
        raise_if_load_ended(stage)


def _disturbance(
    stage: Stage, options: Disturb, *, what: str, take: Callable[[Replica], Sent], give_back: Callable[[Replica], Sent]
) -> Disturbance:
    process = stage.scenario.process_of(options)
    return Disturbance(
        what=what,
        detail=f"to {bytes_text(options.to)}" if isinstance(options, SqueezeMemory) else "",
        lasts_s=options.lasts.s,
        when=_when(stage.scenario, process, options),
        busy_within_s=options.busy_within.s,
        job_share=_job_share(options),
        take=take,
        give_back=give_back,
    )


def _graceful(scenario: Scenario, victim: Replica, options: Terminate | Restart | RollingRestart, *, purpose: str) -> StopOrder:
    kind = scenario.target[victim.process]
    return StopOrder(
        purpose=purpose,
        signal=options.signal or kind.stop_signal or victim.stop_signal or "SIGTERM",
        grace_s=kind.stop_grace_period.s,
        lag_s=_lag_s(scenario, options),
        when=_when(scenario, victim.process, options),
        busy_within_s=options.busy_within.s,
        job_share=_job_share(options),
        again_s=options.again.s if options.again else 0.0,
    )


def _sudden(scenario: Scenario, options: Kill | Restart) -> StopOrder:
    return StopOrder(
        purpose="kill",
        signal="SIGKILL",
        lag_s=_lag_s(scenario, options),
        when=options.when,
        busy_within_s=options.busy_within.s,
        job_share=_job_share(options),
        everything=options.scope == "all",
        spares=isinstance(options, Restart),
    )


def _when(scenario: Scenario, process: str, options: Disturb | Terminate | Restart | RollingRestart) -> str:
    """The moment that is demanded of a victim; none of one that neither takes load nor works on jobs."""
    return options.when if process in (scenario.load_process, scenario.job_process) else "any"


def _job_share(options: Aimed | RollingRestart) -> float:
    share = SHARE.fullmatch(getattr(options, "job_share", None) or "")
    return int(share[1]) / 100 if share else 0.0


def _lag_s(scenario: Scenario, options: Terminate | Kill | Restart | RollingRestart) -> float:
    """Seconds from the signal until the router knows; negative when it knows before."""
    routing = scenario.routing_of(options)
    return routing.endpoint_lag.s or -routing.drain.s or 0.0
