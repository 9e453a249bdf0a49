"""What stands between a target and its service: the delay, what it leaves alone, and the door."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from harness.bench.slow import HELD_BYTES, MOST_PAIRS, Between, Link, local_address_towards, url_at, why_not_slow
from harness.clock import MonotonicClock
from harness.errors import MachineError
from harness.scenario import Scenario

WITHIN_S = 20.0
CLOCK = MonotonicClock()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.002)


def echo(connection: socket.socket) -> None:
    while data := connection.recv(1 << 16):
        connection.sendall(data)


@contextmanager
def serving(talk: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """A service that talks to each of its clients on a thread; its address."""
    door = socket.create_server(("127.0.0.1", 0), backlog=128)
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with connection:
            try:
                talk(connection)
            except OSError:
                return

    def admit() -> None:
        while True:
            try:
                connection, _ = door.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=one, args=(connection,)))
            threads[-1].start()

    admitting = threading.Thread(target=admit)
    admitting.start()
    try:
        yield door.getsockname()
    finally:
        door.shutdown(socket.SHUT_RDWR)
        door.close()
        admitting.join(WITHIN_S)
        for thread in threads:
            thread.join(WITHIN_S)
            assert not thread.is_alive(), "the service still waits for a client"


@contextmanager
def linked(talk: Callable[[socket.socket], None] = echo) -> Iterator[Link]:
    with serving(talk) as service, closing(Link(service, clock=CLOCK)) as link:
        yield link


def connected(link: Link) -> socket.socket:
    return socket.create_connection(link.address, timeout=WITHIN_S)


def answer(connection: socket.socket, words: bytes) -> bytes:
    connection.sendall(words)
    return whole(connection, len(words))


def whole(connection: socket.socket, length: int) -> bytes:
    got = bytearray()
    while len(got) < length and (data := connection.recv(1 << 16)):
        got += data
    return bytes(got)


def sockets_and_pipes() -> set[str]:
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            found.add(str(path.readlink()))
    return {name for name in found if name.startswith(("socket:", "pipe:", "anon_inode:"))}


def took(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def test_without_a_delay_it_hands_on_what_both_say() -> None:
    with linked() as link, connected(link) as connection:
        assert answer(connection, b"hello") == b"hello"
        assert answer(connection, b"again") == b"again"
        assert link.taken == 1


def test_each_answer_comes_later_by_the_delay_while_it_lasts_and_not_before_or_after() -> None:
    with linked() as link, connected(link) as connection:
        answer(connection, b"warm")
        link.delay(0.1)
        assert took(lambda: answer(connection, b"one")) >= 0.1
        assert took(lambda: answer(connection, b"two")) >= 0.1
        link.delay(0.0)
        assert min(took(lambda: answer(connection, b"three")) for _ in range(10)) < 0.1


def test_it_is_a_delay_and_no_queue_so_many_answers_are_late_but_once() -> None:
    def chat(connection: socket.socket) -> None:
        for _ in range(20):
            connection.sendall(b"x" * 100)
            time.sleep(0.002)

    with linked(chat) as link:
        link.delay(0.1)
        with connected(link) as connection:
            assert took(lambda: whole(connection, 2000)) < 20 * 0.1


def test_what_is_said_later_never_overtakes_what_is_held() -> None:
    with linked() as link, connected(link) as connection:
        link.delay(0.1)
        connection.sendall(b"first")
        until(lambda: any(pair.held for pair in link._pairs) or select.select([connection], [], [], 0)[0])
        link.delay(0.0)
        connection.sendall(b"second")
        assert whole(connection, 11) == b"firstsecond"


@pytest.mark.parametrize("delay_s", [0.0, 0.02])
def test_what_is_more_than_it_holds_arrives_whole_and_in_order(delay_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    held_bytes = HELD_BYTES >> 5
    monkeypatch.setattr("harness.bench.slow.HELD_BYTES", held_bytes)
    data = os.urandom(10 * held_bytes)

    def give(connection: socket.socket) -> None:
        connection.sendall(data)

    with linked(give) as link:
        link.delay(delay_s)
        with connected(link) as connection:
            assert whole(connection, len(data)) == data
            assert connection.recv(1) == b""


def test_a_client_that_ends_its_half_still_gets_the_answer_and_then_the_end() -> None:
    def after_the_end(connection: socket.socket) -> None:
        asked = b""
        while data := connection.recv(100):
            asked += data
        connection.sendall(asked.upper())

    with linked(after_the_end) as link, connected(link) as connection:
        link.delay(0.02)
        connection.sendall(b"question")
        connection.shutdown(socket.SHUT_WR)
        assert whole(connection, 8) == b"QUESTION"
        assert connection.recv(1) == b""
        until(lambda: not link._pairs)


def test_the_end_of_the_service_is_late_as_well_and_comes_behind_its_words() -> None:
    with linked(lambda connection: connection.sendall(b"bye")) as link:
        link.delay(0.1)
        began = time.monotonic()
        with connected(link) as connection:
            assert whole(connection, 4) == b"bye"
            assert time.monotonic() - began >= 0.1


def test_a_reset_of_the_service_is_a_reset_for_the_client() -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with linked(reset) as link, connected(link) as connection:
        connection.sendall(b"?")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def bound(sock: socket.socket) -> int:
    """A port that nobody else can listen on, as ``sock`` has it and does not listen."""
    sock.bind(("127.0.0.1", 0))
    port: int = sock.getsockname()[1]
    return port


def test_a_service_that_is_away_resets_who_comes_and_with_the_door_shut_nobody_gets_in() -> None:
    with socket.socket() as away, closing(Link(("127.0.0.1", bound(away)), clock=CLOCK)) as link:
        with pytest.raises(ConnectionResetError), connected(link) as connection:  # it may come before the kernel says: connected
            connection.recv(1)
        link.shut()
        with pytest.raises(ConnectionRefusedError):
            connected(link)


def test_the_door_opens_again_at_the_same_address_and_who_was_inside_stays() -> None:
    with linked() as link, connected(link) as inside:
        answer(inside, b"before")
        link.shut()
        link.shut()
        assert answer(inside, b"meanwhile") == b"meanwhile"
        with pytest.raises(ConnectionRefusedError):
            connected(link)
        link.open()
        link.open()
        with connected(link) as connection:
            assert answer(connection, b"after") == b"after"


def test_fifty_clients_at_once_each_get_their_own_answers_and_each_only_its_own_delay() -> None:
    with linked() as link, ExitStack() as open_ones:
        link.delay(0.1)
        connections = [open_ones.enter_context(connected(link)) for _ in range(50)]
        began = time.monotonic()
        for number, connection in enumerate(connections):
            connection.sendall(b"%08d" % number)
        assert [whole(connection, 8) for connection in connections] == [b"%08d" % number for number in range(50)]
        assert 0.1 <= time.monotonic() - began < 50 * 0.1
        assert link.taken == 50


def test_more_clients_than_it_serves_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.bench.slow.MOST_PAIRS", 2)
    assert MOST_PAIRS > 2
    with linked() as link, connected(link) as first, connected(link) as second, connected(link) as third:
        assert answer(first, b"1") == b"1"
        assert answer(second, b"2") == b"2"
        third.sendall(b"3")
        assert link.taken == 2
        first.close()
        assert whole(third, 1) == b"3"


def test_it_leaves_no_thread_no_socket_and_no_connection() -> None:
    with serving(echo) as service:
        threads, files = threading.active_count(), sockets_and_pipes()
        link = Link(service, clock=CLOCK)
        link.delay(10.0)
        with connected(link) as connection:
            connection.sendall(b"never answered")
            until(lambda: any(pair.held for pair in link._pairs))
            link.close()
            link.close()
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        with pytest.raises(ConnectionRefusedError):
            connected(link)
        until(lambda: threading.active_count() <= threads)
        until(lambda: sockets_and_pipes() <= files)


def test_a_name_that_leads_nowhere_is_told() -> None:
    with pytest.raises(MachineError, match=r"no-such-host\.invalid can't be found"):
        Link(("no-such-host.invalid", 1), clock=CLOCK)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://127.0.0.1:6379/0", "redis://10.0.0.1:99/0"),
        ("redis://127.0.0.1", "redis://10.0.0.1:99"),
        ("amqp://guest:s%40t@broker:5672/v%2Fh?heartbeat=1", "amqp://guest:s%40t@10.0.0.1:99/v%2Fh?heartbeat=1"),
        ("postgresql://postgres@[::1]:5432/postgres", "postgresql://postgres@10.0.0.1:99/postgres"),
    ],
)
def test_a_url_keeps_all_but_its_address(url: str, told: str) -> None:
    assert url_at(url, "10.0.0.1", 99) == told


def test_packets_to_this_machine_leave_from_it() -> None:
    assert local_address_towards("127.0.0.1") == "127.0.0.1"


def scenario(**service: str) -> Scenario:
    target = {"web": {"command": "true"}}
    return Scenario.model_validate(
        {
            "jetable": 1,
            "name": "asks",
            "target": target,
            "services": {"redis": service},
            "load": {"requests": ["GET /"]},
            "steps": [{"steady": "1s"}],
        }
    )


def test_only_the_chosen_service_is_handed_out_at_another_address() -> None:
    with serving(echo) as (host, port), closing(Between("redis", scenario(), CLOCK, contained=False)) as between:
        between.slow(1.0)
        between.shut()
        assert between.asked == 0
        assert between.handed("cache", f"redis://{host}:{port}/0") == f"redis://{host}:{port}/0"
        url = between.handed("redis", f"redis://{host}:{port}/0")
        assert url != f"redis://{host}:{port}/0"
        assert between.handed("redis", f"redis://{host}:{port}/0") == url
        where = url.removeprefix("redis://").removesuffix("/0").split(":")
        with socket.create_connection((where[0], int(where[1])), timeout=WITHIN_S) as connection:
            assert answer(connection, b"hi") == b"hi"
        assert between.asked == 1


def test_containers_that_cannot_reach_this_machine_are_told_of() -> None:
    with (
        closing(Between("redis", scenario(), CLOCK, contained=True)) as between,
        pytest.raises(MachineError, match="can't reach this machine"),
    ):
        between.handed("redis", "redis://127.0.0.1:6379/0")


@pytest.mark.parametrize(
    ("url", "engine", "why"),
    [
        ("", "docker", ""),
        ("redis://127.0.0.1:6379", "process", ""),
        ("redis://127.0.0.1:6379", "docker", "use --engine process"),
        ("rediss://127.0.0.1:6379", "process", "write a url without TLS"),
    ],
)
def test_what_nothing_can_stand_in_front_of_is_told_before_anything_starts(url: str, engine: str, why: str) -> None:
    told = why_not_slow(scenario(**({"url": url} if url else {})), "redis", contained=engine == "docker")
    assert why in told
    assert bool(told) == bool(why)
