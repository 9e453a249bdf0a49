"""RabbitMQ as a service: queues, confirms, what its management plugin tells, and results, each on a real broker."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import harness.services.rabbitmq as module
import harness.services.rabbitmq_api as api
import harness.services.rabbitmq_wire as wire
from harness.errors import KeyOfScenarioError
from harness.job_history import READY, SET_ASIDE
from harness.services import KINDS
from harness.services.base import Client, DoneSpec, Kind, Look, PutRefusedError, Queue, QueueSpec, ServiceError, TellsAbsence
from harness.services.rabbitmq import RABBITMQ
from tests.services.brokers import Broker, free_port, until

pika = pytest.importorskip("pika")

OTHER_PROGRAM = """
import pika, sys
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
print("connected", flush=True)
try:
    connection.process_data_events(30)
except pika.exceptions.ConnectionClosedByBroker:
    print("cut", flush=True)
"""

slow = [pytest.mark.slow, pytest.mark.live]


@pytest.fixture(scope="module")
def broker(started_for_module: Callable[[Kind], Broker]) -> Broker:
    return started_for_module(RABBITMQ)


@pytest.fixture
def client(broker: Broker) -> Iterator[Client]:
    with closing(broker.client()) as opened:
        yield opened


@pytest.fixture
def app(broker: Broker) -> Iterator[Any]:
    """A channel of another program."""
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    yield connection.channel()
    if connection.is_open:
        connection.close()


@pytest.fixture
def queue(client: Client, request: pytest.FixtureRequest) -> Queue:
    made = client.queue(QueueSpec(form="classic", name=name_of(request)))
    made.declare()
    return made


def name_of(request: pytest.FixtureRequest) -> str:
    return f"q-{request.node.name[:60]}"


def publish_into(app: Any, queue: str, *texts: str) -> None:
    app.queue_declare(queue, durable=True)
    app.confirm_delivery()
    for text in texts:
        app.basic_publish("", queue, text.encode())


def await_look(queue: Queue, expected: Look) -> None:
    deadline = time.monotonic() + 30
    while (look := queue.look()) != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert look == expected


def await_cut(client: Client, number: int) -> None:
    """Cut until so many are cut at once: the broker tells a little late that a connection has come, and that one has gone."""
    until(lambda: client.cut_connections() == number, f"it cuts {number} connections", within_s=30)


class TestOnABroker:
    """Tests that share one broker, each with a queue of its own."""

    pytestmark = slow

    def test_it_says_its_version(self, client: Client) -> None:
        assert KINDS["rabbitmq"] is RABBITMQ
        assert client.ready().startswith("3.")

    def test_it_starts_nothing_that_others_could_use_or_that_could_outlive_it(self, broker: Broker) -> None:
        assert broker.process is not None
        family = psutil.Process(broker.process.pid).children(recursive=True)
        assert "beam" in psutil.Process(broker.process.pid).name()
        for child in family:
            with suppress(psutil.NoSuchProcess):  # it asks now and then how much room is left, by a program that ends at once
                assert "epmd" not in child.name()
        listening = {link.laddr for link in psutil.Process(broker.process.pid).net_connections("tcp") if link.status == "LISTEN"}
        assert listening == {("127.0.0.1", broker.port), (api.OWN_HOST, broker.port)}

    @pytest.mark.parametrize("form", ["classic", "quorum"])
    def test_jobs_are_counted_by_what_workers_may_do_with_them(
        self, client: Client, app: Any, form: str, request: pytest.FixtureRequest
    ) -> None:
        queue = client.queue(QueueSpec(form=form, name=name_of(request)))
        queue.declare()
        queue.declare()
        assert queue.look() == Look(ready=0, held=0)
        for number in range(5):
            queue.put(f"m-{number}", f"m-{number}")
        await_look(queue, Look(ready=5, held=0))
        taken, properties, body = app.basic_get(name_of(request))
        assert body == b"m-0"
        assert properties.delivery_mode == 2
        app.basic_get(name_of(request))
        await_look(queue, Look(ready=3, held=2))
        assert queue.told(10) is None
        app.basic_ack(taken.delivery_tag)
        app.connection.close()
        await_look(queue, Look(ready=4, held=0))
        rest = queue.take_rest(10)
        assert sorted(told.text for told in rest) == ["m-1", "m-2", "m-3", "m-4"]
        assert {told.text for told in rest if told.redelivered} == {"m-1"}
        assert {told.state for told in rest} == {READY}
        if form == "quorum":
            assert {told.text: told.deliveries for told in rest}["m-1"] == 1
        await_look(queue, Look(ready=0, held=0))
        assert queue.look().empty
        queue.remove()
        with pytest.raises(ServiceError, match="no queue"):
            queue.look()

    def test_a_queue_is_never_called_empty_while_a_job_is_in_somebodys_hand(
        self, queue: Queue, app: Any, request: pytest.FixtureRequest
    ) -> None:
        for number in range(10):
            queue.put(f"m-{number}", f"m-{number}")
            method, _, _ = app.basic_get(name_of(request))
            assert not queue.look().empty
            app.basic_ack(method.delivery_tag)

    def test_what_died_too_often_is_in_the_queue_of_dead_letters(self, client: Client, app: Any, request: pytest.FixtureRequest) -> None:
        name = name_of(request)
        queue = client.queue(QueueSpec(form="quorum", name=name, options={"delivery_limit": 1, "dead_letter": f"{name}.dead"}))
        queue.declare()
        queue.put("m-0", "m-0")
        for _ in range(2):
            deadline = time.monotonic() + 10
            while (got := app.basic_get(name))[0] is None and time.monotonic() < deadline:
                time.sleep(0.01)
            app.basic_nack(got[0].delivery_tag)
        await_look(queue, Look(ready=0, held=0, set_aside=1))
        assert queue.look().empty
        (told,) = queue.take_rest(10)
        assert (told.text, told.state, told.by) == ("m-0", SET_ASIDE, "dead-lettered: delivery_limit")
        queue.remove()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            app.queue_declare(f"{name}.dead", passive=True)

    def test_a_queue_of_dead_letters_that_was_there_is_left(self, client: Client, app: Any, request: pytest.FixtureRequest) -> None:
        name = name_of(request)
        app.queue_declare(f"{name}.dead", durable=True, arguments={"x-max-length": 3})
        queue = client.queue(QueueSpec(form="classic", name=name, options={"dead_letter": f"{name}.dead"}))
        queue.declare()
        queue.remove()
        assert app.queue_declare(f"{name}.dead", passive=True).method.message_count == 0

    def test_a_queue_of_dead_letters_that_holds_messages_of_others_is_refused_and_left_as_it_is(
        self, broker: Broker, client: Client, app: Any, request: pytest.FixtureRequest
    ) -> None:
        name = name_of(request)
        publish_into(app, f"{name}.dead", "theirs-0", "theirs-1")
        app.queue_declare(name, durable=True)
        spec = QueueSpec(form="classic", name=name, options={"dead_letter": f"{name}.dead"})
        for _ in range(2):
            with pytest.raises(ServiceError, match="holds messages of others; name another one"):
                client.queue(spec).declare()
        with closing(broker.client()) as other:
            queue = other.queue(spec)
            assert queue.take_rest(10) == []
            queue.remove()
        assert app.queue_declare(f"{name}.dead", passive=True).method.message_count == 2

    def test_out_of_the_dead_letters_of_others_only_what_died_in_the_own_queue_is_taken(
        self, broker: Broker, client: Client, app: Any, request: pytest.FixtureRequest
    ) -> None:
        name = name_of(request)
        publish_into(app, f"{name}.dead")
        spec = QueueSpec(form="classic", name=name, options={"dead_letter": f"{name}.dead"})
        declarer = client.queue(spec)
        declarer.declare()
        publish_into(app, f"{name}.dead", "theirs-0")
        for number in range(2):
            declarer.put(f"m-{number}", f"m-{number}")
            app.basic_reject(app.basic_get(name)[0].delivery_tag, requeue=False)
        await_look(declarer, Look(ready=0, held=0, set_aside=3))
        publish_into(app, f"{name}.dead", "theirs-1")
        declarer.declare()
        with closing(broker.client()) as other:
            queue = other.queue(spec)
            assert [told.text for told in queue.take_rest(1)] == ["m-0"]
            assert [told.text for told in queue.take_rest(10)] == ["m-1"]
            queue.remove()
        assert [app.basic_get(f"{name}.dead", auto_ack=True)[2] for _ in range(3)] == [b"theirs-0", b"theirs-1", None]

    def test_a_queue_of_dead_letters_that_one_object_made_is_emptied_and_removed_by_another(
        self, broker: Broker, client: Client, app: Any, request: pytest.FixtureRequest
    ) -> None:
        name = name_of(request)
        spec = QueueSpec(form="classic", name=name, options={"dead_letter": f"{name}.dead"})
        client.queue(spec).declare()
        publish_into(app, f"{name}.dead", "m-0")
        client.queue(spec).declare()
        with closing(broker.client()) as other:
            queue = other.queue(spec)
            assert [told.text for told in queue.take_rest(10)] == ["m-0"]
            queue.remove()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            app.queue_declare(f"{name}.dead", passive=True)

    def test_a_queue_that_others_made_otherwise_is_told(self, client: Client, app: Any, request: pytest.FixtureRequest) -> None:
        app.queue_declare(name_of(request), durable=False, auto_delete=True)
        queue = client.queue(QueueSpec(form="classic", name=name_of(request)))
        with pytest.raises(ServiceError, match="PRECONDITION_FAILED"):
            queue.declare()

    def test_a_put_without_a_queue_is_refused(self, client: Client, request: pytest.FixtureRequest) -> None:
        queue = client.queue(QueueSpec(form="classic", name=name_of(request)))
        with pytest.raises(PutRefusedError, match="there is no queue"):
            queue.put("m-0", "m-0")
        queue.declare()
        queue.put("m-0", "m-0")

    def test_a_put_into_a_full_queue_is_refused(self, client: Client, request: pytest.FixtureRequest) -> None:
        options: dict[str, str | int | bool] = {"x-max-length": 1, "x-overflow": "reject-publish"}
        queue = client.queue(QueueSpec(form="classic", name=name_of(request), options=options))
        queue.declare()
        queue.put("m-0", "m-0")
        with pytest.raises(PutRefusedError, match="did not take"):
            queue.put("m-1", "m-1")

    def test_results_are_handed_out_once_each(self, client: Client, app: Any, request: pytest.FixtureRequest) -> None:
        effects = client.effects(DoneSpec(kind="queue", name=name_of(request)))
        assert isinstance(effects, TellsAbsence)
        assert effects.new() == []
        assert effects.absent == f"there is no queue {name_of(request)}"
        app.queue_declare(name_of(request), durable=True)
        assert effects.new() == []
        assert effects.absent == ""
        publish_into(app, name_of(request), "m-0", "m-1", "m-0")
        assert effects.new() == ["m-0", "m-1", "m-0"]
        assert effects.new() == []
        assert effects.counts
        effects.remove()
        assert effects.new() == []
        assert effects.absent == ""

    def test_a_result_that_comes_again_because_nobody_knew_that_it_had_come_counts_once(
        self, client: Client, app: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = name_of(request)
        effects = client.effects(DoneSpec(kind="queue", name=name))
        app.queue_declare(name, durable=True)
        app.confirm_delivery()
        for text in ("m-0", "m-1"):
            app.basic_publish("", name, text.encode())

        def broken(channel: Any, _queue: str) -> int:
            channel.connection.close()
            raise pika.exceptions.StreamLostError("cut")

        with monkeypatch.context() as patched:
            patched.setattr(module, "_count", broken)
            patched.setattr("pika.adapters.blocking_connection.BlockingChannel.basic_ack", lambda *_args, **_words: None)
            assert effects.new() == ["m-0", "m-1"]
        app.basic_publish("", name, b"m-0")
        assert effects.new() == ["m-0"]

    def test_connections_of_others_are_cut_and_those_of_the_harness_stay(self, broker: Broker, client: Client, queue: Queue) -> None:
        queue.put("m-0", "m-0")
        await_cut(client, 0)
        words = [sys.executable, "-c", OTHER_PROGRAM, broker.url]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == "connected\n"
            await_cut(client, 1)
            assert program.stdout.readline() == "cut\n"
        await_cut(client, 0)
        queue.put("m-1", "m-1")

    def test_connections_to_another_virtual_host_stay(self, broker: Broker, client: Client) -> None:
        link = http.client.HTTPConnection(api.OWN_HOST, broker.port, timeout=10)
        rights = json.dumps({"configure": ".*", "write": ".*", "read": ".*"})
        login = {"Authorization": "Basic " + b64encode(b"guest:guest").decode(), "Content-Type": "application/json"}
        for path, body in (("vhosts/another", "{}"), ("permissions/another/guest", rights)):
            link.request("PUT", f"/api/{path}", body, login)
            answer = link.getresponse()
            answer.read()
            assert answer.status < 300
        link.close()
        await_cut(client, 0)
        url = f"{broker.url}/another"
        with (
            closing(RABBITMQ.open(url)) as there,
            subprocess.Popen([sys.executable, "-c", OTHER_PROGRAM, url], stdout=subprocess.PIPE, text=True) as program,
        ):
            assert program.stdout is not None
            assert program.stdout.readline() == "connected\n"
            assert client.cut_connections() == 0
            await_cut(there, 1)
            assert program.stdout.readline() == "cut\n"

    def test_a_celery_task_is_put_as_celery_would(self, client: Client, app: Any, request: pytest.FixtureRequest) -> None:
        queue = client.queue(QueueSpec(form="celery", name=name_of(request), options={"task": "app.work"}))
        queue.declare()
        queue.put("m-0", "text")
        _, properties, body = app.basic_get(name_of(request))
        assert (properties.headers["task"], properties.headers["id"], properties.correlation_id) == ("app.work", "m-0", "m-0")
        assert (properties.content_type, body[:10]) == ("application/json", b'[["text"],')

    def test_a_login_that_is_refused_is_told_without_the_password(self, broker: Broker) -> None:
        with closing(RABBITMQ.open(f"amqp://guest:secret@127.0.0.1:{broker.port}")) as stranger:
            with pytest.raises(ServiceError, match="refuses the login") as raised:
                stranger.ready()
            assert "secret" not in str(raised.value)
        with closing(RABBITMQ.open(f"{broker.url}/nowhere")) as stranger, pytest.raises(ServiceError, match="virtual host"):
            stranger.ready()

    def test_without_the_management_plugin_nobody_knows_what_is_held(
        self, client: Client, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api, "OWN_HOST", "127.0.0.3")
        assert queue.look() == Look(ready=0, held=-1)
        with pytest.raises(ServiceError, match="rabbitmq-plugins enable"):
            client.cut_connections()

    def test_the_statistics_of_somebody_elses_broker_may_be_old(self, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(api, "OWN_NODE", "another")
        monkeypatch.setattr(api.Management, "held", lambda *_: (0, 0))
        assert queue.look().held == -1
        monkeypatch.setattr(module, "_FOREIGN_SETTLED_S", 0.0)
        assert queue.look() == Look(ready=0, held=0)


@pytest.mark.slow
@pytest.mark.live
def test_a_broker_that_is_killed_or_stopped_keeps_its_jobs_and_leaves_nothing_running(started: Callable[[Kind], Broker]) -> None:
    broker = started(RABBITMQ)
    with closing(broker.client()) as client:
        queues = [client.queue(QueueSpec(form=form, name=form)) for form in ("classic", "quorum")]
        for queue in queues:
            queue.declare()
            queue.put("m-0", "m-0")
        for end in (broker.kill, broker.stop):
            assert broker.process is not None
            family = psutil.Process(broker.process.pid).children(recursive=True)
            end()
            _, alive = psutil.wait_procs(family, timeout=10)
            assert not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]
            with pytest.raises(ServiceError):  # what was sent on the old connection is nobody's knowledge
                queues[0].put("m-1", "m-1")
            with pytest.raises(PutRefusedError, match="Connection refused"):
                queues[0].put("m-2", "m-2")
            broker.start()
            for queue in queues:
                await_look(queue, Look(ready=1, held=0))


def test_a_broker_that_answers_nothing_is_not_awaited_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent, closing(RABBITMQ.open(f"amqp://127.0.0.1:{silent.getsockname()[1]}")) as client:
        queue = client.queue(QueueSpec(form="classic", name="jobs"))
        with pytest.raises(PutRefusedError, match=r"no answer within 0\.1 s"):
            queue.put("m-0", "m-0")


def test_a_broker_that_never_was_there_is_told_in_one_line() -> None:
    with (
        closing(RABBITMQ.open(f"amqp://127.0.0.1:{free_port()}")) as client,
        pytest.raises(ServiceError, match="Connection refused") as raised,
    ):
        client.ready()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("form", "options", "key", "words"),
    [
        ("classic", {"delivery_limit": 3}, "delivery_limit", "a classic queue knows no option .delivery_limit."),
        ("quorum", {"delivry_limit": 3}, "delivry_limit", "did you mean .delivery_limit."),
        ("quorum", {"delivery_limit": "three"}, "delivery_limit", "whole number from 0, not .three."),
        ("quorum", {"dead_letter": "jobs"}, "dead_letter", "name of another queue"),
        ("celery", {"dead_letter": ""}, "dead_letter", "name of another queue"),
    ],
)
def test_an_option_that_can_not_be_used_is_named(form: str, options: dict[str, str | int | bool], key: str, words: str) -> None:
    with closing(RABBITMQ.open("amqp://127.0.0.1")) as client, pytest.raises(KeyOfScenarioError, match=words) as raised:
        client.queue(QueueSpec(form=form, name="jobs", options=options))
    assert raised.value.key == ("jobs", "options", key)


def test_what_it_can_not_do_is_named() -> None:
    with closing(RABBITMQ.open("amqp://127.0.0.1")) as client:
        with pytest.raises(KeyOfScenarioError, match="which task"):
            client.queue(QueueSpec(form="celery", name="jobs"))
        with pytest.raises(KeyOfScenarioError, match="RabbitMQ has no key; write queue:"):
            client.effects(DoneSpec(kind="key", name="done"))


def test_it_is_started_so_that_clients_know_it_for_the_runs_own() -> None:
    launch = RABBITMQ.launch(durable=True)
    assert launch is not None
    assert launch.environment["RABBITMQ_NODENAME"].startswith(api.OWN_NODE)
    assert launch.image_environment["RABBITMQ_NODENAME"].startswith(api.OWN_NODE)
    assert '[{ip,"127.0.0.2"},{port,{port}}]' in launch.environment["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"]
    assert RABBITMQ.url("h", 5, Path("/x")) == "amqp://guest:guest@h:5"
    assert RABBITMQ.own("amqp://h", "2fecf0") == "amqp://h"
