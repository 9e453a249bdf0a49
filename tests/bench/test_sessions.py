"""A session of a bench: what is up in it, what is asked for the first answer, and what a person's own commands do."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import proctable
from harness.bench import sessions
from harness.bench.sessions import _answers, first_path, needed_by, run_command
from harness.engines.base import Replica
from harness.engines.fake import FakeEngine, FakeProcess
from harness.errors import ExitCode, StoppedError, TargetError, UsageError
from harness.history import PhaseReached, read
from harness.scenario import Scenario
from tests.bench.fakes import CRASHES, LOADED, SCENARIO, Imagined, cycles, imagined, plan, played, scenario, variant
from tests.live.processes import wait_until

__all__ = ["imagined"]


def made(**changes: Any) -> Scenario:
    return Scenario.model_validate(SCENARIO | changes)


# --- what is asked --------------------------------------------------------------------------------------------------------------


def test_the_first_answer_is_to_what_the_health_check_asks() -> None:
    assert first_path(scenario(healthcheck="/healthz"), "web") == "/healthz"


@pytest.mark.parametrize(
    ("requests", "path"),
    [
        (["GET /items/{id}", "GET /plain"], "/plain"),
        (["GET /items/{id}"], "/"),
        ([{"POST /items": {"name": "x"}}, "GET /later"], "/later"),
    ],
)
def test_without_one_it_is_to_the_first_plain_get_of_the_load_or_to_the_root(requests: list[Any], path: str) -> None:
    assert first_path(made(load={"process": "web", "requests": requests}), "web") == path


def test_what_takes_no_requests_is_asked_for_nothing() -> None:
    assert first_path(made(), "web") is None
    assert first_path(made(load={"process": "web", "requests": ["GET /"]}), "other") is None


@contextmanager
def server(status: int) -> Iterator[Replica]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Replica(name="web.1", process="web", host="127.0.0.1", port=listening.server_address[1], pid=0, at_ns=0, running_ns=0)
        finally:
            listening.shutdown()
            thread.join()


@pytest.mark.parametrize(("status", "answers"), [(200, True), (302, True), (404, True), (500, False), (503, False)])
def test_any_whole_answer_is_the_first_that_is_no_failure_of_the_server(status: int, answers: bool) -> None:  # noqa: FBT001  a table
    with server(status) as replica:
        assert _answers(replica, "/", None) is answers


def test_a_port_where_nobody_is_answers_nothing() -> None:
    with server(200) as replica:
        pass
    assert not _answers(replica, "/", None)


def phases(ended: Any, name: str) -> list[int]:
    (folder,) = ended.bench.variants[0].folders
    return [event.at_ns for event in read(ended.folder / folder).events if isinstance(event, PhaseReached) and event.phase == name]


def asked_by_log(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A variant whose log says that it is ready, and which answers whatever is asked as soon as it listens."""
    monkeypatch.setattr(sessions, "_answers", lambda *_: True)
    web = {"command": "app", "healthcheck": {"log": "ready"}}
    return variant(scenario=made(target={"web": web}, load={"requests": ["GET /"]}))


def test_a_port_that_opens_after_the_log_says_ready_is_seen_and_told(
    imagined: Imagined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Early(FakeEngine):
        def healthy(self, replica: Replica) -> None:  # type: ignore[override]  # it must be asked, and its log is
            return None

        def log_matches(self, replica: Replica, pattern: str) -> bool:
            return True

    imagined.engine = Early
    imagined.scripts = {"v": {"web": FakeProcess(start_s=0.2)}}
    ended = played(plan(tmp_path, asked_by_log(monkeypatch), runs=2))
    assert all(early < late for early, late in zip(phases(ended, "healthy"), phases(ended, "listening"), strict=True))
    (warning,) = ended.bench.variants[0].warnings
    assert warning.startswith("2 of 2 starts were healthy before their port was open, by 19")
    assert len(phases(ended, "first-answer")) == 2


def test_a_port_that_is_open_when_the_log_says_ready_is_no_reason_to_warn(
    imagined: Imagined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = played(plan(tmp_path, asked_by_log(monkeypatch), runs=2))
    assert ended.bench.variants[0].warnings == ()
    assert len(phases(ended, "first-answer")) == 2


def test_a_target_that_never_answers_is_waited_for_and_has_no_first_answer(
    imagined: Imagined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_by_log(monkeypatch)
    monkeypatch.setattr(sessions, "_answers", lambda *_: False)
    ended = played(plan(tmp_path, asked, runs=1))
    assert phases(ended, "first-answer") == []
    assert ended.bench.variants[0].failed == ()


def test_a_target_that_ends_while_its_first_answer_is_awaited_is_in_the_books(
    imagined: Imagined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_by_log(monkeypatch)
    monkeypatch.setattr(sessions, "_answers", lambda *_: False)
    imagined.scripts = {"v": {"web": FakeProcess(dies_after_s=0.5, dies_status=3)}}
    ended = played(plan(tmp_path, asked, runs=2))
    assert [each.reason for each in ended.bench.variants[0].failed] == ["ended by itself"] * 2
    assert ended.exit_code == ExitCode.FAILED


# --- what is up -----------------------------------------------------------------------------------------------------------------


def test_what_a_process_type_needs_comes_in_the_order_of_its_starts() -> None:
    target = {
        "web": {"command": "a", "depends_on": ["cache", "api"]},
        "api": {"command": "a", "depends_on": ["cache"]},
        "cache": {"command": "a"},
        "else": {"command": "a"},
    }
    whole = made(target=target, load={"process": "web", "requests": ["GET /"]})
    assert needed_by(whole, "web") == ["cache", "api"]
    assert needed_by(whole, "else") == []


def test_the_load_of_a_scenario_is_there_only_under_load(imagined: Imagined, tmp_path: Path) -> None:
    whole = variant(scenario=Scenario.model_validate(LOADED))
    played(plan(tmp_path, whole, runs=1, under=("load",)))
    assert [loaded for _, loaded in imagined.opened] == [True]


def test_others_under_load_are_as_many_as_the_scenario_says_and_are_not_timed(imagined: Imagined, tmp_path: Path) -> None:
    ended = played(plan(tmp_path, variant(scenario=Scenario.model_validate(LOADED)), runs=2, under=("load",)))
    assert [(each.under, each.starts) for each in ended.bench.variants[0].attempts] == [("load", 2)]
    assert [cycle.under for _, cycle in cycles(ended)] == ["load", "load"]


def test_a_target_whose_dependency_does_not_start_is_told_in_one_way_and_leaves_nothing(imagined: Imagined, tmp_path: Path) -> None:
    imagined.scripts = {"v": {"other": CRASHES}}
    with pytest.raises(TargetError, match="it exited with status 3 before it was healthy"):
        played(plan(tmp_path / "reports", variant(scenario=scenario(depends_on=["other"]))))
    assert not (tmp_path / "reports").exists()


# --- a person's own commands ----------------------------------------------------------------------------------------------------


def test_an_empty_command_is_none() -> None:
    run_command("", "--prepare")


def test_a_command_that_fails_is_told_with_its_status_and_last_line() -> None:
    with pytest.raises(UsageError, match=r"--prepare 'echo a; echo b >&2; exit 7' ended with status 7: b"):
        run_command("echo a; echo b >&2; exit 7", "--prepare")


def test_a_silent_command_that_fails_is_told_with_its_status() -> None:
    with pytest.raises(UsageError, match=r"--cleanup 'false' ended with status 1$"):
        run_command("false", "--cleanup")


def test_a_command_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "PREPARE_S", 0.05)
    with pytest.raises(UsageError, match="--prepare 'exec sleep 20' did not end within 0 s"):
        run_command("exec sleep 20", "--prepare")


@pytest.mark.parametrize(("error", "told"), [(subprocess.TimeoutExpired("sh", 1), UsageError), (StoppedError("stopped"), StoppedError)])
def test_nothing_is_left_of_a_command_that_is_given_up(
    error: Exception, told: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait, place = subprocess.Popen.wait, tmp_path / "pid"

    def waited(shell: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if timeout is None:
            return wait(shell)
        wait_until(lambda: place.exists() and place.read_text().endswith("\n"), within_s=10)
        raise error

    monkeypatch.setattr(subprocess.Popen, "wait", waited)
    with pytest.raises(told):
        run_command(f"sleep 60 & echo $! > {place}; wait", "--prepare")
    pid = int(place.read_text())
    wait_until(lambda: (look := proctable.look(pid)) is None or look.state == "Z", within_s=10)


def test_a_command_that_leaves_something_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    run_command(f"sleep 60 & echo $! > {tmp_path}/pid", "--prepare")
    pid = int((tmp_path / "pid").read_text())
    found = proctable.look(pid)
    os.kill(pid, signal.SIGKILL)
    assert found is not None


def test_a_command_reads_nothing_of_the_terminal() -> None:
    run_command("! read line", "--prepare")


def test_who_answers_nobody_is_asked_in_vain_twice_and_what_that_cost_is_no_use_of_its_start(
    imagined: Imagined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answers(replica: Replica, _path: str, _tls: object) -> bool:
        asked.append(replica.name)
        return False

    monkeypatch.setattr(sessions, "_answers", answers)
    ended = played(plan(tmp_path, variant(scenario=scenario(healthcheck="/healthz")), runs=4))
    assert list(dict.fromkeys(asked)) == ["web.1", "web.2"]
    assert ended.bench.variants[0].attempts[0].starts == 4
    assert "time_to_first_answer" not in {each.metric for each in ended.bench.variants[0].series}
