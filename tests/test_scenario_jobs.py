"""Services, jobs and the steps about them, as a scenario writes them, and every way in which they can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.errors import ScenarioError
from harness.scenario import CutConnections, Jobs, Kill, Scenario, Service, StartService, Step, StopService, load_scenario
from harness.scenario.jobs import EFFECTS, FORMS, Form, forms_of
from harness.scenario.queues import EFFECTS_OF
from harness.scenario.services import CUTS_CONNECTIONS, EMBEDDED, SCHEMES, SERVICE_KINDS, VARIABLES
from harness.scenario.steps import BARE, INCOMPLETE, SERVICE_STEPS
from tests.helpers.mistakes import broken

GOOD = """\
jetable: 1
name: no mail is lost
target:
  worker:
    command: worker
    environment: {MODE: fast}
  web:
    command: web
services:
  redis:
  mail: {kind: rabbitmq}
  db: {kind: postgres}
jobs:
  service: mail
  queue: mail
  rate: 20/s
  done: {file: done.log}
  log: {started: "job {job} started", finished: "job {job} finished"}
steps:
  - kill: any
"""


def problems(folder: Path, text: str) -> list[str]:
    """All that is wrong with a file that holds ``text``, without its name."""
    file = folder / "s.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        load_scenario(file)
    except ScenarioError as error:
        return [line.removeprefix(f"{file}:") for line in error.problems]
    return []


def minimal(**more: object) -> dict[str, Any]:
    """A scenario with jobs only and the least that it needs."""
    return {
        "jetable": 1,
        "name": "x",
        "target": {"worker": {"command": "a"}},
        "services": {"sqlite": None},
        "jobs": {"count": 1, "done": {"file": "x"}},
        "steps": [{"kill": "any"}],
    } | more


# --- what it means ----------------------------------------------------------------------------------------------------------


def test_a_file_with_jobs_and_no_load_is_read(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(GOOD, encoding="utf-8")
    scenario = load_scenario(tmp_path / "s.yaml")
    assert not scenario.has_load
    assert (scenario.load_process, scenario.job_process, scenario.main_process) == ("", "worker", "worker")
    assert (scenario.job_service, scenario.job_form) == ("mail", "classic")
    assert {name: (service.kind, service.handed_as) for name, service in scenario.services.items()} == {
        "redis": ("redis", "REDIS_URL"),
        "mail": ("rabbitmq", "AMQP_URL"),
        "db": ("postgres", "DATABASE_URL"),
    }
    assert scenario.process_of(Kill()) == "worker"
    assert scenario.healthcheck_of("web").kind == "running"


def test_defaults_of_jobs_are_those_of_the_docs() -> None:
    jobs = Scenario.model_validate(minimal()).jobs
    assert jobs is not None
    assert (jobs.queue, jobs.variable, jobs.body, jobs.post, jobs.idempotent, str(jobs.drain)) == (
        "jobs",
        "QUEUE",
        "{job}",
        None,
        False,
        "30s",
    )
    assert (jobs.done.kind, jobs.done.variable) == ("file", "DONE")
    assert jobs.log.started is None


@pytest.mark.parametrize("load", [None, {"requests": ["GET /"]}])
def test_a_scenario_with_jobs_reads_back_from_json_and_writes_only_what_it_has(load: dict[str, object] | None) -> None:
    target = {"worker": {"command": "a"}, "web": {"command": "b"}}
    made = Scenario.model_validate(minimal(target=target, **({"load": load} if load else {})))
    assert Scenario.model_validate_json(made.model_dump_json()) == made
    assert ("load" in made.model_dump(mode="json")) is made.has_load is (load is not None)
    assert made.main_process == ("web" if load else "worker")


def test_a_scenario_without_services_and_jobs_does_not_name_them() -> None:
    plain = {"jetable": 1, "name": "x", "target": {"web": {"command": "a"}}, "load": {"requests": ["GET /"]}, "steps": [{"kill": "any"}]}
    made = Scenario.model_validate(plain)
    assert not {"services", "jobs"} & set(made.model_dump(mode="json"))
    assert (made.job_process, made.job_service, made.job_form, made.asked_process) == ("", "", "", "")


@pytest.mark.parametrize(
    ("target", "process", "works"),
    [(["web", "worker"], None, "worker"), (["api"], None, "api"), (["web", "jobs"], "jobs", "jobs")],
)
def test_jobs_are_for_the_named_process_type_or_for_worker_or_for_the_only_one(target: list[str], process: str | None, works: str) -> None:
    jobs = {"count": 1, "done": {"file": "x"}, "process": process}
    scenario = Scenario.model_validate(minimal(target={name: {"command": "a"} for name in target}, jobs=jobs))
    assert scenario.job_process == works


@pytest.mark.parametrize(
    ("more", "asked"),
    [({"done": {"file": "x"}}, ""), ({"done": {"get": "/done"}}, "web"), ({"done": {"file": "x"}, "post": "/jobs/{job}"}, "web")],
)
def test_who_is_asked_over_http_must_take_connections_before_it_is(more: dict[str, object], asked: str) -> None:
    target = {"worker": {"command": "a"}, "web": {"command": "b"}}
    scenario = Scenario.model_validate(minimal(target=target, jobs={"count": 1, **more}))
    assert scenario.asked_process == asked
    assert scenario.healthcheck_of("web").kind == ("tcp" if asked else "running")


@pytest.mark.parametrize("kind", SERVICE_KINDS)
def test_a_name_that_is_a_kind_needs_no_more(kind: str) -> None:
    short, long = ({"services": {kind: written}} for written in (None, {"kind": kind}))
    made = Scenario.model_validate(
        minimal(jobs={"count": 1, "done": {"file": "x"}, "service": "q"})
        | {"services": short["services"] | {"q": {"kind": "beanstalkd", "variable": "Q"}}}
    )
    assert made.services[kind] == Service.model_validate(long["services"][kind])


@pytest.mark.parametrize(
    ("written", "options", "text"),
    [
        ({"stop_service": "redis"}, StopService(service="redis"), "stop redis"),
        (
            {"stop_service": {"service": "redis", "signal": "kill", "for": "2s"}},
            StopService.model_validate({"service": "redis", "signal": "SIGKILL", "for": "2s"}),
            "stop redis by SIGKILL for 2s",
        ),
        ({"start_service": "redis"}, StartService(service="redis"), "start redis again"),
        ({"cut_connections": "redis"}, CutConnections(service="redis"), "cut the connections of redis"),
        ({"kill": {"when": "job-started", "job_share": "50%"}}, Kill(when="job-started", job_share="50%"), "kill any, job-started at 50%"),
        ({"kill": {"when": "job-finished"}}, Kill(when="job-finished"), "kill any, job-finished"),
    ],
)
def test_the_steps_about_services_and_jobs_are_steps(written: dict[str, object], options: object, text: str) -> None:
    step = Step.model_validate(written)
    assert (step.kind, step.options, step.text) == (next(iter(written)), options, text)
    assert Step.model_validate_json(step.model_dump_json()) == step
    assert Step.model_validate(yaml.safe_load(yaml.safe_dump(step.model_dump(mode="json")))) == step


def test_the_tables_of_kinds_agree() -> None:
    assert set(FORMS) == set(VARIABLES) == set(SCHEMES) == set(SERVICE_KINDS)
    assert set(EMBEDDED) | set(CUTS_CONNECTIONS) < set(SERVICE_KINDS)
    assert {form for kind in SERVICE_KINDS for form in forms_of(kind)} == set(get_args(Form))
    assert set(EFFECTS_OF) < set(EFFECTS)
    assert set(SERVICE_STEPS) <= set(INCOMPLETE)
    assert not set(SERVICE_STEPS) & set(BARE)


def test_steps_may_stop_services_together_with_others_and_by_chance() -> None:
    steps = [
        {"stop_service": {"service": "redis", "signal": "SIGKILL", "for": "1s"}},
        {"stop_service": "redis"},
        {"start_service": "redis"},
        {"together": [{"kill": "any"}, {"cut_connections": "redis"}]},
        {"chaos": {"for": "2s", "every": "1s", "of": ["kill", "scale", {"stop_service": {"service": "redis", "for": "1s"}}]}},
    ]
    made = Scenario.model_validate(minimal(services={"redis": {}}, steps=steps))
    assert Scenario.model_validate_json(made.model_dump_json()) == made


def test_a_process_type_that_does_both_has_both_kinds_of_moments() -> None:
    moments = [
        {"kill": {"when": when}} for when in ("in-flight", "mid-response", "just-accepted", "idle", "any", "job-started", "job-finished")
    ]
    jobs = {"count": 1, "done": {"file": "x"}, "log": {"started": "{job}"}}
    made = Scenario.model_validate(
        minimal(load={"requests": ["GET /"]}, jobs=jobs, steps=[*moments, {"kill": {"when": "job-started", "job_share": "9%"}}])
    )
    assert (made.load_process, made.job_process) == ("worker", "worker")


# --- what can be wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("good_part", "bad_part", "expected"), broken("broken_jobs.txt"))
def test_each_mistake_is_one_line_with_its_place(tmp_path: Path, good_part: str, bad_part: str, expected: str) -> None:
    assert good_part in GOOD
    assert problems(tmp_path, GOOD.replace(good_part, bad_part, 1)) == [expected]


OTHER_FILES: dict[str, tuple[str, str]] = {
    "neither load nor jobs": (
        "target: {web: {command: x}}\nsteps: [kill: any]",
        '1:1: the key "load" is missing; it may be left out only where there are jobs or state',
    ),
    "jobs that are empty": (
        "target: {web: {command: x}}\njobs:\nsteps: [kill: any]",
        "4:6: jobs: is empty; say under it how many jobs there are and where they show when they are done, or remove it",
    ),
    "no service": (
        "target: {web: {command: x}}\n{jobs}\nsteps: [kill: any]",
        "4:1: jobs: need a service that keeps them; write services: {sqlite: {}} for one that needs nothing",
    ),
    "a service without jobs in it": (
        "target: {web: {command: x}}\nservices: {memcached: }\n{jobs}\nsteps: [kill: any]",
        '5:1: jobs: memcached keeps no jobs; "sqlite", "redis", "rabbitmq", "beanstalkd" or "postgres" does',
    ),
    "nobody who works": (
        "target: {a: {command: x}, b: {command: x}}\nservices: {sqlite: }\n{jobs}\nsteps: [kill: {process: a, when: any}]",
        '5:1: jobs: which process type works on jobs? Write process: with "a" or "b"',
    ),
    "nobody who is asked for effects": (
        "target: {a: {command: x}, worker: {command: x}}\nservices: {sqlite: }\njobs: {count: 1, done: {get: /x}}\nsteps: [kill: any]",
        '5:18: jobs.done: which process type is asked for get? Write process: with "a" or "worker"',
    ),
    "nobody who is asked to put jobs": (
        "target: {a: {command: x}, worker: {image: x}}\nservices: {redis: }\njobs: {rate: 1/s, post: /, done: {file: x}}\nsteps: [kill: 1]",
        '5:19: jobs.post: which process type is asked? Call it "web", or give it a load',
    ),
    "a step on a file": (
        "target: {a: {command: x}}\nservices: {sqlite: }\n{jobs}\nsteps: [stop_service: sqlite]",
        "6:23: steps[0].stop_service: sqlite is a file and no process, so it can't be stopped, started or cut off",
    ),
    "a step on somebody else's service": (
        "target: {a: {command: x}}\nservices: {redis: {url: 'redis://127.0.0.1'}}\n{jobs}\nsteps: [stop_service: redis]",
        "6:23: steps[0].stop_service: redis has a url, so it is not the run's own and never stopped; remove the url, or this step",
    ),
    "connections that nobody can cut": (
        "target: {a: {command: x}}\nservices: {beanstalkd: }\n{jobs}\nsteps: [cut_connections: beanstalkd]",
        "6:26: steps[0].cut_connections: beanstalkd has no command to close its clients' connections; use stop_service with for:",
    ),
    "a step on a service of a scenario that has none": (
        "target: {a: {command: x}}\nload: {requests: [GET /]}\nsteps: [cut_connections: redis]",
        '5:26: steps[0].cut_connections: unknown service "redis"; the scenario has no services:',
    ),
    "a moment of jobs without jobs": (
        "target: {a: {command: x}}\nload: {requests: [GET /]}\nsteps: [kill: {when: job-finished}]",
        "5:22: steps[0].kill.when: the scenario has no jobs:, so nothing is ever job-finished; write in-flight, or any",
    ),
    "a share of jobs without jobs": (
        "target: {a: {command: x}}\nload: {requests: [GET /]}\nsteps: [kill: {job_share: 50%}]",
        "5:16: steps[0].kill.job_share: has a meaning only with when: job-started",
    ),
    "a share of jobs of a process type that takes load": (
        "target: {a: {command: x}}\nload: {requests: [GET /]}\nservices: {sqlite: }\n{jobs}\nsteps: [kill: {job_share: 50%}]",
        "7:16: steps[0].kill.job_share: has a meaning only with when: job-started",
    ),
    "a share of what is never seen": (
        "target: {a: {command: x}}\nservices: {sqlite: }\n{jobs}\nsteps: [kill: {job_share: 50%}]",
        "6:16: steps[0].kill.job_share: nothing shows how long a job has been worked on; write log: {started: …, finished: …} under jobs",
    ),
    "a moment that is never seen": (
        "target: {a: {command: x}}\nservices: {sqlite: }\n{jobs}\nsteps: [kill: {when: job-finished}]",
        "6:22: steps[0].kill.when: nothing shows when a job's work is done; write log: {started: …, finished: …} under jobs",
    ),
    "a list of services": (
        "target: {a: {command: x}}\nservices: [redis]\nload: {requests: [GET /]}\nsteps: [kill: any]",
        "4:11: services: must be a mapping, not a list",
    ),
    "a file alone": (
        "target: {a: {command: x}}\nservices: {sqlite: }\njobs: {count: 1, done: /done}\nsteps: [kill: any]",
        '5:24: jobs.done: must be a mapping, not the text "/done"; write {get: "/done"}',
    ),
    "a URL alone": (
        "target: {a: {command: x}}\nservices: {redis: 'redis://h'}\nload: {requests: [GET /]}\nsteps: [kill: any]",
        '4:19: services.redis: must be a mapping, not the text "redis://h"; write {url: "redis://h"}',
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_each_mistake_of_another_file_is_one_line_with_its_place(tmp_path: Path, kind: str) -> None:
    text, expected = OTHER_FILES[kind]
    text = text.replace("{jobs}", "jobs: {count: 1, done: {file: x}}")
    assert problems(tmp_path, f"jetable: 1\nname: x\n{text}\n") == [expected]


def test_all_services_that_are_wrong_are_told_at_once(tmp_path: Path) -> None:
    told = problems(tmp_path, GOOD.replace("  redis:\n", "  reddis:\n  5:\n  Db: {kind: db}\n").replace("{kind: postgres}", "{imge: x}"))
    assert [line.partition(" ")[0] for line in told] == ["10:3:", "11:3:", "12:3:", "12:14:", "14:3:"]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "x", "1s", "redis", "worker", "{job}", "sqlite", "GET /", "50%"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *Service.model_fields,
                    *Jobs.model_fields,
                    *EFFECTS,
                    "redis",
                    "sqlite",
                    "process",
                    "stop_service",
                    "kill",
                    "when",
                    "job_share",
                    "environment",
                    "depends_on",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["target", "services", "jobs", "steps", "load"]), PLAIN, min_size=1))
def test_data_of_any_shape_is_told_and_never_a_crash(data: dict[str, object]) -> None:
    try:
        Scenario.model_validate(minimal(**data))
    except ValidationError as error:
        told = error.errors()
    else:
        told = []
    assert {detail["type"] for detail in told} <= {"key", "value"}


@given(st.dictionaries(st.sampled_from(["service", "form", "done", "log", "process", "variable", "post", "options"]), PLAIN, min_size=1))
def test_jobs_of_any_shape_are_told_and_never_a_crash(data: dict[str, object]) -> None:
    try:
        Scenario.model_validate(minimal(jobs={"count": 1, "done": {"file": "x"}} | data))
    except ValidationError as error:
        told = error.errors()
    else:
        told = []
    assert {detail["type"] for detail in told} <= {"key", "value"}
