"""What a person reads when a run is over: in ten seconds the verdict, what was lost, why, and what to change.

Worst first: the verdict, the run in numbers, then each failed and unknown finding with its proof, cause and cure. The times of starts and
stops, the names of what passed, advice about what passed and could be better, and what the run noted of itself follow. The last two lines
say where everything lies and how to repeat it; they are never wrapped, so that they can be copied.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.checks.wording import count, grouped, percent
from harness.outcome import Outcome
from harness.report.console import STYLES, glyphs, prose_width
from harness.report.model import FaultRow, JobRow, PhaseRow, RunReport, Summary
from harness.report.text import clean, clean_lines, elapsed
from harness.units import span
from harness.verdict import Bound, Finding, Verdict, worst

EVIDENCE_LINES: Final = 5
"""Lines on the screen for the evidence of one finding; its first piece is always shown whole."""

PROOF_LINES: Final = 30
"""The same for the first finding with a proof in sentences, which is of use only whole."""

ONE_LEFT_LINES: Final = 2
"""What alone is left is shown if it takes so many lines: a line that says that there is more would be no shorter."""

EVIDENCE_CHARACTERS: Final = 600
"""A longer piece of evidence is cut on the screen; ``result.json`` has it all."""

WORD_COLUMNS: Final = 9
"""Room for a verdict's word."""

SUITE_COLUMNS: Final = 24
"""A scenario's name in the list of all runs is not cut below this."""

MOST_ADVICE: Final = 5
"""Pieces of advice that are shown; ``result.json`` has them all."""

MOST_NOTES: Final = 5
"""Notes that are shown; ``result.json`` has them all."""

FULL_FINDINGS: Final = 8
"""Findings that are shown with evidence; of more only the titles."""

INDENT: Final = "    "

_WORD: Final = re.compile(r"\S+\s*")


def print_run(report: RunReport, console: Console) -> None:
    """Print one run."""
    page = _Page(console)
    _head(page, report)
    _numbers(page, report.summary)
    _problems(page, report)
    _phases(page, report.summary.phases)
    passed = [finding for finding in report.findings if finding.verdict is Verdict.PASS]
    advice = [finding for finding in passed if finding.cure]
    _passed(page, [finding for finding in passed if not finding.cure])
    _advised(page, advice)
    _noted(page, report.summary.notes)
    page.blank()
    page.copyable("report", str(report.folder))
    page.copyable("again", report.rerun)


def print_suite(reports: Sequence[RunReport], console: Console) -> None:
    """Print one line for each of several runs, worst first, and the verdict of them all."""
    page = _Page(console)
    page.blank()
    gists = max((cell_len(_gist(report)) for report in reports), default=0)
    names = max((cell_len(clean(report.scenario)) for report in reports), default=0)
    room = max(min(names, page.width - WORD_COLUMNS - 2 - gists), SUITE_COLUMNS)
    for report in sorted(reports, key=lambda report: -report.verdict):
        name = Text(clean(report.scenario))
        name.truncate(room, overflow="ellipsis", pad=True)
        page.line(_word(report.verdict), name, "  ", (_gist(report), "dim"))
    words = {Verdict.FAIL: "failed", Verdict.UNKNOWN: "unknown", Verdict.PASS: "passed"}
    times = Counter(report.verdict for report in reports)
    parts = [f"{times[verdict]} {word}" for verdict, word in words.items() if times[verdict]]
    page.blank()
    page.line(_word(worst(times)), (f"{count(len(reports), 'run')}: {', '.join(parts)}" if parts else "no run", "bold"))


def _gist(report: RunReport) -> str:
    """What decided about a run that did not pass; for one that passed, how much it proves."""
    names = list(dict.fromkeys(clean(finding.name) for finding in report.findings if finding.verdict is not Verdict.PASS))
    if names:
        return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    jobs = report.summary.jobs
    requests = f"{count(report.summary.requests, 'request')}, {grouped(report.summary.dropped)} dropped"
    told = [] if jobs and not report.summary.requests else [requests]
    return "; ".join([*told, *([f"{count(jobs.submitted, 'job')}, {grouped(jobs.lost or 0)} lost"] if jobs else [])])


class _Page:
    """Prints lines that are wrapped here and never by the console, so that a long path or command stays in one piece."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.glyphs = glyphs(console)
        self.width = prose_width(console)

    def blank(self) -> None:
        self.console.print()

    def line(self, *parts: str | Text | tuple[str, str]) -> None:
        """One line, however long."""
        text = Text.assemble(*parts)
        text.rstrip()
        self.console.print(text, soft_wrap=True)

    def wrapped(self, text: Text, *, first: Text, indent: str) -> None:
        """Prose: ``first`` before its first line, ``indent`` before the others."""
        for number, line in enumerate(self.lines(text, len(indent))):
            self.console.print(Text.assemble(first if number == 0 else indent, line), soft_wrap=True)

    def lines(self, text: Text, indent: int) -> list[Text]:
        """``text`` in lines that fit beside an indentation; a word that is too long for a line stays whole."""
        room, column, breaks = max(20, self.width - indent), 0, []
        for word in _WORD.finditer(text.plain):
            if column and column + cell_len(word[0].rstrip()) > room:
                breaks.append(word.start())
                column = 0
            column += cell_len(word[0])
        lines = list(text.divide(breaks))
        for line in lines:
            line.rstrip()
        return lines

    def copyable(self, label: str, text: str) -> None:
        self.line((f"{label:<8}", "dim"), clean(text))


def _head(page: _Page, report: RunReport) -> None:
    took = [elapsed(report.duration_s)] if report.duration_s else []
    facts = ", ".join([f"{report.engine} engine", f"seed {report.seed}", *took])
    page.blank()
    page.line(_word(report.verdict), (clean(report.scenario), "bold"))
    page.line(" " * WORD_COLUMNS, (facts, "dim"))


def _word(verdict: Verdict) -> tuple[str, str]:
    return f"{verdict.word.upper():<{WORD_COLUMNS}}", STYLES[verdict]


# --- numbers ----------------------------------------------------------------------------------------------------------------


def _numbers(page: _Page, summary: Summary) -> None:
    page.blank()
    strengths = [text for row in summary.faults for text in _strengths(row)]
    for text in (_requests(summary), _answers(summary), *_jobs(summary.jobs), _landed(summary.faults), *strengths):
        if text:
            page.wrapped(text, first=Text("  "), indent="  ")


def _requests(summary: Summary) -> Text:
    if not summary.requests and summary.jobs:
        return Text()
    if not summary.requests:
        return Text("no request was sent", style=STYLES[Verdict.UNKNOWN])
    style = STYLES[Verdict.FAIL] if summary.dropped else ""
    outage = f", longest outage {span(summary.longest_outage_s)}" if summary.outages else ""
    saved = sum(share.count for share in summary.outcomes if share.name == Outcome.RETRIED.value)
    retried = f", {grouped(saved)} saved by a retry" if saved else ""
    return Text.assemble(count(summary.requests, "request"), ", ", (f"{grouped(summary.dropped)} dropped", style), retried, outage)


def _answers(summary: Summary) -> Text:
    parts = [f"{summary.requests_per_second:.0f} answers/s"] if summary.requests_per_second else []
    if summary.response_median_s is not None and summary.response_p99_s is not None:
        parts.append(f"median {span(summary.response_median_s)}, p99 {span(summary.response_p99_s)}")
    return Text(", ".join(parts))


def _jobs(jobs: JobRow | None) -> list[Text]:
    """``400 jobs submitted, 400 acknowledged, 400 done, 0 lost, 3 redelivered``, and how long they took."""
    if jobs is None:
        return []
    told = {"lost": jobs.lost, "stranded": jobs.stranded, "set aside": jobs.set_aside, "unexpected": jobs.unexpected}
    told |= {"not done yet": jobs.left, "done twice": jobs.duplicated, "redelivered": jobs.redelivered, "recovered": jobs.recovered}
    styles = {"not done yet": STYLES[Verdict.UNKNOWN]} | dict.fromkeys(tuple(told)[:4], STYLES[Verdict.FAIL])
    text = Text(f"{count(jobs.submitted, 'job')} submitted, {grouped(jobs.acknowledged)} acknowledged, {grouped(jobs.done)} done")
    for word, number in told.items():
        if number or (word == "lost" and number is not None):
            text = Text.assemble(text, ", ", (f"{grouped(number)} {word}", styles.get(word, "") if number else ""))
    if jobs.lost is None:
        text = Text.assemble(text, ", ", ("nobody knows how many lost", STYLES[Verdict.UNKNOWN]))
    if jobs.job_median_s is None or jobs.job_p99_s is None:
        return [text]
    return [text, Text(f"from acknowledged to done: median {span(jobs.job_median_s)}, p99 {span(jobs.job_p99_s)}")]


def _landed(faults: Sequence[FaultRow]) -> Text:
    sent, landed, busy = (sum(column) for column in zip((0, 0, 0), *((row.count, row.landed, row.busy) for row in faults), strict=True))
    if not sent:
        return Text("no fault: nothing was stopped, killed or scaled down")
    style = "" if busy == sent else STYLES[Verdict.UNKNOWN]
    return Text.assemble((f"{landed} of {count(sent, 'fault')} landed, {busy} on a busy replica", style))


def _job_strength(row: FaultRow) -> Text | None:
    """What stops of workers with a job in hand did to it."""
    if not row.with_job or row.job_bound is None:
        return None
    did = "lost, stranded or set aside a job" if row.lost else "lost a job"
    return _rate(row, f"{row.lost} of {row.with_job} {did}", row.lost, row.job_bound)


def _rate(row: FaultRow, words: str, hits: int, strength: Bound) -> Text:
    """``words`` say how many did it: a failure where any did, and else it is told how strong that is."""
    if hits:
        return Text.assemble(f"{row.kind} {clean(row.process)}: ", (words, STYLES[Verdict.FAIL]))
    sure = f"so at most {percent(strength.upper)} do ({percent(strength.confidence)} sure)"
    return Text(f"{row.kind} {clean(row.process)}: {words}, {sure}")


def _strengths(row: FaultRow) -> list[Text]:
    """What faults of one kind did to requests, and to jobs; nothing of requests where the victims took none."""
    told = _job_strength(row)
    only_jobs = row.with_job > 0 and row.busy == row.with_job and row.bound is None
    return [*([] if only_jobs else [_strength(row)]), *([told] if told else [])]


def _strength(row: FaultRow) -> Text:
    if row.kind == "start":
        return Text(f"{row.kind} {clean(row.process)}: {row.landed} of {row.count} stopped while they started, before they got any load")
    if row.saved and not row.dropped:
        return Text(f"{row.kind} {clean(row.process)}: {row.saved} of {row.busy} cut requests, all of which a retry saved")
    if row.bound is None:
        if row.busy:
            return Text(f"{row.kind} {clean(row.process)}: no answer near them is proven to be whole, so nothing is known")
        idle = f"{row.landed} of {row.count} landed, on idle replicas: what they do to a request in flight is not known"
        return Text(f"{row.kind} {clean(row.process)}: {idle}")
    return _rate(row, f"{row.dropped} of {row.bound.trials} dropped a request", row.dropped, row.bound)


# --- findings ---------------------------------------------------------------------------------------------------------------


def _problems(page: _Page, report: RunReport) -> None:
    problems = [finding for finding in report.findings if finding.verdict is not Verdict.PASS]
    if not problems and report.verdict is not Verdict.PASS:
        page.blank()
        page.line((f"{page.glyphs.marks[report.verdict]} nothing was found, so nothing is known", STYLES[report.verdict]))
    proven = next((finding for finding in problems if finding.proofs), None)
    for number, finding in enumerate(problems):
        detailed = number < FULL_FINDINGS
        if detailed or number == FULL_FINDINGS:
            page.blank()
        _title(page, finding)
        if detailed:
            _evidence(page, finding.evidence, PROOF_LINES if finding is proven else EVIDENCE_LINES)
            _advice(page, "why", finding.cause)
            _advice(page, "cure", finding.cure)


def _title(page: _Page, finding: Finding) -> None:
    style = STYLES[finding.verdict]
    text = Text.assemble((clean(finding.title) or clean(finding.name), "bold"), (f"  [{clean(finding.name)}]", "dim"))
    page.wrapped(text, first=Text.assemble((f"{page.glyphs.marks[finding.verdict]} ", style)), indent="  ")


def _evidence(page: _Page, evidence: Iterable[str], room: int) -> None:
    pieces = [line for piece in evidence for line in clean_lines(piece)]
    for number, piece in enumerate(pieces):
        text = Text(piece if len(piece) <= EVIDENCE_CHARACTERS else f"{piece[:EVIDENCE_CHARACTERS]}…")
        needed = len(page.lines(text, len(INDENT) + 2))
        room -= needed
        alone = number == len(pieces) - 1 and needed <= ONE_LEFT_LINES
        if number and room < 0 and not alone:
            page.line((f"{INDENT}{page.glyphs.more} {len(pieces) - number} more in result.json", "dim"))
            return
        page.wrapped(text, first=Text(INDENT), indent=INDENT + "  ")


def _advice(page: _Page, label: str, text: str) -> None:
    if text:
        head = Text.assemble(INDENT, (f"{label:<6}", "bold cyan"))
        page.wrapped(Text(clean(text)), first=head, indent=INDENT + " " * 6)


NOT_APPLICABLE: Final = "expectation-not-applicable"
"""A default that there was nothing to measure for: it passed, but nobody should read that it held."""


def _passed(page: _Page, passed: Sequence[Finding]) -> None:
    """What was expected and held, with its numbers, and the names of the rest."""
    if not passed:
        return
    page.blank()
    held = [clean(finding.title) for finding in passed if finding.metric and finding.name != NOT_APPLICABLE]
    names = Counter(clean(finding.name) for finding in passed if not finding.metric)
    others = [name if times == 1 else f"{name} ({times})" for name, times in names.items()]
    for label, words, between in (("held", held, f" {page.glyphs.dot} "), ("passed", others, ", ")):
        if words:
            head = Text.assemble((f"{page.glyphs.marks[Verdict.PASS]} ", STYLES[Verdict.PASS]))
            page.wrapped(Text.assemble(f"{len(words)} {label}: ", (between.join(words), "dim")), first=head, indent="  ")


def _advised(page: _Page, advice: Sequence[Finding]) -> None:
    """What passed and could be better: in short, with its cure."""
    if not advice:
        return
    page.blank()
    page.line(("  advice", "bold cyan"))
    for finding in advice[:MOST_ADVICE]:
        text = Text.assemble(clean(finding.title) or clean(finding.name), (f"  [{clean(finding.name)}]", "dim"))
        page.wrapped(text, first=Text(f"  {page.glyphs.dot} "), indent=INDENT)
        page.wrapped(Text(clean(finding.cure), style="dim"), first=Text(INDENT), indent=INDENT)
    if len(advice) > MOST_ADVICE:
        page.line((f"{INDENT}{page.glyphs.more} {len(advice) - MOST_ADVICE} more in result.json", "dim"))


def _noted(page: _Page, notes: Sequence[str]) -> None:
    """What its reader should know of how the run was done; while it ran, each was a line that may have scrolled away."""
    if not notes:
        return
    page.blank()
    page.line(("  notes", "bold cyan"))
    for note in notes[:MOST_NOTES]:
        page.wrapped(Text(clean(note), style="dim"), first=Text(f"  {page.glyphs.dot} "), indent=INDENT)
    if len(notes) > MOST_NOTES:
        page.line((f"{INDENT}{page.glyphs.more} {len(notes) - MOST_NOTES} more in result.json", "dim"))


# --- times ------------------------------------------------------------------------------------------------------------------

_BEGINS: Final = {"spawned": "start", "running": "start", "signalled": "stop", "exited": "stop"}


def _phases(page: _Page, rows: Sequence[PhaseRow]) -> None:
    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  times of")
    table.add_column("until")
    for name in ("n", "median", "p95", "max"):
        table.add_column(name, justify="right")
    last, contained = "", {row.process for row in rows if row.begin == "running" or row.phase == "created"}
    for row in rows:
        of = f"  {_BEGINS.get(row.begin, row.begin)} {clean(row.process)}{_share(row, contained)}"
        numbers = [grouped(row.count), span(row.median_s), span(row.p95_s), span(row.max_s)]
        table.add_row(Text(of if of != last else ""), Text(clean(row.phase)), *numbers)
        last = of
    page.blank()
    page.console.print(table)


def _share(row: PhaseRow, contained: Container[str]) -> str:
    """Whose share of a start or a stop it is, where a runtime has one."""
    if row.begin == "exited" or (row.begin == "spawned" and row.process in contained):
        return " (runtime)"
    return " (app)" if row.begin == "running" else ""
