"""The jobs that a run puts into a queue, where their effects show, and how a worker's log speaks of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import ErrorDetails

from harness.scenario.services import SomeText, VariableName
from harness.scenario.values import PATH_CHARACTERS, PositiveDuration, no_nul
from harness.strict_model import Complaint, Part
from harness.units import Duration, Rate
from harness.words import MistakeError, did_you_mean, one_of, quoted, shown

MAX_JOBS: Final = 10_000_000

JOB: Final = "{job}"
"""The placeholder of a job's id."""

FORMS: Final[Mapping[str, tuple[str, ...]]] = {
    "sqlite": ("table",),
    "redis": ("list", "stream", "rq", "celery"),
    "rabbitmq": ("classic", "quorum", "celery"),
    "beanstalkd": ("tube",),
    "postgres": ("table", "delayed_job"),
    "memcached": (),
}
"""How each kind of service keeps jobs; the first is the default."""

Form: TypeAlias = Literal["table", "list", "stream", "rq", "celery", "classic", "quorum", "tube", "delayed_job"]

EFFECTS: Final = ("key", "query", "file", "get", "queue")
"""The keys that say where effects show."""

IN_A_SERVICE: Final = ("key", "query", "queue")
HANDED_OVER: Final = ("key", "file", "queue")
"""Those of them that are in a service, and those that workers are told of in their environment."""

DONE: Final = "DONE"
QUEUE: Final = "QUEUE"
"""The environment variables that tell workers of it, and of the queue, unless the scenario names others."""


def _with_job(written: str) -> str:
    if JOB not in written:
        raise MistakeError(f"must hold {JOB}, where the job's id stands")
    return no_nul(written)


def _http_path(written: str) -> str:
    if not written.startswith("/") or not PATH_CHARACTERS.fullmatch(written.replace(JOB, "")):
        raise MistakeError(f"must be a path such as /done, not {quoted(written)}")
    return written


def _queue(written: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.:-]{0,99}", written):
        raise MistakeError(f"{quoted(written)} is no name for a queue; use letters, digits and _ . : -, and begin with a letter")
    return written


def _option(written: object) -> object:
    if not isinstance(written, str | int):
        raise MistakeError(f"must be text, a whole number, or true or false, not {shown(written)}")
    return written


JobText = Annotated[str, AfterValidator(_with_job)]
QueueName = Annotated[str, AfterValidator(_queue)]


class Done(Part):
    """Where the effect of a finished job shows. Exactly one of the first five keys."""

    key: QueueName | None = Field(
        default=None,
        description="Redis: a key that holds the ids: a list or a stream (an entry an effect), a hash of counts, or a set, in which "
        "nothing can be seen twice",
        examples=["done"],
    )
    query: SomeText | None = Field(
        default=None,
        description="SQL: a query with a row for each effect, whose first column has the id in it",
        examples=["SELECT job FROM effects"],
    )
    file: SomeText | None = Field(
        default=None,
        description="a file to which workers append, a line an effect, with the id in it; a relative path lies in the folder that all "
        "replicas of the run share",
        examples=["done.log"],
        json_schema_extra={"type_words": "file"},
    )
    get: Annotated[str, AfterValidator(_http_path)] | None = Field(
        default=None,
        description="a path of the app, asked of any replica that is up, whose answer has the id in it once for each effect",
        examples=["/done"],
        json_schema_extra={"type_words": "path"},
    )
    queue: QueueName | None = Field(
        default=None, description="a queue of results, from which the harness takes a message for each effect", examples=["results"]
    )
    service: str | None = Field(
        default=None,
        description="the service where the key, the table or the queue is",
        examples=["postgres"],
        json_schema_extra={"default_words": "that of the jobs"},
    )
    process: str | None = Field(
        default=None,
        description="the process type that is asked for get",
        examples=["web"],
        json_schema_extra={"default_words": "the one that takes the load, or web, or the only one"},
    )
    variable: VariableName = Field(
        default=DONE,
        description="the environment variable that hands the key, the file or the queue to every replica",
        examples=["RESULTS"],
    )

    @classmethod
    def long_form(cls, written: object) -> object:
        """A path alone is told how it is written."""
        if isinstance(written, str):
            key = "get" if written.startswith("/") else "query" if written.upper().startswith("SELECT ") else "file"
            raise MistakeError(f"must be a mapping, not {shown(written)}; write {{{key}: {quoted(written)}}}")
        return written

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """One place, and only one."""
        told = [key for key in EFFECTS if long.get(key) is not None]
        if not told:
            yield Complaint((), f"says not where the effect of a job shows; write {one_of(EFFECTS)}", "key")
        for key in told[1:]:
            yield Complaint((key,), f"effects show in one place, and {told[0]} is one already; remove one of them", "key")
        if len(told) != 1:
            return
        if long.get("service") is not None and told[0] not in IN_A_SERVICE:
            yield Complaint(("service",), f"has no meaning with {told[0]}, which is in no service; remove it", "key")
        if long.get("process") is not None and told[0] != "get":
            yield Complaint(("process",), f"is the process type that is asked for get, and has no meaning with {told[0]}; remove it", "key")
        if long.get("variable") not in (None, DONE) and told[0] not in HANDED_OVER:
            yield Complaint(("variable",), f"has no meaning with {told[0]}, which is handed to nobody; remove it", "key")

    @property
    def kind(self) -> str:
        """Which of ``EFFECTS`` it is."""
        return next(key for key in EFFECTS if getattr(self, key) is not None)


class WorkerLog(Part):
    """How a line of a worker's log speaks of a job, each with ``{job}`` where its id stands."""

    started: JobText | None = Field(default=None, description="the worker began with it", examples=["job {job} started"])
    finished: JobText | None = Field(
        default=None, description="its work is done, and the queue does not know it yet", examples=["job {job} finished"]
    )
    settled: JobText | None = Field(
        default=None, description="the queue was told that it is done (acknowledged, deleted)", examples=["job {job} acknowledged"]
    )
    returned: JobText | None = Field(default=None, description="it was given back to the queue", examples=["job {job} returned"])

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """A line says one thing, and nothing is known of a job that nobody saw begin."""
        texts = {key: text for key in cls.model_fields if isinstance(text := long.get(key), str)}
        if texts and "started" not in texts:
            yield Complaint((), "says not how a job begins, without which nothing else is of use; write started, too", "key")
        told = list(texts.items())
        for number, (key, text) in enumerate(told):
            taken = next((earlier for earlier, within in told[:number] if within in text), None)
            if taken is not None:
                what = f"its lines hold the text of {taken} and would be taken for that; write what only one of them has"
                yield Complaint((key,), what)


class Jobs(Part):
    """The jobs of a run: who works on them, through which queue, and how it is seen that one is done."""

    process: str | None = Field(
        default=None,
        description="the process type that works on them",
        examples=["worker"],
        json_schema_extra={"default_words": "worker, or the only process type"},
    )
    service: str | None = Field(
        default=None,
        description="the service that has the queue",
        examples=["redis"],
        json_schema_extra={"default_words": "the only service"},
    )
    form: Form | None = Field(
        default=None,
        description="how the service keeps jobs: " + "; ".join(f"{kind}: {', '.join(forms)}" for kind, forms in FORMS.items() if forms),
        examples=["quorum"],
        json_schema_extra={"default_words": "the first of its kind of service", "type_words": "text"},
    )
    queue: QueueName = Field(
        default="jobs",
        description="the queue: a list or stream, a queue, a tube, a table. In a service with url its name also gets the run's mark",
        examples=["mail"],
    )
    variable: VariableName = Field(
        default=QUEUE, description="the environment variable that hands the queue's name to every replica", examples=["TUBE"]
    )
    count: Annotated[int, Field(ge=1, le=MAX_JOBS)] | None = Field(
        default=None,
        description="how many jobs there are; without rate all are put at the beginning",
        examples=[200],
        json_schema_extra={"default_words": "as many as rate puts until the last step has ended", "unit": "jobs"},
    )
    rate: Rate | None = Field(
        default=None,
        description="so many jobs are put in each second (s), minute (m) or hour (h), whatever becomes of the earlier ones",
        examples=["20/s"],
        json_schema_extra={"unit": "jobs in s, m or h", "default_words": "none: count jobs at the beginning"},
    )
    body: JobText = Field(
        default=JOB,
        description="what is put; {job} becomes the job's id, which the worker must write where the effect shows",
        examples=['{"id": "{job}", "ms": 20}'],
    )
    post: Annotated[str, AfterValidator(_http_path)] | None = Field(
        default=None,
        description="the app puts the jobs itself: the process type that takes the load (else web, or the only one) is asked by a POST of "
        "body to this path, in which {job} may stand, too; a status from 200 to 299 acknowledges the job",
        examples=["/jobs"],
        json_schema_extra={"default_words": "the harness itself puts them", "type_words": "path"},
    )
    options: dict[str, Annotated[str | int | bool, BeforeValidator(_option)]] = Field(
        default={},
        description="what the form needs to know beside: see docs/jobs.md",
        examples=[{"task": "app.work"}],
        json_schema_extra={"type_words": "mapping", "default_words": "empty"},
    )
    done: Done = Field(description="where the effect of a finished job shows", examples=[{"file": "done.log"}])
    log: WorkerLog = Field(
        default=WorkerLog(),
        description="how the worker's log speaks of a job, so that faults can wait for it and a finding can tell its story",
        examples=[{"started": "job {job} started"}],
        json_schema_extra={"default_words": "nothing is known of it"},
    )
    idempotent: bool = Field(
        default=False, description="the job may have its effect only once, so that a second one is a failure", examples=[True]
    )
    drain: PositiveDuration = Field(
        default=Duration.parse("30s"),
        description="after the last step, so long at most until all jobs are done; what the queue still holds then is stranded",
        examples=["10s"],
    )

    @classmethod
    def contradictions(cls, long: Mapping[str, Any]) -> Iterator[Complaint]:
        """So many, or so often."""
        if long.get("count") is None and long.get("rate") is None:
            yield Complaint((), "says not how many jobs there are; write count: 200, or rate: 20/s", "key")

    @classmethod
    def _in_words(cls, detail: ErrorDetails) -> Complaint:
        told = super()._in_words(detail)
        if detail["type"] == "literal_error":
            return told._replace(what=told.what + did_you_mean(str(detail["input"]), get_args(Form)))
        return told


def forms_of(kind: str) -> tuple[str, ...]:
    """How a kind of service keeps jobs, the default first; none where it keeps none."""
    return FORMS[kind]
