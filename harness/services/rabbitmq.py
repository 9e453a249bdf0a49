"""RabbitMQ: queues whose messages belong to a worker until it acknowledges them, or its connection ends; spoken to with pika.

``form: classic`` is a durable classic queue, ``form: quorum`` one that keeps its messages by consensus and counts deliveries. ``options:
{delivery_limit: 3, dead_letter: jobs.dead}`` say after how many failed deliveries a quorum queue drops a message, and to which queue it
then goes, which is declared as well; what is there counts as set aside. A queue of dead letters that others made is used when it is
empty, and only what died in the run's own queue is ever taken out of it. An option that begins with ``x-`` is an argument of the queue as
it stands. ``form: celery`` puts what Celery would (`harness.services.celery`) into a classic queue.

Jobs are put as persistent messages with the mandatory flag, each with a publisher's confirm of its own.

How many messages are not acknowledged only the management plugin tells. The run's own brokers have it, without the collection of metrics
that makes it slow. Its numbers are those of the last statistics, some 100 ms old; so `Queue.look` asks twice, longer than that apart,
before it says that nothing is left. Somebody else's broker has statistics that are up to 5 s old: there nothing is called empty before it
has been so for longer than that, and without the plugin nobody knows what workers hold.

RabbitMQ can't list messages without handing them out, which would count as a delivery; so what is left is taken out when all workers are
gone.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from harness.errors import KeyOfScenarioError
from harness.job_history import READY, SET_ASIDE
from harness.services.base import (
    Client,
    DoneSpec,
    Launch,
    Look,
    PutRefusedError,
    Queue,
    QueueSpec,
    ServiceEffects,
    ServiceError,
    Told,
    from_extra,
)
from harness.services.celery import CONTENT_ENCODING, CONTENT_TYPE, PERSISTENT, TASK, celery_body, celery_headers, task_of
from harness.services.rabbitmq_api import OWN_HOST, OWN_NODE, Management
from harness.services.rabbitmq_wire import NeverReachedError, NotThereError, Wire, hush
from harness.words import all_of, did_you_mean, quoted

if TYPE_CHECKING:
    from pika import BasicProperties
    from pika.adapters.blocking_connection import BlockingChannel
    from pika.spec import Basic

_PORT: Final = 5672
_STATISTICS_MS: Final = 100
_SETTLED_S: Final = 0.25
"""Statistics of an own broker that are asked for so long after something happened know of it."""

_FOREIGN_SETTLED_S: Final = 6.0
_BATCH: Final = 500
"""So many messages are taken out before they are acknowledged together."""

_LONG_S: Final = 2.0
"""No batch of results is begun after so long."""

_GROWN_UP_S: Final = 1.5
"""A node that is killed in the first second after a quorum queue was declared has forgotten where it keeps its messages, even those that it
had confirmed (seen with 3.10): its register of such queues is written when it was left alone for 500 ms. No fault should meet that by
chance."""

_DELIVERY_LIMIT: Final = "delivery_limit"
_DEAD_LETTER: Final = "dead_letter"
_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "classic": (_DEAD_LETTER,),
    "quorum": (_DELIVERY_LIMIT, _DEAD_LETTER),
    "celery": (TASK, _DEAD_LETTER),
}

_ARGUMENTS: Final = (
    f"-rabbit collect_statistics coarse collect_statistics_interval {_STATISTICS_MS} quorum_tick_interval {_STATISTICS_MS}"
    " loopback_users []"
    " -rabbitmq_management_agent disable_metrics_collector true"
    " -rabbitmq_management disable_management_stats true"
)
_LISTENER: Final = ' listener [{ip,"' + OWN_HOST + '"},{port,{port}}]'
_QUICK_END: Final = (
    " -eval spawn(fun()->rabbit:await_startup(),gen_event:delete_handler(rabbit_event,rabbit_mgmt_db_handler,[]),"
    "application:set_env(rabbit,collect_statistics,coarse)end)."
)
"""At SIGTERM this handler of the plugin asks a process that is itself about to end, and waits 5 s for its answer: it goes before."""


class _DeadLetters:
    """The queues of dead letters that were declared from here, whichever client did it, and whether that made them."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], bool] = {}

    def note(self, url: str, queue: str, *, made: bool) -> None:
        """It is used from now on; without ``made`` it was there, and empty."""
        self._made[url, queue] = made

    def known(self, url: str, queue: str) -> bool:
        """Whether it is used."""
        return (url, queue) in self._made

    def made(self, url: str, queue: str) -> bool:
        """Whether it would not be there without us."""
        return self._made.get((url, queue), False)

    def forget(self, url: str, queue: str) -> None:
        """It is used no more."""
        self._made.pop((url, queue), None)


class _RabbitMQ:
    """The kind; see `harness.services.base.Kind`."""

    name = "rabbitmq"
    extra = "rabbitmq"

    def __init__(self) -> None:
        self._dead_letters = _DeadLetters()

    def launch(self, *, durable: bool) -> Launch | None:  # noqa: ARG002  queues and messages are durable, or not, each for itself
        """One node that is no member of anything: it listens for no other nodes, and needs no epmd, which would outlive it.

        Debian's script in ``/usr/sbin`` would run it as somebody else in ``/var/lib``; the one that it calls does neither. With
        ``RUNNING_UNDER_SYSTEMD`` that one becomes the node, instead of a shell that waits for it. The port of other nodes has to be a
        free one although nothing uses it.
        """
        return Launch(
            argv=("/usr/lib/rabbitmq/bin/rabbitmq-server",),
            environment={
                "HOME": "{folder}",
                "RABBITMQ_NODENAME": OWN_NODE + "-{port}@localhost",
                "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                "RABBITMQ_NODE_PORT": "{port}",
                "RABBITMQ_DIST_PORT": "{port}",
                "RABBITMQ_MNESIA_BASE": "{folder}/data",
                "RABBITMQ_LOG_BASE": "{folder}/log",
                "RABBITMQ_LOGS": "-",
                "RABBITMQ_CONF_ENV_FILE": "/dev/null",
                "RABBITMQ_CONFIG_FILE": "{folder}/rabbitmq",
                "RABBITMQ_GENERATED_CONFIG_DIR": "{folder}/config",
                "RABBITMQ_ENABLED_PLUGINS": "rabbitmq_management",
                "RABBITMQ_ENABLED_PLUGINS_FILE": "{folder}/enabled_plugins",
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ARGUMENTS + _LISTENER + _QUICK_END,
                "RUNNING_UNDER_SYSTEMD": "true",
                "ERL_AFLAGS": "-sname jetable-{port}@localhost -start_epmd false -dist_listen false -erl_epmd_port {port}",
            },
            package="rabbitmq-server",
            image="rabbitmq:3",
            image_environment={
                "RABBITMQ_NODENAME": OWN_NODE + "@localhost",
                "RABBITMQ_ENABLED_PLUGINS": "rabbitmq_management",
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ARGUMENTS + _QUICK_END,
            },
            volume="/var/lib/rabbitmq",
            port=_PORT,
        )

    def url(self, host: str, port: int, folder: Path) -> str:  # noqa: ARG002  it is reached by its port
        """``amqp://guest:guest@127.0.0.1:5672``, whose virtual host is ``/``."""
        return f"amqp://guest:guest@{host}:{port}"

    def own(self, url: str, mark: str) -> str:  # noqa: ARG002  its queues have the mark in their names
        """The same: a virtual host of its own would need an administrator."""
        return url

    def open(self, url: str) -> Client:
        """A client of the broker at ``url``."""
        with from_extra("rabbitmq", "RabbitMQ needs the Python package pika"):
            import pika  # noqa: F401, PLC0415  only scenarios with this service need it
        hush()
        return _Client(url, self._dead_letters)


RABBITMQ: Final = _RabbitMQ()


class _Client:
    def __init__(self, url: str, dead_letters: _DeadLetters) -> None:
        self.wire = Wire(url)
        self.dead_letters = dead_letters
        self.management = Management(self.wire)

    def ready(self) -> str:
        """The server's version; it takes connections only when all else of it has started."""
        self.wire.call(lambda _channel: None)
        return str(self.wire.properties.get("version", ""))

    def cut_connections(self) -> int:
        """Close each connection to this virtual host that is not one of this process."""
        own = _own_ends()
        others = [name for name in self.management.connections() if _peer(name) not in own]
        for name in others:
            self.management.close(name)
        return len(others)

    def queue(self, spec: QueueSpec) -> Queue:
        """A classic or a quorum queue. Raises `harness.errors.KeyOfScenarioError` for an option that it can't have."""
        _check_options(spec)
        return _CeleryQueue(self, spec) if spec.form == "celery" else _AmqpQueue(self, spec)

    def effects(self, spec: DoneSpec) -> ServiceEffects:
        """The messages of a queue of results."""
        if spec.kind != "queue":
            raise KeyOfScenarioError(("jobs", "done", spec.kind), f"RabbitMQ has no {spec.kind}; write queue:")
        return _Results(self.wire, spec.name)

    def close(self) -> None:
        """End the connection."""
        self.wire.close()


class _AmqpQueue:
    def __init__(self, client: _Client, spec: QueueSpec) -> None:
        self._wire = client.wire
        self._management = client.management
        self._dead_letters = client.dead_letters
        self._name = spec.name
        self._options = spec.options
        self._dead_letter = str(spec.options.get(_DEAD_LETTER, ""))
        self._arguments = _queue_arguments(spec)
        self._properties = _persistent()
        self._young = spec.form == "quorum"
        self._not_empty_s = time.monotonic()

    def declare(self) -> None:
        """Declare it, and the queue of its dead letters unless that is there already, which then has to be empty."""
        if self._dead_letter:
            self._declare_dead_letter()
        self._wire.call(lambda channel: channel.queue_declare(self._name, durable=True, arguments=dict(self._arguments)))
        if self._young:
            time.sleep(_GROWN_UP_S)
            self._young = False

    def beside(self) -> Sequence[str]:
        """The queue of dead letters, unless it is there."""
        if not self._dead_letter:
            return ()
        try:
            self._wire.call(lambda channel: _count(channel, self._dead_letter))
        except NotThereError:
            return (self._dead_letter,)
        return ()

    def made_beside(self, names: Sequence[str]) -> None:
        """The queue of dead letters would not be there without us."""
        for name in names:
            self._dead_letters.note(self._wire.url, name, made=True)

    def _declare_dead_letter(self) -> None:
        try:
            waiting = self._wire.call(lambda channel: _count(channel, self._dead_letter))
        except NotThereError:
            self._dead_letters.note(self._wire.url, self._dead_letter, made=True)  # first, as the answer may be lost
            self._wire.call(lambda channel: channel.queue_declare(self._dead_letter, durable=True))
            return
        if self._dead_letters.known(self._wire.url, self._dead_letter):
            return
        if waiting:
            where = f"{self._wire.where}: the queue of dead letters {quoted(self._dead_letter)}"
            raise ServiceError(f"{where} holds messages of others; name another one")
        self._dead_letters.note(self._wire.url, self._dead_letter, made=False)

    def put(self, job: str, body: str) -> None:  # noqa: ARG002  the id is in the body
        """Publish it, and wait for the broker's confirm."""
        self._publish(body.encode(), self._properties)

    def _publish(self, body: bytes, properties: BasicProperties) -> None:
        from pika.exceptions import NackError, UnroutableError  # noqa: PLC0415  only scenarios with this service need it

        def publish(channel: BlockingChannel) -> None:
            try:
                channel.basic_publish("", self._name, body, properties, mandatory=True)
            except UnroutableError as error:
                raise PutRefusedError(f"{self._wire.where}: there is no queue {quoted(self._name)} (the message came back)") from error
            except NackError as error:
                raise PutRefusedError(f"{self._wire.where}: the queue {quoted(self._name)} did not take the message (nack)") from error

        try:
            self._wire.call(publish)
        except NeverReachedError as error:
            raise PutRefusedError(str(error)) from error

    def look(self) -> Look:
        """Ask the queue what is ready, and the management plugin what is not acknowledged; twice before it is called empty."""
        look = self._once()
        if look.ready == 0 and look.held == 0 and self._management.own:
            time.sleep(_SETTLED_S)
            look = self._once()
        now_s = time.monotonic()
        if look.ready or look.held > 0:
            self._not_empty_s = now_s
        if look.held == 0 and not self._management.own and now_s - self._not_empty_s < _FOREIGN_SETTLED_S:
            return Look(ready=look.ready, held=-1, set_aside=look.set_aside)
        return look

    def _once(self) -> Look:
        ready = self._wire.call(lambda channel: _count(channel, self._name))
        held = -1
        if self._management.find():
            told, held = self._management.held(self._name)
            ready = ready if held else max(ready, told)  # older numbers may have as ready what is held by now
        return Look(ready=ready, held=held, set_aside=self._dead())

    def _dead(self) -> int:
        if not self._dead_letter:
            return 0
        try:
            return self._wire.call(lambda channel: _count(channel, self._dead_letter))
        except NotThereError:
            return 0

    def told(self, limit: int) -> Sequence[Told] | None:  # noqa: ARG002  nothing can be listed
        """It can't list messages without handing them out."""
        return None

    def take_rest(self, limit: int) -> Sequence[Told]:
        """Take out what is left, and what died here; a queue of dead letters that was never declared from here is not touched."""
        rest = _rest(self._wire, self._name, limit, READY)
        if self._dead_letters.made(self._wire.url, self._dead_letter):
            rest += _rest(self._wire, self._dead_letter, limit - len(rest), SET_ASIDE)
        elif self._dead_letters.known(self._wire.url, self._dead_letter):
            rest += _picked(self._wire, self._dead_letter, limit - len(rest), self._name)
        return rest

    def remove(self) -> None:
        """Delete it, and the queue of dead letters if `declare` made it, on this object or another one."""
        self._wire.call(lambda channel: channel.queue_delete(self._name))
        if self._dead_letters.made(self._wire.url, self._dead_letter):
            self._wire.call(lambda channel: channel.queue_delete(self._dead_letter))
        self._dead_letters.forget(self._wire.url, self._dead_letter)


class _CeleryQueue(_AmqpQueue):
    """A classic queue of Celery's tasks."""

    def put(self, job: str, body: str) -> None:
        """Publish what ``delay(body)`` of the task would."""
        from pika import BasicProperties  # noqa: PLC0415  as above

        properties = BasicProperties(
            content_type=CONTENT_TYPE,
            content_encoding=CONTENT_ENCODING,
            headers=celery_headers(task_of(self._options), job, body),
            correlation_id=job,
            delivery_mode=PERSISTENT,
        )
        self._publish(celery_body(body).encode(), properties)


class _Results:
    """Takes results out of a queue. What was handed out but perhaps not acknowledged is known again when it comes again."""

    counts = True

    def __init__(self, wire: Wire, name: str) -> None:
        self._wire = wire
        self._name = name
        self._unsure: Counter[str] = Counter()
        self._seen = False
        self.absent = ""  # what is not there, until it was there once

    def new(self) -> Sequence[str]:
        """All messages that are there; none while there is no such queue."""
        fresh: list[str] = []
        end_s = time.monotonic() + _LONG_S
        while time.monotonic() < end_s:
            batch: list[_Message] = []
            try:
                _take_out(self._wire, self._name, _BATCH, batch)
            except NotThereError:
                self.absent = "" if self._seen else f"there is no queue {self._name}"
                break
            except ServiceError:
                if not batch and not fresh:
                    raise
                self._seen, self.absent = True, ""
                fresh += self._unknown_ones(batch)
                self._unsure.update(message.text for message in batch)
                break
            self._seen, self.absent = True, ""
            fresh += self._unknown_ones(batch)
            if len(batch) < _BATCH:
                break
        return fresh

    def _unknown_ones(self, batch: Sequence[_Message]) -> list[str]:
        found = []
        for message in batch:
            if message.redelivered and self._unsure[message.text] > 0:
                self._unsure[message.text] -= 1
            else:
                found.append(message.text)
        return found

    def remove(self) -> None:
        """Delete the queue."""
        self._wire.call(lambda channel: channel.queue_delete(self._name))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    text: str
    redelivered: bool
    headers: Mapping[str, object]

    @classmethod
    def of(cls, method: Basic.GetOk, properties: BasicProperties, body: bytes) -> _Message:
        """What was handed out."""
        return cls(text=body.decode(errors="replace"), redelivered=bool(method.redelivered), headers=properties.headers or {})

    def told(self, state: str) -> Told:
        """What the queue says of it: a quorum queue counts failed deliveries, and a dead letter says where it died and why."""
        count = self.headers.get("x-delivery-count", -1)
        death = self.headers.get("x-first-death-reason", "")
        return Told(
            text=self.text,
            state=state,
            by=f"dead-lettered: {death}" if death else "",
            deliveries=int(count) if isinstance(count, int) else -1,
            redelivered=self.redelivered or (isinstance(count, int) and count > 0),
        )


def _take_out(wire: Wire, queue: str, limit: int, into: list[_Message]) -> None:
    """Append messages of a queue to ``into`` and acknowledge them; when this raises, those that were appended may come again."""

    def take(channel: BlockingChannel) -> None:
        tag = 0
        while len(into) < limit:
            method, properties, body = channel.basic_get(queue)
            if method is None:
                break
            tag = method.delivery_tag
            into.append(_Message.of(method, properties, body))
        if tag:
            channel.basic_ack(tag, multiple=True)
            _count(channel, queue)  # its answer says that the acknowledgement, sent before it on the same channel, has arrived

    wire.call(take)


def _rest(wire: Wire, queue: str, limit: int, state: str) -> list[Told]:
    rest: list[Told] = []
    while len(rest) < limit:
        batch: list[_Message] = []
        _take_out(wire, queue, min(_BATCH, limit - len(rest)), batch)
        rest += [message.told(state) for message in batch]
        if len(batch) < _BATCH:
            break
    return rest


def _picked(wire: Wire, queue: str, limit: int, died_in: str) -> list[Told]:
    """Take out what died in one queue, and give back all that is of others."""
    picked: list[Told] = []

    def pick(channel: BlockingChannel) -> None:
        others = []
        for _ in range(_count(channel, queue)):
            if len(picked) >= limit:
                break
            method, properties, body = channel.basic_get(queue)
            if method is None:
                break
            message = _Message.of(method, properties, body)
            if message.headers.get("x-first-death-queue") == died_in:
                channel.basic_ack(method.delivery_tag)
                picked.append(message.told(SET_ASIDE))
            else:
                others.append(method.delivery_tag)
        for tag in others:
            channel.basic_nack(tag)
        _count(channel, queue)  # as above

    wire.call(pick)
    return picked


def _count(channel: BlockingChannel, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)


def _persistent() -> BasicProperties:
    from pika import BasicProperties  # noqa: PLC0415  only scenarios with this service need it

    return BasicProperties(delivery_mode=PERSISTENT)


def _check_options(spec: QueueSpec) -> None:
    known = _OPTIONS[spec.form]
    for name, value in spec.options.items():
        key = "jobs", "options", name
        if name.startswith("x-"):
            continue
        if name not in known:
            near = did_you_mean(name, known)
            raise KeyOfScenarioError(key, f"a {spec.form} queue knows no option {quoted(name)}; there is {all_of(known)}, and x-…{near}")
        if name == _DELIVERY_LIMIT and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise KeyOfScenarioError(key, f"must be a whole number from 0, not {quoted(str(value))}")
        if name == _DEAD_LETTER and (not isinstance(value, str) or not value or value == spec.name):
            raise KeyOfScenarioError(key, "must be the name of another queue")
    if spec.form == "celery":
        task_of(spec.options)


def _queue_arguments(spec: QueueSpec) -> dict[str, object]:
    arguments: dict[str, object] = {name: value for name, value in spec.options.items() if name.startswith("x-")}
    if spec.form == "quorum":
        arguments["x-queue-type"] = "quorum"
    if _DELIVERY_LIMIT in spec.options:
        arguments["x-delivery-limit"] = spec.options[_DELIVERY_LIMIT]
    if _DEAD_LETTER in spec.options:
        arguments |= {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": spec.options[_DEAD_LETTER]}
    return arguments


def _own_ends() -> set[str]:
    """The local ends of this process's connections, as RabbitMQ writes them."""
    return {f"{link.laddr.ip}:{link.laddr.port}" for link in psutil.Process().net_connections("tcp") if link.laddr}


def _peer(connection: str) -> str:
    return connection.partition(" -> ")[0]
