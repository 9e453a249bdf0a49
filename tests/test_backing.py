"""Backing services of a run: started through the engine, stopped, started again where they were, and gone at the end."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.backing import Backing, check_services, service_spec
from harness.cleanup import clean_run
from harness.clock import MonotonicClock
from harness.engines.base import EngineContext
from harness.engines.docker import DockerEngine
from harness.engines.process import ProcessEngine
from harness.errors import MachineError, UsageError
from harness.history import Event, ServicePhase
from harness.marks import make_scratch
from harness.scenario import Scenario
from harness.services.base import QueueSpec, ServiceError

CLOCK = MonotonicClock()


def scenario_of(**services: object) -> Scenario:
    return Scenario.model_validate(
        {
            "jetable": 1,
            "name": "services",
            "target": {"web": {"command": "true"}},
            "services": services,
            "load": {"requests": ["GET /"]},
            "steps": [{"steady": "1s"}],
        }
    )


class Run:
    """What of a run is needed here."""

    def __init__(self, scenario: Scenario, run_id: str, logs: Path) -> None:
        self.events: list[Event] = []
        scratch = make_scratch(run_id)
        self.backing = Backing(scenario, mark="2fecf0", scratch=scratch, clock=CLOCK, record=self.events.append)
        self.engine = ProcessEngine(EngineContext(run_id=run_id, clock=CLOCK, scratch=scratch, logs=logs, on_exit=self.backing.exited))

    def phases(self) -> list[tuple[str, str]]:
        told = sorted((event for event in self.events if isinstance(event, ServicePhase)), key=lambda event: event.at_ns)
        return [(event.service, event.phase) for event in told]

    def last(self, phase: str) -> ServicePhase:
        return [event for event in self.events if isinstance(event, ServicePhase) and event.phase == phase][-1]


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []
    run_id = f"test-{os.getpid()}-{tmp_path.name}"

    def make(**services: object) -> Run:
        runs.append(Run(scenario_of(**services), run_id, tmp_path))
        return runs[-1]

    yield make
    for run in runs:
        run.backing.tear_down()
        run.engine.close()
    clean_run(run_id)


needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server (Debian package redis-server)")


@needs_redis
@pytest.mark.slow
@pytest.mark.live
def test_a_service_is_started_and_handed_over_by_its_variable(play: Callable[..., Run]) -> None:
    run = play(redis={}, cache={"kind": "redis", "variable": "CACHE_URL"})
    run.backing.start_all(run.engine)
    given = run.backing.environment()
    assert sorted(given) == ["CACHE_URL", "REDIS_URL"]
    assert given["CACHE_URL"] != given["REDIS_URL"]
    assert run.phases() == [("redis", "asked"), ("redis", "ready"), ("cache", "asked"), ("cache", "ready")]
    assert run.backing.owns("cache")
    assert not run.backing.owns("web.1")


@needs_redis
@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL"])
def test_a_service_that_was_stopped_comes_back_where_it_was_with_what_it_kept(
    play: Callable[..., Run], tmp_path: Path, signal: str
) -> None:
    run = play(redis={})
    run.backing.start_all(run.engine)
    before = run.backing.environment()
    client = run.backing.client("redis")
    queue = client.queue(QueueSpec(form="list", name="jobs"))
    queue.put("2fecf0-0", "2fecf0-0")
    assert run.backing.stop("redis", signal)
    assert not run.backing.stop("redis", signal), "it is gone already"
    with pytest.raises(ServiceError):
        queue.look()
    run.backing.start("redis")
    run.backing.start("redis")  # it runs
    assert run.backing.environment() == before
    assert queue.look().ready == 1
    assert [phase for _, phase in run.phases()] == ["asked", "ready", "signalled", "exited", "asked", "ready"]
    assert run.last("signalled").detail == signal
    assert sorted(path.name for path in tmp_path.glob("redis*.log")) == ["redis.2.log", "redis.log"], "the words of its first life are kept"
    assert not run.last("exited").detail, "it was asked to end"
    client.close()


@needs_redis
@pytest.mark.slow
@pytest.mark.live
def test_connections_are_cut_and_counted(play: Callable[..., Run]) -> None:
    run = play(redis={})
    run.backing.start_all(run.engine)
    client = run.backing.client("redis")
    client.queue(QueueSpec(form="list", name="jobs")).look()
    port = int(run.backing.environment()["REDIS_URL"].rpartition(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as app:
        app.sendall(b"PING\r\n")
        assert app.recv(16) == b"+PONG\r\n"
        assert run.backing.cut("redis") == 1, "the harness's own are spared"
        assert app.recv(16) == b""
    cut = run.last("cut")
    assert cut.detail == "1 connections"
    assert 0 < cut.at_ns <= cut.until_ns
    client.close()


@needs_redis
@pytest.mark.slow
@pytest.mark.live
def test_a_service_that_ends_by_itself_is_told_with_its_last_words(play: Callable[..., Run]) -> None:
    run = play(redis={})
    run.backing.start_all(run.engine)
    replica = run.backing._lives["redis"].replica
    assert replica is not None
    run.engine.signal(replica, "SIGTERM")
    run.engine.wait_exit(replica, 10)
    told = run.last("exited")
    assert told.detail == "nobody had asked it to end"
    assert any("exit" in line or "bye" in line for line in told.log)


def test_the_embedded_one_needs_no_process(play: Callable[..., Run]) -> None:
    run = play(sqlite={})
    run.backing.start_all(run.engine)
    assert run.backing.shares
    assert run.backing.environment() == {"DATABASE_URL": f"sqlite:///{run.backing.shared}/jobs.db"}
    assert run.backing.specs() == []
    assert run.phases() == [("sqlite", "asked"), ("sqlite", "ready")]


@pytest.mark.slow
def test_a_service_that_does_not_answer_at_its_url_is_told_at_once(play: Callable[..., Run]) -> None:
    run = play(redis={"url": "redis://127.0.0.1:1/0"})
    began = time.monotonic()
    with pytest.raises(MachineError, match=r"the service redis .*look at its url"):
        run.backing.start_all(run.engine)
    assert time.monotonic() - began < 30


def test_a_program_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        MachineError, match="the service redis needs redis-server, which is not here: install the Debian package redis-server"
    ):
        check_services(scenario_of(redis={}), ProcessEngine)


def test_what_must_be_done_once_stands_before_the_command(tmp_path: Path) -> None:
    scenario = scenario_of(postgres={})
    spec = service_spec("postgres", scenario.services["postgres"], tmp_path / "pg")
    assert spec is not None
    assert "initdb" in " ".join(spec.argv)
    assert f"{tmp_path}/pg" in " ".join(spec.argv)
    assert "{folder}" not in " ".join(spec.argv)
    assert spec.declared is not None
    assert spec.declared.image == "postgres:15"


def test_a_password_stays_out_of_what_a_run_writes() -> None:
    scenario = scenario_of(redis={"url": "redis://me:s3cret@127.0.0.1:6379/0"}, rabbitmq={"url": "amqp://127.0.0.1"})
    stored = scenario.model_dump_json()
    assert "s3cret" not in stored
    assert "redis://me:***@127.0.0.1:6379/0" in stored
    assert '"amqp://127.0.0.1"' in stored
    assert scenario.services["redis"].url == "redis://me:s3cret@127.0.0.1:6379/0"
    with pytest.raises(UsageError, match="the password in the url of the service redis is hidden"):
        check_services(Scenario.model_validate_json(stored), ProcessEngine)


def test_a_service_on_another_machine_must_be_allowed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = scenario_of(redis={"url": "redis://cache.example:6379/0"})
    with pytest.raises(UsageError, match=r"redis is at cache\.example, .*; set JETABLE_ALLOW_HOSTS=cache\.example"):
        check_services(scenario, ProcessEngine)
    monkeypatch.setenv("JETABLE_ALLOW_HOSTS", "cache.example")
    check_services(scenario, ProcessEngine)


@pytest.mark.parametrize(
    ("service", "words"),
    [({"redis": {"url": "redis://127.0.0.1:6379/0"}}, "the container itself"), ({"sqlite": {"url": "sqlite:////tmp/x.db"}}, "no file")],
)
def test_a_service_of_this_machine_is_refused_where_replicas_are_containers(service: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=f"has a url, and in containers .*{words}"):
        check_services(scenario_of(**service), DockerEngine)
