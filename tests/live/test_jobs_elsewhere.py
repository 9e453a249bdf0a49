"""Services that run already, for other programs as well: a run does its work in them and leaves them as they were.

Each has a queue called as the scenario calls its own, with somebody else's job in it, and something where effects show. A run that took
the one for its own would do a stranger's job, or remove it at the end.
"""

from __future__ import annotations

import http.client
import json
import sqlite3
import subprocess
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.job_history import JOBS_FILE
from harness.services.base import Kind
from harness.services.beanstalkd import BEANSTALKD
from harness.services.postgres import POSTGRES
from harness.services.rabbitmq import RABBITMQ
from harness.services.rabbitmq_api import OWN_HOST
from harness.services.redis import REDIS
from tests.live.commands import jetable, results
from tests.live.harnesses import BEGUN_WITHIN_S, output_of, run_folder, running
from tests.live.processes import left_of, wait_until
from tests.services.brokers import Broker
from tests.services.conftest import started  # noqa: F401  a fixture

Started = Callable[[Kind], Broker]

LOG = {name: f"job {{job}} {name}" for name in ("started", "finished", "settled", "returned")}
JOBS = 10
THEIRS = '{"id": "theirs", "ms": 0}'
"""A job that the sample workers would do, if they saw it."""

FINISHED, UNFINISHED, KILLED = "30s", "300ms", "600s"
ENDS = pytest.mark.parametrize(
    "drain", [pytest.param(FINISHED, id="finished"), pytest.param(UNFINISHED, id="unfinished"), pytest.param(KILLED, id="killed")]
)
"""How long the run waits for its jobs: until they are done, hardly, or until a SIGKILL of the harness while workers have them in hand."""

GONE_WITHIN_S = 20

pytestmark = [pytest.mark.slow, pytest.mark.live]


def run_in(folder: Path, worker_of: str, url: str, *, drain: str, style: str = "lock", strangers: bool = False, **jobs_have: object) -> str:
    """Run that sample worker against the service, expect that it ends as it must, and return the run's mark.

    With ``strangers`` the run must have seen effects of others, and said so; else it must have seen nothing of them. With any other
    ``drain`` than ``FINISHED`` the jobs take much longer than that, so that the run ends with all of them in the queue.
    """
    kind = worker_of.partition("_")[0]
    worker = {
        "command": ["{python}", "-m", f"sample_apps.workers.{worker_of}"],
        "environment": {"WORKER_NAME": "{replica}", "LEASE_S": 2, "STYLE": style, "GRACEFUL_TIMEOUT": 0},
        "healthcheck": {"log": "takes jobs"},
        "replicas": 2,
    }
    finishes = drain == FINISHED
    body = f'{{"id": "{{job}}", "ms": {150 if finishes else 600_000}}}'
    scenario = {
        "jetable": 1,
        "name": f"jobs in a {kind} of others",
        "target": {"worker": worker},
        "services": {kind: {"url": url}},
        "jobs": {"count": JOBS, "body": body, "log": LOG, "idempotent": True, "drain": drain, **jobs_have},
        "steps": [{"terminate": {"when": "job-started"}}],
    }
    path, reports = folder / "elsewhere.yaml", folder / "reports"
    path.write_text(json.dumps(scenario))
    if drain == KILLED:
        return killed_on(path, reports)
    ended = jetable("run", path, "--reports", reports, "--seed", "1")
    (result,) = results(reports)
    assert (result["verdict"] == "pass", ended.code == 0) == (finishes, finishes), ended.output
    assert f"{JOBS} jobs submitted, {JOBS} acknowledged, {JOBS if finishes else 0} done" in ended.output
    assert strangers == any(finding["name"] == "foreign-jobs" for finding in result["findings"]), ended.output
    run_id = str(result["run_id"])
    assert not left_of(run_id)
    return run_id[-6:]


def killed_on(scenario: Path, reports: Path) -> str:
    """Kill the harness when a worker has a job in hand, wait until nothing of the run is left on this machine, and return its mark."""
    with running(scenario, reports, "process") as harness:
        wait_until(lambda: is_at_work(harness, reports), within_s=BEGUN_WITHIN_S, why=lambda: output_of(reports).read_text())
        harness.kill()
        harness.wait()
    folder = run_folder(reports)
    assert folder is not None
    run_id = folder.name
    wait_until(lambda: not left_of(run_id), within_s=GONE_WITHIN_S, why=lambda: f"left: {left_of(run_id)}")
    return run_id[-6:]


def is_at_work(harness: subprocess.Popen[bytes], reports: Path) -> bool:
    assert harness.poll() is None, output_of(reports).read_text()
    folder = run_folder(reports)
    ledger = folder / "history" / JOBS_FILE if folder is not None else None
    return ledger is not None and ledger.exists() and b'"what":"started"' in ledger.read_bytes()


def still_runs(broker: Broker) -> bool:
    """Its process is the one that was started, and it answers."""
    assert broker.process is not None
    assert broker.process.poll() is None
    with closing(broker.client()) as client:
        return bool(client.ready())


@ENDS
def test_a_redis_of_others_is_left_as_it_was(drain: str, started: Started, tmp_path: Path) -> None:  # noqa: F811  the fixture
    redis = pytest.importorskip("redis")
    broker = started(REDIS)
    with closing(redis.Redis.from_url(broker.url)) as link:
        link.rpush("jobs", THEIRS)
        link.rpush("jobs:processing:theirs", THEIRS)
        link.rpush("done", "theirs")
        link.set("done:once:theirs", "1")
        before = everything(link)
        options = {"processing": "{queue}:processing:*", "heartbeat": "{queue}:alive:*"}
        run_in(tmp_path, "redis_list", broker.url, options=options, done={"key": "done"}, drain=drain)
        assert still_runs(broker)
        assert everything(link) == before


@ENDS
def test_a_stream_in_a_redis_of_others_leaves_nothing_either(drain: str, started: Started, tmp_path: Path) -> None:  # noqa: F811  the fixture
    redis = pytest.importorskip("redis")
    broker = started(REDIS)
    with closing(redis.Redis.from_url(broker.url)) as link:
        link.xadd("jobs", {"body": THEIRS})
        link.xgroup_create("jobs", "workers", "0")
        link.xadd("done", {"body": "theirs"})
        before = everything(link)
        options = {"group": "workers", "claim_after": "2s"}
        run_in(tmp_path, "redis_stream", broker.url, form="stream", options=options, done={"key": "done"}, drain=drain)
        assert still_runs(broker)
        assert everything(link) == before


def everything(link: Any) -> dict[bytes, bytes]:
    """Each key with its value, as Redis itself writes it down."""
    return {key: link.dump(key) for key in link.keys("*")}


@ENDS
def test_a_rabbitmq_of_others_is_left_as_it_was(drain: str, started: Started, tmp_path: Path) -> None:  # noqa: F811  the fixture
    pika = pytest.importorskip("pika")
    broker = started(RABBITMQ)
    with closing(pika.BlockingConnection(pika.URLParameters(broker.url))) as link:
        channel = link.channel()
        channel.queue_declare("jobs.dead", durable=True)
        channel.queue_declare("jobs", durable=True)
        channel.basic_publish("", "jobs", THEIRS.encode(), pika.BasicProperties(delivery_mode=2, message_id="theirs"))
    run_in(tmp_path, "rabbitmq", broker.url, options={"dead_letter": "jobs.dead"}, done={"file": "done.log"}, drain=drain)
    assert still_runs(broker)
    assert queues(broker) == ["jobs", "jobs.dead"]
    with closing(pika.BlockingConnection(pika.URLParameters(broker.url))) as link:
        method, properties, body = link.channel().basic_get("jobs")
        assert (body, method.message_count, method.redelivered, properties.message_id) == (THEIRS.encode(), 0, False, "theirs")


def queues(broker: Broker) -> list[str]:
    """The names of all queues, from the management plugin."""
    login = b64encode(b"guest:guest").decode()
    with closing(http.client.HTTPConnection(OWN_HOST, broker.port, timeout=10)) as link:
        link.request("GET", "/api/queues?disable_stats=true&enable_queue_totals=true", headers={"Authorization": f"Basic {login}"})
        return sorted(each["name"] for each in json.loads(link.getresponse().read()))


@ENDS
def test_a_beanstalkd_of_others_is_left_as_it_was(drain: str, started: Started, tmp_path: Path) -> None:  # noqa: F811  the fixture
    greenstalk = pytest.importorskip("greenstalk")
    broker = started(BEANSTALKD)
    with closing(greenstalk.Client(("127.0.0.1", broker.port), use="jobs", watch="jobs")) as link:
        buried = link.put('{"id": "buried", "ms": 0}')
        link.bury(link.reserve(0))
        delayed = link.put('{"id": "delayed", "ms": 0}', delay=3600)
        ready = link.put(THEIRS)
        before = [stay(link, number) for number in (buried, delayed, ready)]
        run_in(tmp_path, "beanstalkd", broker.url, options={"ttr": 5}, done={"file": "done.log"}, drain=drain)
        assert still_runs(broker)
        assert [stay(link, number) for number in (buried, delayed, ready)] == before
        assert sorted(link.tubes()) == ["default", "jobs"]
        assert link.stats()["current-jobs-ready"] + link.stats()["current-jobs-reserved"] == 1


def stay(link: Any, number: int) -> tuple[object, ...]:
    """What a job is, where it is, and what has happened to it."""
    stats = link.stats_job(number)
    return link.peek(number).body, stats["tube"], stats["state"], stats["reserves"], stats["releases"], stats["kicks"]


@pytest.mark.parametrize("style", ["lock", "skip-locked"])
@ENDS
def test_a_postgres_of_others_is_left_as_it_was(drain: str, style: str, started: Started, tmp_path: Path) -> None:  # noqa: F811  the fixture
    psycopg = pytest.importorskip("psycopg")
    broker = started(POSTGRES)
    with psycopg.connect(broker.url, autocommit=True) as link:
        link.execute("CREATE TABLE jobs (id bigserial PRIMARY KEY, body text)")
        link.execute("CREATE TABLE effects (job text, at timestamptz DEFAULT now(), worker text)")
        link.execute("INSERT INTO jobs (body) VALUES (%s)", (THEIRS,))
        link.execute("INSERT INTO effects (job, worker) VALUES ('theirs', 'theirs')")
        before = whole(link)
        run_in(tmp_path, "postgres", broker.url, style=style, done={"query": "SELECT job FROM effects"}, drain=drain)
        assert still_runs(broker)
        assert whole(link) == before


def whole(link: Any) -> dict[str, object]:
    """The schemas of the database, its tables, and the rows of ours."""
    return {
        "schemas": link.execute("SELECT nspname FROM pg_namespace ORDER BY 1").fetchall(),
        "tables": link.execute("SELECT schemaname, tablename FROM pg_tables ORDER BY 1, 2").fetchall(),
        "jobs": link.execute("SELECT * FROM public.jobs").fetchall(),
        "effects": link.execute("SELECT * FROM public.effects").fetchall(),
    }


@ENDS
def test_a_file_of_sqlite_of_others_keeps_what_was_in_it(drain: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, what TEXT)")
        db.execute("INSERT INTO jobs (what) VALUES (?)", (THEIRS,))
        db.execute("CREATE TABLE effects (job TEXT NOT NULL, at REAL NOT NULL, worker TEXT NOT NULL)")
        db.execute("INSERT INTO effects VALUES ('theirs', 1, 'theirs')")
    mark = run_in(tmp_path, "sqlite", f"sqlite:///{path}", strangers=True, done={"query": "SELECT job FROM effects"}, drain=drain)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1").fetchall() == [("effects",), ("jobs",)]
        assert db.execute("SELECT * FROM jobs").fetchall() == [(1, THEIRS)]
        assert db.execute("SELECT * FROM effects LIMIT 1").fetchall() == [("theirs", 1.0, "theirs")]
        ours = db.execute("SELECT DISTINCT job FROM effects WHERE job LIKE ?", (f"{mark}-%",)).fetchall()
    assert len(ours) == (JOBS if drain == FINISHED else 0)  # the table is the app's own, and so are its rows
