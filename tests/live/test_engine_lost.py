"""A Docker engine that goes away under a whole run, or that somebody else uses on it: nobody blames the app, and nothing is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from harness.cleanup import clean_run
from harness.dockerd import Daemon, translated
from tests.engines.containers import Proxy
from tests.live.harnesses import ROOT, await_event, events_of, output_of, result_of, run_folder, running
from tests.live.processes import left_in, left_of, wait_until

SUDDEN_DEATH = ROOT / "scenarios/quickstart/2-sudden-death.yaml"
ENDED_WITHIN_S = 60
GONE_WITHIN_S = 30

pytestmark = [pytest.mark.slow, pytest.mark.live, pytest.mark.docker]


@pytest.fixture
def proxy(daemon: Daemon, tmp_path: Path) -> Iterator[Proxy]:
    if not daemon.url.startswith("unix://"):
        pytest.skip("the engine is not reached by a unix socket")
    proxy = Proxy(tmp_path / "docker.sock", daemon.url.removeprefix("unix://"))
    yield proxy
    proxy.close()


@contextmanager
def cleaned(reports: Path, proxy: Proxy) -> Iterator[None]:
    """Whatever fails, nothing waits for an engine that will never be back."""
    try:
        yield
    finally:
        proxy.close()
        proxy.open()
        folder = run_folder(reports)
        if folder is not None:
            clean_run(folder.name)


def watchdogs_of(run_id: str) -> list[str]:
    """The watchdog is told by its command line, which names the run: it has no mark, or it would remove itself."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if run_id.encode() in path.read_bytes():
                found.append(f"watchdog {path.parent.name}")
        except OSError:
            continue  # it is gone
    return found


def assert_unknown_because(folder: Path, code: int, sentence: str) -> None:
    """The run says in one sentence what became of the engine, on the screen and in its reports, and blames the app for nothing."""
    output = " ".join(output_of(folder.parent).read_text().split())  # wherever its lines are broken
    assert code == 7, output
    assert "Traceback" not in output
    assert output.count(sentence) == 1, output
    (lost,) = events_of(folder, "engine-lost")
    (ended,) = events_of(folder, "run-ended")
    assert sentence in lost["why"]
    assert (ended["how"], ended["why"]) == ("aborted", lost["why"])
    result = result_of(folder)
    assert result["verdict"] == "unknown"
    assert [finding for finding in result["findings"] if finding["verdict"] == "fail"] == []
    assert [finding["name"] for finding in result["findings"] if sentence in finding["title"] + " ".join(finding["evidence"])]


def test_a_run_whose_engine_goes_away_is_unknown_and_what_it_left_goes_when_the_engine_is_back(
    tmp_path: Path, daemon: Daemon, proxy: Proxy, record_property: Callable[[str, object], None]
) -> None:
    reports = tmp_path / "reports"
    with cleaned(reports, proxy):
        with running(SUDDEN_DEATH, reports, "docker", DOCKER_HOST=f"unix://{proxy.path}") as harness:
            folder = await_event(harness, reports, "step-began", name="kill")
            proxy.close()
            harness.wait(timeout=ENDED_WITHIN_S)
        assert_unknown_because(folder, harness.returncode, "the Docker engine went away in the middle of the run")
        assert left_in(daemon, folder.name), "the engine could not have been asked to remove anything"
        assert watchdogs_of(folder.name)
        proxy.open()
        back_s = time.monotonic()

        def left() -> list[str]:
            return left_of(folder.name) + left_in(daemon, folder.name) + watchdogs_of(folder.name)

        wait_until(lambda: not left(), within_s=GONE_WITHIN_S, why=lambda: f"left: {left()}")
        record_property("gone_after_s", round(time.monotonic() - back_s, 2))


def test_a_run_of_which_somebody_else_stops_a_container_is_unknown(tmp_path: Path, daemon: Daemon) -> None:
    reports, scenario = tmp_path / "reports", tmp_path / "scenario.yaml"
    document = yaml.safe_load(SUDDEN_DEATH.read_text())
    document["target"]["web"]["build"]["context"] = str(ROOT / "sample_apps")
    document["steps"] = [{"kill": "any"}, {"steady": "30s"}]  # so that nobody is killed whom the test has chosen
    scenario.write_text(yaml.safe_dump(document))
    with running(scenario, reports, "docker") as harness:
        folder = await_event(harness, reports, "signalled", purpose="kill")
        victims = {event["replica"] for event in events_of(folder, "signalled")}
        spared = next(event["replica"] for event in events_of(folder, "spawned") if event["replica"] not in victims)
        with translated():
            daemon.api.stop(f"jetable-{folder.name}-{spared}", timeout=5)
        harness.wait(timeout=ENDED_WITHIN_S)
    assert_unknown_because(folder, harness.returncode, "somebody else sent signal 15 to")
    assert left_of(folder.name) + left_in(daemon, folder.name) == []
