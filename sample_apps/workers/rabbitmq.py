"""``AMQP_URL=amqp://… python -m sample_apps.workers.rabbitmq``: jobs from a queue of RabbitMQ, with pika, as its documentation recommends.

A worker has one message at a time (*prefetch* 1) and acknowledges it when its effect is written. One that is asked to stop finishes its job
or returns it (``basic.nack`` with ``requeue``); what a dead one had not acknowledged RabbitMQ hands to others as soon as the connection
ends. The queue is declared by whoever puts jobs into it, so its arguments stand in one place.

The effect is a line in the file ``DONE``, which all workers of a machine share. A message without the ``redelivered`` flag was surely never
seen before, so only one that has it may have had its effect already: then the worker looks, under a lock of the file. With ``RESULTS`` the
effect is a message in a queue of results, which RabbitMQ has confirmed before the job is acknowledged. A queue tells nobody of an earlier
result, so one may come twice.

A worker that only closes its connection keeps nothing from others, so ``keeps-lock`` can't be planted here. ``pop-and-forget`` is a
consumer with automatic acknowledgements, to which RabbitMQ sends all that it has. Besides there is

* ``prefetch-batch``: no limit of messages that are not acknowledged, so that the first worker gets all of them and the others none.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

from sample_apps.workers.file_effects import FileEffects
from sample_apps.workers.loop import Job, LostError, main, read_job, say
from sample_apps.workers.settings import DEFECTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pika.adapters.blocking_connection import BlockingChannel

    from sample_apps.workers.settings import Settings

PREFETCH_BATCH: Final = "prefetch-batch"
KNOWN: Final = (*(name for name in DEFECTS if name != "keeps-lock"), PREFETCH_BATCH)
"""The defects that this worker knows."""


class Results:
    """Effects as messages of a queue, each on disk when it is put."""

    def __init__(self, channel: BlockingChannel, queue: str) -> None:
        self._channel = channel
        self._queue = queue
        channel.queue_declare(queue, durable=True)
        channel.confirm_delivery()

    def add(self, job: str) -> None:
        """Put a message and wait for its confirm."""
        with _told():
            lasting = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
            self._channel.basic_publish("", self._queue, job.encode(), properties=lasting, mandatory=True)

    add_once = add


class RabbitSource:
    """A connection with one channel that consumes the queue, and the place of effects."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._forgetful = settings.defect == "pop-and-forget"
        with _told():
            parameters = pika.URLParameters(settings.url)
            parameters.client_properties = {"connection_name": settings.name}
            self._connection = pika.BlockingConnection(parameters)
            self._channel = self._connection.channel()
            self._channel.queue_declare(settings.queue, passive=True)
            self._channel.basic_qos(prefetch_count=0 if settings.defect == PREFETCH_BATCH else 1)
            self._effects = Results(self._channel, settings.results) if settings.results else FileEffects(settings.done)

    def take(self, wait_s: float) -> Job | None:
        """The next message that RabbitMQ has sent."""
        with _told():
            messages = self._channel.consume(self._settings.queue, auto_ack=self._forgetful, inactivity_timeout=wait_s)
            method, _properties, body = next(messages, (None, None, None))
        return None if body is None else read_job(body.decode(), method)

    def keep(self, job: Job) -> None:  # noqa: ARG002  whatever it is
        """Answer heartbeats, and notice when the connection is lost."""
        with _told():
            self._connection.process_data_events(0)

    def finish(self, job: Job) -> None:
        """The effect, unless it is there already; then the acknowledgement."""
        if job.handle.redelivered:  # type: ignore[attr-defined]  # what basic.deliver says
            self._effects.add_once(job.id)
        else:
            self._effects.add(job.id)
        say(job, "finished")
        time.sleep(self._settings.settle_after_s)
        self.settle(job)
        say(job, "settled")

    def effect(self, job: Job) -> None:
        """Have it, whether it is there already or not."""
        self._effects.add(job.id)

    def settle(self, job: Job) -> None:
        """Acknowledge it."""
        with _told():
            self._channel.basic_ack(job.handle.delivery_tag)  # type: ignore[attr-defined]  # what basic.deliver says

    def give_back(self, job: Job) -> None:
        """Return it to the queue."""
        with _told():
            self._channel.basic_nack(job.handle.delivery_tag, requeue=True)  # type: ignore[attr-defined]  # the same

    def close(self) -> None:
        """Close the connection, which returns what is not acknowledged."""
        with suppress(AMQPError, OSError):
            self._connection.close()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (AMQPError, AMQPConnectorException, OSError) as error:
        raise LostError(str(error) or type(error).__name__) from error


if __name__ == "__main__":
    raise SystemExit(main("sample_apps.workers.rabbitmq", "AMQP_URL", RabbitSource, KNOWN))
