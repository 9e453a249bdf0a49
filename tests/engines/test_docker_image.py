"""Where an image comes from, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.dockerd import Daemon
from harness.engines.docker_image import Health, _described, _follow_build, have_image
from harness.errors import KeyOfScenarioError
from harness.marks import LABEL_RUN
from tests.engines.containers import IMAGE, declared, fresh_run_id, sweep


def test_an_image_tells_what_runs_in_it() -> None:
    config = {
        "Entrypoint": ["tini", "--"],
        "Cmd": ["app"],
        "StopSignal": "SIGINT",
        "Env": ["PORT=80", "EMPTY=", "EQUALS=a=b"],
        "ExposedPorts": {"443/tcp": {}, "80/tcp": {}, "53/udp": {}},
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 10**9, "Timeout": 2 * 10**9, "Retries": 4, "StartPeriod": 5 * 10**9},
    }
    image = _described({"Id": "sha256:1", "Config": config}, "app:1")
    assert (image.entrypoint, image.command, image.stop_signal) == (("tini", "--"), ("tini", "--", "app"), "SIGINT")
    assert image.environment == {"PORT": "80", "EMPTY": "", "EQUALS": "a=b"}
    assert image.ports == (80, 443)
    assert image.health == Health(patience_s=5 + 5 * (1 + 2))


@pytest.mark.parametrize("config", [None, {}, {"Entrypoint": None, "Cmd": None, "Env": None, "ExposedPorts": None, "Healthcheck": None}])
def test_an_image_that_says_nothing_is_no_error(config: Any) -> None:
    image = _described({"Id": "sha256:1", "Config": config}, "app:1")
    assert (image.command, image.entrypoint, image.stop_signal, image.environment, image.ports, image.health) == ((), (), "", {}, (), None)


@pytest.mark.parametrize("check", [{"Test": []}, {"Test": ["NONE"]}, {"Interval": 5}])
def test_a_health_check_without_a_test_is_none(check: Any) -> None:
    assert _described({"Id": "1", "Config": {"Healthcheck": check}}, "app:1").health is None


def test_a_health_check_has_dockers_patience_where_it_says_nothing() -> None:
    image = _described({"Id": "1", "Config": {"Healthcheck": {"Test": ["CMD", "true"]}}}, "app:1")
    assert image.health == Health(patience_s=4 * 60.0)


def test_the_output_of_a_build_is_told_line_by_line() -> None:
    told: list[str] = []
    _follow_build([{"stream": "Step 1/1 : FROM x\n"}, {"stream": "\n"}, {"status": "Pulling"}, {"aux": {"ID": "1"}}], "web", told.append)
    assert told == ["web: Step 1/1 : FROM x", "web: Pulling"]


def test_a_build_that_fails_names_the_instruction_and_its_last_words_only() -> None:
    chunks = [
        {"stream": "Step 1/2 : FROM x\n"},
        {"stream": " ---> 123\n"},
        {"stream": "of the first\n"},
        {"stream": "Step 2/2 : RUN false\n"},
        {"stream": " ---> Running in 456\n"},
        *({"stream": f"line {number}\n"} for number in range(20)),
        {"error": "returned a non-zero code: 1"},
    ]
    with pytest.raises(KeyOfScenarioError) as caught:
        _follow_build(chunks, "web", lambda _line: None)
    assert caught.value.key == ("target", "web", "build")
    sentence, *words = str(caught.value).splitlines()
    assert sentence == "the build failed at Step 2/2 : RUN false: returned a non-zero code: 1; mend that instruction"
    assert [word.strip() for word in words] == [f"line {number}" for number in range(12, 20)]


def test_a_build_that_fails_before_any_instruction_says_so() -> None:
    with pytest.raises(KeyOfScenarioError, match="before its first instruction: no such file"):
        _follow_build([{"error": "no such file"}], "web", lambda _line: None)


# --- with an engine


@pytest.fixture
def run_id(daemon: Daemon) -> Iterator[str]:
    run_id = fresh_run_id()
    yield run_id
    sweep(daemon, run_id)


def folder_with(tmp_path: Path, *lines: str) -> Path:
    (tmp_path / "Dockerfile").write_text("\n".join((f"FROM {IMAGE}", *lines, "")))
    return tmp_path


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
def test_an_image_is_built_with_its_arguments_and_carries_the_mark_of_the_run(daemon: Daemon, run_id: str, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "ARG WHAT=nothing", "ENV WHAT=$WHAT", "STOPSIGNAL SIGINT", "EXPOSE 9000", 'CMD ["sleep", "9"]')
    told: list[str] = []
    says = declared(build={"context": str(folder), "args": {"WHAT": "this"}})
    image = have_image(daemon, run_id, "web", says, told.append)
    assert (image.environment["WHAT"], image.stop_signal, image.ports, image.command) == ("this", "SIGINT", (9000,), ("sleep", "9"))
    assert image.name == str(folder / "Dockerfile")
    assert daemon.api.inspect_image(image.id)["Config"]["Labels"][LABEL_RUN] == run_id
    assert not [line for line in told if "LABEL jetable" in line or "Using cache" in line]


def test_a_build_tells_what_it_does_in_whole_lines_and_not_what_the_cache_answers() -> None:
    told: list[str] = []
    chunks = [
        {"stream": "Step 1/5 : FROM x"},
        {"stream": "\n"},
        {"stream": " ---> 123\n"},
        {"stream": "Step 2/5 : RUN a\n"},
        {"stream": " ---> Using cache\n"},
        {"stream": " ---> 456\n"},
        {"stream": "Step 3/5 : RUN b\n"},
        {"stream": " ---> Running in 789\n"},
        {"stream": "\x1b[32mone "},
        {"stream": "line\x1b[0m\ntwo\r\n"},
        {"stream": "Removing intermediate container 789\n"},
        {"stream": "Step 4/5 : LABEL jetable.run=x\n"},
        {"stream": " ---> Running in 999\n"},
        {"stream": "Step 5/5 : CMD c\n"},
        {"stream": " ---> Using cache\n"},
        {"stream": "Successfully built 1\nlast without an end"},
    ]
    _follow_build(chunks, "web", told.append)
    assert told == ["web: Step 3/5 : RUN b", "web: one line", "web: two", "web: last without an end"]


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize("process", ["a___b", "web_", "web-"])
def test_whatever_a_process_type_may_be_called_its_image_can_be_tagged(daemon: Daemon, run_id: str, tmp_path: Path, process: str) -> None:
    assert have_image(daemon, run_id, process, declared(build=str(folder_with(tmp_path))), lambda _line: None).id


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
def test_a_stage_that_is_named_is_the_one_that_is_built(daemon: Daemon, run_id: str, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "ENV A=1")
    text = (folder / "Dockerfile").read_text()
    (folder / "Dockerfile").write_text(text.replace(IMAGE, f"{IMAGE} AS first") + "FROM first\nENV B=2\n")
    image = have_image(daemon, run_id, "web", declared(build={"context": str(folder), "target": "first"}), lambda _line: None)
    assert "A" in image.environment
    assert "B" not in image.environment


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "why"),
    [
        (
            "RUN echo last words; exit 3",
            r"the build failed at Step 2/\d : RUN echo .*non-zero code: 3; mend that instruction\n    last words$",
        ),
        ("COPY missing /", r"the build failed at Step 2/\d : COPY missing /"),
        ("NONSENSE", r"unknown instruction: NONSENSE"),
    ],
)
def test_a_build_that_fails_is_the_scenarios_to_mend(daemon: Daemon, run_id: str, tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(KeyOfScenarioError, match=why) as caught:
        have_image(daemon, run_id, "web", declared(build=str(folder_with(tmp_path, line))), lambda _line: None)
    assert caught.value.key == ("target", "web", "build")


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
def test_an_image_that_nobody_has_is_the_scenarios_to_mend(daemon: Daemon, run_id: str) -> None:
    says = declared(image="localhost:1/no/such:1")
    with pytest.raises(
        KeyOfScenarioError, match=r"image localhost:1/no/such:1 is not on this machine and can't be pulled: .*docker load"
    ) as caught:
        have_image(daemon, run_id, "web", says, lambda _line: None)
    assert caught.value.key == ("target", "web", "image")
