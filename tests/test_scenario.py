"""Scenario files: what they mean, and every way in which one can be wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.errors import ExitCode, NothingSelectedError, ScenarioError, UsageError
from harness.scenario import (
    STEP_KINDS,
    Build,
    Chaos,
    CrashLoop,
    CutNetwork,
    Healthcheck,
    Kill,
    Load,
    Pause,
    ProcessType,
    Request,
    Restart,
    RollingRestart,
    Routing,
    Scale,
    Scenario,
    Signal,
    SqueezeMemory,
    Steady,
    Step,
    Terminate,
    TerminateAtStart,
    Together,
    Volume,
    find_scenarios,
    load_scenario,
    nested,
    whole,
)
from harness.scenario.choice import Choice, share_of, words_of
from harness.scenario.container import CAPABILITIES
from harness.scenario.files import SUFFIXES
from harness.scenario.load import METHODS, USERS_OF_AN_OPEN_MODEL
from harness.scenario.options import LEAST_BYTES
from harness.scenario.steps import VICTIM_STEPS
from harness.scenario.target import _COMPOSE_KEYS
from harness.scenario.values import MAX_REPLICAS
from harness.scenario.whole import MAX_STEPS
from harness.units import Duration
from tests.helpers.mistakes import broken

GOOD = """\
jetable: 1
name: web survives
seed: 7
target:
  web:
    command: "{python} -m app --port {port}"
    environment: {WORKERS: 2, DEBUG: true, MODE: on}
    replicas: 3
    healthcheck: /healthz
    stop_signal: INT
    stop_grace_period: 1m30s
    depends_on: [worker]
  worker:
    command: [python, -m, worker]
    environment: ["A=b=c", "B="]
load:
  users: 20
  think_time: 50ms
  requests:
    - GET /items/{id}
    - POST /items: {name: "{uuid}", n: ["{int:1..5}"]}
      weight: 3
      expect: {status: 201}
    - request: PUT /items/{id}
      body: "x={choice:a|b}"
      headers: {X-User: "{user}"}
      expect: {status: [200, 404], body_contains: "{{{id}}}"}
steps:
  - steady: 2s
  - terminate: {replica: each}
  - kill: any
    repeat: 5
  - restart: {process: worker, when: any, drain: 1s}
  - rolling_restart:
  - scale: {web: 5, worker: 0}
expect:
  - web.startup_time p(95) < 2s
  - exit_status in (0, 143)
must_find: [dropped-in-flight]
"""


def write(folder: Path, text: str, name: str = "s.yaml") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def problems(folder: Path, text: str) -> list[str]:
    """All that is wrong with a file that holds ``text``, without its name."""
    file = write(folder, text)
    try:
        load_scenario(file)
    except ScenarioError as error:
        told = error.problems
    else:
        told = []
    assert all(line.startswith(f"{file}:") and "\n" not in line for line in told)
    return [line.removeprefix(f"{file}:") for line in told]


@pytest.fixture
def good(tmp_path: Path) -> Scenario:
    return load_scenario(write(tmp_path, GOOD))


# --- what a file means ------------------------------------------------------------------------------------------------------


def test_a_good_file_is_read(good: Scenario) -> None:
    web, worker = good.target["web"], good.target["worker"]
    assert web.argv == ("{python}", "-m", "app", "--port", "{port}")
    assert not web.shell
    assert web.environment == {"WORKERS": "2", "DEBUG": "true", "MODE": "on"}
    assert worker.environment == {"A": "b=c", "B": ""}
    assert (web.stop_signal, worker.stop_signal) == ("SIGINT", None)
    assert (web.stop_grace_period.s, worker.stop_grace_period.s) == (90.0, 10.0)
    assert good.load.users == 20
    assert [request.name for request in good.load.requests] == ["GET /items/{id}", "POST /items", "PUT /items/{id}"]
    assert [request.weight for request in good.load.requests] == [1, 3, 1]
    assert [step.kind for step in good.steps] == ["steady", "terminate", "kill", "restart", "rolling_restart", "scale"]
    assert [threshold.text for threshold in good.expect] == ["web.startup_time p(95) < 2s", "exit_status in (0, 143)"]


def test_a_scenario_reads_back_from_json(good: Scenario) -> None:
    assert Scenario.model_validate_json(good.model_dump_json()) == good


def test_json_of_a_scenario_spells_values_as_a_file_does(good: Scenario) -> None:
    dumped = good.model_dump(mode="json")
    assert dumped["target"]["web"]["stop_grace_period"] == "1m30s"
    assert dumped["steps"][2] == {
        "kill": {
            "replica": "any",
            "process": None,
            "when": "in-flight",
            "job_share": None,
            "busy_within": "5s",
            "endpoint_lag": None,
            "drain": None,
            "scope": "all",
        },
        "repeat": 5,
    }
    assert dumped["steps"][5] == {"scale": {"web": 5, "worker": 0}}
    assert dumped["load"]["requests"][1]["request"] == "POST /items"
    assert dumped["expect"] == ["web.startup_time p(95) < 2s", "exit_status in (0, 143)"]


def test_a_scenario_is_frozen(good: Scenario) -> None:
    with pytest.raises(ValidationError):
        good.name = "other"  # type: ignore[misc]  # that is what is tested
    with pytest.raises(ValidationError):
        good.load.users = 3  # type: ignore[misc]  # that is what is tested


def minimal(**more: object) -> dict[str, object]:
    return {
        "jetable": 1,
        "name": "x",
        "target": {"web": {"command": "a"}},
        "load": {"requests": ["GET /"]},
        "steps": [{"steady": "1s"}],
    } | more


def test_defaults_are_those_of_the_docs() -> None:
    scenario = Scenario.model_validate(minimal())
    load = scenario.load
    assert (load.users, load.rate, load.think_time.s, load.keep_alive, load.timeout.s, load.retries) == (10, None, 0.0, True, 10.0, 0)
    assert scenario.routing == Routing()
    assert scenario.target["web"].replicas == 1
    assert scenario.expect == ()
    assert scenario.seed is None


def test_an_open_model_has_room_for_many_requests() -> None:
    assert Load.model_validate({"rate": "400/s", "requests": ["GET /"]}).users == USERS_OF_AN_OPEN_MODEL
    assert Load.model_validate({"rate": "400/s", "users": 5, "requests": ["GET /"]}).users == 5


@pytest.mark.parametrize(
    ("target", "process", "taken"),
    [(["web", "worker"], None, "web"), (["api"], None, "api"), (["web", "api"], "api", "api")],
)
def test_the_load_goes_to_the_named_process_type_or_to_web_or_to_the_only_one(target: list[str], process: str | None, taken: str) -> None:
    load = {"requests": ["GET /"], "process": process}
    scenario = Scenario.model_validate(minimal(target={name: {"command": "a"} for name in target}, load=load))
    assert scenario.load_process == taken
    assert scenario.process_of(Kill()) == taken
    assert scenario.process_of(Kill(process="other")) == "other"


@pytest.mark.parametrize(
    ("target", "load", "process"),
    [
        ("{api: {command: x}}", "{requests: [GET /]}", "api"),
        ("{api: {command: x}, b: {command: x}}", "{process: b, requests: [GET /]}", "b"),
        ("{api: {command: x}, web: {command: x}}", "{requests: [GET /]}", "web"),
    ],
)
def test_a_number_to_scale_to_is_told_with_the_process_type_of_the_target(tmp_path: Path, target: str, load: str, process: str) -> None:
    text = f"jetable: 1\nname: x\ntarget: {target}\nload: {load}\nsteps:\n  - scale: 5\n"
    assert problems(tmp_path, text) == [f"6:12: steps[0].scale: must be a mapping; write {{{process}: 5}}"]


def test_a_number_to_scale_to_is_told_whatever_else_is_wrong(tmp_path: Path) -> None:
    for target in ("5", "{}", "[web]", "{5: x}"):
        told = problems(tmp_path, f"jetable: 1\nname: x\ntarget: {target}\nload: [x]\nsteps:\n  - scale: 5\n")
        assert any("scale: must be a mapping; write {" in line for line in told), told


def test_a_health_check_that_is_not_written_is_tcp_for_what_takes_the_load(good: Scenario) -> None:
    scenario = Scenario.model_validate(minimal(target={"web": {"command": "a"}, "worker": {"command": "b"}}))
    assert scenario.healthcheck_of("web").kind == "tcp"
    assert scenario.healthcheck_of("worker").kind == "running"
    assert (good.healthcheck_of("web").kind, good.healthcheck_of("web").http) == ("http", "/healthz")


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("/h", "http"),
        ("tcp", "tcp"),
        ("running", "running"),
        ({"log": "ready"}, "log"),
        ({"tcp": True, "interval": "1s"}, "tcp"),
        ({"test": "pg_isready"}, "test"),
    ],
)
def test_a_health_check_has_short_forms(written: object, kind: str) -> None:
    assert Healthcheck.model_validate(written).kind == kind


def test_a_step_may_say_for_itself_when_the_router_learns_of_it() -> None:
    scenario = Scenario.model_validate(minimal(routing={"endpoint_lag": "2s"}))
    assert scenario.routing_of(Kill()) == scenario.routing
    assert scenario.routing_of(Kill(drain=Duration.parse("1s"))) == Routing(drain=Duration.parse("1s"))
    assert scenario.routing_of(RollingRestart(endpoint_lag=Duration(ns=0))) == Routing()


def test_process_types_start_after_what_they_depend_on() -> None:
    target = {
        "a": {"command": "x", "depends_on": ["c", "b"]},
        "b": {"command": "x", "depends_on": ["c"]},
        "c": {"command": "x"},
        "web": {"command": "x"},
    }
    assert Scenario.model_validate(minimal(target=target)).start_order() == ["c", "b", "a", "web"]


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ({"steady": "2s"}, Steady(Duration.parse("2s"))),
        ({"terminate": "each"}, Terminate(replica="each")),
        ({"terminate": None}, Terminate()),
        ({"kill": 2}, Kill(replica=2)),
        ({"kill": {"replica": "newest", "scope": "main"}}, Kill(replica="newest", scope="main")),
        ({"rolling_restart": {}}, RollingRestart()),
        ({"rolling_restart": None}, RollingRestart()),
        ({"scale": {"web": 5}}, Scale({"web": 5})),
        ({"pause": None}, Pause()),
        ({"pause": {"replica": 2, "for": "500ms"}}, Pause.model_validate({"replica": 2, "for": "500ms"})),
        ({"cut_network": "oldest"}, CutNetwork(replica="oldest")),
        ({"squeeze_memory": {"to": "32MB"}}, SqueezeMemory.model_validate({"to": "32m"})),
        ({"terminate": "30%"}, Terminate(replica="30%")),
        ({"terminate": [1, 3]}, Terminate(replica=(1, 3))),
        ({"kill": {"replica": "half", "when": "just-accepted"}}, Kill(replica="half", when="just-accepted")),
        ({"terminate": {"signal": "int", "again": "200ms"}}, Terminate(signal="SIGINT", again=Duration.parse("200ms"))),
        ({"restart": {"signal": "SIGKILL", "scope": "main"}}, Restart(signal="SIGKILL", scope="main")),
        ({"rolling_restart": {"at_a_time": 2}}, RollingRestart(at_a_time=2)),
        ({"signal": "hup"}, Signal.model_validate({"name": "SIGHUP"})),
        ({"signal": {"name": "HUP", "for": "1s", "scope": "all"}}, Signal.model_validate({"name": "SIGHUP", "for": "1s", "scope": "all"})),
        ({"terminate_at_start": None}, TerminateAtStart(at="ready")),
        ({"terminate_at_start": "any"}, TerminateAtStart(at="any")),
        ({"terminate_at_start": "100ms"}, TerminateAtStart(at=Duration.parse("100ms"))),
        ({"crash_loop": None}, CrashLoop()),
        ({"crash_loop": 2}, CrashLoop(replica=2)),
        ({"crash_loop": {"times": 3, "after": "1s"}}, CrashLoop(times=3, after=Duration.parse("1s"))),
        (
            {"together": [{"rolling_restart": None}, {"scale": {"web": 5}}]},
            Together((Step(rolling_restart=RollingRestart()), Step(scale=Scale({"web": 5})))),
        ),
        (
            {"chaos": {"for": "2s", "every": "1s", "of": ["kill", "scale", {"terminate": "half"}]}},
            Chaos.model_validate(
                {"for": "2s", "every": "1s", "of": [Step(kill=Kill()), "scale", Step(terminate=Terminate(replica="half"))]}
            ),
        ),
    ],
)
def test_a_step_has_one_kind_and_its_options(written: dict[str, object], options: object) -> None:
    step = Step.model_validate(written)
    assert (step.kind, step.options) == (next(iter(written)), options)
    assert Step.model_validate_json(step.model_dump_json()) == step
    assert Step.model_validate(yaml.safe_load(yaml.safe_dump(step.model_dump(mode="json")))) == step


@pytest.mark.parametrize("beside", [{"repeat": 3}, {"at": "12s"}, {}])
def test_what_stands_beside_a_step_reads_back_too(beside: dict[str, object]) -> None:
    step = Step.model_validate({"kill": "any", **beside})
    assert Step.model_validate_json(step.model_dump_json()) == step
    assert set(step.model_dump(mode="json")) == {"kill", *beside}


def test_steps_are_found_in_steps() -> None:
    parts = [{"kill": "any"}, {"together": [{"steady": "1s"}, {"scale": {"web": 2}}]}]
    drawn = ["terminate", "scale", {"pause": {}}]
    scenario = Scenario.model_validate(minimal(steps=[{"together": parts}, {"chaos": {"for": "2s", "every": "1s", "of": drawn}}]))
    found = ["together", "kill", "together", "steady", "scale", "chaos", "terminate", "pause"]
    assert [step.kind for step in nested(scenario.steps)] == found


@pytest.mark.parametrize(
    ("choice", "share", "words"),
    [
        ("half", 0.5, "half at once"),
        ("30%", 0.3, "30% at once"),
        ("100%", 1.0, "100% at once"),
        ("all", None, "all at once"),
        ("each", None, "each"),
        (3, None, "replica 3"),
        ((1, 3), None, "replicas 1, 3 at once"),
    ],
)
def test_a_choice_may_be_a_share_and_is_told_in_words(choice: Choice, share: float | None, words: str) -> None:
    assert share_of(choice) == share
    assert words_of(choice) == words


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ({"steady": "2s"}, "steady for 2s"),
        ({"terminate": "each"}, "terminate each"),
        ({"kill": {"process": "worker", "when": "any"}, "repeat": 5}, "kill any of worker, 5 times"),
        ({"restart": 2}, "restart replica 2"),
        ({"rolling_restart": {"process": "web", "order": "start-first"}}, "rolling restart of web, start-first"),
        ({"scale": {"web": 5, "worker": 0}}, "scale web to 5, worker to 0"),
        ({"pause": {"process": "worker", "when": "any", "for": "500ms"}}, "pause any of worker for 500ms"),
        ({"cut_network": {"replica": 1}, "repeat": 2}, "cut network of replica 1 for 2s, 2 times"),
        ({"squeeze_memory": {"replica": "newest", "to": "1.5g"}}, "squeeze memory of newest to 1536m for 2s"),
        ({"kill": {"replica": "half", "when": "idle"}, "at": "3s"}, "kill half at once, idle, not before 3s of load"),
        ({"terminate": {"signal": "int", "again": "200ms"}}, "terminate any, with SIGINT, again after 200ms"),
        ({"restart": {"signal": "KILL", "when": "mid-response"}}, "restart any by SIGKILL, mid-response"),
        ({"rolling_restart": {"at_a_time": 2, "signal": "QUIT"}}, "rolling restart, stop-first, 2 at a time, with SIGQUIT"),
        ({"signal": {"name": "hup", "replica": [1, 2]}}, "signal SIGHUP to replicas 1, 2 at once"),
        ({"terminate_at_start": None}, "terminate a new replica just before it is ready"),
        ({"terminate_at_start": {"process": "worker", "at": "1s"}}, "terminate a new replica of worker 1s after it was asked for"),
        ({"crash_loop": {"times": 3}}, "crash loop of any, 3 kills, each while it starts"),
        ({"together": [{"kill": 1}, {"scale": {"web": 2}}]}, "together: kill replica 1; scale web to 2"),
        ({"chaos": {"for": "6s", "every": "500ms", "of": ["kill", "scale"]}}, "chaos for 6s, every 500ms: kill any; scale"),
    ],
)
def test_a_step_says_in_words_what_it_does(written: object, text: str) -> None:
    assert Step.model_validate(written).text == text


def test_requests_have_three_spellings_of_one_thing() -> None:
    spellings = [
        {"POST /items": {"a": 1}, "weight": 2},
        {"request": "POST /items", "json": {"a": 1}, "weight": 2},
        {"method": "POST", "path": "/items", "json": {"a": 1}, "weight": 2},
    ]
    assert len({Request.model_validate(spelling).model_dump_json() for spelling in spellings}) == 1
    assert Request.model_validate("GET /") == Request.model_validate({"request": "GET   /"})
    assert Request.model_validate({"POST /x": None}).json_body is None


@pytest.mark.parametrize("method", METHODS)
def test_what_may_be_sent_twice_is_known_by_its_method(method: str) -> None:
    assert Request.model_validate(f"{method} /").idempotent is (method not in ("POST", "PATCH"))


def test_a_good_answer_has_an_expected_status() -> None:
    assert [Request.model_validate("GET /").expect.accepts(status) for status in (199, 200, 399, 400)] == [False, True, True, False]
    only = Request.model_validate({"request": "GET /", "expect": {"status": [404, 410]}}).expect
    assert [only.accepts(status) for status in (200, 404, 410)] == [False, True, True]


def test_a_command_with_shell_syntax_runs_under_sh() -> None:
    process = ProcessType.model_validate({"command": "exec app --port {port}"})
    assert process.shell
    assert process.argv == ("sh", "-c", "exec app --port {port}")
    assert not ProcessType.model_validate({"command": ["a", "|", "b"]}).shell


def test_a_working_dir_begins_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    text = GOOD.replace("    replicas: 3\n", "    replicas: 3\n    working_dir: ../app\n")
    scenario = load_scenario(write(tmp_path, text, "scenarios/s.yaml"))
    assert os.path.realpath(scenario.target["web"].working_dir or "") == os.path.realpath(tmp_path / "app")
    assert Scenario.model_validate_json(scenario.model_dump_json()) == scenario


# --- containers -------------------------------------------------------------------------------------------------------------

CONTAINERS = """\
jetable: 1
name: in containers
target:
  web:
    build:
      context: ../app
      dockerfile: web.Dockerfile
      args: [VERSION=1.0]
      target: production
      network: none
    image: owner/web:1.0
    container_name: web
    restart: unless-stopped
    entrypoint: tini --
    user: "1000:1000"
    init: true
    read_only: true
    tmpfs: /tmp:size=64m
    cap_drop: [all]
    cap_add: [CAP_NET_BIND_SERVICE]
    security_opt: ["no-new-privileges:true"]
    mem_limit: 64m
    cpus: "0.50"
    pids_limit: 100
    working_dir: /srv/app
    labels: {com.example.team: web, com.example.tier: 1}
    ports: ["8080:80", "127.0.0.1:8443:443", 9000, 80/tcp, {target: 81, published: "8081"}]
    expose: ["8000", 8001/tcp]
    volumes:
      - data:/data
      - ../app:/conf:ro
      - /cache
      - {type: tmpfs, target: /fast}
    networks: {front: , back: {}}
    healthcheck:
      test: curl -f http://localhost || exit 1
      interval: 30s
      start_interval: 100ms
      retries: 5
  cache:
    image: redis:7
    healthcheck: {test: [NONE]}
load: {requests: [GET /]}
steps: [{steady: 1s}]
"""


REACHED = "Jetable finds its own way to each replica"


@pytest.fixture
def contained(tmp_path: Path) -> Scenario:
    write(tmp_path, "FROM scratch", "app/web.Dockerfile")
    return load_scenario(write(tmp_path, CONTAINERS, "scenarios/s.yaml"))


def test_a_compose_service_can_be_pasted_in(contained: Scenario, tmp_path: Path) -> None:
    web, app = contained.target["web"], str(tmp_path.resolve() / "scenarios" / ".." / "app")
    assert web.build == Build.model_construct(
        context=app, dockerfile="web.Dockerfile", args={"VERSION": "1.0"}, target="production", network="none"
    )
    assert (web.command, web.argv, web.shell) == (None, (), False)
    assert (web.entrypoint, web.entrypoint_argv) == ("tini --", ("tini", "--"))
    assert (web.user, web.init, web.read_only, web.tmpfs) == ("1000:1000", True, True, ("/tmp:size=64m",))  # noqa: S108  in a container
    assert (web.cap_drop, web.cap_add) == (("ALL",), ("NET_BIND_SERVICE",))
    assert (web.mem_limit, web.cpus, web.pids_limit) == (64 << 20, 0.5, 100)
    assert web.labels == {"com.example.team": "web", "com.example.tier": "1"}
    assert (web.ports, web.expose) == ((80, 443, 9000, 81), (8000, 8001))
    assert [(each.type, each.source, each.target, each.read_only) for each in web.volumes] == [
        ("volume", "data", "/data", False),
        ("bind", app, "/conf", True),
        ("volume", "", "/cache", False),
        ("tmpfs", "", "/fast", False),
    ]
    assert web.networks == ("front", "back")


def test_a_scenario_of_containers_reads_back_from_json(contained: Scenario) -> None:
    assert Scenario.model_validate_json(contained.model_dump_json()) == contained
    assert contained.model_dump(mode="json")["target"]["web"]["mem_limit"] == "64m"
    assert "ports" not in contained.model_dump(mode="json")["target"]["cache"]


def test_what_keeps_a_second_replica_from_starting_is_dropped_with_a_sentence(contained: Scenario) -> None:
    assert contained.target["web"].dropped == (
        "image: dropped, because build wins; what is built gets a name of the run's own",
        "container_name: dropped, because two replicas can't share a name",
        f"ports: the host ports 8080, 8443 and 8081 are dropped, because two replicas can't share them; {REACHED}",
        "restart: dropped, because Jetable itself starts replacements",
    )
    assert contained.target["cache"].dropped == ()
    one = ProcessType.model_validate({"image": "x", "ports": ["8080:80", "8080:80"], "restart": "no"})
    assert one.dropped == (f"ports: the host port 8080 is dropped, because two replicas can't share it; {REACHED}",)


def test_a_health_check_of_a_container_is_a_command_in_it(contained: Scenario) -> None:
    check = contained.healthcheck_of("web")
    assert (check.kind, check.test, check.retries) == ("test", ("CMD-SHELL", "curl -f http://localhost || exit 1"), 5)
    assert (check.ask_every.s, check.interval.s) == (0.1, 30.0)
    listed = Healthcheck.model_validate({"test": ["CMD", "pg_isready", "-q"]})
    assert (listed.test, listed.ask_every.s) == (("CMD", "pg_isready", "-q"), 0.01)


@pytest.mark.parametrize(("written", "kept"), [({}, False), ({"interval": "10ms"}, True)])
def test_a_stored_scenario_tells_whether_somebody_wrote_the_interval_of_a_test(written: dict[str, str], *, kept: bool) -> None:
    scenario = Scenario.model_validate(minimal(target={"web": {"image": "x", "healthcheck": {"test": ["CMD", "ready"], **written}}}))
    again = Scenario.model_validate_json(scenario.model_dump_json()).target["web"].healthcheck
    assert again is not None
    assert ("interval" in again.model_fields_set) is kept


@pytest.mark.parametrize("written", [{"test": ["NONE"]}, {"disable": True}, {"disable": True, "start_period": "5s"}])
def test_a_health_check_that_is_switched_off_leaves_the_default(written: dict[str, object]) -> None:
    process = {"image": "x", "healthcheck": written}
    scenario = Scenario.model_validate(minimal(target={"web": process, "worker": process}))
    declared = scenario.target["web"].healthcheck
    assert declared is not None
    assert declared.disable
    assert (scenario.healthcheck_of("web").kind, scenario.healthcheck_of("worker").kind) == ("tcp", "running")
    assert scenario.healthcheck_of("web").start_period == declared.start_period
    assert Scenario.model_validate_json(scenario.model_dump_json()) == scenario


@pytest.mark.parametrize(
    ("processes", "engine"),
    [
        ([{"command": "a"}], "process"),
        ([{"command": "a", "image": "x"}], "process"),
        ([{"image": "x"}], "docker"),
        ([{"command": "a", "build": "."}, {"build": "."}], "docker"),
    ],
)
def test_an_image_without_a_command_needs_an_engine_for_images(processes: list[dict[str, object]], engine: str) -> None:
    target = dict(zip(("web", "worker"), processes, strict=False))
    assert Scenario.model_validate(minimal(target=target)).default_engine == engine


@pytest.mark.parametrize(
    ("written", "machine", "container"),
    [
        (None, None, None),
        ("app", "{folder}/app", None),
        ("/no/such/folder", "/no/such/folder", "/no/such/folder"),
        ({"machine": "app", "container": "/srv"}, "{folder}/app", "/srv"),
        ({"container": "/srv"}, None, "/srv"),
    ],
)
def test_a_working_dir_is_one_of_this_machine_or_of_the_container(
    tmp_path: Path, written: object, machine: str | None, container: str | None
) -> None:
    (tmp_path / "app").mkdir()
    data = minimal(target={"web": {"command": "a", "image": "x", "working_dir": written}})
    scenario = Scenario.model_validate(data, context={"folder": tmp_path})
    web = scenario.target["web"]
    assert (web.working_dir, web.container_dir) == (machine and machine.replace("{folder}", str(tmp_path)), container)
    assert Scenario.model_validate_json(scenario.model_dump_json()) == scenario


@pytest.mark.parametrize(
    ("written", "words"),
    [(None, None), ([], ()), ("", ()), ("a 'b c' | d", ("a", "b c", "|", "d")), (["a", "b c"], ("a", "b c"))],
)
def test_an_entrypoint_is_split_without_a_shell(written: object, words: tuple[str, ...] | None) -> None:
    assert ProcessType.model_validate({"image": "x", "entrypoint": written}).entrypoint_argv == words


@pytest.mark.parametrize(
    "name",
    [
        "nginx",
        "nginx:1.27-alpine",
        "localhost:5000/a/b_c:V1",
        "ghcr.io/owner/app@sha256:" + "0" * 64,
        "sha256:" + "0" * 64,
        "jetable/run-web",
    ],
)
def test_an_image_is_named_as_everywhere(name: str) -> None:
    assert ProcessType.model_validate({"image": name}).image == name


@pytest.mark.parametrize(("written", "count"), [("6m", LEAST_BYTES), ("1GB", 1 << 30), ("1.5g", 3 << 29), (64_000_000, 64_000_000)])
def test_a_limit_of_memory_is_a_number_of_bytes(written: object, count: int) -> None:
    process = ProcessType.model_validate({"image": "x", "mem_limit": written})
    assert process.mem_limit == count
    assert ProcessType.model_validate_json(process.model_dump_json()) == process


@pytest.mark.parametrize(
    ("written", "ports"),
    [
        ([8000], (8000,)),
        (["[::1]:8080:80"], (80,)),
        (["127.0.0.1::80"], (80,)),
        (["8080:80", "8081:80"], (80,)),
        ([{"target": 80, "published": 8080, "host_ip": "127.0.0.1", "protocol": "tcp"}], (80,)),
    ],
)
def test_of_a_port_the_one_in_the_container_counts(written: object, ports: tuple[int, ...]) -> None:
    process = ProcessType.model_validate({"image": "x", "ports": written})
    assert process.ports == ports
    assert ProcessType.model_validate_json(process.model_dump_json()) == process


def test_paths_that_are_too_long_for_the_machine_are_told_and_never_a_crash(tmp_path: Path) -> None:
    long = "x" * 5000
    text = GOOD.replace("replicas: 3", f"working_dir: {long}\n    build: {long}\n    volumes: [./{long}:/x]")
    assert len(problems(tmp_path, text)) == 3


def test_what_a_terminal_would_not_show_is_told_by_its_escape(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, GOOD.replace("replicas: 3", "working_dir: a\u200bb"))
    assert r"a\u200bb" in told
    assert told.isprintable()


def test_a_volume_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    volume = Volume.model_validate("~/:/home", context={"folder": Path("/nowhere")})
    assert (volume.type, Path(volume.source)) == ("bind", tmp_path)


# --- what can be wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("good_part", "bad_part", "expected"), broken("broken_scenarios.txt"))
def test_each_mistake_is_one_line_with_its_place(tmp_path: Path, good_part: str, bad_part: str, expected: str) -> None:
    assert good_part in GOOD
    assert problems(tmp_path, GOOD.replace(good_part, bad_part, 1)) == [expected.replace("{folder}", str(tmp_path.resolve()))]


def test_a_name_that_is_wrong_is_told_with_what_follows_from_it(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD.replace("  web:\n", "  Web:\n")) == [
        '5:3: target.Web: "Web" is no name for a process type; use small letters, digits, - and _, and begin with a letter',
        '16:1: load: which process type takes the load? Write process: with "Web" or "worker"',
        '35:13: steps[5].scale.web: unknown process type "web" (did you mean "Web"?); the target has "Web" and "worker"',
        '37:5: expect[0]: unknown process type "web" (did you mean "Web"?); the target has "Web" and "worker"',
    ]


def test_all_problems_of_a_file_are_told_at_once_from_top_to_bottom(tmp_path: Path) -> None:
    broken = """\
jetable: 1
nmae: x
target:
  web:
    comand: x
    replicas: "3"
    stop_grace_period: 10
    stop_grace_period: 11
load:
  rate: 10/s
  think_time: 1s
  requests: [GET items, "POST /x/{uid}"]
steps:
  - kil: any
  - kill: {process: wbe}
expect: [dropped_request == 0]
"""
    assert problems(tmp_path, broken) == [
        '1:1: the key "name" is missing',
        '2:1: nmae: unknown key "nmae" (did you mean "name"?)',
        '4:3: target.web: the key "command" is missing; only with image or build it may be left out',
        '5:5: target.web.comand: unknown key "comand" (did you mean "command"?)',
        '6:15: target.web.replicas: must be a whole number, not the text "3"; remove the quotes',
        '8:5: target.web: the key "stop_grace_period" is here for the second time; the first is in line 7',
        "8:24: target.web.stop_grace_period: needs a unit: write 11s or 11ms",
        "11:3: load.think_time: has no meaning with rate, which alone says when requests begin; remove one of them",
        '12:14: load.requests[0]: must be a path that begins with /, not the text "items"',
        '12:25: load.requests[1]: unknown placeholder "{uid}" (did you mean "uuid"?); write {{ for a literal brace',
        '14:5: steps[0].kil: unknown key "kil" (did you mean "kill"?)',
        '15:21: steps[1].kill.process: unknown process type "wbe" (did you mean "web"?); the target has "web"',
        '16:10: expect[0]: unknown metric "dropped_request" (did you mean "dropped_requests"?)',
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: the file is empty; `jetable schema` and docs/scenarios.md say what belongs in it"),
        ("[]", "1:1: must be a mapping, not an empty list"),
        ("just text", '1:1: must be a mapping, not the text "just text"'),
        ("a: 1\n---\nb: 2", "2:1: a second document; a file holds one scenario, so remove this --- or split the file"),
    ],
)
def test_what_is_no_scenario_at_all_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text) == [expected]


def test_two_process_types_without_web_need_a_word_on_the_load(tmp_path: Path) -> None:
    text = GOOD.replace("  web:\n", "  api:\n").replace("web", "api")
    assert problems(tmp_path, text) == ['16:1: load: which process type takes the load? Write process: with "api" or "worker"']


def test_steps_without_end_are_refused(tmp_path: Path) -> None:
    many = "".join("  - steady: 1s\n    repeat: 1000\n" for _ in range(11))
    text = GOOD.replace("steps:\n", f"steps:\n{many}")
    assert problems(tmp_path, text) == [f"28:1: steps: more than {MAX_STEPS} steps in all, repeats counted"]


@pytest.mark.parametrize("key", _COMPOSE_KEYS)
def test_keys_of_compose_are_told_from_misspelt_ones(key: str) -> None:
    with pytest.raises(ValidationError, match=f'"{key}" is not supported yet'):
        ProcessType.model_validate({"command": "a", key: 1})


def test_the_lists_of_names_agree_with_the_models() -> None:
    assert set(VICTIM_STEPS) < set(STEP_KINDS)
    keys = {field.alias or name for name, field in ProcessType.model_fields.items()}
    assert not set(_COMPOSE_KEYS) & keys
    assert not set(ProcessType.not_yet) & keys
    assert sorted(CAPABILITIES) == list(CAPABILITIES)
    assert MAX_REPLICAS == 200


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_a_damaged_file_is_told_and_never_a_crash(tmp_path: Path, data: st.DataObject) -> None:
    lines = GOOD.splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(0, len(lines) - 1))
        line = lines[index]
        cut = data.draw(st.integers(0, len(line)))
        insert = data.draw(st.sampled_from(["", "x", ": ", "- ", "{", "}", "[", "'", '"', "\n", "&a ", "*a", "0", "null", "{id", "!!x "]))
        lines[index] = data.draw(st.sampled_from([line[:cut] + insert + line[cut:], line[cut:], "", line + line, insert + "\n"]))
    for problem in problems(tmp_path, "".join(lines)):
        assert re.match(r"\d+:\d+: ", problem)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "x", "1s", "web", "GET /", "any", "{id}", "{"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "web",
                    "command",
                    "requests",
                    "POST /x",
                    "json",
                    "kill",
                    "scale",
                    "signal",
                    "terminate_at_start",
                    "crash_loop",
                    "together",
                    "chaos",
                    "of",
                    "at",
                    "steady",
                    "process",
                    "replica",
                    "repeat",
                    "depends_on",
                    "expect",
                    *ProcessType.model_fields,
                    "ports",
                    "test",
                    "context",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["target", "load", "steps", "expect", "routing", "seed"]), PLAIN, min_size=1))
def test_data_of_any_shape_is_told_and_never_a_crash(data: dict[str, object]) -> None:
    try:
        Scenario.model_validate(minimal(**data))
    except ValidationError as error:
        told = error.errors()
    else:
        told = []
    assert {detail["type"] for detail in told} <= {"key", "value"}


# --- files ------------------------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_is_a_mistake_of_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file or directory") as caught:
        load_scenario(tmp_path / "none.yaml")
    assert caught.value.exit_code == ExitCode.USAGE
    with pytest.raises(UsageError, match="Is a directory"):
        load_scenario(tmp_path)


def test_a_wrong_file_ends_with_the_exit_code_of_usage(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(write(tmp_path, ""))
    assert caught.value.exit_code == ExitCode.USAGE


def test_folders_are_searched_for_scenarios_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "sub/c.yaml", ".hidden/d.yaml", ".e.yaml", "notes.txt", "sub/f.json", "reports/run/plan.yaml"):
        write(tmp_path, "x", name)
    write(tmp_path, "", "reports/run/history/events.jsonl")  # a run's own copy is a scenario only for who names it
    found = find_scenarios([tmp_path])
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a.yml", "b.yaml", "sub/c.yaml"]
    assert all(path.suffix in SUFFIXES for path in found)


def test_files_are_taken_as_given_and_each_once(tmp_path: Path) -> None:
    first, second = write(tmp_path, "x", "z.txt"), write(tmp_path, "x", "a.yaml")
    (tmp_path / "link.yaml").symlink_to(second)
    assert find_scenarios([first, second, tmp_path, tmp_path / "." / "a.yaml"]) == [first, second]


def test_nothing_to_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        find_scenarios([tmp_path / "none"])
    with pytest.raises(NothingSelectedError, match="no scenario file") as caught:
        find_scenarios([tmp_path])
    assert caught.value.exit_code == ExitCode.NOTHING
    with pytest.raises(NothingSelectedError):
        find_scenarios([])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        find_scenarios([tmp_path / "pipe"])


@pytest.mark.slow
def test_reading_scenarios_costs_neither_numpy_nor_locust() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, harness.scenario; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"numpy", "locust", "gevent", "rich", "click"} & set(loaded)


def test_how_many_replicas_there_can_be_is_counted_once_for_each_process_type_and_not_for_each_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[object] = []
    count = whole._most_replicas

    def counting(long: Any, target: Any, process: object) -> int:
        counted.append(process)
        return count(long, target, process)

    monkeypatch.setattr(whole, "_most_replicas", counting)
    steps = [{"kill": 1}] * 50
    Scenario.model_validate(
        {"jetable": 1, "name": "x", "target": {"web": {"command": ["app"]}}, "load": {"requests": ["GET /"]}, "steps": steps}
    )
    assert counted == ["web"]
