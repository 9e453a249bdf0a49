"""State as a scenario writes it, and every way in which it can be wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.errors import ScenarioError
from harness.scenario import Operation, Scenario, StoreQuery, Visit, Workload, load_scenario
from harness.scenario.state import ALL_OPERATIONS, OPERATIONS, WITHOUT_MEANING, Model
from harness.scenario.state_complaints import STORES
from harness.scenario.whole import loaded_process
from tests.helpers.mistakes import broken

GOOD = """\
jetable: 1
name: no state is lost
target:
  web:
    command: web
    replicas: 3
  api:
    command: api
services:
  db: {kind: postgres}
  cache: {kind: redis}
load:
  requests: [GET /]
state:
  items:
    model: register
    write:
      PUT /items/{key}: {name: "{value}"}
    read: {request: "GET /items/{key}", answer: $.name, nothing: 404}
    cas:
      request: PUT /items/{key}?if={old}
      json: {name: "{value}"}
    keys: 20
    hot: 50%
    store: {query: "SELECT id, name FROM items", service: db}
  tags:
    model: set
    add:
      POST /tags: "{value}"
    read:
      request: GET /tags?after={page}
      answer: $.tags[*]
      next: $.next
    contains: {request: "GET /tags/{value}", nothing: 404}
    remove: DELETE /tags/{value}
    store: {key: tags, service: cache}
  hits:
    model: counter
    add: {request: "POST /hits/{key}", answer: $.count, headers: {Idempotency-Key: "{value}"}}
    read: {request: "GET /hits/{key}", answer: "regex:count=([0-9]+)"}
  log:
    model: log
    append:
      POST /log:
        entry: "{number}"
    read: {request: GET /log, answer: "$[*]"}
    settle: 4s
  me:
    model: sessions
    write: {request: "PUT /me/{key}", body: "{value}", headers: {X-Client: "{client}"}}
    read: {request: "GET /me/{key}", answer: $.me}
  pages:
    model: same
    requests:
      - GET /
      - request: GET /version
        compare: [etag]
        mask: ["[0-9]+"]
    settle: 3s
  login:
    model: journey
    requests:
      - request: GET /login
        keep: {token: $.csrf}
      - POST /login: {token: "{kept:token}"}
      - GET /me
steps:
  - kill: any
"""

REGISTER: dict[str, object] = {
    "model": "register",
    "write": {"PUT /items/{key}": "{value}"},
    "read": {"request": "GET /items/{key}", "answer": "$.value"},
}
SAME: dict[str, object] = {"model": "same", "requests": ["GET /"]}
JOURNEY: dict[str, object] = {"model": "journey", "requests": ["GET /", "GET /me"]}


def problems(folder: Path, text: str) -> list[str]:
    """All that is wrong with a file that holds ``text``, without its name."""
    file = folder / "s.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        load_scenario(file)
    except ScenarioError as error:
        return [line.removeprefix(f"{file}:") for line in error.problems]
    return []


def minimal(**more: object) -> dict[str, Any]:
    """A scenario with state only and the least that it needs."""
    return {
        "jetable": 1,
        "name": "x",
        "target": {"web": {"command": "a"}},
        "state": {"items": REGISTER},
        "steps": [{"kill": "any"}],
    } | more


# --- what it means ----------------------------------------------------------------------------------------------------------


def test_a_file_with_every_model_is_read(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(GOOD, encoding="utf-8")
    scenario = load_scenario(tmp_path / "s.yaml")
    assert {workload.model for workload in scenario.state.values()} == set(get_args(Model)) == set(OPERATIONS)
    assert {name: tuple(workload.operations) for name, workload in scenario.state.items()} == {
        "items": ("write", "read", "cas"),
        "tags": ("read", "add", "remove", "contains"),
        "hits": ("read", "add"),
        "log": ("read", "append"),
        "me": ("write", "read"),
        "pages": (),
        "login": (),
    }
    items = scenario.state["items"]
    assert (items.keys, items.hot_share, items.clients, items.refused) == (20, 0.5, 4, (409, 412))
    assert items.read is not None
    assert (items.read.answer, items.read.nothing) == ("$.name", (404,))
    assert (scenario.load_process, scenario.has_load) == ("web", True)


def test_requests_of_the_load_come_before_those_of_state(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(GOOD, encoding="utf-8")
    names = [request.name for request in load_scenario(tmp_path / "s.yaml").requests]
    assert names[:3] == ["GET /", "PUT /items/{key}", "GET /items/{key}"]
    assert len(names) == 1 + 3 + 4 + 2 + 2 + 2


def test_where_no_operation_tells_keys_from_each_other_there_is_one() -> None:
    keyless = {"model": "log", "append": {"POST /log": "{value}"}, "read": {"request": "GET /log", "answer": "$[*]"}}
    assert Workload.model_validate(keyless).keys == 1
    assert Workload.model_validate(REGISTER).keys == 5
    assert Workload.model_validate(REGISTER | {"keys": 1}).keys == 1
    assert Workload.model_validate(REGISTER | {"write": Operation.model_validate({"PUT /items/{key}": "{value}"})}).keys == 5


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"state": {"front": SAME}, "steps": [{"kill": {"when": "any"}}]},
        {"state": {"login": JOURNEY}, "steps": [{"steady": "1s"}]},
        {"state": {"items": REGISTER | {"hot": "10%", "stale": "1s", "refused": [], "pause": "0s", "clients": 1}}},
        {"state": {"items": REGISTER | {"store": {"key": "items"}}}, "services": {"redis": {}}},
        {"load": {"requests": ["GET /"]}},
    ],
)
def test_a_scenario_with_state_reads_back_from_json(more: dict[str, object]) -> None:
    made = Scenario.model_validate(minimal(**more))
    assert Scenario.model_validate_json(made.model_dump_json()) == made


def test_a_file_with_every_model_reads_back_from_json(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(GOOD, encoding="utf-8")
    made = load_scenario(tmp_path / "s.yaml")
    assert Scenario.model_validate_json(made.model_dump_json()) == made


def test_a_scenario_without_state_does_not_name_it() -> None:
    plain = {key: value for key, value in minimal(load={"requests": ["GET /"]}).items() if key != "state"}
    assert "state" not in Scenario.model_validate(plain).model_dump(mode="json")


@pytest.mark.parametrize(
    ("more", "asked"),
    [
        ({"target": {"api": {"command": "a"}}}, "api"),
        ({"target": {"web": {"command": "a"}, "b": {"command": "b"}}}, "web"),
        ({"target": {"web": {"command": "a"}, "b": {"command": "b"}}, "state": {"items": REGISTER | {"process": "b"}}}, "b"),
        ({"target": {"a": {"command": "a"}, "b": {"command": "b"}}, "state": {"x": REGISTER, "y": SAME | {"process": "b"}}}, "b"),
        (
            {
                "target": {"a": {"command": "a"}, "b": {"command": "b"}},
                "load": {"requests": ["GET /"]},
                "state": {"items": REGISTER | {"process": "b"}},
            },
            "b",
        ),
        ({"target": {"web": {"command": "a"}, "b": {"command": "b"}}, "load": {"process": "b", "requests": ["GET /"]}}, "b"),
    ],
)
def test_state_is_asked_of_the_process_type_that_takes_the_load(more: dict[str, object], asked: str) -> None:
    data = minimal(**more)
    made = Scenario.model_validate(data)
    assert made.load_process == made.main_process == loaded_process(data) == asked
    assert made.healthcheck_of(asked).kind == "tcp"


def test_state_that_is_only_compared_keeps_nobody_busy() -> None:
    only = Scenario.model_validate(minimal(state={"front": SAME, "login": JOURNEY}, steps=[{"kill": {"when": "any"}}]))
    assert (only.has_load, only.load_process) == (False, "web")
    with pytest.raises(ValidationError, match="web takes no load, so no request is ever in flight on it; write when: any"):
        Scenario.model_validate(minimal(state={"front": SAME}))


def test_jobs_may_be_put_over_the_process_type_that_is_asked_for_state() -> None:
    state = {"items": REGISTER | {"process": "api"}}
    jobs = {"count": 1, "post": "/jobs", "done": {"get": "/done"}}
    target = {"api": {"command": "a"}, "worker": {"command": "b"}}
    made = Scenario.model_validate(minimal(target=target, state=state, jobs=jobs, services={"sqlite": None}))
    assert (made.load_process, made.asked_process, made.job_process) == ("api", "api", "worker")


def test_a_counter_may_answer_its_new_number_and_have_an_idempotency_key() -> None:
    add = {"request": "POST /hits", "answer": "$.count", "headers": {"Idempotency-Key": "{value}"}}
    made = Workload.model_validate({"model": "counter", "add": add, "read": {"request": "GET /hits", "answer": "$.count"}})
    assert made.operations["add"].answer == "$.count"


@pytest.mark.parametrize("model", OPERATIONS)
def test_the_tables_of_models_agree(model: str) -> None:
    needed, allowed = OPERATIONS[model]
    assert not set(needed) & set(allowed)
    assert set(needed) | set(allowed) <= set(ALL_OPERATIONS) < set(Workload.model_fields)
    assert set(WITHOUT_MEANING.get(model, ())) < set(Workload.model_fields)
    assert set(STORES) == set(StoreQuery.model_fields) - {"service"}


# --- what can be wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("good_part", "bad_part", "expected"), broken("broken_state.txt"))
def test_each_mistake_is_one_line_with_its_place(tmp_path: Path, good_part: str, bad_part: str, expected: str) -> None:
    assert good_part in GOOD
    assert problems(tmp_path, GOOD.replace(good_part, bad_part, 1)) == [expected]


OTHER_FILES: dict[str, tuple[str, str]] = {
    "state that is empty": (
        "target: {web: {command: x}}\nstate:\nsteps: [kill: any]",
        "4:7: state: is empty; say under it what clients write and read, or remove it",
    ),
    "state that is an empty mapping": (
        "target: {web: {command: x}}\nload: {requests: [GET /]}\nstate: {}\nsteps: [kill: any]",
        "5:8: state: is empty; say under it what clients write and read, or remove it",
    ),
    "state that is a list": (
        "target: {web: {command: x}}\nstate: [{model: same, requests: [GET /]}]\nsteps: [kill: any]",
        "4:8: state: must be a mapping, not a list",
    ),
    "a workload that is text": (
        "target: {web: {command: x}}\nstate: {items: register}\nsteps: [kill: any]",
        '4:16: state.items: must be a mapping, not the text "register"',
    ),
    "neither load nor state": (
        "target: {web: {command: x}}\nsteps: [kill: any]",
        '1:1: the key "load" is missing; it may be left out only where there are jobs or state',
    ),
    "nobody who is asked": (
        "target: {a: {command: x}, b: {command: x}}\n{state}\nsteps: [kill: {process: a}]",
        '4:9: state.items: which process type is asked? Write process: with "a" or "b"',
    ),
    "load and state that nobody takes": (
        "target: {a: {command: x}, b: {command: x}}\nload: {requests: [GET /]}\n{state}\nsteps: [kill: {process: a}]",
        '4:1: load: which process type takes the load? Write process: with "a" or "b"',
    ),
    "two who are asked": (
        "target: {a: {command: x}, b: {command: x}}\nstate:\n  one: {<, process: a}\n  two: {<, process: b}\nsteps: [steady: 1s]",
        '6:50: state.two.process: one asks "a", and all clients ask one process type; write a here, or process: b there',
    ),
    "a store and no service": (
        "target: {web: {command: x}}\n{stored}\nsteps: [kill: any]",
        '5:3: state.items.store: needs a service that is the store; write services: with "sqlite" or "postgres"',
    ),
    "a store that is none": (
        "target: {web: {command: x}}\nservices: {rabbitmq: }\n{stored}\nsteps: [kill: any]",
        '6:11: state.items.store.query: is for "sqlite" or "postgres", and rabbitmq is rabbitmq; name another service: beside it',
    ),
    "a moment that never comes": (
        "target: {web: {command: x}}\nstate: {front: {model: same, requests: [GET /]}}\nsteps: [kill: {process: web}]",
        "5:25: steps[0].kill.process: web takes no load, so no request is ever in flight on it; write when: any beside it",
    ),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_each_mistake_of_another_file_is_one_line_with_its_place(tmp_path: Path, kind: str) -> None:
    text, expected = OTHER_FILES[kind]
    items = "state: {items: {model: register, write: {PUT /i: '{value}'}, read: {request: GET /i, answer: $.v}}}"
    text = text.replace("{stored}", items.replace("$.v}}}", "$.v},\n  store: {query: SELECT 1}}}")).replace("{state}", items)
    text = text.replace("<", "model: same, requests: [GET /]")
    assert problems(tmp_path, f"jetable: 1\nname: x\n{text}\n") == [expected]


def test_all_that_is_wrong_with_state_is_told_at_once_from_top_to_bottom(tmp_path: Path) -> None:
    state = """\
state:
  items:
    model: register
    read: GET /items/{key}
    cas: PUT /items/{old}
    hot: 200%
    store: {service: nowhere}
  Tags:
    model: set
    process: wbe
    add: POST /tags
    read: {request: GET /tags, answer: $.tags, next: "$["}
  front:
    model: same
    clients: 3
    requests:
      - GET /{value}
      - {request: GET /x, keep: {a: b}}
"""
    told = problems(tmp_path, f"jetable: 1\nname: x\ntarget: {{web: {{command: x}}}}\n{state}steps: [kill: any]\n")
    assert told == [
        "5:3: state.items: register needs write, the request that does it",
        '7:5: state.items.read: says not where in the answer the value stands; write {request: "GET /items/{key}", answer: $.value}',
        "8:5: state.items.cas: sends neither {value} nor {number}; write one of them where the value that is written stands",
        "8:5: state.items.cas: sends no {key}, and there are 5 keys; write {key} in its path, or keys: 1",
        '9:10: state.items.hot: must be a share from 1% to 100%, not "200%"',
        '10:5: state.items.store: needs a service that is the store; write services: with "sqlite", "postgres" or "redis"',
        "10:5: state.items.store: says not how it is asked; write query, for SQL, or key, for Redis",
        '11:3: state.Tags: "Tags" is no name for a workload; use small letters, digits, - and _, and begin with a letter',
        '13:14: state.Tags.process: unknown process type "wbe" (did you mean "web"?); the target has "web"',
        "14:5: state.Tags.add: sends neither {value} nor {number}; write one of them where the element stands",
        "15:40: state.Tags.read.answer: finds one value at most, and a set has many; write $.tags[*] for what is in a list",
        "15:48: state.Tags.read.next: names the next page, and no {page} asks for it; write for example ?after={page} in its path",
        '15:54: state.Tags.read.next: "$[" is no JSON path (RFC 9535): unexpected end of query',
        "18:5: state.front.clients: has no meaning with same, which is requests and no operations; remove it",
        "20:9: state.front.requests[0]: {value} has no value in a request of same; remove it",
        "21:27: state.front.requests[1].keep: has a meaning only with journey; remove it",
        '21:37: state.front.requests[1].keep.a: "b" is neither a JSON path, such as $.value, nor begins with regex:',
    ]


def test_what_follows_from_a_placeholder_that_is_wrong_is_not_told(tmp_path: Path) -> None:
    told = problems(tmp_path, GOOD.replace('{name: "{value}"}', '{name: "{vlaue}"}', 1))
    assert [line.partition(" ")[0] for line in told] == ["18:32:"]


def test_a_placeholder_that_lost_its_quotes_is_told_where_it_is_missed(tmp_path: Path) -> None:
    told = problems(tmp_path, GOOD.replace('{name: "{value}"}', "{name: {value}}", 1))
    assert told == ['17:5: state.items.write: sends neither {value} nor {number}; put "{value}" in quotes']


WORDS = st.sampled_from(
    ["", "x", "1s", "GET /", "POST /{value}", "{key}", "{kept:a}", "$.a", "$[*]", "regex:(a)", "50%", "register", "set", "same", "journey"]
)
KEYS = st.sampled_from([*Workload.model_fields, *Visit.model_fields, *Operation.model_fields, "request", "GET /{page}", "status", "expect"])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 500) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)


def told_of(data: dict[str, Any]) -> set[str]:
    """The kinds of what is told of a scenario's data."""
    try:
        made = Scenario.model_validate(data)
    except ValidationError as error:
        return {detail["type"] for detail in error.errors()}
    assert Scenario.model_validate_json(made.model_dump_json()) == made
    return set()


@pytest.mark.slow
@given(PLAIN)
def test_state_of_any_shape_is_told_and_never_a_crash(state: object) -> None:
    assert told_of(minimal(state=state)) <= {"key", "value"}


@pytest.mark.slow
@given(st.sampled_from(list(OPERATIONS)), st.dictionaries(st.sampled_from(list(Workload.model_fields)), PLAIN, max_size=6))
def test_workloads_of_any_shape_are_told_and_never_a_crash(model: str, more: dict[str, object]) -> None:
    assert told_of(minimal(state={"items": more | {"model": model}}, services={"redis": None})) <= {"key", "value"}


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(list(Workload.model_fields)), PLAIN, max_size=3))
def test_registers_of_any_shape_are_told_and_never_a_crash(more: dict[str, object]) -> None:
    assert told_of(minimal(state={"items": REGISTER | more})) <= {"key", "value"}


@pytest.mark.slow
@given(st.lists(PLAIN, max_size=4), st.sampled_from(["same", "journey"]))
def test_requests_of_any_shape_are_told_and_never_a_crash(requests: list[object], model: str) -> None:
    assert told_of(minimal(state={"front": {"model": model, "requests": requests}}, steps=[{"steady": "1s"}])) <= {"key", "value"}


def test_the_examples_of_the_documentation_are_valid(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "docs/state.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 2
    around = {"services:": "services: {sqlite: {}}\n", "load:": "load: {requests: [GET /]}\n", "steps:": "steps: [{steady: 1s}]\n"}
    for number, example in enumerate(examples):
        path = tmp_path / f"{number}.yaml"
        parts = [written for key, written in around.items() if key not in example]
        path.write_text("jetable: 1\nname: an example\ntarget: {web: {command: app}}\n" + "".join(parts) + example)
        load_scenario(path)
