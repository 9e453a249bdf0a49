"""Jetable's Docker engine beside the bare Docker SDK: the same containers created, started, killed and removed, one after the other.

``python benchmarks/engine_overhead.py [--pairs 40] [--image python:3.11-slim-bookworm]`` makes pairs of containers from one image, with one
configuration, on one network: one through `DockerEngine` (start, SIGKILL, the exit as a run learns it, until *removed* is recorded), the
other with `docker.APIClient` (create, start, kill, wait, remove). Who begins changes from pair to pair, so that whatever else the machine
does hits both. The container only sleeps: an app that takes longer makes the share smaller.

The figure is the ratio of the two sums, with the interval in which 95 of 100 such ratios of resampled pairs lie (bootstrap).
"""

from __future__ import annotations

import argparse
import ipaddress
import itertools
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Figure, machine, ms, quantile
from harness.clock import MonotonicClock
from harness.dockerd import Daemon, connect
from harness.engines.base import EngineContext, ReplicaSpec
from harness.engines.docker import DockerEngine
from harness.engines.docker_container import Place, container_config
from harness.engines.docker_image import Image, have_image
from harness.history import Event, PhaseReached
from harness.scenario import ProcessType

WITHIN_S: Final = 30.0
NOW_NS: Final = time.monotonic_ns
STAGES: Final = ("create", "start", "kill", "remove")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one container took: the instants after each stage less those before it, and the CPU time of this process, in nanoseconds."""

    stages: tuple[int, ...]
    cpu: int

    @property
    def whole(self) -> int:
        """From before it was created to after it was removed."""
        return sum(self.stages)


@dataclass(kw_only=True)
class Bench:
    """A Docker engine of a run's own, and the same daemon without it."""

    engine: DockerEngine
    daemon: Daemon
    run_id: str
    declared: ProcessType
    image: Image
    network: str
    addresses: Iterator[str]
    removed: dict[str, threading.Event] = field(default_factory=dict)

    def spec(self, number: int) -> ReplicaSpec:
        """A container that sleeps."""
        return ReplicaSpec(
            name=f"web.{number}",
            process="web",
            argv=("sleep", "1000"),
            environment={},
            working_dir=Path.cwd(),
            declared=self.declared,
        )

    def record(self, event: Event) -> None:
        """What the engine tells."""
        if isinstance(event, PhaseReached) and event.phase == "removed":
            self.removed[event.replica].set()

    def with_engine(self, number: int) -> Cost:
        """One container through the engine."""
        spec = self.spec(number)
        removed = self.removed[spec.name] = threading.Event()
        cpu, begin = time.process_time_ns(), NOW_NS()
        replica = self.engine.start(spec)
        started = NOW_NS()
        self.engine.signal(replica, "SIGKILL")
        assert self.engine.wait_exit(replica, WITHIN_S) is not None
        ended = NOW_NS()
        assert removed.wait(WITHIN_S)
        created = replica.created_ns
        return _cost((begin, created, started, ended, NOW_NS()), time.process_time_ns() - cpu)

    def with_sdk(self, number: int) -> Cost:
        """One container with the SDK alone."""
        place = Place(network=self.network, address=next(self.addresses), published=-1)
        config = container_config(self.daemon, self.run_id, self.spec(number), self.image, place)
        api = self.daemon.api
        cpu, begin = time.process_time_ns(), NOW_NS()
        container: Any = api.create_container(**config)["Id"]
        created = NOW_NS()
        api.start(container)
        started = NOW_NS()
        api.kill(container, signal="SIGKILL")
        api.wait(container)
        ended = NOW_NS()
        api.remove_container(container, v=True, force=True)
        return _cost((begin, created, started, ended, NOW_NS()), time.process_time_ns() - cpu)


def _cost(instants: tuple[int, ...], cpu: int) -> Cost:
    return Cost(stages=tuple(after - before for before, after in itertools.pairwise(instants)), cpu=cpu)


@contextmanager
def bench(image: str) -> Iterator[Bench]:
    """Both, and nothing left of them."""
    run_id = f"benchmark-{os.getpid()}"
    declared = ProcessType.model_validate({"image": image})
    daemon = connect()
    benches: list[Bench] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-of-jetable-") as folder:
        context = EngineContext(
            run_id=run_id,
            clock=MonotonicClock(),
            scratch=Path(folder),
            logs=Path(folder),
            on_exit=lambda _replica, _gone: None,
            record=lambda event: benches[0].record(event),  # noqa: PLW0108  it comes to be below
        )
        engine = DockerEngine(context)
        try:
            found = have_image(daemon, run_id, "web", declared, lambda _text: None)
            network = f"jetable-{run_id}-default"
            benches.append(
                Bench(
                    engine=engine,
                    daemon=daemon,
                    run_id=run_id,
                    declared=declared,
                    image=found,
                    network=network,
                    addresses=_addresses(daemon, network),
                )
            )
            engine.prepare([benches[0].spec(0)])
            yield benches[0]
        finally:
            engine.close()
            daemon.close()


def _addresses(daemon: Daemon, network: str) -> Iterator[str]:
    """Addresses of the network from its far end, while the engine counts from its near one."""
    config = daemon.api.inspect_network(network)["IPAM"]["Config"][0]
    yield from (str(address) for address in reversed(list(ipaddress.ip_network(config["Subnet"]).hosts())))


def measured(image: str, pairs: int) -> list[tuple[Cost, Cost]]:
    """Pairs of costs, the engine's first; one more pair than is counted warms both up."""
    found = []
    with bench(image) as both:
        for number in range(pairs + 1):
            if number % 2:
                engine = both.with_engine(2 * number)
                sdk = both.with_sdk(2 * number + 1)
            else:
                sdk = both.with_sdk(2 * number + 1)
                engine = both.with_engine(2 * number)
            found.append((engine, sdk))
    return found[1:]


def ratio(pairs: list[tuple[Cost, Cost]]) -> float:
    """The engine's sum over the SDK's."""
    return sum(engine.whole for engine, _ in pairs) / sum(sdk.whole for _, sdk in pairs)


def figures() -> list[Figure]:
    """What the engine adds to the bare SDK, as a share, beside the interval of it that chance leaves."""
    pairs = measured("python:3.11-slim-bookworm", 15)
    low, high = interval(pairs)
    sdk = statistics.median(ms(sdk.whole) for _, sdk in pairs)
    return [
        Figure(
            what="docker: what Jetable adds to create, start, kill and remove of a container, %",
            goal="≤ 5",
            values=tuple(100 * (share - 1) for share in (low, ratio(pairs), high)),
            digits=0,
            peer=f"the SDK alone takes {sdk:.0f} ms; 95 % of resamples of {len(pairs)} pairs in brackets",
            command="python benchmarks/engine_overhead.py",
        )
    ]


def interval(pairs: list[tuple[Cost, Cost]]) -> tuple[float, float]:
    """Where 95 % of the ratios of resampled pairs lie (the bootstrap of Efron, Annals of Statistics 7, 1979)."""
    dice = random.Random(1)  # noqa: S311  seeded on purpose, nothing secret
    resampled = [ratio(dice.choices(pairs, k=len(pairs))) for _ in range(1000)]
    return quantile(resampled, 0.025), quantile(resampled, 0.975)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--image", default="python:3.11-slim-bookworm")
    options = parser.parse_args()
    print(machine(), flush=True)
    pairs = measured(options.image, options.pairs)
    print(f"{'median, ms':12}" + "".join(f"{name:>9}" for name in (*STAGES, "whole", "own CPU")))
    for name, costs in (("jetable", [engine for engine, _ in pairs]), ("SDK", [sdk for _, sdk in pairs])):
        stages = [statistics.median(cost.stages[number] for cost in costs) for number in range(len(STAGES))]
        figures = [*stages, statistics.median(cost.whole for cost in costs), statistics.median(cost.cpu for cost in costs)]
        print(f"{name:12}" + "".join(f"{ms(figure):9.1f}" for figure in figures))
    low, high = interval(pairs)
    print(f"{len(pairs)} pairs: jetable takes {ratio(pairs):.3f} times as long ({low:.3f} to {high:.3f})")
    print(f"median of the pairs' own ratios: {statistics.median(e.whole / s.whole for e, s in pairs):.3f}")


if __name__ == "__main__":
    main()
