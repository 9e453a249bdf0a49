"""What is generated from the models: the JSON Schema and the reference."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from jsonschema import Draft7Validator
from pydantic import BaseModel

from harness import command, schema, template
from harness.scenario import (
    STEP_KINDS,
    Build,
    Chaos,
    CrashLoop,
    CutConnections,
    CutNetwork,
    Done,
    Expectation,
    HandOver,
    Healthcheck,
    Jobs,
    Kill,
    Load,
    Operation,
    Pause,
    Port,
    ProcessType,
    Request,
    Restart,
    RollingRestart,
    Routing,
    Scenario,
    Service,
    Signal,
    SqueezeMemory,
    StartService,
    Step,
    StopService,
    StoreQuery,
    Stream,
    Terminate,
    TerminateAtStart,
    Tls,
    Visit,
    Volume,
    WorkerLog,
    WorkingDir,
    Workload,
    load_scenario,
)
from harness.scenario.state import ALL_OPERATIONS, OPERATIONS
from harness.scenario.target import HEALTH_KINDS
from harness.threshold import DEFAULT_THRESHOLDS, METRICS

ROOT = Path(__file__).parent.parent

MODELS: dict[type[BaseModel], dict[str, object]] = {
    Scenario: {
        "jetable": 1,
        "name": "x",
        "target": {"web": {"command": "a"}},
        "load": {"requests": ["GET /"]},
        "steps": [{"steady": "1s"}],
    },
    ProcessType: {"command": "a"},
    Healthcheck: {},
    WorkingDir: {},
    Tls: {},
    Build: {},
    Port: {"target": 80},
    Volume: {"type": "volume", "target": "/data"},
    Load: {"requests": ["GET /"]},
    Request: {"method": "GET", "path": "/"},
    Expectation: {},
    Stream: {"kind": "sse"},
    Service: {"kind": "redis"},
    Jobs: {"count": 1, "done": {"file": "done.log"}},
    Done: {},
    WorkerLog: {"started": "job {job} began"},
    Workload: {
        "model": "register",
        "write": {"PUT /items/{key}": "{value}"},
        "read": {"request": "GET /items/{key}", "answer": "$.name"},
    },
    Operation: {"method": "GET", "path": "/"},
    Visit: {"method": "GET", "path": "/"},
    StoreQuery: {},
    Routing: {},
    Step: {},
    Terminate: {},
    Restart: {},
    Kill: {},
    RollingRestart: {},
    Pause: {},
    SqueezeMemory: {"to": "32m"},
    CutNetwork: {},
    Signal: {"name": "SIGHUP"},
    TerminateAtStart: {},
    CrashLoop: {},
    HandOver: {},
    StopService: {"service": "redis"},
    StartService: {"service": "redis"},
    CutConnections: {"service": "redis"},
    Chaos: {"for": "60s", "every": "1s", "of": ["kill"]},
}
"""Every mapping of a scenario file with the least that it needs."""


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    Draft7Validator.check_schema(schema.json_schema())
    return Draft7Validator(schema.json_schema())


def scenario(**more: object) -> dict[str, Any]:
    return MODELS[Scenario] | more


def state(**more: object) -> dict[str, Any]:
    return scenario(state={"items": MODELS[Workload] | more})


@pytest.mark.parametrize("file", list(schema.FILES), ids=lambda file: file.name)
def test_what_is_committed_is_current(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == schema.FILES[file](), "run: python -m harness.schema --write"


def test_the_schema_speaks_draft_7_only() -> None:
    text = json.dumps(schema.json_schema())
    assert json.loads(text)["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert not re.search(r'"(\$defs|prefixItems|unevaluatedProperties|dependentRequired|type_words|default_words|unit)":', text)
    for name in set(re.findall(r'"#/definitions/(\w+)"', text)):
        assert name in schema.json_schema()["definitions"]


def test_nothing_stands_beside_a_reference() -> None:
    """Draft 7 ignores what does."""

    def walk(value: object) -> None:
        if isinstance(value, dict):
            assert "$ref" not in value or len(value) == 1
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(schema.json_schema())


GOOD: list[dict[str, Any]] = [
    scenario(),
    scenario(seed=None, description="x", routing={"drain": "1s"}, expect=["dropped_requests == 0"], must_find=["a-b"]),
    scenario(target={"web": {"command": ["a", "b"], "environment": {"A": 1, "B": True, "C": "x", "D": 0.5}, "healthcheck": "/h"}}),
    scenario(target={"web": {"command": "a", "environment": ["A=b"], "healthcheck": "tcp", "stop_signal": "int"}}),
    scenario(
        target={"web": {"command": "a", "healthcheck": {"log": "ready", "interval": "5ms"}, "depends_on": ["db"]}, "db": {"command": "b"}}
    ),
    scenario(target={"web": {"image": "nginx:1"}, "worker": {"build": "app"}}),
    scenario(
        target={
            "web": {
                "build": {"context": "app", "args": {"A": 1}},
                "entrypoint": [],
                "ports": [80, "8080:80", {"target": 81, "published": "8081"}],
                "expose": ["80/tcp", 81],
                "tmpfs": "/tmp",  # noqa: S108  in a container
                "networks": {"front": None, "back": {}},
                "volumes": ["data:/data", "/x", {"type": "tmpfs", "target": "/y"}],
                "mem_limit": "64m",
                "cpus": "0.5",
                "labels": ["a", "b=c"],
                "working_dir": {"machine": "app", "container": "/srv"},
                "healthcheck": {"test": ["CMD", "x"], "retries": 2, "start_interval": "1s"},
            },
            "worker": {"image": "x", "cpus": 2, "mem_limit": 64_000_000, "labels": {"a": None}, "healthcheck": {"test": ["NONE"]}},
        }
    ),
    scenario(load={"rate": "400/s", "requests": ["GET /{id}", {"POST /x": {"a": [1, None]}}, {"POST /x": None, "weight": 3}]}),
    scenario(load={"requests": [{"GET /": None, "stream": "sse"}, {"request": "GET /", "stream": {"kind": "sse", "for": "3s"}}]}),
    scenario(load={"requests": [{"request": "PUT /", "body": "x", "expect": {"status": [200, 404]}}, {"method": "GET", "path": "/"}]}),
    scenario(steps=[{"terminate": "each"}, {"terminate": None}, {"kill": 1}, {"kill": {"scope": "main"}, "repeat": 5}, {"restart": {}}]),
    scenario(
        steps=[{"terminate": "half"}, {"kill": "30%"}, {"restart": [1, 2], "at": "5s"}], target={"web": {"command": "a", "replicas": 2}}
    ),
    scenario(steps=[{"terminate": {"again": "1s", "signal": "int", "when": "mid-response"}}, {"rolling_restart": {"at_a_time": 2}}]),
    scenario(steps=[{"signal": "HUP"}, {"signal": {"name": "SIGHUP", "for": "1s", "replica": "all"}}]),
    scenario(steps=[{"terminate_at_start": None}, {"terminate_at_start": "ready"}, {"terminate_at_start": {"at": "100ms"}}]),
    scenario(steps=[{"crash_loop": None}, {"crash_loop": "any"}, {"crash_loop": {"times": 3, "after": "50ms"}}]),
    scenario(steps=[{"together": [{"rolling_restart": None}, {"together": [{"scale": {"web": 2}}, {"steady": "1s"}]}]}]),
    scenario(steps=[{"chaos": {"for": "9s", "every": "1s", "of": ["kill", "scale", {"together": [{"kill": "any"}, {"pause": {}}]}]}}]),
    scenario(steps=[{"rolling_restart": None}, {"rolling_restart": {"order": "start-first"}}, {"scale": {"web": 0}}, {"steady": "1m30s"}]),
    scenario(
        services={"redis": None, "sqlite": {}, "rabbitmq": {"durable": False}, "cache": {"kind": "memcached", "image": "memcached:1"}}
    ),
    {
        **{key: value for key, value in MODELS[Scenario].items() if key != "load"},
        "services": {"redis": {"url": "redis://127.0.0.1/1", "variable": "BROKER"}, "mail": {"kind": "rabbitmq"}},
        "jobs": {
            "service": "redis",
            "form": "stream",
            "rate": "5/s",
            "count": 10,
            "body": '{"id": "{job}"}',
            "done": {"key": "done"},
            "log": {"started": "{job} began"},
            "options": {"group": "workers", "a": 1, "b": True},
            "idempotent": True,
            "drain": "10s",
        },
        "steps": [
            {"kill": {"when": "job-started", "job_share": "50%"}},
            {"stop_service": {"service": "mail", "signal": "SIGKILL", "for": "1s"}},
            {"stop_service": "mail"},
            {"start_service": "mail"},
            {"cut_connections": {"service": "redis"}},
        ],
    },
]

GOOD += [
    state(),
    state(keys=20, hot="50%", clients=2, pause="0s", refused=409, stale="1s", settle="5s", process="web"),
    state(cas={"request": "PUT /items/{key}?if={old}", "body": "{value}", "weight": 3}, refused=[]),
    scenario(services={"redis": None}, state={"items": MODELS[Workload] | {"store": {"service": "redis", "key": "items"}}}),
    scenario(
        state={
            "tags": {"model": "set", "add": {"POST /tags": "{value}"}, "contains": {"request": "GET /tags/{value}", "nothing": [404, 410]}},
            "front": {"model": "same", "requests": ["GET /", {"request": "GET /x", "compare": ["etag"], "mask": ["[0-9]+"]}]},
            "login": {"model": "journey", "requests": [{"request": "GET /", "keep": {"t": "$.t"}}, {"POST /": {"t": "{kept:t}"}}]},
        },
        steps=[{"hand_over": {"journey": "login"}}],
    ),
]

BAD: list[dict[str, Any]] = [
    scenario(state=None),
    scenario(state=[]),
    scenario(state={"items": {}}),
    state(model="regsiter"),
    state(model=None),
    state(write="items"),
    state(write={"PUT /items/{key}": "{value}", "anser": "$.x"}),
    state(read={"request": "GET /items/{key}", "answer": 5}),
    state(read={"request": "GET /items/{key}", "answer": "$.x", "nothing": "404"}),
    state(keys=0),
    state(keys="5"),
    state(clients=0),
    state(hot=50),
    state(refused=[42]),
    state(settle=5),
    state(store="SELECT 1"),
    state(store={"table": "x"}),
    scenario(state={"front": {"model": "same", "requests": "GET /"}}),
    scenario(state={"front": {"model": "same", "requests": [{"request": "GET /", "mask": "x"}]}}),
    scenario(services={"db": None}),
    scenario(services={"db": {}}),
    scenario(services={"db": {"kind": "postgresql"}}),
    scenario(services={"redis": {"durabel": False}}),
    scenario(services={"redis": {}}, jobs={"count": 1}),
    scenario(services={"redis": {}}, jobs={"count": 0, "done": {"key": "x"}}),
    scenario(services={"redis": {}}, jobs={"rate": 5, "done": {"key": "x"}}),
    scenario(services={"redis": {}}, jobs={"count": 1, "done": {"kye": "x"}}),
    scenario(services={"redis": {}}, jobs={"count": 1, "done": {"key": "x"}, "form": "tubes"}),
    scenario(services={"redis": {}}, jobs={"count": 1, "done": {"key": "x"}, "log": {"begun": "{job}"}}),
    scenario(services={"redis": {}}, steps=[{"stop_service": {"for": "1s"}}]),
    scenario(services={"redis": {}}, steps=[{"cut_connections": {"service": "redis", "for": "1s"}}]),
    scenario(jetable=2),
    scenario(nmae="x"),
    {key: value for key, value in scenario().items() if key != "steps"},
    scenario(steps=[]),
    scenario(target={}),
    scenario(target={"web": {}}),
    scenario(target={"web": {"command": "a", "comand": "b"}}),
    scenario(target={"web": {"command": []}}),
    scenario(target={"web": {"entrypoint": "a"}}),
    scenario(target={"web": {"image": "x", "build": {"contxt": "."}}}),
    scenario(target={"web": {"image": "x", "ports": [{"published": 80}]}}),
    scenario(target={"web": {"image": "x", "ports": ["53/udp"]}}),
    scenario(target={"web": {"image": "x", "volumes": ["data"]}}),
    scenario(target={"web": {"image": "x", "volumes": [{"type": "bnd", "target": "/x"}]}}),
    scenario(target={"web": {"image": "x", "networks": {"back": {"aliases": ["x"]}}}}),
    scenario(target={"web": {"image": "x", "mem_limit": "64x"}}),
    scenario(target={"web": {"image": "x", "mem_limit": 64}}),
    scenario(target={"web": {"image": "x", "cpus": 0}}),
    scenario(target={"web": {"image": "x", "init": "yes"}}),
    scenario(target={"web": {"image": "x", "platform": "linux/arm64"}}),
    scenario(target={"web": {"command": "a", "replicas": "3"}}),
    scenario(target={"web": {"command": "a", "stop_grace_period": 10}}),
    scenario(target={"web": {"command": "a", "stop_grace_period": "10"}}),
    scenario(target={"web": {"command": "a", "healthcheck": "healthz"}}),
    scenario(target={"web": {"command": "a", "healthcheck": {"htpp": "/"}}}),
    scenario(load={"requests": []}),
    scenario(load={"requests": [{"request": "GET /", "stream": "udp"}]}),
    scenario(load={"requests": [{"request": "GET /", "stream": {"for": "3s"}}]}),
    scenario(load={"requests": ["GET items"]}),
    scenario(load={"requests": ["GET /"], "rate": 400}),
    scenario(load={"requests": ["GET /"], "users": 0}),
    scenario(load={"requests": [{"POST /": {}, "wieght": 3}]}),
    scenario(load={"requests": [{"POST /": {}, "expect": {"status": "200"}}]}),
    scenario(steps=[{"kil": "any"}]),
    scenario(steps=[{"kill": "anny"}]),
    scenario(steps=[{"kill": {"replica": "each", "whn": "any"}}]),
    scenario(steps=[{}]),
    scenario(steps=["steady"]),
    scenario(steps=[{"scale": {"web": -1}}]),
    scenario(expect=[5]),
    scenario(steps=[{"kill": "0%"}]),
    scenario(steps=[{"kill": []}]),
    scenario(steps=[{"kill": {"when": "busy"}}]),
    scenario(steps=[{"rolling_restart": {"at_a_time": 0}}]),
    scenario(steps=[{"signal": {"for": "1s"}}]),
    scenario(steps=[{"terminate_at_start": "soon"}]),
    scenario(steps=[{"crash_loop": {"times": 0}}]),
    scenario(steps=[{"steady": "1s", "at": 5}]),
    scenario(steps=[{"together": [{"kill": "any"}]}]),
    scenario(steps=[{"together": [{"kill": "any"}, {"kil": "any"}]}]),
    scenario(steps=[{"chaos": {"for": "9s", "of": ["kill"]}}]),
    scenario(steps=[{"chaos": {"for": "9s", "every": "1s", "of": ["kil"]}}]),
    scenario(steps=[{"chaos": {"for": "9s", "every": "1s", "of": ["signal"]}}]),
    scenario(steps=[{"chaos": {"for": "9s", "every": "1s", "of": [{"kill": {"whn": "any"}}]}}]),
]


@pytest.mark.parametrize("data", GOOD, ids=range(len(GOOD)))
def test_the_schema_accepts_what_the_reader_accepts(validator: Draft7Validator, data: dict[str, Any]) -> None:
    Scenario.model_validate(data)
    assert not [error.message for error in validator.iter_errors(data)]


@pytest.mark.parametrize("data", BAD, ids=range(len(BAD)))
def test_the_schema_refuses_what_an_editor_should_underline(validator: Draft7Validator, data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Scenario.model_validate(data)
    assert not validator.is_valid(data)


@pytest.mark.parametrize("file", sorted((ROOT / "scenarios").rglob("*.yaml")), ids=lambda file: file.name)
def test_the_schema_accepts_every_scenario_that_is_shipped(validator: Draft7Validator, file: Path) -> None:
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert not [error.message for error in validator.iter_errors(data)]


def test_a_scenario_as_json_is_a_scenario_to_the_schema_as_well(validator: Draft7Validator) -> None:
    for data in GOOD:
        dumped = Scenario.model_validate(data).model_dump(mode="json")
        assert not [error.message for error in validator.iter_errors(dumped)]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_key_has_a_meaning_and_an_example_that_is_right(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        key = field.alias or name
        assert field.description, f"{model.__name__}.{key}"
        assert field.examples, f"{model.__name__}.{key}"
        needed: dict[str, object] = {"http": "/"} if model is Healthcheck and key not in HEALTH_KINDS and key != "disable" else {}
        needed |= {"kill": "any"} if model is Step and key in ("repeat", "at") else {}
        needed |= {"service": {"key": "x"}, "process": {"get": "/x"}, "variable": {"file": "x"}}.get(key, {}) if model is Done else {}
        needed |= {"service": {"key": "x"}}.get(key, {}) if model is StoreQuery else {}
        needed |= {"journey": "login"} if model is HandOver and key != "state" else {}
        if (model, key) == (Scenario, "jobs"):
            needed = {"services": {"redis": None}}
        if model is Workload and (key in ALL_OPERATIONS or key == "requests"):
            continue  # the next test
        if (model, key) in ((Operation, "stream"), (Visit, "stream"), (Visit, "weight")):
            continue  # a request of load has them
        if (model, key) in ((ProcessType, "depends_on"), (Scenario, "target")):
            continue  # names other process types, or replaces them all
        made = model.model_validate(MODELS[model] | needed | {key: field.examples[0]})
        assert made is not None


@pytest.mark.parametrize("key", [*ALL_OPERATIONS, "requests"])
def test_every_operation_has_an_example_that_is_right_with_its_model(key: str) -> None:
    models = {"add": "counter", "remove": "set", "contains": "set", "append": "log", "requests": "same"}
    model = models.get(key, "register")
    rest = {name: Workload.model_fields[name].examples for name in OPERATIONS[model][0]}
    if model == "log":
        rest["read"] = [{"request": "GET /log/{key}", "answer": "$[*]"}]
    if model == "set":
        rest |= {"add": [{"POST /set/{key}": "{value}"}], "contains": Workload.model_fields["contains"].examples}
    examples = {name: written[0] for name, written in rest.items() if written} | {key: Workload.model_fields[key].examples}
    written = Workload.model_fields[key].examples
    assert written
    assert Workload.model_validate({"model": model} | examples | {key: written[0]})


def test_the_reference_names_everything_that_there_is() -> None:
    text = schema.scenario_docs()
    for model in MODELS:
        for name, field in model.model_fields.items():
            assert f"| `{field.alias or name}` |" in text
    for name in (*METRICS, *STEP_KINDS):
        assert f"| `{name}` |" in text
    for placeholder in template.PLACEHOLDERS.values():
        assert placeholder.written.replace("|", "\\|") in text
    for name in command.PLACEHOLDERS:
        assert f"| `{{{name}}}` |" in text
    for threshold in DEFAULT_THRESHOLDS:
        assert f"- `{threshold}`" in text


def test_tables_of_the_reference_are_whole() -> None:
    columns = 0
    for line in schema.scenario_docs().splitlines():
        if not line.startswith("|"):
            columns = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        assert columns in (0, cells), line
        columns = cells


def test_the_example_of_the_reference_is_a_scenario(tmp_path: Path) -> None:
    file = tmp_path / "example.yaml"
    file.write_text(schema.EXAMPLE, encoding="utf-8")
    assert load_scenario(file).load_process == "web"
    assert schema.EXAMPLE.strip() in schema.scenario_docs()


@pytest.mark.parametrize("example", [schema.JOBS_EXAMPLE, schema.BROKER_EXAMPLE], ids=["sqlite", "rabbitmq"])
def test_the_jobs_of_the_reference_are_jobs(example: str) -> None:
    made = Scenario.model_validate(MODELS[Scenario] | {"load": {"requests": ["GET /"], "process": None}} | yaml.safe_load(example))
    assert made.jobs is not None
    assert example.strip() in schema.scenario_docs()


def test_the_state_of_the_reference_is_state() -> None:
    made = Scenario.model_validate(scenario(**yaml.safe_load(schema.STATE_EXAMPLE)))
    assert {name: workload.keys for name, workload in made.state.items() if workload.operations} == {"items": 20, "tags": 1, "hits": 1}
    assert schema.STATE_EXAMPLE.strip() in schema.scenario_docs()


def test_the_steps_of_the_reference_are_steps() -> None:
    made = Scenario.model_validate(scenario(**yaml.safe_load(schema.STEPS_EXAMPLE)))
    assert len(made.steps) == 9
    assert schema.STEPS_EXAMPLE.strip() in schema.scenario_docs()


def test_the_reference_knows_every_moment_that_a_step_may_demand() -> None:
    assert tuple(schema.MOMENTS) == get_args(Terminate.model_fields["when"].annotation)


def test_the_requests_of_the_reference_are_requests() -> None:
    block = schema.scenario_docs().split("```yaml\nrequests:")[1].split("```")[0]
    requests = yaml.safe_load("requests:" + block)["requests"]
    assert len(Load.model_validate({"requests": requests}).requests) == 3


def test_writing_anew_writes_every_generated_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {tmp_path / "docs" / file.name: content for file, content in schema.FILES.items()}
    monkeypatch.setattr(schema, "FILES", files)
    schema.write()
    assert {file.name for file in (tmp_path / "docs").iterdir()} == {"scenarios.md", "scenario.schema.json"}


def test_the_containers_of_the_reference_are_a_target(tmp_path: Path) -> None:
    for folder in ("app", "scenarios/conf"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "app/Dockerfile").touch()
    file = tmp_path / "scenarios/example.yaml"
    rest = "jetable: 1\nname: x\nload: {requests: [GET /]}\nsteps: [{steady: 1s}]\n"
    file.write_text(rest + schema.CONTAINER_EXAMPLE, encoding="utf-8")
    assert load_scenario(file).default_engine == "docker"
    assert schema.CONTAINER_EXAMPLE.strip() in schema.scenario_docs()
