"""memcached as a service, against a real server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.errors import KeyOfScenarioError
from harness.services import KINDS
from harness.services.base import DoneSpec, Kind, QueueSpec, ServiceError
from harness.services.memcached import MEMCACHED
from harness.services.redis import REDIS
from tests.services.brokers import Broker, free_port


def test_it_is_one_of_the_kinds() -> None:
    assert KINDS["memcached"] is MEMCACHED


@pytest.mark.slow
@pytest.mark.live
def test_a_server_tells_its_version_until_it_is_gone(started: Callable[[Kind], Broker]) -> None:
    broker = started(MEMCACHED)
    client = broker.client()
    assert client.ready()[0].isdigit()
    broker.stop()
    with pytest.raises(ServiceError, match="refused"):
        client.ready()
    broker.start()
    assert client.ready()
    client.close()


@pytest.mark.slow
@pytest.mark.live
def test_something_else_on_its_port_is_not_taken_for_it(started: Callable[[Kind], Broker]) -> None:
    broker = started(REDIS)
    with pytest.raises(ServiceError, match="something else"):
        MEMCACHED.open(f"memcached://127.0.0.1:{broker.port}").ready()


def test_it_has_neither_queues_nor_effects_nor_a_way_to_cut_connections() -> None:
    client = MEMCACHED.open(f"memcached://127.0.0.1:{free_port()}")
    with pytest.raises(KeyOfScenarioError, match="no queues"):
        client.queue(QueueSpec(form="list", name="jobs"))
    with pytest.raises(KeyOfScenarioError, match="forget"):
        client.effects(DoneSpec(kind="key", name="done"))
    with pytest.raises(ServiceError, match="close its connections"):
        client.cut_connections()
