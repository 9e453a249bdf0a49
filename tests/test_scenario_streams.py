"""A request that is a stream, as a scenario writes it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from harness.load.spec import LoadSpec, StreamSpec
from harness.scenario import Request, Scenario, Stream

SCENARIO = {"jetable": 1, "name": "x", "target": {"web": {"command": "a"}}, "steps": [{"steady": "1s"}]}


def scenario(*requests: object) -> Scenario:
    return Scenario.model_validate(SCENARIO | {"load": {"requests": list(requests)}})


def test_a_stream_is_written_by_its_kind_alone_or_with_its_keys() -> None:
    short, long = Stream.model_validate("sse"), Stream.model_validate({"kind": "sse", "for": "3s", "resume": True})
    assert short == long


def test_a_stream_reads_back_from_json_and_plain_requests_do_not_name_it() -> None:
    made = scenario({"GET /events": None, "stream": {"kind": "websocket", "for": "250ms", "resume": False}}, "GET /")
    assert Scenario.model_validate_json(made.model_dump_json()) == made
    assert '"stream":{"kind":"websocket","for":"250ms","resume":false}' in made.model_dump_json()
    assert made.model_dump_json().count('"stream"') == 1


def test_the_load_process_is_told_of_it() -> None:
    spec = LoadSpec.of(scenario({"request": "GET /ws?after={last_id}", "stream": {"kind": "websocket", "for": "2s"}}, "GET /"), seed=1)
    assert [request.stream for request in spec.requests] == [StreamSpec(kind="websocket", for_s=2.0), None]


@pytest.mark.parametrize(
    ("written", "place", "words"),
    [
        ({"request": "POST /e", "stream": "sse"}, "request", "a stream is a GET, not POST"),
        ({"request": "GET /e", "stream": "udp"}, "kind", 'must be "sse" or "websocket"'),
        ({"request": "GET /e", "stream": {"kind": "sse", "for": 3}}, "for", "needs a unit"),
        ({"request": "GET /e", "stream": {"kind": "sse", "for": "0s"}}, "for", "must be longer than 0s"),
        ({"request": "GET /e", "stream": "sse", "body": "x"}, "body", "has no meaning in a stream"),
        ({"request": "GET /e", "stream": "sse", "json": {"a": 1}}, "json", "has no meaning in a stream"),
        ({"request": "GET /e", "stream": "sse", "expect": {"body_contains": "x"}}, "expect", "has no meaning in a stream"),
        ({"request": "GET /e", "stream": "websocket"}, "stream", "which event was last; write GET /e?last={last_id}, or resume: false"),
        ({"request": "GET /e?a=1", "stream": {"kind": "websocket"}}, "stream", "write GET /e?a=1&last={last_id}, or resume: false"),
        ({"request": "GET /e?{last_id}"}, "request", "{last_id} is known only in the path and in headers of a stream"),
        ({"request": "GET /e", "headers": {"X": "{last_id}"}}, "headers", "{last_id} is known only"),
        ({"request": "POST /e", "json": {"a": ["{last_id}"]}}, "json", "{last_id} is known only"),
    ],
)
def test_what_can_not_be_is_told_at_its_place(written: dict[str, object], place: str, words: str) -> None:
    with pytest.raises(ValidationError) as error:
        Request.model_validate(written)
    (told,) = error.value.errors()
    assert told["loc"][-1] == place
    assert words in told["msg"]


@pytest.mark.parametrize(
    "written",
    [
        {"request": "GET /e?after={last_id}", "stream": "websocket"},
        {"request": "GET /e", "headers": {"Last-Event-ID": "{last_id}"}, "stream": "websocket"},
        {"request": "GET /e", "stream": {"kind": "websocket", "resume": False}},
        {"request": "GET /e", "stream": "sse"},
    ],
)
def test_a_stream_that_goes_on_where_it_was_says_where_that_is(written: dict[str, object]) -> None:
    assert Request.model_validate(written).stream is not None


def test_an_expectation_that_says_nothing_is_none() -> None:
    assert Request.model_validate({"request": "GET /e", "stream": "sse", "expect": {}}).stream is not None
    assert Request.model_validate({"request": "POST /e", "body": "a={{last_id}}"}).body == "a={{last_id}}"
