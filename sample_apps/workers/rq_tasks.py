"""A task as RQ runs it: ``RQ_REDIS_URL=redis://… rq worker jobs`` calls `work` with the body of a job, in a process forked for it.

RQ's own worker takes the jobs, finishes the one in hand after SIGTERM however long that takes, and says ``Job OK`` when it has written down
that a job succeeded. The effect is written together with a mark (``DONE:once``), or not at all, since RQ may run a job again.
``DEFECT=double-effect`` writes it without.
"""

from __future__ import annotations

import os
import time

from sample_apps.workers.loop import Job, read_job, say
from sample_apps.workers.redis_link import RedisLink
from sample_apps.workers.settings import read_settings

_DEFECTS = ("double-effect",)


def work(body: str) -> str:
    """Do the work, then write the effect; its id is the result."""
    job = read_job(body)
    say(job, "started")
    time.sleep(job.work_s)
    _write(job)
    say(job, "finished")
    return job.id


def _write(job: Job) -> None:
    settings = read_settings(os.environ, "RQ_REDIS_URL", _DEFECTS)
    link = RedisLink(settings)
    try:
        if settings.defect == "double-effect":
            link.effect(job)
        else:
            link.effect_once(job)
    finally:
        link.close()
