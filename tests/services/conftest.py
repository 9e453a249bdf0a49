"""What tests of services share: ``started(KIND)`` is a real service, ready, which ends with the test, whatever becomes of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.services.base import Kind
from harness.services.postgres import POSTGRES
from tests.services.brokers import Broker, serving


@pytest.fixture(scope="module")
def started_for_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Kind], Broker]]:
    """As `started`, for tests that share one service: give each its own queue then."""
    yield from _starter(tmp_path_factory.mktemp("services"))


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[Kind], Broker]]:
    """Starts a service of a kind for this test alone, and returns it when it does its work."""
    yield from _starter(tmp_path)


@pytest.fixture(scope="module")
def postgres(started_for_module: Callable[[Kind], Broker]) -> Iterator[Broker]:
    """A PostgreSQL; stopped in order, since one that is killed leaves a segment of shared memory behind."""
    broker = started_for_module(POSTGRES)
    yield broker
    broker.stop()


@pytest.fixture
def schema(postgres: Broker, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a schema for each test."""
    mark = str(abs(hash(request.node.name)))
    yield POSTGRES.own(postgres.url, mark)
    POSTGRES.disown(postgres.url, mark)


def _starter(folder: Path) -> Iterator[Callable[[Kind], Broker]]:
    numbers = itertools.count()
    with ExitStack() as services:

        def start(kind: Kind) -> Broker:
            own = folder / str(next(numbers))
            own.mkdir()
            return services.enter_context(serving(kind, own))

        yield start
