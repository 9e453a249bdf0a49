"""The routing table: who gets requests, who no longer does, and what is under way."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import MachineError
from harness.load import table as table_module
from harness.load.table import Publisher, Route, Router, Table


def both_sides() -> tuple[Publisher, Router]:
    table = Table.create()
    other = Table(table.fd)
    table.close()
    return Publisher(table), Router(other)


def picked(router: Router, tried: set[Route] | None = None) -> str:
    """The replica whose turn it is; its request is over at once."""
    route = router.pick(tried or ())
    if route is None:
        return ""
    route.release()
    return route.name


def test_ops_are_spread_evenly_over_what_is_published() -> None:
    publisher, router = both_sides()
    assert picked(router) == ""
    for number in (1, 2, 3):
        publisher.publish(f"web.{number}", "127.0.0.1", 8000 + number)
    assert Counter(picked(router) for _ in range(300)) == {"web.1": 100, "web.2": 100, "web.3": 100}
    publisher.withdraw("web.2")
    assert Counter(picked(router) for _ in range(300)) == {"web.1": 150, "web.3": 150}


def test_only_what_is_withdrawn_and_not_forgotten_is_leaving_also_when_nobody_picks() -> None:
    publisher, router = both_sides()
    publisher.publish("web.1", "127.0.0.1", 1)
    publisher.publish("web.2", "127.0.0.1", 2)
    assert router.leaving == []
    publisher.withdraw("web.2")
    assert [route.name for route in router.leaving] == ["web.2"]
    publisher.publish("web.2", "127.0.0.1", 2)
    assert router.leaving == []
    publisher.withdraw("web.1")
    publisher.forget("web.1")
    assert router.leaving == []


def test_the_address_comes_across() -> None:
    publisher, router = both_sides()
    publisher.publish("web.1", "localhost", 8001)
    publisher.publish("web.2", "::1", 8002)
    routes = [router.pick(), router.pick()]
    found = {route.name: (route.address, route.authority) for route in routes if route is not None}
    assert found["web.1"][0] in (("127.0.0.1", 8001), ("::1", 8001))
    assert found["web.2"] == (("::1", 8002), b"[::1]:8002")


def test_what_was_tried_is_not_picked_again() -> None:
    publisher, router = both_sides()
    publisher.publish("web.1", "127.0.0.1", 1)
    publisher.publish("web.2", "127.0.0.1", 2)
    first = router.pick()
    assert first is not None
    assert picked(router, {first}) != first.name
    second = router.pick({first})
    assert second is not None
    assert router.pick({first, second}) is None


def test_each_side_sees_the_counters_of_the_other() -> None:
    publisher, router = both_sides()
    publisher.publish("web.1", "127.0.0.1", 1)
    assert (publisher.on_the_way("web.1"), publisher.in_flight("web.1")) == (0, 0)
    route = router.pick()
    assert route is not None
    assert publisher.on_the_way("web.1") == 1
    route.words[route.flight] += 1
    route.release()
    assert (publisher.on_the_way("web.1"), publisher.in_flight("web.1")) == (0, 1)
    assert (publisher.on_the_way("nobody"), publisher.in_flight("nobody")) == (0, 0)


def test_what_was_sent_is_counted_across_withdrawals_and_from_zero_in_a_place_that_is_used_again() -> None:
    publisher, router = both_sides()
    publisher.publish("web.1", "127.0.0.1", 1)
    route = router.pick()
    assert route is not None
    route.words[route.sent] += 1
    route.release()
    publisher.withdraw("web.1")
    publisher.publish("web.1", "127.0.0.1", 1)
    assert (publisher.sent("web.1"), publisher.sent("nobody")) == (1, 0)
    publisher.forget("web.1")
    assert publisher.sent("web.1") == 0
    publisher.publish("web.2", "127.0.0.1", 2)
    assert route.words[table_module.USED] == 1, "it has the place of the first one"
    assert publisher.sent("web.2") == 0


def test_a_route_that_is_held_can_be_reserved_again_only_while_it_is_published() -> None:
    publisher, router = both_sides()
    publisher.publish("web.1", "127.0.0.1", 1)
    route = router.pick()
    assert route is not None
    route.release()
    assert route.reserve()
    route.release()
    publisher.withdraw("web.1")
    assert not route.reserve()
    assert publisher.on_the_way("web.1") == 0
    publisher.publish("web.1", "127.0.0.1", 1)
    assert route.reserve()


def test_a_place_is_used_again_once_nothing_is_under_way_and_the_old_route_stays_dead() -> None:
    publisher, router = both_sides()
    publisher.publish("web.1", "127.0.0.1", 1)
    old = router.pick()
    assert old is not None
    publisher.forget("web.1")
    publisher.publish("web.2", "127.0.0.1", 2)
    assert old.words[table_module.USED] == 2, "a request is still on its way through the first place"
    old.release()
    publisher.publish("web.3", "127.0.0.1", 3)
    assert old.words[table_module.USED] == 2
    assert {picked(router), picked(router)} == {"web.2", "web.3"}
    assert old.gone
    assert not old.reserve()
    assert router.gone == [old]


def test_a_replica_that_vanished_is_known_as_such_until_its_place_is_used_again() -> None:
    publisher, router = both_sides()
    publisher.vanish("web.1")  # nobody knows it: nothing happens
    publisher.publish("web.1", "127.0.0.1", 1)
    first = router.pick()
    assert first is not None
    first.release()
    assert not first.vanished
    publisher.vanish("web.1")
    assert first.vanished
    assert first.published
    publisher.forget("web.1")
    assert first.vanished
    publisher.publish("web.2", "127.0.0.1", 2)
    second = router.pick()
    assert second is not None
    assert not second.vanished
    assert not first.vanished


def test_a_name_at_another_address_is_another_route() -> None:
    publisher, router = both_sides()
    publisher.publish("web.1", "127.0.0.1", 1)
    old = router.pick()
    publisher.publish("web.1", "127.0.0.1", 2)
    new = router.pick()
    assert old is not None
    assert new is not None
    assert (old.gone, new.gone, new.address) == (True, False, ("127.0.0.1", 2))


def test_a_hold_is_seen_by_the_load_until_it_is_released_or_the_place_is_somebody_elses() -> None:
    publisher, router = both_sides()
    publisher.hold("nobody")  # nobody knows it: nothing happens
    assert (publisher.held("nobody"), publisher.answering("nobody")) == (0, 0)
    publisher.publish("web.1", "127.0.0.1", 1)
    publisher.publish("web.2", "127.0.0.1", 2)
    routes = {route.name: route for route in (router.pick(), router.pick()) if route is not None}
    publisher.hold("web.1")
    assert (routes["web.1"].held_back, routes["web.2"].held_back) == (True, False)
    publisher.withdraw("web.1")
    assert routes["web.1"].held_back, "a withdrawal comes before the signal, and the release after it"
    publisher.release("web.1")
    assert not routes["web.1"].held_back
    publisher.hold("web.1")
    publisher.forget("web.1")
    routes["web.1"].release()
    publisher.publish("web.3", "127.0.0.1", 3)
    picks = [router.pick(), router.pick()]
    assert {route.name: route.held_back for route in picks if route is not None} == {"web.2": False, "web.3": False}


@pytest.mark.parametrize("counter", ["way", "flight", "answering", "held"])
def test_a_place_is_not_given_away_while_anything_is_under_way_through_it(counter: str) -> None:
    publisher, router = both_sides()
    publisher.publish("web.1", "127.0.0.1", 1)
    route = router.pick()
    assert route is not None
    route.release()
    route.words[getattr(route, counter)] += 1
    readings = {"way": publisher.on_the_way, "flight": publisher.in_flight, "answering": publisher.answering, "held": publisher.held}
    assert {name: read("web.1") for name, read in readings.items()} == {name: int(name == counter) for name in readings}
    publisher.forget("web.1")
    publisher.publish("web.2", "127.0.0.1", 2)
    assert route.words[table_module.USED] == 2
    route.words[getattr(route, counter)] -= 1
    publisher.publish("web.3", "127.0.0.1", 3)
    assert route.words[table_module.USED] == 2


def test_a_full_table_and_a_name_without_an_address_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    publisher, _ = both_sides()
    monkeypatch.setattr(table_module, "SLOTS", 2)
    publisher.publish("web.1", "127.0.0.1", 1)
    with pytest.raises(MachineError, match="has no address"):
        publisher.publish("web.4", "no such host.invalid", 4)
    with pytest.raises(MachineError, match="too long"):
        publisher.publish("w" * 200, "127.0.0.1", 4)
    publisher.publish("web.2", "127.0.0.1", 2)
    with pytest.raises(MachineError, match="more than 2 replicas"):
        publisher.publish("web.3", "127.0.0.1", 3)


STEPS = st.lists(st.tuples(st.sampled_from(["publish", "withdraw", "forget"]), st.integers(0, 4)), max_size=40)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_after_any_changes_exactly_what_is_published_is_picked(steps: list[tuple[str, int]]) -> None:
    publisher, router = both_sides()
    published: set[str] = set()
    for what, number in steps:
        name = f"web.{number}"
        if what == "publish":
            publisher.publish(name, "127.0.0.1", 8000 + number)
            published.add(name)
        else:
            getattr(publisher, what)(name)
            published.discard(name)
        assert {picked(router) for _ in range(max(1, len(published)))} == (published or {""})


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns a hundred thousand times a second instead of two hundred times."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.00001)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.slow
@pytest.mark.usefixtures("hasty_threads")
def test_nothing_leaves_after_a_withdrawal_with_nothing_on_the_way() -> None:
    """Steps 1 to 4 and a to b of the module, raced on two threads."""
    publisher, router = both_sides()
    sent_to_withdrawn, sent, stop = 0, 0, threading.Event()
    withdrawn = False

    def send() -> None:
        nonlocal sent_to_withdrawn, sent
        while not stop.is_set():
            route = router.pick()
            if route is not None:
                sent_to_withdrawn += withdrawn
                sent += 1
                route.release()

    thread = threading.Thread(target=send)
    thread.start()
    for _ in range(300):
        publisher.publish("web.1", "127.0.0.1", 1)
        goal, deadline = sent + 1, time.monotonic() + 5
        while sent < goal and time.monotonic() < deadline:
            time.sleep(0)
        publisher.withdraw("web.1")
        while publisher.on_the_way("web.1"):
            time.sleep(0)
        withdrawn = True
        time.sleep(0)
        withdrawn = False
    stop.set()
    thread.join()
    assert sent >= 300
    assert sent_to_withdrawn == 0
