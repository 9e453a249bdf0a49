"""What stands under the key of one step: whom it hits, when, and how; and when the router learns of a stop."""

from __future__ import annotations

import re
import signal as signals
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    RootModel,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_serializer,
)

from harness.scenario.choice import CHOICE_SCHEMAS, ReplicaChoice
from harness.scenario.values import MAX_REPLICAS, ZERO, Count, PositiveDuration, is_long, moved
from harness.strict_model import Complaint, Part
from harness.units import BYTES_PATTERN, DURATION_PATTERN, Duration, bytes_text, parse_bytes
from harness.words import MistakeError, did_you_mean, quoted, shown

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


def _signal_name(written: object) -> str:
    if not isinstance(written, str):
        raise MistakeError(f"must be a signal such as SIGINT, not {shown(written)}")
    name = written.upper() if written.upper().startswith("SIG") else f"SIG{written.upper()}"
    known = [each.name for each in signals.Signals]
    if name not in known:
        raise MistakeError(f"unknown signal {quoted(written)}{did_you_mean(name, known)}")
    return name


SignalName = Annotated[str, PlainValidator(_signal_name), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9]+$"})]


def _bare(written: object) -> str:
    """A signal as it was written, in capitals and without SIG."""
    return written.upper().removeprefix("SIG") if isinstance(written, str) else ""


def _uncatchable(written: object, instead: Mapping[str, str]) -> Iterator[Complaint]:
    """A signal that nothing can handle is no order to stop; ``instead`` names the steps that send it."""
    if (signal := _bare(written)) in instead:
        yield Complaint(("signal",), f"SIG{signal} can't be caught, so nothing stops in order on it; use the step {instead[signal]}")


def _job_share(written: str) -> str:
    if not SHARE.fullmatch(written):
        raise MistakeError(f"must be a share from 1% to 100%, not {quoted(written)}")
    return written


START_MOMENTS: Final = ("ready", "any")
SHARE: Final = re.compile(r"([1-9]\d?|100)%")
"""A share of the quickest start so far."""


def _start_moment(written: object) -> str | Duration:
    if isinstance(written, Duration):
        return written
    if written in START_MOMENTS or (isinstance(written, str) and SHARE.fullmatch(written)):
        return str(written)
    try:
        return Duration.parse(written)
    except MistakeError as error:
        if isinstance(written, str) and (near := did_you_mean(written, START_MOMENTS)):
            raise MistakeError(f"must be a duration, a share such as 40%, ready or any, not {shown(written)}{near}") from None
        raise error from None


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
        json_schema_extra={"default_words": "the one that takes the load, else the one that works on jobs"},
    )
    when: Literal["in-flight", "mid-response", "just-accepted", "idle", "any", "job-started", "job-finished"] = Field(
        default="in-flight",
        description="in-flight: only while at least one request awaits its answer from the victim; mid-response: while an answer has begun "
        "and is not over; just-accepted: while a new connection has not brought its request yet; idle: when nothing is under way there; "
        "job-started: while it works on a job, which in-flight means for the process type that works on jobs; job-finished: when a job's "
        "work is done and the queue does not know it yet; any: at once",
        examples=["mid-response"],
    )
    job_share: Annotated[str, AfterValidator(_job_share)] | None = Field(
        default=None,
        description="with job-started: when the job has been worked on for that share of what jobs have taken so far",
        examples=["50%"],
        json_schema_extra={"default_words": "as soon as it is seen", "type_words": "share"},
    )
    busy_within: PositiveDuration = Field(
        default=Duration.parse("5s"),
        description="how long to wait for that; then the fault comes all the same, and the report says that it came at another moment",
        examples=["1s"],
    )


class _Choosing(Part):
    """A step that chooses a replica; its short form is the choice alone."""

    replica: ReplicaChoice = Field(
        default="any",
        description="each: one after the other; any: one by the dice; half, all, or a share such as 30%: so many by the dice, all at once; "
        "oldest; newest; a number, 1 being the oldest; or a list of numbers, all at once",
        examples=["half"],
        json_schema_extra={"type_words": "each, any, half, all, oldest, newest, a share, a number, or a list of numbers"},
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """The choice alone, or nothing at all, as a mapping."""
        if written is None:
            return {}
        return written if isinstance(written, Mapping) else {"replica": written}


_SHORT: Final = ConfigDict(
    json_schema_extra=lambda schema: schema.update(
        anyOf=[*CHOICE_SCHEMAS, {"type": "array", "items": CHOICE_SCHEMAS[-1], "minItems": 1}, {"type": "null"}, moved(schema)]
    )
)
"""The JSON Schema of a step that may be the choice of a replica alone."""


class _Stopping(_Choosing, _Aimed, _Lagging):
    """A step that stops the replica that it chooses."""

    model_config = _SHORT


class _Ordered(Part):
    """The keys of a step that stops in order: with a signal that can be handled, and a grace."""

    signal: SignalName | None = Field(
        default=None,
        description="the signal that asks it to stop, with or without SIG",
        examples=["SIGINT"],
        json_schema_extra={"default_words": "stop_signal of the process type"},
    )
    again: PositiveDuration | None = Field(
        default=None,
        description="the same signal comes once more so long after the first, as from somebody who presses Ctrl-C twice",
        examples=["300ms"],
        json_schema_extra={"default_words": "never"},
    )


class Terminate(_Stopping, _Ordered):
    """Send the stop signal, wait for the grace, send SIGKILL at its end; then start a replacement. Short form: the replica alone."""

    model_config = _SHORT

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """A signal that nothing can handle is no order."""
        yield from super().contradictions(long)
        yield from _uncatchable(long.get("signal"), {"KILL": "kill", "STOP": "pause"})


class Kill(_Stopping):
    """Send SIGKILL at once; then start a replacement. Short form: the replica alone."""

    scope: Literal["all", "main"] = Field(
        default="all",
        description="all: the replica with all its descendants, as when its container dies; main: its main process only",
        examples=["main"],
    )


class Restart(_Stopping, _Ordered):
    """Stop in order as terminate does, or with SIGKILL, and start again on the same port. Short form: the replica alone."""

    model_config = _SHORT

    scope: Literal["all", "main"] = Field(
        default="all",
        description="what SIGKILL hits, as in kill; other signals go to the main process",
        examples=["main"],
    )

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """SIGKILL comes once, and SIGSTOP stops nothing."""
        yield from super().contradictions(long)
        signal = _bare(long.get("signal"))
        if signal == "STOP":
            yield Complaint(("signal",), "SIGSTOP freezes and does not end; use the step pause")
        if signal == "KILL" and long.get("again") is not None:
            yield Complaint(("again",), "has no meaning with SIGKILL, which nothing lives through", "key")

    @property
    def is_crash(self) -> bool:
        """It is SIGKILL that ends it."""
        return self.signal == "SIGKILL"


class RollingRestart(_Aimed, _Lagging, _Ordered):
    """Replace all replicas of a process type, so many at a time, the next only when those before are healthy again."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(anyOf=[{"type": "null"}, moved(schema)]))

    order: Literal["stop-first", "start-first"] = Field(
        default="stop-first", description="whether the old replica stops before or after the new one is healthy", examples=["start-first"]
    )
    at_a_time: int = Field(
        default=1,
        ge=1,
        le=MAX_REPLICAS,
        description="how many are replaced at the same time",
        examples=[2],
        json_schema_extra={"unit": "replicas"},
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """Nothing at all as an empty mapping."""
        if written in ("stop-first", "start-first"):
            raise MistakeError(f"must be a mapping; write {{order: {written}}}")
        if isinstance(written, int) and not isinstance(written, bool):
            raise MistakeError(f"must be a mapping; write {{at_a_time: {written}}}")
        return {} if written is None else written

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """As for terminate."""
        yield from super().contradictions(long)
        yield from _uncatchable(long.get("signal"), {"KILL": "kill", "STOP": "pause"})


class Signal(_Choosing, _Aimed):
    """Send any signal that the app should live through, such as SIGHUP, and watch it for a while. Short form: the signal alone.

    The router is not told. A replica that ends by it is a failure, and is replaced; a signal that should end it belongs to terminate.
    """

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(anyOf=[{"type": "string"}, moved(schema)]))

    name: SignalName = Field(
        description="the signal, with or without SIG; SIGTERM and SIGINT belong to terminate, SIGKILL to kill and SIGSTOP to pause",
        examples=["SIGHUP"],
    )
    lasts: PositiveDuration = Field(
        default=Duration.parse("2s"), alias="for", description="how long it is watched before the next step", examples=["500ms"]
    )
    scope: Literal["all", "main"] = Field(
        default="main",
        description="main: its main process only, as an operator sends it; all: its descendants too, as a terminal sends it",
        examples=["all"],
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """The signal alone as a mapping."""
        return {"name": written} if isinstance(written, str) else written

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """Two signals have steps of their own, and two ask for an end. SIGQUIT may stay: a JVM prints its threads on it and lives."""
        for name, step in (("KILL", "kill"), ("STOP", "pause")):
            if _bare(long.get("name")) == name:
                yield Complaint(("name",), f"nothing lives through SIG{name} by its own doing; use the step {step}")
        if (name := _bare(long.get("name"))) in ("TERM", "INT"):
            what = (
                f"SIG{name} asks for an end, and this step is for what the app should live through; write terminate: {{signal: SIG{name}}}"
            )
            yield Complaint(("name",), what)

    @model_serializer(mode="wrap")
    def _spelled(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        long: dict[str, Any] = handler(self)
        return {"for": long.pop("lasts"), **long}


class HandOver(_Choosing, _Aimed, _Lagging):
    """Begin something at a replica, stop that replica, and go on at the others: a session must live on, and what was written must be there.

    A journey goes on with its second request at another replica. Of any other workload a fresh value is written through the replica and
    read through each of the others. They are asked once the replica is gone and its replacement, which is one of them, is healthy.
    """

    journey: str | None = Field(
        default=None,
        description="the workload of the model journey whose first request goes to the replica",
        examples=["login"],
        json_schema_extra={"default_words": "state says what is handed over"},
    )
    state: str | None = Field(
        default=None,
        description="another workload, which is written through the replica and read through the others",
        examples=["items"],
        json_schema_extra={"default_words": "journey says what is handed over"},
    )
    by: Literal["kill", "terminate"] = Field(
        default="kill", description="how the replica is stopped: as the step kill does it, or as terminate does", examples=["terminate"]
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """Always a mapping, as there are two kinds of names."""
        if isinstance(written, str):
            raise MistakeError(f"must be a mapping; write {{journey: {written}}} or {{state: {written}}}")
        return written

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """One thing is handed over."""
        yield from super().contradictions(long)
        if long.get("journey") is None and long.get("state") is None:
            yield Complaint((), "what is handed over? Write journey: with the name of a journey, or state: with that of another workload")
        elif long.get("journey") is not None and long.get("state") is not None:
            yield Complaint(("state",), "one thing is handed over at a time; write two steps", "key")

    @property
    def workload(self) -> str:
        """What is handed over."""
        return self.journey or self.state or ""

    @property
    def stop(self) -> Kill | Terminate:
        """How the replica is stopped, as options of that step."""
        kind = Kill if self.by == "kill" else Terminate
        return kind.model_construct(**{name: value for name, value in self if name in kind.model_fields}, **_UNSAID[self.by])


_UNSAID: Final[Mapping[str, Mapping[str, Any]]] = {"kill": {"scope": "all"}, "terminate": {"signal": None, "again": None}}
"""What a stop has that a step hand_over does not say."""


MOMENT_SCHEMAS: Final[list[dict[str, Any]]] = [
    {"enum": list(START_MOMENTS)},
    {"type": "string", "pattern": DURATION_PATTERN},
    {"type": "string", "pattern": f"^(?:{SHARE.pattern})$"},
]

StartMoment = Annotated[
    str | Duration,
    PlainValidator(_start_moment),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"anyOf": MOMENT_SCHEMAS}),
]


def _lives(written: object) -> str | Duration | tuple[str | Duration, ...]:
    if isinstance(written, list | tuple) and written:
        return tuple(_start_moment(each) for each in written)
    return _start_moment(written)


def _spelled_lives(lives: str | Duration | tuple[str | Duration, ...]) -> str | list[str]:
    return [str(each) for each in lives] if isinstance(lives, tuple) else str(lives)


Lives = Annotated[
    str | Duration | tuple[str | Duration, ...],
    PlainValidator(_lives),
    PlainSerializer(_spelled_lives),
    WithJsonSchema(
        {
            "anyOf": [
                *MOMENT_SCHEMAS,
                {"type": "array", "items": {"anyOf": MOMENT_SCHEMAS}, "minItems": 1},
            ]
        }
    ),
]


class TerminateAtStart(_Ordered):
    """Start one more replica, stop it before it is ready, and start it again at the same address. Short form: the moment alone.

    There it must become healthy. It gets no load, and is gone at the end of the step.
    """

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(anyOf=[*MOMENT_SCHEMAS, {"type": "null"}, moved(schema)]))

    process: str | None = Field(
        default=None,
        description="the process type concerned",
        examples=["worker"],
        json_schema_extra={"default_words": "the one that takes the load, else the one that works on jobs"},
    )
    at: StartMoment = Field(
        default="ready",
        description="when the signal comes: so long after the app began to start; ready: as soon as it listens and before it is asked "
        "whether it is healthy; a share such as 40%: after that share of the quickest start so far; any: after a share by the dice",
        examples=["100ms"],
        json_schema_extra={"type_words": "duration, share, ready or any"},
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """The moment alone, or nothing, as a mapping."""
        if written is None:
            return {}
        return written if isinstance(written, Mapping) else {"at": written}

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """As for terminate."""
        yield from super().contradictions(long)
        yield from _uncatchable(long.get("signal"), {"KILL": "crash_loop", "STOP": "pause"})


class CrashLoop(_Choosing):
    """Kill a replica and start it again at the same address, again and again while it starts. Short form: the replica alone.

    The last time it must become healthy, and gets its load again.
    """

    model_config = _SHORT

    process: str | None = Field(
        default=None,
        description="the process type concerned",
        examples=["worker"],
        json_schema_extra={"default_words": "the one that takes the load, else the one that works on jobs"},
    )
    times: int = Field(default=5, ge=1, le=1000, description="how often it is killed", examples=[10], json_schema_extra={"unit": "times"})
    after: Lives = Field(
        default="any",
        description="how long it lives each time: a duration, or a list of them, taken in turns; ready: until it listens; a share such as "
        "40%: for that share of the quickest start so far; any: for shares by the dice",
        examples=["200ms"],
        json_schema_extra={"type_words": "duration, share, ready or any, or a list of durations and shares"},
    )


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

    @field_validator("root", mode="before")
    @classmethod
    def _named(cls, written: object, info: ValidationInfo) -> object:
        if isinstance(written, int) and not isinstance(written, bool):
            process = (info.context or {}).get("process", "web")
            raise MistakeError(f"must be a mapping; write {{{process}: {written}}}")
        return written

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


class StopService(Part):
    """Stop a backing service that the run has started; it stays away until start_service, or for so long. Short form: its name."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(anyOf=[{"type": "string"}, moved(schema)]))

    service: str = Field(description="the service", examples=["redis"])
    signal: SignalName = Field(default="SIGTERM", description="what it gets; SIGKILL is its sudden death", examples=["SIGKILL"])
    lasts: PositiveDuration | None = Field(
        default=None,
        alias="for",
        description="start it again after so long",
        examples=["2s"],
        json_schema_extra={"default_words": "until start_service"},
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """A name as a mapping."""
        return {"service": written} if isinstance(written, str) else written

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """A signal that ends it."""
        if _bare(long.get("signal")) == "STOP":
            yield Complaint(("signal",), "SIGSTOP freezes and does not end; write SIGKILL, or leave it out")

    @model_serializer(mode="wrap")
    def _spelled(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        long: dict[str, Any] = handler(self)
        lasts = long.pop("lasts")
        return long | ({"for": lasts} if lasts is not None else {})


class _OfService(Part):
    """A step about a backing service. Short form: its name."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(anyOf=[{"type": "string"}, moved(schema)]))

    service: str = Field(description="the service", examples=["redis"])

    @classmethod
    def long_form(cls, written: object) -> object:
        """A name as a mapping."""
        return {"service": written} if isinstance(written, str) else written


class StartService(_OfService):
    """Start a service again that stop_service has stopped, at the same address and with what it kept."""


class CutConnections(_OfService):
    """Have a service close the connections of all its clients, who may connect again at once."""
