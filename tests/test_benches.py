"""A bench that was written is read as it was, and what is none is told in one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from harness.benches import FILE, HealthCheck, by_cycle, encoded, read_bench
from harness.errors import UsageError
from tests.helpers.benches import a_bench, a_series, a_variant, books, stored

BENCH = a_bench(a_variant(a_series([0.1, 0.2, 0.3])), attributes={"commit": "abc"})


def test_a_bench_is_read_as_it_was_written_by_its_folder_and_by_its_file(tmp_path: Path) -> None:
    folder = stored(tmp_path / "bench", BENCH)
    assert read_bench(folder) == read_bench(folder / FILE) == BENCH


def test_a_bench_keeps_its_health_check_and_one_of_before_does_not_know_it(tmp_path: Path) -> None:
    check = HealthCheck(kind="http", asked="/healthz", every_s=0.01)
    known = a_bench(a_variant(a_series([0.1]), health=check))
    assert read_bench(stored(tmp_path / "new", known)) == known
    before = msgspec.to_builtins(known)
    del before["variants"][0]["health"]
    (tmp_path / FILE).write_bytes(msgspec.json.encode(before))
    assert read_bench(tmp_path).variants[0].health is None


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (HealthCheck(kind="http", asked="/healthz", every_s=0.01), "GET /healthz every 10 ms"),
        (HealthCheck(kind="tcp"), "an open port"),
        (HealthCheck(kind="tcp", every_s=2), "a TLS handshake every 2 s"),
        (HealthCheck(kind="log", asked="read[y]", every_s=0.0125), '"read[y]" in its output, looked for every 12.5 ms'),
        (HealthCheck(kind="running"), "a command that runs"),
        (HealthCheck(kind="test", asked="CMD true", every_s=1.5), 'the test "CMD true" every 1.5 s'),
    ],
)
def test_a_health_check_is_told_in_words(check: HealthCheck, words: str) -> None:
    assert str(check) == words


def test_of_starts_at_once_each_cycle_is_one_sample_and_of_others_each_start() -> None:
    several = msgspec.structs.replace(a_series([1, 2, 9, 4, 6, 5.0], under="at-once", at_once=3), rounds=(0, 0, 0, 1, 1, 2))
    assert (by_cycle(several).samples, by_cycle(several).rounds) == ((2, 5, 5), (0, 1, 2))
    alone = msgspec.structs.replace(several, under="kill", at_once=1)
    assert by_cycle(alone) == alone


def test_what_utf_8_can_not_hold_is_spelled_out() -> None:
    odd = msgspec.structs.replace(BENCH, attributes={"commit\udcff": "\ud800"})
    assert msgspec.json.decode(encoded(odd))["attributes"] == {"commit\\udcff": "\\ud800"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cut off in the middle, after 0 bytes"),
        (encoded(BENCH)[:200], "cut off in the middle, after 200 bytes"),
        (b"startup_time 0.3\n", "no JSON"),
        (b'{"version": 1, "name": "\xff"}', "no JSON"),
        (b"[]", "no bench: Expected `object`"),
        (b'{"version": 1, "run_id": "x"}', "no bench: Object missing required field"),
        (b'{"version": 2}', "written by a newer Jetable (version 2, and this one reads 1)"),
        (encoded(BENCH).replace(b"0.3", b'"0.3"'), "no bench: Expected `float`"),
        (encoded(a_bench()), "it has no variant"),
        (encoded(a_bench(a_variant(), a_variant())), "two of its variants have the same name"),
        (encoded(BENCH).replace(b"0.3", b"0.3, 0.4"), "startup_time of gunicorn has 4 samples in 3 rounds"),
        (encoded(BENCH).replace(b"            2\n", b"           -2\n"), "startup_time of gunicorn has a round that is none"),
        (encoded(a_bench(a_variant(attempts=(books(starts=3, failed=4),)))), "4 of 3 starts of gunicorn failed"),
        (encoded(a_bench(a_variant(attempts=(books(failed=-1),)))), "-1 of 50 starts of gunicorn failed"),
    ],
)
def test_what_is_no_bench_is_told_in_one_sentence(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(says)) as told:
        read_bench(tmp_path)
    assert str(told.value).startswith(str(tmp_path / FILE))
    assert "\n" not in str(told.value)


def test_what_is_not_there_is_told_by_the_name_that_was_given(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere: no such file or folder; name the folder of a bench"):
        read_bench(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"no bench\.json in this folder"):
        read_bench(tmp_path)
