"""From what a scenario says of a process type to what the Docker engine is asked for: a container's configuration.

A container is run as its user would run it: the image's own entrypoint, user, STOPSIGNAL and HEALTHCHECK hold unless the scenario says
otherwise, and there is no init that nobody asked for. Never set are a restart policy (replacements are Jetable's to start, and a policy
would bring back what a fault took away) and fixed ports of this machine (a second replica could not have them).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.clock import NS_PER_S
from harness.command import fill
from harness.dockerd import Daemon
from harness.engines.base import ReplicaSpec
from harness.engines.docker_image import Image
from harness.marks import mark_labels

if TYPE_CHECKING:
    from harness.scenario import Healthcheck, ProcessType

PORT: Final = 8000
"""The port that a replica is told to listen on when neither the scenario nor the image names one."""

SCRATCH_MOUNT: Final = "/jetable"
"""Where a volume of the run is inside a container that all replicas share."""

SCRATCH: Final = f"{SCRATCH_MOUNT}/scratch"
"""What ``{scratch}`` means there: a folder in it, since the volume's own belongs to root and an archive can't change that."""

SCRATCH_VOLUME: Final = ".scratch"
"""No volume of a scenario can be called so."""

START_INTERVAL_API: Final = (1, 44)
"""Docker 25 is the first that knows ``start_interval``."""

TEST_EVERY_NS: Final = NS_PER_S // 2
"""How often the engine runs a ``test`` that names no interval: each one starts a process in the container."""

INIT_PLACES: Final = ("/sbin/docker-init", "/usr/sbin/docker-init", "/dev/init")
"""Where an engine mounts its own init."""

LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a container is put.

    Attributes:
        network: The full name of the network by which it is reached.
        address: Its address there; empty: the engine chooses.
        published: Its port is published on loopback: -1 not at all, 0 at a free port, else at this one.
    """

    network: str
    address: str
    published: int


def port_of(declared: ProcessType, image: Image) -> int:
    """The port that a replica listens on inside its container.

    The scenario's ``ports``, then its ``expose``, then what the image says by ENV PORT or by a single EXPOSE.
    """
    for ports in (declared.ports, declared.expose):
        if ports:
            return ports[0]
    said = image.environment.get("PORT", "")
    if said.isdigit() and 0 < int(said) < 1 << 16:
        return int(said)
    return image.ports[0] if len(image.ports) == 1 else PORT


def values_of(spec: ReplicaSpec, port: int) -> dict[str, object]:
    """What the placeholders of a command mean inside a container."""
    return {"python": "python", "port": port, "scratch": SCRATCH, "replica": spec.name}


def uses_scratch(spec: ReplicaSpec) -> bool:
    """Whether its command or environment names ``{scratch}``."""
    return any("{scratch}" in text for text in (*spec.argv, *spec.environment.values()))


def command_of(spec: ReplicaSpec, image: Image) -> tuple[str, ...]:
    """What process 1 will be, placeholders still in it: entrypoint and command, each the scenario's or else the image's."""
    declared = _declared(spec)
    own_entrypoint = declared.entrypoint_argv
    entrypoint = image.entrypoint if own_entrypoint is None else own_entrypoint
    if spec.argv:
        return (*entrypoint, *spec.argv)
    if own_entrypoint:  # as Docker has it: an entrypoint of one's own clears the image's command, an empty one leaves it
        return own_entrypoint
    if own_entrypoint is not None:
        return image.command[len(image.entrypoint) :]
    return image.command


def container_config(daemon: Daemon, run_id: str, spec: ReplicaSpec, image: Image, place: Place) -> dict[str, Any]:
    """The arguments of the SDK's ``create_container``."""
    declared = _declared(spec)
    port = port_of(declared, image)
    values = values_of(spec, port)
    environment = {"PORT": str(port)} | {name: fill(text, values) for name, text in spec.environment.items()}
    endpoint = daemon.api.create_endpoint_config(aliases=[spec.process], ipv4_address=place.address or None)
    return {
        "image": image.id,
        "name": f"jetable-{run_id}-{spec.name}",
        "command": [fill(word, values) for word in spec.argv] or None,
        "entrypoint": None if declared.entrypoint_argv is None else list(declared.entrypoint_argv),
        "environment": environment,
        "user": declared.user,
        "working_dir": declared.container_dir,
        "stop_signal": declared.stop_signal,
        "labels": {**declared.labels, **mark_labels(run_id, spec.name)},
        "healthcheck": health_config(declared.healthcheck, daemon.api_version),
        "ports": [port] if place.published >= 0 else None,
        "host_config": _host_config(daemon, run_id, spec, port, place),
        "networking_config": daemon.api.create_networking_config({place.network: endpoint}),
    }


def health_config(check: Healthcheck | None, api_version: tuple[int, int]) -> dict[str, Any] | None:
    """The engine's own health check, where the scenario words one; None leaves the image's as it is."""
    if check is None:
        return None
    if check.disable:
        return {"test": ["NONE"]}
    if check.test is None:
        return None
    config: dict[str, Any] = {
        "test": list(check.test),
        "interval": check.interval.ns if "interval" in check.model_fields_set else TEST_EVERY_NS,
        "timeout": check.timeout.ns,
        "retries": check.retries,
        "start_period": check.start_period.ns,
    }
    if check.start_interval is not None and api_version >= START_INTERVAL_API:
        config["start_interval"] = check.start_interval.ns
    return {key: max(value, NS_PER_S // 1000) if key in ("interval", "timeout") else value for key, value in config.items()}


def volume_name(run_id: str, name: str) -> str:
    """What the engine calls a run's volume."""
    return f"jetable-{run_id}-{name}"


def named_volumes(spec: ReplicaSpec) -> tuple[str, ...]:
    """The names of the volumes that the replicas of a process type share."""
    names = [volume.source for volume in _declared(spec).volumes if volume.type == "volume" and volume.source]
    return (*names, *([SCRATCH_VOLUME] if uses_scratch(spec) else []))


def mounted(spec: ReplicaSpec) -> tuple[str, ...]:
    """The paths in the container at which something else than its own filesystem is."""
    declared = _declared(spec)
    targets = [volume.target for volume in declared.volumes] + [entry.partition(":")[0] for entry in declared.tmpfs]
    return (*targets, *([SCRATCH_MOUNT] if uses_scratch(spec) else []), *(INIT_PLACES if declared.init else ()))


def _host_config(daemon: Daemon, run_id: str, spec: ReplicaSpec, port: int, place: Place) -> Any:
    declared = _declared(spec)
    limits: dict[str, Any] = {}
    if declared.mem_limit is not None:  # without swap, as the limit is meant; Docker's default allows as much again
        limits |= {"mem_limit": declared.mem_limit, "memswap_limit": declared.mem_limit}
    if declared.cpus is not None:
        limits["nano_cpus"] = round(declared.cpus * NS_PER_S)
    if declared.pids_limit is not None:
        limits["pids_limit"] = declared.pids_limit
    if place.published >= 0:
        limits["port_bindings"] = {port: (LOOPBACK, place.published) if place.published else (LOOPBACK,)}
    mounts: Any = _mounts(run_id, spec) or None  # the SDK asks for its own Mount, which is a dict
    return daemon.api.create_host_config(
        network_mode=place.network,
        init=True if declared.init else None,
        read_only=declared.read_only or None,
        tmpfs=dict(_tmpfs(entry) for entry in declared.tmpfs) or None,
        cap_add=list(declared.cap_add) or None,
        cap_drop=list(declared.cap_drop) or None,
        security_opt=list(declared.security_opt) or None,
        mounts=mounts,
        **limits,
    )


def _mounts(run_id: str, spec: ReplicaSpec) -> list[dict[str, Any]]:
    mounts = [_mount(run_id, volume.type, volume.source, volume.target, volume.read_only) for volume in _declared(spec).volumes]
    if uses_scratch(spec):
        mounts.append(_mount(run_id, "volume", SCRATCH_VOLUME, SCRATCH_MOUNT, False))  # noqa: FBT003  as the words of a mount stand
    return mounts


def _mount(run_id: str, kind: str, source: str, target: str, read_only: bool) -> dict[str, Any]:  # noqa: FBT001  as above
    named = volume_name(run_id, source) if kind == "volume" and source else source
    mount: dict[str, Any] = {"Type": kind, "Target": target, "ReadOnly": read_only}
    if named:
        mount["Source"] = named
    if kind == "volume" and not source:  # an anonymous one goes with its container, and carries the mark should it not
        mount["VolumeOptions"] = {"Labels": mark_labels(run_id)}
    return mount


def _tmpfs(entry: str) -> tuple[str, str]:
    path, _, options = entry.partition(":")
    return path, options


def _declared(spec: ReplicaSpec) -> ProcessType:
    assert spec.declared is not None  # noqa: S101  DockerEngine.check refuses a spec without
    return spec.declared
