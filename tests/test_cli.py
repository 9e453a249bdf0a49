"""The command line: what a person types, reads and gets as an exit code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness import cli
from harness.errors import ExitCode, MachineError, StoppedError
from harness.history import EVENTS_FILE

ROOT = Path(__file__).parent.parent
QUICKSTART = ROOT / "scenarios/quickstart"
COMMANDS = ("run", "drain", "check", "validate", "list", "schema", "doctor", "cleanup")


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")


def jetable(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main.main(args=[str(argument) for argument in arguments], prog_name="jetable")
    return int(ended.value.code or 0)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert jetable(command, "--help") == 0
    assert f"Example: jetable {command}" in capsys.readouterr().out


def test_the_help_lists_the_exit_codes_and_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert jetable("--help") == 0
    out = capsys.readouterr().out
    for code in ExitCode:
        assert f"  {int(code)}  " in out
    assert all(f"\n  {command}" in out for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run"], 4, "nothing to run; name scenarios"),
        (["run", "--sed", "7", "x"], 4, "--seed"),
        (["frobnicate"], 4, "frobnicate"),
        (["run", "nowhere.yaml"], 4, "nowhere.yaml: no such file"),
        (["run", str(ROOT / "harness/checks")], 5, "no scenario file"),
        (["run", str(QUICKSTART), "--engine", "dokcer"], 4, "--engine dokcer"),
        (["run", str(QUICKSTART), "--engine", "fake"], 4, "--engine fake"),
        (["run", str(QUICKSTART), "--reporter", "jnuit"], 4, "junit"),
        (["run", str(QUICKSTART), "--reporter", "json", "--reporter", "terminal"], 4, "standard output"),
        (["run", str(QUICKSTART), "--dry-run", "--reporter", "json"], 4, "--reporter has no meaning with --dry-run"),
        (["run", str(QUICKSTART), "--reporter", "junit=nowhere/x.xml"], 4, "there is no folder"),
        (["check", "nowhere"], 4, "nowhere"),
        (["check", str(ROOT / "docs")], 4, "no history here"),
        (["cleanup", "--older-than", "5"], 4, "5s"),
    ],
)
def test_a_mistake_gets_one_sentence_and_its_exit_code(
    arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert jetable(*arguments) == code
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "code", "says"),
    [
        ("DOCKER_HOST=unix:///nowhere/docker.sock", 8, "no Docker engine answers at unix:///nowhere/docker.sock"),
        ("DOCKER_HOST=nonsense", 4, "DOCKER_HOST"),
        ("DOCKER_CONTEXT=nowhere", 4, "nowhere"),
    ],
)
def test_an_engine_that_is_not_there_is_told_in_one_sentence_and_nothing_is_kept(
    variable: str, code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv(*variable.split("=", 1))
    assert jetable("run", QUICKSTART / "1-graceful-stop.yaml", "--engine", "docker", "--reports", tmp_path / "reports") == code
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert list(tmp_path.iterdir()) == []


def test_all_mistakes_of_all_files_are_shown_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("jetable: 1\nname: x\nstpes: []\n")
    assert jetable("run", tmp_path, "--reports", tmp_path / "reports") == 4
    err = capsys.readouterr().err
    assert f"{tmp_path}/a.yaml:3:1: stpes" in err
    assert f"{tmp_path}/b.yaml:3:1: stpes" in err
    assert not (tmp_path / "reports").exists()


def test_validate_names_the_valid_files_beside_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text("jetable: 1\nname: x\nstpes: []\n")
    good = "jetable: 1\nname: good\ntarget: {web: {command: x}}\nload: {requests: [GET /]}\nsteps: [{steady: 1s}]\n"
    (tmp_path / "b.yaml").write_text(good)
    assert jetable("validate", tmp_path) == 4
    told = capsys.readouterr()
    assert told.out == f"{tmp_path}/b.yaml: valid (good)\n"
    assert f"{tmp_path}/a.yaml:3:1: stpes" in told.err
    assert "b.yaml" not in told.err


def test_validate_list_and_schema_start_nothing_and_say_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert jetable("validate", QUICKSTART) == 0
    assert capsys.readouterr().out.count("valid (") == 3
    assert jetable("list", QUICKSTART) == 0
    assert "terminate each" in capsys.readouterr().out
    assert jetable("schema") == 0
    assert json.loads(capsys.readouterr().out)["$schema"].startswith("http://json-schema.org/draft-07")


def test_a_dry_run_shows_the_plan_and_writes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ("run", QUICKSTART / "2-sudden-death.yaml", "--dry-run", "--seed", "7", "--reports", tmp_path / "reports")
    assert jetable(*arguments) == 0
    out = capsys.readouterr().out
    assert out.count("SIGKILL to web.") == 5
    assert "expects dropped_requests == 0" in out
    assert not (tmp_path / "reports").exists()
    assert jetable(*arguments) == 0
    assert capsys.readouterr().out == out


def test_a_stored_run_is_judged_again_with_the_same_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    shutil.copytree(ROOT / "reports/example", folder)
    before = json.loads((folder / "result.json").read_text())
    (folder / "result.json").unlink()
    assert jetable("check", folder) == before["exit_code"]
    after = json.loads((folder / "result.json").read_text())
    for key in ("verdict", "exit_code", "findings", "summary"):
        assert after[key] == before[key], key
    assert before["rerun"] in capsys.readouterr().out


def test_reports_that_are_there_are_left_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(ROOT / "reports/example", folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert jetable("check", folder) == 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_the_others_are_judged_when_one_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert jetable("check", tmp_path / "nothing", ROOT / "reports/example") == 4
    shown = capsys.readouterr()
    assert "nothing" in shown.err
    assert "dropped-in-flight" in shown.out


def test_every_missing_program_is_told_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "jetable: 1\nname: x\ntarget:\n  web:\n    command: {}\nload:\n  requests:\n    - GET /\nsteps:\n  - steady: 1s\n"
    (tmp_path / "a.yaml").write_text(text.format("no-such-program-here"))
    (tmp_path / "b.yaml").write_text(text.format("./plain.txt"))
    (tmp_path / "c.yaml").write_text(text.format('"{python}"'))
    assert jetable("run", tmp_path, "--reports", tmp_path / "reports", "--reporter", f"junit={tmp_path}/junit.xml") == 4
    err = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in err] == [f"{tmp_path}/a.yaml:5:14", f"{tmp_path}/b.yaml:5:14"]
    assert not (tmp_path / "reports").exists()
    assert not (tmp_path / "junit.xml").exists()


def test_a_run_cut_in_the_middle_is_judged_and_called_incomplete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    shutil.copytree(ROOT / "reports/example", folder)
    events = folder / "history" / EVENTS_FILE
    lines = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join(lines[: len(lines) // 2]) + b'{"kind":"sig')
    assert jetable("check", folder) in (1, 7)
    assert "incomplete" in capsys.readouterr().out


def test_an_error_of_ours_is_an_internal_error_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(cli, "_load", broken)
    assert jetable("list", QUICKSTART) == 3
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(StoppedError("x"), 2), (MachineError("no port is free; close something"), 8)])
def test_what_ends_a_command_decides_its_exit_code(error: Exception, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(*_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "_load", ends)
    assert jetable("list", QUICKSTART) == code
