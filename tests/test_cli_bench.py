"""The command line of a bench: what is refused before anything starts, and what it plays, shows, writes and exits with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from harness import cli
from harness.bench import course
from harness.bench.plan import BenchPlan
from harness.benches import read_bench
from harness.engines.base import Replica, ReplicaSpec
from harness.engines.fake import FakeEngine
from harness.errors import ExitCode, StoppedError
from harness.report.progress import Progress, SilentProgress
from tests.bench.fakes import CRASHES, Imagined, imagined, plan, variant

__all__ = ["imagined"]

ROOT = Path(__file__).parent.parent
COMMAND = ("--", sys.executable, "-m", "http.server", "{port}")


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")


def jetable(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main.main(args=[str(argument) for argument in arguments], prog_name="jetable")
    return int(ended.value.code or 0)


def test_its_help_has_examples_of_each_kind_of_target_and_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert jetable("bench", "--help") == 0
    out = capsys.readouterr().out
    assert "Example: jetable bench" in out
    assert "-- gunicorn" in out
    for flag in ("--warmup", "--runs", "--min-runs", "--max-runs", "--prepare", "--cleanup", "--parameter-scan", "--parameter-list"):
        assert flag in out
    for flag in ("--reference", "--export-json", "--export-csv", "--export-markdown", "--show-output", "--precision", "--under"):
        assert flag in out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 4, "nothing to start"),
        (["--"], 4, "nothing to start"),
        (["nowhere.yaml"], 4, "nowhere.yaml: no such file"),
        (["--rusn", "4", *COMMAND], 4, "--runs"),
        (["--runs", "0", *COMMAND], 4, "zero runs measure nothing"),
        (["--runs", "-1", *COMMAND], 4, "--runs"),
        (["--runs", "many", *COMMAND], 4, "--runs"),
        (["--runs", "4", "--precision", "2%", *COMMAND], 4, "contradicts"),
        (["--min-runs", "9", "--max-runs", "3", *COMMAND], 4, "--max-runs"),
        (["--precision", "0%", *COMMAND], 4, "--precision"),
        (["--parameter-list", "workers", "1,2", *COMMAND], 4, "{workers}"),
        (["--engine", "dokcer", *COMMAND], 4, 'did you mean "docker"?'),
        (["--under", "stress", *COMMAND], 4, "--under"),
        (["--export-json", "nowhere/bench.json", *COMMAND], 4, "--export-json nowhere/bench.json: there is no folder"),
        (["--seed", "-1", *COMMAND], 4, "--seed"),
        (["--", "no-such-command-anywhere"], 4, "no-such-command-anywhere"),
        ([ROOT / "scenarios/quickstart/1-graceful-stop.yaml", *COMMAND], 4, "each is a target by itself"),
    ],
)
def test_a_mistake_is_one_message_and_nothing_starts(
    arguments: list[str | Path], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = tmp_path / "reports"
    assert jetable("bench", "--reports", reports, *arguments) == code
    streams = capsys.readouterr()
    assert says in streams.err
    assert "Traceback" not in streams.err
    assert streams.out == ""
    assert not reports.exists()


def asked(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> BenchPlan:
    """The plan that these words make; nothing is played."""
    plans: list[BenchPlan] = []

    def run_bench(made: BenchPlan, _progress: Progress) -> course.Ended:
        plans.append(made)
        raise StoppedError("enough")

    monkeypatch.setattr(course, "run_bench", run_bench)
    assert jetable("bench", *arguments) == ExitCode.INTERRUPTED
    return plans[0]


def test_the_words_of_the_command_line_reach_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["jetable", "bench", "a b"])
    flags = ("-w", "2", "-r", "7", "-p", "true", "-c", "true", "--seed", "9", "--show-output", "--no-imports", "--at-once", "2,1")
    made = asked(monkeypatch, "--reports", tmp_path, *flags, "--attribute", "commit=1f3a", "-L", "n", "1,2", *COMMAND, "-r{n}", "--runs")
    assert (made.warmup, made.runs, made.seed, made.show_output, made.imports, made.at_once) == (2, 7, 9, True, False, (1, 2))
    assert (made.attributes, made.reports) == ({"commit": "1f3a"}, tmp_path)
    assert made.again == "jetable bench 'a b' --seed 9"
    assert [dict(each.parameters) for each in made.variants] == [{"n": "1"}, {"n": "2"}]
    assert {(each.prepare, each.cleanup) for each in made.variants} == {("true", "true")}
    assert made.variants[1].scenario.target["web"].argv[-2:] == ("-r2", "--runs")  # what stands behind -- is no flag


# --- a bench on fakes -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def fake_plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, imagined: Imagined) -> Path:
    """Whatever is asked, a bench of two imagined variants is played; its reports go to this folder."""
    from harness.bench import flags

    reports = tmp_path / "reports"
    variants = variant("good", reference=True), variant("other")
    monkeypatch.setattr(flags, "plan_of", lambda asked, _seed: plan(reports, *variants, runs=6, show_output=asked.show_output))
    return reports


def test_a_bench_is_shown_stored_and_exported(fake_plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = {name: tmp_path / f"out.{name}" for name in ("json", "csv", "markdown")}
    exports = [word for name, place in places.items() for word in (f"--export-{name}", place)]
    assert jetable("bench", *exports, *COMMAND) == 0
    out = capsys.readouterr().out
    folder = (fake_plan / "latest").resolve()
    assert out.rstrip().endswith(f"report  {fake_plan / folder.name}")
    for word in ("good", "other", "running", "listening", "healthy", "exited", "median", "p95", "min", "max", "6 starts"):
        assert word in out, word
    assert [each.name for each in read_bench(folder).variants] == ["good", "other"]
    results = json.loads(places["json"].read_text())["results"]
    assert [len(result["times"]) for result in results] == [6, 6]
    assert all(place.stat().st_size for place in places.values())


def test_an_export_to_standard_output_is_all_that_stands_there(fake_plan: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert jetable("bench", "--export-json", "-", *COMMAND) == 0
    streams = capsysbinary.readouterr()
    assert len(json.loads(streams.out)["results"]) == 2
    assert b"report  " in streams.err


def test_what_the_target_writes_is_shown_where_it_was_asked_for(
    fake_plan: Path, imagined: Imagined, capsys: pytest.CaptureFixture[str]
) -> None:
    start = FakeEngine.start

    class Writing(FakeEngine):
        def start(self, spec: ReplicaSpec) -> Replica:
            self._context.logs.mkdir(exist_ok=True)
            (self._context.logs / f"{spec.name}.log").write_text(f"hello of {spec.name}\n\x1b[31mred\n")
            return start(self, spec)

    imagined.engine = Writing
    assert jetable("bench", *COMMAND) == 0
    assert "hello of" not in capsys.readouterr().out
    assert jetable("bench", "--show-output", *COMMAND) == 0
    out = capsys.readouterr().out
    assert out.count("web.1: hello of web.1") == 2  # once of each variant
    assert out.count("web.6: hello of web.6") == 2
    assert "\x1b" not in out


def test_a_failed_start_is_said_and_ends_it_with_1(fake_plan: Path, imagined: Imagined, capsys: pytest.CaptureFixture[str]) -> None:
    imagined.scripts = {"other": {"web": CRASHES}}
    assert jetable("bench", *COMMAND) == ExitCode.FAILED
    out = capsys.readouterr().out
    assert "it exited with status 3 before it was healthy" in out
    assert "the first 3 starts all failed" in out


def test_a_bench_that_was_stopped_is_shown_and_exported_and_ends_with_2(
    fake_plan: Path, imagined: Imagined, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stopping(FakeEngine):
        def start(self, spec: ReplicaSpec) -> Replica:
            if self._made == 3:
                raise StoppedError("stopped")
            return super().start(spec)

    imagined.engine = Stopping
    place = tmp_path / "out.json"
    assert jetable("bench", "--export-json", place, *COMMAND) == ExitCode.INTERRUPTED
    assert "INTERRUPTED" in capsys.readouterr().out
    assert sum(len(result["times"]) for result in json.loads(place.read_text())["results"]) in range(3, 7)
    assert read_bench(fake_plan / "latest").how == "interrupted"


def test_a_stored_bench_is_shown_again(imagined: Imagined, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fine = course.run_bench(plan(tmp_path, runs=3), SilentProgress()).folder
    imagined.scripts = {"v": {"web": CRASHES}}
    broken = course.run_bench(plan(tmp_path, runs=3), SilentProgress()).folder
    assert jetable("check", fine) == ExitCode.PASSED
    assert "3 starts" in capsys.readouterr().out
    assert jetable("check", fine, broken) == ExitCode.FAILED
    assert jetable("check", fine, "--reporter", "json") == ExitCode.USAGE
    assert "is a bench, which --reporter can't tell" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "again"),
    [
        (["bench", "a.yaml"], "jetable bench a.yaml --seed 7"),
        (["bench", "-r", "3", "--", "app", "--seed-file", "x"], "jetable bench -r 3 --seed 7 -- app --seed-file x"),
        (["bench", "--seed", "9", "a.yaml"], "jetable bench --seed 9 a.yaml"),
        (["bench", "--seed=9", "a.yaml"], "jetable bench --seed=9 a.yaml"),
    ],
)
def test_what_repeats_a_bench_names_its_seed(words: list[str], again: str) -> None:
    assert cli._again(words, 7) == again
