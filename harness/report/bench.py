"""What a person reads when a bench is over: how long each phase of a start and a stop took, how sure that is, and what to doubt.

Variants follow each other in the order in which they were named, and so do their conditions. Of each stand first the whole start and the
whole stop in hyperfine's two lines, then a table of phases with a small histogram each, what a start used of the machine, and what went
wrong: starts that never got healthy and stops that had to be killed are never left out. A narrow screen loses columns, the least telling
first; median and histogram stay. A dash stands where there were too few samples for an interval.

All numbers are computed from the series alone, so a bench that is printed again reads the same.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from harness.benches import CONDITIONS, Attempts, Bench, FailedStart, Series, Unit, Variant, by_cycle
from harness.checks.timing import PHASES, RUNTIME_PHASES
from harness.checks.wording import count, grouped, listed, percent
from harness.report.console import STYLES, glyphs, prose_width
from harness.report.figures import (
    START,
    STOP,
    WHEN,
    Case,
    amount,
    attempts_of,
    cases_of,
    conditions_of,
    figures,
    interval_text,
    label_of,
    mean_text,
    relations_of,
    series_of,
)
from harness.report.text import clean
from harness.statistics import OUTLYING, Summary, drift, histogram, outliers, slow_first
from harness.threshold import percentile
from harness.units import span
from harness.verdict import Verdict

DRIFTING: Final = 0.01
"""The chance below which a drift is told; each start and stop is tested, so it is lower than for one that somebody looked for."""

MOST_FAILED: Final = 5
"""Kinds of failed starts that are shown; ``bench.json`` has them all."""

MOST_IMPORTS: Final = 10

NAME_CHARACTERS: Final = 32
"""Longer names of packages and modules are cut."""

BINS: Final = 10
WIDE, WIDE_BINS = 110, 20
"""From so many columns on, histograms have more bins."""

NARROW, NARROW_BINS = 80, 8
"""Below so many columns they have fewer, so that the interval of the median stays."""

USED_WORDS: Final[dict[str, str]] = {
    "start_cpu_time": "CPU time",
    "start_page_faults": "page faults",
    "start_major_faults": "faults from disk",
    "start_read_bytes": "read from disk",
    "steady_memory": "memory, steady",
    "peak_memory": "memory, peak",
}
"""Each key of `harness.benches.USED` in a few words, in the order of reports."""

_REASONS: Final = {
    "never-healthy": "never got healthy",
    "exited": "ended before being healthy",
    "port-taken": "could not take the port",
    "ended by itself": "got healthy and ended unasked",
}

_STOP_PHASES: Final = ("stopped listening", "drained", "exited", "removed")
_Z_SCORE: Final = f"modified z-score above {OUTLYING:g}"

OUTLIERS: Final = "outliers stay in all numbers; look for what else the machine did, or take more rounds with --min-runs"
"""The last warning of those that have any outliers."""

_THINGS: Final = {START: "start", STOP: "stop"}


# --- warnings ---------------------------------------------------------------------------------------------------------------


def warnings_of(bench: Bench) -> tuple[str, ...]:
    """What the series themselves warn of: slow first runs, outliers and drift of whole starts and stops. Nothing is removed for them."""
    found = [
        line
        for variant in bench.variants
        for case in cases_of(variant)
        for metric in (START, STOP)
        if (series := series_of(variant, case, metric))
        for line in _warnings(series, label_of(bench, variant, case), attempts_of(variant, case))
    ]
    return (*found, *([OUTLIERS] if any(_Z_SCORE in line for line in found) else []))


def _warnings(series: Series, label: str, books: Attempts | None) -> Iterator[str]:
    samples, thing = series.samples, _THINGS[series.metric]
    first, warmups = slow_first(samples), books.warmups if books else 0
    if first:
        took = f"{span(samples[0])}, the median of the others is {span(percentile(samples[1:], 50))}"
        yield f"{label}: the first {thing} was slow: {took}; caches may have been cold; --warmup {warmups + 1} discards such rounds"
    far = [samples[place] for place in outliers(samples) if place or not first]
    if far:
        are = "is an outlier" if len(far) == 1 else "are outliers"
        which = listed([span(value) for value in sorted(far, reverse=True)])
        yield f"{label}: {len(far)} of {count(len(samples), thing)} {are}: {which} ({_Z_SCORE})"
    moved = drift(samples)
    if moved.p < DRIFTING:
        way = "longer" if moved.rho > 0 else "shorter"
        proof = f"rank correlation {moved.rho:+.2f}, p {_chance(moved.p)}"
        yield f"{label}: {thing}s got {way} as the bench went on ({proof}); the interval promises too much"


def _chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def all_warnings(bench: Bench) -> tuple[str, ...]:
    """Each warning once: those of the bench, of its variants (by name, where there are several) and of its series."""
    several = len(bench.variants) > 1
    named = [(f"{variant.name}: " if several else "") + line for variant in bench.variants for line in variant.warnings]
    return tuple(dict.fromkeys(clean(line) for line in (*bench.warnings, *named, *warnings_of(bench))))


# --- the page ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signs:
    """What the numbers are set with."""

    about: str
    sigma: str
    to: str
    bars: str


_UNICODE: Final = _Signs(about="±", sigma="σ", to="…", bars="▁▂▃▄▅▆▇█")  # noqa: RUF001  hyperfine's sign for it
_ASCII: Final = _Signs(about="+-", sigma="sd", to="..", bars=".:-=+*#@")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column of a table; of all that don't fit into a line those with the highest ``rank`` are left out."""

    head: str
    cells: tuple[str, ...]
    rank: int
    left: bool = False

    @property
    def width(self) -> int:
        return max(cell_len(text) for text in (self.head, *self.cells))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A line of a table of figures; without a series it is a heading."""

    label: str
    series: Series | None = None


class _Page:
    """Prints lines that are wrapped here and never by the console, so that a long path or command stays in one piece."""

    def __init__(self, console: Console, seed: int) -> None:
        self.console = console
        self.seed = seed
        self.glyphs = glyphs(console)
        self.signs = _UNICODE if console.encoding.lower().startswith("utf") else _ASCII

    def blank(self) -> None:
        self.console.print()

    def line(self, *parts: str | Text | tuple[str, str]) -> None:
        """One line, however long."""
        text = Text.assemble(*parts)
        text.rstrip()
        self.console.print(text, soft_wrap=True)

    def prose(self, first: str, text: str, style: str = "", mark: str = "") -> None:
        """Wrapped text after ``first``, whose style is ``mark``."""
        room = max(20, prose_width(self.console) - cell_len(first))
        lines = textwrap.wrap(clean(text), room, break_long_words=False, break_on_hyphens=False)
        for number, line in enumerate(lines):
            self.line((first, mark) if number == 0 else " " * cell_len(first), (line, style))

    def table(self, columns: Sequence[_Column]) -> None:
        """As many of ``columns`` as fit, by rank, in their order."""
        kept: list[_Column] = []
        for column in sorted(columns, key=lambda column: column.rank):
            if kept and sum(each.width + 2 for each in kept) + column.width > self.console.width:
                break
            kept.append(column)
        kept = [column for column in columns if column in kept]
        for number, cells in enumerate(zip(*((column.head, *column.cells) for column in kept), strict=True)):
            texts = [_padded(text, column) for text, column in zip(cells, kept, strict=True)]
            self.line(("  ".join(texts), "dim" if number == 0 else ""))


def _padded(text: str, column: _Column) -> str:
    space = " " * (column.width - cell_len(text))
    return text + space if column.left else space + text


def print_bench(bench: Bench, console: Console) -> None:
    """Print a bench whole."""
    page = _Page(console, bench.seed)
    _head(page, bench)
    for variant in bench.variants:
        _variant(page, bench, variant)
    _listed(page, "summary", relations_of(bench))
    warnings = all_warnings(bench)
    if warnings:
        page.blank()
        for line in warnings:
            page.prose(f"{page.glyphs.problem} ", line, mark=STYLES[Verdict.UNKNOWN])
    if bench.again:
        page.blank()
        page.line((f"{'again':<8}", "dim"), clean(bench.again))


def _head(page: _Page, bench: Bench) -> None:
    rounds = 1 + max((number for variant in bench.variants for series in variant.series for number in series.rounds), default=-1)
    machine = bench.machine
    page.blank()
    page.line(("bench    ", "dim"), (clean(bench.name), "bold"))
    page.prose(" " * 9, f"{count(rounds, 'round')}, seed {bench.seed}, {bench.began}", "dim")
    facts = (machine.system, machine.cpu, count(machine.cores, "CPU"), amount(machine.memory_bytes, "bytes"), f"Python {machine.python}")
    page.prose(" " * 9, ", ".join(facts), "dim")
    if bench.attributes:
        page.prose(" " * 9, ", ".join(f"{name}={value}" for name, value in bench.attributes.items()), "dim")
    if bench.how != "finished":
        why = f": {bench.why}" if bench.why else ""
        page.prose(f"{bench.how.upper():<12} ", f"this is what was measured until then{why}", mark=STYLES[Verdict.UNKNOWN])
    if not bench.variants:
        page.prose("? ", "nothing was measured", mark=STYLES[Verdict.UNKNOWN])


def _variant(page: _Page, bench: Bench, variant: Variant) -> None:
    page.blank()
    facts = [f"{variant.engine} engine"] if variant.engine != variant.name else []
    facts += [f"{name}={value}" for name, value in variant.parameters.items()]
    facts += [f"cold: {', '.join(variant.cold)}"] if variant.cold else []
    facts += ["reference"] if variant.reference and len(bench.variants) > 1 else []
    page.line((clean(variant.name), "bold cyan"), (f"  {clean(', '.join(facts))}" if facts else "", "dim"))
    if variant.command and variant.command != variant.name:
        page.line("  ", (clean(variant.command), "dim"))
    cases = cases_of(variant)
    for case in cases:
        if case.under != "at-once":
            _case(page, variant, case, several=len({each.process for each in cases}) > 1)
    _at_once(page, variant, [case for case in cases if case.under == "at-once"])
    if not cases:
        page.prose("  ? ", "nothing was measured", mark=STYLES[Verdict.UNKNOWN])
    _listed(page, "", conditions_of(bench, variant))
    _failed(page, variant)
    _imports(page, variant)
    _listed(page, "advice", variant.advice)


def _listed(page: _Page, head: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    page.blank()
    if head:
        page.line((f"  {head}", "bold cyan"))
    for line in lines:
        page.prose(f"  {page.glyphs.dot} ", line)


# --- one condition ----------------------------------------------------------------------------------------------------------


def _case(page: _Page, variant: Variant, case: Case, *, several: bool) -> None:
    page.blank()
    process = f"{clean(case.process)}, " if several else ""
    page.prose("  ", f"{process}{case.words}: {CONDITIONS[case.under].doc}", "dim")
    _whole(page, variant, case, START)
    _whole(page, variant, case, STOP)
    rows = [_Row(label="  start"), *_phases(variant, case, [phase for phase in PHASES if phase not in _STOP_PHASES])]
    stops = _phases(variant, case, _STOP_PHASES)
    rows += [_Row(label="  stop"), *stops] if stops else []
    if any(row.series for row in rows):
        page.blank()
        page.table(_columns(page, rows if rows[1].series else rows[1:]))
    used = [_Row(label=f"    {words}", series=series_of(variant, case, metric)) for metric, words in USED_WORDS.items()]
    _used(page, [row for row in used if row.series], whole=case == cases_of(variant)[0])


def _used(page: _Page, rows: Sequence[_Row], *, whole: bool) -> None:
    """What starts used of the machine: a table at the first condition, and a sentence at all others."""
    if not rows:
        return
    page.blank()
    if whole:
        page.table(_columns(page, [_Row(label="  used by a start"), *rows], memory=True))
        return
    medians = [
        f"{row.label.strip()} {amount(figures(row.series.samples, page.seed).median, row.series.unit)}" for row in rows if row.series
    ]
    page.prose("  ", f"used by a start (median): {'; '.join(medians)}")


def _whole(page: _Page, variant: Variant, case: Case, metric: str) -> None:
    """The whole start or stop, as hyperfine shows a command: mean and deviation, range, and how many."""
    series, thing, signs = series_of(variant, case, metric), _THINGS[metric], page.signs
    counted = _starts(variant, case) if metric == START else _stops(variant, case)
    if series is None:
        if counted:
            page.line(f"  {thing:<6} ", _joined(counted))
        return
    figure = figures(series.samples, page.seed)
    cpu = series_of(variant, case, "start_cpu_time") if metric == START else None
    busy = f"    [CPU {amount(figures(cpu.samples, page.seed).mean, cpu.unit)}]" if cpu else ""
    middle, ends = f"(mean {signs.about} {signs.sigma})", f"(min {signs.to} max)"
    room = max(len(middle), len(ends))
    spread = f" {signs.about} {span(figure.sd)}" if figure.count > 1 else ""
    page.line(f"  {thing:<6} {middle:<{room}}  ", (span(figure.mean), "bold green"), spread, (busy, "dim"))
    extent = f"  {'':<6} {ends:<{room}}  {span(figure.min)} {signs.to} {span(figure.max)}"
    if cell_len(extent) + 4 + _joined(counted).cell_len <= page.console.width:
        page.line(extent, "    ", _joined(counted))
        return
    for line in (Text(extent), *(Text.assemble(" " * 9, each) for each in counted)):
        page.line(line)


def _joined(parts: Sequence[Text]) -> Text:
    return Text(", ").join(parts)


def _starts(variant: Variant, case: Case) -> list[Text]:
    """How many starts there were, how many of them failed, and how many are left out."""
    books = attempts_of(variant, case)
    if books is None:
        return []
    warmups = [Text(f"{count(books.warmups, 'warm-up')} left out")] if books.warmups else []
    if books.failed:
        return [Text(f"{books.failed} of {count(books.starts, 'start')} never got healthy", style=STYLES[Verdict.FAIL]), *warmups]
    return [Text(count(books.starts, "start")), *warmups]


def _stops(variant: Variant, case: Case) -> list[Text]:
    """How many stops were timed, and how many of them were killed; the time of those has their whole grace in it."""
    books, series = attempts_of(variant, case), series_of(variant, case, STOP)
    timed, killed = len(series.samples) if series else 0, books.killed if books else 0
    if not killed:
        return [Text(count(timed, "stop"))] if timed else []
    of = f"{killed} of {count(timed, 'stop')}" if timed >= killed else count(killed, "stop")
    return [Text(f"{of} killed at the end of the grace", style=STYLES[Verdict.FAIL])]


def _phases(variant: Variant, case: Case, phases: Sequence[str]) -> list[_Row]:
    """A row for each phase that was measured; where a runtime makes a container first, its share is named."""
    contained = series_of(variant, case, PHASES["created"]) is not None
    rows = []
    for phase in phases:
        series = series_of(variant, case, PHASES[phase])
        whose = " (runtime)" if phase == "removed" or (contained and phase in RUNTIME_PHASES) else ""
        rows += [_Row(label=f"    {phase}{whose}", series=series)] if series else []
    return rows


def _columns(page: _Page, rows: Sequence[_Row], *, memory: bool = False) -> list[_Column]:
    """The figures of rows. What tells most of times are median and histogram; of memory, median and maximum."""
    known = [(row.series.unit, figures(row.series.samples, page.seed)) if row.series else None for row in rows]
    bins = WIDE_BINS if page.console.width >= WIDE else BINS if page.console.width >= NARROW else NARROW_BINS
    bars = tuple(_bars(page, row.series.samples, figures(row.series.samples, page.seed), bins) if row.series else "" for row in rows)

    def cells(of: str) -> tuple[str, ...]:
        return tuple(_cell(of, *each, sign=page.signs.about) if each else "" for each in known)

    most = 2 if memory else 8
    tails = any(each and each[1].p95_interval for each in known)
    return [
        _Column(head=rows[0].label, cells=tuple(row.label for row in rows)[1:], rank=0, left=True),
        _Column(head="n", cells=cells("n")[1:], rank=4),
        _Column(head=f"mean {page.signs.about} {page.signs.sigma}", cells=cells("mean")[1:], rank=6),
        _Column(head="median", cells=cells("median")[1:], rank=1),
        _Column(head="95 % of median", cells=cells("interval")[1:], rank=3),
        _Column(head="min", cells=cells("min")[1:], rank=7),
        _Column(head="max", cells=cells("max")[1:], rank=most),
        _Column(head="p95", cells=cells("p95")[1:], rank=5),
        *([_Column(head="95 % of p95", cells=cells("tail")[1:], rank=10)] if tails else []),
        _Column(head="", cells=bars[1:], rank=9 if memory else 2, left=True),
    ]


def _cell(of: str, unit: Unit, figure: Summary, *, sign: str) -> str:
    match of:
        case "n":
            return grouped(figure.count)
        case "mean":
            return mean_text(figure, unit, sign)
        case "interval":
            return interval_text(figure.median_interval, unit)
        case "tail":
            return interval_text(figure.p95_interval, unit)
        case _:
            return amount({"median": figure.median, "min": figure.min, "max": figure.max, "p95": figure.p95}[of], unit)


def _bars(page: _Page, samples: Sequence[float], figure: Summary, bins: int) -> str:
    """A histogram from the smallest to the largest sample that is no outlier; how many outliers lie beyond stands beside it.

    So the shape of a peak can be seen however far away an outlier is.
    """
    far = {samples[place] for place in outliers(samples)}
    near = [value for value in samples if value not in far]
    below, above = (sum(value in far and side(value) for value in samples) for side in (figure.median.__gt__, figure.median.__lt__))
    counts = [times for _, _, times in histogram(near, bins=bins)]
    tallest, signs = max(counts, default=0), page.signs.bars
    bars = "".join(signs[(times * len(signs) - 1) // tallest] if times else " " for times in counts)
    return (f"{below}< " if below else "") + bars.ljust(bins) + (f" >{above}" if above else "")


def _at_once(page: _Page, variant: Variant, cases: Sequence[Case]) -> None:
    """How a start gets longer the more of them there are at the same time."""
    if not cases:
        return
    page.blank()
    page.prose("  ", f"{CONDITIONS['at-once'].words}: {CONDITIONS['at-once'].doc}", "dim")
    rows = [(case, series_of(variant, case, START)) for case in cases]
    known = [(case, figures(series.samples, page.seed), by_cycle(series)) for case, series in rows if series]
    if known:
        starts = [figure for _, figure, _ in known]
        intervals = [figures(cycles.samples, page.seed).median_interval for *_, cycles in known]
        columns = (
            _Column(head="  n", cells=tuple(f"  {case.at_once}" for case, *_ in known), rank=0, left=True),
            _Column(head="starts", cells=tuple(grouped(figure.count) for figure in starts), rank=4),
            _Column(head="median", cells=tuple(span(figure.median) for figure in starts), rank=1),
            _Column(head="95 % of median", cells=tuple(interval_text(each, "s") for each in intervals), rank=3),
            _Column(head="max", cells=tuple(span(figure.max) for figure in starts), rank=2),
        )
        page.table(columns)
    for case, _ in rows:
        books = attempts_of(variant, case)
        wrong = [*(_starts(variant, case) if books.failed else []), *(_stops(variant, case) if books.killed else [])] if books else []
        for line in wrong:
            page.line(f"  {case.words}: ", line)


# --- what else is known -----------------------------------------------------------------------------------------------------


def kinds_of_failures(variant: Variant) -> list[tuple[int, FailedStart]]:
    """How often starts failed in the same way, and the last of each kind."""
    kinds: dict[tuple[str, str, str], list[FailedStart]] = {}
    for each in variant.failed:
        kinds.setdefault((each.process, each.under, each.reason), []).append(each)
    return [(len(alike), alike[-1]) for alike in kinds.values()]


def failure_text(times: int, last: FailedStart) -> str:
    """``3 starts under load never got healthy: GET /healthz: connection refused``."""
    how = _REASONS.get(last.reason, last.reason)
    return clean(f"{count(times, 'start')} {WHEN[last.under]} {how}" + (f": {last.detail}" if last.detail else ""))


def last_words(failed: FailedStart) -> str:
    """The last line that it logged."""
    said = next((text for line in reversed(failed.log) if (text := clean(line))), "")
    return f"last log line: {said}" if said else "it logged nothing"


def _failed(page: _Page, variant: Variant) -> None:
    kinds = kinds_of_failures(variant)
    if not kinds:
        return
    page.blank()
    for times, last in kinds[:MOST_FAILED]:
        text = f"{failure_text(times, last)} (the last in round {last.round + 1}, after {span(last.after_s)})"
        page.prose(f"  {page.glyphs.marks[Verdict.FAIL]} ", text, mark=STYLES[Verdict.FAIL])
        page.prose("    ", last_words(last), "dim")
    if len(kinds) > MOST_FAILED:
        page.line((f"    {page.glyphs.more} {len(kinds) - MOST_FAILED} more kinds in bench.json", "dim"))


def _imports(page: _Page, variant: Variant) -> None:
    dearest = sorted(variant.imports, key=lambda each: -each.self_s)[:MOST_IMPORTS]
    if not dearest:
        return
    page.blank()
    text = f"imports: {span(variant.import_s)} in all, on one start more that is in no other number; the dearest by their own modules"
    page.prose("  ", text, "dim")
    page.table(
        (
            _Column(head="    package", cells=tuple(f"    {_short(page, each.package)}" for each in dearest), rank=0, left=True),
            _Column(head="own time", cells=tuple(span(each.self_s) for each in dearest), rank=1),
            _Column(head="of the start", cells=tuple(percent(each.share) for each in dearest), rank=2),
            _Column(head="modules", cells=tuple(grouped(each.modules) for each in dearest), rank=3),
            _Column(head="slowest module", cells=tuple(_short(page, each.slowest) for each in dearest), rank=4, left=True),
        )
    )


def _short(page: _Page, name: str) -> str:
    name, more = clean(name), page.glyphs.more
    return name if len(name) <= NAME_CHARACTERS else name[: NAME_CHARACTERS - len(more)] + more
