"""What people and programs read of a comparison: the words, the width, and that nothing breaks a table."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import msgspec
import pytest

from harness.benches import Bench, Series, Variant
from harness.compare import Comparison, Judgement, Place, compare
from harness.report.compare import (
    answer,
    contents,
    csv_of,
    interval_words,
    json_of,
    markdown,
    notes_on,
    p_words,
    percent_change,
    print_comparison,
    word_of,
)
from harness.report.console import console_for
from tests.helpers.benches import a_bench, a_series, a_variant, books, times

LONGEST = "time_to_stop_listening"


def place(bench: Bench, name: str) -> Place:
    return Place(path=Path(name), kind="bench", bench=bench)


def shop(factor: float, seed: int, *, failed: int = 0, name: str = "gunicorn", more: tuple[Series, ...] = ()) -> Variant:
    return a_variant(
        a_series(times(0.4 * factor, seed=seed)),
        a_series(times(0.12, seed=seed + 1), "shutdown_time"),
        a_series(times(0.05, seed=seed + 2, n=10, noise=0.5), LONGEST),
        a_series(times(60e6 * factor, seed=seed + 3), "steady_memory", unit="bytes"),
        *more,
        name=name,
        attempts=(books(failed=failed),),
    )


def shops(factor: float = 1.2, **more: int) -> Comparison:
    return compare([place(a_bench(shop(1.0, 1), attributes={"commit": "abc"}), "main"), place(a_bench(shop(factor, 11, **more)), "pr")])


def printed(comparison: Comparison, width: int = 80, **environ: str) -> str:
    file = io.StringIO()
    print_comparison(comparison, console_for(file, {"NO_COLOR": "1", **environ}, width=width))
    return file.getvalue()


def test_the_screen_has_every_metric_with_its_change_and_its_word() -> None:
    text = printed(shops(), width=120)
    (row,) = re.findall(r"^  (startup_time .*)", text, re.MULTILINE)
    assert re.fullmatch(r"startup_time +\d{3} ms +\d{3} ms +\+\d\d% +\+\d\d … \+\d\d% +<\.001  slower", row)
    assert re.search(r"steady_memory +5\d\.\d MiB +6\d\.\d MiB .* more\n", text)
    assert re.search(r"shutdown_time .* same\n", text)
    assert re.search(rf"{LONGEST} .* can't tell\n", text)
    assert re.search(rf"{LONGEST}: 5 % more can't be excluded; about [\d ]+ runs of each would tell", text)
    assert "FAIL     2 regressions: startup_time +" in text
    assert "main (shop, 2026-11-20T10:00:00+00:00, commit abc)" in text


@pytest.mark.parametrize("width", [80, 60, 40])
def test_a_narrow_screen_loses_columns_and_never_the_verdict(width: int) -> None:
    text = printed(shops(failed=3), width=width)
    rows = [line for line in text.splitlines() if re.match(r"  \w+_\w+ .*\d", line)]
    assert len(rows) == 4
    assert [row.split("  ")[-1].rsplit(" ", 1)[-1] for row in rows] == ["slower", "tell", "same", "more"]
    if width >= 80:
        assert max(map(len, text.splitlines())) <= width
        assert all("…" in row for row in rows)


def test_without_unicode_and_colour_there_is_none() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_comparison(shops(), console_for(file, {}, width=100))
    file.flush()
    text = file.buffer.getvalue().decode("ascii")
    assert " .. +" in text.replace("...", "..")
    assert "\x1b" not in text


def test_failures_and_what_only_one_side_has_are_told() -> None:
    extra = a_series(times(0.4, seed=5), under="load")
    found = compare([place(a_bench(shop(1.0, 1, more=(extra,))), "main"), place(a_bench(shop(1.0, 11, failed=12)), "pr")])
    text = printed(found, width=120)
    assert "web, nothing else on: failed starts: 0 of 50 before, 12 of 50 now: more" in text
    assert "only the base has startup_time of gunicorn: web, under load" in text
    assert "1 regression: failed starts: 0 of 50 before, 12 of 50 now" in answer(found)


def test_a_warning_stands_first_in_every_format() -> None:
    other = a_bench(shop(1.0, 11), machine=msgspec.structs.replace(a_bench().machine, cores=64))
    found = compare([place(a_bench(shop(1.0, 1)), "main"), place(other, "pr")], anyway=True)
    says = "main was measured on another machine than pr: cores 2, not 64"
    assert printed(found, width=200).startswith(f"! {says}\n")
    assert f"> [!WARNING]\n> {says}\n" in markdown(found)
    assert markdown(found).index(says) < markdown(found).index("startup_time`")
    assert json.loads(json_of(found))["warnings"] == [says]


def test_variants_of_one_bench_are_named() -> None:
    bench = a_bench(shop(1.0, 1, name="one worker"), shop(1.2, 11, name="two workers"))
    text = printed(compare([place(bench, "bench")]), width=120)
    assert "the variant one worker, round by round" in text
    assert "\ntwo workers: web, nothing else on\n" in text


def test_what_can_not_be_told_names_what_decides() -> None:
    unsure = [a_bench(a_variant(a_series(times(0.4, seed=seed, n=10, noise=0.3)))) for seed in (1, 2)]
    found = compare([place(bench, str(number)) for number, bench in enumerate(unsure)])
    assert re.fullmatch(r"the data can't tell whether startup_time got worse by 5 %; about [\d ]+ runs of each would tell", answer(found))
    assert "UNKNOWN  the data can't tell" in printed(found, width=120)


def test_what_decides_nothing_is_counted_beside() -> None:
    assert answer(shops(1.0)) == "nothing got worse by more than 5 %, of 4 series; 1 that decide nothing can't be told"


@pytest.mark.parametrize(
    ("ratio", "words"), [(1.123, "+12%"), (1.034, "+3.4%"), (0.966, "-3.4%"), (1.0, "0.0%"), (0.9999, "0.0%"), (13.0, "+1200%")]
)
def test_changes_are_told_in_two_digits(ratio: float, words: str) -> None:
    assert percent_change(ratio) == words


@pytest.mark.parametrize(("p", "words"), [(0.0001, "<.001"), (0.0123, ".012"), (1.0, "1"), (None, "-")])
def test_p_values_take_five_characters(p: float | None, words: str) -> None:
    assert p_words(p) == words


def test_no_slower_is_not_the_same() -> None:
    change = next(change for change in shops().changes if change.metric == "startup_time")
    wide = msgspec.structs.replace(change, judgement=Judgement.SAME, low=0.8, high=1.04, limit=0.05)
    assert word_of(wide) == "no slower"
    assert word_of(msgspec.structs.replace(wide, low=0.96)) == "same"
    assert interval_words(wide) == "-20 … +4.0%"
    assert word_of(msgspec.structs.replace(wide, unit="bytes")) == "no more"


# --- Markdown, JSON, CSV ----------------------------------------------------------------------------------------------------


def cells(text: str) -> list[list[str]]:
    """The rows of all tables, as a reader of Markdown sees them."""
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_markdown_has_what_decides_and_folds_the_rest_away() -> None:
    found = shops()
    text = markdown(found)
    assert text.startswith("### ❌ Starts and stops: 2 regressions: startup_time +")
    head, *rows = cells(text.partition("<details>")[0])
    assert head == ["", "metric", "base", "new", "change", "95 % interval", "p", "verdict"]
    assert [(row[1], row[-1]) for row in rows] == [
        ("`startup_time`", "**slower**"),
        ("`shutdown_time`", "same"),
        ("`steady_memory`", "**more**"),
    ]
    assert [row[1] for row in cells(text.partition("<details>")[2])[1:]] == [f"`{LONGEST}`"]
    assert text.count("<details>") == text.count("</details>") == 2
    assert all(len(row) == len(head) for row in cells(text))


def test_no_name_breaks_out_of_markdown() -> None:
    evil = "a|b</details><script>`x`[y](z)\n# h"
    bench = a_bench(shop(1.0, 1, name="plain"), shop(1.2, 11, name=evil), name=evil, attributes={evil: evil})
    text = markdown(compare([place(bench, evil)]))
    assert "<script>" not in text
    assert "\n# h" not in text
    assert all(len(row) == 8 for row in cells(text))


def test_json_is_the_comparison() -> None:
    found = shops()
    document = json_of(found)
    assert msgspec.json.decode(document, type=Comparison) == found
    assert [each["judgement"] for each in json.loads(document)["changes"]] == ["slower", "can't tell", "same", "slower"]


def history() -> list[Place]:
    days = [3, 1, 2]
    return [
        place(a_bench(shop(1.0, day), began=f"2026-11-0{day}T10:00:00+00:00", attributes={"commit": f"c{day}", "time": "x, y"}), f"b{day}")
        for day in days
    ]


def test_csv_has_a_row_for_each_place_in_the_order_of_time() -> None:
    text, gone = csv_of(history())
    rows = list(csv.DictReader(io.StringIO(text)))
    assert gone == ()
    assert [row["commit"] for row in rows] == ["c1", "c2", "c3"]
    assert [row["time"] for row in rows] == [f"2026-11-0{day}T10:00:00+00:00" for day in (1, 2, 3)]
    assert rows[0]["attribute_time"] == "x, y"
    assert float(rows[0]["web.idle.startup_time"]) == pytest.approx(0.4, rel=0.05)
    assert all(re.fullmatch(r"[\w.-]+", name) for name in rows[0])
    assert list(rows[0]) == [
        "time",
        "bench",
        "commit",
        "attribute_time",
        "web.idle.startup_time",
        "web.idle.shutdown_time",
        "web.idle.time_to_stop_listening",
        "web.idle.steady_memory",
    ]


def test_a_column_with_a_gap_is_left_out_and_named() -> None:
    places = [*history(), place(a_bench(a_variant(a_series([0.4] * 10))), "late")]
    text, gone = csv_of(places)
    assert next(csv.reader(io.StringIO(text)))[-1] == "web.idle.startup_time"
    assert gone == ("web.idle.shutdown_time", "web.idle.time_to_stop_listening", "web.idle.steady_memory")


def test_columns_of_several_variants_have_their_names() -> None:
    text, _ = csv_of([place(a_bench(shop(1.0, 1, name="gunicorn -w 1, app"), shop(1.0, 2, name="b")), "x")])
    names = next(csv.reader(io.StringIO(text)))
    assert "gunicorn_-w_1_app.web.idle.startup_time" in names
    assert "b.web.idle.startup_time" in names


def test_what_each_export_holds_is_made_when_it_is_wanted() -> None:
    found = shops()
    made = {name: make() for name, make in contents(found, history()).items()}
    assert made == {"markdown": markdown(found).encode(), "json": json_of(found), "csv": csv_of(history())[0].encode()}
    assert notes_on(history(), {"csv": None}) == []
