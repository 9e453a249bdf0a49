"""What histories of a bench's sessions say of starts and stops, by hand-made histories whose every number is known."""

from __future__ import annotations

from typing import Any

import pytest

from harness.benches import CONDITIONS, USED, Attempts, FailedStart, Series
from harness.checks.starts import _METRICS, Measured, imports_of, measured
from harness.history import Cycled, History, Import, Imported, Lagged, PhaseReached, Spawned, StartFailed, Used
from harness.threshold import METRICS
from tests.checks.build import MS, STEADY_ONLY, Story, at


def cycle(story: Story, began: float, ended: float, number: int = 0, **changes: Any) -> None:
    """A cycle, as it stands in a history after all that happened in it."""
    given = {"under": "idle", "process": "web", **changes}
    story.tell(Cycled(at_ns=at(ended), began_ns=at(began), round=number, **given))


def start(story: Story, replica: str, begin: float) -> None:
    """Running after 2 ms, listening after 40, healthy after 50; its first answer comes after 55."""
    story.start(replica, begin)
    story.tell(PhaseReached(at_ns=at(begin + 55), replica=replica, phase="first-answer"))


def stop(story: Story, replica: str, when: float, *, closes: float = 10, exits: float = 30) -> None:
    """A stop in order: the port is closed ``closes`` ms after the signal, and it has ended ``exits`` ms after it."""
    story.signal(replica, when)
    story.close_listener(replica, when + closes)
    story.exit(replica, when + exits)


def fail(story: Story, replica: str, begin: float, end: float, **changes: Any) -> None:
    """A start that never got healthy."""
    given = {"reason": "never-healthy", "detail": "its port was never open (waited 1s)", **changes}
    story.tell(
        Spawned(at_ns=at(begin), step=0, replica=replica, process="web", command="app"),
        PhaseReached(at_ns=at(begin + 2), replica=replica, phase="running"),
        StartFailed(at_ns=at(end), step=0, replica=replica, **given),
    )


def whole(story: Story, replica: str, begin: float, number: int = 0, **changes: Any) -> None:
    """A cycle of 200 ms: a start, and a stop 100 ms after its beginning."""
    start(story, replica, begin)
    stop(story, replica, begin + 100)
    cycle(story, begin - 1, begin + 199, number, **changes)


def told(*stories: Story) -> Measured:
    return measured([story.history() for story in stories])


def one(found: Measured, metric: str, under: str = "idle", at_once: int = 1) -> Series:
    (series,) = [each for each in found.series if (each.metric, each.under, each.at_once) == (metric, under, at_once)]
    return series


def in_ms(found: Measured, metric: str, under: str = "idle", at_once: int = 1) -> list[float]:
    return [round(sample * 1000, 3) for sample in one(found, metric, under, at_once).samples]


def has(found: Measured, metric: str) -> bool:
    return any(series.metric == metric for series in found.series)


def books(found: Measured, under: str = "idle", at_once: int = 1) -> Attempts:
    (attempts,) = [each for each in found.attempts if (each.under, each.at_once) == (under, at_once)]
    return attempts


# --- metrics ------------------------------------------------------------------------------------------------------------------


def test_every_metric_is_one_that_thresholds_know_or_one_of_what_was_used() -> None:
    assert set(_METRICS) - set(METRICS) == set(USED)


def test_the_phases_of_a_process_count_from_its_spawn_and_from_its_signal() -> None:
    story = Story(STEADY_ONLY)
    whole(story, "web.1", 10)
    found = told(story)
    assert in_ms(found, "time_to_running") == [2]
    assert in_ms(found, "time_to_listening") == [40]
    assert in_ms(found, "startup_time") == [50]
    assert in_ms(found, "time_to_first_answer") == [55]
    assert in_ms(found, "time_to_stop_listening") == [10]
    assert in_ms(found, "shutdown_time") == [30]
    for metric in ("time_to_created", "time_to_started", "runtime_start_time", "runtime_remove_time", "time_to_drained"):
        assert not has(found, metric), metric
    assert books(found) == Attempts(process="web", under="idle", starts=1, failed=0, killed=0, warmups=0, late=0)
    assert found.failed == ()
    assert found.warnings == ()


def test_the_phases_of_an_app_in_a_container_count_from_its_own_beginning_and_the_runtime_has_its_own() -> None:
    story = Story(STEADY_ONLY)
    whole(story, "web.1", 10)
    found = told(story.contain())
    assert in_ms(found, "time_to_created") == [0.5]
    assert in_ms(found, "time_to_started") == [1.5]
    assert in_ms(found, "time_to_running") == in_ms(found, "runtime_start_time") == [2]
    assert in_ms(found, "time_to_listening") == [38]
    assert in_ms(found, "startup_time") == [48]
    assert in_ms(found, "time_to_first_answer") == [53]
    assert in_ms(found, "shutdown_time") == [30]
    assert in_ms(found, "runtime_remove_time") == [5]


def test_a_stop_under_load_is_drained_with_its_last_answer() -> None:
    story = Story(STEADY_ONLY)
    start(story, "web.1", 500)
    story.watch(400, 900)
    story.ask("web.1", 590, 640)
    story.signal("web.1", 600)
    story.close_listener("web.1", 605)
    story.exit("web.1", 650)
    cycle(story, 499, 700, under="load")
    found = told(story)
    assert in_ms(found, "time_to_drained", "load") == [40]
    assert in_ms(found, "shutdown_time", "load") == [50]


def test_without_a_look_of_the_harness_the_first_answer_to_the_load_counts() -> None:
    story = Story(STEADY_ONLY)
    story.start("web.1", 10)
    story.ask("web.1", 60, 68)
    stop(story, "web.1", 110)
    cycle(story, 9, 200, under="load")
    assert in_ms(told(story), "time_to_first_answer", "load") == [58]


def used(replica: str, when: str, ms: float, **changes: int) -> Used:
    given = {
        "processes": 2,
        "cpu_ns": 30 * MS,
        "minor_faults": 700,
        "major_faults": 3,
        "read_bytes": 4096,
        "resident_bytes": 5_000_000,
        "peak_bytes": 6_000_000,
        **changes,
    }
    return Used(at_ns=at(ms), replica=replica, when=when, **given)


def test_what_a_start_used_is_what_was_seen_at_its_first_answer_and_memory_what_was_seen_before_the_stop() -> None:
    story = Story(STEADY_ONLY)
    whole(story, "web.1", 10)
    story.tell(
        used("web.1", "healthy", 66),
        used("web.1", "steady", 109, cpu_ns=90 * MS, minor_faults=900, read_bytes=8192, resident_bytes=7_000_000, peak_bytes=8_000_000),
    )
    found = told(story)
    samples = {series.metric: (series.unit, *series.samples) for series in found.series if series.metric in USED}
    assert samples == {
        "start_cpu_time": ("s", 0.03),
        "start_page_faults": ("count", 700),
        "start_major_faults": ("count", 3),
        "start_read_bytes": ("bytes", 4096),
        "steady_memory": ("bytes", 7_000_000),
        "peak_memory": ("bytes", 8_000_000),
    }


def test_what_could_not_be_read_is_no_sample() -> None:
    story = Story(STEADY_ONLY)
    whole(story, "web.1", 10)
    story.tell(used("web.1", "healthy", 66, read_bytes=-1))
    found = told(story)
    assert not has(found, "start_read_bytes")
    assert not has(found, "steady_memory")
    assert has(found, "start_cpu_time")


# --- series and books -----------------------------------------------------------------------------------------------------------


def test_samples_stand_in_the_order_of_rounds_with_the_round_of_each() -> None:
    story = Story(STEADY_ONLY)
    for number in range(4):
        whole(story, f"web.{number + 1}", 10 + 300 * number, number)
    series = one(told(story), "startup_time")
    assert series.rounds == (0, 1, 2, 3)
    assert [round(sample, 6) for sample in series.samples] == [0.05] * 4
    assert (series.process, series.unit, series.at_once) == ("web", "s", 1)


def test_warm_ups_are_in_no_series_and_are_counted() -> None:
    story = Story(STEADY_ONLY)
    whole(story, "web.1", 10, 0, warmup=True)
    whole(story, "web.2", 310, 1, warmup=True)
    whole(story, "web.3", 610, 0)
    found = told(story)
    assert all(series.rounds == (0,) for series in found.series)
    assert books(found) == Attempts(process="web", under="idle", starts=1, failed=0, killed=0, warmups=2, late=0)


def test_a_warm_up_that_failed_is_a_warm_up() -> None:
    story = Story(STEADY_ONLY)
    fail(story, "web.1", 10, 100)
    cycle(story, 9, 110, 0, warmup=True)
    found = told(story)
    assert found.series == found.failed == ()
    assert books(found) == Attempts(process="web", under="idle", starts=0, failed=0, killed=0, warmups=1, late=0)


def test_a_start_that_never_got_healthy_has_samples_of_what_it_reached_and_stays_in_the_books() -> None:
    story = Story(STEADY_ONLY)
    whole(story, "web.1", 10, 0)
    fail(story, "web.2", 310, 1310, log=("a", "b", "c", "", "d"))
    cycle(story, 309, 1320, 1, problem="its port was never open (waited 1s)")
    found = told(story)
    assert one(found, "time_to_running").rounds == (0, 1)
    assert one(found, "startup_time").rounds == one(found, "shutdown_time").rounds == (0,)
    assert books(found) == Attempts(process="web", under="idle", starts=2, failed=1, killed=0, warmups=0, late=0)
    assert found.failed == (
        FailedStart(
            process="web",
            under="idle",
            round=1,
            replica="web.2",
            reason="never-healthy",
            detail="its port was never open (waited 1s)",
            after_s=1.0,
            log=("b", "c", "d"),
        ),
    )


def test_a_start_of_which_nobody_knows_why_it_failed_is_told_by_its_cycle() -> None:
    story = Story(STEADY_ONLY)
    story.tell(Spawned(at_ns=at(10), step=0, replica="web.1", process="web", command="app"))
    cycle(story, 9, 110, problem="the engine went away")
    (failed,) = told(story).failed
    assert (failed.reason, failed.detail, failed.after_s) == ("unknown", "the engine went away", 0.1)


def test_what_got_healthy_and_ended_before_anybody_stopped_it_is_among_the_failed() -> None:
    story = Story(STEADY_ONLY)
    start(story, "web.1", 10)
    story.exit("web.1", 90, 3, commanded=False, log=("Traceback", "boom"))
    story.signal("web.1", 100, delivered=False)
    cycle(story, 9, 110)
    found = told(story)
    (failed,) = found.failed
    assert failed.reason == "ended by itself"
    assert failed.detail == "with status 3, 30.0 ms after it was healthy"
    assert failed.log == ("Traceback", "boom")
    assert (books(found).failed, books(found).died) == (0, 1)
    assert in_ms(found, "startup_time") == [50]
    assert not has(found, "shutdown_time")


def test_an_end_that_nobody_saw_before_the_signal_is_no_stop_either() -> None:
    story = Story(STEADY_ONLY)
    start(story, "web.1", 10)
    story.exit("web.1", 99)
    story.signal("web.1", 100, delivered=False)
    cycle(story, 9, 110)
    found = told(story)
    assert [failed.reason for failed in found.failed] == ["ended by itself"]
    assert not has(found, "shutdown_time")


def test_a_stop_that_needed_sigkill_keeps_its_time_and_is_counted() -> None:
    story = Story(STEADY_ONLY)
    start(story, "web.1", 10)
    story.signal("web.1", 100, grace_s=0.5)
    story.signal("web.1", 600, purpose="grace-over", wants_busy=False)
    story.exit("web.1", 601, 137)
    cycle(story, 9, 700)
    found = told(story)
    assert books(found).killed == 1
    assert in_ms(found, "shutdown_time") == [501]
    assert found.failed == ()


def test_starts_after_a_clean_stop_and_after_sigkill_are_apart_and_a_kill_is_no_stop_that_is_timed() -> None:
    story = Story(STEADY_ONLY)
    whole_but_untimed(story, "web.1", 10)
    start(story, "web.2", 310)
    story.signal("web.2", 400, purpose="kill")
    story.exit("web.2", 402, 137)
    cycle(story, 309, 450, under="clean")
    start(story, "web.3", 510)
    stop(story, "web.3", 600)
    cycle(story, 509, 700, under="kill")
    found = told(story)
    assert {series.under for series in found.series} == {"clean", "kill"}
    assert in_ms(found, "startup_time", "clean") == in_ms(found, "startup_time", "kill") == [50]
    assert in_ms(found, "shutdown_time", "kill") == [30]
    assert not [series for series in found.series if series.under == "clean" and series.metric in ("shutdown_time", "time_to_drained")]
    assert books(found, "clean") == Attempts(process="web", under="clean", starts=1, failed=0, killed=0, warmups=0, late=0)
    assert books(found, "kill").starts == 1


def whole_but_untimed(story: Story, replica: str, begin: float) -> None:
    """A start and a stop that only make room for what is timed."""
    start(story, replica, begin)
    stop(story, replica, begin + 100)


def test_a_start_that_only_made_way_and_failed_is_in_the_books_of_the_cycle_after_it() -> None:
    story = Story(STEADY_ONLY)
    whole(story, "web.1", 10, 0, under="kill")
    fail(story, "web.2", 310, 330)
    start(story, "web.3", 341)
    story.signal("web.3", 400, purpose="kill")
    story.exit("web.3", 402, 137)
    cycle(story, 340, 450, 1, under="clean")
    found = told(story)
    assert [(failed.under, failed.round, failed.replica) for failed in found.failed] == [("clean", 1, "web.2")]
    assert (books(found, "clean").starts, books(found, "clean").failed) == (2, 1)
    assert books(found, "kill").starts == 1


def test_what_started_at_once_is_apart_by_how_many_there_were() -> None:
    story = Story(STEADY_ONLY)
    names = iter(range(1, 10))
    for number, (begin, size) in enumerate(((10, 1), (310, 2), (610, 4))):
        for _ in range(size):
            name = f"web.{next(names)}"
            start(story, name, begin)
            stop(story, name, begin + 100)
        cycle(story, begin - 1, begin + 199, number, under="at-once")
    found = told(story)
    for number, size in enumerate((1, 2, 4)):
        series = one(found, "startup_time", "at-once", size)
        assert series.rounds == (number,) * size
        assert books(found, "at-once", size).starts == size


def test_replicas_of_others_and_of_other_process_types_are_in_no_cycle() -> None:
    story = Story(STEADY_ONLY, others={"worker": {"command": ["work"]}})
    start(story, "web.1", 10)  # it is under load all the while
    story.start("worker.1", 310)
    whole(story, "web.2", 311, under="load")
    found = told(story)
    assert books(found, "load").starts == 1
    assert one(found, "startup_time", "load").rounds == (0,)


def test_sessions_of_a_variant_are_one_series() -> None:
    first, second = Story(STEADY_ONLY), Story(STEADY_ONLY)
    whole(first, "web.1", 10, 0, under="load")
    whole(second, "web.1", 1010, 1, under="load")
    fail(second, "web.2", 1310, 1400)
    cycle(second, 1309, 1410, 2, under="load")
    found = told(first, second)
    assert one(found, "startup_time", "load").rounds == (0, 1)
    assert (books(found, "load").starts, books(found, "load").failed) == (3, 1)


def test_a_session_without_a_cycle_says_nothing() -> None:
    assert told(Story(STEADY_ONLY)) == measured([]) == Measured((), (), (), ())


def test_a_cycle_that_was_cut_short_is_in_no_series() -> None:
    story = Story(STEADY_ONLY)
    whole(story, "web.1", 10, 0)
    start(story, "web.2", 310)
    assert one(told(story), "startup_time").rounds == (0,)


@pytest.mark.parametrize("under", CONDITIONS)
def test_every_condition_has_its_series(under: str) -> None:
    story = Story(STEADY_ONLY)
    whole(story, "web.1", 10, under=under)
    assert one(told(story), "startup_time", under).samples


# --- warnings -----------------------------------------------------------------------------------------------------------------


def test_other_programs_are_told_of_when_they_took_much_in_the_middle_cycle() -> None:
    def warned(*others: float) -> str:
        story = Story(STEADY_ONLY)
        for number, cpus in enumerate(others):
            whole(story, f"web.{number + 1}", 10 + 300 * number, number, others=cpus)
        return " ".join(told(story).warnings)

    assert "used 0.40 CPUs in the middle cycle and 1.50 in the worst" in warned(0.0, 0.4, 1.5)
    assert warned(0.0, 0.2, 1.5) == ""
    assert warned(-1.0, -1.0, -1.0) == ""
    assert "used 0.50 CPUs" in warned(-1.0, 0.5, -1.0)


def test_a_harness_that_stood_still_in_a_start_or_a_stop_is_told_of() -> None:
    late: list[int | None] = []

    def warned(lag_end: float, lag: float) -> str:
        story = Story(STEADY_ONLY)
        whole(story, "web.1", 10)
        story.tell(Lagged(at_ns=at(lag_end), lag_ns=round(lag * MS)))
        found = told(story)
        late.extend(books.late for books in found.attempts)
        return " ".join(found.warnings)

    assert "stood still during 1 start or stop, by 20.0 ms at most" in warned(40, 20)
    assert "stood still during 1 start or stop, by 10.0 ms at most" in warned(120, 10)  # the signal came at 110
    assert "stood still during 2 starts and stops, by 55.0 ms at most" in warned(135, 140)
    assert warned(105, 30) == ""  # between the first answer and the signal
    assert warned(40, 0.5) == ""
    assert late == [1, 1, 2, 0, 0]
    assert warned(300, 100) == ""


def test_a_health_check_that_passes_before_the_port_is_open_is_told_of() -> None:
    def warned(*listening: float) -> str:
        story = Story(STEADY_ONLY)
        for number, after in enumerate(listening):
            begin, name = 10 + 500 * number, f"web.{number + 1}"
            story.start(name, begin)
            story.lines = [
                PhaseReached(at_ns=at(begin + after), replica=name, phase="listening")
                if isinstance(line, PhaseReached) and (line.replica, line.phase) == (name, "listening")
                else line
                for line in story.lines
            ]
            story.tell(PhaseReached(at_ns=at(begin + 130), replica=name, phase="first-answer"))
            stop(story, name, begin + 300)
            cycle(story, begin - 1, begin + 399, number)
        return " ".join(told(story).warnings)

    assert "1 of 2 starts were healthy before their port was open, by 70.0 ms at most" in warned(40, 120)
    assert warned(40, 50) == ""


def test_what_is_healthy_and_answers_nobody_is_told_of() -> None:
    story = Story(STEADY_ONLY)
    whole(story, "web.1", 10)
    for number, warmup in ((2, False), (3, True)):
        story.start(f"web.{number}", 500 * number)
        stop(story, f"web.{number}", 500 * number + 100)
        cycle(story, 500 * number - 1, 500 * number + 199, number, warmup=warmup)
    found = told(story)
    assert len(one(found, "time_to_first_answer").samples) == 1
    assert "1 of 2 starts that were healthy answered no request in time" in " ".join(found.warnings)


# --- imports ------------------------------------------------------------------------------------------------------------------


def imported(took_ms: float) -> History:
    story = Story(STEADY_ONLY)
    whole(story, "web.1", 10)
    top = (Import(name="flask", self_ns=20 * MS, modules=30, slowest="flask.app"), Import(name="json", self_ns=5 * MS))
    story.tell(Imported(at_ns=at(400), replica="web.1", total_ns=40 * MS, top=top, apart=True, took_ns=round(took_ms * MS)))
    return story.history()


def test_imports_have_their_share_of_the_start_in_which_they_were_heard() -> None:
    import_s, (flask, json) = imports_of([Story(STEADY_ONLY).history(), imported(100)])
    assert import_s == 0.04
    assert (flask.package, flask.self_s, flask.share, flask.modules, flask.slowest) == ("flask", 0.02, 0.2, 30, "flask.app")
    assert (json.package, json.share) == ("json", 0.05)


def test_imports_of_a_start_of_unknown_length_have_their_share_of_all_imports() -> None:
    _, (flask, _) = imports_of([imported(0)])
    assert flask.share == 0.5


def test_a_target_that_tells_no_imports_has_none() -> None:
    assert imports_of([]) == imports_of([Story(STEADY_ONLY).history()]) == (0.0, ())
