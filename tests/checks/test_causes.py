"""Why requests were dropped: each row of the table has a story that shows its evidence, and nothing is guessed without."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.checks.causes import CAUSES, explain
from harness.checks.drops import NAMES, Drops, book
from harness.checks.facts import Facts
from harness.outcome import Outcome
from tests.checks.build import ONE_KILL, STORIES, Story, steady_run, stop_run


def stop(
    *asked: tuple[float, float, Outcome],
    exit_ms: float = 800,
    status: int = 0,
    reused: bool = True,
    purpose: str = "terminate",
    knocks: str = "refused",
) -> Callable[[], Story]:
    """web.1 is signalled at 700 and ends at ``exit_ms``; the requests ``asked`` of it fail."""

    def tell(story: Story) -> None:
        for begin, end, outcome in asked:
            story.ask("web.1", begin, end, outcome, reused=reused)
        story.signal("web.1", 700, purpose=purpose)
        story.knock("web.1", 710, 760, knocks)
        story.exit("web.1", exit_ms, status)

    return lambda: stop_run(tell, steps=ONE_KILL) if purpose == "kill" else stop_run(tell)


def left_behind() -> Story:
    def tell(story: Story) -> None:
        story.ask("web.1", 690, 1750, Outcome.CLOSED)
        story.signal("web.1", 700)
        story.exit("web.1", 702, 143)
        story.survive("web.1", 1702, "python app.py")
        story.signal("web.1", 1703, purpose="survivor")

    return stop_run(tell)


def refused_by_the_victim() -> Story:
    def tell(story: Story) -> None:
        story.ask("web.1", 690, 740)
        story.signal("web.1", 700)
        story.attempts([("web.1", 710, 711, Outcome.REFUSED)])
        story.exit("web.1", 800)

    return stop_run(tell)


def nobody_there() -> Story:
    story = steady_run()
    story.attempts([("", 500, 501, Outcome.REFUSED)])
    return story


def dead_and_refusing() -> Story:
    story = STORIES["fail--died-by-itself"]()
    story.lines = [line for line in story.lines if getattr(line, "outcome", "") != "closed-before-response"]
    story.attempts([("web.1", 720, 721, Outcome.REFUSED)])
    return story


def cut_anyway() -> Story:
    def tell(story: Story) -> None:
        story.ask("web.2", 600, 640, Outcome.TRUNCATED)
        story.ask("web.1", 690, 720, Outcome.TRUNCATED)
        story.ask("web.1", 710, 720, Outcome.TRUNCATED)
        story.signal("web.1", 700)
        story.exit("web.1", 800)

    return stop_run(tell)


WITH_EVIDENCE: dict[str, tuple[Callable[[], Story], str]] = {
    "all were cut in the middle of an answer, and other answers of the run were cut with no fault near": (
        cut_anyway,
        "no fault near as well",
    ),
    "SIGKILL was sent at the end of the grace, and all of them ended after it": (
        STORIES["fail--dropped-in-flight--grace-over"],
        "grace of 1.00 s",
    ),
    "descendants outlived the main process, and some of these requests did too": (left_behind, "1 descendant went on serving"),
    "all on new connections without a byte of an answer, and the accept queue was not empty when the listener closed": (
        STORIES["fail--dropped-in-flight--backlog"],
        "accept queue (1 connection)",
    ),
    "the exit status is 128 plus the signal's number, and the process was gone at once": (
        STORIES["fail--dropped-in-flight"],
        "Nothing handles SIGTERM",
    ),
    "all of them timed out": (stop((690, 1900, Outcome.TIMEOUT)), "no whole answer came in time"),
    "they ended at the same moment as the main process, or later": (
        stop((690, 799, Outcome.CLOSED)),
        "exited with status 0, 100 ms after SIGTERM",
    ),
    "all of them ended well before the main process did": (stop((690, 703, Outcome.CLOSED)), "while it went on"),
    "some on new connections while knocks were not refused, and all ended well before the main process did": (
        stop((720, 722, Outcome.CLOSED), reused=False, knocks="reset"),
        "took new connections 51.0 ms after SIGTERM, and the app closed them",
    ),
    "some on new connections, and knocks after the signal were not refused": (
        STORIES["fail--dropped-after-signal"],
        "still took new connections 86.0 ms after SIGTERM, and they were cut when it exited",
    ),
    "all on reused connections, and they ended with the main process": (
        stop((710, 799, Outcome.TRUNCATED)),
        "Kept-alive connections went on",
    ),
    "they ended with the main process": (stop((710, 799, Outcome.CLOSED), reused=False), "were cut when it exited"),
    "closed before a byte of an answer, on a reused connection, sent after the signal": (
        STORIES["fail--keep-alive-race"],
        "idle kept-alive",
    ),
    "the fault is a SIGKILL": (stop((690, 701, Outcome.CLOSED), purpose="kill", exit_ms=701, status=137), "SIGKILL can't be answered"),
    "there was no replica to go to, and no fault near": (nobody_there, "though none was being stopped"),
    "there was no replica to go to while something was being done to one": (STORIES["fail--unavailable"], "No other replica was up"),
    "all of them got no answer or no connection in time": (STORIES["fail--dropped-while-paused"], "hung for 500 ms"),
    "some of their connections were closed or their answers cut": (
        STORIES["fail--dropped-while-paused--cut-afterwards"],
        "after it had hung for 500 ms",
    ),
    "all of them met nothing but silence": (STORIES["fail--dropped-while-cut-off"], "could not be reached for 500 ms"),
    "some of their connections were lost": (STORIES["fail--dropped-while-cut-off--reset"], "did not live through the 500 ms"),
    "the kernel killed in the replica while the harness had lowered its limit of memory": (
        STORIES["fail--lost-by-oom"],
        "the kernel killed its main process",
    ),
    "the harness had lowered the limit of memory, and nothing was killed": (STORIES["fail--dropped-while-squeezed"], "killed nothing"),
    "the last replica that they tried had just been stopped": (refused_by_the_victim, "was being stopped and refused them"),
    "the last replica that they tried had ended by itself": (dead_and_refusing, "had ended by itself"),
    "answered 503 or 429 by a replica that was being stopped": (stop((690, 720, Outcome.REJECTED)), "answered that it is stopping"),
    "answered 5xx by a replica that was being stopped": (stop((690, 720, Outcome.ERROR)), "answered with an error"),
    "the replica ended by itself at that moment": (STORIES["fail--died-by-itself"], "with status 139"),
    "closed before a byte of an answer, all on reused connections, with no fault near": (
        STORIES["fail--dropped-without-fault"],
        "nobody had stopped it",
    ),
    "cut in the middle of an answer by a replica that went on running": (STORIES["fail--truncated-answers"], "in the middle of its answer"),
    "the load had waited for the scenario's time-out when it ended": (STORIES["fail--unfinished"], "still under way when the load ended"),
}


def drops_of(story: Story) -> list[Drops]:
    return list(book(Facts(story.history())).groups)


@pytest.mark.parametrize("needs", WITH_EVIDENCE)
def test_with_its_evidence_a_row_tells_cause_and_cure(needs: str) -> None:
    tell, words = WITH_EVIDENCE[needs]
    rows = [row for row in CAUSES if row.needs == needs]
    story = drops_of(tell())
    told = [explain(drops) for row in rows for drops in story if drops.name == row.name and row.fits(drops)]
    assert [cure for cause, cure in told if words in cause][:1] == [rows[0].cure], told


def test_every_row_is_told_by_a_story() -> None:
    assert {row.needs for row in CAUSES} == set(WITH_EVIDENCE)


def test_every_row_belongs_to_a_name_and_has_a_cure() -> None:
    assert {row.name for row in CAUSES} <= set(NAMES)
    assert all(row.cure and row.needs for row in CAUSES)


@pytest.mark.parametrize("name", ["fail--wrong-answers", "fail--timeouts"])
def test_without_evidence_nothing_is_said(name: str) -> None:
    (drops,) = drops_of(STORIES[name]())
    assert explain(drops) == ("", "")


def test_errors_without_a_fault_are_not_blamed_on_one() -> None:
    def tell(story: Story) -> None:
        story.ask("web.2", 690, 740, Outcome.ERROR)
        story.ask("web.1", 690, 740)
        story.signal("web.1", 700)
        story.exit("web.1", 780)

    (drops,) = drops_of(stop_run(tell))
    assert explain(drops) == ("", "")
