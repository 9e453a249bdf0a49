"""The load process itself (`harness.load.child`, `harness.load.locust_user`): real Locust, real sockets, real ends."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from harness.errors import MachineError
from harness.history import AnyLine, Close, Control, Generator, Header, Invoke, LoadBegan, LoadEnded
from harness.load import process as process_module
from harness.load.base import Load
from harness.load.process import ProcessLoad
from harness.load.spec import LoadSpec, RequestSpec, TlsSpec
from tests.load import servers
from tests.load.servers import CountingServer, answering

pytestmark = [pytest.mark.slow, pytest.mark.live]

T = TypeVar("T")

GET = RequestSpec(method="GET", path="/items/{id}", idempotent=True)


def until(condition: Callable[[], bool], *, within_s: float = 20.0, why: str = "") -> None:
    """Wait until ``condition`` holds; fails when ``within_s`` is over."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(0.002)


@contextmanager
def load_of(folder: Path, **changes: object) -> Iterator[ProcessLoad]:
    """A load process that is stopped at the end, whatever happens."""
    spec = LoadSpec(**{"seed": 1, "requests": (GET,), "users": 8, "timeout_s": 10.0, **changes})  # type: ignore[arg-type]  # a test changes any of them
    load = ProcessLoad(spec, history=folder, logs=folder, run_id=f"test-{os.getpid()}")
    _as_protocol: Load = load
    try:
        yield load
    finally:
        load.stop(at_once=True)


def ledger(folder: Path) -> list[AnyLine]:
    """All whole lines of the ledger; what a killed writer left is NUL bytes."""
    data = (folder / "ops.jsonl").read_bytes().rstrip(b"\0")
    return msgspec.json.Decoder(AnyLine).decode_lines(data[: data.rfind(b"\n") + 1])


def lines_of(lines: list[AnyLine], kind: type[T]) -> list[T]:
    return [line for line in lines if isinstance(line, kind)]


def test_a_load_begins_asks_every_replica_and_closes_its_books(tmp_path: Path) -> None:
    with CountingServer() as one, CountingServer() as two, load_of(tmp_path) as load:
        load.prepare()
        load.publish("web.1", "127.0.0.1", one.port)
        load.publish("web.2", "127.0.0.1", two.port)
        load.start()
        load.set_step(3)
        before = load.begun
        until(lambda: one.count > 200 and two.count > 200 and load.begun > before + 400)
        assert min(load.sent("web.1"), load.sent("web.2")) >= 200 - 8
        assert load.alive()
        load.stop()
        assert load.alive(), "somebody stopped it"
        load.stop()
        served = one.seen + two.seen
    lines = ledger(tmp_path)
    invokes, closes = lines_of(lines, Invoke), lines_of(lines, Close)
    assert Counter((i.op, i.n) for i in invokes) == Counter((c.op, c.n) for c in closes) == served
    assert set(served.values()) == {1}
    assert {close.outcome for close in closes} == {"ok"}
    assert {3} <= {invoke.step for invoke in invokes} <= {0, 3}
    assert {invoke.user for invoke in invokes} == set(range(1, 9))
    assert lines_of(lines, LoadBegan)[0].pid > 0
    assert (lines[-1].invoked, lines[-1].closed) == (len(invokes), len(closes)) if isinstance(lines[-1], LoadEnded) else False
    assert (tmp_path / "load.log").read_text() == ""


def test_the_control_server_is_asked_and_the_process_watches_itself(tmp_path: Path) -> None:
    with load_of(tmp_path) as load:
        load.start()
        path = tmp_path / "ops.jsonl"
        until(lambda: path.read_bytes().count(b'"generator"') >= 2)
        load.stop()
    lines = ledger(tmp_path)
    assert len(lines_of(lines, Control)) > 5
    assert any(control.ok for control in lines_of(lines, Control))
    assert all(control.at_ns < control.done_ns for control in lines_of(lines, Control))
    assert all(control.ok or control.done_ns - control.at_ns >= 2_000_000_000 for control in lines_of(lines, Control)), "it answers in time"
    assert all(sample.lag_ns >= 0 and 0 <= sample.cpu < 1.5 for sample in lines_of(lines, Generator))
    assert all(sample.cpu > 0 or sample.lag_ns > 250_000_000 for sample in lines_of(lines, Generator)), "only who stands still uses nothing"


def test_a_target_without_replicas_is_asked_for_patiently(tmp_path: Path) -> None:
    with load_of(tmp_path, users=4) as load:
        began = time.monotonic()
        load.start()
        until(lambda: load.begun >= 12)
        load.stop()
        took_s = time.monotonic() - began
    closes = lines_of(ledger(tmp_path), Close)
    assert {(close.outcome, close.error) for close in closes} == {("refused", "NO_REPLICA")}
    assert len(closes) <= 4 + 4 * took_s / 0.01


def test_a_hold_keeps_a_few_connections_without_a_byte_while_the_load_goes_on(tmp_path: Path) -> None:
    with CountingServer() as one, CountingServer() as two, load_of(tmp_path) as load:
        load.publish("web.1", "127.0.0.1", one.port)
        load.publish("web.2", "127.0.0.1", two.port)
        load.start()
        load.hold("web.1")
        until(lambda: load.held("web.1") == 3)
        load.withdraw("web.1")
        until(lambda: load.on_the_way("web.1") == load.in_flight("web.1") == load.answering("web.1") == 0)
        held, released_ns = load.held("web.1"), time.monotonic_ns()
        load.release("web.1")
        until(lambda: load.held("web.1") == 0)
        until(lambda: load.on_the_way("web.1") == load.in_flight("web.1") == load.answering("web.1") == 0)
        load.stop()
    lines = ledger(tmp_path)
    closes = lines_of(lines, Close)
    assert {close.outcome for close in closes} == {"ok"}
    asked = {(line.op, line.n) for line in lines_of(lines, Invoke) if line.replica == "web.1"}
    late = [
        close for close in closes if (close.op, close.n) in asked and close.connected_ns < released_ns < close.sent_ns and not close.reused
    ]
    assert len(late) == held > 0


def test_a_load_over_tls_is_answered_with_the_certificate_looked_at(tmp_path: Path) -> None:
    spoken = TlsSpec(ca=str(servers.CERTIFICATE), server_name="localhost")
    with answering(servers.OK, tls=servers.server_context()) as server, load_of(tmp_path, tls=spoken) as load:
        load.publish("web.1", "127.0.0.1", server.port)
        load.start()
        until(lambda: load.begun > 100)
        load.stop()
    closes = lines_of(ledger(tmp_path), Close)
    assert {(close.outcome, close.error) for close in closes} == {("ok", "")}
    assert sum(not close.reused for close in closes) == server.accepted == 8


def test_a_certificate_that_is_refused_ends_the_load_with_one_sentence(tmp_path: Path) -> None:
    spoken = TlsSpec(ca=str(servers.CERTIFICATE), server_name="elsewhere")
    with answering(servers.OK, tls=servers.server_context()) as server, load_of(tmp_path, tls=spoken) as load:
        load.publish("web.1", "127.0.0.1", server.port)
        load.start()
        until(lambda: not load.alive())
    told = (tmp_path / "load.log").read_text()
    assert told.startswith("web.1: its certificate was refused: Hostname mismatch")
    assert told.count("\n") == 1
    assert len(lines_of(ledger(tmp_path), Close)) <= 8
    assert {close.outcome for close in lines_of(ledger(tmp_path), Close)} == {"unfinished"}


def test_what_the_server_saw_before_the_load_was_killed_is_on_disk(tmp_path: Path) -> None:
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with CountingServer() as server, load_of(folder) as load:
            load.publish("web.1", "127.0.0.1", server.port)
            load.start()
            until(lambda: server.count > 100 * (attempt + 1), within_s=60.0)  # noqa: B023  it is awaited here
            assert load.pid > 0
            os.kill(load.pid, signal.SIGKILL)
            until(lambda: not load.alive())
            load.stop()
            seen = set(server.seen)
        invoked = {(line.op, line.n) for line in lines_of(ledger(folder), Invoke)}
        assert seen <= invoked
        assert not lines_of(ledger(folder), LoadEnded)


def test_a_server_that_hangs_delays_the_end_by_the_time_out_and_no_more(tmp_path: Path) -> None:
    with answering(b"", then=servers.hang) as server, load_of(tmp_path, timeout_s=0.5) as load:
        load.publish("web.1", "127.0.0.1", server.port)
        load.start()
        until(lambda: load.in_flight("web.1") == 8)
        began = time.monotonic()
        load.stop()
        assert time.monotonic() - began < 0.5 + process_module.STOP_SPARE_S
    lines = ledger(tmp_path)
    assert {close.outcome for close in lines_of(lines, Close)} == {"timeout"}
    assert len(lines_of(lines, Invoke)) == len(lines_of(lines, Close))
    assert lines_of(lines, LoadEnded)


def test_a_load_that_is_stopped_at_once_writes_down_what_is_unfinished(tmp_path: Path) -> None:
    with answering(b"", then=servers.hang) as server, load_of(tmp_path, timeout_s=60.0) as load:
        load.publish("web.1", "127.0.0.1", server.port)
        load.start()
        until(lambda: load.in_flight("web.1") == 8)
        assert load.sent("web.1") == 8
        began = time.monotonic()
        load.stop(at_once=True)
        assert time.monotonic() - began < process_module.STOP_SPARE_S
    lines = ledger(tmp_path)
    assert Counter(close.outcome for close in lines_of(lines, Close)) == {"unfinished": 8}
    assert lines_of(lines, LoadEnded)


def test_sigterm_ends_the_load_in_order_and_sigint_does_not(tmp_path: Path) -> None:
    with CountingServer() as server, load_of(tmp_path) as load:
        load.publish("web.1", "127.0.0.1", server.port)
        load.start()
        os.kill(load.pid, signal.SIGINT)
        before = server.count
        until(lambda: server.count > before + 50)
        os.kill(load.pid, signal.SIGTERM)
        until(lambda: not load.alive())
    assert lines_of(ledger(tmp_path), LoadEnded)


@pytest.mark.parametrize("started", [True, False])
def test_everything_ends_when_the_harness_is_killed(tmp_path: Path, started: bool) -> None:  # noqa: FBT001  parametrized
    script = f"""
import sys, time
from pathlib import Path
from harness.load.process import ProcessLoad
from harness.load.spec import LoadSpec, RequestSpec, TlsSpec
folder = Path(sys.argv[1])
load = ProcessLoad(LoadSpec(seed=1, requests=(RequestSpec(method="GET", path="/"),)), history=folder, logs=folder, run_id="test")
load.prepare()
if {started}:
    load.start()
print(load.pid, load.control_pid, flush=True)
time.sleep(60)  # until it is killed
"""
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None
        pids = [int(pid) for pid in harness.stdout.readline().split()]
        harness.kill()
        harness.wait()
        assert len(pids) == 2
        until(lambda: not any(running(pid) for pid in pids))
    if started:
        assert lines_of(ledger(tmp_path), LoadEnded)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_nothing_arrives_after_a_withdrawal_with_nothing_on_the_way(tmp_path: Path) -> None:
    with CountingServer() as victim, CountingServer() as other, load_of(tmp_path, users=16) as load:
        load.publish("web.1", "127.0.0.1", victim.port)
        load.publish("web.2", "127.0.0.1", other.port)
        load.start()
        quiet_ns: list[tuple[int, int]] = []
        for _ in range(60):
            before = victim.count
            until(lambda: victim.count > before)  # noqa: B023  it is awaited here
            load.withdraw("web.1")
            until(lambda: load.on_the_way("web.1") == 0)
            from_ns = time.monotonic_ns()
            until(lambda: load.in_flight("web.1") == 0)
            seen, elsewhere = victim.count, other.count
            until(lambda: other.count > elsewhere + 30)  # noqa: B023  as above
            assert victim.count == seen
            quiet_ns.append((from_ns, time.monotonic_ns()))
            load.publish("web.1", "127.0.0.1", victim.port)
        load.stop()
    lines = ledger(tmp_path)
    to_victim = {(line.op, line.n) for line in lines_of(lines, Invoke) if line.replica == "web.1"}
    sent = [line.sent_ns for line in lines_of(lines, Close) if (line.op, line.n) in to_victim]
    assert len(sent) > 60
    assert not [at for at in sent for start, end in quiet_ns if start < at < end]
    assert {close.outcome for close in lines_of(lines, Close)} == {"ok"}


def test_the_open_model_keeps_its_rate(tmp_path: Path) -> None:
    with CountingServer() as server, load_of(tmp_path, rate_per_s=300.0, users=50) as load:
        load.publish("web.1", "127.0.0.1", server.port)
        load.start()
        until(lambda: server.count > 200)
        load.stop()
    invokes = lines_of(ledger(tmp_path), Invoke)
    dues = sorted(invoke.due_ns for invoke in invokes)  # after a stop, who was woken for one may begin after who took the next himself
    distances = {later - sooner for sooner, later in pairwise(dues)}
    assert {round(1e9 / 300)} <= distances <= {round(1e9 / 300), round(1e9 / 300) + 1}
    assert all(invoke.at_ns >= invoke.due_ns for invoke in invokes)


def test_arrivals_for_which_no_user_was_idle_are_told_apart_in_the_samples(tmp_path: Path) -> None:
    with answering(b"", then=servers.hang) as server, load_of(tmp_path, rate_per_s=200.0, users=2, timeout_s=0.5) as load:
        load.publish("web.1", "127.0.0.1", server.port)
        load.start()
        until(lambda: load.begun >= 4)
        load.stop()
    samples = lines_of(ledger(tmp_path), Generator)
    assert 0 < sum(sample.crowded for sample in samples) <= sum(sample.late for sample in samples)
    assert all(sample.crowded <= sample.late <= sample.arrivals for sample in samples)


def test_a_load_that_ends_by_itself_is_not_alive(tmp_path: Path) -> None:
    with load_of(tmp_path, longest_s=0.2) as load:
        load.start()
        until(lambda: not load.alive())


def test_a_load_that_has_ended_before_anybody_looked_again_has_begun_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with load_of(tmp_path, longest_s=0.2) as load:
        load.prepare()
        ended = load._ended

        def ended_in_the_end() -> str:
            assert load._child is not None
            load._child.wait(60)
            return ended()

        monkeypatch.setattr(load, "_ended", ended_in_the_end)
        load.start()
        assert not load.alive()


def test_a_load_that_cannot_begin_says_why_with_its_log(tmp_path: Path) -> None:
    why = r"^the load process ended before the load began \(its log: \S+/load\.log\): .*unknown placeholder.*$"
    with load_of(tmp_path, requests=(RequestSpec(method="GET", path="/{nonsense}"),)) as load, pytest.raises(MachineError, match=why):
        load.start()


def test_a_ledger_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "ops.jsonl").mkdir()
    with load_of(tmp_path) as load, pytest.raises(MachineError, match=r"can't write \S+/ops\.jsonl: Is a directory; free space, or"):
        load.start()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Processes that are started meanwhile can make no larger file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_load_without_room_for_its_ledger_says_so_in_one_sentence(tmp_path: Path) -> None:
    with load_of(tmp_path) as load:
        with largest_file(1 << 20):
            load.prepare()
        with pytest.raises(MachineError) as told:
            load.start()
    sentence = f"can't write {tmp_path / 'ops.jsonl'}: File too large; free space, or name another folder with --reports"
    assert str(told.value) == f"the load process ended before the load began (its log: {tmp_path / 'load.log'}): {sentence}"
    assert (tmp_path / "load.log").read_text() == f"{sentence}\n"


def test_a_control_server_that_ends_before_the_load_begins_is_told(tmp_path: Path) -> None:
    with load_of(tmp_path) as load:
        load.prepare()
        os.kill(load.control_pid, signal.SIGKILL)
        until(lambda: not load.alive())
        with pytest.raises(MachineError, match=r"^the control server ended before the load began .*: \(nothing\)$"):
            load.start()


def test_a_control_server_that_ends_meanwhile_ends_the_trust_in_the_load_and_its_silence_is_on_record(tmp_path: Path) -> None:
    with load_of(tmp_path) as load:
        load.start()
        path = tmp_path / "ops.jsonl"
        until(lambda: b'"ok":true' in path.read_bytes())
        assert load.alive()
        os.kill(load.control_pid, signal.SIGKILL)
        until(lambda: not load.alive())
        until(lambda: b"ECONNREFUSED" in path.read_bytes())
        load.stop()
    controls = lines_of(ledger(tmp_path), Control)
    assert {control.error for control in controls if control.ok} == {""}
    failed = [control.error for control in controls if not control.ok]
    assert "ECONNREFUSED" in failed
    assert set(failed) <= {"ECONNREFUSED", "ECONNRESET", "FIN"}


def test_a_control_server_that_stands_still_is_on_record(tmp_path: Path) -> None:
    with load_of(tmp_path) as load:
        load.start()
        path = tmp_path / "ops.jsonl"
        until(lambda: b'"ok":true' in path.read_bytes())
        os.kill(load.control_pid, signal.SIGSTOP)
        until(lambda: b'"ok":false' in path.read_bytes())
        assert load.alive()
        os.kill(load.control_pid, signal.SIGCONT)
        load.stop()
    assert "TIMEOUT" in {control.error for control in lines_of(ledger(tmp_path), Control) if not control.ok}


def test_a_load_process_that_stands_still_notices_and_says_for_how_long(tmp_path: Path) -> None:
    with load_of(tmp_path) as load:
        load.start()
        path = tmp_path / "ops.jsonl"
        until(lambda: b'"generator"' in path.read_bytes())
        os.kill(load.pid, signal.SIGSTOP)
        goes_on = time.monotonic() + 0.6
        until(lambda: time.monotonic() > goes_on)
        os.kill(load.pid, signal.SIGCONT)
        until(lambda: any(sample.lag_ns > 300_000_000 for sample in lines_of(ledger(tmp_path), Generator)))
        load.stop()


def test_the_header_is_written_by_the_harness_alone(tmp_path: Path) -> None:
    with load_of(tmp_path) as load:
        load.start()
        load.stop()
    assert not lines_of(ledger(tmp_path), Header)


def test_the_harness_imports_neither_locust_nor_gevent() -> None:
    script = "import sys, harness.load.process, harness.load.fake; print({'locust', 'gevent', 'pydantic'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=30)
    assert found.stdout.strip() == "set()"


def test_a_ledger_that_can_grow_no_more_ends_the_load_and_says_so(tmp_path: Path) -> None:
    with CountingServer() as server, load_of(tmp_path) as load:
        load.publish("web.1", "127.0.0.1", server.port)
        with largest_file(6 << 20):
            load.prepare()
        load.start()
        until(lambda: not load.alive(), within_s=120.0)
        seen = set(server.seen)
    lines = ledger(tmp_path)
    sentence = f"can't write {tmp_path / 'ops.jsonl'}: File too large; free space, or name another folder with --reports"
    assert (tmp_path / "load.log").read_text() == f"{sentence}\n"
    assert not lines_of(lines, LoadEnded)
    assert seen <= {(line.op, line.n) for line in lines_of(lines, Invoke)}
