"""Whether this machine lets the load hold as many connections as a scenario asks for.

Each user of the closed model keeps a connection to each replica. The load process raises its own limit of open files as far as it may, to
the hard one; what needs more than that would fail in the middle of a run and look like the app's doing, so it is refused before.
"""

from __future__ import annotations

import resource
from typing import Final

from harness.errors import MachineError
from harness.scenario import Chaos, Scale, Scenario, nested

SPARE: Final = 64
"""Files that the load process needs besides."""


def check_open_files(scenario: Scenario) -> None:
    """Raise `MachineError` when the users of ``scenario`` need more connections than this process may open files.

    With ``rate`` nobody knows before how many requests will be under way at once, so nothing is refused.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not scenario.has_load:
        return
    load = scenario.load
    replicas = most_replicas(scenario) if load.keep_alive else 1
    users = (load.users if load.requests else 0) + sum(workload.clients for workload in scenario.state.values())
    needed = users * replicas + SPARE
    if load.rate is None and hard != resource.RLIM_INFINITY and needed > hard:
        what = f"{users} users with a connection to each of {replicas} replicas" if replicas > 1 else f"{users} users"
        raise MachineError(
            f"{scenario.name}: {what} need {needed} open files, and {hard} are allowed; "
            f"raise the hard limit (ulimit -Hn {needed}), or ask for fewer users"
        )


def most_replicas(scenario: Scenario) -> int:
    """The largest number of replicas that the steps let take the load, those included that are made of steps."""
    name = scenario.load_process
    written = scenario.target[name].replicas
    counts = [written]
    for step in nested(scenario.steps):
        match step.options:
            case Scale() as scale:
                counts.append(scale.counts.get(name, 0))
            case Chaos() as chaos if "scale" in chaos.of:
                counts.append(2 * written)  # the most that it draws
            case _:
                pass
    return max(counts)
