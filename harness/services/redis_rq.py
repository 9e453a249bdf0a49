"""Jobs of RQ, put by RQ's own ``enqueue``, and looked at where RQ keeps them.

``task`` is the function that workers call, as ``module.function``; it gets the job's body. ``timeout`` is RQ's ``job_timeout``, and
``retry`` how often RQ tries a failed job again. A job has its own id as RQ's, too. RQ counts no deliveries; what a worker that died had in
hand stays *started* until its heartbeat ends, 90 s by default, and is then failed, or queued again where it may be retried.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from harness.errors import KeyOfScenarioError
from harness.job_history import DELAYED, HELD, READY, SET_ASIDE
from harness.services.base import Look, QueueSpec, Told, from_extra
from harness.services.redis_client import Link, items, library_client, number, pairs, texts
from harness.services.redis_forms import Options

if TYPE_CHECKING:
    from rq import Queue as Library

_REGISTRIES: Final = {"wip": HELD, "deferred": DELAYED, "scheduled": DELAYED, "failed": SET_ASIDE, "canceled": SET_ASIDE}
"""RQ's sorted sets of job ids, and what a job in each is."""

_ENDED: Final = ("finished", "stopped")


class RqQueue:
    """See `harness.services.base.Queue`."""

    def __init__(self, link: Link, spec: QueueSpec) -> None:
        options = Options(spec, "task", "timeout", "retry")
        self._link = link
        self._name = spec.name
        self._ready = f"rq:queue:{spec.name}"
        self._coming = f"{self._ready}:intermediate"
        self._task = options.text("task")
        if not self._task:
            raise KeyOfScenarioError(("jobs", "options"), "must say which function the workers of RQ call: task: module.function")
        self._timeout_s = options.seconds("timeout")
        self._retry = options.text("retry", "0")
        if not self._retry.isdigit():
            raise KeyOfScenarioError(("jobs", "options", "retry"), "must be a number")
        self._library: Library | None = None

    def declare(self) -> None:
        """A queue of RQ is there when something is in it."""
        self._open()
        self._link.do("PING")

    def put(self, job: str, body: str) -> None:
        """Enqueue it."""
        from rq import Retry  # noqa: PLC0415  only who uses it needs it

        queue = self._open()
        retry = Retry(max=int(self._retry)) if int(self._retry) else None
        timeout = None if self._timeout_s is None else round(self._timeout_s)
        with self._link.putting(queue.connection):
            queue.enqueue_call(self._task, args=(body,), job_id=job, timeout=timeout, retry=retry)

    def look(self) -> Look:
        """The queue and RQ's registries at one instant; RQ calls a job on its way from the queue to its worker intermediate."""
        ready, coming, *registered = (
            number(count)
            for count in self._link.together(
                ("LLEN", self._ready),
                ("LLEN", self._coming),
                *(("ZCARD", self._key(registry)) for registry in _REGISTRIES),
            )
        )
        counts = dict.fromkeys(_REGISTRIES.values(), 0)
        for state, count in zip(_REGISTRIES.values(), registered, strict=True):
            counts[state] += count
        return Look(ready=ready, held=max(coming, counts[HELD]), delayed=counts[DELAYED], set_aside=counts[SET_ASIDE])

    def told(self, limit: int) -> Sequence[Told]:
        """What is held first, with the worker, and when RQ takes it for abandoned."""
        now_s = number(items(self._link.do("TIME"))[0])
        found: dict[str, Told] = {}
        for registry, state in _REGISTRIES.items():
            for entry, score in pairs(self._link.do("ZRANGE", self._key(registry), 0, limit - 1, "WITHSCORES")).items():
                job = entry.partition(":")[0]
                until_s = max(0.0, float(str(score)) - now_s) if registry in ("wip", "scheduled") else None
                found.setdefault(job, Told(text=job, state=state, by=self._worker(job) if state == HELD else "", until_s=until_s))
        for key, state in ((self._coming, HELD), (self._ready, READY)):
            for job in texts(self._link.do("LRANGE", key, 0, limit - 1)):
                found.setdefault(job, Told(text=job, state=state))
        return list(found.values())[:limit]

    def take_rest(self, limit: int) -> Sequence[Told]:
        """What is left can be seen where it is."""
        return self.told(limit)

    def remove(self) -> None:
        """Remove the queue, its registries, the jobs that they name, and the workers of it, which are the run's own."""
        keys = [self._ready, self._coming]
        registries = [self._key(registry) for registry in (*_REGISTRIES, *_ENDED)]
        jobs = {job for key in keys for job in texts(self._link.do("LRANGE", key, 0, -1))}
        entries = {entry for key in registries for entry in texts(self._link.do("ZRANGE", key, 0, -1))}
        jobs |= {entry.partition(":")[0] for entry in entries}
        self._link.do("UNLINK", *keys, *registries, *(f"rq:{what}:{job}" for job in jobs for what in ("job", "results", "executions")))
        self._link.do("UNLINK", f"rq:clean_registries:{self._name}", *(f"rq:execution:{entry}" for entry in entries))
        self._link.do("SREM", "rq:queues", self._ready)
        self._remove_workers()

    def _remove_workers(self) -> None:
        ours = f"rq:workers:{self._name}"
        if workers := texts(self._link.do("SMEMBERS", ours)):
            self._link.do("SREM", "rq:workers", *workers)
        for worker in workers:
            for queue in str(self._link.do("HGET", worker, "queues") or "").split(","):
                self._link.do("SREM", f"rq:workers:{queue}", worker)
        self._link.do("UNLINK", ours, *workers, *(f"{worker}:executions" for worker in workers))

    def _key(self, registry: str) -> str:
        return f"rq:{registry}:{self._name}"

    def _worker(self, job: str) -> str:
        return str(self._link.do("HGET", f"rq:job:{job}", "worker_name") or "")

    def _open(self) -> Library:
        if self._library is None:
            with from_extra("rq", "the form rq needs a package of Python"):
                from rq import Queue  # noqa: PLC0415  only who uses it needs it
            self._library = Queue(self._name, connection=library_client(self._link.url, decode=False))
        return self._library
