"""What happens to the target, step by step, and when the router learns of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    RootModel,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
)

from harness.scenario.values import MAX_REPLICAS, ZERO, Count, PositiveDuration, is_long, moved
from harness.strict_model import Complaint, Part
from harness.units import BYTES_PATTERN, Duration, bytes_text, parse_bytes
from harness.words import MistakeError, all_of, did_you_mean, shown

REPLICA_WORDS: Final = ("each", "any", "oldest", "newest")
VICTIM_STEPS: Final = ("terminate", "kill", "restart", "rolling_restart", "pause", "squeeze_memory", "cut_network")
"""The steps with victims."""

LEAST_BYTES: Final = 6 << 20
"""Docker takes no lower limit of memory (its reference of ``docker run``, on ``--memory``)."""


class Routing(Part):
    """When the router learns that a replica is to stop: at the signal, unless one of these says otherwise."""

    endpoint_lag: Duration = Field(
        default=ZERO,
        description="the router learns of it so long after the signal, as on Kubernetes; new requests keep coming until then",
        examples=["2s"],
    )
    drain: Duration = Field(
        default=ZERO, description="the router learns of it so long before the signal, as with a preStop sleep", examples=["2s"]
    )

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """Before or after, not both."""
        yield from _both_ways(long)


def _both_ways(long: Mapping[str, Any]) -> Iterator[Complaint]:
    if is_long(long.get("endpoint_lag")) and is_long(long.get("drain")):
        yield Complaint(("drain",), "the router can learn of a stop before the signal (drain) or after it (endpoint_lag), not both", "key")


def _replica(written: object) -> str | int:
    if written in REPLICA_WORDS:
        return str(written)
    if isinstance(written, int) and not isinstance(written, bool):
        if not 1 <= written <= MAX_REPLICAS:
            raise MistakeError(f"replicas are counted from 1 to {MAX_REPLICAS}; there is no number {written}")
        return written
    near = did_you_mean(written, REPLICA_WORDS) if isinstance(written, str) else ""
    raise MistakeError(f"must be {', '.join(REPLICA_WORDS)} or a number from 1, not {shown(written)}{near}")


ReplicaChoice = Annotated[
    str | int,
    PlainValidator(_replica),
    WithJsonSchema({"anyOf": [{"enum": list(REPLICA_WORDS)}, {"type": "integer", "minimum": 1, "maximum": MAX_REPLICAS}]}),
]


def _limit(written: object) -> int:
    count = parse_bytes(written)
    if count < LEAST_BYTES:
        raise MistakeError(f"must be at least {bytes_text(LEAST_BYTES)}, the lowest limit that container engines take, not {written}")
    return count


Limit = Annotated[
    int,
    PlainValidator(_limit),
    PlainSerializer(bytes_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": BYTES_PATTERN}),
]


class _Lagging(Part):
    """The keys of a step that stops replicas in front of a router."""

    endpoint_lag: Duration | None = Field(
        default=None,
        description="as in routing, for this step",
        examples=["2s"],
        json_schema_extra={"default_words": "as in routing"},
    )
    drain: Duration | None = Field(
        default=None, description="as in routing, for this step", examples=["2s"], json_schema_extra={"default_words": "as in routing"}
    )

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """Before or after, not both."""
        yield from _both_ways(long)


class _Aimed(Part):
    """The keys that every step with a victim has."""

    process: str | None = Field(
        default=None,
        description="the process type concerned",
        examples=["worker"],
        json_schema_extra={"default_words": "the one that takes the load"},
    )
    when: Literal["in-flight", "any"] = Field(
        default="in-flight",
        description="in-flight: only while at least one request is in flight on the victim; any: at once",
        examples=["any"],
    )
    busy_within: PositiveDuration = Field(
        default=Duration.parse("5s"),
        description="how long to wait for that; then the step says that it hit an idle replica",
        examples=["1s"],
    )


class _Choosing(Part):
    """A step that chooses a replica; its short form is the choice alone."""

    replica: ReplicaChoice = Field(
        default="any",
        description="each: one after the other; any: one by the dice; oldest; newest; or a number, 1 being the oldest",
        examples=["each"],
        json_schema_extra={"type_words": "each, any, oldest, newest, or a number"},
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """The choice alone, or nothing at all, as a mapping."""
        if written is None:
            return {}
        return written if isinstance(written, Mapping | list) else {"replica": written}


_SHORT: Final = ConfigDict(
    json_schema_extra=lambda schema: schema.update(
        anyOf=[
            {"enum": list(REPLICA_WORDS)},
            {"type": "integer", "minimum": 1, "maximum": MAX_REPLICAS},
            {"type": "null"},
            moved(schema),
        ]
    )
)
"""The JSON Schema of a step that may be the choice of a replica alone."""


class _Stopping(_Choosing, _Aimed, _Lagging):
    """A step that stops the replica that it chooses."""

    model_config = _SHORT


class Terminate(_Stopping):
    """Send the stop signal, wait for the grace, send SIGKILL at its end; then start a replacement. Short form: the replica alone."""


class Kill(_Stopping):
    """Send SIGKILL at once; then start a replacement. Short form: the replica alone."""

    scope: Literal["all", "main"] = Field(
        default="all",
        description="all: the replica with all its descendants, as when its container dies; main: its main process only",
        examples=["main"],
    )


class Restart(_Stopping):
    """Stop in order as terminate does, and start again on the same port once it has ended. Short form: the replica alone."""


class RollingRestart(_Aimed, _Lagging):
    """Replace all replicas of a process type one after the other, each only when the one before it is healthy again."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(anyOf=[{"type": "null"}, moved(schema)]))

    order: Literal["stop-first", "start-first"] = Field(
        default="stop-first", description="whether the old replica stops before or after the new one is healthy", examples=["start-first"]
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """Nothing at all as an empty mapping."""
        return {} if written is None else written


class _Disturbing(_Choosing, _Aimed):
    """A step that takes something away from the replica that it chooses, and gives it back."""

    lasts: PositiveDuration = Field(default=Duration.parse("2s"), alias="for", description="how long", examples=["5s"])

    @model_serializer(mode="wrap")
    def _spelled(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        long: dict[str, Any] = handler(self)
        return {"for": long.pop("lasts"), **long}


class Pause(_Disturbing):
    """Freeze the replica with all its descendants, and let it go on; the router is not told. Short form: the replica alone."""

    model_config = _SHORT


class CutNetwork(_Disturbing):
    """Take the replica off the network, and put it back at the same address; the router is not told. Short form: the replica alone."""

    model_config = _SHORT


class SqueezeMemory(_Disturbing):
    """Lower how much memory the replica may have, so that the kernel kills in it, and give it back.

    When its main process is killed, a replacement is started; when only a worker is, the replica goes on. The router learns of the one when
    it happens and of the other not at all.
    """

    to: Limit = Field(
        description="how much it may have, from 6m, in the units of Compose: k, m or g",
        examples=["32m"],
        json_schema_extra={"type_words": "size"},
    )


class Scale(RootModel[dict[str, Count]]):
    """Start or stop replicas until each process type named has so many; the newest stop first."""

    model_config = ConfigDict(frozen=True, strict=True)
    root: Annotated[dict[str, Count], Field(min_length=1)] = Field(description="how many replicas of each process type there are then")

    @property
    def counts(self) -> dict[str, int]:
        """How many replicas of each process type there are then."""
        return self.root


class Steady(RootModel[Duration]):
    """Let the load run for a while and do nothing else."""

    model_config = ConfigDict(frozen=True, strict=True)
    root: PositiveDuration = Field(description="how long")

    @property
    def duration(self) -> Duration:
        """How long."""
        return self.root


Stop: TypeAlias = Terminate | Kill | Restart
"""Options of the steps that choose a replica and stop it."""

Disturb: TypeAlias = Pause | SqueezeMemory | CutNetwork
"""Options of the steps that choose a replica, take something away from it and give it back."""

Options: TypeAlias = Steady | Stop | RollingRestart | Scale | Disturb
"""What a step's one key holds."""


class Step(Part):
    """One step: exactly one of these keys, and repeat beside it."""

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
        description="replace all replicas, one after the other",
        examples=[{"order": "start-first"}],
        json_schema_extra={"type_words": "mapping"},
    )
    scale: Scale | None = Field(
        default=None,
        description="start or stop replicas until there are so many of each process type named, from 0 to 200",
        examples=[{"web": 5}],
        json_schema_extra={"type_words": "mapping of process types to replicas", "unit": "replicas"},
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
    repeat: int = Field(
        default=1, ge=1, le=1000, description="how often the step is done", examples=[5], json_schema_extra={"unit": "times"}
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """A key with nothing under it means that step with all defaults, where it has defaults."""
        if isinstance(written, str):
            raise MistakeError(f"must be a mapping such as steady: 2s, not {shown(written)}; there are {all_of(STEP_KINDS)}")
        if not isinstance(written, Mapping):
            return written
        if set(written) <= {*STEP_KINDS, "repeat"} and len(set(written) & set(STEP_KINDS)) == 1:
            return {key: {} if value is None and key in VICTIM_STEPS else value for key, value in written.items()}
        return written

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """Exactly one kind of step."""
        given = [kind for kind in STEP_KINDS if long.get(kind) is not None]
        unknown = set(long) - {*STEP_KINDS, "repeat"}
        if len(given) > 1:
            yield Complaint(
                (given[1],), f"a step does one thing, and {given[0]} stands here already; begin each step with its own -", "key"
            )
        elif not given and not unknown:
            empty = next((kind for kind in STEP_KINDS if kind in long), None)
            what = f"{empty} needs a value" if empty else f"which step? There are {all_of(STEP_KINDS)}"
            yield Complaint((empty,) if empty else (), what, "key")

    @model_serializer
    def _spelled(self) -> dict[str, Any]:
        return {self.kind: self.options.model_dump(mode="json"), "repeat": self.repeat}

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
        match self.options:
            case Steady() as steady:
                words = f"steady for {steady.duration}"
            case Scale() as scale:
                words = "scale " + ", ".join(f"{process} to {count}" for process, count in scale.counts.items())
            case RollingRestart() as rolling:
                words = "rolling restart" + (f" of {rolling.process}" if rolling.process else "") + f", {rolling.order}"
            case Pause() as pause:
                words = f"pause {_victim_words(pause)} for {pause.lasts}"
            case SqueezeMemory() as squeeze:
                words = f"squeeze memory of {_victim_words(squeeze)} to {bytes_text(squeeze.to)} for {squeeze.lasts}"
            case CutNetwork() as cut:
                words = f"cut network of {_victim_words(cut)} for {cut.lasts}"
            case Terminate() | Kill() | Restart() as stop:
                words = f"{self.kind} {_victim_words(stop)}"
        return words + (f", {self.repeat} times" if self.repeat > 1 else "")


def _victim_words(chosen: Stop | Disturb) -> str:
    """``oldest of worker``."""
    victim = f"replica {chosen.replica}" if isinstance(chosen.replica, int) else chosen.replica
    return victim + (f" of {chosen.process}" if chosen.process else "")


STEP_KINDS: Final = tuple(name for name in Step.model_fields if name != "repeat")
"""The names of all steps."""
