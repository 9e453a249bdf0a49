"""Clients of workloads: what they ask, what they make of answers, and what they write down, against real replicas on loopback."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent
import pytest

from harness.clock import Dice
from harness.history import Close, Invoke
from harness.load.client import MOST_KEPT
from harness.load.spec import LoadSpec, StateSpec
from harness.load.state import KNOWN, Operating, StateClient, Working
from harness.scenario import Workload
from harness.state_history import FAIL, INFO, OK, StateAnswered, StateAsked
from tests.load import servers
from tests.load.servers import Server
from tests.load.test_user import World

Answer = tuple[int, bytes] | None
"""A status and a body; None for a connection that is closed without an answer."""

MARK = "2fecf0"
REGISTER = {
    "model": "register",
    "write": {"request": "PUT /r/{key}", "json": {"value": "{value}"}, "headers": {"X-Client": "{client}"}},
    "read": {"request": "GET /r/{key}", "answer": "$.value", "nothing": 404},
    "cas": {"PUT /r/{key}?if={old}": {"value": "{value}"}},
}
SET = {
    "model": "set",
    "add": {"POST /s/{key}": {"value": "{value}"}},
    "read": {"request": "GET /s/{key}", "answer": "$[*]", "nothing": 404},
    "contains": {"request": "GET /s/{key}/{value}", "nothing": 404},
    "remove": "DELETE /s/{key}/{value}",
}
COUNTER = {
    "model": "counter",
    "add": {"request": "POST /c/{key}", "answer": "$.count", "headers": {"Idempotency-Key": "{uuid}"}},
    "read": {"request": "GET /c/{key}", "answer": "$.count"},
}
PAGED = {
    "model": "set",
    "add": {"POST /s/{key}": {"value": "{value}"}},
    "read": {"request": "GET /s/{key}?after={page}", "answer": "$.items[*]", "next": "$.next"},
}


class App:
    """A replica that keeps registers and sets as it should; ``instead`` holds answers that it gives first, in their order."""

    def __init__(self, *instead: Answer) -> None:
        self.instead = list(instead)
        self.registers: dict[str, str] = {}
        self.sets: dict[str, list[str]] = defaultdict(list)
        self.server = Server(self._behave)

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Method and path of each request."""
        return [(method, path) for method, path, *_ in (request.decode().split(" ", 2) for request in self.server.requests)]

    def _behave(self, connection: socket.socket) -> None:
        while request := self.server.read(connection):
            answer = self.instead.pop(0) if self.instead else self._answer(request.decode())
            if answer is None:
                return
            status, body = answer
            connection.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

    def _answer(self, request: str) -> Answer:
        method, path, _ = request.split(" ", 2)
        body = request.partition("\r\n\r\n")[2]
        value = json.loads(body)["value"] if body else ""
        key, _, old = path.partition("?if=")
        if key.startswith("/r/"):
            return self._register(method, key, value, old)
        name, _, element = path.removeprefix("/s/").partition("/")
        elements = self.sets[name]
        if method == "POST":
            elements.append(value)
        elif method == "DELETE":
            elements.remove(element)
        elif element:
            return (200 if element in elements else 404), b""
        return (200, json.dumps(elements).encode()) if elements or method != "GET" else (404, b"")

    def _register(self, method: str, key: str, value: str, old: str) -> Answer:
        if method == "GET":
            return (200, json.dumps({"value": self.registers[key]}).encode()) if key in self.registers else (404, b"")
        if old and self.registers.get(key) != old:
            return 412, b""
        self.registers[key] = value
        return 204, b""


class StateWorld(World):
    """A world whose load is clients of workloads."""

    def clients(self) -> list[StateClient]:
        """All of them."""
        found = [self.crowd.new_user() for _ in range(self.crowd.workloads.total)]
        assert all(isinstance(client, StateClient) for client in found)
        return found  # type: ignore[return-value]  # as was just asserted

    def act(self, client: StateClient, f: str, times: int = 1) -> tuple[StateAsked, StateAnswered]:
        """``client`` is told to do ``f``; what it wrote down of the last time."""
        operating = next(each for each in client._working.operations if each.f == f)
        for _ in range(times):
            self.crowd.book(lambda number: client._operate(number, operating))
        return self.asked[-1], self.answered[-1]

    @property
    def asked(self) -> list[StateAsked]:
        """What was asked, in the order of the ledger."""
        return [line for line in self.books.lines if isinstance(line, StateAsked)]

    @property
    def answered(self) -> list[StateAnswered]:
        """What was answered."""
        return [line for line in self.books.lines if isinstance(line, StateAnswered)]

    def live(self, *, ops: int) -> None:
        """Let all clients live until so many ops have begun."""
        living = [gevent.spawn(lambda: self.crowd.new_user().live()) for _ in range(self.crowd.workloads.total)]
        with gevent.Timeout(10):
            while self.crowd.begun < ops:
                gevent.sleep(0.001)
            self.crowd.stopping = True
            gevent.joinall(living)


def spec_of(name: str, written: dict[str, object], **changes: object) -> StateSpec:
    return StateSpec.of(name, Workload.model_validate({"clients": 1, "pause": "0ms", **written, **changes}))


@contextmanager
def world(*workloads: StateSpec, **changes: object) -> Iterator[StateWorld]:
    """A world whose connections are closed at the end."""
    spec = LoadSpec(**{"seed": 1, "requests": (), "users": 0, "timeout_s": 2.0, "state": workloads, "mark": MARK, **changes})  # type: ignore[arg-type]  # a test changes any of them
    made = StateWorld(spec)
    yield made
    assert made.nothing_under_way()
    for client in made.crowd.clients:
        client.close()


@contextmanager
def one(written: dict[str, object], *instead: Answer, **changes: object) -> Iterator[tuple[StateWorld, StateClient, App]]:
    """One client of one workload, and one replica that gives the answers ``instead`` first."""
    of_load = {key: changes.pop(key) for key in ("retries", "timeout_s") if key in changes}
    app = App(*instead)
    with app.server, world(spec_of("things", written, **changes), **of_load) as w:
        w.publish(app.server.port)
        (client,) = w.clients()[:1]
        yield w, client, app


# --- what is asked ----------------------------------------------------------------------------------------------------------


def test_values_are_those_of_one_client_and_of_one_operation_alone() -> None:
    app = App()
    workloads = spec_of("things", REGISTER, clients=3), spec_of("others", SET, clients=2)
    with app.server, world(*workloads) as w:
        w.publish(app.server.port)
        w.live(ops=120)
        writes = [line for line in w.asked if line.f in ("write", "cas", "add")]
        assert len({line.value for line in writes}) == len(writes) > 30
        assert all(re.fullmatch(rf"{MARK}-\d+", line.value) for line in writes)
        assert {(line.workload, line.client) for line in w.asked} == {
            ("things", 1),
            ("things", 2),
            ("things", 3),
            ("others", 1),
            ("others", 2),
        }


def test_what_is_asked_is_on_record_before_it_leaves_and_the_answer_after_its_end() -> None:
    with one(REGISTER) as (w, client, _):
        for f in ("write", "read", "cas"):
            w.act(client, f)
        kinds = [type(line) for line in w.books.lines]
    assert kinds == [StateAsked, Invoke, Close, StateAnswered] * 3
    ops = [line.op for line in w.books.lines if isinstance(line, StateAsked | Invoke | Close | StateAnswered)]
    assert ops == [1] * 4 + [2] * 4 + [3] * 4
    assert all(asked.at_ns <= answered.at_ns for asked, answered in zip(w.asked, w.answered, strict=True))


def test_a_request_carries_key_value_and_client() -> None:
    with one(REGISTER) as (w, client, app):
        asked, _ = w.act(client, "write")
        request = app.server.requests[0].decode()
    assert request.startswith(f"PUT /r/{MARK}-things-{asked.key} HTTP/1.1\r\n")
    assert "\r\nX-Client: 1\r\n" in request
    assert request.endswith(f'{{"value":"{asked.value}"}}')


def test_requests_of_state_are_numbered_behind_those_of_users() -> None:
    with one(REGISTER) as (w, client, _):
        w.act(client, "write")
        w.act(client, "read")
    assert [line.request for line in w.books.lines if isinstance(line, Invoke)] == [0, 1]


def test_what_was_written_is_read_and_counts_as_an_answer() -> None:
    with one(REGISTER, keys=1) as (w, client, _):
        _, nothing = w.act(client, "read")
        asked, written = w.act(client, "write")
        _, told = w.act(client, "read")
    assert (nothing.ended, nothing.there, nothing.result) == (OK, True, None)
    assert (written.ended, written.there, written.replica, written.attempts) == (OK, False, "web.1", 1)
    assert (told.ended, told.there, told.result) == (OK, True, asked.value)


def test_a_compare_and_set_replaces_what_its_client_saw_last_there() -> None:
    with one(REGISTER, keys=1) as (w, client, app):
        first, _ = w.act(client, "cas")
        assert (first.f, first.old) == ("read", "")
        written, _ = w.act(client, "write")
        asked, answered = w.act(client, "cas")
        assert (asked.f, asked.old, answered.ended) == ("cas", written.value, OK)
        again, _ = w.act(client, "cas")
        assert again.old == asked.value
        app.registers[f"/r/{MARK}-things-0"] = f"{MARK}-77"
        _, refused = w.act(client, "cas")
        assert (refused.ended, refused.error) == (FAIL, "status 412")
        w.act(client, "read")
        last, _ = w.act(client, "cas")
    assert last.old == f"{MARK}-77"


def test_what_is_no_value_of_the_run_is_never_put_into_a_request() -> None:
    with one(REGISTER, (200, json.dumps({"value": "a b&c\r\nX: y"}).encode()), keys=1) as (w, client, app):
        w.act(client, "read")
        asked, _ = w.act(client, "cas")
    assert (asked.f, asked.old) == ("read", ""), "there is nothing yet that it could replace"
    assert len(app.asked) == 2


def test_a_client_removes_only_what_it_has_added_itself_and_that_once() -> None:
    app = App()
    with app.server, world(spec_of("things", SET, clients=2, keys=1)) as w:
        w.publish(app.server.port)
        mine, theirs = w.clients()
        added, _ = w.act(mine, "add")
        instead, _ = w.act(theirs, "remove")
        assert instead.f == "add"
        removed, answered = w.act(mine, "remove")
        assert (removed.f, removed.value, answered.ended) == ("remove", added.value, OK)
        assert w.act(mine, "remove")[0].f == "add"


def test_a_client_asks_for_elements_that_anybody_added() -> None:
    app = App()
    with app.server, world(spec_of("things", SET, clients=2, keys=1)) as w:
        w.publish(app.server.port)
        one, other = w.clients()
        first, _ = w.act(other, "contains")
        assert first.f == "add"
        asked, answered = w.act(one, "contains")
        assert (asked.f, asked.value, answered.result, answered.there) == ("contains", first.value, "1", True)
        app.sets.clear()
        _, gone = w.act(one, "contains")
    assert (gone.ended, gone.result, gone.there) == (OK, None, True)


def test_an_element_whose_addition_nobody_answered_is_asked_for_and_never_removed() -> None:
    with one(SET, None, keys=1) as (w, client, _):
        lost, answered = w.act(client, "add")
        assert answered.ended == INFO
        assert w.act(client, "contains")[0].value == lost.value
        assert w.act(client, "remove")[0].f == "add"


def test_only_so_many_elements_are_remembered() -> None:
    working = Working(spec_of("things", SET), 0, keep_alive=True)
    for number in range(KNOWN + 5):
        working.remember(0, str(number))
    assert [value for _, value in working.elements] == [str(number) for number in range(5, KNOWN + 5)]


# --- which key, and which operation -----------------------------------------------------------------------------------------


def _keys(**changes: object) -> Counter[int]:
    working, dice = Working(spec_of("things", REGISTER, **changes), 0, keep_alive=True), Dice(1)
    return Counter(working.key(dice) for _ in range(2000))


def test_keys_are_all_alike_unless_one_is_hot() -> None:
    alike = _keys(keys=4)
    assert set(alike) == {0, 1, 2, 3}
    assert all(400 < times < 600 for times in alike.values())
    hot = _keys(keys=4, hot="50%")
    assert 900 < hot[0] < 1100
    assert all(250 < hot[key] < 420 for key in (1, 2, 3))
    assert set(_keys(keys=4, hot="100%")) == {0}
    assert set(_keys(keys=1)) == {0}


def test_operations_are_chosen_by_weight() -> None:
    written = {**REGISTER, "read": {**REGISTER["read"], "weight": 8}}  # type: ignore[dict-item]  # it is a mapping
    working, dice = Working(spec_of("things", written), 0, keep_alive=True), Dice(1)
    chosen = Counter(operating.f for operating in (working.choose(dice) for _ in range(1000)) if operating is not None)
    assert chosen["read"] > 700
    assert min(chosen["write"], chosen["cas"]) > 50


def test_a_read_by_page_is_not_done_under_load() -> None:
    working = Working(spec_of("things", PAGED), 0, keep_alive=True)
    assert [operating.f for operating in working.playable] == ["add"]
    assert working.find("read") is None
    assert {operating.f for operating in (working.choose(Dice(seed)) for seed in range(50)) if operating} == {"add"}


def test_a_client_that_has_nothing_to_do_ends() -> None:
    with one(PAGED) as (w, client, app):
        client._working.playable.clear()
        with gevent.Timeout(5):
            client.live()
        assert (w.books.lines, app.asked) == ([], [])


def test_operations_go_to_all_replicas_in_turns() -> None:
    first, second = App(), App()
    with first.server, second.server, world(spec_of("things", REGISTER)) as w:
        w.publish(first.server.port, second.server.port)
        (client,) = w.clients()
        w.act(client, "write", times=6)
    assert (len(first.asked), len(second.asked)) == (3, 3)
    assert Counter(line.replica for line in w.answered) == {"web.1": 3, "web.2": 3}


# --- what becomes of it -----------------------------------------------------------------------------------------------------


def test_a_refused_operation_surely_did_not_happen_and_is_no_dropped_request() -> None:
    with one(REGISTER, (409, b"")) as (w, client, _):
        _, answered = w.act(client, "write")
        later, _ = w.act(client, "write")
    assert (answered.ended, answered.error, answered.there) == (FAIL, "status 409", False)
    assert later.session == 0
    assert w.books.ops() == ["ok", "ok"]


@pytest.mark.parametrize(("status", "f", "ended", "there"), [(404, "read", OK, True), (409, "write", FAIL, False)])
def test_nothing_and_a_refusal_need_no_body_that_a_good_answer_has(status: int, f: str, ended: str, *, there: bool) -> None:
    operation = {**REGISTER[f], "expect": {"body_contains": "value"}}  # type: ignore[dict-item]  # both are mappings
    with one({**REGISTER, f: operation}, (status, b"no"), (200, b"no")) as (w, client, _):
        assert [(told.ended, told.there) for told in (w.act(client, f)[1],)] == [(ended, there)]
        assert w.act(client, f)[1].ended == INFO
    assert w.books.ops() == ["ok", "wrong"]


def test_a_redirect_has_done_nothing_that_anybody_knows() -> None:
    with one(REGISTER, (303, b"")) as (w, client, _):
        assert w.act(client, "write")[1].ended == INFO


def test_the_scenario_says_which_statuses_refuse() -> None:
    with one(REGISTER, (423, b""), (409, b""), refused=[423]) as (w, client, _):
        assert w.act(client, "write")[1].ended == FAIL
        assert w.act(client, "write")[1].ended == INFO


def test_what_no_replica_took_surely_did_not_happen() -> None:
    with world(spec_of("things", REGISTER)) as w:
        (client,) = w.clients()
        _, nobody = w.act(client, "write")
        w.publish(servers.closed_port())
        _, refused = w.act(client, "write")
        assert w.act(client, "write")[0].session == 0
    assert (nobody.ended, nobody.error, nobody.replica) == (FAIL, "NO_REPLICA", "")
    assert (refused.ended, refused.error) == (FAIL, "ECONNREFUSED")


@pytest.mark.parametrize(("answer", "error"), [((500, b""), "status 500"), ((503, b""), "status 503"), (None, None)])
def test_of_any_other_end_nobody_knows_and_the_client_goes_on_as_a_new_session(answer: Answer, error: str | None) -> None:
    with one(REGISTER, answer) as (w, client, _):
        asked, answered = w.act(client, "write")
        later, _ = w.act(client, "write")
    assert answered.ended == INFO
    assert answered.error == error if error is not None else answered.error
    assert (asked.session, later.session) == (0, 1)


def test_a_read_that_nobody_answered_changed_nothing_so_its_session_goes_on() -> None:
    with one(REGISTER, (500, b"")) as (w, client, _):
        _, answered = w.act(client, "read")
        assert (answered.ended, answered.there) == (INFO, False)
        assert w.act(client, "read")[0].session == 0


@pytest.mark.parametrize(
    ("written", "body", "why"),
    [
        (REGISTER, b"<html>", "$.value is not one value in the answer"),
        (
            {**REGISTER, "read": {"request": "GET /r/{key}", "answer": "$..value"}},
            b'[{"value":"a"},{"value":"b"}]',
            "$..value is not one value",
        ),
        (SET, b"[1, 2", "$[*] can't be read in the answer"),
        (REGISTER, b" " * (MOST_KEPT + 1), "the answer is too long"),
    ],
)
def test_an_answer_that_was_not_understood_tells_nothing_and_says_why(written: dict[str, object], body: bytes, why: str) -> None:
    with one(written, (200, body)) as (w, client, _):
        _, answered = w.act(client, "read")
    assert (answered.ended, answered.there, answered.result, answered.items) == (OK, False, None, None)
    assert why in answered.error


def test_a_set_is_read_whole_and_is_empty_where_there_is_nothing() -> None:
    with one(SET, keys=1) as (w, client, _):
        _, nothing = w.act(client, "read")
        added = [w.act(client, "add")[0].value for _ in range(2)]
        _, told = w.act(client, "read")
    assert (nothing.ended, nothing.items, nothing.there) == (OK, (), True)
    assert (told.items, told.result, told.there) == (tuple(added), None, True)


def test_an_addition_that_tells_the_new_number_is_a_look_too() -> None:
    with one(COUNTER, (200, b'{"count": 3}')) as (w, client, _):
        asked, answered = w.act(client, "add")
    assert (answered.result, answered.there) == ("3", True)
    assert asked.value


# --- what is sent again -----------------------------------------------------------------------------------------------------


def test_what_has_an_idempotency_key_is_sent_again_with_it() -> None:
    with one(COUNTER, None, (200, b'{"count": 1}'), retries=2) as (w, client, app):
        _, answered = w.act(client, "add")
        keys = re.findall(r"Idempotency-Key: (\S+)", b"".join(app.server.requests).decode())
    assert (answered.ended, answered.attempts) == (OK, 2)
    assert (len(keys), len(set(keys))) == (2, 1)
    assert w.books.ops() == ["retried"]


def test_without_retries_it_is_not_sent_again() -> None:
    with one(COUNTER, None) as (w, client, _):
        _, answered = w.act(client, "add")
    assert (answered.ended, answered.attempts) == (INFO, 1)


@pytest.mark.parametrize(("written", "f"), [(REGISTER, "write"), (SET, "add")])
def test_what_may_have_been_executed_is_not_sent_again_whatever_its_method(written: dict[str, object], f: str) -> None:
    with one(written, None, retries=3) as (w, client, app):
        _, answered = w.act(client, f)
        assert len(app.asked) == 1
    assert (answered.ended, answered.attempts) == (INFO, 1)


def test_a_read_is_sent_again_where_the_scenario_allows_retries() -> None:
    with one(REGISTER, None, retries=1) as (w, client, _):
        _, answered = w.act(client, "read")
    assert (answered.ended, answered.attempts) == (OK, 2)


def test_what_is_refused_after_an_attempt_that_may_have_been_executed_is_unknown() -> None:
    with one(COUNTER, None, (409, b""), retries=1) as (w, client, _):
        asked, answered = w.act(client, "add")
        later, _ = w.act(client, "add")
    assert (answered.ended, answered.error) == (INFO, "status 409")
    assert (asked.session, later.session) == (0, 1)


def test_what_one_replica_refuses_to_take_goes_to_another_one() -> None:
    app = App()
    with app.server, world(spec_of("things", REGISTER)) as w:
        w.publish(servers.closed_port(), app.server.port)
        (client,) = w.clients()
        for _ in range(2):
            _, answered = w.act(client, "write")
            assert (answered.ended, answered.replica) == (OK, "web.2")
    assert sorted(line.attempts for line in w.answered) == [1, 2]


# --- the end of the load ----------------------------------------------------------------------------------------------------


def _hang(end: Callable[[StateWorld, gevent.Greenlet], None]) -> StateWorld:
    """A write is under way when ``end`` ends the load."""
    with servers.answering(b"", then=servers.hang) as server, world(spec_of("things", REGISTER)) as w:
        w.publish(server.port)
        living = gevent.spawn(lambda: w.act(w.clients()[0], "write"))
        with gevent.Timeout(5):
            while w.publisher.in_flight("web.1") == 0:
                gevent.sleep(0.001)
            end(w, living)
            living.join()
    return w


def test_an_operation_that_is_killed_with_the_load_is_on_record_without_an_answer() -> None:
    w = _hang(lambda _, living: living.kill())
    assert [type(line) for line in w.books.lines] == [StateAsked, Invoke, Close]
    assert w.crowd.open_ops == 0


def test_an_operation_that_the_end_of_the_load_cuts_is_one_of_which_nobody_knows() -> None:
    w = _hang(lambda w, _: w.crowd.cancel())
    assert [line.ended for line in w.answered] == [INFO]
    assert w.books.ops() == ["unfinished"]


def test_clients_end_when_the_load_stops() -> None:
    app = App()
    with app.server, world(spec_of("things", REGISTER, clients=4)) as w:
        w.publish(app.server.port)
        w.live(ops=30)
        assert len(w.asked) == len(w.answered) == w.crowd.begun
        assert w.crowd.open_ops == 0


def test_clients_of_state_come_behind_the_users() -> None:
    with world(spec_of("things", REGISTER, clients=2), spec_of("others", COUNTER)) as w:
        names = [(client._working.spec.name, client._own, client.number) for client in w.clients()]
    assert names == [("things", 1, 1), ("things", 2, 2), ("others", 1, 3)]


def test_an_operation_knows_what_its_answers_mean() -> None:
    spec = spec_of("things", COUNTER)
    add, read = (
        Operating(place, operation, keep_alive=True) for place, operation in enumerate(sorted(spec.operations, key=lambda each: each.f))
    )
    assert (add.sending.repeatable, read.sending.repeatable) == ("PUT", "GET")
    plain = Operating(0, next(each for each in spec_of("things", REGISTER).operations if each.f == "write"), keep_alive=True)
    assert (plain.sending.repeatable, plain.extractor, plain.many) == ("POST", None, False)
