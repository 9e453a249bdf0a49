"""What services, jobs and the steps about them can get wrong between each other.

Names that name nothing, orders that a service can't obey, one variable for two things, moments that never come. Everything
here looks at a scenario as plain data, which may be wrong in any other way as well, and says what to write instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from harness.scenario.jobs import DONE, HANDED_OVER, IN_A_SERVICE, QUEUE, forms_of
from harness.scenario.services import CUTS_CONNECTIONS, EMBEDDED, SERVICE_KINDS, VARIABLES
from harness.scenario.steps import SERVICE_STEPS
from harness.strict_model import Complaint
from harness.words import all_of, did_you_mean, one_of, quoted

Path: TypeAlias = tuple[str | int, ...]
"""Where in a scenario something stands."""

Placed: TypeAlias = tuple[Path, Mapping[str, Any]]
"""A step as plain data, with its place."""

JOB_MOMENTS: Final = ("job-started", "job-finished")
"""Moments that come only to who works on jobs."""

EFFECTS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "key": ("redis",),
    "query": ("sqlite", "postgres"),
    "queue": ("redis", "rabbitmq", "beanstalkd"),
}
"""Which kinds of service an effect can show in; what is not here needs none."""


def process_that(written: object, target: Mapping[str, object], usual: str) -> str | None:
    """The process type that a part of a scenario is about: the one it names, the only one, or the one of the usual name."""
    if written is not None:
        return str(written)
    if len(target) == 1:
        return next(iter(target))
    return usual if usual in target else None


def mapping(value: object) -> Mapping[str, Any]:
    """``value`` where it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


# --- services ---------------------------------------------------------------------------------------------------------------


def service_complaints(long: Mapping[str, Any], steps: Sequence[Placed]) -> Iterator[Complaint]:
    """Names that are taken, variables that would be handed over twice, and steps that a service can't do."""
    services = mapping(long.get("services"))
    for name in services:
        if name in mapping(long.get("target")):
            yield Complaint(("services", name), "is a process type of the target, too; give one of them another name", "key")
    yield from _variable_complaints(long, services)
    stopped = {_service_of(step, "stop_service") for _, step in steps}
    for path, step in steps:
        for kind in SERVICE_STEPS:
            named = _service_of(step, kind)
            if not isinstance(named, str):
                continue
            place = (*path, kind, *(("service",) if isinstance(step[kind], Mapping) else ()))
            if what := _cant_be_done(kind, named, services):
                yield Complaint(place, what)
            elif kind == "start_service" and named not in stopped:
                yield Complaint(place, f"no step stops {named}, so it is never away; write stop_service: {named} before it")


def _service_of(step: Mapping[str, Any], kind: str) -> object:
    written = step.get(kind)
    named = written.get("service") if isinstance(written, Mapping) else written
    return named if isinstance(named, str) else None


def _cant_be_done(kind: str, named: str, services: Mapping[str, Any]) -> str:
    """Why a step can't be done with the service that it names; empty when it can."""
    if named not in services:
        return unknown_service(named, services)
    of = kind_of(named, services)
    if of in EMBEDDED:
        return f"{of} is a file and no process, so it can't be stopped, started or cut off"
    if kind == "cut_connections":
        able = of in CUTS_CONNECTIONS or of not in SERVICE_KINDS
        return "" if able else f"{of} has no command to close its clients' connections; use stop_service with for:"
    foreign = mapping(services[named]).get("url") is not None
    return f"{named} has a url, so it is not the run's own and never stopped; remove the url, or this step" if foreign else ""


def unknown_service(named: str, services: Mapping[str, Any]) -> str:
    """What is said of the name of a service that there is not."""
    has = f"the scenario has {all_of(services)}" if services else "the scenario has no services:"
    return f"unknown service {quoted(named)}{did_you_mean(named, services)}; {has}"


def _variable_complaints(long: Mapping[str, Any], services: Mapping[str, Any]) -> Iterator[Complaint]:
    """One variable for two things, and one that a process type's own environment would cover."""
    handed: dict[str, str] = {}
    for path, variable, what in _handed_over(long, services):
        if variable in handed:
            yield Complaint(path, f"{variable} hands over {handed[variable]} already; write variable: with another name", "key")
        handed.setdefault(variable, what)
    for name, process in mapping(long.get("target")).items():
        for place, variable in _variables_of(mapping(process).get("environment")):
            if variable in handed:
                what = f"{variable} hands over {handed[variable]}; remove it here, or write variable: with another name there"
                yield Complaint(("target", name, "environment", place), what, "key")


def _variables_of(environment: object) -> list[tuple[str | int, str]]:
    """The names of a process type's own variables, each with its place under ``environment``, which may be a mapping or a list."""
    if isinstance(environment, Mapping):
        return [(name, name) for name in environment if isinstance(name, str)]
    items = environment if isinstance(environment, list) else []
    return [(number, item.partition("=")[0]) for number, item in enumerate(items) if isinstance(item, str)]


def _handed_over(long: Mapping[str, Any], services: Mapping[str, Any]) -> Iterator[tuple[Path, str, str]]:
    """Each variable that every replica gets: where that is written, its name, and what it holds."""
    for name, service in services.items():
        own = mapping(service).get("variable")
        variable = own if isinstance(own, str) else VARIABLES.get(kind_of(name, services), "")
        if variable:
            yield ("services", name, *(("variable",) if own else ())), variable, f"the URL of {name}"
    if isinstance(jobs := long.get("jobs"), Mapping):
        yield from _named_variable(("jobs",), jobs, QUEUE, "the queue's name")
        done = mapping(jobs.get("done"))
        if any(done.get(key) is not None for key in HANDED_OVER):
            yield from _named_variable(("jobs", "done"), done, DONE, "the place of effects")


def _named_variable(path: Path, part: Mapping[str, Any], usual: str, what: str) -> Iterator[tuple[Path, str, str]]:
    own = part.get("variable", usual)
    if isinstance(own, str):
        yield (*path, *(("variable",) if "variable" in part else ())), own, what


def kind_of(name: str, services: Mapping[str, Any]) -> str:
    """What kind of service ``name`` is."""
    return str(mapping(services.get(name)).get("kind") or name)


# --- jobs -------------------------------------------------------------------------------------------------------------------


def job_complaints(long: Mapping[str, Any], target: Mapping[str, Any], *, asked: str | None) -> Iterator[Complaint]:
    """Who works on jobs, in which service, whether that can keep them, and who is asked; ``asked`` takes the load."""
    jobs = long.get("jobs")
    if not isinstance(jobs, Mapping):
        return
    if process_that(jobs.get("process"), target, "worker") is None:
        yield Complaint(("jobs",), f"which process type works on jobs? Write process: with {one_of(target)}", "key")
    if not asked and process_that(None, target, "web") is None:
        yield from _asked_complaints(long, jobs, target)
    services = mapping(long.get("services"))
    if not services:
        if long.get("services") in (None, {}):
            yield Complaint(("jobs",), "need a service that keeps them; write services: {sqlite: {}} for one that needs nothing", "key")
        return
    done = mapping(jobs.get("done"))
    unknown = [
        Complaint(("jobs", *path), unknown_service(named, services))
        for path, named in ((("service",), jobs.get("service")), (("done", "service"), done.get("service")))
        if isinstance(named, str) and named not in services
    ]
    yield from unknown
    if not isinstance(jobs.get("service"), str | None) or unknown:
        return
    if jobs.get("service") is None and len(services) > 1:
        yield Complaint(("jobs",), f"which service has the queue? Write service: with {one_of(services)}", "key")
        return
    yield from _form_complaints(jobs, services)
    yield from _place_complaints(done, jobs, services)


def _asked_complaints(long: Mapping[str, Any], jobs: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[Complaint]:
    """Where nobody knows which process type is asked over HTTP."""
    load, done = long.get("load"), mapping(jobs.get("done"))
    if done.get("get") is not None and done.get("process") is None:
        yield Complaint(("jobs", "done"), f"which process type is asked for get? Write process: with {one_of(target)}", "key")
    if jobs.get("post") is not None and not isinstance(load, Mapping):
        yield Complaint(("jobs", "post"), 'which process type is asked? Call it "web", or give it a load', "key")


def _form_complaints(jobs: Mapping[str, Any], services: Mapping[str, Any]) -> Iterator[Complaint]:
    """A form that the service has."""
    kind = kind_of(_queue_of(jobs, services), services)
    if kind not in SERVICE_KINDS:
        return
    form, forms = jobs.get("form"), forms_of(kind)
    if not forms:
        able = [each for each in SERVICE_KINDS if forms_of(each)]
        yield Complaint(("jobs", "service"), f"{kind} keeps no jobs; {one_of(able)} does", "key")
    elif isinstance(form, str) and form not in forms:
        having = [each for each in SERVICE_KINDS if form in forms_of(each)]
        if having:
            what = f"{kind} keeps jobs as {one_of(forms)}; {quoted(form)} belongs to {one_of(having)}"
            yield Complaint(("jobs", "form"), what)


def _place_complaints(done: Mapping[str, Any], jobs: Mapping[str, Any], services: Mapping[str, Any]) -> Iterator[Complaint]:
    """A place of effects that the service has."""
    shows = done.get("service") or _queue_of(jobs, services)
    kind = kind_of(str(shows), services)
    for key in IN_A_SERVICE:
        if done.get(key) is not None and kind in SERVICE_KINDS and kind not in EFFECTS_OF[key]:
            what = f"{key} is a place in {one_of(EFFECTS_OF[key])}, and {shows} is {kind}; name another service: beside it, or use file"
            yield Complaint(("jobs", "done", key), what, "key")
    if done.get("queue") is not None and done.get("queue") == jobs.get("queue", "jobs") and shows == _queue_of(jobs, services):
        yield Complaint(("jobs", "done", "queue"), "is the queue of the jobs themselves; results need one of their own")


def _queue_of(jobs: Mapping[str, Any], services: Mapping[str, Any]) -> str:
    return str(jobs.get("service") or next(iter(services)))


# --- moments ----------------------------------------------------------------------------------------------------------------


def moment_complaints(
    path: Path, options: Mapping[str, Any], process: str, jobs: Mapping[str, Any], *, loaded: str, worked: str
) -> Iterator[Complaint]:
    """A moment that never comes to ``process``, where ``loaded`` takes the load and ``worked`` works on jobs (empty for nobody)."""
    when = options.get("when", "in-flight")
    works = process == worked
    if when in JOB_MOMENTS and not works:
        yield Complaint((*path, "when"), _no_jobs_there(process, when, worked))
    elif when == "job-finished" and mapping(jobs.get("log")).get("started") is None:
        what = "nothing shows when a job's work is done; write log: {started: …, finished: …} under jobs"
        yield Complaint((*path, "when"), what)
    elif process != loaded and not works and when != "any":
        yield Complaint((*path, "process"), f"{process} takes no load, so no request is ever in flight on it; write when: any beside it")
    elif process != loaded and when in ("mid-response", "just-accepted"):
        yield Complaint((*path, "when"), f"who works on jobs answers nobody, so it is never {when}; write job-started, or any")
    if options.get("job_share") is not None:
        yield from _share_complaints((*path, "job_share"), when, jobs, as_started=works and (when == "job-started" or process != loaded))


def _no_jobs_there(process: str, when: str, worked: str) -> str:
    if not worked:
        return f"the scenario has no jobs:, so nothing is ever {when}; write in-flight, or any"
    return f"{worked} works on jobs and {process} does not, so it is never {when}; write process: {worked} beside it"


def _share_complaints(path: Path, when: object, jobs: Mapping[str, Any], *, as_started: bool) -> Iterator[Complaint]:
    if not as_started or when not in ("in-flight", "job-started"):
        yield Complaint(path, "has a meaning only with when: job-started", "key")
    elif mapping(jobs.get("log")).get("started") is None:
        yield Complaint(path, "nothing shows how long a job has been worked on; write log: {started: …, finished: …} under jobs", "key")
