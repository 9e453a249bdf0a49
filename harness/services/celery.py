"""A job as Celery sends it: the message protocol 2 of its documentation (https://docs.celeryq.dev/en/stable/internals/protocol.html).

``form: celery`` with ``options: {task: app.work}`` puts what ``app.work.delay(body)`` would: a task of that name whose only argument is the
job's body, as text, and whose id is the job's. It is made here, without Celery, so that the queue's own confirmation tells whether it has
the job. The queue is the one that workers consume (``celery worker -Q jobs``); that of a worker without ``-Q`` is ``celery``.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Final

from harness.errors import KeyOfScenarioError

TASK: Final = "task"
"""The option that names the task."""

CONTENT_TYPE: Final = "application/json"
CONTENT_ENCODING: Final = "utf-8"
PERSISTENT: Final = 2

_NO_CALLBACKS: Final = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def task_of(options: Mapping[str, str | int | bool]) -> str:
    """The name of the task. Raises `harness.errors.KeyOfScenarioError` when there is none."""
    task = options.get(TASK)
    if not isinstance(task, str) or not task:
        raise KeyOfScenarioError(("jobs", "options"), "says not which task the jobs are; write task: and the name that Celery has for it")
    return task


def celery_headers(task: str, job: str, body: str) -> dict[str, object]:
    """The headers of the message for one job."""
    return {
        "lang": "py",
        "task": task,
        "id": job,
        "root_id": job,
        "parent_id": None,
        "group": None,
        "shadow": None,
        "eta": None,
        "expires": None,
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": repr((body,)),
        "kwargsrepr": "{}",
        "origin": "jetable",
        "ignore_result": False,
    }


def celery_body(body: str) -> str:
    """The body of the message: one argument, no keywords, nothing to call afterwards."""
    return json.dumps([[body], {}, _NO_CALLBACKS])


def celery_in_redis(task: str, queue: str, job: str, body: str) -> str:
    """The element of Redis' list ``queue`` that stands for one job: the message as Kombu, Celery's transport, wraps it there."""
    return json.dumps(
        {
            "body": b64encode(celery_body(body).encode()).decode(),
            "content-type": CONTENT_TYPE,
            "content-encoding": CONTENT_ENCODING,
            "headers": celery_headers(task, job, body),
            "properties": {
                "correlation_id": job,
                "delivery_mode": PERSISTENT,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": job,
            },
        }
    )
