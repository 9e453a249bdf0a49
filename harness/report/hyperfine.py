"""A bench in hyperfine's shapes, so that its scripts and whatever else reads them can read a bench: JSON, CSV and Markdown.

A result of hyperfine is a variant under one condition, and its ``times`` are whole starts, from spawned (in a container from running) to
healthy. Where hyperfine wants to know more than a bench does, this is what it gets: ``user`` has all CPU time until its first answer,
since user and system are measured together, and ``system`` is 0; ``exit_codes`` has a 0 for each start that got healthy. Starts that never
did have no time. They stand in the sentences of the Markdown and, like all else that was measured, under the key ``jetable`` of the JSON,
which is the whole bench. A case without a single healthy start is no result of hyperfine's, whose scripts take a result for at least one.

The shapes are those of hyperfine 1.15 and later 1.x (its src/export and scripts). A script that plots parameters wants exactly one in each
result, and gets ``at_once`` as one where several started at the same time.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from harness.benches import Bench, Series, Variant
from harness.checks.timing import PHASES
from harness.checks.wording import count, grouped, percent
from harness.report.bench import MOST_IMPORTS, USED_WORDS, all_warnings, failure_text, kinds_of_failures, last_words
from harness.report.figures import (
    START,
    Case,
    amount,
    attempts_of,
    cases_of,
    conditions_of,
    figures,
    interval_text,
    label_of,
    mean_text,
    reference_of,
    relations_of,
    series_of,
)
from harness.report.text import clean, encodable
from harness.statistics import Summary
from harness.units import span

THEIRS: Final = ("command", "mean", "stddev", "median", "user", "system", "min", "max")
OURS: Final = ("variant", "engine", "process", "under", "at_once", "metric", "unit", "count", "p95", "median_low", "median_high")


class HyperfineResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One result of hyperfine's, its fields in their order; spans are seconds.

    ``stddev`` is null for one sample; ``memory_usage_byte`` (since 1.18) and ``parameters`` are left out when there are none.
    """

    command: str
    mean: float
    stddev: float | None
    median: float
    user: float
    system: float
    min: float
    max: float
    times: tuple[float, ...]
    memory_usage_byte: tuple[int, ...] = ()
    exit_codes: tuple[int, ...]
    parameters: dict[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    """A case that got healthy at least once."""

    variant: Variant
    case: Case
    label: str
    series: Series
    figure: Summary


def _started(bench: Bench) -> Iterator[_Started]:
    for variant in bench.variants:
        for case in cases_of(variant):
            series = series_of(variant, case, START)
            if series:
                figure = figures(series.samples, bench.seed)
                yield _Started(variant=variant, case=case, label=label_of(bench, variant, case), series=series, figure=figure)


# --- JSON -------------------------------------------------------------------------------------------------------------------


def to_hyperfine(bench: Bench) -> bytes:
    """Hyperfine's JSON, and under ``jetable`` the whole bench as `harness.benches.Bench`."""
    results = [msgspec.to_builtins(_result(bench, started)) for started in _started(bench)]
    whole = _sound({"results": results, "jetable": msgspec.to_builtins(bench)})
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def _result(bench: Bench, started: _Started) -> HyperfineResult:
    figure, memory = started.figure, series_of(started.variant, started.case, "peak_memory")
    return HyperfineResult(
        command=started.label,
        mean=figure.mean,
        stddev=figure.sd if figure.count > 1 else None,
        median=figure.median,
        user=_cpu(bench, started) or 0.0,
        system=0.0,
        min=figure.min,
        max=figure.max,
        times=started.series.samples,
        memory_usage_byte=tuple(round(value) for value in memory.samples) if memory else (),
        exit_codes=(0,) * figure.count,
        parameters=_parameters(started.variant, started.case),
    )


def _cpu(bench: Bench, started: _Started) -> float | None:
    series = series_of(started.variant, started.case, "start_cpu_time")
    return figures(series.samples, bench.seed).mean if series else None


def _parameters(variant: Variant, case: Case) -> dict[str, str]:
    """In hyperfine's order, which is by name."""
    given = variant.parameters | ({"at_once": str(case.at_once)} if case.under == "at-once" else {})
    return dict(sorted(given.items()))


def _sound(value: object) -> object:
    """``value`` with the app's own words made fit for UTF-8."""
    match value:
        case str():
            return encodable(value)
        case dict():
            return {_sound(key): _sound(each) for key, each in value.items()}
        case list() | tuple():
            return [_sound(each) for each in value]
        case _:
            return value


# --- CSV --------------------------------------------------------------------------------------------------------------------


def contents(bench: Bench) -> Mapping[str, Callable[[], bytes]]:
    """How each ``--export-…`` is made."""
    return {"json": lambda: to_hyperfine(bench), "csv": lambda: to_csv(bench), "markdown": lambda: to_markdown(bench)}


def to_csv(bench: Bench) -> bytes:
    """A row for each series: hyperfine's columns, a column for each parameter, then those that only a bench has.

    Numbers are in the series' unit, seconds, bytes or a count. CPU time stands in rows of the whole start alone.
    """
    cases = [(variant, case) for variant in bench.variants for case in cases_of(variant)]
    names = sorted({name for variant, case in cases for name in _parameters(variant, case)})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*THEIRS, *(encodable(clean(f"parameter_{name}")) for name in names), *OURS))
    for variant, case in cases:
        given = _parameters(variant, case)
        for series in variant.series:
            if series.samples and case.has(series):
                parameters = [encodable(clean(given.get(name, ""))) for name in names]
                theirs, ours = _fields(bench, variant, case, series)
                writer.writerow((*theirs, *parameters, *ours))
    return text.getvalue().encode()


def _fields(bench: Bench, variant: Variant, case: Case, series: Series) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """Hyperfine's fields of a row and ours; None is written as an empty field."""
    figure = figures(series.samples, bench.seed)
    cpu = series_of(variant, case, "start_cpu_time") if series.metric == START else None
    user, system = (figures(cpu.samples, bench.seed).mean, 0) if cpu else (None, None)
    deviation = figure.sd if figure.count > 1 else None
    command = encodable(label_of(bench, variant, case))
    low, high = (figure.median_interval.low, figure.median_interval.high) if figure.median_interval else (None, None)
    where = tuple(encodable(clean(text)) for text in (variant.name, variant.engine, case.process, case.under))
    theirs = (command, figure.mean, deviation, figure.median, user, system, figure.min, figure.max)
    return theirs, (*where, case.at_once, series.metric, series.unit, figure.count, figure.p95, low, high)


# --- Markdown ---------------------------------------------------------------------------------------------------------------


def to_markdown(bench: Bench) -> bytes:
    """Hyperfine's table of whole starts, what differs and what to doubt in sentences, and a table of phases for each case."""
    blocks = [_hyperfine_table(bench), *_sentences(bench)]
    for variant in bench.variants:
        for case in cases_of(variant):
            table = _phase_table(bench, variant, case)
            blocks += [f"### {_escaped(label_of(bench, variant, case))}", table] if table else []
        blocks += [_import_table(variant)] if variant.imports else []
    return ("\n\n".join(blocks) + "\n").encode("utf-8", "backslashreplace")


def _hyperfine_table(bench: Bench) -> str:
    """Its ``Relative`` is, as there, the ratio of means, with the deviation of a ratio of independent values (not an interval)."""
    started = {(each.variant.name, each.case): each for each in _started(bench)}
    reference = reference_of(bench)
    base = next((each for each in started.values() if each.variant is reference), next(iter(started.values()), None))
    scale, unit, places = (1000, "ms", 1) if base is None or base.figure.mean < 1 else (1, "s", 3)
    lines = [f"| Command | Mean [{unit}] | Min [{unit}] | Max [{unit}] | Relative |", "|:---|---:|---:|---:|---:|"]
    for variant in bench.variants:
        for case in cases_of(variant):
            label = f"`{_escaped(label_of(bench, variant, case)).replace('`', chr(39))}`"
            row = started.get((variant.name, case))
            if row is None or base is None:
                lines.append(f"| {label} | - | - | - | - |")
                continue
            figure = row.figure
            mean, sd, least, most = (f"{value * scale:.{places}f}" for value in (figure.mean, figure.sd, figure.min, figure.max))
            spread = f" ± {sd}" if figure.count > 1 else ""
            lines.append(f"| {label} | {mean}{spread} | {least} | {most} | {_relative(figure, base.figure)} |")
    return "\n".join(lines)


def _relative(figure: Summary, base: Summary) -> str:
    if figure is base:
        return "1.00"
    if not base.mean or not figure.mean:
        return "-"
    ratio = figure.mean / base.mean
    spread = f" ± {ratio * math.hypot(figure.sd / figure.mean, base.sd / base.mean):.2f}" if min(figure.count, base.count) > 1 else ""
    return f"{ratio:.2f}{spread}"


def _sentences(bench: Bench) -> list[str]:
    """What the tables don't say: an early end, failures, comparisons, advice and warnings, as lists."""
    ended = [] if bench.how == "finished" else [f"**{bench.how}**" + (f": {_escaped(bench.why)}" if bench.why else "")]
    found = [_escaped(line) for line in relations_of(bench)]
    for variant in bench.variants:
        of = f"{_escaped(variant.name)}: " if len(bench.variants) > 1 else ""
        found += [of + line for line in _trouble(variant)]
        found += [of + _escaped(line) for line in (*conditions_of(bench, variant), *variant.advice)]
    warned = [f"**warning:** {_escaped(line)}" for line in all_warnings(bench)]
    return [*ended, *(["\n".join(f"- {line}" for line in (*found, *warned))] if found or warned else [])]


def _trouble(variant: Variant) -> Iterator[str]:
    for case in cases_of(variant):
        books = attempts_of(variant, case)
        if books and books.failed:
            yield f"**{books.failed} of {count(books.starts, 'start')} {case.when} never got healthy**"
        if books and books.killed:
            yield f"**killed at the end of the grace: {count(books.killed, 'stop')} {case.when}**"
    for times, last in kinds_of_failures(variant):
        yield _escaped(f"{failure_text(times, last)}; {last_words(last)}")


def _phase_table(bench: Bench, variant: Variant, case: Case) -> str:
    """Phases and what a start used; empty when nothing was measured."""
    words = {metric: phase for phase, metric in PHASES.items()} | USED_WORDS
    found = [(text, series) for metric, text in words.items() if (series := series_of(variant, case, metric))]
    if not found:
        return ""
    lines = ["| Phase | n | Mean ± σ | Median | 95 % of median | Min | Max | p95 |", "|:---|---:|---:|---:|---:|---:|---:|---:|"]  # noqa: RUF001  as in hyperfine
    for text, series in found:
        figure, unit = figures(series.samples, bench.seed), series.unit
        least, most, high = (amount(value, unit) for value in (figure.min, figure.max, figure.p95))
        high += f" ({interval_text(figure.p95_interval, unit)})" if figure.p95_interval else ""
        middle = f"{mean_text(figure, unit, '±')} | {amount(figure.median, unit)} | {interval_text(figure.median_interval, unit)}"
        lines.append(f"| {text} | {grouped(figure.count)} | {middle} | {least} | {most} | {high} |")
    return "\n".join(lines)


def _import_table(variant: Variant) -> str:
    dearest = sorted(variant.imports, key=lambda each: -each.self_s)[:MOST_IMPORTS]
    rows = [f"| {_escaped(each.package)} | {span(each.self_s)} | {percent(each.share)} | {_escaped(each.slowest)} |" for each in dearest]
    head = f"| Imports of {_escaped(variant.name)} | Own time | Of the start | Slowest module |"
    return "\n".join((head, "|:---|---:|---:|:---|", *rows))


def _escaped(text: str) -> str:
    """Foreign words in Markdown: one line, no column of their own, no tags."""
    return clean(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
