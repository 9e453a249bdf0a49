"""Runs to report on, made up here so that reports are tested without checks, engines or load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from harness.checks.summary import DropRow, FaultRow, PhaseRow, Share, Summary
from harness.report.model import RunReport
from harness.verdict import Bound, Finding, Verdict, worst

Make = Callable[..., RunReport]


def a_finding(name: str, verdict: Verdict, **more: object) -> Finding:
    given: dict[str, object] = {"check": "requests", "name": name, "verdict": verdict, "title": f"what {name} says", **more}
    return msgspec.convert(given, Finding)


def a_summary(**more: object) -> Summary:
    given: dict[str, object] = {
        "requests": 48_210,
        "answered": 48_198,
        "dropped": 12,
        "outcomes": (Share(name="ok", count=48_198), Share(name="closed-before-response", count=12)),
        "attempts": 48_300,
        "stale_connections": 3,
        "load_s": 31.2,
        "requests_per_second": 1530.4,
        "response_median_s": 0.0031,
        "response_p95_s": 0.009,
        "response_p99_s": 0.012,
        "response_max_s": 0.12,
        "steps": 9,
        "steps_done": 9,
        "faults": (
            FaultRow(kind="terminate", process="web", count=9, landed=9, busy=9, dropped=3, bound=Bound(hits=3, trials=9, upper=0.6)),
            FaultRow(kind="kill", process="web", count=5, landed=5, busy=5, dropped=0, bound=Bound(hits=0, trials=5, upper=0.451)),
        ),
        "drops": (a_drop(),),
        "phases": (
            PhaseRow(process="web", begin="spawned", phase="running", count=17, median_s=0.0012, p95_s=0.0019, max_s=0.0022),
            PhaseRow(process="web", begin="spawned", phase="healthy", count=17, median_s=0.412, p95_s=0.45, max_s=1.451),
            PhaseRow(process="web", begin="signalled", phase="exited", count=9, median_s=0.0007, p95_s=0.5, max_s=12.34),
        ),
        "outages": 1,
        "longest_outage_s": 0.12,
        "longest_client_outage_s": 0.3,
        "replicas": 17,
        "killed_after_grace": 0,
        "survivors": 0,
        "died_by_itself": 0,
        "failed_starts": 0,
        "control_requests": 310,
        "control_worst_s": 0.004,
        **more,
    }
    return Summary(**given)  # type: ignore[arg-type]  # a test names only the fields that it is about


def a_drop() -> DropRow:
    return DropRow(
        name="dropped-in-flight",
        process="web",
        replica="web.2",
        step=3,
        fault="terminate",
        signal="SIGTERM",
        count=12,
        first_offset_s=0.0012,
        last_offset_s=0.0031,
        new_connections=2,
        reused_connections=10,
        outcomes=(Share(name="closed-before-response", count=12),),
        reached=(Share(name="sent", count=12),),
        errors=(Share(name="ECONNRESET", count=12),),
        statuses=(),
        requests=(Share(name="GET /slow", count=12),),
        last_log_line="Booting worker",
        cause="",
        cure="",
    )


WORST_FIRST = (
    a_finding(
        "dropped-in-flight",
        Verdict.FAIL,
        title="12 requests that were in flight at the signal were dropped by web.2",
        evidence=("step 3, web.2: 4 requests +1.2 ms to +3.1 ms after SIGTERM; ECONNRESET 4; last log line: [INFO] Booting worker",),
        cause="The process exited with status 143, without waiting for what was in flight.",
        cure="Handle the signal: close the listener, let what is in flight be answered, then exit.",
        metric="dropped_requests",
        replica="web.2",
        step=3,
        count=12,
    ),
    a_finding(
        "expectation-failed",
        Verdict.FAIL,
        check="expect",
        title="dropped_requests == 0 does not hold: it was 12",
        metric="dropped_requests",
    ),
    a_finding("control-slow", Verdict.UNKNOWN, check="sanity", title="the machine stalled for 2.1 s", cure="Run it again."),
    a_finding("expectation-held", Verdict.PASS, check="expect", title="survivors == 0: 0", metric="survivors"),
    a_finding("no-request-dropped", Verdict.PASS, bound=Bound(hits=0, trials=5, upper=0.451)),
    a_finding("start-phases", Verdict.PASS, check="timing"),
)


def make_report(*findings: Finding, **more: object) -> RunReport:
    given: dict[str, object] = {
        "run_id": "20261122T013722-rolling-restart-a1b2c3",
        "scenario": "web survives a rolling restart",
        "path": "scenarios/web.yaml",
        "engine": "process",
        "seed": 7,
        "verdict": worst(finding.verdict for finding in findings),
        "findings": findings,
        "summary": a_summary(),
        "folder": Path("reports/20261122T013722-rolling-restart-a1b2c3"),
        "rerun": "jetable run scenarios/web.yaml --engine process --seed 7",
        "began": "2026-11-22T01:37:22.125+00:00",
        "duration_s": 31.25,
        **more,
    }
    return RunReport(**given)  # type: ignore[arg-type]  # a test names only the fields that it is about


@pytest.fixture(scope="session")
def make() -> Make:
    """Makes a report of some findings; fields by keyword."""
    return make_report


@pytest.fixture(scope="session")
def finding() -> Callable[..., Finding]:
    """Makes a finding of a name and a verdict; fields by keyword."""
    return a_finding


@pytest.fixture(scope="session")
def summary() -> Callable[..., Summary]:
    """Makes a summary; fields by keyword."""
    return a_summary


@pytest.fixture(scope="session")
def failed() -> RunReport:
    """A run with failed, unknown and passed findings."""
    return make_report(*WORST_FIRST)


@pytest.fixture(scope="session")
def passed() -> RunReport:
    """A run in which all is well."""
    return make_report(*WORST_FIRST[3:], summary=a_summary(dropped=0, faults=a_summary().faults[1:], drops=(), outages=0))
