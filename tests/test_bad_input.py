"""Every bad input that there is a name for: one sentence, the right exit code, and nothing left over.

The mistakes inside of a file are told one by one in ``broken_scenarios.txt``; here a real command line gets one of each kind, machines
that lack something, apps that do not start, and some thousand files that were damaged by a seed.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import JetableError, ScenarioError
from harness.scenario import load_scenario
from tests.helpers.mutants import mutants
from tests.live.commands import TRIES, is_the_machines, results
from tests.live.harnesses import events, result_of, run_folder
from tests.live.processes import left_of

ROOT = Path(__file__).parent.parent
WITHIN_S = 120
MOST_CHARACTERS = 400

pytestmark = pytest.mark.slow

GOOD = """\
jetable: 1
name: x
seed: 1
target:
  web:
    command: ["{python}", -m, http.server, --bind, 127.0.0.1, "{port}"]
    healthcheck: {tcp: true, start_period: 3s}
    stop_grace_period: 1s
load:
  users: 2
  requests:
    - GET /
steps:
  - steady: 100ms
"""


def jetable(
    folder: Path, *arguments: str | Path, limit: Callable[[], None] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The real command line in ``folder``; ``limit`` is called in its process before it begins."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("JETABLE_", "DOCKER_"))}
    surroundings = {**plain, "NO_COLOR": "1", "COLUMNS": "300", "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp"), **environment}
    (folder / "tmp").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=WITHIN_S, check=False, preexec_fn=limit
    )


def write(folder: Path, text: str | bytes, name: str = "x.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def nothing_left(folder: Path) -> bool:
    """Neither a run's folder nor a temporary one."""
    return not (folder / "reports").exists() and not list((folder / "tmp").iterdir())


def hurried(reports: Path) -> bool:
    """Whether runs were not all good, and say themselves that this machine had no time for them, and nothing else was wrong."""
    ills = [each for each in results(reports) if each["exit_code"]]
    return bool(ills) and all(is_the_machines(each["exit_code"], each) for each in ills)


IN_THE_FILE: dict[str, tuple[str | bytes, str]] = {
    "unknown key": (changed("seed: 1", "sede: 1"), '3:1: sede: unknown key "sede" (did you mean "seed"?)'),
    "wrong type": (changed("users: 2", "users: two"), '10:10: load.users: must be a whole number, not'),
    "bad duration": (changed("100ms", "100"), "14:13: steps[0].steady: "),
    "duplicate key": (changed("name: x", "name: x\nname: y"), '3:1: the key "name" is here for the second time'),
    "alias bomb": (
        GOOD + "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcde", "bcdef", strict=True)
        ),
        "more than 10000 values once its aliases are written out",
    ),
    "not UTF-8": (GOOD.encode().replace(b"name: x", b"name: \xe9"), "2:7: not UTF-8 (byte 0xe9); save the file as UTF-8"),
    "empty file": ("", "1:1: the file is empty; `jetable schema`"),
    "nothing but remarks": ("# nothing\n", "1:1: the file is empty"),
    "a Compose file": ("services:\n  web:\n    image: x\n", "1:1: this is a Compose file and no scenario; begin a scenario"),
    "a Kubernetes manifest": ("apiVersion: v1\nkind: Pod\n", "1:1: this is a Kubernetes manifest and no scenario"),
    "an option beside its step": (changed("  - steady: 100ms", "  - terminate: any\n    when: any"), "15:5: steps[0].when: "),
    "no such program": (changed('"{python}"', "no-such-program"), "6:14: target.web.command: command no-such-program"),
    "no such script": (changed('"{python}"', "./nowhere.sh"), "6:14: target.web.command: there is no file "),
    "no such folder": (changed("    healthcheck", "    working_dir: nowhere\n    healthcheck"), "7:18: target.web.working_dir"),
    "load that targets nothing": (changed("load:\n", "load:\n  process: api\n"), '10:12: load.process: unknown process type "api"'),
    "load of nothing": (changed("\n    - GET /", " []"), "11:13: load.requests: must not be empty"),
    "another host": (changed("GET /", "GET http://example.com/"), "12:7: load.requests[0]: "),
    "a service of no kind": (
        changed("load:\n", "services: {rabbit: }\nload:\n"),
        '9:12: services.rabbit: what kind of service is "rabbit"?',
    ),
    "jobs without a service": (
        changed("load:\n", "jobs: {rate: 5/s, done: {file: done.log}}\nload:\n"),
        "9:1: jobs: need a service that keeps them; write services: {sqlite: {}}",
    ),
    "jobs that show nowhere": (
        changed("load:\n", "services: {sqlite: }\njobs: {rate: 5/s, done: {}}\nload:\n"),
        "10:19: jobs.done: says not where the effect of a job shows",
    ),
    "another host for health": (changed("tcp: true", "http: 'http://example.com/'"), "7:25: target.web.healthcheck.http: "),
}  # fmt: skip


@pytest.mark.parametrize("kind", IN_THE_FILE)
def test_what_is_wrong_in_a_file_is_told_with_its_place_in_one_line(kind: str, tmp_path: Path) -> None:
    text, says = IN_THE_FILE[kind]
    write(tmp_path, text)
    ended = jetable(tmp_path, "run", "x.yaml")
    assert ended.returncode == 4, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert re.match(r"x\.yaml:\d+:\d+: ", line)
    assert says in line
    assert ended.stdout == ""
    assert nothing_left(tmp_path)


ON_DOCKER = ["on-docker.yaml", "--engine", "docker"]
ALLOW = "JETABLE_ALLOW_HOSTS"


def _few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@pytest.mark.parametrize(
    ("arguments", "code", "says", "environment"),
    [
        (["nowhere"], 4, "jetable: nowhere: no such file or folder", {}),
        (["empty"], 5, "jetable: empty: no scenario file (*.yaml or *.yml) is in this folder or below it", {}),
        (ON_DOCKER, 4, "not on this machine; set JETABLE_ALLOW_HOSTS=192.0.2.7", {"DOCKER_HOST": "tcp://192.0.2.7:2375"}),
        (ON_DOCKER, 4, "JETABLE_ALLOW_HOSTS=192.0.2.7", {"DOCKER_HOST": "tcp://192.0.2.7:1", ALLOW: "192.0.2.70"}),
        (ON_DOCKER, 8, "tcp://localhost:1", {"DOCKER_HOST": "tcp://localhost:1", ALLOW: ""}),
        (["x.yaml", "--reports", "x.yaml/reports"], 8, "can't write to x.yaml/reports: Not a directory; name a folder", {}),
        (["x.yaml", "--reports", "/proc/reports"], 8, "can't write to /proc/reports: ", {}),
        (["x.yaml"], 8, "tmp/none/", {"TMPDIR": "tmp/none"}),
    ],
)  # fmt: skip
def test_what_this_machine_or_its_settings_lack_is_told_with_the_cure_and_nothing_is_kept(
    arguments: list[str], code: int, says: str, environment: dict[str, str], tmp_path: Path
) -> None:
    write(tmp_path, GOOD)
    write(tmp_path, changed("  web:\n", "  web:\n    image: nobody/nothing\n"), "on-docker.yaml")
    (tmp_path / "empty").mkdir()
    ended = jetable(tmp_path, "run", *arguments, **environment)
    assert ended.returncode == code, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert says in line
    assert nothing_left(tmp_path)


def test_more_users_than_files_are_refused_before_the_start(tmp_path: Path) -> None:
    write(tmp_path, changed("users: 2", "users: 300"))
    ended = jetable(tmp_path, "run", "x.yaml", limit=_few_files)
    assert ended.returncode == 8, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert "300 users need 364 open files, and 256 are allowed; raise the hard limit (ulimit -Hn 364)" in line
    assert nothing_left(tmp_path)


def test_a_full_disk_at_the_start_is_told_in_a_sentence(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    ended = jetable(tmp_path, "run", "x.yaml", limit=_small_files, PYTHONDONTWRITEBYTECODE="1")
    assert ended.returncode == 8, ended.stderr
    assert os.strerror(errno.EFBIG) in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not left_of("x-never")


@pytest.mark.live
@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (changed("-m, http.server, --bind, 127.0.0.1,", "-c, 'raise SystemExit(3)',"), "died-at-start"),
        (changed("-m, http.server, --bind, 127.0.0.1,", "-c, 'import time; time.sleep(60)',"), "never-ready"),
        (changed("tcp: true", "http: /nowhere"), "never-ready"),
    ],
)
def test_an_app_that_does_not_start_is_a_finding_and_nothing_of_it_is_left(text: str, finding: str, tmp_path: Path) -> None:
    write(tmp_path, text)
    ended = jetable(tmp_path, "run", "x.yaml")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    folder = run_folder(tmp_path / "reports")
    assert folder is not None
    failed = [each for each in result_of(folder)["findings"] if each["verdict"] == "fail"]
    assert failed, ended.stdout
    assert any(each["cure"] for each in failed), ended.stdout
    assert not left_of(folder.name)
    assert finding


@pytest.mark.live
def test_a_port_that_somebody_else_holds_is_never_taken_for_the_apps(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        held = other.getsockname()[1]
        write(tmp_path, changed('"{port}"', f'"{held}"'))
        ended = jetable(tmp_path, "run", "x.yaml")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    folder = run_folder(tmp_path / "reports")
    assert folder is not None
    assert not left_of(folder.name)


@pytest.mark.live
def test_a_disk_that_fills_up_in_the_middle_is_told_in_a_sentence_and_nothing_runs_on(tmp_path: Path) -> None:
    write(tmp_path, changed("100ms", "20s"))

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    ended = jetable(tmp_path, "run", "x.yaml", limit=little, PYTHONDONTWRITEBYTECODE="1")
    assert ended.returncode in (7, 8), ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    folder = run_folder(tmp_path / "reports")
    assert folder is None or not left_of(folder.name)


@pytest.mark.live
def test_a_wall_clock_that_steps_changes_nothing_but_the_header(tmp_path: Path) -> None:
    """Every read of the wall clock but the header's would be a tidy error; here the whole run has a calendar that jumps a year a look."""
    write(tmp_path, GOOD)
    (tmp_path / "sitecustomize.py").write_text(
        "import itertools, time\n"
        "leaps = itertools.count()\n"
        "honest = time.time\n"
        "time.time = lambda: honest() + 31e6 * (next(leaps) % 7 - 3)\n"
    )
    for number in range(TRIES):
        reports = tmp_path / f"try-{number}"
        ended = jetable(tmp_path, "run", "x.yaml", "--reports", reports, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
        if not hurried(reports):
            break
    assert ended.returncode == 0, ended.stdout + ended.stderr
    folder = run_folder(reports)
    assert folder is not None
    instants = [int(found) for found in re.findall(r'"at_ns":(\d+)', events(folder))]
    assert max(instants) - min(instants) < WITHIN_S * 10**9


@pytest.mark.live
def test_two_runs_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    write(tmp_path, changed("100ms", "1s"))
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    for number in range(TRIES):
        reports = tmp_path / f"try-{number}"
        command = [sys.executable, "-m", "harness", "run", "x.yaml", "--reports", str(reports)]
        both = [
            subprocess.Popen(command, cwd=tmp_path, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(2)
        ]
        told = [process.communicate(timeout=WITHIN_S)[0] for process in both]
        if not hurried(reports):
            break
    assert [process.returncode for process in both] == [0, 0], told
    folders = [path for path in reports.glob("2*") if not path.is_symlink()]
    assert len(folders) == 2
    ports = [set(re.findall(r'"port":(\d+)', events(folder))) for folder in folders]
    assert not ports[0] & ports[1]
    assert not [left for folder in folders for left in left_of(folder.name)]


@pytest.mark.parametrize("seed", [1, 2])
def test_hundreds_of_damaged_files_are_refused_without_a_traceback(seed: int, tmp_path: Path) -> None:
    work = tmp_path / "scenarios/any"  # as deep as the shipped ones, whose paths lead out of their folder
    work.mkdir(parents=True)
    for name in ("harness", "sample_apps"):
        (tmp_path / name).symlink_to(ROOT / name)
    path = work / "x.yaml"
    count: Counter[str] = Counter()
    wrong = []
    for name, content in mutants(sorted((ROOT / "scenarios").rglob("*.yaml")), seed, rounds=1):
        path.write_bytes(content)
        try:
            load_scenario(path)
        except ScenarioError as error:
            count["refused"] += 1
            wrong += [f"{name}: {line}" for line in error.problems if not _is_well_told(line, path)]
        except JetableError as error:
            wrong.append(f"{name}: {error!r}")
        else:
            count["valid"] += 1
    assert not wrong, "\n".join(wrong[:10])
    assert count["refused"] >= 200, count
    assert count["valid"] < count["refused"], count


def _is_well_told(line: str, path: Path) -> bool:
    place = re.match(re.escape(str(path)) + r":[1-9]\d*:[1-9]\d*: (?=\S)", line)
    rest = line[place.end() :] if place else ""
    return 5 < len(rest) <= MOST_CHARACTERS and rest.isprintable()


def test_damaged_files_get_exit_code_4_on_the_real_command_line(tmp_path: Path) -> None:
    """All in one folder, so that the command line is asked once."""
    made = mutants([ROOT / "scenarios/quickstart/1-graceful-stop.yaml"], seed=3, rounds=3)
    for number, (_, content) in enumerate(made):
        write(tmp_path, content, f"m{number}.yaml")
    ended = jetable(tmp_path, "validate", ".")
    assert ended.returncode == 4
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    lines = ended.stderr.splitlines()
    assert len(lines) >= 20
    assert all(re.match(r"m\d+\.yaml:\d+:\d+: \S", line) for line in lines)
    assert not (tmp_path / "reports").exists()
