"""What the engine tells, as it is understood, and how its end is noticed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from harness.clock import FakeClock
from harness.dockerd import Daemon, DaemonGoneError
from harness.engines.docker_events import ContainerEvent, EventStream, _parsed

WITHIN_S = 20.0


@pytest.mark.parametrize(
    ("action", "attributes", "expected"),
    [
        ("die", {"exitCode": "137", "name": "x"}, {"what": "die", "status": 137}),
        ("die", {}, {"what": "die", "status": -1}),
        ("kill", {"signal": "15"}, {"what": "kill", "detail": "15"}),
        ("oom", {}, {"what": "oom"}),
        ("health_status: unhealthy", {}, {"what": "health_status", "detail": "unhealthy"}),
        ("exec_create: sh -c true: x", {}, {"what": "exec_create", "detail": "sh -c true: x"}),
    ],
)
def test_an_event_is_understood(action: str, attributes: dict[str, str], expected: dict[str, Any]) -> None:
    event = {"Type": "container", "Action": action, "Actor": {"ID": "abc", "Attributes": attributes}}
    assert _parsed(event, 7) == ContainerEvent(at_ns=7, container="abc", **expected)


@pytest.mark.parametrize("event", [{}, {"Action": "die", "Actor": None}, {"Action": "die", "Actor": {"ID": "abc", "Attributes": None}}])
def test_an_event_that_lacks_something_is_no_error(event: dict[str, Any]) -> None:
    assert _parsed(event, 7).status == -1


class FakeStream:
    """What the SDK returns: an iterator that can be closed."""

    def __init__(self, lines: Callable[[], Iterator[dict[str, Any]]]) -> None:
        self._lines = lines()
        self._response = SimpleNamespace(close=lambda: None)
        self.on_close: Callable[[], None] = lambda: None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._lines

    def close(self) -> None:
        self.on_close()


def test_when_the_engine_told_of_it_is_by_its_own_clock() -> None:
    assert _parsed({"Action": "oom", "timeNano": 1_795_400_000_123_456_789}, 7).told_ns == 1_795_400_000_123_456_789


def stream_of(lines: Callable[[], Iterator[dict[str, Any]]], seen: list[ContainerEvent], lost: list[str]) -> tuple[EventStream, FakeStream]:
    fake = FakeStream(lines)
    api: Any = SimpleNamespace(events=lambda **_options: fake)
    daemon = Daemon(api=api, url="", local=True, version="", api_version=(1, 41))
    return EventStream(daemon, "r", FakeClock(), seen.append, lost.append), fake


def test_the_end_of_the_stream_is_the_end_of_the_engine_and_told_once() -> None:
    def lines() -> Iterator[dict[str, Any]]:
        yield {"Action": "start", "Actor": {"ID": "abc"}}

    seen: list[ContainerEvent] = []
    lost: list[str] = []
    stream, _ = stream_of(lines, seen, lost)
    stream._thread.join(WITHIN_S)
    stream.close()
    assert [event.what for event in seen] == ["start"]
    (sentence,) = lost
    assert "went away in the middle of the run (it closed the connection)" in sentence


def test_what_went_wrong_with_the_connection_is_part_of_the_sentence() -> None:
    def lines() -> Iterator[dict[str, Any]]:
        raise DaemonGoneError("connection reset")
        yield {}

    lost: list[str] = []
    stream, _ = stream_of(lines, [], lost)
    stream._thread.join(WITHIN_S)
    stream.close()
    assert "connection reset" in lost[0]


def test_a_stream_that_was_closed_by_its_owner_is_no_loss() -> None:
    going = threading.Event()

    def lines() -> Iterator[dict[str, Any]]:
        going.wait(WITHIN_S)
        yield from ()

    lost: list[str] = []
    stream, fake = stream_of(lines, [], lost)
    fake.on_close = going.set  # the SDK's, too, wakes who reads
    stream.close()
    stream.close()
    assert lost == []
