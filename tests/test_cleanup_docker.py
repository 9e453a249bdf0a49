"""Nothing of a run is left on a Docker engine, and nothing else is touched there."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from harness import dockerd, marks, proctable
from harness.cleanup import docker as docker_things
from harness.cleanup.base import UNFINISHED
from harness.cleanup.docker import DockerThings
from harness.cleanup.processes import Processes
from harness.cleanup.removal import CLEANERS, clean_run, clean_stale
from harness.cleanup.watchdog import start_watchdog
from harness.clock import NS_PER_S, MonotonicClock
from harness.dockerd import Daemon
from harness.marks import make_scratch

IMAGE = "python:3.11-slim-bookworm"
ROOT = Path(__file__).parent.parent
CLOCK = MonotonicClock()
ENOUGH_S = 5.0  # what can't be removed is tried so long; a busy engine takes a second for an answer, and the reason is in the answer
KINDS = ("container", "network", "volume", "image")


def eventually(condition: Callable[[], object], within_s: float = 30.0) -> None:
    deadline_ns = CLOCK.now_ns() + round(within_s * NS_PER_S)
    while not condition():
        assert CLOCK.now_ns() < deadline_ns, "it never happened"
        CLOCK.sleep(0.02)


def owner_text(owner: str = "", namespace: str = "", boot: str = "") -> str:
    return f"{owner or marks.owner()} {namespace or proctable.namespace(os.getpid())} {boot or marks.boot_id()}"


DEAD = owner_text(owner=f"1:{os.getpid()}")
"""Of this test process alone: with a run goes what its owner had not finished building, also what another test process is building now."""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scratch folders of these tests are apart from those of real runs, and so is what `clean_stale` finds."""

    class NoProcesses(Processes):
        def traces(self) -> dict[str, object]:  # type: ignore[override]  # none, whatever the type
            return {}

    class OwnThings(DockerThings):
        def traces(self) -> dict[str, object]:  # type: ignore[override]  # fewer, the same type
            mine = (f"test-{os.getpid()}-", f"{UNFINISHED}{2**22}:{os.getpid()}")
            return {run_id: trace for run_id, trace in super().traces().items() if run_id.startswith(mine)}

    monkeypatch.setattr(docker_things, "_LOOK_WITHIN_S", 60)  # other tests keep the engine busy meanwhile
    monkeypatch.setitem(CLEANERS, "processes", NoProcesses())
    monkeypatch.setitem(CLEANERS, "things of Docker", OwnThings())
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setenv("TMPDIR", str(root))
    return root


class Maker:
    """Makes things with labels on the engine, and takes them away at the end, whatever labels they had."""

    def __init__(self, daemon: Daemon, name: str) -> None:
        self.api = daemon.api
        self.name = name
        self.made: list[tuple[str, str]] = []

    def container(self, run_id: str, owner: str = DEAD, *, started: bool = False, **config: object) -> str:
        host = self.api.create_host_config(**({"network_mode": "none"} | config))
        made = self.api.create_container(IMAGE, ["sleep", "60"], labels=labels(run_id, owner), host_config=host, volumes=["/anonymous"])
        self.made.append(("container", made["Id"]))
        if started:
            self.api.start(made["Id"])
        return str(made["Id"])

    def network(self, run_id: str, owner: str = DEAD) -> str:
        made = self.api.create_network(f"{self.name}-{len(self.made)}", labels=labels(run_id, owner))
        self.made.append(("network", made["Id"]))
        return str(made["Id"])

    def volume(self, run_id: str, owner: str = DEAD) -> str:
        name = f"{self.name}-{len(self.made)}"
        self.api.create_volume(name, labels=labels(run_id, owner))
        self.made.append(("volume", name))
        return name

    def unfinished(self, owner: str, base: str = IMAGE) -> str:
        """What a builder leaves that was cut off after the owner's label."""
        file = io.BytesIO(f"FROM {base}\nLABEL made-by={self.name}-{len(self.made)}\n".encode())
        lines = [json.loads(line) for line in self.api.build(fileobj=file, labels=labels("", owner), rm=True, forcerm=True)]
        built = next(line["aux"]["ID"] for line in reversed(lines) if "aux" in line)
        self.made += [("image", self.api.inspect_image(built)["Parent"]), ("image", built)]
        return str(built)

    def image(self, run_id: str, owner: str = DEAD) -> str:
        tag = f"jetable-test/{self.name}-{len(self.made)}".lower()
        file = io.BytesIO(f"FROM {IMAGE}\n".encode())  # labels alone are layers, so nothing is left in the cache of builds
        for _line in self.api.build(fileobj=file, tag=tag, labels=labels(run_id, owner), rm=True, forcerm=True):
            pass
        found = self.api.inspect_image(tag)
        self.made += [
            *([("image", found["Parent"])] if found["Parent"] != self.api.inspect_image(IMAGE)["Id"] else []),
            ("image", found["Id"]),
        ]
        return str(found["Id"])

    def is_there(self, key: str) -> bool:
        kind = next(kind for kind, made in self.made if made == key)
        look = {
            "container": self.api.inspect_container,
            "network": self.api.inspect_network,
            "volume": self.api.inspect_volume,
            "image": self.api.inspect_image,
        }[kind]
        try:
            with dockerd.translated():
                look(key)
        except dockerd.NoSuchThingError:
            return False
        return True

    def all_there(self) -> list[bool]:
        return [self.is_there(key) for _, key in self.made]

    def close(self) -> None:
        newest_first = list(reversed(self.made))  # an image goes after those made from it
        for kind, key in sorted(newest_first, key=lambda one: KINDS.index(one[0])):
            with suppress(dockerd.RefusedError), dockerd.translated():
                docker_things._REMOVE[kind](self.api, key)


def labels(run_id: str, owner: str) -> dict[str, str]:
    marked = {marks.LABEL_RUN: run_id} if run_id else {}
    return marked | ({marks.LABEL_OWNER: owner} if owner else {})


@pytest.fixture
def run_id(tmp_path: Path) -> str:
    return f"test-{os.getpid()}-{tmp_path.name}"


@pytest.fixture
def maker(daemon: Daemon, run_id: str) -> Iterator[Maker]:
    maker = Maker(daemon, run_id)
    yield maker
    maker.close()


def anonymous_volume(maker: Maker, container: str) -> str:
    (mount,) = maker.api.inspect_container(container)["Mounts"]
    maker.made.append(("volume", mount["Name"]))
    return str(mount["Name"])


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
def test_all_that_has_the_label_of_the_run_is_removed_and_nothing_else(maker: Maker, daemon: Daemon, run_id: str) -> None:
    folder = make_scratch(run_id)
    marks.record_daemon(folder, daemon.url)
    network, volume = maker.network(run_id), maker.volume(run_id)
    running = maker.container(run_id, started=True, network_mode=network, binds=[f"{volume}:/data"])
    anonymous = anonymous_volume(maker, running) if len(maker.api.inspect_container(running)["Mounts"]) == 1 else ""
    paused = maker.container(run_id, started=True, network_mode=network)
    maker.api.pause(paused)
    looping = maker.container(run_id, started=True, network_mode=network, restart_policy={"Name": "always"})
    created = maker.container(run_id)
    anonymous = anonymous or anonymous_volume(maker, created)
    image = maker.image(run_id)
    maker.api.tag(image, f"jetable-test/{run_id.lower()}-again")
    mine = [running, paused, looping, created, network, volume, anonymous, image]
    others = [
        maker.container(f"{run_id}-other", started=True),
        maker.network(f"{run_id}-other"),
        maker.volume(""),
        maker.image(f"{run_id}2"),
    ]
    guest = maker.container("", started=True, network_mode=maker.network(""))
    maker.api.connect_container_to_network(guest, network)
    result = clean_run(run_id)
    assert result.left == ()
    assert {text.split()[0] for text in result.removed} == {"container", "folder", "image", "network", "volume"}
    assert [key for key in mine if maker.is_there(key)] == []
    assert all(map(maker.is_there, [*others, guest]))
    assert maker.api.inspect_container(guest)["State"]["Running"]
    assert not folder.exists()
    assert clean_run(run_id).removed == ()


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
def test_a_run_that_noted_no_engine_knocks_at_none(maker: Maker, run_id: str) -> None:
    make_scratch(run_id)
    container = maker.container(run_id)
    assert clean_run(run_id).left == ()
    assert maker.is_there(container)


@pytest.mark.slow
@pytest.mark.parametrize("act", [f"clean_run('test-{os.getpid()}')", "clean_stale()"], ids=["clean_run", "clean_stale"])
def test_where_there_is_no_engine_the_sdk_is_not_even_imported(act: str, root: Path) -> None:
    text = (
        "import sys; from harness import dockerd; dockerd.USUAL_URL = 'unix:///nowhere/docker.sock'\n"
        f"from harness.cleanup import CLEANERS, clean_run, clean_stale; del CLEANERS['processes']\n{act}\n"
        "print([name for name in ('docker', 'requests', 'http.client') if name in sys.modules])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")} | {"HOME": str(root)}
    ended = subprocess.run([sys.executable, "-c", text], env=environment, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.strip() == "[]"


OWNERS = {
    "dead": (DEAD, True),
    "living": (owner_text(), False),
    "of another pid namespace": (owner_text(owner="1:1", namespace="pid:[1]"), False),
    "of an earlier boot": (owner_text(boot="another-boot"), True),
    "unknown": ("", False),
    "garbled": ("1:1", False),
}


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
def test_only_what_certainly_belongs_to_nobody_is_stale(maker: Maker, run_id: str) -> None:
    made = {
        name: [maker.container(f"{run_id}-{name[:6]}", owner), maker.volume(f"{run_id}-{name[:6]}", owner)]
        for name, (owner, _) in OWNERS.items()
    }
    network = maker.network(f"{run_id}-{'dead'[:6]}")
    assert clean_stale(dry_run=True, older_than_s=3600 * 24 * 365 * 100) != []
    said = clean_stale(dry_run=True)
    assert all(maker.all_there())
    done = clean_stale()
    assert [stale.things for stale in done] == [stale.things for stale in said]
    assert [stale.left for stale in done] == [(), ()]
    assert {name: not any(map(maker.is_there, keys)) for name, keys in made.items()} == {name: dead for name, (_, dead) in OWNERS.items()}
    assert not maker.is_there(network)
    assert clean_stale() == []


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
def test_what_was_made_before_another_machine_started_again_is_left_alone(
    maker: Maker, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.volume(run_id, owner_text(boot="another-boot"))
    about = dockerd.about
    monkeypatch.setattr(dockerd, "about", lambda daemon: replace(about(daemon), host="elsewhere"))
    assert clean_stale() == []
    monkeypatch.setattr(dockerd, "about", lambda daemon: replace(about(daemon), here=False))
    assert clean_stale() == []
    assert all(maker.all_there())


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
def test_where_proc_hides_the_processes_of_others_no_owner_is_dead(maker: Maker, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    maker.volume(run_id, DEAD)
    monkeypatch.setattr(docker_things.proctable, "look", lambda _pid: None)
    assert clean_stale() == []
    assert all(maker.all_there())


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize("finished", [True, False])
def test_an_image_that_has_not_got_all_its_labels_goes_with_the_run(maker: Maker, daemon: Daemon, run_id: str, *, finished: bool) -> None:
    folder = make_scratch(run_id)
    mine = f"{2**22}:{os.getpid()} {proctable.namespace(os.getpid())} {marks.boot_id()}"
    (folder / "owner").write_text(mine)
    marks.record_daemon(folder, daemon.url)
    maker.image(run_id if finished else "", mine)
    other = maker.image("", f"{2**22}:1{os.getpid()} {proctable.namespace(os.getpid())} {marks.boot_id()}")
    assert clean_run(run_id).left == ()
    assert [key for _, key in maker.made if maker.is_there(key)] == [other]


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
def test_what_a_dead_run_had_not_finished_building_is_stale_though_nothing_else_is_left_of_it(maker: Maker, run_id: str) -> None:
    dead = f"{2**22}:{os.getpid()}"
    stale = maker.unfinished(owner_text(owner=dead))
    cache = maker.api.inspect_image(stale)["Parent"]
    older = maker.unfinished(owner_text(owner=dead, boot="another-boot"))
    base = maker.unfinished(owner_text(owner=f"{dead}1"))
    others = [
        maker.unfinished(owner_text()),
        maker.unfinished(owner_text(owner=dead, namespace="pid:[1]")),
        maker.unfinished("garbled"),
        maker.unfinished("somebody's own", base),  # made from what was unfinished
        base,
    ]
    named = maker.unfinished(owner_text(owner=f"{dead}2"))
    maker.api.tag(named, f"jetable-test/{run_id.lower()}-kept")
    said = clean_stale(dry_run=True)
    assert {str(each) for each in said} == {f"image {key[7:19]} of an unfinished build of process {2**22}" for key in (stale, older)}
    assert all(maker.all_there())
    assert [(each.run_id, each.things, each.left) for each in clean_stale()] == [(each.run_id, each.things, ()) for each in said]
    assert [maker.is_there(key) for key in (stale, older)] == [False, False]
    assert all(map(maker.is_there, [*others, named, cache]))
    assert clean_stale() == []


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
def test_an_unfinished_build_that_a_container_uses_is_left_and_told(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.cleanup import removal

    monkeypatch.setattr(removal, "WITHIN_S", ENOUGH_S)
    image = maker.unfinished(owner_text(owner=f"{2**22}:{os.getpid()}"))
    made = maker.api.create_container(image, ["sleep", "60"], host_config=maker.api.create_host_config(network_mode="none"))
    maker.made.append(("container", made["Id"]))
    maker.api.start(made["Id"])
    (stale,) = clean_stale()
    assert "image is being used by running container" in str(stale)
    assert maker.is_there(image)
    assert maker.is_there(made["Id"])


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
def test_an_image_that_somebody_uses_is_left_and_told(maker: Maker, daemon: Daemon, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.cleanup import removal

    monkeypatch.setattr(removal, "WITHIN_S", ENOUGH_S)
    folder = make_scratch(run_id)
    marks.record_daemon(folder, daemon.url)
    image = maker.image(run_id)
    config = maker.api.create_container_config(image, ["sleep", "60"], labels=labels("somebody's", ""))
    somebody = maker.api.create_container_from_config({**config, "HostConfig": {"NetworkMode": "none"}})["Id"]
    maker.made.append(("container", somebody))
    maker.api.start(somebody)
    left = clean_run(run_id).left
    assert len(left) == 2
    assert "image jetable-test/" in left[0]
    assert "image is being used by running container" in left[0]
    assert folder.exists()
    assert maker.is_there(somebody)


class Relay:
    """A unix socket behind which the real engine is, for as long as it is open."""

    def __init__(self, path: Path, target: str) -> None:
        self.path, self._target = path, target.removeprefix("unix://")
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None

    def open(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._run(self._accept, self._listener)

    def close(self) -> None:
        if self._listener is None:
            return
        self.path.unlink()
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in (self._listener, *self._open):
            each.close()
        self._listener, self._open, self._threads = None, [], []

    def _run(self, body: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=body, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                here, _ = listener.accept()
            except OSError:
                return
            there = socket.socket(socket.AF_UNIX)
            there.connect(self._target)
            self._open += [here, there]
            self._run(self._pump, here, there)
            self._run(self._pump, there, here)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def relay(daemon: Daemon, tmp_path: Path) -> Iterator[Relay]:
    if not daemon.local:
        pytest.skip("the Docker engine is not on this machine")
    relay = Relay(tmp_path / "d", daemon.url)
    yield relay
    relay.close()


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
def test_an_engine_that_went_away_is_told_and_the_watchdog_waits_for_it(maker: Maker, run_id: str, relay: Relay) -> None:
    watchdog = start_watchdog(run_id)
    folder = make_scratch(run_id)
    marks.record_daemon(folder, f"unix://{relay.path}")
    made = [maker.network(run_id, owner_text()), maker.container(run_id, owner_text(), started=True)]
    left = clean_run(run_id).left
    assert len(left) == 2
    assert left[0].startswith(f"what it made on the Docker engine at unix://{relay.path}: no Docker engine answers")
    assert left[1] == f"folder {folder} (it notes where the rest is)"
    watchdog.hand_over()
    watchdog.hand_over()
    assert all(map(maker.is_there, made))
    relay.open()
    eventually(lambda: not folder.exists())
    assert not any(map(maker.is_there, made))
    eventually(lambda: proctable.look(watchdog.pid) is None)


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
def test_a_dead_run_whose_engine_does_not_answer_stays_on_record(maker: Maker, run_id: str, relay: Relay) -> None:
    folder = make_scratch(run_id)
    (folder / "owner").write_text(DEAD)
    marks.record_daemon(folder, f"unix://{relay.path}")
    (stale,) = clean_stale()
    assert f"still there: what it made on the Docker engine at unix://{relay.path}" in str(stale)
    assert folder.exists()
    volume = maker.volume(run_id)
    relay.open()
    (stale,) = clean_stale()
    assert stale.left == ()
    assert not folder.exists()
    assert not maker.is_there(volume)


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize("made", [0, 1, 3])
def test_after_sigkill_of_a_harness_that_makes_containers_nothing_is_left(daemon: Daemon, run_id: str, made: int) -> None:
    program = Path(__file__).parent / "helpers" / "doomed_maker.py"
    environment = {**marks.unmarked_environment(), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with subprocess.Popen(
        [sys.executable, str(program), run_id, IMAGE], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as harness:
        assert harness.stdout is not None
        watchdog = int(harness.stdout.readline().split()[1])
        for _ in range(made):
            assert harness.stdout.readline() == "making\n"
        harness.kill()
    assert harness.returncode == -signal.SIGKILL
    eventually(lambda: (proc := proctable.look(watchdog)) is None or not proc.alive)
    try:
        assert [thing for thing in docker_things._things(daemon) if thing.run_id == run_id] == []
        assert not marks.scratch_folder(run_id).exists()
    finally:
        make_scratch(run_id)
        marks.record_daemon(marks.scratch_folder(run_id), daemon.url)
        clean_run(run_id)


def test_things_are_named_as_people_know_them() -> None:
    entries = json.loads(
        '[["container", {"Id": "ab", "Names": ["/web.1"], "Labels": {"jetable.run": "r"}}],'
        ' ["image", {"Id": "sha256:0123456789abcdef", "RepoTags": null, "Labels": {"jetable.run": "r"}}],'
        ' ["network", {"Id": "cd", "Name": "net", "Labels": {"jetable.run": "r"}}],'
        ' ["volume", {"Name": "data", "Labels": null}]]'
    )
    things = [docker_things._thing(kind, entry) for kind, entry in entries]
    assert [str(thing) for thing in things] == ["container web.1", "image 0123456789ab", "network net", "volume data"]
    assert [thing.run_id for thing in things] == ["r", "r", "r", ""]
