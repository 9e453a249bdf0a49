"""A bench in hyperfine's shapes."""

from __future__ import annotations

import csv
import io
import json

import msgspec
import numpy as np
import pytest

from harness.benches import Bench
from harness.report.hyperfine import OURS, THEIRS, to_csv, to_hyperfine, to_markdown
from tests.report.benches_made_up import TEN, bench, books, failed_start, scaled, series, variant, whole


class Result(msgspec.Struct, forbid_unknown_fields=True):
    """What hyperfine 1.18 and its readers take for a result."""

    command: str
    mean: float
    stddev: float | None
    median: float
    user: float
    system: float
    min: float
    max: float
    times: list[float]
    exit_codes: list[int | None]
    memory_usage_byte: list[int] | None = None
    parameters: dict[str, str] = {}


class Export(msgspec.Struct, forbid_unknown_fields=True):
    """A whole file: hyperfine's part and the bench."""

    results: list[Result]
    jetable: Bench


def exported(shown: Bench) -> Export:
    return msgspec.json.decode(to_hyperfine(shown), type=Export)


def rows(shown: Bench) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(shown).decode())))


@pytest.mark.parametrize("shown", [whole(), bench(), bench(variant(series([])))], ids=["whole", "no variant", "no sample"])
def test_the_whole_bench_comes_back_from_the_json(shown: Bench) -> None:
    assert exported(shown).jetable == shown


def test_each_variant_under_each_condition_is_a_result() -> None:
    results = exported(whole()).results
    assert [result.command for result in results] == [
        "process (nothing else on)",
        "process (2 at once)",
        "process (4 at once)",
        "docker (nothing else on)",
    ]
    first = results[0]
    assert first.times == list(TEN)
    assert first.mean == pytest.approx(np.mean(TEN))
    assert first.stddev == pytest.approx(np.std(TEN, ddof=1))
    assert first.median == pytest.approx(np.median(TEN))
    assert (first.min, first.max) == (0.4, 0.42)
    assert first.exit_codes == [0] * 10
    assert first.memory_usage_byte == [70_000_000] * 10


def test_the_fields_stand_in_the_order_of_hyperfine() -> None:
    found = json.loads(to_hyperfine(bench(variant(series(TEN), parameters={"n": "1"}))))
    assert list(found) == ["results", "jetable"]
    assert list(found["results"][0]) == [*THEIRS, "times", "exit_codes", "parameters"]


def test_cpu_time_is_all_in_user_and_zero_where_it_is_unknown() -> None:
    process, *_, docker = exported(whole()).results
    assert (process.user, process.system) == (pytest.approx(np.mean(scaled(0.9))), 0.0)
    assert (docker.user, docker.system) == (0.0, 0.0)


def test_one_start_has_no_deviation() -> None:
    (result,) = exported(bench(variant(series([0.4])))).results
    assert result.stddev is None
    (row,) = rows(bench(variant(series([0.4]))))
    assert (row["mean"], row["stddev"], row["median_low"]) == ("0.4", "", "")


def test_what_never_got_healthy_is_no_result_and_in_the_bench() -> None:
    shown = bench(variant(attempts=(books(3, failed=3),), failed=(failed_start(0),)))
    assert exported(shown).results == []
    assert exported(shown).jetable.variants[0].attempts[0].failed == 3


def test_starts_at_once_have_one_parameter_that_can_be_plotted() -> None:
    shown = bench(variant(*(series(TEN[:4], under="at-once", at_once=n) for n in (1, 2, 4)), attempts=()))
    names = {tuple(result.parameters) for result in exported(shown).results}
    assert names == {("at_once",)}
    assert [float(result.parameters["at_once"]) for result in exported(shown).results] == [1, 2, 4]


def test_words_that_are_no_unicode_do_not_stop_an_export() -> None:
    rude = bench(variant(series(TEN), name="a\udcff", warnings=("b\udcff",), parameters={"n\udcff": "\udcff"}))
    assert exported(rude).jetable.variants[0].name == "a\\udcff"
    assert b"\\udcff" in to_csv(rude)
    assert b"\\udcff" in to_markdown(rude)


def test_a_row_of_the_csv_is_a_metric_of_a_case_with_their_columns_first() -> None:
    header = to_csv(whole()).decode().splitlines()[0].split(",")
    assert tuple(header) == (*THEIRS, "parameter_at_once", "parameter_workers", *OURS)
    found = rows(whole())
    assert len(found) == sum(len(each.series) for each in whole().variants)
    start = next(row for row in found if row["metric"] == "startup_time")
    assert (start["command"], start["mean"], start["system"], start["unit"], start["count"]) == (
        "process (nothing else on)",
        "0.4103",
        "0",
        "s",
        "10",
    )
    memory = next(row for row in found if row["metric"] == "peak_memory")
    assert (memory["median"], memory["unit"], memory["user"]) == ("70000000.0", "bytes", "")
    assert {row["parameter_workers"] for row in found if row["variant"] == "docker"} == {"2"}


def test_commas_and_line_ends_in_names_do_not_break_the_csv() -> None:
    (row,) = rows(bench(variant(series(TEN), name='a,"b"\nc', parameters={"p\n,q": "1,2\n"})))
    assert row["command"] == 'a,"b" c'
    assert row["parameter_p ,q"] == "1,2"


def test_the_markdown_begins_with_the_table_of_hyperfine() -> None:
    shown = bench(variant(series(TEN), name="old"), variant(series(scaled(2)), name="new"))
    assert to_markdown(shown).decode().splitlines()[:4] == [
        "| Command | Mean [ms] | Min [ms] | Max [ms] | Relative |",
        "|:---|---:|---:|---:|---:|",
        "| `old` | 410.3 ± 5.5 | 400.0 | 420.0 | 1.00 |",
        "| `new` | 820.6 ± 10.9 | 800.0 | 840.0 | 2.00 ± 0.04 |",
    ]


def test_long_starts_are_in_seconds() -> None:
    lines = to_markdown(bench(variant(series(scaled(10))))).decode().splitlines()
    assert lines[0] == "| Command | Mean [s] | Min [s] | Max [s] | Relative |"
    assert lines[2] == "| `web` | 4.103 ± 0.055 | 4.000 | 4.200 | 1.00 |"


def test_the_markdown_has_phases_failures_comparisons_and_warnings() -> None:
    text = to_markdown(whole()).decode()
    assert "### process (nothing else on)\n\n| Phase | n | Mean" in text
    assert "| healthy | 10 | 410 ± 5.46 ms | 410 ms | " in text
    assert "- process: **3 of 13 starts with nothing else on never got healthy**" in text
    assert "never got healthy: GET /healthz: connection refused; last log line: no route" in text
    assert "- docker starts 1.50 times (" in text
    assert "- **warning:** another program used 40 % of the CPUs" in text
    assert "| package1 | 100 ms | 25 % | package1.core |" in text


def test_a_variant_that_never_got_healthy_has_a_row_of_dashes() -> None:
    shown = bench(variant(series(TEN), name="good"), variant(name="bad", attempts=(books(3, failed=3),), failed=(failed_start(0),)))
    lines = to_markdown(shown).decode().splitlines()
    assert lines[3] == "| `bad` | - | - | - | - |"
    assert "- bad: **3 of 3 starts with nothing else on never got healthy**" in lines


def test_pipes_tags_and_line_ends_in_names_do_not_break_the_markdown() -> None:
    text = to_markdown(bench(variant(series(TEN), name="a|b`c\n<img>"))).decode()
    assert "| `a\\|b'c &lt;img>` | 410.3" in text
    assert "<img>" not in text


def test_an_interrupted_bench_says_so_in_the_markdown() -> None:
    assert "**interrupted**: Ctrl-C" in to_markdown(bench(variant(series(TEN)), how="interrupted", why="Ctrl-C")).decode()
