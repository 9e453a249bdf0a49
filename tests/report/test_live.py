"""Progress, in a log and on a terminal that moves."""

from __future__ import annotations

import io
import re
import threading

from rich.console import Console

from harness.clock import FakeClock
from harness.report.live import TerminalProgress
from harness.report.progress import Progress, SilentProgress

STEPS = ["steady for 2s", "terminate web (each)", "steady for 2s"]


def play(progress: Progress, clock: FakeClock) -> None:
    progress.run_began("web survives", STEPS, 10.0)
    progress.step_began(0, "start the target")
    clock.sleep(1.5)
    progress.replica("web 3 up")
    progress.step_ended(0, "")
    progress.step_began(1, STEPS[0])
    clock.sleep(2)
    progress.step_ended(1, "")
    progress.step_began(2, STEPS[1])
    progress.note("web: a shell [bold]runs[/bold] it\x1b[2J")
    clock.sleep(8)
    progress.step_ended(2, "no request was in flight")
    progress.step_began(3, STEPS[2])
    progress.run_ended()
    progress.run_ended()


def plain(width: int = 80) -> str:
    file, clock = io.StringIO(), FakeClock()
    play(TerminalProgress(Console(file=file, width=width), clock, moving=False), clock)
    return file.getvalue()


def test_a_log_gets_one_line_a_step_with_the_time_gone_and_left() -> None:
    assert plain().splitlines() == [
        "web survives: 3 steps, about 10.0 s",
        "  0.0 s  start the target  (about 10.0 s left)",
        "  1.5 s  step 1/3  steady for 2s  (about 8.5 s left)",
        "  3.5 s  step 2/3  terminate web (each)  (about 6.5 s left)",
        "  3.5 s  note: web: a shell [bold]runs[/bold] it",
        " 11.5 s  ! step 2/3  terminate web (each): no request was in flight",
        " 11.5 s  step 3/3  steady for 2s  (1.5 s longer than planned)",
        " 11.5 s  ended",
    ]


def test_a_log_gets_every_line_of_a_build_and_a_moving_display_the_latest() -> None:
    file, clock = io.StringIO(), FakeClock()
    progress = TerminalProgress(Console(file=file, width=80), clock, moving=False)
    progress.run_began("web survives", STEPS, 10.0)
    progress.work("web: Step 1/2 : RUN x")
    clock.sleep(2)
    progress.work("web: \x1b[31mdone")
    assert file.getvalue().splitlines()[1:] == ["  0.0 s  web: Step 1/2 : RUN x", "  2.0 s  web: done"]


def test_a_log_gets_no_control_codes_and_is_not_wrapped() -> None:
    text = plain(width=20)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    assert text == plain(width=200)


def test_steps_are_numbered_without_a_total_when_nobody_told_it() -> None:
    file = io.StringIO()
    progress = TerminalProgress(Console(file=file, width=80), FakeClock(), moving=False)
    progress.step_began(2, "kill any")
    progress.run_ended()
    assert file.getvalue() == "  0.0 s  step 2  kill any\n"


def test_a_moving_display_leaves_the_finished_steps_and_the_cursor_as_it_was() -> None:
    file, clock = io.StringIO(), FakeClock()
    before = set(threading.enumerate())
    play(TerminalProgress(Console(file=file, width=80, force_terminal=True, color_system=None), clock, moving=True), clock)
    text = file.getvalue()
    assert "step 1/3  steady for 2s  2.0 s" in text
    assert "! step 2/3  terminate web (each): no request was in flight" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "\x1b[2J" not in text
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def test_a_moving_display_can_be_told_things_from_several_threads() -> None:
    file, clock = io.StringIO(), FakeClock()
    progress = TerminalProgress(Console(file=file, width=80, force_terminal=True, color_system=None), clock, moving=True)
    progress.run_began("busy", STEPS, 0)

    def tell(number: int) -> None:
        for _ in range(20):
            progress.note(f"note of {number}")
            progress.replica(f"web {number} up")

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    progress.run_ended()
    assert file.getvalue().count("note: note of") == 80


def test_silent_progress_takes_everything_and_shows_nothing() -> None:
    play(SilentProgress(), FakeClock())
