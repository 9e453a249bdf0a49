"""Phases, the grace, exit statuses, survivors, deaths and starts that failed."""

from __future__ import annotations

import msgspec
import pytest

from harness.checks.facts import Facts
from harness.checks.timing import check, table_of
from harness.history import PhaseReached, Spawned, StartFailed
from harness.verdict import Finding, Verdict
from tests.checks.build import STORIES, Story, _ignores, at, clean_stop, steady_run, stop_run


def findings(story: Story) -> dict[str, Finding]:
    return {finding.name: finding for finding in check(story.history())}


def failures(story: Story) -> list[Finding]:
    return [finding for finding in check(story.history()) if finding.verdict is Verdict.FAIL]


def test_the_table_has_a_row_for_each_phase_that_was_measured() -> None:
    rows = table_of(Facts(stop_run(clean_stop).history()))
    assert [(row.process, row.begin, row.phase, row.count) for row in rows] == [
        ("web", "spawned", "running", 3),
        ("web", "spawned", "listening", 3),
        ("web", "spawned", "healthy", 3),
        ("web", "spawned", "first answer", 1),
        ("web", "signalled", "stopped listening", 1),
        ("web", "signalled", "drained", 1),
        ("web", "signalled", "exited", 1),
    ]
    assert rows[-1].median_s == rows[-1].p95_s == rows[-1].max_s == pytest.approx(0.08)


def test_the_table_tells_the_runtime_s_share_apart_where_there_are_containers() -> None:
    rows = table_of(Facts(stop_run(clean_stop).contain().history()))
    assert [(row.begin, row.phase, row.count) for row in rows] == [
        ("spawned", "created", 3),
        ("spawned", "started", 3),
        ("spawned", "running", 3),
        ("running", "listening", 3),
        ("running", "healthy", 3),
        ("running", "first answer", 1),
        ("signalled", "stopped listening", 1),
        ("signalled", "drained", 1),
        ("signalled", "exited", 1),
        ("exited", "removed", 3),
    ]


def test_a_container_that_never_listened_is_advised_to_bind_all_of_its_addresses() -> None:
    story = STORIES["fail--never-ready"]().contain()
    story.lines = [line for line in story.lines if getattr(line, "phase", "") != "listening"]
    assert "0.0.0.0" in findings(story)["never-ready"].cure


def test_the_table_is_by_process_type() -> None:
    rows = table_of(Facts(STORIES["unknown--fault-on-idle--no-load-there"]().history()))
    assert {(row.process, row.phase): row.count for row in rows if row.phase == "exited"} == {("worker", "exited"): 1}


def test_statistics_are_over_all_replicas_of_a_process_type() -> None:
    story = steady_run()
    for number in range(1, 12):
        life = f"api.{number}"
        story.tell(
            Spawned(at_ns=at(0), step=0, replica=life, process="api", command="api"),
            PhaseReached(at_ns=at(number * 100), replica=life, phase="running"),
        )
    row = next(row for row in table_of(Facts(story.history())) if row.process == "api")
    assert (row.phase, row.count) == ("running", 11)
    assert (row.median_s, row.p95_s, row.max_s) == pytest.approx((0.6, 1.05, 1.1))


def test_phases_are_told_as_lines_of_a_table() -> None:
    found = findings(stop_run(clean_stop))
    assert found["start-phases"].title == "3 starts: web healthy after 50.0 ms (median), 50.0 ms (longest)"
    assert found["stop-phases"].title == "1 stop: web exited after 80.0 ms (median), 80.0 ms (longest)"
    assert found["stop-phases"].evidence[-1] == "web signalled → exited: 1 time, median 80.0 ms, p95 80.0 ms, max 80.0 ms"
    assert found["exit-statuses"].title == "1 of 1 stop ended without SIGKILL; the longest used 0.8 % of its grace"
    assert found["exit-statuses"].evidence == (
        "1 with exit status 0",
        "0 of 1 stop needed SIGKILL: at most 95 % do, at 95 %",
    )
    assert found["no-survivors"].title == "0 of 1 stop left a process behind: at most 95 % do, at 95 %"
    for zero in (found["exit-statuses"], found["no-survivors"]):
        assert zero.bound is not None
        assert (zero.bound.hits, zero.bound.trials) == (0, 1)


def test_a_stop_that_goes_on_serving_has_ignored_the_signal() -> None:
    (found,) = failures(STORIES["fail--killed-after-grace"]())
    assert (found.name, found.metric, found.replica, found.step, found.count) == ("killed-after-grace", "killed_after_grace", "web.1", 2, 1)
    assert found.cause == "SIGTERM was ignored: it went on serving new requests until SIGKILL."
    assert found.evidence == ("step 2, web.1: SIGKILL 1.00 s after SIGTERM; new connections: 49 served; last log line: listening on 8000",)


def test_a_stop_that_stopped_serving_and_did_not_end_has_not_ignored_the_signal() -> None:
    def hang(story: Story) -> None:
        story.ask("web.1", 690, 760)
        story.signal("web.1", 700, grace_s=1.0)
        story.knock("web.1", 710, 800, "served")
        story.knock("web.1", 810, 1690, "refused")
        story.signal("web.1", 1700, purpose="grace-over")
        story.exit("web.1", 1702, 137)

    (found,) = failures(stop_run(hang))
    assert (found.name, found.cause) == (
        "killed-after-grace",
        "It stopped listening, had answered all that was in flight after 60.0 ms, and did not exit: what kept it is no request.",
    )


def test_a_stop_that_another_signal_ended_is_a_crash() -> None:
    (found,) = failures(STORIES["fail--crashed-while-stopping"]())
    assert (found.name, found.metric, found.replica, found.step) == ("crashed-while-stopping", "exit_status", "web.1", 2)
    assert found.title == "web.1 did not end by SIGTERM but by SIGSEGV"
    assert found.cause == "The last line of web.1's log: Segmentation fault"


@pytest.mark.parametrize("status", [0, 1, 128, 143, 255, -1])
def test_an_exit_status_that_speaks_of_no_other_signal_is_no_crash(status: int) -> None:
    def stop(story: Story) -> None:
        story.ask("web.1", 690, 760)
        story.signal("web.1", 700)
        story.exit("web.1", 780, status)

    assert failures(stop_run(stop)) == []


def test_what_was_killed_or_left_something_behind_has_no_bound_of_that() -> None:
    assert findings(STORIES["fail--killed-after-grace"]())["exit-statuses"].bound is None
    assert "no-survivors" not in findings(STORIES["fail--survivors"]())


def test_survivors_are_listed_with_pid_command_and_port() -> None:
    (found,) = failures(STORIES["fail--survivors"]())
    assert (found.name, found.metric, found.replica, found.count) == ("survivors", "survivors", "web.1", 1)
    assert found.evidence == ("web.1: pid 200 (holds the port), still there after 1.00 s: sleep 3600",)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("sh -c python app.py & wait", "signal-swallowed-by-shell"),
        ("/bin/bash -lc python app.py", "signal-swallowed-by-shell"),
        ("sh -c exec python app.py", "survivors"),
        ("sh start.sh", "survivors"),
        ("python app.py", "survivors"),
        ("gunicorn -c conf.py app", "survivors"),
    ],
)
def test_survivors_of_a_shell_are_the_shell_s_fault(command: str, name: str) -> None:
    def stop(story: Story) -> None:
        clean_stop(story)
        story.survive("web.1", 1790, "python app.py")

    (found,) = failures(stop_run(stop, command=command))
    assert (found.name, found.metric) == (name, "survivors")


def test_a_command_with_shell_syntax_runs_under_a_shell_whatever_the_engine_calls_it() -> None:
    def stop(story: Story) -> None:
        clean_stop(story)
        story.survive("web.1", 1790, "python app.py")

    (found,) = failures(stop_run(stop, web={"command": "python app.py > log.txt"}))
    assert found.name == "signal-swallowed-by-shell"


def test_a_shell_that_had_to_be_killed_is_told_once_and_under_its_metric() -> None:
    (found,) = failures(STORIES["fail--signal-swallowed-by-shell--until-sigkill"]())
    assert (found.name, found.metric) == ("signal-swallowed-by-shell", "killed_after_grace")


def test_a_start_script_that_kept_the_signal_is_told_once_with_what_process_1_is() -> None:
    (found,) = failures(STORIES["fail--signal-not-forwarded"]())
    assert (found.name, found.metric, found.replica, found.step) == ("signal-not-forwarded", "killed_after_grace", "web.1", 2)
    assert "(sh /entrypoint.sh)" in found.cause
    assert 'exec "$@"' in found.cure


def test_a_process_1_that_keeps_the_signal_from_its_child_is_told_only_when_the_child_has_the_port() -> None:
    (found,) = failures(STORIES["fail--signal-not-forwarded--init"]())
    assert (found.name, found.metric, found.replica) == ("signal-not-forwarded", "killed_after_grace", "web.1")
    assert "(python start.py)" in found.cause
    (other,) = failures(stop_run(_ignores).contain(main="python start.py"))
    assert other.name == "killed-after-grace"


def test_what_a_lost_engine_took_along_is_no_failure_of_the_app() -> None:
    assert failures(STORIES["unknown--run-incomplete--engine-lost"]()) == []
    assert "exit-statuses" not in findings(STORIES["unknown--run-incomplete--engine-lost"]())


def test_a_shell_that_ended_with_its_command_swallowed_nothing() -> None:
    assert failures(stop_run(clean_stop, command="sh -c python app.py")) == []


def test_a_replica_that_died_is_told_with_status_and_last_words() -> None:
    (found,) = failures(STORIES["fail--died-by-itself"]())
    assert (found.name, found.metric, found.replica) == ("died-by-itself", "died_by_itself", "web.1")
    assert found.evidence == (
        "web.1: exit status 139 (ended by signal 11), 699 ms after its start",
        "web.1 log: Segmentation fault",
    )


@pytest.mark.parametrize("name", ["never-ready", "exited-at-start", "port-taken"])
def test_a_start_that_failed_is_told_with_its_log(name: str) -> None:
    (found,) = failures(STORIES[f"fail--{name}"]())
    assert (found.name, found.metric, found.replica, found.step) == (name, "failed_starts", "web.1", 0)
    assert found.evidence[-1] == "web.1 log: warming up"
    assert found.cause
    assert found.cure


def test_what_never_got_ready_is_advised_by_whether_it_listens() -> None:
    story = STORIES["fail--never-ready"]()
    assert "It says itself that it is not ready" in findings(story)["never-ready"].cure
    story.lines = [line for line in story.lines if getattr(line, "phase", "") != "listening"]
    assert "Nothing listens" in findings(story)["never-ready"].cure


def test_kills_have_no_stop_phases_and_no_exit_status() -> None:
    assert {"stop-phases", "exit-statuses", "killed-after-grace"}.isdisjoint(findings(STORIES["fail--lost-by-kill--many"]()))


def test_without_a_replica_nothing_was_timed() -> None:
    (found,) = check(steady_run().without(Spawned).history())
    assert (found.name, found.verdict) == ("no-replicas", Verdict.UNKNOWN)


def test_of_two_replicas_that_fail_alike_both_are_named_in_the_cause() -> None:
    story = STORIES["fail--exited-at-start"]()
    story.tell(*(msgspec.structs.replace(line, replica="web.2") for line in story.lines if isinstance(line, Spawned | StartFailed)))
    (found,) = [finding for finding in check(story.history()) if finding.name == "exited-at-start"]
    assert "web.1's log" in found.cause
    assert found.cause.endswith("(likewise web.2)")


def test_what_is_given_up_at_once_is_not_said_to_be_late() -> None:
    story = STORIES["fail--never-ready"]()
    detail = "its certificate was refused: Hostname mismatch"
    story.lines = [msgspec.structs.replace(line, detail=detail) if isinstance(line, StartFailed) else line for line in story.lines]
    (found,) = failures(story)
    assert found.title == "web.1 did not become healthy"
