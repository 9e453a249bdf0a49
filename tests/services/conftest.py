"""What tests of services share: ``started(KIND)`` is a real service, ready, which ends with the test, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.services.base import Kind
from tests.services.brokers import Broker, needed


@pytest.fixture(scope="module")
def started_for_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Kind], Broker]]:
    """As `started`, for tests that share one service: give each its own queue then."""
    yield from _starter(tmp_path_factory.mktemp("services"))


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[Kind], Broker]]:
    """Starts a service of a kind for this test alone, and returns it when it does its work."""
    yield from _starter(tmp_path)


def _starter(folder: Path) -> Iterator[Callable[[Kind], Broker]]:
    brokers: list[Broker] = []

    def start(kind: Kind) -> Broker:
        launch = kind.launch(durable=True)
        assert launch is not None
        needed(launch)
        own = folder / str(len(brokers))
        own.mkdir()
        broker = Broker(kind, own)
        brokers.append(broker)
        broker.prepare()
        broker.start()
        return broker

    yield start
    for broker in brokers:
        broker.remove()
