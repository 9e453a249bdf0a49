"""What only containers show: who they are, what they write, which processes they leave, and what ends them."""

from __future__ import annotations

import pytest

from harness.checks import judge
from harness.checks.posture import check
from harness.history import PhaseReached
from harness.verdict import Finding, Verdict
from tests.checks.build import STORIES, Story, at, clean_stop, steady_run, stop_run


def findings(story: Story) -> dict[str, Finding]:
    return {finding.name: finding for finding in check(story.history())}


def failures(story: Story) -> list[str]:
    """Names of what fails in all checks, without the thresholds."""
    return [each.name for each in judge(story.history()).findings if each.verdict is Verdict.FAIL and each.check != "expect"]


def test_without_containers_there_is_nothing_to_say_and_that_passes() -> None:
    (found,) = check(steady_run().history())
    assert (found.name, found.verdict, found.title) == ("no-containers", Verdict.PASS, "no replica ran in a container")


def test_clean_containers_are_told_with_image_main_process_and_user() -> None:
    found = findings(stop_run(clean_stop).contain())
    assert set(found) == {"containers", "none-cut-off"}
    assert found["containers"].title == "3 of 3 containers looked into"
    assert found["containers"].evidence == ("web: image jetable/web, process 1 is python app.py, user 1000",)
    bound = found["none-cut-off"].bound
    assert bound is not None
    assert (bound.hits, bound.trials) == (0, 1)


def test_a_container_that_nobody_could_look_into_is_counted_as_such() -> None:
    story = steady_run()
    story.tell(PhaseReached(at_ns=at(6), replica="web.1", phase="created"))
    assert findings(story)["containers"].title == "0 of 1 container looked into"


# --- advice -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["runs-as-root", "writes-own-filesystem"])
def test_advice_passes_with_a_cure_and_fails_where_the_scenario_demands_otherwise(name: str) -> None:
    advice, failure = (findings(STORIES[f"{word}--{name}"]())[name] for word in ("pass", "fail"))
    assert (advice.verdict, failure.verdict) == (Verdict.PASS, Verdict.FAIL)
    assert advice.cure == failure.cure != ""
    assert failures(STORIES[f"fail--{name}"]()) == [name]


def test_a_demand_about_another_process_type_does_not_concern_it() -> None:
    story = Story(web={"replicas": 1}, others={"worker": {"command": ["work"]}}, expect=["worker.root_replicas == 0"])
    story.start("web.1", 5)
    story.start("worker.1", 6)
    story.contain(uid=0)
    roots = {finding.replica: finding.verdict for finding in check(story.history()) if finding.name == "runs-as-root"}
    assert roots == {"web.1": Verdict.PASS, "worker.1": Verdict.FAIL}


def test_what_it_wrote_is_told_by_folder_with_the_caches_that_are_known() -> None:
    found = findings(STORIES["pass--writes-own-filesystem"]())["writes-own-filesystem"]
    assert (found.title, found.replica, found.count) == ("web changed 2 files in its own filesystem, in /app/data", "web.1", 2)
    assert found.evidence == (
        "web.1: /app/data: 2 files",
        "web.1: /app/__pycache__: 1 file, Python bytecode (PYTHONDONTWRITEBYTECODE=1, or compile while the image is built)",
    )


def test_caches_alone_are_harmless() -> None:
    found = findings(STORIES["pass--writes-caches"]())
    assert "writes-own-filesystem" not in found
    assert found["writes-caches"].title.endswith("but 3 files that may be lost: Python bytecode, pid files and a cache")
    assert not found["writes-caches"].cure


# --- processes --------------------------------------------------------------------------------------------------------------


def test_zombies_are_told_with_their_commands_and_each_once() -> None:
    story = steady_run()
    story.zombie("web.2", 900, "python job.py")
    story.zombie("web.2", 1000, "python job.py")
    found = findings(story.contain())["zombies-left"]
    assert (found.title, found.metric, found.replica) == ("nobody waited for 1 process of web.2 that had ended", "zombies", "web.2")
    assert found.evidence == ("web.2: pid 400, still a zombie after 500 ms: python job.py",)
    assert "init: true" in found.cure


def test_an_init_is_no_cure_where_there_is_one() -> None:
    story = steady_run()
    story.zombie("web.2", 900, "python job.py")
    assert "init: true" not in findings(story.contain(init=True))["zombies-left"].cure


def test_processes_that_process_1_left_to_be_killed_are_told_with_their_commands() -> None:
    story = STORIES["fail--cut-off-with-process-1"]()
    found = findings(story)["cut-off-with-process-1"]
    assert (found.metric, found.replica, found.step, found.count) == ("cut_off", "web.1", 2, 2)
    assert found.evidence[0] == "step 2, web.1: python app.py ended 80.0 ms after SIGTERM, and with it pid 300: python worker.py"
    assert failures(story) == ["cut-off-with-process-1"]


@pytest.mark.parametrize("purpose", ["kill", "teardown"])
def test_what_sigkill_cut_off_is_not_the_app_s_doing(purpose: str) -> None:
    def stop(story: Story) -> None:
        story.ask("web.1", 690, 701)
        story.signal("web.1", 700, purpose=purpose)
        story.exit("web.1", 702, 137)
        story.cut_off("web.1", 702, "python worker.py")

    assert "cut-off-with-process-1" not in findings(stop_run(stop).contain())


def test_what_was_cut_off_at_the_end_of_the_grace_is_told_as_that() -> None:
    story = STORIES["fail--killed-after-grace"]()
    story.cut_off("web.1", 1702, "python worker.py")
    assert failures(story.contain()) == ["killed-after-grace"]


@pytest.mark.parametrize(
    ("story", "name"),
    [
        ("fail--signal-swallowed-by-shell--image", "signal-swallowed-by-shell"),
        ("fail--signal-swallowed-by-shell--cut-off", "signal-swallowed-by-shell"),
        ("fail--signal-not-forwarded", "signal-not-forwarded"),
    ],
)
def test_a_stop_that_ended_in_a_shell_is_told_once(story: str, name: str) -> None:
    assert failures(STORIES[story]()) == [name]


# --- ends -------------------------------------------------------------------------------------------------------------------


def test_an_end_for_want_of_memory_is_told_with_its_limit_and_log_and_not_as_a_death_as_well() -> None:
    story = STORIES["fail--oom-killed"]()
    found = findings(story)["oom-killed"]
    assert (found.metric, found.replica, found.count) == ("oom_kills", "web.1", 1)
    assert found.evidence == (
        "web.1: with a limit of 64m, 698 ms after its start; exit status 137",
        "web.1 log: building the report",
    )
    assert failures(story) == ["oom-killed"]


def test_a_worker_that_was_killed_for_want_of_memory_is_told_although_the_replica_went_on() -> None:
    found = findings(STORIES["fail--oom-killed--worker"]())["oom-killed"]
    assert found.evidence == ("web.1: 2 times, first 395 ms after its start; its main process went on",)
    assert "the machine" in found.cause


@pytest.mark.parametrize(("name", "cure"), [("needs-writable-filesystem", "tmpfs: [/app/data]"), ("needs-capability", "cap_add: [CHOWN]")])
def test_a_start_that_the_scenario_denies_something_is_told_once_with_what_to_give_it(name: str, cure: str) -> None:
    story = STORIES[f"fail--{name}"]()
    found = findings(story)[name]
    assert (found.metric, found.replica, found.step) == ("failed_starts", "web.1", 0)
    assert cure in found.cure
    assert failures(story) == [name]


@pytest.mark.parametrize("name", ["needs-writable-filesystem", "needs-capability"])
def test_a_death_of_such_a_cause_is_told_under_its_name(name: str) -> None:
    found = findings(STORIES[f"pass--{name}--allowed"]())[name]
    assert (found.metric, found.replica) == ("died_by_itself", "web.1")


def test_an_engine_that_went_away_is_nobody_s_failure() -> None:
    assert failures(STORIES["unknown--run-incomplete--engine-lost"]()) == []
