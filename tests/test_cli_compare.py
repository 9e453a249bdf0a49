"""``jetable compare`` from end to end: every exit code, and one sentence for every mistake."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness import cli
from harness.benches import FILE, Bench
from tests.checks.build import FOLDER
from tests.helpers.benches import MACHINE, a_bench, a_series, a_variant, stored, times

RUN = FOLDER / "fail--dropped-in-flight--grace-over.jsonl"


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")


def jetable(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main.main(args=["compare", *map(str, arguments)], prog_name="jetable")
    return int(ended.value.code or 0)


def bench(median: float, seed: int, *, n: int = 50, noise: float = 0.03, **more: object) -> Bench:
    return a_bench(a_variant(a_series(times(median, seed=seed, n=n, noise=noise)), **more))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return stored(tmp_path / "main", bench(0.4, 1))


def test_no_regression_is_0(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert jetable(base, stored(tmp_path / "pr", bench(0.4, 2))) == 0
    assert "PASS     nothing got worse by more than 5 %, of 1 series" in capsys.readouterr().out


def test_a_regression_is_1_unless_nothing_fails(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = stored(tmp_path / "pr", bench(0.42, 2))
    assert jetable(base, new, "--threshold", "2%") == 1
    assert "FAIL     1 regression: startup_time +" in capsys.readouterr().out
    assert jetable(base, new, "--threshold", "2%", "--fail-on", "none") == 0
    assert jetable(base, new, "--threshold", "20%") == 0


def test_what_the_data_can_not_tell_is_7(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = stored(tmp_path / "pr", bench(0.4, 2, n=10, noise=0.3))
    assert jetable(base, new) == 7
    assert "UNKNOWN  the data can't tell whether startup_time got worse by 5 %; about" in capsys.readouterr().out
    assert jetable(base, new, "--fail-on", "none") == 0


def test_runs_compare_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = shutil.copy(RUN, tmp_path)
    assert jetable(RUN, other) == 7  # one stop each tells nothing
    assert "too few samples: 1 and 1; about 8 runs of each would tell" in " ".join(capsys.readouterr().out.split())


def test_what_was_not_measured_alike_is_4_and_compared_anyway_with_a_warning(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = stored(tmp_path / "pr", bench(0.4, 2, engine="docker"))
    assert jetable(base, new) == 4
    assert "ran on the engine docker, that of" in capsys.readouterr().err
    assert jetable(base, new, "--anyway") == 0
    assert capsys.readouterr().out.startswith('! "gunicorn" of ')
    assert jetable(base, new, "--anyway", "--export-markdown", "-") == 0
    told = capsys.readouterr()
    assert told.out.startswith("### ✅ Starts and stops: nothing got worse")
    assert "[!WARNING]" in told.out
    assert "ran on the engine docker" in told.err


def test_a_single_bench_compares_its_variants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fast, slow = (a_variant(a_series(times(median, seed=1)), name=name) for median, name in ((0.4, "fast"), (0.5, "slow")))
    assert jetable(stored(tmp_path / "bench", a_bench(fast, slow))) == 1
    assert "slow: web, nothing else on" in capsys.readouterr().out


def test_every_export_is_written(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new, out = stored(tmp_path / "pr", bench(0.5, 2)), tmp_path
    exports = ["--export-markdown", out / "a.md", "--export-json", out / "a.json", "--export-csv", out / "a.csv"]
    assert jetable(base, new, *exports) == 1
    assert (out / "a.md").read_text().startswith("### ❌")
    document = json.loads((out / "a.json").read_text())
    assert (document["version"], document["verdict"], document["changes"][0]["judgement"]) == (1, "fail", "slower")
    assert len((out / "a.csv").read_text().splitlines()) == 3
    assert "FAIL " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "nothing to compare; name two benches or runs"),
        (["main", "nowhere"], "nowhere: no such file or folder"),
        (["main", "empty"], "neither a bench (bench.json) nor a run's history"),
        (["main", "cut"], "cut off in the middle"),
        (["main", "text.json"], "no JSON"),
        (["main", "newer.json"], "written by a newer Jetable"),
        (["main", "torn.jsonl"], "no run's history"),
        (["main"], "has one variant only"),
        (["main", "main", "--threshold", "5"], "--threshold 5: not a share in per cent; write it as 5% or 2.5%"),
        (["main", "main", "--fail-on", "slow"], "--fail-on"),
        (["main", "main", "--export-json", "-", "--export-csv", "-"], "both go to standard output"),
        (["main", "main", "--export-csv", "none/x.csv"], "there is no folder"),
    ],
)
def test_a_mistake_gets_one_sentence(
    arguments: list[str], says: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / FILE).write_bytes((base / FILE).read_bytes()[:300])
    (tmp_path / "text.json").write_text("hello")
    (tmp_path / "newer.json").write_text('{"version": 9}')
    (tmp_path / "torn.jsonl").write_text('{"kind":"head')
    monkeypatch.chdir(tmp_path)
    assert jetable(*arguments) == 4
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err


def test_another_machine_is_named(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import msgspec

    new = a_bench(bench(0.4, 2).variants[0], machine=msgspec.structs.replace(MACHINE, cpu="Xeon"))
    assert jetable(base, stored(tmp_path / "pr", new)) == 4
    assert "CPU EPYC 7B13, not Xeon" in capsys.readouterr().err


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert jetable("--help") == 0
    assert "Example: jetable compare reports/main reports/latest" in capsys.readouterr().out
