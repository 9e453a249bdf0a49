"""What rows of the table of causes ask of a history, where stories of whole rows don't show it."""

from __future__ import annotations

import msgspec
import pytest

from harness.checks import evidence
from harness.checks.drops import book
from harness.checks.evidence import Start, Stop
from harness.checks.facts import Facts
from harness.checks.shells import manager_of
from harness.history import StartFailed
from harness.outcome import Outcome
from tests.checks.build import STORIES, Story, failed_successor, steady_run, stop_run


@pytest.mark.parametrize(
    ("command", "manager"),
    [
        ("npm run start", "npm"),
        ("/usr/bin/node /usr/lib/node_modules/pm2/bin/pm2-runtime server.js", "pm2-runtime"),
        ("python -m supervisor.supervisord -n", ""),
        ("supervisord -n -c app.conf", "supervisord"),
        ("python -m flask --app app run --debug", "the reloader of flask"),
        ("python -m flask --app app run", ""),
        ("uvicorn app:app --reload", "the reloader of uvicorn"),
        ("uvicorn app:app --workers 2", ""),
        ("python manage.py runserver", "the reloader of manage"),
        ("node --watch server.js", "the reloader of node"),
        ("gunicorn app:app", ""),
        ("", ""),
    ],
)
def test_reloaders_and_process_managers_are_known_by_their_command_lines(command: str, manager: str) -> None:
    assert manager_of(command) == manager


def test_errors_that_went_on_are_no_sign_of_a_replica_that_was_not_ready() -> None:
    story = steady_run()
    for when in (200, 400, 600):
        story.ask("web.1", when, when + 5, Outcome.ERROR, request=0)
    (drops,) = book(Facts(story.history())).groups
    assert not evidence.too_early(drops)
    assert drops.answered[0] > 0


def test_a_start_that_fails_after_a_stop_in_order_has_found_no_file_of_a_killed_one() -> None:
    def told(story: Story) -> Start:
        facts = Facts(story.history())
        return Start(facts=facts, life=facts.life("web.3"))

    story = failed_successor("fatal: already running (found /run/app.pid)")
    assert evidence.left_file(told(story))
    story.lines = [line for line in story.lines if getattr(line, "signal", "") != "SIGKILL"]
    assert not evidence.left_file(told(story))


def test_a_port_that_is_in_use_without_orphans_is_laid_at_nobody_s_door() -> None:
    facts = Facts(failed_successor("OSError: [Errno 98] Address already in use").history())
    assert not evidence.held_by_orphans(Start(facts=facts, life=facts.life("web.3")))


def test_a_stop_in_order_leaves_nothing_open_and_nothing_kept() -> None:
    facts = Facts(STORIES["pass--faults-landed"]().history())
    stop = Stop(facts=facts, fault=facts.faults[0])
    assert not evidence.still_answering(stop)
    assert not evidence.stays_idle(stop)
    assert not evidence.port_kept(stop)


def test_a_second_signal_is_no_cause_of_what_ended_before_it() -> None:
    def early(story: Story) -> None:
        story.ask("web.1", 690, 710, Outcome.CLOSED)
        story.signal("web.1", 700)
        story.signal("web.1", 900, purpose="again", signal="SIGTERM", in_flight=-1)
        story.exit("web.1", 905, 143)

    (drops,) = book(Facts(stop_run(early).history())).groups
    assert drops.fault is not None
    assert drops.fault.again is not None
    assert not evidence.by_second_signal(drops)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (
            ("Error: Cannot find module '/app/x.js'", "    at load (node:1)", "  code: 'MODULE_NOT_FOUND',", "}", "", "Node.js v20.1.0"),
            "Cannot find",
        ),
        (("ERROR:    [Errno 98] address already in use", "INFO:     Application shutdown complete."), "[Errno 98]"),
        (
            (
                "Traceback (most recent call last):",
                '  File "app.py", line 1',
                "    import nope",
                "ModuleNotFoundError: No module named 'nope'",
            ),
            "nope",
        ),
        (("sh: 1: gunicornn: not found", '127.0.0.1 - - [22/Nov] "GET /error HTTP/1.1" 200 -'), "gunicornn"),
        (("warming up", "[2026-11-22 09:00:00] INFO: ready"), "warming up"),
        (("INFO:     ready",), "INFO:     ready"),
    ],
)
def test_of_a_log_the_line_is_quoted_that_names_an_error(log: tuple[str, ...], words: str) -> None:
    story = STORIES["fail--exited-at-start"]()
    story.lines = [msgspec.structs.replace(line, log=log) if isinstance(line, StartFailed) else line for line in story.lines]
    life = Facts(story.history()).life("web.1")
    assert words in evidence.last_words(life)
    assert [line.removeprefix("web.1 log: ") for line in evidence.log_block([life])] == [line for line in log if line.strip()][-5:]
