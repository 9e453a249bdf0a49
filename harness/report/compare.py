"""What a comparison found, for people, for a pull request and for programs.

The table has one block for each process type and condition; what the data can't tell has its reason below the block. A narrow screen loses
the p-value first and then the interval, never the verdict. Markdown shows the metrics that decide and all that got slower; the rest is
folded away. What forbids to believe a comparison stands before everything else, in every format.

The CSV has one row for each place in the order of time and one column for each series' median, as change point detection over many benches
wants it (Apache Otava).
"""

from __future__ import annotations

import csv
import datetime
import html
import io
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from harness.benches import Series
from harness.checks.wording import count, listed
from harness.compare import COMPARED, Change, Comparison, Failures, Judgement, OneSided, Place, Side, verdict_of
from harness.report.console import STYLES, glyphs, prose_width
from harness.report.figures import Case, amount
from harness.report.text import clean, encodable
from harness.threshold import percentile
from harness.verdict import Verdict

STYLE_OF: Final[Mapping[Judgement, str]] = {
    Judgement.SLOWER: STYLES[Verdict.FAIL],
    Judgement.FASTER: STYLES[Verdict.PASS],
    Judgement.SAME: "",
    Judgement.UNSURE: STYLES[Verdict.UNKNOWN],
}

HEADS: Final = ("", "base", "new", "change", "95 % interval", "p", "")
"""The columns of the table on the screen."""

LAYOUTS: Final[tuple[tuple[int, frozenset[int]], ...]] = (
    (2, frozenset()),
    (1, frozenset()),
    (1, frozenset({5})),
    (1, frozenset({4, 5})),
)
"""Spaces between columns, and the columns that are left out: the first that fits is taken."""


_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]+")


# --- words ------------------------------------------------------------------------------------------------------------------


def word_of(record: Change | Failures) -> str:
    """The judgement in a word that fits what was measured: memory gets more and not slower.

    What excludes a regression and may well be an improvement is "no slower" and not the same.
    """
    if isinstance(record, Failures):
        return {Judgement.SLOWER: "more", Judgement.FASTER: "fewer"}.get(record.judgement, str(record.judgement.value))
    worse, better = ("slower", "faster") if record.unit == "s" else ("more", "less")
    if record.judgement is Judgement.SAME and record.low is not None and record.low < 1 - (record.limit or 0.0):
        return f"no {worse}"
    return {Judgement.SLOWER: worse, Judgement.FASTER: better}.get(record.judgement, str(record.judgement.value))


def percent_change(ratio: float) -> str:
    """``+12%`` or ``-3.4%``: one digit after the point below ten."""
    value = (ratio - 1) * 100
    digits = 1 if abs(value) < 9.95 else 0
    return f"{value:+.{digits}f}%".replace("-0.0%", "0.0%").replace("+0.0%", "0.0%")


def interval_words(change: Change) -> str:
    """``-1.2 … +3.4%``; a dash without an interval."""
    if change.low is None or change.high is None:
        return "-"
    return f"{percent_change(change.low).removesuffix('%')} … {percent_change(change.high)}"


def p_words(p: float | None) -> str:
    """``<.001``, ``.012`` or ``1``: a p-value in five characters at most."""
    if p is None:
        return "-"
    return "<.001" if p < 0.001 else "1" if p > 0.9995 else f"{p:.3f}".removeprefix("0")


def why_words(changes: Iterable[Change]) -> list[str]:
    """Why some of ``changes`` can't be told, each reason once, and about how many runs would tell them all."""
    alike: dict[str, list[Change]] = {}
    for change in changes:
        if change.why:
            alike.setdefault(change.why, []).append(change)
    told = []
    for why, mine in alike.items():
        needed = max(change.runs_needed or 0 for change in mine)
        runs = f"; about {count(needed, 'run')} of each would tell" if needed else ""
        told.append(f"{listed([change.metric for change in mine])}: {why}{runs}")
    return told


def failure_words(failures: Failures) -> str:
    """``failed starts: 0 of 50 before, 3 of 50 now``."""
    return f"{failures.what}: {failures.base} of {failures.base_of} before, {failures.new} of {failures.new_of} now"


def one_sided_words(one: OneSided) -> str:
    """What only one side has."""
    side = "the base" if one.side == "base" else "the new one"
    if not one.metrics:
        return f"only {side} has the variant {clean(one.variant)}"
    words = f"only {side} has {listed(one.metrics)} of {_place_words(one)}"
    return f"{words}: it was tried and yet not once measured" if one.blind else words


def _place_words(record: Change | Failures | OneSided, *, variant: bool = True) -> str:
    """``web, under load``, with the variant before it where there are several."""
    case = Case(process=record.process, under=record.under, at_once=record.at_once)
    name = f"{clean(record.variant)}: " if variant else ""
    return f"{name}{clean(record.process)}, {case.words}"


def answer(comparison: Comparison) -> str:
    """The whole in one sentence."""
    limit = f"{comparison.threshold * 100:.4g} %"
    slower = [each for each in comparison.changes if each.judgement is Judgement.SLOWER]
    slower.sort(key=lambda each: not each.main)
    more = [each for each in comparison.failures if each.judgement is Judgement.SLOWER]
    named = [f"{failure_words(each)} ({_short(comparison, each)})" for each in more]
    named += [f"{each.metric} {percent_change(each.ratio or 1)} ({_short(comparison, each)})" for each in slower]
    if named:
        return f"{count(len(named), 'regression')}: {listed(named)}"
    if comparison.verdict == "unknown":
        unsure = [each for each in comparison.changes if each.main and each.judgement is Judgement.UNSURE]
        told = list(dict.fromkeys(each.metric for each in unsure))
        told += [each.what for each in comparison.failures if each.judgement is Judgement.UNSURE and each.what == "failed starts"][:1]
        told += [metric for each in comparison.one_sided if each.blind for metric in each.metrics][:1]
        needed = max((each.runs_needed or 0 for each in unsure), default=0)
        runs = f"; about {count(needed, 'run')} of each would tell" if needed else ""
        return f"the data can't tell whether {listed(told) if told else 'a start or a stop'} got worse by {limit}{runs}"
    unsure = [each for each in comparison.changes if each.judgement is Judgement.UNSURE]
    beside = f"; {len(unsure)} that decide nothing can't be told" if unsure else ""
    return f"nothing got worse by more than {limit}, of {count(len(comparison.changes), 'series', 'series')}{beside}"


def _short(comparison: Comparison, record: Change | Failures) -> str:
    return _place_words(record, variant=_has_variants(comparison))


def _has_variants(comparison: Comparison) -> bool:
    return comparison.within or len({each.variant for each in comparison.changes}) > 1


def _side_words(side: Side) -> str:
    known = [clean(side.name), side.began, *(f"{clean(key)} {clean(value)}" for key, value in side.attributes.items())]
    return f"{clean(side.path)} ({', '.join(part for part in known if part)})"


def _blocks(comparison: Comparison) -> dict[str, list[Change]]:
    """The changes by what stands above them."""
    blocks: dict[str, list[Change]] = {}
    for change in comparison.changes:
        blocks.setdefault(_short(comparison, change), []).append(change)
    return blocks


def _row(change: Change) -> tuple[str, ...]:
    return (
        change.metric,
        amount(change.base_median, change.unit),
        amount(change.new_median, change.unit),
        percent_change(change.ratio) if change.ratio is not None else "-",
        interval_words(change),
        p_words(change.p),
        word_of(change),
    )


# --- the screen -------------------------------------------------------------------------------------------------------------


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the whole; what forbids to believe it comes first."""
    signs = glyphs(console)
    for warning in comparison.warnings:
        _prose(console, f"{signs.problem} {clean(warning)}", "", style=STYLES[Verdict.UNKNOWN])
    if comparison.warnings:
        console.print()
    if comparison.within:
        _print_line(console, "bench", _side_words(comparison.new))
        _print_line(console, "base", f"the variant {clean(comparison.reference)}, round by round")
    else:
        for side in comparison.base:
            _print_line(console, "base", _side_words(side))
        _print_line(console, "new", _side_words(comparison.new))
    for head, changes in _blocks(comparison).items():
        console.print()
        console.print(Text(head, style="bold"), soft_wrap=True)
        _print_table(console, changes)
        for why in why_words(changes):
            _prose(console, f"{signs.dot} {why}", "  ", style="dim")
    notable = [each for each in comparison.failures if each.new or each.base]
    if notable:
        console.print()
    for each in notable:
        style = STYLE_OF[each.judgement]
        _prose(console, f"{_short(comparison, each)}: {failure_words(each)}: {word_of(each)}", "", style=style)
    if comparison.one_sided:
        console.print()
    for one in comparison.one_sided:
        _prose(console, one_sided_words(one), "", style=STYLES[Verdict.UNKNOWN] if one.blind else "dim")
    verdict = verdict_of(comparison)
    console.print()
    _prose(console, answer(comparison), f"{verdict.word.upper():<9}", style=STYLES[verdict])


def _print_line(console: Console, label: str, text: str) -> None:
    console.print(Text.assemble((f"{label:<8}", "dim"), text), soft_wrap=True)


def _print_table(console: Console, changes: Sequence[Change]) -> None:
    """Columns as wide as what stands in them; those that do not fit the screen are left out, and nothing is wrapped."""
    dots = glyphs(console).more
    heads, *rows = [[cell.replace("…", dots) for cell in row] for row in (HEADS, *map(_row, changes))]
    widths = [max(cell_len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    layouts = [(gap, [column for column in range(len(heads)) if column not in without]) for gap, without in LAYOUTS]
    gap, columns = next(
        (each for each in layouts if sum(widths[column] + each[0] for column in each[1]) + 2 - each[0] <= console.width), layouts[-1]
    )
    between = " " * gap
    console.print(Text(f"  {between.join(_cells(heads, columns, widths))}".rstrip(), style="dim"), soft_wrap=True)
    for change, row in zip(changes, rows, strict=True):
        *cells, word = _cells(row, columns, widths)
        console.print(Text.assemble(f"  {between.join(cells)}{between}", (word.rstrip(), STYLE_OF[change.judgement])), soft_wrap=True)


def _cells(row: Sequence[str], columns: Sequence[int], widths: Sequence[int]) -> list[str]:
    """Names to the left, numbers to the right."""
    return [row[column].ljust(widths[column]) if column in (0, len(row) - 1) else row[column].rjust(widths[column]) for column in columns]


def _prose(console: Console, text: str, first: str, *, style: str = "") -> None:
    """Wrapped text; what does not fit into the first line is indented as far as ``first`` is long. A head of one word gets the style."""
    lines = textwrap.wrap(text, max(20, prose_width(console) - len(first)), break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(lines):
        head = first if number == 0 else " " * len(first)
        console.print(Text.assemble((head, style), (line, "bold" if first.strip() else style)), soft_wrap=True)


# --- Markdown ---------------------------------------------------------------------------------------------------------------

_MARKS: Final[Mapping[str, str]] = {"fail": "❌", "unknown": "❔", "pass": "✅"}


def markdown(comparison: Comparison) -> str:
    """A comment for a pull request: the answer, what decides, and the rest folded away."""
    lines = [f"### {_MARKS[comparison.verdict]} Starts and stops: {_escaped(answer(comparison))}", ""]
    for warning in comparison.warnings:
        lines += ["> [!WARNING]", f"> {_escaped(clean(warning))}", ""]
    shown = [each for each in comparison.changes if each.main or each.judgement is Judgement.SLOWER]
    rest = [each for each in comparison.changes if each not in shown]
    lines += _markdown_table(comparison, shown)
    notable = [each for each in comparison.failures if each.new or each.base]
    lines += [f"* {_escaped(_short(comparison, each))}: {failure_words(each)}: **{word_of(each)}**" for each in notable]
    lines += [""] if notable else []
    lines += _folded(f"{len(rest)} more series", _markdown_table(comparison, rest)) if rest else []
    told = [f"* {_escaped(head)}: {_escaped(why)}" for head, changes in _blocks(comparison).items() for why in why_words(changes)]
    told += [f"* {_escaped(one_sided_words(one))}" for one in comparison.one_sided]
    lines += _folded("What can't be told, and why", [*told, ""]) if told else []
    if comparison.within:
        lines.append(f"Variants of {_escaped(_side_words(comparison.new))}, against {_escaped(clean(comparison.reference))}.")
    else:
        base = "; ".join(_escaped(_side_words(side)) for side in comparison.base)
        lines.append(f"Base: {base}. New: {_escaped(_side_words(comparison.new))}.")
    return "\n".join(lines) + "\n"


def _markdown_table(comparison: Comparison, changes: Sequence[Change]) -> list[str]:
    if not changes:
        return []
    heads = ("", "metric", "base", "new", "change", "95 % interval", "p", "verdict")
    lines = [f"| {' | '.join(heads)} |", "|---|---|--:|--:|--:|--:|--:|---|"]
    for change in changes:
        *cells, word = _row(change)
        told = f"**{word}**" if change.judgement in (Judgement.SLOWER, Judgement.UNSURE) else word
        lines.append(f"| {_escaped(_short(comparison, change))} | `{cells[0]}` | {' | '.join(map(_escaped, cells[1:]))} | {told} |")
    return [*lines, ""]


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    return ["<details>", f"<summary>{_escaped(title)}</summary>", "", *lines, "</details>", ""]


def _escaped(text: str) -> str:
    """Names come from people: none may end a cell, begin a tag or set a link."""
    return re.sub(r"([\\`*\[\]|]|\b_|_\b)", r"\\\1", html.escape(text, quote=False))


# --- exports ----------------------------------------------------------------------------------------------------------------


def contents(comparison: Comparison, places: Sequence[Place]) -> Mapping[str, Callable[[], bytes]]:
    """How each ``--export-…`` is made."""
    return {
        "markdown": lambda: encodable(markdown(comparison)).encode(),
        "json": lambda: json_of(comparison),
        "csv": lambda: csv_of(places)[0].encode(),  # noqa: PLW0108  made when it is wanted
    }


def notes_on(places: Sequence[Place], wanted: Mapping[str, Path | None]) -> list[str]:
    """What a reader of the files should know of them."""
    gone = csv_of(places)[1] if wanted.get("csv") else ()
    return [f"--export-csv: left out, as not every place has it: {', '.join(gone)}"] if gone else []


# --- files for programs -----------------------------------------------------------------------------------------------------


def json_of(comparison: Comparison) -> bytes:
    """The comparison for programs; ``docs/compare.md`` tells its keys."""
    return msgspec.json.format(msgspec.json.encode(_encodable(msgspec.to_builtins(comparison))), indent=2) + b"\n"


def _encodable(value: object) -> object:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {encodable(key): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list | tuple) else value


def csv_of(places: Sequence[Place]) -> tuple[str, tuple[str, ...]]:
    """One row for each place in the order of time, and the names of the columns that were left out because not every place has them.

    Otava reads a number in each cell, so a column with a gap would make its file unreadable.
    """
    alone = all(len(place.bench.variants) == 1 for place in places)
    rows = [(place, _medians(place, alone=alone)) for place in sorted(places, key=_instant)]
    every = list(dict.fromkeys(name for _place, medians in rows for name in medians))
    whole = [name for name in every if all(name in medians for _place, medians in rows)]
    attributes = list(dict.fromkeys(key for place, _medians_ in rows for key in place.bench.attributes))
    names = _attribute_columns(attributes, whole)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["time", "bench", *names, *whole])
    for place, medians in rows:
        said = [encodable(clean(place.bench.attributes.get(key, ""))) for key in attributes]
        writer.writerow([place.bench.began, encodable(clean(str(place.path))), *said, *(f"{medians[name]:.9g}" for name in whole)])
    return text.getvalue(), tuple(name for name in every if name not in whole)


def _instant(place: Place) -> datetime.datetime:
    """When it began; what can't be read comes first."""
    try:
        began = datetime.datetime.fromisoformat(place.bench.began)
    except ValueError:
        return datetime.datetime.min.replace(tzinfo=datetime.UTC)
    return began if began.tzinfo else began.replace(tzinfo=datetime.UTC)


def _medians(place: Place, *, alone: bool) -> dict[str, float]:
    """The median of each series by the name of its column; the only variant of every place needs no name."""
    return {
        _column("" if alone else variant.name, series): percentile(series.samples, 50)
        for variant in place.bench.variants
        for series in variant.series
        if series.samples and series.metric in COMPARED
    }


def _column(variant: str, series: Series) -> str:
    """``web.idle.startup_time``: no spaces and no commas."""
    under = f"{series.under}.{series.at_once}" if series.under == "at-once" else series.under
    return ".".join(_named(part) for part in (variant, series.process, under, series.metric) if part)


def _attribute_columns(attributes: Iterable[str], taken: Iterable[str]) -> list[str]:
    """A column's name for each attribute, all different."""
    names: list[str] = []
    used = {"time", "bench", *taken}
    for attribute in attributes:
        name = _named(attribute)
        while name in used:
            name = f"attribute_{name}"
        used.add(name)
        names.append(name)
    return names


def _named(text: str) -> str:
    return _NO_NAME.sub("_", text).strip("_") or "_"
