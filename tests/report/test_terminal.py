"""The report that a person reads."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from harness.checks.power import bound
from harness.checks.summary import Share, Summary
from harness.report.model import FaultRow, JobRow, PhaseRow, RunReport
from harness.report.terminal import EVIDENCE_LINES, FULL_FINDINGS, MOST_ADVICE, MOST_NOTES, print_run, print_suite
from harness.verdict import Finding, Verdict

Make = Callable[..., RunReport]
MakeFinding = Callable[..., Finding]
MakeSummary = Callable[..., Summary]


def shown(report: RunReport, *, width: int = 80) -> str:
    file = io.StringIO()
    print_run(report, Console(file=file, width=width))
    return file.getvalue()


def suite(*reports: RunReport, width: int = 80) -> list[str]:
    file = io.StringIO()
    print_suite(reports, Console(file=file, width=width))
    return [line for line in file.getvalue().splitlines() if line]


def in_order(text: str, *parts: str) -> bool:
    at = -1
    for part in parts:
        at = text.find(part, at + 1)
        if at < 0:
            return False
    return True


def test_what_only_retries_saved_stands_beside_what_was_dropped(make: Make, summary: MakeSummary) -> None:
    saved = summary(outcomes=(Share(name="ok", count=48_182), Share(name="retried", count=16)))
    assert "48 210 requests, 12 dropped, 16 saved by a retry, " in " ".join(shown(make(summary=saved)).split())
    assert "saved by a retry" not in shown(make())


@pytest.mark.parametrize("width", [80, 120])
def test_the_worst_comes_first_and_the_line_that_repeats_it_last(failed: RunReport, width: int) -> None:
    text = shown(failed, width=width)
    assert in_order(
        " ".join(text.split()),
        "FAIL web survives a rolling restart",
        "process engine, seed 7, 31.2 s",
        "48 210 requests, 12 dropped, longest outage 120 ms",
        "1530 answers/s, median 3.10 ms, p99 12.0 ms",
        "14 of 14 faults landed, 14 on a busy replica",
        "terminate web: 3 of 9 dropped a request",
        "kill web: 0 of 5 dropped a request, so at most 45.1 % do (95 % sure)",
        "✗ 12 requests that were in flight at the signal were dropped by web.2 [dropped-in-flight]",
        "step 3, web.2",
        "[INFO] Booting worker",
        "why The process exited",
        "cure Handle the signal",
        "✗ dropped_requests == 0 does not hold: it was 12 [expectation-failed]",
        "? the machine stalled for 2.1 s [control-slow]",
        "start web running 17 1.20 ms 1.90 ms 2.20 ms",
        "stop web exited 9 0.70 ms 500 ms 12.3 s",
        "✓ 1 held: survivors == 0: 0",
        "✓ 2 passed: no-request-dropped, start-phases",
        "report reports/20261122T013722-rolling-restart-a1b2c3",
        "again jetable run scenarios/web.yaml --engine process --seed 7",
    )
    assert text.endswith("--seed 7\n")


def test_what_passed_and_could_be_better_is_advice_at_the_end_and_not_among_what_held(make: Make, finding: MakeFinding) -> None:
    root = finding("runs-as-root", Verdict.PASS, check="posture", title="web runs as root", cure="Name a user.", metric="root_replicas")
    text = shown(make(root, finding("start-phases", Verdict.PASS)))
    assert in_order(text, "PASS", "1 passed: start-phases", "advice", "web runs as root  [runs-as-root]", "Name a user.", "report  ")
    assert text.count("web runs as root") == 1
    assert "held" not in text


def test_much_advice_is_cut_and_says_where_the_rest_is(make: Make, finding: MakeFinding) -> None:
    text = shown(make(*(finding(f"advice-{n}", Verdict.PASS, cure="Do it.") for n in range(9))))
    assert text.count("Do it.") == MOST_ADVICE
    assert f"… {9 - MOST_ADVICE} more in result.json" in text


def test_without_advice_there_is_no_heading_for_it(passed: RunReport) -> None:
    assert "advice" not in shown(passed)


def test_what_the_run_noted_of_itself_is_told_after_the_advice(make: Make, finding: MakeFinding, summary: MakeSummary) -> None:
    advice = finding("runs-as-root", Verdict.PASS, cure="Name a user.")
    text = shown(make(advice, summary=summary(notes=("web: restart: dropped, because Jetable itself starts replacements",))))
    assert in_order(text, "advice", "Name a user.", "notes", "web: restart: dropped", "report  ")


def test_many_notes_are_cut_and_say_where_the_rest_is(make: Make, finding: MakeFinding, summary: MakeSummary) -> None:
    text = shown(make(finding("x", Verdict.PASS), summary=summary(notes=tuple(f"remark {n}" for n in range(9)))))
    assert text.count("remark") == MOST_NOTES
    assert f"… {9 - MOST_NOTES} more in result.json" in text


def test_without_a_note_there_is_no_heading_for_it(passed: RunReport) -> None:
    assert "notes" not in shown(passed)


def test_what_a_runtime_takes_is_told_apart_from_the_app_s_own_times(make: Make, finding: MakeFinding, summary: MakeSummary) -> None:
    begins = [
        ("spawned", "created"),
        ("spawned", "running"),
        ("running", "healthy"),
        ("signalled", "exited"),
        ("exited", "removed"),
    ]
    rows = tuple(PhaseRow(process="web", begin=begin, phase=phase, count=1, median_s=0.1, p95_s=0.1, max_s=0.1) for begin, phase in begins)
    text = " ".join(shown(make(finding("x", Verdict.PASS), summary=summary(phases=rows))).split())
    assert in_order(
        text,
        "start web (runtime) created 1",
        "running 1",
        "start web (app) healthy 1",
        "stop web exited 1",
        "stop web (runtime) removed 1",
    )


def test_a_runtime_has_its_share_of_a_start_that_failed_as_well(make: Make, finding: MakeFinding, summary: MakeSummary) -> None:
    row = PhaseRow(process="web", begin="spawned", phase="created", count=1, median_s=0.1, p95_s=0.1, max_s=0.1)
    assert "start web (runtime)" in shown(make(finding("x", Verdict.FAIL), summary=summary(phases=(row,))))


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_line_is_wider_than_the_terminal_nor_than_prose_should_be(failed: RunReport, width: int) -> None:
    assert max(len(line) for line in shown(failed, width=width).splitlines()) <= min(width, 120)


def test_a_pipe_gets_no_control_codes(failed: RunReport, passed: RunReport) -> None:
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", shown(failed) + shown(passed))


def test_paths_and_commands_are_never_wrapped(make: Make, finding: MakeFinding) -> None:
    folder, rerun = "/a/very/long/way" * 9, f"jetable run '{'scenario of mine/' * 9}x.yaml' --seed 7"
    word = "/var/log/" + "deep/" * 30
    text = shown(make(finding("x", Verdict.FAIL, evidence=[f"see {word} for more"]), folder=Path(folder), rerun=rerun))
    lines = text.splitlines()
    assert f"report  {folder}" in lines
    assert f"again   {rerun}" in lines
    assert any(line.strip() == word for line in lines)


def test_foreign_text_is_neither_markup_nor_control(make: Make, finding: MakeFinding) -> None:
    evil = "[bold red]x[/] [link=http://e]y[/link] :boom: \x1b[2J\x07\r\x9b31m\u202e"
    text = shown(make(finding("x", Verdict.FAIL, title=evil, evidence=[evil], cause=evil, cure=evil), scenario=evil))
    assert text.count("[bold red]x[/] [link=http://e]y[/link] :boom:") >= 4
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=4), st.text(max_size=40), st.integers(20, 130))
def test_any_text_can_be_printed_at_any_width(make: Make, finding: MakeFinding, evidence: list[str], title: str, width: int) -> None:
    text = shown(make(finding("x", Verdict.FAIL, title=title, evidence=evidence, cause=title)), width=width)
    assert "\x1b" not in text


def test_much_evidence_is_cut_and_says_where_the_rest_is(make: Make, finding: MakeFinding) -> None:
    text = shown(make(finding("x", Verdict.FAIL, evidence=[f"piece number {n}" for n in range(20)])))
    assert text.count("piece number") == EVIDENCE_LINES
    assert f"… {20 - EVIDENCE_LINES} more in result.json" in text


def test_the_first_piece_of_evidence_is_whole_however_long(make: Make, finding: MakeFinding) -> None:
    text = shown(make(finding("x", Verdict.FAIL, evidence=["word " * 100 + "end.", "second", "third"])))
    assert "end." in text
    assert "2 more in result.json" in text


def test_a_short_piece_of_evidence_that_alone_is_left_is_shown_and_not_counted(make: Make, finding: MakeFinding) -> None:
    text = shown(make(finding("x", Verdict.FAIL, evidence=["word " * 100 + "end.", "second"])))
    assert "second" in text
    assert "more in result.json" not in text


def test_stops_that_only_a_retry_saved_claim_nothing(make: Make) -> None:
    row = FaultRow(kind="terminate", process="web", count=2, landed=2, busy=2, dropped=0, bound=None, saved=2)
    text = shown(make(summary=msgspec.structs.replace(make().summary, faults=(row,))))
    assert "terminate web: 2 of 2 cut requests, all of which a retry saved" in text
    assert "sure" not in text


def test_of_very_many_findings_the_later_ones_are_only_named(make: Make, finding: MakeFinding) -> None:
    many = [finding(f"f-{n}", Verdict.FAIL, evidence=["proof"]) for n in range(FULL_FINDINGS + 5)]
    text = shown(make(*many))
    assert text.count("proof") == FULL_FINDINGS
    assert all(f"[f-{n}]" in text for n in range(FULL_FINDINGS + 5))


def test_a_run_of_which_nothing_is_known_says_so(make: Make, summary: MakeSummary) -> None:
    nothing = summary(requests=0, dropped=0, faults=(), phases=(), requests_per_second=None, response_median_s=None, outages=0)
    text = shown(make(summary=nothing))
    assert in_order(text, "UNKNOWN", "no request was sent", "no fault", "? nothing was found, so nothing is known", "again")


def test_a_fault_that_did_not_land_on_something_busy_proves_nothing(make: Make, finding: MakeFinding, summary: MakeSummary) -> None:
    row = summary().faults[0]
    idle = type(row)(kind="kill", process="web", count=3, landed=2, busy=0, dropped=0, bound=None)
    text = shown(make(finding("fault-on-idle", Verdict.UNKNOWN), summary=summary(faults=(idle,))))
    assert "2 of 3 faults landed, 0 on a busy replica" in text
    assert "on idle replicas: what they do to a request in flight is not known" in " ".join(text.split())


def test_colours_mark_the_verdict_on_a_terminal(failed: RunReport) -> None:
    file = io.StringIO()
    print_run(failed, Console(file=file, width=80, force_terminal=True, color_system="standard"))
    assert "\x1b[1;31mFAIL" in file.getvalue()


def test_a_suite_is_one_line_a_run_worst_first_and_a_total(failed: RunReport, passed: RunReport, make: Make) -> None:
    lines = suite(passed, make(scenario="idle " * 30), failed, passed)
    assert [line.split()[0] for line in lines] == ["FAIL", "UNKNOWN", "PASS", "PASS", "FAIL"]
    assert "dropped-in-flight and 2 more" in lines[0]
    assert "48 210 requests, 0 dropped" in lines[2]
    assert lines[-1].endswith("4 runs: 1 failed, 1 unknown, 2 passed")
    assert max(len(line) for line in lines) <= 80


def a_job_row(**more: object) -> JobRow:
    told: dict[str, object] = {
        "submitted": 400,
        "acknowledged": 400,
        "done": 400,
        "redelivered": 3,
        "recovered": 0,
        "duplicated": 0,
        "lost": 0,
        "stranded": 0,
        "set_aside": 0,
        "left": 0,
        "unexpected": 0,
        "job_median_s": 0.1,
        "job_p99_s": 2.0,
        "job_max_s": 3.0,
    }
    return msgspec.convert(told | more, JobRow)


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ({}, "400 jobs submitted, 400 acknowledged, 400 done, 0 lost, 3 redelivered"),
        ({"done": 397, "lost": 2, "stranded": 1}, "400 jobs submitted, 400 acknowledged, 397 done, 2 lost, 1 stranded, 3 redelivered"),
        ({"duplicated": 1, "redelivered": 0}, "400 jobs submitted, 400 acknowledged, 400 done, 0 lost, 1 done twice"),
        (
            {"lost": None, "stranded": None, "redelivered": 0},
            "400 jobs submitted, 400 acknowledged, 400 done, nobody knows how many lost",
        ),
    ],
)
def test_jobs_are_told_in_a_line(make: Make, summary: MakeSummary, row: dict[str, object], line: str) -> None:
    text = shown(make(summary=summary(requests=0, dropped=0, drops=(), jobs=a_job_row(**row))), width=120)
    assert f"  {line}\n" in text
    assert "from acknowledged to done: median 100 ms, p99 2.00 s" in text
    assert "no request was sent" not in text


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (0, "kill worker: 0 of 30 lost a job, so at most 9.5 % do (95 % sure)"),
        (2, "kill worker: 2 of 30 lost, stranded or set aside a job"),
    ],
)
def test_the_strength_of_kills_is_told_of_jobs_where_workers_take_none(make: Make, summary: MakeSummary, lost: int, words: str) -> None:
    row = FaultRow(
        kind="kill",
        process="worker",
        count=30,
        landed=30,
        busy=30,
        dropped=0,
        bound=None,
        with_job=30,
        lost=lost,
        job_bound=bound(lost, 30),
    )
    text = shown(make(summary=summary(requests=0, drops=(), faults=(row,), jobs=a_job_row())), width=120)
    assert words in text
    assert "a request" not in text


def test_a_run_of_jobs_alone_has_its_gist_in_the_list_of_all_runs(passed: RunReport, summary: MakeSummary) -> None:
    (line, _) = suite(replace(passed, summary=summary(requests=0, jobs=a_job_row())), width=120)
    assert line.endswith("400 jobs, 0 lost")
