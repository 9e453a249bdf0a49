"""What a person reads of a bench."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from harness.benches import Bench
from harness.report.bench import BINS, MOST_FAILED, OUTLIERS, print_bench, warnings_of
from harness.report.console import console_for
from harness.report.hyperfine import to_markdown
from tests.report.benches_made_up import TEN, bench, books, failed_start, scaled, series, variant, whole

FAR = (*TEN, 9.0)
SIGMA = "\N{GREEK SMALL LETTER SIGMA}"


def lines_of(shown: Bench, *, width: int = 100) -> list[str]:
    file = io.StringIO()
    print_bench(shown, Console(file=file, width=width, markup=False, highlight=False, emoji=False))
    return file.getvalue().splitlines()


def text_of(shown: Bench, *, width: int = 100) -> str:
    """All that is shown, its line ends and indentations made single spaces."""
    return " ".join(" ".join(lines_of(shown, width=width)).split())


def row(lines: Sequence[str], label: str) -> str:
    return next(line for line in lines if line.strip().startswith(label))


def test_a_start_reads_as_a_command_of_hyperfine() -> None:
    lines = lines_of(bench(variant(series(TEN), series(scaled(0.9), "start_cpu_time"))))
    at = next(number for number, line in enumerate(lines) if line.startswith("  start  (mean"))
    assert lines[at : at + 2] == [
        f"  start  (mean ± {SIGMA})   410 ms ± 5.46 ms    [CPU 369 ms]",
        "         (min … max)  400 ms … 420 ms    10 starts",
    ]


def test_each_phase_is_a_row_with_its_median_interval_and_histogram() -> None:
    lines = lines_of(whole())
    heading = next(line for line in lines if line.startswith("  start   "))
    assert heading.split() == ["start", "n", "mean", "±", SIGMA, "median", "95", "%", "of", "median", "min", "p95"]
    healthy = row(lines, "healthy")
    assert healthy.split()[:6] == ["healthy", "10", "410", "±", "5.46", "ms"]
    assert any(bar in healthy for bar in "▁▂▃▄▅▆▇█")
    labels = [line.strip().split("  ")[0] for line in lines if re.match(r"    \w.* ms", line)][:6]
    assert labels == ["running", "listening", "healthy", "first answer", "stopped listening", "exited"]


def test_the_share_of_a_runtime_is_named_and_only_where_there_is_one() -> None:
    lines = lines_of(whole())
    assert row(lines, "created").startswith("    created (runtime)")
    assert row(lines, "running").startswith("    running     ")
    assert [line for line in lines if line.startswith("    running (runtime)")]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_but_those_to_copy_is_wider_than_the_screen(width: int) -> None:
    lines = lines_of(whole(), width=width)
    assert [line for line in lines if cell_len(line) > width and not line.startswith("again")] == []
    rows = [line for line in lines if line.strip().startswith("healthy ")]
    assert len(rows) == 2
    assert all("ms" in line and set(line) & set("▁▂▃▄▅▆▇█") for line in rows)


def test_a_wide_screen_has_all_columns_and_a_narrow_one_those_that_tell_most() -> None:
    def heads(width: int) -> list[str]:
        heading = next(line for line in lines_of(whole(), width=width) if line.startswith("  start   "))
        return [head for head in ("n", "mean", "median", "95 %", "min", "max", "p95") if f" {head}" in heading]

    assert heads(140) == ["n", "mean", "median", "95 %", "min", "max", "p95"]
    assert heads(80) == ["n", "median", "95 %", "p95"]
    assert heads(60) == ["median", "95 %"]


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 250), st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=12))
def test_any_width_and_any_samples_can_be_shown(width: int, samples: list[float]) -> None:
    assert lines_of(bench(variant(series(samples), series(samples[:1], "shutdown_time"))), width=width)


def test_the_interval_of_p95_is_shown_where_there_are_enough_samples_and_room() -> None:
    many = bench(variant(series([1.0 + 0.001 * number for number in range(80)])))
    assert "95 % of p95" in text_of(many, width=200)
    assert "95 % of p95" not in text_of(many, width=80)
    assert "95 % of p95" not in text_of(bench(variant(series([1.0, 1.1, 1.2]))), width=200)
    assert " s (" in to_markdown(many).decode()


def test_the_shape_of_a_peak_is_seen_beside_an_outlier_that_is_counted() -> None:
    (near,) = [line for line in lines_of(bench(variant(series(TEN)))) if line.startswith("    healthy")]
    (far,) = [line for line in lines_of(bench(variant(series(FAR)))) if line.startswith("    healthy")]
    bars = near[-BINS:].strip()
    assert len(set(bars)) > 2
    assert far.endswith(f"{bars} >1")
    (both,) = [line for line in lines_of(bench(variant(series((*FAR, 0.001))))) if line.startswith("    healthy")]
    assert both.endswith(f"1< {bars} >1")


def test_one_sample_has_neither_deviation_nor_interval() -> None:
    lines = lines_of(bench(variant(series([0.4]), attempts=(books(1),))))
    assert f"  start  (mean ± {SIGMA})   400 ms" in lines
    assert row(lines, "healthy").split() == ["healthy", "1", "400", "ms", "400", "ms", "-", *["400", "ms"] * 3, "█"]


def test_a_metric_without_samples_is_left_out_and_a_bench_without_any_says_so() -> None:
    assert "healthy" not in text_of(bench(variant(series([]), series(TEN, "shutdown_time"))))
    assert "nothing was measured" in text_of(bench(variant(attempts=())))
    assert "nothing was measured" in text_of(bench())


def test_failed_starts_and_killed_stops_are_never_hidden() -> None:
    text = text_of(whole())
    assert "3 of 13 starts never got healthy, 1 warm-up left out" in text
    assert "2 of 10 stops killed at the end of the grace" in text
    assert "✗ 3 starts with nothing else on never got healthy: GET /healthz: connection refused (the last in round 9, after 10.0 s)" in text
    assert "last log line: no route" in text


def test_a_variant_that_never_got_healthy_says_so_where_its_time_would_stand() -> None:
    text = text_of(bench(variant(attempts=(books(5, failed=5),), failed=(failed_start(0),))))
    assert "start 5 of 5 starts never got healthy" in text


def test_kinds_of_failures_beyond_the_first_are_counted() -> None:
    many = tuple(failed_start(number, reason=f"reason {number}") for number in range(MOST_FAILED + 2))
    text = text_of(bench(variant(attempts=(books(7, failed=7),), failed=many)))
    assert "reason 4" in text
    assert "reason 5" not in text
    assert "… 2 more kinds in bench.json" in text


def test_a_difference_between_variants_has_its_factor_and_interval_and_says_what_it_leaves_out() -> None:
    text = text_of(whole())
    assert "docker starts 1.50 times (" in text
    assert ") slower than process" in text
    assert "that leaves out the runtime of docker, which takes 205 ms (median) before the app runs" in text
    assert "stop of docker against process: no difference shown: 1.00 times (" in text


def test_what_is_faster_than_the_reference_is_told_by_the_inverse_factor() -> None:
    text = text_of(bench(variant(series(TEN), name="old"), variant(series(scaled(0.5)), name="new")))
    assert "new starts 2.00 times (" in text
    assert "faster than old" in text


def test_the_named_reference_is_what_others_are_compared_with() -> None:
    text = text_of(bench(variant(series(TEN), name="one"), variant(series(scaled(2)), name="two", reference=True)))
    assert "one starts 2.00 times (" in text
    assert "faster than two" in text


def test_too_few_samples_are_not_compared() -> None:
    text = text_of(bench(variant(series(TEN[:2]), name="one"), variant(series(scaled(9, TEN[:2])), name="two")))
    assert "start of two against one: too few samples to compare" in text


def test_braces_and_brackets_in_names_are_shown_as_they_are() -> None:
    text = text_of(bench(variant(series(TEN), name="{a}"), variant(series(scaled(2)), name="[bold]{0}")))
    assert "[bold]{0} starts 2.00 times (" in text


def test_conditions_are_held_against_each_other() -> None:
    conditions = [series(TEN, under="idle"), series(scaled(1.3), under="load"), series(TEN, under="clean"), series(TEN, under="kill")]
    text = text_of(bench(variant(*conditions, attempts=())))
    assert "under load a start takes 1.30 times (" in text
    assert "as long as with nothing else on" in text
    assert "after SIGKILL a start takes 1.00 times (" in text
    assert "as long as after a clean stop: no difference shown" in text


def test_starts_at_once_are_one_table_and_how_they_grow() -> None:
    lines = lines_of(whole())
    at = next(number for number, line in enumerate(lines) if line.strip().startswith("several at once"))
    assert [line.split()[:2] for line in lines[at + 1 : at + 4]] == [["n", "starts"], ["2", "4"], ["4", "8"]]
    assert "start-up grows with n^1.00 (" in text_of(whole())


def test_imports_are_the_ten_dearest_with_their_share() -> None:
    lines = lines_of(whole())
    assert row(lines, "package1 ").split() == ["package1", "100", "ms", "25", "%", "1", "package1.core"]
    assert not [line for line in lines if "package11" in line]


def test_an_outlier_is_warned_of_with_its_value_and_rule_and_stays_in() -> None:
    (first, last) = warnings_of(bench(variant(series(FAR))))
    assert first == "web: 1 of 11 starts is an outlier: 9.00 s (modified z-score above 3.5)"
    assert last == OUTLIERS
    assert "9.00 s" in row(lines_of(bench(variant(series(FAR)))), "(min … max)")


def test_a_slow_first_run_has_a_warning_of_its_own() -> None:
    found = bench(variant(series((2.0, *TEN)), attempts=(books(11, warmups=1),)))
    (warning,) = warnings_of(found)
    assert (
        warning == "web: the first start was slow: 2.00 s, the median of the others is 410 ms; caches may have been cold; "
        "--warmup 2 discards such rounds"
    )


def test_a_drift_is_warned_of() -> None:
    (warning,) = warnings_of(bench(variant(series([0.4 + number / 1000 for number in range(20)]))))
    assert warning.startswith("web: starts got longer as the bench went on (rank correlation +1.00, p < 0.001)")


def test_calm_series_are_not_warned_of() -> None:
    assert warnings_of(bench(variant(series(TEN)))) == ()


def test_warnings_name_the_condition_where_there_are_several() -> None:
    (first, _) = warnings_of(bench(variant(series(TEN), series(FAR, under="load"))))
    assert first.startswith("web (under load): 1 of 11 starts")


def test_all_warnings_are_shown_once() -> None:
    found = bench(variant(series(FAR), warnings=("it was busy",)), warnings=("it was busy", "no power"))
    text = text_of(found)
    assert text.count("it was busy") == 1
    assert "! no power" in text
    assert OUTLIERS in text


def test_a_bench_that_was_interrupted_says_so_before_its_numbers() -> None:
    lines = lines_of(bench(variant(series(TEN)), how="interrupted", why="Ctrl-C"))
    told = next(number for number, line in enumerate(lines) if line.startswith("INTERRUPTED"))
    assert lines[told].endswith("this is what was measured until then: Ctrl-C")
    assert told < next(number for number, line in enumerate(lines) if "mean ±" in line)


def test_the_last_line_repeats_the_bench_in_one_piece() -> None:
    assert lines_of(whole(), width=20)[-1] == "again   jetable bench web.yaml --seed 7"


def test_a_console_without_unicode_gets_ascii() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    print_bench(whole(), console_for(file, {}, width=80))
    file.flush()
    text = raw.getvalue().decode("ascii")
    assert "\\x" not in text
    assert "\\u" not in text
    assert "(mean +- sd)" in text


def test_no_color_is_honoured() -> None:
    file = io.StringIO()
    print_bench(whole(), console_for(file, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, width=80))
    assert "\x1b" not in file.getvalue()


def test_words_of_the_app_cannot_move_the_cursor() -> None:
    rude = variant(series(TEN), name="\x1b[2Jweb", failed=(failed_start(0, detail="a\x07b\nc"),), warnings=("\x1b]0;title\x07busy",))
    text = "\n".join(lines_of(bench(rude)))
    assert "\x1b" not in text
    assert "\x07" not in text
