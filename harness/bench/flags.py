"""From the words of a command line to the plan of a bench: all that can be wrong with them is told here, before anything starts.

A target is named in one of three ways: by scenario files, by an image (or what one is built from), or by a command behind ``--``. The last
two become a scenario of their own, which the model of scenarios validates as it does a file, and whose complaints are told again as ones
about flags. Variants are the product of targets, engines and values of parameters, in this order; each is a whole scenario. Flags have the
names and the habits of hyperfine wherever it has them (hyperfine(1)): ``{name}`` stands for a parameter's value, ``--prepare`` is given
once for all variants or once for each, and so on.
"""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Final, NoReturn, cast

from pydantic import ValidationError

from harness.bench.cold import may_drop_caches
from harness.bench.plan import COLD, MAX_RUNS, MIN_RUNS, PRECISION, BenchPlan, Cold, VariantPlan
from harness.bench.slow import why_not_slow
from harness.benches import CONDITIONS
from harness.command import PLACEHOLDERS
from harness.engines import ENGINES
from harness.errors import KeyOfScenarioError, MachineError, ScenarioError, UsageError
from harness.fleet import spec_of
from harness.run import check_engine, check_scenarios, engine_for
from harness.scenario import ProcessType, Scenario, Step, find_scenarios, load_scenario, problem_at
from harness.scenario.queues import unknown_service
from harness.scenario.services import EMBEDDED
from harness.scenario.values import MAX_REPLICAS
from harness.strict_model import plain
from harness.units import Duration, percent_of
from harness.words import all_of, did_you_mean, one_of, printable, quoted

MOST_RUNS: Final = 10_000
MOST_VALUES: Final = 1_000
"""Of one parameter, and of variants in all."""

LONGEST_NAME: Final = 120
SLOW_S: Final = 0.1
PROCESS: Final = "web"
"""What the only process type of an image or a command is called."""

ASKABLE: Final = tuple(name for name in CONDITIONS if name != "clean")
"""Conditions that a person may ask for; ``clean`` comes with ``kill``, which is compared with it."""

FLAGS: Final[Mapping[str, str]] = {
    "scenarios": "SCENARIO",
    "command": "--",
    "image": "--image",
    "build": "--build",
    "port": "--port",
    "healthcheck": "--healthcheck",
    "environment": "--env",
    "process": "--process",
    "engines": "--engine",
    "warmup": "--warmup",
    "runs": "--runs",
    "min_runs": "--min-runs",
    "max_runs": "--max-runs",
    "precision": "--precision",
    "prepare": "--prepare",
    "cleanup": "--cleanup",
    "parameter_scan": "--parameter-scan",
    "parameter_step": "--parameter-step-size",
    "parameter_list": "--parameter-list",
    "reference": "--reference",
    "names": "--command-name",
    "under": "--under",
    "at_once": "--at-once",
    "service": "--service",
    "slow": "--slow",
    "cold": "--cold",
    "drop_caches": "--drop-caches",
    "attributes": "--attribute",
    "seed": "--seed",
}
"""How each field of `Asked` is spelled on the command line."""

_LARGEST_SEED: Final = 2**63 - 1
_SHOWN: Final = 100
_PARAMETER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
_ATTRIBUTE: Final = re.compile(r"[^=\0]{1,120}")
_NUMBER: Final = re.compile(r"-?\d{1,15}(\.\d{1,9})?", re.ASCII)
_PLAIN: Final = re.compile(r"[\w@%+=:,./{}-]+", re.ASCII)
_LISTED: Final = re.compile(r"(?<!\\),")
_TOLD_AS: Final[Mapping[str, str]] = {"image": "image", "build": "build", "expose": "port", "healthcheck": "healthcheck"}
"""Under which key of a made-up scenario's process type a flag stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command line of ``jetable bench``, as it was written; `FLAGS` says how each is spelled. None and empty: not given.

    Attributes:
        command: The words after ``--``.
        cold: Each may hold several with commas, and so may those of ``under``.
        imports: Start a Python target once more to hear what it imports.
        again: The command line that repeats it.
    """

    scenarios: tuple[Path, ...] = ()
    command: tuple[str, ...] = ()
    image: str = ""
    build: str = ""
    port: int | None = None
    healthcheck: str = ""
    environment: tuple[str, ...] = ()
    process: str = ""
    engines: tuple[str, ...] = ()
    warmup: int = 0
    runs: int | None = None
    min_runs: int | None = None
    max_runs: int | None = None
    precision: str | None = None
    prepare: tuple[str, ...] = ()
    cleanup: tuple[str, ...] = ()
    parameter_scan: tuple[tuple[str, str, str], ...] = ()
    parameter_step: str | None = None
    parameter_list: tuple[tuple[str, str], ...] = ()
    reference: str | None = None
    names: tuple[str, ...] = ()
    under: tuple[str, ...] = ()
    at_once: str | None = None
    service: str = ""
    slow: str | None = None
    cold: tuple[str, ...] = ()
    drop_caches: bool = False
    attributes: tuple[str, ...] = ()
    seed: int | None = None
    reports: Path
    show_output: bool = False
    imports: bool = True
    again: str = ""


def plan_of(asked: Asked, dice_seed: int) -> BenchPlan:
    """The bench that was asked for.

    Args:
        asked: The command line.
        dice_seed: A new seed, for a bench that has none of its own.

    Raises:
        UsageError: What was asked for is wrong or contradicts itself; the message names the flag, the value and the cure.
        ScenarioError: All that is wrong with scenario files, or that an engine can't start of them.
        MachineError: This machine lacks a program that a service needs, or does not allow its caches to be dropped.
    """
    _check_text(asked)
    runs = _runs_of(asked)
    under, at_once = _under_of(asked)
    slow_s = _slow_s(asked, under)
    cold = _cold_of(asked)
    attributes = _pairs(asked.attributes, "attributes")
    _check_target(asked)
    for engine in asked.engines:
        check_engine(engine)
    sources = _sources(asked)
    variants = _variants(asked, sources, cold)
    _check_conditions(variants, under)
    service = _service_of(asked, variants, under)
    _check_cold(variants)
    _check_starts(asked, variants)
    return BenchPlan(
        name=_cut(", ".join(source.title for source in sources)),
        variants=variants,
        under=under,
        at_once=at_once,
        warmup=asked.warmup,
        runs=asked.runs,
        min_runs=runs.least,
        max_runs=runs.most,
        precision=runs.precision,
        seed=_seed_of(asked, sources, dice_seed),
        reports=asked.reports,
        attributes=attributes,
        again=asked.again,
        show_output=asked.show_output,
        slow_s=slow_s,
        service=service,
        imports=asked.imports,
    )


def _flag(field: str) -> str:
    return FLAGS[field]


def _refuse(field: str, value: object, what: str) -> NoReturn:
    """Raise `UsageError`: the flag, the value as it was written, and a sentence with the cure."""
    raise UsageError(f"{_flag(field)} {_shown(str(value))}: {what}")


def _shown(text: str) -> str:
    """What was written, on one line, cut where it is long."""
    line = printable(text)
    return f"{line[:_SHOWN]}…" if len(line) > _SHOWN else line or "''"


def _check_text(asked: Asked) -> None:
    """All of it is text, so that it can be stored: the words of a command line may be any bytes."""
    for field in FLAGS:
        for text in _texts(getattr(asked, field)):
            try:
                text.encode()
            except UnicodeEncodeError:
                _refuse(field, text, "is no text in UTF-8, so no report could hold it; write it in other characters")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, tuple):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str | Path):
        yield str(value)


# --- numbers ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runs:
    least: int
    most: int
    precision: float


def _runs_of(asked: Asked) -> _Runs:
    """How many rounds there are, and when they are enough."""
    if asked.warmup < 0 or asked.warmup > MOST_RUNS:
        _refuse("warmup", asked.warmup, f"must be a number of rounds from 0 to {MOST_RUNS}")
    for field in ("runs", "min_runs", "max_runs"):
        count = getattr(asked, field)
        if count == 0:
            _refuse(field, count, "zero runs measure nothing; ask for 1 at least")
        if count is not None and not 1 <= count <= MOST_RUNS:
            _refuse(field, count, f"must be a number of rounds from 1 to {MOST_RUNS}")
    if asked.runs is not None:
        for field in ("min_runs", "max_runs", "precision"):
            if (other := getattr(asked, field)) is not None:
                _refuse("runs", asked.runs, f"is an exact number, which {_flag(field)} {_shown(str(other))} contradicts; drop one of them")
    least = asked.min_runs or min(MIN_RUNS, asked.max_runs or MIN_RUNS)
    most = asked.max_runs or max(MAX_RUNS, least)
    if least > most:
        _refuse("min_runs", least, f"is more than {_flag('max_runs')} {most}; raise that one, or lower this one")
    return _Runs(least=least, most=most, precision=_share(asked.precision) if asked.precision is not None else PRECISION)


def _share(written: str) -> float:
    share = percent_of(written.strip())
    if share is None:
        _refuse("precision", written, "must be a per cent of the median, such as 2%")
    if not 0 < share < 1:
        _refuse("precision", written, "must be more than 0% and less than 100%")
    return float(share)


def _seed_of(asked: Asked, sources: Sequence[_Source], dice_seed: int) -> int:
    """The seed that was asked for, else the one that all scenarios share, else a new one."""
    if asked.seed is not None:
        if not 0 <= asked.seed <= _LARGEST_SEED:
            _refuse("seed", asked.seed, f"must be a whole number from 0 to {_LARGEST_SEED}")
        return asked.seed
    own = sources[0].seed
    return own if own is not None and all(source.seed == own for source in sources) else dice_seed


def _pairs(written: Sequence[str], field: str) -> dict[str, str]:
    """``NAME=VALUE``, each name once."""
    pairs: dict[str, str] = {}
    for item in written:
        name, equals, value = item.partition("=")
        if not equals or not _ATTRIBUTE.fullmatch(name) or not name.strip():
            _refuse(field, item, "must be written NAME=VALUE")
        if name in pairs:
            _refuse(field, item, f"{printable(name)} is {printable(pairs[name]) or 'empty'} already; drop one of them")
        pairs[name] = value
    return pairs


# --- conditions and cold ------------------------------------------------------------------------------------------------------


def _under_of(asked: Asked) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The conditions in the order of reports, and how many start at once."""
    named = _named(asked.under, "under", ASKABLE, {"clean": "comes with kill, which is compared with it; write kill"})
    if "at-once" in named and asked.at_once is None:
        _refuse("under", "at-once", f"how many? Say it with {_flag('at_once')} 1,2,4,8")
    counts = _counts(asked.at_once) if asked.at_once is not None else ()
    named = named or {"idle"}
    return tuple(name for name in ASKABLE if name in named or (counts and name == "at-once")), counts


def _named(written: Sequence[str], field: str, known: Sequence[str], hints: Mapping[str, str]) -> set[str]:
    """The names that were written, several of them with commas; each is known."""
    found = set()
    for text in written:
        for name in (part.strip() for part in text.split(",")):
            if name in hints:
                _refuse(field, text, f"{name} {hints[name]}")
            if name not in known:
                _refuse(field, text, f"{quoted(name)} is unknown{did_you_mean(name, known)}; there is {one_of(known)}")
            found.add(name)
    return found


def _counts(written: str) -> tuple[int, ...]:
    parts = [part.strip() for part in written.split(",")]
    wrong = next((part for part in parts if not re.fullmatch(r"\d{1,6}", part, re.ASCII) or not 1 <= int(part) <= MAX_REPLICAS), None)
    if wrong is not None:
        _refuse(
            "at_once", written, f"must be numbers of replicas from 1 to {MAX_REPLICAS} with commas, such as 1,2,4,8, not {quoted(wrong)}"
        )
    counts = sorted(int(part) for part in parts)
    if again := [count for count, times in Counter(counts).items() if times > 1]:
        _refuse("at_once", written, f"{again[0]} is there more than once; name each number once")
    return tuple(counts)


def _slow_s(asked: Asked, under: Sequence[str]) -> float:
    if asked.slow is None:
        return SLOW_S
    if "service-slow" not in under:
        _refuse("slow", asked.slow, f"has no meaning without {_flag('under')} service-slow; add that, or drop this")
    try:
        slow = Duration.parse(asked.slow)
    except ValueError as error:
        _refuse("slow", asked.slow, str(error))
    if not slow:
        _refuse("slow", asked.slow, "is no delay at all; write for example 100ms")
    return slow.s


def _cold_of(asked: Asked) -> tuple[Cold, ...]:
    named = _named(asked.cold, "cold", tuple(COLD), {})
    if asked.drop_caches:
        named.add("disk")
    return tuple(cast("Cold", name) for name in COLD if name in named)


def _check_cold(variants: Sequence[VariantPlan]) -> None:
    """What is to be made cold can be."""
    if any("disk" in variant.cold for variant in variants) and (why := may_drop_caches()):
        raise MachineError(why)
    for variant in variants:
        if "image" in variant.cold and not ENGINES[variant.engine].contained:
            what = f"{quoted(variant.name)} is started by the {variant.engine} engine, which has no images; drop it, or use --engine docker"
            _refuse("cold", "image", what)


def _check_conditions(variants: Sequence[VariantPlan], under: Sequence[str]) -> None:
    """Each variant can be put under each condition."""
    for variant in variants:
        scenario = variant.scenario
        if "load" in under and not scenario.has_load:
            _refuse("under", "load", f"{variant.path} has no requests; write load: there, or leave load out")
        for condition in ("load", "keep-alive"):
            loaded = scenario.load_process
            if condition in under and loaded != variant.process:
                where = f"the requests go to {loaded}; write --process {loaded}, or" if loaded else "nobody sends requests to it;"
                what = f"{variant.process} of {variant.path} is started and stopped, and {where} leave {condition} out"
                _refuse("under", condition, what)


def _service_of(asked: Asked, variants: Sequence[VariantPlan], under: Sequence[str]) -> str:
    """The service that is slow or away; empty where none is."""
    wanted = [name for name in under if name.startswith("service-")]
    if not wanted:
        if asked.service:
            _refuse(
                "service", asked.service, f"has no meaning without {_flag('under')} service-slow or service-down; add one, or drop this"
            )
        return ""
    chosen = asked.service
    for variant in variants:
        services = variant.scenario.services
        if not services:
            where = f"{variant.path} has no services:" if asked.scenarios else "only a scenario file can name services"
            _refuse("under", wanted[0], f"{where}; {'write some there' if asked.scenarios else 'write one'}, or leave {wanted[0]} out")
        if asked.service and asked.service not in services:
            _refuse("service", asked.service, f"{variant.path}: {unknown_service(asked.service, services)}")
        if not chosen and len(services) > 1:
            _refuse("under", wanted[0], f"{variant.path} has the services {all_of(services)}; choose one with {_flag('service')}")
        chosen = chosen or next(iter(services))
        if chosen not in services:
            others = all_of(services)
            _refuse("under", wanted[0], f"{variant.path} has {others}, another file {quoted(chosen)}; bench each file by itself")
        service = services[chosen]
        if service.kind in EMBEDDED:
            _refuse(
                "under",
                wanted[0],
                f"{chosen} of {variant.path} is a file that nobody starts, so it is never slow or down; leave {wanted[0]} out",
            )
        if service.url is not None and "service-down" in under:
            what = f"{chosen} of {variant.path} has a url, so it is not the bench's own and never stopped; remove the url, or leave it out"
            _refuse("under", "service-down", what)
        contained = ENGINES[variant.engine].contained
        if "service-slow" in under and (why := why_not_slow(variant.scenario, chosen, contained=contained)):
            _refuse("under", "service-slow", f"{variant.path}: {why}")
    return chosen


# --- targets ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Where scenarios come from: a file, or flags.

    Attributes:
        label: What tells it from other sources.
        title: What the reports call a bench of it.
        texts: Where a parameter may stand.
        make: The scenario in which the parameters have these values.
        seed: The scenario's own.
    """

    label: str
    title: str
    path: Path
    process: str
    texts: tuple[str, ...]
    make: Callable[[Mapping[str, str]], Scenario]
    seed: int | None = None


def _check_target(asked: Asked) -> None:
    """There is one kind of target, and no flag that means nothing to it."""
    given = [name for name in ("scenarios", "image", "build", "command") if getattr(asked, name)]
    words = {
        "scenarios": "a scenario file",
        "image": f"--image {_shown(asked.image)}",
        "build": f"--build {_shown(asked.build)}",
        "command": "a command after --",
    }
    if not given:
        raise UsageError("nothing to start; name a scenario file, an image with --image, or a command after --, as in -- gunicorn app:app")
    if len(given) > 1:
        both = " and ".join(words[name] for name in given)
        raise UsageError(f"{both}: each is a target by itself; leave {'one' if len(given) == 2 else 'all but one'} out")
    kind = given[0]
    if kind == "scenarios":
        for field in ("port", "healthcheck"):
            if getattr(asked, field):
                what = "has no meaning for a scenario file, which says it itself"
                _refuse(field, getattr(asked, field), f"{what}; write it there, or drop this")
    elif asked.process:
        _refuse("process", asked.process, "has no meaning without a scenario file, as there is one process type alone; drop it")
    if kind == "command" and asked.port is not None:
        what = "a command is told its port, a new one for each replica; write {port} among its words, or have it read PORT, and drop --port"
        _refuse("port", asked.port, what)
    for engine in asked.engines:
        if engine in ENGINES and kind in ("image", "build", "command") and ENGINES[engine].contained == (kind == "command"):
            said = "a command after -- is no container" if kind == "command" else f"{words[kind]} is no process of this machine"
            _refuse("engines", engine, f"{said}; leave it out, or name a scenario file that has both command: and image:")


def _sources(asked: Asked) -> list[_Source]:
    if asked.scenarios:
        return _files(asked)
    label = asked.image or asked.build or _joined(asked.command)
    environment = _pairs(asked.environment, "environment")
    texts = (asked.image, asked.build, *asked.command, *environment.values())
    make: Callable[[Mapping[str, str]], Scenario] = lambda values: _made(asked, environment, values)  # noqa: E731  typed
    return [_Source(label=label, title=label, path=Path.cwd(), process=PROCESS, texts=texts, make=make)]


def _files(asked: Asked) -> list[_Source]:
    """The scenario files; all that is wrong with any of them is told at once."""
    for path in asked.scenarios:
        if not os.path.exists(path):  # noqa: PTH110  Path.exists raises where a name is too long
            words = _shown(_joined([str(each) for each in asked.scenarios]))
            raise UsageError(f"{_shown(str(path))}: no such file or folder; a command is written after --, as in jetable bench -- {words}")
    loaded, problems = [], []
    for path in find_scenarios(asked.scenarios):
        try:
            loaded.append((path, load_scenario(path)))
        except ScenarioError as error:
            problems += error.problems
    if problems:
        raise ScenarioError(problems)
    stems = Counter(path.stem for path, _ in loaded)
    added = _pairs(asked.environment, "environment")
    sources = []
    for path, scenario in loaded:
        process = _process_of(asked, path, scenario)
        kind = scenario.target[process]
        written = () if kind.command is None else (kind.command,) if isinstance(kind.command, str) else kind.command
        sources.append(
            _Source(
                label=path.stem if max(stems.values()) == 1 else str(path),
                title=scenario.name,
                path=path,
                process=process,
                texts=(*written, *{**kind.environment, **added}.values()),
                make=_changer(path, scenario, process, added),
                seed=scenario.seed,
            )
        )
    return sources


def _process_of(asked: Asked, path: Path, scenario: Scenario) -> str:
    """The process type that is started and stopped."""
    target = scenario.target
    if asked.process and asked.process not in target:
        near = did_you_mean(asked.process, target)
        _refuse("process", asked.process, f"{path} has no such process type{near}; there is {one_of(target)}")
    usual = PROCESS if PROCESS in target else scenario.main_process
    return asked.process or scenario.load_process or usual


def _changer(path: Path, scenario: Scenario, process: str, added: Mapping[str, str]) -> Callable[[Mapping[str, str]], Scenario]:
    """Makes the scenario of a file with other values; what the file says is never written anew, so a password in it stays what it is."""

    def make(values: Mapping[str, str]) -> Scenario:
        kind = scenario.target[process]
        changed = {
            "command": _filled_command(kind.command, values),
            "environment": {name: _filled(text, values) for name, text in {**kind.environment, **added}.items()},
        }
        if changed["command"] == kind.command and changed["environment"] == kind.environment:
            return scenario
        command = changed["command"]
        # Without what the file leaves out: the interval of a test that names none is the engine's own, and not the one of other checks.
        dumped = kind.model_dump(mode="json", exclude_unset=True) | changed
        dumped["command"] = list(command) if isinstance(command, tuple) else command
        try:
            valid = ProcessType.model_validate(dumped)
        except ValidationError as error:
            details = error.errors(include_url=False)
            raise _of_file(path, values, [(("target", process, *detail["loc"]), detail["msg"]) for detail in details]) from None
        made = scenario.model_copy(update={"target": {**scenario.target, process: valid}})
        if complaints := list(Scenario.contradictions(plain(made))):
            raise _of_file(path, values, [(each.path, each.what) for each in complaints])
        return made

    return make


def _of_file(path: Path, values: Mapping[str, str], complaints: Sequence[tuple[tuple[int | str, ...], str]]) -> ScenarioError:
    """What is wrong with a file's scenario only since flags changed it."""
    return ScenarioError([f"{path}: {'.'.join(map(str, key))}{_with(values)}: {printable(what)}" for key, what in complaints])


def _with(values: Mapping[str, str]) -> str:
    said = ", ".join(f"{name}={printable(value)}" for name, value in values.items())
    return f" with {said}" if said else ""


def _made(asked: Asked, environment: Mapping[str, str], values: Mapping[str, str]) -> Scenario:
    """A scenario of an image or a command, with one process type and a request to it."""
    health = _health_of(asked.healthcheck) if asked.healthcheck else None
    path = health["http"] if health and "http" in health else "/"
    process: dict[str, object] = {"environment": {name: _filled(text, values) for name, text in environment.items()}}
    if asked.command:
        process["command"] = _filled_words(asked.command, values)
    else:
        key, written = ("image", asked.image) if asked.image else ("build", asked.build)
        process[key] = _filled(written, values)
    if asked.port is not None:
        process["expose"] = [asked.port]
    if health is not None:
        process["healthcheck"] = health
    name = asked.image or asked.build or _joined(asked.command)
    written_scenario = {
        "jetable": 1,
        "name": _cut(name.strip() or "a target"),
        "target": {PROCESS: process},
        "load": {"requests": [f"GET {path}"]},
        "steps": [{"steady": "1s"}],
    }
    try:
        return Scenario.model_validate(written_scenario, context={"folder": Path.cwd(), "process": PROCESS})
    except ValidationError as error:
        details = error.errors(include_url=False)
    of_target = [detail for detail in details if detail["loc"][:1] != ("load",)]  # its request has the health check's path
    problems = list(dict.fromkeys(_retold(asked, detail["loc"], detail["msg"], values) for detail in of_target or details))
    raise UsageError(problems[0]) if len(problems) == 1 else ScenarioError(problems)


def _health_of(written: str) -> dict[str, object]:
    """``/healthz``, ``tcp``, ``running`` or ``log:REGEX`` as a scenario has it."""
    if written.startswith("/"):
        return {"http": written}
    if written in ("tcp", "running"):
        return {written: True}
    if written.startswith("log:") and len(written) > len("log:"):
        return {"log": written.removeprefix("log:")}
    near = did_you_mean(written, ("tcp", "running"))
    _refuse("healthcheck", written, f"must be a path such as /healthz, or tcp, running or log:REGEX{near}")


def _retold(asked: Asked, loc: tuple[int | str, ...], what: str, values: Mapping[str, str]) -> str:
    """A complaint about a made-up scenario, as one about the flag from which it came."""
    what = printable(what)
    what = what.replace("; a relative path begins at the scenario file's folder", "; a relative path begins where jetable is started")
    key = str(loc[2]) if loc[:2] == ("target", PROCESS) and len(loc) > 2 else ""
    if loc[:1] == ("load",):
        key = "healthcheck"
    if key == "environment":
        written = next((each for each in asked.environment if len(loc) > 3 and each.startswith(f"{loc[3]}=")), "")
        return f"{_flag('environment')} {_shown(written)}{_with(values)}: {what}"
    if key in _TOLD_AS:
        field = _TOLD_AS[key]
        return f"{_flag(field)} {_shown(_filled(str(getattr(asked, field)), values))}: {what}"
    if key == "command":
        return f"-- {_shown(_joined(asked.command))}{_with(values)}: {what}"
    return f"{'.'.join(map(str, loc))}: {what}"


# --- parameters ---------------------------------------------------------------------------------------------------------------


def _parameters(asked: Asked) -> dict[str, tuple[str, ...]]:
    """The values of each parameter, as text."""
    if asked.parameter_step is not None and not asked.parameter_scan:
        _refuse("parameter_step", asked.parameter_step, f"has no meaning without {_flag('parameter_scan')}; add that, or drop this")
    parameters: dict[str, tuple[str, ...]] = {}
    scans = [("parameter_scan", name, f"{name} {low} {high}", _scan(asked, name, low, high)) for name, low, high in asked.parameter_scan]
    lists = [("parameter_list", name, f"{name} {written}", _list(name, written)) for name, written in asked.parameter_list]
    for field, name, written, values in (*scans, *lists):
        if name in PLACEHOLDERS:
            _refuse(field, written, f"{{{name}}} is {PLACEHOLDERS[name]}; take another name")
        if not _PARAMETER.fullmatch(name):
            _refuse(field, written, f"{quoted(name)} is no name for a parameter; use letters, digits, - and _, and begin with a letter")
        if name in parameters:
            _refuse(field, written, f"{name} has values already; name each parameter once")
        parameters[name] = values
    return parameters


def _scan(asked: Asked, name: str, low: str, high: str) -> tuple[str, ...]:
    """The numbers from ``low`` to ``high``, both of them included where the steps meet it."""
    written = f"{name} {low} {high}"
    for text in (low, high):
        if not _NUMBER.fullmatch(text):
            _refuse("parameter_scan", written, f"{quoted(text)} is no number; write VAR MIN MAX, such as workers 1 4")
    if asked.parameter_step is None and ("." in low or "." in high):
        _refuse("parameter_scan", written, f"bounds with a point need a step; add {_flag('parameter_step')} 0.5")
    step = asked.parameter_step or "1"
    if not _NUMBER.fullmatch(step) or Decimal(step) <= 0:
        _refuse("parameter_step", step, "must be a number above 0, such as 2 or 0.5")
    first, last, by = Decimal(low), Decimal(high), Decimal(step)
    if first > last:
        _refuse("parameter_scan", written, f"{low} is more than {high}; write the smaller one first")
    count = int((last - first) / by) + 1
    if count > MOST_VALUES:
        _refuse("parameter_scan", written, f"has {count} values, and {MOST_VALUES} are the most; take a larger {_flag('parameter_step')}")
    return (f"{first:f}", *(f"{first + by * number:f}" for number in range(1, count)))


def _list(name: str, written: str) -> tuple[str, ...]:
    r"""The values between commas; ``\,`` is a comma in a value."""
    values = tuple(part.replace("\\,", ",") for part in _LISTED.split(written))
    if again := [value for value, times in Counter(values).items() if times > 1]:
        what = f"{quoted(again[0])} is there more than once; name each value once"
        _refuse("parameter_list", f"{name} {written}", what if written else "has no value; write VAR A,B,C")
    if values == ("",):
        _refuse("parameter_list", name, "has no value; write VAR A,B,C")
    if len(values) > MOST_VALUES:
        _refuse("parameter_list", name, f"has {len(values)} values, and {MOST_VALUES} are the most; take fewer")
    return values


def _check_used(asked: Asked, sources: Sequence[_Source], parameters: Mapping[str, tuple[str, ...]]) -> None:
    """Every parameter changes something, in every target."""
    for name in parameters:
        hole = f"{{{name}}}"
        for source in sources:
            if not any(hole in text for text in (*source.texts, *asked.prepare, *asked.cleanup)):
                field = "parameter_list" if name in dict(asked.parameter_list) else "parameter_scan"
                where = f"{source.path}: the command and environment of {source.process}" if asked.scenarios else "the target"
                _refuse(field, name, f"nothing uses it: write {hole} in {where}, in --env or in --prepare, or drop it")


def _filled(text: str, values: Mapping[str, str]) -> str:
    """``text`` with the values of parameters, each put in once, so that a value may hold braces."""
    if not values:
        return text
    return re.sub(r"\{(" + "|".join(map(re.escape, values)) + r")\}", lambda match: values[match[1]], text)


def _filled_words(words: Sequence[str], values: Mapping[str, str]) -> list[str] | str:
    """A command of words, or of text where it is whole in one word."""
    if _is_whole(words):
        return _filled(words[0], values)
    return [_filled(word, values) for word in words]


def _filled_command(command: str | tuple[str, ...] | None, values: Mapping[str, str]) -> str | tuple[str, ...] | None:
    if isinstance(command, tuple):
        return tuple(_filled(word, values) for word in command)
    return _filled(command, values) if command is not None else None


# --- variants -----------------------------------------------------------------------------------------------------------------


def _variants(asked: Asked, sources: Sequence[_Source], cold: tuple[Cold, ...]) -> tuple[VariantPlan, ...]:
    """One for each target, engine and value of each parameter."""
    parameters = _parameters(asked)
    _check_used(asked, sources, parameters)
    engines = tuple(dict.fromkeys(asked.engines)) or ("",)
    count = len(sources) * len(engines)
    for values in parameters.values():
        count *= len(values)
    if count > MOST_VALUES:
        raise UsageError(f"{count} variants are too many, and {MOST_VALUES} are the most; take fewer values, engines or scenario files")
    for field in ("prepare", "cleanup"):
        _check_often(field, len(getattr(asked, field)), count)
    variants: list[VariantPlan] = []
    for source in sources:
        scenarios = [(chosen, source.make(chosen)) for chosen in _choices(parameters)]
        for engine, (chosen, scenario) in product(engines, scenarios):
            told = [source.label] if len(sources) > 1 else []
            told += [engine] if len(engines) > 1 else []
            told += [f"{name}={value}" for name, value in chosen.items() if len(parameters[name]) > 1]
            number = len(variants)
            variants.append(
                VariantPlan(
                    name=_cut(", ".join(told) or source.label),
                    scenario=scenario,
                    path=source.path,
                    process=source.process,
                    engine=engine_for(scenario, engine),
                    parameters=chosen,
                    prepare=_filled(_nth(asked.prepare, number), chosen),
                    cleanup=_filled(_nth(asked.cleanup, number), chosen),
                    cold=cold,
                )
            )
    return _with_reference(asked, _renamed(asked, variants))


def _choices(parameters: Mapping[str, tuple[str, ...]]) -> Iterator[dict[str, str]]:
    for values in product(*parameters.values()):
        yield dict(zip(parameters, values, strict=True))


def _check_often(field: str, times: int, variants: int) -> None:
    if times > 1 and times != variants:
        raise UsageError(f"{_flag(field)}: given {times} times for {_variants_words(variants)}; give it once for all, or once for each")


def _variants_words(count: int) -> str:
    return "one variant" if count == 1 else f"{count} variants"


def _nth(texts: Sequence[str], number: int) -> str:
    return texts[number if len(texts) > 1 else 0] if texts else ""


def _renamed(asked: Asked, variants: Sequence[VariantPlan]) -> list[VariantPlan]:
    """The variants with the names that the person gave them; no two are alike."""
    names = asked.names
    if len(names) == 1 and any(f"{{{name}}}" in names[0] for name in variants[0].parameters):
        names *= len(variants)
    if names and len(names) != len(variants):
        what = f"given {_times(len(names))} for {_variants_words(len(variants))} ({all_of(each.name for each in variants[:8])})"
        raise UsageError(f"{_flag('names')}: {what}; give it once for each")
    given = (
        [_filled(name, each.parameters) for name, each in zip(names, variants, strict=True)] if names else [each.name for each in variants]
    )
    for name in given:
        if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
            _refuse("names", name, f"must be one line of printable text of at most {LONGEST_NAME} characters")
    if again := [name for name, times in Counter(given).items() if times > 1]:
        if names:
            _refuse("names", again[0], "is the name of more than one variant; give each its own")
        raise UsageError(f"several variants are called {quoted(again[0])}; name each of the {len(variants)} with {_flag('names')}")
    return [replace(each, name=name) for each, name in zip(variants, given, strict=True)]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _with_reference(asked: Asked, variants: Sequence[VariantPlan]) -> tuple[VariantPlan, ...]:
    """The variants, of which one is what the others are compared with."""
    wanted = asked.reference
    if len(variants) == 1:
        if wanted is not None:
            _refuse("reference", wanted, "there is one variant alone, and nothing to compare with it; add another, or drop this")
        return tuple(variants)
    place = 0
    if wanted is not None:
        places = [number for number, each in enumerate(variants) if each.name == wanted]
        places = places or [number for number, each in enumerate(variants) if wanted in (_said(each), str(each.path), each.path.name)]
        names = [each.name for each in variants]
        if not places:
            shown = one_of(names) if len(names) <= 8 else f"{one_of(names[:8])} and {len(names) - 8} more"
            _refuse("reference", wanted, f"no variant is called so{did_you_mean(wanted, names)}; there is {shown}")
        if len(places) > 1:
            _refuse("reference", wanted, f"means more than one variant; name one, such as {quoted(names[places[0]])}")
        place = places[0]
    return tuple(replace(each, reference=number == place) for number, each in enumerate(variants))


def _said(variant: VariantPlan) -> str:
    """What is started, as it is written."""
    kind = variant.scenario.target[variant.process]
    if kind.command is not None:
        return kind.command if isinstance(kind.command, str) else _joined(kind.command)
    return kind.image or (kind.build.context if kind.build else "")


def _joined(words: Sequence[str]) -> str:
    """The words of a command as somebody would type them; braces of placeholders are no reason for quotes."""
    if _is_whole(words):
        return words[0]
    return " ".join(word if _PLAIN.fullmatch(word) else shlex.quote(word) for word in words)


def _is_whole(words: Sequence[str]) -> bool:
    """A single word with a blank in it is a whole command in quotes, as hyperfine takes it."""
    return len(words) == 1 and len(words[0].split()) > 1 and not Path(words[0]).is_file()


def _cut(text: str) -> str:
    line = printable(text)
    return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 1]}…"


# --- what no start would survive ----------------------------------------------------------------------------------------------


def _check_starts(asked: Asked, variants: Sequence[VariantPlan]) -> None:
    """Raise with all that an engine could not start; of steps nothing is played, so none of them is looked at."""
    problems: dict[str, None] = {}
    for variant in variants:
        bare = variant.scenario.model_copy(update={"steps": (Step.model_validate({"steady": "1s"}),)})
        try:
            if asked.scenarios:
                check_scenarios([(variant.path, bare)], variant.engine)
            else:
                ENGINES[variant.engine].check(spec_of(bare, variant.process, variant.process))
        except ScenarioError as error:
            problems |= dict.fromkeys(error.problems)
        except KeyOfScenarioError as error:
            problems[problem_of(variant, error)] = None
        except UsageError as error:
            if asked.scenarios:
                problems[f"{variant.path}: {error}"] = None
                continue
            problems[f"-- {_shown(_said(variant))}: {_of_words(printable(str(error)))}"] = None
    if problems:
        lines = list(problems)
        raise ScenarioError(lines) if asked.scenarios or len(lines) > 1 else UsageError(lines[0])


def problem_of(variant: VariantPlan, error: KeyOfScenarioError) -> str:
    """What turned out to be wrong with a variant's scenario: at its place in the file, or as of the flag from which it came."""
    if variant.path.is_file():
        return problem_at(variant.path, error.key, str(error))
    key = str(error.key[2]) if error.key[:2] == ("target", variant.process) and len(error.key) > 2 else ""
    flag = _flag(key) if key in ("image", "build") else "--"
    return f"{flag} {_shown(_said(variant))}: {printable(str(error))}"


def _of_words(what: str) -> str:
    """What the engine says of ``command:``, as of the words after ``--``."""
    return what.replace("mend command or working_dir", "mend the words after --").replace("mend command", "mend the words after --")
