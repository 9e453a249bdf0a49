"""The scenario as a whole, and what only the whole can get wrong: names that name nothing, circles, too much to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
)
from pydantic_core import ErrorDetails

from harness.scenario.jobs import Jobs, forms_of
from harness.scenario.load import Load, Request
from harness.scenario.options import RollingRestart, Routing
from harness.scenario.queues import job_complaints, mapping, moment_complaints, process_that, service_complaints
from harness.scenario.services import Services
from harness.scenario.state import Workload
from harness.scenario.state_complaints import asked_of, hand_over_complaints, is_busy, placeholder_complaints, state_complaints
from harness.scenario.steps import VICTIM_STEPS, WITHOUT_MOMENT, OfOneProcess, Step, Stop
from harness.scenario.target import Healthcheck, ProcessType
from harness.scenario.values import ZERO, FindingName, Line, ProcessName, WorkloadName, is_long
from harness.strict_model import AsTuple, Complaint, Part, Place
from harness.threshold import Threshold, parse_threshold
from harness.units import Duration
from harness.words import MistakeError, all_of, did_you_mean, one_of, quoted, shown

MAX_STEPS: Final = 10_000


def _version(written: object) -> int:
    if isinstance(written, int) and not isinstance(written, bool) and written == 1:
        return written
    raise MistakeError(f"must be 1, the only version of the format that there is, not {shown(written)}")


def _threshold(written: object) -> Threshold:
    if isinstance(written, Threshold):
        return written
    if not isinstance(written, str):
        raise MistakeError(f"must be text such as dropped_requests == 0, not {shown(written)}")
    return parse_threshold(written)


def _some_state(written: object) -> object:
    if written is None or written == {}:
        raise MistakeError("is empty; say under it what clients write and read, or remove it")
    return written


ThresholdText = Annotated[
    Threshold,
    PlainValidator(_threshold),
    PlainSerializer(lambda threshold: threshold.text, return_type=str),
    WithJsonSchema({"type": "string", "minLength": 1}),
]


NO_LOAD: Final = Load.model_construct(requests=())
"""Nobody sends requests."""


class Scenario(Part):
    """One scenario file."""

    jetable: Annotated[Literal[1], PlainValidator(_version), WithJsonSchema({"const": 1, "type": "integer"})] = Field(
        description="version of this format", examples=[1], json_schema_extra={"type_words": "1"}
    )
    name: Line = Field(
        description="what the scenario shows, in one line of at most 120 characters", examples=["web survives a rolling restart"]
    )
    description: str = Field(
        default="",
        description="anything that its reader should know",
        examples=["Needs no more than Python."],
        json_schema_extra={"default_words": "empty"},
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        le=2**63 - 1,
        description="where all chance comes from; --seed overrides it",
        examples=[7],
        json_schema_extra={"default_words": "a new one for each run, which the run shows"},
    )
    target: Annotated[dict[ProcessName, ProcessType], Field(min_length=1)] = Field(
        description="the app under test: its process types by name",
        examples=[{"web": {"command": "python app.py"}}],
        json_schema_extra={"type_words": "mapping of names to process types (see below)"},
    )
    services: Services = Field(
        default={},
        description="the backing services that the target needs, by name",
        examples=[{"redis": {}}],
        json_schema_extra={"type_words": "mapping of names to services (see below)", "default_words": "none"},
    )
    load: Load = Field(
        default=NO_LOAD,
        description="what users do to the target meanwhile; may be left out where there are jobs",
        examples=[{"requests": ["GET /"]}],
        json_schema_extra={"default_words": "no requests", "type_words": "mapping (see below)"},
    )
    jobs: Jobs | None = Field(
        default=None,
        description="the jobs that workers of the target do meanwhile",
        examples=[{"rate": "20/s", "done": {"file": "done.log"}}],
        json_schema_extra={"default_words": "none", "type_words": "mapping (see below)"},
    )
    state: Annotated[dict[WorkloadName, Workload], BeforeValidator(_some_state)] = Field(
        default={},
        description="the state that clients write and read meanwhile, by name, and what all replicas must answer alike",
        examples=[{"hits": {"model": "counter", "add": "POST /hits", "read": {"request": "GET /hits", "answer": "$.count"}}}],
        json_schema_extra={"type_words": "mapping of names to workloads (see below)", "default_words": "none"},
    )
    routing: Routing = Field(default=Routing(), description="when the router learns that a replica is to stop", examples=[{"drain": "2s"}])
    steps: Annotated[tuple[Step, ...], Field(min_length=1), AsTuple] = Field(
        description="what happens, one after the other",
        examples=[[{"terminate": "each"}]],
        json_schema_extra={"type_words": "list of steps (see below)"},
    )
    expect: Annotated[tuple[ThresholdText, ...], AsTuple] = Field(
        default=(),
        description="what must hold, as thresholds over metrics",
        examples=[["shutdown_time p(95) < 5s"]],
        json_schema_extra={"type_words": "list of thresholds (see below)", "default_words": "the default thresholds"},
    )
    must_find: Annotated[tuple[FindingName, ...], AsTuple] = Field(
        default=(),
        description="the findings that this scenario exists to provoke, for scenarios against a planted defect",
        examples=[["dropped-in-flight"]],
        json_schema_extra={"type_words": "list of finding names"},
    )

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """Names that name nothing, circles, and more than a run can do."""
        target = long.get("target")
        if isinstance(target, Mapping) and target:
            yield from _unknown_names(long, target)
            yield from _circles(target)
            yield from _load_complaints(long, target)
            yield from service_complaints(long, list(_steps(long)))
            yield from job_complaints(long, target, asked=asked_of(long, target))
            yield from state_complaints(long, target)
            yield from hand_over_complaints(long, target, list(_steps(long)))
        yield from placeholder_complaints(long)
        repeats = [step.get("repeat", 1) for step in _mappings(long.get("steps"))]
        if sum(count for count in repeats if isinstance(count, int)) > MAX_STEPS:
            yield Complaint(("steps",), f"more than {MAX_STEPS} steps in all, repeats counted", "key")

    @classmethod
    def _in_words(cls, detail: ErrorDetails) -> Complaint:
        told = super()._in_words(detail)
        forgotten = detail["type"] == "missing" and told.path == ("jetable",)
        return told._replace(what=f"{told.what}; write jetable: 1 as the first line") if forgotten else told

    @model_serializer(mode="wrap")
    def _spelled(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is not there is not written, as an empty load would be refused."""
        long: dict[str, Any] = handler(self)
        parts = (("load", self.load.requests), ("jobs", self.jobs), ("services", self.services), ("state", self.state))
        left_out = [key for key, there in parts if not there]
        return {key: value for key, value in long.items() if key not in left_out}

    @property
    def has_load(self) -> bool:
        """Requests are sent, by users or by clients that write and read state."""
        return bool(self.requests)

    @property
    def requests(self) -> tuple[Request, ...]:
        """All kinds of request that the load sends: those of users, then the operations on state."""
        return (*self.load.requests, *(operation for workload in self.state.values() for operation in workload.operations.values()))

    @property
    def plain_path(self) -> str:
        """What may be asked for at any time, as the load asks for it, too: its first GET without placeholders, else ``/``."""
        return next((request.path for request in self.requests if request.method == "GET" and "{" not in request.path), "/")

    @property
    def load_process(self) -> str:
        """The process type that takes the load; empty without one."""
        named = [self.load.process, *(workload.process for workload in self.state.values())]
        written = next((name for name in named if name is not None), None)
        name = process_that(written, self.target, "web") if self.has_load or self.state else ""
        assert name is not None  # noqa: S101  contradictions() refuses a scenario without one, or with two
        return name

    @property
    def job_process(self) -> str:
        """The process type that works on jobs; empty without them."""
        name = process_that(self.jobs.process, self.target, "worker") if self.jobs is not None else ""
        assert name is not None  # noqa: S101  as above
        return name

    @property
    def job_service(self) -> str:
        """The service that has the queue; empty without jobs."""
        return (self.jobs.service or next(iter(self.services), "")) if self.jobs is not None else ""

    @property
    def job_form(self) -> str:
        """How that service keeps jobs; empty without them."""
        return (self.jobs.form or forms_of(self.services[self.job_service].kind)[0]) if self.jobs is not None else ""

    @property
    def main_process(self) -> str:
        """The process type that steps are about which name none."""
        return self.load_process or self.job_process

    @property
    def asked_process(self) -> str:
        """The process type that puts jobs, or tells of their effects, over HTTP; empty when nobody is asked."""
        if self.jobs is None or (self.jobs.post is None and self.jobs.done.get is None):
            return ""
        return self.load_process or process_that(None, self.target, "web") or ""

    def process_of(self, options: OfOneProcess) -> str:
        """The process type that a step is about."""
        return options.process or self.main_process

    def routing_of(self, options: Stop | RollingRestart) -> Routing:
        """When the router learns of a step's stops: the step's own lag or drain, else the scenario's."""
        if options.endpoint_lag is None and options.drain is None:
            return self.routing
        return Routing(endpoint_lag=options.endpoint_lag or ZERO, drain=options.drain or ZERO)

    @property
    def default_engine(self) -> str:
        """Where this scenario runs when nobody says it: on this machine, unless an image is all that a process type gives."""
        return "process" if all(process.command is not None for process in self.target.values()) else "docker"

    def healthcheck_of(self, process: str) -> Healthcheck:
        """When a replica of ``process`` counts as started: what the file says, else tcp for what is asked over HTTP, else running."""
        written = self.target[process].healthcheck or Healthcheck(disable=True)
        if not written.disable:
            return written
        asked = {self.load_process, self.asked_process, self.jobs.done.process if self.jobs is not None else None}
        kind = "tcp" if process in asked else "running"
        return written.model_copy(update={kind: True, "disable": False})

    def start_order(self) -> list[str]:
        """Process types, each after those that it depends on."""
        order: list[str] = []

        def visit(name: str) -> None:
            for needed in self.target[name].depends_on:
                visit(needed)
            if name not in order:
                order.append(name)

        for name in self.target:
            visit(name)
        return order


def loaded_process(written: object) -> str:
    """The process type that most likely takes the load of a scenario that may be wrong, to name it in what its author should write."""
    target = written.get("target") if isinstance(written, Mapping) else None
    known = target if isinstance(target, Mapping) and target else {"web": None}
    named = asked_of(written, known) if isinstance(written, Mapping) else None
    return str(named if named in known else process_that(None, known, "web") or next(iter(known)))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [item if isinstance(item, Mapping) else {} for item in _list(value)]


def _steps(long: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    """All steps with their places, and those that they are made of."""
    return _inner_steps(("steps",), long.get("steps"))


def _inner_steps(path: tuple[str | int, ...], steps: object) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    for index, step in enumerate(_mappings(steps)):
        place = (*path, index)
        yield place, step
        yield from _inner_steps((*place, "together"), step.get("together"))
        if isinstance(chaos := step.get("chaos"), Mapping):
            yield from _inner_steps((*place, "chaos", "of"), chaos.get("of"))


def _places(replica: object) -> list[int]:
    """The places in the row that a choice of replicas names."""
    named = replica if isinstance(replica, list) else [replica]
    return [place for place in named if isinstance(place, int) and not isinstance(place, bool)]


def _names(long: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str, Place]]:
    """Every place of a scenario that names a process type."""
    for name, process in target.items():
        needed = process.get("depends_on") if isinstance(process, Mapping) else None
        for index, item in enumerate(needed if isinstance(needed, list) else []):
            yield ("target", name, "depends_on", index), item, "value"
    for place in (("load",), ("jobs",), ("jobs", "done")):
        part: object = long
        for key in place:
            part = part.get(key) if isinstance(part, Mapping) else None
        yield (*place, "process"), mapping(part).get("process", ""), "value"
    for name, workload in mapping(long.get("state")).items():
        yield ("state", name, "process"), mapping(workload).get("process", ""), "value"
    for path, step in _steps(long):
        for kind, options in step.items():
            if kind == "scale" and isinstance(options, Mapping):
                yield from (((*path, kind, name), name, "key") for name in options)
            elif kind in VICTIM_STEPS and isinstance(options, Mapping):
                yield (*path, kind, "process"), options.get("process", ""), "value"
    expect = long.get("expect")
    for index, text in enumerate(expect if isinstance(expect, list) else []):
        prefix = re.match(r"\s*([\w-]+)\.\w", text) if isinstance(text, str) else None
        if prefix:
            yield ("expect", index), prefix[1], "value"


def _unknown_names(long: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[Complaint]:
    for path, name, place in _names(long, target):
        if not isinstance(name, str) or not name or name in target:
            continue
        what = f"unknown process type {quoted(name)}{did_you_mean(name, target)}; the target has {all_of(target)}"
        if path[-2] == "depends_on" and name in mapping(long.get("services")):
            what = f"{name} is a service, and services are there before the first replica starts; remove it here"
        yield Complaint(path, what, place)


def _circles(target: Mapping[str, Any]) -> Iterator[Complaint]:
    """Process types that wait for each other; each circle once, told where its first member depends."""
    needs = {name: _needed(process) for name, process in target.items()}
    done: set[str] = set()

    def walk(name: str, above: tuple[str, ...]) -> Iterator[Complaint]:
        if name in above:
            circle = (*above[above.index(name) :], name)
            yield Complaint(("target", name, "depends_on"), f"a circle: {' needs '.join(circle)}", "key")
        elif name in needs and name not in done:
            for needed in needs[name]:
                yield from walk(needed, (*above, name))
            done.add(name)

    for name in needs:
        yield from walk(name, ())


def _needed(process: object) -> list[str]:
    needed = process.get("depends_on") if isinstance(process, Mapping) else None
    return [item for item in needed if isinstance(item, str)] if isinstance(needed, list) else []


def _load_complaints(long: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[Complaint]:
    """Who takes the load, and what follows from it for the steps."""
    load, jobs = long.get("load"), long.get("jobs")
    if jobs is None and "jobs" in long:
        yield Complaint(("jobs",), "is empty; say under it how many jobs there are and where they show when they are done, or remove it")
    elif jobs is None and "load" not in long and "state" not in long:
        yield Complaint((), 'the key "load" is missing; it may be left out only where there are jobs or state', "key")
    loaded = asked_of(long, target)
    worked = process_that(jobs.get("process"), target, "worker") if isinstance(jobs, Mapping) else ""
    if loaded is None and isinstance(load, Mapping):
        yield Complaint(("load",), f"which process type takes the load? Write process: with {one_of(target)}", "key")
    if loaded is None or worked is None:
        return
    busy = loaded if is_busy(long) else ""
    most = {name: _most_replicas(long, target, name) for name in target}
    for path, step in _steps(long):
        for kind in VICTIM_STEPS:
            options = step.get(kind)
            options = options if isinstance(options, Mapping) else {"replica": options}
            named = options.get("process")
            process = named if isinstance(named, str) and named else loaded or worked
            if kind in step and process in target and kind not in WITHOUT_MOMENT:
                yield from moment_complaints((*path, kind), options, process, mapping(jobs), loaded=busy, worked=worked)
            yield from _too_late((*path, kind, "again"), options.get("again"), target.get(process))
            places = _places(options.get("replica"))
            if kind in step and 0 < most.get(process, 0) < max(places, default=0):
                yield Complaint((*path, kind, "replica"), f"there are never more than {most[process]} replicas of {process}")


def _too_late(path: tuple[str | int, ...], again: object, described: object) -> Iterator[Complaint]:
    """A second signal that would come when SIGKILL has ended the grace."""
    grace = described.get("stop_grace_period", "10s") if isinstance(described, Mapping) else "10s"
    if is_long(again) and is_long(grace) and Duration.parse(again) >= Duration.parse(grace):
        yield Complaint(path, f"comes no sooner than SIGKILL at the end of stop_grace_period, {grace}; write less")


def _most_replicas(long: Mapping[str, Any], target: Mapping[str, Any], process: object) -> int:
    """The largest number of replicas that ``process`` ever has; 0 when the file does not say it rightly."""
    described = target.get(process) if isinstance(process, str) else None
    counts = [described.get("replicas", 1) if isinstance(described, Mapping) else 0]
    steps = [step for _, step in _steps(long)]
    counts += [step["scale"].get(process, 0) for step in steps if isinstance(step.get("scale"), Mapping)]
    if any("scale" in _list(chaos.get("of")) for chaos in (step.get("chaos") for step in steps) if isinstance(chaos, Mapping)):
        counts += [2 * count for count in counts[:1] if isinstance(count, int)]  # the most that chaos draws
    return max((count for count in counts if isinstance(count, int)), default=0)
