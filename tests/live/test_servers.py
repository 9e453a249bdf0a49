"""Servers as people run them: each loses what its scenario says, by name, and nothing once it is mended."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import pytest

from harness.scenario import Scenario, load_scenario
from tests.live.commands import ROOT, run_until_known
from tests.live.processes import left_of

SERVERS = sorted((ROOT / "scenarios/servers").glob("*.yaml"))

RACE = {"dropped-after-signal", "dropped-in-flight", "new-connections-dropped"}
"""What left before the signal and was lost after it, and what a listener that is closed resets in its backlog."""

KEPT_PORT = {"dropped-in-flight", "keep-alive-race"}
"""Beside all that a main process takes on the port that it keeps open: the server's own share, which is its idle connections."""

AWAITED = {"idle-connections-awaited", "killed-after-grace"}
"""Whether it was waited for idle connections alone is seen only when they have idled for a while."""

BESIDE: dict[str, set[str]] = {
    "aiohttp": RACE,
    "gunicorn-gevent": RACE,
    "gunicorn-gthread": {"dropped-in-flight", "keep-alive-race"},  # what left before the signal may wait in the backlog after it
    "hypercorn": KEPT_PORT,
    "node": RACE,
    "node-keep-alive": {"dropped-in-flight"},  # what left before the signal on a connection that looked idle
    # without its parent the app lives on for some tenths of a second, and may answer, or be asked again, in that time
    "pm2-no-daemon": {"answered-by-orphans", "dropped-after-signal"},
    # its process is killed as a survivor when it has outlived supervisord by a second, and what it was still answering with it
    "supervisord-group": {"answered-by-orphans", "dropped-in-flight"},
    # a connection that it takes in the moment in which it stops is not told to close, and waited for
    "uvicorn": RACE | AWAITED,
    "uvicorn-reload": KEPT_PORT | AWAITED,
    "uvicorn-workers": KEPT_PORT | AWAITED,
}
"""What else may fail, where chance decides whether a server shows its second face."""

CAUSES = {"pm2": "It made itself a daemon"}
"""What the cause of one of a scenario's findings must say."""

pytestmark = [pytest.mark.slow, pytest.mark.live]


def what_is_missing(scenario: Scenario, working_dir: Path) -> str | None:
    """Why this machine can't run the server, with the cure; None when it can."""
    (kind,) = scenario.target.values()
    program, *rest = shlex.split(kind.command) if isinstance(kind.command, str) else list(kind.command or ())
    if program == "{python}":
        module = rest[1].partition(".")[0]
        return None if importlib.util.find_spec(module) else f"{module} is not installed: pip install -e '.[servers]'"
    if "/" in program:
        return None if (working_dir / program).exists() else f"{program} is not there: npm ci --prefix sample_apps/servers/pm2"
    return None if shutil.which(program) else f"{program} is not installed: apt-get install nodejs npm"


@pytest.mark.parametrize("path", SERVERS, ids=lambda path: path.stem)
def test_a_server_gets_the_finding_that_it_deserves_and_none_once_it_is_mended(path: Path, tmp_path: Path) -> None:
    scenario = load_scenario(path)
    (kind,) = scenario.target.values()
    missing = what_is_missing(scenario, Path(str(kind.working_dir or ROOT)))
    if missing:
        pytest.skip(missing)
    ended, result = run_until_known(path, "process", tmp_path, named=scenario.must_find)
    assert not left_of(str(result["run_id"]))
    failed = {finding["name"] for finding in result["findings"] if finding["verdict"] == "fail"}
    named = set(scenario.must_find)
    assert named <= failed, ended.output
    allowed = named | {"expectation-failed"} | BESIDE.get(path.stem, set()) if named else set()
    assert failed <= allowed, ended.output
    assert (result["verdict"], ended.code) == (("fail", 1) if named else ("pass", 0)), ended.output
    assert any(CAUSES.get(path.stem, "") in finding["cause"] for finding in result["findings"]), ended.output


def test_every_server_that_can_be_mended_is_and_the_others_say_where_their_cure_is() -> None:
    names = {path.stem for path in SERVERS}
    for path in SERVERS:
        scenario = load_scenario(path)
        mended = path.stem.endswith("-mended")
        assert mended != bool(scenario.must_find), f"{path} names a finding exactly when it is not mended"
        cures = set(re.findall(r"([\w-]+-mended)\.yaml", scenario.description))
        assert mended or cures, f"{path} names no cure"
        assert cures <= names, path


def test_the_table_of_the_documentation_has_a_row_for_each_scenario() -> None:
    text = (ROOT / "docs/servers.md").read_text(encoding="utf-8")
    for path in SERVERS:
        assert f"scenarios/servers/{path.name}" in text, path.name
    for path in re.findall(r"scenarios/servers/[\w-]+\.yaml", text):
        assert (ROOT / path).exists(), path


def test_the_table_of_this_file_names_scenarios_that_there_are() -> None:
    assert BESIDE.keys() <= {path.stem for path in SERVERS}
