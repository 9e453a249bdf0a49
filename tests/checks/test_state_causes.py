"""Why state was lost, stale or different: each row speaks where its evidence is, and not where it only nearly is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.checks import CHECKS
from harness.checks.facts import Facts
from harness.checks.state_causes import ALL, OF_STATE, Case
from harness.checks.state_judgement import LOST, STALE, state_of
from harness.monitors.judged import KINDS
from harness.verdict import Finding
from tests.checks.build import ONE_KILL
from tests.checks.build_state import ONE, STORIES, THREE, TWO, StateStory, state_run, write_behind

FITS: dict[str, tuple[str, str]] = {
    "three reads or more were answered": ("fail--lost-write--nothing-told", "fail--lost-write--once-told"),
    "no replica ever answered": ("fail--stale-read--memory", "fail--stale-read--memory-of-few"),
    "the replica that had acknowledged it got SIGKILL": ("fail--lost-write--write-behind", "fail--lost-write--term"),
    "a register; at the end all have": ("fail--lost-write--clocks", "fail--lost-write--one-clock"),
    "the replica that answered the old value": ("fail--stale-read--cache", "fail--stale-read--lag"),
    "two acknowledged changes of the key": ("fail--lost-update--at-once", "fail--lost-update--in-turn"),
    "a register, of which replicas do answer": ("fail--stale-read--lag", "fail--stale-read--memory-of-few"),
    "operations were sent again": ("fail--counted-twice--again", "fail--counted-twice--once"),
    "no operation was sent more than once": ("fail--counted-twice--once", "fail--counted-twice--again"),
    "a status of refused was the answer": ("fail--resurrected--refused", "fail--resurrected--removed"),
}
"""By how a row's evidence begins: a story that has it, and one that nearly has it."""

MORE_NEAR_MISSES = [
    ("no replica ever answered", "fail--lost-increment--in-turn"),
    ("no replica ever answered", "fail--stale-read--cache"),
    ("the replica that had acknowledged it got SIGKILL", "fail--stale-read--cache-and-kill"),
    ("the replica that had acknowledged it got SIGKILL", "fail--lost-element--later"),
    ("two acknowledged changes of the key", "fail--lost-increment--in-turn"),
    ("two acknowledged changes of the key", "fail--lost-element"),
]

MORE_FITS = [
    ("no replica ever answered", "fail--lost-increment--alone"),
    ("the replica that had acknowledged it got SIGKILL", "fail--lost-element--write-behind"),
    ("two acknowledged changes of the key", "fail--lost-increment--at-once"),
    ("two acknowledged changes of the key", "fail--lost-element--at-once"),
]

SAID: dict[str, tuple[str, str]] = {
    "fail--stale-read--memory": ("Each of 2 replicas answered only what it had been told itself (10 values", "factor VI"),
    "fail--lost-write--nothing-told": ("None of 4 answers told a value: the app keeps nothing at all, or answer ($.value)", "mend answer"),
    "fail--lost-increment--alone": ("At the end no replica tells more than went through itself", "factor VI"),
    "fail--lost-write--write-behind": ("web.1 had acknowledged it 15.0 ms before its SIGKILL", "Answer only when"),
    "fail--lost-element--write-behind": ("web.1 had acknowledged it 15.0 ms before its SIGKILL", "Answer only when"),
    "fail--lost-write--clocks": ("What web.1 had acknowledged is there for all at the end, though web.2", "later"),
    "fail--stale-read--cache": ("web.2 answered what it had known before", "renew the copy"),
    "fail--stale-read--cache-and-kill": ("web.2 answered what it had known before", "renew the copy"),
    "fail--stale-read--lag": ("copies that lag behind, by up to 15.0 ms", "renew the copy"),
    "fail--stale-beyond-bound": ("copies that lag behind, by up to 15.0 ms", "renew the copy"),
    "fail--lost-update--at-once": ("under way at once, through web.1 and web.2", "Change it in one step"),
    "fail--lost-increment--at-once": ("under way at once, through web.1 and web.2", "INCR"),
    "fail--lost-element--at-once": ("under way at once", "Change it in one step"),
    "fail--counted-twice--again": ("1 operation of this state went out more than once", "idempotency key"),
    "fail--counted-twice--once": ("Every operation was sent once", "idempotency key"),
    "fail--duplicated-element": ("Every operation was sent once", "idempotency key"),
    "fail--aborted-read": ("had not done what it did", "before anything was changed"),
    "fail--resurrected--refused": ("had not done what it did", "before anything was changed"),
    "fail--resurrected-element": ("had not done what it did", "before anything was changed"),
}
"""What the finding of a story says of cause and cure."""

SILENT = [
    "fail--lost-update--in-turn",
    "fail--lost-increment--in-turn",
    "fail--lost-element",
    "fail--lost-element--later",
    "fail--phantom-read",
    "fail--future-read",
    "fail--resurrected--removed",
    "fail--went-back",
]


def found(story: StateStory, name: str) -> Finding:
    (finding,) = [each for each in CHECKS["state"](story.history()) if each.name == name]
    return finding


def case_of(name: str, kind: str = "") -> Case:
    """What a story's own violation is, under another name when ``kind`` gives one."""
    judgement = state_of(Facts(STORIES[name]().history()))
    (wrong,) = [each for each in judgement.wrongs if each.kind == name.split("--")[1]]
    return Case(judgement.facts, replace(wrong, kind=kind or wrong.kind))


@pytest.mark.parametrize("row", OF_STATE, ids=lambda row: f"{row.name}: {row.needs[:30]}")
def test_a_row_speaks_where_its_evidence_is_and_not_where_it_only_nearly_is(row: object) -> None:
    (stories,) = [stories for begin, stories in FITS.items() if row.needs.startswith(begin)]  # type: ignore[attr-defined]  # of each row
    fitting, near = (case_of(name, row.name) for name in stories)  # type: ignore[attr-defined]  # as above
    assert row.fits(fitting)  # type: ignore[attr-defined]  # as above
    assert row.cause(fitting)  # type: ignore[attr-defined]  # as above
    assert not row.fits(near)  # type: ignore[attr-defined]  # as above


@pytest.mark.parametrize(("begin", "story"), MORE_FITS)
def test_other_models_show_the_same_evidence(begin: str, story: str) -> None:
    assert all(row.fits(case_of(story)) for row in OF_STATE if row.needs.startswith(begin))


@pytest.mark.parametrize(("begin", "story"), MORE_NEAR_MISSES)
def test_what_is_only_near_is_no_evidence(begin: str, story: str) -> None:
    assert not any(row.fits(case_of(story)) for row in OF_STATE if row.needs.startswith(begin))


@pytest.mark.parametrize("name", SAID)
def test_a_story_is_told_with_its_cause_and_its_cure(name: str) -> None:
    finding = found(STORIES[name](), name.split("--")[1])  # type: ignore[arg-type]  # all but one are stories of state
    cause, cure = SAID[name]
    assert cause in finding.cause
    assert cure in finding.cure


@pytest.mark.parametrize("name", SILENT)
def test_without_evidence_nothing_is_said(name: str) -> None:
    finding = found(STORIES[name](), name.split("--")[1])  # type: ignore[arg-type]  # as above
    assert (finding.cause, finding.cure) == ("", "")


@pytest.mark.parametrize(("killed", "blamed"), [(5_680, True), (5_690, False)])
def test_a_kill_is_blamed_for_what_was_acknowledged_within_five_seconds(killed: float, blamed: bool) -> None:  # noqa: FBT001  of a table
    def late(story: StateStory) -> None:
        write_behind(story, killed, kill=False)
        story.lines = [line for line in story.lines if getattr(line, "replica", "") != THREE or type(line).__name__ != "StateRead"]
        story.signal(ONE, killed, purpose="kill")
        story.ends({TWO: 1, THREE: 1}, number=2, when=killed + 100)

    assert ("SIGKILL" in found(state_run(late, ONE_KILL), "lost-write").cause) is blamed


def test_only_what_monitors_find_has_rows_and_each_row_has_a_cure() -> None:
    assert {row.name for row in OF_STATE} <= set(KINDS)
    assert all(row.cure and row.needs for row in OF_STATE)
    assert {*LOST, *STALE} <= set(ALL) <= set(KINDS)


def test_who_answered_what_is_counted() -> None:
    traces = case_of("fail--stale-read--cache").traces
    assert (traces.own, traces.others, traces.replicas) == (2, 3, 2)
    assert case_of("fail--lost-increment--alone").traces.own == 0
