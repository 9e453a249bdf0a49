"""`jetable bench` on real processes: targets that behave and targets that do not, and a bench that is stopped or killed in its middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.benches import Bench, Series, read_bench
from tests.live.commands import Ended, jetable
from tests.live.harnesses import ROOT, ctrl_c_heard, events_of, output_of, run_folder
from tests.live.processes import left_of, wait_until

APP = '''\
"""Answers every request on PORT with 200 and ends on SIGTERM, unless its first word says otherwise."""
import os, signal, socket, sys, threading, time

def answer(client):
    with client:
        while data := client.recv(65536):
            client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")

how = sys.argv[1] if len(sys.argv) > 1 else ""
signal.signal(signal.SIGTERM, signal.SIG_IGN if how == "stubborn" else lambda *_: os._exit(0))
if how == "crashes":
    sys.exit("boom: no configuration")
if how == "passes":
    time.sleep(1)
    sys.exit(4)
while how == "never":
    time.sleep(60)
if how == "early":
    print("ready", flush=True)
    time.sleep(1.5)
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=100)
print("listening", flush=True)
while True:
    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
'''
SCENARIO = """\
jetable: 1
name: a bench of {how}
target:
  web:
    command: ["{{python}}", -I, -S, {app}, {how}]
    healthcheck: {{tcp: true, start_period: {patience}}}
    stop_grace_period: {grace}
    replicas: 2
load: {{requests: [GET /]}}
steps:
  - steady: 1s
"""
FOR_LONG = ("--runs", "10000")
GONE_WITHIN_S = 10
MEASURED_WITHIN_S = 40

pytestmark = [pytest.mark.slow, pytest.mark.live]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(APP)
    return path


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    return tmp_path / "reports"


def words(app: Path, how: str = "") -> list[str | Path]:
    """The words after ``--`` that start it."""
    return ["--", sys.executable, "-I", "-S", app, *([how] if how else [])]


def scenario(app: Path, how: str = "plain", *, patience: str = "30s", grace: str = "30s") -> Path:
    path = app.with_name(f"{how}.yaml")
    path.write_text(SCENARIO.format(app=app, how=how, patience=patience, grace=grace))
    return path


def stored(reports: Path) -> Bench:
    """The bench that there is; nothing of it is left."""
    folder = run_folder(reports)
    assert folder is not None
    assert left_of(folder.name) == []
    return read_bench(folder)


def series(bench: Bench, metric: str, under: str = "idle", at_once: int = 1, variant: int = 0) -> Series:
    found = [each for each in bench.variants[variant].series if (each.metric, each.under, each.at_once) == (metric, under, at_once)]
    assert len(found) == 1, (metric, under, at_once)
    return found[0]


def assert_told(ended: Ended, code: int, *texts: str) -> None:
    told = " ".join(ended.output.split())
    assert ended.code == code, ended.output
    assert "Traceback" not in ended.output.replace("Traceback of the app", "")
    for text in texts:
        assert text in told, ended.output


# --- targets that behave --------------------------------------------------------------------------------------------------------


def test_a_command_is_timed_shown_stored_and_exported(tmp_path: Path, reports: Path) -> None:
    places = {name: tmp_path / f"out.{name}" for name in ("json", "csv", "markdown")}
    exports = [word for name, place in places.items() for word in (f"--export-{name}", place)]
    flags = ["--runs", "3", "--warmup", "1", "-L", "n", "1,2", "--env", "N={n}", "--no-imports", "--show-output", "--seed", "3"]
    command = ["--", sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "{port}"]
    ended = jetable("bench", "--reports", reports, *flags, *exports, *command)
    assert_told(ended, 0, "n=1", "n=2", "3 starts", "1 warm-up", '"GET / HTTP/1.1" 200', "listening", "first answer", "exited")
    bench = stored(reports)
    assert (bench.seed, bench.how) == (3, "finished")
    for number in (0, 1):
        running, listening, healthy, answered = (
            series(bench, metric, variant=number).samples
            for metric in ("time_to_running", "time_to_listening", "startup_time", "time_to_first_answer")
        )
        assert len(healthy) == 3
        for phases in zip(running, listening, healthy, answered, strict=True):
            assert list(phases) == sorted(phases)
            assert phases[0] > 0
        assert len(series(bench, "shutdown_time", variant=number).samples) == 3
        assert all(sample > 0 for sample in series(bench, "start_cpu_time", variant=number).samples)
        assert all(sample > 1_000_000 for sample in series(bench, "peak_memory", variant=number).samples)
    results = json.loads(places["json"].read_text())["results"]
    assert [result["parameters"] for result in results] == [{"n": "1"}, {"n": "2"}]
    for result in results:
        assert result["min"] <= result["median"] <= result["max"]
        assert len(result["times"]) == len(result["exit_codes"]) == 3
    assert len(places["csv"].read_text().splitlines()) > 3
    assert "|" in places["markdown"].read_text()


def test_every_condition_without_load_has_its_starts_and_stops(app: Path, reports: Path) -> None:
    flags = ["--runs", "2", "--under", "idle,kill,keep-alive", "--at-once", "1,3"]
    ended = jetable("bench", "--reports", reports, *flags, "--", sys.executable, app)  # without -I, so that it tells its imports
    assert_told(ended, 0)
    bench = stored(reports)
    (variant,) = bench.variants
    starts = {(each.under, each.at_once): (each.starts, each.failed, each.killed) for each in variant.attempts}
    usual = {(under, 1): (2, 0, 0) for under in ("idle", "clean", "kill", "keep-alive", "at-once")}
    assert starts == usual | {("at-once", 3): (6, 0, 0)}
    assert len(series(bench, "time_to_first_answer", "kill").samples) == 2
    assert len(series(bench, "shutdown_time", "at-once", 3).samples) == 6
    assert not [each for each in variant.series if (each.metric, each.under) == ("shutdown_time", "clean")]
    assert variant.imports  # it is a Python app, so it was started once more


def test_a_start_and_a_stop_under_load_are_beside_others_that_are_not_timed(app: Path, reports: Path) -> None:
    ended = jetable("bench", "--reports", reports, "--runs", "2", "--under", "load", "--no-imports", scenario(app))
    assert_told(ended, 0)
    bench = stored(reports)
    assert [(each.under, each.starts, each.failed) for each in bench.variants[0].attempts] == [("load", 2, 0)]
    assert len(series(bench, "time_to_first_answer", "load").samples) == 2


# --- targets that do not --------------------------------------------------------------------------------------------------------


def test_a_target_that_never_gets_ready_is_said_once_and_ends_the_bench_with_1(app: Path, reports: Path) -> None:
    ended = jetable("bench", "--reports", reports, scenario(app, "never", patience="500ms"))
    assert_told(ended, 1, "3 of 3 starts never got healthy", "its port was never open (waited 500ms)", "the first 3 starts all failed")
    bench = stored(reports)
    assert [(each.starts, each.failed) for each in bench.variants[0].attempts] == [(3, 3)]
    assert {each.reason for each in bench.variants[0].failed} == {"never-healthy"}
    assert not [each for each in bench.variants[0].series if each.metric in ("startup_time", "shutdown_time")]


def test_a_target_that_exits_is_said_with_its_status_and_last_words(app: Path, reports: Path) -> None:
    ended = jetable("bench", "--reports", reports, "--warmup", "1", *words(app, "crashes"))
    assert_told(ended, 1, "it exited with status 1 before it was healthy", "boom: no configuration")
    assert [each.reason for each in stored(reports).variants[0].failed] == ["exited"] * 3


def test_a_target_that_counts_as_healthy_and_then_exits_is_in_the_books(app: Path, reports: Path) -> None:
    ended = jetable("bench", "--reports", reports, "--runs", "2", "--no-imports", "--healthcheck", "running", *words(app, "passes"))
    assert_told(ended, 1, "got healthy and ended unasked: with status 4")
    assert len(stored(reports).variants[0].failed) == 2


def test_a_target_that_is_ready_before_it_listens_is_warned_about(app: Path, reports: Path) -> None:
    flags = ["--runs", "2", "--no-imports", "--healthcheck", "log:ready"]
    ended = jetable("bench", "--reports", reports, *flags, *words(app, "early"))
    assert_told(ended, 0, "2 of 2 starts were healthy before their port was open", "ask it over HTTP")
    bench = stored(reports)
    pairs = zip(series(bench, "startup_time").samples, series(bench, "time_to_listening").samples, strict=True)
    assert all(ready < open_ for ready, open_ in pairs)


def test_a_target_whose_log_tells_of_a_port_that_is_open_is_not(app: Path, reports: Path) -> None:
    flags = ["--runs", "2", "--no-imports", "--healthcheck", "log:listening"]
    ended = jetable("bench", "--reports", reports, *flags, *words(app))
    assert_told(ended, 0)
    assert "before their port was open" not in ended.output


def test_a_target_that_ignores_sigterm_is_killed_in_the_books(app: Path, reports: Path) -> None:
    ended = jetable("bench", "--reports", reports, "--runs", "2", "--no-imports", scenario(app, "stubborn", grace="200ms"))
    assert_told(ended, 0, "2 stops killed at the end of the grace")
    bench = stored(reports)
    assert [(each.starts, each.failed, each.killed) for each in bench.variants[0].attempts] == [(2, 0, 2)]
    assert all(sample >= 0.2 for sample in series(bench, "shutdown_time").samples)  # the grace, not a time that is judged


def test_what_can_t_prepare_leaves_nothing(app: Path, reports: Path) -> None:
    ended = jetable("bench", "--reports", reports, "--prepare", "echo no database; exit 3", *words(app))
    assert_told(ended, 4, "--prepare 'echo no database; exit 3' ended with status 3: no database")
    assert not reports.exists()


# --- a bench that is cut short --------------------------------------------------------------------------------------------------


@contextmanager
def benching(app: Path, reports: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """A bench that takes very long; it is killed at the end if it still runs."""
    command = [sys.executable, "-m", "harness", "bench", "--reports", str(reports), *FOR_LONG, *flags, *map(str, words(app))]
    with output_of(reports).open("wb") as output, ctrl_c_heard():
        environment = {**os.environ, "NO_COLOR": "1"}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def await_cycles(harness: subprocess.Popen[bytes], reports: Path, count: int) -> Path:
    """Wait until so many cycles are recorded; returns the bench's folder."""

    def recorded() -> bool:
        folder = run_folder(reports)
        if folder is not None and len(events_of(folder / "session-1", "cycled")) >= count:
            return True
        assert harness.poll() is None, output_of(reports).read_text()
        return False

    wait_until(recorded, within_s=MEASURED_WITHIN_S, why=lambda: output_of(reports).read_text())
    folder = run_folder(reports)
    assert folder is not None
    return folder


@pytest.mark.parametrize("flags", [(), ("--at-once", "4")])
def test_a_bench_that_is_stopped_in_its_middle_keeps_what_it_has_and_leaves_nothing(
    flags: tuple[str, ...], app: Path, reports: Path
) -> None:
    with benching(app, reports, *flags) as harness:
        folder = await_cycles(harness, reports, 3)
        harness.send_signal(signal.SIGINT)
        harness.wait(timeout=30)
    output = output_of(reports).read_text()
    assert harness.returncode == 2, output
    assert "Traceback" not in output
    assert "INTERRUPTED" in output
    bench = stored(reports)
    assert bench.how == "interrupted"
    assert sum(each.starts for each in bench.variants[0].attempts) >= 3
    assert read_bench(reports / "latest") == bench
    assert left_of(folder.name) == []


def test_nothing_is_left_of_a_bench_whose_harness_is_killed(app: Path, reports: Path) -> None:
    with benching(app, reports) as harness:
        folder = await_cycles(harness, reports, 2)
        harness.kill()
        harness.wait()
        wait_until(lambda: not left_of(folder.name), within_s=GONE_WITHIN_S, why=lambda: f"left: {left_of(folder.name)}")
    assert not (folder / "bench.json").exists()
