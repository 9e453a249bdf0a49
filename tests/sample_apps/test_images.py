"""The images of the samples: what their Dockerfiles must say, and, on a Docker engine, what the containers do."""

from __future__ import annotations

import fcntl
import http.client
import re
import time
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import docker
import pytest

from harness.scenario import load_scenario
from sample_apps import wheels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).parents[2]
WEB = ROOT / "sample_apps" / "web"
GOOD = WEB / "Dockerfile"
VARIANTS = sorted(WEB.glob("*.Dockerfile"))
STREAMS = ROOT / "sample_apps" / "streams" / "Dockerfile"
WORKERS = ROOT / "sample_apps" / "workers" / "Dockerfile"
STATE = ROOT / "sample_apps" / "state" / "Dockerfile"
DELAYED_JOB = ROOT / "sample_apps" / "workers" / "delayed_job"
DOCKERFILES = [GOOD, *VARIANTS]
IN_IMAGES = sorted(path for path in (ROOT / "scenarios").glob("*/*.yaml") if path.parent.name != "servers")
"""Shipped scenarios but those of other people's servers, which are run as they come out of their packages."""

DEADLINE_S = 30.0
LABELS = {"sample-apps-test": "1"}


def instructions(dockerfile: Path) -> list[str]:
    """The instructions of a Dockerfile, each in one line."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    return [line for line in re.sub(r"\\\n", "", text).splitlines() if line.strip()]


# --- what they say


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_every_image_starts_from_the_same_base_and_shares_its_first_layers(dockerfile: Path) -> None:
    assert instructions(dockerfile)[0] == "FROM python:3.11-slim-bookworm"
    assert instructions(dockerfile)[:3] == instructions(GOOD)[:3]


@pytest.mark.parametrize("dockerfile", [*DOCKERFILES, STREAMS, WORKERS, STATE, DELAYED_JOB / "Dockerfile"], ids=lambda path: path.name)
def test_no_dockerfile_needs_another_builder_than_the_classic_one(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    assert not re.search(r"syntax\s*=|--mount|--chmod|--link|<<", text)
    assert len(re.findall(r"^FROM ", text, re.MULTILINE)) == 1  # the classic builder leaves the images of earlier stages behind


@pytest.mark.parametrize("dockerfile", [GOOD, STREAMS, STATE], ids=lambda path: path.parent.name)
def test_the_good_image_runs_in_exec_form_as_a_user_of_its_own(dockerfile: Path) -> None:
    module = f"sample_apps.{dockerfile.parent.name}"
    assert instructions(dockerfile)[-3:] == ["EXPOSE 8000", "USER app", f'CMD ["python", "-m", "{module}"]']
    assert any("useradd --uid 10001 " in line for line in instructions(dockerfile))


@pytest.mark.parametrize("dockerfile", VARIANTS, ids=lambda path: path.name)
def test_a_variant_differs_from_the_good_image_in_at_most_two_instructions_and_says_why(dockerfile: Path) -> None:
    good, variant = instructions(GOOD), instructions(dockerfile)
    assert 1 <= len([line for line in variant if line not in good]) <= 2 or len([line for line in good if line not in variant]) <= 2
    assert dockerfile.read_text().startswith(("# Plants: ", "# Not a defect: "))


def test_every_dockerfile_is_run_by_a_scenario_and_told_of_in_the_readme() -> None:
    texts = [path.read_text() for path in IN_IMAGES]
    used = {name for text in texts for name in re.findall(r"dockerfile: ([^,}]+)", text)}
    assert used == {f"{path.parent.name}/{path.name}" for path in [*DOCKERFILES, STREAMS, WORKERS, STATE]}
    assert any(f"build: ../../{DELAYED_JOB.relative_to(ROOT)}\n" in text for text in texts)
    readme = (ROOT / "sample_apps" / "README.md").read_text()
    assert f"{STREAMS.parent.name}/{STREAMS.name}" in readme
    assert [path.name for path in DOCKERFILES if path.name not in readme] == []


@pytest.mark.parametrize("path", IN_IMAGES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_scenario_can_run_on_containers(path: Path) -> None:
    kinds = load_scenario(path).target.values()
    assert all(kind.build is not None for kind in kinds)
    only_there = path.parent.name == "known-bad" and not all(kind.command for kind in kinds)
    assert path.stem.startswith("docker-") == only_there


def test_the_requirements_of_the_images_are_those_of_the_extras() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    written = [line for path in wheels.REQUIREMENTS for line in path.read_text().splitlines()]
    wanted, names = set[str](), ["samples", "services"]
    for name in names:
        for each in extras[name]:
            if each.startswith("jetable["):
                names += [other for other in each[len("jetable[") : -1].split(",") if other not in names]
            else:
                wanted.add(each)

    def without_extras(requirements: Iterable[str]) -> set[str]:
        return {re.sub(r"\[.*\]", "", requirement) for requirement in requirements}

    assert without_extras(line for line in written if not line.startswith("#")) == without_extras(wanted)


# --- what they do


class Run(Protocol):
    """Starts a container from one of the Dockerfiles; it is gone when the test ends."""

    def __call__(self, dockerfile: str = "Dockerfile", **settings: Any) -> Any:
        """The started container."""
        ...


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    try:
        client = docker.from_env(timeout=120)
    except docker.errors.DockerException as error:
        pytest.skip(f"there is no Docker engine: {error}")
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(scope="module")
def image(engine: docker.DockerClient) -> Iterator[Callable[[str], str]]:
    """Builds a Dockerfile, once, without network."""
    if wheels.main() != 0:
        pytest.skip("the wheels of the images can't be fetched")
    mark, built = uuid4().hex[:12], dict[str, str]()

    def build(dockerfile: str) -> str:
        if dockerfile not in built:
            tag = f"sample-apps-test/{mark}:{dockerfile.partition('.')[0].lower()}"
            path = str(ROOT / "sample_apps")
            with nobody_else_builds_or_removes():
                engine.images.build(path=path, dockerfile=f"web/{dockerfile}", tag=tag, network_mode="none", rm=True, forcerm=True)
            built[dockerfile] = tag
        return built[dockerfile]

    yield build
    with nobody_else_builds_or_removes():
        for tag in built.values():
            engine.images.remove(tag)


@contextmanager
def nobody_else_builds_or_removes() -> Iterator[None]:
    """Of the processes that run these tests: who removes an image takes layers along with which another one's build is about to go on."""
    with GOOD.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        yield


@pytest.fixture
def run(engine: docker.DockerClient, image: Callable[[str], str]) -> Iterator[Run]:
    containers: list[Any] = []

    def run_one(dockerfile: str = "Dockerfile", **settings: Any) -> Any:
        containers.append(engine.containers.run(image(dockerfile), detach=True, **settings))
        return containers[-1]

    yield run_one
    for container in containers:
        container.remove(force=True, v=True)


@pytest.fixture
def data(engine: docker.DockerClient) -> Iterator[dict[str, dict[str, str]]]:
    """A volume at /data. It must be asked for before `run`, whose containers hold it."""
    volume = engine.volumes.create(labels=LABELS)
    yield {volume.name: {"bind": "/data", "mode": "rw"}}
    volume.remove()


def state(container: Any) -> dict[str, Any]:
    container.reload()
    told: dict[str, Any] = container.attrs["State"]
    return told


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "the condition did not come true in time"
        time.sleep(0.02)


def ask(container: Any, path: str, method: str = "GET", body: str | None = None) -> tuple[int, bytes]:
    container.reload()
    connection = http.client.HTTPConnection(container.attrs["NetworkSettings"]["IPAddress"], 8000, timeout=DEADLINE_S)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        with connection.getresponse() as response:
            return response.status, response.read()
    finally:
        connection.close()


def healthy(container: Any) -> Any:
    """The container, once it answers."""

    def answers() -> bool:
        assert state(container)["Status"] != "exited", container.logs().decode()
        try:
            return ask(container, "/healthz") == (200, b"ok")
        except OSError:
            return False

    wait_until(answers)
    return container


def status_of_stop(container: Any, *, grace_s: int = 10) -> int:
    container.stop(timeout=grace_s)
    return int(state(container)["ExitCode"])


def last_words(container: Any) -> str:
    """The last line of a container that ends by itself."""
    wait_until(lambda: state(container)["Status"] == "exited")
    assert state(container)["ExitCode"] != 0
    return str(container.logs().decode().strip().splitlines()[-1])


def defect(name: str) -> dict[str, str]:
    return {"DEFECT": name}


def users_of(container: Any) -> set[str]:
    """Whose its processes are. Not by ``exec``: the engine may hand out nothing of what a command says that ends at once."""
    return {user for user, _ in container.top(ps_args="-o uid,pid")["Processes"]}


HARDENED = {"read_only": True, "tmpfs": {"/tmp": ""}, "cap_drop": ["ALL"], "mem_limit": "256m"}  # noqa: S108  in the container


@pytest.mark.slow
@pytest.mark.live
def test_hardened_replicas_that_share_a_volume_share_their_items_and_stop_with_status_0(data: dict[str, Any], run: Run) -> None:
    replicas = [run(volumes=data, init=number == 1, **HARDENED) for number in range(2)]
    for number, replica in enumerate(replicas):
        assert ask(healthy(replica), f"/items/{number}", "PUT", '{"name": "x"}')[0] == 200
    assert all(b'"count":2' in ask(replica, "/items")[1] for replica in replicas)
    assert users_of(replicas[0]) == {"10001"}
    assert not replicas[0].diff()
    assert [status_of_stop(replica) for replica in replicas] == [0, 0]


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize("dockerfile", ["shell-form.Dockerfile", "start-script.Dockerfile", "supervisor.Dockerfile"])
def test_a_process_1_that_keeps_the_signal_to_itself_is_killed_at_the_end_of_the_grace(run: Run, dockerfile: str) -> None:
    assert status_of_stop(healthy(run(dockerfile)), grace_s=1) == 137


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize(
    ("name", "status"),
    [("exits-before-workers", 0), ("dies-on-sigterm", 143), ("crashes-while-stopping", 139)],
    ids=str,
)
def test_a_defect_that_ends_the_master_ends_process_1_as_well(run: Run, name: str, status: int) -> None:
    assert status_of_stop(healthy(run(environment=defect(name)))) == status


@pytest.mark.slow
@pytest.mark.live
def test_the_root_image_runs_as_root_and_needs_no_capability_by_itself(run: Run) -> None:
    container = healthy(run("root.Dockerfile", cap_drop=["ALL"], environment=defect("root-only")))
    assert users_of(container) == {"0"}
    assert status_of_stop(container) == 0


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize(
    ("dockerfile", "settings", "words"),
    [
        ("Dockerfile", {"environment": defect("root-only")}, "must run as root (planted)"),
        ("root.Dockerfile", {"environment": defect("needs-capability"), "cap_drop": ["ALL"]}, "Operation not permitted"),
        ("writable-code.Dockerfile", {"environment": defect("writes-beside-code"), **HARDENED}, "Read-only file system: '/app/"),
    ],
    ids=["root-only", "needs-capability", "read-only"],
)
def test_an_app_that_is_denied_what_it_needs_ends_at_its_start_and_says_so(
    data: dict[str, Any], run: Run, dockerfile: str, settings: dict[str, Any], words: str
) -> None:
    assert words in last_words(run(dockerfile, volumes=data, **settings))


@pytest.mark.slow
@pytest.mark.live
def test_what_the_app_writes_beside_its_code_is_in_the_containers_own_filesystem(data: dict[str, Any], run: Run) -> None:
    container = healthy(run("writable-code.Dockerfile", volumes=data, environment=defect("writes-beside-code")))
    assert "/app/sample_apps/web/written/0.txt" in {change["Path"] for change in container.diff()}


@pytest.mark.slow
@pytest.mark.live
def test_orphans_stay_as_zombies_where_the_app_is_process_1_and_not_behind_an_init(run: Run) -> None:
    count = "import glob; print(sum(open(path).read().rpartition(')')[2].split()[0] == 'Z' for path in glob.glob('/proc/[0-9]*/stat')))"
    for init, expected in ((False, b"20"), (True, b"0")):
        container = healthy(run(environment=defect("leaves-zombies"), init=init))
        for _ in range(20):
            ask(container, "/")
        # A process that ends while it is looked at makes a traceback of the count: the next look is a better one.
        wait_until(lambda: container.exec_run(["python", "-c", count]).output.strip() == expected)  # noqa: B023  called here and now


@pytest.mark.slow
@pytest.mark.live
def test_a_worker_that_eats_memory_is_killed_for_want_of_it(run: Run) -> None:
    container = healthy(run(environment=defect("eats-memory"), mem_limit="128m"))
    cut = 0
    for _ in range(300):
        try:
            ask(container, "/")
        except (OSError, http.client.HTTPException):
            cut += 1
        if cut:
            break
    assert cut
    wait_until(lambda: b"Perhaps out of memory?" in container.logs())


@pytest.mark.slow
@pytest.mark.live
def test_the_image_with_a_health_check_becomes_healthy_by_it(run: Run) -> None:
    container = run("healthcheck.Dockerfile")
    wait_until(lambda: state(container)["Health"]["Status"] == "healthy")


@pytest.mark.slow
@pytest.mark.live
def test_the_image_with_a_stop_signal_of_its_own_is_stopped_by_it(run: Run) -> None:
    container = healthy(run("sigquit.Dockerfile"))
    assert status_of_stop(container) == 0
    assert b"Handling signal: quit" in container.logs()
