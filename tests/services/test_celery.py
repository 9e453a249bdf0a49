"""A job as Celery sends it, read by Celery's own parser."""

from __future__ import annotations

import json
from base64 import b64decode

import pytest

from harness.errors import KeyOfScenarioError
from harness.services.celery import celery_body, celery_headers, celery_in_redis, task_of


def test_a_job_is_a_task_whose_only_argument_is_its_body() -> None:
    headers = celery_headers("app.work", "m-1", "text")
    assert (headers["task"], headers["id"], headers["root_id"], headers["argsrepr"]) == ("app.work", "m-1", "m-1", "('text',)")
    args, keywords, embedded = json.loads(celery_body('{"id": "m-1"}'))
    assert (args, keywords, set(embedded.values())) == (['{"id": "m-1"}'], {}, {None})


def test_celery_reads_from_redis_what_was_meant() -> None:
    pytest.importorskip("celery")
    from celery.app.task import Context
    from kombu.message import Message

    told = json.loads(celery_in_redis("app.work", "jobs", "m-1", "text"))
    body = b64decode(told["body"]).decode()
    message = Message(body, content_type=told["content-type"], content_encoding=told["content-encoding"], headers=told["headers"])
    assert message.decode()[0] == ["text"]
    request = Context(message.headers, correlation_id=told["properties"]["correlation_id"])
    assert (request.task, request.id, request.correlation_id) == ("app.work", "m-1", "m-1")
    assert told["properties"]["delivery_info"]["routing_key"] == "jobs"


@pytest.mark.parametrize("options", [{}, {"task": ""}, {"task": 3}])
def test_a_task_must_have_a_name(options: dict[str, str | int | bool]) -> None:
    assert task_of({"task": "app.work"}) == "app.work"
    with pytest.raises(KeyOfScenarioError, match="which task the jobs are"):
        task_of(options)
