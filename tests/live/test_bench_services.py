"""Benches under a slow and an absent service, from the command line: a small app that asks Redis before it is ready, and a sample."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.benches import Bench, Variant, read_bench
from tests.live.commands import ROOT, jetable, run_until_known
from tests.live.processes import left_of
from tests.live.selection import on

SLOW_S = 1.0
"""Longer than chance makes one start differ from another."""

AWAY_S = 1.0
NEEDS_REDIS = ROOT / "scenarios/bench/needs-redis.yaml"

APP = """
import os, socket, sys, time

host, port = os.environ["REDIS_URL"].partition("://")[2].partition("/")[0].rpartition("@")[2].split(":")
while True:  # before it loads what takes long: it is to have found no service before that is back
    try:
        with socket.create_connection((host, int(port)), timeout=5) as redis:
            redis.sendall(b"PING\\r\\n")
            assert redis.recv(100) == b"+PONG\\r\\n"
        break
    except (OSError, AssertionError) as error:
        if sys.argv[1] == "gives-up":
            sys.exit(f"no Redis: {error}")
        time.sleep(0.01)

import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

SCENARIO = """
jetable: 1
name: {name}
target:
  web:
    command: ["{{python}}", -I, -S, {app}, {name}]
    healthcheck: /
services:
  redis:
load:
  requests: [GET /]
steps:
  - steady: 1s
"""

pytestmark = [pytest.mark.slow, pytest.mark.live]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Path]]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: install the Debian package redis-server")
    folder = tmp_path_factory.mktemp("bench")
    app = folder / "app.py"
    app.write_text(APP)
    files = [folder / f"{name}.yaml" for name in ("waits", "gives-up")]
    for file in files:
        file.write_text(SCENARIO.format(name=file.stem, app=app))
    asked = ["--under", "idle,service-slow,service-down", "--slow", f"{round(1000 * SLOW_S)}ms", "--runs", "2"]
    ended = jetable("bench", *files, *asked, "--reports", folder / "reports")
    assert ended.code == 1, ended.output  # a start failed, and is told
    yield the_bench(folder / "reports")
    shutil.rmtree(folder)


def the_bench(reports: Path) -> tuple[Bench, Path]:
    """The only one that is stored there, and its folder."""
    (stored,) = (path for path in reports.glob("*/bench.json") if not path.parent.is_symlink())
    return read_bench(stored), stored.parent


def variant(bench: Bench, name: str) -> Variant:
    (found,) = (each for each in bench.variants if name in each.name)
    return found


def starts(of: Variant, under: str) -> tuple[float, ...]:
    return next((series.samples for series in of.series if series.metric == "startup_time" and series.under == under), ())


def test_a_start_with_a_slow_service_takes_longer_by_the_delay(bench: tuple[Bench, Path]) -> None:
    for name in ("waits", "gives-up"):
        idle, slow = (starts(variant(bench[0], name), under) for under in ("idle", "service-slow"))
        assert len(idle) == len(slow) == 2
        assert min(slow) >= SLOW_S
        assert max(slow) > min(idle)


def test_a_target_that_waits_for_its_service_is_healthy_once_it_is_back(bench: tuple[Bench, Path]) -> None:
    waits = variant(bench[0], "waits")
    down = starts(waits, "service-down")
    assert len(down) == 2
    assert min(down) >= 0.9 * AWAY_S  # it runs a moment before the harness knows
    assert not waits.failed


def test_a_target_that_gives_up_without_its_service_is_a_failed_start_in_the_books(bench: tuple[Bench, Path]) -> None:
    gives_up = variant(bench[0], "gives-up")
    assert {(failed.under, failed.reason) for failed in gives_up.failed} == {("service-down", "exited")}
    assert len(gives_up.failed) == 2
    assert all("no Redis" in line for failed in gives_up.failed for line in failed.log[-1:])
    assert not starts(gives_up, "service-down")
    (attempts,) = (each for each in gives_up.attempts if each.under == "service-down")
    assert (attempts.starts, attempts.failed) == (2, 2)


def test_a_bench_with_services_leaves_nothing(bench: tuple[Bench, Path]) -> None:
    for number in (1, 2):
        assert not left_of(f"{bench[1].name}-{number}")


@pytest.mark.parametrize(("engine", "path"), on("process", [NEEDS_REDIS]))
def test_the_sample_that_needs_redis_passes_as_a_run_as_well(engine: str, path: Path, tmp_path: Path) -> None:
    ended, result = run_until_known(path, engine, tmp_path)
    assert ended.code == 0, ended.output
    assert result["verdict"] == "pass"


@pytest.mark.docker
@pytest.mark.parametrize(("engine", "path"), on("docker", [NEEDS_REDIS]))
def test_containers_reach_a_slow_service_and_start_from_an_image_that_was_loaded_anew(engine: str, path: Path, tmp_path: Path) -> None:
    asked = ["--under", "idle,service-slow,service-down", "--slow", "100ms", "--runs", "1", "--cold", "image"]
    ended = jetable("bench", path, "--engine", engine, *asked, "--reports", tmp_path)
    assert ended.code == 0, ended.output
    bench, folder = the_bench(tmp_path)
    (only,) = bench.variants
    assert only.cold == ("image",)
    (idle,), (slow,), (down,) = (starts(only, under) for under in ("idle", "service-slow", "service-down"))
    assert slow > 0.1
    assert down >= 0.9 * AWAY_S
    assert idle > 0
    assert not left_of(f"{folder.name}-1")
