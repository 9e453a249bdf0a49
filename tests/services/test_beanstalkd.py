"""A tube of a real beanstalkd, and the words for what it refuses and for what nobody knows."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.errors import KeyOfScenarioError
from harness.job_history import DELAYED, HELD, READY, SET_ASIDE
from harness.services import beanstalkd as module
from harness.services.base import Client, DoneSpec, Kind, Look, PutRefusedError, Queue, QueueSpec, ServiceError, TellsAbsence, Told
from harness.services.beanstalkd import BEANSTALKD
from tests.services.brokers import Broker, free_port, until

greenstalk = pytest.importorskip("greenstalk")

BOUND_S = 20.0

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def shared(started_for_module: Callable[[Kind], Broker]) -> Broker:
    return started_for_module(BEANSTALKD)


@pytest.fixture
def client(shared: Broker) -> Iterator[Client]:
    """A client of the shared beanstalkd."""
    one = shared.client()
    yield one
    one.close()


@pytest.fixture
def tube(client: Client, request: pytest.FixtureRequest) -> Queue:
    """A tube of the test's own, whose jobs may be held for a minute."""
    return client.queue(QueueSpec(form="tube", name=name_of(request)))


def name_of(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)[:100]


@pytest.fixture
def worker(shared: Broker, request: pytest.FixtureRequest) -> Iterator[greenstalk.Client]:
    """Somebody who takes jobs from that tube."""
    one = greenstalk.Client(("127.0.0.1", shared.port), use=name_of(request), watch=name_of(request))
    yield one
    one.close()


def is_ready(client: Client) -> bool:
    try:
        return bool(client.ready())
    except ServiceError:
        return False


def told_of(queue: Queue, limit: int = 100) -> dict[str, Told]:
    told = queue.told(limit)
    assert told is not None
    return {each.text: each for each in told}


def test_it_tells_its_version_and_has_a_url(shared: Broker, client: Client) -> None:
    assert client.ready().startswith("1.")
    assert shared.url == f"beanstalk://127.0.0.1:{shared.port}"
    assert BEANSTALKD.own(shared.url, "abc") == shared.url


def test_a_job_is_counted_where_it_is(tube: Queue, worker: greenstalk.Client) -> None:
    tube.declare()
    assert tube.look() == Look(ready=0, held=0)
    for number in range(4):
        tube.put(f"m-{number}", f"m-{number}")
    assert tube.look() == Look(ready=4, held=0)
    worker.reserve(0)
    worker.bury(worker.reserve(0))
    worker.release(worker.reserve(0), delay=50)
    assert tube.look() == Look(ready=1, held=1, delayed=1, set_aside=1)


def test_each_job_that_is_left_is_told_with_what_became_of_it(tube: Queue, worker: greenstalk.Client) -> None:
    for number in range(5):
        tube.put(f"m-{number}", f"m-{number}")
    worker.delete(worker.reserve(0))
    worker.release(worker.reserve(0), delay=50)
    worker.bury(worker.reserve(0))
    worker.release(worker.reserve(0))
    worker.reserve(0)
    told = told_of(tube)
    assert {text: each.state for text, each in told.items()} == {"m-1": DELAYED, "m-2": SET_ASIDE, "m-3": HELD, "m-4": READY}
    assert told["m-3"].deliveries == 2
    assert told["m-3"].redelivered
    assert told["m-3"].until_s is not None
    assert 30 < told["m-3"].until_s <= 60
    assert told["m-1"].until_s is not None
    assert 20 < told["m-1"].until_s <= 50
    assert told["m-2"].until_s is None
    assert not told["m-4"].deliveries
    assert not told["m-4"].redelivered


def test_jobs_that_somebody_else_has_put_are_found_by_their_ids(tube: Queue, worker: greenstalk.Client) -> None:
    ids = [worker.put(f"m-{number}") for number in range(10)]
    for number in ids[:4]:
        worker.delete(number)
    assert sorted(told_of(tube)) == [f"m-{number}" for number in range(4, 10)]


def test_another_client_finds_the_jobs_that_one_has_put(shared: Broker, tube: Queue, request: pytest.FixtureRequest) -> None:
    tube.put("m-0", "m-0")
    other = shared.client()
    assert list(told_of(other.queue(QueueSpec(form="tube", name=name_of(request))))) == ["m-0"]
    other.close()


def test_no_more_are_told_than_were_asked_for(tube: Queue) -> None:
    for number in range(9):
        tube.put(f"m-{number}", f"m-{number}")
    assert len(told_of(tube, limit=3)) == 3


def test_jobs_that_are_not_found_in_time_are_looked_at_and_given_back(
    tube: Queue, worker: greenstalk.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        worker.put(f"m-{number}")
    worker.bury(worker.reserve(0))
    worker.release(worker.reserve(0))
    monkeypatch.setattr(tube, "told", lambda _limit: None)
    rest = {each.text: each for each in tube.take_rest(100)}
    assert {text: each.state for text, each in rest.items()} == {"m-0": SET_ASIDE, **{f"m-{number}": READY for number in range(1, 5)}}
    assert rest["m-1"].deliveries == 1
    until(lambda: tube.look() == Look(ready=4, held=0, set_aside=1), within_s=BOUND_S)
    worker.reserve(0)
    with pytest.raises(ServiceError, match="shows 4 of the 5 jobs"):
        tube.take_rest(100)


def test_a_search_that_takes_too_long_says_that_it_can_not_list(tube: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    tube.put("m-0", "m-0")
    monkeypatch.setattr(module, "TIMEOUT_S", 0.0)
    assert tube.told(10) is None


def test_what_is_left_is_told_without_taking_it_out(tube: Queue) -> None:
    tube.put("m-0", "m-0")
    assert [each.text for each in tube.take_rest(10)] == ["m-0"]
    assert tube.look().ready == 1


def test_a_jobs_own_time_and_priority_come_from_the_options(
    client: Client, worker: greenstalk.Client, request: pytest.FixtureRequest
) -> None:
    client.queue(QueueSpec(form="tube", name=name_of(request), options={"ttr": 7, "priority": 3, "delay": 40})).put("m-0", "m-0")
    stats = worker.stats_job(worker.peek_delayed())
    assert (stats["ttr"], stats["pri"], stats["delay"]) == (7, 3, 40)


def test_removing_a_tube_deletes_what_nobody_holds(tube: Queue, worker: greenstalk.Client) -> None:
    for number in range(4):
        tube.put(f"m-{number}", f"m-{number}")
    worker.bury(worker.reserve(0))
    worker.release(worker.reserve(0), delay=50)
    tube.remove()
    assert tube.look() == Look(ready=0, held=0)
    tube.put("m-4", "m-4")
    held = worker.reserve(0)
    with pytest.raises(ServiceError, match=r"1 jobs of the tube .* are reserved by others"):
        tube.remove()
    worker.delete(held)


def test_results_are_taken_out_and_each_is_told_once(client: Client, worker: greenstalk.Client, request: pytest.FixtureRequest) -> None:
    results = client.effects(DoneSpec(kind="queue", name=name_of(request)))
    assert isinstance(results, TellsAbsence)
    assert list(results.new()) == []
    assert results.absent == f"nothing was ever in the tube {name_of(request)}"
    for text in ("m-1", "m-2", "m-1"):
        worker.put(text)
    assert list(results.new()) == ["m-1", "m-2", "m-1"]
    assert list(results.new()) == []
    assert results.absent == ""
    worker.put("m-3")
    results.remove()
    assert list(results.new()) == []
    assert results.counts


def test_a_result_whose_deletion_was_not_confirmed_is_not_told_twice(
    client: Client, worker: greenstalk.Client, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = client.effects(DoneSpec(kind="queue", name=name_of(request)))
    worker.put("m-1")

    def lost(_number: int) -> None:
        client.close()
        raise ServiceError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(client, "delete", lost)
        patch.setattr(module, "_MOST_AT_ONCE", 1)
        assert list(results.new()) == ["m-1"]
    until(lambda: worker.stats_tube(name_of(request))["current-jobs-reserved"] == 0, within_s=BOUND_S)
    assert list(results.new()) == []
    assert worker.stats_tube(name_of(request))["current-jobs-ready"] == 0


def test_a_job_that_is_too_big_is_refused_and_the_next_is_not(tube: Queue) -> None:
    with pytest.raises(PutRefusedError, match="bigger than it takes"):
        tube.put("m-0", "m-0" + 70_000 * "x")
    tube.put("m-1", "m-1")
    assert list(told_of(tube)) == ["m-1"]


def test_a_service_that_is_away_refuses_and_is_found_again_with_its_jobs(started: Callable[[Kind], Broker]) -> None:
    broker = started(BEANSTALKD)
    client = broker.client()
    queue = client.queue(QueueSpec(form="tube", name="jobs"))
    queue.put("m-0", "m-0")
    with greenstalk.Client(("127.0.0.1", broker.port), watch="jobs") as worker:
        worker.reserve(0)
        assert told_of(queue)["m-0"].deliveries == 1
        broker.kill()
    with pytest.raises(PutRefusedError, match=r"beanstalkd at 127\.0\.0\.1:\d+: Connection refused"):
        queue.put("m-1", "m-1")
    with pytest.raises(ServiceError, match="Connection refused"):
        queue.look()
    broker.start()
    queue.put("m-2", "m-2")
    told = told_of(queue)
    assert list(told) == ["m-0", "m-2"]
    assert told["m-0"].deliveries == 0, "beanstalkd now keeps over a restart how often a job was reserved: mend what the module says of it"
    broker.stop()
    broker.start()
    assert sorted(told_of(queue)) == ["m-0", "m-2"]
    client.close()


def test_a_service_in_drain_mode_is_not_ready_and_refuses(started: Callable[[Kind], Broker]) -> None:
    broker = started(BEANSTALKD)
    client = broker.client()
    queue = client.queue(QueueSpec(form="tube", name="jobs"))
    queue.declare()
    assert broker.process is not None
    os.kill(broker.process.pid, signal.SIGUSR1)
    until(lambda: not is_ready(client), within_s=BOUND_S)
    with pytest.raises(ServiceError, match="drain mode"):
        client.ready()
    with pytest.raises(PutRefusedError, match="drain mode"):
        queue.put("m-0", "m-0")
    client.close()


class Stub:
    """A server that gives the answers that it was made with, in their order, and then closes the connection."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(BOUND_S)
        self.url = f"beanstalk://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(BOUND_S)
        with connection, connection.makefile("rb") as lines:
            for answer in self._answers:
                if lines.readline().startswith(b"put "):
                    lines.readline()
                connection.sendall(answer)
                if not answer.endswith(b"\r\n"):
                    return
            lines.readline()

    def close(self) -> None:
        self._thread.join(BOUND_S)
        self._listener.close()


AT_HAND = (b"USING jobs\r\n", b"WATCHING 2\r\n", b"WATCHING 1\r\n")


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"OUT_OF_MEMORY\r\n", PutRefusedError, "no memory, or no room"),
        (b"EXPECTED_CRLF\r\n", PutRefusedError, "the end of the job"),
        (b"BURIED 7\r\n", ServiceError, "buried it"),
        (b"INTERNAL_ERROR\r\n", ServiceError, "internal error"),
        (b"INSER", ServiceError, "ended in the middle"),
        (b"", ServiceError, "EOF|reset"),
        (b"NONSENSE 1\r\n", ServiceError, "NONSENSE"),
    ],
)
def test_an_answer_that_is_no_yes_is_a_no_only_where_that_is_sure(answer: bytes, kind: type[Exception], words: str) -> None:
    stub = Stub(*AT_HAND, answer)
    client = BEANSTALKD.open(stub.url)
    with pytest.raises(ServiceError, match=words) as raised:
        client.queue(QueueSpec(form="tube", name="jobs")).put("m-0", "m-0")
    assert type(raised.value) is kind
    client.close()
    stub.close()


def test_no_call_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = BEANSTALKD.open(f"beanstalk://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ServiceError, match=r"no answer within 0\.1 s"):
            client.ready()
        client.close()


def test_a_host_that_never_was_there_is_told_in_one_line() -> None:
    client = BEANSTALKD.open(f"beanstalk://127.0.0.1:{free_port()}")
    with pytest.raises(ServiceError, match="Connection refused") as raised:
        client.ready()
    assert "\n" not in str(raised.value)


def test_it_can_not_cut_its_clients_off(client: Client) -> None:
    with pytest.raises(ServiceError, match="can't be told"):
        client.cut_connections()


@pytest.mark.parametrize(
    ("options", "key", "words"),
    [
        ({"tttr": 3}, "tttr", "no option .tttr.; there is .* and .ttr. .did you mean .ttr."),
        ({"ttr": 0}, "ttr", "from 1 to 4294967295, not .0."),
        ({"priority": "high"}, "priority", "not .high."),
        ({"delay": True}, "delay", "whole number"),
    ],
)
def test_an_option_that_can_not_be_used_is_named(options: dict[str, str | int | bool], key: str, words: str) -> None:
    client = BEANSTALKD.open("beanstalk://127.0.0.1")
    with pytest.raises(KeyOfScenarioError, match=words) as raised:
        client.queue(QueueSpec(form="tube", name="jobs", options=options))
    assert raised.value.key == ("jobs", "options", key)


def test_a_name_that_no_tube_can_have_is_named() -> None:
    client = BEANSTALKD.open("beanstalk://127.0.0.1")
    with pytest.raises(KeyOfScenarioError, match="no name for a tube"):
        client.queue(QueueSpec(form="tube", name="a:b"))
    with pytest.raises(KeyOfScenarioError, match="beanstalkd has no key; write queue:"):
        client.effects(DoneSpec(kind="key", name="done"))


def test_what_it_is_started_with_depends_on_whether_it_keeps_jobs() -> None:
    durable, forgetful = BEANSTALKD.launch(durable=True), BEANSTALKD.launch(durable=False)
    assert durable is not None
    assert forgetful is not None
    assert durable.argv[-4:] == ("-b", "{folder}", "-f", "0")
    assert durable.volume == durable.command[-3] == "/data"
    assert "-b" not in (*forgetful.argv, *forgetful.command)
    assert not forgetful.volume
    assert BEANSTALKD.url("h", 5, Path("/x")) == "beanstalk://h:5"
