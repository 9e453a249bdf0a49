"""The shortest drain with which an app loses nothing, found by bisection over whole runs.

A platform decides at one instant to stop a replica. Its router learns of that later, by the *endpoint lag*; until then it goes on sending
new requests there. A *drain*, Kubernetes' preStop sleep, lets the process run on for so long before it gets its signal. So a try with a
drain of ``d`` in front of a router with a lag of ``l`` is the scenario's own run with ``endpoint_lag: l - d``, or ``drain: d - l``
where the drain is the longer one.

    no drain ─▶ the lag itself ─▶ the longest drain ─▶ bisection between what dropped and what did not ─▶ again ─▶ settings

Every try is a whole run, recorded and judged, in a folder of its own. A try counts as *dropped* when a stop in order dropped a request or
lost a new connection, and as *unknown* when it proves nothing; then it is repeated, and an answer is never guessed. That a longer drain
never drops more is assumed; an answer that drops when it is tried again is too short, and the search goes on above it.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from harness.checks.drops import book
from harness.checks.facts import STOP_PURPOSES, Facts, Fault
from harness.checks.metrics import dropped_knocks
from harness.checks.power import bound
from harness.checks.wording import count, listed
from harness.clock import NS_PER_S
from harness.errors import StoppedError, UsageError
from harness.history import History, read
from harness.report.drain import DrainResult, DrainTry, Setting, verdict_of
from harness.report.model import RunReport
from harness.run import DEFAULT_REPORTS, RunOptions, engine_for, seed_of
from harness.scenario import Restart, RollingRestart, Scale, Scenario, Steady, Step, Terminate, Together, nested
from harness.scenario.options import Routing
from harness.scenario.values import ZERO
from harness.units import Duration, span
from harness.verdict import Verdict, exit_code

UP_TO: Final = Duration.parse("10s")
PRECISION: Final = Duration.parse("250ms")

CONFIRMED: Final = 2
"""Tries that must drop nothing with the drain that is the answer, unless somebody asks for more."""

MOST_UNKNOWN: Final = 3
"""Tries with one drain that may prove nothing before the answer is unknown."""

MOST_TRIES: Final = 60
"""With stops that drop only by chance the search could go on for long; then the answer is unknown."""

ABOUT_DROPS: Final = ("dropped_requests", "dropped_knocks")
"""Metrics of findings that tell what was dropped."""

NAME_CHARACTERS: Final = 120
"""The longest name of a scenario."""

MARGIN_SHARE: Final = 0.25
MARGIN_S: Final = 1.0
"""What a grace needs above the longest stop that was seen: a quarter of it, and a second."""

Attempt: TypeAlias = Callable[[Scenario, RunOptions], tuple[RunReport, bool]]
"""Runs a scenario, and says whether somebody stopped it: `harness.run.run_scenario` but for the file and the display."""

Known: TypeAlias = Sequence[tuple[int, Verdict]]
"""What the tries so far gave: nanoseconds of drain, and the verdict on it, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Where the shortest drain is looked for, in nanoseconds.

    Attributes:
        from_ns: The shortest that is tried, and the first.
        up_to_ns: The longest.
        precision_ns: How far above a drain that is too short the answer may be.
        guess_ns: What is tried before ``up_to_ns`` when ``from_ns`` is too short.
        confirmed: Tries that must drop nothing with the answer.
    """

    from_ns: int
    up_to_ns: int
    precision_ns: int
    guess_ns: int
    confirmed: int = CONFIRMED


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """PASS: ``shortest_ns`` it is; FAIL: the longest drain dropped; UNKNOWN: the tries don't tell. None for what there is not."""

    verdict: Verdict
    shortest_ns: int | None
    too_short_ns: int | None


def next_ns(known: Known, within: Range) -> int | None:
    """The drain to try next, or None when the tries that are ``known`` say all that can be said."""
    wanted = _wanted(known, within)
    if wanted is None or len(known) >= MOST_TRIES + within.confirmed:
        return None
    return None if sum(pair == (wanted, Verdict.UNKNOWN) for pair in known) >= MOST_UNKNOWN else wanted


def answer_of(known: Known, within: Range) -> Answer:
    """What the tries say, once `next_ns` asks for no more."""
    too_short, passed = _bounds(known)
    if _wanted(known, within) is not None:
        return Answer(verdict=Verdict.UNKNOWN, shortest_ns=None, too_short_ns=too_short)
    if not passed:
        return Answer(verdict=Verdict.FAIL, shortest_ns=None, too_short_ns=too_short)
    return Answer(verdict=Verdict.PASS, shortest_ns=min(passed), too_short_ns=too_short)


def _bounds(known: Known) -> tuple[int | None, list[int]]:
    """The longest drain that dropped, and those above it that did not, one for each try."""
    too_short = max((drain for drain, verdict in known if verdict is Verdict.FAIL), default=None)
    passed = [drain for drain, verdict in known if verdict is Verdict.PASS and (too_short is None or drain > too_short)]
    return too_short, passed


def _wanted(known: Known, within: Range) -> int | None:
    """What an answer still needs; None when there is one."""
    too_short, passed = _bounds(known)
    if too_short is None:
        return within.from_ns if passed.count(within.from_ns) < within.confirmed else None
    if too_short >= within.up_to_ns:
        return None
    if not passed:
        return within.guess_ns if too_short < within.guess_ns < within.up_to_ns else within.up_to_ns
    enough = min(passed)
    if enough - too_short <= within.precision_ns:
        return enough if passed.count(enough) < within.confirmed else None
    steps = (enough - too_short) // 2 // within.precision_ns
    return too_short + max(1, steps) * within.precision_ns


# --- the tries --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainOptions:
    """What the person who asks decided; ``None`` for what is left to the scenario.

    Attributes:
        lag: How long after the platform's decision the router learns of it; else the longest that the scenario names.
        up_to: The longest drain that is tried; else 10 s, or twice the lag where that is longer.
        precision: How far above a drain that is too short the answer may be.
        at: Try this drain only.
        confirm: How many tries must drop nothing with the answer.
    """

    lag: Duration | None = None
    up_to: Duration | None = None
    precision: Duration = PRECISION
    at: Duration | None = None
    confirm: int = CONFIRMED


def lag_of(scenario: Scenario, asked: Duration | None) -> Duration:
    """The endpoint lag that was asked for, or else the longest that the scenario names, 0 s when it names none."""
    if asked is not None:
        return asked
    ordered = [step.options for step in nested(scenario.steps) if isinstance(step.options, Terminate | RollingRestart | Restart)]
    return max([scenario.routing.endpoint_lag, *(scenario.routing_of(options).endpoint_lag for options in ordered)])


def range_of(lag: Duration, asked: DrainOptions) -> Range:
    """Where to look; raises `UsageError` when nothing can be found there."""
    if not asked.precision:
        raise UsageError("--precision 0s: nothing is measured as exactly as that; try 100ms")
    if asked.at is not None:
        at_ns = asked.at.ns
        return Range(from_ns=at_ns, up_to_ns=at_ns, precision_ns=asked.precision.ns, guess_ns=at_ns, confirmed=asked.confirm)
    up_to = asked.up_to or max(UP_TO, Duration(ns=2 * lag.ns))
    if up_to.ns < asked.precision.ns:
        raise UsageError(f"--up-to {up_to} is shorter than the precision of {asked.precision}; give a longer one, or a finer --precision")
    return Range(from_ns=0, up_to_ns=up_to.ns, precision_ns=asked.precision.ns, guess_ns=lag.ns, confirmed=asked.confirm)


def stops_only(scenario: Scenario) -> Scenario:
    """``scenario`` with nothing but its steady times, its scaling and its stops in order, judged by the default thresholds.

    Raises:
        UsageError: Nobody sends requests, or no step stops a replica of the process type that takes them in order.
    """
    if not scenario.has_load:
        raise UsageError(
            f"{scenario.name!r} has no load, and a drain is for requests that still come when a replica is to stop; write load:"
        )
    kept = tuple(step for whole in scenario.steps if (step := _kept(whole)) is not None)
    if not _stops_in_order(scenario, kept):
        raise UsageError(
            f"no step of {scenario.name!r} stops a replica of {scenario.load_process} in order, so no drain can help it; "
            "add a step such as terminate: each"
        )
    return scenario.model_copy(update={"steps": kept, "expect": (), "must_find": ()})


def with_drain(scenario: Scenario, lag: Duration, drain_ns: int) -> Scenario:
    """``scenario`` as it is when the signal comes ``drain_ns`` after the decision, and the router knows ``lag`` after it."""
    late_ns = lag.ns - drain_ns
    routing = Routing(endpoint_lag=Duration(ns=late_ns), drain=ZERO) if late_ns > 0 else Routing(drain=Duration(ns=-late_ns))
    name = f"drain {Duration(ns=drain_ns)}: {scenario.name}"[:NAME_CHARACTERS]
    return scenario.model_copy(update={"name": name, "routing": routing})


def left_out(scenario: Scenario) -> tuple[str, ...]:
    """The steps that are no part of a try, in words."""
    return tuple(step.text for step in scenario.steps if _kept(step) is None)


def _kept(step: Step) -> Step | None:
    """A step as it is in a try: without a routing of its own; None when it is left out."""
    match step.options:
        case Steady() | Scale():
            return step
        case Terminate() | RollingRestart():
            pass
        case Restart() as restart if not restart.is_crash:
            pass
        case Together() as together:
            parts = tuple(part for each in together.steps if (part := _kept(each)) is not None)
            if len(parts) > 1:
                return step.model_copy(update={"together": Together(parts)})
            return parts[0].model_copy(update={"repeat": step.repeat, "at": step.at}) if parts else None
        case _:
            return None
    return step.model_copy(update={step.kind: step.options.model_copy(update={"endpoint_lag": None, "drain": None})})


def _stops_in_order(scenario: Scenario, steps: tuple[Step, ...]) -> bool:
    process = scenario.load_process
    up = scenario.target[process].replicas
    for step in nested(steps):
        match step.options:
            case Scale() as scale if process in scale.counts:
                if scale.counts[process] < up:
                    return True
                up = scale.counts[process]
            case Terminate() | RollingRestart() | Restart() as stop if scenario.process_of(stop) == process:
                return True
            case _:
                pass
    return False


def measure(report: RunReport, history: History, lag: Duration, drain_ns: int) -> DrainTry:
    """What a try says of its drain."""
    facts = Facts(history)
    process = facts.scenario.load_process
    stops = [fault for fault in facts.faults if fault.kind in STOP_PURPOSES and fault.victim.process == process]
    mine = {fault.number for fault in stops}
    groups = book(facts).groups
    requests = [group for group in groups if group.harm is not None and group.harm.number in mine]
    strangers = [group for group in groups if group.harm is None or group.harm.number not in mine]
    knocks = {fault.number: len(dropped_knocks(facts, fault)) for fault in stops}
    hit = {group.harm.number for group in requests if group.harm is not None} | {number for number, lost in knocks.items() if lost}
    proven = [fault for fault in stops if fault.tells or fault.number in hit]
    doubt = "" if hit else _doubt(report, proven, [group.name for group in strangers])
    told = next((each for each in report.findings if each.verdict is Verdict.FAIL and each.metric in ABOUT_DROPS), None) if hit else None
    ends = [fault.exit_s for fault in stops if fault.exit_s is not None and fault.killed is None]
    return DrainTry(
        drain_s=drain_ns / NS_PER_S,
        router_s=(lag.ns - drain_ns) / NS_PER_S,
        verdict=(Verdict.FAIL if hit else Verdict.UNKNOWN if doubt else Verdict.PASS).word,
        stops=len(stops),
        proven=len(proven),
        dropped_stops=len(hit),
        dropped_requests=sum(group.count for group in requests),
        dropped_connections=sum(knocks.values()),
        longest_stop_s=max(ends, default=None),
        killed=sum(fault.killed is not None for fault in stops),
        what=told.title if told else doubt,
        cause=told.cause if told else "",
        cure=told.cure if told else "",
        beside=_beside(report),
        seed=report.seed,
        folder=str(report.folder),
    )


def _beside(report: RunReport) -> tuple[str, ...]:
    """What else failed; findings of thresholds only repeat it."""
    failed = (each for each in report.findings if each.verdict is Verdict.FAIL and each.check != "expect")
    return tuple(dict.fromkeys(each.name for each in failed if each.metric not in ABOUT_DROPS))


def _doubt(report: RunReport, proven: Sequence[Fault], strangers: Sequence[str]) -> str:
    """Why a try in which no stop dropped anything proves nothing all the same; empty when it does prove something."""
    if strangers:
        return f"requests were dropped that no stop explains ({listed(sorted(set(strangers)))}), so no drain can help them"
    titles = {verdict: [each.title for each in report.findings if each.verdict is verdict] for verdict in (Verdict.FAIL, Verdict.UNKNOWN)}
    if proven:
        return next(iter(titles[Verdict.UNKNOWN]), "")
    # What failed, such as a start, is why there was nothing to see.
    return next(iter([*titles[Verdict.FAIL], *titles[Verdict.UNKNOWN]]), "no stop hit a replica with a request in flight")


# --- the search -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search that can begin: everything that was asked for is possible.

    Attributes:
        scenario: Whose stops in order are tried; ``bare`` is what a try plays of it.
        path: Its file.
        options: As for a run, with a seed; each try's is one higher than that of the try before, and has a ``rerun`` of its own.
        lag: How long after the platform's decision the router learns of a stop.
        within: Where it looks.
        again: The command line that repeats it all.
        left_out: The steps that are no part of a try, in words.
    """

    scenario: Scenario
    bare: Scenario
    path: Path
    options: RunOptions
    lag: Duration
    within: Range
    again: str
    left_out: tuple[str, ...]


def prepare(scenario: Scenario, path: Path, options: RunOptions, asked: DrainOptions) -> Search:
    """Check all that was asked for, before anything starts.

    Raises:
        UsageError: There is no stop in order, or there is nothing to look for.
    """
    options = replace(options, seed=seed_of(scenario, options))
    lag = lag_of(scenario, asked.lag)
    within = range_of(lag, asked)
    words = [*_command(path, options, options.seed or 0, lag), "--precision", str(asked.precision)]
    words += ["--at", str(asked.at)] if asked.at is not None else ["--up-to", str(Duration(ns=within.up_to_ns))]
    words += ["--confirm", str(asked.confirm)] if asked.confirm != CONFIRMED else []
    return Search(
        scenario=scenario,
        bare=stops_only(scenario),
        path=path,
        options=options,
        lag=lag,
        within=within,
        again=shlex.join(words),
        left_out=left_out(scenario),
    )


def shortest_drain(search: Search, attempt: Attempt, told: Callable[[DrainTry], None]) -> DrainResult:
    """Try one drain after the other and say the shortest with which no stop dropped anything; ``told`` hears of each try at its end.

    Raises:
        StoppedError: Somebody stopped a try.
    """
    tries: list[DrainTry] = []
    known: list[tuple[int, Verdict]] = []
    while (drain_ns := next_ns(known, search.within)) is not None:
        seed = ((search.options.seed or 0) + len(tries)) % 2**63
        again = shlex.join([*_command(search.path, search.options, seed, search.lag), "--at", str(Duration(ns=drain_ns))])
        report, stopped = attempt(with_drain(search.bare, search.lag, drain_ns), replace(search.options, seed=seed, rerun=again))
        if stopped:
            raise StoppedError("stopped")
        tried = measure(report, read(report.folder), search.lag, drain_ns)
        tries.append(tried)
        known.append((drain_ns, verdict_of(tried.verdict)))
        told(tried)
    return _result(search, tries, answer_of(known, search.within))


def _command(path: Path, options: RunOptions, seed: int, lag: Duration) -> list[str]:
    words = ["jetable", "drain", str(path), *(["--engine", options.engine] if options.engine else []), "--seed", str(seed)]
    words += ["--reports", str(options.reports)] if options.reports != DEFAULT_REPORTS else []
    return [*words, "--endpoint-lag", str(lag)]


def _result(search: Search, tries: Sequence[DrainTry], answer: Answer) -> DrainResult:
    drain_ns = answer.shortest_ns
    with_it = [each for each in tries if drain_ns is not None and each.drain_s == drain_ns / NS_PER_S]
    proven = sum(each.proven for each in with_it if each.verdict == Verdict.PASS.word)
    longest_s = max((each.longest_stop_s for each in tries if each.longest_stop_s is not None), default=None)
    longest_s = None if any(each.killed for each in with_it or tries) else longest_s
    return DrainResult(
        scenario=search.scenario.name,
        path=str(search.path),
        engine=engine_for(search.scenario, search.options.engine),
        verdict=answer.verdict.word,
        exit_code=int(exit_code(max(answer.verdict, Verdict.FAIL if any(each.beside for each in with_it) else Verdict.PASS))),
        endpoint_lag_s=search.lag.s,
        up_to_s=search.within.up_to_ns / NS_PER_S,
        precision_s=search.within.precision_ns / NS_PER_S,
        shortest_s=drain_ns / NS_PER_S if drain_ns is not None else None,
        too_short_s=answer.too_short_ns / NS_PER_S if answer.too_short_ns is not None else None,
        bound=bound(0, proven) if drain_ns is not None else None,
        longest_stop_s=longest_s,
        settings=settings_for(Duration(ns=drain_ns), search.lag, longest_s) if drain_ns is not None else (),
        left_out=search.left_out,
        tries=tuple(tries),
        again=search.again,
    )


def settings_for(drain: Duration, lag: Duration, longest_stop_s: float | None) -> tuple[Setting, ...]:
    """What to paste for a drain. Platforms count in whole seconds, so each number is rounded up.

    A grace is the longest stop that was seen, a quarter of it, and a second. Kubernetes' runs from the decision on, so the drain is added
    to it; that of Compose begins after its hook. ``longest_stop_s`` is None when a stop had to be killed: then nobody knows how long it
    needs.
    """
    sleep_s = math.ceil(drain.s)
    grace_s = None if longest_stop_s is None else math.ceil(longest_stop_s * (1 + MARGIN_SHARE) + MARGIN_S)
    why = "" if longest_stop_s is None else f"the longest stop took {span(longest_stop_s)}; a quarter of that and 1 s more, rounded up"
    found: list[tuple[str, str, str]] = []
    if sleep_s:
        exact = f"{drain} in whole seconds; " if drain.s != sleep_s else ""
        older = f'{exact}before Kubernetes 1.30: {{exec: {{command: [sleep, "{sleep_s}"]}}}}'
        found.append(("Kubernetes", f"lifecycle: {{preStop: {{sleep: {{seconds: {sleep_s}}}}}}}", older))
    if grace_s is not None:
        told = f"{count(sleep_s, 'second')} of preStop, and {why}" if sleep_s else why
        found.append(("Kubernetes", f"terminationGracePeriodSeconds: {sleep_s + grace_s}", told))
    if sleep_s:
        found.append(("Compose", f"pre_stop: [{{command: sleep {sleep_s}}}]", "from Docker Compose 2.30 on"))
    if grace_s is not None:
        found.append(("Compose", f"stop_grace_period: {grace_s}s", "begins after pre_stop" if sleep_s else ""))
    late_ns = lag.ns - drain.ns
    routing = f"endpoint_lag: {Duration(ns=late_ns)}" if late_ns >= 0 else f"drain: {Duration(ns=-late_ns)}"
    found.append(("Jetable", f"routing: {{{routing}}}", "what the process sees of all this; for scenarios that shall hold it"))
    return tuple(Setting(platform=platform, text=text, note=note) for platform, text, note in found)
