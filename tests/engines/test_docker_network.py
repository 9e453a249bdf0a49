"""Subnets that nobody uses, addresses that nobody had, and how replicas are reached."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.dockerd import Daemon, RefusedError
from harness.engines import docker_network
from harness.engines.docker_network import REACH, Networks, reached_by_address
from harness.errors import MachineError, UsageError
from harness.marks import LABEL_RUN


class FakeApi:
    """Networks as an engine has them; ``overlaps`` are subnets that it refuses."""

    def __init__(self, *taken: str) -> None:
        self.there: list[dict[str, Any]] = [{"Name": subnet, "IPAM": {"Config": [{"Subnet": subnet}]}} for subnet in taken]
        self.there.append({"Name": "host", "IPAM": {"Config": None}})
        self.overlaps: list[ipaddress.IPv4Network] = []
        self.full = False
        self.asked: list[str] = []

    def networks(self) -> list[dict[str, Any]]:
        return self.there

    def create_network(self, name: str, *, driver: str, labels: dict[str, str], ipam: dict[str, Any] | None) -> None:
        assert (driver, labels[LABEL_RUN]) == ("bridge", "r")
        subnet = ipam["Config"][0]["Subnet"] if ipam else ""
        self.asked.append(subnet)
        if self.full or (subnet and any(ipaddress.ip_network(subnet).overlaps(other) for other in self.overlaps)):
            raise RefusedError("Pool overlaps with other one on this address space", 403)
        self.there.append({"Name": name, "IPAM": {"Config": [{"Subnet": subnet or "10.9.0.0/24"}]}})

    def remove_network(self, name: str) -> None:
        self.there = [each for each in self.there if each["Name"] != name]


def networks_on(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> Networks:
    monkeypatch.setattr(docker_network, "_routed", list)
    daemon: Any = SimpleNamespace(api=api)
    return Networks(daemon, "r")


def test_a_networks_subnet_is_apart_from_all_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi("172.16.0.0/13", "172.24.0.0/14", "172.28.0.0/15", "172.30.0.0/16", "172.31.0.0/17", "fd00::/64")
    networks = networks_on(api, monkeypatch)
    networks.make("default")
    subnet = ipaddress.IPv4Network(api.asked[0])
    assert subnet.subnet_of(ipaddress.IPv4Network("172.31.128.0/17"))
    addresses = [networks.next_address("default") for _ in range(3)]
    assert addresses == [str(subnet[2]), str(subnet[3]), str(subnet[4])]


def test_a_subnet_that_the_engine_refuses_is_passed_over_and_at_last_it_may_choose_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi()
    api.overlaps = [ipaddress.IPv4Network("172.16.0.0/12")]
    networks = networks_on(api, monkeypatch)
    networks.make("default")
    assert api.asked[-1] == ""
    assert networks.next_address("default") == ""
    assert networks.full_name("default") == "jetable-r-default"


def test_an_engine_without_room_for_a_network_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi()
    api.full = True
    with pytest.raises(MachineError, match="docker network prune"):
        networks_on(api, monkeypatch).make("default")


def test_a_network_is_made_once_and_two_have_subnets_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi()
    networks = networks_on(api, monkeypatch)
    for name in ("back", "front", "back"):
        networks.make(name)
    first, second = map(ipaddress.ip_network, api.asked)
    assert not first.overlaps(second)
    networks.remove()
    assert [each["Name"] for each in api.there] == ["host"]


def test_different_runs_begin_to_look_at_different_places() -> None:
    daemon: Any = SimpleNamespace(api=FakeApi())
    assert len({str(Networks(daemon, f"run-{number}")._candidates()[0]) for number in range(8)}) > 4


def test_where_this_machine_has_routes_is_read_from_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "route"
    monkeypatch.setattr(docker_network, "_ROUTES", table)
    assert docker_network._routed() == []
    if sys.byteorder == "little":
        table.write_text(
            "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
            "eth0 00000000 010011AC 0003 0 0 0 00000000 0 0 0\n"
            "eth0 000011AC 00000000 0001 0 0 0 0000FFFF 0 0 0\n"
            "vpn0 0000000A 00000000 0001 0 0 0 000000FF 0 0 0\n"
        )
        assert list(map(str, docker_network._routed())) == ["172.17.0.0/16", "10.0.0.0/8"]


@pytest.mark.parametrize(
    ("local", "info", "asked", "by_address"),
    [
        (True, {"SecurityOptions": ["name=seccomp,profile=default"]}, "", True),
        (True, {"SecurityOptions": ["name=rootless"]}, "", False),
        (True, {"OperatingSystem": "Docker Desktop"}, "", False),
        (False, {}, "", False),
        (False, {}, "address", True),
        (True, {}, "published", False),
    ],
)
def test_replicas_are_reached_by_address_where_that_leads_somewhere(
    local: object, info: dict[str, Any], asked: str, by_address: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REACH, asked)
    monkeypatch.setattr(sys, "platform", "linux")
    assert reached_by_address(Daemon(api=None, url="", local=bool(local), version="", api_version=(1, 41)), info) is by_address


def test_another_way_to_reach_replicas_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REACH, "magic")
    with pytest.raises(UsageError, match=f"{REACH} must be address or published, not 'magic'"):
        reached_by_address(Daemon(api=None, url="", local=True, version="", api_version=(1, 41)), {})
