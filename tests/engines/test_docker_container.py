"""What a scenario says of a container, in the words of the engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from harness.dockerd import Daemon
from harness.engines.docker_container import (
    PORT,
    SCRATCH,
    SCRATCH_MOUNT,
    Place,
    command_of,
    container_config,
    health_config,
    mounted,
    named_volumes,
    port_of,
    uses_scratch,
    volume_name,
)
from harness.engines.docker_image import Image
from harness.marks import LABEL_OWNER, LABEL_REPLICA, LABEL_RUN
from tests.engines.containers import CHILD, child, command, declared

PLAIN = Image(id="sha256:1", name="app:1", command=("python3",), entrypoint=(), stop_signal="", environment={}, ports=(), health=None)
BY_ADDRESS = Place(network="jetable-r-default", address="172.20.0.2", published=-1)


@pytest.fixture
def offline() -> Iterator[Daemon]:
    """A client that writes requests and sends none."""
    from docker import APIClient

    api = APIClient(base_url="unix:///nowhere.sock", version="1.41")
    yield Daemon(api=api, url="unix:///nowhere.sock", local=True, version="20.10.24", api_version=(1, 41))
    api.close()


def config(offline: Daemon, place: Place = BY_ADDRESS, image: Image = PLAIN, **words: Any) -> dict[str, Any]:
    return container_config(offline, "r", child("web.1", "--listen", says=declared(**words)), image, place)


@pytest.mark.parametrize(
    ("words", "image", "port"),
    [
        ({"ports": ["8080:80", "443"], "expose": [9000]}, {"environment": {"PORT": "5000"}, "ports": (7000,)}, 80),
        ({"expose": [9000, 9001]}, {"environment": {"PORT": "5000"}}, 9000),
        ({}, {"environment": {"PORT": "5000"}, "ports": (7000,)}, 5000),
        ({}, {"environment": {"PORT": "http"}, "ports": (7000,)}, 7000),
        ({}, {"environment": {"PORT": "70000"}, "ports": (7000,)}, 7000),
        ({}, {"environment": {"PORT": "0"}}, PORT),
        ({}, {"ports": (7000, 7001)}, PORT),
        ({}, {}, PORT),
    ],
)
def test_the_port_is_the_scenarios_or_else_the_images_or_else_a_usual_one(words: Any, image: Any, port: int) -> None:
    assert port_of(declared(**words), replace(PLAIN, **image)) == port


@pytest.mark.parametrize(
    ("argv", "words", "ran"),
    [
        ((), {}, ("tini", "--", "app")),
        (("other",), {}, ("tini", "--", "other")),
        (("other",), {"entrypoint": ["wrap"]}, ("wrap", "other")),
        (("other",), {"entrypoint": []}, ("other",)),
        ((), {"entrypoint": "wrap -x"}, ("wrap", "-x")),
    ],
)
def test_a_command_overrides_the_images_command_and_an_entrypoint_clears_both(argv: Any, words: Any, ran: Any) -> None:
    image = replace(PLAIN, entrypoint=("tini", "--"), command=("tini", "--", "app"))
    assert command_of(command("web.1", *argv, says=declared(**words)), image) == ran


def test_placeholders_mean_what_is_inside_the_container(offline: Daemon) -> None:
    spec = command("web.1", "{python}", "{port}", "{replica}", "{scratch}/x", "{other}", says=declared(expose=[9000]), A="{port}:{scratch}")
    made = container_config(offline, "r", spec, PLAIN, BY_ADDRESS)
    assert made["command"] == ["python", "9000", "web.1", f"{SCRATCH}/x", "{other}"]
    assert made["environment"] == {"PORT": "9000", "A": f"9000:{SCRATCH}"}
    (scratch,) = [mount["Source"] for mount in made["host_config"]["Mounts"] if mount["Target"] == SCRATCH_MOUNT]
    assert [scratch] == [volume_name("r", name) for name in named_volumes(spec)]


def test_what_the_scenario_leaves_out_is_left_to_the_image(offline: Daemon) -> None:
    made = container_config(offline, "r", command("web.1"), PLAIN, BY_ADDRESS)
    assert [made[key] for key in ("command", "entrypoint", "user", "working_dir", "stop_signal", "healthcheck", "ports")] == [None] * 7
    host = made["host_config"]
    assert not host.keys() & {"Init", "ReadonlyRootfs", "Tmpfs", "CapAdd", "CapDrop", "SecurityOpt", "Memory", "NanoCpus", "PidsLimit"}
    assert not host.get("RestartPolicy")
    assert not host.get("PortBindings")


def test_the_labels_are_the_marks_of_the_run_and_those_of_the_scenario(offline: Daemon) -> None:
    labels = config(offline, labels={"team": "a"})["labels"]
    assert labels.pop(LABEL_OWNER)
    assert labels == {"team": "a", LABEL_RUN: "r", LABEL_REPLICA: "web.1"}


def test_limits_rights_and_folders_arrive_in_the_engines_words(offline: Daemon) -> None:
    host = config(
        offline,
        init=True,
        read_only=True,
        tmpfs=["/cache:size=1m", "/run"],
        cap_drop=["ALL"],
        cap_add=["CAP_NET_BIND_SERVICE"],
        security_opt=["no-new-privileges:true"],
        mem_limit="64m",
        cpus=0.5,
        pids_limit=50,
    )["host_config"]
    assert (host["Init"], host["ReadonlyRootfs"], host["Tmpfs"]) == (True, True, {"/cache": "size=1m", "/run": ""})
    assert (host["CapDrop"], host["CapAdd"], host["SecurityOpt"]) == (["ALL"], ["NET_BIND_SERVICE"], ["no-new-privileges:true"])
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]) == (64 << 20, 64 << 20, 500_000_000, 50)


def test_a_named_volume_is_the_runs_and_an_anonymous_one_carries_its_mark(offline: Daemon) -> None:
    made = config(offline, volumes=["data:/data:ro", "/anonymous"])
    _helpers, data, anonymous = made["host_config"]["Mounts"]
    assert data == {"Type": "volume", "Target": "/data", "ReadOnly": True, "Source": volume_name("r", "data")}
    assert "Source" not in anonymous
    assert anonymous["VolumeOptions"]["Labels"][LABEL_RUN] == "r"


@pytest.mark.parametrize(
    ("published", "bindings"), [(0, [{"HostIp": "127.0.0.1", "HostPort": ""}]), (81, [{"HostIp": "127.0.0.1", "HostPort": "81"}])]
)
def test_a_published_port_is_bound_on_loopback_only(offline: Daemon, published: int, bindings: Any) -> None:
    made = config(offline, Place(network="n", address="", published=published), expose=[9000])
    assert made["host_config"]["PortBindings"] == {"9000/tcp": bindings}
    assert made["ports"] == [9000]


def test_the_address_and_the_process_types_name_are_the_networks_to_know(offline: Daemon) -> None:
    (endpoint,) = config(offline)["networking_config"]["EndpointsConfig"].values()
    assert endpoint["Aliases"] == ["web"]
    assert endpoint["IPAMConfig"] == {"IPv4Address": "172.20.0.2"}


@pytest.mark.parametrize("check", [None, "/healthz", "tcp", "running", {"log": "ready"}])
def test_a_health_check_of_jetables_own_leaves_the_images_alone(check: Any) -> None:
    assert health_config(declared(healthcheck=check).healthcheck, (1, 41)) is None


def test_a_health_test_is_handed_on_and_start_interval_only_to_who_knows_it() -> None:
    words = {"test": ["CMD", "true"], "interval": "2s", "timeout": "1s", "retries": 5, "start_period": "3s", "start_interval": "100ms"}
    check = declared(healthcheck=words).healthcheck
    expected = {"test": ["CMD", "true"], "interval": 2 * 10**9, "timeout": 10**9, "retries": 5, "start_period": 3 * 10**9}
    assert health_config(check, (1, 41)) == expected
    assert health_config(check, (1, 44)) == expected | {"start_interval": 10**8}
    assert health_config(declared(healthcheck={"disable": True}).healthcheck, (1, 41)) == {"test": ["NONE"]}


def test_scratch_is_mounted_only_where_it_is_named() -> None:
    says = declared(volumes=["data:/data", "/anonymous"], tmpfs=["/cache:size=1m"])
    assert not uses_scratch(child("web.1", says=says))
    assert set(mounted(child("web.1", says=says))) == {"/helpers", "/data", "/anonymous", "/cache"}
    assert named_volumes(child("web.1", says=says)) == ("data",)
    with_scratch = child("web.1", says=says, WHERE="{scratch}")
    assert uses_scratch(with_scratch)
    assert SCRATCH_MOUNT in mounted(with_scratch)
    assert len(named_volumes(with_scratch)) == 2
    assert CHILD.startswith("/helpers/")
