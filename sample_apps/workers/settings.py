"""What the environment says to a worker.

* ``DATABASE_URL``, ``REDIS_URL``, ``AMQP_URL`` or ``BEANSTALKD_URL``: where the queue is, by the worker's kind; required.
* ``QUEUE``: the queue, list, stream, tube or table of jobs; ``jobs``.
* ``DONE``: the key, file or tube where the effect of a job shows; ``done``. In SQL it is the table ``effects``.
* ``RESULTS``: on RabbitMQ the queue into which the result of a job is put, in place of the file; none.
* ``WORKER_NAME``: what it calls itself where it holds a job; ``<host>:<pid>``.
* ``GRACEFUL_TIMEOUT``: seconds after SIGTERM in which the job in hand may still be finished; then it is given back; 5.
* ``LEASE_S``: seconds for which a job that was taken is nobody else's, where the worker says so; 30.
* ``GAP_MS``: milliseconds between an effect and what tells the queue of it, in defects that come between them; 300.
* ``DEFECT``: a name in `DEFECTS` that the worker knows; none.
"""

from __future__ import annotations

import math
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

DEFECTS: Final[dict[str, str]] = {
    "early-ack": "tells the queue that the job is done before it works",
    "pop-and-forget": "takes the job out of the queue for good",
    "drops-on-sigterm": "SIGTERM ends the work, and the queue is told that it is done",
    "finishes-after-grace": "finishes its job after SIGTERM however long that takes",
    "keeps-lock": "exits on SIGTERM without giving its job back",
    "double-effect": "writes the effect, and tells the queue only later; who gets the job again writes it again",
    "ack-before-effect": "tells the queue that the job is done when its work is, and writes the effect only later",
    "poison-kills": "every tenth job ends its worker, and goes back to the queue each time",
    "no-reconnect": "goes on with a connection that was lost, for ever",
}
"""Every planted defect and what it does; each worker knows those that its queue can have."""

_FORGETFUL_LEASE_S: Final = 3600.0


class SettingsError(ValueError):
    """One sentence that names the environment variable which is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A worker's whole configuration.

    Attributes:
        url: Where the queue is.
        queue: Its name.
        done: Where effects show.
        results: The queue of results in place of that, or ``None``.
        name: What the worker calls itself where it holds a job.
        grace_s: Seconds after SIGTERM in which the job in hand may still be finished.
        lease_s: Seconds for which a job that was taken is nobody else's.
        gap_s: Seconds between an effect and the word to the queue, in defects that come between them.
        settle_after_s: Seconds between the two in a worker without a defect, on RabbitMQ, beanstalkd and Redis, where what comes after an
            effect is over too soon to be met by a fault.
        defect: The planted defect's name, or ``None``.
    """

    url: str
    queue: str = "jobs"
    done: str = "done"
    results: str | None = None
    name: str = "worker"
    grace_s: float = 5.0
    lease_s: float = 30.0
    gap_s: float = 0.3
    settle_after_s: float = 0.0
    defect: str | None = None

    @property
    def own_lease_s(self) -> float:
        """Seconds for which this worker itself takes a job: `lease_s`, or an hour where it keeps its lock."""
        return _FORGETFUL_LEASE_S if self.defect == "keeps-lock" else self.lease_s


def read_settings(environment: Mapping[str, str], variable: str, defects: Collection[str] = tuple(DEFECTS)) -> Settings:
    """The settings that ``environment`` asks for; an empty variable counts as unset.

    Args:
        environment: The environment.
        variable: The one that holds the URL of the queue.
        defects: Those that the worker knows.

    Raises:
        SettingsError: A variable is missing or can't be used.
    """
    url = environment.get(variable) or ""
    if not url:
        raise SettingsError(f"{variable} must say where the queue is, and it is not set.")
    defect = environment.get("DEFECT") or None
    if defect is not None and defect not in defects:
        raise SettingsError(f"DEFECT must be one of {', '.join(sorted(defects))}, not {defect!r}.")
    return Settings(
        url=url,
        queue=environment.get("QUEUE") or "jobs",
        done=environment.get("DONE") or "done",
        results=environment.get("RESULTS") or None,
        name=environment.get("WORKER_NAME") or f"{socket.gethostname()}:{os.getpid()}",
        grace_s=_number(environment, "GRACEFUL_TIMEOUT", "5"),
        lease_s=_number(environment, "LEASE_S", "30"),
        gap_s=_number(environment, "GAP_MS", "300") / 1000,
        settle_after_s=_number(environment, "SETTLE_AFTER_MS", "0") / 1000,
        defect=defect,
    )


def _number(environment: Mapping[str, str], name: str, default: str) -> float:
    text = environment.get(name) or default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1e6:
        raise SettingsError(f"{name} must be a number from 0 to 1000000, not {text!r}.")
    return number
