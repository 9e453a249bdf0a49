"""A task as Celery runs it: ``AMQP_URL=amqp://… celery -A sample_apps.workers.celery_app worker -Q jobs``.

As Celery's documentation recommends for a task that may be run again, it is acknowledged late, when it has returned (``acks_late``), goes
back to the queue when the process that ran it died (``task_reject_on_worker_lost``), and a process holds no more messages than it works on
(``worker_prefetch_multiplier = 1``). Celery's own worker takes the jobs, and finishes what it has begun after SIGTERM however long that
takes.

The effect is a line in the file ``DONE``. Celery says nothing certain of whether a task was begun before: a process of it may even outlive
the worker that the broker took the task away from. So the task always looks first, under a lock of the file, whether its effect is there.

``DEFECT=early-ack`` is what Celery does when nothing is said: acknowledge a message before its task begins, and hold four more for each
process. ``DEFECT=double-effect`` never looks.
"""

from __future__ import annotations

import os
import time
from typing import Final

from celery import Celery

from sample_apps.workers.file_effects import FileEffects
from sample_apps.workers.loop import read_job, say
from sample_apps.workers.settings import read_settings

DEFECTS: Final = ("early-ack", "double-effect")

_settings = read_settings(os.environ, "AMQP_URL" if os.environ.get("AMQP_URL") else "REDIS_URL", DEFECTS)
_effects = FileEffects(_settings.done)

app = Celery("sample_apps.workers.celery_app", broker=_settings.url)
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_cancel_long_running_tasks_on_connection_loss = True
if _settings.defect != "early-ack":
    app.conf.task_acks_late = True
    app.conf.task_reject_on_worker_lost = True
    app.conf.worker_prefetch_multiplier = 1


@app.task(name="work")  # type: ignore[untyped-decorator]  # it publishes no types
def work(body: str) -> None:
    """Do the work, then write the effect."""
    job = read_job(body)
    say(job, "started")
    time.sleep(job.work_s)
    if _settings.defect == "double-effect":
        _effects.add(job.id)
        say(job, "finished")
        time.sleep(_settings.gap_s)
    else:
        _effects.add_once(job.id)
        say(job, "finished")
