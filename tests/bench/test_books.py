"""A bench that is judged again from its histories says what it said before."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from harness.bench.books import exit_of, judge_again
from harness.benches import FILE, HealthCheck, encoded, is_bench
from harness.errors import ExitCode, UsageError
from tests.bench.fakes import CRASHES, Imagined, imagined, plan, played, variant

__all__ = ["imagined"]


def test_a_stored_bench_is_judged_again_from_its_histories_alone(imagined: Imagined, tmp_path: Path) -> None:
    ended = played(plan(tmp_path, variant("a"), variant("b"), runs=3))
    assert [each.health for each in ended.bench.variants] == [HealthCheck(kind="tcp")] * 2
    emptied = tuple(msgspec.structs.replace(each, series=(), attempts=()) for each in ended.bench.variants)
    (ended.folder / FILE).write_bytes(encoded(msgspec.structs.replace(ended.bench, variants=emptied)))
    assert judge_again(ended.folder) == ended.bench
    assert judge_again(ended.folder / FILE) == ended.bench


def test_without_its_histories_a_bench_is_as_it_was_stored(imagined: Imagined, tmp_path: Path) -> None:
    ended = played(plan(tmp_path, runs=3))
    shutil.copy(ended.folder / FILE, tmp_path / FILE)
    assert judge_again(tmp_path / FILE) == ended.bench
    (tmp_path / FILE).write_bytes((ended.folder / FILE).read_bytes()[:100])
    with pytest.raises(UsageError, match="cut off"):
        judge_again(tmp_path / FILE)


def test_a_failed_start_fails_a_bench_also_when_it_is_looked_at_again(imagined: Imagined, tmp_path: Path) -> None:
    ended = played(plan(tmp_path, runs=3))
    assert exit_of(judge_again(ended.folder)) == ExitCode.PASSED
    imagined.scripts = {"v": {"web": CRASHES}}
    assert exit_of(judge_again(played(plan(tmp_path, runs=3)).folder)) == ExitCode.FAILED


def test_a_bench_is_told_from_a_run_by_its_file(imagined: Imagined, tmp_path: Path) -> None:
    ended = played(plan(tmp_path, runs=1))
    assert is_bench(ended.folder)
    assert is_bench(ended.folder / FILE)
    assert not is_bench(ended.folder / "session-1")
    assert not is_bench(tmp_path / "nowhere")
