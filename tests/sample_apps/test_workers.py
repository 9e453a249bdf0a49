"""What all sample workers share, with a queue in memory: what is done with a job in which order, at a stop, and when the queue is lost."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from sample_apps.workers import loop
from sample_apps.workers.loop import Job, Keeps, LostError, Source, Stop, main, read_job, run, say, work
from sample_apps.workers.settings import DEFECTS, Settings, SettingsError, read_settings

URL = "queue://127.0.0.1"


@dataclass
class Memory:
    """A source that hands out jobs, keeps what is done with them, and asks the worker to stop when there are no more."""

    stop: Stop
    jobs: list[Job]
    done: list[str] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)

    def take(self, wait_s: float) -> Job | None:
        self._tell("take")
        if not self.jobs:
            ask(self.stop)
            return None
        return self.jobs.pop(0)

    def finish(self, job: Job) -> None:
        self._tell("finish", job)

    def effect(self, job: Job) -> None:
        self._tell("effect", job)

    def settle(self, job: Job) -> None:
        self._tell("settle", job)

    def give_back(self, job: Job) -> None:
        self._tell("give back", job)

    def close(self) -> None:
        self._tell("close")

    def _tell(self, what: str, job: Job | None = None) -> None:
        self.done.append(f"{what} {job.id}" if job is not None else what)
        if self.lost.get(what, 0) > 0:
            self.lost[what] -= 1
            raise LostError("gone")


class Keeping(Memory):
    """One that wants to hear of its jobs."""

    def keep(self, job: Job) -> None:
        self._tell("keep", job)


def ask(stop: Stop) -> None:
    """What the signal does."""
    stop._ask(signal.SIGTERM, None)


def worked(source: Memory, defect: str | None = None, *, grace_s: float = 5.0) -> list[str]:
    """What was done with the jobs, without the takes."""
    settings = Settings(url=URL, defect=defect, grace_s=grace_s, gap_s=0.0)
    run(lambda: source, settings, source.stop)
    return [each for each in source.done if each not in ("take", "close")]


def source_of(*jobs: Job) -> Memory:
    return Memory(Stop(), list(jobs))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_AGAIN_S", 0.0)


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statuses with which the worker would have ended on the spot."""
    statuses: list[int] = []

    def leave(status: int) -> None:
        statuses.append(status)
        raise SystemExit(status)

    monkeypatch.setattr(os, "_exit", leave)
    return statuses


QUICK = Job(id="m-0", work_s=0.0)
LONG = Job(id="m-1", work_s=60.0)


def asked_while_it_works(source: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes in the first slice of the work."""
    monkeypatch.setattr(loop.time, "sleep", lambda _s: ask(source.stop))


# --- one job --------------------------------------------------------------------------------------------------------------


def test_a_job_is_finished_after_its_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert worked(source_of(QUICK, Job(id="m-9", work_s=0.01))) == ["finish m-0", "finish m-9"]
    assert capsys.readouterr().out.splitlines() == ["worker worker takes jobs from jobs", "job m-0 started", "job m-9 started"]


@pytest.mark.parametrize(
    ("defect", "done", "said"),
    [
        ("early-ack", ["settle m-0", "effect m-0"], ["started", "settled", "finished"]),
        ("pop-and-forget", ["effect m-0"], ["started", "finished"]),
        ("double-effect", ["effect m-0", "settle m-0"], ["started", "finished", "settled"]),
        ("ack-before-effect", ["settle m-0", "effect m-0"], ["started", "settled", "finished"]),
        ("drops-on-sigterm", ["finish m-0"], ["started"]),
        ("finishes-after-grace", ["finish m-0"], ["started"]),
        ("keeps-lock", ["finish m-0"], ["started"]),
        ("poison-kills", ["finish m-0"], ["started"]),
        ("no-reconnect", ["finish m-0"], ["started"]),
    ],
)
def test_each_defect_has_its_own_order(defect: str, done: list[str], said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert worked(source_of(QUICK), defect) == done
    assert [line for line in capsys.readouterr().out.splitlines() if "job m-0" in line] == [f"job m-0 {what}" for what in said]


def test_every_defect_has_its_order_here() -> None:
    orders = next(mark for mark in test_each_defect_has_its_own_order.pytestmark if mark.name == "parametrize").args[1]
    assert {order[0] for order in orders} == set(DEFECTS)


def test_an_early_acknowledgement_comes_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(Job(id="m-0", work_s=0.01))
    seen: list[list[str]] = []
    real = loop.work
    monkeypatch.setattr(loop, "work", lambda *args: (seen.append(list(source.done)), real(*args))[1])
    worked(source, "early-ack")
    assert seen == [["take", "settle m-0"]]


def test_poison_ends_the_worker_that_has_the_defect_and_no_other(exits: list[int]) -> None:
    poison = Job(id="m-17", work_s=0.0)
    assert poison.poison
    assert not QUICK.poison
    assert worked(source_of(poison)) == ["finish m-17"]
    with pytest.raises(SystemExit):
        worked(source_of(poison), "poison-kills")
    assert exits == [70]


# --- the stop -------------------------------------------------------------------------------------------------------------


def test_a_job_that_can_be_finished_within_the_grace_is(monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(Job(id="m-0", work_s=0.02), QUICK)
    asked_while_it_works(source, monkeypatch)
    assert worked(source) == ["finish m-0"]
    assert source.jobs == [QUICK]


def test_a_job_that_can_not_is_given_back(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    source = source_of(LONG)
    asked_while_it_works(source, monkeypatch)
    assert worked(source, grace_s=0.0) == ["give back m-1"]
    assert source.done[-1] == "close"
    assert capsys.readouterr().out.splitlines()[-2:] == ["job m-1 started", "job m-1 returned"]


@pytest.mark.parametrize(("defect", "done"), [("drops-on-sigterm", ["settle m-1"]), ("pop-and-forget", []), ("early-ack", ["settle m-1"])])
def test_what_a_defect_does_with_a_job_that_was_interrupted(defect: str, done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(LONG)
    asked_while_it_works(source, monkeypatch)
    assert worked(source, defect, grace_s=0.0) == done


def test_who_keeps_the_lock_ends_on_the_spot(exits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(LONG)
    asked_while_it_works(source, monkeypatch)
    with pytest.raises(SystemExit):
        worked(source, "keeps-lock")
    assert exits == [0]


def test_one_defect_knows_no_end_of_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(Job(id="m-0", work_s=0.03))
    asked_while_it_works(source, monkeypatch)
    assert worked(source, "finishes-after-grace", grace_s=0.0) == ["finish m-0"]


def test_a_second_signal_does_not_begin_the_grace_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    stop = Stop()
    assert not stop.over(0.0)
    ask(stop)
    now[0] += 3
    ask(stop)
    assert stop.asked
    assert stop.over(3.0)
    assert not stop.over(3.1)


# --- a queue that is lost --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["take", "finish"])
def test_who_loses_the_connection_connects_again_and_goes_on(lost: str, capsys: pytest.CaptureFixture[str]) -> None:
    source = source_of(QUICK, Job(id="m-2", work_s=0.0))
    source.lost = {lost: 1}
    assert worked(source)[-1] == "finish m-2"
    assert source.done.count("close") == 2
    assert "connection lost: gone" in capsys.readouterr().out


def test_who_can_not_connect_tries_again(capsys: pytest.CaptureFixture[str]) -> None:
    source = source_of(QUICK)
    refusals = [LostError("refused"), LostError("refused")]

    def connect() -> Source:
        if refusals:
            raise refusals.pop()
        return source

    run(connect, Settings(url=URL), source.stop)
    assert "finish m-0" in source.done
    assert capsys.readouterr().out.splitlines()[:2] == ["no connection: refused"] * 2


def test_who_can_not_connect_can_be_stopped() -> None:
    stop = Stop()

    def connect() -> Source:
        ask(stop)
        raise LostError("refused")

    run(connect, Settings(url=URL), stop)


def test_one_defect_goes_on_with_the_connection_that_was_lost() -> None:
    source = source_of(QUICK)
    source.lost = {"take": 3}
    worked(source, "no-reconnect")
    assert source.done == ["take"] * 4 + ["finish m-0", "take", "close"]


# --- what is heard of a job meanwhile ---------------------------------------------------------------------------------------


def test_a_source_that_wants_to_hear_of_its_job_does_while_it_is_worked_on() -> None:
    source = Keeping(Stop(), [Job(id="m-0", work_s=0.03)])
    assert isinstance(source, Keeps)
    assert not isinstance(source_of(), Keeps)
    done = worked(source)
    assert done[0] == "keep m-0"
    assert done[-1] == "finish m-0"


def test_a_job_that_is_not_ones_own_any_more_is_left() -> None:
    source = Keeping(Stop(), [LONG, QUICK])
    source.lost = {"keep": 1}
    assert worked(source) == ["keep m-1", "finish m-0"]


def test_work_is_done_when_its_time_is_over_and_not_when_the_end_comes_first() -> None:
    stop = Stop()
    assert work(Job(id="m-0", work_s=0.02), stop, 0.0)
    ask(stop)
    assert not work(LONG, stop, 0.0)
    assert work(QUICK, stop, 0.0)


# --- what is told ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "job", "work_s"),
    [
        ('{"id": "m-1", "ms": 50}', "m-1", 0.05),
        ('{"id": "m-1"}', "m-1", 0.0),
        ('{"ms": 5}', "", 0.005),
        ("m-1", "m-1", 0.0),
        ("7", "7", 0.0),
        ("[1]", "[1]", 0.0),
        ("{", "{", 0.0),
    ],
)
def test_a_body_is_json_or_an_id(body: str, job: str, work_s: float) -> None:
    assert read_job(body, 5) == Job(id=job, work_s=work_s, handle=5)


def test_what_is_said_of_a_job_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say(QUICK, "started")
    assert capsys.readouterr().out == "job m-0 started\n"


def test_a_url_is_all_that_must_be_set() -> None:
    settings = read_settings({"X_URL": URL, "QUEUE": "", "DEFECT": ""}, "X_URL")
    assert (settings.url, settings.queue, settings.done, settings.defect) == (URL, "jobs", "done", None)
    assert settings.name.endswith(f":{os.getpid()}")
    told = {
        "QUEUE": "q",
        "DONE": "d",
        "WORKER_NAME": "w",
        "GRACEFUL_TIMEOUT": "0.5",
        "LEASE_S": "2",
        "GAP_MS": "10",
        "SETTLE_AFTER_MS": "20",
        "DEFECT": "early-ack",
    }
    assert read_settings({"X_URL": URL, **told}, "X_URL") == Settings(
        url=URL, queue="q", done="d", name="w", grace_s=0.5, lease_s=2.0, gap_s=0.01, settle_after_s=0.02, defect="early-ack"
    )


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"X_URL": ""}, "X_URL must say where the queue is, and it is not set."),
        ({"GRACEFUL_TIMEOUT": "soon"}, "GRACEFUL_TIMEOUT must be a number from 0 to 1000000, not 'soon'."),
        ({"LEASE_S": "-1"}, "LEASE_S must be"),
        ({"GAP_MS": "nan"}, "GAP_MS must be"),
        ({"GAP_MS": "1e9"}, "GAP_MS must be"),
        ({"DEFECT": "nothing"}, "DEFECT must be one of ack-before-effect, "),
        ({"DEFECT": "no-reconnect"}, "not 'no-reconnect'."),
    ],
)
def test_what_can_not_be_used_is_told_by_name(environment: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)):
        read_settings({"X_URL": URL, **environment}, "X_URL", [name for name in DEFECTS if name != "no-reconnect"])


def test_a_wrong_environment_ends_the_start_with_status_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("X_URL", raising=False)
    assert main("some.worker", "X_URL", never) == 2
    assert capsys.readouterr().err == "some.worker: X_URL must say where the queue is, and it is not set.\n"


def never(_settings: Settings) -> Source:
    raise AssertionError("it must not connect")


def test_sigterm_and_sigint_end_it_with_status_0(monkeypatch: pytest.MonkeyPatch, restored: Callable[[], None]) -> None:
    monkeypatch.setenv("X_URL", URL)

    def connect(_settings: Settings) -> Source:
        os.kill(os.getpid(), signal.SIGTERM)
        raise LostError("refused")

    assert main("some.worker", "X_URL", connect) == 0


@pytest.fixture
def restored() -> object:
    """Gives the test's own signal handlers back."""
    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    yield
    for number, handler in before:
        signal.signal(number, handler)
