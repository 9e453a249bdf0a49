"""Redis as a service, against a real server.

Its queues are in `harness.services.redis_forms`, `harness.services.redis_rq` and `harness.services.redis_celery`, its places of effects in
`harness.services.redis_effects`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from harness.errors import KeyOfScenarioError, UsageError
from harness.job_history import HELD, READY, SET_ASIDE
from harness.services import KINDS
from harness.services.base import (
    Client,
    DoneSpec,
    Held,
    Keys,
    Kind,
    Look,
    PutRefusedError,
    Queue,
    QueueSpec,
    ServiceEffects,
    ServiceError,
    TellsAbsence,
    Told,
)
from harness.services.redis import REDIS
from harness.services.redis_client import OWN_NAME, Link
from tests.services.brokers import Broker, free_port

pytestmark = [pytest.mark.slow, pytest.mark.live]

Raw = redis.Redis


@pytest.fixture(scope="module")
def server(started_for_module: Callable[[Kind], Broker]) -> Broker:
    return started_for_module(REDIS)


@pytest.fixture
def client(server: Broker) -> Iterator[Client]:
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def raw(server: Broker) -> Iterator[Raw]:
    """Redis itself, empty."""
    with redis.Redis.from_url(server.url, decode_responses=True) as raw:
        raw.flushall()
        yield raw


def a_list(client: Client, **options: str | int | bool) -> Queue:
    return client.queue(QueueSpec(form="list", name="jobs", options=options))


def a_stream(client: Client, **options: str | int | bool) -> Queue:
    return client.queue(QueueSpec(form="stream", name="jobs", options=options))


def key(client: Client, name: str = "done") -> ServiceEffects:
    return client.effects(DoneSpec(kind="key", name=name))


def test_it_is_one_of_the_kinds() -> None:
    assert KINDS["redis"] is REDIS


def test_a_server_that_does_its_work_tells_its_version(client: Client) -> None:
    assert client.ready()[0].isdigit()


def test_one_that_is_not_there_is_not_ready() -> None:
    client = REDIS.open(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(ServiceError, match="refused"):
        client.ready()


def test_a_wrong_url_is_a_mistake_of_the_user() -> None:
    with pytest.raises(UsageError, match="URL of Redis"):
        REDIS.open("http://127.0.0.1")


def test_what_is_put_into_a_list_is_ready_and_told(client: Client, raw: Raw) -> None:
    queue = a_list(client)
    queue.declare()
    queue.put("m-0", '{"id": "m-0"}')
    queue.put("m-1", '{"id": "m-1"}')
    assert raw.rpop("jobs") == '{"id": "m-0"}'
    assert queue.look() == Look(ready=1, held=-1)
    assert queue.told(10) == [Told(text='{"id": "m-1"}', state=READY)]
    queue.remove()
    assert raw.keys() == []


def test_a_list_may_be_filled_from_the_right(client: Client, raw: Raw) -> None:
    queue = a_list(client, push="right")
    queue.put("m-0", "m-0")
    queue.put("m-1", "m-1")
    assert raw.lrange("jobs", 0, -1) == ["m-0", "m-1"]


def test_what_lies_in_a_processing_list_is_held_by_its_owner_until_its_heartbeat_ends(client: Client, raw: Raw) -> None:
    queue = a_list(client, processing="{queue}:processing:*", heartbeat="{queue}:alive:*", failed="jobs:failed")
    raw.lpush("jobs:processing:worker.1", "m-0")
    raw.lpush("jobs:processing:worker.2", "m-1")
    raw.lpush("jobs:failed", "m-2")
    raw.lpush("jobs", "m-3")
    raw.set("jobs:alive:worker.1", "", px=60_000)
    assert queue.look() == Look(ready=1, held=2, set_aside=1)
    first, second, *rest = queue.told(10)
    assert (first.text, first.state, first.by) == ("m-0", HELD, "worker.1")
    assert first.until_s is not None
    assert 50 < first.until_s <= 60
    assert second == Told(text="m-1", state=HELD, by="worker.2", until_s=0.0)
    assert rest == [Told(text="m-3", state=READY), Told(text="m-2", state=SET_ASIDE)]
    assert [told.text for told in queue.told(3)] == ["m-0", "m-1", "m-3"]
    raw.lpush("jobs2", "somebody else's")
    queue.remove()
    assert raw.keys() == ["jobs2"]


def test_an_empty_queue_is_empty_only_with_empty_processing_lists(client: Client, raw: Raw) -> None:
    queue = a_list(client, processing="jobs:processing:*")
    assert queue.look().empty
    raw.lpush("jobs:processing:a", "m-0")
    assert not queue.look().empty
    raw.delete("jobs:processing:a")
    assert queue.look().empty


def test_a_processing_list_that_comes_up_between_two_questions_is_seen(raw: Raw, server: Broker) -> None:
    class LateScan(Link):
        """Moves the only job just after the processing lists were searched for."""

        def keys(self, pattern: str, kind: str) -> set[str]:
            found = super().keys(pattern, kind)
            raw.lmove("jobs", "jobs:processing:a", "RIGHT", "LEFT")
            return found

    from harness.services.redis_forms import ListQueue

    raw.lpush("jobs", "m-0")
    link = LateScan(server.url)
    look = ListQueue(link, QueueSpec(form="list", name="jobs", options={"processing": "jobs:processing:*"})).look()
    link.close()
    assert look == Look(ready=0, held=1)


def test_a_stream_tells_consumer_idle_time_and_deliveries(client: Client, raw: Any) -> None:
    queue = a_stream(client, group="workers", claim_after="60s")
    queue.declare()
    queue.declare()
    for number in range(3):
        queue.put(f"m-{number}", f'{{"id": "m-{number}"}}')
    assert queue.look() == Look(ready=3, held=0)
    raw.xreadgroup("workers", "worker.1", {"jobs": ">"}, count=2)
    raw.xclaim("jobs", "workers", "worker.2", 0, [raw.xrange("jobs", count=1)[0][0]])
    assert queue.look() == Look(ready=1, held=2)
    first, second, third = queue.told(10)
    assert (first.text, first.state, first.by, first.deliveries, first.redelivered) == ('{"id": "m-0"}', HELD, "worker.2", 2, True)
    assert (second.by, second.deliveries, second.redelivered) == ("worker.1", 1, False)
    assert first.until_s is not None
    assert 30 < first.until_s <= 60
    assert third == Told(text='{"id": "m-2"}', state=READY)
    assert len(queue.told(1)) == 1
    queue.remove()
    assert raw.keys() == []


def test_a_stream_without_a_group_is_all_ready(client: Client, raw: Raw) -> None:
    queue = a_stream(client, field="data")
    queue.declare()
    assert queue.look() == Look(ready=0, held=0)
    queue.put("m-0", "m-0")
    assert queue.look() == Look(ready=1, held=0)
    assert queue.told(5) == [Told(text="m-0", state=READY)]


def test_the_lag_of_a_stream_from_which_entries_were_deleted_is_counted(client: Client, raw: Any) -> None:
    queue = a_stream(client, group="workers")
    queue.declare()
    for number in range(5):
        queue.put(f"m-{number}", f"m-{number}")
    raw.xreadgroup("workers", "worker.1", {"jobs": ">"}, count=1)
    entries = raw.xrange("jobs")
    raw.xdel("jobs", entries[3][0])
    assert queue.look() == Look(ready=3, held=1)


@pytest.mark.parametrize("push", ["lpush", "rpush"])
def test_effects_in_a_list_are_handed_out_once_whichever_end_they_are_pushed_at(client: Client, raw: Any, push: str) -> None:
    effects = key(client)
    assert effects.new() == ()
    put = getattr(raw, push)
    put("done", "m-0")
    assert effects.new() == ["m-0"]
    assert effects.new() == []
    put("done", "m-1", "m-2")
    assert sorted(effects.new()) == ["m-1", "m-2"]
    put("done", "m-1")
    assert effects.new() == ["m-1"]
    put("done", "m-0")
    put("done", "m-3")
    assert sorted(effects.new()) == ["m-0", "m-3"]
    assert effects.counts
    raw.sadd("done:once", "m-0")
    effects.remove()
    assert raw.keys() == []


def test_a_list_that_lost_entries_hands_out_what_is_new_in_it(client: Client, raw: Raw) -> None:
    effects = key(client)
    raw.rpush("done", "m-0", "m-1", "m-2")
    assert len(effects.new()) == 3
    raw.delete("done")
    raw.rpush("done", "m-3")
    assert effects.new() == ["m-3"]
    raw.rpush("done", "m-4")
    assert effects.new() == ["m-4"]


def test_a_stream_of_effects_is_read_from_where_it_was_left(client: Client, raw: Raw) -> None:
    effects = key(client)
    raw.xadd("done", {"job": "m-0"})
    assert effects.new() == ["m-0"]
    raw.xadd("done", {"job": "m-0", "by": "a"})
    assert effects.new() == ["m-0 a"]
    assert effects.new() == []


def test_a_hash_of_counts_hands_out_each_count(client: Client, raw: Raw) -> None:
    effects = key(client)
    raw.hincrby("done", "m-0", 2)
    assert effects.new() == ["m-0", "m-0"]
    raw.hincrby("done", "m-0", 1)
    raw.hincrby("done", "m-1", 1)
    assert sorted(effects.new()) == ["m-0", "m-1"]
    assert effects.counts


def test_in_a_set_nothing_is_seen_twice_and_it_says_so(client: Client, raw: Raw) -> None:
    effects = key(client)
    raw.sadd("done", "m-0")
    assert effects.new() == ["m-0"]
    raw.sadd("done", "m-0", "m-1")
    assert effects.new() == ["m-1"]
    assert not effects.counts


def test_a_hash_of_results_counts_nothing_and_says_so(client: Client, raw: Raw) -> None:
    effects = key(client)
    raw.hset("done", "m-0", "fine")
    assert effects.new() == ["m-0"]
    assert not effects.counts


def test_a_key_that_shows_nothing_is_named(client: Client, raw: Raw) -> None:
    raw.set("done", "m-0")
    with pytest.raises(ServiceError, match="the key done is a string"):
        key(client).new()


def test_cutting_connections_spares_our_own(client: Client, raw: Raw) -> None:
    queue = a_list(client)
    queue.declare()
    with raw.pubsub() as subscriber:
        subscriber.subscribe("news")
        assert subscriber.get_message(timeout=5) is not None
        names = [each["name"] for each in raw.client_list()]
        assert OWN_NAME in names
        others = sum(name != OWN_NAME for name in names)
        assert others >= 2
        assert client.cut_connections() == others
    queue.declare()


def test_cutting_connections_spares_those_to_another_database(server: Broker, raw: Raw) -> None:
    with redis.Redis.from_url(server.url.removesuffix("/0") + "/5") as elsewhere:
        for database, cut in ((3, 0), (5, 1)):
            elsewhere.ping()
            here = REDIS.open(server.url.removesuffix("/0") + f"/{database}")
            assert here.cut_connections() == cut
            here.close()
        assert raw.client_list()


def test_a_key_that_never_was_there_is_absent_until_it_was(client: Client, raw: Raw) -> None:
    effects = key(client)
    assert isinstance(effects, TellsAbsence)
    assert effects.new() == ()
    assert effects.absent == "there is no key done"
    raw.lpush("done", "m-0")
    assert effects.new() == ["m-0"]
    raw.delete("done")
    assert effects.new() == []
    assert effects.absent == ""


def test_a_job_in_a_list_of_which_nobody_told_is_held_there(server: Broker, client: Client, raw: Raw) -> None:
    submitter = server.client()
    effects = key(client)
    for number in range(4):
        a_list(submitter).put(f"m-{number}", f"m-{number} body")
    raw.lmove("jobs", "taken:worker.1", "RIGHT", "LEFT")
    raw.lmove("jobs", "done", "RIGHT", "LEFT")
    raw.rpop("jobs")
    raw.lpush("history", "m-0", "m-1")
    raw.lpush("taken:worker.1", "somebody else's")
    queue = a_list(client)
    expected = [Told(text="m-0 body", state=HELD, by="taken:worker.1"), Told(text="m-3 body", state=READY)]
    assert queue.told(10) == expected
    assert queue.take_rest(10) == expected
    assert len(queue.take_rest(1)) == 1
    assert effects.new() == ["m-1 body"]
    assert a_list(client, processing="processing:*").told(10) == expected[1:]
    submitter.close()


def test_among_lists_of_others_a_job_is_looked_for_only_where_the_queue_is_named(client: Client, raw: Raw) -> None:
    queue = client.queue(QueueSpec(form="list", name="jetable_m[1]_jobs"))
    for number in range(3):
        queue.put(f"m-{number}", f"m-{number}")
    raw.lmove("jetable_m[1]_jobs", "taken", "RIGHT", "LEFT")
    raw.lmove("jetable_m[1]_jobs", "taken:jetable_m[1]_jobs:a", "RIGHT", "LEFT")
    assert queue.told(10) == [
        Told(text="m-1", state=HELD, by="taken:jetable_m[1]_jobs:a"),
        Told(text="m-2", state=READY),
    ]
    queue.remove()


def test_a_job_that_never_left_is_refused_and_one_without_an_answer_is_unknown(started: Callable[[Kind], Broker]) -> None:
    broker = started(REDIS)
    client = broker.client()
    queue = a_list(client)
    queue.put("m-0", "m-0")
    with redis.Redis.from_url(broker.url) as raw:
        raw.config_set("maxmemory", "1")
        with pytest.raises(PutRefusedError, match="maxmemory"):
            queue.put("m-1", "m-1")
        raw.config_set("maxmemory", "0")
        assert broker.process is not None
        raw.client_pause(20_000)
    began_s = time.monotonic()
    with pytest.raises(ServiceError) as caught:
        queue.put("m-2", "m-2")
    assert not isinstance(caught.value, PutRefusedError)
    assert time.monotonic() - began_s > 1
    broker.kill()
    with pytest.raises(PutRefusedError):
        queue.put("m-3", "m-3")
    broker.start()
    assert [told.text for told in queue.told(10)][-1] == "m-0"
    client.close()


def test_a_durable_server_keeps_what_it_confirmed_over_a_kill_and_a_client_finds_it_again(started: Callable[[Kind], Broker]) -> None:
    broker = started(REDIS)
    client = broker.client()
    queue = a_list(client)
    for number in range(50):
        queue.put(f"m-{number}", f"m-{number}")
    broker.kill()
    with pytest.raises(ServiceError):
        queue.look()
    broker.start()
    assert queue.look().ready == 50
    broker.stop()
    broker.start()
    assert queue.look().ready == 50
    client.close()


def test_a_password_that_is_wrong_is_a_refusal_and_never_shown(started: Callable[[Kind], Broker]) -> None:
    broker = started(REDIS)
    with redis.Redis.from_url(broker.url) as raw:
        raw.config_set("requirepass", "secret")
    client = REDIS.open(broker.url.replace("://", "://:wrongword@"))
    with pytest.raises(PutRefusedError) as caught:
        a_list(client).put("m-0", "m-0")
    assert "wrongword" not in str(caught.value)
    client.close()


@pytest.mark.parametrize(
    ("form", "options", "what"),
    [
        ("list", {"procesing": "x:*"}, "is no option of the form list"),
        ("list", {"processing": "jobs:processing"}, "must have one"),
        ("list", {"push": "up"}, "left, right"),
        ("stream", {"claim_after": 5}, "needs a unit"),
        ("rq", {}, "task: module.function"),
        ("rq", {"task": "a.b", "retry": "often"}, "must be a number"),
        ("celery", {}, "not which task"),
        ("celery", {"task": "work", "visibility_timeout": 5}, "needs a unit"),
    ],
)
def test_an_option_that_can_not_be_used_is_named(client: Client, form: str, options: dict[str, str | int | bool], what: str) -> None:
    with pytest.raises(KeyOfScenarioError, match=what):
        client.queue(QueueSpec(form=form, name="jobs", options=options))


def test_jobs_of_rq_are_put_as_rq_does_and_looked_at_where_it_keeps_them(client: Client, raw: Any) -> None:
    pytest.importorskip("rq")
    queue = client.queue(QueueSpec(form="rq", name="mail", options={"task": "builtins.print", "retry": 2, "timeout": "30s"}))
    queue.declare()
    queue.put("m-0", '{"id": "m-0"}')
    queue.put("m-1", '{"id": "m-1"}')
    queue.put("m-2", '{"id": "m-2"}')
    assert queue.look() == Look(ready=3, held=0)
    assert raw.lmove("rq:queue:mail", "rq:queue:mail:intermediate", "RIGHT", "LEFT") == "m-2"
    raw.lrem("rq:queue:mail", 1, "m-0")
    raw.zadd("rq:wip:mail", {"m-0:execution": time.time() + 60})
    raw.hset("rq:job:m-0", "worker_name", "worker.1")
    raw.zadd("rq:failed:mail", {"m-9": time.time() + 60})
    assert queue.look() == Look(ready=1, held=1, set_aside=1)
    held, failed, coming, ready = queue.told(10)
    assert (held.text, held.state, held.by) == ("m-0", HELD, "worker.1")
    assert held.until_s is not None
    assert 50 < held.until_s <= 61
    assert (failed.text, failed.state) == ("m-9", SET_ASIDE)
    assert (coming.text, coming.state) == ("m-2", HELD)
    assert (ready.text, ready.state) == ("m-1", READY)
    queue.remove()
    assert raw.keys() == []


def test_what_workers_of_rq_leave_of_themselves_goes_with_their_queue_and_others_stay(client: Client, raw: Any) -> None:
    rq = pytest.importorskip("rq")
    with redis.Redis.from_url(client._link.url) as library:  # type: ignore[attr-defined]  # the tests' server
        names = {"worker.1": ["mail"], "worker.2": ["mail", "news"], "worker.3": ["news"]}
        for name, queues in names.items():
            rq.Worker(queues, name=name, connection=library).register_birth()
    queue = client.queue(QueueSpec(form="rq", name="mail", options={"task": "builtins.print"}))
    queue.put("m-0", "m-0")
    raw.zadd("rq:wip:mail", {"m-0:one": time.time() + 60})
    raw.hset("rq:execution:m-0:one", "id", "one")
    raw.zadd("rq:worker:worker.1:executions", {"m-0:one": time.time() + 60})
    assert raw.scard("rq:workers:mail") == 2
    queue.remove()
    assert raw.smembers("rq:workers") == raw.smembers("rq:workers:news") == {"rq:worker:worker.3"}
    assert sorted(raw.keys()) == ["rq:worker:worker.3", "rq:workers", "rq:workers:news"]


RECEIVER = """
import sys, kombu
with kombu.Connection(sys.argv[1]) as connection:
    consumer = kombu.Consumer(connection, [kombu.Queue("mail", routing_key="mail")], accept=["json"], prefetch_count=1)
    consumer.register_callback(lambda body, message: print(message.headers["id"], body[0][0], flush=True))
    with consumer:
        connection.drain_events(timeout=20)
        sys.stdin.readline()
"""


def test_jobs_of_celery_are_read_by_its_own_transport(client: Client, raw: Any, server: Broker) -> None:
    pytest.importorskip("kombu")
    queue = client.queue(QueueSpec(form="celery", name="mail", options={"task": "work", "visibility_timeout": "60s"}))
    queue.declare()
    for number in range(3):
        queue.put(f"m-{number}", f'{{"id": "m-{number}"}}')
    assert queue.look() == Look(ready=3, held=0)
    argv = [sys.executable, "-c", RECEIVER, server.url]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as receiver:
        try:
            assert receiver.stdout is not None
            assert receiver.stdout.readline() == 'm-0 {"id": "m-0"}\n'
            look = queue.look()
            assert (look.ready + look.held, look.held >= 1) == (3, True)
            held = queue.told(10)[0]
            assert ("m-0" in held.text, held.state) == (True, HELD)
            assert held.until_s is not None
            assert 50 < held.until_s <= 61
            receiver.communicate("go on\n", timeout=30)  # closed in order, so what is not acknowledged goes back
        finally:
            receiver.kill()
    assert queue.look() == Look(ready=3, held=0)
    queue.remove()
    assert raw.keys("*mail*") == []


def test_a_key_tells_what_it_holds(client: Client, raw: Raw) -> None:
    assert isinstance(client, Keys)
    raw.set("text", "ü")
    raw.hset("hash", mapping={"a": "1", "b": "2"})
    raw.sadd("set", "b", "a")
    raw.rpush("list", "b", "a", "b")
    raw.zadd("sorted", {"b": 1, "a": 2})
    raw.xadd("stream", {"a": "1"})
    assert client.held("text") == Held(value="ü")
    assert client.held("hash") == Held(fields={"a": "1", "b": "2"})
    assert client.held("set") == Held(items=("a", "b"))
    assert client.held("list") == Held(items=("b", "a", "b"))
    assert client.held("sorted") == Held(items=("b", "a"))
    assert client.held("none") == Held()
    with pytest.raises(ServiceError, match="the key stream is a stream, which holds no state"):
        client.held("stream")
