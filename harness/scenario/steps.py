"""What happens to the target, step by step: the kinds of steps, and steps that are made of steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    RootModel,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from harness.scenario.choice import words_of
from harness.scenario.options import (
    CrashLoop,
    CutConnections,
    CutNetwork,
    HandOver,
    Kill,
    Pause,
    Restart,
    RollingRestart,
    Scale,
    Signal,
    SqueezeMemory,
    StartService,
    Steady,
    StopService,
    Terminate,
    TerminateAtStart,
)
from harness.scenario.values import PositiveDuration
from harness.strict_model import AsTuple, Complaint, Part
from harness.units import Duration, bytes_text
from harness.words import MistakeError, all_of, did_you_mean, quoted, shown

Stop: TypeAlias = Terminate | Kill | Restart
"""Options of the steps that choose a replica and stop it."""

Disturb: TypeAlias = Pause | SqueezeMemory | CutNetwork
"""Options of the steps that choose a replica, take something away from it and give it back."""

Aimed: TypeAlias = Stop | Disturb | Signal | CrashLoop | HandOver
"""Options of the steps that choose a replica."""

OfService: TypeAlias = StopService | StartService | CutConnections
"""Options of the steps about a backing service."""

SERVICE_STEPS: Final = ("stop_service", "start_service", "cut_connections")

OfOneProcess: TypeAlias = Aimed | RollingRestart | TerminateAtStart
"""Options of the steps that concern one process type."""

VICTIM_STEPS: Final = (
    "terminate",
    "kill",
    "restart",
    "rolling_restart",
    "signal",
    "terminate_at_start",
    "crash_loop",
    "pause",
    "squeeze_memory",
    "cut_network",
    "hand_over",
)
"""The steps that concern one process type, most of them with a choice of replicas."""

WITHOUT_MOMENT: Final = ("terminate_at_start", "crash_loop")
"""Those of them that take what they find, without a word on what the victim is doing."""

INCOMPLETE: Final[Mapping[str, str]] = {
    "signal": "signal: SIGHUP",
    "squeeze_memory": "squeeze_memory: {to: 32m}",
    "hand_over": "hand_over: {journey: login}",
    "stop_service": "stop_service: {service: redis, for: 2s}",
    "start_service": "start_service: redis",
    "cut_connections": "cut_connections: redis",
}
"""Those of them that have a key without a default, with how each is written."""

BARE: Final = (*(kind for kind in VICTIM_STEPS if kind not in INCOMPLETE), "scale")
"""What a chaos step may name by its word alone."""

_PARTS_LACK: Final = ("chaos", "repeat", "at")
"""Keys that have no meaning in a step of a step."""

MOST_DRAWS: Final = 10_000


def _at_least_two(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    if len(steps) == 1:
        raise MistakeError("needs at least two steps; a single one needs no together")
    return steps


class Together(RootModel[tuple["Step", ...]]):
    """Do several steps at the same time; the step is over when all of them are."""

    model_config = ConfigDict(frozen=True, strict=True, json_schema_extra={"minItems": 2})
    root: Annotated[tuple[Step, ...], Field(min_length=1, max_length=20), AfterValidator(_at_least_two), AsTuple] = Field(
        description="the steps"
    )

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps."""
        return self.root


def _example_of(kind: str) -> str:
    return f"; write for example {INCOMPLETE[kind]}" if kind in INCOMPLETE else ""


def _item(written: object) -> object:
    """A step's word alone as that step with all defaults; ``scale`` stays a word, as its numbers are drawn."""
    if written == "scale" or not isinstance(written, str):
        return written
    if written in BARE:
        return {written: {}}
    if written in INCOMPLETE:
        raise MistakeError(f"{quoted(written)} does not say enough; write for example {{{INCOMPLETE[written]}}}")
    raise MistakeError(f"{quoted(written)} is no step that can be drawn{did_you_mean(written, BARE)}; there are {all_of(BARE)}")


def _drawn(written: object) -> object:
    if written == "scale":
        return written
    return Step.model_validate(_item(written))


class Chaos(Part):
    """Do steps that the dice choose, at fixed times, one after the other; the same seed draws the same.

    A step that takes longer than ``every`` delays the next one. What was really done is in the run's plan.yaml, which --replay repeats.
    """

    lasts: PositiveDuration = Field(alias="for", description="no step begins later than that", examples=["60s"])
    every: PositiveDuration = Field(description="how long from the beginning of one step to that of the next", examples=["500ms"])
    of: Annotated[tuple[Item, ...], Field(min_length=1, max_length=50), AsTuple] = Field(
        description="what is drawn from, each as likely as the others: words for steps with all defaults, or whole steps; scale alone "
        "draws a number from 1 to twice the replicas that the target has",
        examples=[["terminate", "kill", "scale"]],
        json_schema_extra={"type_words": "list of steps, or of their words"},
    )

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """Bounded, and with no steps that have a time of their own."""
        try:
            draws = Duration.parse(long.get("for")).ns / Duration.parse(long.get("every")).ns
        except (ValueError, ZeroDivisionError):
            return
        if draws > MOST_DRAWS:
            yield Complaint(("every",), f"more than {MOST_DRAWS} steps would be drawn; draw less often")
        items = long.get("of")
        for index, item in enumerate(items if isinstance(items, list | tuple) else []):
            for key in _PARTS_LACK:
                if isinstance(item, Mapping) and key in item:
                    yield Complaint(("of", index, key), f"{key} has no meaning in a step that is drawn", "key")

    @model_serializer(mode="wrap")
    def _spelled(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        long: dict[str, Any] = handler(self)
        return {"for": long.pop("lasts"), **long}


Options: TypeAlias = Steady | OfOneProcess | OfService | Scale | Together | Chaos
"""What a step's one key holds."""

_BESIDE: Final = ("repeat", "at")


class Step(Part):
    """One step: exactly one of these keys, with repeat or at beside it."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 2})

    steady: Steady | None = Field(
        default=None, description="let the load run and do nothing else", examples=["2s"], json_schema_extra={"type_words": "duration"}
    )
    terminate: Terminate | None = Field(
        default=None,
        description="send the stop signal, after the grace SIGKILL, then start a replacement",
        examples=["each"],
        json_schema_extra={"type_words": "a replica, or mapping"},
    )
    kill: Kill | None = Field(
        default=None,
        description="send SIGKILL at once, then start a replacement",
        examples=[{"replica": "any", "scope": "main"}],
        json_schema_extra={"type_words": "a replica, or mapping"},
    )
    restart: Restart | None = Field(
        default=None,
        description="stop as terminate does, then start again on the same port",
        examples=["oldest"],
        json_schema_extra={"type_words": "a replica, or mapping"},
    )
    rolling_restart: RollingRestart | None = Field(
        default=None,
        description="replace all replicas, one or a few at a time",
        examples=[{"order": "start-first"}],
        json_schema_extra={"type_words": "mapping"},
    )
    scale: Scale | None = Field(
        default=None,
        description="start or stop replicas until there are so many of each process type named, from 0 to 200",
        examples=[{"web": 5}],
        json_schema_extra={"type_words": "mapping of process types to replicas", "unit": "replicas"},
    )
    signal: Signal | None = Field(
        default=None,
        description="send a signal that the app should live through",
        examples=["SIGHUP"],
        json_schema_extra={"type_words": "signal, or mapping"},
    )
    terminate_at_start: TerminateAtStart | None = Field(
        default=None,
        description="stop a new replica while it starts, and start it again",
        examples=["100ms"],
        json_schema_extra={"type_words": "duration, ready or any, or mapping"},
    )
    crash_loop: CrashLoop | None = Field(
        default=None,
        description="kill a replica again and again while it starts",
        examples=[{"times": 5}],
        json_schema_extra={"type_words": "a replica, or mapping"},
    )
    pause: Pause | None = Field(
        default=None,
        description="freeze a replica for a while, then let it go on",
        examples=[{"for": "5s"}],
        json_schema_extra={"type_words": "a replica, or mapping"},
    )
    squeeze_memory: SqueezeMemory | None = Field(
        default=None,
        description="leave a replica so little memory for a while that the kernel kills in it; needs an engine with containers",
        examples=[{"to": "32m"}],
        json_schema_extra={"type_words": "mapping"},
    )
    cut_network: CutNetwork | None = Field(
        default=None,
        description="take a replica off the network for a while; needs an engine with containers",
        examples=["newest"],
        json_schema_extra={"type_words": "a replica, or mapping"},
    )
    hand_over: HandOver | None = Field(
        default=None,
        description="begin a journey, or a write, at a replica, stop that one, and go on at another one",
        examples=[{"journey": "login", "by": "terminate"}],
        json_schema_extra={"type_words": "mapping"},
    )
    stop_service: StopService | None = Field(
        default=None,
        description="stop a backing service of the run",
        examples=[{"service": "redis", "signal": "SIGKILL", "for": "2s"}],
        json_schema_extra={"type_words": "a service, or mapping"},
    )
    start_service: StartService | None = Field(
        default=None,
        description="start it again, with what it kept",
        examples=["redis"],
        json_schema_extra={"type_words": "a service"},
    )
    cut_connections: CutConnections | None = Field(
        default=None,
        description="have a backing service close the connections of all its clients",
        examples=["redis"],
        json_schema_extra={"type_words": "a service"},
    )
    together: Together | None = Field(
        default=None,
        description="do several steps at the same time",
        examples=[[{"rolling_restart": {}}, {"scale": {"web": 5}}]],
        json_schema_extra={"type_words": "list of steps"},
    )
    chaos: Chaos | None = Field(
        default=None,
        description="do steps that the dice choose",
        examples=[{"for": "60s", "every": "500ms", "of": ["terminate", "kill", "scale"]}],
        json_schema_extra={"type_words": "mapping"},
    )
    repeat: int = Field(
        default=1, ge=1, le=1000, description="how often the step is done", examples=[5], json_schema_extra={"unit": "times"}
    )
    at: Duration | None = Field(
        default=None,
        description="the step does not begin before so long after the load began",
        examples=["12s"],
        json_schema_extra={"default_words": "as soon as the step before it is over"},
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """A key with nothing under it means that step with all defaults, where it has defaults."""
        if isinstance(written, str):
            raise MistakeError(f"must be a mapping such as steady: 2s, not {shown(written)}; there are {all_of(STEP_KINDS)}")
        if not isinstance(written, Mapping):
            return written
        if set(written) <= {*STEP_KINDS, *_BESIDE} and len(set(written) & set(STEP_KINDS)) == 1:
            return {key: {} if value is None and key in BARE and key != "scale" else value for key, value in written.items()}
        return written

    @classmethod
    def _unknown_key(cls, key: str) -> str:
        if key in _INSIDE:
            return f"{quoted(key)} belongs inside of the step and not beside it; write for example terminate: {{{key}: …}}"
        return super()._unknown_key(key)

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """Exactly one kind of step."""
        given = [kind for kind in STEP_KINDS if long.get(kind) is not None]
        unknown = set(long) - {*STEP_KINDS, *_BESIDE}
        if len(given) > 1:
            yield Complaint(
                (given[1],), f"a step does one thing, and {given[0]} stands here already; begin each step with its own -", "key"
            )
        elif not given and not unknown:
            empty = next((kind for kind in STEP_KINDS if kind in long), None)
            what = f"{empty} needs a value{_example_of(empty)}" if empty else f"which step? There are {all_of(STEP_KINDS)}"
            yield Complaint((empty,) if empty else (), what, "key")
        parts = long.get("together")
        for index, part in enumerate(parts if isinstance(parts, list | tuple) else []):
            for key in _PARTS_LACK:
                if isinstance(part, Mapping) and key in part:
                    yield Complaint(("together", index, key), f"{key} has no meaning in a step that is done together with others", "key")
        repeat = long.get("repeat", 1)
        if long.get("at") is not None and isinstance(repeat, int) and repeat > 1:
            yield Complaint(("at",), "a step that is repeated has no one time at which it begins; write the step several times", "key")

    @model_serializer
    def _spelled(self) -> dict[str, Any]:
        beside: dict[str, Any] = {"repeat": self.repeat} if self.repeat > 1 else {"at": str(self.at)} if self.at is not None else {}
        return {self.kind: self.options.model_dump(mode="json"), **beside}

    @property
    def kind(self) -> str:
        """The step's key: ``terminate``."""
        return next(kind for kind in STEP_KINDS if getattr(self, kind) is not None)

    @property
    def options(self) -> Options:
        """What stands under that key."""
        options: Options = getattr(self, self.kind)
        return options

    @property
    def text(self) -> str:
        """The step in words, as reports show it: ``kill any of worker, 5 times``."""
        words = _words(self.kind, self.options)
        words += f", not before {self.at} of load" if self.at is not None else ""
        return words + (f", {self.repeat} times" if self.repeat > 1 else "")


class _WordsOrStep:
    """Has the JSON Schema name the words that there are, where the type says only that there are words."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        words, step = handler(core)["anyOf"]
        del words["type"]
        return {"anyOf": [words | {"enum": list(BARE)}, step]}


Item = Annotated[str | Step, BeforeValidator(_drawn), _WordsOrStep()]

_INSIDE: Final = frozenset(Terminate.model_fields) | frozenset(Kill.model_fields)
"""Options that people write beside their step."""

STEP_KINDS: Final = tuple(name for name in Step.model_fields if name not in _BESIDE)
"""The names of all steps."""

Chaos.model_rebuild()
Together.model_rebuild()
Step.model_rebuild()


def _words(kind: str, options: Options) -> str:  # noqa: C901, PLR0911, PLR0912  one line a kind
    match options:
        case Steady() as steady:
            return f"steady for {steady.duration}"
        case Scale() as scale:
            return "scale " + ", ".join(f"{process} to {count}" for process, count in scale.counts.items())
        case RollingRestart() as rolling:
            by = f", {rolling.at_a_time} at a time" if rolling.at_a_time > 1 else ""
            return "rolling restart" + _of(rolling) + f", {rolling.order}{by}" + _moment(rolling)
        case TerminateAtStart() as early:
            return f"terminate a new replica{_of(early)} {_when_starting(early.at)}"
        case CrashLoop() as loop:
            each = "while it starts" if isinstance(loop.after, tuple) else _when_starting(loop.after)
            return f"crash loop of {_victim_words(loop)}, {loop.times} kills, each {each}"
        case Signal() as signal:
            return f"signal {signal.name} to {_victim_words(signal)}" + _moment(signal)
        case StopService() as stop_service:
            how = " by SIGKILL" if stop_service.signal == "SIGKILL" else ""
            return f"stop {stop_service.service}{how}" + (f" for {stop_service.lasts}" if stop_service.lasts else "")
        case StartService() as start_service:
            return f"start {start_service.service} again"
        case CutConnections() as cut:
            return f"cut the connections of {cut.service}"
        case Together() as together:
            return "together: " + "; ".join(step.text for step in together.steps)
        case Chaos() as chaos:
            names = "; ".join(item if isinstance(item, str) else item.text for item in chaos.of)
            return f"chaos for {chaos.lasts}, every {chaos.every}: {names}"
        case Pause() | SqueezeMemory() | CutNetwork() as disturb:
            to = f" to {bytes_text(disturb.to)}" if isinstance(disturb, SqueezeMemory) else ""
            return f"{kind.replace('_', ' ')} {'' if kind == 'pause' else 'of '}{_victim_words(disturb)}{to} for {disturb.lasts}" + _moment(
                disturb
            )
        case HandOver() as over:
            return f"hand over {over.workload} from {_victim_words(over)}, {over.by}" + _moment(over)
        case Terminate() | Kill() | Restart() as stop:
            crash = " by SIGKILL" if isinstance(stop, Restart) and stop.is_crash else ""
            return f"{kind} {_victim_words(stop)}{crash}" + _moment(stop)


def _of(options: RollingRestart | TerminateAtStart | Aimed) -> str:
    return f" of {options.process}" if options.process else ""


def _moment(options: RollingRestart | Stop | Disturb | Signal | HandOver) -> str:
    """What is out of the common in how it is done; empty where nothing is."""
    words = "" if options.when in ("in-flight", "any") else f", {options.when}"
    words += f" at {options.job_share}" if options.job_share else ""
    if isinstance(options, RollingRestart | Terminate | Restart):
        words += f", with {options.signal}" if options.signal not in (None, "SIGKILL") else ""
        words += f", again after {options.again}" if options.again else ""
    return words


def _when_starting(at: str | Duration) -> str:
    if isinstance(at, Duration):
        return f"{at} after it was asked for"
    return {"ready": "just before it is ready", "any": "while it starts"}.get(at, f"after {at} of its start")


def _victim_words(chosen: Aimed) -> str:
    """``oldest of worker``."""
    return words_of(chosen.replica) + _of(chosen)


def nested(steps: tuple[Step, ...]) -> Iterator[Step]:
    """All steps, and those that they are made of."""
    for step in steps:
        yield step
        match step.options:
            case Together() as together:
                yield from nested(together.steps)
            case Chaos() as chaos:
                yield from nested(tuple(item for item in chaos.of if isinstance(item, Step)))
