"""Stops that ended in a shell, by what process 1 of a container really is."""

from __future__ import annotations

import pytest

from harness.checks.facts import Facts
from harness.checks.shells import swallowed
from tests.checks.build import STORIES, Story, clean_stop, stop_run


def by(story: Story) -> list[str]:
    return [each.by for each in swallowed(Facts(story.history()))]


@pytest.mark.parametrize(
    ("main", "expected"),
    [
        ("/bin/sh -c python app.py & wait", ["command"]),
        ("/bin/bash -o pipefail -c python app.py | tee log", ["command"]),
        ("bash -eo pipefail -c python app.py; true", ["command"]),
        ("sh -ec python app.py; true", ["command"]),
        ("/bin/sh -c exec python app.py", []),
        ("sh /entrypoint.sh", ["script"]),
        ("/bin/bash -e /entrypoint.sh python app.py", ["script"]),
        ("/bin/sh -- /start", ["script"]),
        ("python app.py", []),
        ("gunicorn -c conf.py app", []),
        ("sh", []),
    ],
)
def test_what_process_1_is_tells_how_a_signal_was_lost(main: str, expected: list[str]) -> None:
    assert by(STORIES["fail--killed-after-grace"]().contain(main=main)) == expected


def test_the_container_knows_better_than_the_scenario_what_runs() -> None:
    assert by(STORIES["fail--signal-swallowed-by-shell--until-sigkill"]().contain(main="python app.py")) == []


def test_what_stands_behind_the_engine_s_own_init_is_what_runs() -> None:
    story = STORIES["fail--killed-after-grace"]
    assert by(story().contain(main="/sbin/docker-init -- sh /start", init=True)) == ["script"]
    assert by(story().contain(main="/sbin/docker-init -- python app.py", init=True)) == []


def test_a_shell_that_waited_for_its_app_lost_nothing() -> None:
    assert by(stop_run(clean_stop).contain(main="sh /entrypoint.sh")) == []


def test_a_script_on_this_machine_is_not_process_1() -> None:
    assert by(STORIES["fail--killed-after-grace"]()) == []


def test_a_shell_that_a_lost_engine_took_along_lost_nothing() -> None:
    story = STORIES["unknown--run-incomplete--engine-lost"]()
    story.lines = [line for line in story.lines if type(line).__name__ != "Contained"]
    assert by(story.contain(main="sh /start")) == []
