"""Everything is read everywhere until all agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from harness.checks.state_walks import alike
from harness.clock import Clock, Dice, FakeClock
from harness.scenario import Visit
from harness.services.base import Held
from harness.stage import Inline, Threads
from harness.state import ending as module
from harness.state.asker import Asker, Place
from harness.state.ending import StateEnd, agree
from harness.state.reader import Told
from harness.state_history import MOST_BODY, STORE, SameAnswered, StateRead
from tests.state.apps import CLOCK, MARK, App, Got, Lines, Says, app, said, workload
from tests.state.test_reader import REGISTER, SET

SAME: dict[str, object] = {"model": "same", "requests": ["GET /page"], "settle": "1s"}


def end(workloads: dict[str, dict[str, object]], lines: Lines, *, clock: Clock = CLOCK, **more: Any) -> StateEnd:
    return StateEnd(
        {name: workload(**keys) for name, keys in workloads.items()},
        mark=MARK,
        clock=clock,
        dice=Dice(1),
        append=lines.append,
        asker=lambda: Asker(CLOCK, timeout_s=5),
        client=more.pop("client", lambda _name: None),
        background=more.pop("background", Inline()),
        **more,
    )


def places(*apps: App) -> Callable[[], Sequence[Place]]:
    return lambda: [each.place for each in apps]


def after(count: int, early: object, late: object) -> Callable[[Got], Says]:
    """Says something else from the ``count``-th request on."""
    asked = iter(range(1_000_000))
    return lambda _got: said(late if next(asked) >= count else early)


def test_one_round_is_enough_where_all_agree() -> None:
    lines = Lines()
    with app(lambda _got: said({"name": "a"})) as one, app(lambda _got: said({"name": "a"}), "web.2") as two:
        end({"items": REGISTER | {"keys": 2}}, lines).read_all(places(one, two))
    assert [(line.replica, line.key, line.round, line.result, line.error) for line in lines.of(StateRead)] == [
        ("web.1", 0, 1, "a", ""),
        ("web.2", 0, 1, "a", ""),
        ("web.1", 1, 1, "a", ""),
        ("web.2", 1, 1, "a", ""),
    ]
    assert all(0 < line.at_ns <= line.done_ns for line in lines.of(StateRead))


def test_replicas_are_read_again_until_the_slowest_one_knows() -> None:
    lines, clock = Lines(), FakeClock()
    with app(lambda _got: said({"name": "new"})) as one, app(after(2, {"name": "old"}, {"name": "new"}), "web.2") as two:
        end({"items": REGISTER | {"keys": 1}}, lines, clock=clock).read_all(places(one, two))
    assert [line.result for line in lines.of(StateRead) if line.replica == "web.2"] == ["old", "old", "new"]
    assert [line.round for line in lines.of(StateRead)] == [1, 1, 2, 2, 3, 3]
    assert clock.now_ns() == FakeClock().now_ns() + 150_000_000, "a rest of 50 ms, then one of 100 ms"


def test_replicas_that_never_agree_are_read_until_the_time_is_over() -> None:
    lines, clock = Lines(), FakeClock()
    with app(lambda _got: said({"name": "a"})) as one, app(lambda _got: said({"name": "b"}), "web.2") as two:
        end({"items": REGISTER | {"keys": 1, "settle": "1s"}}, lines, clock=clock).read_all(places(one, two))
    assert {line.round for line in lines.of(StateRead)} == {1, 2, 3, 4, 5, 6, 7}
    assert clock.now_ns() == FakeClock().now_ns() + 1_000_000_000


def test_a_replica_that_dies_meanwhile_has_an_error_and_the_others_go_on() -> None:
    lines = Lines()
    with app(lambda _got: said({"name": "a"})) as one, app(lambda _got: Says(body=b'{"name": "a"}', cut=3), "web.2") as two:
        up = [one, two]

        def who() -> list[Place]:
            now = [each.place for each in up]
            up[1:] = []
            return now

        end({"items": REGISTER | {"keys": 1}}, lines, clock=FakeClock()).read_all(who)
    read = [(line.replica, line.round, line.result, line.error) for line in lines.of(StateRead)]
    assert read == [("web.1", 1, "a", ""), ("web.2", 1, None, "its body was cut off"), ("web.1", 2, "a", "")]


def test_one_that_is_gone_and_still_counts_as_up_is_an_error() -> None:
    lines = Lines()
    with app(lambda _got: said({"name": "a"})) as one, app(lambda _got: Says(), "web.2") as two:
        two.stop()
        end({"items": REGISTER | {"keys": 1, "settle": "1ms"}}, lines, clock=FakeClock()).read_all(places(one, two))
    assert {line.error for line in lines.of(StateRead) if line.replica == "web.2"} == {"ConnectionRefusedError"}
    assert {line.result for line in lines.of(StateRead) if line.replica == "web.1"} == {"a"}


def test_a_replica_that_gives_no_answer_is_not_asked_for_every_key() -> None:
    lines = Lines()
    with (
        app(lambda _got: said({"name": "a"})) as one,
        app(lambda _got: Says(cut=0, body=b"x"), "web.2") as two,
        app(dies, "web.3") as three,
    ):
        end({"items": REGISTER | {"keys": 5, "settle": "1ms"}}, lines, clock=FakeClock()).read_all(places(one, two, three))
        assert len(one.asked) == len(two.asked) == 10, "one that answers badly is asked on"
    errors = [line.error for line in lines.of(StateRead) if line.replica == "web.3" and line.round == 1]
    assert errors == ["RemoteDisconnected"] * 3 + ["not asked: it had given no answer 3 times"] * 2
    assert [line.error for line in lines.of(StateRead) if line.replica == "web.3" and line.round == 2] == errors, "it may have come back"


def dies(_got: Got) -> Says:
    raise ConnectionAbortedError


def test_reads_that_take_very_long_come_to_an_end() -> None:
    lines, clock = Lines(), FakeClock()

    def slow(_got: Got) -> Says:
        clock.sleep(200)
        return said({"name": "a"})

    with app(slow) as one:
        end({"items": REGISTER | {"keys": 4}}, lines, clock=clock).read_all(places(one))
    assert [line.error for line in lines.of(StateRead)] == ["", ""] + ["not asked: the reads before it had taken 300 s"] * 2


def test_with_nobody_up_nothing_is_read() -> None:
    lines = Lines()
    end({"items": REGISTER, "page": SAME}, lines).read_all(list)
    assert not lines


@pytest.mark.slow
def test_many_keys_are_read_by_several_threads() -> None:
    lines = Lines()

    def answer(got: Got) -> Says:
        return said({"name": got.path})

    with app(answer) as one, app(answer, "web.2") as two:
        end({"items": REGISTER | {"keys": 201}}, lines, background=Threads()).read_all(places(one, two))
        assert {one.connections, two.connections} == {module.THREADS}
    read = {(line.replica, line.key): line.result for line in lines.of(StateRead)}
    assert len(read) == len(lines) == 402
    assert read[("web.2", 200)] == "/items/2fecf0-items-200"


class Store:
    """A store that holds one hash."""

    def __init__(self, fields: dict[str, str]) -> None:
        self.fields = fields
        self.closed = 0

    def held(self, _key: str) -> Held:
        return Held(fields=self.fields)

    def close(self) -> None:
        self.closed += 1


def test_the_store_is_asked_in_each_round_and_must_agree() -> None:
    lines, store, names = Lines(), Store({"2fecf0-items-0": "b"}), []

    def client(name: str) -> Any:
        names.append(name)
        return store

    keys = REGISTER | {"keys": 1, "settle": "10ms", "store": {"service": "redis", "key": "all"}}
    with app(lambda _got: said({"name": "a"})) as one:
        end({"items": keys}, lines, clock=FakeClock(), client=client).read_all(places(one))
    assert [(line.replica, line.round, line.result) for line in lines.of(StateRead)] == [
        ("web.1", 1, "a"),
        (STORE, 1, "b"),
        ("web.1", 2, "a"),
        (STORE, 2, "b"),
    ]
    assert names == ["redis", "redis"]
    assert store.closed == 2


def test_a_set_that_only_tells_whether_something_is_there_is_not_read() -> None:
    lines = Lines()
    keys = {key: value for key, value in SET.items() if key != "read"} | {"contains": {"request": "GET /set/{key}/{value}", "nothing": 404}}
    with app(lambda _got: Says()) as one:
        end({"things": keys}, lines).read_all(places(one))
        assert not one.asked
    assert not lines


def test_a_run_that_was_ended_is_read_no_further() -> None:
    lines = Lines()
    with app(lambda _got: said({"name": "a"})) as one, app(lambda _got: said({"name": "b"}), "web.2") as two:
        end({"items": REGISTER}, lines, is_over=lambda: len(lines) > 2).read_all(places(one, two))
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("model", "one", "other", "same"),
    [
        ("register", Told(result="1"), Told(result="1"), True),
        ("register", Told(result="1"), Told(result="01"), False),
        ("register", Told(result=None), Told(result=""), False),
        ("register", Told(), Told(error="x"), False),
        ("sessions", Told(result="a"), Told(result="b"), False),
        ("counter", Told(result="12"), Told(result=" 12 "), True),
        ("counter", Told(result=None), Told(result="0"), True),
        ("counter", Told(result="1"), Told(result="x"), False),
        ("set", Told(items=("a", "b")), Told(items=("b", "a")), True),
        ("set", Told(items=("a",)), Told(items=("a", "b")), False),
        ("log", Told(items=("a", "b")), Told(items=("b", "a")), False),
        ("log", Told(items=()), Told(items=()), True),
    ],
)
def test_what_it_means_to_agree(model: str, one: Told, other: Told, *, same: bool) -> None:
    assert agree(model, [one, other]) is same
    assert agree(model, [other, one]) is same


# --- the same request to all


def test_the_same_request_is_asked_of_all_until_they_answer_alike() -> None:
    lines = Lines()
    with app(lambda _got: said("new")) as one, app(after(1, "old", "new"), "web.2") as two:
        end({"page": SAME}, lines, clock=FakeClock()).read_all(places(one, two))
        assert one.paths == two.paths == ["/page"] * 2
    assert [(line.replica, line.round, line.body) for line in lines.of(SameAnswered)] == [
        ("web.1", 1, '"new"'),
        ("web.2", 1, '"old"'),
        ("web.1", 2, '"new"'),
        ("web.2", 2, '"new"'),
    ]
    assert {(line.status, line.headers) for line in lines.of(SameAnswered)} == {(200, (("content-type", "application/json"),))}


def same(visit: dict[str, object], *answers: Says) -> list[SameAnswered]:
    """What is on record of replicas that answer so, in the rounds that it took."""
    lines = Lines()
    apps = [app(lambda _got, answer=answer: answer, f"web.{number}") for number, answer in enumerate(answers, 1)]  # type: ignore[misc]  # bound at once
    made = [each.__enter__() for each in apps]
    try:
        end({"page": SAME | {"requests": [visit], "settle": "10ms"}}, lines, clock=FakeClock()).read_all(places(*made))
    finally:
        for each in apps:
            each.__exit__(None, None, None)
    return cast("list[SameAnswered]", lines)


def rounds(lines: list[SameAnswered]) -> int:
    return max(line.round for line in lines)


def test_status_body_and_the_headers_that_matter_are_compared() -> None:
    visit: dict[str, object] = {"request": "GET /page"}
    assert rounds(same(visit, said("a"), said("a"))) == 1
    assert rounds(same(visit, said("a"), said("b"))) > 1
    assert rounds(same(visit, said("a"), said("a", 201))) > 1
    assert rounds(same(visit, Says(body=b"a"), said("a"))) > 1
    assert rounds(same(visit, said("a", ETag="1"), said("a", ETag="2"))) == 1
    assert rounds(same(visit | {"compare": ["etag"]}, said("a", ETag="1"), said("a", ETag="2"))) > 1
    assert same(visit | {"compare": ["ETag"]}, said("a", ETag="1"))[0].headers == (("etag", "1"),)


def test_what_a_mask_matches_may_differ_and_shows_as_masked() -> None:
    visit: dict[str, object] = {"request": "GET /page", "mask": ["[0-9]{4}-[0-9]{2}", "pid [0-9]+"]}
    lines = same(visit, said("at 2026-11, pid 7"), said("at 2026-12, pid 123"))
    assert [line.body for line in lines] == ['"at *, *"'] * 2


def test_bodies_that_differ_far_behind_differ_on_record() -> None:
    visit: dict[str, object] = {"request": "GET /page"}
    one, other = (line.body for line in same(visit, Says(body=b"x" * 100_000 + b"1"), Says(body=b"x" * 100_000 + b"2"))[:2])
    assert len(one) == len(other) == MOST_BODY
    assert one != other
    assert "100001 characters, SHA-256 " in one
    assert same(visit, Says(body=b"\xff\x00"))[0].body == "\\xff\x00"


def test_no_mask_matches_the_digest_of_a_long_body() -> None:
    visit: dict[str, object] = {"request": "GET /page", "mask": ["[0-9a-f]{8,}"]}
    one, other = same(visit, Says(body=b"x" * 100_000 + b"1"), Says(body=b"x" * 100_000 + b"2"))[:2]
    assert alike(one, Visit.model_validate(visit)) != alike(other, Visit.model_validate(visit))
    assert same({"request": "GET /page"}, said("short"))[0].digest == ""


def test_a_request_with_chance_in_it_is_the_same_for_all_and_in_all_rounds() -> None:
    lines = Lines()
    keys = SAME | {"requests": ["GET /page/{uuid}/{int:1..1000}"]}
    with app(lambda _got: said("a")) as one, app(after(1, "b", "a"), "web.2") as two:
        end({"page": keys}, lines, clock=FakeClock()).read_all(places(one, two))
        assert len({*one.paths, *two.paths}) == 1
