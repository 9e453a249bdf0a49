"""The pytest plug-in, as people use it: ``pytest`` in a folder with scenario files."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.live.commands import TRIES, is_the_machines, results
from tests.live.harnesses import await_load, ctrl_c_heard
from tests.live.processes import left_of, wait_until

ROOT = Path(__file__).parent.parent
WITHIN_S = 90

pytestmark = pytest.mark.slow

APP = """
import http.server, os, signal, sys, threading, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        time.sleep(0.05)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
server.serve_forever()
"""

SCENARIO = """\
jetable: 1
name: "{name}"
target:
  web:
    command: ["{{python}}", app.py]
    working_dir: .
    healthcheck: tcp
    stop_grace_period: 2s
load:
  users: 4
  requests:
    - GET /
steps:
  - {step}
"""


OTHERS = """\
import pytest


class Item(pytest.Item):
    def runtest(self):
        pass


class File(pytest.File):
    def collect(self):
        yield Item.from_parent(self, name="of another plug-in")


def pytest_collect_file(file_path, parent):
    return File.from_parent(parent, path=file_path) if file_path.suffix == ".yaml" else None
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of somebody's with an app, into which Jetable is installed with its entry point."""
    (tmp_path / "app.py").write_text(APP)
    installed = tmp_path / "installed/jetable_as_installed-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: jetable-as-installed\nVersion: 0\n")
    (installed / "entry_points.txt").write_text("[pytest11]\njetable = harness.pytest_plugin\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\naddopts = --strict-markers -p no:cacheprovider\n")
    return tmp_path


def scenario(project: Path, file: str, name: str, step: str = "steady: 100ms") -> Path:
    path = project / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if not (path.parent / "app.py").exists():
        (path.parent / "app.py").write_text(APP)
    path.write_text(SCENARIO.format(name=name, step=step))
    return path


def environment(project: Path) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("JETABLE_", "PYTEST_", "COV_"))}
    return plain | {"PYTHONPATH": os.pathsep.join([str(project / "installed"), str(ROOT)]), "NO_COLOR": "1", "COLUMNS": "160"}


def run_pytest(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True, timeout=WITHIN_S, check=False)


def run_known(project: Path, *arguments: str, reports: str = "reports") -> subprocess.CompletedProcess[str]:
    """The same; again, at most twice, where its runs say themselves that this machine had no time for them and nothing else is wrong."""
    for number in range(TRIES):
        if number:
            shutil.rmtree(project / reports)
        ended = run_pytest(project, *arguments)
        ills = [each for each in results(project / reports) if each["exit_code"]]
        if not ills or not all(is_the_machines(each["exit_code"], each) for each in ills):
            break
    return ended


def test_only_files_that_say_jetable_are_collected_and_nothing_is_started(project: Path) -> None:
    scenario(project, "scenarios/one.yaml", "the first")
    scenario(project, "scenarios/two.yml", "the second")
    (project / "scenarios/json.yaml").write_text(
        '{"jetable": 1, "name": "third", "target": {"web": {"command": "x"}}, "load": {"requests": ["GET /"]}, "steps": [{"steady": "1s"}]}'
    )
    (project / "compose.yaml").write_text("services:\n  web:\n    image: x\n    # jetable: 1\n")
    (project / "broken-of-others.yaml").write_text("{{ not yaml\n")
    (project / "binary.yaml").write_bytes(b"\xff\xfe\0j")
    (project / "notes.txt").write_text("jetable: 1\n")
    ended = run_pytest(project, "--collect-only", "-q")
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.splitlines()[:3] == [
        "scenarios/json.yaml::third",
        "scenarios/one.yaml::the first",
        "scenarios/two.yml::the second",
    ]
    assert "3 tests collected" in ended.stdout
    (project / "reports/some-run/history").mkdir(parents=True)
    (project / "reports/some-run/history/events.jsonl").touch()
    scenario(project, "reports/some-run/plan.yaml", "what a run keeps")
    assert "3 tests collected" in run_pytest(project, "--collect-only", "-q").stdout
    assert "1 test collected" in run_pytest(project, "--collect-only", "-q", "reports/some-run/plan.yaml").stdout
    (project / "reports/some-run/plan.yaml").unlink()
    (project / "reports/some-run/history/events.jsonl").unlink()
    assert not [path for path in (project / "reports").rglob("*") if path.is_file() and path.name != "app.py"]


def test_scenarios_are_chosen_by_name_by_file_and_by_marker(project: Path) -> None:
    scenario(project, "scenarios/one.yaml", "stops in order")
    scenario(project, "scenarios/two.yaml", "scales :: and rolls")
    (project / "test_other.py").write_text("def test_other(): pass\n")

    def collected(*arguments: str) -> list[str]:
        return [line for line in run_pytest(project, "--collect-only", "-q", *arguments).stdout.splitlines() if "::" in line]

    assert collected("-k", "order") == ["scenarios/one.yaml::stops in order"]
    assert collected("-m", "jetable", "-k", "two") == ["scenarios/two.yaml::scales : and rolls"]
    assert collected("-m", "not jetable") == ["test_other.py::test_other"]
    assert collected("scenarios/two.yaml::scales : and rolls") == ["scenarios/two.yaml::scales : and rolls"]
    assert collected("--jetable-repeat", "2", "-k", "order") == [f"scenarios/one.yaml::stops in order[{n}]" for n in (1, 2)]
    assert collected("scenarios", "-p", "no:jetable") == []


def test_a_broken_scenario_is_an_error_of_the_collection_in_sentences(project: Path) -> None:
    scenario(project, "scenarios/one.yaml", "x", step="steady: 5")
    (project / "scenarios/two.yaml").write_text("jetable: 1\nname: x\nname: y\nstpes: []\n")
    (project / "scenarios/three.yaml").write_bytes(b"jetable: 1\nname: \xff\n")
    ended = run_pytest(project, "scenarios")
    assert ended.returncode == 2
    assert re.search(r"^scenarios/one\.yaml:14:13: steps\[0\]\.steady: ", ended.stdout, re.MULTILINE), ended.stdout
    assert "scenarios/two.yaml:3:1: " in ended.stdout
    assert "scenarios/two.yaml:4:1: stpes: " in ended.stdout
    assert "scenarios/three.yaml:2:7: not UTF-8" in ended.stdout
    assert "Traceback" not in ended.stdout
    assert "harness/" not in ended.stdout


def test_a_scenario_without_its_first_line_is_told_and_never_left_out_in_silence(project: Path) -> None:
    forgotten = scenario(project, "scenarios/one.yaml", "x")
    forgotten.write_text(forgotten.read_text().removeprefix("jetable: 1\n"))
    assert "jetable" not in forgotten.read_text()
    scenario(project, "scenarios/two.yaml", "y")
    says = 'scenarios/one.yaml:1:1: the key "jetable" is missing; write jetable: 1 as the first line'
    for named in ("scenarios", "scenarios/one.yaml"):
        ended = run_pytest(project, named)
        assert ended.returncode == 2, ended.stdout
        assert says in ended.stdout


def test_a_yaml_file_that_is_named_is_a_scenario_unless_another_plugin_takes_it(project: Path) -> None:
    (project / "notes.yaml").write_text("some: notes\n")
    assert run_pytest(project, "--collect-only").returncode == 5
    ended = run_pytest(project, "notes.yaml")
    assert ended.returncode == 2
    assert 'notes.yaml:1:1: the key "jetable" is missing' in ended.stdout
    (project / "conftest.py").write_text(OTHERS)
    ended = run_pytest(project, "--collect-only", "-q", "notes.yaml")
    assert (ended.returncode, ended.stdout.splitlines()[0]) == (0, "notes.yaml::of another plug-in"), ended.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--jetable-engine", "dokcer"], "--jetable-engine dokcer"),
        (["--jetable-seed", "-1"], "--jetable-seed"),
        (["--jetable-repeat", "many"], "invalid whole number from 1 to 1000 value: 'many'"),
        (["--jetable-unknown", "pass"], "--jetable-unknown"),
    ],
)
def test_a_wrong_option_is_refused_in_a_sentence(project: Path, arguments: list[str], says: str) -> None:
    ended = run_pytest(project, *arguments)
    assert ended.returncode == 4
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.live
def test_a_run_that_passes_passes_and_leaves_the_test_process_as_it_was(project: Path) -> None:
    scenario(project, "scenarios/one.yaml", "it passes")
    (project / "conftest.py").write_text(
        "import sys\n\n"
        "def pytest_sessionfinish(session):\n"
        "    import pytest_locust.plugin, signal, threading\n"
        "    plugins = dict(session.config.pluginmanager.list_name_plugin())\n"
        "    assert plugins['locust'] is pytest_locust.plugin\n"
        "    assert plugins['jetable'].__name__ == 'harness.pytest_plugin'\n"
        "    assert 'gevent' not in sys.modules\n"
        "    assert 'locust' not in sys.modules\n"
        "    assert sys.getswitchinterval() == 0.005\n"
        "    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
        "    assert threading.active_count() == 1\n"
        "    print('as it was')\n"
    )
    (project / "test_other.py").write_text("def test_other(): pass\n")
    ended = run_known(project, "-rP", "--jetable-seed", "7", "--junitxml", "junit.xml")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 passed" in ended.stdout
    assert "as it was" in ended.stdout
    assert "again   jetable run scenarios/one.yaml --engine process --seed 7" in ended.stdout
    assert len(list((project / "reports").glob("2*"))) == 1
    properties = {each.get("name"): each.get("value") for each in ET.parse(project / "junit.xml").iter("property")}  # noqa: S314  ours
    assert properties["jetable_verdict"] == "pass"
    assert properties["jetable_seed"] == "7"
    assert (project / str(properties["jetable_folder"]) / "result.json").is_file()


@pytest.mark.live
def test_a_run_that_fails_shows_its_report_with_cause_cure_and_how_to_repeat_it(project: Path) -> None:
    scenario(project, "scenarios/one.yaml", "it drops", step="terminate: any")
    ended = run_known(project, "--jetable-reports", "kept", "--junitxml", "junit.xml", "--color=yes", reports="kept")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    plain = re.sub(r"\x1b\[[0-9;]*m", "", ended.stdout)
    assert "✗" in plain
    assert "    why " in plain
    assert "    cure " in plain
    assert re.search(r"^again   jetable run scenarios/one\.yaml --engine process --seed \d+ --reports kept$", plain, re.MULTILINE)
    assert re.search(r"^FAILED scenarios/one\.yaml::it drops - fail: \d+ requests? that w.* \[dropped-in-flight\]$", plain, re.MULTILINE)
    assert "Traceback" not in plain
    assert "pytest_plugin.py" not in plain
    failure = next(ET.parse(project / "junit.xml").iter("failure"))  # noqa: S314  ours
    assert str(failure.get("message")).startswith("fail: ")
    assert "    cure " in str(failure.text)


@pytest.mark.live
def test_not_enough_evidence_is_a_failure_or_a_skip_as_wanted(project: Path) -> None:
    path = scenario(project, "scenarios/one.yaml", "it is idle", step="steady: 300ms\n  - kill: {replica: any, when: any}")
    idle = path.read_text().replace("users: 4", "users: 1\n  think_time: 24h")  # so its first request never comes
    path.write_text(idle)
    ended = run_pytest(project, "-rfs")
    assert ended.returncode == 1, ended.stdout
    assert "it is idle - unknown: " in ended.stdout
    ended = run_pytest(project, "-rs", "--jetable-unknown=skip")
    assert ended.returncode == 0, ended.stdout
    assert "1 skipped" in ended.stdout
    assert re.search(r"SKIPPED .*one\.yaml:\d+: unknown: .*; report: reports/2", ended.stdout), ended.stdout


@pytest.mark.live
def test_what_can_not_be_run_fails_in_a_sentence_and_the_others_go_on(project: Path) -> None:
    path = scenario(project, "scenarios/one.yaml", "no such program")
    path.write_text(path.read_text().replace('["{python}", app.py]', "[no-such-program-here]"))
    scenario(project, "scenarios/two.yaml", "this one is fine")
    ended = run_known(project)
    assert ended.returncode == 1
    assert "\nscenarios/one.yaml:5:14: target.web.command: " in ended.stdout
    assert "1 failed, 1 passed" in ended.stdout
    (project / "reports").rename(project / "gone")
    (project / "reports").write_text("a file where the folder should be")
    ended = run_pytest(project, "-k", "fine")
    assert ended.returncode == 1
    assert "\njetable: can't write to reports: " in ended.stdout
    assert "Traceback" not in ended.stdout


@pytest.mark.live
def test_two_workers_of_xdist_run_at_once_and_what_other_tests_started_lives_on(project: Path) -> None:
    pytest.importorskip("xdist", reason="xdist is not installed")
    scenario(project, "scenarios/one.yaml", "one", step="kill: {replica: any, when: any}")
    scenario(project, "scenarios/two.yaml", "two", step="kill: {replica: any, when: any}")
    (project / "conftest.py").write_text(
        "import subprocess, pytest\n\n"
        "@pytest.fixture(scope='session', autouse=True)\n"
        "def _service():\n    pass\n\n"
        "def pytest_sessionstart(session):\n"
        "    session.service = subprocess.Popen(['/bin/sleep', '60'], env={}, start_new_session=True)\n\n"
        "def pytest_sessionfinish(session):\n"
        "    assert session.service.poll() is None\n"
        "    session.service.kill()\n"
        "    session.service.wait()\n"
        "    open(f'lived-{session.service.pid}', 'w').close()\n"
    )
    ended = run_pytest(project, "-n", "2", "scenarios")
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    assert "worker" not in ended.stderr
    assert len(list((project / "reports").glob("2*/result.json"))) == 2
    assert len(list(project.glob("lived-*"))) == 3


@pytest.mark.live
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_the_run_in_order_and_the_rest_is_not_run(project: Path, number: signal.Signals) -> None:
    scenario(project, "scenarios/one.yaml", "it takes long", step="steady: 60s")
    scenario(project, "scenarios/two.yaml", "never reached")
    output = project / "output.txt"
    with output.open("wb") as file, ctrl_c_heard():
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "scenarios"],
            cwd=project,
            env=environment(project),
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            folder = await_load(project / "reports")
            process.send_signal(number)
            assert process.wait(WITHIN_S) == 2
        finally:
            process.kill()
            process.wait()
    assert "jetable: stopped" in output.read_text()
    assert '"how":"interrupted"' in (folder / "history/events.jsonl").read_text()
    assert (folder / "result.json").is_file()
    assert len(list((project / "reports").glob("2*"))) == 1
    wait_until(lambda: not left_of(folder.name), within_s=10, why=lambda: str(left_of(folder.name)))
