"""The networks of a run: one of its own, and those that the scenario names; and who has which address.

On Linux with an engine of this machine, replicas are reached at their containers' own addresses: a port that nobody listens on answers with
*refused* there, while the proxy behind a published port would take the connection and reset it. The run's network gets a subnet of its
own choice, for two reasons: only then can a container be given an address, so that a restart in place finds its old one again; and no
address is given twice in a run unless it is asked for, so a client that still holds an old connection never reaches a stranger.

Elsewhere (a remote engine, Docker Desktop, a rootless one) containers' addresses lead nowhere, and ports are published on loopback.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from harness.dockerd import Daemon, NoSuchThingError, RefusedError, translated
from harness.errors import MachineError, UsageError
from harness.marks import mark_labels

REACH: Final = "JETABLE_DOCKER_REACH"
"""An environment variable that decides how replicas are reached: ``address`` or ``published``."""

_POOL: Final = ipaddress.ip_network("172.16.0.0/12")
_PREFIX: Final = 20
_ROUTES: Final = Path("/proc/net/route")


def reached_by_address(daemon: Daemon, info: Mapping[str, Any]) -> bool:
    """Whether addresses of containers lead somewhere from here.

    Raises:
        UsageError: The environment variable that decides it says something else than it can.
    """
    asked = os.environ.get(REACH, "")
    if asked not in ("", "address", "published"):
        raise UsageError(f"{REACH} must be address or published, not {asked!r}")
    if asked:
        return asked == "address"
    rootless = any("rootless" in str(option) for option in info.get("SecurityOptions") or ())
    desktop = "Docker Desktop" in str(info.get("OperatingSystem"))
    return sys.platform == "linux" and daemon.local and not rootless and not desktop


class Networks:
    """The networks that a run made. Safe from several threads."""

    def __init__(self, daemon: Daemon, run_id: str) -> None:
        self._daemon = daemon
        self._run_id = run_id
        self._lock = threading.Lock()
        self._made: dict[str, str] = {}
        self._free: dict[str, Iterator[ipaddress.IPv4Address]] = {}

    def make(self, name: str) -> None:
        """Make the network that the scenario calls ``name``, unless it is there.

        Raises:
            MachineError: The engine has no room for one more network.
        """
        if name in self._made:
            return
        full = f"jetable-{self._run_id}-{name}"
        for subnet in self._candidates():
            try:
                self._create(full, {"Config": [{"Subnet": str(subnet), "Gateway": str(subnet[1])}]})
            except RefusedError:  # somebody else took it meanwhile, or it overlaps with something that we can't see
                continue
            self._made[name], self._free[name] = full, iter(list(subnet.hosts())[1:])
            return
        try:
            self._create(full, None)
        except RefusedError as error:
            raise MachineError(f"Docker can't make a network: {error}; remove networks that nobody uses (docker network prune)") from error
        self._made[name] = full

    def full_name(self, name: str) -> str:
        """What the engine calls it."""
        return self._made[name]

    def next_address(self, name: str) -> str:
        """An address that no replica of this run had; empty: the engine must choose."""
        with self._lock:
            found = next(self._free.get(name, iter(())), None)
        return "" if found is None else str(found)

    def connect(self, container: str, name: str, *, alias: str, address: str = "") -> None:
        """Put a container on a network."""
        with translated():
            self._daemon.api.connect_container_to_network(container, self._made[name], aliases=[alias], ipv4_address=address or None)

    def disconnect(self, container: str, name: str) -> None:
        """Take a container off a network, whatever it does there; raises `RefusedError` when it is not on it."""
        with translated():
            self._daemon.api.disconnect_container_from_network(container, self._made[name], force=True)

    def remove(self) -> None:
        """Remove them all; one that is gone is no error."""
        for full in self._made.values():
            try:
                with translated():
                    self._daemon.api.remove_network(full)
            except NoSuchThingError:
                continue
        self._made.clear()

    def _create(self, full: str, ipam: dict[str, Any] | None) -> None:
        with translated():
            self._daemon.api.create_network(full, driver="bridge", labels=mark_labels(self._run_id), ipam=ipam)

    def _candidates(self) -> list[ipaddress.IPv4Network]:
        """A few subnets that nobody uses, in an order that differs from run to run."""
        with translated():
            networks = self._daemon.api.networks()
        taken = [
            ipaddress.ip_network(config["Subnet"], strict=False)
            for network in networks
            for config in (network.get("IPAM") or {}).get("Config") or ()
            if config.get("Subnet")
        ]
        taken += _routed()
        all_of_them = list(_POOL.subnets(new_prefix=_PREFIX))
        begin = int.from_bytes(hashlib.sha256(self._run_id.encode()).digest()[:4], "big") % len(all_of_them)
        free = [
            subnet
            for subnet in all_of_them[begin:] + all_of_them[:begin]
            if isinstance(subnet, ipaddress.IPv4Network)
            and not any(subnet.version == other.version and subnet.overlaps(other) for other in taken)
        ]
        return free[:5]


def _routed() -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Where this machine has routes to, other than the default one."""
    try:
        lines = _ROUTES.read_text().splitlines()[1:]
    except OSError:
        return []
    found: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for line in lines:
        fields = line.split()
        base, mask = (int.from_bytes(bytes.fromhex(field), sys.byteorder) for field in (fields[1], fields[7]))
        prefix = mask.bit_count()
        if prefix:
            found.append(ipaddress.ip_network((base, prefix), strict=False))
    return found
